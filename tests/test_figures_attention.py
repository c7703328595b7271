"""Figures A9 and A10: the reduced graphs against the naive model, training against the plain loop, checks that fail."""

from functools import partial

import pytest
import torch
import xarray as xr

from symtheory.engine.updates import adam, sgd
from symtheory.errors import SymtheoryError
from symtheory.figures import a9, a10, attention, attention_training
from symtheory.spec.numerics import relative_error
from symtheory.spec.params import Params

PLAIN = {"shared": False, "decoupled": False, "merged": False, "residual": False, "init": 1.0}
SMALL = {"prompts": 24, "rows": 7, "features": 9, "lr": 4e-3, "seed": 3}


def _instance(layers, seed=0, count=9, rows=6, features=4, scale=3.0):
    data = attention.prompts(count, rows, features, seed, shared=False)
    params = attention.initial(layers, features + 1, seed, scale)
    return attention.Prompts(data.x.double(), data.y.double()), {k: p.double() for k, p in params.items()}


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_reduced_gradients_are_autograds(layers, residual):
    data, params = _instance(layers)
    leaves = {k: p.clone().requires_grad_() for k, p in params.items()}
    value = attention.loss(leaves, data, residual=residual)
    wanted = dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))
    small = {k: p[None] for k, p in attention.reduced(params).items()}
    if layers == 1:
        losses, found = attention.one_layer(small, data)
    else:
        losses, found = attention.two_layers(small, data, residual=residual, chunk=4)
    assert relative_error(losses[0], value.detach()) < 1e-12
    for name, g in attention.reduced(wanted).items():
        assert relative_error(found[name][0], g) < 1e-11, name
        assert float(g.norm()) > 1e-4, name
    assert not wanted[f"v{layers}"][:, :-1].any()  # the other columns of the last values have no gradient


def test_one_matrix_is_the_layer_without_factors():
    data, params = _instance(1)
    m = (params["q1"] @ params["k1"].T).requires_grad_()
    logits = torch.einsum("nd,de,nte->nt", data.x[:, -1], m, data.x) / data.x.shape[-1] ** 0.5
    value = ((torch.softmax(logits, -1) * (data.x @ params["v1"][:, -1])).sum(-1) - data.y).square().mean()
    losses, found = attention.one_matrix({"m1": m.detach()[None], "v1": params["v1"][None, :, -1]}, data)
    assert relative_error(losses[0], value.detach()) < 1e-12
    assert relative_error(found["m1"][0], torch.autograd.grad(value, m)[0]) < 1e-11


def _loop(shard, decay, steps):
    """As one would write it: modules' weights, autograd, torch.optim."""
    data = attention.prompts(shard["prompts"], shard["rows"], shard["features"], shard["seed"], shared=shard["shared"])
    start = attention.initial(shard["layers"], shard["features"] + 1, shard["seed"], shard["init"])
    params: Params = {k: torch.nn.Parameter(p.clone()) for k, p in start.items()}
    kind = torch.optim.AdamW if shard["decoupled"] else torch.optim.Adam
    optimizer = kind(params.values(), lr=shard["lr"], weight_decay=decay)
    for _ in range(steps):
        optimizer.zero_grad()
        attention.loss(params, data, residual=shard["residual"]).backward()
        optimizer.step()
    return {k: p.detach() for k, p in params.items()}


@pytest.mark.parametrize(
    ("layers", "change"),
    [
        (1, {}),
        (1, {"decoupled": True}),
        (1, {"shared": True, "init": 0.5}),
        (2, {}),
        (2, {"residual": True}),
    ],
)
def test_training_is_the_plain_loop(layers, change):
    decays, steps = [0.0, 0.1], 40
    if layers == 2:
        decays = decays[1:]
    shard = {**SMALL, **PLAIN, **change, "layers": layers, "decays": decays, "record": [0, steps]}
    found = attention_training.compute(shard)
    loops = [attention.reduced(_loop(shard, decay, steps)) for decay in decays]
    for decay, slow in zip(decays, loops, strict=True):
        for layer in range(1, layers + 1):
            for matrix, kind in (("query", "q"), ("key", "k")):
                values = found["spectrum"].sel(decay=decay, step=steps, layer=layer, matrix=matrix).values
                wanted = torch.linalg.svdvals(slow[f"{kind}{layer}"].double())
                assert relative_error(torch.as_tensor(values).double(), wanted) < 1e-5
    data = attention.prompts(SMALL["prompts"], SMALL["rows"], SMALL["features"], SMALL["seed"], shared=shard["shared"])
    if layers == 1:
        slope = partial(attention.one_layer, data=data)
    else:
        slope = partial(attention.two_layers, data=data, residual=shard["residual"], chunk=10)
    start, update = attention_training.starting(shard), adam(decoupled=shard["decoupled"])
    *_, (_, params) = attention_training.train(slope, start, update, torch.tensor(decays), 4e-3, [steps])
    for name, p in params.items():
        for fast, slow in zip(p, loops, strict=True):
            assert relative_error(fast, slow[name]) < 1e-5, name


def test_gradient_descent_balances_the_factors_as_the_flow_does():
    """W_Q^T W_Q - W_K^T W_K is multiplied by (1 - lr decay)^2 a step, up to the square of the step: exp(-2 decay t)."""
    data, params = _instance(1, scale=1.0)
    start = {k: p[None] for k, p in attention.reduced(params).items()}
    steps, lr, decay = 2000, 1e-4, 2.0

    def gap(p):
        return p["q1"].mT @ p["q1"] - p["k1"].mT @ p["k1"]

    slope, rate = partial(attention.one_layer, data=data), torch.tensor([decay])
    trained = attention_training.train(slope, start, sgd(), rate, lr, [0, steps])
    before, after = [dict(p) for _, p in trained]
    shrink = torch.exp(torch.tensor(-2 * decay * lr * steps, dtype=torch.float64))
    assert relative_error(gap(after), shrink * gap(before)) < 5e-3
    assert relative_error(after["q1"] @ after["k1"].mT, before["q1"] @ before["k1"].mT) > 0.1  # it did move


def test_rotating_queries_and_keys_changes_nothing():
    data, params = _instance(2)
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    turned = {**params, "q1": params["q1"] @ rotation, "k1": params["k1"] @ rotation}
    plain = attention.predict(params, data.x, residual=False)
    assert relative_error(attention.predict(turned, data.x, residual=False), plain) < 1e-12
    across = {**params, "q1": params["q1"] @ rotation, "k2": params["k2"] @ rotation}
    assert relative_error(attention.predict(across, data.x, residual=False), plain) > 1e-3


def test_data_are_as_printed():
    data = attention.prompts(4, 6, 5, 0, shared=True)
    target = torch.linalg.lstsq(data.x[0, :-1, :-1], data.x[0, :-1, -1:]).solution
    assert torch.allclose(data.x[:, :-1, :-1] @ target, data.x[:, :-1, -1:], atol=1e-4)
    assert torch.allclose(data.x[:, -1, :-1] @ target[:, 0], data.y, atol=1e-4)
    assert not data.x[:, -1, -1].any()
    own = attention.prompts(4, 6, 5, 0, shared=False)
    assert not torch.allclose(own.x[1, :-1, :-1] @ target, own.x[1, :-1, -1:], atol=1e-1)


@pytest.fixture(scope="module")
def smoke():
    return {f.id: f.run(f.presets["smoke"]) for f in (a9.A9(), a10.A10())}


def _red(figure, result):
    return [v.statement for v in figure.check(result) if not v.holds]


def test_ranks_and_distances_of_known_spectra():
    values = [[[4.0, 1.0, 0.03], [3.0, 0.02, 0.0]], [[1e-9, 1e-9, 0.0], [0.5, 0.02, 0.001]]]
    result = xr.Dataset(
        {"spectrum": (("decay", "matrix", "index"), values)}, coords={"matrix": list(attention_training.MATRICES)}
    )
    found = a9.ranks(result)
    assert found.values.tolist() == [[2, 1], [0, 2]]  # a matrix that has died has rank 0
    assert a9.ranks(result, 1e-3).values.tolist() == [[3, 2], [0, 2]]
    assert a9.apart(found).values.tolist() == [1, 2]
    by_hand = (1 + 0.98**2 + 0.03**2) ** 0.5 / ((17 + 0.03**2) ** 0.5 + (9 + 0.02**2) ** 0.5)
    assert a9.mismatch(result["spectrum"]).values == pytest.approx([by_hand, 1.0])
    q, k = torch.diag(torch.tensor([2.0, 0.0])), torch.diag(torch.tensor([0.0, 2.0]))
    both = {"q1": torch.stack([q, q]), "k1": torch.stack([k, q]), "v1": torch.zeros(2, 2)}
    assert attention_training.imbalance(both).flatten().tolist() == pytest.approx([2**0.5 / 2, 0.0])
    assert attention_training.spectra(both)[0].tolist() == [[[2.0, 0.0], [2.0, 0.0]]]


def test_results_in_another_order_fail_the_checks(smoke):
    for figure, name in ((a9.A9(), "A9"), (a10.A10(), "A10")):
        result = smoke[name].copy(deep=True)
        assert not any(s.startswith("largest rise") for s in _red(figure, result))
        result["spectrum"] = result["spectrum"][:, [0, 2, 1]].drop_vars("decay").assign_coords(decay=result["decay"])
        rises = [v for v in figure.check(result) if v.statement.startswith("largest rise")]
        assert len(rises) == 3 and all(v.residual > v.tolerance for v in rises)


def test_keys_of_another_decay_fail_the_check(smoke):
    result = smoke["A9"].copy(deep=True)
    result["spectrum"][:, 1:, :, :, 1] = result["spectrum"].values[:, :-1, :, :, 1]
    red = _red(a9.A9(), result)
    assert any("ranks of queries and keys differ" in s for s in red)
    assert any("singular values of queries and keys differ" in s for s in red)


def _within(result):
    """Of the checks that compare layers, at each cut: whether they hold."""
    figure = a10.A10()
    return [bool(v) for v in figure.check(result) if "within a layer" in v.statement and "residual" not in v.statement]


def test_keys_of_the_other_layer_fail_the_check(smoke):
    assert _within(smoke["A10"]) == [True] * 3
    result = smoke["A10"].copy(deep=True)
    result["spectrum"][:, :, :, :, 1] = smoke["A10"]["spectrum"].values[:, :, :, ::-1, 1]
    assert _within(result) == [False] * 3
    same = smoke["A10"].copy(deep=True)
    same["spectrum"][:, :, :, 1] = same["spectrum"].values[:, :, :, 0]
    assert _within(same) == [False] * 3


def test_variants_that_should_be_controls_fail_when_they_behave(smoke):
    result = smoke["A9"].copy(deep=True)
    for name in ("one matrix, no symmetry", "decoupled decay"):
        result["variant_spectrum"].loc[{"variant": name}] = smoke["A9"]["spectrum"].isel(seed=0, step=-1).values
    red = _red(a9.A9(), result)
    assert len([s for s in red if "control: one matrix" in s or "control: decoupled" in s]) == 2


BAD = {
    "steps": (a9.Settings, {"steps": 0}, "positive settings"),
    "records": (a9.Settings, {"records": 3000}, "at most one record a step"),
    "decays": (a9.Settings, {"decays": (0.1, 1.0)}, "increasing decays from 0"),
    "order": (a10.Settings, {"decays": (0.0, 1.0, 0.1)}, "increasing decays from 0"),
    "variant": (a10.Settings, {"variants": ("decoupled decay",)}, "variants among.*residual"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    settings, wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        settings(**wrong)


def test_records_must_increase():
    data, params = _instance(1)
    start = {k: p[None] for k, p in attention.reduced(params).items()}
    slope = partial(attention.one_layer, data=data)
    with pytest.raises(SymtheoryError, match="increasing step numbers"):
        list(attention_training.train(slope, start, adam(), torch.zeros(1), 0.1, [3, 1]))
