r"""The teacher-student setting of figures B2 and B10 (paper B, Section 5.3 and Appendix B.1).

A random two-layer network with 300 hidden units labels 10000 standard Gaussian samples with its largest output; a
student of the same shape is trained on them by Adam, learning rate 0.01, weight decay 0.01, without (*vanilla*) and
with (*syre*) a static bias. Measured: the rank of the covariance matrix of the first layer's output on 1000 further
samples, that is the number of eigenvalues above a cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import classifier
from symtheory.engine.classifier import ACTIVATIONS, Activation
from symtheory.engine.metrics import rank_at
from symtheory.engine.updates import adam
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Shard
from symtheory.spec.params import Params
from symtheory.transforms.static import static_bias

#: Without and with a static bias.
MODELS = ("vanilla", "syre")

#: How noise comes into the inputs: drawn once, after labelling; anew in each step; once, before the teacher labels.
INPUT_NOISES = ("once", "every step", "before labels")

#: Cuts of the rank: the paper says 1e-4 under Figure 2 and 1e-3 under Figure 10.
CUTS = (1e-3, 1e-4)


@dataclass(frozen=True)
class Setting(Config):
    """What the two figures share.

    Attributes:
        hidden: Hidden units.
        classes: Outputs.
        samples: Number of training samples.
        batch: Samples on which the covariance is measured.
        steps: Adam steps, each on all samples.
        lr: Learning rate.
        decay: PyTorch's ``weight_decay``.
        sigma0: Standard deviation of syre's bias, in units of one over the root of the fan-in.
        teacher: Factor on the first layer of the teacher.
        seeds: Seeds of data, teacher, student and bias.
        activations: ``tanh`` (Appendix B.1), ``relu`` (footnote 6), or both.
    """

    hidden: int = 300
    classes: int = 10
    samples: int = 10_000
    batch: int = 1000
    steps: int = 1000
    lr: float = 0.01
    decay: float = 0.01
    sigma0: float = 0.01
    teacher: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2)
    activations: tuple[Activation, ...] = ACTIVATIONS

    def __post_init__(self) -> None:
        names = ("hidden", "classes", "samples", "batch", "steps", "lr", "decay", "sigma0", "teacher")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not self.seeds or not self.activations:
            raise SymtheoryError(
                "positive settings, at least one seed and one activation",
                f"{wrong or {'seeds': self.seeds, 'activations': self.activations}}",
                f"see {type(self).__module__}.{type(self).__name__}",
            )

    def shard(self, activation: Activation, seed: int, dim: int) -> Shard:
        """One shard: a plain student and one with a static bias, without noise.

        Args:
            activation: ``tanh`` or ``relu``.
            seed: Seed.
            dim: Input dimension.

        Returns:
            Settings for :func:`compute`.
        """
        names = ("hidden", "classes", "samples", "batch", "lr", "decay", "teacher")
        quarters = sorted({max(1, self.steps * k // 4) for k in (1, 2, 4)})
        return {
            **{k: getattr(self, k) for k in names},
            **{"activation": activation, "seed": seed, "dim": dim, "sigma0": [0.0, self.sigma0], "at": quarters},
            **{"label_noise": 0.0, "input_noise": 0.0, "noise": "once", "decoupled": False},
        }


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
            ``label_noise``, ``input_noise`` and ``noise``, one of :data:`INPUT_NOISES`.

    Returns:
        ``x_noisy``, ``labels`` to train on, and ``x`` without noise; ``batch``, ``batch_noisy`` to measure on, and
        ``batch_labels`` of the former; ``start.*``, the student; ``bias.*``, in units of one over the root of fan-in.
    """
    dim, hidden, classes = shard["dim"], shard["hidden"], shard["classes"]
    g = torch.Generator().manual_seed(shard["seed"])
    teacher = network(dim, hidden, classes, g)
    teacher["a"] = shard["teacher"] * teacher["a"]
    x, batch = torch.randn(shard["samples"], dim, generator=g), torch.randn(shard["batch"], dim, generator=g)
    label = partial(_labels, teacher, activation=shard["activation"])
    x_noisy, batch_noisy = (t + shard["input_noise"] * torch.randn(t.shape, generator=g) for t in (x, batch))
    labels = label(x_noisy if shard["noise"] == "before labels" else x)
    # each sample has its own level at which its label is replaced, and by which: more noise replaces more of the same
    fixed, turn = torch.rand(len(x), generator=g), torch.randint(1, classes, (len(x),), generator=g)
    noisy = torch.where(fixed < shard["label_noise"], (labels + turn) % classes, labels)
    student = network(dim, hidden, classes, g)
    # drawn as for a module with one weight and one bias a layer, which is how the transform would bias it
    layers = {"a": student["a"][:-1].T, "a0": student["a"][-1], "b": student["b"], "c": student["c"][:, 0]}
    drawn = static_bias(layers, 1.0, shard["seed"], relative=True)
    bias = {"a": torch.cat([drawn["a"].T, drawn["a0"][None]]), "b": drawn["b"], "c": drawn["c"][:, None]}
    return (
        {
            "x": x,
            "x_noisy": x_noisy,
            "labels": noisy,
            "batch": batch,
            "batch_noisy": batch_noisy,
            "batch_labels": label(batch),
        }
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
    data = classifier.task(drawn["x_noisy"].expand(count, -1, -1), drawn["labels"].expand(count, -1), shard["classes"])
    scale = torch.tensor(shard["sigma0"])[:, None, None]
    start = {k: drawn[f"start.{k}"].expand(count, -1, -1) for k in ("a", "b", "c")}
    bias = {k: scale * drawn[f"bias.{k}"] for k in ("a", "b", "c")}
    update = adam(decoupled=shard["decoupled"])
    lr, decay = torch.full((count,), shard["lr"]), torch.full((count,), shard["decay"])
    clean, noise = classifier.with_ones(drawn["x"]), shard["input_noise"]

    def inputs_at(t: int) -> Tensor:
        x = clean.clone()
        x[:, :-1] += noise * torch.randn(
            drawn["x"].shape, generator=torch.Generator().manual_seed(_mixed(shard["seed"], t))
        )
        return x.expand(count, -1, -1)

    anew = inputs_at if shard["noise"] == "every step" and noise else None
    kind, at, where = shard["activation"], shard["at"], {"device": device, "use_blocks": use_blocks}
    return classifier.train(start, bias, data, kind, update, lr, decay, at, inputs_at=anew, **where)


def _mixed(seed: int, step: int) -> int:
    """A seed of its own for every step."""
    return (seed + 1) * 1_000_003 + step


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
        ``spectrum`` (model, steps, index) of the first layer's output, ``noisy_spectrum`` of its output for inputs with
        the noise of the training, ``linear_spectrum`` of what the activation is applied to; their ``rank``,
        ``noisy_rank`` and ``linear_rank`` (model, steps, cut); ``accuracy`` on the batch and ``train_accuracy`` (model,
        steps).
    """
    weights, drawn, activation = students(shard, device), sample(shard), shard["activation"]
    batch, noisy, x = (classifier.with_ones(drawn[name]) for name in ("batch", "batch_noisy", "x_noisy"))

    def accuracy(inputs: Tensor, labels: Tensor) -> np.ndarray:
        right = classifier.logits(weights, inputs, activation).argmax(-2) == labels
        return right.double().mean(-1).T.numpy()

    dims = ("model", "steps")
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "accuracy": (dims, accuracy(batch, drawn["batch_labels"])),
        "train_accuracy": (dims, accuracy(x, drawn["labels"])),
    }
    outputs = {
        "": classifier.features(weights, batch, activation),
        "noisy_": classifier.features(weights, noisy, activation),
        "linear_": classifier.arguments(weights, batch),
    }
    for name, output in outputs.items():
        values = eigenvalues(output).transpose(0, 1)
        ranks = torch.stack([rank_at(values, cut) for cut in CUTS], dim=-1)
        found[f"{name}rank"] = ((*dims, "cut"), ranks.numpy())
        found[f"{name}spectrum"] = ((*dims, "index"), values.float().numpy())
    coords = {"model": list(MODELS), "steps": shard["at"], "cut": list(CUTS)}
    return xr.Dataset(found, coords={**coords, "index": np.arange(1, shard["hidden"] + 1)})


def grid(parts: Sequence[xr.Dataset], axes: Mapping[str, Sequence[Any]]) -> xr.Dataset:
    """Datasets of shards, in row-major order of some axes, as one.

    Args:
        parts: One per point of the grid.
        axes: Name to values; the last axis varies fastest.

    Returns:
        The dataset with the axes in front.
    """
    for name, values in reversed(list(axes.items())):
        along = xr.DataArray(list(values), dims=name)
        step = len(values)
        parts = [xr.concat(parts[i : i + step], dim=along, join="exact") for i in range(0, len(parts), step)]
        parts = [part.assign_coords({name: list(values)}) for part in parts]
    (whole,) = parts
    return whole


def describe(result: xr.Dataset, config: Setting) -> xr.Dataset:
    """Units and settings of a figure's result.

    Args:
        result: The result; changed in place.
        config: Settings.

    Returns:
        The same result.
    """
    for name in ("rank", "noisy_rank", "linear_rank"):
        result[name].attrs.update(long_name="eigenvalues of the covariance matrix above the cut", units="1")
    for name in ("hidden", "samples", "batch", "lr", "decay", "sigma0"):
        result.attrs[name] = getattr(config, name)
    return result
