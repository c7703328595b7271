"""Paper A, Theorem 1.2, eqs. (2) to (5), Theorem 5: curvature at a mirror, and what noise makes of it."""

from symtheory.theorems.hessian_blocks.blocks import Blocks, fisher_null, hessian_blocks
from symtheory.theorems.hessian_blocks.expansion import EXPANSION
from symtheory.theorems.hessian_blocks.linear import LINEAR, escape_factor
from symtheory.theorems.hessian_blocks.structure import BLOCKS

THEOREMS = (BLOCKS, EXPANSION, LINEAR)

__all__ = [
    "BLOCKS",
    "EXPANSION",
    "LINEAR",
    "THEOREMS",
    "Blocks",
    "escape_factor",
    "fisher_null",
    "hessian_blocks",
]
