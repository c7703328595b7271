"""Figure B4 against the loop as an author would write it: one configuration, autograd, PyTorch's SGD."""

from __future__ import annotations

import time

import torch
from torch import Tensor
from torch.nn.functional import dropout

from benchmarks.timing import Timing, timed
from symtheory.figures import b4, quartic
from symtheory.figures.interpolation import EARLY
from symtheory.figures.quartic import METHODS, STRUCTURES, Problem
from symtheory.lab.executors import ProcessPool
from symtheory.spec.numerics import relative_error


def plain(
    p: Problem,
    method: str,
    value: float,
    start: Tensor,
    *,
    lr: float,
    steps: int,
    sigma0: float,
    held: float,
    uniforms: Tensor | None = None,
) -> Tensor:
    r"""Train one configuration.

    A diagonal $B$ is multiplied entry by entry: a dense product would only make this loop slower.

    Args:
        p: The problem.
        method: One of :data:`symtheory.figures.quartic.METHODS`.
        value: Its hyperparameter.
        start: $w$ at the start, shape (d,).
        lr: Learning rate.
        steps: Number of steps.
        sigma0: Standard deviation of syre's bias.
        held: Standard deviation of the values that W-fix holds.
        uniforms: Dropout keeps a weight where this, shape (steps, d), is below one minus the rate; ``None`` draws anew.

    Returns:
        $w$ after the last step, float32; for syre, the bias is part of it.
    """
    b = (p.values if p.matrix is None else p.matrix).float()
    bias = (sigma0 * p.bias).float() if method == "syre" else torch.zeros(len(start))
    mask, anchor = quartic.held_weights(p, value if method == "W-fix" else 0.0, held)
    anchor = anchor.float()
    theta = torch.nn.Parameter(start.float() - bias)
    decay = 2 * value if method in ("weight decay", "syre") else 0.0
    optimizer = torch.optim.SGD([theta], lr=lr, weight_decay=decay)
    for t in range(steps):
        optimizer.zero_grad()
        w = theta
        if method == "syre":
            w = theta + bias
        elif method == "W-fix":
            w = torch.where(mask, anchor, theta)
        elif method == "dropout":
            keep = 1 - value
            w = dropout(theta, value) if uniforms is None else theta * (uniforms[t] < keep) / keep
        product = b * w if p.matrix is None else b @ w
        ((w @ w) ** 2 - w @ product).backward()
        optimizer.step()
    w = theta.detach()
    return torch.where(mask, anchor, w) if method == "W-fix" else w + bias


def fast(
    p: Problem, method: str, value: float, start: Tensor, *, lr: float, steps: int, sigma0: float, held: float
) -> Tensor:
    """The same configuration as the figure trains it, two of it at once.

    Args:
        p: The problem.
        method: One of :data:`symtheory.figures.quartic.METHODS`.
        value: Its hyperparameter.
        start: $w$ at the start, shape (d,), float64.
        lr: Learning rate.
        steps: Number of steps.
        sigma0: Standard deviation of syre's bias.
        held: Standard deviation of the values that W-fix holds.

    Returns:
        $w$ after the last step.
    """
    kind = {"W-fix": "fix", "dropout": "drop"}.get(method, "pull")
    spread = {"syre": sigma0, "W-fix": held}.get(method, 0.0)
    shard = {"init": 1.0, "curves": [(method, kind, [value, value], spread)]}
    unit = quartic.Problem(**{**vars(p), "start": start})
    ((_, _, run),) = b4.trained(shard, unit)
    run.advance(lr, steps)
    return run.weights()[1]


def bench_b4(repeats: int = 3, steps: int = 500) -> Timing:
    """Figure B4: every method, hyperparameter, seed and variant for both matrices, measured too, on two processes.

    Args:
        repeats: Slices of the loop, of which the fastest counts.
        steps: Steps of a slice.

    Returns:
        The timing.
    """
    figure = b4.B4()
    config = figure.presets["paper"]
    figure.run(figure.presets["smoke"])  # compile outside the clock
    values = {"standard": 0.0, "weight decay": 1.0, "syre": 1.0, "W-fix": 0.05, "dropout": 0.1}
    options = {"lr": config.lr, "steps": steps, "sigma0": config.sigma0, "held": config.held}
    loops, error = {}, 0.0
    for structure in STRUCTURES:
        p = quartic.problem(structure, config.dim, 0)
        start = config.init * p.start
        for method in METHODS:
            noise = quartic.noise(p)(steps)
            found = []
            for _ in range(repeats):
                begin = time.perf_counter()
                plain(p, method, values[method], start, **options)
                found.append((time.perf_counter() - begin) / steps)
            loops[structure, method] = min(found)
            slow = plain(p, method, values[method], start, **options, uniforms=noise)
            error = max(error, relative_error(fast(p, method, values[method], start, **options), slow))
    total = 0.0
    for shard in figure.shards(config):
        for name, kind, grid, _ in shard["curves"]:
            method = (
                name if name in METHODS else {"fix": "W-fix", "pull": "standard" if name == EARLY else "syre"}[kind]
            )
            runs = 1 if name == EARLY else len(grid)
            total += runs * loops[shard["structure"], method] * config.steps
    seconds = timed(lambda: figure.run(config, executor=ProcessPool(jobs=2)))
    return Timing("B4", total / seconds, seconds, total, steps, error)
