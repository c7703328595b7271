"""Pure updates against torch.optim, step for step, every configuration with its own learning rate and decay."""

from __future__ import annotations

import pytest
import torch

from symtheory.engine.updates import adam, along, sgd
from symtheory.spec.numerics import relative_error

#: Name to our update and PyTorch's optimiser.
CASES = {
    "SGD": (sgd(), torch.optim.SGD, {}),
    "momentum": (sgd(0.9), torch.optim.SGD, {"momentum": 0.9}),
    "Nesterov": (sgd(0.9, nesterov=True), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "AdamW": (adam(), torch.optim.AdamW, {}),
    "Adam": (adam(decoupled=False), torch.optim.Adam, {}),
    "RMSProp-like Adam": (adam(0.0, 0.9, 1e-3, decoupled=False), torch.optim.Adam, {"betas": (0.0, 0.9), "eps": 1e-3}),
}  # fmt: skip
GRID = [(0.01, 0.0), (0.03, 0.1), (0.001, 1.0)]
STEPS = 300


def start():
    generator = torch.Generator().manual_seed(0)
    shapes = {"w": (3, 4), "b": (3,), "s": ()}
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def gradients(params, step):
    """Non-quadratic, different at every step."""
    return {name: torch.sin(3 * p) + 0.1 * p + 0.5 * torch.cos(torch.tensor(float(step))) for name, p in params.items()}


def plain(optimizer, options, lr, decay):
    tensors = {key: p.clone().requires_grad_(True) for key, p in start().items()}
    optimizer = optimizer(list(tensors.values()), lr=lr, weight_decay=decay, **options)
    for step in range(STEPS):
        for p, g in zip(tensors.values(), gradients(tensors, step).values(), strict=True):
            p.grad = g.detach()
        optimizer.step()
    return {key: p.detach() for key, p in tensors.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_configuration_follows_torch_optim(name):
    update, optimizer, options = CASES[name]
    lr, decay = torch.tensor(GRID, dtype=torch.float64).T
    params = {key: p.expand(len(GRID), *p.shape).clone() for key, p in start().items()}
    state = update.start(params)
    for step in range(STEPS):
        params, state = update.step(params, gradients(params, step), state, lr, decay, step + 1)
    for index, (rate, strength) in enumerate(GRID):
        for key, value in plain(optimizer, options, rate, strength).items():
            assert relative_error(params[key][index], value) < 1e-12, (key, rate)


@pytest.mark.parametrize("name", CASES)
def test_an_update_changes_none_of_its_arguments(name):
    update, lr = CASES[name][0], torch.tensor([0.02], dtype=torch.float64)
    params = {key: p[None].clone() for key, p in start().items()}
    grads = gradients(params, 0)
    _, state = update.step(params, grads, update.start(params), lr, lr, 1)
    inner = [t for part in state.values() for t in part.values()]
    before = [t.clone() for t in (*params.values(), *grads.values(), *inner)]
    update.step(params, grads, state, lr, lr, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, (*params.values(), *grads.values(), *inner), strict=True))


def test_values_spread_over_the_remaining_dims():
    product = along(torch.tensor([1.0, 2.0]), torch.ones(2, 3, 1)) * torch.ones(2, 3, 1)
    assert product[:, :, 0].tolist() == [[1.0] * 3, [2.0] * 3]
