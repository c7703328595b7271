r"""Model, data and training of figure A3b: online SGD on $f(x) = WUx$ and $f(x) = (I+W)(I+U)x$."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import kernels_factorization as kernels
from symtheory.engine.metrics import rank_at, spectrum
from symtheory.engine.stepping import Block
from symtheory.engine.sweep import Kernel, Sweep, streams, train
from symtheory.engine.updates import sgd
from symtheory.figures.base import Shard
from symtheory.spec.params import Params

MODELS = ("plain", "residual")
#: Where a model starts: at a map near zero or near the identity, whatever the parametrisation.
STARTS = ("zero", "identity")
#: The start of each model in the paper: small $W$ and $U$.
OWN_START = {"plain": "zero", "residual": "identity"}

#: Singular values of the end-to-end map below a cut are zero; the main one is :data:`CUT`. Those of a factor are
#: compared with the cut's square root: the map is a product of two.
CUTS = (1e-2, 1e-3, 1e-4, 1e-6)
CUT = 1e-3

#: A run whose map has a larger singular value has diverged: the largest useful one is 1.
DIVERGED = 1e3

#: Every how many singular values one is stored; those next to the cut are stored for every run.
SPACING = 5


def _square(f: Tensor, batch: Block, signal: Tensor) -> Tensor:
    return (f - signal * batch["x"] - (1 - signal) * batch["noise"]).square().sum()


def plain_loss(params: Params, batch: Block) -> Tensor:
    r"""$\|WUx - \mu x - (1-\mu)\epsilon\|^2$ of one sample.

    Args:
        params: ``w`` and ``u`` of shape ``(d, d)``, and the scalar ``signal``, which is not trained.
        batch: ``x`` and ``noise`` of shape ``(d,)``.

    Returns:
        Scalar.
    """
    return _square(params["w"] @ (params["u"] @ batch["x"]), batch, params["signal"])


def residual_loss(params: Params, batch: Block) -> Tensor:
    r"""$\|(I+W)(I+U)x - \mu x - (1-\mu)\epsilon\|^2$ of one sample.

    Args:
        params: As for :func:`plain_loss`.
        batch: As for :func:`plain_loss`.

    Returns:
        Scalar.
    """
    h = batch["x"] + params["u"] @ batch["x"]
    return _square(h + params["w"] @ h, batch, params["signal"])


LOSSES = {"plain": plain_loss, "residual": residual_loss}
KERNELS: dict[str, Kernel] = {
    "plain": kernels.plain_factorization_sgd,
    "residual": kernels.residual_factorization_sgd,
}


def draw(dim: int) -> Any:
    r"""The data stream of $x$ and $\epsilon$.

    Args:
        dim: Dimension.

    Returns:
        ``draw(generator, steps)`` for :func:`symtheory.engine.sweep.streams`.
    """
    spread = (2 / torch.arange(1, dim + 1)).sqrt()

    def block(generator: torch.Generator, steps: int) -> Block:
        x = torch.randn(steps, dim, generator=generator)
        return {"x": x, "noise": spread * torch.randn(steps, dim, generator=generator)}

    return block


def initial(model: str, begin: str, dim: int, scale: float, seed: int) -> Params:
    """Initial weights of one seed: the same random matrices everywhere, around the factors of the map to start from.

    Args:
        model: ``plain`` or ``residual``.
        begin: ``zero`` or ``identity``.
        dim: Dimension.
        scale: Standard deviation of the entries in units of ``dim**-0.5``.
        seed: Seed.

    Returns:
        ``w`` and ``u`` of shape ``(dim, dim)``.
    """
    generator = torch.Generator().manual_seed(seed + 10_000)
    centre = (begin == "identity") - (model == "residual")
    return {
        name: scale * dim**-0.5 * torch.randn(dim, dim, generator=generator) + centre * torch.eye(dim)
        for name in ("w", "u")
    }


def weights(shard: Shard, device: str = "cpu", *, use_kernel: bool = True) -> Params:
    """Train one model over all learning rates and signals of a shard.

    Args:
        shard: ``model``, ``start``, ``lrs``, ``signals``, ``seed``, ``dim``, ``steps``, ``init``, ``block``.
        device: Where to train.
        use_kernel: Use the compiled kernel on a CPU.

    Returns:
        The factors of the map, ``w`` and ``u`` with the identity added for the residual model, of shape
        ``(signals, learning rates, dim, dim)``, in double precision.
    """
    lrs, signals, model, dim = shard["lrs"], shard["signals"], shard["model"], shard["dim"]
    count = len(lrs) * len(signals)
    begin = initial(model, shard["start"], dim, shard["init"], shard["seed"])
    sweep = Sweep(
        loss=LOSSES[model],
        lr=torch.tensor(lrs).repeat(len(signals)),
        decay=torch.zeros(count),
        stream=torch.zeros(count, dtype=torch.int64),
        update=sgd(),
        kernel=KERNELS[model],
        fixed={"signal": torch.tensor(signals).repeat_interleave(len(lrs))},
    )
    blocks = streams(draw(dim), [shard["seed"]], shard["steps"], shard["block"])
    first = {k: p.expand(count, dim, dim) for k, p in begin.items()}
    *_, params = train(sweep, first, blocks, device=device, use_kernel=use_kernel)
    skip = torch.eye(dim, dtype=torch.float64) if model == "residual" else 0
    return {k: p.cpu().double().reshape(len(signals), len(lrs), dim, dim) + skip for k, p in params.items()}


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Ranks and singular values of one model over learning rates and signals.

    Args:
        shard: See :func:`weights`.
        device: Where to train.

    Returns:
        ``rank`` (signal, lr, cut), ``rank_w``, ``rank_u``, ``diverged``, ``kept``, ``dropped`` (signal, lr) and
        ``spectrum`` (signal, lr, index). Ranks of diverged runs are -1, their singular values 0.
    """
    factors = weights(shard, device)
    values = spectrum(factors["w"] @ factors["u"])
    diverged = ~(torch.isfinite(values).all(-1) & (values[..., 0] < DIVERGED))

    def rank(of: Tensor, cut: float) -> np.ndarray:
        return torch.where(diverged, -1, rank_at(of, cut)).numpy().astype(np.int16)

    grid, main = ("signal", "lr"), rank(values, CUT)
    # one more on both sides, so that rank 0 has an infinite value above the cut and a full rank a zero below
    padded = torch.nn.functional.pad(values.masked_fill(diverged[..., None], 0.0), (0, 1)).numpy()
    found = torch.from_numpy(main.astype(np.int64)).clamp(min=0).numpy()[..., None]
    kept = np.take_along_axis(padded, np.maximum(found - 1, 0), -1)[..., 0]
    dropped = np.take_along_axis(padded, found, -1)[..., 0]
    shown = np.unique(np.r_[0 : shard["dim"] : SPACING, shard["dim"] - 1])
    return xr.Dataset(
        {
            "rank": ((*grid, "cut"), np.stack([rank(values, cut) for cut in CUTS], -1)),
            "rank_w": (grid, rank(spectrum(factors["w"]), CUT**0.5)),
            "rank_u": (grid, rank(spectrum(factors["u"]), CUT**0.5)),
            "diverged": (grid, diverged.numpy().astype(np.int8)),
            "kept": (grid, np.where(main > 0, kept, 0.0).astype(np.float32)),
            "dropped": (grid, dropped.astype(np.float32)),
            "spectrum": ((*grid, "index"), padded[..., shown].astype(np.float32)),
        },
        coords={"signal": shard["signals"], "lr": shard["lrs"], "cut": list(CUTS), "index": shown + 1},
    )
