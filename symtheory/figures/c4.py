r"""Figure C4 (paper C, Figure 4): a block whose neurons share inputs reduces, two blocks that share inputs merge.

Computed rather than drawn. Random weights of an equivariant layer are projected, within the constrained space, on the
condition that *one* pair of hidden units shares its input weights; the figure shows what else that forces. Theory
(Theorem 3): the units that then share are the classes of a congruence of the hidden $G$-set, a block $G/H$ becomes
$G/H'$ with $H'$ the stabiliser of the shared weights, two blocks that are each irreducible merge only if they are
isomorphic, and the function is that of the smaller layer with $w'=w$ and $a'=\sum a$ over a class.

Drawn: $S_3$ on $\mathbb R^3$, outputs $\mathbb R^3$; (a) the regular block $S_3/1$, which reduces to $S_3/S_2$; (b) two
blocks $S_3/S_2$, which merge into one. Checked: every pair of units of one and two blocks of every type, for several
groups on their natural inputs and outputs, with the GELU and biases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations, combinations_with_replacement
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import gelu

from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.congruences import Labels, generated
from symtheory.spec.group_families import alternating, cyclic, dihedral, symmetric
from symtheory.spec.groups import FiniteGroup
from symtheory.spec.gsets import coset_space, disjoint_union
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.representations import natural, trivial
from symtheory.spec.verdict import Verdict

GROUPS: dict[str, FiniteGroup] = {
    "S3": symmetric(3),
    "C4": cyclic(4),
    "D4": dihedral(4),
    "A4": alternating(4),
    "S4": symmetric(4),
}

#: Examples that are drawn: orders of the stabilisers of the blocks of $S_3$, and the pair that shares.
EXAMPLES = {"one block reduces": ((1,), (0, 1)), "two blocks merge": ((2, 2), (0, 3))}

#: Input weights that differ by less are shared; those of others differ by 1e-3 and more.
SHARED = 1e-9

#: Roundings of sums over a few hundred terms of size about one.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        groups: Names among ``GROUPS``.
        largest: Most hidden units of a layer.
        points: Inputs on which functions are compared.
        seed: Seed of the weights.
    """

    groups: tuple[str, ...] = tuple(GROUPS)
    largest: int = 24
    points: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.groups) - set(GROUPS))
        if unknown or not self.groups or min(self.largest, self.points) < 1:
            raise SymtheoryError(
                f"groups among {list(GROUPS)} and positive sizes", f"{unknown or self}", "see figures.c4.Settings"
            )


@dataclass(frozen=True)
class Dense:
    """All weights of a layer.

    Attributes:
        first: $W$, shape ``(units, inputs)``.
        bias: $b$, shape ``(units,)``.
        second: $A^T$, shape ``(units, outputs)``.
    """

    first: Tensor
    bias: Tensor
    second: Tensor

    def outputs(self, x: Tensor) -> Tensor:
        """The function, with the GELU.

        Args:
            x: Shape ``(points, inputs)``.

        Returns:
            Shape ``(points, outputs)``.
        """
        return gelu(x @ self.first.T + self.bias) @ self.second


def sharing(layer: HiddenLayer, pair: tuple[int, int], generator: torch.Generator) -> Dense:
    """Random weights of the constrained layer in which one pair of units shares its input weights and biases.

    Args:
        layer: The layer.
        pair: Two units.
        generator: Source of randomness.

    Returns:
        The weights; nothing but linear algebra on the constraint has been used.
    """
    one = layer.functions(trivial(layer.group))
    # each basis vector is a function on the units with values (w, b)
    into, out = layer.functions(layer.rep_in), layer.functions(layer.rep_out)
    both = torch.cat(
        [torch.nn.functional.pad(into, (0, 1)), torch.nn.functional.pad(one, (layer.rep_in.dim, 0))], dim=0
    )
    gap = both[:, pair[0]] - both[:, pair[1]]
    t = torch.randn(len(both), generator=generator, dtype=torch.float64)
    t = t - gap @ torch.linalg.pinv(gap.T @ gap) @ (gap.T @ t)
    values = torch.einsum("p,pmn->mn", t, both)
    a = torch.randn(len(out), generator=generator, dtype=torch.float64)
    return Dense(values[:, :-1], values[:, -1], torch.einsum("p,pmo->mo", a, out))


def classes_of(weights: Dense) -> Labels:
    """Units with the same input weights, each named by the first of its class.

    Args:
        weights: The weights.

    Returns:
        One label a unit.
    """
    values = torch.cat([weights.first, weights.bias[:, None]], dim=1)
    same = torch.cdist(values, values) < SHARED
    return tuple(same.int().argmax(dim=1).tolist())


def merged(weights: Dense, labels: Labels) -> Dense:
    """One unit for every class: its input weights, the sum of its output weights.

    Args:
        weights: The weights.
        labels: Classes of units that share.

    Returns:
        The smaller layer.
    """
    names = sorted(set(labels))
    member = torch.tensor([[float(k == n) for k in labels] for n in names], dtype=torch.float64)
    return Dense(weights.first[names], weights.bias[names], member @ weights.second)


def cases(group: FiniteGroup, largest: int) -> Iterator[tuple[int, ...]]:
    """One and two blocks, as numbers of conjugacy classes of subgroups, that are not too large.

    Args:
        group: The group.
        largest: Most hidden units.

    Yields:
        The classes of the stabilisers.
    """
    sizes = [group.order // len(members[0]) for members in group.subgroup_classes]
    for k in (1, 2):
        for blocks in combinations_with_replacement(range(len(sizes)), k):
            if sum(sizes[i] for i in blocks) <= largest:
                yield blocks


def layer_of(group: FiniteGroup, blocks: tuple[int, ...]) -> HiddenLayer:
    """The layer with given blocks, natural inputs and outputs.

    Args:
        group: A group of permutations.
        blocks: Classes of the stabilisers.

    Returns:
        The layer.
    """
    units = disjoint_union(*(coset_space(group, group.subgroup_classes[i][0]) for i in blocks))
    return HiddenLayer(natural(group), units, natural(group))


def _difference(one: Dense, two: Dense, x: Tensor) -> float:
    """Largest difference of two functions, relative to the largest value."""
    f, g = one.outputs(x), two.outputs(x)
    return float((f - g).abs().max() / f.abs().max().clamp(min=1e-3))


def _violation(layer: HiddenLayer, weights: Dense, x: Tensor) -> float:
    """Largest violation of $f(gx)=gf(x)$ over the generators, relative to the largest value."""
    f, worst = weights.outputs(x), 0.0
    for g in layer.group.generators:
        moved = weights.outputs(x @ layer.rep_in.matrices[g].T)
        worst = max(worst, float((moved - f @ layer.rep_out.matrices[g].T).abs().max()))
    return worst / max(1e-3, float(f.abs().max()))


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Every pair of units of every case of a group.

    Args:
        shard: ``group`` and fields of :class:`Settings`.
        device: Unused: the matrices are tiny.

    Returns:
        See :meth:`C4.run`, for one group.
    """
    group = GROUPS[shard["group"]]
    g = torch.Generator().manual_seed(shard["seed"])
    rows = []
    for blocks in cases(group, shard["largest"]):
        layer = layer_of(group, blocks)
        # outputs have no say in who shares inputs
        blind = HiddenLayer(layer.rep_in, layer.units, trivial(group))
        x = torch.randn(shard["points"], layer.rep_in.dim, generator=g, dtype=torch.float64)
        for pair in combinations(range(layer.units.size), 2):
            predicted = blind.closure(generated(layer.units, [pair]))
            weights = sharing(layer, pair, g)
            labels = classes_of(weights)
            small = merged(weights, labels)
            unsummed = Dense(small.first, small.bias, weights.second[sorted(set(labels))])
            orbits = [{labels[i] for i in orbit} for orbit in layer.units.orbits]
            irreducible = all(len(o) == len(p) for o, p in zip(orbits, layer.units.orbits, strict=True))
            rows.append(
                {
                    "units": layer.units.size,
                    "predicted": len(set(predicted)),
                    "found": len(set(labels)),
                    "agree": labels == predicted,
                    "joined": len(blocks) == 2 and bool(set.intersection(*orbits)),
                    "irreducible": irreducible,
                    "isomorphic": len(set(layer.units.types)) == 1,
                    "difference": _difference(weights, small, x),
                    "dropped": _difference(weights, unsummed, x),
                    "violation": _violation(layer, small, x),
                }
            )
    return xr.Dataset({k: ("pair", np.array([r[k] for r in rows])) for k in rows[0]}).assign_coords(
        group=("pair", [shard["group"]] * len(rows))
    )


def example(name: str, seed: int) -> tuple[HiddenLayer, Dense, Labels]:
    """An example of the figure.

    Args:
        name: Among ``EXAMPLES``.
        seed: Seed of the weights.

    Returns:
        Layer, weights, classes of units that share.
    """
    orders, pair = EXAMPLES[name]
    group = GROUPS["S3"]
    numbers = [next(i for i, m in enumerate(group.subgroup_classes) if len(m[0]) == order) for order in orders]
    layer = layer_of(group, tuple(numbers))
    weights = sharing(layer, pair, torch.Generator().manual_seed(seed))
    return layer, weights, classes_of(weights)


class C4(Figure):
    """A block that reduces, two blocks that merge."""

    id: ClassVar[str] = "C4"
    title: ClassVar[str] = "Shared inputs reduce a block and merge two blocks"
    source: ClassVar[str] = "Paper C, Figure 4"
    claim: ClassVar[str] = (
        "If two neurons of a transitive block share their input weights then so do others, and the block reduces to a "
        "smaller one; if neurons of two irreducible transitive blocks share them then the blocks are isomorphic and "
        "merge into one."
    )
    chapter: ClassVar[str] = "hidden_subspaces"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(groups=("S3", "C4"), largest=8),
        "page": Settings(groups=("S3", "C4", "D4"), largest=9),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One a group.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        common = {k: getattr(config, k) for k in ("largest", "points", "seed")}
        return [{**common, "group": name} for name in config.groups]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Weights of the examples, and every pair of every case.

        Args:
            config: Settings.
            device: Handed to the shards.
            executor: Maps over the shards.

        Returns:
            Per pair of units of a layer: ``units``, ``predicted`` and ``found`` numbers of classes and whether the
            classes ``agree``; whether two blocks are ``joined``, both ``irreducible``, ``isomorphic``; ``difference``
            of the functions, and with output weights ``dropped`` instead of summed; ``violation`` of equivariance by
            the smaller layer. Per example ``w`` and ``a`` (example, unit, input or output), ``small_w``, ``small_a``,
            zero beyond the units, and ``labels``.
        """
        runner = InProcess() if executor is None else executor
        result = xr.concat(runner.map(self.id, partial(compute, device=device), self.shards(config)), dim="pair")
        shown = [example(name, config.seed) for name in EXAMPLES]
        most = max(len(labels) for *_, labels in shown)

        def padded(values: Tensor) -> np.ndarray:
            return torch.nn.functional.pad(values, (0, 0, 0, most - len(values))).numpy()

        small = [merged(weights, labels) for _, weights, labels in shown]
        drawn = xr.Dataset(
            {
                "w": (("example", "unit", "input"), np.stack([padded(d.first) for _, d, _ in shown])),
                "a": (("example", "unit", "output"), np.stack([padded(d.second) for _, d, _ in shown])),
                "small_w": (("example", "unit", "input"), np.stack([padded(d.first) for d in small])),
                "small_a": (("example", "unit", "output"), np.stack([padded(d.second) for d in small])),
                "labels": (("example", "unit"), [[*k, *[-1] * (most - len(k))] for *_, k in shown]),
            },
            coords={"example": list(EXAMPLES)},
        )
        return result.merge(drawn)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim, over all pairs.

        Args:
            result: From :meth:`run`.

        Returns:
            Who shares, which blocks merge, the same function, still equivariant.
        """
        pairs = result.sizes["pair"]
        alone = result["units"] - 1
        merging = result["joined"] & result["irreducible"]
        loose = result["joined"] & ~result["irreducible"]
        return [
            Verdict(
                "pairs whose sharing makes other units share than theory says (control: than just the pair)",
                float((~result["agree"]).mean()), 1e-6, control=float((result["found"] != alone).mean()),
                sizes={"pairs": pairs, "groups": len(set(result["group"].values.tolist()))},
            ),
            Verdict(
                "irreducible blocks that share inputs and are not isomorphic (control: blocks that may reduce first)",
                float((merging & ~result["isomorphic"]).sum() / merging.sum()), 1e-6,
                control=float((loose & ~result["isomorphic"]).sum() / loose.sum()), sizes={"pairs": int(merging.sum())},
            ),
            Verdict(
                "the smaller layer's function differs by (control: output weights not summed)",
                float(result["difference"].max()), ROUNDING, control=float(result["dropped"].min()),
                sizes={"pairs": pairs},
            ),
            Verdict("the smaller layer violates equivariance by", float(result["violation"].max()), ROUNDING),
        ]  # fmt: skip
