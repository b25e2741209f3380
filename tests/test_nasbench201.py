"""The space's facts, and the width collapse against full-width networks."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sweep import sweep
from torch.utils.flop_counter import FlopCounterMode

from epsutil import metric, sources, spaces
from epsutil.collapse import norms
from epsutil.spaces.nasbench201 import EDGES, AveragePool

SPACE = spaces.get("nasbench201")
ARCHS = st.integers(0, len(SPACE) - 1).map(SPACE.__getitem__)
WEIGHTS = st.floats(-7, 1).map(lambda exponent: 10**exponent)


# The space -----------------------------------------------------------------------------------


def test_known_architectures():
    # asserted in the benchmark's own generator
    assert SPACE[0] == (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
        "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    assert SPACE[9] == "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


def test_size_and_distinct_functions():
    archs = [SPACE[i] for i in range(len(SPACE))]
    assert len(set(archs)) == len(SPACE) == 15_625
    assert len({SPACE.key(arch) for arch in archs}) == 4_930


@pytest.mark.needs("nas-bench-201/nats_bench.csv")
def test_indices_are_the_benchmarks():
    strings = pd.read_csv(sources.path("nas-bench-201/nats_bench.csv"))["ArchitectureString"]
    assert strings.tolist() == [SPACE[i] for i in range(len(SPACE))]


@given(ARCHS)
def test_index_parse_and_space_are_inverse(arch):
    assert SPACE[SPACE.index(f" {arch}\n")] == SPACE.parse(arch) == arch


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not an architecture"),
        ("|none~0|+|none~0|none~1|", "not an architecture"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|x", "not an architecture"),
        ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "out of order"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|conv~2|", "unknown operation 'conv' on edge 2"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2.5|", "not an architecture"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~-2|", "not an architecture"),
        ("|none~00|+|none~0|none~1|+|none~0|none~1|none~2|", "not an architecture"),
        ("|None~0|+|none~0|none~1|+|none~0|none~1|none~2|", "unknown operation 'None' on edge 0"),
        ("|~0|+|none~0|none~1|+|none~0|none~1|none~2|", "unknown operation '' on edge 0"),
        ("|1~0|+|none~0|none~1|+|none~0|none~1|none~2|", "unknown operation '1' on edge 0"),
        ("|none~0| + |none~0|none~1| + |none~0|none~1|none~2|", "not an architecture"),
        (None, "is a string"),
        (math.nan, "is a string, not float: nan"),
        (3, "is a string, not int: 3"),
        (b"|none~0|", "is a string, not bytes"),
        (["|none~0|"], "is a string, not list"),
        (np.zeros((4, 4)), "is a string, not ndarray"),
    ],
)
def test_parse_names_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        SPACE.parse(text)
    assert "\n" not in str(caught.value)


def test_unknown_space():
    with pytest.raises(ValueError, match="'nasbench'; the known ones are nasbench101, nasbench201"):
        spaces.get("nasbench")


@given(ARCHS, st.integers(0, 2**32 - 1))
def test_a_mutant_differs_on_one_edge(arch, seed):
    mutant = SPACE.parse(SPACE.mutate(arch, np.random.default_rng(seed)))
    pairs = zip(arch.replace("+", "").split("|"), mutant.replace("+", "").split("|"), strict=True)
    assert sum(a != b for a, b in pairs) == 1


@pytest.mark.parametrize("index", [0, 9, 123, 1462, 15624])
def test_sizes_are_those_of_the_network(index):
    network = SPACE.build(SPACE[index], num_classes=10)
    assert SPACE.parameters(SPACE[index]) == sum(p.numel() for p in network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 16, 16))
    assert SPACE.flops(SPACE[index], image_size=16) * 2 == counter.get_total_flops()


@given(st.integers(1, 20), st.integers(2, 9), st.sampled_from([torch.float32, torch.float64]))
@sweep(20)
def test_average_pool_equals_torchs_bit_for_bit(channels, size, dtype):
    """Forward, backward, twice differentiated, and image by image under vmap."""

    def loss(x: torch.Tensor, pool: torch.nn.Module) -> torch.Tensor:
        return pool(pool(x).pow(3)).mul(x).sum()

    x = torch.randn(
        4, channels, size, size, dtype=dtype, generator=torch.Generator().manual_seed(size)
    )
    x.requires_grad_()
    results = []
    for pool in (
        AveragePool(),
        torch.nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    ):
        (first,) = torch.autograd.grad(loss(x, pool), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        each = torch.func.vmap(torch.func.grad(lambda image, p=pool: loss(image[None], p)))
        results.append((pool(x), first, second, each(x)))
    for ours, torchs in zip(*results, strict=True):
        assert torch.equal(ours, torchs)


# Keys ----------------------------------------------------------------------------------------


@given(ARCHS)
def test_key_evaluates_to_the_cells_output(arch):
    """The key, read as a formula of numbers, gives what the cell's edges give."""
    functions = {
        "conv1": lambda v: math.tanh(2 * max(v, 0)),
        "conv3": lambda v: math.tanh(3 * max(v, 0)),
        "pool": lambda v: v / 7,
    }
    edge = {
        "none": lambda v: 0,
        "skip_connect": lambda v: v,
        "nor_conv_1x1": functions["conv1"],
        "nor_conv_3x3": functions["conv3"],
        "avg_pool_3x3": functions["pool"],
    }
    operations = [field.split("~")[0] for field in arch.replace("+", "").split("|") if field]
    nodes = [0.7, 0.0, 0.0, 0.0]
    for operation, (target, source) in zip(operations, EDGES, strict=True):
        nodes[target] += edge[operation](nodes[source])
    assert eval(SPACE.key(arch), functions | {"x": 0.7}) == pytest.approx(nodes[3])


@given(ARCHS, st.data())
@sweep(20)
def test_equal_keys_give_equal_scores(arch, data):
    x = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype("float32")
    twins = TWINS[SPACE.key(arch)]
    twin = SPACE[data.draw(st.sampled_from(twins))]
    np.testing.assert_equal(SPACE.score(arch, x), SPACE.score(twin, x))


TWINS: dict[str, list[int]] = {}
for _index in range(len(SPACE)):
    TWINS.setdefault(SPACE.key(SPACE[_index]), []).append(_index)


# The width collapse --------------------------------------------------------------------------


def images(seed: int, batch: int, size: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, size, size, generator=generator).to(dtype)


@given(ARCHS, WEIGHTS, WEIGHTS, st.integers(2, 9), st.sampled_from([4, 8, 12]), st.integers(0, 99))
@sweep(25, suppress_health_check=[HealthCheck.too_slow])
def test_collapse_equals_full_width_in_float64(arch, w1, w2, batch, size, seed):
    x = images(seed, batch, size, torch.float64)
    full = metric.outputs(SPACE.build(arch).double(), x, (w1, w2))
    collapsed = SPACE.outputs(arch, x, (w1, w2))
    np.testing.assert_allclose(collapsed, full, rtol=1e-9, atol=np.abs(full).max() * 1e-12)
    assert SPACE.score(arch, x, (w1, w2)) == pytest.approx(
        metric.from_outputs(full), abs=1e-9, nan_ok=True
    )


@given(ARCHS, WEIGHTS, WEIGHTS, st.integers(2, 9), st.sampled_from([4, 8, 12]), st.integers(0, 99))
@sweep(40, suppress_health_check=[HealthCheck.too_slow])
def test_collapse_equals_full_width_in_float32(arch, w1, w2, batch, size, seed):
    """Scores agree, and so do their absences, unless float32 has hardly a bit left to decide."""
    x = images(seed, batch, size, torch.float32)
    outputs = metric.outputs(SPACE.build(arch), x, (w1, w2))
    full, collapsed = metric.from_outputs(outputs), SPACE.score(arch, x, (w1, w2))
    # How many representable numbers lie between the smallest and the largest output.
    steps = float((np.ptp(outputs, axis=1) / np.spacing(np.abs(outputs).max(axis=1))).min())
    if steps > 1e5:  # the wide network may be farther from float64 than the collapse is
        rounding = np.nan_to_num(abs(full - SPACE.score(arch, x.double(), (w1, w2))))
        assert collapsed == pytest.approx(full, rel=1e-4, abs=1e-5 + 2 * rounding, nan_ok=True)
    elif steps == 0 and (outputs == 0).all(axis=1).any():
        # Some convolutions of torch turn subnormal numbers, which the collapse may keep, into 0.
        rows = np.abs(SPACE.outputs(arch, x, (w1, w2))).max(axis=1)
        near_subnormal = ((rows > 0) & (rows < 1e6 * np.finfo(np.float32).tiny)).any()
        assert math.isnan(full) and (math.isnan(collapsed) or near_subnormal)
    elif steps > 100:
        assert collapsed == pytest.approx(full, abs=20 / steps, nan_ok=True)


@given(ARCHS, st.sampled_from([1e-12, 1e-7, 1e-3]), st.sampled_from(["float32", "extended"]))
@sweep(40)
def test_maps_of_zeros_are_left_out_of_the_work_only(arch, weight, dtype):
    x = images(0, 8, 8, torch.float32)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(norms, "is_zero", lambda *_: False)
        everything = SPACE.outputs(arch, x, (weight,), dtype)
    np.testing.assert_array_equal(SPACE.outputs(arch, x, (weight,), dtype), everything)


def test_outputs_do_not_change_the_batch():
    x = images(0, 4, 8, torch.float32)
    before = x.clone()
    SPACE.outputs(SPACE[1], x, (1e-3, 1.0))
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 8, 8), "shape"),
        (torch.zeros(2, 1, 8, 8), "shape"),
        (torch.zeros(2, 3, 6, 8), "multiples of 4"),
        (torch.zeros(0, 3, 8, 8), "not empty"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "float32 or float64"),
        (torch.full((2, 3, 8, 8), torch.nan), "NaN"),
    ],
)
def test_wrong_images_are_named(x, message):
    with pytest.raises(ValueError, match=message):
        SPACE.outputs(SPACE[0], x, (1e-7, 1.0))


def test_dead_cells_have_no_score():
    dead = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    x = images(0, 4, 8, torch.float64)
    assert math.isnan(SPACE.score(dead, x)) and math.isnan(
        metric.epsilon(SPACE.build(dead).double(), x)
    )
    assert SPACE.key(dead) == "0"
