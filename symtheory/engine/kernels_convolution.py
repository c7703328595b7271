r"""Compiled CPU kernels for two convolution layers, each with max-pooling and ReLU, and for their gradients.

Images are treated in groups, side by side, so that loops are long. What the outputs in every second row and column need
lies together: a plane is kept in parts, by the parity of the row and by the *phase* of the column, phase p holding the
columns p, p + 2, p + 4 ... So every product, and the pooling of the four parts of an output, runs along contiguous
memory, over whole images and all images of a group; five channels, at both parities of the columns, share what is
loaded. Going back is cheap because of the pooling: of the four outputs in a window at most one has a gradient. Sums may
be reassociated (``fastmath``): results agree with PyTorch's to rounding, not to the bit.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np

from symtheory.engine.kernels import OPTIONS

#: How parts of kernels are compiled: into their callers. As functions of their own they would be compiled twice, alone
#: and with the caller; a process that compiled them runs the one, a process that found them in the cache the other.
PART = {**OPTIONS, "forceinline": True}
#: Channels of the two layers; fixed, like all sizes here: compiled loops of known length are several times faster.
FIRST, SECOND = 10, 20
#: Side of a kernel; of the images; of the first layer after pooling; of the second.
KERNEL, SIDE, HALF, LAST = 5, 28, 12, 4
#: Images that are treated side by side.
GROUP = 16
#: A row of a kernel over all channels of the first layer, filled up to whole vector registers.
STRIP = 56
_ROW = HALF * FIRST + STRIP - KERNEL * FIRST
_PHASES = KERNEL + 1
#: Outputs of a group in one parity of rows and columns, in either layer.
_WIDE, _NARROW = HALF * HALF * GROUP, LAST * LAST * GROUP
#: Numbers that follow each array in a stack: addresses that agree in their last 12 bits wait for each other.
_GAP = 16


@numba.njit(**PART)
@no_type_check  # compiled code cannot carry the runtime type checker
def _split(planes, half, parts):
    """Put the planes of a group, one an image, into their parts, shape (2, phases, rows of a parity * GROUP * half)."""
    for y in range(planes.shape[1]):
        lines = planes[:, y]
        for p in range(_PHASES):
            into = parts[y % 2, p, y // 2 * GROUP * half :]
            for g in range(len(planes)):
                for x in range(half):
                    into[g * half + x] = lines[g, p + 2 * x]


def _convolution(half):
    """Compile the convolution of one layer: the distances in its arrays have to be known then."""
    count, wide = half * half * GROUP, half * half * GROUP + _GAP
    lines, long = GROUP * half, (half + KERNEL // 2) * GROUP * half + _GAP

    @numba.njit(**PART)
    @no_type_check  # compiled code cannot carry the runtime type checker
    def convolve(parts, w, c, d, y, out):
        """Add the convolution of a plane, channel d below, to channels c ... c + 4 at both parities of the columns."""
        for a in range(KERNEL):
            s = parts[(y + a) % 2].reshape(-1)[(y + a) // 2 * lines :]
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
                v0, v1, v2 = s[i], s[long + i], s[2 * long + i]
                v3, v4, v5 = s[3 * long + i], s[4 * long + i], s[5 * long + i]
                out[i] += a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3 + a4 * v4
                out[wide + i] += b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3 + b4 * v4
                out[2 * wide + i] += c0 * v0 + c1 * v1 + c2 * v2 + c3 * v3 + c4 * v4
                out[3 * wide + i] += d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3 + d4 * v4
                out[4 * wide + i] += e0 * v0 + e1 * v1 + e2 * v2 + e3 * v3 + e4 * v4
                out[5 * wide + i] += a0 * v1 + a1 * v2 + a2 * v3 + a3 * v4 + a4 * v5
                out[6 * wide + i] += b0 * v1 + b1 * v2 + b2 * v3 + b3 * v4 + b4 * v5
                out[7 * wide + i] += c0 * v1 + c1 * v2 + c2 * v3 + c3 * v4 + c4 * v5
                out[8 * wide + i] += d0 * v1 + d1 * v2 + d2 * v3 + d3 * v4 + d4 * v5
                out[9 * wide + i] += e0 * v1 + e1 * v2 + e2 * v3 + e3 * v4 + e4 * v5

    return convolve


_convolve_wide, _convolve_narrow = _convolution(HALF), _convolution(LAST)


@numba.njit(**PART)
@no_type_check  # compiled code cannot carry the runtime type checker
def _pool(four, k, values, places):
    """Largest of each window of channel k, not below 0, and its place in reading order: the first of equals."""
    a, b, c, d = four[0, k], four[1, k], four[2, k], four[3, k]
    one, two, three = np.int32(1), np.int32(2), np.int32(3)
    for i in range(len(values)):
        top, bottom = max(a[i], b[i]), max(c[i], d[i])
        above, below = one if b[i] > a[i] else np.int32(0), three if d[i] > c[i] else two
        values[i] = max(top, bottom, np.float32(0))
        places[i] = below if bottom > top else above


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
        h1: Filled with the first layer, shape ``(groups, FIRST, 12, GROUP, 12)``.
        places1: Filled with the places of its maxima, of the same shape.
        h2: Filled with the second layer, shape ``(batch, SECOND, 4, 4)``.
        places2: Filled with the places of its maxima, of the same shape.
    """
    below = np.zeros((2, _PHASES, SIDE // 2 * GROUP * HALF + _GAP), np.float32)
    parts = np.zeros((FIRST, 2, _PHASES, HALF // 2 * GROUP * LAST + _GAP), np.float32)
    wide, narrow = np.empty((4, 5, _WIDE + _GAP), np.float32), np.empty((4, 5, _NARROW + _GAP), np.float32)
    values, places = np.empty(_NARROW, np.float32), np.empty(_NARROW, np.int32)
    for group in range(len(h1)):
        first = group * GROUP
        count = min(GROUP, len(images) - first)
        _split(images[first : first + count], HALF, below)
        for c in range(0, FIRST, 5):
            for k in range(5):
                wide[:, k] = b1[c + k]
            for y in range(2):
                _convolve_wide(below, w1, c, 0, y, wide[2 * y : 2 * y + 2].reshape(-1))
            for k in range(5):
                _pool(wide, k, h1[group, c + k].reshape(_WIDE), places1[group, c + k].reshape(_WIDE))
                _split(h1[group, c + k].transpose(1, 0, 2)[:count], LAST, parts[c + k])
        for c in range(0, SECOND, 5):
            for k in range(5):
                narrow[:, k] = b2[c + k]
            for y in range(2):
                for d in range(FIRST):
                    _convolve_narrow(parts[d], w2, c, d, y, narrow[2 * y : 2 * y + 2].reshape(-1))
            for k in range(5):
                _pool(narrow, k, values, places)
                for g in range(count):
                    for y in range(LAST):
                        for x in range(LAST):
                            at = (y * GROUP + g) * LAST + x
                            h2[first + g, c + k, y, x], places2[first + g, c + k, y, x] = values[at], places[at]


@numba.njit(**PART)
@no_type_check  # compiled code cannot carry the runtime type checker
def _back(h, places, errors, seen, below, weights, into):
    """Add the gradients by a kernel and by what lies below, channels last, and return the one by the bias."""
    total = np.float32(0)
    for v in range(LAST):
        for u in range(LAST):
            if h[v, u] > 0:
                error, place = errors[v, u], places[v, u]
                total += error
                y, at = 2 * v + (place >> 1), (2 * u + (place & 1)) * FIRST
                for a in range(KERNEL):
                    strip, kernel = seen[y + a, at:], into[a]
                    for i in range(STRIP):
                        kernel[i] += error * strip[i]
                for a in range(KERNEL):
                    strip, kernel = below[y + a, at:], weights[a]
                    for i in range(STRIP):
                        strip[i] += error * kernel[i]
    return total


@numba.njit(**PART)
@no_type_check  # compiled code cannot carry the runtime type checker
def _route(errors, h, places, q, out):
    """The errors of the outputs of parity q, zero where pooling or ReLU let something else through; their sum."""
    total = np.float32(0)
    for i in range(len(out)):
        error = errors[i] if (h[i] > 0) & (places[i] == q) else np.float32(0)
        out[i] = error
        total += error
    return total


@numba.njit(**PART)
@no_type_check  # compiled code cannot carry the runtime type checker
def _add(into, t0, t1, t2, t3, t4):
    """Add a row of a kernel."""
    into[0] += t0
    into[1] += t1
    into[2] += t2
    into[3] += t3
    into[4] += t4


@numba.njit(**PART)
@no_type_check  # compiled code cannot carry the runtime type checker
def _correlate(parts, errors, q, c, into):
    """Add the gradient by the first layer's kernels c ... c + 4 from their outputs of parity q."""
    y, x, zero = q // 2, q % 2, np.float32(0)
    for a in range(KERNEL):
        row, at = parts[(y + a) % 2], (y + a) // 2 * GROUP * HALF
        s0, s1, s2, s3, s4 = row[x, at:], row[x + 1, at:], row[x + 2, at:], row[x + 3, at:], row[x + 4, at:]
        a0 = a1 = a2 = a3 = a4 = b0 = b1 = b2 = b3 = b4 = c0 = c1 = c2 = c3 = c4 = zero
        d0 = d1 = d2 = d3 = d4 = e0 = e1 = e2 = e3 = e4 = zero
        for i in range(_WIDE):
            v0, v1, v2, v3, v4 = s0[i], s1[i], s2[i], s3[i], s4[i]
            error = errors[0, i]
            a0, a1, a2, a3, a4 = a0 + error * v0, a1 + error * v1, a2 + error * v2, a3 + error * v3, a4 + error * v4
            error = errors[1, i]
            b0, b1, b2, b3, b4 = b0 + error * v0, b1 + error * v1, b2 + error * v2, b3 + error * v3, b4 + error * v4
            error = errors[2, i]
            c0, c1, c2, c3, c4 = c0 + error * v0, c1 + error * v1, c2 + error * v2, c3 + error * v3, c4 + error * v4
            error = errors[3, i]
            d0, d1, d2, d3, d4 = d0 + error * v0, d1 + error * v1, d2 + error * v2, d3 + error * v3, d4 + error * v4
            error = errors[4, i]
            e0, e1, e2, e3, e4 = e0 + error * v0, e1 + error * v1, e2 + error * v2, e3 + error * v3, e4 + error * v4
        _add(into[c, 0, a], a0, a1, a2, a3, a4)
        _add(into[c + 1, 0, a], b0, b1, b2, b3, b4)
        _add(into[c + 2, 0, a], c0, c1, c2, c3, c4)
        _add(into[c + 3, 0, a], d0, d1, d2, d3, d4)
        _add(into[c + 4, 0, a], e0, e1, e2, e3, e4)


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
    parts = np.zeros((2, _PHASES, SIDE // 2 * GROUP * HALF), np.float32)
    seen, below = np.zeros((HALF, _ROW), np.float32), np.empty((HALF, _ROW), np.float32)
    reached, routed = np.zeros((FIRST, _WIDE), np.float32), np.empty((5, _WIDE), np.float32)
    d1[:], db1[:], d2[:], db2[:] = 0, 0, 0, 0
    for group in range(len(h1)):
        first = group * GROUP
        count = min(GROUP, len(images) - first)
        if count < GROUP:
            reached[:] = 0
        _split(images[first : first + count], HALF, parts)
        for g in range(count):
            n = first + g
            below[:] = 0
            for c in range(FIRST):
                for y in range(HALF):
                    for x in range(HALF):
                        seen[y, x * FIRST + c] = h1[group, c, y, g, x]
            for c in range(SECOND):
                db2[c] += _back(h2[n, c], places2[n, c], errors[n, c], seen, below, w2[c], d2[c])
            for c in range(FIRST):
                for y in range(HALF):
                    for x in range(HALF):
                        reached[c, (y * GROUP + g) * HALF + x] = below[y, x * FIRST + c]
        for c in range(0, FIRST, 5):
            for q in range(4):
                for k in range(5):
                    h, at = h1[group, c + k].reshape(_WIDE), places1[group, c + k].reshape(_WIDE)
                    db1[c + k] += _route(reached[c + k], h, at, q, routed[k])
                _correlate(parts, routed, q, c, d1)
