"""Provenance: what a result was made from, as JSON beside its netCDF file. It names no person, host or folder.

The fields, in schema 1::

    schema             1
    figure, preset     ids; a result with changed settings has the changes under "overrides"
    settings, seeds    all settings; those of them whose name says seed
    device             kind (cpu, cuda), name, cores (cpu) or memory_gib and cuda (GPU); of the Dask workers, and their
                       number under "workers", if they are on other machines
    platform           system and architecture
    versions           python, symtheory, torch, numpy, numba, xarray, h5py
    commit             of the package's source, "-dirty" if that was changed since; null outside a checkout
    code               digest of the modules the figure is made of (symtheory.lab.identity)
    date               UTC, when the run ended
    wall_time_s        of the run that ended then
    compute_time_s     of all shards, also those found in the store
    shards             total, and how many of them were found in the store
    data               data sets by name, each with its digest; empty if none was used
    sha256             of the netCDF file
    checks             statement, residual, tolerance, control, holds; one for each verdict
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import symtheory
from symtheory.errors import SymtheoryError
from symtheory.lab.identity import library_versions
from symtheory.spec.verdict import Verdict

SCHEMA = 1


@dataclass(frozen=True)
class Provenance:
    """What one result was made from; the fields are described at the top of the module."""

    figure: str
    preset: str
    overrides: Mapping[str, Any]
    settings: Mapping[str, Any]
    seeds: Mapping[str, Any]
    device: Mapping[str, str | int]
    platform: str
    versions: Mapping[str, str]
    commit: str | None
    code: str
    date: str
    wall_time_s: float
    compute_time_s: float
    shards: Mapping[str, int]
    data: Mapping[str, Any]
    sha256: str
    checks: tuple[Mapping[str, Any], ...]

    @property
    def holds(self) -> bool:
        """Whether the figure has checks and all of them hold."""
        return bool(self.checks) and all(check["holds"] for check in self.checks)

    def to_json(self) -> str:
        """The content of the JSON file.

        Returns:
            Indented JSON with a newline at its end.

        Raises:
            SymtheoryError: If a field has no JSON form.
        """
        try:
            return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise SymtheoryError("provenance made of JSON values", str(error), f"mend {self.figure}") from error

    @classmethod
    def from_json(cls, text: str | bytes, name: str) -> Provenance:
        """Inverse of :meth:`to_json`.

        Args:
            text: The content of the file.
            name: What to call it in the message.

        Returns:
            The provenance.

        Raises:
            SymtheoryError: If it is not provenance of this schema.
        """
        try:
            return cls(**_checked(json.loads(text), {field.name for field in fields(cls)}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SymtheoryError(
                f"provenance of schema {SCHEMA} in {name}", f"something else ({error})", "run the figure again"
            ) from error


def _checked(data: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Fields of a JSON file, refused if they cannot be those of a :class:`Provenance`."""
    if data.pop("schema") != SCHEMA or set(data) != known:
        raise ValueError("other fields")
    for kind, names in (((int, float), ("wall_time_s", "compute_time_s")), (str, ("sha256", "date", "figure"))):
        for field in names:
            if not isinstance(data[field], kind):
                raise ValueError(f"{field} of type {type(data[field]).__name__}")
    if not all(isinstance(check["holds"], bool) for check in data["checks"]):
        raise ValueError("checks without an outcome")
    return {**data, "checks": tuple(data["checks"])}


def check_record(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON.

    Args:
        verdict: The outcome of a check.

    Returns:
        Statement, residual, tolerance, control (``null`` without one) and whether it holds.

    >>> check_record(Verdict("sparser", 0.5, 1.0))
    {'statement': 'sparser', 'residual': 0.5, 'tolerance': 1.0, 'control': None, 'holds': True}
    """
    record = {name: getattr(verdict, name) for name in ("statement", "residual", "tolerance", "control")}
    record = {k: float(v) if isinstance(v, (int, float)) else v for k, v in record.items()}
    return {**record, "holds": bool(verdict.holds)}


def check_records(verdicts: Iterable[Verdict]) -> tuple[dict[str, Any], ...]:
    """Several verdicts as JSON.

    Args:
        verdicts: The outcomes of the checks of a figure.

    Returns:
        One record each, in order.
    """
    return tuple(check_record(verdict) for verdict in verdicts)


def data_in_words(data: Mapping[str, Any]) -> str:
    """Data sets of a result, with what kind of copy was used.

    Args:
        data: Name to digest and note, as in :class:`Provenance`.

    Returns:
        A list in words; empty if none was used.

    >>> data_in_words({"cifar-10": {"sha256": "cb94789f92ee5d16", "note": "JPEG copy"}})
    'cifar-10 (JPEG copy, SHA-256 cb94789f92ee...)'
    """
    return ", ".join(
        f"{name} ({how.get('note', 'kind unknown')}, SHA-256 {how.get('sha256', '?')[:12]}...)"
        for name, how in data.items()
    )


def seeds_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that feed random generators.

    Args:
        settings: All settings.

    Returns:
        Those whose name contains "seed".

    >>> seeds_of({"steps": 10, "seeds": [0, 1], "seed": 3})
    {'seeds': [0, 1], 'seed': 3}
    """
    return {name: value for name, value in settings.items() if "seed" in name.lower()}


def versions() -> dict[str, str]:
    """Versions of everything a number may depend on.

    Returns:
        Name to version.
    """
    found = {"python": platform.python_version(), "symtheory": symtheory.__version__, **library_versions()}
    for name in ("xarray", "h5py"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def platform_name() -> str:
    """System and architecture.

    Returns:
        For example ``Linux x86_64``.
    """
    return f"{platform.system()} {platform.machine()}"


def now() -> str:
    """The time in UTC.

    Returns:
        ISO 8601, to the second.
    """
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit(package: Path | None = None) -> str | None:
    """The commit of the source that is running.

    Args:
        package: Folder of the source; default the folder of ``symtheory``.

    Returns:
        The hash, with ``-dirty`` if files below the folder differ from it; ``None`` if git does not track them.
    """
    folder = Path(__file__).resolve().parents[1] if package is None else package
    if not _git(folder, "ls-files", "--", "."):
        return None
    revision = _git(folder, "rev-parse", "HEAD")
    if not revision:
        return None
    return f"{revision}-dirty" if _git(folder, "status", "--porcelain", "--", ".") else revision


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command in a folder; ``None`` if it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
