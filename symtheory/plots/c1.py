"""Figure C1: two runs on a plane of the real landscape, their losses, and the copies in which relaxed runs end."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, GREEN, INK, MUTED, ORANGE, canvas, contours, style


def plot_plane(result: xr.Dataset, ax: Axes) -> Axes:
    """The loss on the plane through the trapped network, the teacher and the relaxed network, with both runs.

    Args:
        result: From :class:`symtheory.figures.c1.C1`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    x, y, loss = result["x"].values, result["y"].values, result["loss"].values
    levels = np.geomspace(3e-3, 1.0, 12)
    contours(ax, x, y, loss, levels)
    ax.axhline(0, color=INK, linewidth=1.0, linestyle="--", label=r"constrained space $\Theta_P$")
    wall = float(result["wall"])
    ax.plot([wall], [0], "|", color=ORANGE, markersize=20, markeredgewidth=2.4, label="hidden wall", linestyle="none")
    for name, color, dash in (("constrained", BLUE, "-"), ("relaxed", GREEN, "-")):
        way = result[f"{name}_path"]
        ax.plot(way.sel(axis="x"), way.sel(axis="y"), dash, color=color, linewidth=2.6, label=f"{name} run")
        if name == "constrained":
            ax.plot(way[0, 0], way[0, 1], "o", color=color, markersize=6)
    spots = {"trapped": ("trapped", "s"), "teacher": ("teacher", "*"), "relaxed": ("same function,\nother copy", "*")}
    for point, (words, mark) in spots.items():
        px, py = result["points"].sel(point=point).values
        ax.plot([px], [py], mark, color=INK, markersize=11 if mark == "*" else 7)
        ax.annotate(words, (px, py), (7, 7), textcoords="offset points", fontsize=9.5)
    ax.set(xlabel="towards the teacher", ylabel="towards the relaxed run's end", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    return ax


def plot_runs(result: xr.Dataset, ax: Axes) -> Axes:
    """Losses of the constrained run and then of the relaxed ones.

    Args:
        result: From :class:`symtheory.figures.c1.C1`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    steps = result["record"].values / 1000
    ax.plot(steps, result["constrained_loss"], color=BLUE)
    relaxed = result["relaxed_loss"].clip(min=1e-12)
    ax.plot(steps[-1] + steps, relaxed[:, :40], color=GREEN, linewidth=0.6, alpha=0.5)
    ax.axvline(steps[-1], color=MUTED, linewidth=0.8, linestyle=":")
    ax.annotate("constraint\ndropped", (steps[-1], 1e-9), (-6, 0), textcoords="offset points", ha="right", fontsize=9)
    ax.set(yscale="log", xlabel="steps / 1000", ylabel="loss / loss of the zero net", ylim=(3e-13, 1.5))
    return ax


def plot_copies(result: xr.Dataset, ax: Axes) -> Axes:
    """In which copy of the constrained space the relaxed runs end.

    Args:
        result: From :class:`symtheory.figures.c1.C1`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    names = result["which"].values.tolist()
    counts = [int((result["copy"] == i).sum()) for i in range(len(names))]
    home = int(result["trap_distance"].argmin("which"))
    bars = ax.bar(names, counts, color=[BLUE if i == home else GREEN for i in range(len(names))])
    ax.bar_label(bars, fontsize=9)
    ax.get_xticklabels()[home].set_color(BLUE)
    ax.set(xlabel="copy, by the order of its units\n(blue: where it was trapped)", ylabel="relaxed runs")
    return ax


def figure_c1(result: xr.Dataset) -> Figure:
    """Side by side.

    Args:
        result: From :class:`symtheory.figures.c1.C1`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, middle, right) = canvas(3, width=4.2, height=4.4, width_ratios=(1.5, 1, 0.9))
        plot_plane(result, left)
        plot_runs(result, middle)
        plot_copies(result, right)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=4)
    return figure
