r"""When does SGD collapse onto a mirror? Exponent, critical learning rate and critical decay, exact and to second order.

With curvatures $\xi$ of the samples across the mirror and decay $\gamma\|w\|^2$, put $a = \xi + 2\gamma$. A step multiplies the
distance by $1-\lambda a$, and SGD collapses exactly when $\Lambda(\lambda) = \mathbb E\log|1-\lambda a| < 0$.

For a finite data set $\Lambda$ is concave between its poles $\lambda = 1/a>0$, where it is minus infinity, and increases without
bound beyond the last. So every zero can be bracketed: below the first pole there is one if $\mathbb E[a]<0$ and none
otherwise, between two poles none or two, beyond the last pole exactly one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import inf, sqrt
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

from symtheory.engine.lyapunov import Lyapunov, matrix_exponents, resample, scalar_exponent
from symtheory.errors import SymtheoryError
from symtheory.spec.numerics import require_finite


@dataclass(frozen=True)
class Critical:
    r"""A critical learning rate or decay.

    Attributes:
        exact: Smallest value from which on $\Lambda<0$ (up to the next one at which it is not); infinite if there is none.
        second_order: What the expansion of $\Lambda$ to second order in $\lambda$ gives; NaN where it has no answer.
    """

    exact: float
    second_order: float

    @property
    def weight_decay(self) -> float:
        """For a critical decay: PyTorch's ``weight_decay``, twice the exact value."""
        return 2 * self.exact


#: Curvatures smaller than this share of the largest are zero: their poles lie where nothing is resolved.
FLAT = 1e-12


def _curvatures(xi: Tensor, shift: float = 0.0) -> np.ndarray:
    """Checked curvatures plus a shift, with what is negligible put to zero."""
    if xi.dim() != 1 or not len(xi):
        raise SymtheoryError("a vector of curvatures", f"shape {tuple(xi.shape)}", "one number a sample")
    require_finite(xi, "the curvatures")
    a = xi.double().numpy() + shift
    return np.where(np.abs(a) > FLAT * np.abs(a).max(), a, 0.0)


def lyapunov_exponent(
    xi_samples: Tensor,
    lr: float,
    decay: float = 0.0,
    *,
    exact: bool = False,
    generator: torch.Generator | None = None,
    steps: int = 2000,
) -> Lyapunov:
    r"""Exponent of SGD across a mirror: $\mathbb E\log|1-\lambda(\xi+2\gamma)|$, or the top exponent for matrices.

    Args:
        xi_samples: Curvatures of samples or batches, of shape ``(n,)``; or blocks $O^TH(x)O$ of shape ``(n, r, r)``.
        lr: Learning rate $\lambda$.
        decay: $\gamma$ in the paper's convention, half of PyTorch's ``weight_decay``.
        exact: Whether the numbers are the whole law (a finite data set), not a sample of it.
        generator: Source of the draws, for matrices; default a fixed seed.
        steps: Length of the products, for matrices.

    Returns:
        The exponent with its standard error.

    >>> lyapunov_exponent(torch.tensor([-1.0, 3.0]).double(), lr=0.5, exact=True)  # log(1.5) / 2 + log(0.5) / 2
    -0.1438 ± 0 (n = 2)
    """
    if xi_samples.dim() == 3:
        eye = torch.eye(xi_samples.shape[1], dtype=torch.float64)
        factors = eye - lr * (xi_samples.double() + 2 * decay * eye)
        g = torch.Generator().manual_seed(0) if generator is None else generator
        return matrix_exponents(resample(factors), generator=g, steps=steps)[0]
    return scalar_exponent(1 - lr * (xi_samples.double() + 2 * decay), exact=exact)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """The zero in a bracket, to rounding."""
    options: dict[str, Any] = {"xtol": 1e-15, "rtol": 1e-14}
    root: Any = brentq(function, low, high, **options)
    return float(root)


def _crossings(function: Callable[[float], float], low: float, high: float) -> list[float]:
    """Zeros of a concave function that is minus infinity at both ends."""
    peak = minimize_scalar(
        lambda x: -function(x), bounds=(low, high), method="bounded", options={"xatol": 1e-12 * high}
    )
    top = float(peak.x)
    if function(top) <= 0:
        return []
    return [_bracketed(function, low, top, toward=low), _bracketed(function, top, high, toward=high)]


def _bracketed(function: Callable[[float], float], a: float, b: float, toward: float) -> float:
    """The zero between a and b, approaching the pole at one of them until the sign changes."""
    inner = a if toward == b else b
    outer, gap = inner, abs(toward - inner)
    while True:
        gap /= 2
        nearer = toward - gap if toward > inner else toward + gap
        if nearer in (outer, toward):  # the dip is narrower than a float can resolve
            return toward
        outer = nearer
        if function(outer) < 0:
            return _root(function, min(inner, outer), max(inner, outer))


def _log_mean(offsets: np.ndarray, slopes: np.ndarray) -> Callable[[float], float]:
    r"""$x\mapsto$ mean of log |offset - x slope|."""

    def value(x: float) -> float:
        factors = np.abs(offsets - x * slopes)
        return float(np.log(factors).mean()) if factors.min() > 0 else -inf

    return value


def stable_learning_rates(xi_samples: Tensor, decay: float = 0.0) -> list[tuple[float, float]]:
    r"""All intervals of $\lambda>0$ in which $\Lambda(\lambda)<0$, for a finite data set.

    Args:
        xi_samples: Curvatures of all samples, of shape ``(n,)``.
        decay: $\gamma$ in the paper's convention.

    Returns:
        Disjoint open intervals in order. With many samples there are narrow ones around poles $1/a$, where one sample
        alone annihilates the distance; they shrink exponentially with the size of the data set.

    >>> ((low, high),) = stable_learning_rates(torch.tensor([-1.0, 3.0]).double())  # (1 + x)|1 - 3x| = 1
    >>> low, abs(high - (7**0.5 - 1) / 3) < 1e-12
    (0.0, True)
    """
    a = _curvatures(xi_samples, 2 * decay)
    poles = np.unique(1 / a[a > 0])
    if not len(poles):
        return []
    value = _log_mean(np.ones_like(a), a)
    zeros: list[float] = []
    if a.mean() < 0:
        zeros.append(_first_zero(value, float(poles[0])))
    else:
        zeros.append(0.0)
    for low, high in pairwise(poles):
        zeros += _crossings(value, float(low), float(high))
    far = 2 * float(poles[-1])
    while value(far) <= 0:
        far *= 2
    zeros.append(_bracketed(value, float(poles[-1]), far, toward=float(poles[-1])))
    return list(zip(zeros[::2], zeros[1::2], strict=True))


def _first_zero(value: Callable[[float], float], pole: float) -> float:
    """The positive zero of a concave function with value 0 and positive slope at 0, before its first pole."""
    start = pole
    for _ in range(200):
        start /= 2
        if value(start) > 0:
            return _bracketed(value, start, pole, toward=pole)
    return 0.0


def second_order_learning_rate(xi_samples: Tensor, decay: float = 0.0) -> float:
    r"""Eq. (5), corrected: $-2\,\mathbb E[\xi+2\gamma]/\mathbb E[(\xi+2\gamma)^2]$.

    Args:
        xi_samples: Curvatures, of shape ``(n,)``.
        decay: $\gamma$ in the paper's convention.

    Returns:
        The bound; negative where the mean curvature is positive, NaN where all curvatures vanish.

    >>> second_order_learning_rate(torch.tensor([-1.0, 3.0, -3.0]).double()) == 2 / 19
    True
    """
    a = _curvatures(xi_samples, 2 * decay)
    square = float((a * a).mean())
    return -2 * float(a.mean()) / square if square else float("nan")


def critical_learning_rate(xi_samples: Tensor, decay: float = 0.0) -> Critical:
    r"""Smallest learning rate from which on SGD collapses onto the mirror.

    Args:
        xi_samples: Curvatures of all samples or batches, of shape ``(n,)``.
        decay: $\gamma$ in the paper's convention.

    Returns:
        The first zero of $\Lambda$, exact for the empirical law of the given numbers, beside the second-order value. It
        is 0 if the mean curvature is not negative, and infinite if no sample has positive curvature.

    >>> found = critical_learning_rate(torch.tensor([1.0, -1.25]).double())  # (1 - x)(1 + 1.25 x) = 1
    >>> round(found.exact, 9), round(found.second_order, 9)
    (0.2, 0.195121951)
    """
    a = _curvatures(xi_samples, 2 * decay)
    second = max(second_order_learning_rate(xi_samples, decay), 0.0)
    if not (a > 0).any():
        return Critical(inf, second)
    if a.mean() >= 0:
        return Critical(0.0, second)
    return Critical(_first_zero(_log_mean(np.ones_like(a), a), 1 / float(a.max())), second)


def critical_weight_decay(xi_samples: Tensor, lr: float) -> Critical:
    r"""Smallest decay $\gamma\ge0$ from which on SGD with learning rate $\lambda$ collapses onto the mirror.

    Args:
        xi_samples: Curvatures of all samples or batches, of shape ``(n,)``.
        lr: Learning rate $\lambda>0$.

    Returns:
        The first zero of $\mathbb E\log|1-\lambda(\xi+2\gamma)|$ in $\gamma$, and the second-order value
        $[\sqrt{1-\lambda^2\operatorname{Var}\xi} - 1 - \lambda\mathbb E\xi]/(2\lambda)$, which is
        $-\tfrac12\mathbb E\xi$ for small steps. Infinite if the step is too large for any decay to help.

    Raises:
        SymtheoryError: If the learning rate is not positive.

    >>> found = critical_weight_decay(torch.tensor([-2.0]).double(), lr=0.1)
    >>> round(found.exact, 9), round(found.second_order, 9), round(found.weight_decay, 9)
    (1.0, 1.0, 2.0)
    """
    if not lr > 0:
        raise SymtheoryError("a learning rate > 0", f"{lr}", "without steps nothing moves")
    xi = _curvatures(xi_samples)
    mean, variance = float(xi.mean()), float(xi.var())
    inside = 1 - lr**2 * variance
    second = max((sqrt(inside) - 1 - lr * mean) / (2 * lr), 0.0) if inside >= 0 else float("nan")
    value = _log_mean(1 - lr * xi, np.full_like(xi, 2 * lr))
    if value(0.0) < 0:
        return Critical(0.0, second)
    poles = np.unique((1 - lr * xi) / (2 * lr))
    if not (poles > 0).any():
        return Critical(inf, second)
    pole = float(poles[poles > 0][0])
    return Critical(_bracketed(value, 0.0, pole, toward=pole), second)
