r"""Two irreducible blocks with a unit each that share input weights and bias: the blocks are one.

If $w_i = w'_j$ then $w_{gi} = w'_{gj}$ for all $g$, so both have one stabiliser; for irreducible blocks those are the stabilisers of $i$ and $j$,
and $gi\leftrightarrow gj$ is an isomorphism. The blocks merge into one with output weights $a+a'$. There are $|N(H)/H|$ such flats, of
codimension $d(H)$. A block is irreducible if its input weights are pairwise distinct and neither end is 0.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from sympy import Function, symbols

from symtheory.engine.symbolic import identity, matrices
from symtheory.spec import representations as reps
from symtheory.spec.claim import Claim
from symtheory.spec.congruences import generated
from symtheory.spec.cosets import normalizer
from symtheory.spec.gsets import coset_space, disjoint_union
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.numerics import largest
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.hidden_subspaces.enumeration import distinct
from symtheory.theorems.hidden_subspaces.reduction import (
    SHARING_TOLERANCE,
    Shared,
    moved,
    point_of,
    random_fixed,
    reduction_error,
    sharing_error,
    stabilizer_of,
)
from symtheory.theorems.hidden_subspaces.settings import GROUPS, PAPER, Setting, draw, on_data, random_ends, three
from symtheory.theorems.instances import generator_of, normal


def twins(kind: str, seed: int, least: int = 1) -> Shared:
    r"""Two isomorphic blocks $G/H$, of which the second has the input weights of the first, from another unit on.

    Args:
        kind: A name in ``GROUPS``.
        seed: Seed.
        least: Fewest units of a block.

    Returns:
        A generic such point; the blocks are irreducible.
    """
    g, group = generator_of(seed + 31), GROUPS[kind]
    while True:
        rep_in, rep_out = random_ends(group, g)
        small = [h for h in group.subgroups if least <= group.order // len(h) <= 8]
        h = small[draw(len(small), g)]
        w = random_fixed(rep_in, h, g)
        if float(w.norm()) > 0 and stabilizer_of(rep_in, w) == h:
            break
    block = coset_space(group, h)
    units = disjoint_union(block, block)
    # the second block's first unit has the weights of any unit of the first with the same stabiliser
    mates = [x for x in range(block.size) if block.stabilizer(x) == h]
    j = mates[draw(len(mates), g)]
    carrier = next(k for k in range(group.order) if int(block.images[k, 0]) == j)
    s = on_data(HiddenLayer(rep_in, units, rep_out), seed)
    outputs = [random_fixed(rep_out, h, g) for _ in range(2)]
    b = float(normal(g, 1))
    c = random_fixed(rep_out, frozenset(range(group.order)), g)
    point = point_of(s, [w, rep_in.matrices[carrier] @ w], outputs, [b, b], c)
    return Shared(s, point, generated(units, [(block.size, j)]))


def merged_flats_error(s: Setting) -> float:
    r"""Flats of two isomorphic blocks that merge them as they are: $|N(H)/H|$, of codimension $d(H)$.

    Args:
        s: A setting of two isomorphic blocks with inputs that tell all subgroups apart.

    Returns:
        Largest difference in number and dimension.
    """
    units = s.layer.units
    first, second = units.orbits
    h = units.stabilizer(first[0])
    # every pair of units across the blocks; those with different stabilisers reduce the blocks as well
    labels = [generated(units, [(first[0], j)]) for j in second]
    flats = distinct(s.flat(x) for x in labels if len(set(x)) == len(first))
    lost = [float(s.constrained.trace() - f.trace()) - sum(s.layer.block_dims(h)) for f in flats]
    return largest([float(abs(len(flats) - len(normalizer(s.layer.group, h)) // len(h))), *map(abs, lost)])


def told_apart(x: Shared) -> Setting:
    """The same blocks with regular inputs.

    Args:
        x: The point.

    Returns:
        The setting.
    """
    layer = x.setting.layer
    return on_data(replace(layer, rep_in=reps.regular(layer.group)), x.setting.seed)


def check_merging(x: Shared) -> Verdict:
    """The pairs that share, the function of the merged network, number and dimension of the flats.

    Args:
        x: The point.

    Returns:
        Verdict whose control is the same merger where input weights are not shared.
    """
    s = x.setting
    sizes = {"units": s.layer.units.size, "left": len(set(x.labels))}
    return Verdict(
        f"{s.name}: two blocks that share a unit are one",
        residual=largest(
            [
                sharing_error(x),
                float(sizes["left"] * 2 - sizes["units"]),
                reduction_error(x),
                merged_flats_error(told_apart(x)),
            ]
        ),
        tolerance=SHARING_TOLERANCE,
        control=reduction_error(replace(x, point=moved(x))),
        seed=s.seed,
        sizes=sizes,
    )


def twin_settings(seed: int) -> list[Shared]:
    """One point for every group.

    Args:
        seed: Seed.

    Returns:
        The points.
    """
    return [twins(kind, seed) for kind in GROUPS]


def _control_shared(seed: int) -> Verdict:
    """Input weights shared, biases not."""
    s, g = three(seed), generator_of(seed)
    layer, pair = s.layer, s.layer.units
    two = on_data(replace(layer, units=disjoint_union(pair, pair)), seed)
    w, c = random_fixed(layer.rep_in, pair.stabilizer(0), g), normal(g, 1)
    point = point_of(two, [w, w], [c, 2 * c], [0.5, -0.5], c)
    x = Shared(two, point, generated(two.layer.units, [(0, 3)]))
    return Verdict("merged network, biases not shared", reduction_error(x), SHARING_TOLERANCE, seed=seed)


def _control_irreducible(seed: int) -> Verdict:
    r"""$S_3$ on six units whose input weights are those of three: the blocks share units and are not isomorphic."""
    group, g = GROUPS["S_3"], generator_of(seed)
    h = group.subgroup_classes[1][0]
    units = disjoint_union(coset_space(group, h), coset_space(group, frozenset({0})))
    s = on_data(HiddenLayer(reps.natural(group), units, reps.trivial(group)), seed)
    w, c = random_fixed(s.layer.rep_in, h, g), normal(g, 1)
    point = point_of(s, [w, w], [c, c], [0.5, 0.5], c)
    rows = s.parts(point)[0]
    partners = torch.cdist(rows[:3], rows[3:], compute_mode="donot_use_mm_for_euclid_dist") < 1e-9
    return Verdict(
        "every unit has one partner, blocks not irreducible",
        float((partners.sum(1) - 1).abs().max()),
        SHARING_TOLERANCE,
        seed=seed,
    )


def _control_equivariant(seed: int) -> Verdict:
    """Free weights: one shared pair forces no other."""
    x = twins("S_4", seed, least=3)
    s = x.setting
    theta = normal(generator_of(seed), s.size)
    m = s.layer.units.size
    rows = theta[: -s.layer.rep_out.dim].view(m, s.neuron.dim)
    j = next(j for j in range(m // 2) if x.labels[j] == x.labels[m // 2])
    rows[m // 2] = rows[j]
    return Verdict(
        "one shared pair forces others, free weights",
        sharing_error(replace(x, point=theta)),
        SHARING_TOLERANCE,
        seed=seed,
    )


def _prove_merging() -> Proof:
    g, h, w, other = matrices("g", "h", "w", "w'")
    s, (z, one, two, c) = Function("s"), symbols("z a a' c", real=True)
    d = symbols("d(H)")
    return Proof(
        "C.H4",
        "any finite group, subgroups and representations, any activation",
        (
            identity(r"$w_i = w'_j$ gives $w_{gi} = w'_{gj}$", g * w, g * other, {w: other}),
            identity(r"and one stabiliser: $hw = w$ gives $hw' = w'$", h * other, other, {other: w, h * w: w}),
            identity("units that share add up", one * s(z) + two * s(z) + c, (one + two) * s(z) + c),
            identity(r"two blocks become one: $d(H)$ dimensions are lost", 2 * d - d, d),
        ),
    )


MERGING = Theorem(
    claim=Claim(
        id="C.H4",
        source=f"{PAPER}, Figure 4 (b); statement and proof of this book",
        title="Sharing across blocks merges them",
        statement=r"Let two irreducible blocks have units $i$ and $j$ that share input weights and bias. Then $gi\leftrightarrow gj$ is an isomorphism of the blocks, "
        r"all its pairs share, and the network has one block $G/H$ in place of the two, with output weights $a+a'$. "
        r"There are $|N_G(H)/H|$ such flats for a pair of blocks $G/H$, of codimension $d(H) = \dim V_{in}^H+[\mathrm{bias}]+\dim V_{out}^H$.",
        hypotheses={
            "shared weights and bias": r"$(w_i, b_i) = (w'_j, b'_j)$",
            "irreducible blocks": "our definition: the input weights of a block are pairwise distinct, and not 0",
            "equivariant weights": r"$w_{gx} = \rho_{in}(g)w_x$, $a_{gx} = \rho_{out}(g)a_x$",
        },
        verdict="holds",
        chapter="hidden_subspaces",
        remark=r"Blocks that are not isomorphic can merge too, after both are reduced to a common quotient $G/K$. A merger has codimension one only for $d(H) = 1$, "
        r"that is without biases and with an end forced to 0; walls come from reductions.",
    ),
    prove=_prove_merging,
    check=check_merging,
    instances=twin_settings,
    controls={
        "shared weights and bias": _control_shared,
        "irreducible blocks": _control_irreducible,
        "equivariant weights": _control_equivariant,
    },
)
