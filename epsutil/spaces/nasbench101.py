"""NAS-Bench-101: the graph and its hash, the network around it, its width collapse.

Ying et al., *NAS-Bench-101: Towards Reproducible Neural Architecture Search*, arXiv:1902.09635.

A cell is a directed acyclic graph of at most seven vertices and nine edges. Its first vertex is the
input, its last one the output, and each vertex between them carries one of three operations. There
are 423,624 such graphs that differ. The network around the cell is always the same: a stem, three
stacks of three cells with 128, 256 and 512 channels, max-pooling between the stacks, then a global
average and a linear layer.
"""

import bisect
import functools
import itertools
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from epsutil.collapse import graphs, maps
from epsutil.collapse.norms import Norms, Prepared, Scalars, stem_map
from epsutil.spaces import nasbench101_graphs as dags
from epsutil.spaces.base import ImageSpace, Network, conv_bn, conv_size, longest_path, one_line
from epsutil.spaces.nasbench101_graphs import MAX_EDGES, MAX_VERTICES, OPERATIONS, Arch, Matrix

KERNELS = {"conv3x3-bn-relu": 3, "conv1x1-bn-relu": 1}
STACKS = (128, 256, 512)  # channels
CELLS = 3  # per stack


class NASBench101(ImageSpace[Arch]):
    """The search space; an architecture is a pair ``(matrix, ops)``.

    ``matrix`` is upper triangular with a 1 for each edge (row: from, column: to), and ``ops`` names
    the vertices: ``"input"``, one of `OPERATIONS` for each one between, ``"output"``. ``space[i]``
    is the i-th graph in the order of the benchmark's hashes.
    """

    name = "nasbench101"
    VERSION = 1  # raise it when a score or a network changes, see tests/test_recorded.py
    weights = (1e-4, 10.0)
    features = STACKS[-1]
    gib = 12

    def __len__(self) -> int:
        return len(dags.codes())

    def _at(self, index: int) -> Arch:
        return dags.decode(int(dags.codes()[index]))

    def index(self, arch: Any) -> int:
        """Return the index of a graph, or of one that is isomorphic to it."""
        key = self.key(arch)
        return bisect.bisect_left(range(len(self)), key, key=lambda i: dags.graph_hash(*self[i]))

    def parse(self, text: Any) -> Arch:
        """Check a pair (matrix, ops), or its JSON text, and return it as tuples.

        The matrix, as nested lists or an array, holds the numbers 0 and 1.

        Raises
        ------
        ValueError
            It is not of that form; has too many vertices or edges, an edge that leads back, an
            unknown operation, or a vertex on no path from input to output, see
            :func:`epsutil.spaces.nasbench101_graphs.prune`.
        """
        if isinstance(text, str):
            try:
                text = json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"not an architecture of NAS-Bench-101: {one_line(text)} ({error}); "
                    'the form is [[[0, 1], [0, 0]], ["input", "output"]]'
                ) from error
        matrix, ops = dags.read(text)
        dags.check(matrix, ops)
        return matrix, ops

    def text(self, arch: Any) -> str:
        """Return an architecture as JSON that `parse` reads."""
        return json.dumps(self.parse(arch))

    def describe(self, arch: Any) -> str:
        """Return a line for each vertex and the vertices that lead to it, for people."""
        matrix, ops = self.parse(arch)
        vertices = list(enumerate(zip(ops, dags.sources(matrix), strict=True)))[1:]
        return "\n".join(f"{v} {op} from {', '.join(map(str, read))}" for v, (op, read) in vertices)

    def networks(self, indices: Iterable[int]) -> NDArray[np.int64]:
        """Return the indices: the space has each graph once."""
        return np.array(list(indices), dtype=np.int64)

    def key(self, arch: Any) -> str:
        """Return the benchmark's own hash, the same for isomorphic graphs."""
        return dags.graph_hash(*self.parse(arch))

    def mutate(self, arch: Any, rng: np.random.Generator) -> Arch:
        """Change an operation, flip an edge or put a new vertex on one; then prune."""
        matrix, ops = self.parse(arch)
        before = dags.graph_hash(matrix, ops)
        while True:
            mutant = dags.prune(*dags.edited(np.array(matrix), list(ops), rng))
            if mutant is None or len(mutant[1]) > MAX_VERTICES:
                continue
            if np.sum(mutant[0]) <= MAX_EDGES and dags.graph_hash(*mutant) != before:
                return mutant

    def depth(self, arch: Any) -> int:
        """Count the convolutions on a cell's longest path; projections of its input are none."""
        matrix, ops = self.parse(arch)
        read = enumerate(dags.sources(matrix))
        edges = [(u, v, ops[v] in KERNELS) for v, sources in read for u in sources]
        return longest_path(edges, len(ops) - 1)

    def sizes(self, image_size: int = 32, num_classes: int = 10) -> NDArray[np.int64]:
        """Return `parameters` and `flops` of all architectures at once: [len(self), 2]."""
        n, operations, triangles = dags.fields(dags.codes())
        _, first, shape = np.unique(n << 21 | triangles, return_index=True, return_inverse=True)
        tables = np.stack([_table(self[index][0], image_size) for index in first])
        totals = tables[shape, :, 0, 0]
        totals += np.array([self.features + 1, self.features]) * num_classes
        for vertex in range(1, MAX_VERTICES - 1):
            totals += tables[shape, :, vertex, operations // 3 ** (vertex - 1) % 3]
        return totals

    def build(self, arch: Any, num_classes: int = 1) -> nn.Module:
        """Build the full-width network, for images whose sides are multiples of 4."""
        arch = self.parse(arch)
        layers: list[nn.Module] = [_conv_bn_relu(3, STACKS[0], 3)]
        for stack, cells in enumerate(_cells(arch)):
            if stack:
                layers.append(nn.MaxPool2d(2))
            layers += [CellModule(arch, cell) for cell in cells]
        return Network(layers, STACKS[-1], num_classes)

    def _sizes(self, arch: Arch, image_size: int) -> NDArray[np.int64]:
        matrix, ops = arch
        columns = [0, *map(OPERATIONS.index, ops[1:-1])]
        return _table(matrix, image_size)[:, range(len(columns)), columns].sum(1)

    def _collapsed(self, arch: Arch, batch: Prepared, weight: float) -> NDArray:
        dtype = batch.values.dtype
        kept = np.empty((SLOTS, *batch.values.shape), dtype)
        kept[0], norms = batch.once(_first_projection, weight)
        groups, widths = np.array([[0]]), np.array([STACKS[0]], dtype)
        for stack, cells in enumerate(_cells(arch)):
            for place, cell in enumerate(cells):
                before = kept
                if stack and not place:
                    kept = np.empty_like(before[:, ::2, ::2], order="C")
                if stack or place:
                    norm = norms.reading(groups)
                    moments = graphs.project(before, groups, widths, norm, kept, norms.w)
                    norms.normalise(0, 1, moments, kept)
                for vertex, operation in enumerate(arch[1][1:-1], start=1):
                    _vertex(operation, vertex, cell, kept, norms)
                groups, widths = _groups(cell, dtype)
        return graphs.means(kept, groups, widths, norms.reading(groups), norms.w)


# The graphs ----------------------------------------------------------------------------------


class Cell(NamedTuple):
    """What a graph means for a cell with some number of input and output channels."""

    channels: tuple[int, ...]  # of every vertex
    sources: tuple[tuple[int, ...], ...]  # vertices that lead to each vertex
    ends: tuple[int, ...]  # vertices between that lead to the output, which joins their channels
    residual: bool  # the input leads to the output


def _cell(arch: Arch, inputs: int, outputs: int) -> Cell:
    """Give every vertex its channels, by the benchmark's own rule.

    The vertices that lead to the output share its channels, the first ones taking one more where
    they do not come out even. Every other vertex has as many as the widest that it leads to.
    """
    matrix, ops = arch
    last = len(ops) - 1
    ends = tuple(v for v in range(1, last) if matrix[v][last])
    channels = [inputs, *[0] * (last - 1), outputs]
    for place, vertex in enumerate(ends):
        channels[vertex] = outputs // len(ends) + (place < outputs % len(ends))
    for vertex in range(last - 1, 0, -1):
        if not matrix[vertex][last]:
            channels[vertex] = max(channels[t] for t in range(1, last) if matrix[vertex][t])
    return Cell(tuple(channels), dags.sources(matrix), ends, bool(matrix[0][last]))


def _cells(arch: Arch) -> list[list[Cell]]:
    """Return the cells of every stack."""
    widths = [STACKS[0], *STACKS]
    return [
        [_cell(arch, after if place else before, after) for place in range(CELLS)]
        for before, after in itertools.pairwise(widths)
    ]


@functools.cache
def _table(matrix: Matrix, image_size: int) -> NDArray[np.int64]:
    """Return the sizes of a cell's parts, for which of a graph only the edges matter.

    [2, vertices, operations], see :func:`conv_size`: at vertex 0 the stem and all projections,
    at each other one what it adds with each operation.
    """
    sizes = np.zeros((2, MAX_VERTICES - 1, len(OPERATIONS)), dtype=np.int64)
    sizes[:, 0, 0] = conv_size(9 * 3, STACKS[0], image_size)
    for stack, cells in enumerate(_cells((matrix, ("",) * len(matrix)))):
        for cell in cells:
            for vertex, width in enumerate(cell.channels):
                if 0 in cell.sources[vertex]:  # through a projection
                    sizes[:, 0, 0] += conv_size(cell.channels[0], width, image_size >> stack)
                if 0 < vertex < len(matrix) - 1:
                    for operation, kernel in enumerate(KERNELS.values()):
                        one = conv_size(kernel**2 * width, width, image_size >> stack)
                        sizes[:, vertex, operation] += one
    return sizes


# The width collapse --------------------------------------------------------------------------
#
# A cell sees its input only through 1 x 1 projections. Under a constant weight they are all the
# same map, so one serves all its vertices. Every vertex has one map too, whatever its channels. The
# channels of the output are groups, one for each vertex that leads there: these maps stay apart
# through max-pooling and are added up, times their channels, in the next projection.
# The kernels are in :mod:`epsutil.collapse.graphs`.

SLOTS = MAX_VERTICES - 1


def _vertex(operation: str, vertex: int, cell: Cell, kept: maps.Map, norms: Norms) -> None:
    """Compute the map of one vertex."""
    sources = np.array(cell.sources[vertex])
    norm = norms.reading(sources)
    if operation not in KERNELS:
        graphs.maxpool3x3(kept, sources, vertex, norm)
        norms.keep(vertex)
        return
    convolve = graphs.conv3x3 if KERNELS[operation] == 3 else graphs.conv1x1
    moments = convolve(kept, sources, vertex, norm, norms.w)
    norms.normalise(vertex, cell.channels[vertex], moments, kept)


def _groups(cell: Cell, dtype: np.dtype) -> tuple[NDArray[np.int64], Scalars]:
    """Return the maps that each group of a cell's output adds up, and the groups' channels."""
    sources = [[vertex, 0] if cell.residual else [vertex] for vertex in cell.ends] or [[0]]
    widths = [cell.channels[vertex] for vertex in cell.ends or (-1,)]
    return np.array(sources), np.array(widths, dtype)


def _first_projection(batch: Prepared, weight: float) -> tuple[maps.Map, Norms]:
    """Return stem and first projection."""
    stem, norms = batch.once(stem_map, weight, SLOTS)
    kept = np.empty((1, *stem.shape), stem.dtype)
    width, groups = np.array([STACKS[0]], stem.dtype), np.array([[0]])
    norm = norms.reading(groups)
    moments = graphs.project(stem[None], groups, width, norm, kept, norms.w)
    norms.normalise(0, 1, moments, kept)
    return kept[0], norms


# The full-width network ----------------------------------------------------------------------


class CellModule(nn.Module):
    """A graph of operations; the vertices that lead to the output are joined."""

    def __init__(self, arch: Arch, cell: Cell) -> None:
        super().__init__()
        self.cell = cell
        last = len(arch[1]) - 1
        self.operations = nn.ModuleDict(
            {str(v): _operation(arch[1][v], cell.channels[v]) for v in range(1, last)}
        )
        self.projections = nn.ModuleDict(
            {
                str(v): _conv_bn_relu(cell.channels[0], cell.channels[v], 1)
                for v in range(1, last + 1)
                if 0 in cell.sources[v]
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output vertex."""
        cell, last = self.cell, len(self.cell.channels) - 1
        maps: dict[int, Tensor] = {}
        for vertex in range(1, last):
            width = cell.channels[vertex]
            incoming = [
                self.projections[str(vertex)](x) if source == 0 else maps[source][:, :width]
                for source in cell.sources[vertex]
            ]
            maps[vertex] = self.operations[str(vertex)](sum(incoming))
        if not cell.ends:
            return self.projections[str(last)](x)
        joined = torch.cat([maps[vertex] for vertex in cell.ends], 1)
        return joined + self.projections[str(last)](x) if cell.residual else joined


def _operation(operation: str, channels: int) -> nn.Module:
    if operation in KERNELS:
        return _conv_bn_relu(channels, channels, KERNELS[operation])
    return nn.MaxPool2d(3, stride=1, padding=1)


def _conv_bn_relu(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(*conv_bn(inputs, outputs, kernel), nn.ReLU())
