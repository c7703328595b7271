r"""Theorem 4 of paper B: many reflections at once.

Statement: let $\ell$ have $N$ reflections $(P_i,\theta^*_i)$. For any local minimum $\theta\in\Theta(1)$, $\gamma\sigma_0 = \Omega(2\epsilon N/(1-\delta))$ guarantees
$\Pr(\min_i|\Delta_i|>\epsilon)>\delta$. With explicit constants this is :func:`bounds.required_bias`; the proof adds up the failures, so nothing is
assumed about dependence. Probabilities are counted over drawn biases and compared through Clopper-Pearson intervals.
"""

from __future__ import annotations

from math import erf, pi, sqrt

import torch
from sympy import diff, exp, integrate, symbols
from sympy import erf as sym_erf
from sympy import pi as sym_pi
from sympy import sqrt as sym_sqrt
from torch import Tensor

from symtheory.engine.statistics import Proportion, clopper_pearson
from symtheory.engine.symbolic import identity
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import generator_of, normal
from symtheory.theorems.syre_bounds.bounds import printed_required_bias, required_bias
from symtheory.theorems.syre_bounds.ensembles import (
    DRAWS,
    Many,
    differences,
    orthogonal_reflections,
    permutation_network,
    success,
)
from symtheory.theorems.syre_bounds.frames import PAPER, FlatLoss

#: A probability counts as guaranteed if the upper end of its 99.9 % interval falls short by less than this.
SHORTFALL = 1e-4


def identity_error(case: Many, loss: FlatLoss | None = None) -> float:
    r"""Measured $\Delta_i$ against $4\gamma\,n_i^T(\theta^*_i-\theta_0)$ for one bias.

    Args:
        case: The case.
        loss: Another $\ell$, for controls.

    Returns:
        The largest error relative to the largest difference.
    """
    bias = normal(generator_of(case.seed + 22), 1, case.point.numel())
    across = case.projections @ case.point
    n = across / across.norm(dim=1, keepdim=True)
    predicted = 4 * case.gamma * (n * (case.centres - bias)).sum(1)
    return float((differences(case, bias, loss)[0] - predicted).abs().max() / predicted.abs().max())


def check_many(case: Many, confidence: float = 0.8, epsilon: float = 0.1, shrink: float = 1.0) -> Verdict:
    r"""With $\sigma_0$ from :func:`bounds.required_bias`, $\Pr(\min_i|\Delta_i|>\epsilon)\ge\delta$; the control has a fifth of the bias.

    Args:
        case: The case.
        confidence: $\delta$.
        epsilon: $\epsilon$.
        shrink: Factor on the bias, for controls.

    Returns:
        Verdict on the shortfall of the probability, or on the error of $\Delta_i$ if that is larger.
    """
    sigma0 = shrink * required_bias(epsilon, confidence, case.gamma, case.count)

    def shortfall(factor: float) -> float:
        return max(0.0, confidence - success(case, factor * sigma0, epsilon).high)

    found = success(case, sigma0, epsilon)
    return Verdict(
        f"{case.name}: Pr(min |Delta_i| > {epsilon}) >= {confidence}",
        residual=max(0.0, confidence - found.high, identity_error(case)),
        tolerance=SHORTFALL,
        control=shortfall(0.2),
        seed=case.seed,
        sizes={"parameters": case.point.numel(), "reflections": case.count, "draws": DRAWS},
        settings={"sigma0": sigma0, "gamma": case.gamma, "low": found.low, "high": found.high},
    )


def _many(seed: int) -> list[Many]:
    return [
        permutation_network(seed),
        orthogonal_reflections(seed + 1, 6, 1),
        orthogonal_reflections(seed + 2, 4, 3),
        orthogonal_reflections(seed + 3, 1, 2),
    ]


def _control_asymmetric(seed: int) -> Verdict:
    case = orthogonal_reflections(seed)
    tilt = normal(generator_of(seed + 5), case.point.numel())
    value = identity_error(case, lambda v: case.loss(v) + torch.sin(tilt @ v))
    return Verdict("the differences of an asymmetric loss", value, SHORTFALL, seed=seed)


def _control_small(seed: int) -> Verdict:
    return check_many(orthogonal_reflections(seed), shrink=0.2)


def _control_on(seed: int) -> Verdict:
    r"""A point on one of the mirrors: its loss equals that of its image, for every bias."""
    case = orthogonal_reflections(seed)
    point = case.point - case.projections[0] @ case.point
    bias = 10 * normal(generator_of(seed + 5), 1, point.numel())
    across = case.projections[0] @ point
    here, there = case.centres[0] + point, case.centres[0] + point - 2 * across
    gap = float(
        case.loss(here) - case.loss(there) + case.gamma * ((here - bias).square().sum() - (there - bias).square().sum())
    )
    return Verdict("a point on the mirror differs from its image", float(abs(gap) < 1e-9), SHORTFALL, seed=seed)


def wells_on_a_circle(wells: int, sigma0: float, gamma: float, epsilon: float, draws: int, seed: int) -> Proportion:
    r"""$\ell = \kappa[(|z|^2-1)^2+\tfrac12(|z|^{K}-\mathrm{Re}\,z^K)]$ in the plane, $K$ even, $P = I$: how often do *all* $K$ minima have $|\Delta|>\epsilon$?

    Args:
        wells: $K$.
        sigma0: $\sigma_0$.
        gamma: $\gamma$.
        epsilon: $\epsilon$.
        draws: Number of biases.
        seed: Seed.

    Returns:
        The proportion of biases for which no minimum is nearly as good as its image.
    """
    stiff = 1e3
    angle = torch.arange(wells).double() * 2 * pi / wells

    def value(z: Tensor, bias: Tensor) -> Tensor:
        w = torch.complex(z[0], z[1])
        size = (z * z).sum()
        return (
            stiff * ((size - 1) ** 2 + (size ** (wells // 2) - (w**wells).real) / 2) + gamma * ((z - bias) ** 2).sum()
        )

    biases = sigma0 * normal(generator_of(seed), draws, 2)
    z = torch.stack([angle.cos(), angle.sin()], dim=1).repeat(draws, 1)
    anchor = biases.repeat_interleave(wells, dim=0)
    slope = torch.func.vmap(torch.func.grad(value))
    curvature = torch.func.vmap(torch.func.hessian(value))
    for _ in range(4):  # Newton from each well of the stiff loss: the minima of the anchored loss
        z = z - torch.linalg.solve(curvature(z, anchor), slope(z, anchor))
    assert float(slope(z, anchor).norm(dim=1).max()) < 1e-8
    assert float(torch.linalg.eigvalsh(curvature(z, anchor)).min()) > 0
    plain = torch.func.vmap(value)
    gaps = (plain(z, anchor) - plain(-z, anchor)).abs() / z.norm(dim=1)
    smallest = gaps.reshape(draws, wells).min(dim=1).values
    return clopper_pearson(int((smallest > epsilon).sum()), draws)


def all_minima(draws: int = 400) -> Verdict:
    r"""Is the bias of eq. (66) enough for *any* local minimum? Rank 2, one reflection, 48 minima on a circle, $\delta = 0.9$.

    Returns:
        Verdict on the shortfall of the probability, which must fail.
    """
    gamma, epsilon, confidence = 0.05, 0.01, 0.9
    sigma0 = printed_required_bias(epsilon, confidence, gamma)
    found = wells_on_a_circle(48, sigma0, gamma, epsilon, draws, 0)
    return Verdict(
        "Pr(|Delta| > epsilon at every local minimum) > 0.9",
        max(0.0, confidence - found.high),
        SHORTFALL,
        seed=0,
        settings={"probability": found.value, "sigma0": sigma0},
    )


def chosen_minimum(seed: int) -> Verdict:
    """Control for a point fixed in advance: the least separated of 48 minima is chosen after the bias.

    Args:
        seed: Seed.

    Returns:
        The verdict, which must fail.
    """
    gamma, epsilon, confidence = 0.05, 0.01, 0.9
    found = wells_on_a_circle(48, required_bias(epsilon, confidence, gamma), gamma, epsilon, 200, seed)
    return Verdict(
        "the guarantee for a minimum chosen after the bias", max(0.0, confidence - found.high), SHORTFALL, seed=seed
    )


def printed_deviation() -> Verdict:
    r"""Eq. (65) says that $\Delta_i$ has the standard deviation $\gamma\sigma_0$.

    Returns:
        Verdict on its relative error by counting, which must fail: it is $4\gamma\sigma_0$.
    """
    case = orthogonal_reflections(0, 1)
    found = float(differences(case, normal(generator_of(1), DRAWS, case.point.numel())).std()) / case.gamma
    assert abs(found - 4) < 0.2
    return Verdict("Delta has the standard deviation gamma sigma_0", abs(found - 1), 0.1, seed=0)


def printed_variance() -> Verdict:
    r"""The proof calls $\sigma_i$ a variance and bounds $\Pr(|\Delta_i|\le\epsilon)\le2\epsilon/\sqrt{2\pi\sigma_i^2}$.

    One reflection whose $\Delta$ has variance 4, $\epsilon = 1$.

    Returns:
        Verdict on how far the counted probability exceeds the bound, which must fail; with a standard deviation of 2 it does not.
    """
    case, epsilon, deviation = orthogonal_reflections(0, 1), 1.0, 2.0
    found = success(case, deviation / (4 * case.gamma), epsilon)

    def excess(sigma: float) -> float:
        return max(0.0, 1 - found.high - 2 * epsilon / sqrt(2 * pi * sigma**2))

    assert excess(deviation) == 0
    assert found.low <= 1 - erf(epsilon / (sqrt(2) * deviation)) <= found.high
    return Verdict("the bound with sigma_i = 4, the variance", excess(deviation**2), SHORTFALL, seed=0)


def printed_confidence() -> Verdict:
    r"""The proof asks for $\Pr(\min_i|\Delta_i|>\epsilon)$ to be larger than $1-\delta$ and arrives at eq. (64). One reflection, $\delta = 0.1$.

    Returns:
        Verdict on the shortfall of the counted probability from $1-\delta$, which must fail; $\delta$ it does exceed.
    """
    case, epsilon, delta = orthogonal_reflections(0, 1), 0.1, 0.1
    deviation = 2 * epsilon / (sqrt(2 * pi) * (1 - delta))
    found = success(case, deviation / (4 * case.gamma), epsilon)
    assert found.low > delta
    return Verdict("Pr(|Delta| > epsilon) > 1 - delta", max(0.0, 1 - delta - found.high), SHORTFALL, seed=0)


def generators_suffice() -> Verdict:
    r"""Is it enough to count generators? Two exchanges generate all permutations of three neurons; $\theta_0 = (0, 1, 0)$.

    Returns:
        Verdict on the smallest $|\Delta|$ of all three exchanges, in units of that of the generators, which must fail.
    """
    p = []
    for i, j in ((0, 1), (1, 2), (0, 2)):
        n = torch.zeros(3, dtype=torch.float64)
        n[i], n[j] = 2**-0.5, -(2**-0.5)
        p.append(torch.outer(n, n))
    zero, g = torch.zeros(3, 3, dtype=torch.float64), generator_of(0)
    case = Many("three neurons", lambda v: v.square().sum(), torch.stack(p), zero, normal(g, 3), 0.1, 0)
    found = differences(case, torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64))[0].abs()
    return Verdict("all exchanges are broken when the generators are", float(1 - found[2] / found[:2].min()), 1e-6)


def _prove_many() -> Proof:
    t, x, n, mu = symbols("t x N mu", positive=True)
    delta, gamma, sigma, eps = symbols("delta gamma sigma_0 epsilon", positive=True)
    gauss = exp(-(x**2) / 2) / sym_sqrt(2 * sym_pi)
    inside = integrate(gauss, (x, -t, t))
    moved = (sym_erf((t + mu) / sym_sqrt(2)) + sym_erf((t - mu) / sym_sqrt(2))) / 2
    bias = eps * n / (2 * sym_sqrt(2 * sym_pi) * gamma * (1 - delta))
    return Proof(
        "B.T4",
        "any number of reflections, any dependence between them; Delta_i Gaussian with standard deviation 4 gamma sigma_0",
        (
            identity("Pr(|Z| <= t) = erf(t / sqrt 2)", inside, sym_erf(t / sym_sqrt(2))),
            identity(
                "its slope in t is at most the one at 0, sqrt(2 / pi)", diff(inside, t).subs(t, 0), sym_sqrt(2 / sym_pi)
            ),
            identity(
                "a mean mu changes the probability at the rate phi(t + mu) - phi(t - mu) <= 0",
                diff(moved, mu),
                gauss.subs(x, t + mu) - gauss.subs(x, t - mu),
            ),
            identity(
                "N failures add up to 1 - delta at sigma_0 = epsilon N / (2 sqrt(2 pi) gamma (1 - delta))",
                n * sym_sqrt(2 / sym_pi) * (eps / (4 * gamma * sigma)).subs(sigma, bias),
                1 - delta,
            ),
        ),
    )


MANY = Theorem(
    claim=Claim(
        id="B.T4",
        source=f"{PAPER}, Theorem 4",
        title="Strength of removal, many reflections",
        statement=r"Let $\ell$ contain $N$ reflection symmetries $(P_i,\theta^*_i)$. For any local minimum $\theta\in\Theta(1)$, letting "
        r"$\gamma\sigma_0 = \Omega(\frac{2\epsilon N}{1-\delta})$ guarantees $\Pr(\min_i|\Delta_i|>\epsilon)>\delta$ for any $\epsilon$ and $\delta<1$.",
        hypotheses={
            "symmetries": r"$\ell$ has the $N$ symmetries",
            "off the mirrors": r"$P_i\theta\neq0$",
            "enough bias": r"$\gamma\sigma_0\ge\epsilon N/(2\sqrt{2\pi}(1-\delta))$",
            "fixed point": r"$\theta$ is not chosen after $\theta_0$ (ours)",
        },
        verdict="holds as corrected",
        correction=r"For $D = I$, a $\theta$ fixed before $\theta_0$ is drawn, or all $P_i$ of rank 1, and $\Delta_i$ in the frame of the effective parameters: "
        r"$\gamma\sigma_0\ge\epsilon N/(2\sqrt{2\pi}(1-\delta))$ suffices, a quarter of eq. (66). For another $D$ and a fixed $\theta$ divide by $\min D_{ii}$. For $M$ stiff minima, which hardly move with the bias, "
        r"$N$ becomes $NM$ (measured, not proved; soft wells can change the density of $\Delta_i$ at 0 by a factor).",
        chapter="syre_bounds",
        remark=r"Linear in $N$ for differences. The *slope* on mirrors of rank $r$ needs only $N^{1/r}$: see `bounds.slope_required_bias`.",
        errata=(
            Erratum(
                where="eqs. (65), (66)",
                printed=r"$\Delta_i = \gamma n_i^T(\theta^*-\theta_0)+\dots$, so $\gamma\sigma_0\ge2\epsilon N/(\sqrt{2\pi}(1-\delta))$.",
                true=r"$\Delta_i = 4\gamma n_i^T(\theta^*_i-\theta_0)$, so $\gamma\sigma_0\ge\epsilon N/(2\sqrt{2\pi}(1-\delta))$.",
                counterexample=r"One reflection: the standard deviation of $\Delta$ is $4\gamma\sigma_0$.",
                consequence="The printed bias is safe and four times larger than needed.",
                check="symtheory.theorems.syre_bounds.many.printed_deviation",
                kind="proof",
            ),
            Erratum(
                where="Theorem 4",
                printed=r"For any local minimum $\theta$.",
                true=r"$\theta$ must not depend on $\theta_0$, unless the reflections have rank 1; the proof uses that $n_i^T\theta_0$ is Gaussian. Over $M$ "
                r"stiff minima replace $N$ by $NM$.",
                counterexample=r"Rank 2, $\ell$ with 48 wells on a circle, $\delta = 0.9$: for the printed bias some minimum has $|\Delta|<\epsilon$ for about half of all $\theta_0$.",
                consequence="The minimum that training finds has seen the bias. Where the symmetry is of rank 2 or more, check $|\\Delta|$ after training.",
                check="symtheory.theorems.syre_bounds.many.all_minima",
            ),
            Erratum(
                where="Proof of Theorem 4, before eq. (62)",
                printed=r"Gaussian variables with variance $\sigma_i$. (So, too, $\theta_0$ with variance $\sigma_0$ in Section 5.1.)",
                true=r"Standard deviation $\sigma_i$.",
                counterexample=r"Variance 4, $\epsilon = 1$: $\Pr = 0.38$, the bound with $\sigma_i = 4$ is $0.20$.",
                consequence=r"A bias drawn with variance $\sigma_0<1$ is larger than meant.",
                check="symtheory.theorems.syre_bounds.many.printed_variance",
                kind="wording",
            ),
            Erratum(
                where="Proof of Theorem 4, before eq. (64)",
                printed=r"For $\Pr(\min_i|\Delta_i|>\epsilon)$ to be larger than $1-\delta$, we must have eq. (64).",
                true=r"For it to be larger than $\delta$, as in the theorem, eq. (64) suffices.",
                counterexample=r"One reflection, $\delta = 0.1$: eq. (64) gives a probability of 0.26, more than 0.1 and less than 0.9.",
                consequence=r"$\delta$ is the probability of success; read as one of failure the bias is far too small.",
                check="symtheory.theorems.syre_bounds.many.printed_confidence",
                kind="proof",
            ),
            Erratum(
                where="After Theorem 4",
                printed="$N$ is the size of the minimal set of the entire group generated by $N$ reflections.",
                true="$N$ counts every reflection that is to be broken. Breaking generators strongly does not break their products.",
                counterexample=r"Three neurons, exchanges (12) and (23), $\theta_0 = (0,1,0)$: both are broken, (13) is not at all.",
                consequence="For $h$ neurons count $h(h-1)/2$ exchanges, not $h-1$.",
                check="symtheory.theorems.syre_bounds.many.generators_suffice",
                kind="formula",
            ),
        ),
    ),
    prove=_prove_many,
    check=check_many,
    instances=_many,
    controls={
        "symmetries": _control_asymmetric,
        "off the mirrors": _control_on,
        "enough bias": _control_small,
        "fixed point": chosen_minimum,
    },
    counterexamples={
        "standard deviation": printed_deviation,
        "all minima": all_minima,
        "variance": printed_variance,
        "confidence": printed_confidence,
        "generators": generators_suffice,
    },
)
