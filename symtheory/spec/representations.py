r"""Real linear representations of finite groups: one matrix an element, $\rho(a)\rho(b) = \rho(ab)$."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.groups import FiniteGroup, Part, Subset

#: How exactly products of matrices have to match; doubles leave 1e-13 after a few hundred products.
HOMOMORPHISM = 1e-9


@dataclass(frozen=True, eq=False)
class Representation:
    r"""A real representation $\rho: G\to GL(d)$.

    Attributes:
        group: $G$.
        matrices: $\rho(a)$ for every element, float64 of shape ``(n, d, d)``.
        name: For print-outs.
    """

    group: FiniteGroup
    matrices: Tensor
    name: str = "representation"

    def __post_init__(self) -> None:
        m, group = self.matrices, self.group
        if m.dim() != 3 or m.shape[0] != group.order or m.shape[1] != m.shape[2] or m.dtype != torch.float64:
            raise SymtheoryError(
                f"one square float64 matrix for each of {group.order} elements",
                f"{tuple(m.shape)}, {m.dtype}",
                "stack them",
            )
        unit = float((m[0] - torch.eye(self.dim, dtype=torch.float64)).abs().max())
        scale = float(m.abs().max()) ** 2 * self.dim
        products = (float((m @ m[g] - m[group.table[:, g]]).abs().max()) for g in group.generators)
        error = max(products, default=0.0)
        if not max(unit, error / scale) <= HOMOMORPHISM:
            raise SymtheoryError(
                "a representation, rho(a) rho(b) = rho(ab)",
                f"an error of {max(unit, error):.2g}",
                "check the generators",
            )

    def __repr__(self) -> str:
        return f"{self.name} of {self.group.name}, dimension {self.dim}"

    @property
    def dim(self) -> int:
        """Dimension $d$."""
        return self.matrices.shape[1]

    @property
    def is_orthogonal(self) -> bool:
        """Whether every matrix is orthogonal."""
        m = self.matrices
        return bool((m.transpose(1, 2) @ m - torch.eye(self.dim, dtype=m.dtype)).abs().max() < HOMOMORPHISM)

    @property
    def is_faithful(self) -> bool:
        """Whether only the identity is represented by $I$."""
        gaps = (self.matrices - torch.eye(self.dim, dtype=torch.float64)).abs().amax(dim=(1, 2))
        return bool((gaps[1:] > HOMOMORPHISM**0.5).all())

    def reynolds(self, subset: Subset) -> Tensor:
        r"""$\bar V = |V|^{-1}\sum_{v\in V}\rho(v)$, the projection on the points that $V$ fixes.

        Orthogonal if the representation is; in general oblique.

        Args:
            subset: A subgroup $V$.

        Returns:
            Matrix of shape ``(d, d)``.

        Raises:
            SymtheoryError: If the set is no subgroup.

        >>> from symtheory.spec.group_families import symmetric
        >>> natural(symmetric(2)).reynolds(frozenset({0, 1}))[0].tolist()
        [0.5, 0.5]
        """
        self.group.require_subgroup(subset)
        return self.matrices[sorted(subset)].mean(dim=0)

    def fixing(self, subset: Subset) -> Subset:
        """Elements that fix every point that a subgroup fixes.

        Args:
            subset: A subgroup $V$.

        Returns:
            The largest subgroup with the same fixed points.

        >>> from symtheory.spec.group_families import symmetric
        >>> s3 = symmetric(3)
        >>> len(natural(s3).fixing(s3.commutator_subgroup))
        6
        """
        fixed = self.reynolds(subset)
        same = (self.matrices @ fixed - fixed).abs().amax((1, 2)) < HOMOMORPHISM
        return frozenset(torch.nonzero(same).flatten().tolist())

    def broken_rank(self, subset: Subset) -> int:
        r"""$\mathrm{rank}(I-\bar V)$, the number of dimensions that are lost where $V$ is unbroken.

        Args:
            subset: A subgroup $V$.

        Returns:
            $d-\mathrm{tr}\,\bar V$.
        """
        return round(self.dim - float(self.reynolds(subset).trace()))

    def conjugated(self, by: Tensor, name: str | None = None) -> Representation:
        r"""$S\rho S^{-1}$.

        Args:
            by: Invertible $S$ of shape ``(d, d)``.
            name: For print-outs.

        Returns:
            The equivalent representation; not orthogonal in general.
        """
        s = by.double()
        return Representation(self.group, s @ self.matrices @ torch.linalg.inv(s), name or f"{self.name}, conjugated")

    def orthogonalised(self) -> Representation:
        r"""An orthogonal equivalent: with $M = |G|^{-1}\sum\rho^T\rho = L L^T$, $\rho\mapsto L^T\rho L^{-T}$.

        Returns:
            The representation.
        """
        m = self.matrices
        upper = torch.linalg.cholesky((m.transpose(1, 2) @ m).mean(dim=0)).T
        return self.conjugated(upper, f"{self.name}, orthogonalised")


def from_generators(group: FiniteGroup, images: Mapping[int, Tensor], name: str = "representation") -> Representation:
    r"""The representation with given matrices for the generators.

    Args:
        group: The group.
        images: Generator to matrix, for every generator of the group.
        name: For print-outs.

    Returns:
        The representation.

    Raises:
        SymtheoryError: If a generator is missing or the matrices violate a relation of the group.
    """
    if set(images) != set(group.generators):
        raise SymtheoryError(
            f"matrices for {sorted(set(group.generators))}", f"{sorted(images)}", "name every generator"
        )
    given = {g: m.double() for g, m in images.items()}
    d = next(iter(given.values())).shape[0] if given else 1
    made, queue = {0: torch.eye(d, dtype=torch.float64)}, [0]
    for a in queue:
        for g, m in given.items():
            b = int(group.table[a, g])
            if b not in made:
                made[b] = made[a] @ m
                queue.append(b)
    return Representation(group, torch.stack([made[a] for a in range(group.order)]), name)


def trivial(group: FiniteGroup, dim: int = 1) -> Representation:
    r"""Every element acts as the identity.

    Args:
        group: $G$.
        dim: Dimension.

    Returns:
        The representation.

    >>> from symtheory.spec.group_families import cyclic
    >>> trivial(cyclic(3)).broken_rank(frozenset({0, 1, 2}))
    0
    """
    return Representation(group, torch.eye(dim, dtype=torch.float64).repeat(group.order, 1, 1), "trivial")


def natural(group: FiniteGroup) -> Representation:
    """Permutation matrices of the action the group was given by.

    Args:
        group: A group of permutations.

    Returns:
        Representation of the degree of the action.

    Raises:
        SymtheoryError: If the group was not given by permutations.
    """
    if group.action is None:
        raise SymtheoryError("a group of permutations", f"{group!r}", "use regular(group)")
    return Representation(group, permutation_matrices(group.action), "natural representation")


def regular(group: FiniteGroup) -> Representation:
    """The group acting on itself by multiplication from the left.

    Args:
        group: The group.

    Returns:
        Representation of dimension $|G|$.
    """
    return Representation(group, permutation_matrices(group.table), "regular representation")


def character(group: FiniteGroup, turns: Sequence[float]) -> Representation:
    r"""Real form of a one-dimensional complex character: generator $k$ turns the plane by $2\pi t_k$.

    Args:
        group: The group.
        turns: $t_k$ for every generator, in order; $t_k\cdot\mathrm{ord}$ has to be whole.

    Returns:
        Dimension 1 if all turns are multiples of one half, else 2.

    Raises:
        SymtheoryError: If there is not one turn a generator, or a turn does not fit its order.

    >>> from symtheory.spec.group_families import cyclic
    >>> character(cyclic(6), [1 / 2]).dim, character(cyclic(6), [1 / 3]).dim
    (1, 2)
    """
    if len(turns) != len(group.generators):
        raise SymtheoryError(
            f"{len(group.generators)} turns, one a generator", f"{len(turns)}", "follow group.generators"
        )
    if all(float(2 * t).is_integer() for t in turns):
        images = [torch.tensor([[cos(2 * pi * t)]], dtype=torch.float64).round() for t in turns]
    else:
        images = [
            torch.tensor([[cos(a), -sin(a)], [sin(a), cos(a)]], dtype=torch.float64)
            for a in (2 * pi * t for t in turns)
        ]
    return from_generators(group, dict(zip(group.generators, images, strict=True)), "character")


def direct_sum(*parts: Representation) -> Representation:
    r"""$\rho_1\oplus\rho_2\oplus\dots$ of one group.

    Args:
        *parts: Representations of the same group.

    Returns:
        Block diagonal matrices.

    Raises:
        SymtheoryError: If there is none or the groups differ.
    """
    if len({id(p.group) for p in parts}) != 1:
        raise SymtheoryError("representations of one group", f"{[p.group.name for p in parts]}", "build the group once")
    stacked = torch.stack([torch.block_diag(*blocks) for blocks in zip(*(p.matrices for p in parts), strict=True)])
    return Representation(parts[0].group, stacked, " + ".join(p.name for p in parts))


def restrict(rep: Representation, part: Part) -> Representation:
    """The same matrices for the elements of a subgroup only.

    Args:
        rep: A representation.
        part: A subgroup of its group, from :func:`symtheory.spec.groups.subgroup_as_group`.

    Returns:
        A representation of ``part.group``.

    >>> from symtheory.spec.group_families import symmetric
    >>> from symtheory.spec.groups import subgroup_as_group
    >>> s3 = symmetric(3)
    >>> restrict(natural(s3), subgroup_as_group(s3, s3.commutator_subgroup))
    natural representation of subgroup of S_3, dimension 3
    """
    return Representation(part.group, rep.matrices[list(part.elements)], rep.name)


def random_equivalent(rep: Representation, generator: torch.Generator, spread: float = 0.5) -> Representation:
    r"""An equivalent representation in a random skew basis: not orthogonal, unless ``spread`` is 0.

    Args:
        rep: The representation.
        generator: Source of randomness.
        spread: Standard deviation of the logarithms of the stretches; 0 for a random rotation.

    Returns:
        The representation.
    """
    d = rep.dim

    def rotation() -> Tensor:
        return torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q

    stretch = (spread * torch.randn(d, generator=generator, dtype=torch.float64)).exp()
    return rep.conjugated(rotation() @ torch.diag(stretch) @ rotation(), f"{rep.name}, random basis")


def permutation_matrices(images: np.ndarray) -> Tensor:
    r"""Matrices of permutations, $P e_k = e_{\mathrm{image}(k)}$.

    Args:
        images: Image of every point under every element, integers of shape ``(n, degree)``.

    Returns:
        Shape ``(n, degree, degree)``, float64.

    >>> permutation_matrices(np.array([[1, 0]])).tolist()
    [[[0.0, 1.0], [1.0, 0.0]]]
    """
    n, degree = images.shape
    out = torch.zeros(n, degree, degree, dtype=torch.float64)
    rows = torch.from_numpy(images.astype(np.int64))
    return out.scatter_(1, rows[:, None, :], 1.0)
