r"""ResNet18 on CIFAR-10, as the figures of papers A and B train it.

Setting (paper A, Appendices B.2 and B.4): a standard ResNet18 with a fully connected penultimate layer of 128 units
(:mod:`symtheory.engine.resnet`), SGD with momentum 0.9, learning rate 0.1 and batches of 128.

Open in the papers and chosen here: images are cropped after padding by four pixels and mirrored at random, and
normalised by channel, as is usual; weight decay is PyTorch's, and acts on all parameters, those of normalisation
included. The smaller presets train a narrow copy of the network on fewer and smaller images, without augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import nn

from symtheory.engine.epochs import Anneal
from symtheory.engine.images import Loader, Split
from symtheory.engine.resnet import ResNet18
from symtheory.engine.supervised import Normalise, Plan
from symtheory.errors import SymtheoryError
from symtheory.figures import pictures
from symtheory.figures.base import Config, Shard

MOMENTUM = 0.9
#: Part of the images that a guess gets right: there are ten classes.
GUESS = 0.1
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Setting(Config):
    """What the figures share.

    Attributes:
        data: Name of the data set.
        samples: Images to train on; 0 for all.
        tested: Images to test on; 0 for all.
        side: Height and width to which images are averaged; 32 leaves them.
        width: Channels of the first stage; 64 for ResNet18.
        penultimate: Units of the layer before the last.
        epochs: Passes over the images.
        batch: Images a step.
        lr: Learning rate.
        anneal: How the rate falls.
        augmented: Whether images are cropped and mirrored at random.
        seeds: Seeds of start, order and augmentation.
    """

    data: str = "cifar-10"
    samples: int = 0
    tested: int = 0
    side: int = 32
    width: int = 64
    penultimate: int = 128
    epochs: int = 100
    batch: int = 128
    lr: float = 0.1
    anneal: Anneal = "constant"
    augmented: bool = True
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        names = ("side", "width", "penultimate", "epochs", "batch", "lr")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not self.seeds or min(self.samples, self.tested) < 0:
            raise SymtheoryError(
                "positive settings and a seed", f"{wrong or self.seeds}", f"see {type(self).__module__}.Settings"
            )

    def shard(self, seed: int, **own: float | int | str) -> Shard:
        """One network.

        Args:
            seed: Seed.
            **own: What it differs in from others of its figure.

        Returns:
            Settings of its training.
        """
        names = [f.name for f in fields(Setting) if f.name != "seeds"]
        return {**{k: getattr(self, k) for k in names}, "seed": seed, **own}


@dataclass(frozen=True)
class Prepared:
    """What a shard trains and measures with, on its device.

    Attributes:
        train: Images to train on.
        test: Images to test on.
        normalise: By the training images.
        plan: How to train.
        network: At its start.
    """

    train: Split
    test: Split
    normalise: Normalise
    plan: Plan
    network: ResNet18


def splits(shard: Shard, device: str, load: Loader | None) -> tuple[Split, Split, int]:
    """Images of a shard.

    Args:
        shard: With its origin, and ``samples``, ``tested`` and ``side`` as in :class:`Setting`.
        device: Where to put them.
        load: Where the data set comes from.

    Returns:
        Images to train on, images to test on, and the number of classes.
    """
    images = pictures.opened(shard, load)
    parts = [pictures.part(images.train, shard["samples"]), pictures.part(images.test, shard["tested"])]
    train, test = (part.shrunk(shard["side"]).to(device) for part in parts)
    return train, test, images.classes


def placed(network: Network, device: str) -> Network:
    """A network on a device, its channels last in memory.

    Args:
        network: Changed in place.
        device: Where to put it.

    Returns:
        The same.
    """
    return network.to(torch.device(device), memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def prepare(shard: Shard, device: str, load: Loader | None) -> Prepared:
    """Images, plan and network of a shard.

    Args:
        shard: From :meth:`Setting.shard`, with its origin.
        device: Where to train.
        load: Where the data set comes from.

    Returns:
        All of it.
    """
    train, test, classes = splits(shard, device, load)
    plan = Plan(shard["epochs"], shard["batch"], shard["lr"], shard["anneal"], shard["seed"], shard["augmented"])
    network = ResNet18(classes, torch.Generator().manual_seed(shard["seed"]), shard["penultimate"], shard["width"])
    return Prepared(train, test, Normalise(train.images), plan, placed(network, device))


def sgd(model: nn.Module | list[nn.Parameter], lr: float, decay: float) -> torch.optim.SGD:
    """SGD with the papers' momentum.

    Args:
        model: Its parameters, or the model.
        lr: Learning rate.
        decay: PyTorch's ``weight_decay``.

    Returns:
        The optimiser.
    """
    params = list(model.parameters()) if isinstance(model, nn.Module) else model
    return torch.optim.SGD(params, lr=lr, momentum=MOMENTUM, weight_decay=decay, fused=True)
