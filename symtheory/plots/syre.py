"""Removal by a static bias: neurons that collapse, and the strength of removal against its bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import COLORS, INK, MUTED, canvas, style


def plot_collapse(result: xr.Dataset, axes: Sequence[Axes]) -> Sequence[Axes]:
    """Distance to the nearest mirror during training, one axis for each activation and start.

    Args:
        result: From :class:`symtheory.figures.syre_collapse.SyreCollapse`.
        axes: As many axes as activations times starts.

    Returns:
        The axes.
    """
    nearest = result["distance"].min("pair").clip(min=1e-9)
    cases = [(a, s) for a in result["activation"].values for s in result["start"].values]
    for (activation, start), ax in zip(cases, axes, strict=True):
        here = nearest.sel(activation=activation, start=start)
        for k, sigma0 in enumerate(here["sigma0"].values):
            runs = here.sel(sigma0=sigma0)
            color = INK if sigma0 == 0 else COLORS[k - 1]
            label = "plain decay" if sigma0 == 0 else rf"$\sigma_0 = {sigma0:g}$"
            ax.plot(runs["step"], runs.median("seed"), color=color, label=label, marker="os^D"[k % 4], markevery=5)
            ax.fill_between(runs["step"], runs.min("seed"), runs.max("seed"), color=color, alpha=0.12, linewidth=0)
        ax.set(yscale="log", ylim=(5e-10, 3), xlabel="step", title=f"{activation}, {start}")
    axes[0].set_ylabel("distance to the nearest mirror")
    return axes


def figure_collapse(result: xr.Dataset) -> Figure:
    """The whole figure.

    Args:
        result: From :class:`symtheory.figures.syre_collapse.SyreCollapse`.

    Returns:
        The figure.
    """
    with style():
        figure, axes = canvas(4, width=2.3, height=3.0, sharey=True)
        plot_collapse(result, axes)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def plot_guarantee(result: xr.Dataset, ax: Axes) -> Axes:
    """Counted probabilities with intervals against the bound, over the size of the bias.

    Args:
        result: From :class:`symtheory.figures.syre_strength.SyreStrength`.
        ax: Where to draw.

    Returns:
        The axis.
    """
    for k, name in enumerate(result["case"].values):
        part = result.sel(case=name)
        x, y = part["sigma0"].values, part["probability"].values
        error = np.abs(part[["low", "high"]].to_array().values - y)
        ax.errorbar(x, y, yerr=error, fmt="os^"[k % 3], color=COLORS[k], markersize=4, label=f"{name}, counted")
        ax.plot(x, part["bound"], color=COLORS[k], linewidth=1.2, label="corrected bound" if k == 0 else None)
        ax.plot(
            x, part["printed"], color=COLORS[k], linewidth=1.0, linestyle=":", label="printed bound" if k == 0 else None
        )
    ax.set(xscale="log", ylim=(-0.02, 1.02), xlabel=r"$\sigma_0$")
    ax.set_ylabel(r"$\Pr(\min_i|\Delta_i|>\epsilon)$")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, fontsize=9)
    return ax


def plot_scalings(result: xr.Dataset, ax: Axes) -> Axes:
    """Strengths against number and rank with fitted lines.

    Args:
        result: From :class:`symtheory.figures.syre_strength.SyreStrength`.
        ax: Where to draw.

    Returns:
        The axis.
    """
    for k, name in enumerate(result["scaling"].values):
        part = result.sel(scaling=name).dropna("point")
        x, y = part["x"].values, part["strength"].values
        ax.plot(x, y, "os^Dv"[k % 5], color=COLORS[k], markersize=5)
        line = part["prefactor"].values * x ** part["exponent"].values
        ax.plot(x, line, color=COLORS[k], linewidth=1.2, label=f"{name}: {float(part['exponent']):+.2f}")
    ax.set(xscale="log", yscale="log", xlabel=r"$N$, $r$", ylabel=r"strength in units of $\gamma\sigma_0$")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, fontsize=9)
    return ax


def figure_strength(result: xr.Dataset) -> Figure:
    """Guarantee and scalings side by side.

    Args:
        result: From :class:`symtheory.figures.syre_strength.SyreStrength`.

    Returns:
        The figure.
    """
    with style():
        figure, axes = canvas(2, width=4.2, height=4.4)
        plot_guarantee(result, axes[0])
        plot_scalings(result, axes[1])
        axes[1].axhline(1, color=MUTED, linewidth=0.5)
    return figure
