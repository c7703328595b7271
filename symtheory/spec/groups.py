r"""Finite groups as multiplication tables: elements are ``0 .. n-1``, 0 is the identity, a subgroup is a ``frozenset``.

What is here is exact integer arithmetic. Groups are made in :mod:`symtheory.spec.group_families`; their linear
representations are in :mod:`symtheory.spec.representations`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import lcm

import numpy as np
from sympy import factorint, isprime

from symtheory.errors import SymtheoryError

#: A subgroup, or any set of elements.
Subset = frozenset[int]


@dataclass(frozen=True, eq=False)
class FiniteGroup:
    r"""A finite group.

    Attributes:
        table: ``table[a, b]`` is the product $ab$; shape ``(n, n)``, element 0 is the identity.
        generators: Some elements that generate the group.
        name: For print-outs.
        action: Points an element moves, ``action[a, k]`` the image of point $k$ under $a$, with
            $(ab)(k) = a(b(k))$; ``None`` if the group was not given by permutations.

    >>> FiniteGroup(np.array([[0, 1], [1, 0]]), (1,), "C_2")
    C_2, order 2
    """

    table: np.ndarray
    generators: tuple[int, ...]
    name: str = "group"
    action: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        t = self.table
        n = len(t)
        every = np.arange(n)
        if t.shape != (n, n) or n == 0 or not (np.array_equal(t[0], every) and np.array_equal(t[:, 0], every)):
            raise SymtheoryError("a square table whose element 0 is the identity", f"shape {t.shape}", "renumber it")
        latin = all(np.array_equal(np.sort(rows, axis=1), np.broadcast_to(every, (n, n))) for rows in (t, t.T))
        # it is enough to test associativity with one factor a generator (Light's test)
        if (
            not latin
            or len(self.generate(self.generators)) != n
            or any(not np.array_equal(t[t[:, g]], t[:, t[g]]) for g in self.generators)
        ):
            raise SymtheoryError(
                "an associative table with an inverse for every element, and elements that generate it",
                "a table that is none",
                "check the table and the generators",
            )

    def __repr__(self) -> str:
        return f"{self.name}, order {self.order}"

    # --- elements ---------------------------------------------------------------------------------------------------

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.table)

    @cached_property
    def inverse(self) -> np.ndarray:
        """Inverse of every element."""
        return np.argmin(self.table, axis=1).astype(np.int32)  # the column that holds 0

    @cached_property
    def element_orders(self) -> np.ndarray:
        """Order of every element."""
        orders, power = np.zeros(self.order, dtype=np.int64), np.arange(self.order)
        for k in range(1, self.order + 1):
            orders[(power == 0) & (orders == 0)] = k
            if orders.all():
                break
            power = self.table[power, np.arange(self.order)]
        return orders

    @cached_property
    def is_abelian(self) -> bool:
        """Whether any two elements commute."""
        return bool(np.array_equal(self.table, self.table.T))

    @property
    def exponent(self) -> int:
        """Smallest $k$ with $a^k = 1$ for all elements."""
        return lcm(*self.element_orders.tolist())

    # --- subgroups --------------------------------------------------------------------------------------------------

    def generate(self, elements: Iterable[int], start: Subset = frozenset({0})) -> Subset:
        r"""The subgroup $\langle H, a_1, a_2, \dots\rangle$.

        Args:
            elements: $a_1, a_2, \dots$
            start: A subgroup $H$.

        Returns:
            The smallest subgroup that contains all of them.
        """
        t, inside = self.table, np.zeros(len(self.table), dtype=bool)
        h = np.fromiter(start, dtype=np.intp, count=len(start))
        inside[h] = True
        by = np.array([*start, *(a for a in elements if not inside[a])], dtype=np.intp)
        representatives = [0] if len(by) > len(h) else []
        for r in representatives:  # grows: one element of every coset H r, each taken with all of H
            images = t[r, by]
            while len(images := images[~inside[images]]):
                inside[t[h, images[0]]] = True
                representatives.append(int(images[0]))
        return frozenset(np.flatnonzero(inside).tolist())

    def is_subgroup(self, subset: Subset) -> bool:
        """Whether a set of elements is a subgroup.

        Args:
            subset: Elements.

        Returns:
            True or False.
        """
        return bool(subset) and self.generate(subset) == subset

    def require_subgroup(self, subset: Subset) -> None:
        """Raise unless a set of elements is a subgroup.

        Args:
            subset: Elements.

        Raises:
            SymtheoryError: If it is none.
        """
        if not self.is_subgroup(subset):
            raise SymtheoryError(
                f"a subgroup of {self.name}", f"{len(subset)} elements that are none", "use group.generate(...)"
            )

    def conjugate(self, subset: Subset, by: int) -> Subset:
        r"""$gHg^{-1}$.

        Args:
            subset: $H$.
            by: $g$.

        Returns:
            The conjugate.
        """
        h = np.fromiter(subset, dtype=np.intp)
        return frozenset(self.table[self.table[by, h], self.inverse[by]].tolist())

    def conjugates(self, subset: Subset) -> set[Subset]:
        """All conjugates of a subgroup.

        Args:
            subset: The subgroup.

        Returns:
            Its class.
        """
        h = np.fromiter(subset, dtype=np.intp)
        every = np.arange(self.order)
        images = np.sort(self.table[self.table[:, h], self.inverse[every][:, None]], axis=1)
        return {frozenset(row.tolist()) for row in np.unique(images, axis=0)}

    @cached_property
    def prime_power_cyclic(self) -> tuple[Subset, ...]:
        """Cyclic subgroups of prime power order, the bricks of which every subgroup is built."""
        found: dict[Subset, None] = {}
        for a in range(1, self.order):
            if len(factorint(int(self.element_orders[a]))) == 1:
                found.setdefault(self.generate([a]))
        return tuple(sorted(found, key=lambda h: (len(h), sorted(h))))

    @cached_property
    def minimal_subgroups(self) -> tuple[Subset, ...]:
        """Nontrivial subgroups that contain no smaller one: the cyclic ones of prime order."""
        return tuple(h for h in self.prime_power_cyclic if isprime(len(h)))

    @cached_property
    def subgroup_classes(self) -> tuple[tuple[Subset, ...], ...]:
        """All subgroups by conjugacy class, smallest first; one class is a tuple of conjugate subgroups.

        Every subgroup grows from a smaller one by a cyclic subgroup of prime power order, so it is enough to extend one
        representative of every class, by one of these up to its normaliser (cyclic extension).
        """
        trivial: Subset = frozenset({0})
        seen: set[Subset] = {trivial}
        classes: list[tuple[Subset, ...]] = [(trivial,)]
        # to every element of prime power order the first one that generates the same subgroup
        named = np.full(self.order, -1)
        for brick in self.prime_power_cyclic:
            making = [a for a in sorted(brick) if self.element_orders[a] == len(brick)]
            named[making] = making[0]
        bricks = np.unique(named[named >= 0])
        for members in classes:  # grows while it is read
            h, done = np.array(sorted(members[0])), np.zeros(self.order, dtype=bool)
            done[h] = True
            normal = np.flatnonzero(done[self.table[self.table[:, h], self.inverse[:, None]]].all(axis=1))
            for a in bricks.tolist():
                if done[a]:
                    continue
                # conjugates of the brick by the normaliser give conjugates of the larger subgroup
                done[named[self.table[self.table[normal, a], self.inverse[normal]]]] = True
                if (larger := self.generate([a], members[0])) in seen:
                    continue
                fresh = self.conjugates(larger)
                seen |= fresh
                classes.append(tuple(sorted(fresh, key=sorted)))
        return tuple(sorted(classes, key=lambda c: (len(c[0]), len(c), sorted(c[0]))))

    @cached_property
    def subgroups(self) -> tuple[Subset, ...]:
        """All subgroups, smallest first."""
        return tuple(h for members in self.subgroup_classes for h in members)

    # --- generating sets --------------------------------------------------------------------------------------------

    @cached_property
    def commutator_subgroup(self) -> Subset:
        """The subgroup generated by all $aba^{-1}b^{-1}$."""
        t, inverse = self.table, self.inverse
        commutators = t[t, t[inverse][:, inverse]]
        return self.generate(np.unique(commutators).tolist())

    def prime_ranks(self) -> dict[int, int]:
        r"""Of an abelian group: for every prime $p$ the number $d_p$ of its cyclic factors of $p$-power order.

        $C_6 = C_2\times C_3$ has $d_2 = d_3 = 1$: one generator, but two cyclic factors of prime power order.

        Returns:
            Prime to $d_p$, from $|\{a: a^p = 1\}| = p^{d_p}$.

        Raises:
            SymtheoryError: If the group is not abelian.

        >>> from symtheory.spec.group_families import abelian
        >>> abelian(6, 2).prime_ranks()
        {2: 2, 3: 1}
        """
        if not self.is_abelian:
            raise SymtheoryError("an abelian group", f"{self!r}", "use minimal_generators for its generators")
        ranks = {}
        for p in sorted(factorint(self.order)):
            count, rank = int(np.isin(self.element_orders, (1, p)).sum()), 0
            while count > 1:
                count, rank = count // p, rank + 1
            ranks[int(p)] = rank
        return ranks

    @cached_property
    def minimal_generators(self) -> tuple[int, ...]:
        r"""A generating set of the smallest size, $|\Gamma(G)|$.

        Grows all subgroups with $k$ generators, up to conjugacy, until the whole group is among them. For groups of
        prime power order Burnside's basis theorem gives the answer at once.
        """
        if self.order == 1:
            return ()
        primes = factorint(self.order)
        if len(primes) == 1:
            return self._burnside(int(next(iter(primes))))
        if self.is_abelian:
            return self._primary(primes)
        whole = frozenset(range(self.order))
        level: dict[Subset, tuple[int, ...]] = {frozenset({0}): ()}
        while whole not in level:
            following: dict[Subset, tuple[int, ...]] = {}
            for h, made in level.items():
                covered: set[int] = set(h)
                for a in range(self.order):
                    if a in covered:
                        continue
                    larger = self.generate([a], h)
                    if larger == whole:
                        return (*made, a)
                    if not made:
                        covered |= {b for b in larger if self.element_orders[b] == len(larger)}
                    if larger not in following:
                        if not made and any(c in following for c in self.conjugates(larger)):
                            continue
                        following[larger] = (*made, a)
            level = following
        return level[whole]

    def _burnside(self, p: int) -> tuple[int, ...]:
        """A basis of a p-group modulo its Frattini subgroup, which powers and commutators generate."""
        powers = np.arange(self.order)
        for _ in range(p - 1):
            powers = self.table[powers, np.arange(self.order)]
        spanned, chosen = self.generate(powers.tolist(), self.commutator_subgroup), []
        for a in range(self.order):
            if a not in spanned:
                spanned, chosen = self.generate([a], spanned), [*chosen, a]
        return tuple(chosen)

    def _primary(self, primes: dict[int, int]) -> tuple[int, ...]:
        """Of an abelian group: products of one generator from every Sylow subgroup."""
        rows = []
        for p in primes:
            sylow = frozenset(a for a in range(self.order) if set(factorint(int(self.element_orders[a]))) <= {p})
            part = subgroup_as_group(self, sylow)
            rows.append([part.elements[a] for a in part.group.minimal_generators])
        made = [0] * max(len(row) for row in rows)
        for row in rows:
            for k, a in enumerate(row):
                made[k] = int(self.table[made[k], a])
        return tuple(made)


@dataclass(frozen=True, eq=False)
class Part:
    """A subgroup as a group of its own.

    Attributes:
        group: The subgroup, renumbered.
        elements: Number in the larger group of every element.
    """

    group: FiniteGroup
    elements: tuple[int, ...]


def subgroup_as_group(group: FiniteGroup, subset: Subset) -> Part:
    """Renumber a subgroup.

    Args:
        group: The group.
        subset: A subgroup.

    Returns:
        The subgroup with the way back.

    Raises:
        SymtheoryError: If the set is no subgroup.

    >>> from symtheory.spec.group_families import symmetric
    >>> s3 = symmetric(3)
    >>> subgroup_as_group(s3, s3.commutator_subgroup).group.order
    3
    """
    group.require_subgroup(subset)
    elements = np.array(sorted(subset))
    number = np.full(group.order, -1)
    number[elements] = np.arange(len(elements))
    table = number[group.table[np.ix_(elements, elements)]].astype(np.int32)
    action = None if group.action is None else group.action[elements]
    chosen, spanned = [], frozenset({0})
    for a in elements.tolist():
        if a not in spanned:
            spanned, chosen = group.generate([a], spanned), [*chosen, int(number[a])]
    return Part(FiniteGroup(table, tuple(chosen), f"subgroup of {group.name}", action), tuple(elements.tolist()))
