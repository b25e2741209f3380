"""How well a score ranks architectures.

An architecture without a score has NaN, or is masked in a masked array. Only the order of scores
and of targets counts, not their size (but for `steiger` with Pearson's correlation). Targets are
accuracies, higher is better; ``minimise=True`` takes losses. Every function raises a ValueError
that names what is wrong: inputs that are not real numbers, are infinite or differ in shape or
index, a missing target, an option out of its range.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from tqdm import tqdm

from epsutil.names import check_known, check_seed

SCORES = ("rho", "rho_top10", "tau", "tau_top10", "top10_top10", "top64_top5")
LEAST_RESAMPLES = 200  # below which the tails of a bootstrap hold too few drawings for an interval

Floats = NDArray[np.float64]


class Comparison(NamedTuple):
    """What `steiger` returns."""

    z: float
    pvalue: float
    rho_a: float
    rho_b: float
    n: int


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


class Partial(NamedTuple):
    """What `partial` returns."""

    partial: float
    rho: float
    rho_with_given: float
    n: int


def evaluate(score: ArrayLike, target: ArrayLike, minimise: bool = False) -> pd.Series:
    """Return the six evaluation scores over the architectures that have a score.

    Parameters
    ----------
    score : array-like of shape (n_archs,)
        The metric, higher is better; NaN, ``pd.NA``, None or masked without a score.
    target : array-like of shape (n_archs,)
        What training gave, in the same order: accuracy or, with `minimise`, loss.
    minimise : bool, default=False
        Whether a lower target is better. The best are then those below the 10th and the 5th
        percentile, and a good metric has negative correlations.

    Returns
    -------
    pandas.Series
        Indexed by `SCORES`, ``n`` and ``n_scored``; percentiles are those of the scored:

        - ``rho``, ``tau``: Spearman's rho and Kendall's tau-b, in [-1, 1];
        - ``rho_top10``, ``tau_top10``: the same of those strictly above the 90th percentile of
          accuracy;
        - ``top10_top10``: of those strictly above the 90th percentile of score, the share in %
          that is strictly above the 90th percentile of accuracy, in [0, 100];
        - ``top64_top5``: how many of the 64 best scored are strictly above the 95th percentile of
          accuracy, in [0, 64]. Of equal scores the architecture that comes first wins;
        - ``n``, ``n_scored``: how many architectures there are, and how many have a score.

        NaN where undefined: all six with fewer than three scored or where all scores or all
        targets are equal, the top-10% correlations where that holds in the top 10%, and
        ``top10_top10`` where no score exceeds the 90th percentile.

    References
    ----------
    Gracheva (2024), Section 2.1, where the last is misprinted as "Top-64/top-10%"; Abdelfattah et
    al. (2021).

    Examples
    --------
    >>> accuracy = [10.0, 91.2, 93.5, 94.1]
    >>> evaluate([float("nan"), 0.2, 0.7, 0.4], accuracy)[["rho", "tau", "n", "n_scored"]]
    rho         0.500000
    tau         0.333333
    n           4.000000
    n_scored    3.000000
    dtype: float64
    """
    scores, targets = _checked(score, target)
    scored = ~np.isnan(scores)
    six = _evaluate(scores[scored], targets[scored], minimise)
    return pd.Series([*six, len(scores), scored.sum()], [*SCORES, "n", "n_scored"], dtype=float)


def bootstrap(
    score: ArrayLike,
    target: ArrayLike,
    n_resamples: int = 1000,
    seed: int = 21,
    level: float = 0.95,
    minimise: bool = False,
) -> pd.DataFrame:
    """Return percentile bootstrap intervals of the six evaluation scores.

    The scored architectures are drawn with replacement, as many as there are, and evaluated anew.

    Parameters
    ----------
    score, target, minimise
        As for `evaluate`.
    n_resamples, seed : int
        How many times to draw. Fewer than `LEAST_RESAMPLES` give no interval, and draw nothing.
    level : float, default=0.95
        Coverage of the interval, strictly between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        Indexed by `SCORES`, columns ``low`` and ``high``; NaN where undefined or not drawn.

    Notes
    -----
    For a random sample of a space the interval covers the score over the whole space, a little
    wide. Where the **whole** space is scored the score is exact for it, and the interval says how
    it would vary were the architectures a random draw from a larger family of their kind. It never
    holds other variation, such as by the batch, the data set or the noise of training. That of
    ``top64_top5`` is rough: a drawing repeats architectures, so that its top 64 are fewer.

    References
    ----------
    Efron, B. and Tibshirani, R. J. (1993), *An Introduction to the Bootstrap*, Section 13.3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> accuracy = rng.normal(90, 3, 500)
    >>> score = accuracy + rng.normal(0, 3, 500)
    >>> bootstrap(score, accuracy).loc[["rho", "tau"]].round(2)
          low  high
    rho  0.67  0.76
    tau  0.48  0.57
    """
    check_seed(seed)
    if n_resamples < 0:
        raise ValueError(f"n_resamples={n_resamples}: give 0 for no interval, or more")
    ends = _ends(level)
    scores, targets = _checked(score, target)
    scored = ~np.isnan(scores)
    scores, targets = scores[scored], targets[scored]
    times = range(n_resamples if n_resamples >= LEAST_RESAMPLES else 0)
    rng = np.random.default_rng(seed)
    # the bar is for a terminal (disable=None), and for those who wait longer than three seconds
    bar = tqdm(times, "bootstrap", leave=False, disable=None, delay=3)
    return _interval([_resampled(rng, scores, targets, minimise) for _ in bar], ends)


def coverage(score: ArrayLike, target: ArrayLike, minimise: bool = False) -> pd.Series:
    """Return what becomes of the evaluation scores when no architecture is left out.

    Those without a score rank last, all equal; every percentile is taken over all architectures.

    Parameters
    ----------
    score, target, minimise
        As for `evaluate`.

    Returns
    -------
    pandas.Series
        - ``n``, ``n_scored``, and ``coverage`` = n_scored / n, in [0, 1];
        - the six `SCORES` with suffix ``_all``, ranges as in `evaluate`. Where fewer than 64 have a
          score, the first of the others fill up the 64 best;
        - ``top10_unscored``: of those strictly above the 90th percentile of accuracy (below the
          10th of loss), the share without a score, in [0, 1].

    Examples
    --------
    The best architecture has no score. Left out, it does no harm; ranking last, it does:

    >>> accuracy, score = [80.0, 85.0, 90.0, 95.0], [0.1, 0.2, 0.3, float("nan")]
    >>> float(evaluate(score, accuracy)["rho"])
    1.0
    >>> coverage(score, accuracy)[["coverage", "rho_all", "top10_unscored"]].round(2).to_dict()
    {'coverage': 0.75, 'rho_all': -0.2, 'top10_unscored': 1.0}
    """
    scores, targets = _checked(score, target)
    unscored = np.isnan(scores)
    # ranks rather than -inf, which would spoil the interpolation of percentiles
    ranks = stats.rankdata(np.where(unscored, -np.inf, scores), method="dense").astype(float)
    n, n_scored = len(scores), int(np.sum(~unscored))
    best = _best(targets, 10, minimise) if n else unscored  # no percentile of nothing
    values = {"n": n, "n_scored": n_scored, "coverage": n_scored / n if n else np.nan}
    names = [f"{name}_all" for name in SCORES]
    values |= zip(names, _evaluate(ranks, targets, minimise), strict=True)
    values["top10_unscored"] = unscored[best].mean() if best.any() else np.nan
    return pd.Series(values, dtype=float)


def steiger(
    score_a: ArrayLike,
    score_b: ArrayLike,
    target: ArrayLike,
    minimise: bool = False,
    method: str = "spearman",
) -> Comparison:
    r"""Test whether two metrics correlate equally well with the same target.

    Steiger's Z for two correlations that share a variable, in the version with pooled correlations.

    Parameters
    ----------
    score_a, score_b, target, minimise
        The two metrics, and as for `evaluate`.
    method : {"spearman", "pearson"}, default="spearman"
        The correlation to compare. The test was derived for Pearson's.

    Returns
    -------
    Comparison
        ``z``, positive where `score_a` ranks better (with `minimise`: where its correlation is the
        lower one); the two-sided ``pvalue``; the correlations ``rho_a`` and ``rho_b`` with the
        target, sign not reversed; ``n``, the architectures with both scores. ``z`` and ``pvalue``
        are NaN for fewer than four, a constant input, and correlations of -1 or 1.

    Notes
    -----
    With :math:`\bar r` the mean of the two correlations and :math:`r_{ab}` the one between the
    metrics,

    .. math::

        Z = (\operatorname{artanh} r_a - \operatorname{artanh} r_b)
            \sqrt{\frac{n - 3}{2 - 2 \bar s}}

        \bar s = \frac{r_{ab} (1 - 2 q) - \tfrac12 q (1 - 2 q - r_{ab}^2)}{(1 - q)^2}

        q = \bar r^2

    On ranks the test is approximate: with equally good simulated metrics (binormal, n = 200 and
    1,000) it rejects at the 5% level in 5% of cases for rho near 0, 6-7% at 0.6 and 7-9% at 0.85;
    with Pearson's correlation in 4-6%. As for `bootstrap`, a whole space is no sample.

    References
    ----------
    Steiger, J. H. (1980), Tests for comparing elements of a correlation matrix, *Psychological
    Bulletin* 87(2), 245-251, Equation 14.

    Examples
    --------
    Two metrics of 500 architectures, the second with twice the noise:

    >>> rng = np.random.default_rng(0)
    >>> accuracy = rng.normal(90, 3, 500)
    >>> a, b = (accuracy + rng.normal(0, noise, 500) for noise in (3, 6))
    >>> test = steiger(a, b, accuracy)
    >>> round(test.rho_a, 2), round(test.rho_b, 2), test.pvalue < 0.001
    (0.72, 0.43, True)
    """
    check_known("method", method, ("spearman", "pearson"))
    r_ab, r_a, r_b, n = _of_both(score_a, score_b, target, ranked=method == "spearman")
    z = _steiger_z(r_a, r_b, r_ab, n) * (-1 if minimise else 1)
    return Comparison(z, float(2 * stats.norm.sf(abs(z))), r_a, r_b, n)


def _steiger_z(r_a: float, r_b: float, r_ab: float, n: int) -> float:
    """Return Steiger's (1980) Equation 14; NaN where it is undefined."""
    if n < 4 or max(abs(r_a), abs(r_b)) > 1 - 1e-12:  # r = 1 comes out of corrcoef rounded
        return np.nan
    if np.isclose(r_a, r_b, rtol=0, atol=1e-12):  # two metrics of one ranking: 0/0 below
        return 0.0
    mean2 = ((r_a + r_b) / 2) ** 2
    covariance = r_ab * (1 - 2 * mean2) - mean2 * (1 - 2 * mean2 - r_ab**2) / 2
    s = covariance / (1 - mean2) ** 2
    return float((np.arctanh(r_a) - np.arctanh(r_b)) * np.sqrt((n - 3) / (2 - 2 * s)))


def partial(score: ArrayLike, target: ArrayLike, given: ArrayLike) -> Partial:
    r"""Correlate the ranks of a metric and the target after those of a third quantity.

    From the ranks of both is subtracted what a straight line in the third ranks predicts, and
    Pearson's correlation of what is left is taken.

    Parameters
    ----------
    score, target
        As for `evaluate`.
    given : array-like of shape (n_archs,)
        What is accounted for, such as the number of parameters; NaN where it is missing.

    Returns
    -------
    Partial
        Over the ``n`` architectures that have both scores: the ``partial`` rank correlation, in
        [-1, 1]; Spearman's ``rho`` of metric and target; that of metric and `given`,
        ``rho_with_given``. No sign is reversed. All are NaN for fewer than three architectures or
        a constant input, ``partial`` alone where `given` ranks just as one of the others.

    Notes
    -----
    With metric :math:`m`, target :math:`t` and the given :math:`g`,

    .. math::

        \rho_{mt \cdot g} = \frac{\rho_{mt} - \rho_{mg} \rho_{tg}}
            {\sqrt{(1 - \rho_{mg}^2)(1 - \rho_{tg}^2)}}.

    References
    ----------
    Kendall, M. G. (1942), Partial rank correlation, *Biometrika* 32(3/4), 277-283 (with his tau).

    Examples
    --------
    >>> round(partial([1, 2, 3, 4], [1, 3, 2, 4], given=[2, 1, 3, 4]).partial, 3)
    0.873
    """
    with_given, rho, of_given, n = _of_both(score, given, target)
    left = (1 - with_given**2) * (1 - of_given**2)  # 0 where two rank alike, rounding aside
    value = (rho - with_given * of_given) / np.sqrt(left) if left > 1e-9 else np.nan
    return Partial(float(value), rho, with_given, n)


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
        rhos.append(_correlations(a[both], b[both])[0])
        sizes.append(int(both.sum()))
    found = [rho for rho in rhos if not np.isnan(rho)]
    rho = float(np.mean(found)) if found else np.nan
    k = float(1 / np.mean(1 / number[number > 0])) if (number > 0).any() else np.nan
    of_mean = k * rho / (1 + (k - 1) * rho) if rho > 0 else np.nan
    return Reliability(rho, max(sizes), k, of_mean, float(np.sqrt(of_mean)))


def ceiling(
    target: ArrayLike,
    runs: ArrayLike,
    counts: ArrayLike | None = None,
    n_draws: int = 200,
    seed: int = 21,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the evaluation scores of a metric that knows every expected accuracy.

    No metric that knows nothing of the noise of training can be expected to rank the target better.

    Parameters
    ----------
    target, runs, counts, n_draws, seed, level
        As for `expected` and `bootstrap`; fewer draws than `LEAST_RESAMPLES` give no interval.

    Returns
    -------
    pandas.DataFrame
        Indexed by `SCORES`: ``value``, the mean over the draws; ``low`` and ``high``, a percentile
        interval of the draws on architectures drawn with replacement. NaN where `expected` is.

    Examples
    --------
    Even who knew every expected accuracy would not find all of the measured best tenth:

    >>> rng = np.random.default_rng(0)
    >>> runs = rng.normal(90, 3, (500, 1)) + rng.normal(0, 1, (500, 3))
    >>> ceiling(runs.mean(axis=1), runs, n_draws=20).loc[["rho", "top10_top10"], "value"].round(2)
    rho             0.98
    top10_top10    84.73
    Name: value, dtype: float64
    """
    ends, targets = _ends(level), _checked(target, target)[1]
    truths, rng = expected(targets, runs, counts, n_draws, seed), np.random.default_rng(seed)
    if np.isnan(truths).any():
        return pd.DataFrame(np.nan, list(SCORES), ["value", "low", "high"])
    values = [_evaluate(truth, targets) for truth in truths]
    frame = pd.DataFrame({"value": np.mean(values, axis=0)}, list(SCORES))
    many = truths if n_draws >= LEAST_RESAMPLES else ()
    return frame.join(_interval([_resampled(rng, truth, targets) for truth in many], ends))


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
        What metrics are compared with: the mean of some runs.
    runs, counts
        As for `reliability`; the noise is estimated from `runs`. Every target has a run.
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
    targets = _checked(target, target)[1]
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


def _runs(runs: ArrayLike, counts: ArrayLike | None) -> tuple[Floats, Floats]:
    """Return the table of runs, and how many runs each target is the mean of."""
    table = _table(runs, "runs")
    number = (~np.isnan(table)).sum(axis=1) if counts is None else numbers(counts, "counts")
    if np.shape(number) != (len(table),) or not np.all(number >= 0):
        raise ValueError("counts must be a vector of numbers from 0, one for each row of runs")
    return table, np.asarray(number, float)


def rank_product(scores: pd.DataFrame | ArrayLike) -> pd.Series:
    r"""Rank architectures by several metrics at once, as AZ-NAS does.

    Parameters
    ----------
    scores : pandas.DataFrame or array-like of shape (n_archs, n_metrics)
        More is better; NaN ranks last.

    Returns
    -------
    pandas.Series
        :math:`\sum_m \log(r_m / n)` with the ranks r among these n architectures, the lowest 1 and
        equal ones sharing their mean; 0 for an architecture that is the best by every metric. The
        value of an architecture depends on which others there are.

    References
    ----------
    Lee, J. and Ham, B. (2024), AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture
    Search, arXiv:2403.19232.

    Examples
    --------
    >>> rank_product(pd.DataFrame({"a": [3, 1], "b": [0.2, np.nan]})).round(3).tolist()
    [0.0, -1.386]
    """
    index = scores.index if isinstance(scores, pd.DataFrame) else None
    ranks = pd.DataFrame(_table(scores, "scores"), index).fillna(-np.inf).rank()
    return np.log(ranks / len(ranks)).sum(axis=1)


def _ends(level: float) -> list[float]:
    """Return the quantiles that an interval lies between."""
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must lie between 0 and 1, such as 0.95")
    return [(1 - level) / 2, 1 - (1 - level) / 2]


def _interval(draws: Sequence[Sequence[float]], ends: Sequence[float]) -> pd.DataFrame:
    """Return quantiles of drawings of the six scores; those that are undefined are left out."""
    quantiles = pd.DataFrame(draws, columns=list(SCORES), dtype=float).quantile(ends).T
    return quantiles.set_axis(["low", "high"], axis="columns")


def _resampled(
    rng: np.random.Generator, score: Floats, target: Floats, minimise: bool = False
) -> tuple[float, ...]:
    """Evaluate architectures drawn with replacement, as many as there are."""
    drawn = rng.integers(max(len(score), 1), size=len(score))
    return _evaluate(score[drawn], target[drawn], minimise)


def _evaluate(score: Floats, target: Floats, minimise: bool = False) -> tuple[float, ...]:
    """Return the six scores in the order of `SCORES` for finite arrays."""
    if len(score) < 3 or _constant(score) or _constant(target):
        return (np.nan,) * len(SCORES)
    top10, picked10 = _best(target, 10, minimise), _best(score, 10)
    rho, tau = _correlations(score, target)
    rho_top10, tau_top10 = _correlations(score[top10], target[top10])
    share = 100 * float(top10[picked10].mean()) if picked10.any() else np.nan
    picked64 = np.argsort(-score, kind="stable")[:64]
    hits = float(_best(target, 5, minimise)[picked64].sum())
    return rho, rho_top10, tau, tau_top10, share, hits


def _correlations(score: Floats, target: Floats) -> tuple[float, float]:
    """Return Spearman's rho and Kendall's tau-b, NaN where they are undefined."""
    if len(score) < 3 or _constant(score) or _constant(target):
        return np.nan, np.nan
    rho = stats.spearmanr(score, target).statistic
    tau = stats.kendalltau(score, target, method="asymptotic").statistic  # spares the exact p-value
    return float(rho), float(tau)


def _best(x: Floats, percent: float, minimise: bool = False) -> NDArray[np.bool_]:
    """Mark the best `percent` of `x`: strictly above a percentile or, for losses, below it."""
    return x < np.percentile(x, percent) if minimise else x > np.percentile(x, 100 - percent)


def _constant(x: Floats) -> bool:
    return bool(np.all(x == x[:1]))


def _of_both(
    a: ArrayLike, b: ArrayLike, target: ArrayLike, ranked: bool = True
) -> tuple[float, float, float, int]:
    """Return r of a and b, of a and target, of b and target; n with both; r NaN if undefined."""
    (first, targets), (second, _) = _checked(a, target), _checked(b, target)
    both = ~(np.isnan(first) | np.isnan(second))
    rows, n = np.stack([first[both], second[both], targets[both]]), int(both.sum())
    if n < 3 or any(map(_constant, rows)):
        return np.nan, np.nan, np.nan, n
    r = np.atleast_2d(np.corrcoef(stats.rankdata(rows, axis=1) if ranked else rows))
    return float(r[0, 1]), float(r[0, 2]), float(r[1, 2]), n


def _checked(score: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats]:
    """Return both as float64 vectors; a ValueError says what is wrong and how to mend it."""
    if isinstance(score, pd.Series) and isinstance(target, pd.Series):
        if not score.index.equals(target.index):
            raise ValueError("score and target have different indices; join them first")
    scores, targets = numbers(score, "score"), numbers(target, "target", infinite=True)
    if scores.ndim != 1 or scores.shape != targets.shape:
        raise ValueError(
            f"score has shape {scores.shape} and target {targets.shape}; "
            "both must be vectors of one length"
        )
    if missing := int((~np.isfinite(targets)).sum()):
        raise ValueError(
            f"target has {missing} NaN, masked or infinite values; drop these architectures first"
        )
    return scores, targets


def _table(values: ArrayLike | pd.DataFrame, name: str) -> Floats:
    table = numbers(values, name)
    if table.ndim != 2:
        raise ValueError(f"{name} has shape {table.shape}; give a table, a row per architecture")
    return table


def numbers(values: Any, name: str, infinite: bool = False) -> Floats:
    """Return float64, NaN for None, ``pd.NA`` or masked; a ValueError names what has others."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    if isinstance(values, list | tuple):
        values = np.array([None if v is np.ma.masked else v for v in values], dtype=object)
    try:
        array: np.ma.MaskedArray = np.ma.asarray(values)  # asarray lays bare what is under a mask
        if array.dtype.kind in "cmM":
            raise TypeError(f"but {array.dtype}")
        missing = np.ma.getmaskarray(array) | pd.isna(array.data)
        found = np.where(missing, np.nan, array.data).astype(float)
    except (TypeError, ValueError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{name} does not hold real numbers, {told}") from error
    if not infinite and (many := int(np.isinf(found).sum())):
        raise ValueError(f"{name} has {many} infinite values; give NaN where there is none")
    return found
