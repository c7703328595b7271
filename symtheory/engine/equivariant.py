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

from symtheory.errors import SymtheoryError
from symtheory.spec import gsets
from symtheory.spec.groups import FiniteGroup, Subset, subgroup_as_group
from symtheory.spec.gsets import GSet
from symtheory.spec.intertwiners import functions
from symtheory.spec.representations import Representation, restrict, trivial

#: Weights farther than this from the constrained space, relative to their size, are refused; single precision passes.
OUTSIDE = 1e-5


class EquivariantMLP(nn.Module):
    r"""$x\mapsto W_L s(\dots s(W_1x+b_1)\dots)+b_L$ with $f(\rho_{in}(g)x) = \rho_{out}(g)f(x)$.

    Args:
        rep_in: $\rho_{in}$, orthogonal.
        hidden: Units of each hidden layer, at least one layer.
        rep_out: $\rho_{out}$, orthogonal.
        activation: Pointwise activation $s$.
        bias: Whether hidden units have biases.
        output_bias: Whether outputs have biases, fixed by the group.
        generator: Source of the initial weights: independent normal entries of variance 1 / fan-in, projected onto the
            constrained space; biases start at zero. Default seed 0.
        dtype: Of parameters and bases.

    Attributes:
        weights: Coordinates of every weight matrix, shape ``(k,)`` each.
        biases: Coordinates of every bias; of length 0 where there is none.

    Raises:
        SymtheoryError: If there is no hidden layer, groups differ or a representation is not orthogonal.

    >>> from symtheory.spec import group_families, representations
    >>> s3 = group_families.symmetric(3)
    >>> pi3, pair = representations.natural(s3), gsets.coset_space(s3, s3.subgroup_classes[1][0])
    >>> model = EquivariantMLP(pi3, [pair], pi3)
    >>> [w.numel() for w in model.weights], [b.numel() for b in model.biases]
    ([2, 2], [1, 1])
    """

    def __init__(
        self,
        rep_in: Representation,
        hidden: Sequence[GSet],
        rep_out: Representation,
        activation: nn.Module | None = None,
        *,
        bias: bool = True,
        output_bias: bool = True,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if not hidden:
            raise SymtheoryError("at least one hidden layer", "none", "give its units")
        self.rep_in, self.hidden, self.rep_out = rep_in, tuple(hidden), rep_out
        self.activation = nn.ReLU() if activation is None else activation
        self.bias, self.output_bias = bias, output_bias
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        source = torch.Generator().manual_seed(0) if generator is None else generator
        for k, (weight, offset) in enumerate(self._bases()):
            self.register_buffer(f"weight_basis_{k}", weight.to(dtype), persistent=False)
            self.register_buffer(f"bias_basis_{k}", offset.to(dtype), persistent=False)
            start = torch.randn(len(weight), generator=source, dtype=torch.float64) / weight.shape[2] ** 0.5
            self.weights.append(nn.Parameter(start.to(dtype)))
            self.biases.append(nn.Parameter(torch.zeros(len(offset), dtype=dtype)))

    @property
    def group(self) -> FiniteGroup:
        """$G$."""
        return self.rep_in.group

    def _bases(self) -> list[tuple[Tensor, Tensor]]:
        """Of every layer orthonormal bases of its weights, ``(k, out, in)``, and of its biases, ``(k, out)``."""
        found, previous = [], self.rep_in
        for units in self.hidden:
            level = functions(units, trivial(self.group))[..., 0]
            found.append((functions(units, previous), level if self.bias else level[:0]))
            previous = units.representation()
        level = functions(gsets.coset_space(self.group, frozenset(range(self.group.order))), self.rep_out)[:, 0]
        # columns of the last matrix are a function from the units to the outputs
        out = functions(self.hidden[-1], self.rep_out).transpose(1, 2).contiguous()
        return [*found, (out, level if self.output_bias else level[:0])]

    def dense(self) -> list[tuple[Tensor, Tensor]]:
        """The full weights.

        Returns:
            Of every layer the matrix ``(out, in)`` and the bias ``(out,)``, differentiable in the coordinates.
        """
        found = []
        for k, (weight, offset) in enumerate(zip(self.weights, self.biases, strict=True)):
            w, b = self._buffers_of(k)
            found.append((torch.einsum("k,koi->oi", weight, w), torch.einsum("k,ko->o", offset, b)))
        return found

    def _buffers_of(self, k: int) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"weight_basis_{k}"), self.get_buffer(f"bias_basis_{k}")

    def forward(self, x: Tensor) -> Tensor:
        """The network.

        Args:
            x: Shape ``(..., inputs)``.

        Returns:
            Shape ``(..., outputs)``.
        """
        *hidden, (last, offset) = self.dense()
        for weight, bias in hidden:
            x = self.activation(nn.functional.linear(x, weight, bias))
        return nn.functional.linear(x, last, offset)

    @torch.no_grad()
    def load_dense(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Take over full weights.

        Args:
            layers: As from :meth:`dense`.

        Raises:
            SymtheoryError: If the shapes differ, or the weights are not equivariant; nothing is changed then.
        """
        bases = [self._buffers_of(k) for k in range(len(self.weights))]
        wanted = [(tuple(w.shape[1:]), tuple(b.shape[1:])) for w, b in bases]
        given = [(tuple(w.shape), tuple(b.shape)) for w, b in layers]
        if wanted != given:
            raise SymtheoryError(f"matrices and biases of shapes {wanted}", f"{given}", "give every layer of the net")
        found = []
        for tensors, pair in zip(layers, bases, strict=True):
            for value, basis in zip(tensors, pair, strict=True):
                flat, rows = value.double().flatten(), basis.double().flatten(1)
                coordinates = rows @ flat
                left = float((flat - rows.T @ coordinates).norm() / flat.norm().clamp_min(1e-300))
                if left > OUTSIDE and float(flat.norm()) > 0:
                    raise SymtheoryError(
                        "equivariant weights",
                        f"a part of {left:.2g} outside the space",
                        "use a smaller group, or relax()",
                    )
                found.append(coordinates)
        for parameter, value in zip(self._in_order(), found, strict=True):
            parameter.copy_(value)

    def _in_order(self) -> list[nn.Parameter]:
        return [p for pair in zip(self.weights, self.biases, strict=True) for p in pair]

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
        like = self.weights[0]
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
