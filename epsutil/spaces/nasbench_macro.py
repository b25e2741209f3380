"""NAS-Bench-Macro: a chain of eight blocks, its network, its width collapse.

Su et al., *Prioritized Architecture Sampling with Monto-Carlo Tree Search*, CVPR 2021,
arXiv:2103.11922. The network follows ``train/model.py`` of xiusu/NAS-Bench-Macro at b1ee7c6.

Each of the eight places holds one of three blocks, which makes 3^8 = 6,561 architectures. The
places form three stages of 2, 3 and 3 blocks. The first block of a stage halves the image and
doubles the channels. A stem comes before them; a 1 x 1 convolution to 1,280 channels, global
average and a linear layer come after them.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from epsutil.collapse import maps, scaled
from epsutil.collapse.norms import Prepared
from epsutil.spaces.base import ImageSpace, Network, conv_bn, conv_size, edited, one_line, stripped

BLOCKS = "012"
STAGES = (2, 3, 3)  # blocks
LENGTH = sum(STAGES)
STEM, LAST = 32, 1280  # channels after the first and the last convolution
KERNELS, EXPANSIONS = {"1": 3, "2": 5}, {"1": 3, "2": 6}


class NASBenchMacro(ImageSpace[str]):
    """The search space; an architecture is its code of eight digits, such as ``02012100``.

    ``0`` is the identity, ``1`` an inverted residual with a 3 x 3 window and expansion 3, ``2`` one
    with a 5 x 5 window and expansion 6. ``space[i]`` has the number i, written in base 3, as its
    code: the benchmark's own file has no order that means anything, and names the codes.
    """

    name = "nasbench_macro"
    VERSION = 1  # raise it when a score or a network changes, see tests/test_recorded.py
    weights = (1e-3, 10.0)  # by `epsutil.weights.select`, which sees no accuracy
    features = LAST

    def __len__(self) -> int:
        return len(BLOCKS) ** LENGTH

    def _at(self, index: int) -> str:
        return np.base_repr(index, len(BLOCKS)).zfill(LENGTH)

    def index(self, arch: str) -> int:
        """Return the index of an architecture; the inverse of ``space[i]``."""
        return int(self.parse(arch), len(BLOCKS))

    def parse(self, text: str) -> str:
        """Check a code of eight digits from 0 to 2, spaces around it aside, and return it."""
        text = stripped(text)
        if len(text) != LENGTH or not set(text) <= set(BLOCKS):
            raise ValueError(
                f"not an architecture of NAS-Bench-Macro: {one_line(text)}; "
                "it is eight digits from 0 to 2"
            )
        return text

    def describe(self, arch: str) -> str:
        """Return a line for each stage with its blocks, for people."""
        names = {"0": "identity", "1": "3x3, expansion 3", "2": "5x5, expansion 6"}
        stages = enumerate(_stages(self.parse(arch)), start=1)
        return "\n".join(f"stage {i}: {' | '.join(names[c] for c in code)}" for i, code in stages)

    def key(self, arch: str) -> str:
        """Return the code with identities at the end of their stage: 01020120 for 01002012.

        Only the first identity of a stage is a layer; the others do nothing, wherever they stand.
        6,561 architectures make 3,969 networks.
        """
        stages = _stages(self.parse(arch))
        return "".join(
            code[0] + code[1:].replace("0", "").ljust(len(code) - 1, "0") for code in stages
        )

    def mutate(self, arch: str, rng: np.random.Generator) -> str:
        """Change the block at one place, drawn uniformly, to another one."""
        return "".join(edited(self.parse(arch), BLOCKS, rng))

    def build(self, arch: str, num_classes: int = 1) -> nn.Module:
        """Build the full-width network, for images of any size."""
        places = list(_places(self.parse(arch)))
        layers = [
            nn.Sequential(*conv_bn(3, STEM, 3), nn.ReLU()),
            *map(_block, places),
            nn.Sequential(*conv_bn(places[-1].outputs, LAST, 1), nn.ReLU()),
        ]
        return Network(layers, LAST, num_classes)

    def _sizes(self, arch: str, image_size: int) -> NDArray[np.int64]:
        sizes = conv_size(3 * 9, STEM, image_size)
        for place in _places(arch):
            before, image_size = image_size, -(-image_size // place.stride)
            if place.block == "0":
                sizes += conv_size(place.inputs, place.outputs, image_size)
            else:
                sizes += conv_size(place.inputs, place.hidden, before)
                sizes += conv_size(KERNELS[place.block] ** 2, place.hidden, image_size)
                sizes += conv_size(place.hidden, place.outputs, image_size)
        return sizes + conv_size(place.outputs, LAST, image_size)

    def _collapsed(self, arch: str, batch: Prepared, weight: float) -> NDArray:
        extended, colours = batch.dtype == maps.EXTENDED, batch.values
        kernels: Any = scaled if extended else maps  # which has the same functions
        w, one = colours.dtype.type(weight), colours.dtype.type(1)
        h = kernels.relu(kernels.stem(colours, w), one)
        for place in _places(arch):
            h = _collapsed_block(h, place, w, kernels)
        h = kernels.batch_norm(kernels.pointwise(h, w), w, place.outputs)
        return kernels.means(kernels.relu(h, one), w, LAST)


# The chain -----------------------------------------------------------------------------------


class Place(NamedTuple):
    """One block of the chain."""

    block: str
    inputs: int  # channels
    outputs: int
    stride: int

    @property
    def hidden(self) -> int:
        """Channels between the convolutions of an inverted residual."""
        return self.inputs * EXPANSIONS[self.block]


def _stages(code: str) -> list[str]:
    """Cut a code into its stages."""
    ends = np.cumsum((0, *STAGES))
    return [code[start:end] for start, end in itertools.pairwise(ends)]


def _places(code: str) -> Iterator[Place]:
    """Yield the blocks of a code in order; the identities that do nothing are left out."""
    channels = STEM
    for stage in _stages(code):
        yield Place(stage[0], channels, 2 * channels, 2)
        channels *= 2
        for block in stage[1:].replace("0", ""):
            yield Place(block, channels, channels, 1)


# The width collapse --------------------------------------------------------------------------


def _collapsed_block(x: Any, place: Place, w: np.floating, kernels: Any) -> Any:
    """Apply one block to a map of either module of kernels."""
    if place.block == "0":
        return kernels.batch_norm(kernels.pointwise(x, w, place.stride), w, place.inputs)
    h = kernels.batch_norm(kernels.pointwise(x, w), w, place.inputs)
    h = kernels.window_sum(h, w, place.stride, size=KERNELS[place.block])
    h = kernels.relu(kernels.batch_norm(h, w), w)
    h = kernels.batch_norm(h, w, place.hidden)
    return kernels.add(h, x) if place.stride == 1 else h


# The full-width network ----------------------------------------------------------------------


def _block(place: Place) -> nn.Module:
    """Build one block at full width."""
    if place.block == "0":
        return nn.Sequential(*conv_bn(place.inputs, place.outputs, 1, place.stride))
    return InvertedResidual(place)


class InvertedResidual(nn.Module):
    """Widens, convolves each channel alone, narrows; adds its input where shapes agree."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        hidden = place.hidden
        self.same_shape = place.stride == 1
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
        return h + x if self.same_shape else h
