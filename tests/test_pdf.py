"""Print: what a screen hides in tabs shows on paper, and the whole book is one PDF."""

import shutil

import pytest
from test_site import CONTENT

from epsutil import cli, paths
from epsutil.book import pdf
from epsutil.book.execution import BuildError

PAGE = """<!DOCTYPE html><html data-theme="dark"><head><title>{title}</title>
<link rel="stylesheet" href="../_static/custom.css"><style>
.sd-tab-set {{ display: flex; flex-wrap: wrap; }} .sd-tab-content {{ display: none; }}
.sd-tab-set > input {{ position: absolute; opacity: 0; }}
.sd-tab-set > input:checked + label + .sd-tab-content {{ display: block; }}
</style></head><body><nav>sidebar</nav><article class="bd-article"><h1 id="top">{title}</h1>
<p><a class="there" href="{other}.html#top">there</a> <a class="out" href="https://a.org/">out</a>
<a class="download" href="t.csv">The table as CSV</a></p>
<div class="sd-tab-set"><input checked id="tab-0" name="set-0" type="radio">
<label class="sd-tab-label" for="tab-0">One</label><div class="sd-tab-content">first</div>
<input id="tab-1" name="set-0" type="radio"><label class="sd-tab-label" for="tab-1">Two</label>
<div class="sd-tab-content">second of {title}</div></div></article></body></html>"""


@pytest.fixture
def built(monkeypatch, tmp_path):
    """A site of two pages in a project of its own."""
    monkeypatch.setattr(paths, "BUILD", tmp_path / "_build")
    html = tmp_path / "_build" / "html"
    (html / "book").mkdir(parents=True)
    shutil.copytree(paths.BOOK / "_static", html / "_static")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "_toc.yml").write_text(
        "root: book/a\nparts:\n  - caption: Part\n    chapters:\n      - file: book/b\n"
    )
    for name, other in ("ab", "ba"):
        (html / "book" / f"{name}.html").write_text(PAGE.format(title=f"Page {name}", other=other))
    (html / "index.html").write_text("")
    return html


@pytest.fixture
def chromium():
    pytest.importorskip("playwright.sync_api")
    if not any(map(shutil.which, pdf.CHROMIUM)):
        pytest.skip("no Chromium on the PATH")


def test_pages_come_together_with_all_that_tabs_hide(built, chromium):
    with pdf.assembled(built, ["book/a.html", "book/b.html"]) as page:
        shown = page.inner_text("body")
        ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map(e => e.id)")
        links = page.evaluate("() => [...document.links].map(a => a.getAttribute('href'))")
        titles = page.evaluate(
            "() => [...document.querySelectorAll('label')].filter(e => e.checkVisibility()).length"
        )
        colour = page.evaluate("() => getComputedStyle(document.documentElement).colorScheme")
    for text in ("Page a", "Page b", "second of Page a", "second of Page b"):
        assert text in shown
    assert titles == 4 and "sidebar" not in shown and "CSV" not in shown
    assert len(set(ids)) == len(ids) and "page-1-tab-1" in ids
    assert links == ["#page-1-top", "https://a.org/", "#page-0-top", "https://a.org/"]
    assert "dark" not in colour


def test_one_pdf_in_the_order_of_the_contents(built, chromium):
    output = pdf.write()
    content = output.read_bytes()
    assert output == paths.BUILD / "epsilon-reproduced.pdf" and content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") == 2  # a chapter begins a page
    assert list(output.parent.glob(".*")) == []


def test_what_is_missing_is_said_in_one_line(built, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("sys.argv", ["epsutil", "pdf"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert "Chromium" in str(stopped.value) and "\n" not in str(stopped.value)
    (built / "index.html").unlink()
    with pytest.raises(BuildError, match="make book"):
        pdf.write()


@pytest.mark.site
@pytest.mark.parametrize("path", CONTENT or ["index.html"])
def test_print_shows_every_tab(visit, path):  # noqa: F811
    page, _ = visit(path, color_scheme="dark")
    page.emulate_media(media="print")
    hidden = page.evaluate(
        """() => [...document.querySelectorAll('.sd-tab-content, .sd-tab-label')].filter(
            part => !part.checkVisibility() || !part.getBoundingClientRect().height
        ).map(part => part.textContent.slice(0, 40))"""
    )
    assert hidden == []
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.bd-article table')].filter(table =>
            table.getBoundingClientRect().width > 1.02 * table.parentElement.clientWidth
        ).map(table => table.innerText.slice(0, 40))"""
    )
    assert page.evaluate("() => innerWidth") >= 1000 and cut == []
