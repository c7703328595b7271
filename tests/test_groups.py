"""Finite groups and representations: known counts, laws on random instances, GAP as an oracle, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from symtheory.errors import SymtheoryError
from symtheory.spec import FiniteGroup, Representation, relative_error
from symtheory.spec import group_families as families
from symtheory.spec import representations as reps
from symtheory.spec.groups import subgroup_as_group
from tests.gap import GAP, groups_up_to
from tests.strategies import seeds

#: Group, order, subgroups, conjugacy classes of subgroups, minimal subgroups, smallest generating set, exponent.
KNOWN = {
    "C_1": (families.cyclic(1), 1, 1, 1, 0, 0, 1),
    "C_12": (families.cyclic(12), 12, 6, 6, 2, 1, 12),
    "C_2^3": (families.abelian(2, 2, 2), 8, 16, 16, 7, 3, 2),
    "C_6xC_2": (families.abelian(6, 2), 12, 10, 10, 4, 2, 6),
    "D_4": (families.dihedral(4), 8, 10, 8, 5, 2, 4),
    "D_6": (families.dihedral(6), 12, 16, 10, 8, 2, 6),
    "Q_8": (families.quaternion(), 8, 6, 6, 1, 2, 4),
    "A_4": (families.alternating(4), 12, 10, 5, 7, 2, 6),
    "S_4": (families.symmetric(4), 24, 30, 11, 13, 2, 12),
    "A_5": (families.alternating(5), 60, 59, 9, 31, 2, 30),
    "S_5": (families.symmetric(5), 120, 156, 19, 41, 2, 60),
}
SMALL = ["C_12", "C_2^3", "D_4", "Q_8", "A_4", "S_4"]
names = st.sampled_from(SMALL)


@pytest.mark.parametrize("name", KNOWN)
def test_known_groups(name):
    group, order, subgroups, classes, minimal, rank, exponent = KNOWN[name]
    assert group.order == order
    assert len(group.subgroups) == subgroups
    assert len(group.subgroup_classes) == classes
    assert len(group.minimal_subgroups) == minimal
    assert len(group.minimal_generators) == rank
    assert group.exponent == exponent
    assert group.generate(group.minimal_generators) == frozenset(range(order))
    assert group.is_abelian == (name[0] == "C")


def test_the_lattice_of_s6():
    s6 = families.symmetric(6)
    assert (len(s6.subgroups), len(s6.subgroup_classes)) == (1455, 56)


@pytest.mark.skipif(GAP is None, reason="GAP is not installed (Debian: gap-core gap-smallgrp)")
def test_gap_agrees_on_every_solvable_group_up_to_order_60():
    known = groups_up_to(60)
    assert len(known) == 311
    for k in known:
        group = families.from_permutations(k.generators)
        found = (group.order, len(group.subgroup_classes), len(group.subgroups), len(group.minimal_subgroups))
        assert (*found, len(group.minimal_generators)) == (k.order, k.classes, k.subgroups, k.minimal, k.rank)


@given(names, st.data())
def test_laws_of_a_group(name, data):
    group = KNOWN[name][0]
    a, b, c = (data.draw(st.integers(0, group.order - 1)) for _ in range(3))
    t = group.table
    assert t[t[a, b], c] == t[a, t[b, c]]
    assert t[a, group.inverse[a]] == 0 == t[group.inverse[a], a]
    power = 0
    for _ in range(group.element_orders[a]):
        power = t[power, a]
    assert power == 0
    assert group.element_orders[a] == group.element_orders[group.inverse[a]]
    if group.action is not None:
        assert group.action[t[a, b]].tolist() == group.action[a][group.action[b]].tolist()


@given(names, st.data())
def test_laws_of_subgroups(name, data):
    group = KNOWN[name][0]
    elements = data.draw(st.lists(st.integers(0, group.order - 1), max_size=3))
    h = group.generate(elements)
    products = {int(group.table[a, b]) for a in h for b in h}
    assert products <= h and set(elements) <= h and group.is_subgroup(h)
    assert group.order % len(h) == 0
    assert h in group.subgroups
    assert group.generate(elements[1:], group.generate(elements[:1])) == h
    by = data.draw(st.integers(0, group.order - 1))
    image = group.conjugate(h, by)
    assert group.is_subgroup(image) and image in group.conjugates(h)
    part = subgroup_as_group(group, h)
    assert part.group.order == len(h)
    a, b = (data.draw(st.integers(0, len(h) - 1)) for _ in range(2))
    assert part.elements[part.group.table[a, b]] == group.table[part.elements[a], part.elements[b]]


def test_minimal_subgroups_contain_no_smaller_one():
    for name in SMALL:
        group = KNOWN[name][0]
        proper = [h for h in group.subgroups if len(h) > 1]
        lowest = {h for h in proper if not any(k < h for k in proper)}
        assert lowest == set(group.minimal_subgroups)


@pytest.mark.parametrize("orders", [(2,), (6,), (4, 2), (30,), (2, 2, 3), (3, 9)])
def test_prime_ranks_of_abelian_groups(orders):
    group = families.abelian(*orders)
    ranks = group.prime_ranks()
    assert ranks == {p: sum(n % p == 0 for n in orders) for p in ranks}
    assert max(ranks.values()) == len(group.minimal_generators)
    with pytest.raises(SymtheoryError, match="an abelian group"):
        families.symmetric(3).prime_ranks()


def naive_reynolds(rep, subset):
    return sum(rep.matrices[a] for a in subset) / len(subset)


@given(names, seeds, st.booleans())
def test_laws_of_representations(name, seed, skew):
    group, g = KNOWN[name][0], torch.Generator().manual_seed(seed)
    rep = reps.regular(group) if group.action is None else reps.natural(group)
    rep = reps.random_equivalent(rep, g) if skew else rep
    subgroups = group.subgroups
    v = subgroups[int(torch.randint(len(subgroups), (1,), generator=g))]
    projector = rep.reynolds(v)
    assert relative_error(projector, naive_reynolds(rep, v)) < 1e-12
    assert relative_error(projector @ projector, projector) < 1e-10
    for a in v:
        assert relative_error(rep.matrices[a] @ projector, projector) < 1e-10
    assert rep.broken_rank(v) == torch.linalg.matrix_rank(torch.eye(rep.dim).double() - projector, atol=1e-8)
    assert rep.is_orthogonal != skew
    straight = rep.orthogonalised()
    assert straight.is_orthogonal
    assert straight.broken_rank(v) == rep.broken_rank(v)
    assert rep.is_faithful


def test_regular_representations_break_as_many_dimensions_as_cosets_are_lost():
    for name in SMALL:
        rep = reps.regular(KNOWN[name][0])
        for v in rep.group.subgroups:
            assert rep.broken_rank(v) == rep.dim - rep.dim // len(v)


def test_characters():
    c6 = families.cyclic(6)
    turn = reps.character(c6, [1 / 6])
    assert (turn.dim, turn.is_faithful) == (2, True)
    third = reps.character(c6, [1 / 3])
    assert (third.dim, third.is_faithful) == (2, False)
    assert reps.direct_sum(third, reps.character(c6, [1 / 2])).is_faithful
    kernel = frozenset(a for a in range(6) if c6.element_orders[a] in {1, 2})
    assert third.broken_rank(kernel) == 0
    with pytest.raises(SymtheoryError, match="a representation, rho"):
        reps.character(c6, [1 / 5])
    with pytest.raises(SymtheoryError, match="1 turns, one a generator"):
        reps.character(c6, [0.5, 0.5])


def test_matrices_make_the_group_they_generate():
    i = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    flip = torch.diag(torch.tensor([1.0, -1.0]))
    square = families.from_matrices([i, flip])
    assert (square.order, len(square.subgroups)) == (8, 10)
    rep = reps.from_generators(square, dict(zip(square.generators, (i, flip), strict=True)))
    assert rep.is_faithful and rep.is_orthogonal
    assert relative_error(rep.matrices[square.generators[0]], i.double()) == 0.0


BAD = {
    "no permutation": (lambda: families.from_permutations([(0, 0, 1)]), r"permutations of 0\.\.m-1"),
    "two degrees": (lambda: families.from_permutations([(1, 0), (1, 2, 0)]), "all of one degree m"),
    "none": (lambda: families.from_permutations([]), "all of one degree m"),
    "too large": (lambda: families.from_permutations([(1, 0, 2, 3), (1, 2, 3, 0)], limit=20), "order at most 20"),
    "infinite": (lambda: families.from_matrices([torch.tensor([[1.0, 1.0], [0.0, 1.0]])]), "finite order"),
    "not square": (lambda: families.from_matrices([torch.ones(2, 3)]), "square matrices of one size"),
    "polygon": (lambda: families.dihedral(2), "n >= 3"),
    "no identity": (lambda: FiniteGroup(np.array([[1, 0], [0, 1]]), (1,)), "element 0 is the identity"),
    "not generated": (lambda: FiniteGroup(families.cyclic(4).table, (2,)), "elements that generate it"),
    "no subgroup": (lambda: reps.natural(families.cyclic(4)).reynolds(frozenset({0, 1})), "a subgroup of C_4"),
    "no action": (lambda: reps.natural(families.quaternion()), "a group of permutations"),
    "missing generator": (lambda: reps.from_generators(families.cyclic(4), {}), "matrices for"),
    "two groups": (
        lambda: reps.direct_sum(reps.regular(families.cyclic(2)), reps.regular(families.cyclic(2))),
        "of one group",
    ),
    "shape": (lambda: Representation(families.cyclic(2), torch.ones(3, 1, 1).double()), "one square float64 matrix"),
    "no representation": (
        lambda: Representation(families.cyclic(2), torch.tensor([[[1.0]], [[2.0]]]).double()),
        "rho\\(a\\) rho\\(b\\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    call, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        call()


def test_a_latin_square_that_is_no_group_is_refused():
    loop = np.array([[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]])
    with pytest.raises(SymtheoryError, match="an associative table"):
        FiniteGroup(loop, (1, 2))
