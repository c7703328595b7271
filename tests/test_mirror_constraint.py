"""Laws of paper A's Definitions 1 to 3 and Theorems 1.1, 1.3, 1.4, 2, 3, 4, each on 100 and more random instances.

Proofs, controls and counterexamples run in test_theorems.py, for the whole registry.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from symtheory.engine.model import with_decay
from symtheory.engine.operators import dense_hessian, gradient
from symtheory.errors import SymtheoryError
from symtheory.spec import flatten, sign_flip
from symtheory.theorems import theorem
from symtheory.theorems.instances import KINDS, NETWORKS, abstract, generator_of
from symtheory.theorems.mirror_constraint import (
    COROLLARY,
    GRADIENT,
    PREFERENCE,
    STATIONARY,
    THRESHOLD,
    critical_decay,
    decay_threshold,
    optimizer_table,
    shifted,
    uniform_threshold,
)
from symtheory.theorems.mirror_constraint.corollary import KEEPERS, OPTIMIZERS, leaves
from symtheory.theorems.mirror_constraint.definitions import check_mirror
from symtheory.theorems.mirror_constraint.family import check_family
from symtheory.theorems.mirror_constraint.gradient import SLOPE_TOLERANCE, normal_gradient
from symtheory.theorems.mirror_constraint.landscapes import double_well, minima, waves
from symtheory.theorems.mirror_constraint.permutation import permutation_family
from symtheory.theorems.mirror_constraint.preference import check_uniform
from symtheory.theorems.mirror_constraint.rescaling import rescaling_family, scalar_pair_threshold
from symtheory.theorems.mirror_constraint.rotation import _rotation_actions, double_rotation_family, rotation_family
from symtheory.theorems.mirror_constraint.stationary import check_rank_condition
from symtheory.theorems.mirror_constraint.threshold import farthest_minimum
from tests.oracles import obeys
from tests.strategies import instances, seeds, shapes

GENERIC = ("simple", "basis", "projection", "rotation", "double rotation")


# --- laws on random instances, 100 and more each -------------------------------------------------------------------


@pytest.mark.claim("A.D1", role="verify")
@given(instances(("simple",)))
def test_simple_mirrors(instance):
    assert obeys(check_mirror(instance))


@pytest.mark.claim("A.D2", role="verify")
@given(instances())
def test_mirrors(instance):
    assert obeys(check_mirror(instance))


@pytest.mark.claim("A.D3", role="verify")
@given(instances())
def test_mirrors_are_stationary_conditions_of_sgd(instance):
    assert obeys(STATIONARY.check(instance))


@pytest.mark.claim("A.D3", role="verify")
@given(seeds)
def test_low_rank_is_a_nonlinear_stationary_condition(seed):
    assert obeys(check_rank_condition(seed))


@pytest.mark.claim("A.T1.1", role="verify")
@given(instances())
@example(abstract("basis", 554981, {"u": (1, 2), "w": (2, 3), "b": (2,)}, 2))  # hardly any gradient along the mirror
def test_no_gradient_across_the_mirror(instance):
    assert obeys(GRADIENT.check(instance))


@pytest.mark.claim("A.C1", role="verify")
@given(instances())
@example(NETWORKS["convolution, two filters exchanged"](4294967295))  # diverges at the usual learning rate
def test_training_stays_on_the_mirror(instance):
    assert obeys(COROLLARY.check(instance))


@pytest.mark.claim("A.C1", role="control")
@given(st.sampled_from(GENERIC), seeds, st.sampled_from(["AdamW", "RMSprop"]))
def test_adaptive_optimisers_leave_generic_mirrors(kind, seed, name):
    assert leaves(abstract(kind, seed), name) > 1e-5


@pytest.mark.claim("A.C1", role="control", subject="gradient descent")
@given(st.sampled_from(("simple", "basis", "projection")), seeds)
def test_a_learning_rate_per_layer_leaves_mirrors_across_layers(kind, seed):
    def layerwise(tensors, optimizer, step):
        tensors[0].grad.mul_(3)

    assert leaves(abstract(kind, seed), "SGD", perturb=layerwise) > 1e-5


@pytest.mark.claim("A.C1", role="verify")
def test_the_optimizer_table():
    table = optimizer_table(0)
    assert set(table) == set(OPTIMIZERS)
    for name, row in table.items():
        for kind in KINDS:
            assert row[kind].holds == (name in KEEPERS or kind not in GENERIC), (name, kind, row[kind])


@pytest.mark.claim("A.T1.3", role="verify")
@given(instances())
def test_the_projection_wins_exactly_above_its_threshold(instance):
    assert obeys(PREFERENCE.check(instance))


@pytest.mark.claim("A.T1.3", role="verify")
@given(instances(KINDS[:-1]))
def test_symmetry_keeps_the_threshold_bounded_at_the_mirror(instance):
    assert obeys(check_uniform(instance))


@pytest.mark.claim("A.T1.4", role="verify")
@given(st.sampled_from(KINDS), seeds)
@example("rotation", 317929)  # three searches end a little early
def test_every_minimum_is_on_the_mirror_above_the_threshold(kind, seed):
    landscape = waves(kind, seed)
    found = farthest_minimum(landscape, 1.02 * uniform_threshold(landscape.lambda_min))
    assert found < 1e-7


@pytest.mark.claim("A.T1.4", role="verify")
@pytest.mark.parametrize("depth", [0.5, 1.5, 4.0])
def test_the_threshold_of_the_double_well_is_exact_from_both_sides(depth):
    well = double_well(3, depth)
    assert farthest_minimum(well, 1.001 * depth / 2) < 1e-7
    assert farthest_minimum(well, 0.999 * depth / 2) == pytest.approx((0.001 * depth) ** 0.5, rel=1e-3)
    assert critical_decay(well.loss, well.params, None, well.mirror) == pytest.approx(depth / 2, rel=1e-9)


@pytest.mark.claim("A.T1.4", role="verify")
@pytest.mark.parametrize("y", [1.0, -0.5, 2.0])
def test_the_threshold_of_a_scalar_pair_is_its_target(y):
    assert scalar_pair_threshold(y, factor=1.05) < 1e-3
    assert scalar_pair_threshold(y, factor=0.9) == pytest.approx((0.1 * abs(y)) ** 0.5, rel=1e-6)


def test_waves_have_many_minima_without_decay():
    """Or the threshold test would be empty: the landscape must have minima off the mirror to begin with."""
    landscape = waves("basis", 0)
    assert farthest_minimum(landscape, 1e-3) > 0.1
    assert len(minima(landscape.loss, landscape.params, torch.Generator().manual_seed(0))) > 1


def test_minima_are_minima():
    landscape = waves("basis", 4)
    found = minima(landscape.loss, landscape.params, torch.Generator().manual_seed(1), starts=6)
    assert found
    for point in found:
        assert float(flatten(gradient(landscape.loss, point, None)).norm()) < 1e-7
        assert float(torch.linalg.eigvalsh(dense_hessian(landscape.loss, point, None))[0]) > -1e-9
    sloping = minima(lambda p, _: p["w"].sum(), {"w": torch.zeros(2).double()}, torch.Generator().manual_seed(0))
    assert sloping == []


@pytest.mark.claim("A.T2", role="verify")
@given(seeds)
def test_rescaling(seed):
    assert obeys(check_family(rescaling_family(seed)))


@pytest.mark.claim("A.T3", role="verify")
@given(seeds, st.sampled_from([rotation_family, double_rotation_family]))
def test_rotation(seed, make):
    assert obeys(check_family(make(seed)))


def test_rotations_come_with_both_determinants():
    proper, improper = _rotation_actions(generator_of(0), 4)
    assert torch.linalg.det(proper) == pytest.approx(1.0)
    assert torch.linalg.det(improper) == pytest.approx(-1.0)


@pytest.mark.claim("A.T4", role="verify")
@given(seeds)
def test_permutation(seed):
    assert obeys(check_family(permutation_family(seed)))


# --- thresholds as tools ---------------------------------------------------------------------------------------------


@given(st.sampled_from(KINDS), seeds, shapes)
def test_the_critical_decay_is_where_the_mirror_becomes_stable(kind, seed, layout):
    i = abstract(kind, seed, layout)
    point, x = i.mirror.symmetrize(i.params), i.samples[0]
    gamma = critical_decay(i.loss, i.params, x, i.mirror)
    n = i.mirror.random_normal(torch.Generator().manual_seed(seed))
    near = {k: p + 1e-3 * n[k] if k in n else p for k, p in point.items()}
    assert decay_threshold(i.loss, i.mirror, near, x) <= gamma + 1e-5  # the steepest normal is the critical one


@given(instances())
def test_the_threshold_of_a_point_separates_winners_from_losers(instance):
    """Independent of the check: at the threshold both points have the same regularised loss."""
    x = instance.samples[0]
    gamma = decay_threshold(instance.loss, instance.mirror, instance.params, x)
    projected = instance.mirror.symmetrize(instance.params)
    values = [float(with_decay(instance.loss, gamma)(p, x)) for p in (instance.params, projected)]
    assert values[0] == pytest.approx(values[1], rel=1e-10, abs=1e-9)


def test_convex_losses_need_no_decay():
    assert uniform_threshold(3.0) == 0.0
    assert uniform_threshold(-3.0) == 1.5


def test_a_loss_that_is_only_even_is_not_rescaling_invariant():
    """Gradient and threshold alone would pass it; the invariance must be measured."""
    family = rescaling_family(0)
    even = replace(family, loss=lambda p, x: family.loss(p, x) + p["u"].square().sum() ** 2)
    assert not check_family(even)


def test_a_kink_is_seen_by_differences_only():
    """At zero autograd takes the slope of |w| to be 0."""
    mirror, zero = sign_flip({"w": ()}, ["w"]), {"w": torch.tensor(0.0, dtype=torch.float64)}
    seen = normal_gradient(lambda p, _: p["w"].abs(), mirror, zero, (None,), generator_of(0))
    assert seen * SLOPE_TOLERANCE == pytest.approx(1.0)


def test_a_small_gradient_across_the_mirror_is_seen():
    """A millionth of a slope is far above rounding, though a difference of losses would hide it."""
    i = abstract("basis", 5)
    n = i.mirror.random_normal(generator_of(1))
    tilted = replace(i, loss=lambda p, x: i.loss(p, x) + 1e-8 * sum((n[k] * p[k]).sum() for k in n))
    assert not GRADIENT.check(tilted).holds


@pytest.mark.parametrize("t", [1.0, 10.0, 100.0])
def test_a_product_has_no_global_curvature_bound(t):
    """(u w - y)^2 at (t, -t): lowest eigenvalue -2 t^2 - 2 y, so Assumption 1 of Theorem 1.4 fails."""
    point = {"u": torch.tensor([t]).double(), "w": torch.tensor([-t]).double()}
    hessian = dense_hessian(lambda p, _: ((p["u"] * p["w"] - 0.5) ** 2).sum(), point, None)
    assert float(torch.linalg.eigvalsh(hessian)[0]) == pytest.approx(-2 * t**2 - 1, rel=1e-12)


def test_thresholds_refuse_points_on_the_mirror():
    i = abstract("basis", 63)
    with pytest.raises(SymtheoryError, match="a point off the mirror"):
        decay_threshold(i.loss, i.mirror, i.mirror.symmetrize(i.params), i.samples[0])
    with pytest.raises(SymtheoryError, match="a point off the mirror"):
        decay_threshold(lambda p, _: p["w"] ** 2, sign_flip({"w": ()}, ["w"]), {"w": torch.tensor(0.0)}, None)


def test_unknown_claims_are_refused():
    with pytest.raises(SymtheoryError, match=r"a claim among A\.D1"):
        theorem("A.T9")
    assert theorem("a.t1.1") is GRADIENT
    assert THRESHOLD.claim.verdict == "holds as corrected"


@pytest.mark.claim("A.T3", role="verify")
def test_decay_tells_a_residual_connection_from_a_start():
    assert shifted.distance_of_residual(0.0) < 1e-12
    assert shifted.distance_of_residual(0.05) > 1e-2


@pytest.mark.claim("A.T2", role="verify")
def test_decay_tells_a_bias_from_a_start():
    assert shifted.distance_of_bias(0.0) < 1e-12
    assert shifted.distance_of_bias(0.05) > 1e-4
