"""What is committed fits together: lock, project file, environment, notebooks, pages."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import epsutil
from epsutil import paths
from epsutil.book import parameters

PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
SOURCES = [
    *NOTEBOOKS,
    *(file for file in paths.BOOK.rglob("*") if file.suffix in (".md", ".css", ".js", ".html")),
    *(paths.ROOT / name for name in ("_config.yml", "_toc.yml")),
]


def requirements(text):
    """Yield the requirements of a requirements file, without comments and options."""
    for line in text.splitlines():
        line = line.partition(" #")[0].strip()
        if line and not line.startswith(("#", "-")):
            yield Requirement(line)


LOCK = {
    canonicalize_name(entry.name): entry
    for entry in requirements((paths.ROOT / "requirements.txt").read_text("utf-8"))
}


def test_lock_pins_everything_to_one_public_version():
    for entry in LOCK.values():
        pin = re.fullmatch(r"==([^,*+]+)", str(entry.specifier))
        assert pin and entry.url is None, f"{entry}: not an exact public version"
    assert str(LOCK["torch"]) == "torch==2.13.0"
    # pip takes these with the CUDA build of torch, and only there.
    assert [name for name in LOCK if re.match(r"nvidia-|cuda-|triton", name)] == []


def test_lock_holds_what_the_project_asks_for():
    wanted = [*map(Requirement, PROJECT["dependencies"])]
    wanted += [
        Requirement(text)
        for extra in ("book", "test")
        for text in PROJECT["optional-dependencies"][extra]
    ]
    wanted += requirements((paths.ROOT / "requirements.in").read_text("utf-8"))
    for requirement in wanted:
        entry = LOCK.get(canonicalize_name(requirement.name))
        assert entry is not None, f"{requirement} is not in requirements.txt; run `make lock`"
        version = str(entry.specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement}: the lock has {version}"


def test_imports_are_declared():
    """What comes along with another package today may not tomorrow."""
    declared = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["book"]]
    declared = {canonicalize_name(Requirement(text).name) for text in declared}
    provides = packages_distributions()
    missing = set()
    for file in (paths.ROOT / "epsutil").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                modules = [node.module]
            else:
                continue
            for module in {module.partition(".")[0] for module in modules}:
                if module in sys.stdlib_module_names or module == "epsutil":
                    continue
                if not declared & {canonicalize_name(d) for d in provides.get(module, [])}:
                    missing.add(f"{file.name}: {module}")
    assert missing == set()


def test_conda_environment_is_the_lock():
    environment = yaml.safe_load((paths.ROOT / "environment.yml").read_text("utf-8"))
    assert environment["name"] == PROJECT["name"]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (from_pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert sorted(conda) == ["pip", "python=3.11"]  # every other version is the lock's
    assert [line for line in from_pip if not line.startswith("--extra-index-url ")] == [
        "-r requirements.txt",
        "-e .",
    ]
    assert Requirement(f"x{PROJECT['requires-python']}").specifier.contains("3.11.0")
    locked_for = re.search(
        r"with Python (\d+\.\d+)", (paths.ROOT / "requirements.txt").read_text("utf-8")
    )
    assert locked_for and f"python={locked_for[1]}" in conda


def test_versions_agree():
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == epsutil.__version__
    assert Version(epsutil.__version__)
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert citation["preferred-citation"]["license"] == "CC-BY-4.0"


def test_every_module_is_one_of_the_package():
    """A folder without __init__.py would be left out of the package without a word."""
    package = paths.ROOT / "epsutil"
    folders = {file.parent for file in package.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_contents_list_every_notebook():
    toc = (paths.ROOT / "_toc.yml").read_text("utf-8")
    listed = re.findall(r"file: notebooks/(\S+)", toc)
    assert sorted(listed) == parameters.names()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_notebook_is_committed_unexecuted(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert "papermill" not in notebook.metadata and "widgets" not in notebook.metadata
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for scale in parameters.SCALES:
        parameters.scale(file.stem, scale)  # names and types in scales.yml fit
    parameters.check(file.stem, parameters.defaults(file.stem))  # defaults fit themselves


def test_scales_are_of_notebooks_that_exist():
    file = paths.NOTEBOOKS / "scales.yml"
    scales = yaml.safe_load(file.read_text("utf-8")) if file.exists() else {}
    assert set(scales) <= set(parameters.names())
    assert {name for scale in scales.values() for name in scale} <= set(parameters.SCALES)


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(paths.ROOT)))
def test_sources_name_no_machine_and_load_from_no_host(file):
    text = file.read_text("utf-8")
    folders = r"""(?<![\w./~$-])(/(home|Users|work|root|tmp|mnt|opt|var)/[\w.]|[A-Z]:\\\\?\w)"""
    assert [match[0] for match in re.finditer(folders, text)] == []
    loaded = (
        r"""<(script|link|img|iframe)\b[^>]*?(src|href)\s*=\s*\\?['"]?(https?:)?//[^'">\s]+"""
        r"""|@import[^;]*//[^;]+|url\(\s*['"]?(https?:)?//[^)]+"""
        r"""|!\[[^\]]*\]\((https?:)?//[^)]+"""
    )
    assert [match[0] for match in re.finditer(loaded, text, re.IGNORECASE)] == []


WORKFLOW = yaml.load(
    (paths.ROOT / ".github" / "workflows" / "book.yml").read_text("utf-8"), yaml.BaseLoader
)


def steps(job):
    return WORKFLOW["jobs"][job]["steps"]


def test_the_workflow_runs_the_commands_of_the_makefile():
    targets = re.findall(r"^([a-z-]+):", (paths.ROOT / "Makefile").read_text(), re.MULTILINE)
    runs = [step["run"].split() for job in WORKFLOW["jobs"] for step in steps(job) if "run" in step]
    assert [run for run in runs if run[0] != "make" or not {*run[1:]} <= {*targets}] == []
    assert [run[1] for run in runs] == ["install", "lint", "test", "book", "site-test"]


def test_the_workflow_publishes_what_was_tested():
    assert WORKFLOW["jobs"]["deploy"]["needs"] == "build"
    used = [step["uses"] for job in WORKFLOW["jobs"] for step in steps(job) if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)
    assert [action.partition("@")[0] for action in used] == [
        "actions/checkout",
        "actions/setup-python",
        "actions/cache",
        "actions/upload-pages-artifact",
        "actions/deploy-pages",
    ]
    (upload,) = [step for step in steps("build") if "upload-pages" in step.get("uses", "")]
    assert upload == steps("build")[-1] and upload["with"]["path"] == "_build/html"
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert WORKFLOW["jobs"]["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    (setup,) = [step for step in steps("build") if "setup-python" in step.get("uses", "")]
    assert f"python={setup['with']['python-version']}" in str(
        yaml.safe_load((paths.ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    )
