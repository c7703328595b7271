r"""Theorem 3 of paper A: a rotation symmetry makes low rank.

Statement: if $\ell_0(W) = \ell_0(\Omega W)$ for all orthogonal $\Omega$, then $n^TW = 0$ implies $n^T\nabla\ell_\gamma = 0$, and enough
weight decay prefers $W$ without its $i$-th singular value. Likewise for a double rotation $(UR, R^TW)$.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from sympy import Function, Symbol
from torch import Tensor

from symtheory.engine.symbolic import derivative_at_zero, identity, matrices
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.params import Params
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import generator_of, normal, orthonormal
from symtheory.theorems.mirror_constraint import shifted
from symtheory.theorems.mirror_constraint.definitions import PAPER
from symtheory.theorems.mirror_constraint.family import (
    Family,
    check_family,
    degenerate,
    general_loss,
    outside,
    unconstrained,
)


def _without_singular_value(w: Tensor, i: int) -> Tensor:
    u, s, vt = torch.linalg.svd(w, full_matrices=False)
    return w - s[i] * torch.outer(u[:, i], vt[i])


def _rotation_actions(g: torch.Generator, d: int) -> tuple[Tensor, Tensor]:
    """One rotation (det 1) and one improper orthogonal matrix (det -1)."""
    q = orthonormal(d, d, g)
    proper = q if torch.linalg.det(q) > 0 else torch.cat([-q[:, :1], q[:, 1:]], dim=1)
    return proper, torch.cat([-proper[:, :1], proper[:, 1:]], dim=1)


def rotation_family(seed: int) -> Family:
    r"""General loss invariant under $W\mapsto\Omega W$ for every orthogonal $\Omega$: a function of $W^TW$.

    Args:
        seed: Seed.

    Returns:
        The instance.
    """
    g = generator_of(seed)
    loss, broken, params, data = general_loss({"w": (4, 3)}, lambda p: p["w"].T @ p["w"], g)
    n = orthonormal(4, 1, g)[:, 0]
    actions = tuple(_rotate(omega) for omega in _rotation_actions(g, 4))
    return Family(
        "rotation",
        loss,
        broken,
        params,
        lambda p: {"w": p["w"] - torch.outer(n, n @ p["w"])},
        lambda grads: n @ grads["w"],
        lambda p: {"w": _without_singular_value(p["w"], seed % 3)},
        actions,
        data,
        seed,
    )


def _rotate(omega: Tensor) -> Callable[[Params], Params]:
    return lambda p: {"w": omega @ p["w"]}


def double_rotation_family(seed: int) -> Family:
    r"""General loss invariant under $(U, W)\mapsto(UR, R^TW)$ for orthogonal $R$: a function of $UW$, $UU^T$ and $W^TW$.

    Args:
        seed: Seed.

    Returns:
        The instance; its constraint is $Un = 0$ and $n^TW = 0$ together.
    """
    g = generator_of(seed)

    def invariants(p: Params) -> Tensor:
        u, w = p["u"], p["w"]
        return torch.cat([(u @ w).reshape(-1), (u @ u.T).reshape(-1), (w.T @ w).reshape(-1)])

    loss, broken, params, data = general_loss({"u": (2, 4), "w": (4, 3)}, invariants, g)
    n = orthonormal(4, 1, g)[:, 0]
    stacked = torch.cat([params["u"].T, params["w"]], dim=1)
    m = torch.linalg.svd(stacked).U[:, 0]

    def drop(v: Tensor) -> Callable[[Params], Params]:
        return lambda p: {"u": p["u"] - torch.outer(p["u"] @ v, v), "w": p["w"] - torch.outer(v, v @ p["w"])}

    actions = tuple(_rotate_both(omega) for omega in _rotation_actions(g, 4))
    return Family(
        "double rotation",
        loss,
        broken,
        params,
        drop(n),
        lambda grads: torch.cat([grads["u"] @ n, n @ grads["w"]]),
        drop(m),
        actions,
        data,
        seed,
    )


def _rotate_both(omega: Tensor) -> Callable[[Params], Params]:
    return lambda p: {"u": p["u"] @ omega, "w": omega.T @ p["w"]}


def _control_proper_rotations(seed: int) -> Verdict:
    r"""$(\det W - 1)^2$ is invariant under rotations, not under reflections; on $n^TW = 0$ it has a gradient along $n$."""
    family = rotation_family(seed)
    g = generator_of(seed)
    params = {"w": normal(g, 4, 4)}
    proper = _rotation_actions(g, 4)[0]

    def loss(p: Params, x: Tensor) -> Tensor:
        return (torch.linalg.det(p["w"]) - 1) ** 2 + 0 * x.sum()

    return check_family(
        replace(family, name="proper rotations only", loss=loss, broken=loss, params=params, actions=(_rotate(proper),))
    )


def zero_singular_value() -> Verdict:
    r"""Theorem 3.2 for *any* fixed $W$ and index: if $\sigma_i = 0$ already, $W_{/i} = W$.

    Returns:
        The verdict on the printed form, which must fail.
    """
    family = rotation_family(0)
    w = {"w": _without_singular_value(family.params["w"], 2)}
    return check_family(replace(family, params=w, target=dict, name="Theorem 3.2 with a zero singular value"))


def null_vector_called_eigenvector() -> Verdict:
    r"""$n^TW = 0$ is said to make $n$ a left eigenvector: $n^TW$ and $\lambda n^T$ differ in length unless $W$ is square.

    Returns:
        The verdict on their lengths, which must fail.
    """
    w = rotation_family(0).params["w"]
    return Verdict("n^T W is as long as n^T", float(abs(w.shape[1] - w.shape[0])), 0.5)


def scaled_zero() -> Verdict:
    r"""Eq. (47) for a vanishing $\sigma_i$ says $0 = 0$: it holds for every gradient, also for one with $u_i^TG\neq0$.

    Returns:
        The verdict on $u_i^TG$, where eq. (47) is satisfied exactly; it must fail.
    """
    g = generator_of(0)
    w, gradient = _without_singular_value(normal(g, 4, 3), 2), normal(g, 4, 3)
    u, s, _ = torch.linalg.svd(w, full_matrices=False)
    left = u[:, 2] @ gradient
    satisfied = 2 * float(s[2]) * float(left.norm())
    return Verdict(
        "eq. (47) makes u_i a null vector of the gradient",
        float(left.norm() / gradient.norm()),
        1e-9,
        settings={"eq. (47)": satisfied},
    )


def _prove_rotation() -> Proof:
    w, wt, n, nt, zt, g, gt = matrices("W", "W^T", "n", "n^T", "z^T", "G", "G^T")
    s = Symbol("s", real=True)
    h = Function("h")
    on = {nt * n: 1, nt * w: 0, wt * n: 0}
    rest, restt, v, vt = matrices("W_{/i}", "W_{/i}^T", "v", "v^T")
    sigma = Symbol("sigma_i", real=True)
    left, y = matrices("U", "y")
    split = {nt * n: 1, nt * rest: 0, restt * n: 0}
    return Proof(
        "A.T3",
        "any shape of $W$, any direction $n$, any differentiable loss with the symmetry",
        (
            identity(
                "$R = I - 2nn^T$ reverses every line $W + snz^T$",
                (1 - 2 * n * nt) * (w + s * n * zt),
                w - s * n * zt,
                on,
            ),
            identity("so the loss is even along it, for every $z$", derivative_at_zero(lambda a: h(a) + h(-a))),
            identity("directly: the gradient of $f(W^TW)$ is $W(G + G^T)$", nt * (w * (g + gt)), 0, on),
            identity(
                "double rotation: $U$ is reversed along $n$ at the same time",
                (left + s * y * nt) * (1 - 2 * n * nt),
                left - s * y * nt,
                {nt * n: 1, left * n: 0},
            ),
            identity(
                "part 2: removing $\\sigma_i$ lowers $W^TW$ by $\\sigma_i^2vv^T$, the squared norm by $\\sigma_i^2$",
                (restt + sigma * v * nt) * (rest + sigma * n * vt) - restt * rest,
                sigma**2 * v * vt,
                split,
            ),
        ),
    )


ROTATION = Theorem(
    claim=Claim(
        id="A.T3",
        source=f"{PAPER}, Theorem 3",
        title="Rotation symmetry: low rank",
        statement=r"Let $\ell_0(W) = \ell_0(\Omega W)$ for every orthogonal $\Omega$. (1) If $n^TW = 0$ then "
        r"$n^T\nabla_W\ell_\gamma = 0$. (2) For any fixed $W$ and index $i$ there is $\gamma_0$ such that "
        r"$\ell_\gamma(W_{/i}) < \ell_\gamma(W)$ for all $\gamma>\gamma_0$, where $W_{/i}$ is $W$ with its $i$-th singular value "
        r"set to zero. Likewise for a double rotation $(UR, R^TW)$, with $Un = 0$ and $n^TW = 0$ together.",
        hypotheses={
            "rotation": "the symmetry, for every sample",
            "reflections included": r"$\Omega$ ranges over all orthogonal matrices, $\det\Omega=-1$ included",
            "null direction": "part 1: $n^TW = 0$",
            "nonzero singular value": "part 2: $\\sigma_i\\neq0$ (missing in print)",
        },
        verdict="holds as corrected",
        correction=r"Part 2 needs $\sigma_i>0$; then $\gamma_0 = [\ell_0(W_{/i})-\ell_0(W)]/\sigma_i^2$ is exact.",
        chapter="mirror_constraint",
        errata=(
            Erratum(
                where="Theorem 3, part 2",
                printed="For any fixed $W$ and any index $i$.",
                true="For $\\sigma_i>0$; else $W_{/i} = W$ and the strict inequality is false.",
                counterexample="Any rank-deficient $W$ with its zero singular value.",
                consequence="Test only directions that carry weight.",
                check="symtheory.theorems.mirror_constraint.rotation.zero_singular_value",
                kind="statement",
            ),
            Erratum(
                where="Below Theorem 3, and after eq. (47)",
                printed="$n^TW = 0$ makes $n$ a left eigenvector of $W$, and $u_i$ one of the gradient, with eigenvalue zero.",
                true="A left null vector, or a left singular vector of singular value zero.",
                counterexample=r"$W$ of shape $4\times3$: $n^TW$ has three entries, $\lambda n^T$ four.",
                consequence="Use an SVD, not an eigendecomposition, to find the lost directions.",
                check="symtheory.theorems.mirror_constraint.rotation.null_vector_called_eigenvector",
                kind="wording",
            ),
            Erratum(
                where="Proof of Theorem 3, part 1, eqs. (41) to (47)",
                printed=r"For an arbitrary index $i$, scale $\sigma_i$ to $s\sigma_i$; eq. (47), $2\sigma_i\sum_{jk}G_{jk}U_{ji}z_k = 0$, "
                "gives $u_i^TG = 0$.",
                true=r"Only if $\sigma_i\neq0$ before it is scaled away. At a $W$ of low rank, the case of interest, vary $W+snz^T$ "
                "instead.",
                counterexample=r"$\sigma_i = 0$: eq. (47) reads $0 = 0$ for every $G$.",
                consequence="None for the theorem.",
                check="symtheory.theorems.mirror_constraint.rotation.scaled_zero",
                kind="proof",
            ),
            shifted.RESIDUAL,
        ),
    ),
    prove=_prove_rotation,
    check=check_family,
    instances=lambda seed: [rotation_family(seed), double_rotation_family(seed)],
    controls={
        "rotation": outside(rotation_family),
        "reflections included": _control_proper_rotations,
        "null direction": unconstrained(rotation_family),
        "nonzero singular value": degenerate(rotation_family, "part 2 with a zero singular value"),
    },
    counterexamples={
        "Theorem 3.2, zero singular value": zero_singular_value,
        "left eigenvector": null_vector_called_eigenvector,
        "eq. (47), zero singular value": scaled_zero,
        "residual connection": shifted.residual_connection,
    },
)
