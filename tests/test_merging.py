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


def test_a_tolerance_is_a_fraction():
    with pytest.raises(SymtheoryError, match="a tolerance between 0 and 1, got 2"):
        merge_symmetric_units(mlp(nn.ReLU()), draw(5, 4), tolerance=2.0)
