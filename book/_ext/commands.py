"""The commands of a command line on a page, as the program itself tells them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

from sphinx.application import Sphinx

_PLACE = re.compile(r"^% commands: (\S+) as (\S+)$", re.MULTILINE)
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def commands(module: str, program: str) -> str:
    """All commands with their arguments and options, in Markdown.

    Args:
        module: Module of the Typer application.
        program: Name of the program.

    Returns:
        Sections, one a command; what comes before the first of them is left out.
    """
    order = [sys.executable, "-m", "typer", module, "utils", "docs", "--name", program]
    text = subprocess.run(order, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    pieces = _CODE.split(text[text.index("\n## ") :])
    return "".join(piece if i % 2 else _plain(piece) for i, piece in enumerate(pieces))


def _plain(text: str) -> str:
    """No formula begins at a variable of the shell, and two hyphens stay two."""
    return re.sub(r"--[a-z]+", r"`\g<0>`", text.replace("$", r"\$"))


def fill(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the commands where a page asks for them."""
    source[0] = _PLACE.sub(lambda m: commands(m[1], m[2]), source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", fill)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
