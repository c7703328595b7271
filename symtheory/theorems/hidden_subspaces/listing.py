"""Walls and chambers by brute force: all automorphisms of the units of a block, one by one, as matrices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from scipy.cluster.hierarchy import DisjointSet
from torch import Tensor

from symtheory.spec.congruences import Labels
from symtheory.spec.cosets import fixed_space, normalizer
from symtheory.spec.gsets import coset_space
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.walls import chambers
from symtheory.theorems.hidden_subspaces.problems import Problem
from symtheory.theorems.instances import generator_of, normal

#: Rounding of a loss over some tens of units and data.
LOSS_TOLERANCE = 1e-11
#: Products of matrices of a representation, against the exact answer.
MATCH = 1e-9


@dataclass(frozen=True, eq=False)
class Listing:
    """What all automorphisms of the units of a block do to its walls, one by one.

    Attributes:
        normals: Of every wall, in the coordinates of the input weights; shape ``(walls, k)``.
        moves: Every automorphism in the same coordinates, shape ``(automorphisms, k, k)``.
        full: The same in all constrained coordinates, shape ``(automorphisms, dim, dim)``.
    """

    normals: Tensor
    moves: Tensor
    full: Tensor

    @property
    def flips(self) -> Tensor:
        """Whether an automorphism exchanges the sides of a wall; shape ``(automorphisms, walls)``."""
        moved = self.moves @ self.normals.T + self.normals.T
        return (moved.abs() < MATCH).all(dim=1)

    @property
    def reflections(self) -> Tensor:
        """Whether an automorphism is the reflection in a wall, outputs and biases at rest; shape as ``flips``."""
        dim, k = self.full.shape[1], self.normals.shape[1]
        across = torch.zeros(len(self.normals), dim, dtype=torch.float64)
        across[:, :k] = self.normals
        mirrors = torch.eye(dim, dtype=torch.float64) - 2 * across[:, :, None] * across[:, None, :]
        return (self.full[:, None] - mirrors).abs().amax((2, 3)) < MATCH

    def chamber_count(self) -> int:
        r"""Whitney: $\sum_B(-1)^{|B|-\mathrm{rank}B}$ over all sets $B$ of walls.

        Returns:
            The number of chambers.
        """
        total = 0
        for size in range(len(self.normals) + 1):
            for chosen in combinations(range(len(self.normals)), size):
                rank = int(torch.linalg.matrix_rank(self.normals[list(chosen)], tol=1e-8)) if size else 0
                total += (-1) ** (size - rank)
        return total

    def orbit_count(self, samples: int = 2000) -> tuple[int, int]:
        """Chambers that random points meet, and their orbits under all automorphisms.

        Args:
            samples: Number of points.

        Returns:
            Both numbers.
        """
        points = normal(generator_of(0), samples, self.normals.shape[1])
        code = 2 ** torch.arange(len(self.normals), dtype=torch.int64)

        def chamber(x: Tensor) -> list[int]:
            return ((x @ self.normals.T > 0) * code).sum(-1).tolist()

        start = chamber(points)
        met = DisjointSet(set(start))
        for move in self.moves:
            for a, b in set(zip(start, chamber(points @ move.T), strict=True)):
                met.add(b)
                met.merge(a, b)
        return len(list(met)), met.n_subsets


def listing(p: Problem) -> Listing:
    """All automorphisms of the units, as matrices on the constrained space, and the walls that a gradient shows.

    Args:
        p: A problem with a single block.

    Returns:
        The listing.
    """
    k, moves = p.dims[0], []
    units, n, out = p.layer.units.size, p.layer.rep_in.dim, p.layer.rep_out.dim
    for images in p.layer.units.automorphisms():
        there = torch.zeros(units, units, dtype=torch.float64)
        there[torch.from_numpy(images), torch.arange(units)] = 1.0
        parts = [torch.kron(there, torch.eye(d, dtype=torch.float64)) for d in (n, 1, out)]
        moves.append(p.embedding.T @ torch.block_diag(*parts) @ p.embedding)
    full = torch.stack(moves)
    return Listing(_separating(p), full[:, :k, :k], full)


def _separating(p: Problem) -> Tensor:
    """Normals of the sets where units share their inputs, at the cost of one dimension, and a loss has no slope across."""
    k = p.dims[0]
    found = torch.zeros(0, k, dtype=torch.float64)
    for f in p.layer.flats():
        if f.codim[:2] == (1, 0):
            direction = _across_inputs(p, f.labels)
            theta = normal(generator_of(p.seed + 6), p.dim)
            theta[:k] -= (theta[:k] @ direction) * direction
            # with decay, which has no slope across either: a block without outputs has a gradient then
            slope = torch.func.grad(p.loss)(theta) + theta
            if abs(float(slope[:k] @ direction)) < MATCH * float(slope.norm()) and not bool(
                ((found @ direction).abs() > 1 - MATCH).any()
            ):
                found = torch.cat([found, direction[None]])
    return found


def _across_inputs(p: Problem, labels: Labels) -> Tensor:
    """Unit vector, in the coordinates of the input weights, across the set where a relation's classes share theirs."""
    within = p.bases[0].flatten(1) @ p.layer.functions(p.layer.rep_in, labels).flatten(1).T
    return torch.linalg.svd(within, full_matrices=True)[0][:, -1]


def distinct(layer: HiddenLayer) -> HiddenLayer:
    """The block whose units are told apart by some input weights: units that always share them are one.

    Args:
        layer: A layer with one block.

    Returns:
        A layer with one block that computes the same functions.
    """
    inputs, units = layer.functions(layer.rep_in, tuple(range(layer.units.size))), layer.units
    same = {
        g for g in range(layer.group.order) if torch.allclose(inputs[:, units.images[g][0]], inputs[:, 0], atol=MATCH)
    }
    return HiddenLayer(layer.rep_in, coset_space(layer.group, frozenset(same)), layer.rep_out, layer.bias)


def exchange_error(p: Problem, loss_of_units: bool = False) -> float:
    """Largest relative difference of a loss between points that automorphisms of the units exchange.

    Args:
        p: The problem.
        loss_of_units: Whether to take a loss that looks at single units, for a control.

    Returns:
        The difference.
    """
    loss = p.units_apart if loss_of_units else p.loss
    theta = normal(generator_of(p.seed + 5), p.dim)
    here = float(loss(theta))
    return max(abs(float(loss(move @ theta)) - here) / abs(here) for move in listing(p).full)


def differences(p: Problem) -> int:
    """Numbers in which the walls and chambers from normalisers differ from those of brute force.

    Args:
        p: A problem with a single block, whose units do not always share their input weights.

    Returns:
        How many of: walls, visible walls, exchanged walls, chambers (twice), orbits; and of the statements that one orbit follows from visible
        walls alone and that a visible wall is one whose normaliser in $H'$ moves something.
    """
    c, found = chambers(p.layer), listing(p)
    met, orbits = found.orbit_count()
    if p.dims[2] == 0:
        orbits = 1  # without output weights every chamber computes the same function
    own = p.layer.units.stabilizer(0)
    space = fixed_space(p.layer.rep_in, own)
    moving = 0
    for w in c.walls:
        inside = sorted(normalizer(p.layer.group, own) & w.subgroup)
        moves = (p.layer.rep_in.matrices[inside] @ space - space).abs().amax((1, 2)) > MATCH
        moving += int(bool(moves.any()) != w.visible)
    return (
        abs(len(c.walls) - len(found.normals))
        + abs(sum(w.visible for w in c.walls) - sum(f.visible for f in p.walls))
        + abs(sum(w.visible for w in c.walls) - int(found.reflections.any(dim=0).sum()))
        + abs(sum(w.exchanged for w in c.walls) - int(found.flips.any(dim=0).sum()))
        + abs(len(c.signs) - found.chamber_count())
        + abs(len(c.signs) - met)
        + abs(len(c.orbits) - orbits)
        + int(all(w.visible for w in c.walls) and c.barrier)
        + moving
    )


def is_relabelled(layer: HiddenLayer) -> bool:
    """Whether relabelling the units of the block moves any weights.

    Args:
        layer: A layer with one block.

    Returns:
        The answer.
    """
    own = layer.units.stabilizer(0)
    return bool(normalizer(layer.group, own) - layer.closure_of(own))
