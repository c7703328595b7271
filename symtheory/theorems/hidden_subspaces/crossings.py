r"""Problems with a wall, and what is measured at it: slope across, height along the flow and in steps, the best of each side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from torch import Tensor

from symtheory.spec.hidden import HiddenLayer
from symtheory.theorems.hidden_subspaces.bank import GROUPS, blocks, ends, walled
from symtheory.theorems.hidden_subspaces.problems import SMOOTH, Problem, problem
from symtheory.theorems.instances import generator_of, normal

#: Rounding of a gradient over some tens of units and data.
SLOPE_TOLERANCE = 1e-11
#: Local error of the integrator, 1e-10 a step, over some tens of steps, and of eight Gauss nodes on a smooth curvature.
FLOW_TOLERANCE = 1e-6

FlatLoss = Callable[[Tensor], Tensor]
NODES, WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(8))


@dataclass(frozen=True, eq=False)
class Crossing:
    r"""A problem with one of its walls.

    Attributes:
        problem: The problem.
        normal: $\nu$, unit vector across the wall in constrained coordinates.
    """

    problem: Problem
    normal: Tensor

    def height(self, theta: Tensor) -> Tensor:
        r"""$\delta = \nu\cdot\theta$.

        Args:
            theta: Shape ``(..., dim)``.

        Returns:
            Shape ``(...)``.
        """
        return theta @ self.normal

    def foot(self, theta: Tensor) -> Tensor:
        """Nearest point of the wall.

        Args:
            theta: Shape ``(..., dim)``.

        Returns:
            The same shape.
        """
        return theta - self.height(theta)[..., None] * self.normal

    def curvatures(self, theta: Tensor, where: Tensor, loss: FlatLoss | None = None) -> Tensor:
        r"""$\partial^2_\delta L$ between a point and its foot.

        Args:
            theta: Shape ``(dim,)``.
            where: Numbers from 0, the foot, to 1, the point; shape ``(k,)``.
            loss: Another loss, for controls.

        Returns:
            Shape ``(k,)``.
        """
        plain = self.problem.loss if loss is None else loss
        foot, height = self.foot(theta), self.height(theta)

        def bend(r: Tensor) -> Tensor:
            return torch.func.grad(torch.func.grad(lambda d: plain(foot + d * self.normal)))(r * height)

        return torch.func.vmap(bend)(where)

    def mean_curvature(self, theta: Tensor, loss: FlatLoss | None = None) -> Tensor:
        r"""$M = \int_0^1\partial^2_\delta L\,dr$ between a point and its foot, by eight Gauss nodes.

        Args:
            theta: Shape ``(dim,)``.
            loss: Another loss, for controls.

        Returns:
            A scalar.
        """
        return self.curvatures(theta, (NODES + 1) / 2, loss) @ (WEIGHTS / 2)


def crossing(p: Problem, number: int = 0) -> Crossing:
    """A problem with one of its walls.

    Args:
        p: The problem.
        number: Of the wall.

    Returns:
        The pair.
    """
    return Crossing(p, p.normals(p.walls[number].labels)[:, 0])


def three_units(output: str = "trivial", bias: bool = True) -> HiddenLayer:
    r"""$S_3$ on three inputs and the three units $S_3/S_2$: the smallest layer with a hidden wall.

    Args:
        output: ``trivial``, or ``natural``, which makes the flat of codimension two.
        bias: Whether the units have a bias.

    Returns:
        The layer.
    """
    group = GROUPS["S_3"]()
    rep_in, rep_out = ends(group)[f"natural, {output}"]
    return replace(list(blocks(group, rep_in, rep_out))[1], bias=bias)


def slope_on_wall(c: Crossing, seed: int, loss: FlatLoss | None = None) -> float:
    """Slope across the wall at a random point of it, relative to the whole gradient.

    Args:
        c: Problem and wall.
        seed: Seed of the point.
        loss: Another loss, for controls.

    Returns:
        The ratio.
    """
    point = c.foot(normal(generator_of(seed), c.problem.dim))
    slope = torch.func.grad(c.problem.loss if loss is None else loss)(point)
    return float(c.height(slope).abs() / slope.norm())


def flow_error(c: Crossing, seed: int, loss: FlatLoss | None = None, time: float = 1.0) -> float:
    r"""$\delta(T)$ along the gradient flow against $\delta(0)\exp(-\int_0^TM\,dt)$, which is never zero.

    Args:
        c: Problem and wall.
        seed: Seed of the start.
        loss: Another loss, for controls.
        time: $T$.

    Returns:
        The relative error.
    """
    slope = torch.func.grad(c.problem.loss if loss is None else loss)
    start = 0.7 * normal(generator_of(seed), c.problem.dim)

    def field(_: float, state: np.ndarray) -> np.ndarray:
        theta = torch.from_numpy(state[:-1].copy())
        return np.append(-slope(theta).numpy(), -float(c.mean_curvature(theta, loss)))

    end = solve_ivp(field, (0, time), np.append(start.numpy(), 0.0), method="DOP853", rtol=1e-8, atol=1e-10)
    end = end.y[:, -1]
    # measured over the size of the start, so that a flow that reaches the wall is no small error
    predicted = float(c.height(start)) * np.exp(end[-1])
    return abs(float(c.height(torch.from_numpy(end[:-1].copy()))) - predicted) / max(abs(predicted), 1e-3)


def descent_crossings(c: Crossing, seed: int, factor: float = 0.95, starts: int = 12) -> int:
    r"""Changes of side in steps of descent with $\eta\sup\partial^2_\delta L = $ ``factor`` over the segment to the wall.

    Args:
        c: Problem and wall.
        seed: Seed of the starts.
        factor: The product; where the supremum is not positive, any step is allowed and $\eta = 1$ is taken.
        starts: Number of starts.

    Returns:
        Number of changes.
    """
    theta = normal(generator_of(seed), starts, c.problem.dim)
    dense = torch.linspace(0, 1, 33, dtype=torch.float64)
    top = torch.func.vmap(lambda v: c.curvatures(v, dense))(theta).max(dim=1).values
    rate = torch.where(top > 0, factor / top, 1.0)
    following = theta - rate[:, None] * torch.func.vmap(torch.func.grad(c.problem.loss))(theta)
    return int((c.height(following) * c.height(theta) <= 0).sum())


def walled_problem(name: str, seed: int) -> Crossing:
    """A random block with a wall, with random data and a random activation.

    Args:
        name: A name in ``GROUPS`` of a group that has one.
        seed: Seed.

    Returns:
        Problem and wall.
    """
    layers, g = walled(name), generator_of(seed)
    pick = [int(i) for i in torch.randint(1 << 20, (3,), generator=g)]
    p = problem(layers[pick[0] % len(layers)], seed, activation=sorted(SMOOTH)[pick[1] % len(SMOOTH)])
    return crossing(p, pick[2] % len(p.walls))


def best_on_side(c: Crossing, sign: float, decay: float = 0.0, starts: int = 4) -> tuple[float, Tensor]:
    r"""Lowest loss with $\mathrm{sign}\cdot\delta\ge0$ that bounded quasi-Newton descent finds from several starts.

    Args:
        c: Problem and wall.
        sign: $\pm1$.
        decay: Coefficient of $\tfrac12|\theta|^2$.
        starts: Number of starts.

    Returns:
        The loss and where it is.
    """
    p = c.problem
    frame = torch.linalg.qr(torch.cat([c.normal[:, None], torch.eye(p.dim, dtype=torch.float64)], dim=1)).Q
    frame = frame * torch.cat([torch.sign(frame[:, 0] @ c.normal)[None] * sign, torch.ones(p.dim - 1).double()])

    def value(z: Tensor) -> Tensor:
        return p.loss(frame @ z) + decay / 2 * z @ z

    def both(v: np.ndarray) -> tuple[float, np.ndarray]:
        z = torch.tensor(v, requires_grad=True)
        height = value(z)
        (slope,) = torch.autograd.grad(height, z)
        return float(height.detach()), slope.numpy()

    best, where = float("inf"), torch.zeros(p.dim, dtype=torch.float64)
    for k in range(starts):
        z = normal(generator_of(p.seed + k), p.dim)
        z[0] = z[0].abs()
        found = minimize(
            both,
            z.numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, None)] + [(None, None)] * (p.dim - 1),
            options={"maxiter": 600, "ftol": 1e-15, "gtol": 1e-9},
        )
        if found.fun < best:
            best, where = float(found.fun), frame @ torch.from_numpy(found.x)
    return best, where
