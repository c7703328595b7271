"""Figure A9: the last row's logits without queries and keys, decays at once, against full attention by autograd."""

from __future__ import annotations

import os
import time
from statistics import median

import torch

from benchmarks import reference
from benchmarks.timing import Timing, timed
from symtheory.engine.updates import adam
from symtheory.figures import a9, attention
from symtheory.figures.attention_training import slope_of, starting, train
from symtheory.lab.executors import ProcessPool
from symtheory.spec.numerics import relative_error

#: The variant that the reference loop does not count, although the sweep computes it: it has another model.
UNCOUNTED = "one matrix, no symmetry"


def bench_a9(repeats: int = 1, steps: int = 20) -> Timing:
    """Figure A9: every decay, seed and variant, a process for each core; the loop with one thread and with all.

    Args:
        repeats: Runs of the sweep, and slices of the loop in turn with it.
        steps: Steps of a slice.

    Returns:
        The timing.
    """
    figure = a9.A9()
    config = figure.presets["paper"]
    shards = figure.shards(config)
    shard = {**shards[0], "decays": shards[0]["decays"][-2:]}
    data = attention.prompts(config.prompts, config.rows, config.features, shard["seed"], shared=False)
    start = attention.initial(1, config.features + 1, shard["seed"], config.init)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    decays, update = torch.tensor(shard["decays"]), adam(decoupled=False)
    sweep, loop, error = [], [], 0.0
    for _ in range(repeats):
        sweep.append(timed(lambda: figure.run(config, executor=ProcessPool(jobs=cores))))
        ((_, weights),) = train(slope_of(shard, data), starting(shard), update, decays, config.lr, [steps])
        before = torch.get_num_threads()
        for threads in sorted({1, cores}):
            torch.set_num_threads(threads)
            begin = time.perf_counter()
            slow = attention.reduced(reference.transformer(start, data, shard["decays"][-1], config.lr, steps))
            loop.append((time.perf_counter() - begin) / steps)
            error = max(error, *(relative_error(w[-1], slow[name]) for name, w in weights.items()))
        torch.set_num_threads(before)
    count = sum(len(s["decays"]) for s in shards if s["variant"] != UNCOUNTED)
    total, seconds = min(loop) * count * config.steps, median(sweep)
    n, d = config.prompts, config.features + 1
    # values and logits, there and back; queries to logits' vectors, there and back; W_Q W_K^T and both gradients
    flops = (8.0 * n * config.rows * d + 4.0 * n * d * d + 6.0 * d**3) * config.steps * count
    return Timing("A9", total / seconds, seconds, total, steps, error, flops)
