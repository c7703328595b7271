"""Figure B3a: test loss against the degree of parametrisation."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, GREEN, MUTED, ORANGE, canvas, style

_LOOK = {
    "no decay": ("no decay", MUTED, "-", "x"),
    "weight decay": ("weight decay", BLUE, "-", "o"),
    "syre": ("syre, same decay", ORANGE, (0, (4, 3)), "+"),
}


def plot_b3a(result: xr.Dataset, ax: Axes) -> Axes:
    """Solutions as curves with medians and the middle half of the seeds, trained models as markers.

    Args:
        result: From :class:`symtheory.figures.b3a.B3a`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    for model, (label, color, line, marker) in _LOOK.items():
        loss = result["loss"].sel(model=model)
        low, middle, high = (loss.quantile(q, "seed") for q in (0.25, 0.5, 0.75))
        ax.fill_between(result["ratio"], low, high, color=color, alpha=0.18, linewidth=0)
        ax.plot(result["ratio"], middle, color=color, linestyle=line, label=label)
        trained = result["trained_loss"].sel(trained_model=model).median("trained_seed")
        ax.plot(
            result["trained_ratio"],
            trained,
            marker,
            color=color,
            markersize=8,
            markerfacecolor="none",
            linestyle="none",
        )
    if "large bias" in result["model"]:
        large = result["loss"].sel(model="large bias").median("seed")
        ax.plot(result["ratio"], large, color=GREEN, linewidth=1.0, linestyle=":", label=r"syre, 100 times $\sigma_0$")
    ax.axvline(1.0, color=MUTED, linewidth=0.6, linestyle=":")
    ax.set(xscale="log", yscale="log", xlabel=r"degree of parametrisation $d/N$", ylabel="test loss")
    ticks = [
        t for t in (0.125, 0.25, 0.5, 1, 2, 4, 8) if result["ratio"].min() * 0.99 <= t <= result["ratio"].max() * 1.01
    ]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.legend(loc="upper left", title="lines: solutions, markers: trained")
    return ax


def figure_b3a(result: xr.Dataset) -> Figure:
    """The figure on its own canvas.

    Args:
        result: From :class:`symtheory.figures.b3a.B3a`.

    Returns:
        The drawing.
    """
    with style():
        figure, (ax,) = canvas(width=6.2, height=4.2)
        plot_b3a(result, ax)
    return figure
