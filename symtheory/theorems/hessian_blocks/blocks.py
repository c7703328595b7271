r"""The Hessian of a user's model in the blocks that its mirrors impose, by Hessian-vector products.

At a point on every mirror, $\nabla^2\ell$ commutes with every $P_i$. Orthogonal or otherwise commuting projections split it
into their joint images; others force equal blocks as well. The number of products is the number of normals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from symtheory.engine.frames import Frames, joint_frames
from symtheory.engine.model import Batch, Loss
from symtheory.engine.operators import gradient, hvp_of
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import Mirror
from symtheory.spec.numerics import largest
from symtheory.spec.params import Params, flatten, shapes_of, size_of


@dataclass(frozen=True)
class Blocks:
    r"""Blocks of a Hessian across mirrors.

    Attributes:
        matrices: $V_b^T\nabla^2\ell\,V_b$ for every joint subspace.
        frames: The subspaces $V_b$.
        leak: $\|(I - V_bV_b^T)\nabla^2\ell\,V_b\|$ over all blocks, relative to $\|\nabla^2\ell\,V\|$; rounding where the
            loss has the mirrors and the point lies on them.
        distance: Largest distance of the point to a mirror.
        rest: Dimension of the one block along all mirrors, which is not formed.
    """

    matrices: tuple[Tensor, ...]
    frames: Frames
    leak: float
    distance: float
    rest: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the blocks."""
        return self.frames.sizes

    @property
    def spectra(self) -> tuple[Tensor, ...]:
        """Eigenvalues of every block, ascending."""
        return tuple(torch.linalg.eigvalsh(m) for m in self.matrices)

    @property
    def lowest(self) -> float:
        """Smallest curvature across the mirrors; negative where some direction escapes under gradient descent."""
        return min(float(s[0]) for s in self.spectra)

    @property
    def split(self) -> float:
        r"""Largest difference of spectra within a multiplet, relative to the largest eigenvalue."""
        spectra, scale = self.spectra, max(float(s.abs().max()) for s in self.spectra) or 1.0
        label, found = self.frames.multiplet, 0.0
        for i, a in enumerate(spectra):
            for j, b in enumerate(spectra[:i]):
                if label[i] == label[j]:
                    found = max(found, float((a - b).abs().max()))
        return found / scale


def hessian_blocks(loss: Loss, params: Params, batch: Batch, mirrors: Sequence[Mirror]) -> Blocks:
    r"""Blocks of $\nabla^2\ell(\theta, x)$ across the given mirrors.

    Args:
        loss: The loss, of one sample or a batch.
        params: A point, usually on all mirrors; ``mirror.symmetrize`` gives one.
        batch: Data.
        mirrors: Declared mirrors. They need not commute.

    Returns:
        The blocks with the leak between them, which measures whether the declaration is true.

    Raises:
        SymtheoryError: If the loss has no finite second derivatives here.

    >>> from symtheory.spec import rescaling_pair
    >>> loss = lambda p, _: ((p["u"] * p["w"]).sum() - 2) ** 2 / 2
    >>> origin = {k: torch.zeros(1).double() for k in "uw"}
    >>> found = hessian_blocks(loss, origin, None, rescaling_pair({"u": (1,), "w": (1,)}, "u", "w"))
    >>> found.sizes, sorted(round(float(m), 9) for m in found.matrices)
    ((1, 1), [-2.0, 2.0])
    """
    frames = joint_frames(mirrors)
    product = hvp_of(loss, params, batch)
    matrices, outside, total = [], 0.0, 0.0
    for part in frames.parts:
        inner = []
        for column in part.T:
            image = product(frames.vector(column, params))
            whole = sum(float(t.double().square().sum()) for t in image.values())
            coefficients = part.T @ flatten({k: image[k] for k in frames.names}).to(part)
            touched = flatten({k: image[k] for k in frames.names}).to(part) - part @ coefficients
            other = sum(float(t.double().square().sum()) for k, t in image.items() if k not in frames.shapes)
            outside, total = outside + float(touched.square().sum()) + other, total + whole
            inner.append(coefficients)
        block = torch.stack(inner, dim=1)
        matrices.append((block + block.T) / 2)
    leak = (outside / total) ** 0.5 if total else 0.0
    if not leak <= 1 + 1e-6:
        raise SymtheoryError("finite second derivatives", f"a leak of {leak}", "look for NaN, or a kink at the point")
    return Blocks(
        matrices=tuple(matrices),
        frames=frames,
        leak=leak,
        distance=max(m.distance(params) for m in mirrors),
        rest=size_of(shapes_of(params)) - frames.rank.value,
    )


def fisher_null(loss: Loss, params: Params, samples: Sequence[Batch], mirrors: Sequence[Mirror]) -> tuple[int, float]:
    r"""Dimension of the null space that mirrors force on the Fisher information, and how far from null it is here.

    The empirical Fisher information is $F = \frac1N\sum_x\nabla\ell\nabla\ell^T$. On all mirrors $P_iF = 0$, so $F$ has at
    least as many zero eigenvalues as there are independent normals.

    Args:
        loss: Per-sample loss.
        params: The point.
        samples: Single data points; for the true Fisher information draw the labels from the model.
        mirrors: Declared mirrors.

    Returns:
        Number of independent normals, and the largest $\|P\nabla\ell\|$ of a sample relative to the largest
        $\|\nabla\ell\|$, with $P$ the projection on their span.

    >>> from symtheory.spec import sign_flip
    >>> fisher_null(lambda p, x: (p["w"] * x).sum() ** 2 + p["b"] * x.sum(),
    ...             {"w": torch.zeros(2).double(), "b": torch.tensor(1.0).double()},
    ...             [torch.ones(2).double()], [sign_flip({"w": (2,)}, ["w"])])
    (2, 0.0)
    """
    frames = joint_frames(mirrors)
    normals, crossing, length = torch.cat(frames.parts, dim=1), [0.0], [0.0]
    for x in samples:
        g = gradient(loss, params, x)
        length.append(float(flatten(g).double().norm()))
        crossing.append(float((normals.T @ flatten({k: g[k] for k in frames.names}).to(normals)).norm()))
    return frames.rank.value, largest(crossing) / (largest(length) or 1.0)
