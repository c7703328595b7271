"""How long the page presets of the figures take, one after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.timing import Timing, timed
from symtheory.figures import FIGURES
from symtheory.lab.executors import ProcessPool, Serial


def bench_page(name: str) -> Timing:
    """One figure's page preset, in one process; in two if it trains on images.

    Args:
        name: Id of the figure.

    Returns:
        Its time; there is no reference, so the ratio is 0.
    """
    figure = FIGURES[name]
    preset = figure.presets["page"]
    runner = ProcessPool(jobs=2) if "data" in preset.to_json() else Serial()
    seconds = timed(lambda: figure.run(preset, executor=runner))
    return Timing(f"page {name}", 0.0, seconds, 0.0, 0, 0.0, kind="page")


BENCHMARKS: dict[str, Callable[[], Timing]] = {f"page {name}": partial(bench_page, name) for name in FIGURES}
