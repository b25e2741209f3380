"""Every parameter of every notebook, refused at a value that it cannot have.

What the unusual values give is tested in test_book.py, which executes the notebooks.
"""

import forked
import nbformat
import notebook
import numpy as np
import pandas as pd
import papermill
import pytest
from cases import CASES, POOL
from test_book import DATA, NAMES

from epsutil import (
    experiments,
    inputs,
    paths,
    scoring,
    spaces,
    statistics,
)
from epsutil.book import execution, page, parameters, plots

WRONG = [(n, p, bad, said) for n, cases in CASES.items() for p, (_, bad, said) in cases.items()]


def test_the_cases_cover_every_parameter_of_every_notebook():
    assert {name: set(cases) for name, cases in CASES.items()} == {
        name: set(parameters.defaults(name)) for name in NAMES
    }
    for name in NAMES:  # and each has a rule
        assert set(parameters.defaults(name)) <= set(parameters.RULES), name


@pytest.mark.parametrize("name", NAMES)
def test_every_scale_is_in_range(name):
    assert parameters.check(name, parameters.defaults(name)) == parameters.defaults(name)
    for scale in parameters.SCALES:
        parameters.scale(name, scale)


@pytest.mark.needs(*DATA)
@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("table06_weights_nasbench201", {"n_archs": 15_626}, "has 1 to 15,625 to choose from"),
        ("table06_weights_nasbench201", {"dataset": "grey"}, "grey"),
        ("table01_nasbench201", {"weights": [1e-7, 1e-3, 1.0]}, "two weights"),
    ],
)
def test_what_a_space_decides_is_refused_by_the_first_lines(
    name, values, said, tmp_path, monkeypatch
):
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path))
    with pytest.raises(AssertionError, match=said):
        forked.run(name, values, tmp_path / "out.ipynb", "test")


@pytest.mark.parametrize(
    ("name", "parameter", "bad", "said"), WRONG, ids=[f"{n}-{p}" for n, p, *_ in WRONG]
)
def test_a_value_out_of_range_is_refused_before_any_work(
    name, parameter, bad, said, tmp_path, monkeypatch
):
    """By `epsutil run` before a kernel starts, and by a notebook's first cell."""
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("started"))
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path))
    with pytest.raises(parameters.ParameterError) as caught:
        execution.run(name, {parameter: bad}, tmp_path / "out.ipynb", "test")
    message = str(caught.value)
    assert message.startswith(f"{name}: {parameter}={bad!r} must be ") and said in message
    assert "\n" not in message
    with pytest.raises(parameters.ParameterError) as caught:
        page.Page(name, parameters.defaults(name) | {parameter: bad})
    assert str(caught.value) == message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("# Parameters\nn_arch = 3\n", "has no parameter 'n_arch'; did you mean 'n_archs'"),
        ("# Parameters\nn_archs = 3\nwieghts = [1, 2]\n", "did you mean 'weights'"),
        ("# Parameters\nPAPERMILL_INPUT_PATH = 'x'\nseed = 3\n", None),
        ("n_arch = 3\n", None),  # the reader's own cell
    ],
)
def test_papermill_itself_cannot_misspell_a_parameter(cell, said, tmp_path, monkeypatch):
    """It only warns, and adds a cell that nothing reads."""
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path))
    name = "table06_weights_nasbench201"
    namespace = parameters.defaults(name) | {"In": ["", "weights = [1]", cell]}
    exec(cell, namespace)
    if said is None:
        assert page.Page(name, namespace).parameters["n_archs"] == 5000
    else:
        with pytest.raises(parameters.ParameterError, match=said):
            page.Page(name, namespace)


def test_weights_have_no_order(tmp_path):
    """Epsilon is symmetric, so that a swapped pair finds the same stored scores."""
    from epsutil import inputs

    batch = inputs.batch("grey", 16)
    archs = [0, 5, 11, 15_624]
    space = spaces.get("nasbench201")
    several = scoring.score(
        "nasbench201", batch, (1.0, 1e-3, 0.5), archs, n_jobs=1, folder=tmp_path
    )
    assert list(several) == ["0.001,0.5", "0.001,1", "0.5,1"]
    for index in archs:
        for w1, w2 in ((1.0, 1e-3), (0.5, 1e-3), (0.5, 1.0)):
            expected = space.score(space[index], batch.x, (w1, w2))
            got = several.loc[index, scoring.pair((w1, w2))]
            np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("010", 10),  # YAML 1.1: 8
        ("-007", -7),
        ("1_000", 1000),
        ("12:30:45", "12:30:45"),  # YAML 1.1: 45045
        ("1:30.5", "1:30.5"),
        ("0x1f", "0x1f"),
        ("0o17", "0o17"),
        ("1e-7", 1e-7),  # YAML 1.1: text
        ("1e3", 1000.0),
        (".5", 0.5),
        ("inf", float("inf")),
        (".inf", ".inf"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", "true"),
        ("True", True),
        ("False", False),
        ("None", None),
        ("null", "null"),
        ("~", "~"),
        ("", ""),
        ("2001-12-14", "2001-12-14"),
        ("a: b", "a: b"),
        (POOL, POOL),
    ],
)
def test_a_parameter_is_read_as_papermill_reads_it(text, expected):
    from papermill.cli import _resolve_type

    assert parameters.value(text) == expected == _resolve_type(text)
    assert type(parameters.value(text)) is type(expected)
    if not {*text} & {*":|"}:  # which mean something inside a YAML list
        assert parameters.value(f"[5, {text or chr(34) * 2}]") == [5, expected]


def test_not_a_number_is_no_number():
    assert np.isnan(parameters.value("nan"))
    for text in ("nan", "inf", "-inf"):
        with pytest.raises(parameters.ParameterError, match="above 0 and at most 1"):
            parameters.check("table08_weights", {"largest_share": parameters.value(text)})


@pytest.mark.parametrize("text", ["[1, 2", "[1] 2", "[&a [*a]]", "[!!python/name:os.system ]x"])
def test_a_broken_list_is_one_line(text):
    with pytest.raises(parameters.ParameterError, match="not a value") as caught:
        parameters.value(text)
    assert "\n" not in str(caught.value)


def test_the_scales_are_read_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("n = 1\nw = [1.0]", metadata={"tags": ["parameters"]})]
    )
    nbformat.write(notebook, tmp_path / "own.ipynb")
    (tmp_path / "scales.yml").write_text("own:\n  check:\n  test: {n: 010, w: [1e-7, 1]}\n")
    assert parameters.scale("own", "test") == {"n": 10, "w": [1e-7, 1.0]}
    assert parameters.scale("own", "check") == {}


def test_least_resamples_is_what_the_pages_say():
    assert statistics.LEAST_RESAMPLES == 200


@pytest.mark.parametrize("n", [0, 3])
def test_figures_of_no_architecture(n):
    """Nothing above the lowest accuracy, or nothing with a score."""
    frame = pd.DataFrame({"test_accuracy": [90.0] * n, "epsilon": np.nan, "params": 1.0})
    density = notebook.functions("figure02_scatter")["density"]
    for figure in (plots.scatter(frame, "cifar10"), density(frame, lowest=80.0)):
        assert "no architecture to draw" in [text.get_text() for text in figure.axes[0].texts]
    assert len(plots.interactive_scatter(frame, "cifar10", spaces.get("nasbench201")).data) == 1
    space, grey = spaces.get("nasbench201"), inputs.batch("grey", 8)
    problem = experiments.Problem(space, grey, np.arange(n), (1e-7, 1.0))
    problem.__dict__.update(frame=frame, trained=frame)
    counted = experiments.counts([problem]).iloc[0]
    assert counted["n"] == n and counted["n_scored"] == 0 and np.isnan(counted["highest_epsilon"])
