r"""Joint frames of several mirrors: subspaces that every matrix commuting with all the projections must keep.

A matrix $H$ with $HP_i = P_iH$ for all $i$ commutes with the whole algebra that the $P_i$ generate, in particular with
a random symmetric element $A$ of it, and so keeps every eigenspace of $A$. For commuting projections these are
the joint images (in $P_1$ and $P_2$, in $P_1$ and not in $P_2$, ...). For others some eigenspaces are tied into
*multiplets*: projections map one into another, and $H$ has the same spectrum on all members.

Only the span of all normals is worked on, so the cost is set by the ranks of the mirrors and not by the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from symtheory.engine.operators import normal_basis
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import Mirror
from symtheory.spec.numerics import Rank, numerical_rank
from symtheory.spec.params import Params, Shapes, size_of, unflatten

#: Eigenvalues of the random element closer than this are one; its coefficients are of order one.
SAME = 1e-7
#: Singular values of the joined normals below this are rounding of dependent normals.
DEPENDENT = 1e-6
#: More normals than this are not held as dense columns.
MOST = 4096


@dataclass(frozen=True)
class Frames:
    r"""Joint subspaces of mirrors inside the span of their normals.

    Attributes:
        names: Names of the touched tensors, in the order of the flat vector.
        shapes: Their shapes.
        parts: Orthonormal bases of the subspaces, each of shape ``(n, k)``.
        multiplet: For each part the number of its multiplet; parts of one multiplet have equal spectra.
        inside: For each part and mirror whether the part lies in the image of that $P$, is killed by it, or neither
            (1, 0, -1).
        commuting: Whether all projections commute.
        rank: Dimension of the span of all normals, with the singular values around the cut.
    """

    names: tuple[str, ...]
    shapes: Shapes
    parts: tuple[Tensor, ...]
    multiplet: tuple[int, ...]
    inside: tuple[tuple[int, ...], ...]
    commuting: bool
    rank: Rank

    @property
    def sizes(self) -> tuple[int, ...]:
        """Dimension of every part."""
        return tuple(part.shape[1] for part in self.parts)

    def vector(self, column: Tensor, params: Params) -> Params:
        """A flat column as parameters, zero on the tensors no mirror touches.

        Args:
            column: Vector of length ``n``.
            params: All parameters of the model, for shapes and types.

        Returns:
            Parameter-shaped dict.
        """
        part = unflatten(column.contiguous(), self.shapes)
        return {k: part[k].to(p) if k in part else torch.zeros_like(p) for k, p in params.items()}


def _joined(mirrors: Sequence[Mirror]) -> tuple[Shapes, list[Tensor]]:
    """Normals of every mirror on one flat vector over all touched tensors."""
    shapes: Shapes = {}
    for mirror in mirrors:
        shapes |= mirror.shapes
    total, bases = size_of(shapes), []
    for mirror in mirrors:
        basis, at = normal_basis(mirror), 0
        out = torch.zeros(total, mirror.rank, dtype=torch.float64)
        starts, here = {}, 0
        for name, shape in shapes.items():
            starts[name] = here
            here += size_of({name: shape})
        for name, shape in mirror.shapes.items():
            count = size_of({name: shape})
            out[starts[name] : starts[name] + count] = basis[at : at + count]
            at += count
        bases.append(out)
    return shapes, bases


def joint_frames(mirrors: Sequence[Mirror], seed: int = 0) -> Frames:
    r"""Finest subspaces that every matrix commuting with all $P_i$ keeps, inside the span of the normals.

    On the complement of that span all $P_i$ vanish; it is one further subspace, which is not formed.

    Args:
        mirrors: At least one mirror of moderate rank.
        seed: Seed of the random element of the algebra.

    Returns:
        The frames, largest first.

    Raises:
        SymtheoryError: If there is no mirror, or the ranks are too large to hold their normals.

    >>> from symtheory.spec import rescaling_pair
    >>> joint_frames(rescaling_pair({"u": (3,), "w": (3,)}, "u", "w")).sizes
    (3, 3)
    """
    total = sum(m.rank for m in mirrors)
    if not 0 < total <= MOST:
        raise SymtheoryError(
            f"mirrors with 1 to {MOST} normals in all", f"{total}", "pass mirrors of few neurons, not of a whole layer"
        )
    shapes, bases = _joined(mirrors)
    u, values, _ = torch.linalg.svd(torch.cat(bases, dim=1), full_matrices=False)
    rank = numerical_rank(values, cut=DEPENDENT)
    span = u[:, : rank.value]
    small = [(span.T @ o) @ (span.T @ o).T for o in bases]
    g = torch.Generator().manual_seed(seed)

    def coefficient() -> Tensor:
        return torch.rand((), generator=g, dtype=torch.float64) + 0.5

    element = torch.zeros_like(small[0])
    for i, p in enumerate(small):
        element = element + coefficient() * p
        for q in small[:i]:
            element = element + coefficient() * (p @ q + q @ p)
    eigenvalues, vectors = torch.linalg.eigh((element + element.T) / 2)
    cuts = [0, *(k + 1 for k in range(len(eigenvalues) - 1) if eigenvalues[k + 1] - eigenvalues[k] > SAME)]
    pieces = [vectors[:, a:b] for a, b in zip(cuts, [*cuts[1:], len(eigenvalues)], strict=True)]
    pieces.sort(key=lambda v: -v.shape[1])
    commuting = all(float((p @ q - q @ p).abs().max()) < SAME for i, p in enumerate(small) for q in small[:i])
    return Frames(
        names=tuple(shapes),
        shapes=shapes,
        parts=tuple(span @ v for v in pieces),
        multiplet=_multiplets(pieces, small),
        inside=tuple(tuple(_inside(v, p) for p in small) for v in pieces),
        commuting=commuting,
        rank=rank,
    )


def _inside(v: Tensor, p: Tensor) -> int:
    """1 where P keeps the subspace, 0 where it kills it, else -1."""
    image = p @ v
    return 1 if float((image - v).abs().max()) < SAME else 0 if float(image.abs().max()) < SAME else -1


def _multiplets(pieces: list[Tensor], small: list[Tensor]) -> tuple[int, ...]:
    """Connected components of the pieces under the projections."""
    label = list(range(len(pieces)))
    for i, v in enumerate(pieces):
        for j, w in enumerate(pieces[:i]):
            if v.shape == w.shape and any(float((v.T @ p @ w).abs().max()) > SAME for p in small):
                old, new = label[i], label[j]
                label = [new if k == old else k for k in label]
    order = list(dict.fromkeys(label))
    return tuple(order.index(k) for k in label)
