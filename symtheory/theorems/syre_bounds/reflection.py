r"""Definition 1 and Proposition 1 of paper B: reflections about a plane off the origin, and what a shift does to them.

$f$ has the $(\theta', P)$-reflection symmetry if (1) $f(\theta'+\theta) = f(\theta'+(I-2P)\theta)$ for all $\theta$ and $x$, and (2) $P\theta' = \theta'$.
A shift $f'(\theta) = f(\theta+\theta^\dagger)$ moves the centre to $\theta'-P\theta^\dagger$; it never removes a symmetry.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from symtheory.engine.symbolic import identity, matrices
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.numerics import relative_error, rounding_tolerance
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import generator_of, normal, orthonormal
from symtheory.theorems.syre_bounds.frames import (
    PAPER,
    REFLECTION_TOLERANCE,
    Case,
    FlatLoss,
    abstract_cases,
    all_cases,
    case,
    reflection_residual,
)


def map_defect(projection: Tensor, centre: Tensor, v: Tensor) -> float:
    r"""How far $\sigma(\varphi) = (I-2P)(\varphi-\theta')+\theta'$ is from a reflection that determines its centre.

    Args:
        projection: $P$, orthogonal or (for a control) not.
        centre: $\theta'$, in the image of $P$ or (for a control) not.
        v: A point.

    Returns:
        The largest defect of: $\sigma^2 = 1$; $\sigma$ keeps distances to the centre; $\theta' = \sigma(0)/2$.
    """

    def reflect(x: Tensor) -> Tensor:
        return x - 2 * projection @ (x - centre)

    reach = [float((x - centre).norm()) for x in (reflect(v), v)]
    return max(
        relative_error(reflect(reflect(v)), v),
        abs(reach[0] - reach[1]) / reach[1],
        relative_error(reflect(torch.zeros_like(v)) / 2, centre),
    )


def check_definition(c: Case) -> Verdict:
    r"""The loss is unchanged by the reflection about $\theta'$, which is an isometry with a unique centre.

    Args:
        c: The case.

    Returns:
        Verdict whose control is the asymmetric loss.
    """

    def measure(loss: FlatLoss) -> float:
        return reflection_residual(loss, c.projection, c.centre, c.seed)

    return Verdict(
        f"{c.name}: loss unchanged by the reflection about its centre",
        residual=max(measure(c.loss), map_defect(c.projection, c.centre, c.point)),
        tolerance=REFLECTION_TOLERANCE,
        control=measure(c.broken),
        seed=c.seed,
        sizes={"parameters": c.size, "rank": c.rank},
    )


def check_shift(c: Case) -> Verdict:
    r"""Both parts: every $\theta^\dagger$ with $P\theta^\dagger = \theta'$ serves as a centre; a shift moves it to $\theta'-P\theta^\dagger$.

    Args:
        c: The case.

    Returns:
        Verdict whose control is the asymmetric loss.
    """
    g = generator_of(c.seed + 2)
    free, shift = normal(g, c.size), normal(g, c.size)
    redundant = c.centre + free - c.across(free)
    moved = c.centre - c.across(shift)

    def measure(loss: FlatLoss) -> float:
        return max(
            reflection_residual(loss, c.projection, redundant, c.seed),
            reflection_residual(lambda v: loss(v + shift), c.projection, moved, c.seed),
            relative_error(c.across(moved), moved),
        )

    return Verdict(
        f"{c.name}: a shift moves the centre and keeps the symmetry",
        residual=measure(c.loss),
        tolerance=REFLECTION_TOLERANCE,
        control=measure(c.broken),
        seed=c.seed,
        sizes={"parameters": c.size, "rank": c.rank},
    )


def _control_asymmetric(seed: int) -> Verdict:
    c = case("basis", seed)
    return Verdict(
        "an asymmetric loss has the reflection",
        reflection_residual(c.broken, c.projection, c.centre, seed),
        REFLECTION_TOLERANCE,
        seed=seed,
    )


def _control_oblique(seed: int) -> Verdict:
    """An oblique projection is idempotent, but its reflection stretches."""
    g = generator_of(seed)
    basis, dual = orthonormal(6, 2, g), normal(g, 6, 2)
    oblique = basis @ torch.linalg.solve(dual.T @ basis, dual.T)
    return Verdict(
        "I - 2P with an oblique P keeps distances",
        map_defect(oblique, oblique @ normal(g, 6), normal(g, 6)),
        1e-10,
        seed=seed,
    )


def _control_centre(seed: int) -> Verdict:
    c = case("basis", seed)
    return Verdict(
        "the map determines a centre outside the image of P",
        map_defect(c.projection, c.centre + c.point, c.point),
        rounding_tolerance(c.size),
        seed=seed,
    )


def _control_shift(seed: int) -> Verdict:
    c = case("basis", seed)
    value = reflection_residual(c.loss, c.projection, c.centre + c.point, seed)
    return Verdict("any point serves as a centre", value, REFLECTION_TOLERANCE, seed=seed)


def every_projection() -> Verdict:
    r"""Is every projection matrix $OO^T$? $P = ((1,1),(0,0))$ is idempotent and not symmetric.

    Returns:
        Verdict on $|P-P^T|$, which must fail.
    """
    p = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert torch.equal(p @ p, p)
    return Verdict("a projection matrix is symmetric, as O O^T is", relative_error(p, p.T), rounding_tolerance(4))


def symmetric_projection() -> Verdict:
    r"""Is $P\theta$ the symmetric point near $\theta$? It would satisfy $P(P\theta) = 0$.

    Returns:
        Verdict on $|P(P\theta)|/|\theta|$ for two neurons $(3, 1)$ exchanged, which must fail.
    """
    p = torch.tensor([[0.5, -0.5], [-0.5, 0.5]], dtype=torch.float64)
    theta = torch.tensor([3.0, 1.0], dtype=torch.float64)
    return Verdict("P theta lies on the mirror", float((p @ p @ theta).norm() / theta.norm()), rounding_tolerance(2))


def benchmark_projection() -> Verdict:
    r"""Section 6.2 names $w\mapsto w-2(v^Tw)v$ with the letter of a projection; applied twice it is the identity.

    Returns:
        Verdict on $|P^2-P|$, which must fail.
    """
    v = torch.tensor([0.6, 0.8], dtype=torch.float64)
    p = torch.eye(2, dtype=torch.float64) - 2 * torch.outer(v, v)
    return Verdict("P_i is a projection", relative_error(p @ p, p), rounding_tolerance(4))


def benchmark_threshold() -> Verdict:
    r"""Section 6.2 counts $v_i^Tw < c_{th}$; $w$ and $-w$ have the same loss and should have the same count.

    Returns:
        Verdict on the difference of the two counts, which must fail.
    """
    w = torch.tensor([-5.0, -4.0, 3.0], dtype=torch.float64)  # v_i the coordinate axes, far from all three mirrors
    counts = [float((s * w < 0.1).sum()) for s in (1, -1)]
    return Verdict("the degree of symmetry is the same for w and -w", abs(counts[0] - counts[1]), 0.0)


def positive_rescaling() -> Verdict:
    r"""Rescaling is said to imply reflections. $u\,\mathrm{relu}(wx)$ has $(\rho u, w/\rho)$ for $\rho>0$ only, and no reflection.

    Returns:
        Verdict on the least asymmetry over all lines through the origin and the point reflection, which must fail.
    """
    x = torch.tensor([1.0, -1.3, 0.7, -0.4], dtype=torch.float64)
    points = normal(generator_of(0), 12, 2)

    def outputs(z: Tensor) -> Tensor:
        return z[:, :1] * torch.relu(z[:, 1:] * x)

    values = outputs(points)
    scaled = float((outputs(points * torch.tensor([2.0, 0.5], dtype=torch.float64)) - values).abs().max())
    angles = torch.linspace(0, torch.pi, 721, dtype=torch.float64)
    normals = torch.stack([angles.cos(), angles.sin()], dim=1)
    images = [points - 2 * (points @ n)[:, None] * n for n in normals] + [-points]
    least = min(float((outputs(p) - values).abs().max()) for p in images)
    return Verdict(
        "a rescaling symmetry implies a reflection", least, 1e-2, settings={"asymmetry under rescaling": scaled}
    )


def printed_centre() -> Verdict:
    r"""Part 2 as printed: the shifted function has the $(\theta'-\theta^\dagger, P)$ symmetry, so $P(\theta'-\theta^\dagger) = \theta'-\theta^\dagger$.

    Returns:
        Verdict on that condition for $f = \theta_1^2$ shifted by $(0, 1)$, which must fail.
    """
    p = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    centre, shift = torch.zeros(2, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert reflection_residual(lambda v: v[0] ** 2, p, centre, 0) < 1e-12 and torch.equal(p @ shift, centre)
    assert reflection_residual(lambda v: (v + shift)[0] ** 2, p, centre - p @ shift, 0) < 1e-12
    moved = centre - shift
    return Verdict("the printed centre satisfies P theta' = theta'", relative_error(p @ moved, moved), 1e-12)


def _prove_definition() -> Proof:
    p, c, v = matrices("P", r"\theta'", r"\varphi")
    rules = {p * p: p, p * c: c}

    def reflect(x: object) -> object:
        return (1 - 2 * p) * (x - c) + c  # type: ignore[operator]

    return Proof(
        "B.D1",
        "any dimension and rank, any P with P P = P, any centre with P theta' = theta'",
        (
            identity("the reflection undoes itself", reflect(reflect(v)), v, rules),
            identity("only P theta' enters the map", reflect(v), v - 2 * p * v + 2 * c, rules),
            identity("so the map determines its centre", reflect(0), 2 * c, rules),
            identity("its fixed points have P phi = theta'", reflect(v) - v, -2 * p * v + 2 * c, rules),
        ),
    )


def _prove_shift() -> Proof:
    p, c, s, z = matrices("P", r"\theta'", r"\theta^\dagger", r"\theta")
    inside = {p * p: p, p * c: c, p * s: c}
    generic = {p * p: p, p * c: c}
    r = 1 - 2 * p
    return Proof(
        "B.P1",
        "any dimension and rank, any function f; arguments of f are compared",
        (
            identity("part 1: with P s = theta' the reflection about s", r * z + s, r * (z + s - c) + c, inside),
            identity(
                "part 2: reflecting about theta' - P s, then shifting by s",
                r * z + (c - p * s) + s,
                r * (z + s - p * s) + c,
                generic,
            ),
            identity("the centre theta' - P s lies in the image of P", p * (c - p * s), c - p * s, generic),
            identity("theta' - s leaves it by (I - P) s", (c - s) - p * (c - s), p * s - s, generic),
        ),
    )


def _error(where: str, printed: str, true: str, example: str, so: str, check: Callable[[], Verdict]) -> Erratum:
    name = f"{check.__module__}.{check.__name__}"
    return Erratum(where, printed, true, example, so, name, "wording")


DEFINITION = Theorem(
    claim=Claim(
        id="B.D1",
        source=f"{PAPER}, Definition 1",
        title="Reflection symmetry about a plane",
        statement=r"$f$ has the $(\theta', P)$-reflection symmetry if for all $x$ and $\theta$, (1) "
        r"$f(\theta+\theta', x) = f((I-2P)\theta+\theta', x)$, and (2) $P\theta' = \theta'$, which makes $\theta'$ unique.",
        hypotheses={
            "orthogonal projection": "$P^2 = P = P^T$",
            "centre in the image": r"$P\theta' = \theta'$",
            "invariant loss": "(1) holds",
        },
        verdict="holds",
        chapter="syre_bounds",
        remark=r"Unique given the *map*. One function can still have several centres for the same $P$, and then it is "
        r"periodic along $P$ with twice their distance ($\cos$), or constant.",
        errata=(
            _error(
                "Below Definition 1",
                "Every projection matrix can be written as $OO^T$ with orthonormal columns.",
                "Every *orthogonal* projection, $P = P^T$.",
                "$P = ((1,1),(0,0))$.",
                "A check for idempotence alone lets oblique projections through, whose reflections change norms.",
                every_projection,
            ),
            _error(
                "Below Definition 1",
                r"The symmetric projection $P\theta$ of any $\theta$ always has a smaller norm than $\theta$.",
                r"The symmetric projection is $(I-P)\theta$, and its norm is smaller exactly when $P\theta\neq0$. "
                r"$P\theta$ is the part to be removed.",
                r"Two neurons with weights $(3, 1)$: $P\theta = (1, -1)$ is antisymmetric, the symmetric point is $(2, 2)$.",
                "Projecting with $P$ keeps the difference of the neurons and throws away their mean.",
                symmetric_projection,
            ),
            _error(
                "Section 1, with footnote 1",
                "Permutation, rescaling, scale and rotation symmetries all imply reflections, since they all contain $Z_2$.",
                r"Rescaling and scale do so only if they hold for negative factors, too. The rescaling of ReLU layers and the "
                r"scale of normalised weights are groups of positive factors, $\rho^2 = 1$ only for $\rho = 1$.",
                r"$u\,\mathrm{relu}(wx)$: invariant under $(\rho u, w/\rho)$, $\rho>0$; no line of the plane is a mirror.",
                "A ReLU network has permutation mirrors and none of single neurons; do not look for $u = w = 0$ by reflection.",
                positive_rescaling,
            ),
            _error(
                "Section 6.2",
                r"The objective has reflection symmetries $P_iw := w-2(v_i^Tw)v_i$.",
                r"That is the reflection $I-2P_i$ with $P_i = v_iv_i^T$.",
                r"$v = (0.6, 0.8)$: the printed $P_i$ satisfies $P_i^2 = I\neq P_i$.",
                "Used as $P$ of Definition 1 it gives $I-2P_i$ of norm 3.",
                benchmark_projection,
            ),
            _error(
                "Section 6.2",
                r"Degree of symmetry $\sum_i1\{v_i^Tw < c_{th}\}$.",
                r"$\sum_i1\{|v_i^Tw| < c_{th}\}$, the number of mirrors nearer than $c_{th}$.",
                r"$w = (-5, -4, 3)$ is far from all three mirrors; printed count 2, and 1 for $-w$, which has the same loss.",
                "As printed about half of all directions count as symmetric for any random $w$.",
                benchmark_threshold,
            ),
        ),
    ),
    prove=_prove_definition,
    check=check_definition,
    instances=all_cases,
    controls={
        "orthogonal projection": _control_oblique,
        "centre in the image": _control_centre,
        "invariant loss": _control_asymmetric,
    },
    counterexamples={
        "every projection": every_projection,
        "symmetric projection": symmetric_projection,
        "reflection called projection": benchmark_projection,
        "threshold without modulus": benchmark_threshold,
        "positive rescaling": positive_rescaling,
    },
)

SHIFT = Theorem(
    claim=Claim(
        id="B.P1",
        source=f"{PAPER}, Proposition 1",
        title="A shift moves a symmetry and does not remove it",
        statement=r"Let $f$ have the $(\theta', P)$-symmetry and $f'(\theta) = f(\theta+\theta^\dagger)$. (1) For any $\theta^\dagger$ with "
        r"$P\theta^\dagger = \theta'$, $f(\theta+\theta^\dagger) = f((I-2P)\theta+\theta^\dagger)$. (2) $f'$ has the $(\theta'-\theta^\dagger, P)$-symmetry.",
        hypotheses={
            "invariant loss": r"$f$ has the $(\theta', P)$-symmetry",
            "same plane": r"in part 1, $P\theta^\dagger = \theta'$",
        },
        verdict="holds as corrected",
        correction=r"In part 2 the symmetry is $(\theta'-P\theta^\dagger, P)$. As printed condition (2) of Definition 1 fails unless "
        r"$P\theta^\dagger = \theta^\dagger$.",
        chapter="syre_bounds",
        errata=(
            Erratum(
                where="Proposition 1, part 2",
                printed=r"$f'$ has the $(\theta'-\theta^\dagger, P)$-symmetry.",
                true=r"$f'$ has the $(\theta'-P\theta^\dagger, P)$-symmetry.",
                counterexample=r"$f = \theta_1^2$, $P = \mathrm{diag}(1,0)$, $\theta' = 0$, $\theta^\dagger = (0,1)$: $P(\theta'-\theta^\dagger) = 0\neq-\theta^\dagger$.",
                consequence="Distances to the shifted mirror computed with the printed centre are too long by the shift along the mirror.",
                check="symtheory.theorems.syre_bounds.reflection.printed_centre",
            ),
        ),
    ),
    prove=_prove_shift,
    check=check_shift,
    instances=abstract_cases,
    controls={"invariant loss": _control_asymmetric, "same plane": _control_shift},
    counterexamples={"printed centre": printed_centre},
)
