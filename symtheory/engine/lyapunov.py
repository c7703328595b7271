r"""Lyapunov exponents of products of random numbers and random matrices, with error bars.

For numbers $f_t$, $\Lambda = \mathbb E\log|f|$. For matrices $M_t$ the exponents
$\Lambda_1\ge\dots\ge\Lambda_r$ are the growth rates of lengths, areas, ... under $M_t\cdots M_1$ (Furstenberg and
Kesten, 1960), found by a QR decomposition at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.numerics import require_finite

Draw = Callable[[torch.Generator, int], Tensor]


@dataclass(frozen=True)
class Lyapunov:
    """A Lyapunov exponent with its standard error.

    Attributes:
        value: The exponent; minus infinity where a factor vanishes.
        error: Standard error of the mean; 0 for an exact law, and where the value is minus infinity.
        count: Number of samples, or of independent replicas.
    """

    value: float
    error: float
    count: int

    @property
    def collapses(self) -> bool:
        """Whether the exponent is negative."""
        return self.value < 0

    @property
    def decided(self) -> bool:
        """Whether it is three standard errors or more away from zero."""
        return abs(self.value) > 3 * self.error

    def __repr__(self) -> str:
        return f"{self.value:.4g} ± {self.error:.1g} (n = {self.count})"


def scalar_exponent(factors: Tensor, *, exact: bool = False) -> Lyapunov:
    r"""$\Lambda = \mathbb E\log|f|$.

    Args:
        factors: The numbers $f$, of shape ``(n,)``.
        exact: Whether they are all values of a uniform finite law (a whole data set), so that there is no error.

    Returns:
        Mean of the logarithm, with its standard error unless exact.

    Raises:
        SymtheoryError: If there are none, or one is not finite.

    >>> scalar_exponent(torch.tensor([2.0, -0.5]).double(), exact=True).value
    0.0
    >>> scalar_exponent(torch.tensor([2.0, 0.0])).value
    -inf
    """
    if factors.dim() != 1 or not len(factors):
        raise SymtheoryError("one or more factors in a vector", f"shape {tuple(factors.shape)}", "flatten them")
    require_finite(factors, "the factors")
    if bool((factors == 0).any()):
        return Lyapunov(-inf, 0.0, len(factors))
    logs = factors.double().abs().log()
    error = 0.0 if exact or len(logs) < 2 else float(logs.std()) / len(logs) ** 0.5
    return Lyapunov(float(logs.mean()), error, len(logs))


def matrix_exponents(
    draw: Draw, *, generator: torch.Generator, steps: int = 2000, replicas: int = 16, transient: int = 100
) -> list[Lyapunov]:
    r"""Lyapunov exponents of i.i.d. products $M_t\cdots M_1$, by QR, from independent replicas.

    Args:
        draw: ``draw(generator, replicas)`` gives one matrix a replica, of shape ``(replicas, r, r)``.
        generator: Source of randomness.
        steps: Factors in each product after the transient.
        replicas: Independent products; their scatter is the error bar.
        transient: Steps before counting, in which the frames align.

    Returns:
        Exponents in descending order; one that is minus infinity (singular factors) comes out as such.

    Raises:
        SymtheoryError: If there are fewer than two replicas or no step, or the draws are not finite square matrices.

    >>> half = lambda g, n: (torch.eye(2) / 2).double().expand(n, 2, 2)
    >>> [round(x.value, 6) for x in matrix_exponents(half, generator=torch.Generator(), steps=50)]
    [-0.693147, -0.693147]
    """
    if replicas < 2 or steps < 1:
        raise SymtheoryError("two or more replicas and a step", f"{replicas} and {steps}", "use the defaults")
    first = draw(generator, replicas)
    if first.dim() != 3 or first.shape[0] != replicas or first.shape[1] != first.shape[2]:
        raise SymtheoryError(f"matrices of shape ({replicas}, r, r)", f"{tuple(first.shape)}", "see the docstring")
    require_finite(first, "the drawn matrices")
    q = torch.linalg.qr(torch.randn(first.shape, generator=generator, dtype=torch.float64)).Q
    total = torch.zeros(first.shape[:2], dtype=torch.float64)
    for t in range(transient + steps):
        q, r = torch.linalg.qr(draw(generator, replicas).double() @ q)
        if t >= transient:
            total += torch.diagonal(r, dim1=1, dim2=2).abs().log()
    rates = total / steps
    found = []
    for column in rates.T:
        finite = bool(torch.isfinite(column).all())
        error = float(column.std()) / replicas**0.5 if finite else 0.0
        found.append(Lyapunov(float(column.mean()) if finite else -inf, error, replicas))
    return sorted(found, key=lambda e: -e.value)


def resample(matrices: Tensor) -> Draw:
    """Draws with replacement from given matrices, as SGD draws its samples.

    Args:
        matrices: Shape ``(n, r, r)``.

    Returns:
        A function for :func:`matrix_exponents`.
    """

    def draw(generator: torch.Generator, replicas: int) -> Tensor:
        return matrices[torch.randint(len(matrices), (replicas,), generator=generator)]

    return draw
