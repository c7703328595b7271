r"""The small convolutional classifier of digits, one network at a time, for :mod:`symtheory.engine.training`.

Two convolutions with kernels of 5 x 5 and 10 and 20 channels, each followed by max-pooling over 2 x 2 and ReLU, make
320 features of an image of 28 x 28; two fully connected layers follow. The loss is the mean cross-entropy. All weights
are views into one vector, as in :mod:`symtheory.engine.mlp`. On a CPU in single precision the convolutions are compiled
(:mod:`symtheory.engine.kernels_convolution`); elsewhere they are PyTorch's, and the gradient is autograd's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from symtheory.engine import mlp
from symtheory.engine.kernels_convolution import (
    FIRST,
    GROUP,
    HALF,
    KERNEL,
    LAST,
    SECOND,
    SIDE,
    STRIP,
    backward,
    forward,
)
from symtheory.engine.training import Descending, Descent, Slope
from symtheory.errors import SymtheoryError

#: Shapes of the kernels.
_KERNELS = ((FIRST, 1, KERNEL, KERNEL), (SECOND, FIRST, KERNEL, KERNEL))
#: Numbers in weights and biases of both convolutions.
_SIZES = tuple(n for shape in _KERNELS for n in (math.prod(shape), shape[0]))
#: Images that are evaluated at once.
_CHUNK = 500


@dataclass(frozen=True)
class Shape:
    """Layers of the network.

    Attributes:
        hidden: Units between the fully connected layers.
        classes: Classes.
    """

    hidden: int = 50
    classes: int = 10

    @property
    def head(self) -> mlp.Shape:
        """The fully connected layers."""
        return mlp.Shape((SECOND * LAST * LAST, self.hidden, self.classes))

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(_SIZES) + self.head.size

    def layers(self, vector: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases as views.

        Args:
            vector: Shape ``(size,)``.

        Returns:
            Kernels (channels, channels below, 5, 5) and biases of both convolutions, then the layers of ``head``.

        >>> [tuple(w.shape) for w, _ in Shape().layers(torch.zeros(Shape().size))]
        [(10, 1, 5, 5), (20, 10, 5, 5), (320, 50), (50, 10)]
        """
        w1, b1, w2, b2, rest = vector.split([*_SIZES, self.head.size])
        return [(w1.view(_KERNELS[0]), b1), (w2.view(_KERNELS[1]), b2), *self.head.layers(rest)]

    def start(self, generator: torch.Generator) -> Tensor:
        r"""Weights and biases as PyTorch's layers draw them, $\mathrm{Uniform}(\pm1/\sqrt{\text{fan-in}})$.

        Args:
            generator: Source of randomness.

        Returns:
            Shape ``(size,)``.
        """
        return (2 * torch.rand(self.size, generator=generator) - 1) * self.scale()

    def scale(self) -> Tensor:
        r"""The unit of a static bias: $1/\sqrt{\text{fan-in}}$ of every parameter.

        Returns:
            Shape ``(size,)``.
        """
        vector = torch.ones(self.size)
        for w, b in self.layers(vector):
            fan = w[0].numel() if w.dim() == 4 else len(w)
            w.mul_(fan**-0.5)
            b.mul_(fan**-0.5)
        return vector

    def gradient(self, batch: int, like: Tensor) -> Slope:
        """What an optimiser of PyTorch needs.

        Args:
            batch: Images of a batch.
            like: Any tensor of the type and on the device to compute with.

        Returns:
            The compiled gradient for single precision on a CPU, else autograd's.
        """
        return Gradient(self, batch) if _compiled(like) else AutogradGradient(self, like)

    def descent(self, batch: int, start: Tensor, bias: Tensor, rule: Descent) -> Descending:
        """SGD.

        Args:
            batch: Images of a batch.
            start: Parameters that are run at the start, shape ``(size,)``; not modified.
            bias: Static bias.
            rule: Learning rate and decay.

        Returns:
            Steps by the gradient: against the convolutions, moving the weights costs nothing.
        """
        return Descending(self.gradient(batch, start), start, bias, rule)


def _compiled(tensor: Tensor) -> bool:
    """Whether the kernels can treat it."""
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def outputs(shape: Shape, vector: Tensor, inputs: Tensor) -> list[Tensor]:
    """What each layer gives after pooling, before its activation; the last is the logits.

    Args:
        shape: Layers.
        vector: Parameters that are run, shape ``(size,)``.
        inputs: Shape ``(samples, 784)``.

    Returns:
        Tensors of shapes ``(samples, 10, 12, 12)``, ``(samples, 20, 4, 4)``, ``(samples, hidden)`` and
        ``(samples, classes)``.
    """
    found, h = [], inputs.view(-1, 1, SIDE, SIDE)
    for w, b in shape.layers(vector)[:2]:
        found.append(functional.max_pool2d(functional.conv2d(h, w, b), 2))
        h = found[-1].relu()
    return [*found, *mlp.outputs(shape.head, vector[sum(_SIZES) :], h.flatten(1))]


class Features:
    """Both convolution layers after pooling and ReLU, for batches of one size, in single precision on a CPU.

    Attributes:
        first: Images in groups side by side, shape ``(groups, 10, 12, GROUP, 12)``.
        second: Shape ``(batch, 20, 4, 4)``.
        places: For both, which of the four outputs in its window each is.

    Args:
        batch: Images of a batch.
    """

    def __init__(self, batch: int) -> None:
        self.first = torch.empty(-(-batch // GROUP), FIRST, HALF, GROUP, HALF)
        self.second = torch.empty(batch, SECOND, LAST, LAST)
        self.places = tuple(torch.empty(h.shape, dtype=torch.int32) for h in (self.first, self.second))

    def __call__(self, layers: list[tuple[Tensor, Tensor]], inputs: Tensor) -> Tensor:
        """Compute them.

        Args:
            layers: From :meth:`Shape.layers`.
            inputs: Shape ``(batch, 784)``.

        Returns:
            What the fully connected layers get, shape ``(batch, 320)``; overwritten by the next call.

        Raises:
            SymtheoryError: If the batch has another size.
        """
        if inputs.shape != (len(self.second), SIDE * SIDE):  # compiled code would write past the end
            expected = f"a batch of shape {(len(self.second), SIDE * SIDE)}"
            raise SymtheoryError(expected, f"{tuple(inputs.shape)}", "make another gradient for it")
        (w1, b1), (w2, b2), *_ = layers
        at1, at2 = self.places
        _call(forward, inputs.view(-1, SIDE, SIDE), w1, b1, w2, b2, self.first, at1, self.second, at2)
        return self.second.flatten(1)


def _call(kernel: Callable[..., None], *tensors: Tensor) -> None:
    """Give tensors to a kernel as arrays."""
    kernel(*(t.numpy() for t in tensors))


@torch.no_grad()
def evaluate(shape: Shape, vector: Tensor, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Loss and accuracy.

    Args:
        shape: Layers.
        vector: Parameters that are run.
        inputs: Shape ``(samples, 784)``.
        labels: Shape ``(samples,)``.

    Returns:
        Mean cross-entropy, and the part of the samples that is classified rightly.
    """
    logits = torch.cat([_logits(shape, vector, part) for part in inputs.split(_CHUNK)])
    return float(functional.cross_entropy(logits, labels)), float((logits.argmax(1) == labels).double().mean())


def _logits(shape: Shape, vector: Tensor, inputs: Tensor) -> Tensor:
    """The last layer's output."""
    if not _compiled(vector):
        return outputs(shape, vector, inputs)[-1]
    features = Features(len(inputs))(shape.layers(vector), inputs)
    return mlp.outputs(shape.head, vector[sum(_SIZES) :], features)[-1]


class AutogradGradient:
    """The gradient on any device, in any precision.

    Args:
        shape: Layers.
        like: Any tensor of the type and on the device to compute with.
    """

    def __init__(self, shape: Shape, like: Tensor) -> None:
        self.weights, self.vector = torch.empty(shape.size).to(like), torch.empty(shape.size).to(like)
        self._shape = shape

    @torch.enable_grad()
    def __call__(self, inputs: Tensor, labels: Tensor) -> None:
        """Put the gradient of the mean cross-entropy at ``weights`` into ``vector``.

        Args:
            inputs: Shape ``(batch, 784)``.
            labels: Shape ``(batch,)``.
        """
        weights = self.weights.detach().requires_grad_(True)
        loss = functional.cross_entropy(outputs(self._shape, weights, inputs)[-1], labels)
        self.vector.copy_(torch.autograd.grad(loss, weights)[0])


class Gradient:
    """The gradient for batches of one size, in single precision on a CPU.

    Args:
        shape: Layers.
        batch: Images of a batch.
    """

    def __init__(self, shape: Shape, batch: int) -> None:
        self.weights, self.vector = torch.empty(shape.size), torch.empty(shape.size)
        self._layers, self._grads = shape.layers(self.weights), shape.layers(self.vector)
        of_head = slice(sum(_SIZES), None)
        self._head = mlp.Gradient(shape.head, batch, self.weights[of_head], self.vector[of_head])
        self._features = Features(batch)
        self._strips, self._dstrips = (torch.zeros(SECOND, KERNEL, STRIP) for _ in range(2))

    def __call__(self, inputs: Tensor, labels: Tensor) -> None:
        """Put the gradient of the mean cross-entropy at ``weights`` into ``vector``.

        Args:
            inputs: Shape ``(batch, 784)``.
            labels: Shape ``(batch,)``.
        """
        (w2, _), found = self._layers[1], self._features
        self._head(found(self._layers, inputs), labels)
        errors = self._head.below().view(found.second.shape)
        _channels_last(self._strips).copy_(w2)
        (d1, db1), (d2, db2), *_ = self._grads
        seen = (found.first, found.places[0], found.second, found.places[1])
        _call(backward, inputs.view(-1, SIDE, SIDE), self._strips, *seen, errors, d1, db1, self._dstrips, db2)
        d2.copy_(_channels_last(self._dstrips))


def _channels_last(strips: Tensor) -> Tensor:
    """View of strips as kernels (channels, channels below, 5, 5)."""
    return strips[..., : KERNEL * FIRST].view(SECOND, KERNEL, KERNEL, FIRST).permute(0, 3, 1, 2)
