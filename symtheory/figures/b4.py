r"""Figure B4 (paper B, Figure 4): degree of symmetry against objective, for five ways to train.

Setting (Section 6.2): minimise $f(w) = (w^Tw)^2 - w^TBw$, $d = 1000$, for $B = G+G^T$ (*unstructured*) and
$B = \operatorname{diag}(v)$ (*structured*), $G$ and $v$ standard normal; Gaussian initialisation, gradient descent with
learning rate $10^{-4}$; no method, weight decay and syre with decays from 0.1 to 10, W-fix with $\phi$ from 0.001 to
0.1, dropout with rates from 0.01 to 0.6.

The paper leaves open: the number of steps (here 50 000, two earlier marks are kept), the standard deviations of the
start (0.3; with 1 the larger dropout rates diverge), of the bias $\sigma_0$ (0.3; with it the decays sweep the range of
degrees for both $B$; others are run too) and of W-fix's held values (0.1: Section 6.1 says variance 0.01). Decays are
$\gamma$ of $\gamma\|\theta\|^2$. *Variants* repeat everything with other initialisations and a rescaled $B$.

The degree of symmetry is the number of $i$ with $|v_i^Tw| < c$, $c = 10^{-3}$ and $10^{-1}$. The paper prints it
without absolute value; that number changes with the sign of an eigenvector and counts half of all reflections as
symmetries of a random $w$. It is stored for both signs.

Beyond the paper: W-fix with any fraction up to 1; plain descent stopped early; and the lowest objective there is at
each degree, in closed form (:func:`symtheory.figures.quartic.frontier`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.figures import quartic, quartic_descent
from symtheory.figures.base import Config, Executor, Figure, InProcess, Outcome, Preset, Shard
from symtheory.figures.interpolation import EARLY, WIDE, verdicts
from symtheory.figures.quartic import METHODS, STRUCTURES, Problem
from symtheory.spec.verdict import Verdict

#: A projection below this counts as a symmetry.
CUTS = {"unstructured": 1e-3, "structured": 1e-1}

#: Edges of the histogram of projections, as decimal exponents.
EDGES = np.linspace(-7.0, 2.0, 37)


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the figure.

    Attributes:
        dim: $d$.
        steps: Gradient descent steps.
        lr: Learning rate.
        count: Values of every hyperparameter; logarithmic grids, linear for dropout.
        decays: Smallest and largest $\gamma$.
        fractions: Smallest and largest $\phi$.
        rates: Smallest and largest dropout rate.
        init: Standard deviation of $w$ at the start.
        sigma0: Standard deviation of syre's bias.
        other_sigma0: Further biases.
        held: Standard deviation of the values that W-fix holds.
        scale: Standard deviation of the entries of $G$ and $v$.
        seeds: Seeds of everything random.
        marks: Fractions of the steps at which all is recorded; the last is 1.
        variants: Further (init, scale of $G$, scale of $v$), run with the first seed and fewer values.
        variant_count: Values of every hyperparameter there.
    """

    dim: int = 1000
    steps: int = 50_000
    lr: float = 1e-4
    count: int = 20
    decays: tuple[float, float] = (0.1, 10.0)
    fractions: tuple[float, float] = (0.001, 0.1)
    rates: tuple[float, float] = (0.01, 0.6)
    init: float = 0.3
    sigma0: float = 0.3
    other_sigma0: tuple[float, ...] = (0.01 * 1000**-0.5, 0.1, 1.0)
    held: float = 0.1
    scale: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2)
    marks: tuple[float, ...] = (0.1, 0.4, 1.0)
    variants: tuple[tuple[float, float, float], ...] = ((1.0, 1.0, 1.0), (1000**-0.5, 1.0, 1.0), (0.3, 0.1, 3.0))
    variant_count: int = 8

    def __post_init__(self) -> None:
        names = ("dim", "steps", "lr", "count", "init", "sigma0", "held", "scale", "variant_count")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not self.seeds or min(self.count, self.variant_count) < 3:
            raise SymtheoryError(
                "positive settings, at least one seed and three values of every hyperparameter",
                f"{wrong or {'seeds': self.seeds, 'count': self.count, 'variant_count': self.variant_count}}",
                "see symtheory.figures.b4.Settings",
            )
        grids = {k: getattr(self, k) for k in ("decays", "fractions", "rates")}
        bad = {k: v for k, v in grids.items() if not 0 < v[0] < v[1]}
        if bad or self.rates[1] >= 1 or self.fractions[1] > 1:
            raise SymtheoryError(
                "grids with 0 < low < high, fractions up to 1 and rates below 1",
                f"{bad or grids}",
                "see symtheory.figures.b4.Settings",
            )
        if list(self.marks) != sorted(self.marks) or not self.marks or self.marks[0] <= 0 or self.marks[-1] != 1:
            raise SymtheoryError("increasing marks in (0, 1], the last 1", f"{self.marks}", "the last mark is the end")


def grids(config: Settings, count: int) -> dict[str, list[float]]:
    """Hyperparameters of the paper's methods.

    Args:
        config: Settings.
        count: How many of each.

    Returns:
        Method to values; plain descent has one.
    """

    def log(low: float, high: float) -> list[float]:
        return np.geomspace(low, high, count).tolist()

    decays = log(*config.decays)
    rates = np.linspace(*config.rates, count).tolist()
    return dict(zip(METHODS, ([0.0], decays, decays, log(*config.fractions), rates), strict=True))


def curves(config: Settings) -> list[str]:
    """Names of the curves.

    Args:
        config: Settings.

    Returns:
        The paper's five and those beyond.
    """
    return [*METHODS, *(_syre_name(s) for s in config.other_sigma0), WIDE, EARLY]


def _syre_name(sigma0: float) -> str:
    return f"syre, sigma_0 = {sigma0:.2g}"


def stops(steps: int, count: int) -> list[int]:
    """Steps at which plain descent is stopped: the start, then evenly on a logarithmic axis.

    Args:
        steps: The last.
        count: How many at most.

    Returns:
        Increasing steps.
    """
    return [0, *sorted(set(np.geomspace(1, steps, count - 1).round().astype(int).tolist()))]


def measure(p: Problem, w: Tensor, cut: float) -> dict[str, np.ndarray]:
    """What is recorded of weights.

    Args:
        p: The problem.
        w: Shape (C, d), float64.
        cut: $c$.

    Returns:
        ``objective``, ``degree``, ``printed``, ``printed_flipped``, ``diverged`` of shape (C,), ``histogram`` of shape
        (C, bins) of the decimal logarithm of the projections' sizes, the ends open. Diverged rows are 0.
    """
    v = p.project(w)
    objective = p.objective(w)
    lost = ~torch.isfinite(objective) | ~torch.isfinite(v).all(-1)
    counts = {"degree": v.abs() < cut, "printed": v < cut, "printed_flipped": -v < cut}
    result = {k: (c.sum(-1) * ~lost).numpy().astype(np.int16) for k, c in counts.items()}
    logs = v.abs().clamp_min(1e-30).log10().nan_to_num(99).clamp(EDGES[0] + 1e-9, EDGES[-1] - 1e-9).numpy()
    histogram = np.stack([np.histogram(row, EDGES)[0] for row in logs]).astype(np.int16)
    return {
        **result,
        "objective": objective.where(~lost, torch.zeros_like(objective)).numpy(),
        "diverged": lost.numpy().astype(np.int8),
        "histogram": histogram,
    }


def trained(
    shard: Shard, p: Problem, device: str = "cpu"
) -> Iterator[tuple[str, list[float], quartic_descent.Trained]]:
    """The configurations of a shard, before training.

    Args:
        shard: See :meth:`B4.shards`.
        p: Its problem.
        device: Where to train.

    Yields:
        Curve, hyperparameters and configurations.
    """
    start, nothing = shard["init"] * p.start, torch.zeros_like(p.start)
    blocks: dict[tuple[float, ...], list[quartic_descent.FreeBlock]] = {}
    for name, kind, values, spread in shard["curves"]:
        settings = torch.tensor(values if name != EARLY else [0.0], dtype=torch.float64)
        if kind == "pull":
            bias = (spread * p.bias if spread else nothing).expand(len(settings), -1)
            yield name, values, quartic_descent.pull(p, settings, start, bias, device)
        elif kind == "fix":
            own = blocks.setdefault(tuple(values), quartic_descent.free_blocks(p, settings))
            yield name, values, quartic_descent.fix(p, settings, start, spread, device, own)
        else:
            yield name, values, quartic_descent.drop(p, settings, start, device)


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Train and measure the curves of a shard.

    Args:
        shard: See :meth:`B4.shards`.
        device: Where to train.

    Returns:
        Measures (curve, hyper, mark), ``setting`` (curve, hyper); ``histogram`` (curve, hyper, bin) at the end.
    """
    p = quartic.problem(shard["structure"], shard["dim"], shard["seed"], shard["scale"])
    cut, steps = CUTS[shard["structure"]], shard["steps"]
    marks = [round(m * steps) for m in shard["marks"]]
    parts: list[list[dict[str, np.ndarray]]] = []
    settings = []
    for name, values, run in trained(shard, p, device):
        if name == EARLY:
            ends = [int(v) for v in values]
            seen = [measure(p, run.weights(), cut) for _ in _advance(run, shard["lr"], ends)]
            row = {k: np.concatenate([s[k] for s in seen]) for k in seen[0]}
            parts.append([row] * len(marks))
        else:
            parts.append([measure(p, run.weights(), cut) for _ in _advance(run, shard["lr"], marks)])
        settings.append(values)
    count = max(len(v) for v in settings)

    def fill(a: np.ndarray) -> np.ndarray:
        """One value, or a last one that ends a shorter grid, stands for the rest of its row."""
        return np.concatenate([a, np.repeat(a[-1:], count - len(a), axis=0)])

    names = [k for k in parts[0][0] if k != "histogram"]
    data = {k: np.stack([np.stack([fill(m[k]) for m in row], axis=-1) for row in parts]) for k in names}
    histogram = np.stack([fill(row[-1]["histogram"]) for row in parts])
    return xr.Dataset(
        {k: (("curve", "hyper", "mark"), v) for k, v in data.items()}
        | {
            "histogram": (("curve", "hyper", "bin"), histogram),
            "setting": (("curve", "hyper"), np.stack([fill(np.array(v, dtype=float)) for v in settings])),
            "optimum": p.optimum,
            "frontier": ("kept", quartic.frontier(p.values, cut)[1].numpy()),
        },
        coords={
            "kept": quartic.frontier(p.values, cut)[0].numpy(),
            "curve": [c[0] for c in shard["curves"]],
            "mark": marks,
        },
    )


def _advance(run: quartic_descent.Trained, lr: float, ends: list[int]) -> Iterator[int]:
    done = 0
    for end in ends:
        run.advance(lr, end - done)
        done = end
        yield end


class B4(Figure):
    """Degree of symmetry against objective."""

    id: ClassVar[str] = "B4"
    title: ClassVar[str] = "Removing the symmetries of a quartic objective, five ways"
    source: ClassVar[str] = "Paper B, Figure 4"
    claim: ClassVar[str] = (
        "Whether the symmetries have an unstructured or a structured spectrum, syre is the only one of five methods "
        "that interpolates smoothly between optimised solutions and solutions of low symmetry."
    )
    chapter: ClassVar[str] = "syre_bounds"
    expected: ClassVar[Outcome] = "partly"
    finding: ClassVar[str] = (
        "syre does interpolate, and of the five it has the lowest degree of symmetry at every objective, to within two "
        "in a hundred reflections, though far from the lowest possible; but it is not the only one: for the "
        "unstructured matrix dropout and W-fix do too, at higher objectives, and for the structured one W-fix beyond "
        "the paper's fractions and plain descent stopped early trace syre's curve."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(dim=100, steps=2000, lr=1e-3, count=8, seeds=(0,), other_sigma0=(0.003,), variants=()),
        "page": Settings(steps=20_000, count=10, seeds=(0,), variants=()),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """Shards by structure, seed and kind of curve, dropout first: it takes longest; then the variants.

        Args:
            config: Settings.

        Returns:
            Settings of the shards; a curve is (name, kind, hyperparameters, standard deviation of its constants).
        """
        common = {k: getattr(config, k) for k in ("dim", "steps", "lr")} | {"marks": list(config.marks)}
        kinds = _curves(config, config.count)
        return [
            {"structure": s, "seed": seed, "init": config.init, "scale": config.scale, "curves": own, **common}
            for own in kinds
            for s in STRUCTURES
            for seed in config.seeds
        ] + [
            {
                "structure": s,
                "seed": config.seeds[0],
                "init": init,
                "scale": config.scale * scale,
                "curves": [c for own in _curves(config, config.variant_count) for c in own if c[0] in METHODS],
                **common,
            }
            for init, *scales in config.variants
            for s, scale in zip(STRUCTURES, scales, strict=True)
        ]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            ``objective``, ``degree``, ``printed``, ``printed_flipped``, ``diverged`` (structure, curve, hyper, seed,
            mark), ``histogram`` (..., bin), ``setting`` (curve, hyper), ``optimum`` (structure, seed), ``frontier``
            (structure, seed, kept), and the variants' measures at the end under ``variant_*`` (variant, structure,
            curve, hyper).
        """
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(compute, device=device), self.shards(config))
        structures, seeds = (
            xr.DataArray(list(v), dims=k, name=k) for k, v in (("structure", STRUCTURES), ("seed", config.seeds))
        )
        size, kinds = len(config.seeds), []
        for begin in range(0, 3 * len(STRUCTURES) * size, len(STRUCTURES) * size):
            own = [xr.concat(parts[i : i + size], seeds, data_vars="all", join="exact") for i in (begin, begin + size)]
            kinds.append(xr.concat(own, structures, data_vars="all", join="exact"))
        alone = ["optimum", "frontier"]
        result = xr.concat([k.drop_vars(alone) for k in kinds], "curve", data_vars="all", join="exact")
        result = result.sel(curve=curves(config)).merge(kinds[0][alone])
        result["setting"] = result["setting"].isel(structure=0, seed=0, drop=True)
        if config.variants:
            rest = parts[3 * len(STRUCTURES) * size :]
            names = [f"start {i:.2g}, B times {a:g} / {b:g}" for i, a, b in config.variants]
            pairs = [xr.concat(rest[i : i + 2], structures, join="exact") for i in range(0, len(rest), 2)]
            other = xr.concat(pairs, xr.DataArray(names, dims="variant", name="variant"), join="exact")
            other = other.isel(mark=-1, drop=True).drop_vars(["setting", "frontier", "kept"])
            other = other.rename({"hyper": "variant_hyper", "curve": "method"})
            result = result.merge(other.rename({k: f"variant_{k}" for k in other.data_vars}), join="exact")
        result["objective"].attrs.update(long_name="objective f(w)", units="1")
        result["degree"].attrs.update(long_name="degree of symmetry", units="reflections")
        result["mark"].attrs["units"] = "steps"
        result.attrs.update({k: getattr(config, k) for k in ("dim", "steps", "lr", "init", "sigma0", "held")})
        return result.assign_coords(edge=EDGES)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, for each structure.

        Args:
            result: From :meth:`run`.

        Returns:
            syre is smooth and monotone, gets near the optimum and visits the range of degrees; no other method visits
            as much of it; none has a lower degree at the same objective; both again for baselines beyond the paper's;
            the printed degree counts what it should; the runs are long enough; the variants.
        """
        return verdicts(result)


def _curves(config: Settings, count: int) -> list[list[tuple[str, str, list[float], float]]]:
    """Curves by kind, each with hyperparameters and the standard deviation of its constants: dropout, fix, pull."""
    grid = grids(config, count)
    wide = np.geomspace(config.fractions[0], 1.0, count).tolist()
    pulled = {"standard": 0.0, "weight decay": 0.0, "syre": config.sigma0}
    others = [(_syre_name(s), "pull", grid["syre"], s) for s in config.other_sigma0]
    early = [float(v) for v in stops(config.steps, count)]
    return [
        [("dropout", "drop", grid["dropout"], 0.0)],
        [("W-fix", "fix", grid["W-fix"], config.held), (WIDE, "fix", wide, config.held)],
        [*((k, "pull", grid[k], v) for k, v in pulled.items()), *others, (EARLY, "pull", early, 0.0)],
    ]
