"""A run that is killed at any moment, and a disk that fills up: nothing done is lost, and the end is the same."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from symtheory.errors import SymtheoryError
from symtheory.lab.executors import Serial
from symtheory.lab.files import encode
from symtheory.lab.runs import run_figure
from symtheory.lab.store import Store
from tests.fake_shards import draw
from tests.fakes import FakeFigure

ROOT = Path(__file__).resolve().parents[1]
KILLS = 20
SHARDS = [{"seed": seed} for seed in range(30)]

#: Forks runs of the program, which has been imported by then, kills each so many seconds after the store has so many
#: shards as it is told (negative: never), and tells how it ended. A fork costs little, so that twenty runs can die at
#: twenty moments, and what dies is a real process. Shards are counted because the clock of a busy machine says little.
NURSERY = """
import os, pathlib, signal, sys, time
import xarray, h5netcdf, rich.progress, rich.table, typer
import symtheory.lab.runs, symtheory.lab.results, symtheory.cli.render, symtheory.cli.settings
from tests.fake_program import main
xarray.Dataset({"a": ("x", [1.0])}).to_netcdf(engine="h5netcdf")  # the first of these is slow
store = pathlib.Path(os.environ["SYMTHEORY_STORE"])
for line in sys.stdin:
    shards, delay, *arguments = line.split()
    if not (child := os.fork()):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1); os.dup2(null, 2)
        try:
            main(arguments)
        except SystemExit as stop:
            os._exit(stop.code or 0)
    begin = time.perf_counter()
    ended, found = 0, 0
    while int(shards) >= 0 and not ended and len(list(store.rglob("*.nc"))) < int(shards):
        ended, found = os.waitpid(child, os.WNOHANG)
        time.sleep(0.001)
    if int(shards) >= 0 and not ended:
        time.sleep(float(delay))
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(found if ended else os.waitpid(child, 0)[1])
    print(status, time.perf_counter() - begin, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_run_killed_at_twenty_moments_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Twenty times a fresh run is killed, anywhere between its first and its last moment, and run again."""
    rng = random.Random(5)
    command = [sys.executable, "-c", NURSERY]
    env = os.environ | {"SYMTHEORY_STORE": str(tmp_path / "s")}
    line = "run F1 --preset page --set seeds=1,2,3,4,5,6,7,8,9,10,11,12 --results"
    with subprocess.Popen(command, cwd=ROOT, env=env, stdin=-1, stdout=-1, text=True) as nursery:
        assert nursery.stdin is not None and nursery.stdout is not None

        def run(results: Path, shards: int = -1, delay: float = 0.0) -> tuple[int, float]:
            nursery.stdin.write(f"{shards} {delay} {line} {results}\n")
            nursery.stdin.flush()
            status, seconds = nursery.stdout.readline().split()
            return int(status), float(seconds)

        status, whole = run(tmp_path / "undisturbed")
        assert status == 0
        (wanted,) = [p.read_bytes() for p in (tmp_path / "undisturbed" / "F1").glob("*.nc")]
        store = tmp_path / "s"
        names = {p.relative_to(store) for p in store.rglob("*.nc")}
        assert len(names) == 12
        kept: list[int] = []
        for moment in range(KILLS):
            store.rename(tmp_path / f"store {moment}")
            results = tmp_path / f"results-{moment}"
            status, _ = run(results, 12 * moment // KILLS, rng.random() * whole / 12)
            assert status in (-signal.SIGKILL, 0)
            kept.append(len(list(store.rglob("*.nc"))) if status else -1)
            assert run(results)[0] == 0
            assert [p.read_bytes() for p in (results / "F1").glob("*.nc")] == [wanted], f"killed with {kept[-1]} shards"
            assert {p.relative_to(store) for p in store.rglob("*.nc")} == names and not list(store.rglob("*.damaged"))
        nursery.stdin.close()
    killed = [k for k in kept if k >= 0]
    assert len(killed) >= KILLS * 3 // 4 and len(set(killed)) >= 5, f"too much alike: {kept}"


# A full disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of our own with little space, where one may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small disk; a simulated one is below")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here ({mounted.stderr.decode().strip()}); a simulated one is below")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_is_full(disk: Path, tmp_path: Path) -> None:
    """One message names the file and the remedy; what fits is kept; with more space the same run finishes."""
    figure, store = FakeFigure(), Store(disk / "s")
    with pytest.raises(
        SymtheoryError, match=rf"space for {disk}.*no space left on device; free some space and run again"
    ):
        run_figure(figure, "paper", store=store, results_root=tmp_path / "r")
    kept = {p: p.stat().st_mtime_ns for p in disk.rglob("*.nc")}
    assert 0 < len(kept) < 40 and not list(disk.rglob("*.part")) and not list((tmp_path / "r/F1").iterdir())
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
    _, record = run_figure(figure, "paper", store=store, results_root=tmp_path / "r")
    now = {p: p.stat().st_mtime_ns for p in disk.rglob("*.nc")}
    assert len(now) == 40 and kept.items() <= now.items(), "what was kept was not written again"
    assert record.shards == {"total": 40, "reused": len(kept)}
    assert not list(disk.rglob("*.part")) and not list(disk.rglob("*.damaged"))
    assert record.sha256 == run_figure(figure, "paper")[1].sha256


def test_a_disk_that_is_full_when_the_result_is_written(disk: Path, tmp_path: Path) -> None:
    """The shards are elsewhere, so that the second run only writes the result."""
    figure, store = FakeFigure(), Store(tmp_path / "s")
    (disk / "ballast").write_bytes(b"x" * (192 - 4) * 1024)
    with pytest.raises(SymtheoryError, match=rf"space for {disk}.*no space left on device.*what is done is kept"):
        run_figure(figure, "smoke", store=store, results_root=disk / "r")
    assert [p.name for p in disk.rglob("*") if p.is_file()] == ["ballast"]
    (disk / "ballast").unlink()
    _, record = run_figure(figure, "smoke", store=store, results_root=disk / "r")
    assert record.shards == {"total": 3, "reused": 3}
    assert sorted(p.name for p in (disk / "r/F1").iterdir()) == ["smoke.json", "smoke.nc"]


def test_a_disk_that_says_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where no disk can be mounted: after twenty flushes the system refuses."""
    executor = Serial(Store(tmp_path))
    flush, written = os.fsync, 0

    def limited(handle: int) -> None:
        nonlocal written
        written += 1
        if written > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    monkeypatch.setattr(os, "fsync", limited)
    with pytest.raises(SymtheoryError, match=rf"space for {tmp_path}.*no space left on device; free some space"):
        executor.map("F1", draw, SHARDS)
    monkeypatch.setattr(os, "fsync", flush)
    kept = len(list(tmp_path.rglob("*.nc")))
    assert kept == 5 and not list(tmp_path.rglob("*.part"))
    found = executor.map("F1", draw, SHARDS)
    assert executor.history[-1].reused == kept
    assert [encode(d) for d in found] == [encode(d) for d in Serial().map("F1", draw, SHARDS)]
