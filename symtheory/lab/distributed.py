"""Shards on several machines: an executor on a Dask cluster.

The process that runs the figure is the only one that reads and writes the store; workers get settings and send bytes.
A worker that dies loses what it computed and nothing else: the scheduler hands its shards to others, and each arrives
here once. When this process ends, however it ends, the scheduler drops the shards that nobody waits for.

What a worker does, and what makes it unfit, is in :mod:`symtheory.lab.workers`.

Dask is an extra, and is imported only when a shard is to be computed.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import queue
import re
import socket
import time
import urllib.parse
import uuid
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from symtheory.errors import SymtheoryError
from symtheory.lab import devices, workers
from symtheory.lab.attempts import Outcome, Shard, ShardFunction
from symtheory.lab.executors import THREAD_VARIABLES, StoringExecutor, environment
from symtheory.lab.identity import Identity

#: Seconds until a scheduler that does not answer is taken for absent.
CONNECT_SECONDS = 10
_ADDRESS = re.compile(r"(?:tcp|tls)://(?:[\w.-]+|\[[\da-fA-F:]+\]):\d+")
#: Seconds between two looks at the workers while no shard arrives.
_LOOK_SECONDS = 0.5
#: Seconds that a shard may take from a worker to here; then others come first.
_HANDOVER_SECONDS = 5.0
_KEPT = "finished shards are kept, and the same command continues from there"


@dataclass
class Dask(StoringExecutor):
    """Shards on the workers of a Dask scheduler.

    Attributes:
        address: Of the scheduler, ``tcp://host:port`` or ``tls://host:port``; ``None`` starts workers on this machine
            for the time of a map.
        jobs: How many of them; where there is a scheduler it has its workers already.
        patience: Seconds to wait for a worker while there is none.
    """

    address: str | None = None
    jobs: int = 1
    patience: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jobs < 1:
            raise SymtheoryError("at least one worker", f"{self.jobs}", "use --jobs 1 or more")
        if self.address is not None and not _ADDRESS.fullmatch(self.address):
            raise SymtheoryError(
                "tcp://host:port or tls://host:port", repr(self.address), "see what the scheduler names"
            )

    def device(self, wanted: str) -> tuple[devices.Device, dict[str, str | int]]:
        """The device of the workers, which is not that of this process.

        Args:
            wanted: ``cpu``, ``cuda``, or ``auto`` for GPUs if the workers have them.

        Returns:
            ``cpu`` or ``cuda``, and what it is, with the number of ``workers`` there are at the start; a field in
            which they differ names all its values.

        Raises:
            SymtheoryError: If a worker has no such device, or ``auto`` means different ones.
        """
        if self.address is None:
            return super().device(wanted)
        with self._client() as client:
            found: list[tuple[Any, Any]] = list(client.run(workers.device_there, wanted).values())
        for _, refusal in found:
            if isinstance(refusal, tuple):
                raise SymtheoryError(refusal[0], f"{refusal[1]} on a worker", refusal[2])
        kinds = sorted({kind for kind, _ in found})
        if len(kinds) != 1:
            raise SymtheoryError("workers with the same device", " and ".join(kinds), "use --device cpu or cuda")
        place: dict[str, str | int] = {}
        for field in found[0][1]:
            values = sorted({place[field] for _, place in found})
            place[field] = values[0] if len(values) == 1 else " + ".join(map(str, values))
        return kinds[0], {**place, "workers": len(found)}

    def compute(
        self, function: ShardFunction, missing: Sequence[tuple[Identity, Shard]]
    ) -> Iterator[tuple[Identity, Outcome]]:
        """Compute shards wherever there is a worker.

        Args:
            function: The shard function; workers import it by name.
            missing: What to compute.

        Yields:
            Each shard as soon as it is finished.

        Raises:
            SymtheoryError: If there is no scheduler or no worker, or if workers differ from this process or die.
        """
        if not missing:
            return
        with self._client(min(self.jobs, len(missing))) as client:
            run = uuid.uuid4().hex  # two clients of one scheduler do not share tasks: they may differ in code
            identities, shards = zip(*missing, strict=True)
            keys = [f"{identity.figure}-{identity.key}-{run}" for identity in identities]
            from distributed.protocol.pickle import dumps

            options = {"sent": dumps(function), "threads": self.threads, "source": workers.source_digest()}
            places = [self.unfinished(identity) for identity in identities]
            futures = client.map(workers.attempt_there, identities, shards, places, key=keys, pure=False, **options)
            waiting = dict(zip(keys, identities, strict=True))
            arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
            try:
                for future in futures:
                    future.add_done_callback(arrived.put)
                seen = time.monotonic()
                while waiting:
                    with contextlib.suppress(queue.Empty):
                        future = arrived.get(timeout=_LOOK_SECONDS)
                        if (outcome := self._outcome(future)) is not None:
                            yield waiting.pop(future.key), outcome
                            future.release()
                            seen = time.monotonic()
                            continue
                        arrived.put(future)
                    seen = self._look(client, seen)
            finally:  # after an error or an interrupt: nobody will read the others
                with contextlib.suppress(OSError):
                    client.cancel([future for future in futures if future.key in waiting], force=True)

    def _look(self, client: Any, seen: float) -> float:
        """When there was a worker last; refuses to wait for ever for a cluster that has none."""
        with contextlib.suppress(OSError):
            if client.nthreads():
                return time.monotonic()
        if time.monotonic() - seen > self.patience:
            raise SymtheoryError(
                "workers to compute the other shards", f"none for {self.patience:g} s", f"start some; {_KEPT}"
            )
        return seen

    def _outcome(self, future: Any) -> Outcome | None:
        """What a future brought; ``None`` if its worker died before it could hand it over, so that it is not done."""
        from distributed import KilledWorker

        try:
            return future.result(timeout=min(_HANDOVER_SECONDS, max(self.patience, _LOOK_SECONDS)))
        except TimeoutError:
            return None
        except KilledWorker as error:
            raise SymtheoryError(
                "all worker processes to live",
                f"a shard on which {error.allowed_failures + 1} died one after another (killed, or out of memory)",
                f"give workers more memory, or start fewer of them; {_KEPT}",
            ) from error
        except (CancelledError, OSError) as error:
            raise SymtheoryError(
                "the scheduler to stay until the last shard", "a lost connection", f"start one again; {_KEPT}"
            ) from error
        except Exception as error:  # whatever the shard function raises is data by now
            raise SymtheoryError(
                "workers that can import the shard function",
                f"{type(error).__name__}: {error}",
                "install this symtheory and its libraries where they run, and start them again",
            ) from error

    @contextlib.contextmanager
    def _client(self, jobs: int = 1) -> Iterator[Any]:
        """A connection with at least one worker at its other end, closed afterwards."""
        library = _library()
        with contextlib.ExitStack() as stack:
            stack.enter_context(_quiet())
            address = self.address
            if address is None:
                address = stack.enter_context(_cluster(library, jobs, self.threads)).scheduler_address
            try:
                _listen(address)
                client = stack.enter_context(library.Client(address, timeout=CONNECT_SECONDS, set_as_default=False))
            except OSError as error:
                reason = error.strerror or f"no answer in {CONNECT_SECONDS} s"
                remedy = "start one with 'dask scheduler' and take the address it names"
                raise SymtheoryError(f"a Dask scheduler at {address}", f"none ({reason.lower()})", remedy) from error
            try:
                client.wait_for_workers(1, timeout=self.patience)
            except TimeoutError as error:
                remedy = f"start some with 'dask worker {address} --nthreads 1', or wait longer with --patience"
                raise SymtheoryError("workers to compute shards", f"none for {self.patience:g} s", remedy) from error
            _require_versions(client)
            yield client


def _library() -> ModuleType:
    """Dask's distributed scheduler, which is an extra."""
    try:
        import distributed
    except ImportError as error:
        remedy = "run pip install 'symtheory[distributed]'"
        raise SymtheoryError("the package distributed, for runs with Dask", "none", remedy) from error
    return distributed


def _listen(address: str) -> None:
    """Wait for the first byte of a scheduler, since Dask would wait for ever for that of another kind of server."""
    place = urllib.parse.urlsplit(address)
    with socket.create_connection((place.hostname, place.port), CONNECT_SECONDS) as line:
        if place.scheme == "tcp" and not line.recv(1):
            raise ConnectionResetError(errno.ECONNRESET, "it hung up")


@contextlib.contextmanager
def _cluster(library: ModuleType, jobs: int, threads: int) -> Iterator[Any]:
    """Workers on this machine, one process each, without a limit of memory and without a web page."""
    with environment(dict.fromkeys(THREAD_VARIABLES, str(threads))):
        cluster = library.LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
            preload=workers.__name__,
        )
    with cluster:
        yield cluster


def _require_versions(client: Any) -> None:
    """Refuse a cluster whose Python or Dask is another, before they misunderstand each other."""
    found = client.get_versions()
    own = _spoken(found["client"])
    others = {"the scheduler": found["scheduler"], **found["workers"]}
    for who, versions in others.items():
        if (theirs := _spoken(versions)) != own:
            told = ", ".join(f"{name} {theirs[name]} for {own[name]}" for name in own if theirs[name] != own[name])
            raise SymtheoryError(
                "the same Python and Dask everywhere", f"{told} at {who}", "use one environment on all machines"
            )


def _spoken(versions: dict[str, Any]) -> dict[str, str]:
    """Versions that have to agree: Python up to its second number, and Dask."""
    packages = versions["packages"]
    python = ".".join(str(packages["python"]).split(".")[:2])
    return {"python": python, "dask": packages["dask"], "distributed": packages["distributed"]}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own notes to itself: what a user can mend comes as an error."""
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="distributed")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
