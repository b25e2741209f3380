"""What BatchNorm does to each map of a network, for kernels that apply it where a map is read."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epsutil.collapse import maps, scaled

Scalars = NDArray[np.floating]
Slots = NDArray[np.int64]


class Norms:
    """The norms of one network's maps, in so many slots, under one weight."""

    def __init__(self, n_slots: int, weight: float, dtype: np.dtype) -> None:
        self.w = dtype.type(weight)  # what the kernels multiply by
        self.norm = np.zeros((2, n_slots), dtype)  # is subtracted, multiplies
        self.zero = np.zeros(n_slots, bool)  # whether a map is known to be zero everywhere

    def stem(self, colours: maps.Map) -> maps.Map:
        """Compute the stem's map, without ReLU, for slot 0: [H, W, B]."""
        self.keep(0)
        return maps.stem(colours, self.w)

    def reading(self, sources: Slots) -> Scalars:
        """Return what the kernels read some maps with."""
        return self.norm

    def living(self, sources: Slots) -> Slots:
        """Return those of some maps that are not zero everywhere, as far as is known.

        What a map of zeros adds need not be computed: under a small weight many signals vanish.
        """
        return sources[~self.zero[sources]]

    def normalise(self, slot: int, channels: int, moments: maps.Moments, kept: maps.Map) -> None:
        """Note the statistics of a map that `channels` equal input channels add up to."""
        self._note(slot, moments[1], maps.normalisation(moments, self.w, channels))
        self.zero[slot] = is_zero(kept[slot], moments)

    def keep(self, slot: int, weighted: bool = False) -> None:
        """Note that a map has no BatchNorm, and whether it was multiplied by the weight."""
        self._note(slot, 0, 1)

    def batch_norm(self, x: maps.Map) -> maps.Map:
        """Normalise the map of slot 0, overwritten, where its scale matters no more."""
        return maps.batch_norm(x, self.w)

    def _note(self, slot: int, mean: float, factor: float) -> None:
        self.norm[:, slot] = mean, factor
        self.zero[slot] = False


class ScaledNorms(Norms):
    """The same where each map has a power of two besides; see :mod:`epsutil.collapse.scaled`."""

    def __init__(self, n_slots: int, weight: float, dtype: np.dtype) -> None:
        w, self.of_weight = math.frexp(weight)
        super().__init__(n_slots, w, dtype)
        self.weight = weight
        self.exponents = np.full(n_slots, scaled.NOTHING)
        self.common = scaled.NOTHING  # of the maps read last

    def stem(self, colours: maps.Map) -> maps.Map:
        """Compute the stem's map, without ReLU, for slot 0: [H, W, B]."""
        stem, self.common = scaled.stem(colours, self.weight)
        self.keep(0)
        return stem

    def reading(self, sources: Slots) -> Scalars:
        """Return what brings maps that are read together to a common power of two."""
        self.common = int(self.exponents[sources].max())
        norm = self.norm.copy()
        norm[1] *= scaled.power(np.minimum(self.exponents - self.common, 0))
        return norm

    def normalise(self, slot: int, channels: int, moments: maps.Moments, kept: maps.Map) -> None:
        """Note the statistics of a map, which the weight was a factor of."""
        factor, self.exponents[slot] = scaled.normalisation(
            moments, self.common + self.of_weight, self.weight, channels
        )
        self._note(slot, moments[1], factor)

    def keep(self, slot: int, weighted: bool = False) -> None:
        """Note that a map has no BatchNorm, and whether it was multiplied by the weight."""
        super().keep(slot)
        self.exponents[slot] = self.common + (self.of_weight if weighted else 0)

    def batch_norm(self, x: maps.Map) -> maps.Map:
        """Normalise the map of slot 0, overwritten, where its scale matters no more."""
        return scaled.batch_norm(scaled.Map(x, int(self.exponents[0])), self.weight).values


def is_zero(x: maps.Map, moments: maps.Moments) -> bool:
    """Tell whether a map is zero everywhere; the smallest numbers leave no trace in statistics."""
    return moments[1:] == (0, 0) and not x.any()


class Prepared:
    """A batch as a space's first layer reads it; `epsutil.spaces.Space.prepare` makes it.

    Several threads may use one at once. What it holds is not changed, only added to.
    """

    def __init__(self, values: NDArray[np.floating], dtype: str, reader: str) -> None:
        self.values, self.dtype, self.reader = values, dtype, reader
        self._made: dict[Any, tuple[maps.Map, Norms]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Prepared, (self.values, self.dtype, self.reader)  # the rest is made again there

    def checked(self, dtype: str | None, reader: str) -> "Prepared":
        """Return the batch itself; ValueError where it was prepared for something else."""
        if self.reader != reader or dtype not in (None, self.dtype):
            wanted = f"{reader} in {dtype or 'any precision'}: prepare it anew"
            raise ValueError(f"the batch is for {self.reader} in {self.dtype}, not for {wanted}")
        return self

    def once(
        self, compute: Callable[..., tuple[maps.Map, Norms]], *args: float
    ) -> tuple[maps.Map, Norms]:
        """Return what a function makes of the batch with some numbers: the same for all networks.

        Threads that come at once all compute it, and take the result of the first to be done.
        """
        key = compute, args
        made = self._made.get(key) or self._made.setdefault(key, compute(self, *args))
        return made[0], copy.deepcopy(made[1])  # to which the maps of one network are added


def stem_map(batch: Prepared, weight: float, n_slots: int) -> tuple[maps.Map, Norms]:
    """Return the stem's map for a batch of images, and norms for all maps."""
    kind = ScaledNorms if batch.dtype == maps.EXTENDED else Norms
    norms = kind(n_slots, weight, batch.values.dtype)
    return norms.stem(batch.values), norms
