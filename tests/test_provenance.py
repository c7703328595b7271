"""Runs of figures: what is written beside a result, and that a result is never taken for another one."""

from __future__ import annotations

import dataclasses
import errno
import getpass
import json
import os
import re
import socket
import subprocess
import types
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.lab import devices, provenance
from symtheory.lab.executors import ProcessPool, Serial
from symtheory.lab.files import digest
from symtheory.lab.provenance import Provenance
from symtheory.lab.results import Results, name_of
from symtheory.lab.runs import run_figure
from symtheory.lab.store import Store
from symtheory.spec.verdict import Verdict
from tests.fakes import FakeFigure

FIGURE = FakeFigure()


def record(root: Path, name: str = "smoke") -> Path:
    return root / "F1" / f"{name}.json"


def test_the_fields_of_the_json_file(tmp_path: Path) -> None:
    _, made = run_figure(FIGURE, "page", results_root=tmp_path)
    data = json.loads(record(tmp_path, "page").read_text())
    assert set(data) == {
        "schema", "figure", "preset", "overrides", "settings", "seeds", "device", "platform", "versions", "commit",
        "code", "date", "wall_time_s", "compute_time_s", "shards", "data", "sha256", "checks",
    }  # fmt: skip
    assert data["schema"] == 1 and (data["figure"], data["preset"], data["overrides"]) == ("F1", "page", {})
    assert data["settings"] == FIGURE.presets["page"].to_json() and data["seeds"] == {"seeds": list(range(8))}
    assert data["device"]["kind"] == "cpu" and data["device"]["cores"] >= 1 and data["device"]["name"]
    assert {"python", "symtheory", "torch", "numpy", "numba"} <= set(data["versions"])
    assert datetime.fromisoformat(data["date"]).tzinfo == UTC
    assert data["wall_time_s"] > 0 and data["shards"] == {"total": 8, "reused": 0}
    assert data["data"] == {"noise": {"sha256": "0" * 64}}
    assert data["sha256"] == digest((tmp_path / "F1" / "page.nc").read_bytes())
    assert [c["holds"] for c in data["checks"]] == [True] and data["checks"][0]["residual"] < 0.2
    assert Provenance.from_json(record(tmp_path, "page").read_text(), "x") == made and made.holds


def test_it_names_no_person_host_or_folder(tmp_path: Path) -> None:
    run_figure(FIGURE, "smoke", results_root=tmp_path)
    text = record(tmp_path).read_text()
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
    assert not [s for s in strings if s.startswith(("/", "~", "\\")) or re.match(r"[A-Za-z]:\\", s)]
    for private in {socket.gethostname(), getpass.getuser(), str(Path.home()), str(tmp_path), str(Path.cwd())}:
        assert private not in strings and (len(private) < 8 or private not in text)


def test_the_netcdf_file_depends_on_settings_only(tmp_path: Path) -> None:
    """Not on the executor, the store, the date or an earlier crash; the JSON file holds what differs."""
    store = Store(tmp_path / "store")
    run_figure(FIGURE, "smoke", results_root=tmp_path / "a")
    run_figure(FIGURE, "smoke", executor=ProcessPool(store, jobs=2), results_root=tmp_path / "b")
    _, again = run_figure(FIGURE, "smoke", store=store, results_root=tmp_path / "c")
    files = [(tmp_path / x / "F1" / "smoke.nc").read_bytes() for x in "abc"]
    assert files[0] == files[1] == files[2]
    assert again.shards == {"total": 3, "reused": 3} and again.compute_time_s > 0


def test_the_returned_dataset_is_the_stored_one(tmp_path: Path) -> None:
    dataset, made = run_figure(FIGURE, "smoke", results_root=tmp_path)
    stored, read = Results(tmp_path).load("F1", "smoke")
    assert stored.identical(dataset) and read == made


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_figure(FIGURE, "smoke")
    assert list(tmp_path.iterdir()) == []


def test_changed_settings_never_stand_in_for_the_preset(tmp_path: Path) -> None:
    run_figure(FIGURE, "smoke", results_root=tmp_path)
    before = (tmp_path / "F1" / "smoke.nc").read_bytes()
    _, made = run_figure(FIGURE, "smoke", {"seeds": (5, 6)}, results_root=tmp_path)
    assert made.overrides == {"seeds": [5, 6]} and (tmp_path / "F1" / "smoke.nc").read_bytes() == before
    assert Results(tmp_path).names("F1") == ["smoke", name_of("smoke", {"seeds": [5, 6]})]
    _, same = run_figure(FIGURE, "smoke", {"seeds": (0, 1, 2)})
    assert same.overrides == {}


def test_the_most_telling_result_comes_first(tmp_path: Path) -> None:
    for preset in ("smoke", "paper", "page"):
        run_figure(FIGURE, preset, {} if preset != "paper" else {"seconds": 0.0, "seeds": (1,)}, results_root=tmp_path)
        (tmp_path / "F1" / f"{preset}.json").touch()
    assert Results(tmp_path).names("F1")[:3] == ["paper", "page", "smoke"]


def test_a_check_that_fails_is_recorded(tmp_path: Path) -> None:
    _, made = run_figure(FIGURE, "smoke", {"bar": 1e-9}, results_root=tmp_path)
    assert not made.holds and not made.checks[0]["holds"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda nc, js: nc.write_bytes(nc.read_bytes()[:-1]), "damaged or from another run: run 'symtheory run F1"),
        (lambda nc, js: nc.unlink(), "a result in .*smoke.nc, got no such file.*run 'symtheory run F1 --preset smoke'"),
        (lambda nc, js: js.unlink(), "a result in .*smoke.json, got no such file"),
        (lambda nc, js: js.write_text("{"), "provenance of schema 1 in .*smoke.json"),
        (lambda nc, js: js.write_text("[]"), "provenance of schema 1 in .*smoke.json"),
        (lambda nc, js: js.write_text(js.read_text().replace('"schema": 1', '"schema": 2')), "provenance of schema 1"),
        (
            lambda nc, js: js.write_text(js.read_text().replace('"figure": "F1"', '"figure": "F2"')),
            "result smoke of F1",
        ),
        (
            lambda nc, js: js.write_text(js.read_text().replace('"preset": "smoke"', '"preset": "paper"')),
            "result smoke",
        ),
    ],
    ids=["truncated", "no netCDF", "no JSON", "half a JSON", "another JSON", "schema", "figure", "preset"],
)
def test_a_damaged_result_is_refused(tmp_path: Path, damage, message: str) -> None:
    run_figure(FIGURE, "smoke", results_root=tmp_path)
    damage(tmp_path / "F1" / "smoke.nc", record(tmp_path))
    with pytest.raises(SymtheoryError, match=message):
        Results(tmp_path).load("F1", "smoke")


def test_a_folder_that_cannot_be_written_is_found_before_the_work(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "results").write_text("in the way")
    monkeypatch.setattr(FakeFigure, "run", lambda *_: pytest.fail("worked for nothing"))
    with pytest.raises(SymtheoryError, match=r"to be able to write .*F1.*--results"):
        run_figure(FIGURE, "smoke", results_root=tmp_path / "results")


def test_a_read_only_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(SymtheoryError, match="read-only file system; mend the permissions, or name another folder"):
        run_figure(FIGURE, "smoke", results_root=tmp_path)


def test_a_preset_and_a_store_must_be_clear(tmp_path: Path) -> None:
    with pytest.raises(SymtheoryError, match=r"a preset among .*got 'huge'"):
        run_figure(FIGURE, "huge")
    with pytest.raises(SymtheoryError, match="one store"):
        run_figure(FIGURE, "smoke", executor=Serial(Store(tmp_path)), store=Store(tmp_path / "b"))


def test_not_finite_results_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeFigure, "run", lambda *_: xr.Dataset({"bar": float("nan")}))
    with pytest.raises(SymtheoryError, match="finite values in 'bar' of the result of F1"):
        run_figure(FIGURE, "smoke", results_root=tmp_path)
    assert not list(tmp_path.rglob("*.nc"))


# Devices


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SymtheoryError, match="a device among cpu, cuda, auto, got 'tpu'; use --device cpu"):
        devices.resolve("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.resolve("auto") == "cpu"
    with pytest.raises(SymtheoryError, match=r"a CUDA GPU, got none \(torch .*\); use --device cpu"):
        devices.resolve("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.resolve("auto") == devices.resolve("cuda") == "cuda"


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = types.SimpleNamespace(name="A GPU", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    described = devices.describe("cuda")
    assert (described["kind"], described["name"], described["memory_gib"]) == ("cuda", "A GPU", 80)


# The commit


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_source(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "a.py").write_text("x = 1\n")
    assert provenance.commit(package) is None
    git(tmp_path, "init", "-q")
    (tmp_path / "other").write_text("1")
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-q", "-m", "one")
    assert provenance.commit(package) is None, "inside a repository that does not track it"
    git(tmp_path, "add", "pkg")
    git(tmp_path, "commit", "-q", "-m", "two")
    clean = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "other").write_text("2")
    assert provenance.commit(package) == clean, "what lies outside does not count"
    (package / "a.py").write_text("x = 2\n")
    assert provenance.commit(package) == f"{clean}-dirty"
    git(tmp_path, "checkout", "-q", "pkg")
    (package / "new.py").touch()
    assert provenance.commit(package) == f"{clean}-dirty"


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() is None


def test_verdicts_become_plain_numbers() -> None:
    verdict = Verdict("s", residual=0.0, tolerance=1.0, control=5000.0)
    assert json.dumps(provenance.check_record(verdict)) == (
        '{"statement": "s", "residual": 0.0, "tolerance": 1.0, "control": 5000.0, "holds": true}'
    )


def test_a_figure_without_checks_does_not_hold(tmp_path: Path) -> None:
    _, made = run_figure(FIGURE, "smoke")
    assert made.holds and not dataclasses.replace(made, checks=()).holds
