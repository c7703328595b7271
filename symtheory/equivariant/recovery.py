r"""Which permutation representation do the hidden units of a trained layer carry?

If $f(x) = A\,s(Wx+b)$ is equivariant and *irreducible* (no dead unit, no two units that are one), the units $(w,b,a)$
are a finite set that the group permutes: $g$ sends the unit $j$ to the one with $w_i=\rho_{in}(g)w_j$, $b_i=b_j$,
$a_i=\rho_{out}(g)a_j$. So the hidden representation can be read off the weights, whoever trained them and however.

A net is made irreducible first: dead units are dropped, and units that are the same function up to a factor are merged.
What counts as the same depends on the activation: equal $(w,b)$ in general, equal up to a positive factor for ReLU,
equal up to sign for an odd activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from symtheory.equivariant.inputs import GroupLike, RepresentationLike, activation_of, representations_of
from symtheory.errors import SymtheoryError
from symtheory.spec.gsets import GSet
from symtheory.spec.representations import Representation

#: How a recovered representation relates to another.
Relation = Literal["same", "conjugate", "other type", "not equivariant"]


@dataclass(frozen=True, eq=False)
class Recovered:
    """The hidden representation of a layer.

    Attributes:
        units: The units with the action, in the order of ``members``; ``None`` if the layer is not equivariant to
            within the tolerance, or the permutations that fit best are no action.
        residual: Largest distance of a unit moved by the group from its partner, relative to the largest unit.
        homomorphism: Number of pairs of elements whose permutations do not multiply as the elements do.
        images: Best permutation for every element, shape ``(order, units)``.
        members: The original units merged into each unit.
        dead: The original units that were dropped.
        first: Input weights of the irreducible net, shape ``(units, n)``.
        bias: Its biases, shape ``(units,)``.
        second: Its output weights, shape ``(o, units)``.
    """

    units: GSet | None
    residual: float
    homomorphism: int
    images: np.ndarray
    members: tuple[tuple[int, ...], ...]
    dead: tuple[int, ...]
    first: Tensor
    bias: Tensor
    second: Tensor

    def __repr__(self) -> str:
        found = "not equivariant" if self.units is None else repr(self.units)
        return f"{found} (residual {self.residual:.1e}, {len(self.dead)} dead)"

    def relation(self, other: GSet) -> Relation:
        r"""How the representation relates to the one the layer was built with.

        Args:
            other: Units of the layer before training, of the same group.

        Returns:
            ``same``: the same permutations of the same units. ``conjugate``: units of the same kinds, so that a
            relabelling outside the centraliser carries one to the other: the layer has moved to another, symmetry
            related constrained space. ``other type``: stabilisers of other classes, or other multiplicities.
            ``not equivariant``: there is none.

        Raises:
            SymtheoryError: If the groups differ.
        """
        if self.units is None:
            return "not equivariant"
        if not self.units.is_isomorphic(other):
            return "other type"
        originals = [m[0] for m in self.members]
        alone = not self.dead and all(len(m) == 1 for m in self.members) and originals == sorted(originals)
        return "same" if alone and np.array_equal(self.units.images, other.images) else "conjugate"


def recover_representation(
    first: Tensor,
    second: Tensor,
    rep_in: RepresentationLike,
    rep_out: RepresentationLike,
    *,
    group: GroupLike | None = None,
    bias: Tensor | None = None,
    activation: str | nn.Module = "generic",
    tolerance: float = 1e-3,
) -> Recovered:
    r"""Read the permutation representation off the weights of a two-layer net.

    Args:
        first: $W$, shape ``(m, n)``.
        second: $A$, shape ``(o, m)``.
        rep_in: $\rho_{in}$ on the inputs: a representation, or a permutation or matrix for each generator.
        rep_out: $\rho_{out}$ on the outputs.
        group: Needed if neither action is given as a representation.
        bias: $b$, shape ``(m,)``; default none.
        activation: ``relu`` merges units that are positive multiples, ``odd`` merges units up to sign, ``generic``
            merges equal units only; or an activation of ``torch.nn``. With a sigmoid the merged net lacks a constant.
        tolerance: Distance, relative to the largest unit, below which units are the same, and below which a unit that
            the group moved is its partner.

    Returns:
        The irreducible net and its representation. For an odd activation the action is on units up to sign.

    Raises:
        SymtheoryError: If shapes do not fit, something is no action or the activation is unknown.

    Note:
        For ReLU the pair $s(z)-s(-z)=z$ is a linear function that other pairs may carry as well; nets that use it can
        be equivariant although their units are not permuted, and are then reported as not equivariant.

    >>> from symtheory.spec.group_families import symmetric
    >>> from symtheory.spec.representations import natural, trivial
    >>> s3 = symmetric(3)
    >>> turned = torch.eye(3, dtype=torch.float64).roll(1, 0) + 0.1
    >>> recover_representation(turned, torch.ones(1, 3, dtype=torch.float64), natural(s3), trivial(s3))
    S_3/2, 3 points (residual 0.0e+00, 0 dead)
    """
    rep_in, rep_out = representations_of(group, rep_in, rep_out)
    kind = activation_of(activation)
    _require(first, second, bias, rep_in, rep_out)
    w, a = first.detach().double().cpu(), second.detach().double().cpu()
    b = torch.zeros(len(w), dtype=torch.float64) if bias is None else bias.detach().double().cpu()
    units, dead = _normalised(torch.cat([w, b[:, None]], 1), a.T, kind, tolerance)
    members = _classes(units, kind, tolerance)
    kept = [(units[m[0]][0], _summed(units, m, kind)) for m in members]
    # what is left of units that cancel each other is dead too
    size = max((float(out.norm()) for _, out in kept), default=0.0)
    alive = [i for i, (_, out) in enumerate(kept) if float(out.norm()) > tolerance * size]
    dead += [j for i, m in enumerate(members) if i not in alive for j in m]
    members, kept = [members[i] for i in alive], [kept[i] for i in alive]
    n = rep_in.dim
    into = torch.stack([u for u, _ in kept]) if kept else torch.zeros(0, n + 1, dtype=torch.float64)
    out = torch.stack([v for _, v in kept]) if kept else torch.zeros(0, rep_out.dim, dtype=torch.float64)
    images, residual = _matched(into, out, rep_in, rep_out, odd=kind == "odd")
    acting = rep_in.group
    wrong = int((images[:, images] != images[acting.table]).any(-1).sum()) if len(kept) else 0
    fine = residual <= tolerance and wrong == 0
    return Recovered(
        GSet(acting, images) if fine else None,
        residual,
        wrong,
        images,
        tuple(tuple(m) for m in members),
        tuple(sorted(dead)),
        into[:, :n],
        into[:, n],
        out.T,
    )


def _normalised(
    into: Tensor, out: Tensor, activation: str, tolerance: float
) -> tuple[dict[int, tuple[Tensor, Tensor]], list[int]]:
    """Units that are not dead, with the scale a ReLU leaves open fixed; and the dead ones."""
    length = into.norm(dim=1)
    strength = length * out.norm(dim=1) if activation == "relu" else torch.minimum(length, out.norm(dim=1))
    floor = tolerance * float(strength.max()) if len(strength) else 0.0
    found, dead = {}, []
    for j in range(len(into)):
        if float(strength[j]) <= floor:
            dead.append(j)
        elif activation == "relu":
            found[j] = (into[j] / length[j], out[j] * length[j])
        else:
            found[j] = (into[j], out[j])
    return found, dead


def _classes(units: dict[int, tuple[Tensor, Tensor]], activation: str, tolerance: float) -> list[list[int]]:
    """Units with the same input weights, up to sign if the activation is odd."""
    scale = max((float(u.norm()) for u, _ in units.values()), default=1.0)
    found: list[list[int]] = []
    for j, (u, _) in units.items():
        for members in found:
            base = units[members[0]][0]
            signs = (1.0, -1.0) if activation == "odd" else (1.0,)
            if min(float((u - s * base).norm()) for s in signs) <= tolerance * scale:
                members.append(j)
                break
        else:
            found.append([j])
    return found


def _summed(units: dict[int, tuple[Tensor, Tensor]], members: list[int], activation: str) -> Tensor:
    """Output weights of merged units, towards the input weights of the first."""
    base = units[members[0]][0]
    signs = [1.0 if activation != "odd" or float(units[j][0] @ base) > 0 else -1.0 for j in members]
    return torch.stack([s * units[j][1] for s, j in zip(signs, members, strict=True)]).sum(0)


def _matched(
    into: Tensor, out: Tensor, rep_in: Representation, rep_out: Representation, *, odd: bool
) -> tuple[np.ndarray, float]:
    """For every element the permutation that fits best, and the largest distance left, relative to the largest unit."""
    order, count = rep_in.group.order, len(into)
    images = np.zeros((order, count), dtype=np.int64)
    scale = tuple(max(float(t.norm(dim=1).max()), torch.finfo(t.dtype).tiny) if count else 1.0 for t in (into, out))
    here = torch.cat([into / scale[0], out / scale[1]], 1)
    worst = 0.0
    for g in range(order):
        turned = torch.cat([into[:, :-1] @ rep_in.matrices[g].T, into[:, -1:]], 1) / scale[0]
        moved = torch.cat([turned, out @ rep_out.matrices[g].T / scale[1]], 1)
        cost = torch.cdist(moved, here, compute_mode="donot_use_mm_for_euclid_dist")
        if odd:
            cost = torch.minimum(cost, torch.cdist(-moved, here, compute_mode="donot_use_mm_for_euclid_dist"))
        rows, columns = linear_sum_assignment(cost.square().numpy())
        images[g, rows] = columns
        worst = max(worst, float(cost[rows, columns].max()) if count else 0.0)
    return images, worst


def _require(
    first: Tensor,
    second: Tensor,
    bias: Tensor | None,
    rep_in: Representation,
    rep_out: Representation,
) -> None:
    """Refuse what cannot be one layer of one group."""
    shapes = [tuple(t.shape) for t in (first, second, *(() if bias is None else (bias,)))]
    m = first.shape[0]
    if shapes[:2] != [(m, rep_in.dim), (rep_out.dim, m)] or shapes[2:] not in ([], [(m,)]):
        raise SymtheoryError(
            f"W (m, {rep_in.dim}), A ({rep_out.dim}, m) and b (m,)", f"{shapes}", "transpose what is turned round"
        )
