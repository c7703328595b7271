"""Laws of hidden fixed-point subspaces on random layers, random groups of exchanges, random losses.

Proofs, controls and counterexamples run in test_theorems.py, for the whole registry.
"""

from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from symtheory.equivariant.network import EquivariantMLP
from symtheory.errors import SymtheoryError
from symtheory.spec.congruences import count, discrete, generated, principal
from symtheory.spec.cosets import normalizer, table_of_marks
from symtheory.spec.gsets import coset_space, disjoint_union
from symtheory.spec.gsets import natural as points_of
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.numerics import relative_error
from symtheory.spec.representations import natural, random_equivalent, regular, trivial
from symtheory.theorems.hidden_subspaces import (
    CRITICALITY,
    ENUMERATION,
    HIDDEN,
    LATTICE,
    MERGING,
    REDUCTION,
)
from symtheory.theorems.hidden_subspaces.copies import check_copies, nearest_neurons
from symtheory.theorems.hidden_subspaces.criticality import averaged, leak, rescaled
from symtheory.theorems.hidden_subspaces.dynamics import (
    LINEAR,
    descend,
    orthonormal_coordinates,
    tied_coordinates,
)
from symtheory.theorems.hidden_subspaces.enumeration import by_congruences, told_apart
from symtheory.theorems.hidden_subspaces.hidden import constrained_leak, hidden, pair_flat, stretched
from symtheory.theorems.hidden_subspaces.lattice import (
    affine,
    counting_error,
    drawn,
)
from symtheory.theorems.hidden_subspaces.merging import twins
from symtheory.theorems.hidden_subspaces.reduction import lonely_pair, shared
from symtheory.theorems.hidden_subspaces.settings import GROUPS, on_data, reduced, setting, three
from symtheory.theorems.hidden_subspaces.settings import settings as one_of_each
from symtheory.theorems.hidden_subspaces.signs import check_signed, check_signed_leak, odd
from symtheory.theorems.instances import generator_of, normal
from tests.oracles import obeys
from tests.strategies import seeds

kinds = st.sampled_from(sorted(GROUPS))
few = settings(max_examples=20, deadline=None)
fewer = settings(max_examples=8, deadline=None)


@pytest.mark.claim("C.L2.6", role="verify")
@given(kinds, seeds)
@few
def test_cosets_are_isomorphic_exactly_for_conjugate_subgroups(kind, seed):
    assert obeys(LATTICE.check(drawn(GROUPS[kind], seed)))


@pytest.mark.claim("C.L2.6", role="verify")
@pytest.mark.parametrize("kind", ["S_3", "D_4", "A_4"])
def test_all_transitive_actions_on_four_points_are_found_among_the_classes(kind):
    assert counting_error(GROUPS[kind], 4) == 0


@pytest.mark.claim("C.L2.6", role="counterexample", subject="linear equivalence")
def test_two_actions_with_one_character_have_different_marks_and_different_hidden_subspaces():
    group = affine()
    one, two = (
        members[0] for members in group.subgroup_classes if len(members[0]) == 4 and _is_complement(group, members[0])
    )
    x, y = coset_space(group, one), coset_space(group, two)
    traces = [torch.einsum("gii->g", s.representation().matrices) for s in (x, y)]
    assert torch.equal(*traces)
    assert not x.is_isomorphic(y)
    place = {h: i for i, members in enumerate(group.subgroup_classes) for h in members}
    marks = table_of_marks(group)
    assert marks[place[one]].tolist() != marks[place[two]].tolist()
    assert (count(disjoint_union(x, x)), count(disjoint_union(x, y))) == (23, 21)


def _is_complement(group, subset):
    """Whether a subgroup has one element in every coset of the translations."""
    t = group.generate([group.generators[0]])
    return len(t & subset) == 1 and len(t) * len(subset) == group.order


@pytest.mark.claim("C.P2.9", role="verify")
@given(kinds, seeds)
@fewer
def test_gradients_at_symmetric_points_are_symmetric(kind, seed):
    assert obeys(CRITICALITY.check(setting(kind, seed)))


@pytest.mark.claim("C.P2.9", role="verify")
@given(seeds, st.floats(0.3, 3.0))
@few
def test_critical_points_need_no_metric_and_gradients_do(seed, stretch):
    """An exchange with a stretch: no slope along its other eigenspace, but the gradient leaves."""
    r = rescaled(seed, stretch)
    point = r.fixed @ normal(generator_of(seed + 1), len(r.fixed))
    slope = torch.func.grad(r.loss)(point)
    assume(float(slope.norm()) > 1e-6)  # not both units are off on all data
    torch.testing.assert_close(r.loss(r.matrix @ point), r.loss(point))
    assert leak(slope, r.fixed.T) < 1e-12
    assert leak(slope, r.onto) == pytest.approx(abs(stretch**2 - 1) / (stretch**2 + 1), abs=1e-9)


@pytest.mark.claim("C.P2.9", role="verify")
@pytest.mark.parametrize(("step", "left"), [(0.5, 0.5), (1.0, 0.0), (1.5, -0.5)])
def test_a_step_from_outside_can_land_on_symmetric_points_or_beyond(step, left):
    """Steps in units of the inverse curvature across the fixed space of a random group of exchanges."""
    for s in one_of_each(2):
        fixed = s.coincident((0, *range(1, s.layer.units.size - 1), 0))
        across = torch.eye(s.size, dtype=torch.float64) - fixed
        point = fixed @ normal(generator_of(7), s.size)
        curvatures, directions = torch.linalg.eigh(across @ torch.func.hessian(s.loss)(point) @ across)
        normal_, curvature = directions[:, -1], curvatures[-1]
        start = point + 1e-4 * normal_
        end = start - step / curvature * torch.func.grad(s.loss)(start)
        assert float(normal_ @ (end - fixed @ end)) == pytest.approx(left * 1e-4, abs=1e-6)


@pytest.mark.claim("C.P2.9", role="verify")
def test_a_relaxed_network_stays_where_an_equivariant_task_holds_it_and_leaves_otherwise():
    """Unconstrained descent from the constrained space, with the task averaged over the group and as it is."""
    for s in one_of_each(3):
        theta, loss = [s.constrained @ normal(generator_of(4), s.size)] * 2, (averaged(s), s.loss)
        for _ in range(5):
            theta = [t - 0.1 * torch.func.grad(f)(t) for t, f in zip(theta, loss, strict=True)]
        assert leak(theta[0], s.constrained) < 1e-12
        assert leak(theta[1], s.constrained) > 1e-3


@pytest.mark.claim("C.H1", role="verify")
@given(kinds, seeds)
@fewer
def test_constrained_gradients_stay_in_hidden_subspaces(kind, seed):
    s = setting(kind, seed)
    assert obeys(HIDDEN.check(s))


@pytest.mark.claim("C.H1", role="verify")
def test_over_two_hundred_groups_of_exchanges_and_most_do_not_preserve_the_constrained_space():
    worst, preserving, total, wrong = 0.0, 0, 0, []
    for kind in GROUPS:
        for seed in range(6):
            s = setting(kind, 50 + seed, 8)
            metric = stretched(s, seed)
            for k in range(5):
                h = hidden(s, 7 * seed + k)
                point = h.flat @ normal(generator_of(seed + k), s.size)
                worst = max(worst, constrained_leak(s, h.flat, point))
                wrong.append(constrained_leak(s, h.flat, point, metric=metric))
                preserving, total = preserving + h.preserves, total + 1
    assert total >= 200 and len(GROUPS) >= 6
    assert worst <= 1e-12
    assert preserving < total / 3
    assert np.mean(np.array(wrong) > 1e-3) > 0.98


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.claim("C.H1", role="control", subject=n)) for n in HIDDEN.controls]
)
def test_a_broken_hypothesis_is_seen_in_almost_every_draw(name):
    found = sorted(HIDDEN.controls[name](seed).residual for seed in range(40))
    assert found[2] > 1e-3
    assert found[0] > 1e-6


@pytest.mark.claim("C.H1", role="verify")
@pytest.mark.parametrize("method", LINEAR)
def test_linear_optimisers_keep_hidden_subspaces(method):
    for s in one_of_each(11):
        h = hidden(s, 5)
        start = h.flat @ normal(generator_of(6), s.size)
        end = descend(s, start, orthonormal_coordinates(s), LINEAR[method])
        assert leak(end, h.flat) < 1e-11
        assert relative_error(end, start) > 1e-3


@pytest.mark.claim("C.H1", role="verify")
def test_minibatches_keep_hidden_subspaces_one_sample_at_a_time():
    for s in one_of_each(12):
        h = hidden(s, 5)
        start = h.flat @ normal(generator_of(6), s.size)
        batches = [[i] for i in range(len(s.inputs))]
        assert leak(descend(s, start, orthonormal_coordinates(s), LINEAR["momentum"], 30, batches), h.flat) < 1e-11


def adam(eps):
    return lambda p: torch.optim.Adam(p, lr=0.02, eps=eps)


@pytest.mark.claim("C.H1", role="verify")
def test_adam_keeps_hidden_subspaces_in_tied_coordinates_and_descent_in_orthonormal_ones():
    """Of the two optimisers each leaves where the other stays."""
    for output in ("trivial", "natural"):
        s = three(2, output)
        flat, start = pair_flat(s)
        for coordinates, stays, leaves in (
            (orthonormal_coordinates(s), LINEAR["gradient descent"], adam(1e-16)),
            (tied_coordinates(s), adam(1e-16), LINEAR["gradient descent"]),
        ):
            assert leak(descend(s, start, coordinates, stays), flat) < 1e-11
            assert leak(descend(s, start, coordinates, leaves), flat) > 1e-3


@pytest.mark.claim("C.H1", role="verify")
def test_adam_in_tied_coordinates_leaves_by_its_epsilon_only():
    s = three(2)
    flat, start = pair_flat(s)
    left = [leak(descend(s, start, tied_coordinates(s), adam(eps)), flat) for eps in (1e-2, 1e-4, 1e-6)]
    assert left[0] > 50 * left[1] > 2500 * left[2] > 0


@pytest.mark.claim("C.H1", role="verify")
def test_adam_in_tied_coordinates_keeps_the_hidden_subspaces_of_every_group():
    """In orthonormal ones it depends on the basis: here it leaves for more than a third of the layers."""
    gone = []
    for kind, group in GROUPS.items():
        ends = regular(group) if group.action is None else natural(group)
        for seed in range(3):
            g, s = generator_of(seed), setting(kind, seed, 8)
            s = on_data(replace(s.layer, rep_in=ends, rep_out=ends if seed % 2 else trivial(group)), seed)
            h = hidden(s, seed)
            start = h.flat @ normal(g, s.size)
            assert leak(descend(s, start, tied_coordinates(s), adam(1e-12)), h.flat) < 1e-9
            gone.append(leak(descend(s, start, orthonormal_coordinates(s), adam(1e-12)), h.flat) > 1e-3)
    assert sum(gone) > len(gone) / 3


def averaged_over(labels):
    """Mean over the classes of a relation."""
    same = torch.tensor([[float(a == b) for a in labels] for b in labels], dtype=torch.float64)
    return same / same.sum(1, keepdim=True)


@pytest.mark.claim("C.H1", role="verify")
@pytest.mark.parametrize("kind", ["S_3", "A_4", "S_4"])
def test_several_hidden_layers_keep_a_hidden_subspace_in_each(kind):
    """The network that users train, with a congruence a layer; Adam on the same coordinates leaves."""
    group, g = GROUPS[kind], generator_of(3)
    units = [points_of(group)] * 2
    means = [averaged_over(principal(x)[-1]) for x in units]
    x, y = normal(g, 16, len(group.action[0])), normal(g, 16, 1)
    left = []
    for method in (lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.1), adam(1e-8)):
        net = EquivariantMLP(natural(group), units, trivial(group), torch.nn.Tanh(), dtype=torch.float64)
        (one, a), (two, b), (three_, c) = net.dense()
        first, second = means
        net.load_dense([(first @ one, first @ a), (second @ two @ first, second @ b), (three_ @ second, c)])
        optimizer = method(net.parameters())
        for _ in range(20):
            optimizer.zero_grad()
            (net(x) - y).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            (one, _), (two, _), (three_, _) = net.dense()
        gaps = [
            relative_error(first @ one, one),
            relative_error(second @ two @ first, two),
            relative_error(three_ @ second, three_),
        ]
        left.append(max(gaps))
    assert left[0] < 1e-12
    assert left[1] > 1e-3


@pytest.mark.claim("C.H1", role="verify")
@given(kinds, seeds)
@few
def test_copies_of_the_constrained_space_are_counted_by_automorphisms(kind, seed):
    s = setting(kind, seed, most=5)
    if nearest_neurons(s, s.constrained @ normal(generator_of(seed), s.size)) > 1e-6:
        assert check_copies(s)


@pytest.mark.claim("C.H2", role="verify")
@given(kinds, seeds)
@fewer
def test_hidden_subspaces_are_those_of_all_groups_of_exchanges(kind, seed):
    assert obeys(ENUMERATION.check(setting(kind, seed, 5)))


@pytest.mark.claim("C.H2", role="verify")
@given(kinds, seeds)
@fewer
def test_regular_inputs_tell_all_congruences_apart(kind, seed):
    s = told_apart(kind, seed)
    assert len(s.layer.flats()) + 1 == count(s.layer.units)


@pytest.mark.claim("C.H2", role="verify")
@pytest.mark.parametrize("kind", GROUPS)
def test_many_units_every_pair_that_coincides_lies_on_a_listed_flat(kind):
    """Too many units for all partitions: the flat of each pair, found numerically, is listed."""
    s = setting(kind, 4)
    labels, listed = by_congruences(s)
    assert len(labels) == len(set(labels))
    for pair in principal(s.layer.units)[:12]:
        found = s.flat(pair)
        assert min(float((found - p).norm()) for p in listed) < 1e-9


@pytest.mark.claim("C.H2", role="verify")
@given(kinds, seeds)
@fewer
def test_flats_up_to_sign_are_those_of_all_groups_of_exchanges_with_signs(kind, seed):
    assert obeys(check_signed(odd(kind, seed, 3)))


@pytest.mark.claim("C.H1", role="verify")
@given(kinds, seeds)
@fewer
def test_constrained_gradients_stay_in_flats_up_to_sign(kind, seed):
    assert obeys(check_signed_leak(odd(kind, seed, 8)))


@pytest.mark.claim("C.H3", role="verify")
@given(kinds, seeds)
@few
def test_units_that_share_input_weights_make_a_smaller_orbit(kind, seed):
    assert obeys(REDUCTION.check(shared(kind, seed)))


@pytest.mark.claim("C.H3", role="counterexample", subject="another pair")
def test_there_is_one_pair_only_in_a_block_of_two():
    """The number of pairs is [G:H'] times [H':H] choose 2: one for two units, and more for all other blocks."""
    assert lonely_pair().sizes["pairs"] == 1
    for group in GROUPS.values():
        for h in group.subgroups:
            for over in (k for k in group.subgroups if h < k):
                inside = len(over) // len(h)
                pairs = group.order // len(over) * inside * (inside - 1) // 2
                assert (pairs == 1) == (group.order == 2 * len(h))


@pytest.mark.claim("C.H4", role="verify")
@given(kinds, seeds)
@few
def test_blocks_that_share_a_unit_are_one(kind, seed):
    assert obeys(MERGING.check(twins(kind, seed)))


@pytest.mark.claim("C.H4", role="verify")
@pytest.mark.parametrize("kind", GROUPS)
def test_blocks_that_are_not_isomorphic_merge_only_when_both_are_reduced(kind):
    group = GROUPS[kind]
    heads = [members[0] for members in group.subgroup_classes]
    for h, k in combinations_with_replacement(heads[:6], 2):
        if h != k:
            one, two = coset_space(group, h), coset_space(group, k)
            units = disjoint_union(one, two)
            for labels in principal(units):
                met = {labels[i] for i in range(one.size)} & {labels[i] for i in range(one.size, units.size)}
                assert not met or len(met) == len(set(labels)) < max(one.size, two.size)


@pytest.mark.claim("C.H4", role="verify")
@pytest.mark.parametrize("kind", GROUPS)
def test_a_merger_of_isomorphic_blocks_is_an_element_of_the_normaliser(kind):
    group = GROUPS[kind]
    for h in (members[0] for members in group.subgroup_classes):
        block = coset_space(group, h)
        assert len(block.maps_of_orbit(0, block)) == len(normalizer(group, h)) // len(h)


@pytest.mark.claim("C.H2", role="verify")
@given(kinds, seeds)
@fewer
def test_the_smaller_network_has_the_same_loss(kind, seed):
    s = setting(kind, seed)
    h = hidden(s, seed)
    point = h.flat @ normal(generator_of(seed), s.size)
    labels = s.layer.closure(generated(s.layer.units, list(enumerate(h.labels))))
    smaller, there = reduced(s, point, labels)
    assert smaller.layer.units.size < s.layer.units.size
    torch.testing.assert_close(smaller.loss(there), s.loss(point), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hidden(on_data(_alike(), 0), 0), "units that can differ"),
        (lambda: tied_coordinates(_turned()), "inputs and outputs that the group permutes"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(SymtheoryError, match=message):
        call()


def _alike():
    """Three units that are always equal: inputs and outputs do not move."""
    layer = three(0).layer
    return HiddenLayer(trivial(layer.group, 2), layer.units, layer.rep_out)


def _turned():
    """Three units on inputs in a random orthonormal basis."""
    s = three(0)
    return replace(s, layer=replace(s.layer, rep_in=random_equivalent(s.layer.rep_in, generator_of(0), 0.0)))


def test_orthonormal_coordinates_span_the_constrained_space():
    for s in one_of_each(8):
        b = orthonormal_coordinates(s)
        torch.testing.assert_close(b @ b.T, s.constrained)
        assert s.layer.flat(discrete(s.layer.units)).dim <= b.shape[1]
