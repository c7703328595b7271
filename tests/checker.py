"""The type checker that runs in tests: beartype, for every function that is made once.

A function inside a function is made anew at every call, and checking it would compile the checks anew, too; in inner
loops that took longer than the tests themselves. What it is given comes from a function that is checked.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def typechecked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check arguments and result of a function that does not live inside another."""
    return function if "<locals>" in function.__qualname__ else beartype(function)
