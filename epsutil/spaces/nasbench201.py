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
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

from epsutil.collapse import cells, maps, scaled
from epsutil.collapse.norms import Norms, Slots, of_stem, once_a_batch
from epsutil.spaces.base import Convolution, Inputs, Networks, Space, conv_bn, edited, stripped

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (to, from), in the string's order
STAGES = (16, 32, 64)  # channels
CELLS = 5  # per stage
BLOCK = 3  # maps that a residual block needs besides
FORM = "the form is |op~0|+|op~0|op~1|+|op~0|op~1|op~2|"

# What a node computes, as a sum of terms in a normal form: a sorted tuple of INPUT and of pairs
# (operation, sum that it is applied to). Skips are absorbed and zeros are gone.
Terms = tuple[tuple, ...]
INPUT: tuple = ("x",)
Term = TypeVar("Term")  # such a pair, or its text


class NASBench201(Space[str]):
    """The search space; an architecture is its string.

    ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`` lists the operations on the edges into nodes 1, 2, 3.
    ``space[i]`` is the architecture with index i in NAS-Bench-201 and NATS-Bench.
    """

    name = "nasbench201"
    VERSION = 1  # raise it when a score or a network changes, see tests/test_recorded.py
    weights = (1e-7, 1.0)
    reads = "images"
    dataset = "cifar10"
    dtypes = (*Space.dtypes, maps.EXTENDED)

    def __len__(self) -> int:
        return len(_strings())

    def _at(self, index: int) -> str:
        return _strings()[index]

    def index(self, arch: str) -> int:
        """Return the benchmark's index of an architecture; the inverse of ``space[i]``."""
        return _indices()[self.parse(arch)]

    def parse(self, text: str) -> str:
        """Check an architecture string, spaces around it aside, and return it.

        Raises
        ------
        ValueError
            It is not of the form above, or names an unknown operation.

        Examples
        --------
        >>> NASBench201().parse("|none~0|+|none~0|conv~1|+|none~0|none~1|none~2|")
        Traceback (most recent call last):
            ...
        ValueError: unknown operation 'conv' on edge 1 -> 2 in \
'|none~0|+|none~0|conv~1|+|none~0|none~1|none~2|'; the known ones are none, skip_connect, \
nor_conv_1x1, nor_conv_3x3, avg_pool_3x3
        """
        text = stripped(text)
        edges = re.findall(r"\|?([^|+~]*)~(\d+)\|?", text)
        operations, nodes = [name for name, _ in edges], [int(node) for _, node in edges]
        if len(edges) != len(EDGES) or string_of(operations, nodes) != text:
            raise ValueError(f"not an architecture of NAS-Bench-201: {text!r}; {FORM}")
        for operation, (target, source) in zip(operations, EDGES, strict=True):
            if operation not in OPERATIONS:
                raise ValueError(
                    f"unknown operation {operation!r} on edge {source} -> {target} in {text!r}; "
                    f"the known ones are {', '.join(OPERATIONS)}"
                )
        if string_of(operations) != text:
            raise ValueError(f"edges out of order in {text!r}; {FORM}")
        return text

    def text(self, arch: str) -> str:
        """Return an architecture as text that `parse` reads: the string itself."""
        return self.parse(arch)

    def describe(self, arch: str) -> str:
        """Return a line for each node with the operations that lead to it, for people."""
        return self.parse(arch).strip("|").replace("|+|", "\n").replace("|", " | ")

    def key(self, arch: str) -> str:
        """Return a text that is equal for architectures that compute the same function.

        It is the cell written out from its output, without skips and zeros and with sums in a
        fixed order. Under shared weights 15,625 architectures make 4,930 distinct functions.

        Examples
        --------
        >>> NASBench201().key(
        ...     "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|avg_pool_3x3~2|"
        ... )
        'pool(conv1(x))'
        """
        return _text(_terms(self.parse(arch)))

    def structure(self, arch: str) -> str:
        """Return a text that is equal for architectures that are the same network.

        Unlike :meth:`key`, it tells one convolution that is used twice from two with weights of
        their own, as random weights do. 15,625 architectures make 5,260 different networks.
        """
        return _structure(self.parse(arch))

    def mutate(self, arch: str, rng: np.random.Generator) -> str:
        """Change the operation on one edge, drawn uniformly, to another one."""
        return string_of(edited(operations_of(self.parse(arch)), OPERATIONS, rng))

    def parameters(self, arch: str, num_classes: int = 10) -> int:
        """Count the trainable parameters of the full-width network."""
        convolutions = _convolutions(self.parse(arch), image_size=32)
        last = 2 * STAGES[-1] + (STAGES[-1] + 1) * num_classes  # BatchNorm and the linear layer
        return sum(c.parameters for c in convolutions) + last

    def flops(self, arch: str, image_size: int = 32, num_classes: int = 10) -> int:
        """Count the multiply-accumulates of all convolutions and the linear layer for one image.

        The field, and NAS-Bench-201 itself, calls these FLOPs.
        """
        convolutions = _convolutions(self.parse(arch), image_size)
        return sum(c.flops for c in convolutions) + STAGES[-1] * num_classes

    def build(self, arch: str, num_classes: int = 1) -> nn.Module:
        """Build the full-width network, for images whose sides are multiples of 4."""
        return Network(self.parse(arch), num_classes)

    @property
    def variants(self) -> Networks:
        """The network as it was trained, and those that other metrics take."""
        return {
            "build": Network,
            "biased": _biased,
            "averaged": _averaged,
            "thin": _thin,
            "single_cell": _single_cell,
        }

    def outputs(
        self, arch: str, x: Inputs, weights: Sequence[float], dtype: str | None = None
    ) -> NDArray[np.floating]:
        """Evaluate by width collapse, see :meth:`Space.outputs`: [len(weights), batch]."""
        terms = _terms(self.parse(arch))
        self.check_dtype(dtype)
        extended = dtype == maps.EXTENDED
        colours = maps.colours(x, dtype)  # H, W, B
        if not terms:  # the cell's output is zero, and so is everything after it
            return np.zeros((len(weights), colours.shape[2]), colours.dtype)
        # One weight at a time, for more maps to stay in the processor's cache.
        rows = np.concatenate([_collapsed(terms, colours, float(w), extended) for w in weights])
        return scaled.outputs(rows) if extended else rows


# The strings ---------------------------------------------------------------------------------


def string_of(operations: Sequence[str], nodes: Sequence[int] | None = None) -> str:
    """Write the operations of the six edges as an architecture string."""
    sources = nodes or [source for _, source in EDGES]
    edges = [f"{operation}~{source}" for operation, source in zip(operations, sources, strict=True)]
    return "+".join(f"|{'|'.join(edges[a:b])}|" for a, b in ((0, 1), (1, 3), (3, 6)))


def operations_of(arch: str) -> tuple[str, ...]:
    """Read the operations of the six edges from a valid string."""
    return tuple(re.findall(r"\|([^|+~]+)~", arch.replace("+", "")))


@functools.cache
def _strings() -> tuple[str, ...]:
    """All architectures in the benchmark's order: every combination, shuffled with seed 88."""
    strings = [string_of(operations) for operations in itertools.product(OPERATIONS, repeat=6)]
    random.Random(88).shuffle(strings)
    return tuple(strings)


@functools.cache
def _indices() -> dict[str, int]:
    return {arch: index for index, arch in enumerate(_strings())}


# Its size ------------------------------------------------------------------------------------


def _convolutions(arch: str, image_size: int) -> list[Convolution]:
    """List every convolution of an architecture's network."""
    windows = [KERNELS[name] ** 2 for name in operations_of(arch) if name in KERNELS]  # pixels
    convolutions = [Convolution(9 * 3, STAGES[0], image_size)]
    for stage, channels in enumerate(STAGES):
        if stage:
            image_size //= 2
            half = STAGES[stage - 1]
            convolutions += [
                Convolution(9 * half, channels, image_size),
                Convolution(9 * channels, channels, image_size),
                Convolution(half, channels, image_size, normalised=False),
            ]
        convolutions += CELLS * [Convolution(n * channels, channels, image_size) for n in windows]
    return convolutions


# The normal form -----------------------------------------------------------------------------


@functools.cache
def _terms(arch: str) -> Terms:
    """Write the output of a cell as a sum of terms of its input."""
    return _sum(operations_of(arch), INPUT, lambda name, inside: (name, inside), _term_text)


def _sum(
    operations: Sequence[str],
    x: Term,
    apply: Callable[[str, tuple[Term, ...]], Term],
    order: Callable[[Term], str],
) -> tuple[Term, ...]:
    """Return the terms that the last node adds up, in order, given what stands for the input."""
    on_edge = dict(zip(EDGES, operations, strict=True))
    nodes: list[tuple[Term, ...]] = [(x,)]
    for target in (1, 2, 3):
        terms: list[Term] = []
        for source in range(target):
            operation = on_edge[target, source]
            if operation == "skip_connect":
                terms += nodes[source]
            elif operation != "none" and nodes[source]:  # every operation maps zero to zero
                terms.append(apply(operation, nodes[source]))
        nodes.append(tuple(sorted(terms, key=order)))
    return nodes[3]


def _text(terms: Terms) -> str:
    return " + ".join(map(_term_text, terms)) or "0"


def _term_text(term: tuple) -> str:
    if term == INPUT:
        return "x"
    short = {"nor_conv_1x1": "conv1", "nor_conv_3x3": "conv3", "avg_pool_3x3": "pool"}
    return f"{short[term[0]]}({_text(term[1])})"


@functools.cache
def _structure(arch: str) -> str:
    """Write the output of a cell as `key` does, with a number for every convolution.

    Numbers tell which convolutions are the same; of all ways to give them the first text counts.
    """
    operations = operations_of(arch)
    places = [
        [edge for edge, name in enumerate(operations) if name == kernel] for kernel in KERNELS
    ]
    texts = []
    for orders in itertools.product(*map(itertools.permutations, places)):
        numbered = list(operations)
        for order in orders:
            for number, edge in enumerate(order):
                numbered[edge] += f"#{number}"
        terms = _sum(numbered, "x", lambda name, inside: f"{name}({' + '.join(inside)})", str)
        texts.append(" + ".join(terms))
    return min(texts)


# The width collapse --------------------------------------------------------------------------
#
# Every term of the normal form has one map, in a slot of its own; slot 0 is the cell's input. The
# kernels are in :mod:`epsutil.collapse.cells`.


class Step(NamedTuple):
    """An operation of a cell: the slot that it writes, and those that it adds up."""

    operation: str
    slot: int
    sources: Slots


def _plan(terms: Terms, slots: dict[tuple, int], steps: list[Step]) -> Slots:
    """Note the steps that compute the terms; return their slots, in the order of the sum."""
    for term in terms:
        if term not in slots:
            operation, inside = term
            sources = _plan(inside, slots, steps)
            slots[term] = len(slots)
            steps.append(Step(operation, slots[term], sources))
    return np.array([slots[term] for term in terms])


def _collapsed(terms: Terms, colours: maps.Map, weight: float, extended: bool) -> NDArray:
    """Evaluate the one-channel network: summed colours [H, W, B] -> outputs [1, B]."""
    steps: list[Step] = []
    ends = _plan(terms, {INPUT: 0}, steps)
    height, width, batch = colours.shape
    n_slots = 1 + len(steps) + BLOCK
    kept = np.empty((n_slots, height, width, batch), colours.dtype)
    kept[0], norms = _stem(colours, weight, extended)
    for stage, channels in enumerate(STAGES):
        if stage:
            shape = (n_slots, height >> stage, width >> stage, batch)
            before, kept = kept, np.empty(shape, colours.dtype)
            _residual_block(before, kept, STAGES[stage - 1], norms)
        for _ in range(CELLS):
            for step in steps:
                _apply(step, kept, kept, channels, norms)
            _add_up(ends, kept, norms)
            if norms.zero[0]:  # so is everything after it
                return np.zeros((1, batch), colours.dtype)
    w = np.array([norms.w])
    last = norms.batch_norm(kept[:1])
    return maps.means(maps.relu(last, np.ones_like(w)), w, STAGES[-1])


@once_a_batch
def _stem(colours: maps.Map, weight: float, extended: bool) -> tuple[maps.Map, Norms]:
    """Return the stem's map, and norms for all maps that a network may need."""
    return of_stem(colours, weight, 1 + len(EDGES) + BLOCK, extended)


def _residual_block(before: maps.Map, kept: maps.Map, channels: int, norms: Norms) -> None:
    """Halve the image and double the channels: slot 0 of the one to slot 0 of the other."""
    first, second, shortcut = range(len(kept) - BLOCK, len(kept))
    norms.reading(np.array([0]))
    cells.shortcut(before, 0, kept, shortcut, norms.w, kept.dtype.type(channels))
    norms.keep(shortcut, weighted=True)
    _apply(Step("nor_conv_3x3", first, np.array([0])), before, kept, channels, norms, stride=2)
    _apply(Step("nor_conv_3x3", second, np.array([first])), kept, kept, 2 * channels, norms)
    _add_up(np.array([second, shortcut]), kept, norms)


def _apply(
    step: Step, before: maps.Map, kept: maps.Map, channels: int, norms: Norms, stride: int = 1
) -> None:
    """Compute a map of `kept` from maps of `before`; a convolution has so many input channels."""
    operation, slot, sources = step
    sources = norms.living(sources)
    if not len(sources):
        norms.vanish(slot)
        return
    norm = norms.reading(sources)
    if operation == "avg_pool_3x3":
        cells.average_pool(kept, sources, slot, norm)
        norms.keep(slot)
        return
    if operation == "nor_conv_3x3":
        moments = cells.conv3x3(before, sources, kept, slot, norm, norms.w, stride)
    else:
        moments = cells.conv1x1(kept, sources, slot, norm, norms.w)
    norms.normalise(slot, channels, moments, kept)


def _add_up(sources: Slots, kept: maps.Map, norms: Norms) -> None:
    """Add up maps in slot 0."""
    sources = norms.living(sources)
    if not len(sources):
        norms.vanish(0)
    elif len(sources) > 1 or sources[0]:
        cells.total(kept, sources, 0, norms.reading(sources))
        norms.keep(0)


# The full-width network ----------------------------------------------------------------------


class Network(nn.Module):
    """The network of NAS-Bench-201 around a cell, at full width."""

    def __init__(
        self, arch: str, num_classes: int, stages: Sequence[int] = STAGES, cells: int = CELLS
    ) -> None:
        super().__init__()
        blocks = conv_bn(3, stages[0], 3)
        for stage, channels in enumerate(stages):
            if stage:
                blocks.append(ResidualBlock(stages[stage - 1], channels))
            blocks += [Cell(arch, channels) for _ in range(cells)]
        self.features = nn.Sequential(*blocks, nn.BatchNorm2d(stages[-1]), nn.ReLU())
        self.classifier = nn.Linear(stages[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return one row of outputs per image."""
        h = self.features(x)  # batch, 64, height / 4, width / 4
        return self.classifier(h.mean((2, 3)))  # batch, classes


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
    network = Network(arch, num_classes)
    cells = (module for module in network.modules() if isinstance(module, Cell))
    for layer in (layer for cell in cells for layer in cell.modules()):
        if isinstance(layer, nn.Conv2d):
            layer.bias = nn.Parameter(torch.empty(layer.out_channels))
            layer.reset_parameters()
    return network


def _averaged(arch: str, num_classes: int) -> nn.Module:
    """Build the network with the mean over channels as its output; see Table 9.

    The linear layer stays, so that random weights are those of the whole network, and is not used.
    Its output for constant weights is a multiple of the mean: the same for epsilon.
    """
    network = Network(arch, num_classes)
    network.classifier.register_forward_hook(lambda _, x, output: x[0].mean(-1, keepdim=True))
    return network


def _thin(arch: str, num_classes: int) -> nn.Module:
    """Build the network with 3, 6 and 12 channels and one cell a stage, as te-nas does."""
    return Network(arch, num_classes, stages=(3, 6, 12), cells=1)


def _single_cell(arch: str, num_classes: int) -> nn.Module:
    """Build one cell with one channel for images of one colour, as te-nas does.

    The number of classes has no effect: the maps after a last BatchNorm and ReLU are returned.
    """
    return nn.Sequential(Cell(arch, 1), nn.BatchNorm2d(1), nn.ReLU())
