r"""What Theorems 2, 3 and 4 of paper A share: a loss of a symmetry class, its constraint, its threshold.

Each corollary is checked on the general loss of its class (a random smooth function of a complete set of invariants),
without going through Theorem 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from symtheory.engine.invariance import invariance_of
from symtheory.engine.model import Loss, with_decay
from symtheory.engine.operators import gradient
from symtheory.spec.numerics import largest, require_finite, rounding_tolerance
from symtheory.spec.params import Params, flatten, shapes_of, size_of
from symtheory.spec.verdict import Verdict
from symtheory.theorems.instances import DATA, generator_of, generic_function, normal
from symtheory.theorems.mirror_constraint.preference import threshold_residual

GAMMA = 0.7


@dataclass(frozen=True)
class Family:
    r"""One corollary's instance: a loss of the class, the constrained point, what must vanish there, the decay's target.

    Attributes:
        name: Kind.
        loss: $\ell_0(\theta, x)$ of the class.
        broken: A loss outside the class.
        params: A generic point.
        constrain: Map to the constrained point of part 1.
        across: What part 1 says about the gradient, as a tensor that must vanish.
        target: Map to the point that part 2 compares with.
        actions: Group elements under which the loss must be invariant.
        samples: Data points.
        seed: Seed.
    """

    name: str
    loss: Loss
    broken: Loss
    params: Params
    constrain: Callable[[Params], Params]
    across: Callable[[Params], Tensor]
    target: Callable[[Params], Params]
    actions: tuple[Callable[[Params], Params], ...]
    samples: tuple[Tensor, ...]
    seed: int


def family_residual(family: Family, loss: Loss) -> float:
    r"""Largest violation: invariance, the gradient across the constraint (part 1), the threshold from both sides (part 2).

    Args:
        family: The instance.
        loss: Its loss, or the broken one.

    Returns:
        A relative residual.
    """
    found, point = [], family.constrain(family.params)
    for action in family.actions:
        g = generator_of(family.seed)
        found.append(invariance_of(loss, action, family.params, family.samples, generator=g, points=2).residual)
    for x in family.samples:
        grads = gradient(with_decay(loss, GAMMA), point, x)
        generic = float(flatten(gradient(loss, family.params, x)).norm()) or 1.0  # at the constraint all may vanish
        require_finite(flatten(grads), "the gradient")
        found += [
            float(family.across(grads).norm()) / generic,
            threshold_residual(loss, family.target, family.params, x),
        ]
    return largest(found)


def check_family(family: Family) -> Verdict:
    """Both parts of the corollary on one instance.

    Args:
        family: The instance.

    Returns:
        Verdict whose control is the loss outside the class.
    """
    size = size_of(shapes_of(family.params))
    return Verdict(
        f"{family.name}: constrained gradient and exact threshold",
        residual=family_residual(family, family.loss),
        tolerance=100 * rounding_tolerance(size),  # a rescaling by rho in [1/4, 4] magnifies rounding by up to 16
        control=family_residual(family, family.broken),
        seed=family.seed,
        sizes={"parameters": size, "samples": len(family.samples)},
        settings={"gamma": GAMMA},
    )


def general_loss(
    shapes: dict[str, tuple[int, ...]], invariants: Callable[[Params], Tensor], g: torch.Generator
) -> tuple[Loss, Loss, Params, tuple[Tensor, ...]]:
    """General loss of a class, one outside it, a generic point, data.

    Args:
        shapes: Shapes of the parameters.
        invariants: Complete set of invariants of the class.
        g: Source of randomness.

    Returns:
        Loss, broken loss, point and data.
    """
    params = {k: normal(g, *s) for k, s in shapes.items()}
    inside = generic_function(invariants(params).numel(), g)
    outside = generic_function(size_of(shapes), g)
    data = tuple(normal(g, DATA) for _ in range(2))
    return (
        lambda p, x: inside(invariants(p).reshape(-1), x),
        lambda p, x: outside(flatten(p), x),
        params,
        data,
    )


def outside(make: Callable[[int], Family]) -> Callable[[int], Verdict]:
    """Control: a loss outside the class.

    Args:
        make: Instance for a seed.

    Returns:
        Control for a seed.
    """

    def control(seed: int) -> Verdict:
        family = make(seed)
        return check_family(replace(family, loss=family.broken, name=f"{family.name}, loss outside the class"))

    return control


def unconstrained(make: Callable[[int], Family]) -> Callable[[int], Verdict]:
    """Control: part 1 at a point that does not meet the constraint.

    Args:
        make: Instance for a seed.

    Returns:
        Control for a seed.
    """

    def control(seed: int) -> Verdict:
        return check_family(replace(make(seed), constrain=lambda p: p, name="part 1 away from the constraint"))

    return control


def degenerate(make: Callable[[int], Family], name: str) -> Callable[[int], Verdict]:
    """Part 2 started at its own target: there strict inequality is impossible at every decay.

    Args:
        make: Instance for a seed.
        name: For messages.

    Returns:
        Control for a seed.
    """

    def control(seed: int) -> Verdict:
        family = make(seed)
        point = family.target(family.params)
        return check_family(replace(family, params=point, target=lambda p: p, name=name))

    return control
