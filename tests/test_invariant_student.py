"""Invariant students: coordinates, gradients and nodes against plain autograd, sampling and brute force."""

import pytest
import torch
from torch.nn.functional import gelu, relu

from symtheory.engine.arccosine import Teacher
from symtheory.errors import SymtheoryError
from symtheory.figures import invariant_student as inv
from symtheory.figures.c6c import STUDENTS, teacher_of
from symtheory.figures.c8 import REPRESENTATIONS, student_of, tied
from symtheory.spec.group_families import symmetric
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.representations import natural

S3, S4 = symmetric(3), symmetric(4)
FOUR = inv.blocks(S4, natural(S4), inv.point_stabilizer(S4))


@pytest.mark.parametrize("name", STUDENTS)
def test_coordinates_are_orthonormal_and_invert_the_weights(name):
    student = STUDENTS[name]
    t = student.start(4, 0.5, 3)
    w = student.weights(t)
    lengths = w.first.square().sum((1, 2)) + w.second.square().sum(1)
    assert torch.allclose(student.coordinates(w), t, atol=1e-12)
    assert torch.allclose(lengths, t.square().sum(1), atol=1e-12)
    assert (w.second >= 0).all()


@pytest.mark.parametrize("teacher", ["60", "regular"])
@pytest.mark.parametrize("name", STUDENTS)
def test_the_gradient_by_base_units_is_that_of_all_weights(name, teacher):
    student, target = STUDENTS[name], teacher_of(teacher)
    t = student.start(3, 0.5, 0).requires_grad_()
    w = student.weights(t)
    loss = Teacher(target.first, target.second[None]).loss(w.first, w.second[:, None, :])
    (wanted,) = torch.autograd.grad(loss.sum(), t)
    assert torch.allclose(student.exact_gradient(t.detach(), target), wanted, atol=1e-14)


def test_the_gradient_in_four_dimensions_too():
    target = inv.natural_teacher(S4, 50.0)
    t = FOUR.start(3, 0.5, 1).requires_grad_()
    (wanted,) = torch.autograd.grad(FOUR.exact_loss(t, target).sum(), t)
    assert torch.allclose(FOUR.exact_gradient(t.detach(), target), wanted, atol=1e-14)


def test_students_are_invariant_and_agree_with_the_plain_formula():
    student = inv.blocks(S3, natural(S3), inv.point_stabilizer(S3), frozenset({0}), bias=True)
    w = student.weights(student.start(1, 0.5, 0)[0])
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double()
    f = w.outputs(x, gelu)
    for matrix in natural(S3).matrices:
        assert torch.allclose(w.outputs(x @ matrix.T, gelu), f, atol=1e-13)
    plain = torch.stack([w.second[j] * gelu(x @ w.first[j] + w.bias[j]) for j in range(9)]).sum(0)
    assert torch.allclose(f, plain, atol=1e-13)


def test_the_exact_loss_is_the_mean_over_samples():
    student, target = STUDENTS["S3/1 + S3/S2"], teacher_of("45")
    t = student.start(2, 0.5, 0)
    x = torch.randn(400_000, 3, generator=torch.Generator().manual_seed(1)).double()
    mass = torch.full((len(x),), 1 / len(x)).double()
    sampled, _ = student.sampled_gradient(t, relu, x, target.outputs(x, relu), mass)
    assert torch.allclose(sampled, student.exact_loss(t, target), rtol=0.02)


def test_the_sampled_gradient_is_the_derivative():
    student = inv.blocks(S3, natural(S3), frozenset({0}), bias=True)
    t = student.start(2, 0.5, 0)
    x, mass = inv.gauss_nodes(3, 4)
    y = x.sum(1)
    _, gradient = student.sampled_gradient(t, torch.tanh, x, y, mass)
    for i in range(t.shape[1]):
        step = torch.zeros_like(t)
        step[:, i] = 1e-6
        up, down = (student.sampled_gradient(t + s * step, torch.tanh, x, y, mass)[0] for s in (1, -1))
        assert torch.allclose((up - down) / 2e-6, gradient[:, i], atol=1e-7)


@pytest.mark.parametrize("group", [S3, S4], ids=["S3", "S4"])
def test_the_teacher_has_the_printed_weights_and_its_height(group):
    n = natural(group).dim
    teacher = inv.natural_teacher(group, 60.0)
    eye, ones = torch.eye(n).double(), torch.ones(n, n).double()
    wanted = 0.5 * ones / n + 0.75**0.5 * (eye - ones / n) / (n - 1) ** 0.5
    assert torch.allclose(teacher.first.sort(dim=0).values, wanted.sort(dim=0).values, atol=1e-12)
    student = inv.blocks(group, natural(group), inv.point_stabilizer(group))
    assert float(inv.heights(student, student.coordinates(teacher))) == pytest.approx(0.75**0.5)
    merged = inv.Weights(ones / n, teacher.bias, teacher.second)
    assert float(inv.heights(student, student.coordinates(merged)).abs()) < 1e-12


def test_nodes_integrate_symmetric_polynomials_like_the_full_grid():
    x, mass = inv.gauss_nodes(3, 6)
    assert float(mass.sum()) == pytest.approx(1.0)
    assert float((mass * x.pow(4).sum(1)).sum()) == pytest.approx(9.0)
    assert float((mass * x.prod(1).square()).sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_tied_weights_span_the_same_space_with_entries_zero_or_one(name):
    student = student_of(name, 6)
    system = tied(student)
    assert system.shape == (sum(student.dims),) * 2
    assert int(torch.linalg.matrix_rank(system)) == len(system)
    for column in system.T:
        w = student.weights(column)
        entries = torch.cat([w.first.flatten(), w.bias, w.second])
        assert torch.allclose(entries, entries.round(), atol=1e-12)
        assert 0 <= float(entries.min()) + 1e-12 and float(entries.max()) <= 1 + 1e-12


def test_outputs_that_are_not_one_invariant_number_are_refused():
    units = inv.coset_space(S3, frozenset({0}))
    with pytest.raises(SymtheoryError, match="one invariant output"):
        inv.Student(HiddenLayer(natural(S3), units, natural(S3), False))
