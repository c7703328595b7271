r"""Figure B1 (paper B, Figure 1): from a low-capacity start vanilla networks do not get away; without symmetry they do.

Setting: a two-layer ReLU network on MNIST, trained by SGD or Adam from a start in which a fraction of the hidden
neurons are identical, a symmetric state of the permutations. Drawn is the training loss against the iteration.

The paper gives no more. Chosen: batches of 64, as for its other networks on MNIST; learning rate 0.1 (SGD), 0.001
(Adam); 3000 steps; the start of ``torch.nn.Linear``, with the first of the identical neurons copied over the others;
the removal with the paper's recommended $\sigma_0 = 0.01/\sqrt d$ ($d$ the fan-in) and the decay 0.01 that it uses
elsewhere. The weights that are *run* start in the symmetric state, with removal too: the bias enters only through the
decay. Three trainings: vanilla; decay alone; syre. A bias alone changes nothing here, as it is a change of variables.

The hidden width is 256 and not the 300 of the paper's other networks: neurons stay identical only as long as they are
*rounded* identically, and matrix products round the columns left over from a multiple of the vector length in another
order. At width 300 that difference of $10^{-9}$ is amplified until, after about a thousand steps of SGD, the copies
part; the symmetric state is a trap, but an unstable one. The largest distance between copies is therefore recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import mlp
from symtheory.engine.images import Loader
from symtheory.engine.training import train
from symtheory.errors import SymtheoryError
from symtheory.figures import pictures
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict

#: Trainings, each with the factors on decay and bias.
TRAININGS = {"vanilla": (0.0, 0.0), "decay": (1.0, 0.0), "syre": (1.0, 1.0)}
OPTIMIZERS = ("SGD", "Adam")


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the figure.

    Attributes:
        data: Name of the data set.
        samples: Images to train on; 0 for all.
        measured: Of these, images on which the loss is measured.
        hidden: Hidden units.
        different: Increasing numbers of different neurons at the start, the last being all.
        steps: Training steps.
        batch: Images a step.
        lr_sgd: Learning rate of SGD.
        lr_adam: Learning rate of Adam.
        decay: PyTorch's ``weight_decay``.
        sigma0: Standard deviation of the static bias, in units of one over the root of the fan-in.
        seeds: Seeds of start, bias and batches.
    """

    data: str = "mnist"
    samples: int = 0
    measured: int = 5000
    hidden: int = 256
    different: tuple[int, ...] = (1, 3, 10, 30, 100, 256)
    steps: int = 3000
    batch: int = 64
    lr_sgd: float = 0.1
    lr_adam: float = 1e-3
    decay: float = 0.01
    sigma0: float = 0.01
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        names = ("measured", "hidden", "steps", "batch", "lr_sgd", "lr_adam", "decay", "sigma0")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        counts = list(self.different)
        if counts != sorted(set(counts)) or len(counts) < 2 or counts[0] < 1 or counts[-1] != self.hidden:
            raise SymtheoryError("increasing numbers up to all hidden units", f"{counts}", "such as (1, 10, 256)")
        if wrong or not self.seeds or self.samples < 0:
            raise SymtheoryError("positive settings and a seed", f"{wrong or self.seeds}", "see figures.b1.Settings")


def low_capacity(shape: mlp.Shape, different: int, generator: torch.Generator) -> Tensor:
    """A start in which all hidden neurons from some number on are copies of the first.

    Args:
        shape: Two layers.
        different: Number of different neurons.
        generator: Source of randomness; what is drawn does not depend on ``different``.

    Returns:
        Shape ``(size,)``.
    """
    vector = shape.start(generator)
    (w, b), (out, _) = shape.layers(vector)
    w[:, different:], b[different:], out[different:] = w[:, :1], b[:1], out[:1]
    return vector


def copies_apart(shape: mlp.Shape, vector: Tensor, different: int) -> float:
    """Largest distance of a copy from the first neuron.

    Args:
        shape: Two layers.
        vector: Weights that are run.
        different: Number of neurons that were different at the start.

    Returns:
        Largest norm of the difference of incoming weights, bias and outgoing weights; 0 without copies.
    """
    (w, b), (out, _) = shape.layers(vector)
    neurons = torch.cat([w.T, b[:, None], out], dim=1)
    return float((neurons[different:] - neurons[:1]).norm(dim=1).max()) if different < len(b) else 0.0


def compute(shard: Shard, device: str = "cpu", load: Loader | None = None) -> xr.Dataset:
    """Train one network from each start with one optimiser and one training.

    Args:
        shard: ``optimizer``, ``training``, ``seed``, ``at`` and the settings.
        device: Where to train.
        load: Where the data set comes from.

    Returns:
        ``loss`` (different, step) and ``apart`` (different, step).
    """
    data = pictures.part(pictures.opened(shard, load).train, shard["samples"]).to(device)
    x, y = data.flat(), data.labels
    seen, known = x[: shard["measured"]], y[: shard["measured"]]
    shape, seed = mlp.Shape((x.shape[1], shard["hidden"], int(y.max()) + 1)), shard["seed"]
    decay, size = (v * k for v, k in zip(TRAININGS[shard["training"]], (shard["decay"], shard["sigma0"]), strict=True))
    noise = torch.randn(shape.size, generator=torch.Generator().manual_seed(seed + 10_000))
    bias = (size * shape.scale() * noise).to(device)
    kind = torch.optim.SGD if shard["optimizer"] == "SGD" else torch.optim.Adam

    def make(p: Tensor) -> torch.optim.Optimizer:
        return kind([p], lr=shard["lr"], weight_decay=decay, fused=True)

    losses: list[list[float]] = []
    distances: list[list[float]] = []
    for different in shard["different"]:
        start = low_capacity(shape, different, torch.Generator().manual_seed(seed)).to(device)
        stream = pictures.batches(x, y, shard["batch"], torch.Generator().manual_seed(seed + 20_000))
        losses.append([])
        distances.append([])
        for _, vector in train(shape, start, bias, make, stream, shard["at"]):
            losses[-1].append(mlp.evaluate(shape, vector, seen, known)[0])
            distances[-1].append(copies_apart(shape, vector, different))
    return xr.Dataset(
        {"loss": (("different", "step"), losses), "apart": (("different", "step"), distances)},
        coords={"different": shard["different"], "step": shard["at"]},
    )


class B1(Figure):
    """Training loss from starts of low and high capacity, with and without symmetry."""

    id: ClassVar[str] = "B1"
    title: ClassVar[str] = "From a low-capacity start, vanilla networks do not get away"
    source: ClassVar[str] = "Paper B, Figure 1"
    claim: ClassVar[str] = (
        "From a start in which many hidden neurons are identical, a vanilla network on MNIST stays trapped at a high "
        "loss under SGD and under Adam, the more so the more neurons are identical; with the symmetries removed the "
        "start no longer affects the solution found at the end."
    )
    chapter: ClassVar[str] = "syre_bounds"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(
            data=pictures.MADE_UP, measured=256, hidden=16, different=(1, 16), steps=1000, batch=16, lr_sgd=0.05,
            lr_adam=3e-3, decay=0.03, sigma0=1.0, seeds=(0,),
        ),
        "page": Settings(samples=10_000, measured=2000, different=(1, 10, 256), steps=1500, seeds=(0,)),
        "paper": Settings(),
    }  # fmt: skip

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per optimiser, training and seed.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        names = ("data", "samples", "measured", "hidden", "different", "batch", "decay", "sigma0")
        common = {k: v for k, v in config.to_json().items() if k in names}
        common["at"] = sorted({round(config.steps * (k / 14) ** 2) for k in range(15)})
        rates = {"SGD": config.lr_sgd, "Adam": config.lr_adam}
        return [
            {**common, "optimizer": o, "lr": rates[o], "training": t, "seed": s}
            for o in OPTIMIZERS
            for t in TRAININGS
            for s in config.seeds
        ]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards, and knows where the data set is.

        Returns:
            ``loss`` (optimizer, training, seed, different, step): mean cross-entropy on images trained on; ``apart``:
            largest distance between neurons that were identical at the start.
        """
        runner = InProcess() if executor is None else executor
        load = pictures.loader(executor)
        shards = pictures.with_origin(self.shards(config), load)
        parts = iter(runner.map(self.id, partial(compute, device=device, load=load), shards))
        result = xr.concat(
            [
                xr.concat(
                    [xr.concat([next(parts) for _ in config.seeds], dim="seed") for _ in TRAININGS], dim="training"
                )
                for _ in OPTIMIZERS
            ],
            dim="optimizer",
        ).assign_coords(seed=list(config.seeds), training=list(TRAININGS), optimizer=list(OPTIMIZERS))
        result["loss"].attrs.update(long_name="cross-entropy on training images, without the decay", units="nat")
        result["apart"].attrs.update(long_name="largest distance between neurons that started identical", units="1")
        result["different"].attrs.update(long_name="different hidden neurons at the start", units="1")
        result["step"].attrs.update(long_name="training steps", units="1")
        result.attrs.update(hidden=config.hidden, decay=config.decay, sigma0=config.sigma0)
        return pictures.named(result, shards)

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers, mean over seeds.

        Args:
            result: From :meth:`run`.

        Returns:
            For each optimiser: vanilla is trapped, more so from lower starts, its copies never part; with syre the
            start does not matter, with decay alone it does.
        """
        end = result["loss"].isel(step=-1).mean("seed")
        verdicts = []
        for name in result["optimizer"].values.tolist():
            losses = {t: end.sel(optimizer=name, training=t).values for t in TRAININGS}
            rise = {t: float((v.max() / v.min()) - 1) for t, v in losses.items()}
            vanilla = losses["vanilla"]
            apart = result["apart"].sel(optimizer=name).isel(different=slice(0, -1))
            verdicts += [
                Verdict(
                    f"{name}, vanilla: final loss from the full start over that from the lowest (control: syre)",
                    float(vanilla[-1] / vanilla[0]), 0.5, control=float(losses["syre"][-1] / losses["syre"][0]),
                    factor=1.5,
                ),
                Verdict(
                    f"{name}, vanilla: largest rise of the final loss from a lower to a higher start, over the whole "
                    "fall",
                    float(max(0.0, *(vanilla[1:] - vanilla[:-1]))) / float(vanilla[0] - vanilla[-1]), 0.02,
                    control=float(max(vanilla[:-1] - vanilla[1:])) / float(vanilla[0] - vanilla[-1]), factor=5.0,
                ),
                Verdict(
                    f"{name}, vanilla: largest distance ever between neurons that started identical (control: "
                    "smallest at the end with syre)",
                    float(apart.sel(training="vanilla").max()), 1e-6,
                    control=float(apart.sel(training="syre").isel(step=-1).min()),
                ),
                Verdict(
                    f"{name}, syre: relative spread of the final losses over the starts (control: decay alone)",
                    rise["syre"], 0.25, control=rise["decay"], factor=4.0,
                ),
            ]  # fmt: skip
        return verdicts
