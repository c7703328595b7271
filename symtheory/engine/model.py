r"""From a model to $\ell(\theta, x)$: the one form in which every measurement takes a loss.

A *loss* is a pure function ``loss(params, batch) -> scalar tensor``. Weight decay follows paper A, eq. (1):
$\ell_\gamma = \ell_0 + \gamma\|\theta\|^2$, whose gradient is $\nabla\ell_0 + 2\gamma\theta$. PyTorch's
``weight_decay`` adds $\text{wd}\cdot\theta$ to the gradient, so $\text{wd} = 2\gamma$.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from symtheory.errors import SymtheoryError
from symtheory.spec.params import Params

Batch = Any
Loss = Callable[[Params, Batch], Tensor]


def loss_of(model: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    r"""Loss of a module on batches ``(inputs, targets)``.

    Args:
        model: Any module; its buffers are used as they are.
        criterion: ``criterion(outputs, targets)``, a scalar.

    Returns:
        ``loss(params, (inputs, targets))``.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> loss = loss_of(net, nn.functional.mse_loss)
    >>> float(loss({"weight": torch.tensor([[2.0]])}, (torch.tensor([[3.0]]), torch.tensor([[5.0]]))))
    1.0
    """

    def loss(params: Params, batch: Batch) -> Tensor:
        inputs, targets = batch
        return criterion(functional_call(model, params, (inputs,)), targets)

    return loss


def squared_norm(params: Params) -> Tensor:
    r"""$\|\theta\|^2$ over all tensors.

    Args:
        params: Name to tensor.

    Returns:
        Scalar.
    """
    return torch.stack([(p * p).sum() for p in params.values()]).sum()


def with_decay(loss: Loss, gamma: float) -> Loss:
    r"""$\ell_\gamma(\theta, x) = \ell_0(\theta, x) + \gamma\|\theta\|^2$.

    Args:
        loss: $\ell_0$.
        gamma: Weight decay $\gamma$ in the paper's convention (half of PyTorch's ``weight_decay``).

    Returns:
        The regularised loss.

    >>> regularised = with_decay(lambda p, _: p["w"].sum(), 0.5)
    >>> float(regularised({"w": torch.tensor([2.0])}, None))
    4.0
    """

    def regularised(params: Params, batch: Batch) -> Tensor:
        return loss(params, batch) + gamma * squared_norm(params)

    return regularised


def evaluate(loss: Loss, params: Params, batch: Batch) -> Tensor:
    """Value of a loss, checked to be a finite scalar.

    Args:
        loss: The loss.
        params: Name to tensor.
        batch: What the loss takes.

    Returns:
        Scalar tensor.

    Raises:
        SymtheoryError: If the loss returns anything but a finite scalar.
    """
    value = loss(params, batch)
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise SymtheoryError("a scalar loss", f"{shape}", "reduce it, e.g. with .mean()")
    if not bool(torch.isfinite(value)):
        raise SymtheoryError("a finite loss", f"{float(value)}", "start from parameters where the loss is defined")
    return value.reshape(())
