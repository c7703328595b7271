"""One shard, computed: what every executor does with it, in whatever process.

The dataset is checked and becomes bytes where it was made, and an exception becomes data, since not every exception
survives the way to another process. Torch computes with a fixed number of threads, because the order of a sum depends
on it.
"""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.lab.files import require_finite
from symtheory.lab.identity import Identity
from symtheory.lab.store import seal

Shard = dict[str, Any]
ShardFunction = Callable[[Shard], xr.Dataset]


@dataclass(frozen=True)
class Outcome:
    """What became of one shard, in a form that crosses processes.

    Attributes:
        payload: Bytes of the sealed dataset; empty after a failure.
        seconds: Time it took.
        refusal: Expected, got, remedy of a :class:`SymtheoryError`.
        failure: Traceback of any other exception.
    """

    payload: bytes
    seconds: float
    refusal: tuple[str, str, str] | None = None
    failure: str | None = None


def compute(
    function: ShardFunction, identity: Identity, shard: Shard, threads: int, unfinished: Path | None = None
) -> Outcome:
    """Compute, check and seal one shard; exceptions go through.

    Args:
        function: The shard function.
        identity: What the shard is filed under.
        shard: Its settings.
        threads: Torch threads meanwhile.
        unfinished: Where a long shard keeps its state; ``None`` for nowhere.

    Returns:
        The sealed dataset.

    Raises:
        SymtheoryError: If the function gives no dataset, or one with values that are not finite.
    """
    start = time.perf_counter()
    with torch_threads(threads), _keeping(unfinished):
        dataset = function(shard)
    if not isinstance(dataset, xr.Dataset):
        raise SymtheoryError("an xarray.Dataset", type(dataset).__name__, f"mend {identity.function}")
    require_finite(dataset, f"a shard of {identity.figure}")
    return Outcome(seal(dataset, identity), time.perf_counter() - start)


def attempt(
    function: ShardFunction, identity: Identity, shard: Shard, threads: int, unfinished: Path | None = None
) -> Outcome:
    """The same in another process: exceptions become data.

    Args:
        function: The shard function.
        identity: What the shard is filed under.
        shard: Its settings.
        threads: Torch threads meanwhile.
        unfinished: Where a long shard keeps its state; ``None`` for nowhere.

    Returns:
        The sealed dataset, or what went wrong.
    """
    try:
        return compute(function, identity, shard, threads, unfinished)
    except SymtheoryError as error:
        return Outcome(b"", 0.0, refusal=(error.expected, error.got, error.remedy))
    except Exception:
        return Outcome(b"", 0.0, failure=traceback.format_exc())


def _keeping(unfinished: Path | None) -> contextlib.AbstractContextManager[None]:
    """Let long trainings keep their state; without torch there are none."""
    if unfinished is None or "torch" not in sys.modules:
        return contextlib.nullcontext()
    from symtheory.engine.resuming import keeping

    return keeping(unfinished)


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch, if it is loaded, use this many threads for a while.

    Args:
        threads: How many.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
