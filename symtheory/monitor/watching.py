"""A monitor that attaches to any training loop, takes its time into account, and writes what it sees."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from rich.console import Group
from torch import Tensor, nn
from torch.optim import Optimizer

from symtheory.discover import SymmetryReport, discover
from symtheory.discover.families import Family
from symtheory.errors import SymtheoryError
from symtheory.monitor.attraction import Probe, attraction, curvatures
from symtheory.monitor.reading import Reading, read
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params
from symtheory.tables import Sheet, to_html, to_rich, to_text

COLUMNS = ("step", "units", "kind", "relative distance", "effective rank", "dead", "duplicates", "force", "exponent")


@runtime_checkable
class Writer(Protocol):
    """What TensorBoard's ``SummaryWriter`` is here."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> Any:
        """Note a number."""


class SymmetryMonitor:
    """Distance to every symmetry's mirrors while a network trains, and what is predicted of it.

    Attach it to the optimiser, or call :meth:`step` after every step. By default it looks as often as it can without
    taking more than a share of the time; the network, its gradients and the random numbers stay as they are.

    Args:
        model: The network that is trained; a compiled or distributed wrapper is looked through.
        example_inputs: For :func:`symtheory.discover.discover`: positional arguments, or the only one.
        report: A report of this model, instead of example inputs.
        every: Steps between two looks; default as the budget allows.
        budget: Largest share of the time for looking, if ``every`` is not given.
        probe: A batch for the predictions; without one they are left out.
        csv_file: File to append readings to; its folder is made.
        writer: Where scalars go, such as a ``SummaryWriter`` of TensorBoard.

    Attributes:
        readings: All readings.
        families: What is watched: the families that imply mirrors.
        steps: Optimiser steps so far; set it where training resumes from a checkpoint.

    Raises:
        SymtheoryError: If neither inputs nor a report are given, the report is of another model, a number is out of
            range, or the model has no family with mirrors.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with SymmetryMonitor(net, torch.ones(1, 2), every=1).attach(optimizer) as monitor:
    ...     net(torch.ones(1, 2)).sum().backward()
    ...     optimizer.step()
    >>> [r.kind for r in monitor.readings]
    ['permutation', 'sign flip']
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Tensor | Sequence[Any] | None = None,
        *,
        report: SymmetryReport | None = None,
        every: int | None = None,
        budget: float = 0.01,
        probe: Probe | None = None,
        csv_file: str | Path | None = None,
        writer: Writer | None = None,
    ) -> None:
        if (every is not None and every < 1) or not 0 < budget <= 1:
            raise SymtheoryError("every >= 1 and a budget between 0 and 1", f"{every}, {budget}", "see the defaults")
        self.model = plain(model)
        if report is None:
            if example_inputs is None:
                raise SymtheoryError("example inputs or a report", "neither", "pass one batch of inputs")
            report = discover(self.model, example_inputs)
        report.require_model(self.model)
        self.families: tuple[Family, ...] = tuple(f for f in report.families if f.shapes and not f.no_mirror)
        if not self.families:
            raise SymtheoryError("families that imply mirrors", "none", "there is nothing to watch in this model")
        self.every, self.budget, self.probe, self.writer = every, budget, probe, writer
        self.readings: list[Reading] = []
        self.steps, self.seconds = 0, 0.0
        self._begin, self._next = perf_counter(), 0.0
        self._hook: Any = None
        self._file = None if csv_file is None else _mended(Path(csv_file))

    def attach(self, optimizer: Optimizer) -> SymmetryMonitor:
        """Look after the optimiser's steps from now on.

        Args:
            optimizer: The optimiser of the model's parameters.

        Returns:
            The monitor; as a context manager it detaches at the end.

        Raises:
            SymtheoryError: If it is attached already.
        """
        if self._hook is not None:
            raise SymtheoryError("a monitor that is not attached", "one that is", "call detach() first")
        self._hook = optimizer.register_step_post_hook(lambda opt, args, kwargs: self._after(opt))
        return self

    def _after(self, optimizer: Optimizer) -> None:
        self.step(optimizer)

    def detach(self) -> None:
        """Stop looking."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def __enter__(self) -> SymmetryMonitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def step(self, optimizer: Optimizer | None = None) -> list[Reading]:
        """Count a step, and look if it is time.

        Args:
            optimizer: For its learning rate and decay, which the predictions need.

        Returns:
            New readings, one a family; none if it was not time.
        """
        self.steps += 1
        due = self.steps % self.every == 0 if self.every else perf_counter() >= self._next
        return self.look(optimizer) if due else []

    def look(self, optimizer: Optimizer | None = None) -> list[Reading]:
        """Look now.

        Args:
            optimizer: For its learning rate and decay.

        Returns:
            One reading a family.
        """
        begin = perf_counter()
        trained = dict(self.model.named_parameters())
        params = {n: p.detach() for n, p in trained.items()}
        groups = [] if optimizer is None else optimizer.param_groups
        rising = {id(p) for group in groups if _sign(group) < 0 for p in group["params"]}
        slopes = {n: p.grad.detach() for n, p in trained.items() if p.grad is not None}
        grads = {n: -g if id(trained[n]) in rising else g for n, g in slopes.items()}
        found = [self._reading(f, params, grads, optimizer) for f in self.families]
        self.readings += found
        if self._file is not None:
            self._append(self._file, found)
        if self.writer is not None:
            for r in found:
                for name, value in r.row().items():
                    if isinstance(value, int | float) and name not in ("step", "units"):
                        self.writer.add_scalar(f"{r.where}/{r.kind}/{name}", value, r.step)
        spent = perf_counter() - begin
        self.seconds += spent
        self._next = perf_counter() + spent * (1 - self.budget) / self.budget
        return found

    def _reading(self, family: Family, params: Params, grads: Params, optimizer: Optimizer | None) -> Reading:
        reading, mirror = read(family, params, grads, self.steps)
        if self.probe is None or optimizer is None or not reading.distance > 0:
            return reading
        rates = self._rates(mirror, params, optimizer)
        if rates is None:
            return reading
        sign, *rates = rates
        bend = sign * curvatures(self.model, params, mirror, self.probe)
        return replace(reading, attraction=attraction(bend, *rates)) if bool(bend.isfinite().all()) else reading

    def _rates(self, mirror: Mirror, params: Params, optimizer: Optimizer) -> tuple[int, float, float] | None:
        """Sign of the loss and learning rate of the tensors across a mirror, if they share both; mean decay there."""
        groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        trained = dict(self.model.named_parameters())
        across = mirror.project({n: params[n] for n in mirror.shapes})
        squares = {n: size**2 for n, t in across.items() if (size := float(t.double().norm())) > 0}
        found = [groups.get(id(trained[n])) for n in squares]
        rates = {(1, 0.0) if group is None else (_sign(group), float(group["lr"])) for group in found}
        if len(rates) != 1 or not (rate := rates.pop())[1] > 0:
            return None
        decays = [float(group.get("weight_decay", 0.0)) for group in found if group is not None]
        mean = sum(s * d for s, d in zip(squares.values(), decays, strict=True)) / sum(squares.values())
        return *rate, mean

    @property
    def share(self) -> float:
        """Share of the time since the monitor was made that it took."""
        return self.seconds / max(perf_counter() - self._begin, 1e-9)

    def last(self) -> list[Reading]:
        """The latest reading of every family.

        Returns:
            Readings in the order of the families.
        """
        return self.readings[-len(self.families) :]

    @staticmethod
    def _append(path: Path, found: list[Reading]) -> None:
        new = not path.exists() or path.stat().st_size == 0
        with path.open("a", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(found[0].row()))
            if new:
                writer.writeheader()
            writer.writerows(r.row() for r in found)

    @property
    def _sheet(self) -> Sheet:
        rows = [
            (
                str(r.step), r.where, r.kind, f"{r.relative:.2g}", f"{r.rank:.1f} of {r.units}", str(r.dead),
                str(r.duplicates), f"{r.force:.2g}", "" if r.attraction is None else repr(r.attraction.exponent),
            )
            for r in self.last()
        ]  # fmt: skip
        at = (
            f"step {self.readings[-1].step} of {self.steps}"
            if self.readings
            else f"step {self.steps}, not looked at yet"
        )
        return Sheet(f"Mirrors at {at}", COLUMNS, rows)

    def __str__(self) -> str:
        return to_text([self._sheet], [])

    def __rich__(self) -> Group:
        return to_rich([self._sheet], [])

    def _repr_html_(self) -> str:
        return to_html([self._sheet], [])


def _mended(path: Path) -> Path:
    """The file without a last line that a killed run left unfinished, in a folder that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])
    return path


def _sign(group: dict[str, Any]) -> int:
    """Sign of the loss that descent takes down: an optimiser with ``maximize`` descends on minus the loss."""
    return -1 if group.get("maximize", False) else 1


def plain(model: nn.Module) -> nn.Module:
    """The module inside ``torch.compile`` and data parallel wrappers, whose parameters are the same objects.

    Args:
        model: A module.

    Returns:
        The innermost one.
    """
    for name in ("_orig_mod", "module"):
        inner = getattr(model, name, None)
        wrapped = name == "_orig_mod" or isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
        if wrapped and isinstance(inner, nn.Module):
            return plain(inner)
    return model
