"""One-channel kernels for cells that are graphs (NAS-Bench-101), compiled.

The maps of a cell are the rows of an array [slots, H, W, B]: the cell's projection in row 0, vertex
v in row v. They are kept as they leave the convolution. BatchNorm and ReLU are applied whenever a
map is read, which saves a trip through memory for each vertex: `norm` [2, slots] holds what is
subtracted from every map, and what it is then multiplied by; see :mod:`epsutil.collapse.norms`.
"""

import numpy as np

from epsutil.collapse.maps import NO_MOMENTS, Map, Moments, add_row, compiled
from epsutil.collapse.norms import Scalars, Slots


@compiled
def _sum(maps: Map, i: int, j: int, sources: Slots, norm: Scalars, row: Map) -> None:
    """Add up maps after BatchNorm and ReLU: B numbers at one position."""
    zero = row.dtype.type(0)
    for n in range(sources.shape[0]):
        values = maps[sources[n], i, j]
        c, s = norm[0, sources[n]], norm[1, sources[n]]
        if n == 0:
            for b in range(row.shape[0]):
                value = (values[b] - c) * s
                row[b] = zero if value <= zero else value
        else:
            for b in range(row.shape[0]):
                value = (values[b] - c) * s
                row[b] += zero if value <= zero else value


@compiled
def project(
    maps: Map, sources: Slots, channels: Scalars, norm: Scalars, result: Map, w: np.floating
) -> Moments:
    """Compute a cell's projection from the groups of the last cell's output.

    Between stacks the groups are max-pooled 2 x 2 on the way. This and the convolutions return
    count, mean and squared deviations of the map that they write.
    """
    _, height, width, batch = result.shape
    step = maps.shape[1] // height
    value = np.empty(batch, maps.dtype)
    group = np.empty(batch, maps.dtype)
    total = np.empty(batch, maps.dtype)
    moments = NO_MOMENTS
    for i in range(height):
        for j in range(width):
            total[:] = 0
            for n in range(sources.shape[0]):
                _sum(maps, i * step, j * step, sources[n], norm, group)
                for place in range(1, step * step):
                    p, q = place // step, place % step
                    _sum(maps, i * step + p, j * step + q, sources[n], norm, value)
                    for b in range(batch):
                        group[b] = max(group[b], value[b])
                for b in range(batch):
                    total[b] += channels[n] * (w * group[b])
            row_sum = result.dtype.type(0)
            for b in range(batch):
                result[0, i, j, b] = total[b]
                row_sum += total[b]
            moments = add_row(moments, total, row_sum)
    return moments


@compiled
def conv1x1(maps: Map, sources: Slots, vertex: int, norm: Scalars, w: np.floating) -> Moments:
    """Compute the map of a vertex with a 1 x 1 convolution."""
    _, height, width, batch = maps.shape
    row = np.empty(batch, maps.dtype)
    moments = NO_MOMENTS
    for i in range(height):
        for j in range(width):
            _sum(maps, i, j, sources, norm, row)
            row_sum = row.dtype.type(0)
            for b in range(batch):
                row[b] *= w
                maps[vertex, i, j, b] = row[b]
                row_sum += row[b]
            moments = add_row(moments, row, row_sum)
    return moments


@compiled
def _read_line(maps: Map, i: int, sources: Slots, norm: Scalars, line: Map) -> None:
    """Write line `i` of what a vertex reads; below the last one is a line of zeros."""
    for j in range(line.shape[0]):
        if i < maps.shape[1]:
            _sum(maps, i, j, sources, norm, line[j])
        else:
            line[j] = 0


@compiled
def conv3x3(maps: Map, sources: Slots, vertex: int, norm: Scalars, w: np.floating) -> Moments:
    """Compute the map of a vertex with a 3 x 3 convolution."""
    _, height, width, batch = maps.shape
    lines = np.zeros((3, width, batch), maps.dtype)  # of the input, the last three
    columns = np.zeros((width + 2, batch), maps.dtype)
    row = np.empty(batch, maps.dtype)
    moments = NO_MOMENTS
    for i in range(height + 1):
        _read_line(maps, i, sources, norm, lines[i % 3])
        if i == 0:
            continue
        for j in range(width):
            for b in range(batch):
                columns[j + 1, b] = w * lines[0, j, b] + w * lines[1, j, b] + w * lines[2, j, b]
        for j in range(width):
            row_sum = row.dtype.type(0)
            for b in range(batch):
                row[b] = columns[j, b] + columns[j + 1, b] + columns[j + 2, b]
                maps[vertex, i - 1, j, b] = row[b]
                row_sum += row[b]
            moments = add_row(moments, row, row_sum)
    return moments


@compiled
def maxpool3x3(maps: Map, sources: Slots, vertex: int, norm: Scalars) -> None:
    """Compute the map of a vertex with a max-pooling; all maps are positive after their ReLU."""
    _, height, width, batch = maps.shape
    lines = np.zeros((3, width, batch), maps.dtype)
    columns = np.zeros((width + 2, batch), maps.dtype)
    for i in range(height + 1):
        _read_line(maps, i, sources, norm, lines[i % 3])
        if i == 0:
            continue
        for j in range(width):
            for b in range(batch):
                columns[j + 1, b] = max(max(lines[0, j, b], lines[1, j, b]), lines[2, j, b])
        for j in range(width):
            for b in range(batch):
                maps[vertex, i - 1, j, b] = max(columns[j, b], columns[j + 1, b], columns[j + 2, b])


@compiled
def means(maps: Map, sources: Slots, channels: Scalars, norm: Scalars, w: np.floating) -> Map:
    """Average the network's last maps over all positions and apply the linear layer: [B]."""
    _, height, width, batch = maps.shape
    result = np.zeros(batch, maps.dtype)
    value = np.empty(batch, maps.dtype)
    for n in range(sources.shape[0]):
        mean = np.zeros(batch, maps.dtype)
        for i in range(height):
            for j in range(width):
                _sum(maps, i, j, sources[n], norm, value)
                mean += value
        for b in range(batch):
            result[b] += channels[n] * (w * (mean[b] / maps.dtype.type(height * width)))
    return result
