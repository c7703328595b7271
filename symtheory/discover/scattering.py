"""A network in double precision, whatever its own, and at scattered weights and inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from symtheory.discover.tracing import evaluation
from symtheory.spec.params import Params

_LOW = (torch.float32, torch.float16, torch.bfloat16)
_CASTS = (Tensor.float, Tensor.half, Tensor.bfloat16)


class _Double(TorchFunctionMode):
    """Operations on doubles, also where a network casts to less or makes new tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, named = tree_map(raised, (tuple(args), kwargs or {}))
        return tree_map(raised, (Tensor.double if func in _CASTS else func)(*given, **named))


def raised(value: Any) -> Any:
    """A tensor or a type of low precision in double precision.

    Args:
        value: Anything.

    Returns:
        The same, if it is neither.
    """
    if isinstance(value, Tensor) and value.dtype in _LOW:
        with torch._C.DisableTorchFunction():
            return value.double()
    return torch.float64 if isinstance(value, torch.dtype) and value in _LOW else value


def outputs(model: nn.Module, inputs: tuple, tensors: Params | None = None) -> list[Any]:
    """What a network computes in double precision and in evaluation mode.

    Args:
        model: The network.
        inputs: Its positional arguments.
        tensors: Parameters and buffers to use instead of its own.

    Returns:
        The tensors and other leaves of its output.
    """
    with torch.no_grad(), evaluation(model), _Double():
        return tree_leaves(model(*inputs) if tensors is None else functional_call(model, tensors, inputs))


class Scatter:
    """Random weights and inputs of the sizes that a network has.

    Args:
        model: The network.
        inputs: Example inputs.
        names: Parameters and buffers that may be anything; others stay as they are.
    """

    def __init__(self, model: nn.Module, inputs: Sequence[Any], names: set[str]) -> None:
        self.names, self.parameters = names, {n for n, _ in model.named_parameters()}
        self.own = tree_map(raised, tuple(inputs))

    def inputs(self, seed: int) -> tuple:
        """Inputs between the smallest and the largest number of the example; integers stay.

        Args:
            seed: Seed.

        Returns:
            Positional arguments.
        """
        generator = torch.Generator().manual_seed(2 * seed + 1)
        return tree_map(lambda t: _filled(t, generator, _between), self.own)

    def tensors(self, held: Params, seed: int) -> Params:
        """Parameters and buffers of the same magnitude; what is positive, such as a running variance, stays so.

        Args:
            held: All parameters and buffers.
            seed: Seed.

        Returns:
            New ones in double precision, and the others.
        """
        generator = torch.Generator().manual_seed(2 * seed)
        return {
            name: _filled(t, generator, _like if name in self.parameters else _statistic) if name in self.names else t
            for name, t in held.items()
        }


def _filled(value: Any, generator: torch.Generator, law: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """A floating tensor drawn anew, anything else as it is."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.numel():
        return value
    noise = torch.rand(value.shape, generator=generator, dtype=torch.float64).to(value.device)
    return law(value.detach().double(), noise)


def _like(value: Tensor, noise: Tensor) -> Tensor:
    """Around zero, with the root mean square of a tensor."""
    return (2 * noise - 1) * 3**0.5 * (float(value.norm()) / value.numel() ** 0.5 or 1.0)


def _statistic(value: Tensor, noise: Tensor) -> Tensor:
    """The same, without signs if a tensor has none."""
    return _like(value, noise) if bool((value < 0).any()) or not bool(value.any()) else _like(value, 0.5 + noise / 2)


def _between(value: Tensor, noise: Tensor) -> Tensor:
    """In the range of a tensor; if it has one value only, around it."""
    low, high = float(value.min()), float(value.max())
    if not bool(value.isfinite().all()):
        return value
    return low + (high - low) * noise if high > low else (low or 1.0) * (2 * noise if low else 4 * noise - 2)
