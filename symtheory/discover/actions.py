r"""How a symmetry acts on named tensors: along some roles of some blocks, never as a dense matrix on all parameters.

A block of a tensor is a product of atoms. A group element acts on one atom (or, for scales, on a few at once), possibly
with a different element for each index of its *fibre*: the atoms that always come with it, such as the head number of
a coordinate inside a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor

from symtheory.discover.spaces import Space, layout
from symtheory.discover.values import Key


@dataclass(frozen=True, eq=False)
class Block:
    """Entries of a tensor indexed by a product of atoms.

    Attributes:
        name: Tensor.
        axes: For each axis its atoms and the position of each tuple of their indices.
        whole: Whether this is all of the tensor, in order.
    """

    name: str
    axes: tuple[tuple[tuple[Space, ...], np.ndarray], ...]
    whole: bool

    @cached_property
    def atoms(self) -> tuple[Space, ...]:
        """The atoms, one for each dimension of what :meth:`read` returns."""
        return tuple(a for atoms, _ in self.axes for a in atoms)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Their sizes."""
        return tuple(a.size for a in self.atoms)

    @property
    def _index(self) -> tuple[Tensor, ...]:
        n = len(self.axes)
        return tuple(
            torch.as_tensor(i.reshape(-1)).reshape([-1 if j == k else 1 for j in range(n)])
            for k, (_, i) in enumerate(self.axes)
        )

    def read(self, tensor: Tensor) -> Tensor:
        """The block's entries, one dimension for each atom."""
        part = tensor if self.whole else tensor[self._index]
        return part.reshape(self.sizes)

    def write(self, tensor: Tensor, values: Tensor) -> Tensor:
        """The tensor with the block's entries replaced; in place unless the block is all of it."""
        if self.whole:
            return values.reshape(tensor.shape)
        tensor[self._index] = values.reshape([i.size for _, i in self.axes])
        return tensor


def block_of(name: str, axes: tuple[Space, ...], key: Key) -> Block:
    """The block of a tensor that a key names."""
    terms = tuple(layout(axis)[k] for axis, k in zip(axes, key, strict=True))
    whole = all(
        len(layout(axis)) == 1 and bool((index.reshape(-1) == np.arange(index.size)).all())
        for axis, (_, index) in zip(axes, terms, strict=True)
    )
    return Block(name, terms, whole)


@dataclass(frozen=True)
class Role:
    """Where a group element enters a block.

    Attributes:
        dims: Dimensions of the block that it acts on (one, or all of a joint scale, in the order of the atoms).
        fibre: Dimensions that choose which element acts.
        power: Exponent of a scale; for a matrix A, 1 for A itself and -1 for its inverse transposed.
    """

    dims: tuple[int, ...]
    fibre: tuple[int, ...] = ()
    power: int = 1


def rows(block: Block, role: Role, tensor: Tensor) -> Tensor:
    """The units of a block, one row each.

    Args:
        block: The block.
        role: A role in it that acts on one dimension.
        tensor: The block's tensor.

    Returns:
        Shape ``(copies, units, entries)``.
    """
    front = (*role.fibre, *role.dims)
    values = block.read(tensor).movedim(front, tuple(range(len(front))))
    copies = prod(values.shape[: len(role.fibre)])
    return values.reshape(copies, values.shape[len(role.fibre)], -1)


@dataclass(frozen=True, eq=False)
class Action:
    """The ways in which a group acts on tensors.

    Attributes:
        degree: Number of units, n.
        fibre: Sizes of the fibre's atoms.
        roles: Name to the blocks it touches and the roles in each.
        sizes: Sizes of the atoms that make up a joint unit.
        units: For exchanges of whole tensors, the tensors of each unit.
    """

    degree: int
    fibre: tuple[int, ...]
    roles: Mapping[str, tuple[tuple[Block, tuple[Role, ...]], ...]]
    sizes: tuple[int, ...] = field(default=())
    units: tuple[tuple[str, ...], ...] = ()

    @property
    def copies(self) -> int:
        """Number of elements chosen independently."""
        return prod(self.fibre)

    def rank(self, normals: int = 1) -> int:
        r"""Rank of the mirror of one reflection in this many normals (a transposition and a flip have one).

        A block with $r$ roles of an involution of trace $t = n - 2k$ has $(n^r - t^r)/2$ normals for each of its other
        indices.

        Args:
            normals: k, the number of normals along one axis.

        Returns:
            The rank, on the tensors that have roles.
        """
        n, t = self.degree, self.degree - 2 * normals
        count = 0
        for parts in self.roles.values():
            for block, roles in parts:
                odd = [r for r in roles if r.power % 2]
                if odd:
                    own = n ** len(odd) * prod(block.sizes[d] for d in odd[0].fibre)
                    count += prod(block.sizes) // own * (n ** len(odd) - t ** len(odd)) // 2
        return count

    @cached_property
    def places(self) -> dict[str, tuple[int, int]]:
        """Unit and position of every tensor that is exchanged as a whole."""
        return {name: (k, j) for k, unit in enumerate(self.units) for j, name in enumerate(unit)}

    @property
    def names(self) -> set[str]:
        """All tensors touched."""
        return {*self.roles, *self.places}

    def apply(self, name: str, fetch: Callable[[str], Tensor], element: Element) -> Tensor:
        """One tensor after the action of a group element.

        Args:
            name: Name of the tensor.
            fetch: The value of a tensor, by name.
            element: Permutations, scales or matrices, one for each point of the fibre.

        Returns:
            A new tensor, or the same object if it is not touched.
        """
        if name in self.places:
            k, position = self.places[name]
            order = element.act(torch.arange(self.degree), Role((0,)))
            return fetch(self.units[int(order[k])][position])
        tensor, parts = fetch(name), self.roles.get(name, ())
        if not parts:
            return tensor
        out = tensor if all(b.whole for b, _ in parts) else tensor.clone()
        for block, roles in parts:
            values = block.read(out)
            for role in roles:
                values = element.act(values, role)
            out = block.write(out, values)
        return out


#: Reflections on each side of a random matrix: enough to reach every pair of units, cheap to apply.
REFLECTIONS = 2


class Element:
    """A group element: one array of data for each point of the fibre."""

    def act(self, values: Tensor, role: Role) -> Tensor:
        """Act on some dimensions of a block."""
        front = (*role.fibre, *role.dims)
        moved = values.movedim(front, tuple(range(len(front))))
        count = prod(moved.shape[: len(role.fibre)])
        flat = moved.reshape(count, prod(moved.shape[len(role.fibre) : len(front)]), -1)
        return self._on(flat, role.power).reshape(moved.shape).movedim(tuple(range(len(front))), front)

    def _on(self, flat: Tensor, power: int) -> Tensor:
        """Act on the middle axis of an array of shape (fibre, units, rest)."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Permutation(Element):
    """Unit ``order[f, k]`` takes place ``k``."""

    order: Tensor

    def act(self, values: Tensor, role: Role) -> Tensor:
        """Without a fibre, one selection along the dimension."""
        if len(self.order) == 1 and not role.fibre and len(role.dims) == 1:
            return values.index_select(role.dims[0], self.order[0])
        return super().act(values, role)

    def _on(self, flat: Tensor, power: int) -> Tensor:
        return torch.take_along_dim(flat, self.order[:, :, None], dim=1)


@dataclass(frozen=True, eq=False)
class Scale(Element):
    """Unit k is multiplied by ``factors[f, k]`` to the power of its role."""

    factors: Tensor

    def act(self, values: Tensor, role: Role) -> Tensor:
        """One product, the factors spread over the dimensions."""
        front = (*role.fibre, *role.dims)
        order = sorted(range(len(front)), key=front.__getitem__)
        shape = [n if d in front else 1 for d, n in enumerate(values.shape)]
        spread = (self.factors**role.power).reshape([values.shape[d] for d in front]).permute(order).reshape(shape)
        return values * spread.to(values)


@dataclass(frozen=True, eq=False)
class Matrix(Element):
    r"""$A = LDR$ with products of reflections $L, R$ and a diagonal $D$, so that $A^{-T} = LD^{-1}R$ comes for free.

    Attributes:
        left: Unit normals of the reflections in L, of shape ``(fibre, units, count)``.
        factors: The diagonal of D, of shape ``(fibre, units)``.
        right: As ``left``.
    """

    left: Tensor
    factors: Tensor
    right: Tensor

    def _on(self, flat: Tensor, power: int) -> Tensor:
        out = _reflect(flat, self.right.to(flat))
        return _reflect(out * (self.factors**power).to(flat)[:, :, None], self.left.to(flat))


def _reflect(flat: Tensor, normals: Tensor) -> Tensor:
    """Reflections in one normal after another."""
    for n in normals.unbind(-1):
        flat = flat - 2 * n[:, :, None] * (n[:, None, :] @ flat)
    return flat


@dataclass(frozen=True, eq=False)
class Reflection(Element):
    """I - 2 N N^T at one point of the fibre, with a few normals."""

    point: int
    normals: Tensor

    def _on(self, flat: Tensor, power: int) -> Tensor:
        out, n = flat.clone(), self.normals.to(flat)
        out[self.point] -= 2 * n @ (n.T @ flat[self.point])
        return out


@dataclass(frozen=True, eq=False)
class Transposition(Element):
    """Units i and j of one point of the fibre change places."""

    point: int
    i: int
    j: int

    def _on(self, flat: Tensor, power: int) -> Tensor:
        out = flat.clone()
        out[self.point, self.i], out[self.point, self.j] = flat[self.point, self.j], flat[self.point, self.i]
        return out


@dataclass(frozen=True, eq=False)
class Flip(Element):
    """One unit changes sign, where its role has an odd power."""

    point: int
    unit: int

    def _on(self, flat: Tensor, power: int) -> Tensor:
        out = flat.clone()
        out[self.point, self.unit] *= (-1) ** power
        return out


def random_order(n: int, count: int, generator: torch.Generator) -> Tensor:
    """Random permutations, none of them the identity."""
    orders = torch.stack([torch.randperm(n, generator=generator) for _ in range(count)])
    still = (orders == torch.arange(n)).all(dim=1)
    orders[still] = torch.arange(n).roll(1)
    return orders


def random_matrix(n: int, count: int, generator: torch.Generator, *, scaled: bool, keep_ones: bool = False) -> Matrix:
    """Random orthogonal or invertible matrices, with singular values between 1/2 and 2, as a few random reflections."""
    left, right = (torch.randn(count, n, REFLECTIONS, generator=generator, dtype=torch.float64) for _ in range(2))
    if keep_ones:
        left, right = (v - v.mean(dim=1, keepdim=True) for v in (left, right))
    left, right = (v / v.norm(dim=1, keepdim=True) for v in (left, right))
    factors = random_factors(n, count, generator, positive=True, unit=False)
    return Matrix(left, factors if scaled else torch.ones_like(factors), right)


def random_factors(n: int, count: int, generator: torch.Generator, *, positive: bool, unit: bool) -> Tensor:
    """Random scales: positive, of both signs, or signs alone, never all one."""
    size = 2 ** (2 * torch.rand(count, n, generator=generator, dtype=torch.float64) - 1)
    if positive:
        return size
    signs = torch.randint(0, 2, (count, n), generator=generator).double() * 2 - 1
    signs[:, 0] = -1
    return signs if unit else signs * size
