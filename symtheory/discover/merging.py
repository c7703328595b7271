r"""The smaller network that a collapsed one equals.

Where two units of a layer have the same incoming weights they compute the same, and $a_is(z)+a_js(z)=(a_i+a_j)s(z)$:
one unit with the sum of the outgoing weights does for both. Where units may change sign, as with $\tanh$, $w_i=-w_j$
gives $(a_i-a_j)s(z)$. Units without outgoing weights do nothing. Which axes of which tensors are incoming and which
outgoing is not read off names; it is measured, as everything else is. That fewer units compute the same is measured,
too, at scattered weights and inputs that share nothing with the network's own but which units coincide: a unit that
is dead on the example inputs is alive there.

Source: paper B, Proposition 3 (a collapsed network has a smaller one as its equal); the construction is ours.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rich.console import Group
from torch import Tensor, nn

from symtheory.discover.coincidence import Units
from symtheory.discover.families import PERMUTATION, RESCALING, SIGN, Family
from symtheory.discover.measure import distance
from symtheory.discover.report import SymmetryReport
from symtheory.discover.scattering import Scatter, outputs
from symtheory.discover.search import discover
from symtheory.discover.shrinking import Layer, Place, State
from symtheory.discover.tracing import positional
from symtheory.errors import SymtheoryError
from symtheory.spec.params import Params
from symtheory.tables import Sheet, to_html, to_rich, to_text

#: Relative change of the outputs in float64 that counts as rounding.
ROUNDING = 1e-9
#: Scattered points at which it is tried where units are used, each with the share moved from one unit to another: a
#: small one leaves piecewise linear units on one piece, where incoming weights would add up as well.
SHARES = (1.0, 30.0, 1e3) * 3
#: Scattered points at which the smaller network is compared, with inputs of their own.
POINTS = 3


@dataclass(frozen=True)
class Reduction:
    """What became of the units of one layer.

    Attributes:
        where: The layer.
        before: Its units.
        after: Units left; as before if nothing could be merged.
        reason: Why units that coincide were kept, or empty.
    """

    where: str
    before: int
    after: int
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Merged:
    """A smaller network and how it was made.

    Attributes:
        model: The network, of the same class; a copy.
        reductions: One for each layer in which units coincide.
        residual: Measured relative change of the outputs on the example inputs.
        before: Number of parameters.
        after: Number of parameters left.
    """

    model: nn.Module
    reductions: tuple[Reduction, ...]
    residual: float
    before: int
    after: int

    @property
    def _sheet(self) -> Sheet:
        rows = [(r.where, str(r.before), str(r.after), r.reason) for r in self.reductions]
        return Sheet(
            f"{self.before} -> {self.after} parameters", ("units of", "before", "after", "why not fewer"), rows
        )

    @property
    def _note(self) -> str:
        return f"relative change of the outputs: {self.residual:.1e}"

    def __str__(self) -> str:
        return to_text([self._sheet], [self._note])

    def __rich__(self) -> Group:
        return to_rich([self._sheet], [self._note])

    def _repr_html_(self) -> str:
        return to_html([self._sheet], [self._note])

    def __repr__(self) -> str:
        layers = ", ".join(
            f"{r.where}: {r.before} -> {r.after}" + (f" ({r.reason})" if r.reason else "") for r in self.reductions
        )
        return (
            f"{self.before} -> {self.after} parameters; {layers or 'no units coincide'}; residual {self.residual:.1e}"
        )


def merge_symmetric_units(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    *,
    report: SymmetryReport | None = None,
    tolerance: float = 1e-6,
) -> Merged:
    """The reduced network that a network with coinciding or idle units equals.

    Args:
        model: The network; it is not changed, and looked at in evaluation mode.
        example_inputs: Its positional arguments, or the only one.
        report: From :func:`symtheory.discover.discover`, if it is at hand; without one frozen parameters count, too.
        tolerance: Units coincide where their incoming weights differ by less, relative to the layer's largest; and the
            outputs may change by no more, relative to their norm.

    Returns:
        The smaller network with the measured change of its outputs. A layer whose sizes cannot be changed, or whose
        reduction would change the outputs on some input, keeps its units, with the reason. Units that come in several
        copies, such as those inside heads, are not merged.

    Raises:
        SymtheoryError: If the tolerance is not between 0 and 1, the report is of another model, or as
            :func:`symtheory.discover.discover`.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 1))
    >>> with torch.no_grad():
    ...     for t in (net[0].weight, net[0].bias):
    ...         _ = t[2].copy_(t[0])
    >>> merge_symmetric_units(net, torch.ones(1, 2)).model[0]
    Linear(in_features=2, out_features=2, bias=True)
    """
    if not 0 < tolerance < 1:
        raise SymtheoryError("a tolerance between 0 and 1", f"{tolerance}", "such as 1e-6")
    inputs = positional(model, example_inputs)
    found = discover(_thawed(model), inputs) if report is None else report
    found.require_model(model)
    free = {n for n, p in model.named_parameters() if p.requires_grad or report is None}
    scatter = Scatter(model, inputs, free.union(*(f.action.names for f in found.families)))
    state, notes = State(_tensors(model), {}), []
    for family in found.families:
        if family.kind == PERMUTATION and family.copies == 1 and not family.action.units:
            state, note = _reduced(model, state, family, _signed(family, found), scatter, tolerance)
            notes += [note] if note else []
    reduced = state.small(model)
    return Merged(
        reduced,
        tuple(notes),
        distance(outputs(reduced, scatter.own), outputs(model, scatter.own)),
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in reduced.parameters()),
    )


def _thawed(model: nn.Module) -> nn.Module:
    """The network, or a copy with all parameters trainable: what computes the same can be merged, trained or not."""
    if all(p.requires_grad for p in model.parameters()):
        return model
    free = copy.deepcopy(model)
    for p in free.parameters():
        p.requires_grad_(p.is_floating_point())
    return free


def _signed(family: Family, report: SymmetryReport) -> bool:
    """Whether the units of a family may also change sign."""
    same = [f for f in report.families if f.kind in {SIGN, RESCALING} and f.where == family.where]
    return any(f.degree == family.degree and f.axes == family.axes for f in same)


def _reduced(
    model: nn.Module, state: State, family: Family, signed: bool, scatter: Scatter, tolerance: float
) -> tuple[State, Reduction | None]:
    """The units of one family merged, if some coincide and the outputs stay."""
    n, roles = family.degree, family.action.roles
    parts = [Place(name, block, role) for name, blocks in roles.items() for block, rs in blocks for role in rs]
    if any(p.role.fibre or len(p.role.dims) != 1 for p in parts):
        return state, None
    rows = [p.rows(state.tensors[p.name]) for p in parts]
    pairs = {(i, j): p.columns(q) for i, p in enumerate(parts) for j, q in enumerate(parts)}
    units = Units(rows, signed, tolerance, {pair: at for pair, at in pairs.items() if at is not None})
    groups, unseen = _outgoing(model, state.tensors, parts, units, scatter)
    best, note = state, None
    for group in groups:
        if len(group) == len(parts):
            break  # linear units, where incoming is a matter of taste
        clusters, idle, silent = units.found(group)
        unused = {k for members in clusters for k, _ in members[1:]} | idle
        if unused and unseen:
            reason = f"these inputs do not show what {parts[unseen[0]].name} does"
            return state, Reduction(family.where, n, n, reason)
        # a unit without incoming weights gives a constant; whether that is zero is seen when it is left out
        for extra in (silent - unused, set()):
            chosen = tuple(sorted(unused | extra))[len(unused | extra) == n :]
            fewer = note is None or n - len(chosen) < note.after
            if not chosen or not fewer:
                continue
            layer = Layer(parts, [parts[k] for k in group], clusters, idle, extra, chosen)
            tried = layer.left_out(state)
            try:
                change = _change(model, state, tried, layer, scatter)
            except Exception as error:  # whatever a network raises that cannot have other sizes
                note = note or Reduction(family.where, n, n, f"the network does not run with fewer: {_line(error)}")
                continue
            if change <= tolerance:
                best, note = tried, Reduction(family.where, n, n - len(chosen))
            elif not extra:
                note = note or Reduction(family.where, n, n, f"with fewer the outputs would change by {change:.1e}")
    return best, note


def _change(model: nn.Module, state: State, tried: State, layer: Layer, scatter: Scatter) -> float:
    """Largest change of the outputs: of the network itself, and of others in which the same units coincide."""
    large, small = state.small(model), tried.small(model)
    change = distance(outputs(small, scatter.own), outputs(large, scatter.own))
    for k in range(POINTS):
        x, whole = scatter.inputs(k), layer.coinciding(State(scatter.tensors(state.tensors, k), state.gone))
        change = max(change, distance(outputs(small, x), outputs(large, x)))
        change = max(change, distance(outputs(small, x, layer.left_out(whole).left()), outputs(large, x, whole.left())))
    return change


def _outgoing(
    model: nn.Module, tensors: Params, parts: list[Place], units: Units, scatter: Scatter
) -> tuple[list[list[int]], list[int]]:
    """Groups of places where equal units can be added up in one of them, and places that show no effect at all."""
    # places of different groups add up one group at a time only, as where units are products of two things

    @lru_cache(maxsize=1)
    def point(trial: int) -> tuple[Params, tuple, list[Any]]:
        weights, inputs = scatter.tensors(tensors, trial), scatter.inputs(trial)
        for p in parts:  # two units become equal, other ones in each trial, because a unit at rest shows nothing
            weights[p.name] = p.mixed(weights[p.name], {(trial + 1) % units.count: (1.0, trial % units.count)})
        return weights, inputs, outputs(model, inputs, weights)

    def changes(trial: int, places: list[int], share: float, rest: float) -> bool:
        weights, inputs, before = point(trial)
        i, j, moved = trial % units.count, (trial + 1) % units.count, dict(weights)
        for p in (parts[k] for k in places):
            moved[p.name] = p.mixed(moved[p.name], {i: (1 + share, i), j: (1 - rest, i)})
        return distance(outputs(model, inputs, moved), before) > ROUNDING

    left, unseen = list(range(len(parts))), set(range(len(parts)))
    for trial, share in enumerate(SHARES):
        if not units.possible(left):
            return [], []
        left = [k for k in left if not changes(trial, [k], share, share)]
        unseen = {k for k in unseen if k in left and not changes(trial, [k], 1.0, 0.0)}
    groups: list[list[int]] = []
    for k in left:
        joint = (g for g in groups if not any(changes(t, [*g, k], s, s) for t, s in enumerate(SHARES)))
        if (group := next(joint, None)) is None:
            groups.append([k])
        else:
            group.append(k)
    return groups, sorted(unseen)


def _tensors(model: nn.Module) -> Params:
    return {**{n: p.detach() for n, p in model.named_parameters()}, **dict(model.named_buffers())}


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120]
