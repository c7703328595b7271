r"""Sparse least squares across a random mirror, solved twice: through factors, and as a convex problem.

$L(\theta) = \tfrac1{2m}\|A\theta-b\|^2$ with a truth of which about half the groups $O_g^T\theta$ vanish.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.func import grad_and_value, hessian

from symtheory.engine.coordinates import coordinates, expand
from symtheory.engine.factoring import DIRECTION, SCALE, Factoring, Groups, group_index
from symtheory.engine.proximal import penalised_least_squares
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params, Shapes, flatten, size_of, unflatten
from symtheory.theorems.instances import generator_of, normal, random_mirror

#: Tensors of the problems: small versions of those of the other instances.
SMALL: Shapes = {"u": (2, 3), "w": (3, 2), "b": (3,)}


@dataclass(frozen=True)
class Problem:
    r"""Minimise $L(\theta) + 2\alpha\sum_g\|O_g^T\theta\|$.

    Attributes:
        name: Kind of mirror and of groups.
        mirror: The mirror.
        index: Group of every coordinate.
        design: $A$ of shape ``(m, n)``.
        target: $b$ of shape ``(m,)``.
        alpha: $\alpha$.
        shapes: Layout of $\theta$, in the mirror's order.
        seed: Seed.
    """

    name: str
    mirror: Mirror
    index: Tensor
    design: Tensor
    target: Tensor
    alpha: float
    shapes: Shapes
    seed: int

    @cached_property
    def factoring(self) -> Factoring:
        """The factors of the problem."""
        return Factoring(self.mirror, self.index)

    @cached_property
    def basis(self) -> Tensor:
        """$O$ as a matrix of shape ``(n, r)``."""
        zero = {k: torch.zeros(s, dtype=torch.float64) for k, s in self.shapes.items()}
        columns = [
            flatten({**zero, **expand(self.mirror, e, zero)}) for e in torch.eye(self.mirror.rank, dtype=torch.float64)
        ]
        return torch.stack(columns, dim=1)

    def loss(self, params: Params) -> Tensor:
        """$L$.

        Args:
            params: Parameters.

        Returns:
            Scalar.
        """
        return (self.design @ flatten({k: params[k] for k in self.shapes}) - self.target).square().mean() / 2

    def convex(self) -> Tensor:
        """The minimiser by proximal gradient, with its certificate.

        Returns:
            Flat parameters.
        """
        return penalised_least_squares(self.design, self.target, self.basis, self.index, 2 * self.alpha)


def problem(kind: str, groups: Groups, seed: int, share: float = 0.3, shapes: Shapes | None = None) -> Problem:
    r"""A random problem.

    Args:
        kind: Kind of mirror.
        groups: ``each`` or ``all``.
        seed: Seed.
        share: $2\alpha$ as a fraction of the strength at which every group vanishes.
        shapes: Layout.

    Returns:
        The problem.
    """
    g, s = generator_of(seed), SMALL if shapes is None else shapes
    mirror, n = random_mirror(kind, g, s), size_of(s)
    index = group_index(mirror, groups)
    theta = {k: normal(g, *shape) for k, shape in s.items()}
    z = coordinates(mirror, theta)
    dropped = expand(mirror, z * (torch.rand(z.shape, generator=g, dtype=torch.float64) < 0.5), theta)
    truth = flatten({k: p - dropped.get(k, torch.zeros_like(p)) for k, p in theta.items()})
    design = normal(g, 3 * n, n)
    target = design @ truth + 0.3 * normal(g, 3 * n)
    found = Problem(f"{kind}, {groups}", mirror, index, design, target, 0.0, s, seed)
    free = torch.eye(n, dtype=torch.float64) - found.basis @ found.basis.T
    along = free @ torch.linalg.pinv(design @ free) @ target  # the best point on the mirror
    pull = found.basis.T @ design.T @ (target - design @ along) / len(target)
    return replace(found, alpha=share * float(found.factoring.norms(pull).max()) / 2)


def descend(value: Callable[[Tensor], Tensor], start: Tensor, tolerance: float = 1e-11) -> Tensor:
    """A minimum: L-BFGS, then damped Newton steps; leaves saddles along negative curvature.

    Args:
        value: Smooth scalar function of a vector.
        start: Where to begin.
        tolerance: Largest gradient norm accepted.

    Returns:
        The point.

    Raises:
        SymtheoryError: If the gradient stays above ``1e2 * tolerance`` or the point is no minimum.
    """
    both, curvature = grad_and_value(value), hessian(value)
    lowest = -float("inf")

    def for_scipy(x: np.ndarray) -> tuple[float, np.ndarray]:
        down, here = both(torch.from_numpy(x))
        return float(here), down.numpy()

    def slope(z: Tensor) -> Tensor:
        return both(z)[0]

    point = start
    for _ in range(3):
        options = {"maxiter": 20000, "maxfun": 100000, "ftol": 1e-15, "gtol": 1e-6, "maxcor": 30}
        point = torch.from_numpy(minimize(for_scipy, point.numpy(), jac=True, method="L-BFGS-B", options=options).x)
        for _ in range(30):
            down = slope(point)
            if float(down.norm()) <= tolerance:
                break
            values, vectors = torch.linalg.eigh(curvature(point))
            keep = values > 1e-9 * float(values[-1])
            point = point - vectors[:, keep] @ ((vectors[:, keep].T @ down) / values[keep])
        values, vectors = torch.linalg.eigh(curvature(point))
        lowest = float(values[0]) / float(values[-1].abs())
        if lowest > -1e-7:
            break
        point = point + 0.1 * vectors[:, 0]
    size = float(slope(point).norm())
    if not size <= 1e2 * tolerance or lowest < -1e-6:
        raise SymtheoryError(
            f"a minimum with a gradient below {1e2 * tolerance:.0e}",
            f"gradient {size:.1e}, lowest curvature {lowest:.1e} of the highest",
            "start elsewhere, or check that the loss is bounded below",
        )
    return point


def minimise_factors(
    found: Problem, decays: tuple[float, float, float] = (1.0, 1.0, 0.0), stretch: float = 1.0
) -> Tensor:
    r"""The minimiser through factors: $L(\theta(v,c,t)) + \alpha(\|c\|^2 + \|t\|^2)$ from a random start.

    Args:
        found: The problem.
        decays: Multiples of $\alpha$ on $c$, $t$ and the free part $(I-P)v$; (1, 1, 0) is eq. (7).
        stretch: Length of the columns of $O$ in the product; anything but 1 breaks $O^TO = I$.

    Returns:
        Flat $\theta$.
    """
    f, g, o = found.factoring, generator_of(found.seed + 1), found.basis
    n, r = o.shape
    along = torch.eye(n, dtype=torch.float64) - o @ o.T

    def cut(flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return flat[:n], flat[n : n + r], flat[n + r :]

    def value(flat: Tensor) -> Tensor:  # as Factoring does it, but with matrices: some thousands of evaluations
        v, c, t = cut(flat)
        free = along @ v
        theta = free + o @ (t[found.index] * stretch * c)
        terms = zip(decays, (c, t, free), strict=True)
        fit = (found.design @ theta - found.target).square().mean() / 2
        return fit + found.alpha * torch.stack([d * x.square().sum() for d, x in terms]).sum()

    v, c, t = cut(descend(value, normal(g, n + r + f.groups)))
    end = f.join({**unflatten(v.contiguous(), found.shapes), DIRECTION: stretch * c, SCALE: t})
    return flatten({k: end[k] for k in found.shapes})
