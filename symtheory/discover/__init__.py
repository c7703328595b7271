"""The parameter symmetries of anyone's network, derived from its graph and measured."""

from symtheory.discover.families import Family, GroupMirror
from symtheory.discover.merging import Merged, merge_symmetric_units
from symtheory.discover.report import SymmetryReport
from symtheory.discover.search import discover

__all__ = ["Family", "GroupMirror", "Merged", "SymmetryReport", "discover", "merge_symmetric_units"]
