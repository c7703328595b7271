"""Groups, representations and single blocks of hidden units on which the statements about walls are tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise, product
from math import prod

import torch
from sympy import divisors
from torch import Tensor

from symtheory.spec import group_families as families
from symtheory.spec import representations as reps
from symtheory.spec.groups import FiniteGroup
from symtheory.spec.gsets import coset_space
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.representations import Representation
from symtheory.theorems.instances import generator_of, normal

#: Eigenvalues of a random averaged matrix that are closer belong to one irreducible representation.
APART = 1e-8


def with_swap(group: FiniteGroup) -> FiniteGroup:
    r"""$G\times C_2$ for a group of permutations; $C_2$ exchanges two further points.

    Args:
        group: $G$.

    Returns:
        The product.

    >>> with_swap(families.symmetric(3)).order
    12
    """
    points = 0 if group.action is None else group.action.shape[1]
    old = [] if group.action is None else [[*group.action[g].tolist(), points, points + 1] for g in group.generators]
    return families.from_permutations([*old, [*range(points), points + 1, points]], name=f"{group.name}xC_2")


GROUPS: dict[str, Callable[[], FiniteGroup]] = {
    "S_3": cache(lambda: families.symmetric(3)),
    "S_4": cache(lambda: families.symmetric(4)),
    "A_4": cache(lambda: families.alternating(4)),
    "D_4": cache(lambda: families.dihedral(4)),
    "D_5": cache(lambda: families.dihedral(5)),
    "S_3xC_2": cache(lambda: with_swap(families.symmetric(3))),
    "C_2": cache(lambda: families.cyclic(2)),
    "C_3": cache(lambda: families.cyclic(3)),
    "C_4": cache(lambda: families.cyclic(4)),
    "C_6": cache(lambda: families.cyclic(6)),
    "C_2xC_2": cache(lambda: families.abelian(2, 2)),
    "Q_8": cache(families.quaternion),
}


@cache
def irreducibles(group: FiniteGroup) -> tuple[Representation, ...]:
    """Real irreducible representations, one of every kind, in orthonormal coordinates; the trivial one first.

    A random symmetric matrix, averaged over the group, has the irreducible parts of the regular representation as
    eigenspaces.

    Args:
        group: The group.

    Returns:
        The representations, smallest first.

    >>> [r.dim for r in irreducibles(families.symmetric(4))], [r.dim for r in irreducibles(families.quaternion())]
    ([1, 1, 2, 3, 3], [1, 1, 1, 1, 4])
    """
    regular = reps.regular(group).matrices
    draft = normal(generator_of(0), group.order, group.order)
    mixed = (regular @ (draft + draft.T) @ regular.transpose(1, 2)).mean(dim=0)
    values, vectors = torch.linalg.eigh(mixed)
    cuts = (torch.nonzero(values.diff() > APART * float(values.abs().max())).flatten() + 1).tolist()
    found: dict[tuple[float, ...], Representation] = {}
    for basis in torch.tensor_split(vectors, cuts, dim=1):
        matrices = basis.T @ regular @ basis
        character = tuple((torch.einsum("gii->g", matrices).round(decimals=6) + 0.0).tolist())
        found.setdefault(character, Representation(group, matrices, f"irreducible {basis.shape[1]}"))
    return tuple(sorted(found.values(), key=lambda r: (r.dim, not _is_trivial(r), -float(_trace(r).sum()))))


def _trace(rep: Representation) -> Tensor:
    return torch.einsum("gii->g", rep.matrices)


def _is_trivial(rep: Representation) -> bool:
    return bool((rep.matrices - torch.eye(rep.dim, dtype=torch.float64)).abs().max() < APART)


def natural(group: FiniteGroup) -> Representation:
    """The group's own permutation representation, or the regular one.

    Args:
        group: The group.

    Returns:
        The representation.
    """
    return reps.regular(group) if group.action is None else reps.natural(group)


def random_sum(group: FiniteGroup, seed: int, most: int = 3) -> Representation:
    """A random direct sum of different irreducible representations in a random orthonormal basis.

    Args:
        group: The group.
        seed: Seed.
        most: Largest number of summands; now and then one of them comes twice.

    Returns:
        The representation.
    """
    g, parts = generator_of(seed), irreducibles(group)
    chosen = torch.randperm(len(parts), generator=g)[: 1 + int(torch.randint(most, (), generator=g))].tolist()
    if torch.rand((), generator=g) < 0.2:
        chosen.append(chosen[0])
    return reps.random_equivalent(reps.direct_sum(*(parts[i] for i in chosen)), g, 0.0)


def ends(group: FiniteGroup) -> dict[str, tuple[Representation, Representation]]:
    """Inputs and outputs with names: natural to trivial, natural to natural, regular to trivial.

    Args:
        group: The group.

    Returns:
        The pairs; the regular one for groups of order 12 at most.
    """
    plain, one = natural(group), reps.trivial(group)
    pairs = {"natural, trivial": (plain, one), "natural, natural": (plain, plain)}
    if 2 < group.order <= 12:
        pairs["regular, trivial"] = (reps.regular(group), one)
    return pairs


def blocks(group: FiniteGroup, rep_in: Representation, rep_out: Representation) -> Iterator[HiddenLayer]:
    """One layer for every transitive set of hidden units.

    Args:
        group: The group.
        rep_in: Inputs.
        rep_out: Outputs.

    Yields:
        Layers with a single block $G/H$.
    """
    for members in group.subgroup_classes:
        yield HiddenLayer(rep_in, coset_space(group, members[0]), rep_out)


@cache
def walled(name: str) -> tuple[HiddenLayer, ...]:
    """All blocks of a group of the bank, with its named ends, that have a wall.

    Args:
        name: A name in ``GROUPS``.

    Returns:
        The layers.
    """
    group = GROUPS[name]()
    return tuple(
        layer
        for pair in ends(group).values()
        for layer in blocks(group, *pair)
        if any(f.is_wall for f in layer.flats())
    )


def abelian_groups(most: int) -> Iterator[FiniteGroup]:
    r"""All abelian groups of small order, one of each kind, $C_{n_1}\times\dots\times C_{n_k}$ with $n_1|n_2|\dots$.

    Args:
        most: Largest order.

    Yields:
        The groups, without the trivial one.

    >>> sum(1 for _ in abelian_groups(24))
    36
    """
    for order in range(2, most + 1):
        for length in range(1, 5):
            for factors in product([d for d in divisors(order) if d > 1], repeat=length):
                if prod(factors) == order and all(b % a == 0 for a, b in pairwise(factors)):
                    yield families.abelian(*factors)
