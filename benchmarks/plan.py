"""What the figures that wait for a GPU would take there: trainings, images, arithmetic, minutes.

``python -m benchmarks.plan --rate 25000`` takes the images per second that ``python -m benchmarks resnet`` measures on
the machine in question; without it, the rate that this project aims at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from symtheory.engine.resnet import ResNet18
from symtheory.figures import FIGURES
from symtheory.figures.base import Shard
from symtheory.figures.pictures import MADE_UP
from symtheory.lab.catalogue import COLLECTIONS

#: Training images a second that one H200 should reach.
AIM = 25_000


@dataclass(frozen=True)
class Cost:
    """Of one figure's paper preset.

    Attributes:
        figure: Its id.
        trainings: Networks that are trained.
        images: Images that go through a network forward and back, views of an image counted one by one.
    """

    figure: str
    trainings: int
    images: int


def views(shard: Shard) -> int:
    """Images that one training sees.

    Args:
        shard: Settings of the training.

    Returns:
        Their number; a contrastive training sees two views of each image.
    """
    samples = shard["samples"] or TRAINING_IMAGES[shard["data"]]
    return shard["epochs"] * (samples // shard["batch"]) * shard["batch"] * (2 if "temperature" in shard else 1)


#: Images to train on in each data set.
TRAINING_IMAGES = {**dict.fromkeys(COLLECTIONS, 50_000), "mnist": 60_000, "fashion-mnist": 60_000, MADE_UP: 512}


def costs() -> list[Cost]:
    """Of every figure that waits.

    Returns:
        In the order of the figures. Networks that two figures share are counted with both.
    """
    found = []
    for figure in FIGURES.values():
        if figure.pending:
            shards = figure.shards(figure.presets["paper"])
            found.append(Cost(figure.id, len(shards), sum(views(s) for s in shards)))
    return found


def flops() -> float:
    """Of one image through ResNet18, forward and back.

    Returns:
        Floating-point operations.
    """
    net, x = ResNet18(10, torch.Generator().manual_seed(0)).to("meta"), torch.empty(1, 3, 32, 32, device="meta")
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(net(x), torch.empty(1, dtype=torch.int64, device="meta")).backward()
    return float(counter.get_total_flops())


def main(rate: Annotated[float, typer.Option(help="Training images a second.")] = AIM) -> None:
    """Print the plan."""
    each = flops()
    table = Table("figure", "trainings", "million images", "PFLOP", f"minutes at {rate:g} images/s")
    for cost in costs():
        work = (f"{cost.images / 1e6:.0f}", f"{cost.images * each / 1e15:.0f}", f"{cost.images / rate / 60:.0f}")
        table.add_row(cost.figure, str(cost.trainings), *work)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
