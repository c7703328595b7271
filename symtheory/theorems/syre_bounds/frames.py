r"""Reflections about planes off the origin, and the two frames in which their removal can be written.

A case has a loss $\ell$ on flat vectors with $\ell(\theta^*+z) = \ell(\theta^*+Rz)$, $R = I-2P$, $P\theta^* = \theta^*$. Removal with static bias
$\theta_0$, decay $\gamma$ and a positive diagonal $D$ is, in the frame of the trained parameters $\theta$ (eqs. (6), (7) of paper B),

$$\ell_{ar}(\theta) = \ell(\theta+\theta_0) + \gamma\|\theta\|_D^2,$$

and in the frame of the effective parameters $\varphi = \theta+\theta_0$,

$$\tilde\ell_{ar}(\varphi) = \ell(\varphi) + \gamma\|\varphi-\theta_0\|_D^2.$$

The symmetry of $\ell$ is about $\theta^*$ in the second frame and about $\theta^*-P\theta_0$ in the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from symtheory.spec.params import Shapes, flatten, shapes_of, unflatten
from symtheory.theorems.instances import KINDS, NETWORKS, Instance, abstract, generator_of, normal

PAPER = "Paper B"

#: Tensors of the abstract cases, small enough to search all centres of a reflection.
SHAPES: Shapes = {"u": (2, 2), "w": (2, 3), "b": (2,)}

FlatLoss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    r"""A loss with a reflection about $\theta^*$, and what removal adds to it.

    Attributes:
        name: Kind.
        loss: $\ell$ on flat vectors, symmetric.
        broken: The same without the symmetry.
        projection: Dense $P$.
        centre: $\theta^* = P\theta^*$.
        point: A generic $\theta$.
        bias: $\theta_0\sim\mathcal N(0, \sigma_0^2)$.
        stretch: Diagonal of $D$.
        gamma: $\gamma$ in the paper's convention.
        seed: Seed.
    """

    name: str
    loss: FlatLoss
    broken: FlatLoss
    projection: Tensor
    centre: Tensor
    point: Tensor
    bias: Tensor
    stretch: Tensor
    gamma: float
    seed: int

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.centre.numel()

    @cached_property
    def rank(self) -> int:
        """Dimension of the image of $P$."""
        return round(float(self.projection.trace()))

    @property
    def isotropic(self) -> Case:
        """The same with $D = I$."""
        return replace(self, stretch=torch.ones_like(self.stretch))

    def across(self, v: Tensor) -> Tensor:
        """$Pv$."""
        return v @ self.projection.T

    def reflect(self, v: Tensor) -> Tensor:
        """$(I - 2P)v$."""
        return v - 2 * self.across(v)

    def trained_frame(self, loss: FlatLoss | None = None) -> FlatLoss:
        r"""$\ell_{ar}(\theta) = \ell(\theta+\theta_0) + \gamma\|\theta\|_D^2$.

        Args:
            loss: Another $\ell$, for controls.

        Returns:
            A loss on flat vectors.
        """
        plain = self.loss if loss is None else loss
        return lambda v: plain(v + self.bias) + self.gamma * (self.stretch * v * v).sum()

    def effective_frame(self, loss: FlatLoss | None = None) -> FlatLoss:
        r"""$\tilde\ell_{ar}(\varphi) = \ell(\varphi) + \gamma\|\varphi-\theta_0\|_D^2$.

        Args:
            loss: Another $\ell$, for controls.

        Returns:
            A loss on flat vectors.
        """
        plain = self.loss if loss is None else loss
        return lambda v: plain(v) + self.gamma * (self.stretch * (v - self.bias) ** 2).sum()


def centred(instance: Instance, sigma0: float = 0.7, spread: float = 0.1, gamma: float = 0.3) -> Case:
    r"""Move the mirror of an instance to a random centre and draw bias and anisotropy.

    Args:
        instance: A loss symmetric about the origin.
        sigma0: Standard deviation $\sigma_0$ of the bias.
        spread: $D_{ii}\sim\mathrm{Uniform}(1-\epsilon, 1+\epsilon)$ with this $\epsilon$.
        gamma: $\gamma$.

    Returns:
        The case; its loss is the mean over two samples.
    """
    g, shapes = generator_of(instance.seed + 1), shapes_of(instance.params)
    projection, n = instance.mirror.to_dense(shapes), instance.size
    centre = projection @ normal(g, n)

    def moved(name: str) -> FlatLoss:
        plain = instance.loss if name == "loss" else instance.broken

        def loss(v: Tensor) -> Tensor:
            params = unflatten(v - centre, shapes)
            return torch.stack([plain(params, x) for x in instance.samples[:2]]).mean()

        return loss

    return Case(
        name=instance.name,
        loss=moved("loss"),
        broken=moved("broken"),
        projection=projection,
        centre=centre,
        point=flatten(instance.params),
        bias=sigma0 * normal(g, n),
        stretch=1 + spread * (2 * torch.rand(n, generator=g, dtype=torch.float64) - 1),
        gamma=gamma,
        seed=instance.seed,
    )


def case(kind: str, seed: int) -> Case:
    """A random smooth loss symmetrised about a random plane.

    Args:
        kind: Kind of mirror, one of ``KINDS``.
        seed: Seed.

    Returns:
        The case.
    """
    return centred(abstract(kind, seed, SHAPES, samples=2))


def abstract_cases(seed: int) -> list[Case]:
    """One case of every kind of mirror.

    Args:
        seed: Seed.

    Returns:
        The cases.
    """
    return [case(kind, seed) for kind in KINDS]


def all_cases(seed: int) -> list[Case]:
    """Every kind of mirror and every network of the bank, its parameters shifted.

    Args:
        seed: Seed.

    Returns:
        The cases.
    """
    return abstract_cases(seed) + [centred(make(seed)) for make in NETWORKS.values()]


def reflection_residual(
    loss: FlatLoss, projection: Tensor, centre: Tensor, seed: int, probes: int = 4, spread: float = 1.0
) -> float:
    r"""$\max_z|\ell(\theta'+z) - \ell(\theta'+Rz)|$ over random $z$, relative to the variation of the loss.

    Args:
        loss: Loss on flat vectors.
        projection: Dense $P$.
        centre: $\theta'$.
        seed: Seed of the probes.
        probes: Their number.
        spread: Standard deviation of $z$.

    Returns:
        A number of order one for a generic loss and of order of rounding for a symmetric one.
    """
    z = spread * normal(generator_of(seed), probes, centre.numel())
    values = torch.stack([loss(centre + v) for v in z])
    images = torch.stack([loss(centre + v - 2 * projection @ v) for v in z])
    scale = float(values.max() - values.min()) or float(values.abs().max()) or 1.0
    return float((values - images).abs().max()) / scale


#: Rounding of losses with up to fifty parameters whose variation is a tenth of their size or more.
REFLECTION_TOLERANCE = 1e-11
