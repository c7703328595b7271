"""Equal branches: whole tensors that may change places, such as the experts of a mixture or heads in a list.

Nodes are coloured by what they compute, with parameters known by their shapes only. Operands of one colour that are
added, multiplied, compared, stacked or concatenated are candidates for an exchange; an axis of another parameter that
counts them (the rows of a gate) is permuted along.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.fx import Node

from symtheory.discover.actions import Action, Block, Role
from symtheory.discover.analysis import Analysis
from symtheory.discover.rules_layout import name_of
from symtheory.discover.spaces import Space, layout
from symtheory.discover.tracing import Trace

#: Operations whose position arguments say which unit is meant.
PICKING = {"select": (2,), "slice": (2, 3)}
JOINING = {"cat", "concat", "concatenate", "stack"}
#: Operations of two tensors that commute and associate, under one name for each.
COMMUTING = {"add": "add", "iadd": "add", "mul": "mul", "multiply": "mul",
             "minimum": "min", "min": "min", "maximum": "max", "max": "max"}  # fmt: skip


@dataclass(frozen=True)
class Exchange:
    """Branches that may change places.

    Attributes:
        units: Tensors of each branch, in corresponding order.
        action: Their exchange, and the axes permuted along.
        axes: Touched tensors to the axes permuted, none for whole tensors.
    """

    units: tuple[tuple[str, ...], ...]
    action: Action
    axes: dict[str, tuple[int, ...]]


class Colours:
    """Colours of the nodes of a trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._colour: dict[Node, int] = {}
        known: dict[Any, int] = {}
        for node in trace.graph.nodes:
            self._colour[node] = known.setdefault(self._look(node), len(known))

    def __getitem__(self, node: Node) -> int:
        return self._colour[node]

    def _look(self, node: Node) -> Any:
        """What a node is, up to the names of parameters."""
        if node.op == "placeholder":
            name = self.trace.names.get(node.name)
            if name is None or name not in self.trace.movable:
                return ("given", node.name)
            return ("parameter", tuple(self.trace.tensors[name].shape))
        if node.op == "output":
            return ("output",)
        terms = summands(node)
        if len(terms) > 1:
            return (commuting(node), tuple(sorted(self._colour[t] for t in terms)))
        skipped = PICKING.get(name_of(node), ())
        args = tuple(self._argument(a) for k, a in enumerate(node.args) if k not in skipped)
        return (str(node.target), args, self._argument(dict(node.kwargs)))

    def _argument(self, a: Any) -> Any:
        if isinstance(a, Node):
            return ("node", self._colour[a])
        if isinstance(a, list | tuple):
            return tuple(self._argument(x) for x in a)
        if isinstance(a, dict):
            return tuple((k, self._argument(x)) for k, x in sorted(a.items()))
        return repr(a)


def commuting(node: Node) -> str:
    """Name of an operation that may take its operands in any order and grouping; empty for any other."""
    if node.op != "call_function" or "alpha" in node.kwargs or len(node.args) != 2:
        return ""
    name = COMMUTING.get(name_of(node), "")
    # Python's sum starts from the number zero
    return name if all(isinstance(a, Node) or (name == "add" and a == 0) for a in node.args) else ""


def summands(node: Node) -> list[Node]:
    """Operands of a chain of additions (products, minima, maxima); the node alone if it is none."""
    name = commuting(node)
    if not name:
        return [node]
    out: list[Node] = []
    for a in (a for a in node.args if isinstance(a, Node)):
        out += summands(a) if len(a.users) == 1 and commuting(a) == name else [a]
    return out


def exchanges(trace: Trace, analysis: Analysis) -> Iterator[Exchange]:
    """Candidates for exchanges of branches, the more complete first.

    Args:
        trace: The traced network.
        analysis: Its spaces.

    Yields:
        Exchanges to be measured.
    """
    colours = Colours(trace)
    for node in trace.graph.nodes:
        if node.op != "call_function" or node.target is operator.getitem:
            continue
        joined = name_of(node) in JOINING
        operands = list(node.args[0]) if joined else summands(node)  # type: ignore[arg-type]
        if commuting(node) and [commuting(u) for u in node.users] == [commuting(node)]:
            continue  # part of a longer chain
        groups: dict[int, list[Node]] = defaultdict(list)
        for operand in operands:
            groups[colours[operand]].append(operand)
        for group in groups.values():
            if len(group) < 2 or (joined and len(group) < len(operands)):
                continue
            units = _units(trace, colours, group)
            if units:
                yield from _with_axes(trace, analysis, units)


def _units(trace: Trace, colours: Colours, group: list[Node]) -> tuple[tuple[str, ...], ...]:
    """Corresponding parameters of equal branches; none if they do not match one to one."""
    found: list[tuple[str, ...]] = [()] * len(group)
    for k, other in enumerate(group):
        pairs: dict[str, str] = {}
        if not _match(trace, colours, group[0], other, pairs, set()):
            return ()
        moved = {a: b for a, b in pairs.items() if a != b or k == 0}
        found[k] = tuple(moved.get(a, a) for a in pairs)
    # tensors that all branches share do not move
    columns = [c for c in zip(*found, strict=True) if len(set(c)) > 1] if len({len(f) for f in found}) == 1 else []
    names = [n for c in columns for n in c]
    if not columns or len(set(names)) < len(names):
        return ()
    return tuple(zip(*columns, strict=True))


def _match(trace: Trace, colours: Colours, a: Node, b: Node, pairs: dict[str, str], seen: set) -> bool:
    """Walk two branches side by side and note which parameters correspond."""
    if (a, b) in seen:
        return True
    seen.add((a, b))
    if colours[a] != colours[b]:
        return False
    if a.op == "placeholder":
        one, two = trace.names.get(a.name), trace.names.get(b.name)
        if one is None or two is None or one not in trace.movable:
            return a is b
        return pairs.setdefault(one, two) == two
    left, right = (sorted(summands(n), key=lambda m: colours[m]) for n in (a, b))
    if left == [a]:
        left, right = a.all_input_nodes, b.all_input_nodes
    return len(left) == len(right) and all(
        _match(trace, colours, x, y, pairs, seen) for x, y in zip(left, right, strict=True)
    )


def _with_axes(trace: Trace, analysis: Analysis, units: tuple[tuple[str, ...], ...]) -> Iterator[Exchange]:
    """The exchange with the axes that count the branches, then without."""
    count, moving = len(units), {n for u in units for n in u}
    roles: dict[str, tuple] = {}
    axes: dict[str, tuple[int, ...]] = {n: () for n in trace.tensors if n in moving}
    for name, value in analysis.values.items():
        places = [k for k, a in enumerate(value.axes) if _counts(a, count)]
        if name in moving or not places:
            continue
        shape = tuple(trace.tensors[name].shape)
        dims, terms = [], []
        for k, n in enumerate(shape):
            if k in places:
                dims.append(sum(len(atoms) for atoms, _ in terms))
                parts = (Space(("branch", name, k), count), Space(("inside", name, k), n // count))
                terms.append((parts, np.arange(n).reshape(count, n // count)))
            else:
                terms.append(((Space(("all", name, k), n),), np.arange(n)))
        roles[name] = ((Block(name, tuple(terms), whole=True), tuple(Role((d,)) for d in dims)),)
        axes[name] = tuple(places)
    if roles:
        yield Exchange(units, Action(count, (), roles, (count,), units), axes)
    yield Exchange(units, Action(count, (), {}, (count,), units), {n: () for n in axes if n in moving})


def _counts(axis: Space, count: int) -> bool:
    """Whether an axis is a sum of this many terms of one size, one after the other."""
    terms = layout(axis)
    each = axis.size // count
    return len(terms) == count > 1 and all(
        index.size == each and int(index.min()) == k * each and int(index.max()) == (k + 1) * each - 1
        for k, (_, index) in enumerate(terms)
    )
