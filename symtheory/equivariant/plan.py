r"""Will relaxing the constraint help a trapped network, and how far must it go?

Where training within the constraint has come to rest, the loss has a Hessian on the full weights. If the loss is
invariant under the group, its gradient has no part outside the constraint and its Hessian does not mix isotypic
components. A negative eigenvalue in a component other than the trivial one is a direction that the constraint forbids
and that lowers the loss: relaxing escapes. A subgroup is relaxation enough if the loss falls within what *it* fixes.

Source: paper C observes escapes by relaxation; the criterion is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from rich.console import Group
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian

from symtheory.equivariant.network import EquivariantMLP
from symtheory.errors import SymtheoryError
from symtheory.spec.groups import Subset
from symtheory.spec.intertwiners import isotypic_blocks
from symtheory.spec.params import flatten, params_of, shapes_of, unflatten
from symtheory.spec.representations import Representation, direct_sum, trivial
from symtheory.tables import Sheet, to_html, to_rich, to_text

#: A network as a function of its inputs.
Network = Callable[[Tensor], Tensor]

#: What second order says about relaxing.
Outcome = Literal["escapes", "stays", "undecided"]

#: More numbers than this, in the matrices of all group elements, are not stored.
STORED = 200_000_000

#: Eigenvalues closer to zero, relative to the largest, count as none; flat directions of a ReLU net are exact zeros.
FLAT = 1e-6

#: At rest, a Newton step within the constraint would win no larger part of the loss.
AT_REST = 1e-2

#: Slopes smaller than this, relative to the curvature times the size of the weights, count as none.
NO_SLOPE = 1e-5


@dataclass(frozen=True, eq=False)
class Component:
    """One isotypic component of the full weights.

    Attributes:
        dim: Its dimension.
        trivial: Whether it is the constrained space itself.
        lowest: Smallest eigenvalue of the Hessian on it.
        highest: Largest.
    """

    dim: int
    trivial: bool
    lowest: float
    highest: float


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Relaxing to one class of subgroups.

    Attributes:
        subgroup: A representative; the trivial one is no constraint at all.
        dim: Free parameters then.
        lowest: Smallest eigenvalue of the Hessian on what the subgroup fixes beyond the constrained space, without
            rescalings of units; 0 if there is nothing.
        outcome: ``escapes`` if that is negative, ``stays`` if it is positive, else ``undecided``.
    """

    subgroup: Subset
    dim: int
    lowest: float
    outcome: Outcome

    @property
    def escapes(self) -> bool:
        """Whether the loss falls to second order."""
        return self.outcome == "escapes"


@dataclass(frozen=True, eq=False)
class RelaxPlan:
    """What relaxing promises at the present weights.

    Attributes:
        at_rest: Whether a Newton step within the constraint would win at most a hundredth of the loss, or the gradient
            there is rounding; otherwise train on before you ask.
        slope: Norm of the gradient within the constraint.
        outward: Norm of the gradient out of the constraint; zero if the loss is invariant under the group.
        stays_critical: Whether the point is still critical without the constraint.
        components: Isotypic components, the constrained space first.
        relaxations: Classes of proper subgroups, largest subgroups first.
    """

    at_rest: bool
    slope: float
    outward: float
    stays_critical: bool
    components: tuple[Component, ...]
    relaxations: tuple[Relaxation, ...]

    @property
    def helps(self) -> bool:
        """Whether relaxing lowers the loss to first or second order."""
        return not self.stays_critical or any(r.escapes for r in self.relaxations)

    @property
    def recommended(self) -> Relaxation | None:
        """The escape with the fewest free parameters."""
        escaping = [r for r in self.relaxations if r.escapes]
        return min(escaping, key=lambda r: r.dim) if escaping else None

    @property
    def verdict(self) -> str:
        """The advice in a sentence."""
        if not self.at_rest:
            return f"not at rest within the constraint (slope {self.slope:.2g}): train on before relaxing"
        if not self.stays_critical:
            return (
                f"the loss is not invariant under the group (outward slope {self.outward:.2g}): relaxing moves at once"
            )
        if (best := self.recommended) is not None:
            size = len(best.subgroup)
            to = f"a subgroup of order {size}" if size > 1 else "no constraint"
            return f"relaxing to {to} escapes: eigenvalue {best.lowest:.2g} among {best.dim} free parameters"
        if any(r.outcome == "undecided" for r in self.relaxations):
            return "undecided: no forbidden direction lowers the loss to second order, but some leave it flat"
        return "relaxing will not help: every forbidden direction raises the loss"

    def __repr__(self) -> str:
        return self.verdict

    @property
    def _sheets(self) -> list[Sheet]:
        parts = [
            ("constrained space" if c.trivial else "forbidden", str(c.dim), f"{c.lowest:.3g}", f"{c.highest:.3g}")
            for c in self.components
        ]
        ways = [(str(len(r.subgroup)), str(r.dim), f"{r.lowest:.3g}", r.outcome) for r in self.relaxations]
        return [
            Sheet("Hessian by isotypic component", ("component", "dimension", "lowest", "highest"), parts),
            Sheet("relaxing to subgroups", ("order", "parameters", "lowest gained", "outcome"), ways),
        ]

    def __str__(self) -> str:
        return to_text(self._sheets, [self.verdict])

    def __rich__(self) -> Group:
        return to_rich(self._sheets, [self.verdict])

    def _repr_html_(self) -> str:
        return to_html(self._sheets, [self.verdict])


def relax_plan(model: EquivariantMLP, loss: Callable[[Network], Tensor]) -> RelaxPlan:
    """Look beyond the constraint from where a network has come to rest.

    Args:
        model: The trained network.
        loss: Scalar loss of a network, given as a function of its inputs, for example
            ``lambda net: ((net(x) - y) ** 2).mean()``; twice differentiable at the present weights. It is called in
            float64.

    Returns:
        The plan, a table in a terminal (with rich) and in a notebook.

    Raises:
        SymtheoryError: If the full network is too large for a dense Hessian.
    """
    free = model.relax().double()
    params = {k: p.detach() for k, p in params_of(free).items()}
    shapes, point = shapes_of(params), flatten(params)
    if model.group.order * len(point) ** 2 > STORED:
        raise SymtheoryError(
            f"at most {int((STORED / model.group.order) ** 0.5)} full weights for a group of order {model.group.order}",
            f"{len(point)}",
            "plan with a narrower network of the same kinds of blocks",
        )

    def of(vector: Tensor) -> Tensor:
        params = unflatten(vector, shapes)
        return loss(lambda x: functional_call(free, params, (x.to(point.dtype),)))

    slope, curvature = grad(of)(point), hessian(of)(point)
    if not bool(slope.any()) and not bool(curvature.any()):
        raise SymtheoryError(
            "a loss of the network that it is given",
            "one that does not change with it",
            "call the argument, undetached",
        )
    action = weight_action(model)
    inside = action.reynolds(frozenset(range(model.group.order)))
    along, outward = float((inside @ slope).norm()), float((slope - inside @ slope).norm())
    eigenvalues = torch.linalg.eigvalsh(curvature)
    scale = float(eigenvalues.abs().max())
    enough = NO_SLOPE * scale * max(float(point.norm()), 1e-300)
    within = _range(inside)
    bends, modes = torch.linalg.eigh(within.T @ curvature @ within)
    gain = float(((modes.T @ within.T @ slope).square() / (2 * bends.abs().clamp_min(FLAT * scale))).sum())
    components = [_component(b, curvature, inside) for b in isotypic_blocks(action)]
    trivial_moves = _rescalings(model)
    relaxations = []
    moved = [action.matrices[g] for g in model.group.generators]
    invariant = all(float((m @ curvature - curvature @ m).abs().max()) <= FLAT * scale for m in moved)
    for members in reversed(model.group.subgroup_classes[:-1]):
        # conjugate subgroups are alike only if the Hessian commutes with the group
        found = []
        for k in members[:1] if invariant else members:
            fixed = action.reynolds(k)
            # a direction that the constraint allows anyway is no escape, and a rescaling leads nowhere
            beyond = _without(_range(fixed - inside), trivial_moves)
            lowest = float(torch.linalg.eigvalsh(beyond.T @ curvature @ beyond)[0]) if beyond.shape[1] else 0.0
            flat = beyond.shape[1] > 0 and abs(lowest) <= FLAT * scale
            outcome: Outcome = "undecided" if flat else "escapes" if lowest < 0 else "stays"
            found.append(Relaxation(k, round(float(fixed.trace())), lowest, outcome))
        relaxations.append(min(found, key=lambda r: r.lowest))
    return RelaxPlan(
        along <= enough or gain <= AT_REST * abs(float(of(point))),
        along,
        outward,
        outward <= enough,
        tuple(sorted(components, key=lambda c: (not c.trivial, c.lowest))),
        tuple(relaxations),
    )


def weight_action(model: EquivariantMLP) -> Representation:
    r"""How the group acts on the full weights: $W\mapsto P(g)W\rho(g)^{-1}$, biases with the units.

    Args:
        model: The network.

    Returns:
        An orthogonal representation, in the order of the parameters of ``model.relax()``. What it fixes is the
        constrained space.
    """
    chain = [model.rep_in, *(x.representation() for x in model.hidden), model.rep_out]
    parts = []
    for k, (source, target) in enumerate(pairwise(chain)):
        matrices = torch.stack([torch.kron(b, a) for a, b in zip(source.matrices, target.matrices, strict=True)])
        parts.append(Representation(model.group, matrices, f"weights {k}"))
        if model.output_bias if k == len(model.hidden) else model.bias:
            parts.append(target)
    return direct_sum(*parts) if parts else trivial(model.group)


def _rescalings(model: EquivariantMLP) -> Tensor:
    """Directions ``(d, k)`` that multiply a unit's inputs and divide its outputs, where the activation allows it."""
    dense = [(w.detach().double(), b.detach().double()) for w, b in model.dense()]
    bias = [model.bias] * len(model.hidden) + [model.output_bias]
    size = sum(w.numel() + b.numel() * with_bias for (w, b), with_bias in zip(dense, bias, strict=True))
    if not isinstance(model.activation, (nn.ReLU, nn.LeakyReLU)):
        return torch.zeros(size, 0, dtype=torch.float64)
    found = []
    for k in range(len(model.hidden)):
        for j in range(len(dense[k][1])):
            parts = []
            for i, (w, b) in enumerate(dense):
                weight, offset = torch.zeros_like(w), torch.zeros_like(b)
                if i == k:
                    weight[j], offset[j] = w[j], b[j]
                elif i == k + 1:
                    weight[:, j] = -w[:, j]
                parts += [weight.flatten(), *([offset] if bias[i] else [])]
            found.append(torch.cat(parts))
    return torch.stack(found, dim=1)


def _without(basis: Tensor, directions: Tensor) -> Tensor:
    """Orthonormal basis of what is left of a space; the directions span a space that the group maps to itself."""
    inside = basis.T @ directions
    if not inside.numel():
        return basis
    left, values, _ = torch.linalg.svd(inside)
    rank = int((values > FLAT * max(float(values[0]), 1e-300)).sum())
    return basis @ left[:, rank:]


def _component(basis: Tensor, curvature: Tensor, inside: Tensor) -> Component:
    values = torch.linalg.eigvalsh(basis.T @ curvature @ basis)
    fixed = bool((inside @ basis - basis).abs().max() < FLAT)
    return Component(basis.shape[1], fixed, float(values[0]), float(values[-1]))


def _range(projector: Tensor) -> Tensor:
    """Orthonormal basis of the range of an orthogonal projector."""
    values, vectors = torch.linalg.eigh((projector + projector.T) / 2)
    return vectors[:, values > 0.5]
