"""Figure B8: accuracy and rank of the convolutional network from task to task."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, MUTED, ORANGE, style

_COLORS = {"vanilla": BLUE, "syre": ORANGE}
_LINES = ("-", "--", ":", "-.", (0, (1, 3)), (0, (5, 5)))


def plot_accuracy(result: xr.Dataset, ax: Axes) -> Axes:
    """Test accuracy after each task: on it solid, one line a seed; on all so far dashed, mean over seeds.

    Args:
        result: From :class:`symtheory.figures.b8.B8`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    for model, color in _COLORS.items():
        _seeds(ax, result["accuracy"].sel(model=model), color, f"{model}, this task")
        mean = result["recall"].sel(model=model).mean("seed")
        ax.plot(mean["task"], mean, "--", color=color, linewidth=1, label=f"{model}, all so far")
    return _frame(ax, "test accuracy")


def plot_rank(result: xr.Dataset, ax: Axes) -> Axes:
    """Rank after each task: before the activation solid, one line a seed; after it dashed, mean over seeds.

    Args:
        result: From :class:`symtheory.figures.b8.B8`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    for model, color in _COLORS.items():
        rank = result["rank"].sel(model=model)
        _seeds(ax, rank.sel(place="before activation"), color, f"{model}, before activation")
        mean = rank.sel(place="after activation").mean("seed")
        ax.plot(mean["task"], mean, "--", color=color, linewidth=1, label=f"{model}, after activation")
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
            label = f"{model}, rate {value:g}" if dim == "lr" else f"{model}, {value} epoch{'s' * (value > 1)}"
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
        box = {"fontsize": 7.5, "frameon": True, "framealpha": 0.85, "edgecolor": "none"}
        accuracy.legend(loc="center right", bbox_to_anchor=(1.0, 0.38), **box)
        for ax in (rank, rates, epochs):
            ax.legend(loc="best", **box)
    return figure


def _seeds(ax: Axes, curves: xr.DataArray, color: str, label: str) -> None:
    """One line a seed, told apart by their marks."""
    for k, seed in enumerate(curves["seed"].values):
        curve = curves.sel(seed=seed)
        ax.plot(
            curve["task"],
            curve,
            marker="osD^v<>pP*"[k % 10],
            markersize=2.5,
            linewidth=0.8,
            color=color,
            label="" if k else label,
        )


def _frame(ax: Axes, label: str) -> Axes:
    """Tasks along, accuracies up, a guess dotted."""
    ax.axhline(0.1, color=MUTED, linestyle=":", linewidth=1)
    ax.set(xlabel="task", ylabel=label, ylim=(0, 1.03))
    return ax
