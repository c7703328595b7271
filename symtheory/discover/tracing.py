"""From a module to its graph, its tensors and what is known of each."""

from __future__ import annotations

import contextlib
import operator
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind
from torch.fx import Graph, Node
from torch.nn.utils import parametrizations
from torch.utils._pytree import tree_leaves

from symtheory.discover.opaque import Opaque, export, first_line
from symtheory.discover.rules_layout import name_of, name_of_target
from symtheory.errors import SymtheoryError
from symtheory.spec.models import require_model

#: Arguments of a normalisation that training itself fills in: buffers that follow the units.
STATISTICS = {"batch_norm": (3, 4), "instance_norm": (3, 4), "_native_batch_norm_legit_no_training": (3, 4)}

#: Buffers of unit length that training itself fills in: singular vectors follow the units, but keep their length.
DIRECTIONS: dict[type[nn.Module], tuple[str, ...]] = {parametrizations._SpectralNorm: ("_u", "_v")}


@dataclass(frozen=True)
class Gap:
    """Something the analysis could not see through.

    Attributes:
        where: Node, operation or submodule.
        why: What stood in the way.
        tensors: Parameters that enter there, and whose symmetries may be missed.
    """

    where: str
    why: str
    tensors: tuple[str, ...] = ()


@dataclass
class Trace:
    """A traced network.

    Attributes:
        graph: Its operations.
        names: Placeholder to name of the parameter or buffer.
        tensors: All parameters and buffers, by name, sharing storage with the module.
        inputs: Placeholder to the value given.
        movable: Names that symmetries may change: trainable parameters, running statistics.
        parameters: Names of all parameters.
        frozen: Names of parameters with ``requires_grad`` false.
        directions: Buffers that keep their length.
        opaque: Submodules that did not trace, kept alive for the graph to run.
    """

    graph: Graph
    names: dict[str, str]
    tensors: dict[str, Tensor]
    inputs: dict[str, Any]
    movable: set[str] = field(default_factory=set)
    parameters: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    directions: set[str] = field(default_factory=set)
    opaque: list[Opaque] = field(default_factory=list)

    @property
    def gaps(self) -> list[Gap]:
        """One for each submodule that did not trace."""
        return [Gap(f"submodule {o.name!r}", f"it does not trace: {o.why}", tuple(f"{o.name}.{n}" for n, _ in
                    o.module.named_parameters())) for o in self.opaque]  # fmt: skip


class _WithLoss(nn.Module):
    """A model followed by a loss."""

    def __init__(self, model: nn.Module, loss: Callable[[Any], Any]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *args: Any) -> Any:
        return self.loss(self.model(*args))


@contextlib.contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, without the fused attention that hides its parameters from a trace.

    Modes and buffers come back to what they were, even if a module changes its buffers in evaluation mode.
    """
    modes = [(m, m.training) for m in model.modules()]
    buffers = [(m, k, t, t.clone()) for m in model.modules() for k, t in m._buffers.items() if t is not None]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    model.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in modes:
            module.training = training
        for module, key, held, value in buffers:
            module._buffers[key] = held
            if not torch.equal(held, value):
                held.detach().copy_(value)


def functional(graph: Graph) -> bool:
    """Make in-place operations on values used nowhere else functional; false if others are left."""
    for node in list(graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if not node.target._schema.is_mutable:
            continue
        first = node.args[0] if node.args else None
        packet = node.target._schema.name.split("::")[1]
        plain = getattr(torch.ops.aten, packet.rstrip("_"), None)
        alone = isinstance(first, Node) and len(first.users) == 1 and first.op != "placeholder"
        aliased = isinstance(first, Node) and name_of(first) in {
            "view", "reshape", "transpose", "permute", "select", "slice", "unsqueeze", "squeeze", "t", "expand",
            "split", "chunk", "unbind", "detach", "alias", "flatten", "getitem", "unflatten",
        }  # fmt: skip
        overload = node.target._overloadname
        if not (packet.endswith("_") and plain is not None and alone and not aliased and hasattr(plain, overload)):
            return False
        node.target = getattr(plain, overload)
    return True


def positional(model: Any, example_inputs: Any) -> tuple:
    """The arguments of a network, after a look at what was given.

    Args:
        model: What should be a module.
        example_inputs: What should be one tensor, or a list or tuple of positional arguments.

    Returns:
        Positional arguments.

    Raises:
        SymtheoryError: If either is something else, or a tensor of the model has no values.
    """
    require_model(model)
    if isinstance(example_inputs, Tensor):
        return (example_inputs,)
    if not isinstance(example_inputs, list | tuple):
        raise SymtheoryError(
            "a tensor, or a list or tuple of positional arguments",
            f"a {type(example_inputs).__name__}",
            "put arguments in the order of forward; one that is no tensor itself goes into a tuple",
        )
    return tuple(example_inputs)


def trace(
    model: nn.Module,
    example_inputs: Sequence[Any],
    loss: Callable[[Any], Any] | None = None,
    known: Container[str] | None = None,
) -> Trace:
    """Trace a module with ``torch.export``.

    Args:
        model: The module, in any mode; it is traced in evaluation mode.
        example_inputs: Positional arguments.
        loss: Function of the output to look at instead of the output itself.
        known: Names of operations with a rule; others are taken apart into these where PyTorch can. ``None``: none are.

    Returns:
        The trace.

    Raises:
        SymtheoryError: If the module does not run, returns no numbers, or does not trace.
    """
    whole = model if loss is None else _WithLoss(model, loss)
    prefix = "" if loss is None else "model."
    with evaluation(whole), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.no_grad():
                given = whole(*example_inputs)
        except Exception as error:
            shapes = [tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in example_inputs]
            raise SymtheoryError(
                "example inputs on which the model runs",
                f"{shapes}: {first_line(error)}",
                "check their number and shapes",
            ) from error
        _require_numbers(given)
        program, opaque = export(whole, tuple(example_inputs))
        graph = program.graph
        if not functional(graph):
            program = program.run_decompositions({})
        if known is not None:
            program = _apart(program, known)
        graph = program.graph
        for node in list(graph.nodes):
            if name_of(node) == "_assert_tensor_metadata":  # it checks the type before a cast, and computes nothing
                graph.erase_node(node)
        graph.eliminate_dead_code()
    return _read(program, graph, whole, prefix, example_inputs, opaque)


def _apart(program: Any, known: Container[str]) -> Any:
    """Put its definition in the place of an operation, where PyTorch has one that is made of known operations."""

    def unknown(graph: Graph) -> dict[Any, str]:
        calls = (n for n in graph.nodes if n.op == "call_function" and not is_getitem(n))
        return {n.target: name_of(n) for n in calls if name_of(n) not in known}

    left = {t: name for t, name in unknown(program.graph).items() if isinstance(t, torch._ops.OpOverload)}
    if not left:
        return program
    every = torch.export.default_decompositions()
    table = {op: how for op, how in every.items() if name_of_target(op) not in known}
    for target in sorted(left.keys() & table.keys(), key=str):
        wanted = {op: how for op, how in table.items() if op is target or op not in left}
        try:
            finer = program.run_decompositions(wanted)
        except Exception:  # whatever stands in its way, the operation is a gap then
            continue
        # all is traced anew, which may change operations with rules, as batch statistics: then nothing is gained
        before, after = (set(unknown(p.graph).values()) for p in (program, finer))
        if after <= before - {left[target]}:
            program = finer
    return program


def _require_numbers(given: Any) -> None:
    """Outputs in which a change would be seen."""
    tensors = [t for t in tree_leaves(given) if isinstance(t, Tensor)]
    if not any(t.numel() for t in tensors):
        got = f"tensors of shapes {[tuple(t.shape) for t in tensors]}" if tensors else f"a {type(given).__name__}"
        raise SymtheoryError("outputs with numbers in them", got, "symmetries are measured on what the model returns")
    if any(bool(t.isnan().any()) for t in tensors):
        raise SymtheoryError("outputs that are numbers", "NaN", "check the inputs, and the parameters for a divergence")


def _read(
    program: Any, graph: Graph, model: nn.Module, prefix: str, inputs: Sequence[Any], opaque: list[Opaque]
) -> Trace:
    """Names and values of the placeholders."""
    tensors: dict[str, Tensor] = {n: t.detach() for n, t in program.state_dict.items()}
    tensors |= {n: t for n, t in program.constants.items() if isinstance(t, Tensor)}
    trained = {id(p): p.requires_grad for p in model.parameters()}
    held = dict(model.named_parameters(remove_duplicate=False))
    flat = list(tree_leaves(tuple(inputs)))
    found = Trace(graph, {}, {}, {}, opaque=opaque)
    # a tied tensor has several names; the module's own list has the first of them
    first = {id(p): n for n, p in model.named_parameters()}

    for spec, node in zip(program.graph_signature.input_specs, graph.find_nodes(op="placeholder"), strict=True):
        if spec.kind == InputKind.USER_INPUT:
            found.inputs[node.name] = flat.pop(0)
            continue
        if spec.target not in tensors:
            found.inputs[node.name] = None
            continue
        full = first[id(held[spec.target])] if spec.target in held else spec.target
        name = full.removeprefix(prefix)
        found.names[node.name] = name
        if name in found.tensors:
            continue
        found.tensors[name] = tensors[spec.target]
        if spec.kind == InputKind.PARAMETER:
            found.parameters.append(name)
            if trained[id(held[spec.target])]:
                found.movable.add(name)
            else:
                found.frozen.append(name)
    for node in graph.nodes:
        for position in STATISTICS.get(name_of(node), ()):
            argument = node.args[position] if len(node.args) > position else None
            if isinstance(argument, Node) and argument.name in found.names:
                found.movable.add(found.names[argument.name])
    for path, module in model.named_modules():
        leaves = {f"{path}.{leaf}".removeprefix(prefix) for leaf in DIRECTIONS.get(type(module), ())}
        found.directions |= leaves & found.tensors.keys()
    found.movable |= found.directions
    return found


def resolve(argument: Any, env: Mapping[Node, Any]) -> Any:
    """An argument with every node replaced by its value."""
    if isinstance(argument, Node):
        return env[argument]
    if isinstance(argument, list | tuple):
        return [resolve(a, env) for a in argument]
    if isinstance(argument, dict):
        return {k: resolve(a, env) for k, a in argument.items()}
    return argument


def is_getitem(node: Node) -> bool:
    """Whether a node picks one of several results."""
    return node.target is operator.getitem


def is_opaque(node: Node) -> bool:
    """Whether a node stands for a submodule that did not trace."""
    return str(node.target).startswith("symtheory.opaque")
