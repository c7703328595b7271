r"""Two cures of paper A that move a symmetry instead of removing it: a residual connection, and a fixed bias without decay.

If $\ell(\theta) = \ell(R\theta)$, then $\theta\mapsto\ell(\theta+c)$ is unchanged by $\theta\mapsto R(\theta+c)-c$: the mirror
lies elsewhere. Gradient descent without weight decay cannot tell: a step on $\theta$ is a step on $\theta+c$. The residual
model $(I+W)(I+U)$ is of this kind, with $c = (I, I)$, and so is $w+\beta$. Weight decay can, for it has a centre.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad

from symtheory.spec.claim import Erratum
from symtheory.spec.numerics import relative_error
from symtheory.spec.params import Params
from symtheory.spec.verdict import Verdict
from symtheory.theorems.instances import generator_of, normal

#: Double precision leaves 1e-14 after some hundred steps.
SAME = 1e-10


def train(
    loss: Callable[[Params, Tensor, Tensor], Tensor], start: Params, data: list[tuple[Tensor, Tensor]], decay: float
) -> Params:
    r"""SGD with learning rate 0.02 on one sample a step.

    Args:
        loss: $\ell(\theta, x, y)$.
        start: Initial parameters.
        data: A sample for every step.
        decay: $\gamma$, with penalty $\gamma\|\theta\|^2$.

    Returns:
        Parameters after the last step.
    """
    params = dict(start)
    for x, y in data:
        slope = grad(loss)(params, x, y)
        params = {k: p - 0.02 * (slope[k] + 2 * decay * p) for k, p in params.items()}
    return params


def _samples(seed: int, dim: int, steps: int) -> list[tuple[Tensor, Tensor]]:
    g = generator_of(seed)
    return [(normal(g, dim), normal(g, dim)) for _ in range(steps)]


def distance_of_residual(decay: float, dim: int = 4, steps: int = 200) -> float:
    r"""How far apart $(I+W)(I+U)$ and the plain $WU$ from the same end-to-end factors end.

    Args:
        decay: $\gamma$ on the parameters of each.
        dim: Size of the matrices.
        steps: Steps of SGD.

    Returns:
        Relative distance of the end-to-end maps.
    """
    g = generator_of(0)
    small = {k: 0.1 * normal(g, dim, dim) for k in ("w", "u")}
    eye = torch.eye(dim, dtype=torch.float64)

    def plain(p: Params, x: Tensor, y: Tensor) -> Tensor:
        return (p["w"] @ (p["u"] @ x) - y).square().sum()

    def residual(p: Params, x: Tensor, y: Tensor) -> Tensor:
        return plain({k: v + eye for k, v in p.items()}, x, y)

    data = _samples(1, dim, steps)
    one = train(residual, small, data, decay)
    other = train(plain, {k: v + eye for k, v in small.items()}, data, decay)
    return relative_error((one["w"] + eye) @ (one["u"] + eye), other["w"] @ other["u"])


def distance_of_bias(decay: float, dim: int = 6, steps: int = 200) -> float:
    r"""How far apart the regressor with biased factors, and the plain one from biased initial factors, end.

    Args:
        decay: $\gamma$ on the parameters of each.
        dim: Number of inputs.
        steps: Steps of SGD.

    Returns:
        Relative distance of the effective factors.
    """
    g = generator_of(0)
    start, bias = ({k: s * normal(g, dim) for k in ("w", "u")} for s in (0.5, 0.01))

    def plain(p: Params, x: Tensor, y: Tensor) -> Tensor:
        return ((p["w"] * p["u"]) @ x - y[0]).square()

    def biased(p: Params, x: Tensor, y: Tensor) -> Tensor:
        return plain({k: v + bias[k] for k, v in p.items()}, x, y)

    data = _samples(1, dim, steps)
    one = train(biased, start, data, decay)
    other = train(plain, {k: v + bias[k] for k, v in start.items()}, data, decay)
    ends = [torch.cat([p[k] + c * bias[k] for k in ("w", "u")]) for p, c in ((one, 1.0), (other, 0.0))]
    return relative_error(*ends)


def _parting(name: str, distance: float) -> Verdict:
    return Verdict(name, 1.0 - min(1.0, distance / SAME), 0.5, settings={"distance": distance})


def residual_connection() -> Verdict:
    """A residual connection is said to remove the rotation symmetry, so that the tendency to low rank disappears.

    Returns:
        Verdict on "its training parts from that of the plain model with the same initial map", which must fail.
    """
    return _parting("residual connections change where SGD without decay goes", distance_of_residual(0.0))


def bias_without_decay() -> Verdict:
    """A small fixed random bias on every weight is said to remove the symmetry.

    Returns:
        Verdict on "its training parts from that of the plain model with biased initial weights", which must fail.
    """
    return _parting("a fixed bias changes where SGD without decay goes", distance_of_bias(0.0))


RESIDUAL = Erratum(
    where="Section 3.2, on Figure 3; Appendix B.2",
    printed="The tendency to low rank disappears when the rotation symmetry is removed by a residual connection.",
    true=r"$(I+W)(I+U)$ is unchanged under $I+W\to(I+W)\Omega$, $I+U\to\Omega^T(I+U)$: the mirrors have moved to $W = U = -I$. "
    "SGD without decay goes step for step where the plain model goes from the identity.",
    counterexample="Both models on one stream of samples: after 200 steps the maps agree to rounding. With decay they part.",
    consequence="A residual connection protects the rank by its start and through weight decay, not by removing a symmetry.",
    check="symtheory.theorems.mirror_constraint.shifted.residual_connection",
)

BIAS = Erratum(
    where="Section 3.4; Appendix B.3",
    printed=r"$w_i\to w_i+\beta_i$ with a small fixed random $\beta_i$ removes the symmetry and with it the loss of plasticity.",
    true="Only together with weight decay. Without it a bias is another initialisation, and the mirror moves along.",
    counterexample=r"$(u\odot w)\cdot x$ with and without bias, from the same effective weights: both end at the same point.",
    consequence="Use a bias *and* decay, as paper B does.",
    check="symtheory.theorems.mirror_constraint.shifted.bias_without_decay",
)
