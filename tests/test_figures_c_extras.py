"""Figures C1, C2, C4, C6c, C7, C8: batched programs follow plain loops; checks go red when the results are wrong."""

from math import sqrt

import pytest
import torch
import xarray as xr
from torch import nn
from torch.nn.functional import relu

from symtheory.engine.arccosine import Teacher
from symtheory.errors import SymtheoryError
from symtheory.figures import c1, c2, c4, c6c, c7, c8
from symtheory.figures.invariant_student import Weights, heights, natural_teacher, point_stabilizer
from symtheory.spec.congruences import generated
from symtheory.spec.representations import natural

IDS = {"C1": c1.C1(), "C2": c2.C2(), "C4": c4.C4(), "C6c": c6c.C6c(), "C7": c7.C7(), "C8": c8.C8()}


@pytest.fixture(scope="module")
def smoke():
    return {name: figure.run(figure.presets["smoke"]) for name, figure in IDS.items()}


def failing(name, result):
    return [v.statement for v in IDS[name].check(result) if not v.holds]


# --- C1


def test_every_copy_of_the_teacher_lies_on_its_own_copy_of_the_space_only():
    teacher = natural_teacher(c1.TIED.layer.group, 60.0)
    for i, p in enumerate(c1.COPIES):
        order = torch.argsort(torch.tensor(p))
        moved = Weights(teacher.first[order], teacher.bias, teacher.second[order])
        away = c1.distances(moved)
        assert float(away[i]) < 1e-12
        assert float(torch.cat([away[:i], away[i + 1 :]]).min()) > 0.1


def test_balancing_keeps_the_function():
    g = torch.Generator().manual_seed(0)
    w = Weights(torch.randn(3, 3, generator=g).double(), torch.zeros(3).double(), torch.randn(3, generator=g).double())
    x = torch.randn(50, 3, generator=g).double()
    even = c1.balanced(w)
    assert torch.allclose(even.outputs(x, relu), w.outputs(x, relu), atol=1e-12)
    assert torch.allclose(even.first.norm(dim=1), even.second.abs())


def test_the_plane_holds_its_three_networks(smoke):
    result = smoke["C1"]
    assert float(result["points"].sel(point="trapped").pipe(abs).max()) < 1e-12
    assert float(result["points"].sel(point="teacher", axis="y").pipe(abs)) < 1e-12
    near = result["loss"].interp(x=float(result["points"].sel(point="teacher", axis="x")), y=0.0)
    assert float(near) < 5e-3 < float(result["loss"].interp(x=float(result["wall"]), y=0.0))


def test_a_run_that_returns_to_its_copy_is_seen(smoke):
    wrong = smoke["C1"].copy(deep=True)
    wrong["copy"][:] = int(wrong["trap_distance"].argmin("which"))
    assert any("copy that they left" in s for s in failing("C1", wrong))


# --- C2


def test_the_networks_of_c2_do_what_they_are_called():
    g = torch.Generator().manual_seed(0)
    net = {"w": torch.randn(4, 3, generator=g), "b": torch.randn(4, generator=g), "a": torch.randn(4, generator=g)}
    net = {k: v.double() for k, v in net.items()} | {"c": torch.tensor(0.3).double()}
    assert torch.equal(c2.exchange(net)["w"], net["w"][[1, 0, 2, 3]])
    assert torch.equal(c2.share_inputs(net)["w"][0], c2.share_inputs(net)["w"][1])
    assert float(c2.slide(net, 0.5)["a"].sum() - net["a"].sum()) == pytest.approx(0.0)
    assert len(c2.smaller(net)["a"]) == 3 and float(c2.smaller(net)["a"].sum()) == pytest.approx(float(net["a"].sum()))


@pytest.mark.parametrize("part", ["exchanged", "apart", "slid", "shrunk"])
def test_statement_and_control_swapped_fail(smoke, part):
    wrong = smoke["C2"].copy(deep=True)
    wrong[part].values[:] = smoke["C2"][part].roll(case=1).values
    assert len(failing("C2", wrong)) == 1


# --- C4


def test_one_shared_pair_of_the_regular_block_leaves_three_units():
    _, weights, labels = c4.example("one block reduces", 0)
    assert len(set(labels)) == 3 and labels[0] == labels[1]
    assert torch.allclose(weights.first[0], weights.first[1], atol=1e-12)
    assert len(set(c4.example("two blocks merge", 0)[2])) == 3


def test_the_sharing_pair_is_the_only_condition():
    """The solutions of one linear condition: their dimension is that of the flat that theory names."""
    group = c4.GROUPS["S3"]
    layer = c4.layer_of(group, (0, 1))
    into = layer.functions(layer.rep_in)
    for pair in ((0, 1), (0, 3), (0, 6), (6, 7)):
        gap = into[:, pair[0]] - into[:, pair[1]]
        free = len(into) - int(torch.linalg.matrix_rank(gap))
        assert free == layer.flat(generated(layer.units, [pair])).dim_in


def test_a_wrong_congruence_or_function_fails(smoke):
    wrong = smoke["C4"].copy(deep=True)
    wrong["agree"][0] = False
    assert any("share than theory" in s for s in failing("C4", wrong))
    wrong = smoke["C4"].copy(deep=True)
    wrong["difference"][3] = 1e-6
    assert any("function differs" in s for s in failing("C4", wrong))


# --- C6c


@pytest.mark.parametrize("name", ["2 x S3/S2", "S3/1 + S3/S2", "unconstrained, 3 units"])
def test_batched_descent_follows_the_plain_loop(name):
    student, target = c6c.STUDENTS[name], c6c.teacher_of("60")
    start = student.start(3, 0.5, 5)
    end, losses = c6c.descend(student, start, target, 0.2, 40, [10, 40])
    exact = Teacher(target.first, target.second[None])
    t = nn.Parameter(start[1].clone())
    optimizer = torch.optim.SGD([t], lr=0.2)
    for _ in range(40):
        optimizer.zero_grad()
        w = student.weights(t)
        exact.loss(w.first, w.second[None]).backward()
        optimizer.step()
    assert torch.allclose(end[1], t.detach(), atol=1e-11)
    assert float(losses[1, 1]) == pytest.approx(float(student.exact_loss(t.detach(), target)), abs=1e-12)


def test_sides_swapped_or_students_swapped_fail(smoke):
    wrong = smoke["C6c"].copy(deep=True)
    wrong["right"].loc[{"student": "1 x S3/S2"}] = 1 - wrong["right"].sel(student="1 x S3/S2")
    assert len([s for s in failing("C6c", wrong) if s.startswith("one block")]) == 2
    names = smoke["C6c"]["student"].values.tolist()
    swap = {"S3/1": "2 x S3/S2", "2 x S3/S2": "S3/1"}
    wrong = smoke["C6c"].assign_coords(student=[swap.get(n, n) for n in names])
    assert any("six units" in s for s in failing("C6c", wrong))


def test_the_number_of_right_blocks_is_counted_by_hand():
    shard = {"teacher": "60", "student": "2 x S3/S2", "runs": 6, "steps": 2, "records": 1, "lr": 0.1, "spread": 0.5}
    found = c6c.compute({**shard, "seed": 3})
    w = c6c.STUDENTS["2 x S3/S2"].weights(c6c.STUDENTS["2 x S3/S2"].start(6, 0.5, 3)).first
    # a unit's own input is the one that its stabiliser leaves alone: the odd one out of its three weights
    own = [[int((row - row.median()).abs().argmax()) for row in (w[r, 0], w[r, 3])] for r in range(6)]
    by_hand = [sum(float(w[r, 3 * b, own[r][b]]) > float(w[r, 3 * b].median()) for b in (0, 1)) for r in range(6)]
    assert found["right"].values.tolist() == by_hand


# --- C7


@pytest.mark.parametrize("kind", c7.COORDINATES)
@pytest.mark.parametrize("name", c7.GROUPS)
def test_systems_of_coordinates(name, kind):
    group = c7.GROUPS[name]
    student = c7.blocks(group, natural(group), point_stabilizer(group))
    system = c7.coordinates(student, kind)
    n = natural(group).dim
    squares = (system.T @ system).diagonal()
    wanted = torch.tensor([n, n * (n - 1), n] if kind == "tied" else [1, 1, 1]).double()
    assert torch.allclose(squares, wanted, atol=1e-12)
    assert torch.allclose(system.T @ system, torch.diag(wanted), atol=1e-12)
    height = heights(student, system.T)[:, 0]
    if kind == "orthonormal":
        assert torch.allclose(height, torch.tensor([0.0, 1.0, 0.0]).double(), atol=1e-12)
    if kind == "tied":
        assert float(height[0] + height[1]) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("rule", ["GD", "momentum", "Adam"])
def test_tied_training_follows_a_plain_tied_network(rule):
    shard = {"runs": 3, "steps": 30, "batch": 4, "seed": 0}
    group = c7.GROUPS["S3"]
    student = c7.blocks(group, natural(group), point_stabilizer(group))
    _, _, _, loss = c7.train(student, "tied", rule, shard, "cpu")
    target = natural_teacher(group, c7.DEGREES)
    exact = Teacher(target.first, target.second[None])
    theta = torch.linalg.solve(c7.coordinates(student, "tied"), student.start(3, 0.5, 0)[2])
    t1, t2, a = (nn.Parameter(v.clone()) for v in theta)
    optimizer = c7.optimizer_of(rule, t1)
    optimizer.add_param_group({"params": [t2, a]})
    eye, ones = torch.eye(3).double(), torch.ones(3, 3).double()
    for _ in range(30):
        optimizer.zero_grad()
        exact.loss(t1 * eye + t2 * (ones - eye), a * ones[:1]).backward()
        optimizer.step()
    zero = exact.loss(0 * eye, ones[:1])
    with torch.no_grad():
        plain = exact.loss(t1 * eye + t2 * (ones - eye), a * ones[:1]) / zero
    assert float(loss[1, 2]) == pytest.approx(float(plain), abs=1e-10)


def test_one_step_of_tied_weights_leaves_the_wall_by_the_multiplicities():
    """From t1 = t2 the step is along (3, 6): its height is the difference times sqrt(2), by hand."""
    group = c7.GROUPS["S3"]
    student = c7.blocks(group, natural(group), point_stabilizer(group))
    system = c7.coordinates(student, "tied")
    theta = torch.tensor([[0.3, 0.3, 0.5]]).double()
    gradient = student.exact_gradient(theta @ system.T, natural_teacher(group, 60.0)) @ system
    assert float(gradient[0, 1] / gradient[0, 0]) == pytest.approx(2.0)
    step = -gradient @ system.T
    assert float(heights(student, step)[0, 0]) == pytest.approx(float((gradient[0, 1] - gradient[0, 0]) * sqrt(2)))


def test_coordinates_or_activations_relabelled_fail(smoke):
    swap = {"tied": "turned", "turned": "tied"}
    wrong = smoke["C7"].assign_coords(coordinates=[swap.get(k, k) for k in c7.COORDINATES])
    assert any("on the wall" in s for s in failing("C7", wrong))
    wrong = smoke["C7"].assign_coords(activation=["tanh", "softplus"])
    assert any("learns from the wrong side" in s for s in failing("C7", wrong))


# --- C8


def test_deep_sets_channels_follow_a_plain_module():
    class Channel(nn.Module):
        def __init__(self, own, other, bias, out):
            super().__init__()
            self.own, self.other, self.bias, self.out = (nn.Parameter(v.clone()) for v in (own, other, bias, out))

        def forward(self, x):
            total = x.sum(-1, keepdim=True)
            return self.out * relu((self.own - self.other) * x + self.other * total + self.bias).sum(-1)

    shard = {"task": "largest", "representation": "Deep Sets", "width": 6, "runs": 2, "samples": 20, "tests": 30}
    found = c8.compute({**shard, "steps": 25, "seed": 4}).sel(rule="Adam, tied")["error"].values
    g = torch.Generator().manual_seed(4)
    x = torch.randn(2, 20, 3, generator=g, dtype=torch.float64)
    probe = torch.randn(30, 3, generator=g, dtype=torch.float64)
    student = c8.student_of("Deep Sets", 6)
    theta = c8.default_start(student, 2, g)
    w = student.weights(c8.tied(student) @ theta[1])
    channels = nn.ModuleList()
    for k in (0, 3):
        row = w.first[k]
        own = int((row - row.median()).abs().argmax())
        channels.append(Channel(row[own], row[(own + 1) % 3], w.bias[k], w.second[k]))
    optimizer = torch.optim.Adam(channels.parameters(), lr=c8.RULES["Adam, tied"])
    for _ in range(25):
        optimizer.zero_grad()
        ((sum(c(x[1]) for c in channels) - x[1].amax(-1)).square().mean() / 2).backward()
        optimizer.step()
    with torch.no_grad():
        miss = sum(c(probe) for c in channels) - probe.amax(-1)
    assert found[1] == pytest.approx(float(miss.square().mean().sqrt() / probe.amax(-1).std()), abs=1e-8)


def test_theory_says_which_representation_has_a_barrier(smoke):
    assert smoke["C8"]["orbits"].values.tolist() == [2, 1, 1]
    assert smoke["C8"]["weights"].values.tolist() == [[16, 10, 60]]


def test_deep_sets_passed_off_as_the_suggestion_fails(smoke):
    wrong = smoke["C8"].assign_coords(representation=["suggested", "Deep Sets", "unconstrained"])
    assert len(failing("C8", wrong)) == 3


# --- all


BAD = {
    "C1": (c1.Settings, {"degrees": 90.0}, "an angle between 0 and 90"),
    "C2": (c2.Settings, {"shifts": 4}, "odd number of shifts"),
    "C4": (c4.Settings, {"groups": ("S9",)}, "groups among"),
    "C6c": (c6c.Settings, {"angles": (0.0,)}, "angles between 0 and 180"),
    "C7": (c7.Settings, {"activations": ("cosine",)}, "activations among"),
    "C8": (c8.Settings, {"widths": (7,)}, "multiples of six"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    settings, wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        settings(**wrong)


def test_unknown_names_are_refused():
    with pytest.raises(SymtheoryError, match="coordinates among"):
        c7.coordinates(c6c.STUDENTS["1 x S3/S2"], "polar")
    with pytest.raises(SymtheoryError, match="a representation among"):
        c8.student_of("convolution", 6)


@pytest.mark.parametrize("name", IDS)
def test_smoke_supports_the_claim_and_repeats(smoke, name):
    assert failing(name, smoke[name]) == []
    if name in ("C2", "C4"):
        xr.testing.assert_identical(IDS[name].run(IDS[name].presets["smoke"]), smoke[name])
