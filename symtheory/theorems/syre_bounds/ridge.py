r"""Eq. (13) of paper B: linear regression with a static bias is ridge regression with an anchor.

Statement: the ridge solution is $(\gamma I+A)^{-1}E[xy]$, $A = E[xx^T]$, and that of the biased model
$w^* = (\gamma I+A)^{-1}(E[xy]+\gamma\theta_0)$; the difference is negligible if either $\gamma$ and $\theta_0$ are small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from sympy import Symbol
from torch import Tensor

from symtheory.engine.symbolic import identity, matrices
from symtheory.errors import SymtheoryError
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.numerics import relative_error, rounding_tolerance
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import generator_of, normal
from symtheory.theorems.syre_bounds.frames import PAPER


def anchored_ridge(gram: Tensor, target: Tensor, gamma: float, bias: Tensor) -> Tensor:
    r"""Effective weights $(\gamma I+A)^{-1}(E[xy]+\gamma\theta_0)$ of regularised least squares with an anchor.

    Args:
        gram: $A = E[xx^T]$, shape (d, d).
        target: $E[xy]$, shape (d,).
        gamma: $\gamma>0$, for the mean squared error $E(w^Tx-y)^2+\gamma\|\cdot\|^2$.
        bias: $\theta_0$; zero gives ridge regression.

    Returns:
        $w+\theta_0$, where $w$ are the trained parameters.

    Raises:
        SymtheoryError: If $\gamma$ is not positive.

    >>> anchored_ridge(torch.zeros(1, 1), torch.zeros(1), 0.5, torch.ones(1))
    tensor([1.])
    """
    if not gamma > 0:
        raise SymtheoryError("gamma > 0", f"{gamma}", "without decay the anchor has no effect")
    return torch.linalg.solve(gamma * torch.eye(len(gram), dtype=gram.dtype) + gram, target + gamma * bias)


def shift_bound(gram: Tensor, gamma: float, bias: Tensor) -> float:
    r"""$\frac{\gamma}{\gamma+\lambda_{\min}(A)}\|\theta_0\|$, a bound on the distance to the ridge solution.

    Args:
        gram: $A$.
        gamma: $\gamma$.
        bias: $\theta_0$.

    Returns:
        The bound; for singular $A$ it is $\|\theta_0\|$, however small $\gamma$.

    >>> shift_bound(torch.eye(2), 1.0, torch.tensor([0.0, 2.0]))
    1.0
    """
    return gamma / (gamma + max(float(torch.linalg.eigvalsh(gram)[0]), 0.0)) * float(bias.norm())


@dataclass(frozen=True)
class Regression:
    r"""A data set, a decay and a bias.

    Attributes:
        inputs: Shape (samples, d).
        outputs: Shape (samples,).
        gamma: $\gamma$.
        bias: $\theta_0$.
        seed: Seed.
    """

    inputs: Tensor
    outputs: Tensor
    gamma: float
    bias: Tensor
    seed: int

    @property
    def gram(self) -> Tensor:
        """$E[xx^T]$."""
        return self.inputs.T @ self.inputs / len(self.inputs)

    @property
    def target(self) -> Tensor:
        """$E[xy]$."""
        return self.inputs.T @ self.outputs / len(self.inputs)

    def loss(self, w: Tensor, *, total: bool = False) -> Tensor:
        r"""$\ell_r(w) = E(((w+\theta_0)^Tx-y)^2)+\gamma\|w\|^2$.

        Args:
            w: Trained parameters.
            total: Sum the squares instead of taking their mean.

        Returns:
            Scalar.
        """
        squares = (self.inputs @ (w + self.bias) - self.outputs).square()
        return (squares.sum() if total else squares.mean()) + self.gamma * w.square().sum()


def regression(seed: int, samples: int = 12, width: int = 5, gamma: float = 0.3) -> Regression:
    """A random regression problem.

    Args:
        seed: Seed.
        samples: Number of samples.
        width: Number of features.
        gamma: Weight decay.

    Returns:
        The problem.
    """
    g = generator_of(seed)
    return Regression(normal(g, samples, width), normal(g, samples), gamma, normal(g, width), seed)


def minimizer(problem: Regression, *, total: bool = False) -> Tensor:
    r"""Minimum of $\ell_r$ by one exact Newton step with automatic derivatives; no formula for the solution is used.

    Args:
        problem: The problem.
        total: Sum instead of mean.

    Returns:
        The trained parameters $w$.
    """
    zero = torch.zeros_like(problem.bias)
    slope = torch.func.grad(lambda w: problem.loss(w, total=total))(zero)
    curvature = torch.func.hessian(lambda w: problem.loss(w, total=total))(zero)
    return -torch.linalg.solve(curvature, slope)


def eq_13_error(problem: Regression, *, total: bool = False, solve: Regression | None = None) -> float:
    r"""$w+\theta_0$ at the minimum of $\ell_r$ against eq. (13).

    Args:
        problem: The problem of which the minimum is taken.
        total: Sum instead of mean.
        solve: Problem for the formula, if another.

    Returns:
        Relative error.
    """
    other = problem if solve is None else solve
    formula = anchored_ridge(other.gram, other.target, other.gamma, other.bias)
    return relative_error(minimizer(problem, total=total) + problem.bias, formula)


def _tolerance(problem: Regression) -> float:
    values = torch.linalg.eigvalsh(problem.gram)
    return 4 * rounding_tolerance(
        len(problem.bias), condition=float((values[-1] + problem.gamma) / (values[0].clamp_min(0) + problem.gamma))
    )


def check_ridge(problem: Regression) -> Verdict:
    r"""The effective weights at the minimum of $\ell_r$ are eq. (13); the control leaves $\theta_0$ out.

    Args:
        problem: The problem.

    Returns:
        The verdict.
    """
    plain = replace(problem, bias=torch.zeros_like(problem.bias))
    ridge = anchored_ridge(problem.gram, problem.target, problem.gamma, plain.bias)
    moved = float((minimizer(problem) + problem.bias - ridge).norm())
    excess = max(0.0, moved / shift_bound(problem.gram, problem.gamma, problem.bias) - 1)
    return Verdict(
        f"{len(problem.inputs)} samples, {len(problem.bias)} features: w + theta_0 solves anchored ridge regression",
        residual=max(eq_13_error(problem), excess - 1e-9),
        tolerance=_tolerance(problem),
        control=eq_13_error(problem, solve=plain),
        seed=problem.seed,
        sizes={"samples": len(problem.inputs), "features": len(problem.bias)},
        settings={"gamma": problem.gamma},
    )


def _control_quadratic(seed: int) -> Verdict:
    p = regression(seed)

    def loss(w: Tensor) -> Tensor:
        rest = (p.inputs @ (w + p.bias) - p.outputs).square()
        return torch.log1p(rest).mean() + p.gamma * w.square().sum()

    w = torch.zeros_like(p.bias)
    for _ in range(200):
        w = w - 0.3 * torch.func.grad(loss)(w)
    formula = anchored_ridge(p.gram, p.target, p.gamma, p.bias)
    return Verdict(
        "eq. (13) for a loss that is not squared", relative_error(w + p.bias, formula), _tolerance(p), seed=seed
    )


def _control_decay(seed: int) -> Verdict:
    p = regression(seed)
    other = replace(p, gamma=2 * p.gamma)
    return Verdict("eq. (13) with twice the decay", eq_13_error(p, solve=other), _tolerance(p), seed=seed)


def printed_solution() -> Verdict:
    r"""Is eq. (13) the minimum of eq. (6), $\ell(\theta+\theta_0)+\gamma\|\theta\|^2$? One feature, $A = E[xy] = \theta_0 = \gamma = 1$.

    Returns:
        Verdict on the trained $w$ against eq. (13), which must fail: $w = 0$ and eq. (13) says 1.
    """
    one = torch.ones(1, dtype=torch.float64)
    p = Regression(one[None], one, 1.0, one, 0)
    return Verdict(
        "w* of eq. (13) minimises l_r", relative_error(minimizer(p), anchored_ridge(one[None], one, 1.0, one)), 1e-9
    )


def printed_sum() -> Verdict:
    r"""The text minimises $\sum_i(w^Tx_i-y_i)^2$; eq. (13) holds for the mean.

    Returns:
        Verdict on eq. (13) for the sum, which must fail.
    """
    return Verdict("eq. (13) for the summed squares", eq_13_error(regression(0), total=True), 1e-9, seed=0)


def small_decay() -> Verdict:
    r"""Is the difference to ridge negligible when $\gamma$ is small? Three samples, five features, $\gamma = 10^{-8}$.

    Returns:
        Verdict on the distance in units of $\|\theta_0\|$, which must fail.
    """
    p = regression(0, samples=3, gamma=1e-8)
    ridge = anchored_ridge(p.gram, p.target, p.gamma, torch.zeros_like(p.bias))
    moved = anchored_ridge(p.gram, p.target, p.gamma, p.bias) - ridge
    return Verdict("a small decay makes the bias negligible", float(moved.norm() / p.bias.norm()), 1e-3, seed=0)


def hessian_shift() -> Verdict:
    r"""Does weight decay shift the eigenvalues of the Hessian of $E(w^Tx-y)^2$ by $\gamma$?

    Returns:
        Verdict on the relative error, which must fail: the shift is $2\gamma$.
    """
    p = regression(0)
    zero = torch.zeros_like(p.bias)
    with_, without = (torch.linalg.eigvalsh(torch.func.hessian(replace(p, gamma=x).loss)(zero)) for x in (p.gamma, 0.0))
    return Verdict("decay shifts the Hessian by gamma", float((with_ - without - p.gamma).abs().max() / p.gamma), 1e-9)


def _prove_ridge() -> Proof:
    a, m, b, t, w = matrices("A", r"(\gamma I + A)^{-1}", r"\theta_0", "E[xy]", "w")
    gamma = Symbol("gamma", positive=True)
    inverse = {m * a: 1 - gamma * m}
    effective = m * (t + gamma * b)
    return Proof(
        "B.E13",
        "any number of features, any A >= 0 and gamma > 0; M = (gamma I + A)^{-1}",
        (
            identity(
                "stationary point of l_r in w: A (w + theta_0) - E[xy] + gamma w",
                a * (w + b) - t + gamma * w,
                (gamma + a) * (w + b) - t - gamma * b,
                {},
            ),
            identity("so w = M (E[xy] - A theta_0) in the trained parameters", effective - b, m * (t - a * b), inverse),
            identity("the distance to ridge is gamma M theta_0", effective - m * t, gamma * m * b, {}),
            identity(
                "which is theta_0 - M A theta_0: all of theta_0 where A vanishes", gamma * m * b, b - m * a * b, inverse
            ),
        ),
    )


RIDGE = Theorem(
    claim=Claim(
        id="B.E13",
        source=f"{PAPER}, eq. (13)",
        title="Linear regression: ridge with an anchor",
        statement=r"The ridge solution is $E[\gamma I+A]^{-1}E[xy]$, and the solution of the biased model is "
        r"$w^* = E[\gamma I+A]^{-1}(E[xy]+\gamma\theta_0)$. The difference is negligible if either $\gamma$ and $\theta_0$ are small.",
        hypotheses={
            "squared loss": r"the loss is $E(w^Tx-y)^2$",
            "decay": r"$\gamma\|w\|^2$ with the same $\gamma$",
        },
        verdict="holds as corrected",
        correction=r"For the effective weights $w+\theta_0$ and the *mean* squared error; the trained weights are $(\gamma I+A)^{-1}(E[xy]-A\theta_0)$. The "
        r"distance to ridge is at most $\frac{\gamma}{\gamma+\lambda_{\min}(A)}\|\theta_0\|$; with fewer samples than features only a small $\theta_0$ makes it small.",
        chapter="syre_bounds",
        remark=r"Single noisy samples share no reflection, as the caption of Figure 3 has it, but their mean has some: every quadratic "
        r"loss is symmetric about its minimum, $w\mapsto2\hat w-w$, and about its eigenplanes. It is the case that Assumption 1 excludes; "
        "that the bias does no harm here follows from eq. (13).",
        errata=(
            Erratum(
                where="eq. (13)",
                printed=r"The solution to the biased model, eq. (6), is $w^* = [\gamma I+A]^{-1}(E[xy]+\gamma\theta_0)$.",
                true=r"That is $w^*+\theta_0$.",
                counterexample=r"$A = E[xy] = \theta_0 = \gamma = 1$: $w^* = 0$, printed 1.",
                consequence="Comparing trained weights with the formula shows a difference of $\\theta_0$.",
                check="symtheory.theorems.syre_bounds.ridge.printed_solution",
                kind="formula",
            ),
            Erratum(
                where="Before eq. (13)",
                printed=r"$\min_w\sum_i(w^Tx_i-y_i)^2$.",
                true=r"The mean. For the sum $\gamma$ in eq. (13) becomes $\gamma/N$.",
                counterexample="Any data set with more than one sample.",
                consequence="$\\gamma$ is off by the number of samples.",
                check="symtheory.theorems.syre_bounds.ridge.printed_sum",
                kind="wording",
            ),
            Erratum(
                where="After eq. (13)",
                printed=r"The difference is negligible if either $\gamma$ and $\theta_0$ are small.",
                true=r"If $\theta_0$ is small. A small $\gamma$ helps only where $A$ is not singular.",
                counterexample=r"Three samples, five features, $\gamma = 10^{-8}$: the solution moves by a fixed part of $\theta_0$.",
                consequence="With fewer samples than features, and near $N = d$, the bias enters the solution in full.",
                check="symtheory.theorems.syre_bounds.ridge.small_decay",
                kind="wording",
            ),
            Erratum(
                where="Section 6.1",
                printed=r"Weight decay shifts all the eigenvalues of the Hessian by $\gamma$.",
                true=r"By $2\gamma$; the Hessian is $2A$, not $A$.",
                counterexample="One feature: $(wx-y)^2+\\gamma w^2$.",
                consequence="Factors of 2 in curvature and learning-rate estimates.",
                check="symtheory.theorems.syre_bounds.ridge.hessian_shift",
                kind="wording",
            ),
        ),
    ),
    prove=_prove_ridge,
    check=check_ridge,
    instances=lambda seed: [regression(seed), regression(seed + 1, 4, 7), regression(seed + 2, 6, 6, 0.01)],
    controls={"squared loss": _control_quadratic, "decay": _control_decay},
    counterexamples={
        "trained or effective": printed_solution,
        "sum or mean": printed_sum,
        "small decay": small_decay,
        "Hessian": hessian_shift,
    },
)
