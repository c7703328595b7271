r"""Theorem 1 of paper B: a static bias and weight decay remove countably many reflections.

Statement: if $\ell$ has countably many reflection symmetries (Property 1) and only countably many tilts $\ell(\theta)-c^T\theta$ have one
(Assumption 1), then with probability one over $\theta_0\sim\mathcal N(0,\sigma_0^2)$ the loss $\ell_r(\theta) = \ell(\theta+\theta_0)+\gamma\|\theta\|^2$ has none.

Absence is measured by a search: the smallest asymmetry of $\ell_r$ over all centres of a given plane, or over all planes of a
given rank. The verdict's residual is rounding divided by that asymmetry: 1 means an exact symmetry, small means none.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from sympy import Symbol
from torch import Tensor

from symtheory.engine.symbolic import identity, matrices
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.numerics import relative_error
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import generator_of, normal, orthonormal
from symtheory.theorems.syre_bounds.assumptions import softmax_classifier
from symtheory.theorems.syre_bounds.frames import PAPER, reflection_residual
from symtheory.theorems.syre_bounds.search import ABSENT, FLOOR, Reflected, network_case, plane_case, survival


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


def centre_of_the_proof() -> Verdict:
    r"""Eq. (35), $\theta'+\theta_0 = \theta^\dagger$: $\ell = \theta_1^2+\theta_1^4+e^{\theta_2}$, $P = \mathrm{diag}(1, 0)$, $\theta_0 = (0, 1)$.

    The only reflection of this loss is $\theta_1\to-\theta_1$, and no tilt has another: $e^{\theta_2}$ fixes the normal, $\theta_1^4$ the centre.

    Returns:
        Verdict on $|\theta'+\theta_0-\theta^\dagger|$ for the symmetry with $\theta' = \theta^\dagger = 0$ that $\ell_r$ has, which must fail.
    """
    bias, zero = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    p = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))

    def loss(v: Tensor) -> Tensor:
        return v[0] ** 2 + v[0] ** 4 + v[1].exp()

    assert reflection_residual(loss, p, zero, 0) < 1e-12
    assert reflection_residual(lambda v: loss(v + bias) + 0.3 * (v * v).sum(), p, zero, 0) < 1e-12
    return Verdict("theta' + theta_0 = theta-dagger", float((zero + bias - zero).norm()), 1e-12)


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
                where="Proof of Theorem 1, eq. (35)",
                printed=r"$\theta'+\theta_0 = \theta^\dagger_i$ for some $i$.",
                true=r"$P(\theta'+\theta_0) = \theta^\dagger_i$; eq. (36) is right.",
                counterexample=r"$\ell = \theta_1^2+\theta_1^4+e^{\theta_2}$, $P = \mathrm{diag}(1,0)$, $\theta_0 = (0,1)$: $\theta' = \theta^\dagger = 0$.",
                consequence="None for the theorem. Only the part of the bias in the image of $P$ counts.",
                check="symtheory.theorems.syre_bounds.countable.centre_of_the_proof",
                kind="proof",
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
        "eq. (35)": centre_of_the_proof,
        "nonzero bias": constant_bias,
        "sign of the anchor": anchor_sign,
    },
)
