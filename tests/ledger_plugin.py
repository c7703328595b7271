"""Pytest plugin: ``--ledger FILE`` records the outcome of every test marked with a claim.

Works with pytest-xdist: the controller sees the reports of all workers, and each report carries its claims.
The library is imported inside the hooks only: jaxtyping must be able to instrument it first.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest
import torch

_RECORD = pytest.StashKey[dict[tuple[str, str, str, str], str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--ledger``."""
    parser.addoption("--ledger", metavar="FILE", help="record the outcomes of tests marked with a claim in FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Start an empty record."""
    config.stash[_RECORD] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse marks that name no claim, role or subject of it: such evidence would be lost silently.

    Args:
        items: Collected tests.

    Raises:
        pytest.UsageError: At the first bad mark.
    """
    from symtheory.ledger import needed
    from symtheory.theorems import THEOREMS

    for item in items:
        for mark in item.iter_markers("claim"):
            known = needed(THEOREMS[mark.args[0]]) if len(mark.args) == 1 and mark.args[0] in THEOREMS else []
            role, subject = mark.kwargs.get("role"), mark.kwargs.get("subject", "")
            if (role, subject) not in known and not (subject == "" and role in {r for r, _ in known}):
                raise pytest.UsageError(
                    f"{item.nodeid}: expected claim(ID, role=ROLE, subject=SUBJECT) with a known id, and for it "
                    f"one of {known}, got {mark.args} {mark.kwargs}"
                )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Attach the claims of a test to its report, so that they travel from xdist's workers.

    Args:
        item: The test.

    Yields:
        Control to the other hooks.
    """
    outcome = yield
    report = outcome.get_result()
    for mark in item.iter_markers("claim"):
        subject = mark.kwargs.get("subject", "")
        report.user_properties.append(("claim", f"{mark.args[0]}|{mark.kwargs['role']}|{subject}"))


class _Recorder:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        record = self.config.stash[_RECORD]
        for key, value in report.user_properties:
            if key != "claim":
                continue
            claim, role, subject = str(value).split("|", 2)
            name = (claim, role, subject, report.nodeid)
            # a failure in set-up, call or tear-down outweighs a pass of another phase
            # and so does an expected failure: evidence that is known to fail is none
            if report.failed or hasattr(report, "wasxfail") or record.get(name) == "failed":
                record[name] = "failed"
            elif report.when == "call" or report.skipped:
                record[name] = report.outcome


def pytest_sessionstart(session: pytest.Session) -> None:
    """Listen for reports, in the controller only."""
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_Recorder(session.config), "symtheory-recorder")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the record, in the controller only."""
    from symtheory.ledger import SCHEMA

    target = session.config.getoption("--ledger")
    if target is None or hasattr(session.config, "workerinput"):
        return
    tests = [
        {"claim": claim, "role": role, "subject": subject, "nodeid": nodeid, "outcome": outcome}
        for (claim, role, subject, nodeid), outcome in sorted(session.config.stash[_RECORD].items())
    ]
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"schema": SCHEMA, "python": platform.python_version(), "torch": torch.__version__, "tests": tests}
    path.write_text(json.dumps(data, indent=1) + "\n")
