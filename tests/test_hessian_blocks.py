"""Evidence for paper A's Theorem 1.2, eqs. (2) to (5) and Theorem 5."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from symtheory.engine.frames import joint_frames
from symtheory.engine.lyapunov import matrix_exponents, scalar_exponent
from symtheory.engine.operators import dense_hessian
from symtheory.engine.statistics import fitted_exponent
from symtheory.errors import SymtheoryError
from symtheory.figures.base import preset_of
from symtheory.figures.collapse import Collapse, Settings, thresholds, window
from symtheory.plots.collapse import figure_collapse
from symtheory.plots.style import Drawing
from symtheory.spec import flatten, sign_flip
from symtheory.spec.mirror import Block
from symtheory.theorems.hessian_blocks import (
    BLOCKS,
    COLLAPSE,
    EXPANSION,
    LINEAR,
    SECOND_ORDER,
    critical_learning_rate,
    critical_weight_decay,
    escape_factor,
    fisher_null,
    hessian_blocks,
    lyapunov_exponent,
    stable_learning_rates,
)
from symtheory.theorems.hessian_blocks.expansion import remainder
from symtheory.theorems.hessian_blocks.fisher import NULL, empirical_fisher, fisher_spectrum, null_order, null_orders
from symtheory.theorems.hessian_blocks.joint import KINDS as JOINT
from symtheory.theorems.hessian_blocks.joint import joint
from symtheory.theorems.hessian_blocks.laws import LAWS, law, stretch, tumbling
from symtheory.theorems.hessian_blocks.linear import descend
from symtheory.theorems.hessian_blocks.second_order import curvature_instances
from symtheory.theorems.hessian_blocks.structure import mixing
from symtheory.theorems.hessian_blocks.tanh import check_tanh, tanh_loss, tanh_net
from symtheory.theorems.instances import KINDS, abstract, generator_of, generic_function, normal, symmetrized
from tests.oracles import obeys
from tests.strategies import instances, seeds, shapes

expansion_law = pytest.mark.claim("A.E3", role="verify")
linear_law = pytest.mark.claim("A.E4", role="verify")
rate_law = pytest.mark.claim("A.E5", role="verify")
collapse_law = pytest.mark.claim("A.T5", role="verify")
blocks_law = pytest.mark.claim("A.T1.2", role="verify")

#: Ten parameters, so that the Fisher information of 24 samples is singular for one reason only.
SMALL = {"u": (2, 2), "w": (2, 2), "b": (2,)}


@blocks_law
@given(instances())
def test_the_hessian_does_not_mix(instance):
    assert obeys(BLOCKS.check(instance))


@blocks_law
@given(st.sampled_from(JOINT), seeds)
def test_several_mirrors_split_it_jointly(kind, seed):
    assert obeys(BLOCKS.check(joint(kind, seed)))


@blocks_law
@given(seeds, st.integers(1, 4))
def test_equation_two_for_every_width(seed, width):
    assert obeys(check_tanh(tanh_net(seed, width)))


@blocks_law
@given(st.sampled_from(KINDS), seeds, shapes)
def test_matrix_free_blocks_are_those_of_the_dense_hessian(kind, seed, layout):
    i = abstract(kind, seed, layout, 1)
    point = i.mirror.symmetrize(i.params)
    found = hessian_blocks(i.loss, point, i.samples[0], [i.mirror])
    dense, p = dense_hessian(i.loss, point, i.samples[0]), i.mirror.to_dense(layout)
    values, vectors = torch.linalg.eigh(p)
    o = vectors[:, values > 0.5]
    expected = torch.linalg.eigvalsh(o.T @ dense @ o)
    assert found.sizes == (i.mirror.rank,)
    assert torch.allclose(found.spectra[0], expected, atol=1e-10 * float(expected.abs().max()))
    assert found.leak < 1e-9
    assert found.rest == i.size - i.mirror.rank


@blocks_law
@given(seeds, shapes)
def test_a_single_normal_is_an_eigenvector(seed, layout):
    i = abstract("simple", seed, layout, 1)
    h = dense_hessian(i.loss, i.mirror.symmetrize(i.params), i.samples[0])
    n = flatten(i.mirror.random_normal(generator_of(seed)))
    assert float((h @ n - (n @ h @ n) * n).norm()) < 1e-10 * float(h.norm())


@blocks_law
@given(st.sampled_from(KINDS[:-1]), seeds)
def test_near_the_mirror_mixing_is_of_first_order(kind, seed):
    """Close to the mirror the partition is approximate: the off-diagonal block is odd in the distance."""
    i = abstract(kind, seed, samples=1)
    n, m = (i.mirror.random_normal(generator_of(seed + k)) for k in range(2))
    foot = i.mirror.symmetrize(i.params)

    def off(s):
        point = {k: p + s * n[k] if k in n else p for k, p in foot.items()}
        return mixing(i.loss, i.mirror, point, i.samples[0], m, step=0.0)

    near, far = off(1e-4), off(2e-4)
    assert far / near == pytest.approx(2.0, abs=0.02)


def _fisher_case(kind, seed):
    i = abstract(kind, seed, SMALL, 24)
    size = 10
    g = generic_function(size, generator_of(seed), features=3 * size)
    return i, symmetrized(lambda p, x: g(flatten(p), x), i.mirror)


@blocks_law
@given(st.sampled_from([k for k in KINDS if k != "rescaling"]), seeds)
def test_the_fisher_information_is_singular_on_the_mirror_and_of_second_order_beside_it(kind, seed):
    i, loss = _fisher_case(kind, seed)
    n, steps = i.mirror.random_normal(generator_of(seed)), (1e-3, 2e-3)
    on = torch.linalg.eigvalsh(empirical_fisher(loss, i.mirror.symmetrize(i.params), i.samples))
    null = int((on < NULL * on[-1]).sum())
    assert null >= i.mirror.rank
    count, crossing = fisher_null(loss, i.mirror.symmetrize(i.params), i.samples, [i.mirror])
    assert (count, crossing < 1e-12) == (i.mirror.rank, True)
    off = fisher_spectrum(loss, i.mirror, i.params, i.samples, n, steps)
    assert float(off[0, 0]) > 0 or i.mirror.rank > 1
    if i.mirror.rank == 1:
        assert null_order(off, 1, steps) == pytest.approx(2.0, abs=0.1)


@blocks_law
@pytest.mark.parametrize("seed", range(3))
def test_a_tanh_neuron_has_one_eigenvalue_of_second_order_and_one_of_sixth(seed):
    """P H(x) n is a multiple of one vector for all x: one eigenvalue of a mirror of rank 2 is of higher order."""
    mirror, steps = sign_flip({"u": (1,), "w": (1,)}, ["u", "w"]), (2e-2, 4e-2)
    origin, n = (
        {k: torch.tensor([v]).double() for k, v in zip("uw", p, strict=True)} for p in ((0.0, 0.0), (0.6, 0.8))
    )
    samples = list(normal(generator_of(seed), 50, 1, 2))
    spectra = fisher_spectrum(tanh_loss, mirror, origin, samples, n, steps)
    sixth, second = null_orders(spectra, mirror.rank, steps)
    assert second == pytest.approx(2.0, abs=0.1)
    assert sixth == pytest.approx(6.0, abs=0.1)
    axis = {"u": torch.ones(1).double(), "w": torch.zeros(1).double()}
    assert float(fisher_spectrum(tanh_loss, mirror, origin, samples, axis, steps)[0, 0]) == 0.0


@pytest.mark.claim("A.T1.2", role="control")
@given(seeds)
def test_a_symmetric_mean_does_not_make_the_fisher_information_singular(seed):
    """Per-sample symmetry is what counts: gradients of samples may cross the mirror and cancel."""
    g = generator_of(seed)
    mirror, slope = sign_flip({"w": ()}, ["w"]), normal(g, 1)[0].abs() + 0.1
    point = {"w": torch.tensor(0.0).double()}
    loss = lambda p, x: p["w"] ** 2 + x * slope * p["w"]  # noqa: E731
    samples = [torch.tensor(1.0).double(), torch.tensor(-1.0).double()]
    assert float(empirical_fisher(loss, point, samples)[0, 0]) == pytest.approx(float(slope) ** 2)
    assert fisher_null(loss, point, samples, [mirror])[1] == 1.0


@pytest.mark.claim("A.T1.2", role="control")
@given(seeds)
def test_a_point_on_one_mirror_only_has_no_joint_blocks(seed):
    i = joint("orthogonal", seed)
    point = i.mirrors[0].symmetrize({"w": i.params["w"] + normal(generator_of(seed), 8)})
    assert hessian_blocks(i.loss, point, i.sample, i.mirrors).leak > 1e-6
    assert hessian_blocks(i.loss, point, i.sample, i.mirrors[:1]).leak < 1e-9


def test_multiplets_tell_oblique_mirrors_from_commuting_ones():
    oblique, plain = (joint_frames(joint(kind, 0).mirrors) for kind in ("dihedral 3", "orthogonal"))
    assert (oblique.commuting, oblique.multiplet) == (False, (0, 0))
    assert (plain.commuting, plain.multiplet) == (True, (0, 1, 2))
    assert sorted(plain.inside) == [(0, 0, 1), (0, 1, 0), (1, 0, 0)]


def test_a_large_model_costs_only_its_normals():
    """A hundred thousand parameters, one neuron's flip: as many products as the neuron has weights."""
    width, inputs = 2000, 50
    layout = {"w": (width, inputs), "u": (width,)}
    mirror = sign_flip(layout, [Block("w", 0, (7,)), Block("u", 0, (7,))])
    g = generator_of(0)
    params = mirror.symmetrize({k: normal(g, *s) / s[-1] ** 0.5 for k, s in layout.items()})
    x, y = normal(g, inputs), normal(g)
    loss = lambda p, _: (p["u"] @ torch.tanh(p["w"] @ x) - y) ** 2 / 2  # noqa: E731
    found = hessian_blocks(loss, params, None, [mirror])
    assert (found.sizes, found.rest) == ((51,), width * (inputs + 1) - 51)
    assert found.leak < 1e-12
    residual = params["u"] @ torch.tanh(params["w"] @ x) - y
    expected = float((residual * x.norm()).abs())  # the only curvature at u = w = 0 couples u to w along x
    assert float(found.spectra[0][-1]) == pytest.approx(expected, rel=1e-9)
    assert found.lowest == pytest.approx(-expected, rel=1e-9)


def test_joint_frames_refuse_a_whole_layer():
    with pytest.raises(SymtheoryError, match="normals in all"):
        joint_frames([sign_flip({"w": (5000,)}, ["w"])])


def test_the_tanh_network_is_not_the_linear_one():
    """(1, 1) is a mirror of the linear network only: exchanging u and w changes the tanh loss at order four."""
    batch = torch.tensor([[1.0, 1.0]]).double()
    gaps = []
    for s in (0.05, 0.1):
        a, b = (torch.tensor([v * s]).double() for v in (1.0, 2.0))
        gaps.append(float(tanh_loss({"u": a, "w": b}, batch) - tanh_loss({"u": b, "w": a}, batch)))
    assert gaps[1] / gaps[0] == pytest.approx(16.0, rel=0.1)


# --- eqs. (3) and (4) ----------------------------------------------------------------------------------------------

smooth = instances().filter(lambda i: i.name != "relu_mlp")


@expansion_law
@given(smooth)
def test_the_remainder_is_of_order_four(instance):
    assert obeys(EXPANSION.check(instance))


@expansion_law
@given(st.sampled_from(KINDS), seeds)
def test_the_fitted_order_is_four_with_the_symmetry_and_three_without(kind, seed):
    """The paper prints o(s^4) once and o(s^3) once; odd orders vanish, so it is four exactly."""
    i = abstract(kind, seed, samples=1)
    n, steps = i.mirror.random_normal(generator_of(seed)), [0.05, 0.1, 0.2]
    even = [abs(remainder(i.loss, i.mirror, i.params, i.samples[0], n, s)) for s in steps]
    assume(even[0] > 1e-10)  # or the quartic term happens to be small
    quartic = [r / s**4 for r, s in zip(even, steps, strict=True)]
    assume(max(quartic) < 1.2 * min(quartic))  # far from a zero of the quartic term
    assert fitted_exponent(steps, even).value == pytest.approx(4.0, abs=0.15)
    odd = abs(remainder(i.broken, i.mirror, i.params, i.samples[0], n, 1e-4))
    assert odd / 1e-4**4 > 1e3 * max(quartic)


@linear_law
@given(smooth)
def test_sgd_follows_the_matrix_product(instance):
    assert obeys(LINEAR.check(instance))


@linear_law
@given(st.floats(-2.0, 4.0), st.floats(0.01, 1.0), st.floats(0.0, 1.0))
def test_gradient_descent_is_attracted_inside_a_window(xi, lr, gamma):
    factor = escape_factor(xi, lr, gamma)
    assert descend(xi, lr, gamma, 5) == pytest.approx(factor**5, rel=1e-9, abs=1e-12)
    total = lr * (xi + 2 * gamma)
    assume(min(abs(total), abs(total - 2)) > 1e-9)
    assert (factor < 1) == (0 < total < 2)


# --- eq. (5) and Theorem 5 -----------------------------------------------------------------------------------------

curvatures = st.lists(st.floats(-4.0, 4.0).map(lambda v: round(v, 3)), min_size=1, max_size=6).map(
    lambda v: torch.tensor(v, dtype=torch.float64)
)


decays = st.floats(0.0, 1.0).map(lambda v: round(v, 3))


@rate_law
@given(seeds)
@example(558130089)  # one curvature is so small that the exponent is negative on a sliver of rates only
@example(382425)  # on one that double precision does not resolve
def test_exponent_expansion_and_critical_values(seed):
    for instance in curvature_instances(seed):
        assert obeys(SECOND_ORDER.check(instance))


@rate_law
@given(curvatures, decays)
def test_the_exponent_is_negative_exactly_on_the_stable_intervals(xi, gamma):
    """Against a dense grid of rates, from the outside: no zero is missed and none invented."""
    stable = stable_learning_rates(xi, gamma)
    assert all(a < b for a, b in stable)
    assert all(b <= c for (_, b), (c, _) in pairwise(stable))
    for lr in torch.logspace(-2, 2, 300).double().tolist():
        value = lyapunov_exponent(xi, lr, gamma, exact=True).value
        assume(abs(value) > 1e-12)
        edge = min((abs(lr - e) for pair in stable for e in pair), default=1.0)
        assert edge < 1e-9 * lr or (value < 0) == any(a < lr < b for a, b in stable)


@rate_law
@given(curvatures, decays)
def test_the_critical_rate_is_the_first_one(xi, gamma):
    a = xi + 2 * gamma
    assume(abs(float(a.mean())) > 1e-3)
    found = critical_learning_rate(xi, gamma)
    if float(a.mean()) > 0:
        assert found.exact == 0.0
    elif not bool((a > 0).any()):
        assert found.exact == float("inf")  # no noise that helps: eq. (5) has an answer, in truth there is none
        assert found.second_order > 0
    else:
        assert found.exact == pytest.approx(stable_learning_rates(xi, gamma)[0][0], rel=1e-9)
        assert found.exact < 1 / float(a.max())


@rate_law
@given(curvatures, st.floats(0.01, 0.3))
def test_the_critical_decay_is_where_collapse_begins(xi, lr):
    found = critical_weight_decay(xi, lr)
    assert found.weight_decay == 2 * found.exact
    if 0 < found.exact < float("inf"):
        above, below = (lyapunov_exponent(xi, lr, found.exact * (1 + e), exact=True).value for e in (1e-7, -1e-7))
        assert above < 0 < below
        for share in (0.1, 0.5, 0.9):
            assert lyapunov_exponent(xi, lr, share * found.exact, exact=True).value > -1e-12


@rate_law
def test_the_second_order_decay_is_close_where_curvatures_spread():
    """The variance enters with its right weight: three times as much would be off by a tenth."""
    found = critical_weight_decay(torch.tensor([-1.2, 0.3, -0.6, 0.1]).double(), 0.2)
    assert found.second_order == pytest.approx(0.157312, abs=1e-6)
    assert found.exact == pytest.approx(0.157815, abs=1e-6)


@rate_law
@given(st.floats(0.05, 1.0))
def test_eq_five_becomes_exact_when_noise_dominates(noise):
    """With symmetric noise of size b and drift -c, rate = 2 c / b^2 up to relative order c^2 / b^2."""
    c, b = 1e-3 * noise, noise
    xi = torch.tensor([b - c, -b - c], dtype=torch.float64)
    found = critical_learning_rate(xi)
    assert found.exact == pytest.approx(found.second_order, rel=1e-5)
    c = 0.3 * noise  # exact 2c / (b^2 - c^2), second order 2c / (b^2 + c^2)
    found = critical_learning_rate(torch.tensor([b - c, -b - c], dtype=torch.float64))
    assert found.exact == pytest.approx(2 * c / (b * b - c * c), rel=1e-9)
    assert found.second_order == pytest.approx(2 * c / (b * b + c * c), rel=1e-9)
    small = torch.tensor([-b], dtype=torch.float64)
    assert critical_weight_decay(small, 1e-4).exact == pytest.approx(b / 2, rel=1e-9)


@collapse_law
@given(st.sampled_from(LAWS), seeds)
def test_the_sign_of_the_exponent_decides(kind, seed):
    assert obeys(COLLAPSE.check(law(kind, seed)))


@collapse_law
@given(curvatures, st.floats(0.01, 0.25))
def test_noise_attracts_while_no_factor_changes_sign(xi, lr):
    """Jensen: below 1 / max h the exponent of SGD is at most that of gradient descent."""
    assume(lr * float(xi.max()) < 1 - 1e-9)
    gd = math.log(escape_factor(float(xi.mean()), lr))
    assert lyapunov_exponent(xi, lr, exact=True).value <= gd + 1e-12


@collapse_law
@given(seeds)
def test_collapse_is_typical_and_moments_diverge(seed):
    found = law("diverging moments", seed)
    assert found.exponent < 0
    assert float(found.factors.square().mean()) > 1


@collapse_law
@given(curvatures, st.floats(0.01, 0.2), seeds)
def test_drawing_without_replacement_has_the_same_exponent(xi, lr, seed):
    """Over an epoch the product is the same in every order, so shuffling changes nothing."""
    factors = 1 - lr * xi
    assume(float(factors.abs().min()) > 1e-6)
    order = torch.randperm(len(xi), generator=generator_of(seed))
    epoch = float(factors[order].abs().log().sum()) / len(xi)
    assert epoch == pytest.approx(lyapunov_exponent(xi, lr, exact=True).value, abs=1e-12)


# --- the engine of exponents against closed forms --------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3])
def test_gaussian_matrices_have_newman_s_exponents(size):
    """Products of Gaussian matrices: the exponents are (log 2 + digamma((r - k) / 2)) / 2, k = 0, 1, ..."""
    draw = lambda g, n: normal(g, n, size, size)  # noqa: E731
    found = matrix_exponents(draw, generator=generator_of(0), steps=400)
    for k, exponent in enumerate(found):
        exact = (math.log(2) + float(torch.special.digamma(torch.tensor((size - k) / 2).double()))) / 2
        assert abs(exponent.value - exact) < 4.5 * exponent.error
        assert exponent.error < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_powers_of_one_matrix_have_its_eigenvalues(seed):
    """Neither normal nor isotropic: frames must be carried from step to step."""
    g = generator_of(seed)
    values, frame = torch.tensor([1.5, -0.7, 0.2]).double(), normal(g, 3, 3)
    matrix = frame @ torch.diag(values) @ torch.linalg.inv(frame)
    found = matrix_exponents(lambda _, n: matrix.expand(n, 3, 3), generator=g, steps=200)
    assert [e.value for e in found] == pytest.approx(values.abs().log().tolist(), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_tumbling_factors_have_the_exponent_of_the_mean_axis(seed):
    draw, diagonal = tumbling(seed)
    top = matrix_exponents(draw, generator=generator_of(seed), steps=800)[0]
    exact = math.log(sum(stretch(seed)) / 2)
    assert diagonal < 0 < exact
    assert top.decided
    assert abs(top.value - exact) < 4.5 * top.error


@given(curvatures.filter(lambda v: len(v) > 1), st.floats(0.01, 0.2))
@settings(max_examples=20)
def test_commuting_blocks_have_the_exponents_of_their_entries(xi, lr):
    other = xi.flip(0) + 0.5
    blocks = torch.diag_embed(torch.stack([xi, other], dim=1))
    found = lyapunov_exponent(blocks, lr, steps=300)
    exact = max(lyapunov_exponent(v, lr, exact=True).value for v in (xi, other))
    assert found.value == pytest.approx(exact, abs=5 * found.error + 0.02)


def test_error_bars_of_scalar_exponents_cover():
    """Of 200 estimates about one in three lies beyond one standard error."""
    g = generator_of(0)
    exact = 2 * math.log(2) - 1  # the mean of log(1 + u), u uniform on [0, 1]
    found = [scalar_exponent(1 + torch.rand(400, generator=g).double()) for _ in range(200)]
    beyond = sum(abs(f.value - exact) > f.error for f in found)
    assert 40 < beyond < 90
    assert "n = 400" in repr(found[0])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: scalar_exponent(torch.zeros(0)), "one or more factors"),
        (lambda: lyapunov_exponent(torch.zeros(2, 2), 0.1), "factors in a vector"),
        (lambda: critical_learning_rate(torch.zeros(2, 2)), "a vector of curvatures"),
        (lambda: critical_weight_decay(torch.ones(2), 0.0), "a learning rate > 0"),
        (lambda: matrix_exponents(lambda g, n: torch.zeros(n, 2, 3), generator=generator_of(0)), "matrices of shape"),
        (
            lambda: matrix_exponents(lambda g, n: torch.zeros(n, 2, 2), generator=generator_of(0), replicas=1),
            "replicas",
        ),
        (lambda: scalar_exponent(torch.tensor([float("nan")])), "finite values"),
    ],
)
def test_senseless_input_is_refused(call, match):
    with pytest.raises(SymtheoryError, match=match):
        call()


# --- the figure ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collapse():
    experiment = Collapse()
    return experiment, experiment.run(preset_of(experiment, "smoke"))


@rate_law
def test_a_tanh_network_grows_and_collapses_as_predicted(collapse):
    experiment, result = collapse
    verdicts = experiment.check(result)
    assert all(verdicts), verdicts
    low, high = window(result)
    assert low == pytest.approx(thresholds(result)[0])
    assert high < 3.0


def test_the_collapse_figure_draws_its_result(collapse):
    left, right = figure_collapse(collapse[1]).axes
    assert left.get_xlabel() == right.get_xlabel() == r"learning rate $\lambda$"
    assert len(left.get_legend().get_texts()) == 4
    assert len(Drawing(left.figure)._repr_png_()) > 10_000


def test_collapse_settings_need_a_noisy_saddle():
    with pytest.raises(SymtheoryError, match="mean < spread"):
        Settings(mean=2.0)


def test_a_leak_into_untouched_tensors_is_seen():
    """Mixed second derivatives with a tensor the mirror does not move: the loss has no such mirror."""
    mirror, point = sign_flip({"w": ()}, ["w"]), {"w": torch.tensor(0.0).double(), "a": torch.tensor(1.0).double()}
    found = hessian_blocks(lambda p, _: p["w"] ** 2 / 2 + 0.75 * p["a"] * p["w"], point, None, [mirror])
    assert found.leak == pytest.approx(0.6)  # 0.75 beside a curvature of 1
