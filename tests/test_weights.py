"""The choice of epsilon's weights without training: its measures, its rules, its mistakes."""

import os
import tracemalloc
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from epsutil import inputs, metric, spaces, weights


def slow(scores, pair, neighbours):
    """Return apart, spread and agreement of one pair, comparison by comparison."""

    def sign(name, a, b):
        if np.isnan(scores[name][a]) or np.isnan(scores[name][b]):
            return 0
        difference = scores[name][a] - scores[name][b]
        return 0 if abs(difference) <= 1e-5 else np.sign(difference)

    comparisons = list(combinations(range(len(scores)), 2))
    apart = np.mean([sign(pair, a, b) != 0 for a, b in comparisons])
    spread = np.nanmean(
        [np.nan_to_num(abs(scores[pair][a] - scores[pair][b])) for a, b in comparisons]
    )
    alike = [np.mean([sign(pair, a, b) * sign(n, a, b) for a, b in comparisons])
             for n in neighbours]  # fmt: skip
    return [apart, spread, np.mean(alike)]


def test_the_measures_count_comparisons():
    random = np.random.default_rng(0)
    names = ["0.01,0.1", "0.01,1", "0.1,1"]
    scores = pd.DataFrame(random.random((20, 3)).round(1), columns=names)
    scores = scores.mask(random.random((20, 3)) < 0.3)
    scores.iloc[0] += 1e-6  # rounding tells nothing apart
    table = weights.describe(scores)
    assert list(table["decades"]) == [2, 1, 1] and list(table["w1"]) == [0.01, 0.01, 0.1]
    near = {names[0]: [names[1]], names[1]: [names[0], names[2]], names[2]: [names[1]]}
    for (_, row), name in zip(table.iterrows(), [names[1], names[0], names[2]], strict=True):
        expected = slow(scores, name, near[name])
        assert list(row[["apart", "spread", "agreement"]]) == pytest.approx(expected)
        assert row["n_scored"] == scores[name].notna().sum()


@pytest.mark.parametrize("n", [2, 60, 63, 64, 65, 200])
def test_blocks_of_comparisons_choose_as_all_at_once(monkeypatch, n):
    random = np.random.default_rng(n)
    names = [f"{a:g},{b:g}" for a, b in combinations((1e-3, 0.1, 1.0, 10.0), 2)]
    scores = pd.DataFrame(random.random((n, 6)).round(2), columns=names)
    scores = scores.mask(random.random((n, 6)) < 0.2)
    plain = weights.describe(scores)  # n * n comparisons are less than one block
    assert n * n < weights.BLOCK
    monkeypatch.setattr(weights, "BLOCK", 64 * 64)
    blocks = weights.describe(scores)
    if n <= 64:
        pd.testing.assert_frame_equal(blocks, plain, check_exact=True)
    counted = ["n_scored", "unscored", "apart", "agreement"]
    pd.testing.assert_frame_equal(blocks[counted], plain[counted], check_exact=True)
    np.testing.assert_allclose(blocks["spread"], plain["spread"], rtol=1e-14)
    assert all(rule(blocks) == rule(plain) for rule in weights.RULES.values())
    i, j = np.triu_indices(n, 1)
    signs = np.nan_to_num(scores.to_numpy()[i] - scores.to_numpy()[j])
    assert (plain.sort_index()["apart"] == (np.abs(signs) > 1e-5).mean(0)).all()


def test_memory_does_not_grow_with_the_comparisons():
    scores = pd.DataFrame(np.random.default_rng(0).random((1500, 3)), columns=["1,2", "1,3", "2,3"])
    tracemalloc.start()
    weights.describe(scores)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6  # a million comparisons would take 100 MB


def test_the_rules():
    table = pd.DataFrame(
        {
            "w1": [1e-3, 1e-3, 1e-2, 1e-2],
            "w2": [1.0, 1e-1, 1.0, 1e-1],
            "unscored": [0.5, 0.3, 0.1, 0.05],
            "apart": [0.2, 0.6, 0.8, 0.8],
            "spread": [0.1, 0.4, 0.3, 0.2],
            "agreement": [np.nan, 0.1, 0.2, 0.3],
        }
    )
    chosen = {name: rule(table) for name, rule in weights.RULES.items()}
    assert chosen == {
        "published": (1e-2, 1e-1),
        "half": (1e-3, 1e-1),
        "apart": (1e-2, 1.0),
        "spread": (1e-3, 1e-1),
        "agreement": (1e-2, 1e-1),
    }
    nothing = table.assign(unscored=1.0, apart=0.0, spread=0.0, agreement=np.nan)
    assert {rule(nothing) for rule in weights.RULES.values()} == {None}


def modules():
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 1))
            for width in range(2, 14)]  # fmt: skip


def test_modules_are_scored_as_metric_does():
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    before = [module[0].weight.clone() for module in modules()]
    own = modules()
    found = weights.select(own, x, [1.0, 1e-3, 1e-1], "spread")
    assert all(torch.equal(m[0].weight, old) for m, old in zip(own, before, strict=True))
    scores = {
        f"{a:g},{b:g}": [metric.epsilon(module, x, (a, b)) for module in own]
        for a, b in combinations([1e-3, 1e-1, 1.0], 2)
    }
    pd.testing.assert_frame_equal(found.table, weights.describe(pd.DataFrame(scores)))
    assert found.weights == weights.RULES["spread"](found.table)


def test_a_space_by_name_and_itself():
    x = inputs.batch("grey", 8, image_size=8).x
    by_name = weights.select("nasbench201", x, [1e-3, 1e-1, 1.0], n_archs=20)
    space = spaces.get("nasbench201")
    itself = weights.select(space, torch.tensor(x), [1.0, 1e-1, 1e-3], n_archs=20, n_jobs=2)
    pd.testing.assert_frame_equal(by_name.table, itself.table)
    assert by_name.weights == itself.weights and by_name.table["n"].eq(20).all()


class Mine(type(spaces.get("nasbench201"))):
    """A space that no registry knows; its outputs tell which process they were computed in."""

    name = "mine"

    def outputs(self, arch, x, weights, dtype=None):
        (self.folder / str(os.getpid())).touch()
        return super().outputs(arch, x, weights, dtype)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_space_of_ones_own(tmp_path, n_jobs):
    space, given = Mine(), {"weights": [1e-3, 1e-1, 1.0], "n_archs": 12, "rule": "spread"}
    space.folder = tmp_path
    x = inputs.batch("grey", 4, image_size=8).x
    found = weights.select(space, x, n_jobs=n_jobs, **given)
    pd.testing.assert_frame_equal(found.table, weights.select("nasbench201", x, **given).table)
    processes = {path.name for path in tmp_path.iterdir()}
    assert (str(os.getpid()) in processes) == (n_jobs == 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rule": "best"}, "unknown rule 'best'; the known ones are published, half"),
        ({"source": modules()[:9]}, "9 networks are too few; give 10 or more"),
        ({"source": modules()[0]}, "not one network"),
        ({"source": [*modules(), 3]}, "network 12 is int"),
        ({"source": [nn.Linear(5, 1), *modules()]}, "network 0: Linear fails on"),
        ({"source": [nn.Linear(6, 1)] * 10}, "no pair of the weights 0.001, 1 satisfies"),
        ({"weights": [1.0]}, "two or more different finite numbers"),
        ({"weights": [0.0, 1.0]}, "above 0"),
        ({"x": torch.randn(1, 6)}, "two or more inputs that differ"),
        ({"x": torch.ones(4, 6)}, "two or more inputs that differ"),
        ({"source": "nasbench201", "n_archs": 9}, "n_archs is 9; nasbench201 has 10 to 15,625"),
        ({"source": "nasbench"}, "unknown search space"),
    ],
)
def test_mistakes_are_named(given, message):
    usual = {"source": modules(), "x": torch.randn(4, 6), "weights": [1e-3, 1.0], "rule": "apart"}
    with pytest.raises(ValueError, match=message):
        weights.select(**usual | given)


def few_scores():
    random = np.random.default_rng(3)
    names = [f"{a:g},{b:g}" for a, b in combinations((0.01, 0.1, 1.0), 2)]
    scores = pd.DataFrame(random.random((30, 3)), columns=names)
    return scores.mask(random.random((30, 3)) < [0.5, 0.7, 0.0])


def test_rules_choose_from_samples():
    """Two of the three pairs leave too many without a score for the published rule."""
    scores = few_scores()
    chosen = weights.choices(scores, 12, 3, seed=7)
    assert list(chosen) == list(weights.RULES)
    for number in range(3):
        rows = np.random.default_rng([7, number]).choice(30, 12, replace=False)
        table = weights.describe(scores.iloc[rows])
        for name, rule in weights.RULES.items():
            two = rule(table)
            assert chosen[name][number] == (two and f"{two[0]:g},{two[1]:g}")
    assert chosen["published"] == ["0.1,1"] * 3
    nothing = weights.choices(scores * np.nan, 40, 2, seed=7)  # more than there are
    assert all(names == [None, None] for names in nothing.values())


def test_choices_are_judged_by_what_training_gave():
    scores, random = few_scores(), np.random.default_rng(0)
    result = pd.Series(random.random(25), range(2, 27))  # of some of the architectures
    wide, narrow = "0.01,1", "0.1,1"
    chosen = {"a": [narrow, wide, narrow], "b": [None, None, wide], "c": [wide]}
    table = weights.judge(chosen, scores, result, 200, seed=1).set_index("chosen_by")
    scores = scores.loc[result.index]
    last = scores.fillna(-1).corrwith(result, method="spearman")
    share = 100 * last / last.max()
    expected = {"a": share[[narrow, wide, narrow]].median(), "b": 0, "c": share[wide]}
    assert table["rho_share"].to_dict() == pytest.approx(expected | {"best pair": 100})
    assert table["times"].tolist() == pytest.approx([200 / 3, 200 / 3, 100, 100])
    assert table["none"].tolist() == pytest.approx([0, 200 / 3, 0, 0])
    assert table.loc["a", ["w1", "w2", "n", "n_scored"]].tolist() == [0.1, 1, 25, 25]
    assert table.drop(columns=["times", "none", "rho_share"]).loc["b"].isna().all()
    assert table.loc["c", "n_scored"] == scores[wide].count() < 25
    assert table.loc["c", "rho"] == pytest.approx(scores[wide].corr(result, method="spearman"))
    assert table.loc["c", "rho_last"] == pytest.approx(last[wide])
    drawn = np.random.default_rng(1).integers(25, size=(200, 25))
    values, target = scores[narrow].to_numpy(), result.to_numpy()
    rhos = [stats.spearmanr(values[i], target[i]).statistic for i in drawn]
    ends = table.loc["a", ["rho_low", "rho_high"]].tolist()
    assert ends == pytest.approx(np.quantile(rhos, [0.025, 0.975]).tolist())
    assert ends == table.loc["a", ["rho_last_low", "rho_last_high"]].tolist()  # scores all
    few = weights.judge(chosen, scores, result, 199, seed=1)
    assert few[["rho_low", "rho_last_high"]].isna().all(axis=None) and few["rho"].notna().any()


def test_what_cannot_be_ranked_has_a_rho_of_0():
    scores = pd.DataFrame({"1,2": [0.5, 0.5, 0.5, np.nan], "1,3": [np.nan] * 4})
    table = weights.judge({"a": ["1,3"]}, scores, pd.Series([1.0, 2, 3, 0]), 0, seed=0)
    assert table.loc[0, ["n_scored", "rho", "rho_last"]].tolist() == [0, 0, 0]
    best = table.loc[1]
    assert best["rho"] == 0 and best["rho_last"] > 0 and best["n_scored"] == 3
