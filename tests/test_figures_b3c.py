"""Figure B3c: every method follows the plain loop; what is dead is counted right; the check can fail."""

import pytest
import torch
import xarray as xr

from benchmarks import b3c as loops
from symtheory.engine.sweep import streams, train
from symtheory.errors import SymtheoryError
from symtheory.figures import b3c, dead_neurons
from symtheory.figures.dead_neurons import FACTORS, METHODS
from symtheory.spec import relative_error

SHARD = {
    "lrs": [3e-3, 1e-2], "seeds": [5, 6], "dim": 20, "steps": 600, "batch": 2, "block": 200, "noise": 1.0,
    "signal": 0.3, "signals": 4, "init": 1.0, "sigma0": 0.05, "gamma": 0.05, "held": 0.3, "kappa": 0.01,
    "lesson_steps": 400,
}  # fmt: skip
FIGURE = b3c.B3c()


@pytest.fixture(scope="module")
def smoke():
    return FIGURE.run(FIGURE.presets["smoke"])


@pytest.fixture(scope="module")
def trained():
    """Effective factors of every configuration, by path; and the data of each seed."""
    plan, start = dead_neurons.sweep(SHARD)
    data = dead_neurons.draw(dead_neurons.target(SHARD), SHARD["noise"], SHARD["batch"])
    blocks = list(streams(data, SHARD["seeds"], SHARD["steps"], SHARD["block"]))
    found = {}
    for use_kernel in (True, False):
        *_, last = train(plan, start, blocks, use_kernel=use_kernel)
        found[use_kernel] = {k: dead_neurons.effective({**last, **plan.fixed}, k) for k in FACTORS}
    return found, {k: torch.cat([b[k] for b in blocks], dim=1) for k in ("x", "y")}


@pytest.mark.parametrize("use_kernel", [True, False], ids=["kernel", "generic"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_follows_the_plain_loop(trained, method, use_kernel):
    found, data = trained
    for i, lr in enumerate(SHARD["lrs"]):
        for j, seed in enumerate(SHARD["seeds"]):
            slow = loops.regression(method, SHARD, seed, lr, {k: v[j] for k, v in data.items()})
            c = list(METHODS).index(method) * 4 + 2 * i + j
            for k in FACTORS:
                assert relative_error(found[use_kernel][k][c], slow[k]) < 1e-5


def test_held_weights_have_no_gradient():
    """Also those behind a mask, which the model does not see: both paths leave them where they started."""
    plan, start = dead_neurons.sweep(SHARD)
    blocks = list(streams(dead_neurons.draw(dead_neurons.target(SHARD), 1.0, 2), SHARD["seeds"], 40, 40))
    c = list(METHODS).index("W-fix") * 4
    held = plan.fixed["free_w"][c] == 0
    for use_kernel in (True, False):
        *_, last = train(plan, start, blocks, use_kernel=use_kernel)
        assert torch.equal(last["w"][c][held], start["w"][c][held])
        assert not torch.equal(last["w"][c][~held], start["w"][c][~held])


def test_all_methods_start_from_one_function_but_for_what_is_held():
    plain, _ = dead_neurons.initial(SHARD, "vanilla", 0)
    for method in METHODS:
        start, fixed = dead_neurons.initial(SHARD, method, 0)
        free = fixed["free_w"].bool()
        found = dead_neurons.effective({**start, **fixed}, "w")
        assert torch.allclose(found[free], plain["w"][free], atol=1e-7)
        assert int((~free).sum()) == (6 if "W-fix" in method else 0)
        assert torch.equal(found[~free], fixed["held_w"][~free])


def test_held_weights_stay_and_have_the_variance_of_the_paper():
    shard = {**SHARD, "dim": 4000}
    _, fixed = dead_neurons.initial(shard, "W-fix", 0)
    held = fixed["held_u"][fixed["free_u"] == 0]
    assert len(held) == 1200
    assert float(held.var()) == pytest.approx(0.01, rel=0.15)
    assert not fixed["held_u"][fixed["free_u"] == 1].any()
    assert 300 < int(((fixed["free_u"] == 0) & (fixed["free_w"] == 0)).sum()) < 420  # chosen apart: 360 expected


def test_dead_neurons_need_both_factors_small(monkeypatch):
    """Neurons of sizes (0, 0), (0, 1) and (1e-7, 1e-7): two are dead at 1e-6, one at 1e-8."""
    shard = {**SHARD, "dim": 3, "signals": 1, "seeds": [0], "lrs": [1e-12], "steps": 1, "lesson_steps": 1, "block": 1}
    factors = {"w": torch.tensor([0.0, 0.0, 1e-7]), "u": torch.tensor([0.0, 1.0, 1e-7])}
    plain = {f"{n}_{k}": torch.full((3,), float(n == "free")) for n in ("bias", "free", "held") for k in FACTORS}
    monkeypatch.setattr(dead_neurons, "initial", lambda *_: (factors, plain))
    found = dead_neurons.compute(shard).isel(training=0, lr=0, seed=0, step=0)
    assert found["dead"].sel(cut=[1e-2, 1e-6, 1e-8]).values.tolist() == [2, 2, 1]
    assert float(found["size"].sel(quantile=0.5)) == pytest.approx(1e-7)
    assert int(found["relearned"]) == 0 and int(found["trainable"]) == 3


def test_what_is_alive_learns_the_lesson_and_what_is_dead_does_not(smoke):
    lesson = smoke.isel(lr=0)
    assert (lesson["relearned_untrained"].sel(training=["vanilla", "syre"]) > 27).all()
    assert (lesson["relearned"].sel(training="syre") > 27).all()
    assert (lesson["relearned"].sel(training=["vanilla", "decay"]) < 3).all()


@pytest.mark.parametrize("other", ["vanilla", "W-fix", "decay", "bias"])
def test_another_method_passed_off_as_syre_fails_the_check(smoke, other):
    swap = {"syre": other, other: "syre"}
    wrong = smoke.assign_coords(training=[swap.get(m, m) for m in smoke["training"].values.tolist()])
    assert any("syre" in v.statement for v in FIGURE.check(wrong) if not v.holds)


def test_a_collapse_in_between_is_seen(smoke):
    wrong = smoke.copy(deep=True)
    wrong["dead"].loc[{"training": "syre", "step": int(smoke["step"][3])}] = 5
    assert any("at any time" in v.statement for v in FIGURE.check(wrong) if not v.holds)


def test_rates_and_variants_are_held_to_the_claim():
    config = FIGURE.presets["smoke"].with_changes(others=(3e-2,), variants=("sigma0 0.1", "label noise 1"), seeds=(0,))
    result = FIGURE.run(config)
    assert result["drive"].values.tolist() == pytest.approx([172.8, 43.2])
    verdicts = {v.statement.split(":")[0]: v for v in FIGURE.check(result)}
    assert verdicts["other learning rates"].holds
    wrong = result.copy(deep=True)
    wrong["dead"].loc[{"training": "syre", "lr": 3e-2}] = 30
    wrong["variant_dead"].loc[{"training": "syre"}] = 30
    failed = [v.statement.split(":")[0] for v in FIGURE.check(wrong) if not v.holds]
    assert {"other learning rates", "variants"} <= set(failed)


def test_seeds_do_not_depend_on_each_other():
    both = dead_neurons.compute(SHARD)
    alone = dead_neurons.compute({**SHARD, "seeds": [6]})
    xr.testing.assert_identical(both.sel(seed=[6]), alone)


BAD = {
    "steps": ({"steps": 0}, "positive settings"),
    "held": ({"held": 1.0}, "0 < held < 1"),
    "variants": ({"variants": ("warmer",)}, "known variants.*'warmer'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        b3c.Settings(**wrong)
