"""What all search spaces have in common: they are indexed as lists are."""

import itertools
import pickle

import numpy as np
import pytest

from epsutil import inputs, spaces

needs_recipes = pytest.mark.needs("nas-bench-nlp/ptb_single_run.csv.gz")
SPACES = [
    pytest.param(spaces.get(name), id=name, marks=needs_recipes if name == "nasbench_nlp" else ())
    for name in spaces.names()
]
RECIPE = {"h_new_0": {"op": "linear", "input": ["x", "h_prev_0"]}}


@pytest.mark.parametrize("space", SPACES)
class TestIndices:
    def test_integers_of_any_kind(self, space):
        for index in (np.int64(7), np.uint8(7), np.array(7)):
            assert space[index] == space[7]
        assert space[-1] == space[len(space) - 1] != space[-2]
        assert space[-len(space)] == space[0]

    @pytest.mark.parametrize(
        "chosen",
        [
            slice(0, 2),
            slice(None, 3),
            slice(-2, None),
            slice(9, 2, -3),
            slice(np.int64(2), np.int64(4)),
            slice(5, 5),
            slice(10**9, None),
        ],
        ids=str,
    )
    def test_a_slice_is_a_list(self, space, chosen):
        expected = [space[i] for i in list(range(len(space)))[chosen]]
        assert isinstance(space[chosen], list) and space[chosen] == expected

    @pytest.mark.parametrize("beyond", [0, 10**9])
    def test_beyond_the_ends(self, space, beyond):
        for index in (len(space) + beyond, -len(space) - 1 - beyond):
            with pytest.raises(IndexError, match=f"no architecture {index}: the indices are 0 to"):
                space[index]

    @pytest.mark.parametrize(
        "index", [True, np.True_, 1.0, np.float32(1), "1", None, (0, 1), [0], np.array([0, 1])]
    )
    def test_nothing_else_is_an_index(self, space, index):
        with pytest.raises(TypeError, match="an index is an integer or a slice"):
            space[index]
        with pytest.raises(TypeError):
            space[0.5:2]

    def test_iteration(self, space):
        assert list(itertools.islice(space, 4)) == space[:4]
        if space.name != "nasbench101":  # where it takes seconds
            assert sum(1 for _ in space) == len(space)


@pytest.mark.parametrize("name", spaces.names())
def test_a_space_says_how_it_is_scored(name):
    space = spaces.get(name)
    kinds = inputs.kinds(name)
    assert space.dataset == kinds[0] and space.name == name
    assert set(kinds) == set(inputs.TOKENS if space.reads == "tokens" else inputs.IMAGES)
    assert space.zero_is_score == (name != "nasbench_nlp")
    assert len(space.weights) == 2 and space.weights[0] < space.weights[1]


def test_networks_by_name():
    space = spaces.get("nasbench201")
    trained = space.network(space[0], 10)
    sizes = [tuple(p.shape) for p in trained.parameters()]
    assert sizes == [tuple(p.shape) for p in space.network(space[0], 10, "build").parameters()]
    assert sum(p.numel() for p in trained.parameters()) == space.parameters(space[0])
    with pytest.raises(ValueError, match="nasbench201 has no network 'wide'; it has build, biased"):
        space.network(space[0], 10, "wide")
    with pytest.raises(ValueError, match="not an architecture of NAS-Bench-201"):
        space.network("|none~0|", 10)


@pytest.mark.parametrize("space", SPACES)
def test_any_number_of_weights_in_one_pass(space):
    kind = "normal" if space.reads == "images" else "random_tokens"
    x = inputs.batch(kind, 4).x
    x = x[:, :, :8, :8] if space.reads == "images" else x
    weights = (1e-3, 1e-2, 0.1, 1.0, 10.0)
    outputs = space.outputs(space[1462], x, weights)
    assert outputs.shape == (5, len(outputs[0])) and outputs.dtype == np.float32
    for weight, row in zip(weights, outputs, strict=True):
        np.testing.assert_array_equal(row, space.outputs(space[1462], x, [weight])[0])


# Prepared batches ----------------------------------------------------------------------------


def outputs(space, x, dtype=None):
    if space.reads == "images":
        return space.outputs(space[1462], x, (1e-3, 1.0), dtype)
    return space.outputs(RECIPE, x, (1e-3, 1.0), dtype)


@pytest.mark.parametrize("name", spaces.names())
def test_a_prepared_batch_is_the_batch(name):
    space = spaces.get(name)
    kind = "normal" if space.reads == "images" else "random_tokens"
    x = inputs.batch(kind, 4).x
    x = x[:, :, :8, :8] if space.reads == "images" else x
    for dtype in (None, *space.dtypes):
        expected = outputs(space, x, dtype)
        given = x.copy()
        prepared = space.prepare(given, dtype)
        given[:] = 1  # comes too late
        np.testing.assert_array_equal(outputs(space, prepared), expected)
        again = spaces.get(name)
        np.testing.assert_array_equal(outputs(again, prepared, dtype), expected)
        sent = pickle.loads(pickle.dumps(prepared))  # to another process, after use
        np.testing.assert_array_equal(outputs(again, sent, dtype), expected)
        assert space.prepare(prepared) is prepared
    assert space.prepare(x, "float32").dtype == space.prepare(x).dtype == "float32"
    other = "the batch is for .* in float64, not for .* in float32: prepare it anew"
    with pytest.raises(ValueError, match=other):
        outputs(space, space.prepare(x, "float64"), "float32")


def test_spaces_of_images_share_a_prepared_batch():
    x = inputs.batch("normal", 4, image_size=8).x
    one, other, third = (
        spaces.get(name) for name in ("nasbench201", "nasbench101", "nasbench_macro")
    )
    prepared = one.prepare(x)
    for space in (one, other, third, other, one):
        np.testing.assert_array_equal(outputs(space, prepared), outputs(space, x))


def test_a_batch_that_was_prepared_for_something_else_is_refused():
    x = inputs.batch("random_tokens", 4).x
    usual, centred = spaces.get("nasbench_nlp"), spaces.get("nasbench_nlp@uniform-centred-1")
    with pytest.raises(ValueError, match="'uniform positive 1' in float32, not .*'uniform centred"):
        outputs(centred, usual.prepare(x))
    with pytest.raises(ValueError, match="the batch is for tokens .*, not for images"):
        outputs(spaces.get("nasbench201"), usual.prepare(x))


CELL201 = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
C, S, N = "nor_conv_3x3", "skip_connect", "none"
GATE = {
    "r": {"op": "linear", "input": ["x", "h_prev_0"]},
    "p": {"op": "elementwise_prod", "input": ["r", "h_prev_0"]},
    "g": {"op": "linear", "input": ["x", "p"]},
    "h_new_0": {"op": "activation_tanh", "input": ["g"]},
}


@pytest.mark.parametrize(
    ("name", "arch", "depth"),
    [
        ("nasbench201", CELL201.format(C, C, C, C, C, C), 3),
        ("nasbench201", CELL201.format(C, S, C, S, S, N), 1),  # the 2 of node 2 lead nowhere
        ("nasbench201", CELL201.format(S, S, N, C, N, "nor_conv_1x1"), 1),
        ("nasbench201", CELL201.format(N, N, N, N, N, "avg_pool_3x3"), 0),
        ("nasbench101", ([[0, 1], [0, 0]], ["input", "output"]), 0),
        (
            "nasbench101",  # a chain of three, one a pool, and an edge past it
            (
                [[0, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0] * 5],
                ["input", "conv3x3-bn-relu", "maxpool3x3", "conv1x1-bn-relu", "output"],
            ),
            2,
        ),
        ("nasbench_nlp", RECIPE, 1),
        ("nasbench_nlp", GATE, 2),
    ],
)
def test_depth_is_the_layers_with_weights_of_the_longest_path(name, arch, depth):
    assert spaces.get(name).depth(arch) == depth


def test_the_networks_of_each_space():
    """How many there are, and that copies share what `structure` says."""
    counts = {"nasbench201": 5_260, "nasbench_macro": 3_969}
    for name, count in counts.items():
        space = spaces.get(name)
        labels = space.networks(range(len(space)))
        assert len(set(labels)) == count and (labels <= np.arange(len(space))).all()
        for i in (3, 500, 6_000):
            assert space.structure(space[i]) == space.structure(space[int(labels[i])])
    graphs = spaces.get("nasbench101")
    assert graphs.networks([7, 3]).tolist() == [7, 3]
    assert graphs.structure(graphs[7]) != graphs.structure(graphs[3])
