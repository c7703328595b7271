r"""The three units of $S_3$ near their wall: the first terms that differ, and the saddle when outputs are as rich as inputs.

In orthonormal coordinates $W = \mu J/3+\delta(I-J/3)/\sqrt2$, $A = \alpha J/3+\varepsilon(I-J/3)/\sqrt2$, with $u_j = e_j-e/3$, $x = \tfrac13(e\cdot x)e+x_\perp$ and
$z = \tfrac\mu3e\cdot x+b$. With trivial output $f = 3as(z)+\tfrac{\delta^2}4as^{(2)}(z)|x_\perp|^2+\tfrac{\delta^3}{12\sqrt2}as^{(3)}(z)\sum_j(u_j\cdot x)^3+O(\delta^4)$: the sides
differ first in the cubic term. With natural output the normal Hessian at a reduced point is $\begin{pmatrix}h&c\\c&0\end{pmatrix}$. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from symtheory.theorems.hidden_subspaces.problems import Problem
from symtheory.theorems.instances import generator_of, normal


@dataclass(frozen=True, eq=False)
class Three:
    r"""The units $S_3/S_2$ in coordinates $W = \mu J/3+\delta(I-J/3)/\sqrt2$, $A = \alpha J/3+\varepsilon(I-J/3)/\sqrt2$.

    Attributes:
        problem: A problem on :func:`three_units`.
    """

    problem: Problem

    @property
    def axes(self) -> dict[str, Tensor]:
        r"""Unit vectors of $\mu,\delta,\beta,\alpha$ and, for outputs as rich as inputs, $\varepsilon$; the rows of $\delta$ are $u_j/\sqrt2$."""
        p = self.problem
        into, bias, out = p.bases
        mean = torch.full((3, 3), 1 / 3, dtype=torch.float64)
        # unit j stands for the input that its stabiliser fixes
        kept = [p.layer.rep_in.reynolds(p.layer.units.stabilizer(j)).diagonal() for j in range(3)]
        split = ((torch.stack(kept) > 0.75).double() - mean) / 2**0.5
        found = {"mu": (0, mean), "delta": (0, split), "beta": (1, torch.full((3, 1), 3**-0.5, dtype=torch.float64))}
        if p.layer.rep_out.dim == 3:
            found |= {"alpha": (2, mean), "epsilon": (2, split)}
        else:
            found["alpha"] = (2, torch.full((3, 1), 3**-0.5, dtype=torch.float64))
        axes = {}
        for name, (part, pattern) in found.items():
            pieces = [
                (b.flatten(1) @ pattern.flatten()) if i == part else torch.zeros(len(b), dtype=torch.float64)
                for i, b in enumerate((into, bias, out))
            ]
            axes[name] = torch.cat(pieces)
        return axes

    def point(self, **values: float) -> Tensor:
        """Constrained parameters with given coordinates.

        Args:
            **values: Coordinates by name; those not given are zero.

        Returns:
            Shape ``(dim,)``.
        """
        axes = self.axes
        return sum((v * axes[name] for name, v in values.items()), start=torch.zeros(self.problem.dim).double())

    @property
    def flat_inputs(self) -> Tensor:
        r"""$x_\perp = x-\tfrac13(e\cdot x)e$, with entries $u_j\cdot x$; shape ``(n, 3)``."""
        return self.problem.inputs - self.problem.inputs.mean(dim=1, keepdim=True)

    def activation_slopes(self, z: Tensor) -> list[Tensor]:
        r"""$s, s', s'', s'''$ at the given places.

        Args:
            z: Shape ``(n,)``.

        Returns:
            Four tensors of shape ``(n,)``.
        """
        s, found = self.problem.activation, []
        for _ in range(4):
            found.append(torch.func.vmap(s)(z))
            s = torch.func.grad(s)
        return found


def expansion_error(t: Three, seed: int, height: float = 0.0) -> list[float]:
    r"""First, second and third derivative of $f$ across the wall against $0$, $\tfrac a2s''\sum u_j^2$, $\tfrac a{2\sqrt2}s'''\sum u_j^3$, $u_j = u_j\cdot x$.

    Args:
        t: Three units with trivial output.
        seed: Seed of the point on the wall.
        height: Height over the wall of the derivatives' place; other than 0 for a control.

    Returns:
        Three errors relative to the terms' own size.
    """
    p, g = t.problem, generator_of(seed)
    mu, beta, alpha = (float(v) for v in normal(g, 3))
    foot, across = t.point(mu=mu, beta=beta, alpha=alpha), t.axes["delta"]

    def along(height: Tensor) -> Tensor:
        return p.output(p.embedding @ (foot + height * across))[:, 0]

    found, place = [], torch.tensor(height, dtype=torch.float64)
    for _ in range(3):
        along = torch.func.jacfwd(along)
        found.append(along(place))
    z = mu / 3 * p.inputs.sum(1) + beta / 3**0.5
    a, flat = alpha / 3**0.5, t.flat_inputs
    _, first, second, third = t.activation_slopes(z)
    wanted = [
        0 * first,
        a / 2 * second * (flat**2).sum(1),
        a / (2 * 2**0.5) * third * (flat**3).sum(1),
    ]
    sizes = [(a * first * flat.norm(dim=1)).norm(), wanted[1].norm(), wanted[2].norm()]
    return [float((f - w).norm() / s) for f, w, s in zip(found, wanted, sizes, strict=True)]


def saddle_error(t: Three, seed: int, *, split: float = 0.0, height: float = 0.0) -> tuple[float, float]:
    r"""The normal Hessian against $\begin{pmatrix}h&c\\c&0\end{pmatrix}$, and the velocity across $I$ against $-c\varepsilon$.

    With $r = \nabla_f\ell$: $c = \tfrac12\mathbb E[s'(z)\,r\cdot x_\perp]$ and $h = \tfrac\alpha6\mathbb E[(r\cdot e)s''(z)|x_\perp|^2]$.

    Args:
        t: Three units with natural output.
        seed: Seed of the reduced point.
        split: $\varepsilon$ of the point at which the Hessian is taken; other than 0 for a control.
        height: $\delta$ of both points; other than 0 for a control.

    Returns:
        Two relative errors.
    """
    p, g, axes = t.problem, generator_of(seed), t.axes
    mu, beta, alpha = (float(v) for v in normal(g, 3))
    base = t.point(mu=mu, beta=beta, alpha=alpha, delta=height)
    normals = torch.stack([axes["delta"], axes["epsilon"]])
    hessian = torch.func.hessian(p.loss)(base + split * axes["epsilon"])
    z = mu / 3 * p.inputs.sum(1) + beta / 3**0.5
    s, first, second, _ = t.activation_slopes(z)
    outputs = alpha * s[:, None] * torch.ones(1, 3, dtype=torch.float64)  # three units with a_j = alpha e / 3
    residual = outputs - p.targets + p.tilt * torch.cos(outputs)
    flat = t.flat_inputs
    c = 0.5 * (first * (residual * flat).sum(1)).mean()
    h = alpha / 6 * (residual.sum(1) * second * (flat**2).sum(1)).mean()
    wanted = torch.stack([torch.stack([h, c]), torch.stack([c, 0 * c])])
    found = normals @ hessian @ normals.T
    speeds = []
    for epsilon in (0.3, -2.0):
        slope = torch.func.grad(p.loss)(base + epsilon * axes["epsilon"])
        speeds.append(float((slope @ axes["delta"] - c * epsilon).abs() / (c * epsilon).abs()))
    return float((found - wanted).norm() / wanted.norm()), max(speeds)
