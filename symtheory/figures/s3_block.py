r"""One block of three ReLU neurons that $S_3$ permutes, a teacher of the same kind, and gradient descent on it.

The student is $f(x)=\sum_{j=1}^3a_j\,s(w_j\cdot x)$ on $x\sim\mathcal N(0,I_3)$ with $s=$ ReLU and no bias.
Equivariance ties $W=\mu J/3+\delta(I-J/3)/\sqrt2$, with $J$ the matrix of ones, and $a_j=\alpha/\sqrt3$: three
orthonormal coordinates $(\mu,\delta,\alpha)$ among the 12 weights. With $W=t_1I+t_2(J-I)$ they are $\mu=t_1+2t_2$ and
$\delta=\sqrt2(t_1-t_2)$; on $\delta=0$ the three neurons coincide. The teacher has $(\cos\psi,\sin\psi,\sqrt3)$.

A point is the flat vector of $W$, row by row, and $a$: 12 numbers. Descent within a subspace is descent along
$M\nabla L$ with $M$ the projection onto it, so constrained, partly relaxed and free training are one program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from symtheory.engine.arccosine import Teacher
from symtheory.spec.cosets import fixed_space
from symtheory.spec.group_families import symmetric
from symtheory.spec.groups import Subset
from symtheory.spec.gsets import GSet
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.representations import Representation, natural, trivial

GROUP = symmetric(3)
PI3, TRIVIAL = natural(GROUP), trivial(GROUP)
#: The three units, permuted like the inputs.
UNITS = GSet(GROUP, GROUP.action if GROUP.action is not None else GROUP.table)
LAYER = HiddenLayer(PI3, UNITS, TRIVIAL, bias=False)

_EYE, _MEAN = torch.eye(3, dtype=torch.float64), torch.full((3, 3), 1 / 3, dtype=torch.float64)
_NONE = torch.zeros(3, dtype=torch.float64)
#: Orthonormal coordinates (mu, delta, alpha) of the constrained weights, shape ``(3, 12)``.
COORDINATES = torch.stack(
    [
        torch.cat([_MEAN.flatten(), _NONE]),
        torch.cat([((_EYE - _MEAN) / sqrt(2)).flatten(), _NONE]),
        torch.cat([torch.zeros(9, dtype=torch.float64), _NONE + 1 / sqrt(3)]),
    ]
)
#: Unit normal of the hidden fixed-point subspace in the constrained weights.
NORMAL = COORDINATES[1]
#: Tied numbers (t1, t2, a) instead: orthogonal but of squared lengths 3, 6, 3, so descent on them is another flow.
TIED = torch.stack(
    [
        torch.cat([_EYE.flatten(), _NONE]),
        torch.cat([(3 * _MEAN - _EYE).flatten(), _NONE]),
        torch.cat([torch.zeros(9, dtype=torch.float64), _NONE + 1]),
    ]
)
#: The action of the group on the weights whose fixed points are the constrained ones.
ACTION = Representation(
    GROUP, torch.stack([torch.block_diag(torch.kron(p, p), p) for p in PI3.matrices]), "neurons and inputs"
)
#: Relaxations: the subgroup that still ties the weights.
SUBGROUPS: dict[str, Subset] = {
    {1: "1", 2: "S2", 3: "C3", 6: "S3"}[len(members[0])]: members[0] for members in GROUP.subgroup_classes
}


def projection(subgroup: str) -> Tensor:
    """Onto the weights that are equivariant for a subgroup.

    Args:
        subgroup: ``1``, ``S2``, ``C3`` or ``S3``.

    Returns:
        Shape ``(12, 12)``.

    >>> [round(float(projection(k).trace())) for k in SUBGROUPS]
    [12, 7, 4, 3]
    """
    return ACTION.reynolds(SUBGROUPS[subgroup])


def irreducible_blocks() -> dict[str, Tensor]:
    """Isotypic parts of the weights under :data:`ACTION`, by the characters of $S_3$.

    Returns:
        Orthonormal bases, shape ``(12, r)``, of the trivial, the sign and the standard part.
    """
    sign = torch.linalg.det(PI3.matrices)
    characters = {"trivial": torch.ones_like(sign), "sign": sign, "standard": torch.einsum("gii->g", PI3.matrices) - 1}
    found = {}
    for name, character in characters.items():
        projector = character[0] / GROUP.order * torch.einsum("g,gij->ij", character, ACTION.matrices)
        left, values, _ = torch.linalg.svd(projector)
        found[name] = left[:, values > 0.5]
    return found


def split(points: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of flat points.

    Args:
        points: Shape ``(..., 12)``.

    Returns:
        $W$ of shape ``(..., 3, 3)`` and $A$ of shape ``(..., 1, 3)``.
    """
    return points[..., :9].unflatten(-1, (3, 3)), points[..., None, 9:]


def teacher_point(psi: Tensor) -> Tensor:
    r"""The teacher of an angle.

    Args:
        psi: $\psi$ in radians, float64.

    Returns:
        Flat weights, shape ``(..., 12)``.
    """
    return torch.stack([psi.cos(), psi.sin(), torch.full_like(psi, sqrt(3))], -1) @ COORDINATES.to(psi.device)


def teacher(psi: Tensor) -> Teacher:
    """The teacher as a target.

    Args:
        psi: Angle in radians, float64.

    Returns:
        One target an angle.
    """
    return Teacher(*split(teacher_point(psi)))


def relative_loss(psi: Tensor, points: Tensor) -> Tensor:
    r"""Loss over the loss of the zero function.

    Args:
        psi: Angles in radians.
        points: Flat weights, shape ``(..., 12)`` that broadcasts with the angles.

    Returns:
        $L/L(0)$.
    """
    target = teacher(psi)
    return target.loss(*split(points)) / target.loss(*split(torch.zeros(12, dtype=points.dtype, device=points.device)))


def gradient(psi: Tensor, points: Tensor) -> Tensor:
    """Gradient of the loss in all 12 weights.

    Args:
        psi: Angles in radians.
        points: Flat weights, shape ``(..., 12)``.

    Returns:
        Shape ``(..., 12)``.
    """
    first, second = teacher(psi).gradient(*split(points))
    return torch.cat([first.flatten(-2), second.flatten(-2)], -1)


def initial(seeds: Sequence[int], spread: float) -> Tensor:
    r"""Random constrained points: normal orthonormal coordinates, the output weight made positive.

    Args:
        seeds: One a point.
        spread: Standard deviation of each coordinate.

    Returns:
        Shape ``(seeds, 12)``.
    """
    drawn = [torch.randn(3, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in seeds]
    theta = spread * torch.stack(drawn)
    theta[:, 2] = theta[:, 2].abs()
    return theta @ COORDINATES


@dataclass(frozen=True)
class Settled:
    """Where descent ended.

    Attributes:
        points: Flat weights, shape ``(C, 12)``.
        steps: Steps until the step direction was negligible, or all of them; shape ``(C,)``.
        nearest: Least height over the wall on the side of the start, at any step; negative if the wall was crossed.
            Shape ``(C,)``.
    """

    points: Tensor
    steps: Tensor
    nearest: Tensor


def settle(
    psi: Tensor, start: Tensor, along: Tensor, lr: float, steps: int, every: int = 250, small: float = 1e-10
) -> Settled:
    r"""Gradient descent $\theta\leftarrow\theta-\eta M\nabla L$ on all configurations, each until it has settled.

    Args:
        psi: Teacher of every configuration in radians, shape ``(C,)``.
        start: Flat weights, shape ``(C, 12)``.
        along: $M$, shape ``(12, 12)``.
        lr: $\eta$.
        steps: Most steps.
        every: Steps between tests of whether to stop.
        small: Length of $M\nabla L$ at which a configuration has settled.

    Returns:
        End points, steps, and heights over the wall.
    """
    device = psi.device
    along, normal = along.to(device), NORMAL.to(device)
    points, taken = start.to(device, copy=True), torch.full(psi.shape, steps, device=device)
    side = torch.sign(points @ normal)
    nearest = side * (points @ normal)
    active = torch.arange(len(psi), device=device)
    for done in range(0, steps, every):
        target, theta, lowest = teacher(psi[active]), points[active], nearest[active]
        step = torch.zeros_like(theta)
        for _ in range(min(every, steps - done)):
            first, second = target.gradient(*split(theta))
            flat = torch.cat([first.flatten(-2), second.flatten(-2)], -1)
            step = flat @ along.mT
            theta = theta - lr * step
            lowest = torch.minimum(lowest, side[active] * (theta @ normal))
        points[active], nearest[active] = theta, lowest
        resting = step.norm(dim=-1) < small
        taken[active[resting]] = min(done + every, steps)
        active = active[~resting]
        if len(active) == 0:
            break
    return Settled(points, taken, nearest)


def polish(psi: Tensor, points: Tensor, basis: Tensor, steps: int = 4) -> Tensor:
    """Newton's method within a subspace, from points next to a critical one.

    Args:
        psi: Angles in radians, shape ``(C,)``.
        points: Flat weights, shape ``(C, 12)``.
        basis: Orthonormal rows that span the subspace, shape ``(k, 12)``.
        steps: Newton steps.

    Returns:
        The critical points; directions without curvature (rescaling) are left alone.
    """
    basis = basis.to(psi.device)
    for _ in range(steps):
        slope = gradient(psi, points) @ basis.T
        curvature = basis @ teacher(psi).hessian(*split(points)) @ basis.T
        points = points - (torch.linalg.pinv(curvature, rtol=1e-9, hermitian=True) @ slope[..., None])[..., 0] @ basis
    return points


def trap(psi: Tensor, lr: float = 0.2, steps: int = 20_000) -> Tensor:
    """The minimum on the wrong side of the wall: constrained descent from the teacher's mirror image.

    Args:
        psi: Angles in radians, shape ``(C,)``.
        lr: Learning rate.
        steps: Most steps.

    Returns:
        Flat weights, shape ``(C, 12)``.
    """
    mirrored = teacher_point(psi)
    normal = NORMAL.to(psi.device)
    mirrored = mirrored - 2 * (mirrored @ normal)[:, None] * normal
    found = settle(psi, mirrored, projection("S3"), lr, steps)
    return polish(psi, found.points, COORDINATES)


def escape_curvature(psi: Tensor, points: Tensor, subgroup: str) -> Tensor:
    """Least curvature that a relaxation can use: of the Hessian on the weights that a subgroup ties.

    Args:
        psi: Angles in radians, shape ``(C,)``.
        points: Critical points, shape ``(C, 12)``.
        subgroup: Name among ``SUBGROUPS``.

    Returns:
        Smallest eigenvalue, shape ``(C,)``.
    """
    basis = fixed_space(ACTION, SUBGROUPS[subgroup])
    return torch.linalg.eigvalsh(basis.T @ teacher(psi).hessian(*split(points)) @ basis)[..., 0]
