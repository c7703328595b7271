"""Paper B, Theorem 5: removing general finite groups with a static bias."""

from symtheory.theorems.general_groups.abelian import ABELIAN
from symtheory.theorems.general_groups.bounds import (
    minimal_ranks,
    printed_removal_bias,
    removal_bias,
    removal_probability,
    removal_strength,
    separating_blocks,
    separating_ranks,
)
from symtheory.theorems.general_groups.minimal import MINIMAL
from symtheory.theorems.general_groups.probability import PROBABILITY
from symtheory.theorems.general_groups.removal import REMOVAL

THEOREMS = (REMOVAL, MINIMAL, ABELIAN, PROBABILITY)

__all__ = [
    "ABELIAN",
    "MINIMAL",
    "PROBABILITY",
    "REMOVAL",
    "THEOREMS",
    "minimal_ranks",
    "printed_removal_bias",
    "removal_bias",
    "removal_probability",
    "removal_strength",
    "separating_blocks",
    "separating_ranks",
]
