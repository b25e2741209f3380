"""Write what the pages to play with load: the scores of NAS-Bench-201, packed into scripts.

A page that is opened from disk may not fetch a file, so the numbers come as scripts that add to
``PLAY.data``. Arrays are little-endian and written in base64. Architectures are in the order
of the space, and scores in that of its different networks (`Space.structure`), where all
architectures of a network share them.

Accuracies are put in where the machine that builds the site has them; nothing of them is committed.
"""

import base64
import functools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epsutil import benchmarks, experiments, inputs, paths, proxies, scoring, sources, store
from epsutil.names import DATASETS, metric_name
from epsutil.spaces.nasbench201 import OPERATIONS, NASBench201, operations_of
from epsutil.statistics import rank_product

BATCH_SIZE = 256
UNIT = 600  # parts of a per cent that accuracies are rounded to, as means of 2 or 3 runs need
NO_ACCURACY = (1 << 16) - 1
SPACE = NASBench201()


def write(folder: Path) -> None:
    """Write the scripts of the pages to play with into a new folder: their own, and the numbers.

    These are `cells`, `scores` and, for each dataset, `metrics`, which only its plots load.
    """
    shutil.copytree(paths.BOOK / "_play", folder)
    scripts: dict[str, Any] = {"cells": cells(), "scores": scores()}
    scripts |= {f"metrics-{name}": metrics(name) for name in scripts["scores"]["datasets"]}
    for name, value in scripts.items():
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        content = f'"use strict";\nPLAY.data["{name}"] = {text};\n'
        (folder / f"{name}.js").write_text(content, "utf-8")


def cells() -> dict[str, Any]:
    """Return what an architecture is.

    Returns
    -------
    dict
        ``operations``: names. ``cells``: of each architecture the operations of its six edges, as a
        number of base 5 whose first digit is the first edge; uint16. ``weights``: the paper's.
    """
    digits = [[OPERATIONS.index(op) for op in operations_of(arch)] for arch in SPACE]
    return {
        "operations": OPERATIONS,
        "cells": pack(np.array(digits) @ 5 ** np.arange(5, -1, -1), np.uint16),
        "weights": SPACE.weights,
    }


def scores() -> dict[str, Any]:
    """Return epsilon of all architectures, and the accuracies that are at hand.

    Returns
    -------
    dict
        ``networks``: the number of each architecture's network; uint16. ``order``: the first
        architectures of the random order that metrics are computed in, as many as any sample has;
        uint16. ``unit``. ``datasets``: a mapping with ``title``, ``classes``, ``imageSize``;
        ``epsilon`` by dtype, float32, NaN where there is no score; ``accuracy``, uint16 in `UNIT`
        parts of a per cent, or null, and then ``needs``, the files that it takes.

    Raises
    ------
    epsutil.store.NotStored
        There are no stored scores of the whole space.
    """
    datasets = {name: found for name in benchmarks.DATASETS if (found := _dataset(name))}
    if not datasets:
        raise store.NotStored(
            "no scores of all of nasbench201 are stored; `epsutil record` computes them"
        )
    counts = [len(scores) for name in datasets for scores in _metrics_of(name).values()]
    order = _order(max((n for n in counts if n < len(SPACE)), default=0))
    packed = {"networks": pack(_networks(), np.uint16), "order": pack(order, np.uint16)}
    return packed | {"unit": UNIT, "datasets": datasets}


def metrics(dataset: str) -> list[dict[str, Any]]:
    """Return the scores of the competing metrics that are stored for a dataset.

    Returns
    -------
    list of dict
        ``name``, ``title``, ``n`` (for how many architectures, along the order, it was computed)
        and ``values``: a float32 for each different network among these, by first appearance, or
        for each of the `n` where those of a network differ; NaN without a score; more is better.
        They are to be multiplied by ``scale``. Where `n` is the whole space, networks come in the
        order of their numbers.
    """
    return [_metric(name, scores) for name, scores in _metrics_of(dataset).items()]


def pack(values: Sequence[float] | NDArray, kind: type[np.generic]) -> str:
    """Return an array in base64, its numbers little-endian.

    Examples
    --------
    >>> pack([1, 256], np.uint16)
    'AQAAAQ=='
    """
    array = np.asarray(values).astype(np.dtype(kind).newbyteorder("<"))
    return base64.b64encode(array.tobytes()).decode("ascii")


@functools.cache
def _networks() -> NDArray[np.int64]:
    """Return each architecture's network as a number, counted by first appearance."""
    return pd.factorize(np.array([SPACE.structure(arch) for arch in SPACE]))[0]


def _order(n: int) -> NDArray[np.int64]:
    """Return the architectures of a sample of `n`; a whole space is in its own order."""
    return np.arange(n) if n == len(SPACE) else scoring.order("nasbench201")[:n]


def _of_networks(scores: pd.Series) -> NDArray[np.float64]:
    """Return a score for each different network, by first appearance along the order.

    Where architectures of a network differ in it, as in FLOPs: for each architecture.
    """
    archs = _order(len(scores))
    values = scores.loc[archs]
    of_networks = values.groupby(_networks()[archs], sort=False)
    shared = (of_networks.nunique(dropna=False) == 1).all()
    return (of_networks.head(1) if shared else values).to_numpy(float)


def _dataset(name: str) -> dict[str, Any] | None:
    column, weights = scoring.pair(SPACE.weights), "_".join(f"{w:g}" for w in SPACE.weights)
    runs = {dtype: f"b{BATCH_SIZE}-{dtype}-w{weights}-" for dtype in scoring.DTYPES}
    found = {dtype: _stored(name, scoring.EPSILON, run, len(SPACE)) for dtype, run in runs.items()}
    epsilon = {dtype: stored[column] for dtype, stored in found.items() if stored is not None}
    if not {*scoring.PRECISIONS} <= {*epsilon}:
        return None
    needs = benchmarks.needs(name)
    accuracy = None
    if sources.available(*needs):
        per_cent = benchmarks.trained("nasbench201", name)["test_accuracy"]
        accuracy = pack((per_cent * UNIT).round().fillna(NO_ACCURACY), np.uint16)
    return {
        "title": DATASETS[name],
        "classes": benchmarks.num_classes(name),
        "imageSize": inputs.image_size(name),
        "epsilon": {d: pack(_of_networks(scores), np.float32) for d, scores in epsilon.items()},
        "accuracy": accuracy,
        "needs": needs,
    }


def _stored(dataset: str, group: str, run: str, least: int = 1) -> pd.DataFrame | None:
    """Read scores as the project has recorded them, None where it has not.

    They are found by their names: what images they are of needs not be at hand. Those of fewer
    architectures than `least` are of other images, for a page about batches.
    """
    begins = f"nasbench201-{dataset}-{group}-{run}"
    stores = store.named(paths.RECORDED_SCORES, begins, scoring.version(SPACE, group))
    found = [scores for path in stores if len(scores := store.read(path)) >= least]
    if len(found) > 1:
        raise store.StoreError(f"{begins} are {len(found)} stores in {paths.RECORDED_SCORES}")
    return found[0] if found else None


@functools.cache
def _metrics_of(dataset: str) -> dict[str, pd.Series]:
    """Return the stored scores by metric, in the order of the tables."""
    scores: dict[str, pd.Series] = {}
    for name, group in scoring.groups_of("nasbench201").items():
        stored = _stored(dataset, group, f"b{scoring.GROUPS[group].batch_size}-s{proxies.SEED}-")
        if stored is not None:
            scores[name] = (-1 if proxies.get(name).lower_is_better else 1) * stored[name]
    parts = scoring.GROUPS["az_nas"].names
    if {*parts} <= {*scores}:  # ranked among the architectures that have all, as in the tables
        frame = pd.DataFrame({name: scores[name] for name in parts})
        size, classes = inputs.image_size(dataset), benchmarks.num_classes(dataset)
        frame["flops"] = [SPACE.flops(SPACE[int(i)], size, classes) for i in frame.index]
        scores["az_nas"] = rank_product(frame)
    *earlier, _ = experiments.order("nasbench201")
    return {name: scores[name] for name in (*earlier, *experiments.LATER) if name in scores}


def _metric(name: str, scores: pd.Series) -> dict[str, Any]:
    values = _of_networks(scores)
    values = np.where(np.isfinite(values), values, np.nan)
    too_large = np.nanmax(np.abs(values)) > np.finfo(np.float32).max
    scale = 2.0**64 if too_large else 1.0  # a power of two changes no digit
    about = {"name": name, "title": metric_name(name), "n": len(scores), "scale": scale}
    return about | {"values": pack(values / scale, np.float32)}
