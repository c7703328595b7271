r"""Equivariant layers with a generic loss: neither the data, nor the targets, nor the loss know the group.

A point is $\theta = (T, c)$: row $x$ of $T$ is the neuron $(w_x, b_x, a_x)$ of unit $x$, $c$ is the output bias. Exchanges
of units permute rows; $g\in G$ acts by $P_g$ on rows and by $\rho_{in}\oplus1\oplus\rho_{out}$ within them. The projectors
here are averages over explicit matrices, built without any knowledge of congruences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from symtheory.spec import group_families as families
from symtheory.spec import representations as reps
from symtheory.spec.congruences import Labels, discrete, generated, principal, quotient
from symtheory.spec.cosets import coset_representation
from symtheory.spec.groups import FiniteGroup
from symtheory.spec.gsets import GSet, coset_space, disjoint_union
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.representations import Representation
from symtheory.theorems.instances import DATA, generator_of, generic_function, normal

PAPER = "Paper C"
OURS = "This book; the paper's body was not at hand"

Activation = Callable[[Tensor], Tensor]
FlatLoss = Callable[[Tensor], Tensor]

GROUPS: dict[str, FiniteGroup] = {
    "S_3": families.symmetric(3),
    "Z_2xZ_2": families.abelian(2, 2),
    "Z_4": families.cyclic(4),
    "D_4": families.dihedral(4),
    "Q_8": families.quaternion(),
    "A_4": families.alternating(4),
    "S_4": families.symmetric(4),
}
ACTIVATIONS: dict[str, Activation] = {
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
    "softplus": nn.functional.softplus,
    "silu": nn.functional.silu,
}

#: Eigenvalues of products of two projectors nearer to 1 than this are 1; for these groups the others are below 0.99.
MEET = 1e-7


@dataclass(frozen=True, eq=False)
class Setting:
    r"""A layer, an activation, and a loss of its outputs on some data.

    Attributes:
        name: Group and units.
        layer: $\rho_{in}$, the hidden units, $\rho_{out}$.
        activation: $s$.
        inputs: Shape ``(samples, n)``.
        targets: Shape ``(samples, DATA)``.
        criterion: Generic smooth loss of one output and one target.
        seed: Seed.
    """

    name: str
    layer: HiddenLayer
    activation: Activation
    inputs: Tensor
    targets: Tensor
    criterion: Callable[[Tensor, Tensor], Tensor]
    seed: int

    @cached_property
    def neuron(self) -> Representation:
        r"""$\rho_{in}\oplus1\oplus\rho_{out}$, how $G$ acts on one neuron $(w, b, a)$."""
        layer = self.layer
        bias = [reps.trivial(layer.group)] if layer.bias else []
        return reps.direct_sum(layer.rep_in, *bias, layer.rep_out)

    @property
    def size(self) -> int:
        """Number of parameters of the unconstrained network."""
        return self.layer.units.size * self.neuron.dim + self.layer.rep_out.dim

    def parts(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Input weights, hidden biases, output weights (a row for every unit), output bias.

        Args:
            theta: Flat point, shape ``(size,)``.

        Returns:
            Shapes ``(units, n)``, ``(units,)``, ``(units, k)`` and ``(k,)``.
        """
        n, k, m = self.layer.rep_in.dim, self.layer.rep_out.dim, self.layer.units.size
        rows, c = theta[:-k].view(m, self.neuron.dim), theta[-k:]
        bias = rows[:, n] if self.layer.bias else torch.zeros(m, dtype=theta.dtype)
        return rows[:, :n], bias, rows[:, -k:], c

    def outputs(self, theta: Tensor, inputs: Tensor | None = None) -> Tensor:
        r"""$f(x) = A\,s(Wx+b)+c$.

        Args:
            theta: Flat point.
            inputs: Default the setting's own.

        Returns:
            Shape ``(samples, k)``.
        """
        w, b, a, c = self.parts(theta)
        return self.activation((self.inputs if inputs is None else inputs) @ w.T + b) @ a + c

    def loss(self, theta: Tensor, batch: Sequence[int] | None = None) -> Tensor:
        """Mean loss on the data, or on some of the samples.

        Args:
            theta: Flat point.
            batch: Numbers of samples; default all.

        Returns:
            Scalar.
        """
        chosen = range(len(self.inputs)) if batch is None else batch
        found = self.outputs(theta)
        return torch.stack([self.criterion(found[i], self.targets[i]) for i in chosen]).mean()

    def side(self, g: int) -> Tensor:
        r"""$g$ acting on the neurons' own spaces, $(W\rho_{in}(g)^{-1}, b, \rho_{out}(g)A, \rho_{out}(g)c)$.

        Args:
            g: Element.

        Returns:
            Orthogonal matrix of shape ``(size, size)``.
        """
        one = torch.eye(self.layer.units.size, dtype=torch.float64)
        return torch.block_diag(torch.kron(one, self.neuron.matrices[g]), self.layer.rep_out.matrices[g])

    def exchange(self, images: Sequence[int]) -> Tensor:
        """Units exchanged: unit $x$ becomes unit ``images[x]``.

        Args:
            images: A permutation.

        Returns:
            Orthogonal matrix of shape ``(size, size)``.
        """
        permutation = torch.eye(len(images), dtype=torch.float64)[:, list(images)]
        one = torch.eye(self.neuron.dim, dtype=torch.float64)
        return torch.block_diag(torch.kron(permutation, one), torch.eye(self.layer.rep_out.dim, dtype=torch.float64))

    def graph(self, g: int) -> Tensor:
        r"""$(P_g, g)$: an element of the group whose fixed space is the constrained space.

        Args:
            g: Element.

        Returns:
            Orthogonal matrix of shape ``(size, size)``.
        """
        return self.exchange(self.layer.units.images[g].tolist()) @ self.side(g)

    @cached_property
    def constrained(self) -> Tensor:
        r"""Projector on the constrained space $\Theta_P$, an average over the group."""
        return torch.stack([self.graph(g) for g in range(self.layer.group.order)]).mean(dim=0)

    def coincident(self, labels: Labels) -> Tensor:
        """Projector on the points where units with one label are equal, an average over their exchanges.

        Args:
            labels: A label for every unit; any relation.

        Returns:
            Shape ``(size, size)``.
        """
        same = torch.tensor([[float(a == b) for a in labels] for b in labels], dtype=torch.float64)
        one = torch.eye(self.neuron.dim, dtype=torch.float64)
        return torch.block_diag(
            torch.kron(same / same.sum(1, keepdim=True), one), torch.eye(self.layer.rep_out.dim, dtype=torch.float64)
        )

    def flat(self, labels: Labels) -> Tensor:
        r"""Projector on $\mathrm{Fix}(K)\cap\Theta_P$, for $K$ all exchanges of units with one label.

        Args:
            labels: A label for every unit; any relation.

        Returns:
            Shape ``(size, size)``.
        """
        return meet(self.constrained, self.coincident(labels))


def reduced(s: Setting, theta: Tensor, labels: Labels) -> tuple[Setting, Tensor]:
    r"""The network with one unit for every class, with its input weights and bias and the sum of its output weights.

    Args:
        s: The setting.
        theta: A point at which units of one class share input weights and bias; if not, those of the first are taken.
        labels: A congruence of the units.

    Returns:
        The smaller setting, with the same data and loss, and the point in it.
    """
    names = sorted(set(labels))
    w, b, a, c = s.parts(theta)
    sums = torch.stack([a[[i for i, label in enumerate(labels) if label == name]].sum(0) for name in names])
    rows = torch.cat([w[names], *([b[names, None]] if s.layer.bias else []), sums], dim=1)
    layer = replace(s.layer, units=quotient(s.layer.units, labels))
    return replace(s, layer=layer, name=f"{s.name}, reduced"), torch.cat([rows.flatten(), c])


def meet(first: Tensor, second: Tensor) -> Tensor:
    """Projector on the intersection of the ranges of two orthogonal projectors.

    Args:
        first: Shape ``(d, d)``.
        second: Shape ``(d, d)``.

    Returns:
        Shape ``(d, d)``.
    """
    values, vectors = torch.linalg.eigh(first @ second @ first)
    kept = vectors[:, values > 1 - MEET]
    return kept @ kept.T


def orbits_of(size: int, permutations: Sequence[Sequence[int]]) -> Labels:
    """The smallest point of every point's orbit under a group of permutations.

    Args:
        size: Number of points.
        permutations: Generators.

    Returns:
        Labels.
    """
    points = GSet(families.cyclic(1), np.arange(size)[None])  # no action, so nothing has to be respected
    return generated(points, [(i, int(p[i])) for p in permutations for i in range(size)])


def random_exchanges(units: GSet, generator: torch.Generator) -> list[list[int]]:
    """Generators of a random group of exchanges: of any units, or only of units in one class of a congruence.

    Args:
        units: The units, at least two.
        generator: Source of randomness.

    Returns:
        One or two permutations; most do not commute with the action.
    """
    pools: list[Labels] = [(0,) * units.size]
    pools += principal(units)
    labels = pools[draw(len(pools), generator)] if draw(2, generator) else pools[0]
    found = []
    for _ in range(1 + draw(2, generator)):
        images = list(range(units.size))
        i = draw(units.size, generator)
        mates = [j for j in range(units.size) if labels[j] == labels[i] and j != i]
        for j in (mates[draw(len(mates), generator)] for _ in range(1 + draw(2, generator)) if mates):
            images[i], images[j] = images[j], images[i]
        found.append(images)
    return found


def draw(high: int, generator: torch.Generator) -> int:
    """A uniform number below a bound.

    Args:
        high: The bound.
        generator: Source of randomness.

    Returns:
        The number.
    """
    return int(torch.randint(high, (), generator=generator))


def random_ends(group: FiniteGroup, generator: torch.Generator, most: int = 4) -> tuple[Representation, Representation]:
    """Random inputs and outputs: sums of actions on cosets, in half of the cases in a random orthonormal basis.

    Args:
        group: The group.
        generator: Source of randomness.
        most: Largest dimension of a summand, but at least one faithful action has to fit.

    Returns:
        Inputs, on which not everything acts trivially, and outputs.
    """
    small = [h[0] for h in group.subgroup_classes if group.order // len(h[0]) <= most] or [
        frozenset(range(group.order))
    ]
    plain = reps.regular(group) if group.action is None else reps.natural(group)
    into = [plain, reps.direct_sum(plain, coset_representation(group, small[draw(len(small), generator)]))]
    out = [reps.trivial(group), coset_representation(group, small[draw(len(small), generator)]), plain]

    def turned(rep: Representation) -> Representation:
        return reps.random_equivalent(rep, generator, 0.0) if draw(2, generator) else rep

    return turned(into[draw(2, generator)]), turned(out[draw(3, generator)])


def random_units(group: FiniteGroup, generator: torch.Generator, most: int = 12, blocks: int = 3) -> GSet:
    """One to three random orbits, at least two units.

    Args:
        group: The group.
        generator: Source of randomness.
        most: Largest number of units.
        blocks: Largest number of orbits.

    Returns:
        The units.
    """
    sets = [coset_space(group, h[0]) for h in group.subgroup_classes if group.order // len(h[0]) <= most]
    while True:
        parts = [sets[draw(len(sets), generator)] for _ in range(1 + draw(blocks, generator))]
        if 2 <= sum(s.size for s in parts) <= most:
            return disjoint_union(*parts)


def on_data(layer: HiddenLayer, seed: int, activation: str | None = None, samples: int = 5) -> Setting:
    """A layer with random data and a random loss, none of which knows the group.

    Args:
        layer: The layer.
        seed: Seed.
        activation: A name in ``ACTIVATIONS``; random if not given.
        samples: Number of data points.

    Returns:
        The setting.
    """
    g = generator_of(seed + 1)
    name = sorted(ACTIVATIONS)[draw(len(ACTIVATIONS), g)] if activation is None else activation
    return Setting(
        f"{layer.units} ({name})",
        layer,
        ACTIVATIONS[name],
        normal(g, samples, layer.rep_in.dim),
        normal(g, samples, DATA),
        generic_function(layer.rep_out.dim, g),
        seed,
    )


def differs(layer: HiddenLayer) -> bool:
    """Whether some units of a layer are not always equal, so that there are hidden subspaces.

    Args:
        layer: The layer.

    Returns:
        The answer.
    """
    whole = layer.closure(discrete(layer.units))
    return any(layer.closure(pair) != whole for pair in principal(layer.units))


def setting(kind: str, seed: int, most: int = 10) -> Setting:
    """A random layer of a group with random data and loss, in which some units can differ.

    Args:
        kind: A name in ``GROUPS``.
        seed: Seed.
        most: Largest number of units.

    Returns:
        The setting.
    """
    g, group = generator_of(seed), GROUPS[kind]
    while True:
        rep_in, rep_out = random_ends(group, g)
        layer = HiddenLayer(rep_in, random_units(group, g, most), rep_out, bias=bool(draw(2, g)))
        if differs(layer):
            return on_data(layer, seed)


def settings(seed: int) -> list[Setting]:
    """One setting for every group.

    Args:
        seed: Seed.

    Returns:
        The settings.
    """
    return [setting(kind, seed) for kind in GROUPS]


def three(seed: int, output: str = "trivial", activation: str | None = None, bias: bool = True) -> Setting:
    r"""$S_3$ on three inputs and three units, the smallest layer with a hidden subspace.

    Args:
        seed: Seed of data and loss.
        output: ``trivial`` or ``natural``.
        activation: A name in ``ACTIVATIONS``; random if not given.
        bias: Whether the units have a bias.

    Returns:
        The setting.
    """
    group = GROUPS["S_3"]
    pi3 = reps.natural(group)
    out = reps.trivial(group) if output == "trivial" else pi3
    return on_data(HiddenLayer(pi3, coset_space(group, group.subgroup_classes[1][0]), out, bias), seed, activation)
