r"""Figure A3c (paper A, Figure 3, right): with weight decay the neurons of ResNet18 form homogeneous blocks.

Setting: :mod:`symtheory.figures.residual`, 100 epochs at a fixed learning rate. Measured on 2000 test images: the
correlation matrix of the penultimate layer's 128 outputs before the activation (and after it, for figure A6), its units
sorted by clustering (the paper sorts along the eigenvector with the largest eigenvalue, on which different blocks can
have like entries); and in numbers: the part of the units that no other unit copies, that is whose correlation with each
other unit is at most 0.95 in absolute value. A correlation near -1 makes a block, too, but not of equal neurons: the
part without a copy of the same sign is checked as well. Units that are close to dying are kept, and count against the
claim if they have no copy.

A decay that is too large makes all units one and the network guess. That is no block structure, so that the network has
to be right twice as often as a guess, and no block may have more than half of the units.

Open in the paper: its decays ("varying degrees", of which Figure 6 names one, 1e-3), and a measure of its blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from symtheory.engine import supervised
from symtheory.engine.correlations import blocks, correlation, lonely
from symtheory.engine.images import Loader
from symtheory.errors import SymtheoryError
from symtheory.figures import pictures, residual
from symtheory.figures.base import Executor, Figure, Preset, Shard
from symtheory.spec.verdict import Verdict

#: Outputs of the penultimate layer that are measured.
PLACES = ("before activation", "after activation")
#: Units with a correlation above it are copies of each other.
CUT = 0.95


@dataclass(frozen=True)
class Settings(residual.Setting):
    """Settings of the figures A3c and A6.

    Attributes:
        decays: Increasing weight decays, 0 first.
        measured: Test images over which correlations are taken.
    """

    decays: tuple[float, ...] = (0.0, 1e-4, 5e-4, 1e-3)
    measured: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.decays) < 2 or self.decays[0] != 0 or list(self.decays) != sorted(set(self.decays)):
            raise SymtheoryError("increasing decays, 0 first", f"{self.decays}", "such as (0, 5e-4)")
        if self.measured < 2:
            raise SymtheoryError("two or more images to measure on", f"{self.measured}", "such as 2000")


_SMOKE: dict[str, Any] = {
    "data": pictures.COLOURED, "samples": 256, "side": 8, "width": 4, "penultimate": 32, "epochs": 12, "batch": 16,
    "lr": 0.03, "augmented": False, "seeds": (0,), "decays": (0.0, 0.1), "measured": 128,
}  # fmt: skip
PRESETS: Mapping[Preset, Settings] = {
    "smoke": Settings(**_SMOKE),
    "page": Settings(
        samples=5000, tested=2000, side=16, width=8, epochs=8, batch=64, augmented=False, seeds=(0,),
        decays=(0.0, 1e-3, 5e-3, 1e-2),
    ),
    "paper": Settings(),
}  # fmt: skip


def compute(shard: Shard, device: str = "cpu", load: Loader | None = None) -> xr.Dataset:
    """Train and measure one network.

    Args:
        shard: From :meth:`A3c.shards`, with its origin.
        device: Where to train.
        load: Where the data set comes from.

    Returns:
        ``correlation`` (place, unit, other), ``lonely``, ``blocks``, ``live`` (place), ``accuracy``, ``loss``.
    """
    own = residual.prepare(shard, device, load)
    net, optimizer = own.network, residual.sgd(own.network, shard["lr"], shard["decay"])

    def measure(epoch: supervised.Epoch) -> dict[str, float]:
        return {"loss": epoch.loss}

    history = supervised.train(net, optimizer, own.train, own.normalise, own.plan, measure)
    net.eval()
    before = supervised.outputs(net.features, own.test.images[: shard["measured"]], own.normalise)
    matrices = [correlation(h) for h in (before, before.relu())]
    units = range(shard["penultimate"])
    return xr.Dataset(
        {
            "correlation": (("place", "unit", "other"), np.stack(matrices).astype(np.float32)),
            "lonely": ("place", [lonely(m, CUT) for m in matrices]),
            "blocks": ("place", [len(blocks(m, CUT)) for m in matrices]),
            "live": ("place", [int((np.diag(m) > 0).sum()) for m in matrices]),
            "accuracy": supervised.accuracy(net, own.test, own.normalise),
            "loss": history[-1]["loss"],
        },
        coords={"place": list(PLACES), "unit": units, "other": units},
    )


def trained(
    config: Settings, shards: list[Shard], device: str, executor: Executor | None, decays: list[float]
) -> xr.Dataset:
    """Train networks, or find them where figure A3c or A6 has trained them before.

    Args:
        config: Settings.
        shards: For each seed one per decay.
        device: Where to train.
        executor: Maps over the shards, and knows where the data set is.
        decays: Of the shards.

    Returns:
        What :func:`compute` returns, with dims ``seed`` and ``decay``; correlations of the first seed alone.
    """
    result = pictures.over_seeds(A3c.id, compute, shards, config.seeds, "decay", decays, device, executor)
    result["correlation"] = result["correlation"].isel(seed=0)
    result["correlation"].attrs.update(long_name="correlation of two units, first seed", units="1")
    result["lonely"].attrs.update(long_name=f"part of the live units without a copy (|r| > {CUT:g})", units="1")
    result["blocks"].attrs.update(long_name="groups of live units, chained by copies", units="1")
    result["live"].attrs.update(long_name="units that are not silent", units="1")
    result["accuracy"].attrs.update(long_name="part of the test images that is classified rightly", units="1")
    result["loss"].attrs.update(long_name="mean cross-entropy over the last epoch", units="1")
    result["decay"].attrs.update(long_name="weight decay", units="1")
    result.attrs.update(width=config.width, side=config.side, epochs=config.epochs)
    return result


class A3c(Figure):
    """Blocks of neurons before the activation, with and without weight decay."""

    id: ClassVar[str] = "A3c"
    title: ClassVar[str] = "With weight decay the neurons of ResNet18 form homogeneous blocks"
    source: ClassVar[str] = "Paper A, Figure 3 (right)"
    claim: ClassVar[str] = (
        "After training with weight decay the neurons of ResNet18's penultimate layer form homogeneous blocks before "
        "the activation; without weight decay such blocks are rare."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = PRESETS
    pending: ClassVar[str] = "its 12 trainings of 100 epochs need a GPU, and none was at hand"

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed and decay.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        return [config.shard(s, decay=d, measured=config.measured) for s in config.seeds for d in config.decays]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train every network.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards, and knows where the data set is.

        Returns:
            ``correlation`` (decay, unit, other), ``lonely``, ``blocks``, ``live`` (seed, decay), all before the
            activation; ``accuracy``, ``loss`` (seed, decay).
        """
        result = trained(config, self.shards(config), device, executor, list(config.decays))
        return result.sel(place=PLACES[0], drop=True)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, mean over seeds.

        Args:
            result: From :meth:`run`.

        Returns:
            At the largest decay most neurons have a copy, also of the same sign; without decay most have none; there is
            more than one block, and the network has learned something.
        """
        alone = result["lonely"].mean("seed").values
        first, *_, last = result["correlation"].values
        return [
            Verdict(
                "part of the neurons without a copy at the largest decay (control: without decay)",
                float(alone[-1]), 0.4, control=float(alone[0]), factor=1.5,
            ),
            Verdict(
                "the same for copies of the same sign, first seed (control: without decay)",
                lonely(positive(last), CUT), 0.4, control=lonely(positive(first), CUT), factor=1.5,
            ),
            Verdict(
                "part of the neurons in the largest block at the largest decay, first seed (control: a single block)",
                _largest(last), 0.5, control=_largest(np.ones_like(last)), factor=2.0,
            ),
            learned(result),
        ]  # fmt: skip


def positive(matrix: np.ndarray) -> np.ndarray:
    """A correlation matrix in which units that move against each other have nothing in common.

    Args:
        matrix: From :func:`symtheory.engine.correlations.correlation`.

    Returns:
        Its positive part.
    """
    return np.clip(matrix, 0, None)


def learned(result: xr.Dataset) -> Verdict:
    """Whether the networks with the largest decay know anything: collapsed ones have copies, too.

    Args:
        result: With ``accuracy`` (seed, decay).

    Returns:
        Holds if they are right twice as often as a guess, mean over seeds.
    """
    right = float(result["accuracy"].mean("seed").isel(decay=-1))
    return Verdict(
        "part of right answers of a guess over that at the largest decay (control: a network that guesses)",
        residual.GUESS / max(right, 1e-3), 0.5, control=1.0, factor=2.0,
    )  # fmt: skip


def _largest(matrix: np.ndarray) -> float:
    """Part of the live units in the largest group of copies of the same sign."""
    sizes = blocks(positive(matrix), CUT)
    return float(sizes[0] / sizes.sum()) if len(sizes) else 1.0
