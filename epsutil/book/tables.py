"""How a table looks: Markdown made from a tidy DataFrame by the columns that are asked for.

A column is asked for by its name in the frame, or by the name and a word that combines columns:

==================  ============================================================
``rho difference``  ours minus the paper's
``rho beside``      ours and, in brackets, the paper's
``rho interval``    the ends of the bootstrap interval
``agree share``     of ``n``, in per cent
``n_scored of n``   both counts
``n networks``      and in brackets ``n_networks``
``w1 and w2``       both values
``test deviation``  a mean and, from ``test_std``, the standard deviation
``n_scored range``  from that to ``n_scored_most``
``scores beside``   all six scores, as above; ``scores`` are ours alone
==================  ============================================================

How a column is headed and written is in `COLUMNS`.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from epsutil.names import CEILING, CORRELATIONS, DATASETS, ITEMS, METRICS, SCORES, SIGNALS, SPACES
from epsutil.statistics import LEAST_RESAMPLES

# The columns of a scoreboard.csv; `of` is "epsilon" or "others".
SCOREBOARD = ("item", "of", "row", "quantity", "paper", "reproduced", "n_scored", "n", "verdict")
NO_BREAK = "\N{NO-BREAK SPACE}"
MOSTLY = 0.75  # of the values of an item that agree, from which it is mostly reproduced
# How values are written: by a format, a function, or names, which are texts aligned to the left.
Form = str | Mapping[Any, str] | Callable[[Any], str]


class Column(NamedTuple):
    """How a column is headed, and its values are written."""

    heading: str
    form: Form


def _write(value: Any, form: Form) -> str:
    if isinstance(form, Mapping):
        return form.get(value, str(value))
    if callable(form):
        return form(value)
    return "" if pd.isna(value) else format(value, form)


def _or_dropped(value: float) -> str:
    return "dropped" if pd.isna(value) else f"{value:.4f}"


def _columns(form: Form, **headings: str) -> dict[str, Column]:
    return {name: Column(heading, form) for name, heading in headings.items()}


_COUNT = ",.0f"
_EVALUATED = {
    f"{wide}_{part}": f"{wide}, only those {word} in float32"
    for wide in ("float64", "extended")
    for part, word in {"same": "scored", "rest": "not scored"}.items()
}
_LOSSES = {
    "val_loss_last": "last validation loss",
    "test_loss_last": "last test loss",
    "val_loss_best": "lowest validation loss",
    "test_loss_at_best_val": "test loss of the same epoch",
}
_METRICS = METRICS | {"epsilon": "**epsilon**", CEILING: f"*{METRICS[CEILING]}*"}
_METRICS["warm-up by params"] = f"warm-up by {METRICS['params']}"
COLUMNS = {
    **_columns(DATASETS, dataset="Dataset", searched_on="Searched on"),
    **_columns(SPACES, space="Space"),
    **_columns(_METRICS, metric="Metric", method="Method", other="epsilon against"),
    **_columns(SCORES, score="Score"),
    **_columns(_EVALUATED, evaluated="Evaluated in"),
    **_columns(_LOSSES, loss="Loss"),
    **_columns(SIGNALS, signal="Chosen by"),
    **_columns({True: "with", False: "without"}, biased="Biases"),
    **_columns({}, dtype="Precision", initialisation="Weights", chosen_by="Chosen by"),
    **_columns(_COUNT, n="Computed", n_scored="Scored", archs="Archs", n_computed="Computed"),
    **_columns(_COUNT, n_epsilon="Scored by both", n_runs="With two runs", batches="Batches"),
    **_columns(_COUNT, pool="N", steps="Trained", image="Image"),
    **_columns(_COUNT, unscored_differ="Scored in one only", at_limit="At the limit"),
    **_columns(_COUNT, ill="By rounding", outside="Others beyond"),
    **_columns(_COUNT, agree="Both agree", differ="Differ by more than 1%"),
    **_columns(_COUNT, **{f"float{n} only": f"Score in float{n} only" for n in (32, 64)}),
    **_columns(_COUNT, **{"no score": "No score"}),
    **_columns(".0%", unscored="Unscored"),
    **_columns(".1%", coverage="Coverage", top10_unscored="Unscored of the true top-10%"),
    **_columns(".1%", reached="Share of the ceiling", reached_top10="Share, top-10%"),
    **_columns(".1%", reached_all="Share, unscored last"),
    **_columns("g", w1="Weight 1", w2="Weight 2", cost_hours="Hours, paper"),
    **_columns(".3e", v1="$V_1$", v2="$V_2$"),
    **_columns(_or_dropped, v1_normalised="$V'_1$", v2_normalised="$V'_2$"),
    **_columns(_or_dropped, difference=r"$\lvert V'_1 - V'_2 \rvert$"),
    **_columns(".3f", rho_a="ρ epsilon", rho_b="ρ other", rho_networks="ρ, a row per network"),
    **_columns(".3f", rho_a_networks="Epsilon, a row per network"),
    **_columns(".3f", rho_b_networks="Other, a row per network"),
    **_columns(".3f", rho_common="ρ, all scored", tau_common="τ, all scored"),
    **_columns(".3f", rho_last="ρ, unscored last", tau_last="τ, unscored last"),
    **_columns(".3f", rho_averaged="ρ mean", tau_averaged="τ mean"),
    **_columns(".3f", rho_size="ρ with size", rho_params="ρ of size"),
    **_columns(".3f", partial="ρ beyond size", partial_epsilon="ρ beyond size, both"),
    **_columns(".1f", z="z"),
    **_columns(lambda p: "< 1e-16" if p < 1e-16 else _write(p, ".1e"), pvalue="p"),
    **_columns(".2f", validation="Validation", test="Test", test_epsilon="Test, epsilon"),
    **_columns(".2f", best="Best accuracy of all", best_scored="Best accuracy drawn"),
    **_columns(".2f", highest_epsilon="Accuracy of the highest epsilon"),
    **_columns(".2f", highest="Accuracy of the highest score"),
    **_columns("+.2f", lead="Lead"),
    **_columns("+.3f", gain="Gain", width_change="Change of the width", beyond="Gain beyond"),
    **_columns(lambda n: "not reached" if n == -math.inf else f"{n:,.0f}", saved="Trainings saved"),
    **_columns(".1e", largest_absolute="Largest abs. diff.", largest_relative="Largest rel. diff."),
    **_columns(".1e", largest_difference="Largest relative difference"),
    **_columns(lambda s: _write(s, ".2g" if s < 99.5 else ".0f"), seconds="Seconds"),
    **_columns(".0f", speedup="Times faster", stored_seconds="Seconds for all"),
    **_columns(lambda created: created[:10], stored="Stored run"),
}
# What combines two columns, see above: the other one, how their texts are joined and headed.
_JOINS: dict[str, tuple[str, Callable[[str, str], str], Column | None]] = {
    "of n": ("n", "{} of {}".format, Column("Drawn", _COUNT)),
    "networks": ("n_networks", "{} ({})".format, Column("Scored (networks)", _COUNT)),
    "and w2": ("w2", lambda a, b: f"{a}, {b}" if a else "none", Column("Weights", {})),
    "range": ("{}_most", lambda a, b: a if a == b else f"{a} to {b}", None),
    "deviation": ("{}_std", lambda mean, std: mean and f"{mean} ± {std}", None),
}
WORDS = ("difference", "beside", "interval", "share", *_JOINS)
# The columns of tables that several pages show; without a heading they have their own.
RHO = {"metric": "", "n": "", "n_scored networks": "", "rho_paper": "", "rho": "ρ ours"}
RHO |= dict.fromkeys(["rho difference", "rho interval", "rho_networks", "seconds"], "")
STEIGER = {"other": "", "n networks": "Scored by both (networks)", "rho_a": "", "rho_b": ""}
STEIGER |= dict.fromkeys(["rho_a_networks", "rho_b_networks", "z", "pvalue"], "")
MARKS = ("agree", "differ", "float32 only", "float64 only", "no score")
ROUNDING = ("dataset", "n", *(f"{mark} share" for mark in MARKS))
RECHECK = {"dataset": "", "n": "Computed anew", "seconds": ""} | dict.fromkeys(
    ["largest_difference", "unscored_differ", "stored", "stored_seconds"], ""
)
VALUES = ("score", "paper", "ours", "difference", "ours interval", "last")
_RANGE = ("lowest", "median", "highest_of")
SPREAD = ("dataset", "score", "batches", "n_scored range", *_RANGE, "paper")
SAME = ("metric", "rho_common", "tau_common", "rho_last", "tau_last")
COVERAGE = ("dataset", "metric", "n", "n_scored", "coverage", "top10_unscored", "rho", "rho_all")
WITH_UNSCORED = "source == 'computed' and (n_scored < n or metric == 'epsilon')"  # its rows
_RANKED = (*SCORES, "rho_common", "tau_common", "rho_last", "tau_last")  # have a best value
# Of a table whose rows are scores; see `values` and `spread`.
BY_SCORE = {name: name.capitalize() for name in ("paper", "ours", "difference", "lowest", "median")}
BY_SCORE |= {"last": "Unscored last", "highest_of": "Highest"}


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
    frame = beside_reported(frame, of_loss) if "source" in frame else frame
    frame = frame.query(where) if where else frame
    frame = frame.sort_values(order, ascending=False) if order else frame
    headings = columns if isinstance(columns, Mapping) else {}
    texts, numeric = {}, []
    for spec in itertools.chain.from_iterable(map(_expanded, columns)):
        name, word = _parts(spec)
        column, cells = _cells(name, word, frame)
        heading = headings.get(spec) or column.heading
        if heading in texts:
            raise ValueError(f"two columns are headed {heading!r}; give one another heading")
        if best and name in _RANKED and word not in ("difference", "interval"):
            cells = _bold(cells, frame, name, best)
        texts[heading] = cells
        if not isinstance(column.form, Mapping):
            numeric.append(heading)
    return markdown(pd.DataFrame(texts), numeric)


def _parts(spec: str) -> tuple[str, str]:
    """Return the name of a column, which may hold spaces, and the word that combines, if any."""
    word = next((word for word in WORDS if spec.endswith(f" {word}")), "")
    return spec.removesuffix(f" {word}"), word


def _expanded(spec: str) -> list[str]:
    """Write out ``scores`` and ``scores beside``."""
    name, word = _parts(spec)
    return [f"{score} {word}".strip() for score in SCORES] if name == "scores" else [spec]


def beside_reported(frame: pd.DataFrame, of_loss: bool) -> pd.DataFrame:
    """Put the reported rows beside ours; those that we lack come first."""
    on = ["dataset", "metric"]
    ours, paper = (frame[frame["source"] == source] for source in ("computed", "reported"))
    paper = paper.set_index(on)[[*SCORES]].add_suffix("_paper")
    if of_loss:
        others = paper.index.get_level_values("metric") != "epsilon"
        paper.loc[others, [f"{name}_paper" for name in CORRELATIONS]] *= -1
    lacking = paper.drop(ours.set_index(on).index, errors="ignore")
    return pd.concat([lacking.reset_index(), ours.join(paper, on=on)])


def _column(name: str, frame: pd.DataFrame) -> Column:
    """Return how a column is headed and written."""
    of = name.rpartition("_")[0]
    if name.endswith("_paper"):
        as_printed = {"archs": _COUNT, "top64_top5": ".0f"}.get(of, ".2f")
        return Column(f"{_column(of, frame).heading} paper", as_printed)
    if name in SCORES:
        return Column(SCORES[name], _score(name))
    if name in BY_SCORE and "score" in frame:
        counted, word = {"ours": ("n_scored", " scored"), "last": ("n", "")}.get(name, ("", ""))
        count = f" ({_write(frame[counted].iloc[0], _COUNT)}{word})" if counted else ""
        return Column(BY_SCORE[name] + count, _COUNT)
    if name in COLUMNS:
        return COLUMNS[name]
    if name.endswith("_all"):
        return Column(f"{_column(of, frame).heading}, unscored last", _score(name))
    if name not in frame:
        raise KeyError(f"no column {name!r}; the table has {', '.join(frame)}")
    # of one page
    form: Form = _alike(frame[name]) if pd.api.types.is_numeric_dtype(frame[name]) else {}
    return Column(name.replace("_", " ").capitalize(), form)


def _alike(values: pd.Series) -> str:
    """Return a format with equal decimals: at most four digits for the largest number."""
    values = values[values.abs() < math.inf]
    most = 3 - math.floor(math.log10(values.abs().max() or 1)) if len(values) else 0
    texts = [f"{value:.{max(most, 0)}f}".rstrip("0").partition(".")[2] for value in values]
    return f",.{max(map(len, texts), default=0)}f"


def _cells(name: str, word: str, frame: pd.DataFrame) -> tuple[Column, list[str]]:
    """Return how a column is headed and written, and its cells."""
    if word == "interval":
        return _intervals(name, frame)
    column = _column(name, frame)
    if word == "share":
        shares = frame.get(name, pd.Series(0.0, frame.index)).fillna(0) / frame["n"]
        return column, _all(shares, ".1%")
    if word == "difference":
        column = Column("Difference", _score(name, "+"))
        return column, _all(frame[name] - frame[f"{name}_paper"], column.form)
    if name in BY_SCORE and "score" in frame:
        forms = (_score(score, "+" if name == "difference" else "-") for score in frame["score"])
        return column, list(map(_write, frame[name], forms))
    cells = _all(frame[name], column.form)
    if word == "beside":
        paper = frame.get(f"{name}_paper", pd.Series(pd.NA, frame.index))
        reported = _all(paper, _column(f"{name}_paper", frame).form)
        both = zip(cells, reported, strict=True)
        return column, [ours + f"{NO_BREAK}({paper})" * bool(paper) for ours, paper in both]
    if not word:
        return column, cells
    other, join, looks = _JOINS[word]
    return looks or column, list(map(join, cells, _all(frame[other.format(name)], column.form)))


def _all(values: Iterable[Any], form: Form) -> list[str]:
    return [_write(value, form) for value in values]


def _score(name: str, sign: str = "-") -> str:
    """Return the format of one of the six scores: as the paper's, a digit more in correlations."""
    if not _has_decimals(name):
        return f"{sign}.0f"
    return f"{sign}.2f" if name.startswith("top10_top10") else f"{sign}.3f"


def _has_decimals(name: str) -> bool:
    """Say whether it is a number, not a count or a power of ten."""
    return not name.startswith(("top64_top5", "log10", "scores for"))


def _intervals(name: str, frame: pd.DataFrame) -> tuple[Column, list[str]]:
    """Return the ends of bootstrap intervals; where there are none, the heading says why."""
    by_row = "score" in frame
    ends = [frame[end if by_row else f"{name}_{end}"] for end in ("low", "high")]
    form = COLUMNS[name].form if name in COLUMNS else _score(name)
    forms = frame["score"].map(_score) if by_row else [form] * len(frame)
    cells = []
    for value, low, high, form in zip(frame[name], *ends, forms, strict=True):
        found = f"{_write(low, form)}{NO_BREAK}to{NO_BREAK}{_write(high, form)}"
        cells.append(found if pd.notna(low) else "none" if pd.notna(value) else "")
    why = f": none, under {LEAST_RESAMPLES} resamples" if "none" in cells else ""
    return Column(f"95% interval{why}", _COUNT), cells


def _bold(cells: Sequence[str], frame: pd.DataFrame, name: str, best: str) -> list[str]:
    values = frame[name].mask(frame["metric"] == CEILING) if "metric" in frame else frame[name]
    if best == "absolute":
        values = values.abs()
    if best == "loss" and name.startswith(("rho", "tau")):
        values = -values
    both = zip(cells, values == values.max(), strict=True)
    return [f"**{cell}**" if cell and is_best else cell for cell, is_best in both]


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
        of = group.drop_duplicates("source").set_index("source")
        paper, ours = of.loc["reported"], of.loc["computed"]
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
    rows = [
        {"dataset": dataset, "score": name, "batches": group[name].size}
        | {"n_scored": group["n_scored"].min(), "n_scored_most": group["n_scored"].max()}
        | {"lowest": group[name].min(), "median": group[name].median()}
        | {"highest_of": group[name].max(), "paper": group[f"{name}_paper"].iloc[0]}
        for dataset, group in frame.groupby("dataset", sort=False)
        for name in ("rho", "tau")
    ]
    return pd.DataFrame(rows)


# The landing page, the data page, and what every page says -----------------------------------


def scoreboard(frame: pd.DataFrame) -> str:
    """Return the landing page's table: every item of the paper, with verdict and evidence.

    `frame` has the rows of all pages' ``scoreboard.csv``. An item without a row has nothing to
    compare. Rows with too few architectures are not judged.
    """
    lines = []
    for item, page in ITEMS.items():
        of_item = frame[frame["item"] == item]
        line = {"Item": f"[{item.replace(' ', NO_BREAK)}](../notebooks/{page}.ipynb)"}
        lines.append(line)
        rows = of_item[of_item["verdict"] != "too few"].reset_index(drop=True)
        if rows.empty:
            badge = ("reproduced", "shown") if of_item.empty else ("notyet", "too few to judge")
            line["Verdict"] = _badge(*badge)
            continue
        own, others = (rows[rows["of"] == of] for of in ("epsilon", "others"))
        judged = rows if own.empty else own
        apart = (judged["reproduced"] - judged["paper"]).abs()
        far = judged.loc[apart.fillna(-1).idxmax()]  # -1: a value that is undefined
        quantity = far["quantity"]
        ours = _write(far["reproduced"], _score(quantity)) or "undefined"
        printed = f"{far['paper']:.{2 if _has_decimals(quantity) else 0}f}"
        line |= {
            "Verdict": _verdict(judged),
            "Epsilon": _agreement(own),
            "Others": _agreement(others),
            "Ours (paper)": f"{ours}{NO_BREAK}({printed})",
            "Furthest": f"{_titled(far['row'])}, {SCORES.get(quantity, quantity)}",
        }
        if pd.notna(far["n"]):
            line["Scored"] = f"{_write(far['n_scored'], _COUNT)} of {far['n']:,.0f}"
    return markdown(pd.DataFrame(lines).fillna(""), ["Ours (paper)", "Scored"])


def _verdict(rows: pd.DataFrame) -> str:
    """Judge an item by the share of its values that agree."""
    share = (rows["verdict"] == "reproduced").mean()
    word = "reproduced" if share == 1 else "mostly" if share >= MOSTLY else "differs"
    return _badge(word, word)


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
            f"`{row['File']}`\n: {row['Content']}.\n"
            f"  From: {origin}. Licence: {row['Licence']}{size}. SHA-256 {row['SHA-256'][:16]}…\n"
        )
    return "\n".join(items)


def about(page: Mapping[str, Any]) -> str:
    """Return what every page says about itself, from its `page.json`."""
    parameters = ", ".join(f"`{key} = {value!r}`" for key, value in page["parameters"].items())
    used = ", ".join(f"`{name}` (SHA-256 {sha[:12]}…)" for name, sha in page["sources"].items())
    lines = {
        "Parameters": parameters,
        "Computed and scored": page["covered"],
        "Inputs": page["input"],
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
