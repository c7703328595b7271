r"""Measured, not believed: the outputs before and after a random group element, in float64.

The graph is evaluated once at a scattered point (so that no symmetry comes from biases that start at zero or gains that
start at one). A group element then changes a few tensors, and only what depends on them is evaluated again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from symtheory.discover.tracing import Trace, is_getitem, resolve

#: Largest relative change of the outputs that counts as rounding, in float64.
TOLERANCE = 1e-9
#: Scatter of the parameters about their values, in units of each tensor's root mean square.
SPREAD = 0.3
_LOW = {torch.float32, torch.float16, torch.bfloat16}


class Bench:
    """Evaluates a trace at one point, and again after changes.

    Args:
        trace: The traced network.
        generator: Source of randomness, for the point.
        dtype: Floating type of the evaluation.
    """

    def __init__(self, trace: Trace, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> None:
        self.trace, self.dtype = trace, dtype
        self.point = {name: _scatter(trace, name, generator) for name in trace.tensors}
        self.inputs = {name: self._cast(value) for name, value in trace.inputs.items()}
        self.evaluations = 0
        with self._quiet():
            self.base = self._run({}, None)

    @staticmethod
    @contextlib.contextmanager
    def _quiet() -> Iterator[None]:
        """No gradients."""
        with torch.no_grad():
            yield

    def _cast(self, value: Any) -> Any:
        """Floating tensors and types in the type of the evaluation."""
        if isinstance(value, Tensor):
            return value.to(self.dtype) if value.is_floating_point() else value
        if isinstance(value, torch.dtype):
            return self.dtype if value in _LOW else value
        if isinstance(value, list | tuple):
            return [self._cast(v) for v in value]
        if isinstance(value, dict):
            return {k: self._cast(v) for k, v in value.items()}
        return value

    def _run(self, known: dict[Node, Any], change: Callable[[str, Tensor], Tensor] | None, touched: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
        """All values (at first), or the changed ones; parameters are cast when used and not kept."""
        self.evaluations += 1
        values: dict[Node, Any] = {}

        def fetch(node: Node) -> Any:
            if node in values:
                return values[node]
            if node in known:
                return known[node]
            return self._cast(self.point[self.trace.names[node.name]])

        for node in self.trace.graph.nodes:
            if node.op == "placeholder":
                name = self.trace.names.get(node.name)
                if name is None:
                    if change is None:
                        values[node] = self.inputs[node.name]
                elif name in touched and change is not None and node.users:
                    values[node] = change(name, self._cast(self.point[name]))
            elif change is None or any(n in values for n in node.all_input_nodes):
                args = {n: fetch(n) for n in node.all_input_nodes}
                got, kwargs = resolve(node.args, args), resolve(node.kwargs, args)
                if node.op == "output":
                    values[node] = got
                elif is_getitem(node):
                    values[node] = got[0][got[1]]
                else:
                    values[node] = node.target(*self._types(got), **self._types(kwargs))  # type: ignore[operator]
                if change is not None:
                    for n in node.all_input_nodes:
                        if n in values and n.op == "placeholder" and all(u in values for u in n.users):
                            values[n] = None
        return values

    def _types(self, value: Any) -> Any:
        """Types named in the graph, raised to that of the evaluation."""
        if isinstance(value, torch.dtype):
            return self.dtype if value in _LOW else value
        if isinstance(value, list):
            return [self._types(v) for v in value]
        if isinstance(value, dict):
            return {k: self._types(v) for k, v in value.items()}
        return value

    def outputs(self, values: dict[Node, Any]) -> list[Tensor]:
        """Floating outputs among some values."""
        (last,) = self.trace.graph.find_nodes(op="output")
        if last not in values:
            return []
        return [t for t in torch.utils._pytree.tree_leaves(values[last]) if isinstance(t, Tensor) and t.is_floating_point()]

    def residual(self, change: Callable[[str, Tensor], Tensor], touched: set[str]) -> float:
        """Relative change of the outputs when some tensors change.

        Args:
            change: New value of a tensor, from its name and value.
            touched: Names of the tensors that change.

        Returns:
            Largest over the outputs of the norm of the change over the norm of the output; infinite if not finite.
        """
        with self._quiet():
            after = self.outputs(self._run(self.base, change, touched))
        before = self.outputs(self.base)
        worst = 0.0
        for a, b in zip(after, before, strict=False):
            if not bool(torch.isfinite(b).all()):
                keep = torch.isfinite(b)
                if not bool((torch.isfinite(a) == keep).all()):
                    return float("inf")
                a, b = a[keep], b[keep]
            change_norm, norm = float((a - b).norm()), float(b.norm())
            value = change_norm / norm if norm else change_norm
            worst = max(worst, value if value == value else float("inf"))
        return worst


def _scatter(trace: Trace, name: str, generator: torch.Generator) -> Tensor:
    """A generic value near a tensor's own; constants, frozen parameters and counters stay."""
    t = trace.tensors[name]
    if name not in trace.movable or not t.is_floating_point():
        return t
    noise = torch.rand(t.shape, generator=generator, dtype=t.dtype) * 2 - 1
    if name not in trace.parameters and bool((t > 0).all()):
        return t * (noise * SPREAD).exp()
    scale = float(t.norm()) / max(t.numel(), 1) ** 0.5 or 1.0
    return noise.mul_(SPREAD * 3**0.5 * scale).add_(t)
