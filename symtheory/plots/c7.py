"""Figure C7: who leaves a hidden wall, who crosses it, and which activations leak."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.figures.c7 import LEFT, SUCCESS, share
from symtheory.plots.style import BLUE, GREEN, INK, MUTED, ORANGE, canvas, style

_LOOKS = {"orthonormal": (BLUE, "o"), "turned": (GREEN, "s"), "tied": (ORANGE, "D")}


def _points(ax: Axes, result: xr.Dataset, values: xr.DataArray) -> None:
    """Fractions of runs with their intervals, by rule, coordinates and group."""
    groups = result["group"].values.tolist()
    rules = result["rule"].values.tolist()
    for i, (kind, (color, mark)) in enumerate(_LOOKS.items()):
        for j, group in enumerate(groups):
            shares = [share(values.sel(coordinates=kind, group=group, rule=r)) for r in rules]
            at = np.arange(len(rules)) + 0.24 * (i - 1) + 0.1 * (j - (len(groups) - 1) / 2)
            y = np.array([p.value for p in shares])
            bars = [y - [p.low for p in shares], np.array([p.high for p in shares]) - y]
            ax.errorbar(
                at, y, yerr=bars, fmt=mark, color=color, markersize=5, linewidth=1.1,
                markerfacecolor=color if j == 0 else "white", label=f"{kind} coordinates" if j == 0 else None,
            )  # fmt: skip
    for j, group in enumerate(groups):
        ax.plot([], [], "o", color=INK, markerfacecolor=INK if j == 0 else "white", label=f"$S_{group[1:]}$")
    ax.set_xticks(range(len(rules)), rules)
    ax.set(xlabel="optimiser", ylim=(-0.03, 1.03))


def plot_stay(result: xr.Dataset, ax: Axes) -> Axes:
    """Fraction of runs on the wall that step off it.

    Args:
        result: From :class:`symtheory.figures.c7.C7`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    _points(ax, result, result["most"].sel(start="on the wall") > LEFT)
    ax.set(ylabel="runs on the wall that step off it")
    return ax


def plot_cross(result: xr.Dataset, ax: Axes) -> Axes:
    """Fraction of runs off the wall that cross it.

    Args:
        result: From :class:`symtheory.figures.c7.C7`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    crossed = result["crossed"].sel(start="off the wall")
    _points(ax, result, crossed)
    ax.set(ylabel="runs off the wall that ever cross it", ylim=(-0.01, 0.15 + float(crossed.mean("run").max())))
    return ax


def plot_smooth(result: xr.Dataset, ax: Axes) -> Axes:
    """Success of gradient descent by side and activation, at the smallest rate.

    Args:
        result: From :class:`symtheory.figures.c7.C7`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    slow = result.isel(rate=-1)
    names = result["activation"].values.tolist()
    for side, color, gap, words in (
        (1, BLUE, -0.12, "from the teacher's side"),
        (-1, ORANGE, 0.12, "from the wrong side"),
    ):
        for i, name in enumerate(names):
            part = slow.sel(activation=name)
            chosen = (part["smooth_height"] * side > 0).values
            p = share((part["smooth_loss"] < SUCCESS)[chosen])
            ax.errorbar(
                [i + gap], [p.value], yerr=[[p.value - p.low], [p.high - p.value]], fmt="o" if side > 0 else "s",
                color=color, markersize=5, linewidth=1.2, label=words if i == 0 else None,
            )  # fmt: skip
            sign = share(part["smooth_turned"][chosen])
            ax.plot([i + gap - 0.07, i + gap + 0.07], [sign.value] * 2, color=MUTED, linewidth=2)
    ax.plot([], [], color=MUTED, linewidth=2, label="output weight turned negative")
    ax.set_xticks(range(len(names)), names)
    ax.set(xlabel="activation", ylabel="fraction of runs that learn", ylim=(-0.03, 1.03), xlim=(-0.5, len(names) - 0.5))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=9)
    return ax


def figure_c7(result: xr.Dataset) -> Figure:
    """Side by side.

    Args:
        result: From :class:`symtheory.figures.c7.C7`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, middle, right) = canvas(3, width=4.2, height=4.4)
        plot_stay(result, left)
        plot_cross(result, middle)
        plot_smooth(result, right)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=5)
    return figure
