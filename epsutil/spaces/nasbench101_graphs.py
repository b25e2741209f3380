"""The graphs of NAS-Bench-101: read, checked, pruned, edited, hashed, and all found from scratch.

What a graph is says :mod:`epsutil.spaces.nasbench101`.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm.auto import tqdm

from epsutil.names import check_known
from epsutil.spaces.base import md5, one_line

INPUT, OUTPUT = "input", "output"
OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")  # numbered so in the hash
MAX_VERTICES = 7
MAX_EDGES = 9
# The graphs in the order of their hashes, one number each (see `decode`): made by `enumerate_all`.
GRAPHS = Path(__file__).with_name("nasbench101.parquet")
Matrix = tuple[tuple[int, ...], ...]
Arch = tuple[Matrix, tuple[str, ...]]


def read(graph: Any) -> Arch:
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


def check(matrix: Matrix, ops: tuple[str, ...]) -> None:
    """Raise a ValueError where it is no graph of the space."""
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
        (vertex, "to") for vertex, read in enumerate(sources(matrix)) if vertex and not read
    ]
    if dangling:
        vertex, way = min(dangling)
        pruned = "nasbench101_graphs.prune(matrix, ops) drops such vertices, as the benchmark does"
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
    rows, names = read((matrix, ops))
    edges = np.array(rows, dtype=bool)
    n = len(names)
    reached = np.linalg.matrix_power(edges | np.eye(n, dtype=bool), n)  # from each vertex
    kept = np.flatnonzero(reached[0] & reached[:, -1])
    if len(kept) < 2:
        return None
    rest = edges[np.ix_(kept, kept)].astype(int)
    return tuple(map(tuple, rest.tolist())), tuple(names[int(vertex)] for vertex in kept)


def edited(matrix: NDArray, ops: list[str], rng: np.random.Generator) -> tuple[NDArray, list[str]]:
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


def graph_hash(matrix: Matrix, ops: tuple[str, ...]) -> str:
    """Return the benchmark's hash: each vertex's hash takes in its neighbours', n times over."""
    n = len(ops)
    labels = [-1, *map(OPERATIONS.index, ops[1:-1]), -2]
    incoming = sources(matrix)
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


def sources(matrix: Matrix) -> tuple[tuple[int, ...], ...]:
    """Return the vertices that lead to each vertex."""
    return tuple(tuple(v for v in range(w) if matrix[v][w]) for w in range(len(matrix)))


# Every graph is one number of 32 bits: its vertices (3), its operations as a number in base 3 (8),
# and the upper triangle of its matrix, column by column (21). Of isomorphic graphs the one with the
# smallest triangle stands for all, as in the benchmark: it decides which of the vertices that lead
# to the output take one more channel than the others.


def _pairs(n: int) -> list[tuple[int, int]]:
    return [(source, target) for target in range(n) for source in range(target)]


def fields(code: Any) -> tuple[Any, Any, Any]:
    """Split a number, or an array of them, into vertices, operations and triangle."""
    return code >> 29, code >> 21 & 0xFF, code & 0x1FFFFF


@functools.lru_cache(maxsize=1 << 16)
def decode(code: int) -> Arch:
    """Return the graph that a number of `codes` stands for."""
    n, operations, triangle = fields(code)
    matrix = [[0] * n for _ in range(n)]
    for bit, (source, target) in enumerate(_pairs(n)):
        matrix[source][target] = triangle >> bit & 1
    ops = [OPERATIONS[operations // 3**vertex % 3] for vertex in range(n - 2)]
    return tuple(map(tuple, matrix)), (INPUT, *ops, OUTPUT)


@functools.cache
def codes() -> NDArray[np.uint32]:
    """Return a number for each graph, in the order of their hashes."""
    return pq.read_table(GRAPHS)["graph"].to_numpy()


def enumerate_all() -> NDArray[np.uint32]:
    """Find all 423,624 graphs from scratch, in the order of their hashes, in a minute or two.

    The result, a number for each, is kept in `GRAPHS`, so that nothing else needs to call this.
    """
    found: dict[str, int] = {}
    for code in tqdm(list(_candidates()), "hashing NAS-Bench-101", unit="graph", leave=False):
        found.setdefault(graph_hash(*decode.__wrapped__(code)), code)
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
