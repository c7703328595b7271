"""Tools for equivariant networks: hidden barriers before training, ways out after it."""

from symtheory.equivariant.diagnosis import BlockReport, Diagnosis, diagnose
from symtheory.equivariant.inputs import group_of, representation_of, units_of
from symtheory.equivariant.network import EquivariantMLP
from symtheory.equivariant.plan import RelaxPlan, relax_plan
from symtheory.equivariant.recovery import Recovered, recover_representation
from symtheory.equivariant.suggestions import Suggestion, suggest
from symtheory.equivariant.tying import Leak, tying_leaks

__all__ = [
    "BlockReport",
    "Diagnosis",
    "EquivariantMLP",
    "Leak",
    "Recovered",
    "RelaxPlan",
    "Suggestion",
    "diagnose",
    "group_of",
    "recover_representation",
    "relax_plan",
    "representation_of",
    "suggest",
    "tying_leaks",
    "units_of",
]
