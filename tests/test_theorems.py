"""Every theorem of the registry: its proof, its check on every kind of instance, its controls, its counterexamples.

Laws of single chapters, on many more random instances, are in the chapters' own files.
"""

import importlib

import pytest

from symtheory.spec import Verdict
from symtheory.theorems import THEOREMS, worst


def each(attribute):
    """Marked parameters (claim, name), one for every entry of a mapping on every theorem."""
    role = "counterexample" if attribute == "counterexamples" else "control"
    return [
        pytest.param(claim, name, id=f"{claim}-{name}", marks=pytest.mark.claim(claim, role=role, subject=name))
        for claim, t in THEOREMS.items()
        for name in getattr(t, attribute)
    ]


def every(role):
    return [pytest.param(claim, id=claim, marks=pytest.mark.claim(claim, role=role)) for claim in THEOREMS]


@pytest.mark.parametrize("claim", every("proof"))
def test_every_symbolic_step_simplifies_to_zero(claim):
    proof = THEOREMS[claim].prove()
    assert [s.name for s in proof.steps if not s.proved] == []
    assert proof.proved


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("claim", every("verify"))
def test_the_claim_holds_on_every_kind_of_instance(claim, seed):
    verdict = THEOREMS[claim].verify(seed)
    assert verdict.holds, verdict


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("claim", "name"), each("controls"))
def test_a_broken_hypothesis_breaks_the_claim(claim, name, seed):
    verdict = THEOREMS[claim].controls[name](seed)
    assert not verdict.holds, verdict
    assert verdict.residual > 1e3 * verdict.tolerance


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("claim", "name"), each("unneeded"))
def test_a_hypothesis_that_is_not_needed_can_be_dropped(claim, name, seed):
    assert THEOREMS[claim].unneeded[name](seed).holds


@pytest.mark.parametrize(("claim", "name"), each("counterexamples"))
def test_a_printed_slip_fails_as_printed(claim, name):
    verdict = THEOREMS[claim].counterexamples[name]()
    assert not verdict.holds, verdict


@pytest.mark.parametrize("claim", THEOREMS)
def test_every_erratum_names_its_check(claim):
    checks = {id(f) for f in THEOREMS[claim].counterexamples.values()}
    for erratum in THEOREMS[claim].claim.errata:
        module, name = erratum.check.rsplit(".", 1)
        assert id(getattr(importlib.import_module(module), name)) in checks


def test_the_worst_verdict_stands_for_all():
    easy, close = Verdict("easy", 1e-12, 1e-3), Verdict("close", 0.9e-6, 1e-6)
    failed = Verdict("failed", 2e-9, 1e-9)
    assert worst([easy, close]) is close
    assert worst([easy, failed, close]) is failed
    assert worst([Verdict("exact", 0.0, 0.0), easy]) is easy
