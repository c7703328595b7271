r"""Which networks satisfy Property 1 and Assumption 1 of paper B: layers, activations, normalisations and losses, one by one.

The paper says of Assumption 1 that common networks with standard activations satisfy it. A *free direction* $u$ (the loss does
not change along $u$) violates both hypotheses, since every plane $u^T\theta = s$ is then a reflection symmetry, and with them the
conclusion of Theorem 1: $\gamma\|\theta\|^2$ is even along $u$, so $\ell_r$ keeps the reflection $u^T\theta\to-u^T\theta$ for every bias. Free directions are
common: the output layer before a softmax, everything a normalisation subtracts, key biases, inputs that are always zero.
Continuous rotations violate Property 1 only; Theorem 2 is made for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from symtheory.engine.directions import Directions, unseen_directions
from symtheory.engine.model import Loss, loss_of
from symtheory.spec.params import Params, flatten, params_of, shapes_of, unflatten
from symtheory.spec.verdict import Verdict
from symtheory.theorems.instances import generator_of, normal
from symtheory.theorems.syre_bounds.frames import reflection_residual


class _Attention(nn.Module):
    """Softmax attention over a sequence, with or without biases on queries and keys."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.query = nn.Linear(3, 2, bias=bias)
        self.key = nn.Linear(3, 2, bias=bias)
        self.value = nn.Linear(3, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).transpose(-1, -2)
        return torch.softmax(scores, dim=-1) @ self.value(x)


class _Embedding(nn.Module):
    """An embedding table whose last token never occurs, then a tanh layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(4, 2))
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = nn.functional.one_hot(x[..., 0].abs().mul(10).long() % 3, 4).to(self.table)
        return self.head(torch.tanh(tokens @ self.table))


def _mlp(activation: nn.Module, *between: nn.Module, out: int = 2, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3, bias=bias), *between, activation, nn.Linear(3, out))


def _cross_entropy(out: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(out, target.argmax(-1))


def _binary(out: Tensor, target: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(out, (target > 0).to(out))


@dataclass(frozen=True)
class Architecture:
    """A small network with a loss, built the usual way.

    Attributes:
        make: Builds the module.
        criterion: The loss.
        inputs: Shape of a batch of inputs.
        outputs: Shape of a batch of targets.
        dead_input: Whether the last input feature is always zero.
    """

    make: Callable[[], nn.Module]
    criterion: Callable[[Tensor, Tensor], Tensor]
    inputs: tuple[int, ...] = (6, 2)
    outputs: tuple[int, ...] = (6, 2)
    dead_input: bool = False


_MSE = nn.functional.mse_loss

#: Usual layers, activations, normalisations and losses, with the number of free directions they must have.
ARCHITECTURES: dict[str, tuple[Architecture, int]] = {
    "tanh MLP, squared loss": (Architecture(lambda: _mlp(nn.Tanh()), _MSE), 0),
    "ReLU MLP, squared loss": (Architecture(lambda: _mlp(nn.ReLU()), _MSE), 0),
    "GELU MLP, squared loss": (Architecture(lambda: _mlp(nn.GELU()), _MSE), 0),
    "sigmoid MLP, squared loss": (Architecture(lambda: _mlp(nn.Sigmoid()), _MSE), 0),
    "tanh MLP, Huber loss": (Architecture(lambda: _mlp(nn.Tanh()), nn.functional.smooth_l1_loss), 0),
    "tanh MLP, logistic loss": (Architecture(lambda: _mlp(nn.Tanh()), _binary), 0),
    "tanh MLP, softmax cross-entropy": (
        Architecture(lambda: _mlp(nn.Tanh(), out=3), _cross_entropy, outputs=(6, 3)),
        4,
    ),
    "ReLU MLP, batch norm, squared loss": (
        Architecture(lambda: _mlp(nn.ReLU(), nn.BatchNorm1d(3, track_running_stats=False)), _MSE),
        3,
    ),
    "ReLU MLP, layer norm, squared loss": (Architecture(lambda: _mlp(nn.ReLU(), nn.LayerNorm(3)), _MSE), 3),
    "ReLU MLP, one input always zero": (Architecture(lambda: _mlp(nn.ReLU()), _MSE, dead_input=True), 3),
    "convolution, squared loss": (
        Architecture(
            lambda: nn.Sequential(nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Conv1d(2, 1, 2)), _MSE, (3, 1, 5), (3, 1, 3)
        ),
        0,
    ),
    "embedding with an unused token": (Architecture(_Embedding, _MSE, (12, 1), (12, 2)), 2),
    "attention without biases": (Architecture(lambda: _Attention(False), _MSE, (2, 4, 3), (2, 4, 1)), 0),
    "attention with biases": (Architecture(lambda: _Attention(True), _MSE, (2, 4, 3), (2, 4, 1)), 2),
    "two linear layers, squared loss": (
        Architecture(
            lambda: nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)), _MSE, outputs=(6, 1)
        ),
        0,
    ),
    "linear regression": (Architecture(lambda: nn.Linear(2, 1), _MSE, outputs=(6, 1)), 0),
}


def built(name: str, seed: int) -> tuple[Loss, Params, list[tuple[Tensor, Tensor]]]:
    """Loss, parameters and batches of an architecture.

    Args:
        name: Key of :data:`ARCHITECTURES`.
        seed: Seed of the data.

    Returns:
        The loss, random parameters and one batch.
    """
    spec, g = ARCHITECTURES[name][0], generator_of(seed)
    model = spec.make().double()
    x, y = normal(g, *spec.inputs), normal(g, *spec.outputs)
    if spec.dead_input:
        x[..., -1] = 0
    shapes = shapes_of(params_of(model))
    return loss_of(model, spec.criterion), {k: normal(g, *s) for k, s in shapes.items()}, [(x, y)]


def examine(name: str, seed: int = 0, *, rotations: bool = False) -> Directions:
    """Free and quadratic directions and rotations of an architecture.

    Args:
        name: Key of :data:`ARCHITECTURES`.
        seed: Seed.
        rotations: Whether to look for rotations.

    Returns:
        What its loss does not see.
    """
    loss, params, batches = built(name, seed)
    return unseen_directions(loss, params, batches, generator=generator_of(seed + 1), rotations=rotations)


def surviving_reflection(name: str, seed: int = 0, gamma: float = 0.3, sigma0: float = 1.0) -> float:
    r"""How far $\ell_r$ of an architecture is from symmetric under $u^T\theta\to-u^T\theta$, with $u$ its first free direction.

    Args:
        name: Key of :data:`ARCHITECTURES`, with a free direction.
        seed: Seed of data and bias.
        gamma: Weight decay.
        sigma0: Size of the bias.

    Returns:
        The reflection residual of $\ell(\theta+\theta_0)+\gamma\|\theta\|^2$; rounding if the symmetry survived.
    """
    loss, params, batches = built(name, seed)
    u, shapes = examine(name, seed).free[:, 0], shapes_of(params)
    bias = sigma0 * normal(generator_of(seed + 2), len(u))

    def removed(v: Tensor) -> Tensor:
        return loss(unflatten(v + bias, shapes), batches[0]) + gamma * v.square().sum()

    return reflection_residual(removed, torch.outer(u, u), torch.zeros_like(flatten(params)), seed)


def softmax_classifier() -> Verdict:
    r"""Theorem 1 for a tanh network with cross-entropy: adding one constant to all logits' biases is invisible to $\ell$.

    Returns:
        Verdict on "$\ell_r$ has no reflection symmetry", whose residual is 1 when one survives exactly; it must fail.
    """
    asymmetry = surviving_reflection("tanh MLP, softmax cross-entropy")
    return Verdict(
        "static bias and decay leave a softmax classifier no reflection",
        residual=min(1.0, 1e-11 / max(asymmetry, 1e-300)),
        tolerance=1e-6,
        seed=0,
    )
