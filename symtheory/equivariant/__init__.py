"""Tools for equivariant networks: what their hidden units are, and what training can and cannot do to them."""

from symtheory.equivariant.recovery import Recovered, recover_representation

__all__ = ["Recovered", "recover_representation"]
