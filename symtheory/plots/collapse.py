"""Exponents at a saddle, predicted and measured, and the networks that collapse onto it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.engine.statistics import clopper_pearson
from symtheory.figures.collapse import thresholds, window
from symtheory.plots.style import BLUE, GREEN, INK, MUTED, ORANGE, SKY, canvas, style
from symtheory.theorems.hessian_blocks import lyapunov_exponent
from symtheory.theorems.hessian_blocks.second_order import second_order


def plot_exponents(result: xr.Dataset, ax: Axes) -> Axes:
    """Exponents along both eigenvectors: marks measured, lines predicted.

    Args:
        result: From :meth:`symtheory.figures.collapse.Collapse.run`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    rate, z = result["rate"].values, torch.from_numpy(result["products"].values)
    fine = np.linspace(0.01, rate[-1], 400)
    ax.axhline(0.0, color=MUTED, linewidth=0.8)
    for name, h, color, mark in (("(1, 1)", -z, BLUE, "o"), ("(1, -1)", z, ORANGE, "s")):
        exact = [lyapunov_exponent(h, float(r), exact=True).value for r in fine]
        ax.plot(fine, exact, color=color, linewidth=1.3)
        part = result.sel(direction=name)
        ax.errorbar(
            rate, part["measured"], yerr=3 * part["error"], fmt=mark, color=color, markersize=4, elinewidth=1,
            label=f"SGD along {name}",
        )  # fmt: skip
    ax.plot(fine, [second_order(-z, float(r), 0.0) for r in fine], "--", color=INK, label="second order, (1, 1)")
    ax.plot(fine, np.log(1 + fine * float(z.mean())), ":", color=GREEN, label="gradient descent, (1, 1)")
    ax.set_ylim(-0.75, 1.15)
    ax.set_xlabel(r"learning rate $\lambda$")
    ax.set_ylabel(r"exponent $\Lambda$ per step")
    ax.set_title("growth at the origin")
    ax.legend(loc="upper left", fontsize=9)
    return ax


def plot_collapse(result: xr.Dataset, ax: Axes) -> Axes:
    """Share of networks that collapsed, with the predicted window.

    Args:
        result: From :meth:`symtheory.figures.collapse.Collapse.run`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    runs = int(result.attrs["runs"])
    found = [clopper_pearson(int(k), runs, 0.95) for k in result["collapsed"].values]
    middle = np.array([f.value for f in found])
    bars = np.array([[f.value - f.low for f in found], [f.high - f.value for f in found]])
    low, high = window(result)
    ax.axvspan(low, high, color=SKY, alpha=0.25, linewidth=0, label="predicted window")
    ax.axvline(thresholds(result)[1], color=INK, linestyle="--", linewidth=1.2, label="eq. (5)")
    ax.errorbar(result["rate"], middle, yerr=bars.clip(0), fmt="o", color=BLUE, markersize=4, elinewidth=1)
    ax.set_xlabel(r"learning rate $\lambda$")
    ax.set_ylabel("share of networks collapsed")
    ax.set_title("training from small weights")
    ax.legend(loc="upper right", fontsize=9, bbox_to_anchor=(1.0, 0.9))
    return ax


def figure_collapse(result: xr.Dataset) -> Figure:
    """The whole figure.

    Args:
        result: From :meth:`symtheory.figures.collapse.Collapse.run`.

    Returns:
        The figure.
    """
    with style():
        figure, axes = canvas(2, width=4.6, height=3.9)
        draw: Sequence[Axes] = axes
        plot_exponents(result, draw[0])
        plot_collapse(result, draw[1])
    return figure
