r"""Training a model by epochs: the loop that supervised and contrastive training share.

Who trains says what a batch is and what its loss; the loop does the rest: steps at the rate that a plan gives, a
measure after every epoch, and states kept so that an interrupted training goes on from there. On a GPU a model is
compiled and runs in bfloat16 where autocast takes it to be safe, weights and optimiser in single precision. All
randomness of an epoch has to come from the seed and its number, so that a training that goes on draws the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from symtheory.engine.resuming import Bookmark
from symtheory.errors import SymtheoryError

Anneal = Literal["constant", "cosine"]
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Plan:
    """How long and in what steps.

    Attributes:
        epochs: Passes over the images.
        batch: Images a step.
        lr: Learning rate of the first step.
        anneal: ``constant``, or ``cosine`` to fall to zero along half a period of a cosine.
        seed: Of order and augmentation.
    """

    epochs: int
    batch: int
    lr: float
    anneal: Anneal = "constant"
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


@dataclass
class Epoch:
    """What a training reports after every epoch.

    Attributes:
        number: From 1.
        loss: Mean over its batches.
        seconds: Time of its steps.
    """

    number: int
    loss: float
    seconds: float


#: Measures a model after an epoch: name to number.
Measure = Callable[[Epoch], dict[str, float]]


def stream(device: torch.device, *seeds: int) -> torch.Generator:
    """A stream of random numbers of its own for up to three numbers.

    Args:
        device: Where it draws.
        *seeds: Such as seed, epoch and purpose.

    Returns:
        The generator.
    """
    mixed = torch.tensor(seeds, dtype=torch.int64)
    start = int((mixed * torch.tensor([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D][: len(seeds)])).sum()) & 0x7FFF_FFFF_FFFF
    return torch.Generator(device).manual_seed(start)


def precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 for what allows it on a GPU; single precision on a CPU.

    Args:
        device: Where to compute.

    Returns:
        A context.
    """
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def compiled(model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A model to train with, compiled where that pays.

    Args:
        model: Any module of one argument.
        device: Where it lies.

    Returns:
        The same function, with the same parameters.
    """
    return torch.compile(model) if device.type == "cuda" else model


def train(
    model: nn.Module,
    optimizer: Optimizer,
    plan: Plan,
    steps: int,
    batches: Callable[[int], Iterator[Batch]],
    loss: Callable[[Batch], Tensor],
    measure: Measure,
    *,
    device: torch.device,
    bookmark: Bookmark | None = None,
) -> list[dict[str, float]]:
    """Train a model, from where an interrupted training of the same settings ended if it kept its state.

    Args:
        model: Changed in place.
        optimizer: Of its parameters; its learning rate follows the plan.
        plan: What to do.
        steps: Batches of an epoch.
        batches: Number of an epoch, from 0, to its batches.
        loss: Loss of a batch, called with the model in training mode and the precision of the device.
        measure: Called after every epoch with the model in evaluation mode.
        device: Where the model lies.
        bookmark: Where to keep states; default about every minute, if a folder was named.

    Returns:
        What ``measure`` gave, one entry an epoch.

    Raises:
        SymtheoryError: If the loss is not finite.
    """
    mark = Bookmark() if bookmark is None else bookmark
    history: list[dict[str, float]] = []
    if (kept := mark.load()) is not None:
        _restore(model, optimizer, kept)
        history = [dict(row) for row in kept["history"]]
    for epoch in range(len(history), plan.epochs):
        model.train()
        total, start = torch.zeros((), device=device), _now(device)
        for k, batch in enumerate(batches(epoch)):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(epoch * steps + k, plan.epochs * steps)
            optimizer.zero_grad(set_to_none=True)
            with precision(device):
                value = loss(batch)
            value.backward()
            optimizer.step()
            total += value.detach()
        mean, seconds = float(total) / steps, _now(device) - start
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
