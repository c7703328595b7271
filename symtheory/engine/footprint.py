"""How much memory a training step needs, counted and not sampled, the same on every device.

On the ``meta`` device nothing is computed, so that a large network can be counted anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Footprint:
    """Bytes of what a training step needs, each kind in full.

    What is saved is freed while gradients come, so that in a run not all of it has to be there at once.

    Attributes:
        parameters: Parameters and buffers.
        gradients: One for each trained parameter.
        state: Of the optimiser.
        saved: What the forward pass keeps for the backward pass, parameters and buffers left out.
    """

    parameters: int
    gradients: int
    state: int
    saved: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.gradients + self.state + self.saved


def _storage(tensor: Tensor) -> tuple[int, int]:
    """What a tensor is a view of, and its size; addresses would not do, since on ``meta`` there are none."""
    storage = tensor.untyped_storage()
    return storage._cdata, storage.nbytes()


def footprint(model: nn.Module, trained: list[nn.Parameter], loss: Callable[[], Tensor], states: int) -> Footprint:
    """Count the memory of one step.

    Args:
        model: The model.
        trained: Parameters that the optimiser moves.
        loss: Forward pass, to a scalar; called once.
        states: Tensors an optimiser keeps for each parameter: 1 for momentum, 2 for Adam.

    Returns:
        The bytes.

    >>> net = nn.Linear(3, 2, bias=False)
    >>> found = footprint(net, list(net.parameters()), lambda: net(torch.ones(5, 3)).square().sum(), states=1)
    >>> found.parameters, found.gradients, found.state, found.saved
    (24, 24, 24, 100)
    """
    own = dict(_storage(t) for t in (*model.parameters(), *model.buffers()))
    saved: dict[int, int] = {}
    alive: list[Tensor] = []  # so that nothing is taken for another

    def pack(tensor: Tensor) -> Tensor:
        at, size = _storage(tensor)
        if at not in own:
            saved[at] = size
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss()
    moved = sum(p.numel() * p.element_size() for p in trained)
    return Footprint(sum(own.values()), moved, states * moved, sum(saved.values()))
