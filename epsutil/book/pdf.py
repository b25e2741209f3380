"""Print the book into one PDF: Sphinx's single page of it, by headless Chromium."""

import re
import shutil
from pathlib import Path
from typing import Any

from epsutil import paths
from epsutil.book import site
from epsutil.book.execution import BuildError

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FOOTER = (
    '<div style="width: 100%; font: 8px sans-serif; text-align: center">'
    '<span class="pageNumber"></span> / <span class="totalPages"></span></div>'
)
# Only the text stays, without what a PDF cannot do: plots that move, buttons, files to download.
# Returned is how many formulas are not set.
_PREPARE = r"""async () => {
    await window.MathJax?.startup?.promise;
    const book = document.querySelector("article.bd-article");
    const useless = "script, iframe, canvas, button, a.headerlink, a.download, .plotly-graph-div";
    book.querySelectorAll(useless).forEach(element => element.remove());
    for (const link of book.querySelectorAll("a[href]"))
        if (link.protocol === "file:" && link.pathname !== location.pathname)
            link.removeAttribute("href");
    // Sphinx gives this address to the first page, but no place.
    book.id = `document-book/${location.pathname.match(/([^/]*)\.html$/)[1]}`;
    document.documentElement.dataset.theme = "light";
    document.body.className = "book";
    document.body.replaceChildren(book);
    await Promise.all([...document.images].map(image => {
        image.loading = "eager";
        return image.decode().catch(() => {});
    }));
    const formulas = [...book.querySelectorAll(".math")];
    return formulas.filter(element => !element.querySelector("mjx-container")).length;
}"""


def write(output: Path | None = None) -> Path:
    """Print the book as it was last built and return where the PDF is.

    Parameters
    ----------
    output : pathlib.Path, optional
        By default ``_build/epsilon-reproduced.pdf``.

    Raises
    ------
    BuildError
        The book is not built; Sphinx failed; there is no Chromium or no Playwright, which drives
        it; MathJax has not set the formulas.
    """
    stage = paths.BUILD / "stage"
    if not (stage / "_toc.yml").exists():
        raise BuildError(f"no book in {stage}; run `make book` first")
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        raise BuildError("no Chromium on the PATH: install it (Debian: apt install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise BuildError("no Playwright, which drives Chromium: pip install playwright") from None
    single = site.sphinx(stage, paths.BUILD / "single", "singlehtml")
    # Sphinx writes it to the folder of the first page, with addresses from the folder above.
    (page_file,) = single.glob("book/*.html")
    page_file = page_file.replace(single / page_file.name)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            content = _printed(browser.new_page(), page_file)
        finally:
            browser.close()
    output = output or paths.BUILD / "epsilon-reproduced.pdf"
    part = output.with_name(f".{output.name}.part")
    part.write_bytes(content)
    part.replace(output)
    shutil.rmtree(paths.BUILD / "single")
    return output


def _printed(page: Any, file: Path) -> bytes:
    """Return a page of a browser as PDF."""
    page.set_default_timeout(600_000)
    page.goto(file.as_uri(), wait_until="networkidle")
    page.emulate_media(media="print")
    if unset := page.evaluate(_PREPARE):
        raise BuildError(f"{unset} formulas of the book are not set: MathJax is missing in {file}")
    content: bytes = page.pdf(
        format="A4",
        margin={"top": "16mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
        scale=0.85,
        print_background=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=_FOOTER,
        tagged=True,
        outline=True,  # a reader's table of contents
    )
    # Chromium names a heading twice where it moved to the next page. Places of bytes must stay.
    doubled = rb"/Title \(((?:[^()\\]|\\.)+)\1\)"
    return re.sub(doubled, lambda t: b"/Title (%s)" % t[1] + b" " * len(t[1]), content)
