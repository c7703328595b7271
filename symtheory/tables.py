"""Reports as tables, in a terminal and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Sheet:
    """A table before it is drawn.

    Attributes:
        title: What it shows.
        head: Column titles.
        rows: Cells.
    """

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def to_rich(sheets: Sequence[Sheet], notes: Sequence[str]) -> Group:
    """For a terminal.

    Args:
        sheets: Tables.
        notes: Sentences below them.

    Returns:
        Something that rich can print.
    """
    tables = []
    for sheet in sheets:
        table = Table(*sheet.head, title=sheet.title)
        for row in sheet.rows:
            table.add_row(*(Text(cell) for cell in row))
        tables.append(table)
    return Group(*tables, *(Text(note) for note in notes))


def to_text(sheets: Sequence[Sheet], notes: Sequence[str]) -> str:
    """For ``print``.

    Args:
        sheets: Tables.
        notes: Sentences below them.

    Returns:
        What rich would print, without colours.
    """
    console = Console(width=120, file=StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(to_rich(sheets, notes))
    return captured.get()


def to_html(sheets: Sequence[Sheet], notes: Sequence[str]) -> str:
    """For a notebook.

    Args:
        sheets: Tables.
        notes: Sentences below them.

    Returns:
        HTML, everything escaped.

    >>> to_html([], ["a < b"])
    '<ul><li>a &lt; b</li></ul>'
    """
    tables = "".join(
        f'<table class="table dataframe"><caption>{html.escape(s.title)}</caption>'
        f"<thead>{_line(s.head, 'th', ' scope=col')}</thead>"
        f"<tbody>{''.join(_line(row, 'td') for row in s.rows)}</tbody></table>"
        for s in sheets
    )
    return tables + ("<ul>" + "".join(f"<li>{html.escape(n)}</li>" for n in notes) + "</ul>" if notes else "")


def _line(cells: tuple[str, ...], tag: str, attribute: str = "") -> str:
    return "<tr>" + "".join(f"<{tag}{attribute}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"
