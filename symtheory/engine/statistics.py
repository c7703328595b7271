"""Probabilities from samples with exact confidence intervals, and exponents from fits rather than from belief."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from scipy.stats import beta

from symtheory.errors import SymtheoryError


@dataclass(frozen=True)
class Proportion:
    """A probability estimated from independent trials.

    Attributes:
        hits: Number of successes.
        trials: Number of trials.
        low: Lower end of the Clopper-Pearson interval.
        high: Upper end.
    """

    hits: int
    trials: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The observed frequency."""
        return self.hits / self.trials

    def __contains__(self, probability: float) -> bool:
        return self.low <= probability <= self.high


def clopper_pearson(hits: int, trials: int, confidence: float = 0.999) -> Proportion:
    r"""Exact two-sided interval for a binomial probability.

    Args:
        hits: Number of successes.
        trials: Number of trials.
        confidence: Coverage of the interval.

    Returns:
        The frequency with its interval.

    Raises:
        SymtheoryError: If the counts or the confidence make no sense.

    >>> p = clopper_pearson(0, 10, 0.95)
    >>> p.low, round(p.high, 4)
    (0.0, 0.3085)
    """
    if not 0 <= hits <= trials or trials < 1:
        raise SymtheoryError("0 <= hits <= trials with at least one trial", f"{hits} of {trials}", "count again")
    if not 0 < confidence < 1:
        raise SymtheoryError("a confidence between 0 and 1", f"{confidence}", "use e.g. 0.999")
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return Proportion(hits, trials, low, high)


@dataclass(frozen=True)
class Exponent:
    r"""Slope of $\log y$ against $\log x$.

    Attributes:
        value: The slope.
        error: Its standard error from the scatter about the line.
        prefactor: $y$ at $x = 1$ on the fitted line.
    """

    value: float
    error: float
    prefactor: float


def fitted_exponent(x: Sequence[float | int], y: Sequence[float]) -> Exponent:
    r"""Least-squares fit of $y = a x^p$.

    Args:
        x: Positive abscissae, at least three.
        y: Positive values.

    Returns:
        The exponent with its standard error.

    Raises:
        SymtheoryError: If there are fewer than three points or a value is not positive.

    >>> fit = fitted_exponent([1.0, 2.0, 4.0], [3.0, 12.0, 48.0])
    >>> round(fit.value, 9), round(fit.prefactor, 9)
    (2.0, 3.0)
    """
    if len(x) != len(y) or len(x) < 3 or min(*x, *y) <= 0:
        raise SymtheoryError("three or more pairs of positive numbers", f"{list(x)}, {list(y)}", "take more points")
    u, v = np.array([log(a) for a in x]), np.array([log(b) for b in y])
    slope, intercept = np.polyfit(u, v, 1)
    rest = v - slope * u - intercept
    error = (rest @ rest / max(len(x) - 2, 1) / ((u - u.mean()) @ (u - u.mean()))) ** 0.5
    return Exponent(float(slope), float(error), float(np.exp(intercept)))
