"""Figure A3a: sparsity against the learning rate."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, MUTED, ORANGE, canvas, style

_LABELS = {"vanilla": ("w/o rescaling", BLUE, "o"), "rescaling": ("w/ rescaling", ORANGE, "s")}


def plot_a3a(result: xr.Dataset, ax: Axes) -> Axes:
    """Both models with the spread over seeds; learning rates at which a seed diverged are marked, not drawn.

    Args:
        result: From :class:`symtheory.figures.a3a.A3a`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    fine = result["sparsity"].sel(threshold=float(result["threshold"].min()))
    for model, (label, color, marker) in _LABELS.items():
        stable = (result["diverged"].sel(model=model) == 0).all("seed")
        curve = fine.sel(model=model).where(stable)
        ax.fill_between(result["lr"], curve.min("seed"), curve.max("seed"), color=color, alpha=0.25, linewidth=0)
        ax.plot(result["lr"], curve.mean("seed"), color=color, marker=marker, markersize=4.5, label=label)
        lost = result["lr"].values[~stable.values]
        if lost.size:
            ax.plot(lost, np.full(lost.size, -0.06), "x", color=color, markersize=5, clip_on=False)
            ax.annotate(
                "diverged", (lost[0], -0.06), (-6, 0), textcoords="offset points", ha="right", va="center", color=MUTED
            )
    ax.set(xscale="log", xlabel=r"learning rate $\lambda$", ylabel="sparsity", ylim=(-0.1, 1.05))
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.legend(loc="upper left")
    return ax


def figure_a3a(result: xr.Dataset) -> Figure:
    """The figure on its own canvas.

    Args:
        result: From :class:`symtheory.figures.a3a.A3a`.

    Returns:
        The drawing.
    """
    with style():
        figure, (ax,) = canvas(width=6.2, height=4.0)
        plot_a3a(result, ax)
    return figure
