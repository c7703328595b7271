"""Trace, derive, measure: the parameter symmetries of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from symtheory.discover.actions import Element
from symtheory.discover.analysis import Analysis, analyse
from symtheory.discover.candidates import Candidates
from symtheory.discover.families import Family
from symtheory.discover.measure import TOLERANCE, Bench
from symtheory.discover.report import Blocked, SymmetryReport
from symtheory.discover.rules import RULES
from symtheory.discover.tracing import Trace, positional, trace


def discover(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    loss: Callable[[Any], Any] | None = None,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> SymmetryReport:
    r"""Find the groups $G$ of maps of the parameters with $f(g\theta, x) = f(\theta, x)$ for all $g \in G$ and all $x$.

    The network is traced with ``torch.export`` in evaluation mode, and its graph is interpreted over index spaces
    (which axes count the same units) and scales (how each entry may be rescaled). An operation without a rule, as most
    losses are, is taken apart as PyTorch defines it, and is a gap where that does not help. Every family so derived is
    then measured: a random element is applied at a generic point near the parameters, in float64, and the outputs are
    compared. Families of maps that add something (the shift of all logits before a softmax) are not looked for.

    Args:
        model: Any module with parameters in memory. It is not changed.
        example_inputs: Its positional arguments, or the only one.
        loss: Function of the output; if given, its value is what has to stay.
        seed: Seed of the scattered point and of the group elements.
        dtype: Floating type of the measurement.

    Returns:
        The report: families found, candidates that failed, and gaps.

    Raises:
        SymtheoryError: If the model is no module, has meta tensors, does not run on the inputs, returns no numbers, or
            cannot be traced.

    Source:
        Paper A, section 4 and eqs. (8) to (11), for the families and the mirrors they imply.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> [f.group for f in discover(net, torch.ones(1, 2)).families]
    ['S(3)', 'Z2^3']
    """
    start = perf_counter()
    traced = trace(model, positional(model, example_inputs), loss, RULES)
    at_trace = perf_counter()
    analysis = analyse(traced, traced.movable)
    at_analysis = perf_counter()
    generator = torch.Generator().manual_seed(seed)
    bench = Bench(traced, generator, dtype)
    found, rejected = measured(analysis, traced, bench, generator)
    blocked = _blocked(traced, bench, generator, found)
    live = set(analysis.values)
    unused = tuple(n for n in traced.parameters if n in traced.movable and n not in live)
    return SymmetryReport(
        families=tuple(found),
        rejected=tuple(rejected),
        blocked=tuple(blocked),
        gaps=(*traced.gaps, *analysis.gaps),
        unused=unused,
        parameters=sum(traced.tensors[n].numel() for n in traced.parameters),
        tolerance=TOLERANCE,
        dtype=str(dtype).removeprefix("torch."),
        seconds={
            "trace": at_trace - start,
            "analysis": at_analysis - at_trace,
            "measurement": perf_counter() - at_analysis,
        },
    )


def measured(
    analysis: Analysis, traced: Trace, bench: Bench, generator: torch.Generator
) -> tuple[list[Family], list[Family]]:
    """Candidates that hold, and those that do not.

    Args:
        analysis: Spaces and scales.
        traced: The traced network.
        bench: Where elements are applied.
        generator: Source of randomness.

    Returns:
        Families found and families rejected, each with its residual.
    """
    found: list[Family] = []
    rejected: list[Family] = []
    covered: set[object] = set()
    for candidate in Candidates(analysis, traced):
        family = candidate.family
        if candidate.label in covered or not family.entries():
            continue
        element = family.element(generator)
        residual = bench.residual(partial(_moved, family, element), family.action.names)
        if residual <= TOLERANCE:
            found.append(replace(family, residual=residual))
            covered.update(candidate.covers)
        elif not candidate.guess:
            rejected.append(replace(family, residual=residual))
    return found, rejected


def _moved(family: Family, element: Element, name: str, fetch: Callable[[str], Tensor]) -> Tensor:
    """A tensor after the action of an element."""
    return family.action.apply(name, fetch, element)


def signature(family: Family) -> tuple:
    """What makes two families the same."""
    return family.kind, family.degree, family.copies, frozenset(family.axes.items())


def _blocked(traced: Trace, bench: Bench, generator: torch.Generator, found: list[Family]) -> list[Blocked]:
    """Families that need a frozen parameter to move."""
    if not traced.frozen:
        return []
    frozen = set(traced.frozen)
    free, _ = measured(analyse(traced, traced.movable | frozen), traced, bench, generator)
    there = {signature(f) for f in found}
    return [
        Blocked(f, tuple(n for n in f.names if n in frozen))
        for f in free
        if frozen & set(f.names) and signature(f) not in there
    ]
