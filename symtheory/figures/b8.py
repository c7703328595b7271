r"""Figure B8 (paper B, Figure 8): a convolutional network that learns ten tasks one after another.

Setting: two convolution layers (10 and 20 channels) and two fully connected layers (320 and 50 units), see
:mod:`symtheory.engine.cnn`; MNIST with its pixels permuted nine times gives ten tasks with the original; SGD with
weight decay 0.01, without (*vanilla*) and with (*syre*) a static bias. Measured after each task, on its test images:
the accuracy, and the rank of the covariance of the second convolution layer's pooled output over 1000 images, 20
channels times 4 x 4 places in a row, that is the number of its 320 eigenvalues above $10^{-4}$.

Open in the paper and chosen here: kernels of 5 x 5, pooling over 2 x 2 and ReLU (they make the 320 units); the order of
the tasks (the original first); a batch of 64; no momentum; whether its decay is PyTorch's ``weight_decay`` (it is
here); $\sigma_0$, the standard deviation of the bias in units of one over the root of the fan-in; whether the rank is
taken before or after the activation (both are); the learning rate and the epochs of a task. On the last two the result
depends, so they are varied too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import ClassVar

import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import cnn, mlp
from symtheory.engine.images import Loader
from symtheory.errors import SymtheoryError
from symtheory.figures import pictures
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.figures.teacher import eigenvalues
from symtheory.spec.verdict import Verdict

MODELS = ("vanilla", "syre")
#: Eigenvalues above it count.
CUT = 1e-4
#: Outputs of the second convolution layer that are measured.
PLACES = ("before activation", "after activation")
#: Part of the images that a guess gets right.
GUESS = 0.1
#: The task after which the paper sees vanilla collapse.
SIXTH = 6


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        data: Name of the data set.
        samples: Images to train on; 0 for all.
        tested: Images to test on; 0 for all.
        measured: Test images over which the covariance is taken.
        tasks: Their number, the original among them.
        epochs: Passes over the images of a task.
        batch: Images a step.
        lr: Learning rate.
        decay: PyTorch's ``weight_decay``.
        sigma0: Standard deviation of syre's bias, in units of one over the root of the fan-in.
        seeds: Seeds of start, bias, batches and permutations.
        lrs: Increasing learning rates of the second panel, with ``epochs``.
        passes: Increasing epochs of the third panel, with ``lr``.
    """

    data: str = "mnist"
    samples: int = 0
    tested: int = 0
    measured: int = 1000
    tasks: int = 10
    epochs: int = 1
    batch: int = 64
    lr: float = 0.1
    decay: float = 1e-2
    sigma0: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2)
    lrs: tuple[float, ...] = (0.03, 0.1, 0.3)
    passes: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        names = ("measured", "epochs", "batch", "lr", "decay", "sigma0")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not self.seeds or min(self.samples, self.tested) < 0:
            raise SymtheoryError("positive settings and a seed", f"{wrong or self.seeds}", "see b8.Settings")
        if self.tasks < 3:
            raise SymtheoryError("the original and two or more permutations", f"{self.tasks} tasks", "take more tasks")
        for name, values in (("lrs", self.lrs), ("passes", self.passes)):
            if not values or values[0] <= 0 or list(values) != sorted(set(values)):
                raise SymtheoryError("increasing positive values", f"{values}", f"change {name}")

    def shard(self, seed: int, sigma0: float, lr: float, epochs: int) -> Shard:
        """One network.

        Args:
            seed: Seed.
            sigma0: Size of the bias; 0 for vanilla.
            lr: Learning rate.
            epochs: Passes over the images of a task.

        Returns:
            Settings for :func:`compute`.
        """
        names = ("data", "samples", "tested", "measured", "tasks", "batch", "decay")
        return {**{k: getattr(self, k) for k in names}, "seed": seed, "sigma0": sigma0, "lr": lr, "epochs": epochs}


def permutations(tasks: int, pixels: int, seed: int) -> list[Tensor]:
    """The order of the pixels in each task.

    Args:
        tasks: Their number.
        pixels: Of an image.
        seed: Seed.

    Returns:
        The identity, then random permutations.

    >>> permutations(3, 4, 0)[0].tolist()
    [0, 1, 2, 3]
    """
    g = torch.Generator().manual_seed(seed + 30_000)
    return [torch.arange(pixels), *(torch.randperm(pixels, generator=g) for _ in range(tasks - 1))]


def trained(shard: Shard, x: Tensor, y: Tensor, classes: int) -> Iterator[tuple[cnn.Shape, Tensor, Tensor]]:
    """Train one network on one task after another.

    Args:
        shard: From :meth:`Settings.shard`.
        x: Inputs, shape ``(samples, pixels)``.
        y: Labels.
        classes: Their number.

    Yields:
        After each task its pixels' order, the shape, and the weights that are run; clone what is kept.
    """
    shape, seed = cnn.Shape(classes=classes), shard["seed"]
    start = shape.start(torch.Generator().manual_seed(seed)).to(x.device)
    noise = torch.randn(shape.size, generator=torch.Generator().manual_seed(seed + 10_000))
    bias = (shard["sigma0"] * shape.scale() * noise).to(x.device)
    orders = [order.to(x.device) for order in permutations(shard["tasks"], x.shape[1], seed)]
    steps = shard["epochs"] * (len(y) // shard["batch"])

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        g = torch.Generator().manual_seed(seed + 20_000)
        for order in orders:
            for images, labels in islice(pictures.batches(x, y, shard["batch"], g), steps):
                yield images.index_select(1, order), labels

    def make(p: Tensor) -> torch.optim.Optimizer:
        return torch.optim.SGD([p], lr=shard["lr"], weight_decay=shard["decay"], fused=True)

    ends = [steps * (k + 1) for k in range(len(orders))]
    for order, (_, vector) in zip(orders, mlp.train(shape, start, bias, make, stream(), ends), strict=True):
        yield shape, order, vector


def compute(shard: Shard, device: str = "cpu", load: Loader | None = None) -> xr.Dataset:
    """Train one network and measure it after each task.

    Args:
        shard: From :meth:`Settings.shard`.
        device: Where to train.
        load: Where the data set comes from.

    Returns:
        ``accuracy`` (task) on the test images; ``recall`` (task), the mean accuracy over all tasks so far, on the
        images that are measured; ``spectrum`` (task, place, index); ``rank`` (task, place).
    """
    images = pictures.opened(shard, load)
    train, test = pictures.part(images.train, shard["samples"]), pictures.part(images.test, shard["tested"])
    train, test = train.to(device), test.to(device)
    seen, few = test.flat(), slice(shard["measured"])
    accuracy, recall, spectra, orders = [], [], [], []
    for shape, order, vector in trained(shard, train.flat(), train.labels, images.classes):
        orders.append(order)
        accuracy.append(cnn.evaluate(shape, vector, seen[:, order], test.labels)[1])
        back = [cnn.evaluate(shape, vector, seen[few, o], test.labels[few])[1] for o in orders]
        recall.append(sum(back) / len(back))
        z = cnn.outputs(shape, vector, seen[few, order])[1].flatten(1)
        spectra.append(torch.stack([eigenvalues(z), eigenvalues(z.relu())]).cpu())
    spectrum = torch.stack(spectra)
    return xr.Dataset(
        {
            "accuracy": ("task", accuracy),
            "recall": ("task", recall),
            "spectrum": (("task", "place", "index"), spectrum.numpy()),
            "rank": (("task", "place"), (spectrum > CUT).sum(-1).numpy()),
        },
        coords={
            "task": range(1, len(accuracy) + 1),
            "place": list(PLACES),
            "index": range(1, spectrum.shape[-1] + 1),
        },
    )


class B8(Figure):
    """Accuracy and rank from task to task, with and without a static bias."""

    id: ClassVar[str] = "B8"
    title: ClassVar[str] = "A network that learns task after task loses its rank, without a static bias"
    source: ClassVar[str] = "Paper B, Figure 8"
    claim: ClassVar[str] = (
        "Trained on ten permutations of MNIST one after another with weight decay 0.01, a vanilla convolutional "
        "network loses rank from task to task and collapses completely after the sixth; with syre its rank stays "
        "nearly full and its accuracy does not drop."
    )
    chapter: ClassVar[str] = "syre_bounds"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(data=pictures.MADE_UP, measured=128, tasks=3, batch=16, seeds=(0,)),
        "page": Settings(samples=10_000, tested=2000, seeds=(0,), lrs=(0.1, 0.3), passes=(1,)),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed, model, and learning rate or number of epochs.

        Args:
            config: Settings.

        Returns:
            Settings of the shards: for each seed and model the figure's own, then all rates, then all epochs.
        """
        cells = [(config.lr, config.epochs)]
        cells += [(lr, config.epochs) for lr in config.lrs] + [(config.lr, n) for n in config.passes]
        return [config.shard(s, b, lr, n) for s in config.seeds for b in (0.0, config.sigma0) for lr, n in cells]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards, and knows where the data set is.

        Returns:
            ``accuracy`` (seed, model, task), ``recall`` (seed, model, task), ``spectrum`` (seed, model, task, place,
            index), ``rank`` (seed, model, task, place); accuracies and ranks against ``lr`` and ``epochs`` under
            ``lr_*`` and ``epochs_*``.
        """
        runner, load = InProcess() if executor is None else executor, pictures.loader(executor)
        shards = pictures.with_origin(self.shards(config), load)
        parts = iter(runner.map(self.id, partial(compute, device=device, load=load), shards))
        axes = {"lr": list(config.lrs), "epochs": list(config.passes)}
        found = [[_row(parts, axes) for _ in MODELS] for _ in config.seeds]
        rows = [xr.concat(models, dim="model").assign_coords(model=list(MODELS)) for models in found]
        result = xr.concat(rows, dim="seed").assign_coords(seed=list(config.seeds))
        for name in ("", *(f"{n}_" for n in axes)):
            result[f"{name}accuracy"].attrs.update(long_name="part of the test images classified rightly", units="1")
            result[f"{name}rank"].attrs.update(long_name=f"eigenvalues above {CUT:g}", units="1")
        result["recall"].attrs.update(long_name="mean accuracy over all tasks so far", units="1")
        result["spectrum"].attrs.update(long_name="eigenvalues of the second layer's covariance", units="1")
        result["lr"].attrs.update(long_name="learning rate", units="1")
        result["epochs"].attrs.update(long_name="epochs of a task", units="1")
        result.attrs.update(sigma0=config.sigma0, decay=config.decay, fixed_lr=config.lr, fixed_epochs=config.epochs)
        return pictures.named(result, shards)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, mean over seeds.

        Args:
            result: From :meth:`run`.

        Returns:
            Vanilla's rank and accuracy at the end, and when it collapses; syre's rank and accuracy all along.
        """
        width = result.sizes["index"]
        rank = (result["rank"].sel(place="before activation") / width).mean("seed")
        test = result["accuracy"].mean("seed")
        ranks = {m: rank.sel(model=m).values for m in MODELS}
        tests = {m: test.sel(model=m).values for m in MODELS}
        # the first permuted task is the first of its kind: convolutions fit the original better
        drops = {m: float(tests[m][1] - tests[m][1:].min()) for m in MODELS}
        return [
            Verdict(
                "after the last task: vanilla's rank over the width (control: syre's)",
                float(ranks["vanilla"][-1]), 0.1, control=float(ranks["syre"][-1]), factor=5.0,
            ),
            Verdict(
                "after the last task: vanilla's test accuracy above a guess (control: syre's)",
                float(tests["vanilla"][-1]) - GUESS, 0.1, control=float(tests["syre"][-1]) - GUESS, factor=5.0,
            ),
            Verdict(
                "largest rise of vanilla's rank from a task to the next, over the width",
                max(0.0, float((ranks["vanilla"][1:] - ranks["vanilla"][:-1]).max())), 0.05,
            ),
            Verdict(
                "tasks between the sixth and the last after which vanilla is better than a guess by 0.1",
                abs(float((tests["vanilla"] - GUESS > 0.1).sum()) - SIXTH), 1.0,
                control=abs(float((tests["syre"] - GUESS > 0.1).sum()) - SIXTH), factor=3.0,
            ),
            Verdict(
                "any task: largest shortfall of syre's rank from the width, over the width (control: vanilla's)",
                float(1 - ranks["syre"].min()), 0.1, control=float(1 - ranks["vanilla"].min()), factor=5.0,
            ),
            Verdict(
                "largest drop of syre's test accuracy from the first permuted task (control: vanilla's)",
                drops["syre"], 0.1, control=drops["vanilla"], factor=3.0,
            ),
        ]  # fmt: skip


def _row(parts: Iterator[xr.Dataset], axes: Mapping[str, list[float]]) -> xr.Dataset:
    """The networks of one seed and model: the figure's own, and those along each axis."""
    row = next(parts)
    for name, values in axes.items():
        line = xr.concat([next(parts)[["accuracy", "rank"]] for _ in values], dim=name).assign_coords({name: values})
        row = row.merge(line.rename({k: f"{name}_{k}" for k in line.data_vars}), join="exact")
    return row
