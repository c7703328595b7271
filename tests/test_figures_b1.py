"""Figure B1: low-capacity starts are what they say; every training is the plain loop; the check can fail."""

import json

import pytest
import torch
import xarray as xr
from torch import nn

from symtheory import gallery
from symtheory.engine import mlp
from symtheory.engine.images import shuffled, stand_in
from symtheory.errors import SymtheoryError
from symtheory.figures import b1, pictures
from symtheory.lab.executors import Serial
from symtheory.lab.runs import run_figure
from symtheory.transforms.anchor import AnchoredDecay

FIGURE = b1.B1()


@pytest.fixture(scope="module")
def smoke():
    return FIGURE.run(FIGURE.presets["smoke"])


def test_a_low_capacity_start_has_copies_of_the_first_neuron_and_else_the_full_start():
    shape = mlp.Shape((5, 7, 3))
    full, low = (b1.low_capacity(shape, k, torch.Generator().manual_seed(0)) for k in (7, 3))
    (w, b), (out, c) = shape.layers(low)
    (w0, b0), (out0, c0) = shape.layers(full)
    assert len({tuple(row) for row in torch.cat([w.T, b[:, None], out], 1).tolist()}) == 3
    assert torch.equal(w[:, :3], w0[:, :3]) and torch.equal(out[:3], out0[:3]) and torch.equal(c, c0)
    assert torch.equal(b[:3], b0[:3]) and all(torch.equal(out[k], out[0]) for k in range(3, 7))
    assert b1.copies_apart(shape, low, 3) == 0 and b1.copies_apart(shape, full, 7) == 0
    assert b1.copies_apart(shape, full, 3) > 0.1


@pytest.mark.parametrize("training", b1.TRAININGS)
@pytest.mark.parametrize("optimizer", b1.OPTIMIZERS)
def test_every_training_is_the_plain_loop(training, optimizer):
    """The loop trains a module by autograd and decays it towards the bias in the optimiser's hooks."""
    config = FIGURE.presets["smoke"].with_changes(steps=20)
    (shard,) = [s for s in FIGURE.shards(config) if (s["optimizer"], s["training"]) == (optimizer, training)]
    (shard,) = pictures.with_origin([{**shard, "at": [20], "different": [4]}], None)
    found = b1.compute(shard)
    data, shape = stand_in().train, mlp.Shape((784, 16, 10))
    (w, b), (out, c) = shape.layers(b1.low_capacity(shape, 4, torch.Generator().manual_seed(0)))
    net = nn.Sequential(nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    for p, value in zip(net.parameters(), (w.T, b, out.T, c), strict=True):
        p.data = value.clone()
    kind = torch.optim.SGD if optimizer == "SGD" else torch.optim.Adam
    moved = kind(net.parameters(), lr=shard["lr"])
    decay, size = b1.TRAININGS[training]
    noise = torch.randn(shape.size, generator=torch.Generator().manual_seed(10_000))
    (aw, ab), (aout, ac) = shape.layers(size * config.sigma0 * shape.scale() * noise)
    AnchoredDecay(moved, [aw.T, ab, aout.T, ac], decay * config.decay / 2)
    x = data.images.reshape(-1, 784) / 255
    order = shuffled(len(data), 16, torch.Generator().manual_seed(20_000))
    for index in [i for i, _ in zip(order, range(20), strict=False)]:
        moved.zero_grad()
        nn.functional.cross_entropy(net(x[index]), data.labels[index]).backward()
        moved.step()
    loss = nn.functional.cross_entropy(net(x[:256]), data.labels[:256])
    assert found["loss"].item() == pytest.approx(loss.item(), rel=1e-4)


def test_a_result_says_what_it_was_made_from_and_so_does_its_page(smoke, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMTHEORY_RESULTS", str(tmp_path))
    _, made = run_figure(FIGURE, "smoke", results_root=tmp_path)
    assert made.data == json.loads(smoke.attrs["data"]) == stand_in().origin()
    assert "Data: stand-in (synthetic stand-in, SHA-256 " in gallery.evidence("B1").text


def test_only_smoke_uses_made_up_images():
    assert {k: p.data for k, p in FIGURE.presets.items()} == {"smoke": "stand-in", "page": "mnist", "paper": "mnist"}


def test_without_a_place_for_data_sets_the_remedy_is_named():
    with pytest.raises(SymtheoryError, match=r"knows where mnist is, got none; use 'symtheory run'"):
        FIGURE.run(FIGURE.presets["page"])


def test_a_shard_refuses_another_copy_of_the_data(smoke):
    (shard,) = pictures.with_origin(FIGURE.shards(FIGURE.presets["smoke"])[:1], None)
    shard["origin"] = {"stand-in": {"sha256": "0", "note": "synthetic stand-in"}}
    with pytest.raises(SymtheoryError, match="use the same files on every machine"):
        b1.compute(shard)


def test_the_executor_does_not_change_a_number(smoke):
    xr.testing.assert_identical(FIGURE.run(FIGURE.presets["smoke"], executor=Serial()), smoke)


@pytest.mark.parametrize("other", ["vanilla", "decay"])
def test_another_training_passed_off_as_syre_fails_the_check(smoke, other):
    swap = {"syre": other, other: "syre"}
    wrong = smoke.assign_coords(training=[swap.get(t, t) for t in smoke["training"].values.tolist()])
    assert any("syre: relative spread" in v.statement for v in FIGURE.check(wrong) if not v.holds)


def test_copies_that_part_fail_the_check(smoke):
    wrong = smoke.copy(deep=True)
    wrong["apart"].loc[{"training": "vanilla", "step": int(smoke["step"][5])}] = 1e-3
    assert any("largest distance ever" in v.statement for v in FIGURE.check(wrong) if not v.holds)


BAD = {
    "counts": ({"different": (1, 300)}, "increasing numbers up to all hidden units"),
    "steps": ({"steps": 0}, "positive settings"),
    "seeds": ({"seeds": ()}, "a seed"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        b1.Settings(**wrong)
