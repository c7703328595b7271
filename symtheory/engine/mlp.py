r"""Fully connected ReLU classifiers with hand-written gradients, for :mod:`symtheory.engine.training`.

The network is $h_0 = x$, $z_k = h_{k-1}W_k + b_k$, $h_k = \mathrm{relu}(z_k)$, with the last $z$ as logits; the loss is
the mean cross-entropy. All weights are views into one vector, and so are their gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from symtheory.engine.training import Descent, pull
from symtheory.errors import SymtheoryError


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
        """What an optimiser of PyTorch needs.

        Args:
            batch: Samples of a batch.
            like: Any tensor of the type and on the device to compute with.

        Returns:
            The gradient by hand.
        """
        return Gradient(self, batch, *(torch.empty(self.size).to(like) for _ in range(2)))

    def descent(self, batch: int, start: Tensor, bias: Tensor, rule: Descent) -> FoldedDescent:
        """SGD.

        Args:
            batch: Samples of a batch.
            start: Parameters that are run at the start, shape ``(size,)``; not modified.
            bias: Static bias.
            rule: Learning rate and decay.

        Returns:
            Steps that need no gradient to be stored.
        """
        return FoldedDescent(self, batch, start, bias, rule)


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


class Propagation:
    """Forward and back through the layers, for batches of one size.

    Attributes:
        layers: Weights and biases, as views.
        errors: Gradients by what the layers gave before their activation; overwritten by the next call.

    Args:
        shape: Layers.
        batch: Samples of a batch.
        weights: Parameters that are run, shape ``(size,)``; what is done to them is seen here.
    """

    def __init__(self, shape: Shape, batch: int, weights: Tensor) -> None:
        self.layers = shape.layers(weights)
        self._units = [torch.empty(batch, n).to(weights) for n in shape.widths[1:]]
        self.errors = [torch.empty_like(h) for h in self._units]
        self._rows = torch.arange(batch, device=weights.device)

    def __call__(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Go forward, then back from the last layer to the first.

        Args:
            inputs: Shape ``(batch, inputs)``.
            labels: Shape ``(batch,)``.

        Yields:
            A layer's index, what it got, and the gradient of the mean cross-entropy by what it gave. Its weights are
            not needed any more and may be changed.
        """
        h, last = inputs, len(self.layers) - 1
        for k, ((w, b), z) in enumerate(zip(self.layers, self._units, strict=True)):
            torch.addmm(b, h, w, out=z)
            h = z if k == last else z.relu_()
        error = self.errors[last]
        torch.log_softmax(self._units[last], 1, out=error)
        error.exp_()
        error[self._rows, labels] -= 1
        error.div_(len(labels))
        for k in range(last, 0, -1):
            below = self._units[k - 1]
            next_error = torch.mm(error, self.layers[k][0].T, out=self.errors[k - 1])
            yield k, below, error
            error = next_error.mul_(torch.sign(below))  # what relu let through is positive
        yield 0, inputs, error


class Gradient:
    """The gradient for batches of one size.

    Args:
        shape: Layers.
        batch: Samples of a batch.
        weights: Where it is taken, shape ``(size,)``.
        vector: Where it is put, of the same shape.
    """

    def __init__(self, shape: Shape, batch: int, weights: Tensor, vector: Tensor) -> None:
        self.weights, self.vector = weights, vector
        self._through, self._grads = Propagation(shape, batch, weights), shape.layers(vector)
        self._below = torch.empty(batch, shape.widths[0]).to(weights)

    def __call__(self, inputs: Tensor, labels: Tensor) -> None:
        """Put the gradient of the mean cross-entropy at ``weights`` into ``vector``.

        Args:
            inputs: Shape ``(batch, inputs)``.
            labels: Shape ``(batch,)``.
        """
        for k, below, error in self._through(inputs, labels):
            dw, db = self._grads[k]
            torch.mm(below.T, error, out=dw)
            torch.sum(error, 0, out=db)

    def below(self) -> Tensor:
        """Gradient of the last call by its inputs, for what lies below them.

        Returns:
            Shape ``(batch, inputs)``; overwritten by the next call.
        """
        return torch.mm(self._through.errors[0], self._through.layers[0][0].T, out=self._below)


class FoldedDescent:
    r"""SGD with every step folded into the products that make the gradient: $W\leftarrow cW-\eta h^\top e$ at once.

    Args:
        shape: Layers.
        batch: Samples of a batch.
        start: Parameters that are run at the start, shape ``(size,)``; not modified.
        bias: Static bias.
        rule: Learning rate and decay.
    """

    def __init__(self, shape: Shape, batch: int, start: Tensor, bias: Tensor, rule: Descent) -> None:
        self.weights = start.clone()
        self._through, self._pull = Propagation(shape, batch, self.weights), pull(bias, rule)
        self._lr, self._kept = rule.lr, 1 - rule.lr * rule.decay

    def __call__(self, inputs: Tensor, labels: Tensor) -> None:
        """Take a step.

        Args:
            inputs: Shape ``(batch, inputs)``.
            labels: Shape ``(batch,)``.
        """
        for k, below, error in self._through(inputs, labels):
            w, b = self._through.layers[k]
            w.addmm_(below.T, error, beta=self._kept, alpha=-self._lr)
            b.mul_(self._kept).sub_(error.sum(0), alpha=self._lr)
        if self._pull is not None:
            self.weights.add_(self._pull)
