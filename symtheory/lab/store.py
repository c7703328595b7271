"""The store: finished shards, filed under what they depend on, verified when read.

A shard lies in ``<root>/<figure>/<key>/<sha256>.nc``. The key is the digest of its identity
(:mod:`symtheory.lab.identity`), which is also written inside the file; the name of the file is the digest of its
content. One rename makes it visible, so there is no moment at which content and digest disagree. Beside it lies
``seconds.json`` with the time it took, which no result depends on.

A shard that is truncated, altered or in the wrong place is set aside as ``*.damaged`` with a :class:`StoreWarning`
that names it, and is computed again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.lab.files import decode, digest, encode, sweep, write_atomic
from symtheory.lab.identity import Identity

#: Attribute of a stored dataset that holds its identity.
IDENTITY = "symtheory_shard"


class StoreWarning(UserWarning):
    """A stored shard was damaged; it was set aside and is computed again."""


def default_root() -> Path:
    """Where shards are kept.

    Returns:
        ``$SYMTHEORY_STORE`` if set, else ``symtheory/store`` in the cache folder of the user.
    """
    if named := os.environ.get("SYMTHEORY_STORE"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "symtheory" / "store"


def seal(dataset: xr.Dataset, identity: Identity) -> bytes:
    """Bytes of a shard: the dataset with its identity.

    Args:
        dataset: What the shard function returned.
        identity: What it depends on.

    Returns:
        The content of the file.
    """
    return encode(dataset.assign_attrs({IDENTITY: identity.text()}))


def unseal(payload: bytes, identity: Identity, name: str) -> xr.Dataset:
    """Inverse of :func:`seal`.

    Args:
        payload: The content of the file.
        identity: What is expected.
        name: What to call the file in the message.

    Returns:
        The dataset, as every later reading gives it.

    Raises:
        SymtheoryError: If the bytes are not netCDF or belong to another shard.
    """
    dataset = decode(payload, name)
    if dataset.attrs.pop(IDENTITY, None) != identity.text():
        raise SymtheoryError(f"shard {identity.key} of {identity.figure} in {name}", "another one", "remove it")
    return dataset


@dataclass(frozen=True)
class Store:
    """Finished shards in a folder. Any number of processes may share it.

    Attributes:
        root: The folder; it is made at the first :meth:`put`.
    """

    root: Path

    def folder(self, identity: Identity) -> Path:
        """Where a shard is filed.

        Args:
            identity: What the shard depends on.

        Returns:
            A folder, which need not exist.
        """
        return self.root / identity.figure / identity.key

    def get(self, identity: Identity) -> xr.Dataset | None:
        """Read and verify a shard.

        Args:
            identity: What it depends on.

        Returns:
            The dataset; ``None`` if there is none, or only damaged ones, which are set aside with a warning.
        """
        for path in sorted(self.folder(identity).glob("*.nc")):
            try:
                return self._verified(path, identity)
            except FileNotFoundError:  # another process set it aside
                continue
            except (SymtheoryError, OSError) as error:
                self._set_aside(path, error)
        return None

    def unfinished(self, identity: Identity) -> Path:
        """Where a shard that takes long keeps its state until it is filed.

        Args:
            identity: What the shard depends on.

        Returns:
            A folder, which need not exist.
        """
        return self.folder(identity) / "unfinished"

    def put(self, identity: Identity, payload: bytes, seconds: float) -> None:
        """File a shard.

        Args:
            identity: What it depends on.
            payload: Its bytes, from :func:`seal`.
            seconds: How long it took.
        """
        folder = self.folder(identity)
        write_atomic(folder / "seconds.json", json.dumps({"seconds": round(seconds, 3)}).encode())
        write_atomic(folder / f"{digest(payload)}.nc", payload)
        shutil.rmtree(self.unfinished(identity), ignore_errors=True)

    def seconds(self, identity: Identity) -> float:
        """How long a stored shard took.

        Args:
            identity: What it depends on.

        Returns:
            Seconds; 0 if that was not recorded.
        """
        try:
            return float(json.loads((self.folder(identity) / "seconds.json").read_bytes())["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0

    def sweep(self) -> int:
        """Remove temporary files of processes that were killed long ago.

        Returns:
            How many were removed.
        """
        return sweep(self.root)

    def _verified(self, path: Path, identity: Identity) -> xr.Dataset:
        """Read one file, compare its content with its name, and its identity with the expected one."""
        payload = path.read_bytes()
        if digest(payload) != path.stem:
            raise SymtheoryError(f"SHA-256 {path.stem[:12]}...", f"{digest(payload)[:12]}...", "remove the file")
        return unseal(payload, identity, path.name)

    def _set_aside(self, path: Path, error: Exception) -> None:
        """Move a damaged file out of the way, as far as the folder allows, and warn."""
        try:
            path.replace(path.with_suffix(".damaged"))
            what = "it was set aside as *.damaged"
        except OSError:
            what = "it could not be moved"
        warnings.warn(f"damaged shard {path} ({error}); {what} and is computed again", StoreWarning, stacklevel=3)
