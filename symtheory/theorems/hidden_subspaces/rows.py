"""The table of blocks: walls, chambers and their orbits, from normalisers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from symtheory.spec.groups import FiniteGroup
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.representations import Representation
from symtheory.spec.walls import chambers, walls
from symtheory.theorems.hidden_subspaces.bank import GROUPS, blocks, ends


@dataclass(frozen=True)
class Row:
    """One block of a group.

    Attributes:
        group: Name of the group.
        ends: Inputs and outputs.
        units: Number of units, $|G/H|$.
        stabilizer: $|H|$.
        walls: Number of walls.
        visible: Walls that a relabelling reflects in.
        exchanged: Walls whose sides a relabelling exchanges.
        chambers: Number of chambers.
        orbits: Orbits of chambers under relabelling.
    """

    group: str
    ends: str
    units: int
    stabilizer: int
    walls: int
    visible: int
    exchanged: int
    chambers: int
    orbits: int

    @property
    def barrier(self) -> bool:
        """Whether some chambers are out of reach from others."""
        return self.orbits > 1


def row(layer: HiddenLayer, name: str = "") -> Row:
    """What the walls of a single block do.

    Args:
        layer: A layer with one block.
        name: Of inputs and outputs, for print-outs.

    Returns:
        The row.
    """
    c = chambers(layer)
    return Row(
        layer.group.name,
        name,
        layer.units.size,
        len(layer.units.stabilizer(0)),
        len(c.walls),
        sum(w.visible for w in c.walls),
        sum(w.exchanged for w in c.walls),
        len(c.signs),
        len(c.orbits),
    )


def table(names: Iterable[str] = tuple(GROUPS)) -> tuple[Row, ...]:
    """Every block of the groups, with every named pair of inputs and outputs.

    Args:
        names: Names in the bank.

    Returns:
        The rows, those without walls too.

    >>> [(r.units, r.walls, r.chambers, r.orbits) for r in table(["S_3"]) if r.ends == "natural, trivial"]
    [(6, 3, 6, 1), (3, 1, 2, 2), (2, 0, 1, 1), (1, 0, 1, 1)]
    """
    return tuple(
        row(layer, name)
        for group in (GROUPS[n]() for n in names)
        for name, pair in ends(group).items()
        for layer in blocks(group, *pair)
    )


def harmful_counts(group: FiniteGroup, rep_in: Representation, rep_out: Representation) -> tuple[int, int]:
    """Over all blocks: the walls, and those among them whose sides nothing exchanges.

    Args:
        group: The group.
        rep_in: Inputs.
        rep_out: Outputs.

    Returns:
        Both numbers.
    """
    every = [w for layer in blocks(group, rep_in, rep_out) for w in walls(layer)]
    return len(every), sum(not w.exchanged for w in every)
