r"""Gradient descent on $f(w) = (w^Tw)^2 - w^TBw$, five ways, many configurations at a time.

Every method without mask noise is one recursion. In the eigenbasis of $B$, $z = V^Tw$,

.. math:: z \leftarrow z + \eta\,\big((a - 4(\|z\|^2+h))\odot z + b\big),

with $a = 2(\lambda-\gamma)$, $b = 2\gamma V^T\theta_0$, $h = 0$ for decay and syre (the decay is isotropic). For
*W-fix*, where the coordinates $F$ of $w$ stay at $w_F$, the same holds in the eigenbasis of $B_{UU}$ of the free ones,
with $b = 2Q^TB_{UF}w_F$ and $h = \|w_F\|^2$. Only dropout needs a product with $B$ in every step.
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
from symtheory.figures.quartic import Problem, held_weights, noise

#: Steps of dropout noise drawn at once.
NOISE_BLOCK = 250


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
            z, slope, force, held = (t.numpy() for t in (self.z, self.slope, self.force, self.held))
            parts = np.array_split(np.arange(len(self.z)), 2 * _workers())  # contiguous: slices are views
            cuts = [slice(p[0], p[-1] + 1) for p in parts if len(p)]
            run = kernels_quartic.pulled
            jobs = [_pool().submit(run, z[cut], slope[cut], force[cut], held[cut], lr, steps) for cut in cuts]
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

    return Flow(_ready(z, device), _ready(slope, device), _ready(force, device), _ready(held, device), back)


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
            values, basis = torch.linalg.eigh(p.matrix[free][:, free])
            blocks.append(FreeBlock(free, values, basis))
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

    return Flow(_ready(z, device), _ready(slope, device), _ready(force, device), _ready(held, device), back)


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


def _ready(t: Tensor, device: str) -> Tensor:
    """A copy to train on."""
    return t.to(torch.float32, memory_format=torch.contiguous_format).to(device, copy=True)


def _workers() -> int:
    return os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    # projections die away; denormal numbers would make every step a hundred times slower
    return ThreadPoolExecutor(_workers(), initializer=lambda: torch.set_flush_denormal(True))
