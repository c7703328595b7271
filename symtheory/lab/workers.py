"""What a Dask worker does for :mod:`symtheory.lab.distributed`.

A worker computes one shard at a time, and only if it would file it under the same name: before each it compares the
source of ``symtheory``, the code of the shard function and the versions of the libraries with those of the process that
waits. So neither a worker that joins late nor one that still runs yesterday's code puts its numbers under today's key.
"""

from __future__ import annotations

import functools
import json
import signal
from pathlib import Path
from typing import Any

from symtheory.errors import SymtheoryError
from symtheory.lab import devices
from symtheory.lab.attempts import Outcome, Shard, ShardFunction, attempt
from symtheory.lab.files import digest
from symtheory.lab.identity import Identity, identify


def attempt_there(
    identity: Identity, shard: Shard, unfinished: Path | None, sent: bytes, threads: int, source: str
) -> Outcome:
    """Compute one shard in a Dask worker, if it is fit for it.

    Args:
        identity: What the shard is filed under.
        shard: Its settings.
        unfinished: Where a long shard keeps its state; workers on other machines need not see the same folder.
        sent: The shard function as Dask sends functions. It is opened here, since a worker that met an unknown module
            while it reads its messages would break down.
        threads: Torch threads.
        source: :func:`source_digest` of the process that waits.

    Returns:
        The sealed dataset, or what went wrong.
    """
    from distributed.protocol.pickle import loads

    try:
        function: ShardFunction = loads(sent)
    except Exception as error:
        remedy = "install this symtheory and its libraries where workers run, and start them again"
        told = f"{type(error).__name__}: {error}"
        return Outcome(b"", 0.0, refusal=("workers that can import the shard function", told, remedy))
    if refusal := _unfit(identity, shard, function, source):
        return Outcome(b"", 0.0, refusal=refusal)
    return attempt(function, identity, shard, threads, unfinished)


def _unfit(identity: Identity, shard: Shard, function: ShardFunction, source: str) -> tuple[str, str, str] | None:
    """Why this worker must not compute a shard, if it must not."""
    from distributed import get_worker

    worker = get_worker()
    if (slots := worker.state.nthreads) != 1:
        remedy = f"start it with --nworkers {slots} --nthreads 1, since torch has one number of threads a process"
        return "workers that compute one shard at a time", f"one with {slots} threads at {worker.address}", remedy
    same, remedy = "the same symtheory everywhere", "bring the machines to one version and start their workers again"
    if source != source_digest():
        return same, f"other source at {worker.address}", remedy
    try:
        own = identify(identity.figure, function, shard)
    except SymtheoryError as error:
        return error.expected, f"{error.got} at {worker.address}", error.remedy
    theirs, ours = json.loads(own.libraries), json.loads(identity.libraries)
    if other := sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name)):
        told = ", ".join(f"{name} {theirs.get(name)} for {ours.get(name)}" for name in other)
        return "the same libraries everywhere", f"{told} at {worker.address}", remedy
    return None if own == identity else (same, f"another {identity.function} at {worker.address}", remedy)


@functools.cache
def source_digest() -> str:
    """Digest of all source files of the package, as they are when a process first asks.

    Returns:
        64 hexadecimal digits.
    """
    root = Path(__file__).resolve().parents[1]
    return digest(
        "".join(f"{p.relative_to(root)} {digest(p.read_bytes())}\n" for p in sorted(root.rglob("*.py"))).encode()
    )


source_digest()  # when a worker first hears of symtheory, so that later changes on the disk do not look like its own


def device_there(wanted: str) -> tuple[str | None, Any]:
    """The device of a worker.

    Args:
        wanted: ``cpu``, ``cuda`` or ``auto``.

    Returns:
        Its kind and what it is; else ``None`` with expected, got, remedy.
    """
    try:
        kind = devices.resolve(wanted)
        return kind, devices.describe(kind)
    except SymtheoryError as error:
        return None, (error.expected, error.got, error.remedy)


def dask_setup(worker: object) -> None:
    """Leave Ctrl-C to the run that started this worker; Dask calls this in workers that preload this module.

    Args:
        worker: Not needed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
