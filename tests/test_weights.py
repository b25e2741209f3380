"""The choice of epsilon's weights without training: its measures, its rules, its mistakes."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
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
