"""Abstract tensors: the spaces of the axes, and the scale of the entries; and the few operations on them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product as cartesian
from math import prod

from symtheory.discover.scales import Form, Scales, combine
from symtheory.discover.spaces import ENTRYWISE, FIXES_ONES, Space, Spaces, atoms_of, find, layout

Key = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Value:
    """What is known of one tensor.

    Attributes:
        axes: Space of each axis.
        forms: Scale of each block, a block being a choice of one term of every axis; a missing one is zero. The roles
            of a form are axis numbers.
        fixed: Whether no parameter enters.
        pairing: Spaces over which this is a product of two vectors that still waits for its sum.
        points: The space that entries are numbers of, for the places of largest entries and the like.
    """

    axes: tuple[Space, ...]
    forms: dict[Key, Form] = field(default_factory=dict)
    fixed: bool = False
    pairing: frozenset[Space] = frozenset()
    points: Space | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(a.size for a in self.axes)

    def blocks(self) -> list[Key]:
        """All choices of one term for each axis."""
        return list(cartesian(*(range(len(layout(a))) for a in self.axes)))


class Algebra:
    """The abstract operations of one pass over a graph.

    Args:
        spaces: Kept from pass to pass, until nothing new is learnt.
        final: Whether this is the pass that also writes down the scales.
    """

    def __init__(self, spaces: Spaces, *, final: bool) -> None:
        self.spaces, self.final = spaces, final
        self.scales = Scales()
        #: Variable of each block of each parameter, with the axis of each argument.
        self.variables: dict[int, tuple[str, Key, tuple[int, ...]]] = {}
        #: What could not be seen through: where, why, and axes; if there are any, it is news if a parameter has them.
        self.gaps: list[tuple[str, str, tuple[Space, ...]]] = []

    # -- making values ---------------------------------------------------------------------------------------------
    def value(self, axes: Sequence[Space], forms: dict[Key, Form] | None = None, *, fixed: bool = False,
              pairing: frozenset[Space] = frozenset(), points: Space | None = None) -> Value:  # fmt: skip
        """A value; notes which atoms it shows side by side."""
        if self.final and not fixed:
            seen = [a for axis in axes for a in atoms_of(axis)]
            for atom in set(seen):
                others = {a for a in seen if seen.count(a) == 1} - {atom}
                # a sum shows only some of its atoms at a time
                for axis in axes:
                    terms = [set(t) for t, _ in layout(axis)]
                    if len(terms) > 1:
                        held = [t for t in terms if atom in t]
                        others -= set().union(*terms) - (set.intersection(*held) if held else set())
                atom.context = others if atom.context is None else atom.context & others
        return Value(tuple(axes), {k: f for k, f in (forms or {}).items() if f}, fixed, pairing, points)

    def parameter(self, name: str, shape: Sequence[int]) -> Value:
        """A tensor that symmetries may move, with a scale of its own for each entry."""
        return self._free([self.spaces.atom((name, k), n) for k, n in enumerate(shape)], name)

    def constant(self, key: Hashable, shape: Sequence[int], varies: Sequence[bool], why: str) -> Value:
        """A tensor that stays; axes along which it varies have their indices told apart."""
        axes = []
        for k, (n, differs) in enumerate(zip(shape, varies, strict=True)):
            axes.append(self.spaces.atom((key, k), n))
            if differs:
                self.spaces.pin(axes[-1], why)
        return self.value(axes, fixed=True)

    def zeros(self, key: Hashable, shape: Sequence[int]) -> Value:
        """Zeros, or what starts there: of any scale and mixing, to be found from what they meet."""
        return self._free([self.spaces.atom((key, k), n) for k, n in enumerate(shape)])

    def _free(self, axes: Sequence[Space], name: str = "") -> Value:
        """A tensor with a scale of its own for each entry; noted under the name of a parameter."""
        forms: dict[Key, Form] = {}
        if self.final:
            for key in Value(tuple(axes)).blocks():
                places = [(k, a) for k, axis in enumerate(axes) for a in layout(axis)[key[k]][0]]
                v, roles = self.scales.variable(a for _, a in places), tuple(k for k, _ in places)
                forms[key] = {(v, roles): Fraction(1)}
                if name:
                    self.variables[v] = (name, key, roles)
        return self.value(axes, forms)

    def fresh(self, key: Hashable, shape: Sequence[int], why: str) -> Value:
        """A result about which nothing is known but its shape."""
        axes = [self.spaces.atom((key, k), n) for k, n in enumerate(shape)]
        for axis in axes:
            self.spaces.pin(axis, why)
        return self.value(axes)

    def opaque(self, key: Hashable, values: Sequence[Value], shape: Sequence[int], why: str) -> Value:
        """Let no symmetry through."""
        for v in values:
            for axis in v.axes:
                self.spaces.pin(axis, why)
            self.restrict(v, ENTRYWISE)
            self.zero(v)
        return self.fresh(key, shape, why)

    # -- conditions ------------------------------------------------------------------------------------------------
    def restrict(self, value: Value, mixing: int = ENTRYWISE) -> None:
        """Allow at most this mixing on all axes, and on those of a product left waiting."""
        for axis in (*value.axes, *value.pairing):
            self.spaces.restrict(axis, mixing)

    def settle(self, value: Value) -> None:
        """A product met an operation other than its sum: it is entrywise after all."""
        for axis in value.pairing:
            self.spaces.restrict(axis, ENTRYWISE)

    def zero(self, value: Value, *, real: bool = True, sign: bool = True) -> None:
        """Require scale (and sign) zero of all entries."""
        if self.final:
            for form in value.forms.values():
                self.scales.zero(form, real=real, sign=sign)

    # -- moving axes -----------------------------------------------------------------------------------------------
    def relabel(self, value: Value, axes: Sequence[Space], place: dict[int, int]) -> Value:
        """The same entries with axes moved; ``place`` says where each old axis goes (others have size one)."""
        forms: dict[Key, Form] = {}
        for key, form in value.forms.items():
            new = [0] * len(axes)
            for old, k in place.items():
                new[k] = key[old]
            forms[tuple(new)] = {(v, tuple(place[r] for r in roles)): c for (v, roles), c in form.items()}
        return self.value(axes, forms, fixed=value.fixed, pairing=value.pairing, points=value.points)

    def permute(self, value: Value, order: Sequence[int]) -> Value:
        """Axes in a new order."""
        return self.relabel(value, [value.axes[k] for k in order], {old: new for new, old in enumerate(order)})

    def squeeze(self, value: Value, dim: int) -> Value:
        """Without an axis of size one."""
        rest = [k for k in range(len(value.axes)) if k != dim]
        return self.relabel(value, [value.axes[k] for k in rest], {old: new for new, old in enumerate(rest)})

    def unsqueeze(self, value: Value, dim: int) -> Value:
        """With one more axis, of size one."""
        axes = list(value.axes)
        axes.insert(dim, self.one)
        return self.relabel(value, axes, {k: k + (k >= dim) for k in range(len(value.axes))})

    @property
    def one(self) -> Space:
        """The space of one index."""
        return self.spaces.atom(("one",), 1)

    def cut(self, value: Value, dim: int, sizes: Sequence[int]) -> list[Value]:
        """Consecutive pieces along an axis."""
        parts = self.spaces.split(value.axes[dim], sizes, is_sum=True)
        pieces, start = [], 0
        terms = layout(value.axes[dim])
        for part in parts:
            axes = [*value.axes[:dim], part, *value.axes[dim + 1 :]]
            count = len(layout(part))
            aligned = [a for a, _ in layout(part)] == [a for a, _ in terms[start : start + count]]
            forms = {
                (*key[:dim], key[dim] - start, *key[dim + 1 :]): form
                for key, form in value.forms.items()
                if start <= key[dim] < start + count
            }
            if not aligned:
                self.zero(value)
                forms = {}
            pieces.append(self.value(axes, forms, fixed=value.fixed, pairing=value.pairing))
            start += count
        return pieces

    def concatenate(self, key: Hashable, values: Sequence[Value], dim: int) -> Value:
        """Pieces joined along an axis."""
        rank = len(values[0].axes)
        for k in range(rank):
            if k != dim:
                for v in values[1:]:
                    self.spaces.unify(values[0].axes[k], v.axes[k])
        joined = self.spaces.sum((key, "cat"), [v.axes[dim] for v in values])
        axes = [*values[0].axes[:dim], joined, *values[0].axes[dim + 1 :]]
        forms: dict[Key, Form] = {}
        start = 0
        for v in values:
            for k, form in v.forms.items():
                forms[(*k[:dim], k[dim] + start, *k[dim + 1 :])] = form
            start += len(layout(v.axes[dim]))
        return self.value(axes, forms, fixed=all(v.fixed for v in values))

    def reshape(self, key: Hashable, value: Value, shape: Sequence[int]) -> Value:
        """Row-major view with other sizes."""
        self.settle(value)
        axes: list[Space] = []
        new_of_old: dict[int, list[int]] = {}
        for old, new in regroup(value.shape, shape):
            spaces = [value.axes[k] for k in old]
            if len(old) == len(new) == 1:
                made = spaces
            else:
                made = self._redivide((key, tuple(new)), spaces, [shape[k] for k in new])
            for k in old:
                new_of_old[k] = list(range(len(axes), len(axes) + len(made)))
            axes += made
        forms: dict[Key, Form] = {}
        if self.final and value.forms:
            before, after = value.blocks(), Value(tuple(axes)).blocks()
            same = len(before) == len(after) and all(
                _block_atoms(value.axes, b) == _block_atoms(axes, a) for b, a in zip(before, after, strict=True)
            )
            if not same:
                self.zero(value)
            else:
                for b, a in zip(before, after, strict=True):
                    forms[a] = {}
                    for (v, roles), c in value.forms.get(b, {}).items():
                        arguments = self.scales.arguments[v]
                        places = tuple(
                            next(k for k in new_of_old[r] if atom in layout(axes[k])[a[k]][0])
                            for r, atom in zip(roles, arguments, strict=True)
                        )
                        forms[a][v, places] = c
        return self.value(axes, forms, fixed=value.fixed, points=value.points)

    def _redivide(self, key: Hashable, spaces: list[Space], sizes: list[int]) -> list[Space]:
        """Other factors for a product of spaces."""
        factors = [f for s in spaces for f in _factors(s)]
        made = []
        for position, size in enumerate(sizes):
            taken, need = [], size
            while need > 1:
                f = factors.pop(0)
                if need % f.size == 0:
                    taken.append(f)
                    need //= f.size
                elif f.size % need == 0:
                    first, second = self.spaces.split(f, [need, f.size // need], is_sum=False)
                    taken.append(first)
                    factors.insert(0, second)
                    need = 1
                else:
                    why = "reshaped across a boundary of units"
                    for s in spaces:
                        self.spaces.pin(s, why)
                        self.spaces.restrict(s, ENTRYWISE)
                    return [self.spaces.atom((key, "new", k), n, why if n > 1 else "") for k, n in enumerate(sizes)]
            made.append(self.spaces.product((key, position), taken))
        return made

    # -- arithmetic ------------------------------------------------------------------------------------------------
    def align(self, values: Sequence[Value]) -> list[Value]:
        """Broadcast: equal number of axes, and axes that count together unified."""
        rank = max(len(v.axes) for v in values)
        out = []
        for v in values:
            pad = rank - len(v.axes)
            out.append(
                v if not pad
                else self.relabel(v, [self.one] * pad + list(v.axes), {k: k + pad for k in range(len(v.axes))})
            )  # fmt: skip
        for k in range(rank):
            full = [v.axes[k] for v in out if v.axes[k].size > 1]
            for a in full[1:]:
                self.spaces.unify(full[0], a)
        return out

    def join(self, values: Sequence[Value]) -> tuple[tuple[Space, ...], list[Key]]:
        """Axes and blocks of the result of a broadcast."""
        axes = tuple(
            next((v.axes[k] for v in values if v.axes[k].size > 1), self.one) for k in range(len(values[0].axes))
        )
        return axes, Value(axes).blocks()

    def form_at(self, value: Value, block: Key) -> Form:
        """Scale of the entries that a broadcast puts into this block."""
        own = tuple(b if a.size > 1 else 0 for b, a in zip(block, value.axes, strict=True))
        return value.forms.get(own, {})

    def add(self, values: Sequence[Value]) -> Value:
        """Sum of tensors: one scale for all; a summand constant along an axis keeps the vector of ones there."""
        values = self.align(values)
        pairing = frozenset.intersection(*(paired_over(v) for v in values))
        for v in values:
            for s in paired_over(v) - pairing:
                self.spaces.restrict(s, ENTRYWISE)
        axes, blocks = self.join(values)
        for v in values:
            for k, a in enumerate(v.axes):
                if axes[k].size > 1 and (a.size == 1 or v.fixed):
                    self.spaces.restrict(axes[k], FIXES_ONES)
        forms: dict[Key, Form] = {}
        if self.final:
            for b in blocks:
                forms[b] = self.form_at(values[0], b)
                for v in values[1:]:
                    self.scales.zero(combine((1, forms[b]), (-1, self.form_at(v, b))))
        return self.value(axes, forms, fixed=all(v.fixed for v in values), pairing=pairing)

    def multiply(self, values: Sequence[Value], powers: Sequence[int | Fraction]) -> Value:
        """Product of powers of tensors."""
        for v in values:
            self.settle(v)
        values = self.align(values)
        axes, blocks = self.join(values)
        shared = []
        for k, s in enumerate(axes):
            bearing = [p for p, v in zip(powers, values, strict=True) if v.axes[k].size > 1 and not v.fixed]
            if len(bearing) > 1 or any(p != 1 for p in bearing):
                shared.append(s)
        square = sum(p for p, v in zip(powers, values, strict=True) if not v.fixed) == 2
        pairing = frozenset()
        if square and all(p in {1, 2} for p in powers):
            pairing = frozenset(shared)
        else:
            for s in shared:
                self.spaces.restrict(s, ENTRYWISE)
        forms: dict[Key, Form] = {}
        if self.final:
            for b in blocks:
                parts = [(p, self.form_at(v, b)) for v, p in zip(values, powers, strict=True)]
                if any(Fraction(p).denominator != 1 for p, _ in parts):
                    for _, f in parts:
                        self.scales.zero(f, real=False)
                forms[b] = combine(*parts)
        return self.value(axes, forms, fixed=all(v.fixed for v in values), pairing=pairing)

    def contract(self, key: Hashable, values: Sequence[Value], labels: Sequence[Sequence[Hashable]],
                 out: Sequence[Hashable]) -> Value:  # fmt: skip
        """Einstein sum of tensors whose axes carry labels; labels not in ``out`` are summed over."""
        space: dict[Hashable, Space] = {}
        uses: dict[Hashable, int] = {}
        waiting: set[Hashable] = set()
        for v, names in zip(values, labels, strict=True):
            for axis, label in zip(v.axes, names, strict=True):
                if axis.size > 1 or label not in space:
                    if label in space and space[label].size > 1:
                        self.spaces.unify(space[label], axis)
                    else:
                        space[label] = axis
                paired = find(axis) in paired_over(v)
                uses[label] = uses.get(label, 0) + (not v.fixed) + paired
                if paired and label in out:
                    waiting.add(label)
            for s in paired_over(v) - {find(axis) for axis in v.axes}:
                self.spaces.restrict(s, ENTRYWISE)
        for label, s in space.items():
            if (label in out and uses[label] > 1 + (label in waiting)) or uses[label] > 2:
                self.spaces.restrict(s, ENTRYWISE)
            elif label not in out and uses[label] < 2:
                self.spaces.restrict(s, FIXES_ONES)
        axes = [space[n] for n in out]
        forms: dict[Key, Form] = {}
        if self.final:
            inner = [n for n in space if n not in out]
            for b in Value(tuple(axes)).blocks():
                at = dict(zip(out, b, strict=True))
                sums = []
                for c in cartesian(*(range(len(layout(space[n]))) for n in inner)):
                    at.update(zip(inner, c, strict=True))
                    parts = []
                    for v, names in zip(values, labels, strict=True):
                        own = tuple(at[n] if a.size > 1 else 0 for n, a in zip(names, v.axes, strict=True))
                        f = v.forms.get(own, {})
                        parts.append((1, {(x, tuple(names[r] for r in roles)): q for (x, roles), q in f.items()}))
                    sums.append(combine(*parts))
                total = self.common(sums, set(inner))
                forms[b] = {(x, tuple(out.index(r) for r in roles)): q for (x, roles), q in total.items()}
        pairing = frozenset(find(space[n]) for n in waiting)
        return self.value(axes, forms, fixed=all(v.fixed for v in values), pairing=pairing)

    def common(self, sums: list[Form], inner: set, *, real: bool = True, sign: bool = True) -> Form:
        """The one form that all these summands share, independent of the inner roles."""
        if len(sums) == 1 and not any(r in inner for _, roles in sums[0] for r in roles):
            return sums[0]
        total: Form = {}
        for roles in dict.fromkeys(
            tuple((r, a) for r, a in zip(rs, self.scales.arguments[x], strict=True) if r not in inner)
            for f in sums
            for x, rs in f
        ):
            total[self.scales.variable(a for _, a in roles), tuple(r for r, _ in roles)] = Fraction(1)
        for f in sums:
            self.scales.zero(combine((1, f), (-1, total)), real=real, sign=sign)
        return total

    def signs_of(self, form: Form) -> Form:
        """A form with the same signs and no scale."""
        return self._half(form, real=False)

    def sizes_of(self, form: Form) -> Form:
        """A form with the same scale and no signs."""
        return self._half(form, real=True)

    def _half(self, form: Form, *, real: bool) -> Form:
        """Keep one of scale and sign."""
        out: Form = {}
        for (v, roles), c in form.items():
            w = self.scales.variable(self.scales.arguments[v])
            same = {(w, roles): Fraction(1), (v, roles): Fraction(-1)}
            self.scales.zero(same, real=real, sign=not real)
            self.scales.zero({(w, roles): Fraction(1)}, real=not real, sign=real)
            out[w, roles] = c
        return out


def paired_over(value: Value) -> frozenset[Space]:
    """The spaces a product waits to be summed over."""
    return frozenset(map(find, value.pairing))


def _factors(space: Space) -> list[Space]:
    """The factors of a product, down to what is no product."""
    space = find(space)
    if space.size == 1:
        return []
    if space.parts and not space.is_sum:
        return [f for p in space.parts for f in _factors(p)]
    return [space]


def _block_atoms(axes: Sequence[Space], block: Key) -> list[Space]:
    """Atoms of one block, in order."""
    return [atom for axis, b in zip(axes, block, strict=True) for atom in layout(axis)[b][0]]


def regroup(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Runs of old and new axes with equal numbers of entries.

    Args:
        old: Sizes before.
        new: Sizes after, with the same product.

    Returns:
        Pairs of axis numbers before and after.

    >>> regroup((2, 12), (2, 3, 4))
    [([0], [0]), ([1], [1, 2])]
    """
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        left, right = ([i], [j]) if i < len(old) and j < len(new) else ([], [])
        if not left:  # only axes of size one are left on one side
            groups.append((list(range(i, len(old))), list(range(j, len(new)))))
            break
        i, j = i + 1, j + 1
        while (a := prod(old[k] for k in left)) != (b := prod(new[k] for k in right)):
            if a < b:
                left.append(i)
                i += 1
            else:
                right.append(j)
                j += 1
        groups.append((left, right))
    return groups
