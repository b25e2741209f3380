"""What BatchNorm does to each map of a network, for kernels that apply it where a map is read."""

import copy
import functools
from collections.abc import Callable
from typing import Any

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
    """

    def __init__(self, n_slots: int, weight: float, dtype: np.dtype) -> None:
        self.w = dtype.type(weight)  # what the kernels multiply by
        self.norm = np.zeros((2, n_slots), dtype)  # is subtracted, multiplies
        self.zero = np.zeros(n_slots, bool)  # whether a map is known to be zero everywhere

    def reading(self, sources: Slots) -> Scalars:
        """Return what the kernels read some maps with."""
        return self.norm

    def living(self, sources: Slots) -> Slots:
        """Return those of some maps that are not zero everywhere, as far as is known.

        What a map of zeros adds need not be computed: under a small weight many signals vanish.
        """
        return sources[~self.zero[sources]]

    def vanish(self, slot: int) -> None:
        """Note a map of zeros, which is not written."""
        self.zero[slot] = True

    def normalise(self, slot: int, channels: int, moments: maps.Moments, kept: maps.Map) -> None:
        """Note the statistics of a map that `channels` equal input channels add up to."""
        count, mean, squares = moments
        variance = channels * channels * squares / count
        factor = channels * np.float64(self.w) / np.sqrt(variance + maps.BATCHNORM_EPS)
        self._note(slot, mean, factor)
        self.zero[slot] = is_zero(kept[slot], moments)

    def keep(self, slot: int, weighted: bool = False) -> None:
        """Note that a map has no BatchNorm, and whether it was multiplied by the weight."""
        self._note(slot, 0, 1)

    def batch_norm(self, x: maps.Map) -> maps.Map:
        """Normalise the map of slot 0, overwritten, where its scale matters no more: [1, ...]."""
        return maps.batch_norm(x, np.array([self.w]))

    def _note(self, slot: int, mean: float, factor: float) -> None:
        self.norm[:, slot] = mean, factor
        self.zero[slot] = False


class ScaledNorms(Norms):
    """The same where each map has a power of two besides; see :mod:`epsutil.collapse.scaled`."""

    def __init__(self, n_slots: int, weight: float, dtype: np.dtype) -> None:
        w, exponents = scaled.split([weight])
        super().__init__(n_slots, w[0], dtype)
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

    def normalise(self, slot: int, channels: int, moments: maps.Moments, kept: maps.Map) -> None:
        """Note the statistics of a map, which the weight was a factor of."""
        count, mean, squares = moments
        exponents = np.array([self.common + self.of_weight])
        factor, self.exponents[slot : slot + 1] = scaled.normalisation(
            np.array([squares]), count, exponents, self.weight, channels
        )
        self._note(slot, mean, factor[0])

    def keep(self, slot: int, weighted: bool = False) -> None:
        """Note that a map has no BatchNorm, and whether it was multiplied by the weight."""
        super().keep(slot)
        self.exponents[slot] = self.common + (self.of_weight if weighted else 0)

    def batch_norm(self, x: maps.Map) -> maps.Map:
        """Normalise the map of slot 0, overwritten, where its scale matters no more: [1, ...]."""
        return scaled.batch_norm(scaled.Map(x, self.exponents[:1]), self.weight).values


def is_zero(x: maps.Map, moments: maps.Moments) -> bool:
    """Tell whether a map is zero everywhere; the smallest numbers leave no trace in statistics."""
    return moments[1:] == (0, 0) and not x.any()


def of_stem(
    colours: maps.Map, weight: float, n_slots: int, extended: bool
) -> tuple[maps.Map, Norms]:
    """Compute the stem's map, without ReLU, and norms with it in slot 0.

    Parameters
    ----------
    colours : ndarray, shape (H, W, B)
        See :func:`epsutil.collapse.maps.colours`.
    weight, n_slots
        As for :class:`Norms`.
    extended : bool

    Returns
    -------
    stem : ndarray, shape (H, W, B)
    norms : Norms
    """
    w = np.array([weight], colours.dtype)
    kind = ScaledNorms if extended else Norms
    norms = kind(n_slots, w[0], colours.dtype)
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


def once_a_batch(compute: Callable[..., tuple[maps.Map, Norms]]) -> Callable[..., Any]:
    """Keep what a function of a batch's colours and a weight returns until the next batch.

    The first layers are the same for all architectures of a space.
    """
    kept: dict[Any, tuple[maps.Map, Norms]] = {}
    known: list[maps.Map] = []

    @functools.wraps(compute)
    def remembered(colours: maps.Map, weight: float, extended: bool) -> tuple[maps.Map, Norms]:
        if not known or known[0] is not colours:  # `maps.colours` gives one array for one batch
            kept.clear()
            known[:] = [colours]
        if (weight, extended) not in kept:
            kept[weight, extended] = compute(colours, weight, extended)
        first, norms = kept[weight, extended]
        return first, copy.deepcopy(norms)  # to which the maps of one network are added

    return remembered
