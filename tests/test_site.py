"""The built site, as files and in headless Chromium.

``make site-test`` needs both a site in ``_build/html`` (or ``EPSUTIL_SITE``) and Chromium; under
``make test`` the tests are skipped where either is missing.
"""

import gzip
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import PHONE, SITE

from epsutil import paths

pytestmark = pytest.mark.site

# The theme leaves two templates in _static, and plots are shown within pages.
PAGES = sorted(
    str(page.relative_to(SITE))
    for page in SITE.rglob("*.html")
    if page.relative_to(SITE).parts[0] not in ("_static", "plots")
)
CONTENT = [page for page in PAGES if page.startswith(("book/", "notebooks/"))]
WITH_PLOTS = [page for page in CONTENT if 'class="plot"' in (SITE / page).read_text("utf-8")]
FIGURES = [page for page in CONTENT if Path(page).name.startswith("figure")]


# --- As files -----------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a page is made of: anchors, links, loaded resources and images."""

    LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}

    def __init__(self, file):
        super().__init__()
        self.ids, self.links, self.loaded, self.images = set(), [], [], []
        self.title = ""
        self._in_title = False
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.update(filter(None, (attrs.get("id"), attrs.get("name"))))
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        if tag == "link" and attrs.get("rel") not in ("search", "canonical"):
            self.loaded.append(attrs.get("href", ""))
        if tag in self.LOADED and attrs.get(self.LOADED[tag]):
            self.loaded.append(attrs[self.LOADED[tag]])
        if tag == "iframe":  # loaded when it is seen
            self.loaded.append(attrs.get("data-src", ""))
        if tag == "img":
            self.images.append(attrs)
        if tag == "meta" and attrs.get("http-equiv", "").lower() == "refresh":
            self.links.append(attrs["content"].partition("url=")[2])
        self._in_title = self._in_title or tag == "title"

    def handle_endtag(self, tag):
        self._in_title = self._in_title and tag != "title"

    def handle_data(self, data):
        if self._in_title:
            self.title += data


@pytest.fixture(scope="session")
def parsed(site):
    return {page: Page(site / page) for page in PAGES}


def target(page, address):
    """Return the file that an address on a page names, and its anchor."""
    parts = urlsplit(address)
    file = (SITE / page).parent / unquote(parts.path) if parts.path else SITE / page
    if file.is_dir():
        file = file / "index.html"
    return Path(os.path.normpath(file)), unquote(parts.fragment)


def is_local(address):
    parts = urlsplit(address)
    return not parts.netloc and parts.scheme in ("", "file")


def test_every_page_of_the_contents_is_built(site):
    import yaml

    toc = yaml.safe_load((paths.ROOT / "_toc.yml").read_text("utf-8"))
    expected = [toc["root"], *re.findall(r"'file': '([^']+)'", str(toc))]
    assert [page for page in expected if not (site / f"{page}.html").exists()] == []


def test_internal_links_and_anchors_resolve(parsed):
    broken = []
    for page, content in parsed.items():
        for address in content.links:
            if address == "#" or not is_local(address):
                continue
            file, anchor = target(page, address)
            if not file.is_relative_to(SITE) or not file.exists():
                broken.append(f"{page}: {address}")
            elif anchor and file.suffix == ".html":
                if anchor not in parsed[str(file.relative_to(SITE))].ids:
                    broken.append(f"{page}: {address} (no such anchor)")
    assert broken == []


def test_nothing_is_loaded_from_another_host(site, parsed):
    foreign = [
        f"{page}: {address}"
        for page, content in parsed.items()
        for address in content.loaded
        if not address.startswith("data:") and not is_local(address)
    ]
    for sheet in site.rglob("*.css"):
        text = sheet.read_text("utf-8")
        for address in re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]+)", text):
            foreign.append(f"{sheet.relative_to(site)}: {address}")
    assert foreign == []


def test_what_is_loaded_exists(parsed):
    missing = [
        f"{page}: {address}"
        for page, content in parsed.items()
        for address in content.loaded
        if is_local(address) and not target(page, address)[0].exists()
    ]
    assert missing == []


def test_images_say_what_they_show(parsed):
    """Sphinx fills a missing text with the file's address, which says nothing."""
    silent = [
        f"{page}: {image.get('src', '')[:80]}"
        for page, content in parsed.items()
        for image in content.images
        if not (image.get("alt") or "").strip()
        or re.search(r"\.(png|svg|jpe?g|gif)$", image["alt"].strip())
    ]
    assert silent == []


def test_pages_have_titles(parsed):
    contents = [parsed[page] for page in CONTENT]
    titles = [content.title.strip() for content in contents]
    assert all(titles) and len(set(titles)) == len(titles)


def test_pages_name_no_folder_of_this_machine(site):
    folders = {str(paths.ROOT), sys.prefix, *map(str, filter(None, [paths.data()]))} - {"/", "/usr"}
    named = [
        f"{file.relative_to(site)}: {folder}"
        for file in site.rglob("*")
        if file.suffix in (".html", ".ipynb", ".csv", ".json", ".svg", ".txt", ".md")
        for folder in folders
        if re.search(rf"(?<![\w.~-]){re.escape(folder)}\b", file.read_text("utf-8", "replace"))
    ]
    assert named == []


# --- In the browser -----------------------------------------------------------------------------


def plots(page):
    """Scroll to each interactive plot, which is loaded only then, and return its frame."""
    frames = []
    for element in page.query_selector_all("iframe.plot"):
        element.scroll_into_view_if_needed()
        page.wait_for_function("frame => frame.src", arg=element)
        frame = element.content_frame()
        frame.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000, state="attached")
        frames.append(frame)
    page.wait_for_timeout(300)
    return frames


@pytest.mark.parametrize("path", PAGES or ["index.html"])
def test_page_opens_cleanly(visit, path):
    page, trouble = visit(path)
    broken = page.evaluate(
        "() => [...document.images].filter(i => i.checkVisibility()"
        " && !(i.complete && i.naturalWidth)).map(i => 'image not loaded: ' + i.src)"
    )
    math = page.evaluate(
        "() => [...document.querySelectorAll('mjx-merror')]"
        ".map(e => 'bad formula: ' + e.textContent)"
    )
    unset = page.evaluate(
        "() => [...document.querySelectorAll('.math')].filter(e => e.checkVisibility()"
        " && !e.querySelector('mjx-container, svg')).map(e => 'formula not set: ' + e.textContent)"
    )
    raw = page.evaluate(
        r"""() => {
            const root = document.querySelector('article') ?? document.body;
            const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
            const found = [];
            for (let node; (node = walk.nextNode());)
                if (!node.parentElement.closest('pre, code, script, style, mjx-container, .math')
                    && /\\[a-zA-Z]{2,}|\$[^$\s][^$]*\$/.test(node.data))
                    found.push('raw TeX: ' + node.data.trim().slice(0, 60));
            return found;
        }"""
    )
    assert trouble + broken + math + unset + raw + wide_formulas(page) == []


def wide_formulas(page):
    """Formulas that their box cannot show whole."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.bd-article div.math')].flatMap(box => {
            const widths = [...box.querySelectorAll('mjx-math')].map(formula =>
                formula.getBoundingClientRect().width);
            return Math.max(0, ...widths) > box.clientWidth + 1 && box.clientWidth
                ? [`formula of ${Math.max(...widths)} in ${box.clientWidth} px: ${box.textContent}`]
                : [];
        })"""
    )


@pytest.mark.parametrize("path", CONTENT or ["index.html"])
def test_page_fits_the_screen(visit, path):
    page, trouble = visit(path, viewport=PHONE)
    for width in (390, 768, 1440):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_timeout(100)
        needed = page.evaluate("() => document.documentElement.scrollWidth")
        assert needed <= width
        assert (width, too_wide(page, width), wide_formulas(page)) == (width, [], [])
        cut = page.evaluate(
            """() => [...document.querySelectorAll('.bd-article table')].filter(table =>
                table.caption && table.caption.getBoundingClientRect().right
                    > table.getBoundingClientRect().right + 1
            ).map(table => table.caption.innerText.slice(0, 30))"""
        )
        assert cut == [], "captions that end out of view"
    page.set_viewport_size({"width": 1280, "height": 844})
    page.wait_for_timeout(100)
    scrolling = page.evaluate(
        """() => [...document.querySelectorAll('.cell_input pre')].filter(cell =>
            cell.scrollWidth > cell.clientWidth + 1 && !cell.closest('details')
        ).map(cell => cell.innerText.slice(0, 60))"""
    )
    assert scrolling == [], "code that a laptop shows in part"
    assert trouble == []


def too_wide(page, width):
    """What reaches out of the window, and out of every box that scrolls."""
    return page.evaluate(
        """(width) => [...document.querySelectorAll('.bd-article *')].filter(e => {
            if (e.getBoundingClientRect().right <= width + 1) return false;
            for (let p = e.parentElement; p; p = p.parentElement)
                if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)
                    && p.getBoundingClientRect().right <= width + 1
                    && p !== document.body && p !== document.documentElement) return false;
            return true;
        }).slice(0, 5).map(e => e.tagName + '.' + (e.getAttribute('class') || ''))""",
        width,
    )


@pytest.mark.parametrize("path", FIGURES or ["index.html"])
def test_figures_are_drawn(visit, path):
    if not FIGURES:
        pytest.skip("the book has no page of a figure")
    page, _ = visit(path)
    assert page.locator(".bd-article img").count() >= 1, "no static figure"
    notebook = (paths.ROOT / path).with_suffix(".ipynb")
    if "page.interactive(" not in notebook.read_text("utf-8"):
        return
    if page.get_by_text("The interactive plot needs").count():  # a book built without data
        assert page.get_by_text("recorded results").count() >= 1, "no data, or no plot?"
    else:
        assert page.locator("iframe.plot").count() >= 1, "no interactive plot"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", WITH_PLOTS or ["index.html"])
def test_interactive_plots_show_their_points(visit, path, width):
    page, trouble = visit(path, viewport={"width": width, "height": 844})
    for frame in plots(page):
        drawn = frame.evaluate(
            """() => [...document.querySelectorAll('.plotly-graph-div')].every(plot =>
                plot.querySelector('.point, .trace path')
                || [...plot.querySelectorAll('canvas.gl-canvas')].some(canvas => {
                    if (!canvas.width || !canvas.height) return false;
                    const copy = document.createElement('canvas');
                    copy.width = canvas.width; copy.height = canvas.height;
                    const context = copy.getContext('2d');
                    context.drawImage(canvas, 0, 0);
                    const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
                    return pixels.some((value, i) => i % 4 === 3 && value > 0);
                }))"""
        )
        size = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        wanted, given = frame.evaluate(size)
        assert drawn and wanted <= given, frame.url
    assert trouble == []


@pytest.mark.parametrize("path", CONTENT or ["index.html"])
def test_page_is_light(browser, address, path):
    """At most 1.5 MB to download, from a host that compresses text as hosts do."""
    page, loaded = browser.new_page(), []
    page.on("response", lambda answer: loaded.append(len(gzip.compress(answer.body(), 6))))
    page.goto(address + path, wait_until="networkidle")
    page.close()
    assert 50_000 < sum(loaded) < 1.5e6


def test_a_table_sorts_by_a_column(visit):
    page, _ = visit("notebooks/table01_nasbench201.html")
    table = page.locator("table:has(th)", has_text="synflow").first

    def column(place):
        cells = table.locator(f"tbody tr td:nth-child({place})").all_inner_texts()
        return [float(re.match(r"-?[\d,.]+", cell)[0].replace(",", "")) for cell in cells if cell]

    place = table.locator("th").all_inner_texts().index("ρ") + 1
    as_it_was, heading = column(place), table.locator(f"th:nth-child({place})")
    heading.locator("button").click()
    assert column(place) == sorted(as_it_was, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").press("Enter")
    assert column(place) == sorted(as_it_was)
    heading.locator("button").click()
    assert column(place) == as_it_was and heading.get_attribute("aria-sort") is None


def test_a_figure_is_enlarged_and_closed_by_the_keyboard(visit):
    page, trouble = visit("notebooks/figure01_nasbench201_scatter.html", viewport=PHONE)
    image = page.locator("a.image-reference img").first
    page.locator("a.image-reference").first.press("Enter")
    shown = page.locator("dialog.enlarged img")
    assert shown.get_attribute("alt") == image.get_attribute("alt")
    assert shown.bounding_box()["width"] > 2 * image.bounding_box()["width"]
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.enlarged", state="detached")
    assert trouble == []


def test_dark_mode(visit):
    page, trouble = visit("book/index.html", color_scheme="light")

    def background():
        return page.evaluate("() => getComputedStyle(document.body).backgroundColor")

    light = background()
    button = page.locator(".theme-switch-button:visible").first
    for _ in range(3):  # the button goes round: automatic, light, dark
        button.click()
        if page.evaluate("() => document.documentElement.dataset.theme") == "dark":
            break
    page.wait_for_timeout(500)  # the theme fades
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    assert background() != light
    page.reload(wait_until="networkidle")
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    assert trouble == []


def test_search_finds_a_page(visit):
    page, trouble = visit("search.html?q=synflow")
    page.wait_for_selector("#search-results li a", timeout=10_000)
    assert trouble == []


@pytest.mark.parametrize("path", CONTENT or ["index.html"])
def test_page_opens_from_disk(visit, site, path):
    page, trouble = visit(path, base=f"file://{site}/")
    assert page.locator("h1").count() >= 1
    assert trouble == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", CONTENT or ["index.html"])
def test_page_is_accessible(visit, path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page, _ = visit(path, color_scheme=scheme)
    found = [
        f"{rule['impact']}: {rule['id']}: {rule['nodes'][0]['html'][:150]}"
        for rule in axe.run(page).response["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
    assert found == []
