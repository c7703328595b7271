r"""Measured, not believed: the outputs before and after a random group element, in float64.

The graph is evaluated once at a scattered point (so that no symmetry comes from biases that start at zero or gains that
start at one). A group element then changes a few tensors, and only what depends on them is evaluated again, up to the
values that come back to what they were: where all have, nothing is left that could change the outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from symtheory.discover.tracing import Trace, is_getitem, resolve

#: Largest relative change of the outputs that counts as rounding, in float64.
TOLERANCE = 1e-9
#: Relative change below which a value counts as back to what it was.
RETURNED = 1e-12
#: Scatter of the parameters about their values, in units of each tensor's root mean square.
SPREAD = 0.3
#: Length of the noise that all tensors share, each from another place on; a prime, so that no axis repeats with it.
NOISE = 65537
_LOW = {torch.float32, torch.float16, torch.bfloat16}


class Bench:
    """Evaluates a trace at one point, and again after changes.

    Tensors are scattered, cast and brought to the CPU when they are used and not kept: the point costs no memory.

    Args:
        trace: The traced network.
        generator: Source of randomness, for the point.
        dtype: Floating type of the evaluation.
    """

    def __init__(self, trace: Trace, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> None:
        self.trace, self.dtype = trace, dtype
        self._noise = (torch.rand(NOISE, generator=generator, dtype=dtype) * 2 - 1) * SPREAD
        starts = torch.randint(0, NOISE, (len(trace.tensors),), generator=generator).tolist()
        self._start = dict(zip(trace.tensors, starts, strict=True))
        self._root = {n: float(t.norm()) / max(t.numel(), 1) ** 0.5 or 1.0 for n, t in trace.tensors.items()
                      if n in trace.movable and (t.is_floating_point() or t.is_complex())}  # fmt: skip
        self.inputs = {name: self._cast(value) for name, value in trace.inputs.items()}
        self._base, _ = self._run({}, None, set())

    def point(self, name: str) -> Tensor:
        """A generic value near a tensor's own; constants, frozen parameters and counters stay."""
        t = self.trace.tensors[name]
        if name not in self._root:
            return self._cast(t)
        out = t.to(self.dtype.to_complex() if t.is_complex() else self.dtype, copy=True).cpu()
        flat, noise = (torch.view_as_real(out) if t.is_complex() else out).view(-1), self._noise.roll(self._start[name])
        statistic = name not in self.trace.parameters and bool(t.any()) and not bool((t < 0).any())
        for part in flat.split(NOISE * 64):
            rows = part[: part.numel() // NOISE * NOISE].view(-1, NOISE)
            for piece, shift in ((rows, noise), (part[rows.numel() :], noise[: part.numel() - rows.numel()])):
                if statistic:  # a running variance stays positive, and that of a dead channel becomes so
                    piece.masked_fill_(piece == 0, self._root[name]).mul_(shift.exp())
                else:
                    piece.add_(shift, alpha=3**0.5 * self._root[name])
        return out

    def _cast(self, value: Any) -> Any:
        """Floating tensors, and types named in the graph, in the type of the evaluation."""
        if isinstance(value, Tensor):
            if value.is_complex():
                return value.cpu().to(self.dtype.to_complex())
            return value.cpu().to(self.dtype) if value.is_floating_point() else value.cpu()
        if isinstance(value, torch.dtype):
            return self.dtype if value in _LOW else self.dtype.to_complex() if value.is_complex else value
        if isinstance(value, torch.device):
            return torch.device("cpu")
        if isinstance(value, list | tuple):
            return [self._cast(v) for v in value]
        if isinstance(value, dict):
            return {k: self._cast(v) for k, v in value.items()}
        return value

    @torch.no_grad()
    def _run(self, known: dict[Node, Any], change: Change | None, touched: set[str]) -> tuple[dict[Node, Any], float]:
        """All values (at first), or the changed ones with the largest relative change among those that came back."""
        values: dict[Node, Any] = {}
        returned = 0.0
        for node in self.trace.graph.nodes:
            if node.op == "placeholder":
                name = self.trace.names.get(node.name)
                if name is None and change is None:
                    values[node] = self.inputs[node.name]
                elif name in touched and node.users:
                    values[node] = _Changed(name)
                continue
            if change is not None and not any(n in values for n in node.all_input_nodes):
                continue
            args = {n: self._fetch(n, values, known, change) for n in node.all_input_nodes}
            got, kwargs = resolve(node.args, args), resolve(node.kwargs, args)
            if node.op == "output":
                values[node] = got
            elif is_getitem(node):
                values[node] = got[0][got[1]]
            else:
                made = node.target(*self._types(got), **self._types(kwargs))  # type: ignore[operator]
                values[node] = self._cast(made) if isinstance(made, Tensor) and made.dtype in _LOW else made
            if change is not None and node.op != "output":
                difference = distance(values[node], known[node])
                if difference <= RETURNED:
                    returned = max(returned, difference)
                    del values[node]
        return values, returned

    def _fetch(self, node: Node, values: dict, known: dict, change: Change | None) -> Any:
        """Value of a node: changed, known, or a tensor at the point."""
        if node in values:
            value = values[node]
            if isinstance(value, _Changed):
                assert change is not None
                return change(value.name, self.point)
            return value
        return known[node] if node in known else self.point(self.trace.names[node.name])

    def _types(self, value: Any) -> Any:
        """Arguments with the types named in the graph raised to that of the evaluation."""
        if isinstance(value, torch.dtype | torch.device):
            return self._cast(value)
        if isinstance(value, list):
            return [self._types(v) for v in value]
        return {k: self._types(v) for k, v in value.items()} if isinstance(value, dict) else value

    def residual(self, change: Change, touched: set[str]) -> float:
        """Relative change of the outputs when some tensors change.

        Args:
            change: New value of a tensor, from its name and a function that gives the values by name.
            touched: Names of the tensors that change.

        Returns:
            Largest ratio of the norm of a change to the norm of the value, over the outputs and over the values at
            which the change was seen to end.
        """
        after, returned = self._run(self._base, change, touched)
        (last,) = self.trace.graph.find_nodes(op="output")
        return max(returned, distance(after[last], self._base[last]) if last in after else 0.0)


Change = Callable[[str, Callable[[str], Tensor]], Tensor]


@dataclass(frozen=True)
class _Changed:
    """Stands for a changed tensor until it is used.

    Attributes:
        name: Name of the tensor.
    """

    name: str


def distance(after: Any, before: Any) -> float:
    """Relative difference of two results, the largest over their tensors; infinite where numbers fail."""
    if isinstance(after, Tensor):
        if not (after.is_floating_point() or after.is_complex()):
            return 0.0 if torch.equal(after, before) else float("inf")
        change, norm = float((after - before).norm()), float(before.norm())
        if isfinite(change) and isfinite(norm):
            return change / norm if norm else change
        keep = torch.isfinite(before)
        if not torch.equal(torch.isfinite(after), keep) or not torch.equal(after[~keep], before[~keep]):
            return float("inf")
        return distance(after[keep], before[keep])
    if isinstance(after, list | tuple):
        return max((distance(a, b) for a, b in zip(after, before, strict=True)), default=0.0)
    return 0.0 if after is before or after == before else float("inf")
