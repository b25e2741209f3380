"""What a notebook writes and shows, and where a page's numbers come from.

A `Page` keeps the tables, figures and numbers of one notebook in ``<results>/<page>/``, together
with `page.json`: the parameters, the sources, the time. They are written beside, and take the place
of former ones when the page is finished. What is shown is read back from these files, so that text
cannot drift from results. An item whose data are not at hand, or whose scores
are not stored and take too long to compute, is taken from the results recorded in the project
(``data/results``), and the page says which and why.

What a reader sees is shown twice over: as plain Markdown, which JupyterLab and Colab render, and as
MyST (`MYST`), with captions, numbers and references, from which the site's page is made.
"""

import base64
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from filelock import FileLock, Timeout
from IPython.display import DisplayHandle, display
from matplotlib.figure import Figure

from epsutil import paths, sources, store
from epsutil.book import parameters, tables
from epsutil.experiments import Problem
from epsutil.names import DATASETS

PLOTLY = "application/vnd.plotly.v1+json"
MYST = "text/x-myst"  # the type of an output that becomes a part of the page's text
OPENING = {"opening": True}  # marks the output that the site puts below the title
_SHORT = {"ImageNet16-120": "imagenet"}  # datasets in the names of tables and figures
_PLOTLY_CONFIG = {"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": ["lasso2d"]}
_HALF_SIZE = {"image/png": {"width": 700}}
Needs = Sequence[str] | None  # sources; None stands for those of the page
Columns = Sequence[str] | Mapping[str, str]


class Page:
    """The results of one notebook.

    Parameters
    ----------
    name : str
        The notebook's name; also the folder's.
    namespace : mapping
        The notebook's ``globals()``, from which its parameters are read. Where a whole book is
        built without the page's data, they become those of the recorded results.
    problems : Problem or iterable of Problem
        What the page is about: its items need their sources, unless an item names its own.

    Raises
    ------
    ValueError
        Another process writes the same page.

    Examples
    --------
    In a notebook::

        page = results.Page("table06_weights_nasbench201", globals(), problem)
        table = page.table("table06", lambda: experiments.pairs(problem, weights, "table06"))
        page.keep(n=int(table["n"].iloc[0]))
        page.show("table06", ["w1 and w2", "archs beside", "rho beside"], "On {n:,} architectures.")
        page.finish(verdicts.covered_pairs(table))
    """

    def __init__(
        self, name: str, namespace: dict[str, Any], problems: Problem | Iterable[Problem] = ()
    ) -> None:
        self.name = name
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        self.needs = tuple(dict.fromkeys(n for problem in self.problems for n in problem.needs))
        injected = sorted(parameters.injected(namespace.get("In", ())))
        given = [*parameters.defaults(name), *injected]
        self.parameters = parameters.check(name, {key: namespace[key] for key in given})
        self.folder = paths.results() / ".unfinished" / name
        self.items: dict[str, bool] = {}  # file name -> computed now
        self.numbers: dict[str, Any] = {}
        self.shown: dict[str, dict[str, Any]] = {}  # a table's label -> how its text is made
        self.used: set[str] = set()  # sources
        self.absent: dict[str, None] = {}  # sources that are not at hand, in order
        self.unstored: dict[str, None] = {}  # why scores were not computed
        self._start = time.perf_counter()
        recorded = paths.RECORDED_RESULTS / name / "page.json"
        self.recorded = json.loads(recorded.read_text("utf-8")) if recorded.exists() else None
        if self.recorded and paths.fallback() and _absent(self.needs) and not injected:
            # What is shown is what was recorded, so its texts tell those parameters.
            known = self.recorded["parameters"].items()
            self.parameters |= {key: value for key, value in known if key in self.parameters}
            namespace.update(self.parameters)
        self.folder.mkdir(parents=True, exist_ok=True)
        # Held until the page is finished or its process ends; this process may begin anew.
        self._lock = FileLock(f"{self.folder}.lock", timeout=0, is_singleton=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise ValueError(
                f"another run writes {paths.results() / name}: wait for it, or give this one "
                "another place by --output or EPSUTIL_RESULTS"
            ) from None
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self._opening = DisplayHandle()
        self._opening.display(_bundle("*Not finished.*", ""), raw=True, metadata=OPENING)

    # Items ------------------------------------------------------------------------------------

    def table(
        self, key: str, compute: Callable[[], pd.DataFrame], needs: Needs = None
    ) -> pd.DataFrame:
        """Write a table to ``<key>.csv`` and return it as read back.

        Parameters
        ----------
        key : str
        compute : callable
            Makes the table; only called where its sources are at hand.
        needs : sequence of str, optional
            The sources, by default the page's.

        Raises
        ------
        epsutil.sources.SourceError, epsutil.store.NotStored
            The sources are not at hand, or scores are not stored and take too long to compute, and
            no result is recorded for these parameters.
        """
        path = self._item(f"{key}.csv", lambda path: compute().to_csv(path, index=False), needs)
        return pd.read_csv(path)

    def number(self, key: str, compute: Callable[[], Any], needs: Needs = None) -> Any:
        """Keep one number or text that takes data, and return it; as :meth:`table`."""

        def write(path: Path) -> None:
            path.write_text(json.dumps(_plain(compute())), "utf-8")

        path = self._item(f"{key}.json", write, needs)
        self.numbers[key] = json.loads(path.read_text("utf-8"))
        path.unlink()
        return self.numbers[key]

    def keep(self, **numbers: Any) -> None:
        """Keep numbers and texts that come from the page's tables; texts name them in braces."""
        self.numbers |= _plain(numbers)
        self.items |= {f"{key}.json": True for key in numbers}

    def _item(self, filename: str, write: Callable[[Path], object], needs: Needs) -> Path:
        """Write an item, or take the recorded one where data or scores are missing."""
        path = self.folder / filename
        needs = self.needs if needs is None else needs
        absent = _absent(needs)
        problem: Exception = sources.SourceError(
            f"{self.name} needs {_listed(absent)}, not at hand: set EPSUTIL_DATA to a folder "
            "with the data, or run `epsutil fetch` (see the data page)"
        )
        if not absent:
            try:
                write(path)
                self.used |= set(needs)
                self.items[filename] = True
                return path
            except store.NotStored as error:
                problem = error
                self.unstored[str(error)] = None
        self._take_recorded(filename, path, problem)
        self.absent |= dict.fromkeys(absent)
        self.items[filename] = False
        return path

    def _take_recorded(self, filename: str, path: Path, problem: Exception) -> None:
        """Take a recorded result, of other parameters only where a whole book is built."""
        recorded = self.recorded or {"parameters": None, "numbers": {}}
        if recorded["parameters"] != _plain(self.parameters) and not paths.fallback():
            raise problem
        source = paths.RECORDED_RESULTS / self.name / filename
        if self.recorded and source.exists():
            shutil.copy(source, path)
        elif path.suffix == ".json" and path.stem in recorded["numbers"]:
            path.write_text(json.dumps(recorded["numbers"][path.stem]), "utf-8")
        else:
            text = f"no result is recorded for {filename}, and {problem}"
            raise sources.SourceError(text) from problem

    # What the reader sees ---------------------------------------------------------------------

    def found(self, text: str) -> None:
        """Say in a sentence or two what the page found: it opens the page. Text as for `say`."""
        self.numbers["found"] = self._filled(text)

    def say(self, text: str) -> None:
        """Show a paragraph, in which ``{name}`` or ``{name:,}`` is a number of the page."""
        self._display(self._filled(text))

    def show(
        self,
        table: str,
        columns: Columns,
        caption: str,
        label: str = "",
        download: bool = True,
        **options: Any,
    ) -> None:
        """Show a table.

        Parameters
        ----------
        table : str
            Its key.
        columns, **options
            See `epsutil.book.tables.render`.
        caption : str
            A text as for :meth:`say`.
        label : str, optional
            What other text refers to, by default the notebook's short name and the table's.
        download : bool, default True
            Whether to offer the CSV file.
        """
        text = self._table(table, columns, caption, label or self._label(table), options)
        self._display(text + self._download(table) * download)

    def show_each(
        self,
        table: str,
        columns: Columns,
        caption: str,
        label: str = "",
        notes: Mapping[str, str] | None = None,
        tabs: bool = True,
        **options: Any,
    ) -> None:
        """Show a table for each dataset of the page's problems, in tabs or one below the other.

        Parameters
        ----------
        table, columns, caption, label, **options
            As for :meth:`show`; a dataset is added to the label.
        notes : mapping of str to str, optional
            What to add to the caption of a dataset.
        tabs : bool, default True
        """
        datasets = [problem.dataset for problem in self.problems]
        label, parts = label or self._label(table), []
        first, *_ = names = [f"{label}-{_SHORT.get(dataset, dataset)}" for dataset in datasets]
        given = f" and ({options['where']})" if options.get("where") else ""
        for dataset, name in zip(datasets, names, strict=True):
            title, note = DATASETS[dataset], (notes or {}).get(dataset)
            about = f"{title}. {caption}" if name == first else f"{title}, as {{numref}}`{first}`."
            about += f" {note}" if note else ""
            chosen = options | {"where": f"dataset == '{dataset}'{given}"}
            text = self._table(table, columns, about, name, chosen)
            tab = f"::::{{tab-item}} {title}\n:sync: {title}\n\n{text}::::"
            parts.append(tab if tabs else text)
        myst = "\n".join(parts)
        myst = f":::::{{tab-set}}\n{myst}\n:::::\n" if tabs else myst
        self._display(myst + self._download(table))

    def figure(
        self,
        key: str,
        draw: Callable[[], Figure],
        caption: str,
        alt: str,
        suffix: str = "svg",
        needs: Needs = None,
        width: str = "90%",
        label: str = "",
    ) -> None:
        """Write and show a figure, SVG or, where points are many, PNG of double resolution.

        Parameters
        ----------
        key, draw, needs
            As ``key``, ``compute`` and ``needs`` of :meth:`table`.
        caption, label : str
            As for :meth:`show`.
        alt : str
            What the figure shows, for those who do not see it.
        suffix : {"svg", "png"}
        width : str
            Of the page's.
        """

        def write(path: Path) -> None:
            figure = draw()
            metadata = {"Date": None} if suffix == "svg" else {"Software": None}
            with plt.rc_context({"svg.hashsalt": key}):  # the same figure gives the same file
                figure.savefig(path, format=suffix, dpi=200, metadata=metadata)
            plt.close(figure)

        path = self._item(f"{key}.{suffix}", write, needs)
        image = IMAGES[suffix](path)
        display({**image, "text/plain": alt, MYST: ""}, raw=True, metadata=_HALF_SIZE)
        label = label or self._label(key)
        self._display(
            f":::{{figure}} ../results/{self.name}/{path.name}\n:name: {label}\n"
            f":alt: {alt}\n:width: {width}\n\n{self._filled(caption)}\n:::\n"
        )

    def interactive(self, key: str, draw: Callable[[], Any], needs: Needs = None) -> None:
        """Show a Plotly figure. It holds benchmark data, so it is drawn live or not at all."""
        if absent := _absent(self.needs if needs is None else needs):
            self._display(
                f"*The interactive plot needs {_listed(absent)}, which is not at hand and may "
                "not be redistributed here; see the data page for how to supply it.*"
            )
            return
        try:
            figure = draw()
        except store.NotStored as error:
            self._display(f"*The interactive plot is not drawn: {error}.*")
            return
        html = figure.to_html(
            full_html=False, include_plotlyjs=False, div_id=f"plot-{key}", config=_PLOTLY_CONFIG
        )
        display({"text/html": html, PLOTLY: json.loads(figure.to_json())}, raw=True)

    def finish(self, covered: str, board: pd.DataFrame | None = None) -> None:
        """Write `page.json`; show what the numbers rest on, and what the page rests on.

        Parameters
        ----------
        covered : str
            How many architectures were computed and scored.
        board : pandas.DataFrame, optional
            How the page's values compare with the paper's; see `epsutil.book.verdicts`.
        """
        self.keep(covered=covered)
        if self.problems and "input" not in self.numbers:
            self.number("input", lambda: "; ".join(map(_source, self.problems)))
        if board is not None:
            board.to_csv(self.folder / "scoreboard.csv", index=False)
        live = all(self.items.values())
        now = {
            "page": self.name,
            "parameters": _plain(self.parameters),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._start, 1),
            "sources": {name: sources.SOURCES[name].sha256 for name in sorted(self.used)},
        }
        record = now | {
            "numbers": self.numbers,
            "shown": self.shown,
            "recorded": sorted(name for name, computed in self.items.items() if not computed),
            "unstored": list(self.unstored),
        }
        (self.folder / "page.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        former = self.folder.parents[1] / self.name
        shutil.rmtree(former, ignore_errors=True)
        self.folder = self.folder.replace(former)
        self._lock.release(force=True)
        about = now if live or self.recorded is None else self.recorded
        self._display(tables.about(about | {"recorded": record["recorded"]}, self.numbers))
        said = {"found": self.numbers.get("found"), "status": self._said_of_status(live)}
        opening = "".join(
            f":::{{div}} {kind}\n{text}\n:::\n\n" for kind, text in said.items() if text
        )
        self._opening.update(_bundle(readable(opening), opening), raw=True, metadata=OPENING)

    def _said_of_status(self, live: bool) -> str:
        if live:
            return "Computed when this page was built; stored scores were reused."
        created = (self.recorded or {}).get("created", "")[:10]
        absent = f"the machine that built this page did not have {_listed([*self.absent])}"
        reasons = "; ".join([absent] * bool(self.absent) + list(self.unstored))
        some = "Some of these" if any(self.items.values()) else "These"
        return f"{some} are **recorded results** of {created}: {reasons}."

    # Texts ------------------------------------------------------------------------------------

    def _table(
        self, table: str, columns: Columns, caption: str, label: str, options: dict[str, Any]
    ) -> str:
        columns = columns if isinstance(columns, Mapping) else list(columns)
        self.shown[label] = {"table": table, "columns": columns, "options": options}
        text = rendered(self.folder, self.shown[label])
        return f":::{{table}} {self._filled(caption)}\n:name: {label}\n\n{text}:::\n\n"

    def _label(self, key: str) -> str:
        """Return ``table06-map`` for the map of a notebook ``table06_weights...``."""
        short = self.name.partition("_")[0]
        return key if key.startswith(short) else f"{short}-{key}"

    def _download(self, table: str) -> str:
        return f"{{download}}`The table as CSV <../results/{self.name}/{table}.csv>`\n"

    def _filled(self, text: str) -> str:
        """Put the page's numbers into a text; a name before a backtick is a role of MyST."""

        def value(found: re.Match[str]) -> str:
            if found[1] not in self.numbers:
                raise KeyError(f"{self.name} has no number {found[1]!r} for the text {text[:60]!r}")
            number = self.numbers[found[1]]
            return "unknown" if number != number else format(number, found[2] or "")  # NaN

        return re.sub(r"\{(\w+)(?::([^{}`]*))?\}(?!`)", value, text)

    def _display(self, myst: str) -> None:
        display(_bundle(readable(myst), myst), raw=True)


IMAGES: dict[str, Callable[[Path], dict[str, str]]] = {
    "svg": lambda path: {"image/svg+xml": path.read_text("utf-8")},
    "png": lambda path: {"image/png": base64.b64encode(path.read_bytes()).decode()},
}


def rendered(folder: Path, shown: Mapping[str, Any]) -> str:
    """Return the Markdown of a table, made from its CSV file as `page.json` says."""
    frame = pd.read_csv(folder / f"{shown['table']}.csv")
    return tables.render(frame, shown["columns"], **shown["options"])


def _bundle(markdown: str, myst: str) -> dict[str, str]:
    return {"text/markdown": markdown, "text/plain": markdown, MYST: myst}


def readable(myst: str) -> str:
    """Return a text without MyST's directives and roles, for JupyterLab and Colab."""
    text = re.sub(r"^:::+(\{figure\}.*)?$|^:(name|alt|width|class|sync): .*$", "", myst, flags=re.M)
    title = r"^:::+\{(?:table|admonition|tab-item)\} *(.*)$"  # bold as a whole
    text = re.sub(title, lambda t: f"**{t[1].replace('**', '')}**\n", text, flags=re.M)
    text = re.sub(r"^:::+\{(?:tab-set|div)\}.*$|^\{download\}.*$", "", text, flags=re.M)
    text = re.sub(r"\{(?:doc|ref|download)\}`([^`<]+?) *<[^`]*>`", r"\1", text)
    text = re.sub(r"\{[\w:-]+\}`([^`]*)`", r"\1", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _source(problem: Problem) -> str:
    """Say where a problem's inputs come from, with their checksum."""
    batch = problem.batch
    return f"{batch.source} (seed {problem.seed}, SHA-256 {batch.checksum[:12]}…)"


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numpy's numbers as Python's, all else that is not as text."""
    return json.loads(json.dumps(value, default=lambda v: getattr(v, "item", v.__str__)()))


def _absent(names: Sequence[str]) -> list[str]:
    return [name for name in names if not sources.available(name)]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
