r"""Collapse onto a mirror: the exponent of SGD at the origin of eq. (2)'s tanh network, predicted and measured.

With inputs $x = \pm1$ and $xy$ spread evenly over $[c-b, c+b]$ the origin is a saddle: along $(1, 1)$ a sample
multiplies the distance by $1+\lambda xy$, along $(1,-1)$ by $1-\lambda xy$. Gradient descent always escapes; SGD
collapses in a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import grad

from symtheory.engine.lyapunov import scalar_exponent
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.params import Params
from symtheory.spec.verdict import Verdict
from symtheory.theorems.hessian_blocks.critical import (
    critical_learning_rate,
    lyapunov_exponent,
    second_order_learning_rate,
    stable_learning_rates,
)
from symtheory.theorems.hessian_blocks.tanh import tanh_loss

#: Start of the runs that measure exponents, so small that the network stays in its linear regime.
TINY = 1e-200
#: Scale of the weights from which networks are trained.
SMALL = 1e-6
#: A run is collapsed below the first norm and escaped for good above the second.
COLLAPSED, ESCAPED = 1e-12, 1e3
#: Standard errors that the largest of some dozens of deviations may reach.
DEVIATIONS = 4.5
#: With exponents nearer to zero than this, excursions leave the linear regime before a network collapses.
MARGIN = 0.05


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the experiment.

    Attributes:
        width: Neurons.
        samples: Size of the data set.
        mean: $c$, mean of $xy$.
        spread: $b$, half the width of its law.
        rates: Number of learning rates.
        highest: Largest learning rate.
        runs: Networks at every learning rate.
        linear_steps: Steps in which an exponent is measured.
        steps: Steps in which a network may collapse.
        seed: Seed.
    """

    width: int = 4
    samples: int = 200
    mean: float = 0.15
    spread: float = 1.0
    rates: int = 24
    highest: float = 4.0
    runs: int = 24
    linear_steps: int = 250
    steps: int = 1500
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.mean < self.spread or min(self.width, self.samples, self.rates, self.runs, self.steps) < 1:
            raise SymtheoryError("0 < mean < spread and positive sizes", f"{self}", "the origin must be a noisy saddle")


def products(shard: Shard) -> Tensor:
    """The values of xy, evenly spread.

    Args:
        shard: The fields of :class:`Settings`.

    Returns:
        Vector of length ``samples``.
    """
    g = torch.Generator().manual_seed(shard["seed"])
    jitter = torch.rand(shard["samples"], generator=g, dtype=torch.float64)  # no sample annihilates at a round rate
    place = (torch.arange(shard["samples"], dtype=torch.float64) + jitter) / shard["samples"]
    return shard["mean"] + shard["spread"] * (2 * place - 1)


def _run(start: Params, lr: Tensor, data: Tensor, steps: int, g: torch.Generator) -> Params:
    """SGD on one sample a step, every network with its own draws; a network that escaped stands still."""
    slope = torch.vmap(grad(lambda p, row: tanh_loss(p, row[None])))
    params, count = start, len(lr)
    for _ in range(steps):
        rows = data[torch.randint(len(data), (count,), generator=g)]
        step = slope(params, rows)
        norm = torch.stack([p.square().sum(1) for p in params.values()]).sum(0).sqrt()
        moving = (lr * (norm < ESCAPED))[:, None]
        params = {k: p - moving * step[k] for k, p in params.items()}
    return params


def compute(shard: Shard) -> xr.Dataset:
    """Exponents and collapse, predicted and measured.

    Args:
        shard: The fields of :class:`Settings`.

    Returns:
        See :meth:`Collapse.run`.
    """
    g = torch.Generator().manual_seed(shard["seed"])
    z, count, d = products(shard), shard["runs"], shard["width"]
    x = 1.0 - 2.0 * torch.randint(2, (len(z),), generator=g).double()
    data = torch.stack([x, z * x], dim=1)
    rates = torch.linspace(shard["highest"] / shard["rates"], shard["highest"], shard["rates"], dtype=torch.float64)
    lr = rates.repeat_interleave(count)
    growth = []
    for sign in (1, -1):  # along (1, 1) and (1, -1), the eigenvectors at the origin
        v = torch.randn(len(lr), d, generator=g, dtype=torch.float64)
        ends = _run({"u": TINY * v, "w": sign * TINY * v}, lr, data, shard["linear_steps"], g)
        ratio = (ends["u"] / TINY).norm(dim=1) / v.norm(dim=1)
        growth.append(ratio.log().reshape(-1, count) / shard["linear_steps"])
    measured = torch.stack(growth)
    small = {k: SMALL * torch.randn(len(lr), d, generator=g, dtype=torch.float64) for k in ("u", "w")}
    finals = _run(small, lr, data, shard["steps"], g)
    norm = torch.stack([p.square().sum(1) for p in finals.values()]).sum(0).sqrt().reshape(-1, count)
    predicted = [[lyapunov_exponent(h, float(r), exact=True).value for r in rates] for h in (-z, z)]
    descent = [[scalar_exponent(1 - r[None] * h.mean(), exact=True).value for r in rates] for h in (-z, z)]
    dims = ("direction", "rate")
    return xr.Dataset(
        {
            "measured": (dims, measured.mean(2).numpy()),
            "error": (dims, (measured.std(2) / count**0.5).numpy()),
            "predicted": (dims, np.array(predicted)),
            "descent": (dims, np.array(descent)),
            "collapsed": (("rate",), (norm < COLLAPSED).sum(1).numpy()),
            "products": (("sample",), z.numpy()),
        },
        coords={"direction": ["(1, 1)", "(1, -1)"], "rate": rates.numpy()},
        attrs={"runs": count},
    )


def window(result: xr.Dataset) -> tuple[float, float]:
    """Learning rates at which both directions collapse, by the exact exponent.

    Args:
        result: From :meth:`Collapse.run`.

    Returns:
        First and last rate of the longest interval that both have in common.
    """
    z = torch.from_numpy(result["products"].values)
    common = [(max(a, c), min(b, d)) for a, b in stable_learning_rates(-z) for c, d in stable_learning_rates(z)]
    return max(common, key=lambda pair: pair[1] - pair[0])


def thresholds(result: xr.Dataset) -> tuple[float, float]:
    """Critical learning rate of the escaping direction.

    Args:
        result: From :meth:`Collapse.run`.

    Returns:
        Exact, and by eq. (5).
    """
    z = torch.from_numpy(result["products"].values)
    return critical_learning_rate(-z).exact, second_order_learning_rate(-z)


class Collapse(Figure):
    """Exponents and collapse of a tanh network at its origin."""

    id: ClassVar[str] = "Collapse"
    title: ClassVar[str] = "Collapse of a tanh network"
    source: ClassVar[str] = "Paper A, eqs. (2) and (5), Theorem 5"
    claim: ClassVar[str] = (
        "Between two learning rates SGD collapses onto the origin although it is a saddle, as the exponent predicts."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(rates=8, runs=12, linear_steps=150, steps=800),
        "page": Settings(),
        "paper": Settings(rates=60, runs=100, linear_steps=300, steps=6000),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard: it takes seconds.

        Args:
            config: Settings.

        Returns:
            Settings of the shard.
        """
        return [config.to_json()]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train and predict.

        Args:
            config: Settings.
            device: The CPU; the problem is too small for anything else.
            executor: Maps over the shards.

        Returns:
            ``measured``, ``error``, ``predicted`` exponents and gradient ``descent``'s, by (direction, rate); the
            number of ``collapsed`` networks by rate; ``products``, the values of xy.
        """
        runner = InProcess() if executor is None else executor
        (result,) = runner.map(self.id, compute, self.shards(config))
        for name in result.data_vars:
            result[name].attrs["units"] = "1"
        result["rate"].attrs["long_name"] = "learning rate"
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """Do networks follow the exponent?

        Args:
            result: From :meth:`run`.

        Returns:
            One verdict on exponents, with gradient descent's as the control; one on collapse, with eq. (5)'s.
        """

        def off(name: str) -> float:
            return float((np.abs(result["measured"] - result[name]) / result["error"]).max())

        top = result["predicted"].max("direction").values
        decided, share = np.abs(top) > MARGIN, result["collapsed"].values / result.attrs["runs"]
        second = thresholds(result)[1]

        def wrong(collapses: Any) -> float:
            return float(((share > 0.5) != collapses)[decided].mean())

        return [
            Verdict(
                "measured exponents in standard errors from E log|1 - lr h| (control: gradient descent's)",
                off("predicted"), DEVIATIONS, control=off("descent"), factor=3.0,
            ),
            Verdict(
                "share of learning rates at which most networks contradict the exact exponent (control: eq. (5))",
                wrong(top < 0), 0.02, control=wrong(result["rate"].values > second), factor=10.0,
            ),
        ]  # fmt: skip
