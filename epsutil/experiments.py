"""What the notebooks compute: a problem, and a few verbs on it.

Each verb returns a tidy DataFrame that is written to CSV as it is. Column names are those of
:data:`epsutil.statistics.SCORES`, with the suffixes ``_low`` and ``_high`` (bootstrap interval),
``_all`` (unscored architectures rank last) and ``_paper`` (reported).
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from epsutil import benchmarks, inputs, noise, paths, proxies, scoring, search, statistics, store
from epsutil.inputs import Batch
from epsutil.names import CEILING, CORRELATIONS, check_known
from epsutil.spaces import Space
from epsutil.statistics import SCORES

LARGEST = 20_000  # architectures that a page scores by itself; more take an hour
SIZES = ("params", "flops")  # recurrent networks have no flops
LATER = ("zico", "zico_released", "zico_signed", "meco", "swap", "az_nas")  # than the paper
ARCHITECTURES = ("own", "common", "last")


@dataclass(frozen=True)
class Problem:
    """Architectures of a search space, scored on a batch of inputs, beside what training gave.

    Nothing is read or computed before it is asked for; then it is kept.

    Parameters
    ----------
    space : epsutil.spaces.Space
    batch : epsutil.inputs.Batch
        Its kind is the dataset that the networks were trained on.
    archs : array of int
        Indices of architectures, see :meth:`epsutil.spaces.Space.sample`; those of the competing
        metrics are added.
    weights : two floats
        The constants of epsilon.
    n_jobs, dtype, largest
        See :func:`epsutil.scoring.score`.
    groups : sequence of str, optional
        The competing metrics: some of :func:`epsutil.scoring.groups`, by default all that the
        tables show. A group that neither the book nor you have scores of is left out.
    n_competitors : int, default 0
        How many architectures to score by each competing metric; 0 takes what is stored.
    results : pandas.DataFrame, optional
        What training gave, by architecture; by default :func:`epsutil.benchmarks.trained`.

    Examples
    --------
    Accuracies and images that need no download, 100 random architectures. 59 of them have an
    epsilon, and it ranks these well:

    >>> from epsutil import spaces
    >>> space, batch = spaces.get("nasbench201"), inputs.batch("grey", 32)
    >>> accuracies = benchmarks.analog_nasbench()
    >>> archs = space.sample(100)
    >>> problem = Problem(space, batch, archs, (1e-7, 1.0), n_jobs=1, results=accuracies)
    >>> problem.evaluate()[["n", "n_scored", "rho"]].round(2).to_dict()
    {'n': 100.0, 'n_scored': 59.0, 'rho': 0.9}
    >>> problem.frame.nlargest(2, "epsilon")[["test_accuracy", "params", "epsilon"]].round(2)
           test_accuracy  params  epsilon
    index
    1383           93.06  372346     0.69
    12384          93.64  830426     0.56

    Any other score can be evaluated on the same architectures:

    >>> problem.evaluate(problem.frame["params"])[["n_scored", "rho"]].round(2).to_dict()
    {'n_scored': 100.0, 'rho': 0.79}
    """

    space: Space
    batch: Batch
    archs: NDArray[np.int64]
    weights: Sequence[float]
    n_jobs: int = -1
    dtype: str = "float32"
    groups: Sequence[str] | None = None
    n_competitors: int = 0
    results: pd.DataFrame | None = None
    largest: int | None = LARGEST

    def __post_init__(self) -> None:
        if len(self.weights) != 2:
            raise ValueError(f"weights={list(self.weights)}: a problem has two weights")
        also = scoring.order(self.space)[: self.n_competitors]
        object.__setattr__(self, "archs", np.union1d(self.archs, also))

    @property
    def dataset(self) -> str:
        """What the networks were trained on."""
        return self.batch.kind

    @property
    def seed(self) -> int:
        """The seed of the batch, and of what is drawn besides."""
        return self.batch.seed

    @cached_property
    def trained(self) -> pd.DataFrame:
        """What training gave and the sizes, of the architectures that have a result."""
        results = self.results
        if results is None:
            results = benchmarks.trained(self.space, self.dataset)
        return results.loc[self.archs].dropna(subset=self.target)

    @property
    def target(self) -> str:
        """The column of `trained` that ranks networks."""
        return benchmarks.target(self.space)[0]

    @property
    def minimise(self) -> bool:
        """Whether less of it is better."""
        return benchmarks.target(self.space)[1]

    @property
    def result(self) -> pd.Series:
        """The accuracy (%) or loss of each architecture, which ranks networks."""
        return self.trained[self.target]

    def scores(self, weights: Sequence[float] | None = None) -> pd.DataFrame:
        """Return epsilon of all architectures, a column per pair of weights."""
        weights = self.weights if weights is None else weights
        given = (weights, self.archs, self.dtype, self.n_jobs)
        return scoring.score(self.space, self.batch, *given, largest=self.largest)

    def epsilon(self, weights: Sequence[float] | None = None) -> pd.Series:
        """Return epsilon of all architectures, NaN where the authors count no score."""
        weights = self.weights if weights is None else weights
        return self.scored(self.scores(weights), weights)

    def scored(self, scores: pd.DataFrame, weights: Sequence[float]) -> pd.Series:
        """Return a column of :meth:`scores`, NaN where the authors count no score."""
        epsilon = scores[scoring.pair(weights)]
        return epsilon if self.space.zero_is_score else epsilon.where(epsilon != 0)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """`trained` with a column ``epsilon``."""
        return self.trained.assign(epsilon=self.epsilon().reindex(self.trained.index))

    @cached_property
    def networks(self) -> pd.Series:
        """A label for each of these architectures, the same for copies of one network."""
        index = self.trained.index
        return pd.Series(self.space.networks(index), index)

    @cached_property
    def metrics(self) -> "Metrics":
        """Every metric of these architectures, among them sizes and epsilon."""
        usual, later = shown_groups(self.space), shown_groups(self.space, LATER)
        known = {}
        for group in usual if self.groups is None else self.groups:
            if group not in (*usual, *later):
                continue
            try:
                known[group] = self.group(group)
            except store.NotStored:
                version = scoring.version(self.space, group)
                begins = f"{self.space.name}-{self.dataset}-{group}-b"
                if store.named(paths.RECORDED_SCORES, begins, version):  # of other inputs
                    raise
        frame = self.frame.copy()
        sizes = [name for name in SIZES if name in frame]
        evaluated = dict.fromkeys(("epsilon", *sizes), frame.index)
        seconds = dict.fromkeys(sizes, np.nan) | {"epsilon": _seconds(self)}
        for group, stored in known.items():
            made = scoring.GROUPS[group]
            for name in made.names:
                sign = -1 if proxies.get(name).lower_is_better else 1
                frame[name] = sign * stored[name].reindex(frame.index)
                evaluated[name] = frame.index.intersection(stored.index)
                seconds[name] = stored[scoring.SECONDS].mean()
            if made.ranked_with:
                parts = frame.loc[evaluated[made.names[0]], [*made.names, *made.ranked_with]]
                frame[group] = statistics.rank_product(parts)
                evaluated[group], seconds[group] = parts.index, seconds[made.names[0]]
        *earlier, last = order(self.space)
        ordered = [name for name in (*earlier, *LATER, last) if name in evaluated]
        return Metrics(frame, {name: evaluated[name] for name in ordered}, seconds)

    def evaluate(self, score: pd.Series | None = None) -> pd.Series:
        """Return how well a score, by default epsilon, ranks what training gave.

        See :func:`epsutil.statistics.evaluate`.
        """
        score = self.frame["epsilon"] if score is None else score
        return statistics.evaluate(score.reindex(self.result.index), self.result, self.minimise)

    def group(self, group: str, parameter: str = "n_competitors") -> pd.DataFrame:
        """Return the scores of a group of metrics; without `n_competitors`, what is stored.

        Where none are, an :class:`epsutil.store.NotStored` asks for `parameter`.
        """
        asked = (self.space, self.dataset, group, self.n_competitors)
        found = scoring.score_group(*asked, n_jobs=self.n_jobs)
        if found is None:
            names = ", ".join(scoring.GROUPS[group].names)
            raise store.NotStored(
                f"no scores of {self.space.name} by {names} are stored for the inputs at hand "
                f"({self.dataset}, {', '.join(inputs.needs(self.dataset)) or 'synthetic'}); give "
                f"{parameter}, the number of architectures to compute"
            )
        return found


@dataclass(frozen=True)
class Metrics:
    """All metrics for one dataset. More is better for each."""

    frame: pd.DataFrame  # what training gave, and a column per metric; NaN without a score
    evaluated: Mapping[str, pd.Index]  # the architectures that a metric was computed for
    seconds: Mapping[str, float]  # for one network on one core; NaN for the sizes

    def names(self, n_least: int = 0) -> list[str]:
        """Return the metrics that were computed for so many architectures at least, or for all."""
        n_least = min(n_least, len(self.frame))
        return [name for name, index in self.evaluated.items() if len(index) >= n_least]

    def together(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the architectures that all of these metrics were computed for."""
        indices = [self.evaluated[name] for name in names]
        return self.frame.loc[reduce(pd.Index.intersection, indices, self.frame.index)]


def _seconds(problem: Problem) -> float:
    """Time epsilon on a few random architectures, on one core."""
    space = problem.space
    x = space.prepare(problem.batch.x)
    archs = [space[int(i)] for i in scoring.order(space)[:20]]
    space.score(archs[0], x, problem.weights)  # compiles
    start = time.process_time()
    for arch in archs:
        space.score(arch, x, problem.weights)
    return (time.process_time() - start) / len(archs)


def shown_groups(space: Space | str, metrics: Collection[str] = ()) -> tuple[str, ...]:
    """Return the groups of the metrics that a space's tables show, or of some others as `LATER`."""
    wanted, groups = metrics or order(space), scoring.groups_of(space).items()
    return tuple(dict.fromkeys(g for name, g in groups if name in wanted or g in wanted))


def order(space: Space | str) -> tuple[str, ...]:
    """Return the metrics of a search space in the order of a table, epsilon last."""
    paper = ("grad_sign", "synflow", "grad_norm", "grasp", "snip", "fisher")
    more = ("fisher_weighted", "jacob_cov", "naswot", "cv", "ntk", "linear_regions")
    known = scoring.groups_of(space)
    return (*(name for name in (*paper, *more) if name in known), *SIZES, "epsilon")


def search_score(problem: Problem, metric: str, unscored: str = "worst") -> search.Scored:
    """Return what a search over the whole space knows by one of :attr:`Problem.metrics`.

    `unscored` is as in :func:`epsutil.search.scored`; what it was not computed for is not drawn.
    """
    index = problem.metrics.evaluated[metric]
    score = problem.metrics.frame.loc[index, metric].reindex(range(len(problem.space)))
    return search.scored(score, unscored, index)


def picked(
    problem: Problem, pool: int, rounds: int, seed: int, unscored: str = "worst"
) -> dict[str, NDArray[np.int64]]:
    """Return the best scored of `pool` random architectures in each round, by metric.

    See :func:`epsutil.search.pick`. Metrics computed for fewer than three times as many are left
    out, lest every round draws the same.
    """
    names = [name for name, index in problem.metrics.evaluated.items() if len(index) >= 3 * pool]
    each = ((name, search_score(problem, name, unscored)) for name in names)
    return {name: search.pick(score, pool, rounds, seed) for name, score in each}


def courses(
    histories: Mapping[str, NDArray[np.int64]], signal: pd.Series, result: pd.Series
) -> pd.DataFrame:
    """Summarise how searches fare, step by step: histories by the name of their method.

    Returns a row per ``method`` and ``step`` with quartiles over the rounds of the two
    :class:`epsutil.search.Curves`: ``oracle_low``, ``oracle``, ``oracle_high``, ``honest_low`` and
    so on. Of many steps it has some, closer together at the beginning.
    """
    frames = []
    for method, history in histories.items():
        steps = np.unique(np.geomspace(1, history.shape[1], 60).round().astype(int))
        rows: dict[str, Any] = {"method": method, "step": steps}
        for name, curve in search.curves(history, signal, result)._asdict().items():
            quartiles = np.quantile(curve[:, steps - 1], (0.25, 0.5, 0.75), axis=0)
            rows |= zip((f"{name}_low", name, f"{name}_high"), quartiles, strict=True)
        frames.append(pd.DataFrame(rows))
    return pd.concat(frames, ignore_index=True)


def lead(
    curves: Mapping[str, NDArray[np.float64]],
    steps: Sequence[int],
    n_resamples: int,
    seed: int,
    of: str = "epsilon",
) -> pd.DataFrame:
    """Say how far one search leads others on average, and how many trainings it saves.

    `curves` have what each search would choose after each training, [rounds, trained], see
    :func:`epsutil.search.curves`; they are compared with that of the search `of`, after each of
    some numbers of trainings, `steps`. The bootstrap draws rounds, the same of all searches.

    Returns a row per step and ``method``: its mean, ``test``, and that of the first search,
    ``test_epsilon``; their difference, ``lead``; and ``saved``, the trainings that are left when
    the first is as good as the other at its end, -inf where it never is. ``test``, ``lead`` and
    ``saved`` have 95% intervals, ``_low`` and ``_high``, see
    :data:`epsutil.statistics.LEAST_RESAMPLES`.

    Examples
    --------
    What the other search has after three trainings, this one has after two:

    >>> ours, other = np.array([[90.0, 93.0, 93.0]]), np.array([[90.0, 91.0, 92.0]])
    >>> found = lead({"epsilon": ours, "other": other}, [3], n_resamples=0, seed=0)
    >>> found.loc[found["method"] == "other", ["lead", "saved"]].to_dict("records")
    [{'lead': 1.0, 'saved': 1.0}]
    """
    n_rounds = len(curves[of])
    n = n_resamples if n_resamples >= statistics.LEAST_RESAMPLES else 0
    drawn = np.random.default_rng(seed).multinomial(n_rounds, np.full(n_rounds, 1 / n_rounds), n)
    shares = np.vstack([np.ones(n_rounds), drawn]) / n_rounds  # first all rounds, then resamples
    means = {name: shares @ curve for name, curve in curves.items()}
    ours, rows = means[of], []
    for step in steps:
        for method, theirs in means.items():
            goal = theirs[:, step - 1]
            reached = ours >= goal[:, None] - 1e-9  # beyond rounding
            first = np.where(reached.any(axis=1), 1 + reached.argmax(axis=1), np.inf)
            row: dict[str, Any] = {"method": method, "step": step}
            quantities = {"test": goal, "lead": ours[:, step - 1] - goal, "saved": step - first}
            for name, values in quantities.items():
                low = high = np.nan
                if n:  # what was never reached is infinite: nothing to interpolate
                    low, high = np.quantile(values[1:], (0.025, 0.975), method="inverted_cdf")
                row |= {name: values[0], f"{name}_low": low, f"{name}_high": high}
            rows.append(row | {"test_epsilon": ours[0, step - 1]})
    return pd.DataFrame(rows)


# The paper's values --------------------------------------------------------------------------


def reported(table: str, datasets: Sequence[str] = ()) -> pd.DataFrame:
    """Return a table of the paper, as printed; see ``data/paper/README.md``.

    With `datasets`, the rows of a table of metrics; some of these tables have one dataset only.
    """
    paper = pd.read_csv(paths.PAPER / f"{table}.csv")
    if not datasets:
        return paper
    if "dataset" not in paper:
        paper["dataset"] = datasets[0]
    return paper.loc[paper["dataset"].isin(datasets), ["dataset", "metric", *SCORES]]


def beside_paper(frame: pd.DataFrame, paper: pd.DataFrame, on: Sequence[str]) -> pd.DataFrame:
    """Add the reported values to a table, with the suffix ``_paper``."""
    return frame.merge(paper, on=on, how="left", suffixes=("", "_paper"), validate="m:1")


# Evaluate ------------------------------------------------------------------------------------


def evaluation(
    score: pd.Series,
    result: pd.Series,
    n_resamples: int | None = None,
    seed: int = 21,
    minimise: bool = False,
    unscored_last: bool = False,
    networks: pd.Series | None = None,
) -> dict[str, Any]:
    """Return the six scores, what the unscored change, and intervals if asked for, as one row.

    With `networks`, see :attr:`Problem.networks`, a network is what intervals draw; ``n_networks``
    of them have a score, and ``rho_networks`` is ρ with one row per network.
    """
    covered = statistics.coverage(score, result, minimise).to_dict()
    if networks is not None:
        networks = networks[score.index]
        covered["n_networks"] = networks[score.notna()].nunique()
    if unscored_last:  # what ranks last has no score all the same
        score = score.rank(method="dense").fillna(0)
    row = covered | statistics.evaluate(score, result, minimise)[list(SCORES)].to_dict()
    if networks is not None:
        both = pd.DataFrame({"score": score, "result": result})
        row["rho_networks"] = statistics.rho(*statistics.per_network(both, networks).to_numpy().T)
    if n_resamples is None:
        return row
    interval = statistics.bootstrap(
        score, result, n_resamples, seed, minimise=minimise, networks=networks
    )
    return row | {f"{k}_{side}": interval.loc[k, side] for k in interval.index for side in interval}


def ceiling(problem: Problem, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the noise ceiling as a row of :func:`metrics_table`, without intervals.

    `runs` are those that the trained result is the mean of, a column each, by the architecture's
    index, and NaN where there is none. See :func:`epsutil.noise.ceiling`.
    """
    known = runs.reindex(problem.result.index).dropna(how="all")
    found = noise.ceiling(problem.result[known.index], known, n_draws=20, seed=problem.seed)
    row = {"dataset": problem.dataset, "metric": CEILING, "source": "computed"}
    return pd.DataFrame([row | {"n": len(known), "n_scored": len(known)} | dict(found["value"])])


def epsilon_and_sizes(
    frame: pd.DataFrame, dataset: str, target: str, minimise: bool = False
) -> pd.DataFrame:
    """Evaluate epsilon and the sizes that a frame has, a row each, without intervals."""
    return pd.DataFrame(
        {"dataset": dataset, "metric": name, "source": "computed"}
        | evaluation(frame[name], frame[target], minimise=minimise)
        for name in ("epsilon", *SIZES)
        if name in frame
    )


def pairs(evaluated: pd.DataFrame, table: str) -> pd.DataFrame:
    """Put the reported values of Table 5, 6 or 7 beside an evaluation of pairs of weights.

    `evaluated` is what :func:`epsutil.statistics.evaluate_each` returns, its rows named by
    :func:`epsutil.scoring.pair`. Returns a row per pair: ``w1``, ``w2``, the columns of
    `evaluated`; with ``_paper`` as reported in `table`, such as ``"table05"``.

    Examples
    --------
    >>> scores = pd.DataFrame({"1e-07,1": [0.1, 0.4, 0.2, 0.7]})
    >>> accuracy = pd.Series([90.0, 92.0, 91.0, 94.0])
    >>> found = pairs(statistics.evaluate_each(scores, accuracy), "table06")
    >>> found[["w1", "w2", "rho", "rho_paper"]]
                 w1   w2  rho  rho_paper
    0  1.000000e-07  1.0  1.0       0.87
    """
    two = evaluated.index.to_series().str.split(",", expand=True).astype(float)
    both = two.set_axis(["w1", "w2"], axis=1).join(evaluated).reset_index(drop=True)
    return beside_paper(both, reported(table), ["w1", "w2"])


def settings(evaluated: pd.DataFrame, table: str) -> pd.DataFrame:
    """Put the reported values of Table 9, 10 or 11 beside an evaluation of its settings.

    `evaluated` has a row per setting, named as in `table`, such as ``"table09"``, in capitals or
    not; those that the table lacks stay. Returns the table's first column, with the names of
    `evaluated`; the columns of `evaluated`; with ``_paper`` as reported.
    """
    paper = reported(table)
    name, named = paper.columns[0], {str(setting).lower(): setting for setting in evaluated.index}
    spelled = paper[name].str.lower().str.replace("centered", "centred")
    paper[name] = spelled.map(named).fillna(spelled)
    return beside_paper(evaluated.rename_axis(name).reset_index(), paper, [name])


def searches(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Put the reported values of Table 2 beside what searches found; rows that one lacks stay.

    Each of `rows` has ``dataset``, ``group``, ``method``, ``pool``; ``validation``, ``test``, with
    the suffix ``_std`` their deviation; and more. Dataset by dataset, the paper's methods come
    first; ``validation_paper``, ``test_paper``, with ``_std``, and ``cost_hours`` are as reported.
    """
    paper = reported("table02").rename(columns={"n": "pool"}).fillna({"pool": 0})
    keys = ["dataset", "group", "method", "pool"]
    hours = paper.groupby(keys, sort=False)["cost_hours"].first()
    means = paper.pivot(index=keys, columns="split", values=["mean", "std"]).reindex(hours.index)
    means.columns = [f"{split}_paper" + "_std" * (kind == "std") for kind, split in means]
    paper = pd.concat([hours, means], axis=1).reset_index()
    both = paper.merge(pd.DataFrame(rows), "outer", keys)
    order = [*benchmarks.DATASETS, *paper["method"], *(row["method"] for row in rows)]
    return both.sort_values(["dataset", "method"], key=lambda names: names.map(order.index))


def batches(
    table: str, problems: Sequence[Problem], seeds: Sequence[int], n_archs: int
) -> pd.DataFrame:
    """Evaluate epsilon with several batches of inputs, always on the same random architectures.

    Returns a row per dataset and seed of a batch, as :meth:`Problem.evaluate`, beside what `table`
    reports.
    """
    rows = []
    for problem in problems:
        archs, size = problem.space.sample(n_archs, seed=0), problem.batch.size
        for seed in seeds:
            batch = inputs.batch(problem.dataset, size, seed)
            other = replace(problem, batch=batch, archs=archs, n_competitors=0)
            rows.append({"dataset": problem.dataset, "seed": seed, **other.evaluate()})
    paper = reported(table, [problem.dataset for problem in problems])
    return beside_paper(pd.DataFrame(rows), paper.query("metric == 'epsilon'"), ["dataset"])


def by_batch_size(batches: pd.DataFrame) -> pd.DataFrame:
    """Summarise evaluations with several batches of each size, as the paper's Figure 4 does.

    Of a row per batch, ``dataset``, ``batch_size`` and what :func:`epsutil.statistics.evaluate`
    returns, it makes one per dataset and size: ``n``, ``batches``, the least and the most
    architectures that have a score, ``n_scored`` and ``n_scored_most``; for each of the six scores
    its median and quartiles, for example ``rho_low``, ``rho`` and ``rho_high``.
    """
    groups = batches.groupby(["dataset", "batch_size"], sort=False)
    rows = groups["n_scored"].agg(n_scored="min", n_scored_most="max")
    rows.insert(0, "n", groups["n"].first())
    rows.insert(1, "batches", groups.size())
    for score in SCORES:
        quartiles = groups[score].quantile([0.25, 0.5, 0.75]).unstack()
        rows[[f"{score}_low", score, f"{score}_high"]] = quartiles.to_numpy()
    return rows.reset_index()


def batch_size_claims(
    medians: pd.DataFrame, size: int = 256, no_gain: float = 0.01
) -> pd.DataFrame:
    """Judge what Section 3.3 of the paper says of larger batches.

    `medians` are those of :func:`by_batch_size`; the paper recommends `size`, and the largest that
    is not above it is taken; `no_gain` counts as almost no improvement, by default a last digit of
    the paper's tables.

    Returns a row per dataset and correlation: ``gain`` of the median from the smallest batch to the
    largest, at how many of the ``steps`` between it ``rises``, ``width_change`` of the distance
    between the quartiles, the gain ``beyond`` `size`; and whether the claims hold: ``better``, more
    ``stable``, ``enough`` with `size` images.
    """
    rows = []
    for dataset, sizes in medians.sort_values("batch_size").groupby("dataset", sort=False):
        first, last = sizes.iloc[0], sizes.iloc[-1]
        chosen = sizes[sizes["batch_size"] <= size].iloc[-1]
        for score in CORRELATIONS:
            gain, beyond = last[score] - first[score], last[score] - chosen[score]
            narrow, wide = (end[f"{score}_high"] - end[f"{score}_low"] for end in (last, first))
            row = {"dataset": dataset, "score": score, "gain": gain, "steps": len(sizes) - 1}
            row |= {"rises": int((sizes[score].diff() > 0).sum()), "width_change": narrow - wide}
            row |= {"beyond": beyond, "better": gain > 0, "stable": narrow < wide}
            rows.append(row | {"enough": beyond <= no_gain})
    return pd.DataFrame(rows)


def counts(problems: Sequence[Problem]) -> pd.DataFrame:
    """Count the architectures that a scatter plot shows, dataset by dataset.

    Returns ``dataset``, ``n``, ``n_scored``, ``rho``, and what training gave for the best
    architecture of all, for the best that has a score, and for the one with the highest epsilon.

    Examples
    --------
    >>> from epsutil import spaces
    >>> space, results = spaces.get("nasbench201"), benchmarks.analog_nasbench()
    >>> given = (inputs.batch("grey", 32), space.sample(100), (1e-7, 1.0))
    >>> problem = Problem(space, *given, n_jobs=1, results=results)
    >>> counts([problem])[["n", "n_scored", "best", "highest_epsilon"]].round(1)
         n  n_scored  best  highest_epsilon
    0  100        59  93.6             93.1
    """
    rows = []
    for problem in problems:
        scored = problem.frame.dropna(subset="epsilon")
        best = pd.Series.min if problem.minimise else pd.Series.max
        rows.append(
            {
                "dataset": problem.dataset,
                "n": len(problem.frame),
                "n_scored": len(scored),
                "rho": statistics.evaluate(scored["epsilon"], scored[problem.target])["rho"],
                "best": best(problem.result),
                "best_scored": best(scored[problem.target]),
                "highest_epsilon": scored.nlargest(1, "epsilon")[problem.target].mean(),
            }
        )
    return pd.DataFrame(rows)


# Compare metrics -----------------------------------------------------------------------------


def metrics_table(
    table: str,
    problems: Sequence[Problem],
    n_resamples: int,
    architectures: str = "own",
    n_least: int = 500,
) -> pd.DataFrame:
    """Compute all rows of a table of the paper that compares metrics.

    Parameters
    ----------
    table : {"table01", "table03", "table04"}
        Whose reported rows to put beside.
    problems : sequence of Problem
        One for each dataset.
    architectures : {"own", "common", "last"}
        What a metric is evaluated on: all architectures that it was computed for; those that all
        metrics score; or those that all metrics were computed for, the unscored ranking last.
    n_least : int
        For the latter two, metrics computed for fewer architectures are left out.

    Returns
    -------
    pandas.DataFrame
        A row per dataset and metric; ``source`` is ``"computed"``, or ``"reported"`` for the
        paper's own rows. ``seconds`` is for one network on one core.
    """
    check_known("choice of architectures", architectures, ARCHITECTURES)
    asked, work = [], []
    for problem in problems:
        metrics, target = problem.metrics, problem.target
        names = metrics.names(0 if architectures == "own" else n_least)
        for name in names:
            frame = metrics.together([name] if architectures == "own" else names)
            if architectures == "common":
                frame = frame.dropna(subset=names)
            last = architectures == "last"
            given = (n_resamples, problem.seed, problem.minimise, last, problem.networks)
            work.append(joblib.delayed(evaluation)(frame[name], frame[target], *given))
            asked.append((problem, name))
    results = joblib.Parallel(n_jobs=problems[0].n_jobs, return_as="generator")(work)
    progress = tqdm(results, "metrics", len(work), leave=False, disable=None, delay=3)
    made = []
    for (problem, name), values in zip(asked, progress, strict=True):
        if values["n"] < 0.9 * len(problem.metrics.frame):  # a count of 64 depends on how many
            values |= {key: np.nan for key in values if key.startswith("top64_top5")}
        row = {"dataset": problem.dataset, "metric": name, "source": "computed"}
        made.append(row | values | {"seconds": problem.metrics.seconds[name]})
    paper = reported(table, [problem.dataset for problem in problems]).assign(source="reported")
    return pd.concat([paper, pd.DataFrame(made)], ignore_index=True)


def evaluate_metrics(
    problems: Sequence[Problem], names: Collection[str], n_resamples: int
) -> pd.DataFrame:
    """Evaluate some metrics, each on all architectures that it was computed for.

    Returns a row per dataset and metric: ``seconds`` and what :func:`evaluation` returns.
    """
    rows = []
    for problem in problems:
        metrics = problem.metrics
        for name in (name for name in metrics.evaluated if name in names):
            frame = metrics.together([name])
            row = {"dataset": problem.dataset, "metric": name, "seconds": metrics.seconds[name]}
            given = (n_resamples, problem.seed, problem.minimise, False, problem.networks)
            rows.append(row | evaluation(frame[name], frame[problem.target], *given))
    return pd.DataFrame(rows)


def fisher_biases(problem: Problem, n_resamples: int) -> pd.DataFrame:
    """Evaluate fisher on networks without and with biases, on the same architectures.

    Returns a row per formula and kind of network: ``metric``, ``biased``, what :func:`evaluation`
    returns, and with ``_paper`` what Table 1 reports of fisher.
    """
    paper = reported("table01", [problem.dataset]).set_index("metric").loc["fisher"]
    plain, biased = problem.metrics.frame, problem.group("fisher_biased")
    index = biased.index.intersection(problem.metrics.evaluated.get("fisher", plain.index))
    rows = []
    for name in ("fisher", "fisher_weighted"):
        for has_bias, scores in ((False, plain), (True, biased)):
            if name in scores:
                row = {"dataset": problem.dataset, "metric": name, "biased": has_bias}
                both = scores.loc[index, name], problem.result[index]
                row |= evaluation(*both, n_resamples, problem.seed, networks=problem.networks)
                rows.append(row | {f"{score}_paper": paper[score] for score in SCORES})
    return pd.DataFrame(rows)


def same_architectures(problems: Sequence[Problem], n_least: int) -> pd.DataFrame:
    """Evaluate all metrics on the same architectures, the unscored left out or ranking last.

    Returns a row per dataset and metric: ``n_common``, ``rho_common``, ``tau_common`` over what all
    metrics score; ``n_last``, ``rho_last``, ``tau_last`` over what all were computed for.
    """
    rows = []
    for problem in problems:
        names = problem.metrics.names(n_least)
        last = problem.metrics.together(names)
        for name in names:
            row = {"dataset": problem.dataset, "metric": name}
            for end, frame in (("common", last.dropna(subset=names)), ("last", last)):
                # nothing is unscored in the first, so that `_all` are its scores, too
                values = statistics.coverage(frame[name], frame[problem.target], problem.minimise)
                row |= {f"n_{end}": values["n"], f"rho_{end}": values["rho_all"]}
                row[f"tau_{end}"] = values["tau_all"]
            rows.append(row)
    return pd.DataFrame(rows)


def against_epsilon(problems: Sequence[Problem]) -> pd.DataFrame:
    """Compare epsilon's rho with that of every other metric by Steiger's test.

    Returns a row per dataset and metric (``other``). Each pair is compared on the architectures
    that both score, ``n``, of those that both were computed for, ``n_computed``; ``n_space`` is how
    many of the whole space have a trained result. ``rho_a`` (epsilon) and ``rho_b`` are over these
    architectures; with the suffix ``_networks`` over the ``n_networks`` different ones, a row each,
    which :func:`epsutil.statistics.steiger` tests: ``z`` and ``pvalue``.
    """
    rows = []
    for problem in problems:
        trained = benchmarks.trained(problem.space, problem.dataset)[problem.target]
        for name in problem.metrics.names()[:-1]:
            frame = problem.metrics.together([name, "epsilon"])
            three = frame[["epsilon", name, problem.target]].dropna()
            each = statistics.per_network(three, problem.networks[three.index])
            found, test = (
                statistics.steiger(of["epsilon"], of[name], of[problem.target], problem.minimise)
                for of in (three, each)
            )
            row = {"dataset": problem.dataset, "other": name, "z": test.z, "pvalue": test.pvalue}
            row |= {"rho_a": found.rho_a, "rho_b": found.rho_b, "n": found.n}
            row |= {"rho_a_networks": test.rho_a, "rho_b_networks": test.rho_b}
            row |= {"n_networks": test.n, "n_computed": len(frame)}
            rows.append(row | {"n_space": int(trained.count())})
    return pd.DataFrame(rows)


def plotted(problems: Sequence[Problem]) -> pd.DataFrame:
    """Count what scatter plots of all metrics show, dataset by dataset.

    Returns a row per dataset and metric: ``n``, the architectures that it was computed for;
    ``n_scored``; ``rho``; what training gave for the best of the latter, ``best_scored``, and for
    the one with the highest score, ``highest`` (the mean where several share it).
    """
    rows = []
    for problem in problems:
        for name, index in problem.metrics.evaluated.items():
            scored = problem.metrics.frame.loc[index].dropna(subset=name)
            result = scored[problem.target]
            rows.append(
                {
                    "dataset": problem.dataset,
                    "metric": name,
                    "n": len(index),
                    "n_scored": len(scored),
                    "rho": stats.spearmanr(scored[name], result).statistic,
                    "best_scored": result.min() if problem.minimise else result.max(),
                    "highest": result[scored[name] == scored[name].max()].mean(),
                }
            )
    return pd.DataFrame(rows)


# Random weights ------------------------------------------------------------------------------


def draws(problem: Problem, group: str) -> pd.DataFrame:
    """Return epsilon from two random draws of the weights: a column per scheme, and ``seconds``.

    `group` is ``"draws"`` or ``"draws_averaged"``, the latter with a mean in place of the linear
    layer. Schemes are named as in Table 9.
    """
    scores = problem.group(group, parameter="n_draws")
    return scores.rename(columns=lambda name: name.removeprefix("epsilon_").replace("_", " "))


def like_for_like(
    scores: pd.DataFrame, others: pd.DataFrame, target: pd.Series, suffix: str
) -> pd.DataFrame:
    """Evaluate scores and others of the same names, each on the architectures that have both.

    Returns a row per score, as :func:`epsutil.statistics.evaluate_each`, also with `suffix`.
    """
    index = scores.index.intersection(others.index)
    scores, others = scores.loc[index], others.loc[index]
    both = scores.notna() & others.notna()
    first, second = (
        statistics.evaluate_each(of.where(both), target[index]) for of in (scores, others)
    )
    return first.join(second.add_suffix(suffix))


# Agree ---------------------------------------------------------------------------------------


def subsets(problem: Problem, wide: str = "float64") -> dict[str, pd.Series]:
    """Return epsilon in float32, as the paper evaluates it, and in a wider range.

    These are ``float32``, and for example ``float64``, ``float64_same`` (only of what float32
    scores) and ``float64_rest`` (only of the others, whose signals vanish in float32).
    """
    single, double = (replace(problem, dtype=d).frame["epsilon"] for d in ("float32", wide))
    return {
        "float32": single,
        wide: double,
        f"{wide}_same": double.where(single.notna()),
        f"{wide}_rest": double.where(single.isna()),
    }


def precision(problem: Problem) -> pd.DataFrame:
    """Evaluate each of :func:`subsets`: four rows, named in the column ``evaluated``."""
    return pd.DataFrame(
        {"dataset": problem.dataset, "evaluated": name, **problem.evaluate(score)}
        for name, score in subsets(problem).items()
    )


def recheck(problem: Problem, n_anew: int) -> pd.DataFrame:
    """Score a few of the architectures anew, at most all, and compare with what is stored.

    Returns one row: ``n``, ``seconds``, ``largest_difference`` (relative), ``unscored_differ`` (how
    many have a score in one only), and the date and seconds of the stored run.
    """
    run = problem.scores().attrs["run"]
    n_anew = min(n_anew, len(problem.frame))
    rng = np.random.default_rng(problem.seed)
    archs = np.sort(rng.choice(problem.frame.index, n_anew, replace=False))
    start = time.perf_counter()
    scores = scoring.score(
        problem.space, problem.batch, problem.weights, archs, n_jobs=problem.n_jobs,
        rebuild=True, folder=paths.cache() / "recheck",
    )  # fmt: skip
    seconds = time.perf_counter() - start
    anew = problem.scored(scores, problem.weights)
    before = problem.frame.loc[archs, "epsilon"]
    differences = (anew - before).abs() / before.abs().clip(lower=np.finfo(float).tiny)
    row = {
        "dataset": problem.dataset,
        "n": n_anew,
        "seconds": round(seconds, 1),
        "largest_difference": differences.max(),
        "unscored_differ": int((before.isna() != anew.isna()).sum()),
        "stored": run["created"],
        "stored_seconds": run["seconds"],
    }
    return pd.DataFrame([row])
