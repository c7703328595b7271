r"""Figure C8: Deep Sets layers against the representation that theory suggests, at equal width.

A Deep Sets layer $x_i\mapsto s(t_1x_i+t_2\sum_jx_j+b)$ is one block of the natural representation: its hidden units
are $S_n/S_{n-1}$, and several channels are several such blocks. A group convolution over $S_n$ is the regular block
$S_n/1$. Task of ours: an invariant number of three interchangeable standard normal readings, learned from samples: the
total exceedance $\sum_i\max(x_i-\tfrac12,0)$, the largest reading, the spread $\max x-\min x$. All nets have ReLU units
with biases, a sum as readout, PyTorch's default initialisation of every free weight, and random signs of the output
weights. Compared at equal numbers of hidden units: Deep Sets channels, regular blocks, and the unconstrained network;
with Adam on tied weights, as is common practice, and with plain gradient descent in orthonormal coordinates.

What theory says, before measuring: a Deep Sets channel with an invariant readout has one wall, hidden, that no
symmetry exchanges; a regular block has three, all reflecting. So Deep Sets should fail more often on a target that
needs the right side of the wall, such as the exceedance, which one channel represents exactly. Theory promises nothing
for one block whose only output weight starts with the wrong sign: a block may die, whatever its representation, and a
width with one block has no spare. The other two targets are no sums over readings; who wins there, theory does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import relu

from symtheory.engine.statistics import Proportion, clopper_pearson
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.figures.invariant_student import Student, Weights, blocks, point_stabilizer
from symtheory.spec.group_families import symmetric
from symtheory.spec.representations import natural, trivial
from symtheory.spec.verdict import Verdict
from symtheory.spec.walls import chambers

GROUP, ALONE = symmetric(3), symmetric(1)

TASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "exceedance": lambda x: relu(x - 0.5).sum(-1),
    "largest": lambda x: x.amax(-1),
    "spread": lambda x: x.amax(-1) - x.amin(-1),
}

REPRESENTATIONS = ("Deep Sets", "suggested", "unconstrained")

#: Rules with their learning rates.
RULES: dict[str, float] = {"Adam, tied": 0.02, "GD, orthonormal": 0.3}

#: A run whose test error is a larger part of the target's standard deviation has failed.
FAILED = 0.1


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        tasks: Names among ``TASKS``.
        widths: Hidden units; multiples of six.
        runs: Seeds; each has its own data and start.
        samples: Training samples.
        tests: Test samples.
        steps: Full-batch steps.
        seed: First seed.
    """

    tasks: tuple[str, ...] = ("exceedance", "largest", "spread")
    widths: tuple[int, ...] = (6, 12)
    runs: int = 100
    samples: int = 128
    tests: int = 2000
    steps: int = 2000
    seed: int = 1

    def __post_init__(self) -> None:
        wrong = {k: getattr(self, k) for k in ("runs", "samples", "tests", "steps") if getattr(self, k) <= 0}
        unknown = sorted(set(self.tasks) - set(TASKS))
        if wrong or unknown or not self.tasks or not self.widths or any(w % 6 or w <= 0 for w in self.widths):
            raise SymtheoryError(
                f"positive settings, tasks among {list(TASKS)} and widths that are multiples of six",
                f"{wrong or unknown or self.widths}",
                "see figures.c8.Settings",
            )


def student_of(representation: str, width: int) -> Student:
    """The net with given hidden units.

    Args:
        representation: Among ``REPRESENTATIONS``.
        width: Hidden units, a multiple of six.

    Returns:
        The student, with biases.

    Raises:
        SymtheoryError: If there is no such representation.

    >>> [student_of(name, 6).dims for name in REPRESENTATIONS]
    [(4, 2, 2), (3, 1, 1), (18, 6, 6)]
    """
    one = frozenset({0})
    if representation == "Deep Sets":
        return blocks(GROUP, natural(GROUP), *[point_stabilizer(GROUP)] * (width // 3), bias=True)
    if representation == "suggested":
        return blocks(GROUP, natural(GROUP), *[one] * (width // 6), bias=True)
    if representation == "unconstrained":
        return blocks(ALONE, trivial(ALONE, 3), *[one] * width, bias=True)
    raise SymtheoryError(f"a representation among {REPRESENTATIONS}", repr(representation), "see figures.c8")


def tied(student: Student) -> Tensor:
    """Free weights as a practitioner writes them: one number for each set of weights that must be equal.

    Args:
        student: Of permuted inputs.

    Returns:
        Matrix whose columns are the directions of the free weights in the student's orthonormal coordinates: input
        weights, biases, output weights, block by block.
    """
    layer, columns = student.layer, []
    units, inputs = layer.units, layer.rep_in.dim
    no_first = torch.zeros(units.size, inputs, dtype=torch.float64)
    none = torch.zeros(units.size, dtype=torch.float64)
    for orbit in units.orbits:
        moves = layer.rep_in.matrices[sorted(units.stabilizer(orbit[0]))].sum(0) > 0
        for same in torch.unique(moves.double(), dim=0):
            first = no_first.clone()
            for g in range(layer.group.order):
                first[int(units.images[g, orbit[0]])] = layer.rep_in.matrices[g] @ same
            columns.append(Weights(first, none, none))
    member = [torch.isin(torch.arange(units.size), torch.tensor(orbit)).double() for orbit in units.orbits]
    columns += [Weights(no_first, m, none) for m in member] + [Weights(no_first, none, m) for m in member]
    return torch.stack([student.coordinates(c) for c in columns], dim=1)


def default_start(student: Student, runs: int, generator: torch.Generator) -> Tensor:
    r"""Every free weight uniform within $\pm1/\sqrt{\text{fan-in}}$, as ``torch.nn.Linear`` starts.

    Args:
        student: The student.
        runs: Number of nets.
        generator: Source of randomness.

    Returns:
        Tied weights, shape ``(runs, sum of dims)``.
    """
    into, bias, out = student.dims
    theta = 2 * torch.rand(runs, into + bias + out, generator=generator, dtype=torch.float64) - 1
    theta[:, : into + bias] *= student.layer.rep_in.dim**-0.5
    theta[:, into + bias :] *= student.layer.units.size**-0.5
    return theta


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Train one representation at one width on one task, by both rules.

    Args:
        shard: ``task``, ``representation``, ``width`` and fields of :class:`Settings`.
        device: Where to train.

    Returns:
        ``error`` (rule, run): root mean square test error in standard deviations of the target; ``dead`` (rule, run):
        blocks that no training sample switches on, or without output weight.
    """
    student, target = student_of(shard["representation"], shard["width"]), TASKS[shard["task"]]
    g = torch.Generator().manual_seed(shard["seed"])
    x = torch.randn(shard["runs"], shard["samples"], 3, generator=g, dtype=torch.float64).to(device)
    probe = torch.randn(shard["tests"], 3, generator=g, dtype=torch.float64).to(device)
    system = tied(student)
    first = default_start(student, shard["runs"], g)
    mass = torch.full((shard["samples"],), 1 / shard["samples"], dtype=torch.float64, device=device)
    errors, dead = [], []
    for rule, rate in RULES.items():
        frame = system if "tied" in rule else torch.eye(len(system), dtype=torch.float64)
        theta = torch.linalg.solve(frame, system @ first.T).T.contiguous().to(device)
        optimizer = (torch.optim.Adam if "Adam" in rule else torch.optim.SGD)([theta], lr=rate)
        frame = frame.to(device)
        for _ in range(shard["steps"]):
            _, gradient = student.sampled_gradient(theta @ frame.T, relu, x, target(x), mass)
            theta.grad = gradient @ frame
            optimizer.step()
        w = student.weights(theta @ frame.T)
        miss = w.outputs(probe, relu) - target(probe)
        errors.append((miss.square().mean(-1).sqrt() / target(probe).std()).cpu())
        bases = student.bases.to(device)
        lit = (x @ w.first[:, bases].mT + w.bias[:, None, bases] > 0).any(1) & (w.second[:, bases].abs() > 1e-6)
        dead.append((~lit).sum(-1).cpu())
    return xr.Dataset(
        {
            "error": (("rule", "run"), torch.stack(errors).numpy()),
            "dead": (("rule", "run"), torch.stack(dead).numpy()),
        },
        coords={"rule": list(RULES)},
    )


class C8(Figure):
    """Deep Sets channels against regular blocks."""

    id: ClassVar[str] = "C8"
    title: ClassVar[str] = "A suggested representation against Deep Sets at equal width"
    source: ClassVar[str] = "This book; after Paper C, abstract, takeaway 3"
    claim: ClassVar[str] = (
        "On an invariant regression that one Deep Sets channel represents exactly, regular blocks, whose walls are all "
        "harmless, fail less often than Deep Sets channels with as many hidden units, under Adam and under gradient "
        "descent, once there is more than one block."
    )
    chapter: ClassVar[str] = "hidden_subspaces"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(tasks=("exceedance",), widths=(12,), runs=40, samples=48, tests=200, steps=350),
        "page": Settings(tasks=("exceedance",), widths=(12,), runs=100, samples=48, tests=500, steps=600),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One a task, width and representation.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        common = {k: getattr(config, k) for k in ("runs", "samples", "tests", "steps", "seed")}
        return [
            {**common, "task": t, "width": w, "representation": r}
            for t in config.tasks
            for w in config.widths
            for r in REPRESENTATIONS
        ]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            ``error`` and ``dead`` (task, width, representation, rule, run); ``orbits`` (representation), the number of
            classes of chambers of one block that no symmetry exchanges, from theory; ``weights`` (width,
            representation), the number of free weights.
        """
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(compute, device=device), self.shards(config))
        k, n = len(REPRESENTATIONS), len(config.widths)
        rows = [xr.concat(parts[k * i : k * (i + 1)], dim="representation") for i in range(len(parts) // k)]
        tasks = [xr.concat(rows[n * i : n * (i + 1)], dim="width") for i in range(len(config.tasks))]
        students = {r: [student_of(r, w) for w in config.widths] for r in REPRESENTATIONS}
        result = xr.concat(tasks, dim="task").assign_coords(
            task=list(config.tasks),
            width=list(config.widths),
            representation=list(REPRESENTATIONS),
            orbits=("representation", [len(chambers(students[r][0].layer).orbits) for r in REPRESENTATIONS]),
            weights=(
                ("width", "representation"),
                [[sum(students[r][i].dims) for r in REPRESENTATIONS] for i in range(n)],
            ),
        )
        result["error"].attrs.update(long_name="test error / standard deviation of the target", units="1")
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, on the task that the claim is about and the largest width.

        Args:
            result: From :meth:`run`.

        Returns:
            For each rule who fails where just one of the two does, data and seed being equal; theory's barrier.
        """
        main = result.sel(task="exceedance").isel(width=-1)
        verdicts = []
        for rule in result["rule"].values.tolist():
            lost = {r: main["error"].sel(rule=rule, representation=r) > FAILED for r in REPRESENTATIONS}
            ours = int((lost["suggested"] & ~lost["Deep Sets"]).sum())
            theirs = int((lost["Deep Sets"] & ~lost["suggested"]).sum())
            either = max(1, ours + theirs)
            verdicts.append(
                Verdict(
                    f"{rule}, {int(main['width'])} units: of the seeds on which just one fails, upper end of the 95 % "
                    "interval of the suggestion's share (control: of that of Deep Sets)",
                    clopper_pearson(ours, either, 0.95).high, 0.5, factor=1.0,
                    control=clopper_pearson(theirs, either, 0.95).high,
                    settings={"suggested": ours, "Deep Sets": theirs, "runs": main.sizes["run"]},
                )
            )  # fmt: skip
        orbits = result["orbits"]
        verdicts.append(
            Verdict(
                "theory: classes of chambers of a suggested block beyond the first (control: of a Deep Sets channel)",
                float(orbits.sel(representation="suggested")) - 1, 1e-3,
                control=float(orbits.sel(representation="Deep Sets")) - 1,
            )
        )  # fmt: skip
        return verdicts


def failures(result: xr.Dataset) -> Proportion:
    """How many runs failed, with the exact 95 % interval.

    Args:
        result: A part of a result with the dim ``run`` only.

    Returns:
        The proportion.
    """
    lost = result["error"] > FAILED
    return clopper_pearson(int(lost.sum()), int(lost.size), 0.95)
