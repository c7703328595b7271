"""Rules of operations along axes (sums, softmax, largest entries) and of those that make new tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symtheory.discover.rules import Step, axis, extremum, generic, power, rule
from symtheory.discover.rules_layout import name_of
from symtheory.discover.spaces import ENTRYWISE, FIXES_ONES, atoms_of
from symtheory.discover.values import Algebra, Value


def tell_apart(a: Algebra, value: Value, dims: Sequence[int]) -> None:
    """An operation along these axes ties what the others do at its different indices."""
    if a.final:
        along = set().union(*(atoms_of(value.axes[d]) for d in dims))
        for k, other in enumerate(value.axes):
            if k not in dims:
                for atom in atoms_of(other):
                    atom.context = (atom.context or set()) - along


@rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def softmax(step: Step, x: Value, dim: int, *_: Any, **__: Any) -> Value:
    """Permutes with its axis, and needs scale zero."""
    a = step.algebra
    out = generic(step, x)
    tell_apart(a, x, [axis(x, dim)])
    return a.value(out.axes, fixed=x.fixed)


@rule("logsumexp")
def logsumexp(step: Step, x: Value, dim: Any, keepdim: bool = False) -> Value:
    """Forgets the order along its axis, and needs scale zero."""
    dims = reduced(x, dim)
    out = generic(step, x)
    tell_apart(step.algebra, x, dims)
    return contract(step, out, dims, keepdim)


def reduced(x: Value, dims: Any) -> list[int]:
    """Axes of a reduction; all of them if none is named."""
    if dims is None or dims == []:
        return list(range(len(x.axes)))
    return [axis(x, d) for d in ([dims] if isinstance(dims, int) else dims)]


def contract(step: Step, x: Value, dims: Sequence[int], keepdim: bool) -> Value:
    """Sum over axes."""
    a = step.algebra
    labels = list(range(len(x.axes)))
    out = a.contract(step.key, [x], [labels], [k for k in labels if k not in dims])
    if keepdim:
        for d in sorted(dims):
            out = a.unsqueeze(out, d)
    return out


@rule("sum", "mean")
def total(step: Step, x: Value, dim: Any = None, keepdim: bool = False, **_: Any) -> Value:
    """Sums and means ask for one scale along their axes."""
    return contract(step, x, reduced(x, dim), keepdim)


@rule("linalg_vector_norm", "norm")
def norm(step: Step, x: Value, order: Any = 2, dim: Any = None, keepdim: bool = False, **_: Any) -> Value:
    """The Euclidean norm forgets rotations, any other only permutations and signs."""
    a = step.algebra
    if order != 2:
        a.restrict(x)
    if order not in {1, 2}:
        a.zero(x)
    squares = power(step, x, 2)
    return power(step, contract(step, squares, reduced(x, dim), keepdim), 0.5)


@rule("var", "std")
def variance(step: Step, x: Value, dim: Any = None, *args: Any, **kwargs: Any) -> Value:
    """Homogeneous of degree two (one); invariant under rotations that keep the ones."""
    a = step.algebra
    dims = reduced(x, None if isinstance(dim, bool) else dim)
    for d in dims:
        a.spaces.restrict(x.axes[d], FIXES_ONES)
    squares = contract(step, power(step, x, 2), dims, bool(kwargs.get("keepdim", args[1] if len(args) > 1 else False)))
    return power(step, squares, 0.5) if "std" in str(step.node.target) else squares


@rule("amax", "amin")
def largest(step: Step, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Keeps positive scales."""
    a = step.algebra
    a.settle(x)
    a.restrict(x)
    a.zero(x, real=False)
    dims = reduced(x, dim)
    tell_apart(a, x, dims)
    return contract(step, x, dims, keepdim)


@rule("max", "min")
def largest_or_pair(step: Step, x: Value, other: Any = None, keepdim: bool = False) -> Any:
    """The largest entry, or with its number, or of two tensors."""
    if isinstance(other, Value):
        return extremum(step, x, other)
    if other is None:
        return largest(step, x)
    values = largest(step, x, other, keepdim)
    return [values, numbers(step, x, other, values)]


@rule("argmax", "argmin")
def which(step: Step, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """The number of the largest entry."""
    return numbers(step, x, dim, largest(step, x, dim, keepdim))


def numbers(step: Step, x: Value, dim: Any, places: Value) -> Value:
    """Where along an axis some entries are; numbers in a flattened tensor tell all its axes apart."""
    a = step.algebra
    if isinstance(dim, int):
        return a.value(places.axes, fixed=x.fixed, points=x.axes[axis(x, dim)])
    for s in x.axes:
        a.spaces.pin(s, "its largest entry is asked for by number")
    return a.value(places.axes, fixed=x.fixed)


@rule("cumsum", "cumprod")
def along(step: Step, x: Value, dim: int, **_: Any) -> Value:
    """Depends on the order along its axis."""
    a = step.algebra
    a.settle(x)
    d = axis(x, dim)
    a.spaces.pin(x.axes[d], "summed in order")
    a.spaces.restrict(x.axes[d], ENTRYWISE)
    tell_apart(a, x, [d])
    if "cumprod" in str(step.node.target):
        a.zero(x)
    tied = contract(step, x, [d], keepdim=True)
    forms = {}
    if a.final:
        for b in Value(x.axes).blocks():
            forms[b] = a.form_at(tied, b)
    return a.value(x.axes, forms, fixed=x.fixed)


# -- new tensors ---------------------------------------------------------------------------------------------------
@rule("ones", "full", "ones_like", "full_like", "new_ones", "new_full", "fill", "empty", "empty_like",
      "scalar_tensor")  # fmt: skip
def filled(step: Step, *args: Any, **_: Any) -> Value:
    """The same number everywhere."""
    if name_of(step.node) in {"full", "full_like", "new_full", "fill"} and args[-1] == 0:
        return nothing(step)
    return step.algebra.constant(step.key, step.shape, [False] * len(step.shape), "")


@rule("zeros", "zeros_like", "new_zeros")
def nothing(step: Step, *_: Any, **__: Any) -> Value:
    """Zeros, which every scale and every mixing leave alone."""
    return step.algebra.zeros(step.key, step.shape)


@rule("arange", "linspace", "eye", "tril_indices", "triu_indices")
def counting(step: Step, *_: Any, **__: Any) -> Value:
    """Fixed numbers that differ along the axes."""
    return step.algebra.constant(step.key, step.shape, [True] * len(step.shape), "enumerated")


@rule("tril", "triu")
def triangle(step: Step, x: Value, *_: Any) -> Value:
    """Part of a matrix, by position."""
    a = step.algebra
    for s in x.axes[-2:]:
        a.spaces.pin(s, "masked by position")
    a.restrict(x)
    return x
