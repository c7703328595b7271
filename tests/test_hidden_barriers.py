"""Laws of walls: what separates, which sides are equivalent, what leads away once relaxed, where inputs stay equal.

Proofs, checks on fixed seeds and controls run in test_theorems.py, for the whole registry.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from symtheory.spec import group_families as gf
from symtheory.spec import representations as reps
from symtheory.spec.gsets import coset_space
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.signed import for_odd
from symtheory.spec.walls import chambers, walls
from symtheory.theorems.hidden_subspaces.bank import (
    GROUPS,
    abelian_groups,
    blocks,
    ends,
    irreducibles,
    random_sum,
    walled,
)
from symtheory.theorems.hidden_subspaces.barrier import BARRIER, three_blocks
from symtheory.theorems.hidden_subspaces.crossings import (
    SLOPE_TOLERANCE,
    best_on_side,
    crossing,
    descent_crossings,
    flow_error,
    slope_on_wall,
    three_units,
    walled_problem,
)
from symtheory.theorems.hidden_subspaces.escape import (
    ESCAPE,
    KINDS,
    invariant_problem,
    misjudged,
    polished,
    trap,
    uneven,
)
from symtheory.theorems.hidden_subspaces.listing import differences, distinct, exchange_error, listing
from symtheory.theorems.hidden_subspaces.local import LOCAL, Case, flip_error, output_after, with_relu
from symtheory.theorems.hidden_subspaces.pairing import drift, is_paired, pairs, pentagon, silent_wall
from symtheory.theorems.hidden_subspaces.problems import SMOOTH, averaged_over_group, problem, taught
from symtheory.theorems.hidden_subspaces.rows import harmful_counts, row, table
from symtheory.theorems.hidden_subspaces.sides import SIDES
from symtheory.theorems.hidden_subspaces.three import Three, expansion_error, saddle_error
from symtheory.theorems.instances import generator_of, normal
from tests.oracles import obeys
from tests.strategies import seeds

WALLED = [name for name in GROUPS if walled(name)]
WHOLE_PENTAGON = frozenset(range(10))


# --- a wall is not crossed ------------------------------------------------------------------------------------------


@pytest.mark.claim("C.H5", role="verify")
@given(st.sampled_from(WALLED), seeds)
@settings(max_examples=25)
def test_there_is_no_slope_across_a_wall(name, seed):
    c = walled_problem(name, seed)
    assert slope_on_wall(c, seed) < SLOPE_TOLERANCE
    assert slope_on_wall(c, seed, c.problem.units_apart) > SLOPE_TOLERANCE


@pytest.mark.claim("C.H5", role="verify")
@given(st.sampled_from(WALLED), seeds)
@settings(max_examples=15)
def test_a_step_below_the_bound_keeps_the_side_and_one_beyond_twice_the_mean_does_not(name, seed):
    c = walled_problem(name, seed)
    assert descent_crossings(c, seed, factor=0.999) == 0
    theta = normal(generator_of(seed), c.problem.dim)
    bend = float(c.mean_curvature(theta))
    if bend > 1e-3:
        for factor in (0.9, 1.1):
            step = theta - factor / bend * torch.func.grad(c.problem.loss)(theta)
            assert float(c.height(step) / c.height(theta)) == pytest.approx(1 - factor, abs=1e-3)


@pytest.mark.claim("C.H5", role="verify")
@given(st.sampled_from(WALLED), seeds)
@settings(max_examples=3)
def test_the_flow_decays_or_grows_at_the_mean_curvature(name, seed):
    assert obeys(BARRIER.check(walled_problem(name, seed)))


@pytest.mark.claim("C.H5", role="verify")
def test_momentum_crosses_where_descent_does_not():
    """Where the wall attracts, the height is a damped oscillator."""
    c = crossing(problem(three_units(), 3, square=True))
    slope, start = torch.func.grad(c.problem.loss), 0.3 * c.normal
    crossed = {}
    for inertia in (0.0, 0.99):
        theta, speed, sides = start, torch.zeros_like(start), set()
        for _ in range(500):
            speed = inertia * speed - 0.05 * slope(theta)
            theta = theta + speed
            sides.add(float(c.height(theta)) > 0)
        crossed[inertia] = len(sides) == 2
    assert crossed == {0.0: False, 0.99: True}


def on_the_right_side(layer, seed, normal_of=crossing):
    """A problem whose targets come from a net of the same layer, two units away from its wall, and that wall."""
    c = normal_of(problem(layer, seed, samples=60))
    theta = c.foot(normal(generator_of(seed), c.problem.dim)) + 2 * c.normal
    return replace(c, problem=taught(c.problem, c.problem, theta))


@pytest.mark.claim("C.H5", role="verify")
@pytest.mark.parametrize("seed", range(2))
def test_the_wrong_side_is_worse_and_training_that_starts_there_stays_above_its_infimum(seed):
    c = on_the_right_side(three_units(), seed)
    (right, _), (wrong, where) = best_on_side(c, 1.0), best_on_side(c, -1.0)
    assert right < 1e-3 * wrong
    slope = torch.func.grad(c.problem.loss)
    for k in range(2):
        theta = normal(generator_of(k), c.problem.dim)
        theta = theta if float(c.height(theta)) < 0 else theta - 2 * c.height(theta) * c.normal
        for _ in range(300):
            theta = theta - 0.02 * slope(theta)
        assert float(c.height(theta)) < 0
        assert float(c.problem.loss(theta)) > wrong * (1 - 1e-6)
    assert float(c.height(where)) <= 1e-9


@pytest.mark.claim("C.H5", role="verify")
@pytest.mark.parametrize("seed", range(3))
def test_with_decay_the_best_of_the_wrong_side_is_critical_on_the_wall_or_off_it(seed):
    c = on_the_right_side(three_units(), seed)
    _, where = best_on_side(c, -1.0, decay=0.01)
    slope = torch.func.grad(lambda v: c.problem.loss(v) + 0.005 * v @ v)(where)
    assert float(slope.norm()) < 1e-5


@pytest.mark.claim("C.H5", role="control", subject="separated infimum")
@given(seeds)
@settings(max_examples=10)
def test_three_blocks_on_the_wrong_side_are_one_on_the_right_side(seed):
    error, heights = three_blocks(seed)
    assert error < 1e-12
    assert heights[0] == pytest.approx(1) and max(heights[1:]) < 1e-12


# --- harmless and harmful -------------------------------------------------------------------------------------------


@pytest.mark.claim("C.H6", role="verify")
@pytest.mark.parametrize("name", GROUPS)
def test_walls_chambers_and_orbits_are_those_of_all_automorphisms(name):
    group, tried = GROUPS[name](), 0
    for pair in ends(group).values():
        for layer in blocks(group, *pair):
            if walls(layer):
                assert differences(problem(layer, 0)) == 0, layer.units
                tried += 1
    assert tried == len(walled(name))


@pytest.mark.claim("C.H6", role="verify")
@given(st.sampled_from(sorted(GROUPS)), seeds)
@example("D_5", 5)  # a wall that is no fixed-point subspace
@example("D_5", 9)  # a block without outputs
@example("C_4", 9)  # inputs that do not tell all units apart
@settings(max_examples=15)
def test_walls_are_right_for_random_inputs_and_outputs(name, seed):
    group = GROUPS[name]()
    layers = list(blocks(group, random_sum(group, seed), random_sum(group, seed + 1, 1)))
    layer = layers[seed % len(layers)]
    p = problem(distinct(layer), seed)
    assert differences(p) == 0
    whole, merged = chambers(layer), chambers(p.layer)
    assert (len(whole.walls), len(whole.signs), whole.orbits) == (len(merged.walls), len(merged.signs), merged.orbits)
    assert exchange_error(p) < SLOPE_TOLERANCE
    assert not bool((listing(p).flips.any(dim=0) & ~torch.tensor([w.exchanged for w in walls(p.layer)]).bool()).any())


@pytest.mark.claim("C.H6", role="verify")
def test_groups_in_which_all_subgroups_are_normal_have_no_harmful_walls():
    quaternion, count = gf.quaternion(), 0
    dedekind = [quaternion, *(gf.direct_product(quaternion, gf.cyclic(n)) for n in (2, 3))]
    for group in (*abelian_groups(24), *dedekind):
        for seed in range(3):
            every, harmful = harmful_counts(group, random_sum(group, seed), reps.trivial(group))
            assert harmful == 0, group
            count += every
    assert count > 100


@pytest.mark.claim("C.H6", role="verify")
def test_the_smallest_harmful_wall_needs_the_standard_representation_once():
    """Groups of order below six are abelian; of the two of order six only S_3 is not."""
    group = GROUPS["S_3"]()
    trivial, sign, standard = irreducibles(group)
    pair = group.subgroup_classes[1][0]
    for signs in range(2):
        for copies in range(3):
            for out in ([trivial], [trivial, sign], [trivial, standard]):
                rep_in = reps.direct_sum(trivial, *[sign] * signs, *[standard] * copies)
                layer = HiddenLayer(rep_in, coset_space(group, pair), reps.direct_sum(*out))
                assert row(layer).barrier == (copies == 1 and standard not in out)
                others = [x for x in blocks(group, rep_in, layer.rep_out) if len(x.units.stabilizer(0)) != 2]
                assert not any(row(x).barrier for x in others)


@pytest.mark.claim("C.H6", role="verify")
def test_the_rows_of_three_inputs():
    found = {(r.ends, r.units): (r.walls, r.visible, r.chambers, r.orbits) for r in table(["S_3"])}
    assert found["natural, trivial", 3] == (1, 0, 2, 2)
    assert found["natural, trivial", 6] == (3, 3, 6, 1)
    assert found["natural, natural", 3] == (0, 0, 1, 1)


@pytest.mark.claim("C.H6", role="verify")
def test_an_odd_activation_joins_orbits_of_chambers():
    joined = 0
    for name in ("S_3", "A_4", "S_4", "S_3xC_2"):
        for layer in walled(name):
            plain, odd = chambers(layer), chambers(for_odd(layer))
            assert len(plain.signs) == len(odd.signs) and len(odd.orbits) <= len(plain.orbits)
            joined += len(odd.orbits) < len(plain.orbits)
    assert joined >= 4
    assert not chambers(for_odd(three_units())).barrier


@pytest.mark.claim("C.H6", role="verify")
@pytest.mark.parametrize(("name", "units"), [("S_3", 3), ("A_4", 4)])
def test_targets_of_one_orbit_are_out_of_reach_from_the_other(name, units):
    group = GROUPS[name]()
    layer = next(x for x in blocks(group, *ends(group)["natural, trivial"]) if x.units.size == units)
    c = on_the_right_side(layer, 1)
    assert best_on_side(c, 1.0)[0] < 1e-3 * best_on_side(c, -1.0)[0]


@pytest.mark.claim("C.H6", role="verify")
def test_with_one_orbit_every_chamber_has_every_function():
    group = GROUPS["S_3"]()
    layer = next(iter(blocks(group, *ends(group)["natural, trivial"])))
    c = on_the_right_side(layer, 1)
    assert max(best_on_side(c, side)[0] for side in (1.0, -1.0)) < 1e-9


# --- relaxing -------------------------------------------------------------------------------------------------------


@pytest.mark.claim("C.H7", role="verify")
@pytest.mark.parametrize("decay", [0.02, 0.5])
def test_noise_escapes_exactly_where_a_block_has_a_negative_eigenvalue(decay):
    escapes = set()
    for seed, (name, block, end, _) in enumerate(KINDS[:4]):
        t = trap(invariant_problem(name, block, end, seed, decay))
        assert t.decided and misjudged(t) == 0
        escapes.add(t.predicts_escape)
    assert True in escapes if decay < 0.1 else False in escapes


@pytest.mark.claim("C.H7", role="verify")
@given(st.sampled_from(KINDS), seeds)
@settings(max_examples=10)
def test_the_trap_stays_critical_and_its_hessian_falls_apart(kind, seed):
    name, block, end, decay = kind
    t = trap(invariant_problem(name, block, end, seed, decay))
    assert t.slope < 1e-9 and t.mixing < 1e-9
    assert t.lowest[0] >= -1e-9  # a minimum within the constraint
    subgroups = [c[0] for c in t.problem.layer.group.subgroup_classes]
    if t.decided:
        assert all(t.opened_by(k) == (t.lowest_within(k) < 0) for k in subgroups)
    assert all(t.opened_by(k) for h in subgroups for k in subgroups if k <= h and t.opened_by(h))


@pytest.mark.claim("C.H7", role="verify")
def test_without_invariance_only_the_average_over_the_group_is_critical():
    broken = uneven(trap(invariant_problem("C_4", 0, "natural, natural", 0, 0.1)))
    assert broken.slope > 1e-3
    assert replace(broken, problem=averaged_over_group(broken.problem)).slope < 1e-9


@pytest.mark.claim("C.H7", role="verify")
def test_a_net_on_the_wrong_side_of_its_wall_leaves_or_stays_once_relaxed_as_predicted():
    base = replace(averaged_over_group(problem(three_units(), 2, samples=8)), decay=1e-3)
    c = crossing(base)
    right = c.foot(normal(generator_of(2), base.dim)) + 2 * c.normal
    c = replace(c, problem=taught(base, base, right))
    value, where = best_on_side(c, -1.0)
    t = polished(c.problem, where)
    assert float(c.height(t.theta)) < -1e-3 and value > 1.001 * best_on_side(c, 1.0)[0]
    assert t.slope < 1e-9 and t.decided and misjudged(t) == 0


@pytest.mark.claim("C.H7", role="verify")
def test_a_subgroup_that_fixes_nothing_in_the_negative_blocks_does_not_help():
    found = set()
    for seed in range(6):
        t = trap(invariant_problem("S_3", 1, "natural, trivial", seed, 0.02))
        found |= {
            (t.predicts_escape, t.opened_by(c[0])) for c in t.problem.layer.group.subgroup_classes if len(c[0]) < 6
        }
    assert (True, False) in found and (True, True) in found


# --- equal inputs ---------------------------------------------------------------------------------------------------


@pytest.mark.claim("C.H8", role="verify")
@given(st.integers(0, 10**6))
@settings(max_examples=5)
def test_equal_inputs_stay_equal_exactly_without_pairing(seed):
    assert all(obeys(LOCAL.check(Case("equal inputs", p, k))) for p, k in pairs(seed))


@pytest.mark.claim("C.H8", role="verify")
@given(st.sampled_from(sorted(SMOOTH)), seeds)
@settings(max_examples=15)
def test_the_sides_of_three_units_differ_first_in_the_cubic_term(name, seed):
    assert max(expansion_error(Three(problem(three_units(), seed, activation=name)), seed)) < 1e-9


@pytest.mark.claim("C.H8", role="verify")
@given(st.sampled_from(sorted(SMOOTH)), seeds)
@settings(max_examples=15)
def test_three_units_with_rich_outputs_have_a_saddle_and_a_linear_velocity(name, seed):
    hessian, speed = saddle_error(Three(problem(three_units("natural"), seed, activation=name)), seed)
    assert hessian < 1e-9 and speed < 1e-6  # c may nearly vanish


@pytest.mark.claim("C.H8", role="verify")
def test_rich_outputs_let_the_flow_cross():
    t = Three(problem(three_units("natural"), 1, square=True))
    axes, slope = t.axes, torch.func.grad(t.problem.loss)
    base = t.point(mu=0.7, beta=0.2, alpha=0.5, epsilon=1.0)
    velocity = -float(slope(base) @ axes["delta"])
    theta = base - 0.01 * torch.sign(torch.tensor(velocity)) * axes["delta"]
    before = float(theta @ axes["delta"])
    for _ in range(400):
        theta = theta - 1e-2 * slope(theta)
    assert before * float(theta @ axes["delta"]) < 0


@pytest.mark.claim("C.H8", role="verify")
@pytest.mark.parametrize("seed", range(3))
def test_the_pentagon_has_a_wall_that_is_no_fixed_point_subspace(seed):
    """The flat has codimension two, and yet the height over equal inputs keeps its sign."""
    layer = pentagon()
    assert [w.fixed for w in walls(layer)] == [False] and not is_paired(layer, WHOLE_PENTAGON)
    p = problem(layer, seed)
    assert drift(p, WHOLE_PENTAGON, seed) < 1e-12
    c = silent_wall(p, WHOLE_PENTAGON)
    assert flow_error(c, seed) < 1e-6 and descent_crossings(c, seed) == 0


@pytest.mark.claim("C.H8", role="verify")
def test_the_wrong_side_of_the_pentagon_is_worse():
    c = on_the_right_side(pentagon(), 0, lambda p: silent_wall(p, WHOLE_PENTAGON))
    assert best_on_side(c, 1.0)[0] < 1e-3 * best_on_side(c, -1.0)[0]


@pytest.mark.claim("C.H8", role="verify")
@pytest.mark.parametrize("seed", range(3))
def test_a_large_output_weight_keeps_its_sign_and_a_small_one_need_not(seed):
    p = with_relu(seed)
    start = Three(p).point(mu=0.8, beta=0.3, delta=0.4, alpha=-1.0)
    least, balance = output_after(p, start, steps=600)
    assert balance > 0 and least > 0.9 * balance**0.5
    assert output_after(p, Three(p).point(mu=1.0, beta=1.0, alpha=-0.05), steps=600)[0] < 0


@pytest.mark.claim("C.H8", role="verify")
@given(seeds)
@settings(max_examples=20)
def test_a_block_with_negative_output_does_not_beat_zero(seed):
    p, theta = with_relu(seed), normal(generator_of(seed), 4)
    theta[-1] = -theta[-1].abs()
    assert float(p.loss(theta)) >= float(p.loss(torch.zeros(4, dtype=torch.float64)))


@pytest.mark.claim("C.H8", role="verify")
@given(st.sampled_from(WALLED), seeds)
@settings(max_examples=15)
def test_an_odd_activation_exchanges_the_sides_of_every_wall(name, seed):
    c = walled_problem(name, seed)
    assert flip_error(replace(c.problem, activation=torch.tanh), seed) < 1e-12
    theta = normal(generator_of(seed), c.problem.dim)
    assert float(c.height(theta) * c.height(-theta)) < 0


def test_every_theorem_is_here():
    assert [t.claim.id for t in (BARRIER, SIDES, ESCAPE, LOCAL)] == ["C.H5", "C.H6", "C.H7", "C.H8"]
