"""Rules of operations that pick or replace entries: by the data, by place, by the numbers of units found on the way.

A table indexed by the data tells its rows apart. Where the numbers come from a search among the same units, such as the
nearest vector of a codebook or the best experts of a mixture, units and numbers may be permuted together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symtheory.discover.rules import Step, axis, rule, together
from symtheory.discover.rules_layout import expand, name_of
from symtheory.discover.rules_reduce import contract, largest, numbers, tell_apart
from symtheory.discover.spaces import ENTRYWISE, Space
from symtheory.discover.values import Value

#: Operations that take numbers of units.
NUMBERING = ("embedding", "index", "gather", "one_hot", "scatter", "scatter_add", "index_add")


def by_number(step: Step, x: Value, dim: int, index: Value) -> None:
    """An axis indexed by numbers: of its own units, or else told apart."""
    a, along = step.algebra, x.axes[dim]
    a.settle(x)
    a.spaces.restrict(along, ENTRYWISE)
    if index.points is not None and index.points.size == along.size:
        a.spaces.unify(along, index.points)
        tell_apart(a, x, [dim])
        return
    for s in (along, index.points):
        if s is not None:
            a.spaces.pin(s, "indexed by the data")


# -- reading -------------------------------------------------------------------------------------------------------
@rule("topk", "sort")
def best(step: Step, x: Value, *args: Any, **kwargs: Any) -> list[Value]:
    """The largest entries in order, and their numbers."""
    a, position = step.algebra, 1 if name_of(step.node) == "topk" else 0
    d = axis(x, kwargs.get("dim", args[position] if len(args) > position else -1))
    once = largest(step, x, d, keepdim=True)
    order = a.spaces.atom((step.key, "order"), step.shape[0][d], "sorted by size")
    forms = {}
    axes = [*x.axes[:d], order, *x.axes[d + 1 :]]
    if a.final:
        forms = {b: a.form_at(once, b) for b in Value(tuple(axes)).blocks()}
    values = a.value(axes, forms, fixed=x.fixed)
    return [values, numbers(step, x, d, values)]


@rule("embedding")
def embedding(step: Step, weight: Value, index: Value, *_: Any, **__: Any) -> Value:
    """Rows picked by number."""
    a = step.algebra
    by_number(step, weight, 0, index)
    row = contract(step, weight, [0], keepdim=False)
    n = len(index.axes)
    return a.relabel(row, [*index.axes, row.axes[0]], {0: n}) if n else row


@rule("embedding_bag")
def embedding_bag(step: Step, weight: Value, index: Value, _offsets: Any, _scale: bool = False, mode: int = 0,
                  *_: Any) -> list[Value]:  # fmt: skip
    """Sums, means or (mode two) largest entries of rows picked by number."""
    a = step.algebra
    by_number(step, weight, 0, index)
    row = largest(step, weight, 0) if mode == 2 else contract(step, weight, [0], keepdim=False)
    bags = a.spaces.atom((step.key, "bag"), step.shape[0][0], "a bag of the data")
    rest = [a.fresh((step.key, k), s, "a bag of the data") for k, s in enumerate(step.shape[1:])]
    return [a.relabel(row, [bags, row.axes[0]], {0: 1}), *rest]


@rule("index")
def index(step: Step, x: Value, indices: Sequence[Value | None]) -> Value:
    """Entries picked by tables of numbers."""
    a = step.algebra
    dims = [k for k, i in enumerate(indices) if i is not None]
    tables = [i for i in indices if i is not None]
    rest = [k for k in range(len(x.axes)) if k not in dims]
    for d, i in zip(dims, tables, strict=True):
        by_number(step, x, d, i)
    if not x.fixed and all(i.points is None for i in tables):
        why = "entries picked by a table: maps that permute these are not looked for"
        a.gaps.append((step.node.name, why, tuple(x.axes[d] for d in dims)))
    elif not x.fixed and len(rest) > 1:
        why = "a unit picked by number: maps that differ from unit to unit are not looked for"
        a.gaps.append((step.node.name, why, tuple(x.axes[d] for d in dims)))
    kept = contract(step, x, dims, keepdim=False)
    start = dims[0] if dims == list(range(dims[0], dims[-1] + 1)) else 0
    before = sum(r < start for r in rest)
    new: list[Space] = list(a.join(a.align(tables))[0])
    axes = [*kept.axes[:before], *new, *kept.axes[before:]]
    return a.relabel(kept, axes, {i: i if i < before else i + len(new) for i in range(len(rest))})


@rule("gather")
def gather(step: Step, x: Value, dim: int, index: Value, **_: Any) -> Value:
    """One entry for each number, in the same place along all other axes."""
    a, d = step.algebra, axis(x, dim)
    if any(m != n for k, (m, n) in enumerate(zip(x.shape, index.shape, strict=True)) if k != d):
        return step.opaque([x, index], "entries gathered from a part")
    by_number(step, x, d, index)
    for k, s in enumerate(x.axes):
        if k != d:
            a.spaces.unify(s, index.axes[k])
    once = contract(step, x, [d], keepdim=True)
    axes = [*x.axes[:d], index.axes[d], *x.axes[d + 1 :]]
    forms = {b: a.form_at(once, b) for b in Value(tuple(axes)).blocks()} if a.final else {}
    return a.value(axes, forms, fixed=x.fixed)


@rule("one_hot")
def one_hot(step: Step, index: Value, *_: Any) -> Value:
    """A one at each number."""
    a = step.algebra
    along = a.spaces.atom((step.key, "number"), step.shape[-1])
    by_number(step, a.value([along], fixed=True), 0, index)
    return a.value([*index.axes, along], fixed=index.fixed and index.points is None)


# -- writing -------------------------------------------------------------------------------------------------------
@rule("scatter", "scatter_add", "index_add")
def scatter(step: Step, x: Value, dim: int, index: Value, source: Any, **_: Any) -> Value:
    """Entries written, or added, at numbers of an axis: all of one scale along it."""
    a, d = step.algebra, axis(x, dim)
    a.settle(x)
    by_number(step, x, d, index)
    if not isinstance(source, Value):
        return together(step, x)
    others = [k for k in range(len(x.axes)) if k != d]
    if any(x.shape[k] != source.shape[k] for k in others):
        return step.opaque([x, index, source], "entries written to a part")
    for s in (source.axes[d], *index.axes):
        a.spaces.restrict(s, ENTRYWISE)
    for k, s in enumerate(index.axes):
        if len(index.axes) == len(x.axes):
            a.spaces.unify(s, source.axes[k])
        else:
            a.spaces.unify(s, source.axes[d])
    return a.add([x, contract(step, source, [d], keepdim=True)])


@rule("copy")
def copy(step: Step, _x: Value, source: Value, *_: Any) -> Value:
    """All entries replaced."""
    return expand(step, source)


@rule("slice_scatter", "select_scatter")
def write(step: Step, x: Value, source: Value, dim: int = 0, start: Any = None, end: Any = None, stride: int = 1,
          ) -> Value:  # fmt: skip
    """A run of entries, or one, replaced."""
    a, d = step.algebra, axis(x, dim)
    n = x.axes[d].size
    if name_of(step.node) == "select_scatter":
        source, start, end = a.unsqueeze(source, d), start % n, start % n + 1
    lo, hi, stride = slice(start, end, stride).indices(n)
    if stride != 1:
        return step.opaque([x, source], "entries written with gaps between them")
    for v in (x, source):
        a.settle(v)
    pieces = iter(a.cut(x, d, [s for s in (lo, hi - lo, n - hi) if s]))
    parts = [next(pieces)] if lo else []
    next(pieces)
    parts.append(source)
    parts += pieces
    return a.concatenate(step.key, parts, d) if len(parts) > 1 else source
