r"""Training an image classifier by epochs: batches made on the device, precision and speed as the device allows.

The loss is the mean cross-entropy. Images lie on the device as bytes; a batch is cropped and mirrored there, then
normalised by mean and standard deviation of each channel over the training images. The loop is that of
:mod:`symtheory.engine.epochs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from symtheory.engine import augment, epochs
from symtheory.engine.epochs import Epoch as Epoch
from symtheory.engine.epochs import Measure
from symtheory.engine.images import Split, scaled, shuffled
from symtheory.engine.resuming import Bookmark

#: Pixels that are added on each side before a window is cut.
PADDING = 4
#: Images that are evaluated at once.
_CHUNK = 1000


@dataclass(frozen=True)
class Plan(epochs.Plan):
    """How long and in what steps, and on what images.

    Attributes:
        moved: Whether images are cropped and mirrored at random.
    """

    moved: bool = True


class Normalise:
    """Bytes to numbers of mean 0 and variance 1 in each channel of some images.

    Args:
        images: Bytes of shape ``(n, channels, height, width)``.
    """

    def __init__(self, images: Tensor) -> None:
        parts = [scaled(part).double() for part in images.split(_CHUNK)]
        count = images.numel() / images.shape[1]
        mean = torch.stack([p.sum((0, 2, 3)) for p in parts]).sum(0) / count
        square = torch.stack([p.square().sum((0, 2, 3)) for p in parts]).sum(0) / count
        self.mean = mean.float().reshape(1, -1, 1, 1)
        self.std = (square - mean**2).clamp(min=1e-12).sqrt().float().reshape(1, -1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise.

        Args:
            images: Bytes of shape ``(n, channels, height, width)``.

        Returns:
            Numbers, the channels last in memory.
        """
        return self.colours(scaled(images))

    def colours(self, images: Tensor) -> Tensor:
        """Normalise what is no longer bytes.

        Args:
            images: Numbers between 0 and 1, of shape ``(n, channels, height, width)``.

        Returns:
            Numbers, the channels last in memory.
        """
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def batches(split: Split, plan: Plan, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of one epoch, augmented.

    Args:
        split: On the device.
        plan: What to do.
        epoch: Its number, from 0.

    Yields:
        Bytes and labels of one batch.
    """
    device = split.images.device
    order = epochs.stream(torch.device("cpu"), plan.seed, epoch, 0)
    g = epochs.stream(device, plan.seed, epoch, 1)
    for index in shuffled(len(split), plan.batch, order):
        at = index.to(device)
        images = split.images[at]
        yield (augment.flip(augment.crop(images, PADDING, g), g) if plan.moved else images), split.labels[at]


def train(
    model: nn.Module,
    optimizer: Optimizer,
    split: Split,
    normalise: Normalise,
    plan: Plan,
    measure: Measure,
    *,
    bookmark: Bookmark | None = None,
) -> list[dict[str, float]]:
    """Train a classifier, from where an interrupted training of the same settings ended if it kept its state.

    Args:
        model: On the device of the images, its channels last in memory; changed in place.
        optimizer: Of its parameters; its learning rate follows the plan.
        split: Images and labels on the device.
        normalise: Made from the training images.
        plan: What to do.
        measure: Called after every epoch with the model in evaluation mode.
        bookmark: Where to keep states; default about every minute, if a folder was named.

    Returns:
        What ``measure`` gave, one entry an epoch.

    Raises:
        SymtheoryError: If the loss is not finite.
    """
    device = split.images.device
    run = epochs.compiled(model, device)

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        return functional.cross_entropy(run(normalise(images)), labels)

    steps = len(split) // plan.batch
    return epochs.train(
        model, optimizer, plan, steps, lambda epoch: batches(split, plan, epoch), loss, measure,
        device=device, bookmark=bookmark,
    )  # fmt: skip


@torch.no_grad()
def outputs(function: Callable[[Tensor], Tensor], images: Tensor, normalise: Normalise) -> Tensor:
    """A function of images, by parts, in single precision.

    Args:
        function: Such as a model in evaluation mode.
        images: Bytes.
        normalise: Made from the training images.

    Returns:
        Its values, one row an image.
    """
    return torch.cat([function(normalise(part)).float() for part in images.split(_CHUNK)])


def accuracy(model: nn.Module, split: Split, normalise: Normalise) -> float:
    """Part of the images that a model in evaluation mode classifies rightly.

    Args:
        model: Logits of images.
        split: On its device.
        normalise: Made from the training images.

    Returns:
        Between 0 and 1.
    """
    return float((outputs(model, split.images, normalise).argmax(1) == split.labels).double().mean())
