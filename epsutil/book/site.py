"""Build the static site from executed notebooks, and record what they made.

Times and folders of the machine are removed before anything is published.
"""

import copy
import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pandas as pd
import plotly.offline
import yaml
from PIL import Image

from epsutil import paths, sources
from epsutil.book import execution, interactive_data, page, parameters, provenance, tables
from epsutil.book.execution import BuildError
from epsutil.book.page import MYST, PLOTLY, readable
from epsutil.names import ITEMS

log = logging.getLogger(__name__)


def build() -> Path:
    """Execute all pages, build the site and return its ``index.html``.

    A notebook whose sources have not changed since it was last executed is not executed again. The
    site of an earlier build stays in place until the new one is complete.

    Raises
    ------
    NotebookError, BuildError
        A cell raised an exception; jupyter-book failed or warned.
    """
    return _build_site(_stage(execution.execute_all()))


def record(made: Mapping[str, execution.Made]) -> list[Path]:
    """Keep executed pages as the project's records; return the folders written."""
    written = []
    for name, shown in made.items():
        target = paths.RECORDED_RESULTS / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(shown.results, target)
        notebook = publishable(nbformat.read(shown.notebook, as_version=4))
        for cell in notebook.cells:
            if cell.cell_type == "code":  # interactive plots hold benchmark data
                cell.outputs = [o for o in cell.outputs if PLOTLY not in o.get("data", {})]
        nbformat.write(notebook, target / "page.ipynb")
        written.append(target)
    return written


def _stage(made: Mapping[str, execution.Made]) -> Path:
    """Gather what jupyter-book reads: configuration, pages, notebooks and their results."""
    stage = paths.BUILD / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    shutil.copytree(paths.BOOK, stage / "book", ignore=shutil.ignore_patterns("_*"))
    shutil.copytree(paths.BOOK / "_static", stage / "_static")
    shutil.copy(paths.ROOT / "_toc.yml", stage)
    _write_config(stage)

    for folder in ("notebooks", "_extra"):
        (stage / folder).mkdir()
    for name, shown in made.items():
        notebook = nbformat.read(shown.notebook, as_version=4)
        _take_plots(notebook, stage / "_extra" / "plots" / name)
        notebook = publishable(notebook)
        _open(notebook, shown.status)
        notebook.cells.append(provenance.run_box(name))
        nbformat.write(notebook, stage / "notebooks" / f"{name}.ipynb")
        if shown.results.is_dir():
            shutil.copytree(shown.results, stage / "results" / name)

    # Interactive plots load this one copy by a relative address.
    (stage / "_extra" / "plotly.min.js").write_text(plotly.offline.get_plotlyjs(), "utf-8")
    if (paths.BOOK / "_play").is_dir():
        interactive_data.write(stage / "_extra" / "play")  # loaded by the pages to play with alone
    generate(stage / "book" / "_generated", {name: shown.results for name, shown in made.items()})
    return stage


def generate(folder: Path, results: Mapping[str, Path]) -> None:
    """Write the parts of pages that the build makes, for the book to include from a folder.

    `results` are the pages' folders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [of_page / "scoreboard.csv" for _, of_page in sorted(results.items())]
    boards = [pd.read_csv(file) for file in files if file.exists()]
    board = pd.concat(boards) if boards else pd.DataFrame(columns=list(tables.SCOREBOARD))
    parts = {
        "scoreboard": tables.scoreboard(board),
        "reasons": _reasons(results),
        "beyond": _beyond(results),
        "findings": _findings(results),
        "sources": tables.source_list(sources.table()),
        "changelog": (paths.ROOT / "CHANGELOG.md").read_text("utf-8"),
    }
    for name, text in parts.items():
        (folder / f"{name}.md").write_text(text, "utf-8")


def _said(results: Mapping[str, Path], name: str, tag: str) -> str:
    """Return the text cell of a page that has a tag, "" where there is none."""
    file = results.get(name, Path()) / "page.json"
    record = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return record["texts"][record["tagged"][tag]] if tag in record.get("tagged", {}) else ""


def _reasons(results: Mapping[str, Path]) -> str:
    """List what the pages say on why their values differ from the paper's.

    A page on an item has the item's short name, as `table01_checks` has `table01`.
    """
    items = []
    for item, own in ITEMS.items():
        others = {name for name in parameters.names() if name.startswith(f"{_short(own)}_")}
        for name in (own, *sorted(others - {own})):
            if why := _said(results, name, "why"):
                items.append(f"- [{item}](../notebooks/{name}.ipynb): {readable(why)}")
    return "\n".join(items) + "\n"


def _beyond(results: Mapping[str, Path]) -> str:
    """List what came out on the pages that go beyond the paper, in the order of the contents."""
    contents = (paths.ROOT / "_toc.yml").read_text("utf-8")
    of_items = {_short(name) for name in ITEMS.values()}
    items = []
    for name in re.findall(r"notebooks/(\w+)", contents):
        found = _said(results, name, "found")
        if found and _short(name) not in of_items:
            title = page.read(name).cells[0].source.splitlines()[0].lstrip("# ")
            items.append(f"[{title}](../notebooks/{name}.ipynb)\n: {readable(found)}\n")
    return "\n".join(items) + "\n"


def _short(name: str) -> str:
    return name.partition("_")[0]


def _findings(results: Mapping[str, Path]) -> str:
    """Say what the landing page begins with, from the results of three pages.

    The texts are in ``book/_findings``; they name a row of the page's table, and its column.
    """
    tables_of = {  # which rows, and by what they are named
        "table01_nasbench201/table01": ("source", "metric == 'epsilon' and dataset == 'cifar10'"),
        "coverage/coverage": ("evaluated", "space == 'nasbench201'"),
        "table02_search/table02": ("method", "dataset == 'cifar10' and pool == 1000 and test > 0"),
        "unseen_space/unseen": ("metric", "n > 0"),
    }
    some = "the {n_scored:,.0f} of {n:,.0f} architectures that have an epsilon"
    every = "all {n:,.0f} architectures"
    items = []
    for table, (name, where) in tables_of.items():
        file = results.get(table.partition("/")[0], Path()).parent / f"{table}.csv"
        if file.exists():
            found = pd.read_csv(file).query(where).to_dict("records")
            for row in found:
                row["over"] = (some if row["n_scored"] < row["n"] else every).format(**row)
            text = (paths.BOOK / "_findings" / f"{file.parent.name}.md").read_text("utf-8")
            with suppress(KeyError):  # a search that was not run
                items.append(text.format_map({row[name]: row for row in found}))
    return "\n".join(items) + "\n"


def publishable(notebook: Any) -> Any:
    """Return a copy of an executed notebook without times, folders and papermill's notes."""
    notebook = copy.deepcopy(notebook)
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata.kernelspec = kernel
    notebook.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
    cells: list[Any] = []
    for cell in notebook.cells:
        if "caption" in cell.metadata.get("tags", []):  # it is in the table or figure
            continue
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in cell.metadata.get("tags", []):  # there, but folded
            cell.metadata.tags = [*cell.metadata.tags, "hide-input"]
            prompts = ("code_prompt_show", "code_prompt_hide")
            cell.metadata.mystnb = dict.fromkeys(prompts, "Parameters of this run")
        if "outputs" in cell:
            cell.outputs = _without_folders(cell.outputs)
        texts = _texts(cell)
        if cells and _is_folded(cell) and _is_folded(cells[-1]) and not cells[-1].outputs:
            cells[-1].source += f"\n\n\n{cell.source}"
            cells[-1].outputs = cell.outputs
        else:
            cells.append(cell)
        cells += texts
    notebook.cells = cells
    return notebook


_PLOT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ margin: 0; background: #fff; }}</style>
<script src="../../plotly.min.js"></script></head><body>{html}</body></html>
"""


def _take_plots(notebook: Any, folder: Path) -> None:
    """Put interactive plots, megabytes each, into files of their own, loaded when they are seen."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if PLOTLY not in output.get("data", {}):
                continue
            plot, html = output.data[PLOTLY], output.data["text/html"]
            key = re.findall(r'id="plot-([\w-]+)"', html)[0]
            title = f"Interactive plot: {key}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{key}.html").write_text(_PLOT.format(title=title, html=html), "utf-8")
            height = plot["layout"].get("height", 450)
            frame = (
                f'<iframe class="plot" data-src="../plots/{folder.name}/{key}.html" '
                f'title="{title}" style="height: {height}px"></iframe>\n'
            )
            output.data = nbformat.from_dict({MYST: frame})


def _open(notebook: Any, status: str) -> None:
    """Say below the title what the page found, and how it came about."""
    tagged = [c for c in notebook.cells if "found" in c.metadata.get("tags", ())]
    for cell in tagged:
        notebook.cells.remove(cell)
    said = {"found": "\n\n".join(cell.source for cell in tagged), "status": status}
    text = "".join(f":::{{div}} {kind}\n{text}\n:::\n\n" for kind, text in said.items() if text)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(text, id="opening"))


def _is_folded(cell: Any) -> bool:
    """Return whether a cell's code is folded; one box of code is enough for cells in a row."""
    tags = cell.metadata.get("tags", [])
    return cell.cell_type == "code" and "hide-input" in tags and "injected-parameters" not in tags


def _texts(cell: Any) -> list[Any]:
    """Take a cell's tables, figures and texts out of its outputs, and return them as cells."""
    outputs = cell.get("outputs", [])
    texts = [output.data[MYST] for output in outputs if MYST in output.get("data", {})]
    if texts:  # a progress bar is no part of a page
        left = [output for output in outputs if MYST not in output.get("data", {})]
        cell.outputs = [output for output in left if output.output_type != "stream"]
    return [
        nbformat.v4.new_markdown_cell(text, id=f"{cell.id}-{number}")
        for number, text in enumerate(filter(None, texts))
    ]


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
    found = {Path.home(): "~", paths.ROOT: ".", Path(sys.prefix): "$VIRTUAL_ENV"}
    found |= {paths.cache(): "$EPSUTIL_CACHE", paths.data() or Path("/"): "$EPSUTIL_DATA"}
    names = {str(folder): instead for folder, instead in found.items() if folder != Path("/")}
    return sorted(names.items(), key=lambda item: -len(item[0]))


def _write_config(stage: Path) -> None:
    """Write ``_config.yml`` with the repository's address, where there is one."""
    config = yaml.safe_load((paths.ROOT / "_config.yml").read_text("utf-8"))
    url, branch = provenance.repository()
    config["html"]["extra_footer"] += provenance.footer()
    if address := provenance.site_url():
        config["html"]["baseurl"] = address
        config["sphinx"]["config"]["extensions"].append("sphinx_sitemap")
        config["sphinx"]["config"] |= {
            "ogp_site_url": address,
            "ogp_image": "_images/nasbench101.png",  # of Figure 2
            "sitemap_url_scheme": "{link}",
            "sitemap_excludes": ["search.html", "genindex.html"],
        }
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


def _build_site(stage: Path) -> Path:
    work, site, record = (paths.BUILD / name for name in ("site", "html", "site.key"))
    key = execution.digest(stage)
    if (site / "index.html").exists() and record.exists() and record.read_text("utf-8") == key:
        log.info("the site: unchanged, not built again")
        return site / "index.html"
    record.unlink(missing_ok=True)
    log.info("building the site")
    # On the site 64 colours are enough; the file is a fifth as large.
    for file in (stage / "results").rglob("*.png"):
        few = Image.open(file).convert("RGB").quantize(64, dither=Image.Dither.NONE)
        few.save(file, optimize=True)
    built = sphinx(stage, work, "html")
    shutil.rmtree(site, ignore_errors=True)
    built.replace(site)
    record.write_text(key, "utf-8")
    shutil.rmtree(work, ignore_errors=True)
    return site / "index.html"


def sphinx(stage: Path, work: Path, builder: str) -> Path:
    """Build what is staged in an empty folder, by jupyter-book; return the folder of the pages.

    Raises
    ------
    BuildError
        jupyter-book failed or warned.
    """
    shutil.rmtree(work, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", str(stage), "--path-output", str(work), "--builder", builder]
    command += ["-W", "-n", "--keep-going", "--all"]
    report = paths.BUILD / "build.log"
    with report.open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=output)
    built = work / "_build" / builder
    if done.returncode or not (built / "index.html").exists():
        said = execution.plain(report.read_text("utf-8", "replace")).strip()
        raise BuildError(f"jupyter-book failed or warned:\n\n{said}")
    return built
