r"""The Fisher information near a mirror: singular on it, of order $s^2$ at most at a distance $s$.

On the mirror no per-sample gradient crosses it, so $O^TF = 0$ for $F = \frac1N\sum_x\nabla\ell\nabla\ell^T$. At the distance $s$ along a normal
$n$ the components across are $sPH(x)n + O(s^3)$, so $\operatorname{rank}P$ eigenvalues of $F$ are of order $s^2$ at most, and no more of
exactly that order than the vectors $PH(x)n$ span. For one tanh neuron they span a line: one exponent is 2, the next 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from symtheory.engine.model import Batch, Loss
from symtheory.engine.operators import gradient
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params, flatten
from symtheory.spec.verdict import Verdict
from symtheory.theorems.instances import generator_of, normal

#: Eigenvalues below this, relative to the largest, are rounding.
NULL = 1e-13


def empirical_fisher(loss: Loss, params: Params, samples: Sequence[Batch]) -> Tensor:
    r"""$\frac1N\sum_x\nabla\ell(\theta, x)\nabla\ell(\theta, x)^T$ as a matrix, for small models.

    Args:
        loss: Per-sample loss.
        params: The point, with ``n`` scalars.
        samples: Single data points; fewer than ``n`` make the matrix singular by themselves.

    Returns:
        Matrix of shape ``(n, n)``.

    >>> empirical_fisher(lambda p, x: p["w"] * x, {"w": torch.tensor(1.0)}, [torch.tensor(2.0)])
    tensor([[4.]])
    """
    if all(isinstance(x, Tensor) and x.shape == samples[0].shape for x in samples):
        each = torch.vmap(lambda x: flatten(gradient(loss, params, x)))(torch.stack(list(samples)))
    else:
        each = torch.stack([flatten(gradient(loss, params, x)) for x in samples])
    return each.T @ each / len(samples)


def fisher_spectrum(
    loss: Loss, mirror: Mirror, params: Params, samples: Sequence[Batch], n: Params, distances: Sequence[float]
) -> Tensor:
    r"""Eigenvalues of the empirical Fisher information at given distances from the mirror.

    Args:
        loss: Per-sample loss.
        mirror: The mirror.
        params: A point; its projection is the foot.
        samples: Data.
        n: Touched tensors of a unit normal.
        distances: Values of $s$.

    Returns:
        Matrix of shape ``(distances, n)``, ascending in each row.
    """
    foot = mirror.symmetrize(params)
    points = [{k: p + s * n[k] if k in n else p for k, p in foot.items()} for s in distances]
    return torch.stack([torch.linalg.eigvalsh(empirical_fisher(loss, p, samples)) for p in points])


def null_orders(spectra: Tensor, rank: int, distances: Sequence[float]) -> list[float]:
    r"""Exponents $k_i$ in $\mu_i(s)\sim s^{k_i}$ for each of the $r$ smallest eigenvalues.

    Args:
        spectra: From :func:`fisher_spectrum`, two rows.
        rank: Number $r$ of eigenvalues.
        distances: The two values of $s$.

    Returns:
        The exponents, largest first as the smallest eigenvalue comes first.
    """
    small = spectra[:, :rank].clamp_min(1e-300).log()
    return [float(v) / log(distances[1] / distances[0]) for v in small[1] - small[0]]


def null_order(spectra: Tensor, rank: int, distances: Sequence[float]) -> float:
    r"""Exponent $k$ in $\prod_{i\le r}\mu_i(s)\sim s^{kr}$ for the $r$ smallest eigenvalues.

    Args:
        spectra: From :func:`fisher_spectrum`, two rows.
        rank: Number $r$ of eigenvalues.
        distances: The two values of $s$.

    Returns:
        The exponent.
    """
    return sum(null_orders(spectra, rank, distances)) / rank


def _example(params: Params, batch: Batch) -> Tensor:
    x, y = batch[:2], batch[2]
    w, v = params["w"], params["v"]
    return (w**2 * x[0] + v * x[1] + v**2 * x[0] - y) ** 2 / 2


def close_is_not_singular() -> Verdict:
    r"""Said to be singular close to a symmetric solution: at $w = 10^{-2}$ the smallest eigenvalue is positive.

    Returns:
        Verdict on the smallest eigenvalue relative to the largest being zero, which must fail.
    """
    data = list(normal(generator_of(0), 50, 3))
    point = {"w": torch.tensor(1e-2).double(), "v": torch.tensor(1.0).double()}
    spectrum = torch.linalg.eigvalsh(empirical_fisher(_example, point, data))
    return Verdict(
        "the Fisher information is singular at a distance 1e-2", float(spectrum[0] / spectrum[-1]), NULL, seed=0
    )


def same_labels_only() -> Verdict:
    r"""$\ell = \tfrac12(f - y)^2$ with $f = y + w$ is symmetric for the label $y$; with labels of the model $F = 1$.

    Returns:
        Verdict on the Fisher information at $w = 0$ being zero, which must fail.
    """
    y = torch.tensor(0.7).double()
    labels = y + normal(generator_of(0), 400)  # the model's own: Gaussian of mean f = y + w at w = 0
    fisher = empirical_fisher(lambda p, z: (y + p["w"] - z) ** 2 / 2, {"w": torch.tensor(0.0).double()}, list(labels))
    return Verdict("the Fisher information vanishes at w = 0", float(fisher.max()), NULL, seed=0)
