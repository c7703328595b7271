r"""One look at one symmetry family: how close the network is to its nearest mirror, and what has collapsed already.

All numbers come from the Gram matrix of the units, each a vector of all parameters that touch it. For permutations the
nearest mirror belongs to the two closest units, for signs to the smallest unit, for rotations to the direction of the
smallest singular value. Distance and force are then measured on that mirror itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from symtheory.discover import actions
from symtheory.discover.families import CENTRED, PERMUTATION, RESCALING, SIGN, Family, GroupMirror
from symtheory.monitor.attraction import Attraction
from symtheory.spec.params import Params, flatten

#: Units closer than this, relative to the root mean square of the units' norms, count as one; smaller ones as dead.
NEAR = 1e-2


@dataclass(frozen=True)
class Reading:
    r"""State of one family at one step.

    Attributes:
        step: Optimiser steps so far.
        where: The units.
        kind: Kind of the family.
        units: Number of units; of all copies, for a family with several.
        distance: $\lVert P\theta\rVert$ for the nearest mirror.
        relative: The same over the root mean square of the units' norms.
        rank: Effective rank of the units, the exponential of the entropy of the normalised singular values (Roy and
            Vetterli, 2007); the smallest over the copies.
        dead: Units whose norm is below ``NEAR``, relative to the root mean square.
        duplicates: Units that lie closer than ``NEAR`` to one counted before, dead ones left out.
        force: $-\nabla L\cdot P\theta/\lVert P\theta\rVert$: positive if descent leads away from the mirror; NaN
            without gradients. For an optimiser with ``maximize``, here and below $L$ is minus the loss it was given.
        attraction: What second order on a probe batch predicts at the foot of the perpendicular; ``None`` where nothing
            can be said: without a probe or an optimiser, on the mirror, if the tensors do not share one learning rate
            above zero, or if numbers are not finite.
    """

    step: int
    where: str
    kind: str
    units: int
    distance: float
    relative: float
    rank: float
    dead: int
    duplicates: int
    force: float
    attraction: Attraction | None = None

    def row(self) -> dict[str, float | int | str]:
        """Flat values, for a table or a file.

        Returns:
            Name to value; what the probe gives is NaN without one.
        """
        names = ("step", "where", "kind", "units", "distance", "relative", "rank", "dead", "duplicates", "force")
        found = {name: getattr(self, name) for name in names}
        a = self.attraction
        return found | {
            "curvature": nan if a is None else a.curvature,
            "critical_decay": nan if a is None else a.critical_decay,
            "exponent": nan if a is None else a.exponent.value,
        }


def rows(family: Family, tensors: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """The units of a family, tensor by tensor.

    Args:
        family: The family.
        tensors: Name to tensor; names that are missing are left out.

    Yields:
        Shape ``(copies, units, entries)``.
    """
    if units := family.action.units:  # whole tensors change places
        yield torch.stack([torch.cat([tensors[n].flatten() for n in unit if n in tensors]) for unit in units])[None]
    for name, parts in family.action.roles.items():
        if name not in tensors:
            continue
        for block, roles in parts:
            for role in roles:
                if len(role.dims) == 1 and len(role.fibre) == len(family.action.fibre) and role.power % 2:
                    yield actions.rows(block, role, tensors[name])


def gram(family: Family, tensors: Mapping[str, Tensor]) -> Tensor:
    """Inner products of the units.

    Args:
        family: The family.
        tensors: Name to tensor.

    Returns:
        Shape ``(copies, units, units)``, double precision.
    """
    found = torch.zeros(family.copies, family.degree, family.degree, dtype=torch.float64)
    for part in rows(family, tensors):
        part = part.detach().double()  # squares of distances: single precision would lose those below 1e-3
        found += (part @ part.mT).cpu()
    if family.kind == CENTRED:
        found = found - found.mean(1, keepdim=True)
        found = found - found.mean(2, keepdim=True)
    return found


def nearest(family: Family, products: Tensor) -> GroupMirror:
    """The mirror of a family that is closest.

    Args:
        family: A family with mirrors.
        products: From :func:`gram`.

    Returns:
        The mirror.
    """
    n = family.degree
    norms = products.diagonal(dim1=1, dim2=2)
    if family.kind == PERMUTATION:
        apart = norms[:, :, None] + norms[:, None, :] - 2 * products
        apart = apart + torch.diag(torch.full((n,), float("inf"), dtype=torch.float64))
        copy, i, j = _where(int(apart.argmin()), apart.shape)
        return family.mirror(min(i, j), max(i, j), copy=copy)
    if family.kind in {SIGN, RESCALING}:
        copy, i = _where(int(norms.argmin()), norms.shape)
        return family.mirror(i, copy=copy)
    allowed = torch.eye(n, dtype=torch.float64)
    if family.kind == CENTRED:  # normals are orthogonal to the vector of ones
        allowed = torch.linalg.qr(torch.cat([torch.ones(n, 1, dtype=torch.float64), allowed[:, 1:]], 1))[0][:, 1:]
    values, vectors = torch.linalg.eigh(allowed.T @ products @ allowed)
    copy, k = _where(int(values.argmin()), values.shape)
    return family.mirror(copy=copy, normals=allowed @ vectors[copy, :, k : k + 1])


def read(family: Family, params: Params, grads: Params, step: int) -> tuple[Reading, GroupMirror]:
    """Look at a family.

    Args:
        family: A family with mirrors.
        params: All parameters, detached.
        grads: Gradients by name; parameters without one are missing.
        step: Optimiser steps so far.

    Returns:
        The reading, and the nearest mirror. Parameters that are not finite, as after a divergence, have a reading
        without numbers, and any mirror.
    """
    products = gram(family, params)
    units = family.copies * family.degree
    if not bool(products.isfinite().all()):
        return Reading(step, family.where, family.kind, units, nan, nan, nan, 0, 0, nan), family.mirror()
    squares = products.diagonal(dim1=1, dim2=2)
    typical = float(squares.mean()) ** 0.5 or 1.0
    near = nearest(family, products)
    across = near.project({n: params[n] for n in near.shapes})
    distance = float(flatten(across).double().norm())
    force = nan
    if distance > 0 and all(name in grads for name in across):
        force = -sum(float((grads[name] * t).sum()) for name, t in across.items()) / distance
    dead = squares.sqrt() <= NEAR * typical
    apart = squares[:, :, None] + squares[:, None, :] - 2 * products
    same = (apart <= (NEAR * typical) ** 2) & ~dead[:, :, None] & ~dead[:, None, :]
    reading = Reading(
        step,
        family.where,
        family.kind,
        units,
        distance,
        distance / typical,
        float(effective_rank(products).min()),
        int(dead.sum()),
        int(same.tril(-1).any(2).sum()),
        force,
    )
    return reading, near


def effective_rank(products: Tensor) -> Tensor:
    """Exponential of the entropy of the normalised singular values.

    Args:
        products: Gram matrices, shape ``(..., n, n)``.

    Returns:
        Shape ``(...)``, between 1 and n; 0 for a zero matrix.

    >>> effective_rank(torch.diag(torch.tensor([4.0, 4.0, 0.0]))).item()
    2.0
    """
    values = torch.linalg.eigvalsh(products.double()).clamp_min(0).sqrt()
    total = values.sum(-1, keepdim=True)
    p = values / total.clamp_min(1e-300)
    return torch.where(total[..., 0] > 0, torch.exp(torch.special.entr(p).sum(-1)), 0.0)


def _where(flat: int, shape: torch.Size) -> tuple[int, ...]:
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), shape))
