"""Results to axes; the only place that imports matplotlib."""

from collections.abc import Callable

import xarray as xr
from matplotlib.figure import Figure

from symtheory.plots.a1 import figure_a1
from symtheory.plots.a2 import figure_a2
from symtheory.plots.a3a import figure_a3a
from symtheory.plots.a3b import figure_a3b
from symtheory.plots.a3c import figure_a3c, figure_a6
from symtheory.plots.a4 import figure_a4
from symtheory.plots.a5 import figure_a5
from symtheory.plots.a7 import figure_a7
from symtheory.plots.a8 import figure_a8
from symtheory.plots.attention import figure_a9, figure_a10
from symtheory.plots.b1 import figure_b1
from symtheory.plots.b2 import figure_b2, figure_b10
from symtheory.plots.b3a import figure_b3a
from symtheory.plots.b3b import figure_b3b
from symtheory.plots.b3c import figure_b3c
from symtheory.plots.b4 import figure_b4
from symtheory.plots.b5 import figure_b5, figure_b11
from symtheory.plots.b6 import figure_b6, figure_b7
from symtheory.plots.b8 import figure_b8
from symtheory.plots.bt1 import figure_bt1
from symtheory.plots.c1 import figure_c1
from symtheory.plots.c2 import figure_c2
from symtheory.plots.c3 import figure_c3
from symtheory.plots.c4 import figure_c4
from symtheory.plots.c5 import figure_c5
from symtheory.plots.c6 import figure_c6
from symtheory.plots.c6c import figure_c6c
from symtheory.plots.c7 import figure_c7
from symtheory.plots.c8 import figure_c8
from symtheory.plots.style import Drawing

#: Id of a figure to the function that draws its result.
PLOTS: dict[str, Callable[[xr.Dataset], Figure]] = {
    "A1": figure_a1,
    "A2": figure_a2,
    "A3a": figure_a3a,
    "A3b": figure_a3b,
    "A3c": figure_a3c,
    "A4": figure_a4,
    "A5": figure_a5,
    "A6": figure_a6,
    "A7": figure_a7,
    "A8": figure_a8,
    "A9": figure_a9,
    "A10": figure_a10,
    "B1": figure_b1,
    "B2": figure_b2,
    "B3a": figure_b3a,
    "B3b": figure_b3b,
    "B3c": figure_b3c,
    "B4": figure_b4,
    "B5": figure_b5,
    "B6": figure_b6,
    "B7": figure_b7,
    "B8": figure_b8,
    "B10": figure_b10,
    "B11": figure_b11,
    "BT1": figure_bt1,
    "C1": figure_c1,
    "C2": figure_c2,
    "C3": figure_c3,
    "C4": figure_c4,
    "C5": figure_c5,
    "C6": figure_c6,
    "C6c": figure_c6c,
    "C7": figure_c7,
    "C8": figure_c8,
}

__all__ = ["PLOTS", "Drawing"]
