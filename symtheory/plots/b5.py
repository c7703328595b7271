"""Figures B5 and B11: accuracy, rank and spectrum of the fully connected network."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, MUTED, ORANGE, canvas, style

_COLORS = {"vanilla": BLUE, "syre": ORANGE}


def plot_accuracy(result: xr.Dataset, ax: Axes, dim: str) -> Axes:
    """Accuracies against decay or scale, training solid and test dashed.

    Args:
        result: From :class:`symtheory.figures.b5.B5`.
        ax: Where to draw.
        dim: ``decay`` or ``scale``.

    Returns:
        The axes.
    """
    values = result["accuracy" if dim == "decay" else "scale_accuracy"]
    for model, color in _COLORS.items():
        for part, line in (("train", "-"), ("test", "--")):
            curve = values.sel(model=model, part=part)
            ax.fill_between(curve[dim], curve.min("seed"), curve.max("seed"), color=color, alpha=0.18, linewidth=0)
            ax.plot(curve[dim], curve.mean("seed"), line, marker=".", color=color, label=f"{model}, {part}")
    ax.axhline(0.1, color=MUTED, linestyle=":", linewidth=1)
    ax.set(xscale="log", xlabel=_label(dim), ylabel="accuracy", ylim=(0, 1.03))
    return ax


def plot_rank(result: xr.Dataset, ax: Axes, dim: str) -> Axes:
    """Rank of the first layer's output, before the activation solid and after it dashed.

    Args:
        result: From :class:`symtheory.figures.b5.B5`.
        ax: Where to draw.
        dim: ``decay`` or ``scale``.

    Returns:
        The axes.
    """
    values = result["rank" if dim == "decay" else "scale_rank"]
    for model, color in _COLORS.items():
        for place, line in (("before activation", "-"), ("after activation", "--")):
            curve = values.sel(model=model, place=place).mean("seed")
            ax.plot(curve[dim], curve, line, marker=".", color=color, label=f"{model}, {place}")
    ax.set(xscale="log", xlabel=_label(dim), ylabel="rank")
    return ax


def figure_b5(result: xr.Dataset) -> Figure:
    """Accuracy above rank, against the decay on the left and the scale on the right.

    Args:
        result: From :class:`symtheory.figures.b5.B5`.

    Returns:
        The drawing.
    """
    with style():
        figure = Figure(figsize=(8.8, 7.2))
        axes = figure.subplots(2, 2)
        for column, dim in zip(axes.T, ("decay", "scale"), strict=True):
            plot_accuracy(result, column[0], dim)
            plot_rank(result, column[1], dim)
        for row in axes:
            row[0].legend(loc="best", fontsize=8)
    return figure


def figure_b11(result: xr.Dataset) -> Figure:
    """Eigenvalues of the first layer's covariance, before and after the activation.

    Args:
        result: From :class:`symtheory.figures.b11.B11`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, right) = canvas(2, width=4.4, height=4.3, sharey=True)
        for ax, place in ((left, "before activation"), (right, "after activation")):
            for k, size in enumerate(result["sigma0"].values.tolist()):
                curve = result["spectrum"].sel(sigma0=size, place=place).mean("seed").clip(min=1e-10)
                label = f"syre, {size:g}" if size else "vanilla"
                ax.plot(curve["index"], curve, color=BLUE if not k else ORANGE, alpha=1.0 if not k else 0.3 + 0.2 * k,
                        label=label)  # fmt: skip
            ax.axhline(1e-4, color=MUTED, linestyle=":", linewidth=1)
            ax.set(yscale="log", xlabel="index", ylabel="eigenvalue", title=place)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _label(dim: str) -> str:
    return "weight decay" if dim == "decay" else r"scale $\alpha$ of the inputs"
