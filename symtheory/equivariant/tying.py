r"""Does a way of tying weights keep the hidden fixed-point subspaces?

Frameworks tie weights by using one number at several places. Gradient descent on these numbers moves the full weights
by $-\eta JJ^T\nabla L$, with $J$ the Jacobian of the full weights, not by the projected gradient. A flat $F$ survives
if $JJ^TF\subset F$. With orthonormal coordinates $JJ^T$ is the projector on the constrained space and every flat does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jacrev

from symtheory.errors import SymtheoryError
from symtheory.spec.hidden import Flat, HiddenLayer

#: Leaks below this are rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Leak:
    r"""A flat that training on tied numbers leaves.

    Attributes:
        flat: The flat $F$.
        size: $\|(1-P_F)JJ^TP_F\|/\|JJ^T\|$, in spectral norms.
    """

    flat: Flat
    size: float


def tying_leaks(
    layer: HiddenLayer, weights: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]], numbers: int
) -> tuple[Leak, ...]:
    r"""Flats that gradient descent on tied numbers does not keep.

    Args:
        layer: The layer.
        weights: From a vector of the tied numbers to $W$ of shape ``(units, inputs)``, $b$ of shape ``(units,)`` and
            $A$ of shape ``(outputs, units)``; linear. Give zeros for a bias that does not exist.
        numbers: How many numbers there are.

    Returns:
        The leaking flats, largest leak first; none if the tying is harmless.

    Raises:
        SymtheoryError: If the shapes are others, or the weights are not linear in the numbers or not equivariant.

    >>> from symtheory.spec import group_families, gsets, representations
    >>> s3 = group_families.symmetric(3)
    >>> layer = HiddenLayer(representations.natural(s3), gsets.natural(s3), representations.trivial(s3))
    >>> one, eye = torch.ones(3).double(), torch.eye(3).double()
    >>> def naive(t):  # one number on the diagonal, one off it
    ...     return t[0] * eye + t[1] * (1 - eye), t[2] * one, t[3] * one[None]
    >>> [round(leak.size, 3) for leak in tying_leaks(layer, naive, 4)]
    [0.236]
    """
    m, n, k = layer.units.size, layer.rep_in.dim, layer.rep_out.dim

    def flattened(numbers_: Tensor) -> Tensor:
        parts = weights(numbers_)
        shapes = [tuple(p.shape) for p in parts]
        if shapes != [(m, n), (m,), (k, m)]:
            raise SymtheoryError(f"weights of shapes {[(m, n), (m,), (k, m)]}", f"{shapes}", "return (W, b, A)")
        w, b, a = parts
        return torch.cat([w.flatten(), b, a.T.flatten()])

    jacobian = jacrev(flattened)(torch.zeros(numbers, dtype=torch.float64))
    tried = torch.randn(numbers, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    off = float((flattened(tried) - jacobian @ tried).abs().max())
    if not bool(jacobian.any()) or off > ROUNDING * float(jacobian.abs().max()):
        raise SymtheoryError(
            "weights that are linear in the tied numbers", f"an error of {off:.2g}",
            "build them from the numbers themselves: torch.stack, not torch.tensor",
        )  # fmt: skip
    metric = jacobian @ jacobian.T
    whole = _basis(layer, None)
    outside = float((jacobian - whole @ (whole.T @ jacobian)).abs().max())
    if outside > ROUNDING * float(jacobian.abs().max()):
        raise SymtheoryError("equivariant weights", f"an error of {outside:.2g}", "check the tying and the unit order")
    size = float(torch.linalg.matrix_norm(metric, 2))
    found = []
    for flat in layer.flats():
        basis = _basis(layer, flat)
        moved = metric @ basis
        leak = float(torch.linalg.matrix_norm(moved - basis @ (basis.T @ moved), 2)) / size if basis.shape[1] else 0.0
        if leak > ROUNDING:
            found.append(Leak(flat, leak))
    return tuple(sorted(found, key=lambda leak: -leak.size))


def _basis(layer: HiddenLayer, flat: Flat | None) -> Tensor:
    """Orthonormal basis of a flat, or of the whole constrained space, in the coordinates (W, b, A^T)."""
    labels = None if flat is None else flat.labels
    parts = [
        layer.functions(layer.rep_in, labels).flatten(1).T,
        layer.functions(layer.biases, labels).flatten(1).T,
        layer.functions(layer.rep_out, labels).flatten(1).T,
    ]
    return torch.block_diag(*parts)
