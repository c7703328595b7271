r"""Losses with many known reflections: differences and slopes for many biases at once, counted probabilities, fitted exponents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from symtheory.engine.model import loss_of
from symtheory.engine.statistics import Proportion, clopper_pearson, fitted_exponent
from symtheory.spec import families
from symtheory.spec.params import params_of, shapes_of, size_of, unflatten
from symtheory.theorems.instances import generator_of, normal, orthonormal
from symtheory.theorems.syre_bounds.frames import FlatLoss
from symtheory.theorems.syre_bounds.search import smooth

#: Biases drawn for one probability.
DRAWS = 4000


@dataclass(frozen=True)
class Many:
    r"""A loss with $N$ known reflections, and a point.

    Attributes:
        name: Kind.
        loss: $\ell$ on flat vectors.
        projections: $P_i$, shape (N, n, n).
        centres: $\theta^*_i$, shape (N, n).
        point: $\theta$, fixed before any bias is drawn.
        gamma: $\gamma$.
        seed: Seed.
    """

    name: str
    loss: FlatLoss
    projections: Tensor
    centres: Tensor
    point: Tensor
    gamma: float
    seed: int

    @property
    def count(self) -> int:
        """Number of reflections."""
        return len(self.projections)


def permutation_network(seed: int, hidden: int = 5, gamma: float = 0.05) -> Many:
    """A tanh network with all exchanges of its hidden neurons: dependent reflections, of rank 3.

    Args:
        seed: Seed.
        hidden: Number of hidden neurons.
        gamma: Weight decay.

    Returns:
        The case.
    """
    g = generator_of(seed)
    net = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, 1, bias=False)).double()
    shapes, loss = shapes_of(params_of(net)), loss_of(net, nn.functional.mse_loss)
    batch = (normal(g, 8, 1), normal(g, 8, 1))
    axes = {"0.weight": 0, "0.bias": 0, "2.weight": 1}
    mirrors = [families.permutation(shapes, axes, i, j).to_dense(shapes) for i, j in combinations(range(hidden), 2)]
    n = size_of(shapes)
    return Many(
        f"tanh network, {len(mirrors)} exchanges",
        lambda v: loss(unflatten(v, shapes), batch),
        torch.stack(mirrors),
        torch.zeros(len(mirrors), n, dtype=torch.float64),
        normal(g, n),
        gamma,
        seed,
    )


def orthogonal_reflections(seed: int, count: int = 6, rank: int = 1, gamma: float = 0.05, offset: float = 0.2) -> Many:
    r"""A smooth loss of the squared distances to $N$ random orthogonal planes off the origin.

    Args:
        seed: Seed.
        count: $N$.
        rank: Rank of each reflection.
        gamma: Weight decay.
        offset: Size of the centres.

    Returns:
        The case.
    """
    g = generator_of(seed)
    n = count * rank + 1
    bases = orthonormal(n, count * rank, g).T.reshape(count, rank, n)
    projections = torch.einsum("kri,krj->kij", bases, bases)
    centre, f = offset * normal(g, n), smooth(count + 1, g)
    rest = torch.eye(n, dtype=torch.float64) - projections.sum(0)

    def loss(v: Tensor) -> Tensor:
        z = v - centre
        distances = (projections @ z).square().sum(-1)
        return f(torch.cat([distances, (rest @ z).sum()[None]])[None])[0]

    return Many(
        f"{count} orthogonal reflections of rank {rank}",
        loss,
        projections,
        projections @ centre,
        normal(g, n),
        gamma,
        seed,
    )


def differences(case: Many, biases: Tensor, loss: FlatLoss | None = None) -> Tensor:
    r"""$\Delta_i = \|P_i\theta\|^{-1}[\tilde\ell_{ar}(\theta^*_i+\theta)-\tilde\ell_{ar}(\theta^*_i+(I-2P_i)\theta)]$, $D = I$, for many biases.

    The loss does not depend on the bias in this frame and is evaluated once a reflection.

    Args:
        case: The case.
        biases: Shape (draws, n).
        loss: Another $\ell$, for controls.

    Returns:
        Shape (draws, N).
    """
    f = case.loss if loss is None else loss
    columns = []
    for p, centre in zip(case.projections, case.centres, strict=True):
        across = p @ case.point
        here, there = centre + case.point, centre + case.point - 2 * across
        decay = (here - biases).square().sum(1) - (there - biases).square().sum(1)
        columns.append((f(here) - f(there) + case.gamma * decay) / across.norm())
    return torch.stack(columns, dim=1)


def slopes(case: Many, biases: Tensor) -> Tensor:
    r"""$\|P_i\nabla\tilde\ell_{ar}(\varphi)\|$ at a point $\varphi$ on all mirrors, $D = I$, for many biases.

    Args:
        case: Orthogonal reflections.
        biases: Shape (draws, n).

    Returns:
        Shape (draws, N).
    """
    total = case.projections.sum(0)
    phi = case.centres.sum(0) + case.point - total @ case.point
    gradients = torch.func.grad(case.loss)(phi) + 2 * case.gamma * (phi - biases)
    return torch.stack([(gradients @ p).norm(dim=1) for p in case.projections], dim=1)


def success(case: Many, sigma0: float, epsilon: float, draws: int = DRAWS, loss: FlatLoss | None = None) -> Proportion:
    r"""Fraction of drawn biases with $\min_i|\Delta_i|>\epsilon$.

    Args:
        case: The case.
        sigma0: $\sigma_0$.
        epsilon: $\epsilon$.
        draws: Number of biases.
        loss: Another $\ell$, for controls.

    Returns:
        The proportion with its 99.9 % interval.
    """
    biases = sigma0 * normal(generator_of(case.seed + 21), draws, case.point.numel())
    smallest = differences(case, biases, loss).abs().min(dim=1).values
    return clopper_pearson(int((smallest > epsilon).sum()), draws)


@dataclass(frozen=True)
class Scaling:
    """Fitted exponents of the strength of removal, with what the bounds say.

    Attributes:
        name: Against what.
        fitted: Exponent.
        error: Standard error of the fit.
        predicted: Exponent of the bound.
        x: Abscissae.
        y: Quantiles measured.
    """

    name: str
    fitted: float
    error: float
    predicted: float
    x: Sequence[float | int]
    y: Sequence[float]


def _quantile(values: Tensor, q: float) -> float:
    return float(values.quantile(q))


def scalings(seed: int = 0, draws: int = 20000, quantile: float = 0.1) -> list[Scaling]:
    r"""How the strength that is exceeded with probability $1-q$ grows with $\gamma$, $\sigma_0$, $N$ and the rank: fitted, not assumed.

    Args:
        seed: Seed.
        draws: Biases per point.
        quantile: $q$.

    Returns:
        One row per exponent.
    """

    def row(name: str, x: Sequence[float | int], y: Sequence[float], predicted: float) -> Scaling:
        fit = fitted_exponent(x, y)
        return Scaling(name, fit.value, fit.error, predicted, x, y)

    def difference(count: int, gamma: float, sigma0: float, k: int) -> float:
        # centres at the origin: with them elsewhere the mean would add to the strength
        case = orthogonal_reflections(seed, count, gamma=gamma, offset=0.0)
        biases = sigma0 * normal(generator_of(seed + k), draws, case.point.numel())
        return _quantile(differences(case, biases).abs().min(dim=1).values, quantile)

    def slope(rank: int, count: int, k: int, q: float) -> float:
        case = orthogonal_reflections(seed, count, rank, gamma=1.0, offset=0.0)
        biases = normal(generator_of(seed + k), draws // 4, case.point.numel())
        return _quantile(slopes(case, biases).min(dim=1).values, q)

    gammas, sigmas, counts, ranks = (
        (0.01, 0.03, 0.1, 0.3),
        (0.01, 0.1, 1.0, 10.0),
        (1, 2, 4, 8, 16, 32),
        (16, 32, 64, 128, 256),
    )
    return [
        row("difference, gamma", gammas, [difference(3, a, 1.0, k) for k, a in enumerate(gammas)], 1.0),
        row("difference, sigma_0", sigmas, [difference(3, 0.1, a, k) for k, a in enumerate(sigmas)], 1.0),
        row("difference, number N", counts, [difference(a, 1.0, 1.0, k) for k, a in enumerate(counts)], -1.0),
        row("slope, rank r", ranks, [slope(a, 1, k, 0.5) for k, a in enumerate(ranks)], 0.5),
        row("slope of rank 3, number N", counts, [slope(3, a, k, quantile) for k, a in enumerate(counts)], -1 / 3),
    ]
