"""How a table looks: Markdown made from a tidy DataFrame by the columns that are asked for.

A column is asked for by its name in the frame, or by the name and a word that combines columns:

==================  ============================================================
``rho difference``  ours minus the paper's
``rho beside``      ours and, in brackets, the paper's
``rho interval``    the ends of the bootstrap interval
``agree share``     of ``n``, in per cent
``n_scored of n``   both counts
``w1 and w2``       both values
``test deviation``  a mean and, from ``test_std``, the standard deviation
``n_scored range``  from that to ``n_scored_most``
``scores beside``   all six scores, as above; ``scores`` are ours alone
==================  ============================================================

How a column is headed and written is in `COLUMNS`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from epsutil.names import CEILING, CORRELATIONS, DATASETS, ITEMS, METRICS, SCORES, SPACES
from epsutil.statistics import LEAST_RESAMPLES

# The columns of a scoreboard.csv; `of` is "epsilon" or "others".
SCOREBOARD = ("item", "of", "row", "quantity", "paper", "reproduced", "n_scored", "n", "verdict")
NO_BREAK = "\N{NO-BREAK SPACE}"
MOSTLY = 0.75  # of the values of an item that agree, from which it is mostly reproduced


def _named(names: Mapping[str, str]) -> Callable[[Any], str]:
    return lambda value: names.get(value, str(value))


def _format(spec: str) -> Callable[[Any], str]:
    return lambda value: "" if pd.isna(value) else format(value, spec)


def _count(value: float) -> str:
    return "" if pd.isna(value) else f"{int(value):,}"


def _pvalue(value: float) -> str:
    return "" if pd.isna(value) else "< 1e-16" if value < 1e-16 else f"{value:.1e}"


def _seconds(value: float) -> str:
    return "" if pd.isna(value) else format(value, ".2g" if value < 99.5 else ".0f")


def _number(value: float) -> str:
    return "dropped" if pd.isna(value) else f"{value:.4f}"


def _saved(value: float) -> str:
    return "not reached" if value == -math.inf else f"{value:,.0f}"


class Column(NamedTuple):
    """How a column is headed and its values are written; texts are aligned to the left."""

    heading: str
    write: Callable[[Any], str]
    is_text: bool = False


COLUMNS = {
    "dataset": Column("Dataset", _named(DATASETS), True),
    "searched_on": Column("Searched on", _named(DATASETS), True),
    "space": Column("Space", _named(SPACES), True),
    "metric": Column("Metric", _named(METRICS), True),
    "method": Column("Method", _named(METRICS), True),
    "other": Column("epsilon against", _named(METRICS), True),
    "score": Column("Score", _named(SCORES), True),
    "evaluated": Column(
        "Evaluated in",
        _named(
            {
                f"{wide}_{part}": f"{wide}, only those {word} in float32"
                for wide in ("float64", "extended")
                for part, word in {"same": "scored", "rest": "not scored"}.items()
            }
        ),
        True,
    ),
    "biased": Column("Biases", _named({True: "with", False: "without"}), True),  # type: ignore[dict-item]
    "chosen_by": Column("Chosen by", str, True),
    "counted": Column("Counted", str, True),
    "dtype": Column("Precision", str, True),
    "loss": Column(
        "Loss",
        _named(
            {
                "val_loss_last": "last validation loss",
                "test_loss_last": "last test loss",
                "val_loss_best": "lowest validation loss",
                "test_loss_at_best_val": "test loss of the same epoch",
            }
        ),
        True,
    ),
    "embedding": Column("Embedding", str, True),
    "initialisation": Column("Weights", str, True),
    "image": Column("Image", _count),
    "v1": Column("$V_1$", _format(".3e")),
    "v2": Column("$V_2$", _format(".3e")),
    "v1_normalised": Column("$V'_1$", _number),
    "v2_normalised": Column("$V'_2$", _number),
    "difference": Column(r"$\lvert V'_1 - V'_2 \rvert$", _number),
    "n_runs": Column("With two runs", _count),
    "reached": Column("Share of the ceiling", _format(".1%")),
    "reached_all": Column("Share, unscored last", _format(".1%")),
    "reached_top10": Column("Share, top-10%", _format(".1%")),
    "n": Column("Computed", _count),
    "n_scored": Column("Scored", _count),
    "archs": Column("Archs", _count),
    "n_computed": Column("Computed", _count),
    "n_epsilon": Column("Scored by both", _count),
    "batches": Column("Batches", _count),
    "w1": Column("Weight 1", _format("g")),
    "w2": Column("Weight 2", _format("g")),
    "coverage": Column("Coverage", _format(".1%")),
    "top10_unscored": Column("Unscored of the true top-10%", _format(".1%")),
    "unscored": Column("Unscored", _format(".0%")),
    "pool": Column("N", _count),
    "steps": Column("Trained", _count),
    "lead": Column("Lead", _format("+.2f")),
    "saved": Column("Trainings saved", _saved),
    "validation": Column("Validation", _format(".2f")),
    "test": Column("Test", _format(".2f")),
    "test_epsilon": Column("Test, epsilon", _format(".2f")),
    "cost_hours": Column("Hours, paper", _format("g")),
    "seconds": Column("Seconds", _seconds),
    "z": Column("z", _format(".1f")),
    "pvalue": Column("p", _pvalue),
    "rho_a": Column("ρ epsilon", _format(".3f")),
    "rho_b": Column("ρ other", _format(".3f")),
    "rho_common": Column("ρ, all scored", _format(".3f")),
    "tau_common": Column("τ, all scored", _format(".3f")),
    "rho_last": Column("ρ, unscored last", _format(".3f")),
    "tau_last": Column("τ, unscored last", _format(".3f")),
    "rho_size": Column("ρ with size", _format(".3f")),
    "rho_params": Column("ρ of size", _format(".3f")),
    "partial": Column("ρ beyond size", _format(".3f")),
    "partial_epsilon": Column("ρ beyond size, both", _format(".3f")),
    "rho_averaged": Column("ρ mean", _format(".3f")),
    "tau_averaged": Column("τ mean", _format(".3f")),
    "best": Column("Best accuracy of all", _format(".2f")),
    "best_scored": Column("Best accuracy drawn", _format(".2f")),
    "highest_epsilon": Column("Accuracy of the highest epsilon", _format(".2f")),
    "highest": Column("Accuracy of the highest score", _format(".2f")),
    "largest_difference": Column("Largest relative difference", _format(".1e")),
    "unscored_differ": Column("Scored in one only", _count),
    "at_limit": Column("At the limit", _count),
    "largest_absolute": Column("Largest abs. diff.", _format(".1e")),
    "largest_relative": Column("Largest rel. diff.", _format(".1e")),
    "ill": Column("By rounding", _count),
    "outside": Column("Others beyond", _count),
    "speedup": Column("Times faster", _format(".0f")),
    "agree": Column("Both agree", _count),
    "differ": Column("Differ by more than 1%", _count),
    "float32 only": Column("Score in float32 only", _count),
    "float64 only": Column("Score in float64 only", _count),
    "no score": Column("No score", _count),
    "stored": Column("Stored run", lambda created: created[:10]),
    "stored_seconds": Column("Seconds for all", _format(".0f")),
}
# What combines columns, see above.
WORDS = ("difference", "beside", "interval", "share", "of n", "and w2", "range", "deviation")
# The columns of tables that several pages show; without a heading they have their own.
RHO = {
    "metric": "",
    "n": "",
    "n_scored": "",
    "rho_paper": "",
    "rho": "ρ ours",
    "rho difference": "",
    "rho interval": "",
    "seconds": "",
}
STEIGER = {
    "other": "",
    "n_computed": "",
    "n": "Scored by both",
    "rho_a": "",
    "rho_b": "",
    "z": "",
    "pvalue": "",
}
MARKS = ("agree", "differ", "float32 only", "float64 only", "no score")
ROUNDING = ("dataset", "n", *(f"{mark} share" for mark in MARKS))
RECHECK = {
    "dataset": "",
    "n": "Computed anew",
    "seconds": "",
    "largest_difference": "",
    "unscored_differ": "",
    "stored": "",
    "stored_seconds": "",
}
# Of a table whose rows are scores; see `values` and `spread`.
BY_SCORE = {
    "paper": "Paper",
    "ours": "Ours",
    "difference": "Difference",
    "last": "Unscored last",
    "lowest": "Lowest",
    "median": "Median",
    "highest_of": "Highest",
}


def render(
    frame: pd.DataFrame,
    columns: Sequence[str] | Mapping[str, str],
    where: str = "",
    best: str = "",
    of_loss: bool = False,
    order: str = "",
) -> str:
    """Return a pipe table.

    Parameters
    ----------
    frame : pandas.DataFrame
        The content of a CSV file. Rows with the ``source`` "reported" become columns with the
        suffix ``_paper``.
    columns : sequence or mapping of str
        Which columns, see this module; a mapping gives headings, "" for a column's own.
    where : str
        Which rows, as for :meth:`pandas.DataFrame.query`.
    best : {"", "largest", "loss", "absolute"}
        The value to print bold in each score's column. With "loss" good correlations are negative.
    of_loss : bool
        Whether the competitors' reported correlations, whose sign others reversed, get theirs back.
    order : str
        The column to sort by, the largest first.

    Raises
    ------
    KeyError
        There is no such column.
    """
    frame = _beside_reported(frame, of_loss) if "source" in frame else frame
    frame = frame.query(where) if where else frame
    frame = frame.sort_values(order, ascending=False) if order else frame
    headings = columns if isinstance(columns, Mapping) else {}
    texts, numeric = {}, []
    for spec in _expanded(columns):
        column = _column(spec, frame)
        heading = headings.get(spec) or column.heading
        if heading in texts:
            raise ValueError(f"two columns are headed {heading!r}; give one another heading")
        texts[heading] = _written(spec, column, frame)
        if best and (name := _parts(spec)[0]) in _ranked(spec):
            ranked = (
                frame[name].mask(frame["metric"] == CEILING) if "metric" in frame else frame[name]
            )
            texts[heading] = _bold(texts[heading], ranked, spec, best)
        if not column.is_text:
            numeric.append(heading)
    return markdown(pd.DataFrame(texts), numeric)


def _parts(spec: str) -> tuple[str, str]:
    """Return the name of a column, which may hold spaces, and the word that combines, if any."""
    word = next((word for word in WORDS if spec.endswith(f" {word}")), "")
    return spec.removesuffix(f" {word}"), word


def _expanded(columns: Iterable[str]) -> list[str]:
    """Write out ``scores`` and ``scores beside``."""
    specs = []
    for spec in columns:
        name, word = _parts(spec)
        specs += [f"{score} {word}".strip() for score in SCORES] if name == "scores" else [spec]
    return specs


def _beside_reported(frame: pd.DataFrame, of_loss: bool) -> pd.DataFrame:
    """Put the reported rows beside ours; those that we lack come first."""
    on = ["dataset", "metric"]
    ours = frame[frame["source"] == "computed"]
    paper = frame.loc[frame["source"] == "reported", [*on, *SCORES]].copy()
    if of_loss:
        paper.loc[paper["metric"] != "epsilon", CORRELATIONS] *= -1
    both = ours.merge(paper, on=on, how="outer", suffixes=("", "_paper"))
    keys = pd.MultiIndex.from_frame(pd.concat([paper[on], ours[on]]))
    last = keys[~keys.duplicated(keep="last")]  # ours have their own place
    return both.iloc[last.get_indexer(pd.MultiIndex.from_frame(both[on])).argsort()]


def _column(spec: str, frame: pd.DataFrame) -> Column:
    """Return how a column is headed and written."""
    name, word = _parts(spec)
    if name.endswith("_paper"):
        score = name.removesuffix("_paper")
        return Column(f"{_heading(score)} paper", _format(".0f" if "top64" in score else ".2f"))
    if name.endswith("_all"):
        return Column(f"{_heading(name.removesuffix('_all'))}, unscored last", _score(name))
    if word == "interval":
        write = COLUMNS[name].write if name in COLUMNS else _score(name)
        return Column(_interval_title(frame, name), write)
    if word == "and w2":
        return Column("Weights", _format("g"), True)
    if word == "difference":
        return Column("Difference", _score(name, "+"))
    if name in SCORES:
        return Column(SCORES[name], _score(name))
    if name in BY_SCORE and "score" in frame:
        counted = {"ours": ("n_scored", " scored"), "last": ("n", "")}.get(name)
        count = f" ({_count(frame[counted[0]].iloc[0])}{counted[1]})" if counted else ""
        return Column(BY_SCORE[name] + count, str)
    if word == "range":
        return Column(_heading(name), _count)
    if word == "of n":
        return Column("Drawn", _count)
    if word == "share":
        return Column(_column(name, frame).heading, _format(".1%"))
    if name in COLUMNS:
        return COLUMNS[name]
    if spec in frame:  # of one page
        is_number = pd.api.types.is_numeric_dtype(frame[spec])
        return Column(
            spec.replace("_", " ").capitalize(),
            _format(",.4g") if is_number else str,
            not is_number,
        )
    raise KeyError(f"no column {spec!r}; the table has {', '.join(frame)}")


def _heading(name: str) -> str:
    return SCORES[name] if name in SCORES else COLUMNS[name].heading


def _written(spec: str, column: Column, frame: pd.DataFrame) -> list[str]:
    """Return a column's cells."""
    name, word = _parts(spec)
    write = column.write
    if word == "share":
        values = frame.get(name, pd.Series(0.0, frame.index))
        return [write(value) for value in values.fillna(0) / frame["n"]]
    values = frame[name]
    if word == "difference":
        return [write(value) for value in values - frame[f"{name}_paper"]]
    if word == "deviation":
        both = zip(values, frame[f"{name}_std"], strict=True)
        return ["" if pd.isna(mean) else f"{mean:.2f} ± {std:.2f}" for mean, std in both]
    if word == "range":
        both = zip(values, frame[f"{name}_most"], strict=True)
        return [_count(a) if a == b else f"{_count(a)} to {_count(b)}" for a, b in both]
    if word == "of n":
        return [f"{_count(a)} of {_count(b)}" for a, b in zip(values, frame["n"], strict=True)]
    if word == "and w2":
        both = zip(values, frame["w2"], strict=True)
        return ["none" if pd.isna(a) else f"{write(a)}, {write(b)}" for a, b in both]
    if word == "interval":
        by_row = "score" in frame
        return [
            _interval(row, *(("low", "high") if by_row else (f"{name}_low", f"{name}_high")),
                      _score(row["score"]) if by_row else write, row[name])
            for _, row in frame.iterrows()
        ]  # fmt: skip
    if word == "beside":
        paper = _column(f"{name}_paper", frame).write if name != "archs" else _count
        reported = frame.get(f"{name}_paper", pd.Series(pd.NA, frame.index))
        both = zip(values, reported, strict=True)
        return [write(a) + (f"{NO_BREAK}({paper(b)})" if pd.notna(b) else "") for a, b in both]
    if name in BY_SCORE and "score" in frame:
        both = zip(frame["score"], values, strict=True)
        return [_score(score, "+" if name == "difference" else "-")(value) for score, value in both]
    return [write(value) for value in values]


def _score(name: str, sign: str = "-") -> Callable[[Any], str]:
    """Write one of the six scores as the paper does, with one more digit for correlations."""
    if not _has_decimals(name):
        return _format(f"{sign}.0f")
    return _format(f"{sign}.2f" if name.startswith("top10_top10") else f"{sign}.3f")


def _has_decimals(name: str) -> bool:
    """Say whether it is a number, not a count or a power of ten."""
    return not name.startswith(("top64_top5", "log10", "scores for"))


def _interval(row: Any, low: str, high: str, write: Callable[[Any], str], value: float) -> str:
    """Return the ends of a bootstrap interval, on one line."""
    if pd.isna(row[low]):
        return "" if pd.isna(value) else "none"
    return f"{write(row[low])}{NO_BREAK}to{NO_BREAK}{write(row[high])}"


def _interval_title(frame: pd.DataFrame, name: str) -> str:
    """Head the column of intervals; where there are none, it says why."""
    low = "low" if "low" in frame else f"{name}_low"
    has_none = bool((frame[name].notna() & frame[low].isna()).any())
    return "95% interval" + f": none, under {LEAST_RESAMPLES} resamples" * has_none


def _ranked(spec: str) -> tuple[str, ...]:
    """Return the columns of which the best value is printed bold."""
    if spec.endswith((" difference", " interval")):
        return ()
    return (*SCORES, "rho_common", "tau_common", "rho_last", "tau_last")


def _bold(texts: list[str], values: pd.Series, spec: str, best: str) -> list[str]:
    if best == "absolute":
        values = values.abs()
    if best == "loss" and spec.startswith(("rho", "tau")):
        values = -values
    return [
        f"**{text}**" if text and value == values.max() else text
        for text, value in zip(texts, values, strict=True)
    ]


def markdown(frame: pd.DataFrame, numeric: Sequence[str] = ()) -> str:
    """Return a pipe table of texts; columns named in `numeric` are aligned to the right."""
    align = ["right" if column in numeric else "left" for column in frame]
    text = frame.to_markdown(index=False, colalign=align, disable_numparse=True)
    return f"{text}\n"


# Tables whose rows are scores ----------------------------------------------------------------


def values(frame: pd.DataFrame) -> pd.DataFrame:
    """Return epsilon's scores, a row each: paper, ours, interval, unscored last."""
    rows = []
    for dataset, group in frame[frame["metric"] == "epsilon"].groupby("dataset", sort=False):
        paper, ours = (
            group[group["source"] == source].iloc[0] for source in ("reported", "computed")
        )
        rows += [
            {"dataset": dataset, "score": name, "paper": paper[name], "ours": ours[name]}
            | {"difference": ours[name] - paper[name], "low": ours[f"{name}_low"]}
            | {"high": ours[f"{name}_high"], "last": ours[f"{name}_all"]}
            | {"n": ours["n"], "n_scored": ours["n_scored"]}
            for name in SCORES
        ]
    return pd.DataFrame(rows)


def spread(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how ρ and τ vary between batches of images, a row each, beside the paper's values."""
    rows = []
    for dataset, group in frame.groupby("dataset", sort=False):
        for name in ("rho", "tau"):
            found = group[name]
            rows.append(
                {"dataset": dataset, "score": name, "batches": len(found)}
                | {"n_scored": group["n_scored"].min(), "n_scored_most": group["n_scored"].max()}
                | {"lowest": found.min(), "median": found.median(), "highest_of": found.max()}
                | {"paper": group[f"{name}_paper"].iloc[0]}
            )
    return pd.DataFrame(rows)


# The landing page, the data page, and what every page says -----------------------------------


def scoreboard(frame: pd.DataFrame) -> str:
    """Return the landing page's table: every item of the paper, with verdict and evidence.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows of all pages' ``scoreboard.csv``. An item without a row has nothing to compare.
        Rows with too few architectures are not judged.
    """
    lines = []
    for item, page in ITEMS.items():
        link = f"[{item.replace(' ', NO_BREAK)}](../notebooks/{page}.ipynb)"
        rows = frame[(frame["item"] == item) & (frame["verdict"] != "too few")]
        if rows.empty:
            few = (frame["item"] == item).any()
            badge = _badge("notyet", "too few to judge") if few else _badge("reproduced", "shown")
            lines.append({"Item": link, "Verdict": badge})
            continue
        rows = rows.reset_index(drop=True)
        own = rows[rows["of"] == "epsilon"]
        own = rows if own.empty else own
        far = own.loc[(own["reproduced"] - own["paper"]).abs().idxmax()]
        quantity = far["quantity"]
        lines.append(
            {
                "Item": link,
                "Verdict": _verdict(own),
                "Epsilon": _agreement(rows[rows["of"] == "epsilon"]),
                "Others": _agreement(rows[rows["of"] == "others"]),
                "Ours (paper)": f"{_score(quantity)(far['reproduced'])}{NO_BREAK}("
                f"{far['paper']:.{2 if _has_decimals(quantity) else 0}f})",  # as printed
                "Furthest": f"{_titled(far['row'])}, {SCORES.get(quantity, quantity)}",
                "Scored": f"{_count(far['n_scored'])} of {_count(far['n'])}"
                if pd.notna(far["n"])
                else "",
            }
        )
    return markdown(pd.DataFrame(lines).fillna(""), ["Ours (paper)", "Scored"])


def _verdict(rows: pd.DataFrame) -> str:
    """Judge an item by the share of its values that agree."""
    share = (rows["verdict"] == "reproduced").mean()
    if share == 1:
        return _badge("reproduced", "reproduced")
    return _badge("mostly", "mostly") if share >= MOSTLY else _badge("differs", "differs")


def _agreement(rows: pd.DataFrame) -> str:
    """Show how many values agree, as a bar and in figures."""
    if rows.empty:
        return ""
    agree = int((rows["verdict"] == "reproduced").sum())
    bar = f'<span class="share" style="--share: {agree / len(rows):.0%}"></span>'
    return f'<span class="agreement">{bar} {agree} of {len(rows)}</span>'


def source_list(frame: pd.DataFrame) -> str:
    """Return the data page's list of sources; a table of so many texts would not fit a page."""
    items = []
    for _, row in frame.iterrows():
        origin = f"[{row['Origin']}]({row['Address']})" if row["Address"] else row["Origin"]
        size = "" if pd.isna(row["Bytes"]) else f"; {row['Bytes'] / 1e6:.1f} MB"
        items.append(
            f"`{row['File']}`\n"
            f": {row['Content']}.\n"
            f"  From: {origin}. Licence: {row['Licence']}{size}. "
            f"SHA-256 {row['SHA-256'][:16]}…\n"
        )
    return "\n".join(items)


def about(page: Mapping[str, Any], numbers: Mapping[str, Any]) -> str:
    """Return what every page says about itself."""
    parameters = ", ".join(f"`{key} = {value!r}`" for key, value in page["parameters"].items())
    used = ", ".join(f"`{name}` (SHA-256 {sha[:12]}…)" for name, sha in page["sources"].items())
    lines = {
        "Parameters": parameters,
        "Computed and scored": numbers.get("covered", ""),
        "Inputs": numbers.get("input", ""),
        "Recorded": ", ".join(f"`{name}`" for name in page["recorded"]),
        "Data": used or "none: everything on this page comes with the package",
        "Run time": f"{page['seconds']:.0f} s on {page['created'][:10]}; stored scores are reused",
    }
    listed = "".join(f"- **{name}:** {text}\n" for name, text in lines.items() if text)
    return f"## About this page\n\n{listed}\n{{doc}}`Where the data come from </book/data>`.\n"


def _badge(kind: str, text: str) -> str:
    return f'<span class="badge-{kind}">{text}</span>'


def _titled(row: str) -> str:
    """Write out the names of search spaces and datasets in a row's name."""
    return ", ".join(SPACES.get(name, DATASETS.get(name, name)) for name in row.split(", "))
