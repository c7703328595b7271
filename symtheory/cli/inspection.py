"""What ``symtheory inspect`` needs: a model by its dotted name, inputs by their shapes."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import TYPE_CHECKING

from symtheory.errors import SymtheoryError

if TYPE_CHECKING:
    from torch import Tensor, nn

_SHAPE = re.compile(r"^(\d+(?:x\d+)*)(?:@([1-9]\d*))?$")


def model_of(name: str) -> nn.Module:
    """A model from ``package.module:name``, the name of a module, or of a class or function that makes one.

    Args:
        name: The dotted name; the current folder is searched too.

    Returns:
        The model.

    Raises:
        SymtheoryError: If there is no such module or name, it does not import, or it gives no ``nn.Module`` without
            arguments.
    """
    from torch import nn

    place, _, attribute = name.partition(":")
    if not place or not attribute:
        raise SymtheoryError("a model as package.module:name", repr(name), "for example my_models:MyModel")
    if os.getcwd() not in sys.path:  # noqa: PTH109  (sys.path holds text)
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        found = getattr(importlib.import_module(place), attribute)
    except (ImportError, AttributeError) as error:
        raise SymtheoryError(f"a model named {name!r}", str(error), "check the module's path and the name") from error
    except (Exception, SystemExit) as error:  # whatever the reader's own code raises
        raise SymtheoryError(f"a module {place!r} that imports", _told(error), f"try python -m {place}") from error
    try:
        model = found if isinstance(found, nn.Module) else found()
    except Exception as error:
        remedy = "name a function without arguments that returns the model"
        raise SymtheoryError(f"{name!r} to make a model when called", _told(error), remedy) from error
    if not isinstance(model, nn.Module):
        remedy = "name a module, or what makes one"
        raise SymtheoryError("an nn.Module", f"a {type(model).__name__} from {name!r}", remedy)
    return model


def _told(error: BaseException) -> str:
    """An error of code that is not ours, with its kind."""
    return f"{type(error).__name__}: {error}"


def inputs_of(shapes: list[str], seed: int = 0) -> list[Tensor]:
    """Random inputs of given shapes.

    Args:
        shapes: Each like ``1x3x32x32``, or ``1x8@100`` for whole numbers below 100.
        seed: Seed of the numbers.

    Returns:
        One tensor for each shape: standard normal, or whole.

    Raises:
        SymtheoryError: If a shape cannot be read.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    found = []
    for text in shapes:
        match = _SHAPE.match(text)
        if match is None:
            raise SymtheoryError("a shape such as 1x3x32x32, or 1x8@100 for tokens", repr(text), "write sizes with 'x'")
        sizes = [int(n) for n in match[1].split("x")]
        if match[2] is None:
            found.append(torch.randn(sizes, generator=generator))
        else:
            found.append(torch.randint(0, int(match[2]), sizes, generator=generator))
    return found
