r"""All hidden fixed-point subspaces of a layer: the images of the congruences of its units.

$\mathrm{Fix}(K)\cap\Theta_P = \mathrm{Fix}(\bar K)\cap\Theta_P$ for the normal closure $\bar K = \langle gKg^{-1}\rangle$, whose orbits are a congruence. On the
flat of a congruence $\sim$ the layer is one with units $X/\sim$, and its dimension is $\sum d(K_j)$ over the orbits $G/K_j$ of $X/\sim$,
$d(H) = \dim V_{in}^H+[\text{bias}]+\dim V_{out}^H$, beside $\dim V_{out}^G$ for the output bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from sympy import Function, Sum, Symbol, symbols
from torch import Tensor

from symtheory.engine.symbolic import identity, matrices
from symtheory.spec import representations as reps
from symtheory.spec.claim import Claim
from symtheory.spec.congruences import Labels, congruences, count, discrete
from symtheory.spec.group_families import cyclic
from symtheory.spec.gsets import GSet, coset_space
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.numerics import largest, relative_error
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.hidden_subspaces.settings import (
    GROUPS,
    OURS,
    Setting,
    meet,
    on_data,
    reduced,
    setting,
    three,
)
from symtheory.theorems.instances import generator_of, normal

#: Rounding of projectors on intersections.
FLAT_TOLERANCE = 1e-9

#: Most units for which all partitions are tried; there are 203 for six.
UNITS = 5


def partitions(size: int) -> Iterator[Labels]:
    """All equivalence relations, respected by the action or not.

    Args:
        size: Number of points.

    Yields:
        Labels.
    """

    def extended(labels: Labels) -> Iterator[Labels]:
        i = len(labels)
        if i == size:
            yield labels
        else:
            for name in (*sorted(set(labels)), i):
                yield from extended((*labels, name))

    yield from extended(())


def distinct(projectors: Iterable[Tensor]) -> list[Tensor]:
    """Projectors without repetition.

    Args:
        projectors: Of one size.

    Returns:
        The first of each.
    """
    found: list[Tensor] = []
    for p in projectors:
        if not any(float((p - q).norm()) < FLAT_TOLERANCE for q in found):
            found.append(p)
    return found


def by_exchanges(s: Setting) -> list[Tensor]:
    r"""All distinct $\mathrm{Fix}(K)\cap\Theta_P$, $K\le S_m$, by trying the orbits of every $K$.

    Args:
        s: A setting of few units.

    Returns:
        Projectors, the whole constrained space among them.
    """
    return distinct(s.flat(labels) for labels in partitions(s.layer.units.size))


def by_congruences(s: Setting) -> tuple[list[Labels], list[Tensor]]:
    """The flats that the library lists, with the whole constrained space.

    Args:
        s: The setting.

    Returns:
        Their labels and projectors.
    """
    labels = [s.layer.closure(discrete(s.layer.units)), *(f.labels for f in s.layer.flats())]
    return labels, [s.coincident(x) @ s.constrained for x in labels]


def mismatch(first: list[Tensor], second: list[Tensor]) -> float:
    """Distance from any member of one list to the nearest of the other, at worst; 1 or more if they differ in length.

    Args:
        first: Projectors.
        second: Projectors.

    Returns:
        0 if the lists are the same sets.
    """
    one, two = torch.stack(first), torch.stack(second)
    apart = torch.linalg.matrix_norm(one[:, None] - two[None])
    return max(float(apart.amin(1).max()), float(apart.amin(0).max()), float(abs(len(first) - len(second))))


def enumeration_error(s: Setting) -> float:
    """The largest of: flats missed or invented, wrong dimensions, wrong number of congruences, another function.

    Args:
        s: A setting of few units.

    Returns:
        An absolute error of projectors, dimensions and relative outputs.
    """
    labels, listed = by_congruences(s)
    brute = by_exchanges(s)
    c = s.layer.block_dims(frozenset(range(s.layer.group.order)))[2]
    dims = []
    for flat, p in ((s.layer.flat(x), p) for x, p in zip(labels, listed, strict=True)):
        dims.append(abs(flat.dim + c - float(p.trace())))
        dims.append(abs(float(listed[0].trace()) - sum(flat.codim) - float(p.trace())))
    point = normal(generator_of(s.seed + 4), s.size)
    same = []
    for x, p in zip(labels, listed, strict=True):
        smaller, there = reduced(s, p @ point, x)
        same.append(relative_error(smaller.outputs(there), s.outputs(p @ point)))
        same.append(relative_error(smaller.constrained @ there, there))
    return largest([mismatch(listed, brute), *dims, *same, count_error(s.layer.units)])


def count_error(units: GSet) -> float:
    """The formula for the number of congruences against trying all partitions.

    Args:
        units: A set of few points.

    Returns:
        Relative error.
    """
    images = units.images
    respected = 0
    for labels in partitions(units.size):
        moved = [tuple(labels[int(i)] for i in images[g]) for g in units.group.generators]
        respected += all(len(set(zip(labels, m, strict=True))) == len(set(labels)) for m in moved)
    return abs(count(units) / respected - 1)


def check_enumeration(s: Setting) -> Verdict:
    """The listed flats are those of all groups of exchanges.

    Args:
        s: A setting of few units.

    Returns:
        Verdict whose control is the list without its last flat.
    """
    brute = by_exchanges(s)
    return Verdict(
        f"{s.name}: hidden subspaces are the congruences",
        residual=enumeration_error(s),
        tolerance=FLAT_TOLERANCE,
        control=mismatch(brute, brute[1:]),
        seed=s.seed,
        sizes={"units": s.layer.units.size, "flats": len(brute)},
    )


def small_settings(seed: int) -> list[Setting]:
    """One setting of few units for every group.

    Args:
        seed: Seed.

    Returns:
        The settings.
    """
    return [setting(kind, seed, UNITS) for kind in GROUPS]


def told_apart(kind: str, seed: int) -> Setting:
    """A setting with regular inputs, in which different congruences have different flats.

    Args:
        kind: A name in ``GROUPS``.
        seed: Seed.

    Returns:
        The setting.
    """
    group, s = GROUPS[kind], setting(kind, seed, 4)
    return on_data(replace(s.layer, rep_in=reps.regular(group)), seed)


def _control_exchanges(seed: int) -> Verdict:
    """With tanh the exchange of two units with a change of sign is a symmetry too; its flat is not listed."""
    s = three(seed, activation="tanh", bias=False)
    one = torch.eye(3, dtype=torch.float64)
    signed = torch.stack([-one[1], -one[0], one[2]])
    rows = torch.kron(signed, torch.eye(s.neuron.dim, dtype=torch.float64))
    change = torch.block_diag(rows, torch.eye(1, dtype=torch.float64))
    extra = meet(s.constrained, (torch.eye(s.size, dtype=torch.float64) + change) / 2)
    nearest = min(float((extra - p).norm()) for p in by_congruences(s)[1])
    return Verdict("the flat of a signed exchange is listed", nearest, FLAT_TOLERANCE, seed=seed)


def _control_equivariant(seed: int) -> Verdict:
    """Without the constraint every partition has its own subspace."""
    s = three(seed)
    group = cyclic(1)
    units = GSet(group, s.layer.units.images[:1])
    free = on_data(HiddenLayer(reps.trivial(group, 3), units, reps.trivial(group)), seed)
    return Verdict(
        "flats of free weights, listed for the congruences of S_3",
        mismatch([free.coincident(x) for x in congruences(s.layer.units)], by_exchanges(free)),
        FLAT_TOLERANCE,
        seed=seed,
    )


def _control_told_apart(seed: int) -> Verdict:
    """$S_3/C_3$ with natural inputs has two congruences and one flat."""
    group = GROUPS["S_3"]
    units = coset_space(group, group.subgroup_classes[2][0])
    s = on_data(HiddenLayer(reps.natural(group), units, reps.trivial(group)), seed)
    found = distinct(s.flat(x) for x in congruences(units))
    return Verdict("as many flats as congruences", abs(len(found) / count(units) - 1), FLAT_TOLERANCE, seed=seed)


def _prove_enumeration() -> Proof:
    g, k, moved, value, rho, x = matrices("g", r"\kappa", r"(g\kappa g^{-1})", r"\varphi", r"\rho(g)", "x")
    s, f = Function("s"), Function("a")
    z, a, c = symbols("z a c", real=True)
    n, i = Symbol("n", integer=True, positive=True), Symbol("i", integer=True)
    return Proof(
        "C.H2",
        r"any finite group, units and representations; $\varphi(x)$ is the neuron of unit $x$",
        (
            identity(
                r"if $y = \kappa x$ then $gy = (g\kappa g^{-1})gx$: the orbits of the normal closure are a congruence",
                g * k * x,
                moved * g * x,
                {g * k: moved * g},
            ),
            identity(
                r"a function fixed by $\kappa$ and by all $(P_g, g)$ is fixed by $g\kappa g^{-1}$: $\varphi(g\kappa x) = \rho(g)\varphi(\kappa x) = \rho(g)\varphi(x) = \varphi(gx)$",
                value * g * k * x,
                value * g * x,
                {value * g: rho * value, value * k: value},
            ),
            identity(
                r"$n$ equal units are one with $n$ times the output weights",
                Sum(a * s(z), (i, 1, n)).doit(),
                (n * a) * s(z),
            ),
            identity(
                "and units that share input weights and bias are one with the sum of the output weights",
                f(1) * s(z) + f(2) * s(z) + c,
                (f(1) + f(2)) * s(z) + c,
            ),
        ),
    )


ENUMERATION = Theorem(
    claim=Claim(
        id="C.H2",
        source=OURS,
        title="Hidden fixed-point subspaces are the congruences of the units",
        statement=r"The subspaces $\mathrm{Fix}(K)\cap\Theta_P$, $K$ any group of exchanges of hidden units, are exactly "
        r"$\Theta_\sim = \{\theta\in\Theta_P: (w, b, a)\text{ constant on classes}\}$ for the congruences $\sim$ of the $G$-set $X$ of units. "
        r"On $\Theta_\sim$ the network is one with units $X/\sim$. $\dim\Theta_\sim = \sum_jd(K_j)+\dim V_{out}^G$ over the orbits $G/K_j$ of $X/\sim$, "
        r"$d(H) = \dim V_{in}^H+[\mathrm{bias}]+\dim V_{out}^H$. There are $\sum\prod\sum_{K\ge H_1}\prod_{i>1}|(G/K)^{H_i}|$ congruences: a sum over the partitions of the "
        r"orbits $G/H_i$ into groups, a product over the groups. They have different subspaces if inputs and outputs tell all subgroups apart and $d(G)>0$.",
        hypotheses={
            "exchanges of units": r"$K\le S_m$, without signs or stretches",
            "equivariant weights": r"$\Theta_P$ is constrained by the action of $G$ on $X$",
            "told apart": r"for the count: no larger subgroup than $H$ fixes $V_{in}^H$ and $V_{out}^H$ pointwise, as for regular inputs",
        },
        verdict="holds",
        chapter="hidden_subspaces",
        remark="On one orbit $G/H$ the congruences are the subgroups between $H$ and $G$. Two different congruences can have one flat: "
        "$S_3/C_3$ with natural inputs. For odd activations take $G\\times C_2$ on the units with their negatives.",
    ),
    prove=_prove_enumeration,
    check=check_enumeration,
    instances=small_settings,
    controls={
        "exchanges of units": _control_exchanges,
        "equivariant weights": _control_equivariant,
        "told apart": _control_told_apart,
    },
)
