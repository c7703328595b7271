r"""Figure C1 (paper C, Figure 1): copies of the constrained space within the landscape of the unconstrained network.

Computed rather than drawn. Setting: $f(x)=\sum_ja_js(w_j\cdot x)$ with three ReLU units without biases, inputs
$x\sim\mathcal N(0,I_3)$, exact loss by the arc-cosine kernel, a teacher with one block $S_3/S_2$ at the angle $\psi$.
The twelve weights of the unconstrained network are the space; the constrained space $\Theta_P$ has three dimensions,
and the $3!$ permutations of the hidden units carry it onto six different copies, all with the same functions.

A constrained run from the wrong side of the hidden wall is trapped there. Then the constraint is dropped, with a little
noise on the weights, and the run goes on in all twelve dimensions. Drawn is the loss on the plane through the trapped
network, the teacher and the network in which the relaxed run ends, with both runs projected on the plane; and in which
copy the relaxed runs of many noises end. Networks are compared after balancing every unit, $|w_j|=|a_j|$, which does
not change the function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine.arccosine import Teacher
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.figures.c6c import STUDENTS
from symtheory.figures.invariant_student import Student, Weights, heights, natural_teacher
from symtheory.spec.verdict import Verdict

TIED, FREE = STUDENTS["1 x S3/S2"], STUDENTS["unconstrained, 3 units"]
COPIES = tuple(permutations(range(3)))

#: Within this relative distance a network lies on a copy; networks on no copy are at 1e-1 and more.
ON = 1e-2

#: Below this fraction of the loss of the zero net the teacher is learned.
SUCCESS = 1e-3


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the figure.

    Attributes:
        degrees: $\psi$.
        steps: Steps of the constrained run, and of the relaxed runs.
        lr: Learning rate.
        noise: Standard deviation of the noise on every weight when the constraint is dropped.
        runs: Relaxed runs.
        starts: Constrained runs that are looked at; the first from the wrong side is drawn.
        grid: Points a side of the drawn plane.
        records: Points of a drawn path.
        seed: Seed of starts and noise.
    """

    degrees: float = 60.0
    steps: int = 6000
    lr: float = 0.2
    noise: float = 1e-3
    runs: int = 200
    starts: int = 100
    grid: int = 121
    records: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        names = ("steps", "lr", "noise", "runs", "starts", "grid", "records")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not 0 < self.degrees < 90:
            raise SymtheoryError(
                "positive settings and an angle between 0 and 90", f"{wrong or self.degrees}", "see figures.c1.Settings"
            )


def balanced(w: Weights) -> Weights:
    r"""Every unit rescaled to $|w_j|=|a_j|$, the same function.

    Args:
        w: Weights of ReLU units without biases.

    Returns:
        Weights; units with $w_j=0$ or $a_j=0$ become zero.
    """
    size, out = w.first.norm(dim=-1), w.second.abs()
    root = (size * out).sqrt()
    unit = w.first / size.clamp(min=torch.finfo(size.dtype).tiny)[..., None]
    return Weights(unit * root[..., None], w.bias, root * w.second.sign())


def distances(w: Weights) -> Tensor:
    """Distance from every copy of the constrained space, relative to the length of the weights, units balanced.

    Args:
        w: Weights with leading dims.

    Returns:
        Shape ``(..., copies)``; copy ``p`` holds the networks whose unit ``p[i]`` plays the part of unit ``i``.
    """
    b = balanced(w)
    length = (b.first.square().sum((-2, -1)) + b.second.square().sum(-1)).sqrt()
    found = []
    for p in COPIES:
        order = list(p)
        here = Weights(b.first[..., order, :], b.bias[..., order], b.second[..., order])
        near = TIED.weights(TIED.coordinates(here))
        gap = (here.first - near.first).square().sum((-2, -1)) + (here.second - near.second).square().sum(-1)
        found.append(gap.sqrt() / length)
    return torch.stack(found, dim=-1)


def path(student: Student, t: Tensor, teacher: Weights, lr: float, steps: int, every: int) -> Tensor:
    """Gradient descent, with records.

    Args:
        student: The student.
        t: Coordinates, ``(runs, dims)``.
        teacher: The teacher.
        lr: Learning rate.
        steps: Number of steps.
        every: Steps between records.

    Returns:
        Coordinates ``(records, runs, dims)``, from the start to the end.
    """
    found = [t]
    for step in range(1, steps + 1):
        t = t - lr * student.exact_gradient(t, teacher)
        if step % every == 0 or step == steps:
            found.append(t)
    return torch.stack(found)


def signed_part(vector: Tensor) -> float:
    """Share of a direction among all weights that every odd permutation of the constrained action reverses.

    Args:
        vector: Of the twelve weights.

    Returns:
        Squared length of its projection on the sign representation, relative to its own.
    """
    units, rep = TIED.layer.units, TIED.layer.rep_in.matrices
    found = torch.zeros_like(vector)
    for g in range(TIED.layer.group.order):
        order = torch.from_numpy(units.images[g])
        first, second = vector[:9].unflatten(0, (3, 3)), vector[9:]
        moved = Weights(torch.empty_like(first), second, torch.empty_like(second))
        moved.first[order], moved.second[order] = first @ rep[g].T, second
        found += torch.linalg.det(rep[g]) * _flat(moved) / TIED.layer.group.order
    return float(found.square().sum() / vector.square().sum())


def _flat(w: Weights) -> Tensor:
    """The twelve weights."""
    return torch.cat([w.first.flatten(-2), w.second], dim=-1)


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Both runs, the plane, the copies.

    Args:
        shard: Fields of :class:`Settings`.
        device: Where to train.

    Returns:
        See :meth:`C1.run`.
    """
    teacher = natural_teacher(TIED.layer.group, shard["degrees"])
    there = Weights(*(v.to(device) for v in (teacher.first, teacher.bias, teacher.second)))
    exact = Teacher(teacher.first, teacher.second[None])
    zero = exact.loss(torch.zeros(1, 3).double(), torch.ones(1, 1).double())
    every = max(1, shard["steps"] // shard["records"])
    start = TIED.start(shard["starts"], 0.5, shard["seed"])
    tied = path(TIED, start.to(device), there, shard["lr"], shard["steps"], every).cpu()
    wrong = heights(TIED, start)[:, 0] < 0
    tied_loss = TIED.exact_loss(tied[-1], teacher) / zero
    chosen = int(torch.nonzero(wrong)[0])
    trap = tied[-1, chosen]
    g = torch.Generator().manual_seed(shard["seed"] + 1)
    relaxed = FREE.coordinates(TIED.weights(trap)).repeat(shard["runs"], 1)
    relaxed = relaxed + shard["noise"] * torch.randn(relaxed.shape, generator=g, dtype=torch.float64)
    free = path(FREE, relaxed.to(device), there, shard["lr"], shard["steps"], every).cpu()
    free_loss = FREE.exact_loss(free, teacher) / zero
    away = distances(FREE.weights(free[-1]))

    still = TIED.weights(trap)
    curvature, directions = torch.linalg.eigh(exact.hessian(still.first, still.second[None]))
    escaped = torch.nonzero(free_loss[-1] < SUCCESS).flatten()
    drawn = int(escaped[0]) if len(escaped) else 0
    end = _flat(balanced(FREE.weights(free[-1, drawn])))
    goal, stuck = _flat(balanced(teacher)), _flat(balanced(TIED.weights(trap)))
    # plane through trap (origin), teacher (first axis) and the end
    one = (goal - stuck) / (goal - stuck).norm()
    two = end - stuck - one * (one @ (end - stuck))
    two = two / two.norm()
    frame = torch.stack([one, two])

    def project(points: Tensor) -> np.ndarray:
        return ((points - stuck) @ frame.T).numpy()

    paths = {
        "constrained": _flat(balanced(TIED.weights(tied[:, chosen]))),
        "relaxed": _flat(balanced(FREE.weights(free[:, drawn]))),
    }
    marks = project(torch.stack([stuck, goal, end]))
    everything = np.concatenate([marks, *(project(p) for p in paths.values())])
    low, high = everything.min(0), everything.max(0)
    room = 0.2 * (high - low).max()
    axes = [np.linspace(low[i] - room, high[i] + room, shard["grid"]) for i in (0, 1)]
    u, v = (torch.from_numpy(m) for m in np.meshgrid(*axes))
    points = stuck + u[..., None] * one + v[..., None] * two
    plane = exact.loss(points[..., :9].unflatten(-1, (3, 3)), points[..., None, 9:]) / zero
    # along the line of constrained networks from the trap to the teacher, where its units coincide
    delta = [float(heights(TIED, TIED.coordinates(balanced(w)))[..., 0]) for w in (TIED.weights(trap), teacher)]
    crossing = -delta[0] / (delta[1] - delta[0]) * marks[1, 0]
    return xr.Dataset(
        {
            "loss": (("y", "x"), plane.numpy()),
            "points": (("point", "axis"), marks),
            "wall": crossing,
            **{f"{k}_path": (("record", "axis"), project(p)) for k, p in paths.items()},
            "constrained_loss": ("record", (TIED.exact_loss(tied[:, chosen], teacher) / zero).numpy()),
            "relaxed_loss": (("record", "run"), free_loss.numpy()),
            "copy": ("run", away.argmin(-1).numpy()),
            "distance": (("run", "which"), away.numpy()),
            "trap_distance": ("which", distances(TIED.weights(trap)).numpy()),
            "curvature": ("direction", curvature.numpy()),
            "lowest_signed": signed_part(directions[:, 0]),
            "start_wrong": ("start", wrong.numpy()),
            "start_loss": ("start", tied_loss.numpy()),
        },
        coords={
            "x": axes[0],
            "y": axes[1],
            "point": ["trapped", "teacher", "relaxed"],
            "axis": ["x", "y"],
            "which": ["".join(str(i + 1) for i in p) for p in COPIES],
            "record": np.minimum(every * np.arange(len(tied)), shard["steps"]),
        },
    )


class C1(Figure):
    """The constrained space, its copies, a trapped run and a relaxed one."""

    id: ClassVar[str] = "C1"
    title: ClassVar[str] = "Copies of a constrained space in a real loss landscape"
    source: ClassVar[str] = "Paper C, Figure 1"
    claim: ClassVar[str] = (
        "Unconstrained networks have many parameter symmetries that a constraint breaks; the hidden ones can trap a "
        "constrained run, and when the constraint is dropped the network can jump to the subspace of another way of "
        "enforcing the same kind of constraint."
    )
    chapter: ClassVar[str] = "hidden_subspaces"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(steps=1500, lr=1.0, runs=12, starts=20, grid=41),
        "page": Settings(steps=2500, lr=1.0, runs=60, starts=60, grid=81),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One.

        Args:
            config: Settings.

        Returns:
            Its settings.
        """
        return [config.to_json()]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train, relax, and evaluate the plane.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            ``loss`` (y, x) on the plane and everything relative to the zero net; ``points`` of the trapped network, the
            teacher and the relaxed one; ``wall``, where the line through the first two crosses the hidden wall;
            ``constrained_path``, ``relaxed_path`` (record, axis), ``constrained_loss`` (record), ``relaxed_loss``
            (record, run); ``copy`` and ``distance`` (run, which) of the ends, ``trap_distance``; ``curvature`` of
            the unconstrained loss at the trap (direction) and ``lowest_signed``, the share of its lowest direction in
            the sign representation; ``start_wrong`` and ``start_loss`` of all constrained runs.
        """
        runner = InProcess() if executor is None else executor
        (result,) = runner.map(self.id, partial(compute, device=device), self.shards(config))
        result["loss"].attrs.update(long_name="loss relative to the zero net", units="1")
        result["distance"].attrs.update(long_name="relative distance from a copy of the constrained space", units="1")
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers.

        Args:
            result: From :meth:`run`.

        Returns:
            Trapped on one side, escape, into another copy, not the trapped one.
        """
        wrong = result["start_wrong"]
        lost, won = result["start_loss"].where(wrong, drop=True), result["start_loss"].where(~wrong, drop=True)
        ends = result["relaxed_loss"].isel(record=-1)
        home = int(result["trap_distance"].argmin("which"))
        away = result["distance"].min("which")
        return [
            Verdict(
                "constrained runs from the wrong side that learn the teacher (control: from the teacher's side)",
                float((lost < SUCCESS).mean()), 1e-3, control=float((won < SUCCESS).mean()), factor=100.0,
                sizes={"runs": int(wrong.size)},
            ),
            Verdict(
                "relaxed runs that stay trapped (control: the constrained run does)",
                float((ends >= SUCCESS).mean()), 0.01, control=float(result["constrained_loss"][-1] >= SUCCESS),
                factor=50.0, sizes={"runs": ends.size},
            ),
            Verdict(
                "the trap's one direction of negative curvature: part outside the sign representation (control: second "
                "lowest curvature, by the lowest)",
                max(0.0, 1 - float(result["lowest_signed"])), 1e-4,
                control=abs(float(result["curvature"][0])) / max(1e-12, -float(result["curvature"][1])), factor=1e3,
            ),
            Verdict(
                "relaxed runs that end on no copy of the constrained space, by relative distance (control: from the "
                "copy that they left)",
                float(away.max()), ON, control=float(result["distance"].isel(which=home).min()), factor=10.0,
            ),
            Verdict(
                "relaxed runs that end in the copy that they left (control: in any)",
                float((result["copy"] == home).mean()), 0.01, control=float((away < ON).mean()), factor=50.0,
            ),
        ]  # fmt: skip
