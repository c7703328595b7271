"""Paper A, Figure 5."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, INK, ORANGE, canvas, contours, style

TITLES = {"product": r"$L = (wu-1)^2$", "ring": r"$L = -\|\theta\|^2 + \|\theta\|^4$"}
#: Fraction of the square shown; the ring is smaller than the hyperbola.
ZOOM = {"product": 1.0, "ring": 0.8}


def _panel(part: xr.Dataset, ax: Axes, zoom: float) -> None:
    part = part.sel(variant="symmetric")
    u, w = part["u"].values, part["w"].values
    edge = zoom * float(u[-1])
    loss = part["loss"].transpose("w", "u").values
    shown = loss[np.ix_(np.abs(w) <= edge, np.abs(u) <= edge)]
    contours(ax, u, w, loss, np.unique(np.quantile(shown, np.linspace(0.02, 0.95, 12))))
    for angle in np.unique(np.deg2rad(part["angle"].values)):
        reach = 2 * edge * np.array([-1, 1])
        ax.plot(reach * np.cos(angle), reach * np.sin(angle), color=INK, linewidth=0.9, linestyle="--", zorder=2)
    for start in range(part.sizes["start"]):
        runs = part.isel(start=start)
        color = ORANGE if float(runs["beside"]) else BLUE
        for mode, wide in (("SGD", 0.8), ("gradient descent", 2.0)):
            path = runs["path"].sel(mode=mode).values
            ax.plot(*path.T, color=color, linewidth=wide, alpha=0.6 if mode == "SGD" else 1.0, zorder=3)
        first, last = path[0], path[-1]
        ax.plot(*first, "o", color=color, markersize=7, markeredgecolor="white", zorder=5)
        ax.plot(*last, "x", color=color, markersize=7, markeredgewidth=2, zorder=5)
    ax.set(xlim=(-edge, edge), ylim=(-edge, edge), xlabel="$u$", ylabel="$w$")


def plot_a5(result: xr.Dataset, axes: Sequence[Axes]) -> Sequence[Axes]:
    """Contours, stationary lines (dashed), and descent from on them and beside them.

    Args:
        result: From :meth:`symtheory.figures.a5.A5.run`.
        axes: Two axes.

    Returns:
        The axes.
    """
    for name, ax in zip(result["landscape"].values, axes, strict=True):
        _panel(result.sel(landscape=name), ax, ZOOM[str(name)])
        ax.set_title(TITLES[str(name)])
    return axes


def figure_a5(result: xr.Dataset) -> Figure:
    """The whole figure.

    Args:
        result: From :meth:`symtheory.figures.a5.A5.run`.

    Returns:
        The figure.
    """
    with style():
        figure, axes = canvas(2, width=4.5)
        plot_a5(result, axes)
        handles = [
            axes[0].plot([], [], color=BLUE, marker="o", label="started on a line")[0],
            axes[0].plot([], [], color=ORANGE, marker="o", label="started beside one")[0],
            axes[0].plot([], [], color=INK, linewidth=0.8, label="the same with SGD")[0],
            axes[0].plot([], [], color=INK, linestyle="none", marker="x", label="end")[0],
            axes[0].plot([], [], color=INK, linestyle="--", linewidth=0.9, label="stationary condition")[0],
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.4)
    return figure
