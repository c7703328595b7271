"""The shape of a chapter, read from its source: short cells, every section, described figures, no machine's paths."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "book").rglob("*.md"))
SECTIONS = (
    "overview",
    "statement",
    "symbolic check",
    "property tests",
    "break it",
    "verdict",
    "figures?",
    "your (own )?model",
    "limits",
)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
CELL = re.compile(r"^(`{3,}|:{3,})\{code-cell\}[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)


def _cells(text: str) -> list[tuple[dict[str, Any], list[str]]]:
    """Options and code lines of every code cell; blank lines and comments do not count."""
    cells = []
    for match in CELL.finditer(text):
        body, options = match[2], {}
        if body.startswith("---\n"):
            head, _, body = body.removeprefix("---\n").partition("\n---\n")
            options = yaml.safe_load(head) or {}
        elif found := re.match(r"(?::[\w-]+:.*\n)+", body):
            lines = [line.partition(":")[2].partition(":") for line in found[0].splitlines()]
            options = {key: yaml.safe_load(value or "null") for key, _, value in lines}
            body = body[found.end() :]
        code = [line for line in body.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        cells.append((options, code))
    return cells


def _header(text: str) -> dict[str, Any]:
    """The YAML at the top of a page."""
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return (yaml.safe_load(match[1]) or {}) if match else {}


@every_page
def test_executable_pages_have_a_jupytext_header(page: Path) -> None:
    """A page with cells says that it is MyST and which kernel runs it."""
    text = page.read_text(encoding="utf-8")
    if not _cells(text):
        assert "{code-cell}" not in text
        return
    header = _header(text)
    assert header["jupytext"]["text_representation"]["format_name"] == "myst"
    assert header["kernelspec"]["name"] == "python3"


@every_page
def test_cells_are_short(page: Path) -> None:
    """Choices, calls and asserts belong on the page; what is longer belongs in the library."""
    lengths = [len(code) for _, code in _cells(page.read_text(encoding="utf-8"))]
    if lengths:
        assert max(lengths) <= 25 and median(lengths) <= 8


@every_page
def test_cells_install_nothing_and_name_no_machine(page: Path) -> None:
    """Cells do not call the shell, and no line names an absolute folder."""
    text = page.read_text(encoding="utf-8")
    shell = [line for _, code in _cells(text) for line in code if re.match(r"\s*[!%]", line)]
    assert shell == []
    assert not re.search(r"(?<![\w.])/(?:wo" + r"rk|home|ro" + r"ot|t" + r"mp|Users)/", text)


@every_page
def test_chapters_have_every_section(page: Path) -> None:
    """A page with a theorem is a chapter: it has every section, from overview to limits."""
    text = page.read_text(encoding="utf-8")
    headings = [h.lower() for h in re.findall(r"^#{1,3} +(.+)$", CELL.sub("", text), re.MULTILINE)]
    is_chapter = "{prf:theorem}" in text or any(re.search("symbolic check", h) for h in headings)
    if is_chapter:
        assert "{prf:theorem}" in text
        assert [s for s in SECTIONS if not any(re.search(s, h) for h in headings)] == []


@every_page
def test_theorems_can_be_linked(page: Path) -> None:
    """Every theorem carries a label."""
    text = page.read_text(encoding="utf-8")
    theorems = re.findall(r"^(?:`{3,}|:{3,})\{prf:theorem\}[^\n]*\n((?::\w+:[^\n]*\n)*)", text, re.MULTILINE)
    assert all(":label:" in options for options in theorems)


@every_page
def test_figures_have_caption_and_alternative(page: Path) -> None:
    """A cell that draws says what the picture shows, for those who see it and for those who do not."""
    bare = []
    for options, code in _cells(page.read_text(encoding="utf-8")):
        shown = options.get("mystnb") or {}
        draws = any(re.search(r"\bplt\.|\bsubplots\(|\bplots\.\w+|\.plot\(|\bdraw\(", line) for line in code)
        imports_only = all(re.match(r"\s*(import|from)\b", line) for line in code)
        hidden = "remove-output" in (options.get("tags") or []) or "remove-cell" in (options.get("tags") or [])
        if (draws and not imports_only and not hidden) or "figure" in shown or "image" in shown:
            caption = (shown.get("figure") or {}).get("caption") or ""
            alternative = (shown.get("image") or {}).get("alt") or ""
            if not caption.strip() or not alternative.strip():
                bare.append(code[-1])
    assert bare == []
