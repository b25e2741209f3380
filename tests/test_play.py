"""The pages to play with: what they load, and what they show and answer in the browser."""

import base64
import re

import numpy as np
import pytest
from browser import PHONE

from epsutil import benchmarks, paths, scoring, sources, spaces
from epsutil.book import play

SPACE = spaces.get("nasbench201")
DEEP = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|".replace("op", "nor_conv_3x3")
NO_PATH = "|none~0|+|none~0|op~1|+|none~0|none~1|none~2|".replace("op", "nor_conv_3x3")


def unpacked(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def recorded(dataset, dtype="float32"):
    """Read epsilon of the whole space from the committed file, without the images."""
    import pandas as pd

    name = f"nasbench201-{dataset}-epsilon-b256-{dtype}-w1e-07_1-all-*.parquet"
    (file,) = paths.RECORDED_SCORES.glob(name)
    return pd.read_parquet(file)["1e-07,1"].to_numpy(float)


@pytest.fixture(scope="module")
def cells():
    return play.cells()


@pytest.fixture(scope="module")
def metrics():
    return play.metrics()


# --- What the pages load ------------------------------------------------------------------------


def test_cells_are_those_of_the_space(cells):
    codes = unpacked(cells["cells"], "<u2")
    names = [[cells["operations"][int(d)] for d in np.base_repr(c, 5).zfill(6)] for c in codes]
    given = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    assert [given.format(*six) for six in names] == SPACE[:]


@pytest.mark.parametrize("dataset", benchmarks.DATASETS)
@pytest.mark.parametrize("dtype", scoring.PRECISIONS)
def test_epsilon_is_what_is_stored_to_seven_digits(cells, dataset, dtype):
    packed = unpacked(cells["datasets"][dataset]["epsilon"][dtype], "<f4")
    np.testing.assert_allclose(
        packed[unpacked(cells["networks"], "<u2")], recorded(dataset, dtype), rtol=1e-7
    )


@pytest.mark.needs(*benchmarks.needs("cifar10"))
@pytest.mark.parametrize("dataset", benchmarks.DATASETS)
def test_accuracies_are_rounded_to_a_600th_of_a_per_cent(cells, dataset):
    ours = unpacked(cells["datasets"][dataset]["accuracy"], "<u2") / cells["unit"]
    true = benchmarks.trained("nasbench201", dataset)["test_accuracy"]
    np.testing.assert_allclose(ours, true, atol=0.5 / play.UNIT + 1e-9)


def test_without_data_accuracies_are_absent_and_the_files_are_named(monkeypatch):
    monkeypatch.setattr(sources, "available", lambda *names: False)
    for dataset, values in play.cells()["datasets"].items():
        assert values["accuracy"] is None
        assert values["needs"] == benchmarks.needs(dataset)


def test_metrics_are_those_that_are_stored(metrics):
    """The values of a sample and of the whole space, decoded as the page does."""
    networks = play._networks()
    order = scoring.order("nasbench201")
    for name in ("grad_norm", "synflow"):
        for dataset in ("cifar10", "cifar100"):
            (found,) = [m for m in metrics["datasets"][dataset] if m["name"] == name]
            group = {"grad_norm": "gradients-b64", "synflow": "synflow-b1"}[name]
            (file,) = paths.RECORDED_SCORES.glob(f"nasbench201-{dataset}-{group}-s42-*.parquet")
            import pandas as pd

            stored = pd.read_parquet(file)[name]
            archs = order[: found["n"]] if found["n"] < len(SPACE) else np.arange(len(SPACE))
            seen: dict = {}
            places = [seen.setdefault(network, len(seen)) for network in networks[archs]]
            values = unpacked(found["values"], "<f4").astype(float) * found["scale"]
            np.testing.assert_allclose(values[places], stored.loc[archs], rtol=1e-6)


def test_all_that_is_loaded_is_small(tmp_path):
    play.write(tmp_path / "play")
    assert sum((tmp_path / "play" / f"{n}.js").stat().st_size for n in ("data", "metrics")) < 1e6


def test_pages_name_no_other_host():
    for file in play.SCRIPTS.iterdir():
        addresses = re.findall(r"https?://[^\"'` )]+", file.read_text("utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, file.name


# --- The scripts alone, in the browser ----------------------------------------------------------


@pytest.fixture(scope="module")
def scripts(browser, tmp_path_factory):
    """A page without content in which the scripts run that are no page's own."""
    folder = tmp_path_factory.mktemp("scripts") / "play"
    play.write(folder)
    page = browser.new_page()
    for name in ("common", "data", "metrics", "collapse"):
        if (folder / f"{name}.js").exists():
            page.add_script_tag(path=folder / f"{name}.js")
    yield page
    page.close()


@pytest.mark.site
def test_strings_sizes_and_normal_forms_are_the_packages(scripts):
    found = scripts.evaluate(
        """() => Array.from({ length: PLAY.size() }, (_, i) => {
            const ops = PLAY.operations(i), text = PLAY.text(ops);
            return [text, PLAY.indexOf(PLAY.parse(text)),
                    PLAY.terms(ops).map((t) => t.text).join(" + ") || "0",
                    PLAY.parameters(ops, 100), PLAY.flops(ops, 16, 120)];
        })"""
    )
    assert found == [
        [arch, i, SPACE.key(arch), SPACE.parameters(arch, 100), SPACE.flops(arch, 16, 120)]
        for i, arch in enumerate(SPACE)
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


def cell_of(page):
    return int(re.search(r"cell=(\d+)", page.url)[1])


def check_explorer(page, arch):
    """The page shows this architecture, with the scores that are stored."""
    page.wait_for_function(
        "(t) => document.getElementById('explorer-string').value === t", arg=arch
    )
    index = SPACE.index(arch)
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
            true = benchmarks.trained("nasbench201", dataset)["test_accuracy"][index]
            assert abs(float(text) - true) < 0.01
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
    page.go_back()
    check_explorer(page, edited)
    page.click("#explorer-best")
    page.wait_for_timeout(200)
    best = int(np.nanargmax(recorded("cifar10")))
    assert recorded("cifar10")[cell_of(page)] == recorded("cifar10")[best]
    page.locator("#explorer-scatter").scroll_into_view_if_needed()
    box = page.locator("#explorer-scatter").bounding_box()
    page.mouse.click(box["x"] + 80, box["y"] + 30)  # the strip of those without a score
    page.wait_for_function("(i) => !location.hash.includes(`=${i}&`)", arg=cell_of(page))
    page.wait_for_timeout(200)
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
    page.wait_for_function("() => location.hash.includes('dataset=cifar100')")
    assert "CIFAR-100" in page.inner_text("#explorer-summary")
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


PLAYED = ["book/explorer.html"]


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
@pytest.mark.parametrize("path", PLAYED)
def test_without_javascript_a_page_says_what_is_missing(visit, path):
    page, _ = visit(path, java_script_enabled=False)
    assert "This page needs JavaScript" in page.inner_text("article")
