r"""Figure B2 (paper B, Figure 2): a symmetry is easier to remove if it is high-dimensional.

Setting: :mod:`symtheory.figures.teacher`. The input dimension grows, while the hidden units and thus the number of
permutations stay. The paper names two activations (ReLU in footnote 6, tanh in Appendix B.1): both are run. It leaves
open the input dimensions (here 5 to 200), the number of steps (here 1000; the ranks after a quarter and a half of them
are kept), the batch size (here all samples), whether the decay is part of Adam's gradient (here it is, as in
``torch.optim.Adam``), how teacher and student are drawn (here as ``torch.nn.Linear`` does), the size of the static bias
(here the $0.01/\sqrt d$ recommended in Section 5.4), and whether the first layer's output is taken before or after the
activation (here after; before it the rank cannot exceed the input dimension, and both are kept). The *variants* change
one of these each, at two dimensions, with the first seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.figures import teacher
from symtheory.figures.base import Executor, Figure, InProcess, Outcome, Preset, Shard
from symtheory.spec.verdict import Verdict

#: The cut that the paper gives under this figure.
CUT = 1e-4

#: "Not so helpful": without a static bias the rank gains at most this share of what it gains with one.
SHARE = 0.5


#: A variant is judged only if vanilla's rank at the lower dimension is below this share of the hidden units.
FULL = 0.95


@dataclass(frozen=True)
class Settings(teacher.Setting):
    """Settings of the figure.

    Attributes:
        dims: Increasing input dimensions.
        variants: Names among :data:`VARIANTS`.
        variant_dims: Two dimensions at which the variants are run.
    """

    dims: tuple[int, ...] = (5, 10, 20, 50, 100, 200)
    variants: tuple[str, ...] = ("ten times the bias", "decoupled decay")
    variant_dims: tuple[int, int] = (5, 50)

    def __post_init__(self) -> None:
        super().__post_init__()
        for dims in (self.dims, self.variant_dims):
            if len(dims) < 2 or dims[0] < 1 or list(dims) != sorted(set(dims)):
                raise SymtheoryError("at least two increasing input dimensions", f"{dims}", "such as (5, 20, 100)")
        unknown = sorted(set(self.variants) - set(VARIANTS))
        if unknown:
            raise SymtheoryError(f"variants among {sorted(VARIANTS)}", f"{unknown}", "name those, or none")


def _times(shard: Shard, name: str, factor: int) -> Shard:
    return {**shard, name: [factor * v for v in shard[name]]}


#: What a variant does to a shard.
VARIANTS: dict[str, Any] = {
    "ten times the bias": lambda shard: _times(shard, "sigma0", 10),
    "decoupled decay": lambda shard: {**shard, "decoupled": True},
    "three times the steps": lambda shard: _times(shard, "at", 3),
    "sharper teacher": lambda shard: {**shard, "teacher": 3 * shard["teacher"]},
}


class B2(Figure):
    """Rank of the features against the input dimension, with and without a static bias."""

    id: ClassVar[str] = "B2"
    title: ClassVar[str] = "A symmetry of many dimensions is easier to remove"
    source: ClassVar[str] = "Paper B, Figure 2"
    claim: ClassVar[str] = (
        "With syre the rank of the first layer's output grows with the input dimension; without the static bias, a "
        "high dimension is not so helpful."
    )
    chapter: ClassVar[str] = "syre_bounds"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(
            hidden=40, classes=4, samples=600, batch=200, steps=120, seeds=(0,), dims=(2, 8, 24),
            variants=("ten times the bias",), variant_dims=(2, 24), sigma0=0.1,
        ),
        "page": Settings(samples=2000, steps=400, seeds=(0,), dims=(5, 20, 50), variants=(), activations=("tanh",)),
        "paper": Settings(),
    }  # fmt: skip
    expected: ClassVar[Outcome] = "partly"
    finding: ClassVar[str] = (
        "For tanh, syre's rank lies above vanilla's at every dimension and grows more, but vanilla's gains over two "
        "thirds as much; for ReLU the two hardly differ, and both reach full rank."
    )

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per activation, seed and dimension, then per variant, activation and dimension.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        main = [config.shard(a, s, d) for a in config.activations for s in config.seeds for d in config.dims]
        return main + [
            VARIANTS[v](config.shard(a, config.seeds[0], d))
            for v in config.variants
            for a in config.activations
            for d in config.variant_dims
        ]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            What :func:`symtheory.figures.teacher.compute` measures, over (activation, seed, dim); the same for the
            variants after their last step, under ``variant_*`` (variant, activation, variant_dim).
        """
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(teacher.compute, device=device), self.shards(config))
        count = len(config.activations) * len(config.seeds) * len(config.dims)
        axes = {"activation": config.activations, "seed": config.seeds, "dim": config.dims}
        result = teacher.grid(parts[:count], axes)
        if config.variants:
            axes = {
                "variant": config.variants,
                "activation": config.activations,
                "variant_dim": config.variant_dims,
            }
            extra = teacher.grid([part.isel(steps=-1, drop=True) for part in parts[count:]], axes)
            result = result.merge(extra.rename({k: f"variant_{k}" for k in extra.data_vars}), join="exact")
        result["dim"].attrs.update(long_name="input dimension", units="1")
        return teacher.describe(result, config)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, at the figure's own cut, after the last step, mean over seeds.

        Args:
            result: From :meth:`run`.

        Returns:
            For each activation: syre's rank grows, vanilla's grows much less, and is lower; then the variants.
        """
        ranks = result["rank"].sel(cut=CUT).isel(steps=-1).mean("seed")
        verdicts = []
        for activation in result["activation"].values:
            curves = {m: ranks.sel(activation=activation, model=m).values for m in teacher.MODELS}
            syre, vanilla = curves["syre"], curves["vanilla"]
            verdicts += [
                Verdict(
                    f"{activation}: syre's largest drop of rank when the dimension grows, over its largest rank",
                    _drop(syre), 0.02, control=_drop(syre[::-1]), factor=5.0,
                ),
                _share(f"{activation}: vanilla's gain of rank over the dimensions as a share of syre's", vanilla, syre),
                Verdict(
                    f"{activation}: vanilla's rank over syre's at the largest dimension",
                    float(vanilla[-1] / syre[-1]), 0.9, control=float(syre[-1] / vanilla[-1]), factor=1.2,
                ),
            ]  # fmt: skip
        if "variant" in result.dims:
            others = result["variant_rank"].sel(cut=CUT)
            for variant in result["variant"].values:
                for activation in result["activation"].values:
                    point = others.sel(variant=variant, activation=activation)
                    vanilla, syre = (point.sel(model=m).values for m in teacher.MODELS)
                    if vanilla[0] < FULL * result.attrs["hidden"]:  # otherwise there is no collapse to cure
                        name = f"{activation}, {variant}: vanilla's gain of rank as a share of syre's"
                        verdicts.append(_share(name, vanilla, syre))
        return verdicts


def _drop(curve: np.ndarray) -> float:
    return float((np.maximum.accumulate(curve) - curve).max() / max(curve.max(), 1))


def _share(statement: str, vanilla: np.ndarray, syre: np.ndarray) -> Verdict:
    """Gains from the first to the last dimension; the control swaps the methods."""
    gain = {"vanilla": float(vanilla[-1] - vanilla[0]), "syre": float(syre[-1] - syre[0])}
    low = {k: max(v, 1e-6) for k, v in gain.items()}
    return Verdict(
        statement, max(gain["vanilla"] / low["syre"], 0.0), SHARE, control=gain["syre"] / low["vanilla"], factor=2.0
    )
