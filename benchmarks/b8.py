"""One epoch of figure B8's network against the loop as it is usually written: ``DataLoader``, modules, ``SGD``."""

from __future__ import annotations

from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import Timing, timed
from symtheory.engine import cnn
from symtheory.engine.images import Split, shuffled
from symtheory.figures import b8, continual, pictures
from symtheory.figures.base import Shard
from symtheory.lab.data import load
from symtheory.spec.numerics import relative_error


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


def network(shape: cnn.Shape, vector: Tensor) -> nn.Sequential:
    """The network as a module.

    Args:
        shape: Layers.
        vector: Its weights.

    Returns:
        Two convolutions and two linear layers.
    """
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = shape.layers(vector)
    net = nn.Sequential(
        *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(320, shape.hidden), nn.ReLU(), nn.Linear(shape.hidden, shape.classes)),
    )
    for p, value in zip(net.parameters(), (w1, b1, w2, b2, w3.T, b3, w4.T, b4), strict=True):
        p.data = value.clone(memory_format=torch.contiguous_format)
    return net


def as_vector(net: nn.Sequential) -> Tensor:
    """Inverse of :func:`network`.

    Args:
        net: From there.

    Returns:
        The weights.
    """
    return torch.cat([(p.T if p.dim() == 2 else p).detach().reshape(-1) for p in net.parameters()])


def loop(shard: Shard, split: Split) -> Tensor:
    """Train by the plain loop on the first task, in the batches of the figure.

    Args:
        shard: From ``B8``, without a bias.
        split: Images to train on.

    Returns:
        Final weights.
    """
    shape = cnn.Shape()
    net = network(shape, shape.start(torch.Generator().manual_seed(shard["seed"])))
    order = torch.Generator().manual_seed(shard["seed"] + 20_000)
    optimizer = torch.optim.SGD(net.parameters(), lr=shard["lr"], weight_decay=shard["decay"])
    for _ in range(shard["epochs"]):
        batches = [i.tolist() for i in shuffled(len(split), shard["batch"], order)]
        for x, y in DataLoader(Items(split), batch_sampler=batches):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    return as_vector(net)


def bench_b8(repeats: int = 3, samples: int = 60_000, compared: int = 640) -> Timing:
    """One epoch at the paper's preset, one thread; both in turn.

    Args:
        repeats: Epochs of either.
        samples: Images of an epoch.
        compared: Images after which the weights are compared: few, since rounding grows along a training.

    Returns:
        The timing.
    """
    config = b8.B8().presets["paper"].with_changes(tasks=3, epochs=1)
    images, before = load(config.data), torch.get_num_threads()
    shard = config.shard(config.seeds[0], 0.0, config.lr, 1)
    split, part = pictures.part(images.train, samples), pictures.part(images.train, compared)

    def ours(data: Split) -> Tensor:
        return next(continual.trained(shard, data.flat(), data.labels, images.classes))[-1]

    torch.set_num_threads(1)
    error = float(relative_error(ours(part), loop(shard, part)))
    pairs = [(timed(lambda: ours(split)), timed(lambda: loop(shard, split))) for _ in range(repeats)]
    torch.set_num_threads(before)
    seconds, reference = median(p[0] for p in pairs), min(p[1] for p in pairs)
    steps = len(split) // config.batch
    first, second, head = 24 * 24 * 10 * 25, 8 * 8 * 20 * 250, 320 * 50 + 50 * 10
    # pooling leaves a quarter of the places to go back from: by the weights, and in the second layer by the inputs too
    products = first + second + first / 4 + second / 2 + 3 * head
    return Timing(
        "B8 epoch", reference / seconds, seconds, reference, steps, error, 2.0 * steps * config.batch * products
    )
