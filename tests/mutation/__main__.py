"""``python -m tests.mutation``: apply every break to a copy of the library and run its tests, which have to fail.

Before that the same tests run on the unbroken copy and have to pass. Ends with 1 if a break survives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shlex import split

from rich.console import Console
from rich.progress import track

from tests.mutation.table import MUTANTS, Mutant, markdown

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("symtheory", "tests", "book", "benchmarks", "conftest.py", "pyproject.toml", "Makefile")

#: Seconds for one selection of tests; a break that makes a loop endless counts as caught.
LIMIT = 600


@dataclass(frozen=True)
class Outcome:
    """What happened to one break.

    Attributes:
        mutant: The break.
        verdict: ``caught``, ``survived`` or ``broken`` (the tests did not run, which shows nothing).
        detail: The first test that failed, or the end of the output.
    """

    mutant: Mutant
    verdict: str
    detail: str


def checkout(target: Path) -> Path:
    """Copy what the tests need.

    Args:
        target: An empty folder.

    Returns:
        The folder.
    """
    ignore = shutil.ignore_patterns("__pycache__", "node_modules", ".*")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=ignore)
        else:
            shutil.copy2(source, target / part)
    return target


def pytest(folder: Path, selection: str) -> subprocess.CompletedProcess[str]:
    """Run a selection of tests in a copy.

    Args:
        folder: The copy.
        selection: Arguments of pytest.

    Returns:
        The finished process; return code 1 means that a test failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *split(selection)]
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, f"FAILED within {LIMIT} s: no end", "")


def attack(mutant: Mutant) -> Outcome:
    """Break one place and run its tests.

    Args:
        mutant: The break.

    Returns:
        The outcome.
    """
    with tempfile.TemporaryDirectory(prefix="symtheory-mutant-") as folder:
        copy = checkout(Path(folder))
        file = copy / "symtheory" / mutant.file
        text = file.read_text()
        if text.count(mutant.old) != 1:
            return Outcome(mutant, "broken", f"{text.count(mutant.old)} places like {mutant.old!r}")
        file.write_text(text.replace(mutant.old, mutant.new))
        done = pytest(copy, mutant.tests)
    failed = next((line for line in done.stdout.splitlines() if line.startswith("FAILED")), "")
    if done.returncode == 1 and failed:
        return Outcome(mutant, "caught", failed.removeprefix("FAILED ").split(" - ")[0])
    if done.returncode == 0:
        return Outcome(mutant, "survived", mutant.tests)
    return Outcome(mutant, "broken", "\n".join((done.stdout + done.stderr).splitlines()[-8:]))


def sound(selections: list[str], workers: int) -> list[str]:
    """Selections that do not pass on the unbroken library.

    Args:
        selections: Arguments of pytest.
        workers: Processes.

    Returns:
        Those that fail, with the end of their output.
    """
    with tempfile.TemporaryDirectory(prefix="symtheory-sound-") as folder, ThreadPoolExecutor(workers) as pool:
        copy = checkout(Path(folder))
        runs = list(pool.map(lambda s: pytest(copy, s), selections))
    return [f"{s}\n{r.stdout[-2000:]}" for s, r in zip(selections, runs, strict=True) if r.returncode != 0]


def main() -> int:
    """The command.

    Returns:
        0 if every break was caught.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="breaks whose file or description contains this")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--table", action="store_true", help="print the table for CONTRIBUTING.md and stop")
    options = parser.parse_args()
    console = Console()
    if options.table:
        console.print(markdown(), markup=False, highlight=False, soft_wrap=True)
        return 0
    chosen = [m for m in MUTANTS if options.only in m.file or options.only in m.what]
    if faults := sound(sorted({m.tests for m in chosen}), options.workers):
        console.print("[bold red]these tests fail without any break:[/]")
        for fault in faults:
            console.print(fault, markup=False)
        return 1
    with ThreadPoolExecutor(options.workers) as pool:
        outcomes = list(track(pool.map(attack, chosen), "breaking", len(chosen), console=console))
    for o in outcomes:
        color = "green" if o.verdict == "caught" else "bold red"
        console.print(f"[{color}]{o.verdict:8}[/] {o.mutant.file}: {o.mutant.what}", highlight=False)
        console.print(f"         {o.detail}", style="dim", markup=False, highlight=False)
    caught = sum(o.verdict == "caught" for o in outcomes)
    console.print(f"{caught} of {len(outcomes)} breaks caught")
    return 0 if caught == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
