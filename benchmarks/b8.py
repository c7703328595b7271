"""One epoch of figure B8's network against the loop as it is usually written: ``DataLoader``, modules, ``SGD``."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import epochs
from benchmarks.timing import Timing
from symtheory.engine import cnn
from symtheory.engine.images import Split
from symtheory.figures import b8, continual
from symtheory.figures.base import Shard
from symtheory.lab.data import load


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
    epochs.loop(net, shard, split)
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
    images = load(config.data)
    shard = config.shard(config.seeds[0], 0.0, config.lr, 1)

    def ours(data: Split) -> Tensor:
        return next(continual.trained(shard, data.flat(), data.labels, images.classes))[-1]

    first, second, head = 24 * 24 * 10 * 25, 8 * 8 * 20 * 250, 320 * 50 + 50 * 10
    # pooling leaves a quarter of the places to go back from: by the weights, and in the second layer by the inputs too
    flops = 2.0 * config.batch * (first + second + first / 4 + second / 2 + 3 * head)
    plain = partial(loop, shard)
    return epochs.compare("B8", ours, plain, images.train, config.batch, flops, repeats, samples, compared)
