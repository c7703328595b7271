r"""Theorem 5, part 3, of paper B: for an abelian group far fewer pieces decide than there are subgroups.

Statement: if $G$ is abelian, $\min_{V\le U}\Delta_V = \Omega(\gamma\sigma_0\,\mathrm{rank}(I-\bar V)|\Gamma(U)|^{-1})$ with $\Gamma(U)$ a smallest generating set. The
proof reduces every subgroup to the cyclic group of a generator, which fails. What holds, by characters: a faithful orthogonal
representation has $m = \sum_pd_p$ isotypic blocks, $d_p$ the number of cyclic factors of $p$-power order, such that every nontrivial subgroup
breaks one of them entirely. $m\le\log_2|U|$ as the paper says, but $m>|\Gamma(U)| = \max_pd_p$ as soon as two primes divide $|U|$.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod

import sympy
import torch
from sympy import primerange
from torch import Tensor

from symtheory.engine.statistics import fitted_exponent
from symtheory.engine.symbolic import identity, matrices
from symtheory.errors import SymtheoryError
from symtheory.spec import representations as reps
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.group_families import abelian, symmetric
from symtheory.spec.groups import FiniteGroup, Subset
from symtheory.spec.representations import Representation
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.general_groups.bounds import separating_blocks
from symtheory.theorems.general_groups.minimal import NORM_TOLERANCE, strengths
from symtheory.theorems.general_groups.reduction import PROOF_COUNTEREXAMPLES, PROOF_SLIPS
from symtheory.theorems.general_groups.settings import PAPER, invariant
from symtheory.theorems.instances import generator_of, normal

#: Abelian groups with one and with several primes, cyclic and not.
ORDERS: tuple[tuple[int, ...], ...] = ((2,), (6,), (2, 2), (2, 4), (3, 3), (2, 2, 3), (30,), (2, 6))


@dataclass(frozen=True, eq=False)
class Characters:
    """An abelian group in a faithful representation by random characters, in a random orthonormal basis.

    Attributes:
        group: The group.
        rep: The representation.
        seed: Seed.
    """

    group: FiniteGroup
    rep: Representation
    seed: int

    @property
    def subgroups(self) -> list[Subset]:
        """Nontrivial subgroups."""
        return [v for v in self.group.subgroups if len(v) > 1]


def characters(orders: tuple[int, ...], seed: int, count: int = 3) -> Characters:
    """Random characters, and as many more as make them faithful.

    Args:
        orders: Orders of the cyclic factors.
        seed: Seed.
        count: Characters to begin with.

    Returns:
        The instance.
    """
    g, group = generator_of(seed), abelian(*orders)
    parts: list[Representation] = []
    while len(parts) < count or not reps.direct_sum(*parts).is_faithful:
        turns = [int(torch.randint(n, (1,), generator=g)) / n for n in orders]
        if any(turns):
            parts.append(reps.character(group, turns))
    return Characters(group, reps.random_equivalent(reps.direct_sum(*parts), g, 0.0), seed)


def abelian_instances(seed: int) -> list[Characters]:
    """One instance for each of ``ORDERS``.

    Args:
        seed: Seed.

    Returns:
        The instances.
    """
    return [characters(orders, seed) for orders in ORDERS]


def separation_error(
    c: Characters, blocks: list[Tensor], subgroups: list[Subset] | None = None, draws: int = 16
) -> float:
    r"""Largest violation of $\min_V\|(I-\bar V)x\|\ge\min_k\|E_kx\|$, for random $x$ and for one of length 1 in every block.

    Args:
        c: Group and representation.
        blocks: Orthonormal bases $E_k^T$.
        subgroups: Other subgroups than the nontrivial ones, for controls.
        draws: Random vectors.

    Returns:
        Zero to rounding if every subgroup breaks one block entirely.
    """
    inside = torch.stack([b[:, 0] for b in blocks]).sum(dim=0)[:, None]
    x = torch.cat([inside, normal(generator_of(c.seed + 4), c.rep.dim, draws)], dim=1)
    weakest = strengths(c.rep, c.subgroups if subgroups is None else subgroups, x).min(dim=0).values
    needed = torch.stack([(b.T @ x).norm(dim=0) for b in blocks]).min(dim=0).values
    return float(((needed - weakest) / x.norm(dim=0)).clamp_min(0.0).max())


def check_abelian(c: Characters) -> Verdict:
    r"""At most $\sum_pd_p$ blocks decide; the slope of an invariant loss at the origin lies in no block.

    Args:
        c: Group and representation.

    Returns:
        Verdict whose control counts the trivial subgroup, too.
    """
    blocks = separating_blocks(c.rep)
    allowed = sum(c.group.prime_ranks().values())
    loss, _ = invariant(c.rep, generator_of(c.seed))
    slope = float((torch.func.grad(loss)(torch.zeros(c.rep.dim, dtype=torch.float64))).norm())
    return Verdict(
        f"{c.group.name}: {len(blocks)} blocks decide for {len(c.subgroups)} subgroups",
        residual=max(separation_error(c, blocks), float(len(blocks) > allowed), slope),
        tolerance=NORM_TOLERANCE,
        control=separation_error(c, blocks, [*c.subgroups, frozenset({0})]),
        seed=c.seed,
        sizes={"order": c.group.order, "parameters": c.rep.dim, "blocks": len(blocks), "allowed": allowed},
        settings={"generators": len(c.group.minimal_generators)},
    )


def transposition(group: FiniteGroup, i: int, j: int) -> Subset:
    """The subgroup that exchanges two points and moves no other.

    Args:
        group: A symmetric group.
        i: One point.
        j: The other.

    Returns:
        The subgroup, of order two.

    Raises:
        SymtheoryError: If the group was not given by permutations, or has no such element.
    """
    if group.action is not None:
        wanted = list(range(group.action.shape[1]))
        wanted[i], wanted[j] = j, i
        for a, images in enumerate(group.action.tolist()):
            if images == wanted:
                return group.generate([a])
    raise SymtheoryError(f"a group of permutations with ({i} {j})", f"{group!r}", "use symmetric(n)")


def _control_abelian(seed: int) -> Verdict:
    """In S_5 the exchanges (0 2), (1 2), (3 2), (4 2) generate all others and bound none: (0 1) at x_0 = x_1."""
    rep = reps.natural(symmetric(5))
    x = normal(generator_of(seed), 5, 1)
    x[1] = x[0]
    star = strengths(rep, [transposition(rep.group, k, 2) for k in (0, 1, 3, 4)], x).min()
    other = strengths(rep, [transposition(rep.group, 0, 1)], x).min()
    return Verdict(
        "in S_5 a generating star of exchanges bounds all others",
        float((star - other) / x.norm()),
        NORM_TOLERANCE,
        seed=seed,
    )


def _control_orthogonal(seed: int) -> Verdict:
    c = characters((2, 6), seed)
    blocks = separating_blocks(c.rep)
    g = generator_of(seed + 1)
    skew = reps.random_equivalent(c.rep, g, 1.0)
    moved = Characters(c.group, skew, seed)
    return Verdict(
        "the blocks of an orthogonal basis decide in a skew one",
        separation_error(moved, blocks, draws=400),
        NORM_TOLERANCE,
        seed=seed,
    )


def _control_trivial(seed: int) -> Verdict:
    c = characters((2, 6), seed)
    blocks = separating_blocks(c.rep)
    x = normal(generator_of(seed), c.rep.dim, 1)
    needed = min(float((b.T @ x).norm()) for b in blocks)
    least = float(strengths(c.rep, [frozenset({0})], x).min())
    return Verdict("the trivial subgroup is broken", (needed - least) / float(x.norm()), NORM_TOLERANCE, seed=seed)


def _control_invariance(seed: int) -> Verdict:
    c = characters((2, 6), seed)
    _, broken = invariant(c.rep, generator_of(seed))
    slope = torch.func.grad(broken)(torch.zeros(c.rep.dim, dtype=torch.float64))
    return Verdict("an asymmetric loss has no slope at the origin", float(slope.norm()), NORM_TOLERANCE, seed=seed)


def _control_fixed(seed: int) -> Verdict:
    c = characters((2, 6), seed)
    loss, _ = invariant(c.rep, generator_of(seed))
    slope = torch.func.grad(loss)(normal(generator_of(seed + 2), c.rep.dim))
    return Verdict("an invariant loss has no slope anywhere", float(slope.norm()), NORM_TOLERANCE, seed=seed)


def generators_do_not_reduce() -> Verdict:
    r"""Proof of part 3: to break $V$ reduces to breaking $\langle z_j\rangle$ for some generator, in the sense of Definition 2.

    $C_2\times C_2$ with its three nontrivial characters: $(I-\bar V)$ for $V = \langle z_1z_2\rangle$ keeps $\chi_1,\chi_2$; those of the generators keep
    $\chi_1,\chi_3$ and $\chi_2,\chi_3$. A vector along $\chi_3$ is seen by both generators and not by $V$.

    Returns:
        Verdict on $\min_j\|(I-\bar z_j)n\|\le\|(I-\bar V)n\|$ for every $n$, which must fail.
    """
    group = abelian(2, 2)
    one, two = group.generators
    both = int(group.table[one, two])
    rep = reps.direct_sum(*(reps.character(group, t) for t in ([0.5, 0.0], [0.0, 0.5], [0.5, 0.5])))
    n = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64)
    generators, product = (
        strengths(rep, [group.generate([one]), group.generate([two])], n),
        strengths(rep, [group.generate([both])], n),
    )
    return Verdict(
        "some generator is broken no more than their product", float(generators.min() - product.min()), NORM_TOLERANCE
    )


def primorial(count: int, draws: int, seed: int) -> Tensor:
    r"""Least strengths for $C_N$, $N = p_1\cdots p_k$, one generator, which turns the plane $j$ by $2\pi/p_j$.

    The subgroup of order $p_j$ turns the plane $j$ alone, so $\min_V\Delta_V = \min_j\|\theta_0|_j\|$ (in units of $2\gamma\sigma_0$); a table of $N$
    elements is not needed.

    Args:
        count: $k$, odd primes.
        draws: Biases.
        seed: Seed.

    Returns:
        Shape (draws,).
    """
    pull, turns = normal(generator_of(seed), draws, count, 2), list(primerange(3, 10**5))[:count]
    broken = []
    for j, p in enumerate(turns):  # I minus the mean over all powers of the turn
        angles = 2 * torch.pi * torch.arange(p, dtype=torch.float64) / p
        mean = torch.stack([angles.cos().mean(), angles.sin().mean()])
        kept = torch.eye(2, dtype=torch.float64) - torch.stack(
            [torch.stack([mean[0], -mean[1]]), torch.stack([mean[1], mean[0]])]
        )
        broken.append((pull[:, j] @ kept.T).norm(dim=1))
    return torch.stack(broken, dim=1).min(dim=1).values


def one_generator_many_pieces() -> Verdict:
    r"""Part 3: the strength depends on $|\Gamma(U)|$ only. A cyclic group has one generator and falls with its number of primes.

    Returns:
        Verdict on the exponent 0 in the number of primes, which must fail: it is near $-1/2$.
    """
    counts = (1, 2, 4, 8, 16, 32, 64)
    lows = [float(primorial(k, 20000, k).quantile(0.05)) for k in counts]
    fit = fitted_exponent(counts, lows)
    return Verdict(
        "with one generator the strength does not depend on the order",
        abs(fit.value),
        0.1,
        settings={"exponent": fit.value, "order": prod(list(primerange(3, 10**5))[:4])},
    )


def primes_are_not_a_logarithm() -> Verdict:
    r"""Eq. (81): $\sum_ik_i = \log|U|$ for $|U| = \prod p_i^{k_i}$.

    Returns:
        Verdict on equality for $C_3$ with any base among $2$, $e$, $10$, which must fail; $\sum k_i\le\log_2|U|$.
    """
    return Verdict(
        "for C_3 the number of primes is log 3", min(abs(1 - log(3, b)) for b in (2, 2.718281828459045, 10)), 1e-6
    )


def _prove_abelian() -> Proof:
    v, x, e = matrices(r"\bar V", "x", "E_k")
    order, k, q = sympy.symbols("p k q", integer=True, positive=True)
    root = sympy.Symbol("omega")
    p = 5
    powers = sum((root**j for j in range(p)), start=sympy.Integer(0))
    return Proof(
        "B.T5.3",
        r"any abelian group; the first step for a character of order 5 on $V$, the rest for any; blocks $E_k$ are projections that commute with "
        r"$\bar V$, and $\bar VE_k = 0$ where the character is not trivial on $V$",
        (
            identity(
                r"a nontrivial character averages to zero: $(\omega-1)\sum_j\omega^j = \omega^p-1$",
                sympy.expand((root - 1) * powers),
                root**p - 1,
            ),
            identity(r"so $V$ breaks its whole block, $(I-\bar V)E_k = E_k$", (1 - v) * e, e, {v * e: 0}),
            identity(
                r"and $\|(I-\bar V)x\|\ge\|E_kx\|$ since $E_k$ reads only that part",
                e * (1 - v) * x,
                e * x,
                {e * v: 0},
            ),
            identity(
                r"$q$ independent characters leave $p^{k-q}$ of the $p^k$ elements with $a^p = 1$: none but 1 for $q = k$",
                sympy.Subs(order ** (k - q), q, k),
                1,
            ),
        ),
    )


ABELIAN = Theorem(
    claim=Claim(
        id="B.T5.3",
        source=f"{PAPER}, Theorem 5, part 3",
        title="Abelian groups: a few characters decide",
        statement=r"If $G$ is abelian, $\min_{V\le U}\Delta_V = \Omega(\gamma\sigma_0\,\mathrm{rank}(I-\bar V)|\Gamma(U)|^{-1})$, $\Gamma(U)$ the smallest generating set.",
        hypotheses={
            "invariant loss": r"$\ell(\theta) = \ell(\rho(g)\theta)$",
            "fixed point": r"$\varphi = \theta+\theta_0$ is fixed by $U$",
            "abelian": "$G$ is abelian",
            "nontrivial subgroups": "$V\\neq1$ (missing in print)",
            "orthogonal representation": r"$\rho(g)^T\rho(g) = I$ (missing in print)",
        },
        verdict="holds as corrected",
        correction=r"For $D = I$ and a faithful representation (else take the quotient by what acts trivially), at most $m = \sum_pd_p(U)$ isotypic blocks separate the elements of $U$ ($d_p$ cyclic factors of $p$-power order), and every nontrivial subgroup "
        r"breaks one of them entirely: $\min_V\Delta_V\ge2\gamma\min_{k\le m}\|E_k\theta_0\|$, of order $\gamma\sigma_0m^{-1}$ at worst. $|\Gamma(U)| = \max_pd_p$ is too small "
        r"a number for it.",
        chapter="general_groups",
        remark=r"The scale that the paper promises, at worst $1/\log_2|U|$, is right, because $m\le\log_2|U|$. Blocks of complex characters have "
        r"dimension 2 at least, so only the characters of order 2 cost a full factor $1/m$; for odd order it is $m^{-1/2}$. By footnote 5 the "
        r"result carries over to commuting projectors; then count blocks of the joint eigenspaces, not generators.",
        errata=(
            Erratum(
                where="Theorem 5, part 3",
                printed=r"$\Omega(\gamma\sigma_0\,\mathrm{rank}(I-\bar V)|\Gamma(U)|^{-1})$.",
                true=r"$\sum_pd_p(U)$ for $|\Gamma(U)|$, and no factor $\mathrm{rank}(I-\bar V)$ beyond its root.",
                counterexample=r"$C_N$ with $N = 3\cdot5\cdot7\cdots$, one plane for each prime: $|\Gamma| = 1$, every $I-\bar V$ of rank 2 or more, and the strength falls "
                r"as $k^{-1/2}$ with the number $k$ of primes.",
                consequence=r"Size the bias by the number of cyclic factors of prime power order, `separating_ranks`.",
                check="symtheory.theorems.general_groups.abelian.one_generator_many_pieces",
                kind="statement",
            ),
            Erratum(
                where="Proof of Theorem 5, part 3, after eq. (80)",
                printed=r"$\mathrm{im}(I-\bar V)$ shares a subspace with some $\mathrm{im}(I-\bar z_j)$, so breaking $V$ reduces to breaking $\langle z_j\rangle$.",
                true="To share a subspace is not to contain it, which Definition 2 asks for. Use blocks of characters instead of cyclic groups of "
                "generators.",
                counterexample=r"$C_2\times C_2$ with three characters: both generators are broken along $\chi_3$, their product is not.",
                consequence=r"A bias that breaks the generators strongly can leave their product unbroken.",
                check="symtheory.theorems.general_groups.abelian.generators_do_not_reduce",
                kind="proof",
            ),
            Erratum(
                where="eq. (81)",
                printed=r"$\sum_ik_i = \log|U|$ for $|U| = \prod_ip_i^{k_i}$.",
                true=r"$\sum_ik_i\le\log_2|U|$, with equality for powers of 2.",
                counterexample="$C_3$: $1\\neq\\log 3$ in any usual base.",
                consequence="The bound $1/\\log_2|U|$ on the strength is safe.",
                check="symtheory.theorems.general_groups.abelian.primes_are_not_a_logarithm",
                kind="proof",
            ),
            *PROOF_SLIPS,
        ),
    ),
    prove=_prove_abelian,
    check=check_abelian,
    instances=abelian_instances,
    controls={
        "invariant loss": _control_invariance,
        "fixed point": _control_fixed,
        "abelian": _control_abelian,
        "nontrivial subgroups": _control_trivial,
        "orthogonal representation": _control_orthogonal,
    },
    counterexamples={
        "one generator": one_generator_many_pieces,
        "reduction to generators": generators_do_not_reduce,
        "eq. (81)": primes_are_not_a_logarithm,
        **PROOF_COUNTEREXAMPLES,
    },
)
