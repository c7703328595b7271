"""The tools for equivariant networks: what they accept, what they say, and whether training agrees."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from symtheory.equivariant import (
    diagnose,
    group_of,
    recover_representation,
    relax_plan,
    representation_of,
    suggest,
    tying_leaks,
)
from symtheory.equivariant.network import EquivariantMLP
from symtheory.equivariant.plan import weight_action
from symtheory.errors import SymtheoryError
from symtheory.spec import group_families as gf
from symtheory.spec import gsets
from symtheory.spec import representations as reps
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.params import flatten, params_of

S3, S4, D4, Q8 = gf.symmetric(3), gf.symmetric(4), gf.dihedral(4), gf.quaternion()
PI3, ONE, POINTS = reps.natural(S3), reps.trivial(S3), gsets.natural(S3)
FREE = frozenset({0})


def barriers(group, rep_in, rep_out, **options):
    """Orders of the stabilisers of the transitive blocks with a barrier."""
    found = diagnose(group, rep_in, [h[0] for h in group.subgroup_classes], rep_out, **options)
    return [len(b.stabilizer) for b in found.blocks if b.barrier]


def printed(report):
    console = Console(width=200)
    with console.capture() as shown:
        console.print(report)
    return shown.get()


def test_known_barriers():
    assert barriers(S3, PI3, ONE) == [2]
    assert barriers(S3, PI3, PI3) == []
    assert barriers(S3, PI3, ONE, activation="odd") == []
    assert barriers(S3, PI3, ONE, activation="relu", bias=False) == [2]
    assert barriers(S4, reps.natural(S4), reps.trivial(S4)) == [2, 3, 6]
    assert barriers(D4, reps.regular(D4), reps.trivial(D4)) == []
    assert barriers(Q8, reps.regular(Q8), reps.trivial(Q8)) == []


def test_groups_and_representations_as_users_have_them():
    """Generators as permutations or as matrices, and stabilisers or a set of units, give one answer."""
    images = [[1, 0, 2], [1, 2, 0]]
    group = group_of(images)
    matrices = [torch.eye(3)[[r.index(k) for k in range(3)]] for r in images]
    pair = next(h for h in group.subgroups if len(h) == 2)
    one = [torch.ones(1, 1)] * 2
    answers = [
        diagnose(group, images, [pair], one),
        diagnose(group, matrices, [pair], [[0], [0]]),
        diagnose(group, reps.natural(group), gsets.coset_space(group, pair), reps.trivial(group)),
    ]
    assert {a.barrier for a in answers} == {True}
    assert len({a.blocks[0].chances for a in answers}) == 1
    assert group_of(matrices).order == 6
    skew = reps.random_equivalent(PI3, torch.Generator().manual_seed(0), 0.7)
    assert diagnose(S3, skew, POINTS, ONE).barrier


def test_the_report_says_what_it_found():
    pair, rotations = S3.subgroup_classes[1][0], S3.subgroup_classes[2][0]
    found = diagnose(S3, PI3, [pair, pair, rotations, FREE], ONE)
    text, page = printed(found), found._repr_html_()
    for shown in (text, page):
        assert "blocks 0, 1 (3 units): barrier" in shown
        assert "block 2 (2 units): some units always coincide; it computes what a block of 1 does" in shown
        assert "6 units, stabiliser of order 1, contains its functions and has no barrier" in shown
    assert "BARRIER" in text and page.count("<tr>") == 5
    assert found.blocks[2].redundant and not found.blocks[0].redundant
    assert len(found.warnings) == 3 and "barrier in blocks [0, 1]" in repr(found)
    assert found.complete and len(found.flats) == len(found.layer.flats())
    quiet = diagnose(S3, PI3, [FREE], ONE)
    assert quiet.warnings == () and "no barrier" in repr(quiet) and quiet.odds == 1.0


def test_the_odds_of_several_blocks():
    pair = S3.subgroup_classes[1][0]
    for k in (1, 2, 3):
        found = diagnose(S3, PI3, [pair] * k, ONE, samples=20_000)
        assert found.odds == pytest.approx(1 - 0.5**k, abs=0.02)
    tilted = diagnose(
        S3, PI3, [pair], ONE, start=lambda g, n: torch.randn(n, 3, generator=g) + torch.tensor([9.0, 0, 0])
    )
    assert max(tilted.blocks[0].chances) > 0.99 and sum(tilted.blocks[0].chances) == pytest.approx(1.0)


def test_many_flats_are_left_to_pairs():
    found = diagnose(S3, PI3, [FREE] * 3, ONE, limit=50)
    assert not found.complete and len(found.flats) > 5
    assert "that two units generate" in repr(found)
    whole = {f.labels for f in diagnose(S3, PI3, [FREE] * 2, ONE).flats}
    assert {f.labels for f in diagnose(S3, PI3, [FREE] * 2, ONE, limit=5).flats} < whole


def test_suggested_blocks_contain_the_functions():
    """The block of the suggestion, with its units shared as in the old block, is the old block."""
    pair = S3.subgroup_classes[1][0]
    layer = HiddenLayer(PI3, gsets.coset_space(S3, pair), ONE)
    (better,) = suggest(layer)
    assert (better.units, better.times, better.parameters) == (6, 2, 5)
    large = HiddenLayer(PI3, gsets.coset_space(S3, better.stabilizer), ONE)
    assert layer.dims(layer.units) in [(f.dim_in, f.dim_bias, f.dim_out) for f in large.flats()]
    assert not diagnose(S3, PI3, [better.stabilizer], ONE).barrier


def naive(t, units=3):
    one, eye = torch.ones(units).double(), torch.eye(units).double()
    return t[0] * eye + t[1] * (1 - eye), t[2] * one, t[3] * one[None]


def balanced(t, units=3):
    """As many entries for each number: scaled to the same norm."""
    w, b, a = naive(torch.stack([t[0], t[1] / 2**0.5, t[2], t[3]]), units)
    return w, b, a


def test_tied_entries_leak_and_orthonormal_coordinates_do_not():
    layer = HiddenLayer(PI3, POINTS, ONE)
    (leak,) = tying_leaks(layer, naive, 4)
    # (3, 6) against (1, 2) in units of the norms: sqrt(2) / 6
    assert leak.size == pytest.approx(2**0.5 / 6) and leak.flat.codim == (1, 0, 0)
    assert tying_leaks(layer, balanced, 4) == ()
    model = EquivariantMLP(PI3, [POINTS], ONE, dtype=torch.float64)
    one, two = model.linears

    def own(t):
        w, b, a = t.split([2, 1, 1])
        return one.weight_space(w), one.bias_space(b)[:, 0], two.weight_space(a)

    assert tying_leaks(layer, own, 4) == ()


def trained(seed, x, y, steps=4000):
    """Gradient descent within the constraint, then a second-order finish."""
    model = EquivariantMLP(
        PI3, [POINTS], ONE, nn.GELU(), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    for _ in range(steps):
        model.zero_grad()
        ((model(x) - y) ** 2).mean().backward()
        with torch.no_grad():
            for p in model.parameters():
                assert p.grad is not None
                p -= 0.05 * p.grad
    finish = torch.optim.LBFGS(
        model.parameters(), max_iter=3000, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure():
        finish.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        return loss

    finish.step(closure)
    return model


@pytest.fixture(scope="module")
def inputs():
    """Data closed under the group."""
    g = torch.Generator().manual_seed(0)
    half = torch.randn(20, 3, generator=g, dtype=torch.float64)
    return torch.cat([half @ m.T for m in PI3.matrices])


@pytest.fixture(scope="module")
def task(inputs):
    """A teacher of the same form as the nets."""
    return inputs, taught(inputs, 60.0)


def taught(x, psi, size=2.5):
    """Answers of three units whose weights are a mean and a part that tells the inputs apart, mixed by an angle."""
    mean, apart = size * math.cos(math.radians(psi)), size * math.sin(math.radians(psi))
    eye, third = torch.eye(3).double(), torch.full((3, 3), 1 / 3).double()
    weight = mean * third + apart * (eye - third) / 2**0.5
    return 2 * nn.functional.gelu(x @ weight.T).sum(dim=1, keepdim=True)


def mean_square(net, x, y):
    return ((net(x) - y) ** 2).mean()


def lowered(model, subgroup, x, y, bend):
    """What momentum gains after relaxing to a subgroup, from a small random kick, relative to the loss before."""
    free = model.relax(subgroup)
    before = float(mean_square(free, x, y))
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in free.parameters():
            p += 1e-2 * torch.randn(p.shape, generator=g, dtype=p.dtype)
    rate = torch.optim.SGD(free.parameters(), lr=1 / bend, momentum=0.9)
    for _ in range(2000):
        rate.zero_grad()
        mean_square(free, x, y).backward()
        rate.step()
    return 1 - float(mean_square(free, x, y)) / before


@pytest.mark.parametrize(
    ("psi", "size", "start", "expected"),
    [
        (60.0, 2.5, 0, ["escapes", "escapes", "escapes"]),
        (45.0, 2.5, 4, ["escapes", "stays", "escapes"]),
        (30.0, 2.5, 0, ["stays", "undecided", "undecided"]),
        (110.0, 2.5, 4, ["stays", "stays", "stays"]),
    ],
)
def test_the_plan_foretells_what_relaxing_does(inputs, psi, size, start, expected):
    """Trapped nets, and the subgroups of order 3, 2 and 1: on the wall and off it, saddles and a strict minimum."""
    x, y = inputs, taught(inputs, psi, size)
    model = trained(start, x, y, steps=1000)
    assert float(mean_square(model, x, y)) > 1e-3 * float(y.var())
    plan = relax_plan(model, partial(mean_square, x=x, y=y))
    assert plan.at_rest and plan.stays_critical
    assert [way.outcome for way in plan.relaxations] == expected
    assert plan.helps == ("escapes" in expected)
    if plan.recommended is not None:
        assert len(plan.recommended.subgroup) == 3
    for way in plan.relaxations:
        if way.outcome != "undecided":
            gain = lowered(model, way.subgroup, x, y, max(c.highest for c in plan.components))
            assert (gain > 0.02) == way.escapes, (way, gain)


def test_components_are_the_spectrum_of_the_whole_hessian(task):
    x, y = task
    model = trained(0, x, y, steps=300)
    plan = relax_plan(model, partial(mean_square, x=x, y=y))
    action = weight_action(model)
    free = model.relax()
    point = flatten({k: p.detach() for k, p in params_of(free).items()})
    torch.testing.assert_close(action.reynolds(frozenset(range(6))) @ point, point)
    assert sum(c.dim for c in plan.components) == len(point) == action.dim
    inside, *rest = plan.components
    assert inside.trivial and inside.dim == sum(p.numel() for p in model.parameters())
    assert not any(c.trivial for c in rest)
    assert plan.relaxations[-1].dim == len(point)
    assert min(c.lowest for c in rest) == pytest.approx(plan.relaxations[-1].lowest)


def test_the_plan_sees_what_is_not_at_rest_or_not_invariant(task):
    x, y = task
    fresh = EquivariantMLP(PI3, [POINTS], ONE, nn.GELU(), dtype=torch.float64)
    plan = relax_plan(fresh, partial(mean_square, x=x, y=y))
    assert not plan.at_rest and "train on" in plan.verdict
    model = trained(0, x[:20], y[:20])
    plan = relax_plan(model, partial(mean_square, x=x[:20], y=y[:20]))
    assert plan.at_rest and not plan.stays_critical and plan.helps and "not invariant" in plan.verdict
    assert "not invariant" in plan._repr_html_() and "constrained space" in plan._repr_html_()
    assert "Hessian by isotypic component" in printed(plan)


LAYER = HiddenLayer(PI3, POINTS, ONE)

BAD = {
    "single precision": (lambda: group_of([torch.tensor([[0.5, -0.8], [0.8, 0.5]])]), "matrices in double precision"),
    "fractions": (lambda: group_of([(1.5, 0, 2)]), "whole numbers"),
    "curved": (lambda: tying_leaks(LAYER, lambda t: naive(t**3), 4), "linear in the tied numbers"),
    "a loss of another net": (
        lambda: relax_plan(EquivariantMLP(PI3, [POINTS], ONE), lambda net: torch.ones(())),
        "a loss of the network that it is given",
    ),
    "no generators": (lambda: diagnose([], [], [FREE], []), "at least one generator"),
    "no permutation": (lambda: group_of([(0, 0, 1)]), "permutations of 0..m-1"),
    "different degree": (lambda: group_of([(1, 0), (1, 2, 0)]), "all of one degree"),
    "matrices of two sizes": (lambda: group_of([torch.eye(2), torch.eye(3)]), "square matrices of one size"),
    "too large": (lambda: group_of([(1, 0, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 0)]), "a group of order at most 2000"),
    "no representation": (lambda: diagnose(S3, [torch.eye(2), -torch.eye(2)], [FREE], ONE), "rho"),
    "too few matrices": (lambda: diagnose(S3, [torch.eye(2)], [FREE], ONE), "2 matrices or permutations"),
    "sizes": (lambda: diagnose(S3, [torch.eye(2), torch.eye(3)], [FREE], ONE), "square matrices of one size"),
    "no action": (lambda: diagnose(S3, [[1, 2, 0], [1, 2, 0]], [FREE], ONE), "an action"),
    "other group": (lambda: diagnose(S3, reps.natural(S4), [FREE], ONE), "a representation of S_3"),
    "other units": (lambda: diagnose(S3, PI3, gsets.natural(S4), ONE), "units of S_3"),
    "no subgroup": (lambda: diagnose(S3, PI3, [frozenset({1, 2})], ONE), "a subgroup of S_3"),
    "no block": (lambda: diagnose(S3, PI3, [], ONE), "at least one block"),
    "activation": (lambda: diagnose(S3, PI3, [FREE], ONE, "tangent"), "an activation among"),
    "a network without a group": (lambda: EquivariantMLP([(1, 0, 2)], [POINTS], [(0,)]), "a group, got generators"),
    "a layer without a group": (
        lambda: recover_representation(torch.eye(3), torch.ones(1, 3), [(1, 0, 2)], [(0,)]),
        "a group, got generators",
    ),
    "tying": (
        lambda: tying_leaks(HiddenLayer(PI3, POINTS, ONE), lambda t: (t[0] * torch.ones(2, 2), t, t), 1),
        "shapes",
    ),
    "untied": (
        lambda: tying_leaks(LAYER, lambda t: (t[:9].view(3, 3), t[9:12], t[12:][None]), 15),
        "equivariant weights",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    call, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        call()


def test_arrays_and_nested_lists_are_matrices():
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    assert group_of([turn]).order == group_of([turn.tolist()]).order == 4
    assert diagnose([turn], [turn], [FREE], [[[1.0]]]).blocks[0].units == 4


def test_networks_and_weights_are_given_like_layers_to_diagnose():
    sensors, answer, block = POINTS.images[list(S3.generators)].tolist(), [(0,), (0,)], S3.subgroup_classes[1][0]
    net = EquivariantMLP(sensors, [[block, FREE]], answer, nn.GELU(), group=S3, dtype=torch.float64)
    assert net.hidden[0].size == 9 and EquivariantMLP(PI3, POINTS, ONE).hidden == (POINTS,)
    (w, b), (a, _) = net.dense()
    found = recover_representation(w, a, sensors, answer, group=S3, bias=b, activation=nn.GELU())
    assert found.relation(net.hidden[0]) == "same"


def test_activations_are_known_by_name_and_by_module():
    block = S3.subgroup_classes[1]
    barriers = {s: diagnose(S3, PI3, [block[0]], ONE, s).barrier for s in ("generic", "odd", "relu", "silu", "Sigmoid")}
    assert barriers == {"generic": True, "odd": False, "relu": True, "silu": True, "Sigmoid": False}
    modules = [nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.ReLU(), nn.LeakyReLU()]
    assert [diagnose(S3, PI3, [block[0]], ONE, m).activation for m in modules] == ["odd"] * 2 + ["generic"] + [
        "relu"
    ] * 2


def test_an_output_bias_makes_a_sigmoid_odd():
    """s(-z) = 1 - s(z): the net turned round is the same but for the sum of its output weights."""
    model = EquivariantMLP(PI3, [POINTS], ONE, nn.Sigmoid(), dtype=torch.float64)
    (w, b), (a, c) = model.dense()
    turned = copy.deepcopy(model)
    turned.load_dense([(-w, -b), (-a, c + a.sum(1))])
    x = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(turned(x), model(x))


def test_matrices_that_are_not_orthogonal_are_named():
    skew = torch.tensor([[1.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    with pytest.warns(UserWarning, match="not orthogonal"):
        found = representation_of([skew], group_of([skew]))
    assert found.is_orthogonal


def test_printing_a_report_shows_its_table_and_its_advice():
    report = diagnose(S3, PI3, [S3.subgroup_classes[1][0]], ONE)
    assert "BARRIER" in str(report) and "a block of 6 units" in str(report).replace("\n", " ")


def test_many_equal_blocks_have_the_flats_of_two():
    """More congruences than are listed: two blocks of each kind stand for all."""
    few, many = (diagnose(S3, PI3, [FREE] * k, ONE, limit=30) for k in (2, 12))
    assert not few.complete and not many.complete
    assert sorted(f.codim for f in few.flats) == sorted(f.codim for f in many.flats)


def test_a_block_that_computes_nothing_is_named():
    found = diagnose(S3, PI3, [FREE], [torch.ones(1, 1)] * 2)
    assert found.warnings == ()
    signs = [torch.tensor([[-1.0 if S3.element_orders[g] == 2 else 1.0]]) for g in S3.generators]
    mute = diagnose(S3, PI3, [S3.subgroup_classes[1][0]], signs)
    assert not mute.barrier and mute.warnings == (
        "block 0 (3 units): no output weights are allowed, so it computes nothing",
    )


def test_single_precision_networks_can_be_planned(task):
    x, y = (t.float() for t in task)
    model = EquivariantMLP(PI3, [POINTS], ONE, nn.GELU())
    assert "train on" in relax_plan(model, partial(mean_square, x=x, y=y)).verdict


def test_a_network_too_large_for_a_plan_is_refused():
    s5 = gf.symmetric(5)
    model = EquivariantMLP(reps.natural(s5), [gsets.coset_space(s5, frozenset({0}))] * 2, reps.trivial(s5))
    with pytest.raises(SymtheoryError, match=r"at most 1290 full weights for a group of order 120, got 15361"):
        relax_plan(model, lambda net: net(torch.zeros(1, 5)).sum())
