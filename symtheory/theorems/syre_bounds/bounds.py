r"""How strongly a static bias removes reflections, as functions to call. Every constant is explicit.

Conventions: decay $\gamma\|\theta\|_D^2$ (PyTorch's ``weight_decay`` is $2\gamma$), bias $\theta_0\sim\mathcal N(0,\sigma_0^2I)$ with standard deviation $\sigma_0$.

*Difference.* For a point fixed before the bias is drawn, the loss difference to its mirror image, per unit of distance $\|P\theta\|$, is
$\Delta = 4\gamma\,n^TD[(I-P)\theta+\theta^*-\theta_0]$: Gaussian with standard deviation $4\gamma\sigma_0\|Dn\|\ge4\gamma\sigma_0d$, $d = \min D_{ii}$.

*Slope.* On the mirror the gradient across it is $2\gamma PD(\varphi-\theta_0)$; its norm is at least $2\gamma\sigma_0d\,\chi_r$ in distribution, $r$ the rank.

A non-zero mean only helps (Anderson's inequality). For $N$ reflections the failures are added; no independence is used.
"""

from __future__ import annotations

from math import pi, sqrt

from scipy.special import erf, erfinv
from scipy.stats import chi

from symtheory.errors import SymtheoryError


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0 or value == float("inf"):
            raise SymtheoryError(f"{name} > 0", f"{value}", "removal needs a decay, a bias and a finite strength")


def _probability(confidence: float) -> None:
    if not 0 <= confidence < 1:
        raise SymtheoryError("a confidence in [0, 1)", f"{confidence}", "certainty would need an infinite bias")


def _whole(**values: int) -> None:
    for name, value in values.items():
        if value != int(value) or value < 1:
            raise SymtheoryError(f"a whole number {name} >= 1", f"{value}", "count the reflections")


def break_probability(epsilon: float, gamma: float, sigma0: float, count: int = 1, stretch: float = 1.0) -> float:
    r"""Lower bound on $\Pr(\min_i|\Delta_i|>\epsilon)$, exact for one reflection with $D = I$ and $\theta^* = 0$.

    $1-N\,\mathrm{erf}\big(\epsilon/(4\sqrt2\,\gamma\sigma_0d)\big)$, at least 0.

    Args:
        epsilon: Wanted strength $\epsilon$, loss per unit of distance.
        gamma: $\gamma$.
        sigma0: $\sigma_0$.
        count: Number $N$ of reflections.
        stretch: $d = \min_iD_{ii}$.

    Returns:
        A probability.

    Raises:
        SymtheoryError: If an argument is out of range.

    >>> round(break_probability(4.0, 1.0, 1.0), 4)
    0.3173
    """
    _positive(epsilon=epsilon, gamma=gamma, sigma0=sigma0, stretch=stretch)
    _whole(count=count)
    return max(0.0, 1 - count * float(erf(epsilon / (4 * sqrt(2) * gamma * sigma0 * stretch))))


def required_bias(epsilon: float, confidence: float, gamma: float, count: int = 1, stretch: float = 1.0) -> float:
    r"""Bias $\sigma_0$ with which all $N$ differences exceed $\epsilon$ with probability at least $\delta$.

    $\sigma_0 = \epsilon/\big(4\sqrt2\,\gamma d\,\mathrm{erf}^{-1}((1-\delta)/N)\big)\approx\epsilon N/(2\sqrt{2\pi}\,\gamma d(1-\delta))$.

    Args:
        epsilon: Wanted strength $\epsilon$.
        confidence: $\delta$, the probability of *success* as in the paper.
        gamma: $\gamma$.
        count: Number $N$ of reflections.
        stretch: $d = \min_iD_{ii}$.

    Returns:
        The standard deviation $\sigma_0$.

    Raises:
        SymtheoryError: If an argument is out of range.

    >>> s = required_bias(0.1, 0.9, gamma=0.01, count=45)
    >>> round(break_probability(0.1, 0.01, s, count=45), 9)
    0.9
    """
    _positive(epsilon=epsilon, gamma=gamma, stretch=stretch)
    _probability(confidence)
    _whole(count=count)
    failure = (1 - confidence) / count
    return 0.0 if failure >= 1 else epsilon / (4 * sqrt(2) * gamma * stretch * float(erfinv(failure)))


def guaranteed_strength(confidence: float, gamma: float, sigma0: float, count: int = 1, stretch: float = 1.0) -> float:
    r"""Strength $\epsilon$ that all $N$ differences exceed with probability at least $\delta$.

    Args:
        confidence: $\delta$, in (0, 1).
        gamma: $\gamma$.
        sigma0: $\sigma_0$.
        count: Number $N$ of reflections.
        stretch: $d = \min_iD_{ii}$.

    Returns:
        $\epsilon = 4\sqrt2\,\gamma\sigma_0d\,\mathrm{erf}^{-1}((1-\delta)/N)$.

    Raises:
        SymtheoryError: If an argument is out of range.

    >>> round(break_probability(guaranteed_strength(0.75, 0.1, 0.2, 6), 0.1, 0.2, 6), 9)
    0.75
    """
    _positive(gamma=gamma, sigma0=sigma0, stretch=stretch, confidence=confidence)
    _probability(confidence)
    _whole(count=count)
    return 4 * sqrt(2) * gamma * sigma0 * stretch * float(erfinv((1 - confidence) / count))


def printed_required_bias(epsilon: float, confidence: float, gamma: float, count: int = 1) -> float:
    r"""Eq. (66) as printed: $\sigma_0 = 2\epsilon N/(\sqrt{2\pi}\,\gamma(1-\delta))$, sufficient and four times what is needed.

    Args:
        epsilon: $\epsilon$.
        confidence: $\delta$.
        gamma: $\gamma$.
        count: $N$.

    Returns:
        The standard deviation $\sigma_0$.

    Raises:
        SymtheoryError: If an argument is out of range.

    >>> round(printed_required_bias(0.1, 0.9, 0.01, 1) / required_bias(0.1, 0.9, 0.01, 1), 2)
    4.01
    """
    _positive(epsilon=epsilon, gamma=gamma)
    _probability(confidence)
    _whole(count=count)
    return 2 * epsilon * count / (sqrt(2 * pi) * gamma * (1 - confidence))


def slope_probability(
    epsilon: float, gamma: float, sigma0: float, rank: int, count: int = 1, stretch: float = 1.0
) -> float:
    r"""Lower bound on the probability that the gradient across each of $N$ mirrors of rank $r$ exceeds $\epsilon$, at points on them.

    $1-N\,\Pr(\chi_r\le\epsilon/(2\gamma\sigma_0d))$, at least 0.

    Args:
        epsilon: Wanted norm of $P\nabla\ell_{ar}$.
        gamma: $\gamma$.
        sigma0: $\sigma_0$.
        rank: Rank $r$ of each mirror.
        count: Number $N$ of reflections.
        stretch: $d = \min_iD_{ii}$.

    Returns:
        A probability.

    Raises:
        SymtheoryError: If an argument is out of range.

    >>> round(slope_probability(2.0, 1.0, 1.0, rank=2), 4)
    0.6065
    """
    _positive(epsilon=epsilon, gamma=gamma, sigma0=sigma0, stretch=stretch)
    _whole(count=count, rank=rank)
    return max(0.0, 1 - count * float(chi.cdf(epsilon / (2 * gamma * sigma0 * stretch), rank)))


def slope_required_bias(
    epsilon: float, confidence: float, gamma: float, rank: int, count: int = 1, stretch: float = 1.0
) -> float:
    r"""Bias with which the gradient across each of $N$ mirrors of rank $r$ exceeds $\epsilon$ with probability $\delta$.

    For small $1-\delta$ it grows as $N^{1/r}$: high-dimensional symmetries are easier to remove, even many of them.

    Args:
        epsilon: Wanted norm of $P\nabla\ell_{ar}$.
        confidence: $\delta$, in (0, 1).
        gamma: $\gamma$.
        rank: Rank $r$ of each mirror.
        count: Number $N$ of reflections.
        stretch: $d = \min_iD_{ii}$.

    Returns:
        The standard deviation $\sigma_0$.

    Raises:
        SymtheoryError: If an argument is out of range.

    >>> s = slope_required_bias(0.1, 0.9, gamma=0.01, rank=5, count=45)
    >>> round(slope_probability(0.1, 0.01, s, 5, 45), 9)
    0.9
    """
    _positive(epsilon=epsilon, gamma=gamma, stretch=stretch, confidence=confidence)
    _probability(confidence)
    _whole(count=count, rank=rank)
    return epsilon / (2 * gamma * stretch * float(chi.ppf((1 - confidence) / count, rank)))
