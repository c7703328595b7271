"""The command line: what it writes, and that every mistake gets one clear message and exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import sympy

import symtheory
import symtheory.figures
import symtheory.ledger
import symtheory.plots
import symtheory.theorems
from symtheory.cli import main, registry, settings
from symtheory.errors import SymtheoryError
from symtheory.ledger import Entry, Evidence, Ledger
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.verdict import Proof, Step, Verdict
from tests.fakes import FakeConfig, FakeFigure

ROOT = Path(__file__).resolve().parents[1]
GOOD, BAD = Verdict("it holds", 1e-12, 1e-9, control=1.0, seed=0), Verdict("it does not", 1.0, 1e-9)
ERRATUM = Erratum("eq. (1)", "a", "b", "at 0", "wrong sign", "x.y")
CLAIM = Claim("F.T1", "paper F", "Noise [sic]", "s", {"h1": "one"}, "holds as corrected", "ch", "b", None, (ERRATUM,))


class FakeTheorem:
    claim = CLAIM
    main_verdict = GOOD
    controls: dict[str, Any] = {"h1": lambda seed: BAD}  # noqa: RUF012
    counterexamples: dict[str, Any] = {"eq1": lambda: BAD}  # noqa: RUF012
    unneeded: dict[str, Any] = {"h2": lambda seed: GOOD}  # noqa: RUF012

    def prove(self) -> Proof:
        x = sympy.Symbol("x")
        return Proof("F.T1", "real x", (Step("square", x * x, x**2, sympy.Integer(0)),))

    def verify(self, seed: int = 0) -> Verdict:
        return self.main_verdict


class Picture:
    def savefig(self, target: Any, **_: Any) -> None:
        target.write(b"PNG")


@pytest.fixture(autouse=True)
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One figure, one theorem, a store and results of our own, outside any checkout."""
    entry = Entry(
        CLAIM, "open", ("no passing test of role verify",), (Evidence("F.T1", "proof", "", "t::a", "passed"),)
    )
    monkeypatch.setattr(symtheory.figures, "FIGURES", {"F1": FakeFigure()}, raising=False)
    monkeypatch.setattr(symtheory.plots, "PLOTS", {"F1": lambda dataset: Picture()}, raising=False)
    monkeypatch.setattr(symtheory.theorems, "THEOREMS", {"F.T1": FakeTheorem()})
    monkeypatch.setattr(symtheory.ledger, "load", lambda path=None: Ledger({"F.T1": entry}, {}))
    monkeypatch.setenv("SYMTHEORY_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("SYMTHEORY_RESULTS", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Console:
    """Runs a command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, line: str, code: int = 0) -> types.SimpleNamespace:
        with pytest.raises(SystemExit) as stop:
            main(line.split())
        out, err = self.capsys.readouterr()
        assert (stop.value.code or 0) == code, out + err
        return types.SimpleNamespace(out=out, err=err)

    def json(self, line: str, code: int = 0) -> dict[str, Any]:
        """Standard output is one JSON object of schema 1, and standard error is empty."""
        said = self(f"{line} --json", code)
        assert said.err == ""
        document = json.loads(said.out)
        assert document["schema"] == 1
        return document

    def refused(self, line: str) -> str:
        """Exit code 2, nothing on standard output, one message with a remedy on standard error."""
        said = self(line, 2)
        assert said.out == "" and "Traceback" not in said.err
        (message,) = [text for text in said.err.splitlines() if text.strip()]
        assert message.startswith("error: expected ") and ", got " in message and "; " in message
        return message


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(capsys)


# What the commands say


def test_list(cli: Console) -> None:
    (figure,) = cli.json("list")["figures"]
    assert set(figure) == {"id", "title", "source", "claim", "presets"}
    assert figure["presets"]["smoke"] == FakeConfig().to_json()
    assert "F1" in cli("list").out and "figure 1 [left]" in cli("list").out


def test_claims(cli: Console) -> None:
    (claim,) = cli.json("claims")["claims"]
    assert claim == {
        "id": "F.T1", "source": "paper F", "title": "Noise [sic]", "verdict": "open",
        "declared_verdict": "holds as corrected", "correction": "b", "counterexample": "at 0",
        "missing": ["no passing test of role verify"],
        "tests": [{"nodeid": "t::a", "role": "proof", "outcome": "passed"}],
        "errata": [{"where": "eq. (1)", "kind": "statement", "printed": "a", "true": "b", "counterexample": "at 0",
                    "consequence": "wrong sign", "check": "x.y"}],
    }  # fmt: skip
    text = cli("claims").out
    assert "Noise [sic]" in text and "open (no passing test of role verify)" in text and "1 of 1" in text


def test_verify(cli: Console) -> None:
    document = cli.json("verify f.t1 --seed 3")
    assert document["claim"] == "F.T1" and document["seed"] == 3 and document["as_declared"] is True
    good = {"statement": "it holds", "residual": 1e-12, "tolerance": 1e-9, "control": 1.0, "holds": True, "seed": 0}
    assert document["verify"] == good and document["unneeded"] == {"h2": good}
    assert [document[k] for k in ("controls", "counterexamples")] == [
        {name: {**good, "statement": "it does not", "residual": 1.0, "control": None, "holds": False, "seed": None}}
        for name in ("h1", "eq1")
    ]
    assert document["proof"] == {
        "scope": "real x",
        "proved": True,
        "steps": [{"name": "square", "lhs": "x**2", "rhs": "x**2", "proved": True}],
    }
    assert "it holds" in cli("verify F.T1").out


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("main_verdict", BAD),
        ("controls", {"h1": lambda seed: GOOD}),
        ("counterexamples", {"eq1": lambda: GOOD}),
        ("unneeded", {"h2": lambda seed: BAD}),
        ("prove", lambda self: Proof("F.T1", "", ())),
    ],
)
def test_verify_ends_with_1_if_anything_is_not_as_declared(cli: Console, monkeypatch, name: str, value: Any) -> None:
    monkeypatch.setattr(FakeTheorem, name, value)
    assert cli.json("verify F.T1", code=1)["as_declared"] is False
    cli("verify F.T1", 1)


def test_run_show_status(cli: Console, house: Path) -> None:
    said = cli("run f1 --preset SMOKE --device auto")
    assert "the mean of noise is small" in said.out and "smoke.nc" in said.out
    assert sorted(p.name for p in (house / "results" / "F1").iterdir()) == ["smoke.json", "smoke.nc"]
    shown = cli("show f1 --no-open").out
    assert "The mean of noise is small." in shown and "holds" in shown and "sha256" in shown
    assert (house / "F1-smoke.png").read_bytes() == b"PNG"
    (figure,) = cli.json("status")["figures"]
    assert figure["missing"] == ["page", "paper"]
    (result,) = figure["results"]
    assert (result["name"], result["preset"], result["overrides"]) == ("smoke", "smoke", {})
    assert result["device"]["kind"] and result["date"] and result["wall_time_s"] > 0 and result["problem"] is None
    assert (result["holds"], result["sha256_ok"], result["code_current"]) == (True, True, True)
    table = cli("status").out
    assert "intact" in table and "missing: symtheory run F1 --preset page" in table


def test_status_tells_damage(cli: Console, house: Path) -> None:
    cli("run F1 --preset smoke")
    nc = house / "results" / "F1" / "smoke.nc"
    nc.write_bytes(nc.read_bytes() + b"x")
    (result,) = cli.json("status")["figures"][0]["results"]
    assert result["sha256_ok"] is False and "damaged" in result["problem"] and result["holds"] is True
    assert "damaged" in cli("status").out
    nc.with_suffix(".json").write_text("{}")
    (result,) = cli.json("status")["figures"][0]["results"]
    assert result["sha256_ok"] is False and result["holds"] is None and "provenance" in result["problem"]
    cli("status")


def test_status_tells_older_code(cli: Console, house: Path) -> None:
    cli("run F1 --preset smoke")
    path = house / "results" / "F1" / "smoke.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "code": "0" * 16}))
    assert cli.json("status")["figures"][0]["results"][0]["code_current"] is False
    assert "of older code" in cli("status").out


def test_show_takes_the_most_telling_result(cli: Console, house: Path) -> None:
    cli("run F1 --preset smoke")
    cli("run F1 --preset page")
    out = house / "deep" / "p.png"
    assert "page" in cli(f"show F1 --out {out}").out and out.exists()
    assert "'page'" not in cli(f"show F1 --preset smoke --out {out}").out


def test_show_without_a_drawing(cli: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symtheory.plots, "PLOTS", {})
    cli("run F1 --preset smoke")
    assert "no drawing" in cli("show F1").out


def test_folders_of_results(cli: Console, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli(f"run F1 --preset smoke --results {house / 'a'}")
    monkeypatch.setenv("SYMTHEORY_RESULTS", str(house / "b"))
    cli("run F1 --preset smoke")
    assert (house / "a" / "F1" / "smoke.nc").read_bytes() == (house / "b" / "F1" / "smoke.nc").read_bytes()
    assert not (house / "results").exists()


def test_changed_settings(cli: Console, house: Path) -> None:
    cli("run F1 --preset smoke --set seeds=4,5 --set rate=1 --set name=other --set limit=3")
    (path,) = (house / "results" / "F1").glob("*.json")
    assert json.loads(path.read_text())["overrides"] == {"seeds": [4, 5], "rate": 1.0, "name": "other", "limit": 3}


def test_jobs_give_the_same_bytes(cli: Console, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli(f"run F1 --preset smoke --jobs 2 --results {house / 'a'}")
    monkeypatch.setenv("SYMTHEORY_STORE", str(house / "other store"))
    cli(f"run F1 --preset smoke --results {house / 'b'}")
    assert (house / "a" / "F1" / "smoke.nc").read_bytes() == (house / "b" / "F1" / "smoke.nc").read_bytes()


# Mistakes


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("run F2", ["a figure among F1", "did you mean 'F1'?", "symtheory list"]),
        ("show zzz", ["a figure among F1", "symtheory list"]),
        ("show F1", ["a result in", "symtheory run F1 --preset smoke"]),
        ("run F1 --preset smoek", ["a preset of F1 among smoke, page, paper", "did you mean 'smoke'?"]),
        ("run F1 --set sedes=1", ["a setting among", "did you mean 'seeds'?"]),
        ("run F1 --set seeds", ["name=value after --set"]),
        ("run F1 --set seeds=a", ["a value of type tuple for seeds", "--set seeds=[0"]),
        ("run F1 --set rate=fast", ["a value of type float for rate, got 'fast'"]),
        ("run F1 --device tpu", ["a device among cpu, cuda, auto", "--device cpu"]),
        ("run F1 --executor slurm", ["an executor among processes, dask, tcp://host:port, got 'slurm'"]),
        ("run F1 --executor tcp://a:1 --jobs 2", ["--jobs 2", "dask worker tcp://a:1 --nworkers 2 --nthreads 1"]),
        ("run F1 --executor http://a:1", ["tcp://host:port or tls://host:port", "'http://a:1'"]),
        ("run F1 --set fail=refuse", ["a small rate, got a large one; lower it"]),
        ("run F1 --set fail=nan", ["finite values in 'value' of a shard of F1"]),
        ("verify F.T2", ["a claim among F.T1", "did you mean 'F.T1'?"]),
    ],
)
def test_mistakes_get_one_message(cli: Console, line: str, parts: list[str]) -> None:
    message = cli.refused(line)
    assert all(part in message for part in parts), message


def test_a_missing_gpu(cli: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "a CUDA GPU, got none" in cli.refused("run F1 --device cuda")


def test_a_folder_in_the_way(cli: Console, house: Path) -> None:
    (house / "file").touch()
    assert "--results" in cli.refused(f"run F1 --preset smoke --results {house / 'file'}")


def test_a_store_that_cannot_be_written(cli: Console, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (house / "file").touch()
    monkeypatch.setenv("SYMTHEORY_STORE", str(house / "file"))
    assert "$SYMTHEORY_STORE" in cli.refused("run F1 --preset smoke")


def test_a_damaged_result(cli: Console, house: Path) -> None:
    cli("run F1 --preset smoke")
    (house / "results" / "F1" / "smoke.nc").write_bytes(b"x")
    message = cli.refused("show F1")
    assert "smoke.nc" in message and "symtheory run F1 --preset smoke" in message


def test_a_damaged_shard_is_mended_with_a_warning(cli: Console, house: Path) -> None:
    cli("run F1 --preset smoke")
    wanted = (house / "results" / "F1" / "smoke.nc").read_bytes()
    next((house / "store").rglob("*.nc")).write_bytes(b"x")
    said = cli("run F1 --preset smoke")
    assert "warning: damaged shard" in said.err and said.err.count("\n") <= 2
    assert (house / "results" / "F1" / "smoke.nc").read_bytes() == wanted


def test_a_result_that_is_not_there_by_name(cli: Console) -> None:
    cli("run F1 --preset smoke")
    assert "--preset paper" in cli.refused("show F1 --preset paper")


def test_an_installation_without_figures(cli: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(symtheory.figures, "FIGURES")
    assert "FIGURES in symtheory.figures" in cli.refused("list")


def test_an_interrupt_says_how_to_go_on(cli: Console) -> None:
    said = cli("run F1 --preset smoke --set fail=interrupt", 130)
    assert said.out == "" and "the same command continues" in said.err and "Traceback" not in said.err


def test_a_bug_is_not_disguised() -> None:
    with pytest.raises(ZeroDivisionError):
        main(["run", "F1", "--preset", "smoke", "--set", "fail=raise"])


# The program


def test_version(cli: Console) -> None:
    assert cli("--version").out.strip() == f"symtheory {symtheory.__version__}"


def test_the_program_starts_without_the_heavy_libraries() -> None:
    """``--help`` is quick because nothing that computes is imported; also as ``python -m symtheory``."""
    code = (
        "import sys, runpy; sys.argv = ['symtheory', '--help']\n"
        "try: runpy.run_module('symtheory', run_name='__main__')\n"
        "except SystemExit as stop: code = stop.code\n"
        "heavy = {'torch', 'sympy', 'xarray', 'matplotlib', 'numba'} & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    env = os.environ | {"NO_COLOR": "1"}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    assert all(name in run.stdout.decode() for name in ("list", "run", "show", "status", "claims", "verify"))


@pytest.mark.parametrize(
    ("text", "like", "value"),
    [
        ("3", 1, 3), ("3", 1.0, 3.0), ("1e-3", 1.0, 1e-3), ("true", False, True), ("3", "x", "3"), ("", "x", ""),
        ("[1, 2]", (0,), (1, 2)), ("1,2", (0.5,), (1.0, 2.0)), ("[[1],[2]]", ((0,),), ((1,), (2,))), ("", (1,), ()),
        ("null", None, None), ("[1]", None, (1,)), ("a", None, "a"),
    ],
)  # fmt: skip
def test_values_take_the_type_of_the_setting(text: str, like: object, value: object) -> None:
    found = settings.convert(text, like, "x")
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "like"), [("1.5", 1), ("true", 1), ("1", True), ("true", 1.0), ("1.5,2", (1,)), ("NaN", 1.0), ("{}", (1,))]
)
def test_values_of_another_type_are_refused(text: str, like: object) -> None:
    with pytest.raises(SymtheoryError, match="a value of type"):
        settings.convert(text, like, "x")


def test_near_misses_only() -> None:
    assert "did you mean" not in " ".join(registry.unknown("qqqqq", ["smoke"], "preset", "look"))
