r"""The teacher-student setting of figures B2 and B10 (paper B, Section 5.3 and Appendix B.1).

A random two-layer network with 300 hidden units labels 10000 standard Gaussian samples with its largest output; a
student of the same shape is trained on them by Adam, learning rate 0.01, weight decay 0.01, without (*vanilla*) and
with (*syre*) a static bias. Measured: the rank of the covariance matrix of the first layer's output on 1000 further
samples, that is the number of eigenvalues above a cut.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import classifier
from symtheory.engine.classifier import Activation
from symtheory.engine.updates import adam
from symtheory.figures.base import Shard
from symtheory.spec.params import Params
from symtheory.transforms.static import static_bias

METHODS = ("vanilla", "syre")


def network(dim: int, hidden: int, classes: int, generator: torch.Generator) -> Params:
    r"""Random weights as ``torch.nn.Linear`` draws them: $\mathrm{Uniform}(\pm1/\sqrt{\text{fan-in}})$, biases too.

    Args:
        dim: Input dimension.
        hidden: Hidden units.
        classes: Outputs.
        generator: Source of randomness.

    Returns:
        ``a`` (dim + 1, hidden), ``b`` (classes, hidden), ``c`` (classes, 1).
    """

    def uniform(*shape: int, fan_in: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) * fan_in**-0.5

    return {
        "a": uniform(dim + 1, hidden, fan_in=dim),
        "b": uniform(classes, hidden, fan_in=hidden),
        "c": uniform(classes, 1, fan_in=hidden),
    }


def sample(shard: Shard) -> dict[str, Tensor]:
    """Draw data, teacher, student and bias of one seed, the same for every noise level.

    Args:
        shard: ``activation``, ``dim``, ``hidden``, ``classes``, ``samples``, ``batch``, ``teacher``, ``seed``,
            ``label_noise``, ``input_noise``.

    Returns:
        ``x``, ``labels`` to train on; ``batch``, ``batch_labels`` to measure on, without noise; ``start.*``, the
        student; ``bias.*``, in units of one over the root of the fan-in.
    """
    dim, hidden, classes = shard["dim"], shard["hidden"], shard["classes"]
    g = torch.Generator().manual_seed(shard["seed"])
    teacher = network(dim, hidden, classes, g)
    teacher["a"] = shard["teacher"] * teacher["a"]
    x, batch = torch.randn(shard["samples"], dim, generator=g), torch.randn(shard["batch"], dim, generator=g)
    label = partial(_labels, teacher, activation=shard["activation"])
    labels = label(x)
    # each sample has its own level at which its label is replaced, and by which: more noise replaces more of the same
    fixed, turn = torch.rand(len(x), generator=g), torch.randint(1, classes, (len(x),), generator=g)
    noisy = torch.where(fixed < shard["label_noise"], (labels + turn) % classes, labels)
    x_noisy = x + shard["input_noise"] * torch.randn(x.shape, generator=g)
    student = network(dim, hidden, classes, g)
    # drawn as for a module with one weight and one bias a layer, which is how the transform would bias it
    layers = {"a": student["a"][:-1].T, "a0": student["a"][-1], "b": student["b"], "c": student["c"][:, 0]}
    drawn = static_bias(layers, 1.0, shard["seed"], relative=True)
    bias = {"a": torch.cat([drawn["a"].T, drawn["a0"][None]]), "b": drawn["b"], "c": drawn["c"][:, None]}
    return (
        {"x": x_noisy, "labels": noisy, "batch": batch, "batch_labels": label(batch)}
        | {f"start.{k}": v for k, v in student.items()}
        | {f"bias.{k}": v for k, v in bias.items()}
    )


def _labels(teacher: Params, x: Tensor, *, activation: Activation) -> Tensor:
    """The teacher's largest output."""
    return classifier.logits(teacher, classifier.with_ones(x), activation).argmax(0)


def students(shard: Shard, device: str = "cpu", *, use_blocks: bool = True) -> Params:
    """Train one student per bias in ``sigma0``, all from the same start on the same data.

    Args:
        shard: As for :func:`sample`, and ``sigma0``, ``at``, ``lr``, ``decay``, ``decoupled``.
        device: Where to train.
        use_blocks: See :func:`symtheory.engine.classifier.train`.

    Returns:
        ``a``, ``b``, ``c`` of shape ``(len(at), len(sigma0), ...)``.
    """
    drawn, count = sample(shard), len(shard["sigma0"])
    data = classifier.task(
        drawn["x"].expand(count, -1, -1), drawn["labels"].expand(count, -1), shard["classes"]
    )
    scale = torch.tensor(shard["sigma0"])[:, None, None]
    start = {k: drawn[f"start.{k}"].expand(count, -1, -1) for k in ("a", "b", "c")}
    bias = {k: scale * drawn[f"bias.{k}"] for k in ("a", "b", "c")}
    update = adam(decoupled=shard["decoupled"])
    lr, decay = torch.full((count,), shard["lr"]), torch.full((count,), shard["decay"])
    return classifier.train(
        start, bias, data, shard["activation"], update, lr, decay, shard["at"], device=device, use_blocks=use_blocks
    )


def eigenvalues(outputs: Tensor) -> Tensor:
    """Eigenvalues of the covariance matrix over samples, largest first, in float64.

    Args:
        outputs: Shape ``(..., samples, units)``.

    Returns:
        Shape ``(..., units)``.
    """
    centred = outputs.double() - outputs.double().mean(-2, keepdim=True)
    return torch.linalg.eigvalsh(centred.mT @ centred / (outputs.shape[-2] - 1)).flip(-1).clamp(min=0)


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Train the students of one shard and measure them.

    Args:
        shard: See :func:`students`.
        device: Where to train.

    Returns:
        ``spectrum`` (steps, sigma0, index) of the first layer's output, ``linear_spectrum`` of what its activation is
        applied to, ``accuracy`` and ``train_accuracy`` (steps, sigma0).
    """
    weights, drawn, activation = students(shard, device), sample(shard), shard["activation"]
    batch, x = classifier.with_ones(drawn["batch"]), classifier.with_ones(drawn["x"])

    def accuracy(inputs: Tensor, labels: Tensor) -> np.ndarray:
        right = classifier.logits(weights, inputs, activation).argmax(-2) == labels
        return right.double().mean(-1).numpy()

    dims = ("steps", "sigma0")
    return xr.Dataset(
        {
            "spectrum": ((*dims, "index"), eigenvalues(classifier.features(weights, batch, activation)).numpy()),
            "linear_spectrum": ((*dims, "index"), eigenvalues(classifier.arguments(weights, batch)).numpy()),
            "accuracy": (dims, accuracy(batch, drawn["batch_labels"])),
            "train_accuracy": (dims, accuracy(x, drawn["labels"])),
        },
        coords={"steps": shard["at"], "sigma0": shard["sigma0"], "index": np.arange(1, shard["hidden"] + 1)},
    )
