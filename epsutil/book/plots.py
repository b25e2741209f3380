"""How a figure looks: one style for all, colours that colour-blind readers can tell apart."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    ScalarFormatter,
)
from plotly.subplots import make_subplots
from scipy.cluster import hierarchy
from scipy.spatial import distance

from epsutil.names import DATASETS
from epsutil.spaces import Space

# Okabe and Ito's palette; every use has a second cue (marker, hatch, position or label).
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
LABELS = {  # where the names of names.METRICS are too long; what is better when lower is negated
    "cv": "−cv",
    "ntk": "−ntk",
    "linear_regions": "lin. regions",
    "fisher_weighted": "fisher wtd.",
    "flops": "FLOPs",
    "zico": "ZiCo",
    "zico_released": "ZiCo rel.",
    "meco": "MeCo",
    "swap": "SWAP",
    "az_nas": "AZ-NAS",
}
_DARK_IS_LARGE = sns.cubehelix_palette(as_cmap=True, start=2.6, rot=-0.6, light=0.72, dark=0.1)


def style() -> None:
    """Set the theme of all figures: opaque white, so that dark mode leaves them readable."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette=PALETTE,
        rc={
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "axes.grid": True,
            "grid.color": "#e4e4e4",
            "axes.axisbelow": True,
            "figure.constrained_layout.use": True,
            "svg.fonttype": "path",
        },
    )


def _nothing() -> Figure:
    """Say that there is nothing to plot."""
    figure, axes = plt.subplots(figsize=(5.6, 1.5))
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no architecture to draw", ha="center", va="center")
    return figure


def scatter(
    frame: pd.DataFrame,
    dataset: str,
    x: str = "test_accuracy",
    xlabel: str = "test accuracy (%)",
    log: str = "",
) -> Figure:
    """Plot epsilon against what training gave, as the paper's Figures 1 and 2.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns `x`, ``epsilon`` (NaN is left out), ``params``.
    dataset : str
        For the title.
    x, xlabel : str
        The column on the horizontal axis, and its label.
    log : {"", "x", "y", "xy"}
        Which axes are logarithmic.

    Returns
    -------
    matplotlib.figure.Figure
        Larger dots have more parameters; large ones are drawn first.
    """
    style()
    shown = frame.dropna(subset="epsilon").sort_values("params", ascending=False)
    if shown.empty:
        return _nothing()
    millions = shown["params"] / 1e6
    figure, axes = plt.subplots(figsize=(5.6, 4.6))
    dots = axes.scatter(
        shown[x],
        shown["epsilon"],
        c=millions,
        s=4 + 14 * (millions - millions.min()) / max(float(np.ptp(millions)), 1e-9),
        cmap=_DARK_IS_LARGE,
        linewidths=0,
        rasterized=True,
    )
    axes.set(xlabel=xlabel, ylabel="epsilon", title=DATASETS.get(dataset, dataset))
    if "x" in log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    if "y" in log:
        axes.set_yscale("log")
    figure.colorbar(dots, label="parameters (millions)")
    sns.despine(figure)
    return figure


def density(
    frame: pd.DataFrame, lowest: float, x: str = "test_accuracy", xlabel: str = "test accuracy (%)"
) -> Figure:
    """Plot epsilon against what training gave, for more architectures than dots can show.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns `x`, ``epsilon`` (NaN is left out), ``params``.
    lowest : float
        Where the horizontal axis begins.
    x, xlabel : str
        The column on the horizontal axis, and its label.

    Returns
    -------
    matplotlib.figure.Figure
        Above how many architectures there are in each hexagon, below how large they are.
    """
    style()
    shown = frame.dropna(subset="epsilon")
    shown = shown[shown[x] >= lowest]
    if shown.empty:
        return _nothing()
    figure, (above, below) = plt.subplots(2, 1, figsize=(5.6, 7.6), sharex=True, sharey=True)
    cells: dict[str, Any] = {"gridsize": (60, 34), "mincnt": 1, "linewidths": 0.1}
    count = above.hexbin(shown[x], shown["epsilon"], bins="log", cmap="cividis_r", **cells)
    size = below.hexbin(
        shown[x], shown["epsilon"], C=shown["params"] / 1e6, cmap=_DARK_IS_LARGE, **cells
    )
    figure.colorbar(count, ax=above, label="architectures")
    figure.colorbar(size, ax=below, label="mean parameters (millions)")
    above.set(ylabel="epsilon")
    below.set(ylabel="epsilon", xlabel=xlabel)
    sns.despine(figure)
    return figure


def metric_grid(
    frame: pd.DataFrame,
    drawn: pd.DataFrame,
    dataset: str,
    x: str = "test_accuracy",
    xlabel: str = "test accuracy (%)",
) -> Figure:
    """Plot several metrics against what training gave, a panel for each, as the paper's Figure 6.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns `x`, ``params`` and one for each metric (NaN is left out).
    drawn : pandas.DataFrame
        A row per panel: ``metric``, ``n_scored``, ``rho``.
    dataset : str
        For the title.
    x, xlabel : str
        The column on the horizontal axes, and their label.

    Returns
    -------
    matplotlib.figure.Figure
        Larger dots have more parameters. A vertical axis is logarithmic where the scores
        span more than three decades, on both sides of zero if need be.
    """
    style()
    frame = frame.sort_values("params", ascending=False)
    millions = frame["params"] / 1e6
    relative = (millions - millions.min()) / max(float(np.ptp(millions)), 1e-9)
    n_rows = -(-len(drawn) // 2)
    figure, grid = plt.subplots(
        n_rows, 2, figsize=(5.8, 2.15 * n_rows + 0.9), sharex=True, squeeze=False
    )
    for axes, (_, row) in zip(grid.flat, drawn.iterrows(), strict=False):
        scored = frame[row["metric"]].notna()
        score = frame.loc[scored, row["metric"]]
        dots = axes.scatter(
            frame.loc[scored, x],
            score,
            c=millions[scored],
            s=(3 if len(score) > 3000 else 7) + 9 * relative[scored],
            cmap=_DARK_IS_LARGE,
            vmin=millions.min(),
            vmax=millions.max(),
            linewidths=0,
        )
        _fit_scale(axes, score.to_numpy())
        axes.tick_params(labelsize=11)
        axes.set_title(
            f"{LABELS.get(row['metric'], row['metric'])}\nN = {row['n_scored']:,}, "
            f"ρ = {row['rho']:.2f}".replace("-", "−"),
            fontsize=11,
        )
    for axes in grid.flat[len(drawn) :]:
        axes.set_axis_off()
    for axes in grid.flat[max(len(drawn) - 2, 0) : len(drawn)]:
        axes.set_xlabel(xlabel, fontsize=11)
        axes.tick_params(labelbottom=True)
    figure.suptitle(DATASETS.get(dataset, dataset), fontsize=13)
    bar = figure.colorbar(dots, ax=grid, location="bottom", aspect=40, pad=0.01)
    bar.set_label("parameters (millions)", fontsize=11)
    sns.despine(figure)
    return figure


def _fit_scale(axes: Axes, score: np.ndarray) -> None:
    """Make the vertical axis logarithmic where most scores would else share one height."""
    size = np.abs(score[score != 0])
    if not len(size):
        return
    low, high = np.quantile(size, 0.05), size.max()
    middle = float(np.subtract(*np.quantile(score, (0.9, 0.1))))
    crowded = high > 100 * low and middle < np.ptp(score) / 20
    if high <= 1000 * low and not crowded:
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(_short))
        return
    if score.min() > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
    else:
        axes.set_yscale("symlog", linthresh=low)
        top = int(np.floor(np.log10(high)))
        step = max(int(np.ceil((top - np.log10(low)) / 3)), 1)
        powers = 10.0 ** np.arange(top, np.log10(low) + step / 2, -step)
        ticks = np.concatenate([-powers, [0], powers])
        axes.set_yticks(ticks[(ticks >= score.min()) & (ticks <= score.max())])
    axes.yaxis.set_minor_locator(NullLocator())


def _short(value: float, _: object = None) -> str:
    """Write a tick's value in few characters."""
    return f"{value:.4g}".replace("e+0", "e").replace("e+", "e").replace("-", "−")


def interactive_scatter(
    frame: pd.DataFrame,
    dataset: str,
    space: Space,
    x: str = "test_accuracy",
    xlabel: str = "test accuracy (%)",
    log: str = "",
    y: str = "epsilon",
) -> go.Figure:
    """Plot the same as :func:`scatter`, or another metric, with the architecture on hover.

    Parameters
    ----------
    frame : pandas.DataFrame
        As for :func:`scatter`; the index is the space's.
    dataset : str
        For the title.
    space : Space
        Describes the architectures.
    x, xlabel, log
        As for :func:`scatter`.
    y : str
        The metric's column. What is not positive is left out on a logarithmic axis.
    """
    shown = frame.dropna(subset=y)
    small = "float32" if shown[y].max() < 1e38 else "float64"  # synflow exceeds float32
    millions = (shown["params"] / 1e6).to_numpy("float32")
    figure = go.Figure(
        go.Scattergl(
            x=shown[x].to_numpy("float32"),
            y=shown[y].to_numpy(small),
            mode="markers",
            text=[f"{i}\n{space.describe(space[i])}".replace("\n", "<br>") for i in shown.index],
            marker={
                "color": millions,
                "colorscale": "Cividis",
                "reversescale": True,
                "size": 4 + 3 * millions / millions.max(initial=1e-9),
                "colorbar": {"title": {"text": "params (M)"}, "thickness": 12},
            },
            hovertemplate=f"%{{text}}<br>{xlabel} %{{x:.2f}}<br>{y} %{{y:.4g}}"
            "<br>%{marker.color:.2f} M parameters<extra></extra>",
        )
    )
    figure.update_layout(
        template="plotly_white",
        title=DATASETS.get(dataset, dataset),
        xaxis={"title": {"text": xlabel}, "type": "log" if "x" in log else "linear"},
        yaxis={
            "title": {"text": y},
            "type": "log" if "y" in log else "linear",
            "exponentformat": "power",
        },
        height=460,
        margin={"l": 50, "r": 10, "t": 50, "b": 45},
        hoverlabel={"align": "left"},
    )
    return figure


def weight_map(frame: pd.DataFrame) -> Figure:
    """Plot Spearman's rho for every pair of weights, ours above the paper's.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns ``w1`` < ``w2``, ``rho``, ``rho_paper``.
    """
    style()
    weights = sorted({*frame["w1"], *frame["w2"]})
    place = {weight: number for number, weight in enumerate(weights)}
    values = np.full((len(weights), len(weights)), np.nan)
    for _, row in frame.iterrows():
        values[place[row["w1"]], place[row["w2"]]] = row["rho"]  # above the diagonal
        values[place[row["w2"]], place[row["w1"]]] = row["rho_paper"]  # below
    labels = [f"{weight:g}" for weight in weights]
    figure, axes = plt.subplots(figsize=(6.4, 5.4))
    sns.heatmap(
        values,
        annot=True,
        fmt=".2f",
        annot_kws={"size": 9},
        cmap="cividis",
        vmin=min(0.0, float(np.nanmin(values))),
        vmax=1 if np.nanmax(values) > 0 else 0,
        square=True,
        linewidths=1,
        xticklabels=labels,
        yticklabels=labels,
        cbar_kws={"label": "Spearman's ρ"},
        ax=axes,
    )
    axes.grid(False)
    axes.set(xlabel="upper right: ours", ylabel="lower left: the paper's")
    return figure


def correlation_heatmap(pairs: pd.DataFrame) -> Figure:
    """Plot the rank correlations of all metrics, those that rank alike side by side.

    Parameters
    ----------
    pairs : pandas.DataFrame
        Columns ``a``, ``b``, ``rho``, for every ordered pair.

    Returns
    -------
    matplotlib.figure.Figure
        The tree joins metrics by their average 1 - ρ.
    """
    style()
    order = list(dict.fromkeys(pairs["a"]))
    rho = pairs.pivot(index="a", columns="b", values="rho").loc[order, order]
    rho = rho.rename(index=LABELS, columns=LABELS)
    apart = np.clip(1 - rho.fillna(0).to_numpy(), 0, None)
    np.fill_diagonal(apart, 0)
    tree = hierarchy.linkage(
        distance.squareform((apart + apart.T) / 2), "average", optimal_ordering=True
    )
    cell, left, bottom, tree_height = 0.31, 0.05, 1.0, 0.5  # inches
    width, height = left + cell * len(rho) + 1.05, bottom + cell * len(rho) + tree_height
    with plt.rc_context({"figure.constrained_layout.use": False, "axes.grid": False}):
        grid = sns.clustermap(
            rho,
            row_linkage=tree,
            col_linkage=tree,
            cmap="PuOr_r",
            center=0,
            vmin=-1,
            vmax=1,
            annot=rho.map(_two_digits),
            fmt="",
            annot_kws={"size": 9.5},
            linewidths=0.6,
            figsize=(width, height),
            cbar_pos=None,
        )
    grid.ax_row_dendrogram.set_visible(False)
    grid.ax_heatmap.set(xlabel="", ylabel="")
    grid.ax_heatmap.tick_params(labelsize=11, length=0)
    across, up, start = cell * len(rho) / width, cell * len(rho) / height, bottom / height
    grid.ax_heatmap.set_position((left / width, start, across, up))
    grid.ax_col_dendrogram.set_position((left / width, start + up, across, 0.95 - start - up))
    return grid.figure


def _two_digits(rho: float) -> str:
    """Write a correlation in three characters, so that it fits a small cell."""
    if np.isnan(rho):
        return ""
    text = f"{rho:.2f}".replace("-", "−")
    return "1" if text == "1.00" else text.replace("0.", ".")


def beyond_size(frame: pd.DataFrame) -> Figure:
    """Plot each metric's correlation with what training gave, before and after size.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns ``dataset``, ``metric``, ``rho``, ``partial``; see
        :func:`epsutil.statistics.partial`.
    """
    style()
    frame = frame.dropna(subset="partial")
    if frame.empty:
        return _nothing()
    order = frame.groupby("metric")["partial"].mean().sort_values().index
    datasets = list(dict.fromkeys(frame["dataset"]))
    figure, panels = plt.subplots(
        len(datasets),
        1,
        figsize=(5.6, (0.9 + 0.27 * len(order)) * len(datasets) + 0.4),
        sharex=True,
        squeeze=False,
    )
    for axes, dataset in zip(panels.flat, datasets, strict=True):
        rows = frame[frame["dataset"] == dataset].set_index("metric").reindex(order)
        height = np.arange(len(rows))
        axes.hlines(height, rows["rho"], rows["partial"], color="#999999", linewidth=1.5)
        axes.plot(rows["rho"], height, "o", color=PALETTE[0], markersize=7)
        axes.plot(rows["partial"], height, "s", color=PALETTE[5], markersize=7, mfc="white", mew=2)
        axes.axvline(0, color="#555555", linewidth=1)
        axes.set_yticks(height, [LABELS.get(name, name) for name in order], fontsize=11)
        axes.set_title(DATASETS.get(dataset, dataset), fontsize=12)
    panels[-1, 0].set_xlabel("Spearman's ρ with accuracy")
    handles = [
        Line2D([], [], color=PALETTE[0], marker="o", linestyle="", markersize=7),
        Line2D([], [], color=PALETTE[5], marker="s", linestyle="", markersize=7, mfc="w", mew=2),
    ]
    figure.legend(handles, ["ρ", "ρ given the number of parameters"], loc="outside upper center",
                  ncols=2, frameon=False)  # fmt: skip
    sns.despine(figure)
    return figure


_DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))


def courses(
    frame: pd.DataFrame, curve: str = "oracle", measure: str = "test accuracy (%)"
) -> Figure:
    """Plot how searches fare, a panel for each algorithm and dataset, as the paper's Figure 3.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows of :func:`epsutil.experiments.courses`, and ``algorithm`` and ``dataset``.
    curve : str
        ``"oracle"`` or ``"honest"``; in general the column that holds the middle of what is shaded,
        with the suffixes ``_low`` and ``_high`` for its ends.
    measure : str
        What the curves are values of, for the vertical axis.

    Returns
    -------
    matplotlib.figure.Figure
        Medians over the rounds; shades between the quartiles. Below the plain search's tenth step
        nothing is shown.
    """
    style()
    algorithms, datasets = frame["algorithm"].unique(), frame["dataset"].unique()
    size = (0.6 + 3.1 * len(datasets), 2.9 * len(algorithms) + 0.7)
    figure, grid = plt.subplots(
        len(algorithms), len(datasets), figsize=size, sharex=True, squeeze=False
    )
    looks = _looks(frame["method"].unique())
    for (algorithm, dataset), rows in frame.groupby(["algorithm", "dataset"], sort=False):
        axes = grid[list(algorithms).index(algorithm), list(datasets).index(dataset)]
        for method, line in rows.groupby("method", sort=False):
            colour, dash = looks[str(method)]
            axes.plot(line["step"], line[curve], color=colour, linestyle=dash, linewidth=1.6)
            axes.fill_between(
                line["step"], line[f"{curve}_low"], line[f"{curve}_high"],
                color=colour, alpha=0.12, linewidth=0,
            )  # fmt: skip
        axes.set_title(f"{algorithm}\n{DATASETS[str(dataset)]}", fontsize=11)
        axes.set_ylim(*_from_tenth_step(rows, curve))
        axes.tick_params(labelsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("trained networks", fontsize=11)
    for axes in grid[:, 0]:
        axes.set_ylabel(measure, fontsize=11)
    handles = [Line2D([], [], color=c, linestyle=d, linewidth=2) for c, d in looks.values()]
    names = [LABELS.get(name, name) for name in looks]
    figure.legend(
        handles, names, loc="outside lower center", ncols=3 if len(datasets) > 1 else 1,
        frameon=False, fontsize=11,
    )  # fmt: skip
    sns.despine(figure)
    return figure


def _looks(names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Return a colour and a dash for each name, no two alike."""
    n = len(PALETTE)
    return {
        str(name): (PALETTE[i % n], _DASHES[(i + i // n) % len(_DASHES)])
        for i, name in enumerate(names)
    }


def _from_tenth_step(rows: pd.DataFrame, curve: str) -> tuple[float, float]:
    """Return the range of a vertical axis that leaves out the steep beginning."""
    late = rows[rows["step"] >= min(10, rows["step"].max())]
    falls = rows[curve].iloc[0] > rows[curve].iloc[-1]  # less is better
    low = (rows if falls else late)[f"{curve}_low"].min()
    high = (late if falls else rows)[f"{curve}_high"].max()
    margin = max(0.04 * (high - low), 0.01)
    return low - margin, high + margin


def interactive_courses(frame: pd.DataFrame) -> go.Figure:
    """Plot the same as :func:`courses`, both kinds of curve, with a button for each."""
    algorithms, datasets = list(frame["algorithm"].unique()), list(frame["dataset"].unique())
    titles = [f"{a}<br>{DATASETS[d]}" for a in algorithms for d in datasets]
    figure = make_subplots(
        len(algorithms), len(datasets), shared_xaxes=True, subplot_titles=titles,
        horizontal_spacing=0.07, vertical_spacing=0.14,
    )  # fmt: skip
    looks = _looks(frame["method"].unique())
    curves, drawn, legend = ("oracle", "honest"), [], set()
    for curve in curves:
        for (algorithm, dataset, method), line in frame.groupby(
            ["algorithm", "dataset", "method"], sort=False
        ):
            place = {"row": algorithms.index(algorithm) + 1, "col": datasets.index(dataset) + 1}
            name = LABELS.get(method, method)
            figure.add_trace(
                go.Scatter(
                    x=line["step"], y=line[curve].round(3), name=name, legendgroup=name,
                    showlegend=(curve, name) not in legend, visible=curve == curves[0],
                    line={"color": looks[method][0], "width": 2},
                    customdata=line[[f"{curve}_low", f"{curve}_high"]].round(2),
                    hovertemplate=f"{name}<br>%{{x}} trained: %{{y:.2f}} (quartiles "
                    "%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra></extra>",
                ),
                **place,
            )  # fmt: skip
            legend.add((curve, name))
            drawn.append(curve)
            rows = frame[(frame["algorithm"] == algorithm) & (frame["dataset"] == dataset)]
            ends = [end for curve in curves for end in _from_tenth_step(rows, curve)]
            figure.update_yaxes(range=(min(ends), max(ends)), **place)
    labels = {"oracle": "best test so far", "honest": "test of the best by signal"}
    buttons = [
        {"label": labels[c], "method": "update", "args": [{"visible": [c == d for d in drawn]}]}
        for c in curves
    ]
    figure.update_layout(
        template="plotly_white", height=330 * len(algorithms), hovermode="closest",
        margin={"l": 50, "r": 10, "t": 90, "b": 45}, legend={"orientation": "h", "y": -0.08},
        font={"size": 11},
        updatemenus=[{"type": "buttons", "direction": "right", "buttons": buttons, "x": 0,
                      "xanchor": "left", "y": 1.2, "yanchor": "top"}],
    )  # fmt: skip
    figure.update_annotations(font_size=12)  # the panels' titles
    return figure


def outputs(normalised: np.ndarray, weights: Sequence[float]) -> Figure:
    """Plot the normalised outputs of one network under two weights, image by image (Eq. 1).

    Parameters
    ----------
    normalised : ndarray, shape (2, batch)
    weights : two floats
    """
    style()
    order = np.argsort(np.nan_to_num(normalised[0]))
    figure, axes = plt.subplots(figsize=(6, 3.8))
    for row, weight, marker in zip(normalised, weights, "os", strict=True):
        axes.plot(
            row[order], marker, markersize=3.2, label=f"$V'$ under weight {weight:g}", alpha=0.85
        )
    axes.set(xlabel="images, ordered by the first row", ylabel="normalised output")
    axes.legend()
    sns.despine(figure)
    return figure


def agreement(frame: pd.DataFrame) -> Figure:
    """Plot the relative difference between full width and collapse against epsilon.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of :func:`epsutil.experiments.agreement`.
    """
    style()
    figure, axes = plt.subplots(figsize=(6.2, 4.2))
    scored = frame.dropna(subset=["full", "collapsed"])
    for (dtype, group), marker in zip(scored.groupby("dtype", sort=True), "os", strict=False):
        relative = (group["full"] - group["collapsed"]).abs() / group["full"].abs()
        positive = (group["full"] > 0) & (relative > 0)
        axes.plot(
            group["full"][positive],
            relative[positive],
            marker,
            label=dtype,
            markersize=4,
            alpha=0.8,
        )
    axes.axhline(1e-4, color="#555555", linestyle="--", linewidth=1)
    axes.annotate("1e-4", (1, 1e-4), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="epsilon at full width",
        ylabel="relative difference of the collapse",
    )
    axes.legend()
    sns.despine(figure)
    return figure


def speed(frame: pd.DataFrame) -> Figure:
    """Plot the seconds per architecture of both evaluations.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of :func:`epsutil.experiments.agreement`.
    """
    style()
    figure, axes = plt.subplots(figsize=(6, 2.8))
    long = frame.melt("dtype", ["seconds_full", "seconds_collapsed"], "evaluated", "seconds")
    names = {"seconds_full": "full width", "seconds_collapsed": "collapse"}
    long["evaluated"] = long["evaluated"].map(names)
    sns.boxplot(long, x="seconds", y="evaluated", hue="dtype", ax=axes, fliersize=2, gap=0.15)
    for patch, hatch in zip(_boxes(axes), ["", "", "//", "//"], strict=False):
        patch.set_hatch(hatch)
    axes.set(xscale="log", xlabel="seconds per architecture", ylabel="")
    sns.despine(figure)
    return figure


def _boxes(axes: Axes) -> list:
    return [patch for patch in axes.patches if hasattr(patch, "set_hatch")]
