r"""Directions in which a loss does not change, or changes only quadratically, found from gradients at random points.

A unit vector $u$ is *free* when $u^T\nabla\ell(\theta) = 0$ for all $\theta$: the loss is then reflected into itself
by the plane $u^T\theta = s$ for every $s$. It is *quadratic* when $u^T\nabla\ell(\theta)$ is an affine function of
$\theta$. An antisymmetric $A$ with $(A\theta)^T\nabla\ell(\theta) = 0$ generates rotations that leave the loss
unchanged. All three are null spaces of matrices whose rows are random points, so with more points than unknowns they
are found with certainty up to rounding, and the singular values around the cut are reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from symtheory.engine.model import Batch, Loss
from symtheory.engine.operators import gradient
from symtheory.errors import SymtheoryError
from symtheory.spec.numerics import Rank, numerical_rank
from symtheory.spec.params import Params, flatten, shapes_of, size_of, unflatten

#: Relative singular value below which a direction counts as one of the null space; rounding leaves 1e-13.
NULL_CUT = 1e-9


@dataclass(frozen=True)
class Directions:
    """What a loss does not see.

    Attributes:
        free: Orthonormal basis of the free directions, shape (parameters, count).
        quadratic: Number of independent directions, free ones included, along which the slope is affine.
        rotations: Dimension of the group of rotations about the origin that keep the loss; ``None`` if not asked for.
        ranks: Singular values around each cut.
        shapes: Layout of the flat vector.
    """

    free: Tensor
    quadratic: int
    rotations: int | None
    ranks: dict[str, Rank]
    shapes: dict[str, tuple[int, ...]]

    def weight(self) -> dict[str, float]:
        """Share of every tensor in the free directions: squared norm of its rows of the basis.

        Returns:
            Name to a number between 0 and the tensor's size; the values add up to the count.
        """
        squares = unflatten(self.free.square().sum(1), self.shapes)
        return {name: float(t.sum()) for name, t in squares.items()}


def _null(matrix: Tensor) -> tuple[Tensor, Rank]:
    rows = matrix / matrix.norm(dim=1, keepdim=True).clamp_min(1e-300)
    scale = rows.norm(dim=0).clamp_min(1e-4 * float(rows.norm()))
    _, s, vt = torch.linalg.svd(rows / scale)
    rank = numerical_rank(s, cut=NULL_CUT * float(s[0]))
    return vt[rank.value :].T / scale[:, None], rank


def unseen_directions(
    loss: Loss,
    params: Params,
    samples: Sequence[Batch],
    *,
    generator: torch.Generator,
    rotations: bool = False,
    spread: float = 1.0,
) -> Directions:
    r"""Free and quadratic directions of a small loss, and on request its rotations.

    Args:
        loss: The loss.
        params: For shapes and type; float64 recommended. Cost grows with the cube of the number of scalars (the sixth
            power with ``rotations``), so pass a narrow copy of a wide model.
        samples: Batches; a direction must be unseen by all of them.
        generator: Source of the random points.
        rotations: Whether to look for rotations, too.
        spread: Standard deviation of the points.

    Returns:
        The directions.

    Raises:
        SymtheoryError: If there is no sample.

    >>> g = torch.Generator().manual_seed(0)
    >>> found = unseen_directions(lambda p, _: p["w"][0] ** 4, {"w": torch.zeros(2).double()}, [None], generator=g)
    >>> found.free.abs().round(decimals=9).T.tolist(), found.quadratic
    ([[0.0, 1.0]], 1)
    """
    if not samples:
        raise SymtheoryError("at least one sample", "none", "pass some batches")
    shapes = shapes_of(params)
    n = size_of(shapes)
    unknown = 2 * n + 1 + (n * (n - 1) // 2 if rotations else 0)
    points, slopes = [], []
    for k in range(unknown + 20):
        theta = {
            name: spread * torch.randn(s, generator=generator, dtype=torch.float64).to(params[name])
            for name, s in shapes.items()
        }
        points.append(flatten(theta).double())
        slopes.append(flatten(gradient(loss, theta, samples[k % len(samples)])).double())
    z, g = torch.stack(points), torch.stack(slopes)
    ranks: dict[str, Rank] = {}
    free, ranks["free"] = _null(g)
    affine, ranks["quadratic"] = _null(torch.cat([g, z, torch.ones(len(z), 1, dtype=z.dtype)], dim=1))
    count = int(numerical_rank(torch.linalg.svdvals(affine[:n]), cut=1e-6).value) if affine.shape[1] else 0
    turns = None
    if rotations:
        i, j = torch.triu_indices(n, n, 1)
        generators, ranks["rotations"] = _null(g[:, i] * z[:, j] - g[:, j] * z[:, i])
        turns = generators.shape[1]
    basis = torch.linalg.qr(free).Q if free.shape[1] else free
    return Directions(basis, count, turns, ranks, shapes)
