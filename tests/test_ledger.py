"""The ledger cannot say more than was run; the plugin records what ran, and refuses marks it cannot read."""

import json
from dataclasses import replace

import pytest

from symtheory import pages
from symtheory.errors import SymtheoryError
from symtheory.ledger import Evidence, judge, load, needed, read
from symtheory.spec import Claim, Proof, Step, Verdict
from symtheory.theorems import THEOREMS, Theorem

pytest_plugins = ["pytester"]
GOOD = THEOREMS["A.T1.1"]
CORRECTED = THEOREMS["A.T1.4"]


def evidence(theorem, pairs=None, outcome="passed"):
    return [
        Evidence(theorem.claim.id, role, subject, f"tests/x.py::{role}", outcome)
        for role, subject in (needed(theorem) if pairs is None else pairs)
    ]


def test_full_evidence_earns_the_declared_verdict():
    assert judge(GOOD, evidence(GOOD)).verdict == "holds"
    assert judge(CORRECTED, evidence(CORRECTED)).verdict == "holds as corrected"


def test_a_claim_needs_every_hypothesis_and_every_printed_slip():
    assert needed(CORRECTED) == [
        ("proof", ""),
        ("verify", ""),
        ("control", "invariant loss"),
        ("control", "curvature bound"),
        ("control", "decay above the threshold"),
        ("counterexample", "printed threshold"),
        ("counterexample", "bounded space"),
    ]
    assert ("control", "local minimum") in needed(THEOREMS["B.T3"])  # needless, and shown to be


@pytest.mark.parametrize("pair", needed(CORRECTED), ids="-".join)
def test_each_missing_piece_opens_the_claim(pair):
    entry = judge(CORRECTED, evidence(CORRECTED, [p for p in needed(CORRECTED) if p != pair]))
    assert entry.verdict == "open"
    assert len(entry.missing) == 1
    assert all(part in entry.missing[0] for part in pair)


def test_a_control_without_a_subject_stands_for_no_hypothesis():
    bare = evidence(GOOD, [("proof", ""), ("verify", ""), ("control", "")])
    assert judge(GOOD, bare).verdict == "open"


@pytest.mark.parametrize("outcome", ["failed", "skipped"])
def test_evidence_that_did_not_pass_is_none(outcome):
    others = evidence(GOOD, [p for p in needed(GOOD) if p[0] != "verify"])
    assert judge(GOOD, [*others, *evidence(GOOD, [("verify", "")], outcome)]).verdict == "open"


def test_one_failure_outweighs_many_passes():
    assert judge(GOOD, [*evidence(GOOD) * 5, *evidence(GOOD, [("verify", "")], "failed")]).verdict == "open"


def test_evidence_for_another_claim_does_not_count():
    assert judge(GOOD, evidence(THEOREMS["A.T1.3"])).verdict == "open"


def test_a_proof_with_an_open_step_opens_the_claim():
    import sympy

    x = sympy.Symbol("x")
    broken = replace(GOOD, prove=lambda: Proof("A.T1.1", "none", (Step("no identity", x, x * 0, x),)))
    assert judge(broken, evidence(GOOD)).verdict == "open"
    assert not Proof("A.T1.1", "none", ()).proved


def test_without_a_record_everything_is_open(tmp_path):
    book = load(tmp_path / "absent.json")
    assert {e.verdict for e in book.entries.values()} == {"open"}
    assert list(book.entries) == list(THEOREMS)


WISH = json.dumps(
    {"schema": 2, "tests": [{"claim": "A.D1", "role": "wish", "subject": "", "nodeid": "t", "outcome": "passed"}]}
)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema": 2, "tests": [{"claim": 3}]}', WISH])
def test_a_damaged_record_is_refused(tmp_path, text):
    path = tmp_path / "ledger.json"
    path.write_text(text)
    with pytest.raises(SymtheoryError, match=r"a test record of schema 2 in ledger.json.*run 'make test' again"):
        read(path)


def test_a_record_of_another_schema_is_refused(tmp_path):
    path = tmp_path / "ledger.json"
    path.write_text(json.dumps({"schema": 99, "tests": []}))
    with pytest.raises(SymtheoryError, match=r"schema 2 in ledger\.json, got 99"):
        read(path)


# --- the plugin, on test files of its own ----------------------------------------------------------------------------


def run_inner(pytester, body, *args):
    pytester.makepyfile(test_inner=body)
    pytester.makeini("[pytest]\nmarkers = claim(id, role): evidence\n")
    return pytester.runpytest_subprocess("-p", "tests.ledger_plugin", "-p", "no:cacheprovider", *args)


MARKED = """
import pytest
@pytest.mark.claim("A.D1", role="verify")
def test_good(): pass
@pytest.mark.claim("A.D1", role="control", subject="invariant loss")
@pytest.mark.claim("A.D2", role="control")
def test_bad(): assert False
@pytest.mark.claim("A.D3", role="proof")
def test_skipped(): pytest.skip("why not")
@pytest.fixture
def breaks():
    yield
    raise RuntimeError
@pytest.mark.claim("A.T2", role="verify")
def test_tear_down(breaks): pass
def test_unmarked(): pass
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_outcomes_are_recorded(pytester, workers):
    run_inner(pytester, MARKED, "--ledger", "out/ledger.json", *workers)
    tests, versions = read(pytester.path / "out" / "ledger.json")
    assert {(t.claim, t.role, t.subject, t.outcome) for t in tests} == {
        ("A.D1", "verify", "", "passed"),
        ("A.D1", "control", "invariant loss", "failed"),
        ("A.D2", "control", "", "failed"),
        ("A.D3", "proof", "", "skipped"),
        ("A.T2", "verify", "", "failed"),
    }
    assert "torch" in versions


MISMARKED = (
    '"A.D99", role="verify"',
    '"A.D1", role="wish"',
    '"A.D1"',
    'role="verify"',
    '"A.D1", role="control", subject="no such hypothesis"',
)


@pytest.mark.parametrize("mark", MISMARKED)
def test_marks_that_name_nothing_are_refused(pytester, mark):
    result = run_inner(pytester, f"import pytest\n@pytest.mark.claim({mark})\ndef test_it(): pass\n")
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*expected claim(ID, role=ROLE, subject=SUBJECT)*"])


# --- records ---------------------------------------------------------------------------------------------------------


def test_a_verdict_holds_only_with_a_control_that_fails():
    assert Verdict("x", 1e-12, 1e-9, control=1.0).holds
    assert not Verdict("x", 1e-12, 1e-9, control=1e-9).holds
    assert not Verdict("x", 1e-8, 1e-9, control=1.0).holds
    assert "FAILS" in repr(Verdict("x", 1.0, 1e-9))
    assert bool(Verdict("x", 0.0, 0.0))
    with pytest.raises(SymtheoryError, match="a finite residual, got nan"):
        Verdict("x", float("nan"), 1e-9)
    with pytest.raises(SymtheoryError, match="a finite control residual, got inf"):
        Verdict("x", 0.0, 1e-9, control=float("inf"))


def test_claims_are_consistent():
    good = replace(GOOD.claim, errata=())
    with pytest.raises(SymtheoryError, match="a correction exactly when"):
        replace(good, correction="something")
    with pytest.raises(SymtheoryError, match="an erratum with a counterexample"):
        replace(good, verdict="holds as corrected", correction="something")
    with pytest.raises(SymtheoryError, match="a control, or a proof of needlessness"):
        replace(GOOD, controls={"invariant loss": GOOD.controls["invariant loss"]})
    assert isinstance(good, Claim) and isinstance(GOOD, Theorem)


# --- pages -----------------------------------------------------------------------------------------------------------


def test_pages_show_what_the_ledger_holds(tmp_path):
    empty = load(tmp_path / "absent.json")
    assert pages.ledger_table(empty).text.count("verdict-open") == len(THEOREMS)
    assert "not run yet" in pages.errata_list(empty).text
    assert "Not shown yet" in pages.verdict_table("mirror_constraint", empty).text
    with pytest.raises(SymtheoryError, match="a chapter among"):
        pages.verdict_table("nowhere", empty)


def test_norm_bars_do_not_break_a_table(tmp_path):
    lines = pages.verdict_table("mirror_constraint", load(tmp_path / "absent.json")).text.splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines} == {5}


def test_every_erratum_is_listed(tmp_path):
    text = pages.errata_list(load(tmp_path / "absent.json")).text
    for theorem in THEOREMS.values():
        for erratum in theorem.claim.errata:
            assert erratum.where in text and erratum.consequence in text
