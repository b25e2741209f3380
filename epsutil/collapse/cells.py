"""One-channel kernels for cells whose nodes add up maps before ReLU (NAS-Bench-201), compiled.

As in :mod:`epsutil.collapse.graphs`, maps are the rows of an array [slots, H, W, B], written as
they leave a convolution, together with their statistics; BatchNorm, sums and ReLU are applied where
a map is read: `norm` [2, slots] is what is subtracted, and what then multiplies. So each operation
reads what it adds up and writes one map, and no other trip through memory is made.
"""

import numba
import numpy as np

from epsutil.collapse.maps import NO_MOMENTS, Map, Moments, add_line, compiled
from epsutil.collapse.norms import Scalars, Slots

_in_order = numba.njit(cache=True, error_model="numpy")  # each step is rounded, as it is written


@_in_order
def _sum(flat: Map, i: int, sources: Slots, norm: Scalars, line: Map) -> None:
    """Add up a line of maps [slots, H, W * B] after BatchNorm."""
    for n in range(sources.shape[0]):
        values = flat[sources[n], i]
        c, s = norm[0, sources[n]], norm[1, sources[n]]
        plain = c == 0 and s == 1
        # Minus infinity, of which the compiler does not know: a comparison that changes nothing
        # keeps it from fusing product and sum into one step, which would round once, not twice.
        lowest = (abs(s) + 1) * line.dtype.type(-np.inf)
        if n == 0 and plain:
            for p in range(line.shape[0]):
                line[p] = values[p]
        elif n == 0:
            for p in range(line.shape[0]):
                line[p] = (values[p] - c) * s
        elif plain:
            for p in range(line.shape[0]):
                line[p] += values[p]
        else:
            for p in range(line.shape[0]):
                value = (values[p] - c) * s
                line[p] += lowest if value <= lowest else value


@compiled
def _columns(lines: Map, first: int, end: int, w: np.floating, columns: Map) -> None:
    """Add up to three lines of a ring, times the weight, in the order of their rows."""
    line = lines[first % 3]
    for p in range(columns.shape[0]):
        columns[p] = w * line[p]
    for row in range(first + 1, end):
        line = lines[row % 3]
        for p in range(columns.shape[0]):
            columns[p] += w * line[p]


@compiled
def _windows(columns: Map, batch: int, stride: int, out: Map) -> None:
    """Add up neighbouring columns, B numbers each, of which the first and the last are zero."""
    for j in range(0, out.shape[0], batch):
        at = j * stride
        left, middle = columns[at : at + batch], columns[at + batch : at + 2 * batch]
        right, row = columns[at + 2 * batch : at + 3 * batch], out[j : j + batch]
        for b in range(batch):
            row[b] = left[b] + middle[b] + right[b]


@compiled
def conv1x1(maps: Map, sources: Slots, slot: int, norm: Scalars, w: np.floating) -> Moments:
    """Compute the map of ReLU and a 1 x 1 convolution; return its statistics."""
    n_slots, height, width, batch = maps.shape
    flat = maps.reshape(n_slots, height, width * batch)
    zero = maps.dtype.type(0)
    line = np.empty(width * batch, maps.dtype)
    moments = NO_MOMENTS
    for i in range(height):
        _sum(flat, i, sources, norm, line)
        out = flat[slot, i]
        for p in range(width * batch):
            out[p] = zero if line[p] <= zero else w * line[p]
        moments = add_line(moments, out, batch)
    return moments


@compiled
def conv3x3(
    maps: Map, sources: Slots, result: Map, slot: int, norm: Scalars, w: np.floating, stride: int
) -> Moments:
    """Compute the map of ReLU and a 3 x 3 convolution; return its statistics."""
    n_slots, height, width, batch = maps.shape
    flat = maps.reshape(n_slots, height, width * batch)
    written = result.reshape(n_slots, result.shape[1], result.shape[2] * batch)
    zero = maps.dtype.type(0)
    line = np.empty(width * batch, maps.dtype)
    lines = np.empty((3, width * batch), maps.dtype)  # of the rectified input, the last three
    columns = np.zeros((width + 2) * batch, maps.dtype)  # sums of up to three, zero at both ends
    n_lines = 0
    moments = NO_MOMENTS
    for i in range(result.shape[1]):
        first, end = max(i * stride - 1, 0), min(i * stride + 2, height)
        while n_lines < end:
            _sum(flat, n_lines, sources, norm, line)
            rectified = lines[n_lines % 3]
            for p in range(width * batch):
                rectified[p] = zero if line[p] <= zero else line[p]
            n_lines += 1
        _columns(lines, first, end, w, columns[batch:-batch])
        _windows(columns, batch, stride, written[slot, i])
        moments = add_line(moments, written[slot, i], batch)
    return moments


@compiled
def average_pool(maps: Map, sources: Slots, slot: int, norm: Scalars) -> None:
    """Compute the map of a 3 x 3 average pooling, padding not counted."""
    n_slots, height, width, batch = maps.shape
    flat = maps.reshape(n_slots, height, width * batch)
    one = maps.dtype.type(1)
    lines = np.empty((3, width * batch), maps.dtype)
    columns = np.zeros((width + 2) * batch, maps.dtype)
    n_lines = 0
    for i in range(height):
        first, end = max(i - 1, 0), min(i + 2, height)
        while n_lines < end:
            _sum(flat, n_lines, sources, norm, lines[n_lines % 3])
            n_lines += 1
        _columns(lines, first, end, one, columns[batch:-batch])
        _windows(columns, batch, 1, flat[slot, i])
        for j in range(width):
            share = maps.dtype.type(1 / ((end - first) * (min(j + 2, width) - max(j - 1, 0))))
            out = maps[slot, i, j]
            for b in range(batch):
                out[b] *= share


@compiled
def total(maps: Map, sources: Slots, slot: int, norm: Scalars) -> None:
    """Add up maps; their sum may take the place of one of them."""
    n_slots, height, width, batch = maps.shape
    flat = maps.reshape(n_slots, height, width * batch)
    line = np.empty(width * batch, maps.dtype)
    for i in range(height):
        _sum(flat, i, sources, norm, line)
        flat[slot, i] = line


@_in_order
def shortcut(
    maps: Map, source: int, result: Map, slot: int, w: np.floating, channels: np.floating
) -> None:
    """Average disjoint 2 x 2 squares of a map and apply the 1 x 1 convolution."""
    four = maps.dtype.type(4)
    for i in range(result.shape[1]):
        for j in range(result.shape[2]):
            p, q = 2 * i, 2 * j
            for b in range(result.shape[3]):
                left = maps[source, p, q, b] + maps[source, p + 1, q, b]
                right = maps[source, p, q + 1, b] + maps[source, p + 1, q + 1, b]
                result[slot, i, j, b] = (left + right) / four * w * channels
