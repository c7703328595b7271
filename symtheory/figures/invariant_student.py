r"""Invariant two-layer nets in orthonormal coordinates: many at once, against one teacher.

A student is $f(x)=\sum_{u\in X}a_u\,s(w_u\cdot x+b_u)$ whose hidden units form a $G$-set $X$ with $w_{gu}=\rho(g)w_u$,
$b_{gu}=b_u$ and $a_{gu}=a_u$. Its parameters are the coordinates $t$ of $(W, b, a)$ in an orthonormal basis of the
equivariant functions on $X$, so that gradient descent on $t$ is gradient descent on all weights within the constrained
space. The unconstrained net is the case of the trivial group. Every tensor of coordinates has a leading dim of runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import cos, radians, sin, sqrt

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor

from symtheory.engine.arccosine import Teacher, kernel_gradient
from symtheory.errors import SymtheoryError
from symtheory.spec.groups import FiniteGroup
from symtheory.spec.gsets import GSet, coset_space, disjoint_union
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.representations import Representation, natural, trivial

#: Elementwise.
Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Weights:
    """Weights of some nets.

    Attributes:
        first: $W$, shape ``(..., units, inputs)``.
        bias: $b$, shape ``(..., units)``; zeros without a bias.
        second: $a$, shape ``(..., units)``.
    """

    first: Tensor
    bias: Tensor
    second: Tensor

    def outputs(self, x: Tensor, activation: Activation) -> Tensor:
        """$f(x)$.

        Args:
            x: Shape ``(points, inputs)`` or with leading dims.
            activation: $s$.

        Returns:
            Shape ``(..., points)``.
        """
        hidden = activation(x @ self.first.mT + self.bias[..., None, :])
        return (hidden @ self.second[..., :, None]).squeeze(-1)


@dataclass(frozen=True, eq=False)
class Student:
    """A hidden representation with its coordinates.

    Attributes:
        layer: Inputs and hidden units; the outputs are trivial, one number.
    """

    layer: HiddenLayer

    def __post_init__(self) -> None:
        rep = self.layer.rep_out
        if rep.dim != 1 or not torch.equal(rep.matrices, torch.ones_like(rep.matrices)):
            raise SymtheoryError("one invariant output", f"{rep}", "use representations.trivial(group)")

    @cached_property
    def _bases(self) -> tuple[Tensor, Tensor, Tensor]:
        """Orthonormal bases of the input weights ``(p, units, inputs)``, biases and output weights ``(k, units)``."""
        into, out = self.layer.functions(self.layer.rep_in), self.layer.functions(self.layer.rep_out)[..., 0]
        return into, out if self.layer.bias else out[:0], out

    @property
    def dims(self) -> tuple[int, int, int]:
        """Numbers of coordinates: input weights, biases, output weights."""
        into, bias, out = self._bases
        return len(into), len(bias), len(out)

    @cached_property
    def bases(self) -> Tensor:
        """Base unit of every block."""
        return torch.tensor([orbit[0] for orbit in self.layer.units.orbits])

    @cached_property
    def sizes(self) -> Tensor:
        """Units of every block."""
        return torch.tensor([len(orbit) for orbit in self.layer.units.orbits])

    def weights(self, t: Tensor) -> Weights:
        """Weights of coordinates.

        Args:
            t: Shape ``(..., sum of dims)``.

        Returns:
            The weights of all units.
        """
        into, bias, out = (b.to(t) for b in self._bases)
        one, two, three = t.split(self.dims, dim=-1)
        return Weights(torch.einsum("...p,pmn->...mn", one, into), two @ bias, three @ out)

    def coordinates(self, weights: Weights) -> Tensor:
        """Coordinates of the orthogonal projection of weights on the constrained space.

        Args:
            weights: Of all units.

        Returns:
            Shape ``(..., sum of dims)``.
        """
        into, bias, out = (b.to(weights.first) for b in self._bases)
        first = torch.einsum("...mn,pmn->...p", weights.first, into)
        return torch.cat([first, weights.bias @ bias.T, weights.second @ out.T], dim=-1)

    def start(self, runs: int, spread: float, seed: int) -> Tensor:
        r"""Normal coordinates, with output weights made positive: their sign would decide the fate of a block alone.

        Args:
            runs: Number of nets.
            spread: Standard deviation of a coordinate.
            seed: Seed; run $i$ does not depend on ``runs``.

        Returns:
            Shape ``(runs, sum of dims)``, float64.
        """
        g = torch.Generator().manual_seed(seed)
        t = spread * torch.randn(runs, sum(self.dims), generator=g, dtype=torch.float64)
        w = self.weights(t)
        return self.coordinates(Weights(w.first, w.bias, w.second.abs()))

    def exact_loss(self, t: Tensor, teacher: Weights) -> Tensor:
        r"""$\tfrac12\mathbb E(f-f^*)^2$ of ReLU nets without biases at $x\sim\mathcal N(0,I)$.

        Args:
            t: Coordinates, shape ``(..., dims)``.
            teacher: Weights without leading dims.

        Returns:
            Shape ``(...)``.
        """
        w = self.weights(t)
        return Teacher(teacher.first, teacher.second[None]).loss(w.first, w.second[..., None, :])

    def exact_gradient(self, t: Tensor, teacher: Weights) -> Tensor:
        r"""Gradient of :meth:`exact_loss`, for a teacher that is invariant under the group.

        All units of a block then have the same gradient up to the action, and only the base units' is computed.

        Args:
            t: Coordinates, shape ``(runs, dims)``.
            teacher: An invariant teacher, without leading dims.

        Returns:
            Shape ``(runs, dims)``.
        """
        w, runs = self.weights(t), len(t)
        bases, sizes = self.bases.to(t.device), self.sizes.to(t)
        units = torch.cat([w.first, teacher.first.expand(runs, -1, -1)], dim=1)
        signed = torch.cat([w.second, -teacher.second.expand(runs, -1)], dim=1)
        base = w.first[:, bases]
        slope = (signed[:, None, None, :] @ kernel_gradient(base, units)).squeeze(-2)
        felt = (slope * base).sum(-1)  # the kernel is homogeneous of degree one (Euler)
        into, _, out = (b.to(t)[:, bases] for b in self._bases)
        first = slope * (sizes * w.second[:, bases])[..., None]
        return torch.cat([first.flatten(1) @ into.flatten(1).T, (sizes * felt) @ out.T], dim=-1)

    def sampled_gradient(
        self, t: Tensor, activation: Activation, x: Tensor, y: Tensor, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        r"""Loss $\tfrac12\sum_q m_q(f(x_q)-y_q)^2$ on points, and its gradient.

        Args:
            t: Coordinates, shape ``(runs, dims)``.
            activation: $s$.
            x: Shape ``(points, inputs)`` or ``(runs, points, inputs)``.
            y: Targets.
            mass: $m$, shape ``(points,)``.

        Returns:
            Losses ``(runs,)``, gradients ``(runs, dims)``.
        """
        with torch.enable_grad():
            leaf = t.detach().requires_grad_()
            loss = ((self.weights(leaf).outputs(x, activation) - y).square() * mass).sum(-1) / 2
            (grad,) = torch.autograd.grad(loss.sum(), leaf)
        return loss.detach(), grad


def blocks(group: FiniteGroup, rep_in: Representation, *subgroups: frozenset[int], bias: bool = False) -> Student:
    """The student whose hidden units are cosets.

    Args:
        group: $G$.
        rep_in: The inputs.
        *subgroups: Stabiliser of each block.
        bias: Whether hidden units have biases.

    Returns:
        The student.
    """
    units: GSet = disjoint_union(*(coset_space(group, h) for h in subgroups))
    return Student(HiddenLayer(rep_in, units, trivial(group), bias))


def point_stabilizer(group: FiniteGroup) -> frozenset[int]:
    r"""$S_{n-1}$ in $S_n$: what fixes the last point of the natural action.

    Args:
        group: A group of permutations.

    Returns:
        The subgroup.
    """
    rep = natural(group).matrices
    return frozenset(torch.nonzero(rep[:, -1, -1] == 1).flatten().tolist())


def natural_teacher(group: FiniteGroup, degrees: float) -> Weights:
    r"""One block of point cosets with $a=1$ and $W=\cos\psi\,J/n+\sin\psi\,(I-J/n)/\sqrt{n-1}$.

    Args:
        group: $S_n$ in its natural action.
        degrees: $\psi$; the wall of coinciding units is $\psi=0$.

    Returns:
        Weights of $n$ units, in the order of ``coset_space(group, point_stabilizer(group))``.
    """
    rep = natural(group)
    n, part = rep.dim, point_stabilizer(group)
    base = torch.full((n,), cos(radians(degrees)) / n, dtype=torch.float64)
    own = torch.full((n,), -1 / n, dtype=torch.float64)
    own[-1] += 1
    base = base + sin(radians(degrees)) * own / sqrt(n - 1)
    units = coset_space(group, part)
    first = torch.empty(units.size, n, dtype=torch.float64)
    for g in range(group.order):
        first[int(units.images[g, 0])] = rep.matrices[g] @ base
    return Weights(first, torch.zeros(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64))


def regular_teacher(group: FiniteGroup, base: Tensor) -> Weights:
    r"""One unit for every element, $w_g=\rho(g)w$ of the natural representation, with $a=1$.

    Args:
        group: A group of permutations.
        base: $w$, shape ``(degree,)``.

    Returns:
        Weights of $|G|$ units.
    """
    first = natural(group).matrices @ base.double()
    return Weights(first, torch.zeros(group.order).double(), torch.ones(group.order).double())


def heights(student: Student, t: Tensor) -> Tensor:
    r"""Orthonormal coordinate $\delta$ of each block across the wall on which all its units coincide.

    Only for blocks of point cosets of $S_n$ in its natural action; 0 for others.

    Args:
        student: The student.
        t: Coordinates, shape ``(..., dims)``.

    Returns:
        Shape ``(..., blocks)``; positive on the side of the teacher of :func:`natural_teacher` with $\psi>0$.
    """
    group, rep = student.layer.group, student.layer.rep_in
    w = student.weights(t).first[..., student.bases.to(t.device), :]
    normals = torch.zeros(len(student.bases), rep.dim).to(t)
    for k, (base, size) in enumerate(zip(student.bases.tolist(), student.sizes.tolist(), strict=True)):
        part = student.layer.units.stabilizer(base)
        across = rep.reynolds(part) - rep.reynolds(frozenset(range(group.order)))
        if round(float(across.trace())) == 1:
            column = across[:, int(across.diagonal().argmax())]
            normals[k] = (column / column.norm() * sqrt(size)).to(t)
    return (w * normals).sum(-1)


def gauss_nodes(inputs: int, points: int) -> tuple[Tensor, Tensor]:
    r"""Nodes and masses of $\mathbb E_{x\sim\mathcal N(0,I)}$ for integrands that permuting the inputs leaves alone.

    One node of every orbit of the tensor grid, with the mass of the orbit.

    Args:
        inputs: Dimension.
        points: Nodes per dimension.

    Returns:
        Nodes ``(count, inputs)`` and masses that sum to 1, float64.

    >>> x, mass = gauss_nodes(3, 6)
    >>> len(x), round(float((mass * x.square().sum(1)).sum()), 12)
    (56, 3.0)
    """
    nodes, masses = hermegauss(points)
    grid = np.stack(np.meshgrid(*[np.arange(points)] * inputs, indexing="ij"), -1).reshape(-1, inputs)
    index, count = np.unique(np.sort(grid, axis=1), axis=0, return_counts=True)
    mass = (masses / masses.sum())[index].prod(axis=1) * count
    return torch.from_numpy(nodes[index]), torch.from_numpy(mass)
