r"""Index spaces: which axes of which tensors count the same units.

Every tensor axis of a traced network is indexed by a *space*. A parameter's axes start with spaces of their own; each
operation says which of them are the same (a union), which are a product (a reshape into heads and their coordinates)
and which are a sum (a concatenation). What is left are *atoms*, the finest spaces; a symmetry acts on atoms.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

#: How freely the vectors over an atom may be mixed: not at all, by maps that keep the vector of ones, by any.
ENTRYWISE, FIXES_ONES, LINEAR = 0, 1, 2


@dataclass(eq=False)
class Space:
    """A set that indexes axes; an atom unless it has parts.

    Attributes:
        key: Where the space was met first.
        size: Number of indices.
        parts: Factors of a product (row-major) or terms of a sum.
        is_sum: Whether the parts are terms.
        pinned: Why its indices are told apart, or empty.
        mixing: ``ENTRYWISE``, ``FIXES_ONES`` or ``LINEAR``.
        link: The space this one turned out to be.
        context: Atoms that come with this one in every tensor met so far; ``None`` before the first.
    """

    key: Hashable
    size: int
    parts: tuple[Space, ...] = ()
    is_sum: bool = False
    pinned: str = ""
    mixing: int = LINEAR
    link: Space | None = None
    context: set[Space] | None = field(default=None, repr=False)


#: One term of an axis: its atoms, and the position along the axis of each tuple of their indices.
Term = tuple[tuple[Space, ...], np.ndarray]


def find(space: Space) -> Space:
    """The representative of a space."""
    while space.link is not None:
        space = space.link
    return space


def atoms_of(space: Space) -> set[Space]:
    """All atoms below a space."""
    space = find(space)
    if space.size == 1:
        return set()
    if not space.parts:
        return {space}
    return set().union(*(atoms_of(p) for p in space.parts))


def layout(space: Space) -> list[Term]:
    """An axis as a sum of products of atoms.

    Args:
        space: The space of the axis.

    Returns:
        For each term its atoms and an index array with one dimension for each.

    >>> s = Space("s", 6, (Space("a", 2), Space("b", 3)))
    >>> [(len(atoms), index.tolist()) for atoms, index in layout(s)]
    [(2, [[0, 1, 2], [3, 4, 5]])]
    """
    space = find(space)
    if space.size == 1:
        return [((), np.zeros((), dtype=np.int64))]
    if not space.parts:
        return [((space,), np.arange(space.size))]
    if space.is_sum:
        terms, offset = [], 0
        for part in space.parts:
            terms += [(atoms, np.asarray(index + offset)) for atoms, index in layout(part)]
            offset += part.size
        return terms
    head, *tail = space.parts
    rest = layout(head)
    for part in tail:
        rest = [
            (a + b, np.asarray(i[(...,) + (None,) * j.ndim] * part.size + j)) for a, i in rest for b, j in layout(part)
        ]
    return rest


class Spaces:
    """The spaces of one trace, and what is known to be equal among them."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Space] = {}
        self.version = 0

    def atom(self, key: Hashable, size: int, pinned: str = "") -> Space:
        """The space met under this key; the same one each time."""
        if key not in self._known:
            self._known[key] = Space(key, size, pinned=pinned)
        return self._known[key]

    def product(self, key: Hashable, parts: Sequence[Space]) -> Space:
        """Space of pairs (triples, ...) of indices."""
        return self._compound(key, parts, prod(p.size for p in parts), is_sum=False)

    def sum(self, key: Hashable, parts: Sequence[Space]) -> Space:
        """Disjoint union of spaces, in order."""
        return self._compound(key, parts, sum(p.size for p in parts), is_sum=True)

    def _compound(self, key: Hashable, parts: Sequence[Space], size: int, *, is_sum: bool) -> Space:
        kept = [p for p in parts if (p.size > 0 if is_sum else p.size != 1)]
        if len(kept) == 1:
            return kept[0]
        if not kept:
            return self.atom(("one",), 1)
        if key not in self._known:
            self._known[key] = Space(key, size, tuple(kept), is_sum)
        return self._known[key]

    def pin(self, space: Space, why: str) -> None:
        """Tell all indices below a space apart."""
        for atom in atoms_of(space):
            if not atom.pinned:
                atom.pinned = why
                self.version += 1

    def restrict(self, space: Space, mixing: int) -> None:
        """Allow at most this mixing below a space."""
        for atom in atoms_of(space):
            if atom.mixing > mixing:
                atom.mixing = mixing
                self.version += 1

    def split(self, space: Space, sizes: Sequence[int], *, is_sum: bool) -> tuple[Space, ...]:
        """The parts of these sizes that a space falls into (all of them, also those of size one)."""
        space = find(space)
        parts = tuple(
            self.atom((space.key, is_sum, tuple(sizes), k), n) if n != 1 else self.atom(("one",), 1)
            for k, n in enumerate(sizes)
        )
        build = self.sum if is_sum else self.product
        self.unify(space, build((space.key, is_sum, tuple(sizes)), parts))
        return parts

    def unify(self, a: Space, b: Space, why: str = "used by two operations that cut it differently") -> None:
        """Record that two axes count the same units."""
        a, b = find(a), find(b)
        if a is b or a.size == b.size == 1:
            return
        if a.size != b.size or any(find(p) in (a, b) for s in (a, b) for p in s.parts):
            self._clash(a, b, why)
            return
        if a.parts and b.parts:
            self._align(a, b, why)
            return
        if a.parts:
            a, b = b, a
        a.link = b
        self.version += 1
        if a.pinned:
            self.pin(b, a.pinned)
        self.restrict(b, a.mixing)

    def _clash(self, a: Space, b: Space, why: str) -> None:
        """Two cuts with no common refinement: give both up."""
        for s in (a, b):
            self.pin(s, why)
            self.restrict(s, ENTRYWISE)

    def _align(self, a: Space, b: Space, why: str) -> None:
        """Unify two compounds by their common refinement."""
        if a.is_sum != b.is_sum:
            total, factors = (a, b) if a.is_sum else (b, a)
            head, rest = factors.parts[0], prod(p.size for p in factors.parts[1:])
            if any(p.size % rest for p in total.parts):
                self._clash(a, b, why)
                return
            heads = self.split(head, [p.size // rest for p in total.parts], is_sum=True)
            for part, h in zip(total.parts, heads, strict=True):
                self.unify(part, self.product((factors.key, "term", h.key), (h, *factors.parts[1:])), why)
            return
        left, right = list(a.parts), list(b.parts)
        while left and right:
            x, y = left.pop(0), right.pop(0)
            if x.size == y.size:
                self.unify(x, y, why)
                continue
            if x.size < y.size:
                x, y, left, right = y, x, right, left
            if a.is_sum:
                sizes = [y.size, x.size - y.size]
            elif x.size % y.size == 0:
                sizes = [y.size, x.size // y.size]
            else:
                self._clash(a, b, why)
                return
            first, second = self.split(x, sizes, is_sum=a.is_sum)
            self.unify(first, y, why)
            left.insert(0, second)
        # the two cuts are now the same; one of them stands for both
        if find(a) is not find(b) and not (set(_below(a)) & {find(b)} or set(_below(b)) & {find(a)}):
            find(b).link = find(a)
            self.version += 1


def _below(space: Space) -> list[Space]:
    """Representatives of all spaces strictly below one."""
    return [q for p in find(space).parts for q in (find(p), *_below(p))]
