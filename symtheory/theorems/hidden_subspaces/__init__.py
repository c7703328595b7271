"""Paper C: hidden fixed-point subspaces of equivariant networks, and what they do to training."""

from symtheory.theorems.hidden_subspaces.barrier import BARRIER
from symtheory.theorems.hidden_subspaces.criticality import CRITICALITY
from symtheory.theorems.hidden_subspaces.enumeration import ENUMERATION
from symtheory.theorems.hidden_subspaces.escape import ESCAPE
from symtheory.theorems.hidden_subspaces.hidden import HIDDEN
from symtheory.theorems.hidden_subspaces.lattice import LATTICE
from symtheory.theorems.hidden_subspaces.local import LOCAL
from symtheory.theorems.hidden_subspaces.merging import MERGING
from symtheory.theorems.hidden_subspaces.reduction import REDUCTION
from symtheory.theorems.hidden_subspaces.sides import SIDES

#: The subspaces: which there are, and why a constrained gradient does not leave them.
SUBSPACES = (LATTICE, CRITICALITY, HIDDEN, ENUMERATION, REDUCTION, MERGING)

#: What they do to training: walls, their two sides, ways out, and walls that no fixed-point subspace shows.
WALLS = (BARRIER, SIDES, ESCAPE, LOCAL)

THEOREMS = (*SUBSPACES, *WALLS)

__all__ = [
    "BARRIER",
    "CRITICALITY",
    "ENUMERATION",
    "ESCAPE",
    "HIDDEN",
    "LATTICE",
    "LOCAL",
    "MERGING",
    "REDUCTION",
    "SIDES",
    "SUBSPACES",
    "THEOREMS",
    "WALLS",
]
