r"""The $L_1$ form of a loss with a mirror: new coordinates in which weight decay across the mirror is a norm, unsquared.

With $w = w' + sn$, $w' = (I-P)w$, $s = \|Pw\|$, $n = Pw/s$, put $Z = s^2n = \|Pw\|\,Pw$, a vector across the mirror of
length $|z| = s^2$. Then $\ell_\gamma(w) = \tilde\ell(w' + Z) + \gamma(\|w'\|^2 + \|Z\|)$. For one normal, $Z$ is a number
and the penalty is $|Z|$; for several, it is the penalty of the group lasso, which removes all of $O^Tw$ or nothing.

The map $w\leftrightarrow w'+Z$ is a homeomorphism of parameter space, smooth off the mirror, so local and global minima
are the same; stationary points are not, since a saddle on the mirror becomes a point of descent. Source: paper A, eq. (6).
"""

from __future__ import annotations

import torch
from torch import Tensor

from symtheory.engine.model import Batch, Loss, squared_norm
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params


def _rescale(mirror: Mirror, params: Params, power: float) -> Params:
    """Multiply the component across the mirror by a power of its length; zero stays zero."""
    across = mirror.project(params)
    squared = squared_norm(across)
    on = squared == 0
    factor = torch.where(
        on, torch.zeros_like(squared), torch.where(on, torch.ones_like(squared), squared) ** (power / 2)
    )
    return {k: p + (factor - 1) * across[k] if k in across else p for k, p in params.items()}


def to_l1(mirror: Mirror, params: Params) -> Params:
    r"""$w\mapsto q = (I-P)w + \|Pw\|\,Pw$.

    Args:
        mirror: The mirror.
        params: $w$.

    Returns:
        $q$, of the same shapes.

    >>> from symtheory.spec import sign_flip
    >>> to_l1(sign_flip({"w": (2,)}, ["w"]), {"w": torch.tensor([3.0, -4.0])})["w"]
    tensor([ 15., -20.])
    """
    return _rescale(mirror, params, 1.0)


def from_l1(mirror: Mirror, lifted: Params) -> Params:
    r"""$q\mapsto w = (I-P)q + Pq/\sqrt{\|Pq\|}$, the inverse of :func:`to_l1`.

    Args:
        mirror: The mirror.
        lifted: $q$.

    Returns:
        $w$.

    >>> from symtheory.spec import sign_flip
    >>> from_l1(sign_flip({"w": (2,)}, ["w"]), {"w": torch.tensor([15.0, -20.0])})["w"]
    tensor([ 3., -4.])
    """
    return _rescale(mirror, lifted, -0.5)


def l1_penalty(loss: Loss, mirror: Mirror, gamma: float) -> Loss:
    r"""$q\mapsto\tilde\ell(q) + \gamma(\|(I-P)q\|^2 + \|Pq\|)$, equal to $\ell_0(w) + \gamma\|w\|^2$ at $w$ = :func:`from_l1` of $q$.

    Args:
        loss: $\ell_0$.
        mirror: The mirror; the identity needs no symmetry, a finite slope at $Pq = 0$ does.
        gamma: Weight decay $\gamma\ge0$ in the paper's convention.

    Returns:
        The loss in the new coordinates; it has a kink on the mirror, where it must not be differentiated.

    Raises:
        SymtheoryError: If the decay is negative.

    >>> from symtheory.spec import sign_flip
    >>> well = l1_penalty(lambda p, _: (p["w"] ** 2 - 1) ** 2, sign_flip({"w": ()}, ["w"]), 0.5)
    >>> float(well({"w": torch.tensor(-0.25)}, None))  # (|z| - 1)^2 + |z| / 2
    0.6875
    """
    if gamma < 0:
        raise SymtheoryError("a decay gamma >= 0", f"{gamma}", "use half of PyTorch's weight_decay")

    def value(lifted: Params, batch: Batch) -> Tensor:
        across = mirror.project(lifted)
        along = {k: p - across[k] if k in across else p for k, p in lifted.items()}
        length = squared_norm(across).sqrt()
        return loss(from_l1(mirror, lifted), batch) + gamma * (squared_norm(along) + length)

    return value
