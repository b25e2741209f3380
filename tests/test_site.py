"""The built site, as files and in headless Chromium.

``make site-test`` needs both a site in ``_build/html`` (or ``EPSUTIL_SITE``) and Chromium; under
``make test`` the tests are skipped where either is missing.
"""

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

# The theme leaves two templates in _static; they are not pages.
PAGES = sorted(
    str(page.relative_to(SITE))
    for page in SITE.rglob("*.html")
    if page.relative_to(SITE).parts[0] != "_static"
)
CONTENT = [page for page in PAGES if page.startswith(("book/", "notebooks/"))]
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
        if tag == "link" and "search" not in attrs.get("rel", ""):
            self.loaded.append(attrs.get("href", ""))
        if tag in self.LOADED and attrs.get(self.LOADED[tag]):
            self.loaded.append(attrs[self.LOADED[tag]])
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


def settle_plots(page):
    """Wait for all plots, and scroll through them, so that what draws only when seen is drawn."""
    # Plotly adds its class to a placeholder, some time after the page has loaded.
    page.wait_for_function(
        "() => !document.querySelector('.plotly-graph-div:not(.js-plotly-plot)')", timeout=60_000
    )
    for plot in page.query_selector_all(".js-plotly-plot"):
        plot.scroll_into_view_if_needed()
    page.wait_for_timeout(300)


@pytest.mark.parametrize("path", PAGES or ["index.html"])
def test_page_opens_cleanly(visit, path):
    page, trouble = visit(path)
    settle_plots(page)
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
    assert trouble + broken + math + unset == []


@pytest.mark.parametrize("path", CONTENT or ["index.html"])
def test_page_fits_a_phone(visit, path):
    page, _ = visit(path, viewport=PHONE)
    settle_plots(page)
    width = page.evaluate("() => document.documentElement.scrollWidth")
    wide = page.evaluate(
        """(width) => [...document.querySelectorAll('.bd-article *')].filter(e => {
            if (e.getBoundingClientRect().right <= width + 1) return false;
            for (let p = e.parentElement; p; p = p.parentElement)
                if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)
                    && p.getBoundingClientRect().right <= width + 1
                    && p !== document.body && p !== document.documentElement) return false;
            return true;
        }).slice(0, 5).map(e => e.tagName + '.' + (e.getAttribute('class') || ''))""",
        PHONE["width"],
    )
    assert (width <= PHONE["width"], wide) == (True, [])
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.bd-article table')].filter(table =>
            table.caption && table.caption.getBoundingClientRect().right
                > table.getBoundingClientRect().right + 1
        ).map(table => table.caption.innerText.slice(0, 30))"""
    )
    assert cut == [], "captions that end out of view"


@pytest.mark.parametrize("path", FIGURES or ["index.html"])
def test_figures_are_drawn(visit, path):
    if not FIGURES:
        pytest.skip("the book has no page of a figure")
    page, _ = visit(path)
    settle_plots(page)
    assert page.locator(".bd-article img").count() >= 1, "no static figure"
    notebook = (paths.ROOT / path).with_suffix(".ipynb")
    if "page.interactive(" not in notebook.read_text("utf-8"):
        return
    if page.get_by_text("The interactive plot needs").count():  # a book built without data
        assert page.get_by_text("recorded results").count() >= 1, "no data, or no plot?"
    else:
        assert page.locator(".js-plotly-plot").count() >= 1, "no interactive plot"


@pytest.mark.parametrize("path", CONTENT or ["index.html"])
def test_interactive_plots_show_their_points(visit, path):
    page, _ = visit(path)
    settle_plots(page)
    # A placeholder that Plotly never filled has the class plotly-graph-div alone.
    empty = page.evaluate(
        """() => [...document.querySelectorAll('.plotly-graph-div')].filter(plot => {
            if (!plot.querySelector('.main-svg')) return true;
            if (plot.querySelector('.point, .trace path')) return false;
            return ![...plot.querySelectorAll('canvas.gl-canvas')].some(canvas => {
                if (!canvas.width || !canvas.height) return false;
                const copy = document.createElement('canvas');
                copy.width = canvas.width; copy.height = canvas.height;
                const context = copy.getContext('2d');
                context.drawImage(canvas, 0, 0);
                const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
                return pixels.some((value, i) => i % 4 === 3 && value > 0);
            });
        }).map(plot => plot.id)"""
    )
    assert empty == []


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
    page, trouble = visit("search.html?q=architecture")
    page.wait_for_selector("#search-results li a", timeout=10_000)
    assert trouble == []


@pytest.mark.parametrize("path", CONTENT or ["index.html"])
def test_page_opens_from_disk(visit, site, path):
    page, trouble = visit(path, base=f"file://{site}/")
    assert page.locator("h1").count() >= 1
    assert trouble == []
