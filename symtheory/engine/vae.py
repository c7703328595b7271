r"""Minibatch training of a $\beta$-VAE by hand-written gradients, one network at a time.

The encoder is two networks $x\mapsto\mu$ and $x\mapsto\ell=\log\sigma^2$, the decoder one, $z\mapsto\hat x$; each has
two layers, with SiLU between them. With $z=\mu+e^{\ell/2}\varepsilon$, $\varepsilon\sim N(0,I)$, and the prior
$N(0,\eta I)$ of the latent, the loss of an image is
$$\tfrac12\|\hat x-x\|^2+\beta\,\tfrac12\sum_i\Big(\frac{\mu_i^2+e^{\ell_i}}\eta-1-\ell_i+\log\eta\Big);$$
that of a batch is the mean. All weights are views into one vector, the encoder's first, and so are their gradients. A
static bias is added to it before the network is run, while the optimiser and its decay see it without. Nothing but the
noise is allocated in a step. Source of the loss: Wang and Ziyin (2022), with decoder variance 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from symtheory.engine import mlp
from symtheory.errors import SymtheoryError

#: The encoder's parameter and the decoder's to an optimiser of both.
MakeOptimizer = Callable[[Tensor, Tensor], Optimizer]


class Layers(NamedTuple):
    """Weights and biases of each layer, or their gradients.

    Attributes:
        first: From the image to the hidden units of both encoders: those of the mean, then those of the log variance.
        mean: From the former to the mean.
        spread: From the latter to the log variance.
        hidden: From the latent to the decoder's hidden units.
        image: From these to the image.
    """

    first: tuple[Tensor, Tensor]
    mean: tuple[Tensor, Tensor]
    spread: tuple[Tensor, Tensor]
    hidden: tuple[Tensor, Tensor]
    image: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Shape:
    """Layers of the three networks.

    Attributes:
        inputs: Pixels.
        hidden: Hidden units of each network.
        latent: Latent variables.
    """

    inputs: int
    hidden: int
    latent: int

    def __post_init__(self) -> None:
        if min(self.inputs, self.hidden, self.latent) < 1:
            raise SymtheoryError("positive widths", f"{self}", "such as Shape(784, 200, 200)")

    @property
    def _parts(self) -> tuple[mlp.Shape, ...]:
        """First layers of the encoders, their second layers, the decoder."""
        d, h, k = self.inputs, self.hidden, self.latent
        return mlp.Shape((d, 2 * h)), mlp.Shape((h, k)), mlp.Shape((h, k)), mlp.Shape((k, h, d))

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(p.size for p in self._parts)

    @property
    def encoder(self) -> int:
        """Number of those of the encoder, which come first."""
        return sum(p.size for p in self._parts[:-1])

    def layers(self, vector: Tensor) -> Layers:
        """Weights and biases as views.

        Args:
            vector: Shape ``(size,)``.

        Returns:
            ``W`` (inputs, outputs) and ``b`` (outputs,) of each layer.

        >>> shape = Shape(5, 3, 2)
        >>> [tuple(w.shape) for w, _ in shape.layers(torch.zeros(shape.size))]
        [(5, 6), (3, 2), (3, 2), (2, 3), (3, 5)]
        """
        pieces = vector.split([p.size for p in self._parts])
        return Layers(*(layer for p, piece in zip(self._parts, pieces, strict=True) for layer in p.layers(piece)))

    def start(self, generator: torch.Generator) -> Tensor:
        """Weights and biases as ``torch.nn.Linear`` draws them.

        Args:
            generator: Source of randomness.

        Returns:
            Shape ``(size,)``.
        """
        return torch.cat([p.start(generator) for p in self._parts])

    def scale(self) -> Tensor:
        r"""The unit of a static bias: $1/\sqrt{\text{fan-in}}$ of every parameter.

        Returns:
            Shape ``(size,)``.
        """
        return torch.cat([p.scale() for p in self._parts])


@dataclass(frozen=True)
class Weighing:
    r"""What the KL divergence is measured against, and what it counts.

    Attributes:
        beta: $\beta$.
        prior: $\eta$, the variance of the latent's prior.
    """

    beta: float
    prior: float

    def __post_init__(self) -> None:
        if self.beta < 0 or self.prior <= 0:
            raise SymtheoryError("beta >= 0 and a positive prior variance", f"{self}", "such as Weighing(1.0, 0.01)")


def encode(shape: Shape, vector: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    r"""Posterior of the latent.

    Args:
        shape: Widths.
        vector: Parameters that are run, shape ``(size,)``.
        inputs: Shape ``(samples, inputs)``.

    Returns:
        $\mu$ and $\ell=\log\sigma^2$, of shape ``(samples, latent)`` each.
    """
    (w, b), (wm, bm), (ws, bs), *_ = shape.layers(vector)
    left, right = torch.nn.functional.silu(torch.addmm(b, inputs, w)).split(shape.hidden, 1)
    return torch.addmm(bm, left, wm), torch.addmm(bs, right, ws)


def decode(shape: Shape, vector: Tensor, latent: Tensor) -> Tensor:
    """Images of latent variables.

    Args:
        shape: Widths.
        vector: Parameters that are run.
        latent: Shape ``(samples, latent)``.

    Returns:
        Shape ``(samples, inputs)``.
    """
    *_, (w, b), (wi, bi) = shape.layers(vector)
    return torch.addmm(bi, torch.nn.functional.silu(torch.addmm(b, latent, w)), wi)


def divergence(mean: Tensor, spread: Tensor, prior: float) -> Tensor:
    r"""KL divergence of the posterior from the prior, image by image.

    Args:
        mean: $\mu$, shape ``(samples, latent)``.
        spread: $\log\sigma^2$, of the same shape.
        prior: $\eta$.

    Returns:
        Shape ``(samples,)``, in nats.

    >>> divergence(torch.zeros(1, 3), torch.zeros(1, 3), 1.0)
    tensor([0.])
    """
    ratio = spread - math.log(prior)
    return 0.5 * (mean.square() / prior + ratio.exp() - 1 - ratio).sum(1)


class Scores(NamedTuple):
    """What a network does on some images, mean over them.

    Attributes:
        reconstruction: Half the squared error, summed over pixels, with a sampled latent.
        noiseless: The same with the latent at its mean.
        divergence: KL divergence, in nats, without its weight.
    """

    reconstruction: float
    noiseless: float
    divergence: float


@torch.no_grad()
def evaluate(shape: Shape, vector: Tensor, inputs: Tensor, prior: float, generator: torch.Generator) -> Scores:
    """Both parts of the loss.

    Args:
        shape: Widths.
        vector: Parameters that are run.
        inputs: Shape ``(samples, inputs)``.
        prior: Variance of the latent's prior.
        generator: Source of the latent's noise, on the device of the inputs.

    Returns:
        The scores.
    """
    mean, spread = encode(shape, vector, inputs)
    noise = torch.empty_like(mean).normal_(generator=generator)
    errors = [
        float(0.5 * (decode(shape, vector, z) - inputs).square().sum(1).mean())
        for z in (mean + (0.5 * spread).exp() * noise, mean)
    ]
    return Scores(*errors, divergence=float(divergence(mean, spread, prior).mean()))


class Gradient:
    """Gradient of the loss for batches of one size.

    Args:
        shape: Widths.
        weighing: Weight and scale of the KL divergence.
        batch: Images of a batch.
        like: Any tensor of the type and on the device to compute with.
    """

    def __init__(self, shape: Shape, weighing: Weighing, batch: int, like: Tensor) -> None:
        d, h, k = shape.inputs, shape.hidden, shape.latent
        self.weights, self.vector = torch.empty(shape.size).to(like), torch.empty(shape.size).to(like)
        self._w, self._g, self._weighing, self._h = shape.layers(self.weights), shape.layers(self.vector), weighing, h
        widths = {"a": 2 * h, "unit": 2 * h, "da": 2 * h, "mean": k, "spread": k, "std": k, "z": k, "b": h, "db": h}
        self._at = {n: torch.empty(batch, w).to(like) for n, w in {**widths, "dunit": h, "image": d}.items()}

    def __call__(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """Put the gradient at ``weights`` into ``vector``.

        Args:
            inputs: Shape ``(batch, inputs)``.
            noise: Standard normal, shape ``(batch, latent)``.

        Returns:
            Half the squared error, mean over the batch, a scalar.
        """
        w, g, at, h, count = self._w, self._g, self._at, self._h, len(inputs)
        pull = self._weighing.beta / (count * self._weighing.prior)
        silu, slope = torch.ops.aten.silu.out, torch.ops.aten.silu_backward.grad_input
        left, right = slice(None, h), slice(h, None)
        torch.addmm(w.first[1], inputs, w.first[0], out=at["a"])
        silu(at["a"], out=at["unit"])
        torch.addmm(w.mean[1], at["unit"][:, left], w.mean[0], out=at["mean"])
        torch.addmm(w.spread[1], at["unit"][:, right], w.spread[0], out=at["spread"])
        torch.mul(at["spread"], 0.5, out=at["std"]).exp_()
        torch.addcmul(at["mean"], at["std"], noise, out=at["z"])
        torch.addmm(w.hidden[1], at["z"], w.hidden[0], out=at["b"])
        unit = at["dunit"]
        silu(at["b"], out=unit)
        error = torch.addmm(w.image[1], unit, w.image[0], out=at["image"]).sub_(inputs).div_(count)
        loss = 0.5 * count * error.square().sum()
        _layer(g.image, unit, error)
        slope(torch.mm(error, w.image[0].T, out=at["db"]), at["b"], grad_input=at["db"])
        _layer(g.hidden, at["z"], at["db"])
        dz = torch.mm(at["db"], w.hidden[0].T, out=at["z"])
        # the log variance: its noise in the image, and beta/2 (var / prior - 1)
        ds = torch.mul(dz, noise, out=at["spread"]).add_(at["std"], alpha=pull).mul_(at["std"])
        ds.sub_(pull * self._weighing.prior).mul_(0.5)
        dm = dz.add_(at["mean"], alpha=pull)
        _layer(g.mean, at["unit"][:, left], dm)
        _layer(g.spread, at["unit"][:, right], ds)
        torch.mm(dm, w.mean[0].T, out=at["dunit"])
        at["da"][:, left] = at["dunit"]
        torch.mm(ds, w.spread[0].T, out=at["dunit"])
        at["da"][:, right] = at["dunit"]
        slope(at["da"], at["a"], grad_input=at["da"])
        _layer(g.first, inputs, at["da"])
        return loss


def _layer(into: tuple[Tensor, Tensor], below: Tensor, error: Tensor) -> None:
    """Gradient of one layer."""
    torch.mm(below.T, error, out=into[0])
    torch.sum(error, 0, out=into[1])


@torch.no_grad()
def train(
    shape: Shape,
    weighing: Weighing,
    start: Tensor,
    bias: Tensor,
    optimizer: MakeOptimizer,
    batches: Iterable[Tensor],
    generator: torch.Generator,
    steps: int,
) -> Tensor:
    """Train one network.

    Args:
        shape: Widths.
        weighing: Weight and scale of the KL divergence.
        start: Parameters that are run at the start, shape ``(size,)``; not modified.
        bias: Static bias; zeros for a plain network.
        optimizer: Makes the optimiser; its ``weight_decay`` acts on the parameters less the bias.
        batches: Images, shape ``(batch, inputs)``, all of one size.
        generator: Source of the latent's noise, on the device of the images.
        steps: Number of steps.

    Returns:
        Parameters that are run at the end.

    Raises:
        SymtheoryError: If the batches end too early.
    """
    free, slope, done = start - bias, None, 0
    encoder, decoder = (part.requires_grad_(True) for part in free.split([shape.encoder, shape.size - shape.encoder]))
    moved = optimizer(encoder, decoder)
    for x in islice(batches, steps):
        if slope is None:
            slope = Gradient(shape, weighing, len(x), start)
            encoder.grad, decoder.grad = slope.vector.split([len(encoder), len(decoder)])
        torch.add(free, bias, out=slope.weights)
        slope(x, torch.randn(len(x), shape.latent, generator=generator, dtype=x.dtype, device=x.device))
        moved.step()
        done += 1
    if done < steps:
        raise SymtheoryError(f"{steps} batches", f"{done}", "give more data or take fewer steps")
    return free + bias
