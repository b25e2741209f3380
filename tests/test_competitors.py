"""What is computed about the competing metrics, on made-up scores, against plain formulas."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from epsutil import competitors, names, proxies
from epsutil.book import plots, tables, verdicts
from epsutil.competitors import Scores

N = 300
SIGNAL = {"epsilon": 0.9, "synflow": 0.5, "fisher": -0.1}


@pytest.fixture(scope="module")
def found():
    """Three metrics of known strength; one has gaps, another only half of the architectures."""
    rng = np.random.default_rng(0)
    quality, size = rng.normal(size=(2, N))
    frame = pd.DataFrame(
        {
            "test_accuracy": 90 + 2 * (quality + size),
            "params": np.round(1e6 * np.exp(size / 3), -5),  # with ties
            "flops": 1.0,
        },
        index=pd.Index(np.arange(N) * 2, name="index"),
    )
    frame["flops"] = 100 * frame["params"] + 7
    for name, share in SIGNAL.items():
        frame[name] = share * quality + size + 0.2 * rng.normal(size=N)
    frame.loc[frame.index[:100], "epsilon"] = np.nan
    half = frame.index[::2]
    frame.loc[~frame.index.isin(half), "fisher"] = np.nan
    evaluated = {
        "synflow": frame.index,
        "fisher": half,
        "params": frame.index,
        "flops": frame.index,
        "epsilon": frame.index,
    }
    return Scores(frame, evaluated, dict.fromkeys(evaluated, np.nan))


def ranked(values):
    return stats.rankdata(values)


def residual(ranks, size):
    """What a straight line in size leaves."""
    slope, intercept = np.polyfit(size, ranks, 1)
    return ranks - slope * size - intercept


# Pair by pair --------------------------------------------------------------------------------


def test_correlations_are_those_of_pandas(found):
    table = competitors.correlations(found, 0).set_index(["a", "b"])
    expected = found.frame[list(found.evaluated)].corr("spearman")
    for a in found.evaluated:
        for b in found.evaluated:
            assert table.loc[(a, b), "rho"] == pytest.approx(expected.loc[a, b], abs=1e-12)


def test_correlations_count_what_both_metrics_score(found):
    table = competitors.correlations(found, 0).set_index(["a", "b"])["n"]
    assert table["synflow", "params"] == N
    assert table["epsilon", "synflow"] == N - 100
    assert table["fisher", "synflow"] == N // 2
    assert table["fisher", "epsilon"] == table["epsilon", "fisher"] == N // 2 - 50


def test_metrics_of_few_architectures_are_left_out(found):
    assert set(competitors.correlations(found, N)["a"]) == {*found.evaluated} - {"fisher"}
    assert "fisher" not in set(competitors.beyond_size(found, N)["metric"])
    assert "fisher" in set(competitors.beyond_size(found, N // 2)["metric"])


# Beyond size ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNAL)
def test_the_partial_correlation_is_that_of_residuals_of_ranks(found, name):
    row = competitors.beyond_size(found, 0).set_index("metric").loc[name]
    frame = found.frame.dropna(subset=name)
    score, size, accuracy = (ranked(frame[c]) for c in (name, "params", "test_accuracy"))
    expected = stats.pearsonr(residual(score, size), residual(accuracy, size)).statistic
    assert row["n"] == len(frame)
    assert row["partial"] == pytest.approx(expected, abs=1e-9)
    assert row["rho"] == pytest.approx(stats.spearmanr(score, accuracy).statistic)
    assert row["rho_size"] == pytest.approx(stats.spearmanr(score, size).statistic)


def test_what_ranks_as_size_does_has_nothing_left(found):
    table = competitors.beyond_size(found, 0).set_index("metric")
    assert "params" not in table.index
    assert np.isnan(table.loc["flops", "partial"])
    assert table.loc["epsilon", "partial"] > table.loc["synflow", "partial"] > 0.3
    assert table.loc["fisher", "partial"] < table.loc["synflow", "partial"]


def test_size_apart_adds_size_itself_and_the_architectures_of_epsilon(found):
    table = competitors.size_apart({"cifar10": found}, 0).set_index("metric")
    scored = found.frame.dropna(subset=["epsilon"])
    assert (table["dataset"] == "cifar10").all()
    for name in SIGNAL:
        frame = found.frame.dropna(subset=name)
        expected = stats.spearmanr(frame["params"], frame["test_accuracy"]).statistic
        assert table.loc[name, "rho_params"] == pytest.approx(expected)
        assert table.loc[name, "n_epsilon"] == scored[name].notna().sum()
    assert table.loc["epsilon", "partial_epsilon"] == table.loc["epsilon", "partial"]
    alone = Scores(scored, {"synflow": scored.index}, {})
    expected = competitors.beyond_size(alone, 0)["partial"].iloc[0]
    assert table.loc["synflow", "partial_epsilon"] == pytest.approx(expected)


# What the figures show -----------------------------------------------------------------------


def test_drawn_counts_and_finds_the_first_place(found):
    table = competitors.drawn({"cifar100": found}).set_index("metric")
    assert table.loc["epsilon", ["n", "n_scored"]].tolist() == [N, N - 100]
    assert table.loc["fisher", ["n", "n_scored"]].tolist() == [N // 2, N // 2]
    scored = found.frame.dropna(subset="epsilon")
    first = scored.loc[scored["epsilon"].idxmax()]
    assert table.loc["epsilon", "highest"] == first["test_accuracy"]
    largest = found.frame[found.frame["params"] == found.frame["params"].max()]
    assert table.loc["params", "highest"] == pytest.approx(largest["test_accuracy"].mean())
    assert table.loc["epsilon", "best_scored"] == scored["test_accuracy"].max()


def test_sentences_name_the_right_metrics(found):
    both = {"cifar10": found, "ImageNet16-120": found}
    pairs, size = competitors.pairs(both, 0), competitors.size_apart(both, 0)
    rho = competitors.correlations(found, 0).set_index(["a", "b"])["rho"]
    assert competitors.closest(pairs, "epsilon") == rho["epsilon"].drop("epsilon").idxmax()
    names = sorted(SIGNAL)
    closest = max(((a, b) for a in names for b in names if a < b), key=lambda pair: rho[pair])
    assert competitors.closest(pairs) == " and ".join(closest)
    assert competitors.best_beyond_size(size) == "epsilon"
    assert competitors.no_better_than_size(size) == "fisher"
    assert "epsilon" not in competitors.halved_by_size(size)
    fewest = int(size["n_epsilon"].min())
    assert competitors.sampling_error(size).endswith(f"for {fewest:,} architectures")
    drawn = competitors.drawn(both)
    assert f"synflow, params, flops, epsilon {N}, fisher {N // 2}" in (
        competitors.covered_metrics(drawn)
    )
    assert "by epsilon and" in competitors.best_picks(drawn)


def test_sentences_tell_datasets_apart(found):
    worse = found._replace(frame=found.frame.assign(epsilon=found.frame["fisher"]))
    size = competitors.size_apart({"cifar10": found, "cifar100": worse}, 0)
    assert competitors.best_beyond_size(size) == "epsilon on CIFAR-10, synflow on CIFAR-100"
    assert competitors.no_better_than_size(size) == "fisher"  # epsilon is better on CIFAR-10


def test_networks_that_learn_nothing_are_counted(found):
    frame = found.frame.copy()
    frame.loc[frame.index[95:105], "test_accuracy"] = 10.0  # the first 100 have no epsilon
    text = competitors.at_chance({"cifar10": found._replace(frame=frame)})
    assert text == "10 on CIFAR-10 (5 with an epsilon)"
    assert competitors.at_chance({"cifar10": found}).startswith("0 on")


def test_tables_have_a_row_per_metric(found):
    drawn, size = (
        competitors.drawn({"cifar10": found}),
        competitors.size_apart({"cifar10": found}, 0),
    )
    assert tables.drawn(drawn, "cifar10").count("\n") == 2 + len(found.evaluated)
    text = tables.beyond_size(size, "cifar10")
    assert text.count("\n") == 2 + len(found.evaluated) - 1 and "nan" not in text


@pytest.mark.parametrize(
    ("score", "scale"),
    [
        (np.linspace(-3, 5, 50), "linear"),
        (np.logspace(-3, 40, 50), "log"),
        (np.append(np.logspace(-3, 40, 50), 0), "symlog"),
        (np.append(np.logspace(-3, 3, 50), -np.logspace(-3, 2, 20)), "symlog"),
        (np.append(np.linspace(1, 2, 50), 1000), "log"),
        (np.zeros(5), "linear"),
        (np.array([]), "linear"),
    ],
)
def test_an_axis_is_logarithmic_where_scores_would_crowd(found, score, scale):
    frame = pd.DataFrame({"synflow": score, "params": 1e6, "test_accuracy": 50.0})
    drawn = pd.DataFrame({"metric": ["synflow"], "n_scored": [len(score)], "rho": [0.5]})
    figure = plots.metric_grid(frame, drawn, "cifar10")
    axes = figure.axes[0]
    figure.canvas.draw()
    assert axes.get_yscale() == scale
    assert len(axes.get_yticks()) <= 12
    plots.plt.close(figure)


def test_the_heat_map_has_a_number_in_every_cell(found):
    figure = plots.correlation_heatmap(competitors.correlations(found, 0))
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(shown) == len(found.evaluated) ** 2 and all(shown)
    plots.plt.close(figure)


# Tables 1, 3, 4 and 9 ------------------------------------------------------------------------


@pytest.fixture
def metrics_table(found):
    def table(architectures, n_least=0, n_jobs=1):
        return competitors.metrics_table(
            "table01", {"cifar10": found}, 5, 0, architectures, n_least, n_jobs=n_jobs
        )

    return table


def test_every_metric_on_what_it_was_computed_for(found, metrics_table):
    table = metrics_table("own").query("source == 'computed'").set_index("metric")
    assert table["n"].to_dict() == {name: len(i) for name, i in found.evaluated.items()}
    for name, index in found.evaluated.items():
        both = found.frame.loc[index, [name, "test_accuracy"]].dropna()
        assert table.loc[name, "n_scored"] == len(both)
        assert table.loc[name, "rho"] == pytest.approx(stats.spearmanr(both).statistic)
    assert pd.isna(table.loc["fisher", "top64_top5"])  # a count of 64 of half as many
    assert table.loc["synflow", "top64_top5"] >= 0


@pytest.mark.parametrize("architectures", ["common", "last"])
def test_every_metric_on_the_same_architectures(found, metrics_table, architectures):
    half = found.frame.loc[found.evaluated["fisher"]]
    expected = half.dropna() if architectures == "common" else half.fillna(-1e9)
    table = metrics_table(architectures).query("source == 'computed'").set_index("metric")
    assert (table["n"] == len(expected)).all()
    for name in found.evaluated:
        rho = stats.spearmanr(expected[name], expected["test_accuracy"]).statistic
        assert table.loc[name, "rho"] == pytest.approx(rho)
        has_score = expected[name] > -1e9
        assert table.loc[name, "n_scored"] == has_score.sum()
        assert table.loc[name, "coverage"] == has_score.mean()
    assert "fisher" not in set(
        metrics_table(architectures, n_least=N).query("source == 'computed'")["metric"]
    )


def test_both_comparisons_side_by_side(found, metrics_table):
    table = competitors.same_architectures({"cifar10": found}, 0).set_index("metric")
    for which in ("common", "last"):
        rows = metrics_table(which).query("source == 'computed'").set_index("metric")
        pd.testing.assert_series_equal(
            table[f"rho_{which}"], rows["rho"], check_names=False, check_exact=False
        )
    text = competitors.same_counts(table.reset_index())
    assert text == "100 that all metrics score, of 150 that all were computed for"
    assert tables.same_architectures(table.reset_index(), "cifar10").count("\n") == 2 + 5


def test_processes_do_not_change_a_table(metrics_table):
    pd.testing.assert_frame_equal(metrics_table("own", n_jobs=2), metrics_table("own"))


def test_an_unknown_choice_is_refused(metrics_table):
    with pytest.raises(ValueError, match="architectures is 'all'; choose one of own, common, last"):
        metrics_table("all")


@pytest.fixture
def against(found, monkeypatch):
    """Steiger's tests where training gave results for two architectures more than are computed."""
    trained = found.frame.reindex(range(N * 2 + 2))
    trained.loc[[1, 3], "test_accuracy"] = 50.0
    monkeypatch.setattr(competitors.benchmarks, "trained", lambda *_: trained)
    return competitors.against_epsilon({"cifar10": found})


def test_epsilon_against_each(found, against):
    table = against
    assert list(table["other"]) == ["synflow", "fisher", "params", "flops"]
    row = table.set_index("other").loc["fisher"]
    both = found.frame.loc[found.evaluated["fisher"]].dropna()
    assert row["n"] == len(both)
    rho = stats.spearmanr(both["fisher"], both["test_accuracy"]).statistic
    assert row["rho_b"] == pytest.approx(rho)
    assert table["n_computed"].tolist() == [N, N // 2, N, N]
    assert (table["n_space"] == N + 2).all()
    text = tables.steiger(table, "cifar10").splitlines()
    assert [cell.strip() for cell in text[0].split("|")[1:4]] == [
        "epsilon against",
        "Computed",
        "Scored by both",
    ]
    assert [cell.strip() for cell in text[3].split("|")[1:4]] == ["fisher", "150", "100"]


def test_steigers_tests_are_counted(against):
    table = pd.concat([against, against, against.assign(pvalue=np.nan)])
    table["pvalue"] = [
        0.05 / 8 - 1e-9,
        0.04,
        1e-90,
        0.9,
        0.05 / 8 + 1e-9,
        *[0.5] * 3,
        *[np.nan] * 4,
    ]
    assert competitors.tests_made(table) == (
        "8 tests, so that a p-value has to be below 0.05/8 = 0.0063 to count at the 5% level "
        "(Bonferroni): 2 are"
    )
    assert competitors.tests_on_whole_spaces(table) == "0 of 8"
    table.loc[table["other"] == "params", "n_space"] = N
    assert competitors.tests_on_whole_spaces(table) == "2 of 8"
    assert competitors.tests_made(against.assign(pvalue=np.nan)) == "no tests"


def test_chance_in_cv_is_that_of_guesses():
    """With 256 images: sqrt(9 / 256) = 3/16; simulated for the stand-in's classes."""
    text = competitors.chance_in_cv(["cifar10", "cifar100", "ImageNet16-120"])
    assert text == (
        "0.19 for the 10 classes of CIFAR-10, 0.62 for the 100 classes of CIFAR-100, "
        "0.88 for the 200 classes of ImageNet16-120's stand-in"
    )
    assert competitors.CV_IMAGES == 256
    right = np.random.default_rng(0).binomial(256, 1 / 200, size=200_000)
    assert right.std() / right.mean() == pytest.approx(0.88, abs=0.01)


def test_what_of_the_stand_in_enters():
    text = competitors.stand_in()
    assert "had 200 outputs" in text and "not ImageNet16-120's 120" in text
    names = text.partition(" and ")[2].removesuffix(" had its labels").split(", ")
    assert set(names) == {
        "grad_norm", "snip", "grasp", "fisher", "fisher_weighted", "grad_sign", "cv"
    }  # fmt: skip


def test_metrics_above_the_reported_ones_everywhere():
    rows = [
        ("cifar10", "fisher", 0.46, 0.40),
        ("cifar100", "fisher", 0.60, 0.40),
        ("cifar10", "snip", 0.60, 0.40),
        ("cifar100", "snip", 0.42, 0.40),
        ("cifar10", "epsilon", 0.9, 0.1),
        ("cifar100", "epsilon", 0.9, 0.1),
        ("cifar10", "cv", 0.9, np.nan),
    ]
    table = pd.DataFrame(
        [
            {"dataset": dataset, "metric": metric, "source": source, "rho": rho}
            for dataset, metric, *values in rows
            for source, rho in zip(("computed", "reported"), values, strict=True)
        ]
    )
    assert competitors.higher_than_reported(table) == "fisher"
    assert competitors.higher_than_reported(table[table["metric"] == "snip"]) == "none"


def test_few_architectures_are_not_judged(metrics_table, monkeypatch):
    board = verdicts.metrics("Table 1", metrics_table("own"))  # of 300 and 150
    assert list(board["verdict"][2:]) == ["too few", "too few"]
    text = " ".join(tables.scoreboard(board).split())
    assert "of 2 |" in text and "synflow" not in text  # epsilon's two rows are judged
    assert "too few to judge" in tables.scoreboard(board[2:])


def test_reported_and_ours_meet_in_the_scoreboard(metrics_table, monkeypatch):
    monkeypatch.setattr(verdicts, "COMPETITORS_LEAST", 100)
    board = verdicts.metrics("Table 1", metrics_table("own"))
    assert list(board["row"]) == ["cifar10"] * 2 + ["synflow, cifar10", "fisher, cifar10"]
    assert list(board["paper"]) == [0.87, 0.70, 0.74, 0.36]
    close = (board["reproduced"] - board["paper"]).abs() <= [0.025, 0.025, 0.055, 0.055]
    assert list(board["verdict"] == "reproduced") == list(close)


def test_reversed_signs_of_others_are_reversed_back(metrics_table):
    table = metrics_table("own")
    board = verdicts.metrics("Table 4", table, of_loss=True)
    assert list(board["paper"]) == [0.87, 0.70, -0.74, -0.36]
    assert "| -0.74 |" in " ".join(tables.competitors(table, "cifar10", of_loss=True).split())
    text = tables.metrics(table, "cifar10", of_loss=True)
    assert "(-0.74)" in text and "(0.87)" in text


def test_a_metric_has_one_row_ours_and_the_papers(metrics_table):
    table = metrics_table("own")
    lines = {
        line.split("|")[1].strip(): line
        for line in tables.metrics(table, "cifar10").splitlines()[2:]
    }
    computed = table.query("source == 'computed'").set_index("metric")
    for name in computed.index:
        assert f"{computed.loc[name, 'rho']:.3f}" in lines[names.METRICS.get(name, name)]
    assert "(0.74)" in lines["synflow"] and "(0.87)" in lines["**epsilon**"]
    assert lines["grasp"].split("|")[2].strip() == "" and "(0.51)" in lines["grasp"]


def test_fisher_with_and_without_biases(found, monkeypatch):
    few = found.evaluated["fisher"][:40]
    accuracy = found.frame.loc[few, "test_accuracy"]
    stored = pd.DataFrame({"fisher": -accuracy, "fisher_weighted": accuracy, "seconds": 1.0})
    monkeypatch.setattr(competitors.scoring, "score_group", lambda *_, **__: stored)
    table = competitors.fisher_networks({"cifar10": found}, 5, 0, 0, 1)
    assert table["metric"].tolist() == ["fisher"] * 2 + ["fisher_weighted"]  # found has no other
    assert table["biased"].tolist() == [False, True, True]
    assert table["rho"].iloc[1:].tolist() == pytest.approx([-1, 1])
    alone = stats.spearmanr(found.frame.loc[few, "fisher"], accuracy).statistic
    assert table["rho"].iloc[0] == pytest.approx(alone)
    assert (table["n"] == 40).all() and (table["rho_paper"] == 0.36).all()
    assert competitors.between_fishers(table) == "1 of 1"  # -1 and 1
    assert competitors.between_fishers(table[:2]) == "0 of 1"
    lines = tables.fisher_networks(table).splitlines()[2:]
    assert [line.split("|")[3].strip() for line in lines] == ["without", "with", "with"]
    assert all("(0.36)" in line for line in lines)
    monkeypatch.setattr(competitors.scoring, "score_group", lambda *_, **__: None)
    with pytest.raises(ValueError, match="give n_competitors"):
        competitors.fisher_networks({"cifar10": found}, 5, 0, 0, 1)


def test_coverage_lists_those_that_leave_some_out(metrics_table):
    table = metrics_table("own")
    full = table["n_scored"] == table["n"]
    expected = table[(table["source"] == "computed") & (~full | (table["metric"] == "epsilon"))]
    text = tables.coverage(table)
    assert text.count("\n") == 2 + len(expected) and "synflow" not in text


def test_columns_of_cost_and_difference(metrics_table):
    text = tables.competitors(metrics_table("own"), "cifar10")
    assert text.count("\n") == 2 + 5 and "| 0.74 |" in " ".join(text.split())


def test_table_9_has_the_constants_last(found, monkeypatch):
    names = [n for n in proxies.names() if n.startswith("epsilon_")]
    drawn = pd.DataFrame(
        {name: found.frame["synflow"] + i for i, name in enumerate(names)} | {"seconds": 5.0}
    ).iloc[:40]
    drawn.loc[drawn.index[0], names[0]] = np.nan
    monkeypatch.setattr(competitors.scoring, "score_group", lambda *_, **__: drawn)
    monkeypatch.setattr(competitors.experiments, "scored", lambda *_, **__: found.frame)
    table = competitors.initialisations([1e-7, 1.0], 8, 0, N, 40, 1)
    assert list(table["initialisation"])[-1] == "constant" and (table["n"] == 40).all()
    assert table["archs"].tolist() == [39, 40, 40, 40, 40, 0]
    assert table["rho_paper"].tolist()[:2] == [0.14, 0.44] and table["seconds"].iloc[0] == 1
    board = verdicts.initialisations(table)
    assert len(board) == 10 and set(board["row"]) == set(table["initialisation"][:-1])
    assert tables.initialisations(table).count("\n") == 8


def test_the_linear_layer_of_table_9(found, monkeypatch):
    names = [n for n in proxies.names() if n.startswith("epsilon_")]
    stores = {
        group: pd.DataFrame({name: scores for name in names} | {"seconds": 5.0}).iloc[:size]
        for group, scores, size in (
            ("draws", found.frame["synflow"], 40),
            ("draws_averaged", -found.frame["synflow"], 30),
        )
    }
    monkeypatch.setattr(
        competitors.scoring, "score_group", lambda _, __, g, *___, **____: stores[g]
    )
    monkeypatch.setattr(competitors.benchmarks, "trained", lambda *_: found.frame)
    table = competitors.linear_layer(0, 1)
    frame = found.frame.iloc[:30]
    rho = stats.spearmanr(frame["synflow"], frame["test_accuracy"]).statistic
    assert table["rho"].to_list() == pytest.approx([rho] * 5) and (table["n"] == 30).all()
    assert (table["rho_averaged"] == -table["rho"]).all()
    assert table["tau_paper"].to_list() == [0.09, 0.30, 0.21, 0.33, 0.28]
    between = sum(abs(paper) <= abs(rho) for paper in table["rho_paper"])
    assert competitors.between_outputs(table) == f"{between} of 5"
    assert verdicts.differences(table, "rho_averaged", "rho") == " to ".join(
        2 * [f"{-2 * rho:+.2f}"]
    )
    assert tables.linear_layer(table).count("\n") == 2 + 5


def test_table_9_without_scores_says_how_to_get_them(monkeypatch):
    monkeypatch.setattr(competitors.scoring, "score_group", lambda *_, **__: None)
    with pytest.raises(ValueError, match="give n_draws"):
        competitors.initialisations([1e-7, 1.0], 8, 0, N, 0, 1)
    with pytest.raises(ValueError, match="give n_draws"):
        competitors.linear_layer(0, 1)
