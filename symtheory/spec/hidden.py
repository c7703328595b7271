r"""Hidden fixed-point subspaces of an equivariant layer: the flats on which hidden units coincide.

A hidden layer $f(x) = A\,s(Wx+b)+c$ whose units form a $G$-set $X$ is equivariant when $(w, b, a)$ is an equivariant
function on $X$: $w_{gx} = \rho_{in}(g)w_x$, $b_{gx} = b_x$, $a_{gx} = \rho_{out}(g)a_x$. On an orbit $G/H$ that is a
vector of $V_{in}^H\oplus\mathbb R\oplus V_{out}^H$. Exchanging hidden units is a symmetry of the loss whether or not it
respects the constraint; what it leaves fixed within the constrained space are the functions that are constant on the
classes of a congruence of $X$. Constrained gradient descent never leaves such a flat. Source: paper C; the enumeration
is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec.congruences import LIMIT, Labels, congruences, discrete, generated, quotient
from symtheory.spec.groups import FiniteGroup, Subset
from symtheory.spec.gsets import GSet
from symtheory.spec.intertwiners import functions
from symtheory.spec.representations import Representation, trivial

#: How exactly a matrix has to fix a space.
FIXED = 1e-9


@dataclass(frozen=True)
class Flat:
    """A hidden fixed-point subspace.

    Attributes:
        labels: The units that coincide on it, as the largest congruence with this flat.
        stabilizers: Of every orbit of the quotient, the stabiliser of its first class.
        dim_in: Dimension of the input weights.
        dim_bias: Dimension of the hidden biases.
        dim_out: Dimension of the output weights.
        codim: Dimensions that the whole constrained space has more: input weights, biases, output weights.
        visible: The fixed space of symmetries that preserve the constrained space, not merely of the loss.
    """

    labels: Labels
    stabilizers: tuple[Subset, ...]
    dim_in: int
    dim_bias: int
    dim_out: int
    codim: tuple[int, int, int]
    visible: bool

    @property
    def dim(self) -> int:
        """Its dimension, without the output bias."""
        return self.dim_in + self.dim_bias + self.dim_out

    @property
    def is_wall(self) -> bool:
        """Whether it separates the constrained space, by one dimension of input weights."""
        return self.codim == (1, 0, 0)


@dataclass(frozen=True, eq=False)
class HiddenLayer:
    r"""Inputs, hidden units and outputs of an equivariant layer.

    Attributes:
        rep_in: $\rho_{in}$, orthogonal.
        units: The hidden units $X$.
        rep_out: $\rho_{out}$, orthogonal.
        bias: Whether hidden units have a bias.
        twist: How biases change under the group, of dimension one; default not at all. See
            :func:`symtheory.spec.signed.for_odd`.
    """

    rep_in: Representation
    units: GSet
    rep_out: Representation
    bias: bool = True
    twist: Representation | None = None

    def __post_init__(self) -> None:
        parts = (self.rep_in, self.units, self.rep_out, *([self.twist] if self.twist else []))
        if len({id(part.group) for part in parts}) != 1:
            raise SymtheoryError(
                "inputs, units and outputs of one group",
                f"{self.rep_in.group}, {self.units.group}, {self.rep_out.group}",
                "use one FiniteGroup object",
            )
        if not (self.rep_in.is_orthogonal and self.rep_out.is_orthogonal):
            raise SymtheoryError("orthogonal representations", f"{self.rep_in}, {self.rep_out}", "use orthogonalised()")

    @property
    def group(self) -> FiniteGroup:
        """$G$."""
        return self.units.group

    @cached_property
    def biases(self) -> Representation:
        """How biases change under the group; of no meaning without biases."""
        return trivial(self.group) if self.twist is None else self.twist

    @cached_property
    def _characters(self) -> list[np.ndarray]:
        parts = (self.rep_in, self.biases, self.rep_out)
        return [torch.einsum("gii->g", r.matrices).numpy() for r in parts]

    def block_dims(self, subset: Subset) -> tuple[int, int, int]:
        r"""$\dim V_{in}^H$, the bias, $\dim V_{out}^H$: the parameters of a block $G/H$.

        Args:
            subset: $H$.

        Returns:
            Three dimensions.
        """
        members = sorted(subset)
        one, bias, two = (round(float(chi[members].mean())) for chi in self._characters)
        return one, bias * self.bias, two

    def dims(self, units: GSet) -> tuple[int, int, int]:
        """Dimensions of the equivariant functions on a set of units.

        Args:
            units: The set.

        Returns:
            Input weights, biases, output weights.
        """
        blocks = [self.block_dims(units.stabilizer(orbit[0])) for orbit in units.orbits]
        one, bias, two = (sum(b[i] for b in blocks) for i in range(3))
        return one, bias, two

    @cached_property
    def _pointwise(self) -> dict[Subset, Subset]:
        return {}

    def closure_of(self, subset: Subset) -> Subset:
        r"""Elements that act trivially on everything that a subgroup fixes, in inputs and outputs.

        Args:
            subset: $H$.

        Returns:
            $\hat H\ge H$; units of a block $G/H$ that differ by $\hat H$ are the same unit.
        """
        if subset not in self._pointwise:
            reps = (self.rep_in, self.rep_out, *([self.biases] if self.bias else []))
            self._pointwise[subset] = frozenset.intersection(*(rep.fixing(subset) for rep in reps))
        return self._pointwise[subset]

    def closure(self, labels: Labels) -> Labels:
        """The largest congruence with the same flat: all units that coincide on it.

        Args:
            labels: A congruence.

        Returns:
            A congruence that contains it.
        """
        classes = quotient(self.units, labels)
        names = sorted(set(labels))
        pairs, dead = [], []
        for orbit in classes.orbits:
            stabilizer = classes.stabilizer(orbit[0])
            for g in self.closure_of(stabilizer):
                pairs.append((names[orbit[0]], names[int(classes.images[g, orbit[0]])]))
            if self.block_dims(stabilizer) == (0, 0, 0):
                dead.append(names[orbit[0]])
        return generated(self.units, [*pairs, *((dead[0], d) for d in dead[1:])], labels)

    def flat(self, labels: Labels) -> Flat:
        """The flat of a congruence.

        Args:
            labels: The congruence, or any relation that the action respects.

        Returns:
            The flat.
        """
        closed = self.closure(labels)
        classes = quotient(self.units, closed)
        dims, whole = self.dims(classes), self.dims(self.units)
        one, bias, two = (w - d for w, d in zip(whole, dims, strict=True))
        stabilizers = tuple(classes.stabilizer(orbit[0]) for orbit in classes.orbits)
        return Flat(closed, stabilizers, *dims, codim=(one, bias, two), visible=self._is_visible(closed))

    def flats(self, limit: int = LIMIT) -> tuple[Flat, ...]:
        """All hidden fixed-point subspaces but the whole constrained space, largest first.

        Args:
            limit: Most congruences to look at.

        Returns:
            The flats, without repetition.

        Raises:
            SymtheoryError: If there are more congruences.

        >>> from symtheory.spec import group_families, gsets, representations
        >>> s3 = group_families.symmetric(3)
        >>> pi3, pair = representations.natural(s3), s3.subgroup_classes[1][0]
        >>> layer = HiddenLayer(pi3, gsets.coset_space(s3, pair), representations.trivial(s3))
        >>> [(f.codim, f.visible) for f in layer.flats()]
        [((1, 0, 0), False)]
        """
        whole = self.closure(discrete(self.units))
        closed = dict.fromkeys(self.closure(labels) for labels in congruences(self.units, limit))
        found = [self.flat(labels) for labels in closed if labels != whole]
        return tuple(sorted(found, key=lambda f: (-f.dim, f.labels)))

    def _is_visible(self, closed: Labels) -> bool:
        """Whether automorphisms of the units within the classes already generate the relation."""
        # an automorphism can carry an orbit onto another, or turn it in itself, if two points have the same stabiliser
        stabilizers = [self.units.stabilizer(i) for i in range(self.units.size)]
        pairs: list[tuple[int, int]] = []
        for orbit in self.units.orbits:
            base = orbit[0]
            same = [j for j in range(self.units.size) if closed[j] == closed[base]]
            pairs.extend((base, j) for j in same if stabilizers[j] == stabilizers[base])
        return self.closure(generated(self.units, pairs)) == closed

    def functions(self, rep: Representation, labels: Labels | None = None) -> Tensor:
        r"""Orthonormal basis of the equivariant functions from units to a representation, constant on classes.

        Args:
            rep: Of the values.
            labels: A congruence; default none.

        Returns:
            Shape ``(k, units, dim)``.
        """
        chosen = discrete(self.units) if labels is None else labels
        position = {name: i for i, name in enumerate(sorted(set(chosen)))}
        basis = functions(quotient(self.units, chosen), rep)[:, [position[n] for n in chosen]]
        return basis / basis.flatten(1).norm(dim=1)[:, None, None]
