r"""A linear map, recorded once as a graph of tensor operations and tidied, for maps that are applied many times.

Autograd walks its own graph at every Hessian-vector product: it visits branches whose result nobody asked for and
computes again what depends only on the point, such as the second derivative of each activation. Recording the walk
gives a flat list of operations, in which everything that does not depend on the vector is computed once (*folded*).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from symtheory.spec.numerics import relative_error
from symtheory.spec.params import Params, flatten

#: Roundings of a product in the vector's own precision that the recorded map may differ by from the map.
ROUNDINGS = 1e4


def traced(function: Callable[[Params], Params], example: Params) -> Callable[[Params], Params]:
    """The same linear map as a folded graph, or the map itself where it cannot be recorded faithfully.

    Args:
        function: A linear map of parameter-shaped dicts, free of side effects.
        example: A generic vector, on which both forms are compared; not zero.

    Returns:
        A function of vectors with the names, shapes and type of ``example``. Its results carry no autograd graph.

    >>> double = traced(lambda v: {"w": 2 * v["w"]}, {"w": torch.tensor([1.0, -3.0])})
    >>> double({"w": torch.tensor([5.0, 0.5])})["w"]
    tensor([10.,  1.])
    """
    expected = function(example)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # make_fx warns of its own deprecated helpers
            graph = make_fx(function)(example)
        fold(graph)
        with torch.no_grad():
            found = graph(example)
    except (RuntimeError, TypeError, NotImplementedError, AttributeError):
        return function  # an operation that cannot be recorded; the map itself is always right
    tolerance = ROUNDINGS * torch.finfo(flatten(expected).dtype).eps
    for sign in (1.0, -1.0):  # a backward pass that branches on the vector's values is not the recorded one
        with torch.no_grad():
            found = graph({k: sign * t for k, t in example.items()})
        if relative_error(flatten(found), sign * flatten(expected)) > tolerance:
            return function

    def apply(vector: Params) -> Params:
        with torch.no_grad():
            return graph(vector)

    return apply


def fold(graph: fx.GraphModule) -> int:
    """Compute once, in place of the graph, all operations whose inputs are constants.

    Operations that write to their arguments, draw random numbers or make a tensor larger than their inputs stay.

    Args:
        graph: A graph of ATen operations; changed in place.

    Returns:
        How many operations are gone.
    """
    before = len(graph.graph.nodes)
    known: dict[fx.Node, Any] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            known[node] = getattr(graph, str(node.target))
        elif _foldable(node) and all(n in known for n in node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), lambda n: known[n])
            with torch.no_grad():
                value = node.target(*args, **kwargs)  # type: ignore[operator]
            largest = max(known[n].numel() for n in node.all_input_nodes)
            if isinstance(value, Tensor) and value.numel() <= largest:
                known[node] = value
    for number, (node, value) in enumerate(known.items()):
        if node.op != "get_attr" and any(user not in known for user in node.users):
            name = f"_folded{number}"
            graph.register_buffer(name, value)
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(graph.graph.get_attr(name))
    graph.graph.eliminate_dead_code()
    wanted = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    for name in [*graph._buffers, *(k for k, v in vars(graph).items() if isinstance(v, Tensor))]:
        if name not in wanted:
            delattr(graph, name)
    graph.recompile()
    return before - len(graph.graph.nodes)


def _foldable(node: fx.Node) -> bool:
    target = node.target
    if node.op != "call_function" or not node.all_input_nodes or not isinstance(target, torch._ops.OpOverload):
        return False
    return not target._schema.is_mutable and torch.Tag.nondeterministic_seeded not in target.tags
