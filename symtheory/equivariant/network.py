r"""Multilayer perceptrons that are equivariant because their hidden units form $G$-sets.

Every weight matrix is an intertwiner and lies in a linear space. The parameters are coordinates in an orthonormal basis
of that space, not one number for each set of tied entries: only then is gradient descent on the coordinates the
projection of gradient descent on the full weights, and only then do hidden fixed-point subspaces stay what they are.
Tied numbers that occur differently often stretch the space and turn its gradients.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from symtheory.equivariant.inputs import GroupLike, RepresentationLike, UnitsLike, representations_of, units_of
from symtheory.errors import SymtheoryError
from symtheory.spec import gsets
from symtheory.spec.groups import FiniteGroup, Subset, subgroup_as_group
from symtheory.spec.gsets import GSet
from symtheory.spec.intertwiners import sparse_functions
from symtheory.spec.representations import restrict, trivial

#: Weights farther than this from the constrained space, relative to their size, are refused; single precision passes.
OUTSIDE = 1e-5


class Coordinates(nn.Module):
    """Orthonormal coordinates of a space of matrices that is given by a sparse basis.

    Args:
        basis: Sparse and coalesced, of shape ``(k, rows, columns)``, orthonormal for the sum of squares of all entries.
        dtype: Of the basis.
    """

    which: Tensor
    place: Tensor
    entries: Tensor

    def __init__(self, basis: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.dim, *shape = basis.shape
        self.shape = tuple(shape)
        which, *place = basis.indices()
        # not saved with a model: the group decides them
        self.register_buffer("which", which, persistent=False)
        self.register_buffer("place", place[0] * self.shape[1] + place[1], persistent=False)
        self.register_buffer("entries", basis.values().to(dtype), persistent=False)

    def forward(self, coordinates: Tensor) -> Tensor:
        """The matrix.

        Args:
            coordinates: Shape ``(k,)``.

        Returns:
            Shape ``(rows, columns)``.
        """
        flat = coordinates.new_zeros(self.shape[0] * self.shape[1])
        return flat.index_add(0, self.place, coordinates[self.which] * self.entries).view(self.shape)

    def of(self, matrix: Tensor) -> Tensor:
        """Coordinates of the projection of a matrix.

        Args:
            matrix: Shape ``(rows, columns)``.

        Returns:
            Shape ``(k,)``.
        """
        terms = matrix.flatten()[self.place] * self.entries
        return matrix.new_zeros(self.dim, dtype=terms.dtype).index_add(0, self.which, terms)


class EquivariantLinear(nn.Module):
    """A linear map whose matrix and bias lie in given spaces.

    Args:
        weight: Sparse basis of the matrices, shape ``(k, out, in)``.
        bias: Sparse basis of the biases, shape ``(k, out, 1)``.
        generator: Source of the initial matrix: the projection of independent normal entries of variance 1 / fan-in.
        dtype: Of parameters and bases.

    Attributes:
        weight: Coordinates of the matrix, shape ``(k,)``.
        bias: Coordinates of the bias; of length 0 where there is none.
    """

    def __init__(self, weight: Tensor, bias: Tensor, generator: torch.Generator, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight_space, self.bias_space = Coordinates(weight, dtype), Coordinates(bias, dtype)
        start = torch.randn(len(weight), generator=generator, dtype=torch.float64) / weight.shape[2] ** 0.5
        self.weight = nn.Parameter(start.to(dtype))
        self.bias = nn.Parameter(torch.zeros(len(bias), dtype=dtype))

    def dense(self) -> tuple[Tensor, Tensor]:
        """The matrix ``(out, in)`` and the bias ``(out,)``, differentiable in the coordinates."""
        return self.weight_space(self.weight), self.bias_space(self.bias)[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        """The map.

        Args:
            x: Shape ``(..., in)``.

        Returns:
            Shape ``(..., out)``.
        """
        return nn.functional.linear(x, *self.dense())

    def coordinates_of(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates of a matrix and a bias.

        Args:
            weight: Shape ``(out, in)``.
            bias: Shape ``(out,)``.

        Returns:
            Of the matrix and of the bias.

        Raises:
            SymtheoryError: If the shapes differ, or they do not lie in the spaces.
        """
        wanted, given = [self.weight_space.shape, self.bias_space.shape[:1]], [tuple(weight.shape), tuple(bias.shape)]
        if wanted != given:
            raise SymtheoryError(f"a matrix and a bias of shapes {wanted}", f"{given}", "give every layer of the net")
        found = []
        for space, value in ((self.weight_space, weight.double()), (self.bias_space, bias.double()[:, None])):
            coordinates = space.of(value)
            left, size = float((value - space(coordinates)).norm()), float(value.norm())
            if left > OUTSIDE * size:
                raise SymtheoryError(
                    "equivariant weights",
                    f"a part of {left / size:.2g} outside the space",
                    "use a smaller group, or relax()",
                )
            found.append(coordinates)
        return found[0], found[1]


class EquivariantMLP(nn.Module):
    r"""$x\mapsto W_L s(\dots s(W_1x+b_1)\dots)+b_L$ with $f(\rho_{in}(g)x) = \rho_{out}(g)f(x)$.

    Args:
        rep_in: $\rho_{in}$: a representation, or a permutation or matrix for each generator of the group.
        hidden: Units of the hidden layer; or a list of layers, of each its units or the stabilisers of its blocks.
        rep_out: $\rho_{out}$.
        activation: Pointwise activation $s$; default ReLU.
        group: Needed if neither action is given as a representation.
        bias: Whether hidden units have biases.
        output_bias: Whether outputs have biases, fixed by the group.
        generator: Source of the initial weights: independent normal entries of variance 1 / fan-in, projected onto the
            constrained space; biases start at zero. Default seed 0.
        dtype: Of parameters and bases.

    Raises:
        SymtheoryError: If there is no hidden layer, groups differ, or something is no action.

    >>> from symtheory.spec import group_families, representations
    >>> s3 = group_families.symmetric(3)
    >>> pi3, pair = representations.natural(s3), gsets.coset_space(s3, s3.subgroup_classes[1][0])
    >>> model = EquivariantMLP(pi3, [pair], pi3)
    >>> [layer.weight.numel() for layer in model.linears], [layer.bias.numel() for layer in model.linears]
    ([2, 2], [1, 1])
    """

    def __init__(
        self,
        rep_in: RepresentationLike,
        hidden: GSet | Sequence[UnitsLike],
        rep_out: RepresentationLike,
        activation: nn.Module | None = None,
        *,
        group: GroupLike | None = None,
        bias: bool = True,
        output_bias: bool = True,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        layers = [hidden] if isinstance(hidden, GSet) else hidden
        if not layers:
            raise SymtheoryError("at least one hidden layer", "none", "give its units")
        self.rep_in, self.rep_out = representations_of(group, rep_in, rep_out)
        self.hidden = tuple(units_of(units, self.group) for units in layers)
        self.activation = nn.ReLU() if activation is None else activation
        self.bias, self.output_bias = bias, output_bias
        source = torch.Generator().manual_seed(0) if generator is None else generator
        self.layers = nn.ModuleList(EquivariantLinear(*bases, source, dtype) for bases in self._bases())

    @property
    def group(self) -> FiniteGroup:
        """$G$."""
        return self.rep_in.group

    def _bases(self) -> list[tuple[Tensor, Tensor]]:
        """Of every layer sparse bases of its weights, ``(k, out, in)``, and of its biases, ``(k, out, 1)``."""
        found, previous = [], self.rep_in
        for units in self.hidden:
            level = sparse_functions(units, trivial(self.group))
            found.append((sparse_functions(units, previous), level if self.bias else _none_of(level)))
            previous = units.representation()
        point = gsets.coset_space(self.group, frozenset(range(self.group.order)))
        level = sparse_functions(point, self.rep_out)
        # columns of the last matrix are a function from the units to the outputs
        columns = [sparse_functions(self.hidden[-1], self.rep_out), level if self.output_bias else _none_of(level)]
        weight, offset = (c.transpose(1, 2).coalesce() for c in columns)
        return [*found, (weight, offset)]

    @property
    def linears(self) -> list[EquivariantLinear]:
        """The layers."""
        return [layer for layer in self.layers if isinstance(layer, EquivariantLinear)]

    def dense(self) -> list[tuple[Tensor, Tensor]]:
        """The full weights.

        Returns:
            Of every layer the matrix ``(out, in)`` and the bias ``(out,)``, differentiable in the coordinates.
        """
        return [layer.dense() for layer in self.linears]

    def forward(self, x: Tensor) -> Tensor:
        """The network.

        Args:
            x: Shape ``(..., inputs)``.

        Returns:
            Shape ``(..., outputs)``.
        """
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)

    @torch.no_grad()
    def load_dense(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Take over full weights.

        Args:
            layers: As from :meth:`dense`.

        Raises:
            SymtheoryError: If the shapes differ, or the weights are not equivariant; nothing is changed then.
        """
        if len(layers) != len(self.layers):
            raise SymtheoryError(f"{len(self.layers)} matrices and biases", f"{len(layers)}", "give every layer")
        found = [layer.coordinates_of(*given) for layer, given in zip(self.linears, layers, strict=True)]
        for layer, (weight, bias) in zip(self.linears, found, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)

    def relax(self, subgroup: Subset | None = None) -> nn.Module:
        """The same function with fewer constraints.

        Args:
            subgroup: Keep the constraint of this subgroup; default none at all.

        Returns:
            A plain ``nn.Sequential`` of linear layers and activations, all with biases where this network has them, or
            an :class:`EquivariantMLP` of the subgroup. On the same device, of the same dtype.

        Raises:
            SymtheoryError: If the set is no subgroup.
        """
        like = self.linears[0].weight
        if subgroup is not None:
            part = subgroup_as_group(self.group, subgroup)
            model = EquivariantMLP(
                restrict(self.rep_in, part),
                [gsets.restrict(x, part) for x in self.hidden],
                restrict(self.rep_out, part),
                copy.deepcopy(self.activation),
                bias=self.bias,
                output_bias=self.output_bias,
                dtype=like.dtype,
            ).to(like.device)
            model.load_dense(self.dense())
            return model
        parts: list[nn.Module] = []
        for k, (weight, bias) in enumerate(self.dense()):
            with_bias = self.output_bias if k == len(self.hidden) else self.bias
            linear = nn.Linear(
                weight.shape[1], weight.shape[0], bias=with_bias, device=weight.device, dtype=weight.dtype
            )
            with torch.no_grad():
                linear.weight.copy_(weight)
                if with_bias:
                    linear.bias.copy_(bias)
            parts += [linear, copy.deepcopy(self.activation)]
        return nn.Sequential(*parts[:-1])


def _none_of(basis: Tensor) -> Tensor:
    """The basis of nothing, in the same space."""
    indices, values = torch.zeros(3, 0, dtype=torch.int64), torch.zeros(0, dtype=basis.dtype)
    return torch.sparse_coo_tensor(indices, values, (0, *basis.shape[1:]), check_invariants=True).coalesce()
