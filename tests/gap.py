"""GAP as an oracle for finite groups, where it is installed (Debian: ``gap-core gap-smallgrp``)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass

GAP = shutil.which("gap")

_SCRIPT = """
SizeScreen([100000, 1]);;
report := function(g)
  local p, gens, classes, lengths, small, images;
  p := Image(SmallerDegreePermutationRepresentation(Image(IsomorphismPermGroup(g))));
  gens := Filtered(GeneratorsOfGroup(p), x -> x <> One(p));
  if Length(gens) = 0 then gens := [()]; fi;
  images := List(gens, x -> ListPerm(x, Maximum(2, LargestMovedPoint(p))));
  classes := ConjugacyClassesSubgroups(p);
  lengths := List(classes, Size);
  small := Sum(Filtered(classes, c -> IsPrimeInt(Size(Representative(c)))), Size);
  Print(Size(p), "|", Length(classes), "|", Sum(lengths), "|", small, "|");
  Print(Length(MinimalGeneratingSet(p)), "|", images, "\\n");
end;;
"""


@dataclass(frozen=True)
class Known:
    """What GAP says about a group.

    Attributes:
        order: Order.
        classes: Conjugacy classes of subgroups.
        subgroups: Subgroups.
        minimal: Subgroups of prime order.
        rank: Size of the smallest generating set.
        generators: Permutations of 0..m-1.
    """

    order: int
    classes: int
    subgroups: int
    minimal: int
    rank: int
    generators: list[list[int]]


def _span(match: re.Match[str]) -> str:
    return ", ".join(str(k) for k in range(int(match[1]), int(match[2]) + 1))


def groups_up_to(order: int) -> list[Known]:
    """Every group up to an order, by GAP's library of small groups; solvable ones, for which GAP knows ranks.

    Args:
        order: Largest order.

    Returns:
        One record a group.
    """
    loop = (
        f"for n in [1..{order}] do for g in AllSmallGroups(n) do if IsSolvableGroup(g) then report(g); fi; od; od;;"
        "QUIT;"
    )
    done = subprocess.run(
        [GAP or "gap", "-q"], input=_SCRIPT + loop, capture_output=True, text=True, check=True, timeout=300
    )
    found = []
    for line in done.stdout.splitlines():
        if line.count("|") == 5:
            *numbers, images = line.split("|")
            images = re.sub(r"\b(\d+) \.\. (\d+)", _span, images)  # GAP writes 1, 2, 3 as 1 .. 3
            found.append(Known(*(int(k) for k in numbers), [[k - 1 for k in g] for g in json.loads(images)]))
    return found
