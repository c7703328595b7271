"""Time each figure's sweep against the plain loop in one process; print figure, ratio, seconds, reference seconds.

``HVP`` times one Hessian-vector product instead, see :mod:`benchmarks.products`.

The sweep is run whole, at its paper preset. The loop is timed on slices, in turn with the sweep, and extrapolated; of
several slices the *fastest* counts, which lowers the ratio. The slices also check that both give the same weights.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from statistics import median
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import products, reference
from benchmarks.b2 import bench_b2
from benchmarks.timing import Timing, timed
from symtheory.errors import SymtheoryError
from symtheory.figures import a3a, a8
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
    count = {m: sum(len(s["lrs"]) * len(s["seeds"]) for s in shards if s["model"] == m) for m in a3a.MODELS}
    data = a3a.draw(config.dim, config.noise)(torch.Generator().manual_seed(0), steps)
    lr = 1e-3
    figure.run(figure.presets["smoke"])  # compile outside the clock
    sweep, error = [], 0.0
    loops: dict[str, list[float]] = {m: [] for m in a3a.MODELS}
    for _ in range(repeats):
        sweep.append(timed(lambda: figure.run(config)))
        for model in a3a.MODELS:
            start = a3a.initial(model, config.dim, config.init, 0)
            begin = time.perf_counter()
            weights = reference.regression(model, start, data, lr, steps)
            loops[model].append((time.perf_counter() - begin) / steps)
            shard = {"model": model, "lrs": [lr], "seeds": [0], "dim": config.dim, "steps": steps}
            fast = a3a.weights({**shard, "noise": config.noise, "init": config.init, "block": steps})[0, 0]
            effective = weights["w"] * weights["u"] if "u" in weights else weights["w"]
            error = max(error, relative_error(fast, effective))
    total = sum(min(loops[m]) * count[m] * config.steps for m in a3a.MODELS)
    seconds = median(sweep)
    return Timing("A3a", total / seconds, seconds, total, steps, error)


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
    return Timing("A8", total / seconds, seconds, total, steps, error)


BENCHMARKS: dict[str, Callable[[], Timing | list[Timing]]] = {
    "A3a": bench_a3a,
    "A8": bench_a8,
    "B2": bench_b2,
    "HVP": products.bench_hvp,
}


def main(
    figure: Annotated[str | None, typer.Argument(help="Id of one figure, or HVP; all without it.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time sweeps against plain loops."""
    try:
        names = [n for n in BENCHMARKS if figure is None or n.lower() == figure.lower()]
        if not names:
            raise SymtheoryError(f"a figure among {', '.join(BENCHMARKS)}", repr(figure), "name one, or none for all")
        results = [BENCHMARKS[n]() for n in names]
        found = [t for r in results for t in (r if isinstance(r, list) else [r])]
    except SymtheoryError as error:
        Console(stderr=True).print(f"error: {error}", highlight=False)
        raise typer.Exit(2) from error
    if as_json:
        json.dump(
            {"schema": 1, "threads": torch.get_num_threads(), "benchmarks": [asdict(t) for t in found]}, sys.stdout
        )
        sys.stdout.write("\n")
        return
    table = Table("figure", "ratio", "seconds", "reference s", "same result to")
    for t in found:
        table.add_row(
            t.figure, f"{t.ratio:.3g}", f"{t.seconds:.3g}", f"{t.reference_seconds:.3g}", f"{t.relative_error:.1e}"
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
