"""Print the built site into one PDF, by headless Chromium."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from epsutil import paths
from epsutil.book import meta
from epsutil.book.execution import BuildError

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FOOTER = (
    '<div style="width: 100%; font: 8px sans-serif; text-align: center">'
    '<span class="pageNumber"></span> / <span class="totalPages"></span></div>'
)


def write(output: Path | None = None) -> Path:
    """Print the site in ``_build/html`` and return where the PDF is.

    Parameters
    ----------
    output : pathlib.Path, optional
        By default ``_build/epsilon-reproduced.pdf``.

    Raises
    ------
    BuildError
        There is no site, no Chromium or no Playwright.
    """
    site = paths.BUILD / "html"
    if not (site / "index.html").exists():
        raise BuildError(f"no site in {site}; run `make book` first")
    output = output or paths.BUILD / "epsilon-reproduced.pdf"
    toc = (paths.ROOT / "_toc.yml").read_text("utf-8")
    names = re.findall(r"^(?:root:|\s*- file:) *(\S+)$", toc, re.MULTILINE)
    part = output.with_name(f".{output.name}.part")
    with assembled(site, [f"{name}.html" for name in names]) as page:
        page.pdf(
            path=part,
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
    part.replace(output)
    return output


@contextmanager
def assembled(site: Path, pages: Sequence[str]) -> Iterator[Any]:
    """Open a browser's page that holds some pages of a site, one below the other."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        raise BuildError("no Chromium on the PATH: install it (Debian: apt install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise BuildError("no Playwright, which drives Chromium: pip install playwright") from None

    def answer(route: Any) -> None:  # a page from disk may not fetch another
        file = site / unquote(urlsplit(route.request.url).path).lstrip("/")
        route.fulfill(path=file) if file.is_file() else route.fulfill(status=404)

    # The page that becomes the book is one with MathJax, which only some pages load.
    host, *_ = *(name for name in pages if "mathjax" in (site / name).read_text("utf-8")), pages[0]
    script = (paths.BOOK / "_print" / "assemble.js").read_text("utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            page.set_default_timeout(600_000)
            page.route("http://book/**", answer)
            page.goto(f"http://book/{host}", wait_until="networkidle")
            page.emulate_media(media="print")
            page.evaluate(script, [list(pages), meta.site_url()])
            yield page
        finally:
            browser.close()
