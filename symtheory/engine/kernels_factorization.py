r"""Compiled SGD with batch size one on a matrix factorisation, plain or residual: $f(x) = WUx$ or $(I+W)(I+U)x$.

A step of $\|f(x)-y\|^2$ is two products with $W$, one with $U$ and two rank-one updates. Done one after another for all
configurations they stream every matrix through memory five times a step. Here one configuration's $W$ and $U$ stay in
a core's cache for a whole block of steps and each is read and written once a step: with $W$'s rows in registers,
$r_i = W_i\cdot h - y_i$, then $W^Tr$ gains $r_iW_i$ and $W_i$ loses its share of the gradient; $U$'s rank-one update and
the next step's $h = Ux$ share a pass. Sums may be reassociated, so results agree with the plain loop to rounding.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numba
import numpy as np
from torch import Tensor

from symtheory.engine.kernels import _OPTIONS, _pool
from symtheory.engine.sweep import Block
from symtheory.spec.params import Params


@numba.njit(**_OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _factorization(
    w: np.ndarray, u: np.ndarray, x: np.ndarray, e: np.ndarray, signal: np.float32, lr: np.float32, skip: np.float32
) -> None:
    """SGD on one configuration through a block; ``skip`` is 1 for the residual model and 0 for the plain one."""
    d = w.shape[0]
    whole = d - d % 4
    rate, noise = np.float32(2) * lr, np.float32(1) - signal
    h, r, g = np.empty(d, np.float32), np.empty(d, np.float32), np.empty(d, np.float32)
    for i in range(d):
        total, row = np.float32(0), u[i]
        for j in range(d):
            total += row[j] * x[0, j]
        h[i] = total + skip * x[0, i]
    for t in range(x.shape[0]):
        now, after = x[t], x[min(t + 1, x.shape[0] - 1)]
        for j in range(d):
            g[j] = np.float32(0)
        for i in range(0, whole, 4):
            w0, w1, w2, w3 = w[i], w[i + 1], w[i + 2], w[i + 3]
            r0, r1, r2, r3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for j in range(d):
                r0 += w0[j] * h[j]
                r1 += w1[j] * h[j]
                r2 += w2[j] * h[j]
                r3 += w3[j] * h[j]
            r0 += skip * h[i] - signal * now[i] - noise * e[t, i]
            r1 += skip * h[i + 1] - signal * now[i + 1] - noise * e[t, i + 1]
            r2 += skip * h[i + 2] - signal * now[i + 2] - noise * e[t, i + 2]
            r3 += skip * h[i + 3] - signal * now[i + 3] - noise * e[t, i + 3]
            r[i], r[i + 1], r[i + 2], r[i + 3] = r0, r1, r2, r3
            q0, q1, q2, q3 = rate * r0, rate * r1, rate * r2, rate * r3
            for j in range(d):
                g[j] += r0 * w0[j] + r1 * w1[j] + r2 * w2[j] + r3 * w3[j]
                w0[j] -= q0 * h[j]
                w1[j] -= q1 * h[j]
                w2[j] -= q2 * h[j]
                w3[j] -= q3 * h[j]
        for i in range(whole, d):
            row, total = w[i], np.float32(0)
            for j in range(d):
                total += row[j] * h[j]
            total += skip * h[i] - signal * now[i] - noise * e[t, i]
            r[i] = total
            q = rate * total
            for j in range(d):
                g[j] += total * row[j]
                row[j] -= q * h[j]
        for i in range(0, whole, 4):
            u0, u1, u2, u3 = u[i], u[i + 1], u[i + 2], u[i + 3]
            q0, q1 = rate * (g[i] + skip * r[i]), rate * (g[i + 1] + skip * r[i + 1])
            q2, q3 = rate * (g[i + 2] + skip * r[i + 2]), rate * (g[i + 3] + skip * r[i + 3])
            h0, h1, h2, h3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for j in range(d):
                n0, n1, n2, n3 = u0[j] - q0 * now[j], u1[j] - q1 * now[j], u2[j] - q2 * now[j], u3[j] - q3 * now[j]
                u0[j], u1[j], u2[j], u3[j] = n0, n1, n2, n3
                h0 += n0 * after[j]
                h1 += n1 * after[j]
                h2 += n2 * after[j]
                h3 += n3 * after[j]
            h[i], h[i + 1] = h0 + skip * after[i], h1 + skip * after[i + 1]
            h[i + 2], h[i + 3] = h2 + skip * after[i + 2], h3 + skip * after[i + 3]
        for i in range(whole, d):
            row, q, total = u[i], rate * (g[i] + skip * r[i]), np.float32(0)
            for j in range(d):
                n = row[j] - q * now[j]
                row[j] = n
                total += n * after[j]
            h[i] = total + skip * after[i]


def _kernel(skip: float) -> Any:
    """A sweep's kernel; configurations, with their matrices, over threads."""

    def run(
        params: Params, state: Any, fixed: Params, block: Block, stream: Tensor, lr: Tensor, decay: Tensor, t: int
    ) -> None:
        w, u = params["w"].numpy(), params["u"].numpy()
        x, e = block["x"].numpy(), block["noise"].numpy()
        signal, rates, owner = fixed["signal"].numpy(), lr.numpy(), stream.tolist()
        jobs = [
            _pool().submit(_factorization, w[c], u[c], x[s], e[s], signal[c], rates[c], np.float32(skip))
            for c, s in enumerate(owner)
        ]
        for job in jobs:
            job.result()

    return run


#: SGD with batch size one on $\|WUx - y\|^2$, $y = \mu x + (1-\mu)\epsilon$.
plain_factorization_sgd = _kernel(0.0)

#: The same for $(I+W)(I+U)x$.
residual_factorization_sgd = _kernel(1.0)
