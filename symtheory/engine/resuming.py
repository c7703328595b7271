"""A long training keeps its state now and then, so that after an interruption it goes on from there.

Whoever calls the training names a folder (:func:`keeping`); without one nothing is kept. What a run gives must not
depend on where it was interrupted: whoever uses this keeps *all* of its state, randomness included.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

_FOLDER: ContextVar[Path | None] = ContextVar("symtheory_resuming", default=None)
_NAME = "state.pt"


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
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # whatever a damaged file makes torch raise, the training can begin anew
            return None

    def keep(self, state: dict[str, Any]) -> bool:
        """Keep a state in place of the last, if it is time; a process that dies meanwhile leaves the last one.

        Args:
            state: Tensors, numbers, strings, lists and dictionaries.

        Returns:
            Whether it was kept.
        """
        folder = _FOLDER.get()
        if folder is None or time.monotonic() - self._last < self._every:
            return False
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"{_NAME}.{os.getpid()}"
        torch.save(state, fresh)
        fresh.replace(folder / _NAME)
        self._last = time.monotonic()
        return True
