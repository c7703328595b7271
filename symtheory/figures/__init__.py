"""Figures of the papers, by id."""

from symtheory.figures.a1 import A1
from symtheory.figures.a2 import A2
from symtheory.figures.a3a import A3a
from symtheory.figures.a5 import A5
from symtheory.figures.a8 import A8
from symtheory.figures.b2 import B2
from symtheory.figures.b10 import B10
from symtheory.figures.base import Figure

FIGURES: dict[str, Figure] = {figure.id: figure for figure in (A1(), A2(), A3a(), A5(), A8(), B2(), B10())}

__all__ = ["FIGURES"]
