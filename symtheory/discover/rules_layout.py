"""Rules of the operations that only move entries: reshapes, cuts, joins, indexing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from symtheory.discover.rules import Stack, Step, axis, join, rule
from symtheory.discover.spaces import ENTRYWISE, FIXES_ONES, layout
from symtheory.discover.values import Value, regroup

#: Operations that only rename axes, through which a later use by index is still seen.
RENAMING = {"permute", "transpose", "t", "unsqueeze", "squeeze", "contiguous", "clone", "movedim", "to", "swapaxes"}
#: Operations that repeat entries along new axes, and those that would do so themselves.
EXPANDING = ("expand", "expand_as", "broadcast_to")
BROADCASTING = {"add", "sub", "mul", "div"}
#: Uses by index.
INDEXING = {"select", "unbind", "split", "chunk", "slice", "split_with_sizes", "tensor_split"}


def name_of(node: Node) -> str:
    """Name of a node's operation without namespace and overload; in-place or not."""
    return name_of_target(node.target)


def name_of_target(target: Any) -> str:
    """The same of an operation."""
    parts = str(target).split(".")
    name = parts[1] if len(parts) > 1 and parts[0] == "aten" else str(target)
    return name.rstrip("_") if not name.endswith("__") else name


def move(order: list[int], name: str, args: Sequence[Any]) -> list[int]:
    """Where a renaming operation puts the axes: old number of each new axis, -1 for a new one."""
    n = len(order)
    if name == "permute":
        dims = args[0] if isinstance(args[0], list | tuple) else args
        return [order[d % n] for d in dims]
    if name in {"transpose", "swapaxes", "t", "mT"}:
        i, j = args[:2] if name in {"transpose", "swapaxes"} else (-2, -1)
        out = list(order)
        if n > 1:
            out[i % n], out[j % n] = out[j % n], out[i % n]
        return out
    if name == "numpy_T":
        return order[::-1]
    if name == "movedim":
        source, target = ([d] if isinstance(d, int) else list(d) for d in args[:2])
        rest = [k for k in range(n) if k not in {s % n for s in source}]
        for s, t in sorted(zip(source, target, strict=True), key=lambda p: p[1] % n):
            rest.insert(t % n, s % n)
        return [order[k] for k in rest]
    if name == "unsqueeze":
        d = args[0] % (n + 1)
        return [*order[:d], -1, *order[d:]]
    return order


def indexed_later(node: Node, dim: int) -> bool:
    """Whether an axis of a node's result is later picked apart by index."""
    for user in node.users:
        name = name_of(user)
        shape = getattr(node.meta.get("val"), "shape", ())
        if name in INDEXING:
            default = 1 if name in {"split", "chunk", "split_with_sizes", "tensor_split"} else 0
            where = user.args[default] if len(user.args) > default and name in {"select", "slice"} else None
            if name in {"select", "slice"} or name == "unbind":
                where = user.args[1] if len(user.args) > 1 else 0
            else:
                where = user.args[2] if len(user.args) > 2 else user.kwargs.get("dim", 0)
            if isinstance(where, int) and where % len(shape) == dim and name in {"select", "unbind"}:
                return True
            if isinstance(where, int) and where % len(shape) == dim and name != "slice":
                return True
        if name == "squeeze":
            dims = user.args[1] if len(user.args) > 1 else [k for k, s in enumerate(shape) if s == 1]
            gone = {d % len(shape) for d in ([dims] if isinstance(dims, int) else dims)}  # type: ignore[union-attr]
            gone = {d for d in gone if shape[d] == 1}
            order = [k for k in range(len(shape)) if k not in gone]
        elif name in RENAMING:
            order = move(list(range(len(shape))), name, user.args[1:])
        else:
            continue
        if dim in order and indexed_later(user, order.index(dim)):
            return True
    return False


@rule("permute", "transpose", "t", "numpy_T", "movedim", "swapaxes", "unsqueeze", "mT")
def rename(step: Step, x: Value | Stack, *args: Any) -> Value | Stack:
    """Axes in another order, or one more."""
    a, name = step.algebra, name_of(step.node)

    def one(v: Value) -> Value:
        if name == "unsqueeze":
            return a.unsqueeze(v, args[0] % (len(v.axes) + 1))
        return a.permute(v, move(list(range(len(v.axes))), name, args))

    if isinstance(x, Stack):
        order = move(list(range(len(x.parts[0].axes))), name, args)
        return Stack(order.index(x.dim), tuple(one(v) for v in x.parts))
    return one(x)


@rule("squeeze")
def squeeze(step: Step, x: Value | Stack, dim: Any = None) -> Value | Stack:
    """Without axes of size one."""
    a = step.algebra
    first = x.parts[0] if isinstance(x, Stack) else x
    dims = range(len(first.axes)) if dim is None else [axis(first, d) for d in ([dim] if isinstance(dim, int) else dim)]
    keep = x.dim if isinstance(x, Stack) else -1
    for d in sorted(dims, reverse=True):
        if d == keep or first.axes[d].size > 1:
            continue
        if isinstance(x, Stack):
            x = Stack(x.dim - (d < x.dim), tuple(a.squeeze(v, d) for v in x.parts))
        else:
            x = a.squeeze(x, d)
        keep = x.dim if isinstance(x, Stack) else -1
    return x


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_as", "reshape_as")
def view(step: Step, x: Value, *_: Any, **__: Any) -> Value | Stack:
    """Another division into axes; an axis that will only be indexed makes a stack."""
    a = step.algebra
    a.settle(x)
    for old, new in regroup(x.shape, step.shape):
        wide = [k for k in new if step.shape[k] > 1]
        real = [k for k in old if x.shape[k] > 1]
        if len(real) != 1 or len(wide) < 2 or not indexed_later(step.node, wide[0]):
            continue
        k, count = wide[0], step.shape[wide[0]]
        each = x.shape[real[0]] // count
        pieces = a.cut(x, real[0], [each] * count)
        smaller = [1 if j == k else n for j, n in enumerate(step.shape)]
        return Stack(k, tuple(a.reshape((step.key, i), v, smaller) for i, v in enumerate(pieces)))
    return a.reshape(step.key, x, step.shape)


def _broadcasts(user: Node, node: Node) -> bool:
    """Whether an operation would give the same if this operand had not been expanded."""
    others = [n for n in user.all_input_nodes if n is not node and n.meta["val"].shape == node.meta["val"].shape]
    return name_of(user) in BROADCASTING and any(name_of(n) not in EXPANDING for n in others)


@rule(*EXPANDING)
def expand(step: Step, x: Value, *_: Any, **__: Any) -> Value:
    """New axes along which nothing changes; left at size one where that is how they are used."""
    a = step.algebra
    v = a.align([x, _ones(step)])[0]
    if all(_broadcasts(user, step.node) for user in step.node.users):
        return v
    axes = []
    for k, (s, n) in enumerate(zip(v.axes, step.shape, strict=True)):
        if s.size == n:
            axes.append(s)
        else:
            axes.append(a.spaces.atom((step.key, k), n))
            a.spaces.restrict(axes[-1], FIXES_ONES)
    return a.value(axes, v.forms, fixed=x.fixed, pairing=v.pairing, points=v.points)


def _ones(step: Step) -> Value:
    """A tensor of ones with as many axes as the result."""
    return step.algebra.value([step.algebra.one] * len(step.shape), fixed=True)


@rule("repeat", "tile", "repeat_interleave")
def repeat(step: Step, x: Value, *args: Any, **_: Any) -> Value:
    """Copies: the axis becomes a product with the number of the copy."""
    a = step.algebra
    name = name_of(step.node)
    if any(isinstance(arg, Value) for arg in args):
        return step.opaque([x], "repeated by data")
    a.settle(x)
    v = a.align([x, _ones(step)])[0]
    axes: list = []
    for k, (s, n) in enumerate(zip(v.axes, step.shape, strict=True)):
        if s.size == n:
            axes.append(s)
            continue
        copy = a.spaces.atom((step.key, k), n // s.size)
        a.spaces.restrict(copy, FIXES_ONES)
        pair = (s, copy) if name == "repeat_interleave" else (copy, s)
        axes.append(a.spaces.product((step.key, k, "copies"), pair))
    fits = all(len(layout(p)) == len(layout(q)) for p, q in zip(axes, v.axes, strict=True))
    if not fits:
        a.zero(v)
    return a.value(axes, v.forms if fits else {}, fixed=x.fixed)


@rule("cat", "concat", "concatenate")
def cat(step: Step, values: Sequence[Value | Stack], dim: int = 0) -> Value:
    """Joins along an axis."""
    tensors = [join(step, v) for v in values]
    tensors = [v for v in tensors if len(v.axes) == len(step.shape)]
    for v in tensors:
        step.algebra.settle(v)
    return step.algebra.concatenate(step.key, tensors, axis(tensors[0], dim))


@rule("stack")
def stack(step: Step, values: Sequence[Value], dim: int = 0) -> Stack:
    """Joins along a new axis, tied only if needed."""
    a = step.algebra
    d = dim % (len(values[0].axes) + 1)
    for v in values:
        a.settle(v)
    return Stack(d, tuple(a.unsqueeze(v, d) for v in values))


@rule("split", "chunk", "split_with_sizes", "tensor_split", "unsafe_split", "unsafe_chunk")
def split(step: Step, x: Value | Stack, _how: Any, dim: int = 0) -> list:
    """Pieces along an axis."""
    sizes = [s[_dim(step, dim)] for s in step.shape]
    v = join(step, x)
    step.algebra.settle(v)
    return step.algebra.cut(v, axis(v, dim), sizes)


def _dim(step: Step, dim: int) -> int:
    return dim % len(step.shape[0])


@rule("unbind")
def unbind(step: Step, x: Value | Stack, dim: int = 0) -> list:
    """One piece for each index."""
    a = step.algebra
    if isinstance(x, Stack) and dim % len(x.parts[0].axes) == x.dim:
        return [a.squeeze(v, x.dim) for v in x.parts]
    v = join(step, x)
    d = axis(v, dim)
    return [a.squeeze(p, d) for p in a.cut(v, d, [1] * v.axes[d].size)]


@rule("select")
def select(step: Step, x: Value | Stack, dim: int, index: int) -> Value | Stack:
    """One index of an axis."""
    a = step.algebra
    if isinstance(x, Stack):
        d = dim % len(x.parts[0].axes)
        if d == x.dim:
            return a.squeeze(x.parts[index], d)
        return Stack(x.dim - (d < x.dim), tuple(_pick(step, v, d, index) for v in x.parts))
    return _pick(step, x, axis(x, dim), index)


def _pick(step: Step, v: Value, d: int, index: int) -> Value:
    """One index of an axis."""
    a = step.algebra
    a.settle(v)
    n = v.axes[d].size
    index %= n
    if n == 1:
        return a.squeeze(v, d)
    if v.axes[d].pinned and not v.axes[d].parts and not any(d in r for f in v.forms.values() for _, r in f):
        # indices told apart already, and nothing depends on them: no need to cut
        forms = {(*k[:d], *k[d + 1 :]): f for k, f in v.forms.items()}
        rest = [k for k in range(len(v.axes)) if k != d]
        place = {old: new for new, old in enumerate(rest)}
        moved = {k: {(x, tuple(place[r] for r in rs)): c for (x, rs), c in f.items()} for k, f in forms.items()}
        return a.value([v.axes[k] for k in rest], moved, fixed=v.fixed)
    sizes = [s for s in (index, 1, n - index - 1) if s]
    return a.squeeze(a.cut(v, d, sizes)[1 if index else 0], d)


@rule("slice")
def slice_(step: Step, x: Value | Stack, dim: int = 0, start: Any = None, end: Any = None, stride: int = 1) -> Any:
    """A run of indices."""
    a = step.algebra
    if isinstance(x, Stack) and dim % len(x.parts[0].axes) == x.dim:
        return Stack(x.dim, x.parts[slice(start, end, stride)])
    v = join(step, x)
    d = axis(v, dim)
    n = v.axes[d].size
    a.settle(v)
    lo, hi, step_size = slice(start, end, stride).indices(n)
    if (lo, hi, step_size) == (0, n, 1):
        return v
    if step_size == 1:
        sizes = [s for s in (lo, hi - lo, n - hi) if s]
        return a.cut(v, d, sizes)[1 if lo else 0]
    if n % step_size == 0 and len(range(lo, hi, step_size)) == n // step_size:
        # every k-th entry: the axis is a product, and the last factor is picked apart
        parts = a.spaces.split(v.axes[d], [n // step_size, step_size], is_sum=False)
        shape = [*v.shape[:d], n // step_size, step_size, *v.shape[d + 1 :]]
        del parts
        return _pick(step, a.reshape((step.key, "strided"), v, shape), d + 1, lo % step_size)
    return index_along(step, v, d)


def index_along(step: Step, v: Value, d: int) -> Value:
    """Entries of an axis picked by number: the axis is told apart, its scale must be one."""
    a = step.algebra
    a.settle(v)
    a.spaces.pin(v.axes[d], "picked by index")
    a.spaces.restrict(v.axes[d], ENTRYWISE)
    labels = list(range(len(v.axes)))
    once = a.unsqueeze(a.contract(step.key, [v], [labels], [k for k in labels if k != d]), d)
    new = a.spaces.atom((step.key, "picked"), step.shape[d])
    a.spaces.pin(new, "picked by index")
    axes = [*v.axes[:d], new, *v.axes[d + 1 :]]
    forms = {}
    if a.final:
        forms = {b: a.form_at(once, b) for b in Value(tuple(axes)).blocks()}
    return a.value(axes, forms, fixed=v.fixed)


@rule("index_select")
def index_select(step: Step, x: Value, dim: int, _index: Value) -> Value:
    """Indices from a table."""
    return index_along(step, x, axis(x, dim))


@rule("flip", "roll")
def reorder(step: Step, x: Value, *args: Any) -> Value:
    """Indices in another order."""
    dims = args[-1] if args else range(len(x.axes))
    v = x
    for d in [dims] if isinstance(dims, int) else dims:
        v = index_along(step, v, axis(v, d))
    return v


@rule("constant_pad_nd", "pad")
def pad(step: Step, x: Value, widths: Sequence[int], *args: Any, **_: Any) -> Value:
    """Padding with zeros keeps scales; padded axes are told apart."""
    a = step.algebra
    a.settle(x)
    value = next((v for v in reversed(args) if isinstance(v, int | float)), 0)
    mode = next((v for v in args if isinstance(v, str)), "constant")
    v = x
    if mode == "constant" and value != 0:
        a.zero(v)
        a.restrict(v)
        v = a.value(v.axes)
    for k, (low, high) in enumerate(zip(widths[::2], widths[1::2], strict=True)):
        if low or high:
            d = len(x.axes) - 1 - k
            v = index_along(step.part(k), v, d)
    return v
