r"""Groups ready to use: from permutations or matrices, and the common families.

A permutation is the tuple of images; products act from the right first, $(ab)(k) = a(b(k))$.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.groups import FiniteGroup

#: Default bound on the order; a multiplication table takes 4 n^2 bytes.
LIMIT = 2000

#: Matrices with a larger condition number count as singular.
SINGULAR = 1e8


def _closed(
    generators: Sequence[Any], times: Callable[[Any, Any], Any], key: Callable[[Any], Hashable], limit: int
) -> tuple[list[Any], np.ndarray]:
    """All products of the generators, the identity first, and the numbers of element times generator."""
    first = generators[0]
    # the identity is the power of any element that follows a full round
    identity, power = None, first
    for _ in range(limit):
        following = times(power, first)
        if key(following) == key(first):
            identity = power
            break
        power = following
    if identity is None:
        raise SymtheoryError(
            f"generators of finite order, at most {limit}", "one that does not come back", "check them, or raise limit"
        )
    elements, number = [identity], {key(identity): 0}
    steps: list[list[int]] = []
    for element in elements:  # grows while it is read
        row = []
        for g in generators:
            image = times(element, g)
            k = number.setdefault(key(image), len(elements))
            if k == len(elements):
                if k >= limit:
                    raise SymtheoryError(
                        f"a group of order at most {limit}",
                        "a larger one",
                        "pass a larger limit",
                    )
                elements.append(image)
            row.append(k)
        steps.append(row)
    return elements, np.array(steps, dtype=np.int32)


def _table(steps: np.ndarray) -> np.ndarray:
    """Multiplication table from right multiplication by generators."""
    n = len(steps)
    table = np.empty((n, n), dtype=np.int32)
    table[:, 0] = np.arange(n)
    done, queue = {0}, [0]
    for b in queue:
        for j in range(steps.shape[1]):
            c = int(steps[b, j])
            if c not in done:
                table[:, c] = steps[table[:, b], j]  # a (b g) = (a b) g
                done.add(c)
                queue.append(c)
    return table


def from_permutations(generators: Sequence[Sequence[int]], *, name: str = "group", limit: int = LIMIT) -> FiniteGroup:
    r"""The group that permutations of $0..m-1$ generate.

    Args:
        generators: Image of every point, one sequence a generator; all of one length $m$.
        name: For print-outs.
        limit: Largest order that is tried.

    Returns:
        The group, with its action on the points.

    Raises:
        SymtheoryError: If a sequence is no permutation, the lengths differ or the order is too large.

    >>> from_permutations([(1, 2, 0)]).order
    3
    """
    if len({len(g) for g in generators}) != 1 or any(sorted(g) != list(range(len(g))) for g in generators):
        raise SymtheoryError(
            "permutations of 0..m-1, all of one degree m", f"{[tuple(g) for g in generators]}", "use every point once"
        )
    elements, steps = _closed(
        [tuple(int(k) for k in g) for g in generators], lambda a, b: tuple(a[k] for k in b), lambda a: a, limit
    )
    return FiniteGroup(_table(steps), tuple(steps[0].tolist()), name, np.array(elements))


def from_matrices(
    generators: Sequence[Tensor], *, name: str = "group", limit: int = LIMIT, digits: int = 6
) -> FiniteGroup:
    r"""The group that invertible matrices generate; two are the same if they agree to ``digits`` decimals.

    Args:
        generators: Matrices of shape ``(d, d)``.
        name: For print-outs.
        limit: Largest order that is tried.
        digits: Decimals compared.

    Returns:
        The abstract group; :func:`symtheory.spec.representations.from_generators` gives back the matrices.

    Raises:
        SymtheoryError: If the matrices do not fit, or generate no group of at most this order.

    >>> from_matrices([torch.tensor([[0.0, -1.0], [1.0, 0.0]])]).order
    4
    """
    shapes = {tuple(g.shape) for g in generators}
    shape = next(iter(shapes), ())
    if len(shapes) != 1 or len(shape) != 2 or shape[0] != shape[1]:
        raise SymtheoryError("square matrices of one size", f"shapes {sorted(shapes)}", "use generators of one degree")
    if not all(bool(g.isfinite().all()) and float(torch.linalg.cond(g.double())) < SINGULAR for g in generators):
        raise SymtheoryError(
            "invertible matrices", "one that is singular, or not finite", "a projection is no symmetry"
        )
    _, steps = _closed(
        [g.double().numpy() for g in generators],
        lambda a, b: a @ b,
        lambda a: (np.round(a, digits) + 0.0).tobytes(),
        limit,
    )
    return FiniteGroup(_table(steps), tuple(steps[0].tolist()), name)


def cyclic(n: int) -> FiniteGroup:
    """$C_n$, turning $n$ points.

    Args:
        n: Order.

    Returns:
        The group.
    """
    return from_permutations([[(k + 1) % n for k in range(n)]], name=f"C_{n}")


def dihedral(n: int) -> FiniteGroup:
    """$D_n$ of order $2n$, the symmetries of a polygon with $n$ corners.

    Args:
        n: Number of corners, at least 3.

    Returns:
        The group, acting on the corners.

    Raises:
        SymtheoryError: If there are fewer than three corners.
    """
    if n < 3:
        raise SymtheoryError("n >= 3", f"{n}", "the smaller ones are abelian(2) and abelian(2, 2)")
    return from_permutations([[(k + 1) % n for k in range(n)], [-k % n for k in range(n)]], name=f"D_{n}")


def symmetric(n: int) -> FiniteGroup:
    """$S_n$, acting on $n$ points.

    Args:
        n: Number of points.

    Returns:
        The group.

    >>> symmetric(3)
    S_3, order 6
    """
    swap, turn = [1, 0, *range(2, n)] if n > 1 else [0], [(k + 1) % n for k in range(n)]
    return from_permutations([swap, turn], name=f"S_{n}")


def alternating(n: int) -> FiniteGroup:
    """$A_n$, acting on $n$ points.

    Args:
        n: Number of points.

    Returns:
        The group.
    """
    cycles = [[1, k, *range(2, k), 0, *range(k + 1, n)] for k in range(2, n)]
    return from_permutations(cycles or [list(range(n))], name=f"A_{n}")


def abelian(*orders: int) -> FiniteGroup:
    r"""$C_{n_1}\times\dots\times C_{n_k}$; its generators are those of the factors, in order.

    Args:
        *orders: $n_1, \dots, n_k$.

    Returns:
        The group, acting on $n_1+\dots+n_k$ points.
    """
    generators, start = [], 0
    for n in orders:
        image = list(range(sum(orders)))
        image[start : start + n] = [start + (k + 1) % n for k in range(n)]
        generators.append(image)
        start += n
    return from_permutations(generators, name="x".join(f"C_{n}" for n in orders))


def direct_product(first: FiniteGroup, second: FiniteGroup) -> FiniteGroup:
    r"""$G\times H$; the pair $(a, b)$ has the number $a|H|+b$.

    Args:
        first: $G$.
        second: $H$.

    Returns:
        The abstract group.

    >>> direct_product(cyclic(2), cyclic(3)).is_abelian
    True
    """
    n = second.order
    table = np.kron(first.table.astype(np.int64) * n, np.ones((n, n), dtype=np.int64)) + np.tile(
        second.table.astype(np.int64), (first.order, first.order)
    )
    generators = (*(a * n for a in first.generators), *second.generators)
    return FiniteGroup(table.astype(np.int32), generators, f"{first.name} x {second.name}")


def quaternion() -> FiniteGroup:
    """$Q_8$, the units of the quaternions.

    Returns:
        The group.
    """
    i = [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]]
    j = [[0, 0, -1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, -1, 0, 0]]
    return from_matrices([torch.tensor(m, dtype=torch.float64) for m in (i, j)], name="Q_8")
