"""How long the page presets of all figures take, one after another."""

from __future__ import annotations

from benchmarks.timing import Timing, timed
from symtheory.figures import FIGURES
from symtheory.lab.executors import Serial


def bench_pages() -> list[Timing]:
    """Every figure's page preset, on the threads torch has.

    Returns:
        A timing for each figure and one for all together; there is no reference, so the ratio is 0.
    """
    runner = Serial()
    seconds = {n: timed(lambda f=f: f.run(f.presets["page"], executor=runner)) for n, f in FIGURES.items()}
    seconds["together"] = sum(seconds.values())
    return [Timing(f"page {name}", 0.0, value, 0.0, 0, 0.0) for name, value in seconds.items()]
