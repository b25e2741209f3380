"""What a notebook writes, and where a page's numbers come from.

A `Page` keeps the tables, figures and numbers of one notebook in ``<results>/<page>/``, together
with `page.json`: the parameters, the sources, the time. What is shown is read back from these
files, so that text cannot drift from results. An item whose data are not at hand, or whose scores
are not stored and take too long to compute, is taken from the results recorded in the project
(``data/results``), and the page says which and why.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import SVG, Image, Markdown, display
from matplotlib.figure import Figure

from epsutil import paths, sources, store
from epsutil.book import parameters, tables
from epsutil.names import DATASETS

log = logging.getLogger(__name__)

Renderer = Callable[..., str]


class Page:
    """The results of one notebook.

    Parameters
    ----------
    name : str
        The notebook's name; also the folder's.
    namespace : mapping
        The notebook's ``globals()``, from which its parameters are read.
    needs : sequence of str
        The sources that the page's items need, unless an item names its own.

    Examples
    --------
    In a notebook::

        page = results.Page("table01_nasbench201", globals(), needs=["nas-bench-201/..."])
        table = page.table("table01", lambda: experiments.table01(datasets, weights))
        page.show("cifar10", "metrics", "table01", dataset="cifar10")
        page.finish()
    """

    def __init__(self, name: str, namespace: Mapping[str, Any], needs: Sequence[str] = ()) -> None:
        self.name = name
        self.needs = tuple(needs)
        given = [*parameters.defaults(name), *sorted(parameters.injected(namespace.get("In", ())))]
        self.parameters = parameters.check(name, {key: namespace[key] for key in given})
        self.folder = paths.results() / name
        self.items: dict[str, bool] = {}  # file name -> computed now
        self.numbers: dict[str, Any] = {}
        self.shown: dict[str, dict[str, Any]] = {}  # glued key -> how its text is made
        self.used: set[str] = set()  # sources
        self.absent: dict[str, None] = {}  # sources that are not at hand, in order
        self.unstored: dict[str, None] = {}  # why scores were not computed
        self._start = time.perf_counter()
        recorded = paths.RECORDED_RESULTS / name / "page.json"
        self.recorded = json.loads(recorded.read_text("utf-8")) if recorded.exists() else None
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    # Items ------------------------------------------------------------------------------------

    def table(
        self, key: str, compute: Callable[[], pd.DataFrame], needs: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Write a table as CSV and return it as read back.

        Parameters
        ----------
        key : str
            Name of the file, without ``.csv``.
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

        def write(path: Path) -> None:
            compute().to_csv(path, index=False)

        return pd.read_csv(self._item(f"{key}.csv", write, needs))

    def figure(
        self,
        key: str,
        draw: Callable[[], Figure],
        suffix: str = "svg",
        needs: Sequence[str] | None = None,
    ) -> None:
        """Write a figure as SVG, or as PNG of double resolution where points are many.

        Parameters as in :meth:`table`; `suffix` is ``"svg"`` or ``"png"``.
        """

        def write(path: Path) -> None:
            figure = draw()
            metadata = {"Date": None} if suffix == "svg" else {"Software": None}
            with plt.rc_context({"svg.hashsalt": key}):  # the same figure gives the same file
                figure.savefig(path, format=suffix, dpi=200, metadata=metadata)
            plt.close(figure)

        path = self._item(f"{key}.{suffix}", write, needs)
        display(SVG(path) if suffix == "svg" else Image(path, width=700))

    def interactive(
        self, key: str, draw: Callable[[], Any], needs: Sequence[str] | None = None
    ) -> None:
        """Show a Plotly figure. It holds benchmark data, so it is drawn live or not at all."""
        needs = self.needs if needs is None else tuple(needs)
        if absent := _absent(needs):
            display(
                Markdown(
                    f"*The interactive plot needs {_listed(absent)}, which is not at hand and may "
                    "not be redistributed here; see the data page for how to supply it.*"
                )
            )
            return
        try:
            figure = draw()
        except store.NotStored as error:
            display(Markdown(f"*The interactive plot is not drawn: {error}.*"))
            return
        html = figure.to_html(
            full_html=False, include_plotlyjs=False, div_id=f"plot-{key}", config=_PLOTLY_CONFIG
        )
        script = '<script src="../plotly.min.js"></script>' if not self.numbers.get("_js") else ""
        self.numbers["_js"] = True
        bundle = {
            "text/html": script + html,
            "application/vnd.plotly.v1+json": json.loads(figure.to_json()),
        }
        display(bundle, raw=True)

    def number(
        self, key: str, compute: Callable[[], Any], needs: Sequence[str] | None = None
    ) -> Any:
        """Keep one number or text, glue it for the prose, and return it."""

        def write(path: Path) -> None:
            path.write_text(json.dumps(_plain(compute())), "utf-8")

        path = self._item(f"{key}.json", write, needs)
        self.numbers[key] = json.loads(path.read_text("utf-8"))
        path.unlink()
        _glue(key, self.numbers[key])
        return self.numbers[key]

    def _item(
        self, filename: str, write: Callable[[Path], None], needs: Sequence[str] | None
    ) -> Path:
        needs = self.needs if needs is None else tuple(needs)
        path = self.folder / filename
        problem: sources.SourceError | store.NotStored
        if absent := _absent(needs):
            problem = sources.SourceError(
                f"{self.name} needs {_listed(absent)}, which is not at hand: set EPSUTIL_DATA to a "
                "folder that has it, or run `epsutil fetch` (see the data page)"
            )
        else:
            temporary = path.with_name(f".{filename}")
            try:
                write(temporary)
            except store.NotStored as error:
                problem = error
                self.unstored[str(error)] = None
            else:
                os.replace(temporary, path)
                self.used |= set(needs)
                self.items[filename] = True
                return path
        self._take_recorded(filename, path, problem)
        self.absent |= dict.fromkeys(absent)
        self.items[filename] = False
        return path

    def _take_recorded(self, filename: str, path: Path, problem: Exception) -> None:
        """Take a recorded result, of other parameters only where a whole book is built."""
        same = self.recorded is not None and self.recorded["parameters"] == _plain(self.parameters)
        source = paths.RECORDED_RESULTS / self.name / filename
        stem = Path(filename).stem
        if not same and not paths.fallback():
            raise problem
        if self.recorded and source.exists():
            shutil.copy(source, path)
        elif self.recorded and filename.endswith(".json") and stem in self.recorded["numbers"]:
            path.write_text(json.dumps(self.recorded["numbers"][stem]), "utf-8")
        else:
            raise sources.SourceError(
                f"no result is recorded for {filename}, and {problem}"
            ) from problem

    # What the reader sees ---------------------------------------------------------------------

    def show(self, key: str, renderer: str, table: str, **options: Any) -> None:
        """Glue a table as Markdown.

        Parameters
        ----------
        key : str
            What the page's text refers to.
        renderer : str
            A function in :mod:`epsutil.tables` that takes the table and the options.
        table : str
            The table's key.
        """
        self.shown[key] = {"renderer": renderer, "table": table, "options": options}
        text = rendered(self.folder, self.shown[key])
        _glue(key, Markdown(text))
        display(Markdown(text))

    def finish(self) -> None:
        """Write `page.json` and glue the two texts that every page ends and begins with."""
        self.numbers.pop("_js", None)
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
        temporary = self.folder / ".page.json"
        temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        os.replace(temporary, self.folder / "page.json")
        about = now if live or self.recorded is None else self.recorded
        _glue("about", Markdown(tables.about(about, self.numbers)))
        _glue("status", Markdown(self._status(live)))
        display(Markdown(self._status(live)))

    def _status(self, live: bool) -> str:
        if live:
            return (
                "Every number below was computed when this page was built. Scores that are stored "
                "with the book, of the same version, inputs and weights, were reused."
            )
        recorded = [Path(name).stem for name, computed in self.items.items() if not computed]
        some = "The results below"
        if any(self.items.values()):
            some = f"Some items below ({', '.join(f'`{name}`' for name in recorded)})"
        created = (self.recorded or {}).get("created", "")[:10]
        reasons = list(self.unstored)
        if self.absent:
            absent = f"the machine that built this page did not have {_listed([*self.absent])}"
            reasons.insert(0, absent)
        return (
            f"{some} are **recorded results** of {created}: {'; '.join(reasons)}. "
            "What needs none of this was computed anew."
        )


_PLOTLY_CONFIG = {"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": ["lasso2d"]}


def rendered(folder: Path, shown: Mapping[str, Any]) -> str:
    """Return the Markdown of a table, made from its CSV file as `page.json` says."""
    renderer: Renderer = getattr(tables, shown["renderer"])
    table, options = pd.read_csv(folder / f"{shown['table']}.csv"), shown["options"]
    if "dataset" in options and options["dataset"] not in set(table["dataset"]):
        return f"*{DATASETS[options['dataset']]} is not among the datasets of this run.*\n"
    return renderer(table, **options)


def _glue(key: str, value: Any) -> None:
    from myst_nb import glue  # Sphinx comes along: only where a page is made

    glue(key, value, display=False)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return json.loads(
        json.dumps(value, default=lambda v: v.item() if hasattr(v, "item") else str(v))
    )


def _absent(names: Sequence[str]) -> list[str]:
    """Return those of some sources that are not at hand."""
    return [name for name in names if not sources.available(name)]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
