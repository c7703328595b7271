"""Bytes on disk: datasets to netCDF and back, files that appear whole or not at all.

Equal datasets give equal bytes under one set of library versions: nothing that is written depends on the time, on the
process or on how the dataset was made. A file is written beside its target, flushed to the disk and renamed, so that a
reader sees the old file, the new file or none, never a part; this holds across processes and after ``kill -9``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import xarray as xr

from symtheory.errors import SymtheoryError

#: Attribute, of a variable or of the dataset, that says what NaN and infinity stand for; without it they are refused.
NONFINITE = "nonfinite"
#: Arrays from this size on are compressed; below it the bookkeeping costs more than it saves.
COMPRESS_FROM_BYTES = 4096
#: A temporary file this old belongs to a process that was killed.
STALE_SECONDS = 24 * 3600.0
_PART = ".part"


def digest(payload: bytes) -> str:
    """SHA-256 of some bytes.

    Args:
        payload: The bytes.

    Returns:
        64 hexadecimal digits.

    >>> digest(b"")[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(payload).hexdigest()


def require_finite(dataset: xr.Dataset, owner: str) -> None:
    """Refuse NaN and infinity where the dataset does not say what they mean.

    Args:
        dataset: Any dataset.
        owner: Whose dataset it is, for the message.

    Raises:
        SymtheoryError: If a variable without the attribute ``nonfinite`` holds a value that is not finite.
    """
    if NONFINITE in dataset.attrs:
        return
    for name, variable in dataset.variables.items():
        if NONFINITE in variable.attrs or not np.issubdtype(variable.dtype, np.inexact):
            continue
        bad = int((~np.isfinite(variable.values)).sum())
        if bad:
            raise SymtheoryError(
                f"finite values in {name!r} of {owner}",
                f"{bad} of {variable.size} NaN or infinite",
                f"find the step that diverged, or say what they mean in the variable's attribute {NONFINITE!r}",
            )


def encode(dataset: xr.Dataset) -> bytes:
    """The bytes of a dataset as netCDF.

    Args:
        dataset: Numbers, booleans and strings with named dimensions; attributes that netCDF can hold.

    Returns:
        The content of a netCDF file; the same for equal datasets.

    Raises:
        SymtheoryError: If something in the dataset has no place in netCDF.

    >>> data = xr.Dataset({"loss": ("step", [1.0, 0.5])})
    >>> encode(data) == encode(data.copy(deep=True)), decode(encode(data), "example").identical(data)
    (True, True)
    """
    plain = dataset.drop_encoding()
    encoding: dict[Any, dict[str, Any]] = {
        name: {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": variable.shape}
        for name, variable in plain.variables.items()
        if variable.dtype.kind in "iuf" and variable.nbytes >= COMPRESS_FROM_BYTES
    }
    what = "a dataset of numbers, booleans and strings"
    remedy = "split complex numbers in two variables and write attributes as numbers or strings"
    if any(variable.dtype.kind == "c" for variable in plain.variables.values()):
        raise SymtheoryError(what, "complex numbers, which few readers of netCDF understand", remedy)
    # In a process that is part of a Dask cluster, xarray would have the cluster lock the file; there is none here.
    dask = sys.modules.get("dask.config")
    try:
        with contextlib.nullcontext() if dask is None else dask.set(scheduler="synchronous"):
            return bytes(plain.to_netcdf(engine="h5netcdf", encoding=encoding))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise SymtheoryError(what, f"something netCDF cannot hold ({error})", remedy) from error


def decode(payload: bytes, name: str) -> xr.Dataset:
    """Inverse of :func:`encode`.

    Args:
        payload: The content of a netCDF file.
        name: What to call it in the message.

    Returns:
        The dataset, in memory, without traces of the file.

    Raises:
        SymtheoryError: If the bytes are not netCDF.
    """
    try:
        return xr.load_dataset(io.BytesIO(payload), engine="h5netcdf").drop_encoding()
    except Exception as error:  # damaged HDF5 fails in more ways than can be listed
        raise SymtheoryError(
            f"a netCDF file in {name}", f"bytes that do not parse ({type(error).__name__})", "remove it and run again"
        ) from error


def write_atomic(path: Path, payload: bytes) -> None:
    """Write a file so that it appears whole or not at all.

    Args:
        path: The target; its folder is made if need be.
        payload: The content.

    Raises:
        SymtheoryError: If the folder cannot be written or the disk is full. Nothing is left behind then.
    """
    part = path.parent / f".{path.name[:40]}.{uuid.uuid4().hex}{_PART}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as handle:
                handle.write(payload)
                handle.flush()
                os.fsync(handle.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        _refuse(path, error)


def require_writable(folder: Path) -> None:
    """Find out before hours of work whether its result can be written.

    Args:
        folder: Made if need be.

    Raises:
        SymtheoryError: If a file cannot be made there.
    """
    probe = folder / f".probe.{uuid.uuid4().hex}{_PART}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        _refuse(folder, error)


def sweep(folder: Path, older_than: float = STALE_SECONDS) -> int:
    """Remove temporary files that killed processes left behind.

    Args:
        folder: Searched with everything below it; it need not exist.
        older_than: Age in seconds; younger files may be in use by another process.

    Returns:
        How many were removed.
    """
    removed = 0
    for part in folder.rglob(f".*{_PART}"):
        try:
            if time.time() - part.stat().st_mtime >= older_than:
                part.unlink()
                removed += 1
        except OSError:  # another process was faster, or the folder is read-only
            continue
    return removed


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where folders can be flushed."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # file systems without this notion
            raise
    finally:
        os.close(handle)


def _refuse(path: Path, error: OSError) -> NoReturn:
    """Raise an operating-system error as expected, got, remedy."""
    reason = (error.strerror or type(error).__name__).lower()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some space and run again; what is done is kept"
        raise SymtheoryError(f"space for {path}", reason, remedy) from error
    remedy = "mend the permissions, or name another folder with --results, $SYMTHEORY_RESULTS or $SYMTHEORY_STORE"
    raise SymtheoryError(f"to be able to write {path}", reason, remedy) from error
