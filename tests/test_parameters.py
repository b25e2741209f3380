"""Every parameter of every notebook, at an unusual value and at one that it cannot have."""

import json

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from test_book import DATA, NAMES

from epsutil import notebooks, paths, ranges, results, scoring, spaces, statistics

POOL = "|nor_conv_1x1~0|+|none~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|"
TWO = "two different finite numbers above 0"
MORE = "two or more different finite numbers above 0"
BATCH = (7, 1, "from 2 to 10,240")
SEED = (0, -1, "from 0 to 4,294,967,295")
JOBS = (1, 0, "a number of processes up to 1,024, or -1 for one per core")
PAIR = ([1.0, 1e-7], [1e-7, 1.0, 2.0], TWO)
NEW = "from 1 to "
# The unusual values of a notebook are taken together, so that each is executed once. Scores that
# the paper's weights have in the book are not recorded for these.
CASES = {
    "algorithm01_epsilon": {
        "arch": (POOL, "|conv~0|", "an architecture: not an architecture of NAS"),
        "my_arch": (POOL, "nor_conv_3x3", "an architecture: not an architecture of NAS"),
        "weights": ([1.0, 1e-7], [1.0, 1.0], TWO),
        "batch_size": BATCH,
        "seed": SEED,
        "dataset": ("uniform", "ptb", "one of cifar10, cifar100, ImageNet16-120, grey"),
    },
    "figure01_nasbench201_scatter": {
        "weights": PAIR,
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (10, 15_626, "from 10 to 15,625"),
        "n_jobs": JOBS,
    },
    "figure02_scatter": {
        "n_archs101": (10, 423_625, "from 10 to 423,624"),
        "n_archs_nlp": (10, 9, "from 10 to 14,322"),
        "n_drawn": (423_624, 0, "from 1 to 423,624"),
        "lowest": (100, 100.5, "from 0 to 100"),  # no network is that good
        "highest_perplexity": (1.5, 1.0, "above 1"),
        "lowest_epsilon": (5, 0.0, "above 0"),
        "batch_size": BATCH,
        "seed": (2**32 - 1, 2**32, "from 0 to 4,294,967,295"),
        "n_jobs": JOBS,
    },
    "figure06_other_metrics": {
        "weights": PAIR,
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (10, 0, "from 10 to 15,625"),
        "groups": (["naswot"], ["naswot", "naswot"], "one or more different ones of synflow"),
        "n_competitors": (0, -1, "from 0 to 15,625"),
        "n_jobs": JOBS,
    },
    "metrics_relation": {
        "weights": PAIR,
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (10, 9, "from 10 to 15,625"),
        "groups": (["ntk", "synflow"], [], "one or more different ones of synflow"),
        "n_competitors": (0, 15_626, "from 0 to 15,625"),
        "n_least": (15_625, 0, "from 1 to 15,625"),
        "n_jobs": JOBS,
    },
    "table01_nasbench201": {
        "datasets": (["cifar100"], ["mnist"], "one or more different ones of cifar10, cifar100"),
        "weights": ([1.0, 1e-7], [0.0, 1.0], TWO),
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (10, 20_000, "from 10 to 15,625"),
        "n_resamples": (199, -1, "from 0 to 100,000"),
        "batch_seeds": ([3], [3, 3], "one or more different numbers"),
        "n_batch_archs": (10, 9, "from 10 to 15,625"),
        "groups": (["naswot"], ["fisher_biased"], "one or more different ones of synflow"),
        "n_competitors": (2, -1, "from 0 to 15,625"),
        "architectures": ("last", "first", "one of own, common, last"),
        "n_least": (15_625, 0, "from 1 to 15,625"),
        "n_recheck": (15_625, 0, "from 1 to 15,625"),
        "n_jobs": JOBS,
    },
    "table03_nasbench101": {
        "weights": ([10.0, 1e-4], [float("nan"), 1.0], TWO),
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (11, 423_625, "from 10 to 423,624"),
        "n_resamples": (200, 100_001, "from 0 to 100,000"),
        "batch_seeds": ([3], [-1], "numbers from 0 to 4,294,967,295"),
        "n_batch_archs": (10, 9, "from 10 to 423,624"),
        "n_rounding": (10, 423_625, "from 10 to 423,624"),
        "groups": (["synflow", "naswot"], ["linear_regions"], "ones of synflow, gradients"),
        "n_competitors": (0, -1, "from 0 to 423,624"),
        "architectures": ("common", "", "one of own, common, last"),
        "n_least": (423_624, 0, "from 1 to 423,624"),
        "n_recheck": (423_624, 0, "from 1 to 423,624"),
        "n_jobs": JOBS,
    },
    "table04_nasbench_nlp": {
        "weights": ([1e-3, 1e-5], [-1.0, 1.0], TWO),
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (20, 14_323, "from 10 to 14,322"),
        "n_resamples": (0, -1, "from 0 to 100,000"),
        "groups": (["text_gradients"], ["naswot"], "ones of synflow, text_gradients"),
        "n_competitors": (0, 14_323, "from 0 to 14,322"),
        "architectures": ("common", "all", "one of own, common, last"),
        "n_least": (14_322, 0, "from 1 to 14,322"),
        "n_recheck": (14_322, 0, "from 1 to 14,322"),
        "n_jobs": JOBS,
    },
    "table05_weights_nasbench101": {
        "weights": ([10.0, 0.5, 1e-4], [0.5], MORE),
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (10, 9, "from 10 to 423,624"),
        "n_jobs": JOBS,
    },
    "table06_weights_nasbench201": {
        "dataset": ("ImageNet16-120", "grey", "one of cifar10, cifar100, ImageNet16-120"),
        "weights": ([7.0, 3e-4, 0.5], [1.0, 0.5, 1.0], MORE),
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (10, -5, "from 10 to 15,625"),
        "n_jobs": JOBS,
    },
    "table07_weights_nasbench_nlp": {
        "weights": ([1.0, 1e-7], [1 / 3, 1.0], f"{MORE}, of at most six digits each"),
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (20, 15_625, "from 10 to 14,322"),
        "n_jobs": JOBS,
    },
    "table08_weights": {
        "exponents": ([0, -3, 2], [0], "two or more different numbers"),
        "largest_share": (1, 0.0, "above 0 and at most 1"),
        "n_archs": (10, 14_323, "from 10 to 14,322"),
        "n_evaluated": (10, 9, "from 10 to 14,322"),
        "batch_size": BATCH,
        "seed": SEED,
        "n_jobs": JOBS,
    },
    "table09_initialisations": {
        "weights": PAIR,
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (10, 9, "from 10 to 15,625"),
        "n_draws": (0, -1, "from 0 to 15,625"),
        "n_jobs": JOBS,
    },
    "table10_embeddings": {
        "weights": ([1e-3, 1e-5], [1e-3], TWO),
        "batch_size": BATCH,
        "seed": SEED,
        "n_archs": (20, 9, "from 10 to 14,322"),
        "n_few": (21, 14_323, "from 10 to 14,322"),
        "n_jobs": JOBS,
    },
    "width_collapse": {
        "n_archs": (2, 0, "from 1 to 15,625"),
        "n_archs101": (2, 0, "from 1 to 423,624"),
        "n_archs_nlp": (2, 14_323, "from 1 to 14,322"),
        "batch_size": BATCH,
        "image_size": (4, 0, "a multiple of 4 from 4 to 256"),
        "dtypes": (["float32"], ["float16"], "one or more different ones of float32, float64"),
        "n_speed_archs": (2, 0, "from 1 to 15,625"),
        "speed_batch_size": (3, 10_241, "from 2 to 10,240"),
        "speed_image_size": (12, 9, "a multiple of 4 from 4 to 256"),
        "seed": SEED,
    },
}
WRONG = [(n, p, bad, said) for n, cases in CASES.items() for p, (_, bad, said) in cases.items()]


def test_the_cases_cover_every_parameter_of_every_notebook():
    assert {name: set(cases) for name, cases in CASES.items()} == {
        name: set(notebooks.parameters(name)) for name in NAMES
    }
    for name in NAMES:  # and each has a rule
        assert set(notebooks.parameters(name)) <= set(ranges.rules(name)), name


@pytest.mark.parametrize("name", NAMES)
def test_every_scale_is_in_range(name):
    assert notebooks.check(name, notebooks.parameters(name)) == notebooks.parameters(name)
    for scale in notebooks.SCALES:
        notebooks.scale(name, scale)


@pytest.mark.needs(*DATA)
def test_the_sizes_of_the_spaces():
    assert {name: len(spaces.get(name)) for name in spaces.names()} == ranges.SIZES


@pytest.mark.parametrize(
    ("name", "parameter", "bad", "said"), WRONG, ids=[f"{n}-{p}" for n, p, *_ in WRONG]
)
def test_a_value_out_of_range_is_refused_before_any_work(
    name, parameter, bad, said, tmp_path, monkeypatch
):
    """By `epsutil run` before a kernel starts, and by a notebook's first cell."""
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("started"))
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path))
    with pytest.raises(notebooks.ParameterError) as caught:
        notebooks.run(name, {parameter: bad}, tmp_path / "out.ipynb", "test")
    message = str(caught.value)
    assert message.startswith(f"{name}: {parameter}={bad!r} must be ") and said in message
    assert "\n" not in message
    with pytest.raises(notebooks.ParameterError) as caught:
        results.Page(name, notebooks.parameters(name) | {parameter: bad})
    assert str(caught.value) == message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("# Parameters\nn_arch = 3\n", "has no parameter 'n_arch'; did you mean 'n_archs'"),
        ("# Parameters\nn_archs = 3\nwieghts = [1, 2]\n", "did you mean 'weights'"),
        ("# Parameters\nPAPERMILL_INPUT_PATH = 'x'\nseed = 3\n", None),
        ("n_arch = 3\n", None),  # the reader's own cell
    ],
)
def test_papermill_itself_cannot_misspell_a_parameter(cell, said, tmp_path, monkeypatch):
    """It only warns, and adds a cell that nothing reads."""
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path))
    name = "table06_weights_nasbench201"
    namespace = notebooks.parameters(name) | {"In": ["", "weights = [1]", cell]}
    exec(cell, namespace)
    if said is None:
        assert results.Page(name, namespace).parameters["n_archs"] == 5000
    else:
        with pytest.raises(notebooks.ParameterError, match=said):
            results.Page(name, namespace)


# What unusual values give ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=NAMES)
def unusual(request, tmp_path_factory):
    """One notebook executed with all its unusual values: its name, the notebook, its results."""
    folder = tmp_path_factory.mktemp("unusual")
    values = {parameter: value for parameter, (value, *_) in CASES[request.param].items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EPSUTIL_RESULTS", str(folder / "results"))
        patch.setenv("EPSUTIL_SCORES", str(folder / "scores"))
        patch.delenv("EPSUTIL_FALLBACK", raising=False)
        done = notebooks.run(request.param, values, folder / "out.ipynb", scale="test")
    return request.param, nbformat.read(done, as_version=4), folder / "results" / request.param


@pytest.mark.needs(*DATA)
def test_every_notebook_takes_unusual_values(unusual):
    name, notebook, folder = unusual
    record = json.loads((folder / "page.json").read_text())
    assert record["parameters"] == {key: value for key, (value, *_) in CASES[name].items()}
    assert record["recorded"] == []
    for shown in record["shown"].values():
        assert "nan" not in results.rendered(folder, shown).lower().split(), shown
    check = CHECKS.get(name)
    if check:
        check(folder, record)


def _one_dataset(folder, record):
    for file in ("table01", "same", "batches", "steiger", "precision", "fisher"):
        assert set(pd.read_csv(folder / f"{file}.csv")["dataset"]) == {"cifar100"}, file
    shown = {key: results.rendered(folder, value) for key, value in record["shown"].items()}
    for key in ("metrics", "values", "rho", "same", "steiger"):
        assert "CIFAR-10 is not among the datasets" in shown[f"{key}-cifar10"]
        assert "epsilon" in shown[f"{key}-cifar100"] or "ρ" in shown[f"{key}-cifar100"]
    assert "under 200 resamples" in shown["rho-cifar100"]  # for n_resamples is 199
    table = pd.read_csv(folder / "table01.csv").query("source == 'computed'")
    assert table.filter(regex="_(low|high)$").isna().all(axis=None)
    recheck = pd.read_csv(folder / "recheck.csv").iloc[0]
    assert recheck["n"] == 10 and recheck["unscored_differ"] == 0


def _with_interval(folder, record):
    epsilon = pd.read_csv(folder / "table03.csv").set_index(["source", "metric"])
    params = epsilon.loc[("computed", "params")]
    assert params["rho_low"] <= params["rho"] <= params["rho_high"]
    assert pd.read_csv(folder / "recheck.csv")["n"].tolist() == [11]


def _pairs(weights):
    def check(folder, record):
        table = pd.read_csv(next(folder.glob("table0?.csv")))
        ascending = sorted(weights)
        expected = [(a, b) for i, a in enumerate(ascending) for b in ascending[i + 1 :]]
        assert list(zip(table["w1"], table["w2"], strict=True)) == expected

    return check


CHECKS = {
    "table01_nasbench201": _one_dataset,
    "table03_nasbench101": _with_interval,
    **{
        name: _pairs(cases["weights"][0])
        for name, cases in CASES.items()
        if name in ranges.ABLATIONS
    },
}


def test_weights_have_no_order(tmp_path):
    """Epsilon is symmetric, so that a swapped pair finds the same stored scores."""
    from epsutil import inputs

    batch = inputs.batch("grey", 16)
    archs = [0, 5, 11, 15_624]
    space = spaces.get("nasbench201")
    several = scoring.score(
        "nasbench201", batch, (1.0, 1e-3, 0.5), archs, n_jobs=1, folder=tmp_path
    )
    assert list(several) == ["0.001,0.5", "0.001,1", "0.5,1"]
    for index in archs:
        for w1, w2 in ((1.0, 1e-3), (0.5, 1e-3), (0.5, 1.0)):
            expected = space.score(space[index], batch.x, (w1, w2))
            got = several.loc[index, scoring.pair((w1, w2))]
            np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("010", 10),  # YAML 1.1: 8
        ("-007", -7),
        ("1_000", 1000),
        ("12:30:45", "12:30:45"),  # YAML 1.1: 45045
        ("1:30.5", "1:30.5"),
        ("0x1f", "0x1f"),
        ("0o17", "0o17"),
        ("1e-7", 1e-7),  # YAML 1.1: text
        ("1e3", 1000.0),
        (".5", 0.5),
        ("inf", float("inf")),
        (".inf", ".inf"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", "true"),
        ("True", True),
        ("False", False),
        ("None", None),
        ("null", "null"),
        ("~", "~"),
        ("", ""),
        ("2001-12-14", "2001-12-14"),
        ("a: b", "a: b"),
        (POOL, POOL),
    ],
)
def test_a_parameter_is_read_as_papermill_reads_it(text, expected):
    from papermill.cli import _resolve_type

    assert notebooks.value(text) == expected == _resolve_type(text)
    assert type(notebooks.value(text)) is type(expected)
    if not {*text} & {*":|"}:  # which mean something inside a YAML list
        assert notebooks.value(f"[5, {text or chr(34) * 2}]") == [5, expected]


def test_not_a_number_is_no_number():
    assert np.isnan(notebooks.value("nan"))
    for text in ("nan", "inf", "-inf"):
        with pytest.raises(notebooks.ParameterError, match="above 0 and at most 1"):
            notebooks.check("table08_weights", {"largest_share": notebooks.value(text)})


@pytest.mark.parametrize("text", ["[1, 2", "[1] 2", "[&a [*a]]", "[!!python/name:os.system ]x"])
def test_a_broken_list_is_one_line(text):
    with pytest.raises(notebooks.ParameterError, match="not a value") as caught:
        notebooks.value(text)
    assert "\n" not in str(caught.value)


def test_the_scales_are_read_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("n = 1\nw = [1.0]", metadata={"tags": ["parameters"]})]
    )
    nbformat.write(notebook, tmp_path / "own.ipynb")
    (tmp_path / "scales.yml").write_text("own:\n  quick:\n  test: {n: 010, w: [1e-7, 1]}\n")
    assert notebooks.scale("own", "test") == {"n": 10, "w": [1e-7, 1.0]}
    assert notebooks.scale("own", "quick") == {}


def test_least_resamples_is_what_the_pages_say():
    assert statistics.LEAST_RESAMPLES == 200
