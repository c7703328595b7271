"""Figures B6 and B7: the autoencoder is autograd's and the plain loop's; the numbers are the oracles'; checks fail."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.distributions import Normal, kl_divergence

from symtheory.engine import vae
from symtheory.engine.images import shuffled, stand_in
from symtheory.errors import SymtheoryError
from symtheory.figures import autoencoder, b6, b7, pictures
from symtheory.lab.executors import ProcessPool, Serial
from symtheory.lab.store import Store
from symtheory.plots.b6 import figure_b6, figure_b7

FIGURES = {"B6": b6.B6(), "B7": b7.B7()}
DRAWINGS = {"B6": figure_b6, "B7": figure_b7}
#: Seconds for all networks of both figures.
TINY = {"data": "stand-in", "measured": 40, "hidden": 9, "latent": 7, "epochs": 1, "batch": 64, "seeds": (3,)}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    executor = Serial(Store(tmp_path_factory.mktemp("store")))
    return {name: figure.run(figure.presets["smoke"], executor=executor) for name, figure in FIGURES.items()}


def one(seed=3, beta=10.0, decay=50.0, sigma0=0.7, **changes):
    config = b6.Settings(**{**TINY, "epochs": 2, **changes})
    (shard,) = pictures.with_origin([config.shard(seed, beta, decay, sigma0)], None)
    return shard


def plain(shape, vector, x, noise):
    """Reconstruction, mean and log variance by matrix products alone."""
    (w, b), (wm, bm), (ws, bs), (wh, bh), (wi, bi) = shape.layers(vector)
    h = nn.functional.silu(x @ w + b)
    mean, spread = h[:, : shape.hidden] @ wm + bm, h[:, shape.hidden :] @ ws + bs
    z = mean + (spread / 2).exp() * noise
    return nn.functional.silu(z @ wh + bh) @ wi + bi, mean, spread


def normal(variance, like):
    """Centred normal distribution in the precision of a tensor."""
    return Normal(torch.zeros_like(like), torch.full_like(like, variance).sqrt())


def plain_loss(shape, vector, x, noise, beta, prior):
    """Half the squared error, and PyTorch's own KL divergence."""
    image, mean, spread = plain(shape, vector, x, noise)
    pull = kl_divergence(Normal(mean, (spread / 2).exp()), normal(prior, like=mean)).sum(1)
    return (0.5 * (image - x).square().sum(1) + beta * pull).mean()


@pytest.mark.parametrize("name", FIGURES)
def test_the_smoke_run_bears_out_the_claim_and_can_be_drawn(smoke, name):
    assert [v for v in FIGURES[name].check(smoke[name]) if not v.holds] == []
    assert DRAWINGS[name](smoke[name]).axes
    assert json.loads(smoke[name].attrs["data"])["stand-in"]["note"] == "synthetic stand-in"


@pytest.mark.parametrize(("beta", "prior"), [(0.0, 1.0), (1.7, 0.03), (10.0, 0.01)])
def test_the_gradient_is_autograds(beta, prior):
    shape, g = vae.Shape(7, 5, 3), torch.Generator().manual_seed(1)
    vector = shape.start(g).double()
    x, noise = torch.rand(4, 7, generator=g).double(), torch.randn(4, 3, generator=g).double()
    free = vector.clone().requires_grad_(True)
    loss = plain_loss(shape, free, x, noise, beta, prior)
    (slope,) = torch.autograd.grad(loss, free)
    gradient = vae.Gradient(shape, vae.Weighing(beta, prior), 4, vector)
    gradient.weights.copy_(vector)
    error = gradient(x, noise)
    image, mean, spread = plain(shape, vector, x, noise)
    assert torch.allclose(gradient.vector, slope, rtol=1e-10, atol=1e-10)
    assert error == pytest.approx(float(0.5 * (image - x).square().sum(1).mean()), rel=1e-12)
    whole = error + beta * vae.divergence(mean, spread, prior).mean()
    assert float(whole) == pytest.approx(float(loss.detach()), rel=1e-12)


@pytest.mark.parametrize("sigma0", [0.0, 0.7])
def test_a_network_is_the_plain_loops(sigma0):
    """The loop adds a fixed bias to the encoder's weights and leaves the decay of the others to the optimiser."""
    shard = one(sigma0=sigma0)
    data = stand_in()
    x = data.train.images.reshape(-1, 784) / 255
    shape, vector = autoencoder.trained(shard, x)
    bias = sigma0 * shape.scale() * torch.randn(shape.size, generator=torch.Generator().manual_seed(10_003))
    bias[shape.encoder :] = 0
    start = shape.start(torch.Generator().manual_seed(3)) - bias
    encoder, decoder = nn.Parameter(start[: shape.encoder].clone()), nn.Parameter(start[shape.encoder :].clone())
    moved = torch.optim.Adam([{"params": [encoder], "weight_decay": 50.0}, {"params": [decoder]}], lr=1e-3)
    order, g = torch.Generator().manual_seed(20_003), torch.Generator().manual_seed(30_003)
    for index in [i for _ in range(2) for i in shuffled(512, 64, order)]:
        moved.zero_grad()
        noise = torch.randn(64, 7, generator=g)
        plain_loss(shape, torch.cat([encoder, decoder]) + bias, x[index], noise, 10.0, 0.01).backward()
        moved.step()
    assert torch.allclose(vector, torch.cat([encoder, decoder]).detach() + bias, atol=1e-5)


def test_what_is_measured_is_the_oracles():
    shard = one()
    found, data = autoencoder.compute(shard), stand_in()
    seen = data.test.images.reshape(-1, 784) / 255
    shape, vector = autoencoder.trained(shard, data.train.images.reshape(-1, 784) / 255)
    g = torch.Generator().manual_seed(40_003)
    noise = torch.randn(len(seen), 7, generator=g)
    image, mean, spread = plain(shape, vector, seen, noise)
    assert float(found["reconstruction"]) == pytest.approx(float(0.5 * (image - seen).square().sum(1).mean()), rel=1e-4)
    still, *_ = plain(shape, vector, seen, 0 * noise)
    assert float(found["noiseless"]) == pytest.approx(float(0.5 * (still - seen).square().sum(1).mean()), rel=1e-4)
    pull = kl_divergence(Normal(mean, (spread / 2).exp()), normal(0.01, like=mean)).sum(1).mean()
    assert float(found["divergence"]) == pytest.approx(float(pull), rel=1e-4)
    values = np.linalg.eigvalsh(np.cov(mean[:40].double().numpy().T))[::-1]
    assert found["spectrum"].values == pytest.approx(values, rel=1e-3, abs=1e-9)
    assert int(found["rank"]) == int((values > 1e-6).sum())
    pixels = seen.double().numpy()
    assert float(found["constant"]) == pytest.approx(0.5 * ((pixels - pixels.mean(0)) ** 2).sum(1).mean(), rel=1e-6)
    assert int(found["kept"]) == int((np.linalg.eigvalsh(np.cov(pixels.T)) > 10.0).sum())
    image, *_ = plain(shape, vector, seen[:40], torch.randn(40, 7, generator=g))
    assert found["picture"].values == pytest.approx(image[:16].numpy(), abs=1e-4)
    assert found["image"].values == pytest.approx(seen[:16].numpy())
    nearest = [min(range(40), key=lambda j: float((image[j] - x).norm())) for x in seen[:40]]
    assert float(found["recognised"]) == pytest.approx(np.mean([j == k for k, j in enumerate(nearest)]))


def test_an_image_is_recognised_among_the_reconstructions_not_the_other_way_round():
    images, found = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.9], [4.0], [5.0]])
    assert autoencoder.recognised(images, found) == pytest.approx(2 / 3)
    assert autoencoder.recognised(found, images) == pytest.approx(1 / 3)


def test_without_decay_a_bias_changes_nothing():
    x = stand_in().train.flat()
    vectors = [autoencoder.trained(one(decay=0.0, sigma0=s), x)[1] for s in (0.0, 1.0)]
    assert torch.allclose(*vectors, atol=1e-4)
    assert not torch.allclose(vectors[0], autoencoder.trained(one(decay=1.0, sigma0=1.0), x)[1], atol=1e-3)


def test_the_decoder_has_neither_bias_nor_decay():
    shape = vae.Shape(784, 9, 7)
    assert not autoencoder.static_bias(shape, 1.0, 0)[shape.encoder :].any()
    assert (autoencoder.static_bias(shape, 1.0, 0)[: shape.encoder] != 0).all()
    x = stand_in().train.flat()
    start = shape.start(torch.Generator().manual_seed(3))
    vector = autoencoder.trained(one(decay=1e5, sigma0=0.0, epochs=40, lr=5e-3), x)[1]
    assert vector[: shape.encoder].abs().max() < 0.02
    assert vector[shape.encoder :].norm() > 0.5 * start[shape.encoder :].norm()


def test_any_executor_gives_the_same_and_both_figures_share_their_networks(tmp_path):
    config, events = b6.Settings(**TINY, betas=(10.0,), decays=(0.0, 1000.0)), []
    wanted = FIGURES["B6"].run(config)
    xr.testing.assert_identical(FIGURES["B6"].run(config, executor=ProcessPool(Store(tmp_path), jobs=2)), wanted)
    xr.testing.assert_identical(FIGURES["B6"].run(config, executor=Serial(Store(tmp_path), events.append)), wanted)
    assert (events[-1].reused, events[-1].total) == (4, 4)
    found = FIGURES["B7"].run(b7.Settings(**TINY), executor=Serial(Store(tmp_path), events.append))
    assert (events[-1].reused, events[-1].total) == (2, 2)
    xr.testing.assert_identical(FIGURES["B7"].run(b7.Settings(**TINY)), found)


def test_b6_trains_no_network_twice():
    for preset in FIGURES["B6"].presets.values():
        shards = [json.dumps(s, sort_keys=True) for s in FIGURES["B6"].shards(preset)]
        assert len(set(shards)) == len(shards)
    wanted, had = (FIGURES[name].shards(FIGURES[name].presets["paper"]) for name in ("B7", "B6"))
    assert all(shard in had for shard in wanted)


def test_vanilla_passed_off_as_syre_fails_the_check(smoke):
    wrong = smoke["B6"].assign_coords(model=["syre", "decay", "vanilla"])
    failed = [v for v in FIGURES["B6"].check(wrong) if not v.holds]
    assert len(failed) == 3
    wrong = smoke["B6"].isel(decay=[1, 0]).assign_coords(decay=smoke["B6"]["decay"])
    failed = [v.statement for v in FIGURES["B6"].check(wrong) if not v.holds]
    assert len(failed) == 1 and failed[0].startswith("largest beta")


def test_decay_alone_that_does_as_well_fails_the_check(smoke):
    wrong = smoke["B6"].copy(deep=True)
    wrong["reconstruction"].loc[{"model": "decay"}] = wrong["reconstruction"].sel(model="syre")
    assert [v.statement for v in FIGURES["B6"].check(wrong) if not v.holds] == [
        "beta 5: syre's reconstruction loss over vanilla's (control: that of decay alone)"
    ]


def test_pictures_in_the_other_order_fail_the_check(smoke):
    wrong = smoke["B7"].isel(decay=[1, 0])
    assert not any(FIGURES["B7"].check(wrong))


def test_only_smoke_uses_made_up_images():
    for figure in FIGURES.values():
        data = {k: p.data for k, p in figure.presets.items()}
        assert data == {"smoke": "stand-in", "page": "fashion-mnist", "paper": "fashion-mnist"}


def test_a_diverged_training_is_refused():
    with pytest.raises(SymtheoryError, match="finite weights after training"):
        autoencoder.compute(one(lr=1e3))


def test_too_few_batches_are_refused():
    shape = vae.Shape(4, 3, 2)
    start = shape.start(torch.Generator().manual_seed(0))
    with pytest.raises(SymtheoryError, match="5 batches, got 2"):
        vae.train(
            shape,
            vae.Weighing(1.0, 0.01),
            start,
            torch.zeros_like(start),
            lambda a, b: torch.optim.Adam([a, b]),
            [torch.rand(6, 4)] * 2,
            torch.Generator().manual_seed(0),
            5,
        )


BAD = {
    "betas": (b6.Settings, {"betas": (10.0, 1.0)}, "increasing betas, up to 5"),
    "small betas": (b6.Settings, {"betas": (0.1, 1.0)}, "increasing betas, up to 5"),
    "decays": (b6.Settings, {"decays": (0.0, 10.0)}, r"increasing decays from 0, 1000\.0 among them"),
    "no zero": (b6.Settings, {"decays": (10.0, 1000.0)}, "increasing decays from 0"),
    "prior": (b6.Settings, {"prior": 0.0}, "positive settings"),
    "seeds": (b7.Settings, {"seeds": ()}, "a seed"),
    "beta": (b7.Settings, {"beta": 0.0}, "a positive beta"),
    "widths": (vae.Shape, {"inputs": 4, "hidden": 0, "latent": 2}, "positive widths"),
    "weighing": (vae.Weighing, {"beta": 1.0, "prior": 0.0}, "a positive prior variance"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    settings, wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        settings(**wrong)
