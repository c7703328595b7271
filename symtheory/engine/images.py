"""Image data sets as whole tensors of bytes, and batches of them on the device where they lie.

A data set knows its name, the digest of the files it was read from, and what kind of copy it is. No worker processes:
a batch is an index into a tensor, and its randomness comes from a generator that the caller gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError

#: Notes of a data set: the authors' own files; CIFAR-10 rebuilt from JPEGs; images made up for tests.
CANONICAL, JPEG_COPY, STAND_IN = "canonical files", "JPEG copy", "synthetic stand-in"


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Attributes:
        images: Bytes of shape ``(n, channels, height, width)``.
        labels: Integers of shape ``(n,)``.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        x, y = self.images, self.labels
        if x.dim() != 4 or y.shape != x.shape[:1] or x.dtype != torch.uint8 or y.dtype != torch.int64:
            raise SymtheoryError(
                "uint8 images (n, c, h, w) and int64 labels (n,)",
                f"{x.dtype} {tuple(x.shape)} and {y.dtype} {tuple(y.shape)}",
                "convert them",
            )

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> Split:
        """The same on another device.

        Args:
            device: Such as ``cuda``.

        Returns:
            The split there.
        """
        return Split(self.images.to(device), self.labels.to(device))

    def first(self, count: int) -> Split:
        """A subset.

        Args:
            count: Number of images.

        Returns:
            The first ``count`` of them, in the order of the files.

        Raises:
            SymtheoryError: If there are not so many.
        """
        if not 0 < count <= len(self):
            raise SymtheoryError(f"between 1 and {len(self)} images", f"{count}", "ask for fewer")
        return Split(self.images[:count], self.labels[:count])

    def shrunk(self, side: int) -> Split:
        """Smaller images, each pixel the mean of a square.

        Args:
            side: New height and width, which divides the old ones.

        Returns:
            The split with fewer pixels; itself if there is nothing to do.

        Raises:
            SymtheoryError: If it does not divide them.
        """
        height, width = self.images.shape[-2:]
        if side < 1 or height % side or width % side:
            raise SymtheoryError(f"a side that divides {height} and {width}", f"{side}", "take half or a quarter")
        if side == height == width:
            return self
        means = torch.nn.functional.adaptive_avg_pool2d(self.images.float(), side)
        return Split(means.round_().to(torch.uint8), self.labels)

    def flat(self) -> Tensor:
        r"""Pixels as numbers in $[0, 1]$.

        Returns:
            Shape ``(n, channels * height * width)``, in single precision.
        """
        return scaled(self.images).flatten(1)


@dataclass(frozen=True)
class Images:
    """A data set, whole.

    Attributes:
        name: Such as ``mnist``.
        digest: Of the content of its files, see :func:`digest_of`.
        note: ``CANONICAL``, ``JPEG_COPY`` or ``STAND_IN``.
        train: To train on.
        test: To test on.
        classes: Number of classes.
    """

    name: str
    digest: str
    note: str
    train: Split
    test: Split
    classes: int

    @property
    def canonical(self) -> bool:
        """Whether it is what its authors published, bit for bit."""
        return self.note == CANONICAL

    def to(self, device: str) -> Images:
        """The same on another device.

        Args:
            device: Such as ``cuda``.

        Returns:
            The data set there.
        """
        return Images(self.name, self.digest, self.note, self.train.to(device), self.test.to(device), self.classes)

    def origin(self) -> dict[str, dict[str, str]]:
        """What a result made from it has to say.

        Returns:
            Name to digest and note.
        """
        return {self.name: {"sha256": self.digest, "note": self.note}}


#: Name of a data set to the data set.
Loader = Callable[[str], Images]


def digest_of(files: dict[str, str]) -> str:
    """Digest of a data set of several files.

    Args:
        files: Name to SHA-256 of the content, uncompressed.

    Returns:
        SHA-256 of the lines ``name digest``, by name; it does not depend on how a file was compressed.

    >>> digest_of({"b": "2", "a": "1"}) == digest_of({"a": "1", "b": "2"}) != digest_of({"a": "2", "b": "1"})
    True
    """
    lines = "".join(f"{name} {files[name]}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def scaled(images: Tensor) -> Tensor:
    """Bytes as numbers.

    Args:
        images: Bytes of any shape.

    Returns:
        Single precision, 0 for black and 1 for white.

    >>> scaled(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist()
    [0.0, 0.2..., 1.0]
    """
    return images.to(torch.float32).div_(255)


def shuffled(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of the batches of one epoch, each sample once; what is left of the last batch is dropped.

    Args:
        count: Number of samples.
        size: Of a batch.
        generator: Source of randomness; the indices are on its device.

    Yields:
        Shape ``(size,)``.

    Raises:
        SymtheoryError: If a batch is larger than the data.

    >>> [len(i) for i in shuffled(10, 4, torch.Generator().manual_seed(0))]
    [4, 4]
    """
    if not 0 < size <= count:
        raise SymtheoryError(f"batches of 1 to {count} samples", f"{size}", "take smaller batches")
    order = torch.randperm(count, generator=generator, device=generator.device)
    yield from order[: count // size * size].split(size)


def stand_in(count: int = 512, side: int = 28, classes: int = 10, seed: int = 0, channels: int = 1) -> Images:
    """Made-up images for tests that must run without files: a dark, blurred pattern for each class, and noise.

    Args:
        count: Images to train on; a quarter as many to test on.
        side: Width and height.
        classes: Number of classes.
        seed: Seed.
        channels: 1 for grey images, 3 for colours.

    Returns:
        A data set that says what it is.
    """
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(classes, channels, 7, 7, generator=g)
    patterns = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False) ** 3

    def draw(n: int) -> Split:
        labels = torch.randint(classes, (n,), generator=g)
        noise = 0.2 * torch.randn(n, channels, side, side, generator=g)
        return Split((255 * (patterns[labels] + noise).clamp(0, 1)).to(torch.uint8), labels)

    train, test = draw(count), draw(count // 4)
    content = hashlib.sha256(train.images.numpy().tobytes() + test.images.numpy().tobytes()).hexdigest()
    return Images("stand-in", content, STAND_IN, train, test, classes)
