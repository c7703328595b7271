"""Figures A9 and A10: ranks of query and key weights during training."""

from __future__ import annotations

import matplotlib as mpl
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import INK, MUTED, canvas, style

_NAMES = {"query": "Q", "key": "K"}


def _color(i: int, count: int) -> tuple[float, ...]:
    """From dark (no decay) to light (strong): the order is also that of brightness."""
    return mpl.colormaps["viridis"](0.88 * i / max(count - 1, 1))  # type: ignore[attr-defined]


def _ranks(values: xr.DataArray, cut: float) -> xr.DataArray:
    """Ranks as :func:`symtheory.figures.a9.ranks` counts them."""
    return (values > cut * values.max("index").clip(min=1.0)).sum("index")


def plot_rank(result: xr.Dataset, ax: Axes, *, matrix: str, layer: int = 1) -> Axes:
    """Rank of one matrix against the step, a line per decay with the range over the seeds.

    Args:
        result: From :class:`symtheory.figures.a9.A9` or :class:`symtheory.figures.a10.A10`.
        ax: Where to draw.
        matrix: ``query`` or ``key``.
        layer: Which layer.

    Returns:
        The axes.
    """
    found = _ranks(result["spectrum"].sel(matrix=matrix, layer=layer), float(result.attrs["cut"]))
    for i, decay in enumerate(result["decay"].values):
        color, part = _color(i, result.sizes["decay"]), found.sel(decay=decay)
        ax.fill_between(result["step"], part.min("seed"), part.max("seed"), color=color, alpha=0.3, linewidth=0)
        ax.plot(result["step"], part.mean("seed"), color=color, label=f"{decay:g}")
    upper = f"^{{{layer}}}" if result.sizes["layer"] > 1 else ""
    ax.set(title=f"$W_{_NAMES[matrix]}{upper}$", xlabel="Adam step", ylabel="rank")
    ax.set_ylim(0, 1.04 * result.sizes["index"])
    return ax


def plot_spectra(result: xr.Dataset, ax: Axes, *, layer: int = 1) -> Axes:
    """Singular values at the last step, queries solid and keys dashed, first seed; the cut is drawn.

    Args:
        result: From :class:`symtheory.figures.a9.A9`.
        ax: Where to draw.
        layer: Which layer.

    Returns:
        The axes.
    """
    end = result["spectrum"].isel(step=-1, seed=0).sel(layer=layer)
    end = end / end.max("index").clip(min=1.0)
    for i, decay in enumerate(result["decay"].values):
        for matrix, line in (("query", "-"), ("key", "--")):
            part = end.sel(decay=decay, matrix=matrix)
            ax.plot(result["index"], part, line, color=_color(i, result.sizes["decay"]), linewidth=1.3)
    ax.axhline(float(result.attrs["cut"]), color=MUTED, linewidth=0.9, linestyle=":")
    ax.annotate(
        "cut", (0.02, float(result.attrs["cut"])), (0, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="left", va="bottom", color=MUTED,
    )  # fmt: skip
    for matrix, line in (("query", "-"), ("key", "--")):
        ax.plot([], [], line, color=INK, label=f"$W_{_NAMES[matrix]}$")
    ax.set(yscale="log", ylim=(1e-5, 2), title="at the end", xlabel="index", ylabel="singular value / largest")
    ax.legend(loc="lower left")
    return ax


def figure_a9(result: xr.Dataset) -> Figure:
    """Queries and keys as in the paper, and the spectra behind the last ranks.

    Args:
        result: From :class:`symtheory.figures.a9.A9`.

    Returns:
        The drawing.
    """
    with style():
        figure, axes = canvas(3, width=3.5, height=3.6)
        for ax, matrix in zip(axes, _NAMES, strict=False):
            plot_rank(result, ax, matrix=matrix)
        plot_spectra(result, axes[2])
        _legend(figure, axes[0])
    return figure


def figure_a10(result: xr.Dataset) -> Figure:
    """Four panels as in the paper: a row per layer, a column per matrix.

    Args:
        result: From :class:`symtheory.figures.a10.A10`.

    Returns:
        The drawing.
    """
    with style():
        figure = Figure(figsize=(7.2, 6.2))
        grid = figure.subplots(2, 2, sharex=True, sharey=True)
        for layer, row in enumerate(grid, start=1):
            for ax, matrix in zip(row, _NAMES, strict=True):
                plot_rank(result, ax, matrix=matrix, layer=layer)
        _legend(figure, grid[0, 0])
    return figure


def _legend(figure: Figure, ax: Axes) -> None:
    """One legend of the decays for all panels, above them."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), title="weight decay")
