"""A search on a table of the user's own, through the command that a user types."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from epsutil import search, spaces, table_search
from epsutil.cli import cli

SPACE = spaces.get("nasbench201")


@pytest.fixture(scope="module")
def table():
    """All cells; accuracy counts 3 x 3 convolutions, the signal and the score see it dimly."""
    rng = np.random.default_rng(0)
    archs = [SPACE[i] for i in range(len(SPACE))]
    accuracy = np.array([arch.count("nor_conv_3x3") for arch in archs], float)
    frame = pd.DataFrame({"arch": archs, "acc": accuracy + 1e-3 * rng.random(len(archs))})
    frame["val"] = accuracy + rng.normal(size=len(archs))
    frame["epsilon"] = np.where(rng.random(len(archs)) < 0.3, np.nan, accuracy)
    return frame


@pytest.fixture(scope="module")
def file(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "my.csv"
    table.to_csv(path, index=False)
    return path


def call(file, *arguments):
    options = ["--table", file, "--accuracy", "acc", "--rounds", 20, *arguments]
    return CliRunner().invoke(cli, ["search", *map(str, options)])


def used(method, **values):
    """Return the options of these values that a method takes."""
    taken = table_search.METHODS[method].split()
    return [word for key in values if key in taken for word in (f"--{key}", values[key])]


@pytest.mark.parametrize("method", table_search.METHODS)
def test_every_method_is_that_of_the_library(file, table, tmp_path, method):
    output = tmp_path / "curves.csv"
    options = used(method, score="epsilon", pool=200, population=20, steps=90)
    done = call(file, "--signal", "val", "--method", method, *options, "--output", output)
    assert done.exit_code == 0, done.output
    assert f"acc by {method}: median and quartiles (low, high) of 20 searches" in done.output
    curves = pd.read_csv(output, index_col="trained")
    assert list(curves.index) == ([1] if method == "pick" else list(range(1, 91)))
    assert (curves["best"] >= curves["chosen"]).all()
    assert (curves["best"].diff().dropna() >= 0).all()
    known = search.scored(table["epsilon"])
    if method == "random-warmup":
        history = search.random(len(table), 20, 90, 21, known, 200)
        expected = np.median(table["acc"].to_numpy()[history[:, 0]])
        assert curves.loc[1, "chosen"] == pytest.approx(expected)
    if method == "pick":
        found = table["acc"].to_numpy()[search.pick(known, 200, 20, 21)]
        assert curves.loc[1, "best"] == pytest.approx(np.median(found))


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [("rea", "score", "epsilon"), ("pick", "steps", 9), ("random", "population", 9),
     ("rea-move", "pool", 9), ("reinforce", "tournament", 9)],
)  # fmt: skip
def test_an_option_without_effect_is_refused(file, method, option, value):
    done = call(file, "--method", method, *used(method, score="epsilon"), f"--{option}", value)
    assert f"--{option} does not go with --method {method}" in str(done.exception)


def test_a_warm_up_is_worth_something(file):
    plain, warm = (
        call(file, "--method", method, *used(method, score="epsilon", pool=500))
        for method in ("rea", "rea-warmup")
    )
    first = [float(done.output.splitlines()[2].split()[1]) for done in (plain, warm)]
    assert first[1] > first[0] + 1


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        ({}, ["--score", "eps"], "no column 'eps'; it has arch, acc, val, epsilon"),
        ({"acc": np.nan}, ["--score", "epsilon"], "'acc' is missing or infinite in 15,625 of"),
        ({"val": "high"}, ["--signal", "val"], "column 'val' holds texts"),
        ({}, ["--method", "rea-warmup"], "rea-warmup needs a score: name its column with --score"),
        ({}, ["--score", "epsilon", "--pool", 20_000], "smaller with --pool"),
        ({"arch": "x"}, ["--method", "rea"], "has 0 of the 15,625, in 15,625"),
        ({}, ["--method", "rea", "--archs", "cell"], "there is no column 'cell'"),
        ({}, ["--method", "rea", "--population", 1000], "population"),
    ],
)
def test_mistakes_are_named(table, tmp_path, change, arguments, said):
    path = tmp_path / "my.csv"
    table.assign(**change).to_csv(path, index=False)
    done = call(path, *arguments)
    message = str(done.exception) if done.exception else done.output
    assert isinstance(done.exception, ValueError) and said in message


def test_a_table_that_does_not_exist_is_named(tmp_path):
    done = call(tmp_path / "none.csv")
    assert str(done.exception).startswith("--table: there is no file ")
