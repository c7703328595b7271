r"""Figure B3b (paper B, Figure 3 middle): test accuracy of ResNet18 on CIFAR-10 against the size of syre's bias.

Setting: :mod:`symtheory.figures.residual`, with a static bias of standard deviation $\sigma_0$ in units of one over the
root of the fan-in, by anchored decay (:func:`symtheory.transforms.syre.syre`), ten trials; $\sigma_0 = 0$ is the plain
network with the same decay.

Open in the paper and chosen here: the sizes; learning rate, momentum and batch, as in paper A; the decay, PyTorch's
``weight_decay`` of 5e-4 as in paper A; the epochs; a learning rate that falls along a cosine; and that training starts
from the plain network's weights, also with a bias, so that what a bias does is done by the decay towards it. "No
significant difference" is taken in two ways. The mean accuracies are equivalent: the interval of their difference, from
Welch's statistic at five percent on either side, lies within a margin; trials that scatter too much to tell fail this.
And Welch's test, Bonferroni-corrected for the sizes, does not tell them apart at one percent; trials that scatter pass
this. A trial's bias is drawn from its seed, like its start and its order of images, which it shares with the plain
network of the same seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from scipy.stats import t, ttest_ind_from_stats

from symtheory.engine import supervised
from symtheory.engine.images import Loader
from symtheory.errors import SymtheoryError
from symtheory.figures import pictures, residual
from symtheory.figures.base import Executor, Figure, Preset, Shard
from symtheory.spec.verdict import Verdict
from symtheory.transforms.syre import syre

#: Below this size the paper sees no difference.
SMALL = 0.2


@dataclass(frozen=True)
class Settings(residual.Setting):
    """Settings of the figure.

    Attributes:
        decay: PyTorch's ``weight_decay``.
        sizes: Increasing standard deviations of the bias in units of one over the root of the fan-in, 0 first, some
            below 0.2 and one above.
        margin: Difference of mean accuracies that counts as none.
    """

    decay: float = 5e-4
    sizes: tuple[float, ...] = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 10.0)
    margin: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        ordered = list(self.sizes) == sorted(set(self.sizes)) and self.sizes[:1] == (0.0,)
        if not ordered or len(self.sizes) < 3 or not self.sizes[1] < SMALL < self.sizes[-1]:
            raise SymtheoryError("increasing sizes, 0 first, on both sides of 0.2", f"{self.sizes}", "change sizes")
        if min(self.decay, self.margin) <= 0:
            raise SymtheoryError("decay > 0 and margin > 0", f"{self.decay}, {self.margin}", "such as 5e-4 and 0.01")
        if len(self.seeds) < 2:
            raise SymtheoryError("two or more trials", f"{self.seeds}", "give more seeds")


def compute(shard: Shard, device: str = "cpu", load: Loader | None = None) -> xr.Dataset:
    """Train and measure one network.

    Args:
        shard: From :meth:`B3b.shards`, with its origin.
        device: Where to train.
        load: Where the data set comes from.

    Returns:
        ``accuracy`` on the test images, ``loss`` over the last epoch.
    """
    own = residual.prepare(shard, device, load)
    net, size, decay = own.network, shard["sigma0"], shard["decay"]
    optimizer = residual.sgd(net, shard["lr"], 0.0 if size else decay)
    if size:
        syre(optimizer, size, decay / 2, seed=shard["seed"] + 10_000, relative=True)

    def measure(epoch: supervised.Epoch) -> dict[str, float]:
        return {"loss": epoch.loss}

    history = supervised.train(net, optimizer, own.train, own.normalise, own.plan, measure)
    net.eval()
    return xr.Dataset({"accuracy": supervised.accuracy(net, own.test, own.normalise), "loss": history[-1]["loss"]})


class B3b(Figure):
    """Accuracy against the size of the bias."""

    id: ClassVar[str] = "B3b"
    title: ClassVar[str] = "A small static bias does not change the accuracy of ResNet18"
    source: ClassVar[str] = "Paper B, Figure 3 (middle)"
    claim: ClassVar[str] = (
        "For a bias of standard deviation below 0.2 (times one over the root of the fan-in) the test accuracies of "
        "ResNet18 on CIFAR-10 with and without syre do not differ significantly."
    )
    chapter: ClassVar[str] = "syre_bounds"
    pending: ClassVar[str] = "its 80 trainings of 30 epochs need a GPU, and none was at hand"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(
            data=pictures.COLOURED, samples=256, side=8, width=4, penultimate=32, epochs=8, batch=16, lr=0.03,
            anneal="cosine", augmented=False, seeds=(0, 1, 2, 3), decay=2e-2, sizes=(0.0, 0.1, 100.0), margin=0.2,
        ),
        "page": Settings(
            samples=5000, tested=2000, side=16, width=8, epochs=4, batch=64, anneal="cosine", augmented=False,
            seeds=(0, 1, 2), decay=5e-3, sizes=(0.0, 0.1, 1.0, 30.0), margin=0.05,
        ),
        "paper": Settings(epochs=30, anneal="cosine", seeds=tuple(range(10))),
    }  # fmt: skip

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per trial and size.

        Args:
            config: Settings.

        Returns:
            Settings of the shards: for each trial all sizes.
        """
        return [config.shard(s, decay=config.decay, sigma0=size) for s in config.seeds for size in config.sizes]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train every network.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards, and knows where the data set is.

        Returns:
            ``accuracy`` and ``loss`` (seed, sigma0).
        """
        result = pictures.over_seeds(
            self.id, compute, self.shards(config), config.seeds, "sigma0", list(config.sizes), device, executor
        )
        result["accuracy"].attrs.update(long_name="part of the test images that is classified rightly", units="1")
        result["loss"].attrs.update(long_name="mean cross-entropy over the last epoch", units="1")
        result["sigma0"].attrs.update(long_name="standard deviation of the bias times root of fan-in", units="1")
        result.attrs.update(margin=config.margin, width=config.width, side=config.side, epochs=config.epochs)
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers.

        Args:
            result: From :meth:`run`.

        Returns:
            The largest difference of a bias below 0.2 from none: the far end of its interval over a margin, and in
            significance; for both, the largest bias is the control, with the near end of its interval.
        """
        accuracy = result["accuracy"].transpose("sigma0", "seed").values
        least, most = np.array([_between(row, accuracy[0]) for row in accuracy]).T / result.attrs["margin"]
        small = (result["sigma0"].values > 0) & (result["sigma0"].values < SMALL)
        surprise = np.array([_surprise(row, accuracy[0], int(small.sum())) for row in accuracy])
        return [
            Verdict(
                "bias below 0.2: most by which mean accuracies may differ, over the margin (control: the largest bias, "
                "the least)",
                float(most[small].max()), 1.0, control=float(least[-1]), factor=2.0,
            ),
            Verdict(
                "bias below 0.2: largest -log10 of the corrected p-value (control: the largest bias)",
                float(surprise[small].max()), 2.0, control=float(surprise[-1]), factor=1.1,
            ),
        ]  # fmt: skip


def _between(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Least and most by which two means may differ in absolute value: Welch's interval, five percent on either side."""
    gap = abs(float(first.mean() - second.mean()))
    squares = np.array([x.var(ddof=1) / len(x) for x in (first, second)])
    if not squares.any():
        return gap, gap
    freedom = squares.sum() ** 2 / (squares**2 / [len(first) - 1, len(second) - 1]).sum()
    width = float(t.ppf(0.95, freedom) * squares.sum() ** 0.5)
    return max(gap - width, 0.0), gap + width


def _surprise(first: np.ndarray, second: np.ndarray, tests: int) -> float:
    """Minus the decimal logarithm of Welch's p-value, times the number of tests; at most 300."""
    if np.ptp(first) == np.ptp(second) == 0:
        return 0.0 if first[0] == second[0] else 300.0
    moments = [m for x in (first, second) for m in (x.mean(), x.std(ddof=1), len(x))]
    p = float(ttest_ind_from_stats(*moments, equal_var=False).pvalue)
    return float(-np.log10(np.clip(tests * p, 1e-300, 1.0))) + 0.0
