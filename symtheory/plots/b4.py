"""Figure B4: degree of symmetry against objective."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import GREEN, INK, MUTED, ORANGE, PINK, SKY, style

_LOOK = {
    "standard": ("standard", INK, "*", 11.0),
    "weight decay": ("weight decay", SKY, "v", 5.0),
    "dropout": ("dropout", PINK, "^", 5.0),
    "W-fix": ("W-fix", GREEN, "s", 4.5),
    "syre": ("syre", ORANGE, "o", 5.0),
}


def _points(result: xr.Dataset, structure: str, curve: str) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Objective, excess and degree (hyper, seed) at the end, where no seed diverged."""
    part = result.sel(structure=structure, curve=curve).isel(mark=-1)
    part = part.isel(hyper=np.flatnonzero((part["diverged"] == 0).all("seed").values))
    return part["objective"], part["objective"] - part["optimum"], part["degree"]


def plot_paper(result: xr.Dataset, ax: Axes, structure: str) -> Axes:
    """The paper's panel: degree against objective, one line a method, a faint point a seed.

    Args:
        result: From :class:`symtheory.figures.b4.B4`.
        ax: Where to draw.
        structure: Which $B$.

    Returns:
        The axes.
    """
    for curve, (label, color, marker, size) in _LOOK.items():
        objective, _, degree = _points(result, structure, curve)
        for seed in objective["seed"]:
            ax.plot(objective.sel(seed=seed), degree.sel(seed=seed), ".", color=color, alpha=0.25, markersize=4)
        mean, height = objective.mean("seed"), degree.mean("seed")
        ax.plot(mean, height, color=color, marker=marker, markersize=size, label=label, linewidth=1.2)
    ax.set(xlabel=r"objective $f(w)$", ylabel="degree of symmetry", title=f"{structure} spectrum")
    ax.set_ylim(-0.03 * result.attrs["dim"], 1.06 * result.attrs["dim"])
    return ax


def plot_excess(result: xr.Dataset, ax: Axes, structure: str) -> Axes:
    """The same on a logarithmic axis from the optimum, with what lies beyond the paper.

    Args:
        result: From :class:`symtheory.figures.b4.B4`.
        ax: Where to draw.
        structure: Which $B$.

    Returns:
        The axes.
    """
    own = result.sel(structure=structure)
    front = (own["frontier"] - own["optimum"]).mean("seed")
    floor = max(float(front.where(front > 0).min()), 1e-4)
    ax.plot(front.clip(min=floor), result["kept"], color=MUTED, linewidth=2.5, alpha=0.6, label="lowest possible")
    beyond = {name: (MUTED, ":") for name in result["curve"].values if name.startswith("stopped")}
    beyond |= {name: (GREEN, "--") for name in result["curve"].values if "any fraction" in name}
    others = [name for name in result["curve"].values if "sigma_0" in name]
    beyond |= {name: (ORANGE, line) for name, line in zip(others, (":", "-.", "--"), strict=False)}
    for name, (color, line) in beyond.items():
        _, excess, degree = _points(result, structure, name)
        label = name.replace("sigma_0", r"$\sigma_0$")
        ax.plot(
            excess.mean("seed").clip(min=floor),
            degree.mean("seed"),
            color=color,
            linestyle=line,
            linewidth=1.3,
            label=label,
        )
    for curve, (_, color, marker, size) in _LOOK.items():
        _, excess, degree = _points(result, structure, curve)
        ax.plot(
            excess.mean("seed").clip(min=floor), degree.mean("seed"), color=color, marker=marker, markersize=size * 0.8,
            linewidth=0.8,
        )  # fmt: skip
    ax.set(xscale="log", xlabel=r"objective above the optimum, $f(w)-\min f$", ylabel="degree of symmetry")
    ax.set_ylim(-0.03 * result.attrs["dim"], 1.06 * result.attrs["dim"])
    return ax


def figure_b4(result: xr.Dataset) -> Figure:
    """The paper's two panels above, the same from the optimum with further baselines below.

    Args:
        result: From :class:`symtheory.figures.b4.B4`.

    Returns:
        The drawing.
    """
    with style():
        figure = Figure(figsize=(10.6, 8.2))
        axes = figure.subplots(2, 2)
        for column, structure in enumerate(result["structure"].values):
            plot_paper(result, axes[0, column], str(structure))
            plot_excess(result, axes[1, column], str(structure))
        axes[0, 0].legend(loc="center right")
        handles, labels = axes[1, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure
