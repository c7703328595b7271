"""Attention: the reduced graphs against the naive model, and training against the plain loop."""

import pytest
import torch

from symtheory.figures import attention
from symtheory.spec.numerics import relative_error


def _instance(layers, seed=0, count=9, rows=6, features=4, scale=3.0, shared=False):
    data = attention.prompts(count, rows, features, seed, shared=shared)
    return data, attention.initial(layers, features + 1, seed, scale)


def _autograd(params, data, residual):
    leaves = {k: p.clone().requires_grad_() for k, p in params.items()}
    value = attention.loss(leaves, data, residual=residual)
    return value, dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_reduced_gradients_are_autograds(layers, residual):
    data, params = _instance(layers)
    data = attention.Prompts(data.x.double(), data.y.double())
    params = {k: p.double() for k, p in params.items()}
    value, wanted = _autograd(params, data, residual)
    small = {k: p[None] for k, p in attention.reduced(params).items()}
    if layers == 1:
        losses, found = attention.one_layer(small, data)
    else:
        losses, found = attention.two_layers(small, data, residual=residual, chunk=4)
    assert relative_error(losses[0], value.detach()) < 1e-12
    for name, g in attention.reduced(wanted).items():
        assert relative_error(found[name][0], g) < 1e-11, name
        assert float(g.norm()) > 1e-4, name
    last = wanted[f"v{layers}"]
    assert not last[:, :-1].any()  # the other columns of the last values have no gradient
