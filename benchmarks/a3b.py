"""Figure A3b against the loop it replaces: one configuration at a time, ``nn.Parameter``, autograd, ``torch.optim``."""

from __future__ import annotations

import time

import torch

from benchmarks.timing import Timing, timed
from symtheory.engine.stepping import Block
from symtheory.figures import a3b
from symtheory.figures import online_factorization as model
from symtheory.spec.numerics import relative_error
from symtheory.spec.params import Params


def loop(name: str, start: Params, data: Block, signal: float, lr: float) -> Params:
    """Train one factorisation of figure A3b.

    Args:
        name: ``plain`` or ``residual``.
        start: Initial ``w`` and ``u``.
        data: ``x`` and ``noise`` of shape (steps, dim).
        signal: Weight of the signal in the label.
        lr: Learning rate.

    Returns:
        The weights after the last step.
    """
    w, u = (torch.nn.Parameter(start[k].clone()) for k in ("w", "u"))
    optimizer = torch.optim.SGD([w, u], lr=lr)
    for x, noise in zip(data["x"], data["noise"], strict=True):
        optimizer.zero_grad()
        y = signal * x + (1 - signal) * noise
        h = u @ x + x if name == "residual" else u @ x
        f = w @ h + h if name == "residual" else w @ h
        ((f - y) ** 2).sum().backward()
        optimizer.step()
    return {"w": w.detach(), "u": u.detach()}


def bench_a3b(repeats: int = 3, steps: int = 500, config: a3b.Settings | None = None) -> Timing:
    """Figure A3b: both models, every learning rate, noise level and seed, both starts, every scale.

    Runs that diverge end early in the sweep, so the loop is charged only for those that do not.

    Args:
        repeats: Slices of the loop; the sweep itself runs once.
        steps: Steps of a slice.
        config: Settings of the sweep; default the paper's.

    Returns:
        The timing.
    """
    figure = a3b.A3b()
    config = figure.presets["paper"] if config is None else config
    figure.run(figure.presets["smoke"])  # compile outside the clock
    results = []
    seconds = timed(lambda: results.append(figure.run(config)))
    counts = dict.fromkeys(model.MODELS, 0)
    for prefix in ("", "swapped_", "scaled_"):
        lasting = results[0].get(f"{prefix}diverged")
        if lasting is not None:
            for m in model.MODELS if "model" in lasting.dims else ("plain",):
                here = lasting.sel(model=m) if "model" in lasting.dims else lasting
                counts[m] += int((here == 0).sum())
    data = model.draw(config.dim)(torch.Generator().manual_seed(config.seeds[0]), steps)
    lr, signal, error = config.lr_low, config.signals[0], 0.0
    rates: dict[str, list[float]] = {m: [] for m in model.MODELS}
    for _ in range(repeats):
        for m, found in rates.items():
            begin = model.initial(m, model.OWN_START[m], config.dim, config.init, config.seeds[0])
            clock = time.perf_counter()
            slow = loop(m, begin, data, signal, lr)
            found.append((time.perf_counter() - clock) / steps)
            shard = {"model": m, "start": model.OWN_START[m], "lrs": [lr], "signals": [signal], "dim": config.dim}
            shard |= {"seed": config.seeds[0], "steps": steps, "init": config.init, "block": steps}
            fast, skip = model.weights(shard), torch.eye(config.dim) * (m == "residual")
            error = max(error, *(relative_error(fast[k][0, 0].float(), slow[k] + skip) for k in ("w", "u")))
    total = sum(min(rates[m]) * counts[m] * config.steps for m in model.MODELS)
    # three products of a matrix with a vector and two rank-one updates a step
    flops = 10.0 * config.dim**2 * config.steps * sum(counts.values())
    return Timing("A3b", total / seconds, seconds, total, steps, error, flops)
