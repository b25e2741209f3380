"""Write what the pages to play with load: the scores of NAS-Bench-201, packed into scripts.

A page that is opened from disk may not fetch a file, so the numbers come as scripts that add to
``PLAY.data``. Arrays are little-endian and written in base64. Architectures are in the order
of the space, and scores in that of its different networks (`Space.structure`), which share them.

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

from epsutil import (
    benchmarks,
    experiments,
    inputs,
    paths,
    proxies,
    scoring,
    sources,
    statistics,
    store,
)
from epsutil.names import DATASETS, METRICS
from epsutil.spaces.nasbench201 import OPERATIONS, NASBench201, operations_of

BATCH_SIZE = 256
UNIT = 600  # parts of a per cent that accuracies are rounded to, as means of 2 or 3 runs need
NO_ACCURACY = (1 << 16) - 1


def write(folder: Path) -> None:
    """Write the scripts of the pages to play with: their own, and those with numbers.

    They are `cells`, `scores` and, for each dataset, `metrics`, which only its plots load.

    Parameters
    ----------
    folder : pathlib.Path
        Where the pages load them from. It is made.
    """
    shutil.copytree(paths.BOOK / "_play", folder)
    scripts = {"cells": cells(), "scores": scores()}
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
    space = NASBench201()
    digits = [[OPERATIONS.index(op) for op in operations_of(arch)] for arch in space]
    return {
        "operations": OPERATIONS,
        "cells": pack(np.array(digits) @ 5 ** np.arange(5, -1, -1), np.uint16),
        "weights": space.weights,
    }


def scores() -> dict[str, Any]:
    """Return epsilon of all architectures, and the accuracies that are at hand.

    Returns
    -------
    dict
        ``networks``: the number of each architecture's network; uint16. ``unit``. ``datasets``: a
        mapping with ``title``, ``classes``, ``imageSize``; ``epsilon`` by dtype, float32, NaN where
        there is no score; ``accuracy``, uint16 in `UNIT` parts of a per cent, or null, and then
        ``needs``, the files that it takes.

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
    return {"networks": pack(_networks(), np.uint16), "unit": UNIT, "datasets": datasets}


def metrics(dataset: str) -> dict[str, Any]:
    """Return the scores of the competing metrics that are stored for a dataset.

    Returns
    -------
    dict
        ``order``: the first architectures of the random order that metrics are computed in, as many
        as any sample has; uint16. ``metrics``: a list with ``name``, ``title``, ``n`` (for how many
        architectures, along the order, it was computed) and ``values``: a float32 for each
        different network among these, by first appearance, NaN without a score; more is better.
        They are to be multiplied by ``scale``. Where `n` is the whole space, networks come in the
        order of their numbers.
    """
    found = _metrics_of(dataset)
    samples = [metric["n"] for metric in found if metric["n"] < len(NASBench201())]
    order = scoring.order("nasbench201")[: max(samples, default=0)]
    return {"order": pack(order, np.uint16), "metrics": found}


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
    space = NASBench201()
    return pd.factorize(np.array([space.structure(arch) for arch in space]))[0]


def _of_networks(scores: pd.Series) -> NDArray[np.float64]:
    """Return a score for each different network, by first appearance along `metrics`' order."""
    is_whole = len(scores) == len(NASBench201())
    archs = np.arange(len(scores)) if is_whole else scoring.order("nasbench201")[: len(scores)]
    _, first = np.unique(_networks()[archs], return_index=True)
    return scores.loc[archs[np.sort(first)]].to_numpy(float)


def _dataset(name: str) -> dict[str, Any] | None:
    epsilon = {dtype: _epsilon(name, dtype) for dtype in scoring.DTYPES}
    if any(epsilon[dtype] is None for dtype in scoring.PRECISIONS):
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
        "epsilon": {
            dtype: pack(_of_networks(scores), np.float32)
            for dtype, scores in epsilon.items()
            if scores is not None
        },
        "accuracy": accuracy,
        "needs": needs,
    }


def _epsilon(dataset: str, dtype: str) -> pd.Series | None:
    weights = NASBench201.weights
    run = f"b{BATCH_SIZE}-{dtype}-w{'_'.join(f'{w:g}' for w in weights)}-all"
    stored = _stored(dataset, scoring.EPSILON, run)
    return None if stored is None else stored[scoring.pair(weights)]


def _stored(dataset: str, group: str, run: str) -> pd.DataFrame | None:
    """Read scores as the project has recorded them, None where it has not.

    They are found by their names: what images they are of needs not be at hand.
    """
    version = scoring.version(NASBench201(), group)
    pattern = f"nasbench201-{dataset}-{group}-{run}-*-v{version}.parquet"
    files = list(paths.RECORDED_SCORES.glob(pattern))
    if len(files) > 1:
        raise store.StoreError(f"{pattern} are {len(files)} files in {paths.RECORDED_SCORES}")
    return store.read(files[0]) if files else None


def _metrics_of(dataset: str) -> list[dict[str, Any]]:
    scores: dict[str, pd.Series] = {}
    for name, group in scoring.groups_of("nasbench201").items():
        stored = _stored(dataset, group, f"b{scoring.GROUPS[group].batch_size}-s{proxies.SEED}")
        if stored is not None:
            sign = -1 if proxies.get(name).lower_is_better else 1
            scores[name] = sign * stored[name]
    parts = scoring.GROUPS["az_nas"].names
    if {*parts} <= {*scores}:
        scores["az_nas"] = _az_nas(dataset, {name: scores[name] for name in parts})
    *earlier, _ = experiments.order("nasbench201")
    return [
        _metric(name, scores[name]) for name in (*earlier, *experiments.LATER) if name in scores
    ]


def _az_nas(dataset: str, scores: dict[str, pd.Series]) -> pd.Series:
    """Rank the architectures that have AZ-NAS's three scores, as the tables do."""
    parts = pd.DataFrame(scores)
    space, size = NASBench201(), inputs.image_size(dataset)
    classes = benchmarks.num_classes(dataset)
    parts["flops"] = [space.flops(space[int(i)], size, classes) for i in parts.index]
    return statistics.rank_product(parts)


def _metric(name: str, scores: pd.Series) -> dict[str, Any]:
    values = _of_networks(scores)
    values = np.where(np.isfinite(values), values, np.nan)
    too_large = np.nanmax(np.abs(values)) > np.finfo(np.float32).max
    scale = 2.0**64 if too_large else 1.0  # a power of two changes no digit
    return {
        "name": name,
        "title": METRICS.get(name, name),
        "n": len(scores),
        "scale": scale,
        "values": pack(values / scale, np.float32),
    }
