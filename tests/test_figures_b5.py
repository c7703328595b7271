"""Figures B5 and B11: the network is the plain loop's; the spectrum is a covariance's; the checks can fail."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from symtheory.engine.images import shuffled, stand_in
from symtheory.errors import SymtheoryError
from symtheory.figures import b5, b11, fcn, pictures
from symtheory.plots.b5 import figure_b5, figure_b11

FIGURES = {"B5": b5.B5(), "B11": b11.B11()}


@pytest.fixture(scope="module")
def smoke():
    return {name: figure.run(figure.presets["smoke"]) for name, figure in FIGURES.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_the_smoke_run_bears_out_the_claim_and_can_be_drawn(smoke, name):
    assert [v for v in FIGURES[name].check(smoke[name]) if not v.holds] == []
    assert {"B5": figure_b5, "B11": figure_b11}[name](smoke[name]).axes
    assert json.loads(smoke[name].attrs["data"])["stand-in"]["note"] == "synthetic stand-in"


@pytest.mark.parametrize("sigma0", [0.0, 0.7])
def test_a_network_is_the_plain_loops(sigma0):
    """The loop runs weights with a fixed bias added and leaves the decay of the others to the optimiser."""
    config = b5.Settings(data="stand-in", measured=100, hidden=12, epochs=1, batch=32, seeds=(3,))
    (shard,) = pictures.with_origin([config.shard(3, 0.02, 0.5, sigma0)], None)
    data = stand_in()
    x = 0.5 * data.train.images.reshape(-1, 784) / 255
    shape, vector = fcn.trained(shard, x, data.train.labels, 10)
    start = shape.start(torch.Generator().manual_seed(3))
    noise = torch.randn(shape.size, generator=torch.Generator().manual_seed(10_003))
    bias = sigma0 * shape.scale() * noise
    free = nn.Parameter(start - bias)
    moved = torch.optim.SGD([free], lr=0.1, weight_decay=0.02)
    for index in shuffled(512, 32, torch.Generator().manual_seed(20_003)):
        moved.zero_grad()
        h = x[index]
        for k, (w, b) in enumerate(shape.layers(free + bias)):
            h = (h.relu() if k else h) @ w + b
        nn.functional.cross_entropy(h, data.train.labels[index]).backward()
        moved.step()
    assert torch.allclose(vector, free.detach() + bias, atol=1e-5)
    seen = 0.5 * data.test.images.reshape(-1, 784) / 255
    (w, b), *_ = shape.layers(vector)
    z = (seen[:100] @ w + b).double().numpy()
    found = fcn.compute(shard)
    for place, h in zip(fcn.PLACES, (z, z.clip(min=0)), strict=True):
        values = np.linalg.eigvalsh(np.cov(h.T))[::-1] / 0.25
        assert found["spectrum"].sel(place=place).values == pytest.approx(values, abs=1e-6)
        assert int(found["rank"].sel(place=place)) == int((values > 1e-4).sum())


@pytest.mark.parametrize("name", FIGURES)
def test_vanilla_passed_off_as_syre_fails_the_check(smoke, name):
    result = smoke[name]
    if name == "B5":
        wrong = result.assign_coords(model=["syre", "vanilla"])
        assert not any(FIGURES[name].check(wrong))
    else:
        wrong = result.isel(sigma0=[2, 1, 0, 3]).assign_coords(sigma0=result["sigma0"].values)
        assert len([v for v in FIGURES[name].check(wrong) if not v.holds]) >= 3


def test_a_collapse_in_between_is_seen(smoke):
    wrong = smoke["B5"].copy(deep=True)
    wrong["rank"].loc[{"model": "syre", "decay": 1e-3}] = 3
    wrong["scale_accuracy"].loc[{"model": "syre", "scale": 1.0}] = 0.3
    failed = [v.statement for v in FIGURES["B5"].check(wrong) if not v.holds]
    assert any("any decay: largest shortfall" in s for s in failed)
    assert any("any scale: largest drop" in s for s in failed)


def test_only_smoke_uses_made_up_images():
    for figure in FIGURES.values():
        assert {k: p.data for k, p in figure.presets.items()} == {
            "smoke": "stand-in",
            "page": "mnist",
            "paper": "mnist",
        }


def test_the_networks_that_both_figures_need_are_trained_once():
    both = [[json.dumps(s, sort_keys=True) for s in f.shards(f.presets["paper"])] for f in FIGURES.values()]
    assert len(set(both[0]) & set(both[1])) == 6


BAD = {
    "decays": (b5.Settings, {"decays": (0.1, 0.01)}, "increasing decays"),
    "scales": (b5.Settings, {"scales": (0.1, 1.0)}, "decreasing scales"),
    "decay": (b5.Settings, {"decay": 0.0}, "a positive decay"),
    "epochs": (b5.Settings, {"epochs": 0}, "positive settings"),
    "sizes": (b11.Settings, {"sizes": (0.0, 0.3, 3.0)}, "with 1 among them"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    settings, wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        settings(**wrong)
