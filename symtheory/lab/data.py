"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 as whole tensors, from files that are verified.

Files are looked for in ``$SYMTHEORY_DATA``, in the layout in which their authors give them (``mnist/*.gz``,
``cifar-10-batches-bin/*.bin``), then in the cache of the user, then on the network. A file that is not what it should
be is refused by name; in the cache it is removed and fetched again.

CIFAR-10 exists as a copy rebuilt from JPEGs, with the layout of the original and other pixels. It is let in where *no*
file is the published one and every class has its number of images, and says that it is a JPEG copy; where only some
files differ, these are damaged.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from symtheory.engine.images import CANONICAL, JPEG_COPY, Images, Split, digest_of
from symtheory.errors import SymtheoryError
from symtheory.lab.catalogue import COLLECTIONS, Collection
from symtheory.lab.downloads import cache, download, unpack
from symtheory.lab.files import digest

#: Environment variable with the folder of the data sets.
VARIABLE = "SYMTHEORY_DATA"
_MAGIC = {3: 0x803, 1: 0x801}
_SIDE = 32
_REMEDY = "remove it, so that it is downloaded again, or replace it by the published file"


def load(name: str) -> Images:
    """A data set, verified, in memory; the second time at once.

    Args:
        name: ``mnist``, ``fashion-mnist``, ``cifar-10`` or ``cifar-100``.

    Returns:
        The data set on the CPU. It is shared: do not write into it.

    Raises:
        SymtheoryError: If there is no such data set, a file is neither there nor to be had, or one is damaged.
    """
    if name not in COLLECTIONS:
        raise SymtheoryError(f"a data set among {', '.join(COLLECTIONS)}", repr(name), "check the name")
    return _load(name, os.environ.get(VARIABLE, ""))


@functools.lru_cache(maxsize=2)
def _load(name: str, root: str) -> Images:
    """The same, by everything it depends on."""
    collection = COLLECTIONS[name]
    contents = {file: _content(collection, file, root) for file in collection.files}
    found = {file: digest(content) for file, content in contents.items()}
    other = [file for file in found if found[file] != collection.files[file]]
    if other and len(other) < len(found):
        _refuse(collection, Path(root).expanduser() / collection.folder / other[0], contents[other[0]])
    train, test = (_idx if collection.kind == "idx" else _cifar)(collection, contents)
    if other:
        _require_balance(collection, train, test)
    note = JPEG_COPY if other else CANONICAL
    return Images(name, digest_of(found), note, train, test, collection.classes)


def _content(collection: Collection, file: str, root: str) -> bytes:
    """Verified content of a file, from the user's folder, the cache or the network."""
    own = Path(root).expanduser() / collection.folder / file if root else None
    if own is not None and own.exists():
        return _verified(collection, own, strict=not collection.copies)
    path = cache() / collection.folder / file
    if path.exists():
        with contextlib.suppress(SymtheoryError):  # a damaged file in the cache is replaced below
            return _verified(collection, path)
    parcel = collection.parcels[file]
    fetched = download(parcel, path.parent, needed=f"{collection.folder}/{file}")
    if parcel.name != file:
        unpack(fetched, tuple(f for f, p in collection.parcels.items() if p == parcel), path.parent)
    return _verified(collection, path)


def _verified(collection: Collection, path: Path, *, strict: bool = True) -> bytes:
    """Read, unpack and, if ``strict``, compare with the published digest."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise SymtheoryError(f"a whole file {path}", f"{type(error).__name__}: {error}", _REMEDY) from error
    if strict and digest(content) != collection.files[path.name]:
        _refuse(collection, path, content)
    return content


def _refuse(collection: Collection, path: Path, content: bytes) -> NoReturn:
    """Say which file is not the published one."""
    got = f"{digest(content)}, {len(content)} bytes"
    raise SymtheoryError(f"{path} with content of SHA-256 {collection.files[path.name]}", got, _REMEDY)


def _require_balance(collection: Collection, train: Split, test: Split) -> None:
    """Of a copy one can at least say how many images each class has."""
    for split in (train, test):
        counts = torch.bincount(split.labels, minlength=collection.classes)
        if counts.min() != counts.max():
            got = f"{int(counts.min())} to {int(counts.max())}"
            remedy = "these files are neither the published ones nor a copy of them: replace them"
            raise SymtheoryError(f"as many images in every class of {collection.folder}", got, remedy)


def _idx(collection: Collection, contents: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Images and labels in the format of MNIST: a magic number, sizes, bytes."""
    arrays = [_array(file, content) for file, content in contents.items()]
    images, labels = ([a for a in arrays if a.dim() == d] for d in (3, 1))
    first, second = (Split(x[:, None], y.long()) for x, y in zip(images, labels, strict=True))
    return first, second


def _array(file: str, content: bytes) -> Tensor:
    """One idx file."""
    dims = 3 if "idx3" in file else 1
    head = 4 * (dims + 1)
    magic, *shape = struct.unpack(f">{dims + 1}I", content[:head]) if len(content) >= head else (0,)
    size = 1
    for n in shape:
        size *= n
    if magic != _MAGIC[dims] or len(content) != head + size:
        raise SymtheoryError(
            f"an idx file of {dims} dims in {file}", f"magic number {magic:#x}, {len(content)} bytes", "replace it"
        )
    return torch.frombuffer(bytearray(content[head:]), dtype=torch.uint8).reshape(shape)


def _cifar(collection: Collection, contents: Mapping[str, bytes]) -> tuple[Split, Split]:
    """Records of one label (CIFAR-100: a coarse one first, which is dropped) and the pixels, channels first."""
    head = 2 if collection.kind == "cifar-100" else 1
    parts: dict[bool, list[Tensor]] = {False: [], True: []}
    for file, content in contents.items():
        if not content or len(content) % (head + 3 * _SIDE**2):
            raise SymtheoryError(
                f"records of {head + 3 * _SIDE**2} bytes in {file}", f"{len(content)} bytes", "replace it"
            )
        rows = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(-1, head + 3 * _SIDE**2)
        parts[file.startswith("test")].append(rows)
    train, test = (torch.cat(parts[key]) for key in (False, True))
    first, second = (
        Split(rows[:, head:].reshape(-1, 3, _SIDE, _SIDE).contiguous(), rows[:, head - 1].long())
        for rows in (train, test)
    )
    for split in (first, second):
        if int(split.labels.max()) >= collection.classes:
            raise SymtheoryError(
                f"labels below {collection.classes} in {collection.folder}", f"{int(split.labels.max())}", "replace it"
            )
    return first, second
