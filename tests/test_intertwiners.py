"""Equivariant linear maps and isotypic components, against characters and averages over the group."""

import pytest
import torch

from symtheory.errors import SymtheoryError
from symtheory.spec import group_families as gf
from symtheory.spec import gsets
from symtheory.spec import representations as reps
from symtheory.spec.groups import subgroup_as_group
from symtheory.spec.intertwiners import functions, intertwiners, isotypic_blocks, sparse_functions

GROUPS = {
    "S3": gf.symmetric(3),
    "Z4": gf.cyclic(4),
    "D4": gf.dihedral(4),
    "A4": gf.alternating(4),
    "Q8": gf.quaternion(),
    "Z2xZ2": gf.abelian(2, 2),
}
#: Irreducible representations over the reals; C_4, A_4 and Q_8 have some that are not absolutely irreducible.
REAL_IRREPS = {"S3": 3, "Z4": 3, "D4": 5, "A4": 3, "Q8": 5, "Z2xZ2": 4}


def chi(rep):
    return torch.einsum("gii->g", rep.matrices)


@pytest.mark.parametrize("name", GROUPS)
def test_intertwiners_commute_and_characters_count_them(name):
    group = GROUPS[name]
    g = torch.Generator().manual_seed(1)
    spaces = [reps.regular(group), reps.trivial(group, 2), reps.random_equivalent(reps.regular(group), g, 0.4)]
    for a in spaces:
        for b in spaces:
            basis = intertwiners(a, b)
            assert len(basis) == round(float((chi(a)[torch.from_numpy(group.inverse).long()] * chi(b)).mean()))
            torch.testing.assert_close(basis.flatten(1) @ basis.flatten(1).T, torch.eye(len(basis)).double())
            for h in range(group.order):
                torch.testing.assert_close(b.matrices[h] @ basis, basis @ a.matrices[h], atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", GROUPS)
def test_functions_on_units_are_the_intertwiners_to_their_permutations(name):
    group = GROUPS[name]
    units = gsets.disjoint_union(*(gsets.coset_space(group, h[0]) for h in group.subgroup_classes[-3:]))
    rep = reps.random_equivalent(reps.regular(group), torch.Generator().manual_seed(2), 0.0)
    found, expected = functions(units, rep).flatten(1), intertwiners(rep, units.representation()).flatten(1)
    torch.testing.assert_close(found.T @ found, expected.T @ expected)
    torch.testing.assert_close(found @ found.T, torch.eye(len(found)).double())


@pytest.mark.parametrize("name", GROUPS)
def test_sparse_functions_span_the_same(name):
    group = GROUPS[name]
    units = gsets.disjoint_union(*(gsets.coset_space(group, h[0]) for h in group.subgroup_classes[:3]))
    for rep in (
        reps.random_equivalent(reps.regular(group), torch.Generator().manual_seed(2), 0.0),
        units.representation(),
    ):
        found, expected = sparse_functions(units, rep).to_dense().flatten(1), functions(units, rep).flatten(1)
        torch.testing.assert_close(found.T @ found, expected.T @ expected)
        torch.testing.assert_close(found @ found.T, torch.eye(len(found)).double())
    assert sparse_functions(units, units.representation()).values().numel() == units.size**2


@pytest.mark.parametrize("name", GROUPS)
def test_isotypic_components_are_what_no_intertwiner_mixes(name):
    group = GROUPS[name]
    rep = reps.random_equivalent(reps.regular(group), torch.Generator().manual_seed(3), 0.0)
    blocks = isotypic_blocks(rep)
    assert len(blocks) == REAL_IRREPS[name]
    assert sum(b.shape[1] for b in blocks) == rep.dim
    whole = torch.cat(blocks, dim=1)
    torch.testing.assert_close(whole.T @ whole, torch.eye(rep.dim).double())
    commuting = intertwiners(rep, rep)
    for i, b in enumerate(blocks):
        for j, c in enumerate(blocks):
            mixing = float((b.T @ commuting @ c).abs().max())
            assert mixing < 1e-10 if i != j else mixing > 1e-3
        # what commutes mixes every part of one component: it has no smaller invariant part for all intertwiners
        assert len(isotypic_blocks(reps.Representation(group, b.T @ rep.matrices @ b))) == 1


def test_restriction_keeps_the_matrices():
    s4 = gf.symmetric(4)
    part = subgroup_as_group(s4, s4.commutator_subgroup)
    units = gsets.coset_space(s4, s4.subgroup_classes[1][0])
    for k, g in enumerate(part.elements):
        assert torch.equal(reps.restrict(reps.natural(s4), part).matrices[k], reps.natural(s4).matrices[g])
        assert (gsets.restrict(units, part).images[k] == units.images[g]).all()
    assert torch.equal(
        gsets.restrict(units, part).representation().matrices, reps.restrict(units.representation(), part).matrices
    )


SKEW = reps.random_equivalent(reps.regular(GROUPS["S3"]), torch.Generator().manual_seed(0), 1.0)
UNITS = gsets.coset_space(GROUPS["S3"], frozenset({0}))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: isotypic_blocks(SKEW), "an orthogonal representation"),
        (lambda: functions(UNITS, SKEW), "an orthogonal representation"),
        (lambda: functions(UNITS, reps.regular(GROUPS["Z4"])), "of one group"),
        (lambda: intertwiners(SKEW, reps.regular(GROUPS["Z4"])), "of one group"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(SymtheoryError, match=message):
        call()
