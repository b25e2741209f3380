"""What the notebooks compute: a function for each table, on top of the other rooms.

Every function returns a tidy DataFrame that is written to CSV as it is. Column names are those of
:data:`epsutil.statistics.SCORES`, with the suffixes ``_low`` and ``_high`` (bootstrap interval),
``_all`` (unscored architectures rank last) and ``_paper`` (reported).
"""

import time
import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from epsutil import benchmarks, inputs, metric, paths, scoring, spaces, statistics
from epsutil.spaces.nasbench201 import NASBench201

ANALOG = ("analog-nasbench/data.anb",)
LARGEST = 20_000  # architectures that a page scores by itself; more take an hour
METRICS = ("epsilon", "params", "flops")  # recurrent networks have no flops
ZERO_IS_NO_SCORE = ("nasbench_nlp",)  # as in the authors' statistics, but not in their ablations


def needs(datasets: Sequence[str], space_name: str = "nasbench201") -> tuple[str, ...]:
    """Return the sources of inputs and trained results for some datasets of a search space."""
    names = [
        name for d in datasets for name in (*benchmarks.needs(d, space_name), *inputs.needs(d))
    ]
    return tuple(dict.fromkeys(names))


def reported(table: str) -> pd.DataFrame:
    """Return a table of the paper, as printed; see ``data/paper/README.md``."""
    return pd.read_csv(paths.PAPER / f"{table}.csv")


def reported_metrics(table: str, datasets: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a table of metrics; some of these tables have one dataset only."""
    paper = reported(table)
    if "dataset" not in paper:
        paper["dataset"] = datasets[0]
    return paper.loc[paper["dataset"].isin(datasets), ["dataset", "metric", *statistics.SCORES]]


def scored(
    dataset: str,
    weights: Sequence[float],
    batch_size: int,
    seed: int,
    n_archs: int,
    n_jobs: int = -1,
    dtype: str = "float32",
    space_name: str = "nasbench201",
    more: Sequence[int] | NDArray[np.integer] = (),
) -> pd.DataFrame:
    """Join what training gave, the sizes and epsilon, for a whole space or a random sample.

    Parameters
    ----------
    dataset : str
        See :func:`epsutil.benchmarks.trained`.
    weights : two floats
    batch_size, seed : int
        Which inputs; the seed also draws the architectures.
    n_archs : int
        Up to the size of the space; a smaller number is a random sample.
    n_jobs, dtype
        See :func:`epsutil.scoring.score`.
    space_name : str
        See :func:`epsutil.spaces.get`.
    more : sequence of int
        Architectures to score besides.

    Returns
    -------
    pandas.DataFrame
        The columns of :func:`epsutil.benchmarks.trained`, and ``epsilon``. Architectures for which
        training gave no result are left out.

    Raises
    ------
    epsutil.store.NotStored
        More than `LARGEST` architectures have no stored scores, and the scale is not the paper's.
    """
    archs = np.union1d(scoring.sample(space_name, n_archs, seed), np.asarray(more, np.int64))
    batch = inputs.batch(dataset, batch_size, seed)
    largest = None if paths.scale() == "paper" else LARGEST
    scores = scoring.score(space_name, batch, weights, archs, dtype, n_jobs, largest=largest)
    frame = benchmarks.trained(space_name, dataset).loc[scores.index]
    frame["epsilon"] = _epsilon(scores, weights, space_name)
    frame.attrs["run"] = scores.attrs["run"]
    return frame.dropna(subset=benchmarks.target(space_name)[0])


def _epsilon(scores: pd.DataFrame, weights: Sequence[float], space_name: str) -> pd.Series:
    """Return epsilon for two weights, NaN where the authors count no score."""
    epsilon = scores[scoring.pair(weights)]
    return epsilon.where(epsilon != 0) if space_name in ZERO_IS_NO_SCORE else epsilon


def counting(
    weights: Sequence[float], batch_size: int, seed: int, n_archs: int, n_jobs: int
) -> pd.DataFrame:
    """Evaluate epsilon on NAS-Bench-NLP under several ways of counting what lacks a value.

    Returns
    -------
    pandas.DataFrame
        A row per way (``counted``): ``n``, ``n_scored`` and the six scores. Networks whose training
        diverged are left out or get the largest of all losses; architectures without a score are
        left out or rank last.
    """
    space_name, (target, _) = "nasbench_nlp", benchmarks.target("nasbench_nlp")
    archs = scoring.sample(space_name, n_archs, seed)
    scores = scoring.score(
        space_name, inputs.batch("ptb", batch_size, seed), weights, archs, n_jobs=n_jobs
    )
    trained = benchmarks.trained(space_name, "ptb").loc[scores.index]
    loss, finished = trained[target], trained["status"] == "OK"
    epsilon = _epsilon(scores, weights, space_name)
    with_zeros = scores[scoring.pair(weights)]
    last = epsilon.fillna(-1)  # below every score
    worst = loss.where(finished, loss.max() + 1)
    known = loss.notna()
    ways = {
        "as the authors": (epsilon[known], loss[known]),
        "epsilon = 0 counts as a score": (with_zeros[known], loss[known]),
        "only trainings that finished": (epsilon[finished], loss[finished]),
        "unscored rank last": (last[known], loss[known]),
        "diverged count as worst": (epsilon, worst),
        "both": (last, worst),
    }
    return pd.DataFrame(
        [
            {"counted": way}
            | statistics.evaluate(score, target_loss, True).to_dict()
            | {"n_scored": float((score >= 0).sum())}  # those that rank last have none
            for way, (score, target_loss) in ways.items()
        ]
    )


def wikitext2(
    weights: Sequence[float], batch_size: int, seed: int, n_archs: int, n_jobs: int
) -> pd.DataFrame:
    """Evaluate epsilon, scored on Penn Treebank, against the runs on WikiText-2.

    Returns
    -------
    pandas.DataFrame
        A row per metric; see :func:`epsutil.statistics.coverage`, and the six scores.
    """
    target, minimise = benchmarks.target("nasbench_nlp")
    runs = benchmarks.nasbench_nlp_wikitext2().dropna(subset=target)
    frame = runs.groupby("index")[["params", target]].mean()  # of repeated trainings
    archs = scoring.sample("nasbench_nlp", n_archs, seed)
    batch = inputs.batch("ptb", batch_size, seed)
    scores = scoring.score("nasbench_nlp", batch, weights, archs, n_jobs=n_jobs)
    frame["epsilon"] = _epsilon(scores, weights, "nasbench_nlp").reindex(frame.index)
    return pd.DataFrame(
        [
            {"dataset": "wikitext2", "metric": name, "source": "computed"}
            | statistics.coverage(frame[name], frame[target], minimise).to_dict()
            | statistics.evaluate(frame[name], frame[target], minimise).to_dict()
            for name in filter(frame.__contains__, METRICS)
        ]
    )


def embeddings(
    weights: Sequence[float],
    batch_size: int,
    seed: int,
    n_archs: int,
    n_jobs: int,
    highest_loss: bool = False,
) -> pd.DataFrame:
    """Compute Table 10: epsilon under six initialisations of the embedding.

    Parameters
    ----------
    highest_loss : bool, default False
        Take the networks with the highest loss for the best, as the authors' code does here.

    Returns
    -------
    pandas.DataFrame
        A row per embedding: ``n``, ``archs`` (how many have a score), the six scores; as reported
        with the suffix ``_paper``.
    """
    target, minimise = benchmarks.target("nasbench_nlp")
    archs = scoring.sample("nasbench_nlp", n_archs, seed)
    batch = inputs.batch("ptb", batch_size, seed)
    trained = benchmarks.trained("nasbench_nlp", "ptb")[target].loc[archs].dropna()
    paper = reported("table10")
    paper["embedding"] = paper["embedding"].str.lower().str.replace("centered", "centred")
    rows = []
    for embedding in paper["embedding"]:
        name = f"nasbench_nlp@{embedding.replace(' ', '-')}"
        scores = scoring.score(name, batch, weights, archs, n_jobs=n_jobs)
        epsilon = scores.loc[trained.index, scoring.pair(weights)]
        values = statistics.evaluate(epsilon, trained, minimise and not highest_loss)
        rows.append(
            {"embedding": embedding, "n": len(trained), "archs": values["n_scored"]}
            | values[list(statistics.SCORES)].to_dict()
        )
    return pd.DataFrame(rows).merge(paper, on="embedding", suffixes=("", "_paper"), validate="1:1")


def authors_weight_pairs(
    weights: Sequence[float], batch_size: int, seed: int, n_archs: int, n_jobs: int
) -> pd.DataFrame:
    """Compute Table 7 with what the authors' code does and their text does not say.

    Outputs that are NaN are passed over when a row is normalised, so that a network which
    overflows for some tokens still has a score; an epsilon of 0 is a score; and the "best" networks
    are those with the highest loss, for the code takes losses for accuracies.

    Returns
    -------
    pandas.DataFrame
        As :func:`weight_pairs`.
    """
    weights = sorted(weights)
    pairs = list(combinations(weights, 2))
    archs = scoring.sample("nasbench_nlp", n_archs, seed)
    trained = benchmarks.trained("nasbench_nlp", "ptb")
    loss = trained[benchmarks.target("nasbench_nlp")[0]].loc[archs].dropna()
    x = inputs.batch("ptb", batch_size, seed).x
    chunks = [loss.index[i : i + 64] for i in range(0, len(loss), 64)]
    work = (joblib.delayed(_lenient_scores)(chunk, x, weights) for chunk in chunks)
    scores = np.concatenate(joblib.Parallel(n_jobs=n_jobs)(work))  # archs, pairs
    rows = []
    for (w1, w2), score in zip(pairs, scores.T, strict=True):
        values = statistics.evaluate(score, loss, minimise=False)  # the highest losses on top
        rows.append(
            {"w1": w1, "w2": w2, "n": len(loss), "archs": values["n_scored"]}
            | values[list(statistics.SCORES)].to_dict()
        )
    return pd.DataFrame(rows).merge(
        reported("table07"), on=["w1", "w2"], how="left", suffixes=("", "_paper"), validate="1:1"
    )


def _lenient_scores(indices: Sequence[int], x: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Score some recurrent networks for all pairs of weights, passing over NaN outputs."""
    space = spaces.get("nasbench_nlp")
    scores = []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows without any number
        for index in indices:
            rows = space.outputs(space[int(index)], x, weights)
            lowest = np.nanmin(rows, axis=1, keepdims=True)
            rows = (rows - lowest) / (np.nanmax(rows, axis=1, keepdims=True) - lowest)
            rows[rows == 0] = np.nan
            means = np.nanmean(rows, axis=1)
            counts = (~np.isnan(rows)).sum(axis=1)
            scores.append(
                [
                    np.nanmean(np.abs(rows[i] - rows[j]))
                    / (means[[i, j]] @ counts[[i, j]] / counts[[i, j]].sum())
                    for i, j in combinations(range(len(weights)), 2)
                ]
            )
    return np.array(scores)


def perplexities(
    weights: Sequence[float], batch_size: int, seed: int, n_archs: int, n_jobs: int
) -> pd.DataFrame:
    """Return :func:`scored` for NAS-Bench-NLP with the test perplexity as a column."""
    frame = scored("ptb", weights, batch_size, seed, n_archs, n_jobs, space_name="nasbench_nlp")
    target, _ = benchmarks.target("nasbench_nlp")
    return frame.assign(perplexity=np.exp(frame[target]))


def evaluation(
    score: pd.Series, target: pd.Series, n_resamples: int, seed: int, minimise: bool = False
) -> dict[str, Any]:
    """Return the six scores with their intervals and what the unscored change, as one row."""
    covered = statistics.coverage(score, target, minimise)
    interval = statistics.bootstrap(score, target, n_resamples, seed, minimise=minimise)
    bounds = {f"{k}_{side}": interval.loc[k, side] for k in interval.index for side in interval}
    scores = statistics.evaluate(score, target, minimise)[list(statistics.SCORES)]
    return covered.to_dict() | scores.to_dict() | bounds


def batch_spread(
    table: str,
    datasets: Sequence[str],
    weights: Sequence[float],
    batch_size: int,
    seeds: Sequence[int],
    n_archs: int,
    n_jobs: int,
    space_name: str = "nasbench201",
) -> pd.DataFrame:
    """Score the same random architectures with several batches of inputs.

    Parameters
    ----------
    table : {"table01", "table03"}
        Whose reported values to put beside.

    Returns
    -------
    pandas.DataFrame
        A row per dataset and seed of the batch: ``n``, ``n_scored`` and the six scores; as reported
        with the suffix ``_paper``.
    """
    target, minimise = benchmarks.target(space_name)
    archs = scoring.sample(space_name, n_archs, seed=0)
    rows = []
    for dataset in datasets:
        trained = benchmarks.trained(space_name, dataset)[target].loc[archs].dropna()
        for seed in seeds:
            batch = inputs.batch(dataset, batch_size, seed)
            scores = scoring.score(space_name, batch, weights, archs, n_jobs=n_jobs)
            score = _epsilon(scores, weights, space_name).loc[trained.index]
            values = statistics.evaluate(score, trained, minimise)
            rows.append({"dataset": dataset, "seed": seed} | values.to_dict())
    paper = reported_metrics(table, datasets).query("metric == 'epsilon'")
    return pd.DataFrame(rows).merge(paper, on="dataset", suffixes=("", "_paper"))


def precision(
    datasets: Sequence[str],
    weights: Sequence[float],
    batch_size: int,
    seed: int,
    n_archs: int,
    n_jobs: int,
    space_name: str = "nasbench201",
) -> pd.DataFrame:
    """Score the same architectures in float32, as the paper does, and in float64.

    In float32 the signals of many architectures vanish, and they have no score. Float64 scores
    most of them.

    Returns
    -------
    pandas.DataFrame
        Four rows per dataset, ``evaluated`` in ``float32``, ``float64``, ``float64_same`` (only
        the architectures that float32 scores) and ``float64_rest`` (only the others).
    """
    target, minimise = benchmarks.target(space_name)
    rows = []
    for dataset in datasets:
        single, double = (
            scored(dataset, weights, batch_size, seed, n_archs, n_jobs, dtype, space_name)
            for dtype in scoring.DTYPES
        )
        has_score = single["epsilon"].notna()
        subsets = {
            "float32": single["epsilon"],
            "float64": double["epsilon"],
            "float64_same": double["epsilon"].where(has_score),
            "float64_rest": double["epsilon"].where(~has_score),
        }
        for evaluated, score in subsets.items():
            values = statistics.evaluate(score, single[target], minimise)
            rows.append({"dataset": dataset, "evaluated": evaluated} | values.to_dict())
    return pd.DataFrame(rows)


def rounding(
    dataset: str,
    weights: Sequence[float],
    batch_size: int,
    seed: int,
    n_archs: int,
    n_jobs: int,
    space_name: str = "nasbench201",
) -> pd.DataFrame:
    """Count the architectures whose float32 score rounding decides.

    Returns
    -------
    pandas.DataFrame
        One row: ``dataset``, ``n``, and how many architectures have each mark of
        :func:`epsutil.scoring.rounding`. What is no score here, see `ZERO_IS_NO_SCORE`, is none in
        either precision.
    """
    archs = scoring.sample(space_name, n_archs, seed)
    batch = inputs.batch(dataset, batch_size, seed)
    frame = scoring.rounding(space_name, batch, weights, archs, n_jobs)
    if space_name in ZERO_IS_NO_SCORE:
        no32, no64 = (frame[dtype].isna() | (frame[dtype] == 0) for dtype in scoring.DTYPES)
        frame.loc[no32, "mark"] = "float64 only"
        frame.loc[no64, "mark"] = "float32 only"
        frame.loc[no32 & no64, "mark"] = "no score"
    marks = frame["mark"].value_counts()
    return pd.DataFrame([{"dataset": dataset, "n": n_archs} | marks.to_dict()])


def independent_frame(
    weights: Sequence[float], batch_size: int, n_archs: int, n_jobs: int
) -> pd.DataFrame:
    """Join epsilon on grey images with CIFAR-10 accuracies trained independently.

    Needs nothing but the package `analog-nasbench` and the paper's grey images (Section 3.5).

    Returns
    -------
    pandas.DataFrame
        The columns of :func:`scored`.
    """
    archs = scoring.sample("nasbench201", n_archs)
    batch = inputs.batch("grey", batch_size)
    scores = scoring.score("nasbench201", batch, weights, archs, n_jobs=n_jobs)
    frame = benchmarks.analog_nasbench().loc[scores.index]
    space = NASBench201()
    frame["epsilon"] = scores[scoring.pair(weights)]
    frame["params"] = [space.parameters(arch) for arch in frame["arch"]]
    frame["flops"] = [space.flops(arch) for arch in frame["arch"]]
    return frame


def independent(
    weights: Sequence[float], batch_size: int, n_archs: int, n_jobs: int
) -> pd.DataFrame:
    """Evaluate :func:`independent_frame`.

    Returns
    -------
    pandas.DataFrame
        A row per metric, as :func:`evaluation` gives it, without intervals.
    """
    frame = independent_frame(weights, batch_size, n_archs, n_jobs)
    accuracy = frame["test_accuracy"]
    return pd.DataFrame(
        [
            {"dataset": "cifar10", "metric": name, "source": "computed"}
            | statistics.coverage(frame[name], accuracy).to_dict()
            | statistics.evaluate(frame[name], accuracy)[list(statistics.SCORES)].to_dict()
            for name in METRICS
        ]
    )


def recheck(
    dataset: str,
    weights: Sequence[float],
    batch_size: int,
    seed: int,
    n_archs: int,
    n_anew: int,
    n_jobs: int,
    space_name: str = "nasbench201",
) -> pd.DataFrame:
    """Score a few of the architectures anew, at most all, and compare with what is stored.

    Returns
    -------
    pandas.DataFrame
        One row: ``n``, ``seconds``, ``largest_difference`` (relative), ``unscored_differ`` (how
        many have a score in one only), and the date and seconds of the stored run.
    """
    stored = scored(dataset, weights, batch_size, seed, n_archs, n_jobs, space_name=space_name)
    batch = inputs.batch(dataset, batch_size, seed)
    n_anew = min(n_anew, len(stored))
    archs = np.sort(np.random.default_rng(seed).choice(stored.index, n_anew, replace=False))
    folder = paths.cache() / "recheck"
    start = time.perf_counter()
    scores = scoring.score(
        space_name, batch, weights, archs, n_jobs=n_jobs, rebuild=True, folder=folder
    )
    seconds = time.perf_counter() - start
    anew = _epsilon(scores, weights, space_name)
    before = stored.loc[archs, "epsilon"]
    differences = (anew - before).abs() / before.abs().clip(lower=np.finfo(float).tiny)
    return pd.DataFrame(
        [
            {
                "dataset": dataset,
                "n": n_anew,
                "seconds": round(seconds, 1),
                "largest_difference": differences.max(),
                "unscored_differ": int((before.isna() != anew.isna()).sum()),
                "stored": stored.attrs["run"]["created"],
                "stored_seconds": stored.attrs["run"]["seconds"],
            }
        ]
    )


def weight_pairs(
    dataset: str,
    weights: Sequence[float],
    batch_size: int,
    seed: int,
    n_archs: int,
    n_jobs: int,
    table: str = "table06",
    space_name: str = "nasbench201",
) -> pd.DataFrame:
    """Compute epsilon for every pair of the weights on the same architectures.

    Parameters
    ----------
    table : {"table05", "table06"}
        The paper's table for the space.

    Returns
    -------
    pandas.DataFrame
        A row per pair: ``w1``, ``w2``, ``archs`` (how many have a score), the six scores, and all
        of these as reported (suffix ``_paper``).
    """
    archs = scoring.sample(space_name, n_archs, seed)
    batch = inputs.batch(dataset, batch_size, seed)
    scores = scoring.score(space_name, batch, weights, archs, n_jobs=n_jobs)
    target, minimise = benchmarks.target(space_name)
    trained = benchmarks.trained(space_name, dataset)[target].loc[scores.index].dropna()
    scores = scores.loc[trained.index]
    rows = []
    for w1, w2 in combinations(sorted(weights), 2):
        values = statistics.evaluate(scores[scoring.pair((w1, w2))], trained, minimise)
        rows.append(
            {"w1": w1, "w2": w2, "n": len(trained), "archs": values["n_scored"]}
            | values[list(statistics.SCORES)].to_dict()
        )
    return pd.DataFrame(rows).merge(
        reported(table), on=["w1", "w2"], how="left", suffixes=("", "_paper"), validate="1:1"
    )


def select_weights(
    problems: Mapping[str, Sequence[str]],
    exponents: Sequence[int],
    largest_share: float,
    batch_size: int,
    seed: int,
    n_archs: int,
    n_evaluated: int,
    n_jobs: int,
) -> pd.DataFrame:
    """Choose the two weights by the published rule, and compare with the paper's choice (Table 8).

    The rule takes pairs of powers of ten, the widest first and of equally wide ones the smallest
    first, until a pair leaves less than some share of a few random architectures without a score.

    Parameters
    ----------
    problems : mapping of str to sequence of str
        Search spaces and their datasets.
    exponents : sequence of int
        Of the powers of ten.
    largest_share : float
        The share without a score has to be below it.
    batch_size, seed, n_archs : int
        The inputs, and how many random architectures decide.
    n_evaluated : int
        How many random architectures the two choices are then evaluated on.
    n_jobs : int
        See :func:`epsutil.scoring.score`.

    Returns
    -------
    pandas.DataFrame
        A row per space, dataset and choice (``chosen_by``: ``"paper"`` or ``"rule"``): ``w1``,
        ``w2`` (NaN where no pair satisfies the rule), ``unscored`` (the share of the `n_archs`),
        ``n``, ``n_scored`` and ``rho`` on the `n_evaluated`.
    """
    rows = []
    for space_name, datasets in problems.items():
        archs = scoring.sample(space_name, n_archs, seed)
        evaluated = scoring.sample(space_name, n_evaluated, seed)
        target, minimise = benchmarks.target(space_name)
        for dataset in datasets:
            batch = inputs.batch(dataset, batch_size, seed)
            weights = sorted(float(f"1e{exponent}") for exponent in exponents)
            scores = scoring.score(space_name, batch, weights, archs, n_jobs=n_jobs)
            pairs = sorted(combinations(range(len(weights)), 2), key=lambda p: (p[0] - p[1], p[0]))
            fitting = [
                (weights[a], weights[b])
                for a, b in pairs
                if _epsilon(scores, (weights[a], weights[b]), space_name).isna().mean()
                < largest_share
            ]
            trained = benchmarks.trained(space_name, dataset)[target].loc[evaluated].dropna()
            choices = {"paper": spaces.get(space_name).weights}
            choices["rule"] = fitting[0] if fitting else (np.nan, np.nan)
            for chosen_by, (w1, w2) in choices.items():
                row: dict[str, Any] = {"space": space_name, "dataset": dataset}
                row |= {"chosen_by": chosen_by, "w1": w1, "w2": w2}
                if not np.isnan(w1):
                    few = scoring.score(space_name, batch, (w1, w2), archs, n_jobs=n_jobs)
                    many = scoring.score(space_name, batch, (w1, w2), evaluated, n_jobs=n_jobs)
                    row["unscored"] = _epsilon(few, (w1, w2), space_name).isna().mean()
                    score = _epsilon(many, (w1, w2), space_name).loc[trained.index]
                    values = statistics.evaluate(score, trained, minimise)
                    row |= values[["n", "n_scored", "rho"]].to_dict()
                rows.append(row)
    return pd.DataFrame(rows)


def agreement(
    n_archs: int,
    batch_size: int,
    image_size: int,
    seed: int,
    dtypes: Sequence[str],
    space_name: str = "nasbench201",
    kind: str = "normal",
    exponents: tuple[float, float] = (-7, 1),
) -> pd.DataFrame:
    """Compare the width collapse with full-width torch networks, on random architectures.

    Every architecture gets its own pair of weights, drawn log-uniformly between two powers of ten.
    Both evaluations run on one core, so that their times can be compared.

    Parameters
    ----------
    n_archs, batch_size, image_size, seed : int
        The image size has no meaning for texts.
    dtypes : sequence of {"float32", "float64"}
    space_name, kind : str
        See :func:`epsutil.spaces.get` and :func:`epsutil.inputs.batch`.
    exponents : two floats
        Of the smallest and the largest weight.

    Returns
    -------
    pandas.DataFrame
        A row per architecture and dtype: ``full`` and ``collapsed`` epsilon, the seconds of both,
        ``w1``, ``w2``, ``index``; ``spread``: the smaller of the two rows' range of outputs
        relative to their size, in units of the dtype's rounding error (at full width); and
        ``dropped_differ``: whether the two disagree on which entries Eq. 1 makes 0 and drops,
        where outputs tie with the smallest one.
    """
    space = spaces.get(space_name)
    rng = np.random.default_rng(seed)
    batch = inputs.batch(kind, batch_size, seed, image_size).x
    torch.set_num_threads(1)
    rows = []
    for index in rng.choice(len(space), n_archs, replace=False):
        arch = space[int(index)]
        weights = sorted(map(float, 10 ** rng.uniform(*exponents, 2)))
        for dtype in dtypes:
            network = space.build(arch).to(getattr(torch, dtype))
            x = torch.from_numpy(batch.astype(dtype) if batch.dtype.kind == "f" else batch)
            start = time.perf_counter()
            outputs = metric.outputs(network, x, weights)
            middle = time.perf_counter()
            collapsed = space.outputs(arch, x, weights, dtype)
            end = time.perf_counter()
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


def _spread(outputs: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        ranges = np.ptp(outputs, axis=1) / np.spacing(np.abs(outputs).max(axis=1))
    return float(ranges.min())


AT_LIMIT = 100


def agreement_summary(
    rows: pd.DataFrame, relative_tolerance: float = 1e-4, rounding_errors: float = 10
) -> pd.DataFrame:
    """Summarise :func:`agreement` per dtype.

    Parameters
    ----------
    rows : pandas.DataFrame
    relative_tolerance : float
        In float32.
    rounding_errors : float
        How many of them outputs gather on their way; hundreds in a recurrent network.

    Returns
    -------
    pandas.DataFrame
        ``dtype``, ``n``, ``n_scored`` (at full width), ``unscored_differ`` (scored by one only)
        and how many of these are ``at_limit``: at full width the outputs of a row are within
        `AT_LIMIT` representable numbers of each other; ``largest_absolute`` and
        ``largest_relative`` difference; ``ill``: how many scores rounding decides, see below;
        ``outside``: of the others, how many differ by more than the tolerance (float32: relative,
        or 1e-5 absolute; float64: 1e-9); median ``speedup``.

    Notes
    -----
    Rounding decides a score where full width in float32 and in float64 differ by more than the
    tolerance, where the outputs of a row differ by less than their rounding errors over the
    tolerance, and where it decides which of them tie with the smallest one.
    """
    summary = []
    exact = rows[rows["dtype"] == "float64"].set_index("index")["full"]
    for dtype, group in rows.groupby("dtype", sort=False):
        rows_of = group.set_index("index")
        full = rows_of["full"]
        absolute = (full - rows_of["collapsed"]).abs()
        relative = absolute / full.abs()
        if dtype == "float32":
            tolerance = np.maximum(relative_tolerance * full.abs(), 1e-5)
            ill = (full - exact.reindex(full.index)).abs() > tolerance
            ill |= rows_of["spread"] < rounding_errors / relative_tolerance
        else:
            tolerance = pd.Series(1e-9, full.index)
            ill = rows_of["spread"] < rounding_errors / 1e-9
        ill = (ill | rows_of["dropped_differ"]) & full.notna()
        one_only = full.isna() != rows_of["collapsed"].isna()
        summary.append(
            {
                "dtype": dtype,
                "n": len(group),
                "n_scored": int(full.notna().sum()),
                "unscored_differ": int(one_only.sum()),
                "at_limit": int((one_only & (rows_of["spread"] < AT_LIMIT)).sum()),
                "largest_absolute": absolute.max(),
                "largest_relative": relative.max(),
                "ill": int(ill.sum()),
                "outside": int((~ill & (absolute > tolerance)).sum()),
                "speedup": float((group["seconds_full"] / group["seconds_collapsed"]).median()),
            }
        )
    return pd.DataFrame(summary)


def steps(outputs: np.ndarray, normalised: np.ndarray, n_images: int = 6) -> pd.DataFrame:
    """Tabulate the first images' outputs, raw and normalised (Eq. 1)."""
    frame = pd.DataFrame(
        {
            "v1": outputs[0],
            "v2": outputs[1],
            "v1_normalised": normalised[0],
            "v2_normalised": normalised[1],
            "difference": np.abs(normalised[0] - normalised[1]),
        }
    )
    return frame.rename_axis("image").reset_index().head(n_images)


def counts(frames: Mapping[str, pd.DataFrame], space_name: str = "nasbench201") -> pd.DataFrame:
    """Count, for each dataset, the architectures that a scatter plot shows.

    Returns
    -------
    pandas.DataFrame
        ``dataset``, ``n``, ``n_scored``, and what training gave for the best architecture of all,
        for the best that has a score, and for the one with the highest epsilon.
    """
    target, minimise = benchmarks.target(space_name)
    rows = []
    for dataset, frame in frames.items():
        scored = frame.dropna(subset="epsilon")
        rows.append(
            {
                "dataset": dataset,
                "n": len(frame),
                "n_scored": len(scored),
                "best": frame[target].min() if minimise else frame[target].max(),
                "best_scored": scored[target].min() if minimise else scored[target].max(),
                "highest_epsilon": scored.nlargest(1, "epsilon")[target].mean(),  # NaN of none
            }
        )
    return pd.DataFrame(rows)


def distinct_functions() -> int:
    """Count the functions that NAS-Bench-201 makes under constant weights."""
    space = spaces.get("nasbench201")
    return len({space.key(space[i]) for i in range(len(space))})


def images(datasets: Sequence[str], batch_size: int, seed: int) -> str:
    """Say where the images of a page come from, with their checksums."""
    batches = [inputs.batch(dataset, batch_size, seed) for dataset in datasets]
    return "; ".join(
        f"{batch.source} (seed {seed}, SHA-256 {batch.checksum[:12]}…)" for batch in batches
    )
