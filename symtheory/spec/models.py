"""What a model has to be before anything is read off it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from symtheory.errors import SymtheoryError


def require_model(model: Any) -> None:
    """Check that something is a model whose parameters and buffers can be read.

    Args:
        model: Anything.

    Raises:
        SymtheoryError: If it is no module that runs Python code, or a tensor of it has no values.
    """
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        got = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise SymtheoryError("an nn.Module that runs Python code", got, "pass the model itself")
    require_values(dict([*model.named_parameters(), *model.named_buffers()]))


def require_values(tensors: Mapping[str, Tensor]) -> None:
    """Check that no tensor lives on the meta device.

    Args:
        tensors: Name to tensor.

    Raises:
        SymtheoryError: If one does.
    """
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise SymtheoryError(
                "parameters with values",
                f"{name!r} on the meta device",
                "materialise it, e.g. model.to_empty(device='cpu'), and give it values",
            )
