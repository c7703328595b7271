"""Figure A4: every model follows the plain Adam loop; what vanishes is counted right; the check can fail."""

import numpy as np
import pytest
import torch
import xarray as xr

from benchmarks import a4 as loops
from symtheory.errors import SymtheoryError
from symtheory.figures import a4, plasticity
from symtheory.figures.plasticity import MODELS

SHARD = {
    "lrs": [0.02], "decays": [0.01], "seeds": [3, 4], "dim": 12, "samples": 15, "tasks": 2, "steps": 30, "batch": 4,
    "block": 20, "noise": 1.0, "init": 0.3, "bias": 0.05, "kick": 0.03, "fresh": False, "double": True,
}  # fmt: skip
FIGURE = a4.A4()


@pytest.fixture(scope="module")
def smoke():
    return FIGURE.run(FIGURE.presets["smoke"])


def data_of(shard):
    return [block for task in range(shard["tasks"]) for block in plasticity.task_blocks(shard, task)]


@pytest.mark.parametrize("use_kernel", [True, False], ids=["kernel", "generic"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_follows_the_plain_loop(model, use_kernel):
    blocks = data_of(SHARD)
    slow = loops.continual(model, SHARD, blocks, SHARD["lrs"][0], SHARD["decays"][0])
    assert loops.apart(loops.fast(SHARD, blocks, use_kernel=use_kernel)[model], slow) < 1e-9


@pytest.mark.parametrize("model", MODELS)
def test_single_precision_follows_it_to_rounding(model):
    shard = {**SHARD, "double": False}
    blocks = data_of(shard)
    slow = loops.continual(model, shard, blocks, SHARD["lrs"][0], SHARD["decays"][0])
    assert loops.apart(loops.fast(shard, blocks)[model], slow) < 2e-4


def test_the_weights_after_each_task_are_those_of_one_long_loop():
    *_, (linear, product) = plasticity.weights(SHARD)
    blocks = data_of(SHARD)
    assert loops.apart({"w": linear["w"][0]}, loops.continual("vanilla", SHARD, blocks, 0.02, 0.01)) < 1e-9
    biased = {k: product[k][2 * MODELS[1:].index("bias")] for k in ("w", "u")}
    assert loops.apart(biased, loops.continual("bias", SHARD, blocks, 0.02, 0.01)) < 1e-9


def test_learning_rates_decays_and_seeds_are_where_they_say():
    wide = {**SHARD, "lrs": [0.01, 0.02], "decays": [0.0, 0.01], "seeds": [4, 3]}
    both, alone = plasticity.compute(wide), plasticity.compute({**SHARD, "seeds": [3]})
    picked = both.sel(lr=[0.02], decay=[0.01], seed=[3])
    xr.testing.assert_identical(picked["dead"], alone["dead"])
    np.testing.assert_allclose(picked["fit"], alone["fit"], rtol=1e-9)
    assert not np.allclose(both["fit"].sel(decay=0.0), both["fit"].sel(decay=0.01))


def test_a_fresh_optimiser_forgets_its_second_moment():
    kept, new = (list(plasticity.weights({**SHARD, "fresh": fresh})) for fresh in (False, True))
    assert torch.equal(kept[0][0]["w"], new[0][0]["w"])
    assert not torch.allclose(kept[1][0]["w"], new[1][0]["w"])


def test_tasks_differ_and_streams_of_a_seed_do_not_depend_on_others():
    one, two = (next(plasticity.task_blocks(SHARD, t)) for t in (0, 1))
    assert not torch.allclose(one["x"], two["x"]) and not torch.allclose(one["kick_w"], two["kick_w"])
    alone = next(plasticity.task_blocks({**SHARD, "seeds": [4]}, 0))
    assert all(torch.equal(alone[k][0], one[k][1]) for k in one)
    points, later = (plasticity.task_data(SHARD, 3, t)["x"] for t in (0, 1))
    assert not torch.allclose(points, later)
    assert all((row == points).all(1).any() for row in one["x"][0].flatten(0, 1))


def test_kicks_and_biases_have_the_variance_they_should():
    shard = {**SHARD, "dim": 400, "steps": 20, "seeds": [0]}
    _, (sweep, start) = plasticity.sweeps(shard).values()
    block = next(plasticity.task_blocks(shard, 0))
    assert float(block["kick_u"].std()) == pytest.approx(1.0, rel=0.05)
    names = {m: i for i, m in enumerate(MODELS[1:])}
    assert sweep.fixed["kick"].tolist() == [0.0, 0.03, 0.0, 0.0]
    assert float(sweep.fixed["bias_w"][names["bias"]].std()) == pytest.approx(0.05, rel=0.15)
    assert not sweep.fixed["bias_w"][[names["rescaling"], names["noise"], names["start"]]].any()
    shifted = start["u"][names["start"]] - start["u"][names["rescaling"]]
    assert torch.allclose(shifted, sweep.fixed["bias_u"][names["bias"]], atol=1e-12)


def test_dead_parameters_are_counted_by_hand():
    """Factors (0, 0), (0, 1) and (1, 1): the first has two dead parameters, the second one, the third none."""
    shard = {**SHARD, "dim": 3, "seeds": [0], "tasks": 1}
    w, u = torch.tensor([[0.0, 0.0, 1.0]]).double(), torch.tensor([[0.0, 1.0, 1.0]]).double()
    none = torch.zeros_like(w)
    product = {"w": w, "u": u, "bias_w": none, "bias_u": none}
    product = {k: v.repeat(4, 1) for k, v in product.items()}
    slopes, fit = plasticity._slopes(shard, 0, {"w": w * u}, product)
    assert (slopes < 1e-12).sum(-1).flatten().tolist() == [0, 3, 3, 3, 3]
    data = plasticity.task_data(shard, 0, 0)
    assert fit.flatten().tolist() == pytest.approx([float(((data["x"][:, 2] - data["y"]) ** 2).mean())] * 5)


def test_the_histogram_adds_up(smoke):
    total = smoke["gradients"].sum("decade")
    assert (total == smoke["parameters"]).all()
    below = smoke["gradients"].sel(decade=slice(None, -6)).sum("decade")
    assert (below == smoke["dead"].sel(cut=1e-6)).all()


def test_a_bias_without_decay_is_a_shifted_start():
    found = plasticity.shift_error({**SHARD, "decays": [0.0, 0.01]})["shift_error"].values
    assert found[0] < 1e-12 and found[1] > 1e-3


def test_the_smoke_run_fails_where_the_paper_does_and_nowhere_else(smoke):
    assert ["as printed" in v.statement for v in FIGURE.check(smoke) if not v.holds] == [True]


@pytest.mark.parametrize("order", [("rescaling", "vanilla", "noise", "bias", "start"), MODELS[::-1]])
def test_models_passed_off_as_others_fail_the_check(smoke, order):
    wrong = smoke.assign_coords(model=list(order))
    assert sum(not v.holds for v in FIGURE.check(wrong)) > 2


def test_tasks_in_reverse_fail_the_check(smoke):
    wrong = smoke.copy(deep=True)
    wrong["dead"].values = smoke["dead"].isel(task=slice(None, None, -1)).values
    assert any("drop" in v.statement for v in FIGURE.check(wrong) if not v.holds)


def test_a_noise_that_does_not_help_fails_the_check(smoke):
    wrong = smoke.copy(deep=True)
    wrong["dead"].loc[{"model": "noise"}] = smoke["dead"].sel(model="rescaling").values
    assert any("noise on the gradient" in v.statement for v in FIGURE.check(wrong) if not v.holds)


def test_variants_that_collapse_under_a_fix_fail_the_check():
    config = FIGURE.presets["smoke"].with_changes(variants=("label noise 0.1",), seeds=(0, 1))
    result = FIGURE.run(config)
    assert float(result["drive"][0]) == pytest.approx(30.0)
    wrong = result.copy(deep=True)
    wrong["variant_dead"].loc[{"model": "noise"}] = 40
    assert [v.holds for v in FIGURE.check(wrong) if "variants" in v.statement] == [False]


BAD = {
    "steps": ({"steps": 0}, "positive settings"),
    "one task": ({"tasks": 1}, "two tasks"),
    "variants": ({"variants": ("warmer",)}, "known variants.*'warmer'"),
    "decays": ({"decays": (0.1, 0.2)}, r"decays \(0, positive\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        a4.Settings(**wrong)
