"""Figures A3c and A6: correlation matrices of a layer, its units sorted to show blocks."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from symtheory.engine.correlations import order
from symtheory.plots.style import BLUE, canvas, style


def plot_matrix(matrix: np.ndarray, ax: Axes, units: np.ndarray) -> AxesImage:
    """One matrix.

    Args:
        matrix: Correlations, shape ``(units, units)``.
        ax: Where to draw.
        units: Their order.

    Returns:
        The image, for a colour bar.
    """
    ax.set(xticks=[], yticks=[], xlabel="neurons, sorted", ylabel="neurons, sorted")
    return ax.imshow(matrix[np.ix_(units, units)], vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")


def _title(decay: float) -> str:
    return f"weight decay {decay:g}" if decay else "no weight decay"


def figure_a3c(result: xr.Dataset) -> Figure:
    """Matrices without decay and with the largest, and the part of the neurons without a copy against the decay.

    Args:
        result: From :class:`symtheory.figures.a3c.A3c`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, middle, right) = canvas(3, width=3.6, height=3.6)
        images = []
        for ax, k in ((left, 0), (middle, -1)):
            matrix = result["correlation"].isel(decay=k).values
            images.append(plot_matrix(matrix, ax, order(matrix)))
            ax.set_title(_title(float(result["decay"][k])))
        figure.colorbar(images[-1], ax=middle, label="correlation", location="right", shrink=0.8)
        alone, decay = result["lonely"], result["decay"].values
        right.fill_between(decay, alone.min("seed"), alone.max("seed"), color=BLUE, alpha=0.18, linewidth=0)
        right.plot(decay, alone.mean("seed"), "o-", color=BLUE)
        right.set_xscale("symlog", linthresh=float(decay[1]), linscale=0.5)
        right.set(xlabel="weight decay", ylabel="neurons without a copy", ylim=(-0.03, 1.03))
    return figure


def figure_a6(result: xr.Dataset) -> Figure:
    """Matrices before the activation above those after it, in one order for each network.

    Args:
        result: From :class:`symtheory.figures.a6.A6`.

    Returns:
        The drawing.
    """
    with style():
        figure = Figure(figsize=(7.2, 7.6))
        axes = figure.subplots(2, 2)
        images = []
        for column, k in zip(axes.T, (0, -1), strict=True):
            matrices = result["correlation"].isel(decay=k)
            units = order(matrices.sel(place="before activation").values)
            for ax, place in zip(column, ("before activation", "after activation"), strict=True):
                images.append(plot_matrix(matrices.sel(place=place).values, ax, units))
                ax.set_title(f"{_title(float(result['decay'][k]))}, {place}", fontsize=9)
        figure.colorbar(images[-1], ax=list(axes.flat), label="correlation", location="bottom", shrink=0.5, aspect=30)
    return figure
