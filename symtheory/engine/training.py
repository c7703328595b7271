r"""Minibatch training of one network whose parameters are one vector.

A network is *run* at $\theta+\theta_0$, where $\theta_0$ is a static bias; an optimiser and its decay see $\theta$.
Any optimiser of PyTorch moves that one vector by a :class:`Slope`. :class:`Descent`, SGD without momentum, needs no
$\theta$ of its own: a step takes $\varphi = \theta+\theta_0$ to
$(1-\eta\lambda)\varphi+\eta\lambda\theta_0-\eta\nabla\ell(\varphi)$, which a network may do while it goes back through
its layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from symtheory.errors import SymtheoryError

#: One parameter to an optimiser of it.
MakeOptimizer = Callable[[Tensor], Optimizer]


@dataclass(frozen=True)
class Descent:
    r"""SGD without momentum.

    Attributes:
        lr: Learning rate $\eta$.
        decay: $\lambda$, PyTorch's ``weight_decay``.
    """

    lr: float
    decay: float = 0.0


@runtime_checkable
class Slope(Protocol):
    """The gradient of a loss for batches of one size.

    Attributes:
        weights: Where it is to be taken, shape ``(size,)``.
        vector: Where it is put, of the same shape.
    """

    weights: Tensor
    vector: Tensor

    def __call__(self, inputs: Tensor, labels: Tensor) -> None:
        """Put the gradient into ``vector``."""
        ...


@runtime_checkable
class Mover(Protocol):
    """Takes training steps.

    Attributes:
        weights: What is run, shape ``(size,)``.
    """

    weights: Tensor

    def __call__(self, inputs: Tensor, labels: Tensor) -> None:
        """Take a step on one batch."""
        ...


@runtime_checkable
class Network(Protocol):
    """What can be trained here."""

    def gradient(self, batch: int, like: Tensor) -> Slope:
        """The gradient for batches of one size, with the type and on the device of ``like``."""
        ...

    def descent(self, batch: int, start: Tensor, bias: Tensor, rule: Descent) -> Mover:
        """SGD for batches of one size, from a start that is not modified."""
        ...


class Optimized:
    """Steps of any optimiser.

    Args:
        slope: The gradient.
        start: Parameters that are run at the start, shape ``(size,)``; not modified.
        bias: Static bias.
        optimizer: Makes the optimiser of the parameters less the bias.
    """

    def __init__(self, slope: Slope, start: Tensor, bias: Tensor, optimizer: MakeOptimizer) -> None:
        self._slope, self._bias = slope, bias
        self._free = (start - bias).requires_grad_(True)
        self.weights = torch.add(self._free.detach(), bias, out=slope.weights)
        self._free.grad = slope.vector
        self._optimizer = optimizer(self._free)

    def __call__(self, inputs: Tensor, labels: Tensor) -> None:
        """Take a step.

        Args:
            inputs: A batch.
            labels: Its labels.
        """
        self._slope(inputs, labels)
        self._optimizer.step()
        torch.add(self._free.detach(), self._bias, out=self.weights)


class Descending:
    """Steps of SGD by a gradient.

    Args:
        slope: The gradient.
        start: Parameters that are run at the start, shape ``(size,)``; not modified.
        bias: Static bias.
        rule: Learning rate and decay.
    """

    def __init__(self, slope: Slope, start: Tensor, bias: Tensor, rule: Descent) -> None:
        self.weights = slope.weights.copy_(start)
        self._slope, self._rule, self._pull = slope, rule, pull(bias, rule)

    def __call__(self, inputs: Tensor, labels: Tensor) -> None:
        """Take a step.

        Args:
            inputs: A batch.
            labels: Its labels.
        """
        self._slope(inputs, labels)
        self.weights.mul_(1 - self._rule.lr * self._rule.decay).sub_(self._slope.vector, alpha=self._rule.lr)
        if self._pull is not None:
            self.weights.add_(self._pull)


def pull(bias: Tensor, rule: Descent) -> Tensor | None:
    r"""What the decay adds to the parameters that are run.

    Args:
        bias: Static bias $\theta_0$.
        rule: Learning rate and decay.

    Returns:
        $\eta\lambda\theta_0$, or ``None`` if there is nothing to add.

    >>> pull(torch.tensor([1.0, 2.0]), Descent(0.1, 0.5)).tolist(), pull(torch.zeros(2), Descent(0.1, 0.5))
    ([0.05..., 0.1...], None)
    """
    found = rule.lr * rule.decay * bias
    return found if bool(found.any()) else None


@torch.no_grad()
def train(
    network: Network,
    start: Tensor,
    bias: Tensor,
    optimizer: MakeOptimizer | Descent,
    batches: Iterable[tuple[Tensor, Tensor]],
    at: Sequence[int],
) -> Iterator[tuple[int, Tensor]]:
    """Train one network.

    Args:
        network: The network.
        start: Parameters that are run at the start, shape ``(size,)``; not modified.
        bias: Static bias; zeros for a plain network.
        optimizer: SGD, or what makes another optimiser; the decay acts on the parameters less the bias.
        batches: Inputs and labels, all of one size.
        at: Increasing numbers of steps after which the parameters are wanted.

    Yields:
        The number of steps and the parameters that are run; clone what is kept, and do not write to it.

    Raises:
        SymtheoryError: If the batches end too early.
    """
    move, wanted = None, set(at)
    if 0 in wanted:
        yield 0, start.clone()
    step = 0
    for step, (x, y) in enumerate(batches, start=1):
        if move is None:
            if isinstance(optimizer, Descent):
                move = network.descent(len(y), start, bias, optimizer)
            else:
                move = Optimized(network.gradient(len(y), start), start, bias, optimizer)
        move(x, y)
        if step in wanted:
            yield step, move.weights
        if step >= max(at):
            return
    raise SymtheoryError(f"{max(at)} batches", f"{step}", "give more data or take fewer steps")
