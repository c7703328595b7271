"""ResNet18 with batches of 128: one step of ours against the loop as it is usually written; of DCS against vanilla.

``python -m benchmarks.plan`` turns images per second into the minutes that each figure's paper preset needs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import Timing, timed
from symtheory.engine import supervised
from symtheory.engine.images import Split
from symtheory.engine.resnet import ResNet18
from symtheory.engine.supervised import Normalise, Plan
from symtheory.figures import residual
from symtheory.transforms.dcs import DCS, dcs, sign_flip_all

BATCH = 128


class Items(Dataset[Any]):
    """Images one by one: cropped, mirrored and normalised when they are asked for.

    Args:
        split: The data set.
        normalise: Mean and standard deviation.
    """

    def __init__(self, split: Split, normalise: Normalise) -> None:
        self.split, self.mean, self.std = split, normalise.mean[0], normalise.std[0]

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = nn.functional.pad(self.split.images[index], (supervised.PADDING,) * 4)
        top, left = torch.randint(2 * supervised.PADDING + 1, (2,)).tolist()
        cut = image[:, top : top + 32, left : left + 32]
        moved = cut.flip(-1) if torch.rand(()) < 0.5 else cut
        return (moved.float().div(255) - self.mean) / self.std, int(self.split.labels[index])


def _place() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _images(count: int) -> Split:
    """Noise will do to measure time."""
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 32, 32), generator=g, dtype=torch.uint8)
    return Split(images, torch.randint(10, (count,), generator=g))


def ours(split: Split, device: torch.device, *, factored: bool = False) -> Callable[[], object]:
    """An epoch as the figures train it.

    Args:
        split: The images.
        device: Where to train.
        factored: With every parameter written as a product.

    Returns:
        Trains one more epoch.
    """
    there = split.to(str(device))
    net: nn.Module = ResNet18(10, torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    net = (dcs(net, sign_flip_all(net), 2.5e-4) if factored else net).to(device)
    moved = [net.direction, net.scale] if isinstance(net, DCS) else list(net.parameters())
    optimizer, normalise = residual.sgd(moved, 1e-3, 5e-4), Normalise(there.images)

    def epoch() -> object:
        return supervised.train(net, optimizer, there, normalise, Plan(1, BATCH, 1e-3), lambda e: {"loss": e.loss})

    return epoch


def plain(split: Split, device: torch.device, workers: int) -> Callable[[], object]:
    """An epoch with ``DataLoader`` and autograd, in single precision.

    Args:
        split: The images.
        device: Where to train.
        workers: Processes that prepare batches.

    Returns:
        Trains one more epoch.
    """
    net = ResNet18(10, torch.Generator().manual_seed(0)).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=residual.MOMENTUM, weight_decay=5e-4)
    loader = DataLoader(Items(split, Normalise(split.images)), BATCH, shuffle=True, drop_last=True, num_workers=workers)

    def epoch() -> object:
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x.to(device)), y.to(device)).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return net

    return epoch


def bench_resnet(pairs: int = 3) -> list[Timing]:
    """Both comparisons, on a GPU if there is one.

    Args:
        pairs: Epochs of each, in turn.

    Returns:
        Two timings; seconds of 1000 images.
    """
    device = _place()
    fast = device.type == "cuda"
    split = _images(200 * BATCH if fast else 2 * BATCH)
    usual, vanilla, product = (
        plain(split, device, 8 if fast else 0),
        ours(split, device),
        ours(split, device, factored=True),
    )
    for run in (usual, vanilla, product):
        run()
    found = []
    for name, reference, run in (("ResNet18 step", usual, vanilla), ("DCS step, ResNet18", vanilla, product)):
        times = [(timed(partial(reference)), timed(partial(run))) for _ in range(pairs)]
        ratio, seconds = median(a / b for a, b in times), median(b for _, b in times) * 1000 / len(split)
        found.append(Timing(name, ratio, seconds, ratio * seconds, len(split) // BATCH, 0.0))
    return found
