"""What BatchNorm does to each map of a network, for kernels that apply it where a map is read."""

import numpy as np
from numpy.typing import NDArray

from epsutil.collapse import maps, scaled

Scalars = NDArray[np.floating]
Slots = NDArray[np.int64]


class Norms:
    """The norms of one network's maps under one weight.

    Parameters
    ----------
    n_slots : int
        Places for maps.
    weight : float
    dtype : numpy.dtype
    quotient : bool
        Whether maps are multiplied by the quotient of two numbers, or, in float64, by the one and
        divided by the other. Stored scores hold both kinds of rounding.
    """

    def __init__(self, n_slots: int, weight: float, dtype: np.dtype, quotient: bool) -> None:
        self.w = dtype.type(weight)  # what the kernels multiply by
        self.norm = np.zeros((3, n_slots), dtype)  # is subtracted, multiplies, divides
        self.quotient = quotient or dtype == np.float32

    def reading(self, sources: Slots) -> Scalars:
        """Return what the kernels read some maps with."""
        return self.norm

    def normalise(self, slot: int, channels: int, moments: maps.Moments) -> None:
        """Note the statistics of a map that `channels` equal input channels add up to."""
        count, mean, squares = moments
        variance = channels * channels * squares / count
        factor, divisor = channels * np.float64(self.w), np.sqrt(variance + maps.BATCHNORM_EPS)
        self._note(slot, mean, factor, divisor)

    def keep(self, slot: int, weighted: bool = False) -> None:
        """Note that a map has no BatchNorm, and whether it was multiplied by the weight."""
        self._note(slot, 0, 1, 1)

    def batch_norm(self, x: maps.Map) -> maps.Map:
        """Normalise the map of slot 0, overwritten, where its scale matters no more: [1, ...]."""
        return maps.batch_norm(x, np.array([self.w]))

    def _note(self, slot: int, mean: float, factor: float, divisor: float) -> None:
        if self.quotient:
            factor, divisor = factor / divisor, 1
        self.norm[:, slot] = mean, factor, divisor


class ScaledNorms(Norms):
    """The same where each map has a power of two besides; see :mod:`epsutil.collapse.scaled`."""

    def __init__(self, n_slots: int, weight: float, dtype: np.dtype, quotient: bool) -> None:
        w, exponents = scaled.split([weight])
        super().__init__(n_slots, w[0], dtype, quotient)
        self.weight = np.array([weight])
        self.of_weight = exponents[0]
        self.exponents = np.full(n_slots, scaled.NOTHING)
        self.common = scaled.NOTHING  # of the maps read last

    def reading(self, sources: Slots) -> Scalars:
        """Return what brings maps that are read together to a common power of two."""
        self.common = self.exponents[sources].max()
        norm = self.norm.copy()
        norm[1] *= scaled.power(np.minimum(self.exponents - self.common, 0))
        return norm

    def normalise(self, slot: int, channels: int, moments: maps.Moments) -> None:
        """Note the statistics of a map, which the weight was a factor of."""
        count, mean, squares = moments
        exponents = np.array([self.common + self.of_weight])
        factor, divisor, self.exponents[slot : slot + 1] = scaled.normalisation(
            np.array([squares]), count, exponents, self.weight, channels
        )
        self._note(slot, mean, factor[0], divisor[0])

    def keep(self, slot: int, weighted: bool = False) -> None:
        """Note that a map has no BatchNorm, and whether it was multiplied by the weight."""
        super().keep(slot)
        self.exponents[slot] = self.common + (self.of_weight if weighted else 0)

    def batch_norm(self, x: maps.Map) -> maps.Map:
        """Normalise the map of slot 0, overwritten, where its scale matters no more: [1, ...]."""
        return scaled.batch_norm(scaled.Map(x, self.exponents[:1]), self.weight).values


def of_stem(
    colours: maps.Map, weight: float, n_slots: int, extended: bool, quotient: bool
) -> tuple[maps.Map, Norms]:
    """Compute the stem's map, without ReLU, and norms with it in slot 0.

    Parameters
    ----------
    colours : ndarray, shape (H, W, B)
        See :func:`epsutil.collapse.maps.colours`.
    weight, n_slots, quotient
        As for :class:`Norms`.
    extended : bool

    Returns
    -------
    stem : ndarray, shape (H, W, B)
    norms : Norms
    """
    w = np.array([weight], colours.dtype)
    kind = ScaledNorms if extended else Norms
    norms = kind(n_slots, w[0], colours.dtype, quotient)
    if isinstance(norms, ScaledNorms):
        scaled_stem = scaled.batch_norm(
            scaled.window_sum(scaled.images(colours, 1), w, 1, False), w
        )
        norms.common = scaled_stem.exponents[0]
        stem = scaled_stem.values
    else:
        stem = maps.batch_norm(maps.window_sum(maps.images(colours, 1), w, 1, False), w)
    norms.keep(0)
    return stem[0], norms
