r"""The continual regression of figure A4: tasks, models, training, gradients that vanish."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise, tee
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import kernels_hadamard, metrics
from symtheory.engine.stepping import Block
from symtheory.engine.sweep import Sweep, train
from symtheory.engine.updates import adam
from symtheory.figures.base import Shard
from symtheory.spec.params import Params

#: "start" is the control of "bias": the same random numbers, added once to the initial weights.
MODELS = ("vanilla", "rescaling", "noise", "bias", "start")

#: The models on a product of factors; they share one sweep.
PRODUCTS = MODELS[1:]

CUTS = (1e-3, 1e-6, 1e-9, 1e-12)

#: Gradients are counted by decade; the first bin is open below and holds what is exactly zero.
DECADES = tuple(range(-16, 3))

#: Streams of random numbers of one seed.
_START, _DATA, _BATCHES, _KICKS = range(4)


def _generator(seed: int, purpose: int, task: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * seed + 101 * task + purpose)


def linear_loss(params: Params, batch: Block) -> Tensor:
    r"""Mean of $(w\cdot x - y)^2$ over a batch.

    Args:
        params: ``w`` of shape ``(d,)``.
        batch: ``x`` of shape ``(..., d)`` and ``y`` of shape ``(...,)``.

    Returns:
        Scalar.
    """
    return ((batch["x"] @ params["w"] - batch["y"]) ** 2).mean()


def product_loss(params: Params, batch: Block) -> Tensor:
    r"""Mean of $(((w+b_w)\odot(u+b_u))\cdot x - y)^2$ over a batch.

    Args:
        params: ``w``, ``u``, ``bias_w`` and ``bias_u`` of shape ``(d,)``.
        batch: ``x`` of shape ``(..., d)`` and ``y`` of shape ``(...,)``.

    Returns:
        Scalar.
    """
    effective = (params["w"] + params["bias_w"]) * (params["u"] + params["bias_u"])
    return ((batch["x"] @ effective - batch["y"]) ** 2).mean()


def kicked_loss(params: Params, batch: Block) -> Tensor:
    """:func:`product_loss` plus a linear term whose gradient is the injected noise.

    Args:
        params: As there, and the scalar ``kick``.
        batch: As there, and ``kick_w`` and ``kick_u`` of shape ``(d,)``.

    Returns:
        Scalar.
    """
    kicks = batch["kick_w"] * params["w"] + batch["kick_u"] * params["u"]
    return product_loss(params, batch) + params["kick"] * kicks.sum()


def task_data(shard: Shard, seed: int, task: int) -> Block:
    r"""The points of one task: $y = \tfrac1d\sum_ix_i + \epsilon$.

    Args:
        shard: Settings.
        seed: Seed.
        task: Number of the task.

    Returns:
        ``x`` of shape ``(samples, dim)`` and ``y``.
    """
    g = _generator(seed, _DATA, task)
    dtype = torch.float64 if shard["double"] else torch.float32
    x = torch.randn(shard["samples"], shard["dim"], generator=g)
    y = x.mean(1) + shard["noise"] * torch.randn(shard["samples"], generator=g)
    return {"x": x.to(dtype), "y": y.to(dtype)}


def task_blocks(shard: Shard, task: int) -> Iterator[Block]:
    """Minibatches, drawn with repetition, and kicks of one task, block by block, one stream a seed.

    Args:
        shard: Settings.
        task: Number of the task.

    Yields:
        ``x``, ``y``, ``kick_w`` and ``kick_u`` with leading dims (seeds, steps of the block).
    """
    data = [task_data(shard, s, task) for s in shard["seeds"]]
    batches = [_generator(s, _BATCHES, task) for s in shard["seeds"]]
    kicks = [_generator(s, _KICKS, task) for s in shard["seeds"]]
    for begin in range(0, shard["steps"], shard["block"]):
        steps = min(shard["block"], shard["steps"] - begin)
        parts = []
        for d, g, k in zip(data, batches, kicks, strict=True):
            chosen = torch.randint(shard["samples"], (steps * shard["batch"],), generator=g)
            kick = torch.randn(2, steps, shard["dim"], generator=k).to(d["x"])
            part = {n: v.index_select(0, chosen).unflatten(0, (steps, shard["batch"])) for n, v in d.items()}
            parts.append({**part, "kick_w": kick[0], "kick_u": kick[1]})
        yield {n: torch.stack([p[n] for p in parts]) for n in parts[0]}


def sweeps(shard: Shard) -> dict[str, tuple[Sweep, Params]]:
    """The models as two sweeps, with their initial weights.

    Args:
        shard: Settings; ``lrs``, ``decays`` and ``seeds`` span the configurations, in this order.

    Returns:
        ``linear`` and ``product``; the configurations of the second are (model, lr, decay, seed).
    """
    lrs, decays, seeds, dim = shard["lrs"], shard["decays"], shard["seeds"], shard["dim"]
    dtype = torch.float64 if shard["double"] else torch.float32
    lr = torch.tensor(lrs, dtype=dtype).repeat_interleave(len(decays) * len(seeds))
    decay = torch.tensor(decays, dtype=dtype).repeat_interleave(len(seeds)).repeat(len(lrs))
    stream = torch.arange(len(seeds)).repeat(len(lrs) * len(decays))
    draws = torch.stack([torch.randn(4, dim, generator=_generator(s, _START)) for s in seeds]).to(dtype)[stream]
    w, u, bias_w, bias_u = shard["init"] * draws[:, 0], shard["init"] * draws[:, 1], draws[:, 2], draws[:, 3]
    bias_w, bias_u = shard["bias"] * bias_w, shard["bias"] * bias_u
    none = torch.zeros_like(w)
    start = {
        "w": torch.cat([w + bias_w if m == "start" else w for m in PRODUCTS]),
        "u": torch.cat([u + bias_u if m == "start" else u for m in PRODUCTS]),
    }
    fixed = {
        "bias_w": torch.cat([bias_w if m == "bias" else none for m in PRODUCTS]),
        "bias_u": torch.cat([bias_u if m == "bias" else none for m in PRODUCTS]),
        "kick": torch.cat([torch.full_like(lr, shard["kick"] if m == "noise" else 0.0) for m in PRODUCTS]),
    }
    update, n = adam(0.0, decoupled=False), len(PRODUCTS)
    linear = Sweep(linear_loss, lr, decay, stream, update, kernels_hadamard.linear_adam())
    product = Sweep(
        kicked_loss, lr.repeat(n), decay.repeat(n), stream.repeat(n), update, kernels_hadamard.hadamard_adam(), fixed
    )
    return {"linear": (linear, {"w": w}), "product": (product, start)}


def weights(shard: Shard, device: str = "cpu", *, use_kernel: bool = True) -> Iterator[tuple[Params, Params]]:
    """Train on task after task.

    Args:
        shard: Settings; with ``fresh`` every task starts with a new optimiser.
        device: Where to train.
        use_kernel: Use the compiled kernels on a CPU.

    Yields:
        After every task: the weights of the linear sweep, and of the product sweep with its biases.
    """
    (linear, first), (product, second) = sweeps(shard).values()
    spans = [[k] for k in range(shard["tasks"])] if shard["fresh"] else [list(range(shard["tasks"]))]
    per_task = -(-shard["steps"] // shard["block"])
    for span in spans:
        both = tee(chain.from_iterable(task_blocks(shard, k) for k in span))
        plain = ({k: v for k, v in block.items() if k in ("x", "y")} for block in both[0])
        runs = zip(
            train(linear, first, plain, device=device, use_kernel=use_kernel),
            train(product, second, both[1], device=device, use_kernel=use_kernel),
            strict=True,
        )
        for number, (a, b) in enumerate(runs, start=1):
            if number % per_task == 0:
                first, second = ({k: v.clone() for k, v in p.items()} for p in (a, b))
                yield first, {**second, **{k: v.to(device) for k, v in product.fixed.items() if k != "kick"}}


def _slopes(shard: Shard, task: int, linear: Params, product: Params) -> tuple[Tensor, Tensor]:
    """Largest gradient of each parameter over the task's points, (model x lr x decay, seed, parameters); mean loss."""
    count, slopes, fits = len(shard["seeds"]), [], []
    for j, seed in enumerate(shard["seeds"]):
        data = {k: v.to(linear["w"].device) for k, v in task_data(shard, seed, task).items()}
        parts = []
        for loss, params, trained in ((linear_loss, linear, ["w"]), (product_loss, product, ["w", "u"])):
            own = {k: v[j::count] for k, v in params.items()}
            sizes = metrics.gradients(loss, own, data)
            wide = torch.cat([sizes[k] for k in trained], dim=1)
            parts.append(torch.nn.functional.pad(wide, (0, 2 * shard["dim"] - wide.shape[1]), value=torch.nan))
            fits.append(metrics.losses(loss, own, data))
        slopes.append(torch.cat(parts))
    fit = torch.stack([torch.cat(fits[i : i + 2]) for i in range(0, len(fits), 2)], dim=1)
    return torch.stack(slopes, dim=1).cpu(), fit.cpu()


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Gradients that vanish after every task, for all models.

    Args:
        shard: ``lrs``, ``decays``, ``seeds``, ``dim``, ``samples``, ``tasks``, ``steps``, ``batch``, ``block``,
            ``noise``, ``init``, ``bias``, ``kick``, ``fresh``, ``double``.
        device: Where to train.

    Returns:
        ``dead`` (model, lr, decay, seed, task, cut), ``gradients`` (..., decade), ``fit`` and ``parameters`` (model).
    """
    shape = (len(MODELS), len(shard["lrs"]), len(shard["decays"]), len(shard["seeds"]))
    dead, histogram, fit = [], [], []
    for task, (linear, product) in enumerate(weights(shard, device)):
        slopes, error = _slopes(shard, task, linear, product)
        dead.append(torch.stack([(slopes < c).sum(-1) for c in CUTS], dim=-1).reshape(*shape, len(CUTS)))
        fit.append(error.reshape(shape))
        below = [(slopes < 10.0**e).sum(-1) for e in DECADES]
        counts = torch.stack([below[0], *(b - a for a, b in pairwise(below))], dim=-1)
        histogram.append(counts.reshape(*shape, len(DECADES)))
    dims, order = ("model", "lr", "decay", "seed", "task"), (1, 2, 3, 4, 0)
    tasks: list[Any] = [t + 1 for t in range(shard["tasks"])]
    coords = {"model": list(MODELS), "lr": shard["lrs"], "decay": shard["decays"], "seed": shard["seeds"]}
    return xr.Dataset(
        {
            "dead": ((*dims, "cut"), np.moveaxis(torch.stack(dead).numpy(), 0, 4).astype(np.int16)),
            "gradients": ((*dims, "decade"), np.moveaxis(torch.stack(histogram).numpy(), 0, 4).astype(np.int16)),
            "fit": (dims, torch.stack(fit).permute(*order).double().numpy()),
            "parameters": (("model",), np.array([shard["dim"]] + [2 * shard["dim"]] * len(PRODUCTS))),
        },
        coords={**coords, "task": tasks, "cut": list(CUTS), "decade": list(DECADES)},
    )


def shift_error(shard: Shard, device: str = "cpu") -> xr.Dataset:
    r"""How far training with a static bias departs from training from a shifted start, in double precision.

    Args:
        shard: As for :func:`compute`; one task is trained.
        device: Where to train.

    Returns:
        ``shift_error`` (decay): relative distance of the effective weights after the last step.
    """
    exact = {**shard, "double": True, "tasks": 1}
    ((_, product),) = weights(exact, device)
    factors = torch.cat([product["w"] + product["bias_w"], product["u"] + product["bias_u"]], dim=1).cpu()
    split = factors.reshape(len(PRODUCTS), len(shard["lrs"]), len(shard["decays"]), len(shard["seeds"]), -1)
    bias, start = split[PRODUCTS.index("bias")], split[PRODUCTS.index("start")]
    error = ((bias - start).norm(dim=-1) / start.norm(dim=-1)).amax((0, 2))
    return xr.Dataset({"shift_error": ("decay", error.numpy())}, coords={"decay": shard["decays"]})
