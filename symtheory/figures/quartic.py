r"""Gradient descent on paper B's benchmark $f(w) = (w^Tw)^2 - w^TBw$ (Section 6.2), five ways, many at a time.

$B$ is symmetric with eigenpairs $(\lambda_i, v_i)$; $f$ is symmetric under every reflection $w\mapsto w-2(v_i^Tw)v_i$.

Every method without mask noise is one recursion. In the eigenbasis of $B$, $z = V^Tw$,

.. math:: z \leftarrow z + \eta\,\big((a - 4(\|z\|^2+h))\odot z + b\big),

with $a = 2(\lambda-\gamma)$, $b = 2\gamma V^T\theta_0$, $h = 0$ for decay and syre (the decay is isotropic). For
*W-fix*, where the coordinates $F$ of $w$ stay at $w_F$, the same holds in the eigenbasis of $B_{UU}$ of the free ones, with
$b = 2Q^TB_{UF}w_F$ and $h = \|w_F\|^2$. Only dropout needs a product with $B$ in every step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from symtheory.engine import kernels_quartic
from symtheory.errors import SymtheoryError

STRUCTURES = ("unstructured", "structured")
METHODS = ("standard", "weight decay", "syre", "W-fix", "dropout")

#: Steps of dropout noise drawn at once.
NOISE_BLOCK = 250


@dataclass(frozen=True)
class Problem:
    r"""One matrix $B$ with everything random about it.

    Attributes:
        values: Eigenvalues $\lambda$, shape (d,), float64.
        vectors: Eigenvectors as columns, shape (d, d), float64; ``None`` if $B$ is diagonal.
        matrix: $B$, shape (d, d), float64; ``None`` if $B$ is diagonal.
        start: $w$ at the start in units of the initial standard deviation, shape (d,), float64.
        bias: $\theta_0/\sigma_0$, shape (d,), float64.
        anchor: The values at which W-fix holds weights, in units of their standard deviation, shape (d,), float64.
        order: The order in which W-fix takes coordinates, a permutation of shape (d,).
        seed: Seed of all of it, and of the dropout noise.
    """

    values: Tensor
    vectors: Tensor | None
    matrix: Tensor | None
    start: Tensor
    bias: Tensor
    anchor: Tensor
    order: Tensor
    seed: int

    @property
    def optimum(self) -> float:
        r"""Smallest value of $f$, $-\lambda_{\max}^2/4$ (0 if no eigenvalue is positive)."""
        return -(max(float(self.values.max()), 0.0) ** 2) / 4

    def times(self, w: Tensor) -> Tensor:
        """Rows times $B$.

        Args:
            w: Shape (..., d), float64.

        Returns:
            The same shape.
        """
        return w * self.values if self.matrix is None else w @ self.matrix

    def project(self, w: Tensor) -> Tensor:
        """Projections of rows on the eigenvectors.

        Args:
            w: Shape (..., d), float64.

        Returns:
            The same shape.
        """
        return w if self.vectors is None else w @ self.vectors

    def objective(self, w: Tensor) -> Tensor:
        """$f$ of every row.

        Args:
            w: Shape (..., d), float64.

        Returns:
            Shape (...).
        """
        return (w * w).sum(-1) ** 2 - (w * self.times(w)).sum(-1)


def problem(structure: str, dim: int, seed: int, scale: float = 1.0) -> Problem:
    r"""Draw a problem.

    Args:
        structure: ``unstructured`` for $B = G+G^T$, ``structured`` for $B = \operatorname{diag}(v)$.
        dim: $d$.
        seed: Seed.
        scale: Standard deviation of the entries of $G$ and of $v$.

    Returns:
        The problem.

    Raises:
        SymtheoryError: If there is no such structure.
    """
    if structure not in STRUCTURES:
        raise SymtheoryError(f"a structure among {list(STRUCTURES)}", repr(structure), "see Figure 4 of paper B")
    g = torch.Generator().manual_seed(seed)
    normal = [torch.randn(dim, generator=g, dtype=torch.float64) for _ in range(3)]
    order = torch.randperm(dim, generator=g)
    if structure == "structured":
        values = scale * torch.randn(dim, generator=g, dtype=torch.float64)
        return Problem(values, None, None, *normal, order, seed)
    entries = scale * torch.randn(dim, dim, generator=g, dtype=torch.float64)
    matrix = entries + entries.T
    values, vectors = torch.linalg.eigh(matrix)
    return Problem(values, vectors, matrix, *normal, order, seed)


@dataclass(frozen=True)
class FreeBlock:
    r"""What W-fix leaves free: $B_{UU} = Q\operatorname{diag}(\mu)Q^T$.

    Attributes:
        free: Indices $U$, shape (m,).
        values: $\mu$, shape (m,), float64.
        basis: $Q$, shape (m, m), float64; ``None`` for the identity.
    """

    free: Tensor
    values: Tensor
    basis: Tensor | None

    def into(self, w: Tensor) -> Tensor:
        """$Q^Tw$.

        Args:
            w: Shape (m,).

        Returns:
            The same shape.
        """
        return w if self.basis is None else self.basis.T @ w

    def out(self, z: Tensor) -> Tensor:
        """$Qz$.

        Args:
            z: Shape (m,).

        Returns:
            The same shape.
        """
        return z if self.basis is None else self.basis @ z


@dataclass
class Flow:
    r"""Configurations that follow the recursion of this module's head.

    Attributes:
        z: State, shape (C, d), float32; advanced in place.
        slope: $a$, shape (C, d).
        force: $b$, shape (C, d).
        held: $h$, shape (C,).
        back: Turns the state into weights $w$, shape (C, d), float64.
    """

    z: Tensor
    slope: Tensor
    force: Tensor
    held: Tensor
    back: Callable[[Tensor], Tensor]

    def advance(self, lr: float, steps: int, *, use_kernel: bool = True) -> None:
        """Take some steps.

        Args:
            lr: Learning rate.
            steps: How many.
            use_kernel: Use the compiled kernel on a CPU.
        """
        if use_kernel and self.z.device.type == "cpu":
            arrays = [t.numpy() for t in (self.z, self.slope, self.force, self.held)]
            parts = np.array_split(np.arange(len(self.z)), 2 * _workers())  # contiguous: slices are views
            cuts = [slice(p[0], p[-1] + 1) for p in parts if len(p)]
            jobs = [_pool().submit(kernels_quartic.pulled, *(a[cut] for a in arrays), lr, steps) for cut in cuts]
            for job in jobs:
                job.result()
            return
        for _ in range(steps):
            q = 4 * ((self.z * self.z).sum(1) + self.held)
            self.z += lr * ((self.slope - q[:, None]) * self.z + self.force)

    def weights(self) -> Tensor:
        """$w$, shape (C, d), float64, on the CPU."""
        return self.back(self.z.double().cpu())


@dataclass
class Dropout:
    r"""Configurations with mask noise: each step sees $f(m\odot w)$ with $m = \mathrm{Bernoulli}(1-p)/(1-p)$.

    Attributes:
        w: Weights, shape (C, d), float32; advanced in place.
        keep: $1-p$, shape (C,).
        matrix: $B$, shape (d, d), or its diagonal, shape (d,), float32.
        noise: Uniform numbers, shape (steps, d) at a time; every configuration of a problem sees the same ones.
    """

    w: Tensor
    keep: Tensor
    matrix: Tensor
    noise: Callable[[int], Tensor]

    def advance(self, lr: float, steps: int, *, use_kernel: bool = True) -> None:
        """Take some steps.

        Args:
            lr: Learning rate.
            steps: How many.
            use_kernel: Use the compiled kernels on a CPU.
        """
        for begin in range(0, steps, NOISE_BLOCK):
            u = self.noise(min(NOISE_BLOCK, steps - begin))
            if not (use_kernel and self.w.device.type == "cpu"):
                self._eager(lr, u.to(self.w.device))
            elif self.matrix.dim() == 1:
                self._diagonal(lr, u.numpy())
            else:
                self._dense(lr, u.numpy())

    def weights(self) -> Tensor:
        """$w$, shape (C, d), float64, on the CPU."""
        return self.w.double().cpu()

    def _eager(self, lr: float, uniforms: Tensor) -> None:
        keep = self.keep[:, None]
        for u in uniforms:
            m = (u < keep) / keep
            y = m * self.w
            product = y * self.matrix if self.matrix.dim() == 1 else y @ self.matrix
            self.w += lr * m * (2 * product - 4 * (y * y).sum(1, keepdim=True) * y)

    def _diagonal(self, lr: float, uniforms: np.ndarray) -> None:
        slope = 2 * self.matrix.numpy()
        w, keep = self.w.numpy(), self.keep.numpy()
        parts = [p for p in np.array_split(np.arange(len(w)), _workers()) if len(p)]
        cuts = [slice(p[0], p[-1] + 1) for p in parts]
        jobs = [_pool().submit(kernels_quartic.dropped, w[cut], slope, keep[cut], lr, uniforms) for cut in cuts]
        for job in jobs:
            job.result()

    def _dense(self, lr: float, uniforms: np.ndarray) -> None:
        y, product = torch.empty_like(self.w), torch.empty_like(self.w)
        total = np.empty(len(self.w), np.float32)
        w, keep, masked, against = self.w.numpy(), self.keep.numpy(), y.numpy(), product.numpy()
        for u in uniforms:
            kernels_quartic.mask_rows(w, masked, total, keep, u)
            torch.mm(y, self.matrix, out=product)
            kernels_quartic.dropped_dense(w, masked, total, against, keep, lr, u)


#: Configurations of any method, advanced in place by ``advance(lr, steps)``.
Trained = Flow | Dropout


def pull(p: Problem, gammas: Tensor, start: Tensor, bias: Tensor, device: str = "cpu") -> Flow:
    r"""Weight decay $\gamma\|w-\theta_0\|^2$: plain descent, weight decay and syre.

    syre trains $\theta$ of $f(\theta+\theta_0)+\gamma\|\theta\|^2$; this follows $w = \theta+\theta_0$.

    Args:
        p: The problem.
        gammas: $\gamma$ of each configuration, shape (C,).
        start: $w$ at the start, shape (d,), float64.
        bias: $\theta_0$ of each configuration, shape (C, d), float64; zero for plain decay.
        device: Where to train.

    Returns:
        The configurations.
    """
    z = p.project(start).expand(len(gammas), -1)
    slope = 2 * (p.values - gammas.double()[:, None])
    force = 2 * gammas.double()[:, None] * p.project(bias)
    held = torch.zeros(len(gammas), dtype=torch.float64)

    def back(state: Tensor) -> Tensor:
        return state if p.vectors is None else state @ p.vectors.T

    return Flow(*(t.float().contiguous().to(device, copy=True) for t in (z, slope, force, held)), back)


def held_weights(p: Problem, fraction: float, spread: float) -> tuple[Tensor, Tensor]:
    r"""Which weights W-fix holds, and where.

    Args:
        p: The problem.
        fraction: $\phi$.
        spread: Standard deviation of the held values.

    Returns:
        Mask of shape (d,), true where held (``round(fraction * d)`` of them), and values of shape (d,), float64.
    """
    mask = torch.zeros(len(p.values), dtype=torch.bool)
    mask[p.order[: round(fraction * len(mask))]] = True
    return mask, spread * p.anchor


def free_blocks(p: Problem, fractions: Tensor) -> list[FreeBlock]:
    r"""The blocks of $B$ that W-fix leaves free, diagonalised.

    Args:
        p: The problem.
        fractions: $\phi$ of each configuration, shape (C,).

    Returns:
        One per fraction.
    """
    blocks = []
    for fraction in fractions.tolist():
        free = (~held_weights(p, fraction, 1.0)[0]).nonzero()[:, 0]
        if p.matrix is None:
            blocks.append(FreeBlock(free, p.values[free], None))
        else:
            blocks.append(FreeBlock(free, *torch.linalg.eigh(p.matrix[free][:, free])))
    return blocks


def fix(
    p: Problem,
    fractions: Tensor,
    start: Tensor,
    spread: float,
    device: str = "cpu",
    blocks: Sequence[FreeBlock] | None = None,
) -> Flow:
    r"""W-fix: a fraction of the weights stays where it was drawn.

    Args:
        p: The problem.
        fractions: $\phi$ of each configuration, shape (C,).
        start: $w$ at the start of the free weights, shape (d,), float64.
        spread: Standard deviation of the held values.
        device: Where to train.
        blocks: From :func:`free_blocks`, to use them twice.

    Returns:
        The configurations. In the state, a free block's coordinates come first; zeros fill the rest.
    """
    blocks = free_blocks(p, fractions) if blocks is None else blocks
    z, slope, force, fixed = (torch.zeros(len(fractions), len(p.values), dtype=torch.float64) for _ in range(4))
    for c, (fraction, block) in enumerate(zip(fractions.tolist(), blocks, strict=True)):
        mask, anchor = held_weights(p, fraction, spread)
        fixed[c, mask] = anchor[mask]
        size = len(block.free)
        z[c, :size] = block.into(start[block.free])
        slope[c, :size] = 2 * block.values
        if p.matrix is not None:
            force[c, :size] = 2 * block.into(p.matrix[block.free] @ fixed[c])
    held = (fixed * fixed).sum(1)

    def back(state: Tensor) -> Tensor:
        w = fixed.clone()
        for row, own, block in zip(w, state, blocks, strict=True):
            row[block.free] = block.out(own[: len(block.free)])
        return w

    return Flow(*(t.float().to(device) for t in (z, slope, force, held)), back)


def noise(p: Problem) -> Callable[[int], Tensor]:
    """Uniform numbers for dropout; the same whatever the number of steps asked for at a time.

    Args:
        p: The problem.

    Returns:
        Steps to the next numbers, shape (steps, d).
    """
    g = torch.Generator().manual_seed(p.seed + 10_000)

    def draw(steps: int) -> Tensor:
        # step by step: torch fills a tensor in an order that depends on its size
        return torch.stack([torch.rand(len(p.values), generator=g) for _ in range(steps)])

    return draw


def drop(p: Problem, rates: Tensor, start: Tensor, device: str = "cpu") -> Dropout:
    r"""Dropout of weights.

    Args:
        p: The problem.
        rates: $p$ of each configuration, shape (C,).
        start: $w$ at the start, shape (d,), float64.
        device: Where to train.

    Returns:
        The configurations.
    """
    w = start.float().repeat(len(rates), 1).to(device)
    matrix = (p.values if p.matrix is None else p.matrix).float().to(device)
    keep = (1 - rates.double()).float().to(device)
    return Dropout(w, keep, matrix, noise(p))


def frontier(values: Tensor, cut: float) -> tuple[Tensor, Tensor]:
    r"""The lowest objective at every degree of symmetry, over *all* $w$, in closed form.

    With $q_i = (v_i^Tw)^2$, $f = (\sum q_i)^2 - \sum\lambda_iq_i$ is convex. To break $k$ reflections costs least for
    the $k$ largest eigenvalues: $q_i = c^2$ for them and what is left of the mass $\lambda_1/2$ for the first.

    Args:
        values: Eigenvalues, shape (d,), float64, the largest positive.
        cut: $c$.

    Returns:
        Degrees $d-k$ for $k = 1..d$ and objectives, both of shape (d,).

    >>> frontier(torch.tensor([2.0, 0.0], dtype=torch.float64), 0.1)[1]
    tensor([-1.0000, -0.9800], dtype=torch.float64)
    """
    ranked = values.sort(descending=True).values
    k = torch.arange(1, len(values) + 1, dtype=torch.float64)
    square = cut**2
    rest = (ranked[0] / 2 - k * square).clamp_min(0)
    mass = k * square + rest
    return len(values) - k, mass**2 - square * ranked.cumsum(0) - rest * ranked[0]


def _workers() -> int:
    return os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    # projections die away; denormal numbers would make every step a hundred times slower
    return ThreadPoolExecutor(_workers(), initializer=lambda: torch.set_flush_denormal(True))
