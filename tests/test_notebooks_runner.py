"""The runner on small notebooks in a temporary project."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import click.testing
import filelock
import nbformat
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import epsutil
from epsutil import cli, paths
from epsutil.book import execution, page, parameters, provenance, site

ROOT = paths.ROOT
PARAMETERS = """
n_archs: int = 500  # how many
dataset = "cifar10"
pairs = [[1e-7, 1.0]]
level = 0.95
fast = False
limit: int | None = None
anything = None
"""
WRITE_PAGE = """
import json, os, pathlib
folder = pathlib.Path(os.environ["EPSUTIL_RESULTS"]) / "table"
folder.mkdir(parents=True, exist_ok=True)
(folder / "page.json").write_text(json.dumps({"n": n_archs}))
with open("runs.log", "a") as log:
    log.write("run\\n")
"""


def write_notebook(name, *cells):
    """Write a notebook; a text that starts with # is prose, the first code cell has the tag."""
    made, tagged = [], False
    for source in cells:
        if source.lstrip().startswith("#"):
            made.append(nbformat.v4.new_markdown_cell(source))
        else:
            tags = [] if tagged else ["parameters"]
            made.append(nbformat.v4.new_code_cell(source.strip(), metadata={"tags": tags}))
            tagged = True
    paths.NOTEBOOKS.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=made), paths.NOTEBOOKS / f"{name}.ipynb")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project in a folder of its own, with one notebook."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    for name, folder in {
        "ROOT": ".",
        "NOTEBOOKS": "notebooks",
        "BOOK": "book",
        "BUILD": "_build",
        "PAPER": "data/paper",
        "RECORDED_SCORES": "data/scores",
        "RECORDED_RESULTS": "data/results",
    }.items():
        monkeypatch.setattr(paths, name, root / folder)
    monkeypatch.setattr(paths, "ROOT", root)
    monkeypatch.setenv("EPSUTIL_RESULTS", str(root / "_build" / "results"))
    monkeypatch.setenv("EPSUTIL_CACHE", str(root / "cache"))
    for variable in ("EPSUTIL_DATA", "EPSUTIL_SCORES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    (root / "requirements.txt").write_text("a==1\n")
    write_notebook("table", "# A table", PARAMETERS, WRITE_PAGE)
    return root


# --- Parameters ---------------------------------------------------------------------------------


def test_parameters_are_read_without_running_the_cell(project):
    assert parameters.names() == ["table"]
    assert parameters.defaults("table") == {
        "n_archs": 500,
        "dataset": "cifar10",
        "pairs": [[1e-7, 1.0]],
        "level": 0.95,
        "fast": False,
        "limit": None,
        "anything": None,
    }


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({}, {}),
        ({"n_archs": 10}, {"n_archs": 10}),
        ({"level": 1}, {"level": 1.0}),
        ({"pairs": ((1, 2), (3.0, 4))}, {"pairs": [[1.0, 2.0], [3.0, 4.0]]}),
        ({"pairs": []}, {"pairs": []}),
        ({"fast": True, "limit": 7}, {"fast": True, "limit": 7}),
        ({"limit": None, "anything": "x"}, {"limit": None, "anything": "x"}),
    ],
)
def test_good_parameters(project, given_, expected):
    checked = parameters.check("table", given_)
    assert checked == expected
    assert list(map(type, checked.values())) == list(map(type, expected.values()))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n_arch": 10}, "no parameter 'n_arch'; did you mean 'n_archs'?"),
        ({"n_archs": "many"}, "n_archs='many' is str, but must be int"),
        ({"n_archs": 1.5}, "n_archs=1.5 is float, but must be int"),
        ({"n_archs": True}, "n_archs=True is bool, but must be int"),
        ({"n_archs": None}, "n_archs=None is None, but must be int"),
        ({"dataset": 5}, "dataset=5 is int, but must be str"),
        ({"fast": 1}, "fast=1 is int, but must be bool"),
        ({"limit": "a"}, "limit='a' is str, but must be None or int"),
        ({"limit": 1.5}, "limit=1.5 is float, but must be None or int"),
        ({"pairs": [1.0, 2.0]}, "is list of float, but must be list of list of float"),
        ({"pairs": [["a", 1.0]]}, "is list of list of float or str, but must be"),
        ({"pairs": "1e-7"}, "pairs='1e-7' is str"),
    ],
)
def test_wrong_parameters_get_one_clear_line(project, wrong, said):
    with pytest.raises(parameters.ParameterError) as caught:
        parameters.check("table", wrong)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert "n_archs (int, default 500)" in message  # the valid ones, with type and default


NAMES = parameters.names()  # hypothesis also tries texts that it finds in the code


@given(st.text(min_size=1).filter(lambda name: name not in NAMES))
def test_any_other_notebook_is_refused(name):
    with pytest.raises(ValueError, match="there is no notebook"):
        parameters.defaults(name)


def test_a_notebook_outside_the_folder_is_refused(project):
    shutil.copy(paths.NOTEBOOKS / "table.ipynb", project / "other.ipynb")
    with pytest.raises(parameters.ParameterError, match="valid: table"):
        execution.run("../other", {})


@pytest.mark.parametrize("source", ["n = 2 + f(3)", "import os", "a = b = 1", "n += 1", "n: int"])
def test_a_parameter_is_a_plain_assignment(project, source):
    write_notebook("odd", source)
    with pytest.raises(parameters.ParameterError, match="notebooks/odd.ipynb: a parameter is"):
        parameters.defaults("odd")


def test_a_notebook_needs_one_parameters_cell(project):
    write_notebook("prose", "# Only words")
    with pytest.raises(parameters.ParameterError, match="exactly one cell .* has 0"):
        parameters.defaults("prose")


def test_scales(project):
    assert parameters.scale("table", "check") == {}
    scales = paths.NOTEBOOKS / "scales.yml"
    scales.write_text("table:\n  check: {n_archs: 50}\n  test: {n_archs: 15, level: 1}\n")
    assert parameters.scale("table", "check") == {"n_archs": 50}
    assert parameters.scale("table", "test") == {"n_archs": 15, "level": 1.0}
    assert parameters.scale("table", "paper") == {}
    with pytest.raises(parameters.ParameterError, match="did you mean 'check'.*paper, check, test"):
        parameters.scale("table", "chek")
    scales.write_text("table:\n  check: {n_arch: 50}\n")
    with pytest.raises(parameters.ParameterError, match="n_archs"):
        parameters.scale("table", "check")


# --- Execution ----------------------------------------------------------------------------------


def outputs(file):
    notebook = nbformat.read(file, as_version=4)
    return "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )


def test_run_uses_this_interpreter_in_the_projects_folder(project, monkeypatch, tmp_path):
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("EPSUTIL_DATA", "here")  # relative to where the command was given
    write_notebook(
        "where", "n = 1", "import os, sys\nprint(sys.executable, os.getcwd(), n)",
        "print(os.environ['EPSUTIL_DATA'])",
    )  # fmt: skip
    done = execution.run("where", {"n": 3}, output=tmp_path / "new folder" / "out.ipynb")
    said = outputs(done).splitlines()
    assert done == tmp_path / "new folder" / "out.ipynb"
    assert said == [f"{sys.executable} {project} 3", str(tmp_path / "here")]
    assert [file.name for file in done.parent.iterdir()] == ["out.ipynb"]


def test_a_wrong_parameter_runs_nothing(project):
    with pytest.raises(parameters.ParameterError):
        execution.run("table", {"n_arch": 3})
    assert not (project / "runs.log").exists()
    assert not paths.BUILD.exists()


def test_a_failing_notebook_shows_the_cell_and_keeps_the_old_output(project):
    write_notebook("bad", "n = 1", "print('before')", "def f():\n    return 1 / 0\nf()")
    old = paths.BUILD / "runs" / "bad.ipynb"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    with pytest.raises(execution.NotebookError) as caught:
        execution.run("bad", {})
    message = str(caught.value)
    assert "notebooks/bad.ipynb failed in cell [3]" in message
    assert "return 1 / 0" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "\x1b" not in message
    assert (caught.value.ename, caught.value.evalue) == ("ZeroDivisionError", "division by zero")
    assert old.read_text() == "old"
    assert "before" in outputs(old.with_name("bad.failed.ipynb"))
    assert len(list(old.parent.iterdir())) == 2


def test_a_killed_kernel_is_one_line_and_keeps_what_ran(project, monkeypatch, capsys):
    """As when memory runs out."""
    kill = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    write_notebook("killed", "n = 1", "print('before')", kill, "print('after')")
    monkeypatch.setattr("sys.argv", ["epsutil", "run", "killed"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    message = str(stopped.value)
    failed = paths.BUILD / "runs" / "killed.failed.ipynb"
    assert "notebooks/killed.ipynb was killed" in message and message.endswith(str(failed))
    assert "\n" not in message and "Traceback" not in capsys.readouterr().err
    assert outputs(failed) == "before\n"
    assert [file.name for file in failed.parent.iterdir()] == [failed.name]


def test_results_go_beside_a_notebook_that_has_a_name(project, monkeypatch, tmp_path):
    """So two runs of one page, each with its --output, do not meet."""
    write_notebook("where", "n = 1", "import os\nprint(os.environ['EPSUTIL_RESULTS'])")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EPSUTIL_RESULTS")
    said = click.testing.CliRunner().invoke(cli.cli, ["run", "where", "-o", "a.ipynb"]).output
    assert outputs(tmp_path / "a.ipynb") == f"{tmp_path / 'a.results'}\n"
    assert f"{tmp_path / 'a.results' / 'where'}\n" in said
    assert execution.results_of(None) == paths.BUILD / "results"
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path / "chosen"))
    assert execution.results_of("a.ipynb") == tmp_path / "chosen"


@pytest.fixture
def numbered(project, monkeypatch):
    """A function that begins the one page with a number as its result, and what is published."""
    monkeypatch.setattr(page, "display", lambda *_, **__: None)
    folder = paths.results() / "table"

    def begin(n):
        this = page.Page("table", parameters.defaults("table"))
        this.write("t", pd.DataFrame({"n": [n]}))
        return this

    def published():
        assert {file.name for file in folder.iterdir()} == {"t.csv", "page.json"}
        return pd.read_csv(folder / "t.csv")["n"].item()

    return begin, published


def test_an_unfinished_run_leaves_the_former_results(numbered):
    begin, published = numbered
    begin(1).finish("all")
    begin(2)
    assert published() == 1
    third = begin(3)  # after a failure, in the same kernel
    assert published() == 1
    third.finish("all")
    assert published() == 3


def test_a_page_that_another_run_writes_is_refused_in_one_line(numbered):
    begin, published = numbered
    begin(1).finish("all")
    with filelock.FileLock(paths.results() / ".unfinished" / "table.lock"):  # not this page's own
        with pytest.raises(ValueError, match=r"^another run writes \S+/table: wait [^\n]+$"):
            begin(2)
    assert published() == 1
    begin(3).finish("all")
    assert published() == 3


def test_the_execution_cache_notices_every_change(project, monkeypatch, tmp_path):
    """Keys are compared alone: an execution takes seconds, and the next test has two."""
    key = execution._key("table", {"n_archs": 5})
    seen = {key}

    def changed():
        seen.add(execution._key("table", {"n_archs": 5}))
        return len(seen)

    assert changed() == 1  # the same again
    assert execution._key("table", {"n_archs": 6}) != key
    write_notebook("table", "# Another title", PARAMETERS, WRITE_PAGE)
    assert changed() == 2
    (project / "requirements.txt").write_text("a==2\n")
    assert changed() == 3
    for count, folder in enumerate((paths.PAPER, paths.RECORDED_SCORES), 4):
        (folder / "table").mkdir(parents=True)
        (folder / "table" / "values.csv").write_text("1\n")
        assert changed() == count
    (paths.RECORDED_RESULTS / "table").mkdir(parents=True)
    (paths.RECORDED_RESULTS / "table" / "values.csv").write_text("1\n")
    assert changed() == 5  # a page reads no record
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "images" / "x.bin").write_bytes(b"1")
    monkeypatch.setenv("EPSUTIL_DATA", str(data))
    assert changed() == 6
    (data / "images" / "x.bin").write_bytes(b"12")
    assert changed() == 7
    (paths.cache() / "data").mkdir(parents=True)
    (paths.cache() / "data" / "download").write_bytes(b"1")
    assert changed() == 8
    package = tmp_path / "epsutil"
    package.mkdir()
    monkeypatch.setattr(execution, "__file__", str(package / "book" / "execution.py"))
    (package / "metric.py").write_text("x = 1\n")
    assert changed() == 9
    (package / "metric.py").write_text("x = 2\n")
    assert changed() == 10
    for count, name in enumerate(("cifar10.txt", "sources.toml", "spaces.parquet"), 11):
        (package / name).write_text("0123456789abcdef\n")
        assert changed() == count
    (package / "__pycache__").mkdir()
    for compiled in ("metric.pyc", "maps.nbi"):
        (package / "__pycache__" / compiled).write_text("compiled")
    assert changed() == 13
    for group, count in (("epsilon", 13), ("synflow", 14)):  # pages show what a user has computed
        part = paths.scores() / f"nasbench201-cifar10-{group}-b1" / "part-1.parquet"
        part.parent.mkdir(parents=True)
        part.touch()
        assert changed() == count


def test_an_unchanged_notebook_is_executed_once(project):
    runs = project / "runs.log"
    execution.execute_all()
    execution.execute_all()
    assert runs.read_text().count("run") == 1
    # Results of another run in the same place are not this page's any more; nor are missing ones.
    (paths.results() / "table" / "page.json").write_text(json.dumps({"n": 99}))
    execution.execute_all()
    assert runs.read_text().count("run") == 2
    assert json.loads((paths.results() / "table" / "page.json").read_text()) == {"n": 500}


def test_an_interrupted_build_stops_its_notebooks(project):
    """They may run for hours, and run in other threads than the one that is interrupted."""
    begun = project / "begun"
    sleeper = f"from pathlib import Path\nimport time\nPath({str(begun)!r}).touch()\ntime.sleep(90)"
    write_notebook("table", PARAMETERS, sleeper)

    def interrupt():
        while not begun.exists():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        execution.execute_all()
    assert time.monotonic() - start < 60


def record_of(source, **more):
    """Record the page "table" as it stands."""
    folder = paths.RECORDED_RESULTS / "table"
    folder.mkdir(parents=True)
    notebook = page.read("table")
    record = {"created": "2026-01-02T", "notebook": page.digest(notebook), "sources": [source]}
    (folder / "page.json").write_text(json.dumps(record | more))
    nbformat.write(notebook, folder / "page.ipynb")
    return folder


ANALOG = "analog-nasbench/data.anb"  # always at hand


def test_a_page_is_executed_or_its_record_is_shown(project):
    folder = record_of(ANALOG)
    made = execution._make("table", None)
    assert made.results == paths.results() / "table" and made.status == execution.LIVE
    shutil.rmtree(folder)
    folder = record_of("ptb/ptb.train.txt")
    made = execution._make("table", None)
    assert (made.notebook, made.results) == (folder / "page.ipynb", folder)
    assert made.status == (
        "This page shows a **recorded execution** of 2026-01-02: the machine that built the site "
        "does not have `ptb/ptb.train.txt`. With the data, `epsutil run table` makes it anew."
    )
    write_notebook("table", "# Changed", PARAMETERS, WRITE_PAGE)
    status = execution._make("table", None).status
    assert "2026-01-02, of an earlier version of its code: the machine" in status
    assert (project / "runs.log").read_text().count("run") == 1


def test_a_page_whose_scores_are_not_stored_is_shown_as_recorded(project):
    lacking = "from epsutil import store\nraise store.NotStored('no scores\\n of these')"
    write_notebook("table", PARAMETERS, lacking)
    record_of(ANALOG)
    status = execution._make("table", None).status
    assert status.endswith("execution** of 2026-01-02: no scores of these")
    write_notebook("table", PARAMETERS, "1 / 0")
    with pytest.raises(execution.NotebookError, match="division by zero"):
        execution._make("table", None)


def test_of_a_slow_page_a_small_part_is_computed_again(project):
    (paths.NOTEBOOKS / "scales.yml").write_text("table: {check: {n_archs: 15}}")
    write = "(folder / 'a.csv').write_text(f'name,n,seconds,gap\\nx,{2 * level},{n_archs},')"
    write_notebook("table", PARAMETERS, f"{WRITE_PAGE}{write}")
    folder = record_of(ANALOG)
    (folder / "a.csv").write_text("name,n,seconds,gap\nx,1.9,7,4\n")
    made = execution._make("table", None)
    assert made.results == folder
    same = "it ran with `n_archs = 15`, and 1 values of its tables came out as recorded"
    assert same in made.status
    (folder / "a.csv").write_text("name,n,seconds,gap\nx,1.8,7,4\n")
    with pytest.raises(execution.BuildError, match="a.csv: the column n is not that of .*a.csv"):
        execution._make("table", None)


def test_of_a_page_without_a_small_part_only_the_record_is_shown(project):
    (paths.NOTEBOOKS / "scales.yml").write_text("table: {check: None}")
    folder = record_of(ANALOG)
    made = execution._make("table", None)
    assert made.results == folder and made.status.endswith(
        "execution** of 2026-01-02: it takes minutes. `epsutil run table` makes it anew."
    )
    assert not (project / "runs.log").exists()


def test_a_page_is_recorded_with_its_scores_elsewhere(project, tmp_path):
    show = "import os\nprint(os.environ.get('EPSUTIL_SCORES'))"
    write_notebook("table", "# T", "n = 1", f"{WRITE_PAGE.replace('n_archs', 'n')}\n{show}")
    executed = execution.execute_all(tmp_path / "scores")
    assert outputs(executed["table"].notebook) == f"{tmp_path / 'scores'}\n"
    (folder,) = site.record(executed)
    assert folder == paths.RECORDED_RESULTS / "table"
    assert sorted(file.name for file in folder.iterdir()) == ["page.ipynb", "page.json"]
    assert outputs(execution.run("table", {})) == "None\n"


# --- The site -----------------------------------------------------------------------------------


def test_what_is_published_names_no_time_or_folder(project):
    write_notebook(
        "table", "# A table", "n = 1",
        "import os, warnings\nwarnings.warn('careful')\nprint(os.getcwd() + '/book/x.md')",
    )  # fmt: skip
    done = execution.run("table", {"n": 2})
    notebook = site.publishable(nbformat.read(done, as_version=4))
    text = json.dumps(notebook)
    assert "./book/x.md" in text
    for word in ("papermill", "start_time", "iopub", str(project), sys.prefix):
        assert word not in text
    injected = [c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert len(injected) == 1
    assert "hide-input" in injected[0].metadata.tags
    assert "n = 2" in injected[0].source


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://github.com/someone/companion.git", "https://github.com/someone/companion"),
        ("https://user:secret@github.com/someone/x", "https://github.com/someone/x"),
        ("git@gitlab.com:group/x.git", "https://gitlab.com/group/x"),
        ("ssh://git@github.com/someone/x.git", "https://github.com/someone/x"),
        ("/srv/git/x.git", None),
        ("file:///srv/git/x.git", None),
        ("http://localhost:3000/x/y", None),
    ],
)
def test_repository_is_a_public_address_or_none(project, monkeypatch, remote, url):
    monkeypatch.delenv("EPSUTIL_REPOSITORY", raising=False)
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    subprocess.run(["git", "-C", str(project), "remote", "add", "origin", remote], check=True)
    assert provenance.repository()[0] == url
    monkeypatch.setenv("EPSUTIL_REPOSITORY", "https://github.com/other/name/")
    assert provenance.repository()[0] == "https://github.com/other/name"


def test_build_makes_a_site_and_a_warning_stops_it(project, monkeypatch):
    """The whole way with the project's own configuration, on one page and one notebook."""
    monkeypatch.setenv("EPSUTIL_REPOSITORY", "https://github.com/someone/companion")
    monkeypatch.setenv("EPSUTIL_SITE_URL", "https://someone.github.io/companion")
    monkeypatch.setattr(site, "generate", lambda *_: None)
    paths.BOOK.mkdir()
    (paths.BOOK / "howto.md").write_text("---\norphan: true\n---\n\n# How\n")
    shutil.copytree(ROOT / "book" / "_static", paths.BOOK / "_static")
    (paths.BOOK / "references.bib").write_text("")
    (paths.BOOK / "index.md").write_text(
        "# Start\n\nThis & that.\n\nSee [](../notebooks/table.ipynb).\n"
    )
    shutil.copy(ROOT / "_config.yml", project)
    (project / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\n"
        "chapters: [{file: notebooks/table}, {file: book/howto}]\n"
    )
    index = site.build()
    page = (index.parent / "notebooks" / "table.html").read_text("utf-8")
    assert index == paths.BUILD / "html" / "index.html"
    assert (index.parent / "plotly.min.js").stat().st_size > 1_000_000
    assert "plotly.min.js" not in page  # only pages with an interactive plot load it
    for button in (
        "https://mybinder.org/v2/gh/someone/companion/",
        "https://colab.research.google.com/github/someone/companion/",
    ):
        assert f'href="{button}' in page
    canonical = '<link rel="canonical" href="https://someone.github.io/companion/notebooks/'
    assert canonical in page
    assert not re.search(
        r"<(script|link|img)[^>]+(src|href)=\"https?:", page.replace(canonical, "")
    )
    assert "git clone https://github.com/someone/companion.git" in re.sub("<[^>]+>", "", page)
    start = (index.parent / "book" / "index.html").read_text("utf-8")
    for tag in ('name="description"', 'property="og:description"'):
        assert f'<meta {tag} content="This &amp; that. See ' in start
    assert 'property="og:url" content="https://someone.github.io/companion/book/index' in start
    assert '<meta property="og:title" content="Start" />' in start
    assert f"epsutil {epsutil.__version__}" in start
    locations = re.findall("<loc>(.*?)</loc>", (index.parent / "sitemap.xml").read_text("utf-8"))
    assert sorted(locations) == [
        f"https://someone.github.io/companion/{page}.html"
        for page in ("book/howto", "book/index", "notebooks/table")
    ]

    built = index.stat().st_ino
    site.build()
    assert index.stat().st_ino == built  # unchanged, not built again

    (paths.BOOK / "index.md").write_text("# Start\n\nSee [](nowhere.md).\n")
    with pytest.raises(execution.BuildError, match="nowhere"):
        site.build()
    assert index.exists()  # the last good site stays
    assert (project / "runs.log").read_text().count("run") == 1
