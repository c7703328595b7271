r"""Which units of a layer coincide, and which do nothing, from their rows in the tensors that have them.

Every tensor has a scale of its own, its longest row. Rows agree where they differ by less than a tolerance of it. Since
a small difference before a large outgoing weight is not small, what it can change is compared as well: the product of
the two shares must be small against the layer's largest, which no rescaling of units alters.

Where a layer feeds itself, as a recurrent one does, units that are equal receive the sum of what they send each other.
So their rows are compared after the columns of the two have been added up; this is the mirror of their exchange, on
which $W_{ii}=W_{jj}$ and $W_{ij}=W_{ji}$.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

#: Units that coincide, each with its sign towards the first.
Cluster = list[tuple[int, float]]


class Units:
    """The units of one layer.

    Args:
        rows: For each place where the layer has units: shape ``(units, entries)``.
        signed: Whether units may coincide up to their sign.
        tolerance: Share of a place's longest row below which rows agree or vanish.
        columns: For two places in one tensor, where in a row of the first the units of the second are: shape
            ``(units, entries)``.
    """

    def __init__(
        self,
        rows: Sequence[Tensor],
        signed: bool,
        tolerance: float,
        columns: Mapping[tuple[int, int], Tensor] | None = None,
    ) -> None:
        self.columns = columns or {}
        doubles = [r.detach().double().cpu() for r in rows]
        self.rows = [r / (float(r.norm(dim=1).max()) or 1.0) for r in doubles]
        self.sizes = torch.stack([r.norm(dim=1) for r in self.rows])
        self.signs = (1.0, -1.0) if signed else (1.0,)
        self.tolerance, self.count = tolerance, self.sizes.shape[1]

    def possible(self, left: Sequence[int]) -> bool:
        """Whether something can be merged if the outgoing places are among these.

        Args:
            left: Places not known to be incoming.

        Returns:
            False if no two units agree in all incoming places, whatever those are, and none vanishes.
        """
        known = [k for k in range(len(self.rows)) if k not in left]
        small = self.sizes <= self.tolerance
        if bool(small[list(left)].any()) or (known and bool(small[known].all(0).any())):
            return True
        return any(self._clusters(places, set()) for places in ([known] if known else [[k] for k in left]))

    def found(self, outgoing: Sequence[int]) -> tuple[list[Cluster], set[int], set[int]]:
        """What coincides.

        Args:
            outgoing: The places where units are used.

        Returns:
            Units with the same incoming weights; units that are not used; units without incoming weights.
        """
        incoming = [k for k in range(len(self.rows)) if k not in outgoing]
        into, out = self.sizes[incoming].amax(0), self.sizes[list(outgoing)].amax(0)
        enough = self.tolerance * float((into * out).max())
        weak = into * out <= enough
        idle, silent = (set(torch.nonzero((t <= self.tolerance) & weak).flatten().tolist()) for t in (out, into))
        return self._clusters(incoming, idle, out, enough), idle, silent

    def _clusters(
        self, places: Sequence[int], skipped: set[int], out: Tensor | None = None, enough: float = 0.0
    ) -> list[Cluster]:
        """Units that agree in some places, found among those that are close in a random direction."""
        generator = torch.Generator().manual_seed(0)
        key = torch.zeros(self.count, dtype=torch.float64)
        for k in set(places) - {k for k, other in self.columns if other not in places}:
            normal = torch.randn(self.rows[k].shape[1], generator=generator, dtype=torch.float64)
            key += self.rows[k] @ (normal / normal.norm())
        order = torch.argsort(key.abs() if len(self.signs) > 1 else key)
        near = key[order].abs().diff().abs() if len(self.signs) > 1 else key[order].diff()
        close = near <= (len(places) + 1) * self.tolerance
        some = torch.zeros(self.count, dtype=torch.bool)
        some[order[:-1][close]] = some[order[1:][close]] = True
        left = torch.tensor([k for k in torch.nonzero(some).flatten().tolist() if k not in skipped], dtype=torch.long)
        found: list[Cluster] = []
        while len(left) > 1:
            base, rest = left[0], left[1:]
            gaps = torch.stack([
                torch.stack([self._apart(k, base, rest, s, places) for k in places]).amax(0)
                for s in self.signs
            ])  # fmt: skip
            gap, which = gaps.min(0)
            same = gap <= self.tolerance
            if out is not None:
                same &= gap * torch.maximum(out[rest], out[base]) <= enough
            if bool(same.any()):
                signs = [self.signs[int(w)] for w in which[same]]
                found.append([(int(base), 1.0), *zip(rest[same].tolist(), signs, strict=True)])
            left = rest[~same]
        return found

    def _apart(self, place: int, base: Tensor, rest: Tensor, sign: float, places: Sequence[int]) -> Tensor:
        """Distance of rows from a first one, where what both send each other counts as sent by the first."""
        gap = self.rows[place][rest] - sign * self.rows[place][base]
        for (own, other), columns in self.columns.items():
            if own == place and other not in places:
                sent = columns[rest]
                gap[:, columns[base]] += sign * gap.gather(1, sent)
                gap.scatter_(1, sent, 0.0)
        return gap.norm(dim=1)
