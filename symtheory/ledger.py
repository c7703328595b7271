"""The ledger: what a recorded test run and the proofs support, claim by claim. It cannot say more than was run.

A test says what it is evidence for with ``@pytest.mark.claim("A.T1.1", role="verify")``; a control also names its
hypothesis and a counterexample the printed form, with ``subject="..."``. The pytest plugin
(``tests/ledger_plugin.py``) records the outcomes in a JSON file::

    {"schema": 2, "python": "3.11.7", "torch": "2.13.0", "tests": [
        {"claim": "A.T1.1", "role": "verify", "subject": "", "nodeid": "tests/...::test", "outcome": "passed"}, ...]}

A claim earns its declared verdict when every symbolic step proves, a proof and a verification passed, so did a control
of each hypothesis and a counterexample to each printed form that is wrong, and nothing failed. Otherwise it is *open*.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from symtheory.errors import SymtheoryError
from symtheory.spec.claim import Claim, VerdictWord
from symtheory.theorems import THEOREMS
from symtheory.theorems.base import Theorem

SCHEMA = 2
Role = Literal["proof", "verify", "control", "counterexample"]
ROLES: tuple[Role, ...] = get_args(Role)
OUTCOMES = ("passed", "failed", "skipped")


@dataclass(frozen=True)
class Evidence:
    """One test that was run for one claim.

    Attributes:
        claim: Id of the claim.
        role: What the test is evidence of.
        subject: The hypothesis of a control, the printed form of a counterexample; else empty.
        nodeid: The test.
        outcome: ``passed``, ``failed`` or ``skipped``.
    """

    claim: str
    role: Role
    subject: str
    nodeid: str
    outcome: str


@dataclass(frozen=True)
class Entry:
    """A claim with its evidence.

    Attributes:
        claim: The claim.
        verdict: The declared verdict if the evidence carries it, else ``open``.
        missing: Why it is open; empty otherwise.
        tests: All evidence recorded.
    """

    claim: Claim
    verdict: VerdictWord
    missing: tuple[str, ...]
    tests: tuple[Evidence, ...]


@dataclass(frozen=True)
class Ledger:
    """All claims, in the order of the theorems.

    Attributes:
        entries: By claim id.
        recorded: Versions the run was recorded with; empty without a record.
    """

    entries: Mapping[str, Entry]
    recorded: Mapping[str, str]


def needed(theorem: Theorem) -> list[tuple[Role, str]]:
    """What a claim needs evidence of.

    Args:
        theorem: The theorem.

    Returns:
        Pairs of role and subject: proof, verification, each hypothesis broken or shown needless, each printed form that
        is wrong.
    """
    pairs: list[tuple[Role, str]] = [("proof", ""), ("verify", "")]
    pairs.extend(("control", name) for name in (*theorem.controls, *theorem.unneeded))
    pairs.extend(("counterexample", name) for name in theorem.counterexamples)
    return pairs


def judge(theorem: Theorem, evidence: Iterable[Evidence]) -> Entry:
    """Weigh the evidence for one theorem.

    Args:
        theorem: The theorem; its proof is run now.
        evidence: All recorded evidence, of any claim.

    Returns:
        The entry.
    """
    claim = theorem.claim
    tests = tuple(e for e in evidence if e.claim == claim.id)
    missing = [f"{e.role} failed: {e.nodeid}" for e in tests if e.outcome not in {"passed", "skipped"}]
    if not theorem.prove().proved:
        missing.append("a symbolic step did not simplify to zero")
    passed = {(e.role, e.subject) for e in tests if e.outcome == "passed"}
    for role, subject in needed(theorem):
        if (role, subject) not in passed:
            missing.append(f"no passing test of role {role}" + (f": {subject}" if subject else ""))
    return Entry(claim, "open" if missing else claim.verdict, tuple(missing), tests)


def record_path() -> Path | None:
    """Where the record of the last run lies.

    Returns:
        ``$SYMTHEORY_LEDGER``, or ``build/ledger.json`` of the checkout around the working directory; ``None`` if there
        is neither.
    """
    if named := os.environ.get("SYMTHEORY_LEDGER"):
        return Path(named)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").is_file() and (folder / "symtheory").is_dir():
            return folder / "build" / "ledger.json"
    return None


def read(path: Path) -> tuple[list[Evidence], dict[str, str]]:
    """Read a record.

    Args:
        path: JSON file written by the plugin.

    Returns:
        The evidence and the versions.

    Raises:
        SymtheoryError: If the file is not a record of this schema.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        version = data["schema"]
        fields = ("claim", "role", "subject", "nodeid", "outcome")
        rows = data["tests"] if version == SCHEMA else []
        strange = next((t for t in rows if t["role"] not in ROLES or t["outcome"] not in OUTCOMES), None)
        tests = [] if strange else [Evidence(*(t[name] for name in fields)) for t in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SymtheoryError(
            f"a test record of schema {SCHEMA} in {path.name}",
            str(error) or type(error).__name__,
            "run 'make test' again",
        ) from error
    if strange:
        raise SymtheoryError(
            f"a test record of schema {SCHEMA} in {path.name}",
            f"the role {strange['role']!r} with the outcome {strange['outcome']!r}",
            "run 'make test' again",
        )
    if version != SCHEMA:
        raise SymtheoryError(f"schema {SCHEMA} in {path.name}", f"{version}", "run 'make test' again")
    return tests, {k: str(v) for k, v in data.items() if k not in {"tests", "schema"}}


def load(path: Path | None = None) -> Ledger:
    """Build the ledger from a record and from the proofs.

    Args:
        path: The record; default :func:`record_path`.

    Returns:
        The ledger; every claim is open if there is no record.
    """
    place = record_path() if path is None else path
    evidence, recorded = read(place) if place is not None and place.is_file() else ([], {})
    return Ledger({name: judge(theorem, evidence) for name, theorem in THEOREMS.items()}, recorded)
