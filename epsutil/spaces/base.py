"""What every search space can do, and what ``space[i]`` means in all of them."""

import hashlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from epsutil import metric, network_copy
from epsutil.collapse import maps, scaled
from epsutil.collapse.norms import Prepared
from epsutil.names import check_seed

Arch = TypeVar("Arch")
Inputs = Tensor | NDArray | Prepared
Networks = Mapping[str, Callable[[Any, int], nn.Module]]  # of a valid architecture


class Space(ABC, Generic[Arch]):
    """A search space, indexed as a list is; its own documentation says what an architecture is.

    An index is an integer, Python's or NumPy's, from the end if negative; a slice gives a list.

    Examples
    --------
    A cell of NAS-Bench-201 has an index, a text, a description, and a key that all cells with the
    same function share.

    >>> import torch
    >>> from epsutil import inputs, spaces
    >>> space = spaces.get("nasbench201")
    >>> len(space)
    15625
    >>> arch = space[1]
    >>> print(space.describe(arch))
    nor_conv_3x3~0
    nor_conv_3x3~0 | avg_pool_3x3~1
    skip_connect~0 | nor_conv_3x3~1 | skip_connect~2
    >>> space.index(arch), space.parse(space.text(arch)) == arch
    (1, True)
    >>> space.key("|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|")
    'conv3(x)'
    >>> space.mutate(arch, np.random.default_rng(1)) == arch
    False
    >>> space.sample(5)
    array([ 4708,  6031,  7282,  9465, 12202])

    Epsilon by width collapse is that of the full-width network, up to rounding:

    >>> x = inputs.batch("grey", batch_size=32).x
    >>> space.outputs(arch, x, weights=(1e-7, 1.0)).shape
    (2, 32)
    >>> round(space.score(arch, x, weights=(1e-7, 1.0)), 3)
    0.457
    >>> round(metric.epsilon(space.build(arch), torch.from_numpy(x), (1e-7, 1.0)), 3)
    0.457
    >>> prepared = space.prepare(x)  # once, for many architectures
    >>> [round(space.score(arch, prepared), 3) for arch in space[:2]]
    [0.218, 0.457]

    Another architecture may be the same network:

    >>> len(set(space.networks(range(100))))
    82

    The network that was trained has an output for each class, and these parameters:

    >>> space.parameters(arch)
    802426
    >>> space.network(arch, num_classes=10)(torch.from_numpy(x)).shape
    torch.Size([32, 10])
    """

    name: str  # it and VERSION tell stored scores apart
    VERSION: ClassVar[int]  # of all that decides a score: architectures, networks, evaluation
    weights: ClassVar[tuple[float, float]]  # the paper's choice for this space (Table 8)
    reads: ClassVar[Literal["images", "tokens"]]
    dataset: ClassVar[str]  # the usual inputs, see `epsutil.inputs.batch`
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float64")  # that `outputs` computes in
    zero_is_score: ClassVar[bool] = True  # whether the authors' statistics count an epsilon of 0
    gib: ClassVar[int] = 0  # of memory that second derivatives take for 64 inputs, where much

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

    def sample(self, n_archs: int, seed: int = 21) -> NDArray[np.int64]:
        """Draw the indices of distinct architectures, in ascending order.

        Raises
        ------
        ValueError
            `n_archs` is not from 1 to the size of the space.
        """
        check_seed(seed)
        size = len(self)
        if not 1 <= n_archs <= size:
            raise ValueError(f"n_archs is {n_archs}; {self.name} has 1 to {size:,} to choose from")
        return np.sort(np.random.default_rng(seed).choice(size, n_archs, replace=False))

    @abstractmethod
    def index(self, arch: Any) -> int:
        """Return the benchmark's index of an architecture; the inverse of ``space[i]``."""

    @abstractmethod
    def parse(self, text: Any) -> Arch:
        """Check an architecture and return it in the benchmark's form; ValueError if it is none."""

    def text(self, arch: Any) -> str:
        """Return an architecture as text that `parse` reads; it may be its own text."""
        return str(self.parse(arch))

    @abstractmethod
    def describe(self, arch: Any) -> str:
        """Return a few short lines that tell people what the architecture is."""

    @abstractmethod
    def key(self, arch: Any) -> str:
        """Return a text that is equal for architectures that compute the same function."""

    def structure(self, arch: Any) -> str:
        """Return a text that is equal for architectures that are the same network."""
        return self.key(arch)

    def networks(self, indices: Iterable[int]) -> NDArray[np.int64]:
        """Return a label for each architecture, the same for copies of one network.

        The label is the first of these architectures that is the network, see `structure`.
        """
        first: dict[str, int] = {}
        labels = [first.setdefault(self.structure(self[int(i)]), int(i)) for i in indices]
        return np.array(labels, dtype=np.int64)

    @abstractmethod
    def mutate(self, arch: Any, rng: np.random.Generator) -> Arch:
        """Return an architecture one edit away."""

    @abstractmethod
    def parameters(self, arch: Any) -> int:
        """Count the trainable parameters of the full-width network."""

    @abstractmethod
    def build(self, arch: Any, num_classes: int = 1) -> nn.Module:
        """Build the full-width network of which epsilon is defined, as torch initialises it.

        It returns `num_classes` outputs for each image or token.
        """

    @property
    def variants(self) -> Networks:
        """What `network` makes, by the word in a store's identity; first what was trained."""
        return {"build": self.build}

    def network(self, arch: Any, num_classes: int, variant: str = "") -> nn.Module:
        """Build a network as it was trained, or as another metric than epsilon takes it.

        `variant` is one of `variants`, by default the first, which was trained; ValueError for
        another one. The network returns `num_classes` outputs for each image, or for each token.
        """
        variant = variant or next(iter(self.variants))
        if variant not in self.variants:
            raise ValueError(
                f"{self.name} has no network {variant!r}; it has {', '.join(self.variants)}"
            )
        return self.variants[variant](self.parse(arch), num_classes)

    def prepare(self, x: Inputs, dtype: str | None = None) -> Inputs:
        """Make of `x`, once, what all architectures share; `outputs` takes it, in any thread.

        At full width that is `x` itself; otherwise later changes of `x` have no effect on it.
        """
        self.check_dtype(dtype)
        return x

    def outputs(
        self, arch: Any, x: Inputs, weights: Sequence[float], dtype: str | None = None
    ) -> NDArray[np.floating]:
        """Evaluate ``build(arch)`` under constant shared weights.

        The benchmarks' spaces do so by width collapse: equal to :func:`epsutil.metric.outputs` of
        that network up to rounding, and some hundred times faster; others do so at full width.

        Parameters
        ----------
        arch : as `parse` takes it
        x : Tensor, ndarray, or what `prepare` returns
            What the space reads. Images: float32 or float64, shape (batch, 3, height, width), with
            sides that are multiples of 4. Tokens: integers from 0 to 9,999, shape (time, batch).
        weights : sequence of float
            Any number.
        dtype : str, optional
            What to compute in, one of the space's `dtypes`: "float32", "float64" or "extended",
            which is float64 with each map's power of two kept apart, so that nothing under- or
            overflows. By default the precision of the images, for tokens float32.

        Returns
        -------
        ndarray, shape (len(weights), L_v)
            L_v is the size of the batch, for tokens time * batch. In extended range each row is
            multiplied by some power of two, which epsilon does not depend on.

        Raises
        ------
        ValueError
            The architecture, the dtype, or the shape, dtype or a value of `x` is none of those.
        """
        self.check_dtype(dtype)
        network, x = self.build(arch), network_copy.numbers(x)
        if dtype is not None:
            precision = getattr(torch, dtype)
            network, x = network.to(precision), x.to(precision) if x.is_floating_point() else x
        return metric.outputs(network, x, weights)

    def score(
        self, arch: Any, x: Inputs, weights: Sequence[float] | None = None, dtype: str | None = None
    ) -> float:
        """Return epsilon of an architecture (Eqs 1-4), computed from :meth:`outputs`.

        NaN where it is undefined. The default weights are the space's own.
        """
        weights = self.weights if weights is None else weights
        if len(weights) != 2:
            raise ValueError(f"epsilon takes two weights, not {len(weights)}: {tuple(weights)}")
        return metric.from_outputs(self.outputs(arch, x, weights, dtype))

    def check_dtype(self, dtype: str | None) -> None:
        """Refuse what the space is not evaluated in."""
        if dtype is not None and dtype not in self.dtypes:
            raise ValueError(
                f"{self.name} is not evaluated in {dtype!r}, but in {', '.join(self.dtypes)}"
            )


_thread = threading.local()  # `last`: images, and what was prepared of them


class ImageSpace(Space[Arch]):
    """A space of networks that convolve images and end in a global average and a linear layer."""

    reads = "images"
    dataset = "cifar10"
    dtypes = (*Space.dtypes, maps.EXTENDED)
    features: ClassVar[int]  # channels that the linear layer reads

    @abstractmethod
    def _sizes(self, arch: Arch, image_size: int) -> NDArray[np.int64]:
        """Add up what :func:`conv_size` returns for all but the linear layer."""

    @abstractmethod
    def _collapsed(self, arch: Arch, batch: Prepared, weight: float) -> NDArray:
        """Evaluate the one-channel network: summed colours [H, W, B] -> outputs [B]."""

    def parameters(self, arch: Any, num_classes: int = 10) -> int:
        """Count the trainable parameters of the full-width network."""
        return int(self._sizes(self.parse(arch), 32)[0]) + (self.features + 1) * num_classes

    def flops(self, arch: Any, image_size: int = 32, num_classes: int = 10) -> int:
        """Count the multiply-accumulates of all convolutions and the linear layer for one image.

        The field, and NAS-Bench-201 itself, calls these FLOPs.
        """
        return int(self._sizes(self.parse(arch), image_size)[1]) + self.features * num_classes

    def prepare(self, x: Inputs, dtype: str | None = None) -> Prepared:
        """Sum the colours of images, see :meth:`Space.prepare`; any space of images takes them.

        Each thread remembers its last batch, for loops over architectures that give `x` as it is.
        """
        self.check_dtype(dtype)
        if isinstance(x, Prepared):
            return x.checked(dtype, self.reads)
        images = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
        precision = dtype or images.dtype.name
        before, batch = getattr(_thread, "last", (images, Prepared(images, "", self.reads)))
        same = (before.dtype, batch.dtype) == (images.dtype, precision)
        if not same or not np.array_equal(before, images):
            batch = Prepared(maps.colours(images, dtype), precision, self.reads)
            _thread.last = images.copy(), batch
        return batch

    def outputs(
        self, arch: Any, x: Inputs, weights: Sequence[float], dtype: str | None = None
    ) -> NDArray[np.floating]:
        """Evaluate by width collapse, see :meth:`Space.outputs`: [len(weights), batch]."""
        arch, batch = self.parse(arch), self.prepare(x, dtype)
        # One weight at a time, for more maps to stay in the processor's cache.
        rows = np.stack([self._collapsed(arch, batch, float(w)) for w in weights])
        return scaled.outputs(rows) if batch.dtype == maps.EXTENDED else rows


def conv_size(
    fan_in: int, outputs: int, image_size: int, normalised: bool = True
) -> NDArray[np.int64]:
    """Count the parameters and, for one image, the multiply-accumulates of a convolution.

    Each of its outputs has `fan_in` weights and, where normalised, a BatchNorm. `image_size` is
    that of what it returns.
    """
    weights = outputs * fan_in
    return np.array([weights + 2 * outputs * normalised, weights * image_size**2])


class Network(nn.Module):
    """Layers that return maps, then their global average and a linear layer."""

    def __init__(self, layers: Sequence[nn.Module], channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return one row of outputs per image."""
        h = self.features(x)  # batch, channels, height, width
        return self.classifier(h.mean((2, 3)))  # batch, classes


def stripped(text: Any) -> str:
    """Return an architecture's text without spaces around it; refuse what is no text."""
    if not isinstance(text, str):
        raise ValueError(
            f"an architecture is a string, not {type(text).__name__}: {one_line(text)}"
        )
    return text.strip()


def edited(parts: Sequence[str], options: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Change one of some parts, drawn uniformly, to another of the options."""
    changed, place = list(parts), rng.integers(len(parts))
    others = [option for option in options if option != changed[place]]
    changed[place] = others[rng.integers(len(others))]
    return changed


def conv_bn(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution without bias that keeps the image's size at stride 1, and BatchNorm."""
    padding = kernel // 2
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


def longest_path(edges: Collection[tuple[Any, Any, int]], end: Any) -> int:
    """Return the length of the longest path to a node; an edge is from, to, and its length."""
    return max((longest_path(edges, u) + n for u, v, n in edges if v == end), default=0)


def md5(text: str) -> str:
    """Return the MD5 of a text, which is safe enough to tell graphs apart."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def one_line(value: Any) -> str:
    """Return what an error message shows of a value that is not what it should be."""
    text = " ".join(repr(value).split())  # arrays are printed in several lines
    return text if len(text) <= 200 else f"{text[:199]}…"
