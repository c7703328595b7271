"""One epoch of a figure's network against the loop as it is usually written: ``DataLoader``, modules, ``SGD``."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import Timing, timed
from symtheory.engine.images import Split, shuffled
from symtheory.figures import pictures
from symtheory.figures.base import Shard
from symtheory.spec.numerics import relative_error

#: Trains one network on a data set, and gives its final weights.
Train = Callable[[Split], Tensor]


class Items(Dataset[Any]):
    """Images one by one, made into numbers when they are asked for.

    Args:
        split: The data set.
    """

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.split.images[index].float().div(255), int(self.split.labels[index])


def loop(net: nn.Module, shard: Shard, split: Split) -> None:
    """Train a module by the plain loop, in the batches of the figure.

    Args:
        net: The network; it is trained in place.
        shard: Settings of the figure, without a bias.
        split: Images to train on.
    """
    order = torch.Generator().manual_seed(shard["seed"] + 20_000)
    optimizer = torch.optim.SGD(net.parameters(), lr=shard["lr"], weight_decay=shard["decay"])
    for _ in range(shard["epochs"]):
        batches = [i.tolist() for i in shuffled(len(split), shard["batch"], order)]
        for x, y in DataLoader(Items(split), batch_sampler=batches):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()


def compare(
    figure: str, ours: Train, plain: Train, images: Split, batch: int, flops: float, repeats: int, samples: int,
    compared: int,
) -> Timing:  # fmt: skip
    """Both in turn, on one thread.

    Args:
        figure: Id of the figure.
        ours: The figure's training.
        plain: The loop.
        images: The data set.
        batch: Images of a batch.
        flops: Operations for a batch.
        repeats: Epochs of either.
        samples: Images of an epoch.
        compared: Images after which the weights are compared: few, since rounding grows along a training.

    Returns:
        The timing.
    """
    split, few, before = pictures.part(images, samples), pictures.part(images, compared), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        error = float(relative_error(ours(few), plain(few)))
        pairs = [(timed(lambda: ours(split)), timed(lambda: plain(split))) for _ in range(repeats)]
    finally:
        torch.set_num_threads(before)
    seconds, reference = median(p[0] for p in pairs), min(p[1] for p in pairs)
    steps = len(split) // batch
    return Timing(f"{figure} epoch", reference / seconds, seconds, reference, steps, error, steps * flops)
