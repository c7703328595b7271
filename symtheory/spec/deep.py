r"""Hidden fixed-point subspaces of a network with several hidden layers.

Units of every hidden layer form a $G$-set; the weights between two layers are equivariant maps, one parameter for every
orbit of pairs. A product of groups of exchanges, one group a layer, fixes the weights whose rows and columns are
constant on the classes of one congruence a layer. Groups that exchange units of two layers at once can fix more; they
are not listed here. Two choices of congruences with the same fixed points have a join with these fixed points, too, so
flats are told apart by dimensions alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from math import prod

import numpy as np

from symtheory.errors import SymtheoryError
from symtheory.spec.congruences import LIMIT, Labels, congruences, count, discrete, join, principal, quotient
from symtheory.spec.gsets import GSet
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.representations import Representation

#: One congruence a hidden layer.
Choice = tuple[Labels, ...]


@dataclass(frozen=True)
class DeepFlat:
    """A hidden fixed-point subspace of a product of exchanges, one group a layer.

    Attributes:
        labels: For every hidden layer, the units that coincide, as the largest congruences with this flat.
        dim: Its dimension, without the output bias.
        codim: Dimensions that the whole constrained space has more.
    """

    labels: Choice
    dim: int
    codim: int


@dataclass(frozen=True, eq=False)
class HiddenNetwork:
    r"""Inputs, hidden layers and outputs of an equivariant network.

    Attributes:
        rep_in: $\rho_{in}$, orthogonal.
        layers: The hidden units, layer by layer.
        rep_out: $\rho_{out}$, orthogonal.
        bias: Whether hidden units have a bias.
    """

    rep_in: Representation
    layers: tuple[GSet, ...]
    rep_out: Representation
    bias: bool = True

    def __post_init__(self) -> None:
        if not self.layers:
            raise SymtheoryError("at least one hidden layer", "none", "give its units")
        self._ends  # noqa: B018  the ends check groups and orthogonality
        if len({id(x.group) for x in self.layers}) != 1:
            raise SymtheoryError("layers of one group", f"{self.layers}", "use one FiniteGroup object")

    @cached_property
    def _ends(self) -> tuple[HiddenLayer, HiddenLayer]:
        first, last = self.layers[0], self.layers[-1]
        return HiddenLayer(self.rep_in, first, self.rep_out), HiddenLayer(self.rep_in, last, self.rep_out)

    @property
    def whole(self) -> Choice:
        """Nothing coincides."""
        return tuple(discrete(x) for x in self.layers)

    def dim(self, labels: Choice) -> int:
        """Dimension of what is fixed, without the output bias.

        Args:
            labels: One congruence a layer.

        Returns:
            Parameters of the network of the quotients.
        """
        first, last = self._ends
        units = [quotient(x, c) for x, c in zip(self.layers, labels, strict=True)]
        fixed = [(x.images == np.arange(x.size)).sum(axis=1) for x in units]
        pairs = sum(round(float((a * b).mean())) for a, b in pairwise(fixed))
        biases = sum(len(x.orbits) for x in units) if self.bias else 0
        return first.dims(units[0])[0] + pairs + biases + last.dims(units[-1])[2]

    def closure(self, labels: Choice) -> Choice:
        """The largest congruences with the same fixed points.

        Args:
            labels: One congruence a layer.

        Returns:
            Congruences that contain them.
        """
        closed, dim = list(labels), self.dim(labels)
        for k, pairs in enumerate(self._principal):
            for pair in pairs:
                tried = [*closed[:k], join(self.layers[k], closed[k], pair), *closed[k + 1 :]]
                if tried[k] != closed[k] and self.dim(tuple(tried)) == dim:
                    closed = tried
        return tuple(closed)

    def flats(self, limit: int = LIMIT) -> tuple[DeepFlat, ...]:
        """What products of exchanges, one group a layer, leave fixed, but the whole constrained space; largest first.

        Args:
            limit: Most choices of congruences to look at.

        Returns:
            The flats, without repetition.

        Raises:
            SymtheoryError: If there are more choices.

        >>> from symtheory.spec import group_families, gsets, representations
        >>> s3 = group_families.symmetric(3)
        >>> pi3, pair = representations.natural(s3), gsets.coset_space(s3, s3.subgroup_classes[1][0])
        >>> [f.codim for f in HiddenNetwork(pi3, (pair, pair), representations.trivial(s3)).flats()]
        [1, 2]
        """
        if (number := prod(count(x, limit) for x in self.layers)) > limit:
            raise SymtheoryError(
                f"at most {limit} choices of congruences",
                f"at least {number}",
                "raise the limit, or use fewer or smaller blocks",
            )
        choices = product(*(congruences(x, limit) for x in self.layers))
        closed = dict.fromkeys(self.closure(c) for c in choices)
        most = self.dim(self.whole)
        found = [DeepFlat(c, dim, most - dim) for c in closed if (dim := self.dim(c)) < most]
        return tuple(sorted(found, key=lambda f: (-f.dim, f.labels)))

    @cached_property
    def _principal(self) -> list[tuple[Labels, ...]]:
        return [principal(x) for x in self.layers]
