"""The reduced network: the same function with fewer units, whatever the layers, and honest where it cannot be made."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from symtheory.discover import discover, merge_symmetric_units
from symtheory.errors import SymtheoryError
from tests.strategies import seeds


def tied(module, *pairs):
    """Let units compute the same as others, up to a sign: pairs (from, to, sign)."""
    with torch.no_grad():
        for name in ("weight", "bias"):
            t = getattr(module, name)
            for i, j, sign in pairs:
                t[j] = sign * t[i]
    return module


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(model, name) -> Any:
    """A submodule, whatever its type."""
    return model.get_submodule(name)


def same(merged, model, x):
    """Equal on data that were not used to merge."""
    merged, model = copy.deepcopy(merged).double().eval(), copy.deepcopy(model).double().eval()
    torch.testing.assert_close(merged(x.double()), model(x.double()), rtol=1e-5, atol=1e-7)


def mlp(activation, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), activation, nn.Linear(8, 6), activation, nn.Linear(6, 2))


class Joined(nn.Module):
    """Two branches of channels that are concatenated, a depthwise convolution and a residual sum."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1)
        self.norm, self.depth = nn.BatchNorm2d(7), nn.Conv2d(7, 7, 3, padding=1, groups=7)
        self.back, self.head = nn.Conv2d(7, 2, 1), nn.Linear(2 * 36, 3)

    def forward(self, x):
        y = torch.cat([self.left(x), self.right(x)], 1)
        y = torch.nn.functional.gelu(self.depth(torch.relu(self.norm(y))))
        return self.head((x + self.back(y)).flatten(1))


class Folded(nn.Module):
    """A reshape that has its size written down."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.two(torch.relu(self.one(x)).view(-1, 6))


class Normed(nn.Module):
    """Hidden units whose statistics are used."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        y = self.one(x)
        return self.two(torch.relu(nn.functional.layer_norm(y, y.shape[-1:])))


@given(seeds, st.sampled_from([nn.ReLU(), nn.GELU(), nn.Tanh(), nn.Sigmoid()]))
@settings(max_examples=8)
def test_units_with_the_same_incoming_weights_are_one(seed, activation):
    model = mlp(activation, seed)
    tied(model[0], (0, 3, 1), (0, 5, 1))
    tied(model[2], (1, 2, 1))
    before = copy.deepcopy(model.state_dict())
    found = merge_symmetric_units(model, draw(5, 4))
    assert [(r.before, r.after, r.reason) for r in found.reductions] == [(8, 6, ""), (6, 5, "")]
    assert layer(found.model, "0").out_features == 6 and found.residual < 1e-6
    assert found.after == sum(p.numel() for p in found.model.parameters()) == 30 + 35 + 12 < found.before
    same(found.model, model, draw(50, 4, seed=1))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_odd_units_merge_up_to_their_sign():
    for activation, left in ((nn.Tanh(), 7), (nn.GELU(), 8)):
        model = mlp(activation)
        tied(model[0], (0, 3, -1))
        found = merge_symmetric_units(model, draw(5, 4))
        assert layer(found.model, "0").out_features == left
        same(found.model, model, draw(50, 4, seed=1))


def test_units_that_do_nothing_are_left_out():
    """Without outgoing weights always, without incoming ones where the activation of zero is zero."""
    for activation, left in ((nn.ReLU(), 4), (nn.Softplus(), 5)):
        model = mlp(activation)
        with torch.no_grad():
            layer(model, "4").weight[:, 1] = 0
            layer(model, "2").weight[3], layer(model, "2").bias[3] = 0, 0
        found = merge_symmetric_units(model, draw(5, 4))
        assert layer(found.model, "2").out_features == left
        same(found.model, model, draw(50, 4, seed=1))


def test_channels_merge_through_normalisation_concatenation_and_depthwise_convolutions():
    torch.manual_seed(0)
    model = Joined()
    mean = model.get_buffer("norm.running_mean").copy_(draw(7))
    tied(model.right, (0, 2, 1))
    tied(model.norm, (3, 5, 1))
    tied(model.depth, (3, 5, 1))
    mean[5] = mean[3]
    found = merge_symmetric_units(model, draw(4, 2, 6, 6))
    sizes = [layer(found.model, "right").out_channels, layer(found.model, "depth").groups]
    assert [*sizes, layer(found.model, "norm").num_features] == [3, 6, 6]
    same(found.model, model, draw(20, 2, 6, 6, seed=1))


def test_a_flattened_channel_takes_all_its_pixels_along():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    tied(model[0], (1, 3, 1))
    found = merge_symmetric_units(model, draw(4, 1, 6, 6))
    assert layer(found.model, "3").in_features == 48
    same(found.model, model, draw(20, 1, 6, 6, seed=1))


class Tied(nn.Module):
    """One module used twice, and a second one that shares its matrix."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.back = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(4, 6)
        self.back.weight = self.one.weight

    def forward(self, x):
        a, b = (self.two(torch.relu(self.one(v))) for v in (x, x.flip(-1)))
        return a * b + self.two(torch.relu(self.back(x)))


def test_what_is_tied_stays_tied():
    torch.manual_seed(0)
    model = Tied()
    tied(model.one, (0, 3, 1))
    tied(model.back, (0, 3, 1))
    found = merge_symmetric_units(model, draw(5, 4))
    assert layer(found.model, "back").weight is layer(found.model, "one").weight
    assert layer(found.model, "back").out_features == layer(found.model, "one").out_features == 5
    same(found.model, model, draw(20, 4, seed=1))


def test_what_cannot_be_merged_says_why_and_stays():
    for kind, reason in ((Folded, "does not run with fewer"), (Normed, "would change")):
        torch.manual_seed(0)
        model = kind()
        tied(model.one, (0, 3, 1))
        found = merge_symmetric_units(model, draw(5, 4))
        assert reason in repr(found) and [r.after for r in found.reductions] == [6]
        assert found.after == found.before
        same(found.model, model, draw(20, 4, seed=1))


class Hidden(nn.Module):
    """Six hidden units, two of them equal, and what is made of them."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.other, self.rule = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(4, 6), forward
        tied(self.one, (0, 3, 1))

    def forward(self, x):
        return self.rule(self, x)


def units_of(found, name="one"):
    return layer(found.model, name).out_features


def test_inputs_that_show_nothing_do_not_merge_what_differs():
    """Zeros, as one passes to see whether a network runs: neither the weights nor their use can be seen."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3))
    found = merge_symmetric_units(model, torch.zeros(1, 1, 8, 8))
    assert found.reductions == ()
    same(found.model, model, draw(4, 1, 8, 8))


@pytest.mark.parametrize("idle", [False, True])
def test_units_that_are_dead_on_the_examples_and_alive_elsewhere_stay_what_they_are(idle):
    """Their sum is used as well; on the examples it lacks nothing without them."""
    model = Hidden(lambda m, x: m.two(torch.relu(m.one(x))) + torch.relu(m.one(x)).sum(-1, keepdim=True))
    with torch.no_grad():
        model.one.bias[0] = model.one.bias[3] = -8
        if idle:
            model.one.weight[3] += 1
            model.two.weight[:, 3] = 0
    found = merge_symmetric_units(model, draw(5, 4))
    assert units_of(found) == 6 and "would change" in repr(found)
    same(found.model, model, 10 * draw(500, 4, seed=1))


@pytest.mark.parametrize("outer", [1e7, 1e-7])
def test_no_rescaling_makes_different_units_equal_or_idle(outer):
    """Units that are small before large weights, or large before small ones, and dead on the examples."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for k in (2, 5):
            layer(model, "0").bias[k] = -8
            layer(model, "0").weight[k] /= outer
            layer(model, "0").bias[k] /= outer
            layer(model, "2").weight[:, k] *= outer
    found = merge_symmetric_units(model.float(), draw(5, 4))
    assert found.after == found.before
    same(found.model, model, 10 * draw(500, 4, seed=1))


def test_every_tensor_has_its_own_scale():
    """Huge running variances do not make small weights equal."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)).eval()
    model.get_buffer("1.running_var").fill_(1e8)[2:4] = 2e8
    with torch.no_grad():
        layer(model, "1").weight.copy_(draw(8).abs())[3] = layer(model, "1").weight[2]
        layer(model, "1").bias.copy_(draw(8, seed=1))[2:4] = -1e-3
    found = merge_symmetric_units(model, draw(5, 4))
    assert found.after == found.before
    same(found.model, model, 1e5 * draw(500, 4, seed=1))


def test_what_the_examples_do_not_reach_is_not_guessed():
    """A sum that enters beyond a threshold only: its weights may be used there in any way."""
    model = Hidden(
        lambda m, x: torch.where(x[:, :1] > 9, m.two(torch.tanh(m.one(x) + m.other(x))), m.two(torch.tanh(m.one(x))))
    )
    found = merge_symmetric_units(model, draw(5, 4))
    assert units_of(found) == 6 and "these inputs do not show what other.weight does" in repr(found)
    same(found.model, model, 10 * draw(500, 4, seed=1))


def test_units_on_one_linear_piece_are_told_from_linear_ones():
    """Large biases keep all units alive on the examples; there incoming weights would add up as well."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        layer(model, "0").bias.add_(20)
    tied(model[0], (0, 3, 1))
    found = merge_symmetric_units(model.float(), 0.01 * draw(1, 4))
    assert layer(found.model, "0").out_features == 5
    same(found.model, model, 100 * draw(500, 4, seed=1))


def test_products_of_units_add_up_in_one_factor():
    """A gated layer: equal units may differ in one of the two factors, or in what comes after, but not in both."""

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.up, self.down = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.down(torch.nn.functional.silu(self.gate(x)) * self.up(x))

    for differs, left in (("down", 5), ("up", 5), ("both", 6)):
        torch.manual_seed(0)
        model = Gated()
        tied(model.gate, (0, 3, 1))
        with torch.no_grad():
            if differs == "down":
                tied(model.up, (0, 3, 1))
            if differs == "up":
                model.down.weight[:, 3] = model.down.weight[:, 0]
        found = merge_symmetric_units(model, draw(5, 4))
        assert units_of(found, "gate") == units_of(found, "up") == left
        same(found.model, model, draw(50, 4, seed=1))


def test_outputs_inputs_and_types_of_any_kind_are_taken():
    """Dictionaries, integers that are buffers, masks, casts and new tensors inside, half precision."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two, self.place = nn.Linear(4, 6), nn.Linear(6, 2), nn.Embedding(5, 6)
            self.register_buffer("ids", torch.arange(3))
            self.register_buffer("mask", torch.tensor([True, True, False]))
            tied(self.one, (0, 3, 1))
            with torch.no_grad():
                self.place.weight[:, 3] = self.place.weight[:, 0]

        def forward(self, batch):
            hidden = torch.relu(self.one(batch["x"]) + self.place(self.ids)).float()
            hidden = hidden.masked_fill(~self.mask[:, None], 0).to(batch["x"].dtype)
            return {"logits": self.two(hidden) @ torch.eye(2), "size": 3}

    model, inputs = Mixed(), ({"x": draw(5, 3, 4)},)
    found = merge_symmetric_units(model, inputs)
    assert units_of(found) == 5
    x = draw(50, 3, 4, seed=1)
    torch.testing.assert_close(found.model({"x": x})["logits"], model({"x": x})["logits"], rtol=1e-5, atol=1e-6)
    half = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).bfloat16()
    tied(half[0], (0, 3, 1))
    found = merge_symmetric_units(half, draw(5, 4).bfloat16(), tolerance=0.02)
    assert layer(found.model, "0").out_features == 5
    assert layer(found.model, "0").weight.dtype == torch.bfloat16


def test_frozen_units_are_merged_and_stay_frozen():
    model = mlp(nn.ReLU()).requires_grad_(False)
    tied(model[0], (0, 3, 1))
    found = merge_symmetric_units(model, draw(5, 4))
    assert layer(found.model, "0").out_features == 7
    assert not any(p.requires_grad for p in found.model.parameters())
    same(found.model, model, draw(50, 4, seed=1))


class Recurrent(nn.Module):
    """A recurrent layer, and what is read off its last state."""

    def __init__(self, kind, size=5, **settings):
        super().__init__()
        self.rnn, self.head = kind(3, size, batch_first=True, **settings), nn.Linear(size, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_units_merge(kind):
    torch.manual_seed(0)
    model = Recurrent(kind)
    with torch.no_grad():
        for t in model.rnn.parameters():
            gates = t.view(-1, 5, *t.shape[1:])
            gates[:, 3] = gates[:, 1]
    found = merge_symmetric_units(model, draw(2, 6, 3))
    assert layer(found.model, "rnn").hidden_size == 4 == layer(found.model, "head").in_features
    same(found.model, model, draw(20, 9, 3, seed=1))


def loses_one_recurrent_unit(model):
    found = merge_symmetric_units(model, draw(2, 6, 3))
    assert layer(found.model, "rnn").hidden_size == 4
    same(found.model, model, draw(20, 9, 3, seed=1))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("pair", [(1, 3), (0, 4)])
def test_units_on_the_mirror_of_a_recurrent_layer_merge(kind, pair):
    """On it rows are equal only after columns have changed places: a pair sends itself what it receives."""
    torch.manual_seed(0)
    model, (i, j) = Recurrent(kind), pair
    exchange = next(f for f in discover(model, draw(2, 6, 3)).families if f.group == "S(5)").mirror(i, j)
    with torch.no_grad():
        across = exchange.project({name: model.get_parameter(name).detach() for name in exchange.shapes})
        for name, t in across.items():
            model.get_parameter(name).sub_(t)
    rows = model.get_parameter("rnn.weight_hh_l0").view(-1, 5, 5)
    assert not torch.allclose(rows[:, i], rows[:, j])
    loses_one_recurrent_unit(model)


def test_recurrent_units_of_opposite_sign_merge():
    torch.manual_seed(0)
    model = Recurrent(nn.RNN)
    swap = torch.tensor([1.0, -1, 1, -1, 1]).diag()[[0, 3, 2, 1, 4]]
    with torch.no_grad():
        for name, t in model.rnn.named_parameters():
            t.add_(swap @ t @ swap if name == "weight_hh_l0" else swap @ t).div_(2)
    loses_one_recurrent_unit(model)


def test_recurrent_units_that_agree_in_all_but_recurrent_weights_stay():
    torch.manual_seed(0)
    model = Recurrent(nn.RNN)
    with torch.no_grad():
        for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
            t = model.rnn.get_parameter(name)
            t[3] = t[1]
    assert merge_symmetric_units(model, draw(2, 6, 3)).reductions == ()


def test_units_with_a_slope_of_their_own_merge_if_the_slopes_agree_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.PReLU(6), nn.Linear(6, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.linspace(0.1, 0.6, 6))
    tied(model[0], (0, 3, 1), (1, 4, 1))
    assert merge_symmetric_units(model, draw(5, 4)).reductions == ()
    with torch.no_grad():
        model[1].weight[3] = model[1].weight[0]
    found = merge_symmetric_units(model, draw(5, 4))
    assert (layer(found.model, "0").out_features, layer(found.model, "1").num_parameters) == (5, 5)
    same(found.model, model, draw(50, 4, seed=1))


def test_modules_remember_their_new_sizes():
    """Transposed convolutions count outputs along their second axis; statistics without gains count, too."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 1), nn.ReLU(), nn.ConvTranspose2d(4, 6, 2, 2), nn.BatchNorm2d(6, affine=False), nn.Tanh(),
        nn.ConvTranspose2d(6, 2, 2, 2),
    )  # fmt: skip
    tied(model[0], (0, 1, 1))
    with torch.no_grad():
        layer(model, "2").weight[:, 3] = layer(model, "2").weight[:, 1]
        layer(model, "2").bias[3] = layer(model, "2").bias[1]
    found = merge_symmetric_units(model, draw(2, 2, 4, 4))
    sizes = [(m.in_channels, m.out_channels) for m in found.model if hasattr(m, "in_channels")]
    assert sizes == [(2, 3), (3, 5), (5, 2)] and layer(found.model, "3").num_features == 5
    same(found.model, model, draw(20, 2, 4, 4, seed=1))


def test_a_dead_channel_with_statistics_is_left_out():
    """Its running variance is zero, which no scatter may make negative."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)).eval()
    with torch.no_grad():
        for t in (layer(model, "0").weight, layer(model, "0").bias, layer(model, "1").weight, layer(model, "1").bias):
            t[2] = 0
        model.get_buffer("1.running_mean").copy_(draw(8))[2] = 0
        model.get_buffer("1.running_var")[2] = 0
        model.get_buffer("1.running_var")[5] = 3
    found = merge_symmetric_units(model, draw(5, 4))
    assert layer(found.model, "0").out_features == 7
    same(found.model, model, draw(50, 4, seed=1))


def test_nearly_equal_units_merge_within_the_tolerance_only():
    model = mlp(nn.GELU())
    tied(model[0], (0, 3, 1))
    with torch.no_grad():
        model[0].get_parameter("weight")[3] += 1e-5 * draw(4)
    x = draw(5, 4)
    assert merge_symmetric_units(model, x).reductions == ()
    found = merge_symmetric_units(model, x, tolerance=1e-4)
    assert layer(found.model, "0").out_features == 7 and 0 < found.residual < 1e-4


def test_units_that_agree_in_some_tensors_only_do_not_coincide():
    """Biases that start at zero, or the same weights with another bias: nothing to merge, and nothing to refuse."""
    for name in ("weight", "bias"):
        model = mlp(nn.ReLU())
        with torch.no_grad():
            t = model[0].get_parameter(name)
            t[3] = t[0]
        assert merge_symmetric_units(model, draw(5, 4)).reductions == ()


def test_two_layers_that_are_concatenated_lose_units_both():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right, self.head = nn.Linear(4, 3), nn.Linear(4, 5), nn.Linear(8, 2)

        def forward(self, x):
            return self.head(torch.relu(torch.cat([self.left(x), self.right(x)], 1)))

    torch.manual_seed(0)
    model = Both()
    tied(model.left, (0, 2, 1))
    tied(model.right, (1, 4, 1), (1, 2, 1))
    found = merge_symmetric_units(model, draw(5, 4))
    assert [units_of(found, "left"), units_of(found, "right"), layer(found.model, "head").in_features] == [2, 3, 5]
    same(found.model, model, draw(50, 4, seed=1))


def test_where_no_units_agree_the_network_is_not_run_again(monkeypatch):
    """After the search it is compared with its copy, and that is all."""
    model, x = mlp(nn.ReLU()), draw(5, 4)
    report, runs = discover(model, x), []
    model.register_forward_hook(lambda *_: runs.append(1))
    merge_symmetric_units(model, x, report=report)
    assert len(runs) == 2


def test_without_coincidence_nothing_changes():
    found = merge_symmetric_units(mlp(nn.ReLU()), draw(5, 4))
    assert found.reductions == () and found.after == found.before and "no units coincide" in repr(found)


def test_a_network_that_training_has_collapsed_is_reduced_to_what_is_left():
    """Strong decay leaves a few directions of a wide layer; the smaller network trains on like any other."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Linear(20, 1)).double(), draw(60, 3).double()
    y = torch.tanh(x[:, :1] - x[:, 1:2])
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4000, tolerance_grad=1e-13, tolerance_change=1e-15)

    def closure():
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean() + 0.003 * sum((p**2).sum() for p in model.parameters())
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure)
    found = merge_symmetric_units(model, x[:5], tolerance=1e-4)
    assert layer(found.model, "0").out_features == 1 and found.residual < 1e-4
    torch.optim.SGD(found.model.parameters(), lr=0.1).step()


def test_a_report_at_hand_is_used():
    model = mlp(nn.ReLU())
    tied(model[0], (0, 1, 1))
    report = discover(model, draw(5, 4))
    assert layer(merge_symmetric_units(model, draw(5, 4), report=report).model, "0").out_features == 7
    wrapped: Any = torch.compile(model, backend="eager")
    with pytest.raises(SymtheoryError, match=r"a report of this model, got one with parameters .*without wrappers"):
        merge_symmetric_units(wrapped, draw(5, 4), report=report)


def test_a_tolerance_is_a_fraction():
    with pytest.raises(SymtheoryError, match="a tolerance between 0 and 1, got 2"):
        merge_symmetric_units(mlp(nn.ReLU()), draw(5, 4), tolerance=2.0)
