"""Executors: the same bytes however the shards are computed, also across crashes; nothing finished is lost."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.lab.executors import ProcessPool, Progress, Serial, ShardFailedError, StoringExecutor
from symtheory.lab.files import encode
from symtheory.lab.identity import identify
from symtheory.lab.store import Store, StoreWarning
from tests.fake_shards import draw

ROOT = Path(__file__).resolve().parents[1]
SEEDS = [{"seed": seed} for seed in (3, 1, 2)]


def content(datasets: list[xr.Dataset]) -> list[bytes]:
    return [encode(d) for d in datasets]


def calls(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def test_results_come_in_the_order_of_the_shards() -> None:
    assert [d.attrs["seed"] for d in Serial().map("F1", draw, SEEDS)] == [3, 1, 2]


def test_shards_in_the_store_are_not_computed_again(tmp_path: Path, log: Path) -> None:
    events: list[Progress] = []
    first = Serial(Store(tmp_path / "s")).map("F1", draw, SEEDS[:2])
    executor = Serial(Store(tmp_path / "s"), events.append)
    again = executor.map("F1", draw, SEEDS)
    assert calls(log) == ["3", "1", "2"] and content(again)[:2] == content(first)
    assert [(e.done, e.total, e.reused) for e in events] == [(2, 3, 2), (3, 3, 2)]
    assert executor.history == events[-1:] and events[-1].seconds > 0


def test_equal_shards_are_computed_once(log: Path) -> None:
    one, other = Serial().map("F1", draw, [{"seed": 1}, {"seed": 1}])
    assert calls(log) == ["1"] and one.identical(other)
    one["value"][0] = 0.0
    assert not one.identical(other)


def test_nothing_depends_on_the_executor_or_the_store(tmp_path: Path, log: Path) -> None:
    bare = content(Serial().map("F1", draw, SEEDS))
    assert content(ProcessPool(Store(tmp_path / "pool"), jobs=2).map("F1", draw, SEEDS)) == bare
    assert content(Serial(Store(tmp_path / "serial")).map("F1", draw, SEEDS)) == bare
    before = calls(log)
    assert content(Serial(Store(tmp_path / "pool")).map("F1", draw, SEEDS)) == bare
    assert calls(log) == before
    stores = [sorted(p.relative_to(tmp_path / s) for p in (tmp_path / s).rglob("*.nc")) for s in ("pool", "serial")]
    assert stores[0] == stores[1] and len(stores[0]) == 3


def test_a_damaged_shard_is_computed_again(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "s")
    good = content(Serial(store).map("F1", draw, SEEDS))
    victim = next(store.folder(identify("F1", draw, SEEDS[1])).glob("*.nc"))
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.warns(StoreWarning, match="damaged shard"):
        assert content(Serial(store).map("F1", draw, SEEDS)) == good
    assert calls(log) == ["3", "1", "2", "1"]


def test_a_failure_keeps_what_was_finished(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "s")
    with pytest.raises(SymtheoryError, match="expected a small rate, got a large one; lower it"):
        Serial(store).map("F1", draw, [*SEEDS, {"seed": 9, "fail": "refuse"}])
    Serial(store).map("F1", draw, SEEDS)
    assert calls(log) == ["3", "1", "2", "9"]


@pytest.mark.parametrize(
    ("fail", "error", "message"),
    [
        ("refuse", SymtheoryError, "expected a small rate, got a large one; lower it"),
        ("raise", ShardFailedError, r"shard .*of F1[\s\S]*ZeroDivisionError: a bug"),
        ("die", SymtheoryError, "one that died.*run again with fewer --jobs"),
        ("nan", SymtheoryError, "finite values in 'value' of a shard of F1, got 1 of 2 NaN"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_told_here(fail: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ProcessPool(jobs=1).map("F1", draw, [{"seed": 0, "fail": fail}])


def test_an_exception_in_this_process_is_the_exception() -> None:
    with pytest.raises(ZeroDivisionError, match="a bug"):
        Serial().map("F1", draw, [{"seed": 0, "fail": "raise"}])


@pytest.mark.parametrize("executor", [Serial(), ProcessPool()], ids=["serial", "pool"])
def test_a_lambda_is_refused(executor: StoringExecutor) -> None:
    with pytest.raises(SymtheoryError, match=r"imported by name, got .*<lambda>; define it at the top"):
        executor.map("F1", lambda shard: draw({**shard, "seed": 1}), [{"seed": 0}])


def test_no_process_is_too_few() -> None:
    with pytest.raises(SymtheoryError, match="at least one process"):
        ProcessPool(jobs=0)


@pytest.mark.parametrize("threads", [1, 2])
def test_every_shard_has_the_same_number_of_threads(threads: int) -> None:
    import torch

    before, variables = torch.get_num_threads(), dict(os.environ)
    shards = [{"seed": 0, "fail": "threads"}]
    (here,) = Serial(threads=threads).map("F1", draw, shards)
    (there,) = ProcessPool(jobs=1, threads=threads).map("F1", draw, shards)
    assert int(here["torch"]) == int(there["torch"]) == threads
    assert list(there["variables"].values) == [str(threads)] * 2 and int(there["pid"]) != os.getpid()
    assert torch.get_num_threads() == before and dict(os.environ) == variables


def test_an_error_does_not_wait_for_the_other_shards() -> None:
    start = time.monotonic()
    with pytest.raises(SymtheoryError, match="a small rate"):
        ProcessPool(jobs=2).map("F1", draw, [{"seed": 0, "seconds": 60}, {"seed": 1, "fail": "refuse"}])
    while multiprocessing.active_children() and time.monotonic() - start < 20:
        time.sleep(0.05)
    assert time.monotonic() - start < 20


def launch(
    kind: str, store: Path, out: Path, count: int = 10, seconds: float = 0.06, **options: Any
) -> subprocess.Popen[bytes]:
    code = "import sys; from tests.fake_shards import main; main(*sys.argv[1:])"
    arguments = [kind, str(store), str(out), str(count), str(seconds)]
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, stderr=subprocess.PIPE, **options)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr.decode()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("kind", ["serial", "pool"])
def test_a_killed_run_resumes_and_ends_with_the_same_bytes(kind: str, tmp_path: Path) -> None:
    """Killed as soon as a random number of further shards is there, each time a little later within the next one."""
    rng = random.Random(kind)
    shards = [{"seed": seed, "seconds": 0.06} for seed in range(10)]
    wanted = encode(xr.concat(Serial().map("F1", draw, shards), "seed", combine_attrs="drop"))
    store, out, kills, lost = tmp_path / "store", tmp_path / "out.nc", 0, 0
    while not out.exists():
        here = len(list(store.rglob("*.nc")))
        lost += here
        process = launch(kind, store, out)
        goal = here + rng.randint(1, 4)
        while kills < 3 and process.poll() is None and len(list(store.rglob("*.nc"))) < goal:
            time.sleep(0.005)
        if kills < 3 and process.poll() is None:
            time.sleep(rng.uniform(0, 0.05))
            process.kill()
            process.communicate()
            kills += 1
            continue
        finish(process)
    assert kills >= 2 and lost > 0
    assert out.read_bytes() == wanted
    assert len(list(store.rglob("*.nc"))) == 10 and not list(store.rglob("*.damaged"))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    process = launch("pool", tmp_path / "store", tmp_path / "out", count=50, seconds=0.2)
    while not list((tmp_path / "store").rglob("*.nc")):
        time.sleep(0.02)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def children(pid: int) -> list[int]:
    """Processes that any thread of a process has started."""
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_two_processes_share_a_store(tmp_path: Path) -> None:
    runs = [launch(kind, tmp_path / "store", tmp_path / kind, seconds=0.02) for kind in ("serial", "pool")]
    for process in runs:
        finish(process)
    assert (tmp_path / "serial").read_bytes() == (tmp_path / "pool").read_bytes()
    assert len(list((tmp_path / "store").rglob("*.nc"))) == 10 and not list((tmp_path / "store").rglob("*.part"))
