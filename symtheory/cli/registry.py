"""What the commands work on, imported when a command needs it, so that ``--help`` is quick."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from symtheory.errors import SymtheoryError

if TYPE_CHECKING:
    from symtheory.figures.base import Figure
    from symtheory.ledger import Entry
    from symtheory.theorems.base import Theorem

T = TypeVar("T")


def figures() -> Mapping[str, Figure]:
    """The figures of the papers.

    Returns:
        By id.
    """
    return _registry("symtheory.figures", "FIGURES")


def plots() -> Mapping[str, Callable[[Any], Any]]:
    """How figures are drawn.

    Returns:
        By id of the figure: a function from its dataset to a matplotlib figure.
    """
    os.environ.setdefault("MPLBACKEND", "Agg")
    return _registry("symtheory.plots", "PLOTS")


def theorems() -> Mapping[str, Theorem]:
    """The theorems of the papers.

    Returns:
        By id of the claim.
    """
    return _registry("symtheory.theorems", "THEOREMS")


def ledger() -> Mapping[str, Entry]:
    """The claims with the evidence recorded for them.

    Returns:
        By id of the claim.
    """
    from symtheory.ledger import load

    return load().entries


def pick(registry: Mapping[str, T], wanted: str, kind: str, command: str) -> T:
    """Look a name up, whatever its case.

    Args:
        registry: By name.
        wanted: What the user wrote.
        kind: What it should be, for the message ("figure").
        command: The command that lists the names.

    Returns:
        The value.

    Raises:
        SymtheoryError: If there is none; the message names near misses.

    >>> pick({"A3a": 1}, "a3A", "figure", "list")
    1
    """
    for name, value in registry.items():
        if name.lower() == wanted.lower():
            return value
    raise SymtheoryError(*unknown(wanted, list(registry), kind, f"run 'symtheory {command}' to see them"))


def unknown(wanted: str, known: list[str], kind: str, remedy: str) -> tuple[str, str, str]:
    """What to say of a name that is not known.

    Args:
        wanted: What the user wrote.
        known: The names there are.
        kind: What they are, for the message.
        remedy: What to do when no name comes near.

    Returns:
        Expected, got and remedy, which names the closest known name if one is close.

    >>> print(SymtheoryError(*unknown("stpes", ["steps", "seed"], "setting", "see the docs")))
    expected a setting among steps, seed, got 'stpes'; did you mean 'steps'? Otherwise see the docs
    """
    lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(wanted.lower(), lower, n=1, cutoff=0.5)
    hint = f"did you mean {lower[near[0]]!r}? Otherwise {remedy}" if near else remedy
    return f"a {kind} among {', '.join(known) or 'none'}", repr(wanted), hint


def _registry(module: str, name: str) -> Mapping[str, Any]:
    """A registry of this package, or one clear message if this installation lacks it."""
    import importlib

    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SymtheoryError(f"{name} in {module}", f"{error}", "install a complete symtheory") from error
