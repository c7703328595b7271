r"""Hidden symmetric criticality: the constrained gradient respects symmetries that the constraint does not.

Let $\Sigma$ be orthogonal symmetries of $L$, normalised by the orthogonal action of $G$ whose fixed space is $\Theta_P$. For *any* $K\le\Sigma$
and $\theta\in\mathrm{Fix}(K)\cap\Theta_P$ the gradient of $L|_{\Theta_P}$ lies in $\mathrm{Fix}(K)\cap\Theta_P$. Proof: the average
$\tilde L = |G|^{-1}\sum_gL\circ g$ equals $L$ on $\Theta_P$ and is invariant under $\langle K, G\rangle$; apply Proposition 2.9 to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from sympy import Function, Rational, diff, sqrt, symbols
from torch import Tensor

from symtheory.engine.symbolic import identity, matrices
from symtheory.errors import SymtheoryError
from symtheory.spec.claim import Claim
from symtheory.spec.congruences import Labels
from symtheory.spec.gsets import disjoint_union
from symtheory.spec.numerics import largest, relative_error
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.hidden_subspaces.criticality import LEAK_TOLERANCE, leak
from symtheory.theorems.hidden_subspaces.dynamics import orthonormal_coordinates, tied_coordinates
from symtheory.theorems.hidden_subspaces.settings import (
    OURS,
    FlatLoss,
    Setting,
    on_data,
    orbits_of,
    random_exchanges,
    settings,
    three,
)
from symtheory.theorems.instances import generator_of, normal


@dataclass(frozen=True, eq=False)
class Hidden:
    """A random group of exchanges that fixes a proper part of the constrained space.

    Attributes:
        exchanges: Its generators.
        labels: Its orbits on the units.
        flat: Projector on what it fixes within the constrained space.
        preserves: Whether it maps the constrained space to itself.
    """

    exchanges: list[list[int]]
    labels: Labels
    flat: Tensor
    preserves: bool


def hidden(s: Setting, seed: int, tries: int = 60) -> Hidden:
    """Draw groups of exchanges until one fixes a proper part of the constrained space.

    Args:
        s: The setting.
        seed: Seed.
        tries: Most draws.

    Returns:
        The group.

    Raises:
        SymtheoryError: If none was found: all units of the layer are alike.
    """
    g, images = generator_of(seed + 5), s.layer.units.images
    whole = float(s.constrained.trace())
    for _ in range(tries):
        exchanges = random_exchanges(s.layer.units, g)
        labels = orbits_of(s.layer.units.size, exchanges)
        flat = s.flat(labels)
        if float(flat.trace()) < whole - 0.5:
            preserves = max(
                float((s.constrained @ m - m @ s.constrained).abs().max()) for m in map(s.exchange, exchanges)
            )
            return Hidden(exchanges, labels, flat, preserves < LEAK_TOLERANCE)
    raise SymtheoryError("units that can differ", f"{s.name}: {images.shape[1]} units that are all alike", "add inputs")


def constrained_leak(
    s: Setting, flat: Tensor, point: Tensor, loss: FlatLoss | None = None, metric: Tensor | None = None
) -> float:
    r"""Share of a step of constrained descent that leaves a flat.

    Args:
        s: The setting.
        flat: Projector on the flat.
        point: A point of the flat.
        loss: Another loss, for controls.
        metric: $BB^T$ of other coordinates; default orthonormal ones, whose $BB^T$ is the projector on $\Theta_P$.

    Returns:
        The share.
    """
    slope = torch.func.grad(s.loss if loss is None else loss)(point)
    return leak((s.constrained if metric is None else metric) @ slope, flat)


def stretched(s: Setting, seed: int) -> Tensor:
    r"""$BB^T$ for coordinates of random lengths.

    Args:
        s: The setting.
        seed: Of the lengths.

    Returns:
        Shape ``(size, size)``.
    """
    basis = orthonormal_coordinates(s)
    turn = torch.linalg.qr(normal(generator_of(seed + 6), basis.shape[1], basis.shape[1])).Q
    lengths = torch.linspace(1, 9, basis.shape[1], dtype=torch.float64)
    return basis @ turn @ torch.diag(lengths) @ turn.T @ basis.T


def check_hidden(s: Setting, groups: int = 4) -> Verdict:
    """Constrained gradients at random points fixed by random groups of exchanges.

    Args:
        s: The setting.
        groups: Number of groups.

    Returns:
        Verdict whose control is the gradient in coordinates that are not orthonormal.
    """
    found = [hidden(s, s.seed + 100 * i) for i in range(groups)]
    points = [h.flat @ normal(generator_of(s.seed + i), s.size) for i, h in enumerate(found)]
    pairs = list(zip(found, points, strict=True))
    metric = stretched(s, s.seed)
    return Verdict(
        f"{s.name}: the constrained gradient stays in hidden subspaces",
        residual=largest(constrained_leak(s, h.flat, p) for h, p in pairs),
        tolerance=LEAK_TOLERANCE,
        control=max(constrained_leak(s, h.flat, p, metric=metric) for h, p in pairs),
        seed=s.seed,
        sizes={"parameters": s.size, "groups": groups, "not preserving": sum(not h.preserves for h in found)},
    )


def pair_flat(s: Setting) -> tuple[Tensor, Tensor]:
    """The flat on which the first two units coincide, and a random point on it.

    Args:
        s: The setting.

    Returns:
        Projector and point.
    """
    flat = s.flat(tuple(0 if i < 2 else i for i in range(s.layer.units.size)))
    return flat, flat @ normal(generator_of(s.seed + 8), s.size)


def _control_symmetric(seed: int) -> Verdict:
    s = three(seed)
    flat, point = pair_flat(s)
    found = constrained_leak(s, flat, point, loss=lambda theta: s.loss(theta) + s.parts(theta)[0][0] @ s.inputs[0])
    return Verdict("constrained gradient, one unit penalised", found, LEAK_TOLERANCE, seed=seed)


def _control_normalised(seed: int) -> Verdict:
    """A loss with the exchange of two units, but not its images under the group, as a symmetry."""
    s = three(seed)
    flat, point = pair_flat(s)
    swap = s.exchange([1, 0, 2])
    tilt = normal(generator_of(seed + 3), s.size)
    found = constrained_leak(
        s, flat, point, loss=lambda theta: s.loss(theta) + torch.sin(tilt @ theta) + torch.sin(tilt @ swap @ theta)
    )
    return Verdict("constrained gradient, symmetric for one exchange only", found, LEAK_TOLERANCE, seed=seed)


def _control_orthogonal(seed: int) -> Verdict:
    """Two equal ReLU blocks exchanged with a stretch: a symmetry that commutes with the group and is not orthogonal."""
    one_block = three(seed).layer
    # without biases, so that some sample reaches every unit
    layer = replace(one_block, units=disjoint_union(one_block.units, one_block.units), bias=False)
    s = replace(on_data(layer, seed, samples=20), activation=torch.relu)
    one = torch.tensor([2.0] * layer.rep_in.dim + [0.5] * layer.rep_out.dim, dtype=torch.float64)
    scale = torch.diag(torch.cat([one.repeat(3), torch.ones_like(one).repeat(3), torch.ones(s.layer.rep_out.dim)]))
    merged = scale @ s.flat((0, 1, 2, 0, 1, 2))
    left, values, _ = torch.linalg.svd(merged)
    flat = left[:, values > 0.1] @ left[:, values > 0.1].T
    point = flat @ normal(generator_of(seed + 1), s.size)
    swap = scale @ s.exchange([3, 4, 5, 0, 1, 2]) @ torch.linalg.inv(scale)
    other = normal(generator_of(seed + 2), s.size)
    if relative_error(s.outputs(swap @ other), s.outputs(other)) > LEAK_TOLERANCE:
        raise SymtheoryError("a symmetry of the function", "none", "rescale inputs and outputs inversely")
    return Verdict(
        "constrained gradient, exchange with a stretch", constrained_leak(s, flat, point), LEAK_TOLERANCE, seed=seed
    )


def _control_metric(seed: int) -> Verdict:
    """Tied weights as they are mostly written: the two numbers of a circulant have 3 and 6 entries."""
    s = three(seed)
    flat, point = pair_flat(s)
    tied = tied_coordinates(s)
    found = constrained_leak(s, flat, point, metric=tied @ tied.T)
    return Verdict("constrained gradient in tied coordinates", found, LEAK_TOLERANCE, seed=seed)


def _prove_hidden() -> Proof:
    loss, g, k, conj, mean, theta, grad = matrices(
        "L", "g", r"\kappa", r"(g\kappa g^{-1})", r"\bar G", r"\theta", r"\nabla L"
    )
    joint = matrices(r"\overline{\langle K,G\rangle}")[0]
    s, risk = Function("s"), Function(r"\ell")
    mu, delta, b, alpha, eps = symbols("mu delta b alpha epsilon", real=True)
    x = symbols("x:3", real=True)
    total = sum(x)
    hidden_units = [s(mu * total / 3 + delta * (x[j] - total / 3) / sqrt(2) + b) for j in range(3)]
    outputs = [
        sum((alpha / 3 + eps * (int(i == j) - Rational(1, 3)) / sqrt(2)) * h for j, h in enumerate(hidden_units))
        for i in range(3)
    ]
    value = risk(*outputs)
    on = {delta: 0, eps: 0}
    t1, t2 = symbols("t_1 t_2", real=True)
    tied = risk(alpha * sum(s(t1 * x[j] + t2 * (total - x[j]) + b) for j in range(3)))
    both = (diff(tied, t2) - 2 * diff(tied, t1)).doit().subs(t2, t1).doit()
    return Proof(
        "C.H1",
        r"any loss, any finite group, any group of symmetries that it normalises; then $S_3$ on three units written out for undefined activation and "
        r"loss of the outputs, $W = \mu J/3+\delta(I-J/3)/\sqrt2$ and $A = \alpha J/3+\epsilon(I-J/3)/\sqrt2$",
        (
            identity(
                r"$L\circ g$ keeps the symmetry: $L(g\kappa\theta) = L((g\kappa g^{-1})g\theta) = L(g\theta)$",
                loss * g * k * theta,
                loss * g * theta,
                {g * k: conj * g, loss * conj: loss},
            ),
            identity(
                r"on $\Theta_P$ the gradient of $\tilde L = |G|^{-1}\sum L\circ g$ is $\bar G\nabla L$, the constrained gradient: $g\theta = \theta$",
                mean * grad - mean * mean * grad,
                0,
                {mean * mean: mean},
            ),
            identity(
                r"$\nabla\tilde L\in\mathrm{Fix}\langle K, G\rangle$ by Proposition 2.9: fixed by every $\kappa$ and every $g$",
                (k - 1) * joint * grad + (g - 1) * joint * grad,
                0,
                {k * joint: joint, g * joint: joint},
            ),
            identity("three units: no slope across $\\delta = 0$", diff(value, delta).subs(on).doit(), 0),
            identity(
                "nor across $\\epsilon = 0$, for an output that the group permutes", diff(value, eps).subs(on).doit(), 0
            ),
            identity(
                r"tied coordinates $W = t_1I+t_2(J-I)$: on $t_1 = t_2$ the slopes are as $3:6$, so descent in $t$ leaves it",
                both,
                0,
            ),
        ),
    )


HIDDEN = Theorem(
    claim=Claim(
        id="C.H1",
        source=f"{OURS}; after the abstract and Figures 1 to 3 of paper C",
        title="Constrained gradients never leave a hidden fixed-point subspace",
        statement=r"Let $\Sigma$ be symmetries of $L\in C^1$, and let the orthogonal action of a finite group $G$ with fixed space $\Theta_P$ normalise $\Sigma$. "
        r"For every subgroup $K$ of $\Sigma$, whether it preserves $\Theta_P$ or not, and every $\theta\in\mathrm{Fix}(K)\cap\Theta_P$, the gradient of "
        r"$L|_{\Theta_P}$ at $\theta$ lies in $\mathrm{Fix}(K)\cap\Theta_P$. Gradient flow, gradient descent with any step, momentum, weight decay and SGD on "
        r"$\Theta_P$ stay there. Neither data, nor targets, nor the loss of the outputs have to know $G$.",
        hypotheses={
            "symmetric loss": r"$L\circ\sigma = L$ for all $\sigma\in\Sigma$; exchanges of hidden units, for a loss of the outputs",
            "normalised symmetries": r"$g\Sigma g^{-1} = \Sigma$ for all $g\in G$; it is enough that $L$ is invariant under all $gKg^{-1}$",
            "orthogonal symmetries": r"$\sigma^T\sigma = I$",
            "orthonormal coordinates": r"the gradient is that of the full weights, projected on $\Theta_P$",
        },
        verdict="holds",
        chapter="hidden_subspaces",
        remark=r"With one number for every orbit of weight entries, descent moves along $N\nabla$, $N$ the multiplicities, and leaves the subspaces. Minima and "
        r"critical points do not depend on this; what cannot be crossed does. Adam is different: in tied coordinates of permuted inputs and outputs it keeps every hidden subspace, up to its "
        r"$\epsilon$, and in orthonormal ones it depends on the basis. An exchange $p$ maps $\Theta_P$ to itself exactly when it commutes with $P$, "
        r"if some point of $\Theta_P$ has distinct neurons; there are $m!/|\mathrm{Aut}_G(X)|$ copies of $\Theta_P$, and two of them share only points where neurons coincide.",
    ),
    prove=_prove_hidden,
    check=check_hidden,
    instances=settings,
    controls={
        "symmetric loss": _control_symmetric,
        "normalised symmetries": _control_normalised,
        "orthogonal symmetries": _control_orthogonal,
        "orthonormal coordinates": _control_metric,
    },
)
