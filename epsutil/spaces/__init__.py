"""The search spaces, by name.

Every space offers the calls of :class:`Space`: what an architecture is, its full-width torch
network (``build``) and its width-collapsed evaluation (``outputs``).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from epsutil.spaces.nasbench101 import NASBench101
from epsutil.spaces.nasbench201 import NASBench201
from epsutil.spaces.nasbench_nlp import NASBenchNLP


class Space(Protocol):
    """What every search space can do; each one's own documentation says what `arch` is."""

    name: str
    VERSION: int  # of all that decides a score: architectures, networks, their evaluation
    weights: tuple[float, float]  # the paper's choice for this space (Table 8)

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any:
        """Return the architecture of an index, or a list of those of a slice."""

    def __iter__(self) -> Iterator[Any]: ...

    def parse(self, text: Any) -> Any:
        """Check an architecture and return it in the benchmark's form."""

    def text(self, arch: Any) -> str:
        """Return an architecture as text that `parse` reads."""

    def describe(self, arch: Any) -> str:
        """Return a few short lines that tell people what the architecture is."""

    def index(self, arch: Any) -> int:
        """Return the benchmark's index of an architecture; the inverse of ``space[i]``."""

    def key(self, arch: Any) -> str:
        """Return a text that is equal for architectures that compute the same function."""

    def structure(self, arch: Any) -> str:
        """Return a text that is equal for architectures that are the same network."""

    def mutate(self, arch: Any, rng: np.random.Generator) -> Any:
        """Return an architecture one edit away."""

    def parameters(self, arch: Any) -> int:
        """Count the trainable parameters of the full-width network."""

    def build(self, arch: Any, num_classes: int = 1) -> nn.Module:
        """Build the full-width network, with torch's default initialisation."""

    def outputs(
        self, arch: Any, x: Tensor | NDArray, weights: Sequence[float], dtype: str | None = None
    ) -> NDArray[np.floating]:
        """Evaluate under constant shared weights by width collapse: [len(weights), L_v]."""

    def score(
        self, arch: Any, x: Tensor | NDArray, weights: Sequence[float], dtype: str | None = None
    ) -> float:
        """Return epsilon (Eqs 1-4) from `outputs`; NaN where it is undefined."""


_SPACES: dict[str, Callable[..., Space]] = {
    "nasbench101": NASBench101,
    "nasbench201": NASBench201,
    "nasbench_nlp": NASBenchNLP,
}


def names() -> tuple[str, ...]:
    """Return the names that :func:`get` knows."""
    return tuple(_SPACES)


def get(name: str) -> Space:
    """Return a search space.

    Parameters
    ----------
    name : str
        One of :func:`names`. ``"nasbench_nlp@uniform-centred-1"`` is NAS-Bench-NLP with another
        embedding, see :data:`epsutil.spaces.nasbench_nlp.EMBEDDINGS`.

    Raises
    ------
    ValueError
        The name is not one of those.

    Examples
    --------
    >>> get("nasbench201")[1462]
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|'
    """
    space, _, variant = name.partition("@")
    if space not in _SPACES or (variant and space != "nasbench_nlp"):
        raise ValueError(f"unknown search space {name!r}; the known ones are {', '.join(_SPACES)}")
    return _SPACES[space](variant.replace("-", " ")) if variant else _SPACES[space]()
