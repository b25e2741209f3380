"""Where scores are not stored for the inputs at hand, a page shows what is recorded and says so."""

import json

import nbformat
import numpy as np
import official_layout
import pandas as pd
import pytest

from epsutil import (
    experiments,
    inputs,
    paths,
    proxies,
    scoring,
    sources,
    store,
)
from epsutil.book import execution, parameters, results

CIFAR = "images/cifar10-train-10240.npz"
NEEDS101 = experiments.needs(["cifar10"], "nasbench101")


# Where scores come from ------------------------------------------------------------------------


def test_no_more_than_the_largest_number_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "_fitting", lambda *_: pytest.fail("computed"))
    batch = inputs.batch("grey", 4)
    with pytest.raises(store.NotStored, match="scores of 15,625 .* at most 100") as error:
        scoring.score("nasbench201", batch, (1e-3, 1), folder=tmp_path, largest=100)
    command = "score nasbench201 --dataset grey --batch-size 4 --seed 21 --dtype float32"
    assert f"epsutil {command} --weights 0.001 1" in str(error.value)


def test_what_is_stored_has_no_limit(tmp_path):
    batch = inputs.batch("grey", 4)
    few = scoring.score("nasbench201", batch, archs=[3, 5], folder=tmp_path, n_jobs=1, largest=2)
    again = scoring.score("nasbench201", batch, archs=[3, 5], folder=tmp_path, largest=1)
    pd.testing.assert_frame_equal(few, again)
    assert len(scoring.score("nasbench201", inputs.batch("grey"), largest=1)) == 15_625  # recorded


@pytest.mark.needs(*NEEDS101)
@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_a_page_computes_a_whole_large_space_only_at_the_papers_scale(scale, monkeypatch):
    monkeypatch.setenv("EPSUTIL_SCALE", scale)
    given = []
    original = scoring.score

    def score(*arguments, largest, **more):
        given.append(largest)
        return original(*arguments, largest=1000, **more)

    monkeypatch.setattr(scoring, "score", score)
    with pytest.raises(store.NotStored, match="423,624 architectures of nasbench101"):
        experiments.Problem("nasbench101", "cifar10", 423_624, (1e-4, 10), 256, 5, 1).epsilon()
    assert given == [None if scale == "paper" else 20_000]


@pytest.mark.needs(*experiments.needs(["cifar10"]))
def test_metrics_stored_for_other_inputs_are_not_left_out_silently(monkeypatch):
    few = {"n_archs": 20, "weights": (1e-7, 1), "batch_size": 8, "seed": 0, "n_jobs": 1}
    few["groups"] = ["synflow", "draws"]
    assert experiments.Problem("nasbench201", "cifar10", **few).metrics.evaluated["synflow"].size
    monkeypatch.setattr(scoring, "score_group", lambda *_, **__: None)
    monkeypatch.setattr(scoring, "score", lambda *_, **__: pytest.fail("epsilon before"))
    problem = experiments.Problem("nasbench201", "cifar10", **few)
    with pytest.raises(store.NotStored, match="nasbench201 by synflow .*give n_competitors"):
        _ = problem.metrics
    with pytest.raises(store.NotStored, match="by epsilon_.*give n_draws"):
        problem.group("draws", parameter="n_draws")


@pytest.mark.needs(*NEEDS101)
def test_metrics_that_the_book_never_computed_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("EPSUTIL_SCORES", str(tmp_path))
    problem = experiments.Problem(
        "nasbench101", "cifar10", 5, (1e-4, 10), 8, 0, 1, groups=["cv", "synflow"]
    )
    found = problem.metrics.evaluated
    assert "cv" not in found and "synflow" in found


def test_a_page_shows_what_the_user_has_computed(tmp_path, monkeypatch):
    """In this version only; no page of the book has synflow for grey images."""
    monkeypatch.setenv("EPSUTIL_SCORES", str(tmp_path))

    class First(experiments.Independent):
        archs = np.sort(scoring.order("nasbench201")[:5])

    def metrics():
        return First("nasbench201", "grey", 5, (1e-7, 1), 8, 0, 1, groups=["synflow"]).metrics

    assert "synflow" not in metrics().evaluated
    stored = scoring.score_group("nasbench201", "grey", "synflow", 3, n_jobs=1)
    found = metrics()
    assert set(found.evaluated["synflow"]) == set(stored.index) and len(stored) == 3
    pd.testing.assert_series_equal(found.frame["synflow"].dropna(), stored["synflow"])
    monkeypatch.setattr(proxies, "VERSION", 99)
    assert "synflow" not in metrics().evaluated


# What a page makes of it -----------------------------------------------------------------------


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page of Table 9 with its recorded parameters."""
    name = "table09_initialisations"
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("EPSUTIL_FALLBACK", raising=False)
    monkeypatch.setattr(results, "display", lambda *_, **__: None)
    return results.Page(name, parameters.defaults(name))


def not_stored():
    raise store.NotStored("no scores by draws are stored")


def test_a_page_says_which_items_are_recorded_and_why(page, monkeypatch):
    recorded = pd.read_csv(paths.RECORDED_RESULTS / page.name / "table09.csv")
    pd.testing.assert_frame_equal(page.table("table09", not_stored), recorded)
    page.number("gain", lambda: 5)
    page.number("between", not_stored)
    page.interactive("plot", not_stored)
    said = []
    monkeypatch.setattr(page, "_display", lambda text: said.append(text))
    monkeypatch.setattr(page._opening, "update", lambda bundle, **_: said.append(bundle))
    page.finish("all of them")
    about, opening = said
    assert opening["text/markdown"] == (
        f"Some of these are **recorded results** of {page.recorded['created'][:10]}: no scores by "
        "draws are stored."
    )
    assert "- **Recorded:** `between.json`, `table09.csv`\n" in about
    record = json.loads((page.folder / "page.json").read_text())
    assert record["recorded"] == ["between.json", "table09.csv"]
    assert record["unstored"] == ["no scores by draws are stored"]
    assert page.numbers["between"] == page.recorded["numbers"]["between"]
    assert not [file for file in page.folder.iterdir() if file.name.startswith(".")]


def test_other_parameters_are_an_error_except_in_a_whole_book(page, monkeypatch):
    page.parameters["seed"] = 5
    with pytest.raises(store.NotStored, match="draws are stored"):
        page.table("table09", not_stored)
    monkeypatch.setenv("EPSUTIL_FALLBACK", "1")
    assert len(page.table("table09", not_stored))


def test_a_page_without_its_data_tells_the_recorded_parameters(page, monkeypatch):
    """But those that a user gave are the user's."""
    monkeypatch.setenv("EPSUTIL_FALLBACK", "1")
    monkeypatch.setattr(results, "_absent", lambda names: [CIFAR])
    default = parameters.defaults("table08_weights")
    for cells in ([], ["# Parameters\nn_evaluated = 500"]):
        namespace = default | {"n_evaluated": 500, "In": cells}
        shown = results.Page("table08_weights", namespace)
        expected = 500 if cells else shown.recorded["parameters"]["n_evaluated"]
        assert namespace["n_evaluated"] == shown.parameters["n_evaluated"] == expected


def test_an_item_that_was_never_recorded_is_an_error(page):
    with pytest.raises(sources.SourceError, match="no result is recorded for new.csv, and no sc"):
        page.table("new", not_stored)


@pytest.fixture
def other_images(tmp_path, monkeypatch):
    """Let the images at hand differ by a grey level, for this process's notebooks, too."""
    given = sources.path(CIFAR).parents[1]
    data, site = tmp_path / "data", tmp_path / "site"
    (data / "images").mkdir(parents=True)
    for folder in given.iterdir():
        if folder.is_dir() and folder.name != "images":
            (data / folder.name).symlink_to(folder)
    with np.load(sources.path(CIFAR)) as arrays:
        images, labels = arrays["images"] ^ 1, arrays["labels"]
    np.savez(data / CIFAR, images=images, labels=labels)
    official_layout.write_site(site, [official_layout.named(CIFAR, data / CIFAR)])
    for variable, value in {
        "PYTHONPATH": f"{site}:{paths.ROOT}",
        "EPSUTIL_DATA": data,
        "EPSUTIL_CACHE": tmp_path / "cache",
        "EPSUTIL_SCORES": tmp_path / "scores",
        "EPSUTIL_RESULTS": tmp_path / "results",
        "EPSUTIL_FALLBACK": "1",
    }.items():
        monkeypatch.setenv(variable, str(value))


SMALL = {"n_batch_archs": 20, "n_rounding": 20, "n_recheck": 2, "n_jobs": 1}


@pytest.mark.slow
@pytest.mark.needs(CIFAR, *NEEDS101)
@pytest.mark.parametrize(
    ("name", "given", "recorded", "computed"),
    [
        ("table09_initialisations", {}, {"table09.csv", "linear_layer.csv"}, {"scoreboard.csv"}),
        (
            "table03_nasbench101",
            SMALL,
            {"table03.csv", "steiger.csv", "same.csv", "recheck.csv"},
            {"batches.csv", "rounding.csv", "precision.csv"},
        ),
    ],
)
def test_a_notebook_shows_recorded_results_for_other_images(
    other_images, tmp_path, name, given, recorded, computed
):
    executed = execution.run(name, given, tmp_path / "out.ipynb")
    folder = paths.results() / name
    record = json.loads((folder / "page.json").read_text())
    assert {file for file in record["recorded"] if file.endswith(".csv")} == recorded
    assert computed <= {file.name for file in folder.iterdir()}
    for file in recorded:
        assert (folder / file).read_bytes() == (paths.RECORDED_RESULTS / name / file).read_bytes()
    assert record["unstored"]
    text = json.dumps(nbformat.read(executed, as_version=4))
    assert all(f"`{file}`" in text for file in recorded)


@pytest.mark.needs(CIFAR, *NEEDS101)
def test_a_notebook_with_other_parameters_stops_in_one_line(other_images, tmp_path, monkeypatch):
    monkeypatch.setenv("EPSUTIL_FALLBACK", "")
    with pytest.raises(execution.NotebookError) as error:
        execution.run("table09_initialisations", {"seed": 5}, tmp_path / "out.ipynb")
    assert error.value.ename == "NotStored" and "give n_draws" in error.value.evalue
