r"""The smaller network that a collapsed one equals.

Where two units of a layer have the same incoming weights they compute the same, and $a_is(z)+a_js(z)=(a_i+a_j)s(z)$:
one unit with the sum of the outgoing weights does for both. Where units may change sign, as with $\tanh$, $w_i=-w_j$
gives $(a_i-a_j)s(z)$. Units without outgoing weights do nothing. Which axes of which tensors are incoming and which
outgoing is not read off names; it is measured, as everything else is.

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
from torch.func import functional_call

from symtheory.discover.actions import Block, Role, rows
from symtheory.discover.families import PERMUTATION, RESCALING, SIGN, Family
from symtheory.discover.measure import distance
from symtheory.discover.report import SymmetryReport
from symtheory.discover.search import discover
from symtheory.discover.tracing import evaluation
from symtheory.errors import SymtheoryError
from symtheory.spec.params import Params
from symtheory.tables import Sheet, to_html, to_rich, to_text

#: Relative change of the outputs in float64 that counts as rounding.
ROUNDING = 1e-9
#: Scattered points at which it is tried where units are used.
TRIALS = 8
#: Attributes in which modules keep sizes that follow a tensor's: type to {attribute: (tensor, axis)}.
SIZES: dict[type[nn.Module], dict[str, tuple[str, int]]] = {
    nn.Linear: {"out_features": ("weight", 0), "in_features": ("weight", 1)},
    nn.modules.conv._ConvNd: {"out_channels": ("weight", 0), "in_channels": ("weight", 1)},
    nn.modules.batchnorm._NormBase: {"num_features": ("weight", 0)},
    nn.PReLU: {"num_parameters": ("weight", 0)},
    nn.Embedding: {"embedding_dim": ("weight", 1)},
}


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


#: Units that coincide, each with its sign towards the first.
Cluster = list[tuple[int, float]]


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

    def small(self, model: nn.Module) -> nn.Module:
        """A copy of a network without these entries."""
        changed = {}
        for name, axes in self.gone.items():
            value = self.tensors[name]
            for axis, dropped in axes.items():
                kept = [k for k in range(value.shape[axis]) if k not in dropped]
                value = value.index_select(axis, torch.tensor(kept, device=value.device))
            changed[name] = value
        return _resized(model, changed)


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
        report: From :func:`symtheory.discover.discover`, if it is at hand.
        tolerance: Units coincide where their incoming weights differ by less, relative to the layer's largest; and the
            outputs may change by no more, relative to their norm.

    Returns:
        The smaller network with the measured change of its outputs. A layer whose sizes cannot be changed, or whose
        reduction would change the outputs, keeps its units, with the reason.

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
    found = discover(model, inputs) if report is None else report
    state, notes = _State(_tensors(model), {}), []
    precise = tuple(t.double() if isinstance(t, Tensor) and t.is_floating_point() else t for t in inputs)
    wanted = _run(copy.deepcopy(model).double(), precise)
    for family in found.families:
        if family.kind == PERMUTATION and family.copies == 1 and not family.action.units:
            state, note = _reduced(model, state, family, _signed(family, found), precise, wanted, tolerance)
            notes += [note] if note else []
    reduced = state.small(model)
    return Merged(
        reduced,
        tuple(notes),
        distance(_run(copy.deepcopy(reduced).double(), precise), wanted),
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in reduced.parameters()),
    )


def _signed(family: Family, report: SymmetryReport) -> bool:
    """Whether the units of a family may also change sign."""
    same = [f for f in report.families if f.kind in {SIGN, RESCALING} and f.where == family.where]
    return any(f.degree == family.degree and f.axes == family.axes for f in same)


def _reduced(
    model: nn.Module, state: _State, family: Family, signed: bool, inputs: tuple, wanted: Any, tolerance: float
) -> tuple[_State, Reduction | None]:
    """The units of one family merged, if some coincide and the outputs stay."""
    n, roles = family.degree, family.action.roles
    parts = [_Place(name, block, role) for name, blocks in roles.items() for block, rs in blocks for role in rs]
    if any(p.role.fibre or len(p.role.dims) != 1 for p in parts):
        return state, None
    outgoing = _outgoing(model, parts, inputs)
    if len(outgoing) in (0, len(parts)):
        return state, None  # outputs of the network; or linear units, where incoming is a matter of taste
    clusters, idle, silent = _clusters(state.tensors, parts, outgoing, signed, tolerance)
    unused = {k for members in clusters for k, _ in members[1:]} | idle
    # a unit without incoming weights gives a constant; whether that is zero is seen when it is left out
    attempts = dict.fromkeys(tuple(sorted(k))[len(k) == n :] for k in (unused | silent, unused))
    note = None
    for chosen in filter(None, attempts):
        tried = _left_out(state, parts, outgoing, clusters, chosen)
        try:
            residual = distance(_run(tried.small(model).double(), inputs), wanted)
        except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
            note = Reduction(family.where, n, n, f"the network does not run with fewer: {_line(error)}")
            continue
        if residual <= tolerance:
            return tried, Reduction(family.where, n, n - len(chosen))
        if set(chosen) == unused:
            note = Reduction(family.where, n, n, f"with fewer the outputs would change by {residual:.1e}")
    return state, note


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


def _outgoing(model: nn.Module, parts: list[_Place], inputs: tuple) -> list[_Place]:
    """Where units are used: there the weights of two equal units can be added up in one of them."""
    # at several scattered points and for several pairs, because a unit that is at rest shows nothing
    twin = copy.deepcopy(model).double()
    generator, left = torch.Generator().manual_seed(0), list(parts)
    count = len(parts[0].rows(_tensors(twin)[parts[0].name]))
    for trial in range(TRIALS):
        tensors, i, j = _tensors(twin), trial % count, (trial + 1) % count
        for name in {p.name for p in parts}:
            t = tensors[name]
            noise = torch.rand(t.shape, generator=generator, dtype=torch.float64).to(t.device)
            # what is positive, such as a running variance, stays so; zeros would hide what a bias does
            shift = 0.0 if bool((t > 0).all()) else (noise - 0.5) * (float(t.abs().mean()) or 1.0)
            tensors[name] = t * (0.5 + noise) + shift
        for p in parts:  # two units become equal
            rows = p.rows(tensors[p.name])
            rows[i] = rows[j] = (rows[i] + rows[j]) / 2
            tensors[p.name] = p.with_rows(tensors[p.name], rows)
        before = _call(twin, tensors, inputs)
        for p in list(left):
            rows = p.rows(tensors[p.name])
            rows[i], rows[j] = 2 * rows[i], 0.0
            after = _call(twin, {**tensors, p.name: p.with_rows(tensors[p.name], rows)}, inputs)
            if distance(after, before) > ROUNDING:
                left.remove(p)
    return left


def _clusters(
    tensors: Params, parts: list[_Place], outgoing: list[_Place], signed: bool, tolerance: float
) -> tuple[list[Cluster], set[int], set[int]]:
    """Units with the same incoming weights; units that are not used; units without incoming weights."""
    into, out = (
        torch.cat([p.rows(tensors[p.name]).double() for p in parts if (p in outgoing) == used], 1)
        for used in (False, True)
    )
    idle, silent = (set(torch.nonzero(t.norm(dim=1) <= tolerance * t.norm(dim=1).max()).flatten().tolist())
                    for t in (out, into))  # fmt: skip
    scale, left, found = float(into.norm(dim=1).max()), [k for k in range(len(into)) if k not in idle], []
    signs = (1.0, -1.0) if signed else (1.0,)
    while left:
        base, members = left[0], []
        for k in left:
            error, sign = min((float((into[k] - s * into[base]).norm()), s) for s in signs)
            if error <= tolerance * scale:
                members.append((k, sign))
        left = [k for k in left if k not in {m for m, _ in members}]
        found += [members] if len(members) > 1 else []
    return found, idle, silent


def _resized(model: nn.Module, changed: Params) -> nn.Module:
    """A copy of a network with tensors of other shapes, and the sizes its modules remember; what is tied stays tied."""
    smaller = copy.deepcopy(model)
    for name, value in changed.items():
        path, _, leaf = name.rpartition(".")
        old = getattr(smaller.get_submodule(path), leaf)
        new = value.detach().clone()
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad)
        for module in smaller.modules():
            for own in (module._parameters, module._buffers):
                for key in [k for k, t in own.items() if t is old]:
                    setattr(module, key, new)
                    _resize(module, key, old.shape)
    return smaller


def _resize(module: nn.Module, leaf: str, before: torch.Size) -> None:
    """Sizes that a module remembers, after one of its tensors changed its shape."""
    now = getattr(module, leaf).shape
    for kind, sizes in SIZES.items():
        if isinstance(module, kind):
            for attribute, (tensor, axis) in sizes.items():
                if tensor == leaf:
                    setattr(module, attribute, now[axis])
    if isinstance(module, nn.modules.conv._ConvNd) and leaf == "weight" and module.groups > 1:
        _regroup(module, before)


def _regroup(module: nn.modules.conv._ConvNd, before: torch.Size) -> None:
    """Only depthwise convolutions can lose channels one by one."""
    if before[1] != 1 or before[0] != module.groups:
        raise ValueError("a grouped convolution cannot lose single channels")
    module.groups = module.in_channels = module.out_channels


def _tensors(model: nn.Module) -> Params:
    return {**{n: p.detach() for n, p in model.named_parameters()}, **dict(model.named_buffers())}


def _call(model: nn.Module, tensors: Params, inputs: tuple) -> Any:
    with torch.no_grad(), evaluation(model):
        return functional_call(model, tensors, inputs)


def _run(model: nn.Module, inputs: tuple) -> Any:
    with torch.no_grad(), evaluation(model):
        return model(*inputs)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120]
