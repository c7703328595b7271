r"""Convex penalties solved directly: quadratic loss plus $\kappa\sum_g\|O_g^T\theta\|$, with an optimality certificate.

An accelerated proximal gradient method that knows nothing of factors; what it returns is certified by the size of the
optimality conditions, not by a count of steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError


def shrink(z: Tensor, index: Tensor, amount: float) -> Tensor:
    r"""Block soft threshold $z_g\,(1 - a/\|z_g\|)_+$.

    Args:
        z: Vector of shape ``(r,)``.
        index: Group of every entry.
        amount: $a$.

    Returns:
        Vector of shape ``(r,)``.

    >>> shrink(torch.tensor([3.0, 4.0, 0.5]), torch.tensor([0, 0, 1]), 1.0)
    tensor([2.4000, 3.2000, 0.0000])
    """
    norms = torch.zeros(int(index.max()) + 1, dtype=z.dtype).index_add(0, index, z * z).sqrt()
    factor = (1 - amount / norms.clamp(min=torch.finfo(z.dtype).tiny)).clamp(min=0)
    return z * factor[index]


def penalised_least_squares(
    a: Tensor, b: Tensor, basis: Tensor, index: Tensor, strength: float, *, tolerance: float = 1e-12, steps: int = 20000
) -> Tensor:
    r"""Minimiser of $\tfrac1{2m}\|A\theta-b\|^2 + \kappa\sum_g\|O_g^T\theta\|$.

    With $O = I$ and groups of one this is scikit-learn's ``Lasso(alpha=kappa, fit_intercept=False)``.

    Args:
        a: $A$ of shape ``(m, n)``.
        b: $b$ of shape ``(m,)``.
        basis: $O$ of shape ``(n, r)`` with orthonormal columns.
        index: Group of every column.
        strength: $\kappa\ge0$.
        tolerance: Largest size of a proximal step at which the point counts as optimal, relative to its own size.
        steps: Most steps.

    Returns:
        Vector of shape ``(n,)``.

    Raises:
        SymtheoryError: If the certificate was not reached.
    """
    m, n = a.shape
    gram, moment = a.T @ a / m, a.T @ b / m
    rate = 1 / float(torch.linalg.eigvalsh(gram)[-1])

    def step(point: Tensor) -> Tensor:
        moved = point - rate * (gram @ point - moment)
        z = basis.T @ moved
        return moved + basis @ (shrink(z, index, rate * strength) - z)

    theta, momentum, memory = a.new_zeros(n), a.new_zeros(n), 1.0
    for k in range(steps):
        new = step(momentum)
        if float((momentum - new) @ (new - theta)) > 0:  # restart: the momentum points uphill
            momentum, memory = theta, 1.0
            new = step(momentum)
        grown = (1 + (1 + 4 * memory**2) ** 0.5) / 2
        momentum = new + (memory - 1) / grown * (new - theta)
        theta, memory = new, grown
        if k % 10 == 0 and float((step(theta) - theta).norm()) <= tolerance * max(float(theta.norm()), 1e-3):
            return theta
    residual = float((step(theta) - theta).norm())
    raise SymtheoryError(
        f"a proximal step below {tolerance:.0e}", f"{residual:.1e} after {steps} steps", "raise steps or tolerance"
    )
