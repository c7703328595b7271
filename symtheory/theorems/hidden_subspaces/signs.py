r"""Odd activations: units can also be negated, and coincide up to sign.

$(w, b, a)\mapsto(-w, -b, -a)$ keeps the function, so exchanges with signs, $B_m$, are symmetries, and orthogonal. All that holds for exchanges
holds for them, with $G\times C_2$ acting on the units and their negatives, $\pm X$: a congruence that identifies a unit with its own negative
makes it 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec import representations as reps
from symtheory.spec.congruences import Labels
from symtheory.spec.gsets import coset_space
from symtheory.spec.hidden import Flat, HiddenLayer
from symtheory.spec.numerics import largest, relative_error
from symtheory.spec.signed import for_odd
from symtheory.spec.verdict import Verdict
from symtheory.theorems.hidden_subspaces.criticality import LEAK_TOLERANCE
from symtheory.theorems.hidden_subspaces.enumeration import FLAT_TOLERANCE, distinct, mismatch, partitions
from symtheory.theorems.hidden_subspaces.hidden import constrained_leak
from symtheory.theorems.hidden_subspaces.settings import ACTIVATIONS, GROUPS, Setting, draw, meet, on_data, setting
from symtheory.theorems.instances import generator_of, normal


def odd(kind: str, seed: int, most: int = 4) -> Setting:
    """A random setting with tanh.

    Args:
        kind: A name in ``GROUPS``.
        seed: Seed.
        most: Largest number of units.

    Returns:
        The setting.
    """
    s = setting(kind, seed, most)
    return replace(s, name=f"{s.layer.units} (tanh)", activation=ACTIVATIONS["tanh"])


def on_units(s: Setting, matrix: Tensor) -> Tensor:
    """A matrix that acts on units, on all parameters.

    Args:
        s: The setting.
        matrix: Shape ``(units, units)``.

    Returns:
        Shape ``(size, size)``; the output bias stays.
    """
    one, bias = (torch.eye(d, dtype=torch.float64) for d in (s.neuron.dim, s.layer.rep_out.dim))
    return torch.block_diag(torch.kron(matrix.contiguous(), one), bias)


def signed_matrices(size: int) -> Iterator[Tensor]:
    r"""Projectors on all that groups of exchanges with signs fix: some units 0, the others equal up to sign in classes.

    Args:
        size: Number of units, few.

    Yields:
        Every space at least once, shape ``(size, size)``.
    """
    for labels in partitions(size):
        for signs in product((1.0, -1.0), repeat=size):
            for dead in product((False, True), repeat=size):
                # the signs of dead units, and of a class as a whole, do not matter
                if any(d and sign < 0 for d, sign in zip(dead, signs, strict=True)):
                    continue
                if any(dead[i] != dead[label] or (i == label and signs[i] < 0) for i, label in enumerate(labels)):
                    continue
                v = torch.tensor(signs, dtype=torch.float64)
                same = torch.tensor([[float(a == b) for a in labels] for b in labels], dtype=torch.float64)
                mean = same / same.sum(1, keepdim=True)
                alive = torch.tensor([0.0 if d else 1.0 for d in dead], dtype=torch.float64)
                yield (v * alive)[:, None] * mean * (v * alive)


def signed_projector(labels: Labels) -> Tensor:
    r"""Projector on the units' values that are constant on the classes of a congruence of $\pm X$.

    Args:
        labels: For unit $x$ at $2x$, for its negative at $2x+1$.

    Returns:
        Shape ``(units, units)``.
    """
    same = torch.tensor([[float(a == b) for a in labels] for b in labels], dtype=torch.float64)
    mean = same / same.sum(1, keepdim=True)
    m = len(labels) // 2
    extend = torch.kron(torch.eye(m, dtype=torch.float64), torch.tensor([[1.0], [-1.0]], dtype=torch.float64)) / 2**0.5
    return extend.T @ mean @ extend


def signed_outputs(s: Setting, theta: Tensor, labels: Labels) -> Tensor:
    """Outputs of the network with one unit for every pair of opposite classes.

    Args:
        s: A setting with an odd activation.
        theta: A point of the flat.
        labels: A congruence of units and negatives.

    Returns:
        Shape ``(samples, k)``.
    """
    w, b, a, c = s.parts(theta)
    total = c.expand(len(s.inputs), -1)
    for name in sorted(set(labels)):
        x, sign = name // 2, 1 - 2 * (name % 2)
        opposite = labels[name ^ 1]
        if opposite <= name:  # its negative came first, or it is its own negative and dead
            continue
        members = [i for i, label in enumerate(labels) if label == name]
        summed = torch.stack([(1 - 2 * (i % 2)) * a[i // 2] for i in members]).sum(0)
        total = total + s.activation(sign * (s.inputs @ w[x] + b[x]))[:, None] * summed
    return total


def signed_error(s: Setting, flats: Sequence[Flat]) -> float:
    """Flats of all groups of exchanges with signs against given ones, their dimensions, and the smaller networks.

    Args:
        s: A setting of few units with an odd activation.
        flats: Of the layer with negatives.

    Returns:
        The largest error.
    """
    listed = [s.constrained @ on_units(s, signed_projector(f.labels)) for f in flats]
    brute = distinct(meet(s.constrained, on_units(s, m)) for m in signed_matrices(s.layer.units.size))
    c = s.layer.block_dims(frozenset(range(s.layer.group.order)))[2]
    point, found = normal(generator_of(s.seed + 4), s.size), [mismatch([s.constrained, *listed], brute)]
    for f, p in zip(flats, listed, strict=True):
        found.append(abs(f.dim + c - float(p.trace())))
        found.append(relative_error(signed_outputs(s, p @ point, f.labels), s.outputs(p @ point)))
    return largest(found)


def check_signed(s: Setting) -> Verdict:
    """The listed flats up to sign are those of all groups of exchanges with signs.

    Args:
        s: A setting of few units with an odd activation.

    Returns:
        Verdict whose control is the list without its last flat.
    """
    flats = for_odd(s.layer).flats()
    return Verdict(
        f"{s.name}: flats up to sign are the congruences of units and negatives",
        residual=signed_error(s, flats),
        tolerance=FLAT_TOLERANCE,
        control=signed_error(s, flats[:-1]),
        seed=s.seed,
        sizes={"units": s.layer.units.size, "flats": len(flats)},
    )


def random_signed(size: int, generator: torch.Generator) -> Sequence[Tensor]:
    """One or two random exchanges of two units, or of a unit with its negative, with random signs.

    Args:
        size: Number of units.
        generator: Source of randomness.

    Returns:
        Signed permutation matrices.
    """
    found = []
    for _ in range(1 + draw(2, generator)):
        i, j, sign = draw(size, generator), draw(size, generator), 1 - 2 * draw(2, generator)
        m = torch.eye(size, dtype=torch.float64)
        m[[i, j]] = sign * m[[j, i]] if i != j else -m[[i, j]]
        found.append(m)
    return found


def fixed_by(generators: Sequence[Tensor]) -> Tensor:
    """Projector on what orthogonal matrices fix.

    Args:
        generators: Symmetric or not.

    Returns:
        Shape ``(d, d)``.
    """
    one = torch.eye(len(generators[0]), dtype=torch.float64)
    values, vectors = torch.linalg.eigh(sum(((one - m).T @ (one - m) for m in generators), start=torch.zeros_like(one)))
    kept = vectors[:, values < FLAT_TOLERANCE]
    return kept @ kept.T


def opposite_leak(seed: int, activation: str) -> float:
    """Two units that $C_4$ exchanges, at a point where each is the negative of the other.

    Args:
        seed: Seed.
        activation: A name in ``ACTIVATIONS``.

    Returns:
        The share of the constrained gradient that leaves these points.
    """
    group = GROUPS["Z_4"]
    ends = reps.natural(group)
    s = on_data(HiddenLayer(ends, coset_space(group, group.minimal_subgroups[0]), ends), seed, activation)
    flat = meet(s.constrained, on_units(s, fixed_by([torch.tensor([[0.0, -1.0], [-1.0, 0.0]], dtype=torch.float64)])))
    return constrained_leak(s, flat, flat @ normal(generator_of(seed), s.size))


def check_signed_leak(s: Setting) -> Verdict:
    """The constrained gradient at a point that a random group of exchanges with signs fixes.

    Args:
        s: A setting with an odd activation.

    Returns:
        Verdict whose control is an activation that is not odd, on two opposite units.

    Raises:
        SymtheoryError: If all units are always equal up to sign.
    """
    g, m = generator_of(s.seed + 7), s.layer.units.size
    drawn = (meet(s.constrained, on_units(s, fixed_by(random_signed(m, g)))) for _ in range(200))
    flat = next((f for f in drawn if 0.5 < float(f.trace()) < float(s.constrained.trace()) - 0.5), None)
    if flat is None:
        raise SymtheoryError("units that can differ up to sign", s.name, "add inputs")
    return Verdict(
        f"{s.name}: the constrained gradient stays in flats up to sign",
        residual=constrained_leak(s, flat, flat @ normal(g, s.size)),
        tolerance=LEAK_TOLERANCE,
        control=opposite_leak(s.seed, "softplus"),
        seed=s.seed,
    )
