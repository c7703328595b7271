"""Sets with a group action, their maps and their congruences, against brute force."""

from collections import Counter
from itertools import combinations_with_replacement, permutations

import numpy as np
import pytest
import torch

from symtheory.errors import SymtheoryError
from symtheory.spec import congruences as cg
from symtheory.spec import group_families as gf
from symtheory.spec.cosets import coset_representation, table_of_marks
from symtheory.spec.gsets import GSet, coset_space, disjoint_union, from_images
from tests.oracles import closed_under_joins

GROUPS = {
    "S3": gf.symmetric(3),
    "Z2xZ2": gf.abelian(2, 2),
    "Z4": gf.cyclic(4),
    "D4": gf.dihedral(4),
    "A4": gf.alternating(4),
}


def blocks(group):
    return [coset_space(group, members[0]) for members in group.subgroup_classes]


def brute_force_maps(x, y):
    """Every function between small sets that commutes with every element of the group."""
    found = []
    for f in np.ndindex(*(y.size,) * x.size):
        images = np.array(f)
        if all(np.array_equal(images[x.images[g]], y.images[g][images]) for g in range(x.group.order)):
            found.append(f)
    return found


def brute_force_congruences(x):
    """Every set partition of the points, kept if all elements respect it."""
    found = set()
    for partition in cg._partitions(list(range(x.size))):
        labels = [0] * x.size
        for part in partition:
            for i in part:
                labels[i] = min(part)
        kept = np.array(labels)
        same = kept[:, None] == kept[None, :]
        if all(np.array_equal(same, same[np.ix_(x.images[g], x.images[g])]) for g in range(x.group.order)):
            found.add(tuple(labels))
    return found


@pytest.mark.parametrize("name", GROUPS)
def test_transitive_sets_are_classes_of_subgroups(name):
    group = GROUPS[name]
    sets = [coset_space(group, h) for h in group.subgroups]
    for a, h in zip(sets, group.subgroups, strict=True):
        assert a.orbits == (tuple(range(group.order // len(h))),)
        assert a.stabilizer(0) == h
        for b, k in zip(sets, group.subgroups, strict=True):
            assert a.is_isomorphic(b) == (k in group.conjugates(h))


@pytest.mark.parametrize("name", ["S3", "Z4", "Z2xZ2"])
def test_maps_between_orbits_are_all_maps(name):
    for x in blocks(GROUPS[name]):
        for y in blocks(GROUPS[name]):
            if y.size**x.size < 3000:
                found = x.maps_of_orbit(0, y)
                assert sorted(tuple(m.tolist()) for m in found) == sorted(brute_force_maps(x, y))


@pytest.mark.parametrize("name", GROUPS)
def test_the_table_of_marks_counts_maps(name):
    group = GROUPS[name]
    marks = table_of_marks(group)
    sets = blocks(group)
    assert [
        [len(sets[j].maps_of_orbit(0, sets[i])) for j in range(len(sets))] for i in range(len(sets))
    ] == marks.tolist()


@pytest.mark.parametrize("name", ["S3", "Z4", "D4"])
def test_automorphisms_commute_and_are_counted(name):
    group = GROUPS[name]
    for pair in combinations_with_replacement(blocks(group), 2):
        x = disjoint_union(*pair)
        found = list(x.automorphisms())
        assert len(found) == len({tuple(f.tolist()) for f in found}) == x.automorphism_count
        for f in found:
            assert sorted(f.tolist()) == list(range(x.size))
            assert all(np.array_equal(f[x.images[g]], x.images[g][f]) for g in range(group.order))
    small = disjoint_union(coset_space(group, group.subgroups[-1]), blocks(group)[-2])
    elements = [small.images[g] for g in range(group.order)]
    brute = [f for f in map(np.array, permutations(range(small.size))) if all((f[e] == e[f]).all() for e in elements)]
    assert len(brute) == small.automorphism_count


@pytest.mark.parametrize("name", GROUPS)
def test_congruences_of_one_orbit_are_the_subgroups_above(name):
    group = GROUPS[name]
    for h in group.subgroups:
        x = coset_space(group, h)
        found = cg.congruences(x)
        above = [k for k in group.subgroups if h <= k]
        assert len(found) == len(above) == cg.count(x)
        assert Counter(cg.quotient(x, f).stabilizer(0) for f in found) == Counter(above)


@pytest.mark.parametrize("name", ["S3", "Z4", "Z2xZ2", "D4"])
def test_congruences_of_several_orbits_are_those_of_brute_force(name):
    sets = blocks(GROUPS[name])
    tried = 0
    for size in (1, 2, 3):
        for parts in combinations_with_replacement(sets, size):
            x = disjoint_union(*parts)
            found = cg.congruences(x)
            assert len(set(found)) == len(found) == cg.count(x)
            if x.size <= 7:
                tried += 1
                assert set(found) == brute_force_congruences(x)
            if size == 2:
                assert set(found) == closed_under_joins(x)
    assert tried >= 10


def test_joins_are_the_smallest_above_both():
    x = disjoint_union(coset_space(GROUPS["S3"], frozenset({0})), coset_space(GROUPS["S3"], GROUPS["S3"].subgroups[1]))
    found = cg.congruences(x)

    def contains(a, b):
        return all(a[i] == a[j] for i, j in enumerate(b))

    for a in found[:12]:
        for b in found[-12:]:
            above = [c for c in found if contains(c, a) and contains(c, b)]
            assert cg.join(x, a, b) in above
            assert all(contains(c, cg.join(x, a, b)) for c in above)


def test_permutation_matrices_are_those_of_the_cosets():
    group = GROUPS["D4"]
    for h in group.subgroups:
        assert torch.equal(coset_space(group, h).representation().matrices, coset_representation(group, h).matrices)


def test_an_action_from_its_generators():
    group = GROUPS["D4"]
    x = disjoint_union(*blocks(group)[:3])
    again = from_images(group, [x.images[g].tolist() for g in group.generators])
    assert np.array_equal(again.images, x.images)
    assert "D4" in repr(x) or group.name in repr(x)


def free(group):
    return coset_space(group, frozenset({0}))


BAD = {
    "no permutation": (lambda g: from_images(g, [(0, 0, 1)] * len(g.generators)), "permutations of the same points"),
    "relations": (lambda g: from_images(g, [(1, 2, 0)] * len(g.generators)), r"an action, g\(hx\)"),
    "shape": (lambda g: GSet(g, np.zeros((2, 3), dtype=np.int64)), "integers of shape"),
    "too many": (lambda g: cg.congruences(free(g), limit=3), "at most 3 congruences, got at least 10"),
    "no congruence": (lambda g: cg.quotient(free(g), (0, 0, *range(2, g.order))), "the action respects"),
    "two groups": (lambda g: disjoint_union(free(g), free(GROUPS["Z4"])), "of one group"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    build, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        build(GROUPS["D4"])
