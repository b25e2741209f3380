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
