r"""Paper B's benchmark $f(w) = (w^Tw)^2 - w^TBw$ (Section 6.2): problems, and the best there is at each degree.

$B$ is symmetric with eigenpairs $(\lambda_i, v_i)$; $f$ is symmetric under every reflection $w\mapsto w-2(v_i^Tw)v_i$.
How it is trained is in :mod:`symtheory.figures.quartic_descent`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError

STRUCTURES = ("unstructured", "structured")
METHODS = ("standard", "weight decay", "syre", "W-fix", "dropout")


@dataclass(frozen=True)
class Problem:
    r"""One matrix $B$ with everything random about it.

    Attributes:
        values: Eigenvalues $\lambda$, shape (d,), float64.
        vectors: Eigenvectors as columns, shape (d, d), float64; ``None`` if $B$ is diagonal.
        matrix: $B$, shape (d, d), float64; ``None`` if $B$ is diagonal.
        start: $w$ at the start in units of the initial standard deviation, shape (d,), float64.
        bias: $\theta_0/\sigma_0$, shape (d,), float64.
        anchor: The values at which W-fix holds weights, in units of their standard deviation, shape (d,), float64.
        order: The order in which W-fix takes coordinates, a permutation of shape (d,).
        seed: Seed of all of it, and of the dropout noise.
    """

    values: Tensor
    vectors: Tensor | None
    matrix: Tensor | None
    start: Tensor
    bias: Tensor
    anchor: Tensor
    order: Tensor
    seed: int

    @property
    def optimum(self) -> float:
        r"""Smallest value of $f$, $-\lambda_{\max}^2/4$ (0 if no eigenvalue is positive)."""
        return -(max(float(self.values.max()), 0.0) ** 2) / 4

    def times(self, w: Tensor) -> Tensor:
        """Rows times $B$.

        Args:
            w: Shape (..., d), float64.

        Returns:
            The same shape.
        """
        return w * self.values if self.matrix is None else w @ self.matrix

    def project(self, w: Tensor) -> Tensor:
        """Projections of rows on the eigenvectors.

        Args:
            w: Shape (..., d), float64.

        Returns:
            The same shape.
        """
        return w if self.vectors is None else w @ self.vectors

    def objective(self, w: Tensor) -> Tensor:
        """$f$ of every row.

        Args:
            w: Shape (..., d), float64.

        Returns:
            Shape (...).
        """
        return (w * w).sum(-1) ** 2 - (w * self.times(w)).sum(-1)


def problem(structure: str, dim: int, seed: int, scale: float = 1.0) -> Problem:
    r"""Draw a problem.

    Args:
        structure: ``unstructured`` for $B = G+G^T$, ``structured`` for $B = \operatorname{diag}(v)$.
        dim: $d$.
        seed: Seed.
        scale: Standard deviation of the entries of $G$ and of $v$.

    Returns:
        The problem.

    Raises:
        SymtheoryError: If there is no such structure.
    """
    if structure not in STRUCTURES:
        raise SymtheoryError(f"a structure among {list(STRUCTURES)}", repr(structure), "see Figure 4 of paper B")
    g = torch.Generator().manual_seed(seed)
    start, bias, anchor = (torch.randn(dim, generator=g, dtype=torch.float64) for _ in range(3))
    order = torch.randperm(dim, generator=g)
    if structure == "structured":
        values = scale * torch.randn(dim, generator=g, dtype=torch.float64)
        return Problem(values, None, None, start, bias, anchor, order, seed)
    entries = scale * torch.randn(dim, dim, generator=g, dtype=torch.float64)
    matrix = entries + entries.T
    values, vectors = torch.linalg.eigh(matrix)
    return Problem(values, vectors, matrix, start, bias, anchor, order, seed)


def held_weights(p: Problem, fraction: float, spread: float) -> tuple[Tensor, Tensor]:
    r"""Which weights W-fix holds, and where.

    Args:
        p: The problem.
        fraction: $\phi$.
        spread: Standard deviation of the held values.

    Returns:
        Mask of shape (d,), true where held (``round(fraction * d)`` of them), and values of shape (d,), float64.
    """
    mask = torch.zeros(len(p.values), dtype=torch.bool)
    mask[p.order[: round(fraction * len(mask))]] = True
    return mask, spread * p.anchor


def noise(p: Problem) -> Callable[[int], Tensor]:
    """Uniform numbers for dropout; the same whatever the number of steps asked for at a time.

    Args:
        p: The problem.

    Returns:
        Steps to the next numbers, shape (steps, d).
    """
    g = torch.Generator().manual_seed(p.seed + 10_000)

    def draw(steps: int) -> Tensor:
        # step by step: torch fills a tensor in an order that depends on its size
        return torch.stack([torch.rand(len(p.values), generator=g) for _ in range(steps)])

    return draw


def frontier(values: Tensor, cut: float) -> tuple[Tensor, Tensor]:
    r"""The lowest objective at every degree of symmetry, over *all* $w$, in closed form.

    With $q_i = (v_i^Tw)^2$, $f = (\sum q_i)^2 - \sum\lambda_iq_i$ is convex. To break $k$ reflections costs least for
    the $k$ largest eigenvalues: $q_i = c^2$ for them and what is left of the mass $\lambda_1/2$ for the first.

    Args:
        values: Eigenvalues, shape (d,), float64, the largest positive.
        cut: $c$.

    Returns:
        Degrees $d-k$ for $k = 1..d$ and objectives, both of shape (d,).

    >>> frontier(torch.tensor([2.0, 0.0], dtype=torch.float64), 0.1)[1]
    tensor([-1.0000, -0.9800], dtype=torch.float64)
    """
    ranked = values.sort(descending=True).values
    k = torch.arange(1, len(values) + 1, dtype=torch.float64)
    square = cut**2
    rest = (ranked[0] / 2 - k * square).clamp_min(0)
    mass = k * square + rest
    return len(values) - k, mass**2 - square * ranked.cumsum(0) - rest * ranked[0]
