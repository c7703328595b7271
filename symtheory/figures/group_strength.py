r"""How strongly a static bias breaks finite groups: fitted exponents, and guaranteed against counted strengths.

Not a figure of the paper; it shows Theorem 5 of paper B. Strengths are in units of $\gamma\sigma_0$.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import pi, sqrt
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine.statistics import fitted_exponent
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec import group_families as families
from symtheory.spec import representations as reps
from symtheory.spec.groups import FiniteGroup
from symtheory.spec.representations import Representation
from symtheory.spec.verdict import Verdict
from symtheory.theorems.general_groups.abelian import primorial
from symtheory.theorems.general_groups.bounds import minimal_ranks, removal_strength, separating_ranks
from symtheory.theorems.general_groups.minimal import strengths

GROUPS: dict[str, Callable[[], FiniteGroup]] = {
    "C_6": lambda: families.cyclic(6),
    "C_30": lambda: families.cyclic(30),
    "C_2^4": lambda: families.abelian(2, 2, 2, 2),
    "C_2xC_6": lambda: families.abelian(2, 6),
    "D_4": lambda: families.dihedral(4),
    "D_6": lambda: families.dihedral(6),
    "Q_8": families.quaternion,
    "A_4": lambda: families.alternating(4),
    "S_4": lambda: families.symmetric(4),
    "S_5": lambda: families.symmetric(5),
}


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the experiment.

    Attributes:
        confidence: $\delta$ of the guaranteed strengths.
        draws: Biases drawn for each.
        largest: Largest rank or number of pieces.
        seed: Seed.
    """

    confidence: float = 0.9
    draws: int = 20_000
    largest: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1 or self.draws < 100 or self.largest < 8:
            raise SymtheoryError(
                "a confidence in (0, 1), at least 100 draws and a largest size of at least 8",
                f"{self}",
                "see symtheory.figures.group_strength.Settings",
            )


def _bias(config: Settings, k: int, *shape: int) -> Tensor:
    g = torch.Generator().manual_seed(1000 * config.seed + k)
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def _signs(n: int) -> Representation:
    group = families.abelian(*[2] * n)
    return reps.direct_sum(*(reps.character(group, [0.5 * (k == j) for k in range(n)]) for j in range(n)))


def _least(rep: Representation, pull: Tensor) -> Tensor:
    return 2 * strengths(rep, list(rep.group.minimal_subgroups), pull).min(dim=0).values


def _series(config: Settings) -> dict[str, tuple[float, list[int], list[float]]]:
    """Name to predicted exponent, abscissae and strengths."""
    sizes = [2**k for k in range(1, 1 + int(np.log2(config.largest)))]
    low = 1 - config.confidence
    ranks = [float(2 * _bias(config, r, config.draws, r).norm(dim=1).median()) for r in sizes]
    few = [1, 2, 3, 4, 5, 6]
    signs = [float(_least(_signs(n), _bias(config, 100 + n, n, config.draws)).quantile(low / 2)) for n in few]
    planes = [float(2 * primorial(k, config.draws, 200 + k).quantile(low / 2)) for k in sizes]
    points, swaps = [3, 4, 6, 8, 12, 16, 24], []
    for n in points:  # exchange of neighbours in order: the least of all |b_i - b_j| / sqrt 2
        ordered = _bias(config, 300 + n, config.draws, n).sort(dim=1).values
        swaps.append(float((2 * ordered.diff(dim=1).min(dim=1).values / 2**0.5).quantile(low / 2)))
    exchanges = [n * (n - 1) // 2 for n in points]
    return {
        "rank, one reflection": (0.5, sizes, ranks),
        "generators of C_2^n": (-1.0, few, signs),
        "primes of a cyclic group": (-0.5, sizes, planes),
        "exchanges in S_n": (-1.0, exchanges, swaps),
    }


def compute(shard: Shard) -> xr.Dataset:
    """Draw biases and fit.

    Args:
        shard: The fields of :class:`Settings`.

    Returns:
        See :meth:`GroupStrength.run`.
    """
    config = Settings(**shard)
    rows: list[tuple[str, float, float, float]] = []
    for k, (name, make) in enumerate(GROUPS.items()):
        group = make()
        forms = {"regular": reps.regular(group)}
        if group.action is not None:
            forms["natural"] = reps.natural(group)
        for form, rep in forms.items():
            pieces = [minimal_ranks(rep), *([separating_ranks(rep)] if group.is_abelian else [])]
            counted = _least(rep, _bias(config, 400 + k, rep.dim, config.draws)).quantile(1 - config.confidence)
            promised = max(removal_strength(config.confidence, 1.0, 1.0, ranks) for ranks in pieces)
            generators, rank = len(group.minimal_generators), min(minimal_ranks(rep))
            printed = sqrt(2 * pi * rank) * (1 - config.confidence) / (2 * generators)
            rows.append((f"{name}, {form}", float(counted), promised, printed))
    series = _series(config)
    longest = max(len(x) for _, x, _ in series.values())

    def padded(values: list[Any]) -> list[float]:
        return [float(v) for v in values] + [float("nan")] * (longest - len(values))

    fits = {name: fitted_exponent(x, y) for name, (_, x, y) in series.items()}
    result = xr.Dataset(
        {
            "x": (("law", "point"), [padded(x) for _, x, _ in series.values()]),
            "strength": (("law", "point"), [padded(y) for _, _, y in series.values()]),
            "exponent": (("law",), [f.value for f in fits.values()]),
            "error": (("law",), [f.error for f in fits.values()]),
            "prefactor": (("law",), [f.prefactor for f in fits.values()]),
            "predicted": (("law",), [p for p, _, _ in series.values()]),
            "counted": (("group",), [r[1] for r in rows]),
            "guaranteed": (("group",), [r[2] for r in rows]),
            "printed": (("group",), [r[3] for r in rows]),
        },
        coords={"law": list(series), "group": [r[0] for r in rows]},
        attrs={"confidence": config.confidence, "draws": config.draws, "seed": config.seed},
    )
    for name in result.data_vars:
        result[name].attrs["units"] = "1"
    return result


class GroupStrength(Figure):
    """How strongly a static bias breaks finite groups."""

    id: ClassVar[str] = "group-strength"
    title: ClassVar[str] = "Strength of removal for finite groups"
    source: ClassVar[str] = "Paper B, Theorem 5"
    claim: ClassVar[str] = (
        "The strength grows as the root of the rank. It falls with the number of pieces that have to be broken, the "
        "minimal subgroups or the separating characters, not with the number of generators."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(draws=4000),
        "page": Settings(),
        "paper": Settings(draws=100_000, largest=256),
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
        r"""Draw biases and fit.

        Args:
            config: Settings.
            device: The CPU; the experiment is too small for anything else.
            executor: Maps over the shards.

        Returns:
            ``x``, ``strength`` (law, point) with ``exponent``, ``error``, ``prefactor``, ``predicted`` (law);
            ``counted``, ``guaranteed``, ``printed`` (group): strengths that the share $\delta$ of all biases
            exceeds, in units of $\gamma\sigma_0$.
        """
        (result,) = (executor or InProcess()).map(self.id, compute, self.shards(config))
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """Do exponents and guarantees hold?

        Args:
            result: From :meth:`run`.

        Returns:
            One verdict a law, and one on the guarantees, whose control is the printed one.
        """
        slack = 1 + 5 / sqrt(result.attrs["draws"] * (1 - result.attrs["confidence"]))  # noise of a counted quantile

        def excess(promised: str) -> float:
            return max(0.0, float((result[promised] / (slack * result["counted"])).max()) - 1)

        laws = [
            Verdict(
                f"{name}: deviation from the exponent {float(row['predicted']):+g}",
                abs(float(row["exponent"]) - float(row["predicted"])),
                0.1,
                settings={"exponent": float(row["exponent"])},
            )
            for name, row in ((str(n), result.sel(law=n)) for n in result["law"].values)
        ]
        return [
            *laws,
            Verdict(
                "largest excess of a guaranteed over a counted strength (control: as printed)",
                excess("guaranteed"),
                1e-3,
                control=excess("printed"),
                factor=100.0,
            ),
        ]
