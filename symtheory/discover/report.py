"""What was found, what was not and why; as a table, as JSON, as HTML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import isinf
from typing import Any

from rich.console import Group
from torch import nn

from symtheory.discover.families import Family, GroupMirror
from symtheory.discover.tracing import Gap
from symtheory.errors import SymtheoryError
from symtheory.tables import Sheet, to_html, to_rich, to_text

COLUMNS = ("group", "kind", "units of", "mirrors", "rank", "residual", "acts on")


@dataclass(frozen=True)
class Blocked:
    """A family that would be there if some parameters were not frozen.

    Attributes:
        family: The family, measured with those parameters free to move.
        frozen: The frozen parameters it has to change.
    """

    family: Family
    frozen: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SymmetryReport:
    """The parameter symmetries of one network.

    Attributes:
        families: Found: each derived from the graph and measured.
        rejected: Derived, but not confirmed: the outputs changed by more than the tolerance.
        blocked: Families that frozen parameters rule out.
        gaps: What the analysis could not see through; symmetries that pass there are missed.
        unused: Parameters that the outputs do not depend on.
        parameters: Number of parameters.
        tolerance: Largest residual that counts as rounding.
        dtype: Floating type of the measurement.
        seconds: Time of the trace, the analysis and the measurement.
    """

    families: tuple[Family, ...]
    rejected: tuple[Family, ...]
    blocked: tuple[Blocked, ...]
    gaps: tuple[Gap, ...]
    unused: tuple[str, ...]
    parameters: int
    tolerance: float
    dtype: str
    seconds: dict[str, float]

    def mirrors(self) -> Iterator[GroupMirror]:
        """All mirrors of single reflections, family by family, each made when asked for.

        Yields:
            Mirrors on the touched parameters.
        """
        for family in self.families:
            yield from family.mirrors()

    def of(self, name: str) -> tuple[Family, ...]:
        """Families that touch a parameter.

        Args:
            name: Name of the parameter.

        Returns:
            The families, in the order of the report.
        """
        return tuple(f for f in self.families if name in f.shapes)

    def require_model(self, model: nn.Module) -> None:
        """Check that the report is of this model.

        Args:
            model: The model.

        Raises:
            SymtheoryError: If the model does not have the parameters that the families act on.
        """
        shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
        other = {n for f in self.families for n, s in f.shapes.items() if shapes.get(n) != tuple(s)}
        if other:
            got = f"one with parameters {sorted(other)}"
            raise SymtheoryError("a report of this model", got, "run discover on the model itself, without wrappers")

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values.

        Returns:
            A dictionary that JSON can hold; an infinite number of mirrors is ``null``.
        """
        return {
            "families": [_plain(f) for f in self.families],
            "rejected": [_plain(f) for f in self.rejected],
            "blocked": [{**_plain(b.family), "frozen": list(b.frozen)} for b in self.blocked],
            "gaps": [{"where": g.where, "why": g.why, "parameters": list(g.tensors)} for g in self.gaps],
            "unused": list(self.unused),
            "parameters": self.parameters,
            "tolerance": self.tolerance,
            "dtype": self.dtype,
            "seconds": self.seconds,
        }

    def to_json(self, indent: int | None = 2) -> str:
        """The report as JSON.

        Args:
            indent: Spaces per level; ``None`` for one line.

        Returns:
            Text.
        """
        return json.dumps(self.to_dict(), indent=indent)

    def notes(self) -> list[str]:
        """What the table of families does not say.

        Returns:
            One line for each gap, blocked family, rejected candidate and unused parameter, and for each kind that
            implies no mirror.
        """
        lines = [f"gap at {g.where}: {g.why}" + (f" ({', '.join(g.tensors)})" if g.tensors else "") for g in self.gaps]
        lines += [
            f"{b.family.group} ({b.family.kind}) of {b.family.where} is blocked by frozen {', '.join(b.frozen)}"
            for b in self.blocked
        ]
        lines += [
            f"not confirmed: {f.group} ({f.kind}) of {f.where} changes the outputs by {f.residual:.1e}"
            for f in self.rejected
        ]
        if self.unused:
            lines.append(f"no effect on the outputs: {', '.join(self.unused)}")
        reasons = {f.kind: f.no_mirror for f in self.families if f.no_mirror}
        return lines + [f"{kind} implies no mirror: {why}" for kind, why in reasons.items()]

    def __repr__(self) -> str:
        return f"SymmetryReport({len(self.families)} families, {self.parameters} parameters, {len(self.gaps)} gaps)"

    @property
    def _sheet(self) -> Sheet:
        return Sheet(f"Symmetries of {self.parameters:,} parameters", COLUMNS, [_row(f) for f in self.families])

    def __str__(self) -> str:
        return to_text([self._sheet], self.notes())

    def __rich__(self) -> Group:
        return to_rich([self._sheet], self.notes())

    def _repr_html_(self) -> str:
        return to_html([self._sheet], self.notes())


def _number(family: Family) -> str:
    return "∞" if isinf(family.number) else f"{int(family.number):,}"


def _row(family: Family) -> tuple[str, ...]:
    """Cells of the table."""
    acts = ", ".join(f"{n}{list(a) if a else ''}" for n, a in list(family.axes.items())[:4])
    if len(family.axes) > 4:
        acts += f" and {len(family.axes) - 4} more"
    return (
        family.group, family.kind, family.where, _number(family), str(family.rank), f"{family.residual:.0e}", acts,
    )  # fmt: skip


def _plain(family: Family) -> dict[str, Any]:
    """One family as plain values."""
    return {
        "kind": family.kind,
        "group": family.group,
        "degree": family.degree,
        "copies": family.copies,
        "where": family.where,
        "axes": {n: list(a) for n, a in family.axes.items()},
        "buffers": list(family.buffers),
        "mirrors": None if isinf(family.number) else int(family.number),
        "rank": family.rank,
        "no_mirror": family.no_mirror,
        "residual": family.residual,
    }
