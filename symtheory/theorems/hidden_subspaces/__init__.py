"""Paper C: hidden fixed-point subspaces of equivariant networks."""

from symtheory.theorems.hidden_subspaces.criticality import CRITICALITY
from symtheory.theorems.hidden_subspaces.hidden import HIDDEN

THEOREMS = (CRITICALITY, HIDDEN)

__all__ = ["CRITICALITY", "HIDDEN", "THEOREMS"]
