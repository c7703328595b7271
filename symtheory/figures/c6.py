r"""Figure C6 (paper C, abstract and Figure 1b): relaxing the constraint frees a trapped block, or does not.

Setting (see :mod:`symtheory.figures.s3_block`): the constrained model sits in the minimum on the far side of the hidden
fixed-point subspace. Its weights are then freed, wholly or so far that a subgroup still ties them, noise of standard
deviation $10^{-3}$ is added, and gradient descent goes on. The paper says that this *sometimes* helps and that the
network then carries another representation of the group; when, it leaves open.

Predicted before any relaxation, from the Hessian at the trap. The loss is invariant under $S_3$, so the trap stays
critical and its Hessian splits into blocks, one an irreducible representation. The trivial block has no negative
eigenvalue: the trap is a minimum of the constrained problem. Weights tied by a subgroup $U$ see the part of each block
that $U$ fixes. *Relaxing to $U$ frees the network if and only if the Hessian has a negative eigenvalue on that part.*
Only then is the rate measured.

After an escape the hidden representation is recovered from the weights alone
(:func:`symtheory.equivariant.recover_representation`) and compared with the one the network was built with. Controls:
noise within the constraint, and free training from random weights, which has no reason to prefer a labelling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, get_args

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine.statistics import clopper_pearson
from symtheory.equivariant.recovery import Relation, recover_representation
from symtheory.errors import SymtheoryError
from symtheory.figures import s3_block
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict

#: Loss over that of the zero function below which the teacher is found.
FOUND = 1e-6
#: A run has escaped when its loss is below this part of the trap's.
ESCAPED = 0.5
#: An eigenvalue counts as negative below this: rounding leaves 1e-15 where rescaling leaves none.
NEGATIVE = -1e-6
#: How the weights are trained on: tied by a subgroup from the trap on, or free from random weights.
TRAININGS = ("1", "C3", "S2", "S3", "scratch")
RELATIONS: tuple[Relation, ...] = get_args(Relation)


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        degrees: Angles of the teacher, not 90: there the far minimum is the teacher itself.
        seeds: Number of noises for every angle and training.
        noise: Standard deviation of the noise on each weight.
        spread: Standard deviation of each weight in training from scratch.
        lr: Learning rate.
        steps: Most steps after relaxing.
        scratch_steps: Most steps from random weights.
        confidence: Of the intervals of the rates.
        per_shard: Angles of one shard.
    """

    degrees: tuple[float, ...] = (
        10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 74.0, 75.5, 78.0, 80.0, 85.0,
        95.0, 100.0, 102.0, 104.5, 110.0, 120.0, 135.0, 150.0, 165.0,
    )  # fmt: skip
    seeds: int = 60
    noise: float = 1e-3
    spread: float = 0.5
    lr: float = 0.2
    steps: int = 30_000
    scratch_steps: int = 4000
    confidence: float = 0.95
    per_shard: int = 7

    def __post_init__(self) -> None:
        names = ("seeds", "noise", "spread", "lr", "steps", "scratch_steps", "per_shard")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        bad = [d for d in self.degrees if not 0 < d < 180 or d == 90]
        if wrong or bad or not self.degrees or not 0 < self.confidence < 1:
            raise SymtheoryError(
                "positive settings, a confidence below 1, and angles between 0 and 180 degrees that are not 90",
                f"{wrong or bad or {'degrees': self.degrees, 'confidence': self.confidence}}",
                "see symtheory.figures.c6.Settings",
            )


def spectrum_at(psi: Tensor, points: Tensor) -> dict[str, Tensor]:
    """Eigenvalues of the Hessian in each isotypic block.

    Args:
        psi: Angles in radians, shape ``(C,)``.
        points: Critical points that the group fixes, shape ``(C, 12)``.

    Returns:
        Name of the irreducible representation to shape ``(C, r)``.
    """
    hessian = s3_block.teacher(psi).hessian(*s3_block.split(points))
    return {k: torch.linalg.eigvalsh(b.T @ hessian @ b) for k, b in s3_block.irreducible_blocks().items()}


def critical_angle(low: float, high: float, count: int = 9, rounds: int = 2) -> float:
    """Where the least eigenvalue of the sign block changes its sign.

    Args:
        low: Degrees at which it is negative.
        high: Degrees at which it is positive.
        count: Angles tried at once.
        rounds: Refinements.

    Returns:
        Degrees, interpolated in an interval of length ``(high - low) / (count - 1)**rounds``.

    Raises:
        SymtheoryError: If the sign does not change between the two.
    """
    below = above = 0.0
    for _ in range(rounds):
        degrees = torch.linspace(low, high, count, dtype=torch.float64)
        psi = degrees.deg2rad()
        values = spectrum_at(psi, s3_block.trap(psi))["sign"][:, 0]
        if not (values[0] < 0 < values[-1]):
            raise SymtheoryError("a change of sign", f"{values[0]:.2g} to {values[-1]:.2g}", "widen the interval")
        k = int((values < 0).sum())
        low, high = float(degrees[k - 1]), float(degrees[k])
        below, above = float(values[k - 1]), float(values[k])
    return low - below * (high - low) / (above - below)


def starts(points: Tensor, training: str, noise: float, spread: float, seeds: int) -> Tensor:
    """Where a training starts: the trap with noise that the subgroup allows, or random weights.

    Args:
        points: Traps, shape ``(P, 12)``.
        training: Among ``TRAININGS``.
        noise: Standard deviation on each weight.
        spread: Standard deviation of each weight from scratch.
        seeds: Number of starts.

    Returns:
        Shape ``(P, seeds, 12)``; the random numbers are the same for every training.
    """
    drawn = [torch.randn(12, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in range(seeds)]
    normal = torch.stack(drawn)
    if training == "scratch":
        fresh = spread * torch.cat([normal[:, :9], normal[:, 9:].abs()], 1)
        return fresh.expand(len(points), -1, -1)
    return points[:, None].cpu() + noise * normal @ s3_block.projection(training)


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Predictions at the traps of some angles, then relaxations from them.

    Args:
        shard: Settings with ``degrees``.
        device: Where to train.

    Returns:
        ``trap`` and ``slope`` (psi), ``spectrum`` (psi, mode), ``curvature`` (psi, subgroup), and ``loss``, ``steps``,
        ``relation``, ``residual``, ``element`` (psi, training, seed).
    """
    degrees, seeds = shard["degrees"], shard["seeds"]
    psi = torch.tensor(degrees, dtype=torch.float64, device=device).deg2rad()
    traps = s3_block.trap(psi)
    at_home, home = psi.cpu(), traps.cpu()
    blocks = spectrum_at(at_home, home)
    curvature = torch.stack([s3_block.escape_curvature(at_home, home, k) for k in TRAININGS[:-1]], 1)
    each, shape = psi.repeat_interleave(seeds), (len(TRAININGS), len(degrees), seeds)
    losses, ends, steps = [], [], []
    for training in TRAININGS:
        begin = starts(home, training, shard["noise"], shard["spread"], seeds).reshape(-1, 12)
        free = training == "scratch"
        ended = s3_block.settle(
            each, begin, s3_block.projection("1" if free else training), shard["lr"],
            shard["scratch_steps" if free else "steps"],
        )  # fmt: skip
        losses.append(s3_block.relative_loss(each, ended.points))
        ends.append(ended.points)
        steps.append(ended.steps)
    loss = torch.stack(losses).reshape(shape).cpu()
    points = torch.stack(ends).reshape(*shape, 12).cpu()
    relation, residual, element = (np.full(shape, fill) for fill in (-1, np.nan, -1))
    for i in np.ndindex(*shape):
        if float(loss[i]) < FOUND:
            first, second = s3_block.split(points[i])
            found = recover_representation(first, second, s3_block.PI3, s3_block.TRIVIAL, activation="relu")
            relation[i] = RELATIONS.index(found.relation(s3_block.UNITS))
            residual[i], element[i] = found.residual, labelling(at_home[i[1]], first)
    dims = ("psi", "training", "seed")

    def turned(values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        return dims, np.moveaxis(values, 0, 1)

    found = xr.Dataset(
        {
            "trap": ("psi", s3_block.relative_loss(at_home, home).numpy()),
            "slope": ("psi", s3_block.gradient(at_home, home).norm(dim=-1).numpy()),
            "spectrum": (("psi", "mode"), torch.cat(list(blocks.values()), 1).numpy()),
            "curvature": (("psi", "subgroup"), curvature.numpy()),
            "loss": turned(loss.numpy()),
            "steps": turned(torch.stack(steps).reshape(shape).cpu().numpy()),
            "relation": turned(relation),
            "residual": turned(residual),
            "element": turned(element),
        },
        coords={
            "psi": degrees,
            "training": list(TRAININGS),
            "subgroup": list(TRAININGS[:-1]),
            "seed": np.arange(seeds),
            "irrep": ("mode", [k for k, v in blocks.items() for _ in range(v.shape[1])]),
        },
    )
    found["residual"].attrs["nonfinite"] = "no representation is recovered from runs that miss the teacher"
    return found


def labelling(psi: Tensor, first: Tensor) -> int:
    """Order of the permutation of the neurons that turns the teacher into a solution.

    Args:
        psi: Angle of the teacher in radians.
        first: Input weights of the solution, shape ``(3, 3)``.

    Returns:
        1, 2 or 3.
    """
    wanted, _ = s3_block.split(s3_block.teacher_point(psi))
    unit = torch.nn.functional.normalize
    gaps = [(unit(p @ wanted) - unit(first)).norm() for p in s3_block.PI3.matrices]
    return int(s3_block.GROUP.element_orders[int(torch.stack(gaps).argmin())])


class C6(Figure):
    """Escape from the trap by relaxing the constraint, predicted and measured."""

    id: ClassVar[str] = "C6"
    title: ClassVar[str] = "Relaxation frees a trapped block where a nontrivial block of the Hessian is negative"
    source: ClassVar[str] = "Paper C, abstract and Figure 1b"
    claim: ClassVar[str] = (
        "Relaxing a trapped equivariant network to an unconstrained one can sometimes solve the problem, and the "
        "weights it then finds carry a different choice of the hidden group representation."
    )
    chapter: ClassVar[str] = "hidden_subspaces"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(degrees=(45.0, 82.0), seeds=16, steps=2500, scratch_steps=3000, per_shard=2),
        "page": Settings(degrees=(30.0, 45.0, 60.0, 70.0, 82.0, 100.0, 120.0), seeds=20, steps=12_000, per_shard=8),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard for every few angles.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        common = {k: getattr(config, k) for k in ("seeds", "noise", "spread", "lr", "steps", "scratch_steps")}
        groups = [config.degrees[i : i + config.per_shard] for i in range(0, len(config.degrees), config.per_shard)]
        return [{**common, "degrees": list(group)} for group in groups]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Predict, relax, recover.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over groups of angles.

        Returns:
            See :func:`compute`; also ``escape``, ``low``, ``high`` (psi, subgroup): rates with their intervals, and
            ``predicted``.
        """
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(compute, device=device), self.shards(config))
        result = xr.concat(parts, dim="psi", join="exact", data_vars="minimal")
        result["predicted"] = result["curvature"] < NEGATIVE
        relaxed = result["loss"].sel(training=result["subgroup"].values).rename(training="subgroup")
        hits = (relaxed < ESCAPED * result["trap"]).sum("seed")
        rates = [clopper_pearson(int(k), config.seeds, config.confidence) for k in hits.values.ravel()]
        for name in ("value", "low", "high"):
            values = np.array([getattr(r, name) for r in rates]).reshape(hits.shape)
            result["escape" if name == "value" else name] = hits.dims, values
        result["psi"].attrs.update(long_name="angle of the teacher", units="degree")
        result["loss"].attrs.update(long_name="loss over that of the zero function", units="1")
        result["relation"].attrs.update(meanings=list(RELATIONS))
        result.attrs.update(noise=config.noise, confidence=config.confidence, critical=critical_angle(60.0, 88.0))
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, and the prediction.

        Args:
            result: From :meth:`run`.

        Returns:
            Escape exactly where predicted, for every subgroup; the problem is solved after it; the representation.
        """
        escape, predicted = result["escape"], result["predicted"].astype(float)
        wrong = abs(escape - predicted)
        full, fixed = escape.sel(subgroup="1"), escape.sel(subgroup="S3")
        swapped = {"C3": "S2", "S2": "C3", "1": "S3", "S3": "1"}
        exchanged = predicted.assign_coords(subgroup=[swapped[k] for k in predicted["subgroup"].values.tolist()])
        free = result["loss"].sel(training="1")
        out = free < ESCAPED * result["trap"]
        solved = (free < FOUND) & out
        named = result["relation"].sel(training="1").where(solved)
        moved = named == RELATIONS.index("conjugate")
        scratch = result["relation"].sel(training="scratch")
        usual = float((scratch == RELATIONS.index("same")).sum() / max(int((scratch >= 0).sum()), 1))
        counts = {"escaped": int(out.sum()), "runs": out.size}
        return [
            Verdict(
                "freed, the network escapes at some angles and stays at others: distance of the two extreme rates "
                "from 1 and 0 (control: noise within the constraint)",
                float(max(1 - full.max(), full.min())), 0.02,
                control=float(max(1 - fixed.max(), fixed.min())), factor=10.0,
            ),
            Verdict(
                "largest distance between the rate of escape and the prediction from the Hessian, all subgroups and "
                "angles (control: predictions for another subgroup)",
                float(wrong.max()), 0.05, control=float(abs(escape - exchanged).max()), factor=10.0,
                settings={"critical angle": round(result.attrs["critical"], 3)},
            ),
            Verdict(
                "share of escaped runs that do not find the teacher (control: of all relaxed runs)",
                1 - float(solved.sum() / max(int(out.sum()), 1)), 0.01, control=1 - float(solved.mean()), factor=5.0,
                sizes=counts,
            ),
            Verdict(
                "share of solutions that carry the representation the network was built with (control: free training "
                "from random weights)",
                float((named == RELATIONS.index("same")).sum() / max(int(solved.sum()), 1)), 0.01,
                control=usual, factor=5.0, sizes=counts,
            ),
            Verdict(
                "share of solutions whose representation is not a conjugate of it (control: the share that is)",
                1 - float(moved.sum() / max(int(solved.sum()), 1)), 0.01,
                control=float(moved.sum() / max(int(solved.sum()), 1)), factor=50.0, sizes=counts,
            ),
        ]  # fmt: skip
