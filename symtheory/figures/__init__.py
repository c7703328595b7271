"""Figures of the papers, by id."""

from symtheory.figures.a1 import A1
from symtheory.figures.a2 import A2
from symtheory.figures.a3a import A3a
from symtheory.figures.a3b import A3b
from symtheory.figures.a3c import A3c
from symtheory.figures.a4 import A4
from symtheory.figures.a5 import A5
from symtheory.figures.a6 import A6
from symtheory.figures.a7 import A7
from symtheory.figures.a8 import A8
from symtheory.figures.a9 import A9
from symtheory.figures.a10 import A10
from symtheory.figures.b1 import B1
from symtheory.figures.b2 import B2
from symtheory.figures.b3a import B3a
from symtheory.figures.b3b import B3b
from symtheory.figures.b3c import B3c
from symtheory.figures.b4 import B4
from symtheory.figures.b5 import B5
from symtheory.figures.b6 import B6
from symtheory.figures.b7 import B7
from symtheory.figures.b8 import B8
from symtheory.figures.b10 import B10
from symtheory.figures.b11 import B11
from symtheory.figures.base import Figure
from symtheory.figures.bt1 import BT1
from symtheory.figures.c1 import C1
from symtheory.figures.c2 import C2
from symtheory.figures.c3 import C3
from symtheory.figures.c4 import C4
from symtheory.figures.c5 import C5
from symtheory.figures.c6 import C6
from symtheory.figures.c6c import C6c
from symtheory.figures.c7 import C7
from symtheory.figures.c8 import C8

_ALL: tuple[Figure, ...] = (
    *(A1(), A2(), A3a(), A3b(), A3c(), A4(), A5(), A6(), A7(), A8(), A9(), A10()),
    *(B1(), B2(), B3a(), B3b(), B3c(), B4(), B5(), B6(), B7(), B8(), B10(), B11(), BT1()),
    *(C1(), C2(), C3(), C4(), C5(), C6(), C6c(), C7(), C8()),
)

FIGURES: dict[str, Figure] = {figure.id: figure for figure in _ALL}

__all__ = ["FIGURES"]
