"""The arc-cosine kernel: against samples, quadrature and finite differences, also where neurons coincide."""

from math import pi

import numpy as np
import pytest
import torch

from symtheory.engine.arccosine import Teacher, kernel, kernel_gradient
from symtheory.errors import SymtheoryError
from symtheory.spec import relative_error


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def polar_overlap(w, v, points=200_000):
    """E s(w.x) s(v.x) in two dimensions: E r^2 = 2 times the mean over the angle, by the trapezoid rule."""
    angle = torch.arange(points, dtype=torch.float64) * (2 * pi / points)
    x = torch.stack([angle.cos(), angle.sin()])
    return 2 * ((w @ x).relu() * (v @ x).relu()).mean()


def nets(*lead, m=3, k=2, n=4, o=2):
    """A student and a teacher."""
    student = draw(*lead, m, n, seed=1), draw(*lead, o, m, seed=2)
    return student, Teacher(draw(*lead, k, n, seed=3), draw(*lead, o, k, seed=4))


def flat_gradient(teacher, first, second):
    return torch.cat([g.flatten() for g in teacher.gradient(first, second)])


def moved(first, second, step):
    cut = first.numel()
    return first + step[:cut].view_as(first), second + step[cut:].view_as(second)


def differences(function, first, second, step=1e-6):
    """Central differences of a function of both weights, one row a coordinate."""
    size = first.numel() + second.numel()
    rows = [
        (function(*moved(first, second, step * e)) - function(*moved(first, second, -step * e))) / (2 * step)
        for e in torch.eye(size, dtype=torch.float64)
    ]
    return torch.stack(rows)


def test_the_kernel_is_what_quadrature_gives():
    pairs = [(draw(2, seed=i), draw(2, seed=i + 50)) for i in range(8)]
    pairs += [(w, w.clone()) for w, _ in pairs[:2]] + [(w, -2 * w) for w, _ in pairs[:2]]
    for w, v in pairs:
        assert float(kernel(w[None], v[None])) == pytest.approx(float(polar_overlap(w, v)), rel=1e-8, abs=1e-9)


def test_the_loss_is_what_samples_give():
    (first, second), teacher = nets()
    x = draw(400_000, 4, seed=9)
    rest = (x @ first.T).relu() @ second.T - (x @ teacher.first.T).relu() @ teacher.second.T
    each = rest.square().sum(-1) / 2
    error = float(each.std()) / len(each) ** 0.5
    assert float(each.mean()) == pytest.approx(float(teacher.loss(first, second)), abs=4 * error)


def test_gauss_quadrature_agrees_in_three_dimensions():
    """Gauss-Hermite sees a kink, so it is good to a few digits only; the error falls with the nodes."""
    (first, second), teacher = nets(n=3, o=1)
    errors = []
    for count in (20, 60):
        nodes, weights = np.polynomial.hermite_e.hermegauss(count)
        x = torch.tensor(np.stack(np.meshgrid(nodes, nodes, nodes), -1).reshape(-1, 3))
        p = torch.tensor(np.prod(np.meshgrid(weights, weights, weights), axis=0).reshape(-1)) / (2 * pi) ** 1.5
        rest = (x @ first.T).relu() @ second.T - (x @ teacher.first.T).relu() @ teacher.second.T
        errors.append(abs(float((p * rest.square().sum(-1)).sum() / 2 - teacher.loss(first, second))))
    assert errors[1] < min(errors[0], 5e-3)


CASES = {
    "generic": lambda w, a: (w, a),
    "coinciding": lambda w, a: (w[[0, 0, 1]], a),
    "parallel": lambda w, a: (torch.stack([w[0], 3 * w[0], w[2]]), a),
    "nearly parallel": lambda w, a: (torch.stack([w[0], w[0] + 1e-7 * w[1], w[2]]), a),
    "opposite": lambda w, a: (torch.stack([w[0], -w[0], w[2]]), a),
    "on the teacher": lambda w, a: (torch.stack([draw(2, 4, seed=3)[0], w[0], w[0]]), a),
}


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_the_difference_quotient(case):
    (first, second), teacher = nets()
    first, second = CASES[case](first, second)
    assert relative_error(flat_gradient(teacher, first, second), differences(teacher.loss, first, second)) < 1e-7


@pytest.mark.parametrize("case", CASES)
def test_the_hessian_is_the_difference_quotient_of_the_gradient(case):
    (first, second), teacher = nets()
    first, second = CASES[case](first, second)
    found = teacher.hessian(first, second)
    # the Hessian is continuous but has a kink where neurons are parallel: the quotient is good to its step there
    assert relative_error(found, differences(lambda *p: flat_gradient(teacher, *p), first, second)) < 1e-5
    assert relative_error(found, found.mT) < 1e-14


def test_the_gradient_of_the_kernel_at_equal_and_zero_neurons():
    w = draw(3, 4)
    w[2] = 0
    found = kernel_gradient(w, w)
    assert relative_error(found[0, 0], w[0] / 2) < 1e-15
    assert torch.equal(found[2], torch.zeros(3, 4).double())
    assert torch.isfinite(found).all()
    assert torch.equal(kernel(w, w)[2], torch.zeros(3).double())


def test_zero_neurons_have_the_loss_without_them_and_no_gradient():
    (first, second), teacher = nets()
    dead = first.clone()
    dead[1] = 0
    into, out = teacher.gradient(dead, second)
    kept = [0, 2]
    smaller = teacher.gradient(first[kept], second[:, kept])
    assert float(teacher.loss(dead, second)) == pytest.approx(
        float(teacher.loss(first[kept], second[:, kept])), rel=1e-14
    )
    assert relative_error(into[kept], smaller[0]) < 1e-14 and relative_error(out[:, kept], smaller[1]) < 1e-14
    assert not into[1].any() and not out[:, 1].any()
    with pytest.raises(SymtheoryError, match=r"neurons that are not zero.*prune"):
        teacher.hessian(dead, second)


def test_loss_and_gradient_agree_with_autograd_of_samples_at_zero_neurons():
    """A net with a dead input row, where s'(0) = 0 matters: the same zero gradient as autograd's."""
    (first, second), teacher = nets()
    first[0] = 0
    w = first.clone().requires_grad_()
    x = draw(2000, 4, seed=5)
    ((x @ w.T).relu() @ second.T - (x @ teacher.first.T).relu() @ teacher.second.T).square().sum(-1).mean().backward()
    assert w.grad is not None and not w.grad[0].any() and not teacher.gradient(first, second)[0][0].any()


def test_the_teacher_itself_has_no_loss_no_gradient_and_no_negative_curvature():
    _, teacher = nets(k=3)
    assert abs(float(teacher.loss(teacher.first, teacher.second))) < 1e-14
    assert float(flat_gradient(teacher, teacher.first, teacher.second).abs().max()) < 1e-14
    values = torch.linalg.eigvalsh(teacher.hessian(teacher.first, teacher.second))
    assert float(values[0]) > -1e-13 and int((values < 1e-12).sum()) == 3  # one rescaling a neuron


def test_batches_are_the_configurations_one_by_one():
    (first, second), teacher = nets(2, 3)
    loss, into, out = teacher.loss_and_gradient(first, second)
    hessian = teacher.hessian(first, second)
    for i in range(2):
        for j in range(3):
            alone = Teacher(teacher.first[i, j], teacher.second[i, j])
            parts = alone.loss_and_gradient(first[i, j], second[i, j])
            for found, wanted in zip((loss, into, out), parts, strict=True):
                assert relative_error(found[i, j], wanted) < 1e-14
            assert relative_error(hessian[i, j], alone.hessian(first[i, j], second[i, j])) < 1e-14
    shared = Teacher(teacher.first[0, 0], teacher.second[0, 0]).loss(first, second)
    assert shared.shape == (2, 3)


def test_wrong_shapes_are_refused():
    with pytest.raises(SymtheoryError, match="one row and one column a neuron"):
        Teacher(draw(3, 4), draw(2, 2))
    (first, second), teacher = nets()
    with pytest.raises(SymtheoryError, match="the same inputs and outputs"):
        teacher.loss(first, second[:1])
