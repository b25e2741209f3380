"""Extended range: equal to float64 where that holds out, to a slow evaluation where it does not."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep import sweep

from epsutil import inputs, metric, scoring, spaces
from epsutil.collapse import cells, scaled
from epsutil.collapse.norms import ScaledNorms
from epsutil.spaces import nasbench101, nasbench201

NAMES = ("nasbench101", "nasbench201")
NUMBERS = st.integers(0, 2**32 - 1)
EXTENDED = "extended"
SMALLEST = np.finfo(np.float64).tiny
LONG_RANGE = np.finfo(np.longdouble).minexp < -16000  # elsewhere it is float64


def images(seed, batch, size=8):
    return np.random.default_rng(seed).normal(size=(batch, 3, size, size))


def architecture(name, number):
    space = spaces.get(name)
    return space, space[number % len(space)]


# Against float64 -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@given(NUMBERS, st.floats(-7, 1), st.floats(-7, 1), st.integers(2, 9))
@sweep(60, deadline=None)
def test_equal_to_float64_where_that_scores(name, number, exponent1, exponent2, batch):
    space, arch = architecture(name, number)
    x, weights = images(number, batch), (10**exponent1, 10**exponent2)
    double = space.outputs(arch, x, weights, "float64")
    extended = metric.from_outputs(space.outputs(arch, x, weights, EXTENDED))
    expected = metric.from_outputs(double)
    if not math.isnan(expected) and np.abs(double).max(axis=1).min() > SMALLEST * 1e30:
        assert extended == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_float64s_times_a_power_of_two(name):
    space, arch = architecture(name, 1462)
    double, extended = (
        space.outputs(arch, images(0, 6), (1e-3, 0.1, 1.0), d) for d in ("float64", EXTENDED)
    )
    largest = np.abs(extended).max(axis=1)
    factors = largest / np.abs(double).max(axis=1)
    np.testing.assert_array_equal(np.frexp(factors)[0], 0.5)
    np.testing.assert_array_equal(extended, double * factors[:, None])
    assert ((largest >= 0.5) & (largest < 1)).all()


# Against long doubles, whose range is 10 to the power of plus and minus 4900 -----------------


def normalised(x, w, channels):
    x = x * channels
    return (x - x.mean()) / np.sqrt(x.var() + np.longdouble("1e-5")) * w


def positive(x):
    return np.maximum(x, 0)


def windows(x, outside, stride=1):
    """Return the nine numbers of each 3 x 3 neighbourhood: [9, B, H, W]."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=outside)
    height, width = x.shape[1:]
    return np.stack([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)])[
        :, :, ::stride, ::stride
    ]


def pairs(x):
    """Return the four numbers of each disjoint 2 x 2 square."""
    return np.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])


def cell_201(arch, x, w, channels):
    count = windows(np.ones_like(x), 0).sum(0)
    operations = {
        "none": np.zeros_like,
        "skip_connect": lambda h: h,
        "avg_pool_3x3": lambda h: windows(h, 0).sum(0) / count,
        "nor_conv_1x1": lambda h: normalised(w * positive(h), w, channels),
        "nor_conv_3x3": lambda h: normalised(w * windows(positive(h), 0).sum(0), w, channels),
    }
    nodes = [x]
    for node in arch.split("+"):
        edges = [edge.split("~") for edge in node.strip("|").split("|")]
        nodes.append(sum(operations[name](nodes[int(source)]) for name, source in edges))
    return nodes[-1]


def slow_201(arch, colours, w):
    h = normalised(w * windows(colours, 0).sum(0), w, 1)
    for channels in nasbench201.STAGES:
        if channels > 16:
            half = channels // 2
            wide = normalised(w * windows(positive(h), 0, 2).sum(0), w, half)
            wide = normalised(w * windows(positive(wide), 0).sum(0), w, channels)
            h = wide + pairs(h).mean(0) * w * half
        for _ in range(5):
            h = cell_201(arch, h, w, channels)
    return (positive(normalised(h, w, 1)) * w * 64).mean((1, 2))


def slow_101(arch, colours, w):
    matrix, operations = arch
    last = len(operations) - 1
    groups = [(128, positive(normalised(w * windows(colours, 0).sum(0), w, 1)))]
    for stack, of_stack in enumerate(nasbench101._cells(arch)):
        for place, cell in enumerate(of_stack):
            if stack and not place:
                groups = [(n, pairs(h).max(0)) for n, h in groups]
            projection = positive(normalised(sum(n * (w * h) for n, h in groups), w, 1))
            known = [projection]
            for vertex in range(1, last):
                h = sum(known[v] for v in range(vertex) if matrix[v][vertex])
                if operations[vertex] == "maxpool3x3":
                    known.append(windows(h, 0).max(0))
                else:
                    summed = windows(h, 0).sum(0) if "3x3" in operations[vertex] else h
                    known.append(positive(normalised(w * summed, w, cell.channels[vertex])))
            residual = projection if matrix[0][last] else 0
            groups = [(cell.channels[v], known[v] + residual) for v in cell.ends]
            groups = groups or [(cell.channels[-1], projection)]
    return sum(n * w * h.mean((1, 2)) for n, h in groups)


SLOW = {"nasbench101": slow_101, "nasbench201": slow_201}


def check(name, arch, x, weights):
    """Compare the rows as epsilon does: scores alone are about 0 for any two tiny weights."""
    colours = x.astype(np.longdouble).sum(1)
    slow = np.stack([SLOW[name](arch, colours, np.longdouble(w)) for w in weights])
    found = spaces.get(name).outputs(arch, x, weights, EXTENDED)
    rows, expected = (np.nan_to_num(metric.normalise(each).astype(float)) for each in (found, slow))
    np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.skipif(not LONG_RANGE, reason="long doubles are no longer than float64 here")
@pytest.mark.parametrize("name", NAMES)
@given(NUMBERS, st.floats(-30, 20), st.floats(-30, 20), st.integers(2, 6))
@sweep(40, deadline=None)
def test_equal_to_long_doubles_at_any_weight(name, number, exponent1, exponent2, batch):
    space, arch = architecture(name, number)
    x, weights = images(number, batch, 4 + 4 * (number % 2)), (10**exponent1, 10**exponent2)
    check(name, arch, x, weights)


@pytest.mark.skipif(not LONG_RANGE, reason="long doubles are no longer than float64 here")
@pytest.mark.parametrize(
    "arch",
    [
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|nor_conv_3x3~2|",
        # adds up branches that are both far below float64's range, one of them by far more
        "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|none~0|nor_conv_1x1~1|skip_connect~2|",
        "|nor_conv_1x1~0|+|none~0|nor_conv_3x3~1|+|none~0|skip_connect~1|skip_connect~2|",
    ],
)
def test_scores_where_float64_has_none(arch):
    space = spaces.get("nasbench201")
    x, weights = images(1, 8), (1e-20, 1e-15)
    assert math.isnan(space.score(arch, x, weights, "float64"))
    assert not math.isnan(space.score(arch, x, weights, EXTENDED))
    check("nasbench201", arch, x, weights)


def test_dead_architectures_still_have_no_score():
    space = spaces.get("nasbench201")
    dead = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert math.isnan(space.score(dead, images(0, 4), (1e-7, 1.0), EXTENDED))
    alive = space.score(space[0], np.repeat(images(0, 1), 4, 0) * 0, (1e-7, 1.0), EXTENDED)
    assert math.isnan(alive)


# The arithmetic ------------------------------------------------------------------------------


def added(first, second, exponents):
    """Add two maps of some powers of two; return the sum and its power of two."""
    kept = np.stack([first, second, np.empty_like(first)])
    norms = ScaledNorms(3, 1.0, kept.dtype)
    for slot, exponent in enumerate(exponents):
        norms.common = exponent
        norms.keep(slot)
    sources = np.array([0, 1])
    cells.total(kept, sources, 2, norms.reading(sources))
    norms.keep(2)
    return kept[2], int(norms.exponents[2])


@given(st.integers(-3000, 3000), st.integers(-3000, 3000), st.integers(0, 99))
@sweep(50, deadline=None)
@pytest.mark.skipif(not LONG_RANGE, reason="long doubles are no longer than float64 here")
def test_a_sum_is_that_of_the_larger_scale(first, second, seed):
    maps = np.random.default_rng(seed).normal(size=(2, 2, 2, 3))
    total, exponent = added(*maps, (first, second))
    scales = np.ldexp(np.longdouble(1), [first, second])
    exact = (maps.astype(np.longdouble) * scales[:, None, None, None]).sum(0)
    found = np.ldexp(total.astype(np.longdouble), exponent)
    np.testing.assert_allclose((found / exact).astype(float), 1, rtol=1e-12)


def test_zeros_do_not_decide_the_scale_of_a_sum():
    zeros = scaled.batch_norm(scaled.Map(np.ones((2, 2, 3)), 5000), 1.0)
    small = np.full((2, 2, 3), 0.75)
    total, exponent = added(zeros.values, small, (zeros.exponent, -5000))
    assert (total == 0.75).all() and exponent == -5000


# The doors -----------------------------------------------------------------------------------


def test_it_is_stored_apart_from_other_precisions(tmp_path):
    batch = inputs.batch("normal", 8, 1, 8)
    archs = [3, 5, 1462]
    frame = scoring.score(
        "nasbench201", batch, (1e-7, 1.0), archs, EXTENDED, n_jobs=1, folder=tmp_path
    )
    (path,) = tmp_path.iterdir()
    assert f"-{EXTENDED}-" in path.name and frame.dtypes.eq("float64").all()
    space = spaces.get("nasbench201")
    expected = [space.score(space[i], batch.x, dtype=EXTENDED) for i in archs]
    np.testing.assert_array_equal(frame.iloc[:, 0], expected)


def test_a_space_without_it_says_so():
    batch = inputs.batch("random_tokens", 4, 1)
    with pytest.raises(ValueError, match="nasbench_nlp is not evaluated in 'extended', but in fl"):
        scoring.score("nasbench_nlp", batch, (1e-5, 1e-3), [0], EXTENDED, n_jobs=1)
