r"""Bounds for the removal of finite groups, with all constants, as functions of $\gamma$, $\sigma_0$ and the broken ranks.

A list of ranks stands for the pieces that have to be broken: $r_M = \mathrm{rank}(I-\bar M)$ for every minimal subgroup $M$ of any group
(:func:`minimal_ranks`), or for an abelian group the far fewer blocks that separate its elements (:func:`separating_ranks`).
Piece $k$ is broken with the strength $2\gamma\sigma_0\chi_{r_k}$, and failures add up, whatever their dependence.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, pi, sqrt
from typing import Any

from scipy.optimize import root_scalar
from scipy.stats import chi
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.groups import Subset
from symtheory.spec.intertwiners import isotypic_blocks
from symtheory.spec.representations import Representation


def minimal_ranks(rep: Representation, unbroken: Subset | None = None) -> list[int]:
    r"""$\mathrm{rank}(I-\bar M)$ for every minimal subgroup $M$, those of prime order.

    Args:
        rep: The representation; faithful, or some ranks are zero.
        unbroken: Only subgroups of this $U$; default the whole group.

    Returns:
        One rank a minimal subgroup.

    >>> from symtheory.spec.group_families import symmetric
    >>> from symtheory.spec.representations import natural
    >>> minimal_ranks(natural(symmetric(3)))
    [1, 1, 1, 2]
    """
    chosen = rep.group.minimal_subgroups
    return [rep.broken_rank(m) for m in chosen if unbroken is None or m <= unbroken]


def separating_blocks(rep: Representation) -> list[Tensor]:
    r"""Isotypic blocks such that every nontrivial element moves one of them: at most $\sum_pd_p$ many.

    For every prime $p$ the elements of order $p$ form a vector space of dimension $d_p$, on which $d_p$ independent
    characters suffice. One character can serve several primes, so there may be fewer.

    Args:
        rep: A faithful orthogonal representation of an abelian group.

    Returns:
        Orthonormal bases, a part of :func:`symtheory.spec.intertwiners.isotypic_blocks`.

    Raises:
        SymtheoryError: If the group is not abelian, or the representation not faithful or not orthogonal.

    >>> from symtheory.spec.group_families import abelian
    >>> from symtheory.spec.representations import character, direct_sum
    >>> g = abelian(6)
    >>> len(separating_blocks(direct_sum(character(g, [1 / 2]), character(g, [1 / 3]))))
    2
    """
    if not rep.group.is_abelian:
        raise SymtheoryError("a representation of an abelian group", f"{rep!r}", "use minimal_ranks")
    if not rep.is_faithful:
        raise SymtheoryError("a faithful representation", f"{rep!r}", "take the quotient by what acts trivially")
    group, blocks = rep.group, isotypic_blocks(rep)
    fixes = [{a for a in range(group.order) if float((rep.matrices[a] @ b - b).abs().max()) < 1e-6} for b in blocks]
    chosen: list[int] = []
    for p in group.prime_ranks():
        left = {a for a in range(1, group.order) if int(group.element_orders[a]) == p}
        left = left.intersection(*(fixes[k] for k in chosen))
        while left:
            best = min(range(len(blocks)), key=lambda k: (len(left & fixes[k]), blocks[k].shape[1]))
            left &= fixes[best]
            chosen.append(best)
    return [blocks[k] for k in chosen]


def separating_ranks(rep: Representation) -> list[int]:
    r"""Dimensions of the :func:`separating_blocks`.

    Args:
        rep: A faithful orthogonal representation of an abelian group.

    Returns:
        One rank a block; $\sum_pd_p\le\log_2|G|$ of them.
    """
    return [b.shape[1] for b in separating_blocks(rep)]


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < inf:
            raise SymtheoryError(f"{name} > 0", f"{value}", "removal needs a decay, a bias and a finite strength")


def _pieces(ranks: Sequence[int]) -> None:
    if not ranks or min(ranks) < 1:
        raise SymtheoryError("ranks >= 1 of the pieces to break", f"{list(ranks)}", "leave out what acts trivially")


def removal_probability(epsilon: float, gamma: float, sigma0: float, ranks: Sequence[int]) -> float:
    r"""Lower bound on $\Pr(\min_V\Delta_V>\epsilon)$, $1-\sum_k\Pr(\chi_{r_k}\le\epsilon/(2\gamma\sigma_0))$; exact for one piece.

    Args:
        epsilon: Wanted strength $\epsilon$, a norm of gradients.
        gamma: $\gamma$.
        sigma0: $\sigma_0$.
        ranks: $r_k$ of the pieces.

    Returns:
        A probability.

    Raises:
        SymtheoryError: If an argument is out of range.

    >>> round(removal_probability(2.0, 1.0, 1.0, [2]), 4)
    0.6065
    """
    _positive(epsilon=epsilon, gamma=gamma, sigma0=sigma0)
    _pieces(ranks)
    t = epsilon / (2 * gamma * sigma0)
    return max(0.0, 1 - sum(float(chi.cdf(t, r)) for r in ranks))


def removal_strength(confidence: float, gamma: float, sigma0: float, ranks: Sequence[int]) -> float:
    r"""Strength $\epsilon$ with which every nontrivial subgroup is broken with probability at least $\delta$.

    Args:
        confidence: $\delta$, in (0, 1).
        gamma: $\gamma$.
        sigma0: $\sigma_0$.
        ranks: $r_k$ of the pieces.

    Returns:
        $\epsilon$, linear in $\gamma\sigma_0$.

    Raises:
        SymtheoryError: If an argument is out of range.

    >>> round(removal_probability(removal_strength(0.9, 0.1, 0.2, [1, 2, 2]), 0.1, 0.2, [1, 2, 2]), 9)
    0.9
    """
    _positive(gamma=gamma, sigma0=sigma0)
    _pieces(ranks)
    if not 0 < confidence < 1:
        raise SymtheoryError("a confidence in (0, 1)", f"{confidence}", "certainty would need an infinite bias")
    high = float(chi.ppf(1 - confidence, max(ranks))) + 1.0

    def surplus(t: float) -> float:
        return sum(float(chi.cdf(t, r)) for r in ranks) - (1 - confidence)

    found: Any = root_scalar(surplus, bracket=(0.0, high), xtol=1e-15, rtol=1e-13)
    return 2 * gamma * sigma0 * float(found.root)


def removal_bias(epsilon: float, confidence: float, gamma: float, ranks: Sequence[int]) -> float:
    r"""Bias $\sigma_0$ with which every nontrivial subgroup is broken more strongly than $\epsilon$ with probability $\delta$.

    For pieces of rank 1 it is close to $\epsilon m/(\sqrt{2\pi}\,\gamma(1-\delta))$, $m$ their number.

    Args:
        epsilon: Wanted strength $\epsilon$.
        confidence: $\delta$, in (0, 1).
        gamma: $\gamma$.
        ranks: $r_k$ of the pieces.

    Returns:
        The standard deviation $\sigma_0$.

    Raises:
        SymtheoryError: If an argument is out of range.

    >>> s = removal_bias(0.1, 0.9, 0.01, [1, 1, 2])
    >>> round(removal_probability(0.1, 0.01, s, [1, 1, 2]), 9)
    0.9
    """
    _positive(epsilon=epsilon)
    return epsilon / removal_strength(confidence, gamma, 1.0, ranks)


def printed_removal_bias(epsilon: float, confidence: float, gamma: float, generators: int, rank: int = 1) -> float:
    r"""Eq. (83) as printed: $\sigma_0 = 2\epsilon|\Gamma(U)|/(\sqrt{2\pi\,\mathrm{rank}}\,\gamma(1-\delta))$.

    Args:
        epsilon: $\epsilon$.
        confidence: $\delta$.
        gamma: $\gamma$.
        generators: $|\Gamma(U)|$.
        rank: $\min_i\mathrm{rank}(I-\bar V_i)$.

    Returns:
        The standard deviation $\sigma_0$.

    Raises:
        SymtheoryError: If an argument is out of range.
    """
    _positive(epsilon=epsilon, gamma=gamma)
    return 2 * epsilon * generators / (sqrt(2 * pi * rank) * gamma * (1 - confidence))
