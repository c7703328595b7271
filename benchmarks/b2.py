"""Figure B2 against the loop as it is usually written: one network at a time, autograd, ``torch.optim.Adam``."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.timing import Timing, timed
from symtheory.figures import teacher
from symtheory.figures.b2 import B2
from symtheory.figures.base import Shard
from symtheory.lab.executors import ProcessPool
from symtheory.spec.numerics import relative_error
from symtheory.spec.params import Params

#: Cores of the comparison: threads of the loop, processes of the sweep.
CORES = 2


class Net(nn.Module):
    """Two layers; every parameter is used with a fixed bias added."""

    def __init__(self, start: Params, bias: Params, activation: str) -> None:
        super().__init__()
        self.smooth = activation == "tanh"
        self.free = nn.ParameterDict({k: nn.Parameter(start[k] - bias[k]) for k in start})
        self.fixed = bias

    def weights(self) -> Params:
        """The parameters that are run.

        Returns:
            Names as in :mod:`symtheory.engine.classifier`, transposed as ``nn.Linear`` has them.
        """
        return {k: p + self.fixed[k] for k, p in self.free.items()}

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Args:
            x: Shape ``(samples, dim)``.

        Returns:
            Shape ``(samples, classes)``.
        """
        w = self.weights()
        h = nn.functional.linear(x, w["w1"], w["b1"])
        return nn.functional.linear(h.tanh() if self.smooth else h.relu(), w["w2"], w["b2"])


def as_layers(params: Params) -> Params:
    """Weights and biases of two layers, as ``nn.Linear`` has them.

    Args:
        params: ``a`` (dim + 1, hidden), ``b`` (classes, hidden), ``c`` (classes, 1).

    Returns:
        ``w1``, ``b1``, ``w2``, ``b2``.
    """
    a, b, c = params["a"], params["b"], params["c"]
    return {"w1": a[:-1].T.contiguous(), "b1": a[-1].clone(), "w2": b.clone(), "b2": c[:, 0].clone()}


def loop(shard: Shard, sigma0: float, steps: int) -> tuple[Params, list[float]]:
    """Train one student of a shard.

    Args:
        shard: Settings, as for :func:`symtheory.figures.teacher.students`.
        sigma0: Size of its static bias.
        steps: Adam steps.

    Returns:
        Final weights, by layers, and seconds of every step.
    """
    drawn = teacher.sample(shard)
    start, bias = (as_layers({k: drawn[f"{part}.{k}"] for k in ("a", "b", "c")}) for part in ("start", "bias"))
    net = Net(start, {k: sigma0 * v for k, v in bias.items()}, shard["activation"])
    optimizer = (torch.optim.AdamW if shard["decoupled"] else torch.optim.Adam)(
        net.parameters(), lr=shard["lr"], weight_decay=shard["decay"]
    )
    x, labels, seconds = drawn["x_noisy"], drawn["labels"], []
    for _ in range(steps):
        begin = time.perf_counter()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
    return {k: w.detach() for k, w in net.weights().items()}, seconds


def bench_b2(repeats: int = 1, steps: int = 30) -> Timing:
    """Figure B2, its first seed without variants: every activation, dimension and student.

    The loop runs on one thread and on two, and the fastest step of either counts; the sweep runs all its steps, in two
    processes of one thread each, and everything in it counts, the start of the processes too.

    The weights are compared for tanh. With ReLU a rounding that moves one sample across a kink, or turns the sign of a
    gradient close to zero that Adam then scales up, sends two runs apart, the loop in single and in double precision
    too; tests compare ReLU in double precision.

    Args:
        repeats: Runs of the sweep.
        steps: Steps of a slice of the loop.

    Returns:
        The timing.
    """
    figure = B2()
    config = figure.presets["paper"]
    config = config.with_changes(variants=(), seeds=config.seeds[:1])
    total, flops, error, before = 0.0, 0.0, 0.0, torch.get_num_threads()
    for activation in config.activations:
        for dim in config.dims:
            shard = {**config.shard(activation, config.seeds[0], dim), "at": [steps]}
            fast = teacher.students(shard)
            for i, sigma0 in enumerate(shard["sigma0"]):
                best = []
                for threads in (1, CORES):
                    torch.set_num_threads(threads)
                    slow, seconds = loop(shard, sigma0, steps)
                    best.append(min(seconds))
                torch.set_num_threads(before)
                total += min(best) * config.steps * len(config.seeds)
                # the first layer forward and back, the second forward and back twice
                flops += config.samples * config.hidden * (4.0 * dim + 6.0 * config.classes) * config.steps
                ours = as_layers({k: fast[k][0, i] for k in fast})
                if activation == "tanh":
                    error = max(error, *(relative_error(ours[k], slow[k]) for k in slow))
    sweep = [timed(lambda: figure.run(config, executor=ProcessPool(jobs=CORES))) for _ in range(repeats)]
    return Timing("B2", total / median(sweep), median(sweep), total, steps, error, flops)
