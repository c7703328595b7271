r"""Is the declared symmetry there? $|\ell(\theta) - \ell(R\theta)|$ at random points, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from symtheory.engine.model import Batch, Loss, evaluate
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import Mirror
from symtheory.spec.numerics import rounding_tolerance
from symtheory.spec.params import Params, shapes_of, size_of

#: A tolerance beyond this would call losses symmetric that plainly are not.
COARSEST = 1e-2


@dataclass(frozen=True)
class Invariance:
    r"""How far a loss is from invariant under a map of parameters.

    Attributes:
        residual: Largest change of the loss over the probes, relative to the loss's own variation between probes.
        tolerance: What rounding explains, given how small that variation is beside the loss itself.
        probes: Number of (point, sample) pairs.
    """

    residual: float
    tolerance: float
    probes: int

    @property
    def holds(self) -> bool:
        """Whether rounding explains the change."""
        return self.residual <= self.tolerance


def invariance_of(
    loss: Loss,
    action: Callable[[Params], Params],
    params: Params,
    samples: Sequence[Batch],
    *,
    generator: torch.Generator,
    points: int = 4,
    spread: float = 1.0,
) -> Invariance:
    r"""Measure $\max|\ell(\theta,x) - \ell(g\theta,x)|$ over points scattered around ``params`` and over samples.

    Args:
        loss: The loss; it is evaluated on one sample at a time, since a symmetric average proves nothing per sample.
        action: The map $\theta\mapsto g\theta$.
        params: Centre of the probes.
        samples: Batches, each of a single data point where per-sample invariance matters.
        generator: Source of randomness.
        points: Number of random points.
        spread: Standard deviation of the scatter, in units of each tensor's own root mean square (or 1 if it is 0).

    Returns:
        The residual with its tolerance.

    Raises:
        SymtheoryError: If there is no sample or no point.
    """
    if not samples or points < 1:
        raise SymtheoryError("at least one sample and one point", f"{len(samples)} and {points}", "pass some")
    values, changes = [], []
    for _ in range(points):
        probe = {}
        for name, p in params.items():
            scale = float(p.double().square().mean().sqrt()) or 1.0
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
            probe[name] = p + spread * scale * noise
        image = action(probe)
        for sample in samples:
            value = float(evaluate(loss, probe, sample))
            values.append(value)
            changes.append(abs(float(evaluate(loss, image, sample)) - value))
    largest = max(abs(v) for v in values) or 1.0
    variation = max(values) - min(values) or largest
    dtype = next(iter(params.values())).dtype
    # one evaluation chains as many operations as there are scalars; cancellation costs largest / variation
    tolerance = rounding_tolerance(size_of(shapes_of(params)), condition=largest / variation, dtype=dtype)
    if 16 * tolerance > COARSEST:
        raise SymtheoryError(
            "a loss that varies far more than its rounding",
            f"a variation of {variation:.1e} beside values of {largest:.1e} in {dtype}",
            "use float64, or subtract the constant part of the loss",
        )
    return Invariance(max(changes) / variation, 16 * tolerance, len(values))


def invariance_residual(
    loss: Loss, mirror: Mirror, params: Params, samples: Sequence[Batch], *, generator: torch.Generator, points: int = 4
) -> Invariance:
    r"""Whether $\ell(R\theta, x) = \ell(\theta, x)$ for a mirror's reflection $R$.

    Args:
        loss: The loss.
        mirror: The declared mirror.
        params: Centre of the probes.
        samples: Single data points.
        generator: Source of randomness.
        points: Number of random points.

    Returns:
        The residual with its tolerance.

    >>> from symtheory.spec import sign_flip
    >>> g = torch.Generator().manual_seed(0)
    >>> even = invariance_residual(lambda p, x: (p["w"] * x) ** 2, sign_flip({"w": ()}, ["w"]),
    ...                            {"w": torch.tensor(1.0)}, [torch.tensor(2.0)], generator=g)
    >>> even.residual
    0.0
    """
    return invariance_of(loss, mirror.reflect, params, samples, generator=generator, points=points)
