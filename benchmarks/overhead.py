"""What the tools cost in a training step: anchored decay and the monitor, beside the same loop without them.

Blocks of steps with and without a tool take turns in one process; the ratio is that of the lower quartiles of the time
without and of the time with it, so 0.99 is an overhead of one percent. Whatever else runs on a machine only adds time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import quantiles
from time import perf_counter

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
    monitor = SymmetryMonitor(model, x[:1]).attach(optimizer) if tool == "monitor" else None
    left = perf_counter()

    def steps(count: int) -> None:
        nonlocal left
        if monitor is not None:  # its budget is a share of the time of its own loop
            monitor._next += perf_counter() - left
        for _ in range(count):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        left = perf_counter()

    return steps


def compare(build: Callable[[], nn.Module], x: Tensor, tool: str, block: int, rounds: int, what: str) -> Timing:
    """One tool on one network.

    Args:
        build: Makes the network.
        x: Inputs of the batch.
        tool: ``syre`` or ``monitor``.
        block: Steps that are run in a row.
        rounds: Blocks with the tool, and as many without.
        what: Network and batch.

    Returns:
        The timing; seconds of a step.
    """
    y = torch.randint(0, 10, (len(x),), generator=torch.Generator().manual_seed(1))
    loops = [loop(build, x, y, ""), loop(build, x, y, tool)]
    for run in loops:
        run(max(block // 10, 1))
    times: tuple[list[float], list[float]] = ([], [])
    for k in range(rounds):
        for i in (0, 1) if k % 2 else (1, 0):
            times[i].append(timed(partial(loops[i], block)) / block)
    without, seconds = (quantiles(t, n=4)[0] for t in times)
    return Timing(f"{tool}, {what}", without / seconds, seconds, without, block, 0.0, kind="step")


def bench_overhead() -> list[Timing]:
    """Both tools on both networks.

    What anchored decay does in a step does not depend on the batch, and what the step does without it does: small and
    larger batches. The monitor looks after so much time that it keeps to its budget: blocks with many looks.

    Returns:
        A timing a tool, network and batch.
    """
    g = torch.Generator().manual_seed(0)
    images = {size: torch.randn(size, 3, 64, 64, generator=g) for size in (8, 128)}
    digits = {size: torch.randn(size, 784, generator=g) for size in (64, 256, 1024)}
    return [
        compare(perceptron, digits[64], "syre", 20, 300, "MLP, batch 64"),
        compare(perceptron, digits[256], "syre", 20, 150, "MLP, batch 256"),
        compare(perceptron, digits[1024], "syre", 5, 150, "MLP, batch 1024"),
        compare(resnet18, images[8], "syre", 1, 150, "ResNet18, batch 8"),
        compare(resnet18, images[128], "syre", 1, 40, "ResNet18, batch 128"),
        compare(perceptron, digits[64], "monitor", 4000, 6, "MLP, batch 64"),
        compare(resnet18, images[8], "monitor", 300, 5, "ResNet18, batch 8"),
    ]
