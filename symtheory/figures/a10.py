r"""Figure A10 (paper A, Figure 10): in two attention layers, ranks mirror each other within a layer, not across layers.

Setting, gaps and rank as in :mod:`symtheory.figures.a9`, with two layers and 1000 steps. The paper does not say whether
layers are wrapped in residual connections; here they are not ("simplest"), and a variant has them. The reflection
argument covers each layer's pair of query and key weights and says nothing that would tie one layer to the other.
It speaks of stationary points; how soon Adam balances a pair it does not say. In the second layer, where only one row
asks, keys lose rank well before queries; spectra and imbalance are recorded throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import xarray as xr

from symtheory.figures.a9 import CUT, OTHER_CUTS, apart, collect, falling, mirrored, ranks, recorded
from symtheory.figures.a9 import Settings as OneLayer
from symtheory.figures.attention_training import compute
from symtheory.figures.base import Executor, Figure, InProcess, Outcome, Preset, Shard
from symtheory.spec.verdict import Verdict

#: Settings that differ in a variant.
VARIANTS: dict[str, Shard] = {"residual connections": {"residual": True}}


@dataclass(frozen=True)
class Settings(OneLayer):
    """Settings of the figure: those of figure A9, with its own variants."""

    steps: int = 1000
    decays: tuple[float, ...] = (0.0, 1e-2, 1e-1, 1.0)
    variants: tuple[str, ...] = tuple(VARIANTS)
    known: ClassVar[tuple[str, ...]] = tuple(VARIANTS)


class A10(Figure):
    """Ranks of the query and key weights of two attention layers during training, at several weight decays."""

    id: ClassVar[str] = "A10"
    title: ClassVar[str] = "Ranks of query and key weights mirror each other within a layer, not across layers"
    source: ClassVar[str] = "Paper A, Figure 10"
    claim: ClassVar[str] = (
        "In a two-layer transformer the ranks of the query and key weights fall with weight decay and mirror each "
        "other within a layer; between layers this similarity is lacking."
    )
    expected: ClassVar[Outcome] = "partly"
    finding: ClassVar[str] = (
        "Ranks fall with decay and differ far less within a layer than between layers, but in the second layer the "
        "keys lose rank well before the queries do, so that at intermediate decay the two are still far apart at the "
        "end."
    )
    presets: ClassVar[Mapping[Preset, Any]] = {
        "smoke": Settings(
            prompts=40, rows=8, features=15, steps=300, lr=1e-2, decays=(0.0, 0.1, 0.5), seeds=(0,), records=5
        ),
        "page": Settings(
            prompts=100, rows=30, features=50, steps=300, decays=(0.0, 0.1, 1.0), seeds=(0,), records=8, variants=()
        ),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed, variant and decay.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        common: Shard = {
            **{k: getattr(config, k) for k in ("prompts", "rows", "features", "lr", "init")},
            **{"layers": 2, "record": recorded(config.steps, config.records)},
            **{"shared": False, "decoupled": False, "merged": False, "residual": False},
        }
        runs: list[Shard] = [{"variant": None, "seed": seed} for seed in config.seeds]
        runs += [{"variant": name, "seed": config.seeds[0], **VARIANTS[name]} for name in config.variants]
        return [{**common, **run, "decays": [decay]} for run in runs for decay in config.decays]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            See :func:`symtheory.figures.a9.collect`.
        """
        shards = self.shards(config)
        runner = InProcess() if executor is None else executor
        return collect(config, shards, runner.map(self.id, partial(compute, device=device), shards))

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, at the last step.

        Args:
            result: From :meth:`run`.

        Returns:
            Ranks fall with decay; they agree within each layer, and more than between layers, at several cuts.
        """
        end = result.isel(step=-1)
        verdicts = falling(end)
        for layer in result["layer"].values:
            verdicts.extend(mirrored(end.sel(layer=[layer]), f"layer {layer}: "))
        for cut in (CUT, *OTHER_CUTS):
            verdicts.append(_layers(ranks(end, cut), result.sizes["index"], f"cut {cut:g}"))
        for name in result["variant"].values if "variant" in result.dims else ():
            part = end.sel(variant=name)
            verdicts.extend(falling(part, (CUT,), "variant_spectrum", f"{name}: "))
            found = ranks(part, CUT, "variant_spectrum")
            verdicts.append(_layers(found, result.sizes["index"], f"cut {CUT:g}, {name}"))
        return verdicts


def _layers(found: xr.DataArray, dim: int, label: str) -> Verdict:
    """Difference of the two ranks within a layer, in units of the difference of the two layers, with decay."""
    decayed = found.isel(decay=slice(1, None))
    one, other = decayed.sel(layer=1, drop=True), decayed.sel(layer=2, drop=True)
    across = float(abs(one - other).mean()) + 0.5 / dim  # never 0: layers that agree must fail, not divide by zero
    crossed = decayed.sel(matrix="key", drop=True).assign_coords(layer=[2, 1])
    return Verdict(
        f"ranks of queries and keys differ within a layer, over the difference between layers, {label} "
        "(control: the other layer's keys)",
        float(apart(decayed).mean()) / across, 0.5,
        control=float(abs(decayed.sel(matrix="query", drop=True) - crossed).mean()) / across, factor=1.5,
    )  # fmt: skip
