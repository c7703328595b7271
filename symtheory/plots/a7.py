"""Figure A7: accuracy and sparsity along training, with and without the rescaling symmetry."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, ORANGE, canvas, style

_COLORS = {"vanilla": BLUE, "DCS": ORANGE}


def plot_a7(result: xr.Dataset, ax: Axes, name: str) -> Axes:
    """Mean and range over seeds after every epoch.

    Args:
        result: From :class:`symtheory.figures.a7.A7`.
        ax: Where to draw.
        name: ``accuracy`` or ``sparsity``.

    Returns:
        The axes.
    """
    for model, color in _COLORS.items():
        curve = result[name].sel(model=model)
        ax.fill_between(curve["epoch"], curve.min("seed"), curve.max("seed"), color=color, alpha=0.18, linewidth=0)
        ax.plot(curve["epoch"], curve.mean("seed"), color=color, label=model)
    ax.set(xlabel="epoch", ylim=(0, 1.03))
    return ax


def figure_a7(result: xr.Dataset) -> Figure:
    """Accuracy, sparsity, and memory of a step relative to vanilla's for one image.

    Args:
        result: From :class:`symtheory.figures.a7.A7`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, middle, right) = canvas(3, width=3.5, height=3.6)
        plot_a7(result, left, "accuracy").set_ylabel("test accuracy")
        plot_a7(result, middle, "sparsity").set_ylabel(f"part of the parameters below {result.attrs['cut']:g}")
        left.legend(loc="best")
        memory = result["memory"] / float(result["memory"].sel(model="vanilla")[0])
        for k, (model, color) in enumerate(_COLORS.items()):
            right.bar([j + 0.4 * (k - 0.5) for j in range(2)], memory.sel(model=model), width=0.38, color=color)
        right.set_xticks(range(2), [f"{int(n)} image{'s' if n > 1 else ''}" for n in result["images"].values])
        right.set(xlabel="batch", ylabel="memory of a step, vanilla with one image = 1", yscale="log")
    return figure
