"""Print: what a screen hides in tabs shows on paper, and the whole book is one PDF."""

import re
import shutil

import pytest
from test_site import CONTENT

from epsutil import cli, paths
from epsutil.book import pdf, site
from epsutil.book.execution import BuildError

FORMULA = r"""
A line with $w_1 \le \alpha$, and

$$\epsilon = \frac{\delta}{\mu}$$
"""
PAGE = """# Page {name}

[There]({other}.md), [out](https://a.org/), {{download}}`The table <t.csv>`. {formula}

:::::{{tab-set}}
::::{{tab-item}} One
one in {name}
::::
::::{{tab-item}} Two
two in {name}
::::
:::::

{filling}

## Part of {name}

<button>no use</button> <a href="elsewhere.html">elsewhere</a>
"""


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A stage with two pages, of which the first has no formula."""
    build = tmp_path_factory.mktemp("book") / "_build"
    (build / "stage" / "book").mkdir(parents=True)
    (build / "stage" / "_extra").mkdir()
    shutil.copytree(paths.BOOK / "_static", build / "stage" / "_static")
    site._write_config(build / "stage")
    (build / "stage" / "_toc.yml").write_text(
        "format: jb-book\nroot: book/a\nparts:\n  - chapters:\n      - file: book/b\n"
    )
    (build / "stage" / "book" / "references.bib").write_text("")
    (build / "stage" / "book" / "t.csv").write_text("1\n")
    filling = "\n\n".join(["A paragraph."] * 31)  # the next heading moves to another page
    for name, other, formula in (("a", "b", ""), ("b", "a", FORMULA)):
        text = PAGE.format(name=name, other=other, formula=formula, filling=filling)
        (build / "stage" / "book" / f"{name}.md").write_text(text)
    return build


@pytest.fixture
def built(staged, monkeypatch):
    monkeypatch.setattr(paths, "BUILD", staged)
    return staged


@pytest.fixture
def chromium():
    pytest.importorskip("playwright.sync_api")
    if not any(map(shutil.which, pdf.CHROMIUM)):
        pytest.skip("no Chromium on the PATH")


def titles(outline):
    for entry in outline:
        yield from titles(entry) if isinstance(entry, list) else [entry.title]


@pytest.mark.slow
def test_the_book_is_one_pdf(built, chromium):
    pypdf = pytest.importorskip("pypdf")
    output = pdf.write()
    assert output == paths.BUILD / "epsilon-reproduced.pdf"
    assert {file.name for file in built.iterdir()} == {"stage", "build.log", output.name}
    document = pypdf.PdfReader(output)
    pages = [page.extract_text() for page in document.pages]
    text = "\n".join(pages)
    for words in ("one in a", "two in a", "one in b", "two in b", "One", "Two"):
        assert words in text
    assert not re.search(r"\\[a-zA-Z]|no use|The table|Contents", text)
    assert "ε = δ" in text.replace("𝜖", "ε").replace("𝛿", "δ").replace("ϵ", "ε")
    # A chapter begins a page; bookmarks are single.
    (begins,) = [page for page in pages if "Page b" in page]
    assert begins.strip().startswith("Page b")
    assert [*titles(document.outline)] == ["Page a", "Part of a", "Page b", "Part of b"]
    links = [a.get_object() for page in document.pages for a in page.get("/Annots") or []]
    assert {link["/A"]["/URI"] for link in links if "/A" in link} == {"https://a.org/"}
    assert sum("/Dest" in link for link in links) == 2  # to the other page


def test_without_mathjax_there_is_no_pdf(browser, chromium, tmp_path):
    """Formulas would be raw TeX."""
    page = tmp_path / "book.html"
    page.write_text('<article class="bd-article"><p class="math">\\(a\\)</p></article>')
    opened = browser.new_page()
    with pytest.raises(BuildError, match="^1 formulas of the book are not set: MathJax .*html$"):
        pdf._printed(opened, page)
    page.write_text('<article class="bd-article"><p>no formula</p></article>')
    assert pdf._printed(opened, page).startswith(b"%PDF")
    opened.close()


def test_what_is_missing_is_said_in_one_line(built, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("sys.argv", ["epsutil", "pdf"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert "Chromium" in str(stopped.value) and "\n" not in str(stopped.value)
    monkeypatch.setattr(paths, "BUILD", tmp_path)
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
