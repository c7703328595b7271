"""Figure C5: two basins, the wall between them, and what gradient flow would have to climb."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, GREEN, INK, ORANGE, PAPER, canvas, contours, style

#: The wall is red as in the paper.
RED = "#c1121f"
#: Mark and colour of each place.
MARKS = {
    "teacher": ("teacher: the global minimum", "*", GREEN, 190),
    "far": ("minimum beyond the wall", "X", ORANGE, 90),
    "wall": ("lowest point of the wall: a saddle", "D", BLUE, 42),
}


def marked(ax: Axes, place: str, x: float, y: float) -> None:
    """One of the special points.

    Args:
        ax: Where to draw.
        place: ``teacher``, ``far`` or ``wall``.
        x: Abscissa.
        y: Ordinate.
    """
    label, mark, color, size = MARKS[place]
    ax.scatter([x], [y], marker=mark, s=size, color=color, edgecolor=PAPER, linewidth=0.8, zorder=6, label=label)


def plot_c5(result: xr.Dataset, ax: Axes, setting: str = "ReLU") -> Axes:
    """Loss over the two weights of the map, the others at the teacher's.

    Args:
        result: From :class:`symtheory.figures.c5.C5`.
        ax: Where to draw.
        setting: ``ReLU`` or ``GELU``.

    Returns:
        The axes.
    """
    surface = result["surface"].sel(setting=setting)
    values = np.log10(surface.clip(min=1e-4).values)
    contours(ax, surface["diagonal"].values, surface["off"].values, values, np.linspace(-3, 1, 17))
    low, high = float(surface["diagonal"][0]), float(surface["diagonal"][-1])
    ax.plot([low, high], [low, high], color=RED, linewidth=2.2, label=r"fixed-point subspace $\theta_1=\theta_2$")
    points = result["at"].sel(psi=result.attrs["degrees"], setting=setting, scope="plane")
    for place in MARKS:
        mu, delta = (float(points.sel(place=place, coordinate=k)) for k in ("mu", "delta"))
        marked(ax, place, (mu + 2**0.5 * delta) / 3, (mu - delta / 2**0.5) / 3)
    ax.set(xlabel=r"diagonal weight $\theta_1$", ylabel=r"off-diagonal weight $\theta_2$")
    ax.set(xlim=(low, high), ylim=(low, high), title=setting)
    return ax


def plot_heights(result: xr.Dataset, ax: Axes) -> Axes:
    """Loss of the far minimum and of the lowest point of the wall, over the teacher's angle.

    Args:
        result: From :class:`symtheory.figures.c5.C5`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    chosen = result.sel(scope="all").sortby("psi")
    chosen = chosen.sel(psi=chosen["psi"] != 90)
    for setting, line in (("ReLU", "-"), ("GELU", "--")):
        for place, color in (("wall", BLUE), ("far", ORANGE)):
            values = chosen["value"].sel(setting=setting, place=place)
            mark = MARKS[place][1]
            ax.plot(chosen["psi"], values, line, color=color, marker=mark, markersize=5)
        ax.plot([], [], line, color=INK, label=setting)
    ax.set(yscale="log", ylabel="$L\\,/\\,L(0)$, all weights free", xlabel="angle of the teacher (degrees)")
    ax.set(title="Heights")
    ax.legend(loc="lower right")
    return ax


def figure_c5(result: xr.Dataset) -> Figure:
    """Both students, and the heights.

    Args:
        result: From :class:`symtheory.figures.c5.C5`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, middle, right) = canvas(3, width=3.9, height=4.5)
        plot_c5(result, left, "ReLU")
        plot_c5(result, middle, "GELU")
        plot_heights(result, right)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure
