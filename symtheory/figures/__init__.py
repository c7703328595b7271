"""Figures of the papers, by id."""

from symtheory.figures.a1 import A1
from symtheory.figures.a2 import A2
from symtheory.figures.a3a import A3a
from symtheory.figures.a3b import A3b
from symtheory.figures.a4 import A4
from symtheory.figures.a5 import A5
from symtheory.figures.a8 import A8
from symtheory.figures.a9 import A9
from symtheory.figures.a10 import A10
from symtheory.figures.b1 import B1
from symtheory.figures.b2 import B2
from symtheory.figures.b3a import B3a
from symtheory.figures.b3c import B3c
from symtheory.figures.b4 import B4
from symtheory.figures.b5 import B5
from symtheory.figures.b10 import B10
from symtheory.figures.b11 import B11
from symtheory.figures.base import Figure

FIGURES: dict[str, Figure] = {
    figure.id: figure
    for figure in (
        *(A1(), A2(), A3a(), A3b(), A4(), A5(), A8(), A9(), A10()),
        *(B1(), B2(), B3a(), B3c(), B4(), B5(), B10(), B11()),
    )
}

__all__ = ["FIGURES"]
