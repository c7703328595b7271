r"""Compiled CPU kernels for sweeps in which a step is too small for tensor operations.

Each kernel keeps the weights of one configuration in cache for a whole block of steps and runs configurations on
threads. Sums may be reassociated (``fastmath``), so results agree with the plain loop to rounding, not to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, no_type_check

import numba
import numpy as np
import torch
from torch import Tensor

from symtheory.engine.stepping import Block
from symtheory.engine.updates import State
from symtheory.spec.params import Params

#: How kernels are compiled: sums may be reassociated, and threads may run side by side.
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "fastmath": {"reassoc", "contract", "nsz", "arcp"}}


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _linear(w: np.ndarray, x: np.ndarray, y: np.ndarray, lr: np.ndarray) -> None:
    """SGD on the linear model: w <- w - 2 lr (w.x - y) x, for every configuration and step."""
    for c in range(w.shape[0]):
        v = w[c]
        rate = np.float32(2) * lr[c]
        for t in range(x.shape[0]):
            sample, total = x[t], np.float32(0)
            for i in range(v.shape[0]):
                total += v[i] * sample[i]
            g = rate * (total - y[t])
            for i in range(v.shape[0]):
                v[i] -= g * sample[i]


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _hadamard(w: np.ndarray, u: np.ndarray, x: np.ndarray, y: np.ndarray, lr: np.ndarray) -> None:
    """SGD on the product: (w, u) <- (w, u) - 2 lr ((u*w).x - y) (u*x, w*x), for every configuration and step."""
    for c in range(w.shape[0]):
        v, s = w[c], u[c]
        rate = np.float32(2) * lr[c]
        for t in range(x.shape[0]):
            sample, total = x[t], np.float32(0)
            for i in range(v.shape[0]):
                total += v[i] * s[i] * sample[i]
            g = rate * (total - y[t])
            for i in range(v.shape[0]):
                q, vi, si = g * sample[i], v[i], s[i]
                v[i] = vi - q * si
                s[i] = si - q * vi


@cache
def pool() -> ThreadPoolExecutor:
    """Threads for kernels, one a core; they flush denormal numbers.

    Returns:
        The pool, always the same one.
    """
    # weights that die away would turn denormal, and a denormal multiplication is a hundred times slower
    return ThreadPoolExecutor(os.cpu_count() or 1, initializer=lambda: torch.set_flush_denormal(True))


def _by_stream(kernel: Callable[..., None], names: tuple[str, ...]) -> Callable[..., None]:
    """Run a kernel once per stream, streams and halves of their configurations on threads."""

    def run(
        params: Params, state: State, fixed: Params, block: Block, stream: Tensor, lr: Tensor, decay: Tensor, t: int
    ) -> None:
        arrays = [params[name].numpy() for name in names]
        rates, owner = lr.numpy(), stream.numpy()
        jobs = []
        for s in range(len(block["x"])):
            for part in np.array_split(np.flatnonzero(owner == s), 2):
                if len(part):
                    copies = [np.ascontiguousarray(a[part]) for a in arrays]
                    x, y = block["x"][s].numpy(), block["y"][s].numpy()
                    jobs.append((part, copies, pool().submit(kernel, *copies, x, y, rates[part])))
        for part, copies, job in jobs:
            job.result()
            for array, copy in zip(arrays, copies, strict=True):
                array[part] = copy

    return run


#: SGD with batch size one on $(w\cdot x - y)^2$.
linear_sgd = _by_stream(_linear, ("w",))

#: SGD with batch size one on $((u\odot w)\cdot x - y)^2$.
hadamard_sgd = _by_stream(_hadamard, ("w", "u"))
