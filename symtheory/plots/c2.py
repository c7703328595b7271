"""Figure C2: trained networks as diagrams, and the loss of meaning along the local symmetry."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.figures.c2 import NETS, PAIR
from symtheory.plots.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, style

_TITLES = (
    "a network",
    "(a) two neurons exchanged:\nthe same function",
    "(b) on the fixed space\nof the exchange",
    "(c) weight moved from one\noutput to the other",
    "(d) one neuron less:\nthe function of (b) and (c)",
)
_FLOOR = 1e-17


def plot_network(result: xr.Dataset, net: str, ax: Axes) -> Axes:
    """A network of the first seed: width of a line by the size of the weight, colour by its sign.

    Args:
        result: From :class:`symtheory.figures.c2.C2`.
        net: Which network.
        ax: Where to draw.

    Returns:
        The axes.
    """
    here = result.isel(seed=0).sel(net=net)
    units, inputs = int(here["units"]), here.sizes["input"]
    places = list(range(here.sizes["unit"]))
    if units < len(places):
        places.remove(PAIR[1])
    height = here.sizes["unit"] - 1
    low = (height - inputs + 1) / 2
    largest = float(np.abs(result.isel(seed=0)["w"]).max())

    def line(x: tuple[float, float], y: tuple[float, float], weight: float) -> None:
        ax.plot(
            x, y, color=BLUE if weight > 0 else ORANGE, linewidth=0.3 + 3.7 * abs(weight) / largest,
            linestyle="-" if weight > 0 else (0, (2.2, 1)), zorder=1,
        )  # fmt: skip

    for j, place in enumerate(places):
        at = height - place
        if units < here.sizes["unit"] and place == PAIR[0]:
            at -= 0.5  # midway between the two that it replaces
        for i in range(inputs):
            line((0.0, 1.0), (float(height - low - i), float(at)), float(here["w"][j, i]))
        line((1.0, 2.0), (float(at), height / 2), float(here["a"][j]))
        pair = place in PAIR and net != NETS[0]
        ax.scatter([1], [at], s=190, color=GREEN if pair else MUTED, edgecolor=INK, linewidth=0.8, zorder=2)
        ax.annotate(
            f"{float(here['a'][j]):+.2f}", (1, at), (0, 11), textcoords="offset points", fontsize=8.5, zorder=3,
            ha="center", bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    ax.scatter([0] * inputs, [height - low - i for i in range(inputs)], s=90, color="white", edgecolor=INK, zorder=2)
    ax.scatter([2], [height / 2], s=90, color="white", edgecolor=INK, zorder=2)
    ax.set(xlim=(-0.25, 2.25), ylim=(-0.5, height + 0.6), xlabel="layer", ylabel="unit")
    ax.set_axis_off()
    ax.set_title(_TITLES[NETS.index(net)], fontsize=10)
    return ax


def plot_slide(result: xr.Dataset, ax: Axes) -> Axes:
    """Change of the function along the local symmetry, on and off the shared inputs, every seed.

    Args:
        result: From :class:`symtheory.figures.c2.C2`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    words = {"statement": ("inputs shared", BLUE), "control": ("inputs not shared", ORANGE)}
    for case, (label, color) in words.items():
        for i in range(result.sizes["seed"]):
            values = result["slid"].isel(seed=i).sel(case=case).where(result["shift"] != 0).clip(min=_FLOOR)
            ax.plot(result["shift"], values, color=color, linewidth=1, label=label if i == 0 else None)
    ax.set(
        yscale="log", xlabel=r"weight moved, $\tau$ in $(a_i+\tau, a_j-\tau)$", ylabel="change of the function",
        ylim=(_FLOOR / 2, 10),
    )  # fmt: skip
    ax.legend(loc="center right")
    return ax


def figure_c2(result: xr.Dataset) -> Figure:
    """Five networks and the change of the function.

    Args:
        result: From :class:`symtheory.figures.c2.C2`.

    Returns:
        The drawing.
    """
    with style():
        figure = Figure(figsize=(12.6, 6.6))
        axes = figure.subplots(2, 3).ravel()
        for net, ax in zip(NETS, axes, strict=False):
            plot_network(result, net, ax)
        plot_slide(result, axes[5])
        axes[0].plot([], [], color=BLUE, label="weight > 0")
        axes[0].plot([], [], color=ORANGE, linestyle=(0, (2.2, 1)), label="weight < 0")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=2)
    return figure
