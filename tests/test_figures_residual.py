"""Figures A3c, A6, A7 and B3b: their checks can fail, their networks are what they say, their settings are checked."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats
from torch import nn
from torch.nn import functional

from symtheory import gallery
from symtheory.engine import correlations, supervised
from symtheory.engine.footprint import footprint
from symtheory.engine.images import stand_in
from symtheory.errors import SymtheoryError
from symtheory.figures import a3c, a6, a7, b3b, pictures, residual
from symtheory.lab.executors import Serial
from symtheory.lab.store import Store
from symtheory.plots import PLOTS
from symtheory.transforms.dcs import dcs, sign_flip_all
from symtheory.transforms.syre import effective_parameters, penalty, syre

FIGURES = {f.id: f for f in (a3c.A3c(), a6.A6(), a7.A7(), b3b.B3b())}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    executor = Serial(Store(tmp_path_factory.mktemp("store")))
    results = {name: figure.run(figure.presets["smoke"], executor=executor) for name, figure in FIGURES.items()}
    return results, executor


@pytest.mark.parametrize("name", FIGURES)
def test_smoke_runs_say_what_they_were_made_from(smoke, name):
    result = smoke[0][name]
    assert PLOTS[name](result).axes
    assert json.loads(result.attrs["data"])["stand-in"]["note"] == "synthetic stand-in"
    presets = FIGURES[name].presets
    assert [presets[p].data for p in ("page", "paper")] == ["cifar-10"] * 2
    assert (presets["paper"].width, presets["paper"].side, presets["paper"].batch) == (64, 32, 128)


def test_networks_that_both_figures_need_are_trained_once(smoke):
    _, executor = smoke
    counts = {p.figure: (p.total, p.reused) for p in executor.history[:2]}
    assert counts["A3c"] == (2, 2) and executor.history[0].reused == 0


def test_networks_without_decay_passed_off_as_decayed_fail(smoke):
    for name, wrong in (("A3c", 1), ("A6", 1)):
        result = smoke[0][name]
        turned = result.isel(decay=[1, 0]).assign_coords(decay=result["decay"].values)
        assert len([v for v in FIGURES[name].check(turned) if not v.holds]) >= wrong


def test_patterns_that_differ_after_the_activation_fail(smoke):
    result = smoke[0]["A6"].copy(deep=True)
    moved = np.roll(np.arange(32), 16)
    after = result["correlation"].values[-1, 1]
    result["correlation"].values[-1, 1] = after[np.ix_(moved, moved)]
    assert not FIGURES["A6"].check(result)[0].holds


def held(name, result):
    return [v.holds for v in FIGURES[name].check(result)]


def put(result, matrix):
    """The result with another matrix for the largest decay, and the part without a copy that goes with it."""
    result = result.copy(deep=True)
    result["correlation"].values[-1] = matrix
    result["lonely"].values[:, -1] = correlations.lonely(matrix, a3c.CUT)
    return result


def in_blocks(sizes, sign=1.0):
    """Correlations of units in blocks; within a block every other unit may be turned over."""
    which = np.repeat(np.arange(len(sizes)), sizes)
    turn = np.where(np.arange(len(which)) % 2, sign, 1.0)
    return (which[:, None] == which) * np.outer(turn, turn)


@pytest.mark.parametrize("name", ["A3c", "A6"])
def test_a_collapsed_network_that_guesses_has_no_blocks(smoke, name):
    """All its units are one, so that each has a copy; that is not the claim."""
    result = smoke[0][name]
    assert all(held(name, result))
    result = result.copy(deep=True)
    result["lonely"].values[:, -1] = 0.0
    result["accuracy"].values[:, -1] = 0.1
    assert held(name, result)[-1] is False


def test_a_layer_that_is_one_block_fails(smoke):
    assert held("A3c", put(smoke[0]["A3c"], in_blocks([32]))) == [True, True, False, True]
    assert all(held("A3c", put(smoke[0]["A3c"], in_blocks([16, 8, 8]))))


def test_opposite_neurons_are_no_copies_of_each_other(smoke):
    """Sixteen pairs of a unit and its negative: |r| = 1, and no two units are equal."""
    result = put(smoke[0]["A3c"], in_blocks([2] * 16, sign=-1.0))
    assert held("A3c", result) == [True, False, True, True]


def test_blocks_of_the_few_neurons_that_are_not_silent_fail(smoke):
    result = smoke[0]["A6"].copy(deep=True)
    result["live"].loc[{"place": "after activation"}] = 4
    assert held("A6", result) == [True, True, True, False, True]


def test_copies_that_the_activation_parts_fail(smoke):
    """The matrices stay alike, but no pair is above the cut any more."""
    result = smoke[0]["A6"].copy(deep=True)
    after = result["correlation"].values[-1, 1]
    after[~np.eye(32, dtype=bool)] *= 0.9
    assert held("A6", result) == [True, False, True, True, True]


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_memory_for_one_image_that_is_not_about_twice_as_much_fails(smoke, factor):
    result = smoke[0]["A7"].copy(deep=True)
    assert held("A7", result)[4]
    result["memory"] = result["memory"].astype(float)
    result["memory"].loc[{"model": "DCS", "images": 1}] *= factor
    assert not held("A7", result)[4]


def test_a_small_bias_that_costs_accuracy_fails(smoke):
    result = smoke[0]["B3b"].copy(deep=True)
    assert all(FIGURES["B3b"].check(result))
    result["accuracy"].loc[{"sigma0": 0.1}] -= 0.5
    assert not any(FIGURES["B3b"].check(result))


def test_trials_that_scatter_too_much_to_tell_are_not_equivalent(smoke):
    """One trial in four is ruined by a small bias, the others gain: equal means, and no significant difference."""
    result = smoke[0]["B3b"].copy(deep=True)
    result["accuracy"].loc[{"sigma0": 0.0}] = [0.80, 0.80, 0.81, 0.80]
    result["accuracy"].loc[{"sigma0": 0.1}] = [0.95, 0.96, 0.95, 0.35]
    gap = result["accuracy"].mean("seed")
    assert abs(float(gap[1] - gap[0])) < 1e-9
    assert [v.holds for v in FIGURES["B3b"].check(result)] == [False, True]


def test_a_large_bias_that_harms_no_more_than_the_scatter_is_no_control(smoke):
    result = smoke[0]["B3b"].copy(deep=True)
    result["accuracy"].loc[{"sigma0": 100.0}] = [0.0, 0.0, 1.0, 0.0]
    assert not any(FIGURES["B3b"].check(result))


def test_pruning_that_helps_one_seed_and_harms_another_has_an_effect(smoke):
    result = xr.concat(
        [smoke[0]["A7"]] * 2, dim="seed", data_vars=["accuracy", "pruned", "pruned_at_random", "sparsity"]
    )
    final = float(result["accuracy"].sel(model="DCS").isel(seed=0, epoch=-1))
    result["pruned"].loc[{"model": "DCS"}] = [final + 0.1, final - 0.1]
    result["pruned_at_random"].loc[{"model": "DCS"}] = [final - 0.4, final - 0.4]
    assert not FIGURES["A7"].check(result)[2].holds


@pytest.mark.parametrize(("reached", "holds"), [(0.92, True), (0.8, False)])
def test_networks_of_the_papers_size_have_to_reach_its_accuracy(smoke, reached, holds):
    result = smoke[0]["A7"].copy(deep=True)
    assert len(FIGURES["A7"].check(result)) == 5
    result.attrs.update(width=64, side=32)
    result["accuracy"].values[:] = reached
    assert FIGURES["A7"].check(result)[5].holds == holds


def test_models_exchanged_fail(smoke):
    result = smoke[0]["A7"]
    turned = result.isel(model=[1, 0]).assign_coords(model=list(a7.MODELS))
    held = [v.holds for v in FIGURES["A7"].check(turned)]
    assert (held[1], held[3]) == (False, False)


def config(figure, **changes):
    base = figure.presets["smoke"].with_changes(samples=64, epochs=1, **changes)
    return base, pictures.with_origin(figure.shards(base), None)


def test_syre_in_figure_b3b_is_the_module_form():
    """Anchored decay and the loss of a biased copy give the same weights."""
    figure = FIGURES["B3b"]
    _, shards = config(figure, decay=1.0, lr=0.02, sizes=(0.0, 0.1, 9.0))
    shard = next(s for s in shards if s["sigma0"] == 9.0)
    found = b3b.compute(shard)
    own = residual.prepare(shard, "cpu", None)
    biased = syre(own.network, 9.0, 0.5, seed=10_000, relative=True)
    moved = residual.sgd(biased, 0.02, 0.0)
    losses = []
    steps = list(supervised.batches(own.train, own.plan, 0))
    for k, (images, labels) in enumerate(steps):
        for group in moved.param_groups:
            group["lr"] = own.plan.rate(k, len(steps))
        moved.zero_grad()
        loss = functional.cross_entropy(biased(own.normalise(images)), labels)
        (loss + penalty(biased)).backward()
        moved.step()
        losses.append(float(loss.detach()))
    assert float(found["loss"]) == pytest.approx(np.mean(losses), abs=1e-4)
    plain = b3b.compute(next(s for s in shards if s["sigma0"] == 0.0))
    assert abs(float(plain["loss"]) - np.mean(losses)) > 1e-3
    assert effective_parameters(biased)


def test_sparsity_and_pruning_are_those_of_the_folded_network():
    figure = FIGURES["A7"]
    settings, shards = config(figure, cut=0.05, imbalance=0.3)
    shard = next(s for s in shards if s["model"] == "DCS")
    found = a7.compute(shard)
    own = residual.prepare(shard, "cpu", None)
    net = dcs(own.network, sign_flip_all(own.network), settings.decay / 2, imbalance=0.3)
    optimizer = torch.optim.SGD([net.direction, net.scale], lr=0.1, momentum=0.9, weight_decay=settings.decay)
    supervised.train(net, optimizer, own.train, own.normalise, own.plan, lambda e: {})
    plain = net.fold(threshold=0.05).eval()
    values = torch.cat([p.reshape(-1) for p in plain.parameters()])
    assert float(found["sparsity"][-1]) == pytest.approx(float((values == 0).double().mean()), abs=1e-3)
    assert float(found["pruned"]) == pytest.approx(supervised.accuracy(plain, own.test, own.normalise), abs=0.02)
    assert 0.2 < float(found["sparsity"][-1]) < 0.99


def test_memory_is_that_of_the_papers_network():
    """Vanilla: parameters, gradients, momentum. DCS: all of that for two factors, and their product."""
    size = 4 * 11_235_786
    one = {m: a7.memory(m, 1) for m in a7.MODELS}
    assert one["DCS"] - one["vanilla"] == pytest.approx(4 * size, rel=1e-3)
    many = {m: a7.memory(m, 128) for m in a7.MODELS}
    assert many["DCS"] - many["vanilla"] == one["DCS"] - one["vanilla"]
    assert many["vanilla"] - one["vanilla"] > 5e8


def by_hand(factored):
    """Bytes of a step of 3 -> 4 -> 2 with ReLU, squared, for 5 samples: 26 numbers, and what backward needs."""
    numbers, samples = 4 * 3 + 4 + 2 * 4 + 2, 5
    kept = samples * (3 + 4 + 2)  # input of the first layer; output of the ReLU, input of the second; the squared
    return 4 * (3 * numbers + kept + (3 + 1) * numbers * factored)


@pytest.mark.parametrize("factored", [False, True])
def test_the_memory_of_two_layers_is_the_one_counted_by_hand(factored):
    """With factors: one more of parameters, gradients and momentum, and the product."""
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net = dcs(net, sign_flip_all(net), 0.1) if factored else net
    moved = [p for p in net.parameters() if p.requires_grad]
    found = footprint(net, moved, lambda: net(torch.ones(5, 3)).square().sum(), states=1)
    assert found.total == by_hand(factored)


def test_equivalence_is_seen_by_welchs_interval():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0])
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    assert b3b._between(a, b) == pytest.approx((0.0, -low)) and high > 0
    low, high = stats.ttest_ind(a, b + 30, equal_var=False).confidence_interval(0.9)
    assert b3b._between(a, b + 30) == pytest.approx((-high, -low))
    assert b3b._between(np.ones(3), np.zeros(3)) == (1, 1)


def test_surprise_is_welchs_p_value_corrected_for_the_number_of_tests():
    same = np.array([0.5, 0.5])
    assert b3b._surprise(same, same, 3) == 0 and b3b._surprise(same, same + 0.1, 3) == 300
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0])
    statistic = (2 - 5) / np.sqrt(1 / 3 + 13 / 3)
    freedom = (1 / 3 + 13 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (13 / 3) ** 2 / 2)
    p = 2 * stats.t.sf(abs(statistic), freedom)
    assert b3b._surprise(a, b, 1) == pytest.approx(-np.log10(p))
    assert b3b._surprise(a, b, 2) == pytest.approx(-np.log10(2 * p))
    assert b3b._surprise(a, b, 9) == 0


def test_made_up_images_in_colour_are_the_same_every_time():
    a, b = pictures.images(pictures.COLOURED, None), stand_in(side=32, channels=3)
    assert a.digest == b.digest and a.train.images.shape == (512, 3, 32, 32)


def test_the_pages_say_what_the_committed_results_say():
    a3c_, a6_, a7_, b3b_ = (gallery.stored(name)[0] for name in FIGURES)
    assert a3c_["lonely"].values[0, 1] == 1 and abs(float(a3c_["accuracy"][0, 1] - a3c_["accuracy"][0, 0])) < 0.01
    assert (a3c_["accuracy"][0, 2:] < 0.75 * a3c_["accuracy"][0, 0]).all()
    assert a6_.sizes["unit"] == 128 and a6_.sizes["seed"] == 1
    assert a7_["sparsity"].sel(model="vanilla").max() < 0.1 < 0.5 < float(a7_["sparsity"].sel(model="DCS")[0, -1])
    assert FIGURES["A7"].check(a7_)[2].residual < (0.48 * 0.52 / 2000) ** 0.5
    (plain, plain_many), (both, both_many) = a7_["memory"].values
    fixed = (both_many - 1.1 * plain_many) / 0.1  # for which a batch takes a tenth more
    assert 1e9 < fixed < 1.1e9 and (both + fixed) / (plain + fixed) < 1.2
    assert b3b_.attrs["margin"] == 0.05


BAD = {
    "epochs": (a3c.Settings, {"epochs": 0}, "positive settings"),
    "decays": (a3c.Settings, {"decays": (1e-3, 5e-3)}, "increasing decays, 0 first"),
    "measured": (a3c.Settings, {"measured": 1}, "two or more images"),
    "cut": (a7.Settings, {"cut": 0.0}, "decay, imbalance and cut"),
    "sizes": (b3b.Settings, {"sizes": (0.0, 0.3, 1.0)}, "on both sides of 0.2"),
    "trials": (b3b.Settings, {"seeds": (0,)}, "two or more trials"),
    "margin": (b3b.Settings, {"margin": 0.0}, "margin > 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    settings, wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        settings(**wrong)
