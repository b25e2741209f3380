"""How a table looks: Markdown made from a tidy DataFrame.

Each public function takes the content of one CSV file and returns the text of one table, so that
:mod:`epsutil.results` can trace what a page shows to the file it came from.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from epsutil.names import CORRELATIONS, DATASETS, ITEMS, METRICS, SCORES, SPACES
from epsutil.statistics import LEAST_RESAMPLES

# The columns of a scoreboard.csv, and their headings on the landing page.
SCOREBOARD = {
    "item": "Item",
    "row": "What",
    "quantity": "Score",
    "paper": "Paper",
    "reproduced": "Ours",
    "n_scored": "Scored",
    "n": "of",
    "verdict": "Verdict",
}


def metrics(frame: pd.DataFrame, dataset: str, of_loss: bool = False) -> str:
    """Return a row per metric, every cell ours and, in brackets, the paper's."""
    rows = frame[frame["dataset"] == dataset].set_index("metric")
    paper = _reported(rows, of_loss)
    ours = rows[rows["source"] == "computed"].rename(columns={"n_scored": "archs"})
    order = [*paper.index.difference(ours.index, sort=False), *ours.index]
    wide = ours[["archs", *SCORES]].reindex(order).join(paper.add_suffix("_paper"))
    names = [METRICS.get(name, name) for name in order]
    return _beside_paper(wide.assign(name=names, archs_paper=pd.NA), "Metric", of_loss, "Scored")


def competitors(frame: pd.DataFrame, dataset: str, of_loss: bool = False) -> str:
    """Return ρ of every metric for one dataset: paper, ours, difference, interval, its cost."""
    rows = frame[frame["dataset"] == dataset]
    paper = _reported(rows.set_index("metric"), of_loss)["rho"]
    lines = []
    for _, row in rows[rows["source"] == "computed"].iterrows():
        reported = paper.get(row["metric"], float("nan"))
        lines.append(
            {
                "Metric": METRICS.get(row["metric"], row["metric"]),
                "Computed": _count(row["n"]),
                "Scored": _count(row["n_scored"]),
                "ρ paper": "" if pd.isna(reported) else f"{reported:.2f}",
                "ρ ours": _score("rho", row["rho"]),
                "Difference": _score("rho", row["rho"] - reported, sign="+"),
                _interval_title(rows): _interval("rho", row),
                "Seconds": "" if pd.isna(row["seconds"]) else f"{row['seconds']:.2g}",
            }
        )
    return markdown(lines, numeric=list(lines[0])[1:])


def fisher_networks(frame: pd.DataFrame) -> str:
    """Return fisher's scores on two kinds of networks, ours and, in brackets, the paper's."""
    names = ["rho", "rho_top10", "tau", "tau_top10", "top10_top10"]
    lines = [
        {
            "Dataset": DATASETS[row["dataset"]],
            "Metric": METRICS.get(row["metric"], row["metric"]),
            "Biases": "with" if row["biased"] else "without",
            "Scored": _count(row["n_scored"]),
        }
        | {SCORES[name]: _beside(name, row) for name in names}
        for _, row in frame.iterrows()
    ]
    return markdown(lines, numeric=list(lines[0])[3:])


def same_architectures(frame: pd.DataFrame, dataset: str) -> str:
    """Return ρ and τ of all metrics on the same architectures, unscored left out or last."""
    rows = frame[frame["dataset"] == dataset]
    best = rows.select_dtypes("number").abs().max()
    lines = [
        {"Metric": METRICS.get(row["metric"], row["metric"])}
        | {
            f"{title}, {words}": _bold(_score(name, row[key]), abs(row[key]) == best[key])
            for which, words in (("common", "all scored"), ("last", "unscored last"))
            for name, title in (("rho", "ρ"), ("tau", "τ"))
            for key in [f"{name}_{which}"]
        }
        for _, row in rows.iterrows()
    ]
    return markdown(lines, numeric=list(lines[0])[1:])


def comparison(frame: pd.DataFrame, dataset: str) -> str:
    """Return epsilon's scores for one dataset: paper, ours, difference, interval, unscored last."""
    rows = frame[(frame["dataset"] == dataset) & (frame["metric"] == "epsilon")]
    paper = rows[rows["source"] == "reported"].iloc[0]
    ours = rows[rows["source"] == "computed"].iloc[0]
    lines = [
        {
            "Score": title,
            "Paper": _score(name, paper[name]),
            f"Ours ({_count(ours['n_scored'])} scored)": _score(name, ours[name]),
            "Difference": _score(name, ours[name] - paper[name], sign="+"),
            _interval_title(rows): _interval(name, ours),
            f"Unscored last ({_count(ours['n'])})": _score(name, ours[f"{name}_all"]),
        }
        for name, title in SCORES.items()
    ]
    return markdown(lines, numeric=list(lines[0])[1:])


def coverage(frame: pd.DataFrame) -> str:
    """Return how many architectures epsilon and others that leave some out score."""
    rows = frame[frame["source"] == "computed"]
    rows = rows[(rows["n_scored"] < rows["n"]) | (rows["metric"] == "epsilon")]
    lines = [
        {
            "Dataset": DATASETS.get(row["dataset"], row["dataset"]),
            "Metric": METRICS.get(row["metric"], row["metric"]),
            "Computed": _count(row["n"]),
            "Scored": _count(row["n_scored"]),
            "Coverage": f"{row['coverage']:.1%}",
            "Unscored of the true top-10%": f"{row['top10_unscored']:.1%}",
            "ρ": _score("rho", row["rho"]),
            "ρ, unscored last": _score("rho", row["rho_all"]),
        }
        for _, row in rows.iterrows()
    ]
    return markdown(lines, numeric=list(lines[0])[2:])


def spread(frame: pd.DataFrame) -> str:
    """Return how ρ and τ vary between batches of images, beside the paper's values."""
    lines = []
    for dataset, group in frame.groupby("dataset", sort=False):
        for name in ("rho", "tau"):
            values = group[name]
            lines.append(
                {
                    "Dataset": DATASETS[str(dataset)],
                    "Score": SCORES[name],
                    "Batches": len(values),
                    "Scored": _counts(group["n_scored"]),
                    "Lowest": _score(name, values.min()),
                    "Median": _score(name, values.median()),
                    "Highest": _score(name, values.max()),
                    "Paper": _score(name, group[f"{name}_paper"].iloc[0]),
                }
            )
    return markdown(lines, numeric=list(lines[0])[2:])


def precision(frame: pd.DataFrame) -> str:
    """Return epsilon's scores in float32 and float64, on all and on the same architectures."""
    titles = {
        "float32": "float32",
        "float64": "float64",
        "float64_same": "float64, only those scored in float32",
        "float64_rest": "float64, only those not scored in float32",
    }
    lines = [
        {
            "Dataset": DATASETS[row["dataset"]],
            "Evaluated in": titles[row["evaluated"]],
            "Scored": _count(row["n_scored"]),
        }
        | {title: _score(name, row[name]) for name, title in SCORES.items()}
        for _, row in frame.iterrows()
    ]
    return markdown(lines, numeric=["Scored", *SCORES.values()])


def rounding(frame: pd.DataFrame) -> str:
    """Return how many architectures have a score in one precision or in both."""
    titles = {
        "agree": "Both agree",
        "differ": "Differ by more than 1%",
        "float32 only": "Score in float32 only",
        "float64 only": "Score in float64 only",
        "no score": "No score",
    }
    lines = [
        {"Dataset": DATASETS[row["dataset"]], "Computed": _count(row["n"])}
        | {title: f"{row.get(mark, 0) / row['n']:.1%}" for mark, title in titles.items()}
        for _, row in frame.fillna(0).iterrows()
    ]
    return markdown(lines, numeric=["Computed", *titles.values()])


def independent(frame: pd.DataFrame) -> str:
    """Return the six scores of our metrics against independently trained accuracies."""
    lines = [
        {"Metric": METRICS.get(row["metric"], row["metric"]), "Scored": _count(row["n_scored"])}
        | {title: _score(name, row[name]) for name, title in SCORES.items()}
        for _, row in frame.iterrows()
    ]
    return markdown(lines, numeric=["Scored", *SCORES.values()])


def recheck(frame: pd.DataFrame) -> str:
    """Return how scores computed now agree with the stored ones."""
    lines = [
        {
            "Dataset": DATASETS[row["dataset"]],
            "Computed anew": _count(row["n"]),
            "Seconds": f"{row['seconds']:.1f}",
            "Largest relative difference": _power(row["largest_difference"]),
            "Scored in one only": int(row["unscored_differ"]),
            "Stored run": row["stored"][:10],
            "Seconds for all": f"{row['stored_seconds']:.0f}",
        }
        for _, row in frame.iterrows()
    ]
    return markdown(lines, numeric=list(lines[0])[1:])


def counts(frame: pd.DataFrame) -> str:
    """Return what the scatter plots show."""
    lines = [
        {
            "Dataset": DATASETS[row["dataset"]],
            "Drawn": f"{_count(row['n_scored'])} of {_count(row['n'])}",
            "Best accuracy of all": _percent(row["best"]),
            "Best accuracy drawn": _percent(row["best_scored"]),
            "Accuracy of the highest epsilon": _percent(row["highest_epsilon"]),
        }
        for _, row in frame.iterrows()
    ]
    return markdown(lines, numeric=list(lines[0])[1:])


def steiger(frame: pd.DataFrame, dataset: str) -> str:
    """Return Steiger's test of epsilon against other metrics."""
    lines = [
        {
            "epsilon against": METRICS.get(row["other"], row["other"]),
            "Computed": _count(row["n_computed"]),
            "Scored by both": _count(row["n"]),
            "ρ epsilon": _score("rho", row["rho_a"]),
            "ρ other": _score("rho", row["rho_b"]),
            "z": "" if pd.isna(row["z"]) else f"{row['z']:.1f}",
            "p": "" if pd.isna(row["z"]) else _pvalue(row["pvalue"]),
        }
        for _, row in frame[frame["dataset"] == dataset].iterrows()
    ]
    return markdown(lines, numeric=list(lines[0])[1:])


def weight_pairs(frame: pd.DataFrame, of_loss: bool = False) -> str:
    """Return a row per pair of weights, every cell ours and, in brackets, the paper's."""
    names = [f"{row['w1']:g}, {row['w2']:g}" for _, row in frame.iterrows()]
    return _beside_paper(frame.assign(name=names), "Weights", of_loss)


def embeddings(frame: pd.DataFrame) -> str:
    """Return Table 10: a row per embedding, every cell ours and, in brackets, the paper's."""
    return _beside_paper(frame.assign(name=frame["embedding"]), "Embedding", of_loss=True)


def initialisations(frame: pd.DataFrame) -> str:
    """Return Table 9: a row per scheme, every cell ours and, in brackets, the paper's."""
    return _beside_paper(frame.assign(name=frame["initialisation"]), "Weights", of_loss=False)


def linear_layer(frame: pd.DataFrame) -> str:
    """Return ρ and τ of a row per scheme: with the linear layer, without it, the paper's."""
    lines = [
        {
            "Weights": row["initialisation"],
            "Archs": _count(row["archs"]),
            "ρ linear": _score("rho", row["rho"]),
            "ρ mean": _score("rho", row["rho_averaged"]),
            "ρ paper": f"{row['rho_paper']:.2f}",
            "τ linear": _score("tau", row["tau"]),
            "τ mean": _score("tau", row["tau_averaged"]),
            "τ paper": f"{row['tau_paper']:.2f}",
        }
        for _, row in frame.iterrows()
    ]
    return markdown(lines, numeric=list(lines[0])[1:])


def counting(frame: pd.DataFrame) -> str:
    """Return the six scores under several ways of counting what lacks a value."""
    lines = [
        {
            "Counted": row["counted"],
            "Computed": _count(row["n"]),
            "Scored": _count(row["n_scored"]),
        }
        | {title: _score(name, row[name]) for name, title in SCORES.items()}
        for _, row in frame.iterrows()
    ]
    return markdown(lines, numeric=["Computed", "Scored", *SCORES.values()])


def selected_weights(frame: pd.DataFrame) -> str:
    """Return the paper's weights and those that the published rule selects."""
    lines = []
    for (space, dataset), group in frame.groupby(["space", "dataset"], sort=False):
        rows = group.set_index("chosen_by")
        line = {"Space": SPACES[str(space)], "Dataset": DATASETS[str(dataset)]}
        for chosen_by, title in (("paper", "Paper"), ("rule", "Rule")):
            row = rows.loc[chosen_by]
            none = pd.isna(row["w1"])
            line |= {
                title: "none" if none else f"{row['w1']:g}, {row['w2']:g}",
                f"{title}: unscored": "" if none else f"{row['unscored']:.0%}",
                f"{title}: ρ": "" if none else _score("rho", row["rho"]),
            }
        lines.append(line)
    return markdown(lines, numeric=list(lines[0])[2:])


def drawn(frame: pd.DataFrame, dataset: str) -> str:
    """Return what the panels of Figure 6 show, for one dataset."""
    lines = [
        {
            "Metric": METRICS.get(row["metric"], row["metric"]),
            "Drawn": f"{_count(row['n_scored'])} of {_count(row['n'])}",
            "ρ": _score("rho", row["rho"]),
            "Best accuracy drawn": _percent(row["best_scored"]),
            "Accuracy of the highest score": _percent(row["highest"]),
        }
        for _, row in frame[frame["dataset"] == dataset].iterrows()
    ]
    return markdown(lines, numeric=list(lines[0])[1:])


def beyond_size(frame: pd.DataFrame, dataset: str) -> str:
    """Return each metric's correlation with accuracy before and after size, the best first."""
    rows = frame[frame["dataset"] == dataset].sort_values("partial", ascending=False)
    lines = [
        {
            "Metric": METRICS.get(row["metric"], row["metric"]),
            "Scored": _count(row["n"]),
            "ρ": _score("rho", row["rho"]),
            "ρ beyond size": _score("rho", row["partial"]),
            "ρ with size": _score("rho", row["rho_size"]),
            "ρ of size": _score("rho", row["rho_params"]),
            "Scored by both": _count(row["n_epsilon"]),
            "ρ beyond size, both": _score("rho", row["partial_epsilon"]),
        }
        for _, row in rows.iterrows()
    ]
    return markdown(lines, numeric=list(lines[0])[1:])


def agreement(frame: pd.DataFrame) -> str:
    """Return the summary of full width against collapse."""
    lines = [
        {
            "Precision": row["dtype"],
            "Computed": _count(row["n"]),
            "Scored": _count(row["n_scored"]),
            "By one only (at the limit)": f"{row['unscored_differ']} ({row['at_limit']})",
            "Largest abs. diff.": _power(row["largest_absolute"]),
            "Largest rel. diff.": _power(row["largest_relative"]),
            "By rounding": int(row["ill"]),
            "Others beyond": int(row["outside"]),
            "Times faster": f"{row['speedup']:.0f}",
        }
        for _, row in frame.iterrows()
    ]
    return markdown(lines, numeric=list(lines[0])[1:])


def steps(frame: pd.DataFrame) -> str:
    """Return the first outputs of a network, raw and normalised."""
    lines = [
        {
            "Image": int(row["image"]),
            "$V_1$": f"{row['v1']:.3e}",
            "$V_2$": f"{row['v2']:.3e}",
            "$V'_1$": _number(row["v1_normalised"]),
            "$V'_2$": _number(row["v2_normalised"]),
            r"$\lvert V'_1 - V'_2 \rvert$": _number(row["difference"]),
        }
        for _, row in frame.iterrows()
    ]
    return markdown(lines, numeric=list(lines[0]))


def scoreboard(frame: pd.DataFrame) -> str:
    """Return the landing page's table: every item of the paper, with verdict and headline.

    `frame` holds the rows of all pages' ``scoreboard.csv``; an item without a row is not yet
    reproduced. Of several rows the one that differs most is shown. Rows with too few architectures
    are not judged.
    """
    lines = []
    for item, page in ITEMS.items():
        rows = frame[frame["item"] == item]
        link = f"[{item}](../notebooks/{page}.ipynb)" if page else item
        if rows.empty:
            badge = _badge("reproduced", "shown") if page else _badge("notyet", "not yet")
            lines.append({"Item": link, "Verdict": badge})
            continue
        judged = rows[rows["verdict"] != "too few"]
        if judged.empty:
            lines.append({"Item": link, "Verdict": _badge("notyet", "too few to judge")})
            continue
        rows = judged
        differs = int((rows["verdict"] == "differs").sum())
        verdict = _badge("differs", "differs") if differs else _badge("reproduced", "reproduced")
        for number, (_, row) in enumerate(_headlines(rows).iterrows()):
            lines.append(
                {
                    "Item": link if not number else "",
                    "Verdict": verdict if not number else "",
                    "Agree": f"{len(rows) - differs} of {len(rows)}" if not number else "",
                    "Headline": f"{_titled(row['row'])}, "
                    f"{SCORES.get(row['quantity'], row['quantity'])}",
                    "Paper": _score(row["quantity"], row["paper"]),
                    "Ours": _score(row["quantity"], row["reproduced"]),
                    "Scored": f"{_count(row['n_scored'])} of {_count(row['n'])}",
                }
            )
    columns = ["Item", "Verdict", "Agree", "Headline", "Paper", "Ours", "Scored"]
    return markdown([{c: line.get(c, "") for c in columns} for line in lines], columns[4:])


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
        "Data": used or "none: everything on this page comes with the package",
        "Run time": f"{page['seconds']:.0f} s on {page['created'][:10]}; stored scores are reused",
        "Rerun": f"`epsutil run {page['page']} -p NAME VALUE`",
    }
    return "".join(f"- **{name}:** {text}\n" for name, text in lines.items() if text)


# Parts of tables -----------------------------------------------------------------------------


def _reported(rows: pd.DataFrame, of_loss: bool) -> pd.DataFrame:
    """Return the reported scores by metric.

    With `of_loss`, the competitors' correlations, whose sign others reversed, get theirs back.
    """
    paper = rows.loc[rows["source"] == "reported", list(SCORES)].copy()
    if of_loss:
        paper.loc[paper.index != "epsilon", CORRELATIONS] *= -1
    return paper


def _beside_paper(frame: pd.DataFrame, heading: str, of_loss: bool, count: str = "Archs") -> str:
    scores = frame[list(SCORES)]
    best = scores.max()
    if of_loss:  # a good metric has negative correlations with a loss
        best[CORRELATIONS] = scores[CORRELATIONS].min()
    lines = [
        {heading: row["name"], count: _beside("archs", row, count=True)}
        | {
            title: _bold(_beside(name, row), row[name] == best[name])
            for name, title in SCORES.items()
        }
        for _, row in frame.iterrows()
    ]
    return markdown(lines, numeric=[count, *SCORES.values()])


def markdown(rows: Sequence[Mapping[str, Any]], numeric: Any = ()) -> str:
    """Return a pipe table; columns named in `numeric` are aligned to the right."""
    frame = pd.DataFrame(rows)
    numeric = set(numeric)
    align = ["right" if column in numeric else "left" for column in frame]
    text = frame.to_markdown(index=False, colalign=align, disable_numparse=True)
    return f"{text}\n"


def _score(name: str, value: float, sign: str = "-") -> str:
    """Format one of the six scores as the paper does, with one more digit for correlations."""
    if pd.isna(value):
        return ""
    if name == "top64_top5" or name.startswith("log10"):
        return f"{value:{sign}.0f}"
    return f"{value:{sign}.2f}" if name == "top10_top10" else f"{value:{sign}.3f}"


def _interval(name: str, row: Mapping[str, Any]) -> str:
    """Return the ends of a bootstrap interval, on one line."""
    if pd.isna(row[f"{name}_low"]):
        return "" if pd.isna(row[name]) else "none"
    low, high = _score(name, row[f"{name}_low"]), _score(name, row[f"{name}_high"])
    return f"{low}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{high}"


def _interval_title(rows: pd.DataFrame) -> str:
    """Head the column of intervals; where there are none, it says why."""
    ours = rows[rows["source"] == "computed"]
    has_none = bool((ours["rho"].notna() & ours["rho_low"].isna()).any())
    return "95% interval" + f": none, under {LEAST_RESAMPLES} resamples" * has_none


def _beside(name: str, row: Mapping[str, Any], count: bool = False) -> str:
    ours, paper = row[name], row[f"{name}_paper"]
    if count:
        return _count(ours) + (f" ({_count(paper)})" if pd.notna(paper) else "")
    printed = (
        "" if pd.isna(paper) else f" ({paper:.0f})" if name == "top64_top5" else f" ({paper:.2f})"
    )
    return _score(name, ours) + printed


def _count(value: float) -> str:
    return "" if pd.isna(value) else f"{int(value):,}"


def _counts(values: pd.Series) -> str:
    """Return a count, or from where to where several go."""
    low, high = _count(values.min()), _count(values.max())
    return low if low == high else f"{low} to {high}"


def _percent(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f}"


def _power(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.1e}"


def _pvalue(value: float) -> str:
    return "< 1e-16" if value < 1e-16 else f"{value:.1e}"


def _number(value: float) -> str:
    return "dropped" if pd.isna(value) else f"{value:.4f}"


def _bold(text: str, is_best: bool) -> str:
    return f"**{text}**" if is_best and text else text


def _badge(kind: str, text: str) -> str:
    return f'<span class="badge-{kind}">{text}</span>'


def _titled(row: str) -> str:
    """Write out the names of search spaces and datasets in a row's name."""
    return ", ".join(SPACES.get(name, DATASETS.get(name, name)) for name in row.split(", "))


def _headlines(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the first row and the one that differs most, so that no disagreement hides."""
    worst = (rows["reproduced"] - rows["paper"]).abs().idxmax()
    return rows.loc[list(dict.fromkeys([rows.index[0], worst]))]
