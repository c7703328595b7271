"""Figure A3b: rank of an online matrix factorisation against learning rate and label noise."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, MUTED, ORANGE, canvas, style

#: The cut whose ranks are drawn.
_CUT = 1e-3
_MARKERS = "osD^vP*X"
_RATE = r"learning rate $\lambda$"


def _colors(count: int) -> list[tuple[float, ...]]:
    """Dark for strong noise, bright for weak; readable on the page's ground and without colour vision."""
    return [tuple(c) for c in mpl.colormaps["plasma"](np.linspace(0.0, 0.82, count))]


def _ticks(result: xr.Dataset, ax: Axes) -> None:
    """A few plainly written learning rates on a logarithmic axis that spans less than a decade or two."""
    rates = result["lr"].values
    ticks = np.unique([float(f"{v:.1g}") for v in np.geomspace(rates[0], rates[-1], 4)])
    ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{v:g}" for v in ticks])
    ax.set_xticks([], minor=True)


def plot_ranks(result: xr.Dataset, ax: Axes, model: str, *, small: bool = False) -> Axes:
    """Rank of one model against the learning rate, a line for each noise level, with the spread over seeds.

    A line ends at the largest learning rate at which no seed diverged; a cross marks the next one, at which one did.

    Args:
        result: From :class:`symtheory.figures.a3b.A3b`.
        ax: Where to draw.
        model: ``plain`` or ``residual``.
        small: For an inset.

    Returns:
        The axes.
    """
    ranks = result["rank"].sel(model=model, cut=_CUT)
    size = 2.5 if small else 4.5
    for i, (mu, color) in enumerate(zip(result["signal"].values, _colors(result.sizes["signal"]), strict=True)):
        stable = (result["diverged"].sel(model=model, signal=mu) == 0).all("seed")
        curve = ranks.sel(signal=mu).where(stable)
        ax.fill_between(result["lr"], curve.min("seed"), curve.max("seed"), color=color, alpha=0.25, linewidth=0)
        marker = _MARKERS[i % len(_MARKERS)]
        label = rf"$\mu = {mu:g}$"
        ax.plot(result["lr"], curve.mean("seed"), color=color, marker=marker, markersize=size, label=label,
                linewidth=1.0 if small else 1.6)  # fmt: skip
        lost = result["lr"].values[~stable.values]
        if lost.size:
            # one height for each noise level, so that crosses at one learning rate do not hide each other
            low = result.attrs["dim"] * (0.02 + 0.035 * (result.sizes["signal"] - 1 - i))
            ax.plot(lost[:1], [low], "x", color=color, markersize=size + 1)
    ax.set(ylim=(0, 1.06 * result.attrs["dim"]))
    _ticks(result, ax)
    return ax


def plot_a3b(result: xr.Dataset, ax: Axes) -> Axes:
    """The plain model, with the residual model from its own start in an inset.

    Args:
        result: From :class:`symtheory.figures.a3b.A3b`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    plot_ranks(result, ax, "plain")
    if bool((result["diverged"].sel(model="plain") != 0).any()):
        ax.plot([], [], "x", color=MUTED, label="diverged")
    ax.set(xlabel=_RATE, ylabel="rank", title=r"plain: $f(x) = WUx$")
    ax.legend(loc="lower left", fontsize=9, handlelength=1.6, borderaxespad=0.1)
    inset = ax.inset_axes((0.45, 0.11, 0.41, 0.34))
    plot_ranks(result, inset, "residual", small=True)
    inset.set_title(r"residual: $(I+W)(I+U)x$", fontsize=8, color=MUTED, pad=3)
    inset.set_xlim(ax.get_xlim())
    inset.set_xlabel(_RATE, fontsize=8)
    inset.set_ylabel("rank", fontsize=8)
    inset.tick_params(which="both", labelsize=7)
    inset.patch.set_alpha(0.85)
    return ax


def plot_exchanged(result: xr.Dataset, ax: Axes) -> Axes:
    """Both models from both starts, first seed, at the strongest noise of the exchanged runs.

    Args:
        result: From :class:`symtheory.figures.a3b.A3b`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    mu = float(result["few"].min())
    own = result.isel(seed=0).sel(signal=mu)
    other = result.sel(few=mu)
    ranks = {
        "own": own["rank"].sel(cut=_CUT).where(own["diverged"] == 0),
        "other": other["swapped_rank"].sel(cut=_CUT).where(other["swapped_diverged"] == 0),
    }
    for start, color, lines, marks in (("zero", BLUE, "own", "other"), ("identity", ORANGE, "other", "own")):
        plain, residual = ranks[lines].sel(model="plain"), ranks[marks].sel(model="residual")
        ax.plot(result["lr"], plain, color=color, label=f"plain, starts near {start}")
        ax.plot(result["lr"], residual, "o" if start == "zero" else "s", color=color, markersize=7,
                markerfacecolor="none", label=f"residual, starts near {start}")  # fmt: skip
    ax.set(xlabel=_RATE, ylabel="rank", ylim=(0, 1.06 * result.attrs["dim"]))
    _ticks(result, ax)
    ax.set_title(rf"exchanged starts, $\mu = {mu:g}$")
    ax.legend(loc="lower left", fontsize=9)
    return ax


def plot_spectra(result: xr.Dataset, ax: Axes) -> Axes:
    """Singular values of the plain model's map at the largest learning rate stable at every noise, and the cuts.

    Args:
        result: From :class:`symtheory.figures.a3b.A3b`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    plain = result.sel(model="plain").isel(seed=0)
    stable = (result["diverged"].sel(model="plain") == 0).all("seed").all("signal")
    rate = float(result["lr"].values[stable.values][-1]) if stable.any() else float(result["lr"][0])
    for mu, color in zip(result["signal"].values, _colors(result.sizes["signal"]), strict=True):
        values = plain["spectrum"].sel(signal=mu, lr=rate)
        ax.plot(result["index"], values.where(values > 0), color=color, label=rf"$\mu = {mu:g}$")
    for cut in result["cut"].values:
        ax.axhline(cut, color=MUTED, linewidth=1.2 if cut == _CUT else 0.6, linestyle="--" if cut == _CUT else ":")
    ax.set(yscale="log", ylim=(1e-9, 3), xlabel="index", ylabel="singular value of $WU$")
    ax.set_title(rf"spectra at $\lambda = {rate:.2g}$, cuts dashed")
    ax.legend(loc="lower left", fontsize=9)
    return ax


def figure_a3b(result: xr.Dataset) -> Figure:
    """The figure with its inset; beside it the spectra behind the ranks and the exchanged starts.

    Args:
        result: From :class:`symtheory.figures.a3b.A3b`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, middle, right) = canvas(3, width=4.4, height=4.3)
        plot_a3b(result, left)
        plot_spectra(result, middle)
        plot_exchanged(result, right)
    return figure
