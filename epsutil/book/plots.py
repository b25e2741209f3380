"""How a figure looks: one style for all, colours that colour-blind readers can tell apart."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from plotly.subplots import make_subplots

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
    "zico_signed": "ZiCo 2023",
    "meco": "MeCo",
    "swap": "SWAP",
    "az_nas": "AZ-NAS",
}
DARK_IS_LARGE = sns.cubehelix_palette(as_cmap=True, start=2.6, rot=-0.6, light=0.72, dark=0.1)


def style() -> None:
    """Set the theme of all figures: opaque white, so that dark mode leaves them readable."""
    layout = {"figure.constrained_layout.use": True, "svg.fonttype": "path"}
    grid = {"axes.grid": True, "grid.color": "#e4e4e4", "axes.axisbelow": True}
    white = dict.fromkeys(("figure.facecolor", "savefig.facecolor"), "white")
    sns.set_theme(style="ticks", palette=PALETTE, rc=white | grid | layout)


def nothing() -> Figure:
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

    Larger dots have more parameters; large ones are drawn first.

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
    """
    style()
    shown = frame.dropna(subset="epsilon").sort_values("params", ascending=False)
    if shown.empty:
        return nothing()
    millions = shown["params"] / 1e6
    figure, axes = plt.subplots(figsize=(5.6, 4.6))
    dots = axes.scatter(
        shown[x],
        shown["epsilon"],
        c=millions,
        s=4 + 14 * (millions - millions.min()) / max(float(np.ptp(millions)), 1e-9),
        cmap=DARK_IS_LARGE,
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
    frame, dataset, x, xlabel, log
        As for :func:`scatter`; the frame's index is the space's.
    space : Space
        Describes the architectures.
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
    kinds = ["log" if axis in log else "linear" for axis in "xy"]
    figure.update_layout(
        template="plotly_white",
        title=DATASETS.get(dataset, dataset),
        xaxis={"title": {"text": xlabel}, "type": kinds[0]},
        yaxis={"title": {"text": y}, "type": kinds[1], "exponentformat": "power"},
        height=460,
        margin={"l": 50, "r": 10, "t": 50, "b": 45},
        hoverlabel={"align": "left"},
    )
    return figure


def weight_map(frame: pd.DataFrame) -> Figure:
    """Plot Spearman's rho for every pair of weights, ours above the paper's.

    `frame` has the columns ``w1`` < ``w2``, ``rho``, ``rho_paper``.
    """
    style()
    mirrored = frame.assign(w1=frame["w2"], w2=frame["w1"], rho=frame["rho_paper"])
    values = pd.concat([frame, mirrored]).pivot(index="w1", columns="w2", values="rho")
    labels = [f"{weight:g}" for weight in values]
    figure, axes = plt.subplots(figsize=(6.4, 5.4))
    sns.heatmap(
        values,
        annot=True,
        fmt=".2f",
        annot_kws={"size": 9},
        cmap="cividis",
        vmin=min(0.0, float(values.min(axis=None))),
        vmax=1 if values.max(axis=None) > 0 else 0,
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


_DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))


def courses(
    frame: pd.DataFrame, curve: str = "oracle", measure: str = "test accuracy (%)"
) -> Figure:
    """Plot how searches fare, a panel for each algorithm and dataset, as the paper's Figure 3.

    Lines are medians over the rounds, shades lie between the quartiles. What lies below the plain
    search's tenth step is not shown.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows of :func:`epsutil.experiments.courses`, and ``algorithm`` and ``dataset``.
    curve : str
        ``"oracle"`` or ``"honest"``; in general the column that holds the middle of what is shaded,
        with the suffixes ``_low`` and ``_high`` for its ends.
    measure : str
        What the curves are values of, for the vertical axis.
    """
    style()
    n_rows, n_columns = (frame[name].nunique() for name in ("algorithm", "dataset"))
    size = (0.6 + 3.1 * n_columns, 2.9 * n_rows + 0.7)
    figure, grid = plt.subplots(n_rows, n_columns, figsize=size, sharex=True, squeeze=False)
    looks = _looks(frame["method"].unique())
    for axes, (title, rows) in zip(grid.flat, _panels(frame), strict=True):
        for method, line in rows.groupby("method", sort=False):
            colour, dash = looks[str(method)]
            axes.plot(line["step"], line[curve], color=colour, linestyle=dash, linewidth=1.6)
            ends = (line["step"], line[f"{curve}_low"], line[f"{curve}_high"])
            axes.fill_between(*ends, color=colour, alpha=0.12, linewidth=0)
        axes.set_title("\n".join(title), fontsize=11)
        axes.set_ylim(*_from_tenth_step(rows, curve))
        axes.tick_params(labelsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("trained networks", fontsize=11)
    for axes in grid[:, 0]:
        axes.set_ylabel(measure, fontsize=11)
    handles = [Line2D([], [], color=c, linestyle=d, linewidth=2) for c, d in looks.values()]
    names = [LABELS.get(name, name) for name in looks]
    look = {"ncols": 3 if n_columns > 1 else 1, "frameon": False, "fontsize": 11}
    figure.legend(handles, names, loc="outside lower center", **look)
    sns.despine(figure)
    return figure


def _panels(frame: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield the title and the rows of each panel, row by row."""
    names = (frame["algorithm"].unique(), frame["dataset"].unique())
    for algorithm, dataset in itertools.product(*names):
        is_shown = (frame["algorithm"] == algorithm) & (frame["dataset"] == dataset)
        yield (algorithm, DATASETS[dataset]), frame[is_shown]


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
    n_rows, n_columns = (frame[name].nunique() for name in ("algorithm", "dataset"))
    places = itertools.product(range(1, n_rows + 1), range(1, n_columns + 1))
    figure = make_subplots(
        n_rows, n_columns, shared_xaxes=True, horizontal_spacing=0.07, vertical_spacing=0.14,
        subplot_titles=["<br>".join(title) for title, _ in _panels(frame)],
    )  # fmt: skip
    looks = _looks(frame["method"].unique())
    labels = {"oracle": "best test so far", "honest": "test of the best by signal"}
    drawn: list[tuple[str, str]] = []  # the curve and the method of each line
    for (row, col), (_, rows) in zip(places, _panels(frame), strict=True):
        for curve, (method, line) in itertools.product(labels, rows.groupby("method", sort=False)):
            name = LABELS.get(method, method)
            figure.add_trace(
                go.Scatter(
                    x=line["step"], y=line[curve].round(3), name=name, legendgroup=name,
                    showlegend=(curve, name) not in drawn, visible=curve == "oracle",
                    line={"color": looks[method][0], "width": 2},
                    customdata=line[[f"{curve}_low", f"{curve}_high"]].round(2),
                    hovertemplate=f"{name}<br>%{{x}} trained: %{{y:.2f}} (quartiles "
                    "%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra></extra>",
                ),
                row=row, col=col,
            )  # fmt: skip
            drawn.append((curve, name))
        ends = [end for curve in labels for end in _from_tenth_step(rows, curve)]
        figure.update_yaxes(range=(min(ends), max(ends)), row=row, col=col)
    buttons = [
        {"label": label, "method": "update", "args": [{"visible": [curve == d for d, _ in drawn]}]}
        for curve, label in labels.items()
    ]
    figure.update_layout(
        template="plotly_white", height=330 * n_rows, hovermode="closest",
        margin={"l": 50, "r": 10, "t": 90, "b": 45}, legend={"orientation": "h", "y": -0.08},
        font={"size": 11},
        updatemenus=[{"type": "buttons", "direction": "right", "buttons": buttons, "x": 0,
                      "xanchor": "left", "y": 1.2, "yanchor": "top"}],
    )  # fmt: skip
    figure.update_annotations(font_size=12)  # the panels' titles
    return figure
