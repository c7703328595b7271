"""Derivatives, invariance and algebra against naive twins."""

from dataclasses import replace

import pytest
import sympy
import torch
from hypothesis import given, settings
from torch import nn

from symtheory.engine.descent import optimizers, trajectory
from symtheory.engine.invariance import invariance_residual
from symtheory.engine.model import evaluate, loss_of, with_decay
from symtheory.engine.operators import (
    dense_hessian,
    gradient,
    hvp_of,
    lowest_normal_curvature,
    normal_basis,
    restricted_hessian,
)
from symtheory.engine.symbolic import derivative_at_zero, identity, matrices
from symtheory.errors import SymtheoryError
from symtheory.spec import (
    Verdict,
    flatten,
    from_basis,
    largest,
    numerical_rank,
    params_of,
    relative_error,
    shapes_of,
    sign_flip,
    unflatten,
)
from symtheory.theorems.instances import NETWORKS, abstract, all_kinds, generator_of, normal, orthonormal
from symtheory.theorems.mirror_constraint.gradient import check_gradient
from tests.oracles import finite_gradient
from tests.strategies import instances


@given(instances())
@settings(max_examples=30)
def test_gradient_matches_finite_differences(instance):
    got = flatten(gradient(instance.loss, instance.params, instance.samples[0]))
    assert relative_error(got, finite_gradient(instance.loss, instance.params, instance.samples[0])) < 1e-6


@pytest.mark.parametrize("instance", all_kinds(3), ids=lambda i: i.name)
def test_hessian_products_match_the_dense_hessian(instance):
    x, shapes = instance.samples[0], shapes_of(instance.params)
    vector = unflatten(normal(generator_of(1), instance.size), shapes)
    dense = dense_hessian(instance.loss, instance.params, x) @ flatten(vector)
    assert relative_error(flatten(hvp_of(instance.loss, instance.params, x)(vector)), dense) < 1e-10


@pytest.mark.parametrize("instance", all_kinds(5), ids=lambda i: i.name)
def test_restricted_hessian_is_the_dense_block(instance):
    x, names = instance.samples[0], list(instance.mirror.shapes)
    point = {k: instance.params[k] for k in [*names, *(n for n in instance.params if n not in names)]}
    basis = normal_basis(instance.mirror)
    dense = dense_hessian(instance.loss, point, x)[: len(basis), : len(basis)]
    got = restricted_hessian(instance.loss, point, x, basis, names)
    assert relative_error(got, basis.T @ dense @ basis) < 1e-9


@pytest.mark.parametrize("rank", [3, 150])
def test_lowest_normal_curvature_dense_and_lanczos(rank):
    n, g = 160, generator_of(rank)
    a = normal(g, n, n)
    a = (a + a.T) / 2 - 3 * torch.eye(n).double() * (rank == 3)
    mirror = from_basis(orthonormal(n, rank, g), {"w": (n,)})
    o = mirror.basis["w"]

    def loss(p, _):
        return p["w"] @ a @ p["w"] / 2

    expected = float(torch.linalg.eigvalsh(o.T @ a @ o)[0])
    assert lowest_normal_curvature(loss, {"w": normal(g, n)}, None, mirror) == pytest.approx(expected, rel=1e-8)


def test_lanczos_finds_a_positive_lowest_curvature():
    """The kernel of P must not be mistaken for the lowest eigenvalue when all curvatures are positive."""
    n, g = 160, generator_of(0)
    mirror = from_basis(orthonormal(n, 140, g), {"w": (n,)})
    loss = lambda p, _: 2.5 * p["w"].square().sum()  # noqa: E731
    assert lowest_normal_curvature(loss, {"w": normal(g, n)}, None, mirror) == pytest.approx(5.0, rel=1e-9)


@given(instances())
def test_invariance_is_measured(instance):
    def measure(loss):
        return invariance_residual(
            loss, instance.mirror, instance.params, instance.samples, generator=generator_of(instance.seed)
        )

    assert measure(instance.loss).holds
    broken = measure(instance.broken)
    assert broken.residual > 1e3 * broken.tolerance


def test_a_symmetric_average_is_not_called_symmetric():
    mirror = sign_flip({"w": ()}, ["w"])
    params, samples = {"w": torch.tensor(0.3, dtype=torch.float64)}, [1.0, -1.0]
    loss = lambda p, x: (p["w"] - x) ** 2  # noqa: E731
    found = invariance_residual(loss, mirror, params, samples, generator=generator_of(0))
    assert found.residual > 0.1


def test_a_loss_that_is_symmetric_at_one_point_is_not_called_symmetric():
    """On the mirror a reflection moves nothing, so the probes must lie around the point, not on it."""
    params, mirror = {"w": torch.tensor(0.0, dtype=torch.float64)}, sign_flip({"w": ()}, ["w"])
    found = invariance_residual(lambda p, _: (p["w"] - 1) ** 2, mirror, params, [None], generator=generator_of(0))
    assert found.residual > 0.1


def test_optimisers_are_what_they_are_called():
    made = {name: make([torch.zeros(1, requires_grad=True)]) for name, make in optimizers(0.1, 0.5).items()}
    assert {name for name, o in made.items() if o.defaults.get("nesterov")} == {"Nesterov"}
    assert {name for name, o in made.items() if o.defaults.get("momentum")} == {"momentum", "Nesterov"}
    assert all(o.defaults["weight_decay"] == 0.5 and o.defaults["lr"] == 0.1 for o in made.values())


def test_decay_is_the_papers_convention():
    net = nn.Linear(3, 1).double()
    loss, params = loss_of(net, nn.functional.mse_loss), params_of(net)
    batch = (torch.ones(2, 3).double(), torch.zeros(2, 1).double())
    gap = flatten(gradient(with_decay(loss, 0.7), params, batch)) - flatten(gradient(loss, params, batch))
    assert relative_error(gap, 1.4 * flatten(params)) < 1e-14


def test_trajectory_is_torchs_own_and_leaves_the_start_alone():
    start = {"w": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    path = list(trajectory(lambda p, x: (p["w"] * x).square().sum(), start, [1.0, 2.0], optimizers(0.1, 0.5)["SGD"]))
    w = start["w"].clone()
    for x in (1.0, 2.0):
        w = w - 0.1 * (2 * x**2 * w + 0.5 * w)
    assert relative_error(path[-1]["w"], w) < 1e-15
    assert start["w"].tolist() == [1.0, 2.0]
    assert len(path) == 3


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_symmetry_they_declare(name):
    instance = NETWORKS[name](11)
    found = invariance_residual(
        instance.loss, instance.mirror, instance.params, instance.samples, generator=generator_of(0)
    )
    assert found.holds, found


def test_evaluate_refuses_vectors_and_nan():
    with pytest.raises(SymtheoryError, match=r"a scalar loss, got \(2,\)"):
        evaluate(lambda p, _: p["w"], {"w": torch.ones(2)}, None)
    with pytest.raises(SymtheoryError, match="a finite loss, got nan"):
        evaluate(lambda p, _: p["w"].sum().log(), {"w": -torch.ones(2)}, None)


def test_invariance_needs_a_sample():
    with pytest.raises(SymtheoryError, match="at least one sample"):
        i = abstract("simple", 0)
        invariance_residual(i.loss, i.mirror, i.params, [], generator=generator_of(0))


def test_a_false_identity_is_not_proved():
    h = sympy.Function("h")
    o, ot = matrices("O", "O^T")
    assert not identity("an odd function has no slope", derivative_at_zero(lambda s: h(s) - h(-s))).proved
    assert not identity("O O^T = 1", o * ot, 1, {ot * o: 1}).proved
    assert not identity("a sign", ot * (1 - 2 * o * ot), ot, {ot * o: 1}).proved
    assert identity("the right sign", ot * (1 - 2 * o * ot), -ot, {ot * o: 1}).proved


def test_rank_reports_the_values_around_its_cut():
    rank = numerical_rank(torch.tensor([3.0, 1e-2, 1e-5]), cut=1e-3)
    assert (rank.value, rank.kept) == (2, pytest.approx(1e-2))
    assert rank.gap == pytest.approx(1e3, rel=1e-5)


def test_relative_error_refuses_what_it_cannot_compare():
    with pytest.raises(SymtheoryError, match=r"shape \(2,\), got \(3,\)"):
        relative_error(torch.ones(3), torch.ones(2))
    with pytest.raises(SymtheoryError, match="finite values in value"):
        relative_error(torch.tensor([torch.nan]), torch.ones(1))


def test_nan_does_not_hide_among_residuals():
    with pytest.raises(SymtheoryError, match="finite residuals, got nan"):
        largest([0.0, float("nan"), 1.0])
    i = abstract("rotation", 0)
    poisoned = replace(i, loss=lambda p, x: i.broken(p, x) + torch.sqrt((p["b"] * 0).square().sum()))
    with pytest.raises(SymtheoryError, match="finite values in the gradient"):
        check_gradient(poisoned)


def test_a_loss_drowned_in_a_constant_is_refused():
    mirror, params = sign_flip({"w": ()}, ["w"]), {"w": torch.tensor(0.3)}
    drowned = lambda p, x: torch.sigmoid(p["w"]) + 1e6  # noqa: E731
    with pytest.raises(SymtheoryError, match=r"varies far more than its rounding.*float64"):
        invariance_residual(drowned, mirror, params, [None], generator=generator_of(0))


def test_a_tolerance_without_bound_is_refused():
    with pytest.raises(SymtheoryError, match="a finite tolerance"):
        Verdict("x", 1.0, float("inf"))
