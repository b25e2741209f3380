"""The space's facts, and the width collapse against full-width networks."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sweep import sweep
from torch.utils.flop_counter import FlopCounterMode

from epsutil import inputs, metric, spaces
from epsutil.spaces import nasbench101, nasbench101_graphs

SPACE = spaces.get("nasbench101")
INDICES = st.integers(0, len(SPACE) - 1)
ARCHS = INDICES.map(SPACE.__getitem__)
WEIGHTS = st.floats(-5, 1).map(lambda exponent: 10**exponent)
C3, C1, POOL = nasbench101.OPERATIONS


# The space -----------------------------------------------------------------------------------


def test_known_anchors():
    assert len(SPACE) == 423_624
    assert SPACE.key(SPACE[0]) == "00005c142e6f48ac74fdcf73e3439874"
    assert SPACE.parameters(SPACE[0]) == 8_555_530


def test_an_architecture_of_the_benchmarks_own_example():
    """The Inception-like cell of its README."""
    matrix = np.zeros((7, 7), int)
    for edge in [(0, 1), (0, 2), (0, 3), (0, 5), (1, 6), (2, 6), (3, 4), (4, 6), (5, 6)]:
        matrix[edge] = 1
    arch = (matrix, ["input", C1, C3, C3, C3, POOL, "output"])
    assert SPACE.key(SPACE[SPACE.index(arch)]) == SPACE.key(arch)
    assert SPACE.parameters(arch) == 2_694_282  # as the benchmark's demonstration prints it


@pytest.mark.slow
def test_every_graph_is_found_from_scratch():
    """By numbers that are equal for isomorphic graphs; hashing them all takes a minute."""
    codes = np.array(list(nasbench101_graphs._candidates()), dtype=np.uint32)
    np.testing.assert_array_equal(np.sort(codes), np.sort(nasbench101_graphs.codes()))


def test_graphs_are_in_the_order_of_their_hashes():
    picked = np.linspace(0, len(SPACE) - 1, 2000).astype(int)
    hashes = [SPACE.key(SPACE[int(i)]) for i in picked]
    assert hashes == sorted(set(hashes))


@given(INDICES, st.randoms(use_true_random=False))
def test_key_and_index_are_those_of_isomorphic_graphs(index, random):
    matrix, ops = SPACE[index]
    n = len(ops)
    order = [0, *random.sample(range(1, n - 1), n - 2), n - 1]
    renumbered = [[matrix[a][b] for b in order] for a in order]
    other = (renumbered, [ops[v] for v in order])
    if np.tril(renumbered).any():  # another numbering of the vertices that is no valid graph
        with pytest.raises(ValueError, match="leads back"):
            SPACE.parse(other)
    else:
        assert SPACE.key(other) == SPACE.key(SPACE[index])
        assert SPACE.index(other) == index


@given(ARCHS)
def test_text_and_parse_are_inverse(arch):
    matrix, ops = arch
    assert SPACE.parse(SPACE.text(arch)) == SPACE.parse((np.array(matrix), list(ops))) == arch


def edit(arch=None, ops=None, edges=()):
    """A small valid graph, changed."""
    matrix = np.zeros((4, 4), int)
    for edge in [(0, 1), (1, 2), (2, 3), (0, 3)]:
        matrix[edge] = 1
    for edge in edges:
        matrix[edge] = 1 - matrix[edge]
    return matrix, ops or ["input", C3, POOL, "output"]


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("conv3x3", "not an architecture of NAS-Bench-101: 'conv3x3'"),
        ([1, 2, 3], "a pair"),
        (None, "a pair"),
        (edit(edges=[(2, 1)]), "from vertex 2 to 1 leads back"),
        (edit(edges=[(1, 1)]), "from vertex 1 to 1 leads back"),
        (edit(edges=[(1, 2)]), "vertex 1 dangles: no edge leads from it"),
        (edit(edges=[(0, 1)]), "vertex 1 dangles: no edge leads to it"),
        (edit(ops=["input", C3, "conv5x5", "output"]), "unknown operation 'conv5x5' at vertex 2"),
        (edit(ops=["input", C3, "output"]), "3 x 3 matrix"),
        (edit(ops=[C3, C3, C3, "output"]), "first of ops is 'input'"),
        ((np.triu(np.ones((8, 8), int), 1), ["input", *[C3] * 6, "output"]), "2 to 7 vertices"),
        ((np.triu(np.ones((5, 5), int), 1), ["input", *[C3] * 3, "output"]), "at most 9 edges"),
        ((2 * edit()[0], edit()[1]), "the matrix holds 2 from vertex 0 to 1"),
        ((0.5 * edit()[0], edit()[1]), "the matrix holds 0.5 from vertex 0 to 1"),
        ((1.9 * edit()[0], edit()[1]), "the matrix holds 1.9"),
        ((-edit()[0], edit()[1]), "the matrix holds -1"),
        ((math.nan * edit()[0], edit()[1]), "the matrix holds nan"),
        ((edit()[0].astype(str), edit()[1]), "the matrix holds '0'"),
        ((1j * edit()[0], edit()[1]), "the matrix holds 0j"),
        ('[[[0, "1"], [0, 0]], ["input", "output"]]', "the matrix holds '1'"),
        ('[[[0, NaN], [0, 0]], ["input", "output"]]', "the matrix holds nan"),
        ('[[[0, null], [0, 0]], ["input", "output"]]', "the matrix holds None"),
        (([[0, 1], [0]], ["input", "output"]), r"2 x 2 matrix, not \[\[0, 1\], \[0\]\]"),
        ((edit()[0][:3], edit()[1]), "4 x 4 matrix"),
        ((edit()[0][None], edit()[1]), "4 x 4 matrix"),
        ((5, ["input", "output"]), "2 x 2 matrix, not 5"),
        (([], []), r"ops is a list of names, not \[\]"),
        (edit(ops=[0, 1, 2, 3]), "ops is a list of names, not"),
        (edit(ops="input"), "ops is a list of names, not 'input'"),
        (edit(ops=["input", None, C3, "output"]), "ops is a list of names, not"),
        (([[0]], ["input"]), "2 to 7 vertices, not 1"),
        (np.zeros((3, 3)), "a pair"),
    ],
)
def test_parse_names_what_is_wrong(arch, message):
    with pytest.raises(ValueError, match=message) as caught:
        SPACE.parse(arch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [int, float, np.float32, bool, np.uint8])
def test_numbers_that_are_0_and_1(kind):
    matrix, ops = edit()
    assert SPACE.parse((matrix.astype(kind), ops)) == SPACE.parse((matrix.tolist(), ops))
    assert SPACE.parse((torch.tensor(matrix.astype(kind)), ops)) == SPACE.parse((matrix, ops))


@given(ARCHS, st.integers(0, 2**32 - 1))
def test_a_mutant_is_another_valid_graph(arch, seed):
    mutant = SPACE.mutate(arch, np.random.default_rng(seed))
    assert SPACE.parse(mutant) == mutant and SPACE.key(mutant) != SPACE.key(arch)
    assert abs(sum(map(sum, mutant[0])) - sum(map(sum, arch[0]))) <= 8
    assert mutant == SPACE.mutate(arch, np.random.default_rng(seed))


def test_mutation_reaches_graphs_of_all_sizes():
    arch, sizes = SPACE[0], set()
    rng = np.random.default_rng(0)
    for _ in range(400):
        arch = SPACE.mutate(arch, rng)
        sizes.add(len(arch[1]))
    assert sizes >= {3, 4, 5, 6, 7}


def benchmarks_pruning(matrix, ops):
    """What the benchmark does: search forward from the input and backward from the output."""
    n = len(ops)

    def reached(start, neighbours):
        seen = [start]
        for vertex in seen:  # grows as it goes
            seen += [v for v in neighbours(vertex) if v not in seen]
        return set(seen)

    forward = reached(0, lambda v: [w for w in range(n) if matrix[v][w]])
    backward = reached(n - 1, lambda w: [v for v in range(n) if matrix[v][w]])
    kept = sorted(forward & backward)
    if len(kept) < 2:
        return None
    return tuple(tuple(int(matrix[v][w]) for w in kept) for v in kept), tuple(ops[v] for v in kept)


@given(st.integers(2, 9), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_pruning_is_the_benchmarks(n, seed, density):
    rng = np.random.default_rng(seed)
    matrix = np.triu(rng.random((n, n)) < density, 1).astype(int)
    ops = ["input", *rng.choice(nasbench101.OPERATIONS, n - 2).tolist(), "output"]
    assert nasbench101_graphs.prune(matrix, ops) == benchmarks_pruning(matrix, ops)


def test_an_unpruned_graph_is_told_how_to_prune():
    matrix, ops = edit(edges=[(1, 2)])  # leaves vertices 1 and 2 on no path
    with pytest.raises(
        ValueError, match=r"vertex 1 dangles.*nasbench101_graphs\.prune\(matrix, ops\)"
    ):
        SPACE.parse((matrix, ops))
    assert SPACE.parse(nasbench101_graphs.prune(matrix, ops)) == (
        ((0, 1), (0, 0)),
        ("input", "output"),
    )
    matrix = np.zeros((4, 4), int)
    matrix[0, 1] = matrix[2, 3] = 1
    assert nasbench101_graphs.prune(matrix, ops) is None
    with pytest.raises(ValueError, match="no path leads from input to output$"):
        SPACE.parse((matrix, ops))


def test_sizes_count_after_pruning():
    """The benchmark, too, counts vertices and edges of what is left."""
    matrix = np.zeros((9, 9), int)
    matrix[0, 1:] = 1  # 8 edges, 7 of them to vertices that dangle
    matrix[1, 2:4] = 1
    ops = ["input", *[C3] * 7, "output"]
    with pytest.raises(ValueError, match="prune"):
        SPACE.parse((matrix, ops))
    assert SPACE.parse(nasbench101_graphs.prune(matrix, ops)) == (
        ((0, 1), (0, 0)),
        ("input", "output"),
    )


def test_pruning_takes_no_other_numbers():
    matrix, ops = edit()
    with pytest.raises(ValueError, match="the matrix holds 0.5"):
        nasbench101_graphs.prune(0.5 * matrix, ops)
    with pytest.raises(ValueError, match="leads back"):
        nasbench101_graphs.prune(matrix.T, ops)


@pytest.mark.parametrize("index", [0, 10, 113, 5000, 423_623])
def test_sizes_are_those_of_the_network(index):
    network = SPACE.build(SPACE[index], num_classes=10)
    assert SPACE.parameters(SPACE[index]) == sum(p.numel() for p in network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 16, 16))
    assert SPACE.flops(SPACE[index], image_size=16) * 2 == counter.get_total_flops()


def test_all_sizes_at_once():
    sizes = SPACE.sizes(image_size=16, num_classes=7)
    for index in np.random.default_rng(0).integers(len(SPACE), size=300):
        arch = SPACE[int(index)]
        assert sizes[index].tolist() == [SPACE.parameters(arch, 7), SPACE.flops(arch, 16, 7)]


# The width collapse --------------------------------------------------------------------------


# Each ReLU keeps what is above the batch's mean, so that deep networks pass on very few images of a
# small batch. Small graphs, of four vertices or less, pass on some of a large one.
SMALL = np.flatnonzero(nasbench101_graphs.codes() >> 29 <= 4).tolist()
BATCHES = st.sampled_from([2, 5, 32])
ANY_SIZE = st.one_of(ARCHS, st.sampled_from(SMALL).map(SPACE.__getitem__))


def images(seed: int, batch: int, size: int, dtype: torch.dtype) -> torch.Tensor:
    """Images that differ in brightness, and a little in every pixel."""
    generator = torch.Generator().manual_seed(seed)
    brightness = torch.linspace(-1, 1, batch)[:, None, None, None]
    return (brightness + torch.randn(batch, 3, size, size, generator=generator) / 4).to(dtype)


@given(ANY_SIZE, WEIGHTS, WEIGHTS, BATCHES, st.sampled_from([4, 8]), st.integers(0, 99))
@sweep(15, suppress_health_check=[HealthCheck.too_slow])
def test_collapse_equals_full_width_in_float64(arch, w1, w2, batch, size, seed):
    x = images(seed, batch, size, torch.float64)
    full = metric.outputs(SPACE.build(arch).double(), x, (w1, w2))
    collapsed = SPACE.outputs(arch, x, (w1, w2))
    np.testing.assert_allclose(collapsed, full, rtol=1e-8, atol=np.abs(full).max() * 1e-11)
    assert SPACE.score(arch, x, (w1, w2)) == pytest.approx(
        metric.from_outputs(full), abs=1e-9, nan_ok=True
    )


@given(ANY_SIZE, WEIGHTS, WEIGHTS, BATCHES, st.sampled_from([4, 8]), st.integers(0, 99))
@sweep(15, suppress_health_check=[HealthCheck.too_slow])
def test_collapse_equals_full_width_in_float32(arch, w1, w2, batch, size, seed):
    """Scores agree, and so do their absences, unless float32 has hardly a bit left to decide."""
    x = images(seed, batch, size, torch.float32)
    outputs = metric.outputs(SPACE.build(arch), x, (w1, w2))
    full, collapsed = metric.from_outputs(outputs), SPACE.score(arch, x, (w1, w2))
    # How many representable numbers lie between the smallest and the largest output.
    steps = (np.ptp(outputs, axis=1) / np.spacing(np.abs(outputs).max(axis=1))).min()
    double = SPACE.score(arch, x, (w1, w2), dtype="float64")
    if steps > 1e5:  # where float32 is well conditioned, it agrees with float64
        off = 0 if abs(full - double) <= 1e-3 * double else abs(full - double)
        assert collapsed == pytest.approx(full, rel=1e-3, abs=1e-5 + 3 * off)
    elif steps == 0 and (outputs == 0).all(axis=1).any():
        # Some convolutions of torch turn subnormal numbers, which the collapse may keep, into 0.
        rows = np.abs(SPACE.outputs(arch, x, (w1, w2))).max(axis=1)
        near_subnormal = ((rows > 0) & (rows < 1e6 * np.finfo(np.float32).tiny)).any()
        assert math.isnan(full) and (math.isnan(collapsed) or near_subnormal)


@pytest.mark.needs("images/cifar10-train-10240.npz")
def test_collapse_leaves_the_same_architectures_without_a_score():
    """At the paper's weights, where float32 loses more than half of them."""
    x = inputs.batch("cifar10", 8).x[:, :, 8:24, 8:24]
    scored = []
    for index in np.random.default_rng(7).integers(len(SPACE), size=6):
        arch = SPACE[int(index)]
        full = metric.epsilon(SPACE.build(arch), torch.from_numpy(x.copy()), SPACE.weights)
        assert SPACE.score(arch, x) == pytest.approx(full, rel=1e-3, abs=1e-5, nan_ok=True)
        scored.append(not math.isnan(full))
    assert any(scored) and not all(scored)


def test_channels_follow_the_benchmarks_rule():
    """128 channels over three ends: 43, 43, 42; the vertex before takes what its target has."""
    matrix = np.zeros((6, 6), int)
    for edge in [(0, 1), (1, 2), (1, 4), (0, 3), (2, 5), (3, 5), (4, 5)]:
        matrix[edge] = 1
    arch = SPACE.parse((matrix, ["input", C1, C3, C3, POOL, "output"]))
    cell = nasbench101._cell(arch, 64, 128)
    assert cell.channels == (64, 43, 43, 43, 42, 128)
    x = images(0, 4, 8, torch.float64)  # vertex 4 is cut by one channel
    full = metric.outputs(SPACE.build(arch).double(), x, (1e-2, 1.0))
    np.testing.assert_allclose(SPACE.outputs(arch, x, (1e-2, 1.0)), full, rtol=1e-9)


def test_the_smallest_graph():
    """Input and output, nothing between."""
    arch = SPACE.parse('[[[0, 1], [0, 0]], ["input", "output"]]')
    x = images(0, 4, 8, torch.float64)
    full = metric.outputs(SPACE.build(arch).double(), x, (1e-2, 1.0))
    np.testing.assert_allclose(SPACE.outputs(arch, x, (1e-2, 1.0)), full, rtol=1e-9)
    assert json.loads(SPACE.text(arch)) == [[[0, 1], [0, 0]], ["input", "output"]]


def test_another_batch_is_not_taken_for_the_last():
    first, second = (images(seed, 64, 8, torch.float32) for seed in (0, 1))
    arch = SPACE[SMALL[0]]
    before = SPACE.outputs(arch, first, (0.1, 1.0))
    assert not np.array_equal(SPACE.outputs(arch, second, (0.1, 1.0)), before)
    first += 1  # in place
    assert not np.array_equal(SPACE.outputs(arch, first, (0.1, 1.0)), before)
    first -= 1
    np.testing.assert_allclose(SPACE.outputs(arch, first, (0.1, 1.0)), before, rtol=1e-3)


def test_wrong_images_are_named():
    with pytest.raises(ValueError, match="shape"):
        SPACE.outputs(SPACE[0], torch.zeros(3, 8, 8), (1e-4, 10.0))
