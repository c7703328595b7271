"""Paper C: hidden fixed-point subspaces of equivariant networks, and what they do to training."""

from symtheory.theorems.hidden_subspaces.criticality import CRITICALITY
from symtheory.theorems.hidden_subspaces.enumeration import ENUMERATION
from symtheory.theorems.hidden_subspaces.hidden import HIDDEN
from symtheory.theorems.hidden_subspaces.lattice import LATTICE
from symtheory.theorems.hidden_subspaces.merging import MERGING
from symtheory.theorems.hidden_subspaces.reduction import REDUCTION

#: The subspaces: which there are, and why a constrained gradient does not leave them.
SUBSPACES = (LATTICE, CRITICALITY, HIDDEN, ENUMERATION, REDUCTION, MERGING)

THEOREMS = (*SUBSPACES,)

__all__ = [
    "CRITICALITY",
    "ENUMERATION",
    "HIDDEN",
    "LATTICE",
    "MERGING",
    "REDUCTION",
    "SUBSPACES",
    "THEOREMS",
]
