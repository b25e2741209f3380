"""The recipes of the page "Add a metric, a space, data" (book/extend.md), executed."""

import re
import tomllib
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from epsutil import inputs, metric, paths, proxies, spaces
from epsutil.book import page
from epsutil.sources import Source

TEXT = (paths.BOOK / "extend.md").read_text("utf-8")
RECIPES = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
METRIC, SPACE, SPACE_BY_NAME, DATA, EXPERIMENT = RECIPES


def test_a_metric_and_an_experiment_take_ten_lines():
    assert all(len(recipe.strip().split("\n")) <= 11 for recipe in (METRIC, EXPERIMENT))


def test_contributors_are_sent_there():
    assert "(book/extend.md)" in (paths.ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_a_metric(monkeypatch):
    monkeypatch.setattr(proxies, "_PROXIES", dict(proxies._PROXIES))
    exec(METRIC, {"proxy": proxies.proxy})
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    x = torch.randn(6, 3, 2, 2)
    values = proxies.compute(network, (x, None), ["spread", "params"])
    assert values["spread"] > 0 and values["params"] == 52
    assert proxies.compute(network, (2 * x - 1, None), ["spread"])["spread"] != values["spread"]


@pytest.fixture
def chains():
    found = {"__name__": "chains"}
    exec(SPACE, found)
    return found["Chains"]


def test_a_space(chains):
    space, x = chains(), inputs.batch("grey", 8, image_size=8).x
    assert [space.index(arch) for arch in space] == list(range(27))
    assert len({space.key(arch) for arch in space}) == 15
    for arch in space:
        full = metric.epsilon(space.build(arch), torch.from_numpy(x), space.weights)
        np.testing.assert_equal(space.score(arch, x), full)
        near = space.mutate(arch, np.random.default_rng(0))
        assert sum(a != b for a, b in zip(near.split("-"), arch.split("-"), strict=True)) == 1
    equal = space.score("conv-skip-pool", x), space.score("skip-conv-pool", x)
    assert equal[0] == equal[1] > 0
    assert space.outputs("conv-pool-skip", x, (0.1, 1.0), "float64").dtype == np.float64
    assert space.network("conv-pool-skip", 10)(torch.from_numpy(x)).shape == (8, 10)
    with pytest.raises(ValueError, match="no chain"):
        space.score("conv", x)


def test_a_space_by_its_name(chains, monkeypatch, tmp_path):
    monkeypatch.setitem(spaces._SPACES, "chains", chains)
    monkeypatch.setenv("EPSUTIL_SCORES", str(tmp_path))
    made = {}
    exec(SPACE_BY_NAME, made)
    assert len(made["scores"]) == 27 and made["scores"].notna().to_numpy().any()
    assert any(tmp_path.iterdir()), "nothing was stored"


def test_data(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPSUTIL_SCORES", str(tmp_path))
    archs = list(range(0, 15625, 700))
    space, x = spaces.get("nasbench201"), inputs.batch("grey", 32).x
    ours = [space.score(space[i], x) for i in archs]
    mine = pd.DataFrame({"index": archs, "test_accuracy": 90 + np.nan_to_num(ours)})
    mine.to_csv("mine.csv", index=False)
    made = {}
    exec(DATA, made)
    row = made["problem"].evaluate()
    assert row["n"] == len(archs) and row["n_scored"] == np.isfinite(ours).sum() > 5
    assert row["rho"] == pytest.approx(1)


def test_an_entry_of_a_file():
    (entry,) = re.findall(r"^```toml\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
    ((name, fields),) = tomllib.loads(entry).items()
    assert Source(name=name, **fields).name == "mine/table.csv"


def test_an_experiment(tmp_path, monkeypatch):
    notebook = nbformat.v4.new_notebook()
    parameters = nbformat.v4.new_code_cell("n_archs = 15625", metadata={"tags": ["parameters"]})
    notebook.cells = [parameters, nbformat.v4.new_code_cell(EXPERIMENT)]
    nbformat.write(notebook, tmp_path / "batch_sizes.ipynb")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path / "results"))
    given = {"n_archs": 50}
    monkeypatch.setattr(page, "get_ipython", lambda: SimpleNamespace(user_ns=given))
    exec(EXPERIMENT, given)
    table = pd.read_csv(tmp_path / "results" / "batch_sizes" / "sizes.csv")
    assert table["images"].tolist() == [8, 16, 32] and (table["n"] == 50).all()
    assert table["rho"].nunique() == 3
