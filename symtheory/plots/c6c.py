"""Figure C6c: success by hidden representation, by side of the blocks, and the losses behind it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symtheory.figures.c6c import SUCCESS, by_side, rate
from symtheory.plots.style import BLUE, COLORS, GREEN, INK, MUTED, ORANGE, canvas, style

_MARKS = ("o", "s", "D", "^")
_FLOOR = 1e-10


def _label(student: str) -> str:
    """Name of a student in mathematical type."""
    text = student.replace("unconstrained, 3 units", "unconstrained, 3").replace(
        "unconstrained, 6 units", "unconstrained, 6"
    )
    return text.replace("S3/S2", r"$S_3/S_2$").replace("S3/1", r"$S_3/1$").replace(" x ", r"$\times$")


def _main(result: xr.Dataset) -> xr.Dataset:
    """The teacher that the text is about."""
    return result.sel(teacher="60" if "60" in result["teacher"] else result["teacher"][0])


def _color(student: str) -> str:
    """By representation."""
    return BLUE if student[1:] == " x S3/S2" else MUTED if "units" in student else GREEN


def plot_success(result: xr.Dataset, ax: Axes) -> Axes:
    """How often each student learns each teacher, with exact intervals.

    Args:
        result: From :class:`symtheory.figures.c6c.C6c`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    students, teachers = result["student"].values.tolist(), result["teacher"].values.tolist()
    gaps = np.linspace(-0.22, 0.22, len(teachers)) if len(teachers) > 1 else np.zeros(1)
    for teacher, gap, mark in zip(teachers, gaps, _MARKS, strict=False):
        for place, student in enumerate(students):
            p = rate(result.sel(teacher=teacher), student)
            bars = [[p.value - p.low], [p.high - p.value]]
            ax.errorbar(
                [p.value], [place + gap], xerr=bars, fmt=mark, color=_color(student), markersize=5, linewidth=1.2,
                markerfacecolor="white" if teacher == "regular" else None,
            )  # fmt: skip
        words = r"teacher $S_3/1$" if teacher == "regular" else rf"$\psi={teacher}^\circ$"
        ax.plot([], [], mark, color=INK, label=words, markerfacecolor="white" if teacher == "regular" else None)
    alone = rate(_main(result), "1 x S3/S2").value
    for place in range(4):
        guess = 1 - (1 - alone) ** (place + 1)
        ax.plot([guess, guess], [place - 0.4, place + 0.4], color=ORANGE, linewidth=1.4, linestyle=":")
    ax.plot([], [], ":", color=ORANGE, label=r"$1-(1-p)^k$")
    ax.set_yticks(range(len(students)), [_label(s) for s in students])
    ax.invert_yaxis()
    ax.set(xlabel="fraction of runs that learn", ylabel="hidden representation", xlim=(-0.03, 1.03))
    return ax


def plot_sides(result: xr.Dataset, ax: Axes) -> Axes:
    """Success by the number of blocks that start on the teacher's side.

    Args:
        result: From :class:`symtheory.figures.c6c.C6c`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    main = _main(result)
    for k, color in zip((1, 2, 3, 4), COLORS, strict=False):
        found = by_side(main, f"{k} x S3/S2")
        x = np.array(list(found)) + 0.08 * (k - 2.5)
        y = np.array([p.value for p in found.values()])
        low, high = (np.array([getattr(p, e) for p in found.values()]) for e in ("low", "high"))
        ax.errorbar(
            x, y, yerr=[y - low, high - y], color=color, marker=_MARKS[k - 1], markersize=5, linewidth=1.2,
            label=f"{k} block" + "s" * (k > 1),
        )  # fmt: skip
    ax.set(
        xlabel="blocks that start on the\nteacher's side", ylabel="fraction of runs that learn", ylim=(-0.04, 1.04),
        xticks=range(5),
    )  # fmt: skip
    ax.legend(loc="lower right")
    return ax


def plot_losses(result: xr.Dataset, ax: Axes) -> Axes:
    """Losses at the end, sorted.

    Args:
        result: From :class:`symtheory.figures.c6c.C6c`.
        ax: Where to draw.

    Returns:
        The axes.
    """
    main = _main(result).isel(step=-1)
    lines = {"1 x S3/S2": "-", "2 x S3/S2": "--", "3 x S3/S2": ":", "S3/1": "-", "unconstrained, 6 units": "-"}
    for student, line in lines.items():
        values = np.sort(main["loss"].sel(student=student).values).clip(_FLOOR)
        ax.plot(np.linspace(0, 1, len(values)), values, line, color=_color(student), label=_label(student))
    ax.axhline(SUCCESS, color=ORANGE, linewidth=1)
    ax.annotate("learned below", (0.02, SUCCESS), (0, -11), textcoords="offset points", color=ORANGE, fontsize=9)
    ax.set(yscale="log", xlabel="runs, best first", ylabel="loss / loss of the zero net", ylim=(_FLOOR / 3, 1))
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.17), ncols=3, fontsize=8.5, columnspacing=1.0)
    return ax


def figure_c6c(result: xr.Dataset) -> Figure:
    """Side by side.

    Args:
        result: From :class:`symtheory.figures.c6c.C6c`.

    Returns:
        The drawing.
    """
    with style():
        figure, (left, middle, right) = canvas(3, width=4.2, height=4.4, width_ratios=(1.2, 1, 1))
        plot_success(result, left)
        plot_sides(result, middle)
        plot_losses(result, right)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=5)
    return figure
