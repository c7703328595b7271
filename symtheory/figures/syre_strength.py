r"""Strength of removal against its bounds: counted probabilities, and fitted exponents.

Not a figure of the paper; it shows Theorem 4 and Corollary 1 of paper B. For the exchanges of a $\tanh$ network's
neurons and for orthogonal reflections, the fraction of biases with $\min_i|\Delta_i|>\epsilon$ is counted and
compared with the bound of :func:`symtheory.theorems.syre_bounds.bounds.break_probability` and with the printed
constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sqrt
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from symtheory.engine.statistics import fitted_exponent
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict
from symtheory.theorems.syre_bounds.bounds import break_probability
from symtheory.theorems.syre_bounds.ensembles import orthogonal_reflections, permutation_network, scalings, success


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the experiment.

    Attributes:
        epsilon: Wanted strength $\epsilon$.
        gamma: $\gamma$.
        hidden: Hidden neurons of the network.
        reflections: Number of orthogonal reflections.
        sigma0: Sizes of the bias.
        draws: Biases drawn for each.
        seed: Seed.
    """

    epsilon: float = 0.1
    gamma: float = 0.05
    hidden: int = 6
    reflections: int = 4
    sigma0: tuple[float, ...] = tuple(float(s) for s in np.geomspace(0.3, 300, 13))
    draws: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epsilon, self.gamma, *self.sigma0) <= 0 or min(self.hidden, self.reflections, self.draws) < 1:
            raise SymtheoryError("positive settings", f"{self}", "see symtheory.figures.syre_strength.Settings")


def compute(shard: Shard) -> xr.Dataset:
    """Count and fit.

    Args:
        shard: The fields of :class:`Settings`.

    Returns:
        See :meth:`SyreStrength.run`.
    """
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in shard.items()}
    config = Settings(**given)
    cases = {
        "exchanged neurons": permutation_network(config.seed, config.hidden, config.gamma),
        "orthogonal reflections": orthogonal_reflections(config.seed, config.reflections, 1, config.gamma),
    }
    table = np.zeros((5, len(cases), len(config.sigma0)))
    for i, case in enumerate(cases.values()):
        for j, sigma0 in enumerate(config.sigma0):
            counted = success(case, sigma0, config.epsilon, config.draws)
            bound = break_probability(config.epsilon, config.gamma, sigma0, case.count)
            printed = max(0.0, 1 - 2 * config.epsilon * case.count / (sqrt(2 * pi) * config.gamma * sigma0))
            table[:, i, j] = counted.value, counted.low, counted.high, bound, printed
    rows = [r for r in scalings(config.seed, draws=config.draws) if "gamma" not in r.name and "sigma" not in r.name]
    longest = max(len(r.x) for r in rows)

    def padded(values: object) -> list[float]:
        numbers = [float(v) for v in values]  # type: ignore[attr-defined]
        return numbers + [np.nan] * (longest - len(numbers))

    names = ("probability", "low", "high", "bound", "printed")
    result = xr.Dataset(
        {
            **{name: (("case", "sigma0"), table[k]) for k, name in enumerate(names)},
            "x": (("scaling", "point"), [padded(r.x) for r in rows]),
            "strength": (("scaling", "point"), [padded(r.y) for r in rows]),
            "exponent": (("scaling",), [r.fitted for r in rows]),
            "error": (("scaling",), [r.error for r in rows]),
            "predicted": (("scaling",), [r.predicted for r in rows]),
            "prefactor": (("scaling",), [fitted_exponent(r.x, r.y).prefactor for r in rows]),
        },
        coords={"case": list(cases), "sigma0": list(config.sigma0), "scaling": [r.name for r in rows]},
        attrs={"epsilon": config.epsilon, "gamma": config.gamma, "draws": config.draws, "seed": config.seed},
    )
    for name in result.data_vars:
        result[name].attrs["units"] = "1"
    return result


class SyreStrength(Figure):
    """Strength of removal against its bounds."""

    id: ClassVar[str] = "syre-strength"
    title: ClassVar[str] = "Strength of removal against its bounds"
    source: ClassVar[str] = "Paper B, Theorem 4 and Corollary 1"
    claim: ClassVar[str] = (
        "The probability that every reflection is broken lies above its bound; the strength of differences falls as "
        "the inverse of the number of reflections, and the slope grows as the root of the rank."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(sigma0=(1.0, 10.0, 100.0), draws=1000),
        "page": Settings(),
        "paper": Settings(draws=100_000),
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
        """Count and fit.

        Args:
            config: Settings.
            device: The CPU; the experiment is too small for anything else.
            executor: Maps over the shards.

        Returns:
            ``probability``, ``low``, ``high``, ``bound``, ``printed`` (case, sigma0); ``x``, ``strength`` (scaling,
            point), ``exponent``, ``error``, ``predicted``, ``prefactor`` (scaling).
        """
        (result,) = (executor or InProcess()).map(self.id, compute, self.shards(config))
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """No interval lies below its bound, and the exponents are those of the bounds.

        Args:
            result: From :meth:`run`.

        Returns:
            Verdicts; the control of the first kind is the bound with four times the strength promised.
        """
        found = []
        for name in result["case"].values:
            part = result.sel(case=name)
            shortfall = float((part["bound"] - part["high"]).clip(min=0).max())
            conservative = float((part["probability"] - part["printed"]).max())
            found.append(
                Verdict(
                    f"{name}: largest shortfall of the counted probability below the bound", shortfall, 1e-4, seed=0
                )
            )
            found.append(
                Verdict(
                    f"{name}: somewhere the printed constant promises less by a fifth or more",
                    max(0.0, 0.2 - conservative),
                    1e-9,
                    seed=0,
                )
            )
        for name in result["scaling"].values:
            row = result.sel(scaling=name)
            gap = abs(float(row["exponent"]) - float(row["predicted"]))
            found.append(
                Verdict(f"{name}: deviation of the exponent", gap, 0.05, settings={"exponent": float(row["exponent"])})
            )
        return found
