r"""Parameters with the component across a mirror written as a product: $\theta = (I-P)v + O\,(t\cdot c)$.

The coordinates $z = O^T\theta$ are cut into groups; group $g$ is a vector $c_g$ times one scalar $t_g$. Groups of one
coordinate give the Hadamard product $z = t\odot c$, one group gives $z = tc$ with a single scalar. Either way every
$\theta$ has such factors, and the squared norm of the factors is an unsquared norm of $\theta$:

$$\min\bigl\{\|c\|^2 + \|t\|^2 : \theta = (I-P)v + O(t\cdot c)\bigr\} = 2\sum_g\|O_g^T\theta\|.$$

Factored parameters are an ordinary dict with two more tensors, :data:`DIRECTION` and :data:`SCALE`. Every map here is a
pure function of it, fit for gradients and for sweeps. Source: paper A, eq. (7), corrected; Ziyin & Wang 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from symtheory.engine.coordinates import coordinates, expand
from symtheory.engine.model import Batch, Loss
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import CompositeMirror, Mirror
from symtheory.spec.params import Params

#: Name of the vector $c$, shape ``(rank,)``.
DIRECTION = "dcs:direction"
#: Name of the scalars $t$, shape ``(groups,)``.
SCALE = "dcs:scale"

Groups = Literal["each", "all", "parts"]


def group_index(mirror: Mirror, groups: Groups | Tensor) -> Tensor:
    """Group of every coordinate.

    Args:
        mirror: The mirror.
        groups: ``each`` coordinate its own group, ``all`` in one, the ``parts`` of a composite mirror, or the group
            numbers themselves.

    Returns:
        Integers of shape ``(rank,)``, from 0 without gaps.

    Raises:
        SymtheoryError: If the numbers do not fit the mirror.

    >>> from symtheory.spec import sign_flip
    >>> group_index(sign_flip({"w": (3,)}, ["w"]), "all")
    tensor([0, 0, 0])
    """
    if isinstance(groups, Tensor):
        numbers = groups.long()
        if tuple(groups.shape) != (mirror.rank,) or not torch.equal(
            numbers.unique(), torch.arange(int(numbers.max()) + 1)
        ):
            raise SymtheoryError(
                f"{mirror.rank} group numbers 0, 1, ... without gaps", f"{groups.tolist()}", "one number a coordinate"
            )
        return numbers
    if groups == "each":
        return torch.arange(mirror.rank)
    if groups == "all":
        return torch.zeros(mirror.rank, dtype=torch.int64)
    if groups != "parts" or not isinstance(mirror, CompositeMirror):
        raise SymtheoryError(
            "'each', 'all', or 'parts' of a CompositeMirror",
            f"{groups!r} with a {type(mirror).__name__}",
            "pass group numbers, or build a CompositeMirror",
        )
    return torch.repeat_interleave(torch.tensor([part.rank for part in mirror.parts]))


def covered_by(mirror: Mirror, params: Mapping[str, Tensor]) -> frozenset[str]:
    """Tensors that lie across a mirror as a whole: on them $P = I$.

    Args:
        mirror: The mirror.
        params: At least the tensors it touches.

    Returns:
        Their names.

    >>> from symtheory.spec import sign_flip
    >>> covered_by(sign_flip({"w": (3,), "b": (1,)}, ["w"]), {"w": torch.ones(3)})
    frozenset({'w'})
    """
    g = torch.Generator().manual_seed(0)  # a projection that keeps a generic point keeps all
    point = {k: torch.randn(shape, generator=g, dtype=torch.float64) for k, shape in mirror.shapes.items()}
    return frozenset(k for k, p in mirror.project(point).items() if k in params and torch.allclose(p, point[k]))


@dataclass(frozen=True, eq=False)
class Factoring:
    r"""The map between parameters and factored parameters.

    Attributes:
        mirror: The mirror.
        index: Group of every coordinate, from :func:`group_index`; ``None`` if each is a group of its own.
        covered: Tensors of which the factors are all that is left, see :func:`covered_by`; their own values are not
            read, only their type and device.
    """

    mirror: Mirror
    index: Tensor | None
    covered: frozenset[str] = frozenset()

    @property
    def groups(self) -> int:
        """Number of groups."""
        return self.mirror.rank if self.index is None else int(self.index.max()) + 1

    def spread(self, values: Tensor) -> Tensor:
        """One value a group, repeated for its coordinates.

        Args:
            values: Shape ``(groups,)``.

        Returns:
            Shape ``(rank,)``.
        """
        return values if self.index is None else values[self.index.to(values.device)]

    def norms(self, z: Tensor) -> Tensor:
        r"""$\|z_g\|$ of every group.

        Args:
            z: Coordinates of shape ``(rank,)``.

        Returns:
            Vector of shape ``(groups,)``.
        """
        if self.index is None:
            return z.abs()
        return torch.zeros(self.groups, dtype=z.dtype).to(z).index_add(0, self.index.to(z.device), z * z).sqrt()

    def split(self, params: Mapping[str, Tensor], imbalance: float = 0.5) -> Params:
        r"""Factors of given parameters with $t_g>0$ and $t_g^2 - \|c_g\|^2 = \delta^2$.

        Balanced factors ($\delta = 0$) have the smallest penalty, but they lie on mirrors of the factored loss: a
        group at zero has $t_g = \|c_g\| = 0$, which gradient descent never leaves, and for a group of one coordinate
        $t = \pm c$ is kept too, so that the sign of $z = tc$ can never change. A positive $\delta$ avoids both.

        Args:
            params: All parameters.
            imbalance: $\delta$.

        Returns:
            Factored parameters.
        """
        z = coordinates(self.mirror, params)
        squared = imbalance**2
        scale = ((squared + (squared**2 + 4 * self.norms(z) ** 2).sqrt()) / 2).sqrt()
        spread = self.spread(scale)
        direction = torch.where(spread > 0, z / spread.clamp(min=torch.finfo(z.dtype).tiny), z)
        free = self.free(params)
        own = {k: p.new_empty(0) if k in self.covered else free.get(k, p) for k, p in params.items()}
        return {**own, DIRECTION: direction, SCALE: scale}

    def free(self, params: Mapping[str, Tensor]) -> Params:
        r"""$(I-P)v$ on the touched tensors, where there is anything.

        Args:
            params: At least the tensors the mirror touches.

        Returns:
            The touched tensors that are not covered.
        """
        if self.covered.issuperset(self.mirror.shapes):
            return {}
        shaped = self._shaped(params)
        across = expand(self.mirror, coordinates(self.mirror, shaped), shaped)
        return {k: params[k] - across[k] for k in across if k not in self.covered}

    def _shaped(self, params: Mapping[str, Tensor]) -> Params:
        """Zeros that take no memory in place of covered tensors, for their shape, type and device."""
        zeros = {k: params[k].new_zeros(()).expand(self.mirror.shapes[k]) for k in self.covered}
        return {**params, **zeros}

    def across(self, factored: Mapping[str, Tensor]) -> Tensor:
        r"""$O^T\theta = t\cdot c$.

        Args:
            factored: Factored parameters.

        Returns:
            Vector of shape ``(rank,)``.
        """
        direction = factored[DIRECTION]
        return self.spread(factored[SCALE]).to(direction.device) * direction

    def join(self, factored: Mapping[str, Tensor]) -> Params:
        r"""$\theta = (I-P)v + O(t\cdot c)$.

        Args:
            factored: Factored parameters.

        Returns:
            All parameters, without the factors.
        """
        free = self.free(factored)
        across = expand(self.mirror, self.across(factored), self._shaped(factored))
        rest = {k: p for k, p in factored.items() if k not in (DIRECTION, SCALE)}
        return {k: free[k] + across[k] if k in free else across.get(k, p) for k, p in rest.items()}

    def penalty(self, factored: Mapping[str, Tensor]) -> Tensor:
        r"""$\|c\|^2 + \|t\|^2$.

        Args:
            factored: Factored parameters.

        Returns:
            Scalar; its smallest value for given $\theta$ is :meth:`norm` times 2.
        """
        return factored[DIRECTION].square().sum() + factored[SCALE].square().sum()

    def norm(self, params: Mapping[str, Tensor]) -> Tensor:
        r"""$\sum_g\|O_g^T\theta\|$: the $L_1$ norm of the coordinates for ``each``, $\|P\theta\|$ for ``all``.

        Args:
            params: At least the tensors the mirror touches.

        Returns:
            Scalar.
        """
        return self.norms(coordinates(self.mirror, params)).sum()


def factored_loss(loss: Loss, factoring: Factoring, alpha: float) -> Loss:
    r"""Eq. (7), corrected: $L(\theta(v, c, t)) + \alpha(\|c\|^2 + \|t\|^2)$.

    Its minima are those of $L(\theta) + 2\alpha\sum_g\|O_g^T\theta\|$.

    Args:
        loss: $L$.
        factoring: The factors.
        alpha: $\alpha$; PyTorch's ``weight_decay`` on the factors is $2\alpha$, which is also the $L_1$ strength.

    Returns:
        Loss of factored parameters.
    """

    def value(factored: Params, batch: Batch) -> Tensor:
        return loss(factoring.join(factored), batch) + alpha * factoring.penalty(factored)

    return value


def l1_strength(direction_decay: float, scale_decay: float | None = None) -> float:
    r"""The strength $2\sqrt{\alpha_c\alpha_t}$ of the equivalent $L_1$ penalty.

    By $\alpha_ca^2 + \alpha_tb^2\ge2\sqrt{\alpha_c\alpha_t}\,|ab|$. It is zero when only one factor is decayed: the
    other then grows without bound at no cost, and nothing is penalised.

    Args:
        direction_decay: $\alpha_c$, in the paper's convention (half of PyTorch's ``weight_decay``).
        scale_decay: $\alpha_t$; default the same.

    Returns:
        The strength.

    Raises:
        SymtheoryError: If a decay is negative.

    >>> l1_strength(0.5), l1_strength(0.5, 0.125), l1_strength(0.5, 0.0)
    (1.0, 0.5, 0.0)
    """
    other = direction_decay if scale_decay is None else scale_decay
    if direction_decay < 0 or other < 0:
        raise SymtheoryError("decays >= 0", f"{direction_decay}, {other}", "pass half of PyTorch's weight_decay")
    return 2 * (direction_decay * other) ** 0.5
