"""Export with a way around submodules that cannot be traced: each becomes one opaque operation of the graph.

A submodule whose control flow depends on the data still runs; it just cannot be seen through. Its parameters and
inputs enter the operation, so whatever reaches it is told apart, and the rest of the network is analysed as usual.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from symtheory.errors import SymtheoryError

Shapes = tuple[tuple[int, ...], ...]
_library = torch.library.Library("symtheory", "FRAGMENT")
_library.define("opaque(Tensor[] tensors, Tensor[] inputs, str key) -> Tensor[]")
_active: WeakValueDictionary[str, Opaque] = WeakValueDictionary()
_numbers = count()


@dataclass(eq=False)
class Opaque:
    """One submodule behind an operation.

    Attributes:
        name: Its name in the model.
        module: The submodule.
        why: Why it does not trace.
        calls: What it returned for inputs of given shapes: structure and example tensors.
        key: Name of the operation's entry.
        inside: Whether the submodule itself is running.
        arrange: Its arguments, the places of the tensors among them, and their structure.
    """

    name: str
    module: nn.Module
    why: str
    calls: dict[Shapes, tuple[TreeSpec, list[Any]]]
    key: str = field(default_factory=lambda: str(next(_numbers)))
    inside: bool = False
    arrange: tuple[list[Any], list[int], TreeSpec] | None = field(default=None, repr=False)

    def tensors(self) -> dict[str, Tensor]:
        """Its parameters and buffers."""
        return {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}

    def run(self, tensors: list[Tensor], leaves: list[Any], spec: TreeSpec) -> Any:
        """What the submodule computes with these tensors for its own."""
        args, kwargs = tree_unflatten(leaves, spec)
        self.inside = True
        try:
            return functional_call(self.module, dict(zip(self.tensors(), tensors, strict=True)), args, kwargs)
        finally:
            self.inside = False

    def forward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """A forward that calls the operation, or the original while the operation runs."""

        def replaced(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return original(*args, **kwargs)
            leaves, spec = tree_flatten((args, kwargs))
            places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
            self.arrange = (leaves, places, spec)
            given = [leaves[k] for k in places]
            results = iter(torch.ops.symtheory.opaque(list(self.tensors().values()), given, self.key))
            out_spec, example = self.calls[_shapes(given)]
            return tree_unflatten([next(results) if isinstance(e, Tensor) else e for e in example], out_spec)

        return replaced


def _shapes(tensors: list[Tensor]) -> Shapes:
    return tuple(tuple(int(n) for n in t.shape) for t in tensors)


def _run(tensors: list[Tensor], inputs: list[Tensor], key: str) -> list[Tensor]:
    """The operation itself."""
    entry = _active[key]
    assert entry.arrange is not None
    leaves, places, spec = entry.arrange
    filled = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    for k, t in zip(places, inputs, strict=True):
        filled[k] = t
    flat, _ = tree_flatten(entry.run(tensors, filled, spec))
    return [t.clone() for t in flat if isinstance(t, Tensor)]


def _fake(tensors: list[Tensor], inputs: list[Tensor], key: str) -> list[Tensor]:
    """Its results while tracing: shapes and types only."""
    _, example = _active[key].calls[_shapes(inputs)]
    return [torch.empty(e.shape, dtype=e.dtype, device=inputs[0].device) for e in example if isinstance(e, Tensor)]


_library.impl("opaque", _run, "CompositeExplicitAutograd")
torch.library.register_fake("symtheory::opaque", _fake, lib=_library)


def export(model: nn.Module, inputs: tuple) -> tuple[Any, list[Opaque]]:
    """Trace a model, making submodules that stand in the way opaque.

    Args:
        model: The model, in evaluation mode.
        inputs: Positional arguments.

    Returns:
        The exported program, and the opaque submodules, which have to be kept alive as long as it runs.

    Raises:
        SymtheoryError: If no submodule is to blame for the model not tracing.
    """
    try:
        return _exported(model, inputs), []
    except Exception as error:
        first = error
    entries: list[Opaque] = []
    calls = _record(model, inputs)
    with _replacing() as replace:
        _open(model, "", calls, entries, replace)
        try:
            if entries:
                return _exported(model, inputs), entries
        except Exception as error:
            first = error
    raise SymtheoryError(
        "a model that torch.export can trace, but for some submodules",
        first_line(first),
        "make the control flow of its own forward independent of the data, or move it into a submodule",
    ) from first


def _exported(module: nn.Module, args: tuple, kwargs: dict | None = None) -> Any:
    """``torch.export`` without the graph and the warning that it prints where it fails."""
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            return torch.export.export(module, args, kwargs, strict=False)
    finally:
        log.setLevel(level)


def first_line(error: BaseException) -> str:
    """An error's message, short.

    Args:
        error: Any exception.

    Returns:
        At most 200 characters of its first line.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


Call = tuple[tuple, dict, Any]


def _record(model: nn.Module, inputs: tuple) -> dict[nn.Module, list[Call]]:
    """Arguments and results of every submodule's calls."""
    calls: dict[nn.Module, list[Call]] = {}

    def hook(module: nn.Module, args: tuple, kwargs: dict, result: Any) -> None:
        calls.setdefault(module, []).append((args, kwargs, result))

    handles = [m.register_forward_hook(hook, with_kwargs=True) for m in model.modules()]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for h in handles:
            h.remove()
    return calls


@contextmanager
def _replacing() -> Iterator[Callable[[Opaque], None]]:
    """Put operations in place of forwards, and take them out again."""
    replaced: list[nn.Module] = []

    def replace(entry: Opaque) -> None:
        _active[entry.key] = entry
        entry.module.forward = entry.forward(entry.module.forward)
        replaced.append(entry.module)

    try:
        yield replace
    finally:
        for module in replaced:
            del module.forward


def _open(module: nn.Module, name: str, calls: dict[nn.Module, list[Call]], entries: list[Opaque],
          replace: Callable[[Opaque], None]) -> None:  # fmt: skip
    """Make the smallest submodules opaque that keep this one from tracing."""
    for child_name, child in module.named_children():
        full = f"{name}.{child_name}" if name else child_name
        if child not in calls and list(child.children()):
            _open(child, full, calls, entries, replace)
        elif child in calls and _failure(child, calls[child]) is not None:
            _open(child, full, calls, entries, replace)
            why = _failure(child, calls[child])
            if why is not None:
                results = {}
                for args, kwargs, result in calls[child]:
                    given = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
                    leaves, spec = tree_flatten(result)
                    results[_shapes(given)] = (spec, leaves)
                entries.append(Opaque(full, child, why, results))
                replace(entries[-1])


def _failure(module: nn.Module, calls: list[Call]) -> str | None:
    """Why a submodule does not trace on its own, or nothing if it does."""
    args, kwargs, _ = calls[0]
    try:
        _exported(module, args, kwargs)
    except Exception as error:
        return first_line(error)
    return None
