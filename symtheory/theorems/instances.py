r"""Random instances: smooth losses without any symmetry, the mirrors to symmetrise them with, and small real networks.

Every loss with the mirror symmetry $R$ has the form $\ell(\theta) = \tfrac12[g(\theta) + g(R\theta)]$ (take
$g = \ell$), so a random smooth $g$ gives the general case rather than a convenient one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from symtheory.engine.model import Batch, Loss, loss_of
from symtheory.spec import families
from symtheory.spec.mirror import Block, Mirror
from symtheory.spec.params import Params, Shapes, flatten, params_of, shapes_of, size_of

#: Tensors of the abstract instances: matrices that can be rotated together, and a vector.
SHAPES: Shapes = {"u": (5, 3), "w": (3, 4), "b": (3,)}
DATA = 3


@dataclass(frozen=True)
class Instance:
    r"""A loss, a mirror and a generic point.

    Attributes:
        name: Kind, for messages.
        loss: Non-negative per-sample loss $\ell_0(\theta, x)$, symmetric under the mirror.
        mirror: The mirror.
        params: A generic point, off the mirror (float64).
        samples: Single data points.
        broken: The same loss with the symmetry broken.
        seed: Seed it was drawn from.
    """

    name: str
    loss: Loss
    mirror: Mirror
    params: Params
    samples: tuple[Batch, ...]
    broken: Loss
    seed: int

    @property
    def size(self) -> int:
        """Number of parameters."""
        return size_of(shapes_of(self.params))


def generator_of(seed: int) -> torch.Generator:
    """Seeded source of randomness.

    Args:
        seed: Any integer.

    Returns:
        A CPU generator.
    """
    return torch.Generator().manual_seed(seed)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal float64 numbers.

    Args:
        generator: Source of randomness.
        *shape: Shape.

    Returns:
        Tensor of that shape.
    """
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def generic_function(size: int, generator: torch.Generator, features: int = 6) -> Callable[[Tensor, Tensor], Tensor]:
    r"""Random smooth non-negative $g(z, x)$ with no symmetry in $z$.

    Softplus features of an affine map of $(z, x)$ plus half a square; every derivative is generic.

    Args:
        size: Length of $z$.
        generator: Source of randomness.
        features: Number of features.

    Returns:
        ``g(z, x)`` for ``z`` of shape ``(size,)`` and ``x`` of shape ``(DATA,)``, a scalar.
    """
    a, c, d = (
        normal(generator, features, size) / size**0.5,
        normal(generator, features, DATA),
        normal(generator, features),
    )
    weights = torch.rand(features, generator=generator, dtype=torch.float64) + 0.5
    mix = normal(generator, features)

    def g(z: Tensor, x: Tensor) -> Tensor:
        h = a @ z + c @ x + d
        return (weights * nn.functional.softplus(h)).sum() + 0.5 * (mix * torch.tanh(h)).sum() ** 2

    return g


def symmetrized(loss: Loss, mirror: Mirror) -> Loss:
    r"""$\tfrac12[\ell(\theta, x) + \ell(R\theta, x)]$.

    Args:
        loss: Any loss.
        mirror: The mirror of $R$.

    Returns:
        A loss with the mirror symmetry.
    """

    def symmetric(params: Params, batch: Batch) -> Tensor:
        return (loss(params, batch) + loss(mirror.reflect(params), batch)) / 2

    return symmetric


def orthonormal(d: int, r: int, generator: torch.Generator) -> Tensor:
    """Random orthonormal columns, uniform over such frames up to signs.

    Args:
        d: Number of rows.
        r: Number of columns, at most ``d``.
        generator: Source of randomness.

    Returns:
        Matrix of shape ``(d, r)``.
    """
    return torch.linalg.qr(normal(generator, d, r)).Q


def random_mirror(kind: str, generator: torch.Generator, shapes: Shapes | None = None) -> Mirror:
    """Random mirror of a kind on the given tensors, of random rank.

    Args:
        kind: One of :data:`KINDS`.
        generator: Source of randomness.
        shapes: Tensors named as in :data:`SHAPES`, possibly of other sizes.

    Returns:
        The mirror.
    """
    s = SHAPES if shapes is None else shapes
    n, d = size_of(s), s["w"][0]

    def draw(high: int) -> int:
        return int(torch.randint(1, high + 1, (), generator=generator))

    match kind:
        case "simple":
            return families.from_basis(orthonormal(n, 1, generator), s)
        case "basis":
            return families.from_basis(orthonormal(n, draw(n - 1), generator), s)
        case "projection":
            o = orthonormal(n, draw(n - 1), generator)
            return families.from_projection(o @ o.T, s)
        case "rotation":
            return families.rotation(s, "w", orthonormal(d, draw(d - 1), generator))  # all d would be a plain sign flip
        case "double rotation":
            return families.double_rotation(s, {"u": 1, "w": 0}, orthonormal(d, draw(d - 1), generator))
        case "permutation":
            i, j = torch.randperm(d, generator=generator)[:2].tolist()
            return families.permutation(s, {"u": 1, "w": 0, "b": 0}, i, j)
        case _:
            return families.rescaling(s, "u", "w")


#: Kinds of random mirrors; the first five are generic, not aligned with coordinate axes.
KINDS = ("simple", "basis", "projection", "rotation", "double rotation", "permutation", "rescaling")


def abstract(kind: str, seed: int, shapes: Shapes | None = None, samples: int = 4) -> Instance:
    """A random smooth loss symmetrised under a random mirror.

    Args:
        kind: One of :data:`KINDS`.
        seed: Seed.
        shapes: Tensors named as in :data:`SHAPES`.
        samples: Number of data points.

    Returns:
        The instance; its broken loss is the one before symmetrisation.
    """
    generator = generator_of(seed)
    s = SHAPES if shapes is None else shapes
    mirror = random_mirror(kind, generator, s)
    g = generic_function(size_of(s), generator)

    def broken(params: Params, x: Tensor) -> Tensor:
        return g(flatten(params), x)

    params = {name: normal(generator, *shape) for name, shape in s.items()}
    data = tuple(normal(generator, DATA) for _ in range(samples))
    return Instance(kind, symmetrized(broken, mirror), mirror, params, data, broken, seed)


class _Attention(nn.Module):
    """One softmax attention head; queries and keys have a double rotation symmetry."""

    def __init__(self, width: int, head: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, head, bias=False)
        self.key = nn.Linear(width, head, bias=False)
        self.value = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).T / self.key.out_features**0.5
        return torch.softmax(scores, dim=-1) @ self.value(x)


class _Hadamard(nn.Module):
    """Linear regression with weights ``u * w``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.zeros(width))
        self.w = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return (self.u * self.w) @ x


def _mlp(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), activation, nn.Linear(5, 2))


def _network(
    seed: int, name: str, model: nn.Module, mirror_of: Callable[[Shapes], Mirror], inputs: tuple[int, ...]
) -> Instance:
    generator = generator_of(seed)
    model = model.double()
    shapes = shapes_of(params_of(model))
    params = {k: normal(generator, *s) for k, s in shapes.items()}
    x = [normal(generator, *inputs) for _ in range(4)]
    out = torch.func.functional_call(model, params, (x[0],)).shape
    loss = loss_of(model, nn.functional.mse_loss)
    samples = tuple((a, normal(generator, *out)) for a in x)
    tilt = {k: normal(generator, *s) for k, s in shapes.items()}

    def broken(p: Params, batch: Batch) -> Tensor:
        return loss(p, batch) + torch.stack([torch.sin((p[k] * t).sum()) for k, t in tilt.items()]).sum()

    return Instance(name, loss, mirror_of(shapes), params, samples, broken, seed)


NETWORKS: dict[str, Callable[[int], Instance]] = {
    "ReLU MLP, two neurons exchanged": lambda seed: _network(
        seed,
        "relu_mlp",
        _mlp(nn.ReLU()),
        lambda s: families.permutation(s, {"0.weight": 0, "0.bias": 0, "2.weight": 1}, 1, 3),
        (4,),
    ),
    "tanh MLP, one neuron negated": lambda seed: _network(
        seed,
        "tanh_mlp",
        _mlp(nn.Tanh()),
        lambda s: families.sign_flip(
            s, [Block("0.weight", 0, (2,)), Block("0.bias", 0, (2,)), Block("2.weight", 1, (2,))]
        ),
        (4,),
    ),
    "linear MLP, hidden layer rotated": lambda seed: _network(
        seed,
        "linear_mlp",
        nn.Sequential(nn.Linear(4, 5, bias=False), nn.Linear(5, 2)),
        lambda s: families.double_rotation(
            s, {"0.weight": 0, "1.weight": 1}, orthonormal(5, 2, generator_of(seed + 1))
        ),
        (4,),
    ),
    "attention, queries and keys rotated": lambda seed: _network(
        seed,
        "attention",
        _Attention(4, 3),
        lambda s: families.double_rotation(
            s, {"query.weight": 0, "key.weight": 0}, orthonormal(3, 1, generator_of(seed + 1))
        ),
        (6, 4),
    ),
    "convolution, two filters exchanged": lambda seed: _network(
        seed,
        "conv",
        nn.Sequential(nn.Conv1d(2, 4, 3), nn.GELU(), nn.Conv1d(4, 1, 3)),
        lambda s: families.permutation(s, {"0.weight": 0, "0.bias": 0, "2.weight": 1}, 0, 3),
        (1, 2, 9),
    ),
    "Hadamard regression, u and w exchanged": lambda seed: _network(
        seed, "hadamard", _Hadamard(6), lambda s: families.rescaling_pair(s, "u", "w")[0], (6,)
    ),
    "Hadamard regression, one sign pair flipped": lambda seed: _network(
        seed,
        "hadamard_flip",
        _Hadamard(6),
        lambda s: families.sign_flip(s, [Block("u", 0, (2,)), Block("w", 0, (2,))]),
        (6,),
    ),
}


def all_kinds(seed: int) -> list[Instance]:
    """One abstract instance of every kind of mirror and one of every network.

    Args:
        seed: Seed.

    Returns:
        The instances.
    """
    return [abstract(kind, seed) for kind in KINDS] + [make(seed) for make in NETWORKS.values()]


def without_symmetry(instance: Instance) -> Instance:
    """The instance with its loss replaced by the asymmetric one.

    Args:
        instance: Any instance.

    Returns:
        The broken instance.
    """
    return replace(instance, name=f"{instance.name}, symmetry broken", loss=instance.broken)
