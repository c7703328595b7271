"""What a user gives: groups as generators, representations as matrices of the generators, units as stabilisers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from symtheory.errors import SymtheoryError
from symtheory.spec.group_families import LIMIT, from_matrices, from_permutations
from symtheory.spec.groups import FiniteGroup, Subset
from symtheory.spec.gsets import GSet, coset_space, disjoint_union, from_images
from symtheory.spec.representations import Representation, from_generators

#: What the activation allows units to be confused with: nothing, their negatives, their positive multiples.
Activation = Literal["generic", "odd", "relu"]
NAMES: dict[str, tuple[str, ...]] = {
    "generic": ("celu", "elu", "gelu", "mish", "selu", "silu", "softplus"),
    "odd": ("hardtanh", "sigmoid", "softsign", "tanh", "tanhshrink"),
    "relu": ("leakyrelu",),
}

#: Permutations as sequences of images, or matrices as tensors, arrays or nested lists.
GroupLike = FiniteGroup | Sequence[Any]
RepresentationLike = Representation | Sequence[Any]
UnitsLike = GSet | Sequence[Subset]


def group_of(given: GroupLike, limit: int = LIMIT) -> FiniteGroup:
    """A group from what a user has.

    Args:
        given: A group, or generators as permutations of 0..m-1 or as matrices.
        limit: Largest order that is tried.

    Returns:
        The group.

    Raises:
        SymtheoryError: If there are no generators, they are of different degree or no permutations or invertible
            matrices, or the order exceeds the limit.

    >>> group_of([(1, 0, 2), (1, 2, 0)]).order
    6
    """
    if isinstance(given, FiniteGroup):
        return given
    if not given:
        raise SymtheoryError("at least one generator", "none", "give permutations of 0..m-1, or matrices")
    if (matrices := _matrices(given)) is not None:
        return from_matrices(matrices, limit=limit)
    return from_permutations([_images(g) for g in given], limit=limit)


def representation_of(given: RepresentationLike, group: FiniteGroup) -> Representation:
    """An orthogonal representation from what a user has.

    Args:
        given: A representation, or for each of ``group.generators`` a permutation or a matrix.
        group: The group.

    Returns:
        The representation; with a warning, an orthogonal one in another basis if it was not orthogonal.

    Raises:
        SymtheoryError: If it is of another group, a generator is missing, or relations are violated.
    """
    if isinstance(given, Representation):
        if given.group is not group:
            raise SymtheoryError(f"a representation of {group}", f"{given}", "use one FiniteGroup object for all")
        rep = given
    else:
        if len(given) != len(group.generators):
            raise SymtheoryError(
                f"{len(group.generators)} matrices or permutations, one for each generator of {group.name}",
                f"{len(given)}",
                "follow group.generators",
            )
        if (matrices := _matrices(given)) is not None:
            if len({m.shape for m in matrices}) != 1 or matrices[0].shape[0] != matrices[0].shape[1]:
                raise SymtheoryError(
                    "square matrices of one size", f"{[tuple(m.shape) for m in matrices]}", "give one a generator"
                )
            rep = from_generators(group, dict(zip(group.generators, matrices, strict=True)))
        else:
            rep = from_images(group, [_images(m) for m in given]).representation()
    if rep.is_orthogonal:
        return rep
    warnings.warn(
        "the matrices are not orthogonal; an equivalent orthogonal representation in another basis is used instead."
        " Counts of walls hold, but transform the data before you train a network with it",
        stacklevel=2,
    )
    return rep.orthogonalised()


def representations_of(
    group: GroupLike | None, first: RepresentationLike, second: RepresentationLike
) -> tuple[Representation, Representation]:
    """Two representations of one group, which one of them may tell.

    Args:
        group: The group; not needed if one of the others is a representation.
        first: A representation, or a permutation or matrix for each generator.
        second: The same.

    Returns:
        Both, orthogonal.

    Raises:
        SymtheoryError: If no group is given, or as :func:`representation_of`.
    """
    known = [r.group for r in (first, second) if isinstance(r, Representation)]
    if group is None and not known:
        raise SymtheoryError("a group", "generators of two actions", "pass group=group_of(...)")
    g = known[0] if group is None else group_of(group)
    return representation_of(first, g), representation_of(second, g)


def units_of(given: UnitsLike, group: FiniteGroup) -> GSet:
    """Hidden units from what a user has.

    Args:
        given: A set with an action, or the stabilisers $H_i$ of its blocks $G/H_i$.
        group: The group.

    Returns:
        The set.

    Raises:
        SymtheoryError: If there is no block, a stabiliser is no subgroup, or the action is of another group.
    """
    if isinstance(given, GSet):
        if given.group is not group:
            raise SymtheoryError(f"units of {group}", f"units of {given.group}", "use one FiniteGroup object for all")
        return given
    if not given:
        raise SymtheoryError("at least one block of hidden units", "none", "give the stabiliser of one unit a block")
    return disjoint_union(*(coset_space(group, h) for h in given))


def activation_of(given: str | nn.Module) -> Activation:
    """The class of an activation.

    Args:
        given: ``generic``, ``odd`` or ``relu``; or an activation of ``torch.nn``, or its name. A sigmoid is odd up to a
            constant, which an output bias takes up.

    Returns:
        The class.

    Raises:
        SymtheoryError: If it is not known.

    >>> activation_of("tanh"), activation_of(nn.GELU())
    ('odd', 'generic')
    """
    name = given.lower().replace("_", "") if isinstance(given, str) else type(given).__name__.lower()
    for known in get_args(Activation):
        if name == known or name in NAMES[known]:
            return known
    raise SymtheoryError(
        f"an activation among {list(get_args(Activation))}, or a name among {sorted(sum(NAMES.values(), ()))}",
        repr(given),
        "choose by what holds: s(-z) = -s(z) up to a constant is odd, s(cz) = cs(z) for c > 0 is relu, else generic",
    )


def _matrices(given: Sequence[Any]) -> list[Tensor] | None:
    """The matrices, if this is what was given."""
    made = [g if isinstance(g, Tensor) else torch.as_tensor(np.asarray(g)) for g in given]
    if not all(m.dim() == 2 for m in made):
        return None
    if any(m.dtype in (torch.float32, torch.float16, torch.bfloat16) and bool((m != m.round()).any()) for m in made):
        raise SymtheoryError(
            "matrices in double precision",
            f"{[str(m.dtype) for m in made]}",
            "build them in float64; single precision cannot tell a finite order from an infinite one",
        )
    if any(m.is_complex() for m in made):
        raise SymtheoryError("real matrices", "complex ones", "use the real form, of twice the size")
    return [m.double() for m in made]


def _images(given: Sequence[Any] | Tensor | np.ndarray) -> list[int]:
    values = [float(k) for k in np.asarray(given).tolist()]
    if any(v != int(v) for v in values):
        raise SymtheoryError("images of points, whole numbers", f"{values}", "number the points from 0")
    return [int(v) for v in values]
