"""Evidence for paper A's Theorem 1.2, eqs. (2) to (5) and Theorem 5."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from symtheory.engine.frames import joint_frames
from symtheory.engine.operators import dense_hessian
from symtheory.errors import SymtheoryError
from symtheory.spec import flatten, sign_flip
from symtheory.spec.mirror import Block
from symtheory.theorems.hessian_blocks import BLOCKS, fisher_null, hessian_blocks
from symtheory.theorems.hessian_blocks.fisher import NULL, empirical_fisher, fisher_spectrum, null_order
from symtheory.theorems.hessian_blocks.joint import KINDS as JOINT
from symtheory.theorems.hessian_blocks.joint import joint
from symtheory.theorems.hessian_blocks.structure import mixing
from symtheory.theorems.hessian_blocks.tanh import check_tanh, tanh_loss, tanh_net
from symtheory.theorems.instances import KINDS, abstract, generator_of, generic_function, normal, symmetrized
from tests.strategies import instances, seeds, shapes

blocks_law = pytest.mark.claim("A.T1.2", role="verify")

#: Ten parameters, so that the Fisher information of 24 samples is singular for one reason only.
SMALL = {"u": (2, 2), "w": (2, 2), "b": (2,)}


@blocks_law
@given(instances())
def test_the_hessian_does_not_mix(instance):
    assert BLOCKS.check(instance)


@blocks_law
@given(st.sampled_from(JOINT), seeds)
def test_several_mirrors_split_it_jointly(kind, seed):
    assert BLOCKS.check(joint(kind, seed))


@blocks_law
@given(seeds, st.integers(1, 9))
def test_equation_two_for_every_width(seed, width):
    assert check_tanh(tanh_net(seed, width))


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
    """Half a million parameters, one neuron's flip: as many products as the neuron has weights."""
    width, inputs = 10000, 50
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
