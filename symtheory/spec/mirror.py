r"""Mirrors: orthogonal projections on named parameters, applied without ever forming a matrix.

A mirror is an orthogonal projection $P = O O^T$ on parameter space. Its reflection is $R = I - 2P$; the points with
$P\theta = 0$ are *on* the mirror (the paper's *symmetric solutions*), and the columns of $O$ are its normals. A mirror
stores only structure (index swaps, signs, low-rank factors) and touches only the tensors it names, so it costs as
much as those tensors, however large the model.

Declaring a mirror claims nothing about a loss: whether $\ell(R\theta) = \ell(\theta)$ is measured by
:func:`symtheory.engine.invariance.invariance_residual`.

Source: paper A, Definitions 1 and 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.params import Params, Shapes, flatten, require_params, size_of, unflatten

#: Largest |O^T O - I| or |P^2 - P| that still counts as rounding of an orthonormal basis or projection.
ORTHONORMALITY = 1e-6


class Mirror(ABC):
    """An orthogonal projection on the named tensors in :attr:`shapes`, identity elsewhere."""

    shapes: Shapes
    """Shapes of the tensors the mirror touches."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """Dimension of the image of $P$."""

    @abstractmethod
    def _project(self, params: Params) -> Params:
        """Apply $P$ to checked tensors."""

    def _touched(self, params: Mapping[str, Tensor]) -> Params:
        require_params(params, self.shapes)
        return {name: params[name] for name in self.shapes}

    def project(self, params: Mapping[str, Tensor]) -> Params:
        r"""Component $P\theta$ across the mirror.

        Args:
            params: All parameters of a model, or at least those the mirror touches.

        Returns:
            The touched tensors only; $P\theta$ vanishes on all others.
        """
        return self._project(self._touched(params))

    def reflect(self, params: Mapping[str, Tensor]) -> Params:
        r"""Mirror image $R\theta = \theta - 2P\theta$.

        Args:
            params: As for :meth:`project`.

        Returns:
            All parameters given; untouched tensors are the same objects.
        """
        across = self.project(params)
        return {name: p - 2 * across[name] if name in across else p for name, p in params.items()}

    def symmetrize(self, params: Mapping[str, Tensor]) -> Params:
        r"""Nearest point on the mirror, $(I - P)\theta$.

        Args:
            params: As for :meth:`project`.

        Returns:
            All parameters given; untouched tensors are the same objects.
        """
        across = self.project(params)
        return {name: p - across[name] if name in across else p for name, p in params.items()}

    def distance(self, params: Mapping[str, Tensor]) -> float:
        r"""Euclidean distance to the mirror, $\|P\theta\| = \|O^T\theta\|$.

        Args:
            params: As for :meth:`project`.

        Returns:
            A non-negative number.
        """
        return float(torch.stack([t.double().norm() for t in self.project(params).values()]).norm())

    def to_dense(self, shapes: Shapes | None = None) -> Tensor:
        """Matrix of $P$ on flat vectors; for tests and small models.

        Args:
            shapes: Layout of the flat vector; default the touched tensors alone.

        Returns:
            Float64 matrix of shape ``(n, n)``.
        """
        layout = self.shapes if shapes is None else shapes
        columns = []
        for unit in torch.eye(size_of(layout), dtype=torch.float64):
            params = unflatten(unit, layout)
            across = self.project(params)
            columns.append(flatten({k: across.get(k, torch.zeros_like(v)) for k, v in params.items()}))
        return torch.stack(columns, dim=1)

    def random_normal(self, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Params:
        """Random unit vector in the image of $P$, uniform in direction.

        Args:
            generator: Source of randomness.
            dtype: Floating type.

        Returns:
            The touched tensors of a unit normal.
        """
        noise = {k: torch.randn(s, generator=generator, dtype=dtype) for k, s in self.shapes.items()}
        across = self.project(noise)
        norm = flatten(across).norm()
        return {k: v / norm for k, v in across.items()}


@dataclass(frozen=True, eq=False)
class BasisMirror(Mirror):
    r"""$P = OO^T$ from orthonormal columns, stored per tensor.

    Args:
        basis: Name to a tensor of shape ``(*shape, r)``; the columns, read across all tensors, are orthonormal.

    >>> n = torch.tensor([[1.0], [-1.0]]) / 2**0.5
    >>> m = BasisMirror({"w": n})
    >>> m.reflect({"w": torch.tensor([3.0, 5.0])})["w"]
    tensor([5., 3.])
    """

    basis: Mapping[str, Tensor]
    shapes: Shapes = field(init=False)

    def __post_init__(self) -> None:
        if not self.basis:
            raise SymtheoryError("at least one tensor in the basis", "none", "name the tensors the mirror touches")
        columns = {name: o.shape[-1] if o.dim() else 0 for name, o in self.basis.items()}
        if len(set(columns.values())) != 1:
            raise SymtheoryError(
                "the same number of columns for every tensor", f"{columns}", "give every tensor shape (*shape, r)"
            )
        object.__setattr__(self, "shapes", {name: tuple(o.shape[:-1]) for name, o in self.basis.items()})
        require_params(self.basis, {name: tuple(o.shape) for name, o in self.basis.items()})
        gram = sum(o.reshape(-1, self.rank).T.double() @ o.reshape(-1, self.rank).double() for o in self.basis.values())
        error = float((gram - torch.eye(self.rank, dtype=torch.float64)).abs().max()) if self.rank else 0.0
        if error > ORTHONORMALITY:
            raise SymtheoryError(
                "an O with orthonormal columns, O^T O = I",
                f"max |O^T O - I| = {error:.2g}",
                "orthonormalise it first, e.g. O = torch.linalg.qr(O).Q",
            )

    @property
    def rank(self) -> int:
        """Number of columns."""
        return next(iter(self.basis.values())).shape[-1]

    def _project(self, params: Params) -> Params:
        cast = {name: o.to(params[name]) for name, o in self.basis.items()}
        coefficients = sum(torch.tensordot(params[k], o, dims=o.dim() - 1) for k, o in cast.items())
        return {name: o @ coefficients for name, o in cast.items()}


@dataclass(frozen=True)
class Block:
    """Some indices of one axis of one tensor; the whole tensor when ``axis`` is ``None``.

    Attributes:
        name: Tensor.
        axis: Axis, or ``None``.
        index: Indices along the axis.
    """

    name: str
    axis: int | None = None
    index: tuple[int, ...] = ()

    def read(self, params: Mapping[str, Tensor]) -> Tensor:
        """The block's values, axis first.

        Args:
            params: Name to tensor.

        Returns:
            Tensor of shape ``(len(index), ...)``, or the whole tensor.
        """
        t = params[self.name]
        return t if self.axis is None else t.movedim(self.axis, 0)[list(self.index)]

    def write(self, params: Params, values: Tensor) -> None:
        """Overwrite the block in place.

        Args:
            params: Name to tensor; the block's tensor is modified.
            values: New values, as :meth:`read` returns them.
        """
        if self.axis is None:
            params[self.name].copy_(values)
        else:
            params[self.name].movedim(self.axis, 0)[list(self.index)] = values


@dataclass(frozen=True, eq=False)
class SwapMirror(Mirror):
    r"""Reflection that exchanges pairs of blocks, with a sign, and flips the signs of others; $P = (I - R)/2$.

    Args:
        shapes: Shapes of the touched tensors.
        swaps: Triples ``(a, b, sign)``: $R$ sends $a \mapsto \text{sign}\cdot b$ and back. The mirror is
            $a = \text{sign}\cdot b$.
        flips: Blocks sent to their negatives.

    >>> m = SwapMirror({"w": (3,)}, swaps=((Block("w", 0, (0,)), Block("w", 0, (2,)), 1),))
    >>> m.reflect({"w": torch.tensor([1.0, 2.0, 3.0])})["w"], m.rank
    (tensor([3., 2., 1.]), 1)
    """

    shapes: Shapes
    swaps: tuple[tuple[Block, Block, int], ...] = ()
    flips: tuple[Block, ...] = ()

    def __post_init__(self) -> None:
        blocks = [b for a, c, _ in self.swaps for b in (a, c)] + list(self.flips)
        if not blocks:
            raise SymtheoryError("at least one swap or flip", "none", "name the blocks the reflection moves")
        seen = {name: torch.zeros(shape, dtype=torch.int64) for name, shape in self.shapes.items()}
        for block in blocks:
            if block.name not in seen:
                raise SymtheoryError(f"blocks of {sorted(seen)}", repr(block.name), "add its shape to 'shapes'")
            try:
                block.write(seen, block.read(seen) + 1)
            except (IndexError, RuntimeError) as error:
                raise SymtheoryError(
                    f"a block inside {block.name!r} of shape {self.shapes[block.name]}",
                    f"axis {block.axis}, index {block.index}",
                    "check the axis and the indices",
                ) from error
            if len(set(block.index)) != len(block.index) or int(seen[block.name].max()) > 1:
                raise SymtheoryError("disjoint blocks", f"{block} overlapping another", "move every entry at most once")
        for a, b, sign in self.swaps:
            if a.read(seen).shape != b.read(seen).shape or sign not in {1, -1}:
                raise SymtheoryError(
                    "two blocks of one shape and a sign of 1 or -1",
                    f"{tuple(a.read(seen).shape)}, {tuple(b.read(seen).shape)} and {sign}",
                    "pair like with like",
                )

    @property
    def rank(self) -> int:
        """One per exchanged pair of entries, one per flipped entry."""
        empty = {name: torch.empty(shape, device="meta") for name, shape in self.shapes.items()}
        return sum(a.read(empty).numel() for a, _, _ in self.swaps) + sum(b.read(empty).numel() for b in self.flips)

    def _project(self, params: Params) -> Params:
        out = {name: torch.zeros_like(t) for name, t in params.items()}
        for a, b, sign in self.swaps:
            half = (a.read(params) - sign * b.read(params)) / 2
            a.write(out, half)
            b.write(out, -sign * half)
        for block in self.flips:
            block.write(out, block.read(params))
        return out

    def reflect(self, params: Mapping[str, Tensor]) -> Params:
        r"""Exchange and flip, exactly (no arithmetic but a change of sign).

        Args:
            params: As for :meth:`project`.

        Returns:
            All parameters given; untouched tensors are the same objects.
        """
        old = self._touched(params)
        new = {name: t.clone() for name, t in old.items()}
        for a, b, sign in self.swaps:
            a.write(new, sign * b.read(old))
            b.write(new, sign * a.read(old))
        for block in self.flips:
            block.write(new, -block.read(old))
        return {name: new.get(name, t) for name, t in params.items()}


@dataclass(frozen=True, eq=False)
class AxisMirror(Mirror):
    r"""The same projection $\Pi = NN^T$ along one axis of each tensor; $R$ rotates that axis by $I - 2\Pi$.

    Args:
        shapes: Shapes of the touched tensors.
        axes: Name to the axis $\Pi$ acts on; all these axes have the same length $d$.
        normals: Matrix $N$ of shape ``(d, r)`` with orthonormal columns.
    """

    shapes: Shapes
    axes: Mapping[str, int]
    normals: Tensor

    def __post_init__(self) -> None:
        BasisMirror({"N": self.normals})  # checks orthonormality with the same message
        for name, axis in self.axes.items():
            shape = self.shapes.get(name, ())
            if not -len(shape) <= axis < len(shape) or shape[axis] != self.normals.shape[0]:
                raise SymtheoryError(
                    f"{name!r} with axis {axis} of length {self.normals.shape[0]}",
                    f"shape {shape}",
                    "let the axis and the rows of N agree",
                )
        if set(self.axes) != set(self.shapes):
            raise SymtheoryError(f"one axis for each of {sorted(self.shapes)}", f"{sorted(self.axes)}", "name them all")

    @property
    def rank(self) -> int:
        """Columns of $N$ times the number of vectors along the axes."""
        d, r = self.normals.shape
        return r * sum(prod(s) // d for s in self.shapes.values())

    def _project(self, params: Params) -> Params:
        out = {}
        for name, axis in self.axes.items():
            n = self.normals.to(params[name])
            moved = params[name].movedim(axis, 0)
            across = n @ (n.T @ moved.reshape(n.shape[0], -1))
            out[name] = across.reshape(moved.shape).movedim(0, axis)
        return out


@dataclass(frozen=True, eq=False)
class CompositeMirror(Mirror):
    r"""Several reflections in mutually orthogonal mirrors at once; $P = \sum_k P_k$ with $P_jP_k = 0$.

    Args:
        parts: Mirrors whose images are mutually orthogonal.
    """

    parts: Sequence[Mirror]
    shapes: Shapes = field(init=False)

    def __post_init__(self) -> None:
        shapes: Shapes = {}
        for part in self.parts:
            for name, shape in part.shapes.items():
                if shapes.setdefault(name, shape) != shape:
                    raise SymtheoryError(f"{name!r} of one shape", f"{shapes[name]} and {shape}", "match the parts")
        object.__setattr__(self, "shapes", shapes)
        generator = torch.Generator().manual_seed(0)
        for i, a in enumerate(self.parts):
            for b in self.parts[:i]:
                common = {k: s for k, s in a.shapes.items() if k in b.shapes}
                if not common:
                    continue
                n = a.random_normal(generator)
                probe = {k: n.get(k, torch.zeros(s, dtype=torch.float64)) for k, s in b.shapes.items()}
                if b.distance(probe) > ORTHONORMALITY:
                    raise SymtheoryError(
                        "mirrors with orthogonal normals",
                        f"parts {self.parts.index(b)} and {i} that overlap",
                        "two oblique reflections compose to a rotation, not a mirror",
                    )

    @property
    def rank(self) -> int:
        """Sum of the parts' ranks."""
        return sum(part.rank for part in self.parts)

    def _project(self, params: Params) -> Params:
        out = {name: torch.zeros_like(t) for name, t in params.items()}
        for part in self.parts:
            for name, t in part.project(params).items():
                out[name] = out[name] + t
        return out
