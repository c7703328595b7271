"""The store and the results: whole files or none, the same bytes, nothing damaged goes unnoticed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from symtheory.errors import SymtheoryError
from symtheory.lab import results
from symtheory.lab.files import decode, digest, encode, require_finite, sweep, write_atomic
from symtheory.lab.identity import bare_source, canonical, code_digest, describe, identify, imported
from symtheory.lab.store import Store, StoreWarning, default_root, seal

ROOT = Path(__file__).resolve().parents[1]


def dataset() -> xr.Dataset:
    """All kinds of values a figure may store; one array is large enough to be compressed."""
    noise = np.random.default_rng(0).normal(size=(3, 700))
    return xr.Dataset(
        {
            "loss": (("seed", "step"), noise, {"units": "1"}),
            "half": ("seed", noise[:, 0].astype(np.float32)),
            "converged": ("seed", np.array([True, False, True])),
            "name": ("seed", np.array(["a", "bé", ""])),
            "total": ((), np.int64(7)),
        },
        coords={"seed": [2, 0, 1]},
        attrs={"title": "an example", "steps": 700},
    )


def measure(shard: dict[str, object]) -> xr.Dataset:
    """A shard function: its settings are its result."""
    return xr.Dataset({"value": ((), float(str(shard["x"])))})


class Sampler:
    """A figure that hands a bound method to the executor."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def measure(self, shard: dict[str, object]) -> xr.Dataset:
        return xr.Dataset({"value": ((), self.scale)})


@dataclass(frozen=True, slots=True)
class Compute:
    """A figure that hands over an object that can be called."""

    device: str

    def __call__(self, shard: dict[str, object]) -> xr.Dataset:
        return measure(shard)


def filed(store: Store, x: int = 1) -> Path:
    """Put one shard and return its file."""
    identity = identify("F1", measure, {"x": x})
    store.put(identity, seal(measure({"x": x}), identity), 1.5)
    (path,) = store.folder(identity).glob("*.nc")
    return path


# Bytes


def test_a_dataset_comes_back_as_it_was() -> None:
    back = decode(encode(dataset()), "example")
    assert back.identical(dataset()) and back["converged"].dtype == bool and back["half"].dtype == np.float32
    assert not any(variable.encoding for variable in back.variables.values()), "no trace of the file"


def test_hints_for_other_files_do_not_round_the_values() -> None:
    hinted = dataset()
    for name in ("loss", "half"):
        hinted[name].encoding = {"dtype": "int16", "scale_factor": 0.1}
    assert encode(hinted) == encode(dataset())


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32]),
        hnp.array_shapes(max_dims=3),
        elements=st.integers(-9, 9),
    )
)
def test_arrays_come_back_as_they_were(values: np.ndarray) -> None:
    given_ = xr.Dataset({"v": ([f"d{i}" for i in range(values.ndim)], values)})
    payload = encode(given_)
    back = decode(payload, "example")
    assert back.identical(given_) and back["v"].dtype == values.dtype and encode(back) == payload


def test_bytes_depend_on_the_dataset_only() -> None:
    """Not on the process, its hash seed, the time, or on whether the dataset came from a file."""
    code = "from tests.test_store import *; print(digest(encode(dataset())))"
    digests = {digest(encode(dataset())), digest(encode(decode(encode(dataset()), "example")))}
    env = os.environ | {"PYTHONHASHSEED": "1"}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    digests.add(run.stdout.strip())
    assert len(digests) == 1


def test_changed_values_change_the_bytes() -> None:
    other = dataset()
    other["loss"][0, 0] += 1e-12
    assert encode(other) != encode(dataset())


@pytest.mark.parametrize("values", [np.array([1j]), np.array([object()]), np.array([{"a": 1}])])
def test_what_netcdf_cannot_hold_is_refused(values: np.ndarray) -> None:
    with pytest.raises(SymtheoryError, match="numbers, booleans and strings"):
        encode(xr.Dataset({"v": ("d", values)}))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_needs_a_meaning(bad: float) -> None:
    diverged = xr.Dataset({"loss": ("step", [1.0, bad])})
    with pytest.raises(SymtheoryError, match=r"finite values in 'loss' of A1.*1 of 2.*attribute 'nonfinite'"):
        require_finite(diverged, "A1")
    diverged["loss"].attrs["nonfinite"] = "the run diverged"
    require_finite(diverged, "A1")
    assert decode(encode(diverged), "x").identical(diverged)


# Files


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "f.nc"
    write_atomic(target, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SymtheoryError, match=r"space for .*f\.nc.*no space left on device; free some space"):
        write_atomic(target, b"new and longer")
    assert target.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["f.nc"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush, then rename, then flush the folder: else a power cut leaves an empty file under the right name."""
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("rename"), replace(self, to))[1])
    write_atomic(tmp_path / "f", b"content")
    assert events == ["fsync", "rename", "fsync"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SymtheoryError, match=r"to be able to write .*file.*SYMTHEORY_STORE"):
        write_atomic(tmp_path / "file" / "shard.nc", b"x")


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    """A writer alternates two contents of several megabytes while a reader looks."""
    target = tmp_path / "f"
    contents = [bytes([i]) * 3_000_000 for i in (1, 2)]
    write_atomic(target, contents[0])
    writer = threading.Thread(target=lambda: [write_atomic(target, contents[i % 2]) for i in range(20)])
    writer.start()
    seen = 0
    while writer.is_alive():
        assert target.read_bytes() in contents
        seen += 1
    writer.join()
    assert seen > 3


def test_leftovers_of_killed_writers_go_away(tmp_path: Path) -> None:
    old, young = tmp_path / "F1" / ".a.part", tmp_path / ".b.part"
    old.parent.mkdir()
    for part in (old, young):
        part.touch()
    os.utime(old, (0, 0))
    assert sweep(tmp_path) == 1 and not old.exists() and young.exists()
    assert sweep(tmp_path / "absent") == 0


# Shards


def test_a_shard_is_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    identity = identify("F1", measure, {"x": 1})
    assert store.get(identity) is None
    filed(store)
    back = store.get(identity)
    assert back is not None and back.identical(measure({"x": 1})) and store.seconds(identity) == 1.5
    assert store.get(identify("F1", measure, {"x": 2})) is None and store.get(identify("F2", measure, {"x": 1})) is None


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _flip(path: Path) -> None:
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 1
    path.write_bytes(bytes(payload))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _forge(path: Path) -> None:
    """The file of another shard, under a name that fits its content."""
    payload = seal(measure({"x": 9}), identify("F1", measure, {"x": 9}))
    path.unlink()
    (path.parent / f"{digest(payload)}.nc").write_bytes(payload)


def _not_netcdf(path: Path) -> None:
    path.unlink()
    (path.parent / f"{digest(b'hello')}.nc").write_bytes(b"hello")


@pytest.mark.parametrize("damage", [_truncate, _flip, _empty, _forge, _not_netcdf])
def test_a_damaged_shard_is_set_aside_and_named(tmp_path: Path, damage) -> None:
    store = Store(tmp_path)
    path = filed(store)
    damage(path)
    identity = identify("F1", measure, {"x": 1})
    with pytest.warns(StoreWarning, match=r"damaged shard .*set aside as \*\.damaged and is computed again"):
        assert store.get(identity) is None
    assert list(path.parent.glob("*.damaged")) and store.get(identity) is None
    filed(store)
    assert store.get(identity) is not None


def test_a_damaged_shard_that_cannot_be_moved_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    _flip(filed(store))

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.warns(StoreWarning, match="could not be moved"):
        assert store.get(identify("F1", measure, {"x": 1})) is None


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYMTHEORY_STORE", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("SYMTHEORY_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_root() == tmp_path / "cache" / "symtheory" / "store"


# Identity


def test_every_part_of_an_identity_counts() -> None:
    base = identify("F1", measure, {"x": 1, "y": [1, 2]})
    assert identify("F1", measure, {"y": (1, 2), "x": 1}).key == base.key
    others = [
        identify("F2", measure, {"x": 1, "y": [1, 2]}),
        identify("F1", measure, {"x": 1, "y": [2, 1]}),
        identify("F1", Sampler(1.0).measure, {"x": 1, "y": [1, 2]}),
        identify("F1", Sampler(2.0).measure, {"x": 1, "y": [1, 2]}),
        identify("F1", Compute("cpu"), {"x": 1, "y": [1, 2]}),
        identify("F1", Compute("cuda"), {"x": 1, "y": [1, 2]}),
        identify("F1", partial(measure, extra=1), {"x": 1, "y": [1, 2]}),
        *(type(base)(**{**vars(base), field: "0"}) for field in ("code", "libraries")),
    ]
    assert len({base.key, *(o.key for o in others)}) == len(others) + 1 == 10


@pytest.mark.parametrize("bad", [{"x": float("nan")}, {"x": np.zeros(2)}, {"x": {1: 2}}, {"x": object()}])
def test_settings_that_are_not_json_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(SymtheoryError, match="settings"):
        canonical(bad)


def test_functions_that_hide_settings_are_refused() -> None:
    scale = 2.0
    for function in (lambda shard: measure({"x": scale}), Sampler(np.zeros(1)).measure):  # type: ignore[arg-type]
        with pytest.raises(SymtheoryError, match=r"imported by name|JSON values"):
            describe(function)


def test_the_code_digest_follows_code_and_not_prose() -> None:
    plain = "def f(x):\n    return x + 1\n"
    told = '"""Doc."""\n\n\ndef f(x):  # why\n    """Doc\n    of two lines."""\n    # more\n    return x + 1\n'
    assert bare_source(plain) == bare_source(told) != bare_source(plain.replace("1", "2"))
    assert bare_source("x = '# no comment'") == "x = '# no comment'"


def test_the_code_digest_leaves_out_texts_about_a_class() -> None:
    source = "class F(Base):\n    size: ClassVar[int] = 3\n{}    rate = 0.1\n"
    text = '    claim: ClassVar[str] = (\n        "one "\n        "sentence"\n    )\n'
    assert bare_source(source.format("")) == bare_source(source.format(text))
    assert bare_source(source.format("")) == bare_source(source.format(text.replace("one", "another")))
    for changed in (source.replace("3", "4"), source.replace("0.1", "0.2"), source.replace("rate = 0.1", "rate = 'x'")):
        assert bare_source(changed.format(text)) != bare_source(source.format(text))


def test_the_code_digest_covers_what_is_imported() -> None:
    source = "from symtheory.spec import claim\nfrom symtheory.spec import Verdict\nfrom . import base\nimport torch"
    wanted = {"symtheory.spec.claim", "symtheory.spec", "symtheory.figures.base", "torch"}
    assert imported(source, "symtheory.figures") == wanted


def test_a_changed_dependency_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest("symtheory.engine.operators")
    read = Path.read_text

    def edited(self: Path, *args, **kwargs) -> str:
        text = read(self, *args, **kwargs)
        return text + "\nX = 1\n" if self.name == "errors.py" else text

    monkeypatch.setattr(Path, "read_text", edited)
    code_digest.cache_clear()
    try:
        assert code_digest("symtheory.engine.operators") != before
    finally:
        monkeypatch.undo()
        code_digest.cache_clear()
    assert code_digest("symtheory.engine.operators") == before


# Places of results


def test_where_results_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SYMTHEORY_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert results.default_root() == Path("results")
    (tmp_path / "_toc.yml").touch()
    (tmp_path / "symtheory" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "symtheory" / "deep")
    assert results.default_root() == tmp_path / "book" / "results"
    monkeypatch.setenv("SYMTHEORY_RESULTS", str(tmp_path / "elsewhere"))
    assert results.default_root() == tmp_path / "elsewhere"
