"""Paper A, Figure 2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from symtheory.figures.a2 import VARIANTS, landscape, lowest_place
from symtheory.plots.style import BLUE, INK, MUTED, ORANGE, PAPER, style

#: Entries below this part of the largest are drawn on a linear scale, near white.
LINEAR = 1e-3


def _matrix(result: xr.Dataset, variant: str, ax: Axes) -> object:
    values, mirror = result["hessian"].sel(variant=variant).values, result["mirror"].values
    top = float(np.abs(result["hessian"].sel(variant=list(VARIANTS[:2])).values).max())
    image = ax.imshow(
        values, cmap="RdBu_r", norm=SymLogNorm(LINEAR * top, vmin=-top, vmax=top), interpolation="nearest"
    )
    cuts = np.flatnonzero(np.diff(mirror)) + 0.5
    for cut in cuts:
        main = cut == cuts[-1]
        for line in (ax.axhline, ax.axvline):
            line(cut, color=INK, linewidth=1.6 if main else 0.6, linestyle="-" if main else ":")
    edge = float(cuts[-1])
    middle = [edge / 2, (edge + len(mirror) - 0.5) / 2]
    ax.set_xticks(middle, ["normals", "along"])
    ax.set_yticks(middle, ["normals", "along"], rotation=90, va="center")
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(True)
    ax.set(xlabel="basis vector", ylabel="basis vector")
    ax.set_title(f"Hessian {variant}")
    return image


def _profile(result: xr.Dataset, factor: float, ax: Axes) -> None:
    s, values = result["s"].values, 1e3 * landscape(result, factor)
    c2, c4 = float(result["quadratic"]), float(result["quartic"])
    model = 1e3 * ((c2 + factor * float(result["critical_decay"])) * s**2 + c4 * s**4)
    color = BLUE if factor > 1 else ORANGE
    place = abs(lowest_place(result, factor))
    reach = min(float(s[-1]), 1.6 * max(place, abs(lowest_place(result, result.attrs["below"]))))
    shown = np.abs(s) <= reach
    ax.axvline(0, color=MUTED, linewidth=0.9, linestyle="--")
    ax.plot(s[shown], values[shown], color=color, linewidth=2.2, label="loss")
    bottom, high = values[shown].min(), values[shown].max()
    ax.plot(s[shown], model[shown], color=INK, linewidth=1, linestyle=":", label="quadratic + quartic part")
    for at in {place, -place}:
        ax.plot(at, np.interp(at, s, values), "o", color=color, markersize=8, markeredgecolor="white", zorder=4)
    ax.set_ylim(bottom - 0.12 * (high - bottom), high + 0.05 * (high - bottom))
    ax.set(xlabel="$s$", ylabel=r"loss $-$ loss at $s=0$, times 1000")
    ax.set_title(rf"$\gamma = {factor:g}\,\gamma^*$: " + ("one well" if factor > 1 else "two wells"))


def plot_a2(result: xr.Dataset, axes: Sequence[Axes]) -> Sequence[Axes]:
    """The Hessian on the mirrors and off them, and the landscape at two decays.

    Args:
        result: From :meth:`symtheory.figures.a2.A2.run`.
        axes: Four axes.

    Returns:
        The axes.
    """
    for variant, ax in zip(VARIANTS[:2], axes[:2], strict=True):
        image = _matrix(result, variant, ax)
    scale = axes[1].figure.colorbar(image, ax=axes[1], shrink=0.8)  # type: ignore[arg-type]
    scale.ax.set_xlabel("log scale", loc="left")
    scale.ax.set_ylabel("entry")
    for name, ax in zip(("below", "above"), axes[2:], strict=True):
        _profile(result, result.attrs[name], ax)
    return axes


def figure_a2(result: xr.Dataset) -> Figure:
    """The whole figure.

    Args:
        result: From :meth:`symtheory.figures.a2.A2.run`.

    Returns:
        The figure.
    """
    with style():
        figure = Figure(figsize=(9.2, 8.0))
        grid = figure.subplots(2, 2)
        plot_a2(result, list(grid.flat))
        grid[1, 0].legend(loc="upper center", frameon=True, framealpha=1, facecolor=PAPER, edgecolor="none")
    return figure
