"""Paper C: hidden fixed-point subspaces of equivariant networks."""

from symtheory.theorems.hidden_subspaces.criticality import CRITICALITY
from symtheory.theorems.hidden_subspaces.enumeration import ENUMERATION
from symtheory.theorems.hidden_subspaces.hidden import HIDDEN
from symtheory.theorems.hidden_subspaces.merging import MERGING
from symtheory.theorems.hidden_subspaces.reduction import REDUCTION

THEOREMS = (CRITICALITY, HIDDEN, ENUMERATION, REDUCTION, MERGING)

__all__ = ["CRITICALITY", "ENUMERATION", "HIDDEN", "MERGING", "REDUCTION", "THEOREMS"]
