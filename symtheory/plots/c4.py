"""Figure C4: weight matrices before and after, and every pair of units of many layers."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.plots.style import BLUE, MUTED, ORANGE, style

_MAP = "PuOr"
_LETTERS = "ABCDEF"


def _image(values: np.ndarray, names: list[str], ax: Axes, top: float, title: str) -> None:
    """A matrix with a name for every row."""
    ax.imshow(values, cmap=_MAP, vmin=-top, vmax=top, aspect="equal")
    ax.set_yticks(range(len(names)), names)
    ax.set_xticks(range(values.shape[1]), [str(i + 1) for i in range(values.shape[1])])
    ax.tick_params(length=0)
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("input" if "W" in title else "output")
    ax.set_ylabel("unit")
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)


def plot_example(result: xr.Dataset, example: str, axes: list[Axes]) -> list[Axes]:
    """Weights before and after; units of a class bear the same letter.

    Args:
        result: From :class:`symtheory.figures.c4.C4`.
        example: Which.
        axes: Four, for $W$ and $A^T$ before and after.

    Returns:
        The axes.
    """
    here = result.sel(example=example)
    labels = [int(k) for k in here["labels"].values if k >= 0]
    classes = sorted(set(labels))
    names = [_LETTERS[classes.index(k)] for k in labels]
    short = [_LETTERS[i] for i in range(len(classes))]
    top = float(max(np.abs(here[k]).max() for k in ("w", "a", "small_w", "small_a")))
    for ax, key, rows, title in zip(
        axes,
        ("w", "a", "small_w", "small_a"),
        (names, names, short, short),
        ("$W$", "$A^T$", r"$W'$", r"$A'^T$"),
        strict=True,
    ):
        _image(here[key].values[: len(rows)], rows, ax, top, title)
    return axes


def plot_pairs(result: xr.Dataset, ax: Axes) -> Axes:
    """Classes found against classes predicted, and the guess that only the pair shares.

    Args:
        result: From :class:`symtheory.figures.c4.C4`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    groups = list(dict.fromkeys(result["group"].values.tolist()))
    top = int(result["units"].max()) - 1
    ax.plot([0, top], [0, top], color=MUTED, linewidth=0.8)
    for x, color, label in (
        (result["units"] - 1, "none", "only the pair shares"),
        (result["predicted"], BLUE, "theory: the congruence it generates"),
    ):
        points, times = np.unique(np.stack([x.values, result["found"].values]), axis=1, return_counts=True)
        ax.scatter(
            *points, s=8 + 220 * np.sqrt(times / len(x)), color=color, edgecolor=MUTED, linewidth=0.8, label=label
        )
    words = f"{result.sizes['pair']} pairs in layers of {', '.join(groups)}"
    ax.annotate(words, (0.03, 0.83), xycoords="axes fraction", fontsize=9)
    ax.set(xlabel="different units predicted", ylabel="different units found")
    ax.legend(fontsize=9, loc="upper left", handletextpad=0.2, markerscale=0.6)
    return ax


def figure_c4(result: xr.Dataset) -> Figure:
    """The two examples above each other, and all pairs.

    Args:
        result: From :class:`symtheory.figures.c4.C4`.

    Returns:
        The drawing.
    """
    with style():
        figure = Figure(figsize=(11.4, 6.6))
        left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(1.25, 1))).ravel().tolist()
        words = ("(a) one block: A shared within it", "(b) two blocks: A shared across them")
        rows = np.asarray(left.subfigures(2, 1)).ravel().tolist()
        for part, example, title in zip(rows, result["example"].values.tolist(), words, strict=True):
            one, two, between, three, four = part.subplots(1, 5, width_ratios=(1, 1, 0.35, 1, 1))
            plot_example(result, example, [one, two, three, four])
            between.set_axis_off()
            between.annotate("$\\to$", (0.5, 0.5), xycoords="axes fraction", fontsize=22, ha="center", color=ORANGE)
            part.suptitle(title, fontsize=11)
        plot_pairs(result, right.subplots())
    return figure
