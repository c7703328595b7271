r"""Definition 3 of paper A: a stationary condition, $f(\theta_t) = 0 \Rightarrow f(\theta_{t+1}) = 0$ under (stochastic) gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor

from symtheory.engine.descent import optimizers, trajectory
from symtheory.engine.model import Loss
from symtheory.engine.operators import gradient
from symtheory.engine.symbolic import identity, matrices
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.numerics import largest
from symtheory.spec.params import Params, flatten
from symtheory.spec.verdict import Proof, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.instances import (
    Instance,
    abstract,
    all_kinds,
    generator_of,
    generic_function,
    normal,
    orthonormal,
    without_symmetry,
)
from symtheory.theorems.mirror_constraint.definitions import PAPER


def drift(
    condition: Callable[[Params], float],
    loss: Loss,
    start: Params,
    samples: tuple,
    *,
    steps: int = 30,
    lr: float = 0.02,
    seed: int = 0,
) -> float:
    r"""Largest $|f(\theta_t)|$ along SGD with one sample a step.

    Args:
        condition: $f$, a non-negative number.
        loss: Per-sample loss.
        start: First parameters.
        samples: Data points, drawn with replacement.
        steps: Number of steps.
        lr: Learning rate, and largest first step relative to the parameters: steep instances would diverge.
        seed: Seed of the draws.

    Returns:
        $\max_t |f(\theta_t)|$.
    """
    generator = generator_of(seed)

    def stream() -> Iterator:
        while True:
            yield samples[int(torch.randint(len(samples), (), generator=generator))]

    slopes = (flatten(gradient(loss, start, sample)).norm() for sample in samples)
    steepest = largest(float(slope) for slope in slopes) / (float(flatten(start).norm()) or 1.0)
    path = trajectory(loss, start, islice(stream(), steps), optimizers(lr / max(1.0, steepest), 0.0)["SGD"])
    return largest(condition(params) for params in path)


def _rank_deficiency(params: Params) -> float:
    """Smallest singular value of w, the nonlinear condition "w is rank deficient"."""
    return float(torch.linalg.svdvals(params["w"])[-1])


def check_stationary(instance: Instance) -> Verdict:
    r"""$f(\theta) = \|O^T\theta\|$ stays zero under SGD for the symmetric loss; the asymmetric loss leaves.

    Args:
        instance: Loss, mirror, point.

    Returns:
        Verdict on the largest distance along the trajectory.
    """
    start = instance.mirror.symmetrize(instance.params)
    scale = float(flatten(start).norm()) or 1.0
    left, broken = (
        drift(instance.mirror.distance, loss, start, instance.samples, seed=instance.seed) / scale
        for loss in (instance.loss, instance.broken)
    )
    return Verdict(
        f"{instance.name}: O^T theta = 0 is kept by SGD",
        residual=left,
        tolerance=DRIFT_TOLERANCE,
        control=broken,
        factor=10.0,
        seed=instance.seed,
        sizes={"parameters": instance.size, "rank": instance.mirror.rank},
    )


#: 30 steps may each add rounding (1e-15) and amplify it by the escape rate of a saddle (here below 2 a step's worth
#: of 1.2^30 = 240); 1e-10 leaves room and still lies far below any real drift.
DRIFT_TOLERANCE = 1e-10


def check_rank_condition(seed: int) -> Verdict:
    r"""A nonlinear stationary condition: under rotation symmetry a rank-deficient $W$ stays rank deficient.

    Args:
        seed: Seed.

    Returns:
        Verdict on the smallest singular value along SGD.
    """
    g = generator_of(seed)
    f, h = generic_function(16, g), generic_function(12, g)
    start = {"w": normal(g, 3, 4)}
    n = orthonormal(3, 1, g)
    start["w"] = start["w"] - n @ (n.T @ start["w"])
    samples = tuple(normal(g, 3) for _ in range(4))
    rotated, plain = (
        drift(_rank_deficiency, loss, start, samples, seed=seed)
        for loss in (
            lambda p, x: f((p["w"].T @ p["w"]).reshape(-1), x),
            lambda p, x: h(p["w"].reshape(-1), x),
        )
    )
    return Verdict("rank W < d is kept by SGD", rotated, DRIFT_TOLERANCE, control=plain, seed=seed)


def _control_off(seed: int) -> Verdict:
    """Definition 3 says nothing about a trajectory that starts with f != 0."""
    instance = abstract("basis", seed)
    value = drift(instance.mirror.distance, instance.loss, instance.params, instance.samples, seed=seed)
    return Verdict("a start off the condition stays on it", value, DRIFT_TOLERANCE, seed=seed)


def _control_stationary_asymmetric(seed: int) -> Verdict:
    return check_stationary(without_symmetry(abstract("basis", seed)))


def stationary_point_under_sgd() -> Verdict:
    r"""The paper: every stationary point of the landscape is a stationary condition. Under SGD it is not.

    $\ell(\theta, x) = \tfrac12(\theta - x)^2$ with $x = \pm1$ equally likely: $\theta = 0$ is the minimum of
    $L = E_x\ell$, and one SGD step leaves it.

    Returns:
        The verdict on the printed remark.
    """
    start = {"theta": torch.zeros(1, dtype=torch.float64)}
    samples = tuple(torch.tensor([x], dtype=torch.float64) for x in (-1.0, 1.0))

    def loss(p: Params, x: Tensor) -> Tensor:
        return ((p["theta"] - x) ** 2).sum() / 2

    value = drift(lambda p: float(p["theta"].abs()), loss, start, samples, steps=1, lr=0.1)
    return Verdict("the stationary point theta = 0 is kept by SGD", value, DRIFT_TOLERANCE, sizes={"n": 1})


def _prove_stationary() -> Proof:
    ot, w, g = matrices("O^T", "w", r"\nabla\ell")
    return Proof(
        "A.D3",
        "any dimension and rank; one SGD step of any size (a step size commutes with everything)",
        (identity("a step with no normal gradient stays", ot * (w - g), 0, {ot * w: 0, ot * g: 0}),),
    )


def _simple_instances(seed: int) -> list[Instance]:
    return [abstract("simple", seed)]


STATIONARY = Theorem(
    claim=Claim(
        id="A.D3",
        source=f"{PAPER}, Definition 3",
        title="Stationary condition",
        statement=r"$f(\theta) = 0$ is a stationary condition of $L$ if $f(\theta_t) = 0$ implies $f(\theta_{t+1}) = 0$ "
        r"under (stochastic) gradient descent. $f$ may be nonlinear.",
        hypotheses={
            "start on the condition": "$f(\\theta_0) = 0$",
            "per-sample gradients": "every sample's gradient step keeps $f = 0$",
        },
        verdict="holds",
        chapter="mirror_constraint",
        remark="The condition is kept for every step size and every order of the samples; it is not an attractor by "
        "itself. A nonlinear example, checked here: under rotation symmetry a rank-deficient matrix stays so.",
        errata=(
            Erratum(
                where="Section 2.2, after Corollary 1",
                printed=r"Every stationary point $\theta^*$ of the landscape implies a stationary condition (read: $\theta = \theta^*$).",
                true="Under full-batch GD. Under SGD it needs every *sample's* gradient to vanish there.",
                counterexample=r"$\ell = \tfrac12(\theta-x)^2$, $x=\pm1$: $\theta=0$ minimises $E\,\ell$; one SGD step leaves it.",
                consequence="A zero full-batch gradient does not certify an absorbing state; test per-sample gradients.",
                check="symtheory.theorems.mirror_constraint.stationary.stationary_point_under_sgd",
                kind="wording",
            ),
        ),
    ),
    prove=_prove_stationary,
    check=check_stationary,
    instances=all_kinds,
    controls={"start on the condition": _control_off, "per-sample gradients": _control_stationary_asymmetric},
    counterexamples={"stationary point under SGD": stationary_point_under_sgd},
)
