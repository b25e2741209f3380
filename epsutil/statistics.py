"""How well a score ranks architectures.

Here are the six evaluation scores of the paper's Section 2.1, their bootstrap intervals, what the
architectures without a score change about them, a test for comparing two metrics, and what a
metric knows beyond another one.

An architecture without a score has NaN, or is masked in a masked array. Only the order of scores
and of targets counts, not their size (but for `steiger` with Pearson's correlation). Targets are
accuracies, higher is better; ``minimise=True`` takes losses.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from tqdm import tqdm

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
        The zero-cost metric, higher meaning better; NaN, ``pd.NA``, None or a mask where an
        architecture has no score.
    target : array-like of shape (n_archs,)
        What training gave, in the same order: accuracy or, with `minimise`, loss.
    minimise : bool, default=False
        Whether a lower target is better. The best architectures are then those below the 10th and
        the 5th percentile of the loss; correlations are against the loss, their sign not reversed,
        so that a good metric has negative ones.

    Returns
    -------
    pandas.Series
        Indexed by `SCORES`, ``n`` and ``n_scored``:

        - ``rho``, ``tau``: Spearman's rho and Kendall's tau-b, in [-1, 1];
        - ``rho_top10``, ``tau_top10``: the same over the architectures strictly above the 90th
          percentile of accuracy of those scored;
        - ``top10_top10``: of the architectures strictly above the 90th percentile of score, the
          share in % that is strictly above the 90th percentile of accuracy, in [0, 100];
        - ``top64_top5``: how many of the 64 best scored are strictly above the 95th percentile of
          accuracy, in [0, 64]. Of equal scores the architecture that comes first wins;
        - ``n``, ``n_scored``: how many architectures there are, and how many have a score.

        What is undefined is NaN: all six with fewer than three scored architectures or where all
        scores or all targets are equal, the top-10% correlations where that holds in the top 10%,
        and ``top10_top10`` where no score exceeds the 90th percentile.

    Raises
    ------
    ValueError
        Inputs are not real numbers, differ in length, index or shape; a score is infinite; a target
        is missing (NaN, masked) or infinite.

    References
    ----------
    Gracheva (2024), Section 2.1, where the last score is misprinted as "Top-64/top-10%".
    Abdelfattah et al. (2021) introduced the scores.

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
    n_resamples : int, default=1000
        How many times to draw. Fewer than `LEAST_RESAMPLES` give no interval, and draw nothing: of
        25 drawings the second smallest would stand for the 2.5th percentile.
    seed : int, default=21
        The same seed gives the same intervals.
    level : float, default=0.95
        Coverage of the interval, strictly between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        Indexed by `SCORES`, columns ``low`` and ``high``; NaN where the score is undefined, and
        throughout where there is no interval.

    Raises
    ------
    ValueError
        As for `evaluate`; `n_resamples` is below 0 or `level` outside (0, 1).

    Notes
    -----
    For a random sample of a space (the paper's ablations: 5,000 architectures) the interval covers
    the score over the whole space; it is a little wide, since it takes the space to be endless.
    Where the **whole** space is scored nothing has been sampled, and the score is exact for this
    space. The interval then says how much it hangs on which architectures happen to be in the
    space: how it would vary were they a random draw from a larger family of their kind. In both
    cases it leaves out other sources of variation, such as the batch, the data set or the noise of
    training.

    A drawing repeats architectures, so that its top 64 hold fewer than 64 distinct ones: take the
    interval of ``top64_top5`` as a rough one, which need not even hold the value itself.

    References
    ----------
    Efron, B. and Tibshirani, R. J. (1993), *An Introduction to the Bootstrap*, Section 13.3.
    """
    if n_resamples < 0:
        raise ValueError(f"n_resamples={n_resamples}: give 0 for no interval, or more")
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must lie between 0 and 1, such as 0.95")
    scores, targets = _checked(score, target)
    scored = ~np.isnan(scores)
    scores, targets = scores[scored], targets[scored]
    if n_resamples < LEAST_RESAMPLES:
        return pd.DataFrame(np.nan, list(SCORES), ["low", "high"])
    rng = np.random.default_rng(seed)
    draws = np.empty((n_resamples, len(SCORES)))
    # the bar is for a terminal (disable=None), and for those who wait longer than three seconds
    for i in tqdm(range(n_resamples), "bootstrap", leave=False, disable=None, delay=3):
        drawn = rng.integers(max(len(scores), 1), size=len(scores))
        draws[i] = _evaluate(scores[drawn], targets[drawn], minimise)
    tail = (1 - level) / 2
    # pandas leaves out the drawings in which a score is undefined
    interval = pd.DataFrame(draws, columns=list(SCORES)).quantile([tail, 1 - tail]).T
    return interval.set_axis(["low", "high"], axis="columns")


def coverage(score: ArrayLike, target: ArrayLike, minimise: bool = False) -> pd.Series:
    """Return what becomes of the evaluation scores when no architecture is left out.

    Leaving out the architectures without a score, as the paper does, hides their accuracy. Here
    they rank last, all equal, and every percentile is taken over all architectures.

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
        - ``top10_unscored``: the share, in [0, 1], without a score among the architectures that are
          strictly above the 90th percentile of accuracy (below the 10th of loss).

    Raises
    ------
    ValueError
        As for `evaluate`.
    """
    scores, targets = _checked(score, target)
    unscored = np.isnan(scores)
    # ranks rather than -inf, which would spoil the interpolation of percentiles
    ranks = stats.rankdata(np.where(unscored, -np.inf, scores), method="dense").astype(float)
    n, n_scored = len(scores), int(np.sum(~unscored))
    best = _best(targets, 10, minimise) if n else unscored  # no percentile of nothing
    values = {
        "n": n,
        "n_scored": n_scored,
        "coverage": n_scored / n if n else np.nan,
        **{f"{k}_all": v for k, v in zip(SCORES, _evaluate(ranks, targets, minimise), strict=True)},
        "top10_unscored": unscored[best].mean() if best.any() else np.nan,
    }
    return pd.Series(values, dtype=float)


def steiger(
    score_a: ArrayLike,
    score_b: ArrayLike,
    target: ArrayLike,
    minimise: bool = False,
    method: str = "spearman",
) -> Comparison:
    r"""Test whether two metrics correlate equally well with the same target.

    Steiger's Z for two dependent correlations that share a variable, in the version with pooled
    correlations, over the architectures that both metrics score.

    Parameters
    ----------
    score_a, score_b : array-like of shape (n_archs,)
        The two metrics, NaN where an architecture has no score.
    target, minimise
        As for `evaluate`.
    method : {"spearman", "pearson"}, default="spearman"
        The correlation to compare. The test was derived for Pearson's.

    Returns
    -------
    Comparison
        ``z``, positive where `score_a` ranks better (with `minimise`: where its correlation with
        the loss is the lower one); the two-sided ``pvalue``; the correlations ``rho_a`` and
        ``rho_b`` with the target, sign not reversed; ``n``, the architectures with both scores.
        ``z`` and ``pvalue`` are NaN for fewer than four architectures, an input that is constant,
        and correlations of -1 or 1; two equal correlations give 0 and 1.

    Raises
    ------
    ValueError
        As for `evaluate`; `method` is unknown.

    Notes
    -----
    With :math:`\bar r` the mean of the two correlations and :math:`r_{ab}` the one between the
    metrics,

    .. math::

        Z = (\operatorname{artanh} r_a - \operatorname{artanh} r_b)
            \sqrt{\frac{n - 3}{2 - 2 \bar s}}, \qquad
        \bar s = \frac{r_{ab} (1 - 2 \bar r^2)
                 - \tfrac12 \bar r^2 (1 - 2 \bar r^2 - r_{ab}^2)}{(1 - \bar r^2)^2}.

    On ranks the test is approximate. Simulated with equally good metrics (binormal, n = 200 and
    1,000) it rejects at the 5% level in 5% of cases for rho near 0, in 6-7% at 0.6 and in 7-9% at
    0.85, against 4-6% throughout for Pearson's correlation. As for `bootstrap`, a whole space is no
    sample: read the p-value as how easily the difference would come about in another space of its
    kind.

    References
    ----------
    Steiger, J. H. (1980), Tests for comparing elements of a correlation matrix, *Psychological
    Bulletin* 87(2), 245-251, Equation 14.
    """
    if method not in ("spearman", "pearson"):
        raise ValueError(f"unknown method {method!r}; choose 'spearman' or 'pearson'")
    a, targets = _checked(score_a, target)
    b, _ = _checked(score_b, target)
    both = ~(np.isnan(a) | np.isnan(b))
    n = int(both.sum())
    if n < 3 or any(_constant(x[both]) for x in (a, b, targets)):
        return Comparison(np.nan, np.nan, np.nan, np.nan, n)
    columns = np.stack([a[both], b[both], targets[both]])
    if method == "spearman":
        columns = stats.rankdata(columns, axis=1)
    r: Floats = np.atleast_2d(np.corrcoef(columns))
    z = _steiger_z(r[0, 2], r[1, 2], r[0, 1], n) * (-1 if minimise else 1)
    return Comparison(z, float(2 * stats.norm.sf(abs(z))), float(r[0, 2]), float(r[1, 2]), n)


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

    Ranks replace values; from those of the metric and of the target is subtracted what a straight
    line in the third ranks predicts, and Pearson's correlation of what is left is taken.

    Parameters
    ----------
    score : array-like of shape (n_archs,)
        The metric, NaN where an architecture has no score.
    target : array-like of shape (n_archs,)
        What training gave, accuracy or loss.
    given : array-like of shape (n_archs,)
        What is accounted for, such as the number of parameters; NaN where it is missing.

    Returns
    -------
    Partial
        Over the ``n`` architectures that have both scores: the ``partial`` rank correlation, in
        [-1, 1]; Spearman's ``rho`` of metric and target; that of metric and `given`,
        ``rho_with_given``. No sign is reversed. All are NaN for fewer than three architectures or
        an input that is constant, and ``partial`` alone where `given` ranks just as the metric or
        the target does, or in reverse.

    Raises
    ------
    ValueError
        As for `evaluate`.

    Notes
    -----
    With metric :math:`m`, target :math:`t` and the given :math:`g`,

    .. math::

        \rho_{mt \cdot g} = \frac{\rho_{mt} - \rho_{mg} \rho_{tg}}
            {\sqrt{(1 - \rho_{mg}^2)(1 - \rho_{tg}^2)}}.

    References
    ----------
    Kendall, M. G. (1942), Partial rank correlation, *Biometrika* 32(3/4), 277-283, who does the
    same with his tau.

    Examples
    --------
    >>> round(partial([1, 2, 3, 4], [1, 3, 2, 4], given=[2, 1, 3, 4]).partial, 3)
    0.873
    """
    scores, targets = _checked(score, target)
    others, _ = _checked(given, target)
    both = ~(np.isnan(scores) | np.isnan(others))
    columns = np.stack([scores, others, targets], axis=1)[both]
    n = int(both.sum())
    if n < 3 or any(map(_constant, columns.T)):
        return Partial(np.nan, np.nan, np.nan, n)
    (_, with_given, rho), (_, _, of_given), _ = np.corrcoef(stats.rankdata(columns, axis=0).T)
    left = (1 - with_given**2) * (1 - of_given**2)  # 0 where two rank alike, rounding aside
    value = (rho - with_given * of_given) / np.sqrt(left) if left > 1e-9 else np.nan
    return Partial(float(value), float(rho), float(with_given), n)


def rank_product(scores: pd.DataFrame) -> pd.Series:
    r"""Rank architectures by several metrics at once, as AZ-NAS does.

    Parameters
    ----------
    scores : pandas.DataFrame
        A row per architecture and a column per metric, more being better; NaN ranks last.

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
    ranks = scores.fillna(-np.inf).rank()
    return np.log(ranks / len(scores)).sum(axis=1)


def _evaluate(score: Floats, target: Floats, minimise: bool) -> tuple[float, ...]:
    """Return the six scores in the order of `SCORES` for finite arrays."""
    if len(score) < 3 or _constant(score) or _constant(target):
        return (np.nan,) * len(SCORES)
    top10 = _best(target, 10, minimise)
    picked10 = _best(score, 10)
    picked64 = np.argsort(-score, kind="stable")[:64]
    rho, tau = _correlations(score, target)
    rho_top10, tau_top10 = _correlations(score[top10], target[top10])
    return (
        rho,
        rho_top10,
        tau,
        tau_top10,
        100 * float(top10[picked10].mean()) if picked10.any() else np.nan,
        float(_best(target, 5, minimise)[picked64].sum()),
    )


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


def _checked(score: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats]:
    """Return both as float64 vectors; a ValueError says what is wrong and how to mend it."""
    if isinstance(score, pd.Series) and isinstance(target, pd.Series):
        if not score.index.equals(target.index):
            raise ValueError("score and target have different indices; join them first")
    scores, targets = _numbers(score, "score"), _numbers(target, "target")
    if scores.ndim != 1 or scores.shape != targets.shape:
        raise ValueError(
            f"score has shape {scores.shape} and target {targets.shape}; "
            "both must be vectors of one length"
        )
    if infinite := int(np.isinf(scores).sum()):
        raise ValueError(f"score has {infinite} infinite values; give NaN for 'no score'")
    if missing := int((~np.isfinite(targets)).sum()):
        raise ValueError(
            f"target has {missing} NaN, masked or infinite values; drop these architectures first"
        )
    return scores, targets


def _numbers(values: ArrayLike, name: str) -> Floats:
    """Return float64, with NaN for what is missing: None, ``pd.NA`` or masked."""
    if isinstance(values, list | tuple):
        values = np.array([None if v is np.ma.masked else v for v in values], dtype=object)
    array: np.ma.MaskedArray = np.ma.asarray(values)  # np.asarray lays bare what is under a mask
    if array.dtype.kind in "cmM":
        raise ValueError(f"{name} does not hold real numbers, but {array.dtype}")
    missing = np.ma.getmaskarray(array)
    if array.dtype == object:
        missing = missing | pd.isna(array.data)
    try:
        return np.where(missing, np.nan, array.data).astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} does not hold real numbers: {error}") from error
