"""The recipes of CONTRIBUTING.md, executed."""

import re

import nbformat
import pandas as pd
import torch

from epsutil import paths, proxies

TEXT = (paths.ROOT / "CONTRIBUTING.md").read_text("utf-8")
METRIC, ABLATION = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


def test_both_take_ten_lines():
    assert all(len(recipe.strip().splitlines()) <= 10 for recipe in (METRIC, ABLATION))


def test_a_metric(monkeypatch):
    monkeypatch.setattr(proxies, "_PROXIES", dict(proxies._PROXIES))
    exec(METRIC, {"proxy": proxies.proxy})
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    x = torch.randn(6, 3, 2, 2)
    values = proxies.compute(network, (x, None), ["spread", "params"])
    assert values["spread"] > 0 and values["params"] == 52
    assert proxies.compute(network, (2 * x - 1, None), ["spread"])["spread"] != values["spread"]


def test_an_ablation(tmp_path, monkeypatch):
    notebook = nbformat.v4.new_notebook()
    parameters = nbformat.v4.new_code_cell("n_archs = 15625", metadata={"tags": ["parameters"]})
    notebook.cells = [parameters, nbformat.v4.new_code_cell(ABLATION)]
    nbformat.write(notebook, tmp_path / "batch_sizes.ipynb")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path / "results"))
    exec(ABLATION, {"n_archs": 50})
    table = pd.read_csv(tmp_path / "results" / "batch_sizes" / "sizes.csv")
    assert table["batch_size"].tolist() == [8, 16, 32] and (table["n"] == 50).all()
    assert table["rho"].nunique() == 3
