"""Benchmarks as a table in the terminal, and as the file that the book shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.timing import Timing
from symtheory.lab.files import write_atomic
from symtheory.lab.results import default_root

FILE = "benchmarks.json"

#: Ratios that this project wants to keep, on two cores; a test compares the stored timings with them.
FLOORS = {
    "A3a": 1000.0,
    "A3b": 25.0,
    "A8": 20.0,
    "A9": 50.0,
    "B2": 2.5,
    "B4": 40.0,
    "HVP 784-1270-10 vs curvlinops": 2.5,
    "B5 epoch": 3.0,
    "B8 epoch": 3.0,
    "discover ResNet18": 1.0,
    "discover GPT-2 small": 1.0,
    "syre, MLP, batch 64": 0.99,
    "syre, MLP, batch 256": 0.99,
    "syre, MLP, batch 1024": 0.99,
    "syre, ResNet18, batch 8": 0.99,
    "syre, ResNet18, batch 128": 0.99,
    "monitor, MLP, batch 64": 0.98,
    "monitor, ResNet18, batch 8": 0.98,
}

_ANCHOR = (
    "the anchor is one more array of the size of the weights to be read in every step, about a percent of it, and runs "
    "lie on either side of that"
)

#: Those that are known to fall short, and why.
MISSED = {
    "B2": "the sweep does its matrix products at nearly the speed that this machine has, and so does the loop",
    "B5 epoch": (
        "three quarters of the time are matrix products, every weight with every image, at the speed of this machine; "
        "they alone would allow less than three times"
    ),
    "syre, MLP, batch 1024": _ANCHOR,
}


def table(found: Sequence[Timing], machine: Machine) -> Table:
    """For the terminal.

    Args:
        found: The timings.
        machine: Where they were made.

    Returns:
        One row a timing.
    """
    title = (
        f"{machine.name}: {machine.gemm / 1e9:.0f} GFLOP/s in products, {machine.bandwidth / 1e9:.0f} GB/s in copies"
    )
    rows = Table("figure", "ratio", "seconds", "reference s", "same result to", "times the limit", title=title)
    for t in found:
        limit = machine.limit(t.flops, t.traffic)
        rows.add_row(
            t.figure,
            f"{t.ratio:.3g}" if t.ratio else "",
            f"{t.seconds:.3g}",
            f"{t.reference_seconds:.3g}" if t.ratio else "",
            f"{t.relative_error:.1e}" if t.ratio else "",
            f"{t.seconds / limit:.2g}" if limit else "",
        )
    return rows


def save(found: Sequence[Timing], machine: Machine) -> None:
    """Write timings into the file that the book shows; those of other figures stay, each with its own machine.

    Args:
        found: The timings.
        machine: Where they were made.
    """
    path = default_root() / FILE
    old = json.loads(path.read_text(encoding="utf-8"))["benchmarks"] if path.exists() else {}
    new = {
        t.figure: {
            **asdict(t),
            "floor": FLOORS.get(t.figure, 0.0),
            "missed": MISSED.get(t.figure, ""),
            "limit_seconds": machine.limit(t.flops, t.traffic),
            "machine": asdict(machine),
        }
        for t in found
    }
    document = {"schema": 3, "benchmarks": dict(sorted({**old, **new}.items()))}
    write_atomic(path, (json.dumps(document, indent=1, sort_keys=True) + "\n").encode())
