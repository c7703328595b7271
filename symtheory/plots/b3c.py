"""Figure B3c: dead neurons and neuron sizes while training."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, GREEN, MUTED, ORANGE, PINK, canvas, style

_CUT = 1e-6

#: Sizes smaller than this are drawn here.
_FLOOR = 1e-12

_LABELS = {
    "vanilla": ("vanilla SGD", BLUE, "-"),
    "W-fix": ("W-fix", GREEN, "-"),
    "syre": ("syre", ORANGE, "-"),
    "decay": ("decay alone", MUTED, "--"),
    "bias": ("bias alone", PINK, ":"),
}


def _curves(values: xr.DataArray, ax: Axes) -> None:
    """Mean and range over the seeds of every training, against thousands of steps."""
    steps = values["step"] / 1000
    for training, (label, color, line) in _LABELS.items():
        curve = values.sel(training=training)
        ax.fill_between(steps, curve.min("seed"), curve.max("seed"), color=color, alpha=0.18, linewidth=0)
        ax.plot(steps, curve.mean("seed"), line, color=color, label=label)
    ax.set_xlabel("steps / 1000")


def plot_b3c(result: xr.Dataset, ax: Axes) -> Axes:
    """Dead neurons while training.

    Args:
        result: From :class:`symtheory.figures.b3c.B3c`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    _curves(result["dead"].sel(cut=_CUT, lr=result.attrs["lr"]), ax)
    dim = result.attrs["dim"]
    ax.set(ylabel="dead neurons", ylim=(-0.04 * dim, 1.06 * dim))
    return ax


def plot_sizes(result: xr.Dataset, ax: Axes) -> Axes:
    """Size of the neuron that is larger than a quarter of all, while training.

    Args:
        result: From :class:`symtheory.figures.b3c.B3c`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    size = result["size"].sel(quantile=0.25, lr=result.attrs["lr"]).clip(min=_FLOOR)
    _curves(size, ax)
    sigma0 = result.attrs["sigma0"]
    ax.axhline(sigma0, color=MUTED, linewidth=0.8)
    ax.annotate(
        r"$\sigma_0$", (1, sigma0), (-2, 3), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right"
    )
    ax.set(yscale="log", ylabel="neuron size, lower quartile", ylim=(_FLOOR / 3, 1))
    return ax


def figure_b3c(result: xr.Dataset) -> Figure:
    """Both side by side.

    Args:
        result: From :class:`symtheory.figures.b3c.B3c`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, right) = canvas(2, width=4.4, height=4.1)
        plot_b3c(result, left)
        plot_sizes(result, right)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure
