"""Where two computations of epsilon agree: full width and collapse, float32 and float64.

And the scores that the authors' code gives where they do not agree with the paper's Eq. 1.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import joblib
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from epsutil import inputs, metric, network_copy, scoring, spaces
from epsutil.experiments import Problem

AT_LIMIT = 100
ROUNDING = 0.01  # a relative difference between the two precisions that counts


def rounding(problem: Problem) -> pd.DataFrame:
    """Count the architectures whose float32 score rounding decides.

    Returns one row: ``dataset``, ``n``, and how many architectures have each mark: ``agree``;
    ``differ`` (by more than `ROUNDING`, relative to float64); ``float32 only``, ``float64 only`` (a
    score in one precision only); ``no score``.
    """
    single, double = (replace(problem, dtype=dtype).epsilon() for dtype in scoring.PRECISIONS)
    has32, has64 = single.notna(), double.notna()
    off = (single - double).abs() > ROUNDING * double
    marks = np.select(
        [has32 & has64 & off, has32 & has64, has32, has64],
        ["differ", "agree", "float32 only", "float64 only"],
        "no score",
    )
    row = {"dataset": problem.dataset, "n": len(marks), **pd.Series(marks).value_counts()}
    return pd.DataFrame([row])


@network_copy.one_thread()
def compare(
    space: spaces.Space | str,
    batch: inputs.Batch,
    n_archs: int,
    seed: int,
    dtypes: Sequence[str] = scoring.PRECISIONS,
    exponents: tuple[float, float] = (-7, 1),
) -> pd.DataFrame:
    """Compare the width collapse with full-width torch networks, on random architectures.

    Every architecture gets its own pair of weights, drawn log-uniformly between two powers of ten,
    `exponents`. Both evaluations run on one core, so that their times can be compared.

    Returns a row per architecture and dtype: ``full`` and ``collapsed`` epsilon, the seconds of
    both, ``w1``, ``w2``, ``index``; ``spread``: the smaller of the two rows' range of outputs
    relative to their size, in units of the dtype's rounding error (at full width); and
    ``dropped_differ``: whether the two disagree on which entries Eq. 1 makes 0 and drops, where
    outputs tie with the smallest one.
    """
    space, rng, rows = spaces.get(space), np.random.default_rng(seed), []
    for index in rng.choice(len(space), n_archs, replace=False):
        arch = space[int(index)]
        weights = sorted(map(float, 10 ** rng.uniform(*exponents, 2)))
        for dtype in dtypes:
            network = space.build(arch).to(getattr(torch, dtype))
            x = torch.from_numpy(batch.x.astype(dtype) if batch.x.dtype.kind == "f" else batch.x)
            start = time.process_time()
            outputs = metric.outputs(network, x, weights)
            middle = time.process_time()
            collapsed = space.outputs(arch, x, weights, dtype)
            end = time.process_time()
            dropped = np.isnan(metric.normalise(outputs)) != np.isnan(metric.normalise(collapsed))
            rows.append(
                {
                    "index": index,
                    "dtype": dtype,
                    "w1": weights[0],
                    "w2": weights[1],
                    "full": metric.from_outputs(outputs),
                    "collapsed": metric.from_outputs(collapsed),
                    "spread": _spread(outputs),
                    "dropped_differ": bool(dropped.any()),
                    "seconds_full": middle - start,
                    "seconds_collapsed": end - middle,
                }
            )
    return pd.DataFrame(rows)


def lenient(
    space: spaces.Space,
    batch: inputs.Batch,
    weights: Sequence[float],
    archs: Sequence[int] | NDArray[np.integer],
    n_jobs: int = -1,
) -> pd.DataFrame:
    """Score as :func:`epsutil.scoring.score`, but by :func:`epsutil.metric.lenient`.

    Returns a row per architecture and a column per pair of weights. Nothing is stored.
    """
    weights = scoring.checked_weights(weights)
    chunks = [archs[i : i + scoring.CHUNK] for i in range(0, len(archs), scoring.CHUNK)]
    work = (joblib.delayed(_lenient)(space, batch.x, weights, chunk) for chunk in chunks)
    names = [scoring.pair(two) for two in combinations(weights, 2)]
    return pd.DataFrame(np.concatenate(joblib.Parallel(n_jobs)(work)), archs, names)


def _lenient(
    space: spaces.Space, x: NDArray, weights: Sequence[float], archs: Sequence[int]
) -> NDArray[np.float64]:
    return np.array([metric.lenient(space.outputs(space[int(i)], x, weights)) for i in archs])


def _spread(outputs: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        ranges = np.ptp(outputs, axis=1) / np.spacing(np.abs(outputs).max(axis=1))
    return float(ranges.min())


def summary(
    rows: pd.DataFrame, relative_tolerance: float = 1e-4, rounding_errors: float = 10
) -> pd.DataFrame:
    """Summarise :func:`compare` per dtype.

    Rounding decides a score where full width in float32 and in float64 differ by more than the
    tolerance (float32: relative, or 1e-5 absolute; float64: 1e-9), where the outputs of a row
    differ by less than their rounding errors over the tolerance, and where it decides which of them
    tie with the smallest one. Outputs gather `rounding_errors` on their way; hundreds in a
    recurrent network.

    Returns ``dtype``, ``n``, ``n_scored`` (at full width), ``unscored_differ`` (scored by one only)
    and how many of these are ``at_limit``: at full width the outputs of a row are within `AT_LIMIT`
    representable numbers of each other; ``largest_absolute`` and ``largest_relative`` difference;
    ``ill``: how many scores rounding decides; ``outside``: how many of the others differ by more
    than the tolerance; median ``speedup``.
    """
    summary = []
    exact = rows[rows["dtype"] == "float64"].set_index("index")["full"]
    for dtype, group in rows.groupby("dtype", sort=False):
        found = group.set_index("index")
        full, spread = found["full"], found["spread"]
        absolute = (full - found["collapsed"]).abs()
        relative, tolerance = 1e-9, pd.Series(1e-9, full.index)
        if dtype == "float32":
            relative = relative_tolerance
            tolerance = np.maximum(relative * full.abs(), 1e-5)
        ill = (full - exact.reindex(full.index)).abs() > tolerance  # never in float64
        ill |= (spread < rounding_errors / relative) | found["dropped_differ"]
        ill &= full.notna()
        one_only = full.isna() != found["collapsed"].isna()
        summary.append(
            {
                "dtype": dtype,
                "n": len(group),
                "n_scored": int(full.notna().sum()),
                "unscored_differ": int(one_only.sum()),
                "at_limit": int((one_only & (spread < AT_LIMIT)).sum()),
                "largest_absolute": absolute.max(),
                "largest_relative": (absolute / full.abs()).max(),
                "ill": int(ill.sum()),
                "outside": int((~ill & (absolute > tolerance)).sum()),
                "speedup": float((group["seconds_full"] / group["seconds_collapsed"]).median()),
            }
        )
    return pd.DataFrame(summary)
