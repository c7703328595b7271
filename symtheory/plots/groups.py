"""Removal of finite groups: exponents, and guaranteed against counted strengths."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import COLORS, INK, MUTED, canvas, style


def plot_laws(result: xr.Dataset, ax: Axes) -> Axes:
    """Strengths against rank and number of pieces, with fitted lines.

    Args:
        result: From :class:`symtheory.figures.group_strength.GroupStrength`.
        ax: Where to draw.

    Returns:
        The axis.
    """
    for k, name in enumerate(result["law"].values):
        part = result.sel(law=name).dropna("point")
        x, y = part["x"].values, part["strength"].values
        ax.plot(x, y, "os^D"[k % 4], color=COLORS[k], markersize=5)
        fit = float(part["exponent"])
        ax.plot(x, float(part["prefactor"]) * x**fit, color=COLORS[k], linewidth=1.2, label=f"{name}: {fit:+.2f}")
    ax.set(xscale="log", yscale="log", xlabel="rank, or number of pieces")
    ax.set_ylabel(r"strength in units of $\gamma\sigma_0$")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)
    return ax


def plot_guarantees(result: xr.Dataset, ax: Axes) -> Axes:
    """Guaranteed and printed strengths for every group, against counted ones.

    Args:
        result: From :class:`symtheory.figures.group_strength.GroupStrength`.
        ax: Where to draw.

    Returns:
        The axis.
    """
    counted = result["counted"].values
    ends = np.array([counted.min() / 2, counted.max() * 2])
    ax.plot(ends, ends, color=MUTED, linewidth=0.8)
    ax.plot(counted, result["guaranteed"].values, "o", color=COLORS[0], markersize=5, label="guaranteed, as corrected")
    ax.plot(counted, result["printed"].values, "x", color=COLORS[1], markersize=6, label="as printed")
    unsafe = (result["printed"] > result["counted"]).values
    for name, x, y in zip(
        result["group"].values[unsafe], counted[unsafe], result["printed"].values[unsafe], strict=True
    ):
        label = "$" + str(name).split(",")[0].replace("x", r"\times ") + "$"
        ax.annotate(label, (x, y), textcoords="offset points", xytext=(0, 6), ha="center", color=INK, fontsize=8)
    ax.set(xscale="log", yscale="log", xlabel=r"counted strength in units of $\gamma\sigma_0$")
    ax.set_ylabel("promised strength")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)
    return ax


def figure_groups(result: xr.Dataset) -> Figure:
    """Both side by side.

    Args:
        result: From :class:`symtheory.figures.group_strength.GroupStrength`.

    Returns:
        The figure.
    """
    with style():
        figure, axes = canvas(2, width=4.3, height=4.4)
        plot_laws(result, axes[0])
        plot_guarantees(result, axes[1])
    return figure
