"""Run the book's notebooks by papermill, and keep what they made while nothing has changed.

A page of the book is executed at the paper's size, or its recorded execution (``data/results``) is
shown whole: where its data or stored scores are not at hand, and where it takes minutes. Then a
small part of it is computed again and compared. An executed notebook is reused only while all that
it was made from is the same: its source and parameters, this package, the lock, the data at hand
and the results that it wrote.
"""

import hashlib
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pandas as pd
import papermill
import psutil
import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError

from epsutil import paths, sources
from epsutil.book import page, parameters

log = logging.getLogger(__name__)

MEASURED = ("seconds", "stored_seconds", "speedup")  # columns that differ from run to run
AT_ONCE = 2  # notebooks; each takes about a gigabyte, and one core for most of its time


class BuildError(RuntimeError):
    """The site could not be built."""


class NotebookError(BuildError):
    """A cell failed; the message holds its number, its source and its traceback.

    `ename` and `evalue` are class and message of the exception in the notebook.
    """

    def __init__(self, message: str, ename: str, evalue: str) -> None:
        super().__init__(message)
        self.ename, self.evalue = ename, evalue


class Made(NamedTuple):
    """What the site shows of a page."""

    notebook: Path  # executed, its text cells filled
    results: Path  # the folder with its tables and figures
    status: str  # how it came about


def run(
    name: str, given: Mapping[str, Any], output: str | Path | None = None, scale: str = "paper"
) -> Path:
    """Execute a notebook with the given parameters and return where it was written.

    The kernel is the running interpreter, in the project's folder. The output appears under its
    name only when every cell has run; a failed run leaves ``<name>.failed.ipynb`` beside it. Where
    tables and figures go says :func:`results_of`.

    Parameters
    ----------
    name, given
        As for :func:`epsutil.book.parameters.check`.
    output : path, optional
        Where the executed notebook goes, by default ``_build/runs/<name>.ipynb``.
    scale : {"paper", "check", "test"}
        Where the parameters that are not given come from.

    Raises
    ------
    ParameterError, NotebookError, BuildError
        See :mod:`epsutil.book.parameters`; a cell raised an exception; the kernel was killed.
    """
    chosen = parameters.scale(name, scale) | parameters.check(name, given)
    environment = {"EPSUTIL_RESULTS": str(results_of(output))}
    output = Path(output) if output else paths.BUILD / "runs" / f"{name}.ipynb"
    executed = _execute(name, chosen, output.expanduser().resolve(), environment)
    _fill(executed, Path(environment["EPSUTIL_RESULTS"]) / name, page.readable)
    return executed


def results_of(output: str | Path | None) -> Path:
    """Return the folder for the results of a run: beside its notebook, where that has a name."""
    if output is None or os.environ.get("EPSUTIL_RESULTS"):
        return paths.results()
    return Path(output).expanduser().resolve().with_suffix(".results")


def execute_all(scores: Path | None = None, only: Collection[str] = ()) -> dict[str, Made]:
    """Execute the pages of the book, two at a time; return what the site shows of each.

    Parameters
    ----------
    scores : pathlib.Path, optional
        To record the pages: where new scores go instead of the cache. All are then executed, at the
        paper's size.
    only : collection of str
        The pages to execute, by default all.

    Raises
    ------
    NotebookError, BuildError
        A cell raised an exception; a kernel was killed.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {name: pool.submit(_make, name, scores) for name in only or parameters.names()}
        try:
            return {name: future.result() for name, future in running.items()}
        except KeyboardInterrupt:  # only this thread hears of it
            pool.shutdown(wait=False, cancel_futures=True)
            for kernel in psutil.Process().children():
                kernel.send_signal(signal.SIGINT)
            raise
        finally:  # after a failure no other is begun
            pool.shutdown(cancel_futures=True)


def _make(name: str, scores: Path | None) -> Made:
    """Execute a page of the book, or take its record."""
    environment = {"EPSUTIL_SCORES": str(scores)} if scores else {}
    folder = paths.RECORDED_RESULTS / name
    file = folder / "page.json"
    if scores or not file.exists():
        executed = _execute_cached(name, {}, environment, reuse=scores is None)
        return Made(executed, paths.results() / name, LIVE)
    record = json.loads(file.read_text("utf-8"))
    said = f"This page shows a **recorded execution** of {record['created'][:10]}: "
    if record["notebook"] != page.digest(page.read(name)):
        said = said.replace(": ", ", of an earlier version of its code: ")
    recorded = Made(folder / "page.ipynb", folder, said)
    again = f"`epsutil run {name}` makes it anew."
    if absent := [source for source in record["sources"] if not sources.available(source)]:
        listed = " and ".join(f"`{source}`" for source in absent)
        needs = f"the machine that built the site does not have {listed}. With the data, {again}"
        return recorded._replace(status=said + needs)
    small = parameters.scale(name, "check")
    if not small and "check" in parameters.scales(name):
        return recorded._replace(status=f"{said}it takes minutes. {again}")
    try:
        executed = _execute_cached(name, small, environment)
    except NotebookError as error:
        if error.ename not in ("SourceError", "NotStored"):
            raise
        return recorded._replace(status=f"{said}{' '.join(error.evalue.split())}")
    if not small:
        return Made(executed, paths.results() / name, LIVE)
    given = ", ".join(f"`{key} = {value}`" for key, value in small.items())
    same = agreement(folder, paths.results() / name)
    part = f"it takes minutes. As the site was built it ran with {given}, and {same}. {again}"
    return recorded._replace(status=said + part)


LIVE = "Computed when this page was built; stored scores were reused."


def agreement(recorded: Path, anew: Path) -> str:
    """Say how many values of the tables in one folder are those in another.

    Raises
    ------
    BuildError
        One of them is not.
    """
    compared = 0
    for file in sorted(anew.glob("*.csv")):
        if not (recorded / file.name).exists():
            continue
        new, old = pd.read_csv(file), pd.read_csv(recorded / file.name)
        for column in new.columns.intersection(old.columns).difference(MEASURED):
            if len(new) != len(old) or not pd.api.types.is_numeric_dtype(new[column]):
                continue
            both = new[column].notna() & old[column].notna()
            if not np.allclose(new[column][both], old[column][both], rtol=1e-4, atol=1e-6):
                raise BuildError(
                    f"{file}: the column {column} is not that of {recorded / file.name}; find out "
                    "why, or record the page anew: epsutil record"
                )
            compared += int(both.sum())
    return f"{compared:,} values of its tables came out as recorded"


def _this_interpreter(environment: Mapping[str, str]) -> type[AsyncKernelManager]:
    """Return what starts the running interpreter, whatever kernels the machine has registered."""
    # tqdm asks for ipywidgets under every import.
    warnings = filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:IProgress not found"])
    # A page is no place for progress bars, which a busy machine would print into it.
    env = {"PYTHONWARNINGS": ",".join(warnings), "TQDM_DISABLE": "1"}
    # The kernel starts in another folder, where a relative path would mean something else.
    for name in ("EPSUTIL_DATA", "EPSUTIL_CACHE", "EPSUTIL_RESULTS", "EPSUTIL_SCORES"):
        if path := os.environ.get(name):
            env[name] = str(Path(path).expanduser().resolve())
    interpreter = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher"]

    class ThisInterpreter(AsyncKernelManager):
        # Its sockets are local TCP ports, which other users of the machine can reach.
        transport_encryption = "auto" if zmq.has("curve") else "disabled"
        kernel_spec = KernelSpec(
            argv=[*interpreter, "-f", "{connection_file}"],
            language="python",
            env={**env, **environment},
            metadata={"supported_encryption": "curve"},
        )

    return ThisInterpreter


def _execute(
    name: str, values: dict[str, Any], output: Path, environment: Mapping[str, str]
) -> Path:
    logging.getLogger("papermill").setLevel(logging.WARNING)  # it repeats what is said here
    paths.writable(output.parent, "--output names another place")
    paths.writable(paths.results() / name, "EPSUTIL_RESULTS names another folder")
    part = output.with_name(f".{output.stem}.{os.getpid()}.ipynb")
    try:
        papermill.execute_notebook(
            str(paths.NOTEBOOKS / f"{name}.ipynb"),
            str(part),
            parameters=values,
            kernel_name="python3",
            language="python",
            kernel_manager_class=_this_interpreter(environment),
            cwd=str(paths.ROOT),
            progress_bar={"desc": name},
            iopub_timeout=120,  # for a busy machine to hand over a cell's figures
        )
    except (papermill.PapermillExecutionError, DeadKernelError) as error:
        failed = part.replace(output.with_name(f"{output.stem}.failed.ipynb"))
        kept = f"What ran until then is in {failed}"
        if isinstance(error, DeadKernelError):
            raise BuildError(
                f"the kernel of notebooks/{name}.ipynb was killed, most likely for want of memory: "
                f"close other programs or lower its parameters. {kept}"
            ) from None
        raise NotebookError(
            f"notebooks/{name}.ipynb failed in cell [{error.exec_count}]:\n\n"
            f"{error.source}\n\n{plain(chr(10).join(error.traceback))}\n\n{kept}",
            error.ename,
            error.evalue,
        ) from None
    else:
        part.replace(output)
        return output
    finally:
        part.unlink(missing_ok=True)


def _fill(executed: Path, results: Path, form: Callable[[str], str] = str) -> None:
    """Put the filled texts of a page into its executed notebook."""
    file = results / "page.json"
    texts = json.loads(file.read_text("utf-8")).get("texts", {}) if file.exists() else {}
    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        cell.source = form(texts[cell.id]) if cell.id in texts else cell.source
    nbformat.write(notebook, executed)


def _execute_cached(
    name: str, values: dict[str, Any], environment: Mapping[str, str], reuse: bool = True
) -> Path:
    output = paths.BUILD / "executed" / f"{name}.ipynb"
    record = output.with_suffix(".json")
    key = _key(name, values)
    if reuse and output.exists() and record.exists():
        if json.loads(record.read_text("utf-8")) == {"key": key, "results": _results_of(name)}:
            log.info("%s: unchanged, not executed again", name)
            return output
    record.unlink(missing_ok=True)
    log.info("%s: executing", name)
    _execute(name, values, output, environment)
    _fill(output, paths.results() / name)
    if results := _results_of(name):
        part = record.with_suffix(".part")
        part.write_text(json.dumps({"key": key, "results": results}), "utf-8")
        part.replace(record)
    else:
        log.warning("%s wrote no complete page.json, so it will be executed again", name)
    return output


def _key(name: str, values: dict[str, Any]) -> str:
    """Return a digest of everything that an executed notebook depends on."""
    package = Path(__file__).parent.parent
    # What is made of executed notebooks is not imported by them.
    site_only = ("extension", "interactive_data", "pdf", "provenance", "site")
    sources = {file for file in package.rglob("*") if file.parent.name != "__pycache__"}
    sources -= {package / f"book/{name}.py" for name in site_only}
    sources |= {paths.NOTEBOOKS / f"{name}.ipynb", paths.ROOT / "requirements.txt"}
    for folder in (paths.RECORDED_SCORES, paths.PAPER):
        sources |= {*folder.rglob("*")}
    data = [folder for folder in (paths.data(), paths.cache() / "data") if folder]
    given = [file for folder in data for file in sorted(folder.rglob("*")) if file.is_file()]
    # The data are gigabytes, and so they enter without their contents.
    states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in given]
    # What a user has computed by the competing metrics is shown where the book has no more.
    stored = (part.parent.name for part in paths.scores().glob("*/*.parquet"))
    states += sorted({(store, 0, 0) for store in stored if "-epsilon-" not in store})
    return _digest([sys.version, values, states], sources)


def digest(stage: Path) -> str:
    """Return a digest of what the site depends on: its sources, the package, the lock."""
    package = Path(__file__).parent.parent
    lock = paths.ROOT / "requirements.txt"
    return _digest(sys.version, [lock, *stage.rglob("*"), *package.rglob("*.py")])


def plain(text: str) -> str:
    """Return a text without a terminal's colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _results_of(name: str) -> str | None:
    """Return a digest of the results that a notebook wrote, None where it wrote no page."""
    folder = paths.results() / name
    return _digest(None, folder.rglob("*")) if (folder / "page.json").exists() else None


def _digest(value: Any, files: Iterable[Path]) -> str:
    """Return a digest of a value and of the names and contents of files."""
    contents = {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}
    return hashlib.sha256(json.dumps([value, contents], sort_keys=True).encode()).hexdigest()
