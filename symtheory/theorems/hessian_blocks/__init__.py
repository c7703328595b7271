"""Paper A, Theorem 1.2, eqs. (2) to (5), Theorem 5: curvature at a mirror, and what noise makes of it."""

from symtheory.theorems.hessian_blocks.blocks import Blocks, fisher_null, hessian_blocks
from symtheory.theorems.hessian_blocks.collapse import COLLAPSE
from symtheory.theorems.hessian_blocks.critical import (
    Critical,
    critical_learning_rate,
    critical_weight_decay,
    lyapunov_exponent,
    second_order_learning_rate,
    stable_learning_rates,
)
from symtheory.theorems.hessian_blocks.expansion import EXPANSION
from symtheory.theorems.hessian_blocks.linear import LINEAR, escape_factor
from symtheory.theorems.hessian_blocks.second_order import SECOND_ORDER
from symtheory.theorems.hessian_blocks.structure import BLOCKS

THEOREMS = (BLOCKS, EXPANSION, LINEAR, SECOND_ORDER, COLLAPSE)

__all__ = [
    "BLOCKS",
    "COLLAPSE",
    "EXPANSION",
    "LINEAR",
    "SECOND_ORDER",
    "THEOREMS",
    "Blocks",
    "Critical",
    "critical_learning_rate",
    "critical_weight_decay",
    "escape_factor",
    "fisher_null",
    "hessian_blocks",
    "lyapunov_exponent",
    "second_order_learning_rate",
    "stable_learning_rates",
]
