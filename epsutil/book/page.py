"""A page: what a notebook shows, and the files that its tables, figures and sentences come from.

A notebook computes in plain code. A `Page` writes its tables and figures to ``<results>/<page>/``
and shows them, read back from there; `finish` fills the text cells and adds `page.json`: the
parameters, the sources, the time. In a text cell ``{rho:.2f}`` is the notebook's variable `rho`,
``{best.rho:.2f}`` an attribute of one, ``{row[rho]:.2f}`` an entry. The folder takes its place as
the page is finished, so that a run that fails leaves the former results.

What a reader sees is shown twice over: as plain Markdown, which JupyterLab and Colab render, and as
MyST (`MYST`), with captions, numbers and references, from which the site's page is made.
"""

import base64
import hashlib
import json
import re
import shutil
import string
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
from filelock import FileLock, Timeout
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from epsutil import paths, sources
from epsutil.book import parameters, tables
from epsutil.inputs import Batch
from epsutil.names import DATASETS

PLOTLY = "application/vnd.plotly.v1+json"
MYST = "text/x-myst"  # the type of an output that becomes a part of the page's text
_SHORT = {"ImageNet16-120": "imagenet"}  # datasets in the names of tables and figures
_PLOTLY_CONFIG = {"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": ["lasso2d"]}
_HALF_SIZE = {"image/png": {"width": 700}}
Columns = Sequence[str] | Mapping[str, str]


class Page:
    """The results of one notebook.

    Parameters
    ----------
    name : str
        The notebook's name; also the folder's.
    variables : mapping, optional
        What text cells name, by default the running notebook's variables.

    Raises
    ------
    ValueError
        Another process writes the same page.

    Examples
    --------
    In a notebook::

        page = Page("table06_weights_nasbench201")
        page.table("table06", table, ["w1 and w2", "archs beside", "rho beside"], "All pairs.")
        page.figure("map", plots.weight_map(table), "Every pair.", alt="Matrix of rho.")
        page.finish(f"{len(archs):,} architectures", [batch], board)
    """

    def __init__(self, name: str, variables: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.variables: Mapping[str, Any] = (
            get_ipython().user_ns if variables is None else variables
        )
        injected = parameters.injected(self.variables.get("In", ()))
        given = [*parameters.defaults(name), *sorted(injected)]
        self.parameters = parameters.check(name, {key: self.variables[key] for key in given})
        self.folder = paths.results() / ".unfinished" / name
        self.shown: dict[str, dict[str, Any]] = {}  # a table's label -> how its text is made
        self._captions = {cell.id: cell.source for cell in text_cells(read(name))}
        self._start = time.perf_counter()
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

    # Tables -----------------------------------------------------------------------------------

    def write(self, key: str, table: pd.DataFrame) -> pd.DataFrame:
        """Write a table to ``<key>.csv`` and return it as read back."""
        path = self.folder / f"{key}.csv"
        table.to_csv(path, index=False)
        return pd.read_csv(path)

    def table(
        self,
        key: str,
        table: pd.DataFrame,
        columns: Columns,
        caption: str = "",
        label: str = "",
        **options: Any,
    ) -> pd.DataFrame:
        """Write a table and show it, see :meth:`write` and :meth:`show`."""
        table = self.write(key, table)
        self.show(key, columns, caption, label, **options)
        return table

    def show(
        self,
        key: str,
        columns: Columns,
        caption: str = "",
        label: str = "",
        download: bool = True,
        **options: Any,
    ) -> None:
        """Show a table that was written.

        Parameters
        ----------
        key : str
        columns, **options
            See `epsutil.book.tables.render`.
        caption : str, optional
            Text, in which fields are filled as in text cells; by default that of the text cell
            ``caption-<label>``, which stands above in Jupyter and in the caption on the site.
        label : str, optional
            What other text refers to, by default the notebook's short name and the key.
        download : bool, default True
            Whether to offer the CSV file.
        """
        label = label or self._label(key)
        about, apart = self._caption(caption, label)
        text = self._table(key, columns, about, label, options)
        self._display(text + self._download(key) * download, apart)

    def show_each(
        self,
        key: str,
        columns: Columns,
        caption: str = "",
        label: str = "",
        notes: Mapping[str, str] | None = None,
        tabs: bool = True,
        **options: Any,
    ) -> None:
        """Show a table for each of its datasets, in tabs or one below the other.

        Parameters
        ----------
        key, columns, caption, label, **options
            As for :meth:`show`; a dataset is added to the label.
        notes : mapping of str to str, optional
            What to add to the caption of a dataset.
        tabs : bool, default True
        """
        datasets = pd.read_csv(self.folder / f"{key}.csv")["dataset"].unique()
        label, parts = label or self._label(key), []
        first, *_ = names = [f"{label}-{_SHORT.get(dataset, dataset)}" for dataset in datasets]
        caption, apart = self._caption(caption, label)
        given = f" and ({options['where']})" if options.get("where") else ""
        for dataset, name in zip(datasets, names, strict=True):
            title, note = DATASETS[dataset], (notes or {}).get(dataset)
            about = f"{title}. {caption}" if name == first else f"{title}, as {{numref}}`{first}`."
            about += f" {note}" if note else ""
            chosen = options | {"where": f"dataset == '{dataset}'{given}"}
            text = self._table(key, columns, about, name, chosen)
            tab = f"::::{{tab-item}} {title}\n:sync: {title}\n\n{text}::::"
            parts.append(tab if tabs else text)
        myst = "\n".join(parts)
        myst = f":::::{{tab-set}}\n{myst}\n:::::\n" if tabs else myst
        self._display(myst + self._download(key), apart)

    # Figures ----------------------------------------------------------------------------------

    def figure(
        self,
        key: str,
        figure: Figure,
        caption: str = "",
        alt: str = "",
        suffix: str = "svg",
        width: str = "90%",
        label: str = "",
    ) -> None:
        """Write and show a figure, SVG or, where points are many, PNG of double resolution.

        Parameters
        ----------
        key, figure
        caption, label : str
            As for :meth:`show`.
        alt : str
            What the figure shows, for those who do not see it.
        suffix : {"svg", "png"}
        width : str
            Of the page's.
        """
        if not alt:
            raise ValueError(f"{self.name}: the figure {key} has no alt text")
        path = self.folder / f"{key}.{suffix}"
        metadata = {"Date": None} if suffix == "svg" else {"Software": None}
        with plt.rc_context({"svg.hashsalt": key}):  # the same figure gives the same file
            figure.savefig(path, format=suffix, dpi=200, metadata=metadata)
        plt.close(figure)
        display(
            {**IMAGES[suffix](path), "text/plain": alt, MYST: ""}, raw=True, metadata=_HALF_SIZE
        )
        label = label or self._label(key)
        caption, apart = self._caption(caption, label)
        self._display(
            f":::{{figure}} ../results/{self.name}/{path.name}\n:name: {label}\n"
            f":alt: {alt}\n:width: {width}\n\n{caption}\n:::\n",
            apart,
        )

    def interactive(self, key: str, figure: Any) -> None:
        """Show a Plotly figure. It holds benchmark data, so that no record keeps it."""
        html = figure.to_html(
            full_html=False, include_plotlyjs=False, div_id=f"plot-{key}", config=_PLOTLY_CONFIG
        )
        display({"text/html": html, PLOTLY: json.loads(figure.to_json())}, raw=True)

    # The end ----------------------------------------------------------------------------------

    def finish(
        self, covered: str, batches: Iterable[Batch] = (), board: pd.DataFrame | None = None
    ) -> None:
        """Fill the text cells, write `page.json`, and show what the page rests on.

        Parameters
        ----------
        covered : str
            How many architectures were computed and scored.
        batches : iterable of epsutil.inputs.Batch
            The inputs.
        board : pandas.DataFrame, optional
            How the page's values compare with the paper's; see `epsutil.book.verdicts`.

        Raises
        ------
        NameError
            A text cell names what the notebook does not have.
        """
        if board is not None:
            board.to_csv(self.folder / "scoreboard.csv", index=False)
        notebook = read(self.name)
        texts = text_cells(notebook)
        record = {
            "page": self.name,
            "notebook": digest(notebook),
            "parameters": plain(self.parameters),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._start, 1),
            "sources": {name: sources.SOURCES[name].sha256 for name in sorted(sources.opened)},
            "covered": covered,
            "input": "; ".join(
                f"{batch.source} (seed {batch.seed}, SHA-256 {batch.checksum[:12]}…)"
                for batch in batches
            ),
            "texts": {cell.id: self._filled(cell.source) for cell in texts},
            "tagged": {tag: cell.id for cell in texts for tag in cell.metadata.get("tags", ())},
            "shown": self.shown,
        }
        (self.folder / "page.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        former = self.folder.parents[1] / self.name
        shutil.rmtree(former, ignore_errors=True)
        self.folder = self.folder.replace(former)
        self._lock.release(force=True)
        self._display(tables.about(record))

    # Texts ------------------------------------------------------------------------------------

    def _table(
        self, key: str, columns: Columns, caption: str, label: str, options: dict[str, Any]
    ) -> str:
        columns = columns if isinstance(columns, Mapping) else list(columns)
        self.shown[label] = {"table": key, "columns": columns, "options": options}
        text = rendered(self.folder, self.shown[label])
        return f":::{{table}} {caption}\n:name: {label}\n\n{text}:::\n\n"

    def _caption(self, caption: str, label: str) -> tuple[str, str]:
        """Return a filled caption, and it again where a text cell has it."""
        if caption:
            return self._filled(caption), ""
        if f"caption-{label}" not in self._captions:
            raise ValueError(f"{self.name}: {label} has no caption, and no cell caption-{label}")
        found = self._filled(" ".join(self._captions[f"caption-{label}"].split()))
        return found, found

    def _label(self, key: str) -> str:
        """Return ``table06-map`` for the map of a notebook ``table06_weights...``."""
        short = self.name.partition("_")[0]
        return key if key.startswith(short) else f"{short}-{key}"

    def _download(self, key: str) -> str:
        return f"{{download}}`The table as CSV <../results/{self.name}/{key}.csv>`\n"

    def _filled(self, text: str) -> str:
        try:
            return filled(text, self.variables)
        except NameError as error:
            raise NameError(f"{self.name}: {error}") from None

    def _display(self, myst: str, apart: str = "") -> None:
        """Show a text; in Jupyter without what is there in a cell of its own."""
        markdown = readable(myst.replace(apart, "") if apart else myst)
        display({"text/markdown": markdown, "text/plain": markdown, MYST: myst}, raw=True)


IMAGES: dict[str, Callable[[Path], dict[str, str]]] = {
    "svg": lambda path: {"image/svg+xml": path.read_text("utf-8")},
    "png": lambda path: {"image/png": base64.b64encode(path.read_bytes()).decode()},
}


def read(name: str) -> Any:
    """Return the notebook of a page."""
    return nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", as_version=4)


def text_cells(notebook: Any) -> list[Any]:
    """Return a notebook's Markdown cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def digest(notebook: Any) -> str:
    """Return a digest of what a notebook says and does."""
    sources = [[cell.cell_type, cell.source] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


# No field stands in code, formulas, roles of MyST, and lines that open or set up a directive.
_VERBATIM = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$\n]+\$|\{[\w:-]+\}`[^`]*`|`[^`\n]*`|^:::+.*?$|^:\w+: .*?$",
    re.DOTALL | re.MULTILINE,
)
_FIELD = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")


def filled(text: str, variables: Mapping[str, Any]) -> str:
    """Put variables into a text, where it names them in braces.

    Parameters
    ----------
    text : str
        MyST; a field is ``{name}``, ``{name.attribute}`` or ``{name[key]}``, with a format after a
        colon as in :meth:`str.format`. Code, formulas and MyST's own braces are left as they are.
    variables : mapping of str to object

    Raises
    ------
    NameError
        There is no such variable, attribute or key.

    Examples
    --------
    >>> found = pd.Series({"rho": 0.8816, "n": 9226})
    >>> filled("$x_{i}$: ρ {found.rho:.2f} over {found[n]:,.0f}, {doc}`as`", {"found": found})
    '$x_{i}$: ρ 0.88 over 9,226, {doc}`as`'
    """

    def value(field: re.Match[str]) -> str:
        try:
            found, _ = string.Formatter().get_field(field[1], (), variables)
        except (KeyError, AttributeError, IndexError, TypeError) as error:
            raise NameError(
                f"the text {text[:60]!r} has the field {{{field[1]}}}, which the notebook has not"
            ) from error
        if found is None or found != found:
            return "unknown"
        return re.sub(r"(?<![\w-])-(?=[\d.])", "−", format(found, field[2] or ""))  # not in 1e-7

    parts, end = [], 0
    for verbatim in _VERBATIM.finditer(text):
        parts += [_FIELD.sub(value, text[end : verbatim.start()]), verbatim[0]]
        end = verbatim.end()
    return "".join([*parts, _FIELD.sub(value, text[end:])])


def rendered(folder: Path, shown: Mapping[str, Any]) -> str:
    """Return the Markdown of a table, made from its CSV file as `page.json` says."""
    frame = pd.read_csv(folder / f"{shown['table']}.csv")
    return tables.render(frame, shown["columns"], **shown["options"])


def readable(myst: str) -> str:
    """Return a text without MyST's directives and roles, for JupyterLab and Colab."""
    text = re.sub(r"^:::+(\{figure\}.*)?$|^:(name|alt|width|class|sync): .*$", "", myst, flags=re.M)
    title = r"^:::+\{(?:table|admonition|tab-item)\} *(.*)$"  # bold as a whole
    text = re.sub(title, lambda t: f"**{t[1].replace('**', '')}**\n", text, flags=re.M)
    text = text.replace("****\n", "")  # where the caption is a cell of its own
    text = re.sub(r"^:::+\{(?:tab-set|div)\}.*$|^\{download\}.*$", "", text, flags=re.M)
    text = re.sub(r"\{(?:doc|ref|download)\}`([^`<]+?) *<[^`]*>`", r"\1", text)
    text = re.sub(r"\{[\w:-]+\}`([^`]*)`", r"\1", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def plain(value: Any) -> Any:
    """Return a value as JSON has it: numpy's numbers as Python's, all else that is not as text."""
    return json.loads(json.dumps(value, default=lambda v: getattr(v, "item", v.__str__)()))
