"""Figures B2 and B10: ranks of a student's features against the input dimension, and against noise."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.figures import b2, b10
from symtheory.plots.style import BLUE, GREEN, MUTED, ORANGE, canvas, style

_MODELS = {"vanilla": (BLUE, "o", "-"), "syre": (ORANGE, "s", "-")}
_NAMES = {"tanh": "tanh", "relu": "ReLU"}


def _curves(rank: xr.DataArray, x: xr.DataArray, ax: Axes) -> None:
    """Mean over seeds of either model, and the range over seeds."""
    for model, (color, marker, line) in _MODELS.items():
        one = rank.sel(model=model)
        ax.fill_between(x, one.min("seed"), one.max("seed"), color=color, alpha=0.25, linewidth=0)
        ax.plot(x, one.mean("seed"), line, color=color, marker=marker, markersize=4.5, label=model)


def plot_b2(result: xr.Dataset, ax: Axes, activation: str) -> Axes:
    """Rank against the input dimension for one activation.

    Args:
        result: From :class:`symtheory.figures.b2.B2`.
        ax: Where to draw.
        activation: ``tanh`` or ``relu``.

    Returns:
        The axes.
    """
    _curves(result["rank"].isel(steps=-1).sel(cut=b2.CUT, activation=activation), result["dim"], ax)
    bias = "ten times the bias"
    if "variant" in result.dims and bias in result["variant"]:
        point = {"variant": bias, "activation": activation, "cut": b2.CUT, "model": "syre"}
        other = result["variant_rank"].sel(point)
        ax.plot(other["variant_dim"], other, "D", color=GREEN, markersize=5, label="syre, ten times the bias")
    ax.axhline(result.attrs["hidden"], color=MUTED, linewidth=0.8, linestyle=":")
    ax.set(xscale="log", xlabel="input dimension", ylabel="rank", title=_NAMES[activation])
    ax.set_ylim(0, result.attrs["hidden"] * 1.06)
    ax.set_xticks(result["dim"].values, [str(d) for d in result["dim"].values])
    ax.minorticks_off()
    return ax


def figure_b2(result: xr.Dataset) -> Figure:
    """One panel per activation.

    Args:
        result: From :class:`symtheory.figures.b2.B2`.

    Returns:
        The drawing.
    """
    with style():
        kinds = [str(a) for a in result["activation"].values]
        figure, axes = canvas(len(kinds), width=4.4, height=3.8)
        for ax, activation in zip(axes, kinds, strict=True):
            plot_b2(result, ax, activation)
        axes[0].legend(loc="upper left", bbox_to_anchor=(0.0, 0.95))
    return figure


def plot_b10(result: xr.Dataset, ax: Axes, activation: str, noise: str) -> Axes:
    """Rank against one kind of noise for one activation; dashed, measured on inputs with that noise.

    Args:
        result: From :class:`symtheory.figures.b10.B10`.
        ax: Where to draw.
        activation: ``tanh`` or ``relu``.
        noise: ``label`` or ``input``.

    Returns:
        The axes.
    """
    rank = result["rank"].isel(steps=-1).sel(cut=b10.CUT, activation=activation, noise=noise)
    _curves(rank, result["amount"].sel(noise=noise), ax)
    noisy = result["noisy_rank"].isel(steps=-1).sel(cut=b10.CUT, activation=activation)
    if noise == "input":
        for model, (color, marker, _) in _MODELS.items():
            mean = noisy.sel(noise=noise, model=model).mean("seed")
            options = {"color": color, "marker": marker, "markerfacecolor": "none", "markersize": 4.5}
            ax.plot(result["amount"].sel(noise=noise), mean, "--", label=f"{model}, noisy samples", **options)
    top = max(float(rank.max()), float(noisy.max()))
    labels = {"label": "fraction of changed labels", "input": "standard deviation of the input noise"}
    ax.set(xlabel=labels[noise], ylabel=f"rank, {_NAMES[activation]}", ylim=(0, top * 1.1))
    return ax


def figure_b10(result: xr.Dataset) -> Figure:
    """One row per activation: label noise to the left, input noise to the right.

    Args:
        result: From :class:`symtheory.figures.b10.B10`.

    Returns:
        The drawing.
    """
    with style():
        kinds = [str(a) for a in result["activation"].values]
        figure = Figure(figsize=(8.8, 3.2 * len(kinds)))
        grid = figure.subplots(len(kinds), len(b10.NOISES), squeeze=False)
        for row, activation in zip(grid, kinds, strict=True):
            for ax, noise in zip(row, b10.NOISES, strict=True):
                plot_b10(result, ax, activation, noise)
        grid[0][1].legend(loc="lower right", ncols=2)
    return figure
