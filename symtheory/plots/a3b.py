"""Figure A3b: rank of an online matrix factorisation against learning rate and label noise."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import MUTED, canvas, style

#: The cut whose ranks are drawn.
_CUT = 1e-3
_MARKERS = "osD^vP*X"


def _colors(count: int) -> list[tuple[float, ...]]:
    """Dark for strong noise, bright for weak; readable on the page's ground and without colour vision."""
    return [tuple(c) for c in mpl.colormaps["plasma"](np.linspace(0.0, 0.82, count))]


def plot_ranks(result: xr.Dataset, ax: Axes, model: str, *, small: bool = False) -> Axes:
    """Rank of one model against the learning rate, a line for each noise level, with the spread over seeds.

    A line ends at the largest learning rate at which no seed diverged; a cross marks the next one, at which one did.

    Args:
        result: From :class:`symtheory.figures.a3b.A3b`.
        ax: Where to draw.
        model: ``plain`` or ``residual``.
        small: For an inset.

    Returns:
        The axes.
    """
    ranks = result["rank"].sel(model=model, cut=_CUT)
    size = 2.5 if small else 4.5
    for i, (mu, color) in enumerate(zip(result["signal"].values, _colors(result.sizes["signal"]), strict=True)):
        stable = (result["diverged"].sel(model=model, signal=mu) == 0).all("seed")
        curve = ranks.sel(signal=mu).where(stable)
        ax.fill_between(result["lr"], curve.min("seed"), curve.max("seed"), color=color, alpha=0.25, linewidth=0)
        marker = _MARKERS[i % len(_MARKERS)]
        label = rf"$\mu = {mu:g}$"
        ax.plot(result["lr"], curve.mean("seed"), color=color, marker=marker, markersize=size, label=label,
                linewidth=1.0 if small else 1.6)  # fmt: skip
        lost = result["lr"].values[~stable.values]
        if lost.size:
            # one height for each noise level, so that crosses at one learning rate do not hide each other
            low = result.attrs["dim"] * (0.02 + 0.035 * (result.sizes["signal"] - 1 - i))
            ax.plot(lost[:1], [low], "x", color=color, markersize=size + 1)
    ax.set(xscale="log", ylim=(0, 1.06 * result.attrs["dim"]))
    return ax


def plot_a3b(result: xr.Dataset, ax: Axes) -> Axes:
    """The plain model, with the residual model in an inset.

    Args:
        result: From :class:`symtheory.figures.a3b.A3b`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    plot_ranks(result, ax, "plain")
    ax.set(xlabel=r"learning rate $\lambda$", ylabel="rank")
    return ax


def plot_exchanged(result: xr.Dataset, ax: Axes) -> Axes:
    """Both models from each other's start, over the models from their own.

    Args:
        result: From :class:`symtheory.figures.a3b.A3b`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    mu = float(result["few"].min())
    first = result.isel(seed=0)
    for model, own, other in (("plain", "zero", "identity"), ("residual", "identity", "zero")):
        curve = first["rank"].sel(model=model, signal=mu, cut=_CUT)
        curve = curve.where(first["diverged"].sel(model=model, signal=mu) == 0)
        swapped = result["swapped_rank"].sel(model=model, few=mu, cut=_CUT)
        swapped = swapped.where(result["swapped_diverged"].sel(model=model, few=mu) == 0)
        color = _colors(2)[model == "residual"]
        ax.plot(result["lr"], curve, color=color, marker="o", markersize=4.5, label=f"{model}, starts near {own}")
        ax.plot(result["lr"], swapped, color=color, marker="x", markersize=6, linestyle="none",
                label=f"{model}, starts near {other}")  # fmt: skip
    return ax


def figure_a3b(result: xr.Dataset) -> Figure:
    """The figure with its inset, and beside it the exchanged starts.

    Args:
        result: From :class:`symtheory.figures.a3b.A3b`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, right) = canvas(2, width=5.2, height=4.2)
        plot_a3b(result, left)
        inset = left.inset_axes((0.1, 0.1, 0.42, 0.4))
        plot_ranks(result, inset, "residual", small=True)
        inset.set_title("residual", fontsize=9, color=MUTED)
        plot_exchanged(result, right)
    return figure
