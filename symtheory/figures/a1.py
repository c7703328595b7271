r"""Figure A1 (paper A, Figure 1): a simple mirror in the plane, measured on a loss that has it.

The paper's figure is a sketch. Here the loss is that of a network of two hidden units,
$f(x) = \tanh(w_1x) + \tanh(w_2x)$, fitted to a teacher of the same form: exchanging the units leaves it alone, so the
line $w_1 = w_2$ is a mirror with normal $(1,-1)/\sqrt2$, and it has two minima, mirror images of each other.
The *broken* variant weighs the second unit differently; everything measured must fail on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import vmap

from symtheory.engine.model import Loss
from symtheory.engine.operators import gradient
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.families import exchange
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params, Shapes, flatten
from symtheory.spec.verdict import Verdict

SHAPES: Shapes = {"w1": (), "w2": ()}
AXES = tuple(SHAPES)
POINTS = ("A", "B", "C")
VARIANTS = ("symmetric", "broken")
PROJECTIONS = ("orthogonal", "stretched")


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        point: The point A, off the mirror.
        teacher: Weights of the two units of the teacher.
        samples: Number of inputs, spaced evenly.
        reach: Largest input.
        low: Smallest weight drawn, on both axes.
        high: Largest weight drawn, on both axes.
        grid: Grid points on each axis.
        mirror_points: Points on the mirror where gradients are taken.
        imbalance: Weight of the second unit in the broken variant; 1 would not break anything.
        stretch: Factor on the projection in the control of the norms; 1 would not stretch.
    """

    point: tuple[float, float] = (2.35, 0.85)
    teacher: tuple[float, float] = (1.9, 0.25)
    samples: int = 16
    reach: float = 2.0
    low: float = -0.75
    high: float = 3.0
    grid: int = 201
    mirror_points: int = 9
    imbalance: float = 1.4
    stretch: float = 1.25

    def __post_init__(self) -> None:
        numbers = (*self.point, *self.teacher, self.reach, self.low, self.high, self.imbalance, self.stretch)
        counts = {k: getattr(self, k) for k in ("samples", "grid", "mirror_points")}
        if any(n < 2 for n in counts.values()):
            raise SymtheoryError("at least 2 samples, grid points and mirror points", f"{counts}", "raise them")
        if not all(isfinite(v) for v in numbers) or self.reach <= 0 or self.low >= self.high:
            raise SymtheoryError("finite settings, reach > 0 and low < high", f"{numbers}", "see figures.a1.Settings")
        if len(self.point) != len(AXES) or len(self.teacher) != len(AXES):
            raise SymtheoryError("two coordinates", f"{self.point}, {self.teacher}", "give (w1, w2)")
        if self.point[0] == self.point[1] or self.point[0] == -self.point[1]:
            raise SymtheoryError("a point A off the mirror with C off the origin", f"{self.point}", "move it")
        if self.imbalance == 1 or self.stretch == 1:
            raise SymtheoryError(
                "imbalance and stretch other than 1",
                f"{self.imbalance}, {self.stretch}",
                "controls must break something",
            )


def two_units(weight: float) -> Loss:
    r"""Mean of $(\tanh(w_1x) + c\tanh(w_2x) - y)^2$.

    Args:
        weight: $c$; the exchange of $w_1$ and $w_2$ is a symmetry at $c = 1$ only.

    Returns:
        The loss, on batches ``(x, y)``.
    """

    def loss(params: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return ((torch.tanh(params["w1"] * x) + weight * torch.tanh(params["w2"] * x) - y) ** 2).mean()

    return loss


@dataclass(frozen=True, eq=False)
class Stretched(Mirror):
    """A mirror's projection times a factor: no projection any more. For controls.

    Attributes:
        mirror: The mirror.
        factor: The factor.
    """

    mirror: Mirror
    factor: float

    @property
    def shapes(self) -> Shapes:  # type: ignore[override]
        """Shapes of the touched tensors."""
        return self.mirror.shapes

    @property
    def rank(self) -> int:
        """That of the mirror."""
        return self.mirror.rank

    def _project(self, params: Params) -> Params:
        return {k: self.factor * v for k, v in self.mirror.project(params).items()}


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Landscape, points and gradients.

    Args:
        shard: The fields of :class:`Settings`.
        device: Where to compute.

    Returns:
        See :meth:`A1.run`.
    """

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=device)

    mirror = exchange(SHAPES, ["w1"], ["w2"])
    x = tensor(np.linspace(-shard["reach"], shard["reach"], shard["samples"]))
    y = torch.tanh(shard["teacher"][0] * x) + torch.tanh(shard["teacher"][1] * x)
    losses = (two_units(1.0), two_units(shard["imbalance"]))

    axis = np.linspace(shard["low"], shard["high"], shard["grid"])
    rows, columns = torch.meshgrid(tensor(axis), tensor(axis), indexing="ij")
    planes = [_on_points(loss, columns.reshape(-1), rows.reshape(-1), (x, y)) for loss in losses]

    a: Params = dict(zip(AXES, tensor(shard["point"]), strict=True))
    points = {"A": a, "B": mirror.reflect(a), "C": mirror.symmetrize(a)}
    kinds: list[Mirror] = [mirror, Stretched(mirror, shard["stretch"])]

    along = np.linspace(shard["low"], shard["high"], shard["mirror_points"])
    on_mirror: list[Params] = [{"w1": t, "w2": t} for t in tensor(along)]
    full = [[gradient(loss, p, (x, y)) for p in on_mirror] for loss in losses]
    single = [
        [[gradient(loss, p, (x[i : i + 1], y[i : i + 1])) for i in range(len(x))] for p in on_mirror] for loss in losses
    ]

    data = {
        "loss": (("variant", "w2", "w1"), _array(torch.stack(planes).reshape(len(losses), *rows.shape))),
        "position": (("point", "axis"), _rows(points.values())),
        "point_loss": (("variant", "point"), [[float(f(p, (x, y))) for p in points.values()] for f in losses]),
        "projected": (("projection", "axis"), _rows(kind.symmetrize(a) for kind in kinds)),
        "distance": (("projection",), [kind.distance(a) for kind in kinds]),
        "mirror_position": (("place", "axis"), _rows(on_mirror)),
        "gradient": (("variant", "place", "axis"), np.stack([_rows(gs) for gs in full])),
        "sample_gradient": (
            ("variant", "place", "sample", "axis"),
            np.stack([[_rows(gs) for gs in places] for places in single]),
        ),
        "gradient_across": (("variant", "place"), [[mirror.distance(g) for g in gs] for gs in full]),
        "sample_gradient_across": (
            ("variant", "place", "sample"),
            [[[mirror.distance(g) for g in gs] for gs in places] for places in single],
        ),
    }
    coords = {
        "w1": axis,
        "w2": axis,
        "axis": list(AXES),
        "point": list(POINTS),
        "variant": list(VARIANTS),
        "projection": list(PROJECTIONS),
        "sample": _array(x),
    }
    return xr.Dataset(data, coords=coords)


class A1(Figure):
    """A mirror in the plane: equal losses, a smaller norm on it, no gradient across it."""

    id: ClassVar[str] = "A1"
    title: ClassVar[str] = "A simple mirror in the plane"
    source: ClassVar[str] = "Paper A, Figure 1"
    claim: ClassVar[str] = (
        "A point and its mirror image have the same loss; their projection onto the mirror has a smaller norm, so "
        "weight decay prefers it; and on the mirror every gradient, also of a single sample, points along it."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(grid=31, mirror_points=3, samples=4),
        "page": Settings(),
        "paper": Settings(grid=161, samples=64),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard: it takes less than a second.

        Args:
            config: Settings.

        Returns:
            Settings of the shard.
        """
        return [config.to_json()]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Evaluate the loss and its gradients.

        Args:
            config: Settings.
            device: Where to compute.
            executor: Maps over the shards.

        Returns:
            ``loss`` (variant, w2, w1); ``position`` (point, axis) and ``point_loss`` (variant, point) of A, B, C;
            ``projected`` (projection, axis) and ``distance`` (projection) of A; ``gradient`` and ``sample_gradient`` at
            ``mirror_position`` (place, axis), and the lengths of their components across the mirror.
        """
        runner = InProcess() if executor is None else executor
        (result,) = runner.map(self.id, partial(compute, device=device), self.shards(config))
        for name in (*result.data_vars, *AXES, "sample"):
            result[name].attrs["units"] = "1"
        result["loss"].attrs["long_name"] = "mean squared error"
        result["gradient_across"].attrs["long_name"] = "length of the gradient's component across the mirror"
        result.attrs.update(teacher=list(config.teacher), imbalance=config.imbalance, stretch=config.stretch)
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The caption as numbers.

        Args:
            result: From :meth:`run`.

        Returns:
            Equal losses, a smaller norm, Pythagoras, and gradients along the mirror.
        """
        unequal = {v: _unequal(result.sel(variant=v)) for v in VARIANTS}
        norms = (result["position"] ** 2).sum("axis") ** 0.5
        a, b, c = (float(norms.sel(point=p)) for p in POINTS)
        pythagoras = {k: _pythagoras(result.sel(projection=k)) for k in PROJECTIONS}
        across = {v: _across(result.sel(variant=v), "gradient") for v in VARIANTS}
        noise = {v: _across(result.sel(variant=v), "sample_gradient") for v in VARIANTS}
        return [
            Verdict(
                "A and its mirror image B: relative difference of the losses",
                unequal["symmetric"], 1e-12, control=unequal["broken"],
            ),
            Verdict(
                "the projection C has a smaller norm than A: |C| / |A| (control: |B| / |A|)",
                c / a, 1 - 1e-6, control=b / a, factor=1.0,
            ),
            Verdict(
                "the drop of the squared norm from A to C is |PA|^2: relative error",
                pythagoras["orthogonal"], 1e-12, control=pythagoras["stretched"],
            ),
            Verdict(
                "gradients on the mirror: largest share across it",
                across["symmetric"], 1e-12, control=across["broken"],
            ),
            Verdict(
                "gradients of single samples on the mirror: largest share across it",
                noise["symmetric"], 1e-12, control=noise["broken"],
            ),
        ]  # fmt: skip


def _array(t: Tensor) -> np.ndarray:
    return t.detach().cpu().numpy()


def _rows(points: Any) -> np.ndarray:
    """Points as rows of coordinates."""
    return np.stack([_array(flatten(p)) for p in points])


def _on_points(loss: Loss, w1: Tensor, w2: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    return vmap(lambda a, b: loss({"w1": a, "w2": b}, batch))(w1, w2)


def _unequal(result: xr.Dataset) -> float:
    at_a, at_b = (float(result["point_loss"].sel(point=p)) for p in ("A", "B"))
    return abs(at_a - at_b) / max(abs(at_a), abs(at_b))


def _pythagoras(result: xr.Dataset) -> float:
    """How far the drop of the squared norm is from the squared length removed, relative to the latter."""
    before = float((result["position"].sel(point="A") ** 2).sum())
    drop, removed = before - float((result["projected"] ** 2).sum()), float(result["distance"]) ** 2
    return abs(drop - removed) / removed


def _across(result: xr.Dataset, name: str) -> float:
    """Largest component across the mirror, in units of the largest gradient."""
    size = float(np.sqrt((result[name] ** 2).sum("axis")).max())
    return float(result[f"{name}_across"].max()) / size
