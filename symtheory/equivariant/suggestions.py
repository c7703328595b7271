r"""Hidden blocks without a barrier: which $G/K$ can stand for $G/H$.

$G/K$ covers $G/H$ for $K\le H$, so a net of blocks $G/K$ contains the functions of the block $G/H$ as a flat. Worth
suggesting are those whose units can all be different and whose chambers are all equivalent.
"""

from __future__ import annotations

from dataclasses import dataclass

from symtheory.spec.groups import Subset
from symtheory.spec.gsets import coset_space
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.signed import for_odd
from symtheory.spec.walls import Chambers, chambers


@dataclass(frozen=True)
class Suggestion:
    """A block to use instead.

    Attributes:
        stabilizer: $K$, of one unit.
        units: Hidden units $|G/K|$.
        times: Units of the block it stands for, $|H|/|K|$ each.
        parameters: Parameters of the block.
    """

    stabilizer: Subset
    units: int
    times: int
    parameters: int


def suggest(layer: HiddenLayer, orbit: int = 0, *, odd: bool = False) -> tuple[Suggestion, ...]:
    """Blocks that cover a block and have no barrier, fewest units first.

    Args:
        layer: The layer.
        orbit: Number of the block that has a barrier.
        odd: Whether the activation is odd.

    Returns:
        Suggestions; none if every covering block has a barrier or units that always coincide.

    >>> from symtheory.spec import group_families, gsets, representations
    >>> s3 = group_families.symmetric(3)
    >>> pi3, pair = representations.natural(s3), gsets.coset_space(s3, s3.subgroup_classes[1][0])
    >>> [s.units for s in suggest(HiddenLayer(pi3, pair, representations.trivial(s3)))]
    [6]
    """
    own = layer.units.stabilizer(layer.units.orbits[orbit][0])
    found = []
    for members in layer.group.subgroup_classes:
        inside = [k for k in members if k < own]
        if inside and layer.closure_of(inside[0]) == inside[0]:
            block = HiddenLayer(layer.rep_in, coset_space(layer.group, inside[0]), layer.rep_out, layer.bias)
            if not chambers_of(block, odd=odd).barrier:
                k = inside[0]
                found.append(Suggestion(k, layer.group.order // len(k), len(own) // len(k), sum(block.block_dims(k))))
    return tuple(sorted(found, key=lambda s: (s.units, s.parameters)))


def chambers_of(layer: HiddenLayer, orbit: int = 0, *, odd: bool = False) -> Chambers:
    """Chambers of a block, up to sign if the activation is odd.

    Args:
        layer: The layer.
        orbit: Number of the block.
        odd: Whether the activation is odd.

    Returns:
        The chambers, with points in the coordinates of the layer's own block.
    """
    return chambers(for_odd(layer) if odd else layer, orbit)
