"""The paper's reported values: complete, in range, and as printed.

The last needs the paper's text, in a `paper` folder beside the data folder.
"""

import math
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from epsutil import paths
from epsutil.statistics import SCORES

DATA = Path(os.environ.get("EPSUTIL_DATA") or paths.ROOT.parent / "shared" / "data")
TEXT = DATA.parent / "paper" / "epsinas-arxiv-2302.04406v2.txt"

ROWS = {1: 21, 2: 105, 3: 7, 4: 5, 5: 10, 6: 28, 7: 28, 8: 5, 9: 5, 10: 6, 11: 5}
ORIGINAL = ("rho", "rho_top10", "top10_top10", "top64_top5")
WITH_SCORES = sorted(ROWS.keys() - {2, 8})


def read(number: int) -> pd.DataFrame:
    return pd.read_csv(paths.PAPER / f"table{number:02}.csv")


def printed(number: int) -> pd.DataFrame:
    """Read a table as it is printed: 0.40 stays 0.40, an empty cell is ''."""
    return pd.read_csv(paths.PAPER / f"table{number:02}.csv", dtype=str, keep_default_na=False)


@pytest.mark.parametrize("number", ROWS)
def test_row_counts(number):
    table = read(number)
    assert len(table) == ROWS[number]
    assert not table.duplicated().any()


def test_nothing_else_is_there():
    assert sorted(p.name for p in paths.PAPER.glob("*.csv")) == [f"table{n:02}.csv" for n in ROWS]


@pytest.mark.parametrize("number", WITH_SCORES)
def test_score_ranges(number):
    table = read(number)
    names = list(SCORES) + [f"{s}_original" for s in ORIGINAL if f"{s}_original" in table]
    for name in names:
        low, high = (0, 100) if "top10_top10" in name else (0, 64) if "top64" in name else (-1, 1)
        assert table[name].dropna().between(low, high).all(), name
    assert table["rho"].notna().all()
    complete = table.dropna(subset=list(SCORES))
    # tau is the smaller in size, and of the same sign unless both are nearly 0
    assert (complete["tau"].abs() <= complete["rho"].abs() + 0.02).all()
    assert (complete["tau_top10"] * complete["rho_top10"] >= 0).all()


@pytest.mark.parametrize(
    "number, weights", [(5, range(-4, 1)), (6, range(-7, 1)), (7, range(-7, 1))]
)
def test_weights_are_all_pairs_in_order(number, weights):
    table = read(number)
    pairs = [(float(f"1e{p}"), float(f"1e{q}")) for p in weights for q in weights if p < q]
    assert list(zip(table["w1"], table["w2"], strict=True)) == pairs
    assert table["archs"].between(1, 5000).all()


def test_table08_pairs():
    assert (read(8)["w1"] < read(8)["w2"]).all()


def test_epsilon_and_every_metric_per_dataset():
    for _, rows in read(1).groupby("dataset"):
        assert rows["metric"].tolist() == read(3)["metric"].tolist()
        assert rows["metric"].iloc[-1] == "epsilon"


def test_table02_is_tidy():
    table = read(2)
    assert not table.duplicated(["method", "n", "dataset", "split"]).any()
    assert table["mean"].between(25, 95).all() and table["std"].between(0, 12).all()
    optimal = table[table["method"] == "Optimal"].set_index(["dataset", "split"])["mean"]
    limits = table.join(optimal.rename("optimal"), on=["dataset", "split"])["optimal"]
    assert (table["mean"] <= limits).all()


def test_the_same_setting_in_two_tables():
    """CIFAR-10 on 5,000 architectures with weights [1e-7, 1] is in Table 6 and in Table 11."""
    ablation = read(6).query("w1 == 1e-7 and w2 == 1")[list(SCORES)].iloc[0]
    synthetic = read(11).query("data == 'Real data'")[list(SCORES)].iloc[0]
    assert ablation.tolist() == synthetic.tolist()


# --- the text ---------------------------------------------------------------------------------

needs_text = pytest.mark.skipif(not TEXT.is_file(), reason="the paper's text is not at hand")


def block(number: int) -> list[str]:
    """Return the lines of the text's table, captions and heads aside, to the next blank line."""
    lines = TEXT.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"Table {number}:"))
    body = []
    for line in lines[start + 1 :]:
        if not line.strip() or line.startswith(("Table", "Refer")):
            return body
        body.append(line.strip())
    return body


def with_original(row: pd.Series, name: str) -> str:
    original = row.get(f"{name}_original", "")
    return f"{row[name]} ({original})" if original else row[name]


def line(number: int, row: pd.Series) -> str:
    """Write a row as the paper's text has it."""
    label = (
        f"{row['w1']}, {row['w2']}" if "w1" in row else row.drop("dataset", errors="ignore").iloc[0]
    )
    cells = [label, row.get("archs", ""), *(with_original(row, s) for s in SCORES)]
    if number == 11:
        cells[-1] *= 4  # the conversion repeats formula cells
    return " ".join(cell for cell in cells if cell)


@needs_text
@pytest.mark.parametrize("number", WITH_SCORES)
def test_scores_are_as_printed(number):
    expected = [re.sub(r"\( +", "(", text) for text in block(number)[2:]]
    if number == 1:
        expected = [text for text in expected if " " in text]  # dataset names stand alone
    assert [line(number, row) for _, row in printed(number).iterrows()] == expected


@needs_text
def test_table01_datasets_are_in_printed_order():
    names = [text.lower().replace("-", "") for text in block(1) if " " not in text]
    ours = printed(1)["dataset"].drop_duplicates()
    assert [name.lower().replace("-", "") for name in ours] == names


@needs_text
def test_table02_is_as_printed():
    lines = [text for text in block(2) if "±" in text]
    pairs = [pair for text in lines for pair in re.findall(r"([\d.]+)±([\d.]+)plus", text)]
    table = printed(2)
    assert list(zip(table["mean"], table["std"], strict=True)) == pairs
    methods = table.drop_duplicates(["method", "n"])
    costs = [cost * 4 or "n/a" for cost in methods["cost_hours"]]
    ours = [f"{method} {cost}" for method, cost in zip(methods["method"], costs, strict=True)]
    assert ours == [" ".join(text.split()[:2]) for text in lines]


@needs_text
def test_table08_is_as_printed():
    def digits(weight: str) -> str:  # 10^-7 comes out as 107
        return f"10{-round(math.log10(float(weight)))}" if float(weight) < 1 else weight

    table = printed(8)
    ours = [f"[{digits(a)},{digits(b)}]" for a, b in zip(table["w1"], table["w2"], strict=True)]
    assert ours == [re.findall(r"(\S+?)superscript", text)[0] for text in block(8)[1:]]
