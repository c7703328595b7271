r"""Compiled SGD with batch size one on a matrix factorisation, plain or residual: $f(x) = WUx$ or $(I+W)(I+U)x$.

A step of $\|f(x)-y\|^2$ is two products with $W$, one with $U$ and two rank-one updates. Done one after another for all
configurations they stream every matrix through memory five times a step. Here one configuration's $W$ and $U$ stay in
a core's cache for a whole block of steps and each is read and written once a step: with $W$'s rows in registers,
$r_i = W_i\cdot h - y_i$, then $W^Tr$ gains $r_iW_i$ and $W_i$ loses its share of the gradient; $U$'s rank-one update
and the next step's $h = Ux$ share a pass. Sums may be reassociated, so results agree with the plain loop to rounding.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numba
import numpy as np
from torch import Tensor

from symtheory.engine.kernels import OPTIONS, pool
from symtheory.engine.stepping import Block
from symtheory.engine.updates import State
from symtheory.spec.params import Params


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _factorization(
    w: np.ndarray, u: np.ndarray, x: np.ndarray, e: np.ndarray, signal: np.float32, lr: np.float32, skip: np.float32
) -> None:
    """SGD on one configuration through a block; ``skip`` is 1 for the residual model and 0 for the plain one."""
    d = w.shape[0]
    rate, noise = np.float32(2) * lr, np.float32(1) - signal
    h, r, g = np.empty(d, np.float32), np.empty(d, np.float32), np.empty(d, np.float32)
    for i in range(d):
        total, row = np.float32(0), u[i]
        for j in range(d):
            total += row[j] * x[0, j]
        h[i] = total + skip * x[0, i]
    for t in range(x.shape[0]):
        now, after = x[t], x[min(t + 1, x.shape[0] - 1)]
        for i in range(d):
            r[i] = skip * h[i] - signal * now[i] - noise * e[t, i]
            g[i] = np.float32(0)
        # two rows at a time; with more rows, or the bound computed outside, the inner loops are no longer vectorised
        for i in range(0, d - 1, 2):
            top, low = w[i], w[i + 1]
            a, b = np.float32(0), np.float32(0)
            for j in range(d):
                a += top[j] * h[j]
                b += low[j] * h[j]
            a += r[i]
            b += r[i + 1]
            r[i], r[i + 1] = a, b
            p, q = rate * a, rate * b
            for j in range(d):
                g[j] += a * top[j] + b * low[j]
                top[j] -= p * h[j]
                low[j] -= q * h[j]
        for i in range(d - d % 2, d):
            top, a = w[i], r[i]
            for j in range(d):
                a += top[j] * h[j]
            r[i] = a
            p = rate * a
            for j in range(d):
                g[j] += a * top[j]
                top[j] -= p * h[j]
        for i in range(0, d - 1, 2):
            top, low = u[i], u[i + 1]
            p, q = rate * (g[i] + skip * r[i]), rate * (g[i + 1] + skip * r[i + 1])
            a, b = skip * after[i], skip * after[i + 1]
            for j in range(d):
                m, n = top[j] - p * now[j], low[j] - q * now[j]
                top[j], low[j] = m, n
                a += m * after[j]
                b += n * after[j]
            h[i], h[i + 1] = a, b
        for i in range(d - d % 2, d):
            top, p, a = u[i], rate * (g[i] + skip * r[i]), skip * after[i]
            for j in range(d):
                m = top[j] - p * now[j]
                top[j] = m
                a += m * after[j]
            h[i] = a


def _kernel(skip: float) -> Any:
    """A sweep's kernel; configurations, with their matrices, over threads."""

    def run(
        params: Params, state: State, fixed: Params, block: Block, stream: Tensor, lr: Tensor, decay: Tensor, t: int
    ) -> None:
        w, u = params["w"].numpy(), params["u"].numpy()
        x, e = block["x"].numpy(), block["noise"].numpy()
        signal, rates, owner = fixed["signal"].numpy(), lr.numpy(), stream.tolist()
        jobs = [
            pool().submit(_factorization, w[c], u[c], x[s], e[s], signal[c], rates[c], np.float32(skip))
            for c, s in enumerate(owner)
            if np.isfinite(w[c]).all()  # a run that has diverged stays so
        ]
        for job in jobs:
            job.result()

    return run


#: SGD with batch size one on $\|WUx - y\|^2$, $y = \mu x + (1-\mu)\epsilon$.
plain_factorization_sgd = _kernel(0.0)

#: The same for $(I+W)(I+U)x$.
residual_factorization_sgd = _kernel(1.0)
