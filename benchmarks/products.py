"""Hessian-vector products: ours, curvlinops, and the plain double backward, in turn in one process.

Networks of about a million parameters, 1000 samples, single precision, two threads. ``linear`` to ``tanh`` to
``linear`` is one model, a deeper one the other: there the matrix products that every method needs weigh more.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import Timing, timed
from symtheory.engine.model import loss_of
from symtheory.engine.operators import hvp_of
from symtheory.errors import SymtheoryError
from symtheory.spec.numerics import relative_error
from symtheory.spec.params import flatten, params_of, shapes_of, unflatten

MODELS = {"784-1270-10": (784, 1270, 10), "256-808-808-160": (256, 808, 808, 160)}


def network(widths: tuple[int, ...]) -> nn.Sequential:
    """A tanh network from seed 0.

    Args:
        widths: Of all layers, input and output included.

    Returns:
        The network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pairs = list(pairwise(widths))
        layers = [m for a, b in pairs for m in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1])


def contenders(widths: tuple[int, ...], samples: int) -> tuple[dict[str, Callable[[Tensor], Tensor]], int]:
    """Every way to multiply, from flat vector to flat vector.

    Args:
        widths: Of the network's layers.
        samples: How many.

    Returns:
        Name to product, and the number of parameters.

    Raises:
        SymtheoryError: If curvlinops is not installed.
    """
    if find_spec("curvlinops") is None:
        raise SymtheoryError("curvlinops, to compare with", "no such package", "pip install -e '.[bench]'")
    from curvlinops import HessianLinearOperator  # pyright: ignore[reportMissingImports]

    net, criterion = network(widths), nn.MSELoss()
    g = torch.Generator().manual_seed(1)
    batch = (torch.randn(samples, widths[0], generator=g), torch.randn(samples, widths[-1], generator=g))
    params, loss = params_of(net), loss_of(net, criterion)
    shapes = shapes_of(params)
    kept, recorded = hvp_of(loss, params, batch), hvp_of(loss, params, batch, repeated=True)
    weights = dict(net.named_parameters())
    # one batch, and no second pass over it to see whether it is deterministic
    theirs = HessianLinearOperator(net, criterion, list(weights.values()), [batch], check_deterministic=False)

    def plain(v: Tensor) -> Tensor:
        slopes = torch.autograd.grad(criterion(net(batch[0]), batch[1]), list(weights.values()), create_graph=True)
        return flatten(dict(zip(shapes, torch.autograd.grad(flatten(dict(zip(shapes, slopes, strict=True))) @ v,
                                                            list(weights.values())), strict=True)))  # fmt: skip

    ways: dict[str, Any] = {
        "ours": lambda v: flatten(recorded(unflatten(v, shapes))),
        "kept graph": lambda v: flatten(kept(unflatten(v, shapes))),
        "curvlinops": lambda v: theirs @ v,
        "double backward": plain,
    }
    return ways, sum(p.numel() for p in params.values())


def bench_hvp(repeats: int = 15, products: int = 3, samples: int = 1000, threads: int = 2) -> list[Timing]:
    """One product by :func:`symtheory.engine.operators.hvp_of` against the others.

    Args:
        repeats: Rounds; in each, every method has its slice. The median of each counts.
        products: Products of a slice.
        samples: Of the batch.
        threads: Of torch.

    Returns:
        A timing for each model and competitor: seconds of one product, ours recorded (``repeated=True``).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return [t for name in MODELS for t in _compare(name, repeats, products, samples)]
    finally:
        torch.set_num_threads(before)


def _compare(name: str, repeats: int, products: int, samples: int) -> list[Timing]:
    ways, size = contenders(MODELS[name], samples)
    v = torch.randn(size, generator=torch.Generator().manual_seed(2))
    images = {k: way(v).detach() for k, way in ways.items()}
    seconds: dict[str, list[float]] = {k: [] for k in ways}
    for _ in range(repeats):
        for k, way in ways.items():
            seconds[k].append(timed(lambda way=way: [way(v) for _ in range(products)]) / products)
    mine = median(seconds["ours"])
    return [
        Timing(f"HVP {name} vs {k}", median(seconds[k]) / mine, mine, median(seconds[k]), products,
               relative_error(images["ours"], images[k]))
        for k in ways if k != "ours"
    ]  # fmt: skip
