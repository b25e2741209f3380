"""Run the book's notebooks with other parameters, and build the site from them.

`run` executes one notebook with papermill, `build` all of them and then jupyter-book. Three things
stand between these tools and a book that can be trusted, and are done here:

* papermill only warns about a parameter that a notebook does not have, so names and types are
  checked against the cell tagged ``parameters`` first, and values against `epsutil.ranges`;
* an executed notebook is reused only while nothing that it was made from has changed: its source
  and parameters, this package, the lock, the data at hand and the results that it wrote;
* times and folders of the machine are removed before anything is published.
"""

import ast
import copy
import difflib
import hashlib
import importlib
import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import papermill
import plotly.offline
import yaml
import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from . import paths, ranges

log = logging.getLogger(__name__)

SCALES = ("quick", "paper", "test")


class ParameterError(ValueError):
    """A notebook, scale or parameter that does not exist, or a value that it cannot have."""


class BuildError(RuntimeError):
    """The site could not be built."""


class NotebookError(BuildError):
    """A cell failed; the message holds its number, its source and its traceback.

    Attributes
    ----------
    ename, evalue : str
        Class and message of the exception in the notebook.
    """

    def __init__(self, message: str, ename: str, evalue: str) -> None:
        super().__init__(message)
        self.ename = ename
        self.evalue = evalue


@dataclass(frozen=True)
class _Parameter:
    name: str
    default: Any
    types: frozenset[str]  # the names in its annotation, if it has one: {"int", "None"}

    def __str__(self) -> str:
        kind = " or ".join(sorted(self.types)) or _kind(self.default)
        return f"{self.name} ({kind}, default {self.default!r})"

    def accepts(self, value: Any) -> bool:
        if value is None:
            return self.default is None or "None" in self.types
        if self.default is None:
            named = self.types - {"None"}
            return not named or _kind(value, inside=False) in named | (
                {"int"} if "float" in named else set()
            )
        return _fits(value, self.default)


def names() -> list[str]:
    """Return the names of the notebooks, which are also those of the pages, in order."""
    return sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))


def parameters(name: str) -> dict[str, Any]:
    """Return a notebook's parameters with their defaults.

    Parameters
    ----------
    name : str
        One of `names`.

    Raises
    ------
    ParameterError
        There is no such notebook, or its cell tagged ``parameters`` is not a list of plain
        assignments.
    """
    return {parameter.name: parameter.default for parameter in _parameters(name)}


def check(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given parameters, or raise where the notebook would not understand them.

    Parameters
    ----------
    name : str
        One of `names`.
    given : mapping of str to object
        Some of the notebook's parameters. An int is accepted, and converted, where the default is a
        float; the elements of a list are held to the types of the default's elements.

    Raises
    ------
    ParameterError
        A name that the notebook does not have, a value of another type than its default, or one
        out of range; see :mod:`epsutil.ranges`.
    """
    known = {parameter.name: parameter for parameter in _parameters(name)}
    valid = "; valid: " + (", ".join(map(str, known.values())) or "none")
    for key, value in given.items():
        if key not in known:
            raise ParameterError(f"{name} has no parameter {key!r}{_closest(key, known)}{valid}")
        if not known[key].accepts(value):
            raise ParameterError(
                f"{name}: {key}={value!r} is {_kind(value)}, but must be "
                f"{' or '.join(sorted(known[key].types)) or _kind(known[key].default)}{valid}"
            )
    values = {key: _convert(value, known[key].default) for key, value in given.items()}
    rules = ranges.rules(name)
    for key, value in values.items():
        if key in rules and (words := rules[key](value)):
            raise ParameterError(f"{name}: {key}={value!r} must be {words}")
    return values


def value(text: str) -> Any:
    """Read a parameter as papermill's ``-p`` does, and a list of them where text starts with [.

    Parameters
    ----------
    text : str
        ``True``, ``False``, ``None``, what Python reads as an int or a float, or a YAML list of
        these; all else stays text. YAML's own rules for numbers are not used: it takes 010 for 8,
        12:30:45 for 45045, and 1e-7 for text.

    Raises
    ------
    ParameterError
        A list that is not closed, and the like.

    Examples
    --------
    >>> value("010"), value("1e-7"), value("[cifar10, 1e-7, [None]]"), value("12:30:45")
    (10, 1e-07, ['cifar10', 1e-07, [None]], '12:30:45')
    """
    return _yaml(text) if text.lstrip().startswith("[") else _scalar(text)


def injected(cells: Iterable[str]) -> set[str]:
    """Return the names that papermill gave a value, from the sources of the cells that ran."""
    return {
        node.id
        for cell in cells
        if cell.startswith("# Parameters\n")  # as papermill begins the cell that it adds
        for node in ast.walk(ast.parse(cell))
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Store)
        and not node.id.startswith("PAPERMILL_")  # the paths that it adds on request
    }


def scale(name: str, scale: str) -> dict[str, Any]:
    """Return the parameters that a notebook takes at a scale, from ``notebooks/scales.yml``.

    Parameters
    ----------
    name : str
        One of `names`.
    scale : {"quick", "paper", "test"}
        What a laptop recomputes in minutes, the paper's own sizes, or the smallest run that still
        passes through every cell.

    Raises
    ------
    ParameterError
        There is no such scale or notebook, or the file names a parameter that the notebook lacks.
    """
    if scale not in SCALES:
        raise ParameterError(
            f"there is no scale {scale!r}{_closest(scale, SCALES)}; valid: {', '.join(SCALES)}"
        )
    file = paths.NOTEBOOKS / "scales.yml"
    scales = _yaml(file.read_text("utf-8")) if file.exists() else None
    of_notebook = (scales or {}).get(name) or {}
    return check(name, of_notebook.get(scale) or {})


def run(
    name: str, given: Mapping[str, Any], output: str | Path | None = None, scale: str = "quick"
) -> Path:
    """Execute a notebook with the given parameters and return where it was written.

    The kernel is the running interpreter, in the project's folder. The output appears under its
    name only when every cell has run; a failed run leaves ``<name>.failed.ipynb`` beside it.

    Parameters
    ----------
    name : str
        One of `names`.
    given : mapping of str to object
        Parameters that replace those of the scale.
    output : path, optional
        Where the executed notebook goes, by default ``_build/runs/<name>.ipynb``.
    scale : {"quick", "paper", "test"}
        Where the parameters that are not given come from.

    Raises
    ------
    ParameterError
        See `check`.
    NotebookError
        A cell raised an exception.
    """
    chosen = _at_scale(name, scale) | check(name, given)
    output = Path(output) if output else paths.BUILD / "runs" / f"{name}.ipynb"
    return _execute(name, chosen, output.expanduser().resolve(), {"EPSUTIL_SCALE": scale})


def build(scale: str = "quick") -> Path:
    """Execute all notebooks, build the site and return its ``index.html``.

    A notebook whose sources have not changed since it was last executed is not executed again. The
    site of an earlier build stays in place until the new one is complete.

    Parameters
    ----------
    scale : {"quick", "paper", "test"}
        How much is recomputed.

    Raises
    ------
    NotebookError
        A cell raised an exception.
    BuildError
        jupyter-book failed or warned.
    """
    return _build_site(_stage(execute_all(scale)))


def execute_all(
    scale: str = "quick", scores: Path | None = None, only: Collection[str] = ()
) -> dict[str, Path]:
    """Execute all notebooks and return where each was written.

    What a notebook cannot compute for want of data it takes from the recorded results.

    Parameters
    ----------
    scale : {"quick", "paper", "test"}
        How much is recomputed.
    only : collection of str
        The notebooks to execute, by default all.
    scores : pathlib.Path, optional
        Where new score stores go instead of the cache. All notebooks are then executed, even those
        that have not changed.

    Raises
    ------
    NotebookError
        A cell raised an exception.
    """
    # mistakes show before any work
    chosen = {name: _at_scale(name, scale) for name in only or names()}
    environment = {"EPSUTIL_FALLBACK": "1", "EPSUTIL_SCALE": scale}
    environment |= {"EPSUTIL_SCORES": str(scores)} if scores else {}
    return {
        name: _execute_cached(name, values, environment, reuse=scores is None)
        for name, values in chosen.items()
    }


# --- Parameters ---------------------------------------------------------------------------------

_at_scale = scale  # `run` and `build` have a parameter of this name


def _yaml(text: str) -> Any:
    """Read YAML, its scalars as papermill reads them."""

    def read(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: read(element) for key, element in found.items()}
        return [read(element) for element in found] if isinstance(found, list) else _scalar(found)

    try:
        return read(yaml.load(text, yaml.BaseLoader))  # which leaves every scalar a text
    except (yaml.YAMLError, RecursionError) as error:  # the latter for a list inside itself
        raise ParameterError(f"not a value: {text!r} ({' '.join(str(error).split())})") from error


def _scalar(text: str) -> Any:
    """Read a scalar as ``papermill.cli`` does."""
    named = {"True": True, "False": False, "None": None}
    if text in named:
        return named[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _parameters(name: str) -> list[_Parameter]:
    cells = [
        cell
        for cell in _read(name).cells
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])
    ]
    if len(cells) != 1:
        raise ParameterError(
            f"notebooks/{name}.ipynb needs exactly one cell tagged 'parameters', has {len(cells)}"
        )
    return list(_assignments(name, cells[0].source))


def _assignments(name: str, source: str) -> Iterator[_Parameter]:
    """Yield the assignments of a parameters cell, which is read but never run."""
    for statement in ast.parse(source).body:
        target: ast.expr | None = None
        value: ast.expr | None = None
        annotation: ast.expr | None = None
        if isinstance(statement, ast.AnnAssign):
            target, value, annotation = statement.target, statement.value, statement.annotation
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a text that explains
        try:
            if not isinstance(target, ast.Name) or value is None:
                raise ValueError
            default = ast.literal_eval(value)
        except ValueError:
            raise ParameterError(
                f"notebooks/{name}.ipynb: a parameter is a plain `name = value`, not "
                f"`{ast.unparse(statement)}`"
            ) from None
        yield _Parameter(target.id, default, _annotated(annotation))


def _annotated(annotation: ast.expr | None) -> frozenset[str]:
    """Return the types of ``int | None`` as ``{"int", "None"}``; a list's come from its default."""
    if annotation is None:
        return frozenset()
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _annotated(annotation.left) | _annotated(annotation.right)
    return frozenset({ast.unparse(annotation).partition("[")[0]})


def _read(name: str) -> Any:
    file = paths.NOTEBOOKS / f"{name}.ipynb"
    if name not in names():
        raise ParameterError(
            f"there is no notebook {name!r}{_closest(name, names())}; "
            f"valid: {', '.join(names()) or 'none'}"
        )
    return nbformat.read(file, as_version=4)


def _closest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _kind(value: Any, inside: bool = True) -> str:
    """Name a value's type for people: int, list of float, None."""
    if value is None:
        return "None"
    if isinstance(value, list | tuple):
        elements = sorted({_kind(element) for element in value}) if inside else []
        return "list" + (f" of {' or '.join(elements)}" if elements else "")
    return type(value).__name__


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple) and (
            not default or all(any(_fits(v, d) for d in default) for v in value)
        )
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def _convert(value: Any, default: Any) -> Any:
    if isinstance(value, list | tuple):
        element = default[0] if isinstance(default, list | tuple) and default else None
        return [_convert(v, element) for v in value]
    return float(value) if isinstance(default, float) and value is not None else value


# --- Execution ----------------------------------------------------------------------------------


def _this_interpreter(environment: Mapping[str, str]) -> type[AsyncKernelManager]:
    """Return what starts the running interpreter, whatever kernels the machine has registered."""
    # Progress bars are text on a page; tqdm would ask for ipywidgets under every import.
    warnings = filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:IProgress not found"])
    relative = ("EPSUTIL_DATA", "EPSUTIL_CACHE", "EPSUTIL_RESULTS", "EPSUTIL_SCORES")
    # The kernel starts in another folder, where a relative path would mean something else.
    moved = {v: str(Path(os.environ[v]).expanduser().resolve()) for v in relative if _is_set(v)}
    spec = KernelSpec(
        argv=[sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher"]
        + ["-f", "{connection_file}"],
        language="python",
        env={"PYTHONWARNINGS": ",".join(warnings), **moved, **environment},
        metadata={"supported_encryption": "curve"},
    )

    class ThisInterpreter(AsyncKernelManager):
        # Its sockets are local TCP ports, which other users of the machine can reach.
        transport_encryption = "auto" if zmq.has("curve") else "disabled"
        kernel_spec = spec

    return ThisInterpreter


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable))


def _execute(
    name: str, values: dict[str, Any], output: Path, environment: Mapping[str, str] | None = None
) -> Path:
    logging.getLogger("papermill").setLevel(logging.WARNING)  # it repeats what is said here
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.stem}.{os.getpid()}.ipynb")
    try:
        papermill.execute_notebook(
            str(paths.NOTEBOOKS / f"{name}.ipynb"),
            str(part),
            parameters=values,
            kernel_name="python3",
            language="python",
            kernel_manager_class=_this_interpreter(environment or {}),
            cwd=str(paths.ROOT),
            progress_bar={"desc": name},
            iopub_timeout=120,  # for a busy machine to hand over a cell's figures
        )
    except papermill.PapermillExecutionError as error:
        failed = output.with_name(f"{output.stem}.failed.ipynb")
        part.replace(failed)
        raise NotebookError(
            f"notebooks/{name}.ipynb failed in cell [{error.exec_count}]:\n\n"
            f"{error.source}\n\n{_plain(chr(10).join(error.traceback))}\n\n"
            f"What ran until then is in {failed}",
            error.ename,
            error.evalue,
        ) from None
    else:
        part.replace(output)
        return output
    finally:
        part.unlink(missing_ok=True)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _execute_cached(
    name: str, values: dict[str, Any], environment: Mapping[str, str], reuse: bool = True
) -> Path:
    output = paths.BUILD / "executed" / f"{name}.ipynb"
    record = output.with_suffix(".json")
    key = _key(name, {**values, **environment})
    if reuse and output.exists() and record.exists():
        if json.loads(record.read_text("utf-8")) == {"key": key, "results": _results_of(name)}:
            log.info("%s: unchanged, not executed again", name)
            return output
    record.unlink(missing_ok=True)
    log.info("%s: executing", name)
    _execute(name, values, output, environment)
    results = _results_of(name)
    if results is None:
        log.warning("%s wrote no complete page.json, so it will be executed again", name)
    else:
        part = record.with_suffix(".part")
        part.write_text(json.dumps({"key": key, "results": results}), "utf-8")
        part.replace(record)
    return output


def _key(name: str, values: dict[str, Any]) -> str:
    """Return a digest of everything that an executed notebook depends on."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    digest.update(json.dumps([sys.version, values], sort_keys=True).encode())
    sources = [paths.NOTEBOOKS / f"{name}.ipynb", paths.ROOT / "requirements.txt"]
    recorded = (paths.RECORDED_SCORES, paths.RECORDED_RESULTS, paths.PAPER)
    _add_contents(digest, [*sources, *package.rglob("*.py"), *package.rglob("*.txt")])
    for folder in recorded:
        _add_contents(digest, folder.rglob("*"))
    for given in (paths.data(), paths.cache() / "data"):  # gigabytes: not their contents
        for file in sorted(given.rglob("*")) if given else []:
            if file.is_file():
                state = file.stat()
                digest.update(f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _results_of(name: str) -> str | None:
    """Return a digest of the results that a notebook wrote, None where its page is incomplete.

    It is where scores were not stored, which may be by now.
    """
    folder = paths.results() / name
    page = folder / "page.json"
    if not page.exists() or json.loads(page.read_text("utf-8")).get("unstored"):
        return None
    digest = hashlib.sha256()
    _add_contents(digest, folder.rglob("*"))
    return digest.hexdigest()


def _add_contents(digest: Any, files: Iterable[Path]) -> None:
    for file in sorted(files):
        if file.is_file():
            content = file.read_bytes()
            digest.update(f"{file}\0{len(content)}\0".encode())
            digest.update(content)


# --- The site -----------------------------------------------------------------------------------


def _stage(executed: Mapping[str, Path]) -> Path:
    """Gather what jupyter-book reads: configuration, pages, notebooks and their results."""
    stage = paths.BUILD / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    shutil.copytree(paths.BOOK, stage / "book", ignore=shutil.ignore_patterns("_static"))
    if (paths.BOOK / "_static").is_dir():
        shutil.copytree(paths.BOOK / "_static", stage / "_static")
    shutil.copy(paths.ROOT / "_toc.yml", stage)
    _write_config(stage)

    (stage / "notebooks").mkdir()
    for name, file in executed.items():
        notebook = publishable(nbformat.read(file, as_version=4))
        nbformat.write(notebook, stage / "notebooks" / f"{name}.ipynb")
        if (paths.results() / name).is_dir():
            shutil.copytree(paths.results() / name, stage / "results" / name)

    # Interactive plots load this one copy by a relative address; no other page loads it.
    (stage / "_extra").mkdir()
    (stage / "_extra" / "plotly.min.js").write_text(plotly.offline.get_plotlyjs(), "utf-8")

    _generate(stage / "book" / "_generated")
    return stage


def _generate(folder: Path) -> None:
    """Write what pages include from the results: the scoreboard and the table of sources."""
    if importlib.util.find_spec("epsutil.results"):
        importlib.import_module("epsutil.results").generate(folder)


def publishable(notebook: Any) -> Any:
    """Return a copy of an executed notebook without times, folders and papermill's notes.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        As papermill wrote it.
    """
    notebook = copy.deepcopy(notebook)
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    notebook.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in cell.metadata.get("tags", []):  # there, but folded
            cell.metadata.tags = [*cell.metadata.tags, "hide-input"]
            cell.metadata.mystnb = {
                "code_prompt_show": "Parameters of this run",
                "code_prompt_hide": "Parameters of this run",
            }
        if "outputs" in cell:
            cell.outputs = [_without_folders(output) for output in cell.outputs]
            for output in cell.outputs:  # is there for Jupyter; pages take the HTML beside it
                output.get("data", {}).pop("application/vnd.plotly.v1+json", None)
    return notebook


def _without_folders(output: Any) -> Any:
    """Replace this machine's folders in a cell's output."""
    if isinstance(output, Mapping):
        return nbformat.NotebookNode({k: _without_folders(v) for k, v in output.items()})
    if isinstance(output, list):
        return [_without_folders(element) for element in output]
    if isinstance(output, str):
        for folder, instead in _folders():
            output = re.sub(rf"(?<![\w.~-]){re.escape(folder)}(?![\w-])", instead, output)
    return output


def _folders() -> list[tuple[str, str]]:
    """Return this machine's folders and what stands for them, inner folders first."""
    found = {
        Path.home(): "~",
        paths.ROOT: ".",
        Path(sys.prefix): "$VIRTUAL_ENV",
        paths.cache(): "$EPSUTIL_CACHE",
    }
    if data := paths.data():
        found[data] = "$EPSUTIL_DATA"
    names = {str(folder): instead for folder, instead in found.items() if folder != Path("/")}
    return sorted(names.items(), key=lambda item: -len(item[0]))


def _write_config(stage: Path) -> None:
    """Write ``_config.yml`` with the repository's address, where there is one."""
    config = yaml.safe_load((paths.ROOT / "_config.yml").read_text("utf-8"))
    url, branch = repository()
    if url:
        config["repository"] = {"url": url, "branch": branch}
        config["html"] |= {"use_repository_button": True, "use_issues_button": True}
        if urlsplit(url).hostname == "github.com":
            config["launch_buttons"] = {
                "notebook_interface": "jupyterlab",
                "binderhub_url": "https://mybinder.org",
                "colab_url": "https://colab.research.google.com",
            }
    (stage / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")


def repository() -> tuple[str | None, str]:
    """Return the project's public address and branch, for the pages' buttons.

    The address is ``EPSUTIL_REPOSITORY`` or, where that is unset, Git's ``origin``; None where
    neither is a web address that a reader could open.
    """
    given = os.environ.get("EPSUTIL_REPOSITORY") or _git("remote", "get-url", "origin")
    ssh = re.fullmatch(r"(?:ssh://)?git@([\w.-]+)[:/](.+)", given)
    url = urlsplit(f"https://{ssh[1]}/{ssh[2]}" if ssh else given)
    if url.scheme not in ("http", "https") or not url.hostname or "." not in url.hostname:
        return None, "main"
    path = url.path.rstrip("/").removesuffix(".git")
    branch = _git("rev-parse", "--abbrev-ref", "HEAD")
    # Only host and path: a remote may hold a password.
    return f"https://{url.hostname}{path}", branch if branch not in ("", "HEAD") else "main"


def _git(*arguments: str) -> str:
    try:
        command = ["git", "-C", str(paths.ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _build_site(stage: Path) -> Path:
    work = paths.BUILD / "site"
    shutil.rmtree(work, ignore_errors=True)
    log.info("building the site")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["-W", "-n", "--keep-going", "--all", "--path-output", str(work)]
    done = subprocess.run(
        [*command, "build", str(stage), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    (paths.BUILD / "build.log").write_text(done.stdout, "utf-8")
    built = work / "_build" / "html"
    if done.returncode or not (built / "index.html").exists():
        raise BuildError(f"jupyter-book failed or warned:\n\n{_plain(done.stdout).strip()}")
    site = paths.BUILD / "html"
    shutil.rmtree(site, ignore_errors=True)
    built.replace(site)
    shutil.rmtree(work, ignore_errors=True)
    return site / "index.html"
