"""Rules of layers: products of matrices, convolutions, normalisations, pooling, attention."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any

from symtheory.discover.rules import Step, axis, first_of_several, generic, homogeneous, pointwise, rule
from symtheory.discover.rules_layout import name_of
from symtheory.discover.rules_reduce import softmax, tell_apart
from symtheory.discover.scales import Form
from symtheory.discover.spaces import ENTRYWISE, FIXES_ONES, LINEAR
from symtheory.discover.values import Algebra, Value


@rule("linear")
def linear(step: Step, x: Value, weight: Value, bias: Value | None = None) -> Value:
    """X W^T + b."""
    a = step.algebra
    batch = [f"b{k}" for k in range(len(x.axes) - 1)]
    out = a.contract(step.key, [x, weight], [[*batch, "i"], ["o", "i"]], [*batch, "o"])
    return out if bias is None else a.add([out, bias])


@rule("addmm", "baddbmm")
def addmm(step: Step, bias: Value, x: Value, y: Value, **_: Any) -> Value:
    """A product of matrices with a summand."""
    return step.algebra.add([matmul(step, x, y), bias])


@rule("matmul", "mm", "bmm", "mv", "dot", "vdot")
def matmul(step: Step, x: Value, y: Value) -> Value:
    """Products of matrices, batched by broadcasting."""
    a = step.algebra
    left = ["i", "k"] if len(x.axes) > 1 else ["k"]
    right = ["k", "j"] if len(y.axes) > 1 else ["k"]
    rank = max(len(x.axes) - len(left), len(y.axes) - len(right))
    batch = [f"b{k}" for k in range(rank)]
    labels = [
        [*batch[rank - (len(v.axes) - len(own)) :], *own] if len(v.axes) > len(own) else own
        for v, own in ((x, left), (y, right))
    ]
    out = [*batch, *(n for n in ("i", "j") if n in left or n in right)]
    return a.contract(step.key, [x, y], labels, out)


@rule("outer", "ger")
def outer(step: Step, x: Value, y: Value) -> Value:
    """All products of two vectors."""
    return step.algebra.contract(step.key, [x, y], [["i"], ["j"]], ["i", "j"])


@rule("einsum")
def einsum(step: Step, equation: str, operands: Sequence[Value], **_: Any) -> Value:
    """Einstein sums, as written."""
    a = step.algebra
    equation = equation.replace(" ", "")
    left, _arrow, out = equation.partition("->")
    names = [list(n.replace("...", ".")) for n in left.split(",")]
    if "->" not in equation:
        letters = [c for c in left if c.isalpha()]
        out = "." * ("." in left) + "".join(sorted(c for c in letters if letters.count(c) == 1))
    # an ellipsis stands for numbered axes, counted from the last
    counts = [len(v.axes) - len(n) + 1 for v, n in zip(operands, names, strict=True) if "." in n]
    labels = [_spelled(n, len(v.axes) - len(n) + 1) for v, n in zip(operands, names, strict=True)]
    if any(len(set(n)) < len(n) for n in labels):
        return step.opaque(operands, "an einsum with a diagonal")
    return a.contract(step.key, list(operands), labels, _spelled(list(out.replace("...", ".")), max(counts, default=0)))


def _spelled(names: list[str], count: int) -> list[str]:
    """Labels with this many axes in place of an ellipsis."""
    return [m for n in names for m in ([f".{k}" for k in reversed(range(count))] if n == "." else [n])]


# -- convolutions --------------------------------------------------------------------------------------------------
@rule("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def convolution(step: Step, x: Value, weight: Value, bias: Value | None = None, *args: Any, **kwargs: Any) -> Value:
    """Contracts input channels within their group; positions are told apart."""
    a, name = step.algebra, name_of(step.node)
    transposed = "transpose" in name or (name == "convolution" and bool(args[3]))
    place = 5 if name == "convolution" else 3
    groups = kwargs.get("groups", args[place] if len(args) > place else 1)
    lone = len(x.axes) == len(weight.axes) - 1
    if lone:
        x = a.unsqueeze(x, 0)
    n = len(weight.axes) - 2
    for s in (*x.axes[2:], *weight.axes[2:]):
        a.spaces.pin(s, "a position")
        a.spaces.restrict(s, ENTRYWISE)
    w = a.permute(weight, [1, 0, *range(2, n + 2)]) if transposed else weight
    spatial, taps = [f"s{k}" for k in range(n)], [f"t{k}" for k in range(n)]
    if groups == 1:
        labels = [["b", "i", *spatial], ["o", "i", *taps]]
        total = a.contract(step.key, [x, w], labels, ["b", "o"])
    else:
        inside = x.shape[1] // groups
        x = a.reshape((step.key, "x"), x, [x.shape[0], groups, inside, *x.shape[2:]])
        if transposed:
            w = a.reshape((step.key, "w"), weight, [groups, inside, *weight.shape[1:]])
            w = a.permute(w, [0, 2, 1, *range(3, n + 3)])
        else:
            w = a.reshape((step.key, "w"), w, [groups, w.shape[0] // groups, *w.shape[1:]])
        labels = [["b", "g", "i", *spatial], ["g", "o", "i", *taps]]
        total = a.contract(step.key, [x, w], labels, ["b", "g", "o"])
        total = a.reshape((step.key, "out"), total, [total.shape[0], total.shape[1] * total.shape[2]])
    if bias is not None:
        total = a.add([total, bias])
    out = positions(step, total, step.shape[-n:] if n else [])
    return a.squeeze(out, 0) if lone else out


def positions(step: Step, channels: Value, sizes: Sequence[int]) -> Value:
    """Spread values of shape (batch, channels) over new positions."""
    a = step.algebra
    v = channels
    for _ in sizes:
        v = a.unsqueeze(v, len(v.axes))
    new = [a.spaces.atom((step.key, "position", k), n, "a position") for k, n in enumerate(sizes)]
    return a.value([*channels.axes, *new], v.forms, fixed=channels.fixed, pairing=channels.pairing)


def _spatial(step: Step, x: Value, *, sign: bool) -> Value:
    """An operation that moves information between positions, channel by channel."""
    a = step.algebra
    a.settle(x)
    keep = 2 if len(x.axes) == len(step.shape) and len(x.axes) > 2 else len(x.axes) - 1
    moved = list(range(keep, len(x.axes)))
    for k in moved:
        a.spaces.pin(x.axes[k], "a position")
        a.spaces.restrict(x.axes[k], ENTRYWISE)
    if sign:
        a.restrict(x)
        a.zero(x, real=False)
    labels = list(range(len(x.axes)))
    return positions(step, a.contract(step.key, [x], [labels], labels[:keep]), step.shape[keep:])


@rule("max_pool1d", "max_pool2d", "max_pool3d")
def max_pool(step: Step, x: Value, *_: Any, **__: Any) -> Value:
    """Keeps positive scales."""
    return _spatial(step, x, sign=True)


rule(
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices",
)(first_of_several(max_pool))  # fmt: skip


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
      "upsample_nearest1d", "upsample_nearest2d", "upsample_bilinear2d", "upsample_linear1d", "upsample_bicubic2d",
      "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d", "_adaptive_avg_pool2d",
      "upsample_nearest3d", "upsample_trilinear3d")  # fmt: skip
def average_pool(step: Step, x: Value, *_: Any, **__: Any) -> Value:
    """Linear in each channel."""
    return _spatial(step, x, sign=False)


@rule("pixel_shuffle")
def pixel_shuffle(step: Step, x: Value, factor: int) -> Value:
    """Channels hold positions: the channel is a product with them."""
    a = step.algebra
    v = a.reshape((step.key, "in"), x, [x.shape[0], x.shape[1] // factor**2, factor, factor, *x.shape[2:]])
    for s in (*v.axes[2:4], *v.axes[4:]):
        a.spaces.pin(s, "a position")
    v = a.permute(v, [0, 1, 4, 2, 5, 3])
    return a.reshape((step.key, "out"), v, step.shape)


@rule("pixel_unshuffle")
def pixel_unshuffle(step: Step, x: Value, factor: int) -> Value:
    """Positions become channels."""
    a, (h, w) = step.algebra, x.shape[2:]
    v = a.reshape((step.key, "in"), x, [*x.shape[:2], h // factor, factor, w // factor, factor])
    for s in v.axes[2:]:
        a.spaces.pin(s, "a position")
    v = a.permute(v, [0, 1, 3, 5, 2, 4])
    return a.reshape((step.key, "out"), v, step.shape)


@rule("channel_shuffle")
def channel_shuffle(step: Step, x: Value, groups: int) -> Value:
    """The channel is a product, whose factors change places."""
    a = step.algebra
    v = a.reshape((step.key, "in"), x, [x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]])
    v = a.permute(v, [0, 2, 1, *range(3, len(v.axes))])
    return a.reshape((step.key, "out"), v, step.shape)


@rule("grid_sampler")
def grid_sampler(step: Step, x: Value, grid: Value, *_: Any) -> Value:
    """Linear in each channel; the places asked for stay."""
    step.algebra.zero(grid)
    for s in grid.axes[1:]:
        step.algebra.spaces.pin(s, "a position")
        step.algebra.spaces.restrict(s, ENTRYWISE)
    return _spatial(step, x, sign=False)


# -- normalisations ------------------------------------------------------------------------------------------------
def normalise(step: Step, x: Value, dims: Sequence[int], *, mixing: int, exact: bool) -> Value:
    """Divide by a length over some axes: one scale for all of them, which goes away; signs stay.

    With a positive epsilon inside the root (not ``exact``) the scale has to be zero from the start. Where a mean is
    taken off (any ``mixing`` but ``LINEAR``) the sign has to be common too.

    Args:
        step: The node.
        x: The tensor.
        dims: The axes.
        mixing: What mixing along a single axis is allowed.
        exact: Whether there is no epsilon.

    Returns:
        The normalised tensor, of scale zero.
    """
    a = step.algebra
    a.settle(x)
    for d in dims:
        a.spaces.restrict(x.axes[d], mixing)
    tell_apart(a, x, dims)
    inner = {("in", d) for d in dims}
    forms: dict = {}
    if a.final:
        groups: dict[tuple[int, ...], list[tuple[Any, Form]]] = {}
        for b in x.blocks():
            own = tuple(0 if k in dims else i for k, i in enumerate(b))
            terms = x.forms.get(b, {}).items()
            form = {(v, tuple(("in", r) if r in dims else r for r in rs)): c for (v, rs), c in terms}
            groups.setdefault(own, []).append((b, form))
        for parts in groups.values():
            common = a.common([f for _, f in parts], inner, sign=mixing != LINEAR)
            if not exact:
                a.scales.zero(common, sign=False)
            for b, form in parts:
                kept = common if mixing != LINEAR else form
                forms[b] = {(v, tuple(r[1] if isinstance(r, tuple) else r for r in rs)): c
                            for (v, rs), c in a.signs_of(kept).items()}  # fmt: skip
    return a.value(x.axes, forms, fixed=x.fixed)


def affine(step: Step, x: Value, weight: Value | None, bias: Value | None) -> Value:
    """Gain and shift."""
    a = step.algebra
    if weight is not None:
        x = a.multiply([x, weight], [1, 1])
    return x if bias is None else a.add([x, bias])


@rule("_weight_norm")
def weight_norm(step: Step, v: Value, gain: Value, dim: int = 0) -> Value:
    """Directions of unit length times gains: the length of a direction is free."""
    dims = [k for k in range(len(v.axes)) if k != axis(v, dim)]
    unit = normalise(step, v, dims, mixing=LINEAR if len(dims) == 1 else ENTRYWISE, exact=True)
    return affine(step, unit, gain, None)


@rule("layer_norm")
def layer_norm(step: Step, x: Value, shape: Sequence[int], weight: Value | None = None, bias: Value | None = None,
               eps: float = 1e-5, *_: Any) -> Value:  # fmt: skip
    """Takes off the mean and divides by the spread."""
    dims = list(range(len(x.axes) - len(shape), len(x.axes)))
    mixing = FIXES_ONES if len(dims) == 1 else ENTRYWISE
    return affine(step, normalise(step, x, dims, mixing=mixing, exact=eps == 0), weight, bias)


@rule("rms_norm")
def rms_norm(
    step: Step, x: Value, shape: Sequence[int], weight: Value | None = None, eps: float | None = None
) -> Value:
    """Rotations of the normalised axis survive; without an epsilon given, PyTorch takes that of the type."""
    dims = list(range(len(x.axes) - len(shape), len(x.axes)))
    return affine(step, normalise(step, x, dims, mixing=LINEAR, exact=eps == 0), weight, None)


@rule("group_norm")
def group_norm(step: Step, x: Value, groups: int, weight: Value | None = None, bias: Value | None = None,
               eps: float = 1e-5, *_: Any) -> Value:  # fmt: skip
    """Layer normalisation of groups of channels and all positions."""
    a = step.algebra
    inside = x.shape[1] // groups
    v = a.reshape((step.key, "groups"), x, [x.shape[0], groups, inside, *x.shape[2:]])
    dims = list(range(2, len(v.axes)))
    v = normalise(step, v, dims, mixing=FIXES_ONES, exact=eps == 0)
    v = a.reshape((step.key, "channels"), v, x.shape)
    return affine(step, v, _over_channels(a, weight, x), _over_channels(a, bias, x))


@rule("instance_norm")
def instance_norm(step: Step, x: Value, weight: Value | None, bias: Value | None, mean: Value | None,
                  var: Value | None, batch: bool, _momentum: float, eps: float, *_: Any) -> Value:  # fmt: skip
    """Each channel over its positions, or with running statistics."""
    if not batch:
        return batch_norm(step, x, weight, bias, mean, var, False, 0.1, eps)
    a = step.algebra
    v = normalise(step, x, list(range(2, len(x.axes))), mixing=ENTRYWISE, exact=eps == 0)
    return affine(step, v, _over_channels(a, weight, x), _over_channels(a, bias, x))


@rule("batch_norm")
def batch_norm(step: Step, x: Value, weight: Value | None, bias: Value | None, mean: Value | None, var: Value | None,
               training: bool, _momentum: float = 0.1, eps: float = 1e-5, *_: Any) -> Value:  # fmt: skip
    """With running statistics an affine map whose mean and variance move along; with the batch's own, a division."""
    a = step.algebra
    a.spaces.restrict(x.axes[1], ENTRYWISE)
    if training or mean is None or var is None:
        dims = [0, *range(2, len(x.axes))]
        v = normalise(step, x, dims, mixing=ENTRYWISE, exact=eps == 0)
        for s in (mean, var):
            if s is not None:
                a.spaces.unify(s.axes[0], x.axes[1])
                a.zero(s)
    else:
        m, s = _over_channels(a, mean, x), _over_channels(a, var, x)
        assert m is not None
        assert s is not None
        if eps:
            a.zero(s)
        a.zero(s, real=False)
        spread = a.multiply([s], [-1]) if eps else a.multiply([s], [1])
        v = a.add([x, m])
        v = a.multiply([v, a.value(spread.axes)], [1, 1]) if eps else a.multiply([v, _root(a, s)], [1, -1])
    return affine(step, v, _over_channels(a, weight, x), _over_channels(a, bias, x))


@rule("_native_batch_norm_legit_no_training", "native_layer_norm", "native_group_norm")
def native(step: Step, x: Value, *args: Any) -> list:
    """The same normalisations as a functional trace has them, with statistics nobody reads."""
    if "batch" in name_of(step.node):
        weight, bias, mean, var, momentum, eps = args
        out = batch_norm(step, x, weight, bias, mean, var, False, momentum, eps)
    elif "layer" in name_of(step.node):
        out = layer_norm(step, x, *args)
    else:
        weight, bias, _, _, _, groups, eps = args
        out = group_norm(step, x, groups, weight, bias, eps)
    return [out, *(step.algebra.fresh((step.key, k), s, "a statistic") for k, s in enumerate(step.shape[1:]))]


def _root(a: Algebra, s: Value) -> Value:
    """The square root of a positive tensor."""
    return a.multiply([s], [Fraction(1, 2)])


def _over_channels(a: Algebra, v: Value | None, like: Value) -> Value | None:
    """A vector of channels, with axes of size one for the positions."""
    if v is None:
        return None
    for _ in range(len(like.axes) - 2):
        v = a.unsqueeze(v, len(v.axes))
    return v


# -- gated and parametric activations ------------------------------------------------------------------------------
@rule("prelu")
def prelu(step: Step, x: Value, slope: Value) -> Value:
    """ReLU with a slope for each channel, of scale zero."""
    a = step.algebra
    out = homogeneous(step, x)
    w = _over_channels(a, slope, x) if slope.shape != (1,) else slope
    assert w is not None
    return a.multiply([out, pointwise(step, w)], [1, 1])


@rule("glu")
def glu(step: Step, x: Value, dim: int = -1) -> Value:
    """One half times a sigmoid of the other."""
    a = step.algebra
    d = axis(x, dim)
    half = x.axes[d].size // 2
    left, right = a.cut(x, d, [half, half])
    return a.multiply([left, generic(step, right)], [1, 1])


@rule("cosine_similarity")
def cosine(step: Step, x: Value, y: Value, dim: int = 1, _eps: float = 1e-8) -> Value:
    """Inner product of two normalised vectors."""
    a = step.algebra
    d = axis(x, dim)
    u, v = (normalise(step, t, [d], mixing=LINEAR, exact=True) for t in (x, y))
    labels = list(range(len(u.axes)))
    return a.contract(step.key, [u, v], [labels, labels], [k for k in labels if k != d])


@rule("bilinear")
def bilinear(step: Step, x: Value, y: Value, weight: Value, bias: Value | None = None) -> Value:
    """x^T W y + b."""
    a = step.algebra
    batch = [f"b{k}" for k in range(len(x.axes) - 1)]
    out = a.contract(step.key, [x, y, weight], [[*batch, "i"], [*batch, "j"], ["o", "i", "j"]], [*batch, "o"])
    return out if bias is None else a.add([out, bias])


@rule("scaled_dot_product_attention")
def attention(step: Step, q: Value, k: Value, v: Value, mask: Value | None = None, *_: Any, **kwargs: Any) -> Value:
    """softmax(q k^T) v; with grouped queries each key serves several heads."""
    a = step.algebra
    if kwargs.get("enable_gqa") and q.shape[-3] != k.shape[-3]:
        copies = q.shape[-3] // k.shape[-3]
        shape = [*q.shape[:-3], k.shape[-3], copies, *q.shape[-2:]]
        q = a.reshape((step.key, "q"), q, shape)
        k, v = (a.unsqueeze(t, len(t.axes) - 2) for t in (k, v))
        out = attention(step, q, k, v)
        return a.reshape((step.key, "heads"), out, [*out.shape[:-4], prod(out.shape[-4:-2]), *out.shape[-2:]])
    batch = [f"b{i}" for i in range(len(q.axes) - 2)]
    scores = a.contract((step.key, "scores"), [q, k], [[*batch, "t", "d"], [*batch, "s", "d"]], [*batch, "t", "s"])
    if mask is not None:
        scores = a.add([scores, mask])
    weights = softmax(step, scores, -1)
    return a.contract((step.key, "mix"), [weights, v], [[*batch, "t", "s"], [*batch, "s", "e"]], [*batch, "t", "e"])


@rule("cdist")
def distances(step: Step, x: Value, y: Value, p: float = 2.0, *_: Any) -> Value:
    """Distances forget only rotations (and, here, are not followed further)."""
    a = step.algebra
    if p != 2:
        return step.opaque([x, y], f"cdist with p = {p}")
    batch = [f"b{i}" for i in range(len(x.axes) - 2)]
    a.zero(x, real=True, sign=False)
    a.zero(y, real=True, sign=False)
    return a.contract(step.key, [x, y], [[*batch, "t", "d"], [*batch, "s", "d"]], [*batch, "t", "s"])
