r"""Random training problems for one equivariant hidden layer, in orthonormal coordinates of the constrained space.

The layer computes $f(x) = \sum_ja_j\,s(w_j\cdot x+b_j)$ over its units $j$, and the weights are equivariant functions on
the units: $W = \sum_it_i\beta_i$ with an orthonormal basis $\beta$, and the same for biases and outputs. The loss
$L(\theta) = \mathbb E\,\ell(f_\theta(x), y)$ is an average over random data that know nothing of the group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from symtheory.spec import representations as reps
from symtheory.spec.congruences import Labels
from symtheory.spec.hidden import Flat, HiddenLayer
from symtheory.spec.intertwiners import functions
from symtheory.theorems.instances import generator_of, normal

Activation = Callable[[Tensor], Tensor]

#: Smooth activations, none of them odd.
SMOOTH: dict[str, Activation] = {
    "gelu": torch.nn.functional.gelu,
    "softplus": torch.nn.functional.softplus,
    "silu": torch.nn.functional.silu,
    "generic": lambda z: torch.sin(1.3 * z + 0.4) + 0.3 * torch.cosh(0.4 * z),
}


@dataclass(frozen=True, eq=False)
class Problem:
    r"""A layer, an activation and data.

    Attributes:
        name: For messages.
        layer: The layer.
        activation: $s$.
        inputs: Data $x$, shape ``(n, d_in)``.
        targets: Data $y$, shape ``(n, d_out)``.
        tilt: $\ell(f, y) = \tfrac12|f-y|^2+\mathrm{tilt}\cdot\sin f$: at zero the squared error, else a loss that no group leaves unchanged.
        seed: Seed.
        decay: Coefficient of $\tfrac12|\theta|^2$, over all weights.
    """

    name: str
    layer: HiddenLayer
    activation: Activation
    inputs: Tensor
    targets: Tensor
    tilt: Tensor
    seed: int
    decay: float = 0.0

    def __post_init__(self) -> None:
        # made here, not inside a transform of autograd, whose wrappers would stay in the cache
        _ = self.embedding, self._pull

    @cached_property
    def bases(self) -> tuple[Tensor, Tensor, Tensor]:
        """Orthonormal equivariant functions: input weights, biases, output weights; shapes ``(k, units, dim)``."""
        units = self.layer.units
        bias = functions(units, reps.trivial(units.group))
        return (
            functions(units, self.layer.rep_in),
            bias if self.layer.bias else bias[:0],
            functions(units, self.layer.rep_out),
        )

    @property
    def dims(self) -> tuple[int, int, int]:
        """Constrained parameters: input weights, biases, output weights."""
        one, bias, two = (len(b) for b in self.bases)
        return one, bias, two

    @property
    def dim(self) -> int:
        """Constrained parameters."""
        return sum(self.dims)

    @cached_property
    def embedding(self) -> Tensor:
        """Orthonormal basis of the constrained space among all weights $(W, b, A)$; shape ``(full, dim)``."""
        return torch.block_diag(*(b.flatten(1).T for b in self.bases))

    def split(self, full: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Weights of all units from one vector.

        Args:
            full: Vector of shape ``(full,)``.

        Returns:
            $W$ of shape ``(units, d_in)``, $b$ of shape ``(units,)``, outputs $a_j$ of shape ``(units, d_out)``.
        """
        m, n, k = self.layer.units.size, self.layer.rep_in.dim, self.layer.rep_out.dim
        w, b, a = full.split([m * n, m, m * k])
        return w.reshape(m, n), b, a.reshape(m, k)

    def output(self, full: Tensor, inputs: Tensor | None = None) -> Tensor:
        """The function of the net.

        Args:
            full: All weights.
            inputs: Data; default the problem's own.

        Returns:
            Shape ``(n, d_out)``.
        """
        w, b, a = self.split(full)
        return self.activation((self.inputs if inputs is None else inputs) @ w.T + b) @ a

    def full_loss(self, full: Tensor) -> Tensor:
        """Loss of any weights, constrained or not.

        Args:
            full: All weights.

        Returns:
            A scalar.
        """
        f = self.output(full)
        return (0.5 * (f - self.targets) ** 2 + self.tilt * torch.sin(f)).sum(1).mean() + self.decay / 2 * full @ full

    def loss(self, theta: Tensor) -> Tensor:
        """Loss in constrained coordinates.

        Args:
            theta: Vector of shape ``(dim,)``.

        Returns:
            A scalar.
        """
        return self.full_loss(self.embedding @ theta)

    def units_apart(self, theta: Tensor) -> Tensor:
        """A loss that looks at single units: the first is pulled to some weights of its own, the others are not.

        Args:
            theta: Vector of shape ``(dim,)``.

        Returns:
            A scalar.
        """
        w, _, _ = self.split(self.embedding @ theta)
        return self.loss(theta) + 0.5 * ((w[0] - self._pull) ** 2).sum()

    @cached_property
    def _pull(self) -> Tensor:
        return normal(generator_of(self.seed + 2), self.layer.rep_in.dim)

    def along(self, labels: Labels) -> Tensor:
        """Orthonormal basis of a flat, in constrained coordinates.

        Args:
            labels: Its congruence.

        Returns:
            Shape ``(dim, k)``.
        """
        layer = self.layer
        parts = [
            layer.functions(layer.rep_in, labels),
            layer.functions(reps.trivial(layer.group), labels)[: None if layer.bias else 0],
            layer.functions(layer.rep_out, labels),
        ]
        return self.embedding.T @ torch.block_diag(*(p.flatten(1).T for p in parts))

    def normals(self, labels: Labels) -> Tensor:
        """Orthonormal basis of the directions across a flat, in constrained coordinates.

        Args:
            labels: Its congruence.

        Returns:
            Shape ``(dim, codim)``.
        """
        basis = self.along(labels)
        left, values, _ = torch.linalg.svd(torch.eye(self.dim, dtype=torch.float64) - basis @ basis.T)
        return left[:, values > 0.5]

    @cached_property
    def walls(self) -> tuple[Flat, ...]:
        """Flats of one dimension of input weights less."""
        return tuple(f for f in self.layer.flats() if f.is_wall)


def problem(
    layer: HiddenLayer, seed: int, *, activation: str = "gelu", samples: int = 40, square: bool = False
) -> Problem:
    """Random data for a layer; inputs have a mean and a covariance that no group element leaves unchanged.

    Args:
        layer: The layer.
        seed: Seed.
        activation: Name in ``SMOOTH``.
        samples: Number of data.
        square: Whether to use the squared error alone.

    Returns:
        The problem.
    """
    g = generator_of(seed)
    n, k = layer.rep_in.dim, layer.rep_out.dim
    inputs = normal(g, samples, n) @ (torch.eye(n, dtype=torch.float64) + 0.4 * normal(g, n, n)) + 0.5 * normal(g, n)
    targets, tilt = normal(g, samples, k), 0.5 * normal(g, k)
    return Problem(
        f"{layer.units}, {layer.rep_in.dim} -> {k}, {activation}",
        layer,
        SMOOTH[activation],
        inputs,
        targets,
        torch.zeros_like(tilt) if square else tilt,
        seed,
    )


def taught(p: Problem, teacher: Problem, theta: Tensor, noise: float = 0.0) -> Problem:
    """The problem with another net's outputs as targets, and the squared error.

    Args:
        p: The problem.
        teacher: Layer and activation of the net.
        theta: Its constrained parameters.
        noise: Standard deviation of noise on the targets.

    Returns:
        The problem.
    """
    targets = teacher.output(teacher.embedding @ theta, p.inputs)
    targets = targets + noise * normal(generator_of(p.seed + 1), *targets.shape)
    return replace(p, targets=targets, tilt=torch.zeros_like(p.tilt))


def averaged_over_group(p: Problem) -> Problem:
    r"""Data closed under the group: every $(x, y)$ with all $(\rho_{in}(g)x, \rho_{out}(g)y)$, and the squared error.

    Args:
        p: The problem.

    Returns:
        A problem whose loss of all weights is invariant under the group.
    """
    x = torch.einsum("gij,nj->gni", p.layer.rep_in.matrices, p.inputs).flatten(0, 1)
    y = torch.einsum("gij,nj->gni", p.layer.rep_out.matrices, p.targets).flatten(0, 1)
    return replace(p, inputs=x, targets=y, tilt=torch.zeros_like(p.tilt))
