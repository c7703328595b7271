r"""Static randomness that removes symmetries: the bias $\theta_0$ and the diagonal $D$, drawn from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.params import Params


def require_removal(sigma0: float, gamma: float, spread: float) -> None:
    r"""Check the three numbers of a removal.

    Args:
        sigma0: Standard deviation of the bias.
        gamma: Weight decay, in the convention $\gamma\|\theta\|^2$.
        spread: $\epsilon$ of $D_{ii}\sim\mathrm{Uniform}(1-\epsilon, 1+\epsilon)$.

    Raises:
        SymtheoryError: If one is out of range.
    """
    if not 0 < sigma0 < float("inf"):
        raise SymtheoryError("sigma0 > 0", f"{sigma0}", "without a bias no symmetry is removed; try 0.01 / sqrt(width)")
    if not 0 < gamma < float("inf"):
        raise SymtheoryError(
            "gamma > 0", f"{gamma}", "a shift without decay removes no symmetry; gamma is weight_decay / 2"
        )
    if not 0 <= spread < 1:
        raise SymtheoryError("0 <= spread < 1", f"{spread}", "D = 1 +- spread has to stay positive")


def static_bias(params: Mapping[str, Tensor], sigma0: float, seed: int, *, relative: bool = False) -> Params:
    r"""$\theta_0\sim\mathcal N(0,\sigma_0^2)$, the same on every device and for every precision up to rounding.

    Args:
        params: Tensors to draw for, in order; the order matters.
        sigma0: Standard deviation $\sigma_0$ (the paper calls $\sigma_0$ a variance in one place).
        seed: Seed.
        relative: Divide by $\sqrt{\text{fan-in}}$ of each tensor, the unit in which the paper states $\sigma_0$.

    Returns:
        Name to a tensor of the same shape, type and device.

    >>> one = {"w": torch.zeros(3)}
    >>> torch.equal(static_bias(one, 0.1, 7)["w"], static_bias(one, 0.1, 7)["w"])
    True
    """
    g = torch.Generator().manual_seed(seed)
    bias = {}
    for name, p in params.items():
        fan_in = p.numel() // max(p.shape[0], 1) if p.dim() > 1 else p.numel()
        scale = sigma0 / sqrt(max(fan_in, 1)) if relative else sigma0
        bias[name] = (scale * torch.randn(p.shape, generator=g, dtype=torch.float64)).to(p)
    return bias


def static_stretch(params: Mapping[str, Tensor], spread: float, seed: int) -> Params:
    r"""$D_{ii}\sim\mathrm{Uniform}(1-\epsilon, 1+\epsilon)$, drawn from a stream of its own.

    Args:
        params: Tensors to draw for, in order.
        spread: $\epsilon$.
        seed: Seed.

    Returns:
        Name to a positive tensor of the same shape, type and device.
    """
    g = torch.Generator().manual_seed(seed ^ 0x5D5D5D5D)
    return {
        name: (1 + spread * (2 * torch.rand(p.shape, generator=g, dtype=torch.float64) - 1)).to(p)
        for name, p in params.items()
    }
