r"""Theorem 1.4 of paper A: above a threshold every minimum lies on the mirror.

Statement: if the Hessian of $\ell_0$ is bounded below by $\lambda_{\min}$, there is $\gamma_1$ such that all minima of $\ell_\gamma$,
$\gamma>\gamma_1$, satisfy $O^Tw = 0$. Here $\gamma_1$ is computed: :func:`uniform_threshold` from a curvature bound,
:func:`critical_decay` for the stability of one symmetric point.
"""

from __future__ import annotations

import sympy
import torch
from sympy import Function, Symbol
from torch import Tensor

from symtheory.engine.model import Batch, Loss, with_decay
from symtheory.engine.operators import lowest_normal_curvature
from symtheory.engine.symbolic import derivative_at_zero, identity, matrices
from symtheory.errors import SymtheoryError
from symtheory.spec import families
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params, shapes_of, size_of, unflatten
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import (
    KINDS,
    generator_of,
    orthonormal,
)
from symtheory.theorems.mirror_constraint.definitions import PAPER
from symtheory.theorems.mirror_constraint.landscapes import Landscape, double_well, minima, waves


def uniform_threshold(lambda_min: float) -> float:
    r"""$\gamma_1 = \max(0, -\lambda_{\min}/2)$: above it $\ell_\gamma$ is strictly convex and all minima are symmetric.

    Args:
        lambda_min: Lower bound of the Hessian eigenvalues of $\ell_0$, possibly negative.

    Returns:
        $\gamma_1$ in the paper's convention.

    >>> uniform_threshold(-10.0), uniform_threshold(3.0)
    (5.0, 0.0)
    """
    return max(0.0, -lambda_min / 2)


def critical_decay(loss: Loss, params: Params, batch: Batch, mirror: Mirror) -> float:
    r"""Smallest $\gamma\ge0$ at which a symmetric point has no direction of descent across the mirror.

    $\gamma_c = \max(0, -\lambda_{\min}(P\nabla^2\ell_0P)/2)$ on the image of $P$, at the projection of ``params``.

    Args:
        loss: $\ell_0$.
        params: A point; its projection on the mirror is used.
        batch: Data.
        mirror: The mirror.

    Returns:
        $\gamma_c$ in the paper's convention.

    >>> from symtheory.spec import sign_flip
    >>> mirror = sign_flip({"w": (1,)}, ["w"])
    >>> critical_decay(lambda p, _: ((p["w"] ** 2 - 1) ** 2).sum(), {"w": torch.ones(1).double()}, None, mirror)
    2.0
    """
    return uniform_threshold(lowest_normal_curvature(loss, mirror.symmetrize(params), batch, mirror))


#: A minimum found to a gradient of 1e-8 in a landscape of curvature at least 1e-1 is within 1e-7 of the true one.
MINIMUM_TOLERANCE = 1e-7


def farthest_minimum(landscape: Landscape, gamma: float, loss: Loss | None = None) -> float:
    r"""Largest distance to the mirror among the minima of $\ell_\gamma$.

    Args:
        landscape: The landscape.
        gamma: Weight decay.
        loss: Another $\ell_0$, for controls.

    Returns:
        $\max\|O^Tw\|$ over the minima found.

    Raises:
        SymtheoryError: If no minimum was found.
    """
    regularised = with_decay(landscape.loss if loss is None else loss, gamma)
    found = minima(regularised, landscape.params, generator_of(landscape.seed))
    if not found:
        raise SymtheoryError("a minimum", "no start converged", "check the loss for kinks")
    return max(landscape.mirror.distance(p) for p in found)


def check_threshold(landscape: Landscape) -> Verdict:
    r"""Just above $\gamma_1 = -\lambda_{\min}/2$ every minimum found is on the mirror; the control is the asymmetric loss.

    Args:
        landscape: The landscape.

    Returns:
        Verdict on the farthest minimum. Where the threshold is exact, minima off the mirror must exist just below.
    """
    gamma = 1.02 * uniform_threshold(landscape.lambda_min)
    below = farthest_minimum(landscape, 0.98 * landscape.exact) if landscape.exact is not None else None
    residual = farthest_minimum(landscape, gamma)
    if below is not None and below < 1e-2:
        residual = 1.0  # the exact threshold was not sharp
    return Verdict(
        f"{landscape.name}: every minimum is on the mirror above gamma_1",
        residual=residual,
        tolerance=MINIMUM_TOLERANCE,
        control=farthest_minimum(landscape, gamma, landscape.broken),
        seed=landscape.seed,
        sizes={"parameters": size_of(shapes_of(landscape.params)), "rank": landscape.mirror.rank},
        settings={"gamma_1": gamma / 1.02, "below": below},
    )


def _landscapes(seed: int) -> list[Landscape]:
    return [waves(kind, seed) for kind in KINDS] + [double_well(seed)]


def _control_minima_asymmetric(seed: int) -> Verdict:
    well = double_well(seed)
    value = farthest_minimum(well, 1.02 * uniform_threshold(well.lambda_min), well.broken)
    return Verdict("minima of an asymmetric loss are on the mirror", value, MINIMUM_TOLERANCE, seed=seed)


def _control_below(seed: int) -> Verdict:
    well = double_well(seed)
    value = farthest_minimum(well, 0.98 * uniform_threshold(well.lambda_min))
    return Verdict("minima are on the mirror below the threshold", value, MINIMUM_TOLERANCE, seed=seed)


def _control_unbounded(seed: int) -> Verdict:
    r"""$\ell_0 = s^4(1+\cos s)$, $s = n\cdot w$: no curvature bound, and minima off the mirror at every $\gamma$."""
    g = generator_of(seed)
    n, gamma = orthonormal(3, 1, g)[:, 0], 50.0

    def loss(params: Params, _: Batch) -> Tensor:
        s = n @ params["w"]
        return s**4 * (1 + torch.cos(s))

    mirror = families.from_basis(n, {"w": (3,)})
    z = (9 * torch.pi * n).clone()  # 1 + cos has a zero here, with curvature s^4 against 2 gamma
    shapes = {"w": (3,)}

    def value(v: Tensor) -> Tensor:
        return with_decay(loss, gamma)(unflatten(v, shapes), None)

    def slope_and_curvature() -> tuple[Tensor, Tensor]:
        return torch.func.grad(value)(z), torch.func.hessian(value)(z)

    for _ in range(20):
        slope, curvature = slope_and_curvature()
        z = z - torch.linalg.solve(curvature, slope)
    slope, curvature = slope_and_curvature()
    lowest = float(torch.linalg.eigvalsh(curvature)[0])
    if lowest <= 0 or float(slope.norm()) > 1e-6:
        raise SymtheoryError("a strict local minimum", f"curvature {lowest:.2g}", "the control is broken")
    return Verdict(
        "minima are on the mirror without a curvature bound",
        mirror.distance({"w": z}),
        MINIMUM_TOLERANCE,
        seed=seed,
        settings={"gamma": gamma},
    )


def printed_threshold() -> Verdict:
    r"""The proof of part 4 takes $\gamma>\lambda_{\min}$: with $\lambda_{\min} = -3/2$ that allows $\gamma = 0$.

    Returns:
        The verdict on minima at $\gamma = 0.3 > \lambda_{\min}$, which must fail.
    """
    well = double_well(0)
    gamma = 0.3
    assert gamma > well.lambda_min
    return Verdict(
        "minima are on the mirror at gamma > lambda_min",
        farthest_minimum(well, gamma),
        MINIMUM_TOLERANCE,
        seed=0,
        settings={"lambda_min": well.lambda_min, "gamma": gamma},
    )


def bounded_space() -> Verdict:
    r"""A bounded space is said to suffice for part 4. On $1\le|w|\le2$, $\ell_0 = 0$ and any $\gamma>0$: minima $\pm1$.

    Returns:
        The verdict on the distance of the constrained minimum to the mirror $w = 0$, which must fail.
    """
    grid = torch.cat([torch.linspace(-2, -1, 1001), torch.linspace(1, 2, 1001)]).double()
    best = grid[(5.0 * grid**2).argmin()]
    return Verdict("minima on a bounded domain are on the mirror", float(best.abs()), MINIMUM_TOLERANCE)


def _prove_threshold() -> Proof:
    u, ut, n, nt = matrices("u", "u^T", "n", "n^T")
    s, c, a = sympy.symbols("s c a", positive=True)
    gamma, lam = (Symbol(x, real=True) for x in ("gamma", r"\lambda_{\min}"))
    h = Function("h")
    unit = {nt * n: 1, ut * n: 0, nt * u: 0}
    norm = (ut + s * nt) * (u + s * n)
    bound = sympy.Integral(lam + 2 * gamma, (s, 0, c))
    well = (s**2 - a) ** 2 / 4 + gamma * s**2
    return Proof(
        "A.T1.4",
        r"any dimension and rank, any twice differentiable symmetric loss with Hessian at least $\lambda_{\min}$; "
        r"$\varphi(s) = \ell_\gamma(u + sn)$",
        (
            identity(
                r"decay adds a curvature of $2\gamma$, not $\gamma$",
                gamma * sympy.Derivative(sympy.expand(norm), (s, 2)),
                2 * gamma,
                unit,
            ),
            identity("$\\varphi$ has no slope at the mirror", derivative_at_zero(lambda x: h(x) + h(-x))),
            identity("hence $\\varphi'(c)$ is at least", bound, c * (lam + 2 * gamma)),
            identity("which is zero exactly at $\\gamma = -\\lambda_{\\min}/2$", sympy.Subs(bound, gamma, -lam / 2)),
            identity(
                "double well: stationary off the mirror at $s^2 = a - 2\\gamma$, so $a/2$ is the exact threshold",
                sympy.Subs(sympy.Derivative(well, s), s, sympy.sqrt(a - 2 * gamma)),
            ),
            identity(
                "and its curvature at the mirror is $-a = \\lambda_{\\min}$",
                sympy.Subs(sympy.Derivative(well.subs(gamma, 0), (s, 2)), s, 0),
                -a,
            ),
        ),
    )


THRESHOLD = Theorem(
    claim=Claim(
        id="A.T1.4",
        source=f"{PAPER}, Theorem 1, part 4",
        title="Above a threshold every minimum is on the mirror",
        statement=r"If the Hessian of $\ell_0$ is bounded below by $\lambda_{\min}$ (possibly negative), there exists "
        r"$\gamma_1$ such that for all $\gamma>\gamma_1$ every minimum of $\ell_\gamma$ satisfies $O^Tw = 0$. The proof takes "
        r"$\gamma>\lambda_{\min}$.",
        hypotheses={
            "invariant loss": r"$\ell_0(w) = \ell_0(Rw)$",
            "curvature bound": r"Assumption 1: $\nabla^2\ell_0\ge\lambda_{\min}$ everywhere",
            "decay above the threshold": r"$\gamma>\gamma_1$",
        },
        verdict="holds as corrected",
        correction=r"The statement stands, the threshold of its proof does not: "
        r"$\gamma_1 = \max(0, -\lambda_{\min}/2)$, and this is sharp. The weight decay $\gamma\|w\|^2$ adds $2\gamma$ to "
        r"every Hessian eigenvalue, so strict convexity needs $2\gamma + \lambda_{\min} > 0$.",
        chapter="mirror_constraint",
        remark=r"Deep networks have no global curvature bound: already $(uw-y)^2$ has Hessian eigenvalues that tend to $-\infty$. "
        r"For *global* minima of a non-negative $C^2$ loss the assumption can be dropped: they satisfy "
        r"$\gamma\|w\|^2\le\ell_0(0)$, so only the curvature on a shrinking ball matters.",
        errata=(
            Erratum(
                where="Proof of Theorem 1, part 4",
                printed=r"If $\gamma>\lambda_{\min}$ then $\ell_\gamma$ has a positive definite Hessian everywhere.",
                true=r"If $\gamma>-\lambda_{\min}/2$. The printed threshold has the wrong sign and misses a factor 2.",
                counterexample=r"$\tfrac14(\|Pw\|^2-\tfrac32)^2 + \dots$ has $\lambda_{\min}=-\tfrac32$; at $\gamma=0.3>\lambda_{\min}$ "
                r"the minima lie at $\|Pw\|^2 = 0.9$, off the mirror.",
                consequence="A decay chosen by the printed rule (any $\\gamma\\ge0$ when $\\lambda_{\\min}<0$) enforces nothing.",
                check="symtheory.theorems.mirror_constraint.threshold.printed_threshold",
                kind="proof",
            ),
            Erratum(
                where="Before Assumption 1",
                printed="The curvature bound is called benign, since any $C^2$ function satisfies it in a bounded space; this suggests that part 4 applies on any bounded domain.",
                true="On a compact, *convex*, reflection-invariant domain. Compactness gives the bound, convexity keeps the "
                "projection inside.",
                counterexample=r"$\ell_0 = 0$ on $1\le|w|\le2$: symmetric, bounded Hessian; the minima of $\gamma w^2$ are $\pm1$.",
                consequence="Restricting parameters to a ball is safe; to a sphere or shell (weight normalisation) it is not.",
                check="symtheory.theorems.mirror_constraint.threshold.bounded_space",
                kind="wording",
            ),
        ),
    ),
    prove=_prove_threshold,
    check=check_threshold,
    instances=_landscapes,
    controls={
        "invariant loss": _control_minima_asymmetric,
        "curvature bound": _control_unbounded,
        "decay above the threshold": _control_below,
    },
    counterexamples={"printed threshold": printed_threshold, "bounded space": bounded_space},
)
