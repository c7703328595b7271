"""What a sweep records, against the naive computation on one configuration at a time."""

import pytest
import torch

from symtheory.engine.metrics import (
    dead_parameters,
    gradients,
    losses,
    mirror_distance,
    rank_at,
    record,
    sparsity,
    spectrum,
)
from symtheory.engine.sweep import plain_sgd, train
from symtheory.errors import SymtheoryError
from symtheory.spec import exchange, sign_flip
from symtheory.theorems.instances import generator_of, normal


def loss(p, b):
    return ((p["w"] * p["u"]) @ b["x"] - b["y"]) ** 2


@pytest.fixture
def setting():
    g = generator_of(0)
    params = {"w": normal(g, 3, 5), "u": normal(g, 3, 5)}
    batch = {"x": normal(g, 7, 5), "y": normal(g, 7)}
    return params, batch


def test_losses_and_gradients_of_every_configuration(setting):
    params, batch = setting
    params["w"][1, 2] = params["u"][1, 2] = 0.0
    params["w"][2, 0] = 0.0  # u of this one is moved by no sample, w is
    sizes = gradients(loss, params, batch)
    values = losses(loss, params, {k: v[0] for k, v in batch.items()})
    for c in range(3):
        worst = {"w": torch.zeros(5).double(), "u": torch.zeros(5).double()}
        for j in range(7):
            one = {k: p[c].clone().requires_grad_(True) for k, p in params.items()}
            found = loss(one, {k: v[j] for k, v in batch.items()})
            for k, s in zip(one, torch.autograd.grad(found, list(one.values())), strict=True):
                worst[k] = torch.maximum(worst[k], s.abs())
            if j == 0:
                assert float(values[c]) == pytest.approx(float(found.detach()), rel=1e-12)
        for k, w in worst.items():
            torch.testing.assert_close(sizes[k][c], w)
    assert dead_parameters(loss, params, batch, 1e-12).tolist() == [0, 2, 1]


def test_a_rank_is_read_from_its_spectrum():
    g = generator_of(1)
    low = normal(g, 4, 6, 2) @ normal(g, 4, 2, 5)
    low[3] = torch.nan
    values = spectrum(low)
    assert values.shape == (4, 5)
    assert rank_at(values, 1e-9).tolist() == [2, 2, 2, -1]
    assert rank_at(1e-6 * values, 1e-9, relative=True).tolist() == [2, 2, 2, -1]
    assert rank_at(torch.zeros(1, 3), 1e-9, relative=True).tolist() == [0]
    torch.testing.assert_close(values[0], torch.linalg.svdvals(low[0]))


def test_distances_to_mirrors_of_every_configuration(setting):
    params, _ = setting
    shapes = {k: tuple(p.shape[1:]) for k, p in params.items()}
    for mirror in (sign_flip(shapes, ["w", "u"]), exchange(shapes, ["w"], ["u"])):
        one_by_one = [float(mirror.distance({k: p[c] for k, p in params.items()})) for c in range(3)]
        assert mirror_distance(mirror, params).tolist() == pytest.approx(one_by_one, rel=1e-12)


def test_sparsity_counts_all_dims():
    values = torch.ones(2, 3, 2)
    values[0, :2] = 1e-9
    assert sparsity(values, 1e-6).tolist() == pytest.approx([2 / 3, 0.0])


@pytest.mark.parametrize("at, wanted", [(None, [0, 1, 2, 3]), ([2], [0, 2, 3]), ([1, 3], [0, 1, 3])])
def test_a_record_ends_with_the_last_block(at, wanted):
    start = {"w": torch.ones(2, 1)}
    sweep = plain_sgd(lambda p, b: (p["w"] * b["x"]).sum(), torch.tensor([0.1, 0.2]), torch.zeros(2).long())
    blocks = [{"x": torch.ones(1, 2)}] * 3  # two steps each
    found = record(train(sweep, start, blocks), lambda p: {"w": p["w"][:, 0]}, start=start, at=at)
    assert found["block"].tolist() == wanted
    expected = torch.tensor([[1 - 0.2 * n, 1 - 0.4 * n] for n in wanted])
    torch.testing.assert_close(found["w"], expected)
    with pytest.raises(SymtheoryError, match="at least one block"):
        record(train(sweep, start, []), lambda p: p)
