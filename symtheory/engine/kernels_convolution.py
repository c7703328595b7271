r"""Compiled CPU kernels for two convolution layers, each with max-pooling and ReLU, and for their gradients.

An image is treated whole before the next, to stay in the fastest cache. A plane is kept as five copies, each shifted by
one more column, so that all products run along contiguous memory; five channels at a time share what is loaded. A row
holds its even columns first and then the odd ones, so that pooling runs along contiguous memory too. Going back is
cheap because of the pooling: of the four outputs in a window at most one has a gradient. Sums may be reassociated
(``fastmath``): results agree with PyTorch's to rounding, not to the bit.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np

from symtheory.engine.kernels import OPTIONS

#: Channels of the two layers; fixed, like all sizes here: compiled loops of known length are several times faster.
FIRST, SECOND = 10, 20
#: Side of a kernel; of the images; of the first layer before and after pooling; of the second before and after.
KERNEL, SIDE, WIDE, HALF, NARROW, LAST = 5, 28, 24, 12, 8, 4
#: A row of a kernel over all channels of the first layer, filled up to whole vector registers.
STRIP = 56
_ROW = HALF * FIRST + STRIP - KERNEL * FIRST


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _shift(plane, side, half, shifted):
    """Copies of the columns from 0, 1, ... 4 on, in each row the even ones and then the odd ones."""
    for b in range(KERNEL):
        for y in range(side):
            even, odd = shifted[b, 2 * y * half :], shifted[b, (2 * y + 1) * half :]
            for x in range(half):
                even[x] = plane[y, 2 * x + b]
                odd[x] = plane[y, 2 * x + b + 1]


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _convolve(shifted, width, count, w, c, d, out):
    """Add the convolution of a plane, channel d below, to the channels c ... c + 4."""
    for a in range(KERNEL):
        at = a * width
        s0, s1, s2, s3, s4 = shifted[0, at:], shifted[1, at:], shifted[2, at:], shifted[3, at:], shifted[4, at:]
        a0, a1, a2, a3, a4 = w[c, d, a, 0], w[c, d, a, 1], w[c, d, a, 2], w[c, d, a, 3], w[c, d, a, 4]
        c += 1
        b0, b1, b2, b3, b4 = w[c, d, a, 0], w[c, d, a, 1], w[c, d, a, 2], w[c, d, a, 3], w[c, d, a, 4]
        c += 1
        c0, c1, c2, c3, c4 = w[c, d, a, 0], w[c, d, a, 1], w[c, d, a, 2], w[c, d, a, 3], w[c, d, a, 4]
        c += 1
        d0, d1, d2, d3, d4 = w[c, d, a, 0], w[c, d, a, 1], w[c, d, a, 2], w[c, d, a, 3], w[c, d, a, 4]
        c += 1
        e0, e1, e2, e3, e4 = w[c, d, a, 0], w[c, d, a, 1], w[c, d, a, 2], w[c, d, a, 3], w[c, d, a, 4]
        c -= 4
        for i in range(count):
            v0, v1, v2, v3, v4 = s0[i], s1[i], s2[i], s3[i], s4[i]
            out[0, i] += a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3 + a4 * v4
            out[1, i] += b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3 + b4 * v4
            out[2, i] += c0 * v0 + c1 * v1 + c2 * v2 + c3 * v3 + c4 * v4
            out[3, i] += d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3 + d4 * v4
            out[4, i] += e0 * v0 + e1 * v1 + e2 * v2 + e3 * v3 + e4 * v4


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _pool(plane, half, values, places):
    """Largest of each window, not below 0, and its place in the window in reading order: the first of equals."""
    one, two, three = np.int32(1), np.int32(2), np.int32(3)
    for y in range(half):
        at = 4 * y * half
        a, b, c, d = plane[at:], plane[at + half :], plane[at + 2 * half :], plane[at + 3 * half :]
        for x in range(half):
            top, bottom = max(a[x], b[x]), max(c[x], d[x])
            above, below = one if b[x] > a[x] else np.int32(0), three if d[x] > c[x] else two
            values[y, x] = max(top, bottom, np.float32(0))
            places[y, x] = below if bottom > top else above


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def forward(images, w1, b1, w2, b2, h1, places1, h2, places2):
    """Both layers after pooling and ReLU.

    Args:
        images: Shape ``(batch, 28, 28)``.
        w1: Shape ``(FIRST, 1, 5, 5)``.
        b1: Shape ``(FIRST,)``.
        w2: Shape ``(SECOND, FIRST, 5, 5)``.
        b2: Shape ``(SECOND,)``.
        h1: Filled with the first layer, shape ``(batch, FIRST, 12, 12)``.
        places1: Filled with the places of its maxima, of the same shape.
        h2: Filled with the second layer, shape ``(batch, SECOND, 4, 4)``.
        places2: Filled with the places of its maxima, of the same shape.
    """
    image, planes = np.empty((KERNEL, SIDE * WIDE), np.float32), np.empty((FIRST, KERNEL, HALF * NARROW), np.float32)
    wide, narrow = np.empty((5, WIDE * WIDE), np.float32), np.empty((5, NARROW * NARROW), np.float32)
    for n in range(len(images)):
        _shift(images[n], SIDE, HALF, image)
        for c in range(0, FIRST, 5):
            for k in range(5):
                wide[k] = b1[c + k]
            _convolve(image, WIDE, WIDE * WIDE, w1, c, 0, wide)
            for k in range(5):
                _pool(wide[k], HALF, h1[n, c + k], places1[n, c + k])
                _shift(h1[n, c + k], HALF, LAST, planes[c + k])
        for c in range(0, SECOND, 5):
            for k in range(5):
                narrow[k] = b2[c + k]
            for d in range(FIRST):
                _convolve(planes[d], NARROW, NARROW * NARROW, w2, c, d, narrow)
            for k in range(5):
                _pool(narrow[k], LAST, h2[n, c + k], places2[n, c + k])


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def backward(images, w2, h1, places1, h2, places2, errors, d1, db1, d2, db2):
    """Gradients by the weights of both layers, summed over a batch.

    Args:
        images: Shape ``(batch, 28, 28)``.
        w2: Second layer's weights, channels last, filled up with zeros, shape ``(SECOND, 5, STRIP)``.
        h1: From :func:`forward`, like the next three.
        places1: Places of its maxima.
        h2: Second layer.
        places2: Places of its maxima.
        errors: Gradient by ``h2``, of its shape.
        d1: Gradient by the first layer's weights, shape ``(FIRST, 1, 5, 5)``.
        db1: Gradient by its biases.
        d2: Gradient by ``w2``; what fills it up is rubbish.
        db2: Gradient by the second layer's biases.
    """
    image, wide = np.empty((KERNEL, SIDE * WIDE), np.float32), np.empty(WIDE * WIDE, np.float32)
    seen, below = np.zeros((HALF, _ROW), np.float32), np.empty((HALF, _ROW), np.float32)
    d1[:], db1[:], d2[:], db2[:] = 0, 0, 0, 0
    for n in range(len(images)):
        _shift(images[n], SIDE, HALF, image)
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
                        error = below[y, x * FIRST + c]
                        db1[c] += error
                        wide[(4 * y + places1[n, c, y, x]) * HALF + x] = error
            for a in range(KERNEL):
                at = a * WIDE
                s0, s1, s2, s3, s4 = image[0, at:], image[1, at:], image[2, at:], image[3, at:], image[4, at:]
                t0 = t1 = t2 = t3 = t4 = np.float32(0)
                for i in range(WIDE * WIDE):
                    error = wide[i]
                    t0 += error * s0[i]
                    t1 += error * s1[i]
                    t2 += error * s2[i]
                    t3 += error * s3[i]
                    t4 += error * s4[i]
                into = d1[c, 0, a]
                into[0] += t0
                into[1] += t1
                into[2] += t2
                into[3] += t3
                into[4] += t4
