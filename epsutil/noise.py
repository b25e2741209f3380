"""What the noise of training leaves a metric to reach.

Who trains a network twice gets two accuracies. So no metric ranks what was measured perfectly, and
how well one that knew every expected accuracy would rank it is the **noise ceiling**.
"""

from collections.abc import Mapping
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from epsutil import statistics
from epsutil.names import check_seed
from epsutil.statistics import SCORES, Floats, checked, numbers


class Reliability(NamedTuple):
    """What `reliability` returns."""

    rho: float
    n: int
    k: float
    of_mean: float
    attenuated: float

    @property
    def reason(self) -> str:
        """Why `attenuated` is NaN, in one line; "" where it is not."""
        if np.isnan(self.rho):
            return "no two runs tell the same three architectures apart"
        if self.rho <= 0:
            return f"two runs rank each other no better than by chance (rho {self.rho:.3g})"
        return "no target is the mean of any run" if np.isnan(self.k) else ""


def reliability(runs: ArrayLike, counts: ArrayLike | None = None) -> Reliability:
    r"""Return how well one training run ranks another, and what that leaves a metric to reach.

    Parameters
    ----------
    runs : array-like of shape (n_archs, n_runs)
        What each run gave, a row per architecture; NaN where there is none.
    counts : array-like of int, shape (n_archs,), optional
        How many runs the target of an architecture is the mean of, by default those in `runs`.

    Returns
    -------
    Reliability
        ``rho``: Spearman's rho between two runs, the mean over all pairs of columns, each over the
        ``n`` architectures or fewer that have both; ``k``: the harmonic mean of `counts`;
        ``of_mean``: rho between two means of ``k`` runs, by the Spearman-Brown formula;
        ``attenuated``: the ceiling by formula, the square root of ``of_mean``. NaN where no two
        runs are of the same three architectures, the latter two also where rho is not above 0,
        which the formula is not for; ``reason`` says so.

    Notes
    -----
    If a target is truth plus independent noise, its correlation with the truth is the square root
    of its reliability :math:`r_k`, and no metric that knows nothing of the noise correlates better:

    .. math::

        r_k = \frac{k r_1}{1 + (k - 1) r_1}

        \operatorname{corr}(\text{truth}, \text{mean of } k \text{ runs}) = \sqrt{r_k}

    With differing counts the mean of :math:`1/k` takes the place of :math:`1/k`. This holds for
    Pearson's correlation, for ranks approximately, and not for Kendall's tau or within the top
    10%, which the same noise selects; :func:`ceiling` simulates these.

    References
    ----------
    Spearman, C. (1904), *American Journal of Psychology* 15(1), 72-101; (1910), *British Journal of
    Psychology* 3(3), 271-295. Brown, W. (1910), *ibid.*, 296-322.

    Examples
    --------
    Three runs of 500 architectures, whose noise is a third of what tells them apart:

    >>> rng = np.random.default_rng(0)
    >>> runs = rng.normal(90, 3, (500, 1)) + rng.normal(0, 1, (500, 3))
    >>> found = reliability(runs)
    >>> round(found.rho, 2), round(found.of_mean, 2)
    (0.89, 0.96)
    """
    table, number = _runs(runs, counts)
    rhos, sizes = [], [0]
    for a, b in combinations(table.T, 2):
        both = ~np.isnan(a + b)
        rhos.append(statistics.rho(a[both], b[both]))
        sizes.append(int(both.sum()))
    found = [rho for rho in rhos if not np.isnan(rho)]
    rho = float(np.mean(found)) if found else np.nan
    k = float(1 / np.mean(1 / number[number > 0])) if (number > 0).any() else np.nan
    of_mean = k * rho / (1 + (k - 1) * rho) if rho > 0 else np.nan
    return Reliability(rho, max(sizes), k, of_mean, float(np.sqrt(of_mean)))


def interval(
    runs: ArrayLike, n_resamples: int = 1000, seed: int = 21, networks: ArrayLike | None = None
) -> tuple[float, float]:
    """Return a 95% bootstrap interval of rho between two runs, see `reliability`.

    `n_resamples`, `seed` and `networks` are as for :func:`epsutil.statistics.bootstrap`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> runs = rng.normal(90, 3, (500, 1)) + rng.normal(0, 1, (500, 3))
    >>> [round(end, 2) for end in interval(runs, 200)]
    [0.87, 0.91]
    """
    table = numbers(runs, "runs")
    drawn = statistics.resamples(statistics.labels(networks, len(table)), n_resamples, seed)
    rhos = [reliability(table[rows]).rho for rows in drawn]
    low, high = statistics.interval(pd.DataFrame({"rho": rhos}, dtype=float)).loc["rho"]
    return float(low), float(high)


def rho_top10(runs: ArrayLike) -> float:
    """Return rho of one run with another one that selects the top 10%, see `reliability`.

    It is the mean over all ordered pairs of columns; NaN without one of three architectures.

    Examples
    --------
    The best tenth by one run has few true differences left, beside the noise:

    >>> rng = np.random.default_rng(0)
    >>> runs = rng.normal(90, 3, (500, 1)) + rng.normal(0, 1, (500, 3))
    >>> round(rho_top10(runs), 2)
    0.51
    """
    found = []
    for selects, other in permutations(numbers(runs, "runs").T, 2):
        both = ~np.isnan(selects + other)
        if both.sum() > 2:
            found.append(statistics.evaluate(other[both], selects[both])["rho_top10"])
    return float(np.mean(found)) if found else np.nan


def ceiling(
    target: ArrayLike,
    runs: ArrayLike,
    counts: ArrayLike | None = None,
    n_draws: int = 200,
    seed: int = 21,
    networks: ArrayLike | None = None,
) -> pd.DataFrame:
    """Return the evaluation scores of a metric that knows every expected accuracy.

    No metric that knows nothing of the noise of training can be expected to rank the target better.
    The arguments are those of `expected`, and `networks` of :func:`epsutil.statistics.bootstrap`.

    Returns
    -------
    pandas.DataFrame
        Indexed by `SCORES`: ``value``, the mean over the draws; ``low`` and ``high``, the 95%
        interval of the draws on networks drawn with replacement. NaN where `expected` is; fewer
        draws than `statistics.LEAST_RESAMPLES` give no interval.

    Examples
    --------
    Even who knew every expected accuracy would not find all of the measured best tenth:

    >>> rng = np.random.default_rng(0)
    >>> runs = rng.normal(90, 3, (500, 1)) + rng.normal(0, 1, (500, 3))
    >>> found = ceiling(runs.mean(axis=1), runs, n_draws=20)["value"]
    >>> found[["rho", "top10_top10"]].round(2).to_dict()
    {'rho': 0.98, 'top10_top10': 84.73}
    """
    targets = checked(target, target)[1]
    truths = expected(targets, runs, counts, n_draws, seed)
    if np.isnan(truths).any():
        return pd.DataFrame(np.nan, list(SCORES), ["value", "low", "high"])
    values = [statistics.evaluate(truth, targets)[list(SCORES)] for truth in truths]
    drawn = statistics.resamples(statistics.labels(networks, len(targets)), n_draws, seed)
    draws = [
        statistics.evaluate(truth[rows], targets[rows])[list(SCORES)]
        for truth, rows in zip(truths, drawn, strict=False)  # none under the least number
    ]
    frame = pd.DataFrame({"value": np.mean(values, axis=0)}, list(SCORES))
    return frame.join(statistics.interval(pd.DataFrame(draws, columns=list(SCORES), dtype=float)))


def expected(
    target: ArrayLike,
    runs: ArrayLike,
    counts: ArrayLike | None = None,
    n_draws: int = 200,
    seed: int = 21,
) -> Floats:
    """Draw what the expected accuracies may be, given those that a few training runs measured.

    Parameters
    ----------
    target : array-like of shape (n_archs,)
        What metrics are compared with: the mean of some runs, of one at least.
    runs, counts
        As for `reliability`; the noise is estimated from `runs`.
    n_draws, seed : int
        How many to draw, 1 or more.

    Returns
    -------
    ndarray of float, shape [n_draws, n_archs]
        NaN throughout where fewer than three architectures have two runs.

    Notes
    -----
    A run is the architecture's expected accuracy plus Gaussian noise, whose variance is pooled
    within architectures, in bins by their mean, and interpolated. The distribution of the expected
    accuracies is the nonparametric maximum likelihood on a grid, by an EM iteration that is stopped
    after 30 steps: more of them gather the draws in lumps, which rank worse than the truth. Every
    draw comes from a fit to architectures drawn with replacement, and is one from the posterior of
    each: the posterior means would spread too little and agree too well.

    Simulated with a known truth (skewed accuracies, noise that grows as they fall, one to three
    runs, 1,500 and 6,000 architectures) the ceiling of rho and tau comes out within 0.004, that of
    ``rho_top10`` 0.01 to 0.04 too low, the more the noisier.

    References
    ----------
    Kiefer, J. and Wolfowitz, J. (1956), *Annals of Mathematical Statistics* 27(4), 887-906. Efron,
    B. (2014), *Statistical Science* 29(2), 285-301.

    Examples
    --------
    The draws spread less than the runs, whose noise they are free of:

    >>> rng = np.random.default_rng(0)
    >>> runs = rng.normal(90, 3, (500, 1)) + rng.normal(0, 1, (500, 3))
    >>> draws = expected(runs.mean(axis=1), runs, n_draws=20)
    >>> draws.shape, round(float(draws.std()), 1), round(float(runs.std()), 1)
    ((20, 500), 3.0, 3.2)
    """
    check_seed(seed)
    table, number = _runs(runs, counts)
    targets = checked(target, target)[1]
    if len(targets) != len(table) or not np.all(number > 0):
        raise ValueError("every target needs a row of runs and a count of 1 or more")
    if n_draws < 1:
        raise ValueError(f"n_draws={n_draws}: give 1 or more")
    several = (~np.isnan(table)).sum(axis=1) > 1
    if several.sum() < 3:
        return np.full((n_draws, len(targets)), np.nan)
    means, variances = np.nanmean(table[several], axis=1), np.nanvar(table[several], 1, ddof=1)
    n_bins = int(np.clip(len(means) // 50, 1, 50))
    bins = n_bins * (stats.rankdata(means, "ordinal") - 1) // len(means)
    centres = np.bincount(bins, means) / np.bincount(bins)
    step = np.median(np.sqrt(np.bincount(bins, variances) / np.bincount(bins))) / 10
    if not step:
        return np.tile(targets, (n_draws, 1))
    # equal targets of as many runs share a posterior; a tenth of the noise is equal enough
    both = np.stack([np.round(targets / step), number])
    seen, cell = np.unique(both, axis=1, return_inverse=True)
    measured, roots = (seen[0] * step)[:, None], np.sqrt(seen[1])[:, None]
    cell = cell.ravel()
    grid = np.unique(np.quantile(targets, np.linspace(0, 1, 500)))
    prior, rng, draws = np.full(len(grid), 1 / len(grid)), np.random.default_rng(seed), []
    for i in range(n_draws + 1):
        drawn = rng.integers(len(targets), size=len(targets))
        times = np.bincount(drawn, minlength=len(targets)) if i else np.ones(len(targets))
        weights = times[several] + 1e-9  # no bin is left empty
        noise = np.bincount(bins, weights * variances) / np.bincount(bins, weights)
        spread = np.hypot(np.interp(grid, centres, np.sqrt(noise)), step) / roots
        likelihood = np.exp(-((measured - grid) ** 2) / (2 * spread**2)) / spread
        likelihood += 1e-300  # of what is far from every point of the grid
        found, of_cells = prior, np.bincount(cell, times, len(seen[0])) / len(targets)
        for _ in range(3 if i else 30):
            found = found * (likelihood.T @ (of_cells / (likelihood @ found)))
        if not i:
            prior = found  # of all architectures; those of the draws begin there
            continue
        posterior = (likelihood * found).cumsum(axis=1)
        posterior /= posterior[:, -1:]
        rows = np.arange(len(posterior))[:, None]
        place = np.searchsorted((posterior + rows).ravel(), cell + rng.random(len(cell)))
        draws.append(grid[np.minimum(place - cell * len(grid), len(grid) - 1)])
    return np.array(draws)


def reached(
    scores: Mapping[str, pd.Series],
    target: pd.Series,
    truths: Floats,
    seed: int = 21,
    networks: pd.Series | None = None,
) -> pd.DataFrame:
    """Set metrics beside the noise ceiling of the architectures that they score.

    Parameters
    ----------
    scores : mapping of str to pandas.Series
        Metrics, each over the architectures that it was computed for; NaN without a score.
    target : pandas.Series
        What training gave, by architecture.
    truths : ndarray of float, shape [n_draws, n_archs]
        What the expected accuracies of these may be, see `expected`.
    networks : pandas.Series, optional
        A label by architecture, see :func:`epsutil.statistics.bootstrap`.

    Returns
    -------
    pandas.DataFrame
        A row per ``metric``: ``n`` architectures, ``n_scored`` of them with a score; over these
        ``rho``, the ceiling ``rho_ceiling``, and the share of it that is ``reached``, with the 95%
        interval of a bootstrap that resamples both together, once for each draw; the same of the
        top 10%, with the suffix ``_top10``; ``rho_all`` and ``reached_all``, where those without a
        score rank last and the ceiling is that of all.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> runs = pd.DataFrame(rng.normal(90, 3, (500, 1)) + rng.normal(0, 1, (500, 3)))
    >>> truths = expected(runs.mean(axis=1), runs, n_draws=20)
    >>> found = reached({"one run": runs[0]}, runs.mean(axis=1), truths)
    >>> found[["rho", "rho_ceiling", "reached"]].round(2).to_dict("records")
    [{'rho': 0.96, 'rho_ceiling': 0.98, 'reached': 0.98}]
    """
    known: dict[bytes, Floats] = {}
    label = pd.Series(target.index, target.index) if networks is None else networks

    def resampled(scores: Floats, index: pd.Index) -> Floats:
        """Return the mean rhos; then of each resample, with one score after another."""
        values, drawn = target[index].to_numpy(), label[index].to_numpy()
        found = [np.mean([_rhos(score, values) for score in scores], axis=0)]
        drawings = enumerate(statistics.resamples(drawn, len(truths), seed))
        found += [_rhos(scores[i % len(scores)][rows], values[rows]) for i, rows in drawings]
        return np.array(found)

    def ceiling_of(index: pd.Index) -> Floats:  # metrics of the same architectures share it
        key = index.to_numpy().tobytes()
        if key not in known:
            own = truths[:, target.index.get_indexer(index)]
            known[key] = resampled(own, index)
        return known[key]

    rows = []
    for name, score in scores.items():
        scored = score.dropna()
        own, top = resampled(scored.to_numpy()[None], scored.index), ceiling_of(scored.index)
        row: dict[str, Any] = {"metric": name, "n": len(score), "n_scored": len(scored)}
        ends = statistics.interval(pd.DataFrame(own[1:] / top[1:])).to_numpy()
        for i, (rho, share) in enumerate((("rho", "reached"), ("rho_top10", "reached_top10"))):
            row |= {rho: own[0, i], f"{rho}_ceiling": top[0, i], share: own[0, i] / top[0, i]}
            row |= {f"{share}_low": ends[i, 0], f"{share}_high": ends[i, 1]}
        rho_all = statistics.coverage(score, target[score.index])["rho_all"]
        top_all = ceiling_of(score.index)[0, 0]
        rows.append(row | {"rho_all": rho_all, "reached_all": rho_all / top_all})
    return pd.DataFrame(rows)


def _rhos(score: Floats, target: Floats) -> Floats:
    """Return rho over all, and over those strictly above the 90th percentile of the target."""
    best = target > (np.percentile(target, 90) if len(target) else 0)
    return np.array([statistics.rho(target, score), statistics.rho(target[best], score[best])])


def _runs(runs: ArrayLike, counts: ArrayLike | None) -> tuple[Floats, Floats]:
    """Return the table of runs, and how many runs each target is the mean of."""
    table = statistics.table(runs, "runs")
    number = (~np.isnan(table)).sum(axis=1) if counts is None else numbers(counts, "counts")
    if np.shape(number) != (len(table),) or not np.all(number >= 0):
        raise ValueError("counts must be a vector of numbers from 0, one for each row of runs")
    return table, np.asarray(number, float)
