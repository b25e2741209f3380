"""The pages to play with: what they load, and what they show and answer in the browser."""

import base64
import functools
import json
import re

import numpy as np
import pandas as pd
import pytest
from browser import PHONE
from scipy import stats

from epsutil import benchmarks, inputs, metric, paths, scoring, sources, spaces
from epsutil.book import interactive_data

SPACE = spaces.get("nasbench201")
DEEP = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|".replace("op", "nor_conv_3x3")
NO_PATH = "|none~0|+|none~0|op~1|+|none~0|none~1|none~2|".replace("op", "nor_conv_3x3")


def unpacked(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


@functools.cache
def trained(dataset):
    return benchmarks.trained("nasbench201", dataset)["test_accuracy"]


@functools.cache
def recorded(dataset, dtype="float32"):
    """Read epsilon of the whole space from the committed files, without the images."""
    name = f"nasbench201-{dataset}-epsilon-b256-{dtype}-w1e-07_1-*/*.parquet"
    stored = [pd.read_parquet(file) for file in paths.RECORDED_SCORES.glob(name)]
    (whole,) = [scores for scores in stored if len(scores) == len(SPACE)]
    return whole["1e-07,1"].to_numpy(float)


@pytest.fixture(scope="module")
def scores():
    return interactive_data.scores()


@pytest.fixture(scope="module")
def metrics(scores):
    """By dataset, with the order that samples are drawn in, which all datasets share."""
    found = {dataset: interactive_data.metrics(dataset) for dataset in benchmarks.DATASETS}
    return {name: {"order": scores["order"], "metrics": of} for name, of in found.items()}


# --- What the pages load ------------------------------------------------------------------------


def test_cells_are_those_of_the_space():
    cells = interactive_data.cells()
    codes = unpacked(cells["cells"], "<u2")
    names = [[cells["operations"][int(d)] for d in np.base_repr(c, 5).zfill(6)] for c in codes]
    given = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    assert [given.format(*six) for six in names] == SPACE[:]


@pytest.mark.parametrize("dataset", benchmarks.DATASETS)
@pytest.mark.parametrize("dtype", scoring.PRECISIONS)
def test_epsilon_is_what_is_stored_to_seven_digits(scores, dataset, dtype):
    packed = unpacked(scores["datasets"][dataset]["epsilon"][dtype], "<f4")
    np.testing.assert_allclose(
        packed[unpacked(scores["networks"], "<u2")], recorded(dataset, dtype), rtol=1e-7
    )


@pytest.mark.needs(*benchmarks.needs("cifar10"))
@pytest.mark.parametrize("dataset", benchmarks.DATASETS)
def test_accuracies_are_rounded_to_a_600th_of_a_per_cent(scores, dataset):
    ours = unpacked(scores["datasets"][dataset]["accuracy"], "<u2") / scores["unit"]
    np.testing.assert_allclose(ours, trained(dataset), atol=0.5 / interactive_data.UNIT + 1e-9)


def test_without_data_accuracies_are_absent_and_the_files_are_named(monkeypatch):
    monkeypatch.setattr(sources, "available", lambda *names: False)
    for dataset, values in interactive_data.scores()["datasets"].items():
        assert values["accuracy"] is None
        assert values["needs"] == benchmarks.needs(dataset)


PARTS = ["expressivity", "progressivity", "trainability"]  # with FLOPs, of AZ-NAS


@functools.cache
def stored(dataset):
    """Read all committed metrics but epsilon, more being better, with a plain AZ-NAS."""
    stores = paths.RECORDED_SCORES.glob(f"nasbench201-{dataset}-*-s42-*")
    others = ("draws", "fisher_biased")  # other initialisations of epsilon, a check of Table 1
    frames = [pd.read_parquet(s) for s in stores if not re.search("|".join(others), s.name)]
    found = {name: frame[name] for frame in frames for name in frame.drop(columns="seconds")}
    for name in {"ntk", "cv"} & {*found}:
        found[name] = -found[name]
    if {*PARTS} <= {*found}:
        archs = found[PARTS[0]].index
        size, classes = inputs.image_size(dataset), benchmarks.num_classes(dataset)
        flops = [SPACE.flops(SPACE[i], size, classes) for i in archs]
        terms = [*(found[part].fillna(-np.inf) for part in PARTS), flops]
        ranks = np.array([stats.rankdata(term) for term in terms])
        found["az_nas"] = pd.Series(np.log(ranks / len(archs)).sum(axis=0), archs)
    return found


@pytest.mark.parametrize("dataset", benchmarks.DATASETS)
def test_metrics_are_those_that_are_stored(metrics, dataset):
    """All of them, cell by cell, decoded as the page does."""
    names = [metric["name"] for metric in metrics[dataset]["metrics"]]
    assert {*names} == {*stored(dataset)} - {*PARTS} and len(names) >= 10
    for name in names:
        values, archs = decoded(metrics, name, dataset)
        assert sorted(archs) == sorted(stored(dataset)[name].index), name
        theirs = stored(dataset)[name].loc[archs].replace([-np.inf, np.inf], np.nan)
        np.testing.assert_allclose(values, theirs, rtol=1e-6, err_msg=name)


@pytest.mark.needs(*benchmarks.needs("cifar10"))
@pytest.mark.parametrize("dataset", benchmarks.DATASETS)
def test_correlations_of_metrics_are_those_of_table_1(metrics, scores, dataset):
    """AZ-NAS has another value for each cell of a network, by its FLOPs."""
    folder = paths.RECORDED_RESULTS / "table01_nasbench201"
    table = pd.read_csv(folder / "table01.csv").query("source == 'computed'")
    table = pd.concat([table, pd.read_csv(folder / "later.csv")])  # metrics after the paper
    rows = table.query("dataset == @dataset").drop_duplicates("metric").set_index("metric")
    target = unpacked(scores["datasets"][dataset]["accuracy"], "<u2")
    names = [m["name"] for m in metrics[dataset]["metrics"] if m["name"] in rows.index]
    assert len(names) >= 7 and (dataset != "cifar10" or "az_nas" in names)
    for name in names:
        values, archs = decoded(metrics, name, dataset)
        kept = ~np.isnan(values)
        rho = stats.spearmanr(values[kept], target[archs][kept]).statistic
        assert rho == pytest.approx(rows.loc[name, "rho"], abs=5e-4), name


def decoded(metrics, name, dataset):
    """Return a metric's values as its page decodes them, and the architectures that they are of."""
    (found,) = [m for m in metrics[dataset]["metrics"] if m["name"] == name]
    archs = np.arange(len(SPACE))
    if found["n"] < len(SPACE):
        archs = unpacked(metrics[dataset]["order"], "<u2")[: found["n"]]
    seen: dict = {}
    values = unpacked(found["values"], "<f4").astype(float) * found["scale"]
    keys = archs if len(values) == len(archs) else interactive_data._networks()[archs]
    return values[[seen.setdefault(key, len(seen)) for key in keys]], archs


def test_all_that_is_loaded_is_small(tmp_path):
    interactive_data.write(tmp_path / "play")
    own = {file.name for file in (paths.BOOK / "_play").iterdir()}
    written = {file.name: file.stat().st_size for file in (tmp_path / "play").iterdir()}
    numbers = {name: size for name, size in written.items() if name not in own}
    assert {*numbers} == {
        "cells.js", "scores.js", *(f"metrics-{name}.js" for name in benchmarks.DATASETS)
    }  # fmt: skip
    assert own < {*written} and sum(numbers.values()) < 1e6


def test_pages_name_no_other_host():
    for file in (paths.BOOK / "_play").iterdir():
        addresses = re.findall(r"https?://[^\"'` )]+", file.read_text("utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, file.name


# --- The scripts alone, in the browser ----------------------------------------------------------


@pytest.fixture(scope="module")
def scripts(browser):
    """A page without content in which the scripts run that are no page's own."""
    page = browser.new_page()
    page.add_script_tag(path=paths.BOOK / "_play" / "common.js")
    page.add_script_tag(content=f"PLAY.data.cells = {json.dumps(interactive_data.cells())}")
    page.add_script_tag(path=paths.BOOK / "_play" / "collapse.js")
    yield page
    page.close()


@pytest.mark.site
def test_strings_sizes_and_normal_forms_are_the_packages(scripts):
    found = scripts.evaluate(
        """() => Array.from({ length: PLAY.size() / 5 }, (_, k) => 5 * k).map((i) => {
            const ops = PLAY.operations(i), text = PLAY.text(ops);
            return [text, PLAY.indexOf(PLAY.parse(text)),
                    PLAY.terms(ops).map((t) => t.text).join(" + ") || "0",
                    PLAY.parameters(ops, 100), PLAY.flops(ops, 16, 120)];
        })"""
    )
    assert found == [
        [arch, i, SPACE.key(arch), SPACE.parameters(arch, 100), SPACE.flops(arch, 16, 120)]
        for i, arch in list(enumerate(SPACE))[::5]
    ]


@pytest.mark.site
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "Nothing to read"),
        ("|none~0|", "one group of 1"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|", "3 groups of 1, 2, 2"),
        (
            "|none~0|+|none~0|conv~1|+|none~0|none~1|none~2|",
            'Unknown operation "conv" on edge 1 → 2',
        ),
        ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", 'write "none~0" in place of "none~1"'),
        (
            "none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
            "You may mean |none~0|+|none~0|none~1|+",
        ),
    ],
)
def test_a_bad_string_is_told_how_to_mend_it(scripts, given, said):
    message = scripts.evaluate(
        "(text) => { try { PLAY.parse(text); return ''; } catch (e) { return e.message; } }", given
    )
    assert said in message and not re.search("undefined|NaN", message)


@pytest.mark.site
def test_a_string_with_spaces_or_quotes_is_read(scripts):
    for given in (f"  {DEEP}\n", f'"{DEEP}"'):
        assert scripts.evaluate("(t) => PLAY.indexOf(PLAY.parse(t))", given) == SPACE.index(DEEP)


# --- The explorer -------------------------------------------------------------------------------


def explored(page):
    """Return the table of values as a mapping of rows."""
    rows = page.eval_on_selector_all(
        "#explorer-values tr", "rows => rows.map(r => [...r.cells].map(c => c.innerText.trim()))"
    )
    return {f"{i} {row[0]}": row[1:] for i, row in enumerate(rows)}


def shown(value, digits=4):
    return "no score" if np.isnan(value) else f"{float(f'{value:.{digits}g}'):g}"


def cell_of_address(text):
    return int(re.search(r"cell=(\d+)", text)[1])


def cell_of(page):
    return cell_of_address(page.url)


def check_explorer(page, arch):
    """The page shows this architecture, with the scores that are stored."""
    index = SPACE.index(arch)
    page.locator("#explorer-summary", has_text=f"Cell {index:,} has").wait_for()
    assert page.input_value("#explorer-string") == arch
    table = explored(page)
    for row, dtype in (("1 Epsilon, float32", "float32"), ("3 Epsilon, float64", "float64")):
        assert table[row] == [shown(recorded(d, dtype)[index]) for d in benchmarks.DATASETS]
    counts = [SPACE.parameters(arch, benchmarks.num_classes(d)) for d in benchmarks.DATASETS]
    assert table["7 Parameters"] == [f"{count:,}" for count in counts]
    accuracy = table["5 Test accuracy (%)"]
    if "not at hand" in accuracy:
        assert "nats_bench.csv" in page.inner_text("#explorer-missing")
    elif sources.available(*benchmarks.needs("cifar10")):
        for text, dataset in zip(accuracy, benchmarks.DATASETS, strict=True):
            assert abs(float(text) - trained(dataset)[index]) < 0.01
    assert f'--arch "{arch}"' in page.inner_text("#explorer-commands")


@pytest.mark.site
def test_explorer_by_mouse(visit):
    page, trouble = visit("book/explorer.html")
    start = page.input_value("#explorer-string")
    check_explorer(page, start)
    page.locator("[data-edge='0'] text").click()  # to the next operation: pooling
    page.wait_for_function("() => location.hash")
    edited = start.replace("|nor_conv_3x3~0|+", "|avg_pool_3x3~0|+", 1)
    check_explorer(page, edited)
    button = page.locator("#explorer-neighbours button").nth(5)
    other = SPACE[int(button.get_attribute("data-cell"))]
    button.click()
    check_explorer(page, other)
    assert page.evaluate("() => document.activeElement.id") == "explorer-summary"
    page.go_back()
    check_explorer(page, edited)
    page.click("#explorer-best")
    page.locator("#explorer-summary", has_text="rank 1 of the 9,226").wait_for()
    assert recorded("cifar10")[cell_of(page)] == np.nanmax(recorded("cifar10"))
    page.locator("#explorer-scatter").scroll_into_view_if_needed()
    box = page.locator("#explorer-scatter").bounding_box()
    page.mouse.click(box["x"] + 80, box["y"] + 30)  # the strip of those without a score
    page.locator("#explorer-summary", has_text="has no epsilon").wait_for()
    assert np.isnan(recorded("cifar10")[cell_of(page)])
    assert trouble == []


@pytest.mark.site
def test_explorer_by_keyboard(visit):
    page, trouble = visit("book/explorer.html")
    edited = page.input_value("#explorer-string").replace("nor_conv_3x3~2|", "avg_pool_3x3~2|")
    page.focus("#explorer-cell-edge-5")
    page.keyboard.press("ArrowDown")
    check_explorer(page, edited)
    page.focus("#explorer-string")
    page.keyboard.press("Control+a")
    page.keyboard.type(DEEP)
    page.keyboard.press("Enter")
    check_explorer(page, DEEP)
    assert "signal vanishes" in page.inner_text("#explorer-summary")
    page.focus("#explorer-string")
    page.keyboard.press("Control+a")
    page.keyboard.type("|none~0|")
    page.keyboard.press("Enter")
    assert "one group of 1" in page.inner_text("#explorer-error")
    assert page.get_attribute("#explorer-string", "aria-invalid") is not None
    page.focus("[name=explorer-dataset]:checked")
    page.keyboard.press("ArrowRight")
    page.locator("#explorer-summary", has_text="CIFAR-100").wait_for()
    assert "dataset=cifar100" in page.url
    assert page.inner_text("#explorer-error") == ""
    assert trouble == []


@pytest.mark.site
def test_a_link_opens_the_same_cell(visit):
    index = SPACE.index(NO_PATH)
    page, trouble = visit(f"book/explorer.html#cell={index}&dataset=ImageNet16-120")
    check_explorer(page, NO_PATH)
    assert "No operation leads" in page.inner_text("#explorer-summary")
    assert page.is_checked("[value='ImageNet16-120']")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#explorer-copy")
    page.wait_for_function("() => document.getElementById('explorer-copied').textContent")
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied == page.url and f"cell={index}" in copied
    page.locator(".bd-toc a, .page-toc a").last.click()  # a heading, which names no cell
    page.wait_for_function("() => !location.hash.includes('=')")
    check_explorer(page, NO_PATH)
    page, trouble = visit("book/explorer.html#cell=15625")
    assert "0 to 15624" in page.inner_text("#explorer-error")
    assert trouble == []


@pytest.mark.site
def test_neighbours_are_at_distance_one(visit):
    page, _ = visit(f"book/explorer.html#cell={SPACE.index(DEEP)}")
    found = page.eval_on_selector_all(
        "#explorer-neighbours button", "all => all.map(b => Number(b.dataset.cell))"
    )
    operations = [re.findall(r"\|?(\w+)~", SPACE[i]) for i in [SPACE.index(DEEP), *found]]
    distances = [sum(a != b for a, b in zip(operations[0], o, strict=True)) for o in operations]
    assert distances == [0] + 24 * [1] and len({*found}) == 24


# --- Epsilon by hand ----------------------------------------------------------------------------

RTOL, ATOL = 1e-4, 5e-6  # what the page says; sums are rounded in another order


def by_hand(page, jobs, count):
    """Return epsilon and outputs, computed by the page's own script."""
    found = page.evaluate(
        """([jobs, count]) => jobs.map(([index, ...weights]) => {
            const json = v => Number.isFinite(v) ? v : String(v);
            const terms = PLAY.terms(PLAY.operations(index)), images = COLLAPSE.grey(count, 32);
            const rows = weights.map(w => COLLAPSE.outputs(terms, w, images));
            return [json(COLLAPSE.epsilon(...rows).epsilon), rows.map(r => [...r].map(json))];
        })""",
        [jobs, count],
    )
    return [(float(epsilon), rows) for epsilon, rows in found]


def test_the_page_states_the_tolerance():
    text = " ".join((paths.BOOK / "by_hand.md").read_text("utf-8").split())
    assert "a ten-thousandth of the value" in text and RTOL == 1e-4
    assert r"$5 \cdot 10^{-6}$" in text and ATOL == 5e-6
    assert "200 random cells" in text


@pytest.mark.site
def test_200_random_cells_and_weights_have_the_packages_epsilon(scripts):
    rng, count = np.random.default_rng(21), 16
    x = inputs.batch("grey", count).x
    pairs = 10 ** rng.uniform(-10, 2, (200, 2))
    archs = rng.integers(len(SPACE), size=200).tolist()
    jobs = [[index, *two] for index, two in zip(archs, pairs.tolist(), strict=True)]
    ours = np.array([epsilon for epsilon, _ in by_hand(scripts, jobs, count)])
    theirs = np.array([SPACE.score(SPACE[index], x, two) for index, *two in jobs])
    assert 50 < np.isnan(theirs).sum() < 150  # both kinds are there
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=RTOL, atol=ATOL)


@pytest.mark.site
def test_outputs_are_the_packages_down_to_where_they_vanish(scripts):
    """A cell whose signal becomes subnormal, then 0; one that overflows; one without a path."""
    x = inputs.batch("grey", 16).x
    chain = "|op~0|+|none~0|op~1|+|none~0|none~1|skip_connect~2|".replace("op", "nor_conv_1x1")
    weights = [1e-2, 4e-3, 1e-3, 3.3e-4, 3.1e-4, 1e-5, 1e3, 1e38]
    smallest = []
    for arch in (chain, DEEP, NO_PATH):
        jobs = [[SPACE.index(arch), w, w] for w in weights]
        rows = [found[0] for _, found in by_hand(scripts, jobs, 16)]
        rows = np.array(rows, float)  # reads "Infinity" and "NaN"
        theirs = SPACE.outputs(arch, x, weights)
        smallest += theirs[theirs > 0].tolist()
        np.testing.assert_array_equal(np.isfinite(rows), np.isfinite(theirs))
        np.testing.assert_array_equal(np.equal(rows, 0), theirs == 0)
        kept = np.isfinite(theirs)
        scale = np.abs(np.where(kept, theirs, 0)).max(axis=1, keepdims=True)
        # Of the few digits that a subnormal number has, the last may differ.
        wrong = np.abs(np.where(kept, rows, 0) - np.where(kept, theirs, 0).astype(float))
        assert (wrong <= 1e-4 * scale + 1e-44).all(), arch
    assert min(smallest) < np.finfo(np.float32).tiny  # a subnormal number


@pytest.mark.site
def test_equations_are_the_packages(scripts):
    rng = np.random.default_rng(0)
    for rows in (rng.normal(size=(2, 9)), [[0, 1, 2, 4], [0, 1, 8, 9]], [[1, 1], [0, 2]]):
        rows = np.asarray(rows, np.float32)
        ours = scripts.evaluate(
            "rows => String(COLLAPSE.epsilon(...rows.map(r => Float32Array.from(r))).epsilon)",
            rows.tolist(),
        )
        assert float(ours) == pytest.approx(metric.from_outputs(rows), rel=1e-6, nan_ok=True)


def shown_by_hand(page):
    """Wait until the page has computed what its controls ask for; return that and its values."""
    page.locator("#hand-values[aria-busy=false]").wait_for()
    asked = json.loads(page.get_attribute("#hand-values", "data-shown"))
    return asked, {k: page.inner_text(f"#hand-{k}") for k in ("delta", "mu", "epsilon")}


def check_by_hand(page):
    """The page shows the package's epsilon for what its controls say."""
    asked, values = shown_by_hand(page)
    x = inputs.batch("grey", asked["images"]).x
    expected = SPACE.score(SPACE[asked["cell"]], x, asked["weights"])
    if np.isnan(expected):
        assert values["epsilon"] == "undefined"
        assert page.inner_text("#hand-says").startswith("No score")
    else:
        assert float(values["epsilon"]) == pytest.approx(expected, rel=1e-3)
    return asked


@pytest.mark.site
def test_by_hand_by_keyboard(visit):
    page, trouble = visit("book/by_hand.html")
    assert check_by_hand(page)["weights"] == list(SPACE.weights)
    page.focus("#hand-slider-0")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert check_by_hand(page)["weights"][0] > 1e-7
    assert float(page.input_value("#hand-weight-0")) > 1e-7
    page.focus("#hand-weight-1")
    page.keyboard.press("Control+a")
    page.keyboard.type("0.01")
    assert check_by_hand(page)["weights"][1] == 0.01
    page.keyboard.type("x")
    assert "0.01x" in page.inner_text("#hand-error")
    page.wait_for_timeout(200)  # the address has changed
    assert "0.01x" in page.inner_text("#hand-error")
    assert shown_by_hand(page)[0]["weights"][1] == 0.01  # the last that was one
    page.focus("#hand-slider-1")
    page.keyboard.press("ArrowRight")
    assert 0.01 < check_by_hand(page)["weights"][1] == float(page.input_value("#hand-weight-1"))
    assert page.inner_text("#hand-error") == ""
    assert page.locator("#hand [aria-invalid]").count() == 0
    page.focus("#hand-cell-edge-3")
    page.keyboard.press("End")
    asked = check_by_hand(page)
    assert SPACE[asked["cell"]].split("+|")[2].startswith("avg_pool_3x3~0")
    assert trouble == []


@pytest.mark.site
def test_by_hand_by_mouse(visit):
    page, trouble = visit(f"book/by_hand.html#cell={SPACE.index(DEEP)}&w1=1e-7&w2=1&images=16")
    assert check_by_hand(page) == {"cell": SPACE.index(DEEP), "weights": [1e-7, 1], "images": 16}
    assert "the signal has vanished" in page.inner_text("#hand-says")
    box = page.locator("#hand-slider-0").bounding_box()
    page.mouse.click(box["x"] + 0.72 * box["width"], box["y"] + box["height"] / 2)
    asked = check_by_hand(page)
    assert 1e-3 < asked["weights"][0] < 1 and f"w1={asked['weights'][0]}" in page.url
    again, _ = visit("book/by_hand.html" + page.url.partition("by_hand.html")[2])
    assert check_by_hand(again) == asked
    page.locator("[data-edge='3'] text").click()
    check_by_hand(page)
    page.select_option("#hand-images", "32")
    assert check_by_hand(page)["images"] == 32
    page.click("#hand-paper")
    assert check_by_hand(page)["weights"] == [1e-7, 1]
    page.select_option("#hand-images", "256")
    page.wait_for_timeout(1000)  # the change of the address draws nothing anew
    assert int(re.search(r"256 grey .* in (\d+) ms", page.inner_text("#hand-time"))[1]) > 5
    assert trouble == []


# --- Any metric against accuracy ----------------------------------------------------------------


@pytest.mark.site
def test_spearman_is_scipys(scripts):
    rng = np.random.default_rng(0)
    for x, y in (rng.normal(size=(2, 50)), rng.integers(0, 5, (2, 200)), [[1, 2, 2], [3, 1, 1]]):
        two = [np.asarray(values, float).tolist() for values in (x, y)]
        ours = scripts.evaluate("two => PLAY.spearman(...two)", two)
        assert ours == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert scripts.evaluate("() => String(PLAY.spearman([1, 1], [1, 2]))") == "NaN"


def of_page(scores, metrics, name, dataset):
    """Return what a plot shows: a metric, the architectures that it is of, and all accuracies."""
    of = scores["datasets"][dataset]
    target = unpacked(of["accuracy"], "<u2") / scores["unit"]
    if name.startswith("epsilon "):
        return recorded(dataset, name.split()[1]), np.arange(len(SPACE)), target
    return *decoded(metrics, name, dataset), target


def skip_without_data(page):
    if page.inner_text("#scatter-missing"):
        pytest.skip("a site built without data")


CORRELATED = [
    ("epsilon float32", "cifar10", "out"),
    ("epsilon float32", "cifar10", "last"),
    ("epsilon float64", "ImageNet16-120", "last"),
    ("synflow", "cifar100", "out"),
    ("jacob_cov", "ImageNet16-120", "last"),
    ("ntk", "cifar10", "out"),
    ("az_nas", "cifar10", "out"),
]


@pytest.mark.site
@pytest.mark.needs(*benchmarks.needs("cifar10"))
def test_scatter_shows_scipys_correlation(visit, scores, metrics):
    page, trouble = visit("book/scatter.html")
    skip_without_data(page)
    for name, dataset, unscored in CORRELATED:
        for select, value in (("dataset", dataset), ("metric", name)):
            page.select_option(f"#scatter-{select}", value)
            wanted = f"{select}={value}".replace(" ", "+")
            page.wait_for_function("(wanted) => location.hash.includes(wanted)", arg=wanted)
        if page.is_checked("#scatter-unscored") != (unscored == "last"):
            page.focus("#scatter-unscored")
            page.keyboard.press("Space")
        page.wait_for_function("(u) => location.hash.includes(`unscored=${u}`)", arg=unscored)
        values, archs, target = of_page(scores, metrics, name, dataset)
        if unscored == "last":
            values = np.where(np.isnan(values), -np.inf, values)
        kept = ~np.isnan(values)
        rho = stats.spearmanr(values[kept], target[archs][kept]).statistic
        written = f"{rho:.3f}".replace("-", "−")
        page.wait_for_function(
            "(rho) => document.getElementById('scatter-rho').textContent === rho", arg=written
        )
        assert page.inner_text("#scatter-n") == f"{kept.sum():,}"
        assert f"{written} over {kept.sum():,} cells" in page.inner_text("#scatter-says")
        first = page.locator("#scatter-best a").first.get_attribute("href")
        best = dict(zip(archs.tolist(), values.tolist(), strict=True))[cell_of_address(first)]
        assert best == np.nanmax(values)
    assert trouble == []


@pytest.mark.site
def test_scatter_tells_and_opens_a_cell(visit):
    page, trouble = visit("book/scatter.html#metric=naswot&dataset=cifar100&colour=depth&axis=rank")
    skip_without_data(page)
    assert page.input_value("#scatter-metric") == "naswot"
    assert page.input_value("#scatter-colour") == "depth"
    page.locator("#scatter-plot").scroll_into_view_if_needed()
    box = page.locator("#scatter-plot").bounding_box()
    for across in np.linspace(0.5, 0.95, 20):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + 0.1 * box["height"])
        if page.is_visible("#scatter-tip"):
            break
    cell, arch, *_ = page.inner_text("#scatter-tip").splitlines()
    assert SPACE.index(arch) == int(cell.removeprefix("Cell ").replace(",", ""))
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url("**/explorer.html#*")
    check_explorer(page, arch)
    assert page.is_checked("[value='cifar100']")
    assert trouble == []


# --- All of them --------------------------------------------------------------------------------


PLAYED = ["book/explorer.html", "book/by_hand.html", "book/scatter.html"]


@pytest.mark.site
@pytest.mark.parametrize("path", PLAYED)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_scrolls_sideways_on_a_phone(visit, path, scheme):
    page, trouble = visit(path, viewport=PHONE, color_scheme=scheme)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    unlabelled = page.evaluate(
        """() => [...document.querySelectorAll('.play :is(input, select, button)')].filter(e =>
            !e.labels?.length && !e.innerText?.trim() && !e.getAttribute('aria-label'))
            .map(e => e.outerHTML)"""
    )
    assert (unlabelled, trouble) == ([], [])


@pytest.mark.site
def test_a_site_built_without_data_says_so(browser, address, scores):
    for values in (without := json.loads(json.dumps(scores)))["datasets"].values():
        values["accuracy"] = None
    body = f"PLAY.data.scores = {json.dumps(without)};"
    for path, missing in (("explorer", "#explorer-missing"), ("scatter", "#scatter-missing")):
        page, errors = browser.new_page(), []
        page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
        page.route("**/play/scores.js", lambda route: route.fulfill(body=body))
        page.goto(f"{address}book/{path}.html", wait_until="networkidle")
        assert "did not have nas-bench-201/nats_bench.csv" in page.inner_text(missing)
        assert page.locator(f"{missing} a").get_attribute("href") == "data.html"
        if path == "explorer":
            check_explorer(page, page.input_value("#explorer-string"))
            assert page.is_disabled("#explorer-best-accuracy")
        else:
            assert "and number of parameters on" in page.inner_text("#scatter-says")
        assert errors == []
        page.close()


@pytest.mark.site
def test_pages_work_from_disk(visit, site):
    page, trouble = visit("book/explorer.html", base=f"file://{site}/")
    page.select_option("#explorer-cell-edge-0", "0")
    page.wait_for_function("() => location.hash.includes('cell=')")
    check_explorer(page, SPACE[cell_of(page)])
    by_hand, more = visit("book/by_hand.html", base=f"file://{site}/")
    by_hand.click("#hand-deep")
    assert check_by_hand(by_hand)["cell"] == SPACE.index(DEEP) == cell_of(by_hand)
    plot, most = visit("book/scatter.html", base=f"file://{site}/")
    plot.select_option("#scatter-dataset", "cifar100")  # whose metrics are then loaded
    plot.locator("#scatter-says", has_text="CIFAR-100").wait_for()
    assert trouble + more + most == []


@pytest.mark.site
@pytest.mark.parametrize("path", PLAYED)
def test_without_javascript_a_page_says_what_is_missing(visit, path):
    page, _ = visit(path, java_script_enabled=False)
    assert "This page needs JavaScript" in page.inner_text("article")
