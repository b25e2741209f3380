"""What the notebooks compute about the metrics that epsilon competes with.

As in :mod:`epsutil.experiments`, every function returns a tidy DataFrame. Scores come from
:mod:`epsutil.scoring`; metrics that are better when lower are turned round, so that all of
them mean better by higher.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from epsutil import (
    benchmarks,
    experiments,
    inputs,
    paths,
    proxies,
    scoring,
    spaces,
    statistics,
    store,
)
from epsutil.book import verdicts
from epsutil.names import DATASETS, SCORES

SIZES = experiments.METRICS[1:]
ARCHITECTURES = ("own", "common", "last")
CV_IMAGES = scoring.GROUPS["cv"].batch_size


class Scores(NamedTuple):
    """All metrics for one dataset."""

    frame: pd.DataFrame  # what training gave, and a column per metric; NaN without a score
    evaluated: Mapping[str, pd.Index]  # the architectures that a metric was computed for
    seconds: Mapping[str, float]  # for one network on one core; NaN for the sizes

    def names(self, n_least: int = 0) -> list[str]:
        """Return the metrics that were computed for so many architectures at least, or for all."""
        n_least = min(n_least, len(self.frame))
        return [name for name, index in self.evaluated.items() if len(index) >= n_least]

    def together(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the architectures that all of these metrics were computed for."""
        index = self.frame.index
        for name in names:
            index = index.intersection(self.evaluated[name])
        return self.frame.loc[index]


def scores(
    dataset: str,
    weights: Sequence[float],
    batch_size: int,
    seed: int,
    n_archs: int,
    n_competitors: int,
    n_jobs: int,
    space_name: str = "nasbench201",
    groups: Sequence[str] | None = None,
) -> Scores:
    """Join training, the sizes, epsilon and every competing metric.

    Parameters
    ----------
    dataset, weights, batch_size, seed, n_archs, n_jobs, space_name
        See :func:`epsutil.experiments.scored`.
    n_competitors : int
        How many architectures to score by each competing metric. 0 takes what is stored.
    groups : sequence of str, optional
        Some of :func:`epsutil.scoring.groups`, by default all with metrics of
        :func:`order`. A group that the book has no scores of is left out.

    Raises
    ------
    epsutil.store.NotStored
        `n_competitors` is 0, and the book has scores of a group, but for other inputs.
    """
    known = {}
    for group in scoring.groups(space_name) if groups is None else groups:
        if scoring.GROUPS[group].apart or not (
            set(scoring.GROUPS[group].names) & set(order(space_name))
        ):
            continue
        recorded = f"{space_name}-{dataset}-{group}-*.parquet"
        if n_competitors or any(paths.RECORDED_SCORES.glob(recorded)):
            known[group] = _known(space_name, dataset, group, n_competitors, n_jobs)
    more = scoring.order(space_name)[:n_competitors]
    frame = experiments.scored(
        dataset, weights, batch_size, seed, n_archs, n_jobs, space_name=space_name, more=more
    )
    names = list(filter(frame.__contains__, SIZES))
    evaluated = dict.fromkeys(("epsilon", *names), frame.index)
    seconds = dict.fromkeys(names, np.nan)
    seconds |= {"epsilon": _seconds(dataset, weights, batch_size, seed, space_name)}
    for group, stored in known.items():
        index = frame.index.intersection(stored.index)
        for name in scoring.GROUPS[group].names:
            sign = -1 if proxies.get(name).lower_is_better else 1
            frame[name] = sign * stored[name].reindex(frame.index)
            evaluated[name] = index
            seconds[name] = stored[scoring.SECONDS].mean()
    ordered = [name for name in order(space_name) if name in evaluated]
    return Scores(frame, {name: evaluated[name] for name in ordered}, seconds)


def _known(
    space_name: str,
    dataset: str,
    group: str,
    n_archs: int,
    n_jobs: int,
    parameter: str = "n_competitors",
) -> pd.DataFrame:
    """Return the scores of a group; where `n_archs` is 0, those that are stored."""
    found = scoring.score_group(space_name, dataset, group, n_archs, n_jobs=n_jobs)
    if found is None:
        names = ", ".join(scoring.GROUPS[group].names)
        raise store.NotStored(
            f"no scores of {space_name} by {names} are stored for the inputs at hand ({dataset}, "
            f"{', '.join(inputs.needs(dataset)) or 'synthetic'}); give {parameter}, the number of "
            "architectures to compute"
        )
    return found


def all_scores(datasets: Sequence[str], *arguments: Any, **more: Any) -> dict[str, Scores]:
    """Return :func:`scores`, which takes the other arguments, of several datasets by name."""
    return {dataset: scores(dataset, *arguments, **more) for dataset in datasets}


def _seconds(
    dataset: str, weights: Sequence[float], batch_size: int, seed: int, space_name: str
) -> float:
    """Time epsilon on a few random architectures, on one core."""
    space, x = spaces.get(space_name), inputs.batch(dataset, batch_size, seed).x
    archs = [space[int(i)] for i in scoring.order(space_name)[:20]]
    space.score(archs[0], x, weights)  # compiles
    start = time.perf_counter()
    for arch in archs:
        space.score(arch, x, weights)
    return (time.perf_counter() - start) / len(archs)


def order(space_name: str) -> tuple[str, ...]:
    """Return the metrics of a search space in the order of a table, epsilon last."""
    paper = ("grad_sign", "synflow", "grad_norm", "grasp", "snip", "fisher")
    more = ("fisher_weighted", "jacob_cov", "naswot", "cv", "ntk", "linear_regions")
    known = {n for g in scoring.groups(space_name) for n in scoring.GROUPS[g].names}
    return (*(name for name in (*paper, *more) if name in known), *SIZES, "epsilon")


def metrics_table(
    table: str,
    found: Mapping[str, Scores],
    n_resamples: int,
    seed: int,
    architectures: str = "own",
    n_least: int = 500,
    space_name: str = "nasbench201",
    n_jobs: int = 1,
) -> pd.DataFrame:
    """Compute all rows of a table of the paper that compares metrics.

    Parameters
    ----------
    table : {"table01", "table03", "table04"}
        Whose reported rows to put beside.
    found : mapping of str to Scores
        See :func:`all_scores`.
    n_resamples, seed : int
        Of the bootstrap.
    architectures : {"own", "common", "last"}
        What a metric is evaluated on: all architectures that it was computed for; those that all
        metrics score; or those that all metrics were computed for, the unscored ranking last.
    n_least : int
        For the latter two, metrics computed for fewer architectures are left out.
    n_jobs : int, default 1
        Processes that share the rows; -1 is one per core.

    Returns
    -------
    pandas.DataFrame
        A row per dataset and metric; ``source`` is ``"computed"``, or ``"reported"`` for the
        paper's own rows. ``seconds`` is for one network on one core.

    Raises
    ------
    ValueError
        `architectures` is none of those.
    """
    if architectures not in ARCHITECTURES:
        raise ValueError(
            f"architectures is {architectures!r}; choose one of {', '.join(ARCHITECTURES)}"
        )
    target, minimise = benchmarks.target(space_name)
    rows, work = [], []
    for dataset, metrics in found.items():
        names = metrics.names(0 if architectures == "own" else n_least)
        together = metrics.together(names)
        for name in names:
            frame = together
            if architectures == "own":
                frame = metrics.frame.loc[metrics.evaluated[name]]
            if architectures == "common":
                frame = frame.dropna(subset=names)
            score = _unscored_last(frame[name]) if architectures == "last" else frame[name]
            row = {"dataset": dataset, "metric": name, "source": "computed"}
            if architectures == "last":  # what ranks last has no score all the same
                covered = statistics.coverage(frame[name], frame[target], minimise)
                row |= covered[["n_scored", "coverage", "top10_unscored"]].to_dict()
            rows.append(row)
            work.append(
                joblib.delayed(experiments.evaluation)(
                    score, frame[target], n_resamples, seed, minimise
                )
            )
    results = joblib.Parallel(n_jobs=n_jobs, return_as="generator")(work)
    progress = tqdm(results, "metrics", len(work), leave=False, disable=None, delay=3)
    for row, values in zip(rows, progress, strict=True):
        metrics = found[row["dataset"]]
        if values["n"] < 0.9 * len(metrics.frame):  # a count of 64 depends on how many there are
            values |= {key: np.nan for key in values if key.startswith("top64_top5")}
        row |= values | row | {"seconds": metrics.seconds[row["metric"]]}
    paper = experiments.reported_metrics(table, list(found)).assign(source="reported")
    return pd.concat([paper, pd.DataFrame(rows)], ignore_index=True)


def higher_than_reported(table: pd.DataFrame) -> str:
    """Name the metrics whose ρ is above the reported one on every dataset, chance aside."""
    ours, paper = (
        table[table["source"] == source].set_index(["dataset", "metric"])["rho"]
        for source in ("computed", "reported")
    )
    difference = (ours - paper).dropna()
    difference = difference.drop("epsilon", level="metric", errors="ignore")
    above = (difference > verdicts.COMPETITORS_TOLERANCE).groupby("metric", sort=False).all()
    return ", ".join(above.index[above]) or "none"


def fisher_networks(
    found: Mapping[str, Scores], n_resamples: int, seed: int, n_competitors: int, n_jobs: int
) -> pd.DataFrame:
    """Compute fisher on NAS-Bench-201's networks and on those of Abdelfattah et al.

    The latter have biases, see :attr:`epsutil.spaces.nasbench201.NASBench201.variants`.

    Parameters
    ----------
    found, n_resamples, seed
        See :func:`metrics_table`.
    n_competitors, n_jobs : int
        See :func:`scores`.

    Returns
    -------
    pandas.DataFrame
        A row per dataset, metric and network (``biased``), on the architectures that both networks
        were computed for; those without biases only where `found` has fisher. The reported values
        of fisher are in columns that end in ``_paper``.

    Raises
    ------
    epsutil.store.NotStored
        Nothing is stored and `n_competitors` is 0.
    """
    target, minimise = benchmarks.target("nasbench201")
    paper = experiments.reported_metrics("table01", list(found))
    rows = []
    for dataset, metrics in found.items():
        biased = _known("nasbench201", dataset, "fisher_biased", n_competitors, n_jobs)
        index = biased.index.intersection(metrics.evaluated.get("fisher", metrics.frame.index))
        reported = paper.query("metric == 'fisher' and dataset == @dataset").iloc[0]
        for name in ("fisher", "fisher_weighted"):
            for has_bias, scored in ((False, metrics.frame), (True, biased)):
                if name not in scored:
                    continue
                values = experiments.evaluation(
                    scored.loc[index, name],
                    metrics.frame.loc[index, target],
                    n_resamples,
                    seed,
                    minimise,
                )
                rows.append(
                    {"dataset": dataset, "metric": name, "biased": has_bias}
                    | values
                    | {f"{key}_paper": reported[key] for key in SCORES}
                )
    return pd.DataFrame(rows)


def chance_in_cv(datasets: Sequence[str]) -> str:
    """Say how large cv is for guesses: they are right once in C times, for C classes."""
    texts = []
    for dataset in datasets:
        classes = inputs.classes(dataset)
        whose = "'s stand-in" if classes != benchmarks.num_classes(dataset) else ""
        value = np.sqrt((classes - 1) / CV_IMAGES)
        texts.append(f"{value:.2f} for the {classes} classes of {DATASETS[dataset]}{whose}")
    return ", ".join(texts)


def stand_in(space_name: str = "nasbench201", dataset: str = "ImageNet16-120") -> str:
    """Say what of the stand-in, besides its images, enters which metrics."""
    labelled = [n for n in order(space_name) if n in proxies.names() and proxies.get(n).labels]
    return (
        f"the networks had {inputs.classes(dataset)} outputs, one for each of its classes, not "
        f"{DATASETS[dataset]}'s {benchmarks.num_classes(dataset)}, and {', '.join(labelled)} had "
        "its labels"
    )


def between_fishers(table: pd.DataFrame) -> str:
    """Say for how many datasets the reported ρ lies between both fishers' with biases."""
    groups = table[table["biased"]].groupby("dataset")
    return _between(groups["rho_paper"].first(), groups["rho"].agg(["min", "max"]))


def _between(reported: pd.Series, ours: pd.DataFrame) -> str:
    """Say how many reported values lie between ours, a row of values for each."""
    inside = reported.between(ours.min(axis=1), ours.max(axis=1))
    return f"{inside.sum()} of {len(inside)}"


def _unscored_last(score: pd.Series) -> pd.Series:
    """Return ranks, the architectures without a score below all others."""
    return score.rank(method="dense").fillna(0)


def against_epsilon(found: Mapping[str, Scores], space_name: str = "nasbench201") -> pd.DataFrame:
    """Compare epsilon's rho with that of every other metric by Steiger's test.

    Returns
    -------
    pandas.DataFrame
        A row per dataset and metric (``other``); see :func:`epsutil.statistics.steiger`. Each pair
        on the architectures that both score, ``n``, of those that both were computed for,
        ``n_computed``; ``n_space`` is how many of the whole space have a trained result.
    """
    target, minimise = benchmarks.target(space_name)
    rows = []
    for dataset, metrics in found.items():
        n_space = int(benchmarks.trained(space_name, dataset)[target].notna().sum())
        for name in metrics.names()[:-1]:
            frame = metrics.together([name, "epsilon"])
            test = statistics.steiger(frame["epsilon"], frame[name], frame[target], minimise)
            row = {"dataset": dataset, "other": name} | test._asdict()
            rows.append(row | {"n_computed": len(frame), "n_space": n_space})
    return pd.DataFrame(rows)


def tests_made(table: pd.DataFrame) -> str:
    """Say how many tests :func:`against_epsilon` makes, and what that asks of their p-values."""
    pvalues = table["pvalue"].dropna()
    if not len(pvalues):
        return "no tests"
    n = len(pvalues)
    bound = 0.05 / n  # Bonferroni
    return (
        f"{n} tests, so that a p-value has to be below 0.05/{n} = {bound:.2g} to count at the 5% "
        f"level (Bonferroni): {(pvalues < bound).sum()} are"
    )


def tests_on_whole_spaces(table: pd.DataFrame) -> str:
    """Say in how many tests of :func:`against_epsilon` no architecture was left to chance."""
    made = table.dropna(subset="pvalue")
    return f"{(made['n_computed'] == made['n_space']).sum()} of {len(made)}"


def same_architectures(
    found: Mapping[str, Scores], n_least: int, space_name: str = "nasbench201"
) -> pd.DataFrame:
    """Evaluate all metrics on the same architectures, the unscored left out or ranking last.

    Returns
    -------
    pandas.DataFrame
        A row per dataset and metric: ``n_common``, ``rho_common``, ``tau_common`` over the
        architectures that all metrics score; ``n_last``, ``rho_last``, ``tau_last`` over those that
        all were computed for.
    """
    target, minimise = benchmarks.target(space_name)
    rows = []
    for dataset, metrics in found.items():
        names = metrics.names(n_least)
        last = metrics.together(names)
        common = last.dropna(subset=names)
        for name in names:
            row = {"dataset": dataset, "metric": name}
            for which, frame in (("common", common), ("last", last)):
                score = _unscored_last(frame[name]) if which == "last" else frame[name]
                values = statistics.evaluate(score, frame[target], minimise)
                row |= {f"{key}_{which}": values[key] for key in ("n", "rho", "tau")}
            rows.append(row)
    return pd.DataFrame(rows)


def initialisations(
    weights: Sequence[float],
    batch_size: int,
    seed: int,
    n_archs: int,
    n_draws: int,
    n_jobs: int,
    dataset: str = "cifar10",
) -> pd.DataFrame:
    """Compute Table 9: epsilon from two random draws of the weights instead of two constants.

    Parameters
    ----------
    weights, batch_size, seed, n_archs, n_jobs, dataset
        Of epsilon with constants, see :func:`epsutil.experiments.scored`.
    n_draws : int
        How many architectures to score with draws; 0 takes what is stored.

    Returns
    -------
    pandas.DataFrame
        A row per scheme (``initialisation``), the last one ``"constant"``: ``n``, ``archs`` (how
        many have a score), the six scores; as reported with the suffix ``_paper``; ``seconds`` for
        one network on one core.
    """
    drawn = _scores_of_draws("draws", dataset, n_draws, n_jobs)
    frame = experiments.scored(
        dataset, weights, batch_size, seed, n_archs, n_jobs, more=drawn.index
    ).loc[drawn.index]
    target, _ = benchmarks.target("nasbench201")
    paper = _reported_schemes()
    columns = {scheme: drawn[scheme] for scheme in paper["initialisation"]}
    columns["constant"] = frame["epsilon"]
    rows = []
    for scheme, score in columns.items():
        values = statistics.evaluate(score, frame[target])
        rows.append(
            {"initialisation": scheme, "n": len(frame), "archs": values["n_scored"]}
            | values[list(statistics.SCORES)].to_dict()
            | {"seconds": drawn[scoring.SECONDS].mean() / len(paper)}
        )
    joined = pd.DataFrame(rows).merge(
        paper, on="initialisation", how="left", suffixes=("", "_paper"), validate="1:1"
    )
    joined.loc[joined["initialisation"] == "constant", "seconds"] = np.nan
    return joined


def linear_layer(n_draws: int, n_jobs: int, dataset: str = "cifar10") -> pd.DataFrame:
    """Compute what the random linear layer does to Table 9's epsilon.

    Parameters
    ----------
    n_draws, n_jobs, dataset
        See :func:`initialisations`.

    Returns
    -------
    pandas.DataFrame
        A row per scheme (``initialisation``): ``n``, ``archs`` (how many have a score), ``rho`` and
        ``tau``; with the suffix ``_averaged`` for the mean over channels instead of the linear
        layer, see :attr:`epsutil.spaces.nasbench201.NASBench201.variants`, of the same
        architectures and draws; as reported with the suffix ``_paper``.
    """
    drawn = _scores_of_draws("draws", dataset, n_draws, n_jobs)
    averaged = _scores_of_draws("draws_averaged", dataset, n_draws, n_jobs)
    index = drawn.index.intersection(averaged.index)
    target, _ = benchmarks.target("nasbench201")
    accuracy = benchmarks.trained("nasbench201", dataset).loc[index, target]
    rows = []
    for _, paper in _reported_schemes().iterrows():
        scheme = paper["initialisation"]
        both = [scores.loc[index, scheme] for scores in (drawn, averaged)]
        scored = both[0].notna() & both[1].notna()  # like for like
        with_layer, without = (statistics.evaluate(score.where(scored), accuracy) for score in both)
        row = {"initialisation": scheme, "n": len(index), "archs": with_layer["n_scored"]}
        for name in ("rho", "tau"):
            row |= {name: with_layer[name], f"{name}_averaged": without[name]}
            row |= {f"{name}_paper": paper[name]}
        rows.append(row)
    return pd.DataFrame(rows)


def _scores_of_draws(group: str, dataset: str, n_draws: int, n_jobs: int) -> pd.DataFrame:
    """Return epsilon from random draws, a column per scheme, and the seconds."""
    drawn = _known("nasbench201", dataset, group, n_draws, n_jobs, "n_draws")
    return drawn.rename(columns=lambda name: name.removeprefix("epsilon_").replace("_", " "))


def _reported_schemes() -> pd.DataFrame:
    """Return the paper's Table 9, the schemes named as in :data:`epsutil.initialise.SCHEMES`."""
    paper = experiments.reported("table09")
    return paper.assign(initialisation=paper["initialisation"].str.lower())


def between_outputs(table: pd.DataFrame) -> str:
    """Say how many reported ρ lie between those with and without the linear layer."""
    return _between(table["rho_paper"], table[["rho", "rho_averaged"]])


def same_counts(table: pd.DataFrame) -> str:
    """Say how many architectures :func:`same_architectures` compares on."""
    first = table.groupby("dataset", sort=False).first()
    return _per_dataset(
        first["n_common"].map("{:,.0f} that all metrics score, of ".format)
        + first["n_last"].map("{:,.0f} that all were computed for".format)
    )


def correlations(found: Scores, n_least: int) -> pd.DataFrame:
    """Correlate the ranks of all metrics, pair by pair.

    Returns
    -------
    pandas.DataFrame
        A row per pair, ``a`` and ``b``: ``rho``, and ``n``, the architectures that both score.
    """
    names = found.names(n_least)
    rows = []
    for a in names:
        for b in names:
            both = found.together([a, b])[[a, b]].dropna()
            rho = 1.0 if a == b else stats.spearmanr(both[a], both[b]).statistic
            rows.append({"a": a, "b": b, "rho": float(rho), "n": len(both)})
    return pd.DataFrame(rows)


def beyond_size(found: Scores, n_least: int, space_name: str = "nasbench201") -> pd.DataFrame:
    """Correlate each metric with the trained result after the number of parameters.

    Returns
    -------
    pandas.DataFrame
        A row per metric: ``n``, ``rho`` with what training gave, ``rho_size`` with the number of
        parameters, and ``partial``, the rank correlation with the former given the latter.
    """
    target, _ = benchmarks.target(space_name)
    rows = []
    for name in found.names(n_least):
        if name == "params":
            continue
        frame = found.together([name])[[name, "params", target]].dropna()
        ranks = stats.rankdata(frame, axis=0)
        (_, with_size, rho), (_, _, size), _ = np.corrcoef(ranks.T)
        left = (1 - with_size**2) * (1 - size**2)  # 0 where the metric ranks just as size does
        partial = (rho - with_size * size) / np.sqrt(left) if left > 1e-9 else np.nan
        rows.append(
            {
                "metric": name,
                "n": len(frame),
                "rho": rho,
                "rho_size": with_size,
                "partial": partial,
            }
        )
    return pd.DataFrame(rows)


def drawn(found: Mapping[str, Scores], space_name: str = "nasbench201") -> pd.DataFrame:
    """Count what scatter plots of all metrics show, dataset by dataset.

    Returns
    -------
    pandas.DataFrame
        A row per dataset and metric: ``n``, the architectures that it was computed for;
        ``n_scored``; ``rho``; what training gave for the best of the latter, ``best_scored``, and
        for the one with the highest score, ``highest`` (the mean where several share it).
    """
    target, minimise = benchmarks.target(space_name)
    rows = []
    for dataset, metrics in found.items():
        for name, index in metrics.evaluated.items():
            scored = metrics.frame.loc[index].dropna(subset=name)
            trained = scored[target]
            rows.append(
                {
                    "dataset": dataset,
                    "metric": name,
                    "n": len(index),
                    "n_scored": len(scored),
                    "rho": stats.spearmanr(scored[name], trained).statistic,
                    "best_scored": trained.min() if minimise else trained.max(),
                    "highest": trained[scored[name] == scored[name].max()].mean(),
                }
            )
    return pd.DataFrame(rows)


def pairs(found: Mapping[str, Scores], n_least: int) -> pd.DataFrame:
    """Return :func:`correlations` with a column ``dataset``."""
    return pd.concat(
        [correlations(metrics, n_least).assign(dataset=name) for name, metrics in found.items()],
        ignore_index=True,
    )


def size_apart(
    found: Mapping[str, Scores], n_least: int, space_name: str = "nasbench201"
) -> pd.DataFrame:
    """Compute :func:`beyond_size` for several datasets.

    Returns
    -------
    pandas.DataFrame
        Its columns; ``dataset``; ``rho_params``, the correlation of the number of parameters itself
        with what training gave, on the same architectures; ``n_epsilon`` and ``partial_epsilon``,
        the partial correlation over those that epsilon scores, too.
    """
    target, _ = benchmarks.target(space_name)
    tables = []
    for dataset, metrics in found.items():
        table = beyond_size(metrics, n_least, space_name).assign(dataset=dataset)
        frames = [metrics.together([name]).dropna(subset=name) for name in table["metric"]]
        table["rho_params"] = [stats.spearmanr(f["params"], f[target]).statistic for f in frames]
        common = metrics._replace(frame=metrics.frame.dropna(subset="epsilon"))
        table[["n_epsilon", "partial_epsilon"]] = beyond_size(common, n_least, space_name)[
            ["n", "partial"]
        ]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def covered_metrics(table: pd.DataFrame) -> str:
    """Say how many architectures each metric was computed for, per dataset.

    `table` has the columns ``dataset``, ``metric`` and ``n``.
    """
    texts = []
    for dataset, rows in table.groupby("dataset", sort=False):
        counts = rows.groupby("n")["metric"].agg(list).sort_index(ascending=False)
        texts.append(
            f"{DATASETS[dataset]}: " + ", ".join(f"{', '.join(m)} {n:,}" for n, m in counts.items())
        )
    return "; ".join(texts)


def closest(table: pd.DataFrame, metric: str | None = None) -> str:
    """Say which two metrics, sizes aside, or which to one, rank most alike; see :func:`pairs`."""
    if metric is None:
        apart = table[(table["a"] < table["b"]) & ~table[["a", "b"]].isin(SIZES).any(axis=1)]
    else:
        apart = table[(table["a"] == metric) & (table["b"] != metric)]
    apart = apart.dropna(subset="rho")
    best = apart.loc[apart.groupby("dataset", sort=False)["rho"].idxmax()].set_index("dataset")
    return _per_dataset(best["b"] if metric else best["a"] + " and " + best["b"])


def best_beyond_size(table: pd.DataFrame, column: str = "partial") -> str:
    """Say which metric ranks best after size, by a column of :func:`size_apart`."""
    table = table.dropna(subset=column)
    best = table.loc[table.groupby("dataset", sort=False)[column].idxmax()]
    return _per_dataset(best.set_index("dataset")["metric"])


def _per_dataset(answers: pd.Series) -> str:
    """Write an answer per dataset, an answer that is always the same only once."""
    if answers.empty:
        return "none"
    if answers.nunique() == 1:
        return f"{answers.iloc[0]}"
    return ", ".join(f"{answer} on {DATASETS[str(name)]}" for name, answer in answers.items())


def no_better_than_size(table: pd.DataFrame) -> str:
    """Say which metrics rank no better than the number of parameters on any dataset."""
    return _always(table, table["rho"] <= table["rho_params"])


def halved_by_size(table: pd.DataFrame) -> str:
    """Say which metrics keep less than half of their correlation after size on every dataset."""
    return _always(table, table["partial"].abs() < table["rho"].abs() / 2)


def _always(table: pd.DataFrame, is_so: pd.Series) -> str:
    """Name the metrics, sizes aside, for which something is so on every dataset that they have."""
    always = is_so.groupby(table["metric"], sort=False).all()
    names = [name for name, so in always.items() if so and name not in SIZES]
    return ", ".join(names) or "none"


def sampling_error(table: pd.DataFrame) -> str:
    """Say how far a correlation over the smallest of the random samples may be off."""
    n = int(table[["n", "n_epsilon"]].min(axis=None))
    if n < 3:
        return f"unknown for {n}"
    return f"{1.96 / np.sqrt(n - 1):.2f} for {n:,} architectures"


def best_picks(table: pd.DataFrame) -> str:
    """Say how good the networks are that epsilon and the others rank first; see :func:`drawn`."""
    texts = []
    for dataset, rows in table.groupby("dataset", sort=False):
        highest = rows.set_index("metric")["highest"]
        others = highest.drop("epsilon")
        texts.append(
            f"{highest['epsilon']:.2f} by epsilon and {others.max():.2f} by {others.idxmax()} "
            f"on {DATASETS[dataset]}"
        )
    return "; ".join(texts)


def at_chance(found: Mapping[str, Scores]) -> str:
    """Say how many networks are no better than guessing, and how many of them epsilon scores."""
    target, _ = benchmarks.target("nasbench201")
    texts = []
    for dataset, metrics in found.items():
        chance = 100 / benchmarks.num_classes(dataset)
        lost = metrics.frame[metrics.frame[target] < 1.01 * chance]
        texts.append(
            f"{len(lost)} on {DATASETS[dataset]} ({lost['epsilon'].notna().sum()} with an epsilon)"
        )
    return ", ".join(texts)
