r"""Proposition 2 of paper B: linearised at a symmetric point, a model sees only the features within the mirror.

Statement: if $f$ has the $P$-symmetry and $P\theta_0 = 0$, the kernelised model $g(x,\theta) = \lim_{\lambda\to0}\lambda^{-1}[f(x,\lambda\theta+\theta_0) - f(x,\theta_0)]$
trained on $\sum_x(y-g)^2$ by gradient descent from $\theta = 0$ with a small learning rate converges to $A^+\sum_x\nabla f^Ty$, where
$A = (I-P)\sum_x\nabla f^T\nabla f(I-P)$. Small means $\eta<1/\lambda_{\max}(A)$; the proof takes half of that.
"""

from __future__ import annotations

import sympy
import torch
from sympy import Function, Symbol
from torch import Tensor
from torch.func import grad, hessian

from symtheory.engine.model import Loss
from symtheory.engine.symbolic import derivative_at_zero, identity, matrices
from symtheory.errors import SymtheoryError
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.numerics import relative_error
from symtheory.spec.params import Params, flatten, shapes_of, unflatten
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import KINDS, Instance, abstract, generator_of, normal
from symtheory.theorems.syre_bounds.frames import PAPER, SHAPES, FlatLoss, reflection_residual

#: Samples of a kernel problem; fewer than parameters, so that many solutions fit and the start decides.
SAMPLES = 4
#: Gradient descent stops when its slowest mode has shrunk to this; the pseudo-inverse agrees to a condition number more.
CONVERGED = 1e-6


def features(model: Loss, instance: Instance, point: Params) -> Tensor:
    r"""$\nabla_\theta f(x,\theta_0)$, one row a sample.

    Args:
        model: $f(\theta, x)$, a scalar.
        instance: For its samples.
        point: $\theta_0$.

    Returns:
        Matrix of shape (samples, parameters).
    """
    return torch.stack([flatten(grad(model)(point, x)) for x in instance.samples])


def descend(gram: Tensor, target: Tensor, rate: float, start: Tensor) -> Tensor:
    r"""Where $\theta\leftarrow\theta-2\eta(A\theta-b)$ arrives, many steps at once.

    The affine map is composed with itself, so $2^k$ steps cost $k$ products.

    Args:
        gram: $A$.
        target: $b$.
        rate: $\eta$.
        start: First $\theta$.

    Returns:
        The iterate after enough steps for the slowest mode to vanish or to explode.

    Raises:
        SymtheoryError: If the iteration diverges.
    """
    values = torch.linalg.eigvalsh(gram)
    factors = (1 - 2 * rate * values[values > 1e-9 * values[-1]]).abs().log().abs()
    matrix, shift, steps = torch.eye(len(gram), dtype=gram.dtype) - 2 * rate * gram, 2 * rate * target, 1
    while steps * float(factors.min()) < 30:
        matrix, shift, steps = matrix @ matrix, matrix @ shift + shift, 2 * steps
    out = matrix @ start + shift
    if not bool(torch.isfinite(out).all()) or float(out.norm()) > 1e8:
        raise SymtheoryError("gradient descent that converges", "divergence", "lower the learning rate")
    return out


def kernel_solution(
    instance: Instance, model: Loss, point: Params, *, rate: float = 0.45, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""What training the linearised model finds, and what the proposition says it finds.

    Args:
        instance: Mirror, samples and seed.
        model: $f$.
        point: $\theta_0$.
        rate: Learning rate in units of $1/\lambda_{\max}(A)$; the printed bound is 0.5.
        start: First parameters of $g$; default 0.

    Returns:
        The limit of gradient descent on $\sum_x(y-\nabla f\,\theta)^2$ and the printed $\theta^*$.
    """
    j, y = features(model, instance, point), normal(generator_of(instance.seed + 5), len(instance.samples))
    projection = instance.mirror.to_dense(shapes_of(point))
    within = torch.eye(len(projection), dtype=torch.float64) - projection
    full, masked = j.T @ j, within @ j.T @ j @ within
    first = torch.zeros(j.shape[1], dtype=j.dtype) if start is None else start
    top = float(torch.linalg.eigvalsh(full)[-1])
    found = descend(full, j.T @ y, rate / top, first)
    # the printed A, inverted on its range: at most as many directions as samples
    return found, torch.linalg.pinv(masked, rtol=1e-9, hermitian=True) @ (j.T @ y)


def check_features(instance: Instance) -> Verdict:
    r"""Gradient descent on the linearised model finds $A^+\sum\nabla f^Ty$, and no component across the mirror.

    Args:
        instance: Model, mirror, point.

    Returns:
        Verdict whose control is the asymmetric model.
    """
    point = instance.mirror.symmetrize(instance.params)

    def measure(model: Loss) -> float:
        found, printed = kernel_solution(instance, model, point)
        across = instance.mirror.distance(unflatten(found, shapes_of(point)))
        return max(relative_error(found, printed), across / float(found.norm()))

    return Verdict(
        f"{instance.name}: the kernel model sees masked features only",
        residual=measure(instance.loss),
        tolerance=CONVERGED,
        control=measure(instance.broken),
        seed=instance.seed,
        sizes={"parameters": instance.size, "rank": instance.mirror.rank, "samples": len(instance.samples)},
    )


def kernel_instances(seed: int) -> list[Instance]:
    """One symmetric model of every kind of mirror.

    Args:
        seed: Seed.

    Returns:
        Instances whose loss is used as a scalar model.
    """
    return [abstract(kind, seed, SHAPES, SAMPLES) for kind in KINDS]


def _disagreement(seed: int, *, symmetric: bool = True, on: bool = True, rate: float = 0.45) -> float:
    i = abstract("basis", seed, SHAPES, SAMPLES)
    point = i.mirror.symmetrize(i.params) if on else i.params
    try:
        found, printed = kernel_solution(i, i.loss if symmetric else i.broken, point, rate=rate)
    except SymtheoryError:
        return 1.0
    return relative_error(found, printed)


def _control_asymmetric(seed: int) -> Verdict:
    return Verdict("masked features, asymmetric model", _disagreement(seed, symmetric=False), CONVERGED, seed=seed)


def _control_off(seed: int) -> Verdict:
    return Verdict("masked features, off the mirror", _disagreement(seed, on=False), CONVERGED, seed=seed)


def _control_rate(seed: int) -> Verdict:
    return Verdict("convergence at 1.1 / lambda_max", _disagreement(seed, rate=1.1), CONVERGED, seed=seed)


def _control_start(seed: int) -> Verdict:
    i = abstract("basis", seed, SHAPES, SAMPLES)
    found, printed = kernel_solution(i, i.loss, i.mirror.symmetrize(i.params), start=flatten(i.params))
    return Verdict("another start of g, same limit", relative_error(found, printed), CONVERGED, seed=seed)


def printed_limit() -> Verdict:
    r"""The printed limit $\lim_{\lambda\to0}(\lambda^{-1}f(x,\lambda\theta+\theta_0)-f(x,\theta_0))$.

    For $f = 1+\theta_1+\theta_2^2$, symmetric for $P = \mathrm{diag}(0,1)$, at $\theta_0 = 0$.

    Returns:
        Verdict on its distance to $g = \nabla f\,\theta$ at $\lambda = 10^{-6}$, $\theta = (1, 1)$, which must fail; with the
        bracket in its place it holds.
    """

    def f(v: Tensor) -> Tensor:
        return 1 + v[0] + v[1] ** 2

    start, theta, _ = _symmetric_start(f, [0.0, 1.0])
    small, slope = 1e-6, float(grad(f)(start) @ theta)
    there, here = float(f(start + small * theta)), float(f(start))
    assert abs((there - here) / small - slope) < 10 * small
    return Verdict(
        "lambda^-1 f(lambda theta + theta_0) - f(theta_0) tends to g", abs(there / small - here - slope), 1e-3
    )


def printed_expansion() -> Verdict:
    r"""Eq. (2) puts $O(\|P\Delta\|^2)$ into the symmetric part; for $f = \theta_2^2$, $P = \mathrm{diag}(1,0)$ that part is then zero.

    Returns:
        Verdict on the growth exponent of what eq. (2) leaves over for $\Delta = (0, s)$, 3 if it were right, which must fail;
        what is left over after $O(\|(I-P)\Delta\|^2)$ is nothing.
    """

    def f(v: Tensor) -> Tensor:
        return v[1] ** 2

    start, _, p = _symmetric_start(f, [1.0, 0.0])
    slope, curvature = grad(f)(start), hessian(f)(start)
    printed, corrected = [], []
    for s in (1e-2, 1e-3):
        delta = torch.tensor([0.0, s], dtype=torch.float64)
        across, within = p @ delta, delta - p @ delta
        assert not bool(across.any())  # so that the printed O(|P Delta|^2) is 0, whatever its factor
        left = f(start + delta) - f(start) - slope @ within - across @ curvature @ across / 2
        printed.append(left)
        corrected.append(left - within @ curvature @ within / 2)
    assert max(float(abs(left)) for left in corrected) < 1e-15
    return Verdict("eq. (2) leaves a third-order remainder", 3 - float((printed[0] / printed[1]).log10()), 0.1)


def _symmetric_start(f: FlatLoss, diagonal: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    """The origin, a direction, and a diagonal projection for which a function of two parameters has the symmetry."""
    zero, p = torch.zeros(2, dtype=torch.float64), torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    assert reflection_residual(f, p, zero, 0) < 1e-12
    return zero, torch.ones_like(zero), p


def _prove_features() -> Proof:
    j, jt, p, y, a, ap, t = matrices(r"\nabla f", r"\nabla f^T", "P", "y", "A", "A^+", r"\theta_t")
    on = {j * p: 0, p * jt: 0, p * p: p}
    penrose = {a * ap * a: a, jt * y: a * ap * jt * y}
    eta = Symbol("eta", positive=True)
    h, s = Function("h"), Symbol("s", real=True)
    k = Symbol("k", integer=True, nonnegative=True)
    lam = Symbol("lambda", positive=True)
    q = 1 - 2 * eta * lam
    residual = sympy.Symbol(r"\theta_t - \theta^*", commutative=False)
    return Proof(
        "B.P2",
        "any number of parameters and samples, any model differentiable on the mirror; h(s) + h(-s) is f along a normal; "
        "the last step is the geometric sum of one eigenvalue of A",
        (
            identity("no slope across the mirror", derivative_at_zero(lambda x: h(x) + h(-x))),
            identity("so the mask changes nothing: A = sum grad f^T grad f", (1 - p) * jt * j * (1 - p), jt * j, on),
            identity("and no step leaves the mirror", p * (-2 * eta) * (jt * j * t - jt * y), 0, on),
            identity("A^+ b is a fixed point, since b is in the range of A", a * ap * jt * y - jt * y, 0, penrose),
            identity(
                "the error is multiplied by I - 2 eta A",
                residual - 2 * eta * (a * (residual + ap * jt * y) - a * ap * jt * y),
                (1 - 2 * eta * a) * residual,
                {},
            ),
            identity(
                "eigenvalue lambda: the sum of eq. (23) has the limit 1 / lambda when |1 - 2 eta lambda| < 1",
                2 * eta * sympy.Piecewise(*sympy.summation(s**k, (k, 0, sympy.oo)).args[:1]).args[0].args[0].subs(s, q),
                1 / lam,
            ),
        ),
    )


FEATURES = Theorem(
    claim=Claim(
        id="B.P2",
        source=f"{PAPER}, Proposition 2",
        title="Symmetry removes features",
        statement=r"Let $f$ have the $P$-symmetry and $P\theta_0 = 0$. The kernelised model "
        r"$g(x,\theta) = \lim_{\lambda\to0}(\lambda^{-1}f(x,\lambda\theta+\theta_0) - f(x,\theta_0))$ converges to "
        r"$\theta^* = A^+\sum_x\nabla_\theta f(x,\theta_0)^Ty(x)$ under gradient descent with a sufficiently small learning rate, "
        r"$A = (I-P)\sum_x\nabla f^T\nabla f(I-P)$.",
        hypotheses={
            "invariant model": "$f$ has the $P$-symmetry",
            "on the mirror": r"$P\theta_0 = 0$",
            "small learning rate": r"$\eta<1/\lambda_{\max}(A)$",
            "start at zero": r"$g$ starts at $\theta = 0$ (in the proof only)",
        },
        verdict="holds as corrected",
        correction=r"With the limit $g = \lim_{\lambda\to0}\lambda^{-1}[f(x,\lambda\theta+\theta_0) - f(x,\theta_0)]$, started at $\theta = 0$, "
        r"on the loss $\sum_x(y-g)^2$. Any $\eta<1/\lambda_{\max}(A)$ is small enough, twice the bound of the proof.",
        chapter="syre_bounds",
        remark=r"$g$ has no offset: the linearised network is $f(x,\theta_0)+\lambda g$, so $y$ is the target minus $f(x,\theta_0)$.",
        errata=(
            Erratum(
                where="Proposition 2",
                printed=r"$g = \lim_{\lambda\to0}(\lambda^{-1}f(x,\lambda\theta+\theta_0) - f(x,\theta_0))$.",
                true=r"$g = \lim_{\lambda\to0}\lambda^{-1}[f(x,\lambda\theta+\theta_0) - f(x,\theta_0)]$.",
                counterexample=r"$f = 1+\theta_1+\theta_2^2$, $P = \mathrm{diag}(0,1)$, $\theta_0 = 0$: as printed the limit is infinite.",
                consequence="A finite-difference linearisation written from the formula diverges unless $f(x,\\theta_0) = 0$.",
                check="symtheory.theorems.syre_bounds.features.printed_limit",
            ),
            Erratum(
                where="eq. (2)",
                printed=r"The symmetric part is $\nabla f\,(I-P)\Delta + O(\|P\Delta\|)^2$.",
                true=r"$\nabla f\,(I-P)\Delta + O(\|(I-P)\Delta\|^2)$: $P$ stands for $I-P$.",
                counterexample=r"$f = \theta_2^2$, $P = \mathrm{diag}(1,0)$, $\Delta = (0,s)$: $f-f_0 = s^2$, the printed right side is $O(s^3)$.",
                consequence="Curvature within the mirror is dropped from a quadratic model of the loss.",
                check="symtheory.theorems.syre_bounds.features.printed_expansion",
                kind="formula",
            ),
        ),
    ),
    prove=_prove_features,
    check=check_features,
    instances=kernel_instances,
    controls={
        "invariant model": _control_asymmetric,
        "on the mirror": _control_off,
        "small learning rate": _control_rate,
        "start at zero": _control_start,
    },
    counterexamples={"printed limit": printed_limit, "printed expansion": printed_expansion},
)
