"""Finite groups: axioms, subgroups against GAP and known counts, generators, cosets, representations, errors."""

from itertools import combinations
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import isprime

from symtheory.errors import SymtheoryError
from symtheory.spec.cosets import (
    conjugacy_classes,
    coset_representation,
    fixed_space,
    generators_of,
    is_normal,
    left_cosets,
    normalizer,
    table_of_marks,
)
from symtheory.spec.group_families import (
    abelian,
    alternating,
    cyclic,
    dihedral,
    from_matrices,
    from_permutations,
    quaternion,
    symmetric,
)
from symtheory.spec.groups import FiniteGroup, subgroup_as_group
from symtheory.spec.representations import (
    Representation,
    character,
    direct_sum,
    from_generators,
    natural,
    random_equivalent,
    regular,
)
from tests.gap import GAP, groups_up_to
from tests.strategies import seeds

#: Name to group, number of subgroups, of their classes, of minimal subgroups, of classes of elements, and smallest
#: number of generators, from the literature and GAP.
BANK = {
    "C_1": (cyclic(1), 1, 1, 0, 1, 0),
    "C_2": (cyclic(2), 2, 2, 1, 2, 1),
    "C_12": (cyclic(12), 6, 6, 2, 12, 1),
    "C_30": (cyclic(30), 8, 8, 3, 30, 1),
    "C_2^4": (abelian(2, 2, 2, 2), 67, 67, 15, 16, 4),
    "C_4xC_2xC_3": (abelian(4, 2, 3), 16, 16, 4, 24, 2),
    "D_3": (dihedral(3), 6, 4, 4, 3, 2),
    "D_4": (dihedral(4), 10, 8, 5, 5, 2),
    "D_15": (dihedral(15), 28, 8, 17, 9, 2),
    "Q_8": (quaternion(), 6, 6, 1, 5, 2),
    "A_4": (alternating(4), 10, 5, 7, 4, 2),
    "S_4": (symmetric(4), 30, 11, 13, 5, 2),
    "A_5": (alternating(5), 59, 9, 31, 5, 2),
    "S_5": (symmetric(5), 156, 19, 41, 7, 2),
}
SMALL = [name for name, row in BANK.items() if row[0].order <= 30]
every = pytest.mark.parametrize("name", BANK)
permutations = st.integers(2, 5).flatmap(
    lambda n: st.lists(st.permutations(range(n)), min_size=1, max_size=2)
)  # groups of order up to 120


def smallest_by_search(group: FiniteGroup, most: int) -> int:
    """Generators needed, by trying all sets of up to ``most`` elements."""
    return next(
        k for k in range(most + 1) for s in combinations(range(group.order), k) if len(group.generate(s)) == group.order
    )


def in_gaps_order(group: FiniteGroup, heads: list[list[list[int]]]) -> list[int]:
    """The number of our class of subgroups for each of GAP's, whose representatives are given by permutations."""
    assert group.action is not None
    element = {tuple(row): a for a, row in enumerate(group.action.tolist())}
    number = {h: i for i, members in enumerate(group.subgroup_classes) for h in members}
    return [number[group.generate(element[tuple(g)] for g in head)] for head in heads]


@pytest.mark.claim("C.L2.6", role="verify")
@pytest.mark.skipif(GAP is None, reason="GAP is not installed")
def test_all_small_groups_agree_with_gap():
    """Classes of subgroups one by one, their lengths, normalisers and marks; smallest generating sets."""
    known = groups_up_to(60)
    assert len(known) == 312
    for row in known:
        group = from_permutations(row.generators)
        place, classes = in_gaps_order(group, row.heads), group.subgroup_classes
        assert group.order == row.order
        assert sorted(place) == list(range(len(classes)))
        assert [len(classes[i]) for i in place] == row.lengths
        assert [group.order // len(normalizer(group, classes[i][0])) for i in place] == row.lengths
        assert np.array_equal(table_of_marks(group)[np.ix_(place, place)], row.marks)
        assert len(group.minimal_subgroups) == sum(
            length for i, length in zip(place, row.lengths, strict=True) if isprime(len(classes[i][0]))
        )
        assert len(group.minimal_generators) == row.rank
        assert len(group.generate(group.minimal_generators)) == group.order


@every
def test_counts(name):
    group, *expected = BANK[name]
    assert expected == [
        len(group.subgroups),
        len(group.subgroup_classes),
        len(group.minimal_subgroups),
        len(conjugacy_classes(group)),
        len(group.minimal_generators),
    ]


@given(permutations)
def test_the_axioms(images):
    group = from_permutations(images)
    t, every_one = group.table, np.arange(group.order)
    assert group.order > 24 or (t[t] == t[:, t]).all()
    assert (t[every_one, group.inverse] == 0).all()
    assert (t[group.inverse, every_one] == 0).all()
    assert all(group.order % k == 0 for k in group.element_orders)
    assert group.exponent == np.lcm.reduce(group.element_orders)
    assert group.is_abelian == (len(conjugacy_classes(group)) == group.order)


@given(permutations)
@settings(max_examples=40)
def test_the_lattice(images):
    group = from_permutations(images)
    subgroups = group.subgroups
    assert len(set(subgroups)) == len(subgroups) == sum(map(len, group.subgroup_classes))
    for members in group.subgroup_classes:
        h = members[0]
        assert group.is_subgroup(h)
        assert group.order % len(h) == 0
        assert len(members) * len(normalizer(group, h)) == group.order
        assert is_normal(group, h) == (len(members) == 1)
        assert frozenset().union(*left_cosets(group, h)) == frozenset(range(group.order))
        assert h <= normalizer(group, h)
    nontrivial = [h for h in subgroups if len(h) > 1]
    assert set(group.minimal_subgroups) == {h for h in nontrivial if not any(k < h for k in nontrivial)}


@given(permutations, seeds)
@settings(max_examples=60)
def test_joins_and_meets_are_listed(images, seed):
    group = from_permutations(images)
    pool = set(group.subgroups)
    a, b = group.subgroups[seed % len(pool)], group.subgroups[(seed // 7) % len(pool)]
    assert a & b in pool
    assert group.generate(b, a) in pool
    assert group.generate([seed % group.order]) in pool


@given(permutations)
def test_minimal_subgroups_meet_in_the_identity_only(images):
    """So there are at most |G| - 1 of them, with equality when all elements are of order two."""
    group = from_permutations(images)
    minimal = group.minimal_subgroups
    assert all(len(a & b) == 1 for a, b in combinations(minimal, 2))
    assert sum(len(h) - 1 for h in minimal) <= group.order - 1
    assert (len(minimal) == group.order - 1) == bool((group.element_orders <= 2).all())


def test_the_lattice_of_the_symmetric_group_on_six_points():
    six = symmetric(6)
    assert (len(six.subgroups), len(six.subgroup_classes)) == (1455, 56)


@pytest.mark.parametrize("name", SMALL)
def test_no_smaller_set_generates(name):
    group, *_, fewest = BANK[name]
    assert len(group.generate(group.minimal_generators)) == group.order
    if fewest <= 3:
        assert smallest_by_search(group, 3) == fewest


@given(permutations)
@settings(max_examples=30)
def test_generators_of_subgroups(images):
    group = from_permutations(images)
    for members in group.subgroup_classes:
        chosen = generators_of(group, members[0])
        assert group.generate(chosen) == members[0]
        assert 2 ** len(chosen) <= len(members[0])
        if len(members[0]) <= 12:
            assert smallest_by_search(subgroup_as_group(group, members[0]).group, 3) == len(chosen)


@given(st.lists(st.sampled_from([2, 3, 4, 5, 8, 9]), min_size=1, max_size=3))
def test_abelian_groups(orders):
    group = abelian(*orders)
    primes = [next(p for p in (2, 3, 5) if n % p == 0) for n in orders]
    assert group.order == prod(orders)
    assert group.prime_ranks() == {p: primes.count(p) for p in sorted(set(primes))}
    assert len(group.minimal_generators) == max(group.prime_ranks().values())
    assert len(group.generate(group.minimal_generators)) == group.order


@pytest.mark.parametrize("name", SMALL)
def test_marks_count_fixed_cosets(name):
    """The table of marks against counting in the permutation representations themselves."""
    group = BANK[name][0]
    heads, marks = [members[0] for members in group.subgroup_classes], table_of_marks(group)
    assert marks[:, 0].tolist() == [group.order // len(h) for h in heads]
    assert np.diagonal(marks).tolist() == [len(normalizer(group, h)) // len(h) for h in heads]
    for i, h in enumerate(heads):
        matrices = coset_representation(group, h).matrices
        stays = torch.diagonal(matrices, dim1=1, dim2=2) == 1
        assert marks[i].tolist() == [int(stays[sorted(k)].all(dim=0).sum()) for k in heads]


def test_matrices_and_permutations_make_one_group():
    turn, flip = torch.tensor([[0.0, -1.0], [1.0, 0.0]]), torch.diag(torch.tensor([1.0, -1.0]))
    square = from_matrices([turn, flip])
    assert square.order == 8
    assert sorted(square.element_orders) == sorted(dihedral(4).element_orders)
    assert table_of_marks(square).tolist() == table_of_marks(dihedral(4)).tolist()
    rep = from_generators(square, dict(zip(square.generators, (turn, flip), strict=True)))
    assert rep.is_faithful
    assert rep.is_orthogonal


def forms(group: FiniteGroup, generator: torch.Generator) -> list[Representation]:
    plain = [regular(group), *([] if group.action is None else [natural(group)])]
    return [*plain, direct_sum(*plain), random_equivalent(plain[0], generator)]


@given(st.sampled_from(SMALL), seeds)
def test_projectors(name, seed):
    group = BANK[name][0]
    v = group.subgroups[seed % len(group.subgroups)]
    for rep in forms(group, torch.Generator().manual_seed(seed)):
        p = rep.reynolds(v)
        scale = max(1.0, float(p.norm()))
        assert torch.allclose(p @ p, p, atol=1e-9 * scale**2)
        assert torch.allclose(rep.matrices[sorted(v)] @ p, p.expand(len(v), -1, -1), atol=1e-9 * scale**2)
        singular = torch.linalg.svdvals(torch.eye(rep.dim, dtype=torch.float64) - p)
        assert int((singular > 0.5).sum()) == rep.broken_rank(v)
        assert bool(((singular > 1 - 1e-7) | (singular < 1e-7)).all())
        basis = fixed_space(rep, v)
        assert torch.allclose(basis.T @ basis, torch.eye(basis.shape[1], dtype=torch.float64), atol=1e-9)
        assert torch.allclose(rep.matrices[sorted(v)] @ basis, basis.expand(len(v), -1, -1), atol=1e-7)
        assert basis.shape[1] == rep.dim - rep.broken_rank(v)


@given(st.sampled_from(SMALL), seeds)
def test_orthogonal_equivalents(name, seed):
    group = BANK[name][0]
    skew = random_equivalent(regular(group), torch.Generator().manual_seed(seed))
    straight = skew.orthogonalised()
    assert straight.is_orthogonal
    assert skew.is_faithful
    traces = [torch.diagonal(r.matrices, dim1=1, dim2=2).sum(dim=1) for r in (skew, straight, regular(group))]
    assert torch.allclose(traces[0], traces[1], atol=1e-7)
    assert torch.allclose(traces[0], traces[2], atol=1e-7)


def test_the_skew_representation_is_really_skew():
    rep = random_equivalent(regular(symmetric(3)), torch.Generator().manual_seed(0))
    assert not rep.is_orthogonal
    norms = [float(torch.linalg.matrix_norm(rep.reynolds(h), 2)) for h in rep.group.minimal_subgroups]
    assert max(norms) > 1.1


def test_an_unfaithful_representation():
    sign = character(cyclic(4), [0.5])
    assert not sign.is_faithful
    assert [sign.broken_rank(h) for h in sign.group.subgroups] == [0, 0, 1]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: from_permutations([[0, 0]]), "permutations of 0..m-1"),
        (lambda: from_permutations([[1, 0], [1, 2, 0]]), "one degree"),
        (lambda: from_permutations([]), "permutations of 0..m-1"),
        (lambda: from_matrices([torch.zeros(2, 3)]), "square matrices"),
        (lambda: from_matrices([torch.tensor([[1.0, 1.0], [0.0, 1.0]])], limit=50), "finite order, at most 50"),
        (lambda: from_matrices([torch.diag(torch.tensor([1.0, 0.0]))]), "invertible matrices"),
        (lambda: from_matrices([torch.full((1, 1), torch.nan)]), "invertible matrices"),
        (lambda: symmetric(7), "order at most 2000"),
        (lambda: FiniteGroup(np.array([[0, 1], [1, 1]]), (1,)), "inverse for every element"),
        (lambda: FiniteGroup(np.array([[1, 0], [0, 1]]), (1,)), "identity"),
        (lambda: FiniteGroup(cyclic(4).table, ()), "elements that generate it"),
        (
            lambda: FiniteGroup(
                np.array([[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]),
                (1, 2),
            ),
            "associative",
        ),
        (lambda: dihedral(2), "n >= 3"),
        (lambda: symmetric(3).require_subgroup(frozenset({0, 1, 2})), "a subgroup of S_3"),
        (lambda: symmetric(3).prime_ranks(), "abelian"),
        (lambda: left_cosets(symmetric(3), frozenset({1})), "a subgroup of S_3"),
        (lambda: normalizer(symmetric(3), frozenset()), "a subgroup of S_3"),
        (lambda: Representation(cyclic(2), 2 * torch.ones(2, 1, 1, dtype=torch.float64)), "a representation"),
        (lambda: Representation(cyclic(2), torch.ones(3, 2, 2, dtype=torch.float64)), "one square float64 matrix"),
        (lambda: natural(quaternion()), "a group of permutations"),
        (lambda: direct_sum(regular(cyclic(2)), regular(cyclic(2))), "one group"),
        (lambda: character(cyclic(4), [0.5, 0.5]), "turns"),
        (lambda: character(cyclic(4), [1 / 3]), "representation"),
        (lambda: from_generators(cyclic(4), {}), "matrices for"),
        (lambda: regular(cyclic(4)).reynolds(frozenset({0, 1})), "a subgroup of C_4"),
    ],
)
def test_errors_say_what_is_wrong(make, match):
    with pytest.raises(SymtheoryError, match=match):
        make()
