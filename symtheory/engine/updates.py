r"""Optimiser steps as pure functions of parameters with any leading configuration dims.

They follow PyTorch's own optimisers step for step (a test says so), with a learning rate and a decay per configuration.
``decay`` is PyTorch's ``weight_decay``; the paper's $\gamma$ is half of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from symtheory.spec.params import Params

State = dict[str, Params]


@dataclass(frozen=True)
class Update:
    """An optimiser.

    Attributes:
        start: Parameters to the initial state.
        step: ``(params, grads, state, lr, decay, t)`` to new parameters and state; ``t`` counts from 1, as a number or
            as a scalar tensor; ``lr`` and ``decay`` broadcast against the leading dims of every tensor.
    """

    start: Callable[[Params], State]
    step: Callable[[Params, Params, State, Tensor, Tensor, int | Tensor], tuple[Params, State]]


def along(values: Tensor, like: Tensor) -> Tensor:
    """One number per configuration, shaped to broadcast over the rest of a tensor.

    Args:
        values: Shape ``(C,)``, or a scalar.
        like: Tensor of shape ``(C, ...)``.

    Returns:
        View of shape ``(C, 1, ..., 1)``.

    >>> along(torch.ones(3), torch.ones(3, 2, 5)).shape
    torch.Size([3, 1, 1])
    """
    return values.reshape(values.shape + (1,) * (like.dim() - values.dim()))


def _zeros(params: Params) -> Params:
    return {k: torch.zeros_like(p) for k, p in params.items()}


def sgd(momentum: float = 0.0, *, nesterov: bool = False) -> Update:
    r"""Gradient descent with coupled decay: $g \leftarrow g + \text{decay}\,\theta$, $b\leftarrow\mu b + g$.

    Args:
        momentum: $\mu$.
        nesterov: Step along $g + \mu b$ instead of $b$.

    Returns:
        The update.
    """

    def step(
        params: Params, grads: Params, state: State, lr: Tensor, decay: Tensor, t: int | Tensor
    ) -> tuple[Params, State]:
        new, buffers = {}, {}
        for k, p in params.items():
            g = grads[k] + along(decay, p) * p
            if momentum:
                buffers[k] = momentum * state["buffer"][k] + g
                g = g + momentum * buffers[k] if nesterov else buffers[k]
            new[k] = p - along(lr, p) * g
        return new, {"buffer": buffers} if momentum else state

    return Update(lambda params: {"buffer": _zeros(params)} if momentum else {}, step)


def adam(beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, *, decoupled: bool = True) -> Update:
    r"""Adam; with decoupled decay (AdamW) parameters shrink by $1 - \text{lr}\cdot\text{decay}$ before the step.

    Args:
        beta1: Rate of the first moment; 0 switches its momentum off.
        beta2: Rate of the second moment.
        eps: Added to the denominator.
        decoupled: AdamW rather than Adam with decay in the gradient.

    Returns:
        The update.
    """

    def step(
        params: Params, grads: Params, state: State, lr: Tensor, decay: Tensor, t: int | Tensor
    ) -> tuple[Params, State]:
        new, first, second = {}, {}, {}
        for k, p in params.items():
            rate, shrink = along(lr, p), along(decay, p)
            g = grads[k] if decoupled else grads[k] + shrink * p
            base = p - rate * shrink * p if decoupled else p
            first[k] = beta1 * state["first"][k] + (1 - beta1) * g
            second[k] = beta2 * state["second"][k] + (1 - beta2) * g * g
            denominator = (second[k] / (1 - beta2**t)).sqrt() + eps
            new[k] = base - rate / (1 - beta1**t) * first[k] / denominator
        return new, {"first": first, "second": second}

    return Update(lambda params: {"first": _zeros(params), "second": _zeros(params)}, step)
