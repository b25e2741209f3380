"""How well a score ranks architectures.

An architecture without a score has NaN, or is masked in a masked array. Only the order of scores
and of targets counts, not their size (but for `steiger` with Pearson's correlation). Targets are
accuracies, higher is better; ``minimise=True`` takes losses. Every function raises a ValueError
that names what is wrong: inputs that are not real numbers, are infinite or differ in shape or
index, a missing target, an option out of its range.
"""

from collections.abc import Iterator, Mapping, Sequence
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


class Lead(NamedTuple):
    """What `lead` returns."""

    rho: float
    gain: float
    gain_low: float
    gain_high: float
    z: float
    pvalue: float


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
    >>> found = evaluate([float("nan"), 0.2, 0.7, 0.4], accuracy)
    >>> found[["rho", "tau", "n", "n_scored"]].round(2).to_dict()
    {'rho': 0.5, 'tau': 0.33, 'n': 4.0, 'n_scored': 3.0}
    """
    scores, targets = checked(score, target)
    scored = ~np.isnan(scores)
    six = _evaluate(scores[scored], targets[scored], minimise)
    return pd.Series([*six, len(scores), scored.sum()], [*SCORES, "n", "n_scored"], dtype=float)


def evaluate_each(
    scores: pd.DataFrame | Mapping[Any, pd.Series], target: pd.Series, minimise: bool = False
) -> pd.DataFrame:
    """Evaluate several scores of the same architectures, as the paper's ablations do.

    Parameters
    ----------
    scores : pandas.DataFrame or mapping of pandas.Series
        A score a column, indexed by architecture.
    target : pandas.Series
        By architecture; those without a result are left out. `minimise`: see :func:`evaluate`.

    Returns
    -------
    pandas.DataFrame
        A row per score, named as they are: ``n`` architectures, ``archs`` of them with a score,
        and the six scores of :func:`evaluate`.

    Examples
    --------
    >>> scores = pd.DataFrame({"good": [1, 2, 3, 4], "bad": [4, 3, 2, None]})
    >>> evaluate_each(scores, pd.Series([91.0, 92, 93, 94]))[["n", "archs", "rho"]]
          n  archs  rho
    good  4    4.0  1.0
    bad   4    3.0 -1.0
    """
    target = target.dropna()
    rows = {}
    for name, score in scores.items():
        found = evaluate(score.reindex(target.index), target, minimise)
        rows[name] = {"n": len(target), "archs": found["n_scored"]} | dict(found[list(SCORES)])
    return pd.DataFrame.from_dict(rows, orient="index")


def bootstrap(
    score: ArrayLike,
    target: ArrayLike,
    n_resamples: int = 1000,
    seed: int = 21,
    level: float = 0.95,
    minimise: bool = False,
    networks: ArrayLike | None = None,
) -> pd.DataFrame:
    """Return percentile bootstrap intervals of the six evaluation scores.

    The scored networks are drawn with replacement, as many as there are, each with all of its
    architectures, and evaluated anew: see :func:`evaluate` for `score`, `target`, `minimise`.

    Parameters
    ----------
    n_resamples, seed : int
        How many times to draw. Fewer than `LEAST_RESAMPLES` give no interval, and draw nothing.
    level : float, default=0.95
        Coverage of the interval, strictly between 0 and 1.
    networks : array-like of shape (n_archs,), optional
        A label for each architecture; architectures with the same one are copies of one network,
        see :meth:`epsutil.spaces.Space.networks`. By default each is a network.

    Returns
    -------
    pandas.DataFrame
        Indexed by `SCORES`, columns ``low`` and ``high``; NaN where undefined or not drawn.

    Notes
    -----
    For a random sample of a space the interval covers the score over the whole space, a little
    wide. Where the **whole** space is scored the score is exact for it, and the interval says how
    it would vary were the networks a random draw from a larger family of their kind. Copies of a
    network rank together, so they are no further evidence: drawn one by one, they make the interval
    far too narrow. It never holds other variation, such as by the batch, the data set or the noise
    of training. That of ``top64_top5`` is rough: a drawing repeats architectures, so that its top
    64 are fewer.

    References
    ----------
    Efron, B. and Tibshirani, R. J. (1993), *An Introduction to the Bootstrap*, Section 13.3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> accuracy = rng.normal(90, 3, 500)
    >>> bootstrap(accuracy + rng.normal(0, 3, 500), accuracy).loc[["rho", "tau"]].round(2)
          low  high
    rho  0.67  0.76
    tau  0.48  0.57
    """
    check_seed(seed)
    if n_resamples < 0:
        raise ValueError(f"n_resamples={n_resamples}: give 0 for no interval, or more")
    ends = _ends(level)
    scores, targets = checked(score, target)
    scored = ~np.isnan(scores)
    drawn = resamples(labels(networks, len(scores))[scored], n_resamples, seed)
    scores, targets = scores[scored], targets[scored]
    # the bar is for a terminal (disable=None), and for those who wait longer than three seconds
    bar = tqdm(drawn, "bootstrap", n_resamples, leave=False, disable=None, delay=3)
    draws = [_evaluate(scores[rows], targets[rows], minimise) for rows in bar]
    return interval(pd.DataFrame(draws, columns=list(SCORES), dtype=float), ends)


def resamples(networks: ArrayLike, n_resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Draw networks with replacement, as many as there are, each with all of its architectures.

    Yields the rows of a resample, `n_resamples` times; fewer than `LEAST_RESAMPLES` draw nothing.
    `networks` has a label for each architecture, see :func:`bootstrap`.

    Examples
    --------
    >>> [rows.tolist() for rows in resamples(["a", "b", "b"], 200, seed=3)][:2]
    [[1, 2, 0], [0, 0]]
    """
    codes = pd.factorize(np.asarray(networks))[0]
    order, sizes = np.argsort(codes, kind="stable"), np.bincount(codes)
    starts, rng = np.cumsum(sizes) - sizes, np.random.default_rng(seed)
    for _ in range(n_resamples if n_resamples >= LEAST_RESAMPLES else 0):
        drawn = rng.integers(max(len(sizes), 1), size=len(sizes))
        copies, first = sizes[drawn], starts[drawn]
        yield order[np.arange(copies.sum()) + np.repeat(first - copies.cumsum() + copies, copies)]


def per_network(scores: pd.DataFrame, networks: ArrayLike) -> pd.DataFrame:
    """Give each network one row: the means over its architectures, the rows of `scores`.

    Those without a value anywhere are left out. `networks` has a label for each architecture, see
    :func:`bootstrap`; networks come in the order of their first architectures.

    Examples
    --------
    >>> scores = pd.DataFrame({"score": [0.2, 0.2, 0.7], "accuracy": [91.0, 92.0, 93.0]})
    >>> per_network(scores, ["a", "a", "b"])
       score  accuracy
    0    0.2      91.5
    1    0.7      93.0
    """
    complete = scores.notna().all(axis=1).to_numpy()
    by = scores[complete].groupby(np.asarray(networks)[complete], sort=False)
    return by.mean().reset_index(drop=True)


def labels(networks: ArrayLike | None, n: int) -> NDArray[Any]:
    """Return the label of each of n architectures' networks, by default one of its own."""
    found = np.arange(n) if networks is None else np.asarray(networks)
    if found.shape != (n,):
        raise ValueError(f"networks has shape {found.shape}; give a label for each of {n} scores")
    return found


def interval(draws: pd.DataFrame, ends: Sequence[float] = (0.025, 0.975)) -> pd.DataFrame:
    """Return the ends of percentile intervals of what a bootstrap gave.

    `draws` has a row per resample and a column per statistic; NaN, where it is undefined, is left
    out. `ends` are the quantiles that an interval lies between, by default those of 95%. Returns a
    row per statistic, columns ``low`` and ``high``; NaN below `LEAST_RESAMPLES` draws.

    Examples
    --------
    >>> interval(pd.DataFrame({"rho": np.linspace(0.4, 0.6, 201)})).round(3)
           low   high
    rho  0.405  0.595
    """
    enough = draws if len(draws) >= LEAST_RESAMPLES else draws[:0]
    return enough.quantile(list(ends)).T.set_axis(["low", "high"], axis="columns")


def coverage(score: ArrayLike, target: ArrayLike, minimise: bool = False) -> pd.Series:
    """Return what becomes of the evaluation scores when no architecture is left out.

    Those without a score rank last, all equal; every percentile is taken over all architectures.
    See :func:`evaluate` for the arguments.

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
    scores, targets = checked(score, target)
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
    Scores, target and `minimise` are as for :func:`evaluate`.

    Parameters
    ----------
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


def lead(
    score_a: ArrayLike,
    score_b: ArrayLike,
    target: ArrayLike,
    n_resamples: int = 1000,
    seed: int = 21,
    networks: ArrayLike | None = None,
) -> Lead:
    """Return by how much one metric ranks better than another on the same architectures.

    Scores and target are as for :func:`steiger`; `n_resamples`, `seed` and `networks` as for
    :func:`bootstrap`.

    Returns
    -------
    Lead
        Over the architectures that have both scores: Spearman's ``rho`` of `score_a`; its ``gain``
        over that of `score_b`; ``gain_low`` and ``gain_high``, the 95% interval of a paired
        bootstrap, in which both are evaluated on the same resample; ``z`` and ``pvalue`` of
        `steiger` with one row per network. NaN where undefined.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> accuracy = rng.normal(90, 3, 500)
    >>> a, b = (accuracy + rng.normal(0, noise, 500) for noise in (3, 6))
    >>> [round(value, 2) for value in lead(a, b, accuracy)[:4]]
    [0.72, 0.29, 0.2, 0.37]
    """
    (first, targets), (second, _) = checked(score_a, target), checked(score_b, target)
    both = ~(np.isnan(first) | np.isnan(second))
    own = labels(networks, len(both))[both]
    first, second, targets = first[both], second[both], targets[both]
    gains = [
        rho(targets[rows], first[rows]) - rho(targets[rows], second[rows])
        for rows in resamples(own, n_resamples, seed)
    ]
    low, high = interval(pd.DataFrame({"gain": gains}, dtype=float)).loc["gain"]
    rows = per_network(pd.DataFrame({"a": first, "b": second, "target": targets}), own)
    ours, test = rho(targets, first), steiger(rows["a"], rows["b"], rows["target"])
    return Lead(ours, ours - rho(targets, second), low, high, test.z, test.pvalue)


def partial(score: ArrayLike, target: ArrayLike, given: ArrayLike) -> Partial:
    r"""Correlate the ranks of a metric and the target after those of a third quantity.

    From the ranks of both is subtracted what a straight line in the third ranks predicts, and
    Pearson's correlation of what is left is taken. `given`, such as the numbers of parameters, is
    NaN where it is missing; `score` and `target` are as for :func:`evaluate`.

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


def rank_shares(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the ranks of architectures by several metrics, such as to average them.

    `scores` has a row per architecture and a column per metric, more being better; NaN without a
    score. Ranks are shares of the architectures: 1 for the best, equal scores sharing their mean; 0
    for those without a score, which are last.

    Examples
    --------
    >>> ranks = rank_shares(pd.DataFrame({"a": [3, 1, 2, 2], "b": [0.2, np.nan, 0.4, 0.1]}))
    >>> ranks.mean(axis=1).tolist()
    [0.875, 0.125, 0.8125, 0.5625]
    """
    return scores.rank(na_option="top", pct=True).where(scores.notna(), 0.0)


def rank_product(scores: pd.DataFrame | ArrayLike) -> pd.Series:
    r"""Rank architectures by several metrics at once, as AZ-NAS does.

    `scores` has a row per architecture and a column per metric, more being better; NaN ranks last.
    Returns for each :math:`\sum_m \log(r_m / n)` with the ranks r among these n architectures, the
    lowest 1 and equal ones sharing their mean; 0 for an architecture that is the best by every
    metric. The value of an architecture depends on which others there are.

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
    ranks = pd.DataFrame(table(scores, "scores"), index).fillna(-np.inf).rank()
    return np.log(ranks / len(ranks)).sum(axis=1)


def _ends(level: float) -> list[float]:
    """Return the quantiles that an interval lies between."""
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must lie between 0 and 1, such as 0.95")
    return [(1 - level) / 2, 1 - (1 - level) / 2]


def _evaluate(score: Floats, target: Floats, minimise: bool = False) -> tuple[float, ...]:
    """Return the six scores in the order of `SCORES` for finite arrays."""
    if len(score) < 3 or _constant(score) or _constant(target):
        return (np.nan,) * len(SCORES)
    top10, picked10 = _best(target, 10, minimise), _best(score, 10)
    both = _correlations(score, target)
    both_top10 = _correlations(score[top10], target[top10])
    share = 100 * float(top10[picked10].mean()) if picked10.any() else np.nan
    picked64 = np.argsort(-score, kind="stable")[:64]
    hits = float(_best(target, 5, minimise)[picked64].sum())
    return both[0], both_top10[0], both[1], both_top10[1], share, hits


def _correlations(score: Floats, target: Floats) -> tuple[float, float]:
    """Return Spearman's rho and Kendall's tau-b, NaN where they are undefined."""
    if len(score) < 3 or _constant(score) or _constant(target):
        return np.nan, np.nan
    tau = stats.kendalltau(score, target, method="asymptotic").statistic  # spares the exact p-value
    return rho(score, target), float(tau)


def rho(a: Floats, b: Floats) -> float:
    """Return Spearman's rho of finite vectors, NaN where it is undefined.

    It is scipy's ``spearmanr``, to the bit, without the p-value: in a tenth of the time.

    Examples
    --------
    >>> rho(np.array([0.1, 0.4, 0.2]), np.array([90.0, 92.0, 93.0]))
    0.5
    """
    if len(a) < 3 or _constant(a) or _constant(b):
        return np.nan
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[1, 0])


def _best(x: Floats, percent: float, minimise: bool = False) -> NDArray[np.bool_]:
    """Mark the best `percent` of `x`: strictly above a percentile or, for losses, below it."""
    return x < np.percentile(x, percent) if minimise else x > np.percentile(x, 100 - percent)


def _constant(x: Floats) -> bool:
    return bool(np.all(x == x[:1]))


def _of_both(
    a: ArrayLike, b: ArrayLike, target: ArrayLike, ranked: bool = True
) -> tuple[float, float, float, int]:
    """Return r of a and b, of a and target, of b and target; n with both; r NaN if undefined."""
    (first, targets), (second, _) = checked(a, target), checked(b, target)
    both = ~(np.isnan(first) | np.isnan(second))
    rows, n = np.stack([first[both], second[both], targets[both]]), int(both.sum())
    if n < 3 or any(map(_constant, rows)):
        return np.nan, np.nan, np.nan, n
    r = np.atleast_2d(np.corrcoef(stats.rankdata(rows, axis=1) if ranked else rows))
    return float(r[0, 1]), float(r[0, 2]), float(r[1, 2]), n


def checked(score: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats]:
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


def table(values: ArrayLike | pd.DataFrame, name: str) -> Floats:
    """Return what :func:`numbers` reads where it is a table, a row per architecture."""
    found = numbers(values, name)
    if found.ndim != 2:
        raise ValueError(f"{name} has shape {found.shape}; give a table, a row per architecture")
    return found


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
