"""Epsilon on plain outputs and for any module."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from epsutil import initialise, metric

OUTPUTS = hnp.arrays(
    np.float64,
    st.tuples(st.just(2), st.integers(1, 30)),
    elements=st.one_of(
        st.sampled_from([0.0, 1.0, 2.0]), st.floats(-1e3, 1e3), st.just(math.nan), st.just(math.inf)
    ),
)


def by_the_book(outputs: np.ndarray) -> float:
    """Eqs 1-4 with loops, and with zeros dropped as the authors' code does."""
    rows = []
    for row in outputs:
        values = [float(v) for v in row]
        if any(not math.isfinite(v) for v in values) or max(values) == min(values):
            return math.nan
        scaled = [(v - min(values)) / (max(values) - min(values)) for v in values]
        rows.append([v if v != 0 else math.nan for v in scaled])
    differences = [abs(a - b) for a, b in zip(*rows, strict=True)]
    differences = [d for d in differences if not math.isnan(d)]
    entries = [v for row in rows for v in row if not math.isnan(v)]
    if not differences:
        return math.nan
    return (sum(differences) / len(differences)) / (sum(entries) / len(entries))


@given(OUTPUTS)
def test_from_outputs_is_equations_1_to_4(outputs):
    assert metric.from_outputs(outputs) == pytest.approx(by_the_book(outputs), nan_ok=True)


def test_worked_example():
    # V' = (0, 1/4, 1/2, 1) and (0, 1/9, 8/9, 1); the zeros are dropped
    outputs = [[0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 8.0, 9.0]]
    delta = ((1 / 4 - 1 / 9) + (8 / 9 - 1 / 2) + 0) / 3
    mu = (1 / 4 + 1 / 2 + 1 + 1 / 9 + 8 / 9 + 1) / 6
    assert metric.from_outputs(outputs) == pytest.approx(delta / mu)


@given(OUTPUTS, st.floats(0.1, 10), st.floats(-5, 5))
def test_epsilon_ignores_scale_and_shift_of_a_row(outputs, scale, shift):
    changed = np.stack([outputs[0] * 2.0, outputs[1]])  # a power of two is exact
    assert metric.from_outputs(changed) == pytest.approx(metric.from_outputs(outputs), nan_ok=True)


def test_rows_keep_their_dtype():
    assert metric.normalise(np.ones((2, 3), np.float32)).dtype == np.float32


@pytest.mark.parametrize("outputs", [[1.0, 2.0], [[1.0, 2.0]], [[1.0], [1.0], [1.0]]])
def test_other_than_two_rows_is_an_error(outputs):
    with pytest.raises(ValueError, match="two rows"):
        metric.from_outputs(outputs)


class Small(nn.Module):
    """Has all that must be left alone: BatchNorm buffers, dropout, an embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.linear = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(self.norm(self.linear(self.embedding(x)).relu()))


def test_constant_sets_weights_to_the_constant_and_biases_to_zero():
    network = Small()
    embedded = network.embedding.weight.clone()
    initialise.constant_(network, 0.25)
    assert (network.linear.weight == 0.25).all() and (network.norm.weight == 0.25).all()
    assert not network.linear.bias.any() and not network.norm.bias.any()
    assert torch.equal(network.embedding.weight, embedded)


def test_outputs_leave_the_network_as_it_was():
    network = Small().train()
    network.norm.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.tensor([0, 1, 2, 3, 4])
    first = metric.outputs(network, x, (1e-3, 1.0))
    assert np.array_equal(first, metric.outputs(network, x, (1e-3, 1.0)))  # no dropout
    assert all(torch.equal(before[name], v) for name, v in network.state_dict().items())
    assert network.training and not network.norm.training and network.linear.training


def test_outputs_leave_the_network_as_it_was_after_an_error():
    network = Small()
    before = network.linear.weight.clone()
    message = r"Small fails on inputs of shape \(1,\) and type torch.int64: index out of range"
    with pytest.raises(ValueError, match=message):
        metric.outputs(network, torch.tensor([7]), (1e-3, 1.0))
    assert torch.equal(network.linear.weight, before)


def test_batch_norm_uses_the_statistics_of_the_batch():
    network = nn.Sequential(nn.BatchNorm1d(1))
    network[0].running_mean.fill_(100)
    x = torch.tensor([[0.0], [1.0], [2.0]])
    expected = (x - 1) / torch.sqrt(torch.tensor(2 / 3 + 1e-5)) * 0.5
    np.testing.assert_allclose(metric.outputs(network, x, [0.5])[0], expected.flatten(), rtol=1e-6)


def test_a_batch_of_one_has_no_score_and_says_so(caplog):
    assert math.isnan(metric.epsilon(nn.Linear(3, 1), torch.rand(1, 3)))
    assert "batch of one" in caplog.text


def test_a_constant_batch_has_no_score():
    assert math.isnan(metric.epsilon(nn.Linear(3, 1), torch.ones(8, 3)))


@pytest.mark.parametrize("weights", [("a", 1.0), (float("nan"), 1.0), (None, 1.0)])
def test_weights_that_are_no_finite_numbers_are_named(weights):
    with pytest.raises(ValueError, match=f"weights are finite numbers, not {weights[0]!r}"):
        metric.epsilon(torch.nn.Linear(3, 1), torch.rand(4, 3), weights)


def test_three_weights_are_an_error():
    with pytest.raises(ValueError, match="two weights, not 3"):
        metric.epsilon(nn.Linear(3, 1), torch.rand(4, 3), (1, 2, 3))


def test_a_module_that_returns_no_tensor_is_an_error():
    class Wrapped(nn.Linear):
        def forward(self, x):
            return SimpleNamespace(logits=x)

    with pytest.raises(ValueError, match="Wrapped must return a floating-point tensor"):
        metric.epsilon(Wrapped(3, 1), torch.rand(4, 3))


# Why there is no score -----------------------------------------------------------------------


class Block(nn.Module):
    """Of a ViT-like network: attention and a perceptron, each behind a LayerNorm."""

    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.position = nn.Parameter(torch.randn(1, 4, width))
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x):
        x = self.blocks(self.patches(x).flatten(2).transpose(1, 2) + self.position)
        return self.head(self.norm(x).mean(1))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x):
        return (x + self.norm(self.conv(x))).relu()


class Times(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, x):
        return self.number * x


IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
HEAD = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))
ONE = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))
SATURATED = nn.Sequential(
    nn.Flatten(), nn.Linear(192, 8), Times(0.0), nn.Sigmoid(), nn.Linear(8, 1)
)
DEEP = nn.Sequential(
    nn.Conv2d(3, 8, 1), *(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()) for _ in range(9)), *HEAD
)


def no_score(network, x=IMAGES, weights=(1e-7, 1.0)):
    """Return the table; its reason is there exactly where there is no score."""
    table = metric.explain(network, x, weights)
    assert list(table) == ["module", "kind", "low_1", "high_1", "low_2", "high_2", "state"]
    assert bool(table.attrs["reason"]) == math.isnan(metric.epsilon(network, x, weights))
    assert "\n" not in table.attrs["reason"]
    return table


def test_a_layer_norm_over_equal_channels_leaves_no_score():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.LayerNorm(8), nn.Linear(8, 1))
    table = no_score(network)
    assert table["module"].tolist() == ["0", "1", "2", "3", ""]
    assert table["kind"].tolist() == ["Flatten", "Linear", "LayerNorm", "Linear", "Sequential"]
    assert table["state"].tolist() == ["", ""] + ["0 under 1e-07; 0 under 1"] * 3
    sums = IMAGES.flatten(1).sum(dim=1)
    expected = [1e-7 * sums.min(), 1e-7 * sums.max(), sums.min(), sums.max()]
    ranges = table.loc[1, ["low_1", "high_1", "low_2", "high_2"]].astype(float)
    np.testing.assert_allclose(ranges, expected, rtol=1e-4)
    assert table.attrs["reason"] == (
        "under 1e-07, 2 (LayerNorm) is the first that is 0: over equal channels it is so whatever "
        "the weights; epsilon is undefined"
    )


def test_a_transformer_has_no_score_since_all_signals_pass_its_last_norm():
    table = no_score(ViT())
    states = dict(zip(table["module"], table["state"], strict=True))
    assert states["blocks.0.norm1"].startswith("0") and not states["blocks.0"]  # goes around it
    assert "blocks.0.norm1 (LayerNorm) is the first that is 0" in table.attrs["reason"]
    assert "no signal passes norm (LayerNorm)" in table.attrs["reason"]
    assert "epsilon is undefined" in table.attrs["reason"]


def test_without_the_last_norm_it_has_a_score():
    network = ViT()
    network.norm = nn.Identity()
    table = no_score(network)
    assert table.attrs["reason"] == "" and (table["state"] != "").any()


def test_a_residual_network_has_a_score():
    table = no_score(nn.Sequential(nn.Conv2d(3, 8, 3), Residual(), Residual(), *HEAD))
    assert table.attrs["reason"] == "" and (table["state"] == "").all() and len(table) == 11


@pytest.mark.parametrize(
    ("weights", "first", "state"),
    [  # a layer multiplies by 8 w: the smallest number is 1.4e-45, the largest 3.4e38
        ((1e-7, 1.0), "7.0", "0 under 1e-07"),
        ((1.0, 1e5), "6.0", "infinite under 100000"),
    ],
)
def test_a_deep_plain_network_under_and_overflows(weights, first, state):
    x = torch.tensor([0.5, 0.6, 0.7]).reshape(3, 1, 1, 1).expand(3, 3, 2, 2)
    table = no_score(DEEP, x, weights)
    row = table[table["state"] != ""].iloc[0]
    assert row["module"] == first and row["kind"] == "Conv2d" and row["state"] == state
    assert f"{first} (Conv2d) is the first" in table.attrs["reason"]
    assert "other weights" in table.attrs["reason"] and "extended" in table.attrs["reason"]
    w = weights[0] if weights[0] < 1 else weights[1]
    value = [3 * 0.7 * w * (8 * w) ** depth for depth in (int(first[0]) - 1, int(first[0]))]
    assert 1.4e-45 < value[0] < 3.4e38 and not 1.4e-45 < value[1] < 3.4e38


@pytest.mark.parametrize(
    ("network", "x", "weights", "said"),
    [
        (SATURATED, IMAGES, (1e-7, 1.0), "2 (Times) is the first that is 0"),
        (nn.Sequential(ONE, nn.Hardtanh(1, 2)), IMAGES, (1e-9, 1e-8), "1 (Hardtanh) is the first"),
        (nn.Sequential(ONE, Times(math.nan)), IMAGES, (0.1, 1.0), "1 (Times) is the first"),
        (ONE, IMAGES.new_ones(4, 3, 8, 8), (0.1, 1.0), "all inputs are equal"),
        (ONE, IMAGES[:1], (0.1, 1.0), "all inputs are equal"),
        (nn.Sequential(nn.Linear(1, 1), Times(2e38)), torch.tensor([[-1.0], [1.0]]), (0.1, 1.0),
         "range is beyond the largest number"),
        (nn.Linear(1, 1), torch.tensor([[0.0], [1.0]]), (-1.0, 1.0), "no other is left"),
    ],
)  # fmt: skip
def test_every_way_to_have_no_score_has_its_reason(network, x, weights, said):
    assert said in no_score(network, x, weights).attrs["reason"]


def test_every_call_of_a_module_has_a_row():
    twice = nn.ReLU()
    table = no_score(nn.Sequential(nn.Flatten(), nn.Linear(192, 3), twice, twice))
    assert table["kind"].tolist() == ["Flatten", "Linear", "ReLU", "ReLU", "Sequential"]


def test_tokens_are_inputs_along_two_axes():
    """The same word everywhere gives nothing; different words in one column do."""
    network = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2))
    assert no_score(network, torch.full((3, 2), 4)).attrs["reason"].startswith("all inputs are")
    assert no_score(network, torch.tensor([[0, 0], [1, 1], [2, 2]])).attrs["reason"] == ""


def test_an_explanation_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 1)).train()
    before = network[1].weight.clone()
    metric.explain(network, IMAGES)
    assert torch.equal(network[1].weight, before) and network.training
    assert not any(module._forward_hooks for module in network.modules())
