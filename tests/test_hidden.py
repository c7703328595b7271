"""Flats of hidden units against brute force: the fixed spaces of all groups of exchanges, intersected numerically."""

from itertools import combinations_with_replacement, product

import pytest
import torch

from symtheory.errors import SymtheoryError
from symtheory.spec import congruences as cg
from symtheory.spec import group_families as gf
from symtheory.spec import representations as reps
from symtheory.spec.deep import HiddenNetwork
from symtheory.spec.gsets import coset_space, disjoint_union
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.signed import for_odd
from tests.oracles import closed_under_joins

GROUPS = {"S3": gf.symmetric(3), "Z2xZ2": gf.abelian(2, 2), "Z4": gf.cyclic(4), "D4": gf.dihedral(4)}
LARGER = {"S4": gf.symmetric(4), "A4": gf.alternating(4)}


def constrained_projector(layer):
    """Onto the constrained space, in the coordinates (W, b, A) of all units, by averaging over the graph subgroup."""
    n, k, m, order = layer.rep_in.dim, layer.rep_out.dim, layer.units.size, layer.group.order
    sizes = [m * n, m * layer.bias, m * k]
    total = torch.zeros(sum(sizes), sum(sizes), dtype=torch.float64)
    permutation = layer.units.representation().matrices
    for g in range(order):
        blocks = [torch.kron(permutation[g], layer.rep_in.matrices[g])]
        if layer.bias:
            blocks.append(permutation[g])
        blocks.append(torch.kron(permutation[g], layer.rep_out.matrices[g]))
        total += torch.block_diag(*blocks)
    return total / order


def averaging(layer, labels):
    """Onto what the exchanges within the classes of any relation leave fixed: functions constant on classes."""
    same = torch.tensor([[float(a == b) for a in labels] for b in labels], dtype=torch.float64)
    mean = same / same.sum(1, keepdim=True)
    n, k = layer.rep_in.dim, layer.rep_out.dim
    ends = [torch.kron(mean, torch.eye(d, dtype=torch.float64)) for d in (n, k)]
    return torch.block_diag(ends[0], *([mean] if layer.bias else []), ends[1])


def meet(first, second):
    """Projector onto the intersection of the ranges of two orthogonal projectors."""
    values, vectors = torch.linalg.eigh(first @ second @ first)
    kept = vectors[:, values > 1 - 1e-9]
    return kept @ kept.T


def partitions(m):
    for partition in cg._partitions(list(range(m))):
        labels = [0] * m
        for part in partition:
            for i in part:
                labels[i] = min(part)
        yield tuple(labels)


def brute_force_dims(layer):
    """Dimensions of all distinct Fix(K) within the constrained space, K any group of exchanges; the whole left out."""
    whole, found = constrained_projector(layer), []
    for labels in partitions(layer.units.size):
        flat = meet(whole, averaging(layer, labels))
        if not any(torch.allclose(flat, other, atol=1e-7) for other in [whole, *found]):
            found.append(flat)
    return sorted(round(float(f.trace())) for f in found), round(float(whole.trace()))


def layers(group, most, points):
    """Every sum of at most so many transitive sets, of so many points, with some inputs and outputs."""
    sets = [coset_space(group, members[0]) for members in group.subgroup_classes]
    ends = [
        (reps.natural(group), reps.trivial(group), True),
        (reps.natural(group), reps.natural(group), False),
        (reps.direct_sum(reps.natural(group), reps.trivial(group)), reps.trivial(group), False),
    ]
    for count in range(1, most + 1):
        for parts in combinations_with_replacement(sets, count):
            units = disjoint_union(*parts)
            if units.size <= points:
                for rep_in, rep_out, bias in ends:
                    yield HiddenLayer(rep_in, units, rep_out, bias)


@pytest.mark.parametrize("name", GROUPS)
def test_flats_are_those_of_brute_force(name):
    tried = 0
    for layer in layers(GROUPS[name], most=3, points=5):
        found = layer.flats()
        dims, whole = brute_force_dims(layer)
        assert sorted(f.dim for f in found) == dims, layer.units
        assert sum(layer.dims(layer.units)) == whole
        assert all(f.dim + sum(f.codim) == whole for f in found)
        tried += 1
    assert tried >= 30


def visible_by_listing(layer, closed):
    """All automorphisms of the units that stay within the classes, one by one."""
    pairs = [
        (i, int(j))
        for images in layer.units.automorphisms()
        if all(closed[j] == closed[i] for i, j in enumerate(images))
        for i, j in enumerate(images)
    ]
    return layer.closure(cg.generated(layer.units, pairs)) == closed


@pytest.mark.parametrize("name", GROUPS)
def test_flats_of_larger_layers_are_distinct_complete_and_seen_as_they_are(name):
    """Too many units for all partitions: every exchange of two units lies over one of the flats."""
    end = reps.natural(GROUPS[name]), reps.trivial(GROUPS[name])
    sets = [coset_space(GROUPS[name], members[0]) for members in GROUPS[name].subgroup_classes]
    for parts in combinations_with_replacement(sets, 2):
        layer = HiddenLayer(end[0], disjoint_union(*parts), end[1])
        found = layer.flats()
        labels = {f.labels for f in found}
        assert len(labels) == len(found)
        for pair in cg.principal(layer.units):
            assert layer.closure(pair) in labels or layer.closure(pair) == layer.closure(cg.discrete(layer.units))
        for f in found[:10]:
            assert f.visible == visible_by_listing(layer, f.labels)


@pytest.mark.parametrize("name", GROUPS)
def test_flats_of_up_to_three_blocks_are_those_of_all_pairs_of_units(name):
    """Every layer of at most three blocks: relations that pairs of units generate, joined until nothing is new."""
    group = GROUPS[name]
    for layer in layers(group, most=3, points=24):
        if layer.rep_out.dim == 1 and layer.bias:
            relations = closed_under_joins(layer.units)
            assert len(relations) == cg.count(layer.units)
            closed = {layer.closure(labels) for labels in relations} - {layer.closure(cg.discrete(layer.units))}
            found = layer.flats()
            assert {f.labels for f in found} == closed
            for f in found[:: max(1, len(found) // 10)]:
                spanned = [len(layer.functions(rep, f.labels)) for rep in (layer.rep_in, layer.rep_out)]
                assert [f.dim_in, f.dim_out] == spanned


@pytest.mark.parametrize("name", LARGER)
def test_flats_of_single_blocks(name):
    group = LARGER[name]
    for layer in layers(group, most=1, points=6):
        assert sorted(f.dim for f in layer.flats()) == brute_force_dims(layer)[0]


def test_a_flat_is_spanned_by_its_functions():
    group = GROUPS["S3"]
    for layer in layers(group, most=2, points=6):
        for flat in layer.flats():
            for rep, dim in ((layer.rep_in, flat.dim_in), (layer.rep_out, flat.dim_out)):
                basis = layer.functions(rep, flat.labels)
                assert basis.shape == (dim, layer.units.size, rep.dim)
                flatter = basis.reshape(dim, -1)
                torch.testing.assert_close(flatter @ flatter.T, torch.eye(dim, dtype=torch.float64))
                for g in group.generators:
                    moved = basis[:, layer.units.images[g]]
                    torch.testing.assert_close(moved, basis @ rep.matrices[g].T)
                assert all(torch.equal(basis[:, i], basis[:, j]) for i, j in enumerate(flat.labels))


def test_the_walls_of_the_symmetric_group_of_three():
    """Hidden for the three units, visible for the six; none when the output is as rich as the input."""
    s3 = GROUPS["S3"]
    pi3, one = reps.natural(s3), reps.trivial(s3)
    pair, free = coset_space(s3, s3.subgroup_classes[1][0]), coset_space(s3, frozenset({0}))
    assert [(f.is_wall, f.visible) for f in HiddenLayer(pi3, pair, one).flats()] == [(True, False)]
    walls = [f for f in HiddenLayer(pi3, free, one).flats() if f.is_wall]
    assert [f.visible for f in walls] == [True] * 3
    assert [f.codim for f in HiddenLayer(pi3, pair, pi3).flats()] == [(1, 0, 1)]


def test_a_redundant_block_is_a_smaller_one():
    """Nothing in the natural representation has exactly C_3 as stabiliser: S_3/C_3 is S_3/S_3."""
    s3 = GROUPS["S3"]
    rotations = s3.subgroup_classes[2][0]
    layer = HiddenLayer(reps.natural(s3), coset_space(s3, rotations), reps.trivial(s3))
    assert layer.closure_of(rotations) == frozenset(range(6))
    assert layer.flats() == ()


def signed_averages(layer):
    """Onto what groups of exchanges with signs fix: classes of units up to sign, and possibly a class of dead ones."""
    n, k, m = layer.rep_in.dim, layer.rep_out.dim, layer.units.size
    for labels in partitions(m):
        for dead in (None, *sorted(set(labels))):
            for signs in product((1.0, -1.0), repeat=m):
                mean = torch.zeros(m, m, dtype=torch.float64)
                for i, j in product(range(m), repeat=2):
                    if labels[i] == labels[j] != dead:
                        mean[i, j] = signs[i] * signs[j] / labels.count(labels[i])
                ends = [torch.kron(mean, torch.eye(d, dtype=torch.float64)) for d in (n, k)]
                yield torch.block_diag(ends[0], *([mean] if layer.bias else []), ends[1])


@pytest.mark.parametrize("name", ["S3", "Z2xZ2", "Z4"])
def test_flats_up_to_sign_are_those_of_brute_force(name):
    group, tried = GROUPS[name], 0
    for layer in layers(group, most=2, points=4):
        whole, found = constrained_projector(layer), []
        for average in signed_averages(layer):
            flat = meet(whole, average)
            if not any(torch.allclose(flat, other, atol=1e-7) for other in [whole, *found]):
                found.append(flat)
        signed = for_odd(layer)
        assert signed.dims(signed.units) == layer.dims(layer.units)
        assert [f.dim for f in signed.flats()] == sorted((round(float(f.trace())) for f in found), reverse=True)
        tried += 1
    assert tried >= 10


def deep_brute_force(network):
    """Dimensions of all distinct fixed spaces of exchanges within the layers, from projectors on all weights."""
    reps_ = [x.representation() for x in network.layers]
    chain = [network.rep_in, *reps_, network.rep_out]
    order = network.rep_in.group.order

    def onto(maps):
        """Every weight W_l of shape (next, previous) multiplied from both sides, and every bias."""
        left, right = maps
        parts = [torch.kron(b, a.contiguous()) for a, b in zip(left, right, strict=True)]
        return torch.block_diag(*parts, *(right[:-1] if network.bias else []))

    whole = (
        sum(onto(([r.matrices[g] for r in chain[:-1]], [r.matrices[g] for r in chain[1:]])) for g in range(order))
        / order
    )
    found = []
    for choice in product(*(list(partitions(x.size)) for x in network.layers)):
        means = []
        for labels in choice:
            same = torch.tensor([[float(a == b) for a in labels] for b in labels], dtype=torch.float64)
            means.append(same / same.sum(1, keepdim=True))
        ends = [torch.eye(r.dim, dtype=torch.float64) for r in (network.rep_in, network.rep_out)]
        flat = meet(whole, onto(([ends[0], *means], [*means, ends[1]])))
        if not any(torch.allclose(flat, other, atol=1e-7) for other in [whole, *found]):
            found.append(flat)
    return sorted((round(float(f.trace())) for f in found), reverse=True), round(float(whole.trace()))


@pytest.mark.parametrize("name", ["S3", "Z2xZ2", "Z4"])
def test_flats_of_two_layers_are_those_of_brute_force(name):
    group = GROUPS[name]
    sets = [coset_space(group, members[0]) for members in group.subgroup_classes if group.order <= 4 * len(members[0])]
    tried = 0
    for first, second in product(sets, repeat=2):
        if first.size + second.size <= 6:
            network = HiddenNetwork(reps.natural(group), (first, second), reps.trivial(group), bias=tried % 2 == 0)
            dims, whole = deep_brute_force(network)
            assert network.dim(network.whole) == whole
            assert [f.dim for f in network.flats()] == dims, network.layers
            assert all(f.dim + f.codim == whole for f in network.flats())
            tried += 1
    assert tried >= 4


def test_one_deep_layer_is_a_layer():
    group = GROUPS["S3"]
    for layer in layers(group, most=2, points=5):
        deep = HiddenNetwork(layer.rep_in, (layer.units,), layer.rep_out, layer.bias)
        assert [(f.labels[0], f.dim) for f in deep.flats()] == [(f.labels, f.dim) for f in layer.flats()]


def test_bad_layers_are_refused():
    s3, other = GROUPS["S3"], GROUPS["D4"]
    units = coset_space(s3, frozenset({0}))
    with pytest.raises(SymtheoryError, match="of one group"):
        HiddenLayer(reps.natural(other), units, reps.trivial(s3))
    skew = reps.random_equivalent(reps.natural(s3), torch.Generator().manual_seed(0), 1.0)
    with pytest.raises(SymtheoryError, match="orthogonal representations"):
        HiddenLayer(skew, units, reps.trivial(s3))
    with pytest.raises(SymtheoryError, match="a layer without negatives"):
        for_odd(for_odd(HiddenLayer(reps.natural(s3), units, reps.trivial(s3))))
    with pytest.raises(SymtheoryError, match="at least one hidden layer"):
        HiddenNetwork(reps.natural(s3), (), reps.trivial(s3))
    with pytest.raises(SymtheoryError, match="layers of one group"):
        HiddenNetwork(reps.natural(s3), (units, coset_space(other, frozenset({0})), units), reps.trivial(s3))
    with pytest.raises(SymtheoryError, match="at most 5 choices of congruences, got at least 36"):
        HiddenNetwork(reps.natural(s3), (units, units), reps.trivial(s3)).flats(limit=5)
