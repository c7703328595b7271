"""GAP as an oracle for finite groups, where it is installed (Debian: ``gap-core gap-smallgrp``)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np

GAP = shutil.which("gap")

_SCRIPT = """
# GAP asks for its library of transitive groups, which may not be there, only to choose an algorithm
InstallGlobalFunction(TransitiveGroupsAvailable, degree -> false);
SetPrintFormattingStatus("*stdout*", false);
images := function(perms, degree) return List(perms, x -> ListPerm(x, degree)); end;;
report := function(g)
  local onto, p, degree, gens, rank, marks, heads;
  onto := IsomorphismPermGroup(g);
  onto := onto * SmallerDegreePermutationRepresentation(Image(onto));
  p := Image(onto);
  degree := Maximum(2, LargestMovedPoint(p));
  gens := Filtered(GeneratorsOfGroup(p), x -> x <> One(p));
  if Length(gens) = 0 then gens := [()]; fi;
  # GAP has smallest generating sets for solvable groups only; two elements cannot be too many for another
  if IsSolvableGroup(p) then rank := Length(MinimalGeneratingSet(p)); else rank := Length(SmallGeneratingSet(p)); fi;
  marks := TableOfMarks(g);
  heads := List([1..Length(OrdersTom(marks))], i -> GeneratorsOfGroup(Image(onto, RepresentativeTom(marks, i))));
  Print(Size(p), "|", rank, "|", images(gens, degree), "|", List(heads, h -> images(h, degree)), "|");
  Print(LengthsTom(marks), "|", SubsTom(marks), "|", MarksTom(marks), "\\n");
end;;
"""


@dataclass(frozen=True)
class Known:
    """What GAP says about a group.

    Attributes:
        order: Order.
        rank: Size of the smallest generating set.
        generators: Permutations of 0..m-1.
        heads: For every class of subgroups permutations that generate a representative.
        lengths: For every class the number of its subgroups, which is the index of a normaliser.
        marks: The table of marks, classes in the order of ``heads``.
    """

    order: int
    rank: int
    generators: list[list[int]]
    heads: list[list[list[int]]]
    lengths: list[int]
    marks: np.ndarray


def _span(match: re.Match[str]) -> str:
    """GAP writes [ 1, 2, 3 ] as [ 1 .. 3 ], and [ 1, 3, 5 ] as [ 1, 3 .. 5 ]."""
    first, second, last = int(match[1]), match[2], int(match[3])
    step = 1 if second is None else int(second) - first
    return str(list(range(first, last + 1, step)))


def _read(line: str) -> Known:
    order, rank, *rest = line.split("|")
    tidy = [json.loads(re.sub(r"\[ (\d+)(?:, (\d+))? \.\. (\d+) \]", _span, part)) for part in rest]
    generators, heads, lengths, columns, entries = tidy
    marks = np.zeros((len(lengths), len(lengths)), dtype=np.int64)
    for row, (js, values) in enumerate(zip(columns, entries, strict=True)):
        marks[row, np.array(js) - 1] = values
    from_zero = [[k - 1 for k in g] for g in generators], [[[k - 1 for k in g] for g in h] for h in heads]
    return Known(int(order), int(rank), *from_zero, lengths, marks)


def groups_up_to(order: int) -> list[Known]:
    """Every group up to an order, by GAP's library of small groups.

    Args:
        order: Largest order; up to 60 the only group that is not solvable is the last, A_5.

    Returns:
        One record a group.
    """
    loop = f"for n in [1..{order}] do for g in AllSmallGroups(n) do report(g); od; od;;QUIT;"
    done = subprocess.run(
        [GAP or "gap", "-q"], input=_SCRIPT + loop, capture_output=True, text=True, check=True, timeout=600
    )
    return [_read(line) for line in done.stdout.splitlines() if line.count("|") == 6]
