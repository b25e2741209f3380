"""NAS-Bench-Macro: a chain of eight blocks, its network, its width collapse.

Su et al., *Prioritized Architecture Sampling with Monto-Carlo Tree Search*, CVPR 2021,
arXiv:2103.11922. The network follows ``train/model.py`` of xiusu/NAS-Bench-Macro at b1ee7c6.

Each of the eight places holds one of three blocks, which makes 3^8 = 6,561 architectures. The
places form three stages of 2, 3 and 3 blocks. The first block of a stage halves the image and
doubles the channels. A stem comes before them; a 1 x 1 convolution to 1,280 channels, global
average and a linear layer come after them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from epsutil.collapse import maps, scaled
from epsutil.spaces.base import Convolution, Inputs, Space, conv_bn, edited, one_line, stripped

BLOCKS = "012"
STAGES = (2, 3, 3)  # blocks
LENGTH = sum(STAGES)
STEM, LAST = 32, 1280  # channels after the first and the last convolution
Map = Any  # of either module of kernels
KERNELS, EXPANSIONS = {"1": 3, "2": 5}, {"1": 3, "2": 6}


class NASBenchMacro(Space[str]):
    """The search space; an architecture is its code of eight digits, such as ``02012100``.

    ``0`` is the identity, ``1`` an inverted residual with a 3 x 3 window and expansion 3, ``2`` one
    with a 5 x 5 window and expansion 6. ``space[i]`` has the number i, written in base 3, as its
    code: the benchmark's own file has no order that means anything, and names the codes.
    """

    name = "nasbench_macro"
    VERSION = 1  # raise it when a score or a network changes, see tests/test_recorded.py
    weights = (1e-3, 10.0)  # by `epsutil.weights.select`, which sees no accuracy
    reads = "images"
    dataset = "cifar10"
    dtypes = (*Space.dtypes, maps.EXTENDED)

    def __len__(self) -> int:
        return len(BLOCKS) ** LENGTH

    def _at(self, index: int) -> str:
        return np.base_repr(index, len(BLOCKS)).zfill(LENGTH)

    def index(self, arch: str) -> int:
        """Return the index of an architecture; the inverse of ``space[i]``."""
        return int(self.parse(arch), len(BLOCKS))

    def parse(self, text: str) -> str:
        """Check a code, spaces around it aside, and return it.

        Raises
        ------
        ValueError
            It is not eight digits from 0 to 2.

        Examples
        --------
        >>> NASBenchMacro().parse("0201210")
        Traceback (most recent call last):
            ...
        ValueError: not an architecture of NAS-Bench-Macro: '0201210'; it is eight digits \
from 0 to 2
        """
        text = stripped(text)
        if len(text) != LENGTH or not set(text) <= set(BLOCKS):
            raise ValueError(
                f"not an architecture of NAS-Bench-Macro: {one_line(text)}; "
                "it is eight digits from 0 to 2"
            )
        return text

    def text(self, arch: str) -> str:
        """Return an architecture as text that `parse` reads: the code itself."""
        return self.parse(arch)

    def describe(self, arch: str) -> str:
        """Return a line for each stage with its blocks, for people."""
        names = {"0": "identity", "1": "3x3, expansion 3", "2": "5x5, expansion 6"}
        stages = enumerate(_stages(self.parse(arch)), start=1)
        return "\n".join(f"stage {i}: {' | '.join(names[c] for c in code)}" for i, code in stages)

    def key(self, arch: str) -> str:
        """Return a code that is equal for architectures that compute the same function.

        Only the first identity of a stage is a layer; the others do nothing, wherever they stand,
        and are moved to the stage's end. 6,561 architectures make 3,969 networks.

        Examples
        --------
        >>> NASBenchMacro().key("01002012")
        '01020120'
        """
        stages = _stages(self.parse(arch))
        return "".join(
            code[0] + code[1:].replace("0", "").ljust(len(code) - 1, "0") for code in stages
        )

    def mutate(self, arch: str, rng: np.random.Generator) -> str:
        """Change the block at one place, drawn uniformly, to another one."""
        return "".join(edited(self.parse(arch), BLOCKS, rng))

    def parameters(self, arch: str, num_classes: int = 10) -> int:
        """Count the trainable parameters of the full-width network."""
        convolutions = _convolutions(self.parse(arch), image_size=32)
        return sum(c.parameters for c in convolutions) + (LAST + 1) * num_classes

    def flops(self, arch: str, image_size: int = 32, num_classes: int = 10) -> int:
        """Count the multiply-accumulates of the convolutions and the linear layer for one image."""
        convolutions = _convolutions(self.parse(arch), image_size)
        return sum(c.flops for c in convolutions) + LAST * num_classes

    def build(self, arch: str, num_classes: int = 1) -> nn.Module:
        """Build the full-width network, for images of any size."""
        return Network(self.parse(arch), num_classes)

    def outputs(
        self, arch: str, x: Inputs, weights: Sequence[float], dtype: str | None = None
    ) -> NDArray[np.floating]:
        """Evaluate by width collapse, see :meth:`Space.outputs`: [len(weights), batch]."""
        places = list(_places(self.key(arch)))
        self.check_dtype(dtype)
        kernels = scaled if dtype == maps.EXTENDED else maps
        colours = maps.colours(x, dtype)  # H, W, B
        weight = np.array(weights, dtype=colours.dtype)
        # Two weights at a time keep the maps of a usual batch in the processor's cache.
        pairs = np.split(weight, range(2, len(weight), 2))
        return np.concatenate([_collapsed(places, colours, two, kernels) for two in pairs])


# The chain -----------------------------------------------------------------------------------


class Place(NamedTuple):
    """One block of the chain."""

    block: str
    inputs: int  # channels
    outputs: int
    stride: int

    @property
    def same_shape(self) -> bool:
        """Whether what comes out can be added to what goes in."""
        return self.stride == 1

    @property
    def hidden(self) -> int:
        """Channels between the convolutions of an inverted residual."""
        return self.inputs * EXPANSIONS[self.block]


def _stages(code: str) -> list[str]:
    """Cut a code into its stages."""
    ends = np.cumsum(STAGES)
    return [code[end - size : end] for end, size in zip(ends, STAGES, strict=True)]


def _places(code: str) -> Iterator[Place]:
    """Yield the blocks of a code in order; the identities that do nothing are left out."""
    channels = STEM
    for stage in _stages(code):
        yield Place(stage[0], channels, 2 * channels, 2)
        channels *= 2
        for block in stage[1:].replace("0", ""):
            yield Place(block, channels, channels, 1)


def _convolutions(code: str, image_size: int) -> Iterator[Convolution]:
    """List every convolution of an architecture's network; each has a BatchNorm."""
    yield Convolution(3 * 9, STEM, image_size)
    channels = STEM
    for place in _places(code):
        before, image_size = image_size, -(-image_size // place.stride)
        channels = place.outputs
        if place.block == "0":
            yield Convolution(place.inputs, place.outputs, image_size)
        else:
            yield Convolution(place.inputs, place.hidden, before)
            yield Convolution(KERNELS[place.block] ** 2, place.hidden, image_size)
            yield Convolution(place.hidden, place.outputs, image_size)
    yield Convolution(channels, LAST, image_size)


# The width collapse --------------------------------------------------------------------------
#
# The kernels are a module: `maps`, or `scaled`, which has the same functions.


def _collapsed(places: Sequence[Place], colours: NDArray, weight: NDArray, kernels: Any) -> NDArray:
    """Evaluate the one-channel network: summed colours [H, W, B], weight [K] -> [K, B]."""
    one = np.ones_like(weight)
    rgb = kernels.images(colours, len(weight))  # K, H, W, B
    h = kernels.batch_norm(kernels.window_sum(rgb, weight, rectify=False), weight)
    h = kernels.relu(h, one)
    for place in places:
        h = _block(h, place, weight, kernels)
    h = kernels.batch_norm(kernels.pointwise(h, weight), weight, places[-1].outputs)
    return kernels.means(kernels.relu(h, one), weight, LAST)  # K, B


def _block(x: Map, place: Place, weight: NDArray, kernels: Any) -> Map:
    """Apply one block: [K, H, W, B] -> [K, H / stride, W / stride, B]."""
    if place.block == "0":
        return kernels.batch_norm(kernels.pointwise(x, weight, place.stride), weight, place.inputs)
    size = KERNELS[place.block]
    h = kernels.batch_norm(kernels.pointwise(x, weight), weight, place.inputs)
    h = kernels.batch_norm(kernels.window_sum(h, weight, place.stride, size=size), weight)
    h = kernels.batch_norm(kernels.relu(h, weight), weight, place.hidden)
    return kernels.add(h, x) if place.same_shape else h


# The full-width network ----------------------------------------------------------------------


class Network(nn.Module):
    """The network of NAS-Bench-Macro around a chain of blocks, at full width."""

    def __init__(self, arch: str, num_classes: int) -> None:
        super().__init__()
        places = list(_places(arch))
        self.stem = nn.Sequential(*conv_bn(3, STEM, 3), nn.ReLU())
        self.features = nn.Sequential(*map(_torch_block, places))
        self.out = nn.Sequential(*conv_bn(places[-1].outputs, LAST, 1), nn.ReLU())
        self.classifier = nn.Linear(LAST, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return one row of outputs per image."""
        h = self.out(self.features(self.stem(x)))  # batch, 1280, height / 8, width / 8
        return self.classifier(h.mean((2, 3)))  # batch, classes


class InvertedResidual(nn.Module):
    """Widens, convolves each channel alone, narrows; adds its input where shapes agree."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        hidden = place.hidden
        self.same_shape = place.same_shape
        self.convolutions = nn.Sequential(
            *conv_bn(place.inputs, hidden, 1),
            nn.ReLU(),
            *conv_bn(hidden, hidden, KERNELS[place.block], place.stride, groups=hidden),
            nn.ReLU(),
            *conv_bn(hidden, place.outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the block's output shape."""
        h = self.convolutions(x)
        return torch.add(h, x) if self.same_shape else h


def _torch_block(place: Place) -> nn.Module:
    if place.block == "0":
        return nn.Sequential(*conv_bn(place.inputs, place.outputs, 1, place.stride))
    return InvertedResidual(place)
