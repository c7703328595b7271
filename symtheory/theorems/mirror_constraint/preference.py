r"""Theorem 1.3 of paper A: enough weight decay prefers the mirror.

Statement: if $O^Tw\neq0$ there is $\gamma_0$ with $\ell_\gamma((I-OO^T)w) < \ell_\gamma(w)$ for all $\gamma>\gamma_0$. The threshold is
computed by :func:`decay_threshold`. The symmetry is not needed for the statement; :func:`check_uniform` measures what it
adds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import sympy
import torch
from sympy import Function, Symbol

from symtheory.engine.model import Batch, Loss, evaluate, with_decay
from symtheory.engine.symbolic import derivative_at_zero, identity, matrices
from symtheory.errors import SymtheoryError
from symtheory.spec.claim import Claim
from symtheory.spec.mirror import Mirror
from symtheory.spec.numerics import rounding_tolerance
from symtheory.spec.params import Params, flatten
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import (
    Instance,
    abstract,
    all_kinds,
    generator_of,
)
from symtheory.theorems.mirror_constraint.definitions import PAPER

#: Relative distance below which a point counts as on the mirror: what rounding leaves after one projection.
ON_MIRROR = 1e-12


def decay_threshold(loss: Loss, mirror: Mirror, params: Params, batch: Batch) -> float:
    r"""The exact $\gamma_0(w) = [\ell_0((I-P)w) - \ell_0(w)] / \|Pw\|^2$ of Theorem 1.3.

    Above it the projection of $w$ on the mirror has the lower regularised loss, below it $w$ has. It may be negative:
    then the projection wins without any decay.

    Args:
        loss: $\ell_0$.
        mirror: The mirror.
        params: $w$, off the mirror.
        batch: Data.

    Returns:
        $\gamma_0$ in the paper's convention (PyTorch's ``weight_decay`` is $2\gamma$).

    Raises:
        SymtheoryError: If $w$ is on the mirror.

    >>> from symtheory.spec import sign_flip
    >>> mirror = sign_flip({"w": ()}, ["w"])
    >>> decay_threshold(lambda p, _: (p["w"] ** 2 - 1) ** 2, mirror, {"w": torch.tensor(1.0)}, None)
    1.0
    """
    distance = mirror.distance(params)
    if distance <= ON_MIRROR * float(flatten(dict(params)).norm()):
        raise SymtheoryError("a point off the mirror", "O^T w = 0", "there is nothing to project")
    there, here = evaluate(loss, mirror.symmetrize(params), batch), evaluate(loss, params, batch)
    return float(there - here) / distance**2


def threshold_residual(
    loss: Loss,
    nearest: Callable[[Params], Params],
    params: Params,
    batch: Batch,
    margins: tuple[float, ...] = (0.1, 10.0),
) -> float:
    r"""Does the projection win exactly above $\gamma_0$? 0 if so, at each margin above and below; else 1.

    Args:
        loss: $\ell_0$.
        nearest: The map to the projection, $w\mapsto(I-OO^T)w$, passed as a function so that a control can spoil it.
        params: $w$.
        batch: Data.
        margins: Distances from the threshold at which both sides are tested.

    Returns:
        The largest violation: relative error of $\ell_\gamma(w) - \ell_\gamma(u) = (\gamma-\gamma_0)\|w-u\|^2$, or 1 for a
        wrong sign.
    """
    projected = nearest(params)
    w, u = flatten(params), flatten(projected)
    squared = float((w - u).square().sum())
    if squared <= (ON_MIRROR * float(w.norm())) ** 2:
        return 1.0  # no gamma makes a point better than itself
    gap = float(evaluate(loss, projected, batch) - evaluate(loss, params, batch))
    threshold, found = gap / squared, 0.0
    for margin in (*margins, *(-m for m in margins)):
        regularised = with_decay(loss, threshold + margin)
        advantage = float(evaluate(regularised, params, batch) - evaluate(regularised, projected, batch))
        scale = abs(gap) + (abs(threshold) + abs(margin)) * float(w.square().sum())
        found = max(found, abs(advantage - margin * squared) / scale, float((advantage > 0) != (margin > 0)))
    return found


def check_preference(instance: Instance) -> Verdict:
    r"""The projection is on the mirror and has the lower $\ell_\gamma$ exactly for $\gamma>\gamma_0$, from both sides of the threshold.

    Args:
        instance: Loss, mirror, point.

    Returns:
        Verdict whose control uses columns of length 1.6 instead of 1.
    """

    def stretched(params: Params) -> Params:
        across = instance.mirror.project(params)
        return {k: p - 2.56 * across[k] if k in across else p for k, p in params.items()}

    def measure(nearest: Callable[[Params], Params]) -> float:
        off = instance.mirror.distance(nearest(instance.params)) / float(flatten(instance.params).norm())
        return max(off, *(threshold_residual(instance.loss, nearest, instance.params, x) for x in instance.samples))

    return Verdict(
        f"{instance.name}: the projection wins exactly above its threshold",
        residual=measure(instance.mirror.symmetrize),
        tolerance=10 * rounding_tolerance(instance.size),
        control=measure(stretched),
        seed=instance.seed,
        sizes={"parameters": instance.size, "rank": instance.mirror.rank},
    )


def _control_orthonormal(seed: int) -> Verdict:
    """With longer columns I - O O^T overshoots to a point of larger norm, which no decay prefers."""
    i = abstract("basis", seed)

    def overshoot(params: Params) -> Params:
        across = i.mirror.project(params)
        return {k: p - 2.56 * across[k] if k in across else p for k, p in params.items()}

    value = threshold_residual(i.loss, overshoot, i.params, i.samples[0])
    return Verdict("the projection wins with |O^T O| = 2.56", value, 10 * rounding_tolerance(i.size), seed=seed)


def _control_on_mirror(seed: int) -> Verdict:
    i = abstract("basis", seed)
    value = threshold_residual(i.loss, i.mirror.symmetrize, i.mirror.symmetrize(i.params), i.samples[0])
    return Verdict("a symmetric point loses to its projection", value, 10 * rounding_tolerance(i.size), seed=seed)


def _symmetry_unneeded(seed: int) -> Verdict:
    """Part 3 with a loss that has no symmetry at all: it still holds."""
    i = abstract("basis", seed)
    value = threshold_residual(i.broken, i.mirror.symmetrize, i.params, i.samples[0])
    return Verdict(
        "the projection wins above its threshold, no symmetry", value, 10 * rounding_tolerance(i.size), seed=seed
    )


def thresholds_near_mirror(loss: Loss, instance: Instance, distances: tuple[float, ...]) -> list[float]:
    r"""$\gamma_0(u + sn)$ for a symmetric $u$, a random normal $n$ and shrinking $s$.

    Args:
        loss: $\ell_0$, symmetric or not.
        instance: Where to take the mirror, the point and the data.
        distances: Values of $s$.

    Returns:
        One threshold per distance.
    """
    u = instance.mirror.symmetrize(instance.params)
    n = instance.mirror.random_normal(generator_of(instance.seed))
    points = [{k: p + s * n[k] if k in n else p for k, p in u.items()} for s in distances]
    return [decay_threshold(loss, instance.mirror, p, instance.samples[0]) for p in points]


def check_uniform(instance: Instance) -> Verdict:
    r"""What symmetry adds to part 3: $\gamma_0$ stays bounded at the mirror; without it $\gamma_0\sim1/s$.

    Args:
        instance: Loss, mirror, point.

    Returns:
        Verdict on the growth exponent of $|\gamma_0|$ as $s\to0$: 0 with the symmetry, 1 without.
    """
    distances = (1e-1, 1e-2, 1e-3)

    def exponent(loss: Loss) -> float:
        values = [abs(v) for v in thresholds_near_mirror(loss, instance, distances)]
        slopes = [(torch.tensor(b / a).log() / torch.tensor(10.0).log()).item() for a, b in pairwise(values)]
        return abs(slopes[-1])

    return Verdict(
        f"{instance.name}: the threshold stays bounded at the mirror",
        residual=exponent(instance.loss),
        tolerance=0.05,
        control=exponent(instance.broken),
        factor=10.0,
        seed=instance.seed,
    )


def _prove_preference() -> Proof:
    u, ut, n, nt = matrices("u", "u^T", "n", "n^T")
    s = Symbol("s", real=True)
    gamma, loss = Symbol("gamma", real=True), Function(r"\ell_0")
    lw, lu = loss(Symbol("w")), loss(Symbol("u"))
    h = Function("h")
    unit = {nt * n: 1, ut * n: 0, nt * u: 0}
    threshold = (lu - lw) / s**2

    def even(a: Any) -> Any:
        return h(a) + h(-a)

    return Proof(
        "A.T1.3",
        "any dimension and rank, any loss, symmetric or not; $w = u + sn$ with $u$ on the mirror, $n$ a unit normal. The last "
        "two steps, for twice differentiable symmetric losses, are ours",
        (
            identity(
                "the projection removes $s^2$ from the squared norm", (ut + s * nt) * (u + s * n) - ut * u, s**2, unit
            ),
            identity(
                "advantage of the projection at decay $\\gamma$, with $\\gamma_0$ put in",
                (lw + gamma * s**2) - lu - (gamma - threshold) * s**2,
            ),
            identity("with the symmetry the loss has no slope in $s$", derivative_at_zero(even)),
            identity(
                r"so, by de l'Hôpital twice, $\gamma_0$ tends to minus half the curvature, a bounded number",
                derivative_at_zero(lambda a: even(sympy.Integer(0)) - even(a), 2)
                / derivative_at_zero(lambda a: a**2, 2),
                -derivative_at_zero(even, 2) / 2,
            ),
        ),
    )


PREFERENCE = Theorem(
    claim=Claim(
        id="A.T1.3",
        source=f"{PAPER}, Theorem 1, part 3",
        title="Enough decay prefers the projection",
        statement=r"If $O^Tw\neq0$, there exists $\gamma_0$ such that $\ell_\gamma((I-OO^T)w) < \ell_\gamma(w)$ for all "
        r"$\gamma>\gamma_0$.",
        hypotheses={
            "orthonormal O": "$O^TO = I$",
            "off the mirror": "$O^Tw\\neq0$",
            "invariant loss": r"$\ell_0(w) = \ell_0(Rw)$",
        },
        verdict="holds",
        chapter="mirror_constraint",
        remark=r"The threshold is exact: $\gamma_0(w) = [\ell_0((I-P)w) - \ell_0(w)]/\|Pw\|^2$. The symmetry is **not used**: "
        r"the statement holds for every loss and every projection. What the symmetry adds is uniformity. Near the mirror "
        r"$\gamma_0\to-\tfrac12 n^T\nabla^2\ell_0\,n$ stays bounded, while for a generic loss $\gamma_0\sim1/\|Pw\|$ diverges.",
    ),
    prove=_prove_preference,
    check=check_preference,
    instances=all_kinds,
    controls={"orthonormal O": _control_orthonormal, "off the mirror": _control_on_mirror},
    unneeded={"invariant loss": _symmetry_unneeded},
)
