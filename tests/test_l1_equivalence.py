"""Evidence for eq. (6) of paper A: the L1 equivalent of a mirror with weight decay, and its kink."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from symtheory.engine.model import evaluate, squared_norm, with_decay
from symtheory.errors import SymtheoryError
from symtheory.spec import CompositeMirror, exchange, flatten, from_basis, sign_flip
from symtheory.theorems.instances import KINDS, abstract, generator_of, normal, orthonormal, random_mirror
from symtheory.theorems.l1_equivalence import EQUIVALENCE, from_l1, kink, l1_penalty, to_l1
from symtheory.theorems.l1_equivalence.equivalence import smooth_kinds
from symtheory.theorems.l1_equivalence.measures import growth, minima_agree, right_derivative
from symtheory.theorems.mirror_constraint import critical_decay
from symtheory.theorems.mirror_constraint.landscapes import double_well, minima, waves
from tests.oracles import obeys
from tests.strategies import instances, seeds, shapes

verify = pytest.mark.claim("A.E6", role="verify")


@verify
@given(instances().filter(lambda i: i.name != "relu_mlp"))
def test_equation_six_and_the_slope_at_the_kink(instance):
    assert obeys(EQUIVALENCE.check(instance))


@verify
@given(st.sampled_from(KINDS), seeds, shapes)
def test_the_change_of_coordinates_loses_nothing(kind, seed, layout):
    g = generator_of(seed)
    mirror, w = random_mirror(kind, g, layout), {k: normal(g, *s) for k, s in layout.items()}
    q = to_l1(mirror, w)
    back = from_l1(mirror, q)
    assert float((flatten(back) - flatten(w)).norm()) < 1e-12 * float(flatten(w).norm())
    assert mirror.distance(q) == pytest.approx(mirror.distance(w) ** 2, rel=1e-12)
    on = mirror.symmetrize(w)
    # what rounding leaves across the mirror is about 1e-16; from_l1 takes its root
    assert float((flatten(to_l1(mirror, on)) - flatten(on)).norm()) < 1e-14
    assert float((flatten(from_l1(mirror, on)) - flatten(on)).norm()) < 1e-6


@verify
@given(st.sampled_from(KINDS), seeds, shapes)
def test_the_kink_wins_exactly_above_its_threshold(kind, seed, layout):
    i = abstract(kind, seed, layout)
    x = i.samples[0]
    found = kink(i.loss, i.mirror, i.params, x)
    assert found.threshold == pytest.approx(critical_decay(i.loss, i.params, x, i.mirror), abs=1e-12)
    assert found.weight_decay == 2 * found.threshold
    assert found.lowest <= found.slope + 1e-9 * (1 + abs(found.slope))
    # in any direction: the slope of the loss with decay has the sign of gamma + slope, from both sides
    n = i.mirror.project(i.params)
    n = {k: v / float(flatten(i.mirror.project(i.params)).norm()) for k, v in n.items()}
    for margin in (-0.05, 0.05):
        regularised = with_decay(i.loss, -found.slope + margin)  # a negative decay is only a number here
        assert right_derivative(regularised, i.mirror, i.params, x, n) == pytest.approx(margin, abs=1e-4)


@verify
@given(st.sampled_from(KINDS[:-1]), seeds)
def test_the_slope_grows_like_one_over_root_z_without_the_symmetry(kind, seed):
    i = abstract(kind, seed)
    n = i.mirror.random_normal(generator_of(seed))
    point = i.mirror.symmetrize(i.params)
    here = torch.func.grad(i.broken)(point, i.samples[0])
    across = sum(float((here[k] * n[k]).sum()) for k in n)
    curvature = abs(right_derivative(i.loss, i.mirror, i.params, i.samples[0], n))
    assume(abs(across) > 1e-2 * (1 + curvature))  # or the asymptotic regime lies below the steps used
    x = i.samples[0]
    assert growth(lambda p, _: i.broken(p, x), i.mirror, i.params, n) == pytest.approx(0.5, abs=0.2)
    assume(curvature > 1e-2)
    assert growth(lambda p, _: i.loss(p, x), i.mirror, i.params, n) == pytest.approx(0.0, abs=0.05)


@verify
@given(st.sampled_from(KINDS), seeds)
def test_the_loss_cannot_tell_n_from_minus_n(kind, seed):
    """So for one normal the L1 form is a function of |z|, and the direction Pw/|Pw| may be forgotten."""
    i = abstract(kind, seed)
    other = i.mirror.reflect(to_l1(i.mirror, i.params))
    form = l1_penalty(i.loss, i.mirror, 0.3)
    for x in i.samples:
        assert float(form(other, x)) == pytest.approx(float(form(to_l1(i.mirror, i.params), x)), rel=1e-12)


@verify
@given(st.floats(0.2, 4.0), st.floats(0.0, 3.0), seeds)
@settings(max_examples=100)
def test_a_double_well_is_solved_by_the_soft_threshold_of_the_lasso(depth, gamma, seed):
    assume(abs(depth - 2 * gamma) > 1e-2)
    well = double_well(seed, depth)
    found = minima(with_decay(well.loss, gamma), well.params, generator_of(seed), starts=1)
    assume(found)
    assert well.mirror.distance(found[0]) ** 2 == pytest.approx(max(depth - 2 * gamma, 0.0), abs=1e-6)


@verify
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.05, 0.5, 1.1])
def test_minima_are_minima_of_the_l1_form(kind, share):
    landscape = waves(kind, 1)
    gamma = -share * landscape.lambda_min / 2
    found = minima(with_decay(landscape.loss, gamma), landscape.params, generator_of(1))
    assert found
    assert minima_agree(landscape.loss, landscape.mirror, found, gamma, 1) < 1e-9


@verify
def test_a_saddle_on_the_mirror_is_no_stationary_point_of_the_l1_form():
    """Minima correspond, stationary points do not: below the threshold the L1 form has a descent there."""
    well = double_well(0, 1.5)
    at = well.mirror.symmetrize(minima(with_decay(well.loss, 0.3), well.params, generator_of(0), starts=1)[0])
    slope = torch.func.grad(with_decay(well.loss, 0.3))(at, None)
    assert well.mirror.distance(slope) < 1e-9
    assert minima_agree(well.loss, well.mirror, [at], 0.3, 0) > 1e-3


@verify
@given(seeds, st.integers(2, 4))
def test_orthogonal_mirrors_give_a_sum_of_absolute_values(seed, count):
    g = generator_of(seed)
    basis = orthonormal(7, count, g)
    mirrors = [from_basis(basis[:, k], {"w": (7,)}) for k in range(count)]
    w = {"w": normal(g, 7)}
    along = CompositeMirror(mirrors).symmetrize(w)
    total = float(squared_norm(along)) + sum(m.distance(w) ** 2 for m in mirrors)
    assert float(squared_norm(w)) == pytest.approx(total, rel=1e-12)


@pytest.mark.claim("A.E6", role="control")
@given(seeds)
def test_oblique_mirrors_do_not(seed):
    """Exchanges of units 1, 2 and 2, 3 are oblique: their squared distances do not add to the norm."""
    w = {k: normal(generator_of(seed + j)) for j, k in enumerate("abc")}
    layout = dict.fromkeys("abc", ())
    mirrors = [exchange(layout, [p], [q]) for p, q in ("ab", "bc")]
    mean = sum(w.values()) / 3
    total = float(3 * mean**2) + sum(m.distance(w) ** 2 for m in mirrors)
    assert abs(total - float(squared_norm(w))) > 1e-9


@verify
@pytest.mark.parametrize("instance", smooth_kinds(5), ids=lambda i: i.name)
def test_the_form_equals_the_loss_on_networks(instance):
    form = l1_penalty(instance.loss, instance.mirror, 0.7)
    for x in instance.samples:
        left = float(evaluate(with_decay(instance.loss, 0.7), instance.params, x))
        assert float(form(to_l1(instance.mirror, instance.params), x)) == pytest.approx(left, rel=1e-12)


# --- the tools refuse what they cannot answer -------------------------------------------------------------------------


def test_a_loss_without_the_symmetry_has_no_kink():
    i = abstract("basis", 0)
    with pytest.raises(SymtheoryError, match="no gradient across the mirror"):
        kink(i.broken, i.mirror, i.params, i.samples[0])


def test_a_kink_needs_a_direction_across_the_mirror():
    mirror, w = sign_flip({"w": (2,)}, ["w"]), {"w": torch.zeros(2).double(), "b": torch.ones(1).double()}
    bowl = lambda p, _: (p["w"] ** 2).sum() + p["b"].sum() ** 2  # noqa: E731
    assert kink(bowl, mirror, w, None).slope is None
    assert kink(bowl, mirror, w, None, {"w": torch.tensor([0.0, 2.0]).double()}).slope == 1.0
    with pytest.raises(SymtheoryError, match="a direction across the mirror"):
        kink(bowl, mirror, w, None, {"w": torch.zeros(2).double()})


def test_negative_decay_is_refused():
    with pytest.raises(SymtheoryError, match="a decay gamma >= 0"):
        l1_penalty(lambda p, _: p["w"], sign_flip({"w": ()}, ["w"]), -1.0)
