r"""Proposition 2.9 of paper C: the principle of symmetric criticality, for the symmetries of a layer's parameters.

A group $\Gamma$ acts orthogonally on parameters and leaves $L\in C^1$ unchanged. Then $\nabla L(\gamma\theta) = \gamma\nabla L(\theta)$, so on
$\mathrm{Fix}(\Gamma)$ the gradient is tangent to $\mathrm{Fix}(\Gamma)$. For layers $\Gamma$ is a group of exchanges of units, any data; or, if
the task is equivariant, the group $\{(P_g, g)\}$ whose fixed space is the constrained space.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sympy import Function, Rational, symbols
from torch import Tensor

from symtheory.engine.symbolic import derivative_at_zero, identity, matrices
from symtheory.spec.claim import Claim
from symtheory.spec.numerics import largest
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.hidden_subspaces.settings import (
    PAPER,
    FlatLoss,
    Setting,
    orbits_of,
    random_exchanges,
    setting,
    settings,
)
from symtheory.theorems.instances import generator_of, normal

#: Rounding of gradients in up to 150 dimensions, and of projectors whose smallest angle is above 0.1.
LEAK_TOLERANCE = 1e-12


def leak(vector: Tensor, projector: Tensor) -> float:
    r"""$\|(I-P)v\|/\|v\|$, the share of a vector that leaves a space.

    Args:
        vector: $v$, not 0.
        projector: $P$, orthogonal.

    Returns:
        A number between 0 and 1.

    >>> leak(torch.tensor([3.0, 4.0]).double(), torch.diag(torch.tensor([1.0, 0.0])).double())
    0.8
    """
    return float((vector - projector @ vector).norm() / vector.norm())


def averaged(s: Setting) -> FlatLoss:
    r"""The loss of an equivariant task, $|G|^{-1}\sum_gL(g\theta)$ with $g$ acting on inputs and outputs.

    Args:
        s: The setting, whose own loss knows no group.

    Returns:
        A loss that the whole group $\{(P_g, g)\}$ leaves unchanged.
    """
    sides = [s.side(g) for g in range(s.layer.group.order)]
    return lambda theta: torch.stack([s.loss(side @ theta) for side in sides]).mean()


def exchanged(s: Setting, seed: int) -> Tensor:
    """Projector on the points that a random group of exchanges fixes, in the whole parameter space.

    Args:
        s: The setting.
        seed: Of the group.

    Returns:
        Shape ``(size, size)``.
    """
    g = generator_of(seed + 2)
    return s.coincident(orbits_of(s.layer.units.size, random_exchanges(s.layer.units, g)))


def gradient_leak(loss: FlatLoss, fixed: Tensor, point: Tensor) -> float:
    """Share of the gradient that leaves a space.

    Args:
        loss: Of flat points.
        fixed: Projector on the space.
        point: Where.

    Returns:
        The share.
    """
    return leak(torch.func.grad(loss)(point), fixed)


def check_criticality(s: Setting) -> Verdict:
    """Gradients at random symmetric points, for exchanges with any data and for an equivariant task.

    Args:
        s: The setting.

    Returns:
        Verdict whose control is the loss that does not know the group, on the constrained space.
    """
    point = normal(generator_of(s.seed + 3), s.size)
    fixed, constrained = exchanged(s, s.seed), s.constrained
    return Verdict(
        f"{s.name}: the gradient at a symmetric point is symmetric",
        residual=largest(
            [
                gradient_leak(s.loss, fixed, fixed @ point),
                gradient_leak(averaged(s), constrained, constrained @ point),
            ]
        ),
        tolerance=LEAK_TOLERANCE,
        control=gradient_leak(s.loss, constrained, constrained @ point),
        seed=s.seed,
        sizes={"parameters": s.size, "order": s.layer.group.order},
    )


@dataclass(frozen=True, eq=False)
class Rescaled:
    r"""Two ReLU neurons exchanged with a stretch, $(w_1, b_1, a_1, w_2, b_2, a_2)\mapsto(\lambda w_2, \lambda b_2, a_2/\lambda, w_1/\lambda, \dots)$.

    An exact symmetry and an involution; orthogonal only for $\lambda = 1$.

    Attributes:
        loss: Of a network with these two neurons and generic data.
        matrix: The symmetry.
        fixed: Projector along the other eigenspace on the fixed space, $(I+T)/2$.
    """

    loss: FlatLoss
    matrix: Tensor
    fixed: Tensor

    @property
    def onto(self) -> Tensor:
        """Orthogonal projector on the fixed space."""
        left, values, _ = torch.linalg.svd(self.fixed)
        kept = left[:, values > 0.5]
        return kept @ kept.T


def rescaled(seed: int, stretch: float = 2.0, dim: int = 3, samples: int = 20) -> Rescaled:
    r"""Two ReLU neurons with generic data.

    Args:
        seed: Seed.
        stretch: $\lambda$.
        dim: Dimension of inputs.
        samples: Number of data points.

    Returns:
        The symmetry.
    """
    g = generator_of(seed)
    x, y = normal(g, samples, dim), normal(g, samples)

    def loss(theta: Tensor) -> Tensor:
        rows = theta.view(2, dim + 2)
        hidden = torch.relu(x @ rows[:, :dim].T + rows[:, dim])
        return torch.cosh(hidden @ rows[:, -1] - y).log().mean()

    one = torch.diag(torch.tensor([stretch] * (dim + 1) + [1 / stretch], dtype=torch.float64))
    zero = torch.zeros_like(one)
    matrix = torch.cat([torch.cat([zero, one], 1), torch.cat([torch.linalg.inv(one), zero], 1)])
    return Rescaled(loss, matrix, (torch.eye(len(matrix), dtype=torch.float64) + matrix) / 2)


def _control_invariance(seed: int) -> Verdict:
    s = setting("D_4", seed)
    point = s.constrained @ normal(generator_of(seed), s.size)
    return Verdict(
        "symmetric gradient on the constrained space, generic data",
        gradient_leak(s.loss, s.constrained, point),
        LEAK_TOLERANCE,
        seed=seed,
    )


def _control_orthogonal(seed: int) -> Verdict:
    r = rescaled(seed)
    point = r.fixed @ normal(generator_of(seed + 1), len(r.fixed))
    return Verdict(
        "symmetric gradient, exchange with a stretch", gradient_leak(r.loss, r.onto, point), LEAK_TOLERANCE, seed=seed
    )


def _control_fixed(seed: int) -> Verdict:
    s = setting("S_3", seed)
    labels = tuple(0 if i < 2 else i for i in range(s.layer.units.size))
    point = normal(generator_of(seed), s.size)
    return Verdict(
        "symmetric gradient, at a point that is not symmetric",
        gradient_leak(s.loss, s.coincident(labels), point),
        LEAK_TOLERANCE,
        seed=seed,
    )


def shear() -> Verdict:
    r"""Palais' warning: $\mathbb R$ acts by $(x, y)\mapsto(x+ty, y)$, $L = y$ is invariant, its restriction to $\mathrm{Fix} = \{y = 0\}$ is constant.

    Returns:
        Verdict on the critical points of the restriction being critical, which must fail.
    """
    slope = torch.func.grad(lambda p: p[1])(torch.tensor([3.0, 0.0], dtype=torch.float64))
    return Verdict("a critical point of the restriction is critical, for a group of shears", float(slope.norm()), 1e-12)


def _prove_criticality() -> Proof:
    grad, turn, mean, theta, v, n = matrices(r"\nabla L^T", r"\gamma", r"\bar\Gamma", r"\theta", "v", "n")
    step, decay, mu = symbols("eta lambda mu", positive=True)
    f, a = Function("f"), symbols("a:4", real=True)

    def swapped(z):
        """An arbitrary function of two neurons with two parameters each, made symmetric, left along their difference."""
        one, two = (a[0] + z * a[2], a[1] + z * a[3]), (a[0] - z * a[2], a[1] - z * a[3])
        return (f(*one, *two) + f(*two, *one)) * Rational(1, 2)

    rules = {
        turn * theta: theta,
        grad * turn: grad,
        mean * mean: mean,
        mean * theta: theta,
        grad * mean: grad,
        mean * v: v,
    }
    return Proof(
        "C.P2.9",
        r"any $C^1$ loss in any dimension and any finite group; $\bar\Gamma = |\Gamma|^{-1}\sum\gamma$ is symmetric when the action is orthogonal. "
        r"The third step spells out an exchange of two neurons with two parameters each, for an undefined function",
        (
            identity(
                r"$L(\gamma\theta) = L(\theta)$ differentiated where $\gamma\theta = \theta$: $\nabla L^T\gamma = \nabla L^T$; averaged",
                grad * (1 - mean) * n,
                0,
                rules,
            ),
            identity(
                r"so a critical point of the restriction, $\nabla L^T\bar\Gamma = 0$, is critical; no metric is used",
                grad,
                grad * mean,
                rules,
            ),
            identity("two neurons exchanged: no slope along their difference", derivative_at_zero(swapped)),
            identity(
                r"orthogonal: $\bar\Gamma^T = \bar\Gamma$, so $\nabla L = \bar\Gamma\nabla L =: v$ and a step with decay stays",
                (1 - mean) * (theta - step * (v + decay * theta)),
                0,
                rules,
            ),
            identity("momentum is a sum of such gradients", (1 - mean) * (mu * v + v), 0, rules),
        ),
    )


CRITICALITY = Theorem(
    claim=Claim(
        id="C.P2.9",
        source=f"{PAPER}, Proposition 2.9 (principle of symmetric criticality); our wording",
        title="Gradients at symmetric points are symmetric",
        statement=r"Let a finite group $\Gamma$ act on parameters, let $L\in C^1$ be invariant and $\theta\in\mathrm{Fix}(\Gamma)$. A critical point of "
        r"$L|_{\mathrm{Fix}(\Gamma)}$ is a critical point of $L$. If $\Gamma$ acts orthogonally, $\nabla L(\theta)\in\mathrm{Fix}(\Gamma)$: gradient flow, "
        r"gradient descent, momentum and weight decay never leave $\mathrm{Fix}(\Gamma)$, whatever the step; nor does SGD if every minibatch's loss is invariant.",
        hypotheses={
            "invariant loss": r"$L(\gamma\theta) = L(\theta)$; for SGD that of every minibatch",
            "orthogonal action": r"$\gamma^T\gamma = I$, in the metric of the gradient",
            "fixed point": r"$\gamma\theta = \theta$ for all $\gamma\in\Gamma$",
        },
        verdict="holds",
        chapter="hidden_subspaces",
        remark=r"Exchanges of units are symmetries for every data set. The constrained space is $\mathrm{Fix}\{(P_g, g)\}$, and *this* group leaves the loss "
        r"unchanged only if the task is equivariant. The part on critical points needs no metric, so it holds for ReLU's exchanges with a stretch, whose "
        r"fixed spaces a gradient does leave. For groups that are not compact it can fail: shears. A discrete step can land on $\mathrm{Fix}(\Gamma)$ from outside.",
    ),
    prove=_prove_criticality,
    check=check_criticality,
    instances=settings,
    controls={
        "invariant loss": _control_invariance,
        "orthogonal action": _control_orthogonal,
        "fixed point": _control_fixed,
    },
    counterexamples={"a group that is not compact": shear},
)
