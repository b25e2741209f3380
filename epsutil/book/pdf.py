"""Print the built site into one PDF, by headless Chromium."""

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from epsutil import paths
from epsutil.book import meta
from epsutil.book.execution import BuildError

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SCRIPT = """
async ([pages, site]) => {
  const base = new URL("/", location.href);
  const names = new Map(pages.map((page, i) => [new URL(page, base).href, `page-${i}`]));
  const book = document.createElement("div");
  book.className = "bd-article-container book";
  for (const [url, name] of names) {
    const text = await (await fetch(url)).text();
    const article = new DOMParser().parseFromString(text, "text/html")
      .querySelector("article.bd-article");
    // What a PDF cannot do: plots that move, buttons, files to download.
    const useless = "script, iframe, canvas, button, a.headerlink, a.download, .plotly-graph-div";
    article.querySelectorAll(useless).forEach(element => element.remove());
    for (const key of ["id", "for", "name"])
      for (const element of article.querySelectorAll(`[${key}]`))
        element.setAttribute(key, `${name}-${element.getAttribute(key)}`);
    for (const key of ["src", "href"])
      for (const element of article.querySelectorAll(`[${key}]`)) {
        const target = new URL(element.getAttribute(key), url), hash = target.hash;
        target.hash = "";
        const page = names.get(target.href);
        if (key === "href" && page)
          element.href = `#${page}${hash && "-" + hash.slice(1)}`;
        else if (key === "href" && target.origin === base.origin)
          site ? element.href = site + target.pathname.slice(1) + hash
               : element.removeAttribute("href");
        else
          element.setAttribute(key, target.href + hash);
      }
    article.querySelectorAll("img").forEach(image => { image.loading = "eager"; });
    article.id = name;
    book.append(article);
  }
  document.documentElement.dataset.theme = "light";
  document.body.replaceChildren(book);
  if (window.MathJax?.typesetPromise) await MathJax.typesetPromise([book]);
  await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
}
"""
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

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(site))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        sync_playwright() as driver,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            page.set_default_timeout(600_000)
            # The page that becomes the book is one with MathJax, which only some pages load.
            hosts = [name for name in pages if "mathjax" in (site / name).read_text("utf-8")]
            host = f"http://127.0.0.1:{server.server_port}/{(hosts or pages)[0]}"
            page.goto(host, wait_until="networkidle")
            page.emulate_media(media="print")
            page.evaluate(_SCRIPT, [list(pages), meta.site_url()])
            yield page
        finally:
            browser.close()
            server.shutdown()
