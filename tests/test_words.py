"""What pages say in words and headings: one word, one meaning; numbers that something computes."""

import functools
import json
import re

import notebook
import numpy as np
import pandas as pd
import pytest

from epsutil import (
    benchmarks,
    cross_checks,
    experiments,
    inputs,
    paths,
    proxies,
    scoring,
    spaces,
)
from epsutil.book import page, parameters

NLP_RUNS = "nas-bench-nlp/ptb_single_run.csv.gz"
BOOK = {path.stem: path.read_text("utf-8") for path in (paths.ROOT / "book").glob("*.md")}
PAIR = (1e-5, 1e-3)


def shown():
    """Every recorded table of every page: its name, its columns, its frame, its text."""
    for folder in sorted(paths.RECORDED_RESULTS.iterdir()):
        record = json.loads((folder / "page.json").read_text("utf-8"))
        for key, how in record["shown"].items():
            frame = pd.read_csv(folder / f"{how['table']}.csv")
            frame = frame.query(how["options"].get("where") or "index >= 0")
            yield f"{folder.name}/{key}", how["columns"], frame, page.rendered(folder, how)


@functools.cache
def all_shown():
    return list(shown())


def test_headings_mean_one_thing_everywhere():
    for name, columns, _, text in all_shown():
        headings = [cell.strip() for cell in text.splitlines()[0].split("|")]
        assert "N" not in headings, name
        assert ("Archs" in headings) == any(c.startswith("archs") for c in columns), name


def test_scored_is_what_has_a_score():
    kinds = {"Computed": "n", "Scored": "n_scored"}
    seen = 0
    for name, columns, frame, text in all_shown():
        rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
        for heading, column in kinds.items():
            column = "n_computed" if heading == "Computed" and "n_computed" in columns else column
            if heading not in rows[0] or column not in columns:
                continue
            printed = [int(row[rows[0].index(heading)].replace(",", "") or 0) for row in rows[2:]]
            assert set(printed) <= {0, *frame[column].dropna().astype(int)}, (name, heading)
            seen += len(printed)
    assert seen > 60


def test_the_words_are_explained_once():
    words = re.findall(r"^(\w+)\n: ", BOOK["method"], flags=re.MULTILINE)
    assert words == ["Computed", "Scored", "Archs"]


def test_no_diverged_run_is_said_to_have_finished():
    for name in parameters.names():
        assert "finished training" not in notebook.prose(name), name


@pytest.mark.needs(NLP_RUNS)
def test_diverged_trainings_are_counted():
    """By the file itself: its status, and whether it has a last test loss."""
    runs = benchmarks.trained("nasbench_nlp", "ptb")
    diverged = runs[runs["status"] != "OK"]
    assert (len(diverged), diverged["test_loss_last"].notna().sum()) == (2724, 19)
    recorded = paths.RECORDED_RESULTS / "table04_nasbench_nlp" / "counting.csv"
    n = pd.read_csv(recorded).set_index("counted")["n"]
    assert n["diverged count as worst"] - n["only trainings that finished"] == 2724
    assert n["as the authors"] - n["only trainings that finished"] == 19


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("nasbench_nlp", {"agree": 1, "float64 only": 1, "float32 only": 2, "no score": 3}),
        ("nasbench201", {"agree": 2, "differ": 2, "float32 only": 2, "no score": 1}),
    ],
)
def test_rounding_counts_zeros_as_its_space_does(space, expected, monkeypatch):
    scores = {
        "float32": [0.5, 0.0, 0.3, 0.4, 0.0, 0.0, np.nan],
        "float64": [0.5, 0.2, 0.0, np.nan, 0.0, np.nan, np.nan],
    }
    monkeypatch.setattr(
        scoring,
        "score",
        lambda *given, **_: pd.DataFrame({scoring.pair(PAIR): scores[given[4]]}),
    )
    problem = experiments.Problem(
        spaces.get(space), inputs.batch("random_tokens", 2), np.arange(7), PAIR
    )
    row = cross_checks.rounding(problem).iloc[0]
    assert row.drop(["dataset", "n"]).to_dict() == expected and row["n"] == 7


def test_rounding_marks_are_those_of_single_scores(tmp_path, monkeypatch):
    """Computed one by one, on grey images small enough that some scores are lost."""
    monkeypatch.setenv("EPSUTIL_SCORES", str(tmp_path))
    space, batch = spaces.get("nasbench201"), inputs.batch("grey", 8)
    problem = experiments.Problem(space, batch, space.sample(120), (1e-7, 1.0), n_jobs=1)
    x = batch.x
    expected = dict.fromkeys(("agree", "differ", "float32 only", "float64 only", "no score"), 0)
    for index in problem.archs:
        single, double = (space.score(space[int(index)], x, dtype=d) for d in scoring.PRECISIONS)
        known = (not np.isnan(single), not np.isnan(double))
        near = all(known) and abs(single / double - 1) <= 0.01
        mark = {(True, False): "float32 only", (False, True): "float64 only"}.get(known, "no score")
        expected[("agree" if near else "differ") if all(known) else mark] += 1
    row = cross_checks.rounding(problem).iloc[0].drop(["dataset", "n"])
    assert row.to_dict() == {mark: count for mark, count in expected.items() if count}
    assert {"agree", "float64 only", "no score"} <= set(row.index)


def test_every_way_of_counting_says_how_many_have_a_score(monkeypatch):
    """Four of six networks have a last loss, one of them from a training that diverged."""
    loss = [4.0, 5.0, 6.0, 7.0, np.nan, np.nan]
    status = ["OK", "OK", "OK", "nan", "nan", "nan"]
    epsilon = [0.3, 0.0, np.nan, 0.2, 0.1, np.nan]
    trained = pd.DataFrame({"test_loss_last": loss, "status": status})
    monkeypatch.setattr(benchmarks, "trained", lambda *_: trained)
    monkeypatch.setattr(
        scoring, "score", lambda *_, **__: pd.DataFrame({scoring.pair(PAIR): epsilon})
    )
    space, batch = spaces.get("nasbench_nlp"), inputs.batch("random_tokens", 2)
    problem = experiments.Problem(space, batch, np.arange(6), PAIR)
    found = notebook.functions("table04_nasbench_nlp", problem=problem, space=space, weights=PAIR)
    exec(notebook.cell("table04_nasbench_nlp", "counting"), found)
    table = found["counting"].set_index("counted")
    assert table[["n", "n_scored"]].astype(int).T.to_dict("list") == {
        "as the authors": [4, 2],
        "epsilon = 0 counts as a score": [4, 3],
        "only losses up to 6": [3, 1],
        "only trainings that finished": [3, 1],
        "unscored rank last": [4, 2],
        "diverged count as worst": [6, 3],
        "both": [6, 3],
    }


def batch_size(group):
    return scoring.GROUPS[group].batch_size


def reported(table, **where):
    frame = experiments.reported(table)
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame["archs"]


CONSTANTS = {  # typed where a constant is, so that neither changes alone
    "table01_nasbench201": [
        f"{len(spaces.get('nasbench201')):,} architectures",
    ],
    "table03_nasbench101": [
        f"{len(spaces.get('nasbench101')):,} graphs",
    ],
    "table04_nasbench_nlp": [
        f"seed {proxies.SEED}) on {batch_size('text_gradients')} columns of {inputs.STEPS} words",
        f"along {inputs.STEPS} steps",
    ],
    "table09_initialisations": [
        f"The two draws have the seeds {proxies.SEED} and {proxies.SEED + 1}",
        f"{batch_size('draws')} images (drawn with seed {proxies.SEED})",
        f"the {spaces.nasbench201.STAGES[-1]} channels",
    ],
    "table10_embeddings": [
        f"about {round(reported('table10').mean(), -1):.0f} remain",
        f"keeps {reported('table07', w1=1e-5, w2=1e-3).item():,} of 5,000",
    ],
}


@pytest.mark.parametrize(
    ("page", "text"), [(page, text) for page, texts in CONSTANTS.items() for text in texts]
)
def test_typed_constants_are_those_of_the_code(page, text):
    assert text in notebook.prose(page)


def test_the_method_page_has_the_constants():
    for text in (
        f"weights with seed {proxies.SEED}, {batch_size('gradients')} images",
        f"{batch_size('naswot')} images for naswot, {batch_size('cv')} for cv over "
        f"{proxies.INITIALISATIONS} draws",
        f"one cell a stage with {batch_size('ntk')} images",
        f"on {batch_size('linear_regions'):,} patches",
        f"the networks have {inputs.classes('ImageNet16-120')} outputs",
    ):
        assert text in " ".join(BOOK["method"].split()), text


def test_no_number_is_typed_beside_a_formula():
    for name in parameters.names():
        for formula in re.findall(r"[^.]*\\sqrt[^.]*\.", notebook.prose(name)):
            assert not re.search(r"\bis \d", formula), name


@pytest.mark.parametrize("name", parameters.names())
def test_a_finding_is_short(name):
    folder = paths.RECORDED_RESULTS / name
    record = json.loads((folder / "page.json").read_text("utf-8"))
    assert len(record["texts"][record["tagged"]["found"]].split()) <= 35
