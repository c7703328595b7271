"""The reference is made from docstrings; these write formulas as Markdown does, and Sphinx reads reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sphinx.application import Sphinx

_DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE = re.compile(r"(?<![\\$])\$(?!\$)(.+?)(?<!\\)\$", re.DOTALL)
_SOURCE = re.compile(r"^Source:\s+(.+?)(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
_LITERAL = re.compile(r"(``.+?``)", re.DOTALL)


def to_rst(text: str) -> str:
    r"""Formulas between dollars as roles and directives, outside of examples and of code.

    >>> to_rst("a mirror $P$ of rank 1, ``$P`` in the shell")
    'a mirror :math:`P` of rank 1, ``$P`` in the shell'
    >>> to_rst(">>> price('$1', '$2')")
    ">>> price('$1', '$2')"
    """
    return "\n".join(part if example else _prose(part) for example, part in _parts(text))


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """Examples (from a prompt to the next empty line) and what lies between them."""
    inside, marked = False, []
    for line in text.split("\n"):
        inside = line.lstrip().startswith(">>>") or (inside and bool(line.strip()))
        marked.append((inside, line))
    for example, lines in groupby(marked, key=lambda pair: pair[0]):
        yield example, "\n".join(line for _, line in lines)


def _prose(text: str) -> str:
    """Formulas, and the place in the papers as a field beside arguments and result."""
    pieces = _LITERAL.split(text)
    for i in range(0, len(pieces), 2):
        piece = _DISPLAY.sub(lambda m: "\n\n.. math::\n\n   " + " ".join(m[1].split()) + "\n\n", pieces[i])
        pieces[i] = _INLINE.sub(lambda m: ":math:`" + " ".join(m[1].split()) + "`", piece)
    return _SOURCE.sub(lambda m: ":Source: " + " ".join(m[1].split()), "".join(pieces))


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Change the docstring in place; a theorem is told by its claim."""
    claim = getattr(obj, "claim", None) if what == "data" else None
    lines[:] = [f"{claim.id}: {claim.title}"] if claim is not None else to_rst("\n".join(lines)).split("\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to autodoc, ahead of the step that reads the Google style."""
    for extension in ("sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"):
        app.setup_extension(extension)
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
