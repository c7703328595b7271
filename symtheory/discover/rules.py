"""What each operation says about the spaces and scales of its operands: the registry, and entrywise operations."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from torch.fx import Node

from symtheory.discover.spaces import FIXES_ONES
from symtheory.discover.values import Algebra, Value


@dataclass(frozen=True, eq=False)
class Stack:
    """Tensors joined along an axis that is only ever indexed: each keeps spaces of its own.

    Attributes:
        dim: The axis; of size one in every part.
        parts: One value for each index.
    """

    dim: int
    parts: tuple[Value, ...]


@dataclass(frozen=True)
class Step:
    """One node of the graph while it is interpreted.

    Attributes:
        algebra: The abstract operations.
        node: The node.
        shape: Its shape, or those of its several results.
        key: Name under which it makes spaces.
    """

    algebra: Algebra
    node: Node
    shape: Any
    key: Hashable

    def part(self, k: int) -> Step:
        """The same step under a key of its own."""
        return replace(self, key=(self.key, k))

    def opaque(self, values: Sequence[Value], why: str) -> Any:
        """A result through which no symmetry passes; a gap, if parameters enter."""
        a = self.algebra
        if any(not v.fixed for v in values):
            a.gaps.append((self.node.name, why, ()))
        if isinstance(self.shape, list):
            return [a.opaque((self.key, k), values, s, why) for k, s in enumerate(self.shape)]
        return a.opaque(self.key, values, self.shape, why)


Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of ATen, by name without overload."""

    def register(f: Rule) -> Rule:
        for name in names:
            RULES[name] = f
        return f

    return register


def first_of_several(f: Rule) -> Rule:
    """The rule of an operation whose first result is that of another; the others, where they are read, stop all."""

    def apply(step: Step, x: Value, *args: Any, **kwargs: Any) -> list[Value | None]:
        read = [user.args[1] for user in step.node.users if user.target is operator.getitem]
        others: list[Value | None] = [
            step.algebra.opaque((step.key, k), [x], s, f"result {k} of {step.node.target}") if k in read else None
            for k, s in enumerate(step.shape[1:], start=1)
        ]
        return [f(replace(step, shape=step.shape[0]), x, *args, **kwargs), *others]

    return apply


def join(step: Step, stack: Stack | Value) -> Value:
    """A stack as one tensor, its parts now tied to each other."""
    if isinstance(stack, Value):
        return stack
    return step.algebra.concatenate((step.key, "join"), stack.parts, stack.dim)


def axis(value: Value, dim: int) -> int:
    """A possibly negative axis number, made positive."""
    return dim % len(value.axes) if value.axes else 0


# -- one operand ---------------------------------------------------------------------------------------------------
@rule("clone", "contiguous", "detach", "alias", "to", "_to_copy", "type_as", "lift_fresh_copy", "lift_fresh", "neg",
      "dropout", "feature_dropout", "alpha_dropout", "positive", "float", "double")  # fmt: skip
def same(step: Step, x: Value, *_: Any, **__: Any) -> Value:
    """A copy, or a change of sign of everything."""
    return x


rule("native_dropout")(first_of_several(same))


@rule("tanh", "sin", "tan", "asin", "atan", "sinh", "asinh", "atanh", "erf", "erfinv", "hardshrink", "softshrink")
def odd(step: Step, x: Value, *_: Any, **__: Any) -> Value:
    """f(-x) = -f(x)."""
    return pointwise(step, x, sign=False)


@rule("relu", "leaky_relu", "rrelu")
def homogeneous(step: Step, x: Value, *_: Any, **__: Any) -> Value:
    """f(a x) = a f(x) for positive a."""
    return pointwise(step, x, real=False)


@rule("gelu", "silu", "sigmoid", "softplus", "elu", "selu", "celu", "mish", "exp", "exp2", "expm1", "log", "log2",
      "log10", "log1p", "log_sigmoid", "hardswish", "hardsigmoid", "relu6", "floor", "ceil", "round", "logical_not",
      "isnan", "isinf", "bitwise_not", "threshold", "logit", "erfc")  # fmt: skip
def generic(step: Step, x: Value, *_: Any, **__: Any) -> Value:
    """An entrywise function with no symmetry."""
    out = pointwise(step, x)
    return step.algebra.value(out.axes, fixed=x.fixed)


#: A bound below which a floor only guards a division, as the ones in ``normalize`` and ``cosine_similarity`` do.
FLOOR = 1e-6


@rule("hardtanh")
def hardtanh(step: Step, x: Value, low: Any = -1.0, high: Any = 1.0, **kwargs: Any) -> Value:
    """Between -1 and 1 unless said otherwise."""
    return clamp(step, x, kwargs.get("min_val", low), kwargs.get("max_val", high))


@rule("clamp")
def clamp(step: Step, x: Value, low: Any = None, high: Any = None, **kwargs: Any) -> Value:
    """Odd if the bounds are opposite; without an upper one, a floor."""
    low, high = kwargs.get("min", low), kwargs.get("max", high)
    if any(isinstance(v, Value) for v in (low, high)):
        return together(step, x, low, high)
    if low is not None and low == -(high or 0) != 0:
        return odd(step, x)
    return clamp_min(step, x, low) if high is None else generic(step, x)


@rule("clamp_min")
def clamp_min(step: Step, x: Value, low: Any, **_: Any) -> Value:
    """ReLU if the bound is zero, or nearly."""
    return homogeneous(step, x) if isinstance(low, int | float) and 0 <= low <= FLOOR else generic(step, x)


@rule("cos", "cosh")
def even(step: Step, x: Value, **_: Any) -> Value:
    """f(-x) = f(x)."""
    pointwise(step, x, sign=False)
    return step.algebra.value(x.axes, fixed=x.fixed)


@rule("abs")
def absolute(step: Step, x: Value, **_: Any) -> Value:
    """Keeps the scale, forgets the sign."""
    a = step.algebra
    pointwise(step, x, real=False, sign=False)
    return unsigned(a, x)


@rule("sign", "sgn")
def sign(step: Step, x: Value) -> Value:
    """Keeps the sign, forgets the scale."""
    a = step.algebra
    out = pointwise(step, x, real=False, sign=False)
    return a.value(x.axes, {k: a.signs_of(f) for k, f in x.forms.items()} if a.final else {}, fixed=out.fixed)


def unsigned(a: Algebra, x: Value) -> Value:
    """The same scales with the sign zero."""
    forms = {key: a.sizes_of(form) for key, form in x.forms.items()} if a.final else {}
    return a.value(x.axes, forms, fixed=x.fixed, pairing=x.pairing)


def pointwise(step: Step, x: Value, *, real: bool = True, sign: bool = True) -> Value:
    """Entrywise, with the scale or the sign of the operand forced to zero."""
    a = step.algebra
    a.settle(x)
    a.restrict(x)
    a.zero(x, real=real, sign=sign)
    return a.value(x.axes, x.forms, fixed=x.fixed)


# -- powers --------------------------------------------------------------------------------------------------------
@rule("pow")
def power(step: Step, x: Any, exponent: Any, **_: Any) -> Value:
    """Multiplies the scale."""
    a = step.algebra
    if not isinstance(x, Value) or not isinstance(exponent, int | float) or exponent == 0:
        values = [v for v in (x, exponent) if isinstance(v, Value)]
        return together(step, *values)
    out = a.multiply([x], [Fraction(exponent).limit_denominator(1000)])
    return unsigned(a, out) if exponent == int(exponent) and int(exponent) % 2 == 0 else out


@rule("square")
def square(step: Step, x: Value) -> Value:
    """The second power."""
    return power(step, x, 2)


@rule("sqrt")
def root(step: Step, x: Value) -> Value:
    """The power one half."""
    return power(step, x, 0.5)


@rule("rsqrt")
def inverse_root(step: Step, x: Value) -> Value:
    """The power minus one half."""
    return power(step, x, -0.5)


@rule("reciprocal")
def reciprocal(step: Step, x: Value) -> Value:
    """The power minus one."""
    return power(step, x, -1)


# -- several operands ----------------------------------------------------------------------------------------------
@rule("add", "sub", "rsub")
def add(step: Step, x: Any, y: Any, **_: Any) -> Value:
    """A number has scale zero, and is constant along every axis."""
    a = step.algebra
    tensors = [v for v in (x, y) if isinstance(v, Value)]
    if len(tensors) == 2:
        return a.add(tensors)
    (v,) = tensors
    if 0 in (x, y):
        return v
    a.settle(v)
    a.zero(v)
    for s in v.axes:
        a.spaces.restrict(s, FIXES_ONES)
    return a.value(v.axes, fixed=v.fixed)


@rule("mul", "multiply")
def multiply(step: Step, x: Any, y: Any, **_: Any) -> Value:
    """Adds scales; numbers change nothing."""
    tensors = [v for v in (x, y) if isinstance(v, Value)]
    return step.algebra.multiply(tensors, [1] * len(tensors)) if len(tensors) == 2 else tensors[0]


@rule("div", "true_divide")
def divide(step: Step, x: Any, y: Any, rounding_mode: Any = None, **_: Any) -> Value:
    """Subtracts scales."""
    a = step.algebra
    if rounding_mode is not None:
        return together(step, *(v for v in (x, y) if isinstance(v, Value)))
    if not isinstance(y, Value):
        return x
    return a.multiply([x, y], [1, -1]) if isinstance(x, Value) else power(step, y, -1)


@rule("addcmul")
def addcmul(step: Step, x: Value, y: Value, z: Value, **_: Any) -> Value:
    """A sum with a product."""
    return step.algebra.add([x, step.algebra.multiply([y, z], [1, 1])])


@rule("lerp")
def between(step: Step, x: Value, y: Value, weight: Any) -> Value:
    """A mean of two tensors."""
    a = step.algebra
    mean = a.add([x, y])
    return a.add([mean, a.multiply([mean, weight], [1, 1])]) if isinstance(weight, Value) else mean


@rule("lt", "le", "gt", "ge")
def compare(step: Step, x: Value, y: Any) -> Value:
    """Larger or not stays when both, or the one before zero, take a positive scale."""
    if isinstance(y, Value):
        out = extremum(step, x, y)
    elif y == 0:
        out = homogeneous(step, x)
    else:
        return together(step, x)
    return step.algebra.value(out.axes, fixed=out.fixed)


@rule("eq", "ne", "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or",
      "remainder", "fmod", "floor_divide", "atan2", "__and__", "__or__", "xlogy")  # fmt: skip
def together(step: Step, *args: Any, **_: Any) -> Value:
    """An entrywise function of several tensors with no symmetry."""
    a = step.algebra
    values = a.align([v for v in args if isinstance(v, Value)])
    for v in values:
        a.settle(v)
        a.restrict(v)
        a.zero(v)
    axes, _blocks = a.join(values)
    return a.value(axes, fixed=all(v.fixed for v in values))


@rule("maximum", "minimum")
def extremum(step: Step, x: Value, y: Value) -> Value:
    """The larger of two: of one scale, which is positive."""
    a = step.algebra
    for v in (x, y):
        a.restrict(v)
        a.zero(v, real=False)
    return a.add([x, y])


@rule("where")
def where(step: Step, condition: Value, x: Any, y: Any) -> Value:
    """One of two tensors, by a condition that stays."""
    a = step.algebra
    together(step, condition)
    tensors = [v for v in (x, y) if isinstance(v, Value)]
    if len(tensors) < 2 and not all(v == 0 for v in (x, y) if not isinstance(v, Value)):
        return together(step, condition, *tensors)
    for v in tensors:
        a.restrict(v)
    out = a.add(tensors) if len(tensors) == 2 else tensors[0]
    return a.multiply([condition, out], [1, 1])


@rule("masked_fill")
def masked_fill(step: Step, x: Value, mask: Value, value: Any) -> Value:
    """Zeros keep scales; any other number has scale zero."""
    together(step, mask)
    if isinstance(value, Value) or value != 0:
        return together(step, x, mask)
    return step.algebra.multiply([x, mask], [1, 1])
