"""Figure A8: rank of a factorised matrix against weight decay."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, MUTED, ORANGE, canvas, style


def plot_a8(result: xr.Dataset, ax: Axes) -> Axes:
    """Trained ranks of every seed, ranks of the convex solutions, and of ridge regression without factors.

    Args:
        result: From :class:`symtheory.figures.a8.A8`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    decay = result["decay"]
    for i, seed in enumerate(result["seed"].values):
        part = result.sel(seed=seed)
        ax.plot(
            decay,
            part["predicted_rank"],
            color=MUTED,
            linewidth=1.2,
            label="convex problem, solved" if i == 0 else None,
        )
        ax.plot(
            decay, part["rank"], "o", color=BLUE, markersize=5, alpha=0.75, label="factors, trained" if i == 0 else None
        )
    ridge = result["ridge_rank"].min("seed")
    ax.plot(decay, ridge, color=ORANGE, linestyle="--", linewidth=1.4, label="one matrix, no symmetry")
    ax.set(xlabel=r"weight decay $\gamma$", ylabel="rank", ylim=(-1.5, result.sizes["index"] * 1.12))
    ax.legend(loc="center right")
    return ax


def figure_a8(result: xr.Dataset) -> Figure:
    """The figure on its own canvas.

    Args:
        result: From :class:`symtheory.figures.a8.A8`.

    Returns:
        The drawing.
    """
    with style():
        figure, (ax,) = canvas(width=6.2, height=4.0)
        plot_a8(result, ax)
    return figure
