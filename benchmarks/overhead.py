"""What the tools cost in a training step: anchored decay and the monitor, beside the same loop without them.

Blocks of steps with and without a tool take turns in one process; the ratio is the median over pairs of blocks of the
time without over the time with it, so 0.99 is an overhead of one percent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.discover import resnet18
from benchmarks.timing import Timing, timed
from symtheory.monitor import SymmetryMonitor
from symtheory.transforms.syre import syre

DECAY = 1e-4


def perceptron() -> nn.Module:
    """Three layers for images of 784 pixels.

    Returns:
        The network.
    """
    return nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 10))


def loop(build: Callable[[], nn.Module], x: Tensor, y: Tensor, tool: str) -> Callable[[int], None]:
    """A training loop, ready to run blocks of steps.

    Args:
        build: Makes the network.
        x: Inputs of the batch.
        y: Its labels.
        tool: ``syre``, ``monitor``, or none.

    Returns:
        Runs so many steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build()
    removed = tool == "syre"
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, weight_decay=0.0 if removed else DECAY)
    if removed:
        syre(optimizer, 0.01, DECAY / 2, seed=0)
    if tool == "monitor":
        SymmetryMonitor(model, x[:1]).attach(optimizer)

    def steps(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    return steps


def bench_overhead(pairs: int = 15) -> list[Timing]:
    """Both tools on both networks.

    Args:
        pairs: Blocks with the tool, and as many without.

    Returns:
        A timing a tool and network; seconds of a step.
    """
    g = torch.Generator().manual_seed(0)
    cases = {
        "MLP": (perceptron, torch.randn(64, 784, generator=g), 200),
        "ResNet18": (resnet18, torch.randn(8, 3, 64, 64, generator=g), 3),
    }
    found = []
    for name, (build, x, block) in cases.items():
        y = torch.randint(0, 10, (len(x),), generator=g)
        for tool in ("syre", "monitor"):
            plain, with_it = loop(build, x, y, ""), loop(build, x, y, tool)
            for run in (plain, with_it):
                run(block)
            times = [(timed(partial(plain, block)), timed(partial(with_it, block))) for _ in range(pairs)]
            ratio = median(a / b for a, b in times)
            seconds = median(b for _, b in times) / block
            found.append(Timing(f"{tool} overhead, {name}", ratio, seconds, ratio * seconds, block, 0.0))
    return found
