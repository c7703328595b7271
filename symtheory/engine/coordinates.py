r"""Coordinates across a mirror: $z = O^T\theta$ and $Oz$, in the basis that the mirror itself names, matrix-free.

$P$ fixes the image of $O$ but not $O$: any $OQ$ with $Q$ orthogonal gives the same mirror. What depends on single
coordinates (which of them are zero, say) therefore depends on a choice, and the choice here is the mirror's own:

- a basis mirror: its columns;
- swaps and flips: $(a - \text{sign}\cdot b)/\sqrt2$ for every pair of entries, then every flipped entry;
- an axis mirror: the columns of $N$ along its axis, tensor by tensor;
- a composite: its parts, one after another;
- any other mirror that says so itself: see :class:`Coordinated`.

Nothing is checked and nothing branches on values, so both maps can be differentiated and vectorised over.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import AxisMirror, BasisMirror, CompositeMirror, Mirror, SwapMirror
from symtheory.spec.params import Params

#: What a mirror without a basis of its own should do.
_REMEDY = "take spec.from_basis(engine.operators.normal_basis(mirror), mirror.shapes)"


@runtime_checkable
class Coordinated(Protocol):
    """A mirror with coordinates that it knows best."""

    def coordinates(self, params: Mapping[str, Tensor]) -> Tensor:
        r"""$z = O^T\theta$, see :func:`coordinates`."""
        ...

    def expand(self, z: Tensor, like: Mapping[str, Tensor]) -> Params:
        """$Oz$, see :func:`expand`."""
        ...


def coordinates(mirror: Mirror, params: Mapping[str, Tensor]) -> Tensor:
    r"""$z = O^T\theta$.

    Args:
        mirror: The mirror.
        params: At least the tensors it touches.

    Returns:
        Vector of shape ``(rank,)``.

    Raises:
        SymtheoryError: If the mirror is of an unknown type.

    >>> from symtheory.spec import exchange
    >>> swap = exchange({"a": (), "b": ()}, ["a"], ["b"])
    >>> coordinates(swap, {"a": torch.tensor(3.0), "b": torch.tensor(1.0)})
    tensor([1.4142])
    """
    match mirror:
        case BasisMirror():
            terms = [torch.tensordot(params[k], o.to(params[k]), dims=o.dim() - 1) for k, o in mirror.basis.items()]
            return torch.stack(terms).sum(0)
        case SwapMirror():
            pairs = [((a.read(params) - s * b.read(params)) / 2**0.5).reshape(-1) for a, b, s in mirror.swaps]
            return torch.cat([*pairs, *(b.read(params).reshape(-1) for b in mirror.flips)])
        case AxisMirror():
            normals = {k: mirror.normals.to(params[k]) for k in mirror.axes}
            moved = {k: params[k].movedim(axis, 0) for k, axis in mirror.axes.items()}
            return torch.cat([(n.T @ moved[k].reshape(n.shape[0], -1)).reshape(-1) for k, n in normals.items()])
        case CompositeMirror():
            return torch.cat([coordinates(part, params) for part in mirror.parts])
        case Coordinated():
            return mirror.coordinates(params)
        case _:
            raise SymtheoryError("a mirror with coordinates of its own", type(mirror).__name__, _REMEDY)


def expand(mirror: Mirror, z: Tensor, like: Mapping[str, Tensor]) -> Params:
    r"""$Oz$ on the touched tensors, the transpose of :func:`coordinates`.

    Args:
        mirror: The mirror.
        z: Vector of shape ``(rank,)``.
        like: Tensors of the shapes and types wanted, at least those the mirror touches.

    Returns:
        The touched tensors.

    Raises:
        SymtheoryError: If the mirror is of an unknown type.

    >>> from symtheory.spec import sign_flip
    >>> expand(sign_flip({"w": (2,)}, ["w"]), torch.tensor([1.0, 2.0]), {"w": torch.zeros(2)})["w"]
    tensor([1., 2.])
    """
    match mirror:
        case BasisMirror():
            return {k: o.to(like[k]) @ z.to(like[k]) for k, o in mirror.basis.items()}
        case SwapMirror():
            whole = {b.name for b in mirror.flips if b.axis is None}
            out = {k: like[k] if k in whole else torch.zeros_like(like[k]) for k in mirror.shapes}
            blocks = [a for a, _, _ in mirror.swaps] + list(mirror.flips)
            for block, part in zip(blocks, _cut(z, [b.read(out).numel() for b in blocks]), strict=True):
                values = part.reshape(block.read(out).shape).to(like[block.name])
                if block.axis is None:
                    out[block.name] = values
                else:
                    block.write(out, values)
            for a, b, sign in mirror.swaps:
                half = a.read(out) / 2**0.5
                a.write(out, half)
                b.write(out, -sign * half)
            return out
        case AxisMirror():
            out, r = {}, mirror.normals.shape[1]
            sizes = [r * like[k].numel() // mirror.normals.shape[0] for k in mirror.axes]
            for (name, axis), part in zip(mirror.axes.items(), _cut(z, sizes), strict=True):
                n = mirror.normals.to(like[name])
                moved = like[name].movedim(axis, 0).shape
                out[name] = (n @ part.to(like[name]).reshape(r, -1)).reshape(moved).movedim(0, axis)
            return out
        case CompositeMirror():
            out = {k: torch.zeros_like(like[k]) for k in mirror.shapes}
            for part, piece in zip(mirror.parts, _cut(z, [p.rank for p in mirror.parts]), strict=True):
                for name, t in expand(part, piece, like).items():
                    out[name] = out[name] + t
            return out
        case Coordinated():
            return mirror.expand(z, like)
        case _:
            raise SymtheoryError("a mirror with coordinates of its own", type(mirror).__name__, _REMEDY)


def _cut(z: Tensor, sizes: list[int]) -> list[Tensor]:
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    return [z[a:b] for a, b in pairwise(ends)]
