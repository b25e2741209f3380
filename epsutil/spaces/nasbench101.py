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
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from epsutil.collapse import graphs, maps
from epsutil.collapse.norms import Norms, Prepared, Scalars, stem_map
from epsutil.names import check_known
from epsutil.spaces.base import ImageSpace, Network, conv_bn, conv_size, longest_path, md5, one_line

INPUT, OUTPUT = "input", "output"
OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")  # numbered so in the hash
KERNELS = {"conv3x3-bn-relu": 3, "conv1x1-bn-relu": 1}
MAX_VERTICES = 7
MAX_EDGES = 9
STACKS = (128, 256, 512)  # channels
CELLS = 3  # per stack

# The graphs in the order of their hashes, one number each (see `_decode`): made by `enumerate_all`.
GRAPHS = Path(__file__).with_name("nasbench101.parquet")

Matrix = tuple[tuple[int, ...], ...]
Arch = tuple[Matrix, tuple[str, ...]]


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
        return len(_codes())

    def _at(self, index: int) -> Arch:
        return _decode(int(_codes()[index]))

    def index(self, arch: Any) -> int:
        """Return the index of a graph, or of one that is isomorphic to it."""
        key = self.key(arch)
        return bisect.bisect_left(range(len(self)), key, key=lambda i: _hash(*self[i]))

    def parse(self, text: Any) -> Arch:
        """Check a pair (matrix, ops), or its JSON text, and return it as tuples.

        The matrix, as nested lists or an array, holds the numbers 0 and 1.

        Raises
        ------
        ValueError
            It is not of that form; has too many vertices or edges, an edge that leads back, an
            unknown operation, or a vertex on no path from input to output (see :func:`prune`).
        """
        if isinstance(text, str):
            try:
                text = json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"not an architecture of NAS-Bench-101: {one_line(text)} ({error}); "
                    'the form is [[[0, 1], [0, 0]], ["input", "output"]]'
                ) from error
        matrix, ops = _read(text)
        _check(matrix, ops)
        return matrix, ops

    def text(self, arch: Any) -> str:
        """Return an architecture as JSON that `parse` reads."""
        return json.dumps(self.parse(arch))

    def describe(self, arch: Any) -> str:
        """Return a line for each vertex and the vertices that lead to it, for people."""
        matrix, ops = self.parse(arch)
        vertices = list(enumerate(zip(ops, _sources(matrix), strict=True)))[1:]
        return "\n".join(f"{v} {op} from {', '.join(map(str, read))}" for v, (op, read) in vertices)

    def networks(self, indices: Iterable[int]) -> NDArray[np.int64]:
        """Return the indices: the space has each graph once."""
        return np.array(list(indices), dtype=np.int64)

    def key(self, arch: Any) -> str:
        """Return the benchmark's own hash, the same for isomorphic graphs."""
        return _hash(*self.parse(arch))

    def mutate(self, arch: Any, rng: np.random.Generator) -> Arch:
        """Change an operation, flip an edge or put a new vertex on one; then :func:`prune`."""
        matrix, ops = self.parse(arch)
        before = _hash(matrix, ops)
        while True:
            mutant = prune(*_edited(np.array(matrix), list(ops), rng))
            if mutant is None or len(mutant[1]) > MAX_VERTICES:
                continue
            if np.sum(mutant[0]) <= MAX_EDGES and _hash(*mutant) != before:
                return mutant

    def depth(self, arch: Any) -> int:
        """Count the convolutions on a cell's longest path; projections of its input are none."""
        matrix, ops = self.parse(arch)
        read = enumerate(_sources(matrix))
        edges = [(u, v, ops[v] in KERNELS) for v, sources in read for u in sources]
        return longest_path(edges, len(ops) - 1)

    def sizes(self, image_size: int = 32, num_classes: int = 10) -> NDArray[np.int64]:
        """Return `parameters` and `flops` of all architectures at once: [len(self), 2]."""
        n, operations, triangles = _fields(_codes())
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


def _read(graph: Any) -> Arch:
    """Read a pair (matrix, ops): the matrix is square, upper triangular and of 0 and 1.

    Nothing is rounded, for another number would make another graph.
    """
    try:
        rows, names = graph
        ops = tuple(names)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"an architecture of NAS-Bench-101 is a pair (matrix, ops), not {one_line(graph)}"
        ) from error
    if isinstance(names, str) or not (ops and all(isinstance(op, str) for op in ops)):
        raise ValueError(f"ops is a list of names, not {one_line(names)}")
    matrix = np.asarray(rows, dtype=object)
    n = len(ops)
    if matrix.shape != (n, n):
        raise ValueError(f"{n} ops need a {n} x {n} matrix, not {one_line(matrix.tolist())}")
    for source, row in enumerate(matrix):
        for target, edge in enumerate(row):
            if not isinstance(edge, Real | np.bool_) or edge not in (0, 1):
                raise ValueError(
                    f"the matrix holds {one_line(edge)} from vertex {source} to {target}; "
                    "an edge is 1, no edge 0"
                )
            if edge and target <= source:
                raise ValueError(
                    f"the edge from vertex {source} to {target} leads back, so that the graph may "
                    "have a cycle: number the vertices so that the matrix is upper triangular"
                )
    return tuple(tuple(map(int, row)) for row in matrix), tuple(map(str, ops))


def _check(matrix: Matrix, ops: tuple[str, ...]) -> None:
    n = len(ops)
    if n < 2:
        raise ValueError(f"a graph has 2 to {MAX_VERTICES} vertices, not {n}")
    if (ops[0], ops[-1]) != (INPUT, OUTPUT):
        raise ValueError(f"the first of ops is 'input' and the last 'output', not {one_line(ops)}")
    for vertex, op in enumerate(ops[1:-1], start=1):
        check_known("operation", op, OPERATIONS, f" at vertex {vertex}")
    # before the sizes, which the benchmark takes after pruning, too
    dangling = [(vertex, "from") for vertex in range(n - 1) if not any(matrix[vertex])]
    dangling += [
        (vertex, "to") for vertex, read in enumerate(_sources(matrix)) if vertex and not read
    ]
    if dangling:
        vertex, way = min(dangling)
        pruned = "nasbench101.prune(matrix, ops) drops such vertices, as the benchmark does"
        hint = pruned if prune(matrix, ops) else "no path leads from input to output"
        raise ValueError(f"vertex {vertex} dangles: no edge leads {way} it; {hint}")
    if n > MAX_VERTICES:
        raise ValueError(f"a graph has 2 to {MAX_VERTICES} vertices, not {n}")
    edges = sum(map(sum, matrix))
    if edges > MAX_EDGES:
        raise ValueError(f"a graph has at most {MAX_EDGES} edges, not {edges}")


def prune(matrix: Any, ops: Sequence[str]) -> Arch | None:
    """Drop the vertices that are on no path from input to output; None if there is no path.

    The benchmark does so with every graph before it looks it up. It may be of any size; ValueError
    where `matrix` is not upper triangular and of 0 and 1.

    Examples
    --------
    >>> prune([[0, 1, 1], [0, 0, 0], [0, 0, 0]], ["input", "maxpool3x3", "output"])
    (((0, 1), (0, 0)), ('input', 'output'))
    """
    rows, names = _read((matrix, ops))
    edges = np.array(rows, dtype=bool)
    n = len(names)
    reached = np.linalg.matrix_power(edges | np.eye(n, dtype=bool), n)  # from each vertex
    kept = np.flatnonzero(reached[0] & reached[:, -1])
    if len(kept) < 2:
        return None
    rest = edges[np.ix_(kept, kept)].astype(int)
    return tuple(map(tuple, rest.tolist())), tuple(names[int(vertex)] for vertex in kept)


def _edited(matrix: NDArray, ops: list[str], rng: np.random.Generator) -> tuple[NDArray, list[str]]:
    """Change an operation, flip an edge, or put a vertex on an edge."""
    n = len(ops)
    kind = rng.integers(3)
    if kind == 0 and n > 2:
        ops[int(rng.integers(1, n - 1))] = str(rng.choice(OPERATIONS))
    elif kind == 1:
        source, target = sorted(rng.choice(n, 2, replace=False))
        matrix[source, target] ^= 1
    elif kind == 2:
        edges = np.argwhere(matrix)
        source, target = edges[rng.integers(len(edges))]
        matrix = np.insert(np.insert(matrix, target, 0, axis=0), target, 0, axis=1)
        matrix[source, target + 1] = 0
        matrix[source, target] = matrix[target, target + 1] = 1
        ops.insert(target, str(rng.choice(OPERATIONS)))
    return matrix, ops


def _hash(matrix: Matrix, ops: tuple[str, ...]) -> str:
    """Return the benchmark's hash: each vertex's hash takes in its neighbours', n times over."""
    n = len(ops)
    labels = [-1, *map(OPERATIONS.index, ops[1:-1]), -2]
    incoming = _sources(matrix)
    outgoing = [[w for w in range(n) if matrix[v][w]] for v in range(n)]
    hashes = [md5(str((len(outgoing[v]), len(incoming[v]), labels[v]))) for v in range(n)]
    for _ in range(n):
        hashes = [
            md5(f"{_joined(hashes, incoming[v])}|{_joined(hashes, outgoing[v])}|{hashes[v]}")
            for v in range(n)
        ]
    return md5(str(sorted(hashes)))


def _joined(hashes: list[str], vertices: Sequence[int]) -> str:
    return "".join(sorted([hashes[v] for v in vertices]))


def _sources(matrix: Matrix) -> tuple[tuple[int, ...], ...]:
    """Return the vertices that lead to each vertex."""
    return tuple(tuple(v for v in range(w) if matrix[v][w]) for w in range(len(matrix)))


# Every graph is one number of 32 bits: its vertices (3), its operations as a number in base 3 (8),
# and the upper triangle of its matrix, column by column (21). Of isomorphic graphs the one with the
# smallest triangle stands for all, as in the benchmark: it decides which of the vertices that lead
# to the output take one more channel than the others.


def _pairs(n: int) -> list[tuple[int, int]]:
    return [(source, target) for target in range(n) for source in range(target)]


def _fields(code: Any) -> tuple[Any, Any, Any]:
    """Split a number, or an array of them, into vertices, operations and triangle."""
    return code >> 29, code >> 21 & 0xFF, code & 0x1FFFFF


@functools.lru_cache(maxsize=1 << 16)
def _decode(code: int) -> Arch:
    n, operations, triangle = _fields(code)
    matrix = [[0] * n for _ in range(n)]
    for bit, (source, target) in enumerate(_pairs(n)):
        matrix[source][target] = triangle >> bit & 1
    ops = [OPERATIONS[operations // 3**vertex % 3] for vertex in range(n - 2)]
    return tuple(map(tuple, matrix)), (INPUT, *ops, OUTPUT)


@functools.cache
def _codes() -> NDArray[np.uint32]:
    return pq.read_table(GRAPHS)["graph"].to_numpy()


def enumerate_all() -> NDArray[np.uint32]:
    """Find all 423,624 graphs from scratch, in the order of their hashes, in a minute or two.

    The result, a number for each, is kept in `GRAPHS`, so that nothing else needs to call this.
    """
    found: dict[str, int] = {}
    for code in tqdm(list(_candidates()), "hashing NAS-Bench-101", unit="graph", leave=False):
        found.setdefault(_hash(*_decode.__wrapped__(code)), code)
    return np.array([found[key] for key in sorted(found)], dtype=np.uint32)


def _candidates() -> Iterator[int]:
    """Yield every graph, hardly any of them in two isomorphic forms."""
    for n in range(2, MAX_VERTICES + 1):
        pairs = _pairs(n)
        triangles = np.arange(1 << len(pairs), dtype=np.int64)
        edges = np.zeros((len(triangles), n, n), dtype=bool)
        for bit, (source, target) in enumerate(pairs):
            edges[:, source, target] = triangles >> bit & 1
        outgoing, incoming = edges.sum(axis=2), edges.sum(axis=1)  # N, n
        dangling = (outgoing[:, :-1] == 0).any(axis=1) | (incoming[:, 1:] == 0).any(axis=1)
        whole = ~dangling & (outgoing.sum(axis=1) <= MAX_EDGES)
        triangles, edges = triangles[whole], edges[whole]
        operations = np.array(list(itertools.product(range(3), repeat=n - 2)), dtype=np.uint64)
        for shape in _firsts(edges, np.zeros((len(edges), n - 2), dtype=np.uint64)):
            same = np.broadcast_to(edges[shape], (len(operations), n, n))
            for first in _firsts(same, operations + np.uint64(3)):
                code = sum(int(op) * 3**v for v, op in enumerate(operations[first]))
                yield n << 29 | code << 21 | int(triangles[shape])


def _firsts(edges: NDArray[np.bool_], between: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the first of each kind of isomorphic graphs: edges [N, n, n], labels [N, n - 2]."""
    adjacent = edges.astype(np.uint64)
    h = _mix(np.pad(between, ((0, 0), (1, 1)), constant_values=((0, 0), (1, 2))))
    for _ in range(h.shape[1]):
        incoming = (adjacent * _mix(h + np.uint64(11))[:, :, None]).sum(1)
        outgoing = (adjacent * _mix(h + np.uint64(23))[:, None, :]).sum(2)
        h = _mix(h * np.uint64(3) + _mix(incoming) * np.uint64(5) + _mix(outgoing) * np.uint64(7))
    return np.unique(h.sum(1), return_index=True)[1]


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers (SplitMix64)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


# One cell ------------------------------------------------------------------------------------


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
    return Cell(tuple(channels), _sources(matrix), ends, bool(matrix[0][last]))


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
