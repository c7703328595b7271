r"""Theorem 2 of paper A: a rescaling symmetry makes sparse.

Statement: if $\ell_0(u, w) = \ell_0(\rho u, w/\rho)$ for all $\rho\neq0$, then at $u = w = 0$ the gradient vanishes, and enough
weight decay prefers $(0, 0)$ to any fixed $(u, w)$.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isfinite

import sympy
import torch
from sympy import Function
from torch import Tensor

from symtheory.engine.invariance import invariance_of
from symtheory.engine.symbolic import derivative_at_zero, identity
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.params import Params, flatten
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import generator_of, normal
from symtheory.theorems.mirror_constraint import shifted
from symtheory.theorems.mirror_constraint.definitions import PAPER
from symtheory.theorems.mirror_constraint.family import (
    Family,
    check_family,
    degenerate,
    general_loss,
    outside,
)


def rescaling_family(seed: int) -> Family:
    r"""General rescaling-invariant loss: a function of $u\otimes w$ (its values are the orbits' with $u,w\neq0$).

    Args:
        seed: Seed.

    Returns:
        The instance.
    """
    g = generator_of(seed)
    loss, broken, params, data = general_loss({"u": (3,), "w": (4,)}, lambda p: torch.outer(p["u"], p["w"]), g)

    def zero(p: Params) -> Params:
        return {k: torch.zeros_like(v) for k, v in p.items()}

    actions = tuple(_rescale(rho) for rho in (-1.0, 0.25, -2.0))
    return Family("rescaling", loss, broken, params, zero, flatten, zero, actions, data, seed)


def _rescale(rho: float) -> Callable[[Params], Params]:
    return lambda p: {"u": rho * p["u"], "w": p["w"] / rho}


def _control_one_factor(seed: int) -> Verdict:
    """Part 1 with only u at zero: the gradient with respect to u does not vanish."""
    family = rescaling_family(seed)
    return check_family(
        replace(
            family,
            constrain=lambda p: {"u": torch.zeros_like(p["u"]), "w": p["w"]},
            across=lambda grads: grads["u"],
            name="only u is zero",
        )
    )


def origin_is_strictly_worse() -> Verdict:
    r"""Theorem 2.2 for *any* fixed $u, w$: at $u = w = 0$ it reads $\ell_\gamma(0,0) < \ell_\gamma(0,0)$.

    Returns:
        The verdict on the printed form, which must fail.
    """
    return degenerate(rescaling_family, "Theorem 2.2 at u = w = 0")(0)


def printed_exclusion() -> Verdict:
    r"""Eq. (37), $\ell_0((1+\epsilon)u, w/(1+\epsilon)) = \ell_0(u,w)$, is said to hold for any $\epsilon\neq1$.

    Returns:
        The verdict on a general invariant loss at $\epsilon=-1$, where the left side has no value, which must fail; at the
        excluded $\epsilon = 1$ it holds.
    """
    family = rescaling_family(0)

    def change(epsilon: float) -> float:
        points = (family.params, _rescale(1 + epsilon)(family.params))
        here, there = (float(family.loss(p, family.samples[0])) for p in points)
        return abs(there / here - 1) if isfinite(there) else 1.0

    assert change(1.0) < 1e-12
    return Verdict("eq. (37) at epsilon = -1", change(-1.0), 1e-12, seed=0)


def relu_has_no_flip() -> Verdict:
    r"""ReLU networks, cited for the rescaling symmetry, have it for $\rho>0$ only; eq. (8) asks for all $\rho\neq0$.

    Returns:
        The verdict on invariance at $\rho = -1$ for $(u\,\mathrm{relu}(wx) - y)^2$, which must fail.
    """
    g = generator_of(0)
    params = {"u": normal(g, 1), "w": normal(g, 1)}
    samples = tuple(normal(g, 2) for _ in range(4))

    def loss(p: Params, x: Tensor) -> Tensor:
        return ((p["u"] * torch.relu(p["w"] * x[0])).sum() - x[1]) ** 2

    positive = invariance_of(loss, _rescale(3.0), params, samples, generator=g)
    negative = invariance_of(loss, _rescale(-1.0), params, samples, generator=g)
    return Verdict(
        "a ReLU unit has the rescaling symmetry of eq. (8)",
        negative.residual,
        negative.tolerance,
        settings={"residual at rho = 3": positive.residual},
    )


def printed_regression_loss() -> Verdict:
    r"""Section 3.1 prints the regression loss as $\ell = (v^Tx - y)$, without the square: it is not bounded below.

    Returns:
        The verdict on non-negativity, which eq. (1) asks of every loss and which must fail.
    """
    g = generator_of(0)
    v, x, y = normal(g, 3), normal(g, 3), normal(g, 1)
    smallest = min(float(s * (v @ x) - y) for s in (-1e3, 1e3))
    return Verdict("the printed loss is non-negative", max(-smallest, 0.0), 1e-12)


def scalar_pair_threshold(y: float, *, factor: float) -> float:
    r"""Largest $|u|$ among the minima of $(uw-y)^2 + \gamma(u^2+w^2)$ at $\gamma = \text{factor}\cdot|y|$, by solving it.

    On $u = \pm w$ the loss is $(t-|y|)^2 + 2\gamma t$ with $t = u^2\ge0$: minimal at $t = \max(0, |y|-\gamma)$.
    So $\gamma_1 = |y|$ although the Hessian of $(uw-y)^2$ is not bounded below.

    Args:
        y: Target.
        factor: Decay in units of $|y|$.

    Returns:
        $|u|$ at the minimum found by gradient descent from a generic start.
    """
    theta = torch.tensor([0.9, -0.4], dtype=torch.float64)
    gamma = factor * abs(y)
    for _ in range(20000):
        u, w = theta
        r = 2 * (u * w - y)
        theta = theta - 0.02 / (1 + abs(y)) * (r * torch.stack([w, u]) + 2 * gamma * theta)
    return float(theta[0].abs())


def _prove_rescaling() -> Proof:
    u, w, rho = sympy.symbols("u w rho", real=True)
    h, f = Function("h"), Function("F")
    gamma, norm = sympy.symbols("gamma N", real=True)
    plain = Function(r"\ell_0")
    l0, luw = plain(0, 0), plain(u, w)
    loss = f(u * w)
    return Proof(
        "A.T2",
        "part 1: vectors of any dimensions, any differentiable loss with the symmetry at $\\rho = -1$; the middle steps take "
        "the paper's own route (infinitesimal rescaling) for scalars and an undefined $F$; part 2: any loss",
        (
            identity(
                "the loss is even along $(su, sw)$: no slope at the origin", derivative_at_zero(lambda a: h(a) + h(-a))
            ),
            identity("eq. (38) from any rescaling", u * sympy.Derivative(loss, u), w * sympy.Derivative(loss, w)),
            identity(
                "eq. (39): the gradient is linear in $(u, w)$",
                loss.diff(w),
                u * loss.diff(u).diff(w) - w * loss.diff(w, 2),
            ),
            identity(
                "a scalar pair is exchanged by $\\rho = w/u$: the mirror $u = w$", sympy.Subs(rho * u, rho, w / u), w
            ),
            identity("and back", sympy.Subs(w / rho, rho, w / u), u),
            identity(
                "part 2, with $N = \\|u\\|^2 + \\|w\\|^2$ and $\\gamma_0$ put in",
                (luw + gamma * norm) - l0 - norm * (gamma - (l0 - luw) / norm),
            ),
        ),
    )


RESCALING = Theorem(
    claim=Claim(
        id="A.T2",
        source=f"{PAPER}, Theorem 2",
        title="Rescaling symmetry: sparsity",
        statement=r"Let $\ell_0(u, w) = \ell_0(\rho u, \rho^{-1}w)$ for every $\rho\neq0$. (1) At $u = 0$, $w = 0$: "
        r"$\nabla_u\ell_\gamma = 0$ and $\nabla_w\ell_\gamma = 0$. (2) For any fixed $u, w$ there is $\gamma_0$ such that "
        r"$\ell_\gamma(0,0) < \ell_\gamma(u,w)$ for all $\gamma>\gamma_0$.",
        hypotheses={
            "rescaling": "the symmetry, for every sample",
            "both factors zero": "part 1: $u = 0$ and $w = 0$, not one of them",
            "not at the origin": "part 2: $(u, w)\\neq(0, 0)$ (missing in print)",
        },
        verdict="holds as corrected",
        correction=r"Part 2 needs $(u,w)\neq(0,0)$; then $\gamma_0 = [\ell_0(0,0)-\ell_0(u,w)]/(\|u\|^2+\|w\|^2)$ is exact.",
        chapter="mirror_constraint",
        remark=r"The mirror behind it ($O = I$, both factors change sign) comes from $\rho=-1$. ReLU layers have $\rho>0$ only and "
        r"lack that mirror. Part 1 still holds for them if the loss is differentiable at the origin: letting $\rho\to0$, the loss "
        r"is constant on $u = 0$ and on $w = 0$.",
        errata=(
            Erratum(
                where="Theorem 2, part 2, and eq. (40)",
                printed="For *any* fixed $u, w$; the fraction in eq. (40) always exists.",
                true="For $(u,w)\\neq(0,0)$; at the origin the fraction is $0/0$ and the strict inequality false.",
                counterexample="$u = w = 0$.",
                consequence="A threshold routine must refuse the origin instead of dividing by zero.",
                check="symtheory.theorems.mirror_constraint.rescaling.origin_is_strictly_worse",
                kind="statement",
            ),
            Erratum(
                where="Eq. (37)",
                printed=r"For any $\epsilon\neq1$.",
                true=r"For any $\epsilon\neq-1$.",
                counterexample=r"$\epsilon=-1$ makes $w/(1+\epsilon)$ undefined.",
                consequence="None beyond the formula.",
                check="symtheory.theorems.mirror_constraint.rescaling.printed_exclusion",
                kind="proof",
            ),
            Erratum(
                where="Section 3.1, after Theorem 2",
                printed="Fully connected ReLU networks are cited as previous use of this symmetry.",
                true=r"They have it for $\rho>0$; eq. (8) asks for every $\rho\neq0$, and the mirror used in the proof is $\rho=-1$.",
                counterexample=r"$(u\,\mathrm{relu}(wx)-y)^2$ changes under $\rho=-1$.",
                consequence="A detector must not report a sign-flip mirror for a ReLU rescaling pair.",
                check="symtheory.theorems.mirror_constraint.rescaling.relu_has_no_flip",
                kind="wording",
            ),
            Erratum(
                where="Section 3.1, experiment",
                printed=r"The regression loss is $\ell = (v^Tx - y)$.",
                true=r"$\ell = (v^Tx - y)^2$.",
                counterexample="The printed loss is unbounded below, against eq. (1)'s non-negative losses.",
                consequence="None for whoever knows least squares.",
                check="symtheory.theorems.mirror_constraint.rescaling.printed_regression_loss",
                kind="formula",
            ),
            shifted.BIAS,
        ),
    ),
    prove=_prove_rescaling,
    check=check_family,
    instances=lambda seed: [rescaling_family(seed)],
    controls={
        "rescaling": outside(rescaling_family),
        "both factors zero": _control_one_factor,
        "not at the origin": degenerate(rescaling_family, "part 2 at the origin"),
    },
    counterexamples={
        "Theorem 2.2 at the origin": origin_is_strictly_worse,
        "eq. (37)": printed_exclusion,
        "ReLU": relu_has_no_flip,
        "loss without its square": printed_regression_loss,
        "bias without decay": shifted.bias_without_decay,
    },
)
