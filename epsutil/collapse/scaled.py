"""The one-channel primitives on maps that carry their scale: nothing under- or overflows.

A network of many layers under a small weight multiplies its signal by about the square of the
weight in each of them, until it is smaller than any floating-point number; a large weight does the
opposite. Here a map is an array of float64 of usual size and, for each weight, a power of two that
it is to be multiplied by. Products and sums by powers of two are exact, so that the steps are those
of :mod:`epsutil.collapse.maps` in float64, bit for bit, wherever float64 can represent them.

Epsilon compares normalised rows (Eq. 1), to which a common factor makes no difference: a network's
outputs are returned without their power of two.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from epsutil.collapse import maps

Exponents = NDArray[np.int64]
NOTHING = -(1 << 40)  # the exponent of a map of zeros: any other map decides the scale of a sum
# Beyond it BatchNorm's eps, or the variance, is lost in the sum of both, whatever the maps hold.
_FAR = 256


class Map(NamedTuple):
    """A map [K, H, W, B] and the power of two of each weight's part."""

    values: maps.Map
    exponents: Exponents  # K


def split(numbers: Sequence[float] | NDArray) -> tuple[NDArray[np.float64], Exponents]:
    """Write numbers as mantissas from 0.5 to 1, or 0, and powers of two."""
    mantissas, exponents = np.frexp(np.asarray(numbers, dtype=np.float64))
    return mantissas, exponents.astype(np.int64)


def power(exponents: Exponents | int) -> NDArray[np.float64]:
    """Return 2 to the power of negative or small exponents, 0 where it is too small."""
    return np.ldexp(1.0, np.maximum(exponents, -2000).astype(np.int32))


def images(colours: maps.Map, n_weights: int) -> Map:
    """Repeat summed colours for every weight; see :func:`epsutil.collapse.maps.images`."""
    return Map(maps.images(colours, n_weights), np.zeros(n_weights, np.int64))


def relu(x: Map, weight: NDArray) -> Map:
    """Rectify a map and multiply it by the weight; see :func:`epsutil.collapse.maps.relu`."""
    w, exponents = split(weight)
    return Map(maps.relu(x.values, w), x.exponents + exponents)


def pointwise(x: Map, weight: NDArray, stride: int = 1) -> Map:
    """Multiply a map by the weight; see :func:`epsutil.collapse.maps.pointwise`."""
    w, exponents = split(weight)
    return Map(maps.pointwise(x.values, w, stride), x.exponents + exponents)


def add(first: Map, second: Map) -> Map:
    """Add two maps. What is too small beside the other to be a float64 is lost."""
    exponents = np.maximum(first.exponents, second.exponents)
    parts = (
        x.values * power(x.exponents - exponents)[:, None, None, None] for x in (first, second)
    )
    return Map(np.add(*parts), exponents)


def means(x: Map, weight: NDArray, channels: int) -> NDArray[np.floating]:
    """Average maps and apply the linear layer, as rows for :func:`outputs`: [K, B]."""
    return outputs(maps.means(x.values, split(weight)[0], channels))


def window_sum(
    x: Map, weight: NDArray, stride: int = 1, rectify: bool = True, size: int = 3
) -> Map:
    """Sum weighted neighbourhoods; see :func:`epsutil.collapse.maps.window_sum`."""
    w, exponents = split(weight)
    return Map(maps.window_sum(x.values, w, stride, rectify, size), x.exponents + exponents)


def batch_norm(x: Map, weight: NDArray, channels: int = 1) -> Map:
    """Normalise a map, which is overwritten; see :func:`epsutil.collapse.maps.batch_norm`."""
    count, mean, squares = maps.moments(x.values)
    factor, exponents = normalisation(squares, count, x.exponents, weight, channels)
    return Map(maps.centre(x.values, mean, factor), exponents)


def normalisation(
    squares: NDArray, count: float, exponents: Exponents, weight: NDArray, channels: int
) -> tuple[maps.Moment, Exponents]:
    """Return what BatchNorm does to centred maps, and the powers of two of the result.

    Parameters
    ----------
    squares, exponents : ndarray, shape (K,)
        Sums of squared deviations of the maps' values, and the maps' powers of two.
    count : float
        Numbers in a map.
    weight : ndarray, shape (K,)
        BatchNorm's scale.
    channels : int
        Number of equal input channels that the convolution before adds up.

    Returns
    -------
    factors : ndarray, shape (K,)
        Such that the standard deviation of the result is from 0.5 to 1.
    exponents : ndarray, shape (K,)
    """
    w, of_weight = split(weight)
    variance = channels * channels * squares / count
    near = np.clip(exponents, -_FAR, _FAR)
    eps = maps.BATCHNORM_EPS * np.ldexp(1.0, -2 * near)
    divisors = np.sqrt(variance + eps)
    _, size = split(w * np.sqrt(variance) / divisors)
    result = of_weight + size + np.minimum(exponents - near, 0)
    factors = np.ldexp(channels * w, -size) / divisors
    return factors, np.where(variance * w == 0, NOTHING, result)


def outputs(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Scale rows of outputs by a power of two each, so that their largest is from 0.5 to 1."""
    _, size = split(np.abs(rows).max(axis=1))
    return np.ldexp(rows, -size[:, None])
