r"""Linear maps that commute with a group, and the parts of a representation that such maps cannot mix.

The weights of an equivariant layer are the intertwiners $\rho_b(g)X = X\rho_a(g)$ between two representations. Towards
a set of units on which the group permutes, an intertwiner is an equivariant function on the set, which one vector of
$V^H$ decides on every orbit $G/H$. By Schur's lemma an intertwiner is block diagonal over the isotypic components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.cosets import conjugacy_classes, fixed_space
from symtheory.spec.groups import Subset
from symtheory.spec.gsets import GSet
from symtheory.spec.representations import Representation

#: Eigenvalues of a random central element that are closer, relative to the largest, belong to one component.
SEPARATION = 1e-8


def functions(units: GSet, rep: Representation) -> Tensor:
    r"""Orthonormal basis of the equivariant functions $w_{gx} = \rho(g)w_x$ from a set of units to a representation.

    Args:
        units: The set $X$.
        rep: $\rho$, orthogonal, of the same group.

    Returns:
        Shape ``(k, units, dim)``, $k = \sum_{G/H\subset X}\dim V^H$; row ``[i, x]`` is the value at unit $x$.

    Raises:
        SymtheoryError: If the groups differ or the representation is not orthogonal.

    >>> from symtheory.spec.group_families import symmetric
    >>> from symtheory.spec.gsets import coset_space
    >>> from symtheory.spec.representations import natural
    >>> s3 = symmetric(3)
    >>> functions(coset_space(s3, s3.subgroup_classes[1][0]), natural(s3)).shape
    torch.Size([2, 3, 3])
    """
    found = [torch.zeros(0, units.size, rep.dim, dtype=torch.float64)]
    for orbit, values in _by_orbit(units, rep, fixed_space):
        basis = torch.zeros(len(values), units.size, rep.dim, dtype=torch.float64)
        basis[:, list(orbit)] = values
        found.append(basis)
    return torch.cat(found)


def sparse_functions(units: GSet, rep: Representation) -> Tensor:
    r"""Orthonormal basis of the same functions with few entries, for many units.

    Towards a permutation representation every basis vector is constant on one orbit of pairs, and every weight belongs
    to one of them.

    Args:
        units: The set $X$.
        rep: $\rho$, orthogonal, of the same group.

    Returns:
        Sparse and coalesced, of shape ``(k, units, dim)``; spans what :func:`functions` spans, in another basis.

    Raises:
        SymtheoryError: As :func:`functions`.

    >>> from symtheory.spec.group_families import symmetric
    >>> from symtheory.spec.gsets import natural
    >>> points = natural(symmetric(3))
    >>> basis = sparse_functions(points, points.representation())
    >>> basis.shape, basis.values().numel()
    (torch.Size([2, 3, 3]), 9)
    """
    places, entries, count = [torch.zeros(3, 0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.float64)], 0
    for orbit, values in _by_orbit(units, rep, _sparse_fixed_space):
        k, unit, row = torch.nonzero(values, as_tuple=True)
        places.append(torch.stack([k + count, torch.tensor(orbit)[unit], row]))
        entries.append(values[k, unit, row])
        count += len(values)
    shape = (count, units.size, rep.dim)
    return torch.sparse_coo_tensor(torch.cat(places, 1), torch.cat(entries), shape, check_invariants=True).coalesce()


def _by_orbit(
    units: GSet, rep: Representation, basis: Callable[[Representation, Subset], Tensor]
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Orbit by orbit the functions that live on it, of shape ``(k, points, dim)``."""
    _require_orthogonal(rep)
    if units.group is not rep.group:
        raise SymtheoryError("units and values of one group", f"{units.group}, {rep.group}", "use one FiniteGroup")
    known: dict[tuple[Subset, tuple[int, ...]], Tensor] = {}  # equal blocks are common
    for orbit in units.orbits:
        kind = (units.stabilizer(orbit[0]), tuple(units.carriers(orbit)))
        if kind not in known:
            values = rep.matrices[list(kind[1])] @ basis(rep, kind[0]) / len(orbit) ** 0.5
            known[kind] = values.permute(2, 0, 1)
        yield orbit, known[kind]


def _sparse_fixed_space(rep: Representation, subset: Subset) -> Tensor:
    """Where coordinates are permuted, each orbit of the subgroup gives a basis vector."""
    if not bool(((rep.matrices == 0) | (rep.matrices == 1)).all()):
        return fixed_space(rep, subset)
    mean = rep.reynolds(subset)  # entry 1 / size where two coordinates share an orbit
    first = torch.unique((mean > 0).to(torch.int8).argmax(dim=1))
    return mean[:, first] / mean[:, first].norm(dim=0)


def intertwiners(source: Representation, target: Representation) -> Tensor:
    r"""Orthonormal basis of $\mathrm{Hom}_G(A, B) = \{X: \rho_B(g)X = X\rho_A(g)\}$.

    Args:
        source: $\rho_A$.
        target: $\rho_B$, of the same group; neither has to be orthogonal.

    Returns:
        Shape ``(k, dim B, dim A)``, orthonormal for the sum of squares of all entries.

    Raises:
        SymtheoryError: If the groups differ.

    >>> from symtheory.spec.group_families import symmetric
    >>> from symtheory.spec.representations import natural
    >>> pi3 = natural(symmetric(3))
    >>> len(intertwiners(pi3, pi3))
    2
    """
    if source.group is not target.group:
        raise SymtheoryError("representations of one group", f"{source}, {target}", "use one FiniteGroup object")
    a, b = source.dim, target.dim
    one, two = (torch.eye(d, dtype=torch.float64) for d in (a, b))
    # rows of X one after another: (B X) is kron(B, 1), (X A) is kron(1, A^T)
    conditions = [
        torch.kron(target.matrices[g], one) - torch.kron(two, source.matrices[g].T.contiguous())
        for g in source.group.generators
    ]
    if not conditions:
        return torch.eye(a * b, dtype=torch.float64).reshape(-1, b, a)
    system = torch.cat(conditions)
    values, vectors = torch.linalg.eigh(system.T @ system)
    return vectors[:, values < SEPARATION * max(1.0, float(values[-1]))].T.reshape(-1, b, a).contiguous()


def isotypic_blocks(rep: Representation) -> list[Tensor]:
    r"""The real isotypic components of an orthogonal representation.

    A random combination of the sums over conjugacy classes, made symmetric, commutes with the group and is a different
    number on every component; its eigenspaces are the components.

    Args:
        rep: The representation.

    Returns:
        Orthonormal bases of shape ``(d, r_k)``, which together span the space.

    Raises:
        SymtheoryError: If the representation is not orthogonal.

    >>> from symtheory.spec.group_families import symmetric
    >>> from symtheory.spec.representations import regular
    >>> sorted(b.shape[1] for b in isotypic_blocks(regular(symmetric(3))))
    [1, 1, 4]
    """
    _require_orthogonal(rep)
    g = torch.Generator().manual_seed(0)
    mixed = torch.zeros(rep.dim, rep.dim, dtype=torch.float64)
    for members in conjugacy_classes(rep.group):
        weight = float(torch.randn((), generator=g, dtype=torch.float64))
        mixed += weight * rep.matrices[sorted(members)].mean(dim=0)
    values, vectors = torch.linalg.eigh(mixed + mixed.T)
    cuts = torch.nonzero(values.diff() > SEPARATION * float(values.abs().max())).flatten() + 1
    return list(torch.tensor_split(vectors, cuts.tolist(), dim=1))


def _require_orthogonal(rep: Representation) -> None:
    if not rep.is_orthogonal:
        raise SymtheoryError("an orthogonal representation", f"{rep!r}", "use rep.orthogonalised()")
