"""Training of :mod:`symtheory.figures.attention`, and what is recorded of it: the shards of figures A9 and A10."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine.metrics import spectrum
from symtheory.engine.updates import Update, adam
from symtheory.errors import SymtheoryError
from symtheory.figures import attention
from symtheory.figures.base import Shard
from symtheory.spec.params import Params

MATRICES = ("query", "key")

#: Losses and gradients of all configurations at once.
Slope = Callable[[Params], tuple[Tensor, Params]]


def train(
    slope: Slope, start: Params, update: Update, decay: Tensor, lr: float, record: list[int]
) -> Iterator[tuple[Tensor, Params]]:
    """Full-batch training.

    Args:
        slope: Losses and gradients.
        start: Weights with leading dim ``C``; not modified.
        update: The optimiser.
        decay: PyTorch's ``weight_decay``, shape ``(C,)``.
        lr: Learning rate.
        record: Increasing numbers of steps after which to yield; 0 is the start.

    Yields:
        Losses and weights at each of them.

    Raises:
        SymtheoryError: If ``record`` does not increase.
    """
    if sorted(set(record)) != record or record[0] < 0:
        raise SymtheoryError("increasing step numbers", f"{record}", "give each once, in order")
    params, state = dict(start), update.start(start)
    rate = torch.full_like(decay, lr)
    for t in range(record[-1] + 1):
        losses, gradient = slope(params)
        if t in record:
            yield losses, params
        if t < record[-1]:
            params, state = update.step(params, gradient, state, rate, decay, t + 1)


def spectra(params: Params) -> Tensor:
    """Singular values of the trained attention matrices.

    Args:
        params: Weights with leading dim ``C``.

    Returns:
        Shape ``(C, layers, 2, dim)``: queries and keys. A single matrix in place of both stands for both.
    """
    return torch.stack([torch.stack([spectrum(m) for m in pair], 1) for pair in _pairs(params)], 1)


def imbalance(params: Params) -> Tensor:
    r"""$\|W_Q^TW_Q - W_K^TW_K\| / (\|W_Q^TW_Q\| + \|W_K^TW_K\|)$ of every layer.

    Args:
        params: Weights with leading dim ``C``.

    Returns:
        Shape ``(C, layers)``; 0 for a single matrix.
    """
    found = []
    for q, k in _pairs(params):
        a, b = q.mT @ q, k.mT @ k
        found.append((a - b).flatten(1).norm(dim=1) / (a.flatten(1).norm(dim=1) + b.flatten(1).norm(dim=1)))
    return torch.stack(found, dim=1)


def _pairs(params: Params) -> list[tuple[Tensor, Tensor]]:
    """Queries and keys of every layer in float64; a single matrix is paired with itself."""
    names = [n for n in params if n.startswith(("q", "m"))]
    return [(params[n].double(), params[n.replace("q", "k")].double()) for n in names]


def starting(shard: Shard) -> Params:
    """Initial weights of a shard, one copy a decay.

    Args:
        shard: See :func:`compute`.

    Returns:
        Weights with a leading dim of one entry per decay.
    """
    dim, layers = shard["features"] + 1, shard["layers"]
    params = attention.reduced(attention.initial(layers, dim, shard["seed"], shard["init"]))
    if shard["merged"]:
        params = {"m1": params["q1"] @ params["k1"].T, "v1": params["v1"]}
    return {k: p.expand(len(shard["decays"]), *p.shape).contiguous() for k, p in params.items()}


def slope_of(shard: Shard, data: attention.Prompts) -> Slope:
    """Loss and gradients of the model that a shard trains.

    Args:
        shard: See :func:`compute`.
        data: Training set.

    Returns:
        Function of the weights.
    """
    if shard["layers"] == 2:
        return partial(attention.two_layers, data=data, residual=shard["residual"])
    return partial(attention.one_matrix if shard["merged"] else attention.one_layer, data=data)


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Train every decay of a shard; with two layers, a shard has one decay.

    Args:
        shard: ``layers``, ``decays``, one ``seed``, the sizes, ``record`` and what a variant may change.
        device: Where to train.

    Returns:
        ``spectrum`` (decay, step, layer, matrix, index), ``imbalance`` (decay, step, layer), ``loss`` (decay, step).
    """
    sizes = (shard["prompts"], shard["rows"], shard["features"])
    data = attention.prompts(*sizes, shard["seed"], shared=shard["shared"])
    data = attention.Prompts(data.x.to(device), data.y.to(device))
    start = {k: p.to(device) for k, p in starting(shard).items()}
    decay = torch.tensor(shard["decays"], device=device)
    update = adam(decoupled=shard["decoupled"])
    found: dict[str, list[Tensor]] = {"loss": [], "imbalance": [], "spectrum": []}
    for losses, params in train(slope_of(shard, data), start, update, decay, shard["lr"], shard["record"]):
        for name, value in (("loss", losses), ("imbalance", imbalance(params)), ("spectrum", spectra(params))):
            found[name].append(value.float().cpu())
    dims = ("decay", "step", "layer", "matrix", "index")
    ends = {"loss": 2, "imbalance": 3, "spectrum": 5}
    values = {k: torch.stack(v, dim=1).numpy() for k, v in found.items()}
    coords = {
        "decay": shard["decays"],
        "step": shard["record"],
        "layer": np.arange(1, shard["layers"] + 1),
        "matrix": list(MATRICES),
        "index": np.arange(1, sizes[-1] + 2),
    }
    return xr.Dataset({k: (dims[: ends[k]], v) for k, v in values.items()}, coords=coords)
