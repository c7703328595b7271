r"""Corollary 1 of paper B: after removal no point of the mirror is stationary.

Statement: for any $\theta$ with $P\theta = 0$, $P\nabla\ell_{ar} = \Omega(\gamma\sigma_0)$. What holds, exactly, at effective parameters with
$P\varphi = \theta^*$: $P\nabla\tilde\ell_{ar}(\varphi) = 2\gamma PD(\varphi-\theta_0)$.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from sympy import Function, symbols
from torch import Tensor
from torch.func import grad

from symtheory.engine.symbolic import derivative_at_zero, identity
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import generator_of, normal
from symtheory.theorems.syre_bounds.frames import PAPER, Case, FlatLoss, all_cases, case
from symtheory.theorems.syre_bounds.strength import (
    DIFFERENCE_TOLERANCE,
    measured_difference,
    symbols_of_the_frame,
    vanished,
)


def on_plane(c: Case, seed: int) -> Tensor:
    r"""A random point with $P\varphi = \theta^*$.

    Args:
        c: The case.
        seed: Seed.

    Returns:
        $\varphi$.
    """
    z = normal(generator_of(seed + 123), c.size)
    return c.centre + z - c.across(z)


def slope_error(c: Case, point: Tensor, loss: FlatLoss | None = None) -> float:
    r"""$P\nabla\tilde\ell_{ar}(\varphi)$ by automatic differentiation against $2\gamma PD(\varphi-\theta_0)$.

    Args:
        c: The case.
        point: $\varphi$.
        loss: Another $\ell$, for controls.

    Returns:
        The error relative to the whole gradient.
    """
    slope = grad(c.effective_frame(loss))(point)
    predicted = 2 * c.gamma * c.across(c.stretch * (point - c.bias))
    return float((c.across(slope) - predicted).norm() / (slope.norm() + predicted.norm()))


def check_slope(c: Case) -> Verdict:
    """Measured against predicted gradient across the mirror at points on it.

    Args:
        c: The case.

    Returns:
        Verdict whose control is the asymmetric loss.
    """
    points = [on_plane(c, c.seed + k) for k in range(2)]

    def measure(loss: FlatLoss) -> float:
        return max(slope_error(c, p, loss) for p in points)

    return Verdict(
        f"{c.name}: the slope on the mirror is 2 gamma P D (phi - theta_0)",
        residual=measure(c.loss),
        tolerance=DIFFERENCE_TOLERANCE,
        control=measure(c.broken),
        seed=c.seed,
        sizes={"parameters": c.size, "rank": c.rank},
        settings={"gamma": c.gamma},
    )


def _control_slope_asymmetric(seed: int) -> Verdict:
    c = case("basis", seed)
    return Verdict(
        "the predicted slope, asymmetric loss",
        slope_error(c, on_plane(c, seed), c.broken),
        DIFFERENCE_TOLERANCE,
        seed=seed,
    )


def _control_slope_off(seed: int) -> Verdict:
    c = case("basis", seed)
    return Verdict("the predicted slope, off the mirror", slope_error(c, c.point), DIFFERENCE_TOLERANCE, seed=seed)


def _control_slope_anisotropic(seed: int) -> Verdict:
    c = case("simple", seed)
    n, z = torch.linalg.eigh(c.projection).eigenvectors[:, -1], normal(generator_of(seed + 123), c.size)
    within = z - c.across(z)
    needed, available = float(n @ (c.stretch * (c.centre - c.bias))), float(n @ (c.stretch * within))
    slope = c.across(grad(c.effective_frame())(c.centre - within * needed / available))
    return Verdict(
        "the slope is of the size of the bias, whatever the anisotropy", vanished(float(slope.norm())), 1e-5, seed=seed
    )


def slope_frame() -> Verdict:
    r"""Corollary 1 in the frame of eq. (7): $\ell = 0$, $D = I$, $P\theta = 0$. Then $P\nabla\ell_{ar} = 2\gamma P\theta = 0$.

    Returns:
        Verdict on "the slope is of order $\gamma\sigma_0$", which must fail.
    """
    c = replace(case("basis", 0).isotropic, loss=lambda v: 0 * v.sum())
    theta = c.point - c.across(c.point)
    slope = c.across(grad(c.trained_frame())(theta))
    return Verdict("P grad l_ar is not zero where P theta = 0", vanished(float(slope.norm())), 1e-5, seed=0)


def slope_limit() -> Verdict:
    r"""Does $\Delta$ converge to the gradient along $n$ as $P\theta\to0$? It converges to twice that.

    Returns:
        Verdict on the relative difference near the mirror, which must fail.
    """
    c = case("basis", 0)
    across = c.across(c.point)
    n, within = across / across.norm(), c.point - across
    found = measured_difference(c, within + 1e-4 * n)
    slope = float(n @ grad(c.effective_frame())(c.centre + within))
    assert abs(found / slope - 2) < 1e-6
    return Verdict("Delta tends to n^T grad", abs(found - slope) / abs(slope), 1e-3, seed=0)


def _prove_slope() -> Proof:
    h = Function("h")
    gamma, t, m, k = symbols("gamma t m k", positive=True)
    (p, _d, z, zt, s, _, b, _), rules = symbols_of_the_frame()
    del zt
    decay = gamma * k * (m + t) ** 2
    return Proof(
        "B.C1",
        "any dimension and rank; along a normal line h(t) + h(-t) is the symmetric loss and m + t = phi - theta_0 there",
        (
            identity("the loss has no slope across the mirror", derivative_at_zero(lambda x: h(x) + h(-x))),
            identity("the decay has: twice gamma D (phi - theta_0)", decay.diff(t).subs(t, 0), 2 * gamma * k * m),
            identity(
                "where P phi = theta*, phi - theta_0 = (I - P) theta + theta* - theta_0",
                p * ((1 - p) * z + s - b),
                s - p * b,
                rules,
            ),
            identity(
                "the difference to the image, per distance, is twice the slope",
                (decay - decay.subs(t, -t)) / t,
                2 * decay.diff(t).subs(t, 0),
            ),
        ),
    )


SLOPE = Theorem(
    claim=Claim(
        id="B.C1",
        source=f"{PAPER}, Corollary 1",
        title="No symmetric point is stationary any more",
        statement=r"For any $\theta$ such that $P\theta = 0$, $P\nabla_\theta\ell_{ar} = \Omega(\gamma\sigma_0)$.",
        hypotheses={
            "invariant loss": r"$\ell$ has the $(\theta^*, P)$-symmetry",
            "on the mirror": r"$P\varphi = \theta^*$",
            "small anisotropy": r"$\sigma_D = o(\sigma_0)$",
        },
        verdict="holds as corrected",
        correction=r"At effective parameters $\varphi$ with $P\varphi = \theta^*$, $P\nabla\tilde\ell_{ar} = 2\gamma PD(\varphi-\theta_0)$ exactly. With $D = I$, $\theta^* = 0$ its norm is "
        r"$2\gamma\sigma_0\chi_r$: typically $2\gamma\sigma_0\sqrt r$.",
        chapter="syre_bounds",
        errata=(
            Erratum(
                where="Corollary 1",
                printed=r"$P\nabla\ell_{ar} = \Omega(\gamma\sigma_0)$ for any $\theta$ with $P\theta = 0$, $\ell_{ar}$ of eq. (7).",
                true=r"For any $\theta$ with $P(\theta+\theta_0) = \theta^*$. At $P\theta = 0$ the decay has no slope at all.",
                counterexample=r"Constant $\ell$, $D = I$ ($\sigma_D = 0$, which Section 5.3 allows): $P\nabla\ell_{ar} = 2\gamma P\theta = 0$. With distinct $D_{ii}$ "
                r"it is $2\gamma PD(I-P)\theta$, of order $\gamma\sigma_D$ and so $o(\gamma\sigma_0)$.",
                consequence="The place to look for a lost stationary point is the mirror of the effective parameters.",
                check="symtheory.theorems.syre_bounds.slope.slope_frame",
            ),
            Erratum(
                where="Section 5.3, before Corollary 1",
                printed=r"As $P\theta\to0$, $\Delta$ converges to the projection of the gradient onto the symmetry-breaking subspace.",
                true=r"To *twice* its component along $n$: the points are $2\|P\theta\|$ apart and the difference is divided by $\|P\theta\|$.",
                counterexample="Any case; the ratio is 2.",
                consequence="Slopes estimated from $\\Delta$ are too large by 2.",
                check="symtheory.theorems.syre_bounds.slope.slope_limit",
                kind="formula",
            ),
        ),
    ),
    prove=_prove_slope,
    check=check_slope,
    instances=all_cases,
    controls={
        "invariant loss": _control_slope_asymmetric,
        "on the mirror": _control_slope_off,
        "small anisotropy": _control_slope_anisotropic,
    },
    counterexamples={"frame": slope_frame, "limit": slope_limit},
)
