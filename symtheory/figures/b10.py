r"""Figure B10 (paper B, Figure 10): rank against label noise and input noise, with and without a static bias.

Setting: :mod:`symtheory.figures.teacher`. A fraction of the training labels is replaced by another class, drawn evenly;
or Gaussian noise is added to the training inputs, once, after they were labelled. The rank is measured on samples
without noise. The paper leaves open the input dimension (here 20), whether the input noise is drawn anew in each step
(here not) or is there already when the teacher labels (here not), whether the rank is measured on noisy samples (here
not, but both are kept), and all that :mod:`symtheory.figures.b2` lists; the choices are the same. The activation is
tanh, as Appendix B.1 says where it describes this figure. The *variants*, ReLU among them, change one of these each,
with the first seed, for no noise and the most of either kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import xarray as xr

from symtheory.engine.classifier import Activation
from symtheory.errors import SymtheoryError
from symtheory.figures import teacher
from symtheory.figures.base import Executor, Figure, InProcess, Outcome, Preset, Shard
from symtheory.spec.verdict import Verdict

#: The cut that the paper gives under this figure.
CUT = 1e-3

#: A rank that changes by less than this share, from no noise to the most, is not affected.
UNAFFECTED = 0.1

NOISES = ("label", "input")


@dataclass(frozen=True)
class Settings(teacher.Setting):
    """Settings of the figure.

    Attributes:
        dim: Input dimension.
        label_noise: Fractions of changed labels, from 0.
        input_noise: Standard deviations, from 0; as many.
        variants: Names among :data:`VARIANTS`.
    """

    dim: int = 20
    label_noise: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)
    input_noise: tuple[float, ...] = (0.0, 0.4, 0.8, 1.2, 1.6)
    variants: tuple[str, ...] = (
        "ReLU",
        "input noise anew in every step",
        "input noise before labelling",
        "twice the dimension",
    )
    activations: tuple[Activation, ...] = ("tanh",)

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = (self.label_noise, self.input_noise)
        rising = all(v[:1] == (0.0,) and list(v) == sorted(set(v)) and len(v) > 1 for v in levels)
        if self.dim < 1 or not rising or self.label_noise[-1] > 1 or len({len(v) for v in levels}) > 1:
            raise SymtheoryError(
                "a positive dim, and as many increasing levels of either noise from 0, label noise up to 1",
                f"{self.dim}, {levels}",
                "see symtheory.figures.b10.Settings",
            )
        unknown = sorted(set(self.variants) - set(VARIANTS))
        if unknown:
            raise SymtheoryError(f"variants among {sorted(VARIANTS)}", f"{unknown}", "name those, or none")


def _noise(kind: str, shard: Shard) -> Shard:
    """Another way for the noise to come into the inputs; without noise there is no other way."""
    return {**shard, "noise": kind} if shard["input_noise"] else shard


#: What a variant does to a shard.
VARIANTS: dict[str, Callable[[Shard], Shard]] = {
    "ReLU": lambda shard: {**shard, "activation": "relu"},
    "input noise anew in every step": partial(_noise, "every step"),
    "input noise before labelling": partial(_noise, "before labels"),
    "twice the dimension": lambda shard: {**shard, "dim": 2 * shard["dim"]},
}

#: Noise of the variants' shards: none, or the most of a kind.
EXTREMES = ("none", *NOISES)


class B10(Figure):
    """Rank of the features against the noise in labels and inputs, with and without a static bias."""

    id: ClassVar[str] = "B10"
    title: ClassVar[str] = "Noise does not stand in for a static bias"
    source: ClassVar[str] = "Paper B, Figure 10"
    claim: ClassVar[str] = (
        "Label noise lowers the rank of a vanilla student's features and input noise raises it; that of syre's is not "
        "affected."
    )
    chapter: ClassVar[str] = "syre_bounds"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(
            hidden=40, classes=4, samples=600, batch=200, steps=120, seeds=(0,), dim=8, sigma0=0.1,
            label_noise=(0.0, 0.8), input_noise=(0.0, 1.6), variants=("ReLU", "input noise anew in every step"),
        ),
        "page": Settings(
            samples=2000, steps=400, seeds=(0,), label_noise=(0.0, 0.4, 0.8),
            input_noise=(0.0, 0.8, 1.6), variants=(),
        ),
        "paper": Settings(),
    }  # fmt: skip
    expected: ClassVar[Outcome] = "partly"
    finding: ClassVar[str] = (
        "Label noise lowers both ranks, vanilla's more; weak input noise lowers both too, and strong noise raises "
        "vanilla's only if the rank is measured on noisy samples or the dimension is larger."
    )

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per activation, seed, kind of noise and level, then per variant and extreme.

        Args:
            config: Settings.

        Returns:
            Settings of the shards; those without noise appear again, and executors compute equal shards once.
        """
        plain = [config.shard(a, s, config.dim) for a in config.activations for s in config.seeds]
        levels = {"label": config.label_noise, "input": config.input_noise}
        main = [{**shard, f"{kind}_noise": v} for shard in plain for kind in NOISES for v in levels[kind]]
        first = plain[0]
        return main + [
            VARIANTS[v]({**first, f"{kind}_noise": levels[kind][-1]} if kind in levels else first)
            for v in config.variants
            for kind in EXTREMES
        ]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            What :func:`symtheory.figures.teacher.compute` measures, over (activation, seed, noise, level), with the
            amount of noise in ``amount`` (noise, level); the same for the variants after their last step, under
            ``variant_*`` (variant, extreme).
        """
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(teacher.compute, device=device), self.shards(config))
        axes = {
            "activation": config.activations,
            "seed": config.seeds,
            "noise": NOISES,
            "level": range(len(config.label_noise)),
        }
        count = len(config.activations) * len(config.seeds) * len(NOISES) * len(config.label_noise)
        result = teacher.grid(parts[:count], axes)
        if config.variants:
            axes = {"variant": config.variants, "extreme": EXTREMES}
            extra = teacher.grid([part.isel(steps=-1, drop=True) for part in parts[count:]], axes)
            result = result.merge(extra.rename({k: f"variant_{k}" for k in extra.data_vars}), join="exact")
        result["amount"] = (("noise", "level"), np.array([config.label_noise, config.input_noise]))
        result["amount"].attrs.update(long_name="fraction of changed labels, or standard deviation", units="1")
        result.attrs["dim"] = config.dim
        return teacher.describe(result, config)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, at the figure's own cut, after the last step, mean over seeds.

        Args:
            result: From :meth:`run`.

        Returns:
            For each activation: what the most noise of either kind does to vanilla's rank, and to syre's, measured on
            samples without noise and with; then the variants.
        """
        verdicts = []
        for activation in result["activation"].values:
            ratio = _changes(result["rank"].sel(activation=activation))
            verdicts += _vanilla(str(activation), ratio["vanilla", "label"], ratio["vanilla", "input"])
            verdicts += [_syre(str(activation), n, ratio) for n in NOISES]
            name, ratio = f"{activation}, noisy samples", _changes(result["noisy_rank"].sel(activation=activation))
            verdicts += _vanilla(name, ratio["vanilla", "label"], ratio["vanilla", "input"])[1:]
            verdicts.append(_syre(name, "input", ratio))
        if "variant" in result.dims:
            # measured on samples with noise or without, whichever suits the claim better
            names = ("variant_rank", "variant_noisy_rank")
            kinds = xr.concat([result[k].sel(cut=CUT, model="vanilla") for k in names], dim="kind")
            kinds = kinds / result["variant_rank"].sel(cut=CUT, model="vanilla", extreme="none").clip(min=1)
            label, noisy = kinds.sel(extreme="label").min("kind"), kinds.sel(extreme="input").max("kind")
            for variant in result["variant"].values:
                both = _vanilla(str(variant), float(label.sel(variant=variant)), float(noisy.sel(variant=variant)))
                verdicts += both[1:] if "input noise" in str(variant) else both
        return verdicts


def _changes(rank: xr.DataArray) -> dict[tuple[str, str], float]:
    """Rank with the most noise over that without, for either model and noise, mean over seeds after the last step."""
    mean = rank.sel(cut=CUT).isel(steps=-1).mean("seed")
    change = mean.isel(level=-1) / mean.isel(level=0).clip(min=1)
    return {(m, n): max(float(change.sel(model=m, noise=n)), 1e-3) for m in teacher.MODELS for n in NOISES}


def _syre(name: str, noise: str, ratio: dict[tuple[str, str], float]) -> Verdict:
    """Noise must not change syre's rank, and must change vanilla's."""
    return Verdict(
        f"{name}: relative change of syre's rank by the most {noise} noise (control: vanilla's)",
        abs(ratio["syre", noise] - 1), UNAFFECTED, control=abs(ratio["vanilla", noise] - 1), factor=1.5,
    )  # fmt: skip


def _vanilla(name: str, label: float, noisy: float) -> list[Verdict]:
    """Label noise has to lower vanilla's rank, input noise to raise it: both relative to no noise."""
    label, noisy = max(label, 1e-3), max(noisy, 1e-3)
    return [
        Verdict(
            f"{name}: vanilla's rank with the most label noise over that without",
            label, 0.9, control=1 / label, factor=1.2,
        ),
        Verdict(
            f"{name}: vanilla's rank without input noise over that with the most",
            1 / noisy, 0.9, control=noisy, factor=1.2,
        ),
    ]  # fmt: skip
