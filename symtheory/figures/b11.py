r"""Figure B11 (paper B, Figure 11): spectrum of the first layer's covariance, vanilla and syre.

Setting: :mod:`symtheory.figures.fcn`, with weight decay 0.01 and inputs as they are. Several sizes $\sigma_0$ of the
bias are trained, because Section 6.3 also says that syre shifts the eigenvalues by a magnitude proportional to
$\sigma_0$: what is proportional to it here is the standard deviation, the root of an eigenvalue. The networks that
figure B5 trains as well are filed under it and are not trained twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import xarray as xr

from symtheory.engine.statistics import fitted_exponent
from symtheory.errors import SymtheoryError
from symtheory.figures import fcn, pictures
from symtheory.figures.b5 import B5
from symtheory.figures.base import Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict


@dataclass(frozen=True)
class Settings(fcn.Setting):
    """Settings of the figure.

    Attributes:
        sizes: Factors on ``sigma0``, increasing from 0, which is vanilla; 1 is the size of the figure.
        decay: PyTorch's ``weight_decay``.
    """

    sizes: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0)
    decay: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        given = list(self.sizes)
        if len(given) < 4 or given[0] != 0 or 1.0 not in given or given != sorted(set(given)) or self.decay <= 0:
            raise SymtheoryError(
                "0, then three or more increasing sizes with 1 among them, and a positive decay",
                f"{given}, decay {self.decay}",
                "such as (0, 0.3, 1, 3)",
            )


class B11(Figure):
    """Eigenvalues with and without a static bias."""

    id: ClassVar[str] = "B11"
    title: ClassVar[str] = "The spectrum of the features, without and with a static bias"
    source: ClassVar[str] = "Paper B, Figure 11"
    claim: ClassVar[str] = (
        "At weight decay 0.01 most eigenvalues of the vanilla network's features vanish, those of the syre network do "
        "not: they are lifted by an amount that grows with the bias."
    )
    chapter: ClassVar[str] = "syre_bounds"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(
            data=pictures.MADE_UP, measured=128, hidden=32, epochs=26, batch=16, seeds=(0,), decay=5e-2,
            sizes=(0.0, 0.5, 1.0, 2.0),
        ),
        "page": Settings(samples=20_000, tested=2000, epochs=4, seeds=(0,), decay=3e-2),
        "paper": Settings(),
    }  # fmt: skip

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed and size.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        return [config.shard(s, config.decay, 1.0, k * config.sigma0) for s in config.seeds for k in config.sizes]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards, and knows where the data set is.

        Returns:
            ``spectrum`` (seed, sigma0, place, index), ``rank`` (..., place), ``accuracy`` (..., part).
        """
        runner, load = InProcess() if executor is None else executor, pictures.loader(executor)
        shards = pictures.with_origin(self.shards(config), load)
        parts = iter(runner.map(B5.id, partial(fcn.compute, device=device, load=load), shards))
        sizes = [k * config.sigma0 for k in config.sizes]
        rows = [xr.concat([next(parts) for _ in sizes], dim="sigma0") for _ in config.seeds]
        result = fcn.describe(xr.concat(rows, dim="seed"), config)
        result = result.assign_coords(seed=list(config.seeds), sigma0=sizes)
        result["sigma0"].attrs.update(long_name="standard deviation of the bias times root of fan-in", units="1")
        result.attrs.update(decay=config.decay)
        return pictures.named(result, shards)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, mean over seeds, before the activation.

        Args:
            result: From :meth:`run`.

        Returns:
            Vanilla has a low rank and syre has not; the smaller half of the roots grows in proportion to the bias.
        """
        rank = (result["rank"].sel(place="before activation") / result.attrs["hidden"]).mean("seed")
        vanilla, syre = float(rank.sel(sigma0=0)), float(rank.sel(sigma0=result.attrs["sigma0"]))
        low = result["spectrum"].sel(place="before activation").isel(index=slice(result.sizes["index"] // 2, None))
        values = low.transpose("sigma0", "seed", "index").values.clip(min=1e-30)
        roots = np.exp(0.5 * np.log(values).mean((1, 2)))
        sizes = result["sigma0"].values[1:].tolist()
        fit = fitted_exponent(sizes, roots[1:].tolist())
        return [
            Verdict(
                "vanilla's rank over the width (control: syre's)", vanilla, 0.5, control=syre, factor=1.8,
            ),
            Verdict(
                "syre: shortfall of the rank from the width, over the width (control: vanilla's)",
                1 - syre, 0.1, control=1 - vanilla, factor=5.0,
            ),
            Verdict(
                "deviation from 1 of the exponent in sigma_0 of the roots of the smaller half of the eigenvalues",
                abs(fit.value - 1), 0.25, settings={"exponent": fit.value},
            ),
            Verdict(
                "vanilla: these roots in units of those with the smallest bias (control: with the next bias)",
                float(roots[0] / roots[1]), 0.5, control=float(roots[2] / roots[1]), factor=2.0,
            ),
        ]  # fmt: skip
