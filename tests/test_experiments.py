"""What is computed about metrics, on made-up scores, against plain formulas."""

import re
from dataclasses import replace

import notebook
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from epsutil import (
    benchmarks,
    experiments,
    inputs,
    names,
    paths,
    proxies,
    scoring,
    search,
    spaces,
    statistics,
)
from epsutil.book import plots, tables, verdicts
from epsutil.experiments import Metrics, Problem
from epsutil.statistics import SCORES

N = 300
COMPUTED, FEW = "source == 'computed'", "n_scored < n or metric == 'epsilon'"
METRICS_COLUMNS = ["metric", "n_scored", "scores beside"]
SIGNAL = {"epsilon": 0.9, "synflow": 0.5, "fisher": -0.1}


def solved(frame, evaluated, dataset="cifar10", n_jobs=1):
    """A problem whose metrics are given."""
    batch = replace(inputs.batch("grey", 4, seed=0), kind=dataset)
    problem = Problem(spaces.get("nasbench201"), batch, frame.index, (1e-7, 1.0), n_jobs)
    metrics = Metrics(frame, evaluated, dict.fromkeys(evaluated, np.nan))
    problem.__dict__.update({"frame": frame, "trained": frame, "metrics": metrics})
    return problem


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
    return solved(frame, evaluated)


# How the metrics relate ----------------------------------------------------------------------


@pytest.mark.parametrize(("n_least", "there"), [(N, False), (N // 2, True), (N + 1, False)])
def test_metrics_of_few_architectures_are_left_out(found, n_least, there):
    names = found.metrics.names(n_least)
    assert ("fisher" in names) == there
    assert {"epsilon", "synflow", *experiments.SIZES} <= set(names)


def test_sentences_name_the_right_metrics_and_tell_datasets_apart():
    table = pd.DataFrame(
        {
            "dataset": ["cifar10"] * 4 + ["cifar100"] * 3,
            "metric": ["epsilon", "fisher", "flops", "naswot", "epsilon", "fisher", "flops"],
            "rho": [0.8, 0.3, 0.1, np.nan, 0.2, 0.3, 0.1],
            "b": list("xyzwxyz"),
            "other": [1.0, 0.5, 0.0, np.nan, 1.0, 0.5, 0.0],
        }
    )
    assert verdicts.highest(table, "rho") == "epsilon on CIFAR-10 and fisher on CIFAR-100"
    assert verdicts.highest(table, "other") == "epsilon"
    assert verdicts.highest(table, "rho", "b") == "x on CIFAR-10 and y on CIFAR-100"
    assert verdicts.highest(table[3:4], "rho") == "none"
    assert verdicts.always(table, table["rho"] <= 0.3) == "fisher"  # in one of two is not enough
    assert verdicts.always(table, table["rho"] <= 0.8) == "epsilon; fisher"
    assert verdicts.always(table, table["rho"] > 1) == "none"


@pytest.fixture(scope="module")
def relation():
    folder = paths.RECORDED_RESULTS / "metrics_relation"
    return [pd.read_csv(folder / f"{name}.csv") for name in ("pairs", "size")]


def test_correlations_are_of_what_both_metrics_score(relation):
    pairs, size = relation
    table = pairs.set_index(["dataset", "a", "b"])
    assert table.index.is_unique and table["rho"].between(-1, 1 + 1e-12).all()
    turned = table.rename_axis(["dataset", "b", "a"]).reorder_levels(["dataset", "a", "b"])
    assert table["n"].equals(turned["n"].reindex(table.index))
    assert np.allclose(table["rho"], turned["rho"].reindex(table.index), rtol=0, atol=1e-12)
    for row in size.itertuples():  # computed in another way
        assert table.loc[(row.dataset, row.metric, "params"), "n"] == row.n
        rho = table.loc[(row.dataset, row.metric, "params"), "rho"]
        assert rho == pytest.approx(row.rho_size, abs=1e-12)
        assert table.loc[(row.dataset, row.metric, "epsilon"), "n"] == row.n_epsilon


def test_what_is_left_beyond_size_is_the_formula_of_the_page(relation):
    _, size = relation
    assert "params" not in set(size["metric"])
    given, of_accuracy = size["rho_size"], size["rho_params"]
    left = np.sqrt((1 - given**2) * (1 - of_accuracy**2))
    expected = (size["rho"] - given * of_accuracy) / left.where(left > 1e-4)
    assert np.allclose(size["partial"], expected, equal_nan=True)
    assert size.loc[size["metric"] == "flops", "partial"].isna().all()  # ranks as params do
    epsilon = size[size["metric"] == "epsilon"]
    assert (epsilon["partial_epsilon"] == epsilon["partial"]).all()
    assert (epsilon["n_epsilon"] == epsilon["n"]).all()


# What the figures show -----------------------------------------------------------------------


def test_drawn_counts_and_finds_the_first_place(found):
    table = experiments.plotted([found]).set_index("metric")
    assert table.loc["epsilon", ["n", "n_scored"]].tolist() == [N, N - 100]
    assert table.loc["fisher", ["n", "n_scored"]].tolist() == [N // 2, N // 2]
    scored = found.frame.dropna(subset="epsilon")
    first = scored.loc[scored["epsilon"].idxmax()]
    assert table.loc["epsilon", "highest"] == first["test_accuracy"]
    largest = found.frame[found.frame["params"] == found.frame["params"].max()]
    assert table.loc["params", "highest"] == pytest.approx(largest["test_accuracy"].mean())
    assert table.loc["epsilon", "best_scored"] == scored["test_accuracy"].max()


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
    page = notebook.functions("figure06_other_metrics")
    figure = page["grid"](frame, drawn)
    axes = figure.axes[0]
    figure.canvas.draw()
    assert axes.get_yscale() == scale
    assert len(axes.get_yticks()) <= 12
    plots.plt.close(figure)


def test_the_heat_map_has_a_number_in_every_cell(found):
    names = list(found.metrics.evaluated)
    rho = found.frame[names].corr("spearman").rename_axis(index="a", columns="b")
    pairs = rho.unstack().rename("rho").reset_index()
    figure = notebook.functions("metrics_relation")["matrix"](pairs)
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(shown) == len(names) ** 2 and all(shown)
    plots.plt.close(figure)


# Tables 1, 3, 4 and 9 ------------------------------------------------------------------------


@pytest.fixture
def metrics_table(found):
    def table(architectures, n_least=0, n_jobs=1):
        problem = solved(found.frame, found.metrics.evaluated, n_jobs=n_jobs)
        return experiments.metrics_table("table01", [problem], 5, architectures, n_least)

    return table


def test_every_metric_on_what_it_was_computed_for(found, metrics_table):
    table = metrics_table("own").query("source == 'computed'").set_index("metric")
    assert table["n"].to_dict() == {name: len(i) for name, i in found.metrics.evaluated.items()}
    for name, index in found.metrics.evaluated.items():
        both = found.frame.loc[index, [name, "test_accuracy"]].dropna()
        assert table.loc[name, "n_scored"] == len(both)
        assert table.loc[name, "rho"] == pytest.approx(stats.spearmanr(both).statistic)
    assert pd.isna(table.loc["fisher", "top64_top5"])  # a count of 64 of half as many
    assert table.loc["synflow", "top64_top5"] >= 0


@pytest.mark.parametrize("architectures", ["common", "last"])
def test_every_metric_on_the_same_architectures(found, metrics_table, architectures):
    half = found.frame.loc[found.metrics.evaluated["fisher"]]
    expected = half.dropna() if architectures == "common" else half.fillna(-1e9)
    table = metrics_table(architectures).query("source == 'computed'").set_index("metric")
    assert (table["n"] == len(expected)).all()
    for name in found.metrics.evaluated:
        rho = stats.spearmanr(expected[name], expected["test_accuracy"]).statistic
        assert table.loc[name, "rho"] == pytest.approx(rho)
        has_score = expected[name] > -1e9
        assert table.loc[name, "n_scored"] == has_score.sum()
        assert table.loc[name, "coverage"] == has_score.mean()
    assert "fisher" not in set(
        metrics_table(architectures, n_least=N).query("source == 'computed'")["metric"]
    )


def test_both_comparisons_side_by_side(found, metrics_table):
    table = experiments.same_architectures([found], 0).set_index("metric")
    for which in ("common", "last"):
        rows = metrics_table(which).query("source == 'computed'").set_index("metric")
        pd.testing.assert_series_equal(
            table[f"rho_{which}"], rows["rho"], check_names=False, check_exact=False
        )
    text = verdicts.same_counts(table.reset_index())
    assert text == "100 that all metrics score, of 150 that all were computed for"
    assert len(table) == 5


def test_processes_do_not_change_a_table(metrics_table):
    pd.testing.assert_frame_equal(metrics_table("own", n_jobs=2), metrics_table("own"))


def test_an_unknown_choice_is_refused(metrics_table):
    with pytest.raises(
        ValueError, match="architectures 'all'; the known ones are own, common, last"
    ):
        metrics_table("all")


@pytest.fixture
def against(found, monkeypatch):
    """Steiger's tests where training gave results for two architectures more than are computed."""
    trained = found.frame.reindex(range(N * 2 + 2))
    trained.loc[[1, 3], "test_accuracy"] = 50.0
    monkeypatch.setattr(experiments.benchmarks, "trained", lambda *_: trained)
    return experiments.against_epsilon([found])


def test_epsilon_against_each(found, against):
    table = against
    assert list(table["other"]) == ["synflow", "fisher", "params", "flops"]
    row = table.set_index("other").loc["fisher"]
    both = found.frame.loc[found.metrics.evaluated["fisher"]].dropna()
    assert row["n"] == len(both)
    rho = stats.spearmanr(both["fisher"], both["test_accuracy"]).statistic
    assert row["rho_b"] == pytest.approx(rho)
    assert table["n_computed"].tolist() == [N, N // 2, N, N]
    assert (table["n_space"] == N + 2).all()
    text = tables.render(table, tables.STEIGER).splitlines()
    heads, cells = ([cell.strip() for cell in text[i].split("|")[1:3]] for i in (0, 3))
    assert heads == ["epsilon against", "Scored by both (networks)"]
    assert cells == ["fisher", f"100 ({row['n_networks']:.0f})"]


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
    assert verdicts.tests_made(table) == (
        "8 tests, so that a p-value has to be below 0.05/8 = 0.0063 to count at the 5% level "
        "(Bonferroni): 2 of them are"
    )
    assert verdicts.tests_on_whole_spaces(table) == "0 of 8"
    table.loc[table["other"] == "params", "n_space"] = N
    assert verdicts.tests_on_whole_spaces(table) == "2 of 8"
    assert verdicts.tests_made(against.assign(pvalue=np.nan)) == "no tests"


def test_what_of_the_stand_in_enters():
    text = verdicts.stand_in()
    assert "had 200 outputs" in text and "not ImageNet16-120's 120" in text
    names = re.split(", | and ", text.partition(" and ")[2].removesuffix(" were given its labels"))
    assert set(names) == {
        "grad_norm", "snip", "grasp", "fisher", "fisher_weighted", "grad_sign", "cv"
    }  # fmt: skip


def test_few_architectures_are_not_judged(metrics_table, monkeypatch):
    board = verdicts.metrics("Table 1", metrics_table("own"))  # of 300 and 150
    assert list(board["verdict"][2:]) == ["too few", "too few"]
    text = " ".join(tables.scoreboard(board).split())
    assert "of 2</span> |" in text and "synflow" not in text  # epsilon's two rows are judged
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
    assert "| -0.74 |" in " ".join(
        tables.render(table, tables.RHO, "source == 'computed'", of_loss=True).split()
    )
    text = tables.render(table, METRICS_COLUMNS, of_loss=True)
    assert "(-0.74)" in text and "(0.87)" in text


def test_a_metric_has_one_row_ours_and_the_papers(metrics_table):
    table = metrics_table("own")
    lines = {
        line.split("|")[1].strip(" *"): line
        for line in tables.render(table, METRICS_COLUMNS).splitlines()[2:]
    }
    computed = table.query("source == 'computed'").set_index("metric")
    for name in computed.index:
        assert f"{computed.loc[name, 'rho']:.3f}" in lines[names.METRICS.get(name, name)]
    assert "(0.74)" in lines["synflow"] and "(0.87)" in lines["epsilon"]
    assert lines["grasp"].split("|")[2].strip() == "" and "(0.51)" in lines["grasp"]


def test_coverage_lists_those_that_leave_some_out(metrics_table):
    table = metrics_table("own")
    full = table["n_scored"] == table["n"]
    expected = table[(table["source"] == "computed") & (~full | (table["metric"] == "epsilon"))]
    text = tables.render(
        table, ["metric", "n"], "source == 'computed' and (n_scored < n or metric == 'epsilon')"
    )
    assert text.count("\n") == 2 + len(expected) and "synflow" not in text


def test_columns_of_cost_and_difference(metrics_table):
    text = tables.render(metrics_table("own"), tables.RHO, COMPUTED)
    assert text.count("\n") == 2 + 5 and "| 0.74 |" in " ".join(text.split())


# Functions of one page -----------------------------------------------------------------------


def test_networks_that_learn_nothing_are_counted(found):
    frame = found.frame.copy()
    frame.loc[frame.index[95:105], "test_accuracy"] = 10.0  # the first 100 have no epsilon
    few = solved(frame, found.metrics.evaluated)
    at_chance = notebook.functions("figure06_other_metrics")["at_chance"]
    assert len(at_chance(few)) == 10 and at_chance(few)["epsilon"].count() == 5
    assert len(at_chance(found)) == 0


def test_chance_in_cv_is_that_of_guesses():
    """With 256 images: sqrt(9 / 256) = 3/16; simulated for the stand-in's classes."""
    found = [proxies.cv_of_guesses(inputs.classes(d), 256) for d in benchmarks.DATASETS]
    assert np.round(found, 2).tolist() == [0.19, 0.62, 0.88]
    right = np.random.default_rng(0).binomial(256, 1 / 200, size=200_000)
    assert right.std() / right.mean() == pytest.approx(0.88, abs=0.01)


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
    assert verdicts.above_reported(table) == "fisher"
    assert verdicts.above_reported(table[table["metric"] == "snip"]) == "none"


def test_fisher_with_and_without_biases(found, monkeypatch):
    few = found.metrics.evaluated["fisher"][:40]
    accuracy = found.frame.loc[few, "test_accuracy"]
    stored = pd.DataFrame({"fisher": -accuracy, "fisher_weighted": accuracy, "seconds": 1.0})
    monkeypatch.setattr(scoring, "score_group", lambda *_, **__: stored)
    table = experiments.fisher_biases(found, n_resamples=5)
    assert table["metric"].tolist() == ["fisher"] * 2 + ["fisher_weighted"]  # found has no other
    assert table["biased"].tolist() == [False, True, True]
    assert table["rho"].iloc[1:].tolist() == pytest.approx([-1, 1])
    alone = stats.spearmanr(found.frame.loc[few, "fisher"], accuracy).statistic
    assert table["rho"].iloc[0] == pytest.approx(alone)
    assert (table["n"] == 40).all() and (table["rho_paper"] == 0.36).all()
    monkeypatch.setattr(scoring, "score_group", lambda *_, **__: None)
    with pytest.raises(ValueError, match="give n_competitors"):
        experiments.fisher_biases(found, n_resamples=5)


@pytest.fixture
def drawn(found, monkeypatch):
    """A problem with scores by draws of 40 architectures, of 30 of them averaged."""
    schemes = [n for n in proxies.names() if n.startswith("epsilon_")]
    stores = {
        group: pd.DataFrame(dict.fromkeys(schemes, scores) | {"seconds": 5.0}).iloc[:size]
        for group, scores, size in (
            ("draws", found.frame["synflow"], 40),
            ("draws_averaged", -found.frame["synflow"], 30),
        )
    }
    stores["draws"] = stores["draws"].copy()
    stores["draws"].iloc[0, 0] = np.nan
    monkeypatch.setattr(scoring, "score_group", lambda _, __, g, *___, **____: stores[g])
    return found


def test_table_9_has_the_constants_last(drawn):
    draws = experiments.draws(drawn, "draws")
    assert (draws.pop("seconds") == 5).all()
    scores = draws.assign(constant=drawn.frame["epsilon"])
    evaluated = statistics.evaluate_each(scores, drawn.result[draws.index])
    table = experiments.settings(evaluated, "table09")
    assert list(table["initialisation"])[-1] == "constant" and (table["n"] == 40).all()
    assert table["archs"].tolist() == [39, 40, 40, 40, 40, 0]
    assert table["rho_paper"].tolist()[:2] == [0.14, 0.44] and len(table) == 6
    board = verdicts.ablation("Table 9", table, "initialisation")
    assert len(board) == 10 and set(board["row"]) == set(table["initialisation"][:-1])


def test_the_linear_layer_of_table_9(drawn):
    linear, mean = (
        experiments.draws(drawn, group).drop(columns="seconds")
        for group in ("draws", "draws_averaged")
    )
    of_both = experiments.like_for_like(linear, mean, drawn.result, "_averaged")
    table = experiments.settings(of_both, "table09")
    frame = drawn.frame.iloc[:30]
    rho = stats.spearmanr(frame["synflow"], frame["test_accuracy"]).statistic
    assert table["rho"].to_list()[1:] == pytest.approx([rho] * 4) and (table["n"] == 30).all()
    assert table["archs"].to_list() == table["archs_averaged"].to_list() == [29, 30, 30, 30, 30]
    assert (table["rho_averaged"] == -table["rho"]).all()
    assert table["tau_paper"].to_list() == [0.09, 0.30, 0.21, 0.33, 0.28]
    between = verdicts.inside(table["rho_paper"], table[["rho", "rho_averaged"]])
    expected = (table["rho_paper"].abs() <= table["rho"].abs()).sum()
    assert between == f"{expected} of 5"
    gain = verdicts.span((table["rho_averaged"] - table["rho"])[1:], "+.2f")
    assert gain == f"{-2 * rho:+.2f}"


def test_table_9_without_scores_says_how_to_get_them(found, monkeypatch):
    monkeypatch.setattr(scoring, "score_group", lambda *_, **__: None)
    for group in ("draws", "draws_averaged"):
        with pytest.raises(ValueError, match="give n_draws"):
            experiments.draws(found, group)


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("table10", ["random 1", "uniform centred 0.1", "another"]),
        ("table11", ["Grey scale", "Random uniform (+)", "CIFAR-100's images"]),
    ],
)
def test_settings_keep_their_names_beside_the_paper(table, names):
    evaluated = pd.DataFrame({"rho": [0.1, 0.2, 0.3]}, names)
    both = experiments.settings(evaluated, table)
    paper = experiments.reported(table)
    spelled = paper.iloc[:, 0].str.replace("centered", "centred").str.lower()
    expected = paper.set_axis(spelled)["rho"].reindex([name.lower() for name in names])
    assert both.iloc[:, 0].to_list() == names and both["rho"].to_list() == [0.1, 0.2, 0.3]
    np.testing.assert_array_equal(both["rho_paper"], expected)
    assert both["rho_paper"].isna().to_list() == [False, False, True]


def test_what_a_search_knows_is_what_was_computed(found):
    """Positions are the space's; what a metric was not computed for is not drawn."""
    scores = found.frame["fisher"]
    known = experiments.search_score(found, "fisher")
    assert len(known.values) == 15_625 and known.drawn.tolist() == found.frame.index[::2].tolist()
    np.testing.assert_array_equal(known.values[known.drawn], scores[known.drawn])
    assert np.isneginf(np.delete(known.values, known.drawn)).all()
    left_out = experiments.search_score(found, "epsilon", "left out")
    assert left_out.drawn.tolist() == found.frame.index[100:].tolist()


def test_courses_are_quartiles_of_both_curves():
    rng = np.random.default_rng(0)
    signal, result = pd.Series(rng.random(40)), pd.Series(rng.random(40))
    history = search.random(40, 9, 100, 3)
    frame = experiments.courses({"a": history, "b": history[:, :1]}, signal, result)
    assert frame["method"].value_counts().to_dict() == {"a": frame["step"].nunique(), "b": 1}
    assert {1, 2, 3, 100} <= set(frame["step"]) and len(frame) <= 61
    row = frame[frame["method"] == "a"].set_index("step").loc[100]
    best = result.to_numpy()[history].max(axis=1)
    chosen = result.to_numpy()[search.chosen(history, signal)]
    for name, values in (("oracle", best), ("honest", chosen)):
        got = row[[f"{name}_low", name, f"{name}_high"]].astype(float)
        np.testing.assert_allclose(got, np.quantile(values, (0.25, 0.5, 0.75)))


@pytest.mark.parametrize("curve", ["oracle", "honest"])
def test_panels_of_searches(curve):
    """A panel per algorithm and dataset, a line per method that looks like no other."""
    rng = np.random.default_rng(0)
    accuracy, frames = pd.Series(rng.random(40)), []
    methods = [f"m{number}" for number in range(9)]
    for algorithm in ("ageing evolution", "random search"):
        for dataset in ("cifar10", "cifar100"):
            histories = {m: search.random(40, 5, 20, seed) for seed, m in enumerate(methods)}
            frame = experiments.courses(histories, accuracy, accuracy)
            frames.append(frame.assign(algorithm=algorithm, dataset=dataset))
    frame = pd.concat(frames)
    figure = plots.courses(frame, curve)
    assert len(figure.axes) == 4
    for axes in figure.axes:
        assert len(axes.lines) == 9
    looks = plots._looks([str(number) for number in range(24)]).values()
    assert len({str(look) for look in looks}) == 24
    drawn = figure.axes[3].lines[4].get_ydata()
    of = frame[(frame["algorithm"] == "random search") & (frame["dataset"] == "cifar100")]
    np.testing.assert_allclose(drawn, of[of["method"] == "m4"][curve])
    both = plots.interactive_courses(frame).data
    assert len(both) == 2 * 4 * 9 and sum(trace.visible for trace in both) == 4 * 9


def test_searches_agree_with_the_paper_within_its_deviation():
    table = pd.DataFrame(
        {
            "dataset": "cifar10",
            "method": ["synflow", "epsilon", "REA", "own"],
            "pool": [1000.0, 100.0, 0.0, 100.0],
            "n": [9.0, 9.0, np.nan, 9.0],
            "n_scored": [9.0, 5.0, np.nan, 9.0],
            "test": [90.0, 93.0, 94.0, 95.0],
            "test_paper": [91.0, 93.5, 93.8, np.nan],
            "test_paper_std": [0.5, 0.5, 0.5, np.nan],
        }
    )
    board = verdicts.searches("Table 2", table)
    assert list(board) == list(tables.SCOREBOARD)
    assert board["row"].tolist() == [
        "epsilon of 100, cifar10",
        "synflow of 1,000, cifar10",
        "REA, cifar10",
    ]
    assert board["verdict"].tolist() == ["reproduced", "differs", "reproduced"]
    text = tables.scoreboard(board)
    assert board["of"].tolist() == ["epsilon", "others", "others"]
    assert "1 of 1" in text and "1 of 2" in text and ">reproduced<" in text
    assert "| of" not in " ".join(text.split()) and "epsilon of 100, CIFAR-10" in text


def test_agreement_counts_what_can_be_judged():
    """The competing metrics' values are not epsilon's, and too few architectures decide nothing."""
    board = pd.DataFrame(
        {
            "of": ["epsilon"] * 4 + ["others"],
            "verdict": ["reproduced", "differs", "reproduced", "too few", "reproduced"],
        }
    )
    assert "within 0.02 of the paper's" in verdicts.agreement(board)
    assert verdicts.agreement(board).endswith("in 2 of 3 cases")
    assert verdicts.agreement(board, "{agree} within {tolerance}", 0.05) == "2 of 3 within 0.05"
    for nothing in (board[3:], board[:0]):
        assert verdicts.agreement(nothing).startswith("None of epsilon's values can be compared")


def test_the_best_pair_of_weights():
    rows = {"w1": [1e-7, 1e-3], "w2": [1.0, 1.0], "rho": [0.5, -0.25], "archs": [7, 9], "n": 10}
    table = pd.DataFrame(rows)
    assert verdicts.best_pair(table).to_list() == [1e-7, 1, 0.5, 7, 10]
    assert verdicts.best_pair(table, of_loss=True).to_list() == [1e-3, 1, -0.25, 9, 10]
    for unknown in (table.assign(rho=np.nan), table[:0]):
        assert verdicts.best_pair(unknown).isna().all()
    off = table.assign(rho_paper=[0.52, -0.2])
    assert verdicts.largest_difference(off)["difference"] == pytest.approx(-0.05)
    assert verdicts.largest_difference(off.assign(rho_paper=np.nan)).isna().all()
    named = pd.DataFrame({"dataset": ["cifar10", "cifar100"], "rho": [0.5, np.nan]})
    assert verdicts.by_dataset(named) == "0.50 on CIFAR-10 and unknown on CIFAR-100"
    assert verdicts.scored(named.assign(n_scored=1234.0, n=5000)) == "1,234 of 5,000"


@pytest.mark.parametrize(
    ("agree", "of", "word"),
    [(4, 4, "reproduced"), (3, 4, "mostly"), (2, 3, "differs"), (0, 2, "differs")],
)
def test_the_verdict_is_about_epsilon(agree, of, word):
    """Three quarters of epsilon's values decide; other metrics are counted and decide nothing."""
    rows = [(index < agree, "epsilon") for index in range(of)] + [(False, "others")] * 3
    board = pd.DataFrame(
        [
            ["Table 1", kind, "cifar10", "rho", 0.5, 0.5 if close else 0.9, 10.0, 20.0]
            + ["reproduced" if close else "differs"]
            for close, kind in rows
        ],
        columns=list(tables.SCOREBOARD),
    )
    text = tables.scoreboard(board).replace(tables.NO_BREAK, " ")
    line = next(line for line in text.splitlines() if "Table 1]" in line)
    assert f'"badge-{word}">{word}<' in line and f"{agree} of {of}" in line and "0 of 3" in line
    assert f"--share: {agree / of:.0%}" in line
    # The furthest of epsilon's values, with its N.
    furthest = " 0.500 (0.50) " if agree == of else " 0.900 (0.50) "
    assert furthest in line and " 10 of 20 " in line


def test_a_mean_and_its_deviation_share_a_cell():
    frame = pd.DataFrame({"test": [93.456, np.nan], "test_std": [0.5, np.nan]})
    lines = tables.render(frame, {"test deviation": "Ours"}).splitlines()
    assert [line.strip("| ") for line in lines[2:]] == ["93.46 ± 0.50", ""]


def test_table_2_agrees_with_the_paper():
    """Epsilon's picks within one reported deviation; of others only doubtful values differ."""
    table = pd.read_csv(paths.RECORDED_RESULTS / "table02_search" / "table02.csv")
    board = verdicts.searches("Table 2", table)
    epsilon = board[board["row"].str.startswith("epsilon")]
    assert len(epsilon) == 6 and (epsilon["verdict"] == "reproduced").all()
    differing = board.loc[board["verdict"] == "differs", "row"]
    assert len(board) == 42
    assert differing.str.fullmatch("(synflow|grasp|snip|fisher) of 1,000, cifar10").all()


def test_the_rows_of_table_2():
    """Each is about the networks that were found."""
    rng = np.random.default_rng(1)
    known = {name: rng.random(15_625) for name in ("validation200", "test")}
    accuracy = {("cifar10", name): values for name, values in known.items()}
    page = notebook.functions("table02_search", accuracy=accuracy, learning_rate=0.01)
    row = page["row"]("cifar10", "own", np.array([3, 4, 3]), pool=2)
    values = known["test"][[3, 4, 3]]
    assert row["test"] == pytest.approx(values.mean()) and row["pool"] == 2
    assert row["test_std"] == pytest.approx(values.std())


def test_what_metrics_pick(found):
    """A network in each round; a metric of too few architectures has none."""
    picked = experiments.picked(found, N // 3, rounds=50, seed=3)
    assert list(picked) == ["synflow", "params", "flops", "epsilon"]
    one = experiments.picked(found, 1, rounds=50, seed=3)
    assert list(one) == list(found.metrics.evaluated) and len(one["fisher"]) == 50
    assert set(one["fisher"]) <= {*found.metrics.evaluated["fisher"]}
    size = found.metrics.frame["params"]
    assert size[picked["params"]].mean() > size[one["params"]].mean() + size.std()


def test_searches_stand_beside_the_reported_ones():
    """In the paper's order, ours alone last; each dataset has a row of each."""
    ours = {"group": "Trainless", "pool": 1000, "validation": 90.0, "test": 93.0}
    rows = [{"dataset": "cifar10", "method": name} | ours for name in ("own", "epsilon")]
    table = experiments.searches(rows).reset_index(drop=True)
    assert list(table["dataset"].unique()) == ["cifar10", "cifar100", "ImageNet16-120"]
    first = table[table["dataset"] == "cifar10"]
    assert first["method"].iloc[-1] == "own" and np.isnan(first["test_paper"].iloc[-1])
    epsilon = first.query("method == 'epsilon' and pool == 1000").iloc[0]
    paper = experiments.reported("table02").query(
        "method == 'epsilon' and n == 1000 and dataset == 'cifar10' and split == 'test'"
    )
    assert epsilon["test"] == 93.0 and epsilon["test_paper"] == paper["mean"].item()
    assert epsilon["test_paper_std"] == paper["std"].item()
    others = first.query("method == 'epsilon' and pool == 100")
    assert others["test"].isna().all() and others["test_paper"].notna().all()


def test_what_a_budget_buys():
    """The lead, and the trainings that are left when epsilon is as good as the other search."""
    means = {"epsilon": np.array([[3.0, 5.0, 4.0]]), "params": np.array([[1.0, 3.0, 6.0]])}
    rows = experiments.lead(means, [1, 2, 3], n_resamples=0, seed=1)[1::2]
    assert rows["method"].unique() == ["params"] and rows["step"].tolist() == [1, 2, 3]
    assert rows["lead"].tolist() == [2, 2, -2]
    assert rows["saved"].tolist() == [0, 1, -np.inf]
    assert rows["test_epsilon"].tolist() == [3, 5, 4] and rows["saved_low"].isna().all()
    text = tables.render(rows, ["lead", "saved"])
    assert "+2.00" in text and "-2.00" in text and "not reached" in text

    found = {"epsilon": np.arange(12.0).reshape(4, 3), "params": np.ones((4, 3))}
    own, row = experiments.lead(found, [2], n_resamples=300, seed=1).to_dict("records")
    assert own["test"] == row["test_epsilon"] == found["epsilon"][:, 1].mean()
    assert 1 - 1 <= row["lead_low"] < row["lead"] == 4.5 < row["lead_high"] <= 10 - 1
    few = experiments.lead(found, [2], n_resamples=199, seed=1)
    assert few.filter(regex="low|high").isna().all(axis=None)


def test_intervals_of_a_lead_are_of_rounds_drawn_together():
    """Searches that differ by the same in each round lead by it for certain, whatever is drawn."""
    curve = np.random.default_rng(0).normal(90, 5, (50, 4)).cumsum(axis=1)
    found = experiments.lead({"epsilon": curve + 1, "other": curve}, [1, 4], 300, seed=0)
    other = found[found["method"] == "other"]
    np.testing.assert_allclose(other[["lead", "lead_low", "lead_high"]], 1)
    assert (other["test_low"] < other["test"]).all() and (other["test"] < other["test_high"]).all()


def test_a_budget_is_clear_where_epsilon_leads_all_others():
    rows = {"step": [1, 10, 1, 10, 30], "lead_low": [0.5, -0.4, 0.1, 0.2, np.nan]}
    page = notebook.functions("search_budget")
    assert page["budgets_ahead"](pd.DataFrame(rows)).to_dict() == {1: True, 10: False, 30: False}


# Batches of several sizes --------------------------------------------------------------------


def test_medians_and_claims_of_batch_sizes():
    """Three sizes, three batches each: by hand, with a gain beyond the second of 0.02."""
    values = {8: (0.1, 0.3, 0.5), 256: (0.68, 0.70, 0.71), 512: (0.71, 0.72, 0.73)}
    columns = [*SCORES, "n"]
    batches = pd.DataFrame(
        {"dataset": "cifar10", "batch_size": size, "n_scored": 50 + i}
        | dict.fromkeys(columns, value)
        for size, of_size in values.items()
        for i, value in enumerate(of_size)
    )
    medians = experiments.by_batch_size(batches)
    assert medians["batch_size"].tolist() == [8, 256, 512]
    first = medians.iloc[0]
    assert (first["batches"], first["n_scored"], first["n_scored_most"]) == (3, 50, 52)
    np.testing.assert_allclose(first[["tau_low", "tau", "tau_high"]].astype(float), [0.2, 0.3, 0.4])

    judged = experiments.batch_size_claims(medians.iloc[::-1])  # in any order
    assert len(judged) == 4 and judged[["better", "stable"]].all(axis=None)
    assert not judged["enough"].any() and set(judged["rises"]) == {2} == set(judged["steps"])
    np.testing.assert_allclose(judged["gain"], 0.42)
    np.testing.assert_allclose(judged["beyond"], 0.02)
    np.testing.assert_allclose(judged["width_change"], 0.01 - 0.2)
    assert experiments.batch_size_claims(medians, no_gain=0.03)["enough"].all()
    assert experiments.batch_size_claims(medians, size=1024)["enough"].all()  # nothing beyond
    turned = experiments.batch_size_claims(medians.assign(batch_size=[512, 256, 8]))
    assert not turned["better"].any() and not turned["stable"].any() and set(turned["rises"]) == {0}


def test_an_evaluation_draws_networks():
    rng = np.random.default_rng(0)
    score, labels = pd.Series(rng.normal(size=60)), pd.Series(np.repeat(np.arange(20), 3))
    result = score + rng.normal(size=60)
    row = experiments.evaluation(score, result, 200, networks=labels)
    expected = statistics.bootstrap(score, result, 200, networks=labels)
    assert row["rho_low"] == expected.loc["rho", "low"]
    assert row["rho_low"] != statistics.bootstrap(score, result, 200).loc["rho", "low"]
    means = [values.groupby(labels).mean() for values in (score, result)]
    assert row["n_networks"] == 20
    few = score.where(labels > 4)  # five networks have no score
    last = experiments.evaluation(few, result, seed=0, unscored_last=True, networks=labels)
    assert last["n_networks"] == 15 and last["n_scored"] == 45
    assert row["rho_networks"] == pytest.approx(stats.spearmanr(*means).statistic)
