"""One epoch of figure B5's network against the loop as it is usually written: ``DataLoader``, autograd, ``SGD``."""

from __future__ import annotations

from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import Timing, timed
from symtheory.engine import mlp
from symtheory.engine.images import Split, shuffled
from symtheory.figures import fcn, pictures
from symtheory.figures.b5 import B5
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
        return self.split.images[index].float().div(255).flatten(), int(self.split.labels[index])


def network(shape: mlp.Shape, vector: Tensor) -> nn.Sequential:
    """The network as a module.

    Args:
        shape: Layers.
        vector: Its weights.

    Returns:
        Linear layers with ReLU between them.
    """
    parts: list[nn.Module] = []
    for k, (w, b) in enumerate(shape.layers(vector)):
        layer = nn.Linear(w.shape[0], w.shape[1])
        layer.weight.data, layer.bias.data = w.T.clone(), b.clone()
        parts += [nn.ReLU(), layer] if k else [layer]
    return nn.Sequential(*parts)


def as_vector(net: nn.Sequential) -> Tensor:
    """Inverse of :func:`network`.

    Args:
        net: Linear layers.

    Returns:
        The weights.
    """
    layers = [part for part in net if isinstance(part, nn.Linear)]
    return torch.cat([t.detach().reshape(-1) for p in layers for t in (p.weight.T, p.bias)])


def loop(shard: Shard, split: Split) -> Tensor:
    """Train by the plain loop, in the batches of the figure.

    Args:
        shard: From ``B5``, without a bias.
        split: Images to train on.

    Returns:
        Final weights.
    """
    shape = mlp.Shape((784, *(shard["hidden"],) * 3, 10))
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


def bench_b5(repeats: int = 3, samples: int = 60_000, compared: int = 640) -> Timing:
    """One epoch at the paper's preset, one thread; both in turn.

    Args:
        repeats: Epochs of either.
        samples: Images of an epoch.
        compared: Images after which the weights are compared: few, since rounding grows along a training.

    Returns:
        The timing.
    """
    config = B5().presets["paper"].with_changes(epochs=1, samples=samples)
    images, before = load(config.data), torch.get_num_threads()
    split, few = pictures.part(images.train, samples), pictures.part(images.train, compared)
    shard = config.shard(config.seeds[0], config.decay, 1.0, 0.0)

    def ours(data: Split) -> Tensor:
        return fcn.trained(shard, data.flat(), data.labels, images.classes)[1]

    torch.set_num_threads(1)
    error = float(relative_error(ours(few), loop(shard, few)))
    pairs = [(timed(lambda: ours(split)), timed(lambda: loop(shard, split))) for _ in range(repeats)]
    torch.set_num_threads(before)
    seconds, reference = median(p[0] for p in pairs), min(p[1] for p in pairs)
    steps = len(split) // config.batch
    weights = 784 * config.hidden + 2 * config.hidden**2 + 10 * config.hidden
    # every weight meets every image forward, and backward twice, but for the inputs' own gradient
    flops = 2.0 * steps * config.batch * (3 * weights - 784 * config.hidden)
    return Timing("B5 epoch", reference / seconds, seconds, reference, steps, error, flops)
