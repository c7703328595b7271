"""Figures B6 and B7: rank, reconstruction loss and reconstructions of a variational autoencoder."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, MUTED, ORANGE, SKY, canvas, style

_LOOKS = {
    "vanilla": (BLUE, "o-", "vanilla"),
    "decay": (SKY, "s--", "decay, no bias"),
    "syre": (ORANGE, "^-", "syre and decay"),
}


def plot_against_beta(result: xr.Dataset, ax: Axes, name: str) -> Axes:
    r"""One measurement of the three models against $\beta$, mean and range over seeds.

    Args:
        result: From :class:`symtheory.figures.b6.B6`.
        ax: Where to draw.
        name: Such as ``rank`` or ``reconstruction``.

    Returns:
        The axes.
    """
    for model, (color, line, label) in _LOOKS.items():
        curve = result[name].sel(model=model)
        ax.fill_between(curve["beta"], curve.min("seed"), curve.max("seed"), color=color, alpha=0.18, linewidth=0)
        ax.plot(curve["beta"], curve.mean("seed"), line, color=color, markersize=4, label=label)
    ax.set(xscale="log", xlabel=r"weight $\beta$ of the KL divergence")
    return ax


def plot_decay(result: xr.Dataset, ax: Axes) -> Axes:
    r"""Reconstruction loss of syre at the largest $\beta$ against the decay; 0 stands at the left end.

    Args:
        result: From :class:`symtheory.figures.b6.B6`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    curve, beta = result["decay_reconstruction"], float(result["beta"][-1])
    decay = curve["decay"].values
    ax.fill_between(decay, curve.min("seed"), curve.max("seed"), color=ORANGE, alpha=0.18, linewidth=0)
    ax.plot(decay, curve.mean("seed"), "^-", color=ORANGE, markersize=4, label=rf"syre, $\beta$ = {beta:g}")
    match = beta / result.attrs["prior"]
    ax.axvline(match, color=MUTED, linestyle=":", linewidth=1, label=r"$\gamma=\beta/\eta_{enc}$")
    ax.set_xscale("symlog", linthresh=float(decay[1]) if len(decay) > 1 else 1.0, linscale=0.5)
    ax.set(xlabel=r"weight decay $\gamma$ of the encoder", ylabel="reconstruction loss", xlim=(-0.05 * decay[1], None))
    return ax


def plot_price(result: xr.Dataset, ax: Axes) -> Axes:
    """Reconstruction loss against the KL divergence that it takes: each model a curve, the large beta marked.

    Args:
        result: From :class:`symtheory.figures.b6.B6`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    means = result[["divergence", "reconstruction"]].mean("seed")
    for model, (color, line, label) in _LOOKS.items():
        at = means.sel(model=model)
        ax.plot(at["divergence"], at["reconstruction"], line, color=color, markersize=4, label=label)
        ax.annotate(
            rf"$\beta$ = {float(at['beta'][-1]):g}", (float(at["divergence"][-1]), float(at["reconstruction"][-1])),
            textcoords="offset points", xytext=(6, 4), fontsize=8, color=color,
        )  # fmt: skip
    ax.set(xscale="log", xlabel="KL divergence in nats", ylabel="reconstruction loss")
    return ax


def figure_b6(result: xr.Dataset) -> Figure:
    """Rank and reconstruction loss against beta above; below, the loss against the decay, and what it costs.

    Args:
        result: From :class:`symtheory.figures.b6.B6`.

    Returns:
        The drawing.
    """
    with style():
        figure = Figure(figsize=(8.8, 7.4))
        (rank, loss), (decay, price) = figure.subplots(2, 2)
        plot_against_beta(result, rank, "rank").set_ylabel("rank of the encoder's mean")
        kept = result["kept"].sel(model="vanilla").mean("seed")
        rank.plot(kept["beta"], kept, ":", color=MUTED, label="linear theory")
        plot_against_beta(result, loss, "reconstruction").set_ylabel("reconstruction loss")
        loss.axhline(float(result["constant"].mean()), color=MUTED, linestyle=":", linewidth=1)
        plot_decay(result, decay)
        plot_price(result, price)
        for ax in (rank, decay):
            ax.legend(loc="best", fontsize=8)
    return figure


def figure_b7(result: xr.Dataset) -> Figure:
    """Test images, their reconstructions without decay, and with it, a row each.

    Args:
        result: From :class:`symtheory.figures.b7.B7`.

    Returns:
        The drawing.
    """
    count = min(10, result.sizes["shown"])
    rows = {"test image": result["image"]}
    rows |= {rf"$\gamma$ = {float(d):g}": result["picture"].sel(decay=d) for d in result["decay"].values}
    side = round(result.sizes["pixel"] ** 0.5)
    strips = [np.concatenate(p.values[:count].reshape(count, side, side), axis=1) for p in rows.values()]
    with style():
        figure, (ax,) = canvas(1, width=8.8, height=0.85 * len(rows) + 0.6)
        ax.imshow(np.concatenate(strips).clip(0, 1), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        ax.set_yticks([side * (k + 0.5) for k in range(len(rows))], list(rows))
        ax.set(xticks=[], xlabel="the first test images, in the order of the file", ylabel="reconstructed with")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return figure
