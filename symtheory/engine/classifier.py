r"""Full-batch training of two-layer classifiers by hand-written gradients.

The network is $x\mapsto B\,\phi(A^T[x,1]) + c$ with $A$ of shape ``(d + 1, hidden)``, its last row the biases, $B$ of
shape ``(classes, hidden)`` and $c$ of shape ``(classes, 1)``; the loss is the mean cross-entropy. A static bias, if
there is one, is added to the parameters that are run, while optimiser and decay see those without it.

On a CPU one configuration is trained at a time, on one thread; a step walks over blocks of samples whose activations
stay in cache: forward, softmax and backward of one block, then the next. On other devices all configurations take each
step together, by batched products. Either gives the trajectory of the plain autograd loop to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from symtheory.engine.updates import Update
from symtheory.errors import SymtheoryError
from symtheory.spec.params import Params

Activation = Literal["tanh", "relu"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

#: Samples per block: activations and gradients of one block fit the second-level cache of a core.
ROWS = 400

#: Number of a step to its inputs.
InputsAt = Callable[[int], Tensor]


@dataclass(frozen=True)
class Task:
    """Training data of several configurations.

    Attributes:
        inputs: Samples with a last column of ones, shape ``(C, samples, d + 1)``.
        targets: One-hot labels, classes first, shape ``(C, classes, samples)``.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        x, y = self.inputs.shape, self.targets.shape
        if len(x) != 3 or len(y) != 3 or (x[0], x[1]) != (y[0], y[2]) or not bool((self.inputs[..., -1] == 1).all()):
            raise SymtheoryError(
                "inputs (C, samples, d + 1) ending in a column of ones, and targets (C, classes, samples)",
                f"{tuple(x)} and {tuple(y)}",
                "build them with symtheory.engine.classifier.task",
            )


def with_ones(inputs: Tensor) -> Tensor:
    """Append a column of ones.

    Args:
        inputs: Shape ``(..., samples, d)``.

    Returns:
        Shape ``(..., samples, d + 1)``.
    """
    return torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1)


def task(inputs: Tensor, labels: Tensor, classes: int) -> Task:
    """Data in the form that training takes.

    Args:
        inputs: Shape ``(C, samples, d)``.
        labels: Integers below ``classes``, shape ``(C, samples)``.
        classes: Number of classes.

    Returns:
        The task.
    """
    targets = torch.nn.functional.one_hot(labels, classes).to(inputs.dtype)
    return Task(with_ones(inputs).contiguous(), targets.mT.contiguous())


def arguments(params: Params, inputs: Tensor) -> Tensor:
    """What the activation of the first layer is applied to.

    Args:
        params: ``a`` of shape ``(..., d + 1, hidden)``: the weights that are run, with a static bias added.
        inputs: Shape ``(..., samples, d + 1)``, ending in a column of ones.

    Returns:
        Shape ``(..., samples, hidden)``.
    """
    return inputs @ params["a"]


def features(params: Params, inputs: Tensor, activation: Activation) -> Tensor:
    """Output of the first layer.

    Args:
        params: See :func:`arguments`.
        inputs: Shape ``(..., samples, d + 1)``.
        activation: ``tanh`` or ``relu``.

    Returns:
        Shape ``(..., samples, hidden)``.
    """
    z = arguments(params, inputs)
    return z.tanh() if activation == "tanh" else z.relu()


def logits(params: Params, inputs: Tensor, activation: Activation) -> Tensor:
    """Output of the network, classes first.

    Args:
        params: ``a``, ``b`` of shape ``(..., classes, hidden)`` and ``c`` of shape ``(..., classes, 1)``.
        inputs: Shape ``(..., samples, d + 1)``.
        activation: ``tanh`` or ``relu``.

    Returns:
        Shape ``(..., classes, samples)``.
    """
    return params["b"] @ features(params, inputs, activation).mT + params["c"]


def gradient(params: Params, data: Task, activation: Activation) -> Params:
    """Of the mean cross-entropy, all configurations at once.

    Args:
        params: ``a``, ``b``, ``c`` with leading dim ``C``.
        data: Of as many configurations.
        activation: ``tanh`` or ``relu``.

    Returns:
        Gradients, shaped like the parameters.
    """
    h = features(params, data.inputs, activation)
    error = torch.softmax(torch.baddbmm(params["c"], params["b"], h.mT), 1)
    error = error.sub_(data.targets).div_(data.inputs.shape[1])
    slope = torch.bmm(error.mT, params["b"])
    slope = slope.addcmul_(slope, h * h, value=-1) if activation == "tanh" else slope.mul_(torch.sign(h))
    return {
        "a": torch.bmm(data.inputs.mT, slope),
        "b": torch.bmm(error, h),
        "c": error.sum(-1, keepdim=True),
    }


class _Blocks:
    """The same of one configuration, block by block, in buffers that are made once."""

    def __init__(self, data: Task, index: int, hidden: int, activation: Activation) -> None:
        inputs, targets = data.inputs[index], data.targets[index]
        parts = zip(inputs.split(ROWS), targets.split(ROWS, dim=1), strict=True)
        self.parts = [(x, y.contiguous()) for x, y in parts]
        self.index, self.samples, self.activation, kind = index, len(inputs), activation, inputs.dtype
        self.buffers: dict[int, list[Tensor]] = {}
        for x, y in self.parts:
            wide = [torch.empty(len(x), hidden, dtype=kind) for _ in range(3)]
            self.buffers.setdefault(len(x), [*wide, torch.empty(len(y), len(x), dtype=kind)])

    def gradient(self, params: Params, inputs: Tensor | None = None) -> Params:
        """Of the mean cross-entropy, at the task's inputs unless others are given."""
        if inputs is not None:
            fresh = inputs[self.index].split(ROWS)
            self.parts = [(x, y) for x, (_, y) in zip(fresh, self.parts, strict=True)]
        a, b, c = params["a"][0], params["b"][0], params["c"][0]
        grads = {k: torch.zeros_like(p) for k, p in params.items()}
        da, db, dc = (grads[k][0] for k in ("a", "b", "c"))
        for x, y in self.parts:
            h, slope, extra, error = self.buffers[len(x)]
            torch.mm(x, a, out=h)
            h.tanh_() if self.activation == "tanh" else h.clamp_(min=0)
            torch.addmm(c, b, h.T, out=error)
            torch.softmax(error, 0, out=error)
            error.sub_(y).div_(self.samples)
            dc += error.sum(1, keepdim=True)
            db.addmm_(error, h)
            torch.mm(error.T, b, out=slope)
            if self.activation == "tanh":
                slope.addcmul_(slope, torch.mul(h, h, out=extra), value=-1)
            else:
                slope.mul_(torch.sign(h, out=extra))
            da.addmm_(x.T, slope)
        return grads


def train(
    start: Params,
    bias: Params,
    data: Task,
    activation: Activation,
    update: Update,
    lr: Tensor,
    decay: Tensor,
    at: Sequence[int],
    *,
    inputs_at: InputsAt | None = None,
    device: str = "cpu",
    use_blocks: bool = True,
) -> Params:
    """Train every configuration on its own data, all samples in every step.

    Args:
        start: ``a``, ``b``, ``c`` with leading dim ``C``: the weights that are run at the start; not modified.
        bias: Static bias of the same shapes; zeros for a plain network.
        data: Of as many configurations.
        activation: ``tanh`` or ``relu``.
        update: The optimiser.
        lr: Learning rates, shape ``(C,)``.
        decay: PyTorch's ``weight_decay``, shape ``(C,)``.
        at: Increasing numbers of steps after which the weights are kept; the last ends the training.
        inputs_at: If inputs are drawn anew in each step: its number, from 1, to inputs on the CPU, of shape ``(C,
            samples, d + 1)``. Called for each configuration apart on a CPU: it must not depend on earlier calls.
        device: Where to train.
        use_blocks: On a CPU, one configuration at a time and by blocks of samples.

    Returns:
        The weights that are run, static bias included, of shape ``(len(at), C, ...)``, on the CPU.

    Raises:
        SymtheoryError: If the leading dims differ or ``at`` does not increase.
    """
    sizes = {len(t) for t in (*start.values(), *bias.values(), data.inputs, lr, decay)}
    if len(sizes) != 1:
        raise SymtheoryError("one entry per configuration in every tensor", f"leading dims {sorted(sizes)}", "repeat")
    if not at or at[0] < 0 or any(b <= a for a, b in pairwise(at)):
        raise SymtheoryError("increasing numbers of steps", f"{list(at)}", "such as (250, 1000)")
    if use_blocks and device == "cpu":
        ends = []
        for i in range(len(lr)):
            one, static = ({k: p[i : i + 1] for k, p in tensors.items()} for tensors in (start, bias))
            blocks = _Blocks(data, i, start["b"].shape[-1], activation)

            def slope(params: Params, t: int, blocks: _Blocks = blocks) -> Params:
                return blocks.gradient(params, inputs_at(t) if inputs_at else None)

            ends.append(_descend(one, static, slope, update, lr[i : i + 1], decay[i : i + 1], at))
        return {k: torch.cat([end[k] for end in ends], dim=1) for k in start}
    there = Task(data.inputs.to(device), data.targets.to(device))
    every, static = ({k: p.to(device) for k, p in tensors.items()} for tensors in (start, bias))

    def every_slope(params: Params, t: int) -> Params:
        here = Task(inputs_at(t).to(device), there.targets) if inputs_at else there
        return gradient(params, here, activation)

    return _descend(every, static, every_slope, update, lr.to(device), decay.to(device), at)


def _descend(
    start: Params,
    bias: Params,
    slope: Callable[[Params, int], Params],
    update: Update,
    lr: Tensor,
    decay: Tensor,
    at: Sequence[int],
) -> Params:
    """Optimiser and decay act on the weights less the bias; the gradient is taken at the weights."""
    params = {k: start[k] - bias[k] for k in start}
    state, kept = update.start(params), []
    for t in range(at[-1] + 1):
        if t:
            grads = slope({k: params[k] + bias[k] for k in params}, t)
            params, state = update.step(params, grads, state, lr, decay, t)
        if t in at:
            kept.append({k: (params[k] + bias[k]).cpu() for k in params})
    return {k: torch.stack([weights[k] for weights in kept]) for k in params}
