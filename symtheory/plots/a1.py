"""Paper A, Figure 1."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, GREEN, INK, ORANGE, canvas, contours, style

COLORS = {"A": BLUE, "B": BLUE, "C": ORANGE}
#: Where the letters stand, in points from their dots.
LETTERS = {"A": (8, -4), "B": (-4, 8), "C": (-3, 9)}


def plot_a1(result: xr.Dataset, ax: Axes) -> Axes:
    """Contours, the mirror, A, B and C, and the directions of descent on the mirror.

    Args:
        result: From :meth:`symtheory.figures.a1.A1.run`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    loss = result["loss"].sel(variant="symmetric")
    w1, w2 = loss["w1"].values, loss["w2"].values
    values = loss.transpose("w2", "w1").values
    # levels at even quantiles: both the flat valley and the steep corner show
    contours(ax, w1, w2, values, np.unique(np.quantile(values, np.linspace(0.01, 0.97, 14))))
    low, high = float(w1[0]), float(w1[-1])
    ax.plot([low, high], [low, high], color=INK, linewidth=1.4, zorder=2)
    label = high - 0.12 * (high - low)
    ax.annotate(
        "mirror", (label, label), xytext=(-9, 9), textcoords="offset points", rotation=45, ha="center", va="center"
    )

    at = {str(p): result["position"].sel(point=p).values for p in result["point"].values}
    ax.plot(*np.stack([at["A"], at["B"]], axis=1), color=INK, linestyle=":", linewidth=1.2, zorder=2)
    for name in ("A", "C"):  # the radii of A and C show which norm is smaller
        radius, turn = float(np.hypot(*at[name])), np.linspace(0, np.pi / 2, 100)
        ax.plot(radius * np.cos(turn), radius * np.sin(turn), color=COLORS[name], linewidth=1, linestyle="--", zorder=2)
    for name, (x, y) in at.items():
        ax.plot(x, y, "o", color=COLORS[name], markersize=7, markeredgecolor="white", zorder=5)
        ax.annotate(
            name,
            (x, y),
            xytext=LETTERS[name],
            textcoords="offset points",
            color=COLORS[name],
            weight="bold",
            fontsize=11,
        )

    descent = -result["gradient"].sel(variant="symmetric").values
    length = np.linalg.norm(descent, axis=-1, keepdims=True)
    unit = np.divide(descent, length, out=np.zeros_like(descent), where=length > 0)
    step = 0.09 * (high - low)
    places = result["mirror_position"].values
    inside = np.all((places + step * unit >= low) & (places + step * unit <= high), axis=-1)
    ax.quiver(
        *places[inside].T, *(step * unit[inside]).T,
        angles="xy", scale_units="xy", scale=1, width=0.009, color=GREEN, zorder=4,
    )  # fmt: skip
    if inside.sum() > 1:
        ax.annotate(
            r"$-\nabla L$", places[inside][-2], xytext=(-2, -18), textcoords="offset points", color=GREEN, fontsize=11
        )
    origin = (0.0, 0.0)
    ax.plot(*origin, "+", color=INK, markersize=9, zorder=4)
    ax.annotate("0", origin, xytext=(7, -11), textcoords="offset points")
    ax.set(xlim=(low, high), ylim=(low, high), xlabel="$w_1$", ylabel="$w_2$")
    return ax


def figure_a1(result: xr.Dataset) -> Figure:
    """The whole figure.

    Args:
        result: From :meth:`symtheory.figures.a1.A1.run`.

    Returns:
        The figure.
    """
    with style():
        figure, (ax,) = canvas()
        plot_a1(result, ax)
    return figure
