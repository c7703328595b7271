"""Paper A, Definitions 1 to 3 and Theorems 1.1, 1.3, 1.4, 2, 3, 4: mirror symmetry constrains the parameters."""

from symtheory.theorems.mirror_constraint.corollary import COROLLARY, optimizer_table
from symtheory.theorems.mirror_constraint.definitions import GENERAL, SIMPLE
from symtheory.theorems.mirror_constraint.gradient import GRADIENT
from symtheory.theorems.mirror_constraint.permutation import PERMUTATION
from symtheory.theorems.mirror_constraint.preference import PREFERENCE, decay_threshold
from symtheory.theorems.mirror_constraint.rescaling import RESCALING
from symtheory.theorems.mirror_constraint.rotation import ROTATION
from symtheory.theorems.mirror_constraint.stationary import STATIONARY
from symtheory.theorems.mirror_constraint.threshold import THRESHOLD, critical_decay, uniform_threshold

THEOREMS = (SIMPLE, GENERAL, STATIONARY, GRADIENT, COROLLARY, PREFERENCE, THRESHOLD, RESCALING, ROTATION, PERMUTATION)

__all__ = [
    "COROLLARY",
    "GENERAL",
    "GRADIENT",
    "PERMUTATION",
    "PREFERENCE",
    "RESCALING",
    "ROTATION",
    "SIMPLE",
    "STATIONARY",
    "THEOREMS",
    "THRESHOLD",
    "critical_decay",
    "decay_threshold",
    "optimizer_table",
    "uniform_threshold",
]
