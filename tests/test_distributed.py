"""Dask: the same bytes as in one process; each shard once, whatever dies; every mistake gets one clear message."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
import distributed
from distributed import LocalCluster

from symtheory.errors import SymtheoryError
from symtheory.lab import distributed as lab_distributed
from symtheory.lab import identity, workers
from symtheory.lab.distributed import Dask
from symtheory.lab.executors import Progress, Serial, ShardFailedError
from symtheory.lab.files import encode
from symtheory.lab.runs import executor_for, run_figure
from symtheory.lab.store import Store
from tests.fake_program import start
from tests.fake_shards import draw
from tests.fakes import FakeFigure
from tests.test_executors import alive, children, content, launch

ROOT = Path(__file__).resolve().parents[1]
SHARDS = [{"seed": seed, "seconds": 0.03} for seed in range(24)]
linux = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Seeds of all calls of the shard function, in all processes that are started in this module."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("log") / "calls"
        patch.setenv("FAKE_LOG", str(path))
        yield path


@pytest.fixture(scope="module")
def pair(log: Path) -> Iterator[LocalCluster]:
    """A scheduler with two workers, each under a nanny that starts it again."""
    with LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0", silence_logs=60) as c:
        yield c


@pytest.fixture
def cluster(pair: LocalCluster) -> LocalCluster:
    """The same, with both workers there: a test before may have killed one."""
    pair.wait_for_workers(2, timeout=120)
    return pair


@pytest.fixture
def bare(log: Path) -> Iterator[LocalCluster]:
    """A scheduler without workers."""
    with LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=60) as c:
        yield c


@contextlib.contextmanager
def worker(address: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as one starts it by hand, without a nanny."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
    options = ["--no-dashboard", "--memory-limit", "0"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([*command, *options], cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def calls(log: Path) -> collections.Counter[str]:
    """How often each seed was computed since the last time somebody asked."""
    found = collections.Counter(log.read_text().split() if log.exists() else [])
    log.write_text("")
    return found


def stored_once(store: Path, count: int) -> bool:
    """Whether every shard is there once, and nothing else is."""
    names = [p.suffix for p in store.rglob("*") if p.is_file()]
    return sorted(names) == sorted([".json", ".nc"] * count) and len(list(store.glob("F1/*"))) == count


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


class At:
    """Does something when the given numbers of shards are done, and writes down every report."""

    def __init__(self, actions: dict[int, Callable[[], None]]) -> None:
        self.actions, self.seen = actions, []

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress.done)
        self.actions.get(progress.done, lambda: None)()


@pytest.fixture(scope="module")
def wanted() -> list[bytes]:
    return content(Serial().map("F1", draw, SHARDS))


# The same bytes, each shard once


def test_nothing_depends_on_where_a_shard_is_computed(
    cluster: LocalCluster, log: Path, tmp_path: Path, wanted: list[bytes]
) -> None:
    calls(log)
    store = Store(tmp_path / "s")
    assert content(Dask(store, address=cluster.scheduler_address).map("F1", draw, SHARDS)) == wanted
    assert stored_once(store.root, len(SHARDS)) and set(calls(log).values()) == {1}
    absent = Dask(store, address="tcp://127.0.0.1:9")
    assert content(absent.map("F1", draw, SHARDS)) == wanted, "nothing is missing, so nobody is asked"
    assert not calls(log)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_worker_that_is_killed_and_comes_back(
    cluster: LocalCluster, log: Path, tmp_path: Path, wanted: list[bytes]
) -> None:
    calls(log)
    (victim, *_) = [nanny.pid for nanny in cluster.workers.values()]
    at = At({7: lambda: os.kill(victim, signal.SIGKILL)})
    executor = Dask(Store(tmp_path / "s"), at, address=cluster.scheduler_address)
    assert content(executor.map("F1", draw, SHARDS)) == wanted
    assert not alive(victim) and stored_once(tmp_path / "s", len(SHARDS))
    assert at.seen == list(range(len(SHARDS) + 1)), "each arrives once"
    found = calls(log)
    assert len(found) == len(SHARDS) and max(found.values()) <= 2, "again only what the victim had"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_workers_that_are_killed_for_good(bare: LocalCluster, log: Path, tmp_path: Path, wanted: list[bytes]) -> None:
    """One of two dies, the other goes on; when that dies too the run says so, and continues with a third."""
    calls(log)
    address, store = bare.scheduler_address, Store(tmp_path / "s")
    with worker(address) as first, worker(address) as second:
        assert within(30, lambda: len(bare.scheduler.workers) == 2)
        at = At({5: first.kill, 12: second.kill})
        with pytest.raises(SymtheoryError, match=r"workers to compute the other shards, got none for 1 s; start some"):
            Dask(store, at, address=address, patience=1.0).map("F1", draw, SHARDS)
    kept = len(list(store.root.rglob("*.nc")))
    assert 12 <= kept < len(SHARDS) and at.seen == list(range(kept + 1)) and stored_once(store.root, kept)
    assert max(calls(log).values()) <= 3
    with worker(address):
        executor = Dask(store, address=address)
        assert content(executor.map("F1", draw, SHARDS)) == wanted
    assert executor.history[-1].reused == kept and stored_once(store.root, len(SHARDS))
    assert sum(calls(log).values()) == len(SHARDS) - kept


def test_two_runs_on_one_scheduler_and_one_store(cluster: LocalCluster, tmp_path: Path, wanted: list[bytes]) -> None:
    """One of them in another process; neither takes the tasks of the other for its own."""
    other = launch(cluster.scheduler_address, tmp_path / "s", tmp_path / "out", count=24, seconds=0.03)
    mine = content(Dask(Store(tmp_path / "s"), address=cluster.scheduler_address).map("F1", draw, SHARDS))
    _, stderr = other.communicate(timeout=60)
    assert other.returncode == 0, stderr.decode()
    joined = xr.concat(Serial(Store(tmp_path / "s")).map("F1", draw, SHARDS), "seed", combine_attrs="drop")
    assert mine == wanted and (tmp_path / "out").read_bytes() == encode(joined)
    assert stored_once(tmp_path / "s", len(SHARDS))


# Ends before the end


def test_an_interrupt_leaves_the_cluster_clean(
    cluster: LocalCluster, log: Path, tmp_path: Path, wanted: list[bytes]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    store = Store(tmp_path / "s")
    with pytest.raises(KeyboardInterrupt):
        Dask(store, At({4: interrupt}), address=cluster.scheduler_address).map("F1", draw, SHARDS)
    assert within(5, lambda: not cluster.scheduler.tasks and not cluster.scheduler.clients.keys() - {"fire-and-forget"})
    assert stored_once(store.root, 4)
    reused = {str(shard["seed"]) for shard in SHARDS if store.get(identity.identify("F1", draw, shard)) is not None}
    calls(log)
    assert content(Dask(store, address=cluster.scheduler_address).map("F1", draw, SHARDS)) == wanted
    found = calls(log)  # each worker may have finished one shard that it had begun before the interrupt
    assert set(found) == {str(seed) for seed in range(24)} - reused and sum(found.values()) <= len(SHARDS) - 4 + 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_leaves_the_cluster_clean(
    cluster: LocalCluster, log: Path, tmp_path: Path, wanted: list[bytes]
) -> None:
    store = tmp_path / "s"
    process = launch(cluster.scheduler_address, store, tmp_path / "out", count=24, seconds=0.03)
    goal = random.Random(0).randint(1, 12)
    assert within(60, lambda: len(list(store.rglob("*.nc"))) >= goal or process.poll() is not None)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert within(10, lambda: not cluster.scheduler.tasks)
    assert content(Dask(Store(store), address=cluster.scheduler_address).map("F1", draw, SHARDS)) == wanted


@linux
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)], ids=["interrupted", "killed"])
def test_workers_on_this_machine_end_with_the_run(how: signal.Signals, code: int, tmp_path: Path) -> None:
    """The signal goes to every process of the terminal, as Ctrl-C does, or to the run alone."""
    line = ["run", "F1", "--executor", "dask", "--jobs", "2", "--preset", "paper", "--set", "seconds=0.5"]
    process = start([*line, "--results", str(tmp_path / "r")], tmp_path / "s")
    assert within(60, lambda: len(list((tmp_path / "s").rglob("*.nc"))) >= 3)
    started = children(process.pid)
    assert len(started) >= 2
    os.killpg(process.pid, how) if how == signal.SIGINT else process.kill()
    if not within(3, lambda: process.poll() is not None):  # Python drops an interrupt that falls into a finaliser
        os.killpg(process.pid, how)
    _, stderr = process.communicate(timeout=30)
    # an interrupt can fall between the making of an object and its first attribute; Python notes what its end says
    stderr = re.sub(rb"Exception ignored in.*\nTraceback .*\n(?:[ \t].*\n)*\S.*\n?", b"", stderr)
    assert process.returncode == code and b"Traceback" not in stderr, stderr.decode()
    assert within(10, lambda: not any(map(alive, started)))
    if how == signal.SIGINT:
        (message,) = [text for text in stderr.splitlines() if text.strip()]
        assert b"the same command continues" in message


def test_workers_here_have_the_threads_of_the_executor() -> None:
    import torch

    threads, variables = torch.get_num_threads(), dict(os.environ)
    (there,) = Dask(jobs=2, threads=2).map("F1", draw, [{"seed": 0, "fail": "threads"}])
    assert int(there["torch"]) == 2 and list(there["variables"].values) == ["2", "2"]
    assert int(there["pid"]) != os.getpid() and torch.get_num_threads() == threads
    assert {k: v for k, v in os.environ.items() if "THREADS" in k} == {
        k: v for k, v in variables.items() if "THREADS" in k
    }


# What goes wrong


@pytest.mark.parametrize(
    ("fail", "error", "message"),
    [
        ("refuse", SymtheoryError, "expected a small rate, got a large one; lower it"),
        ("raise", ShardFailedError, r"shard .*of F1[\s\S]*ZeroDivisionError: a bug"),
        ("nan", SymtheoryError, "finite values in 'value' of a shard of F1, got 1 of 2 NaN"),
        ("die", SymtheoryError, "worker processes to live, got a shard on which 1 died .*more memory.*shards are kept"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_told_here(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, fail: str, error: type[Exception], message: str
) -> None:
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(error, match=message):
        Dask(address=cluster.scheduler_address).map("F1", draw, [{"seed": 0, "fail": fail}])


@pytest.mark.parametrize(
    ("listening", "reason"), [(False, "connection refused"), (True, "no answer in 1 s")], ids=["nobody", "another"]
)
def test_where_there_is_no_scheduler(monkeypatch: pytest.MonkeyPatch, listening: bool, reason: str) -> None:
    monkeypatch.setattr(lab_distributed, "CONNECT_SECONDS", 1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listening:
            other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(
            SymtheoryError, match=f"a Dask scheduler at {address}, got none \\({reason}.*'dask scheduler'"
        ):
            Dask(address=address).map("F1", draw, SHARDS)


def test_where_there_is_no_worker(bare: LocalCluster) -> None:
    with pytest.raises(SymtheoryError, match=r"got none for 0.2 s; .*dask worker tcp://.* --nthreads 1.*--patience"):
        Dask(address=bare.scheduler_address, patience=0.2).map("F1", draw, SHARDS)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SymtheoryError, match=r"the package distributed.*pip install 'symtheory\[distributed\]'"):
        Dask().map("F1", draw, SHARDS)


@pytest.mark.parametrize("address", ["host", "tcp://host", "http://host:1", "tcp://host:port"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(SymtheoryError, match="tcp://host:port or tls://host:port"):
        Dask(address=address)


def test_another_python_or_dask(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = distributed.Client.get_versions

    def older(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = ask(self, *args, **kwargs)
        found["scheduler"]["packages"]["python"] = "3.9.1.final.0"
        return found

    monkeypatch.setattr(distributed.Client, "get_versions", older)
    with pytest.raises(
        SymtheoryError, match=r"the same Python and Dask.*, got python 3\.9 for 3\.\d+ at the scheduler"
    ):
        Dask(address=cluster.scheduler_address).map("F1", draw, SHARDS)


def test_other_source(cluster: LocalCluster, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls(log)
    monkeypatch.setattr(workers, "source_digest", lambda: "0" * 64)
    with pytest.raises(SymtheoryError, match="the same symtheory everywhere, got other source at tcp://"):
        Dask(address=cluster.scheduler_address).map("F1", draw, SHARDS)
    assert not calls(log)


def test_other_libraries(cluster: LocalCluster, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls(log)
    monkeypatch.setattr(identity, "library_versions", lambda: {**identity_versions(), "numpy": "0.1"})
    with pytest.raises(SymtheoryError, match=r"the same libraries everywhere, got numpy [\d.]+ for 0\.1 at tcp://"):
        Dask(address=cluster.scheduler_address).map("F1", draw, SHARDS)
    assert not calls(log)


identity_versions = identity.library_versions


def test_a_function_that_workers_do_not_have(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text(
        "from tests.fake_shards import draw as d\ndef f(shard):\n    return d(shard)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from only_here import f  # type: ignore[import-not-found]

    with pytest.raises(SymtheoryError, match=r"can import the shard function, got .*No module named 'only_here'"):
        Dask(address=cluster.scheduler_address).map("F1", f, SHARDS)


def test_workers_with_several_threads() -> None:
    """In this process, which is quicker; two shards at once would change the threads of torch under each other."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=":0", silence_logs=60
        ) as c,
        pytest.raises(SymtheoryError, match=r"one shard at a time, got one with 2 threads .*--nworkers 2 --nthreads 1"),
    ):
        Dask(address=c.scheduler_address).map("F1", draw, SHARDS)


# Devices and the command line


def test_the_device_is_that_of_the_workers(cluster: LocalCluster) -> None:
    executor = Dask(address=cluster.scheduler_address)
    kind, place = executor.device("cpu")
    assert kind == "cpu" and place["workers"] == 2 and place["kind"] == "cpu" and place["name"]
    with pytest.raises(SymtheoryError, match=r"a device among .*, got 'tpu' on a worker"):
        executor.device("tpu")


def test_devices_that_differ(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {
        "a": ("cuda", {"kind": "cuda", "name": "A"}),
        "b": ("cuda", {"kind": "cuda", "name": "B"}),
    }
    monkeypatch.setattr(distributed.Client, "run", lambda *_: answers)
    executor = Dask(address=cluster.scheduler_address)
    assert executor.device("auto") == ("cuda", {"kind": "cuda", "name": "A + B", "workers": 2})
    answers["b"] = ("cpu", {"kind": "cpu", "name": "B", "cores": 1})
    with pytest.raises(SymtheoryError, match="workers with the same device, got cpu and cuda; use --device"):
        executor.device("auto")


def test_a_run_says_how_many_workers_there_were(cluster: LocalCluster, tmp_path: Path) -> None:
    executor = executor_for(1, Store(tmp_path / "s"), kind=cluster.scheduler_address)
    there, record = run_figure(FakeFigure(), "smoke", executor=executor, results_root=tmp_path / "r")
    here, _ = run_figure(FakeFigure(), "smoke")
    assert record.device["workers"] == 2 and encode(there) == encode(here)
