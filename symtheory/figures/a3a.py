r"""Figure A3a (paper A, Figure 3 left): a rescaling symmetry and SGD noise make a linear regression sparse.

Setting (Appendix B.2): $x\in\mathbb R^{200}$ standard normal, $y = \tfrac1{200}\sum_ix_i + \epsilon$, online SGD with
batch size 1, $10^5$ steps, no decay, no momentum; $f(x) = w^Tx$ against $f(x) = (w\odot u)^Tx$.

The paper leaves open: the standard deviation of $\epsilon$ (here 2), the initialisation (here each factor
$\mathcal N(0, 1/d)$), the learning rates, the factor in front of the square (here $\ell = (f-y)^2$), and when a weight
counts as zero (here $10^{-6}$, as in the paper's Figure 7; two coarser thresholds are recorded). The *variants* repeat
the sweep with other noise and initialisation. The claim holds at every noise level tried and for small factors; it
fails for factors of order one, which diverge before they can collapse, and that variant is kept to show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import kernels
from symtheory.engine.stepping import Block
from symtheory.engine.sweep import Kernel, plain_sgd, streams, train
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.params import Params
from symtheory.spec.verdict import Verdict

MODELS = ("vanilla", "rescaling")
THRESHOLDS = (1e-3, 1e-4, 1e-6)

#: Variants with larger factors than this, in units of ``dim**-0.5``, are shown but not part of the claim's check.
SMALL_INIT = 3.0

#: A run whose weights exceed this has diverged: the true ones are 1/200.
DIVERGED = 1e3


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        dim: Input dimension.
        steps: SGD steps, one sample each.
        lr_low: Smallest learning rate.
        lr_high: Largest learning rate.
        lr_count: Number of learning rates, spaced evenly on a logarithmic axis.
        seeds: Seeds of data and initialisation.
        noise: Standard deviation of the label noise.
        init: Standard deviation of each factor at the start, in units of ``dim**-0.5``.
        variants: Further (noise, init) pairs, run with the first seed only.
        block: Steps per block of data.
    """

    dim: int = 200
    steps: int = 100_000
    lr_low: float = 1e-4
    lr_high: float = 5e-2
    lr_count: int = 20
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    noise: float = 2.0
    init: float = 1.0
    variants: tuple[tuple[float, float], ...] = ((0.5, 1.0), (1.0, 1.0), (2.0, 0.3), (2.0, 3.0), (1.0, 14.0))
    block: int = 1000

    def __post_init__(self) -> None:
        positive = {k: getattr(self, k) for k in ("dim", "steps", "lr_low", "lr_count", "noise", "init", "block")}
        wrong = {k: v for k, v in positive.items() if v <= 0}
        if wrong or not self.seeds or self.lr_high < self.lr_low:
            raise SymtheoryError(
                "positive settings, at least one seed and lr_low <= lr_high",
                f"{wrong or {'seeds': self.seeds, 'lr': (self.lr_low, self.lr_high)}}",
                "see symtheory.figures.a3a.Settings",
            )


def vanilla_loss(params: Params, batch: Block) -> Tensor:
    r"""$(w\cdot x - y)^2$ of one sample.

    Args:
        params: ``w`` of shape ``(d,)``.
        batch: ``x`` of shape ``(d,)`` and scalar ``y``.

    Returns:
        Scalar.
    """
    return (params["w"] @ batch["x"] - batch["y"]) ** 2


def rescaling_loss(params: Params, batch: Block) -> Tensor:
    r"""$((w\odot u)\cdot x - y)^2$ of one sample.

    Args:
        params: ``w`` and ``u`` of shape ``(d,)``.
        batch: ``x`` of shape ``(d,)`` and scalar ``y``.

    Returns:
        Scalar.
    """
    return ((params["w"] * params["u"]) @ batch["x"] - batch["y"]) ** 2


LOSSES = {"vanilla": vanilla_loss, "rescaling": rescaling_loss}
KERNELS: dict[str, Kernel] = {"vanilla": kernels.linear_sgd, "rescaling": kernels.hadamard_sgd}


def draw(dim: int, noise: float) -> Any:
    r"""The data stream $y = \tfrac1d\sum_ix_i + \epsilon$.

    Args:
        dim: Input dimension.
        noise: Standard deviation of the noise.

    Returns:
        ``draw(generator, steps)`` for :func:`symtheory.engine.sweep.streams`.
    """

    def block(generator: torch.Generator, steps: int) -> Block:
        x = torch.randn(steps, dim, generator=generator)
        return {"x": x, "y": x.mean(1) + noise * torch.randn(steps, generator=generator)}

    return block


def initial(model: str, dim: int, scale: float, seed: int) -> Params:
    """Initial weights of one seed.

    Args:
        model: ``vanilla`` or ``rescaling``.
        dim: Input dimension.
        scale: Standard deviation in units of ``dim**-0.5``.
        seed: Seed.

    Returns:
        ``w``, and ``u`` for the rescaling model, of shape ``(dim,)``.
    """
    generator = torch.Generator().manual_seed(seed + 10_000)
    names = ("w",) if model == "vanilla" else ("w", "u")
    return {name: scale * dim**-0.5 * torch.randn(dim, generator=generator) for name in names}


def weights(shard: Shard, device: str = "cpu", *, use_kernel: bool = True) -> Tensor:
    """Train one model over all learning rates and seeds of a shard.

    Args:
        shard: ``model``, ``lrs``, ``seeds``, ``dim``, ``steps``, ``noise``, ``init``, ``block``.
        device: Where to train.
        use_kernel: Use the compiled kernel on a CPU.

    Returns:
        Effective weights of shape ``(learning rates, seeds, dim)``.
    """
    lrs, seeds, model = shard["lrs"], shard["seeds"], shard["model"]
    inits = [initial(model, shard["dim"], shard["init"], s) for s in seeds]
    start = {k: torch.stack([i[k] for i in inits]).repeat(len(lrs), 1) for k in inits[0]}
    lr = torch.tensor(lrs).repeat_interleave(len(seeds))
    sweep = plain_sgd(LOSSES[model], lr, torch.arange(len(seeds)).repeat(len(lrs)), KERNELS[model])
    blocks = streams(draw(shard["dim"], shard["noise"]), seeds, shard["steps"], shard["block"])
    *_, params = train(sweep, start, blocks, device=device, use_kernel=use_kernel)
    effective = params["w"] * params["u"] if "u" in params else params["w"]
    return effective.reshape(len(lrs), len(seeds), shard["dim"]).cpu()


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Sparsity of one model over learning rates and seeds.

    Args:
        shard: See :func:`weights`.
        device: Where to train.

    Returns:
        ``sparsity`` (lr, seed, threshold), ``diverged`` (lr, seed).
    """
    v = weights(shard, device)
    diverged = ~(torch.isfinite(v).all(-1) & (v.abs().amax(-1) < DIVERGED))
    sparsity = torch.stack([(v.abs() < t).double().mean(-1) for t in THRESHOLDS], dim=-1)
    sparsity[diverged] = 0.0  # a diverged run has no zeros; 'diverged' tells it apart
    coords = {"lr": shard["lrs"], "seed": shard["seeds"], "threshold": list(THRESHOLDS)}
    return xr.Dataset(
        {
            "sparsity": (("lr", "seed", "threshold"), sparsity.numpy()),
            "diverged": (("lr", "seed"), diverged.numpy().astype(np.int8)),
        },
        coords=coords,
    )


class A3a(Figure):
    """Sparsity against learning rate, with and without a rescaling symmetry."""

    id: ClassVar[str] = "A3a"
    title: ClassVar[str] = "Rescaling symmetry and SGD noise make a regression sparse"
    source: ClassVar[str] = "Paper A, Figure 3 (left)"
    claim: ClassVar[str] = (
        "Vanilla linear regression is sparse at no learning rate; with a rescaling symmetry on every weight, SGD "
        "without weight decay finds sparser solutions at higher learning rates."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(
            dim=20, steps=4000, lr_low=1e-3, lr_count=4, lr_high=8e-2, seeds=(0,), variants=(), block=500
        ),
        "page": Settings(steps=20_000, lr_count=8, lr_low=1e-3, seeds=(0, 1), variants=((1.0, 1.0),)),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per model and variant; the first variant is the figure itself.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        lrs = np.geomspace(config.lr_low, config.lr_high, config.lr_count).tolist()
        common = {"dim": config.dim, "steps": config.steps, "block": config.block, "lrs": lrs}
        pairs = [(config.noise, config.init, list(config.seeds))]
        pairs += [(noise, init, [config.seeds[0]]) for noise, init in config.variants]
        return [
            {**common, "model": model, "noise": noise, "init": init, "seeds": seeds}
            for noise, init, seeds in pairs
            for model in MODELS
        ]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            ``sparsity`` (model, lr, seed, threshold), ``diverged`` (model, lr, seed), and both for the variants with
            the first seed, under ``variant_*`` (variant, model, lr, ...).
        """
        shards = self.shards(config)
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(compute, device=device), shards)
        models = xr.DataArray(list(MODELS), dims="model")
        result = xr.concat(parts[:2], dim=models, join="exact")
        if config.variants:
            pairs = [xr.concat(parts[i : i + 2], dim=models, join="exact") for i in range(2, len(parts), 2)]
            names = [f"noise {n:g}, init {i:g}" for n, i in config.variants]
            extra = xr.concat(pairs, dim=xr.DataArray(names, dims="variant"), join="exact").isel(seed=0, drop=True)
            scales = {"noise_std": [n for n, _ in config.variants], "init_scale": [i for _, i in config.variants]}
            extra = extra.assign_coords({k: ("variant", v) for k, v in scales.items()})
            result = result.merge(extra.rename({k: f"variant_{k}" for k in extra.data_vars}), join="exact")
        result["lr"].attrs["units"] = "1"
        result["sparsity"].attrs.update(long_name="fraction of weights below the threshold", units="1")
        result.attrs.update(steps=config.steps, dim=config.dim, noise=config.noise, init=config.init)
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, at the finest threshold.

        Args:
            result: From :meth:`run`.

        Returns:
            Vanilla never sparse; rescaling gets sparse, sparser at higher rates, also where both are stable; variants.
        """
        curves = _stable_mean(result["sparsity"], result["diverged"])
        peak = {m: float(curves.sel(model=m).max()) for m in MODELS}
        rising = curves.sel(model="rescaling").dropna("lr").values
        shared = curves.dropna("lr", how="any").isel(lr=-1)
        total = float(shared.sum()) or 1.0
        share = {m: float(shared.sel(model=m)) / total for m in MODELS}
        verdicts = [
            Verdict(
                "vanilla regression: largest sparsity at any stable learning rate",
                peak["vanilla"], 0.01, control=peak["rescaling"], factor=10.0,
            ),
            Verdict(
                "rescaling symmetry: weights left at the sparsest learning rate",
                1 - peak["rescaling"], 0.1, control=1 - peak["vanilla"], factor=5.0,
            ),
            Verdict(
                "at the largest learning rate stable for both: vanilla's share of all zero weights",
                share["vanilla"],
                0.25,
                control=share["rescaling"],
                factor=2.0,
            ),
            Verdict(
                "rescaling symmetry: largest drop of sparsity when the learning rate grows",
                _largest_drop(rising), 0.02, control=_largest_drop(rising[::-1]), factor=5.0,
            ),
        ]  # fmt: skip
        if "variant" in result.dims:
            small = result.sel(variant=result["init_scale"] <= SMALL_INIT)
            others = _stable_mean(small["variant_sparsity"], small["variant_diverged"])
            tops = others.max("lr")
            verdicts.append(
                Verdict(
                    "other noise and small initialisation: weights left at the sparsest learning rate, worst variant",
                    float(1 - tops.sel(model="rescaling").min()), 0.1,
                    control=float(1 - tops.sel(model="vanilla").max()), factor=5.0,
                )
            )  # fmt: skip
        return verdicts


def _stable_mean(sparsity: xr.DataArray, diverged: xr.DataArray) -> xr.DataArray:
    """Mean over the seeds, at the finest threshold, where no seed diverged."""
    fine = sparsity.sel(threshold=min(THRESHOLDS)).where(diverged == 0)
    return fine.mean("seed", skipna=False) if "seed" in fine.dims else fine


def _largest_drop(curve: np.ndarray) -> float:
    return float((np.maximum.accumulate(curve) - curve).max()) if curve.size else 1.0
