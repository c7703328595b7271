"""Figure A3a: the sweep with its kernels against SGD with autograd, one regressor at a time."""

from __future__ import annotations

import time
from statistics import median

import torch

from benchmarks import reference
from benchmarks.timing import Timing, timed
from symtheory.figures import a3a
from symtheory.spec.numerics import relative_error


def bench_a3a(repeats: int = 3, steps: int = 1500) -> Timing:
    """Figure A3a: both models, every learning rate and seed, every variant.

    Args:
        repeats: Runs of the sweep, and slices of the loop in turn with it.
        steps: Steps of a slice.

    Returns:
        The timing.
    """
    figure = a3a.A3a()
    config = figure.presets["paper"]
    shards = figure.shards(config)
    count = sum(len(s["lrs"]) * len(s["seeds"]) for s in shards)
    data = a3a.draw(config.dim, config.noise)(torch.Generator().manual_seed(0), steps)
    lr = 1e-3
    figure.run(figure.presets["smoke"])  # compile outside the clock
    sweep, error = [], 0.0
    loops: dict[str, list[float]] = {m: [] for m in a3a.MODELS}
    for _ in range(repeats):
        sweep.append(timed(lambda: figure.run(config)))
        shard = {"lrs": [lr], "seeds": [0], "dim": config.dim, "steps": steps, "block": steps}
        found = a3a.weights({**shard, "noise": config.noise, "init": config.init})
        for model in a3a.MODELS:
            start = a3a.initial(model, config.dim, config.init, 0)
            begin = time.perf_counter()
            weights = reference.regression(model, start, data, lr, steps)
            loops[model].append((time.perf_counter() - begin) / steps)
            effective = weights["w"] * weights["u"] if "u" in weights else weights["w"]
            error = max(error, relative_error(found[model][0, 0], effective))
    total = sum(min(loops[m]) * count * config.steps for m in a3a.MODELS)
    seconds = median(sweep)
    # per step and configuration: 4 operations a coordinate for the linear model, 9 for the product
    flops = 13.0 * config.dim * config.steps * count
    return Timing("A3a", total / seconds, seconds, total, steps, error, flops)
