"""What the commands say, as JSON objects; the schema is described in :mod:`symtheory.cli`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from symtheory.errors import SymtheoryError
from symtheory.lab.provenance import Provenance, check_record
from symtheory.lab.results import Results
from symtheory.lab.runs import figure_code

if TYPE_CHECKING:
    from symtheory.discover import SymmetryReport
    from symtheory.figures.base import Figure
    from symtheory.ledger import Entry
    from symtheory.spec.verdict import Verdict
    from symtheory.theorems.base import Theorem

SCHEMA = 1


def list_document(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What ``symtheory list --json`` writes.

    Args:
        figures: The registry of figures.

    Returns:
        The object.
    """
    return {"schema": SCHEMA, "figures": [_figure(figure) for figure in figures.values()]}


def status_document(figures: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """What ``symtheory status --json`` writes.

    Args:
        figures: The registry of figures.
        results: Where results are looked for.

    Returns:
        The object.
    """
    rows: list[dict[str, Any]] = []
    for figure in figures.values():
        names = results.names(figure.id)
        rows.append(
            {
                "id": figure.id,
                "title": figure.title,
                "missing": [preset for preset in figure.presets if preset not in names],
                "results": [_result(figure, name, results) for name in names],
            }
        )
    return {"schema": SCHEMA, "figures": rows}


def claims_document(entries: Mapping[str, Any]) -> dict[str, Any]:
    """What ``symtheory claims --json`` writes.

    Args:
        entries: The entries of the ledger.

    Returns:
        The object.
    """
    return {"schema": SCHEMA, "claims": [_entry(entry) for entry in entries.values()]}


def inspect_document(model: str, report: SymmetryReport) -> dict[str, Any]:
    """What ``symtheory inspect --json`` writes.

    Args:
        model: Name of the model.
        report: Its symmetries.

    Returns:
        The object.
    """
    return {"schema": SCHEMA, "model": model, **report.to_dict()}


def verify_document(theorem: Any, seed: int) -> dict[str, Any]:
    """Run the proof, the check and the controls of a claim; this is what ``symtheory verify --json`` writes.

    Args:
        theorem: The theorem.
        seed: Seed of its random instances.

    Returns:
        The object.
    """
    it: Theorem = theorem
    proof, verdict = it.prove(), it.verify(seed)
    controls = {name: control(seed) for name, control in it.controls.items()}
    printed = {name: counterexample() for name, counterexample in it.counterexamples.items()}
    unneeded = {name: check(seed) for name, check in it.unneeded.items()}
    must_fail = [*controls.values(), *printed.values()]
    return {
        "schema": SCHEMA,
        "claim": it.claim.id,
        "seed": seed,
        "as_declared": bool(
            proof.proved
            and verdict.holds
            and not any(v.holds for v in must_fail)
            and all(v.holds for v in unneeded.values())
        ),
        "verify": _verdict(verdict),
        "controls": {name: _verdict(v) for name, v in controls.items()},
        "counterexamples": {name: _verdict(v) for name, v in printed.items()},
        "unneeded": {name: _verdict(v) for name, v in unneeded.items()},
        "proof": {
            "scope": proof.scope,
            "proved": proof.proved,
            "steps": [
                {"name": s.name, "lhs": str(s.lhs), "rhs": str(s.rhs), "proved": bool(s.proved)} for s in proof.steps
            ],
        },
    }


def _figure(figure: Figure) -> dict[str, Any]:
    """A figure with its presets."""
    return {
        "id": figure.id,
        "title": figure.title,
        "source": figure.source,
        "claim": figure.claim,
        "presets": {name: config.to_json() for name, config in figure.presets.items()},
    }


def _result(figure: Figure, name: str, results: Results) -> dict[str, Any]:
    """A result, as far as its provenance can be read."""
    record: Provenance | None = None
    problem: str | None = None
    try:
        record = results.provenance(figure.id, name)
        results.verify(figure.id, name)
    except SymtheoryError as error:
        problem = str(error)
    return {
        "name": name,
        **{
            field: getattr(record, field, None)
            for field in ("preset", "overrides", "device", "date", "wall_time_s", "compute_time_s", "holds")
        },
        "sha256_ok": problem is None,
        "code_current": None if record is None else record.code == figure_code(figure),
        "problem": problem,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    """A claim with its evidence."""
    claim = entry.claim
    telling = [e.counterexample for e in claim.errata if e.kind != "wording"]
    return {
        "id": claim.id,
        "source": claim.source,
        "title": claim.title,
        "verdict": entry.verdict,
        "declared_verdict": claim.verdict,
        "correction": claim.correction,
        "counterexample": telling[0] if telling else None,
        "missing": list(getattr(entry, "missing", ())),
        "tests": [{"nodeid": t.nodeid, "role": t.role, "outcome": t.outcome} for t in entry.tests],
        "errata": [
            {f: getattr(e, f) for f in ("where", "kind", "printed", "true", "counterexample", "consequence", "check")}
            for e in claim.errata
        ],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """A verdict."""
    return {**check_record(verdict), "seed": verdict.seed}
