"""Figure A4: dead parameters against tasks."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, GREEN, MUTED, ORANGE, PINK, canvas, style

_CUT = 1e-6

_LABELS = {
    "vanilla": ("vanilla", BLUE, "o", "--"),
    "rescaling": ("rescaling symmetry", ORANGE, "s", "-"),
    "noise": ("+ gradient noise", GREEN, "^", "-"),
    "bias": ("+ fixed bias", PINK, "D", "-"),
    "start": ("bias added once, to the start", MUTED, "", ":"),
}

#: Curves that lie on each other at zero are set apart.
_ASIDE = {"vanilla": -0.14, "bias": 0.14}


def plot_a4(result: xr.Dataset, ax: Axes, decay: float) -> Axes:
    """Mean and range over the seeds, at the figure's learning rate and one weight decay.

    Args:
        result: From :class:`symtheory.figures.a4.A4`.
        ax: Where to draw.
        decay: One of the result's weight decays.

    Returns:
        The axes.
    """
    dead = result["dead"].sel(cut=_CUT, lr=result.attrs["lr"], decay=decay)
    for model, (label, color, marker, line) in _LABELS.items():
        curve = dead.sel(model=model)
        tasks = result["task"] + _ASIDE.get(model, 0.0)
        ax.fill_between(tasks, curve.min("seed"), curve.max("seed"), color=color, alpha=0.18, linewidth=0)
        ax.plot(tasks, curve.mean("seed"), line, color=color, marker=marker, markersize=4.5, label=label)
    total = int(result["parameters"].max())
    title = f"weight decay {decay:g}" if decay else "no weight decay, as printed"
    ax.set(xlabel="tasks learned", ylabel="dead parameters", ylim=(-0.04 * total, 1.04 * total), title=title)
    ax.set_xticks(result["task"].values)
    return ax


def figure_a4(result: xr.Dataset) -> Figure:
    """Both weight decays side by side.

    Args:
        result: From :class:`symtheory.figures.a4.A4`.

    Returns:
        The drawing.
    """
    with style():
        figure, axes = canvas(2, width=4.4, height=4.3, sharey=True)
        for ax, decay in zip(axes, result["decay"].values.tolist(), strict=True):
            plot_a4(result, ax, decay)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
