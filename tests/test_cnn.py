"""The convolutional network: its gradient is autograd's, its training the plain loop's."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from symtheory.engine import cnn
from symtheory.engine.images import stand_in
from symtheory.engine.training import Descent, train
from symtheory.errors import SymtheoryError
from symtheory.spec import relative_error


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(shape, vector):
    """The same as an ``nn.Module``."""
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = shape.layers(vector)
    net = nn.Sequential(
        *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(320, shape.hidden), nn.ReLU(), nn.Linear(shape.hidden, shape.classes)),
    ).to(vector.dtype)
    for p, value in zip(net.parameters(), (w1, b1, w2, b2, w3.T, b3, w4.T, b4), strict=True):
        p.data = value.clone()
    return net


def as_vector(tensors):
    return torch.cat([(t.T if k in (4, 6) else t).detach().reshape(-1) for k, t in enumerate(tensors)])


def coarse(shape, seed, count=48):
    """Weights, images and labels with few bits: windows tie often, and the convolutions round nothing, so that both
    precisions see the same largest output."""
    g = seeded(seed)
    vector = shape.start(g)
    for w, b in shape.layers(vector)[:2]:
        w.copy_(torch.randint(-2, 3, w.shape, generator=g) / 8)
        b.copy_(torch.randint(-2, 3, b.shape, generator=g) / 8)
    x = torch.randint(0, 3, (count, 784), generator=g) / 2
    return vector, x, torch.randint(shape.classes, (count,), generator=g)


@pytest.mark.parametrize(("dtype", "kind", "tolerance"), [
    (torch.float32, cnn.Gradient, 3e-6), (torch.float64, cnn.AutogradGradient, 1e-13),
])  # fmt: skip
@pytest.mark.parametrize("shape", [cnn.Shape(), cnn.Shape(7, 3)])
def test_the_gradient_is_autograds(shape, dtype, kind, tolerance):
    for seed in range(3):
        vector, x, y = coarse(shape, seed)
        slope = shape.gradient(len(y), vector.to(dtype))
        assert type(slope) is kind
        net = network(shape, vector).double()
        loss = nn.functional.cross_entropy(net(x.double().view(-1, 1, 28, 28)), y)
        loss.backward()
        with torch.no_grad():
            for _ in range(2):  # nothing is left from the call before
                slope.weights.copy_(vector)
                slope(x.to(dtype), y)
        wanted = as_vector([p.grad for p in net.parameters()])
        pairs = zip(shape.layers(slope.vector.double()), shape.layers(wanted), strict=True)
        assert (
            max(relative_error(u, v) for ours, theirs in pairs for u, v in zip(ours, theirs, strict=True)) < tolerance
        )


def test_features_are_the_modules_and_of_equals_the_first_counts_as_in_pytorch():
    shape = cnn.Shape()
    vector, x, _ = coarse(shape, 9, 20)
    features = cnn.Features(20)
    features(shape.layers(vector), x)
    below = x.view(-1, 1, 28, 28)
    first, at = (t.transpose(2, 3).transpose(1, 2).flatten(0, 1)[:20] for t in (features.first, features.places[0]))
    for (w, b), found, places in zip(
        shape.layers(vector), (first, features.second), (at, features.places[1]), strict=False
    ):
        z = nn.functional.conv2d(below, w, b)
        wanted, index = nn.functional.max_pool2d(z, 2, return_indices=True)
        below = wanted.relu()
        assert torch.equal(found, below)
        row, column = index // z.shape[-1], index % z.shape[-1]
        assert torch.equal(places.long(), 2 * (row % 2) + column % 2)


def test_outputs_and_scores_are_the_modules():
    shape = cnn.Shape()
    vector = shape.start(seeded())
    data = stand_in(40).train
    x, y = data.flat(), data.labels
    net = network(shape, vector)
    wanted = net(x.view(-1, 1, 28, 28))
    _, second, _, logits = cnn.outputs(shape, vector, x)
    assert relative_error(second, net[:5](x.view(-1, 1, 28, 28)).detach()) < 1e-6
    assert relative_error(logits, wanted.detach()) < 1e-6
    for v, inputs in ((vector, x), (vector.double(), x.double())):
        loss, right = cnn.evaluate(shape, v, inputs, y)
        assert loss == pytest.approx(nn.functional.cross_entropy(wanted, y).item(), rel=1e-5)
        assert right == pytest.approx(float((wanted.argmax(1) == y).double().mean()))


SLOPE = """
import torch
from symtheory.engine import cnn
g = torch.Generator().manual_seed(0)
shape = cnn.Shape()
slope = shape.gradient(24, torch.zeros(()))
slope.weights.copy_(shape.start(g))
with torch.no_grad():
    slope(torch.rand(24, 784, generator=g), torch.randint(10, (24,), generator=g))
print(slope.vector.numpy().tobytes().hex())
"""


def test_kernels_just_compiled_are_those_of_the_cache(tmp_path):
    """To the bit: workers load what their parent compiled, and shards may come from either."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = partial(subprocess.run, [sys.executable, "-c", SLOPE], env=environment, capture_output=True, check=True)
    compiled = run().stdout
    assert any(tmp_path.rglob("*.nbc")) and len(compiled) > 8 * cnn.Shape().size
    assert run().stdout == compiled


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("sigma0", [0.0, 0.5])
def test_training_is_the_plain_loop(sigma0, momentum):
    """The decay acts on the parameters without the bias, and the network is run with it."""
    shape = cnn.Shape()
    start = shape.start(seeded())
    bias = sigma0 * shape.scale() * torch.randn(shape.size, generator=seeded(1))
    data = stand_in(256).train
    x, y = data.flat(), data.labels
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=momentum, weight_decay=0.02)
    rule = (lambda p: sgd([p])) if momentum else Descent(0.1, 0.02)
    batches = list(zip(x.split(32), y.split(32), strict=True))
    *_, (step, found) = train(shape, start, bias, rule, batches, (0, 8))
    free = nn.Parameter((start - bias).double())
    moved = sgd([free])
    for a, b in batches:
        moved.zero_grad()
        nn.functional.cross_entropy(cnn.outputs(shape, free + bias, a.double())[-1], b).backward()
        moved.step()
    assert step == 8 and relative_error(found.double(), free.detach() + bias) < 1e-5


def test_the_start_and_the_unit_are_those_of_pytorchs_layers():
    shape = cnn.Shape()
    fans = (25, 250, 320, 50)
    for fan, (w, b), (u, v) in zip(fans, shape.layers(shape.start(seeded())), shape.layers(shape.scale()), strict=True):
        assert 0.9 * fan**-0.5 < float(w.abs().max()) <= fan**-0.5 and float(b.abs().max()) <= fan**-0.5
        assert np.unique(torch.cat([u.flatten(), v]).numpy()) == pytest.approx(fan**-0.5)
    (w1, _), *_ = shape.layers(torch.arange(float(shape.size)))
    assert w1[0, 0, 0, 1] == 1 and shape.size == 21840


@pytest.mark.parametrize("count", [8, 16, 33])
def test_a_batch_of_another_size_is_refused(count):
    slope = cnn.Shape().gradient(32, torch.zeros(()))
    with pytest.raises(SymtheoryError, match=r"a batch of shape \(32, 784\)"):
        slope(torch.zeros(count, 784), torch.zeros(count).long())


def test_too_little_data_is_refused():
    shape = cnn.Shape()
    start = shape.start(seeded())
    with pytest.raises(SymtheoryError, match="3 batches, got 1"):
        list(
            train(
                shape,
                start,
                0 * start,
                lambda p: torch.optim.SGD([p]),
                [(torch.zeros(8, 784), torch.zeros(8).long())],
                (3,),
            )
        )
