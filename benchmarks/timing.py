"""What a benchmark reports, and its clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

#: A sweep or a product against a plain loop, a training step with a tool against one without, a search for symmetries
#: against the time allowed, a page preset that is only timed.
Kind = Literal["loop", "step", "search", "page"]


@dataclass(frozen=True)
class Timing:
    """One benchmark.

    Attributes:
        figure: Id, and what it was compared with where there are several.
        ratio: Reference seconds over seconds.
        seconds: The sweep at its paper preset, median over repeats.
        reference_seconds: The plain loop over all configurations, extrapolated from its fastest slice.
        slice_steps: Steps of a slice, per configuration timed; products of a slice.
        relative_error: Largest relative difference of the weights after a slice, or of the products.
        flops: Floating-point operations that the sweep cannot do without; 0 where they were not counted.
        traffic: Bytes that must come from memory and go there; 0 where the sweep lives in the caches.
        memory: Peak of the bytes that were allocated meanwhile, over those of the model; 0 where it was not counted.
        kind: What was compared with what.
    """

    figure: str
    ratio: float
    seconds: float
    reference_seconds: float
    slice_steps: int
    relative_error: float
    flops: float = 0.0
    traffic: float = 0.0
    memory: float = 0.0
    kind: Kind = "loop"


def timed(function: Callable[[], object]) -> float:
    """Wall time of one call.

    Args:
        function: What to call.

    Returns:
        Seconds.
    """
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin
