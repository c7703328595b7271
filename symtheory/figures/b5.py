r"""Figure B5 (paper B, Figure 5): accuracy and rank of a four-layer network against weight decay and input scale.

Setting: :mod:`symtheory.figures.fcn`. The decay varies with inputs as they are, and the scale $\alpha$ of the inputs
varies with decay 0.01. The paper gives neither grid; they are chosen so that vanilla training goes from intact to
collapsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.figures import fcn, pictures
from symtheory.figures.base import Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict

MODELS = ("vanilla", "syre")
#: Part of the images that a guess gets right.
GUESS = 0.1


@dataclass(frozen=True)
class Settings(fcn.Setting):
    """Settings of the figure.

    Attributes:
        decays: Increasing weight decays, with inputs of scale 1.
        scales: Decreasing scales of the inputs, with ``decay``.
        decay: Weight decay of the second panel.
    """

    decays: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 5e-2, 1e-1)
    scales: tuple[float, ...] = (1.0, 0.5, 0.2, 0.1, 0.05)
    decay: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, values in (("decays", self.decays), ("scales", self.scales[::-1])):
            if len(values) < 2 or values[0] <= 0 or list(values) != sorted(set(values)):
                raise SymtheoryError("two or more increasing decays, decreasing scales", f"{values}", f"change {name}")
        if self.decay <= 0:
            raise SymtheoryError("a positive decay", f"{self.decay}", "such as 0.01")


class B5(Figure):
    """Accuracy and rank with and without a static bias."""

    id: ClassVar[str] = "B5"
    title: ClassVar[str] = "Weight decay and weak inputs make a network collapse, without a static bias"
    source: ClassVar[str] = "Paper B, Figure 5"
    claim: ClassVar[str] = (
        "With a large weight decay, or with inputs scaled down, a vanilla four-layer network on MNIST has a low-rank "
        "first layer and a much lower accuracy, down to that of a guess; with syre neither happens."
    )
    chapter: ClassVar[str] = "syre_bounds"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(
            data=pictures.MADE_UP, measured=128, hidden=32, epochs=26, batch=16, seeds=(0,), decays=(1e-3, 0.1),
            scales=(1.0, 0.2), decay=5e-2,
        ),
        "page": Settings(
            samples=20_000, tested=2000, epochs=4, seeds=(0,), decays=(1e-3, 1e-2, 1e-1), scales=(1.0, 0.1), decay=3e-2,
        ),
        "paper": Settings(),
    }  # fmt: skip

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed, model, and decay or scale.

        Args:
            config: Settings.

        Returns:
            Settings of the shards: for each seed and model all decays, then all scales.
        """
        sizes = (0.0, config.sigma0)
        cells = [(d, 1.0) for d in config.decays] + [(config.decay, a) for a in config.scales]
        return [config.shard(seed, d, a, s) for seed in config.seeds for s in sizes for d, a in cells]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards, and knows where the data set is.

        Returns:
            ``accuracy`` (seed, model, decay, part), ``spectrum`` (..., place, index), ``rank`` (..., place); the same
            against ``scale`` under ``scale_*``.
        """
        runner, load = InProcess() if executor is None else executor, pictures.loader(executor)
        shards = pictures.with_origin(self.shards(config), load)
        parts = iter(runner.map(self.id, partial(fcn.compute, device=device, load=load), shards))
        panels: dict[str, list[xr.Dataset]] = {"decay": [], "scale": []}
        axes = {"decay": list(config.decays), "scale": list(config.scales)}
        for _ in config.seeds:
            models = [
                {n: xr.concat([next(parts) for _ in v], dim=n).assign_coords({n: v}) for n, v in axes.items()}
                for _ in MODELS
            ]
            for name in axes:
                panels[name].append(xr.concat([m[name] for m in models], dim="model").assign_coords(model=list(MODELS)))
        first, second = (
            xr.concat(found, dim="seed").assign_coords(seed=list(config.seeds)) for found in panels.values()
        )
        result = fcn.describe(first, config).merge(
            fcn.describe(second, config).rename({k: f"scale_{k}" for k in second.data_vars}), join="exact"
        )
        result["decay"].attrs.update(long_name="weight decay", units="1")
        result["scale"].attrs.update(long_name="scale of the inputs", units="1")
        result.attrs.update(fixed_decay=config.decay)
        return pictures.named(result, shards)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, mean over seeds.

        Args:
            result: From :meth:`run`.

        Returns:
            For each panel: at its hard end vanilla's rank and accuracy collapse; with syre they do not, anywhere.
        """
        verdicts = []
        ends = {"largest decay": ("decay", ""), "smallest scale": ("scale", "scale_")}
        for end, (dim, prefix) in ends.items():
            rank = (result[f"{prefix}rank"].sel(place="before activation") / result.attrs["hidden"]).mean("seed")
            test = result[f"{prefix}accuracy"].sel(part="test").mean("seed")
            ranks = {m: rank.sel(model=m).values for m in MODELS}
            tests = {m: test.sel(model=m).values for m in MODELS}
            verdicts += [
                Verdict(
                    f"{end}: vanilla's rank over the width (control: syre's)",
                    float(ranks["vanilla"][-1]), 0.1, control=float(ranks["syre"][-1]), factor=5.0,
                ),
                Verdict(
                    f"{end}: vanilla's test accuracy above a guess (control: syre's)",
                    float(tests["vanilla"][-1]) - GUESS, 0.1, control=float(tests["syre"][-1]) - GUESS, factor=5.0,
                ),
                Verdict(
                    f"any {dim}: largest shortfall of syre's rank from the width, over the width (control: vanilla's)",
                    float(1 - ranks["syre"].min()), 0.1, control=float(1 - ranks["vanilla"].min()), factor=5.0,
                ),
                Verdict(
                    f"any {dim}: largest drop of syre's test accuracy from its best (control: vanilla's)",
                    float(tests["syre"].max() - tests["syre"].min()), 0.2,
                    control=float(tests["vanilla"].max() - tests["vanilla"].min()), factor=3.0,
                ),
            ]  # fmt: skip
        return verdicts
