r"""Figure B3c (paper B, Figure 3 right): a static bias and decay keep the neurons of a regression from dying.

Setting (Section 6.1): $\ell(u,w) = \|(u\odot w)^Tx - y\|^2$ with $u, w, x\in\mathbb R^{200}$. Neuron $i$ is dead where
$u_i = w_i = 0$. Three trainings: plain SGD; W-fix, where 30 % of the weights of each of $u$ and $w$ are held at random
values of variance 0.01; and syre, a static bias with weight decay.

The paper leaves everything else open. Chosen as in the regression of paper A's Figure 3: one new sample a step, $x$
standard normal, $y = \tfrac1{200}\sum_ix_i+\epsilon$ with $\epsilon$ of standard deviation 2, factors that start at
$\mathcal N(0, 1/d)$, learning rate $10^{-2}$, $10^5$ steps. syre has the paper's recommended $\sigma_0 = 0.01/\sqrt d$
and $\gamma = 0.01$. A neuron counts as dead when both of its effective factors are below $10^{-6}$; other cuts are
stored. Plain SGD has no decay, so decay alone, bias alone, and W-fix with decay are trained too. Variants change the
noise, rate, batch, target, start, $\sigma_0$ and $\gamma$, one by one.

The cut is a matter of taste, so there is a test without one. After training, every model gets a *lesson*: the same SGD
on clean labels that want the weight 0.1 from each neuron. What is trapped does not learn it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.figures.dead_neurons import compute
from symtheory.spec.verdict import Verdict

#: A neuron whose factors are both smaller is dead.
CUT = 1e-6

#: Settings the paper leaves open, changed one by one.
VARIANTS: dict[str, dict[str, Any]] = {
    "label noise 1, rate 0.03": {"noise": 1.0, "lr": 3e-2},
    "label noise 1": {"noise": 1.0},
    "ten signals of 0.1": {"signals": 10, "signal": 0.1},
    "ten signals of 0.5": {"signals": 10, "signal": 0.5},
    "initial spread times 3": {"init": 3.0},
    "batch size 10, rate 0.05": {"batch": 10, "lr": 5e-2},
    "sigma0 0.01": {"sigma0": 1e-2},
    "sigma0 0.1": {"sigma0": 1e-1},
    "gamma 0.001": {"gamma": 1e-3},
    "gamma 0.1": {"gamma": 0.1},
}

#: Label noise alone multiplies a small neuron by exp(-2 lr^2 noise^2 / batch) a step. Variants in which that comes to
#: less than exp(-ENOUGH) over the whole run are shown but not held to the claim: nothing has had time to die.
ENOUGH = 40.0


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the figure.

    Attributes:
        dim: Number of neurons.
        steps: SGD steps.
        batch: Samples a step.
        lr: Learning rate of the figure.
        others: Further learning rates.
        seeds: Seeds of data and weights.
        noise: Standard deviation of the label noise.
        init: Standard deviation of each factor at the start, in units of ``dim**-0.5``.
        sigma0: Standard deviation of the static bias, in units of ``dim**-0.5``.
        gamma: Weight decay of $\gamma\|\theta\|^2$.
        held: Fraction of weights that W-fix holds.
        kappa: Variance of the weights that W-fix holds.
        lesson_steps: Steps of the lesson.
        variants: Names among ``VARIANTS``, run with the first seed.
        block: Steps per block of data, and between records.
    """

    dim: int = 200
    steps: int = 100_000
    batch: int = 1
    lr: float = 1e-2
    others: tuple[float, ...] = (5e-3, 2e-2)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    noise: float = 2.0
    init: float = 1.0
    sigma0: float = 1e-2
    gamma: float = 1e-2
    held: float = 0.3
    kappa: float = 1e-2
    lesson_steps: int = 10_000
    variants: tuple[str, ...] = tuple(VARIANTS)
    block: int = 1000

    def __post_init__(self) -> None:
        names = ("dim", "steps", "batch", "lr", "noise", "init", "sigma0", "gamma", "kappa", "lesson_steps", "block")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        unknown = sorted(set(self.variants) - set(VARIANTS))
        if wrong or unknown or not self.seeds or not 0 < self.held < 1:
            raise SymtheoryError(
                "positive settings, a seed, 0 < held < 1 and known variants",
                f"{wrong or unknown or {'seeds': self.seeds, 'held': self.held}}",
                "see symtheory.figures.b3c.Settings",
            )


class B3c(Figure):
    """Dead neurons while training, with SGD, W-fix and syre."""

    id: ClassVar[str] = "B3c"
    title: ClassVar[str] = "A static bias with decay keeps neurons from dying"
    source: ClassVar[str] = "Paper B, Figure 3 (right)"
    claim: ClassVar[str] = (
        "Vanilla SGD on a reparametrised linear regression collapses to a low-capacity state in which neurons are "
        "dead, and so it does with a fraction of the weights held fixed; with syre training stays away from such "
        "states throughout."
    )
    chapter: ClassVar[str] = "syre_bounds"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(
            dim=30, steps=6000, lr=6e-2, others=(), seeds=(0, 1), variants=(), block=500, lesson_steps=1500
        ),
        "page": Settings(steps=50_000, lr=2e-2, others=(), seeds=(0, 1), variants=()),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard a seed, then one a variant.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        names = ("dim", "steps", "batch", "noise", "init", "gamma", "held", "kappa", "lesson_steps", "block")
        common = {k: getattr(config, k) for k in names}
        common |= {"signal": 1 / config.dim, "signals": config.dim, "sigma0": config.sigma0 * config.dim**-0.5}
        variants = []
        for name in config.variants:
            changed = {**common, "seeds": [config.seeds[0]], **VARIANTS[name]}
            changed["lrs"] = [changed.pop("lr", config.lr)]
            variants.append(changed)
        return [
            *({**common, "lrs": sorted((config.lr, *config.others)), "seeds": [s]} for s in config.seeds),
            *variants,
        ]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            ``dead`` (training, lr, seed, step, cut), ``size`` (..., step, quantile), ``relearned`` and
            ``relearned_untrained`` (training, lr, seed), ``trainable`` (training, seed); ``variant_*`` with the first
            seed, and the ``drive`` of each variant.
        """
        runner = InProcess() if executor is None else executor
        shards = self.shards(config)
        parts = runner.map(self.id, partial(compute, device=device), shards)
        count = len(config.seeds)
        result = xr.concat(parts[:count], dim="seed", join="exact")
        if config.variants:
            alone = [p.isel(seed=0, lr=0, drop=True) for p in parts[count:]]
            extra = xr.concat(alone, dim=xr.DataArray(list(config.variants), dims="variant"), join="exact")
            drive = [2 * s["lrs"][0] ** 2 * s["noise"] ** 2 / s["batch"] * s["steps"] for s in shards[count:]]
            extra = extra.assign_coords(drive=("variant", drive))
            result = result.merge(extra.rename({k: f"variant_{k}" for k in extra.data_vars}), join="exact")
        result["dead"].attrs.update(long_name="neurons with both effective factors below the cut", units="1")
        result["size"].attrs.update(long_name="larger effective factor of a neuron", units="1")
        result["relearned"].attrs.update(long_name="neurons that learn the lesson after training", units="1")
        result.attrs.update(lr=config.lr, dim=config.dim, noise=config.noise, sigma0=config.sigma0 * config.dim**-0.5)
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers: fractions of neurons, mean over the seeds.

        Args:
            result: From :meth:`run`.

        Returns:
            Vanilla and W-fix collapse, syre never, it needs both parts, the lesson, the rates, the variants.
        """
        dim = result.attrs["dim"]
        share = (result["dead"].sel(cut=CUT) / result["trainable"]).mean("seed")
        main = share.sel(lr=result.attrs["lr"])
        end = {m: float(main.sel(training=m)[-1]) for m in main["training"].values.tolist()}
        most = {m: float(main.sel(training=m).max()) for m in end}
        learned = (result["relearned"] / result["relearned_untrained"]).sel(lr=result.attrs["lr"]).mean("seed")
        lesson = {m: float(learned.sel(training=m)) for m in end}
        whole = float((result["dead"].sel(cut=CUT, training="W-fix", lr=result.attrs["lr"])[:, -1] / dim).mean())
        verdicts = [
            Verdict("vanilla: neurons alive at the end", 1 - end["vanilla"], 0.1, control=1 - end["syre"], factor=5.0),
            Verdict(
                "W-fix: neurons alive at the end among those without a held weight",
                1 - end["W-fix"], 0.1, control=1 - end["syre"], factor=5.0, settings={"dead of all": round(whole, 3)},
            ),
            Verdict(
                "syre: largest fraction dead at any time (control: the fewer of bias alone and decay alone)",
                most["syre"], 0.02, control=min(most["bias"], most["decay"]), factor=10.0,
            ),
            Verdict(
                "lesson after training: shortfall of syre against untrained weights (control: vanilla)",
                max(0.0, 1 - lesson["syre"]), 0.1, control=1 - lesson["vanilla"], factor=5.0,
            ),
        ]  # fmt: skip
        if result.sizes["lr"] > 1:
            others = share.drop_sel(lr=result.attrs["lr"])
            verdicts.append(
                Verdict(
                    "other learning rates: largest fraction dead at any time with syre (control: fewest at the end, "
                    "vanilla and W-fix)",
                    float(others.sel(training="syre").max()),
                    0.02,
                    control=float(others.sel(training=["vanilla", "W-fix"]).isel(step=-1).min()),
                    factor=10.0,
                )
            )
        if "variant" in result.dims:
            counted = result.where(result["drive"] >= ENOUGH, drop=True)
            other = counted["variant_dead"].sel(cut=CUT) / counted["variant_trainable"]
            verdicts.append(
                Verdict(
                    "variants: largest fraction dead at any time with syre (control: fewest at the end, vanilla and "
                    "W-fix)",
                    float(other.sel(training="syre").max()),
                    0.02,
                    control=float(other.sel(training=["vanilla", "W-fix"]).isel(step=-1).min()),
                    factor=10.0,
                )
            )
        return verdicts
