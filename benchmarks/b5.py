"""One epoch of figure B5's network against the loop as it is usually written: ``DataLoader``, autograd, ``SGD``."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import epochs
from benchmarks.timing import Timing
from symtheory.engine import mlp
from symtheory.engine.images import Split
from symtheory.figures import fcn
from symtheory.figures.b5 import B5
from symtheory.figures.base import Shard
from symtheory.lab.data import load


def network(shape: mlp.Shape, vector: Tensor) -> nn.Sequential:
    """The network as a module.

    Args:
        shape: Layers.
        vector: Its weights.

    Returns:
        Linear layers with ReLU between them, after images are flattened.
    """
    parts: list[nn.Module] = [nn.Flatten()]
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
    epochs.loop(net, shard, split)
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
    images = load(config.data)
    shard = config.shard(config.seeds[0], config.decay, 1.0, 0.0)

    def ours(data: Split) -> Tensor:
        return fcn.trained(shard, data.flat(), data.labels, images.classes)[1]

    weights = 784 * config.hidden + 2 * config.hidden**2 + 10 * config.hidden
    # every weight meets every image forward, and backward twice, but for the inputs' own gradient
    flops = 2.0 * config.batch * (3 * weights - 784 * config.hidden)
    plain = partial(loop, shard)
    return epochs.compare("B5", ours, plain, images.train, config.batch, flops, repeats, samples, compared)
