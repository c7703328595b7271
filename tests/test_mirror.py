"""Mirrors: the laws, against dense twins, and the errors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from symtheory.engine.operators import normal_basis
from symtheory.errors import SymtheoryError
from symtheory.spec import (
    AxisMirror,
    BasisMirror,
    Block,
    CompositeMirror,
    SwapMirror,
    double_rotation,
    exchange,
    flatten,
    from_basis,
    from_projection,
    index_permutation,
    permutation,
    relative_error,
    rescaling_pair,
    rotation,
    shapes_of,
    sign_flip,
    size_of,
)
from symtheory.theorems.instances import KINDS, NETWORKS, generator_of, normal, orthonormal, random_mirror
from tests.oracles import dense_apply, dense_projection, dense_reflection
from tests.strategies import seeds, shapes

EXACT = 1e-13  # a handful of float64 operations on at most a few dozen numbers


@st.composite
def mirrors(draw):
    kind, seed, layout = draw(st.sampled_from(KINDS)), draw(seeds), draw(shapes)
    g = generator_of(seed)
    return random_mirror(kind, g, layout), {k: normal(g, *s) for k, s in layout.items()}


@given(mirrors())
def test_dense_view_is_an_orthogonal_projection(case):
    mirror, params = case
    p = mirror.to_dense(shapes_of(params))
    assert relative_error(p @ p, p) < EXACT
    assert relative_error(p.T, p) < EXACT
    assert round(float(p.trace())) == mirror.rank


@given(mirrors())
def test_dense_view_is_a_homomorphism(case):
    mirror, params = case
    p = mirror.to_dense(shapes_of(params))
    r = dense_reflection(p)
    across = mirror.project(params)
    filled = {k: across.get(k, torch.zeros_like(v)) for k, v in params.items()}
    assert relative_error(flatten(filled), flatten(dense_apply(p, params))) < EXACT
    assert relative_error(flatten(mirror.reflect(params)), flatten(dense_apply(r, params))) < EXACT
    assert relative_error(flatten(mirror.symmetrize(params)), (flatten(params) - p @ flatten(params))) < EXACT
    assert mirror.distance(params) == pytest.approx(float((p @ flatten(params)).norm()), rel=EXACT)


@given(mirrors())
def test_reflection_is_an_orthogonal_involution(case):
    mirror, params = case
    image = mirror.reflect(params)
    assert relative_error(flatten(mirror.reflect(image)), flatten(params)) < EXACT
    assert float(flatten(image).norm()) == pytest.approx(float(flatten(params).norm()), rel=EXACT)
    assert mirror.distance(mirror.symmetrize(params)) < EXACT * float(flatten(params).norm())


@given(mirrors())
def test_normals_span_the_image(case):
    mirror, _ = case
    basis = normal_basis(mirror)
    assert relative_error(dense_projection(basis), mirror.to_dense()) < 1e-10  # QR of random normals


@given(mirrors())
def test_untouched_tensors_are_shared(case):
    mirror, params = case
    extra = {**params, "other": torch.ones(2)}
    assert mirror.reflect(extra)["other"] is extra["other"]
    assert mirror.symmetrize(extra)["other"] is extra["other"]
    assert set(mirror.project(extra)) == set(mirror.shapes)


@pytest.mark.parametrize("name", NETWORKS)
def test_swaps_and_flips_are_exact(name):
    instance = NETWORKS[name](0)
    if not isinstance(instance.mirror, SwapMirror):
        pytest.skip("a rotation is not exact in floating point")
    twice = instance.mirror.reflect(instance.mirror.reflect(instance.params))
    assert torch.equal(flatten(twice), flatten(instance.params))


def test_a_mirror_of_a_large_model_touches_only_its_tensors():
    layout = {"wide": (4096, 4096), "bias": (4096,), "huge": (10**9,)}
    mirror = permutation(layout, {"bias": 0}, 3, 70)
    params = {"wide": torch.empty(4096, 4096, device="meta"), "bias": torch.arange(4096.0)}
    assert mirror.reflect(params)["bias"][3] == 70
    assert mirror.shapes == {"bias": (4096,)}


def test_basis_and_projection_agree():
    o = orthonormal(7, 3, generator_of(0))
    layout = {"a": (2, 3), "b": ()}
    direct, dense = from_basis(o, layout), from_projection(o @ o.T, layout)
    assert relative_error(direct.to_dense(), dense.to_dense()) < 1e-10
    assert dense.rank == 3


def test_the_permutation_projection_is_equation_11():
    mirror = exchange({"a": (2,), "b": (2,)}, ["a"], ["b"])
    eye = torch.eye(2)
    expected = torch.cat([torch.cat([eye, -eye], 1), torch.cat([-eye, eye], 1)]) / 2
    assert torch.equal(mirror.to_dense(), expected.double())


def test_the_scalar_rescaling_pair_has_normals_plus_and_minus():
    plus, minus = rescaling_pair({"u": (), "w": ()}, "u", "w")
    assert plus.distance({"u": torch.tensor(2.0), "w": torch.tensor(2.0)}) == 0
    assert minus.distance({"u": torch.tensor(2.0), "w": torch.tensor(-2.0)}) == 0
    both = CompositeMirror([plus, minus])
    assert torch.equal(both.to_dense(), sign_flip({"u": (), "w": ()}, ["u", "w"]).to_dense())


def test_composition_is_the_product_of_reflections():
    g = generator_of(1)
    o = orthonormal(9, 4, g)
    layout = {"w": (9,)}
    parts = [from_basis(o[:, :1], layout), from_basis(o[:, 1:], layout)]
    params = {"w": normal(g, 9)}
    one_by_one = parts[0].reflect(parts[1].reflect(params))
    assert relative_error(CompositeMirror(parts).reflect(params)["w"], one_by_one["w"]) < EXACT


BAD = {
    "not orthonormal": (lambda: from_basis(torch.ones(3, 2), {"w": (3,)}), r"orthonormal columns.*O\^T O - I.*qr"),
    "wrong length": (lambda: from_basis(torch.eye(4), {"w": (3,)}), r"O of shape \(3, r\), got \(4, 4\)"),
    "no projection": (lambda: from_projection(2 * torch.eye(2), {"w": (2,)}), "orthogonal projection.*error of 2"),
    "NaN projection": (lambda: from_projection(torch.full((2, 2), torch.nan), {"w": (2,)}), "orthogonal projection"),
    "NaN basis": (lambda: from_basis(torch.tensor([1.0, torch.nan]), {"w": (2,)}), "finite values.*1 of 2"),
    "long cycle": (lambda: index_permutation({"w": (3,)}, {"w": 0}, [1, 2, 0]), "its own inverse"),
    "no permutation": (lambda: index_permutation({"w": (3,)}, {"w": 0}, [0, 0, 2]), "a permutation of 0..2"),
    "overlap": (lambda: permutation({"w": (3,)}, {"w": 0}, [0, 1], [1, 2]), "disjoint blocks"),
    "index out of range": (lambda: permutation({"w": (3,)}, {"w": 0}, 0, 5), r"inside 'w' of shape \(3,\)"),
    "unknown name": (lambda: sign_flip({"w": (3,)}, ["v"]), r"names among \['w'\], got \['v'\]"),
    "unequal blocks": (
        lambda: SwapMirror({"a": (2,), "b": (3,)}, swaps=((Block("a"), Block("b"), 1),)),
        r"two blocks of one shape",
    ),
    "bad sign": (lambda: exchange({"a": (2,), "b": (2,)}, ["a"], ["b"], 2), "a sign of 1 or -1"),
    "nothing moved": (lambda: SwapMirror({"w": (2,)}), "at least one swap or flip"),
    "axis of another length": (
        lambda: double_rotation({"u": (2, 3), "w": (4, 2)}, {"u": 1, "w": 0}, torch.eye(3)[:, :1]),
        r"'w' with axis 0 of length 3, got shape \(4, 2\)",
    ),
    "axis missing": (lambda: AxisMirror({"u": (3,), "w": (3,)}, {"u": 0}, torch.eye(3)[:, :1]), "one axis for each"),
    "empty basis": (lambda: BasisMirror({}), "at least one tensor"),
    "ragged basis": (lambda: BasisMirror({"a": torch.eye(2), "b": torch.ones(2, 1)}), "same number of columns"),
    "oblique composition": (
        lambda: CompositeMirror(
            [from_basis(torch.eye(2)[0], {"w": (2,)}), from_basis(torch.tensor([0.6, 0.8]), {"w": (2,)})]
        ),
        "orthogonal normals.*rotation, not a mirror",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_mirrors_are_refused(case):
    build, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        build()


BAD_PARAMS = {
    "missing": ({}, "a parameter named 'w'"),
    "misshapen": ({"w": torch.ones(3)}, r"'w' of shape \(2,\), got \(3,\)"),
    "integer": ({"w": torch.ones(2, dtype=torch.int64)}, "floating 'w', got torch.int64"),
    "NaN": ({"w": torch.tensor([1.0, torch.nan])}, "finite values in parameter 'w', got 1 of 2"),
}


@pytest.mark.parametrize("case", BAD_PARAMS)
def test_bad_parameters_are_refused(case):
    params, message = BAD_PARAMS[case]
    mirror = sign_flip({"w": (2,)}, ["w"])
    with pytest.raises(SymtheoryError, match=message):
        mirror.project(params)


def test_sizes():
    assert size_of({"a": (2, 3), "b": ()}) == 7


@pytest.mark.parametrize("sign", [1, -1])
def test_signed_exchanges_reflect_as_their_matrix_says(sign):
    mirror = exchange({"a": (2,), "b": (2,)}, ["a"], ["b"], sign)
    params = {"a": torch.tensor([1.0, 2.0]).double(), "b": torch.tensor([5.0, 7.0]).double()}
    expected = dense_apply(dense_reflection(mirror.to_dense()), params)
    assert torch.equal(flatten(mirror.reflect(params)), flatten(expected))
    assert mirror.reflect(params)["a"].tolist() == [sign * 5.0, sign * 7.0]


def test_rotations_act_on_the_named_axis():
    n = orthonormal(4, 2, generator_of(0))
    mirror = rotation({"w": (3, 4)}, "w", n, axis=1)
    w = normal(generator_of(1), 3, 4)
    assert relative_error(mirror.reflect({"w": w})["w"], w - 2 * w @ n @ n.T) < EXACT
    assert mirror.rank == 6


def test_ranks_of_compositions_add():
    layout = {"u": (2,), "w": (3,)}
    assert CompositeMirror([sign_flip(layout, ["u"]), sign_flip(layout, ["w"])]).rank == 5


def test_an_oblique_projection_is_refused():
    """It is its own square, but what it calls a reflection changes lengths."""
    oblique = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert torch.equal(oblique @ oblique, oblique)
    with pytest.raises(SymtheoryError, match="an orthogonal projection"):
        from_projection(oblique, {"w": (2,)})
