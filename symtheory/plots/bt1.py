"""Figure BT1: the paper's table as bars, a row a model and a panel a column, with the paper's numbers marked."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.figures.bt1 import PAPER, VANILLA
from symtheory.plots.style import BLUE, INK, ORANGE, canvas, style
from symtheory.plots.style import PAPER as BACKGROUND


def plot_column(values: xr.DataArray, column: int, ax: Axes) -> Axes:
    """One column of the table: mean over seeds as a bar, each seed as a dot, the paper's number as a diamond.

    Args:
        values: Dims ``(seed, model)``.
        column: Place of the paper's number in its row.
        ax: Where to draw.

    Returns:
        The axes.
    """
    models, mean = values["model"].values.tolist(), values.mean("seed").values
    rows = np.arange(len(models))
    ax.barh(rows, mean, height=0.6, color=[BLUE if m == VANILLA else ORANGE for m in models], alpha=0.75)
    if values.sizes["seed"] > 1:
        for one in values.transpose("seed", "model").values:
            ax.plot(one, rows, ".", color=INK, markersize=3)
    theirs = [(PAPER[m][column], row) for row, m in zip(rows, models, strict=True) if m in PAPER]
    if theirs:
        ax.plot(*zip(*theirs, strict=True), "D", color=INK, markerfacecolor=BACKGROUND, markersize=6, label="paper")
    top = max([*mean, *(x for x, _ in theirs), 1e-3])
    for row, x in zip(rows, mean, strict=True):
        ax.annotate(f"{100 * x:.1f}%", (1.3 * top, row), ha="right", va="center", fontsize=9)
    ax.set(yticks=rows, xlim=(-0.02 * top, 1.32 * top), ylim=(len(models) - 0.4, -0.6))
    ax.set_yticklabels(models)
    return ax


def figure_bt1(result: xr.Dataset) -> Figure:
    """Low-rankness, accuracy of the penultimate layer, accuracy of the last layer.

    Args:
        result: From :class:`symtheory.figures.bt1.BT1`.

    Returns:
        The drawing.
    """
    columns = {
        "low-rankness": result["low_rank"],
        "penultimate layer accuracy": result["accuracy"].sel(layer="penultimate"),
        "last layer accuracy": result["accuracy"].sel(layer="last"),
    }
    with style():
        figure, axes = canvas(3, width=3.6, height=3.4, sharey=True)
        for k, (ax, (name, values)) in enumerate(zip(axes, columns.items(), strict=True)):
            plot_column(values, k, ax)
            ax.set(xlabel=name, ylabel="model")
        handles, labels = axes[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, [f"{x} (CIFAR-100)" for x in labels], loc="outside upper right")
    return figure
