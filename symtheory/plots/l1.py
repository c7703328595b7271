"""Lasso and group lasso paths, trained and solved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, INK, MUTED, ORANGE, canvas, style

TITLES = {
    "coordinates": r"product in coordinates of $O$",
    "groups": "one scalar for a group of three",
    "printed": r"as printed, $(Pw)\odot(Pu)$",
}


def plot_l1(result: xr.Dataset, axes: Sequence[Axes]) -> Sequence[Axes]:
    """Convex paths as lines, trained ones as marks; blue where the truth is not zero.

    Args:
        result: From :meth:`symtheory.figures.l1.L1.run`.
        axes: Three axes.

    Returns:
        The axes.
    """
    strength, truth = result["strength"].values, result["truth"].values
    for name, ax in zip(result["form"].values, axes, strict=True):
        part = result.sel(form=name)
        for k in np.argsort(np.abs(truth)):
            color = BLUE if truth[k] else MUTED
            ax.plot(strength, part["convex"].values[:, k], color=color, linewidth=1.2, alpha=0.8)
            mark = ORANGE if truth[k] else INK
            ax.plot(strength, part["trained"].values[:, k], "o" if truth[k] else "x", color=mark, markersize=3.5)
        ax.set_title(TITLES[str(name)])
        ax.set_xlabel(r"strength $2\alpha$")
    axes[0].set_ylabel(r"coordinates $O^T\theta$")
    for ax in axes[1:]:
        ax.set_ylabel(r"$O^T\theta$")
        ax.sharey(axes[0])
    return axes


def figure_l1(result: xr.Dataset) -> Figure:
    """The whole figure.

    Args:
        result: From :meth:`symtheory.figures.l1.L1.run`.

    Returns:
        The figure.
    """
    with style():
        figure, axes = canvas(3, width=3.6, height=3.8)
        plot_l1(result, axes)
        handles = [
            axes[0].plot([], [], color=BLUE, label="convex solution, truth not zero")[0],
            axes[0].plot([], [], color=MUTED, label="convex solution, truth zero")[0],
            axes[0].plot([], [], "o", color=ORANGE, label="trained, truth not zero")[0],
            axes[0].plot([], [], "x", color=INK, label="trained, truth zero")[0],
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, columnspacing=1.4)
    return figure
