"""Walls and chambers of a block against flats, against sampling, and against every automorphism of the units."""

import math

import numpy as np
import pytest
import torch

from symtheory.errors import SymtheoryError
from symtheory.spec import group_families as gf
from symtheory.spec import representations as reps
from symtheory.spec.gsets import coset_space, disjoint_union
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.signed import for_odd
from symtheory.spec.walls import chambers, walls

GROUPS = {
    "S3": gf.symmetric(3),
    "Z2xZ2": gf.abelian(2, 2),
    "Z4": gf.cyclic(4),
    "D4": gf.dihedral(4),
    "A4": gf.alternating(4),
    "S4": gf.symmetric(4),
}


def blocks(group):
    """Every transitive block, with the group's own points as inputs, and a sum with a sign, and rich outputs."""
    natural, one = reps.natural(group), reps.trivial(group)
    ends = [(natural, one, True), (natural, natural, True), (reps.direct_sum(natural, one), one, False)]
    for members in group.subgroup_classes:
        for rep_in, rep_out, bias in ends:
            yield HiddenLayer(rep_in, coset_space(group, members[0]), rep_out, bias)


@pytest.mark.parametrize("name", GROUPS)
def test_walls_are_the_flats_of_codimension_one(name):
    for layer in blocks(GROUPS[name]):
        found, flats = [w for w in walls(layer) if w.fixed], [f for f in layer.flats() if f.is_wall]
        assert len(found) == len(flats)
        for wall in found:
            mine = [f for f in flats if f.stabilizers[0] == wall.subgroup]
            assert [f.visible for f in mine] == [wall.visible]
            # the wall is what the normal leaves of the whole
            flat = layer.functions(layer.rep_in, mine[0].labels)[:, 0]
            assert float((flat @ wall.normal).abs().max()) < 1e-12 if len(flat) else True
            assert float(wall.normal.norm()) == pytest.approx(1.0)
            fixed = layer.rep_in.reynolds(layer.units.stabilizer(0))
            torch.testing.assert_close(fixed @ wall.normal, wall.normal)
            assert wall.exchanged or not wall.visible


@pytest.mark.parametrize("name", GROUPS)
def test_chambers_are_the_sign_patterns_of_random_weights(name):
    g = torch.Generator().manual_seed(0)
    for layer in blocks(GROUPS[name]):
        parts = chambers(layer)
        d = parts.space.shape[1]
        weights = torch.randn(4000, d, generator=g, dtype=torch.float64) @ parts.space.T
        seen = parts.side(weights)
        assert sorted(set(seen.tolist())) == list(range(len(parts.signs)))
        assert parts.side(parts.witnesses).tolist() == list(range(len(parts.signs)))
        if parts.walls:
            assert parts.side(torch.zeros(1, layer.rep_in.dim, dtype=torch.float64)).tolist() == [-1]


@pytest.mark.parametrize("name", GROUPS)
def test_orbits_are_those_of_all_automorphisms(name):
    for layer in blocks(GROUPS[name]):
        parts = chambers(layer)
        assert sorted(c for orbit in parts.orbits for c in orbit) == list(range(len(parts.signs)))
        related = np.eye(len(parts.signs), dtype=bool)
        for images in layer.units.automorphisms():
            # relabelled, the base unit has the weights of the unit that comes to its place
            carrier = layer.units.carriers(layer.units.orbits[0])[int(images[0])]
            moved = parts.side(parts.witnesses @ layer.rep_in.matrices[carrier].T)
            related[np.arange(len(moved)), moved.numpy()] = True
        for orbit in parts.orbits:
            assert (related[orbit[0]] == np.isin(np.arange(len(related)), orbit)).all()
        assert parts.barrier == (not related.all())
        assert torch.equal(
            parts.orbit_of(parts.witnesses)[list(parts.orbits[-1])].unique(), torch.tensor([len(parts.orbits) - 1])
        )


def test_what_is_exchanged_lies_in_one_orbit():
    """A symmetry that reflects in a wall carries every chamber at it to its neighbour."""
    for name in ("S4", "D4"):
        for layer in blocks(GROUPS[name]):
            parts = chambers(layer)
            for k, wall in enumerate(parts.walls):
                if wall.visible:
                    mirrored = parts.side(parts.witnesses - 2 * (parts.witnesses @ wall.normal)[:, None] * wall.normal)
                    assert (parts.signs[mirrored.numpy()][:, k] == -parts.signs[:, k]).all()
                    assert torch.equal(parts.orbit_of(parts.witnesses[mirrored]), parts.orbit_of(parts.witnesses))


def test_an_odd_activation_exchanges_the_sides():
    s3 = GROUPS["S3"]
    layer = HiddenLayer(reps.natural(s3), coset_space(s3, s3.subgroup_classes[1][0]), reps.trivial(s3))
    assert chambers(layer).barrier
    odd = chambers(for_odd(layer))
    assert len(odd.walls) == 1 and not odd.barrier


def planes(group, *turns):
    """A number, and planes that the rotations of a dihedral group turn by multiples of its angle."""
    parts = [reps.trivial(group)]
    for k in turns:
        angle = 2 * math.pi * k / (group.order // 2)
        c, s = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
        flip = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
        images = {g: turn if group.element_orders[g] > 2 else flip for g in group.generators}
        parts.append(reps.from_generators(group, images))
    return reps.direct_sum(*parts)


def test_a_wall_that_is_no_fixed_point_subspace():
    """Five units on a circle: outputs turned twice as far as inputs pair with nothing, outputs turned as far do."""
    d5 = gf.dihedral(5)
    units = coset_space(d5, d5.subgroup_classes[1][0])
    silent = HiddenLayer(planes(d5, 1), units, planes(d5, 2))
    (wall,) = walls(silent)
    assert not wall.fixed and chambers(silent).barrier
    assert [f.codim for f in silent.flats()] == [(1, 0, 1)]
    assert walls(HiddenLayer(planes(d5, 1), units, planes(d5, 1))) == ()
    assert [w.fixed for w in walls(HiddenLayer(planes(d5, 1), units, reps.trivial(d5)))] == [True]


def test_every_block_has_its_own_walls():
    s3 = GROUPS["S3"]
    pair, free = coset_space(s3, s3.subgroup_classes[1][0]), coset_space(s3, frozenset({0}))
    layer = HiddenLayer(reps.natural(s3), disjoint_union(free, pair), reps.trivial(s3))
    assert [len(walls(layer, k)) for k in range(2)] == [3, 1]
    with pytest.raises(SymtheoryError, match=r"a block among 0\.\.1, got 2"):
        walls(layer, 2)
