r"""Symmetry families: which group acts on which tensors, and the mirrors that this implies.

A reflection that leaves the loss invariant makes the points it fixes a mirror (paper A, Definition 2). Permutations
give one for each pair of units, sign flips one for each unit, rotations one for each unit normal. Positive rescaling
and scale invariance contain no reflection, so they imply none by themselves. Of the maps that keep the vector of ones
only the orthogonal ones are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from math import comb, inf, prod

import torch
from torch import Tensor

from symtheory.discover.actions import (
    Action,
    Element,
    Flip,
    Permutation,
    Reflection,
    Scale,
    Transposition,
    random_factors,
    random_matrix,
    random_order,
)
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params, Shapes, flatten, size_of, unflatten

PERMUTATION, SIGN, RESCALING, POSITIVE = "permutation", "sign flip", "rescaling", "positive rescaling"
SCALE, ROTATION, DOUBLE, CENTRED = "scale invariance", "rotation", "double rotation", "rotation fixing ones"
PLANAR = "planar rotation"
KINDS = (PERMUTATION, SIGN, RESCALING, POSITIVE, SCALE, ROTATION, DOUBLE, CENTRED, PLANAR)

#: Why a kind of family implies no mirror.
NO_MIRROR = {
    POSITIVE: "its only element of order two is the identity, so no reflection is in the group",
    SCALE: "positive scales contain no reflection; the loss is constant along a ray, not across a mirror",
    PLANAR: "rotations of a plane contain no reflection but the half turn, which the rescaling of the plane has too",
}


@dataclass(frozen=True, eq=False)
class GroupMirror(Mirror):
    r"""The mirror of one reflection in a symmetry family: $P = (I - R)/2$.

    Args:
        shapes: Shapes of the touched parameters.
        action: How the group acts.
        reflection: An element with $R^2 = I$ and $R = R^T$.
        normals: Number of normals of the reflection along one axis.
    """

    shapes: Shapes
    action: Action
    reflection: Element
    normals: int = 1

    @property
    def rank(self) -> int:
        """Dimension of the image of $P$, from the trace of the reflection."""
        inside = {name: parts for name, parts in self.action.roles.items() if name in self.shapes}
        whole = sum(prod(self.shapes[name]) for name in (self.action.units or ((),))[0])
        return whole + Action(self.action.degree, self.action.fibre, inside).rank(self.normals)

    def _project(self, params: Params) -> Params:
        fetch = params.__getitem__
        return {name: (p - self.action.apply(name, fetch, self.reflection)) / 2 for name, p in params.items()}

    def reflect(self, params: Params) -> Params:  # type: ignore[override]
        """Apply the reflection itself.

        Args:
            params: All parameters of a model, or at least those the mirror touches.

        Returns:
            All parameters given; untouched tensors are the same objects.
        """
        touched = self._touched(params)
        fetch = touched.__getitem__
        return {n: self.action.apply(n, fetch, self.reflection) if n in touched else p for n, p in params.items()}

    @cached_property
    def _entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """On the flat vector: entries, those that the reflection takes in their place, and with which sign."""
        if isinstance(self.reflection, Reflection):
            remedy = "take spec.from_basis(engine.operators.normal_basis(mirror), mirror.shapes)"
            raise SymtheoryError("a reflection that exchanges entries or flips their signs", "a rotated one", remedy)
        count = size_of(self.shapes)
        after = flatten(self.reflect(unflatten(torch.arange(1, count + 1, dtype=torch.float64), self.shapes)))
        entry, source, sign = torch.arange(count), after.abs().long() - 1, after.sign()
        across = (entry < source) | ((entry == source) & (sign < 0))
        return entry[across], source[across], sign[across]

    def coordinates(self, params: Mapping[str, Tensor]) -> Tensor:
        r"""$O^T\theta$: $(\theta_e\mp\theta_f)/\sqrt2$ for entries exchanged, and entries that change sign.

        Args:
            params: At least the tensors the mirror touches.

        Returns:
            Shape ``(rank,)``.

        Raises:
            SymtheoryError: If the reflection is about a normal that is no unit vector.
        """
        flat = flatten({name: params[name] for name in self.shapes})
        entry, source, sign = (t.to(flat.device) for t in self._entries)
        return torch.where(entry == source, flat[entry], (flat[entry] - sign.to(flat) * flat[source]) / 2**0.5)

    def expand(self, z: Tensor, like: Mapping[str, Tensor]) -> Params:
        """$Oz$, the transpose of :meth:`coordinates`.

        Args:
            z: Shape ``(rank,)``.
            like: Tensors of the shapes and types wanted, at least those the mirror touches.

        Returns:
            The touched tensors.
        """
        entry, source, sign = (t.to(z.device) for t in self._entries)
        half = torch.where(entry == source, z / 2, z / 2**0.5)
        flat = z.new_zeros(size_of(self.shapes)).index_add(0, entry, half).index_add(0, source, -sign.to(z) * half)
        return {name: t.to(like[name]) for name, t in unflatten(flat, self.shapes).items()}


@dataclass(frozen=True, eq=False)
class Family:
    r"""One group of parameter symmetries.

    Attributes:
        kind: One of :data:`KINDS`.
        action: How it acts on tensors.
        axes: Touched tensor to the axes along which it acts; none where a tensor is scaled as a whole.
        shapes: Shapes of the touched parameters.
        buffers: Touched tensors that are no parameters, such as running statistics; they have to move along.
        where: A short name for the units, from the first tensor that has them as outputs.
        residual: Measured relative change of the outputs under a random element; ``nan`` before it is measured.
    """

    kind: str
    action: Action
    axes: dict[str, tuple[int, ...]]
    shapes: Shapes
    buffers: tuple[str, ...]
    where: str
    residual: float = field(default=float("nan"))

    @property
    def degree(self) -> int:
        """Number of units."""
        return self.action.degree

    @property
    def copies(self) -> int:
        """Number of independent copies of the group, such as one for each head."""
        return self.action.copies

    @property
    def group(self) -> str:
        """Name of the group."""
        n = self.degree
        one = {
            PERMUTATION: f"S({n})",
            SIGN: f"Z2^{n}" if n > 1 else "Z2",
            RESCALING: f"(R*)^{n}" if n > 1 else "R*",
            POSITIVE: f"(R>0)^{n}" if n > 1 else "R>0",
            SCALE: f"(R>0)^{n}" if n > 1 else "R>0",
            ROTATION: f"O({n})",
            DOUBLE: f"GL({n})",
            CENTRED: f"O({n - 1})",
            PLANAR: f"SO({n})",
        }[self.kind]
        if self.copies == 1:
            return one
        return f"({one})^{self.copies}" if "^" in one else f"{one}^{self.copies}"

    @property
    def names(self) -> tuple[str, ...]:
        """Touched parameters."""
        return tuple(self.shapes)

    @property
    def number(self) -> int | float:
        """Number of mirrors of single reflections; infinite for rotations."""
        if self.kind == PERMUTATION:
            return self.copies * comb(self.degree, 2)
        if self.kind in {SIGN, RESCALING}:
            return self.copies * self.degree
        return 0 if self.kind in NO_MIRROR else inf

    @property
    def rank(self) -> int:
        """Rank of one such mirror, on the parameters."""
        return 0 if self.kind in NO_MIRROR else GroupMirror(self.shapes, self.action, Flip(0, 0)).rank

    @property
    def no_mirror(self) -> str:
        """Why it implies no mirror, or empty."""
        return NO_MIRROR.get(self.kind, "")

    def element(self, generator: torch.Generator) -> Element:
        """A random group element, different from the identity.

        Args:
            generator: Source of randomness.

        Returns:
            The element, with independent parts for each copy.
        """
        n, copies = self.degree, self.copies
        if self.kind == PERMUTATION:
            return Permutation(random_order(n, copies, generator))
        if self.kind in {ROTATION, DOUBLE, CENTRED, PLANAR}:
            return random_matrix(n, copies, generator, scaled=self.kind == DOUBLE, keep_ones=self.kind == CENTRED)
        return Scale(random_factors(n, copies, generator, positive=self.kind in NO_MIRROR, unit=self.kind == SIGN))

    def act(self, tensors: Params, element: Element) -> Params:
        """Parameters and buffers after the action of an element.

        Args:
            tensors: Name to tensor; at least the touched ones.
            element: From :meth:`element`.

        Returns:
            All tensors given; untouched ones are the same objects.
        """
        return {name: self.action.apply(name, tensors.__getitem__, element) for name in tensors}

    def mirror(self, i: int = 0, j: int = 1, *, copy: int = 0, normals: Tensor | None = None) -> GroupMirror:
        """One mirror of the family.

        Args:
            i: Unit; the first of two for a permutation.
            j: Second unit, for a permutation.
            copy: Which copy of the group.
            normals: For rotations: matrix of shape ``(degree, r)`` with orthonormal columns; default unit vector i.

        Returns:
            The mirror, on the touched parameters.

        Raises:
            SymtheoryError: If the family implies no mirror, or a unit does not exist.
        """
        if self.no_mirror:
            raise SymtheoryError("a family with reflections", self.kind, self.no_mirror)
        n = self.degree
        if not (0 <= i < n and 0 <= copy < self.copies and (self.kind != PERMUTATION or 0 <= j < n != i != j)):
            raise SymtheoryError(
                f"units below {n} and a copy below {self.copies}", f"units {i}, {j} and copy {copy}", "count from zero"
            )
        if self.kind == PERMUTATION:
            return GroupMirror(self.shapes, self.action, Transposition(copy, i, j))
        if self.kind in {SIGN, RESCALING}:
            return GroupMirror(self.shapes, self.action, Flip(copy, i))
        if normals is None:
            normals = torch.zeros(n, 1, dtype=torch.float64)
            normals[i] = 1
            if self.kind == CENTRED:
                normals[(i + 1) % n] = -1
                normals = normals / 2**0.5
        n_matrix = normals[:, None] if normals.dim() == 1 else normals
        error = float((n_matrix.T @ n_matrix - torch.eye(n_matrix.shape[1]).to(n_matrix)).abs().max())
        if n_matrix.shape[0] != n or error > 1e-6:
            raise SymtheoryError(
                f"normals of shape ({n}, r) with orthonormal columns", f"{tuple(normals.shape)}", "use torch.linalg.qr"
            )
        if self.kind == CENTRED and float(n_matrix.sum(dim=0).abs().max()) > 1e-6:
            raise SymtheoryError("normals that sum to zero", "others", "this group keeps the vector of ones")
        return GroupMirror(self.shapes, self.action, Reflection(copy, n_matrix), n_matrix.shape[1])

    def mirrors(self) -> Iterator[GroupMirror]:
        """All mirrors of single reflections, one at a time; for rotations those of the unit vectors.

        Yields:
            Mirrors; none if the family implies none.
        """
        if self.no_mirror:
            return
        for copy in range(self.copies):
            if self.kind == PERMUTATION:
                yield from (self.mirror(i, j, copy=copy) for i, j in combinations(range(self.degree), 2))
            else:
                yield from (self.mirror(i, copy=copy) for i in range(self.degree))

    def entries(self) -> int:
        """Size of the part of parameter space on which the group acts.

        Returns:
            Number of entries of the touched parameters.
        """
        return sum(prod(s) for s in self.shapes.values())
