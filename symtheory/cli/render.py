"""The same objects as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from symtheory.lab.executors import Progress, ProgressCallback
from symtheory.lab.provenance import Provenance, data_in_words


def figures_table(document: Mapping[str, Any]) -> Table:
    """Figures and their presets.

    Args:
        document: From :func:`symtheory.cli.documents.list_document`.

    Returns:
        A table with one row for each figure.
    """
    table = _table("figure", "title", "source", "presets")
    for figure in document["figures"]:
        _add(table, figure["id"], figure["title"], figure["source"], " ".join(figure["presets"]))
    return table


def status_table(document: Mapping[str, Any]) -> Table:
    """Results that are there and those that are missing.

    Args:
        document: From :func:`symtheory.cli.documents.status_document`.

    Returns:
        A table with one row for each result and each missing preset.
    """
    table = _table("figure", "result", "device", "date", "time", "checks", "file")
    for figure in document["figures"]:
        for r in figure["results"]:
            if r["holds"] is None:
                _add(table, figure["id"], r["name"], "", "", "", "", r["problem"])
                continue
            file = r["problem"] or ("intact" if r["code_current"] else "intact, of older code")
            checks = "hold" if r["holds"] else "FAIL"
            time = f"{r['compute_time_s']:.1f} s"
            _add(table, figure["id"], r["name"], r["device"]["name"], r["date"][:10], time, checks, file)
        for preset in figure["missing"]:
            _add(
                table, figure["id"], preset, "", "", "", "", f"missing: symtheory run {figure['id']} --preset {preset}"
            )
    return table


def claims_table(document: Mapping[str, Any]) -> Table:
    """Claims and their verdicts.

    Args:
        document: From :func:`symtheory.cli.documents.claims_document`.

    Returns:
        A table with one row for each claim.
    """
    table = _table("claim", "title", "verdict", "tests passed", "slips")
    for claim in document["claims"]:
        passed = sum(test["outcome"] == "passed" for test in claim["tests"])
        verdict = claim["verdict"]
        if verdict == "open" and claim["missing"]:
            verdict = f"open ({claim['missing'][0]})"
        tests = f"{passed} of {len(claim['tests'])}"
        _add(table, claim["id"], claim["title"], verdict, tests, str(len(claim["errata"])))
    return table


def verify_table(document: Mapping[str, Any]) -> Table:
    """Proof steps, check and controls of a claim, each with what was expected of it.

    Args:
        document: From :func:`symtheory.cli.documents.verify_document`.

    Returns:
        A table with one row for each of them.
    """
    table = _table("what", "name", "expected", "found", "residual")
    for step in document["proof"]["steps"]:
        _add(table, "proof", step["name"], "proved", "proved" if step["proved"] else "OPEN", "")
    rows = [("verify", document["verify"]["statement"], True, document["verify"])]
    rows += [("control: without", name, False, verdict) for name, verdict in document["controls"].items()]
    rows += [("as printed", name, False, verdict) for name, verdict in document["counterexamples"].items()]
    rows += [("not needed", name, True, verdict) for name, verdict in document["unneeded"].items()]
    for what, name, expected, verdict in rows:
        found = "holds" if verdict["holds"] else "fails"
        residual = f"{verdict['residual']:.1e} (tolerance {verdict['tolerance']:.1e})"
        wanted = "holds" if expected else "fails"
        _add(table, what, name, wanted, found if found == wanted else found.upper(), residual)
    return table


def checks_table(record: Provenance) -> Table:
    """The checks of a result.

    Args:
        record: Its provenance.

    Returns:
        A table with one row for each check.
    """
    table = _table("check", "", "residual", "tolerance")
    for check in record.checks:
        word = "holds" if check["holds"] else "FAILS"
        _add(table, check["statement"], word, f"{check['residual']:.3g}", f"{check['tolerance']:.3g}")
    return table


def provenance_table(record: Provenance) -> Table:
    """Where a result comes from.

    Args:
        record: Its provenance.

    Returns:
        A table with one row for each fact.
    """
    table = Table(show_header=False, box=None, pad_edge=False)
    changed = ", ".join(f"{k}={v}" for k, v in record.overrides.items())
    shards = f"{record.shards['total']} ({record.shards['reused']} from the store)"
    facts = {
        "preset": record.preset + (f" with {changed}" if changed else ""),
        "seeds": ", ".join(f"{k}={v}" for k, v in record.seeds.items()) or "none",
        "device": f"{record.device['name']} ({record.device['kind']})",
        "date": record.date,
        "wall time": f"{record.wall_time_s:.1f} s; computing {record.compute_time_s:.1f} s in {shards} shards",
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "commit": record.commit or "not from a checkout",
        "data": data_in_words(record.data) or "none",
        "sha256": record.sha256,
    }
    for name, value in facts.items():
        _add(table, name, value)
    return table


@contextmanager
def progress_bar(console: Console, figure: str) -> Iterator[ProgressCallback]:
    """A bar that follows an executor.

    Args:
        console: Where it is drawn.
        figure: Id of the figure.

    Yields:
        The callback for the executor.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(figure, total=None)

        def follow(progress: Progress) -> None:
            found = f", {progress.reused} from the store" if progress.reused else ""
            bar.update(task, completed=progress.done, total=progress.total, description=f"{figure}{found}")

        yield follow


def _table(*columns: str) -> Table:
    """A table whose first column is never broken."""
    table = Table(*columns)
    table.columns[0].no_wrap = len(columns) > 4
    return table


def _add(table: Table, *cells: str) -> None:
    """Add a row of plain text: formulas hold brackets that are no markup."""
    table.add_row(*(Text(cell) for cell in cells))
