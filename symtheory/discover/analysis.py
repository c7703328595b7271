"""Interpretation of a traced network over spaces and scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from symtheory.discover import rules_layers, rules_picking, rules_recurrent, rules_spectral  # noqa: F401  (they register rules)
from symtheory.discover.rules import RULES, Stack, Step, join
from symtheory.discover.rules_layout import name_of
from symtheory.discover.spaces import ENTRYWISE, Spaces, atoms_of
from symtheory.discover.tracing import Gap, Trace, is_getitem, is_opaque, resolve
from symtheory.discover.values import Algebra, Value

#: Rules that take stacks as they are.
STACKED = {"permute", "transpose", "movedim", "swapaxes", "unsqueeze", "squeeze", "select", "unbind", "slice", "t",
           "clone", "contiguous", "cat", "concat", "to", "detach", "split", "chunk"}  # fmt: skip
#: Rules that know what to do with numbers of units.
NUMBERING = {*rules_picking.NUMBERING, "permute", "transpose", "unsqueeze", "squeeze", "view", "reshape", "expand"}
#: More passes than any network should need.
MOST_PASSES = 50


@dataclass(frozen=True)
class Analysis:
    """What a pass over the graph has found.

    Attributes:
        algebra: Spaces and equations.
        values: Value of each placeholder that symmetries may move.
        gaps: Operations without a rule.
    """

    algebra: Algebra
    values: dict[str, Value]
    gaps: tuple[Gap, ...]


def varies(tensor: Tensor) -> list[bool]:
    """Along which axes a tensor's entries differ."""
    return [n > 1 and not bool((tensor == tensor.narrow(k, 0, 1)).all()) for k, n in enumerate(tensor.shape)]


def analyse(trace: Trace, movable: set[str]) -> Analysis:
    """Interpret the graph until its spaces no longer change, then once more for the scales.

    Args:
        trace: The traced network.
        movable: Names of tensors that may change.

    Returns:
        Spaces, equations and gaps.
    """
    spaces = Spaces()
    fixed = {name: varies(t) for name, t in trace.tensors.items() if name not in movable}
    for _ in range(MOST_PASSES):
        before = spaces.version
        _pass(trace, movable, fixed, Algebra(spaces, final=False))
        if spaces.version == before:
            break
    return _pass(trace, movable, fixed, Algebra(spaces, final=True))


def _pass(trace: Trace, movable: set[str], fixed: dict[str, list[bool]], algebra: Algebra) -> Analysis:
    """One interpretation of the graph."""
    env: dict[Node, Any] = {}
    values: dict[str, Value] = {}
    for node in trace.graph.nodes:
        if node.op == "placeholder":
            env[node] = _placeholder(trace, movable, fixed, algebra, node, values)
        elif node.op == "output":
            results = resolve(node.args, env)
            _tell_apart(algebra, results)
            for result in tree_leaves(results):
                for v in result.parts if isinstance(result, Stack) else [result]:
                    if isinstance(v, Value):
                        algebra.settle(v)
                        algebra.restrict(v)
                        algebra.zero(v)
                        for axis in v.axes:
                            algebra.spaces.pin(axis, "an output")
        elif is_getitem(node):
            env[node] = env[node.args[0]][node.args[1]]  # type: ignore[index]
        else:
            env[node] = _call(algebra, node, env)
    nodes = {node.name: node for node in trace.graph.nodes}
    held = {atom for v in values.values() for axis in v.axes for atom in atoms_of(axis)}
    gaps = [
        Gap(where, why, _feeding(trace, nodes[where]))
        for where, why, axes in dict.fromkeys(algebra.gaps)
        if not is_opaque(nodes[where]) and (not axes or any(held & atoms_of(axis) for axis in axes))
    ]
    return Analysis(algebra, values, tuple(gaps))


def _placeholder(trace: Trace, movable: set[str], fixed: dict[str, list[bool]], algebra: Algebra, node: Node,
                 values: dict[str, Value]) -> Any:  # fmt: skip
    """Parameters move, constants and data stay."""
    if node.name in trace.inputs:
        given = trace.inputs[node.name]
        if not isinstance(given, Tensor):
            return given
        return algebra.constant(node.name, given.shape, [True] * given.dim(), "an axis of the data")
    name = trace.names[node.name]
    if not node.users:
        return None
    if name in movable:
        if name not in values:
            values[name] = algebra.parameter(name, trace.tensors[name].shape)
            if name in trace.directions:
                algebra.zero(values[name], sign=False)
        return values[name]
    why = "a frozen parameter" if name in trace.frozen else "a constant that differs along it"
    return algebra.constant(node.name, trace.tensors[name].shape, fixed[name], why)


def shape_of(meta: Any) -> Any:
    """Shape of a result, or shapes of several."""
    if isinstance(meta, list | tuple):
        return [shape_of(m) for m in meta]
    return tuple(meta.shape) if isinstance(meta, Tensor) else ()


def _call(algebra: Algebra, node: Node, env: dict[Node, Any]) -> Any:
    """Apply the rule of one operation; without one, let no symmetry through."""
    name = name_of(node)
    args, kwargs = resolve(node.args, env), resolve(node.kwargs, env)
    if name not in NUMBERING:
        _tell_apart(algebra, [args, kwargs])
    shape = shape_of(node.meta.get("val"))
    step = Step(algebra, node, shape, node.name)
    if name not in STACKED:
        args = [_joined(step, a) for a in args]
        kwargs = {k: _joined(step, a) for k, a in kwargs.items()}
    if name in RULES and str(node.target).startswith("aten."):
        try:
            if name in {"clone", "contiguous", "to", "detach"} and isinstance(args[0], Stack):
                return args[0]
            return RULES[name](step, *args, **kwargs)
        except (TypeError, IndexError, KeyError, ValueError, AttributeError) as error:
            why = f"an unusual call of {node.target}: {error}"
    else:
        why = f"no rule for {node.target}"
    tensors = [v for v in tree_leaves([args, kwargs]) if isinstance(v, Value | Stack)]
    operands = [join(step, v) for v in tensors]
    for v in operands:
        for s in v.axes:
            algebra.spaces.restrict(s, ENTRYWISE)
    out = step.opaque(operands, why)
    if isinstance(shape, list) or any(not v.fixed for v in operands):
        return out
    return algebra.value(out.axes, fixed=True)


def _tell_apart(algebra: Algebra, arguments: Any) -> None:
    """Numbers of units that are used as numbers."""
    for v in tree_leaves(arguments):
        if isinstance(v, Value) and v.points is not None:
            algebra.spaces.pin(v.points, "asked for by number")


def _joined(step: Step, argument: Any) -> Any:
    """Arguments without stacks."""
    if isinstance(argument, Stack):
        return join(step, argument)
    if isinstance(argument, list):
        return [_joined(step, a) for a in argument]
    return argument


def _feeding(trace: Trace, node: Node) -> tuple[str, ...]:
    """Parameters that enter an operation directly."""
    return tuple(trace.names[n.name] for n in node.all_input_nodes if n.name in trace.names)
