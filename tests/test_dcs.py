"""Evidence for eq. (7) of paper A, corrected: constraint by symmetry is an L1 penalty; and the tool that imposes it."""

import copy
import io
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso
from torch import nn
from torch.func import grad, vmap

from symtheory.discover import discover
from symtheory.engine.coordinates import coordinates, expand
from symtheory.engine.factoring import DIRECTION, SCALE, Factoring, factored_loss, group_index, l1_strength
from symtheory.engine.proximal import penalised_least_squares
from symtheory.errors import SymtheoryError
from symtheory.figures.base import PRESETS
from symtheory.figures.l1 import L1, Settings
from symtheory.plots.l1 import figure_l1
from symtheory.plots.style import Drawing
from symtheory.spec import (
    CompositeMirror,
    exchange,
    flatten,
    from_basis,
    params_of,
    permutation,
    rotation,
    shapes_of,
    sign_flip,
)
from symtheory.spec.mirror import Mirror
from symtheory.theorems.instances import KINDS, generator_of, normal, orthonormal, random_mirror
from symtheory.theorems.l1_equivalence import printed_map, printed_reach, printed_strength
from symtheory.theorems.l1_equivalence.constraint import MINIMISER_TOLERANCE, difference
from symtheory.theorems.l1_equivalence.printed import centring, minimise_printed
from symtheory.theorems.l1_equivalence.problems import SMALL, Problem, minimise_factors, problem
from symtheory.theorems.mirror_constraint import critical_decay
from symtheory.transforms.dcs import DCS, dcs, sign_flip_all, start_on_mirror
from tests.strategies import seeds, shapes

verify = pytest.mark.claim("A.E7", role="verify")
kinds = st.sampled_from(KINDS)


def drawn(kind, seed, layout=None):
    g = generator_of(seed)
    layout = SMALL if layout is None else layout
    return random_mirror(kind, g, layout), {k: normal(g, *s) for k, s in layout.items()}, g


# --- coordinates ------------------------------------------------------------------------------------------------------


@given(kinds, seeds, shapes)
def test_coordinates_and_their_transpose_make_the_projection(kind, seed, layout):
    mirror, w, g = drawn(kind, seed, layout)
    z = coordinates(mirror, w)
    assert z.shape == (mirror.rank,)
    again = expand(mirror, z, w)
    across = mirror.project(w)
    assert all(torch.allclose(again[k], across[k], atol=1e-12) for k in across)
    other = normal(g, mirror.rank)  # O^T O = I
    assert torch.allclose(coordinates(mirror, expand(mirror, other, w)), other, atol=1e-12)


def test_coordinates_of_a_composite_are_those_of_its_parts():
    layout = {"a": (3,), "b": (3,), "c": (2,)}
    parts = (exchange(layout, ["a"], ["b"], -1), sign_flip(layout, ["c"]))
    mirror, w = CompositeMirror(parts), {k: normal(generator_of(3), *s) for k, s in layout.items()}
    z = coordinates(mirror, w)
    assert torch.equal(z, torch.cat([coordinates(p, w) for p in parts]))
    across = mirror.project(w)
    again = expand(mirror, z, w)
    assert all(torch.allclose(again[k], across[k]) for k in again)
    assert group_index(mirror, "parts").tolist() == [0, 0, 0, 1, 1]


def test_unknown_mirrors_and_groups_are_refused():
    class Odd(Mirror):
        shapes = {"w": (2,)}  # noqa: RUF012
        rank = 1

        def _project(self, params):
            return params

    with pytest.raises(SymtheoryError, match="a mirror with coordinates of its own"):
        coordinates(Odd(), {"w": torch.ones(2)})
    flip = sign_flip({"w": (2,)}, ["w"])
    with pytest.raises(SymtheoryError, match="'parts' of a CompositeMirror"):
        group_index(flip, "parts")
    with pytest.raises(SymtheoryError, match="2 group numbers"):
        group_index(flip, torch.tensor([0, 2]))
    with pytest.raises(SymtheoryError, match="decays >= 0"):
        l1_strength(-1.0)


# --- the corrected statement ------------------------------------------------------------------------------------------


@verify
@given(kinds, seeds, st.sampled_from(["each", "all"]), st.floats(0.0, 2.0))
def test_every_parameter_has_factors(kind, seed, groups, imbalance):
    mirror, w, _ = drawn(kind, seed)
    f = Factoring(mirror, group_index(mirror, groups))
    factors = f.split(w, imbalance)
    assert float((flatten(f.join(factors)) - flatten(w)).norm()) < 1e-12 * float(flatten(w).norm())
    gap = factors[SCALE] ** 2 - f.norms(factors[DIRECTION]) ** 2
    assert torch.allclose(gap, torch.full_like(gap, imbalance**2), atol=1e-10)


@verify
@given(kinds, seeds, st.sampled_from(["each", "all"]))
def test_across_the_mirror_there_is_only_the_product(kind, seed, groups):
    mirror, v, g = drawn(kind, seed)
    f = Factoring(mirror, group_index(mirror, groups))
    factors = {**v, DIRECTION: normal(g, mirror.rank), SCALE: normal(g, f.groups)}
    theta = f.join(factors)
    assert torch.allclose(coordinates(mirror, theta), f.across(factors), atol=1e-10)
    along, wanted = mirror.symmetrize(theta), mirror.symmetrize(v)
    assert all(torch.allclose(along[k], wanted[k], atol=1e-10) for k in v)


@verify
@given(kinds, seeds, st.sampled_from(["each", "all"]))
def test_decay_of_the_factors_is_at_least_twice_the_norm(kind, seed, groups):
    mirror, w, g = drawn(kind, seed)
    f = Factoring(mirror, group_index(mirror, groups))
    balanced = f.split(w, 0.0)
    least = 2 * float(f.norm(w))
    assert float(f.penalty(balanced)) == pytest.approx(least, rel=1e-12)
    stretch = torch.exp(normal(g, f.groups))  # every other factoring of the same parameters
    other = {**balanced, SCALE: balanced[SCALE] * stretch, DIRECTION: balanced[DIRECTION] / stretch[f.index]}
    assert float((flatten(f.join(other)) - flatten(w)).norm()) < 1e-10
    extra = (f.norms(f.across(balanced)) * (stretch - 1 / stretch) ** 2).sum()
    assert float(f.penalty(other)) == pytest.approx(least + float(extra), rel=1e-10)


@verify
@given(kinds, st.sampled_from(["each", "all"]), seeds, st.sampled_from([0.1, 0.4, 0.8]))
@settings(max_examples=100)
def test_minimising_the_factors_minimises_the_penalised_loss(kind, groups, seed, share):
    found = problem(kind, groups, seed, share)
    assert difference(found, minimise_factors(found)) < MINIMISER_TOLERANCE


@verify
@pytest.mark.parametrize("kind", ["basis", "permutation"])
@pytest.mark.parametrize("ratio", [4.0, 0.25])
def test_unequal_decays_act_like_their_geometric_mean(kind, ratio):
    found = problem(kind, "each", 3)
    theta = minimise_factors(found, decays=(ratio, 1 / ratio, 0.0))
    assert difference(found, theta) < MINIMISER_TOLERANCE
    assert l1_strength(ratio * found.alpha, found.alpha / ratio) == pytest.approx(2 * found.alpha)


@verify
@given(kinds, seeds)
def test_the_critical_decay_of_the_factors_is_half_the_largest_pull(kind, seed):
    """Theorem 1.4 on the mirror c = 0, t = 0 of the factored loss gives the lasso's condition |g| <= 2 alpha."""
    found = problem(kind, "each", seed)
    f, g = found.factoring, generator_of(seed)
    factors = {
        **{k: normal(g, *s) for k, s in found.shapes.items()},
        DIRECTION: normal(g, found.mirror.rank),
        SCALE: normal(g, f.groups),
    }
    loss = lambda p, _: found.loss(f.join(p))  # noqa: E731
    mirror = sign_flip(shapes_of(factors), [DIRECTION, SCALE])
    free = f.free(factors)
    slope = grad(found.loss)({k: free.get(k, factors[k]) for k in found.shapes})
    pull = coordinates(found.mirror, slope).abs().max()
    assert critical_decay(loss, factors, None, mirror) == pytest.approx(float(pull) / 2, rel=1e-9)


# --- scikit-learn as a judge ------------------------------------------------------------------------------------------


@verify
@given(seeds, st.integers(2, 8), st.floats(0.05, 0.9))
def test_the_convex_solver_is_scikit_learns(seed, n, share):
    g = generator_of(seed)
    a, b = normal(g, 4 * n, n), normal(g, 4 * n)
    strength = share * float((a.T @ b / len(b)).abs().max())
    ours = penalised_least_squares(a, b, torch.eye(n).double(), torch.arange(n), strength)
    theirs = Lasso(alpha=strength, fit_intercept=False, tol=1e-14, max_iter=100000).fit(a.numpy(), b.numpy()).coef_
    assert float((ours - torch.from_numpy(theirs)).norm()) < 1e-7


@verify
@given(seeds, st.floats(0.1, 0.8))
@settings(max_examples=100)
def test_spred_is_scikit_learns_lasso_also_in_a_rotated_frame(seed, share):
    """O of full rank: rotate the data instead. (1/2m) sum of squares: sklearn's alpha is 2 alpha of eq. (7)."""
    g, n = generator_of(seed), 4
    basis = orthonormal(n, n, g)
    a, b = normal(g, 4 * n, n), normal(g, 4 * n)
    alpha = share * float((basis.T @ a.T @ b / len(b)).abs().max()) / 2
    found = Problem("rotated", from_basis(basis, {"w": (n,)}), torch.arange(n), a, b, alpha, {"w": (n,)}, seed)
    judge = Lasso(alpha=2 * alpha, fit_intercept=False, tol=1e-14, max_iter=100000)
    coefficients = judge.fit((a @ basis).numpy(), b.numpy()).coef_
    theta = minimise_factors(found)
    assert float((basis.T @ theta - torch.from_numpy(coefficients)).norm()) < 1e-7


# --- the printed form -------------------------------------------------------------------------------------------------


@verify
@given(seeds)
def test_the_printed_product_is_right_for_coordinate_vectors(seed):
    mirror, w, g = drawn("rescaling", seed)
    u, v = ({k: normal(g, *s) for k, s in SMALL.items()} for _ in range(2))
    f = Factoring(mirror, group_index(mirror, "each"))
    factors = {**v, DIRECTION: coordinates(mirror, w), SCALE: coordinates(mirror, u)}
    ours, printed = f.join(factors), printed_map(mirror, w, u, v)
    assert all(torch.allclose(ours[k], printed[k], atol=1e-12) for k in printed)


@pytest.mark.claim("A.E7", role="counterexample")
@given(seeds, shapes)
def test_the_printed_product_never_leaves_the_mirror_of_an_exchange(seed, layout):
    mirror, w, g = drawn("permutation", seed, layout)
    u, v = ({k: normal(g, *s) for k, s in layout.items()} for _ in range(2))
    assert mirror.distance(printed_map(mirror, w, u, v)) < 1e-12
    assert mirror.distance(w) > 1e-6


@pytest.mark.claim("A.E7", role="counterexample")
@given(st.sampled_from(["basis", "rotation", "double rotation"]), seeds)
def test_the_printed_product_is_another_one_in_a_generic_frame(kind, seed):
    mirror, w, g = drawn(kind, seed)
    u, v = ({k: normal(g, *s) for k, s in SMALL.items()} for _ in range(2))
    f = Factoring(mirror, group_index(mirror, "each"))
    ours = f.join({**v, DIRECTION: coordinates(mirror, w), SCALE: coordinates(mirror, u)})
    printed = printed_map(mirror, w, u, v)
    assert float(flatten({k: ours[k] - printed[k] for k in printed}).norm()) > 1e-6


@verify
@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_the_printed_strength_of_a_constant_normal_grows_like_the_root_of_its_size(n):
    vector = torch.ones(n).double() / n**0.5
    assert printed_strength(vector, 0.5) == pytest.approx(n**0.5)
    assert printed_reach(vector[:, None]).value == 1


@verify
@given(seeds, st.integers(2, 6), st.floats(0.1, 2.0))
@settings(max_examples=100)
def test_the_printed_form_with_one_normal_is_the_lasso_of_another_strength(seed, n, share):
    g = generator_of(seed)
    normal_vector = orthonormal(n, 1, g)[:, 0]
    strength = printed_strength(normal_vector, 1.0)
    assume(strength < 100)  # or the cubes nearly cancel, as for the exchange, and the problem is badly conditioned
    assume(abs(share - 1) > 0.05)
    b, rows = normal(g, n), n**0.5
    alpha = share * abs(float(normal_vector @ b)) / strength
    design = rows * torch.eye(n).double()
    mirror = from_basis(normal_vector, {"w": (n,)})
    found = Problem("one normal", mirror, torch.zeros(1).long(), design, rows * b, alpha, {"w": (n,)}, seed)
    z = float(normal_vector @ b)
    wanted = math.copysign(max(abs(z) - alpha * strength, 0.0), z)
    assert float(normal_vector @ minimise_printed(found)) == pytest.approx(wanted, abs=1e-5)


@verify
@given(seeds)
def test_the_printed_form_with_a_centring_is_a_group_lasso(seed):
    g, basis = generator_of(seed), centring()
    assert torch.allclose(basis @ basis.T, torch.eye(3).double() - 1 / 3)
    a, b = normal(g, 2), normal(g, 2)
    product = basis.T @ ((basis @ a) * (basis @ b))
    assert float(product.norm()) == pytest.approx(float(a.norm() * b.norm()) / 6**0.5, rel=1e-10)


# --- which mirrors the factors have -----------------------------------------------------------------------------------


def trained(start, target, *, steps=4000, rate=0.05, alpha=0.1):
    """Gradient descent on (tc - target)^2 / 2 + alpha (c^2 + t^2)."""
    c, t = (torch.tensor(x, dtype=torch.float64) for x in start)
    for _ in range(steps):
        g = c * t - target
        c, t = c - rate * (g * t + 2 * alpha * c), t - rate * (g * c + 2 * alpha * t)
    return float(c * t)


@verify
@pytest.mark.parametrize("target", [2.0, -2.0])
def test_an_unbalanced_start_finds_the_soft_threshold_of_either_sign(target):
    assert trained((0.0, 0.5), target) == pytest.approx(math.copysign(1.8, target), abs=1e-6)


@pytest.mark.claim("A.E7", role="control")
@pytest.mark.parametrize(("start", "end"), [((0.0, 0.0), 0.0), ((0.7, 0.7), 0.0)])
def test_a_start_on_a_mirror_stays_there(start, end):
    """Both factors zero; or equal factors, whose product cannot become negative."""
    assert trained(start, -2.0) == pytest.approx(end, abs=1e-9)


# --- the tool ---------------------------------------------------------------------------------------------------------


def network(seed=0, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).to(dtype)


def mirror_of(model, kind):
    layout = shapes_of(params_of(model))
    axes = {"0.weight": 0, "0.bias": 0, "1.weight": 0, "1.bias": 0, "3.weight": 1}
    match kind:
        case "neurons":
            return permutation(layout, axes, 1, 4)
        case "spred":
            return sign_flip_all(model, ["0.weight", "3.weight"])
        case "rotation":
            return rotation(layout, "0.weight", orthonormal(6, 2, generator_of(0)))
        case _:
            generic = {k: layout[k] for k in ("0.weight", "3.weight")}
            return from_basis(orthonormal(36, 5, generator_of(0)), generic)


MIRRORS = ("neurons", "spred", "rotation", "basis")
every_mirror = pytest.mark.parametrize("kind", MIRRORS)
every_group = pytest.mark.parametrize("groups", ["each", "all"])
X, Y = normal(generator_of(7), 32, 4), normal(generator_of(8), 32, 2)


@every_mirror
@every_group
def test_the_wrapped_model_starts_as_the_model_and_folds_back(kind, groups):
    model = network()
    before = copy.deepcopy(model.state_dict())
    wrapped = dcs(model.eval(), mirror_of(model, kind), 0.01, groups=groups)
    assert torch.allclose(wrapped(X), model(X), atol=1e-12)
    folded = wrapped.fold()
    assert type(folded) is nn.Sequential and set(folded.state_dict()) == set(before)
    assert torch.allclose(folded(X), model(X), atol=1e-12)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def fit(wrapped, optimizer, steps, penalised):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(wrapped(X), Y)
        (loss + wrapped.penalty() if penalised else loss).backward()
        optimizer.step()
    return wrapped


@every_mirror
@every_group
def test_weight_decay_on_the_factors_is_the_penalty(kind, groups):
    model = network()
    one = dcs(model, mirror_of(model, kind), 0.02, groups=groups)
    two = copy.deepcopy(one)
    fit(one, torch.optim.SGD(one.parameter_groups(), lr=0.1, momentum=0.5), 10, False)
    fit(two, torch.optim.SGD(two.parameters(), lr=0.1, momentum=0.5), 10, True)
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@every_mirror
def test_saving_loading_and_copying(kind):
    model = network()
    one = dcs(model, mirror_of(model, kind), 0.02)
    fit(one, torch.optim.SGD(one.parameter_groups(), lr=0.1), 5, False)
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    two = dcs(network(1), mirror_of(model, kind), 0.02)
    two.load_state_dict(torch.load(file, weights_only=True))
    three = copy.deepcopy(one)
    for other in (two, three):
        assert torch.equal(other.eval()(X), one.eval()(X))
    with torch.no_grad():
        three.scale += 1
    assert not torch.equal(three(X), one(X))


@every_group
def test_enough_alpha_merges_two_neurons(groups):
    model = network()
    mirror = mirror_of(model, "neurons")
    wrapped = dcs(model, mirror, 1.0, groups=groups)
    assert mirror.distance(params_of(wrapped.fold())) > 0.1
    fit(wrapped, torch.optim.SGD(wrapped.parameter_groups(), lr=0.05, momentum=0.9), 600, False)
    assert mirror.distance(params_of(wrapped.fold())) < 1e-9 and wrapped.zeros(1e-9) == 1.0
    folded = wrapped.eval().fold(threshold=1e-9)
    assert mirror.distance(params_of(folded)) < 1e-15
    assert torch.allclose(folded(X), wrapped(X), atol=1e-8)


@every_mirror
def test_folding_cuts_the_groups_below_a_threshold(kind):
    model = network()
    wrapped = dcs(model, mirror_of(model, kind), 0.1)
    z = wrapped.coordinates().detach()
    cut = float(z.abs().median())
    folded = coordinates(wrapped.mirror, params_of(wrapped.fold(threshold=cut)))
    assert torch.allclose(folded, torch.where(z.abs() > cut, z, torch.zeros_like(z)), atol=1e-12)
    assert wrapped.zeros(cut) == pytest.approx(float((z.abs() <= cut).double().mean()))


def test_spred_makes_a_network_sparse_and_plain_decay_does_not():
    model = network()
    # the last layer only: the first is normalised, and a penalty shrinks it without end instead of cutting it
    wrapped = dcs(model, sign_flip_all(model, ["3.weight"]), 0.05)
    fit(wrapped, torch.optim.SGD(wrapped.parameter_groups(), lr=0.1, momentum=0.9), 600, False)
    plain = network()
    decayed = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(600):
        decayed.zero_grad()
        nn.functional.mse_loss(plain(X), Y).backward()
        decayed.step()
    assert 0.2 < wrapped.zeros(1e-6) < 0.9
    assert float((plain[3].weight.abs() < 1e-6).double().mean()) == 0.0
    assert float(wrapped.penalty().detach()) == pytest.approx(float(wrapped.l1().detach()), rel=1e-3)


def test_a_start_on_the_mirror_can_leave_it_unless_both_factors_vanish():
    model = network()
    wrapped = dcs(model, sign_flip_all(model, ["3.weight"]), 1e-4)
    for delta, leaves in ((0.5, True), (0.0, False)):
        fresh = start_on_mirror(wrapped, delta)
        assert float(fresh.coordinates().detach().abs().max()) == 0.0
        fit(fresh, torch.optim.SGD(fresh.parameter_groups(), lr=0.1), 20, False)
        assert (float(fresh.coordinates().detach().abs().max()) > 1e-3) == leaves


def test_tied_parameters_and_single_precision():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode = nn.Linear(4, 4, bias=False)
            self.decode = nn.Linear(4, 4, bias=False)
            self.decode.weight = self.encode.weight

        def forward(self, x):
            return self.decode(torch.tanh(self.encode(x)))

    model = Tied()
    wrapped = dcs(model, sign_flip_all(model), 0.1)
    assert torch.allclose(wrapped(X.float()), model(X.float()), atol=1e-6)
    assert wrapped.direction.dtype == torch.float32
    assert torch.allclose(wrapped.fold()(X.float()), model(X.float()), atol=1e-6)


def test_the_pure_form_can_be_vectorised_over():
    mirror, w, _ = drawn("permutation", 0)
    f = Factoring(mirror, group_index(mirror, "each"))
    loss = factored_loss(lambda p, x: (flatten(p) ** 4).sum() * x, f, 0.3)
    starts = [f.split(w, d) for d in (0.1, 0.5, 1.0)]
    stacked = {k: torch.stack([s[k] for s in starts]) for k in starts[0]}
    slopes = vmap(grad(loss), in_dims=(0, None))(stacked, torch.tensor(2.0).double())
    for i, start in enumerate(starts):
        single = grad(loss)(start, torch.tensor(2.0).double())
        assert all(torch.allclose(slopes[k][i], single[k]) for k in single)


def test_a_mirror_of_a_report_can_be_imposed():
    """Two neurons of a trained network become one, and the network keeps its function until then."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = torch.randn(32, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mirror = discover(model, x).families[0].mirror(0, 2)
    wrapped = dcs(model, mirror, 0.5, groups="all")
    torch.testing.assert_close(wrapped(x), model(x))
    optimizer = torch.optim.SGD(wrapped.parameter_groups(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        (wrapped(x) - x[:, :1]).square().mean().backward()
        optimizer.step()
    rows = wrapped.fold(1e-3).get_parameter("0.weight")
    assert wrapped.zeros(1e-3) == 1.0
    assert torch.allclose(rows[0], rows[2]) and not torch.allclose(rows[0], rows[1], atol=1e-2)


def test_misuse_is_refused():
    model = network()
    with pytest.raises(SymtheoryError, match="'weight' on the meta device"):
        sign_flip_all(nn.Linear(2, 2, device="meta"))
    with pytest.raises(SymtheoryError, match="a model with trained parameters, got none"):
        sign_flip_all(nn.Linear(2, 2).requires_grad_(False))
    with pytest.raises(SymtheoryError, match="'weight' on the meta device"):
        dcs(nn.Linear(2, 2, device="meta"), sign_flip_all(nn.Linear(2, 2)), 0.1)
    with pytest.raises(SymtheoryError, match="alpha >= 0"):
        dcs(model, sign_flip_all(model), -0.1)
    with pytest.raises(SymtheoryError, match="a parameter named 'w'"):
        dcs(model, sign_flip({"w": (2,)}, ["w"]), 0.1)
    assert "l1_strength=0.2" in repr(DCS(model, sign_flip_all(model), 0.1))


def test_the_solver_says_when_it_has_no_certificate():
    g = generator_of(0)
    with pytest.raises(SymtheoryError, match="a proximal step below"):
        penalised_least_squares(normal(g, 9, 3), normal(g, 9), torch.eye(3).double(), torch.arange(3), 0.1, steps=2)


# --- the experiment of the page ---------------------------------------------------------------------------------------


@verify
def test_gradient_descent_follows_the_lasso_paths():
    result = L1().run(L1.presets["smoke"])
    assert [v for v in L1().check(result) if not v.holds] == []
    exchanged = result.assign_coords(form=["printed", "groups", "coordinates"])
    assert not all(L1().check(exchanged))
    canvas = figure_l1(result)
    assert Drawing(canvas)._repr_png_().startswith(b"\x89PNG")
    assert len(canvas.axes) == 3 and all(ax.get_xlabel() and ax.get_ylabel() for ax in canvas.axes)
    assert set(L1.presets) == set(PRESETS)


@pytest.mark.parametrize("wrong", [{"group": 5}, {"rank": 30}, {"lr": 0.0}, {"momentum": 1.0}])
def test_bad_settings_are_refused(wrong):
    with pytest.raises(SymtheoryError, match=r"group \| rank|positive strengths"):
        Settings(**wrong)


# --- what a model as a whole costs ------------------------------------------------------------------------------------


class Tied(nn.Module):
    """An encoder whose decoder is the same tensor."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(self.encode(x).tanh())


@pytest.mark.parametrize("make", [copy.deepcopy, lambda wrapped: wrapped])
def test_a_tied_weight_is_factored_once_and_stays_tied(make):
    torch.manual_seed(0)
    net, x = Tied().double(), torch.randn(5, 3, dtype=torch.float64)
    wrapped = make(dcs(net, sign_flip_all(net), 0.1))
    assert wrapped.direction.shape == (9,) and torch.allclose(wrapped(x), net(x))
    with torch.no_grad():
        wrapped.scale.mul_(0.5)
    plain = wrapped.fold()
    assert plain.decode.weight is plain.encode.weight
    assert torch.allclose(plain(x), wrapped(x)) and not torch.allclose(plain(x), net(x))


def test_nothing_but_the_factors_is_left_of_tensors_across_the_mirror():
    net = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 20))
    wrapped = dcs(net, sign_flip_all(net), 0.1)
    size = sum(p.numel() for p in net.parameters())
    assert sum(t.numel() for t in (*wrapped.parameters(), *wrapped.buffers())) == 2 * size
    assert sum(p.numel() for group in wrapped.parameter_groups() for p in group["params"]) == 2 * size
    assert [p.shape for p in wrapped.fold().parameters()] == [p.shape for p in net.parameters()]
    half = dcs(net, sign_flip_all(net, ["0.weight"]), 0.1)
    assert sum(p.numel() for p in half.parameters()) == size + 1200
    x = torch.randn(3, 40)
    assert torch.allclose(wrapped(x), net(x), atol=1e-5) and torch.allclose(half(x), net(x), atol=1e-5)


def test_frozen_parameters_are_not_trained_through_their_factors():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    wrapped, x = dcs(model, sign_flip_all(model), 0.1), torch.ones(4, 2)
    wrapped(x).sum().backward()
    torch.optim.SGD(wrapped.parameters(), lr=0.1).step()
    assert torch.equal(wrapped.fold().get_parameter("0.weight"), model[0].get_parameter("weight"))
    with pytest.raises(SymtheoryError, match="a mirror on trained parameters, got frozen"):
        dcs(model, sign_flip_all(model, ["0.weight"]), 0.1)
