"""Numerical ground rules: one relative error, named tolerances, ranks that show their gap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from symtheory.errors import SymtheoryError


def require_finite(tensor: Tensor, name: str) -> None:
    """Refuse a tensor that holds NaN or infinity.

    Args:
        tensor: Any tensor.
        name: What to call it in the message.

    Raises:
        SymtheoryError: If an entry is not finite.
    """
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise SymtheoryError(
            f"finite values in {name}", f"{bad} of {tensor.numel()} NaN or infinite", "find the step that diverged"
        )


def relative_error(value: Tensor, reference: Tensor) -> float:
    r"""Scaled distance $\|v - r\| / \max(\|v\|, \|r\|)$, and 0 when both vanish.

    Args:
        value: Tensor of any shape.
        reference: Tensor of the same shape.

    Returns:
        A finite number in $[0, 2]$.

    Raises:
        SymtheoryError: If the shapes differ or an entry is not finite.

    >>> relative_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.0]))
    0.0
    >>> relative_error(torch.zeros(2), torch.tensor([0.0, 5.0]))
    1.0
    """
    if value.shape != reference.shape:
        raise SymtheoryError(f"shape {tuple(reference.shape)}", f"{tuple(value.shape)}", "compare like with like")
    require_finite(value, "value")
    require_finite(reference, "reference")
    scale = max(float(value.norm()), float(reference.norm()))
    return float((value - reference).norm()) / scale if scale else 0.0


def rounding_tolerance(size: int, *, condition: float = 1.0, dtype: torch.dtype = torch.float64) -> float:
    r"""What rounding alone may do: $8\,\varepsilon\,\sqrt{n}\,\kappa$.

    The square root is the random-walk growth of rounding errors over $n$ operations; the factor 8 covers the few
    chained operations (project, reflect, differentiate) of one check.

    Args:
        size: Number $n$ of scalar operations chained in the check (the parameter count, say).
        condition: Condition number $\kappa\ge1$ of the quantity measured.
        dtype: Floating-point type of the computation.

    Returns:
        A relative tolerance.

    >>> rounding_tolerance(4) == 16 * torch.finfo(torch.float64).eps
    True
    """
    return 8.0 * torch.finfo(dtype).eps * max(size, 1) ** 0.5 * max(condition, 1.0)


def largest(values: Iterable[float]) -> float:
    """Largest of some residuals; unlike ``max`` it does not lose a NaN on the way.

    Args:
        values: Residuals; may be empty.

    Returns:
        Their maximum, 0 for none.

    Raises:
        SymtheoryError: If one is not finite.

    >>> largest([0.5, 2.0])
    2.0
    """
    found = 0.0
    for value in values:
        if not isfinite(value):
            raise SymtheoryError(
                "finite residuals", f"{value}", "find the NaN or the overflow in the loss or its gradient"
            )
        found = max(found, value)
    return found


@dataclass(frozen=True)
class Rank:
    """A numerical rank with the evidence for its cut.

    Attributes:
        value: Number of singular values above the cut.
        kept: Smallest singular value kept (0 when the rank is 0).
        dropped: Largest singular value dropped (0 when the rank is full).
        cut: The threshold used, in the units of the singular values.
    """

    value: int
    kept: float
    dropped: float
    cut: float

    @property
    def gap(self) -> float:
        """Ratio of the smallest kept to the largest dropped value (infinite when either side is empty)."""
        return self.kept / self.dropped if self.dropped and self.kept else float("inf")


def numerical_rank(singular_values: Float[Tensor, " k"], *, cut: float) -> Rank:
    """Count the singular values above a cut and report the pair around it.

    Args:
        singular_values: Non-negative values in any order.
        cut: Absolute threshold, in the same units.

    Returns:
        The rank with the values on both sides of the cut.

    >>> r = numerical_rank(torch.tensor([2.0, 1e-9, 1.0]), cut=1e-3)
    >>> r.value, r.kept
    (2, 1.0)
    """
    require_finite(singular_values, "singular values")
    ordered = singular_values.sort(descending=True).values
    value = int((ordered > cut).sum())
    kept = float(ordered[value - 1]) if value else 0.0
    dropped = float(ordered[value]) if value < ordered.numel() else 0.0
    return Rank(value, kept, dropped, cut)
