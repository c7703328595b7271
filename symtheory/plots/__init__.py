"""Results to axes; the only place that imports matplotlib."""

from collections.abc import Callable

import xarray as xr
from matplotlib.figure import Figure

from symtheory.plots.a1 import figure_a1
from symtheory.plots.a2 import figure_a2
from symtheory.plots.a3a import figure_a3a
from symtheory.plots.a5 import figure_a5
from symtheory.plots.a8 import figure_a8
from symtheory.plots.b2 import figure_b2, figure_b10
from symtheory.plots.style import Drawing

#: Id of a figure to the function that draws its result.
PLOTS: dict[str, Callable[[xr.Dataset], Figure]] = {
    "A1": figure_a1,
    "A2": figure_a2,
    "A3a": figure_a3a,
    "A5": figure_a5,
    "A8": figure_a8,
    "B2": figure_b2,
    "B10": figure_b10,
}

__all__ = ["PLOTS", "Drawing"]
