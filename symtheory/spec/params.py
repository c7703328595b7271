"""Parameters as ``dict[str, Tensor]`` in insertion order, with a flat-vector view."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn

from symtheory.errors import SymtheoryError
from symtheory.spec.numerics import require_finite

Params = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def params_of(model: nn.Module) -> Params:
    """Detached parameters of a module, by name, sharing storage with it.

    Args:
        model: Any module.

    Returns:
        Name to tensor, in the module's own order.
    """
    return {name: p.detach() for name, p in model.named_parameters()}


def shapes_of(params: Mapping[str, Tensor]) -> Shapes:
    """Shape of every tensor.

    Args:
        params: Name to tensor.

    Returns:
        Name to shape, in the same order.
    """
    return {name: tuple(p.shape) for name, p in params.items()}


def size_of(shapes: Shapes) -> int:
    """Number of scalars.

    Args:
        shapes: Name to shape.

    Returns:
        The length of the flat vector.

    >>> size_of({"w": (2, 3), "b": ()})
    7
    """
    return sum(prod(s) for s in shapes.values())


def flatten(params: Mapping[str, Tensor]) -> Tensor:
    """Concatenate all tensors, row-major, in insertion order.

    Args:
        params: Name to tensor.

    Returns:
        Vector of length ``size_of(shapes_of(params))``.

    >>> flatten({"a": torch.ones(1, 2), "b": torch.zeros(1)}).tolist()
    [1.0, 1.0, 0.0]
    """
    return torch.cat([p.reshape(-1) for p in params.values()])


def unflatten(vector: Tensor, shapes: Shapes) -> Params:
    """Inverse of :func:`flatten`.

    Args:
        vector: Vector of length ``size_of(shapes)``.
        shapes: Name to shape.

    Returns:
        Name to tensor; the tensors are views of ``vector``.

    Raises:
        SymtheoryError: If the length does not match the shapes.
    """
    if vector.shape != (size_of(shapes),):
        raise SymtheoryError(f"a vector of length {size_of(shapes)}", f"{tuple(vector.shape)}", "check the shapes")
    parts = vector.split([prod(s) for s in shapes.values()])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def require_params(params: Mapping[str, Tensor], shapes: Shapes) -> None:
    """Check that the named tensors are present, shaped as declared, floating and finite.

    Args:
        params: Name to tensor; may hold further names.
        shapes: The names and shapes needed.

    Raises:
        SymtheoryError: At the first name that is missing, misshapen, not floating or not finite.
    """
    if not isinstance(params, Mapping):
        raise SymtheoryError("params as a dict of name to tensor", f"a {type(params).__name__}", "use params_of(model)")
    for name, shape in shapes.items():
        if name not in params:
            raise SymtheoryError(f"a parameter named {name!r}", f"{sorted(params)}", "use the model's own names")
        if tuple(params[name].shape) != shape:
            raise SymtheoryError(
                f"{name!r} of shape {shape}", f"{tuple(params[name].shape)}", "build the mirror for this model's shapes"
            )
        if not params[name].is_floating_point():
            raise SymtheoryError(f"floating {name!r}", f"{params[name].dtype}", "convert it with .to(torch.float64)")
        require_finite(params[name], f"parameter {name!r}")
