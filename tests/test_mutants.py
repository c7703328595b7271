"""The table of breaks is sound: each names one place, changes it, and names tests that exist."""

from pathlib import Path
from shlex import split

import pytest

from tests.mutation.table import MUTANTS, markdown

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.file}: {m.what}")
def test_a_break_names_one_place_and_tests_that_exist(mutant):
    text = (ROOT / "symtheory" / mutant.file).read_text()
    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old
    compile(text.replace(mutant.old, mutant.new), mutant.file, "exec")
    named = [word for word in split(mutant.tests) if word.endswith(".py")]
    assert named and all((ROOT / name).is_file() for name in named)


def test_there_are_thirty_different_breaks():
    assert len({(m.file, m.old, m.new) for m in MUTANTS}) == len(MUTANTS) >= 30


def test_the_table_in_the_guide_is_this_one():
    assert markdown() in (ROOT / "CONTRIBUTING.md").read_text()
