r"""Figure C3 (paper C, Figure 3): a hidden fixed-point subspace cuts the constrained weights into two halves.

Setting (see :mod:`symtheory.figures.s3_block`): one block $S_3/S_2$ of ReLU neurons, trivial output, exact population
loss. The three neurons coincide on $\delta=0$, one dimension less than the constrained weights, and no symmetry of the
constrained model exchanges the two sides. The teacher lies at $\delta=\sin\psi>0$.

The paper's figure is a drawing. Here it is measured: students start at random on both sides, orthonormal coordinates
$\mathcal N(0,1/4)$ with the output weight positive, and follow gradient descent in double precision. Stored are the
height over the wall at every step, the loss at the end, and the minimum on the far side, located by Newton's method.

Prediction, before any training: no run crosses; every run on the teacher's side reaches it; every run on the other side
ends in one and the same minimum, which is spurious unless $\psi=90°$, where $\sum_jw_j=0$ and $s(z)-s(-z)=z$ make the
mirror image the same function. Control: the same starts with descent on the tied numbers $(t_1,t_2,a)$, which is
descent in another metric; the wall is no invariant set of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import ClassVar

import numpy as np
import torch
import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.figures import s3_block
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict

#: Loss over that of the zero function below which a run has found the teacher. Spurious minima lie above 1e-5.
FOUND = 1e-6
#: Loss over that of the zero function above which a block has died.
DEAD = 0.99
#: Records along a path: steps in geometric order.
TIMES = (*range(0, 20), *(round(20 * 1.12**k) for k in range(1, 34)))


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        degrees: Angles of the teacher.
        seeds: Number of starts, the same for every angle.
        spread: Standard deviation of the orthonormal coordinates at the start.
        lr: Learning rate.
        steps: Most steps.
        shown: Angle at which paths are recorded.
        paths: Number of starts whose path is recorded.
        per_shard: Angles of one shard.
    """

    degrees: tuple[float, ...] = (5.0, *(10.0 * k for k in range(1, 18)), 175.0)
    seeds: int = 200
    spread: float = 0.5
    lr: float = 0.2
    steps: int = 20_000
    shown: float = 60.0
    paths: int = 60
    per_shard: int = 4

    def __post_init__(self) -> None:
        names = ("seeds", "spread", "lr", "steps", "paths", "per_shard")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not self.degrees or not all(0 < d < 180 for d in (*self.degrees, self.shown)):
            raise SymtheoryError(
                "positive settings and angles between 0 and 180 degrees",
                f"{wrong or {'degrees': self.degrees, 'shown': self.shown}}",
                "see symtheory.figures.c3.Settings",
            )


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """All starts for some angles: constrained descent, descent on tied numbers, and the far minimum.

    Args:
        shard: Settings with ``degrees``.
        device: Where to train.

    Returns:
        ``side``, ``loss``, ``steps``, ``nearest``, ``tied_nearest`` (psi, seed) and ``spurious`` (psi).
    """
    degrees, seeds = shard["degrees"], range(shard["seeds"])
    psi = torch.tensor(degrees, dtype=torch.float64, device=device).deg2rad()
    start = s3_block.initial(seeds, shard["spread"])
    each, starts = psi.repeat_interleave(len(seeds)), start.repeat(len(degrees), 1)
    ended = s3_block.settle(each, starts, s3_block.projection("S3"), shard["lr"], shard["steps"])
    # squared lengths 3, 6, 3: divided by 3 and with half the rate the tied flow is as stable as the other
    metric = s3_block.TIED.T @ s3_block.TIED / 3
    tied = s3_block.settle(each, starts, metric, shard["lr"] / 2, min(shard["steps"], 2000))

    def table(values: torch.Tensor) -> tuple[tuple[str, str], np.ndarray]:
        return ("psi", "seed"), values.reshape(len(degrees), -1).cpu().numpy()

    return xr.Dataset(
        {
            "side": table(torch.sign(starts @ s3_block.NORMAL)),
            "loss": table(s3_block.relative_loss(each, ended.points)),
            "steps": table(ended.steps),
            "nearest": table(ended.nearest),
            "tied_nearest": table(tied.nearest),
            "spurious": ("psi", s3_block.relative_loss(psi, s3_block.trap(psi)).cpu().numpy()),
        },
        coords={"psi": degrees, "seed": list(seeds)},
    )


def paths(shard: Shard, device: str = "cpu") -> xr.Dataset:
    r"""Paths of some starts for one angle, as functions: the loss depends on $(at_1, at_2)$ only.

    Args:
        shard: Settings with one ``shown`` angle.
        device: Where to train.

    Returns:
        ``path`` and, with the other metric, ``tied_path`` (start, time, entry) in units of the teacher's output weight;
        ``far_minimum`` (entry).
    """
    psi = torch.tensor([shard["shown"]], dtype=torch.float64, device=device).deg2rad()
    start = s3_block.initial(range(shard["paths"]), shard["spread"]).to(device)
    flows = {
        "path": (s3_block.projection("S3"), shard["lr"]),
        "tied_path": (s3_block.TIED.T @ s3_block.TIED / 3, shard["lr"] / 2),
    }
    found = xr.Dataset(coords={"time": list(TIMES), "entry": ["diagonal", "other"]})
    found["far_minimum"] = "entry", _products(s3_block.trap(psi))[0].cpu().numpy()
    for name, (along, lr) in flows.items():
        points, records = start, []
        for t in range(max(TIMES) + 1):
            if t in TIMES:
                records.append(_products(points))
            points = points - lr * s3_block.gradient(psi, points) @ along.to(device)
        found[name] = ("start", "time", "entry"), torch.stack(records, 1).cpu().numpy()
    return found


def _products(points: torch.Tensor) -> torch.Tensor:
    """Diagonal and other input weights times the output weight, which decide the function."""
    first, second = s3_block.split(points)
    return torch.stack([first[:, 0, 0], first[:, 0, 1]], -1) * second[:, 0, :1]


def landscape(degrees: float, low: float = -0.75, high: float = 0.95, count: int = 69) -> xr.Dataset:
    """Loss over the plane of products, where every equivariant function with positive output weights is one point.

    Args:
        degrees: Angle of the teacher.
        low: Least coordinate.
        high: Largest coordinate.
        count: Points along a side.

    Returns:
        ``surface`` (off, diagonal) relative to the zero function.
    """
    axis = torch.linspace(low, high, count, dtype=torch.float64)
    off, diagonal = torch.meshgrid(axis, axis, indexing="ij")
    mu, delta = diagonal + 2 * off, sqrt(2) * (diagonal - off)
    points = torch.stack([mu, delta, torch.full_like(mu, sqrt(3))], -1) @ s3_block.COORDINATES
    psi = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    values = s3_block.relative_loss(psi, points).numpy()
    return xr.Dataset(
        {"surface": (("off", "diagonal"), values)}, coords={"off": axis.numpy(), "diagonal": axis.numpy()}
    )


class C3(Figure):
    """Success by the side of the wall on which training starts."""

    id: ClassVar[str] = "C3"
    title: ClassVar[str] = "Gradient flow cannot cross a hidden fixed-point subspace"
    source: ClassVar[str] = "Paper C, Figure 3"
    claim: ClassVar[str] = (
        "A hidden fixed-point subspace of codimension one splits the constrained weights into two halves; gradient "
        "flows from the two halves cannot reach each other, so each half has a minimum of its own."
    )
    chapter: ClassVar[str] = "hidden_subspaces"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(degrees=(30.0, 60.0, 90.0), seeds=16, steps=3000, paths=12, per_shard=3),
        "page": Settings(degrees=(15.0, 30.0, 45.0, 60.0, 75.0, 90.0, 120.0, 150.0), seeds=60, steps=5000, per_shard=8),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard for every few angles.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        common = {k: getattr(config, k) for k in ("seeds", "spread", "lr", "steps")}
        groups = [config.degrees[i : i + config.per_shard] for i in range(0, len(config.degrees), config.per_shard)]
        return [{**common, "degrees": list(group)} for group in groups]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train from both sides.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over groups of angles.

        Returns:
            See :func:`compute`, :func:`paths`, :func:`landscape`.
        """
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(compute, device=device), self.shards(config))
        shown = {k: getattr(config, k) for k in ("shown", "paths", "spread", "lr")}
        result = xr.concat(parts, dim="psi", join="exact").merge(paths(shown, device)).merge(landscape(config.shown))
        result["psi"].attrs.update(long_name="angle of the teacher", units="degree")
        result["nearest"].attrs.update(long_name="least height over the wall on the side of the start", units="1")
        result["loss"].attrs.update(long_name="loss over that of the zero function", units="1")
        result.attrs.update(shown=config.shown, lr=config.lr, spread=config.spread)
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers.

        Args:
            result: From :meth:`run`.

        Returns:
            No crossing; success on the near side and none on the far one; one minimum beyond the wall.
        """
        alive = result["loss"] < DEAD
        near, far = (alive & (result["side"] == s) for s in (1, -1))
        same = result["spurious"] < FOUND  # the mirror image is the same function
        success = result["loss"] < FOUND
        crossed = int((result["nearest"] <= 0).sum())
        gap = abs(result["loss"] / result["spurious"].where(~same) - 1)
        counts = {"near": int(near.sum()), "far": int(far.sum()), "dead": int((~alive).sum())}
        wrong_share = float((success & far & ~same).sum() / max(int((far & ~same).sum()), 1))
        right_share = float((success & near).sum() / max(int(near.sum()), 1))
        return [
            Verdict(
                "runs that cross the wall (control: descent on the tied numbers t1, t2, a)",
                float(crossed), 0.5, control=float((result["tied_nearest"] <= 0).sum()), factor=4.0,
                sizes={"runs": result["loss"].size},
            ),
            Verdict(
                "share of runs that find the teacher from the far side (control: from its own side)",
                wrong_share, 1e-3, control=right_share, factor=100.0, sizes=counts,
            ),
            Verdict(
                "share of runs that miss the teacher from its own side (control: from the far side)",
                1 - right_share, 0.01, control=1 - wrong_share, factor=50.0, sizes=counts,
            ),
            Verdict(
                "loss at the end of runs on the far side, relative distance to that of the one minimum there "
                "(control: runs on the near side)",
                float(gap.where(far).max()), 1e-3, control=float(gap.where(near).min()), factor=100.0,
            ),
        ]  # fmt: skip
