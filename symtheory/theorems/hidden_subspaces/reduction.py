r"""Two units of one orbit that share input weights: many pairs do, and the orbit is a smaller one.

On $G/H$ row $gH$ of the input weights is $\rho_{in}(g)w$ with $w\in V_{in}^H$, so $w_{gH} = w_{g'H}$ exactly when $g^{-1}g'\in H' = \mathrm{Stab}(w)\ge H$. The
function sees the output weights only through $a' = \sum_{kH\subset H'}\rho_{out}(k)a\in V_{out}^{H'}$: it is the network with units $G/H'$.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import sympy
import torch
from sympy import Function, symbols
from torch import Tensor

from symtheory.engine.symbolic import identity, matrices
from symtheory.spec import representations as reps
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.congruences import Labels, generated
from symtheory.spec.cosets import fixed_space
from symtheory.spec.group_families import cyclic
from symtheory.spec.groups import Subset
from symtheory.spec.gsets import coset_space, disjoint_union
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.numerics import largest, relative_error
from symtheory.spec.representations import Representation
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.hidden_subspaces.settings import (
    GROUPS,
    PAPER,
    Setting,
    draw,
    on_data,
    random_ends,
    reduced,
    three,
)
from symtheory.theorems.instances import generator_of, normal

#: Rounding of outputs, and of rows that a random orthonormal basis turned.
SHARING_TOLERANCE = 1e-11


@dataclass(frozen=True, eq=False)
class Shared:
    """A layer at a point where units share input weights and bias.

    Attributes:
        setting: The layer with its data.
        point: A point of the constrained space.
        labels: The congruence that the theorem predicts: units that share.
    """

    setting: Setting
    point: Tensor
    labels: Labels


def stabilizer_of(rep: Representation, vector: Tensor) -> Subset:
    """Elements that fix a vector.

    Args:
        rep: A representation.
        vector: Shape ``(dim,)``.

    Returns:
        A subgroup.
    """
    gaps = (rep.matrices @ vector - vector).norm(dim=1)
    return frozenset(torch.nonzero(gaps < 1e-9 * max(1.0, float(vector.norm()))).flatten().tolist())


def point_of(s: Setting, vectors: list[Tensor], outputs: list[Tensor], biases: list[float], c: Tensor) -> Tensor:
    r"""The point with given input and output weights of the first unit of every orbit.

    Args:
        s: The setting.
        vectors: $w\in V_{in}^H$ of every orbit.
        outputs: $a\in V_{out}^H$ of every orbit.
        biases: Bias of every orbit.
        c: Output bias.

    Returns:
        A point of the constrained space.
    """
    units = s.layer.units
    rows = torch.zeros(units.size, s.neuron.dim, dtype=torch.float64)
    for orbit, w, a, b in zip(units.orbits, vectors, outputs, biases, strict=True):
        bias = [torch.tensor([b], dtype=torch.float64)] if s.layer.bias else []
        neuron = torch.cat([w, *bias, a])
        for g in range(units.group.order):
            rows[int(units.images[g, orbit[0]])] = s.neuron.matrices[g] @ neuron
    return torch.cat([rows.flatten(), c])


def random_fixed(rep: Representation, subset: Subset, generator: torch.Generator) -> Tensor:
    """A generic vector that a subgroup fixes.

    Args:
        rep: The representation.
        subset: The subgroup.
        generator: Source of randomness.

    Returns:
        Shape ``(dim,)``.
    """
    basis = fixed_space(rep, subset)
    return basis @ normal(generator, basis.shape[1])


def shared(kind: str, seed: int) -> Shared:
    r"""One orbit $G/H$ at a point where $w$ is fixed by a larger group $H'$; output weights are generic.

    Args:
        kind: A name in ``GROUPS``.
        seed: Seed.

    Returns:
        The point.
    """
    g, group = generator_of(seed + 21), GROUPS[kind]
    rep_in, rep_out = random_ends(group, g)
    small = [h for h in group.subgroups if len(h) < group.order and group.order // len(h) <= 12]
    h = small[draw(len(small), g)]
    over = [k for k in group.subgroups if h < k]
    layer = HiddenLayer(rep_in, coset_space(group, h), rep_out)
    return sharing(on_data(layer, seed), over[draw(len(over), g)])


def sharing(s: Setting, over: Subset) -> Shared:
    """A layer of one orbit, with input weights that a larger group fixes.

    Args:
        s: The setting.
        over: The larger group.

    Returns:
        The point, with the pairs that the theorem predicts.
    """
    g, units, layer = generator_of(s.seed + 22), s.layer.units, s.layer
    h = units.stabilizer(0)
    w = random_fixed(layer.rep_in, over, g)
    c = random_fixed(layer.rep_out, frozenset(range(layer.group.order)), g)
    point = point_of(s, [w], [random_fixed(layer.rep_out, h, g)], [float(normal(g, 1))], c)
    # the whole stabiliser of w counts, which can be larger still
    mates = [(0, int(units.images[k, 0])) for k in stabilizer_of(layer.rep_in, w)]
    return Shared(s, point, generated(units, mates))


def sharing_error(x: Shared) -> float:
    """Share of pairs of units for which coinciding input weights are predicted wrongly.

    Args:
        x: The point.

    Returns:
        Between 0 and 1.
    """
    w, b, _, _ = x.setting.parts(x.point)
    rows = torch.cat([w, b[:, None]], dim=1)
    equal = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist") < 1e-9
    expected = torch.tensor([[i == j for i in x.labels] for j in x.labels])
    return float((equal != expected).double().mean())


def reduction_error(x: Shared) -> float:
    """Distance between the functions of the layer and of the smaller one, on new inputs, and of that from its own space.

    Args:
        x: The point.

    Returns:
        The larger of two relative errors.
    """
    s = x.setting
    smaller, there = reduced(s, x.point, x.labels)
    inputs = normal(generator_of(s.seed + 23), 20, s.layer.rep_in.dim)
    return largest(
        [
            relative_error(smaller.outputs(there, inputs), s.outputs(x.point, inputs)),
            relative_error(smaller.constrained @ there, there),
        ]
    )


def codimension_error(s: Setting, over: Subset) -> float:
    r"""Dimensions lost on the flat of $H<H'$, counted, against $\dim V^H-\dim V^{H'}$ of inputs and outputs.

    Args:
        s: A setting of one orbit.
        over: $H'$.

    Returns:
        The difference.
    """
    units, ends = s.layer.units, (s.layer.rep_in, s.layer.rep_out)
    labels = generated(units, [(0, int(units.images[k, 0])) for k in over])
    lost = float(s.constrained.trace() - s.flat(labels).trace())
    expected = sum(r.broken_rank(over) - r.broken_rank(units.stabilizer(0)) for r in ends)
    return abs(lost - expected)


def check_reduction(x: Shared) -> Verdict:
    """The pairs that share, the function of the smaller network, and the dimensions lost.

    Args:
        x: The point.

    Returns:
        Verdict whose control is the same reduction where input weights are not shared.
    """
    s = x.setting
    over = frozenset(g for g in range(s.layer.group.order) if x.labels[int(s.layer.units.images[g, 0])] == x.labels[0])
    return Verdict(
        f"{s.name}: an orbit whose units share input weights is a smaller one",
        residual=largest([sharing_error(x), reduction_error(x), codimension_error(s, over)]),
        tolerance=SHARING_TOLERANCE,
        control=reduction_error(replace(x, point=moved(x))),
        seed=s.seed,
        sizes={"units": s.layer.units.size, "left": len(set(x.labels))},
    )


def moved(x: Shared) -> Tensor:
    """A point in the whole parameter space, near a given one.

    Args:
        x: The point.

    Returns:
        The point with normal noise added.
    """
    return x.point + 0.3 * normal(generator_of(x.setting.seed + 24), x.setting.size)


def shared_settings(seed: int) -> list[Shared]:
    """One point for every group.

    Args:
        seed: Seed.

    Returns:
        The points.
    """
    return [shared(kind, seed) for kind in GROUPS]


def _control_shared(seed: int) -> Verdict:
    s = three(seed)
    x = sharing(s, frozenset(range(s.layer.group.order)))
    free = s.constrained @ normal(generator_of(seed), s.size)
    return Verdict(
        "reduced network, input weights not shared",
        reduction_error(replace(x, point=free)),
        SHARING_TOLERANCE,
        seed=seed,
    )


def _control_orbit(seed: int) -> Verdict:
    """Units of two equal orbits share, each with its twin; within an orbit nothing has to coincide."""
    s = three(seed)
    layer, pair = s.layer, s.layer.units
    twins = on_data(replace(layer, units=disjoint_union(pair, pair)), seed)
    w, c = random_fixed(layer.rep_in, pair.stabilizer(0), generator_of(seed)), torch.zeros(1, dtype=torch.float64)
    point = point_of(twins, [w, w], [c, c], [0.5, 0.5], c)
    return Verdict(
        "sharing between orbits forces sharing within them",
        sharing_error(Shared(twins, point, (0,) * twins.layer.units.size)),
        SHARING_TOLERANCE,
        seed=seed,
    )


def _control_equivariant(seed: int) -> Verdict:
    """Free weights: two equal rows force nothing."""
    x = shared("A_4", seed)
    s = x.setting
    theta = normal(generator_of(seed), s.size)
    rows = theta[: -s.layer.rep_out.dim].view(s.layer.units.size, s.neuron.dim)
    rows[1] = rows[0]
    return Verdict(
        "two equal rows force others, free weights",
        sharing_error(replace(x, point=theta, labels=generated(s.layer.units, [(0, 1)]))),
        SHARING_TOLERANCE,
        seed=seed,
    )


def lonely_pair() -> Verdict:
    """Figure 4 (a): two units of a transitive block share, so *multiple other pairs* do. A block of two has no other pair.

    Returns:
        Verdict on there being another pair for $C_2$ on two units, which must fail.
    """
    group = cyclic(2)
    layer = HiddenLayer(reps.regular(group), coset_space(group, frozenset({0})), reps.trivial(group))
    x = sharing(on_data(layer, 0), frozenset({0, 1}))
    pairs = [(i, j) for i, j in combinations(range(2), 2) if x.labels[i] == x.labels[j]]
    return Verdict("another pair shares", float(max(0, 2 - len(pairs))), 0.5, sizes={"pairs": len(pairs)})


def _prove_reduction() -> Proof:
    g, other, back, h, w, rho, mean, a = matrices(
        "g", "g'", "g^{-1}", "h", "w", r"\rho(h)", r"\textstyle\sum_{k}\rho(k)", "a"
    )
    s, (z, one, two, c) = Function("s"), symbols("z a_1 a_2 c", real=True)
    big, small, bigger, smaller = symbols(r"\dim\,V_{in}^H \dim\,V_{in}^{H'} \dim\,V_{out}^H \dim\,V_{out}^{H'}")
    return Proof(
        "C.H3",
        r"any finite group, subgroups $H\le H'$ and representations, any activation",
        (
            identity(r"$w_{gh} = w_g$ for $h\in\mathrm{Stab}(w)$", g * h * w, g * w, {h * w: w}),
            identity(
                r"and if $w_{g'} = w_g$ then $g^{-1}g'$ fixes $w$",
                back * other * w,
                w,
                {other * w: g * w, back * g: sympy.Integer(1)},
            ),
            identity(
                r"$a' = \sum_{kH\subset H'}\rho_{out}(k)a$ is fixed by $H'$, which permutes the cosets",
                rho * mean * a,
                mean * a,
                {rho * mean: mean},
            ),
            identity("units that share add up", one * s(z) + two * s(z) + c, (one + two) * s(z) + c),
            identity(
                "the dimensions lost are those of inputs and outputs; the bias cancels",
                (big + 1 + bigger) - (small + 1 + smaller),
                (big - small) + (bigger - smaller),
            ),
        ),
    )


REDUCTION = Theorem(
    claim=Claim(
        id="C.H3",
        source=f"{PAPER}, Figure 4 (a); statement and proof of this book",
        title="Sharing within a block reduces it",
        statement=r"Let two units of a block $G/H$ share their input weights. Then $w_{gH} = w_{g'H}$ exactly when $g^{-1}g'\in H' = \mathrm{Stab}(w)$, $H'>H$; "
        r"the function depends on the output weights only through $a' = \sum_{kH\subset H'}\rho_{out}(k)a\in V_{out}^{H'}$, and the block is a block $G/H'$. "
        r"The flat has codimension $(\dim V_{in}^H-\dim V_{in}^{H'})+(\dim V_{out}^H-\dim V_{out}^{H'})$.",
        hypotheses={
            "shared input weights": "$w_i = w_j$ for two units; their biases are equal in any case",
            "one orbit": "the two units are in one transitive block",
            "equivariant weights": r"$w_{gx} = \rho_{in}(g)w_x$, $a_{gx} = \rho_{out}(g)a_x$",
        },
        verdict="holds",
        chapter="hidden_subspaces",
        remark="For an odd activation the same holds for units that are equal up to sign, with $G\\times C_2$ for $G$.",
        errata=(
            Erratum(
                where="Figure 4 (a), caption",
                printed="If two neurons within a block of a transitive p-rep share input weights, then multiple other pairs must also.",
                true=r"$[G:H']\binom{[H':H]}{2}$ pairs in all: one and no other for a block of two units.",
                counterexample="$C_2$ exchanging two units: the only pair.",
                consequence="None beyond blocks of two.",
                check="symtheory.theorems.hidden_subspaces.reduction.lonely_pair",
                kind="wording",
            ),
        ),
    ),
    prove=_prove_reduction,
    check=check_reduction,
    instances=shared_settings,
    controls={
        "shared input weights": _control_shared,
        "one orbit": _control_orbit,
        "equivariant weights": _control_equivariant,
    },
    counterexamples={"another pair": lonely_pair},
)
