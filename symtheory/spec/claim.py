"""Claims of the papers as frozen data, and the slips found in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from symtheory.errors import SymtheoryError

VerdictWord = Literal["holds", "holds as corrected", "fails as printed", "open"]


@dataclass(frozen=True)
class Erratum:
    """One slip in a paper.

    Attributes:
        where: Place in the paper ("eq. (57)").
        printed: What is printed, in the paper's formula or our paraphrase (MyST markdown).
        true: What holds instead (MyST markdown).
        counterexample: Smallest instance that meets every printed hypothesis and breaks the printed form (markdown).
        consequence: What it changes for somebody who implements the formula.
        check: Dotted path of the function that recomputes the counterexample; it returns a :class:`Verdict` that
            must *not* hold for the printed form.
        kind: Whether the slip sits in a statement, a proof, a formula in passing, or the wording.
    """

    where: str
    printed: str
    true: str
    counterexample: str
    consequence: str
    check: str
    kind: Literal["statement", "proof", "formula", "wording"] = "statement"


@dataclass(frozen=True)
class Claim:
    """One numbered statement of a paper.

    Attributes:
        id: Short name, e.g. ``A.T1.1``.
        source: Paper and place.
        title: A few words.
        statement: The statement as the paper has it (MyST markdown).
        hypotheses: Short name to hypothesis (MyST markdown), in order; controls refer to these names.
        verdict: What the evidence supports; the ledger shows *open* until the evidence has been run.
        chapter: Page of the book without suffix.
        correction: The corrected statement, for *holds as corrected* (MyST markdown).
        remark: What a reader should know beyond the statement (MyST markdown).
        errata: Slips attached to this claim.
    """

    id: str
    source: str
    title: str
    statement: str
    hypotheses: Mapping[str, str]
    verdict: VerdictWord
    chapter: str
    correction: str | None = None
    remark: str | None = None
    errata: tuple[Erratum, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict not in get_args(VerdictWord):
            raise SymtheoryError(f"one of {get_args(VerdictWord)}", repr(self.verdict), "use one of the four verdicts")
        if (self.verdict == "holds as corrected") != (self.correction is not None):
            raise SymtheoryError(
                "a correction exactly when the verdict is 'holds as corrected'",
                f"{self.verdict!r} with correction {self.correction!r}",
                f"mend claim {self.id}",
            )
        if self.correction and not any(e.kind != "wording" for e in self.errata):
            raise SymtheoryError(
                "an erratum with a counterexample beside a correction", "none", f"add it to claim {self.id}"
            )
