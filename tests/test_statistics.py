"""The evaluation scores against obvious implementations.

Intervals and Steiger's test are held to independent derivations and published values.
"""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from epsutil import initialise, inputs, noise, paths, proxies, search, statistics
from epsutil.spaces import get
from epsutil.statistics import SCORES

NAN = float("nan")

# few distinct values, so that ties are everywhere; more than 64 architectures, so that they count
architecture = st.tuples(st.integers(-8, 8).map(float) | st.just(NAN), st.integers(0, 9))
spaces = (
    st.integers(1, 130)
    .flatmap(lambda n: st.lists(architecture, min_size=n, max_size=n))
    .map(lambda pairs: tuple(np.array(pairs, dtype=float).T))
)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def slow_correlations(x, y):
    """Spearman's rho and Kendall's tau-b, straight from their definitions."""
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return NAN, NAN
    rank_x, rank_y = ([(2 * sum(v < u for v in a) + list(a).count(u)) for u in a] for a in (x, y))
    above_x, above_y = (np.sign(np.subtract.outer(a, a)) for a in (x, y))
    tau = (above_x * above_y).sum() / np.sqrt((above_x**2).sum() * (above_y**2).sum())
    return np.corrcoef(rank_x, rank_y)[0, 1], tau


def slow_evaluate(score, target, minimise):
    """Evaluate one architecture at a time."""
    pairs = [(s, t) for s, t in zip(score, target, strict=True) if s == s]
    x, y = [s for s, _ in pairs], [t for _, t in pairs]
    if len(pairs) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return dict.fromkeys(SCORES, NAN)

    def above(values, percentile):
        threshold = np.percentile(values, percentile)
        return {i for i, v in enumerate(values) if v > threshold}

    def best(percent):
        return above([-t for t in y], 100 - percent) if minimise else above(y, 100 - percent)

    picked = above(x, 90)
    first64 = sorted(range(len(x)), key=lambda i: (-x[i], i))[:64]
    top = sorted(best(10))
    rho, tau = slow_correlations(x, y)
    rho_top10, tau_top10 = slow_correlations([x[i] for i in top], [y[i] for i in top])
    share = 100 * len(picked & best(10)) / len(picked) if picked else NAN
    hits = len(best(5) & set(first64))
    return dict(zip(SCORES, (rho, rho_top10, tau, tau_top10, share, hits), strict=True))


def normal_sample(rng, n, r_a, r_b, r_ab):
    """Two metrics and a target, normal with the given correlations."""
    correlations = np.array([[1, r_ab, r_a], [r_ab, 1, r_b], [r_a, r_b, 1]])
    return np.linalg.cholesky(correlations) @ rng.normal(size=(3, n))


class TestEvaluate:
    @given(spaces, st.booleans())
    @settings(deadline=None)
    def test_against_definitions(self, space, minimise):
        got = statistics.evaluate(*space, minimise=minimise)
        expected = slow_evaluate(*space, minimise)
        np.testing.assert_allclose(got[list(SCORES)], [expected[s] for s in SCORES], atol=1e-12)
        assert got["n"] == len(space[0])
        assert got["n_scored"] == np.sum(~np.isnan(space[0]))

    def test_against_scipy_on_continuous_values(self):
        rng = np.random.default_rng(0)
        score = rng.normal(size=3000)
        target = score + rng.normal(size=3000)
        got = statistics.evaluate(score, target)
        top = target > np.nanpercentile(target, 90)
        assert got["rho"] == pytest.approx(stats.spearmanr(score, target)[0])
        assert got["tau_top10"] == pytest.approx(stats.kendalltau(score[top], target[top])[0])

    def test_thresholds_are_those_of_the_scored(self):
        # the ten best architectures have no score; the next are the top 10% of those scored
        target = np.arange(110.0)
        score = np.where(target < 100, target, np.nan)
        got = statistics.evaluate(score, target)
        assert got["top10_top10"] == 100
        assert got["top64_top5"] == 5

    def test_a_perfect_score(self):
        got = statistics.evaluate(range(2000), range(2000))
        np.testing.assert_allclose(got[list(SCORES)], [1, 1, 1, 1, 100, 64])

    def test_losses(self):
        rng = np.random.default_rng(1)
        score, accuracy = rng.normal(size=(2, 500))
        high = statistics.evaluate(score, accuracy)
        low = statistics.evaluate(score, -accuracy, minimise=True)
        signs = [-1, -1, -1, -1, 1, 1]
        np.testing.assert_allclose(low[list(SCORES)], high[list(SCORES)] * signs)

    def test_of_equal_scores_the_first_wins(self):
        target = np.array([1.0] * 4 + [0.0] * 96)
        score = np.array([1.0] * 99 + [0.0])
        assert statistics.evaluate(score, target)["top64_top5"] == 4
        assert statistics.evaluate(score[::-1], target[::-1])["top64_top5"] == 0

    @pytest.mark.parametrize(
        "score, target",
        [
            ([], []),
            ([NAN] * 5, range(5)),
            ([NAN, 1, 2], range(3)),
            ([1, 1, 1, 1], range(4)),
            (range(4), [1, 1, 1, 1]),
        ],
    )
    def test_undefined(self, score, target):
        got = statistics.evaluate(score, target)
        assert got[list(SCORES)].isna().all()
        assert got["n_scored"] == sum(s == s for s in score)

    @pytest.mark.parametrize(
        "missing",
        [
            lambda x, gone: np.ma.masked_array(x, gone),
            lambda x, gone: np.ma.masked_array(np.where(gone, np.inf, x), gone),
            lambda x, gone: np.ma.masked_array(x.astype(int), gone),
            lambda x, gone: list(np.ma.masked_array(x, gone)),
            lambda x, gone: [None if g else v for v, g in zip(x, gone, strict=True)],
            lambda x, gone: [pd.NA if g else v for v, g in zip(x, gone, strict=True)],
            lambda x, gone: pd.Series(x).mask(gone).astype("Int64"),
            lambda x, gone: pd.Series(x).mask(gone).astype("float64[pyarrow]"),
        ],
    )
    def test_what_is_missing_is_no_score(self, missing):
        """A mask, in every function that takes scores, is what NaN is."""
        rng = np.random.default_rng(4)
        other, target = rng.normal(size=(2, 200))
        score = np.round(10 * target + 10 * rng.normal(size=200))
        gone = rng.random(200) < 0.3
        score[gone] = 99  # what lies under a mask would be the best of all
        masked, plain = missing(score, gone), np.where(gone, np.nan, score)
        assert statistics.evaluate(masked, target)["n_scored"] == np.sum(~gone)
        for function in (statistics.evaluate, statistics.coverage):
            assert function(masked, target).equals(function(plain, target))
        got, expected = (statistics.bootstrap(s, target, 200) for s in (masked, plain))
        pd.testing.assert_frame_equal(got, expected)
        assert statistics.steiger(masked, other, target) == statistics.steiger(plain, other, target)
        assert statistics.steiger(other, masked, target).n == np.sum(~gone)

    def test_a_mask_that_hides_nothing(self):
        score = np.ma.masked_array(range(50), mask=False)
        pd.testing.assert_series_equal(
            statistics.evaluate(score, np.ma.asarray(range(50))),
            statistics.evaluate(range(50), range(50)),
        )

    @pytest.mark.parametrize("function", [statistics.evaluate, statistics.coverage])
    @pytest.mark.parametrize(
        "score, target, message",
        [
            ([1, np.inf, -np.inf], [1, 2, 3], "score has 2 infinite"),
            ([1, 2, 3], [1, NAN, np.inf], "target has 2 NaN, masked or infinite"),
            ([1, 2, 3], [1, 2], "one length"),
            ([[1, 2]], [[1, 2]], "vectors"),
            ([1, 2, 3], np.ma.masked_array([1, 2, 3], [0, 1, 0]), "target has 1 NaN, masked"),
            ([1, 2], [1, None], "target has 1 NaN"),
            (["high"], [1], "could not convert"),
            ([1, 2], ["high", 2], "target does not hold real numbers"),
            ([1 + 2j, 3], [1, 2], "score does not hold real numbers"),
            (np.array([1 + 2j, 3]), [1, 2], "score does not hold real numbers, but complex128"),
            (np.array(["2020", "2021"], "M8[Y]"), [1, 2], "score does not hold real numbers"),
            ([[1], [2, 3]], [1, 2], "score does not hold real numbers"),
            (pd.Series([1, 2], ["a", "b"]), pd.Series([1, 2], ["b", "a"]), "different indices"),
        ],
    )
    def test_bad_input(self, function, score, target, message):
        with pytest.raises(ValueError, match=message):
            function(score, target)


class TestCoverage:
    @given(spaces, st.booleans())
    @settings(deadline=None)
    def test_against_definitions(self, space, minimise):
        score, target = space
        got = statistics.coverage(score, target, minimise=minimise)
        last = np.where(np.isnan(score), -9.0, score)
        expected = slow_evaluate(last, target, minimise)
        np.testing.assert_allclose(
            got[[f"{s}_all" for s in SCORES]], [expected[s] for s in SCORES], atol=1e-12
        )
        assert got["coverage"] == np.mean(score == score) == got["n_scored"] / got["n"]

    def test_share_of_the_best_without_score(self):
        target = np.arange(100.0)
        score = target.copy()
        score[[0, 1, 92, 95, 99]] = NAN
        assert statistics.coverage(score, target)["top10_unscored"] == pytest.approx(0.3)
        assert statistics.coverage(score, -target, minimise=True)["top10_unscored"] == (
            pytest.approx(0.3)
        )

    def test_full_coverage_changes_nothing(self):
        score, target = np.random.default_rng(2).normal(size=(2, 300))
        full = statistics.coverage(score, target)
        plain = statistics.evaluate(score, target)
        assert [full[f"{s}_all"] for s in SCORES] == [plain[s] for s in SCORES]
        assert full["coverage"] == 1 and full["top10_unscored"] == 0

    @pytest.mark.parametrize("n", [0, 5])
    def test_nothing_scored(self, n):
        got = statistics.coverage([NAN] * n, range(n))
        assert got[[f"{s}_all" for s in SCORES]].isna().all()
        assert got["n_scored"] == 0


class TestBootstrap:
    def test_against_a_plain_loop(self):
        rng = np.random.default_rng(3)
        score, target = normal_sample(rng, 90, 0.6, 0.6, 0.5)[[0, 2]]
        got = statistics.bootstrap(np.append(score, NAN), np.append(target, 9), 200, 7, level=0.8)
        rng = np.random.default_rng(7)
        draws = [rng.integers(90, size=90) for _ in range(200)]
        values = pd.DataFrame([statistics.evaluate(score[i], target[i]) for i in draws])
        for name in SCORES:
            expected = np.percentile(values[name], [10, 90])
            np.testing.assert_allclose(got.loc[name, ["low", "high"]].astype(float), expected)

    def test_width_is_that_of_the_sampling_distribution(self):
        rng = np.random.default_rng(4)
        samples = [normal_sample(rng, 400, 0.7, 0.7, 0.5)[[0, 2]] for _ in range(200)]
        values = [statistics.evaluate(*sample)["rho"] for sample in samples]
        interval = statistics.bootstrap(*samples[0], n_resamples=300).loc["rho"]
        assert interval["high"] - interval["low"] == pytest.approx(
            2 * 1.96 * np.std(values), rel=0.3
        )

    def test_seed(self):
        score, target = np.random.default_rng(5).normal(size=(2, 100))
        first = statistics.bootstrap(score, target, 200)
        pd.testing.assert_frame_equal(first, statistics.bootstrap(score, target, 200))
        assert not first.equals(statistics.bootstrap(score, target, 200, seed=22))

    def test_undefined(self):
        got = statistics.bootstrap([NAN, NAN], [1, 2], 200)
        assert got.index.tolist() == list(SCORES) and got.isna().all(axis=None)

    @pytest.mark.parametrize("n_resamples", [0, 1, 25, 199])
    def test_no_interval_from_fewer_than_200(self, n_resamples):
        score, target = np.random.default_rng(5).normal(size=(2, 100))
        few = statistics.bootstrap(score, target, n_resamples)
        assert few.index.tolist() == list(SCORES) and list(few) == ["low", "high"]
        assert few.isna().all(axis=None)
        assert statistics.bootstrap(score, target, 200).notna().all(axis=None)

    @pytest.mark.parametrize("bad", [{"n_resamples": -1}, {"level": 1.0}, {"level": 95}])
    def test_bad_input(self, bad):
        with pytest.raises(ValueError, match=next(iter(bad))):
            statistics.bootstrap([1, 2, 3], [1, 2, 3], **bad)


class TestSteiger:
    @pytest.mark.parametrize(
        "r_a, r_b, r_ab, n, z, rel",
        [
            # Output of the R package cocor (Diedenhofen and Musch, 2015), test "steiger1980"; it
            # prints correlations to four digits, which is what limits the agreement. The third is
            # from rmcorr's page on comparing correlations, the others from published analyses.
            (0.0228, 0.3522, 0.3718, 553, -7.1345, 2e-4),
            (0.2493, 0.3395, 0.4082, 553, -2.0660, 2e-4),
            (0.8066, 0.2383, 0.2255, 177, 8.5460, 2e-4),
            (0.7245, 0.7108, 0.8972, 15549, 5.5498, 5e-3),
        ],
    )
    def test_against_published_values(self, r_a, r_b, r_ab, n, z, rel):
        assert statistics._steiger_z(r_a, r_b, r_ab, n) == pytest.approx(z, rel=rel)

    @given(st.floats(-0.6, 0.9), st.floats(-0.6, 0.9), st.floats(0.3, 0.9))
    def test_against_the_delta_method(self, r_a, r_b, r_ab):
        # Cov(S_ij, S_kl) = (s_ik s_jl + s_il s_jk) / n for a normal sample; carry it over to the
        # two correlations by numerical derivatives, at the pooled correlation
        mean = (r_a + r_b) / 2
        sigma = np.array([[1, r_ab, mean], [r_ab, 1, mean], [mean, mean, 1]])
        assume(abs(r_a - r_b) > 1e-6 and np.linalg.det(sigma) > 0.01)
        entries = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
        covariance = [
            [sigma[i, k] * sigma[j, m] + sigma[i, m] * sigma[j, k] for k, m in entries]
            for i, j in entries
        ]

        def correlations(step, where):
            s = sigma.copy()
            s[where] += step
            if where[0] != where[1]:
                s[where[::-1]] += step
            return np.array([s[i, 2] / np.sqrt(s[i, i] * s[2, 2]) for i in (0, 1)])

        h = 1e-6
        gradient = np.array([correlations(h, e) - correlations(-h, e) for e in entries]) / (2 * h)
        cov_r = gradient.T @ covariance @ gradient
        s = cov_r[0, 1] / cov_r[0, 0]
        expected = (np.arctanh(r_a) - np.arctanh(r_b)) * np.sqrt(100 / (2 - 2 * s))
        assert statistics._steiger_z(r_a, r_b, r_ab, 103) == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize("method, spread", [("pearson", 1.0), ("spearman", 1.05)])
    def test_null_distribution(self, method, spread):
        rng = np.random.default_rng(6)
        z = [
            statistics.steiger(*normal_sample(rng, 300, 0.6, 0.6, 0.7), method=method).z
            for _ in range(1000)
        ]
        assert abs(np.mean(z)) < 0.1
        assert np.std(z) == pytest.approx(spread, abs=0.07)

    def test_a_difference_is_found_and_signed(self):
        a, b, target = normal_sample(np.random.default_rng(7), 1000, 0.8, 0.6, 0.5)
        better = statistics.steiger(a, b, target)
        assert better.z > 5 and better.pvalue < 1e-6
        assert better.rho_a == pytest.approx(stats.spearmanr(a, target)[0])
        assert better.rho_b == pytest.approx(stats.spearmanr(b, target)[0])
        assert statistics.steiger(b, a, target).z == pytest.approx(-better.z)
        loss = statistics.steiger(a, b, -target, minimise=True)
        assert loss.z == pytest.approx(better.z) and loss.rho_a == pytest.approx(-better.rho_a)
        assert better.pvalue == pytest.approx(2 * stats.norm.cdf(-better.z))

    def test_over_architectures_that_both_score(self):
        a, b, target = normal_sample(np.random.default_rng(8), 60, 0.5, 0.4, 0.3)
        a[:10], b[5:20] = np.nan, np.nan
        got = statistics.steiger(a, b, target)
        assert got.n == 40
        assert got == statistics.steiger(a[20:], b[20:], target[20:])

    def test_undefined(self):
        target = np.random.default_rng(9).normal(size=20)
        noise = np.random.default_rng(10).normal(size=20)
        assert statistics.steiger(noise, 2 * noise + 1, target)[:2] == (0.0, 1.0)
        assert np.isnan(statistics.steiger(target, noise, target).z)
        assert np.isnan(statistics.steiger(np.ones(20), noise, target).z)
        assert np.isnan(statistics.steiger(noise[:3], target[:3], [3, 1, 2]).z)
        assert statistics.steiger([NAN, 1], [1, NAN], [1, 2]).n == 0

    def test_bad_input(self):
        with pytest.raises(ValueError, match="unknown method 'kendall'"):
            statistics.steiger([1, 2], [1, 2], [1, 2], method="kendall")
        with pytest.raises(ValueError, match="target has 1 NaN"):
            statistics.steiger([1, 2], [1, 2], [1, NAN])


class TestPartial:
    @given(spaces, st.integers(0, 2**32 - 1))
    def test_against_residuals_of_ranks(self, space, seed):
        score, target = space
        size = np.random.default_rng(seed).integers(0, 6, len(score)).astype(float)  # with ties
        found = statistics.partial(score, target, size)
        scored = ~np.isnan(score)
        assert found.n == scored.sum()
        ranks = [stats.rankdata(column[scored]) for column in (score, target, size)]
        if found.n < 3 or any(np.ptp(rank) == 0 for rank in ranks):
            assert np.isnan(found[:3]).all()
            return
        pairs = [(0, 1), (0, 2)]
        expected = [stats.spearmanr(ranks[a], ranks[b]).statistic for a, b in pairs]
        assert found[1:3] == pytest.approx(expected, abs=1e-12)
        lines = [stats.linregress(ranks[2], rank) for rank in ranks[:2]]
        a, b = (
            rank - line.slope * ranks[2] - line.intercept
            for rank, line in zip(ranks[:2], lines, strict=True)
        )
        if min(np.linalg.norm(a), np.linalg.norm(b)) < 1e-3:
            assert np.isnan(found.partial)
        else:
            expected = stats.pearsonr(a, b).statistic
            assert found.partial == pytest.approx(expected, abs=1e-9)

    def test_what_ranks_as_size_does_has_nothing_left(self):
        size, target = np.random.default_rng(8).normal(size=(2, 200))
        for score in (100 * size + 7, -np.exp(size)):
            found = statistics.partial(score, target, size)
            assert np.isnan(found.partial) and abs(found.rho_with_given) == pytest.approx(1)
            assert abs(found.rho) == pytest.approx(abs(stats.spearmanr(size, target).statistic))

    def test_what_holds_given_size_is_found(self):
        quality, size, noise = np.random.default_rng(9).normal(size=(3, 5000))
        target = quality + size
        knows, sizes_up = quality + size + 0.2 * noise, size + 0.2 * noise
        assert statistics.partial(knows, target, size).partial > 0.9
        assert statistics.partial(sizes_up, target, size).rho > 0.6
        assert abs(statistics.partial(sizes_up, target, size).partial) < 0.05
        assert statistics.partial(-knows, target, size).partial < -0.9

    def test_only_what_has_both_is_taken(self):
        score, size = [1.0, 2.0, NAN, 4.0, 3.0, 9.0], [2.0, 1.0, 3.0, 4.0, 6.0, NAN]
        target = [1.0, 3.0, 2.0, 4.0, 6.0, 5.0]
        kept = [0, 1, 3, 4]
        expected = statistics.partial(*(np.array(x)[kept] for x in (score, target, size)))
        assert statistics.partial(score, target, size) == expected and expected.n == 4

    @pytest.mark.parametrize("given", [[1, 2], [1, 2, np.inf], ["a", "b", "c"]])
    def test_bad_input(self, given):
        with pytest.raises(ValueError):
            statistics.partial([1, 2, 3], [1, 2, 3], given)


def test_rank_product_counts_those_below_and_half_of_the_equal_ones():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.integers(0, 5, 30).astype(float), "b": rng.normal(size=30)})
    frame.loc[[3, 7], "b"] = np.nan  # last, and equal
    expected = []
    for i in range(30):
        total = 0.0
        for column in frame:
            own, others = frame[column].fillna(-1e9)[i], frame[column].fillna(-1e9)
            rank = (others < own).sum() + ((others == own).sum() + 1) / 2
            total += np.log(rank / 30)
        expected.append(total)
    result = statistics.rank_product(frame)
    assert result.tolist() == pytest.approx(expected)
    part = statistics.rank_product(frame.iloc[:10])
    assert not np.allclose(part, result.iloc[:10])  # it depends on the set


TABLE = [[3.0, 0.5], [1.0, NAN], [2.0, 0.1]]


@pytest.mark.parametrize(
    "table",
    [
        np.array(TABLE),
        TABLE,
        torch.tensor(TABLE, requires_grad=True),
        pd.DataFrame({"a": [3, 1, 2], "b": [5, pd.NA, 1]}, dtype="Int64"),
        [["3", "0.5"], ["1", None], ["2", "0.1"]],
    ],
)
def test_what_holds_numbers_is_taken(table):
    """Ranks 3, 1, 2 and 3, 1, 2 of three."""
    expected = [0, 2 * np.log(1 / 3), 2 * np.log(2 / 3)]
    assert statistics.rank_product(table).tolist() == pytest.approx(expected)
    found = noise.reliability(np.vstack([np.asarray([[4.0, 9.0]]), TABLE])).n
    assert found == 3


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pd.DataFrame({"name": ["a", "b"], "x": [1, 2]}), "does not hold real numbers, could not"),
        ([[1.0, np.inf], [2.0, 3.0]], "1 infinite values"),
        ([1.0, 2.0], "give a table"),
        ([[1, 2], [3]], "does not hold real numbers"),
        (torch.ones(2, 2, dtype=torch.bfloat16), "does not hold real numbers"),
        (np.ones((2, 2), complex), "but complex128"),
        ({"a": 1}, "does not hold real numbers"),
    ],
)
@pytest.mark.parametrize("function", [statistics.rank_product, noise.reliability])
def test_what_holds_none_is_refused(function, table, said):
    with pytest.raises(ValueError, match=said) as error:
        function(table)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**70, 1.5, True, "21", None])
def test_seeds_have_one_range(seed):
    """At every border where one comes in; the largest is taken."""
    network, x = torch.nn.Linear(2, 1), torch.rand(4, 2)
    values = [1.0, 2.0, 3.0]
    calls = [
        lambda seed: inputs.batch("grey", 4, seed),
        lambda seed: get("nasbench201").sample(3, seed),
        lambda seed: search.random(3, 1, 1, seed),
        lambda seed: statistics.bootstrap(values, values, seed=seed),
        lambda seed: noise.expected(values, [[v, v] for v in values], seed=seed),
        lambda seed: initialise.random_(network, seed),
    ]
    if seed is not None:  # the weights as they are
        calls.append(lambda seed: proxies.compute(network, (x, None), ["params"], seed))
    for call in calls:
        with pytest.raises(ValueError, match=f"seed is {seed!r}, must be from 0 to 4294967295"):
            call(seed)
        call(2**32 - 1)


def test_rank_shares_are_counts_of_those_below_and_half_of_the_equal_ones():
    scores = pd.DataFrame({"a": [0.3, 0.1, 0.3, 0.2, NAN, NAN]}, index=range(10, 16))
    shares = statistics.rank_shares(scores)
    assert shares.index.equals(scores.index)
    # four below 0.3 and itself, or five: 5.5 of 6
    assert (6 * shares["a"]).tolist() == pytest.approx([5.5, 3, 5.5, 4, 0, 0])


def test_a_lead_is_a_paired_bootstrap_and_steigers_test():
    rng = np.random.default_rng(3)
    target = rng.normal(size=80)
    a, b = (target + rng.normal(0, noise, 80) for noise in (0.5, 1.5))
    a[:5], b[3:9] = NAN, NAN
    found = statistics.lead(a, b, target, n_resamples=200, seed=7)
    a, b, target = (values[9:] for values in (a, b, target))

    def gain(rows):
        of_a, of_b = (slow_correlations(score[rows], target[rows])[0] for score in (a, b))
        return of_a - of_b

    plain = np.random.default_rng(7)
    gains = [gain(plain.integers(71, size=71)) for _ in range(200)]
    assert found.rho == pytest.approx(slow_correlations(a, target)[0])
    assert found.gain == pytest.approx(gain(np.arange(71)))
    assert found[2:4] == pytest.approx(tuple(np.quantile(gains, (0.025, 0.975))))
    assert found[4:] == statistics.steiger(a, b, target)[:2]
    few = statistics.lead(a, b, target, n_resamples=199)
    assert few.gain == found.gain and np.isnan(few[2:4]).all()
    assert np.isnan(statistics.lead([NAN, 1, 2], [1, 2, NAN], [1, 2, 3])).all()


def test_rho_is_that_of_the_evaluation():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, (2, 60)).astype(float)
    assert statistics.rho(x, y) == statistics.evaluate(x, y)["rho"]
    assert statistics.rho(x, y) == stats.spearmanr(x, y).statistic
    assert np.isnan(statistics.rho(x, y * 0)) and np.isnan(statistics.rho(x[:2], y[:2]))


# One network, one vote -------------------------------------------------------------------------


def test_a_network_is_drawn_with_all_its_copies():
    networks = np.array(["c", "a", "b", "a", "a", "b"])
    for rows in statistics.resamples(networks, 200, seed=5):
        drawn = pd.Series(rows).groupby(networks[rows]).value_counts().unstack(0)
        times = drawn.sum() / pd.Series(networks).value_counts()[drawn.columns]
        assert times.sum() == 3  # as many networks as there are
        assert (drawn.T.apply(lambda counts: counts.dropna().nunique(), axis=1) == 1).all()


def test_where_each_architecture_is_a_network_nothing_changes():
    rng = np.random.default_rng(3)
    score, target = rng.normal(size=(2, 60))
    score[:7] = NAN
    plain = statistics.bootstrap(score, target, 200)
    pd.testing.assert_frame_equal(
        plain, statistics.bootstrap(score, target, 200, networks=range(60))
    )
    each = [rows.tolist() for rows in statistics.resamples(range(53), 200, 21)]
    again = np.random.default_rng(21)
    assert each == [again.integers(53, size=53).tolist() for _ in range(200)]


def test_copies_are_no_evidence():
    """Each network ten times over: the interval is as wide as that of the networks."""
    rng = np.random.default_rng(4)
    score, target = rng.normal(size=(2, 80))
    score += target
    ten, networks = np.repeat([score, target], 10, axis=1), np.repeat(np.arange(80), 10)
    few = statistics.bootstrap(score, target, 500).loc["rho"]
    many = statistics.bootstrap(*ten, 500, networks=networks).loc["rho"]
    assert many.tolist() == pytest.approx(few.tolist())
    alone = statistics.bootstrap(*ten, 500).loc["rho"]
    assert alone["high"] - alone["low"] < 0.5 * (few["high"] - few["low"])
    lead = statistics.lead(*ten[[0, 1]], ten[1] + 0.1 * ten[0], 300, networks=networks)
    assert lead == pytest.approx(statistics.lead(score, target, target + 0.1 * score, 300))


def test_a_network_has_one_row():
    frame = pd.DataFrame({"a": [1.0, 3, NAN, 5], "b": [2.0, 4, 6, 8]})
    each = statistics.per_network(frame, ["x", "x", "x", "y"])
    assert each.to_numpy().tolist() == [[2, 3], [5, 8]]
    with pytest.raises(ValueError, match="networks has shape"):
        statistics.bootstrap([1, 2, 3], [1, 2, 3], networks=[1, 2])


@pytest.mark.slow
def test_the_method_pages_simulation():
    text = (paths.BOOK / "method.md").read_text("utf-8")
    code = re.search(r"```python\n(import numpy.*?)```", text, re.DOTALL)[1]
    found: dict = {}
    exec(code, found)
    assert f"ρ = {found['truth']:.2f}" in text
    said = re.search(r"it does in (\d+);\s+drawing architectures, in (\d+)", text)
    assert [int(held) for held in said.groups()] == list(found["held"].values())
