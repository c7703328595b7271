r"""Theorem 5 of paper A: SGD collapses onto a mirror in probability exactly when its Lyapunov exponent is negative.

Statement: let $z_{t+1} = (1-\lambda h(x_t))z_t$; then $z_t\to0$ in probability if and only if $\mathbb E\log|1-\lambda h|<0$.
Hypotheses, only in part spelled out in the paper: independent draws, a law that does not change, one number $h$ (one
normal, or common eigenvectors), a start off the mirror, an exponent that exists (as for every finite data set).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import pi

import sympy
import torch

from symtheory.engine.symbolic import identity
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.hessian_blocks.laws import (
    LAWS,
    REPLICAS,
    Law,
    contradiction,
    horizon,
    law,
    log_distance,
    tumbling,
)
from symtheory.theorems.instances import generator_of
from symtheory.theorems.mirror_constraint.definitions import PAPER

#: Not one replica in 2000 may contradict.
SHARE = 1e-4


def check_collapse(instance: Law) -> Verdict:
    """The sign of the exponent decides, on laws where a plausible other criterion says the opposite.

    Args:
        instance: The law.

    Returns:
        Verdict whose control is the prediction of the other criterion.
    """
    steps = horizon(instance.factors[instance.factors != 0].abs().log())
    logs = log_distance(instance.factors, steps, generator_of(instance.seed))
    return Verdict(
        f"{instance.name}: z_t -> 0 in probability iff the exponent is negative",
        residual=contradiction(instance.collapses, logs),
        tolerance=SHARE,
        control=contradiction(instance.rival, logs),
        seed=instance.seed,
        sizes={"steps": steps, "replicas": REPLICAS, "samples": len(instance.h)},
        settings={"exponent": instance.exponent},
    )


def collapse_instances(seed: int) -> Iterable[Law]:
    """One law of every kind.

    Args:
        seed: Seed.

    Returns:
        The laws.
    """
    return [law(kind, seed) for kind in LAWS]


def _control_start(seed: int) -> Verdict:
    """A start on the mirror stays there although the exponent is positive."""
    repelling = law("noise repels", seed)
    logs = (0.0 * log_distance(repelling.factors, 100, generator_of(seed)).exp()).log()  # z_0 = 0
    return Verdict("z_t stays away", contradiction(repelling.collapses, logs), SHARE, seed=seed)


def _control_independent(seed: int) -> Verdict:
    """One sample drawn once and used for ever."""
    attracting, g = law("diverging moments", seed), generator_of(seed)
    kept = torch.randint(2, (REPLICAS,), generator=g)
    logs = 1000 * attracting.factors.abs().log()[kept]
    return Verdict("z_t collapses", contradiction(attracting.collapses, logs), SHARE, seed=seed)


def _control_constant(seed: int) -> Verdict:
    r"""A learning rate that falls like $1/t^2$: every single exponent is negative and $z_t$ converges, but not to 0."""
    g = generator_of(seed)
    h = torch.rand(50, generator=g, dtype=torch.float64) + 0.5
    t = torch.arange(2, 2000, dtype=torch.float64)
    index = torch.randint(len(h), (200, len(t)), generator=g)
    logs = (1 - h[index] / t**2).log().sum(dim=1)
    return Verdict("z_t collapses", contradiction(True, logs), SHARE, seed=seed)


def _control_scalar(seed: int) -> Verdict:
    """Symmetric factors in random frames: the diagonal entries have a negative exponent, yet lengths grow."""
    draw, diagonal = tumbling(seed)
    g, replicas = generator_of(seed), 50
    z, logs = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(replicas, 2), torch.zeros(replicas).double()
    for _ in range(1000):
        z = (draw(g, replicas) @ z[:, :, None])[:, :, 0]
        length = z.norm(dim=1)
        z, logs = z / length[:, None], logs + length.log()
    return Verdict("z_t collapses, by the diagonal entries", contradiction(diagonal < 0, logs), SHARE, seed=seed)


def _control_exists(seed: int) -> Verdict:
    r"""Logarithms with a Cauchy law around $-1$: no mean, all truncated means negative, and a quarter stays away."""
    u = torch.rand(REPLICAS, generator=generator_of(seed), dtype=torch.float64)
    logs = 10**6 * (torch.tan(pi * (u - 0.5)) - 1)  # a sum of T Cauchy variables is T times one of them
    return Verdict("z_t collapses, by truncated means", contradiction(True, logs), SHARE, seed=seed)


def noise_can_repel() -> Verdict:
    r"""Noise is said to make mirrors more attractive: with $h\in\{0, 3\}$ and $\lambda = 0.9$ GD is attracted, SGD escapes.

    GD multiplies by $1 - 1.35$; SGD by 1 or $-1.7$, an exponent of $\tfrac12\log1.7>0$. With $h\in\{-3, 2\}$ and $\lambda = 1$, a saddle, both
    escape, and SGD faster.

    Returns:
        Verdict on SGD being attracted as GD is, which must fail.
    """
    saddle = 1 - torch.tensor([-3.0, 2.0], dtype=torch.float64)
    assert float(saddle.abs().log().mean()) > float(saddle.mean().abs().log()) > 0
    factors = 1 - 0.9 * torch.tensor([0.0, 3.0], dtype=torch.float64)
    gd = abs(float(factors.mean())) < 1
    logs = log_distance(factors, 2000, generator_of(0))
    return Verdict("SGD is attracted where GD is", contradiction(gd, logs), SHARE, seed=0)


def start_on_the_mirror() -> Verdict:
    r"""'Only if' with $z_0 = 0$: the exponent is $\log2$ and $z_t = 0$ for all $t$.

    Returns:
        Verdict on $z_t$ staying away from 0, which must fail.
    """
    z = torch.tensor(0.0).double()
    for _ in range(10):
        z = z - 1.0 * 3.0 * z
    return Verdict("z_t does not tend to 0, exponent log 2", 1.0 - float(z.abs()), 1e-9)


def _prove_collapse() -> Proof:
    z, f, m, rate, v, t, c = sympy.symbols("z f m lambda v t c", positive=True)
    x, mean, second = sympy.symbols("x mu q", real=True)
    normal = (1 + sympy.erf(c / sympy.sqrt(2 * v * t))) / 2
    return Proof(
        "A.T5",
        "independent identically distributed factors f = |1 - lambda h| whose logarithm has mean Lambda (here -c or 0) "
        "and a variance v; a vanishing factor only helps",
        (
            identity(
                "the logarithm of the distance is a random walk with steps log f",
                sympy.expand_log(sympy.log(z * f)) - sympy.log(z), sympy.log(f),
            ),
            identity(
                "Lambda = -c < 0: by Chebyshev P(walk > -ct/2) is at most the variance vt over (ct/2)^2, which tends to 0",
                sympy.Limit(v * t / (c * t / 2) ** 2, t, sympy.oo), 0,
            ),
            identity(
                "Lambda = 0: by the central limit theorem P(walk > -c) tends to 1/2 for every c: no convergence",
                sympy.Limit(normal, t, sympy.oo), sympy.Rational(1, 2),
            ),
            identity(
                "Lambda > 0: the first step for -walk, so |z_t| exceeds every bound with probability tending to 1",
                sympy.Limit(v * t / (-c * t / 2) ** 2, t, sympy.oo), 0,
            ),
            identity(
                "GD and SGD: log f lies under its tangent at the mean m; the gap g has g(m) = 0",
                sympy.Subs(sympy.log(m) + (f - m) / m - sympy.log(f), f, m),
            ),
            identity(
                "and g' = (f - m) / (m f), so g >= 0: for factors of one sign the mean of log f is at most log m",
                sympy.Derivative(sympy.log(m) + (f - m) / m - sympy.log(f), f), (f - m) / (m * f),
            ),
            identity(
                "the second moment is multiplied by 1 - lambda (2 mu - lambda q): it stays bounded only for "
                "lambda <= 2 mu / q, whatever Lambda is",
                (1 - 2 * rate * mean + rate**2 * second).subs(second, x), 1 - rate * (2 * mean - rate * x),
            ),
        ),
    )  # fmt: skip


COLLAPSE = Theorem(
    claim=Claim(
        id="A.T5",
        source=f"{PAPER}, Theorem 5 (Ziyin et al., 2023), and Section 2.4",
        title="Collapse in probability",
        statement=r"Let $z_{t+1} = z_t - \lambda h(x)z_t$. For any data set $z_t\to0$ in probability if and only if "
        r"$\mathbb E_x\log|1-\lambda h(x)|<0$. SGD noise makes symmetric solutions more attractive.",
        hypotheses={
            "independent draws": r"$x_t$ are independent draws from one law (drawing without replacement does as well)",
            "constant law": r"$h(x)$ and $\lambda$ do not change in time (Assumption 2)",
            "one number": r"$h(x)\in\mathbb R$: one normal, or eigenvectors common to all samples",
            "start off the mirror": r"$z_0\ne0$",
            "exponent exists": r"$\mathbb E\log|1-\lambda h|$ exists in $[-\infty,\infty]$, as it does for every finite data set",
        },
        verdict="holds as corrected",
        correction=r"Theorem 5 holds for independent draws and $z_0\ne0$; at exponent 0 there is no convergence. "
        r"That noise attracts holds if $\lambda h(x)\le1$ for all $x$: then $\Lambda_{\text{SGD}}\le\Lambda_{\text{GD}}$ by Jensen. For larger "
        r"steps noise can repel.",
        chapter="hessian_blocks",
        remark=r"Collapse is typical, not average: with $\mathbb E[h]\le0$ the second moment of $z_t$ diverges for every $\lambda$, also where "
        r"almost every run collapses. For blocks of several normals the top exponent of the matrix product decides, "
        r"not the exponents of diagonal entries.",
        errata=(
            Erratum(
                where="Section 2.4, on SGD",
                printed="The naive expectation that noise makes the model escape faster is the opposite of the truth: "
                "SGD noise makes these stationary conditions more attractive.",
                true=r"For $\lambda\max h\le1$: $\mathbb E\log|1-\lambda h|\le\log|1-\lambda\mathbb Eh|$. Otherwise either can happen.",
                counterexample=r"$h\in\{0, 3\}$ with equal chances, $\lambda = 0.9$: GD multiplies by $-0.35$ and is attracted, SGD has the "
                r"exponent $\tfrac12\log1.7>0$ and escapes. And from a saddle: $h\in\{-3, 2\}$, $\lambda = 1$, GD escapes at the rate $\log1.5$, SGD "
                r"at $\log2$, faster.",
                consequence="Raising the learning rate to induce sparsity works up to a point, and beyond it destroys it.",
                check="symtheory.theorems.hessian_blocks.collapse.noise_can_repel",
            ),
            Erratum(
                where="Theorem 5",
                printed=r"Let $w_t$ follow eq. (16). Then, for any data set, $w_t\to_p0$ if and only if the exponent is negative.",
                true=r"'Only if' needs $w_0\ne0$; the draws are meant to be independent.",
                counterexample=r"$w_0 = 0$, $h = 3$, $\lambda = 1$: $w_t = 0$ at exponent $\log2$.",
                consequence="A collapsed model stays collapsed also where collapse would not happen.",
                check="symtheory.theorems.hessian_blocks.collapse.start_on_the_mirror",
                kind="wording",
            ),
        ),
    ),
    prove=_prove_collapse,
    check=check_collapse,
    instances=collapse_instances,
    controls={
        "independent draws": _control_independent,
        "constant law": _control_constant,
        "one number": _control_scalar,
        "start off the mirror": _control_start,
        "exponent exists": _control_exists,
    },
    counterexamples={"noise attracts": noise_can_repel, "no condition on the start": start_on_the_mirror},
)
