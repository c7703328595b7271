"""A long training keeps its state now and then, so that after an interruption it goes on from there.

Whoever calls the training names a folder (:func:`keeping`); without one nothing is kept. What a run gives must not
depend on where it was interrupted: whoever uses this keeps *all* of its state, randomness included. The file is an
archive of arrays and a text that says where they belong; nothing in it is executed when it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_FOLDER: ContextVar[Path | None] = ContextVar("symtheory_resuming", default=None)
_NAME = "state.npz"


@contextlib.contextmanager
def keeping(folder: Path | None) -> Iterator[None]:
    """Let trainings of this context keep their state.

    Args:
        folder: Where; made when needed. ``None`` keeps nothing. It belongs to one training only.
    """
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


class Bookmark:
    """The kept state of one training.

    Args:
        every: Seconds between two states; 0 keeps each.
    """

    def __init__(self, every: float = 60.0) -> None:
        self._every, self._last = every, time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What was kept.

        Returns:
            The state, with tensors on the CPU; ``None`` if there is none that can be read.
        """
        folder = _FOLDER.get()
        if folder is None or not (path := folder / _NAME).exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return _joined(json.loads(str(arrays["plan"])), arrays)
        except Exception:  # whatever a damaged file makes numpy raise, the training can begin anew
            return None

    def keep(self, state: dict[str, Any]) -> bool:
        """Keep a state in place of the last, if it is time; a process that dies meanwhile leaves the last one.

        Args:
            state: Dictionaries, lists and tuples of tensors, numbers, strings and ``None``.

        Returns:
            Whether it was kept.
        """
        folder = _FOLDER.get()
        if folder is None or time.monotonic() - self._last < self._every:
            return False
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"{os.getpid()}-{_NAME}"
        arrays: dict[str, np.ndarray] = {}
        arrays["plan"] = np.array(json.dumps(_split(state, arrays)))
        np.savez(fresh, **arrays)  # pyright: ignore[reportArgumentType]
        fresh.replace(folder / _NAME)
        self._last = time.monotonic()
        return True


def _split(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON, its tensors put aside; keys keep their type."""
    if isinstance(value, Tensor):
        name = f"a{len(arrays)}"
        arrays[name] = value.detach().cpu().numpy()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"pairs": [[key, _split(v, arrays)] for key, v in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_split(v, arrays) for v in value]}
    return value


def _joined(plan: Any, arrays: Any) -> Any:
    """Inverse of :func:`_split`."""
    match plan:
        case {"tensor": name}:
            return torch.from_numpy(arrays[name])
        case {"pairs": pairs}:
            return {key: _joined(v, arrays) for key, v in pairs}
        case {"list": items}:
            return [_joined(v, arrays) for v in items]
        case {"tuple": items}:
            return tuple(_joined(v, arrays) for v in items)
        case _:
            return plan
