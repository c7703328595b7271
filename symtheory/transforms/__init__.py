"""From model to model: what removes a symmetry, and what uses one. No theorem is known here."""

from symtheory.transforms.anchor import AnchoredDecay, is_decoupled
from symtheory.transforms.static import static_bias, static_stretch
from symtheory.transforms.syre import StaticBias, bias_of, effective_parameters, fold, penalty, syre

__all__ = [
    "AnchoredDecay",
    "StaticBias",
    "bias_of",
    "effective_parameters",
    "fold",
    "is_decoupled",
    "penalty",
    "static_bias",
    "static_stretch",
    "syre",
]
