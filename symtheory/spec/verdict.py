"""What checks return: a :class:`Verdict` for a measurement, a :class:`Proof` for algebra. Nothing here prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite

import sympy

from symtheory.errors import SymtheoryError

#: A control must miss the tolerance by this factor before a check counts as able to fail.
CONTROL_FACTOR = 1e3


@dataclass(frozen=True)
class Verdict:
    """The outcome of one measured check.

    A verdict *holds* when the residual is within tolerance **and** the negative control, which is the same code path
    with one hypothesis broken, misses the tolerance by at least ``factor``.

    Attributes:
        statement: The fact that was tested, in words.
        residual: Measured violation; 0 is perfect, finite, dimensionless unless ``settings`` says otherwise.
        tolerance: Largest residual that counts as none.
        control: Residual of the negative control; ``None`` for a verdict that *is* a control or a figure's bar.
        factor: How far beyond tolerance the control must lie.
        seed: Seed of the random instance, ``None`` if nothing was random.
        sizes: Dimensions of the instance.
        settings: Everything else needed to repeat the check.
    """

    statement: str
    residual: float
    tolerance: float
    control: float | None = None
    factor: float = CONTROL_FACTOR
    seed: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("residual", self.residual), ("control residual", self.control)):
            if value is not None and not isfinite(value):
                raise SymtheoryError(f"a finite {name}", f"{value}", "find the NaN or the overflow in the check")
        if not 0 <= self.tolerance < inf:
            raise SymtheoryError("a finite tolerance of at least 0", f"{self.tolerance}", "justify it by rounding")

    @property
    def gap(self) -> float:
        """How many times the control exceeds the tolerance; infinite without a control."""
        return inf if self.control is None else self.control / self.tolerance if self.tolerance else inf

    @property
    def holds(self) -> bool:
        """Whether the statement was seen to hold and the check was seen able to fail."""
        return self.residual <= self.tolerance and self.gap >= self.factor

    def __bool__(self) -> bool:
        return self.holds

    def __repr__(self) -> str:
        word = "holds" if self.holds else "FAILS"
        control = "" if self.control is None else f", control {self.control:.1e}"
        seed = "" if self.seed is None else f", seed {self.seed}"
        sign = "<=" if self.residual <= self.tolerance else ">"
        return f"{word}: {self.statement} (residual {self.residual:.1e} {sign} {self.tolerance:.1e}{control}{seed})"


@dataclass(frozen=True)
class Step:
    """One identity of a proof.

    Attributes:
        name: What the step shows, in words.
        lhs: Left side.
        rhs: Right side.
        difference: ``lhs - rhs`` after simplification; the step is proved when this is zero.
    """

    name: str
    lhs: sympy.Expr
    rhs: sympy.Expr
    difference: sympy.Expr

    @property
    def proved(self) -> bool:
        """Whether the two sides are identical."""
        return self.difference == 0

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {sympy.latex(self.lhs)} = {sympy.latex(self.rhs)}$"


@dataclass(frozen=True)
class Proof:
    """Named identities that together carry a claim, and what they are proved for.

    Attributes:
        claim: Id of the claim.
        scope: The class of functions and dimensions covered, in words.
        steps: The identities, in order.
    """

    claim: str
    scope: str
    steps: tuple[Step, ...]

    @property
    def proved(self) -> bool:
        """Whether there is at least one step and every step simplified to zero."""
        return bool(self.steps) and all(step.proved for step in self.steps)

    def _repr_markdown_(self) -> str:
        rows = []
        for i, step in enumerate(self.steps, 1):
            mark = "✓" if step.proved else "**open**"
            rows.append(f"{i}. {step.name}: ${sympy.latex(step.lhs)} = {sympy.latex(step.rhs)}$ {mark}")
        return f"*Scope: {self.scope}*\n\n" + "\n".join(rows)

    def __repr__(self) -> str:
        return f"Proof of {self.claim}: {sum(s.proved for s in self.steps)} of {len(self.steps)} steps, {self.scope}"
