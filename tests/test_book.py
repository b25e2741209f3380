"""Every notebook with unusual parameters; every number on a page comes from a result file."""

import itertools
import json
import re
import shutil

import forked
import nbformat
import pandas as pd
import pytest
from cases import CASES

from epsutil import names, paths, sources
from epsutil.book import execution, parameters, site, tables, verdicts
from epsutil.book import page as page_

# What the notebooks need; without it a page is shown as recorded.
DATA = (
    *(f"images/{name}-train-10240.npz" for name in ("cifar10", "cifar100", "tinyimagenet16")),
    "nas-bench-201/nats_bench.csv",
    "nas-bench-101/accuracies.pkl.gz",
    "nas-bench-101/params.pkl.gz",
    "nas-bench-nlp/ptb_single_run.csv.gz",
    "nas-bench-nlp/wikitext-2-logs.zip",
    "nas-bench-macro/nas-bench-macro_cifar10.json",
    "ptb/ptb.train.txt",
)
NAMES = parameters.names()
HIDDEN = {"hide-input", "remove-input"}
BY_PAPERMILL = ("algorithm01_epsilon", "figure06_other_metrics", "table06_weights_nasbench201")
RECORDED = {name: paths.RECORDED_RESULTS / name for name in NAMES}


def shown(notebook, kind=page_.MYST):
    """What a reader sees: the texts of one kind among a notebook's outputs, in order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            name,
            marks=[pytest.mark.needs(*DATA)] * (name != "algorithm01_epsilon"),
        )
        for name in NAMES
    ],
)
def page(request, tmp_path_factory):
    """One notebook executed with all its unusual values: its name, itself, its results."""
    values = {parameter: value for parameter, (value, *_) in CASES[request.param].items()}
    folder = tmp_path_factory.mktemp("book")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EPSUTIL_RESULTS", str(folder / "results"))
        patch.setenv("EPSUTIL_SCORES", str(folder / "scores"))
        run = execution.run if request.param in BY_PAPERMILL else forked.run
        executed = run(request.param, values, folder / "page.ipynb", scale="test")
        execution._fill(executed, folder / "results" / request.param)  # as on the site
    notebook = nbformat.read(executed, as_version=4)
    return request.param, notebook, folder / "results" / request.param


def test_every_table_comes_from_a_result_file(page):
    name, executed, folder = page
    record = json.loads((folder / "page.json").read_text())
    texts = "\n".join(shown(executed))
    for label, how in record["shown"].items():
        table = page_.rendered(folder, how)
        assert f":name: {label}\n\n{table}" in texts, label
    assert texts.count(":::{table}") == len(record["shown"])


def test_the_page_says_what_it_found_and_rests_on(page):
    _, executed, folder = page
    record = json.loads((folder / "page.json").read_text())
    found = record["texts"][record["tagged"]["found"]]
    assert re.search(r"\d", found) and "nan" not in re.findall(r"\w+", found), found
    assert 1 <= len(re.findall(r"[.!?](?=\s|$)", found)) <= 3, found
    for word in ("Parameters", "Computed and scored", "Inputs", "Data", "Run time"):
        assert f"**{word}:**" in shown(executed)[-1], word


def test_text_cells_are_filled(page):
    name, executed, folder = page
    texts = json.loads((folder / "page.json").read_text())["texts"]
    assert [*texts] == [cell.id for cell in page_.text_cells(page_.read(name))]
    filled = {cell.id: cell.source for cell in page_.text_cells(executed)}
    assert filled == texts
    for text in texts.values():
        assert "nan" not in re.findall(r"\w+", text.lower()), text


def test_figures_and_downloads_exist(page):
    name, executed, folder = page
    text = "\n".join(shown(executed))
    for file in re.findall(rf"\.\./results/{name}/([\w.-]+)", text):
        assert (folder / file).stat().st_size > 0, file
    for figure in re.findall(r":::\{figure\}.*?:::", text, flags=re.DOTALL):
        assert re.search(r"^:alt: \w", figure, re.M) and re.search(r"^:name: \w", figure, re.M)


def test_jupyter_shows_tables_and_figures_without_markup(page):
    name, executed, folder = page
    texts = shown(executed, "text/markdown")
    assert len(texts) == len(shown(executed)) - len(list(folder.glob("*.[sp][vn]g")))
    for text in [*texts, *(page_.readable(cell.source) for cell in page_.text_cells(executed))]:
        assert not re.search(r"^:::|\{[\w:]+\}`", text, re.M), text
    images = [o["data"] for c in executed.cells for o in c.get("outputs", []) if "data" in o]
    pictures = [data for data in images if {"image/svg+xml", "image/png"} & set(data)]
    assert len(pictures) == len(list(folder.glob("*.[sp][vn]g")))


def test_no_value_is_shown_by_chance(page):
    """The last line of a folded cell would else print what it returns."""
    _, executed, _ = page
    for cell in executed.cells:
        if HIDDEN & {*cell.metadata.get("tags", ())}:
            kinds = {output.output_type for output in cell.get("outputs", [])}
            assert "execute_result" not in kinds, cell.source


def test_the_site_gets_tables_as_text(page):
    name, executed, folder = page
    published = site.publishable(executed)
    assert page_.MYST not in json.dumps(published)
    text = "\n".join(cell.source for cell in published.cells if cell.cell_type == "markdown")
    for myst in shown(executed):
        assert myst.strip() in text
    folded = [site._is_folded(cell) and not cell.outputs for cell in published.cells]
    assert not any(a and b for a, b in itertools.pairwise(folded))  # one box of code is enough


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_what_it_computes(name):
    """A title, what was found, parameters, and then code that names a space and what is scored."""
    notebook = page_.read(name)
    title, *_ = notebook.cells
    assert title.source.startswith("# ")
    assert [c.id for c in page_.text_cells(notebook) if "found" in c.metadata.get("tags", [])]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    first = next(i for i, c in enumerate(code) if "parameters" in c.metadata.get("tags", []))
    seen = [c.source for c in code[first + 1 :] if not HIDDEN & {*c.metadata.get("tags", ())}]
    assert re.search(r"spaces\.get\b|statistics\.|benchmarks\.", seen[0]), seen[0]
    assert not re.search(r"globals\(\)|lambda: experiments", "".join(c.source for c in code))


def test_every_notebook_takes_unusual_values(page):
    name, _, folder = page
    record = json.loads((folder / "page.json").read_text())
    assert record["parameters"] == {key: value for key, (value, *_) in CASES[name].items()}
    for how in record["shown"].values():
        assert "nan" not in page_.rendered(folder, how).lower().split(), how
    if check := CHECKS.get(name):
        check(folder, record)


def _one_dataset(folder, record):
    known = {file.stem for file in folder.glob("*.csv")}
    for file in known & {"table01", "fisher", "same", "batches", "steiger", "precision"}:
        assert set(pd.read_csv(folder / f"{file}.csv")["dataset"]) == {"cifar100"}, file
    for key in record["shown"]:
        assert not key.endswith(("-cifar10", "-imagenet"))


def _table_1(folder, record):
    _one_dataset(folder, record)
    texts = {key: page_.rendered(folder, value) for key, value in record["shown"].items()}
    assert "under 200 resamples" in texts["table01-rho-cifar100"]  # for n_resamples is 199
    table = pd.read_csv(folder / "table01.csv").query("source == 'computed'")
    assert table.filter(regex="_(low|high)$").isna().all(axis=None)


def _checks(folder, record):
    _one_dataset(folder, record)
    recheck = pd.read_csv(folder / "recheck.csv").iloc[0]
    assert recheck["n"] >= 10 and recheck["unscored_differ"] == 0


def _with_interval(folder, record):
    epsilon = pd.read_csv(folder / "table03.csv").set_index(["source", "metric"])
    params = epsilon.loc[("computed", "params")]
    assert params["rho_low"] <= params["rho"] <= params["rho_high"]
    assert pd.read_csv(folder / "recheck.csv")["n"].tolist() == [11]


def _pairs(weights):
    def check(folder, record):
        table = pd.read_csv(next(folder.glob("table0?.csv")))
        ascending = sorted(weights)
        expected = [(a, b) for i, a in enumerate(ascending) for b in ascending[i + 1 :]]
        assert list(zip(table["w1"], table["w2"], strict=True)) == expected

    return check


CHECKS = {
    "table01_nasbench201": _table_1,
    "table01_checks": _checks,
    "table03_nasbench101": _with_interval,
    **{
        name: _pairs(cases["weights"][0])
        for name, cases in CASES.items()
        if name.endswith(("nasbench101", "nasbench201", "nasbench_nlp")) and "_weights_" in name
    },
}


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("EPSUTIL_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("EPSUTIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path / "results"))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"algorithm01_epsilon"}))
def test_without_data_the_record_is_shown_whole(name, no_data, monkeypatch):
    monkeypatch.setattr(execution, "_execute", lambda *_, **__: pytest.fail("executed"))
    made = execution._make(name, None)
    assert made.results == paths.RECORDED_RESULTS / name
    assert re.match(
        r"This page shows a \*\*recorded execution\*\* of 20\d\d-\d\d-\d\d", made.status
    )
    assert "the machine that built the site does not have `" in made.status
    assert f"`epsutil run {name}` makes it anew" in made.status
    recorded = nbformat.read(made.notebook, as_version=4)
    site._open(recorded, made.status)
    assert made.status in recorded.cells[1].source


@pytest.mark.slow
def test_without_data_a_run_stops_in_one_line(no_data, tmp_path):
    with pytest.raises(execution.NotebookError) as error:
        execution.run("table06_weights_nasbench201", {}, tmp_path / "out.ipynb")
    assert error.value.ename == "SourceError"
    assert "cifar" in error.value.evalue and "EPSUTIL_DATA" in error.value.evalue


# Recorded results ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_records_are_whole_of_the_papers_size_and_of_todays_code(name):
    folder = paths.RECORDED_RESULTS / name
    record = json.loads((folder / "page.json").read_text())
    assert record["parameters"] == parameters.defaults(name)
    assert record["notebook"] == page_.digest(page_.read(name)), "epsutil record, for the page"
    for how in record["shown"].values():
        assert page_.rendered(folder, how)
    for source, checksum in record["sources"].items():
        assert sources.SOURCES[source].sha256 == checksum
    recorded = nbformat.read(folder / "page.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in page_.text_cells(recorded))
    for label, how in record["shown"].items():
        assert f":name: {label}\n\n{page_.rendered(folder, how)}" in text, label
    for said in record["texts"].values():
        assert said in text


def test_a_changed_digit_is_found(tmp_path):
    recorded = paths.RECORDED_RESULTS / "table06_weights_nasbench201"
    shutil.copytree(recorded, tmp_path / "anew")
    assert re.match(r"[\d,]+ values", execution.agreement(recorded, tmp_path / "anew"))
    table = pd.read_csv(recorded / "table06.csv")
    table.loc[3, "rho"] += 0.001
    table.to_csv(tmp_path / "anew" / "table06.csv", index=False)
    with pytest.raises(execution.BuildError, match="table06.csv: the column rho is not that of"):
        execution.agreement(recorded, tmp_path / "anew")


def test_table_1_agrees_with_the_paper():
    """Issue: within 0.02 of the paper, or the page shows by evidence why not."""
    table = pd.read_csv(paths.RECORDED_RESULTS / "table01_nasbench201" / "table01.csv")
    batches = pd.read_csv(paths.RECORDED_RESULTS / "table01_checks" / "batches.csv")
    board = verdicts.metrics("Table 1", table)
    epsilon = board[board["row"].isin(["cifar10", "cifar100", "ImageNet16-120"])]
    assert len(epsilon) == 6
    for _, row in epsilon[epsilon["verdict"] == "differs"].iterrows():
        other = batches[batches["dataset"] == row["row"]][row["quantity"]]
        assert other.min() <= row["paper"] <= other.max()  # the batch alone explains it


def test_competing_metrics_agree_with_the_paper():
    """Issue: rho within 0.05, or the page shows why not, as it does for fisher."""
    table = pd.read_csv(paths.RECORDED_RESULTS / "table01_nasbench201" / "table01.csv")
    board = verdicts.metrics("Table 1", table)
    others = board[board["row"].str.contains(", ")]
    assert len(others) == 18 and (others["n"] >= 1000).all()
    differing = others[others["verdict"] == "differs"]
    assert differing["row"].str.startswith("fisher").all()


def test_no_benchmark_data_are_recorded():
    for file in paths.RECORDED_RESULTS.rglob("*"):
        assert file.suffix in ("", ".csv", ".svg", ".png", ".json", ".ipynb"), file
        if file.suffix == ".csv":
            assert len(pd.read_csv(file)) < 1000, f"{file}: a row per architecture?"


def test_the_scoreboard_has_every_item_of_the_paper(tmp_path):
    site.generate(tmp_path, RECORDED)
    text = (tmp_path / "scoreboard.md").read_text().replace(tables.NO_BREAK, " ")
    for item in names.ITEMS:
        assert re.search(rf"\[?{item}\b", text), item
    for page in names.ITEMS.values():
        assert page in NAMES and f"notebooks/{page}.ipynb" in text


def test_the_landing_page_begins_with_results(tmp_path):
    site.generate(tmp_path, RECORDED)
    text = (tmp_path / "findings.md").read_text()
    table = pd.read_csv(paths.RECORDED_RESULTS / "table01_nasbench201" / "table01.csv")
    ours = table.query("metric == 'epsilon' and dataset == 'cifar10' and source == 'computed'")
    for value in (f"{ours['rho'].item():.2f}", f"{ours['n_scored'].item():,.0f} of 15,625"):
        assert value in text
    search = pd.read_csv(paths.RECORDED_RESULTS / "table02_search" / "table02.csv")
    row = search.query("method == 'epsilon' and dataset == 'cifar10' and pool == 1000")
    assert f"{row['test'].item():.1f}% on average" in text
    unseen = pd.read_csv(paths.RECORDED_RESULTS / "unseen_space" / "unseen.csv")
    rho = unseen.set_index("metric")["rho"]
    assert f"correlation is {rho['epsilon']:.2f} over" in text
    assert f"that of FLOPs is {rho['flops']:.2f}" in " ".join(text.split())
    site.generate(tmp_path, {})
    assert (tmp_path / "findings.md").read_text() == "\n"


def test_an_item_counts_once_and_may_have_undefined_values(tmp_path, monkeypatch):
    """A renamed notebook leaves its results; odd parameters leave all values undefined."""
    board = pd.DataFrame(
        [["Table 6", "epsilon", "1e-07, 1", "rho", 0.5, float("nan"), 0, 100, "differs"]],
        columns=list(tables.SCOREBOARD),
    )
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path))
    for name in ("table06_weights_nasbench201", "table06_former_name"):
        (tmp_path / name).mkdir()
        board.to_csv(tmp_path / name / "scoreboard.csv", index=False)
    name = "table06_weights_nasbench201"
    site.generate(tmp_path, {name: tmp_path / name})
    text = (tmp_path / "scoreboard.md").read_text().replace(tables.NO_BREAK, " ")
    (line,) = [line for line in text.splitlines() if "Table 6]" in line]
    assert "0 of 1<" in line and "undefined (0.50)" in line and ">differs<" in line
