r"""The two sides of a wall: harmless if a relabelling of the hidden units exchanges them, harmful if none does.

A block $G/H$ has the walls $H'>H$ with $V_{in}^H = V_{in}^{H'}\oplus\mathbb R\nu$ and $V_{out}^H = V_{out}^{H'}$. An element $n$ that normalises $H$
relabels units, $(w,b,a)\mapsto(nw,b,na)$, and the function stays the same. If one in $H'$ moves anything, it is the reflection in the wall.
Everything here is computed twice: from normalisers (:mod:`symtheory.spec.walls`), and here by brute force from all automorphisms of the units,
with chambers counted by Whitney's formula. Source: ours.
"""

from __future__ import annotations

from dataclasses import replace

import sympy
import torch
from sympy import Function, symbols

from symtheory.engine.symbolic import identity, matrices
from symtheory.spec import representations as reps
from symtheory.spec.claim import Claim
from symtheory.spec.cosets import normalizer
from symtheory.spec.groups import Subset
from symtheory.spec.gsets import coset_space
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.verdict import Proof, Verdict
from symtheory.spec.walls import walls
from symtheory.theorems.base import Theorem
from symtheory.theorems.hidden_subspaces.bank import GROUPS, blocks, ends, irreducibles, random_sum
from symtheory.theorems.hidden_subspaces.crossings import crossing, three_units
from symtheory.theorems.hidden_subspaces.listing import (
    LOSS_TOLERANCE,
    MATCH,
    differences,
    exchange_error,
    is_relabelled,
)
from symtheory.theorems.hidden_subspaces.problems import Problem, problem
from symtheory.theorems.instances import generator_of, normal


def check_sides(p: Problem) -> Verdict:
    """Normalisers and brute force agree, and the loss is the same at exchanged points, whatever the data.

    Args:
        p: A problem with a single block.

    Returns:
        Verdict whose control is a loss that looks at single units.
    """
    wrong = differences(p)
    return Verdict(
        f"{p.name}: exchanged sides have equal losses, and walls, chambers and orbits are as listed",
        residual=exchange_error(p) + wrong,
        tolerance=LOSS_TOLERANCE,
        control=exchange_error(p, loss_of_units=True),
        seed=p.seed,
        sizes={"walls": len(p.walls), "automorphisms": p.layer.units.automorphism_count},
        settings={"differences": wrong},
    )


def side_instances(seed: int) -> list[Problem]:
    """A block with walls and with automorphisms for every group that has one, with named or random inputs and outputs.

    Args:
        seed: Seed.

    Returns:
        Problems.
    """
    found = []
    for k, name in enumerate(GROUPS):
        group = GROUPS[name]()
        pairs = [*ends(group).values(), (random_sum(group, seed + k), random_sum(group, seed + k + 50, 1))]
        layers = [layer for pair in pairs for layer in blocks(group, *pair) if walls(layer) and is_relabelled(layer)]
        if layers:
            found.append(problem(layers[(seed + k) % len(layers)], seed + k))
    return found


# --- one hypothesis broken at a time, and forms that are wrong -----------------------------------------------------------


def _reflected_error(p: Problem) -> float:
    """Relative difference of the loss between a point and its reflection in the first wall."""
    c = crossing(p)
    theta = normal(generator_of(p.seed + 5), p.dim)
    here = float(p.loss(theta))
    return abs(float(p.loss(2 * c.foot(theta) - theta)) - here) / abs(here)


def _control_units(seed: int) -> Verdict:
    group = GROUPS["S_3"]()
    p = problem(next(iter(blocks(group, *ends(group)["natural, trivial"]))), seed)
    return Verdict(
        "exchanged points have equal losses, loss of a single unit",
        exchange_error(p, loss_of_units=True),
        LOSS_TOLERANCE,
        seed=seed,
    )


def _control_normalizing(seed: int) -> Verdict:
    """The wall of S_3/S_2: nothing in S_3 but S_2 itself normalises S_2."""
    return Verdict(
        "reflected points have equal losses, hidden wall",
        _reflected_error(problem(three_units(), seed)),
        LOSS_TOLERANCE,
        seed=seed,
    )


def _control_outputs(seed: int) -> Verdict:
    """S_3 with six units and outputs as rich as inputs: the exchange moves the outputs too and is no reflection of inputs."""
    group = GROUPS["S_3"]()
    p = problem(next(iter(blocks(group, *ends(group)["natural, natural"]))), seed)
    flat = max(p.layer.flats(), key=lambda f: f.dim)
    across = p.normals(flat.labels)
    into = torch.zeros(p.dim, dtype=torch.float64)
    into[: p.dims[0]] = across[: p.dims[0], int(across[: p.dims[0]].norm(dim=0).argmax())]
    into = into / into.norm()
    theta = normal(generator_of(seed + 5), p.dim)
    here = float(p.loss(theta))
    error = abs(float(p.loss(theta - 2 * (into @ theta) * into)) - here) / abs(here)
    return Verdict("reflected points have equal losses, rich outputs", error, LOSS_TOLERANCE, seed=seed)


def smaller_stabilizers(layer: HiddenLayer) -> list[tuple[bool, bool]]:
    r"""Part (b) for every wall and every $H'$ that has it as its flat, the largest or not.

    Args:
        layer: A layer with one block.

    Returns:
        Whether some $n\in N(H)\cap N(H')$ flips the normal, and whether the sides are exchanged.
    """
    own, group = layer.units.stabilizer(0), layer.group
    one, bias, two = layer.block_dims(own)
    found = []
    for w in walls(layer):
        flipped = (layer.rep_in.matrices @ w.normal + w.normal).abs().amax(1) < MATCH
        swaps = {n for n in normalizer(group, own) if bool(flipped[n])}
        for k in group.subgroups:
            if own < k and layer.block_dims(k) == (one - 1, bias, two) and layer.closure_of(k) == w.subgroup:
                found.append((bool(swaps & normalizer(group, k)), w.exchanged))
    return found


def _control_largest(seed: int) -> Verdict:
    """S_4 on numbers and signs, in a random basis: two exchanges at once, and a square that does not normalise them."""
    group = GROUPS["S_4"]()
    plain = reps.direct_sum(*irreducibles(group)[:2])
    rep = reps.random_equivalent(plain, generator_of(seed), 0.0)
    wrong = [
        said != true for layer in blocks(group, rep, reps.trivial(group)) for said, true in smaller_stabilizers(layer)
    ]
    return Verdict("any H' with this flat decides", float(sum(wrong)), LOSS_TOLERANCE, seed=seed)


def _control_activation(seed: int) -> Verdict:
    r"""With an odd activation $(-w, -b, -a)$ is the same function, on the other side of the hidden wall of S_3/S_2."""
    p = replace(problem(three_units(), seed), activation=torch.tanh)
    c, theta = crossing(p), normal(generator_of(seed), p.dim)
    there, here = (p.output(p.embedding @ v) for v in (-theta, theta))
    apart = float((there - here).norm() / here.norm())
    same = apart < LOSS_TOLERANCE and float(c.height(theta) * c.height(-theta)) < 0
    return Verdict(
        "no function of one side is one of the other, odd activation",
        float(same),
        LOSS_TOLERANCE,
        seed=seed,
        settings={"difference": apart},
    )


def visible_without_normal() -> Verdict:
    r"""The form "visible if and only if $H$ is normal in the largest $H'$" fails: $D_4$, a reflection, its natural representation.

    The half turn is in $H' = D_4$, normalises the reflection $H$ and acts as $-1$ on $\nu$; other elements of $D_4$ do not normalise $H$.

    Returns:
        Verdict on the number of visible walls whose $H$ is not normal in $H'$, which must not hold.
    """
    group = GROUPS["D_4"]()
    wrong = 0
    for layer in blocks(group, *ends(group)["natural, trivial"]):
        own = layer.units.stabilizer(0)
        wrong += sum(w.visible and not w.subgroup <= normalizer(group, own) for w in walls(layer))
    return Verdict("H is normal in H' wherever the wall is visible", float(wrong), 0.5)


def two_copies_no_wall() -> Verdict:
    r"""The form "$S_3/S_2$ is harmful on any input that contains the standard representation" fails for two copies of it.

    Returns:
        Verdict on there being a wall, which must not hold.
    """
    group = GROUPS["S_3"]()
    _, _, standard = irreducibles(group)
    pair: Subset = group.subgroup_classes[1][0]
    layer = HiddenLayer(reps.direct_sum(standard, standard), coset_space(group, pair), reps.trivial(group))
    return Verdict("S_3/S_2 has a wall on two copies of the standard representation", float(not walls(layer)), 0.5)


def _prove_sides() -> Proof:
    n, h, k, v, nu, p, nut, nt = matrices("n", "h", "h'", "v", r"\nu", "p", r"\nu^T", "n^T")
    s = Function("s")
    w, x = symbols("w1:4", real=True), symbols("x1:4", real=True)
    orders = list(sympy.utilities.iterables.permutations(range(3)))

    def six(w: tuple[sympy.Expr, ...]) -> sympy.Expr:
        return sum((s(sum(w[i] * x[j] for j, i in enumerate(o))) for o in orders), start=sympy.Integer(0))

    return Proof(
        "C.H6",
        r"any group and orthogonal representation; $h, h'$ stand for elements of $H$ with $hn = nh'$, $p$ projects on $V_{in}^{H'}$, $n\in H'$; the "
        r"invariance of the function is spelled out for the six units of $S_3$, an undefined activation and any weights",
        (
            identity(
                r"$n$ normalises $H$, so $nv$ is fixed by $H$ if $v$ is", h * n * v, n * v, {h * n: n * k, k * v: v}
            ),
            identity(r"$n\in H'$ leaves the wall where it is", n * p * v, p * v, {n * p: p}),
            identity(
                r"so $n\nu$ is orthogonal to the wall, as $pn = p$ and $p\nu = 0$", p * n * nu, 0, {p * n: p, p * nu: 0}
            ),
            identity(
                r"and as long as $\nu$, so $n\nu = \pm\nu$; with $+$ nothing in $V_{in}^H$ would move",
                nut * nt * n * nu,
                nut * nu,
                {nt * n: 1},
            ),
            identity(
                r"$R = 1-2\nu\nu^T$ is a reflection, $R^2 = 1$",
                (1 - 2 * nu * nut) * (1 - 2 * nu * nut),
                1,
                {nut * nu: 1},
            ),
            identity(
                r"that keeps its wall, so it exchanges the two chambers on both sides of any piece of it",
                (1 - 2 * nu * nut) * p,
                p,
                {nut * p: 0},
            ),
            identity(
                "relabelled weights give the same function: six units and one exchange",
                six(w),
                six((w[1], w[0], w[2])),
            ),
        ),
    )


SIDES = Theorem(
    claim=Claim(
        id="C.H6",
        source="this book; hidden subspaces: Paper C",
        title="Harmless and harmful walls",
        statement=r"Let $H'>H$ be the largest stabiliser of a wall of the block $G/H$, $V_{in}^H = V_{in}^{H'}\oplus\mathbb R\nu$, $V_{out}^H = V_{out}^{H'}$. "
        r"(a) If some $n\in N_{H'}(H)$ acts nontrivially on $V_{in}^H$, it acts as the reflection in the wall; it relabels units, so both sides have the same functions and losses. "
        r"These walls are the *visible* ones, fixed by symmetries of the constrained space itself; the others are *hidden*. "
        r"(b) A relabelling exchanges the sides of the wall if and only if some $n\in N_G(H)\cap N_G(H')$ has $n\nu = -\nu$. "
        r"(c) Let no larger subgroup fix $V_{in}^H$ (else take that one for $H$), and $V_{out}^H\ne0$. $N_G(H)/H$ permutes the chambers. With one orbit every chamber has all functions; if every wall is visible there is one orbit. With several, some targets are out of "
        r"reach from some chambers: a *barrier*. (d) If every subgroup of $G$ is normal every wall is visible. The smallest group with a harmful wall is $S_3$: the block $S_3/S_2$, if and only "
        r"if the standard representation is in the input exactly once and not in the output, which holds the trivial one (else the block computes 0).",
        hypotheses={
            "loss of the function": "$L$ does not change when hidden units are exchanged; nothing else is asked of data and targets",
            "normalising element": r"$n\in N_{H'}(H)$ moves something in $V_{in}^H$ (for a)",
            "equal outputs": r"$V_{out}^H = V_{out}^{H'}$",
            "largest stabiliser": "$H'$ contains every element that fixes the flat (for b)",
            "identifiable activation": "the function decides the weights of the block up to relabelling; not so if $s$ is odd or even (for c)",
        },
        verdict="holds",
        chapter="hidden_subspaces",
        remark=r"A wall is visible if $H$ is normal in $H'$, but not only then: in $D_4$ the half turn reflects in the wall of a reflection that is not normal. "
        r"Some hidden walls are harmless all the same, exchanged by an element outside $H'$. Two channels of the same input have no wall at all, because two dimensions are lost on the flat.",
    ),
    prove=_prove_sides,
    check=check_sides,
    instances=side_instances,
    controls={
        "loss of the function": _control_units,
        "normalising element": _control_normalizing,
        "equal outputs": _control_outputs,
        "largest stabiliser": _control_largest,
        "identifiable activation": _control_activation,
    },
    counterexamples={
        "visible only if normal": visible_without_normal,
        "any input with the standard representation": two_copies_no_wall,
    },
)
