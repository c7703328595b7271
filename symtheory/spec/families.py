r"""Ready mirrors: from a basis or a projection, and those that networks have by construction.

Each function only *declares* a reflection. Sources: paper A, Definitions 1 and 2, eqs. (8) to (11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import ORTHONORMALITY, AxisMirror, BasisMirror, Block, SwapMirror
from symtheory.spec.params import Shapes, size_of, unflatten


def _only(shapes: Shapes, names: Sequence[str]) -> Shapes:
    missing = [n for n in names if n not in shapes]
    if missing:
        raise SymtheoryError(f"names among {sorted(shapes)}", f"{missing}", "name the tensors as the model does")
    return {n: shapes[n] for n in names}


def from_basis(basis: Tensor, shapes: Shapes) -> BasisMirror:
    r"""Mirror with normals the columns of $O$ on flat vectors.

    Args:
        basis: Matrix $O$ of shape ``(n, r)`` (or a vector of length n) with orthonormal columns.
        shapes: Layout of the flat vector of length ``n``.

    Returns:
        The mirror $P = OO^T$.

    Raises:
        SymtheoryError: If the length does not match or the columns are not orthonormal.

    >>> m = from_basis(torch.tensor([[0.6], [0.8]]), {"w": (2,)})
    >>> round(m.distance({"w": torch.tensor([0.6, 0.8])}), 6)
    1.0
    """
    columns = basis[:, None] if basis.dim() == 1 else basis
    if columns.dim() != 2 or columns.shape[0] != size_of(shapes):
        raise SymtheoryError(f"O of shape ({size_of(shapes)}, r)", f"{tuple(basis.shape)}", "check the layout")
    parts = [unflatten(column, shapes) for column in columns.T]
    return BasisMirror({name: torch.stack([p[name] for p in parts], dim=-1) for name in shapes})


def from_projection(projection: Tensor, shapes: Shapes) -> BasisMirror:
    r"""Mirror from a dense orthogonal projection, $P^2 = P = P^T$.

    Args:
        projection: Matrix of shape ``(n, n)``.
        shapes: Layout of the flat vector of length ``n``.

    Returns:
        The mirror, with an orthonormal basis of the image of $P$.

    Raises:
        SymtheoryError: If the matrix is not an orthogonal projection of the right size.

    >>> from_projection(torch.tensor([[0.5, -0.5], [-0.5, 0.5]]), {"w": (2,)}).rank
    1
    """
    n = size_of(shapes)
    if tuple(projection.shape) != (n, n):
        raise SymtheoryError(f"P of shape ({n}, {n})", f"{tuple(projection.shape)}", "check the layout")
    p = projection.double()
    error = max(float((p @ p - p).abs().max()), float((p - p.T).abs().max()))
    if not error <= ORTHONORMALITY:
        raise SymtheoryError(
            "an orthogonal projection, P P = P = P^T", f"an error of {error:.2g}", "use P = O O^T with orthonormal O"
        )
    values, vectors = torch.linalg.eigh(p)
    return from_basis(vectors[:, values > 0.5], shapes)


def sign_flip(shapes: Shapes, blocks: Sequence[Block | str]) -> SwapMirror:
    r"""Reflection that negates the named blocks; the mirror is where they vanish.

    An odd unit gives one: negate a neuron's incoming and outgoing weights.

    Args:
        shapes: Shapes of the model's parameters.
        blocks: Blocks, or names of whole tensors.

    Returns:
        The mirror.
    """
    flips = tuple(Block(b) if isinstance(b, str) else b for b in blocks)
    return SwapMirror(_only(shapes, list(dict.fromkeys(b.name for b in flips))), flips=flips)


def permutation(shapes: Shapes, axes: Mapping[str, int], i: int | Sequence[int], j: int | Sequence[int]) -> SwapMirror:
    r"""Exchange of units $i$ and $j$ (or of two equal blocks of units) along one axis of each named tensor.

    Args:
        shapes: Shapes of the model's parameters.
        axes: Name to the axis that indexes the units, e.g. ``{"w1": 0, "b1": 0, "w2": 1}`` for a hidden layer.
        i: First unit, or the first block of units.
        j: Second unit, or the second block, of the same length and disjoint.

    Returns:
        The mirror, eq. (11) of paper A; on it the two units are equal.
    """
    a, b = ((k,) if isinstance(k, int) else tuple(k) for k in (i, j))
    swaps = tuple((Block(name, axis, a), Block(name, axis, b), 1) for name, axis in axes.items())
    return SwapMirror(_only(shapes, list(axes)), swaps=swaps)


def index_permutation(shapes: Shapes, axes: Mapping[str, int], order: Sequence[int]) -> SwapMirror:
    r"""Permutation of the units along one axis of each named tensor; it must be its own inverse.

    Args:
        shapes: Shapes of the model's parameters.
        axes: Name to the axis that indexes the units.
        order: Unit ``order[k]`` takes place ``k``.

    Returns:
        The mirror.

    Raises:
        SymtheoryError: If the order is no permutation, or not an involution (then it is no reflection).
    """
    if sorted(order) != list(range(len(order))):
        raise SymtheoryError(f"a permutation of 0..{len(order) - 1}", f"{list(order)}", "use every index once")
    if any(order[order[k]] != k for k in range(len(order))):
        raise SymtheoryError(
            "a permutation that is its own inverse",
            f"{list(order)}",
            "longer cycles are products of reflections: declare one mirror for each exchange",
        )
    pairs = [(k, order[k]) for k in range(len(order)) if k < order[k]]
    return permutation(shapes, axes, [p[0] for p in pairs], [p[1] for p in pairs])


def exchange(shapes: Shapes, first: Sequence[str], second: Sequence[str], sign: int = 1) -> SwapMirror:
    r"""Exchange of two lists of whole tensors, $\theta_a \leftrightarrow \pm\theta_b$.

    Args:
        shapes: Shapes of the model's parameters.
        first: Names of $\theta_a$.
        second: Names of $\theta_b$, of the same shapes in the same order.
        sign: 1, or -1 for $(\theta_a,\theta_b) \mapsto (-\theta_b,-\theta_a)$.

    Returns:
        The mirror, on which $\theta_a = \pm\theta_b$.
    """
    swaps = tuple((Block(a), Block(b), sign) for a, b in zip(first, second, strict=True))
    return SwapMirror(_only(shapes, [*first, *second]), swaps=swaps)


def rescaling(shapes: Shapes, u: str, w: str) -> SwapMirror:
    r"""The mirror that $(u, w) \mapsto (\rho u, w/\rho)$ implies at $\rho = -1$: both change sign, $O = I$.

    Needs an invariance under *negative* $\rho$ too; ReLU layers have only $\rho>0$ and so not this mirror.

    Args:
        shapes: Shapes of the model's parameters.
        u: Name of one tensor.
        w: Name of the other, of any shape.

    Returns:
        The mirror, on which $u = w = 0$.
    """
    return sign_flip(shapes, [u, w])


def rescaling_pair(shapes: Shapes, u: str, w: str) -> tuple[SwapMirror, SwapMirror]:
    r"""The two further mirrors of a *scalar* rescaling pair, with normals $(1,-1)/\sqrt2$ and $(1,1)/\sqrt2$.

    For tensors of equal shape this is the pair of mirrors of an elementwise (Hadamard) product $u\odot w$.

    Args:
        shapes: Shapes of the model's parameters.
        u: Name of one tensor.
        w: Name of the other, of the same shape.

    Returns:
        The mirrors $u = w$ and $u = -w$.
    """
    return exchange(shapes, [u], [w], 1), exchange(shapes, [u], [w], -1)


def rotation(shapes: Shapes, name: str, normals: Tensor, axis: int = 0) -> AxisMirror:
    r"""The mirror $W \mapsto (I - 2NN^T)W$ that invariance under all orthogonal $\Omega$, $W\mapsto\Omega W$, implies.

    Args:
        shapes: Shapes of the model's parameters.
        name: The tensor $W$.
        normals: Matrix $N$ of shape ``(d, r)`` with orthonormal columns, or a unit vector.
        axis: The axis that is rotated.

    Returns:
        The mirror, on which $N^TW = 0$.
    """
    return double_rotation(shapes, {name: axis}, normals)


def double_rotation(shapes: Shapes, axes: Mapping[str, int], normals: Tensor) -> AxisMirror:
    r"""The mirror of $(U, W) \mapsto (U\Omega, \Omega^TW)$: the same reflection on one axis of each tensor.

    Args:
        shapes: Shapes of the model's parameters.
        axes: Name to rotated axis, e.g. ``{"query": 0, "key": 0}``.
        normals: Matrix $N$ of shape ``(d, r)`` with orthonormal columns, or a unit vector.

    Returns:
        The mirror, on which $UN = 0$ and $N^TW = 0$.
    """
    n = normals[:, None] if normals.dim() == 1 else normals
    return AxisMirror(_only(shapes, list(axes)), dict(axes), n)
