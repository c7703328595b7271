"""A plain training loop with PyTorch's own optimisers, for measuring what they keep and what they leave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from symtheory.engine.model import Batch, Loss, evaluate
from symtheory.spec.params import Params

MakeOptimizer = Callable[[list[Tensor]], Optimizer]


def optimizers(lr: float, decay: float) -> Mapping[str, MakeOptimizer]:
    """PyTorch's common optimisers with ordinary settings.

    Args:
        lr: Learning rate.
        decay: PyTorch's ``weight_decay``.

    Returns:
        Name to a function that builds the optimiser for a list of tensors.
    """
    return {
        "SGD": lambda p: torch.optim.SGD(p, lr=lr, weight_decay=decay),
        "momentum": lambda p: torch.optim.SGD(p, lr=lr, weight_decay=decay, momentum=0.9),
        "Nesterov": lambda p: torch.optim.SGD(p, lr=lr, weight_decay=decay, momentum=0.9, nesterov=True),
        "AdamW": lambda p: torch.optim.AdamW(p, lr=lr, weight_decay=decay),
        "RMSprop": lambda p: torch.optim.RMSprop(p, lr=lr, weight_decay=decay),
    }


def trajectory(
    loss: Loss,
    start: Params,
    batches: Iterable[Batch],
    make: MakeOptimizer,
    *,
    perturb: Callable[[list[Tensor], Optimizer, int], None] | None = None,
) -> Iterator[Params]:
    """Parameters after every step, beginning with the start itself.

    Args:
        loss: The loss.
        start: First parameters; not modified.
        batches: One batch per step.
        make: Builds the optimiser.
        perturb: Called with the tensors (their ``.grad`` set), the optimiser and the step number before each step, to
            break a hypothesis on purpose.

    Yields:
        Detached copies of the parameters.
    """
    params = {name: p.detach().clone().requires_grad_(True) for name, p in start.items()}
    tensors = list(params.values())
    optimizer = make(tensors)
    yield {name: p.detach().clone() for name, p in params.items()}
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        evaluate(loss, params, batch).backward()
        if perturb is not None:
            perturb(tensors, optimizer, step)
        optimizer.step()
        yield {name: p.detach().clone() for name, p in params.items()}
