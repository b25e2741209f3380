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

from epsutil import benchmarks, cross_checks, inputs, metric, sources, spaces
from epsutil.collapse import maps

SPACE = spaces.get("nasbench_macro")
ARCHS = st.integers(0, len(SPACE) - 1).map(SPACE.__getitem__)
WEIGHTS = st.floats(-7, 1).map(lambda exponent: 10**exponent)
needs_file = pytest.mark.needs(benchmarks.MACRO)


def test_size_and_distinct_functions():
    archs = list(SPACE)
    assert len(set(archs)) == len(SPACE) == 6_561
    assert len({SPACE.key(arch) for arch in archs}) == 9 * 21 * 21
    assert (SPACE[0], SPACE[1], SPACE[3], SPACE[-1]) == (
        "00000000", "00000001", "00000010", "22222222",
    )  # fmt: skip


@needs_file
def test_sizes_are_the_benchmarks():
    records = json.loads(sources.path(benchmarks.MACRO).read_text("utf-8"))
    assert set(records) == set(SPACE)
    ours = {arch: (SPACE.parameters(arch), SPACE.flops(arch)) for arch in SPACE}
    assert ours == {arch: (record["params"], record["flops"]) for arch, record in records.items()}


@pytest.mark.parametrize("arch", ["00000000", "02012100", "22222222"])
def test_sizes_are_those_of_the_network(arch):
    network = SPACE.network(arch, 10)
    assert SPACE.parameters(arch) == sum(p.numel() for p in network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 20, 20))  # 20, 10, 5 and 3 pixels
    assert SPACE.flops(arch, image_size=20) * 2 == counter.get_total_flops()


@needs_file
def test_trained_results_are_in_the_spaces_order():
    frame = benchmarks.trained("nasbench_macro", "cifar10")
    runs = benchmarks.test_runs("cifar10", "nasbench_macro")
    assert frame["arch"].tolist() == SPACE[:]
    np.testing.assert_allclose(runs.mean(axis=1), frame["test_accuracy"], rtol=1e-12)
    # the example of the benchmark's file
    expected = [89.47000122070312, 88.94999694824219, 89.16999816894531]
    assert runs.loc[SPACE.index("02012100")].tolist() == expected


@given(ARCHS)
@sweep(50, deadline=None)
def test_index_parse_and_space_are_inverse(arch):
    assert SPACE[SPACE.index(f" {arch}\n")] == SPACE.parse(arch) == arch


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "eight digits"),
        ("0201210", "eight digits"),
        ("020121000", "eight digits"),
        ("02012103", "eight digits"),
        ("0201 210", "eight digits"),
        ("0201210\u0661", "eight digits"),  # another script's digit 1
        (2012100, "is a string, not int"),
        (None, "is a string"),
        (np.zeros((4, 4)), "is a string, not ndarray"),
    ],
)
def test_parse_names_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        SPACE.parse(text)
    assert "\n" not in str(caught.value)


@given(ARCHS, st.integers(0, 2**32 - 1))
@sweep(50, deadline=None)
def test_a_mutant_differs_at_one_place(arch, seed):
    mutant = SPACE.parse(SPACE.mutate(arch, np.random.default_rng(seed)))
    assert sum(a != b for a, b in zip(arch, mutant, strict=True)) == 1


@given(ARCHS, ARCHS)
@sweep(8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_equal_keys_are_the_same_network_also_with_random_weights(arch, other):
    """The key is a code itself; the same layers in the same order draw the same weights."""
    twin = SPACE.key(arch)
    assert SPACE.key(twin) == twin
    networks = []
    for code in (arch, twin, other):
        torch.manual_seed(0)
        networks.append(SPACE.build(code))
    x = images(0, 3, 8, torch.float32)
    first, second, third = (network(x) for network in networks)
    assert torch.equal(first, second)
    assert torch.equal(first, third) == (SPACE.key(other) == twin)


# The width collapse --------------------------------------------------------------------------


def images(seed: int, batch: int, size: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, size, size, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (8, 8)])
def test_window_sum_5x5_equals_torchs_convolution(size, stride, dtype):
    kernel = torch.ones(1, 1, 5, 5, dtype=getattr(torch, dtype))
    for w, x in zip((0.5, 2.0), np.random.default_rng(0).normal(size=(2, *size, 3)), strict=True):
        x = x.astype(dtype)
        one = torch.from_numpy(x).permute(2, 0, 1)[:, None].relu()
        expected = torch.nn.functional.conv2d(one, kernel * w, stride=stride, padding=2)
        expected = expected[:, 0].permute(1, 2, 0).numpy()
        summed = maps.window_sum(x, x.dtype.type(w), stride, size=5)
        np.testing.assert_allclose(summed, expected, rtol=1e-5, atol=1e-5)


# From 16 pixels on, four remain at the end: a few that the stem rectifies all, in all images, would
# leave nothing but the rounding errors of the full width.
@given(ARCHS, WEIGHTS, WEIGHTS, st.integers(5, 9), st.sampled_from([16, 20]), st.integers(0, 99))
@sweep(8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_collapse_equals_full_width_in_float64(arch, w1, w2, batch, size, seed):
    x = images(seed, batch, size, torch.float64)
    full = metric.outputs(SPACE.build(arch).double(), x, (w1, w2))
    collapsed = SPACE.outputs(arch, x, (w1, w2))
    for one, other in zip(collapsed, full, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=np.abs(other).max() * 1e-12)


def test_scores_and_their_absences_agree_in_both_precisions():
    batch = inputs.batch("normal", 16, 0, 16)
    rows = cross_checks.compare("nasbench_macro", batch, 8, seed=0, exponents=(-7, 1))
    summary = cross_checks.summary(rows)
    assert (summary["outside"] == 0).all()
    assert (summary["unscored_differ"] == summary["at_limit"]).all()


def test_one_image_has_no_score():
    assert math.isnan(SPACE.score("11111111", images(0, 1, 8, torch.float32)))
