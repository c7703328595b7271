r"""Random finite laws of curvatures, and the exact distribution of what SGD makes of the distance to a mirror.

For a finite data set $\log|z_T/z_0| = \sum_iK_i\log|1-\lambda h_i|$ with multinomial counts $K$, so $T$ steps cost one draw of
counts, however large $T$ is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, pi

import torch
from torch import Tensor

from symtheory.engine.lyapunov import Draw, scalar_exponent
from symtheory.errors import SymtheoryError
from symtheory.theorems.instances import generator_of

#: Distance below which z counts as collapsed, relative to its start.
EPSILON = 1e-6
REPLICAS = 2000
#: Exponents closer to zero than this are zero up to rounding.
ZERO = 1e-12
#: A critical walk is followed for so many steps.
LONG = 10**6
LAWS = ("noise attracts", "noise repels", "critical", "annihilating sample", "diverging moments")


@dataclass(frozen=True)
class Law:
    r"""Curvatures $h$ of a data set, equally likely, and a learning rate.

    Attributes:
        name: Kind.
        h: Curvatures, decay included.
        lr: Learning rate.
        rival: What a wrong criterion says: whether SGD collapses.
        seed: Seed.
    """

    name: str
    h: Tensor
    lr: float
    rival: bool
    seed: int

    @property
    def factors(self) -> Tensor:
        r"""$1-\lambda h$."""
        return 1 - self.lr * self.h

    @property
    def exponent(self) -> float:
        r"""$\Lambda = \mathbb E\log|1-\lambda h|$."""
        return scalar_exponent(self.factors, exact=True).value

    @property
    def collapses(self) -> bool:
        """What Theorem 5 says."""
        return self.exponent < -ZERO


def law(kind: str, seed: int) -> Law:
    """A random law on which a plausible wrong criterion fails.

    Args:
        kind: One of :data:`LAWS`.
        seed: Seed.

    Returns:
        The law; its rival criterion is gradient descent's, a weak inequality, the law without the annihilating sample,
        or the second moment, by kind.

    Raises:
        SymtheoryError: If the law is not of its kind.
    """
    g = generator_of(seed)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=g, dtype=torch.float64))

    lr = 2.0 ** -int(torch.randint(1, 8, (), generator=g))
    match kind:
        case "noise attracts":  # mean factor above 1, product below
            mean, spread = uniform(1.02, 1.15), uniform(0.75, 0.95)
            factors, rival = [mean + spread, mean - spread], False
        case "noise repels":  # mean factor near 0, all factors beyond 1 in modulus
            mean, spread = uniform(-0.2, 0.2), uniform(1.5, 2.5)
            factors, rival = [mean + spread, mean - spread], True
        case "critical":
            c = uniform(1.2, 3.0)
            factors, rival = [c, 1 / c], True
        case "annihilating sample":
            factors, rival = [0.0, uniform(1.2, 3.0), uniform(1.2, 3.0)], False
        case _:
            factors, rival = [uniform(2.0, 3.0), uniform(0.05, 0.25)], False
    h = (1 - torch.tensor(factors, dtype=torch.float64)) / lr
    if kind == "annihilating sample":
        h[0] = 1 / lr
    found = Law(kind, h, lr, rival, seed)
    if found.collapses == rival:
        raise SymtheoryError("a law on which the rival criterion fails", f"{found}", "mend its ranges")
    return found


def horizon(logs: Tensor) -> int:
    r"""Steps after which collapse or escape is beyond doubt: fifteen standard deviations from $\log\varepsilon$.

    Args:
        logs: Logarithms of the moduli of the factors.

    Returns:
        Number of steps; :data:`LONG` for a vanishing exponent.
    """
    mean, deviation = float(logs.mean()), float(logs.std(correction=0))
    if abs(mean) <= ZERO:
        return LONG
    return int(4 * log(1 / EPSILON) / abs(mean) + (15 * deviation / mean) ** 2) + 10


def counts(n: int, steps: int, replicas: int, generator: torch.Generator) -> Tensor:
    """Multinomial counts of ``n`` equally likely outcomes.

    Args:
        n: Number of outcomes.
        steps: Draws in each replica.
        replicas: Number of replicas.
        generator: Source of randomness.

    Returns:
        Float64 matrix of shape ``(replicas, n)`` whose rows add to ``steps``.
    """
    left, out = torch.full((replicas,), float(steps), dtype=torch.float64), []
    for k in range(n - 1):
        probability = torch.full((replicas,), 1 / (n - k), dtype=torch.float64)
        out.append(torch.binomial(left, probability, generator=generator))
        left = left - out[-1]
    return torch.stack([*out, left], dim=1)


def log_distance(factors: Tensor, steps: int, generator: torch.Generator, replicas: int = REPLICAS) -> Tensor:
    r"""Samples of $\log|z_T/z_0|$ under i.i.d. draws.

    Args:
        factors: The equally likely factors.
        steps: $T$.
        generator: Source of randomness.
        replicas: Number of samples.

    Returns:
        Vector of shape ``(replicas,)``; minus infinity where an annihilating factor was drawn.
    """
    drawn = counts(len(factors), steps, replicas, generator)
    logs = factors.abs().log()
    finite = torch.where(torch.isfinite(logs), logs, 0.0)
    dead = (drawn[:, ~torch.isfinite(logs)] > 0).any(dim=1)
    return torch.where(dead, -inf, drawn @ finite)


def contradiction(collapses: bool, logs: Tensor) -> float:
    r"""How much samples of $\log|z_T/z_0|$ contradict a prediction.

    Args:
        collapses: Whether $z_T\to0$ in probability is predicted.
        logs: The samples.

    Returns:
        If so, the share beyond :data:`EPSILON`; if not, how much that share falls short of a quarter.
    """
    away = float((logs > log(EPSILON)).double().mean())
    return away if collapses else max(0.0, 0.25 - away)


def tumbling(seed: int) -> tuple[Draw, float]:
    r"""Factors $I-\lambda H = Q\operatorname{diag}(\alpha,\beta)Q^T$ with uniformly random frames $Q$ in the plane.

    The top exponent is the mean of $\log\|\operatorname{diag}(\alpha,\beta)u\|$ over the circle, $\log\frac{\alpha+\beta}2>0$ here,
    that of a diagonal entry $\alpha\cos^2+\beta\sin^2$ is $2\log\frac{\sqrt\alpha+\sqrt\beta}2<0$.

    Args:
        seed: Seed of $\alpha$ and $\beta$.

    Returns:
        A function for :func:`symtheory.engine.lyapunov.matrix_exponents`, and the exponent of a diagonal entry.
    """
    alpha, beta = stretch(seed)

    def draw(generator: torch.Generator, replicas: int) -> Tensor:
        angle = pi * torch.rand(replicas, generator=generator, dtype=torch.float64)
        u = torch.stack([angle.cos(), angle.sin()], dim=1)
        outer = u[:, :, None] * u[:, None, :]
        return beta * torch.eye(2, dtype=torch.float64) + (alpha - beta) * outer

    return draw, 2 * log((alpha**0.5 + beta**0.5) / 2)


def stretch(seed: int) -> tuple[float, float]:
    r"""The eigenvalues $\alpha$, $\beta$ of :func:`tumbling`.

    Args:
        seed: Seed.

    Returns:
        $\alpha\in[2.1, 2.4]$ and $\beta\in[0.05, 0.1]$.
    """
    a, b = torch.rand(2, generator=generator_of(seed), dtype=torch.float64).tolist()
    return 2.1 + 0.3 * a, 0.05 + 0.05 * b
