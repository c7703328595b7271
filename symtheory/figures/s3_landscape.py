r"""The constrained loss of one $S_3$ block as a function of few coordinates, exact or by quadrature, and its minima.

Two students against a teacher of their own kind, inputs $x\sim\mathcal N(0,I_3)$, output trivial: ReLU without bias in
the coordinates $(\mu,\delta,\alpha)$ of :mod:`symtheory.figures.s3_block`, in closed form; and GELU with hidden bias
$\beta/\sqrt3$ and output bias $c$ in $(\mu,\delta,\alpha,\beta,c)$, by Gauss-Hermite quadrature. Every coordinate is
orthonormal in the space of all weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, permutations
from math import cos, pi, radians, sin, sqrt

import numpy as np
import torch
from torch import Tensor

from symtheory.figures import s3_block

#: Place of the coordinate that is zero on the wall.
DELTA = 1
#: Places of the coordinates of GELU that enter before the activation.
_SEEN = [0, 1, 3]
#: Quadrature nodes of a smaller weight are left out.
NEGLIGIBLE = 1e-16
#: Descent stops at this length of the gradient; takes curvatures below this part of the largest for none; makes no
#: longer step than this; and takes no loss for lower than another by less than this.
AT_REST, FLAT, LONGEST, ROUNDING = 1e-14, 1e-9, 0.5, 1e-15


@dataclass(frozen=True)
class Landscape:
    """A loss on coordinates, relative to the loss of the zero function.

    Attributes:
        value: Points of shape ``(..., k)`` to losses of shape ``(...)``.
        slope: One point to its gradient, shape ``(k,)``.
        curvature: One point to its Hessian, shape ``(k, k)``.
        teacher: The teacher's coordinates, shape ``(k,)``.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    curvature: Callable[[Tensor], Tensor]
    teacher: Tensor


def relu(degrees: float) -> Landscape:
    r"""ReLU without bias, in $(\mu,\delta,\alpha)$, exact.

    Args:
        degrees: Angle of the teacher.

    Returns:
        The landscape.

    >>> flat = relu(60.0)
    >>> abs(float(flat.value(flat.teacher))) < 1e-14
    True
    """
    psi = torch.tensor(radians(degrees), dtype=torch.float64)
    target, basis = s3_block.teacher(psi), s3_block.COORDINATES
    unit = float(target.loss(*s3_block.split(torch.zeros(12, dtype=torch.float64))))
    return Landscape(
        value=lambda theta: target.loss(*s3_block.split(theta @ basis)) / unit,
        slope=lambda theta: s3_block.gradient(psi, theta @ basis) @ basis.T / unit,
        curvature=lambda theta: basis @ target.hessian(*s3_block.split(theta @ basis)) @ basis.T / unit,
        teacher=s3_block.teacher_point(psi) @ basis.T,
    )


def gelu(degrees: float, nodes: int = 20) -> Landscape:
    r"""GELU with biases, in $(\mu,\delta,\alpha,\beta,c)$, by quadrature.

    Args:
        degrees: Angle of the teacher, which has no biases.
        nodes: Gauss-Hermite nodes along each input.

    Returns:
        The landscape.
    """
    x, weight = symmetric_nodes(nodes)
    spread = (x - x.mean(-1, keepdim=True)) / sqrt(2)
    # what a neuron sees is linear in (mu, delta, beta); shape (N, 3 neurons, 3 coordinates)
    features = torch.stack([x.mean(-1, keepdim=True).expand_as(x), spread, torch.full_like(x, 1 / sqrt(3))], -1)
    teacher = torch.tensor([cos(radians(degrees)), sin(radians(degrees)), sqrt(3), 0, 0], dtype=torch.float64)

    def seen(theta: Tensor) -> tuple[Tensor, Tensor]:
        """Preactivations (..., N, 3) and the output weight of a neuron."""
        return features @ theta[..., _SEEN][..., None, :, None], theta[..., 2] / sqrt(3)

    def outputs(theta: Tensor) -> Tensor:
        z, a = seen(theta)
        return a[..., None] * torch.nn.functional.gelu(z[..., 0]).sum(-1) + theta[..., 4:]

    wanted = outputs(teacher)
    unit = float(weight @ wanted.square())

    def jacobian(theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """First derivatives (N, 5) of the output, and of the activation the first two (N, 3)."""
        z, a = seen(theta)
        z = z[..., 0]
        density, below = torch.exp(-(z**2) / 2) / sqrt(2 * pi), torch.special.ndtr(z)
        one, two = below + z * density, density * (2 - z**2)
        found = torch.empty(len(x), 5, dtype=torch.float64)
        found[:, _SEEN] = a * torch.einsum("nj,njk->nk", one, features)
        found[:, 2], found[:, 4] = (z * below).sum(-1) / sqrt(3), 1.0
        return found, one, two

    def slope(theta: Tensor) -> Tensor:
        return 2 * (weight * (outputs(theta) - wanted)) @ jacobian(theta)[0] / unit

    def curvature(theta: Tensor) -> Tensor:
        first, one, two = jacobian(theta)
        rest = weight * (outputs(theta) - wanted)
        found = first.T @ (weight[:, None] * first)
        inner = theta[2] / sqrt(3) * torch.einsum("n,nj,njk,njl->kl", rest, two, features, features)
        outer = torch.einsum("n,nj,njk->k", rest, one, features) / sqrt(3)
        rows = torch.tensor(_SEEN)
        found[rows[:, None], rows] += inner
        found[rows, 2] += outer
        found[2, rows] += outer
        return 2 * found / unit

    def value(theta: Tensor) -> Tensor:
        return (outputs(theta) - wanted).square() @ weight / unit

    return Landscape(value, slope, curvature, teacher)


def symmetric_nodes(count: int) -> tuple[Tensor, Tensor]:
    r"""Gauss-Hermite nodes for $\mathcal N(0,I_3)$ and functions that do not see the order of the inputs.

    Args:
        count: Nodes along each input.

    Returns:
        Nodes of shape ``(N, 3)`` in increasing order of their entries, and weights that sum to 1 to within what is left
        out.

    >>> x, p = symmetric_nodes(6)
    >>> round(float(p @ (x.sum(-1) ** 4)), 9)
    27.0
    """
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    chosen = list(combinations_with_replacement(range(count), 3))
    times = [len(set(permutations(c))) for c in chosen]
    x = torch.from_numpy(points[np.array(chosen)])
    p = torch.from_numpy(np.array(times) * weights[np.array(chosen)].prod(1) / (2 * pi) ** 1.5)
    keep = p > NEGLIGIBLE
    return x[keep], p[keep]


def locate(landscape: Landscape, start: Tensor, free: Sequence[int], steps: int = 300) -> Tensor:
    """A local minimum over some coordinates by descent: Newton steps along which every step lowers the loss.

    Args:
        landscape: The loss.
        start: Where to start, shape ``(k,)``.
        free: Coordinates that may change.
        steps: Most steps.

    Returns:
        The point, shape ``(k,)``.
    """
    theta, index = start.clone(), torch.tensor(list(free))
    for _ in range(steps):
        slope = landscape.slope(theta)[index]
        if float(slope.norm()) < AT_REST:
            break
        values, vectors = torch.linalg.eigh(landscape.curvature(theta)[index][:, index])
        size = values.abs()
        # absolute values, so that a saddle repels; along an orbit of rescalings there is nothing to gain
        step = vectors @ torch.where(size > FLAT * size.max(), (vectors.T @ slope) / size, 0.0)
        step = step * min(1.0, LONGEST / float(step.norm()))
        here, scale, stuck = float(landscape.value(theta)), 1.0, True
        while stuck and scale > 1e-6:
            following = theta.clone()
            following[index] -= scale * step
            stuck = float(landscape.value(following)) > here + ROUNDING
            theta, scale = (theta if stuck else following), scale / 2
        if stuck:
            break
    return theta


def lowest_on_wall(landscape: Landscape, free: Sequence[int]) -> Tensor:
    r"""Lowest point of the wall $\delta=0$ over some coordinates: what gradient flow would have to climb to.

    Args:
        landscape: The loss.
        free: Coordinates that may change besides.

    Returns:
        The point, shape ``(k,)``, the lower of the minima with positive and with negative $\mu$.
    """
    others = [i for i in free if i != DELTA]
    found = []
    for sign in (1.0, -1.0):
        start = landscape.teacher.clone()
        start[DELTA], start[0] = 0.0, sign * max(abs(float(start[0])), 0.5)
        found.append(locate(landscape, start, others))
    return min(found, key=lambda theta: float(landscape.value(theta)))


def beyond(landscape: Landscape, free: Sequence[int]) -> Tensor:
    r"""The minimum on the far side: descent from the teacher's mirror image in the wall.

    Args:
        landscape: The loss.
        free: Coordinates that may change.

    Returns:
        The point, shape ``(k,)``.
    """
    start = landscape.teacher.clone()
    start[DELTA] *= -1
    return locate(landscape, start, free)
