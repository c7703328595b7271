r"""Symmetric losses whose curvature bound is known, and a search for all their minima; the ground of Theorem 1.4."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.func import jacrev

from symtheory.engine.model import Batch, Loss
from symtheory.spec import families
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params, flatten, shapes_of, size_of, unflatten
from symtheory.theorems.instances import (
    generator_of,
    normal,
    orthonormal,
    random_mirror,
    symmetrized,
)


@dataclass(frozen=True)
class Landscape:
    r"""A symmetric loss with a known lower bound on its Hessian.

    Attributes:
        name: Kind.
        loss: $\ell_0(\theta, \cdot)$, non-negative, with the symmetry.
        broken: The same without the symmetry.
        mirror: The mirror.
        params: A generic point.
        lambda_min: Lower bound of the Hessian's eigenvalues, everywhere.
        exact: The exact threshold if known in closed form.
        seed: Seed.
    """

    name: str
    loss: Loss
    broken: Loss
    mirror: Mirror
    params: Params
    lambda_min: float
    exact: float | None
    seed: int


def waves(kind: str, seed: int, count: int = 5) -> Landscape:
    r"""$\sum_k a_k(1 - \cos(b_k\cdot\theta + d_k))$, symmetrised: many minima, Hessian $\ge -\sum_k a_k|b_k|^2$.

    Args:
        kind: Kind of mirror.
        seed: Seed.
        count: Number of waves.

    Returns:
        The landscape.
    """
    g = generator_of(seed)
    shapes = {"u": (2, 2), "w": (2, 2), "b": (2,)}
    mirror, n = random_mirror(kind, g, shapes), size_of(shapes)
    a, b, d = torch.rand(count, generator=g, dtype=torch.float64) + 0.5, normal(g, count, n), normal(g, count)

    def plain(params: Params, _: Batch) -> Tensor:
        return (a * (1 - torch.cos(b @ flatten(params) + d))).sum()

    bound = -float((a * b.square().sum(1)).sum())
    params = {k: normal(g, *s) for k, s in shapes.items()}
    return Landscape(f"waves, {kind}", symmetrized(plain, mirror), plain, mirror, params, bound, None, seed)


def double_well(seed: int, depth: float = 1.5) -> Landscape:
    r"""$\tfrac14(\|Pw\|^2 - a)^2 + \tfrac12\|(I-P)w - c\|^2$: $\lambda_{\min} = -a$ and the threshold $a/2$ is exact.

    Args:
        seed: Seed of the random mirror and of $c$.
        depth: $a$.

    Returns:
        The landscape.
    """
    g = generator_of(seed)
    shapes = {"w": (6,)}
    mirror = families.from_basis(orthonormal(6, 2, g), shapes)
    target, tilt = mirror.symmetrize({"w": normal(g, 6)})["w"], normal(g, 6)

    def loss(params: Params, _: Batch) -> Tensor:
        across = mirror.project(params)["w"]
        return (across.square().sum() - depth) ** 2 / 4 + (params["w"] - across - target).square().sum() / 2

    def broken(params: Params, batch: Batch) -> Tensor:
        return loss(params, batch) + 4 + torch.sin(tilt @ params["w"])

    return Landscape("double well", loss, broken, mirror, {"w": normal(g, 6)}, -depth, depth / 2, seed)


def minima(
    loss: Loss, params: Params, generator: torch.Generator, starts: int = 3, spread: float = 3.0
) -> list[Params]:
    r"""Local minima found by an exact trust-region method from random starts.

    Args:
        loss: A smooth loss of ``(params, None)``.
        params: For the shapes.
        generator: Source of the starts.
        starts: How many.
        spread: Standard deviation of the starts.

    Returns:
        One minimum per start whose gradient came below 1e-8.
    """
    shapes, found = shapes_of(params), []

    def value(z: Tensor) -> Tensor:
        return loss(unflatten(z, shapes), None)

    slope, curvature = jacrev(value), jacrev(jacrev(value))
    for _ in range(starts):
        result = minimize(
            lambda z: float(value(torch.from_numpy(z))),
            (spread * normal(generator, size_of(shapes))).numpy(),
            method="trust-exact",
            jac=lambda z: slope(torch.from_numpy(z)).numpy(),
            hess=lambda z: curvature(torch.from_numpy(z)).numpy(),
            options={"gtol": 1e-9, "maxiter": 200},
        )
        point = torch.from_numpy(result.x)
        # the search ends where the loss no longer tells points apart; a Newton step sees the gradient. Minima may form
        # a surface, hence the pseudo-inverse.
        point = point - torch.linalg.pinv(curvature(point), rtol=1e-6, hermitian=True) @ slope(point)
        if float(slope(point).norm()) < 1e-8:
            found.append(unflatten(point, shapes))
    return found
