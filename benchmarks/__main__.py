"""Time each figure's sweep against the plain loop in one process; print figure, ratio, seconds, reference seconds.

``HVP`` times one Hessian-vector product instead, see :mod:`benchmarks.products`; ``lattices`` finds all subgroups of
symmetric groups; ``discover`` searches two large networks for symmetries; ``resnet`` times ResNet18, see
:mod:`benchmarks.residual`; ``overhead`` is what the tools cost in a training step; ``page A1`` times a figure's page
preset, and ``pages`` all of them.

The sweep is run whole, at its paper preset. The loop is timed on slices, in turn with the sweep, and extrapolated; of
several slices the *fastest* counts, which lowers the ratio. The slices also check that both give the same weights.
Beside the ratio stands the machine's limit, from measured matrix products and copying (:mod:`benchmarks.machine`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import (
    a3a,
    a3b,
    a4,
    a8,
    a9,
    b2,
    b3c,
    b4,
    b5,
    b8,
    discover,
    lattices,
    overhead,
    pages,
    products,
    report,
    residual,
)
from benchmarks.machine import measure
from benchmarks.timing import Timing
from symtheory.errors import SymtheoryError

BENCHMARKS: dict[str, Callable[[], Timing | list[Timing]]] = {
    "A3a": a3a.bench_a3a,
    "A3b": a3b.bench_a3b,
    "A4": a4.bench_a4,
    "A8": a8.bench_a8,
    "A9": a9.bench_a9,
    "B2": b2.bench_b2,
    "B3c": b3c.bench_b3c,
    "B4": b4.bench_b4,
    "B5": b5.bench_b5,
    "B8": b8.bench_b8,
    "HVP": products.bench_hvp,
    "lattices": lattices.bench_lattices,
    "discover": discover.bench_discover,
    "overhead": overhead.bench_overhead,
    "resnet": residual.bench_resnet,
    **pages.BENCHMARKS,
}


def main(
    figure: Annotated[str | None, typer.Argument(help="One of them, or pages; all without it.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    save: Annotated[bool, typer.Option("--save", help="Put the results where the book shows them.")] = False,
) -> None:
    """Time sweeps against plain loops."""
    try:
        chosen = "" if figure is None else figure.lower()
        names = [n for n in BENCHMARKS if chosen in ("", n.lower()) or (chosen == "pages" and n.startswith("page "))]
        if not names:
            raise SymtheoryError(f"a figure among {', '.join(BENCHMARKS)}", repr(figure), "name one, or none for all")
        machine = measure()
        results = [BENCHMARKS[n]() for n in names]
        found = [t for r in results for t in (r if isinstance(r, list) else [r])]
        if save:
            report.save(found, machine)
    except SymtheoryError as error:
        Console(stderr=True).print(f"error: {error}", highlight=False)
        raise typer.Exit(2) from error
    if as_json:
        json.dump({"schema": 3, "machine": asdict(machine), "benchmarks": [asdict(t) for t in found]}, sys.stdout)
        sys.stdout.write("\n")
        return
    Console().print(report.table(found, machine))


if __name__ == "__main__":
    typer.run(main)
