r"""Descent in coordinates of the constrained space, $\theta = Bt$, with torch's own optimisers.

The columns of $B$ decide the metric. Orthonormal columns give the gradient of the full weights. Tied weights, one
number for every orbit of matrix entries, have columns of length $\sqrt{n_k}$: there a step of descent in $t$ moves along
$BB^T\nabla L$, with every direction multiplied by its multiplicity $n_k$.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.cosets import fixed_space
from symtheory.spec.gsets import GSet
from symtheory.spec.representations import Representation
from symtheory.theorems.hidden_subspaces.settings import Setting

Optimizer = Callable[[Iterable[Tensor]], torch.optim.Optimizer]

#: Optimisers whose steps are combinations of gradients and the point itself; Adam is not among them.
LINEAR: dict[str, Optimizer] = {
    "gradient descent": lambda p: torch.optim.SGD(p, lr=0.1),
    "a large step": lambda p: torch.optim.SGD(p, lr=1.0),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "weight decay": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1),
}


def orthonormal_coordinates(s: Setting) -> Tensor:
    """Orthonormal basis of the constrained space, orbit by orbit.

    Args:
        s: The setting.

    Returns:
        Shape ``(size, d)``.
    """
    found = s.layer.functions(s.neuron)
    bias = fixed_space(s.layer.rep_out, frozenset(range(s.layer.group.order)))
    return torch.block_diag(found.reshape(len(found), -1).T, bias)


def tied_coordinates(s: Setting) -> Tensor:
    """One coordinate for every orbit of weight entries, as tied weights are mostly written.

    Args:
        s: A setting whose inputs and outputs are permuted.

    Returns:
        Columns of zeros and ones, shape ``(size, d)``.

    Raises:
        SymtheoryError: If the group does not permute inputs and outputs.
    """
    blocks = [_indicators(s.layer.units, s.neuron), _indicators(None, s.layer.rep_out)]
    return torch.block_diag(*blocks)


def _indicators(units: GSet | None, rep: Representation) -> Tensor:
    """Indicators of the orbits on pairs of a unit and a coordinate."""
    images = rep.matrices.argmax(dim=1)
    if not torch.equal(torch.nn.functional.one_hot(images, rep.dim).transpose(1, 2).double(), rep.matrices):
        raise SymtheoryError("inputs and outputs that the group permutes", f"{rep!r}", "use orthonormal coordinates")
    if units is None:
        pairs = GSet(rep.group, images.numpy())
    else:
        first = torch.as_tensor(units.images)[:, :, None] * rep.dim + images[:, None, :]
        pairs = GSet(rep.group, first.flatten(1).numpy())
    columns = torch.zeros(pairs.size, len(pairs.orbits), dtype=torch.float64)
    for k, orbit in enumerate(pairs.orbits):
        columns[list(orbit), k] = 1.0
    return columns


def descend(
    s: Setting,
    start: Tensor,
    coordinates: Tensor,
    optimizer: Optimizer,
    steps: int = 20,
    batches: Sequence[Sequence[int]] | None = None,
) -> Tensor:
    """Train a setting from a point.

    Args:
        s: The setting.
        start: A point in the range of the coordinates, shape ``(size,)``.
        coordinates: $B$, shape ``(size, d)``.
        optimizer: Makes an optimiser for a list of tensors.
        steps: Number of steps.
        batches: Samples of each step, in turn; default all.

    Returns:
        The last point, shape ``(size,)``.
    """
    t = torch.linalg.lstsq(coordinates, start, driver="gelsd").solution.requires_grad_()
    method = optimizer([t])
    for k in range(steps):
        method.zero_grad()
        s.loss(coordinates @ t, None if batches is None else batches[k % len(batches)]).backward()
        method.step()
    return (coordinates @ t).detach()
