r"""Cosets, normalisers, conjugacy classes of elements and the table of marks of a finite group.

A transitive action is an action on the cosets of a subgroup, the same for conjugate subgroups. The table of marks
counts, for representatives $H_1, H_2, \dots$ of the classes of subgroups, the fixed points of $H_j$ on $G/H_i$; it
tells all actions apart, transitive or not.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from symtheory.spec.groups import FiniteGroup, Part, Subset, subgroup_as_group
from symtheory.spec.representations import Representation, permutation_matrices


def normalizer(group: FiniteGroup, subset: Subset) -> Subset:
    r"""$N_G(H) = \{g: gHg^{-1} = H\}$.

    Args:
        group: $G$.
        subset: A subgroup $H$.

    Returns:
        The largest subgroup in which $H$ is normal.

    Raises:
        SymtheoryError: If the set is no subgroup.

    >>> from symtheory.spec.group_families import symmetric
    >>> s4 = symmetric(4)
    >>> sorted({len(normalizer(s4, h)) for h in s4.subgroups})
    [4, 6, 8, 24]
    """
    group.require_subgroup(subset)
    h, inside = np.array(sorted(subset)), np.zeros(group.order, dtype=bool)
    inside[h] = True
    images = group.table[group.table[:, h], group.inverse[:, None]]
    return cast(Subset, frozenset(np.flatnonzero(inside[images].all(axis=1)).tolist()))


def is_normal(group: FiniteGroup, subset: Subset) -> bool:
    r"""Whether $gHg^{-1} = H$ for all $g$.

    Args:
        group: $G$.
        subset: A subgroup $H$.

    Returns:
        True or False.

    Raises:
        SymtheoryError: If the set is no subgroup.

    >>> from symtheory.spec.group_families import quaternion
    >>> all(is_normal(quaternion(), h) for h in quaternion().subgroups)
    True
    """
    return len(normalizer(group, subset)) == group.order


def left_cosets(group: FiniteGroup, subset: Subset) -> tuple[Subset, ...]:
    r"""The cosets $gH$, that of the identity first.

    Args:
        group: $G$.
        subset: A subgroup $H$.

    Returns:
        Disjoint sets that cover the group.

    Raises:
        SymtheoryError: If the set is no subgroup.

    >>> from symtheory.spec.group_families import cyclic
    >>> c6 = cyclic(6)
    >>> [len(c) for c in left_cosets(c6, c6.minimal_subgroups[0])]
    [2, 2, 2]
    """
    group.require_subgroup(subset)
    h, left, found = np.array(sorted(subset)), np.ones(group.order, dtype=bool), []
    for g in range(group.order):
        if left[g]:
            left[group.table[g, h]] = False
            found.append(frozenset(group.table[g, h].tolist()))
    return tuple(found)


def coset_representation(group: FiniteGroup, subset: Subset) -> Representation:
    r"""The permutation representation on $G/H$: $\rho(a)e_{gH} = e_{agH}$.

    Args:
        group: $G$.
        subset: A subgroup $H$.

    Returns:
        Representation of dimension $|G|/|H|$.

    Raises:
        SymtheoryError: If the set is no subgroup.

    >>> from symtheory.spec.group_families import symmetric
    >>> s3 = symmetric(3)
    >>> coset_representation(s3, frozenset({0})).dim
    6
    """
    parts = left_cosets(group, subset)
    number = np.empty(group.order, dtype=np.int64)
    for k, part in enumerate(parts):
        number[sorted(part)] = k
    images = number[group.table[:, [min(part) for part in parts]]]
    return Representation(group, permutation_matrices(images), "coset representation")


def conjugacy_classes(group: FiniteGroup) -> tuple[Subset, ...]:
    """Classes of conjugate elements, that of the identity first.

    Args:
        group: The group.

    Returns:
        Disjoint sets that cover the group.

    >>> from symtheory.spec.group_families import symmetric
    >>> sorted(len(c) for c in conjugacy_classes(symmetric(4)))
    [1, 3, 6, 6, 8]
    """
    left, found = np.ones(group.order, dtype=bool), []
    for a in range(group.order):
        if left[a]:
            images = group.table[group.table[:, a], group.inverse]
            left[images] = False
            found.append(frozenset(images.tolist()))
    return tuple(found)


def generators_of(group: FiniteGroup, subset: Subset) -> tuple[int, ...]:
    r"""A generating set of a subgroup with as few elements as possible, in the numbers of the larger group.

    Args:
        group: $G$.
        subset: A subgroup $U$; $|\Gamma(U)|$ is the length of the answer.

    Returns:
        Elements; none for the trivial subgroup.

    Raises:
        SymtheoryError: If the set is no subgroup.

    >>> from symtheory.spec.group_families import symmetric
    >>> s4 = symmetric(4)
    >>> max(len(generators_of(s4, u)) for u in s4.subgroups)
    2
    """
    part: Part = subgroup_as_group(group, subset)
    return tuple(part.elements[a] for a in part.group.minimal_generators)


def fixed_space(rep: Representation, subset: Subset) -> Tensor:
    r"""Where a subgroup can trap parameters: an orthonormal basis of the points that it fixes.

    Args:
        rep: A representation, orthogonal or not.
        subset: A subgroup $V$.

    Returns:
        Matrix of shape ``(d, k)`` with the space $\{\theta: \rho(v)\theta = \theta\ \forall v\in V\}$ as range,
        $k = d-\mathrm{rank}(I-\bar V)$.

    Raises:
        SymtheoryError: If the set is no subgroup.

    >>> from symtheory.spec.group_families import symmetric
    >>> from symtheory.spec.representations import natural
    >>> s3 = symmetric(3)
    >>> [fixed_space(natural(s3), h).shape[1] for h in s3.subgroups]
    [3, 2, 2, 2, 1, 1]
    """
    left, _, _ = torch.linalg.svd(rep.reynolds(subset))
    return left[:, : rep.dim - rep.broken_rank(subset)]


def table_of_marks(group: FiniteGroup) -> np.ndarray:
    r"""Entry $(i,j)$: cosets $gH_i$ that $H_j$ fixes, classes of subgroups in the order of ``subgroup_classes``.

    Args:
        group: $G$.

    Returns:
        Lower triangular matrix of integers; the first column is $|G|/|H_i|$, the diagonal $|N(H_i)|/|H_i|$.

    >>> from symtheory.spec.group_families import symmetric
    >>> table_of_marks(symmetric(3)).tolist()
    [[6, 0, 0, 0], [3, 1, 0, 0], [2, 0, 2, 0], [1, 1, 1, 1]]
    """
    classes = group.subgroup_classes
    marks = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for i, members in enumerate(classes):
        # H_j fixes gH_i when it lies in g H_i g^-1, and every conjugate comes |N(H_i)| / |H_i| times
        times = group.order // (len(members) * len(members[0]))
        for j, others in enumerate(classes):
            marks[i, j] = times * sum(others[0] <= h for h in members)
    return marks
