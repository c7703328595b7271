"""The removal transform: two forms with equal trajectories, round trips, clear errors."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from symtheory.engine.invariance import invariance_residual
from symtheory.engine.model import loss_of
from symtheory.errors import SymtheoryError
from symtheory.spec import params_of, permutation, shapes_of
from symtheory.spec.numerics import relative_error
from symtheory.transforms import (
    AnchoredDecay,
    bias_of,
    effective_parameters,
    fold,
    is_decoupled,
    penalty,
    static_bias,
    static_stretch,
    syre,
)
from symtheory.transforms.dcs import dcs, sign_flip_all
from tests.strategies import seeds

SIGMA0, GAMMA = 0.1, 0.02
LR = {"SGD": 0.05, "momentum": 0.02, "Adam": 0.01, "AdamW": 0.01, "RMSprop": 0.002}
MAKE = {
    "SGD": lambda p, wd: torch.optim.SGD(p, lr=LR["SGD"], weight_decay=wd),
    "momentum": lambda p, wd: torch.optim.SGD(p, lr=LR["momentum"], momentum=0.9, nesterov=True, weight_decay=wd),
    "Adam": lambda p, wd: torch.optim.Adam(p, lr=LR["Adam"], weight_decay=wd),
    "AdamW": lambda p, wd: torch.optim.AdamW(p, lr=LR["AdamW"], weight_decay=wd),
    "RMSprop": lambda p, wd: torch.optim.RMSprop(p, lr=LR["RMSprop"], weight_decay=wd),
}


def mlp(seed=0, widths=(3, 8, 5, 2)):
    torch.manual_seed(seed)
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.Tanh())][:-1]
    return nn.Sequential(*layers).double()


def data(seed=0, n=32):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=g).double(), torch.randn(n, 2, generator=g).double()


def batches(steps):
    x, y = data()
    for t in range(steps):
        i = (8 * t) % 32
        yield x[i : i + 8], y[i : i + 8]


def train(model, optimizer, steps, decay=None):
    for x, y in batches(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        (loss if decay is None else loss + decay()).backward()
        optimizer.step()


def distance(a, b):
    gap = sum(float((a[k] - b[k]).square().sum()) for k in a) ** 0.5
    return gap / sum(float(b[k].square().sum()) for k in b) ** 0.5


def anchored_run(name, steps, spread=0.0, sign=1):
    model = mlp()
    optimizer = MAKE[name](model.parameters(), 0.0)
    anchor = syre(optimizer, SIGMA0, GAMMA, seed=5, spread=spread)
    if sign < 0:
        anchor.remove()
        AnchoredDecay(optimizer, [-a for a in anchor.anchors], GAMMA)
    train(model, optimizer, steps)
    return {k: p.detach() for k, p in model.named_parameters()}


def biased_run(name, steps, spread=0.0):
    """The module form: decay in the loss, or (AdamW) in the optimiser, with D by an anchor at zero."""
    model = syre(mlp(), SIGMA0, GAMMA, seed=5, spread=spread)
    if not is_decoupled(MAKE[name](model.parameters(), 0.0)):
        train(model, MAKE[name](model.parameters(), 0.0), steps, lambda: penalty(model))
    elif not spread:
        train(model, MAKE[name](model.parameters(), 2 * GAMMA), steps)
    else:
        optimizer = MAKE[name](model.parameters(), 0.0)
        params = dict(enumerate(model.parameters()))
        stretch = static_stretch({str(k): p.detach() for k, p in params.items()}, spread, 5)
        AnchoredDecay(optimizer, [torch.zeros_like(p) for p in params.values()], GAMMA, stretch=list(stretch.values()))
        train(model, optimizer, steps)
    return effective_parameters(model)


@pytest.mark.parametrize("spread", [0.0, 0.3])
@pytest.mark.parametrize("name", MAKE)
def test_both_forms_have_the_same_trajectory(name, spread):
    steps = 300
    assert distance(anchored_run(name, steps, spread), biased_run(name, steps, spread)) < 1e-6


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_the_anchor_with_the_sign_of_section_5_is_another_run(name):
    """Or the equality above would show nothing: towards minus theta_0 the trajectories part."""
    assert distance(anchored_run(name, 100, sign=-1), biased_run(name, 100)) > 1e-3


def test_decay_in_the_loss_is_the_optimisers_weight_decay_of_twice_gamma():
    model = syre(mlp(), SIGMA0, GAMMA, seed=5)
    train(model, MAKE["SGD"](model.parameters(), 2 * GAMMA), 50)
    assert distance(effective_parameters(model), biased_run("SGD", 50)) < 1e-12


def test_decoupled_decay_is_another_objective():
    """AdamW ends where the normalised gradient balances the decay, Adam where the gradient does."""
    assert distance(anchored_run("Adam", 300), anchored_run("AdamW", 300)) > 1e-2


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_parameters_without_a_gradient_are_left_alone(name):
    model = mlp()
    optimizer = MAKE[name](model.parameters(), 0.0)
    syre(optimizer, SIGMA0, GAMMA, seed=0)
    before = model[0].weight.detach().clone()
    model[2](torch.tanh(torch.randn(4, 8).double())).sum().backward()
    optimizer.step()
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("name", MAKE)
def test_groups_with_decays_of_their_own_are_multiples_of_one(name):
    """With anchors at zero it is the optimiser's own decay, group by group."""
    runs = []
    for anchored in (False, True):
        model = mlp()
        weights, biases = ([p for p in model.parameters() if (p.dim() > 1) == w] for w in (True, False))
        decay = 0.0 if anchored else 2 * GAMMA
        optimizer = MAKE[name]([{"params": weights, "weight_decay": 3 * decay}, {"params": biases}], 0.0)
        if anchored:
            stretch = [torch.full_like(p, 3.0) for p in weights] + [torch.zeros_like(p) for p in biases]
            AnchoredDecay(optimizer, [torch.zeros_like(p) for p in stretch], GAMMA, stretch=stretch)
        train(model, optimizer, 5)
        runs.append(params_of(model))
    assert distance(runs[1], runs[0]) < 1e-12


def test_maximize_decays_all_the_same():
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, maximize=True)
    anchor = AnchoredDecay(optimizer, [torch.zeros(3)], 0.5)
    p.grad = torch.zeros(3, dtype=torch.float64)
    optimizer.step()
    assert torch.allclose(p, 0.9 * torch.ones(3).double())
    assert anchor.penalty() == pytest.approx(0.5 * 3 * 0.81)


# --- what it does to a symmetry ---


@given(seeds)
@settings(max_examples=100)
def test_the_exchange_of_two_neurons_is_removed(seed):
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    biased = syre(model, 1.0, 0.1, seed=seed)
    plain = {k: p.detach() for k, p in model.named_parameters()}
    axes = {"0.weight": 0, "0.bias": 0, "2.weight": 1}
    mirror = permutation(shapes_of(plain), axes, 0, 2)
    g = torch.Generator().manual_seed(seed)
    samples = [(torch.randn(1, 2, generator=g).double(), torch.randn(1, 1, generator=g).double())]
    loss = loss_of(model, nn.functional.mse_loss)
    assert invariance_residual(loss, mirror, plain, samples, generator=g).holds
    bias = bias_of(biased)

    def removed(params, batch):
        decay = sum((0.1 * (params[k] - bias[k]).square()).sum() for k in params)
        return loss(params, batch) + decay

    assert invariance_residual(removed, mirror, plain, samples, generator=g).residual > 1e-6


@given(seeds, st.floats(0.01, 2), st.sampled_from([0.0, 0.2]), st.booleans())
@settings(max_examples=100)
def test_the_transform_keeps_the_function_and_folds_back(seed, sigma0, spread, relative):
    model, (x, _) = mlp(seed % 1000, (3, 4, 2)), data(seed % 1000, 4)
    biased = syre(model, sigma0, GAMMA, seed=seed, spread=spread, relative=relative)
    assert torch.allclose(biased(x), model(x), rtol=1e-12, atol=1e-12)
    plain = fold(biased)
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert torch.allclose(plain(x), model(x), rtol=1e-12, atol=1e-12)
    assert type(plain[0]) is nn.Linear
    bias = static_bias({k: p.detach() for k, p in model.named_parameters()}, sigma0, seed, relative=relative)
    assert all(torch.equal(bias[k], b) for k, b in bias_of(biased).items())
    assert float(penalty(biased).detach()) >= 0


def test_the_seed_decides_and_nothing_else():
    state = torch.random.get_rng_state()
    first, again, other = (bias_of(syre(mlp(), 0.1, 0.1, seed=s))["0.weight"] for s in (1, 1, 2))
    torch.random.set_rng_state(state)
    syre(mlp.__call__(), 0.1, 0.1, seed=3)
    assert torch.equal(first, again) and not torch.equal(first, other)
    values = static_bias({"w": torch.zeros(20000).double()}, 0.3, 0)["w"]
    assert float(values.std()) == pytest.approx(0.3, rel=0.02) and abs(float(values.mean())) < 0.01


def test_no_global_generator_is_touched():
    model = mlp()
    before = torch.random.get_rng_state()
    syre(model, 0.1, 0.1, seed=1, spread=0.1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_relative_scale_is_the_paper_unit():
    wide = {"w": torch.zeros(50, 400).double(), "b": torch.zeros(50).double()}
    bias = static_bias(wide, 1.0, 0, relative=True)
    assert float(bias["w"].std()) == pytest.approx(400**-0.5, rel=0.05)
    assert float(bias["b"].std()) == pytest.approx(50**-0.5, rel=0.3)


def test_precision_changes_the_bias_by_rounding_only():
    half = static_bias({"w": torch.zeros(9, dtype=torch.float32)}, 0.1, 4)["w"]
    full = static_bias({"w": torch.zeros(9, dtype=torch.float64)}, 0.1, 4)["w"]
    assert half.dtype == torch.float32 and torch.equal(half, full.float())


# --- round trips ---


def test_a_module_checkpoint_carries_the_bias():
    model = syre(mlp(), SIGMA0, GAMMA, seed=5, spread=0.2)
    train(model, MAKE["SGD"](model.parameters(), 0.0), 5, lambda: penalty(model))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = syre(mlp(1), 0.5, 0.5, seed=99, spread=0.1)
    again.load_state_dict(torch.load(file, weights_only=True))
    x, _ = data()
    assert torch.equal(again(x), model(x)) and torch.equal(penalty(again), penalty(model))


@pytest.mark.parametrize("name", ["momentum", "Adam", "AdamW"])
def test_an_optimiser_checkpoint_carries_the_anchors(name):
    model = mlp()
    optimizer = MAKE[name](model.parameters(), 0.0)
    syre(optimizer, SIGMA0, GAMMA, seed=5, spread=0.2)
    train(model, optimizer, 7)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    train(model, optimizer, 7)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = mlp(3)
    resumed = MAKE[name](other.parameters(), 0.0)
    syre(resumed, 0.9, 0.9, seed=1)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    train(other, resumed, 7)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_an_optimiser_without_anchors_refuses_their_checkpoint(name):
    optimizer = MAKE[name](mlp().parameters(), 0.0)
    anchor = syre(optimizer, SIGMA0, GAMMA, seed=5)
    anchored = optimizer.state_dict()
    with pytest.raises(ValueError, match="number of parameter groups"):
        MAKE[name](mlp().parameters(), 0.0).load_state_dict(anchored)
    anchor.remove()
    MAKE[name](mlp().parameters(), 0.0).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("twice", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
@pytest.mark.parametrize("name", MAKE)
def test_a_copied_optimiser_keeps_its_anchors(name, twice):
    """Model and optimiser copied together go on as the original does, and leave it alone."""
    model = mlp()
    optimizer = MAKE[name](model.parameters(), 0.0)
    syre(optimizer, SIGMA0, GAMMA, seed=5, spread=0.2)
    train(model, optimizer, 3)
    model_2, optimizer_2 = twice((model, optimizer))
    before = [p.clone() for p in model.parameters()]
    train(model_2, optimizer_2, 3)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    train(model, optimizer, 3)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), model_2.parameters(), strict=True))


def test_without_hooks_copies_are_plain():
    optimizer = MAKE["SGD"](mlp().parameters(), 0.0)
    syre(optimizer, SIGMA0, GAMMA, seed=5).remove()
    assert copy.deepcopy(optimizer).state_dict() == optimizer.state_dict()


def test_a_deep_copy_trains_on_its_own():
    model = syre(mlp(), SIGMA0, GAMMA, seed=5)
    twin = copy.deepcopy(model)
    train(twin, MAKE["SGD"](twin.parameters(), 0.0), 3, lambda: penalty(twin))
    x, _ = data()
    assert not torch.equal(model(x), twin(x))
    assert torch.equal(bias_of(model)["0.weight"], bias_of(twin)["0.weight"])


def test_the_original_module_is_not_touched():
    model = mlp()
    before = {k: p.clone() for k, p in model.state_dict().items()}
    biased = syre(model, SIGMA0, GAMMA, seed=5)
    train(biased, MAKE["SGD"](biased.parameters(), 0.0), 3)
    assert all(torch.equal(before[k], p) for k, p in model.state_dict().items())


def test_a_biased_model_compiles_in_one_graph():
    model = syre(mlp(), SIGMA0, GAMMA, seed=5)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    x, _ = data()
    assert torch.equal(compiled(x), model(x))


def test_only_named_parameters_are_biased():
    model = syre(mlp(), SIGMA0, GAMMA, seed=5, names=["0.weight"])
    assert list(bias_of(model)) == ["0.weight"]
    assert set(effective_parameters(model)) == {k for k, _ in mlp().named_parameters()}


@pytest.mark.parametrize("names", [None, ["0.weight"], ["0.bias", "2.weight"]])
def test_folding_leaves_the_biased_model_whole(names):
    model = syre(mlp(), SIGMA0, GAMMA, seed=5, names=names)
    x, _ = data()
    before = model(x)
    first, second = fold(model), fold(copy.deepcopy(model))
    effective_parameters(model)
    assert torch.equal(model(x), before) and torch.allclose(first(x), before) and torch.equal(first(x), second(x))
    assert [n for n, _ in first.named_parameters()] == [n for n, _ in mlp().named_parameters()]
    train(model, MAKE["SGD"](model.parameters(), 0.0), 2, lambda: penalty(model))
    assert not torch.equal(model(x), before) and torch.allclose(first(x), before)
    assert not hasattr(first[0], "parametrizations") and first[0].weight.is_leaf and first[0].weight.requires_grad


def test_other_parametrisations_have_to_go_before_folding():
    model = syre(mlp(), SIGMA0, GAMMA, seed=5, names=["0.bias"])
    nn.utils.parametrizations.weight_norm(model[0], "weight")
    with pytest.raises(SymtheoryError, match=r"others on \['weight'\]"):
        fold(model)


def test_removing_the_hooks_stops_the_decay():
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1)
    syre(optimizer, 0.1, 0.5, seed=0).remove()
    p.grad = torch.zeros(3, dtype=torch.float64)
    optimizer.step()
    assert torch.equal(p.detach(), torch.ones(3).double()) and len(optimizer.state_dict()["param_groups"]) == 1


# --- errors ---


def _tied():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: syre(mlp(), -0.1, 0.1, seed=0), "expected sigma0 > 0, got -0.1"),
        (lambda: syre(mlp(), float("nan"), 0.1, seed=0), "expected sigma0 > 0"),
        (lambda: syre(mlp(), 0.1, 0.0, seed=0), "expected gamma > 0, got 0.0; a shift without decay"),
        (lambda: syre(mlp(), 0.1, 0.1, seed=0, spread=1.0), "expected 0 <= spread < 1"),
        (lambda: syre(mlp(), 0.1, 0.1, seed=0, names=["nope"]), "got \\['nope'\\]"),
        (lambda: syre(nn.Tanh(), 0.1, 0.1, seed=0), "got none"),
        (lambda: syre(_tied(), 0.1, 0.1, seed=0), "untied '0.weight'"),
        (lambda: syre(syre(mlp(), 0.1, 0.1, seed=0), 0.1, 0.1, seed=0), "parametrised already"),
        (lambda: syre(nn.Linear(2, 2, device="meta"), 0.1, 0.1, seed=0), "got 'weight' on the meta device"),
        (
            lambda: syre(torch.optim.SGD(nn.Linear(2, 2, device="meta").parameters()), 0.1, 0.1, seed=0),
            "on the meta device",
        ),
        (lambda: syre(torch.jit.script(nn.Linear(2, 2)), 0.1, 0.1, seed=0), "that runs Python code"),
        (lambda: syre(nn.LazyLinear(3), 0.1, 0.1, seed=0), "initialised 'weight'"),
        (lambda: syre(MAKE["SGD"](mlp().parameters(), 0.1), 0.1, 0.1, seed=0), "weight_decay=0"),
        (lambda: syre(torch.optim.LBFGS(mlp().parameters()), 0.1, 0.1, seed=0), "got LBFGS"),
        (lambda: syre(MAKE["SGD"](mlp().parameters(), 0), 0.1, 0.1, seed=0, names=["0.weight"]), "only with a module"),
        (lambda: AnchoredDecay(MAKE["SGD"](mlp().parameters(), 0), [torch.zeros(1)], 0.1), "6 anchors"),
        (lambda: AnchoredDecay(MAKE["SGD"](mlp().parameters(), 0), [torch.zeros(1)] * 6, 0.1), "shape \\(8, 3\\)"),
        (lambda: penalty(mlp()), "one without static bias"),
        (lambda: fold(mlp()), "one without static bias"),
    ],
)
def test_errors_say_what_to_do(make, message):
    with pytest.raises(SymtheoryError, match=message):
        make()


def test_steps_that_cannot_be_anchored_are_refused():
    model = mlp()
    optimizer = MAKE["SGD"](model.parameters(), 0.0)
    syre(optimizer, 0.1, 0.1, seed=0)
    with pytest.raises(SymtheoryError, match="without a closure"):
        optimizer.step(lambda: 0.0)
    with pytest.raises(SymtheoryError, match="an anchored one"):
        syre(optimizer, 0.1, 0.1, seed=0)
    with pytest.raises(SymtheoryError, match="a plain one"):
        optimizer.load_state_dict(MAKE["SGD"](mlp().parameters(), 0.0).state_dict())
    extra = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer.add_param_group({"params": [extra]})
    extra.grad = torch.zeros_like(extra)
    with pytest.raises(SymtheoryError, match="anchor again"):
        optimizer.step()


def test_sparse_gradients_are_decayed_where_the_optimiser_takes_them_and_refused_elsewhere():
    start = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def trained(sparse, **options):
        table = nn.Embedding(5, 3, sparse=sparse, dtype=torch.float64, _weight=start.clone())
        optimizer = torch.optim.SGD(table.parameters(), lr=0.1, **options)
        syre(optimizer, 0.5, 0.2, seed=3)
        for _ in range(4):
            optimizer.zero_grad()
            table(torch.tensor([0, 2, 2])).pow(2).sum().backward()
            optimizer.step()
        return table.weight.detach()

    assert relative_error(trained(True), trained(False)) < 1e-14
    with pytest.raises(SymtheoryError, match="expected dense gradients, got sparse ones"):
        trained(True, momentum=0.9)


def test_the_anisotropy_depends_on_the_seed():
    params = {"w": torch.zeros(50)}
    one, same, two = (static_stretch(params, 0.1, seed)["w"] for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.allclose(one, two)
    assert float((one - 1).abs().max()) <= 0.1


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_are_biased_trained_and_folded(kind):
    """They keep a list of their weights, which after a pass holds effective ones."""
    torch.manual_seed(0)
    model, x = kind(3, 4, batch_first=True).double(), torch.randn(2, 5, 3).double()
    biased = syre(model, 0.1, 0.01, seed=0)
    torch.testing.assert_close(biased(x)[0], model(x)[0])
    (biased(x)[0].square().sum() + penalty(biased)).backward()
    before = {n: p.detach().clone() for n, p in biased.named_parameters()}
    torch.optim.SGD(biased.parameters(), lr=0.1).step()
    assert all(not torch.equal(before[n], p) for n, p in biased.named_parameters())
    plain = fold(biased)
    torch.testing.assert_close(plain(x)[0], biased(x)[0])
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in model.named_parameters()]
    plain(x)[0].sum().backward()
    assert all(p.grad is not None for p in plain.parameters())


@pytest.mark.parametrize("name", MAKE)
def test_anchors_follow_a_model_that_is_cast_after_the_optimiser_was_made(name):
    """As a framework does that moves the model to its device late."""
    runs = []
    for late in (False, True):
        model = mlp().float()
        model = model if late else model.double()
        optimizer = MAKE[name](model.parameters(), 0.0)
        syre(optimizer, SIGMA0, GAMMA, seed=5)
        train(model.double(), optimizer, 3)
        runs.append(params_of(model))
    assert distance(runs[1], runs[0]) < 1e-6


def test_empty_tensors_are_biased_by_nothing():
    assert static_bias({"a": torch.zeros(0, 3), "b": torch.zeros(0)}, 0.1, 0)["a"].shape == (0, 3)


def test_half_precision_does_not_round_the_decay():
    biased = syre(nn.Linear(3, 2), 0.1, 1e-9, seed=0).half()
    assert [float(t) for n, t in biased.named_buffers() if n.endswith("gamma")] == [1e-9, 1e-9]


def test_muon_decays_apart_from_the_gradient():
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    layer = nn.Linear(3, 3, bias=False)
    assert syre(torch.optim.Muon(layer.parameters(), weight_decay=0), 0.1, 0.01, seed=0).decoupled


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_a_gradient_scaler_with_fused_steps_scales_no_decay(kind):
    """A fused optimiser gets scaled gradients, and a step with infinite ones is no step."""
    ends, x = [], torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    for fused in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {"weight_decay": 0.0}
        optimizer = kind(model.parameters(), lr=0.1, fused=fused, **options)
        syre(optimizer, 0.1, 0.1, seed=0)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
        for step in range(4):
            optimizer.zero_grad()
            loss = model(x).square().mean() * (float("inf") if step == 1 else 1)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-5)


def _train(model, rows, world):
    """Four steps on some rows of a batch, with both removals and DCS; what came out."""
    ends = []
    for form in ("module", "optimiser", "dcs"):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1)).double()[rows]
        if form == "module":
            net = syre(net, 0.1, 0.05, seed=0, spread=0.1)
        if form == "dcs":
            net = dcs(net, sign_flip_all(net), 0.02)
        trained = model(net)
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.1, momentum=0.9)
        if form == "optimiser":
            syre(optimizer, 0.1, 0.05, seed=0, spread=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            extra = penalty(net) if form == "module" else net.penalty() if form == "dcs" else 0.0
            # the penalty is the same on all processes, and its gradients are averaged as well
            (trained(x).square().mean() + extra).backward()
            optimizer.step()
        ends += [p.detach() for p in net.parameters()]
    assert world == 1 or len(x) == 4
    return ends


def _worker(rank, folder):
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    ends = _train(nn.parallel.DistributedDataParallel, slice(4 * rank, 4 * rank + 4), 2)
    torch.save(ends, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_train_what_one_does(tmp_path):
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this PyTorch has no gloo")
    torch.multiprocessing.spawn(_worker, (str(tmp_path),), nprocs=2)
    alone = _train(lambda net: net, slice(None), 1)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), alone)
