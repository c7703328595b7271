"""One look for every figure: legible in the book's light and dark mode, told apart without colour vision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Okabe and Ito's palette, by what the colours are for.
INK = "#222222"
MUTED = "#6b6b6b"
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
PINK = "#CC79A7"
GOLD = "#E69F00"
SKY = "#56B4E9"
COLORS = (BLUE, ORANGE, GREEN, PINK, GOLD, SKY)

#: Solid, so that dark ink stays readable on a dark page.
PAPER = "#fcfcfa"

#: Colour map of losses: pale where the loss is low, so that lines and points on it stand out.
LANDSCAPE = "Greys"

_SETTINGS: Any = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "figure.facecolor": PAPER,
    "savefig.dpi": 150,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "axes.prop_cycle": mpl.cycler(color=list(COLORS)),  # type: ignore[attr-defined]
    "font.size": 10,
    "font.family": "sans-serif",
    "mathtext.fontset": "dejavusans",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.handlelength": 2.8,  # a marker must not hide what tells a dashed line from a solid one
    "lines.linewidth": 1.6,
    "svg.hashsalt": "symtheory",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw inside this context.

    Yields:
        Nothing; the settings are put back afterwards.
    """
    with mpl.rc_context(_SETTINGS):
        yield


def canvas(columns: int = 1, *, width: float = 4.6, height: float = 4.2, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with a row of axes, apart from pyplot and its open windows.

    Args:
        columns: Number of axes.
        width: Inches for each.
        height: Inches.
        **options: For ``Figure.subplots``.

    Returns:
        Figure and axes.
    """
    figure = Figure(figsize=(width * columns, height))
    axes = figure.subplots(1, columns, squeeze=False, **options)
    return figure, list(axes[0])


class Drawing:
    """A figure that a notebook shows as a PNG, whatever backend it runs.

    Attributes:
        figure: The matplotlib figure.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        with style():
            self.figure.savefig(buffer, format="png")
        return buffer.getvalue()


def contours(ax: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, levels: np.ndarray) -> None:
    """A loss as pale filled contours with thin lines, on equal axes.

    Args:
        ax: Where to draw.
        x: Coordinates of the columns.
        y: Coordinates of the rows.
        values: Losses, one row per ``y``.
        levels: Increasing values at which contours are drawn.
    """
    tones = mpl.colormaps[LANDSCAPE](np.linspace(0.02, 0.42, len(levels) + 1))
    ax.contourf(x, y, values, levels=levels, colors=tones, extend="both")
    ax.contour(x, y, values, levels=levels, colors=MUTED, linewidths=0.4, alpha=0.7, linestyles="solid")
    ax.set_aspect("equal")
