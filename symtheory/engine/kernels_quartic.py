r"""Compiled CPU kernels for gradient descent on $\|w\|^4 - w^TBw$, see :mod:`symtheory.figures.quartic_descent`.

In a basis in which $B$ is diagonal, a step couples the coordinates only through $\|w\|^2$: the state of a configuration
stays in cache for the whole run. Sums may be reassociated (``fastmath``): results agree to rounding, not to the bit.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np

from symtheory.engine.kernels import OPTIONS


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def pulled(z: np.ndarray, slope: np.ndarray, force: np.ndarray, held: np.ndarray, lr: float, steps: int) -> None:
    """Step z <- z + lr ((slope - 4 (z.z + held)) z + force), ``steps`` times for every row."""
    four, rate = np.float32(4), np.float32(lr)
    for c in range(z.shape[0]):
        v, a, b, mass = z[c], slope[c], force[c], held[c]
        total = np.float32(0)
        for i in range(v.shape[0]):
            total += v[i] * v[i]
        for _ in range(steps):
            q, total = four * (total + mass), np.float32(0)
            for i in range(v.shape[0]):
                x = v[i]
                x += rate * ((a[i] - q) * x + b[i])
                v[i] = x
                total += x * x


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def dropped(w: np.ndarray, slope: np.ndarray, keep: np.ndarray, lr: float, uniforms: np.ndarray) -> None:
    """Dropout with a diagonal B: y = m w, w <- w + lr m (slope y - 4 (y.y) y), m = [u < keep] / keep."""
    four, rate = np.float32(4), np.float32(lr)
    for c in range(w.shape[0]):
        v, threshold = w[c], keep[c]
        square = np.float32(1) / (threshold * threshold)
        for t in range(uniforms.shape[0]):
            u, total = uniforms[t], np.float32(0)
            for i in range(v.shape[0]):
                total += (v[i] * v[i]) if u[i] < threshold else np.float32(0)
            q = four * total * square
            for i in range(v.shape[0]):
                v[i] += (rate * square * (slope[i] - q) * v[i]) if u[i] < threshold else np.float32(0)


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def mask_rows(w: np.ndarray, y: np.ndarray, total: np.ndarray, keep: np.ndarray, u: np.ndarray) -> None:
    """Set y = m w and total = y.y for every row, with the mask m = [u < keep] / keep."""
    for c in range(w.shape[0]):
        v, out, threshold = w[c], y[c], keep[c]
        scale, s = np.float32(1) / threshold, np.float32(0)
        for i in range(v.shape[0]):
            x = v[i] * scale if u[i] < threshold else np.float32(0)
            out[i] = x
            s += x * x
        total[c] = s


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def dropped_dense(
    w: np.ndarray,
    y: np.ndarray,
    total: np.ndarray,
    product: np.ndarray,
    keep: np.ndarray,
    lr: float,
    u: np.ndarray,
) -> None:
    """Finish a dropout step with a dense B: w <- w + lr m (2 product - 4 total y), product = y B."""
    two, four, rate = np.float32(2), np.float32(4), np.float32(lr)
    for c in range(w.shape[0]):
        v, out, p, threshold = w[c], y[c], product[c], keep[c]
        scale, q = rate / threshold, four * total[c]
        for i in range(v.shape[0]):
            v[i] += scale * (two * p[i] - q * out[i]) if u[i] < threshold else np.float32(0)
