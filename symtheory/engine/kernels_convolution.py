r"""Compiled CPU kernels for max-pooling and for the gradients of the two convolution layers of :mod:`~.cnn`.

What pooling leaves makes going back cheap: of the four outputs in a window at most one has a gradient. So the kernels
visit a quarter of the places that dense convolutions would, and fewer where ReLU stops the gradient too. An image is
treated whole before the next, to stay in the fastest cache. Sums may be reassociated (``fastmath``): results agree with
PyTorch's to rounding, not to the bit.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np

from symtheory.engine.kernels import OPTIONS

#: Channels of the two layers; fixed, like all sizes here: compiled loops of known length are several times faster.
FIRST, SECOND = 10, 20
#: Side of a kernel; of the images; of the first layer before and after pooling; of the second after pooling.
KERNEL, SIDE, WIDE, HALF, LAST = 5, 28, 24, 12, 4
#: A row of a kernel over all channels of the first layer, filled up to whole vector registers.
STRIP = 56
_ROW = HALF * FIRST + STRIP - KERNEL * FIRST
_REACH = WIDE * SIDE - KERNEL + 1


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def pool(planes: np.ndarray, values: np.ndarray, places: np.ndarray) -> None:
    """Largest of each 2 x 2 window, and its place in the window in reading order: the first of equals."""
    for n in range(len(planes)):
        plane, best, at = planes[n], values[n], places[n]
        for y in range(best.shape[0]):
            upper, lower = plane[2 * y], plane[2 * y + 1]
            for x in range(best.shape[1]):
                a, b, c, d = upper[2 * x], upper[2 * x + 1], lower[2 * x], lower[2 * x + 1]
                top, bottom = max(a, b), max(c, d)
                best[y, x] = max(top, bottom)
                at[y, x] = 2 + (d > c) if bottom > top else np.int64(b > a)


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def backward(
    images: np.ndarray,
    w2: np.ndarray,
    h1: np.ndarray,
    places1: np.ndarray,
    h2: np.ndarray,
    places2: np.ndarray,
    errors: np.ndarray,
    d1: np.ndarray,
    db1: np.ndarray,
    d2: np.ndarray,
    db2: np.ndarray,
) -> None:
    """Gradients by the weights of both layers, summed over a batch.

    Args:
        images: Shape ``(batch, 784)``.
        w2: Second layer's weights, channels last, filled up with zeros, shape ``(SECOND, 5, STRIP)``.
        h1: First layer after pooling and ReLU, shape ``(batch, FIRST, 12, 12)``.
        places1: Places of its maxima, of the same shape.
        h2: Second layer after pooling and ReLU, shape ``(batch, SECOND, 4, 4)``.
        places2: Places of its maxima, of the same shape.
        errors: Gradient by ``h2``, of the same shape.
        d1: Gradient by the first layer's weights, shape ``(FIRST, 5, 5)``.
        db1: Gradient by its biases.
        d2: Gradient by ``w2``; what fills it up is rubbish.
        db2: Gradient by the second layer's biases.
    """
    image, wide = np.empty(SIDE * SIDE, np.float32), np.empty(_REACH, np.float32)
    seen, below = np.zeros((HALF, _ROW), np.float32), np.empty((HALF, _ROW), np.float32)
    d1[:], db1[:], d2[:], db2[:] = 0, 0, 0, 0
    for n in range(len(images)):
        image[:] = images[n]
        below[:] = 0
        for c in range(FIRST):
            for y in range(HALF):
                for x in range(HALF):
                    seen[y, x * FIRST + c] = h1[n, c, y, x]
        for c in range(SECOND):
            for v in range(LAST):
                for u in range(LAST):
                    if h2[n, c, v, u] > 0:
                        error, place = errors[n, c, v, u], places2[n, c, v, u]
                        db2[c] += error
                        y, x = 2 * v + place // 2, 2 * u + place % 2
                        for a in range(KERNEL):
                            strip, back = seen[y + a, x * FIRST :], below[y + a, x * FIRST :]
                            into, weight = d2[c, a], w2[c, a]
                            for i in range(STRIP):
                                into[i] += error * strip[i]
                                back[i] += error * weight[i]
        for c in range(FIRST):
            wide[:] = 0
            for y in range(HALF):
                for x in range(HALF):
                    if h1[n, c, y, x] > 0:
                        error, place = below[y, x * FIRST + c], places1[n, c, y, x]
                        db1[c] += error
                        wide[(2 * y + place // 2) * SIDE + 2 * x + place % 2] = error
            for a in range(KERNEL):
                row = image[a * SIDE :]
                t0 = t1 = t2 = t3 = t4 = np.float32(0)
                for i in range(_REACH):
                    error = wide[i]
                    t0 += error * row[i]
                    t1 += error * row[i + 1]
                    t2 += error * row[i + 2]
                    t3 += error * row[i + 3]
                    t4 += error * row[i + 4]
                d1[c, a, 0] += t0
                d1[c, a, 1] += t1
                d1[c, a, 2] += t2
                d1[c, a, 3] += t3
                d1[c, a, 4] += t4
