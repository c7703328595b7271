"""The loops that the sweeps are compared with: one configuration at a time, as they are usually written.

``nn.Parameter``, autograd and ``torch.optim``; one thread, which is the fastest for models this small.
"""

from __future__ import annotations

import torch
from torch import Tensor

from symtheory.engine.stepping import Block
from symtheory.figures import a3a, a8
from symtheory.spec.params import Params


def regression(model: str, start: Params, data: Block, lr: float, steps: int) -> Params:
    """Train one regressor of figure A3a.

    Args:
        model: ``vanilla`` or ``rescaling``.
        start: Initial weights.
        data: ``x`` of shape (steps, dim) and ``y`` of shape (steps,).
        lr: Learning rate.
        steps: How many samples to use.

    Returns:
        The weights after the last step.
    """
    params: Params = {k: torch.nn.Parameter(p.clone()) for k, p in start.items()}
    optimizer = torch.optim.SGD(params.values(), lr=lr)
    for t in range(steps):
        optimizer.zero_grad()
        a3a.LOSSES[model](params, {"x": data["x"][t], "y": data["y"][t]}).backward()
        optimizer.step()
    return {k: p.detach() for k, p in params.items()}


def factorization(w: Tensor, u: Tensor, s: Tensor, c: Tensor, gamma: float, lr: float, steps: int) -> Params:
    """Train one factorisation of figure A8.

    Args:
        w: First factor.
        u: Second factor.
        s: Second moment of the inputs.
        c: Cross moment of outputs and inputs.
        gamma: Weight decay.
        lr: Learning rate.
        steps: Number of steps.

    Returns:
        Both factors after the last step.
    """
    params: Params = {"w": torch.nn.Parameter(w.clone()), "u": torch.nn.Parameter(u.clone())}
    optimizer = torch.optim.SGD(params.values(), lr=lr, weight_decay=2 * gamma)
    for _ in range(steps):
        optimizer.zero_grad()
        a8.loss(params, {"s": s, "c": c}).backward()
        optimizer.step()
    return {k: p.detach() for k, p in params.items()}
