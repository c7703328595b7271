r"""Lemma 2.6 of paper C: transitive permutation representations are classes of conjugate subgroups.

$gH\mapsto gx_0$ is an isomorphism $G/\mathrm{Stab}(x_0)\to X$, and $\mathrm{Stab}(gx) = g\,\mathrm{Stab}(x)g^{-1}$. Two actions count as one if a bijection of
the points commutes with them. Equivalence as linear representations is coarser: it compares characters only.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial

import numpy as np
import sympy
import torch

from symtheory.engine.symbolic import identity, matrices
from symtheory.errors import SymtheoryError
from symtheory.spec.claim import Claim
from symtheory.spec.cosets import coset_representation
from symtheory.spec.group_families import from_permutations
from symtheory.spec.groups import FiniteGroup, Subset
from symtheory.spec.gsets import GSet, coset_space, disjoint_union, from_images
from symtheory.spec.numerics import largest
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.hidden_subspaces.settings import GROUPS, PAPER, draw
from symtheory.theorems.instances import generator_of

#: Everything here is counted, so any error is at least one part in a few thousand.
COUNTED = 1e-9

#: Points on which all actions are tried; 36 pairs of permutations.
POINTS = 3


@dataclass(frozen=True, eq=False)
class Pairs:
    """A group with pairs of subgroups to compare.

    Attributes:
        group: The group.
        pairs: Subgroups, half of them conjugate.
        seed: Seed.
    """

    group: FiniteGroup
    pairs: list[tuple[Subset, Subset]]
    seed: int


def drawn(group: FiniteGroup, seed: int, number: int = 8) -> Pairs:
    """Random pairs of subgroups.

    Args:
        group: The group.
        seed: Seed.
        number: How many.

    Returns:
        The pairs; of every two the first is conjugate, the second of one order if there are two such classes.
    """
    g, pairs = generator_of(seed), []
    for i in range(number):
        h = group.subgroups[draw(len(group.subgroups), g)]
        same = [k for k in group.subgroups if len(k) == len(h)]
        pairs.append((h, same[draw(len(same), g)] if i % 2 else group.conjugate(h, draw(group.order, g))))
    return Pairs(group, pairs, seed)


def shuffled(x: GSet, seed: int) -> GSet:
    """The same action with other names for the points.

    Args:
        x: The set.
        seed: Seed.

    Returns:
        An isomorphic set.
    """
    p = torch.randperm(x.size, generator=generator_of(seed)).numpy()
    images = np.empty_like(x.images)
    images[:, p] = p[x.images]
    return GSet(x.group, images)


def some_bijection(x: GSet, y: GSet) -> bool:
    """Whether some bijection commutes with two transitive actions, by trying all images of the first point.

    Args:
        x: A transitive set.
        y: A transitive set.

    Returns:
        The answer.
    """
    for start in range(y.size):
        # g x_0 must go to g y, for all g at once
        pairs = set(zip(x.images[:, 0].tolist(), y.images[:, start].tolist(), strict=True))
        if len(pairs) == x.size == y.size == len({b for _, b in pairs}):
            return True
    return False


def classification_error(p: Pairs) -> float:
    """Share of pairs of subgroups whose cosets are isomorphic without conjugacy, or the other way round.

    Args:
        p: The pairs.

    Returns:
        Between 0 and 1.
    """
    wrong = 0
    for i, (h, k) in enumerate(p.pairs):
        x, y = shuffled(coset_space(p.group, h), p.seed + i), shuffled(coset_space(p.group, k), p.seed - i)
        conjugate = k in p.group.conjugates(h)
        wrong += not (some_bijection(x, y) == x.is_isomorphic(y) == conjugate)
        wrong += x.stabilizer(0) not in p.group.conjugates(h)
    return wrong / (2 * len(p.pairs))


def transitive_actions(group: FiniteGroup, points: int) -> list[GSet]:
    """All transitive actions on a few points, by trying all images of the generators.

    Args:
        group: A group with few generators.
        points: Number of points.

    Returns:
        The actions, every relabelling of its own.
    """
    found = []
    for images in product(permutations(range(points)), repeat=len(group.generators)):
        try:
            x = from_images(group, images)
        except SymtheoryError:
            continue  # these permutations violate a relation of the group
        if len(x.orbits) == 1:
            found.append(x)
    return found


def relabellings_apart(actions: list[GSet]) -> int:
    """Number of actions that no relabelling of the points makes equal.

    Args:
        actions: On equally many points.

    Returns:
        The number of classes.
    """
    kinds = set()
    for x in actions:
        tables = []
        for p in permutations(range(x.size)):
            back = np.argsort(p)
            tables.append(np.array(p)[x.images[:, back]].tobytes())
        kinds.add(min(tables))
    return len(kinds)


def counting_error(group: FiniteGroup, points: int) -> float:
    r"""Actions found by trying, against classes of subgroups of this index, and against $(m-1)!$ for every subgroup.

    Args:
        group: A group with few generators.
        points: $m$.

    Returns:
        Largest difference.
    """
    actions = transitive_actions(group, points)
    classes = [members for members in group.subgroup_classes if group.order == points * len(members[0])]
    labelled = factorial(points - 1) * sum(map(len, classes))
    return float(max(abs(relabellings_apart(actions) - len(classes)), abs(len(actions) - labelled)))


def confused(group: FiniteGroup, invariant: Callable[[Subset], Hashable]) -> float:
    """Share of the classes of subgroups that an invariant does not tell from others.

    Args:
        group: The group.
        invariant: Of a subgroup.

    Returns:
        0 if it tells all of them apart.
    """
    kinds = {invariant(members[0]) for members in group.subgroup_classes}
    return 1 - len(kinds) / len(group.subgroup_classes)


def affine() -> FiniteGroup:
    r"""The maps $k\mapsto ak+b$ of $\mathbb Z/8$, $a$ odd, of order 32.

    Returns:
        The group, acting on eight points.
    """
    maps = [(1, 1), (3, 0), (5, 0)]
    return from_permutations([[(a * k + b) % 8 for k in range(8)] for a, b in maps], name="Aff(Z/8)")


def linear_equivalence() -> Verdict:
    r"""Actions with one character are isomorphic: false for $\{k\mapsto ak\}$ and a subgroup of $\mathrm{Aff}(\mathbb Z/8)$ that is not conjugate to it.

    Returns:
        Verdict on characters telling all transitive actions apart, which must fail.
    """
    group = affine()

    def character(h: Subset) -> Hashable:
        return tuple(torch.einsum("gii->g", coset_representation(group, h).matrices).tolist())

    found = confused(group, character)
    return Verdict(f"{group.name}: linear equivalence is isomorphism of actions", found, COUNTED)


def check_lattice(p: Pairs) -> Verdict:
    """Isomorphism against conjugacy, and actions counted against classes.

    Args:
        p: A group with pairs of subgroups.

    Returns:
        Verdict whose control tells subgroups by their orders only, in $S_4$.
    """
    s4 = GROUPS["S_4"]
    return Verdict(
        f"{p.group.name}: transitive actions are classes of conjugate subgroups",
        residual=largest([classification_error(p), *(counting_error(p.group, m) for m in range(1, POINTS + 1))]),
        tolerance=COUNTED,
        control=confused(s4, len),
        seed=p.seed,
        sizes={"order": p.group.order, "classes": len(p.group.subgroup_classes)},
    )


def lattice_instances(seed: int) -> list[Pairs]:
    """Pairs of subgroups of every group.

    Args:
        seed: Seed.

    Returns:
        The pairs.
    """
    return [drawn(group, seed) for group in GROUPS.values()]


def _control_transitive(seed: int) -> Verdict:
    """One orbit or two: the stabiliser of a point does not tell."""
    group = GROUPS["S_3"]
    h = group.subgroups[1 + seed % 3]
    one, two = coset_space(group, h), disjoint_union(coset_space(group, h), coset_space(group, h))
    same = one.stabilizer(0) == two.stabilizer(0)
    return Verdict(
        "one class of stabilisers, one action; several orbits",
        float(same and not one.is_isomorphic(two)),
        COUNTED,
        seed=seed,
    )


def _control_relabelling(seed: int) -> Verdict:
    """Actions that count as one only if they are equal: $S_3$ has six on three points."""
    actions = transitive_actions(GROUPS["S_3"], 3)
    classes = sum(len(members[0]) == 2 for members in GROUPS["S_3"].subgroup_classes)
    return Verdict("one action for every class, labels kept", len(actions) / classes - 1, COUNTED, seed=seed)


def _prove_lattice() -> Proof:
    g, back, h, x, other, k, phi = matrices("g", "g^{-1}", "h", "x_0", "g'", "k", r"\varphi")
    coset, n, moved = matrices("H", "n", "(n^{-1}hn)")
    one = sympy.Integer(1)
    return Proof(
        "C.L2.6",
        "any group and any transitive action; $h$ is any element of $H = \\mathrm{Stab}(x_0)$",
        (
            identity(r"$gH\mapsto gx_0$ is well defined", g * h * x, g * x, {h * x: x}),
            identity(
                r"and injective: if $g'x_0 = gx_0$ then $g^{-1}g'\in H$",
                back * other * x,
                x,
                {other * x: g * x, back * g: one},
            ),
            identity(
                r"$\mathrm{Stab}(gx_0)\ge gHg^{-1}$, and equal by symmetry",
                g * h * back * g * x,
                g * x,
                {back * g: one, h * x: x},
            ),
            identity(
                r"an isomorphism keeps stabilisers: $h\varphi(x_0) = \varphi(hx_0) = \varphi(x_0)$",
                h * phi * x,
                phi * x,
                {h * phi: phi * h, h * x: x},
            ),
            identity(
                r"conjugate subgroups: $k(gHg^{-1})\mapsto kgH$ is well defined",
                k * g * h * back * g * coset,
                k * g * coset,
                {back * g: one, h * coset: coset},
            ),
            identity(
                r"isomorphisms $G/H\to G/H$ are $gH\mapsto gnH$ with $n\in N(H)$",
                g * h * n * coset,
                g * n * coset,
                {h * n: n * moved, moved * coset: coset},
            ),
        ),
    )


LATTICE = Theorem(
    claim=Claim(
        id="C.L2.6",
        source=f"{PAPER}, Lemma 2.6",
        title="Transitive actions are classes of conjugate subgroups",
        statement="Let $G$ be a group. There is a canonical bijection between the transitive permutation representations of $G$ and the classes of "
        "conjugate subgroups.",
        hypotheses={
            "transitive": "the action has one orbit",
            "relabelling": "two actions are the same if a bijection of their points commutes with $G$",
        },
        verdict="holds",
        chapter="hidden_subspaces",
        remark=r"Every permutation representation is $\bigoplus_iG/H_i$, unique up to order and conjugation. The maps of $G/H$ to itself that commute with $G$ are $N_G(H)/H$.",
    ),
    prove=_prove_lattice,
    check=check_lattice,
    instances=lattice_instances,
    controls={"transitive": _control_transitive, "relabelling": _control_relabelling},
    counterexamples={"linear equivalence": linear_equivalence},
)
