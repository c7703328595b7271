r"""Is any reflection left? The smallest asymmetry of a loss over all centres of a plane, or over all planes of a rank.

Absence cannot be shown by a search, only by proof; what the search adds is that the code removes what the proof says. It is local, from a few random
starts, none of them on the symmetry that the controls hide, so a control passes only if the search finds it. A *survival* is rounding divided by the
smallest asymmetry found: near 1 means an exact symmetry, a tiny number that none was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import least_squares
from torch import Tensor
from torch.func import jacrev

from symtheory.theorems.instances import generator_of, normal, orthonormal

#: Asymmetry that rounding leaves of an exact symmetry, with a margin.
FLOOR = 1e-11
#: No symmetry: the smallest asymmetry found is a hundred thousand times rounding or more.
ABSENT = 1e-5

#: Evaluations that one local search may use; with half as many it stops early on planes.
BUDGET = 60
#: Starts with the plane given, from one of which a planted symmetry of six parameters is found nearly always, and with a
#: free plane, from one of which it is found in about two of five.
CENTRES, PLANES = 3, 10
#: How far free planes start from the old mirror: normal noise on each entry of a basis.
OFF = 0.05

#: A loss on many points at once: shape (m, n) to (m,).
BatchLoss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Reflected:
    r"""A loss with a known reflection, and the bias and decay that should remove it.

    Attributes:
        name: Kind.
        loss: $\ell$.
        basis: $O$ with $P = OO^T$.
        centre: $\theta^*$, in the image of $P$.
        bias: $\theta_0$.
        gamma: $\gamma$.
        free: Whether all planes of the rank are searched, or only this one with all its centres.
        seed: Seed.
    """

    name: str
    loss: BatchLoss
    basis: Tensor
    centre: Tensor
    bias: Tensor
    gamma: float
    free: bool
    seed: int

    def removed(self, points: Tensor) -> Tensor:
        r"""$\ell_r(\theta) = \ell(\theta+\theta_0)+\gamma\|\theta\|^2$, row by row.

        Args:
            points: Shape (m, n).

        Returns:
            Shape (m,).
        """
        return self.loss(points + self.bias) + self.gamma * points.square().sum(1)


def _orthonormal(free: Tensor) -> Tensor:
    """Columns orthonormalised through a Cholesky factor, which can be differentiated at orthonormal columns too."""
    factor = torch.linalg.cholesky(free.T @ free + 1e-14 * torch.eye(free.shape[1], dtype=free.dtype))
    return torch.linalg.solve_triangular(factor, free.T, upper=False).T


def asymmetry(
    loss: BatchLoss, basis: Tensor, centres: Sequence[Tensor], seed: int, *, free: bool = False, probes: int = 30
) -> float:
    r"""Smallest root mean square of $\ell(\theta'+z)-\ell(\theta'+Rz)$ over the centres, and with ``free`` over the planes.

    Args:
        loss: The loss on rows.
        basis: $O$; the start of the search if ``free``.
        centres: Where to start the search for $\theta'$; only their part in the image of $P$ counts.
        seed: Seed of the probes $z$.
        free: Whether to vary $O$ too.
        probes: Number of probes.

    Returns:
        The asymmetry in units of the standard deviation of the loss over the probes.
    """
    n, r = basis.shape
    z = normal(generator_of(seed + 9), probes, n)

    def residual(x: Tensor) -> Tensor:
        o = _orthonormal(x[r:].reshape(n, r)) if free else basis
        centre = o @ x[:r]
        here, there = loss(centre + z), loss(centre + z - 2 * (z @ o) @ o.T)
        return (here - there) / here.detach().std().clamp_min(1e-12) / probes**0.5

    slope, best = jacrev(residual), float("inf")
    for start in centres:
        first = torch.cat([basis.T @ start, *([basis.reshape(-1)] if free else [])])
        best = min(best, float(residual(first).norm()))
        found = least_squares(
            lambda x: residual(torch.from_numpy(x)).numpy(),
            first.numpy(),
            jac=lambda x: slope(torch.from_numpy(x)).numpy(),  # type: ignore[arg-type]
            method="lm",
            ftol=1e-14,
            xtol=1e-14,
            gtol=1e-14,
            max_nfev=BUDGET,
        )
        best = min(best, float((2 * found.cost) ** 0.5))
    return best


def survival(case: Reflected, loss: BatchLoss | None = None) -> float:
    r"""Rounding over the smallest asymmetry found: near 1 for an exact symmetry, tiny for none.

    The starts know the old plane (a free one starts beside it, not on it) but no centre: neither the old one nor the origin.

    Args:
        case: The case.
        loss: Another loss than $\ell_r$, for controls.

    Returns:
        A number in $(0, 1]$.
    """
    target = case.removed if loss is None else loss
    g, (n, r), found = generator_of(case.seed + 8), case.basis.shape, float("inf")
    for _ in range(PLANES if case.free else CENTRES):
        basis = torch.linalg.qr(case.basis + OFF * normal(g, n, r)).Q if case.free else case.basis
        found = min(found, asymmetry(target, basis, [normal(g, n)], case.seed, free=case.free))
        if found < FLOOR:
            break
    return min(1.0, FLOOR / max(found, 1e-300))


def smooth(n: int, g: torch.Generator) -> BatchLoss:
    """Random smooth loss with more features than parameters, so that no direction is free.

    Args:
        n: Number of parameters.
        g: Source of randomness.

    Returns:
        A loss on rows.
    """
    count = 2 * n + 2
    a, d, w = normal(g, count, n) * (2.0 / n) ** 0.5, normal(g, count), torch.rand(count, generator=g).double() + 0.5
    mix = normal(g, count) / count**0.5
    return lambda z: (w * torch.nn.functional.softplus(z @ a.T + d)).sum(1) + (torch.tanh(z @ a.T + d) @ mix) ** 2


def plane_case(
    seed: int, n: int = 6, rank: int | None = None, sigma0: float = 1.0, gamma: float = 0.3, offset: float = 1.0
) -> Reflected:
    """A random smooth loss with one reflection of random rank about a random plane.

    Args:
        seed: Seed.
        n: Number of parameters.
        rank: Rank of the reflection; default random.
        sigma0: Size of the bias.
        gamma: Weight decay.
        offset: Size of the centre of the reflection.

    Returns:
        The case; all centres of the plane are searched.
    """
    g = generator_of(seed)
    r = int(torch.randint(1, n + 1, (), generator=g)) if rank is None else rank
    o = orthonormal(n, r, g)
    centre, f = offset * o @ normal(g, r), smooth(n, g)

    def loss(z: Tensor) -> Tensor:
        y = z - centre
        return (f(y) + f(y - 2 * (y @ o) @ o.T)) / 2

    return Reflected(f"smooth loss, rank {r}", loss, o, centre, sigma0 * normal(g, n), gamma, False, seed)


def network_case(seed: int, sigma0: float = 1.0, gamma: float = 0.1) -> Reflected:
    """A tanh network with two hidden neurons; local searches over planes of rank 3 and centres start beside their exchange.

    Args:
        seed: Seed.
        sigma0: Size of the bias.
        gamma: Weight decay.

    Returns:
        The case.
    """
    g = generator_of(seed)
    x, y = normal(g, 12, 1), normal(g, 12)

    def loss(z: Tensor) -> Tensor:
        w, b, a = z[:, None, 0:2], z[:, None, 2:4], z[:, None, 4:6]
        out = (a * torch.tanh(w * x + b)).sum(-1)
        return (out - y).square().mean(1)

    o = torch.kron(torch.eye(3), torch.tensor([[1.0], [-1.0]])).double() / 2**0.5
    bias = sigma0 * normal(g, 6)
    return Reflected("tanh network, neurons exchanged", loss, o, torch.zeros_like(bias), bias, gamma, True, seed)
