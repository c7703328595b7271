"""Figures B2 and B10: training is the plain loop's, noise does what it says, checks can fail."""

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from symtheory.engine import classifier
from symtheory.engine.updates import adam
from symtheory.errors import SymtheoryError
from symtheory.figures import b2, b10, teacher

SMALL: dict[str, Any] = {"hidden": 12, "classes": 4, "samples": 150, "batch": 60, "steps": 40}
FIGURES = {"B2": b2.B2(), "B10": b10.B10()}


def shard(activation: classifier.Activation = "tanh", dim: int = 7, **changes: Any) -> dict[str, Any]:
    return {**teacher.Setting(**SMALL).shard(activation, 3, dim), "sigma0": [0.0, 0.3], "at": [15, 40], **changes}


def plain(one, sigma0, dtype, steps):
    """The loop as it is usually written; returns weights by layers."""
    drawn = {k: v.to(dtype) if v.is_floating_point() else v for k, v in teacher.sample(one).items()}
    free, fixed = [], []
    for part in ("a", "b", "c"):
        fixed.append(sigma0 * drawn[f"bias.{part}"])
        free.append(nn.Parameter(drawn[f"start.{part}"] - fixed[-1]))
    kind = torch.optim.AdamW if one["decoupled"] else torch.optim.Adam
    optimizer = kind(free, lr=one["lr"], weight_decay=one["decay"])
    x = drawn["x_noisy"]
    for t in range(1, steps + 1):
        if one["noise"] == "every step" and one["input_noise"]:
            g = torch.Generator().manual_seed((one["seed"] + 1) * 1_000_003 + t)
            x = drawn["x"] + (one["input_noise"] * torch.randn(x.shape, generator=g)).to(dtype)
        a, b, c = (p + q for p, q in zip(free, fixed, strict=True))
        z = nn.functional.linear(x, a[:-1].T, a[-1])
        h = z.tanh() if one["activation"] == "tanh" else z.relu()
        optimizer.zero_grad()
        nn.functional.cross_entropy(nn.functional.linear(h, b, c[:, 0]), drawn["labels"]).backward()
        optimizer.step()
    return {k: (p + q).detach() for k, p, q in zip("abc", free, fixed, strict=True)}


def double(one, *, use_blocks):
    """The figure's training, in double precision: rounding then cannot hide or make a difference."""
    drawn = {k: v.double() if v.is_floating_point() else v for k, v in teacher.sample(one).items()}
    data = classifier.task(drawn["x_noisy"].expand(2, -1, -1), drawn["labels"].expand(2, -1), one["classes"])
    start = {k: drawn[f"start.{k}"].expand(2, -1, -1) for k in "abc"}
    bias = {k: torch.tensor(one["sigma0"])[:, None, None] * drawn[f"bias.{k}"] for k in "abc"}
    rates = torch.full((2,), one["lr"]).double(), torch.full((2,), one["decay"]).double()
    update = adam(decoupled=one["decoupled"])
    return classifier.train(start, bias, data, one["activation"], update, *rates, one["at"], use_blocks=use_blocks)


CASES = {
    "tanh": shard(),
    "relu": shard("relu"),
    "decoupled": shard(decoupled=True),
    "noisy labels": shard(label_noise=0.5),
    "noisy inputs": shard(input_noise=0.7),
    "before labels": shard(input_noise=0.7, noise="before labels"),
}


@pytest.mark.parametrize("use_blocks", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_training_is_the_plain_loop(case, use_blocks, monkeypatch):
    monkeypatch.setattr(classifier, "ROWS", 64)  # three blocks, the last shorter
    one = CASES[case]
    found = double(one, use_blocks=use_blocks)
    for i, sigma0 in enumerate(one["sigma0"]):
        for j, steps in enumerate(one["at"]):
            for k, wanted in plain(one, sigma0, torch.float64, steps).items():
                torch.testing.assert_close(found[k][j, i], wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("use_blocks", [True, False])
def test_single_precision_is_the_plain_loop_to_rounding(use_blocks):
    one = shard(input_noise=0.5, noise="every step")
    found = teacher.students(one, use_blocks=use_blocks)
    for i, sigma0 in enumerate(one["sigma0"]):
        for k, wanted in plain(one, sigma0, torch.float32, 15).items():
            assert float((found[k][0, i] - wanted).norm() / wanted.norm()) < 1e-5


def test_syre_and_vanilla_start_as_the_same_function_and_part():
    found = teacher.students(shard(at=[0, 40]))
    assert all(torch.allclose(p[0, 0], p[0, 1], atol=1e-6) for p in found.values())
    assert float((found["a"][1, 0] - found["a"][1, 1]).abs().max()) > 1e-2


def test_label_noise_changes_that_many_labels_and_more_of_the_same():
    clean, some, more = (teacher.sample(shard(samples=4000, label_noise=v))["labels"] for v in (0.0, 0.3, 0.8))
    assert float((some != clean).double().mean()) == pytest.approx(0.3, abs=0.03)
    assert float((more != clean).double().mean()) == pytest.approx(0.8, abs=0.03)
    assert torch.equal(more[some != clean], some[some != clean])
    one = shard(samples=4000)
    weights, x = teacher.network(7, 12, 4, torch.Generator().manual_seed(one["seed"])), teacher.sample(one)["x"]
    h = torch.tanh(x @ weights["a"][:-1] + weights["a"][-1])
    assert torch.equal((h @ weights["b"].T + weights["c"].T).argmax(1), clean)


def test_input_noise_comes_after_the_labels_or_before():
    drawn = {n: teacher.sample(shard(samples=2000, input_noise=1.5, noise=n)) for n in teacher.INPUT_NOISES}
    clean = teacher.sample(shard(samples=2000))
    assert torch.equal(drawn["once"]["labels"], clean["labels"])
    assert not torch.equal(drawn["before labels"]["labels"], clean["labels"])
    spread = drawn["once"]["x_noisy"] - drawn["once"]["x"]
    assert float(spread.std()) == pytest.approx(1.5, rel=0.05)
    assert torch.equal(drawn["once"]["batch"], clean["batch"])


def test_labels_are_the_teachers_and_no_class_takes_all():
    labels = teacher.sample(shard(samples=2000, dim=20, hidden=100, classes=10))["labels"]
    assert int(torch.bincount(labels, minlength=10).max()) < 1000


def test_ranks_are_of_the_covariance_of_the_first_layer():
    one = shard("relu")
    found, weights, drawn = teacher.compute(one), teacher.students(one), teacher.sample(one)
    a = weights["a"][-1, 1].double().numpy()
    h = np.maximum(drawn["batch"].double().numpy() @ a[:-1] + a[-1], 0)
    wanted = np.linalg.eigvalsh(np.cov(h.T))[::-1]
    got = found.sel(model="syre").isel(steps=-1)
    np.testing.assert_allclose(got["spectrum"], wanted, atol=1e-4 * wanted[0])
    assert int(got["rank"].sel(cut=1e-3)) == int((wanted > 1e-3).sum())
    assert int(got["linear_rank"].sel(cut=1e-4)) <= one["dim"]


@pytest.fixture(scope="module")
def smoke():
    return {name: figure.run(figure.presets["smoke"]) for name, figure in FIGURES.items()}


def made(name, smoke, ranks):
    """The smoke result with ranks of our own: ``ranks(model, position along dim or level, noise)``."""
    result = smoke[name].copy(deep=True)
    for key in [k for k in result.data_vars if str(k).endswith("rank") and "linear" not in str(k)]:
        values = result[key].astype(float)
        axis = next(d for d in ("dim", "variant_dim", "level", "extreme") if d in values.dims)
        for model in teacher.MODELS:
            for i, at in enumerate(values[axis].values):
                last = i == values.sizes[axis] - 1
                for noise in values["noise"].values if "noise" in values.dims else [at]:
                    here = {"model": model, axis: at} | ({"noise": noise} if "noise" in values.dims else {})
                    values.loc[here] = ranks(model, (last or axis == "extreme") and str(noise) != "none", str(noise))
        result[key] = values
    return result


def test_claimed_curves_pass_and_others_fail(smoke):
    def claimed_b2(model, last, noise):
        return {"vanilla": (10, 15), "syre": (12, 40)}[model][last]

    def claimed_b10(model, last, noise):
        if model == "syre" or not last:
            return 40.0 if model == "syre" else 20.0
        return 10.0 if noise == "label" else 30.0

    assert all(FIGURES["B2"].check(made("B2", smoke, claimed_b2)))
    assert all(FIGURES["B10"].check(made("B10", smoke, claimed_b10)))
    swap = {"vanilla": "syre", "syre": "vanilla"}
    for name, ranks in {"B2": claimed_b2, "B10": claimed_b10}.items():
        other = made(name, smoke, lambda model, last, noise, ranks=ranks: ranks(swap[model], last, noise))
        assert not any(v.holds for v in FIGURES[name].check(other) if "vanilla" in v.statement)
    flat = made("B2", smoke, lambda model, last, noise: 20.0)
    assert not any(FIGURES["B2"].check(flat))
    turned = made(
        "B10",
        smoke,
        lambda m, last, noise: claimed_b10(m, last, {"label": "input", "input": "label"}.get(noise, noise)),
    )
    held = [v for v in FIGURES["B10"].check(turned) if v.holds]
    assert all("syre" in v.statement for v in held)


def test_a_variant_without_collapse_says_nothing_about_the_cure(smoke):
    full = made("B2", smoke, lambda model, last, noise: 40.0)
    names = [v.statement for v in FIGURES["B2"].check(full)]
    assert not any("ten times" in name for name in names)


def test_units_seeds_and_sizes(smoke):
    for result in smoke.values():
        assert isinstance(result, xr.Dataset)
        assert result["rank"].attrs["units"] and result["spectrum"].sizes["index"] == result.attrs["hidden"]
    for figure in FIGURES.values():
        config = figure.presets["paper"]
        assert (config.hidden, config.classes, config.samples, config.batch) == (300, 10, 10_000, 1000)
        assert (config.lr, config.decay, config.sigma0) == (0.01, 0.01, 0.01) and len(config.seeds) == 3


BAD = {
    "steps": (b2.Settings, {"steps": 0}, "positive settings"),
    "no seed": (b10.Settings, {"seeds": ()}, "at least one seed"),
    "dims": (b2.Settings, {"dims": (20, 5)}, "increasing input dimensions"),
    "variant dims": (b2.Settings, {"variant_dims": (5, 5)}, "increasing input dimensions"),
    "variant": (b2.Settings, {"variants": ("dropout",)}, "variants among"),
    "noise variant": (b10.Settings, {"variants": ("dropout",)}, "variants among"),
    "levels": (b10.Settings, {"label_noise": (0.2, 0.8)}, "increasing levels"),
    "too much": (b10.Settings, {"label_noise": (0.0, 0.5, 0.8, 0.9, 1.1)}, "label noise up to 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    settings, wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        settings(**wrong)


def test_bad_training_is_refused():
    x, y = torch.randn(1, 6, 3), torch.zeros(1, 6, dtype=torch.int64)
    data = classifier.task(x, y, 2)
    with pytest.raises(SymtheoryError, match="column of ones"):
        classifier.Task(x, data.targets)
    start = {"a": torch.zeros(1, 4, 5), "b": torch.zeros(1, 2, 5), "c": torch.zeros(1, 2, 1)}
    one, two = torch.ones(1), torch.ones(2)
    with pytest.raises(SymtheoryError, match="one entry per configuration"):
        classifier.train(start, start, data, "tanh", adam(), two, one, [1])
    with pytest.raises(SymtheoryError, match="increasing numbers of steps"):
        classifier.train(start, start, data, "tanh", adam(), one, one, [3, 2])
