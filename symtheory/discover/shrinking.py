"""One layer with fewer units: where its units are, what becomes of them, and what is left of the tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from symtheory.discover.actions import Block, Role, rows
from symtheory.discover.coincidence import Cluster
from symtheory.discover.resizing import resized
from symtheory.spec.params import Params


@dataclass(frozen=True)
class Place:
    """One axis of units in one tensor."""

    name: str
    block: Block
    role: Role

    def rows(self, tensor: Tensor) -> Tensor:
        """The tensor's block with units first, one row each, as a copy.

        Args:
            tensor: The tensor.

        Returns:
            Shape ``(units, entries)``.
        """
        return rows(self.block, self.role, tensor)[0].clone()

    def columns(self, other: Place) -> Tensor | None:
        """Where in the rows of this place the units of another one are, if both are axes of one block.

        Args:
            other: Another place.

        Returns:
            Shape ``(units, entries)``, or nothing.
        """
        own, theirs = self.role.dims[0], other.role.dims[0]
        if other.block is not self.block or own == theirs:
            return None
        sizes = [size for k, size in enumerate(self.block.sizes) if k != own]
        positions = torch.arange(prod(sizes)).reshape(sizes)
        return positions.movedim(theirs - (theirs > own), 0).reshape(self.block.sizes[theirs], -1)

    def with_rows(self, tensor: Tensor, rows: Tensor) -> Tensor:
        """A copy of the tensor with these rows.

        Args:
            tensor: The tensor.
            rows: As from :meth:`rows`.

        Returns:
            The copy.
        """
        first = self.block.read(tensor).movedim(self.role.dims[0], 0)
        values = rows.reshape(first.shape).movedim(0, self.role.dims[0])
        return self.block.write(tensor.clone(), values).clone()

    def mixed(self, tensor: Tensor, change: Mapping[int, tuple[float, int]]) -> Tensor:
        """A copy of the tensor in which some units are multiples of others.

        Args:
            tensor: The tensor.
            change: Unit to factor and to the unit it is a multiple of.

        Returns:
            The copy.
        """
        units = self.rows(tensor)
        old = units.clone()
        for k, (factor, source) in change.items():
            units[k] = factor * old[source]
        return self.with_rows(tensor, units)

    def entries(self, units: Sequence[int]) -> tuple[int, set[int]]:
        """The axis of the tensor that counts the units, and where on it some of them are.

        Args:
            units: Some units.

        Returns:
            The axis, and positions along it.

        Raises:
            AssertionError: Never; a role has its dimension in some axis.
        """
        at = 0
        for axis, (atoms, index) in enumerate(self.block.axes):
            inside = self.role.dims[0] - at
            if 0 <= inside < len(atoms):
                grid = torch.as_tensor(index).reshape([a.size for a in atoms])
                return axis, set(grid.index_select(inside, torch.tensor(list(units))).flatten().tolist())
            at += len(atoms)
        raise AssertionError("a role has its dimension in some axis")


@dataclass(frozen=True, eq=False)
class State:
    """A network on its way: merged, but with all units in place, and what may be left out.

    Attributes:
        tensors: All parameters and buffers, of their first shapes.
        gone: Tensor to axis to the entries that nothing uses any more.
    """

    tensors: Params
    gone: dict[str, dict[int, set[int]]]

    def left(self) -> Params:
        """All tensors without these entries.

        Returns:
            Name to tensor.
        """
        found = dict(self.tensors)
        for name, axes in self.gone.items():
            for axis, dropped in axes.items():
                kept = [k for k in range(found[name].shape[axis]) if k not in dropped]
                found[name] = found[name].index_select(axis, torch.tensor(kept, device=found[name].device))
        return found

    def small(self, model: nn.Module) -> nn.Module:
        """A copy of a network without these entries.

        Args:
            model: The network.

        Returns:
            The copy.
        """
        return resized(model, {name: value for name, value in self.left().items() if name in self.gone})


@dataclass(frozen=True, eq=False)
class Layer:
    """What is to be done to the units of a layer.

    Attributes:
        parts: The places of the units.
        outgoing: Those in which they are used.
        clusters: Units that become the first of them.
        idle: Units without outgoing weights.
        silent: Units without incoming weights.
        chosen: Units to leave out.
    """

    parts: list[Place]
    outgoing: list[Place]
    clusters: list[Cluster]
    idle: set[int]
    silent: set[int]
    chosen: tuple[int, ...]

    def coinciding(self, state: State) -> State:
        """A state with the same units made equal, unused, or without incoming weights.

        Args:
            state: Any state.

        Returns:
            The state.
        """
        tensors = dict(state.tensors)
        for p in self.parts:
            rows = p.rows(tensors[p.name])
            rows[list(self.idle if p in self.outgoing else self.silent)] = 0.0
            if p not in self.outgoing:
                for (first, _), *others in self.clusters:
                    for k, sign in others:
                        rows[k] = sign * rows[first]
            tensors[p.name] = p.with_rows(tensors[p.name], rows)
        return State(tensors, state.gone)

    def left_out(self, state: State) -> State:
        """A state with clusters merged into their first units, and some units left out.

        Args:
            state: Any state.

        Returns:
            The state.
        """
        tensors, gone = dict(state.tensors), {name: dict(axes) for name, axes in state.gone.items()}
        for p in self.parts:
            rows = p.rows(tensors[p.name])
            for members in self.clusters:
                number, sign = (torch.tensor(v) for v in zip(*members, strict=True))
                total = (sign.to(rows)[:, None] * rows[number]).sum(0)
                rows[members[0][0]] = total if p in self.outgoing else total / len(members)
            axis, dropped = p.entries(self.chosen)
            tensors[p.name] = p.with_rows(tensors[p.name], rows)
            axes = gone.setdefault(p.name, {})
            axes[axis] = axes.get(axis, set()) | dropped
        return State(tensors, gone)
