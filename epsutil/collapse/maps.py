"""The one-channel primitives of the width collapse.

Under one constant shared weight all filters of a layer are equal, so all its output channels are
the same map, and whatever works on each channel alone (BatchNorm, ReLU, pooling, sums) keeps them
equal. A layer with C equal input channels is therefore one channel, multiplied by C. In real
arithmetic this is exact. In float32 it holds up to rounding: the product with the weight is taken
before the sum, as a full-width convolution does, so that signals vanish where they vanish there.

Maps are arrays of shape [H, W, B]: height, width, image. With the images last, a 3 x 3 window moves
over contiguous rows of B numbers. A weight `w` is a number of the maps' dtype. The loops are
compiled by Numba: a torch operation for every step would spend most of its time carrying maps
through memory.
"""

import operator

import numba
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

EXTENDED = "extended"  # maps that carry their scale, see `epsutil.collapse.scaled`
BATCHNORM_EPS = 1e-5  # torch's default, used by all three benchmarks

Map = NDArray[np.floating]
Moments = tuple[float, float, float]  # count, mean and sum of squared deviations, in float64
NO_MOMENTS: Moments = (0.0, 0.0, 0.0)


def colours(x: Tensor | NDArray, dtype: str | None = None) -> Map:
    """Check a batch of images, see `Space.outputs`, and sum its colours: [H, W, B], read-only.

    The sum is all that the first layer sees of them. Extended range is float64 here.
    """
    images = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images have the shape (batch, 3, height, width), not {images.shape}")
    if images.shape[2] % 4 or images.shape[3] % 4 or not images.size:
        raise ValueError(
            f"image sides are multiples of 4 and batches not empty, not {images.shape}"
        )
    if images.dtype not in (np.float32, np.float64):
        raise ValueError(f"images are float32 or float64, not {images.dtype}")
    known = {"float32": np.float32, "float64": np.float64, EXTENDED: np.float64}
    images = images.astype(known[dtype] if dtype else images.dtype, copy=False)
    if not np.isfinite(images.sum()):
        raise ValueError("the images hold NaN or infinite values")
    summed = np.ascontiguousarray(images.sum(1).transpose(1, 2, 0))  # H, W, B
    summed.flags.writeable = False
    return summed


# Sums may be reordered, so that they vectorise; NaN and infinities keep their meaning.
compiled = numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")


def stem(colours: Map, w: np.floating) -> Map:
    """Convolve summed colours, 3 x 3, and normalise the result."""
    return batch_norm(window_sum(colours.copy(), w, rectify=False), w)


@compiled
def relu(x: Map, w: np.floating) -> Map:
    """Rectify a map and multiply it by the weight, as ReLU and a 1 x 1 convolution do."""
    result = np.empty_like(x)
    read, written = x.reshape(-1), result.reshape(-1)
    zero = x.dtype.type(0)  # an integer would make the loop one of float64
    for p in range(x.size):
        written[p] = zero if read[p] <= zero else w * read[p]
    return result


@compiled
def window_sum(x: Map, w: np.floating, stride: int = 1, rectify: bool = True, size: int = 3) -> Map:
    """Multiply a map by the weight and sum each square neighbourhood, with zeros outside.

    The square has 3 or 5 pixels a side, and every `stride`-th one in each direction is taken: of
    [H, W, B] remains [ceil(H / stride), ceil(W / stride), B]. Where `rectify`, ReLU comes first.
    """
    height, width, batch = x.shape
    shape = ((height + stride - 1) // stride, (width + stride - 1) // stride, batch)
    result = np.empty(shape, x.dtype)
    lowest = x.dtype.type(0 if rectify else -np.inf)
    pad = size // 2
    columns = np.zeros((width + 2 * pad, batch), x.dtype)  # sums of up to `size` rows, zero outside
    for i in range(result.shape[0]):
        columns[pad:-pad] = 0
        for row in range(max(i * stride - pad, 0), min(i * stride + pad + 1, height)):
            for j in range(width):
                for b in range(batch):
                    value = x[row, j, b]
                    columns[j + pad, b] += w * (lowest if value <= lowest else value)
        for j in range(result.shape[1]):
            at = j * stride
            for b in range(batch):
                result[i, j, b] = columns[at, b] + columns[at + 1, b] + columns[at + 2, b]
            if size == 5:
                for b in range(batch):
                    result[i, j, b] += columns[at + 3, b] + columns[at + 4, b]
    return result


@compiled
def add_row(moments: Moments, row: Map, row_sum: np.floating) -> Moments:
    """Add a row of numbers to count, mean and sum of squared deviations (Chan et al. 1979)."""
    count, mean, squares = moments
    batch = row.shape[0]
    row_mean = row.dtype.type(row_sum / batch)
    row_squares = row.dtype.type(0)
    for b in range(batch):
        deviation = row[b] - row_mean
        row_squares += deviation * deviation
    step = np.float64(row_mean) - mean
    squares += row_squares + step * step * (count * batch / (count + batch))
    return count + batch, mean + step * batch / (count + batch), squares


@compiled
def add_line(moments: Moments, line: Map, batch: int) -> Moments:
    """Add a line of positions, B numbers at each, position by position."""
    for start in range(0, line.shape[0], batch):
        row = line[start : start + batch]
        total = line.dtype.type(0)
        for b in range(batch):
            total += row[b]
        moments = add_row(moments, row, total)
    return moments


@compiled
def centre(x: Map, mean: float, factor: float) -> Map:
    """Subtract the mean from a map, which is overwritten, and multiply the rest."""
    flat = x.reshape(-1)
    c, s = x.dtype.type(mean), x.dtype.type(factor)
    for p in range(flat.size):
        flat[p] = (flat[p] - c) * s
    return x


def moments(x: Map) -> Moments:
    """Return the moments of a whole map."""
    return add_line(NO_MOMENTS, x.reshape(-1), x.shape[-1])


def normalisation(of_map: Moments, w: np.floating, channels: int) -> float:
    """Return what BatchNorm multiplies a map by that `channels` equal input channels add up to.

    Its scale is the shared weight, its shift 0, and its statistics are those of the batch.
    """
    count, _, squares = of_map
    variance = channels * channels * squares / count
    return channels * float(w) / np.sqrt(variance + BATCHNORM_EPS)


def batch_norm(x: Map, w: np.floating, channels: int = 1) -> Map:
    """Normalise a map, overwritten, over images and positions; see :func:`normalisation`."""
    of_map = moments(x)
    return centre(x, of_map[1], normalisation(of_map, w, channels))


def pointwise(x: Map, w: np.floating, stride: int = 1) -> Map:
    """Multiply every `stride`-th row and column by the weight: a 1 x 1 convolution without ReLU."""
    return np.ascontiguousarray(x[::stride, ::stride]) * w


add = operator.add  # of two maps


def means(x: Map, w: np.floating | float, channels: int) -> Map:
    """Average maps over all positions and apply the linear layer: [H, W, B] -> [B]."""
    return x.mean((0, 1)) * w * channels
