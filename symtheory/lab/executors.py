"""Executors: they map a shard function over shards, keep what is finished, and skip what is already there.

What they share is in :class:`StoringExecutor`: find the shards in the store, hand the missing ones to
:meth:`StoringExecutor.compute`, file each as soon as it arrives, return all in order. How the missing ones are computed
is the only thing an executor adds: here one after another or in worker processes, in :mod:`symtheory.lab.distributed`
on several machines. No figure notices.

Every dataset goes through the bytes that are stored, also when nothing is stored, so that a run gives the same result
whether its shards were computed now, before a crash, or in another process.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from symtheory.engine.images import Loader
from symtheory.errors import SymtheoryError
from symtheory.lab import attempts, data, devices
from symtheory.lab.attempts import Outcome, Shard, ShardFunction
from symtheory.lab.identity import Identity, canonical, identify
from symtheory.lab.store import Store, unseal

#: Read by the linear-algebra libraries when a worker starts.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Progress:
    """How far a map is.

    Attributes:
        figure: Id of the figure.
        done: Shards finished, with those found in the store.
        total: Shards asked for.
        reused: Shards found in the store.
        seconds: Computing time of the finished shards, also of those found.
    """

    figure: str
    done: int
    total: int
    reused: int
    seconds: float


ProgressCallback = Callable[[Progress], None]


class ShardFailedError(RuntimeError):
    """A shard function raised in a worker process; the message is the traceback from there."""


@dataclass
class StoringExecutor:
    """What all executors share.

    Attributes:
        store: Where finished shards are kept; ``None`` keeps none.
        progress: Told after every shard.
        threads: Torch threads for each shard that is being computed.
    """

    store: Store | None = None
    progress: ProgressCallback | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        #: One entry for every call of :meth:`map`: how it ended, or how far it came.
        self.history: list[Progress] = []

    @property
    def load(self) -> Loader:
        """Where figures get their data sets from."""
        return data.load

    def map(self, figure_id: str, function: ShardFunction, shards: Sequence[Shard]) -> list[xr.Dataset]:
        """Call ``function`` on every shard that is not in the store yet.

        Args:
            figure_id: Under which the shards are filed.
            function: Pure function of a shard that can be imported by name.
            shards: Settings of the parts, as JSON values. Equal shards are computed once.

        Returns:
            One dataset a shard, in order.

        Raises:
            SymtheoryError: If a shard cannot be identified, computed or stored. Finished shards are kept.
            ShardFailedError: If the function raises anything else in a worker process.
        """
        plain: list[Shard] = [json.loads(canonical(shard)) for shard in shards]
        identities = [identify(figure_id, function, shard) for shard in plain]
        distinct = dict(zip(identities, plain, strict=True))
        if self.store is not None:
            self.store.sweep()
        found: dict[Identity, xr.Dataset] = {}
        seconds = 0.0
        for identity in distinct:
            if self.store is not None and (dataset := self.store.get(identity)) is not None:
                found[identity] = dataset
                seconds += self.store.seconds(identity)
        reused = len(found)
        self.history.append(Progress(figure_id, reused, len(distinct), reused, seconds))
        self._tell()
        missing = [(identity, shard) for identity, shard in distinct.items() if identity not in found]
        for identity, outcome in self.compute(function, missing):
            if outcome.refusal:
                raise SymtheoryError(*outcome.refusal)
            if outcome.failure:
                raise ShardFailedError(f"shard {identity.settings} of {figure_id}\n{outcome.failure}")
            if self.store is not None:
                self.store.put(identity, outcome.payload, outcome.seconds)
            found[identity] = unseal(outcome.payload, identity, f"a shard of {figure_id}")
            seconds += outcome.seconds
            self.history[-1] = Progress(figure_id, len(found), len(distinct), reused, seconds)
            self._tell()
        return [found[identity].copy(deep=True) for identity in identities]

    def device(self, wanted: str) -> tuple[devices.Device, dict[str, str | int]]:
        """The device that shards are computed on.

        Args:
            wanted: ``cpu``, ``cuda``, or ``auto`` for a GPU if there is one.

        Returns:
            ``cpu`` or ``cuda``, and what it is (:func:`symtheory.lab.devices.describe`).
        """
        kind = devices.resolve(wanted)
        return kind, devices.describe(kind)

    def compute(
        self, function: ShardFunction, missing: Sequence[tuple[Identity, Shard]]
    ) -> Iterator[tuple[Identity, Outcome]]:
        """Compute shards, in any order.

        Args:
            function: The shard function.
            missing: What to compute.

        Returns:
            Each shard as soon as it is finished.
        """
        raise NotImplementedError

    def unfinished(self, identity: Identity) -> Path | None:
        """Where a long shard keeps its state while it is computed.

        Args:
            identity: What the shard depends on.

        Returns:
            A folder; ``None`` if nothing is stored.
        """
        return None if self.store is None else self.store.unfinished(identity)

    def _tell(self) -> None:
        """Report the latest progress."""
        if self.progress is not None:
            self.progress(self.history[-1])


class Serial(StoringExecutor):
    """One shard after another, in this process."""

    def compute(
        self, function: ShardFunction, missing: Sequence[tuple[Identity, Shard]]
    ) -> Iterator[tuple[Identity, Outcome]]:
        """Compute shards in order.

        Args:
            function: The shard function.
            missing: What to compute.

        Yields:
            Each shard as soon as it is finished.
        """
        for identity, shard in missing:
            yield identity, attempts.compute(function, identity, shard, self.threads, self.unfinished(identity))


@dataclass
class ProcessPool(StoringExecutor):
    """Shards in worker processes on this machine, started afresh (*spawn*), with ``threads`` threads each.

    Attributes:
        jobs: Number of processes.
    """

    jobs: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jobs < 1:
            raise SymtheoryError("at least one process", f"{self.jobs}", "use --jobs 1 or more")

    def compute(
        self, function: ShardFunction, missing: Sequence[tuple[Identity, Shard]]
    ) -> Iterator[tuple[Identity, Outcome]]:
        """Compute shards side by side.

        Args:
            function: The shard function.
            missing: What to compute.

        Yields:
            Each shard as soon as it is finished.

        Raises:
            SymtheoryError: If a worker process dies.
        """
        if not missing:
            return
        context = multiprocessing.get_context("spawn")
        before = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(min(self.jobs, len(missing)), mp_context=context, initializer=_start_worker)
        try:
            with environment(dict.fromkeys(THREAD_VARIABLES, str(self.threads))):
                futures = {
                    pool.submit(attempts.attempt, function, i, s, self.threads, self.unfinished(i)): i
                    for i, s in missing
                }
            for future in as_completed(futures):
                yield futures[future], future.result()
            pool.shutdown()
        except BrokenProcessPool as error:
            raise SymtheoryError(
                "all worker processes to live",
                "one that died (killed, or out of memory)",
                "run again with fewer --jobs; finished shards are kept",
            ) from error
        finally:  # after an error or an interrupt: do not wait for shards that nobody will read
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()


def _start_worker() -> None:
    """Leave interrupts to the parent, and end when it ends, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    """Wait for the end of the parent process, then end this one."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started meanwhile.

    Args:
        values: By name.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
