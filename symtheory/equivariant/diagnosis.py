r"""What training within an equivariance constraint will run into, before anything is trained.

For every block of hidden units: whether its units can be different at all, the walls that constrained descent never
crosses, whether some chambers are cut off from others for good (a *barrier*), how often a random start lies on each
side, and blocks that have no barrier.

A barrier is a fact about the space. Whether it hurts depends on the target: the functions of one side may be good
enough. The odds for several blocks are a heuristic, because blocks can also cooperate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from rich.console import Group
from torch import nn

from symtheory.equivariant.inputs import (
    Activation,
    GroupLike,
    RepresentationLike,
    UnitsLike,
    activation_of,
    group_of,
    representations_of,
    units_of,
)
from symtheory.equivariant.suggestions import Suggestion, chambers_of, suggest
from symtheory.spec.congruences import count, principal
from symtheory.spec.groups import Subset
from symtheory.spec.hidden import Flat, HiddenLayer
from symtheory.spec.signed import for_odd
from symtheory.spec.walls import Chambers
from symtheory.tables import Sheet, to_html, to_rich, to_text

#: More congruences than this are not looked at; closing them takes seconds.
LISTED = 2000


@dataclass(frozen=True, eq=False)
class BlockReport:
    """One block of hidden units.

    Attributes:
        stabilizer: $H$ of its first unit.
        units: $|G/H|$.
        parameters: Input weights, bias, output weights.
        closure: Largest subgroup that fixes everything that $H$ fixes. If it is larger than $H$, units always coincide
            and the block is $G$ by this subgroup.
        chambers: Walls and chambers.
        chances: Of a random start, to lie in each orbit of chambers.
        suggestions: Blocks to use instead; only where there is a barrier.
    """

    stabilizer: Subset
    units: int
    parameters: tuple[int, int, int]
    closure: Subset
    chambers: Chambers
    chances: tuple[float, ...]
    suggestions: tuple[Suggestion, ...]

    @property
    def barrier(self) -> bool:
        """Whether some sides are out of reach from others."""
        return self.chambers.barrier

    @property
    def computes(self) -> bool:
        """Whether the constraint allows output weights."""
        return self.parameters[2] > 0

    @property
    def redundant(self) -> bool:
        """Whether some of its units always coincide."""
        return self.closure != self.stabilizer


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The report.

    Attributes:
        layer: What was analysed.
        activation: Class of the activation.
        blocks: One report a block.
        flats: Hidden fixed-point subspaces: all of them, or those that one pair of units generates if there are more
            than can be listed.
        complete: Whether all flats are listed.
    """

    layer: HiddenLayer
    activation: Activation
    blocks: tuple[BlockReport, ...]
    flats: tuple[Flat, ...]
    complete: bool

    @property
    def barrier(self) -> bool:
        """Whether any block has a barrier."""
        return any(b.barrier for b in self.blocks)

    @property
    def odds(self) -> float:
        r"""Heuristic chance that the rarest side is taken by some block: $\prod(1-(1-p)^k)$ for $k$ like blocks.

        $p$ is the smallest probability of an orbit of chambers. Blocks are taken to be independent; they can also make
        up for each other or spoil each other, so this is no bound.
        """
        types = self.layer.units.types
        factors = []
        for kind in sorted(set(types)):
            first = self.blocks[types.index(kind)]
            if first.barrier:
                factors.append(min(1 - (1 - p) ** types.count(kind) for p in first.chances))
        return prod(factors, start=1.0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should worry, in sentences."""
        found = []
        for b in dict.fromkeys(self.blocks):  # equal blocks share a report
            numbers = [str(i) for i, other in enumerate(self.blocks) if other is b]
            name = f"block{'s' * (len(numbers) > 1)} {', '.join(numbers)} ({b.units} units)"
            if not b.computes:
                found.append(f"{name}: no output weights are allowed, so it computes nothing")
                continue
            if b.redundant:
                fewer = self.layer.group.order // len(b.closure)
                found.append(f"{name}: some units always coincide; it computes what a block of {fewer} does")
            if b.barrier:
                shares = ", ".join(f"{p:.0%}" for p in b.chances)
                found.append(f"{name}: barrier; training stays on its side, and starts fall {shares} on the sides")
                if b.suggestions:
                    better = f"{b.suggestions[0].units} units, stabiliser of order {len(b.suggestions[0].stabilizer)}"
                    found.append(f"{name}: a block of {better}, contains its functions and has no barrier")
                else:
                    found.append(f"{name}: no covering block is free of barriers; relax the constraint after training")
        return tuple(found)

    @property
    def _sheet(self) -> Sheet:
        head = ("block", "stabiliser", "units", "in + bias + out", "walls", "chambers", "barrier", "starts in orbit")
        rows = []
        for i, b in enumerate(self.blocks):
            walls, parts = b.chambers.walls, b.chambers
            hidden = sum(not w.visible for w in walls)
            rows.append((
                str(i), f"order {len(b.stabilizer)}", str(b.units), " + ".join(map(str, b.parameters)),
                f"{len(walls)} ({hidden} hidden)" if walls else "0",
                f"{len(parts.signs)} in {len(parts.orbits)} orbits" if len(parts.signs) > 1 else "1",
                "BARRIER" if b.barrier else "none",
                ", ".join(f"{p:.2f}" for p in b.chances),
            ))  # fmt: skip
        return Sheet(self._summary, head, rows)

    @property
    def _summary(self) -> str:
        visible = sum(f.visible for f in self.flats)
        which = "" if self.complete else " that two units generate"
        walls = sum(f.is_wall for f in self.flats)
        return (
            f"{self.layer.group}, {self.activation} activation: {len(self.flats)} fixed-point subspaces{which}, "
            f"{visible} visible, {len(self.flats) - visible} hidden; {walls} of codimension one"
        )

    def __repr__(self) -> str:
        barriers = [i for i, b in enumerate(self.blocks) if b.barrier]
        return f"{self._summary}; " + (f"barrier in blocks {barriers}" if barriers else "no barrier")

    def __str__(self) -> str:
        return to_text([self._sheet], [f"warning: {w}" for w in self.warnings])

    def __rich__(self) -> Group:
        return to_rich([self._sheet], [f"warning: {w}" for w in self.warnings])

    def _repr_html_(self) -> str:
        return to_html([self._sheet], self.warnings)


def diagnose(
    group: GroupLike,
    rep_in: RepresentationLike,
    hidden: UnitsLike,
    rep_out: RepresentationLike,
    activation: str | nn.Module = "generic",
    bias: bool = True,
    *,
    start: Callable[[torch.Generator, int], torch.Tensor] | None = None,
    samples: int = 4000,
    seed: int = 0,
    limit: int = LISTED,
) -> Diagnosis:
    r"""Analyse an equivariant layer $f(x) = A\,s(Wx+b)+c$ before it is trained.

    Args:
        group: The group, or its generators as permutations of 0..m-1 or as matrices.
        rep_in: How inputs transform: a representation, or a permutation or matrix for each generator.
        hidden: The hidden units, or the stabiliser of one unit of every block.
        rep_out: How outputs transform.
        activation: ``generic``, ``odd`` or ``relu``, or an activation or its name. ReLU's positive rescaling adds
            nothing to the walls.
        bias: Whether hidden units have biases.
        start: Input weights of a base unit as your initialisation draws them: ``start(generator, count)`` of shape
            ``(count, inputs)``; they are projected onto the constraint. Default: independent normal entries.
        samples: Random starts for the chances.
        seed: Of the random starts.
        limit: Most congruences to list flats for.

    Returns:
        The report, a table in a terminal (with rich) and in a notebook.

    Raises:
        SymtheoryError: If these are no group, no representations or no subgroups, or the group is too large.

    >>> from symtheory.spec.group_families import symmetric
    >>> s3 = symmetric(3)
    >>> pi3 = [s3.action[g].tolist() for g in s3.generators]
    >>> one = [[0] for _ in s3.generators]
    >>> diagnose(s3, pi3, [s3.subgroup_classes[1][0]], one).barrier
    True
    """
    g, kind = group_of(group), activation_of(activation)
    one, two = representations_of(g, rep_in, rep_out)
    layer = HiddenLayer(one, units_of(hidden, g), two, bias)
    source = torch.Generator().manual_seed(seed)
    signed = for_odd(layer) if kind == "odd" else layer
    reports: dict[int, BlockReport] = {}
    for i, orbit in enumerate(layer.units.orbits):
        if layer.units.types[i] in reports:
            continue
        own = layer.units.stabilizer(orbit[0])
        parts = chambers_of(layer, i, odd=kind == "odd")
        drawn = torch.randn(samples, layer.rep_in.dim, generator=source) if start is None else start(source, samples)
        found = parts.orbit_of(drawn.double() @ parts.space @ parts.space.T)
        reports[layer.units.types[i]] = BlockReport(
            own,
            len(orbit),
            layer.block_dims(own),
            layer.closure_of(own),
            parts,
            tuple(float((found == k).double().mean()) for k in range(len(parts.orbits))),
            suggest(layer, i, odd=kind == "odd") if parts.barrier else (),
        )
    complete = count(signed.units, limit) <= limit
    if complete:
        flats = signed.flats(limit)
    else:
        whole = signed.dims(signed.units)
        # equal blocks have equal flats: two of each kind show all
        kinds = signed.units.types
        few = [i for i, kind in enumerate(kinds) if kinds[:i].count(kind) < 2]
        pairs = dict.fromkeys(signed.closure(p) for p in principal(signed.units, few))
        flats = tuple(f for f in map(signed.flat, pairs) if f.dim < sum(whole))
    blocks = tuple(reports[t] for t in layer.units.types)
    return Diagnosis(layer, kind, blocks, flats, complete)
