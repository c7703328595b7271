r"""Full-batch training of two-layer classifiers with hand-written gradients, block by block of samples kept in cache.

The network is $x\mapsto B^T[\phi(A^T[x,1]),1]$ with a column of ones for the biases: $A$ of shape ``(d + 1, hidden)``,
$B$ of shape ``(hidden + 1, classes)``; the loss is the mean cross-entropy. With syre the network is run at
$A + A_0$, $B + B_0$ for a static bias $(A_0, B_0)$, while optimiser and decay see $A$ and $B$.

On a CPU one configuration is trained at a time, on one thread: a step walks over blocks of samples whose activations
never leave the cache (forward, softmax and backward of one block, then the next). On another device all configurations
of one shape take each step together, by batched products. Both give the plain autograd loop's trajectory to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from symtheory.engine.updates import Update, adam
from symtheory.errors import SymtheoryError
from symtheory.spec.params import Params

Activation = Literal["tanh", "relu"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

#: Samples per block: activations and gradients of one block fit the second-level cache of a core.
ROWS = 400


@dataclass(frozen=True)
class Task:
    """Data of one configuration.

    Attributes:
        inputs: Samples with a last column of ones, shape ``(samples, d + 1)``.
        targets: One-hot labels, shape ``(samples, classes)``.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if self.inputs.dim() != 2 or len(self.inputs) != len(self.targets) or not bool((self.inputs[:, -1] == 1).all()):
            raise SymtheoryError(
                "inputs (samples, d + 1) ending in a column of ones and as many targets",
                f"{tuple(self.inputs.shape)} and {tuple(self.targets.shape)}",
                "build them with symtheory.engine.classifier.task",
            )


def with_ones(inputs: Tensor) -> Tensor:
    """Append a column of ones.

    Args:
        inputs: Shape ``(samples, d)``.

    Returns:
        Shape ``(samples, d + 1)``.
    """
    return torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)


def task(inputs: Tensor, labels: Tensor, classes: int) -> Task:
    """Data in the form that training takes.

    Args:
        inputs: Shape ``(samples, d)``.
        labels: Integers below ``classes``, shape ``(samples,)``.
        classes: Number of classes.

    Returns:
        The task.
    """
    return Task(with_ones(inputs), torch.nn.functional.one_hot(labels, classes).to(inputs.dtype))


def features(params: Params, inputs: Tensor, activation: Activation) -> Tensor:
    """Output of the first layer.

    Args:
        params: ``a`` of shape ``(..., d + 1, hidden)``, the weights that are run (with a static bias added).
        inputs: Shape ``(samples, d + 1)``, ending in a column of ones.
        activation: ``tanh`` or ``relu``.

    Returns:
        Shape ``(..., samples, hidden)``.
    """
    arguments = inputs @ params["a"]
    return arguments.tanh() if activation == "tanh" else arguments.relu()


def logits(params: Params, inputs: Tensor, activation: Activation) -> Tensor:
    """Output of the network.

    Args:
        params: ``a``, and ``b`` of shape ``(..., hidden + 1, classes)``.
        inputs: Shape ``(samples, d + 1)``.
        activation: ``tanh`` or ``relu``.

    Returns:
        Shape ``(..., samples, classes)``.
    """
    b = params["b"]
    return features(params, inputs, activation) @ b[..., :-1, :] + b[..., -1:, :]


class _Blocks:
    """Gradient of one configuration over blocks of samples, in buffers that are made once."""

    def __init__(self, data: Task, hidden: int, activation: Activation) -> None:
        self.pairs = list(zip(data.inputs.split(ROWS), data.targets.split(ROWS), strict=True))
        self.samples, self.smooth, self.hidden = len(data.inputs), activation == "tanh", hidden
        kind, rows, classes = data.inputs.dtype, min(ROWS, len(data.inputs)), data.targets.shape[1]
        self.h = torch.ones(rows, hidden + 1, dtype=kind)  # its last column stays one
        self.slope, self.extra = (torch.empty(rows, hidden, dtype=kind) for _ in range(2))
        self.error = torch.empty(rows, classes, dtype=kind)
        self.da = torch.empty(data.inputs.shape[1], hidden, dtype=kind)
        self.db = torch.empty(classes, hidden + 1, dtype=kind)

    def gradient(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Of the mean cross-entropy, by ``a`` and ``b``."""
        self.da.zero_()
        self.db.zero_()
        back = b[: self.hidden].T
        for x, y in self.pairs:
            n = len(x)
            full, slope, extra, error = self.h[:n], self.slope[:n], self.extra[:n], self.error[:n]
            h = full[:, : self.hidden]
            torch.mm(x, a, out=extra)
            torch.tanh(extra, out=h) if self.smooth else torch.clamp(extra, min=0, out=h)
            torch.mm(full, b, out=error)
            torch.softmax(error, 1, out=error)
            error.sub_(y).div_(self.samples)
            self.db.addmm_(error.T, full)
            torch.mm(error, back, out=slope)
            if self.smooth:  # slope * (1 - h^2)
                torch.mul(h, h, out=extra)
                slope.addcmul_(slope, extra, value=-1)
            else:
                slope.mul_(torch.sign(h, out=extra))
            self.da.addmm_(x.T, slope)
        return self.da, self.db.T
