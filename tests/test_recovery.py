"""Recovered representations: known nets, relabelled, split, rescaled, with dead units, are found again."""

import numpy as np
import pytest
import torch

from symtheory.equivariant import recover_representation
from symtheory.errors import SymtheoryError
from symtheory.spec.group_families import dihedral, symmetric
from symtheory.spec.gsets import coset_space, disjoint_union
from symtheory.spec.intertwiners import functions
from symtheory.spec.representations import natural, regular, trivial

S3 = symmetric(3)
PI3, ONE = natural(S3), trivial(S3)
#: Subgroups that are stabilisers of some input of the regular representation: all of them.
KINDS = {len(members[0]): coset_space(S3, members[0]) for members in S3.subgroup_classes}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net(units, rep_in, rep_out, seed=0):
    """Random equivariant weights (W, b, A) with the given hidden units."""
    parts = [functions(units, rep) for rep in (rep_in, trivial(units.group), rep_out)]
    into, bias, out = (torch.einsum("k,kxd->xd", draw(len(p), seed=seed + i), p) for i, p in enumerate(parts))
    return into, bias[:, 0], out.T.contiguous()


UNIONS = {
    "pi3": [2],
    "regular": [1],
    "two copies": [2, 2],
    "a block of each": [1, 2, 6],
    "fixed unit": [6],
}


@pytest.mark.parametrize("activation", ["generic", "relu", "odd"])
@pytest.mark.parametrize("case", UNIONS)
def test_the_representation_a_net_was_built_with_is_found(case, activation):
    units = disjoint_union(*(KINDS[k] for k in UNIONS[case]))
    into, bias, out = net(units, regular(S3), PI3)
    found = recover_representation(into, out, regular(S3), PI3, bias=bias, activation=activation)
    assert found.units is not None and found.relation(units) == "same" and found.residual < 1e-12
    assert np.array_equal(found.units.images, units.images)


@pytest.mark.parametrize("case", UNIONS)
def test_relabelled_units_are_a_conjugate_unless_the_relabelling_commutes(case):
    units = disjoint_union(*(KINDS[k] for k in UNIONS[case]))
    into, bias, out = net(units, regular(S3), PI3, seed=4)
    generator = torch.Generator().manual_seed(1)
    for _ in range(6):
        p = torch.randperm(units.size, generator=generator)
        found = recover_representation(into[p], out[:, p], regular(S3), PI3, bias=bias[p])
        back = torch.argsort(p).numpy()
        wanted = back[units.images[:, p.numpy()]]  # unit i is the old p[i]
        assert found.units is not None and np.array_equal(found.units.images, wanted)
        assert found.relation(units) == ("same" if np.array_equal(wanted, units.images) else "conjugate")


def test_split_rescaled_and_dead_relu_units_are_merged_and_dropped():
    into, _, out = net(KINDS[2], PI3, ONE)
    pieces = torch.tensor([[0.2, 0.3, 0.5]]).double()  # unit 1 in three pieces of different scales
    scale = torch.tensor([0.5, 2.0, 3.0]).double()
    w = torch.cat([4 * into[:1], scale[:, None] * into[1], into[2:], draw(1, 3)])
    a = torch.cat([out[:, :1] / 4, out[0, 1] * pieces / scale, out[:, 2:], torch.zeros(1, 1).double()], 1)
    found = recover_representation(w, a, PI3, ONE, activation="relu")
    assert found.units is not None and found.members == ((0,), (1, 2, 3), (4,)) and found.dead == (5,)
    assert found.relation(KINDS[2]) == "conjugate" and "1 dead" in repr(found)
    x = draw(20, 3, seed=5)
    assert torch.allclose((x @ found.first.T).relu() @ found.second.T, (x @ w.T).relu() @ a.T)
    assert recover_representation(w, a, PI3, ONE, activation="generic").units is None


def test_units_that_cancel_each_other_are_dead():
    into, bias, out = net(KINDS[2], PI3, ONE)
    w, b = torch.cat([into, into[:1], into[:1]]), torch.cat([bias, bias[:1] + 1, bias[:1] + 1])
    a = torch.cat([out, torch.tensor([[2.0, -2.0]]).double()], 1)
    found = recover_representation(w, a, PI3, ONE, bias=b)
    assert found.dead == (3, 4) and found.units is not None and found.units.size == 3


def test_odd_units_are_one_up_to_sign():
    into, bias, out = net(KINDS[2], PI3, ONE)
    sign = torch.tensor([1.0, -1.0, 1.0]).double()
    w, b, a = sign[:, None] * into, sign * bias, out * sign
    assert recover_representation(w, a, PI3, ONE, bias=b, activation="odd").relation(KINDS[2]) == "same"
    assert recover_representation(w, a, PI3, ONE, bias=b).relation(KINDS[2]) == "not equivariant"
    doubled = recover_representation(
        torch.cat([w, -w]), torch.cat([a / 4, -3 * a / 4], 1), PI3, ONE, bias=torch.cat([b, -b]), activation="odd"
    )
    assert doubled.units is not None and doubled.units.size == 3
    assert torch.allclose(doubled.second.abs(), a.abs())


def test_what_collapsed_onto_a_wall_is_of_another_type():
    into, bias, out = net(KINDS[2], PI3, ONE)
    found = recover_representation(into.mean(0).expand(3, 3), out, PI3, ONE, bias=bias)
    assert found.units is not None and found.units.types == KINDS[6].types and found.relation(KINDS[2]) == "other type"


def test_random_weights_carry_no_representation():
    found = recover_representation(draw(4, 3), draw(1, 4, seed=1), PI3, ONE)
    assert found.units is None and found.residual > 0.1 and found.relation(KINDS[2]) == "not equivariant"
    assert "not equivariant" in repr(found)
    products = [(g, h, S3.table[g, h]) for g in range(6) for h in range(6)]
    wrong = sum(not np.array_equal(found.images[g][found.images[h]], found.images[gh]) for g, h, gh in products)
    assert found.homomorphism == wrong > 0


def test_a_tolerance_decides_what_is_equivariant():
    into, bias, out = net(KINDS[2], PI3, ONE)
    noisy = into + 1e-4 * draw(3, 3, seed=8)
    assert recover_representation(noisy, out, PI3, ONE, bias=bias, tolerance=1e-2).relation(KINDS[2]) == "same"
    assert recover_representation(noisy, out, PI3, ONE, bias=bias, tolerance=1e-6).units is None


def test_another_group_with_orthogonal_inputs():
    d4 = dihedral(4)
    units = disjoint_union(*(coset_space(d4, members[0]) for members in d4.subgroup_classes[1:3]))
    into, bias, out = net(units, regular(d4), trivial(d4), seed=3)
    assert recover_representation(into, out, regular(d4), trivial(d4), bias=bias).relation(units) == "same"
    with pytest.raises(SymtheoryError, match="of one group"):
        recover_representation(into, out, regular(d4), trivial(d4), bias=bias).relation(KINDS[2])


BAD = {
    "shape": ({"first": draw(3, 4)}, r"W \(m, 3\), A \(1, m\)"),
    "bias": ({"bias": draw(2)}, r"b \(m,\)"),
    "activation": ({"activation": "sine"}, "activation among"),
    "groups": ({"rep_out": trivial(symmetric(3))}, "a representation of S_3, order 6, got trivial"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_layer_is_refused(case):
    changes, message = BAD[case]
    given = {"first": draw(3, 3), "second": draw(1, 3), "rep_in": PI3, "rep_out": ONE} | changes
    with pytest.raises(SymtheoryError, match=message):
        recover_representation(**given)
