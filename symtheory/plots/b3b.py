"""Figure B3b: accuracy against the size of the bias."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, MUTED, ORANGE, canvas, style


def plot_b3b(result: xr.Dataset, ax: Axes) -> Axes:
    """Mean and standard deviation over trials; the plain network as a band.

    Args:
        result: From :class:`symtheory.figures.b3b.B3b`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    accuracy = result["accuracy"]
    plain, biased = accuracy.isel(sigma0=0), accuracy.isel(sigma0=slice(1, None))
    mean, spread = float(plain.mean()), float(plain.std(ddof=1))
    ax.axhspan(mean - spread, mean + spread, color=BLUE, alpha=0.18, linewidth=0)
    ax.axhline(mean, color=BLUE, label="vanilla")
    means, spreads = biased.mean("seed").values, biased.std("seed", ddof=1).values
    ax.errorbar(biased["sigma0"].values, means, spreads, fmt="o-", color=ORANGE, capsize=2, label="syre")
    ax.axvline(0.2, color=MUTED, linestyle=":", linewidth=1)
    ax.set(xscale="log", xlabel=r"$\sigma_0$, times root of fan-in", ylabel="test accuracy")
    ax.legend(loc="center right")
    return ax


def figure_b3b(result: xr.Dataset) -> Figure:
    """The figure on its own canvas.

    Args:
        result: From :class:`symtheory.figures.b3b.B3b`.

    Returns:
        The drawing.
    """
    with style():
        figure, (ax,) = canvas(1, width=8.0, height=4.0)
        plot_b3b(result, ax)
    return figure
