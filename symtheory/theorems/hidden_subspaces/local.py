r"""Section "Local symmetry": what happens where hidden units have equal inputs, and what activations of a special kind change.

The claim has five parts: the input-equal set (:mod:`.pairing`), the two cases of three units (:mod:`.three`), odd activations, whose extra symmetry
exchanges the sides of every wall, and homogeneous ones, which conserve $|w_j|^2+b_j^2-|a_j|^2$ and with it the sign of $a_j$. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sympy
import torch
from sympy import Function, Rational, sqrt, symbols
from torch import Tensor

from symtheory.engine.symbolic import derivative_at_zero, identity
from symtheory.spec.claim import Claim
from symtheory.spec.groups import Subset
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.hidden_subspaces.crossings import crossing, flow_error, three_units
from symtheory.theorems.hidden_subspaces.pairing import drift, is_paired, pairs, pentagon, silent_wall
from symtheory.theorems.hidden_subspaces.problems import Problem, problem
from symtheory.theorems.hidden_subspaces.three import Three, expansion_error, saddle_error
from symtheory.theorems.instances import generator_of, normal

#: Rounding of third derivatives over some tens of data, where a mean may nearly cancel.
LOCAL_TOLERANCE = 1e-9
#: A paired direction has a slope, though it may begin at a high order of the weights; rounding is a thousand times smaller.
SEEN = 1e-12


# --- activations with a symmetry of their own --------------------------------------------------------------------------


def flip_error(p: Problem, seed: int) -> float:
    """Difference of the outputs at all weights and at their negatives, which an odd activation makes zero.

    Args:
        p: The problem.
        seed: Seed of the weights.

    Returns:
        The relative difference.
    """
    full = p.embedding @ normal(generator_of(seed), p.dim)
    here = p.output(full)
    return float((p.output(-full) - here).norm() / here.norm())


def balance_error(p: Problem, seed: int) -> float:
    r"""Rate of change of $|w_j|^2+b_j^2-|a_j|^2$ along the flow of all weights, unit by unit.

    Args:
        p: The problem.
        seed: Seed of the weights.

    Returns:
        The largest rate, relative to those of its parts.
    """
    full = normal(generator_of(seed), p.embedding.shape[0])
    (w, b, a), (dw, db, da) = (p.split(v) for v in (full, torch.func.grad(p.full_loss)(full)))
    into, out = (w * dw).sum(1) + b * db, (a * da).sum(1)
    return float((into - out).norm() / (into.norm() + out.norm()))


def with_relu(seed: int) -> Problem:
    """Three units with ReLU, and a target that is nowhere negative.

    Args:
        seed: Seed.

    Returns:
        The problem.
    """
    p = problem(three_units(), seed, square=True, samples=100)
    return replace(p, activation=torch.relu, targets=p.targets.abs() + 0.5)


def output_after(p: Problem, start: Tensor, rate: float = 2e-3, steps: int = 1500) -> tuple[float, float]:
    r"""Output weight of a block in small steps of descent.

    Args:
        p: A problem with one block and trivial output.
        start: Constrained parameters.
        rate: Step.
        steps: Number of steps.

    Returns:
        Smallest $\mathrm{sign}(\alpha_0)\alpha$ on the way, and $\alpha_0^2-|\tau_0|^2-\beta_0^2$.
    """
    slope, theta = torch.func.grad(p.loss), start
    sign, least = torch.sign(start[-1]), float("inf")
    for _ in range(steps):
        theta = theta - rate * slope(theta)
        least = min(least, float(sign * theta[-1]))
    return least, float(start[-1] ** 2 - (start[:-1] ** 2).sum())


# --- the check ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """One instance of one part of the claim.

    Attributes:
        part: ``equal inputs``, ``trivial output``, ``natural output``, ``odd`` or ``homogeneous``.
        problem: The problem.
        subset: Larger stabiliser, for equal inputs.
    """

    part: str
    problem: Problem
    subset: Subset = frozenset()


def check_local(case: Case) -> Verdict:
    """The part of the claim that the case is about.

    Args:
        case: The case.

    Returns:
        Verdict with a control of its own.
    """
    p, seed = case.problem, case.problem.seed
    if case.part == "equal inputs":
        statement = "units keep equal inputs exactly if the pairing is zero"
        slope = max(drift(p, case.subset, seed + k) for k in range(3))
        if is_paired(p.layer, case.subset):
            residual, control = float(slope < SEEN), slope / SEEN * LOCAL_TOLERANCE
        else:
            residual, control = slope, drift(p, case.subset, seed, loss_of_units=True)
    elif case.part == "trivial output":
        statement = "sides differ first in the cubic term, with its coefficient"
        residual = max(expansion_error(Three(p), seed))
        control = max(expansion_error(Three(p), seed, height=0.5))
    elif case.part == "natural output":
        statement = "the normal Hessian is (h c; c 0), the velocity across -c epsilon"
        residual = max(saddle_error(Three(p), seed))
        control = min(saddle_error(Three(p), seed, height=0.5))
    elif case.part == "odd":
        statement = "negative weights are the same function on the other side"
        c, theta = crossing(p), normal(generator_of(seed), p.dim)
        residual = flip_error(p, seed) + float(c.height(theta) * c.height(-theta) > 0)
        control = flip_error(replace(p, activation=torch.nn.functional.gelu), seed)
    else:
        statement = "squared input weights minus squared output weights are conserved"
        residual = balance_error(p, seed)
        control = balance_error(replace(p, activation=torch.nn.functional.gelu), seed)
    return Verdict(
        f"{p.name}: {statement}",
        residual,
        LOCAL_TOLERANCE,
        control=control,
        seed=seed,
        sizes={"units": p.layer.units.size, "parameters": p.dim},
    )


def local_instances(seed: int) -> list[Case]:
    """One case of every part, and equal inputs for several groups and for the pentagon.

    Args:
        seed: Seed.

    Returns:
        Cases.
    """
    whole: Subset = frozenset(range(10))
    odd = replace(problem(three_units(), seed), activation=torch.tanh)
    return [
        *(Case("equal inputs", p, k) for p, k in pairs(seed)),
        Case("equal inputs", problem(pentagon(), seed), whole),
        Case("trivial output", problem(three_units(), seed, activation="generic")),
        Case("natural output", problem(three_units("natural"), seed)),
        Case("odd", odd),
        Case("homogeneous", with_relu(seed)),
    ]


# --- one hypothesis broken at a time, and forms that are wrong -------------------------------------------------------------


def _control_units(seed: int) -> Verdict:
    slope = drift(problem(pentagon(), seed), frozenset(range(10)), seed, loss_of_units=True)
    return Verdict("no slope across equal inputs, loss of a single unit", slope, LOCAL_TOLERANCE, seed=seed)


def _control_pairing(seed: int) -> Verdict:
    slope = drift(problem(three_units("natural"), seed), frozenset(range(6)), seed)
    return Verdict("no slope across equal inputs, paired outputs", slope, LOCAL_TOLERANCE, seed=seed)


def _control_reduced(seed: int) -> Verdict:
    t = Three(problem(three_units("natural"), seed))
    return Verdict(
        "the normal Hessian is (h c; c 0), outputs not equal",
        saddle_error(t, seed, split=1.0)[0],
        LOCAL_TOLERANCE,
        seed=seed,
    )


def _control_odd(seed: int) -> Verdict:
    return Verdict(
        "negative weights are the same function, GELU",
        flip_error(problem(three_units(), seed), seed),
        LOCAL_TOLERANCE,
        seed=seed,
    )


def _control_homogeneous(seed: int) -> Verdict:
    p = replace(with_relu(seed), activation=torch.nn.functional.gelu)
    return Verdict("the balance is conserved, GELU", balance_error(p, seed), LOCAL_TOLERANCE, seed=seed)


def _control_balance(seed: int) -> Verdict:
    """A small output weight of the wrong sign changes it."""
    p = with_relu(seed)
    start = Three(p).point(mu=1.0, beta=1.0, alpha=-0.05)
    least, _ = output_after(p, start, steps=600)
    return Verdict("the output weight keeps its sign, small at the start", max(-least, 0.0), 1e-6, seed=seed)


def rich_outputs_wall() -> Verdict:
    r"""The form "with $V_{out}^H\neq V_{out}^{H'}$ nothing separates" fails for the pentagon: $\delta(T) = \delta(0)e^{-\int M}$ as at a wall.

    Returns:
        Verdict on the height being free to cross, which must not hold.
    """
    c = silent_wall(problem(pentagon(), 0), frozenset(range(10)))
    kept = max(flow_error(c, seed) for seed in range(2))
    return Verdict(
        "the height over equal inputs is not bound to its sign", float(kept < 1e-6), 0.5, settings={"error": kept}
    )


def _prove_local() -> Proof:
    h, e = symbols("h epsilon", real=True)
    z, a, c, g, y = symbols("z a c g y", real=True)
    x, v = symbols("x1:4", real=True), symbols("v1:3", real=True)
    s, q = Function("s"), Function("q")
    ell = Function("ell")
    mean = sum(x) / sympy.Integer(3)
    flat = [xi - mean for xi in x]
    w, b = symbols("w b", real=True)
    turn = [2 * sympy.pi * j / 5 for j in range(5)]

    def three(height: sympy.Expr) -> sympy.Expr:
        return a * sum(s(z + height * u / sqrt(2)) for u in flat)

    def rich(height: sympy.Expr, split: sympy.Expr) -> sympy.Expr:
        """Outputs a_j = (alpha e + epsilon (e_j - e/3) 3/sqrt 2)/3 of three units, through any loss of three outputs."""
        units = [s(z + height * u / sqrt(2)) for u in flat]
        rows = [
            sum((a / 3 + split * (int(i == j) - Rational(1, 3)) / sqrt(2)) * units[j] for j in range(3))
            for i in range(3)
        ]
        return ell(*rows)

    def five(height: sympy.Expr) -> sympy.Expr:
        units = [s(z + height * (sympy.cos(t) * v[0] + sympy.sin(t) * v[1])) for t in turn]
        return ell(
            a * sum(units),
            c * sum(sympy.cos(2 * t) * u for t, u in zip(turn, units, strict=True)),
            c * sum(sympy.sin(2 * t) * u for t, u in zip(turn, units, strict=True)),
        )

    slope = sympy.diff(s(z), z)
    d1, d2, d3 = symbols("l1:4")
    point = [a * s(z)] * 3
    gradient = [sympy.Subs(sympy.diff(ell(d1, d2, d3), d), (d1, d2, d3), tuple(point)) for d in (d1, d2, d3)]
    coupling = Rational(1, 2) * slope * sum(gi * u for gi, u in zip(gradient, flat, strict=True))

    def odd(value: sympy.Expr) -> sympy.Expr:
        return q(value) - q(-value)

    neuron = a * s(w * x[0] + b)
    inner = w * x[0] + b
    return Proof(
        "C.H8",
        r"undefined activation $s$ and loss $\ell$ of the outputs; one datum, so any data; three units of $S_3$ and five of $D_5$ spelled out, other "
        r"groups by the pairing; the last three steps for one unit with one input, which stands for each",
        (
            identity(
                "pentagon: outputs turn twice as fast as inputs, so nothing moves the inputs apart",
                derivative_at_zero(five),
            ),
            identity("three units, trivial output: no first order", derivative_at_zero(three)),
            identity(
                r"second order the same on both sides, $\delta^2/4$",
                derivative_at_zero(three, 2),
                a / 2 * sympy.diff(s(z), z, 2) * sum(u**2 for u in flat),
            ),
            identity(
                r"third order, $\delta^3/(12\sqrt2)$",
                derivative_at_zero(three, 3),
                a / (2 * sqrt(2)) * sympy.diff(s(z), z, 3) * sum(u**3 for u in flat),
            ),
            identity("with", sum(u**3 for u in flat), 3 * flat[0] * flat[1] * flat[2]),
            identity(
                r"three units, natural output: the loss does not depend on $\varepsilon$ where inputs are equal",
                sympy.diff(rich(sympy.Integer(0), e), e),
            ),
            identity(
                r"and the slope across is $c\varepsilon$ with $c = \tfrac12s'(z)\nabla\ell\cdot x_\perp$",
                derivative_at_zero(lambda t: rich(t, e)),
                e * coupling,
            ),
            identity("so the normal Hessian has a negative determinant", sympy.Matrix([[h, c], [c, 0]]).det(), -(c**2)),
            identity(
                "an odd activation: negative weights are the same function",
                -a * odd(-w * x[0] - b),
                a * odd(w * x[0] + b),
            ),
            identity(
                r"a homogeneous one, $zs' = s$: the squares of input and output weights change alike",
                (w * sympy.diff(neuron, w) + b * sympy.diff(neuron, b) - a * sympy.diff(neuron, a))
                .doit()
                .subs(a * s(inner), a * _euler(s, inner)),
            ),
            identity(
                "a target that is never negative, an output that is never positive: nothing beats zero",
                (-g - y) ** 2 - y**2,
                g**2 + 2 * g * y,
            ),
        ),
    )


def _euler(s: Any, inner: sympy.Expr) -> sympy.Expr:
    """Z s'(z) in place of s(z)."""
    place = symbols("zeta", real=True)
    return inner * sympy.Subs(sympy.diff(s(place), place), place, inner)


LOCAL = Theorem(
    claim=Claim(
        id="C.H8",
        source="this book",
        title="Units with equal inputs",
        statement=r"Let $I = \{w\in V_{in}^{H'}\}$ be where units of a block $G/H$ have equal inputs, $H'$ the largest such subgroup. (i) $I$ is invariant for all data and losses of the function if, and for $s$ that is neither polynomial nor odd only if, the "
        r"pairing $T(a,\nu) = |H'|^{-1}\sum_{k\in H'}\rho_{out}(k)a\otimes\rho_{in}(k)\nu$ of $V_{out}^H$ with the directions across $I$ is zero. That is so if $V_{out}^H = V_{out}^{H'}$, but also if the rest of "
        r"$V_{out}^H$ and $\nu$ generate representations of $H'$ without a common part. If $I$ has one direction across, it is then a wall. "
        r"(ii) Three units of $S_3$, trivial output, $s\in C^4$: $f = 3as(z)+\tfrac{\delta^2}4as''(z)|x_\perp|^2+\tfrac{\delta^3}{12\sqrt2}as'''(z)\sum_j(u_j\cdot x)^3+O(\delta^4)$; both sides are alike to second order. "
        r"(iii) Natural output: at a reduced point the normal Hessian is $\begin{pmatrix}h&c\\c&0\end{pmatrix}$ with $c = \tfrac12\mathbb E[s'(z)\nabla\ell\cdot x_\perp]$, "
        r"$h = \tfrac\alpha6\mathbb E[(e\cdot\nabla\ell)s''(z)|x_\perp|^2]$, a strict saddle if $c\neq0$, and $I$ is crossed with the velocity $-c\varepsilon$ (for a reduced point that is critical). "
        r"(iv) If $s$ is odd, $(W,b,a)\mapsto-(W,b,a)$ exchanges the sides of every wall. (v) If $s$ is positively homogeneous, the flow conserves "
        r"$|w_j|^2+b_j^2-|a_j|^2$; where that is not positive the sign of a scalar $a_j$ never changes, and if also $s\ge0$, one block with scalar output, no output bias and squared error does not beat $L(0)$ with $a<0$ on targets $y\ge0$.",
        hypotheses={
            "loss of the function": "$L$ depends on the weights through $f_\\theta$ only",
            "no pairing": "$T = 0$ (for i)",
            "reduced point": r"$\delta = \varepsilon = 0$ (for the Hessian in iii)",
            "odd activation": "$s(-z) = -s(z)$ (for iv)",
            "homogeneous activation": "$s(\\lambda z) = \\lambda s(z)$, $\\lambda>0$ (for v)",
            "large output weight": r"$|a_j|^2\ge|w_j|^2+b_j^2$ at the start (for v)",
        },
        verdict="holds",
        chapter="hidden_subspaces",
        remark=r"Richer outputs remove a wall only if they pair with it. The pentagon keeps its wall: $D_5$ turns the input plane by $72°$ and the output plane by $144°$, the flat "
        r"has codimension two, and yet the sign of $\delta$ is conserved. This wall is no fixed-point subspace, so a search for those does not see it. In (iv) the sign of $\delta$ is conserved all the same; it is only harmless.",
    ),
    prove=_prove_local,
    check=check_local,
    instances=local_instances,
    controls={
        "loss of the function": _control_units,
        "no pairing": _control_pairing,
        "reduced point": _control_reduced,
        "odd activation": _control_odd,
        "homogeneous activation": _control_homogeneous,
        "large output weight": _control_balance,
    },
    counterexamples={"richer outputs separate nothing": rich_outputs_wall},
)
