r"""Scales and signs as linear algebra: the units of a network, checked like the units of a physical formula.

Multiply every entry of every parameter by $e^{a}$, with $a$ a function of the entry's indices. A sum needs summands of
one scale, a product adds scales, a contraction needs a scale that does not depend on the contracted index, $\tanh$
needs scale zero. These are linear equations; their solutions are the rescalings. Read modulo two, the same equations
(with $\mathrm{ReLU}$ rather than $\tanh$ asking for zero) give the sign flips.

A function of several indices is split into the parts that depend on each subset of them (taking the first index as
origin, so that the split also works modulo two); an equation holds for each part on its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from fractions import Fraction
from itertools import combinations
from math import gcd, lcm

from symtheory.discover.spaces import Space

#: Linear form: coefficient of each variable, evaluated at the given roles (here: axes of a tensor, or any labels).
Term = tuple[int, tuple]
Form = dict[Term, Fraction]
#: The part of a variable that depends on exactly these of its arguments.
Unknown = tuple[int, tuple[int, ...]]
Vector = dict[Unknown, Fraction]
Rows = dict[frozenset[Space], list[Vector]]


def combine(*forms: tuple[int | Fraction, Form]) -> Form:
    """Sum of forms with coefficients."""
    out: Form = {}
    for scale, form in forms:
        for term, c in form.items():
            total = out.get(term, Fraction(0)) + scale * c
            if total:
                out[term] = total
            else:
                out.pop(term, None)
    return out


class Scales:
    """Variables and equations of one trace."""

    def __init__(self) -> None:
        self.arguments: list[tuple[Space, ...]] = []
        self.real: Rows = defaultdict(list)
        self.sign: Rows = defaultdict(list)

    def variable(self, arguments: Iterable[Space]) -> int:
        """A new unknown function of these indices."""
        self.arguments.append(tuple(arguments))
        return len(self.arguments) - 1

    def zero(self, form: Form, *, real: bool = True, sign: bool = True) -> None:
        """Require that a form vanishes, for scales, for signs or for both."""
        parts: dict[frozenset, tuple[frozenset[Space], Vector]] = {}
        for (variable, roles), c in form.items():
            arguments = self.arguments[variable]
            for positions in _subsets(len(roles)):
                atoms = frozenset(arguments[p] for p in positions)
                if len(atoms) < len(positions):
                    continue
                # one axis may hold several atoms, so a role is told by both
                place = frozenset((roles[p], arguments[p]) for p in positions)
                _, vector = parts.setdefault(place, (atoms, {}))
                vector[variable, positions] = vector.get((variable, positions), Fraction(0)) + c
        for atoms, vector in parts.values():
            row = {u: c for u, c in vector.items() if c}
            if row and real:
                self.real[atoms].append(row)
            if row and sign:
                # half a sign is no sign: such a term has to be even on its own
                self.sign[atoms].extend({u: Fraction(1)} for u, c in row.items() if c.denominator != 1)
                if whole := {u: c for u, c in row.items() if c.denominator == 1}:
                    self.sign[atoms].append(whole)

    def solutions(self, variables: Iterable[int]) -> tuple[dict[frozenset[Space], list[Vector]], ...]:
        """Independent solutions for each set of indices they depend on, for scales and for signs.

        Args:
            variables: Those of the parameters; a solution is told by its values on them.

        Returns:
            Two maps from a set of atoms to a basis, each free of what larger sets already give.
        """
        wanted = set(variables)
        unknowns: dict[frozenset[Space], set[Unknown]] = defaultdict(set)
        for v, arguments in enumerate(self.arguments):
            for positions in _subsets(len(arguments)):
                atoms = frozenset(arguments[p] for p in positions)
                if len(atoms) == len(positions):
                    unknowns[atoms].add((v, positions))
        found = []
        for rows, modulus in ((self.real, 0), (self.sign, 2)):
            basis: dict[frozenset[Space], list[Vector]] = {}
            for atoms in sorted(unknowns, key=len, reverse=True):
                if not any(v in wanted for v, _ in unknowns[atoms]):
                    continue
                known = Echelon(modulus)
                induced = [self._collapse(v, atoms) for larger, vs in basis.items() if larger > atoms for v in vs]
                induced = [v for v in map(known.clean, induced) if known.add(v)]
                kept = []
                for vector in nullspace(rows.get(atoms, []), unknowns[atoms], wanted, modulus):
                    seen = {u: c for u, c in vector.items() if u[0] in wanted}
                    if seen and known.add(seen):
                        kept.append(seen)
                if kept:
                    basis[atoms] = [v if modulus else primitive(v) for v in shortest(kept, induced, known)]
            found.append(basis)
        return tuple(found)

    def _collapse(self, vector: Vector, atoms: frozenset[Space]) -> Vector:
        """What a solution looks like when it depends on these indices only."""
        out: Vector = {}
        for (v, positions), c in vector.items():
            u = (v, tuple(p for p in positions if self.arguments[v][p] in atoms))
            out[u] = out.get(u, Fraction(0)) + c
        return out


def _subsets(n: int) -> list[tuple[int, ...]]:
    """Subsets of at most three positions."""
    return [c for k in range(min(n, 3) + 1) for c in combinations(range(n), k)]


def primitive(vector: Mapping[Unknown, Fraction]) -> Vector:
    """The multiple with coprime integer entries, the first of them positive."""
    scale = lcm(*(c.denominator for c in vector.values()))
    divisor = gcd(*(int(c * scale) for c in vector.values()))
    lead = vector[min(vector)]
    return {u: c * scale / divisor * (1 if lead > 0 else -1) for u, c in vector.items()}


class Echelon:
    """Rows in reduced echelon form, over the rationals (modulus 0) or modulo two."""

    def __init__(self, modulus: int, avoid: Set[int] = frozenset()) -> None:
        self.modulus, self.avoid = modulus, avoid
        self.pivots: dict[Unknown, Vector] = {}

    def reduce(self, row: Vector) -> Vector:
        """The row less its part in the span."""
        row = self.clean(row)
        while hit := next((u for u in row if u in self.pivots), None):
            row = self.clean(self.minus(row, row[hit], self.pivots[hit]))
        return row

    def add(self, row: Vector) -> bool:
        """Take the row in; false if it was in the span."""
        row = self.reduce(row)
        if not row:
            return False
        # unknowns of parameters stay free, so that a basis vector names one of them
        pivot = min(row, key=lambda u: (u[0] in self.avoid, u))
        lead = row[pivot]
        self.pivots[pivot] = self.clean({u: c / lead for u, c in row.items()})
        return True

    def clean(self, row: Vector) -> Vector:
        """The row without zeros; modulo two, with ones."""
        if self.modulus:
            return {u: Fraction(1) for u, c in row.items() if int(c) % self.modulus}
        return {u: c for u, c in row.items() if c}

    @staticmethod
    def minus(row: Vector, scale: Fraction, other: Vector) -> Vector:
        """One row less a multiple of another."""
        out = dict(row)
        for u, c in other.items():
            out[u] = out.get(u, Fraction(0)) - scale * c
        return out


def shortest(basis: list[Vector], others: list[Vector], echelon: Echelon) -> list[Vector]:
    """The same space modulo the others, by vectors that touch few unknowns.

    Args:
        basis: Independent vectors.
        others: Vectors whose multiples may be added freely.
        echelon: For its arithmetic.

    Returns:
        As many vectors, none of which gets shorter by taking off one other.
    """
    out = list(basis)
    shorter = True
    while shorter:
        shorter = False
        for i, vector in enumerate(out):
            for other in [*out[:i], *out[i + 1 :], *others]:
                for u in vector.keys() & other.keys():
                    trial = echelon.clean(echelon.minus(vector, vector[u] / other[u], other))
                    if len(trial) < len(vector):
                        vector, out[i], shorter = trial, trial, True
                        break
    return out


def nullspace(rows: list[Vector], unknowns: set[Unknown], wanted: set[int], modulus: int) -> list[Vector]:
    """A basis of the solutions, one vector for each unknown left free.

    Args:
        rows: Equations.
        unknowns: All unknowns.
        wanted: Variables to keep free where there is a choice.
        modulus: 0 for rationals, 2 for signs.

    Returns:
        Vectors in the order of their free unknowns.
    """
    echelon = Echelon(modulus, wanted)
    for row in rows:
        echelon.add(row)
    basis: dict[Unknown, Vector] = {u: {u: Fraction(1)} for u in sorted(unknowns) if u not in echelon.pivots}
    # a pivot row reads: pivot = - the rest; the rest holds later pivots too, so solve from the last one back
    solved: dict[Unknown, Vector] = {}

    def value(u: Unknown) -> Vector:
        """The unknown as a combination of free ones."""
        if u not in echelon.pivots:
            return {u: Fraction(1)}
        if u not in solved:
            out: Vector = {}
            for other, c in echelon.pivots[u].items():
                if other == u:
                    continue
                for free, d in value(other).items():
                    out[free] = out.get(free, Fraction(0)) - c * d
            solved[u] = echelon.clean(out)
        return solved[u]

    for u in reversed(list(echelon.pivots)):
        for free, c in value(u).items():
            basis[free][u] = c
    return list(basis.values())
