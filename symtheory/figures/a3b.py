r"""Figure A3b (paper A, Figure 3 mid): SGD noise makes a matrix factorisation low rank.

Setting (Appendix B.2): $x\in\mathbb R^{200}$ standard normal, $y = \mu x + (1-\mu)\epsilon$ with independent
$\epsilon_i\sim\mathcal N(0, 2/i)$, so that a small $\mu$ is strong label noise; online SGD with batch size 1, $10^5$
steps, no decay, no momentum; $f(x) = WUx$, and $f(x) = (I+W)(I+U)x$ in the inset.

The paper leaves open: learning rates and noise levels, the factor in front of the square (here
$\ell = \|f(x)-y\|^2$, summed over the outputs without a factor; with $\tfrac12$ or a mean over the outputs, learning
rates are 2 or 200 times larger), the initialisation (here entries of $W$ and $U$ are $\mathcal N(0, s^2/d)$ with
$s = 0.1$ in both models; a few other $s$ as *variants*), and when a singular value counts as zero (here $10^{-3}$;
other cuts are recorded). $2/i$ is read as a variance.

The residual connection is a change of names: with $A = I+W$, $B = I+U$ the loss, its gradient and every step of SGD are
those of $f(x) = ABx$, rotation symmetry included. The models differ only in where they start, at a map near zero or
near the identity. So both models are run from both starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Outcome, Preset, Shard
from symtheory.figures.online_factorization import CUT, MODELS, OWN_START, compute
from symtheory.spec.verdict import Verdict


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the figure.

    Attributes:
        dim: Width of input, hidden layer and output.
        steps: SGD steps, one sample each.
        lr_low: Smallest learning rate.
        lr_high: Largest learning rate.
        lr_count: Number of learning rates, spaced evenly on a logarithmic axis.
        signals: Values of $\mu$, increasing.
        seeds: Seeds of data and initialisation.
        init: $s$.
        variant_inits: Other values of $s$, plain model, first seed only.
        variant_signals: Values of $\mu$ for the variants and for the exchanged starts.
        block: Steps per block of data.
    """

    dim: int = 200
    steps: int = 100_000
    lr_low: float = 1e-3
    lr_high: float = 8e-3
    lr_count: int = 18
    signals: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4)
    seeds: tuple[int, ...] = (0, 1, 2)
    init: float = 0.1
    variant_inits: tuple[float, ...] = (0.3, 1.0)
    variant_signals: tuple[float, ...] = (0.05, 0.2)
    block: int = 500

    def __post_init__(self) -> None:
        positive = {k: getattr(self, k) for k in ("dim", "steps", "lr_low", "lr_count", "init", "block")}
        positive |= {f"variant_inits[{i}]": v for i, v in enumerate(self.variant_inits)}
        wrong = {k: v for k, v in positive.items() if v <= 0}
        if wrong or not self.seeds or self.lr_high < self.lr_low:
            raise SymtheoryError(
                "positive settings, at least one seed and lr_low <= lr_high",
                f"{wrong or {'seeds': self.seeds, 'lr': (self.lr_low, self.lr_high)}}",
                "see symtheory.figures.a3b.Settings",
            )
        ordered = list(self.signals) == sorted(set(self.signals)) and all(0 <= m <= 1 for m in self.signals)
        if (
            len(self.signals) < 2
            or not ordered
            or not self.variant_signals
            or set(self.variant_signals) - {*self.signals}
        ):
            raise SymtheoryError(
                "at least two increasing signals in [0, 1], and variant signals among them",
                f"{self.signals} and {self.variant_signals}",
                "see symtheory.figures.a3b.Settings",
            )


class A3b(Figure):
    """Rank of an online matrix factorisation against learning rate and label noise."""

    id: ClassVar[str] = "A3b"
    title: ClassVar[str] = "SGD noise makes a matrix factorisation low rank"
    source: ClassVar[str] = "Paper A, Figure 3 (mid)"
    claim: ClassVar[str] = (
        "SGD without weight decay makes a matrix factorisation low rank at large learning rates and strong label "
        "noise; with residual connections, which remove the rotation symmetry, the model always stays full rank."
    )
    expected: ClassVar[Outcome] = "partly"
    finding: ClassVar[str] = (
        "The rank falls with learning rate and label noise, but so does the residual model's: its loss keeps the "
        "rotation symmetry, only the start moves, and step for step it is the plain model started at the identity."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(
            dim=16, steps=10_000, lr_low=4e-3, lr_high=4e-2, lr_count=5, signals=(0.05, 0.1, 0.6), seeds=(0,),
            variant_inits=(0.3,), variant_signals=(0.05,),
        ),
        "page": Settings(
            dim=100, steps=50_000, lr_low=2e-3, lr_high=1.2e-2, lr_count=8, signals=(0.02, 0.05, 0.1, 0.4), seeds=(0,),
            variant_inits=(0.3,), variant_signals=(0.05,),
        ),
        "paper": Settings(),
    }  # fmt: skip

    def shards(self, config: Settings) -> list[Shard]:
        """Each model from its own start, a shard per seed; then from the other's start; then the other scales.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        lrs = np.geomspace(config.lr_low, config.lr_high, config.lr_count).tolist()
        common = {"dim": config.dim, "steps": config.steps, "block": config.block, "lrs": lrs}
        first = {**common, "seed": config.seeds[0], "signals": list(config.variant_signals)}
        own = [
            {
                **common,
                "model": m,
                "start": OWN_START[m],
                "seed": s,
                "signals": list(config.signals),
                "init": config.init,
            }
            for m in MODELS
            for s in config.seeds
        ]
        other = [
            {**first, "model": m, "start": OWN_START[n], "init": config.init}
            for m, n in zip(MODELS, MODELS[::-1], strict=True)
        ]
        scales = [{**first, "model": "plain", "start": "zero", "init": s} for s in config.variant_inits]
        return own + other + scales

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            What :func:`compute` returns, for both models and all seeds; the same under ``swapped_*`` for the models
            that exchanged their starts, and under ``scaled_*`` (scale, ...) for the plain model at other scales, both
            with the first seed and fewer signals (``few``).
        """
        shards = self.shards(config)
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(compute, device=device), shards)
        seeds = xr.DataArray(list(config.seeds), dims="seed")
        models = xr.DataArray(list(MODELS), dims="model")
        n = len(config.seeds)
        result = xr.concat(
            [xr.concat(parts[i : i + n], dim=seeds, join="exact") for i in (0, n)], dim=models, join="exact"
        ).assign_coords(seed=list(config.seeds), model=list(MODELS))

        def add(prefix: str, dim: xr.DataArray, found: list[xr.Dataset]) -> xr.Dataset:
            extra = xr.concat(found, dim=dim, join="exact").rename(signal="few")
            return result.merge(extra.rename({k: f"{prefix}_{k}" for k in extra.data_vars}), join="exact")

        result = add("swapped", models, parts[2 * n : 2 * n + 2])
        if config.variant_inits:
            result = add("scaled", xr.DataArray(list(config.variant_inits), dims="scale"), parts[2 * n + 2 :])
        result["lr"].attrs.update(long_name="learning rate lambda", units="1")
        result["signal"].attrs.update(long_name="signal mu; the label noise has weight 1 - mu", units="1")
        result["rank"].attrs.update(long_name="singular values of the map above the cut; -1 if diverged", units="1")
        result["spectrum"].attrs.update(long_name="singular values of the map; 0 if diverged", units="1")
        result.attrs.update(steps=config.steps, dim=config.dim, init=config.init)
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers; a share is a rank over the dimension, averaged over the seeds, where none diverged.

        Args:
            result: From :meth:`run`.

        Returns:
            The plain model loses rank with learning rate and with noise, at every cut, in both factors, at every
            initial scale; the residual model keeps full rank, from its own start and from the plain model's.
        """
        shares = {m: _share(result.sel(model=m)) for m in MODELS}
        plain = shares["plain"].sel(cut=CUT)
        noisy, quiet = float(plain["signal"].min()), float(plain["signal"].max())
        at_edge = {s: shares["plain"].sel(signal=s).dropna("lr").isel(lr=-1) for s in (noisy, quiet)}
        along_lr = plain.sel(signal=noisy).dropna("lr").values
        along_noise = plain.dropna("lr", how="any").isel(lr=-1).values[::-1]
        swapped = _share(result, "swapped").sel(cut=CUT, model="residual")
        few = plain.sel(signal=result["few"].values)
        verdicts = [
            Verdict(
                "plain model, strongest noise, largest stable learning rate: share of the rank left, worst cut "
                "(control: weakest noise)",
                float(at_edge[noisy].max()), 0.75, control=float(at_edge[quiet].min()), factor=1.2,
            ),
            Verdict(
                "plain model, strongest noise: largest rise of the share when the learning rate grows",
                _largest_rise(along_lr), 0.05, control=_largest_rise(along_lr[::-1]), factor=5.0,
            ),
            Verdict(
                "plain model, largest learning rate stable at every noise: largest rise of the share with the noise",
                _largest_rise(along_noise), 0.02, control=_largest_rise(along_noise[::-1]), factor=5.0,
            ),
            Verdict(
                "plain model: largest share by which a factor's rank differs from the map's (control: other noise)",
                _factor_gap(result), 0.1, control=_factor_gap(result, reverse=True), factor=1.5,
            ),
            Verdict(
                "residual model: largest share of the rank missing at any stable learning rate and noise",
                _missing(shares["residual"].sel(cut=CUT)), 0.01, control=_missing(plain), factor=10.0,
            ),
            Verdict(
                "residual model from the plain model's start: largest share of the rank missing",
                _missing(swapped), 0.01, control=_missing(few), factor=5.0,
            ),
        ]  # fmt: skip
        if "scale" in result.dims:
            scaled = _share(result, "scaled").sel(cut=CUT).rename(few="signal")
            own = plain.sel(signal=scaled["signal"].values)
            # each signal against the one farthest from it
            far = [quiet if s - noisy < quiet - s else noisy for s in own["signal"].values]
            other = plain.sel(signal=far).assign_coords(signal=own["signal"])
            verdicts.append(
                Verdict(
                    "plain model, other initial scales, largest shared learning rate: share by which the rank differs",
                    _scale_gap(scaled, own), 0.05,
                    control=_scale_gap(scaled, other), factor=2.0,
                )
            )  # fmt: skip
        return verdicts


def _share(result: xr.Dataset, prefix: str = "") -> xr.DataArray:
    """Rank over dimension, mean over the seeds, where no seed diverged."""
    name = f"{prefix}_" if prefix else ""
    share = result[f"{name}rank"].where(result[f"{name}diverged"] == 0) / result.attrs["dim"]
    return share.mean("seed", skipna=False) if "seed" in share.dims else share


def _largest_rise(curve: np.ndarray) -> float:
    """Largest amount by which a curve ever exceeds an earlier value."""
    return float((curve - np.minimum.accumulate(curve)).max()) if curve.size else 1.0


def _missing(share: xr.DataArray) -> float:
    """Largest missing share anywhere."""
    return float((1 - share).max())


def _factor_gap(result: xr.Dataset, *, reverse: bool = False) -> float:
    """Largest difference of a factor's and the map's share, plain model; ``reverse`` compares opposite noises."""
    plain = result.sel(model="plain")
    stable = (plain["diverged"] == 0).all("signal")
    rank = plain["rank"].sel(cut=CUT).drop_vars("cut")
    if reverse:
        rank = rank.isel(signal=slice(None, None, -1)).assign_coords(signal=rank["signal"])
    return max(float(abs(plain[k] - rank).where(stable).max()) for k in ("rank_w", "rank_u")) / int(result.attrs["dim"])


def _scale_gap(scaled: xr.DataArray, own: xr.DataArray) -> float:
    """Largest difference over scales and signals, each at its largest learning rate stable for both."""
    gap = abs(scaled - own).transpose(..., "lr").values.reshape(-1, own.sizes["lr"])
    # from the right, the first learning rate that is not missing
    return max((float(row[np.isfinite(row)][-1]) for row in gap if np.isfinite(row).any()), default=1.0)
