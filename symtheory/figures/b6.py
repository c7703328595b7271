r"""Figure B6 (paper B, Figure 6): rank and reconstruction loss of a variational autoencoder against $\beta$.

Setting: :mod:`symtheory.figures.autoencoder`. The paper names $\beta=5$ and 10, and $\gamma=1000$ in the caption of its
Figure 7; both grids are chosen here. Beside the paper's two models stands the decay without the bias, so that the two
parts of syre are told apart. Without decay the bias changes nothing: the loss of what is run does not contain it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.figures import autoencoder, pictures
from symtheory.figures.base import Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict

#: Neither decay nor bias; decay alone; both.
MODELS = ("vanilla", "decay", "syre")
#: From here on the claim speaks of collapse.
LARGE = 5.0
#: What the presets of both figures share.
SMOKE: dict[str, Any] = {
    **{"data": pictures.MADE_UP, "measured": 128, "hidden": 64, "latent": 64, "sigma0": 2.0, "seeds": (0,)},
    **{"epochs": 220, "batch": 128, "lr": 1e-2},
}
PAGE: dict[str, Any] = {"hidden": 100, "latent": 100, "tested": 2000, "epochs": 8, "seeds": (0,)}
#: What stays with the single networks.
_OWN = ("image", "picture")


@dataclass(frozen=True)
class Settings(autoencoder.Setting):
    r"""Settings of the figure.

    Attributes:
        betas: Increasing weights of the KL divergence; the last is that of the second panel.
        decays: Increasing decays $\gamma$ of syre in the second panel, from 0, with ``decay`` among them.
    """

    betas: tuple[float, ...] = (0.1, 1.0, 5.0, 10.0)
    decays: tuple[float, ...] = (0.0, 100.0, 1000.0, 10_000.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (
            not self.betas
            or self.betas[0] <= 0
            or list(self.betas) != sorted(set(self.betas))
            or self.betas[-1] < LARGE
        ):
            raise SymtheoryError(f"increasing betas, up to {LARGE:g} or more", f"{self.betas}", "such as (1, 10)")
        given = list(self.decays)
        if not given or given[0] != 0 or self.decay not in given or given != sorted(set(given)):
            raise SymtheoryError(f"increasing decays from 0, {self.decay} among them", f"{given}", "change decays")


class B6(Figure):
    """Rank and reconstruction loss with and without a static bias."""

    id: ClassVar[str] = "B6"
    title: ClassVar[str] = "The posterior of an autoencoder collapses, unless its encoder has a static bias and decay"
    source: ClassVar[str] = "Paper B, Figure 6"
    claim: ClassVar[str] = (
        "At beta = 5 and 10 the encoder of a vanilla VAE on Fashion-MNIST has a low rank and a large reconstruction "
        "loss; with syre and weight decay on the encoder the rank is nearly full and the loss smaller."
    )
    chapter: ClassVar[str] = "syre_bounds"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(**SMOKE, betas=(5.0,), decays=(0.0, 1000.0)),
        "page": Settings(**PAGE, betas=(10.0,), decays=(0.0, 1000.0)),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed, model and beta, or decay.

        Args:
            config: Settings.

        Returns:
            Settings of the shards, each once.
        """
        cells = [(beta, *model) for model in self._models(config) for beta in config.betas]
        cells += [(config.betas[-1], decay, config.sigma0) for decay in config.decays]
        return [config.shard(seed, *cell) for seed in config.seeds for cell in dict.fromkeys(cells)]

    @staticmethod
    def _models(config: Settings) -> tuple[tuple[float, float], ...]:
        """Decay and size of the bias of each model."""
        return (0.0, 0.0), (config.decay, 0.0), (config.decay, config.sigma0)

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards, and knows where the data set is.

        Returns:
            What :func:`symtheory.figures.autoencoder.compute` measures, but for the pictures, against (seed, model,
            beta); the same of syre at the largest beta against (seed, decay) under ``decay_*``.
        """
        runner, load = InProcess() if executor is None else executor, pictures.loader(executor)
        shards = pictures.with_origin(self.shards(config), load)
        run = runner.map(self.id, partial(autoencoder.compute, device=device, load=load), shards)
        found = {
            tuple(shard[k] for k in ("seed", "beta", "decay", "sigma0")): part.drop_vars(_OWN)
            for shard, part in zip(shards, run, strict=True)
        }
        first: list[xr.Dataset] = []
        second: list[xr.Dataset] = []
        for seed in config.seeds:
            models = [
                xr.concat([found[seed, beta, *model] for beta in config.betas], dim="beta")
                for model in self._models(config)
            ]
            first.append(xr.concat(models, dim="model").assign_coords(model=list(MODELS), beta=list(config.betas)))
            row = [found[seed, config.betas[-1], decay, config.sigma0] for decay in config.decays]
            second.append(xr.concat(row, dim="decay").assign_coords(decay=list(config.decays)))
        grid = autoencoder.describe(xr.concat(first, dim="seed"), config)
        line = autoencoder.describe(xr.concat(second, dim="seed"), config)
        result = grid.merge(line.rename({k: f"decay_{k}" for k in line.data_vars}), join="exact")
        result = result.assign_coords(seed=list(config.seeds))
        result["beta"].attrs.update(long_name="weight of the KL divergence", units="1")
        result["decay"].attrs.update(long_name="weight decay of the encoder", units="1")
        return pictures.named(result, shards)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, mean over seeds.

        Args:
            result: From :meth:`run`.

        Returns:
            At each large beta: vanilla's rank is low, syre's is not, and its loss is smaller, which the decay without
            the bias does not achieve; nor, at the largest, does the bias without the decay.
        """
        verdicts: list[Verdict] = []
        latent = int(result.attrs["latent"])
        for beta in [float(b) for b in result["beta"].values if b >= LARGE]:
            at = result.sel(beta=beta).mean("seed")
            rank = {m: float(at["rank"].sel(model=m)) / latent for m in MODELS}
            loss = {m: float(at["reconstruction"].sel(model=m)) for m in MODELS}
            verdicts += [
                Verdict(
                    f"beta {beta:g}: vanilla's rank over the number of latent variables (control: syre's)",
                    rank["vanilla"], 0.2, control=rank["syre"], factor=4.0,
                ),
                Verdict(
                    f"beta {beta:g}: shortfall of syre's rank from that number, over it (control: vanilla's)",
                    1 - rank["syre"], 0.1, control=1 - rank["vanilla"], factor=5.0,
                ),
                Verdict(
                    f"beta {beta:g}: syre's reconstruction loss over vanilla's (control: that of decay alone)",
                    loss["syre"] / loss["vanilla"], 0.85, control=loss["decay"] / loss["vanilla"], factor=1.1,
                ),
            ]  # fmt: skip
        losses = result["decay_reconstruction"].mean("seed")
        bare, full = float(losses.sel(decay=0.0)), float(losses.sel(decay=result.attrs["decay"]))
        vanilla = float(result["reconstruction"].sel(model="vanilla").isel(beta=-1).mean())
        verdicts.append(
            Verdict(
                "largest beta: syre's reconstruction loss with decay over that without (control: the latter over "
                "vanilla's)",
                full / bare, 0.85, control=bare / vanilla, factor=1.1,
            )
        )  # fmt: skip
        return verdicts
