r"""Units with equal inputs: a symmetry that holds only there, and what it conserves.

On the input-equal set $I = \{w\in V_{in}^{H'}\}$ of a block $G/H$ units of one class share their input weights, so the function sees only sums of
their output weights. Whether the flow stays on $I$ is decided by the *pairing*
$T(a,\nu) = |H'|^{-1}\sum_{k\in H'}\rho_{out}(k)a\otimes\rho_{in}(k)\nu$ of output weights $a\in V_{out}^H$ with directions $\nu\in V_{in}^H$ across $I$: the slope is
$\mathbb E[s'(z)\,\nabla\ell\cdot T\,x]$ summed over classes. If the pairing is zero, $I$ is invariant for all data. By Schur's lemma that needs no equality of
$V_{out}^H$ and $V_{out}^{H'}$: it is enough that the two sides generate representations of $H'$ with nothing in common. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from symtheory.spec import representations as reps
from symtheory.spec.cosets import fixed_space
from symtheory.spec.groups import Subset
from symtheory.spec.gsets import coset_space
from symtheory.spec.hidden import HiddenLayer
from symtheory.theorems.hidden_subspaces.bank import GROUPS, irreducibles
from symtheory.theorems.hidden_subspaces.barrier import Crossing, three_units
from symtheory.theorems.hidden_subspaces.problems import Problem, problem
from symtheory.theorems.instances import generator_of, normal

#: Pairings are averages of products of orthogonal matrices; zero ones round at 1e-16.
NO_PAIRING = 1e-9


def fixing(layer: HiddenLayer, subset: Subset) -> Subset:
    r"""Everything that fixes $V_{in}^{H'}$ pointwise: units that differ by it share their inputs on the set.

    Args:
        layer: A layer.
        subset: $H'$.

    Returns:
        The largest subgroup with the same fixed inputs.
    """
    fixed = layer.rep_in.reynolds(subset)
    same = (layer.rep_in.matrices @ fixed - fixed).abs().amax((1, 2)) < NO_PAIRING
    return frozenset(torch.nonzero(same).flatten().tolist())


def pairing(layer: HiddenLayer, subset: Subset) -> Tensor:
    r"""$T(a,\nu) = |H'|^{-1}\sum_{k\in H'}\rho_{out}(k)a\otimes\rho_{in}(k)\nu$ for orthonormal $a\in V_{out}^H$ and $\nu\in V_{in}^H\ominus V_{in}^{H'}$.

    Args:
        layer: A layer with one block $G/H$.
        subset: $H'\ge H$; the average is over all of :func:`fixing`.

    Returns:
        Shape ``(d_out, d_in, outputs, directions)``; zero exactly if units with equal inputs keep them, whatever the data.

    >>> float(pairing(three_units(), frozenset(range(6))).abs().max()) < 1e-12
    True
    """
    own = layer.units.stabilizer(0)
    outputs, inputs = fixed_space(layer.rep_out, own), fixed_space(layer.rep_in, own)
    left, values, _ = torch.linalg.svd(inputs - layer.rep_in.reynolds(subset) @ inputs, full_matrices=False)
    across, members = left[:, values > 0.5], sorted(fixing(layer, subset))
    there = layer.rep_out.matrices[members] @ outputs
    return torch.einsum("gia,gjn->ijan", there, layer.rep_in.matrices[members] @ across) / len(members)


def is_paired(layer: HiddenLayer, subset: Subset) -> bool:
    """Whether some output weights couple to directions across the input-equal set.

    Args:
        layer: A layer with one block.
        subset: The larger stabiliser of the inputs.

    Returns:
        The answer; if not, the input-equal set is invariant.
    """
    found = pairing(layer, subset)
    return bool(found.numel()) and float(found.abs().max()) > NO_PAIRING


def across_inputs(p: Problem, subset: Subset) -> Tensor:
    """Orthonormal directions of the input weights across the input-equal set, in constrained coordinates.

    Args:
        p: A problem with one block.
        subset: The larger stabiliser of the inputs.

    Returns:
        Shape ``(dim, k)``.
    """
    own, rep = p.layer.units.stabilizer(0), p.layer.rep_in
    inputs = fixed_space(rep, own)
    left, values, _ = torch.linalg.svd(inputs - rep.reynolds(subset) @ inputs, full_matrices=False)
    # a direction at the base unit spreads over the block as the basis functions do
    at_base = p.bases[0][:, 0] @ left[:, values > 0.5] * p.layer.units.size**0.5
    return torch.cat([at_base, torch.zeros(p.dim - len(at_base), at_base.shape[1], dtype=torch.float64)])


def drift(p: Problem, subset: Subset, seed: int, *, loss_of_units: bool = False) -> float:
    """Slope across the input-equal set at a random point of it, relative to the whole gradient.

    Args:
        p: A problem with one block.
        subset: The larger stabiliser of the inputs.
        seed: Seed of the point.
        loss_of_units: Whether to take a loss that looks at single units, for a control.

    Returns:
        The ratio.
    """
    across = across_inputs(p, subset)
    theta = normal(generator_of(seed), p.dim)
    theta = theta - across @ (across.T @ theta)
    slope = torch.func.grad(p.units_apart if loss_of_units else p.loss)(theta)
    return float((across.T @ slope).norm() / slope.norm())


def pentagon() -> HiddenLayer:
    r"""$D_5$ with the five units $D_5/C_2$; inputs: a number and a plane turned by $72°$, outputs: a number and a plane turned by $144°$.

    Returns:
        The layer: a flat of codimension two, one of input and one of output weights, and still a wall.

    >>> layer = pentagon()
    >>> [f.codim for f in layer.flats()], is_paired(layer, frozenset(range(10)))
    ([(1, 0, 1)], False)
    """
    group = GROUPS["D_5"]()
    one, _, first, second = irreducibles(group)
    units = coset_space(group, group.subgroup_classes[1][0])
    return HiddenLayer(reps.direct_sum(one, first), units, reps.direct_sum(one, second))


def silent_wall(p: Problem, subset: Subset) -> Crossing:
    """The input-equal set as a wall, if it has one direction across.

    Args:
        p: A problem with one block, without pairing.
        subset: The larger stabiliser of the inputs.

    Returns:
        Problem and normal.
    """
    return Crossing(p, across_inputs(p, subset)[:, 0])


# --- three units -------------------------------------------------------------------------------------------------------


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


def expansion_error(t: Three, seed: int) -> list[float]:
    r"""First, second and third derivative of $f$ across the wall against $0$, $\tfrac a2s''\sum u_j^2$, $\tfrac a{2\sqrt2}s'''\sum u_j^3$, $u_j = u_j\cdot x$.

    Args:
        t: Three units with trivial output.
        seed: Seed of the point on the wall.

    Returns:
        Three errors relative to the terms' own size.
    """
    p, g = t.problem, generator_of(seed)
    mu, beta, alpha = (float(v) for v in normal(g, 3))
    foot, across = t.point(mu=mu, beta=beta, alpha=alpha), t.axes["delta"]

    def along(height: Tensor) -> Tensor:
        return p.output(p.embedding @ (foot + height * across))[:, 0]

    found, zero = [], torch.zeros((), dtype=torch.float64)
    for _ in range(3):
        along = torch.func.jacfwd(along)
        found.append(along(zero))
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


# --- activations with a symmetry of their own --------------------------------------------------------------------------


def flip_error(p: Problem, seed: int) -> float:
    """Difference of the outputs at all weights and at their negatives, which an odd activation makes zero.

    Args:
        p: The problem.
        seed: Seed of the weights.

    Returns:
        The relative difference.
    """
    full = p.embedding @ normal(generator_of(seed), p.dim)
    here = p.output(full)
    return float((p.output(-full) - here).norm() / here.norm())


def balance_error(p: Problem, seed: int) -> float:
    r"""Rate of change of $|w_j|^2+b_j^2-|a_j|^2$ along the flow of all weights, unit by unit.

    Args:
        p: The problem.
        seed: Seed of the weights.

    Returns:
        The largest rate, relative to those of its parts.
    """
    full = normal(generator_of(seed), p.embedding.shape[0])
    (w, b, a), (dw, db, da) = (p.split(v) for v in (full, torch.func.grad(p.full_loss)(full)))
    into, out = (w * dw).sum(1) + b * db, (a * da).sum(1)
    return float((into - out).norm() / (into.norm() + out.norm()))


def with_relu(seed: int) -> Problem:
    """Three units with ReLU, and a target that is nowhere negative.

    Args:
        seed: Seed.

    Returns:
        The problem.
    """
    p = problem(three_units(), seed, square=True, samples=100)
    return replace(p, activation=torch.relu, targets=p.targets.abs() + 0.5)


def output_after(p: Problem, start: Tensor, rate: float = 2e-3, steps: int = 1500) -> tuple[float, float]:
    r"""Output weight of a block in small steps of descent.

    Args:
        p: A problem with one block and trivial output.
        start: Constrained parameters.
        rate: Step.
        steps: Number of steps.

    Returns:
        Smallest $\mathrm{sign}(\alpha_0)\alpha$ on the way, and $\alpha_0^2-|\tau_0|^2-\beta_0^2$.
    """
    slope, theta = torch.func.grad(p.loss), start
    sign, least = torch.sign(start[-1]), float("inf")
    for _ in range(steps):
        theta = theta - rate * slope(theta)
        least = min(least, float(sign * theta[-1]))
    return least, float(start[-1] ** 2 - (start[:-1] ** 2).sum())


def pairs(seed: int) -> Iterator[tuple[Problem, Subset]]:
    """Blocks whose inputs and outputs are sums of the trivial and another irreducible representation.

    Args:
        seed: Seed.

    Yields:
        A problem for every group that is not abelian and a larger stabiliser, half of them without pairing where that is possible.
    """
    for k, name in enumerate(("S_3", "S_4", "A_4", "D_4", "D_5", "S_3xC_2")):
        group = GROUPS[name]()
        kinds = irreducibles(group)
        options: dict[bool, list[tuple[HiddenLayer, Subset]]] = {False: [], True: []}
        for rep_in in (reps.direct_sum(kinds[0], r) for r in kinds[1:]):
            for rep_out in (reps.direct_sum(kinds[0], r) for r in kinds[1:]):
                for members in group.subgroup_classes:
                    layer = HiddenLayer(rep_in, coset_space(group, members[0]), rep_out)
                    for larger in group.subgroups:
                        own, their = layer.block_dims(members[0]), layer.block_dims(larger)
                        if members[0] < larger and own[0] > their[0] and own[2] > their[2]:
                            options[is_paired(layer, larger)].append((layer, larger))
        chosen = options[bool((seed + k) % 2)] or options[bool((seed + k + 1) % 2)]
        layer, larger = chosen[(7 * seed + k) % len(chosen)]
        yield problem(layer, seed + k), larger
