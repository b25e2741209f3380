"""The recipes, and the width collapse against full-width networks."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import strategies as st
from sweep import sweep
from torch import nn

from epsutil import cross_checks, initialise, inputs, metric, sources, spaces
from epsutil.collapse import recurrent
from epsutil.spaces import nasbench_nlp, nasbench_nlp_recipes

SPACE = nasbench_nlp.NASBenchNLP()
FILE = "nas-bench-nlp/ptb_single_run.csv.gz"
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed):
    return SPACE.generate(np.random.default_rng(seed))


RECIPES = SEEDS.map(drawn)
WEIGHTS = st.floats(-7, 0).map(lambda exponent: 10**exponent)


def node(operation, *names):
    return {"op": operation, "input": list(names)}


RNN = {"f": node("linear", "x", "h_prev_0"), "h_new_0": node("activation_tanh", "f")}
GRU = {
    "r": node("linear", "x", "h_prev_0"),
    "r_act": node("activation_sigm", "r"),
    "z": node("linear", "x", "h_prev_0"),
    "z_act": node("activation_sigm", "z"),
    "rh": node("elementwise_prod", "r_act", "h_prev_0"),
    "h": node("linear", "x", "rh"),
    "h_act": node("activation_tanh", "h"),
    "h_new_0": node("blend", "z_act", "h_prev_0", "h_act"),
}
LSTM = {
    "i": node("linear", "x", "h_prev_0"),
    "i_act": node("activation_sigm", "i"),
    "f": node("linear", "x", "h_prev_0"),
    "f_act": node("activation_sigm", "f"),
    "g": node("linear", "x", "h_prev_0"),
    "g_act": node("activation_tanh", "g"),
    "o": node("linear", "x", "h_prev_0"),
    "o_act": node("activation_sigm", "o"),
    "kept": node("elementwise_prod", "f_act", "h_prev_1"),
    "new": node("elementwise_prod", "i_act", "g_act"),
    "h_new_1": node("elementwise_sum", "kept", "new"),
    "c_act": node("activation_tanh", "h_new_1"),
    "h_new_0": node("elementwise_prod", "c_act", "o_act"),
}


# The benchmark -------------------------------------------------------------------------------


@pytest.mark.needs(FILE)
def test_recipes_and_parameters_are_the_benchmarks():
    frame = pd.read_csv(sources.path(FILE))
    assert len(SPACE) == len(frame) == 14_322
    for index in range(0, len(SPACE), 7):
        arch = SPACE[index]
        assert arch == SPACE.parse(arch) == json.loads(frame["recepie"][index])
        assert SPACE.parameters(arch) == frame["num_params"][index]
        assert SPACE.index(arch) == SPACE.index(SPACE.text(arch)) == index


@pytest.mark.needs(FILE)
def test_a_recipe_that_the_benchmark_lacks_has_no_index():
    with pytest.raises(ValueError, match="not among the benchmark's 14,322 recipes"):
        SPACE.index(RNN | {"g": node("activation_tanh", "f")})


def test_space_by_name():
    assert isinstance(spaces.get("nasbench_nlp"), nasbench_nlp.NASBenchNLP)


# Recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("{", "not JSON"),
        ([], "not a recipe"),
        ({}, "not a recipe"),
        (None, "not a recipe: None"),
        (math.nan, "not a recipe: nan"),
        (np.zeros((3, 3)), "not a recipe: array"),
        ("[NaN]", "not a recipe"),
        ({"h_new_0": "tanh"}, "node 'h_new_0' is 'tanh'"),
        ({"h_new_0": {"op": "blend"}}, "node 'h_new_0' is"),
        ({"h_new_0": {"op": "blend", "input": "xyz"}}, "node 'h_new_0' is"),
        ({"h_new_0": {"op": 0, "input": ["x"]}}, "node 'h_new_0' is"),
        ({"h_new_0": {"op": "linear", "input": ["x", 0.5]}}, "node 'h_new_0' is"),
        ({0: node("linear", "x", "x")}, "node 0 is"),
        ('{"h_new_0": NaN}', "node 'h_new_0' is nan"),
        ('{"h_new_0": {"op": "linear", "input": ["x", null]}}', "node 'h_new_0' is"),
        ('{"f": 1, "f": 2}', "the recipe has 2 entries 'f'"),
        ({"f": node("linear", "x", "x"), "h_new_00": RNN["h_new_0"]}, "no node 'h_new_0'"),
        ({"f": node("linear", "x", "x"), "h_new_٠": RNN["h_new_0"]}, "no node 'h_new_0'"),
        (RNN | {"g": node("activation_tanh", "h_prev_00")}, "unknown node 'h_prev_00'$"),
        (RNN | {"g": node("activation_tanh", f"h_prev_{'9' * 5000}")}, "unknown node 'h_prev_9"),
        (
            RNN | {"g": node("relu", "f")},
            "unknown operation 'relu' of node 'g'; the known ones are linear",
        ),
        (RNN | {"g": node("activation_tanh", "q")}, "'g' reads an unknown node 'q'"),
        (
            RNN | {"g": node("activation_tanh", "h_prev_1")},
            "unknown node 'h_prev_1': there is no node 'h_new_1'",
        ),
        (RNN | {"g": node("linear", "f")}, "'g': linear takes 2 or 3 inputs, not 1"),
        (RNN | {"g": node("blend", "f", "f")}, "'g': blend takes 3 inputs, not 2"),
        (RNN | {"g": node("elementwise_sum", "f", "x")}, "'g': only linear reads 'x'"),
        (RNN | {"x": node("activation_tanh", "f")}, "'x' is an input"),
        (RNN | {"h_prev_0": node("activation_tanh", "f")}, "'h_prev_0' is an input"),
        ({"f": node("linear", "x", "x")}, "no node 'h_new_0'"),
        (RNN | {"h_new_2": node("activation_tanh", "f")}, "no node 'h_new_1'"),
        (RNN | {f"h_new_{i}": node("activation_tanh", "f") for i in (1, 2, 3)}, "4 hidden states"),
        (RNN | {f"n{i}": node("activation_tanh", "f") for i in range(23)}, "25 nodes; at most 24"),
        (
            RNN | {"a": node("activation_tanh", "b"), "b": node("activation_sigm", "a")},
            "cyclic: 'a', 'b' wait for each other",
        ),
    ],
)
def test_parse_names_what_is_wrong(arch, message):
    for call in (SPACE.parse, SPACE.key, SPACE.build):
        with pytest.raises(ValueError, match=message) as caught:
            call(arch)
        assert "\n" not in str(caught.value)


@given(RECIPES)
def test_generated_recipes_keep_the_benchmarks_rules(arch):
    assert SPACE.parse(SPACE.text(arch)) == arch
    states = [name for name in arch if name.startswith("h_new_")]
    used = {name for what in arch.values() for name in what["input"]}
    assert 1 <= len(states) <= 3 and len(arch) <= 24
    assert {"x", *(f"h_prev_{i}" for i in range(len(states)))} <= used
    assert set(arch) <= {*used, *states}
    assert all(not name.startswith("h_prev") for state in states for name in arch[state]["input"])


def test_generator_draws_all_that_there_is():
    rng = np.random.default_rng(0)
    archs = [SPACE.generate(rng) for _ in range(300)]
    operations = {what["op"] for arch in archs for what in arch.values()}
    assert operations == set(nasbench_nlp_recipes.OPERATIONS)
    assert {nasbench_nlp_recipes.n_states(arch) for arch in archs} == {1, 2, 3}
    assert SPACE.generate(np.random.default_rng(4)) == SPACE.generate(np.random.default_rng(4))


@given(RECIPES, SEEDS)
def test_a_mutant_is_valid_and_differs_in_one_node(arch, seed):
    mutant = SPACE.mutate(arch, np.random.default_rng(seed))
    assert SPACE.parse(mutant) == mutant and set(mutant) <= set(arch)
    (changed,) = [name for name in mutant if mutant[name] != arch[name]] or [None]
    if changed is not None:
        before, after = arch[changed], mutant[changed]
        places = [a != b for a, b in zip(before["input"], after["input"], strict=True)]
        assert (before["op"] != after["op"]) + sum(places) == 1


@pytest.mark.parametrize("arch", [RNN, GRU, LSTM])
def test_every_cell_has_neighbours(arch):
    mutants = {SPACE.text(SPACE.mutate(arch, np.random.default_rng(i))) for i in range(20)}
    assert len(mutants) > 1


# Keys ----------------------------------------------------------------------------------------


def rewritten(arch, rng):
    """Write the same cell otherwise: other names and order, swapped inputs, a copy, dead nodes."""
    states = nasbench_nlp_recipes.n_states(arch)
    order = [0, *(1 + rng.permutation(states - 1))]
    names = {"x": "x"} | {f"node {i}": f"node {i}" for i in range(3)}
    names |= {name: f"n{i}" for i, name in enumerate(rng.permutation(list(arch)))}
    for old, new in enumerate(order):
        names |= {f"h_new_{old}": f"h_new_{new}", f"h_prev_{old}": f"h_prev_{new}"}
    twin = {}
    for name in rng.permutation(list(arch)):
        operands = [names[i] for i in arch[name]["input"]]
        if arch[name]["op"] in ("linear", "elementwise_sum", "elementwise_prod"):
            operands = list(rng.permutation(operands))
        twin[names[name]] = node(arch[name]["op"], *map(str, operands))
    if len(twin) < 24:
        twin["dead"] = node("activation_tanh", "h_new_0")
    return twin


@given(RECIPES, SEEDS)
def test_equal_functions_have_equal_keys_and_outputs(arch, seed):
    twin = rewritten(arch, np.random.default_rng(seed))
    x = inputs.batch("random_tokens", 4).x[:6]
    assert SPACE.key(twin) == SPACE.key(arch)
    np.testing.assert_array_equal(
        SPACE.outputs(arch, x, (1e-3, 0.1)), SPACE.outputs(twin, x, (1e-3, 0.1))
    )


@given(RECIPES, SEEDS)
@sweep(50)
def test_key_evaluates_to_the_cells_output(arch, seed):
    """The key, read as a program of numbers, gives what the recipe gives, over several steps."""
    functions = {
        "linear": lambda *v: 0.3 + 0.7 * sum(v),
        "blend": lambda a, b, c: a * b + (1 - a) * c,
        "prod": lambda a, b: a * b,
        "sum": lambda a, b: a + b,
        "tanh": math.tanh,
        "sigm": lambda v: 1 / (1 + math.exp(-v)),
        "leaky_relu": lambda v: max(v, 0.01 * v),
    }
    lines = [line.split("=") for line in SPACE.key(arch).split("; ")]
    old = {f"h_prev_{i}": 0.2 for i in range(3)}
    state = {f"h{i}": 0.2 for i in range(3)}
    for x in np.random.default_rng(seed).normal(size=4):
        values = old | {"x": x}
        while not set(arch) <= set(values):
            for name, what in arch.items():
                if name not in values and set(what["input"]) <= set(values):
                    short = what["op"].removeprefix("activation_").removeprefix("elementwise_")
                    values[name] = functions[short](*(values[i] for i in what["input"]))
        known = functions | state | {"x": x}
        new = {}
        for name, formula in lines:
            (new if name in state else known)[name] = eval(formula, known)
        state |= new
        old = {f"h_prev_{i}": values.get(f"h_new_{i}", 0) for i in range(3)}
        assert state["h0"] == pytest.approx(old["h_prev_0"], rel=1e-9)


def test_other_functions_have_other_keys():
    changed = [
        RNN | {"h_new_0": node("activation_sigm", "f")},
        RNN | {"f": node("linear", "x", "h_prev_0", "h_prev_0")},
        GRU,
        GRU | {"h_new_0": node("blend", "z_act", "h_act", "h_prev_0")},
        LSTM,
        LSTM | {"h_new_1": node("elementwise_prod", "kept", "new")},
    ]
    assert len({SPACE.key(arch) for arch in (RNN, *changed)}) == 7


# The full-width network ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "kind", "gates"),
    [(RNN, nn.RNN, ["f"]), (GRU, nn.GRU, ["r", "z", "h"]), (LSTM, nn.LSTM, ["i", "f", "g", "o"])],
)
def test_known_cells_equal_torch_s(arch, kind, gates):
    """Every layer, with random weights, is torch's; the GRU for zero initial state and biases."""
    layer = nasbench_nlp.Layer(arch, 400, 600)
    theirs = kind(400, 600)
    with torch.no_grad():
        nodes = [node for node in layer.order if arch[node]["op"] == "linear"]
        linear = [layer.linear[nodes.index(gate)] for gate in gates]
        theirs.weight_ih_l0.copy_(torch.cat([module.weights[0] for module in linear]))
        theirs.weight_hh_l0.copy_(torch.cat([module.weights[1] for module in linear]))
        theirs.bias_ih_l0.copy_(torch.cat([module.bias for module in linear]))
        theirs.bias_hh_l0.zero_()
        x = torch.randn(9, 4, 400, generator=torch.Generator().manual_seed(0))
        if arch is GRU:  # torch multiplies by r after the matrix; equal where that commutes
            hidden = torch.diag(torch.linspace(-1, 1, 600))
            theirs.weight_hh_l0[1200:].copy_(hidden)
            linear[gates.index("h")].weights[1].copy_(hidden)
        torch.testing.assert_close(layer(x), theirs(x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", [RNN, GRU, LSTM])
def test_parameters_are_those_of_the_network(arch):
    network = SPACE.build(arch)
    trained = sum(p.numel() for p in network.parameters())
    initial = sum(layer.initial.numel() for layer in network.layers)
    assert SPACE.parameters(arch) == trained - initial + 10_000  # the decoder's biases


def test_embedding_is_the_papers_and_draws_nothing_else():
    torch.manual_seed(21)
    expected = torch.empty(10_000, 400).uniform_(0, 1)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert torch.equal(nasbench_nlp._embedding("uniform positive 1"), expected)
    assert torch.equal(torch.get_rng_state(), state)
    network = SPACE.build(RNN)
    initialise.constant_(network, 0.5)
    assert torch.equal(network.embedding.weight, expected)
    others = [p for name, p in network.named_parameters() if not name.startswith("embedding")]
    assert len(others) == 12 and all((p == 0.5).all() for p in others)
    with pytest.raises(ValueError, match="unknown embedding 'zeros'; the known ones are uniform"):
        nasbench_nlp.NASBenchNLP("zeros")


def test_more_units_than_one():
    x = torch.zeros(3, 2, dtype=torch.int64)
    assert SPACE.build(RNN)(x).shape == (3, 2)
    assert SPACE.build(RNN, num_classes=5)(x).shape == (3, 2, 5)


# The width collapse --------------------------------------------------------------------------


def tokens(seed, steps, columns):
    return np.random.default_rng(seed).integers(0, 10_000, (steps, columns))


def random_archs(count):
    """Half from the benchmark, where it is at hand, and half drawn."""
    rng = np.random.default_rng(1)
    archs = [SPACE.generate(rng) for _ in range(count)]
    if sources.available(FILE):
        archs[::2] = [SPACE[int(i)] for i in rng.integers(0, len(SPACE), len(archs[::2]))]
    return archs


@pytest.mark.slow
def test_collapse_equals_full_width():
    """Outputs agree in both precisions, and scores where rounding does not decide them."""
    x, weights = tokens(0, 2, 12), (1e-5, 1e-3, 0.1)
    compared = dict.fromkeys(("float32", "float64"), 0)
    for arch in random_archs(40):
        network = SPACE.build(arch)
        for dtype in compared:
            network.to(getattr(torch, dtype))
            full = metric.outputs(network, torch.from_numpy(x), weights)
            collapsed = SPACE.outputs(arch, x, weights, dtype)
            assert collapsed.shape == (3, 24) and collapsed.dtype == full.dtype == dtype
            assert_close(arch, x, weights, full, collapsed)
            for pair in ([0, 1], [0, 2], [1, 2]):
                compared[dtype] += compare_scores(full[pair], collapsed[pair])
    assert compared["float32"] > 30 and compared["float64"] > 40, compared  # of 120


def assert_close(arch, x, weights, full, collapsed):
    """Compare outputs: each is within the rounding errors of one evaluation, see `error_bound`."""
    for weight, one, other in zip(weights, full, collapsed, strict=True):
        bound = error_bound(arch, x, weight, full.dtype)
        known = np.isfinite(bound)  # nothing overflows
        assert np.isfinite(one[known]).all() and np.isfinite(other[known]).all()
        off = np.abs(other[known].astype(float) - one[known])
        assert (off <= 2 * bound[known]).all(), SPACE.text(arch)


FUNCTIONS = {
    "activation_tanh": np.tanh,
    "activation_sigm": lambda a: 1 / (1 + np.exp(-a)),
    "activation_leaky_relu": lambda a: np.where(a > 0, a, recurrent.SLOPE * a),
}


def error_bound(recipe, x, weight, dtype):
    """Bound what rounding does to each output: a running error analysis, node by node.

    Higham, Accuracy and Stability of Numerical Algorithms (2002), Section 3.3. Each rounding of a
    number adds a unit of its largest possible size, and a sum of n products has at most n + 2, in
    any order; errors of the inputs pass as the operation lets them. So where a blend takes the
    difference of large numbers, the bound is as large as what it loses. Infinite where a number
    may overflow.
    """
    finfo, w = np.finfo(dtype), abs(weight)
    unit = finfo.eps / 2

    def passed(a, b):  # what the errors of two factors do to their product
        return abs(a[0]) * b[1] + abs(b[0]) * a[1] + a[1] * b[1]

    def rounded(*factors):
        return unit * np.prod([abs(value) + error for value, error in factors], axis=0)

    def evaluated(operation, inputs, sums):
        first = inputs[0]
        if operation == "linear":
            scales = [times * weight for times, _ in sums]
            parts = [(s * a[0], abs(s) * a[1]) for s, a in zip(scales, inputs, strict=True)]
            value, error = weight + sum(v for v, _ in parts), sum(e for _, e in parts)
            # All that is added up, the bias too, may be rounded with every product of a sum.
            roundings = max(n for _, n in sums) + 5
            error = error + roundings * sum(rounded(part) for part in (*parts, (weight, 0)))
        elif operation == "elementwise_sum":
            value = first[0] + inputs[1][0]
            error = sum(a[1] + rounded(a) for a in inputs)
        elif operation == "elementwise_prod":
            value, error = first[0] * inputs[1][0], passed(*inputs) + rounded(*inputs)
        elif operation == "blend":
            pairs = (first, inputs[1]), ((1 - first[0], first[1]), inputs[2])
            value = sum(a[0] * b[0] for a, b in pairs)
            error = sum(passed(a, b) + 3 * rounded(a, b) for a, b in pairs)
        else:  # none of the functions ever falls; 8 units in the last place
            low, value, high = (FUNCTIONS[operation](first[0] + s * first[1]) for s in (-1, 0, 1))
            error = np.maximum(high - value, value - low)
            error = error + 8 * unit * np.maximum(abs(low), abs(high))
        error = error + finfo.tiny  # where numbers are smaller than that
        return value, np.where(abs(value) + error < finfo.max, error, np.inf)

    with np.errstate(all="ignore"):
        # The first layer reads one number, made of 400; each of the others what the last one wrote.
        series = [(sums, 0 * sums) for sums in nasbench_nlp._token_sums(SPACE.embedding)[x]]
        reading, order = (1, nasbench_nlp.EMBEDDING), nasbench_nlp_recipes.in_order(recipe)
        for units in nasbench_nlp.LAYERS:
            initial = np.full(x.shape[1], weight), np.full(x.shape[1], unit * w)
            nodes = {f"h_prev_{i}": initial for i in range(nasbench_nlp_recipes.n_states(recipe))}
            for step, nodes["x"] in enumerate(series):
                for node in order:
                    names = recipe[node]["input"]
                    sums = [reading if name == "x" else (units, units) for name in names]
                    inputs = [nodes[name] for name in names]
                    nodes[node] = evaluated(recipe[node]["op"], inputs, sums)
                series[step] = nodes["h_new_0"]
                for i in range(nasbench_nlp_recipes.n_states(recipe)):
                    nodes[f"h_prev_{i}"] = nodes[f"h_new_{i}"]
            reading = units, units
    return np.concatenate([error for _, error in series])


def compare_scores(full, collapsed):
    """Compare two scores; return whether there was something that rounding does not decide."""
    expected, score = metric.from_outputs(full), metric.from_outputs(collapsed)
    if not np.isfinite(full).all():
        return math.isnan(expected) and math.isnan(score)
    spread = np.ptp(full, axis=1)
    # How many representable numbers lie between the smallest and the largest output of a row.
    steps = (spread / np.spacing(np.abs(full).max(axis=1))).min()
    if steps > 100 or (full == 0).all(axis=1).any():
        assert np.isfinite(collapsed).all()
        np.testing.assert_array_equal(spread == 0, np.ptp(collapsed, axis=1) == 0)  # no score
    tolerance = 1e-9 if full.dtype == np.float64 else 1e-3
    with np.errstate(divide="ignore", invalid="ignore"):
        off = float((np.abs(full - collapsed).max(axis=1) / spread).max())
    if not 10 * off < tolerance:
        return False  # the outputs hardly differ from each other
    if (np.isnan(metric.normalise(full)) != np.isnan(metric.normalise(collapsed))).any():
        return False  # equal smallest outputs in one of them: which entries drop out is rounding
    assert score == pytest.approx(expected, rel=tolerance, abs=10 * off, nan_ok=True)
    return True


@given(RECIPES, WEIGHTS, WEIGHTS, st.integers(2, 4), st.integers(2, 5), SEEDS)
@example(drawn(7552), 1.0, 7.352744426651598e-05, 2, 5, 8190284)
# A blend that loses nearly all digits: 1 beside 1e14. Both evaluations are off alike.
@example(drawn(1711526146), 1.0, 0.0288967, 2, 5, 2335765382)
@example(drawn(1575564783), 1e-7, 1.0, 3, 4, 243960860)
@sweep(
    6,
    phases=(Phase.explicit, Phase.generate),  # shrinking would take minutes
    suppress_health_check=[HealthCheck.too_slow],
)
def test_collapse_equals_full_width_for_any_weights(arch, w1, w2, steps, columns, seed):
    x = tokens(seed, steps, columns)
    full = metric.outputs(SPACE.build(arch).double(), torch.from_numpy(x), (w1, w2))
    collapsed = SPACE.outputs(arch, x, (w1, w2), "float64")
    assert_close(arch, x, (w1, w2), full, collapsed)
    compare_scores(full, collapsed)


@pytest.mark.parametrize("embedding", nasbench_nlp.EMBEDDINGS)
def test_every_embedding_collapses(embedding):
    space, x = nasbench_nlp.NASBenchNLP(embedding), tokens(3, 4, 5)
    full = metric.outputs(space.build(GRU).double(), torch.from_numpy(x), (1e-3, 0.1))
    assert compare_scores(full, space.outputs(GRU, x, (1e-3, 0.1), "float64"))


def test_reference_epsilon():
    x = tokens(7, 20, 16)
    reference = metric.epsilon(SPACE.build(LSTM).double(), torch.from_numpy(x), (1e-5, 1e-3))
    assert SPACE.score(LSTM, x, dtype="float64") == pytest.approx(reference, rel=1e-9)
    assert SPACE.score(LSTM, torch.from_numpy(x)) == pytest.approx(reference, rel=1e-2)


def test_products_underflow_before_they_are_summed():
    """In float32, w * h vanishes although 600 * w * h does not."""
    deep = RNN | {
        "p": node("elementwise_prod", "h_prev_0", "h_prev_0"),
        "q": node("elementwise_prod", "p", "p"),
        "f": node("linear", "x", "q"),
    }
    x = tokens(0, 3, 4)
    weights = (1e-12, 1e-10)
    np.testing.assert_array_equal(
        np.unique(SPACE.outputs(deep, x, weights)[0]) > 0,
        np.unique(metric.outputs(SPACE.build(deep), torch.from_numpy(x), weights)[0]) > 0,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh_and_sigmoid_are_as_accurate_as_torch_s(dtype):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=20_000) * 10 ** rng.uniform(-30, 3, 20_000)).astype(dtype)
    x[:5] = [np.nan, np.inf, -700, 0, 30]
    exact = np.longdouble(x.astype(dtype))
    with np.errstate(over="ignore"):
        truths = [np.tanh(exact), 1 / (1 + np.exp(-exact))]
    with np.errstate(over="ignore"):
        exps = np.array([recurrent._exp(-float(v)) for v in x]).astype(dtype)
    ours = [
        np.array([recurrent._tanh(float(v)) for v in x]).astype(dtype),
        (1 / (1 + exps)).astype(dtype),
    ]
    for truth, our, torchs in zip(
        truths,
        ours,
        [torch.tanh(torch.from_numpy(x)), torch.sigmoid(torch.from_numpy(x))],
        strict=True,
    ):
        unit = np.spacing(np.maximum(np.abs(truth), np.finfo(dtype).tiny).astype(dtype))
        normal = np.abs(truth) > np.finfo(dtype).tiny * 10
        error = (np.abs(our - truth) / unit)[normal]
        theirs = (np.abs(torchs.numpy() - truth) / unit)[normal]
        assert np.nanmax(error) <= max(3, np.nanmax(theirs))
        np.testing.assert_array_equal(our[:5], torchs[:5].numpy())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4, dtype=torch.int64), r"shape \(time, batch\)"),
        (torch.zeros(2, 3, 8, 8), r"shape \(time, batch\)"),
        (torch.zeros(0, 3, dtype=torch.int64), "not empty"),
        (torch.zeros(2, 3), "integers, not float32"),
        (np.array([[0, 10_000]]), "token 10000 is not in the vocabulary"),
        (np.array([[-1, 5]]), "token -1 is not in the vocabulary"),
    ],
)
def test_wrong_tokens_are_named(x, message):
    with pytest.raises(ValueError, match=message):
        SPACE.outputs(RNN, x, (1e-5, 1e-3))


def test_wrong_number_of_weights():
    with pytest.raises(ValueError, match="two weights, not 3"):
        SPACE.score(RNN, tokens(0, 2, 2), (1, 2, 3))


@pytest.mark.needs(FILE)
def test_passing_over_outputs_that_overflow_changes_no_other_score():
    """What Table 7's page computes as the authors do: equal to epsilon where all is finite."""
    archs, batch = range(0, 14_000, 140), inputs.batch("random_tokens", 4)
    weights = (1e-5, 1e-3, 1.0)
    lenient = cross_checks.lenient(SPACE, batch, weights, archs, n_jobs=1)
    assert list(lenient) == ["1e-05,0.001", "1e-05,1", "0.001,1"]
    assert list(lenient.index) == list(archs)
    lenient, strict, finite = lenient.to_numpy(), [], []
    for index in archs:
        rows = SPACE.outputs(SPACE[index], batch.x, weights)
        pairs = [rows[[0, 1]], rows[[0, 2]], rows[[1, 2]]]
        strict.append([metric.from_outputs(pair) for pair in pairs])
        finite.append([np.isfinite(pair).all() for pair in pairs])
    np.testing.assert_allclose(lenient[finite], np.array(strict)[finite], rtol=1e-4, atol=1e-6)
    only = ~np.isnan(lenient) & np.isnan(strict)
    assert only.any() and not (np.isnan(lenient) & ~np.isnan(strict)).any()
