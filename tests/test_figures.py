"""Figures: presets are well formed, smoke runs support the claim, checks can fail, stored results are true."""

from html import escape
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from symtheory import gallery
from symtheory.errors import SymtheoryError
from symtheory.figures import FIGURES, a3a, a8
from symtheory.figures.base import PRESETS, outcome_of, preset_of
from symtheory.lab.results import Results
from symtheory.plots import PLOTS

BOOK = Path(__file__).parents[1] / "book"


@pytest.fixture(scope="module")
def smoke():
    return {name: figure.run(figure.presets["smoke"]) for name, figure in FIGURES.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_smoke_run_supports_the_claim(smoke, name):
    verdicts = FIGURES[name].check(smoke[name])
    if FIGURES[name].expected == "reproduced":
        assert [v for v in verdicts if not v.holds] == []
    assert outcome_of(verdicts) in ("reproduced", "partly", FIGURES[name].expected)


@pytest.mark.parametrize("name", FIGURES)
def test_a_run_repeats_itself(smoke, name):
    figure = FIGURES[name]
    xr.testing.assert_identical(figure.run(figure.presets["smoke"]), smoke[name])


@pytest.mark.parametrize("name", FIGURES)
def test_presets_and_shards(name):
    figure = FIGURES[name]
    assert set(figure.presets) == set(PRESETS)
    assert figure.shards(figure.presets["paper"])
    assert figure.claim.endswith(".") and figure.source.startswith(("Paper A", "Paper B", "Paper C", "This book"))
    assert bool(figure.finding) == (figure.expected != "reproduced")
    page = (BOOK / f"{figure.chapter}.md").read_text(encoding="utf-8")
    assert f'gallery.draw("{name}")' in page and f'gallery.evidence("{name}")' in page


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_drawn(smoke, name):
    canvas = PLOTS[name](smoke[name])
    assert gallery.draw(name, smoke[name])._repr_png_().startswith(b"\x89PNG")
    drawn = [ax for ax in canvas.axes if ax.has_data() and ax.get_label() != "<colorbar>"]
    assert drawn and all(ax.get_xlabel() and ax.get_ylabel() for ax in drawn)


def test_vanilla_passed_off_as_rescaling_fails_the_check(smoke):
    swapped = smoke["A3a"].assign_coords(model=list(a3a.MODELS)[::-1])
    assert not all(FIGURES["A3a"].check(swapped))


def test_ranks_of_other_seeds_or_decays_fail_the_check(smoke):
    result = smoke["A8"].copy(deep=True)
    result["rank"] = result["rank"][:, ::-1].drop_vars("decay").assign_coords(decay=result["decay"])
    assert not all(FIGURES["A8"].check(result))
    result = smoke["A8"].copy(deep=True)
    result["distance"] = result["distance"] + 0.1
    assert not all(FIGURES["A8"].check(result))


def test_the_convex_oracle_solves_its_optimality_condition():
    """0 in 2(MS - C) + 2 gamma d|M|_*: minus the gradient over 2 gamma is the frame on the support, small off it."""
    s, c = a8.statistics(12, 60, 0.5, 7)
    gamma = 0.3
    m = a8.convex_solution(s, c, gamma, tolerance=1e-13)
    u, values, vt = torch.linalg.svd(m)
    rank = int((values > 1e-8).sum())
    assert 0 < rank < 12
    dual = -(m @ s - c) / gamma
    assert torch.allclose(u[:, :rank].T @ dual @ vt[:rank].T, torch.eye(rank).double(), atol=1e-6)
    assert float(torch.linalg.svdvals(dual)[0]) < 1 + 1e-6


def test_diverged_runs_are_marked_not_hidden():
    shard = {"lrs": [1e-3, 5.0], "seeds": [0], "dim": 20, "steps": 400, "block": 100}
    found = a3a.compute({**shard, "noise": 1.0, "init": 1.0})
    assert found["diverged"].sel(model="vanilla").values.tolist() == [[0], [1]]


BAD = {
    "steps": (a3a.Settings, {"steps": 0}, "positive settings"),
    "no seed": (a3a.Settings, {"seeds": ()}, "at least one seed"),
    "rates": (a3a.Settings, {"lr_low": 1.0}, "lr_low <= lr_high"),
    "signal": (a8.Settings, {"signal": 2.0}, r"a signal in \[0, 1\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    settings, wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        settings(**wrong)


def test_unknown_names_are_refused():
    with pytest.raises(SymtheoryError, match=r"fields among.*'stepz'"):
        a3a.Settings().with_changes(stepz=3)
    with pytest.raises(SymtheoryError, match="a preset among"):
        preset_of(FIGURES["A1"], "huge")
    with pytest.raises(SymtheoryError, match="a figure among A1, A2, A3a"):
        gallery.figure("A99")


@pytest.mark.parametrize("name", FIGURES)
def test_committed_results(name):
    """What the book shows was made at the paper's preset unless it says so, and bears out what we say of the claim."""
    dataset, made = gallery.stored(name)
    figure = FIGURES[name]
    assert made.preset == ("page" if figure.pending else "paper") and not made.overrides
    assert figure.pending in gallery.evidence(name).text
    wanted = figure.presets[made.preset].to_json()
    assert {k: np.asarray(v).tolist() for k, v in made.settings.items()} == {
        k: np.asarray(v).tolist() for k, v in wanted.items()
    }
    assert outcome_of(figure.check(dataset)) == figure.expected
    assert figure.claim in gallery.evidence(name).text and figure.finding in gallery.evidence(name).text


def test_the_scorecard_says_what_the_results_say(tmp_path):
    text = gallery.scorecard().text
    for name, figure in FIGURES.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| [{name}](")]
        dataset, made = gallery.stored(name)
        assert figure.claim in row and made.preset in row and outcome_of(figure.check(dataset)) in row
        (folded,) = [line for line in text.splitlines() if line.startswith(f"<details><summary>{name}:")]
        assert all(escape(v.statement) in folded for v in figure.check(dataset))
    empty = gallery.scorecard(Results(tmp_path)).text
    assert empty.count("no result yet") == len(FIGURES)
