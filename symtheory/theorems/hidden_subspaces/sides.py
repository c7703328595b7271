r"""The two sides of a wall: harmless if a relabelling of the hidden units exchanges them, harmful if none does.

A block $G/H$ has the walls $H'>H$ with $V_{in}^H = V_{in}^{H'}\oplus\mathbb R\nu$ and $V_{out}^H = V_{out}^{H'}$. An element $n$ that normalises $H$
relabels units, $(w,b,a)\mapsto(nw,b,na)$, and the function stays the same. If one in $H'$ moves anything, it is the reflection in the wall.
Everything here is computed twice: from normalisers (:mod:`symtheory.spec.walls`), and here by brute force from all automorphisms of the units,
with chambers counted by Whitney's formula. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import sympy
import torch
from sympy import Function, symbols
from torch import Tensor

from symtheory.engine.symbolic import identity, matrices
from symtheory.spec import representations as reps
from symtheory.spec.claim import Claim
from symtheory.spec.cosets import fixed_space, normalizer
from symtheory.spec.groups import FiniteGroup, Subset
from symtheory.spec.gsets import coset_space
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.representations import Representation
from symtheory.spec.verdict import Proof, Verdict
from symtheory.spec.walls import chambers, walls
from symtheory.theorems.base import Theorem
from symtheory.theorems.hidden_subspaces.bank import GROUPS, blocks, ends, irreducibles, random_sum
from symtheory.theorems.hidden_subspaces.barrier import crossing, three_units
from symtheory.theorems.hidden_subspaces.problems import Problem, problem
from symtheory.theorems.instances import generator_of, normal

#: Rounding of a loss over some tens of units and data.
LOSS_TOLERANCE = 1e-11
#: Products of matrices of a representation, against the exact answer.
MATCH = 1e-9


@dataclass(frozen=True, eq=False)
class Listing:
    """What all automorphisms of the units of a block do to its walls, one by one.

    Attributes:
        normals: Of every wall, in the coordinates of the input weights; shape ``(walls, k)``.
        moves: Every automorphism in the same coordinates, shape ``(automorphisms, k, k)``.
        full: The same in all constrained coordinates, shape ``(automorphisms, dim, dim)``.
    """

    normals: Tensor
    moves: Tensor
    full: Tensor

    @property
    def flips(self) -> Tensor:
        """Whether an automorphism exchanges the sides of a wall; shape ``(automorphisms, walls)``."""
        moved = self.moves @ self.normals.T + self.normals.T
        return (moved.abs() < MATCH).all(dim=1)

    @property
    def reflections(self) -> Tensor:
        """Whether an automorphism is the reflection in a wall, outputs and biases at rest; shape as ``flips``."""
        dim, k = self.full.shape[1], self.normals.shape[1]
        across = torch.zeros(len(self.normals), dim, dtype=torch.float64)
        across[:, :k] = self.normals
        mirrors = torch.eye(dim, dtype=torch.float64) - 2 * across[:, :, None] * across[:, None, :]
        return (self.full[:, None] - mirrors).abs().amax((2, 3)) < MATCH

    def chamber_count(self) -> int:
        r"""Whitney: $\sum_B(-1)^{|B|-\mathrm{rank}B}$ over all sets $B$ of walls.

        Returns:
            The number of chambers.
        """
        total = 0
        for size in range(len(self.normals) + 1):
            for chosen in combinations(range(len(self.normals)), size):
                rank = int(torch.linalg.matrix_rank(self.normals[list(chosen)], tol=1e-8)) if size else 0
                total += (-1) ** (size - rank)
        return total

    def orbit_count(self, samples: int = 2000) -> tuple[int, int]:
        """Chambers that random points meet, and their orbits under all automorphisms.

        Args:
            samples: Number of points.

        Returns:
            Both numbers.
        """
        points = normal(generator_of(0), samples, self.normals.shape[1])
        code = 2 ** torch.arange(len(self.normals), dtype=torch.int64)

        def chamber(x: Tensor) -> list[int]:
            return ((x @ self.normals.T > 0) * code).sum(-1).tolist()

        start = chamber(points)
        parent = {c: c for c in start}

        def root(c: int) -> int:
            while parent[c] != c:
                c = parent[c]
            return c

        for move in self.moves:
            for a, b in set(zip(start, chamber(points @ move.T), strict=True)):
                parent[root(b)] = root(a)
        return len(parent), len({root(c) for c in parent})


def listing(p: Problem) -> Listing:
    """All automorphisms of the units, as matrices on the constrained space.

    Args:
        p: A problem with a single block.

    Returns:
        The listing.
    """
    k, moves = p.dims[0], []
    units, n, out = p.layer.units.size, p.layer.rep_in.dim, p.layer.rep_out.dim
    for images in p.layer.units.automorphisms():
        there = torch.zeros(units, units, dtype=torch.float64)
        there[torch.from_numpy(images), torch.arange(units)] = 1.0
        parts = [torch.kron(there, torch.eye(d, dtype=torch.float64)) for d in (n, 1, out)]
        moves.append(p.embedding.T @ torch.block_diag(*parts) @ p.embedding)
    full = torch.stack(moves)
    normals = [p.normals(f.labels)[:k, 0] for f in p.walls]
    return Listing(torch.stack(normals) if normals else torch.zeros(0, k).double(), full[:, :k, :k], full)


def exchange_error(p: Problem, loss_of_units: bool = False) -> float:
    """Largest relative difference of a loss between points that automorphisms of the units exchange.

    Args:
        p: The problem.
        loss_of_units: Whether to take a loss that looks at single units, for a control.

    Returns:
        The difference.
    """
    loss = p.units_apart if loss_of_units else p.loss
    theta = normal(generator_of(p.seed + 5), p.dim)
    here = float(loss(theta))
    return max(abs(float(loss(move @ theta)) - here) / abs(here) for move in listing(p).full)


def differences(p: Problem) -> int:
    """Numbers in which the walls and chambers from normalisers differ from those of brute force.

    Args:
        p: A problem with a single block.

    Returns:
        How many of: visible walls, exchanged walls, chambers (twice), orbits; and of the statements that one orbit follows from visible
        walls alone and that a visible wall is one whose normaliser in $H'$ moves something.
    """
    c, found = chambers(p.layer), listing(p)
    met, orbits = found.orbit_count()
    own = p.layer.units.stabilizer(0)
    space = fixed_space(p.layer.rep_in, own)
    moving = 0
    for w in c.walls:
        inside = sorted(normalizer(p.layer.group, own) & w.subgroup)
        moves = (p.layer.rep_in.matrices[inside] @ space - space).abs().amax((1, 2)) > MATCH
        moving += int(bool(moves.any()) != w.visible)
    return (
        abs(sum(w.visible for w in c.walls) - sum(f.visible for f in p.walls))
        + abs(sum(w.visible for w in c.walls) - int(found.reflections.any(dim=0).sum()))
        + abs(sum(w.exchanged for w in c.walls) - int(found.flips.any(dim=0).sum()))
        + abs(len(c.signs) - found.chamber_count())
        + abs(len(c.signs) - met)
        + abs(len(c.orbits) - orbits)
        + int(all(w.visible for w in c.walls) and c.barrier)
        + moving
    )


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
        layers = [layer for pair in pairs for layer in blocks(group, *pair) if walls(layer) and _relabelled(layer)]
        if layers:
            found.append(problem(layers[(seed + k) % len(layers)], seed + k))
    return found


def _relabelled(layer: HiddenLayer) -> bool:
    """Whether relabelling the units of the block moves any weights."""
    own = layer.units.stabilizer(0)
    return bool(normalizer(layer.group, own) - layer.closure_of(own))


# --- the table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One block of a group.

    Attributes:
        group: Name of the group.
        ends: Inputs and outputs.
        units: Number of units, $|G/H|$.
        stabilizer: $|H|$.
        walls: Number of walls.
        visible: Walls that a relabelling reflects in.
        exchanged: Walls whose sides a relabelling exchanges.
        chambers: Number of chambers.
        orbits: Orbits of chambers under relabelling.
    """

    group: str
    ends: str
    units: int
    stabilizer: int
    walls: int
    visible: int
    exchanged: int
    chambers: int
    orbits: int

    @property
    def barrier(self) -> bool:
        """Whether some chambers are out of reach from others."""
        return self.orbits > 1


def row(layer: HiddenLayer, name: str = "") -> Row:
    """What the walls of a single block do.

    Args:
        layer: A layer with one block.
        name: Of inputs and outputs, for print-outs.

    Returns:
        The row.
    """
    c = chambers(layer)
    return Row(
        layer.group.name,
        name,
        layer.units.size,
        len(layer.units.stabilizer(0)),
        len(c.walls),
        sum(w.visible for w in c.walls),
        sum(w.exchanged for w in c.walls),
        len(c.signs),
        len(c.orbits),
    )


def table(names: Iterable[str] = tuple(GROUPS)) -> tuple[Row, ...]:
    """Every block of the groups, with every named pair of inputs and outputs.

    Args:
        names: Names in the bank.

    Returns:
        The rows, those without walls too.

    >>> [(r.units, r.walls, r.chambers, r.orbits) for r in table(["S_3"]) if r.ends == "natural, trivial"]
    [(6, 3, 6, 1), (3, 1, 2, 2), (2, 0, 1, 1), (1, 0, 1, 1)]
    """
    return tuple(
        row(layer, name)
        for group in (GROUPS[n]() for n in names)
        for name, pair in ends(group).items()
        for layer in blocks(group, *pair)
    )


def harmful_counts(group: FiniteGroup, rep_in: Representation, rep_out: Representation) -> tuple[int, int]:
    """Over all blocks: the walls, and those among them whose sides nothing exchanges.

    Args:
        group: The group.
        rep_in: Inputs.
        rep_out: Outputs.

    Returns:
        Both numbers.
    """
    every = [w for layer in blocks(group, rep_in, rep_out) for w in walls(layer)]
    return len(every), sum(not w.exchanged for w in every)


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
        r"(c) $N_G(H)/H$ permutes the chambers. With one orbit every chamber has all functions; if every wall is visible there is one orbit. With several, some targets are out of "
        r"reach from some chambers: a *barrier*. (d) If every subgroup of $G$ is normal every wall is visible. The smallest group with a harmful wall is $S_3$: the block $S_3/S_2$, if and only "
        r"if the standard representation is in the input exactly once and not in the output.",
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
