"""Where scores are not stored for the inputs at hand, a page shows what is recorded and says so."""

import numpy as np
import official_layout
import pandas as pd
import pytest

from epsutil import (
    benchmarks,
    experiments,
    inputs,
    paths,
    proxies,
    scoring,
    sources,
    spaces,
    store,
)
from epsutil.book import execution

CIFAR = "images/cifar10-train-10240.npz"
NEEDS101 = (CIFAR, *benchmarks.NASBENCH101)


def problem(name, archs, weights=(1e-7, 1), seed=0, **more):
    batch = inputs.batch("cifar10", 8, seed)
    return experiments.Problem(spaces.get(name), batch, archs, weights, n_jobs=1, **more)


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
def test_a_page_computes_no_whole_large_space():
    whole = problem("nasbench101", np.arange(423_624), (1e-4, 10), seed=5)
    with pytest.raises(store.NotStored, match="423,624 architectures of .*at most 20,000"):
        whole.epsilon()


@pytest.mark.needs(CIFAR, *benchmarks.needs("cifar10"))
def test_metrics_stored_for_other_inputs_are_not_left_out_silently(monkeypatch):
    archs = spaces.get("nasbench201").sample(20)
    few = problem("nasbench201", archs, groups=["synflow", "draws"])
    assert few.metrics.evaluated["synflow"].size
    monkeypatch.setattr(scoring, "score_group", lambda *_, **__: None)
    monkeypatch.setattr(scoring, "score", lambda *_, **__: pytest.fail("epsilon before"))
    few = problem("nasbench201", archs, groups=["synflow", "draws"])
    with pytest.raises(store.NotStored, match="nasbench201 by synflow .*give n_competitors"):
        _ = few.metrics
    with pytest.raises(store.NotStored, match="by epsilon_.*give n_draws"):
        few.group("draws", parameter="n_draws")


@pytest.mark.needs(*NEEDS101)
def test_metrics_that_the_book_never_computed_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("EPSUTIL_SCORES", str(tmp_path))
    few = problem("nasbench101", np.arange(5), (1e-4, 10), groups=["cv", "synflow"])
    found = few.metrics.evaluated
    assert "cv" not in found and "synflow" in found


def test_a_page_shows_what_the_user_has_computed(tmp_path, monkeypatch):
    """In this version only; no page of the book has synflow for grey images."""
    monkeypatch.setenv("EPSUTIL_SCORES", str(tmp_path))

    space, given = spaces.get("nasbench201"), {"results": benchmarks.analog_nasbench()}
    first = np.sort(scoring.order(space)[:5])

    def metrics():
        batch = inputs.batch("grey", 8, 0)
        return experiments.Problem(
            space, batch, first, (1e-7, 1), n_jobs=1, groups=["synflow"], **given
        ).metrics

    assert "synflow" not in metrics().evaluated
    stored = scoring.score_group("nasbench201", "grey", "synflow", 3, n_jobs=1)
    found = metrics()
    assert set(found.evaluated["synflow"]) == set(stored.index) and len(stored) == 3
    pd.testing.assert_series_equal(found.frame["synflow"].dropna(), stored["synflow"])
    monkeypatch.setattr(proxies, "VERSION", 99)
    assert "synflow" not in metrics().evaluated


# What a page makes of it -----------------------------------------------------------------------


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
    }.items():
        monkeypatch.setenv(variable, str(value))


@pytest.mark.slow
@pytest.mark.needs(*NEEDS101, *benchmarks.needs("cifar10"))
@pytest.mark.parametrize("name", ["table09_initialisations", "table03_nasbench101"])
def test_a_page_is_shown_as_recorded_for_other_images(other_images, monkeypatch, name):
    monkeypatch.setattr(sources, "available", lambda *_: True)  # the kernel knows these images
    made = execution._make(name, None)
    assert made.results == paths.RECORDED_RESULTS / name
    assert "**recorded execution**" in made.status and "no scores of " in made.status


@pytest.mark.needs(CIFAR, *benchmarks.needs("cifar10"))
def test_a_notebook_whose_scores_are_not_stored_stops_in_one_line(other_images, tmp_path):
    with pytest.raises(execution.NotebookError) as error:
        execution.run("table09_initialisations", {"seed": 5}, tmp_path / "out.ipynb")
    assert error.value.ename == "NotStored" and "give n_draws" in error.value.evalue
