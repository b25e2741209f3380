"""The noise ceiling against simulations in which the expected accuracies are known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from epsutil import experiments, noise, statistics
from epsutil.book import tables
from epsutil.statistics import SCORES


def trained(seed, n=2000, spread=0.3, skewed=True):
    """Simulate expected accuracies, and one to three runs whose noise falls with accuracy."""
    rng = np.random.default_rng(seed)
    truth = 94 - rng.gamma(1.2, 2.5, n) if skewed else rng.normal(90, 1, n)
    deviation = spread * (1 + (94 - truth) / 3 * skewed)
    runs = truth[:, None] + deviation[:, None] * rng.normal(size=(n, 3))
    counts = rng.integers(1, 4, n)
    runs[np.arange(3) >= counts[:, None]] = np.nan
    return truth, runs, np.nanmean(runs, axis=1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spread", [0.1, 0.4])
def test_a_metric_that_knows_the_truth_scores_the_ceiling(seed, spread):
    truth, runs, target = trained(seed, spread=spread)
    ceiling = noise.ceiling(target, runs, n_draws=20, seed=seed)["value"]
    known = statistics.evaluate(truth, target)
    assert ceiling["rho"] == pytest.approx(known["rho"], abs=0.006)
    assert ceiling["tau"] == pytest.approx(known["tau"], abs=0.012)
    # within the top 10%, which the same noise selects, chance has 200 architectures only
    assert ceiling["rho_top10"] == pytest.approx(known["rho_top10"], abs=3 / 200**0.5)


def test_over_many_simulations_the_ceiling_is_neither_high_nor_low():
    differences = []
    for seed in range(8):
        truth, runs, target = trained(seed, n=1500)
        ceiling = noise.ceiling(target, runs, n_draws=10, seed=seed)["value"]
        differences.append(ceiling - statistics.evaluate(truth, target)[list(SCORES)])
    mean = pd.DataFrame(differences).mean()
    assert abs(mean["rho"]) < 0.003 and abs(mean["tau"]) < 0.005
    assert abs(mean["rho_top10"]) < 0.04 and abs(mean["top10_top10"]) < 1.5


def test_the_interval_holds_the_ceiling_of_the_simulation():
    held = []
    for seed in range(3):
        truth, runs, target = trained(seed, n=400)
        ceiling = noise.ceiling(target, runs, n_draws=200, seed=seed)
        known = statistics.evaluate(truth, target)[["rho", "tau", "rho_top10", "tau_top10"]]
        rows = ceiling.loc[known.index]
        assert (rows["low"] < rows["value"]).all() and (rows["value"] < rows["high"]).all()
        held.append(known.between(rows["low"], rows["high"]))
    assert np.mean(held) > 0.8


def test_the_formula_is_that_of_normal_ranks():
    truth, runs, target = trained(5, n=20_000, spread=0.5, skewed=False)
    found = noise.reliability(runs)
    both = ~np.isnan(runs[:, 1])
    assert found.n == both.sum()
    assert found.k == pytest.approx(stats.hmean((~np.isnan(runs)).sum(axis=1)))
    # with a variance of 1 and noise of 0.5: Pearson's r is 0.8, of which Spearman's is a function
    assert found.rho == pytest.approx(6 / np.pi * np.arcsin(0.8 / 2), abs=0.01)
    one = noise.reliability(runs, np.ones(len(runs)))
    assert one.of_mean == pytest.approx(one.rho) and one.attenuated == pytest.approx(one.rho**0.5)
    assert found.of_mean == pytest.approx(found.k * found.rho / (1 + (found.k - 1) * found.rho))
    # for ranks it is an approximation
    assert found.attenuated == pytest.approx(stats.spearmanr(truth, target).statistic, abs=0.015)


def test_two_runs_rank_each_other_as_two_draws_with_noise_do():
    truth, runs, target = trained(3, n=4000)
    draws = noise.expected(target, runs, n_draws=20)
    assert draws.shape == (20, 4000)
    assert draws.std() == pytest.approx(truth.std(), rel=0.03)
    assert draws.mean(axis=0).std() < draws.std()  # posterior means spread too little
    assert stats.spearmanr(draws.mean(axis=0), truth).statistic > 0.95


def test_without_noise_only_ties_are_below_one():
    target = np.arange(50.0)
    runs = np.stack([target, target], axis=1)
    ceiling = noise.ceiling(target, runs, n_draws=3)
    assert ceiling["value"][["rho", "tau", "rho_top10"]].to_numpy() == pytest.approx(1)
    assert ceiling[["low", "high"]].isna().all(axis=None)
    assert noise.reliability(runs)[2:] == pytest.approx((2, 1, 1))


def test_single_runs_alone_say_nothing_of_noise():
    runs = np.full((9, 2), np.nan)
    runs[:, 0] = range(9)
    assert np.isnan(noise.expected(runs[:, 0], runs, n_draws=2)).all()
    assert noise.ceiling(runs[:, 0], runs, n_draws=2).isna().all(axis=None)
    found = noise.reliability(runs)
    assert np.isnan(found.rho) and np.isnan(found.attenuated) and found.n == 0 and found.k == 1


@pytest.mark.parametrize(
    ("runs", "rho"),
    [([[1, 3], [2, 2], [3, 1]], -1), ([[1, 1], [2, 3], [3, 2], [4, 0]], -0.4)],
)
def test_runs_that_agree_no_better_than_by_chance_have_no_ceiling(runs, rho):
    """Spearman-Brown would divide by 0 at -1/(k - 1), and give a ceiling above 1 beyond it."""
    found = noise.reliability(runs)
    assert found.rho == pytest.approx(rho) and "by chance" in found.reason
    assert np.isnan(found.of_mean) and np.isnan(found.attenuated)
    cycle = np.array([[1, 2, 3], [2, 3, 1], [3, 1, 2]])  # each two runs: -1/2, of three means
    found = noise.reliability(cycle)
    assert found.rho == pytest.approx(-0.5) and np.isnan(found.attenuated)
    assert noise.reliability(np.array([[1, 1], [2, 3], [3, 2]])).reason == ""
    assert "same three" in noise.reliability(np.full((4, 2), np.nan)).reason
    assert "any run" in noise.reliability([[1, 1], [2, 3], [3, 2]], [0, 0, 0]).reason


def test_the_interval_of_two_runs_holds_their_correlation():
    _, runs, _ = trained(2, n=300)
    low, high = noise.interval(runs, 200)
    assert low < noise.reliability(runs).rho < high
    plain = np.random.default_rng(21)
    drawn = [runs[plain.integers(300, size=300)] for _ in range(200)]
    expected = np.quantile([noise.reliability(rows).rho for rows in drawn], (0.025, 0.975))
    assert (low, high) == pytest.approx(tuple(expected))
    assert np.isnan(noise.interval(runs, 199)).all()


def test_one_run_selects_the_top_and_the_other_is_compared_there():
    _, runs, _ = trained(2, n=300)
    found = []
    for selects, other in ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)):
        a, b = runs[~np.isnan(runs[:, [selects, other]]).any(axis=1)][:, [selects, other]].T
        best = a > np.percentile(a, 90)
        found.append(stats.spearmanr(a[best], b[best]).statistic)
    assert noise.rho_top10(runs) == pytest.approx(np.mean(found))
    assert np.isnan(noise.rho_top10(runs[:2]))


def test_a_metric_is_set_beside_the_ceiling_of_what_it_scores():
    truth, runs, target = trained(4, n=400)
    target = pd.Series(target, index=range(1000, 1400))
    truths = noise.expected(target, runs, n_draws=200)
    few = (target + np.random.default_rng(0).normal(0, 2, 400)).iloc[::-1]
    few.iloc[:100] = np.nan
    scores = {"few": few, "truth": pd.Series(truth, target.index), "twice": 2 * few}
    found = noise.reached(scores, target, truths).set_index("metric")
    scored = few.dropna().index
    rhos = [stats.spearmanr(t[scored - 1000], target[scored]).statistic for t in truths]
    row = found.loc["few"]
    assert (row["n"], row["n_scored"]) == (400, 300)
    assert row["rho"] == pytest.approx(stats.spearmanr(few[scored], target[scored]).statistic)
    assert row["rho_ceiling"] == pytest.approx(np.mean(rhos))
    assert row["reached"] == pytest.approx(row["rho"] / row["rho_ceiling"])
    rng, shares = np.random.default_rng(21), []
    for t in truths:
        rows = scored[rng.integers(300, size=300)]
        of, top = (stats.spearmanr(v, target[rows]).statistic for v in (few[rows], t[rows - 1000]))
        shares.append(of / top)
    ends = row[["reached_low", "reached_high"]].tolist()
    assert ends == pytest.approx(np.quantile(shares, (0.025, 0.975)).tolist())
    last = few.fillna(few.min() - 1)[target.index]
    assert row["rho_all"] == pytest.approx(stats.spearmanr(last, target).statistic)
    assert row["reached_all"] == pytest.approx(row["rho_all"] / found.loc["truth", "rho_ceiling"])
    assert found.loc["twice"].tolist() == pytest.approx(row.tolist())
    assert found.loc["truth", "reached"] == pytest.approx(1, abs=0.01)
    assert (found["reached_top10_low"] < found["reached_top10_high"]).all()
    # without draws enough there are no intervals; without a score nothing
    none = noise.reached({"none": few * np.nan}, target, truths[:1]).iloc[0]
    assert none["n_scored"] == 0 and none[["rho", "reached", "reached_low"]].isna().all()


def test_the_same_seed_gives_the_same():
    _, runs, target = trained(1, n=300)
    one, other, third = (noise.expected(target, runs, n_draws=3, seed=s) for s in (4, 4, 5))
    assert np.array_equal(one, other) and not np.array_equal(one, third)


def test_what_does_not_fit_is_refused():
    _, runs, target = trained(1, n=30)
    with pytest.raises(ValueError, match="give a table"):
        noise.reliability(target)
    with pytest.raises(ValueError, match="one for each row"):
        noise.reliability(runs, [1, 2])
    with pytest.raises(ValueError, match="every target needs"):
        noise.expected(target[1:], runs)
    with pytest.raises(ValueError, match="every target needs"):
        noise.expected(target, runs, np.zeros(30))
    with pytest.raises(ValueError, match="n_draws=0"):
        noise.expected(target, runs, n_draws=0)


def test_in_a_table_the_ceiling_is_the_last_row_and_never_the_best():
    _, runs, target = trained(1, n=200)
    runs[:5] = np.nan
    result = pd.Series(target, index=range(10, 210))
    problem = SimpleNamespace(result=result, dataset="cifar10", seed=21)
    frame = pd.DataFrame(runs, index=result.index).iloc[::-1]
    row = experiments.ceiling(problem, frame)
    assert row["n"].tolist() == row["n_scored"].tolist() == [195]
    same = noise.ceiling(result[5:], runs[5:], n_draws=20)["value"]
    assert row[list(SCORES)].iloc[0].to_dict() == pytest.approx(same.to_dict())
    ours = row.assign(metric="synflow", rho=0.5)
    text = tables.render(pd.concat([ours, row]), ["metric", "rho"], best="largest")
    lines = text.splitlines()
    assert "**0.500**" in lines[-2] and "*noise ceiling*" in lines[-1] and "**0" not in lines[-1]


def test_a_share_is_written_as_one():
    """Also where a column's name ends like one of scores, in which the unscored rank last."""
    text = tables.render(
        pd.DataFrame({"reached_all": [0.0102], "rho_all": [0.01]}), ["reached_all", "rho_all"]
    )
    assert "Share, unscored last" in text and "1.0%" in text and "0.010" in text
