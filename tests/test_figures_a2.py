"""Figure A2: its blocks and its wells, against what the loss itself says, and that the checks can fail."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

from symtheory.errors import SymtheoryError
from symtheory.figures import a2
from symtheory.figures.base import PRESETS
from symtheory.plots.a2 import figure_a2
from symtheory.plots.style import PAPER

FIGURE = a2.A2()


@pytest.fixture(scope="module")
def result():
    return FIGURE.run(FIGURE.presets["smoke"])


@pytest.fixture(scope="module")
def fine():
    return FIGURE.run(a2.Settings(grid=1001, reach=0.2))


def test_checks_hold_and_their_controls_miss(result):
    verdicts = FIGURE.check(result)
    assert len(verdicts) == 6
    assert all(verdicts), [v for v in verdicts if not v]
    assert all(v.control is not None for v in verdicts)


def test_every_number_is_named_finite_and_double(result):
    for name, values in result.data_vars.items():
        assert values.dtype == np.float64, name
        assert np.isfinite(values).all(), name
        assert values.attrs["units"], name
        assert not any(str(dim).startswith("dim_") for dim in values.dims), name


def test_two_runs_give_the_same_bytes(result):
    again = FIGURE.run(FIGURE.presets["smoke"])
    assert again.identical(result)
    assert all(again[k].values.tobytes() == result[k].values.tobytes() for k in again.data_vars)


def test_presets_are_complete():
    assert tuple(FIGURE.presets) == PRESETS


@pytest.mark.parametrize(
    "changes",
    [{"grid": 40}, {"grid": 1}, {"lr": 0.0}, {"away": float("nan")}, {"factors": (0.5, 0.9)}, {"factors": (1.1, 2.0)}],
)
def test_bad_settings_are_refused(changes):
    with pytest.raises(SymtheoryError):
        a2.Settings().with_changes(**changes)


def test_a_network_without_dead_units_is_refused():
    with pytest.raises(SymtheoryError, match="some units on their mirrors"):
        FIGURE.run(a2.Settings(steps=5, grid=3))


def test_training_reached_a_stationary_point_on_mirrors_without_being_told(result):
    length = result["length"].values
    assert (length < a2.DEAD).any() and (length > 0.5).any()
    assert ((length < a2.DEAD) | (length > 0.5)).all()  # nothing in between
    assert float(result["gradient"]) < 1e-10
    # the decay that trained it is above the critical one, or the dead units would have left
    assert result.attrs["decay"] > float(result["critical_decay"])


def test_normal_block_is_the_one_computed_by_hand(result):
    """At a dead unit the only curvature is between u and w: twice the mean of residual times input."""
    shard = FIGURE.presets["smoke"].to_json()
    params, (x, y) = a2.train(shard)
    residual = torch.tanh(x @ params["w"].T) @ params["u"] - y
    force = float((2 * (residual[:, None] * x).mean(0)).norm())
    dead = int((result["length"].values < a2.DEAD).sum())
    expected = [-force] * dead + [0.0] * (dead * (x.shape[1] - 1)) + [force] * dead
    assert np.allclose(result["normal_eigenvalue"].values, expected, atol=1e-12)
    assert float(result["critical_decay"]) == pytest.approx(force / 2, rel=1e-10)


def test_basis_is_orthogonal_and_the_spectrum_does_not_depend_on_it(result):
    params, batch = a2.train(FIGURE.presets["smoke"].to_json())
    shapes = {k: tuple(p.shape) for k, p in params.items()}
    basis = a2.joint_basis([a2.unit_mirror(shapes, j) for j in (0, 2)], shapes)
    assert torch.allclose(basis.T @ basis, torch.eye(len(basis), dtype=torch.float64), atol=1e-12)
    raw = torch.linalg.eigvalsh(a2.dense_hessian(a2.network_loss(0.0), params, batch))
    assert np.allclose(np.linalg.eigvalsh(result["hessian"].values[0]), raw, atol=1e-9)


@pytest.mark.parametrize("factor", [0.9, 0.999, 1.001, 1.1, 3.0])
def test_wells_leave_the_mirror_at_the_critical_decay(factor, fine):
    assert (a2.lowest_place(fine, factor) != 0) == (factor < 1)


def test_check_notices_changed_measurements(result):
    for change in ("hessian", "subblock", "loss", "critical_decay", "well"):
        changed = result.copy(deep=True)
        if change == "hessian":
            changed["hessian"][0, 0, -1] += 1e-6
        elif change == "subblock":
            changed["hessian"][0, 0, 5] += 1e-6
        elif change == "loss":
            changed["loss"][0, 3] += 1e-6
        else:
            changed[change] = result[change] * 1.01
        assert not all(FIGURE.check(changed)), change


def test_figure_draws_on_a_solid_ground(result):
    before = dict(mpl.rcParams)
    figure = figure_a2(result)
    assert mpl.colors.to_hex(figure.get_facecolor()) == PAPER
    assert dict(mpl.rcParams) == before
    figure.canvas.draw()
    assert len(figure.axes) == 5  # four panels and a scale
