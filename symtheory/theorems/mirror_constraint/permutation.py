r"""Theorem 4 of paper A: a permutation symmetry makes units identical.

Statement: if $\ell_0(\theta_a,\theta_b) = \ell_0(\theta_b,\theta_a)$, then equal blocks have equal gradients, and enough weight decay
prefers two copies of the mean to two different blocks.
"""

from __future__ import annotations

import sympy
from sympy import Function, Symbol
from torch import Tensor

from symtheory.engine.symbolic import derivative_at_zero, identity, matrices
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.params import Params, flatten
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import DATA, generator_of, generic_function, normal
from symtheory.theorems.mirror_constraint.definitions import PAPER
from symtheory.theorems.mirror_constraint.family import (
    Family,
    check_family,
    degenerate,
    outside,
    unconstrained,
)


def permutation_family(seed: int) -> Family:
    r"""General loss with $\ell_0(\theta_a,\theta_b) = \ell_0(\theta_b,\theta_a)$: half the sum of any function and its swap.

    Args:
        seed: Seed.

    Returns:
        The instance.
    """
    g = generator_of(seed)
    params = {"a": normal(g, 4), "b": normal(g, 4), "v": normal(g, 2)}
    f = generic_function(10, g)
    data = tuple(normal(g, DATA) for _ in range(2))

    def swap(p: Params) -> Params:
        return {"a": p["b"], "b": p["a"], "v": p["v"]}

    def mean(p: Params) -> Params:
        return {"a": (p["a"] + p["b"]) / 2, "b": (p["a"] + p["b"]) / 2, "v": p["v"]}

    def broken(p: Params, x: Tensor) -> Tensor:
        return f(flatten(p), x)

    def loss(p: Params, x: Tensor) -> Tensor:
        return (broken(p, x) + broken(swap(p), x)) / 2

    return Family(
        "permutation", loss, broken, params, mean, lambda grads: grads["a"] - grads["b"], mean, (swap,), data, seed
    )


def equation_57(theta_a: float, theta_b: float) -> float:
    r"""Eq. (57) as printed, for scalar blocks: $|g_a(0)|^2 + |g_b(0)|^2 - |g_a(\tfrac12)|^2 + |g_b(\tfrac12)|^2$.

    Args:
        theta_a: First block.
        theta_b: Second block.

    Returns:
        The printed $\Delta$, said to be negative for $\theta_a\neq\theta_b$.

    >>> equation_57(1.0, 0.0)
    1.5
    """
    middle = (theta_a + theta_b) / 2  # g_a(0) = g_b(0); g_a(1/2) = theta_b and g_b(1/2) = theta_a
    return 2 * middle**2 - theta_b**2 + theta_a**2


def printed_delta() -> Verdict:
    r"""Eq. (57) claims $\Delta<0$ for $\theta_a\neq\theta_b$; a sign is lost in print.

    Returns:
        The verdict on the printed form at $\theta_a = 1$, $\theta_b = 0$; the true one is $-\tfrac12|\theta_a-\theta_b|^2$.
    """
    printed = equation_57(1.0, 0.0)
    return Verdict(
        "the printed Delta is negative", max(printed, 0.0), 1e-12, settings={"printed": printed, "true": -0.5}
    )


def _prove_permutation() -> Proof:
    a, at, b, bt = matrices(r"\theta_a", r"\theta_a^T", r"\theta_b", r"\theta_b^T")
    half = sympy.Rational(1, 2)
    t = Symbol("t", real=True)
    g = Function("g")
    return Proof(
        "A.T4",
        "blocks of any size; part 1 for an undefined $g$ of two variables, one coordinate of each block at a time",
        (
            identity("eq. (11): $R = I - 2P$ exchanges the blocks", a - 2 * half * (a - b), b, {}),
            identity(
                "equal blocks have equal gradients: no slope along $(1, -1)$",
                derivative_at_zero(lambda s: g(t + s, t - s) + g(t - s, t + s)),
            ),
            identity(
                "part 2: the mean lowers the squared norm by half the squared distance",
                at * a + bt * b - half * (at + bt) * (a + b),
                half * (at - bt) * (a - b),
                {},
            ),
        ),
    )


PERMUTATION = Theorem(
    claim=Claim(
        id="A.T4",
        source=f"{PAPER}, Theorem 4",
        title="Permutation symmetry: identical units",
        statement=r"Let $\ell_0(\theta_a,\theta_b) = \ell_0(\theta_b,\theta_a)$. (1) If $\theta_a=\theta_b$ then "
        r"$\nabla_{\theta_a}\ell_\gamma = \nabla_{\theta_b}\ell_\gamma$. (2) For any $\theta_a\neq\theta_b$ there is $\gamma_0$ such "
        r"that $\ell_\gamma(m, m) < \ell_\gamma(\theta_b,\theta_a)$ for all $\gamma>\gamma_0$, with $m = (\theta_a+\theta_b)/2$.",
        hypotheses={
            "permutation": "the symmetry, for every sample",
            "equal blocks": r"part 1: $\theta_a=\theta_b$",
            "different blocks": r"part 2: $\theta_a\neq\theta_b$",
        },
        verdict="holds",
        chapter="mirror_constraint",
        remark=r"The threshold is exact: $\gamma_0 = 2[\ell_0(m,m)-\ell_0(\theta_a,\theta_b)]/\|\theta_a-\theta_b\|^2$.",
        errata=(
            Erratum(
                where="Eq. (57)",
                printed=r"$\Delta := \|g_a(0)\|^2 + \|g_b(0)\|^2 - \|g_a(0.5)\|^2 + \|g_b(0.5)\|^2 < 0$.",
                true=r"The last sign is a minus: $\Delta = -\tfrac12\|\theta_a-\theta_b\|^2$.",
                counterexample=r"$\theta_a = 1$, $\theta_b = 0$: the printed expression is $+\tfrac32$, the true one $-\tfrac12$.",
                consequence="Eq. (58) with the printed $\\Delta$ gives a threshold of the wrong sign.",
                check="symtheory.theorems.mirror_constraint.permutation.printed_delta",
                kind="proof",
            ),
        ),
    ),
    prove=_prove_permutation,
    check=check_family,
    instances=lambda seed: [permutation_family(seed)],
    controls={
        "permutation": outside(permutation_family),
        "equal blocks": unconstrained(permutation_family),
        "different blocks": degenerate(permutation_family, "part 2 with equal blocks"),
    },
    counterexamples={"eq. (57)": printed_delta},
)
