"""Figures for the book's pages: the stored result of the best preset, drawn, with its checks and its provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.figures import FIGURES
from symtheory.figures.base import Figure, Outcome, outcome_of
from symtheory.lab.provenance import Provenance, data_in_words
from symtheory.lab.results import Results, default_root
from symtheory.pages import Markdown, table
from symtheory.plots import PLOTS, Drawing
from symtheory.spec.verdict import Verdict

_BADGE: dict[Outcome, str] = {
    "reproduced": '<span class="verdict-holds">reproduced</span>',
    "partly": '<span class="verdict-corrected">partly</span>',
    "not": '<span class="verdict-fails">not reproduced</span>',
}


def figure(name: str) -> Figure:
    """A figure by its id.

    Args:
        name: Id such as ``A3a``; case does not matter.

    Returns:
        The figure.

    Raises:
        SymtheoryError: If there is none of that id.
    """
    for key, value in FIGURES.items():
        if key.lower() == name.lower():
            return value
    raise SymtheoryError(f"a figure among {', '.join(FIGURES)}", repr(name), "run 'symtheory list'")


def stored(name: str, results: Results | None = None) -> tuple[xr.Dataset, Provenance]:
    """The stored result of the most telling preset.

    Args:
        name: Id of the figure.
        results: Where results lie; default the checkout's.

    Returns:
        Dataset and provenance.

    Raises:
        SymtheoryError: If there is no result.
    """
    place = Results(default_root()) if results is None else results
    key = figure(name).id
    presets = place.names(key)
    if not presets:
        raise SymtheoryError(f"a result of {key}", "none", f"run 'symtheory run {key} --preset page'")
    return place.load(key, presets[0])


def draw(name: str, result: xr.Dataset | None = None) -> Drawing:
    """Draw a figure from a result.

    Args:
        name: Id of the figure.
        result: Its dataset; default the stored one.

    Returns:
        The drawing, which a notebook shows.
    """
    key = figure(name).id
    return Drawing(PLOTS[key](stored(key)[0] if result is None else result))


def evidence(name: str) -> Markdown:
    """The paper's claim about a figure, our numbers, and how they were made.

    Args:
        name: Id of the figure.

    Returns:
        A sentence, a table of checks, a line of provenance.
    """
    dataset, made = stored(name)
    shown = figure(name)
    verdicts = shown.check(dataset)
    rows = [
        (v.statement, f"{v.residual:.3g}", f"{v.tolerance:.3g}", "holds" if v.holds else "**fails**") for v in verdicts
    ]
    checks = table(("what was measured", "residual", "tolerance", ""), rows)
    claim = f"**{shown.source}.** {shown.claim} {_judgement(shown, verdicts, made)}"
    return Markdown(f"{claim}\n\n{checks}\n\n*{_origin(made)}*")


def scorecard(results: Results | None = None) -> Markdown:
    """Every figure with the paper's claim, our numbers, what became of the claim, and how the result was made.

    Args:
        results: Where results lie; default the checkout's.

    Returns:
        A table, and below it the numbers of each figure, folded; a figure without a result says so.
    """
    scores = [_score(name, results) for name in FIGURES]
    head = ("figure", "the paper's claim", "outcome", "numbers within bounds", "made with")
    folded = "\n".join(numbers for _, numbers in scores if numbers)
    return Markdown(f"{table(head, [row for row, _ in scores])}\n\n{folded}")


def benchmarks(kind: str = "loop", results: Results | None = None) -> Markdown:
    """Stored timings of one kind.

    Args:
        kind: ``loop``, sweeps against plain loops; ``step``, training steps with the tools against steps without;
            ``search``, searches for symmetries against the time allowed; ``page``, the page presets.
        results: Where results lie; default the checkout's.

    Returns:
        A table, one row a benchmark, what falls short of its aim, and a line for each machine.

    Raises:
        SymtheoryError: If no timing of this kind is stored.
    """
    path = (Results(default_root()) if results is None else results).root / "benchmarks.json"
    stored = json.loads(path.read_text(encoding="utf-8"))["benchmarks"] if path.exists() else {}
    found = {name: t for name, t in stored.items() if t["kind"] == kind}
    if not found:
        raise SymtheoryError(f"timings of kind {kind!r} in {path.name}", "none", "run 'python -m benchmarks --save'")
    head, row = _TIMINGS[kind]
    machines: dict[str, list[str]] = {}
    for name, t in found.items():
        machine = t["machine"]
        line = (
            f"{machine['name']}, {machine['cores']} cores: {machine['gemm'] / 1e9:.0f} GFLOP/s in matrix products, "
            f"{machine['bandwidth'] / 1e9:.0f} GB/s in copies, torch {machine['versions']['torch']}"
        )
        machines.setdefault(line, []).append(f"{name} ({machine['date'][:10]})")
    short = [f"{n} falls short of its aim: {t['missed']}." for n, t in found.items() if t["missed"]]
    where = "\n".join(f"- {line}. Measured for {'; '.join(names)}." for line, names in machines.items())
    return Markdown("\n\n".join([table(head, [row(name, t) for name, t in found.items()]), *short, where]))


def _times(t: Mapping[str, Any]) -> tuple[str, str]:
    """Ratio, and the one aimed at."""
    return f"{t['ratio']:.3g}", f"{t['floor']:g}" if t["floor"] else ""


def _loop_row(name: str, t: Mapping[str, Any]) -> tuple[str, ...]:
    limit = f"{t['seconds'] / t['limit_seconds']:.2g}" if t["limit_seconds"] else ""
    return (
        name, *_times(t), f"{t['seconds']:.3g}", f"{t['reference_seconds']:.3g}", f"{t['relative_error']:.0e}", limit
    )  # fmt: skip


def _step_row(name: str, t: Mapping[str, Any]) -> tuple[str, ...]:
    return (name, *_times(t), f"{1e3 * t['seconds']:.3g}", f"{1e3 * t['reference_seconds']:.3g}")


def _search_row(name: str, t: Mapping[str, Any]) -> tuple[str, ...]:
    memory = f"{t['memory']:.2g}"
    return (name, f"{t['seconds']:.2g}", f"{t['reference_seconds']:g}", memory, f"{t['relative_error']:.0e}")


#: What the columns of each kind of timing are, and what is in them.
_TIMINGS: dict[str, tuple[tuple[str, ...], Callable[[str, Mapping[str, Any]], tuple[str, ...]]]] = {
    "loop": (
        ("what", "times faster", "aim", "seconds", "plain loop, s", "same weights to", "times the limit"), _loop_row,
    ),
    "step": (("tool, network", "time without over time with", "aim", "a step, ms", "without it, ms"), _step_row),
    "search": (("network", "seconds", "allowed", "memory, models", "largest residual"), _search_row),
    "page": (("figure", "seconds"), lambda name, t: (name.removeprefix("page "), f"{t['seconds']:.2g}")),
}  # fmt: skip


def _score(name: str, results: Results | None) -> tuple[tuple[str, ...], str]:
    """One row of the scorecard, and its numbers as a list that unfolds."""
    shown = FIGURES[name]
    link = f"[{name}]({shown.chapter}.md)<br>{shown.source}"
    try:
        dataset, made = stored(name, results)
    except SymtheoryError:
        return (link, shown.claim, '<span class="verdict-open">no result yet</span>', "", ""), ""
    verdicts = shown.check(dataset)
    numbers = "".join(
        f"<li>{escape(v.statement)}: {v.residual:.3g} ({'≤' if v.holds else 'bar'} {v.tolerance:.3g})</li>"
        for v in verdicts
    )
    within = f"{sum(v.holds for v in verdicts)} of {len(verdicts)}"
    folded = f"<details><summary>{name}: {within} numbers within bounds</summary><ul>{numbers}</ul></details>"
    outcome = _judgement(shown, verdicts, made)
    seeds = made.settings.get("seeds", made.settings.get("seed"))
    several = (
        f"{len(seeds)} seeds" if isinstance(seeds, list | tuple) else "one seed" if seeds is not None else "no seed"
    )
    where = made.device.get("name", made.device.get("kind", ""))
    how = f"{made.preset}; {where}; {made.compute_time_s:.0f} s; {several}"
    return (link, shown.claim, outcome, within, how), folded


def _judgement(shown: Figure, verdicts: list[Verdict], made: Provenance) -> str:
    """What became of the claim, in a badge and a sentence, and at which size if not at the paper's."""
    small = "" if made.preset == "paper" else f"At the size of the {made.preset} preset: "
    missing = f" **Not yet seen at the paper's size:** {shown.pending}." if small and shown.pending else ""
    return f"{small}{_BADGE[outcome_of(verdicts)]} {shown.finding}".strip() + missing


def _origin(made: Provenance) -> str:
    settings: dict[str, Any] = {k: v for k, v in made.settings.items() if isinstance(v, int | float | str)}
    listed = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in settings.items())
    where = made.device.get("name", made.device.get("kind", ""))
    used = f" Data: {data_in_words(made.data)}." if made.data else ""
    return (
        f"Preset {made.preset}: {listed}. Made on {made.date[:10]} in {made.compute_time_s:.1f} s on {where} with "
        f"torch {made.versions.get('torch', '?')}.{used}"
    )
