"""Paper B, Definition 1, Propositions 1 to 3, Lemma 1, Theorems 1 to 4, Corollary 1, eq. (13): removing reflections with a static bias."""

from symtheory.theorems.syre_bounds.anisotropic import ANISOTROPIC
from symtheory.theorems.syre_bounds.assumptions import ARCHITECTURES, examine
from symtheory.theorems.syre_bounds.bounds import (
    break_probability,
    guaranteed_strength,
    printed_required_bias,
    required_bias,
    slope_probability,
    slope_required_bias,
)
from symtheory.theorems.syre_bounds.countable import COUNTABLE
from symtheory.theorems.syre_bounds.decomposition import LEMMA
from symtheory.theorems.syre_bounds.dimension import DIMENSION
from symtheory.theorems.syre_bounds.ensembles import scalings
from symtheory.theorems.syre_bounds.features import FEATURES
from symtheory.theorems.syre_bounds.many import MANY
from symtheory.theorems.syre_bounds.reflection import DEFINITION, SHIFT
from symtheory.theorems.syre_bounds.ridge import RIDGE, anchored_ridge
from symtheory.theorems.syre_bounds.slope import SLOPE
from symtheory.theorems.syre_bounds.strength import STRENGTH

THEOREMS = (
    DEFINITION,
    SHIFT,
    FEATURES,
    DIMENSION,
    LEMMA,
    COUNTABLE,
    ANISOTROPIC,
    STRENGTH,
    SLOPE,
    MANY,
    RIDGE,
)

__all__ = [
    "ANISOTROPIC",
    "ARCHITECTURES",
    "COUNTABLE",
    "DEFINITION",
    "DIMENSION",
    "FEATURES",
    "LEMMA",
    "MANY",
    "RIDGE",
    "SHIFT",
    "SLOPE",
    "STRENGTH",
    "THEOREMS",
    "anchored_ridge",
    "break_probability",
    "examine",
    "guaranteed_strength",
    "printed_required_bias",
    "required_bias",
    "scalings",
    "slope_probability",
    "slope_required_bias",
]
