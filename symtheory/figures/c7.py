r"""Figure C7: which optimisers keep a hidden wall, and for which activations the wall is a barrier.

Setting of ours. The wall of a block $S_n/S_{n-1}$ on $\mathbb R^n$ is $\delta=0$, where all $n$ hidden units coincide;
its two sides are not equivalent. *Part one* (ReLU, no bias, $n = 3$ and $4$): the block learns a teacher at
$\psi=60^\circ$ by gradient descent (GD), heavy-ball momentum and Adam on the exact loss, and by SGD on fresh
minibatches, in three systems of coordinates of the same constrained space: orthonormal ones along $(\mu,\delta)$;
orthonormal ones turned by 30 degrees; and tied weights, $W=t_1I+t_2(J-I)$, $a$ shared. Runs start on the wall or off
it. *Part two* ($n=3$, biases, Gauss-Hermite nodes): GD at several rates with the GELU, SiLU, softplus and tanh.

What theory says, before measuring:

* Theorem 2: on the wall, GD, momentum and SGD stay for every step size in orthonormal coordinates, turned or not,
  though no minibatch is symmetric. In tied coordinates the step is $-Nc$ with $N=\mathrm{diag}(n, n(n-1))$ and leaves.
* Adam divides every coordinate by its own scale. A wall $\delta=0$ or $t_1=t_2$ survives that, a turned one does not.
* Theorem 4: off the wall, flow does not cross, nor GD with small steps in orthonormal coordinates. It says nothing
  about momentum, whose velocity may carry it across, nor about Adam, nor about tied coordinates.
* A generic activation makes the wrong side a trap. An odd one has the symmetry $(W,b,a)\to-(W,b,a)$, which exchanges
  the sides: no barrier, since the sign of $a$ may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import cos, radians, sin
from typing import ClassVar

import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import gelu, relu, silu, softplus

from symtheory.engine.statistics import Proportion, clopper_pearson
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.figures.invariant_student import (
    Activation,
    Student,
    Weights,
    blocks,
    gauss_nodes,
    heights,
    natural_teacher,
    point_stabilizer,
)
from symtheory.spec.group_families import symmetric
from symtheory.spec.representations import natural
from symtheory.spec.verdict import Verdict

GROUPS = {"S3": symmetric(3), "S4": symmetric(4)}
COORDINATES = ("orthonormal", "turned", "tied")
STARTS = ("on the wall", "off the wall")
ACTIVATIONS: dict[str, Activation] = {"GELU": gelu, "SiLU": silu, "softplus": softplus, "tanh": torch.tanh}

#: Learning rates that fit the scale of each rule's steps.
RULES: dict[str, float] = {"GD": 0.2, "momentum": 0.05, "Adam": 0.01, "SGD": 0.1}

#: $\psi$ of the teacher and, in part two, the length of its input weights: short ones see a line, not an activation.
DEGREES, LENGTH = 60.0, 2.0

#: Angle by which the turned coordinates are turned.
TURN = 30.0

#: A step of which a larger part is across the wall leaves it. Roundings, which Adam magnifies, stay far below.
LEFT = 1e-3

#: A run has crossed once it is this far on the other side; runs that the wall attracts end at heights of rounding.
BEYOND = 1e-9

#: Shorter steps are roundings.
SHORT = 1e-6

#: A run with a smaller fraction of the variance of the target (part two), or of the loss of the zero net, has learned.
SUCCESS = 1e-3


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        groups: Names among ``GROUPS``.
        runs: Runs of every start, part one.
        steps: Steps of part one.
        batch: Samples of a minibatch.
        activations: Names among ``ACTIVATIONS``.
        rates: Learning rates of part two, decreasing; each is given the same total time ``rates[0] * smooth_steps``.
        smooth_runs: Runs of part two.
        smooth_steps: Steps at the largest rate.
        nodes: Quadrature nodes a dimension.
        seed: Seed of starts and minibatches.
    """

    groups: tuple[str, ...] = tuple(GROUPS)
    runs: int = 200
    steps: int = 2000
    batch: int = 32
    activations: tuple[str, ...] = tuple(ACTIVATIONS)
    rates: tuple[float, ...] = (0.3, 0.1)
    smooth_runs: int = 100
    smooth_steps: int = 1500
    nodes: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        names = ("runs", "steps", "batch", "smooth_runs", "smooth_steps", "nodes")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        known = set(self.groups) <= set(GROUPS) and set(self.activations) <= set(ACTIVATIONS)
        if wrong or not known or not self.groups or not self.activations or not self.rates or min(self.rates) <= 0:
            raise SymtheoryError(
                f"positive settings, groups among {list(GROUPS)} and activations among {list(ACTIVATIONS)}",
                f"{wrong or (self.groups, self.activations, self.rates)}",
                "see figures.c7.Settings",
            )


def coordinates(student: Student, kind: str) -> Tensor:
    r"""Columns: directions of a system of coordinates of one block, in the student's own orthonormal coordinates.

    Args:
        student: One block of point cosets, without biases.
        kind: Among ``COORDINATES``.

    Returns:
        Square matrix $C$ with $t=C\theta$; orthogonal unless the weights are tied.

    Raises:
        SymtheoryError: If there is no such system.
    """
    if kind not in COORDINATES:
        raise SymtheoryError(f"coordinates among {COORDINATES}", repr(kind), "see figures.c7")
    units, inputs = student.layer.units.size, student.layer.rep_in.dim
    one = torch.ones(units, dtype=torch.float64)
    zero = torch.zeros(units, inputs, dtype=torch.float64)
    # the matrix of ones, and that of the units' own inputs: the units of G/S_(n-1) are the inputs, in some order
    ones = student.coordinates(Weights(zero + 1, 0 * one, 0 * one))
    base = student.layer.rep_in.reynolds(student.layer.units.stabilizer(0))
    own = int(base.diagonal().argmax())
    first = torch.zeros(units, inputs, dtype=torch.float64)
    for g in range(student.layer.group.order):
        first[int(student.layer.units.images[g, 0])] = student.layer.rep_in.matrices[g][:, own]
    same = student.coordinates(Weights(first, 0 * one, 0 * one))
    out = student.coordinates(Weights(zero, 0 * one, one))
    if kind == "tied":
        return torch.stack([same, ones - same, out], dim=1)
    mu = ones / ones.norm()
    delta = same - mu * (mu @ same)
    system = torch.stack([mu, delta / delta.norm(), out / out.norm()], dim=1)
    if kind == "turned":
        c, s = cos(radians(TURN)), sin(radians(TURN))
        system = system @ torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return system


def optimizer_of(rule: str, theta: Tensor) -> torch.optim.Optimizer:
    """The rule with its learning rate.

    Args:
        rule: Among ``RULES``.
        theta: What it moves.

    Returns:
        The optimiser.
    """
    if rule == "Adam":
        return torch.optim.Adam([theta], lr=RULES[rule])
    return torch.optim.SGD([theta], lr=RULES[rule], momentum=0.9 if rule == "momentum" else 0.0)


def train(student: Student, kind: str, rule: str, shard: Shard, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Runs on the wall and off it, all at once.

    Args:
        student: One block.
        kind: Coordinates.
        rule: Optimiser.
        shard: Fields of :class:`Settings`.
        device: Where to train.

    Returns:
        Height at the start; whether its sign ever changed; the largest part of a step that is across the wall; final
        loss relative to the zero net; each ``(2, runs)``, on the wall and off it. Runs on the wall are put back on it
        after every step: near $w=0$ the wall is so unstable that roundings would grow to order one.
    """
    system = coordinates(student, kind)
    teacher = natural_teacher(student.layer.group, DEGREES)
    across = heights(student, torch.eye(sum(student.dims), dtype=torch.float64))[:, 0].to(device)
    off = student.start(shard["runs"], 0.5, shard["seed"])
    on = off - (off @ across.cpu())[:, None] * across.cpu()
    start = torch.cat([on, off])
    theta = torch.linalg.solve(system, start.T).T.to(device).contiguous()
    system, there = system.to(device), Weights(*(v.to(device) for v in (teacher.first, teacher.bias, teacher.second)))
    optimizer = optimizer_of(rule, theta)
    g = torch.Generator().manual_seed(shard["seed"] + 1)
    mass = torch.full((shard["batch"],), 1 / shard["batch"], dtype=torch.float64, device=device)
    begin = heights(student, start)[:, 0].to(device)
    crossed, most = torch.zeros_like(begin, dtype=torch.bool), torch.zeros_like(begin)
    back = torch.linalg.solve(system, across)
    held = torch.arange(len(start), device=device) < shard["runs"]
    for _ in range(shard["steps"]):
        t = theta @ system.T
        if rule == "SGD":
            x = torch.randn(shard["batch"], student.layer.rep_in.dim, generator=g, dtype=torch.float64).to(device)
            _, gradient = student.sampled_gradient(t, relu, x, there.outputs(x, relu), mass)
        else:
            gradient = student.exact_gradient(t, there)
        theta.grad = gradient @ system
        optimizer.step()
        height, step = theta @ (across @ system), theta @ system.T - t
        crossed |= ~held & (height * begin.sign() < -BEYOND)
        part = (height - t @ across).abs() / step.norm(dim=1).clamp(min=SHORT)
        most = torch.maximum(most, part)
        theta -= (held * height)[:, None] * back
    zero = student.exact_loss(torch.zeros_like(start[:1]), teacher)
    loss = student.exact_loss(theta.cpu() @ system.cpu().T, teacher) / zero
    begin, crossed, most, loss = (v.cpu().reshape(2, -1) for v in (begin, crossed, most, loss))
    return begin, crossed, most, loss


def compute_rules(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Part one for one group and one system of coordinates.

    Args:
        shard: ``group``, ``coordinates`` and fields of :class:`Settings`.
        device: Where to train.

    Returns:
        ``height``, ``crossed``, ``most``, ``loss`` (rule, start, run).
    """
    group = GROUPS[shard["group"]]
    student = blocks(group, natural(group), point_stabilizer(group))
    found = [train(student, shard["coordinates"], rule, shard, device) for rule in RULES]
    names = ("height", "crossed", "most", "loss")
    pairs = zip(names, zip(*found, strict=True), strict=True)
    data = {k: (("rule", "start", "run"), torch.stack(v).numpy()) for k, v in pairs}
    return xr.Dataset(data, coords={"rule": list(RULES), "start": list(STARTS)})


def compute_smooth(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Part two for one activation.

    Args:
        shard: ``activation`` and fields of :class:`Settings`.
        device: Where to train.

    Returns:
        ``smooth_height`` and ``smooth_out`` (run), the starts; ``smooth_crossed``, ``smooth_turned`` (the sign of $a$
        changed), ``smooth_loss`` relative to the variance of the target (rate, run).
    """
    group, activation = GROUPS["S3"], ACTIVATIONS[shard["activation"]]
    student = blocks(group, natural(group), point_stabilizer(group), bias=True)
    teacher = natural_teacher(group, DEGREES)
    x, mass = gauss_nodes(3, shard["nodes"])
    y = Weights(LENGTH * teacher.first, teacher.bias, teacher.second).outputs(x, activation)
    variance = float((y.square() * mass).sum() - (y * mass).sum() ** 2) / 2
    start = student.start(shard["smooth_runs"], 0.5, shard["seed"])
    x, y, mass = x.to(device), y.to(device), mass.to(device)
    begin = heights(student, start)[:, 0]
    across = heights(student, torch.eye(sum(student.dims), dtype=torch.float64))[:, 0].to(device)
    crossed, turned, losses = [], [], []
    for rate in shard["rates"]:
        t, over = start.to(device), torch.zeros(len(start), dtype=torch.bool, device=device)
        for _ in range(round(shard["smooth_steps"] * shard["rates"][0] / rate)):
            _, gradient = student.sampled_gradient(t, activation, x, y, mass)
            t = t - rate * gradient
            over |= (t @ across) * begin.sign().to(device) < -BEYOND
        loss, _ = student.sampled_gradient(t, activation, x, y, mass)
        crossed.append(over.cpu())
        turned.append(student.weights(t.cpu()).second[:, 0] < 0)
        losses.append(loss.cpu() / variance)
    return xr.Dataset(
        {
            "smooth_height": ("smooth_run", begin.numpy()),
            "smooth_crossed": (("rate", "smooth_run"), torch.stack(crossed).numpy()),
            "smooth_turned": (("rate", "smooth_run"), torch.stack(turned).numpy()),
            "smooth_loss": (("rate", "smooth_run"), torch.stack(losses).numpy()),
        },
        coords={"rate": list(shard["rates"])},
    )


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """One shard of either part.

    Args:
        shard: From :meth:`C7.shards`.
        device: Where to train.

    Returns:
        Its part of the result.
    """
    return compute_smooth(shard, device) if "activation" in shard else compute_rules(shard, device)


class C7(Figure):
    """Optimisers, coordinates and activations at a hidden wall."""

    id: ClassVar[str] = "C7"
    title: ClassVar[str] = "Which optimisers keep a hidden wall"
    source: ClassVar[str] = "This book; after Paper C, Figure 3"
    claim: ClassVar[str] = (
        "Gradient descent in orthonormal coordinates never leaves a hidden wall and never crosses it, with minibatches "
        "too, and in tied coordinates it does both; with a generic smooth activation the wrong side is a trap, with an "
        "odd one the trap leaks."
    )
    chapter: ClassVar[str] = "hidden_subspaces"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(
            groups=("S3",), runs=60, steps=150, activations=("softplus", "tanh"), rates=(0.6,), smooth_runs=40,
            smooth_steps=300, nodes=5,
        ),
        "page": Settings(
            groups=("S3",), runs=100, steps=400, activations=("softplus", "tanh"), rates=(0.3,), smooth_runs=60,
            smooth_steps=600, nodes=6,
        ),
        "paper": Settings(),
    }  # fmt: skip

    def shards(self, config: Settings) -> list[Shard]:
        """One a group and system of coordinates, then one an activation.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        one = {k: getattr(config, k) for k in ("runs", "steps", "batch", "seed")}
        two = {k: getattr(config, k) for k in ("smooth_runs", "smooth_steps", "nodes", "seed")}
        return [
            *({**one, "group": g, "coordinates": c} for g in config.groups for c in COORDINATES),
            *({**two, "rates": list(config.rates), "activation": a} for a in config.activations),
        ]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            Part one: ``height`` at the start, ``crossed``, ``most`` (largest part of a step across the wall) and
            ``loss`` (group, coordinates, rule, start, run). Part two: ``smooth_height`` (activation, run),
            ``smooth_crossed``, ``smooth_turned``, ``smooth_loss`` (activation, rate, run).
        """
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(compute, device=device), self.shards(config))
        k = len(COORDINATES)
        rows = [xr.concat(parts[k * i : k * (i + 1)], dim="coordinates") for i in range(len(config.groups))]
        result = xr.concat(rows, dim="group").assign_coords(group=list(config.groups), coordinates=list(COORDINATES))
        smooth = xr.concat(parts[k * len(config.groups) :], dim="activation")
        return result.merge(smooth.assign_coords(activation=list(config.activations)))

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The predictions as numbers.

        Args:
            result: From :meth:`run`.

        Returns:
            Staying, Adam in turned coordinates, crossing, minibatches, the trap of generic activations, the odd one.
        """
        on, off = (result.sel(start=s) for s in STARTS)
        plain = ["orthonormal", "turned"]
        kept = on["most"].sel(coordinates=plain, rule=["GD", "momentum", "SGD"])
        left = (on["most"].sel(coordinates="tied", rule=["GD", "momentum", "SGD"]) > LEFT).mean("run")
        slow = result.isel(rate=-1)
        odd = slow["activation"].isin(["tanh"])
        wrong = slow["smooth_height"] < 0
        won = slow["smooth_loss"] < SUCCESS
        generic = (won & wrong & ~odd).sum() / (wrong & ~odd).sum()
        leaking = (won & wrong & odd).sum() / (wrong & odd).sum()
        crossings = off["crossed"].mean("run")
        return [
            Verdict(
                "on the wall, GD, momentum and SGD in orthonormal coordinates: largest part of a step across it "
                "(control: fraction of runs that leave in tied coordinates, fewest)",
                float(kept.max()), 1e-5, control=float(left.min()), sizes={"runs": kept.size},
            ),
            Verdict(
                "off the wall, GD in orthonormal coordinates: fraction that ever crosses (control: tied weights)",
                float(crossings.sel(coordinates=plain, rule="GD").max()), 1e-3,
                control=float(crossings.sel(coordinates="tied", rule="GD").min()), factor=20.0,
                sizes={"runs": 2 * int(off["crossed"].sel(rule="GD", coordinates="tied").size)},
            ),
            Verdict(
                "off the wall, SGD in orthonormal coordinates: fraction that ever crosses (control: tied)",
                float(crossings.sel(coordinates=plain, rule="SGD").max()), 1e-3,
                control=float(crossings.sel(coordinates="tied", rule="SGD").min()), factor=20.0,
            ),
            Verdict(
                "generic smooth activations, smallest rate: fraction of GD runs that cross (control: tied ReLU)",
                float(slow["smooth_crossed"].where(~odd, drop=True).mean("smooth_run").max()), 1e-3,
                control=float(crossings.sel(coordinates="tied", rule="GD").min()), factor=20.0,
            ),
            Verdict(
                "generic smooth activations, smallest rate: fraction that learns from the wrong side (control: tanh)",
                float(generic), 1e-3, control=float(leaking), factor=20.0, sizes={"runs": int((wrong & ~odd).sum())},
            ),
        ]  # fmt: skip


def share(values: xr.DataArray) -> Proportion:
    """How many runs, with the exact 99.9 % interval.

    Args:
        values: Booleans of the runs.

    Returns:
        The proportion.
    """
    return clopper_pearson(int(values.sum()), int(values.size))
