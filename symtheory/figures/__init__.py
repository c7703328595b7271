"""Figures of the papers, by id."""

from symtheory.figures.a1 import A1
from symtheory.figures.a2 import A2
from symtheory.figures.a3a import A3a
from symtheory.figures.a4 import A4
from symtheory.figures.a5 import A5
from symtheory.figures.a8 import A8
from symtheory.figures.b3c import B3c
from symtheory.figures.base import Figure

FIGURES: dict[str, Figure] = {figure.id: figure for figure in (A1(), A2(), A3a(), A4(), A5(), A8(), B3c())}

__all__ = ["FIGURES"]
