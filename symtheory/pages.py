"""Claims, verdicts and errata as MyST markdown, for the book's pages. Rendering only: facts come from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from symtheory.errors import SymtheoryError
from symtheory.ledger import ROLES, Entry, Ledger, load
from symtheory.spec.claim import Erratum
from symtheory.spec.verdict import Verdict

_BADGE = {
    "holds": "verdict-holds",
    "holds as corrected": "verdict-corrected",
    "fails as printed": "verdict-fails",
    "open": "verdict-open",
}


@dataclass(frozen=True)
class Markdown:
    """Text that a notebook shows as MyST markdown.

    Attributes:
        text: The markdown.
    """

    text: str

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def badge(word: str) -> str:
    """A verdict as a badge.

    Args:
        word: One of the four verdict words.

    Returns:
        Inline HTML.

    >>> badge("holds")
    '<span class="verdict-holds">holds</span>'
    """
    return f'<span class="{_BADGE[word]}">{word}</span>'


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A markdown table.

    Args:
        head: Column titles.
        rows: Cells.

    Returns:
        The table.
    """
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _safe(text: str) -> str:
    """Formulas in tables: a norm's bars would end the cell."""
    return text.replace(r"\|", r"\Vert ").replace("|", r"\vert ")


def ledger_table(ledger: Ledger | None = None) -> Markdown:
    """Every claim with its verdict and the evidence behind it.

    Args:
        ledger: The ledger; default the recorded one.

    Returns:
        A table.
    """
    book = load() if ledger is None else ledger
    rows = []
    for entry in book.entries.values():
        passed = Counter(t.role for t in entry.tests if t.outcome == "passed")
        evidence = ", ".join(f"{passed[role]} {role}" for role in ROLES if passed[role]) or "none recorded"
        link = f"[{entry.claim.id}]({entry.claim.chapter}.md)"
        rows.append((link, entry.claim.title, entry.claim.source, badge(entry.verdict), evidence))
    versions = ", ".join(f"{k} {v}" for k, v in book.recorded.items()) or "no test run recorded"
    return Markdown(
        table(("claim", "what", "where", "verdict", "passing tests"), rows) + f"\n\nRecorded with {versions}."
    )


def verdict_table(chapter: str, ledger: Ledger | None = None) -> Markdown:
    """The claims of one chapter: verdict, correction, remark.

    Args:
        chapter: Page without suffix.
        ledger: The ledger; default the recorded one.

    Returns:
        A table.

    Raises:
        SymtheoryError: If no claim belongs to the chapter.
    """
    book = load() if ledger is None else ledger
    entries = [e for e in book.entries.values() if e.claim.chapter == chapter]
    if not entries:
        known = sorted({e.claim.chapter for e in book.entries.values()})
        raise SymtheoryError(f"a chapter among {known}", repr(chapter), "use the page's name without suffix")
    rows = [(e.claim.id, e.claim.title, badge(e.verdict), _note(e)) for e in entries]
    return Markdown(table(("claim", "what", "verdict", "what to know"), rows))


def _note(entry: Entry) -> str:
    parts = [entry.claim.correction or "", entry.claim.remark or ""]
    if entry.verdict == "open":
        parts = ["*Not shown yet:* " + "; ".join(entry.missing[:2])]
    return _safe(" ".join(p for p in parts if p))


def errata_list(ledger: Ledger | None = None) -> Markdown:
    """Every slip found: where, what is printed, what is true, the counterexample, what it changes.

    Args:
        ledger: The ledger; default the recorded one.

    Returns:
        One definition block per slip.
    """
    book = load() if ledger is None else ledger
    blocks = []
    for entry in book.entries.values():
        blocks += [_erratum(entry, erratum) for erratum in entry.claim.errata]
    return Markdown("\n\n".join(blocks))


def _erratum(entry: Entry, erratum: Erratum) -> str:
    ran = [t for t in entry.tests if t.role == "counterexample"]
    state = "fails in the recorded run" if ran and all(t.outcome == "passed" for t in ran) else "**not run yet**"
    return "\n".join(
        (
            f"### {erratum.where} ({entry.claim.id})",
            "",
            f"Printed\n: {erratum.printed}",
            "",
            f"True\n: {erratum.true}",
            "",
            f"Counterexample\n: {erratum.counterexample} As printed it {state}: `{erratum.check.rsplit('.', 1)[1]}`.",
            "",
            f"Consequence\n: {erratum.consequence}",
            "",
            f"Kind\n: {erratum.kind}",
        )
    )


def verdicts(found: Mapping[str, Verdict], title: str = "case") -> Markdown:
    """Measured verdicts as a table.

    Args:
        found: Name to verdict.
        title: What the names are.

    Returns:
        Residual, tolerance, control and outcome of each.
    """
    rows = [
        (
            name,
            f"{v.residual:.1e}",
            f"{v.tolerance:.1e}",
            "" if v.control is None else f"{v.control:.1e}",
            "holds" if v.holds else "**fails**",
        )
        for name, v in found.items()
    ]
    return Markdown(table((title, "residual", "tolerance", "control", "outcome"), rows))


def optimizer_matrix(found: Mapping[str, Mapping[str, Verdict]]) -> Markdown:
    """Optimisers against mirrors: the largest distance reached from a start on the mirror.

    Args:
        found: Optimiser to kind of mirror to verdict.

    Returns:
        A table; bold where the mirror was left.
    """
    kinds = list(next(iter(found.values())))
    rows = [
        (name, *(f"{v.residual:.0e}" if v.holds else f"**{v.residual:.0e}**" for v in row.values()))
        for name, row in found.items()
    ]
    return Markdown(table(("optimiser", *kinds), rows))
