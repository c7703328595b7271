"""Figure B3c against the plain loop: one model at a time, ``nn.Module``, autograd, ``torch.optim.SGD``."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import Timing, timed
from symtheory.engine.stepping import Block
from symtheory.engine.sweep import streams, train
from symtheory.figures import b3c, dead_neurons
from symtheory.figures.base import Shard
from symtheory.spec.numerics import relative_error
from symtheory.spec.params import Params
from symtheory.transforms.syre import effective_parameters, syre


class Product(nn.Module):
    """The regressor on a product of two vectors.

    Args:
        w: First factor.
        u: Second factor.
    """

    def __init__(self, w: Tensor, u: Tensor) -> None:
        super().__init__()
        self.w, self.u = nn.Parameter(w.clone()), nn.Parameter(u.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Predictions.

        Args:
            x: Shape ``(batch, dim)``.

        Returns:
            Shape ``(batch,)``.
        """
        return x @ (self.w * self.u)


def regression(method: str, shard: Shard, seed: int, lr: float, data: Block) -> Params:
    """Train one model with one method; the bias is put on the module by :func:`symtheory.transforms.syre.syre`.

    Args:
        method: Among ``dead_neurons.METHODS``.
        shard: Settings.
        seed: Of the weights.
        lr: Learning rate.
        data: ``x`` of shape (steps, batch, dim) and ``y``.

    Returns:
        The effective factors after the last step.
    """
    uses = dead_neurons.METHODS[method]
    start, fixed = dead_neurons.initial(shard, method, seed)
    model: nn.Module = Product(*(dead_neurons.effective({**start, **fixed}, k) for k in dead_neurons.FACTORS))
    gamma = shard["gamma"]
    if "bias" in uses:
        model = syre(model, shard["sigma0"], gamma, seed=seed + 20_000)
    masks = [fixed[f"free_{k}"] for k in dead_neurons.FACTORS] if "held" in uses else None
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, weight_decay=2 * gamma if "decay" in uses else 0.0)
    for x, y in zip(data["x"], data["y"], strict=True):
        optimizer.zero_grad()
        torch.mean((model(x) - y) ** 2).backward()
        if masks is None:
            optimizer.step()
            continue
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
        with torch.no_grad():
            for p, old, free in zip(model.parameters(), before, masks, strict=True):
                p.copy_(torch.where(free.bool(), p, old))
    if "bias" in uses:
        return effective_parameters(model)
    return {k: p.detach() for k, p in model.named_parameters()}


def bench_b3c(repeats: int = 3, steps: int = 1500) -> Timing:
    """Every method, learning rate, seed and variant; the lessons of the sweep are in its time, not in the loop's.

    Args:
        repeats: Runs of the whole figure, and slices of the loop in turn with it.
        steps: Steps of a slice.

    Returns:
        The timing.
    """
    figure = b3c.B3c()
    config = figure.presets["paper"]
    shards = figure.shards(config)
    count = sum(len(s["lrs"]) * len(s["seeds"]) * s["steps"] for s in shards)
    work = sum(len(s["lrs"]) * len(s["seeds"]) * s["steps"] * (4.0 * s["batch"] + 18) for s in shards)
    first: dict[str, Any] = {**shards[0], "lrs": [config.lr]}
    (block,) = streams(
        dead_neurons.draw(dead_neurons.target(first), first["noise"], first["batch"]), first["seeds"], steps, steps
    )
    data = {k: v[0] for k, v in block.items()}
    figure.run(figure.presets["smoke"])  # compile outside the clock
    sweep, error = [], 0.0
    loops: dict[str, list[float]] = {m: [] for m in dead_neurons.METHODS}
    for _ in range(repeats):
        sweep.append(timed(lambda: figure.run(config)))
        for method in dead_neurons.METHODS:
            begin = time.perf_counter()
            regression(method, first, first["seeds"][0], config.lr, data)
            loops[method].append((time.perf_counter() - begin) / steps)
    plan, start = dead_neurons.sweep(first)
    *_, last = train(plan, start, [block])
    for i, method in enumerate(dead_neurons.METHODS):
        slow = regression(method, first, first["seeds"][0], config.lr, data)
        for k in dead_neurons.FACTORS:
            error = max(error, float(relative_error(dead_neurons.effective({**last, **plan.fixed}, k)[i], slow[k])))
    total, seconds = sum(min(loops[m]) for m in dead_neurons.METHODS) * count, median(sweep)
    # per step: 4 operations a coordinate and sample; then 18 to form the two factors and to move them
    return Timing("B3c", total / seconds, seconds, total, steps, error, work * config.dim * len(loops))
