"""``--set name=value``: changed settings, with the type that the setting has in the preset."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from symtheory.cli.registry import unknown
from symtheory.errors import SymtheoryError


def parse(assignments: Iterable[str], config: Any) -> dict[str, Any]:
    """Read ``name=value`` pairs.

    Args:
        assignments: What the user wrote. Values are JSON; several values for a list may be given as ``1,2,3``.
        config: Settings of the preset; a new value has the type of the old one.

    Returns:
        Name to value.

    Raises:
        SymtheoryError: If a pair has no ``=``, names no setting, or has a value of another type.
    """
    known = list(config.to_json())
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals:
            raise SymtheoryError("name=value after --set", repr(assignment), "write for example --set seed=1")
        if name not in known:
            raise SymtheoryError(*unknown(name, known, "setting", "run 'symtheory list --json' to see the settings"))
        changes[name] = convert(text.strip(), getattr(config, name), name)
    return changes


def convert(text: str, like: object, name: str) -> Any:
    """Read a value of a known type.

    Args:
        text: What the user wrote.
        like: The present value.
        name: Name of the setting, for the message.

    Returns:
        A value of the same type; a whole number will do where a float is needed. Anything if the present one is
        ``None``.

    Raises:
        SymtheoryError: If the text does not have this type.

    >>> convert("3", 0.1, "rate"), convert("1,2", (0,), "seeds"), convert("relu", "tanh", "activation")
    (3.0, (1, 2), 'relu')
    """
    if isinstance(like, str):
        return text
    listed = isinstance(like, (tuple, list)) and not text.startswith("[")
    try:
        value = json.loads(f"[{text}]" if listed else text, parse_constant=_no_constant)
    except ValueError as error:
        if like is None:
            return text
        raise SymtheoryError(*_mismatch(text, like, name)) from error
    return _fit(value, like, text, name)


def _fit(value: Any, like: object, text: str, name: str) -> Any:
    """Give a JSON value the type of another, or refuse."""
    if isinstance(like, (tuple, list)):
        if not isinstance(value, list):
            raise SymtheoryError(*_mismatch(text, like, name))
        return type(like)(_fit(item, like[0], text, name) if like else item for item in value)
    if like is None:
        return tuple(value) if isinstance(value, list) else value
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(like):
        raise SymtheoryError(*_mismatch(text, like, name))
    return value


def _no_constant(name: str) -> object:
    """Refuse NaN and infinity, which JSON does not have."""
    raise ValueError(name)


def _mismatch(text: str, like: object, name: str) -> tuple[str, str, str]:
    """What to say of a value of the wrong type."""
    example = f"write for example --set {name}={json.dumps(like)}"
    return f"a value of type {type(like).__name__} for {name}", repr(text), example
