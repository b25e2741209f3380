"""The one-channel primitives on maps that carry their scale: nothing under- or overflows.

A network of many layers under a small weight multiplies its signal by about the square of the
weight in each of them, until it is smaller than any floating-point number; a large weight does the
opposite. Here a map is an array of float64 of usual size and, for each weight, a power of two that
it is to be multiplied by. Products and sums by powers of two are exact, so that the steps are those
of :mod:`epsutil.collapse.maps` in float64, bit for bit, wherever float64 can represent them.

Epsilon compares normalised rows (Eq. 1), to which a common factor makes no difference: a network's
outputs are returned without their power of two.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from epsutil.collapse import maps

NOTHING = -(1 << 40)  # the exponent of a map of zeros: any other map decides the scale of a sum
# Beyond it BatchNorm's eps, or the variance, is lost in the sum of both, whatever the maps hold.
_FAR = 256


class Map(NamedTuple):
    """A map [H, W, B] and the power of two that it is to be multiplied by."""

    values: maps.Map
    exponent: int


def power(exponents: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Return 2 to the power of negative or small exponents, 0 where it is too small."""
    return np.ldexp(1.0, np.maximum(exponents, -2000).astype(np.int32))


def _weighted(kernel: Callable[..., maps.Map]) -> Callable[..., Map]:
    """Let a function that multiplies a map by the weight work on one with its scale."""

    @functools.wraps(kernel)
    def on_scaled(x: Map, w: float, *args: Any, **options: Any) -> Map:
        mantissa, exponent = math.frexp(w)
        return Map(kernel(x.values, mantissa, *args, **options), x.exponent + exponent)

    return on_scaled


relu = _weighted(maps.relu)
pointwise = _weighted(maps.pointwise)
window_sum = _weighted(maps.window_sum)


def stem(colours: maps.Map, w: float) -> Map:
    """Convolve summed colours and normalise the result; see :func:`epsutil.collapse.maps.stem`."""
    return batch_norm(window_sum(Map(colours.copy(), 0), w, rectify=False), w)


def add(first: Map, second: Map) -> Map:
    """Add two maps. What is too small beside the other to be a float64 is lost."""
    exponent = max(first.exponent, second.exponent)
    one, other = (x.values * power(x.exponent - exponent) for x in (first, second))
    return Map(one + other, exponent)


def means(x: Map, w: float, channels: int) -> maps.Map:
    """Average maps and apply the linear layer, up to a power of two: [H, W, B] -> [B]."""
    return maps.means(x.values, math.frexp(w)[0], channels)


def batch_norm(x: Map, w: float, channels: int = 1) -> Map:
    """Normalise a map, which is overwritten; see :func:`epsutil.collapse.maps.batch_norm`."""
    moments = maps.moments(x.values)
    factor, exponent = normalisation(moments, x.exponent, w, channels)
    return Map(maps.centre(x.values, moments[1], factor), exponent)


def normalisation(
    moments: maps.Moments, exponent: int, w: float, channels: int
) -> tuple[float, int]:
    """Return what BatchNorm multiplies a map of some power of two by, and that of the result.

    The standard deviation of the result's values is from 0.5 to 1. See
    :func:`epsutil.collapse.maps.normalisation`.
    """
    count, _, squares = moments
    mantissa, of_weight = math.frexp(w)
    variance = channels * channels * squares / count
    near = min(max(exponent, -_FAR), _FAR)
    divisor = np.sqrt(variance + maps.BATCHNORM_EPS * np.ldexp(1.0, -2 * near))
    _, size = math.frexp(mantissa * np.sqrt(variance) / divisor)
    factor = np.ldexp(channels * mantissa, -size) / divisor
    if variance * mantissa == 0:
        return factor, NOTHING
    return factor, of_weight + size + min(exponent - near, 0)


def outputs(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Scale rows of outputs by a power of two each, so that their largest is from 0.5 to 1."""
    _, size = np.frexp(np.abs(rows).max(axis=1))
    return np.ldexp(rows, -size[:, None])
