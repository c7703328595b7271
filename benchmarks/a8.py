"""Figure A8: batched products on sufficient statistics against autograd, one configuration at a time."""

from __future__ import annotations

import time
from statistics import median

import torch

from benchmarks import reference
from benchmarks.timing import Timing, timed
from symtheory.figures import a8
from symtheory.spec.numerics import relative_error


def bench_a8(repeats: int = 1, steps: int = 1500) -> Timing:
    """Figure A8: every weight decay and seed, training only (the convex oracle is not part of it).

    Args:
        repeats: Runs of the sweep, and slices of the loop in turn with it.
        steps: Steps of a slice.

    Returns:
        The timing.
    """
    config = a8.A8().presets["paper"]
    g = torch.Generator().manual_seed(10_000)
    s, c = (t.float() for t in a8.statistics(config.dim, config.samples, config.signal, 0))
    w, u = (config.init * torch.randn(config.dim, config.dim, generator=g) for _ in range(2))
    count = config.decay_count * len(config.seeds)
    gammas = torch.linspace(0, config.decay_high, config.decay_count)

    def batch(t: torch.Tensor, n: int) -> torch.Tensor:
        return t.expand(n, *t.shape).contiguous()

    def train(n: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        return a8.descend(batch(w, n), batch(u, n), batch(s, n), batch(c, n), gammas[:n], config.lr, k)

    sweep, loop, error = [], [], 0.0
    for _ in range(repeats):
        sweep.append(sum(timed(lambda: train(config.decay_count, config.steps)) for _ in config.seeds))  # as the shards
        begin = time.perf_counter()
        slow = reference.factorization(w, u, s, c, float(gammas[1]), config.lr, steps)
        loop.append((time.perf_counter() - begin) / steps)
        fast = train(2, steps)
        error = max(error, relative_error(fast[0][1], slow["w"]), relative_error(fast[1][1], slow["u"]))
    total, seconds = min(loop) * count * config.steps, median(sweep)
    flops = 4 * 2.0 * config.dim**3 * config.steps * count  # WU, (WU)S, GU^T, W^TG
    return Timing("A8", total / seconds, seconds, total, steps, error, flops)
