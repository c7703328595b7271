"""Figure C3: paths that do not cross the wall, and where they end for every teacher."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.c5 import RED, marked
from symtheory.plots.style import GREEN, INK, MUTED, ORANGE, canvas, contours, style

#: Losses below this are drawn here.
FLOOR = 1e-15


def plot_c3(result: xr.Dataset, ax: Axes) -> Axes:
    """Paths of gradient descent over the plane of functions, with the wall.

    Args:
        result: From :class:`symtheory.figures.c3.C3`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    surface = result["surface"]
    values = np.log10(surface.clip(min=1e-5).values)
    contours(ax, surface["diagonal"].values, surface["off"].values, values, np.linspace(-3, 0.75, 16))
    low, high = float(surface["diagonal"][0]), float(surface["diagonal"][-1])
    ax.plot([low, high], [low, high], color=RED, linewidth=2.4, zorder=3)
    x, y = (result["path"].sel(entry=k).values for k in ("diagonal", "other"))
    for i in range(len(x)):
        color = GREEN if x[i, 0] > y[i, 0] else ORANGE
        ax.plot(x[i], y[i], color=color, linewidth=0.9, alpha=0.8, zorder=4)
        ax.plot(x[i, 0], y[i, 0], ".", color=color, markersize=4, zorder=4)
    u, v = (result["tied_path"].sel(entry=k).values for k in ("diagonal", "other"))
    crossing = [i for i in range(len(u)) if np.any(np.sign(u[i] - v[i]) != np.sign(u[i, 0] - v[i, 0]))]
    for i in crossing[:3]:
        ax.plot(u[i], v[i], ":", color=INK, linewidth=1.8, zorder=5)
    near = x[:, -1] > y[:, -1]
    marked(ax, "teacher", float(np.median(x[near, -1])), float(np.median(y[near, -1])))
    marked(ax, "far", *(float(result["far_minimum"].sel(entry=k)) for k in ("diagonal", "other")))
    ax.set(xlabel=r"$a\,\theta_1$ (diagonal)", ylabel=r"$a\,\theta_2$ (off-diagonal)")
    ax.set(xlim=(-0.45, 0.8), ylim=(-0.45, 0.8), title=f"Paths, teacher at {result.attrs['shown']:.0f}°")
    return ax


def plot_ends(result: xr.Dataset, ax: Axes) -> Axes:
    """Loss at the end of every run against the teacher's angle, by side of the start.

    Args:
        result: From :class:`symtheory.figures.c3.C3`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    order = result.sortby("psi")
    psi = order["psi"].values
    for part in (psi < 90, psi > 90):  # at 90 degrees the minimum is the teacher's own function
        ax.plot(psi[part], order["spurious"][part], color=MUTED, linewidth=1, zorder=1)
    jitter = (np.arange(order.sizes["seed"]) / order.sizes["seed"] - 0.5) * 4
    for side, color, label in ((1, GREEN, "from the teacher's side"), (-1, ORANGE, "from beyond the wall")):
        loss = order["loss"].where(order["side"] == side).clip(min=FLOOR).values
        ax.plot(psi[:, None] + jitter, loss, ".", color=color, markersize=2.5, alpha=0.7, rasterized=True)
        ax.plot([], [], "o", color=color, markersize=5, label=label)
    ax.axhline(1, color=MUTED, linewidth=0.6)
    ax.annotate("zero to rounding", (0.99, 3 * FLOOR), xycoords=("axes fraction", "data"), color=MUTED, ha="right")
    ax.set(yscale="log", ylim=(FLOOR / 5, 4), ylabel="$L\\,/\\,L(0)$ at the end", title="Where the runs end")
    ax.set(xlabel="angle of the teacher (degrees)", xlim=(0, 180), xticks=range(0, 181, 30))
    return ax


def figure_c3(result: xr.Dataset) -> Figure:
    """Paths and ends.

    Args:
        result: From :class:`symtheory.figures.c3.C3`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, right) = canvas(2, width=5.0, height=5.0)
        plot_c3(result, left)
        plot_ends(result, right)
        left.plot([], [], color=RED, linewidth=2.4, label="hidden fixed-point subspace")
        left.plot([], [], ":", color=INK, label="descent on tied numbers")
        right.plot([], [], color=MUTED, linewidth=1, label="located minimum there")
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
        right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    return figure
