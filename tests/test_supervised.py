"""Training an image classifier: the plain loop's numbers, an interruption without a trace, and what is measured."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from symtheory.engine import epochs, supervised
from symtheory.engine.correlations import blocks, correlation, lonely, order, similarity
from symtheory.engine.footprint import footprint
from symtheory.engine.images import Split, shuffled, stand_in
from symtheory.engine.resnet import ResNet18
from symtheory.engine.resuming import Bookmark, keeping
from symtheory.engine.supervised import Normalise, Plan, train
from symtheory.errors import SymtheoryError

DATA = stand_in(96, side=8, channels=3)


def small(seed=0):
    net = ResNet18(10, torch.Generator().manual_seed(seed), penultimate=6, width=2)
    return net.to(memory_format=torch.channels_last)


def sgd(net):
    return torch.optim.SGD(net.parameters(), lr=9.0, momentum=0.9, weight_decay=1e-3)


def trained(plan, measure=lambda epoch: {"loss": epoch.loss}, split=DATA.train, bookmark=None):
    net = small()
    history = train(net, sgd(net), split, Normalise(DATA.train.images), plan, measure, bookmark=bookmark)
    return net, history


def test_channels_are_normalised_over_the_training_images():
    shift = torch.tensor([0.0, 40.0, 90.0]).reshape(1, 3, 1, 1)
    images = (torch.randint(0, 100, (2500, 3, 4, 4), generator=torch.Generator().manual_seed(0)) + shift).byte()
    found = Normalise(images)(images)
    assert torch.allclose(found.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(found.std((0, 2, 3)), torch.ones(3), atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert bool(torch.isfinite(Normalise(torch.full_like(images, 7))(images)).all())


def test_the_rate_falls_along_a_cosine():
    plan = Plan(2, 8, 0.1, "cosine")
    for t in range(24):
        assert plan.rate(t, 24) == pytest.approx(0.05 * (1 + math.cos(math.pi * t / 24)))
    assert Plan(2, 8, 0.1).rate(23, 24) == 0.1


def test_training_is_the_plain_loops():
    plan = Plan(2, 16, 0.05, "cosine", moved=False, seed=3)
    net, history = trained(plan)
    other, step = small(), 0
    optimizer = sgd(other)
    x = DATA.train.images.float() / 255
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True, unbiased=False)
    for epoch in range(2):
        losses = []
        seen = [labels for _, labels in supervised.batches(DATA.train, plan, epoch)]
        order_ = epochs.stream(torch.device("cpu"), 3, epoch, 0)
        for index, labels in zip(shuffled(96, 16, order_), seen, strict=True):
            assert torch.equal(labels, DATA.train.labels[index])
            for group in optimizer.param_groups:
                group["lr"] = 0.025 * (1 + math.cos(math.pi * step / 12))
            optimizer.zero_grad()
            loss = functional.cross_entropy(other(x[index]), labels)
            loss.backward()
            optimizer.step()
            step += 1
            losses.append(float(loss.detach()))
        assert history[epoch]["loss"] == pytest.approx(np.mean(losses), abs=1e-4)
    state = other.state_dict()
    assert all(torch.allclose(p, state[k], atol=2e-3) for k, p in net.state_dict().items())


def test_images_are_moved_anew_in_each_epoch_and_the_same_again_for_the_same_seed():
    plan = Plan(2, 96, 0.1, seed=1)
    first, again, later = (next(iter(supervised.batches(DATA.train, plan, e))) for e in (0, 0, 1))
    still = next(iter(supervised.batches(DATA.train, Plan(2, 96, 0.1, moved=False, seed=1), 0)))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], still[1])
    assert not torch.equal(first[0], still[0]) and not torch.equal(first[1], later[1])
    other = next(iter(supervised.batches(DATA.train, Plan(2, 96, 0.1, seed=2), 0)))
    assert not torch.equal(first[1], other[1])


class InterruptedByTestError(Exception):
    pass


@pytest.mark.parametrize("last", [1, 3])
def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path, last):
    plan = Plan(4, 16, 0.05, "cosine", seed=5)
    whole, history = trained(plan)

    def stop(epoch):
        if epoch.number > last:
            raise InterruptedByTestError
        return {"loss": epoch.loss}

    with keeping(tmp_path / "state"):
        with pytest.raises(InterruptedByTestError):
            trained(plan, stop, bookmark=Bookmark(0.0))
        done = []
        resumed, seen = trained(plan, lambda e: done.append(e.number) or {"loss": e.loss}, bookmark=Bookmark(0.0))
    assert done == list(range(last + 1, 5)) and seen == history
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_a_damaged_state_begins_anew_and_without_a_folder_nothing_is_kept(tmp_path):
    with keeping(tmp_path):
        assert Bookmark(0.0).load() is None
        assert Bookmark(0.0).keep({"a": torch.ones(2)})
        assert Bookmark(0.0).load()["a"].tolist() == [1, 1]
        state = {"x": [(1, "b"), None, 0.1, True], 3: {"deep": torch.tensor(5, dtype=torch.int64)}}
        assert Bookmark(0.0).keep(state) and Bookmark(0.0).load() == state
        assert Bookmark(0.0).keep({"a": torch.ones(2)})
        assert not Bookmark(60.0).keep({"a": torch.zeros(2)})
        (tmp_path / "state.npz").write_bytes(b"half")
        assert Bookmark(0.0).load() is None
        with keeping(None):
            assert not Bookmark(0.0).keep({"a": 1})
    assert not Bookmark(0.0).keep({"a": 1}) and len(list(tmp_path.iterdir())) == 1


def test_a_training_that_diverges_is_refused():
    with pytest.raises(SymtheoryError, match="a finite loss, got nan in epoch"):
        trained(Plan(3, 16, 1e30, moved=False))


@pytest.mark.parametrize("wrong", [(0, 16, 0.1), (1, 0, 0.1), (1, 16, 0.0)])
def test_bad_plans_are_refused(wrong):
    with pytest.raises(SymtheoryError, match="an epoch, a batch, lr > 0"):
        Plan(*wrong)


def test_accuracy_counts_right_answers():
    split = Split(DATA.test.images, DATA.test.labels)
    logits = functional.one_hot(split.labels, 10).float()
    logits[:6] = -logits[:6]

    class Fixed(nn.Module):
        def forward(self, x):
            return logits[: len(x)]

    found = supervised.accuracy(Fixed(), split, Normalise(DATA.train.images))
    assert found == pytest.approx(1 - 6 / len(split))


def test_images_are_averaged_over_squares():
    tiny = DATA.train.shrunk(4)
    assert tiny.images.shape == (96, 3, 4, 4)
    assert int(tiny.images[5, 1, 0, 3]) == round(float(DATA.train.images[5, 1, :2, 6:].float().mean()))
    assert DATA.train.shrunk(8) is DATA.train
    with pytest.raises(SymtheoryError, match="a side that divides 8 and 8, got 3"):
        DATA.train.shrunk(3)


# --- units that move together -----------------------------------------------------------------------------------------


def test_copies_make_blocks_whatever_their_sign_and_silent_units_do_not_count():
    g = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, 400, generator=g)
    h = torch.stack([a, b, 2 * a + 1, -3 * a, c, torch.full((400,), 5.0)], 1)
    r = correlation(h)
    assert blocks(r, 0.95).tolist() == [3, 1, 1] and lonely(r, 0.95) == pytest.approx(2 / 5)
    assert r[0, 3] == pytest.approx(-1) and r[5].tolist() == [0] * 6
    assert r[1, 4] == pytest.approx(np.corrcoef(b, c)[0, 1])
    silent = correlation(torch.ones(9, 4))
    assert lonely(silent, 0.95) == 1 and len(blocks(silent, 0.95)) == 0 and similarity(silent, silent) == 0


def test_sorting_brings_units_of_a_block_together():
    labels = np.array([0, 1, 2, 0, 1, 2, 2, 1, 0, 3])
    matrix = 0.9 * (labels[:, None] == labels) + 0.1 * np.eye(10)
    matrix[9] = matrix[:, 9] = 0  # silent
    units = order(matrix)
    assert sorted(units) == list(range(10)) and units[-1] == 9
    assert (np.diff(labels[units[:-1]]) != 0).sum() == 2
    assert order(np.eye(2)).tolist() == [0, 1] and order(np.zeros((3, 3))).tolist() == [0, 1, 2]


def test_similarity_compares_entries_and_not_levels():
    g = np.random.default_rng(0)
    m = np.corrcoef(g.normal(size=(8, 30)))
    np.fill_diagonal(m, 1)
    assert similarity(m, m) == pytest.approx(1)
    other = 0.5 * m + 0.5
    assert similarity(m, other) == pytest.approx(1)
    moved = np.roll(np.arange(8), 3)
    assert abs(similarity(m, m[np.ix_(moved, moved)])) < 0.7


# --- memory -----------------------------------------------------------------------------------------------------------


def test_memory_is_counted_by_hand():
    """Two linear layers and a ReLU: saved are the inputs of both layers, which is also ReLU's output."""
    net = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
    x = torch.randn(11, 7)
    found = footprint(net, list(net.parameters()), lambda: net(x).sum(), states=2)
    size = 4 * (7 * 5 + 5 + 5 * 3 + 3)
    assert (found.parameters, found.gradients, found.state) == (size, size, 2 * size)
    assert found.saved == 4 * 11 * (7 + 5) and found.total == 4 * size + found.saved


def test_memory_on_no_device_is_that_on_the_cpu():
    net, x = small(), torch.rand(4, 3, 8, 8)
    there, y = copy.deepcopy(net).to("meta"), torch.empty(4, 3, 8, 8, device="meta")
    counts = [
        footprint(model, list(model.parameters()), lambda m=model, z=z: m(z).sum(), states=1)
        for model, z in ((net, x), (there, y))
    ]
    assert counts[0] == counts[1] and counts[0].saved > 0
