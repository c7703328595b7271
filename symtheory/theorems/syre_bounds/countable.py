r"""Theorem 1 of paper B: a static bias and weight decay remove countably many reflections.

Statement: if $\ell$ has countably many reflection symmetries (Property 1) and only countably many tilts $\ell(\theta)-c^T\theta$ have one
(Assumption 1), then with probability one over $\theta_0\sim\mathcal N(0,\sigma_0^2)$ the loss $\ell_r(\theta) = \ell(\theta+\theta_0)+\gamma\|\theta\|^2$ has none.

Absence is measured by a search: the smallest asymmetry of $\ell_r$ over all centres of a given plane, or over all planes of a
given rank. The verdict's residual is rounding divided by that asymmetry: 1 means an exact symmetry, small means none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from scipy.optimize import least_squares
from sympy import Symbol
from torch import Tensor
from torch.func import jacrev

from symtheory.engine.symbolic import identity, matrices
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.numerics import relative_error
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import generator_of, normal, orthonormal
from symtheory.theorems.syre_bounds.assumptions import softmax_classifier
from symtheory.theorems.syre_bounds.frames import PAPER

#: Asymmetry that rounding leaves of an exact symmetry, with a margin.
FLOOR = 1e-11
#: No symmetry: the smallest asymmetry found is a hundred thousand times rounding or more.
ABSENT = 1e-5

#: A loss on many points at once: shape (m, n) to (m,).
BatchLoss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Reflected:
    r"""A loss with a known reflection, and the bias and decay that should remove it.

    Attributes:
        name: Kind.
        loss: $\ell$.
        basis: $O$ with $P = OO^T$.
        centre: $\theta^*$, in the image of $P$.
        bias: $\theta_0$.
        gamma: $\gamma$.
        free: Whether all planes of the rank are searched, or only this one with all its centres.
        seed: Seed.
    """

    name: str
    loss: BatchLoss
    basis: Tensor
    centre: Tensor
    bias: Tensor
    gamma: float
    free: bool
    seed: int

    def removed(self, points: Tensor) -> Tensor:
        r"""$\ell_r(\theta) = \ell(\theta+\theta_0)+\gamma\|\theta\|^2$, row by row.

        Args:
            points: Shape (m, n).

        Returns:
            Shape (m,).
        """
        return self.loss(points + self.bias) + self.gamma * points.square().sum(1)


def _orthonormal(free: Tensor) -> Tensor:
    """Columns orthonormalised through a Cholesky factor, which can be differentiated at orthonormal columns too."""
    factor = torch.linalg.cholesky(free.T @ free + 1e-14 * torch.eye(free.shape[1], dtype=free.dtype))
    return torch.linalg.solve_triangular(factor, free.T, upper=False).T


def asymmetry(
    loss: BatchLoss, basis: Tensor, centres: Sequence[Tensor], seed: int, *, free: bool = False, probes: int = 30
) -> float:
    r"""Smallest root mean square of $\ell(\theta'+z)-\ell(\theta'+Rz)$ over the centres, and with ``free`` over the planes.

    Args:
        loss: The loss on rows.
        basis: $O$; the start of the search if ``free``.
        centres: Where to start the search for $\theta'$; only their part in the image of $P$ counts.
        seed: Seed of the probes $z$.
        free: Whether to vary $O$ too.
        probes: Number of probes.

    Returns:
        The asymmetry in units of the standard deviation of the loss over the probes.
    """
    n, r = basis.shape
    z = normal(generator_of(seed + 9), probes, n)

    def residual(x: Tensor) -> Tensor:
        o = _orthonormal(x[r:].reshape(n, r)) if free else basis
        centre = o @ x[:r]
        here, there = loss(centre + z), loss(centre + z - 2 * (z @ o) @ o.T)
        return (here - there) / here.detach().std().clamp_min(1e-12) / probes**0.5

    slope, best = jacrev(residual), float("inf")
    for start in centres:
        first = torch.cat([basis.T @ start, *([basis.reshape(-1)] if free else [])])
        best = min(best, float(residual(first).norm()))
        found = least_squares(
            lambda x: residual(torch.from_numpy(x)).numpy(),
            first.numpy(),
            jac=lambda x: slope(torch.from_numpy(x)).numpy(),  # type: ignore[arg-type]
            method="lm",
            max_nfev=30,
        )
        best = min(best, float((2 * found.cost) ** 0.5))
    return best


def survival(case: Reflected, loss: BatchLoss | None = None) -> float:
    r"""Rounding over the smallest asymmetry found: 1 for an exact symmetry, tiny for none.

    Args:
        case: The case.
        loss: Another loss than $\ell_r$, for controls.

    Returns:
        A number in $(0, 1]$.
    """
    target = case.removed if loss is None else loss
    g, projected = generator_of(case.seed + 8), case.basis @ (case.basis.T @ case.bias)
    starts = [torch.zeros_like(case.bias), case.centre - projected, normal(g, len(case.bias))]
    found = asymmetry(target, case.basis, starts, case.seed, free=case.free)
    return min(1.0, FLOOR / max(found, 1e-300))


def smooth(n: int, g: torch.Generator) -> BatchLoss:
    """Random smooth loss with more features than parameters, so that no direction is free.

    Args:
        n: Number of parameters.
        g: Source of randomness.

    Returns:
        A loss on rows.
    """
    count = 2 * n + 2
    a, d, w = normal(g, count, n) * (2.0 / n) ** 0.5, normal(g, count), torch.rand(count, generator=g).double() + 0.5
    mix = normal(g, count) / count**0.5
    return lambda z: (w * torch.nn.functional.softplus(z @ a.T + d)).sum(1) + (torch.tanh(z @ a.T + d) @ mix) ** 2


def plane_case(
    seed: int, n: int = 6, rank: int | None = None, sigma0: float = 1.0, gamma: float = 0.3, offset: float = 1.0
) -> Reflected:
    """A random smooth loss with one reflection of random rank about a random plane.

    Args:
        seed: Seed.
        n: Number of parameters.
        rank: Rank of the reflection; default random.
        sigma0: Size of the bias.
        gamma: Weight decay.
        offset: Size of the centre of the reflection.

    Returns:
        The case; all centres of the plane are searched.
    """
    g = generator_of(seed)
    r = int(torch.randint(1, n + 1, (), generator=g)) if rank is None else rank
    o = orthonormal(n, r, g)
    centre, f = offset * o @ normal(g, r), smooth(n, g)

    def loss(z: Tensor) -> Tensor:
        y = z - centre
        return (f(y) + f(y - 2 * (y @ o) @ o.T)) / 2

    return Reflected(f"smooth loss, rank {r}", loss, o, centre, sigma0 * normal(g, n), gamma, False, seed)


def network_case(seed: int, sigma0: float = 1.0, gamma: float = 0.1) -> Reflected:
    """A tanh network with two hidden neurons; the search starts at their exchange and runs over all planes of rank 3.

    Args:
        seed: Seed.
        sigma0: Size of the bias.
        gamma: Weight decay.

    Returns:
        The case.
    """
    g = generator_of(seed)
    x, y = normal(g, 12, 1), normal(g, 12)

    def loss(z: Tensor) -> Tensor:
        w, b, a = z[:, None, 0:2], z[:, None, 2:4], z[:, None, 4:6]
        out = (a * torch.tanh(w * x + b)).sum(-1)
        return (out - y).square().mean(1)

    o = torch.kron(torch.eye(3), torch.tensor([[1.0], [-1.0]])).double() / 2**0.5
    bias = sigma0 * normal(g, 6)
    return Reflected("tanh network, neurons exchanged", loss, o, torch.zeros_like(bias), bias, gamma, True, seed)


def check_countable(case: Reflected) -> Verdict:
    r"""$\ell_r$ has no reflection; the control is the shifted loss without decay, which has one.

    Args:
        case: The case.

    Returns:
        The verdict.
    """
    return Verdict(
        f"{case.name}: bias and decay leave no reflection",
        residual=survival(case),
        tolerance=ABSENT,
        control=survival(case, lambda z: case.loss(z + case.bias)),
        seed=case.seed,
        sizes={"parameters": len(case.bias), "rank": case.basis.shape[1]},
        settings={"gamma": case.gamma},
    )


def _survives(seed: int, statement: str, case: Reflected) -> Verdict:
    return Verdict(statement, survival(case), ABSENT, seed=seed)


def _control_bias(seed: int) -> Verdict:
    c = plane_case(seed, rank=2)
    return _survives(
        seed, "a bias with P theta_0 = theta*", replace(c, bias=c.bias + c.centre - c.basis @ (c.basis.T @ c.bias))
    )


def _control_decay(seed: int) -> Verdict:
    return _survives(seed, "no decay", replace(plane_case(seed, rank=2), gamma=0.0))


def _control_countable(seed: int) -> Verdict:
    r"""$\phi(\|\theta\|)$: reflections whose normals are orthogonal to $\theta_0$ survive, for every $\theta_0$."""
    g = generator_of(seed)
    bias = normal(g, 4)
    n = normal(g, 4)
    n = n - (n @ bias) / (bias @ bias) * bias
    zero = torch.zeros_like(bias)
    case = Reflected(
        "radial", lambda z: z.square().sum(1).add(1).log(), (n / n.norm())[:, None], zero, bias, 0.3, False, seed
    )
    return _survives(seed, "uncountably many reflections", case)


def _control_assumption(seed: int) -> Verdict:
    r"""A quadratic with distinct curvatures has $2^n$ reflections, its tilts uncountably many: it moves its centre and keeps them."""
    g = generator_of(seed)
    q, bias, shift = orthonormal(4, 4, g), normal(g, 4), normal(g, 4)
    curvature = torch.arange(1.0, 5.0).double()
    case = Reflected(
        "quadratic",
        lambda z: ((z - shift) @ q).square() @ curvature,
        torch.eye(4).double(),
        shift,
        bias,
        0.3,
        False,
        seed,
    )
    return _survives(seed, "a quadratic loss", case)


def zero_projection() -> Verdict:
    r"""$P = 0$ is a projection and $(0, 0)$ a symmetry of every function.

    Returns:
        Verdict on "$\ell_r$ has no $(\theta', P)$-symmetry" at $P = 0$, which must fail.
    """
    c = plane_case(0, rank=1)
    z = normal(generator_of(1), 10, 6)
    difference = float((c.removed(z) - c.removed(z - 0 * z)).abs().max())
    return Verdict("no projection P at all remains a symmetry", min(1.0, FLOOR / max(difference, 1e-300)), ABSENT)


def constant_bias() -> Verdict:
    r"""The proof is said to work for any $\theta_0\neq0$; $\theta_0 = (1,\dots,1)$ lies on the mirror of two exchanged neurons.

    Returns:
        Verdict on "no reflection is left", which must fail.
    """
    case = replace(network_case(0), bias=torch.ones(6, dtype=torch.float64), free=False)
    return Verdict("a constant bias removes the exchange of neurons", survival(case), ABSENT)


def anchor_sign() -> Verdict:
    r"""Is $\ell(\theta)+\gamma\|\theta+\theta_0\|^2$ the same function as $\ell_r$ up to a translation?

    Returns:
        Verdict on the best match, at the translation by $\theta_0$, which must fail; with $\theta-\theta_0$ it is exact.
    """
    c = plane_case(0, rank=2)
    z = normal(generator_of(1), 20, 6)
    shifted = c.removed(z - c.bias)
    minus = c.loss(z) + c.gamma * (z - c.bias).square().sum(1)
    plus = c.loss(z) + c.gamma * (z + c.bias).square().sum(1)
    assert relative_error(shifted, minus) < 1e-12
    return Verdict("l(theta) + gamma |theta + theta_0|^2 is l_r, translated", relative_error(shifted, plus), 1e-12)


def _prove_countable() -> Proof:
    p, z, zt, c, ct, b, bt, v, vt = matrices(
        "P", r"\theta", r"\theta^T", r"\theta'", r"\theta'^T", r"\theta_0", r"\theta_0^T", "c", "c^T"
    )
    gamma = Symbol("gamma", positive=True)
    rules = {p * p: p, p * c: c, ct * p: ct, ct * z: zt * c}
    r = 1 - 2 * p
    decay = (zt + ct) * (z + c) - (zt * r + ct) * (r * z + c)
    image = {p * p: p, p * v: v, vt * p: vt}
    return Proof(
        "B.T1",
        "any dimension, any P != 0, any l; the last two steps say why countably many P need not be assumed when the tilt "
        "c is not zero: theta_0 would lie in one of countably many hyperplanes",
        (
            identity(
                "eq. (34): the decay is symmetric up to a tilt 4 gamma theta^T P theta'",
                gamma * decay,
                4 * gamma * zt * p * c,
                rules,
            ),
            identity(
                "it vanishes for all theta only if theta' = P theta' = 0",
                decay.subs({z: c, zt: ct}),
                4 * ct * c,
                {p * p: p, p * c: c, ct * p: ct},
            ),
            identity(
                "case 1, tilt 0: reflecting about theta' + theta_0 is reflecting about its part in the image",
                r * z + b - (r * (z + b - p * b) + p * b),
                0,
                {p * p: p},
            ),
            identity(
                "case 2, tilt c = P c: the centre of the tilted loss and c fix P theta_0",
                p * (c + b) - c - p * b,
                0,
                rules,
            ),
            identity("so theta_0 lies on the hyperplane c^T theta_0 = c^T P theta_0", vt * p * b, vt * b, image),
            identity(
                "bias and anchor: l_r(theta - theta_0) has the decay |theta - theta_0|^2",
                (zt - bt) * (z - b),
                zt * z - zt * b - bt * z + bt * b,
                {},
            ),
        ),
    )


COUNTABLE = Theorem(
    claim=Claim(
        id="B.T1",
        source=f"{PAPER}, Theorem 1",
        title="A static bias and decay remove countably many reflections",
        statement=r"Let $\ell$ satisfy Property 1 and Assumption 1. Then, with probability 1 over $\theta_0$, there is no projection $P$ "
        r"and point $\theta'$ such that $\ell_r(\theta) = \ell(\theta+\theta_0)+\gamma\|\theta\|^2$ has the $(\theta', P)$-symmetry.",
        hypotheses={
            "countable": r"Property 1: countably many pairs $(\theta^\dagger, P)$ are symmetries of $\ell$",
            "no tilted symmetry": r"Assumption 1: countably many pairs $(c,\tilde\theta)$ give $\ell-c^T\theta$ a $\tilde\theta$-centric symmetry, $Pc = c$",
            "decay": r"$\gamma>0$",
            "random bias": r"$\theta_0$ is Gaussian with $\sigma_0>0$",
        },
        verdict="holds as corrected",
        correction=r"For $P\neq0$; $P = 0$ is a symmetry of everything. The hypotheses are much stronger than the paper says: softmax "
        r"outputs, batch and layer normalisation, key biases and constant input features all violate them, and there a "
        r"reflection does survive, harmless since its mirror costs no capacity.",
        chapter="syre_bounds",
        remark=r"In the remark after the proof, 'zero measure' has to be taken within the image of $P$, and over the union of all $P$.",
        errata=(
            Erratum(
                where="Theorem 1",
                printed="There exists no projection matrix $P$ and reflection point.",
                true=r"No projection $P\neq0$.",
                counterexample=r"$P = 0$, $\theta' = 0$.",
                consequence="Property 1 has to leave it out, too; a search over ranks has to start at 1.",
                check="symtheory.theorems.syre_bounds.countable.zero_projection",
                kind="wording",
            ),
            Erratum(
                where="Below Assumption 1",
                printed="The assumption is satisfied by common neural networks with standard activations.",
                true="It fails whenever the loss has a free direction $u$: each plane $u^T\\theta = s$ is a symmetry. So do Property 1 and "
                r"the conclusion, since $\gamma\|\theta\|^2$ keeps $u^T\theta\to-u^T\theta$ for every bias.",
                counterexample="A tanh network with softmax cross-entropy. The same constant added to all output biases is invisible; "
                r"$\ell_r$ is symmetric with $P = uu^T$, $u$ that direction, for every $\theta_0$.",
                consequence="A test that looks for *any* symmetry left after removal finds these. They need no removal; anisotropic decay "
                "removes those that are not along a coordinate axis.",
                check="symtheory.theorems.syre_bounds.assumptions.softmax_classifier",
            ),
            Erratum(
                where="Section 5.1, after Theorem 1",
                printed=r"The proof works as long as $\theta_0$ is nonzero.",
                true=r"As long as $P_i\theta_0\neq\theta^\dagger_i$ for all $i$, which almost every $\theta_0$ satisfies, but not every nonzero one.",
                counterexample=r"$\theta_0 = (1,\dots,1)$ is on the mirror of any two exchanged neurons.",
                consequence="A constant bias, or one repeated across neurons, removes no permutation symmetry.",
                check="symtheory.theorems.syre_bounds.countable.constant_bias",
                kind="formula",
            ),
            Erratum(
                where="Section 5.1, after Theorem 1",
                printed=r"Equivalently, $\ell_r(\theta,x) = \ell(\theta)+\gamma\|\theta+\theta_0\|^2$.",
                true=r"$\ell(\theta)+\gamma\|\theta-\theta_0\|^2$, as the proof of Theorem 3 has it. With the plus sign it is the same only in "
                r"distribution, since $-\theta_0$ is as likely as $\theta_0$.",
                counterexample=r"Any loss: $\ell_r(\theta-\theta_0) = \ell(\theta)+\gamma\|\theta-\theta_0\|^2$.",
                consequence="A run that changes from the biased model to anchored decay, or loads a checkpoint of the other form, is "
                r"pulled to the wrong point, $2\theta_0$ away.",
                check="symtheory.theorems.syre_bounds.countable.anchor_sign",
                kind="formula",
            ),
        ),
    ),
    prove=_prove_countable,
    check=check_countable,
    instances=lambda seed: [plane_case(seed), plane_case(seed + 1, rank=1), network_case(seed)],
    controls={
        "countable": _control_countable,
        "no tilted symmetry": _control_assumption,
        "decay": _control_decay,
        "random bias": _control_bias,
    },
    counterexamples={
        "zero projection": zero_projection,
        "common networks": softmax_classifier,
        "nonzero bias": constant_bias,
        "sign of the anchor": anchor_sign,
    },
)
