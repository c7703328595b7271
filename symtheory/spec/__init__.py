"""What is claimed, as frozen data: mirrors, groups, claims, verdicts, proofs."""

from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.families import (
    double_rotation,
    exchange,
    from_basis,
    from_projection,
    index_permutation,
    permutation,
    rescaling,
    rescaling_pair,
    rotation,
    sign_flip,
)
from symtheory.spec.groups import FiniteGroup
from symtheory.spec.mirror import AxisMirror, BasisMirror, Block, CompositeMirror, Mirror, SwapMirror
from symtheory.spec.numerics import Rank, largest, numerical_rank, relative_error, rounding_tolerance
from symtheory.spec.params import Params, Shapes, flatten, params_of, shapes_of, size_of, unflatten
from symtheory.spec.representations import Representation
from symtheory.spec.verdict import Proof, Step, Verdict

__all__ = [
    "AxisMirror",
    "BasisMirror",
    "Block",
    "Claim",
    "CompositeMirror",
    "Erratum",
    "FiniteGroup",
    "Mirror",
    "Params",
    "Proof",
    "Rank",
    "Representation",
    "Shapes",
    "Step",
    "SwapMirror",
    "Verdict",
    "double_rotation",
    "exchange",
    "flatten",
    "from_basis",
    "from_projection",
    "index_permutation",
    "largest",
    "numerical_rank",
    "params_of",
    "permutation",
    "relative_error",
    "rescaling",
    "rescaling_pair",
    "rotation",
    "rounding_tolerance",
    "shapes_of",
    "sign_flip",
    "size_of",
    "unflatten",
]
