r"""Relaxing the constraint at a trapped point: where the gradient stays zero, and which directions lead away.

All weights $\Theta$ carry the representation $g(W,b,A) = (P_gW\rho_{in}(g)^{-1}, P_gb, \rho_{out}(g)AP_g^{-1})$, and the constrained space is what it
fixes. If the loss is invariant a critical point of $L|_E$ is critical in $\Theta$, and its Hessian commutes with $G$: one block for every isotypic
component, the trivial one being the Hessian within the constraint. Relaxed to a subgroup $K$, of a block only the vectors that $K$ fixes are left.
Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import sympy
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from sympy import Function, symbols
from torch import Tensor

from symtheory.engine.symbolic import derivative_at_zero, identity, matrices
from symtheory.spec import representations as reps
from symtheory.spec.claim import Claim
from symtheory.spec.cosets import fixed_space
from symtheory.spec.groups import Subset
from symtheory.spec.intertwiners import isotypic_blocks
from symtheory.spec.representations import Representation
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.hidden_subspaces.bank import GROUPS, blocks, ends
from symtheory.theorems.hidden_subspaces.crossings import three_units
from symtheory.theorems.hidden_subspaces.pairing import across_inputs
from symtheory.theorems.hidden_subspaces.problems import Problem, averaged_over_group, problem
from symtheory.theorems.instances import generator_of, normal

#: Critical points are found to 1e-12; gradients and Hessians round at some 1e-15 of their size.
TRAP_TOLERANCE = 1e-9
#: Eigenvalues between these, relative to the largest, are not decided.
FLAT = 1e-6
NOISE = 1e-5


@dataclass(frozen=True, eq=False)
class Trap:
    r"""A critical point of the constrained loss.

    Attributes:
        problem: The problem.
        theta: The point, in constrained coordinates.
    """

    problem: Problem
    theta: Tensor

    @cached_property
    def full(self) -> Tensor:
        """The point among all weights."""
        return self.problem.embedding @ self.theta

    @cached_property
    def action(self) -> Representation:
        """How the group acts on all weights."""
        layer = self.problem.layer
        permuted = layer.units.representation().matrices
        one = reps.trivial(layer.group)
        parts = [
            torch.stack([torch.kron(p, m) for p, m in zip(permuted, rep.matrices, strict=True)])
            for rep in (layer.rep_in, one, layer.rep_out)
        ]
        whole = torch.stack([torch.block_diag(*blocks) for blocks in zip(*parts, strict=True)])
        return Representation(layer.group, whole, "weights")

    @cached_property
    def blocks(self) -> list[Tensor]:
        """Isotypic components of all weights, the constrained space first."""
        found = isotypic_blocks(self.action)
        inside = [float((self.problem.embedding.T @ b).square().sum()) for b in found]
        trivial = int(np.argmax(inside))
        return [found[trivial], *(b for i, b in enumerate(found) if i != trivial)]

    @cached_property
    def hessian(self) -> Tensor:
        """Second derivatives in all weights."""
        return torch.func.hessian(self.problem.full_loss)(self.full)

    @property
    def slope(self) -> float:
        """Gradient in all weights, relative to that of the same weights with a random function as target."""
        size = torch.func.grad(replace(self.problem, targets=0 * self.problem.targets).full_loss)(self.full)
        return float(torch.func.grad(self.problem.full_loss)(self.full).norm() / (size.norm() + 1))

    @property
    def mixing(self) -> float:
        """Entries of the Hessian between different blocks, relative to all."""
        frame = torch.cat(self.blocks, dim=1)
        turned = frame.T @ self.hessian @ frame
        within = torch.block_diag(*(torch.ones(b.shape[1], b.shape[1], dtype=torch.float64) for b in self.blocks))
        return float((turned * (1 - within)).norm() / turned.norm())

    @cached_property
    def lowest(self) -> list[float]:
        """Smallest eigenvalue of every block."""
        return [float(torch.linalg.eigvalsh(b.T @ self.hessian @ b)[0]) for b in self.blocks]

    @property
    def decided(self) -> bool:
        """Whether no eigenvalue is too close to zero to have a sign."""
        values = torch.linalg.eigvalsh(self.hessian)
        return float(values.abs().min()) > FLAT * float(values.abs().max())

    @property
    def predicts_escape(self) -> bool:
        """Whether some block has a negative eigenvalue."""
        return min(self.lowest) < 0

    def opened_by(self, subset: Subset) -> bool:
        """Whether relaxing to a subgroup is predicted to lead away: a block with a negative eigenvalue and a vector it fixes.

        Args:
            subset: The subgroup.

        Returns:
            The answer.
        """
        mean = self.action.reynolds(subset)
        return any(
            v < 0 and float(torch.trace(b.T @ mean @ b)) > 0.5 for v, b in zip(self.lowest, self.blocks, strict=True)
        )

    def lowest_within(self, subset: Subset) -> float:
        """Smallest eigenvalue of the Hessian on all weights that a subgroup fixes.

        Args:
            subset: The subgroup.

        Returns:
            The eigenvalue.
        """
        basis = fixed_space(self.action, subset)
        return float(torch.linalg.eigvalsh(basis.T @ self.hessian @ basis)[0])


def trap(p: Problem, starts: int = 1) -> Trap:
    """A minimum of the constrained loss: quasi-Newton descent from random starts, then Newton steps.

    Args:
        p: The problem.
        starts: The worst minimum of so many starts is returned.

    Returns:
        The trap.
    """
    slope, found = torch.func.grad(p.loss), []
    for k in range(starts):
        end = minimize(
            lambda v: (float(p.loss(torch.from_numpy(v))), slope(torch.from_numpy(v)).numpy()),
            normal(generator_of(p.seed + 11 * k), p.dim).numpy(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 500, "gtol": 1e-7, "ftol": 1e-14},
        )
        found.append(polished(p, torch.from_numpy(end.x)))
    return max(found, key=lambda t: float(p.loss(t.theta)))


def polished(p: Problem, theta: Tensor) -> Trap:
    """Newton steps from a point that is nearly critical.

    Args:
        p: The problem.
        theta: Constrained parameters.

    Returns:
        The critical point.
    """
    slope, bend = torch.func.grad(p.loss), torch.func.hessian(p.loss)
    for _ in range(4):
        theta = theta - torch.linalg.lstsq(bend(theta), slope(theta)[:, None], driver="gelsd").solution[:, 0]
    return Trap(p, theta)


def displacement(t: Trap, seed: int = 0) -> float:
    r"""How far noise of size $10^{-5}$ at the trap has grown along the relaxed gradient flow.

    Args:
        t: The trap.
        seed: Seed of the noise.

    Returns:
        Final over initial distance, after ten times that of the slowest rate of the Hessian.
    """
    values = torch.linalg.eigvalsh(t.hessian)
    rate = -float(values[0]) if values[0] < 0 else float(values[0])
    noise = normal(generator_of(seed), len(t.full))
    noise = NOISE * noise / noise.norm()
    slope = torch.func.grad(t.problem.full_loss)
    end = solve_ivp(
        lambda _, v: -slope(torch.from_numpy(v)).numpy(),
        (0, 10 / rate),
        (t.full + noise).numpy(),
        method="LSODA",
        rtol=1e-6,
        atol=1e-9,
    )
    return float(np.linalg.norm(end.y[:, -1] - t.full.numpy())) / NOISE


def misjudged(t: Trap) -> int:
    """Predictions that fail: escape of noise, and for every subgroup whether relaxing to it opens a direction.

    Args:
        t: The trap.

    Returns:
        The number.
    """
    grown = displacement(t)
    wrong = int((grown > 10) if not t.predicts_escape else (grown < 100))
    return wrong + sum(
        t.opened_by(k) != (t.lowest_within(k) < 0) for k in (c[0] for c in t.problem.layer.group.subgroup_classes)
    )


def check_escape(t: Trap) -> Verdict:
    """The trap is critical among all weights, its Hessian is block diagonal, and the blocks predict what leads away.

    Args:
        t: A trap of an invariant loss.

    Returns:
        Verdict whose control is a trap of the same layer with targets that know nothing of the group.
    """
    broken = uneven(t)
    wrong = misjudged(t) if t.decided else 0
    return Verdict(
        f"{t.problem.name}: critical after relaxing, Hessian block diagonal, escape as predicted",
        residual=max(t.slope, t.mixing) + wrong,
        tolerance=TRAP_TOLERANCE,
        control=min(broken.slope, broken.mixing),
        seed=t.problem.seed,
        sizes={"weights": len(t.full), "constrained": len(t.theta), "blocks": len(t.blocks)},
        settings={"lowest": tuple(t.lowest), "decided": t.decided, "escapes": t.predicts_escape},
    )


def uneven(t: Trap) -> Trap:
    """A trap of the same layer whose targets are not equivariant.

    Args:
        t: A trap.

    Returns:
        The other trap.
    """
    p = t.problem
    return trap(replace(p, targets=p.targets + 0.5 * normal(generator_of(p.seed + 21), *p.targets.shape)))


def invariant_problem(name: str, block: int, end: str, seed: int, decay: float) -> Problem:
    """A block with data closed under the group and with weight decay.

    Args:
        name: A group in the bank.
        block: Number of the class of stabilisers.
        end: Name of inputs and outputs.
        seed: Seed.
        decay: Weight decay; large values make traps that nothing leads away from.

    Returns:
        The problem.
    """
    group = GROUPS[name]()
    layer = list(blocks(group, *ends(group)[end]))[block]
    p = averaged_over_group(problem(layer, seed, activation="softplus", samples=6))
    return replace(p, decay=decay, targets=2 * p.targets)


#: Group, class of stabilisers, inputs and outputs, decay: with weak decay most traps are saddles once relaxed, with strong decay they are not.
KINDS = (
    ("S_3", 1, "natural, trivial", 0.02),
    ("C_4", 0, "natural, natural", 0.1),
    ("A_4", 2, "natural, trivial", 0.5),
    ("D_4", 2, "natural, trivial", 0.1),
    ("S_3", 0, "natural, natural", 0.02),
    ("S_3", 1, "natural, natural", 0.5),
)


def escape_instances(seed: int) -> list[Trap]:
    """Three traps, of groups in turn, with weak and with strong decay.

    Args:
        seed: Seed.

    Returns:
        Traps.
    """
    chosen = [KINDS[(3 * seed + k) % len(KINDS)] for k in range(3)]
    return [trap(invariant_problem(n, b, e, seed + k, d)) for k, (n, b, e, d) in enumerate(chosen)]


# --- one hypothesis broken at a time ------------------------------------------------------------------------------------


def _example(seed: int) -> Trap:
    name, block, end, decay = KINDS[0]
    return trap(invariant_problem(name, block, end, seed, decay))


def _control_invariance(seed: int) -> Verdict:
    return Verdict(
        "a trap stays critical after relaxing, targets not equivariant",
        uneven(_example(seed)).slope,
        TRAP_TOLERANCE,
        seed=seed,
    )


def _control_critical(seed: int) -> Verdict:
    t = _example(seed)
    moved = Trap(t.problem, t.theta + 0.1 * normal(generator_of(seed), len(t.theta)))
    return Verdict("any constrained point is critical after relaxing", moved.slope, TRAP_TOLERANCE, seed=seed)


def flat_trap(seed: int) -> Trap:
    r"""The origin for an odd activation and targets without a constant and a linear part: the whole Hessian is zero there.

    Args:
        seed: Seed.

    Returns:
        The trap.
    """
    p = averaged_over_group(problem(replace(three_units(), bias=False), seed, samples=10, square=True))
    flat = 2 * (p.inputs - p.inputs.mean(dim=1, keepdim=True))
    cubic = (flat**3).sum(1, keepdim=True)
    known = torch.cat([flat, torch.ones_like(cubic)], dim=1)
    rest = cubic - known @ torch.linalg.lstsq(known, cubic, driver="gelsd").solution
    p = replace(p, inputs=flat, targets=rest, activation=torch.tanh)
    return Trap(p, torch.zeros(p.dim, dtype=torch.float64))


def _control_nondegenerate(seed: int) -> Verdict:
    """No negative eigenvalue at the origin, and yet the flow leaves from as near as one likes, if slowly."""
    t = flat_trap(seed)
    p, values = t.problem, torch.linalg.eigvalsh(t.hessian)
    start = torch.zeros(p.dim, dtype=torch.float64)
    across = across_inputs(p, frozenset(range(6)))[:, 0]
    options = []
    for sign in (1.0, -1.0):
        start = 0.1 * across
        start[-1] = 0.1 * sign
        options.append(start)
    start = min(options, key=lambda v: float(p.loss(v)))
    drop = float(p.loss(torch.zeros_like(start)) - p.loss(start))
    stays = float(values.abs().max()) < 1e-12 and drop > 0
    slope = torch.func.grad(p.loss)
    end = solve_ivp(
        lambda _, v: -slope(torch.from_numpy(v)).numpy(), (0, 200), start.numpy(), method="LSODA", rtol=1e-8
    )
    grown = float(np.linalg.norm(end.y[:, -1]) / start.norm())
    return Verdict(
        "without negative eigenvalues nothing leads away, zero eigenvalues",
        max(grown - 1, 0.0) if stays else 0.0,
        1e-6,
        seed=seed,
        settings={"drop": drop, "growth": grown},
    )


def _prove_escape() -> Proof:
    grad, mean, hessian, one, two, v, k = matrices(r"\nabla L^T", r"\bar G", "H", "E_j", "E_k", "v", r"\bar K")
    x, lam = symbols("x lambda", real=True)
    q = Function("q")

    def swapped(s: sympy.Expr, t: sympy.Expr) -> sympy.Expr:
        """Any loss of two weights that the group exchanges, off the constrained point x = y by s together and by t apart."""
        return q(x + s + t, x + s - t) + q(x + s - t, x + s + t)

    return Proof(
        "C.H7",
        r"any finite group that acts orthogonally on all weights, $\bar G$ and $\bar K$ averages over group and subgroup, $E_j$ projectors on isotypic "
        r"components, which are combinations of group elements; the second and third step spell out two weights and an undefined function",
        (
            identity(
                "an invariant loss has no gradient in the broken space: all of it is the constrained one",
                grad * (1 - mean),
                0,
                {grad * mean: grad},
            ),
            identity("two weights: no slope apart", derivative_at_zero(lambda u: swapped(sympy.Integer(0), u))),
            identity(
                "and no mixed second derivative",
                derivative_at_zero(lambda u: derivative_at_zero(lambda w: swapped(w, u)).doit()),
            ),
            identity(
                "the Hessian commutes with the group and mixes no two components",
                one * hessian * two,
                0,
                {hessian * two: two * hessian, one * two: 0},
            ),
            identity(
                "an eigenvector averaged over a subgroup is one with the same eigenvalue, in the same component",
                hessian * k * v,
                lam * k * v,
                {hessian * k: k * hessian, hessian * v: lam * v},
            ),
        ),
    )


ESCAPE = Theorem(
    claim=Claim(
        id="C.H7",
        source="this book",
        title="Escape by relaxing the constraint",
        statement=r"Let $\theta$ be a minimum of the constrained loss and $L$ invariant under $G$ acting on all weights (equivariant targets, invariant data and error). "
        r"(i) $\theta$ is critical among all weights. For any loss it is so if and only if $\nabla(L-\tilde L)(\theta) = 0$ with the average $\tilde L$ of $L$ over $G$. "
        r"(ii) The Hessian is block diagonal over the isotypic components of the weights; the trivial block is the constrained Hessian. "
        r"(iii) If no eigenvalue is zero, small noise leads away after relaxing if and only if a nontrivial block has a negative one. "
        r"(iv) Relaxing only to a subgroup $K$ opens such a direction if and only if a component with a negative eigenvalue has a vector that $K$ fixes.",
        hypotheses={
            "invariant loss": "$L(g\\theta) = L(\\theta)$ on all weights",
            "constrained critical point": r"$\nabla(L|_E)(\theta) = 0$",
            "nondegenerate": "no eigenvalue of the Hessian is zero (for iii)",
        },
        verdict="holds",
        chapter="hidden_subspaces",
        remark=r"Noise of size $\sigma$ along an eigenvalue $-\lambda$ takes the time $\lambda^{-1}\log(1/\sigma)$. The block of a component enters with every vector that $K$ fixes, so a "
        r"smaller subgroup never opens less. Relaxing cannot help at a trap with positive blocks, nor at a dead block.",
    ),
    prove=_prove_escape,
    check=check_escape,
    instances=escape_instances,
    controls={
        "invariant loss": _control_invariance,
        "constrained critical point": _control_critical,
        "nondegenerate": _control_nondegenerate,
    },
)
