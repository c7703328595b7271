r"""Units with equal inputs: a symmetry that holds only there, and what it conserves.

On the input-equal set $I = \{w\in V_{in}^{H'}\}$ of a block $G/H$ units of one class share their input weights, so the function sees only sums of
their output weights. Whether the flow stays on $I$ is decided by the *pairing*
$T(a,\nu) = |H'|^{-1}\sum_{k\in H'}\rho_{out}(k)a\otimes\rho_{in}(k)\nu$ of output weights $a\in V_{out}^H$ with directions $\nu\in V_{in}^H$ across $I$: the slope is
$\mathbb E[s'(z)\,\nabla\ell\cdot T\,x]$ summed over classes. If the pairing is zero, $I$ is invariant for all data. By Schur's lemma that needs no equality of
$V_{out}^H$ and $V_{out}^{H'}$: it is enough that the two sides generate representations of $H'$ with nothing in common. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import torch
from torch import Tensor

from symtheory.spec import representations as reps
from symtheory.spec.cosets import fixed_space
from symtheory.spec.groups import Subset
from symtheory.spec.gsets import coset_space
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.pairing import is_paired
from symtheory.theorems.hidden_subspaces.bank import GROUPS, blocks, irreducibles
from symtheory.theorems.hidden_subspaces.crossings import Crossing
from symtheory.theorems.hidden_subspaces.problems import Problem, problem
from symtheory.theorems.instances import generator_of, normal


def across_inputs(p: Problem, subset: Subset) -> Tensor:
    """Orthonormal directions of the input weights across the input-equal set, in constrained coordinates.

    Args:
        p: A problem with one block.
        subset: The larger stabiliser of the inputs.

    Returns:
        Shape ``(dim, k)``.
    """
    own, rep = p.layer.units.stabilizer(0), p.layer.rep_in
    inputs = fixed_space(rep, own)
    left, values, _ = torch.linalg.svd(inputs - rep.reynolds(subset) @ inputs, full_matrices=False)
    # a direction at the base unit spreads over the block as the basis functions do
    at_base = p.bases[0][:, 0] @ left[:, values > 0.5] * p.layer.units.size**0.5
    return torch.cat([at_base, torch.zeros(p.dim - len(at_base), at_base.shape[1], dtype=torch.float64)])


def drift(p: Problem, subset: Subset, seed: int, *, loss_of_units: bool = False) -> float:
    """Slope across the input-equal set at a random point of it, relative to the whole gradient.

    Args:
        p: A problem with one block.
        subset: The larger stabiliser of the inputs.
        seed: Seed of the point.
        loss_of_units: Whether to take a loss that looks at single units, for a control.

    Returns:
        The ratio.
    """
    across = across_inputs(p, subset)
    theta = 2 * normal(generator_of(seed), p.dim)
    theta = theta - across @ (across.T @ theta)
    slope = torch.func.grad(p.units_apart if loss_of_units else p.loss)(theta)
    return float((across.T @ slope).norm() / slope.norm())


def pentagon() -> HiddenLayer:
    r"""$D_5$ with the five units $D_5/C_2$; inputs: a number and a plane turned by $72°$, outputs: a number and a plane turned by $144°$.

    Returns:
        The layer: a flat of codimension two, one of input and one of output weights, and still a wall.

    >>> layer = pentagon()
    >>> [f.codim for f in layer.flats()], is_paired(layer, frozenset(range(10)))
    ([(1, 0, 1)], False)
    """
    group = GROUPS["D_5"]()
    one, _, first, second = irreducibles(group)
    units = coset_space(group, group.subgroup_classes[1][0])
    return HiddenLayer(reps.direct_sum(one, first), units, reps.direct_sum(one, second))


def silent_wall(p: Problem, subset: Subset) -> Crossing:
    """The input-equal set as a wall, if it has one direction across.

    Args:
        p: A problem with one block, without pairing.
        subset: The larger stabiliser of the inputs.

    Returns:
        Problem and normal.
    """
    return Crossing(p, across_inputs(p, subset)[:, 0])


@cache
def _options(name: str) -> dict[bool, tuple[tuple[HiddenLayer, Subset], ...]]:
    """Blocks with and without pairing, inputs and outputs sums of the trivial and another irreducible representation."""
    group = GROUPS[name]()
    kinds = irreducibles(group)
    sums = [reps.direct_sum(kinds[0], r) for r in kinds[1:]]
    found: dict[bool, list[tuple[HiddenLayer, Subset]]] = {False: [], True: []}
    for rep_in, rep_out in product(sums, sums):
        for layer in blocks(group, rep_in, rep_out):
            members = layer.units.stabilizer(0)
            own = layer.block_dims(members)
            for larger in group.subgroups:
                their = layer.block_dims(larger)
                if members < larger and own[0] > their[0] and own[2] > their[2]:
                    found[is_paired(layer, larger)].append((layer, larger))
    return {key: tuple(options) for key, options in found.items()}


def pairs(seed: int) -> Iterator[tuple[Problem, Subset]]:
    """Blocks whose inputs and outputs are sums of the trivial and another irreducible representation.

    Args:
        seed: Seed.

    Yields:
        A problem for every group that is not abelian and a larger stabiliser, with and without pairing in turn.
    """
    for k, name in enumerate(("S_3", "S_4", "A_4", "D_4", "D_5", "S_3xC_2")):
        options = _options(name)
        chosen = options[bool((seed + k) % 2)] or options[bool((seed + k + 1) % 2)]
        layer, larger = chosen[(7 * seed + k) % len(chosen)]
        yield problem(layer, seed + k, activation="generic"), larger
