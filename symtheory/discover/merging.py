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
from typing import Any

import torch
from rich.console import Group
from torch import Tensor, nn

from symtheory.discover.actions import Block, Role, rows
from symtheory.discover.coincidence import Cluster, Units
from symtheory.discover.families import PERMUTATION, RESCALING, SIGN, Family
from symtheory.discover.measure import distance
from symtheory.discover.report import SymmetryReport
from symtheory.discover.resizing import resized
from symtheory.discover.scattering import Scatter, outputs
from symtheory.discover.search import discover
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


@dataclass(frozen=True)
class _Place:
    """One axis of units in one tensor."""

    name: str
    block: Block
    role: Role

    def rows(self, tensor: Tensor) -> Tensor:
        """The tensor's block with units first, one row each, as a copy."""
        return rows(self.block, self.role, tensor)[0].clone()

    def with_rows(self, tensor: Tensor, rows: Tensor) -> Tensor:
        """A copy of the tensor with these rows."""
        first = self.block.read(tensor).movedim(self.role.dims[0], 0)
        values = rows.reshape(first.shape).movedim(0, self.role.dims[0])
        return self.block.write(tensor.clone(), values).clone()

    def entries(self, tensor: Tensor, units: Sequence[int]) -> tuple[int, set[int]]:
        """The axis of the tensor that counts the units, and where on it some of them are."""
        at = 0
        for axis, (atoms, index) in enumerate(self.block.axes):
            inside = self.role.dims[0] - at
            if 0 <= inside < len(atoms):
                grid = torch.as_tensor(index).reshape([a.size for a in atoms])
                return axis, set(grid.index_select(inside, torch.tensor(list(units))).flatten().tolist())
            at += len(atoms)
        raise AssertionError("a role has its dimension in some axis")


@dataclass(frozen=True, eq=False)
class _State:
    """A network on its way: merged, but with all units in place, and what may be left out.

    Attributes:
        tensors: All parameters and buffers, of their first shapes.
        gone: Tensor to axis to the entries that nothing uses any more.
    """

    tensors: Params
    gone: dict[str, dict[int, set[int]]]

    def left(self) -> Params:
        """All tensors without these entries."""
        found = dict(self.tensors)
        for name, axes in self.gone.items():
            for axis, dropped in axes.items():
                kept = [k for k in range(found[name].shape[axis]) if k not in dropped]
                found[name] = found[name].index_select(axis, torch.tensor(kept, device=found[name].device))
        return found

    def small(self, model: nn.Module) -> nn.Module:
        """A copy of a network without these entries."""
        return resized(model, {name: value for name, value in self.left().items() if name in self.gone})


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
        SymtheoryError: If the tolerance is not between 0 and 1, or as :func:`symtheory.discover.discover`.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 1))
    >>> with torch.no_grad():
    ...     for t in (net[0].weight, net[0].bias):
    ...         _ = t[2].copy_(t[0])
    >>> merge_symmetric_units(net, torch.ones(1, 2)).model[0]
    Linear(in_features=2, out_features=2, bias=True)
    """
    if not 0 < tolerance < 1:
        raise SymtheoryError("a tolerance between 0 and 1", f"{tolerance}", "such as 1e-6")
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    found = discover(_thawed(model), inputs) if report is None else report
    free = {n for n, p in model.named_parameters() if p.requires_grad or report is None}
    scatter = Scatter(model, inputs, free.union(*(f.action.names for f in found.families)))
    state, notes = _State(_tensors(model), {}), []
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
    model: nn.Module, state: _State, family: Family, signed: bool, scatter: Scatter, tolerance: float
) -> tuple[_State, Reduction | None]:
    """The units of one family merged, if some coincide and the outputs stay."""
    n, roles = family.degree, family.action.roles
    parts = [_Place(name, block, role) for name, blocks in roles.items() for block, rs in blocks for role in rs]
    if any(p.role.fibre or len(p.role.dims) != 1 for p in parts):
        return state, None
    units = Units([p.rows(state.tensors[p.name]) for p in parts], signed, tolerance)
    outgoing, unseen = _outgoing(model, state.tensors, parts, units, scatter)
    if len(outgoing) in (0, len(parts)):
        return state, None  # nothing can coincide; outputs of the network; or linear units, where all is outgoing
    clusters, idle, silent = units.found(outgoing)
    unused = {k for members in clusters for k, _ in members[1:]} | idle
    if unused and unseen:
        return state, Reduction(family.where, n, n, f"these inputs do not show what {parts[unseen[0]].name} does")
    # a unit without incoming weights gives a constant; whether that is zero is seen when it is left out
    attempts = dict.fromkeys(tuple(sorted(k))[len(k) == n :] for k in (unused | silent, unused))
    used, note = [parts[k] for k in outgoing], None
    large, looks = state.small(model), [scatter.own, *(scatter.inputs(k) for k in range(POINTS))]
    for chosen in filter(None, attempts):
        tried = _left_out(state, parts, used, clusters, chosen)
        try:
            small = tried.small(model)
            change = max(distance(outputs(small, x), outputs(model, x)) for x in looks)
            for k, x in enumerate(looks[1:]):
                other = _State(scatter.tensors(state.tensors, k), state.gone)
                whole = _coinciding(other, parts, used, clusters, idle, set(chosen) - unused)
                less = _left_out(whole, parts, used, clusters, chosen)
                change = max(change, distance(outputs(small, x, less.left()), outputs(large, x, whole.left())))
        except Exception as error:  # whatever a network raises that cannot have other sizes
            note = Reduction(family.where, n, n, f"the network does not run with fewer: {_line(error)}")
            continue
        if change <= tolerance:
            return tried, Reduction(family.where, n, n - len(chosen))
        if set(chosen) == unused:
            note = Reduction(family.where, n, n, f"with fewer the outputs would change by {change:.1e}")
    return state, note


def _coinciding(
    state: _State,
    parts: list[_Place],
    outgoing: list[_Place],
    clusters: list[Cluster],
    idle: set[int],
    silent: set[int],
) -> _State:
    """The state with the same units made equal, unused, or without incoming weights."""
    tensors = dict(state.tensors)
    for p in parts:
        rows = p.rows(tensors[p.name])
        rows[list(idle if p in outgoing else silent)] = 0.0
        if p not in outgoing:
            for (first, _), *others in clusters:
                for k, sign in others:
                    rows[k] = sign * rows[first]
        tensors[p.name] = p.with_rows(tensors[p.name], rows)
    return _State(tensors, state.gone)


def _left_out(
    state: _State, parts: list[_Place], outgoing: list[_Place], clusters: list[Cluster], unused: tuple[int, ...]
) -> _State:
    """The state with clusters merged into their first units, and some units left out."""
    tensors, gone = dict(state.tensors), {name: dict(axes) for name, axes in state.gone.items()}
    for p in parts:
        rows = p.rows(tensors[p.name])
        for members in clusters:
            number, sign = (torch.tensor(v) for v in zip(*members, strict=True))
            total = (sign.to(rows)[:, None] * rows[number]).sum(0)
            rows[members[0][0]] = total if p in outgoing else total / len(members)
        axis, dropped = p.entries(tensors[p.name], unused)
        tensors[p.name] = p.with_rows(tensors[p.name], rows)
        axes = gone.setdefault(p.name, {})
        axes[axis] = axes.get(axis, set()) | dropped
    return _State(tensors, gone)


def _outgoing(
    model: nn.Module, tensors: Params, parts: list[_Place], units: Units, scatter: Scatter
) -> tuple[list[int], list[int]]:
    """Where the weights of two equal units can be added up in one of them, and where weights show no effect at all."""
    # for several pairs, because a unit that is at rest shows nothing
    left, unseen = list(range(len(parts))), set(range(len(parts)))
    for trial, share in enumerate(SHARES):
        if not units.possible(left):
            return [], []
        i, j = trial % units.count, (trial + 1) % units.count
        point, inputs = scatter.tensors(tensors, trial), scatter.inputs(trial)
        for p in parts:  # two units become equal
            point[p.name] = _with(p, point[p.name], {j: (1.0, i)})
        before = outputs(model, inputs, point)

        def changes(p: _Place, change: dict[int, tuple[float, int]]) -> bool:
            after = outputs(model, inputs, {**point, p.name: _with(p, point[p.name], change)})  # noqa: B023
            return distance(after, before) > ROUNDING  # noqa: B023

        left = [k for k in left if not changes(parts[k], {i: (1 + share, i), j: (1 - share, i)})]
        unseen = {k for k in unseen if k in left and not changes(parts[k], {i: (2.0, i)})}
    return left, sorted(unseen)


def _with(place: _Place, tensor: Tensor, change: dict[int, tuple[float, int]]) -> Tensor:
    """A copy of a tensor in which some units are multiples of others."""
    rows = place.rows(tensor)
    old = rows.clone()
    for k, (factor, source) in change.items():
        rows[k] = factor * old[source]
    return place.with_rows(tensor, rows)


def _tensors(model: nn.Module) -> Params:
    return {**{n: p.detach() for n, p in model.named_parameters()}, **dict(model.named_buffers())}


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120]
