r"""What eq. (6) of paper A asserts, as numbers: both of its sides, the slope at the kink, and which minima survive."""

from __future__ import annotations

from math import log

from symtheory.engine.model import Batch, Loss, evaluate, squared_norm, with_decay
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params, flatten
from symtheory.theorems.instances import Instance, generator_of, normal
from symtheory.theorems.l1_equivalence.form import from_l1, l1_penalty, to_l1
from symtheory.theorems.l1_equivalence.kink import slope_at_mirror

#: Decays at which eq. (6) is compared.
DECAYS = (0.03, 1.0)
#: Values of z for the quotient; three points cancel its first two orders, so its error is of order z^3 + eps / z.
STEPS = (1e-4, 2e-4, 4e-4)
#: That error, with room for large higher derivatives; relative to 1 + |slope|.
SLOPE_TOLERANCE = 1e-6


def equation_six(instance: Instance, stretch: float = 1.0) -> float:
    r"""Largest relative difference of the two sides of eq. (6), and of $w$ from its round trip.

    Args:
        instance: Loss, mirror, point.
        stretch: Factor on $P$; 1 is the projection, anything else breaks $O^TO = I$.

    Returns:
        The difference.
    """
    mirror = _Stretched(instance.mirror, stretch) if stretch != 1.0 else instance.mirror
    lifted = to_l1(mirror, instance.params)
    back, found = from_l1(mirror, lifted), 0.0
    for x in instance.samples:
        for gamma in DECAYS:
            left = float(evaluate(with_decay(instance.loss, gamma), instance.params, x))
            right = float(evaluate(l1_penalty(instance.loss, mirror, gamma), lifted, x))
            found = max(found, abs(left - right) / max(abs(left), abs(right)))
    w = flatten(instance.params)
    return max(found, float((flatten(back) - w).norm() / w.norm()))


class _Stretched(Mirror):
    """A mirror's projection times a factor, which is no projection; for controls."""

    def __init__(self, mirror: Mirror, factor: float) -> None:
        self.mirror, self.factor, self.shapes = mirror, factor, mirror.shapes

    @property
    def rank(self) -> int:
        return self.mirror.rank

    def _project(self, params: Params) -> Params:
        return {k: self.factor * v for k, v in self.mirror.project(params).items()}


def quotients(
    loss: Loss, mirror: Mirror, params: Params, batch: Batch, n: Params, steps: tuple[float, ...]
) -> list[float]:
    r"""$[\tilde\ell(w', n, z) - \tilde\ell(w', n, 0)]/z$ for several $z$.

    Args:
        loss: $\ell_0$.
        mirror: The mirror.
        params: A point; its projection $w'$ is used.
        batch: Data.
        n: Touched tensors of a unit normal.
        steps: Values of $z>0$.

    Returns:
        One quotient per $z$.
    """
    point = mirror.symmetrize(params)
    here = float(evaluate(loss, point, batch))
    away = [{k: p + z**0.5 * n[k] if k in n else p for k, p in point.items()} for z in steps]
    return [(float(evaluate(loss, q, batch)) - here) / z for q, z in zip(away, steps, strict=True)]


def right_derivative(loss: Loss, mirror: Mirror, params: Params, batch: Batch, n: Params) -> float:
    r"""The limit of the quotient as $z\to0_+$, extrapolated from values of the loss alone.

    Args:
        loss: $\ell_0$.
        mirror: The mirror.
        params: A point; its projection is used.
        batch: Data.
        n: Touched tensors of a unit normal.

    Returns:
        The extrapolated slope; meaningless, and large, where the derivative diverges.
    """
    a, b, c = quotients(loss, mirror, params, batch, n, STEPS)
    return (8 * a - 6 * b + c) / 3  # the quadratic through z, 2z, 4z at 0


def derivative_error(instance: Instance, loss: Loss | None = None) -> float:
    r"""Largest error of $\tfrac12n^T\nabla^2\ell_0n$ as the right derivative, in random directions and the point's own.

    Args:
        instance: Loss, mirror, point.
        loss: Another loss, for controls.

    Returns:
        The error relative to $1 + |\text{slope}|$.
    """
    measured = instance.loss if loss is None else loss
    across = instance.mirror.project(instance.params)
    length, found = float(flatten(across).norm()), 0.0
    normals = [{k: v / length for k, v in across.items()}, instance.mirror.random_normal(generator_of(instance.seed))]
    for x in instance.samples[:2]:
        for n in normals:
            slope = slope_at_mirror(measured, instance.mirror, instance.params, x, n)
            estimate = right_derivative(measured, instance.mirror, instance.params, x, n)
            found = max(found, abs(estimate - slope) / (1 + abs(slope)))
    return found


def growth(loss: Loss, mirror: Mirror, params: Params, n: Params) -> float:
    r"""Exponent $p$ in slope $\sim z^{-p}$ as $z\to0_+$: 0 where the derivative exists, 1/2 where the gradient crosses.

    Args:
        loss: Loss of ``(params, None)``.
        mirror: The mirror.
        params: A point; its projection is used.
        n: Touched tensors of a unit normal.

    Returns:
        The fitted exponent.
    """
    far, near = quotients(loss, mirror, params, None, n, (1e-4, 1e-6))
    return log(abs(near / far)) / log(1e2)


def minima_agree(landscape_loss: Loss, mirror: Mirror, minima: list[Params], gamma: float, seed: int) -> float:
    r"""Are minima of $\ell_\gamma$ minima of the $L_1$ form? The largest descent found around their images.

    Args:
        landscape_loss: $\ell_0$ of ``(params, None)``.
        mirror: The mirror.
        minima: Minima of $\ell_\gamma$.
        gamma: Weight decay.
        seed: Seed of the probes.

    Returns:
        Largest drop of the $L_1$ form over small random moves in its own coordinates; at most rounding for minima.
    """
    g, value, worst = generator_of(seed), l1_penalty(landscape_loss, mirror, gamma), 0.0
    for w in minima:
        q = to_l1(mirror, w)
        here = float(value(q, None))
        for radius in (1e-2, 1e-3, 1e-4):
            for _ in range(8):
                move = {k: normal(g, *p.shape) for k, p in q.items()}
                size = float(squared_norm(move).sqrt())
                worst = max(worst, here - float(value({k: p + radius * move[k] / size for k, p in q.items()}, None)))
    return worst
