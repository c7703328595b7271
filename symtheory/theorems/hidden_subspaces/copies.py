r"""Which exchanges of units preserve the constrained space, and how many copies of it there are.

$p\Theta_P = \Theta_{P'}$ with $P'_g = pP_gp^{-1}$: the same functions, another action on the units. If some point of $\Theta_P$ has distinct
neurons, $p\Theta_P = \Theta_P$ exactly when $p$ commutes with $P$, so there are $m!/|\mathrm{Aut}_G(X)|$ copies; and $p\Theta_P\cap\Theta_P$ has
only points with coinciding neurons otherwise. Proof: at a point of both, $P_g^{-1}P'_g$ exchanges units that are equal.
"""

from __future__ import annotations

from itertools import permutations
from math import factorial

import numpy as np
import torch
from torch import Tensor

from symtheory.spec import representations as reps
from symtheory.spec.cosets import coset_representation
from symtheory.spec.gsets import coset_space
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.numerics import largest
from symtheory.spec.verdict import Verdict
from symtheory.theorems.hidden_subspaces.settings import GROUPS, Setting, meet, on_data
from symtheory.theorems.instances import generator_of, normal

#: Rounding of points on the intersection of two spaces.
COPIES_TOLERANCE = 1e-9


def nearest_neurons(s: Setting, theta: Tensor) -> float:
    """Smallest distance between two neurons, relative to their size.

    Args:
        s: The setting.
        theta: A point.

    Returns:
        0 if two neurons coincide.
    """
    w, b, a, _ = s.parts(theta)
    rows = torch.cat([w, b[:, None], a], dim=1)
    return float(torch.pdist(rows).min() / rows.norm())


def copies(s: Setting) -> list[list[tuple[int, ...]]]:
    """All exchanges of units, grouped by the copy of the constrained space that they make.

    Args:
        s: A setting of few units.

    Returns:
        Groups of permutations, that of the identity first.
    """
    found: dict[bytes, list[tuple[int, ...]]] = {}
    for p in permutations(range(s.layer.units.size)):
        moved = _copy(s, p)
        found.setdefault((torch.round(moved, decimals=6) + 0.0).numpy().tobytes(), []).append(p)
    return list(found.values())


def _copy(s: Setting, images: tuple[int, ...]) -> Tensor:
    """Projector on the image of the constrained space."""
    m, d = s.layer.units.size, s.neuron.dim
    # entry (p(x), p(y)) of the image is entry (x, y), so rows are taken by the inverse
    back = torch.as_tensor(np.argsort(images))
    rows = torch.cat([(back[:, None] * d + torch.arange(d)).flatten(), torch.arange(m * d, s.size)])
    return s.constrained[rows][:, rows]


def check_copies(s: Setting, tries: int = 8) -> Verdict:
    """Copies counted one by one, exchanges that preserve the space listed, intersections sampled.

    Args:
        s: A setting of few units, some point of which has distinct neurons.
        tries: Number of intersections.

    Returns:
        Verdict; its control is a block in which neurons always coincide in pairs.
    """
    return Verdict(
        f"{s.name}: m!/|Aut| copies, which meet where neurons coincide",
        residual=copies_error(s, tries),
        tolerance=COPIES_TOLERANCE,
        control=copies_error(redundant(s.seed), tries),
        seed=s.seed,
        sizes={"units": s.layer.units.size, "automorphisms": s.layer.units.automorphism_count},
    )


def copies_error(s: Setting, tries: int = 8) -> float:
    """The largest of: wrong number of copies, wrong set of exchanges that preserve, distinct neurons on an intersection.

    Args:
        s: The setting.
        tries: Number of intersections.

    Returns:
        A relative error.
    """
    units, found = s.layer.units, copies(s)
    expected = factorial(units.size) // units.automorphism_count
    wrong = set(found[0]) ^ {tuple(p.tolist()) for p in units.automorphisms()}
    g = generator_of(s.seed + 11)
    others = [members[0] for members in found[1:]][:tries]
    apart = [nearest_neurons(s, meet(s.constrained, _copy(s, p)) @ normal(g, s.size)) for p in others]
    return largest([abs(len(found) / expected - 1), len(wrong) / factorial(units.size), *apart])


def redundant(seed: int) -> Setting:
    """Four units that $C_4$ turns, on inputs that only know its quotient of order two: opposite units are always equal.

    Args:
        seed: Seed of the data.

    Returns:
        The setting.
    """
    group = GROUPS["Z_4"]
    halves = coset_representation(group, group.minimal_subgroups[0])
    return on_data(HiddenLayer(halves, coset_space(group, frozenset({0})), reps.trivial(group)), seed)
