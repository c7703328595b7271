"""The program ``symtheory`` with one small figure, so that it starts quickly, in a process that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
from functools import partial
from pathlib import Path
from typing import Any

from tests.fakes import FakeFigure

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> None:
    """The command line, with this figure in place of those of the papers, which are not imported."""
    figures: Any = types.ModuleType("symtheory.figures")
    figures.FIGURES = {"F1": FakeFigure()}
    sys.modules["symtheory.figures"] = figures
    from symtheory.cli import main

    main(arguments)


def start(arguments: list[str], store: Path) -> subprocess.Popen[bytes]:
    """Run it in a process group of its own, as a shell does."""
    command = [sys.executable, "-c", "import sys; from tests.fake_program import main; main(sys.argv[1:])", *arguments]
    env = os.environ | {"SYMTHEORY_STORE": str(store), "COLUMNS": "300"}
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    if os.name == "posix":  # tests in the background of a script inherit that interrupts are ignored
        options["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, cwd=ROOT, env=env, **options)
