"""Figure B8: accuracy and rank of the convolutional network from task to task."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, MUTED, ORANGE, style

_COLORS = {"vanilla": BLUE, "syre": ORANGE}
_LINES = ("-", "--", ":", "-.", (0, (1, 3)), (0, (5, 5)))


def plot_accuracy(result: xr.Dataset, ax: Axes) -> Axes:
    """Test accuracy after each task, on it solid and on all so far dashed.

    Args:
        result: From :class:`symtheory.figures.b8.B8`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    for model, color in _COLORS.items():
        for name, label, line in (("accuracy", "this task", "-"), ("recall", "all so far", "--")):
            curve = result[name].sel(model=model)
            ax.fill_between(curve["task"], curve.min("seed"), curve.max("seed"), color=color, alpha=0.18, linewidth=0)
            ax.plot(curve["task"], curve.mean("seed"), linestyle=line, marker=".", color=color,
                    label=f"{model}, {label}")  # fmt: skip
    return _frame(ax, "test accuracy")


def plot_rank(result: xr.Dataset, ax: Axes) -> Axes:
    """Rank after each task, before the activation solid and after it dashed.

    Args:
        result: From :class:`symtheory.figures.b8.B8`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    for model, color in _COLORS.items():
        for place, line in (("before activation", "-"), ("after activation", "--")):
            curve = result["rank"].sel(model=model, place=place)
            ax.fill_between(curve["task"], curve.min("seed"), curve.max("seed"), color=color, alpha=0.18, linewidth=0)
            ax.plot(curve["task"], curve.mean("seed"), linestyle=line, marker=".", color=color,
                    label=f"{model}, {place}")  # fmt: skip
    ax.set(xlabel="task", ylabel="rank", ylim=(0, 1.03 * result.sizes["index"]))
    return ax


def plot_variants(result: xr.Dataset, ax: Axes, dim: str) -> Axes:
    """Test accuracy after each task for several learning rates or numbers of epochs.

    Args:
        result: From :class:`symtheory.figures.b8.B8`.
        ax: Where to draw.
        dim: ``lr`` or ``epochs``.

    Returns:
        The axes.
    """
    for model, color in _COLORS.items():
        for value, line in zip(result[dim].values.tolist(), _LINES, strict=False):
            curve = result[f"{dim}_accuracy"].sel({"model": model, dim: value})
            label = f"{model}, {'rate ' if dim == 'lr' else ''}{value:g}{' epochs' if dim == 'epochs' else ''}"
            ax.plot(curve["task"], curve, linestyle=line, marker=".", color=color, label=label)
    return _frame(ax, "test accuracy")


def figure_b8(result: xr.Dataset) -> Figure:
    """Accuracy and rank above, the other learning rates and epochs below.

    Args:
        result: From :class:`symtheory.figures.b8.B8`.

    Returns:
        The drawing.
    """
    with style():
        figure = Figure(figsize=(8.8, 7.6))
        (accuracy, rank), (rates, epochs) = figure.subplots(2, 2)
        plot_accuracy(result, accuracy)
        plot_rank(result, rank)
        plot_variants(result, rates, "lr")
        plot_variants(result, epochs, "epochs")
        for ax in figure.axes:
            ax.legend(loc="best", fontsize=7.5)
    return figure


def _frame(ax: Axes, label: str) -> Axes:
    """Tasks along, accuracies up, a guess dotted."""
    ax.axhline(0.1, color=MUTED, linestyle=":", linewidth=1)
    ax.set(xlabel="task", ylabel=label, ylim=(0, 1.03))
    return ax
