r"""The reparametrised regression of figure B3c: methods, training, neurons that die, neurons that learn again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import kernels_hadamard, metrics
from symtheory.engine.stepping import Block
from symtheory.engine.sweep import Sweep, streams, train
from symtheory.engine.updates import sgd
from symtheory.figures.base import Shard
from symtheory.spec.params import Params
from symtheory.transforms.static import static_bias

#: Method to what it uses: weight decay, static bias, weights held fixed.
METHODS: dict[str, frozenset[str]] = {
    "vanilla": frozenset(),
    "W-fix": frozenset({"held"}),
    "syre": frozenset({"decay", "bias"}),
    "decay": frozenset({"decay"}),
    "bias": frozenset({"bias"}),
    "W-fix + decay": frozenset({"held", "decay"}),
}

CUTS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8)

#: Quantiles over the neurons of the larger of the two factors. Sizes below 1e-30 are stored as that.
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)

FACTORS = ("w", "u")

#: What the neurons learn when they learn again: this weight each, without label noise.
LESSON = 0.1


def effective(params: Params, name: str) -> Tensor:
    """A factor as the model uses it: trained and biased where free, held elsewhere.

    Args:
        params: ``w`` and ``u`` with ``bias_*``, ``free_*`` and ``held_*`` of their shape.
        name: ``w`` or ``u``.

    Returns:
        Tensor of that shape.
    """
    return params[f"free_{name}"] * (params[name] + params[f"bias_{name}"]) + params[f"held_{name}"]


def loss(params: Params, batch: Block) -> Tensor:
    r"""Mean of $((\hat u\odot\hat w)\cdot x - y)^2$ over a batch.

    Args:
        params: See :func:`effective`.
        batch: ``x`` of shape ``(batch, dim)`` and ``y``.

    Returns:
        Scalar.
    """
    return ((batch["x"] @ (effective(params, "w") * effective(params, "u")) - batch["y"]) ** 2).mean()


def target(shard: Shard) -> Tensor:
    """The weights behind the labels.

    Args:
        shard: ``dim``; ``signals`` coordinates have the weight ``signal``, the others none.

    Returns:
        Shape ``(dim,)``.
    """
    v = torch.zeros(shard["dim"])
    v[: shard["signals"]] = shard["signal"]
    return v


def draw(weights: Tensor, noise: float, batch: int) -> Any:
    r"""The data stream $y = v\cdot x + \epsilon$.

    Args:
        weights: $v$.
        noise: Standard deviation of $\epsilon$.
        batch: Samples a step.

    Returns:
        ``draw(generator, steps)`` for :func:`symtheory.engine.sweep.streams`.
    """

    def block(generator: torch.Generator, steps: int) -> Block:
        x = torch.randn(steps, batch, len(weights), generator=generator)
        return {"x": x, "y": x @ weights + noise * torch.randn(steps, batch, generator=generator)}

    return block


def initial(shard: Shard, method: str, seed: int) -> tuple[Params, Params]:
    r"""Trained and fixed tensors of one method at the start.

    The factors start at the same $\hat w$, $\hat u$ for all methods, but for the held weights of W-fix.

    Args:
        shard: ``dim``, ``init``, ``sigma0``, ``held`` (fraction), ``kappa`` (their variance).
        method: Among ``METHODS``.
        seed: Seed.

    Returns:
        ``w`` and ``u``; and ``bias_*``, ``free_*``, ``held_*``; each of shape ``(dim,)``.
    """
    g, dim, uses = torch.Generator().manual_seed(seed + 10_000), shard["dim"], METHODS[method]
    factors = {k: shard["init"] * dim**-0.5 * torch.randn(dim, generator=g) for k in FACTORS}
    bias = static_bias(factors, shard["sigma0"], seed + 20_000)
    fixed = {}
    for k in FACTORS:
        chosen = torch.randperm(dim, generator=g) < round(shard["held"] * dim)
        held = shard["kappa"] ** 0.5 * torch.randn(dim, generator=g)
        fixed[f"bias_{k}"] = bias[k] if "bias" in uses else torch.zeros(dim)
        fixed[f"free_{k}"] = (~chosen).float() if "held" in uses else torch.ones(dim)
        fixed[f"held_{k}"] = held * chosen if "held" in uses else torch.zeros(dim)
    return {k: factors[k] - fixed[f"bias_{k}"] for k in FACTORS}, fixed


def sweep(shard: Shard) -> tuple[Sweep, Params]:
    """All methods, learning rates and seeds, in this order.

    Args:
        shard: ``lrs``, ``seeds``, ``gamma`` and what :func:`initial` needs.

    Returns:
        The sweep and its start.
    """
    pairs = [initial(shard, m, s) for m in METHODS for _ in shard["lrs"] for s in shard["seeds"]]
    start, fixed = ({k: torch.stack([p[i][k] for p in pairs]) for k in pairs[0][i]} for i in (0, 1))
    each = len(shard["lrs"]) * len(shard["seeds"])
    lr = torch.tensor(shard["lrs"]).repeat_interleave(len(shard["seeds"])).repeat(len(METHODS))
    decays = torch.tensor([2 * shard["gamma"] if "decay" in uses else 0.0 for uses in METHODS.values()])
    stream = torch.arange(len(shard["seeds"])).repeat(len(METHODS) * len(shard["lrs"]))
    decay = decays.repeat_interleave(each)
    return Sweep(loss, lr, decay, stream, sgd(), kernels_hadamard.hadamard_static, fixed), start


def compute(shard: Shard, device: str = "cpu", *, use_kernel: bool = True) -> xr.Dataset:
    """Dead neurons while training, and how many learn again afterwards.

    Args:
        shard: See :func:`sweep`; and ``steps``, ``block``, ``batch``, ``noise``, ``signal``, ``signals``,
            ``lesson_steps``.
        device: Where to train.
        use_kernel: Use the compiled kernel on a CPU.

    Returns:
        ``dead`` (training, lr, seed, step, cut), ``size`` (..., step, quantile): the larger factor of a neuron;
        ``relearned`` and ``relearned_untrained`` (training, lr, seed); ``trainable`` (training, seed): neurons without
        a held weight.
    """
    plan, start = sweep(shard)
    fixed = {k: v.to(device) for k, v in plan.fixed.items()}
    shape = (len(METHODS), len(shard["lrs"]), len(shard["seeds"]))

    def measure(params: Params) -> dict[str, Tensor]:
        own = {**params, **fixed}
        size = torch.maximum(effective(own, "w").abs(), effective(own, "u").abs())
        dead = torch.stack([(size < c).sum(-1) for c in CUTS], dim=-1)
        levels = torch.quantile(size, torch.tensor(QUANTILES, device=size.device), dim=-1).T.clamp_min(1e-30)
        return {"dead": dead, "size": levels, "w": params["w"], "u": params["u"]}

    def again(params: Params) -> Tensor:
        lesson = draw(torch.full((shard["dim"],), LESSON), 0.0, shard["batch"])
        seeds = [s + 30_000 for s in shard["seeds"]]
        blocks = streams(lesson, seeds, shard["lesson_steps"], shard["block"])
        *_, last = train(plan, params, blocks, device=device, use_kernel=use_kernel)
        product = effective({**last, **fixed}, "w") * effective({**last, **fixed}, "u")
        return ((product - LESSON).abs() < LESSON / 2).sum(-1).cpu().reshape(shape)

    data = draw(target(shard), shard["noise"], shard["batch"])
    blocks = streams(data, shard["seeds"], shard["steps"], shard["block"])
    begin = {k: v.to(device) for k, v in start.items()}
    seen = metrics.record(train(plan, start, blocks, device=device, use_kernel=use_kernel), measure, start=begin)
    end = {k: seen[k][-1] for k in FACTORS}
    free = (plan.fixed["free_w"] * plan.fixed["free_u"]).sum(-1).reshape(shape)[:, 0]
    steps = [min(int(n) * shard["block"], shard["steps"]) for n in seen["block"]]
    dims = ("training", "lr", "seed", "step")
    dead = seen["dead"].reshape(-1, *shape, len(CUTS)).numpy().astype(np.int16)
    return xr.Dataset(
        {
            "dead": ((*dims, "cut"), np.moveaxis(dead, 0, 3)),
            "size": ((*dims, "quantile"), np.moveaxis(seen["size"].reshape(-1, *shape, len(QUANTILES)).numpy(), 0, 3)),
            "relearned": (dims[:3], again(end).numpy().astype(np.int16)),
            "relearned_untrained": (dims[:3], again(start).numpy().astype(np.int16)),
            "trainable": (("training", "seed"), free.numpy().astype(np.int16)),
        },
        coords={
            "training": list(METHODS),
            "lr": shard["lrs"],
            "seed": shard["seeds"],
            "step": steps,
            "cut": list(CUTS),
            "quantile": list(QUANTILES),
        },
    )
