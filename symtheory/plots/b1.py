"""Figure B1: training loss from starts of low and high capacity."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import canvas, style

_LINES = {"SGD": "-", "Adam": "--"}


def plot_b1(result: xr.Dataset, ax: Axes, training: str) -> Axes:
    """Loss while training, the darker the higher the capacity of the start.

    Args:
        result: From :class:`symtheory.figures.b1.B1`.
        ax: Where to draw.
        training: ``vanilla``, ``decay`` or ``syre``.

    Returns:
        The axes.
    """
    counts = result["different"].values.tolist()
    tones = mpl.colormaps["Greys"](np.linspace(0.35, 1.0, len(counts)))
    loss = result["loss"].sel(training=training).mean("seed")
    for name, line in _LINES.items():
        for count, tone in zip(counts, tones, strict=True):
            curve = loss.sel(optimizer=name, different=count)
            ax.plot(curve["step"], curve, line, color=tone, label=f"{count}" if name == "SGD" else None)
    ax.set(xlabel="training steps", ylabel="training loss", yscale="log", title=training)
    return ax


def figure_b1(result: xr.Dataset) -> Figure:
    """Vanilla and syre side by side.

    Args:
        result: From :class:`symtheory.figures.b1.B1`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, right) = canvas(2, width=4.4, height=4.3, sharey=True)
        plot_b1(result, left, "vanilla")
        plot_b1(result, right, "syre")
        handles, labels = left.get_legend_handles_labels()
        title = "different neurons at the start; solid SGD, dashed Adam"
        figure.legend(handles, labels, title=title, loc="outside lower center", ncols=len(labels))
    return figure
