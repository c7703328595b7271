r"""Walls and chambers of a block of hidden units: which halves of the weight space training cannot leave.

The input weights of a block $G/H$ are a vector of $V_{in}^H$. Where a larger subgroup $H'$ fixes it too, units
coincide. If that takes one dimension of the input weights and none of the output weights, the flat is a *wall*:
gradient descent within the constraint never crosses it. The walls cut $V_{in}^H$ into chambers. Relabelling the units
of the block, by $N_G(H)/H$, moves whole chambers onto others with the same functions; if some chambers are not related
like this, training that starts in the wrong one has no way to the functions of the right one: a *barrier*.

Source: paper C has the codimension-one separation; walls, chambers and orbits are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.cluster.hierarchy import DisjointSet
from scipy.optimize import linprog
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.cosets import fixed_space, normalizer
from symtheory.spec.groups import Subset
from symtheory.spec.hidden import FIXED, HiddenLayer
from symtheory.spec.pairing import fixing, is_paired

#: Least distance from all walls, in the unit cube, that a chamber must offer.
INSIDE = 1e-7


@dataclass(frozen=True, eq=False)
class Wall:
    """A set that separates the input weights of one block and that constrained training does not cross.

    Attributes:
        subgroup: Largest stabiliser of the base unit with this flat.
        normal: Unit vector of shape ``(dim,)`` in the input weights of the block's base unit.
        fixed: Whether it is a hidden fixed-point subspace. If not, units share their inputs there but not their
            outputs, and nothing pairs the two.
        visible: A symmetry of the constrained space that keeps the wall reflects in it.
        exchanged: Some symmetry of the constrained space that keeps the wall exchanges its sides.
    """

    subgroup: Subset
    normal: Tensor
    fixed: bool
    visible: bool
    exchanged: bool


@dataclass(frozen=True, eq=False)
class Chambers:
    """The parts into which the walls cut the input weights of a block.

    Attributes:
        walls: The walls.
        space: Orthonormal basis of the block's input weights, shape ``(dim, d)``.
        signs: Side of every wall on which a chamber lies, shape ``(chambers, walls)``.
        witnesses: A point well inside each chamber, shape ``(chambers, dim)``.
        orbits: Chambers that symmetries of the constrained space exchange, group by group.
    """

    walls: tuple[Wall, ...]
    space: Tensor
    signs: np.ndarray
    witnesses: Tensor
    orbits: tuple[tuple[int, ...], ...]

    def __repr__(self) -> str:
        return f"{len(self.walls)} walls, {len(self.signs)} chambers in {len(self.orbits)} orbits"

    @property
    def barrier(self) -> bool:
        """Whether some chambers are out of reach from others, even up to symmetry."""
        return len(self.orbits) > 1

    def side(self, weights: Tensor) -> Tensor:
        """Chamber of input weights of the base unit.

        Args:
            weights: Shape ``(..., dim)``.

        Returns:
            Number of the chamber, -1 on a wall; shape ``(...)``.
        """
        if not self.walls:
            return torch.zeros(weights.shape[:-1], dtype=torch.int64)
        normals = torch.stack([w.normal for w in self.walls])
        heights = weights.double() @ normals.T
        known = torch.from_numpy(self.signs).double()
        matches = (torch.sign(heights)[..., None, :] == known).all(-1)
        return torch.where(matches.any(-1), matches.to(torch.int64).argmax(-1), -1)

    def orbit_of(self, weights: Tensor) -> Tensor:
        """Orbit of the chamber of input weights of the base unit.

        Args:
            weights: Shape ``(..., dim)``.

        Returns:
            Number of the orbit, -1 on a wall; shape ``(...)``.
        """
        orbit = torch.empty(len(self.signs) + 1, dtype=torch.int64)
        orbit[-1] = -1
        for k, members in enumerate(self.orbits):
            orbit[list(members)] = k
        return orbit[self.side(weights)]


def walls(layer: HiddenLayer, orbit: int = 0) -> tuple[Wall, ...]:
    """Walls within one block.

    Args:
        layer: The layer.
        orbit: Number of the block.

    Returns:
        The walls; none if every flat of the block costs more than one dimension, or is paired with output weights.

    >>> from symtheory.spec import group_families, gsets, representations
    >>> s3 = group_families.symmetric(3)
    >>> pi3, pair = representations.natural(s3), s3.subgroup_classes[1][0]
    >>> layer = HiddenLayer(pi3, gsets.coset_space(s3, pair), representations.trivial(s3))
    >>> [(w.visible, w.exchanged) for w in walls(layer)]
    [(False, False)]
    """
    group, own = layer.group, _stabilizer(layer, orbit)
    space, normalizing = fixed_space(layer.rep_in, own), normalizer(group, own)
    found: dict[tuple[float, ...], Wall] = {}
    for k, fixed in sorted(_candidates(layer, orbit).items(), key=lambda item: not item[1]):
        values, vectors = torch.linalg.eigh(space.T @ layer.rep_in.reynolds(k) @ space)
        normal = space @ vectors[:, int(values.argmin())]
        normal = normal * torch.sign(normal[normal.abs() > FIXED][0])
        swaps = {n for n in normalizing if float((layer.rep_in.matrices[n] @ normal + normal).abs().max()) < FIXED}
        wall = Wall(k, normal, fixed, bool(swaps & k), bool(swaps & normalizer(group, k)))
        found.setdefault(tuple(round(v, 6) + 0.0 for v in normal.tolist()), wall)
    return tuple(found.values())


def _candidates(layer: HiddenLayer, orbit: int) -> dict[Subset, bool]:
    """Stabilisers of walls, and whether the wall is a fixed-point subspace."""
    own = _stabilizer(layer, orbit)
    whole, found = layer.block_dims(own), {}
    for k in layer.group.subgroups:
        if own < k:
            drop = tuple(a - b for a, b in zip(whole, layer.block_dims(k), strict=True))
            if drop == (1, 0, 0):
                found[layer.closure_of(k)] = True
            elif drop[:2] == (1, 0) and not is_paired(layer, k, orbit):
                found.setdefault(fixing(layer, k), False)
    return found


def chambers(layer: HiddenLayer, orbit: int = 0) -> Chambers:
    """Chambers of one block and their orbits under relabelling.

    Args:
        layer: The layer.
        orbit: Number of the block.

    Returns:
        The chambers; a single one if there is no wall.

    >>> from symtheory.spec import group_families, gsets, representations
    >>> s3 = group_families.symmetric(3)
    >>> pi3, one = representations.natural(s3), representations.trivial(s3)
    >>> [chambers(HiddenLayer(pi3, gsets.coset_space(s3, h[0]), one)) for h in s3.subgroup_classes[:2]]
    [3 walls, 6 chambers in 1 orbits, 1 walls, 2 chambers in 2 orbits]
    """
    own = _stabilizer(layer, orbit)
    mute = layer.block_dims(own)[2] == 0  # the block computes nothing, on any side
    space, cuts = fixed_space(layer.rep_in, own), walls(layer, orbit)
    normals = torch.stack([w.normal for w in cuts]) @ space if cuts else torch.zeros(0, space.shape[1]).double()
    signs, points = _cells(normals.numpy(), space.shape[1])
    witnesses = torch.from_numpy(points) @ space.T
    bare = Chambers(cuts, space, signs, witnesses, ())
    related = DisjointSet(range(len(signs)))
    for n in sorted(normalizer(layer.group, own)):
        for i, j in enumerate(bare.side(witnesses @ layer.rep_in.matrices[n].T).tolist()):
            related.merge(i, 0 if mute else j)
    return replace(bare, orbits=tuple(sorted(tuple(sorted(s)) for s in related.subsets())))


def _stabilizer(layer: HiddenLayer, orbit: int) -> Subset:
    """Elements that fix all input weights and the bias of the base unit."""
    orbits = layer.units.orbits
    if not 0 <= orbit < len(orbits):
        raise SymtheoryError(f"a block among 0..{len(orbits) - 1}", f"{orbit}", "see layer.units.orbits")
    # units that always share their inputs act as one
    return fixing(layer, layer.units.stabilizer(orbits[orbit][0]))


def _cells(normals: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Sign vectors of all cells of a central arrangement, with a point in each: one hyperplane after another."""
    cells = [(np.empty(0), np.zeros(dim))]
    for k in range(len(normals)):
        following = []
        for signs, _ in cells:
            for side in (1.0, -1.0):
                tried = np.append(signs, side)
                if (point := _inside(tried[:, None] * normals[: k + 1])) is not None:
                    following.append((tried, point))
        cells = following
    return np.array([s for s, _ in cells]).reshape(len(cells), len(normals)), np.array([p for _, p in cells])


def _inside(normals: np.ndarray) -> np.ndarray | None:
    """The point of the unit cube that is farthest from all given half spaces' borders, if it is inside them all."""
    rows, dim = normals.shape
    answer = linprog(
        np.append(np.zeros(dim), -1.0),
        A_ub=np.hstack([-normals, np.ones((rows, 1))]),
        b_ub=np.zeros(rows),
        bounds=[(-1, 1)] * dim + [(None, None)],
    )
    return answer.x[:dim] if answer.success and answer.x[dim] > INSIDE else None
