r"""Steps in the proof of Theorem 5, part 3, of paper B that fail on the smallest groups, one function each.

The proof wants to show that to break any subgroup $V$ of an abelian $U$ it suffices to break the cyclic groups of some generators $z_j$. Eqs. (77) and (78) are sound: if
$\mathrm{im}(I-\bar V)$ meets every $\mathrm{im}(I-\bar z_j)$ in 0, it lies in every $\mathrm{im}(\bar z_j)$, because the projections commute.
"""

from __future__ import annotations

import torch
from torch import Tensor

from symtheory.spec import representations as reps
from symtheory.spec.claim import Erratum
from symtheory.spec.group_families import abelian, cyclic
from symtheory.spec.verdict import Verdict
from symtheory.theorems.general_groups.minimal import NORM_TOLERANCE, strengths


def _column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def subgroup_of_a_generator() -> Verdict:
    r"""Footnote 7: the reduction holds for a $V$ inside $\langle z_j\rangle$. $C_4$ on $\mathbb R\oplus\mathbb R^2$ by $z\to-1$ and a quarter turn.

    The representation is faithful. Along the line $\langle z\rangle$ is broken and $\langle z^2\rangle$ is not.

    Returns:
        Verdict on $\|(I-\bar z)n\|\le\|(I-\bar V)n\|$ for $n$ on the line, which must fail.
    """
    group = cyclic(4)
    rep = reps.direct_sum(reps.character(group, [0.5]), reps.character(group, [0.25]))
    whole, half = group.generate(group.generators), group.minimal_subgroups[0]
    generator, inside = strengths(rep, [whole, half], _column(1.0, 0.0, 0.0)).flatten().tolist()
    return Verdict("C_4 broken no more than its subgroup of order 2", generator - inside, NORM_TOLERANCE)


def sum_without_mean() -> Verdict:
    r"""Eq. (80): $(I-\sum_{v\in V}\prod_iz_i^{d_i(v)})n = 0$ for $n$ fixed by all $z_i$. Without $|V|^{-1}$ it is $(1-|V|)n$.

    Returns:
        Verdict on it for $C_2\times C_2$ and $n = (1,1,1,1)$, which must fail.
    """
    rep = reps.regular(abelian(2, 2))
    n = _column(1.0, 1.0, 1.0, 1.0)
    return Verdict("eq. (80)", float((n - rep.matrices.sum(dim=0) @ n).norm() / n.norm()), NORM_TOLERANCE)


_HERE = "symtheory.theorems.general_groups.reduction"

#: Slips of this proof, beside those told with the claim.
PROOF_SLIPS = (
    Erratum(
        where="Proof of Theorem 5, part 3, footnote 7",
        printed=r"The reduction to $\langle z_j\rangle$ holds if $V$ is only a part of $\langle z_j\rangle$.",
        true=r"It runs the other way: $\|(I-\bar V)n\|\le\|(I-\bar z_j)n\|$ for $V\le\langle z_j\rangle$. Break the subgroup of prime order, and $\langle z_j\rangle$ is broken too.",
        counterexample=r"$C_4$ with $z\to-1$ on a line and a quarter turn of a plane: along the line $\langle z\rangle$ is broken and $\langle z^2\rangle$ is not.",
        consequence="Even for a cyclic group look at the subgroups of prime order, not at the generator.",
        check=f"{_HERE}.subgroup_of_a_generator",
        kind="proof",
    ),
    Erratum(
        where="eq. (80)",
        printed=r"$(I-\sum_v\prod_iz_i^{d_i(v)})n = 0$.",
        true=r"$(I-\frac1{|V|}\sum_v\prod_iz_i^{d_i(v)})n = 0$.",
        counterexample=r"$V = C_2\times C_2$ and a fixed $n$: $-3n$.",
        consequence="Divide by $|V|$, as in eq. (11).",
        check=f"{_HERE}.sum_without_mean",
        kind="proof",
    ),
)
PROOF_COUNTEREXAMPLES = {
    "footnote 7": subgroup_of_a_generator,
    "eq. (80)": sum_without_mean,
}
