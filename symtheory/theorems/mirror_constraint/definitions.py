r"""Definitions 1 and 2 of paper A: simple mirror, $O$-mirror.

A definition is not true or false, but what the paper derives from it in passing is: the checks measure those consequences,
the controls break what the definition asks for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from symtheory.engine.invariance import invariance_residual
from symtheory.engine.model import Loss
from symtheory.engine.symbolic import identity, matrices
from symtheory.errors import SymtheoryError
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.numerics import relative_error, rounding_tolerance
from symtheory.spec.params import flatten
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import (
    Instance,
    abstract,
    all_kinds,
    generator_of,
    normal,
    orthonormal,
    without_symmetry,
)

PAPER = "Paper A"


# --- facts a mirror must satisfy, measured with plain matrices so that a control can pass a bad O -----------------


def reflection_defect(basis: Tensor, w: Tensor) -> float:
    r"""How far $R = I - 2OO^T$ is from a reflection: from $R^2 = I$, from norm preservation, from fixing $\bar w$.

    Args:
        basis: Matrix $O$ of shape ``(n, r)``, orthonormal or (for a control) not.
        w: A point, shape ``(n,)``.

    Returns:
        The largest of the three relative defects at ``w``.
    """

    def reflect(v: Tensor) -> Tensor:
        return v - 2 * basis @ (basis.T @ v)

    image = reflect(w)
    mean = (w + image) / 2
    defects = [
        relative_error(reflect(image), w),
        abs(float(image.norm()) - float(w.norm())) / float(w.norm()),
        relative_error(reflect(mean), mean),
    ]
    return max(defects)


def _mirror_facts(instance: Instance) -> float:
    """Reflection facts of the matrix-free mirror, through its own methods."""
    mirror, params = instance.mirror, instance.params
    image = mirror.reflect(params)
    mean = {k: (p + image[k]) / 2 for k, p in params.items()}
    w = flatten(params)
    return max(
        relative_error(flatten(mirror.reflect(image)), w),
        abs(float(flatten(image).norm()) - float(w.norm())) / float(w.norm()),
        relative_error(flatten(mean), flatten(mirror.symmetrize(params))),
        mirror.distance(mean) / float(w.norm()),
    )


def check_mirror(instance: Instance) -> Verdict:
    r"""The loss is invariant sample by sample, $R$ is a reflection, $\bar w = (w + Rw)/2$ is the nearest symmetric point.

    Args:
        instance: Loss, mirror, point.

    Returns:
        Verdict whose control is the same invariance measured on the asymmetric loss.
    """

    def invariance(loss: Loss) -> float:
        g = generator_of(instance.seed)
        return invariance_residual(loss, instance.mirror, instance.params, instance.samples, generator=g).residual

    found = invariance_residual(
        instance.loss, instance.mirror, instance.params, instance.samples, generator=generator_of(instance.seed)
    )
    return Verdict(
        f"{instance.name}: loss unchanged by R, R a reflection",
        residual=max(found.residual, _mirror_facts(instance)),
        tolerance=max(found.tolerance, rounding_tolerance(instance.size)),
        control=invariance(instance.broken),
        seed=instance.seed,
        sizes={"parameters": instance.size, "rank": instance.mirror.rank},
    )


def _control_asymmetric(seed: int) -> Verdict:
    return check_mirror(without_symmetry(abstract("simple", seed)))


def _control_basis(scale: float, rank: int) -> Callable[[int], Verdict]:
    def control(seed: int) -> Verdict:
        g = generator_of(seed)
        basis, w = scale * orthonormal(9, rank, g), normal(g, 9)
        return Verdict(
            f"I - 2 O O^T reflects although |O^T O - I| = {abs(scale**2 - 1):.2f}",
            residual=reflection_defect(basis, w),
            tolerance=rounding_tolerance(9),
            seed=seed,
            sizes={"n": 9, "r": rank},
        )

    return control


def _control_oblique(seed: int) -> Verdict:
    """Two oblique simple mirrors compose to a rotation, which is no mirror."""
    g = generator_of(seed)
    n, m = orthonormal(9, 1, g), orthonormal(9, 1, g)  # not orthogonal to each other
    basis = torch.cat([n, m], dim=1)
    return Verdict(
        "two reflections with oblique normals compose to I - 2(nn^T + mm^T)",
        residual=relative_error(
            (torch.eye(9) - 2 * m @ m.T) @ (torch.eye(9) - 2 * n @ n.T), torch.eye(9).double() - 2 * basis @ basis.T
        ),
        tolerance=rounding_tolerance(81),
        seed=seed,
    )


def figure_1_caption() -> Verdict:
    r"""The caption of Figure 1 prints $O^T = ((1,-1),(0,0))/\sqrt2$; Definition 2 asks for $O^TO = I$."""
    basis = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64) / 2**0.5
    return Verdict(
        "Figure 1's O has orthonormal columns",
        residual=float((basis.T @ basis - torch.eye(2)).abs().max()),
        tolerance=rounding_tolerance(4),
    )


def oblique_projection() -> Verdict:
    r"""Definition 2 is called equivalent to one with a generic projection $P$; an oblique $P$ ($P\neq P^T$) fails.

    $P = ((1,1),(0,0))$ satisfies $P^2 = P$, and $\ell_0 = (w_1+w_2)^2 + (w_2-2)^2$ is invariant under $I - 2P$. At
    $w = (-1, 1)$, where $Pw = 0$, the gradient has a component across.

    Returns:
        The verdict on Theorem 1.1 for this $P$, which must fail.

    Raises:
        SymtheoryError: If the example does not meet the printed hypotheses.
    """
    p = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)

    def loss(w: Tensor) -> Tensor:
        return (w[0] + w[1]) ** 2 + (w[1] - 2) ** 2

    w, other = (torch.tensor(x, dtype=torch.float64) for x in ((-1.0, 1.0), (0.3, -0.8)))
    invariance = abs(float(loss(other - 2 * p @ other) - loss(other)))
    if invariance > 1e-12 or float((p @ p - p).abs().max()) > 0 or float((p @ w).norm()) > 0:
        raise SymtheoryError("a counterexample that meets the printed hypotheses", f"{invariance}", "mend it")
    across = p @ torch.func.grad(loss)(w)
    return Verdict("no gradient across the mirror of an oblique projection", float(across.norm()), 1e-12)


def _prove_simple() -> Proof:
    n, nt, w, wt = matrices("n", "n^T", "w", "w^T")
    rules = {nt * n: 1}
    r = 1 - 2 * n * nt
    return Proof(
        "A.D1",
        "any dimension, any unit vector n",
        (
            identity("a reflection undoes itself", r * r, 1, rules),
            identity("it preserves the norm", wt * r * r * w, wt * w, rules),
            identity("the mean of w and its image is fixed", r * (w + r * w) / 2, (w + r * w) / 2, rules),
            identity("the mean is the projection", (w + r * w) / 2, (1 - n * nt) * w, rules),
        ),
    )


def _prove_general() -> Proof:
    o, ot, n, nt, m, mt = matrices("O", "O^T", "n", "n^T", "m", "m^T")
    rules = {ot * o: 1}
    r, p = 1 - 2 * o * ot, o * ot
    orthogonal = {nt * n: 1, mt * m: 1, mt * n: 0, nt * m: 0}
    return Proof(
        "A.D2",
        "any dimension, any rank, any orthonormal columns",
        (
            identity("P = O O^T is a projection", p * p, p, rules),
            identity("R = I - 2P is orthogonal and its own inverse", r * r, 1, rules),
            identity("R = 1 on the mirror", r * (1 - p), 1 - p, rules),
            identity("R = -1 across it", r * p, -p, rules),
            identity(
                "reflections with orthogonal normals compose to a mirror",
                (1 - 2 * m * mt) * (1 - 2 * n * nt),
                1 - 2 * (n * nt + m * mt),
                orthogonal,
            ),
        ),
    )


SIMPLE = Theorem(
    claim=Claim(
        id="A.D1",
        source=f"{PAPER}, Definition 1",
        title="Simple mirror symmetry",
        statement=r"$\ell_0$ has the simple mirror symmetry for a unit vector $n$ if $\ell_0(w) = \ell_0((I - 2nn^T)w)$ "
        r"for all $w$. The reflection preserves the norm, so weight decay shares the symmetry, and the mean of $w$ and "
        r"its image, $\bar w = (I - nn^T)w$, is a fixed point.",
        hypotheses={
            "unit vector": "$n$ is a unit vector",
            "invariant loss": "$\\ell_0$ is invariant, for every sample",
        },
        verdict="holds",
        chapter="mirror_constraint",
    ),
    prove=_prove_simple,
    check=check_mirror,
    instances=lambda seed: [abstract("simple", seed)],
    controls={"unit vector": _control_basis(1.2, 1), "invariant loss": _control_asymmetric},
)

GENERAL = Theorem(
    claim=Claim(
        id="A.D2",
        source=f"{PAPER}, Definition 2",
        title="O-mirror symmetry",
        statement=r"For $O$ with $O^TO = I$ and $R = I - 2OO^T$, $\ell_0$ has the $O$-mirror symmetry if "
        r"$\ell_0(w) = \ell_0(Rw)$ for all $w$. $P = OO^T$ is a generic (orthogonal) projection, $R$ is orthogonal, and "
        r"simple reflections with orthogonal normals compose to such an $R$.",
        hypotheses={
            "orthonormal O": "$O^TO = I$",
            "orthogonal normals": "the normals of composed mirrors are orthogonal",
            "invariant loss": "$\\ell_0$ is invariant",
        },
        verdict="holds as corrected",
        correction="With an *orthogonal* projection, $P = P^2 = P^T$; for an oblique one the theorems below fail.",
        chapter="mirror_constraint",
        errata=(
            Erratum(
                where="Section 2.1, after Definition 2; also Section 3.2",
                printed=r"$OO^T$ is a generic projection matrix $P$, so the symmetry can be defined by any $P$; for any projection "
                r"$\Pi$ the matrix $I-2\Pi$ is orthogonal.",
                true=r"For *orthogonal* projections, $P = P^2 = P^T$. An oblique $P$ gives $R^2 = I$ but $R$ is not orthogonal, and "
                "Theorem 1 fails for it.",
                counterexample=r"$P = ((1,1),(0,0))$, $\ell_0 = (w_1+w_2)^2 + (w_2-2)^2$: invariant under $I-2P$, yet at "
                r"$w = (-1,1)$, $Pw = 0$, the gradient has $P\nabla\ell_0 = (-2, 0)$.",
                consequence="Check symmetry of $P$, not only idempotence, before declaring a mirror.",
                check="symtheory.theorems.mirror_constraint.definitions.oblique_projection",
                kind="statement",
            ),
            Erratum(
                where="Figure 1, caption",
                printed=r"The mirror surface is $O^T = ((1,-1),(0,0))/\sqrt2$.",
                true=r"$O = (1,-1)^T/\sqrt2$: one column. The printed $2\times2$ matrix has a zero column, so $O^TO\neq I$; "
                r"and $O$ spans the *normal* of the mirror, the mirror itself is $\ker O^T$.",
                counterexample=r"$O^TO = \mathrm{diag}(1, 0)$.",
                consequence="$OO^T$ is the same, but code that checks $O^TO = I$ or counts columns for the rank refuses it.",
                check="symtheory.theorems.mirror_constraint.definitions.figure_1_caption",
                kind="wording",
            ),
        ),
    ),
    prove=_prove_general,
    check=check_mirror,
    instances=all_kinds,
    controls={
        "orthonormal O": _control_basis(0.8, 3),
        "orthogonal normals": _control_oblique,
        "invariant loss": _control_asymmetric,
    },
    counterexamples={"oblique projection": oblique_projection, "Figure 1's O": figure_1_caption},
)
