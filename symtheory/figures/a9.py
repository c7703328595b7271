r"""Figure A9 (paper A, Figure 9): weight decay lowers the ranks of $W_Q$ and $W_K$ of one attention layer together.

Setting (Appendix B.6): 500 prompts of 50 rows, 100 standard normal features and the target $x\cdot w^*$ in column 101,
$w^*\sim\mathcal N(0, I)$; the last row's target is missing and is predicted. One single-head self-attention layer, no
MLP, full-batch Adam, learning rate $4\cdot10^{-3}$, "various weight decay values".

As printed, the label is the vector $X_{:,1:100}w^*$; only the last row's entry can be meant. It is not said whether
$w^*$ is drawn for each prompt. Here it is, as "in-context" asks: with one $w^*$ for all, nothing is left to learn from
the demonstrations (a variant). Either way 49 demonstrations cannot determine 100 weights, so small training losses mean
that 500 prompts were memorised.

The paper also leaves open the decays, the number of steps (here 2000), the readout (here the last column of the last
row), the initialisation (here that of ``torch.nn.Linear``), the scale in the softmax (here $1/\sqrt d$), how a rank is
decided, and the kind of decay. The ranks here count singular values above :data:`CUT` times the largest, all spectra
are stored, other cuts are checked. Decay is coupled, as in ``torch.optim.Adam``: a variant shows that it has to be.
With coupled decay every stationary point has $W_Q^TW_Q = W_K^TW_K$, hence equal singular values; under gradient flow
with PyTorch's ``weight_decay`` $\gamma$ the difference dies as $e^{-2\gamma t}$. Adam is no gradient flow (its steps
are not even equivariant under rotations), so how close it comes is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.figures.attention_training import MATRICES, compute
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict

#: Singular values above this times the largest, or times one if that is more, count towards the rank. (One is about
#: the largest at the start; without it, noise on a matrix that has died would count as full rank.)
CUT = 1e-2

#: Other cuts at which the claim is checked. PyTorch's ``matrix_rank`` cuts at rounding, about 1e-5, where Adam's own
#: jitter (steps of 4e-3 an entry) keeps nearly every direction alive: the stored spectra show it.
OTHER_CUTS = (1e-1, 1e-3)

#: Settings that differ in a variant.
VARIANTS: dict[str, Shard] = {
    "one target vector for all prompts": {"shared": True},
    "half the initial weights": {"init": 0.5},
    "decoupled decay": {"decoupled": True},
    "one matrix, no symmetry": {"merged": True},
}

#: Variants in which the claim should hold as well; the other two are its controls.
SAME_CLAIM = ("one target vector for all prompts", "half the initial weights")


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        prompts: Number of prompts.
        rows: Rows of a prompt.
        features: Dimension of the features.
        steps: Full-batch Adam steps.
        lr: Learning rate.
        decays: PyTorch's ``weight_decay``, increasing, the first 0.
        seeds: Seeds of data and initialisation.
        init: Scale of the initial weights, in units of ``torch.nn.Linear``'s.
        records: Number of times at which spectra are recorded, after the start.
        variants: Names among :attr:`known`, run with the first seed only.
        known: Names of the variants.
    """

    known: ClassVar[tuple[str, ...]] = tuple(VARIANTS)

    prompts: int = 500
    rows: int = 50
    features: int = 100
    steps: int = 2000
    lr: float = 4e-3
    decays: tuple[float, ...] = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    init: float = 1.0
    records: int = 20
    variants: tuple[str, ...] = tuple(VARIANTS)

    def __post_init__(self) -> None:
        names = ("prompts", "rows", "features", "steps", "lr", "init", "records")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not self.seeds or self.records > self.steps:
            raise SymtheoryError(
                "positive settings, at least one seed, at most one record a step",
                f"{wrong or {'seeds': self.seeds, 'records': self.records, 'steps': self.steps}}",
                "see symtheory.figures.a9.Settings",
            )
        if len(self.decays) < 2 or self.decays[0] != 0 or list(self.decays) != sorted(set(self.decays)):
            raise SymtheoryError("at least two increasing decays from 0", f"{self.decays}", "give each once, in order")
        unknown = sorted(set(self.variants) - set(self.known))
        if unknown:
            raise SymtheoryError(
                f"variants among {sorted(self.known)}", f"{unknown}", "see symtheory.figures.a9.VARIANTS"
            )


def recorded(steps: int, records: int) -> list[int]:
    """Numbers of steps at which spectra are recorded: the start, then closer together early on, when ranks move.

    Args:
        steps: Number of steps.
        records: How many after the start; fewer if they coincide.

    Returns:
        Increasing numbers from 0 to ``steps``.

    >>> recorded(100, 4)
    [0, 6, 25, 56, 100]
    """
    return sorted({round(steps * (i / records) ** 2) for i in range(records + 1)})


def ranks(result: xr.Dataset, cut: float = CUT, name: str = "spectrum") -> xr.DataArray:
    """Ranks by a cut in units of the largest singular value, or of one if that is more.

    Args:
        result: Dataset with spectra.
        cut: Relative cut.
        name: Which spectra.

    Returns:
        Numbers of singular values above it.
    """
    values = result[name]
    return (values > cut * values.max("index").clip(min=1.0)).sum("index")


def apart(found: xr.DataArray) -> xr.DataArray:
    """Difference of the ranks of queries and keys.

    Args:
        found: From :func:`ranks`.

    Returns:
        Its absolute value, without the dim ``matrix``.
    """
    return abs(found.sel(matrix="query", drop=True) - found.sel(matrix="key", drop=True))


def mismatch(values: xr.DataArray) -> xr.DataArray:
    r"""Distance of the singular values of the two matrices, $\|\sigma_Q - \sigma_K\| / (\|\sigma_Q\| + \|\sigma_K\|)$.

    Args:
        values: Spectra with dims ``matrix`` and ``index``.

    Returns:
        Without those dims.
    """
    query, key = (values.sel(matrix=name, drop=True) for name in MATRICES)
    return _norm(query - key) / (_norm(query) + _norm(key))


def _norm(values: xr.DataArray) -> xr.DataArray:
    """Euclidean norm over the index."""
    return (values**2).sum("index") ** 0.5


def collect(config: Settings, shards: list[Shard], parts: list[xr.Dataset]) -> xr.Dataset:
    """Put the parts of a run together.

    Args:
        config: Settings.
        shards: What was run, in the order of the parts; each has its ``variant``, ``None`` for the figure itself.
        parts: From :func:`compute`.

    Returns:
        ``spectrum`` (seed, decay, step, layer, matrix, index), ``imbalance``, ``loss``; the last step of the variants,
        first seed, under ``variant_*`` with dim ``variant``.
    """
    found: dict[tuple[str | None, int], list[xr.Dataset]] = {}
    for shard, part in zip(shards, parts, strict=True):
        found.setdefault((shard["variant"], shard["seed"]), []).append(part)
    whole = {key: xr.concat(several, dim="decay", join="exact") for key, several in found.items()}
    seeds = xr.DataArray(list(config.seeds), dims="seed", name="seed")
    result = xr.concat([whole[None, seed] for seed in config.seeds], dim=seeds, join="exact")
    if config.variants:
        names = xr.DataArray(list(config.variants), dims="variant", name="variant")
        ends = [whole[name, config.seeds[0]].isel(step=-1, drop=True) for name in config.variants]
        extra = xr.concat(ends, dim=names, join="exact")
        result = result.merge(extra.rename({k: f"variant_{k}" for k in extra.data_vars}), join="exact")
    result["decay"].attrs.update(long_name="weight decay (PyTorch's weight_decay)", units="1")
    result["step"].attrs.update(long_name="Adam step", units="1")
    result["spectrum"].attrs.update(long_name="singular values", units="1")
    result["loss"].attrs.update(long_name="mean squared error, without decay", units="1")
    result.attrs.update(cut=CUT, lr=config.lr, prompts=config.prompts)
    return result


class A9(Figure):
    """Ranks of the query and key weights of one attention layer during training, at several weight decays."""

    id: ClassVar[str] = "A9"
    title: ClassVar[str] = "Weight decay lowers the ranks of query and key weights together"
    source: ClassVar[str] = "Paper A, Figure 9"
    claim: ClassVar[str] = (
        "In a single-layer transformer the ranks of the query and key weights are lower when the weight decay is "
        "stronger, and they mirror each other."
    )
    presets: ClassVar[Mapping[Preset, Any]] = {
        "smoke": Settings(
            prompts=60, rows=8, features=15, steps=500, lr=1e-2, decays=(0.0, 0.1, 1.0), seeds=(0,), records=5
        ),
        "page": Settings(steps=1500, decays=(0.0, 1e-1, 1.0), seeds=(0,), records=8, variants=("decoupled decay",)),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed and per variant, with all decays.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        common: Shard = {
            **{k: getattr(config, k) for k in ("prompts", "rows", "features", "lr", "init")},
            **{"layers": 1, "decays": list(config.decays), "record": recorded(config.steps, config.records)},
            **{"shared": False, "decoupled": False, "merged": False},
        }
        runs: list[Shard] = [{"variant": None, "seed": seed} for seed in config.seeds]
        runs += [{"variant": name, "seed": config.seeds[0], **VARIANTS[name]} for name in config.variants]
        return [{**common, **run} for run in runs]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            See :func:`collect`.
        """
        shards = self.shards(config)
        runner = InProcess() if executor is None else executor
        return collect(config, shards, runner.map(self.id, partial(compute, device=device), shards))

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers.

        Args:
            result: From :meth:`run`.

        Returns:
            Ranks fall with decay, at several cuts; ranks and singular values mirror each other; variants.
        """
        end = result.isel(step=-1)
        verdicts = [*falling(end), *mirrored(end)]
        names = set(result["variant"].values.tolist()) if "variant" in result.dims else set()
        strongest = ranks(end).isel(decay=-1).mean(["layer", "matrix"])
        if "one matrix, no symmetry" in names:
            free = ranks(end, name="variant_spectrum").sel(variant="one matrix, no symmetry").isel(decay=-1)
            verdicts.append(
                Verdict(
                    "rank at the strongest decay, over dimension (control: one matrix in place of both)",
                    float(strongest.max()) / result.sizes["index"], 0.25,
                    control=float(free.min()) / result.sizes["index"], factor=2.0,
                )
            )  # fmt: skip
        if "decoupled decay" in names:
            other = mismatch(end["variant_spectrum"].sel(variant="decoupled decay")).isel(decay=-1)
            verdicts.append(
                Verdict(
                    "singular values of queries and keys differ, strongest decay (control: decoupled decay)",
                    float(mismatch(end["spectrum"]).isel(decay=-1).max()), 0.01, control=float(other.min()), factor=3.0,
                )
            )  # fmt: skip
        for name in SAME_CLAIM:
            if name in names:
                part = end.sel(variant=name)
                verdicts.extend(falling(part, (CUT,), "variant_spectrum", f"{name}: "))
        return verdicts


def falling(
    end: xr.Dataset, cuts: tuple[float, ...] = (CUT, *OTHER_CUTS), name: str = "spectrum", label: str = ""
) -> list[Verdict]:
    """Verdicts on ranks that fall with decay, at the last step.

    Args:
        end: Last step of a result.
        cuts: Relative cuts; one verdict each.
        name: Which spectra.
        label: Put before each statement.

    Returns:
        The largest rise of a rank between neighbouring decays, over dimension; the control is the largest fall.
    """
    verdicts, tolerance = [], 0.05 + 1 / end.sizes["index"]
    for cut in cuts:
        change = ranks(end, cut, name).diff("decay") / end.sizes["index"]
        verdicts.append(
            Verdict(
                f"{label}largest rise of a rank with decay, over dimension, cut {cut:g}",
                float(change.max().clip(min=0)), tolerance, control=float((-change).max()), factor=3.0,
            )
        )  # fmt: skip
    return verdicts


def mirrored(end: xr.Dataset, label: str = "") -> list[Verdict]:
    """Verdicts on ranks of queries and keys that agree within a layer.

    Args:
        end: Last step of a result.
        label: Put before each statement.

    Returns:
        The largest difference, at every cut; the control takes the keys of the decay before.
    """
    verdicts, dim = [], end.sizes["index"]
    for cut in (CUT, *OTHER_CUTS):
        found = ranks(end, cut)
        shifted = abs(found.sel(matrix="query", drop=True) - found.sel(matrix="key", drop=True).shift(decay=1))
        verdicts.append(
            Verdict(
                f"{label}ranks of queries and keys differ, over dimension, cut {cut:g} (control: another decay's keys)",
                float(apart(found).max()) / dim, 0.1, control=float(shifted.max()) / dim, factor=2.0,
            )
        )  # fmt: skip
    return verdicts
