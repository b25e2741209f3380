"""What the site says about itself: how to cite it, how to run a page, which version it is."""

import re
import shlex
import subprocess

import click.testing
import pytest
import yaml
from pybtex.database import parse_string

import epsutil
from epsutil import cli, paths, sources
from epsutil.book import execution, parameters, provenance

LANDING = (paths.BOOK / "index.md").read_text("utf-8")
BIBTEX = "\n".join(re.findall(r"```bibtex\n(.*?)```", LANDING, re.DOTALL))
CITED = parse_string(BIBTEX, "bibtex").entries
BOXES = {name: provenance.run_box(name).source for name in parameters.names()}


def plain(text):
    return text.replace("{", "").replace("}", "")


# How to cite ---------------------------------------------------------------------------------


def test_citations_are_those_of_the_bibliography():
    works = parse_string((paths.BOOK / "references.bib").read_text("utf-8"), "bibtex").entries
    assert list(CITED) == ["gracheva2024", "gracheva2025", "epsilon_reproduced"]
    for key in ("gracheva2024", "gracheva2025"):
        ours, theirs = CITED[key], works[key]
        assert (ours.type, ours.persons) == (theirs.type, theirs.persons)
        for field in ("title", "year", "eprint", "journal", "volume", "number", "doi", "url"):
            assert plain(ours.fields.get(field, "")) == plain(theirs.fields.get(field, "")), field


def test_citations_are_those_of_the_cff_file():
    companion = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text("utf-8"))
    (journal,) = companion["references"]
    works = (companion["preferred-citation"], journal, companion)
    for entry, work in zip(CITED.values(), works, strict=True):
        assert plain(entry.fields["title"]) == work["title"]
        names = [who.get("name") or who["family-names"] for who in work["authors"]]
        assert [plain(" ".join(who.last_names)) for who in entry.persons["author"]] == names
        assert int(entry.fields["year"]) == work.get("year", 2026)
        for field, value in (("doi", work.get("doi")), ("url", work.get("url"))):
            assert entry.fields.get(field) == value
    preprint = companion["preferred-citation"]["identifiers"][0]["value"]
    assert preprint == f"arXiv:{CITED['gracheva2024'].fields['eprint']}"
    assert (
        (journal["volume"], journal["issue"])
        == (58, 10)
        == tuple(int(CITED["gracheva2025"].fields[field]) for field in ("volume", "number"))
    )
    assert CITED["epsilon_reproduced"].fields["note"] == f"Version {companion['version']}"


# Which version -------------------------------------------------------------------------------


def test_the_footer_says_version_commit_and_date(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("EPSUTIL_REPOSITORY", "https://github.com/someone/companion")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    start = f'<p class="built">epsutil {epsutil.__version__}'
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.footer() == f"{start}, built on 1970-01-02.</p>"  # not a repository
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "a").write_text("1")
    for command in (["init", "-q"], ["add", "a"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True)
    found = re.fullmatch(
        re.escape(start) + r', commit <a href="https://github.com/someone/companion/commit/'
        r'([0-9a-f]{7,})">\1</a>, built on 1970-01-02\.</p>',
        provenance.footer(),
    )
    assert found
    (tmp_path / "a").write_text("2")
    assert "</a> + changes, built on" in provenance.footer()
    assert str(tmp_path) not in provenance.footer()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://a.github.io/b", "https://a.github.io/b/"),
        ("https://a.org/", "https://a.org/"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_the_address_of_the_site(monkeypatch, given, url):
    monkeypatch.setenv("EPSUTIL_SITE_URL", given)
    assert provenance.site_url() == url


# How to run a page ---------------------------------------------------------------------------


def commands(name):
    return re.findall(r"^\$ (.*)$", BOXES[name], re.MULTILINE)


@pytest.mark.parametrize("name", BOXES)
def test_commands_are_valid(name):
    runs = [shlex.split(command) for command in commands(name) if " run " in command]
    assert [run[:3] for run in runs] == [["epsutil", "run", name]] * 2 and len(runs[1]) > 3
    for run in runs:
        context = cli.run.make_context("run", run[2:])
        values = {key: parameters.value(value) for key, value in context.params["given"]}
        assert parameters.check(name, values) == values
        assert all(parameters.defaults(name)[key] != value for key, value in values.items())


def test_what_a_page_needs_is_fetched_or_named(monkeypatch):
    monkeypatch.setenv("EPSUTIL_RESULTS", str(paths.RECORDED_RESULTS))
    box = provenance.run_box("figure03_search_epsilon").source
    (fetched,) = re.findall(r"^\$ epsutil fetch (.*)$", box, re.MULTILINE)
    assert all(sources.SOURCES[file].url for file in fetched.split())
    assert {"images/cifar-10-python.tar.gz", "nas-bench-201/nats_bench.csv"} <= {*fetched.split()}
    assert "`nas-bench-201/naslib-200epochs-validation.csv`" in box.partition("cannot be")[0]
    assert "fetch" not in provenance.run_box("algorithm01_epsilon").source


def test_a_reader_from_the_web_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setenv("EPSUTIL_REPOSITORY", "https://github.com/someone/companion")
    box = provenance.run_box("algorithm01_epsilon").source
    assert "$ git clone https://github.com/someone/companion.git\n$ cd companion\n" in box
    monkeypatch.setenv("EPSUTIL_REPOSITORY", "nowhere")
    box = provenance.run_box("algorithm01_epsilon").source
    assert "git clone" not in box and "copy of this book's repository" in box
    targets = re.findall(r"^([a-z-]+):", (paths.ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in re.findall(r"^\$ make (\S+)", box, re.MULTILINE)} <= {*targets}


@pytest.mark.slow
def test_the_commands_of_a_page_run_as_printed(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "BUILD", tmp_path / "_build")
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path / "_build" / "results"))
    name = "algorithm01_epsilon"
    for command in commands(name)[-2:]:
        executable, *arguments = shlex.split(command)
        assert executable == "epsutil"
        done = click.testing.CliRunner().invoke(cli.cli, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    for path in re.findall(r"`(_build/[^`]+)`", BOXES[name]):
        assert (tmp_path / path).exists()


def test_a_failing_command_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    with pytest.raises(parameters.ParameterError):
        execution.run("algorithm01_epsilon", {"no_such_parameter": 1})


def test_a_page_built_without_its_data_tells_how_to_fetch_them(monkeypatch, tmp_path):
    name = "table06_weights_nasbench201"
    page = tmp_path / name / "page.json"
    page.parent.mkdir()
    page.write_text('{"sources": {}}')
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path))
    assert "epsutil fetch images/cifar-10-python.tar.gz" in str(provenance.run_box(name))
