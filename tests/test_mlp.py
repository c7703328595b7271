"""Hand-written gradients and training against autograd."""

import pytest
import torch
from torch import nn

from symtheory.engine import mlp
from symtheory.engine.training import Descent, train
from symtheory.errors import SymtheoryError
from symtheory.spec import relative_error

SHAPES = [(6, 4), (6, 5, 3), (7, 9, 8, 5, 4)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(shape, vector):
    """The same as an ``nn.Module``."""
    parts = []
    for k, (w, b) in enumerate(shape.layers(vector)):
        layer = nn.Linear(*w.shape).to(vector.dtype)
        layer.weight.data, layer.bias.data = w.T.clone(), b.clone()
        parts += [nn.ReLU(), layer] if k else [layer]
    return nn.Sequential(*parts)


def as_vector(net):
    return torch.cat([t.detach().reshape(-1) for p in net if isinstance(p, nn.Linear) for t in (p.weight.T, p.bias)])


def batches(shape, count, dtype=torch.float64):
    g = seeded(5)
    for _ in range(count):
        x = torch.randn(16, shape.widths[0], generator=g, dtype=dtype)
        yield x, torch.randint(shape.widths[-1], (16,), generator=g)


@pytest.mark.parametrize("widths", SHAPES)
def test_the_gradient_is_autograds(widths):
    shape = mlp.Shape(widths)
    vector = shape.start(seeded()).double()
    net, slope = network(shape, vector), shape.gradient(16, vector)
    for x, y in batches(shape, 2):
        slope.weights.copy_(vector)
        net.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        slope(x, y)
        wanted = [t for p in net if isinstance(p, nn.Linear) for t in (p.weight.grad.T, p.bias.grad)]
        assert relative_error(slope.vector, torch.cat([t.reshape(-1) for t in wanted])) < 1e-13
        assert mlp.evaluate(shape, vector, x, y)[0] == pytest.approx(loss.item(), rel=1e-12)


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.02),
    "Descent": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.02),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.02),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("sigma0", [0.0, 0.3])
def test_training_is_the_plain_loop(name, sigma0):
    """With a bias: decay towards the bias, which is what the optimiser's decay does to the parameters without it."""
    shape = mlp.Shape((7, 9, 8, 4))
    start = shape.start(seeded()).double()
    bias = sigma0 * torch.randn(shape.size, generator=seeded(1), dtype=torch.float64)
    net = network(shape, start - bias)
    anchors = network(shape, bias)
    optimizer = OPTIMIZERS[name](net.parameters())
    for x, y in batches(shape, 30):
        optimizer.zero_grad()
        shifted = {k: p + q.detach() for (k, p), q in zip(net.named_parameters(), anchors.parameters(), strict=True)}
        nn.functional.cross_entropy(torch.func.functional_call(net, shifted, (x,)), y).backward()
        optimizer.step()
    make = Descent(0.1, 0.02) if name == "Descent" else lambda p: OPTIMIZERS[name]([p])
    *_, (step, found) = train(shape, start, bias, make, batches(shape, 40), (0, 10, 30))
    assert step == 30 and relative_error(found, as_vector(net) + bias) < 1e-10


def test_the_start_is_that_of_linear_layers():
    shape = mlp.Shape((400, 50, 10))
    (w, b), (v, _) = shape.layers(shape.start(seeded()))
    assert 0.049 < float(w.max()) <= 0.05 and 0.03 < float(b.abs().max()) <= 0.05
    assert 0.13 < float(v.max()) <= 50**-0.5
    assert shape.layers(shape.scale())[1][0].unique().tolist() == pytest.approx([50**-0.5])


def test_accuracy_counts():
    shape = mlp.Shape((2, 2))
    vector = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    x = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [1.0, 5.0]])
    assert mlp.evaluate(shape, vector, x, torch.tensor([0, 1, 1, 1]))[1] == 0.75


def test_bad_shapes_and_too_little_data_are_refused():
    with pytest.raises(SymtheoryError, match="positive widths"):
        mlp.Shape((3,))
    shape = mlp.Shape((7, 4))
    start = shape.start(seeded()).double()
    with pytest.raises(SymtheoryError, match="5 batches, got 3"):
        list(train(shape, start, torch.zeros_like(start), lambda p: torch.optim.SGD([p]), batches(shape, 3), (5,)))
