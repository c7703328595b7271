r"""Finite sets on which a group acts: the hidden units of an equivariant layer.

A set on which $G$ acts is a disjoint union of orbits, an orbit is $G/H$ for the stabiliser $H$ of any of its points,
and $H$ is unique up to conjugation. Its permutation matrices are a *p-representation*. Maps between such sets that
commute with the action are what can be shared, merged or exchanged among hidden units without leaving the equivariant
class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from math import factorial, prod

import numpy as np

from symtheory.errors import SymtheoryError
from symtheory.spec.cosets import left_cosets, normalizer
from symtheory.spec.groups import FiniteGroup, Part, Subset
from symtheory.spec.representations import Representation, permutation_matrices


@dataclass(frozen=True, eq=False)
class GSet:
    """A finite set with an action.

    Attributes:
        group: $G$.
        images: Image of every point under every element, integers of shape ``(order, points)``.
    """

    group: FiniteGroup
    images: np.ndarray

    def __post_init__(self) -> None:
        images, group = self.images, self.group
        if images.ndim != 2 or images.shape[0] != group.order or not np.issubdtype(images.dtype, np.integer):
            raise SymtheoryError(
                f"integers of shape ({group.order}, points)", f"{images.dtype} of {images.shape}", "one row an element"
            )
        points = np.arange(images.shape[1])
        moved = all(np.array_equal(images[g][images], images[group.table[g]]) for g in group.generators)
        if (
            not np.array_equal(images[0], points)
            or not np.array_equal(np.sort(images, axis=1)[-1], points)
            or not moved
        ):
            raise SymtheoryError(
                "an action, g(hx) = (gh)x", "another table", "build it with from_images or coset_space"
            )

    def __repr__(self) -> str:
        types = " + ".join(f"{self.group.name}/{len(self.stabilizer(o[0]))}" for o in self.orbits)
        return f"{types or 'no points'}, {self.size} points"

    @property
    def size(self) -> int:
        """Number of points."""
        return self.images.shape[1]

    @cached_property
    def orbits(self) -> tuple[tuple[int, ...], ...]:
        """The orbits, each in increasing order, by their first points."""
        first = self.images.min(axis=0) if self.size else np.empty(0, dtype=np.int64)
        return tuple(tuple(np.flatnonzero(first == x).tolist()) for x in np.unique(first))

    def stabilizer(self, point: int) -> Subset:
        """Elements that fix a point.

        Args:
            point: Its number.

        Returns:
            A subgroup.
        """
        return frozenset(np.flatnonzero(self.images[:, point] == point).tolist())

    @cached_property
    def types(self) -> tuple[int, ...]:
        """Of every orbit, the number of the conjugacy class of its stabilisers in ``group.subgroup_classes``."""
        number = {h: i for i, members in enumerate(self.group.subgroup_classes) for h in members}
        return tuple(number[self.stabilizer(orbit[0])] for orbit in self.orbits)

    def is_isomorphic(self, other: GSet) -> bool:
        """Whether some bijection commutes with the actions: orbits of the same types, equally often.

        Args:
            other: Another set with an action of the same group.

        Returns:
            The answer.

        Raises:
            SymtheoryError: If the groups differ.
        """
        if other.group is not self.group:
            raise SymtheoryError(
                "two actions of one group", f"{self.group}, {other.group}", "use one FiniteGroup object"
            )
        return Counter(self.types) == Counter(other.types)

    def representation(self) -> Representation:
        r"""The permutation matrices, $P_ge_x = e_{gx}$.

        Returns:
            A real orthogonal representation of dimension ``size``.
        """
        return Representation(self.group, permutation_matrices(self.images), "permutation representation")

    def carriers(self, orbit: Sequence[int]) -> list[int]:
        """For each point of an orbit an element that carries the first point to it.

        Args:
            orbit: The points.

        Returns:
            Elements of the group.
        """
        first = np.argmax(self.images[:, [orbit[0]]] == np.array(orbit), axis=0)
        return first.tolist()

    def maps_of_orbit(self, orbit: int, other: GSet) -> list[np.ndarray]:
        r"""Maps from one orbit into another set that commute with the action.

        The image of the orbit's first point may be any point that its stabiliser fixes, and decides the rest.

        Args:
            orbit: Number of the orbit.
            other: The target, of the same group.

        Returns:
            For each map the images of the orbit's points, in order; $|Y^H|$ of them.
        """
        points = self.orbits[orbit]
        fixed = (other.images[sorted(self.stabilizer(points[0]))] == np.arange(other.size)).all(axis=0)
        return [other.images[self.carriers(points), y] for y in np.flatnonzero(fixed)]

    def automorphisms(self) -> Iterator[np.ndarray]:
        r"""Bijections that commute with the action: $\prod(N(H)/H)\wr S_k$ over the types of orbits.

        Yields:
            Images of all points.
        """
        choices = []
        for i in range(len(self.orbits)):
            into = self.maps_of_orbit(i, self)
            where = [j for j, t in enumerate(self.types) if t == self.types[i]]
            inside = {j: [m for m in into if int(m[0]) in self.orbits[j]] for j in where}
            choices.append(inside)
        for targets in permutations(range(len(self.orbits))):
            if all(t in c for t, c in zip(targets, choices, strict=True)):
                for parts in product(*(c[t] for t, c in zip(targets, choices, strict=True))):
                    images = np.empty(self.size, dtype=np.int64)
                    for orbit, part in zip(self.orbits, parts, strict=True):
                        images[list(orbit)] = part
                    yield images

    @property
    def automorphism_count(self) -> int:
        r"""$\prod_H|N(H)/H|^{k_H}k_H!$, without listing them."""
        classes = self.group.subgroup_classes
        counts = Counter(self.types)
        index = {t: len(normalizer(self.group, classes[t][0])) // len(classes[t][0]) for t in counts}
        return prod(index[t] ** k * factorial(k) for t, k in counts.items())


def from_images(group: FiniteGroup, images: Sequence[Sequence[int]]) -> GSet:
    """An action from the permutations of the group's generators.

    Args:
        group: The group.
        images: For each of ``group.generators`` the images of the points.

    Returns:
        The set with its action.

    Raises:
        SymtheoryError: If these are no permutations, or do not satisfy the relations of the generators.

    >>> from symtheory.spec.group_families import cyclic
    >>> from_images(cyclic(4), [(1, 0, 2)]).orbits
    ((0, 1), (2,))
    """
    rows = [np.asarray(row, dtype=np.int64) for row in images]
    wanted = len(group.generators)
    points = np.arange(len(rows[0])) if rows else np.empty(0, dtype=np.int64)
    if len(rows) != wanted or any(r.shape != points.shape or not np.array_equal(np.sort(r), points) for r in rows):
        raise SymtheoryError(
            f"{wanted} permutations of the same points, one for each generator of {group.name}",
            f"{[r.tolist() for r in rows]}",
            "list the images of 0, 1, ... under each of group.generators",
        )
    table = np.full((group.order, len(points)), -1, dtype=np.int64)
    table[0] = points
    known, todo = {0}, [0]
    while todo:
        a = todo.pop()
        for g, row in zip(group.generators, rows, strict=True):
            b = int(group.table[g, a])
            if b not in known:
                table[b] = row[table[a]]
                known.add(b)
                todo.append(b)
    return GSet(group, table)


def natural(group: FiniteGroup) -> GSet:
    """The points that a group of permutations was given on.

    Args:
        group: A group of permutations.

    Returns:
        The set.

    Raises:
        SymtheoryError: If the group was not given by permutations.

    >>> from symtheory.spec.group_families import symmetric
    >>> natural(symmetric(4)).size
    4
    """
    if group.action is None:
        raise SymtheoryError("a group of permutations", f"{group!r}", "use coset_space")
    return GSet(group, group.action.astype(np.int64))


def coset_space(group: FiniteGroup, subset: Subset) -> GSet:
    r"""The transitive set $G/H$; point 0 is the coset $H$.

    Args:
        group: $G$.
        subset: A subgroup $H$.

    Returns:
        $G/H$.

    Raises:
        SymtheoryError: If the set is no subgroup.

    >>> from symtheory.spec.group_families import symmetric
    >>> s3 = symmetric(3)
    >>> [coset_space(s3, members[0]).size for members in s3.subgroup_classes]
    [6, 3, 2, 1]
    """
    parts = left_cosets(group, subset)
    number = np.empty(group.order, dtype=np.int64)
    for k, part in enumerate(parts):
        number[sorted(part)] = k
    return GSet(group, number[group.table[:, [min(part) for part in parts]]])


def disjoint_union(*sets: GSet) -> GSet:
    """The points of all sets, one set after another.

    Args:
        *sets: At least one, of one group.

    Returns:
        Their union.

    Raises:
        SymtheoryError: If there is none, or the groups differ.
    """
    if not sets or any(s.group is not sets[0].group for s in sets):
        raise SymtheoryError("at least one action, all of one group", f"{sets}", "use one FiniteGroup object")
    offsets = np.cumsum([0, *(s.size for s in sets)])
    return GSet(sets[0].group, np.concatenate([s.images + o for s, o in zip(sets, offsets, strict=False)], axis=1))


def restrict(units: GSet, part: Part) -> GSet:
    """The same points under a subgroup.

    Args:
        units: A set with an action.
        part: A subgroup of its group, from :func:`symtheory.spec.groups.subgroup_as_group`.

    Returns:
        A set with an action of ``part.group``.

    >>> from symtheory.spec.group_families import cyclic
    >>> from symtheory.spec.groups import subgroup_as_group
    >>> c4 = cyclic(4)
    >>> restrict(coset_space(c4, frozenset({0})), subgroup_as_group(c4, c4.minimal_subgroups[0])).orbits
    ((0, 2), (1, 3))
    """
    return GSet(part.group, units.images[list(part.elements)])
