"""Theorems as objects, in a registry by claim id."""

from symtheory.errors import SymtheoryError
from symtheory.theorems import (
    general_groups,
    hessian_blocks,
    hidden_subspaces,
    l1_equivalence,
    mirror_constraint,
    syre_bounds,
)
from symtheory.theorems.base import Theorem, worst

THEOREMS: dict[str, Theorem] = {
    t.claim.id: t
    for chapter in (mirror_constraint, hessian_blocks, l1_equivalence, syre_bounds, general_groups, hidden_subspaces)
    for t in chapter.THEOREMS
}


def theorem(claim: str) -> Theorem:
    """The theorem behind a claim.

    Args:
        claim: Id such as ``A.T1.1``; case does not matter.

    Returns:
        The theorem.

    Raises:
        SymtheoryError: If there is no such claim.
    """
    for key, value in THEOREMS.items():
        if key.lower() == claim.lower():
            return value
    raise SymtheoryError(f"a claim among {', '.join(THEOREMS)}", repr(claim), "run 'symtheory claims' for the list")


__all__ = ["THEOREMS", "Theorem", "theorem", "worst"]
