"""Paper A, eqs. (6) and (7): a mirror with weight decay is an L1 penalty, and a way to impose one."""

from symtheory.theorems.l1_equivalence.constraint import CONSTRAINT
from symtheory.theorems.l1_equivalence.equivalence import EQUIVALENCE
from symtheory.theorems.l1_equivalence.form import from_l1, l1_penalty, to_l1
from symtheory.theorems.l1_equivalence.kink import Kink, kink, slope_at_mirror
from symtheory.theorems.l1_equivalence.printed import printed_map, printed_reach, printed_strength

THEOREMS = (EQUIVALENCE, CONSTRAINT)

__all__ = [
    "CONSTRAINT",
    "EQUIVALENCE",
    "THEOREMS",
    "Kink",
    "from_l1",
    "kink",
    "l1_penalty",
    "printed_map",
    "printed_reach",
    "printed_strength",
    "slope_at_mirror",
    "to_l1",
]
