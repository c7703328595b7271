r"""Figure A6 (paper A, Figure 6): the blocks are the same before and after the activation.

Setting: that of :mod:`symtheory.figures.a3c`, without decay and with the largest one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import xarray as xr

from symtheory.engine.correlations import similarity
from symtheory.figures.a3c import CUT, PRESETS, A3c, Settings, learned, trained
from symtheory.figures.base import Executor, Figure, Preset, Shard
from symtheory.spec.verdict import Verdict


class A6(Figure):
    """Correlations before and after the activation, with and without weight decay."""

    id: ClassVar[str] = "A6"
    title: ClassVar[str] = "The blocks of neurons are there before and after the activation"
    source: ClassVar[str] = "Paper A, Figure 6"
    claim: ClassVar[str] = (
        "Pre- and post-activations of ResNet18's penultimate layer have a similar correlation structure, with blocks "
        "only under weight decay (from which the paper infers that the blocks come from permutation symmetry and not "
        "from linearity)."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = PRESETS
    pending: ClassVar[str] = "it needs the networks of figure A3c"

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed, without decay and with the largest.

        Args:
            config: Settings.

        Returns:
            Settings of the shards, among those of figure A3c.
        """
        ends = (config.decays[0], config.decays[-1])
        return [s for s in A3c().shards(config) if s["decay"] in ends]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train the networks that figure A3c has not left behind.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards, and knows where the data set is.

        Returns:
            ``correlation`` (decay, place, unit, other), ``lonely``, ``blocks``, ``live`` (seed, decay, place),
            ``accuracy``, ``loss`` (seed, decay).
        """
        return trained(config, self.shards(config), device, executor, [config.decays[0], config.decays[-1]])

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers.

        Args:
            result: From :meth:`run`.

        Returns:
            With decay the two matrices of the first seed agree entry by entry, and copies stay copies, not so if units
            are interchanged; after the activation, too, most neurons have a copy with decay, and most have none
            without; the activation leaves most of them, and the network has learned something.
        """
        before, after = result["correlation"].isel(decay=-1).values
        moved = np.roll(np.arange(len(after)), len(after) // 2)
        there = result.sel(place="after activation").mean("seed")
        alone, live = there["lonely"].values, there["live"].values
        return [
            Verdict(
                "1 - correlation between the entries of both matrices, largest decay (control: units interchanged)",
                1 - similarity(before, after), 0.5, control=1 - similarity(before, after[np.ix_(moved, moved)]),
                factor=1.5,
            ),
            Verdict(
                "part of the copies of the same sign before the activation that are none after it, largest decay "
                "(control: units interchanged)",
                _parted(before, after), 0.2, control=_parted(before, after[np.ix_(moved, moved)]), factor=3.0,
            ),
            Verdict(
                "part of the neurons without a copy after the activation, largest decay (control: without decay)",
                float(alone[-1]), 0.4, control=float(alone[0]), factor=1.5,
            ),
            Verdict(
                "part of the neurons that are silent after it and left out, largest decay (control: all)",
                float(1 - live[-1] / len(after)), 0.5, control=1.0, factor=2.0,
            ),
            learned(result),
        ]  # fmt: skip


def _parted(before: np.ndarray, after: np.ndarray) -> float:
    """Of pairs of live units that are copies before, the part that are no copies after; 1 without a pair."""
    live = (np.diag(before) > 0) & (np.diag(after) > 0)
    a, b = (m[np.ix_(live, live)][np.triu_indices(int(live.sum()), 1)] > CUT for m in (before, after))
    return float(1 - b[a].mean()) if a.any() else 1.0
