"""Figures A1 and A5: what they measure, and that the measurements can fail."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

from symtheory.engine.operators import gradient
from symtheory.errors import SymtheoryError
from symtheory.figures import a1, a5
from symtheory.figures.base import PRESETS
from symtheory.plots.a1 import figure_a1
from symtheory.plots.a5 import figure_a5
from symtheory.plots.style import PAPER, style
from tests.oracles import finite_gradient

FIGURES = (a1.A1(), a5.A5())
DRAW = {"A1": figure_a1, "A5": figure_a5}


@pytest.fixture(scope="module")
def results():
    return {figure.id: figure.run(figure.presets["smoke"]) for figure in FIGURES}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.id)
def test_checks_hold_and_their_controls_miss(figure, results):
    verdicts = figure.check(results[figure.id])
    assert verdicts
    assert all(verdicts), [v for v in verdicts if not v]
    assert all(v.control is not None for v in verdicts)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.id)
def test_every_number_is_named_finite_and_double(figure, results):
    for name, values in results[figure.id].data_vars.items():
        assert values.dtype == np.float64, name
        assert np.isfinite(values).all(), name
        assert values.attrs["units"], name
        assert not any(str(dim).startswith("dim_") for dim in values.dims), name


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.id)
def test_two_runs_give_the_same_bytes(figure, results):
    again = figure.run(figure.presets["smoke"])
    assert again.identical(results[figure.id])
    assert all(again[k].values.tobytes() == results[figure.id][k].values.tobytes() for k in again.data_vars)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.id)
def test_presets_are_complete_and_shards_are_json(figure):
    import json

    assert tuple(figure.presets) == PRESETS
    for config in figure.presets.values():
        shards = figure.shards(config)
        assert json.loads(json.dumps(shards)) == [json.loads(json.dumps(s)) for s in shards]


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (a1.Settings, {"grid": 1}),
        (a1.Settings, {"reach": 0.0}),
        (a1.Settings, {"low": 3.0, "high": 3.0}),
        (a1.Settings, {"point": (1.0, 1.0)}),
        (a1.Settings, {"point": (1.0, -1.0)}),
        (a1.Settings, {"teacher": (1.0, float("nan"))}),
        (a1.Settings, {"imbalance": 1.0}),
        (a1.Settings, {"stretch": 1.0}),
        (a5.Settings, {"steps": 0}),
        (a5.Settings, {"lr": -0.1}),
        (a5.Settings, {"tilt": 0.0}),
        (a5.Settings, {"grid": 1}),
        (a5.Settings, {"ring": ((20.0, 1.0, 0.0),)}),
        (a5.Settings, {"product": ((45.0, 1.0, 0.0), (30.0, 1.0, 0.1))}),
        (a5.Settings, {"ring": ((20.0, 1.0, 0.0), (20.0, 1.0, 0.1))}),
    ],
)
def test_bad_settings_are_refused(settings, changes):
    with pytest.raises(SymtheoryError):
        settings().with_changes(**changes)


def test_a1_points_are_where_geometry_says(results):
    result = results["A1"]
    a, b, c = (result["position"].sel(point=p).values for p in "ABC")
    assert np.array_equal(b, a[::-1])
    assert np.allclose(c, a.mean())
    normal = np.array([1, -1]) / 2**0.5
    assert np.isclose(float(result["distance"].sel(projection="orthogonal")), abs(a @ normal))
    components = np.abs(result["gradient"].values @ normal)
    assert np.allclose(result["gradient_across"].values, components, atol=1e-12)
    assert np.allclose(result["sample_gradient"].mean("sample"), result["gradient"], atol=1e-12)
    x, t = result["sample"].values, result["mirror_position"].values[:, :1]
    error = 2 * np.tanh(t * x) - sum(np.tanh(w * x) for w in result.attrs["teacher"])
    slope = 2 * error * x / np.cosh(t * x) ** 2
    for axis in range(2):
        assert np.allclose(result["sample_gradient"].values[0, ..., axis], slope, atol=1e-12)


def test_a1_landscape_is_the_loss_and_its_minima_lie_off_the_mirror():
    result = a1.A1().run(a1.Settings(grid=41))
    plane = result["loss"].sel(variant="symmetric")
    assert np.allclose(plane.values, plane.values.T, atol=1e-14)
    assert float(plane.min()) >= 0
    assert float(plane.min()) < 0.2 * float(np.diag(plane.values).min())
    x = result["sample"].values
    y = sum(np.tanh(w * x) for w in result.attrs["teacher"])
    for i, j in ((0, 5), (20, 33), (40, 2)):
        w1, w2 = float(result["w1"][j]), float(result["w2"][i])
        assert np.isclose(float(plane[i, j]), np.mean((np.tanh(w1 * x) + np.tanh(w2 * x) - y) ** 2))


@pytest.mark.parametrize("name", a5.LANDSCAPES)
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_a5_landscapes_match_their_formulas(name, tilt):
    params = {"u": torch.tensor(0.7).double(), "w": torch.tensor(-1.2).double()}
    y, u, w = torch.tensor(1.3).double(), 0.7, -1.2
    loss = a5.landscape(name, tilt)
    square = u * u + w * w
    expected = (w * u - 1.3) ** 2 if name == "product" else -1.3 * square + square**2
    assert np.isclose(float(loss(params, y)), expected + tilt * w)
    got, want = gradient(loss, params, y), finite_gradient(loss, params, y)
    flat = torch.stack([got["u"], got["w"]])
    assert torch.allclose(flat, want, atol=1e-6)


def test_a5_paths_end_where_the_landscapes_say():
    result = a5.A5().run(a5.Settings(steps=1500, grid=5))
    ends = result["path"].sel(variant="symmetric", mode="gradient descent").isel(step=-1)
    ring = (ends.sel(landscape="ring") ** 2).sum("axis")
    assert np.allclose(ring, 0.5)
    on = result["beside"].sel(landscape="product").values == 0
    down = on & (result["angle"].sel(landscape="product").values == -45)
    product = ends.sel(landscape="product").prod("axis").values
    assert down.any()
    assert np.allclose(product[down], 0, atol=1e-12)  # the saddle holds what came along u = -w
    assert np.allclose(product[~down], 1)
    noisy = result["path"].sel(variant="symmetric", mode="SGD").isel(step=-1)
    assert not np.allclose((noisy.sel(landscape="ring") ** 2).sum("axis"), 0.5)  # SGD does have noise


@pytest.mark.parametrize("name", ["distance", "gradient_across", "sample_gradient_across", "point_loss"])
def test_a1_notices_a_changed_measurement(name, results):
    changed = results["A1"].copy(deep=True)
    changed[name][:] = changed[name] + np.linspace(0, 1e-3, changed[name].size).reshape(changed[name].shape) + 1e-4
    assert not all(a1.A1().check(changed))


def test_a5_notices_one_step_off_a_line(results):
    changed = results["A5"].copy(deep=True)
    changed["distance"][{"landscape": 1, "variant": 0, "mode": 1, "start": 0, "step": 7}] = 1e-9
    assert sum(not v for v in a5.A5().check(changed)) == 2


@pytest.mark.parametrize("name", DRAW)
def test_figures_draw_once_on_a_solid_ground(name, results):
    before = dict(mpl.rcParams)
    figure = DRAW[name](results[name])
    assert mpl.colors.to_hex(figure.get_facecolor()) == PAPER
    assert dict(mpl.rcParams) == before
    figure.canvas.draw()
    assert all(ax.lines and ax.collections for ax in figure.axes)


def test_style_is_put_back():
    size = mpl.rcParams["font.size"]
    with style():
        mpl.rcParams["font.size"] = 99
    assert mpl.rcParams["font.size"] == size
