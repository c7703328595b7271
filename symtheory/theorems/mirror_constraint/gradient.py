r"""Theorem 1.1 of paper A: no gradient across the mirror.

Statement: if $\ell_0$ has the $O$-mirror symmetry and $O^Tw = 0$, then $O^T\nabla_w\ell_\gamma(w) = 0$ for every $\gamma$.
"""

from __future__ import annotations

import sympy
import torch
from sympy import Function, Symbol
from torch import Tensor

from symtheory.engine.model import Batch, Loss, with_decay
from symtheory.engine.operators import gradient
from symtheory.engine.symbolic import derivative_at_zero, identity, matrices
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.mirror import Mirror
from symtheory.spec.numerics import largest, require_finite, rounding_tolerance
from symtheory.spec.params import Params, flatten, shapes_of, size_of
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import (
    Instance,
    abstract,
    all_kinds,
    generator_of,
    without_symmetry,
)
from symtheory.theorems.mirror_constraint.definitions import PAPER

#: Weight decay of the checks; any value will do, a large one shows that decay does not matter here.
GAMMA = 0.7

#: Step of the one-sided difference that sees kinks, and what it may leave on a smooth loss: after one Richardson
#: step the truncation is of order s^3 = 1e-9, rounding eps / s = 2e-13.
SLOPE_STEP = 1e-3
SLOPE_TOLERANCE = 1e-7


def normal_gradient(loss: Loss, mirror: Mirror, params: Params, samples: tuple, generator: torch.Generator) -> float:
    r"""Largest $\|P\nabla\ell_\gamma\|$ over samples, relative, and one-sided slope, each in units of its tolerance.

    The slope is measured by differences as well as by autograd, because autograd returns *some* subgradient at a kink.

    Args:
        loss: Per-sample loss $\ell_\gamma$.
        mirror: The mirror.
        params: The point.
        samples: Data points.
        generator: Source of the random normal.

    Returns:
        The larger of the two: the gradient's in units of rounding, the slope's of :data:`SLOPE_TOLERANCE`.
    """
    n, found = mirror.random_normal(generator), []
    rounding = 10 * rounding_tolerance(size_of(shapes_of(params)))

    def along(s: float, sample: Batch) -> float:
        return float(loss({k: p + s * n[k] if k in n else p for k, p in params.items()}, sample))

    for sample in samples:
        grads = gradient(loss, params, sample)
        start = along(0.0, sample)
        scale = max(float(flatten(grads).norm()), abs(start), 1.0)  # terms of this size cancel across the mirror
        coarse, fine = ((along(s, sample) - start) / s for s in (SLOPE_STEP, SLOPE_STEP / 2))
        require_finite(flatten(grads), "the gradient")
        found += [mirror.distance(grads) / scale / rounding, abs(2 * fine - coarse) / scale / SLOPE_TOLERANCE]
    return largest(found)


def check_gradient(instance: Instance) -> Verdict:
    r"""$O^T\nabla\ell_\gamma = 0$ at the nearest symmetric point, sample by sample.

    Args:
        instance: Loss, mirror, point.

    Returns:
        Verdict whose control is the asymmetric loss at the same point.
    """
    point = instance.mirror.symmetrize(instance.params)

    def measure(loss: Loss) -> float:
        return normal_gradient(
            with_decay(loss, GAMMA), instance.mirror, point, instance.samples, generator_of(instance.seed)
        )

    return Verdict(
        f"{instance.name}: no gradient across the mirror",
        residual=measure(instance.loss),
        tolerance=1.0,
        control=measure(instance.broken),
        seed=instance.seed,
        sizes={"parameters": instance.size, "rank": instance.mirror.rank, "samples": len(instance.samples)},
        settings={"gamma": GAMMA},
    )


def _control_asymmetric(seed: int) -> Verdict:
    return check_gradient(without_symmetry(abstract("basis", seed)))


def _control_off(seed: int) -> Verdict:
    i = abstract("basis", seed)
    value = normal_gradient(with_decay(i.loss, GAMMA), i.mirror, i.params, i.samples, generator_of(seed))
    return Verdict("no gradient across the mirror, off it", value, 1.0, seed=seed)


def _control_kink(seed: int) -> Verdict:
    r"""$\ell_0 + \|P\theta\|$ is symmetric but has a kink on the mirror."""
    i = abstract("basis", seed)

    def kinked(params: Params, batch: Batch) -> Tensor:
        # exactly at zero autograd takes this gradient to be zero; the differences see the kink in any case
        return i.loss(params, batch) + flatten(i.mirror.project(params)).norm()

    value = normal_gradient(
        with_decay(kinked, GAMMA), i.mirror, i.mirror.symmetrize(i.params), i.samples, generator_of(seed)
    )
    return Verdict("no slope across the mirror at a kink", value, 1.0, seed=seed)


def divided_by_distance() -> Verdict:
    r"""The proof divides $\ell(w+sn) = \ell(w-sn)$ by $s$ and lets $s\to0$: for $\ell = 1+s^2$ both sides grow like $1/s$.

    Returns:
        The verdict on $\ell(s)/s$ being small at a small $s$, which must fail; the difference quotient passes.
    """
    s = 1e-6

    def even(x: float) -> float:
        return 1 + x**2

    return Verdict(
        "a side of the equation, divided by s, tends to the slope",
        abs(even(s) / s),
        1e-3,
        settings={"difference quotient": (even(s) - even(0.0)) / s},
    )


def symmetric_with_a_kink() -> Verdict:
    r"""The theorem is said to apply to any function with the symmetry: not to one with a kink on the mirror.

    Returns:
        The verdict on the slope across the mirror, which must fail.
    """
    return _control_kink(0)


def _prove_gradient() -> Proof:
    o, ot, w, wt, c = matrices("O", "O^T", "w", "w^T", "c")
    on_mirror = {ot * o: 1, ot * w: 0, wt * o: 0}
    s = Symbol("s", real=True)
    h, g = Function("h"), Function("g")
    phi, t = sympy.symbols("varphi t", real=True)
    n = sympy.Matrix([sympy.cos(phi), sympy.sin(phi)])
    point = t * sympy.Matrix([-sympy.sin(phi), sympy.cos(phi)])
    reflection = sympy.eye(2) - 2 * n * n.T

    def planar(step: sympy.Expr) -> sympy.Expr:
        there = point + step * n
        image = (reflection * there).applyfunc(sympy.trigsimp)
        return g(*there) + g(*image)

    return Proof(
        "A.T1.1",
        "any dimension, rank and sample, any loss differentiable on the mirror; the last step spells out the plane with "
        "a symbolic angle and an undefined $g$",
        (
            identity("$R$ reverses every normal line", (1 - 2 * o * ot) * (w + s * o * c), w - s * o * c, on_mirror),
            identity("so the loss on it is even, and its slope vanishes", derivative_at_zero(lambda x: h(x) + h(-x))),
            identity("decay has no slope either", wt * o * c, 0, on_mirror),
            identity("in the plane, for a mirror at any angle $\\varphi$ and any $g$", derivative_at_zero(planar)),
        ),
    )


GRADIENT = Theorem(
    claim=Claim(
        id="A.T1.1",
        source=f"{PAPER}, Theorem 1, part 1",
        title="No gradient across the mirror",
        statement=r"If $\ell_0$ has the $O$-mirror symmetry and $O^Tw = 0$, then $O^T\nabla_w\ell_\gamma(w) = 0$ for any $\gamma$.",
        hypotheses={
            "invariant loss": r"$\ell_0(w) = \ell_0(Rw)$",
            "on the mirror": "$O^Tw = 0$",
            "differentiable": r"$\ell_0$ is differentiable at $w$",
        },
        verdict="holds",
        chapter="mirror_constraint",
        errata=(
            Erratum(
                where="Proof of Theorem 1, part 1, after eq. (21)",
                printed=r"Dividing both sides of $\ell(w+sn) = \ell(w-sn)$ by $s$ and taking the limit gives "
                r"$n^T\nabla\ell(w) = 0$.",
                true=r"Subtract $\ell(w)$ first: the two difference quotients are equal and tend to $\pm n^T\nabla\ell(w)$.",
                counterexample=r"$\ell = 1+s^2$: each side divided by $s$ diverges.",
                consequence="None for the theorem.",
                check="symtheory.theorems.mirror_constraint.gradient.divided_by_distance",
                kind="proof",
            ),
            Erratum(
                where="Below Theorem 1",
                printed=r"The theorem applies to an arbitrary function $\ell_0$ that has the mirror symmetry.",
                true="To one that is differentiable on the mirror; twice for part 2, with Assumption 1 for part 4.",
                counterexample=r"$|s|$ is symmetric, and its minimum on the mirror has the slopes $\pm1$.",
                consequence="An $L_1$ penalty or a ReLU's kink on the mirror needs one-sided slopes; autograd returns one of them.",
                check="symtheory.theorems.mirror_constraint.gradient.symmetric_with_a_kink",
                kind="wording",
            ),
        ),
    ),
    prove=_prove_gradient,
    check=check_gradient,
    instances=all_kinds,
    controls={"invariant loss": _control_asymmetric, "on the mirror": _control_off, "differentiable": _control_kink},
    counterexamples={"divided by s": divided_by_distance, "arbitrary function": symmetric_with_a_kink},
)
