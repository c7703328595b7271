r"""Figure A5 (paper A, Figure 5): stationary conditions, and that SGD does not leave them.

Two landscapes: $\ell = (wu - y)^2$, whose rescaling symmetry makes $u = w$ and $u = -w$ stationary, and
$\ell = -y\|\theta\|^2 + \|\theta\|^4$, whose rotations make every line through the origin so. The paper draws the
landscapes at $y = 1$. Gradient descent runs there; SGD draws a fresh target $y_t = 1 + \sigma\epsilon_t$ at every step,
noise that has the symmetry too. The *broken* variant adds a term linear in $w$.
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

from symtheory.engine.descent import trajectory
from symtheory.engine.model import Loss
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.families import from_basis
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params, Shapes
from symtheory.spec.verdict import Verdict

SHAPES: Shapes = {"u": (), "w": ()}
AXES = tuple(SHAPES)
LANDSCAPES = ("product", "ring")
MODES = ("gradient descent", "SGD")
VARIANTS = ("symmetric", "broken")

#: A start: angle of its line in degrees, place along the line, place beside it.
Start = tuple[float, float, float]


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        product: Starts in the landscape of the product; lines at 45 and -45 degrees.
        ring: Starts in the ring-shaped landscape; lines at any angle.
        steps: Steps of each trajectory.
        lr: Learning rate.
        noise: Standard deviation of the targets of SGD around 1.
        tilt: Slope of the linear term in the broken variant; 0 would not break anything.
        extent: Half-width of the square drawn.
        grid: Grid points on each axis.
        seed: Seed of the targets.
    """

    product: tuple[Start, ...] = (
        (45.0, 0.3, 0.0), (45.0, -2.0, 0.0), (-45.0, 2.0, 0.0), (-45.0, -1.5, 0.0),
        (45.0, 0.45, 0.5), (-45.0, 1.9, 0.12), (-45.0, -1.9, -0.12),
    )  # fmt: skip
    ring: tuple[Start, ...] = (
        (20.0, 0.1, 0.0), (65.0, 1.1, 0.0), (110.0, 0.1, 0.0), (155.0, 1.1, 0.0),
        (20.0, -1.1, 0.15), (65.0, -0.15, 0.1), (110.0, -1.05, 0.15),
    )  # fmt: skip
    steps: int = 400
    lr: float = 0.02
    noise: float = 0.5
    tilt: float = 0.3
    extent: float = 1.6
    grid: int = 161
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {k: getattr(self, k) for k in ("steps", "lr", "noise", "tilt", "extent")}
        wrong = {k: v for k, v in positive.items() if not (isfinite(v) and v > 0)}
        if wrong or self.grid < 2:
            raise SymtheoryError(
                "positive settings and a grid of at least 2",
                f"{wrong or self.grid}",
                "see symtheory.figures.a5.Settings",
            )
        for name in LANDSCAPES:
            starts = getattr(self, name)
            beside = [start for start in starts if start[2]]
            if not beside or len(beside) == len(starts):
                raise SymtheoryError(
                    f"starts of {name!r} on a line and beside one", f"{starts}", "give at least one each"
                )
        if any(abs(angle) != 45 for angle, *_ in self.product):
            raise SymtheoryError(
                "lines at 45 and -45 degrees for the product", f"{self.product}", "these are u = w, u = -w"
            )
        if len(self.product) != len(self.ring):
            raise SymtheoryError("as many starts in both", f"{len(self.product)}, {len(self.ring)}", "match them")


def landscape(name: str, tilt: float) -> Loss:
    r"""Sum over points of $(wu - y)^2$ or of $-y\|\theta\|^2 + \|\theta\|^4$, plus a tilt.

    Args:
        name: ``product`` or ``ring``.
        tilt: Slope $b$ of the term $bw$.

    Returns:
        The loss; on ``u``, ``w`` of equal shape and a batch ``y``. A sum, so that each point descends by itself.
    """

    def points(params: Params, y: Tensor) -> Tensor:
        u, w = params["u"], params["w"]
        square = u * u + w * w
        kept = (w * u - y) ** 2 if name == "product" else square * square - y * square
        return kept + tilt * w

    return lambda params, y: points(params, y).sum()


def direction(angle: float) -> tuple[float, float]:
    """Unit vector at an angle, rounded so that at 45 degrees both coordinates are the same number.

    Args:
        angle: In degrees.

    Returns:
        Coordinates ``(u, w)``.

    >>> direction(45.0) == (0.5**0.5, 0.5**0.5), direction(-45.0)[0] == -direction(-45.0)[1]
    (True, True)
    """
    # the saddle at the origin repels from u = -w, so that a rounding error in the start would grow
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    if abs(abs(c) - abs(s)) < 1e-12:
        c, s = np.copysign(0.5**0.5, c), np.copysign(0.5**0.5, s)
    return float(c), float(s)


def line(angle: float) -> Mirror:
    """The line through the origin at an angle, as a mirror.

    Args:
        angle: In degrees.

    Returns:
        The mirror, whose normal is the direction turned by a right angle.
    """
    c, s = direction(angle)
    return from_basis(torch.tensor([-s, c], dtype=torch.float64), SHAPES)


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """One landscape with all its trajectories.

    Args:
        shard: The landscape's ``name`` and ``starts``, and the other fields of :class:`Settings`.
        device: Where to compute.

    Returns:
        ``loss`` (w, u), ``path`` (variant, mode, start, step, axis), ``distance`` (variant, mode, start, step), and
        ``angle`` and ``beside`` (start).
    """

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=device)

    name, starts, steps = shard["name"], shard["starts"], shard["steps"]
    edge = np.linspace(-shard["extent"], shard["extent"], shard["grid"])
    w, u = torch.meshgrid(tensor(edge), tensor(edge), indexing="ij")
    plane = _each(landscape(name, 0.0), {"u": u, "w": w})

    first = tensor([_place(start) for start in starts])
    noise = torch.randn(steps, generator=torch.Generator().manual_seed(shard["seed"]), dtype=torch.float64)
    targets = {"gradient descent": tensor(np.ones(steps)), "SGD": 1 + shard["noise"] * noise.to(device)}
    runs = [
        [_path(landscape(name, tilt), first, targets[mode], shard["lr"]) for mode in MODES]
        for tilt in (0.0, shard["tilt"])
    ]
    path = torch.stack([torch.stack(run) for run in runs])

    across = torch.stack([line(start[0]).to_dense(SHAPES) for start in starts]).to(device)
    distance = torch.einsum("kij,vmktj->vmkti", across, path).norm(dim=-1)
    return xr.Dataset(
        {
            "loss": (("w", "u"), plane.cpu().numpy()),
            "path": (("variant", "mode", "start", "step", "axis"), path.cpu().numpy()),
            "distance": (("variant", "mode", "start", "step"), distance.cpu().numpy()),
            "angle": (("start",), [float(start[0]) for start in starts]),
            "beside": (("start",), [float(start[2]) for start in starts]),
        },
        coords={"u": edge, "w": edge, "axis": list(AXES), "variant": list(VARIANTS), "mode": list(MODES)},
    )


class A5(Figure):
    """Stationary conditions of two landscapes, and trajectories that keep them."""

    id: ClassVar[str] = "A5"
    title: ClassVar[str] = "Stationary conditions that SGD cannot leave"
    source: ClassVar[str] = "Paper A, Figure 5"
    claim: ClassVar[str] = (
        "For (wu − 1)² the lines u = w and u = −w, and for −‖θ‖² + ‖θ‖⁴ every line through the origin, are stationary "
        "conditions: once on them, gradient descent and SGD stay."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(steps=60, grid=21),
        "page": Settings(),
        "paper": Settings(steps=400, grid=161),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard a landscape.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        common = {k: v for k, v in config.to_json().items() if k not in LANDSCAPES}
        return [{**common, "name": n, "starts": [list(start) for start in getattr(config, n)]} for n in LANDSCAPES]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Descend from every start.

        Args:
            config: Settings.
            device: Where to compute.
            executor: Maps over the shards.

        Returns:
            ``loss`` (landscape, w, u); ``path`` (landscape, variant, mode, start, step, axis), its ``distance`` from
            the line of the start, that line's ``angle``, and how far ``beside`` the line the start is.
        """
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(compute, device=device), self.shards(config))
        result = xr.concat(parts, dim=xr.DataArray(list(LANDSCAPES), dims="landscape"), join="exact")
        for name in (*result.data_vars, *AXES):
            result[name].attrs["units"] = "1"
        result["angle"].attrs["units"] = "degree"
        result["distance"].attrs["long_name"] = "distance from the line"
        result.attrs.update(lr=config.lr, noise=config.noise, tilt=config.tilt, seed=config.seed)
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """Distance from the lines.

        Args:
            result: From :meth:`run`.

        Returns:
            For each landscape and kind of descent: trajectories started on a line stay; a tilt takes every one of them
            away, and those started beside a line do not get onto it.
        """
        verdicts = []
        for name in LANDSCAPES:
            for mode in MODES:
                part = result.sel(landscape=name, mode=mode)
                on = part.isel(start=np.flatnonzero(part["beside"].values == 0))
                off = part.isel(start=np.flatnonzero(part["beside"].values != 0))
                farthest = on["distance"].max("step")
                stay = float(farthest.sel(variant="symmetric").max())
                tilted = float(farthest.sel(variant="broken").min())
                nearest = float(off["distance"].sel(variant="symmetric").min())
                where = {"landscape": name, "mode": mode, "noise": result.attrs["noise"]}
                for control, value in (("with the symmetry broken", tilted), ("started beside a line", nearest)):
                    verdicts.append(
                        Verdict(
                            f"{name}, {mode}: largest distance from the line of the start (control: {control})",
                            stay, 1e-12, control=value, settings=where,
                        )
                    )  # fmt: skip
        return verdicts


def _place(start: Start | list[float]) -> tuple[float, float]:
    angle, along, beside = start
    c, s = direction(angle)
    return along * c - beside * s, along * s + beside * c


def _each(loss: Loss, params: Params) -> Tensor:
    """A summed loss at every point, at y = 1."""
    flat = {k: v.reshape(-1) for k, v in params.items()}
    one = torch.ones((), dtype=torch.float64, device=flat["u"].device)
    return torch.func.vmap(lambda u, w: loss({"u": u, "w": w}, one))(flat["u"], flat["w"]).reshape(params["u"].shape)


def _path(loss: Loss, first: Tensor, targets: Tensor, lr: float) -> Tensor:
    """Positions of all starts after every step, of shape ``(start, step, axis)``."""
    begin: Params = {"u": first[:, 0], "w": first[:, 1]}
    steps = trajectory(loss, begin, targets, lambda tensors: torch.optim.SGD(tensors, lr=lr))
    return torch.stack([torch.stack([p["u"], p["w"]], dim=-1) for p in steps], dim=1)
