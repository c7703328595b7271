"""Figures C3, C5 and C6: the model is the theory's, batched flows are the plain loop, and every check can fail."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch.autograd.functional import hessian, jacobian

from symtheory.engine.arccosine import Teacher
from symtheory.errors import SymtheoryError
from symtheory.figures import c3, c5, c6, s3_block, s3_landscape
from symtheory.spec import relative_error
from symtheory.spec.cosets import fixed_space
from symtheory.spec.intertwiners import functions, isotypic_blocks
from symtheory.spec.walls import chambers

FIGURES = {"C3": c3.C3(), "C5": c5.C5(), "C6": c6.C6()}


def angles(*degrees):
    return torch.tensor(degrees, dtype=torch.float64).deg2rad()


@pytest.fixture(scope="module")
def smoke():
    return {name: figure.run(figure.presets["smoke"]) for name, figure in FIGURES.items()}


def failed(name, result):
    return [v.statement for v in FIGURES[name].check(result) if not v.holds]


# --- the model ------------------------------------------------------------------------------------------------------


def test_the_coordinates_span_the_equivariant_weights_and_the_normal_is_that_of_the_wall():
    rows = functions(s3_block.UNITS, s3_block.PI3).flatten(1)
    outs = functions(s3_block.UNITS, s3_block.TRIVIAL).flatten(1)
    spanned = torch.block_diag(rows.T @ rows, outs.T @ outs)
    assert torch.allclose(spanned, s3_block.COORDINATES.T @ s3_block.COORDINATES)
    assert torch.allclose(spanned, s3_block.projection("S3"))
    found = chambers(s3_block.LAYER)
    assert found.barrier and len(found.walls) == 1
    base = s3_block.NORMAL[:9].reshape(3, 3)[0]
    assert torch.allclose(base / base.norm(), found.walls[0].normal, atol=1e-12)
    assert torch.allclose(s3_block.COORDINATES @ s3_block.COORDINATES.T, torch.eye(3).double(), atol=1e-15)


def test_relaxations_have_the_weights_that_subgroups_tie():
    for name, subgroup in s3_block.SUBGROUPS.items():
        basis = fixed_space(s3_block.ACTION, subgroup)
        assert torch.allclose(basis @ basis.T, s3_block.projection(name))


def test_irreducible_blocks_are_the_isotypic_components():
    wanted = [b @ b.T for b in isotypic_blocks(s3_block.ACTION)]
    for block in s3_block.irreducible_blocks().values():
        assert min(float((block @ block.T - p).norm()) for p in wanted) < 1e-9
    assert sum(b.shape[1] for b in s3_block.irreducible_blocks().values()) == 12


def test_tied_numbers_span_the_same_weights_with_other_lengths():
    gram = s3_block.TIED @ s3_block.TIED.T
    assert torch.equal(gram, torch.diag(torch.tensor([3.0, 6.0, 3.0]).double()))
    assert torch.allclose(s3_block.TIED @ s3_block.projection("S3"), s3_block.TIED)


@pytest.mark.parametrize("subgroup", s3_block.SUBGROUPS)
def test_settling_is_the_plain_loop_on_tied_parameters(subgroup):
    """One configuration at a time, orthonormal coordinates as leaf tensors, gradients by autograd through the basis."""
    psi, noise = angles(35.0, 70.0, 110.0), torch.Generator().manual_seed(3)
    basis = fixed_space(s3_block.ACTION, s3_block.SUBGROUPS[subgroup])
    theta = 0.4 * torch.randn(3, basis.shape[1], generator=noise, dtype=torch.float64)
    found = s3_block.settle(psi, theta @ basis.T, s3_block.projection(subgroup), 0.1, 120, every=50, small=0.0)
    for c in range(3):
        target = Teacher(*s3_block.split(s3_block.teacher_point(psi[c])))
        here, lowest = theta[c].clone(), np.inf
        side = float(torch.sign(here @ basis.T @ s3_block.NORMAL))
        for _ in range(120):
            first, second = target.gradient(*s3_block.split(basis @ here))
            here = here - 0.1 * (basis.T @ torch.cat([first.flatten(), second.flatten()]))
            lowest = min(lowest, side * float(basis @ here @ s3_block.NORMAL))
        assert relative_error(found.points[c], basis @ here) < 1e-10
        start = side * float(theta[c] @ basis.T @ s3_block.NORMAL)
        assert float(found.nearest[c]) == pytest.approx(min(lowest, start), abs=1e-10)
    assert found.steps.tolist() == [120] * 3


def test_descent_moves_along_the_metric_only():
    """On tied numbers it is the loop over (t1, t2, a); along a projection, what is projected out stays."""
    psi, tied = angles(60.0), s3_block.TIED
    numbers = torch.tensor([0.2, 0.1, 0.3], dtype=torch.float64)
    found = s3_block.settle(psi, (numbers @ tied)[None], tied.T @ tied / 3, 0.1, 60, small=0.0)
    for _ in range(60):
        numbers = numbers - 0.1 / 3 * tied @ s3_block.gradient(psi[0], numbers @ tied)
    assert relative_error(found.points[0], numbers @ tied) < 1e-12
    off = torch.randn(1, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    onto = s3_block.projection("S3")
    moved = s3_block.settle(psi, off, onto, 0.1, 20, small=0.0).points - off
    assert float(moved.norm()) > 0.1 and float((moved - moved @ onto).norm()) < 1e-14


def test_settled_configurations_rest_while_others_go_on():
    psi = angles(60.0, 60.0)
    start = torch.stack([s3_block.teacher_point(psi[0]), s3_block.initial([4], 0.5)[0]])
    found = s3_block.settle(psi, start, s3_block.projection("S3"), 0.2, 2000, every=100)
    assert found.steps[0] == 100 < found.steps[1] < 2000
    alone = s3_block.settle(psi[1:], start[1:], s3_block.projection("S3"), 0.2, 2000, every=100)
    assert relative_error(found.points[1:], alone.points) < 1e-12


def test_the_trap_is_a_minimum_beyond_the_wall():
    psi = angles(20.0, 60.0, 85.0)
    trap = s3_block.trap(psi)
    assert (trap @ s3_block.NORMAL < 0).all()
    # the loss is invariant, so what is critical within the constraint is critical without it
    assert float(s3_block.gradient(psi, trap).norm(dim=-1).max()) < 1e-14
    assert (s3_block.escape_curvature(psi, trap, "S3") > -1e-12).all()
    assert (s3_block.relative_loss(psi, trap) > 1e-4).all()


def test_gelu_has_the_derivatives_of_autograd_and_the_nodes_those_of_the_cube():
    land = s3_landscape.gelu(50.0, nodes=12)
    theta = torch.tensor([0.3, -0.5, 1.2, 0.2, -0.1]).double()
    assert relative_error(land.slope(theta), jacobian(land.value, theta)) < 1e-12
    assert relative_error(land.curvature(theta), hessian(land.value, theta)) < 1e-12
    x, weights = np.polynomial.hermite_e.hermegauss(12)
    cube = torch.tensor(np.stack(np.meshgrid(x, x, x), -1).reshape(-1, 3))
    p = torch.tensor(np.prod(np.meshgrid(weights, weights, weights), axis=0).ravel()) / (2 * np.pi) ** 1.5

    def net(t):
        w = t[0] / 3 + t[1] / 2**0.5 * (torch.eye(3).double() - 1 / 3)
        z = cube @ w.T + t[3] / 3**0.5
        return t[2] / 3**0.5 * torch.nn.functional.gelu(z).sum(-1) + t[4]

    wanted = p @ (net(theta) - net(land.teacher)).square() / (p @ net(land.teacher).square())
    assert float(land.value(theta)) == pytest.approx(float(wanted), rel=1e-9)


def test_relu_in_coordinates_has_the_derivatives_of_differences():
    land, step = s3_landscape.relu(50.0), 1e-5
    theta = torch.tensor([0.3, -0.5, 1.2]).double()
    steps = step * torch.eye(3, dtype=torch.float64)
    slope = (land.value(theta + steps) - land.value(theta - steps)) / (2 * step)
    assert relative_error(land.slope(theta), slope) < 1e-7
    rows = torch.stack([(land.slope(theta + e) - land.slope(theta - e)) / (2 * step) for e in steps])
    assert relative_error(land.curvature(theta), rows) < 1e-7


def test_descent_finds_a_minimum_and_leaves_a_saddle():
    """On the bowl of a quadratic, and on x^2 - y^2 + y^4/2 from next to its saddle."""

    def saddle(t):
        return t[..., 0] ** 2 - t[..., 1] ** 2 + t[..., 1] ** 4 / 2

    land = s3_landscape.Landscape(
        saddle, lambda t: jacobian(saddle, t), lambda t: hessian(saddle, t), torch.zeros(2).double()
    )
    found = s3_landscape.locate(land, torch.tensor([0.5, -1e-3], dtype=torch.float64), (0, 1))
    assert found.tolist() == pytest.approx([0, -1], abs=1e-9)
    held = s3_landscape.locate(land, torch.tensor([0.5, 0.3], dtype=torch.float64), (0,))
    assert held.tolist() == pytest.approx([0, 0.3], abs=1e-9)


# --- the figures ----------------------------------------------------------------------------------------------------


def test_sides_of_c3_are_those_of_the_chambers(smoke):
    start = s3_block.initial(range(16), 0.5)
    side = chambers(s3_block.LAYER).side(start[:, :9].reshape(-1, 3, 3)[:, 0])
    assert len(set(side.tolist())) == 2
    same = (side == side[0]).numpy() == (smoke["C3"]["side"].isel(psi=0) == smoke["C3"]["side"].isel(psi=0)[0])
    assert bool(same.all())


def test_paths_of_c3_are_the_runs(smoke):
    result = smoke["C3"]
    run = s3_block.settle(
        angles(60.0).expand(12), s3_block.initial(range(12), 0.5), s3_block.projection("S3"), 0.2, c3.TIMES[-1],
        small=0.0,
    )  # fmt: skip
    first, second = s3_block.split(run.points)
    ends = torch.stack([first[:, 0, 0], first[:, 0, 1]], -1) * second[:, 0, :1]
    assert np.allclose(result["path"].isel(time=-1), ends, atol=1e-9)
    apart = result["path"].sel(entry="diagonal") - result["path"].sel(entry="other")
    assert bool((np.sign(apart) == np.sign(apart.isel(time=0))).all())


def test_crossings_successes_and_wrong_ends_fail_c3(smoke):
    crossed = smoke["C3"].copy(deep=True)
    crossed["nearest"][0, 0] = -1e-9
    assert any("cross" in s for s in failed("C3", crossed))
    swapped = smoke["C3"].assign(side=-smoke["C3"]["side"])
    assert sum("share of runs" in s for s in failed("C3", swapped)) == 2
    tied = smoke["C3"].assign(tied_nearest=smoke["C3"]["nearest"])
    assert any("cross" in s for s in failed("C3", tied))
    moved = smoke["C3"].assign(spurious=1.1 * smoke["C3"]["spurious"])
    assert any("one minimum" in s for s in failed("C3", moved))


def test_dead_blocks_are_counted_apart_in_c3(smoke):
    dead = smoke["C3"].copy(deep=True)
    dead["loss"][0, :] = 1.0
    verdicts = FIGURES["C3"].check(dead)
    assert all(v.holds for v in verdicts) and verdicts[1].sizes["dead"] == 16


def test_a_slope_on_the_wall_or_another_point_fails_c5(smoke):
    tilted = smoke["C5"].copy(deep=True)
    tilted["across"].loc[{"line": "wall"}] = 1e-6
    assert any("on it" in s for s in failed("C5", tilted))
    for place, words in (("mirror", "gradient at the minimum"), ("wall", "negative curvature")):
        wrong = smoke["C5"].copy(deep=True)
        for name in ("slope", "spectrum", "value"):
            wrong[name].loc[{"place": "far"}] = wrong[name].sel(place=place)
        assert any(words in s for s in failed("C5", wrong))
    spurious = smoke["C5"].copy(deep=True)
    spurious["value"].loc[{"place": "far"}] = 1e-15
    assert any("1e-9 over" in s for s in failed("C5", spurious))
    coarse = smoke["C5"].assign(refined=2 * smoke["C5"]["refined"])
    assert any("by quadrature" in s for s in failed("C5", coarse))


def test_the_surface_of_c5_holds_its_points(smoke):
    result = smoke["C5"]
    for setting in c5.SETTINGS:
        land = c5.landscape(setting, 60.0, 10)
        t1, t2 = c5.in_plane(land.teacher)
        assert torch.allclose(c5.from_plane(land.teacher, t1, t2), land.teacher)
        i, j = 7, 18
        weights = [torch.tensor(float(result[k][n]), dtype=torch.float64) for k, n in (("diagonal", j), ("off", i))]
        theta = c5.from_plane(land.teacher, *weights)
        found = float(result["surface"].sel(setting=setting)[i, j])
        assert found == pytest.approx(float(land.value(theta)), rel=1e-12)


def test_a_wrong_prediction_or_representation_fails_c6(smoke):
    result = smoke["C6"]
    assert any("prediction" in s for s in failed("C6", result.assign(predicted=~result["predicted"])))
    never = result.copy(deep=True)
    never["escape"][:] = 0.0
    assert any("at some angles" in s for s in failed("C6", never))
    same = result.copy(deep=True)
    same["relation"] = xr.where(same["relation"] == 1, 0, same["relation"])
    assert sum("share of solutions" in s for s in failed("C6", same)) == 2
    stuck = result.copy(deep=True)
    stuck["loss"].loc[{"training": "1"}] = stuck["loss"].sel(training="1").clip(min=1e-5)
    assert any("do not find the teacher" in s for s in failed("C6", stuck))


def test_the_prediction_changes_where_the_sign_block_does():
    critical = c6.critical_angle(60.0, 88.0)
    psi = angles(critical - 0.01, critical + 0.01)
    values = c6.spectrum_at(psi, s3_block.trap(psi))
    assert float(values["sign"][0, 0]) < 0 < float(values["sign"][1, 0])
    assert float(values["standard"].min()) > -1e-12
    with pytest.raises(SymtheoryError, match="a change of sign"):
        c6.critical_angle(20.0, 40.0)


def test_noise_stays_within_the_relaxation():
    traps = s3_block.trap(angles(60.0))
    for training in c6.TRAININGS[:-1]:
        start = c6.starts(traps, training, 1e-3, 0.5, 5)
        assert torch.allclose(start @ s3_block.projection(training), start, atol=1e-14)
        assert 0 < float((start - traps[:, None]).abs().max()) < 6e-3


def test_labellings_are_told_by_their_order():
    psi = angles(40.0)[0]
    wanted, _ = s3_block.split(s3_block.teacher_point(psi))
    for p, order in zip(s3_block.PI3.matrices, s3_block.GROUP.element_orders.tolist(), strict=True):
        assert c6.labelling(psi, 3 * p @ wanted) == order


BAD = {
    "C3": (c3.Settings, {"degrees": (200.0,)}, "between 0 and 180"),
    "C5": (c5.Settings, {"nodes": 2}, "at least 3 points and nodes"),
    "C6": (c6.Settings, {"degrees": (90.0,)}, "that are not 90"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    settings, wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        settings(**wrong)
