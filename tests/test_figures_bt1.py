"""Figure BT1: the loss is its definition, the linear classifier scikit-learn's, the check can fail."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.linear_model import LogisticRegression

from symtheory import gallery
from symtheory.engine import contrastive, epochs, probing, resuming
from symtheory.engine.images import stand_in
from symtheory.engine.supervised import Normalise
from symtheory.errors import SymtheoryError
from symtheory.figures import bt1, pictures, residual
from symtheory.lab.executors import Serial
from symtheory.lab.store import Store
from symtheory.plots.bt1 import figure_bt1

FIGURE = bt1.BT1()
IMAGES = stand_in(count=64, side=8, channels=3)
PLAN = contrastive.Plan(epochs=3, batch=16, lr=0.1, anneal="cosine", seed=5)
TINY = bt1.Settings(
    data=pictures.COLOURED, samples=48, tested=40, side=8, width=2, outputs=5, epochs=2, batch=12, lr=0.1, decay=1e-2,
    penalty=1e-2, sizes=(0.5,), seeds=(3,),
)  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(sigma0=0.0, place="head"):
    return bt1.with_bias(contrastive.Network(6, seeded(), width=2), sigma0, 1e-2, place, 7)


def trained(net, measure=lambda epoch: {"loss": epoch.loss}, plan=PLAN):
    optimizer = bt1.optimiser(net, plan.lr, 1e-2)
    normalise, mark = Normalise(IMAGES.train.images), resuming.Bookmark(0.0)
    history = contrastive.train(net, optimizer, IMAGES.train, normalise, plan, measure, bookmark=mark)
    return history, optimizer


def weights_of(net):
    """Weights as the network uses them, by their plain names."""
    split = {k: k.rpartition(".")[::2] for k, _ in network().named_parameters()}
    return {k: getattr(net.get_submodule(owner), leaf) for k, (owner, leaf) in split.items()}


def features(n=120, units=6, classes=3):
    """Classes that overlap, and directions of very different variance away from the origin."""
    g = seeded(1)
    labels = torch.randint(classes, (n,), generator=g)
    centres = torch.randn(classes, units, generator=g, dtype=torch.float64)
    x = centres[labels] + torch.randn(n, units, generator=g, dtype=torch.float64)
    return 3 + x * torch.logspace(0, -2, units, dtype=torch.float64), labels


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    executor = Serial(Store(tmp_path_factory.mktemp("store")))
    return FIGURE.run(FIGURE.presets["smoke"], executor=executor)


@pytest.fixture
def table():
    """The paper's own numbers as a result."""
    rows = np.array(list(bt1.PAPER.values()))[None]
    low = {name: (("seed", "model"), rows[..., 0].copy()) for name in ("low_rank", "relative")}
    return xr.Dataset(
        {**low, "accuracy": (("seed", "model", "layer"), rows[..., 1:])},
        coords={"model": list(bt1.PAPER), "layer": list(bt1.LAYERS), "seed": [0]},
        attrs={"sizes": [0.1, 0.01]},
    )  # fmt: skip


def by_definition(first, second, temperature):
    """The loss pair by pair: for each view, minus the log of its partner's share among all but itself."""
    z = [v / v.norm() for v in (*first, *second)]
    n, total = len(first), 0.0
    for i in range(2 * n):
        weights = {k: float(torch.exp(z[i] @ z[k] / temperature)) for k in range(2 * n) if k != i}
        total -= np.log(weights[(i + n) % (2 * n)] / sum(weights.values()))
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
def test_the_loss_is_its_definition(temperature):
    first, second = torch.randn(2, 5, 4, generator=seeded(), dtype=torch.float64)
    found = contrastive.nt_xent(first, second, temperature)
    assert float(found) == pytest.approx(by_definition(first, second, temperature), rel=1e-12)
    assert float(contrastive.nt_xent(second, first, temperature)) == pytest.approx(float(found), rel=1e-12)


def test_the_loss_sees_angles_alone():
    first, second = torch.randn(2, 5, 4, generator=seeded(), dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=seeded(1), dtype=torch.float64)).Q
    lengths = torch.rand(5, 1, generator=seeded(2), dtype=torch.float64) + 0.1
    moved = contrastive.nt_xent(7 * first @ turn, lengths * second @ turn, 0.5)
    assert float(moved) == pytest.approx(float(contrastive.nt_xent(first, second, 0.5)), rel=1e-12)


def test_its_gradient_goes_through_both_views():
    both = [t.clone().requires_grad_() for t in torch.randn(2, 3, 4, generator=seeded(), dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda a, b: contrastive.nt_xent(a, b, 0.5), both)
    net = network().train()
    first, second = net(torch.rand(8, 3, 8, 8, generator=seeded())).chunk(2)
    contrastive.nt_xent(first, second, 0.5).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())


def test_a_reduced_precision_around_it_does_not_reach_the_loss():
    first, second = torch.randn(2, 5, 4, generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        found = contrastive.nt_xent(first, second, 0.1)
    assert float(found) == pytest.approx(by_definition(first.double(), second.double(), 0.1), rel=1e-5)


def test_views_are_two_of_each_image_and_follow_seed_and_epoch():
    (first, *_), (again, *_), (later, *_) = (list(contrastive.views(IMAGES.train, PLAN, k)) for k in (0, 0, 1))
    assert first.shape == (32, 3, 8, 8) and torch.equal(first, again) and not torch.equal(first, later)
    order = epochs.stream(torch.device("cpu"), PLAN.seed, 0, 0)
    batch = IMAGES.train.images[torch.randperm(64, generator=order)[:16]].float() / 255
    assert not torch.equal(first[:16], first[16:])
    gap = torch.cdist(first.reshape(2, 16, -1).mean(0), batch.flatten(1))
    nearest = (gap.argmin(1) == torch.arange(16)).double().mean()
    assert float(nearest) > 3 / 16


def test_the_head_is_two_layers_on_the_pooled_features():
    net = network().eval()
    x = torch.rand(4, 3, 8, 8, generator=seeded())
    with torch.no_grad():
        h = net.trunk.pooled(x)
        linear, norm, _, last = net.head
        assert h.shape == (4, 16) and isinstance(norm, torch.nn.BatchNorm1d)
        assert torch.allclose(net(x), norm(h @ linear.weight.T).clamp(min=0) @ last.weight.T, atol=1e-6)
        assert net(x).shape == (4, 6)


def test_the_linear_classifier_is_scikit_learns():
    x, labels = features()
    probe = probing.fit(x, labels, 3, 1e-2)
    seen = ((x - probe.mean) / probe.scale).numpy()
    other = LogisticRegression(C=1 / (1e-2 * len(x)), tol=1e-10, max_iter=10_000).fit(seen, labels.numpy())
    found = probe.logits(x).softmax(1).numpy()
    assert found == pytest.approx(other.predict_proba(seen), abs=1e-4)
    assert probe.accuracy(x, labels) == pytest.approx(other.score(seen, labels.numpy()))


def test_the_linear_classifier_sees_neither_a_shift_nor_a_common_factor():
    x, labels = features()
    plain, moved = probing.fit(x, labels, 3, 1e-2), probing.fit(1e-4 * x + 5, labels, 3, 1e-2)
    assert torch.allclose(moved.logits(1e-4 * x + 5), plain.logits(x), atol=1e-3)


def test_features_without_variance_are_worth_the_largest_class():
    labels = torch.tensor([0, 1, 1, 1])
    assert probing.fit(torch.ones(4, 3), labels, 2, 1e-2).accuracy(torch.ones(4, 3), labels) == 0.75


def test_an_interrupted_training_ends_with_the_same_bytes(tmp_path):
    whole, (history, optimizer) = (net := network(0.5)), trained(net)
    broken, resumed = network(0.5), network(0.5)

    def stop(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt
        return {"loss": epoch.loss}

    with resuming.keeping(tmp_path), pytest.raises(KeyboardInterrupt):
        trained(broken, stop)
    seen = []

    def count(epoch):
        seen.append(epoch.number)
        return {"loss": epoch.loss}

    with resuming.keeping(tmp_path):
        again, other = trained(resumed, count)
    assert seen == [2, 3] and again == history
    for k, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[k])
    kept, ours = (o.state_dict()["state"] for o in (optimizer, other))
    assert all(torch.equal(kept[k]["momentum_buffer"], ours[k]["momentum_buffer"]) for k in kept)


@pytest.mark.parametrize("place", bt1.PLACES)
def test_syre_keeps_the_function_and_touches_what_it_says(place):
    plain, biased = network().eval(), network(0.5, place).eval()
    x = torch.rand(4, 3, 8, 8, generator=seeded())
    with torch.no_grad():
        assert torch.allclose(plain(x), biased(x), atol=1e-5)
    changed = {k.removesuffix(".bias") for k, _ in biased.named_buffers() if k.endswith("0.bias") and "param" in k}
    weights = {k for k, p in plain.named_parameters() if p.dim() > 1 and (place != "head" or k.startswith("head."))}
    assert {k.replace("parametrizations.", "").removesuffix(".0") for k in changed} == weights
    shared = dict(plain.named_parameters())
    kept = {k: p for k, p in biased.named_parameters() if "original" not in k}
    assert set(shared) - set(kept) == weights
    assert all(torch.equal(shared[k], p) for k, p in kept.items())


def test_weights_decay_towards_the_bias_and_the_others_stay():
    """Without gradient, one step takes of each weight the decay times its distance from the bias."""
    net = network(0.5)
    before = {k: p.detach().clone() for k, p in weights_of(net).items()}
    optimizer = bt1.optimiser(net, 0.1, 0.3)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    bias = {"head.0": net.head[0], "head.3": net.head[3]}
    for k, after in weights_of(net).items():
        if after.dim() == 1:
            assert torch.equal(after, before[k])
            continue
        anchor = bias[k.removesuffix(".weight")].parametrizations.weight[0].bias if k.startswith("head.") else 0.0
        assert torch.allclose(after - anchor, 0.97 * (before[k] - anchor), atol=1e-6)


def test_a_shard_measures_what_a_plain_loop_does():
    (shard,) = pictures.with_origin([TINY.shard(3, 0.5, "head")], None)
    found = bt1.compute(shard)
    xr.testing.assert_identical(found, bt1.compute(shard))
    train, test, _ = residual.splits(shard, "cpu", None)
    net = bt1.with_bias(contrastive.Network(5, seeded(3), width=2), 0.5, 1e-2, "head", 10_003)
    net = net.to(memory_format=torch.channels_last)
    decayed = [p for p in net.parameters() if p.dim() > 1]
    rest = [p for p in net.parameters() if p.dim() == 1]
    moved = torch.optim.SGD([{"params": decayed, "weight_decay": 1e-2}, {"params": rest}], lr=0.1, momentum=0.9)
    normalise, plan, step = Normalise(train.images), contrastive.Plan(2, 12, 0.1, "cosine", 3), 0
    for epoch in range(2):
        for both in contrastive.views(train, plan, epoch):
            for group in moved.param_groups:
                group["lr"] = 0.05 * (1 + np.cos(np.pi * step / 8))
            step += 1
            moved.zero_grad()
            out = net(normalise.colours(both))
            contrastive.nt_xent(out[:12], out[12:], 0.5).backward()
            moved.step()
    net.eval()
    with torch.no_grad():
        z = net(normalise(test.images)).double().numpy()
    values = np.linalg.eigvalsh(np.cov(z.T))[::-1]
    assert found["spectrum"].values == pytest.approx(values, rel=1e-3, abs=1e-7)
    assert float(found["low_rank"]) == np.mean(values < 1e-5)
    assert float(found["relative"]) == np.mean(values < 1e-5 * values[0])


def test_the_papers_table_holds_within_the_bars(table):
    assert all(v.holds for v in FIGURE.check(table))


def test_vanilla_passed_off_as_syre_fails_the_check(table):
    names = table["model"].values.tolist()
    swapped = table.assign_coords(model=[names[1], names[0], *names[2:]])
    assert not any(v.holds for v in FIGURE.check(swapped)[:3])


FAKES = {
    "bias of 0.01": ("low_rank", {"model": "syre 0.01, all layers"}, 0.3),
    "bias of 0.1:": ("low_rank", {"model": "syre 0.1, head"}, 0.3),
    "leaves": ("accuracy", {"model": "syre 0.1, head", "layer": "last"}, 0.23),
    "penultimate": ("accuracy", {"model": "syre 0.01, head", "layer": "penultimate"}, 0.4),
}


@pytest.mark.parametrize("statement", FAKES)
def test_every_verdict_can_fail(table, statement):
    name, where, value = FAKES[statement]
    table[name].loc[where] = value
    (failed,) = [v.statement for v in FIGURE.check(table) if not v.holds]
    assert statement in failed


@pytest.mark.parametrize("name", ["low_rank", "relative"])
@pytest.mark.parametrize("lost", [0.0, 0.7])
def test_features_that_are_only_shorter_or_longer_have_no_other_rank(table, name, lost):
    """The loss does not see their length: all below an absolute cut, or none, while the ranks are the same."""
    table[name].loc[:] = lost
    assert [v.holds for v in FIGURE.check(table)] == [False, False, True, True]


@pytest.mark.parametrize(("vanilla", "syre"), [(0.4, 0.39), (0.395, 0.3975), (0.36, 0.38)])
def test_without_a_gap_nothing_is_explained(table, vanilla, syre):
    """Half of no gap, or of one that is too small to mean anything, is nothing."""
    table["accuracy"].loc[{"layer": "penultimate"}] = 0.4
    table["accuracy"].loc[{"layer": "last"}] = syre
    table["accuracy"].loc[{"layer": "last", "model": bt1.VANILLA}] = vanilla
    assert [v.holds for v in FIGURE.check(table)] == [True, True, False, False]


def test_the_smoke_run_can_be_drawn_and_swapping_its_models_fails(smoke):
    drawn = figure_bt1(smoke)
    assert next(ax.get_xlabel() for ax in drawn.axes) == "low-rankness" and len(drawn.axes) == 3
    assert json.loads(smoke.attrs["data"])["stand-in"]["note"] == "synthetic stand-in"
    assert FIGURE.check(smoke)[0].holds
    names = smoke["model"].values.tolist()
    assert not FIGURE.check(smoke.assign_coords(model=[names[1], names[0], *names[2:]]))[0].holds


def test_the_papers_numbers_are_marked_beside_ours(table):
    panels = figure_bt1(table).axes
    for k, ax in enumerate(panels):
        (line,) = ax.get_lines()
        assert [float(x) for x in line.get_xdata()] == [row[k] for row in bt1.PAPER.values()]
    assert [t.get_text() for t in panels[0].get_yticklabels()] == list(bt1.PAPER)


def test_the_finding_and_the_page_say_what_the_committed_result_says():
    result = gallery.stored("BT1")[0].isel(seed=0)
    lost = (8 * result["low_rank"]).values.tolist()
    assert lost == (8 * result["relative"]).values.tolist() == [4, 0, 3, 0, 3]
    before, after = result["accuracy"].transpose("layer", "model").values
    assert 0.009 < ((before[0] * (1 - before[0]) + after[0] * (1 - after[0])) / 4000) ** 0.5 < 0.011
    assert np.ptp(before[1:]) > before[0] - after[0] and np.ptp(after[1:]) > before[0] - after[0]
    assert [v.holds for v in FIGURE.check(gallery.stored("BT1")[0])] == [True, False, False, False]


def test_results_follow_the_order_of_the_shards():
    class Echo:
        def map(self, figure_id, function, shards):
            def answer(s):
                told = 1e3 * s["seed"] + s["sigma0"] + 10 * (s["place"] == "all layers")
                parts = dict.fromkeys(("low_rank", "relative", "loss"), told)
                return xr.Dataset({**parts, "accuracy": ("layer", [told, 0.0]), "spectrum": ("index", [told])})

            return [answer(s) for s in shards]

    config = TINY.with_changes(sizes=(0.1, 0.01), seeds=(3, 4))
    found = FIGURE.run(config, executor=Echo())
    assert found["model"].values.tolist() == list(bt1.PAPER)
    wanted = np.array([0.0, 0.1, 0.01, 10.1, 10.01])
    assert found["low_rank"].values == pytest.approx(np.stack([3e3 + wanted, 4e3 + wanted]))


def test_the_papers_preset_is_on_its_data_and_others_can_be_named():
    assert {k: p.data for k, p in FIGURE.presets.items()} == {
        "smoke": pictures.COLOURED, "page": "cifar-10", "paper": "cifar-100"
    }  # fmt: skip
    assert FIGURE.presets["paper"].with_changes(data="cifar-10").shard(0, 0.1, "head")["data"] == "cifar-10"
    assert list(FIGURE.presets["paper"].models) == list(bt1.PAPER)


BAD = {
    "epochs": ({"epochs": 0}, "positive settings"),
    "decay": ({"decay": 0.0}, "positive settings"),
    "seeds": ({"seeds": ()}, "a seed"),
    "sizes": ({"sizes": (0.1, 0.1)}, "different positive sizes"),
    "no size": ({"sizes": (0.0,)}, "different positive sizes"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        bt1.Settings(**wrong)


def test_bad_plans_and_inputs_are_refused():
    for wrong in ({"batch": 1}, {"temperature": 0.0}, {"least": 1.5}):
        with pytest.raises(SymtheoryError, match="two images a batch"):
            contrastive.Plan(**{"epochs": 1, "batch": 4, "lr": 0.1, **wrong})
    with pytest.raises(SymtheoryError, match="n >= 2"):
        contrastive.nt_xent(torch.ones(1, 3), torch.ones(1, 3), 0.5)
    with pytest.raises(SymtheoryError, match="an output and a channel"):
        contrastive.Network(0, seeded())
    with pytest.raises(SymtheoryError, match="penalty > 0"):
        probing.fit(torch.ones(2, 2), torch.tensor([0, 1]), 2, 0.0)
    with pytest.raises(SymtheoryError, match="finite features"):
        probing.fit(torch.full((2, 2), torch.nan), torch.tensor([0, 1]), 2, 0.1)
    with pytest.raises(SymtheoryError, match="a finite loss"):
        trained(network(), plan=contrastive.Plan(1, 16, 1e30))
