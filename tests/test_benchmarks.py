"""The benchmarks' own arithmetic, and the timings that the book shows."""

import json
from dataclasses import asdict

import pytest

from benchmarks import report
from benchmarks.machine import Machine, measure
from benchmarks.timing import Timing
from symtheory import gallery
from symtheory.errors import SymtheoryError
from symtheory.lab.results import Results

MACHINE = Machine("a processor", 2, 2, 1e9, 1e8, "2026-01-01T00:00:00+00:00", {"torch": "2.13.0"})


def test_the_limit_is_the_longer_of_arithmetic_and_traffic():
    assert MACHINE.limit(3e9, 1e8) == pytest.approx(3.0)
    assert MACHINE.limit(3e9, 5e8) == pytest.approx(5.0)
    found = measure(size=64, repeats=1)
    assert found.gemm > 0 and found.bandwidth > 0 and set(found.versions) == {"python", "torch", "numpy", "numba"}


def test_saving_keeps_the_timings_of_other_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMTHEORY_RESULTS", str(tmp_path))
    with pytest.raises(SymtheoryError, match=r"timings of kind 'loop' in benchmarks\.json, got none; run"):
        gallery.benchmarks()
    report.save([Timing("A8", 30.0, 2.0, 60.0, 10, 1e-6, 4e9)], MACHINE)
    report.save(
        [Timing("A3a", 900.0, 2.0, 1800.0, 10, 1e-7), Timing("page A3a", 0.0, 1.0, 0.0, 0, 0.0, kind="page")], MACHINE
    )
    stored = json.loads((tmp_path / report.FILE).read_text())["benchmarks"]
    assert list(stored) == ["A3a", "A8", "page A3a"]
    assert stored["A8"]["limit_seconds"] == pytest.approx(4.0) and stored["A8"]["machine"] == asdict(MACHINE)
    text = gallery.benchmarks("loop", Results(tmp_path)).text
    assert "| A8 | 30 | 20 | 2 | 60 | 1e-06 | 0.5 |" in text
    assert "Measured for A3a (2026-01-01); A8 (2026-01-01)" in text and "page" not in text
    assert "| A3a | 1 |" in gallery.benchmarks("page", Results(tmp_path)).text


@pytest.mark.parametrize("name", report.FLOORS)
def test_the_stored_timings_meet_their_floors_or_are_said_to_miss_them(name):
    stored = json.loads((gallery.default_root() / report.FILE).read_text())["benchmarks"][name]
    assert (stored["ratio"] < report.FLOORS[name]) == (name in report.MISSED)
    assert stored["missed"] == report.MISSED.get(name, "")
    assert stored["relative_error"] < 1e-4


def test_steps_and_searches_are_shown_in_their_units(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMTHEORY_RESULTS", str(tmp_path))
    made = [
        Timing("syre, net", 0.99, 2e-3, 1.98e-3, 10, 0.0, kind="step"),
        Timing("discover net", 2.0, 1.5, 3.0, 0, 1e-15, memory=1.25, kind="search"),
    ]
    report.save(made, MACHINE)
    assert "| syre, net | 0.99 |  | 2 | 1.98 |" in gallery.benchmarks("step", Results(tmp_path)).text
    assert "| discover net | 1.5 | 3 | 1.2 | 1e-15 |" in gallery.benchmarks("search", Results(tmp_path)).text


def test_page_presets_are_quick():
    stored = json.loads((gallery.default_root() / report.FILE).read_text())["benchmarks"]
    assert {f"page {name}" for name in gallery.FIGURES} <= set(stored)
    assert stored["page together"]["seconds"] <= 300
