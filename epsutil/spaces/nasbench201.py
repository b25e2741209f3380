"""NAS-Bench-201: the architecture string, the cell, the network, its width collapse.

Dong and Yang, *NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search*,
arXiv:2001.00326; Dong et al., *NATS-Bench*, arXiv:2009.00437 (topology search space).

A cell has four nodes. Each of the six edges between them carries one of five operations, which
makes 5^6 = 15,625 architectures. The network around the cell is always the same: a stem, three
stages of five cells with 16, 32 and 64 channels, a residual block between the stages, then
BatchNorm, ReLU, global average and a linear layer.
"""

import functools
import itertools
import random
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

from epsutil.collapse import cells, maps
from epsutil.collapse.norms import Norms, Prepared, Slots, stem_map
from epsutil.names import check_known
from epsutil.spaces.base import (
    ImageSpace,
    Network,
    Networks,
    conv_bn,
    conv_size,
    edited,
    longest_path,
    stripped,
)

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (to, from), in the string's order
STAGES = (16, 32, 64)  # channels
CELLS = 5  # per stage
BLOCK = 3  # maps that a residual block needs besides
FORM = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"

_STRING = re.compile(
    r"\|op\|\+\|op\|op\|\+\|op\|op\|op\|".replace("op", r"([^|+~]*)~(?:0|[1-9][0-9]*)")
)


class NASBench201(ImageSpace[str]):
    """The search space; an architecture is its string.

    ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`` lists the operations on the edges into nodes 1, 2, 3.
    ``space[i]`` is the architecture with index i in NAS-Bench-201 and NATS-Bench.
    """

    name = "nasbench201"
    VERSION = 1  # raise it when a score or a network changes, see tests/test_recorded.py
    weights = (1e-7, 1.0)
    features = STAGES[-1]

    def __len__(self) -> int:
        return len(_strings())

    def _at(self, index: int) -> str:
        return _strings()[index]

    def index(self, arch: str) -> int:
        """Return the benchmark's index of an architecture; the inverse of ``space[i]``."""
        return _indices()[self.parse(arch)]

    def parse(self, text: str) -> str:
        """Check a string of the form above, spaces around it aside, and return it."""
        text = stripped(text)
        match = _STRING.fullmatch(text)
        if not match:
            raise ValueError(f"not an architecture of NAS-Bench-201: {text!r}; the form is {FORM}")
        for operation, (target, source) in zip(match.groups(), EDGES, strict=True):
            where = f" on edge {source} -> {target} in {text!r}"
            check_known("operation", operation, OPERATIONS, where)
        if string_of(match.groups()) != text:
            raise ValueError(f"edges out of order in {text!r}; the form is {FORM}")
        return text

    def describe(self, arch: str) -> str:
        """Return a line for each node with the operations that lead to it, for people."""
        return self.parse(arch).strip("|").replace("|+|", "\n").replace("|", " | ")

    def key(self, arch: str) -> str:
        """Return the cell written out from its output, without skips and zeros: "pool(conv1(x))".

        The order of sums is fixed. Under shared weights 15,625 architectures make 4,930 distinct
        functions.
        """
        return " + ".join(_sum(_labels(self.parse(arch)))[0]) or "0"

    def structure(self, arch: str) -> str:
        """Return a text that is equal for architectures that are the same network.

        Unlike :meth:`key`, it tells one convolution that is used twice from two with weights of
        their own, as random weights do. 15,625 architectures make 5,260 different networks.
        """
        return _structure(self.parse(arch))

    def mutate(self, arch: str, rng: np.random.Generator) -> str:
        """Change the operation on one edge, drawn uniformly, to another one."""
        return string_of(edited(operations_of(self.parse(arch)), OPERATIONS, rng))

    def depth(self, arch: str) -> int:
        """Count the convolutions on a cell's longest path."""
        edges = zip(EDGES, operations_of(self.parse(arch)), strict=True)
        return longest_path([(u, v, op in KERNELS) for (v, u), op in edges if op != "none"], 3)

    def build(self, arch: str, num_classes: int = 1) -> nn.Module:
        """Build the full-width network, for images whose sides are multiples of 4."""
        return _network(self.parse(arch), num_classes)

    @property
    def variants(self) -> Networks:
        """The network as it was trained, and those that other metrics take."""
        return {
            "build": _network,
            "biased": _biased,
            "averaged": _averaged,
            "thin": functools.partial(_network, stages=(3, 6, 12), cells=1),  # as te-nas does
            "single_cell": _single_cell,
        }

    def _sizes(self, arch: str, image_size: int) -> NDArray[np.int64]:
        windows = [KERNELS[name] ** 2 for name in operations_of(arch) if name in KERNELS]  # pixels
        sizes = conv_size(9 * 3, STAGES[0], image_size)
        sizes += conv_size(0, STAGES[-1], 1)  # the last BatchNorm
        for stage, channels in enumerate(STAGES):
            if stage:
                image_size //= 2
                half = STAGES[stage - 1]
                sizes += conv_size(9 * half, channels, image_size)
                sizes += conv_size(9 * channels, channels, image_size)
                sizes += conv_size(half, channels, image_size, normalised=False)
            for pixels in windows:
                sizes += CELLS * conv_size(pixels * channels, channels, image_size)
        return sizes

    def _collapsed(self, arch: str, batch: Prepared, weight: float) -> NDArray:
        steps, ends = _plan(arch)
        colours = batch.values
        kept = np.empty((1 + len(steps) + BLOCK, *colours.shape), colours.dtype)
        kept[0], norms = batch.once(stem_map, weight, 1 + len(EDGES) + BLOCK)
        for stage, channels in enumerate(STAGES):
            if stage:
                before, kept = kept, np.empty_like(kept[:, ::2, ::2], order="C")
                _residual_block(before, kept, STAGES[stage - 1], norms)
            for _ in range(CELLS):
                for step in steps:
                    _apply(step, kept, kept, channels, norms)
                _add_up(ends, kept, norms)
                if norms.zero[0]:  # so is everything after it
                    return np.zeros(colours.shape[-1], colours.dtype)
        last = maps.relu(norms.batch_norm(kept[0]), colours.dtype.type(1))
        return maps.means(last, norms.w, STAGES[-1])


# The strings ---------------------------------------------------------------------------------


def string_of(operations: Sequence[str]) -> str:
    """Write the operations of the six edges as an architecture string."""
    return FORM.replace("op", "{}").format(*operations)


def operations_of(arch: str) -> list[str]:
    """Read the operations of the six edges from a valid string."""
    return re.findall(r"([^|+~]+)~", arch)


@functools.cache
def _strings() -> tuple[str, ...]:
    """All architectures in the benchmark's order: every combination, shuffled with seed 88."""
    strings = [string_of(operations) for operations in itertools.product(OPERATIONS, repeat=6)]
    random.Random(88).shuffle(strings)
    return tuple(strings)


@functools.cache
def _indices() -> dict[str, int]:
    return {arch: index for index, arch in enumerate(_strings())}


# The normal form -----------------------------------------------------------------------------
#
# What a node computes is a sum of formulas of the input x, in a fixed order. Skips are absorbed and
# zeros are gone.

Terms = tuple[str, ...]


def _labels(arch: str) -> list[str]:
    """Return the operations of the six edges, by the names that they have in formulas."""
    short = {"nor_conv_1x1": "conv1", "nor_conv_3x3": "conv3", "avg_pool_3x3": "pool"}
    return [short.get(name, name) for name in operations_of(arch)]


def _sum(labels: Sequence[str]) -> tuple[Terms, dict[str, tuple[str, Terms]]]:
    """Return what the last node adds up, and of each formula its operation and what that reads."""
    on_edge = dict(zip(EDGES, labels, strict=True))
    nodes: list[Terms] = [("x",)]
    parts = {}
    for target in (1, 2, 3):
        terms: list[str] = []
        for source, inside in enumerate(nodes):
            label = on_edge[target, source]
            if label == "skip_connect":
                terms += inside
            elif label != "none" and inside:  # every operation maps zero to zero
                terms.append(f"{label}({' + '.join(inside)})")
                parts[terms[-1]] = label, inside
        nodes.append(tuple(sorted(terms)))
    return nodes[-1], parts


@functools.cache
def _structure(arch: str) -> str:
    """Write the output of a cell as `key` does, with a number for every convolution.

    Numbers tell which convolutions are the same; of all ways to give them the first text counts.
    """
    labels = _labels(arch)
    convolutions = [edge for edge, label in enumerate(labels) if label.startswith("conv")]
    texts = []
    for order in itertools.permutations(convolutions):
        numbers = {edge: f"#{number}" for number, edge in enumerate(order)}
        terms, _ = _sum([label + numbers.get(edge, "") for edge, label in enumerate(labels)])
        texts.append(" + ".join(terms))
    return min(texts)


# The width collapse --------------------------------------------------------------------------
#
# Every formula has one map, in a slot of its own; slot 0 is the cell's input. The kernels are in
# :mod:`epsutil.collapse.cells`.


class Step(NamedTuple):
    """An operation of a cell: the slot that it writes, and those that it adds up."""

    operation: str
    slot: int
    sources: Slots


@functools.cache
def _plan(arch: str) -> tuple[list[Step], Slots]:
    """Return the steps of a cell, and the slots that its output adds up, in the sum's order."""
    terms, parts = _sum(_labels(arch))
    slots, steps = {"x": 0}, list[Step]()

    def slot_of(formula: str) -> int:
        if formula not in slots:
            label, inside = parts[formula]
            sources = np.array([slot_of(term) for term in inside])
            slots[formula] = len(slots)
            steps.append(Step(label, slots[formula], sources))
        return slots[formula]

    ends = [slot_of(term) for term in terms]
    return steps, np.array(ends, dtype=np.int64)


def _residual_block(before: maps.Map, kept: maps.Map, channels: int, norms: Norms) -> None:
    """Halve the image and double the channels: slot 0 of the one to slot 0 of the other."""
    first, second, shortcut = range(len(kept) - BLOCK, len(kept))
    norms.reading(np.array([0]))
    cells.shortcut(before, 0, kept, shortcut, norms.w, kept.dtype.type(channels))
    norms.keep(shortcut, weighted=True)
    _apply(Step("conv3", first, np.array([0])), before, kept, channels, norms, stride=2)
    _apply(Step("conv3", second, np.array([first])), kept, kept, 2 * channels, norms)
    _add_up(np.array([second, shortcut]), kept, norms)


def _apply(
    step: Step, before: maps.Map, kept: maps.Map, channels: int, norms: Norms, stride: int = 1
) -> None:
    """Compute a map of `kept` from maps of `before`; a convolution has so many input channels."""
    operation, slot, sources = step
    sources = norms.living(sources)
    if not len(sources):
        norms.zero[slot] = True
        return
    norm = norms.reading(sources)
    if operation == "pool":
        cells.average_pool(kept, sources, slot, norm)
        norms.keep(slot)
        return
    if operation == "conv3":
        moments = cells.conv3x3(before, sources, kept, slot, norm, norms.w, stride)
    else:
        moments = cells.conv1x1(kept, sources, slot, norm, norms.w)
    norms.normalise(slot, channels, moments, kept)


def _add_up(sources: Slots, kept: maps.Map, norms: Norms) -> None:
    """Add up maps in slot 0."""
    sources = norms.living(sources)
    if not len(sources):
        norms.zero[0] = True
    elif len(sources) > 1 or sources[0]:
        cells.total(kept, sources, 0, norms.reading(sources))
        norms.keep(0)


# The full-width network ----------------------------------------------------------------------


def _network(
    arch: str, num_classes: int, stages: Sequence[int] = STAGES, cells: int = CELLS
) -> Network:
    """Build the network of NAS-Bench-201 around a cell, at full width."""
    layers = conv_bn(3, stages[0], 3)
    for stage, channels in enumerate(stages):
        if stage:
            layers.append(ResidualBlock(stages[stage - 1], channels))
        layers += [Cell(arch, channels) for _ in range(cells)]
    return Network([*layers, nn.BatchNorm2d(stages[-1]), nn.ReLU()], stages[-1], num_classes)


class Cell(nn.Module):
    """Four nodes; each sums what the edges from earlier nodes bring."""

    def __init__(self, arch: str, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(
            {
                f"{source}->{target}": _operation(operation, channels)
                for operation, (target, source) in zip(operations_of(arch), EDGES, strict=True)
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the last node."""
        nodes = [x]
        for target in (1, 2, 3):
            incoming = [self.edges[f"{i}->{target}"](node) for i, node in enumerate(nodes)]
            nodes.append(functools.reduce(torch.add, incoming))
        return nodes[3]


class Zero(nn.Module):
    """The operation `none`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of the same shape."""
        return torch.zeros_like(x)


class AveragePool(nn.Module):
    """The operation `avg_pool_3x3`: the mean of the pixels of a window that the image has.

    Bit for bit ``nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)`` in both passes,
    but several times as fast on a CPU, where that one would take most of a network's time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the same shape."""
        return _WindowSum.apply(x) / _WindowSum.apply(torch.ones_like(x[:1, :1]))


class _WindowSum(torch.autograd.Function):
    """The sums over windows of 3 x 3 pixels: a linear map that is its own transpose."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _window_sum(x)

    @staticmethod
    def setup_context(*call: object) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        return _WindowSum.apply(gradient)


# An operator of its own, so that a counter of FLOPs sees a pooling here, not a convolution.
@torch.library.custom_op("epsutil::window_sum", mutates_args=())
def _window_sum(x: Tensor) -> Tensor:
    if x.dtype == torch.float64:  # of which oneDNN has no convolution
        return nn.functional.avg_pool2d(x, 3, stride=1, padding=1, divisor_override=1)
    channels = x.shape[1]
    return nn.functional.conv2d(x, x.new_ones(channels, 1, 3, 3), padding=1, groups=channels)


register_flop_formula(torch.ops.epsutil.window_sum)(lambda *_, **__: 0)


@_window_sum.register_vmap
def _window_sums(_: object, dims: tuple[int], x: Tensor) -> tuple[Tensor, int]:
    x = x.movedim(dims[0], 0)
    return _window_sum(x.flatten(0, 1)).unflatten(0, x.shape[:2]), 0


class ResidualBlock(nn.Module):
    """Halves the image and widens the channels between two stages."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            _relu_conv_bn(inputs, outputs, 3, stride=2), _relu_conv_bn(outputs, outputs, 3)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of half the size."""
        return self.convolutions(x) + self.shortcut(x)


def _operation(operation: str, channels: int) -> nn.Module:
    if operation in KERNELS:
        return _relu_conv_bn(channels, channels, KERNELS[operation])
    return {"none": Zero, "skip_connect": nn.Identity, "avg_pool_3x3": AveragePool}[operation]()


def _relu_conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), *conv_bn(inputs, outputs, kernel, stride))


# Networks that other metrics take ------------------------------------------------------------


def _biased(arch: str, num_classes: int) -> nn.Module:
    """Build the network with biases in its cells, as Abdelfattah et al. (2021) do.

    BatchNorm takes the biases away again, so that the network computes the same function; but the
    output of a convolution, at which fisher looks, has them.
    """
    network = _network(arch, num_classes)
    cells = [module for module in network.modules() if isinstance(module, Cell)]
    for layer in nn.ModuleList(cells).modules():
        if isinstance(layer, nn.Conv2d):
            layer.bias = nn.Parameter(torch.empty(layer.out_channels))
            layer.reset_parameters()
    return network


def _averaged(arch: str, num_classes: int) -> nn.Module:
    """Build the network with the mean over channels as its output; see Table 9.

    The linear layer stays, so that random weights are those of the whole network, and is not used.
    Its output for constant weights is a multiple of the mean: the same for epsilon.
    """
    network = _network(arch, num_classes)
    network.classifier.register_forward_hook(lambda _, x, output: x[0].mean(-1, keepdim=True))
    return network


def _single_cell(arch: str, num_classes: int) -> nn.Module:
    """Build one cell with one channel for images of one colour, as te-nas does.

    The number of classes has no effect: the maps after a last BatchNorm and ReLU are returned.
    """
    return nn.Sequential(Cell(arch, 1), nn.BatchNorm2d(1), nn.ReLU())
