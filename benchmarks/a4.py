"""Figure A4 against the plain loop: one model at a time, ``nn.Parameter``, autograd, ``torch.optim.Adam``."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import Timing, timed
from symtheory.engine.stepping import Block
from symtheory.figures import a4, plasticity
from symtheory.figures.base import Shard
from symtheory.spec.numerics import relative_error
from symtheory.spec.params import Params


def start_of(shard: Shard, model: str) -> tuple[Params, Params, float]:
    """Initial weights, fixed biases and size of the kicks of a shard's first configuration.

    Args:
        shard: Settings.
        model: Among ``plasticity.MODELS``.

    Returns:
        Trained parameters, biases (none for the linear model), standard deviation.
    """
    linear, product = plasticity.sweeps(shard).values()
    if model == "vanilla":
        return {"w": linear[1]["w"][0]}, {}, 0.0
    each = len(shard["lrs"]) * len(shard["decays"]) * len(shard["seeds"])
    c = plasticity.PRODUCTS.index(model) * each
    fixed = product[0].fixed
    return (
        {k: v[c] for k, v in product[1].items()},
        {k: fixed[k][c] for k in ("bias_w", "bias_u")},
        float(fixed["kick"][c]),
    )


def continual(model: str, shard: Shard, blocks: list[Block], lr: float, decay: float) -> Params:
    """Train one model, the first seed's.

    Args:
        model: Among ``plasticity.MODELS``.
        shard: Settings.
        blocks: Data; the first stream is used.
        lr: Learning rate.
        decay: Weight decay.

    Returns:
        The weights after the last step.
    """
    start, bias, size = start_of(shard, model)
    params = {k: torch.nn.Parameter(p.clone()) for k, p in start.items()}
    optimizer = torch.optim.Adam(params.values(), lr=lr, betas=(0.0, 0.999), weight_decay=decay)
    for block in blocks:
        x, y = block["x"][0], block["y"][0]
        for t in range(len(x)):
            optimizer.zero_grad()
            effective = params["w"]
            if "u" in params:
                effective = (params["w"] + bias["bias_w"]) * (params["u"] + bias["bias_u"])
            torch.mean((x[t] @ effective - y[t]) ** 2).backward()
            if size:
                for k, p in params.items():
                    assert p.grad is not None
                    p.grad += size * block[f"kick_{k}"][0, t]
            optimizer.step()
    return {k: p.detach() for k, p in params.items()}


def fast(shard: Shard, blocks: list[Block], *, use_kernel: bool = True) -> dict[str, Params]:
    """The same from the sweeps.

    Args:
        shard: Settings with one learning rate and one decay.
        blocks: Data.
        use_kernel: Use the compiled kernels.

    Returns:
        Model to the weights of the first seed.
    """
    linear, product = plasticity.sweeps(shard).values()
    *_, a = plasticity.train(*linear, ({k: b[k] for k in ("x", "y")} for b in blocks), use_kernel=use_kernel)
    *_, b = plasticity.train(*product, blocks, use_kernel=use_kernel)
    each, found = len(shard["seeds"]), {"vanilla": {"w": a["w"][0]}}
    for i, model in enumerate(plasticity.PRODUCTS):
        found[model] = {k: v[i * each] for k, v in b.items()}
    return found


def apart(one: Params, two: Params) -> float:
    """Largest relative distance of two sets of weights.

    Args:
        one: Weights.
        two: Weights of the same names.

    Returns:
        The distance.
    """

    def flat(params: Params) -> Tensor:
        return torch.cat([params[k] for k in sorted(params)])

    return float(relative_error(flat(one), flat(two)))


def bench_a4(repeats: int = 1, steps: int = 1000) -> Timing:
    """Every model, learning rate, decay, seed and variant.

    Args:
        repeats: Runs of the whole figure, and slices of the loop in turn with it.
        steps: Steps of a slice.

    Returns:
        The timing; weights are compared after 50 steps, before rounding is amplified.
    """
    figure = a4.A4()
    config = figure.presets["paper"]
    *shards, _ = figure.shards(config)
    per_model = sum(len(s["lrs"]) * len(s["decays"]) * len(s["seeds"]) * s["tasks"] * s["steps"] for s in shards)
    first: dict[str, Any] = {**shards[0], "lrs": [config.lr], "decays": [config.decays[1]]}
    slice_shard = {**first, "steps": steps, "block": steps}
    blocks = list(plasticity.task_blocks(slice_shard, 0))
    figure.run(figure.presets["smoke"])  # compile outside the clock
    sweep: list[float] = []
    loops: dict[str, list[float]] = {m: [] for m in plasticity.MODELS}
    for _ in range(repeats):
        sweep.append(timed(lambda: figure.run(config)))
        for model in plasticity.MODELS:
            begin = time.perf_counter()
            continual(model, slice_shard, blocks, config.lr, config.decays[1])
            loops[model].append((time.perf_counter() - begin) / steps)
    short = [{k: v[:, :50] for k, v in blocks[0].items()}]
    found = fast(slice_shard, short)
    error = max(
        apart(found[m], continual(m, slice_shard, short, config.lr, config.decays[1])) for m in plasticity.MODELS
    )
    total, seconds = sum(min(loops[m]) for m in plasticity.MODELS) * per_model, median(sweep)
    # per step: 4 operations a coordinate and point; then 11 for Adam on the linear model, 28 for it on two factors
    dim, points = config.dim, 4.0 * config.batch
    flops = per_model * dim * ((points + 11) + len(plasticity.PRODUCTS) * (points + 28))
    return Timing("A4", total / seconds, seconds, total, steps, error, flops)
