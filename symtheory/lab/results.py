"""Results that people look at: ``<root>/<FIGURE>/<name>.nc`` with ``<name>.json``, its provenance.

The name is the preset. A run with changed settings has a name of its own, ``<preset>-<digest of the changes>``, and so
never stands in for the preset. The netCDF file depends on settings, code and kind of device only; everything else,
such as the date, is in the JSON file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.lab.files import decode, digest, write_atomic
from symtheory.lab.identity import canonical
from symtheory.lab.provenance import Provenance

#: From the least to the most telling.
PRESETS = ("smoke", "page", "paper")


def checkout() -> Path | None:
    """The checkout around the working directory.

    Returns:
        The nearest folder upwards with ``_toc.yml`` and ``symtheory/``; ``None`` outside.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").is_file() and (folder / "symtheory").is_dir():
            return folder
    return None


def default_root() -> Path:
    """Where results are kept.

    Returns:
        ``$SYMTHEORY_RESULTS`` if set, else ``book/results`` of the checkout, else ``results`` here.
    """
    if named := os.environ.get("SYMTHEORY_RESULTS"):
        return Path(named).expanduser()
    root = checkout()
    return Path("results") if root is None else root / "book" / "results"


def name_of(preset: str, overrides: Mapping[str, Any]) -> str:
    """Name of a result.

    Args:
        preset: The preset it started from.
        overrides: Settings that differ from it, as JSON values.

    Returns:
        The preset, with a digest of the changes if there are any.

    >>> name_of("page", {}), name_of("page", {"steps": 3})
    ('page', 'page-545356d8')
    """
    return f"{preset}-{digest(canonical(overrides).encode())[:8]}" if overrides else preset


@dataclass(frozen=True)
class Results:
    """The results in a folder.

    Attributes:
        root: The folder; it is made at the first :meth:`save`.
    """

    root: Path

    def path(self, figure: str, name: str) -> Path:
        """Where a result lies.

        Args:
            figure: Id of the figure.
            name: Name of the result.

        Returns:
            Path of the netCDF file, which need not exist; the provenance lies beside it.
        """
        return self.root / figure / f"{name}.nc"

    def save(self, payload: bytes, provenance: Provenance) -> Path:
        """Write a result and its provenance.

        Args:
            payload: Content of the netCDF file.
            provenance: What it was made from.

        Returns:
            Path of the netCDF file.
        """
        path = self.path(provenance.figure, name_of(provenance.preset, provenance.overrides))
        text = provenance.to_json().encode()
        write_atomic(path, payload)
        write_atomic(path.with_suffix(".json"), text)
        return path

    def names(self, figure: str) -> list[str]:
        """Names of the results of a figure.

        Args:
            figure: Its id.

        Returns:
            The presets from ``paper`` down to ``smoke``, then the runs with changed settings. A name counts if either
            of its two files is there.
        """
        folder = self.root / figure
        found = {p.stem for p in folder.glob("*") if p.suffix in (".nc", ".json") and not p.name.startswith(".")}
        order = {name: rank for rank, name in enumerate(reversed(PRESETS))}
        return sorted(found, key=lambda name: (order.get(name, len(order)), name))

    def provenance(self, figure: str, name: str) -> Provenance:
        """Read the provenance of a result, without its data.

        Args:
            figure: Id of the figure.
            name: Name of the result.

        Returns:
            The provenance.
        """
        path = self.path(figure, name).with_suffix(".json")
        return Provenance.from_json(_read(path, figure, name), str(path))

    def verify(self, figure: str, name: str) -> bytes:
        """Read the netCDF file of a result and compare it with its provenance.

        Args:
            figure: Id of the figure.
            name: Name of the result.

        Returns:
            The content of the file.

        Raises:
            SymtheoryError: If a file is missing or damaged, or the two do not belong together.
        """
        provenance = self.provenance(figure, name)
        path = self.path(figure, name)
        payload = _read(path, figure, name)
        if digest(payload) != provenance.sha256:
            raise SymtheoryError(
                f"content with SHA-256 {provenance.sha256[:12]}... in {path}", f"{digest(payload)[:12]}...",
                f"the file is damaged or from another run: {_again(figure, name)}",
            )  # fmt: skip
        if (provenance.figure, name_of(provenance.preset, provenance.overrides)) != (figure, name):
            raise SymtheoryError(
                f"result {name} of {figure} in {path}", f"one of {provenance.figure}", _again(figure, name)
            )
        return payload

    def load(self, figure: str, name: str) -> tuple[xr.Dataset, Provenance]:
        """Read and verify a result.

        Args:
            figure: Id of the figure.
            name: Name of the result.

        Returns:
            The dataset and its provenance.
        """
        payload = self.verify(figure, name)
        return decode(payload, str(self.path(figure, name))), self.provenance(figure, name)


def _read(path: Path, figure: str, name: str) -> bytes:
    """Content of a file of a result."""
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise SymtheoryError(f"a result in {path}", reason, _again(figure, name)) from error


def _again(figure: str, name: str) -> str:
    """How to make a result."""
    preset = name.partition("-")[0]
    return f"run 'symtheory run {figure} --preset {preset}'" + (" with the --set it had" if preset != name else "")
