r"""What is recorded of a sweep while it trains, for all configurations at once.

A *measure* is a pure function of the parameters of every configuration, with the configurations along the leading dim.
Nothing here decides a rank without its singular values: :func:`spectrum` is stored, :func:`rank_at` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import torch
from torch import Tensor
from torch.func import vmap

from symtheory.engine.coordinates import coordinates
from symtheory.engine.model import Batch, Loss
from symtheory.engine.sweep import Block
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params

#: Parameters of all configurations to named tensors of shape ``(C, ...)``.
Measure = Callable[[Params], dict[str, Tensor]]


def record(
    trained: Iterable[Params], measure: Measure, *, start: Params | None = None, at: Collection[int] | None = None
) -> dict[str, Tensor]:
    """Measure a sweep after chosen blocks.

    Args:
        trained: From :func:`symtheory.engine.sweep.train`.
        measure: What to measure.
        start: Also measure these initial parameters, as entry 0.
        at: Numbers of the blocks after which to measure, from 1; default after every block. The last block trained is
            always the last entry.

    Returns:
        Name to tensor of shape ``(records, C, ...)`` on the CPU, and ``block``: the number of each record.

    Raises:
        SymtheoryError: If nothing was trained.
    """
    found: list[dict[str, Tensor]] = []
    numbers: list[int] = []

    def keep(number: int, params: Params) -> None:
        found.append({k: v.detach().cpu().clone() for k, v in measure(params).items()})
        numbers.append(number)

    if start is not None:
        keep(0, start)
    number, params = 0, None
    for number, params in enumerate(trained, start=1):
        if at is None or number in at:
            keep(number, params)
    if params is None:
        raise SymtheoryError("at least one block", "none", "give blocks of data to train on")
    if numbers[-1] != number:
        keep(number, params)
    return {"block": torch.tensor(numbers), **{k: torch.stack([f[k] for f in found]) for k in found[0]}}


def spectrum(matrices: Tensor) -> Tensor:
    """Singular values, largest first; those of a matrix that is not finite are NaN.

    Args:
        matrices: Shape ``(..., m, n)``.

    Returns:
        Shape ``(..., min(m, n))``, in the matrices' own precision.

    >>> spectrum(torch.diag(torch.tensor([1.0, 3.0]))).tolist()
    [3.0, 1.0]
    """
    finite = torch.isfinite(matrices).all(-1).all(-1)
    values = torch.linalg.svdvals(torch.where(finite[..., None, None], matrices, torch.zeros_like(matrices)))
    return torch.where(finite[..., None], values, torch.nan)


def rank_at(values: Tensor, cut: float, *, relative: bool = False) -> Tensor:
    """Number of singular values above a cut.

    Args:
        values: From :func:`spectrum`, shape ``(..., k)``.
        cut: Values above it count.
        relative: The cut is in units of the largest value; a zero matrix then has rank 0.

    Returns:
        Integers of shape ``(...)``; -1 where the values are not finite.

    >>> rank_at(torch.tensor([[2.0, 0.5, 1e-5], [0.0, 0.0, 0.0]]), 1e-3).tolist()
    [2, 0]
    """
    level = cut * values.amax(-1, keepdim=True) if relative else torch.full_like(values[..., :1], cut)
    return torch.where(torch.isfinite(values).all(-1), (values > level).sum(-1), -1)


def sparsity(values: Tensor, cut: float) -> Tensor:
    """Fraction of entries below a cut in size.

    Args:
        values: Shape ``(C, ...)``.
        cut: Entries smaller than it count as zero.

    Returns:
        Shape ``(C,)``.

    >>> sparsity(torch.tensor([[1.0, -1e-9], [2.0, 3.0]]), 1e-6).tolist()
    [0.5, 0.0]
    """
    return (values.abs() < cut).reshape(len(values), -1).double().mean(-1)


def losses(loss: Loss, params: Params, batch: Batch) -> Tensor:
    """Loss of every configuration on one batch.

    Args:
        loss: Of one configuration.
        params: Tensors of shape ``(C, ...)``.
        batch: Shared by all.

    Returns:
        Shape ``(C,)``.
    """
    return vmap(lambda p: loss(p, batch))(params)


def gradients(loss: Loss, params: Params, batch: Block) -> Params:
    r"""Gradient of every single sample, by its largest size over the samples: $\max_j|\partial_i\ell(\theta, x_j)|$.

    A parameter for which it vanishes is *dead*: no sample can move it. The gradient of the mean loss would not tell,
    for it vanishes at every minimum.

    Args:
        loss: Of one configuration and one sample.
        params: Tensors of shape ``(C, ...)``.
        batch: Tensors of shape ``(samples, ...)``.

    Returns:
        Tensors of the parameters' shapes.
    """

    def of_one(one: Params) -> Params:
        each = vmap(torch.func.grad(loss), in_dims=(None, 0))(one, batch)
        return {k: g.abs().amax(0) for k, g in each.items()}

    return vmap(of_one)(params)


def dead_parameters(loss: Loss, params: Params, batch: Block, cut: float) -> Tensor:
    """Number of parameters that no sample can move.

    Args:
        loss: Of one configuration and one sample.
        params: Tensors of shape ``(C, ...)``.
        batch: Tensors of shape ``(samples, ...)``.
        cut: Gradients smaller than it vanish.

    Returns:
        Integers of shape ``(C,)``.

    >>> product = lambda p, batch: (p["a"] * p["b"] * batch["x"]).sum()
    >>> dead = {"a": torch.tensor([[0.0, 1.0]]), "b": torch.tensor([[0.0, 0.0]])}
    >>> dead_parameters(product, dead, {"x": torch.ones(3, 2)}, 1e-6).tolist()
    [3]
    """
    sizes = gradients(loss, params, batch)
    return torch.stack([(g < cut).reshape(len(g), -1).sum(-1) for g in sizes.values()]).sum(0)


def mirror_distance(mirror: Mirror, params: Params) -> Tensor:
    r"""$\|P\theta\|$ of every configuration.

    Args:
        mirror: For the parameters of one configuration.
        params: Tensors of shape ``(C, ...)``.

    Returns:
        Shape ``(C,)``.
    """
    return vmap(lambda p: coordinates(mirror, p))(params).norm(dim=-1)
