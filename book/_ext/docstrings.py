"""Docstrings write formulas as Markdown does; Sphinx reads reStructuredText."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE = re.compile(r"(?<![\\$])\$(?!\$)(.+?)(?<!\\)\$", re.DOTALL)


def to_rst(text: str) -> str:
    """Formulas between dollars as roles and directives, outside of examples.

    >>> to_rst("a mirror $P$ of rank 1")
    'a mirror :math:`P` of rank 1'
    """
    text = _DISPLAY.sub(lambda m: "\n\n.. math::\n\n   " + " ".join(m[1].split()) + "\n\n", text)
    return _INLINE.sub(lambda m: ":math:`" + " ".join(m[1].split()) + "`", text)


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Change the docstring in place."""
    lines[:] = to_rst("\n".join(lines)).split("\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to autodoc."""
    app.setup_extension("sphinx.ext.napoleon")
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
