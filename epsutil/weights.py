"""Choosing the two constant weights of epsilon (Section 3.1, Table 8), without any training.

A rule sees the scores of a few random architectures under all pairs of some weights, and nothing
else. It counts **comparisons** between two of the architectures: one without a score can be
compared with none. With a share u unscored, about (1 - u)^2 of the comparisons are left.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn
from tqdm.auto import tqdm

from epsutil import metric, network_copy, scoring, spaces, statistics
from epsutil.experiments import Problem
from epsutil.names import check_known

# The powers of ten that the paper uses in any of its tables.
GRID = tuple(float(f"1e{exponent}") for exponent in range(-7, 2))
ROUNDING = 1e-5  # what two float32 evaluations of one architecture may differ by
LEAST_NETWORKS = 10
BLOCK = 1 << 17  # comparisons at a time, a kilobyte each
# The best with all architectures counted; `half` ranks better those that it scores, and scores
# fewer. The page "Choosing the weights without training" has the evidence.
DEFAULT_RULE = "published"


def describe(scores: pd.DataFrame) -> pd.DataFrame:
    """Describe each pair of weights by the scores that it gives, without any training.

    Parameters
    ----------
    scores : pandas.DataFrame
        A row per architecture, two at least; a column per pair of weights, named as by
        :func:`epsutil.scoring.pair`; NaN without a score.

    Returns
    -------
    pandas.DataFrame
        A row per pair, from the widest to the narrowest, of equally wide ones the smallest first:

        - ``w1``, ``w2``, and ``decades``, the width log10(w2 / w1);
        - ``n``, ``n_scored``, and ``unscored``, the share without a score;
        - ``apart``: the share of all comparisons whose two scores differ by more than `ROUNDING`;
        - ``spread``: how far the scores of two architectures are apart on average over all
          comparisons, 0 where one has no score;
        - ``agreement``: Kendall's tau-a with the neighbouring pairs, one step of the grid away in
          one of the two weights, averaged over these: the share of all comparisons that both make
          alike, minus the share that they make the other way round; NaN without a neighbour.

    Examples
    --------
    Scores of four architectures under two pairs of weights. The wider pair gives one of them no
    score, so that it tells fewer apart, but these are further apart:

    >>> scores = pd.DataFrame({"1e-07,1": [np.nan, 0.2, 0.5, 0.9], "0.001,1": [0.1, 0.2, 0.1, 0.3]})
    >>> describe(scores)[["w1", "w2", "unscored", "apart", "spread"]].round(3)
          w1   w2  unscored  apart  spread
    0  0.000  1.0      0.25  0.500   0.233
    1  0.001  1.0      0.00  0.833   0.117
    """
    pairs = [tuple(map(float, name.split(","))) for name in scores]
    grid = sorted({weight for two in pairs for weight in two})
    places = [(grid.index(first), grid.index(second)) for first, second in pairs]
    values = scores.to_numpy(float)
    n_comparisons = len(values) * (len(values) - 1) // 2
    together, spread = np.zeros((len(pairs), len(pairs))), np.zeros(len(pairs))
    for i, j in _comparisons(len(values)):
        differences = values[i] - values[j]  # under each pair of weights; NaN without a score
        signs = np.where(np.abs(differences) > ROUNDING, np.sign(differences), 0.0)
        together += signs.T @ signs
        spread += np.nan_to_num(np.abs(differences)).T.copy().sum(1)
    together, spread = together / n_comparisons, spread / n_comparisons
    rows = []
    for column, ((w1, w2), (x, y)) in enumerate(zip(pairs, places, strict=True)):
        near = [k for k, (u, v) in enumerate(places) if abs(u - x) + abs(v - y) == 1]
        missing = np.isnan(values[:, column])
        rows.append(
            {
                "w1": w1,
                "w2": w2,
                "decades": round(float(np.log10(w2 / w1)), 6),
                "n": len(values),
                "n_scored": int((~missing).sum()),
                "unscored": missing.mean(),
                "apart": together[column, column],
                "spread": spread[column],
                "agreement": together[column, near].mean() if near else np.nan,
            }
        )
    return pd.DataFrame(rows).sort_values(["decades", "w1"], ascending=[False, True])


def _comparisons(n: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield all two of `n`, in the order of ``numpy.triu_indices``, about `BLOCK` at a time."""
    rows = max(1, BLOCK // n)
    for first in range(0, n - 1, rows):
        i, j = np.triu_indices(min(rows, n - 1 - first), 1, n - first)
        yield i + first, j + first


def widest(table: pd.DataFrame, largest_share: float) -> tuple[float, float] | None:
    """Return the first, hence widest, pair that leaves less than a share without a score."""
    enough = table[table["unscored"] < largest_share]
    return None if enough.empty else _two(enough.iloc[0])


def highest(table: pd.DataFrame, column: str) -> tuple[float, float] | None:
    """Return the pair with the highest value, the widest of several; None where none is above 0."""
    values = table[column]
    return _two(table.loc[values.idxmax()]) if values.gt(0).any() else None


def _two(row: pd.Series) -> tuple[float, float]:
    return float(row["w1"]), float(row["w2"])


# What each takes, of a table as `describe` returns it:
RULES: dict[str, Callable[[pd.DataFrame], tuple[float, float] | None]] = {
    # The authors' code: the widest pair that leaves fewer than a tenth without a score.
    "published": lambda table: widest(table, 0.1),
    # Most architectures have a score. Unscored are then under a half, but comparisons lost only
    # where one of two is unscored; a search that draws anew finds enough that are scored.
    "half": lambda table: widest(table, 0.5),
    # The ranking holds the most information: it leaves the fewest comparisons open.
    "apart": lambda table: highest(table, "apart"),
    # The same, weighed by how far the scores are apart: a network's answer to the weights, which
    # is what epsilon measures, is weak where the two weights are close.
    "spread": lambda table: highest(table, "spread"),
    # Nothing says which power of ten is right. So the ranking should hang on it least.
    "agreement": lambda table: highest(table, "agreement"),
}


class Selection(NamedTuple):
    """What `select` returns."""

    weights: tuple[float, float]
    table: pd.DataFrame


def select(
    source: spaces.Space | str | Sequence[nn.Module],
    x: torch.Tensor | NDArray,
    weights: Sequence[float] = GRID,
    rule: str = DEFAULT_RULE,
    n_archs: int = 100,
    seed: int = 21,
    n_jobs: int = 1,
) -> Selection:
    """Choose the two weights of epsilon for a new space, without training.

    As in Section 3.1 of Gracheva (2024): weights far apart, few networks without a score.

    Parameters
    ----------
    source : Space, str or sequence of torch.nn.Module
        A search space or its name (:func:`epsutil.spaces.get`), of which random architectures
        decide; or `LEAST_NETWORKS` or more networks, as different as those to be scored later.
    x : torch.Tensor or ndarray
        A batch that the networks take, without labels; its inputs must differ.
    weights : sequence of float
        Different numbers above 0, of at most six digits; all their pairs are tried.
    rule : str
        One of `RULES`.
    n_archs, seed : int
        How many architectures of a space to draw, and how; of a list of networks all are taken.
    n_jobs : int
        Processes for a space, each on one thread; -1 is one per core.

    Returns
    -------
    Selection
        ``weights``, the smaller one first, and ``table``, what decided: see :func:`describe`.

    Raises
    ------
    ValueError
        An argument is out of range, a network cannot be scored, or no pair satisfies the rule.

    Examples
    --------
    Twenty random architectures and 16 grey images; nothing is trained.

    >>> from epsutil import inputs
    >>> x = inputs.batch("grey", batch_size=16).x
    >>> select("nasbench201", x, n_archs=20).weights
    (0.001, 10.0)
    """
    check_known("rule", rule, RULES)
    weights = scoring.checked_weights(weights)
    if weights[0] <= 0:
        raise ValueError(f"weights are above 0, not {weights[0]:g}")
    batch = network_copy.numbers(x)
    if len(batch) < 2 or bool((batch == batch[:1]).all()):
        raise ValueError("the batch needs two or more inputs that differ: no score is defined else")
    if isinstance(source, str | spaces.Space):
        rows = _of_space(spaces.get(source), batch.numpy(), weights, n_archs, seed, n_jobs)
    else:
        rows = _of_modules(source, batch, weights)
    pairs = list(combinations(weights, 2))
    table = describe(pd.DataFrame(rows, columns=[scoring.pair(two) for two in pairs], dtype=float))
    chosen = RULES[rule](table)
    if chosen is None:
        raise ValueError(
            f"no pair of the weights {', '.join(f'{w:g}' for w in weights)} satisfies the rule "
            f"{rule!r}: the best leaves {table['unscored'].min():.0%} of {len(rows)} networks "
            "without a score"
        )
    return Selection(chosen, table)


def _of_space(
    space: spaces.Space, x: NDArray, weights: Sequence[float], n_archs: int, seed: int, n_jobs: int
) -> list[list[float]]:
    if not LEAST_NETWORKS <= n_archs <= len(space):
        raise ValueError(
            f"n_archs is {n_archs}; {space.name} has {LEAST_NETWORKS} to {len(space):,} to draw"
        )
    drawn = space.sample(n_archs, seed)
    prepared = space.prepare(x)
    rows = joblib.Parallel(n_jobs=n_jobs, return_as="generator")(
        joblib.delayed(space.outputs)(space[int(index)], prepared, weights) for index in drawn
    )
    scores = [_of_pairs(outputs) for outputs in _progress(rows, n_archs)]
    return scores if space.zero_is_score else [[v or np.nan for v in row] for row in scores]


def _of_modules(modules: Any, x: torch.Tensor, weights: Sequence[float]) -> list[list[float]]:
    if isinstance(modules, nn.Sequential) or not isinstance(modules, Iterable):
        raise ValueError("give a search space or a list of networks, not one network")
    modules = list(modules)
    if len(modules) < LEAST_NETWORKS:
        raise ValueError(f"{len(modules)} networks are too few; give {LEAST_NETWORKS} or more")
    for number, module in enumerate(modules):
        if not isinstance(module, nn.Module):
            raise ValueError(f"network {number} is {type(module).__name__}, no torch.nn.Module")
    rows = []
    for number, module in enumerate(_progress(modules, len(modules))):
        try:
            rows.append(_of_pairs(metric.outputs(module, x, weights)))
        except ValueError as error:
            raise ValueError(f"network {number}: {error}") from error
    return rows


def _of_pairs(outputs: NDArray[np.floating]) -> list[float]:
    return [metric.from_outputs(two) for two in combinations(outputs, 2)]


def _progress(items: Iterable[Any], total: int) -> Iterable[Any]:
    return tqdm(items, "weights", total, unit="network", leave=False, delay=2)


def scored(problem: Problem, weights: Sequence[float]) -> pd.DataFrame:
    """Return a problem's scores under all pairs of some weights, as `Problem.epsilon`."""
    scores = problem.scores(weights)
    pairs = combinations(sorted(weights), 2)
    return pd.DataFrame({scoring.pair(two): problem.scored(scores, two) for two in pairs})


# How good the rules are, for which accuracies are needed ---------------------------------------


def choices(
    scores: pd.DataFrame, n_archs: int, n_rounds: int, seed: int
) -> dict[str, list[str | None]]:
    """Let each of `RULES` choose from random samples of the architectures.

    Returns what each chooses from `n_rounds` samples of `n_archs`, named as the columns of
    `scores`, see :func:`describe`; None where no pair satisfies it.
    """
    chosen: dict[str, list[str | None]] = {rule: [] for rule in RULES}
    for number in range(n_rounds):
        rng = np.random.default_rng([seed, number])
        rows = rng.choice(len(scores), min(n_archs, len(scores)), replace=False)
        table = describe(scores.iloc[rows])
        for rule, choose in RULES.items():
            two = choose(table)
            chosen[rule].append(two and scoring.pair(two))
    return chosen


def judge(
    chosen: Mapping[str, Sequence[str | None]],
    scores: pd.DataFrame,
    result: pd.Series,
    n_resamples: int,
    seed: int,
    networks: pd.Series | None = None,
) -> pd.DataFrame:
    """Judge what rules choose by what training gave.

    `chosen` is of each rule, as :func:`choices` returns it; `scores` as for :func:`describe`;
    `result` of some of the architectures, more is better; `n_resamples`, `seed` and `networks` as
    for :func:`epsutil.statistics.bootstrap`, but that all networks are drawn from.

    Returns a row per rule, and one for the ``"best pair"``, which has the highest ``rho_last``.
    ``times``: how often a rule makes its most frequent choice, and ``none``: how often it makes
    none, in per cent. Of that choice: ``w1``, ``w2``, ``n``, ``n_scored``; Spearman's ``rho`` over
    the scored, and ``rho_last`` with the others last, 0 where undefined; the ends of their 95%
    intervals. ``rho_share``: the median of all choices' ``rho_last``, in per cent of the best
    pair's.
    """
    scores, results = scores.reindex(result.index), result.to_numpy(float)
    labels = statistics.labels(None if networks is None else networks[result.index], len(result))
    drawn = list(statistics.resamples(labels, n_resamples, seed))
    every = pd.DataFrame({name: _rhos(scores[name].to_numpy(float), results) for name in scores})
    every = every.T.set_axis(["rho", "rho_last"], axis=1)
    every.insert(0, "n_scored", scores.notna().sum())
    every.insert(0, "n", len(scores))
    last, ends, rows = every["rho_last"], {}, []
    for name, pairs in {**chosen, "best pair": [last.idxmax()]}.items():
        counted = pd.Series(pairs, dtype=object).value_counts(dropna=False)
        row = {"chosen_by": name, "times": 100 * counted.iloc[0] / len(pairs)}
        row["none"] = 100 * np.mean([pair is None for pair in pairs])
        row["rho_share"] = 100 * (last.reindex(pairs).fillna(0) / last.max()).median()
        if (often := counted.index[0]) is not None:
            if often not in ends:  # several rules choose the same
                score = scores[often].to_numpy(float)
                rhos = [_rhos(score[rows], results[rows]) for rows in drawn]
                draws = pd.DataFrame(rhos, columns=["rho", "rho_last"], dtype=float)
                found = statistics.interval(draws).stack()
                ends[often] = {f"{name}_{end}": value for (name, end), value in found.items()}
            row |= zip(("w1", "w2"), map(float, often.split(",")), strict=True)
            row |= every.loc[often].to_dict() | ends[often]
        rows.append(row)
    return pd.DataFrame(rows)


def _rhos(score: NDArray[np.float64], result: NDArray[np.float64]) -> list[float]:
    ok = ~np.isnan(score)
    ranks = stats.rankdata(np.where(ok, score, -np.inf))
    pairs = ((score[ok], result[ok]), (ranks, result))
    return [
        float(stats.spearmanr(a, b).statistic) if len(a) > 2 and np.ptp(a) and np.ptp(b) else 0.0
        for a, b in pairs
    ]
