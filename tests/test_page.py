"""A page: fields in its texts, what it writes, and when its results appear."""

import json

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsutil import inputs, paths
from epsutil.book import page, site

TABLE = pd.DataFrame({"dataset": ["cifar10", "cifar100"], "n": [3, 4], "rho": [0.25, None]})
ROW = TABLE.iloc[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{n:,} of {row.n}, {row[rho]:.3f}", "15,625 of 3, 0.250"),
        ("{missing:.2f} and {none:,}", "unknown and unknown"),
        ("$V_{i}$ and $$\\frac{a}{b}$$", "$V_{i}$ and $$\\frac{a}{b}$$"),
        ("{cite:p}`n` {doc}`{n} <n>` `{n}`", "{cite:p}`n` {doc}`{n} <n>` `{n}`"),
        ("```{prf:algorithm} {n}\n{n}\n``` {n}", "```{prf:algorithm} {n}\n{n}\n``` 15625"),
        (":::{note} A\n:name: {n}\n{n}\n:::", ":::{note} A\n:name: {n}\n15625\n:::"),
        ("{name} costs 5 $ and {n} $", "a: {b} costs 5 $ and {n} $"),  # between dollars: a formula
    ],
)
def test_fields_are_filled_outside_of_code_and_formulas(text, expected):
    variables = {"n": 15625, "row": ROW, "missing": float("nan"), "none": None, "name": "a: {b}"}
    assert page.filled(text, variables) == expected


@pytest.mark.parametrize("text", ["{m}", "{row.m}", "{row[m]:.2f}", "a {n.real.m} b", "{0}", "{}"])
def test_an_unknown_field_is_named(text):
    field = text[text.index("{") : text.index("}")].partition(":")[0]
    if text == "{}":
        assert page.filled(text, {}) == text
        return
    with pytest.raises(NameError, match="which the notebook has not") as error:
        page.filled(text, {"n": 1, "row": ROW})
    assert field in str(error.value)


@given(st.text(st.characters(exclude_characters="{}")))
def test_a_text_without_fields_stays(text):
    assert page.filled(text, {}) == text


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A notebook with a found text; a function that begins its page."""
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(page, "display", lambda *_, **__: None)
    cells = [
        nbformat.v4.new_markdown_cell("# Title", id="title"),
        nbformat.v4.new_markdown_cell("{n} and {rho:.1f}", id="a", metadata={"tags": ["found"]}),
        nbformat.v4.new_code_cell("n = 5", metadata={"tags": ["parameters"]}),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "table.ipynb")
    return lambda **variables: page.Page("table", {"n": 7, "rho": 0.25} | variables)


def test_a_page_keeps_what_it_shows(notebook):
    this = notebook()
    read = this.table("table", TABLE, ["dataset", "n", "rho"], "Of {n:,}.")
    pd.testing.assert_frame_equal(read, TABLE)
    figure, _ = plt.subplots()
    this.figure("plot", figure, "A plot.", "Nothing.")
    this.finish("all", [inputs.batch("grey", 4)], TABLE)
    folder = paths.results() / "table"
    assert sorted(file.name for file in folder.iterdir()) == [
        "page.json", "plot.svg", "scoreboard.csv", "table.csv",
    ]  # fmt: skip
    record = json.loads((folder / "page.json").read_text())
    assert record["parameters"] == {"n": 7}
    assert record["texts"] == {"title": "# Title", "a": "7 and 0.2"}
    assert record["tagged"] == {"found": "a"}
    assert record["input"].startswith("synthetic: grey images, image i of n is the constant i/n")
    assert [*record["shown"]] == ["table"]


def test_results_appear_as_the_page_is_finished(notebook):
    folder = paths.results() / "table"
    notebook().finish("first")
    this = notebook()
    this.write("table", TABLE)
    assert [file.name for file in folder.iterdir()] == ["page.json"]
    del this.variables["rho"]
    with pytest.raises(NameError, match="table: the text .* has the field {rho}"):
        this.finish("fails")
    assert json.loads((folder / "page.json").read_text())["covered"] == "first"
    this.variables["rho"] = 1.0
    this.finish("second")
    assert json.loads((folder / "page.json").read_text())["covered"] == "second"
    assert (folder / "table.csv").exists()


def test_a_negative_number_has_a_minus_sign():
    variables = {"rho": -0.5, "weights": "1e-07 and -1", "name": "NAS-Bench-201"}
    text = page.filled("{rho:.2f} {weights} {name}", variables)
    assert text == "−0.50 1e-07 and −1 NAS-Bench-201"


def test_a_caption_cell_is_not_on_the_site():
    caption = nbformat.v4.new_markdown_cell("Said above.", metadata={"tags": ["caption"]})
    text = nbformat.v4.new_markdown_cell("Said below.")
    published = site.publishable(nbformat.v4.new_notebook(cells=[caption, text]))
    assert [cell.source for cell in published.cells] == ["Said below."]
