"""All subgroups of symmetric groups, against GAP's, where it is installed."""

from __future__ import annotations

import shutil
import subprocess

from benchmarks.timing import Timing, timed
from symtheory.spec.group_families import symmetric

#: Degree to number of subgroups, and of their classes.
KNOWN = {4: (30, 11), 5: (156, 19), 6: (1455, 56)}

# without its libraries of transitive and primitive groups GAP stops where it only wants to choose an algorithm
_SCRIPT = """
InstallGlobalFunction(TransitiveGroupsAvailable, degree -> false);
InstallGlobalFunction(PrimitiveGroupsAvailable, degree -> false);
g := SymmetricGroup({degree});; begin := Runtime();;
classes := ConjugacyClassesSubgroups(g);;
Print(Runtime() - begin, " ", Sum(List(classes, Size)), " ", Length(classes), "\\n");
QUIT;
"""


def bench_lattices() -> list[Timing]:
    """The lattices of $S_4$, $S_5$ and $S_6$.

    Returns:
        Seconds of ours, the multiplication table included, and of GAP's classes of subgroups, without its start; the
        relative error is that of the number of subgroups.
    """
    found = []
    for degree, known in KNOWN.items():
        sizes = []

        def lattice(n: int = degree, into: list[tuple[int, int]] = sizes) -> None:
            group = symmetric(n)
            into.append((len(group.subgroups), len(group.subgroup_classes)))

        seconds = timed(lattice)
        reference, theirs = _gap(degree)
        counts = (*sizes, known if theirs is None else theirs)
        wrong = max(abs(a / b - 1) for pair in counts for a, b in zip(pair, known, strict=True))
        found.append(Timing(f"lattice S_{degree}", reference / seconds, seconds, reference, 0, wrong))
    return found


def _gap(degree: int) -> tuple[float, tuple[int, int] | None]:
    """Seconds that GAP says it took, and its counts."""
    program = shutil.which("gap")
    if program is None:
        return 0.0, None
    done = subprocess.run(
        [program, "-q"], input=_SCRIPT.format(degree=degree), capture_output=True, text=True, check=True, timeout=600
    )
    milliseconds, subgroups, classes = map(int, done.stdout.split())
    return milliseconds / 1000, (subgroups, classes)
