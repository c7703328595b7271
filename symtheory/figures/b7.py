r"""Figure B7 (paper B, Figure 7): reconstructions at $\beta=10$, with syre, without weight decay and with it.

Setting: :mod:`symtheory.figures.autoencoder`. The networks are figure B6's and are filed under it. Without decay syre
is vanilla training: the bias is a change of variables that the loss does not see. How well a reconstruction shows its
image is measured over 1000 test images, by whether it is nearer to it than the other reconstructions are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.figures import autoencoder, pictures
from symtheory.figures.b6 import B6, PAGE, SMOKE
from symtheory.figures.base import Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict


@dataclass(frozen=True)
class Settings(autoencoder.Setting):
    """Settings of the figure.

    Attributes:
        beta: Weight of the KL divergence.
    """

    beta: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0:
            raise SymtheoryError("a positive beta", f"{self.beta}", "such as 10")


class B7(Figure):
    """Reconstructions without and with weight decay."""

    id: ClassVar[str] = "B7"
    title: ClassVar[str] = "Reconstructions of a collapsed posterior, and of one with a static bias and decay"
    source: ClassVar[str] = "Paper B, Figure 7"
    claim: ClassVar[str] = (
        "At beta = 10 and with syre, but without weight decay, reconstructions hardly depend on the image; with weight "
        "decay 1000 on the encoder they show it."
    )
    chapter: ClassVar[str] = "syre_bounds"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(**SMOKE, beta=5.0),
        "page": Settings(**PAGE),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed and decay.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        decays = (0.0, config.decay)
        return [config.shard(seed, config.beta, decay, config.sigma0) for seed in config.seeds for decay in decays]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards, and knows where the data set is.

        Returns:
            ``reconstruction``, ``constant`` and ``recognised`` (seed, decay); ``picture`` (decay, shown, pixel) of the
            first seed, and ``image`` (shown, pixel).
        """
        runner, load = InProcess() if executor is None else executor, pictures.loader(executor)
        shards = pictures.with_origin(self.shards(config), load)
        parts = iter(runner.map(B6.id, partial(autoencoder.compute, device=device, load=load), shards))
        decays = [0.0, config.decay]
        rows = [xr.concat([next(parts) for _ in decays], dim="decay") for _ in config.seeds]
        names = ["reconstruction", "constant", "recognised"]
        result = xr.concat([row[names] for row in rows], dim="seed").assign(
            picture=rows[0]["picture"], image=rows[0]["image"].isel(decay=0)
        )
        result = autoencoder.describe(result.assign_coords(seed=list(config.seeds), decay=decays), config)
        result["decay"].attrs.update(long_name="weight decay of the encoder", units="1")
        result.attrs.update(beta=config.beta)
        return pictures.named(result, shards)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, mean over seeds.

        Args:
            result: From :meth:`run`.

        Returns:
            With decay the loss is smaller; without it few images can be told from their reconstructions.
        """
        mean = result[["reconstruction", "constant", "recognised"]].mean("seed")
        bare, full = mean["reconstruction"].values.tolist()
        known = mean["recognised"].values.tolist()
        return [
            Verdict(
                "reconstruction loss with decay over that without (control: that of the mean image)",
                full / bare, 0.85, control=float(mean["constant"][0]) / bare, factor=1.1,
            ),
            Verdict(
                "no decay: part of the images nearest to their own reconstruction (control: with decay)",
                known[0], 0.05, control=known[1], factor=1.5,
            ),
        ]  # fmt: skip
