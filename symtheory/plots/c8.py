"""Figure C8: test errors of every seed, by representation, width and rule."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.figures.c8 import FAILED, failures
from symtheory.plots.style import BLUE, GREEN, INK, MUTED, ORANGE, canvas, style

_COLORS = {"Deep Sets": ORANGE, "suggested": BLUE, "unconstrained": MUTED}
_FLOOR = 1e-5


def plot_errors(result: xr.Dataset, task: str, ax: Axes) -> Axes:
    """Every seed's test error, sorted within its column; above each column the runs that failed.

    Args:
        result: From :class:`symtheory.figures.c8.C8`.
        task: Which.
        ax: Where to draw.

    Returns:
        The axes.
    """
    names = result["representation"].values.tolist()
    places, words = [], []
    for i, rule in enumerate(result["rule"].values.tolist()):
        for j, width in enumerate(result["width"].values.tolist()):
            middle = i * (len(result["width"]) + 0.4) + j
            places.append(middle)
            words.append(f"{rule.split(',')[0]}\n{width} units")
            for k, name in enumerate(names):
                part = result.sel(task=task, rule=rule, width=width, representation=name)
                values = np.sort(part["error"].values).clip(_FLOOR)
                x = middle + 0.28 * (k - 1) + np.linspace(-0.1, 0.1, len(values))
                ax.plot(x, values, ".", color=_COLORS[name], markersize=3.5, label=name if not i and not j else None)
                lost = failures(part)
                ax.annotate(
                    str(lost.hits), (middle + 0.28 * (k - 1), 4), ha="center", fontsize=7.5, color=_COLORS[name]
                )  # fmt: skip
    ax.axhline(FAILED, color=GREEN, linewidth=1)
    ax.set_xticks(places, words)
    ax.set(yscale="log", ylim=(_FLOOR / 2, 12), xlabel="rule and width (above: runs that failed)", title=task)
    ax.set_ylabel("test error / standard deviation", color=INK)
    return ax


def figure_c8(result: xr.Dataset) -> Figure:
    """One panel a task.

    Args:
        result: From :class:`symtheory.figures.c8.C8`.

    Returns:
        The drawing.
    """
    tasks = result["task"].values.tolist()
    with style():
        figure, axes = canvas(len(tasks), width=4.9, height=4.2)
        for task, ax in zip(tasks, axes, strict=True):
            plot_errors(result, task, ax)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3, markerscale=2.5)
    return figure
