r"""Training an image classifier by epochs: batches made on the device, precision and speed as the device allows.

The loss is the mean cross-entropy. Images lie on the device as bytes; a batch is cropped and mirrored there, then
normalised by mean and standard deviation of each channel over the training images. On a GPU the network is compiled
and runs in bfloat16 where autocast takes it to be safe, weights and optimiser in single precision. All randomness of
an epoch comes from the seed and its number, so that a training that goes on after an interruption draws the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from symtheory.engine import augment
from symtheory.engine.images import Split, scaled, shuffled
from symtheory.engine.resuming import Bookmark
from symtheory.errors import SymtheoryError

Anneal = Literal["constant", "cosine"]
#: Pixels that are added on each side before a window is cut.
PADDING = 4
#: Images that are evaluated at once.
_CHUNK = 1000


@dataclass(frozen=True)
class Plan:
    """How long and in what steps.

    Attributes:
        epochs: Passes over the images.
        batch: Images a step.
        lr: Learning rate of the first step.
        anneal: ``constant``, or ``cosine`` to fall to zero along half a period of a cosine.
        moved: Whether images are cropped and mirrored at random.
        seed: Of order and augmentation.
    """

    epochs: int
    batch: int
    lr: float
    anneal: Anneal = "constant"
    moved: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1 or not self.lr > 0 or self.anneal not in get_args(Anneal):
            got = f"{self.epochs} epochs, batch {self.batch}, lr {self.lr}, {self.anneal!r}"
            raise SymtheoryError(f"an epoch, a batch, lr > 0, one of {get_args(Anneal)}", got, "change them")

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step.

        Args:
            step: From 0.
            steps: Of the whole training.

        Returns:
            The rate.

        >>> plan = Plan(1, 1, 0.2, "cosine")
        >>> [round(plan.rate(t, 4), 3) for t in range(4)]
        [0.2, 0.171, 0.1, 0.029]
        """
        return self.lr if self.anneal == "constant" else self.lr * (1 + math.cos(math.pi * step / steps)) / 2


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
        return ((scaled(images) - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def _generator(device: torch.device, *seeds: int) -> torch.Generator:
    """A stream of its own for any numbers."""
    mixed = torch.tensor(seeds, dtype=torch.int64)
    start = int((mixed * torch.tensor([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D][: len(seeds)])).sum()) & 0x7FFF_FFFF_FFFF
    return torch.Generator(device).manual_seed(start)


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
    order = _generator(torch.device("cpu"), plan.seed, epoch, 0)
    g = _generator(device, plan.seed, epoch, 1)
    for index in shuffled(len(split), plan.batch, order):
        at = index.to(device)
        images = split.images[at]
        yield (augment.flip(augment.crop(images, PADDING, g), g) if plan.moved else images), split.labels[at]


def precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 for what allows it on a GPU; single precision on a CPU.

    Args:
        device: Where to compute.

    Returns:
        A context.
    """
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


@dataclass
class Epoch:
    """What a training reports after every epoch.

    Attributes:
        number: From 1.
        loss: Mean cross-entropy over its batches.
        seconds: Time of its steps.
    """

    number: int
    loss: float
    seconds: float


#: Measures a model after an epoch: name to number.
Measure = Callable[[Epoch], dict[str, float]]


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
    mark = Bookmark() if bookmark is None else bookmark
    device = split.images.device
    run: Callable[[Tensor], Tensor] = torch.compile(model) if device.type == "cuda" else model
    history: list[dict[str, float]] = []
    if (kept := mark.load()) is not None:
        _restore(model, optimizer, kept)
        history = [dict(row) for row in kept["history"]]
    per_epoch = len(split) // plan.batch
    for epoch in range(len(history), plan.epochs):
        model.train()
        total, start = torch.zeros((), device=device), _now(device)
        for k, (images, labels) in enumerate(batches(split, plan, epoch)):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(epoch * per_epoch + k, plan.epochs * per_epoch)
            optimizer.zero_grad(set_to_none=True)
            with precision(device):
                loss = functional.cross_entropy(run(normalise(images)), labels)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        mean, seconds = float(total) / per_epoch, _now(device) - start
        if not math.isfinite(mean):
            raise SymtheoryError("a finite loss", f"{mean} in epoch {epoch + 1}", "take a smaller learning rate")
        model.eval()
        with torch.no_grad():
            history.append(measure(Epoch(epoch + 1, mean, seconds)))
        mark.keep({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history})
    return history


def _restore(model: nn.Module, optimizer: Optimizer, kept: dict[str, Any]) -> None:
    model.load_state_dict(kept["model"])
    optimizer.load_state_dict(kept["optimizer"])


def _now(device: torch.device) -> float:
    """Time when everything that was started on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


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
