"""From spaces and scales to candidate families, the largest group on each space first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import prod

import numpy as np

from symtheory.discover.actions import Action, Block, Role, block_of
from symtheory.discover.analysis import Analysis
from symtheory.discover.exchanges import Exchange, exchanges
from symtheory.discover.families import (
    CENTRED,
    DOUBLE,
    PERMUTATION,
    PLANAR,
    POSITIVE,
    RESCALING,
    ROTATION,
    SCALE,
    SIGN,
    Family,
)
from symtheory.discover.scales import Echelon, Vector, primitive
from symtheory.discover.spaces import ENTRYWISE, LINEAR, Space, layout
from symtheory.discover.tracing import Trace
from symtheory.discover.values import Key


@dataclass(frozen=True, eq=False)
class Candidate:
    """A family to be measured.

    Attributes:
        family: The family.
        covers: Labels of smaller candidates that it makes redundant if it is found.
        label: What it is called in the ``covers`` of others.
        guess: Whether it was only guessed from equal branches; then it is no news if it fails.
    """

    family: Family
    covers: tuple[object, ...]
    label: object
    guess: bool = False


class Candidates:
    """Candidates of one analysis.

    Args:
        analysis: Spaces and equations.
        trace: The traced network.
    """

    def __init__(self, analysis: Analysis, trace: Trace) -> None:
        self.analysis, self.trace = analysis, trace
        self.blocks: dict[tuple[str, Key], Block] = {}
        self.users: dict[Space, dict[str, list[tuple[Block, int]]]] = defaultdict(lambda: defaultdict(list))
        for name, value in analysis.values.items():
            for key in value.blocks():
                block = block_of(name, value.axes, key)
                self.blocks[name, key] = block
                for dim, atom in enumerate(block.atoms):
                    self.users[atom][name].append((block, dim))
        self.real, self.sign = analysis.algebra.scales.solutions(analysis.algebra.variables)

    def __iter__(self) -> Iterator[Candidate]:
        atoms = [a for a in self.users if not a.pinned]
        for atom in atoms:
            if atom.mixing != ENTRYWISE:
                yield from self._rotation(atom)
        companions: dict[frozenset[str], list[Space]] = defaultdict(list)
        for atom in atoms:
            companions[frozenset(self.users[atom])].append(atom)
        for group in companions.values():
            for first, second in combinations(group, 2):
                yield from self._product(first, second)
        for atom in atoms:
            fibre = self._fibre(atom)
            roles = self._roles(atom, fibre, {})
            yield Candidate(self._family(PERMUTATION, (atom,), fibre, roles), (), (PERMUTATION, atom))
        yield from self._scales()
        for exchange in exchanges(self.trace, self.analysis):
            yield self._exchange(exchange)

    def _product(self, first: Space, second: Space) -> Iterator[Candidate]:
        """Two factors of one axis, cut apart for a while, as by a shuffle of channels: perhaps one set of units."""
        units = Space(("units", first.key, second.key), first.size * second.size)
        roles: dict[str, list] = defaultdict(list)
        for name, found in self.users[first].items():
            if {id(b) for b, _ in found} != {id(b) for b, _ in self.users[second][name]}:
                return
            for block, _ in found:
                places = [k for k, (own, _) in enumerate(block.axes) if {first, second} & set(own)]
                if len(places) != 1 or set(block.axes[places[0]][0]) != {first, second}:
                    return
                (place,) = places
                own, index = block.axes[place]
                flat = (index if own[0] is first else index.T).reshape(-1)
                axes = (*block.axes[:place], ((units,), flat), *block.axes[place + 1 :])
                dim = sum(len(a) for a, _ in block.axes[:place])
                roles[name].append((Block(name, axes, whole=False), (Role((dim,)),)))
        covers = ((PERMUTATION, first), (PERMUTATION, second))
        family = self._family(PERMUTATION, (units,), (), roles)
        yield Candidate(family, covers, (PERMUTATION, units), guess=True)

    def _exchange(self, exchange: Exchange) -> Candidate:
        """Equal branches that change places; found with the axes that count them, they need no second try without."""
        parameters = set(self.trace.parameters)
        order = [n for n in self.trace.tensors if n in exchange.axes]
        family = Family(
            PERMUTATION,
            exchange.action,
            {n: exchange.axes[n] for n in order},
            {n: tuple(self.trace.tensors[n].shape) for n in order if n in parameters},
            tuple(n for n in order if n not in parameters),
            exchange.units[0][0],
        )
        label = ("exchange", exchange.units)
        return Candidate(family, (label,), label, guess=True)

    def _fibre(self, atom: Space) -> tuple[Space, ...]:
        """Atoms that come with this one wherever it is, in the order of its first tensor."""
        context = atom.context or set()
        parts = [b for found in self.users[atom].values() for b, _ in found]
        return tuple(a for a in parts[0].atoms if a in context and all(b.atoms.count(a) == 1 for b in parts))

    def _roles(self, atom: Space, fibre: tuple[Space, ...], powers: dict) -> dict:
        """One role for each dimension that the atom indexes."""
        roles: dict[str, list] = defaultdict(list)
        for name, found in self.users[atom].items():
            grouped: dict[Block, list[int]] = defaultdict(list)
            for block, dim in found:
                grouped[block].append(dim)
            for block, dims in grouped.items():
                where = tuple(block.atoms.index(f) for f in fibre)
                roles[name].append((block, tuple(Role((d,), where, powers.get((block, d), 1)) for d in dims)))
        return roles

    def _rotation(self, atom: Space) -> Iterator[Candidate]:
        """All invertible maps where a scale per unit exists, otherwise orthogonal ones."""
        fibre = self._fibre(atom)
        index = frozenset((atom, *fibre))
        if atom.mixing != LINEAR:
            if atom.size > 2:
                roles = self._roles(atom, fibre, {})
                yield Candidate(self._family(CENTRED, (atom,), fibre, roles), ((PERMUTATION, atom),), (CENTRED, atom))
            return
        vectors = self.real.get(index, [])
        powers: dict = {}
        for vector in vectors[:1]:
            for (v, positions), c in vector.items():
                block = self._block(v)
                for p in positions:
                    if block.atoms[p] is atom:
                        powers[block, p] = int(c)
        touched = {(block, d) for found in self.users[atom].values() for block, d in found}
        covers = ((PERMUTATION, atom), ("scale", index))
        if len(vectors) == 1 and set(powers) == touched and set(powers.values()) <= {1, -1}:
            roles = self._roles(atom, fibre, powers)
            yield Candidate(self._family(DOUBLE, (atom,), fibre, roles), covers, (DOUBLE, atom))
        else:
            roles = self._roles(atom, fibre, {})
            yield Candidate(self._family(ROTATION, (atom,), fibre, roles), covers, (ROTATION, atom))

    def _block(self, variable: int) -> Block:
        name, key, _ = self.analysis.algebra.variables[variable]
        return self.blocks[name, key]

    def _scales(self) -> Iterator[Candidate]:
        """Positive scales, completed by signs where those are symmetries too; then the signs that are left."""
        done: dict[frozenset[Space], list[Vector]] = defaultdict(list)
        for atoms in sorted({*self.real, *self.sign}, key=lambda s: (-len(s), sorted(str(a.key) for a in s))):
            signs = Echelon(2)
            for vector in self.sign.get(atoms, []):
                signs.add(vector)
            used = Echelon(2)
            for vector in self.real.get(atoms, []):
                parity = {u: Fraction(1) for u, c in vector.items() if int(c) % 2}
                known = dict(signs.pivots)
                both = bool(parity) and not signs.reduce(parity)
                signs.pivots = known
                one_sided = len({c > 0 for c in vector.values()}) == 1
                kind = SCALE if one_sided else RESCALING if both else POSITIVE
                if kind == RESCALING:
                    used.add(parity)
                yield self._scale(kind, atoms, vector)
                if kind == RESCALING:
                    yield from self._planar(atoms, vector)
            for vector in self.sign.get(atoms, []):
                rest = used.reduce(vector)
                if used.add(vector):
                    yield self._scale(SIGN, atoms, min(vector, rest, key=len))
            done[atoms] += self.real.get(atoms, [])

    def _scale(self, kind: str, atoms: frozenset[Space], vector: Vector) -> Candidate:
        vector = primitive(vector)
        if kind == SCALE and min(vector.values()) < 0:
            vector = {u: -c for u, c in vector.items()}
        order = tuple(sorted(atoms, key=lambda a: str(a.key)))
        roles: dict[str, list] = defaultdict(list)
        grouped: dict[Block, list[Role]] = defaultdict(list)
        for (v, positions), c in sorted(vector.items()):
            block = self._block(v)
            dims = tuple(next(p for p in positions if block.atoms[p] is a) for a in order)
            grouped[block].append(Role(dims, (), int(c)))
        for block, found in grouped.items():
            roles[block.name].append((block, tuple(found)))
        family = self._family(kind, order, (), roles)
        return Candidate(family, (), ("scale", atoms))

    def _planar(self, atoms: frozenset[Space], vector: Vector) -> Iterator[Candidate]:
        """Rotary positions: units that come in pairs, rotated by the position, may be rotated by any other angle."""
        pairs: dict[tuple[str, int, int], set[int]] = defaultdict(set)
        for (v, positions), c in vector.items():
            name, key, axes = self.analysis.algebra.variables[v]
            places = {axes[p] for p in positions}
            if len(places) != 1 or abs(c) != 1:
                return
            (place,) = places
            pairs[name, place, int(c)].add(key[place])
        count = prod(a.size for a in atoms)
        order = {a: k for k, a in enumerate(sorted(atoms, key=lambda a: str(a.key)))}
        roles: dict[str, list] = defaultdict(list)
        for (name, place, _), keys in sorted(pairs.items()):
            terms = [layout(self.analysis.values[name].axes[place])[k] for k in sorted(keys)]
            if len(terms) != 2 or terms[0][0] != terms[1][0] or not atoms <= set(terms[0][0]):
                return
            # what numbers the planes goes first; the rest, such as queries that share a key, has the same angles
            own = terms[0][0]
            front = sorted(range(len(own)), key=lambda d: (own[d] not in atoms, order.get(own[d], 0)))
            index = np.stack([i.transpose(front).reshape(count, -1) for _, i in terms], axis=-1)
            rest = Space(("rest", name), index.shape[1])
            units = (Space(("planes", name), count), rest, Space(("pair", name), 2))
            shape = self.trace.tensors[name].shape
            axes = [((Space(("all", name, k), n),), np.arange(n)) for k, n in enumerate(shape)]
            axes[place] = (units, index)  # type: ignore[call-overload]
            block = Block(name, tuple(axes), whole=False)
            roles[name].append((block, (Role((place + 2,), (place,)),)))
        plane = Space(("plane",), 2)
        fibre = (Space(("planes",), count),)
        yield Candidate(self._family(PLANAR, (plane,), fibre, roles), (), (PLANAR, atoms), guess=True)

    def _family(self, kind: str, atoms: tuple[Space, ...], fibre: tuple[Space, ...], roles: dict) -> Family:
        """Names, axes and shapes of what a group touches."""
        parameters = set(self.trace.parameters)
        axes: dict[str, tuple[int, ...]] = {}
        first = ""
        for name, parts in roles.items():
            dims = set()
            for block, found in parts:
                axis_of = [k for k, (own, _) in enumerate(block.axes) for _ in own]
                dims |= {axis_of[d] for r in found for d in r.dims}
            axes[name] = tuple(sorted(dims))
            if name in parameters and (not first or (0 in dims and 0 not in axes.get(first, ()))):
                first = name
        order = [n for n in self.trace.tensors if n in roles]
        shapes = {n: tuple(self.trace.tensors[n].shape) for n in order if n in parameters}
        action = Action(
            prod(a.size for a in atoms), tuple(f.size for f in fibre), {n: tuple(roles[n]) for n in order},
            tuple(a.size for a in atoms),
        )  # fmt: skip
        return Family(
            kind, action, {n: axes[n] for n in order}, shapes, tuple(n for n in order if n not in parameters), first
        )
