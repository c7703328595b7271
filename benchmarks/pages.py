"""How long the page presets of the figures take, one after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.timing import Timing, timed
from symtheory.figures import FIGURES
from symtheory.lab.executors import Serial


def bench_page(name: str) -> Timing:
    """One figure's page preset, on the threads torch has.

    Args:
        name: Id of the figure.

    Returns:
        Its time; there is no reference, so the ratio is 0.
    """
    figure, runner = FIGURES[name], Serial()
    seconds = timed(lambda: figure.run(figure.presets["page"], executor=runner))
    return Timing(f"page {name}", 0.0, seconds, 0.0, 0, 0.0)


BENCHMARKS: dict[str, Callable[[], Timing]] = {f"page {name}": partial(bench_page, name) for name in FIGURES}
