"""The one-channel primitives of the width collapse.

Under one constant shared weight all filters of a layer are equal, so all its output channels are
the same map, and whatever works on each channel alone (BatchNorm, ReLU, pooling, sums) keeps them
equal. A layer with C equal input channels is therefore one channel, multiplied by C. In real
arithmetic this is exact. In float32 it holds up to rounding: the product with the weight is taken
before the sum, as a full-width convolution does, so that signals vanish where they vanish there.

Maps are arrays of shape [K, H, W, B]: weight, height, width, image. With the images last, a 3 x 3
window moves over contiguous rows of B numbers. The loops are compiled by Numba: a torch operation
for every step would spend most of its time carrying maps through memory.
"""

import numba
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

EXTENDED = "extended"  # maps that carry their scale, see `epsutil.collapse.scaled`
BATCHNORM_EPS = 1e-5  # torch's default, used by all three benchmarks

Map = NDArray[np.floating]
Moments = tuple[float, float, float]  # count, mean and sum of squared deviations, in float64
Moment = NDArray[np.float64]  # one of these for each weight: K
NO_MOMENTS: Moments = (0.0, 0.0, 0.0)


def colours(x: Tensor | NDArray, dtype: str | None = None) -> Map:
    """Check a batch of images and sum its colours: all that the first layer sees of them.

    The last batch is remembered, for a search space is scored on one and the same.

    Parameters
    ----------
    x : Tensor or ndarray, shape (batch, 3, height, width), float32 or float64
        Sides are multiples of 4.
    dtype : {"float32", "float64", "extended"}, optional
        What to compute in, by default the precision of `x`; extended range is float64 here.

    Returns
    -------
    ndarray, shape (height, width, batch)
        Not to be written to.

    Raises
    ------
    ValueError
        The shape, the dtype or a value is not one of those above.
    """
    global _last
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
    before, summed = _last
    if images.dtype != before.dtype or not np.array_equal(images, before):
        if not np.isfinite(images.sum()):
            raise ValueError("the images hold NaN or infinite values")
        summed = np.ascontiguousarray(images.sum(1).transpose(1, 2, 0))  # H, W, B
        summed.flags.writeable = False
        _last = (images.copy(), summed)
    return summed


_last: tuple[NDArray, Map] = (np.zeros(0), np.zeros(0))  # images, their summed colours

# Sums may be reordered, so that they vectorise; NaN and infinities keep their meaning.
_compiled = numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")


@_compiled
def relu(x: Map, weight: Map) -> Map:
    """Rectify a map and multiply it by the weight, as ReLU and a 1 x 1 convolution do.

    Parameters
    ----------
    x : ndarray, shape (K, H, W, B)
    weight : ndarray, shape (K,), dtype of `x`

    Returns
    -------
    ndarray, shape (K, H, W, B)
        What one input channel contributes.
    """
    result = np.empty_like(x)
    zero = x.dtype.type(0)  # an integer would make the loop one of float64
    for k in range(x.shape[0]):
        w = weight[k]
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                for b in range(x.shape[3]):
                    value = x[k, i, j, b]
                    result[k, i, j, b] = zero if value <= zero else w * value
    return result


@_compiled
def window_sum(x: Map, weight: Map, stride: int = 1, rectify: bool = True, size: int = 3) -> Map:
    """Multiply a map by the weight and sum each square neighbourhood, with zeros outside.

    Parameters
    ----------
    x : ndarray, shape (K, H, W, B)
    weight : ndarray, shape (K,), dtype of `x`
    stride : {1, 2}
    rectify : bool, default True
        Apply ReLU to `x` first.
    size : {3, 5}
        Side of the square.

    Returns
    -------
    ndarray, shape (K, ceil(H / stride), ceil(W / stride), B)
        What one input channel contributes to a convolution, or what a depthwise one makes.
    """
    n_weights, height, width, batch = x.shape
    result = np.empty(
        (n_weights, (height + stride - 1) // stride, (width + stride - 1) // stride, batch), x.dtype
    )
    lowest = x.dtype.type(0 if rectify else -np.inf)
    pad = size // 2
    columns = np.zeros((width + 2 * pad, batch), x.dtype)  # sums of up to `size` rows, zero outside
    for k in range(n_weights):
        w = weight[k]
        for i in range(result.shape[1]):
            columns[pad:-pad] = 0
            for row in range(max(i * stride - pad, 0), min(i * stride + pad + 1, height)):
                for j in range(width):
                    for b in range(batch):
                        value = x[k, row, j, b]
                        columns[j + pad, b] += w * (lowest if value <= lowest else value)
            for j in range(result.shape[2]):
                at = j * stride
                for b in range(batch):
                    result[k, i, j, b] = columns[at, b] + columns[at + 1, b] + columns[at + 2, b]
                if size == 5:
                    for b in range(batch):
                        result[k, i, j, b] += columns[at + 3, b] + columns[at + 4, b]
    return result


@_compiled
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


@_compiled
def batch_norm(x: Map, weight: Map, channels: int = 1) -> Map:
    """Normalise `channels` times a map over images and positions, by the batch's statistics.

    Parameters
    ----------
    x : ndarray, shape (K, H, W, B)
        What one input channel contributes to the convolution before. Overwritten.
    weight : ndarray, shape (K,), dtype of `x`
        BatchNorm's scale, the shared weight. Its shift is 0.
    channels : int, default 1
        Number of equal input channels that the convolution adds up.

    Returns
    -------
    ndarray, shape (K, H, W, B)
        The overwritten `x`.
    """
    count, means, squares = moments(x)
    variance = channels * channels * squares / count
    factors = channels * weight.astype(np.float64) / np.sqrt(variance + BATCHNORM_EPS)
    return centre(x, means, factors)


@_compiled
def moments(x: Map) -> tuple[float, Moment, Moment]:
    """Count the numbers of a map, and return means and sums of squared deviations: [K] each."""
    n_weights, height, width, batch = x.shape
    means, squares = np.empty(n_weights), np.empty(n_weights)
    count = 0.0
    for k in range(n_weights):
        so_far = NO_MOMENTS
        for i in range(height):
            for j in range(width):
                total = x.dtype.type(0)
                for b in range(batch):
                    total += x[k, i, j, b]
                so_far = add_row(so_far, x[k, i, j], total)
        count, means[k], squares[k] = so_far
    return count, means, squares


@_compiled
def centre(x: Map, means: Moment, factors: Moment) -> Map:
    """Subtract means from maps, which are overwritten, and multiply the rest."""
    for k in range(x.shape[0]):
        mean, factor = x.dtype.type(means[k]), x.dtype.type(factors[k])
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                for b in range(x.shape[3]):
                    x[k, i, j, b] = (x[k, i, j, b] - mean) * factor
    return x


def pointwise(x: Map, weight: Map, stride: int = 1) -> Map:
    """Multiply a map by the weight, as a 1 x 1 convolution without ReLU before it does.

    Of [K, H, W, B] every `stride`-th row and column is taken.
    """
    return np.ascontiguousarray(x[:, ::stride, ::stride]) * weight[:, None, None, None]


def add(first: Map, second: Map) -> Map:
    """Add two maps of one shape."""
    return first + second


def images(colours: Map, n_weights: int) -> Map:
    """Repeat summed colours for every weight: [H, W, B] -> [K, H, W, B]."""
    return np.repeat(colours[None], n_weights, axis=0)


def means(x: Map, weight: Map, channels: int) -> Map:
    """Average maps over all positions and apply the linear layer: [K, H, W, B] -> [K, B]."""
    return x.mean((1, 2)) * weight[:, None] * channels
