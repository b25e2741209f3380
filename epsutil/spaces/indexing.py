"""What ``space[i]`` and ``space[i:j]`` mean: the same in every search space."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Generic, TypeVar, overload

import numpy as np

Arch = TypeVar("Arch")


class Indexed(ABC, Generic[Arch]):
    """A search space as a sequence of architectures, indexed as a list is.

    An index is an integer, Python's or NumPy's, from the end if negative; a slice gives a list.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _at(self, index: int) -> Arch:
        """Return the architecture with an index from 0 to ``len(self) - 1``."""

    @overload
    def __getitem__(self, index: int) -> Arch: ...

    @overload
    def __getitem__(self, index: slice) -> list[Arch]: ...

    def __getitem__(self, index: int | slice) -> Arch | list[Arch]:
        if isinstance(index, bool | np.bool_):  # Python would take True for 1
            raise TypeError(f"an index is an integer or a slice, not {index!r}")
        try:
            chosen = range(len(self))[index]
        except TypeError as error:
            raise TypeError(
                f"an index is an integer or a slice of integers, not {one_line(index)}"
            ) from error
        except IndexError as error:
            raise IndexError(
                f"there is no architecture {index}: the indices are 0 to {len(self) - 1}"
            ) from error
        return self._at(chosen) if isinstance(chosen, int) else [self._at(i) for i in chosen]

    def __iter__(self) -> Iterator[Arch]:
        return map(self._at, range(len(self)))


def one_line(value: Any) -> str:
    """Return what an error message shows of a value that is not what it should be."""
    text = " ".join(repr(value).split())  # arrays are printed in several lines
    return text if len(text) <= 200 else f"{text[:199]}…"
