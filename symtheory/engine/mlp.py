r"""Minibatch training of fully connected ReLU classifiers by hand-written gradients, one network at a time.

The network is $h_0 = x$, $z_k = h_{k-1}W_k + b_k$, $h_k = \mathrm{relu}(z_k)$, with the last $z$ as logits; the loss is
the mean cross-entropy. All weights are views into one vector, and so are their gradients: an optimiser of PyTorch moves
that one vector. A static bias is added to it before the network is run, while the optimiser and its decay see it
without. Nothing is allocated in a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from symtheory.errors import SymtheoryError

#: One parameter to an optimiser of it.
MakeOptimizer = Callable[[Tensor], Optimizer]


@runtime_checkable
class Slope(Protocol):
    """The gradient of a loss for batches of one size.

    Attributes:
        weights: Where it is to be taken, shape ``(size,)``.
        vector: Where it is put, of the same shape.
    """

    weights: Tensor
    vector: Tensor

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Put the gradient into ``vector``, and return the loss."""
        ...


@runtime_checkable
class Network(Protocol):
    """What can be trained here."""

    def gradient(self, batch: int, like: Tensor) -> Slope:
        """The gradient for batches of one size, with the type and on the device of ``like``."""
        ...


@dataclass(frozen=True)
class Shape:
    """Layers of a network.

    Attributes:
        widths: Inputs, hidden units of each layer, classes.
    """

    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise SymtheoryError("positive widths of at least two layers", f"{self.widths}", "such as (784, 300, 10)")

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum((a + 1) * b for a, b in pairwise(self.widths))

    def layers(self, vector: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases as views.

        Args:
            vector: Shape ``(size,)``.

        Returns:
            ``W`` (inputs, outputs) and ``b`` (outputs,) of each layer.

        >>> [tuple(w.shape) for w, _ in Shape((3, 5, 2)).layers(torch.zeros(32))]
        [(3, 5), (5, 2)]
        """
        found, at = [], 0
        for a, b in pairwise(self.widths):
            found.append((vector[at : at + a * b].view(a, b), vector[at + a * b : at + (a + 1) * b]))
            at += (a + 1) * b
        return found

    def start(self, generator: torch.Generator) -> Tensor:
        r"""Weights and biases as ``torch.nn.Linear`` draws them, $\mathrm{Uniform}(\pm1/\sqrt{\text{fan-in}})$.

        Args:
            generator: Source of randomness.

        Returns:
            Shape ``(size,)``.
        """
        vector = 2 * torch.rand(self.size, generator=generator) - 1
        for w, b in self.layers(vector):
            w.mul_(len(w) ** -0.5)
            b.mul_(len(w) ** -0.5)
        return vector

    def scale(self) -> Tensor:
        r"""The unit of a static bias: $1/\sqrt{\text{fan-in}}$ of every parameter.

        Returns:
            Shape ``(size,)``.
        """
        vector = torch.ones(self.size)
        for w, b in self.layers(vector):
            w.mul_(len(w) ** -0.5)
            b.mul_(len(w) ** -0.5)
        return vector

    def gradient(self, batch: int, like: Tensor) -> Gradient:
        """What :func:`train` needs.

        Args:
            batch: Samples of a batch.
            like: Any tensor of the type and on the device to compute with.

        Returns:
            The gradient by hand.
        """
        return Gradient(self, batch, like)


def outputs(shape: Shape, vector: Tensor, inputs: Tensor) -> list[Tensor]:
    """What each layer gives before its activation; the last is the logits.

    Args:
        shape: Layers.
        vector: Parameters that are run, shape ``(size,)``.
        inputs: Shape ``(samples, inputs)``.

    Returns:
        One tensor of shape ``(samples, units)`` a layer.
    """
    found = []
    for w, b in shape.layers(vector):
        found.append(torch.addmm(b, found[-1].relu() if found else inputs, w))
    return found


@torch.no_grad()
def evaluate(shape: Shape, vector: Tensor, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Loss and accuracy.

    Args:
        shape: Layers.
        vector: Parameters that are run.
        inputs: Shape ``(samples, inputs)``.
        labels: Shape ``(samples,)``.

    Returns:
        Mean cross-entropy, and the part of the samples that is classified rightly.
    """
    logits = outputs(shape, vector, inputs)[-1]
    loss = torch.nn.functional.cross_entropy(logits, labels)
    return float(loss), float((logits.argmax(1) == labels).double().mean())


class Gradient:
    """Loss and gradient for batches of one size.

    Args:
        shape: Layers.
        batch: Samples of a batch.
        like: Any tensor of the type and on the device to compute with.
    """

    def __init__(self, shape: Shape, batch: int, like: Tensor) -> None:
        self.weights, self.vector = torch.empty(shape.size).to(like), torch.empty(shape.size).to(like)
        self._layers = shape.layers(self.weights)
        self._grads = shape.layers(self.vector)
        self._units = [torch.empty(batch, n).to(like) for n in shape.widths[1:]]
        self._errors = [torch.empty_like(h) for h in self._units]
        self._rows = torch.arange(batch, device=like.device)

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Put the gradient at ``weights`` into ``vector``.

        Args:
            inputs: Shape ``(batch, inputs)``.
            labels: Shape ``(batch,)``.

        Returns:
            The mean cross-entropy, a scalar.
        """
        h, last = inputs, len(self._layers) - 1
        for k, ((w, b), z) in enumerate(zip(self._layers, self._units, strict=True)):
            torch.addmm(b, h, w, out=z)
            h = z if k == last else z.relu_()
        error = self._errors[last]
        torch.log_softmax(self._units[last], 1, out=error)
        loss = -error[self._rows, labels].mean()
        error.exp_()
        error[self._rows, labels] -= 1
        error.div_(len(labels))
        for k in range(last, -1, -1):
            below = self._units[k - 1] if k else inputs
            dw, db = self._grads[k]
            torch.mm(below.T, error, out=dw)
            torch.sum(error, 0, out=db)
            if k:
                error = torch.mm(error, self._layers[k][0].T, out=self._errors[k - 1])
                error.mul_(torch.sign(below))  # what relu let through is positive
        return loss

    def below(self) -> Tensor:
        """Gradient of the last call by its inputs, for what lies below them.

        Returns:
            Shape ``(batch, inputs)``.
        """
        return torch.mm(self._errors[0], self._layers[0][0].T)


@torch.no_grad()
def train(
    shape: Network,
    start: Tensor,
    bias: Tensor,
    optimizer: MakeOptimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    at: Sequence[int],
) -> Iterator[tuple[int, Tensor]]:
    """Train one network.

    Args:
        shape: The network: :class:`Shape`, or that of another module.
        start: Parameters that are run at the start, shape ``(size,)``; not modified.
        bias: Static bias; zeros for a plain network.
        optimizer: Makes the optimiser; its ``weight_decay`` acts on the parameters less the bias.
        batches: Inputs and labels, all of one size.
        at: Increasing numbers of steps after which the parameters are wanted.

    Yields:
        The number of steps and the parameters that are run; the tensor is reused: clone what is kept.

    Raises:
        SymtheoryError: If the batches end too early.
    """
    free = (start - bias).requires_grad_(True)
    moved, slope, wanted = optimizer(free), None, set(at)
    run = torch.empty_like(start)
    if 0 in wanted:
        yield 0, run.copy_(start)
    step = 0
    for step, (x, y) in enumerate(batches, start=1):
        if slope is None:
            slope = shape.gradient(len(y), start)
            free.grad = slope.vector
        torch.add(free.detach(), bias, out=slope.weights)
        slope(x, y)
        moved.step()
        if step in wanted:
            yield step, torch.add(free.detach(), bias, out=run)
        if step >= max(at):
            return
    raise SymtheoryError(f"{max(at)} batches", f"{step}", "give more data or take fewer steps")
