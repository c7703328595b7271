"""Figure C6: the Hessian at the trap predicts which relaxations escape, and to which representation."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, GREEN, INK, MUTED, ORANGE, PINK, SKY, canvas, style

_IRREPS = {"sign": ("sign", ORANGE, "o"), "standard": ("standard", BLUE, "s"), "trivial": ("trivial", MUTED, "^")}
_SUBGROUPS = {
    "1": ("no constraint left", ORANGE, "o", "-", -0.6),
    "C3": (r"still $C_3$-equivariant", BLUE, "s", "--", 0.6),
    "S2": (r"still $S_2$-equivariant", PINK, "v", ":", 0.0),
}
_FINDS = (
    ("same", 1, "the original representation", SKY, ""),
    ("conjugate", 3, "a conjugate, neurons turned cyclically", GREEN, ""),
    ("conjugate", 2, "a conjugate, two neurons exchanged", "#8fd3bd", "//"),
    ("not equivariant", None, "not equivariant to 0.001", "#9a9a9a", ""),
    (None, None, "teacher not found", "#dedede", ""),
)


def _critical(result: xr.Dataset, ax: Axes) -> None:
    """The two angles at which the prediction changes."""
    critical = result.attrs["critical"]
    for angle in (critical, 180 - critical):
        ax.axvline(angle, color=INK, linewidth=0.8, linestyle="--")
    ax.set(xlabel="angle of the teacher (degrees)", xlim=(0, 180), xticks=range(0, 181, 30))


def plot_spectrum(result: xr.Dataset, ax: Axes) -> Axes:
    """Least eigenvalue of the Hessian at the trap in each isotypic block, before any relaxation.

    Args:
        result: From :class:`symtheory.figures.c6.C6`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    order = result.sortby("psi")
    for name, (label, color, mark) in _IRREPS.items():
        values = order["spectrum"].isel(mode=np.flatnonzero(order["irrep"].values == name))
        # rescaling of single neurons gives zeros in two of the blocks: they are no curvature
        least = values.where(abs(values) > 1e-9).min("mode")
        ax.plot(order["psi"], least, color=color, marker=mark, markersize=3.5)
        place = int(np.abs(order["psi"].values - 45).argmin())
        beside = (-26, 2) if name == "standard" else (0, 7)
        at = (float(order["psi"][place]), float(least[place]))
        ax.annotate(label, at, beside, textcoords="offset points", color=color, ha="center")
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set(ylabel="least eigenvalue, but for rescaling", title="Before: Hessian at the trap")
    ax.set_yscale("symlog", linthresh=0.01)
    ax.set_yticks([-0.1, -0.01, 0, 0.01, 0.1, 1], ["-0.1", "-0.01", "0", "0.01", "0.1", "1"])
    ax.minorticks_off()
    _critical(result, ax)
    return ax


def plot_c6(result: xr.Dataset, ax: Axes) -> Axes:
    """Rate of escape with intervals, beside the prediction.

    Args:
        result: From :class:`symtheory.figures.c6.C6`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    order = result.sortby("psi")
    psi = order["psi"].values
    critical = result.attrs["critical"]
    for low, high in ((0, critical), (180 - critical, 180)):
        ax.axvspan(low, high, color=ORANGE, alpha=0.1, linewidth=0, label="escape predicted" if low == 0 else None)
    for name, (label, color, mark, _, shift) in _SUBGROUPS.items():
        chosen = order.sel(subgroup=name)
        value = chosen["escape"].values
        error = np.clip(np.stack([value - chosen["low"].values, chosen["high"].values - value]), 0, None)
        ax.errorbar(
            psi + shift, value, error, fmt=mark, color=color, markersize=4, linewidth=0.9, capsize=0, label=label
        )
    ax.set(ylabel="rate of escape", ylim=(-0.05, 1.05), title="After: measured")
    _critical(result, ax)
    ax.legend(loc="center right", fontsize=8.5, frameon=True, framealpha=0.9, edgecolor="none")
    return ax


def plot_representations(result: xr.Dataset, ax: Axes) -> Axes:
    """Shares of the recovered representations, for relaxed training and for free training from random weights.

    Args:
        result: From :class:`symtheory.figures.c6.C6`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    bars = {
        "relaxed from\nthe trap": result.sel(training="1", psi=result["predicted"].sel(subgroup="1").values),
        "free from\nrandom weights": result.sel(training="scratch"),
    }
    meanings = list(result["relation"].attrs["meanings"])
    for k, chosen in enumerate(bars.values()):
        bottom = 0.0
        for relation, order, label, color, hatch in _FINDS:
            code = -1 if relation is None else meanings.index(relation)
            hits = chosen["relation"] == code
            share = float((hits if order is None else hits & (chosen["element"] == order)).mean())
            ax.bar(
                k, share, 0.6, bottom, color=color, hatch=hatch, edgecolor=INK, linewidth=0.6,
                label=label if k == 0 else None,
            )  # fmt: skip
            bottom += share
    ax.set_xticks(range(len(bars)), list(bars))
    ax.set(ylabel="share of runs", xlabel="training", ylim=(0, 1.02), title="Representation found")
    return ax


def figure_c6(result: xr.Dataset) -> Figure:
    """Prediction, measurement, and what was found.

    Args:
        result: From :class:`symtheory.figures.c6.C6`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, middle, right) = canvas(3, width=3.9, height=4.4)
        plot_spectrum(result, left)
        plot_c6(result, middle)
        plot_representations(result, right)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure
