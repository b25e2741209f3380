"""What this book adds to Sphinx.

The captions of each page are lettered, Table A, Table B and so on. Numbers are the paper's: Sphinx
would count through the whole book, to a Table 116 that no reader can place; and a page's own count
in numbers could be taken for the paper's. Each page gets its description, and the site its map.
"""

import html
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from xml.sax.saxutils import escape

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_PREVIEW = "results/figure01_nasbench201_scatter/cifar100.png"  # of a page without a picture


def letters(number: int) -> str:
    """Return A for 1, Z for 26, AA for 27, as columns of a spreadsheet are named."""
    number, place = divmod(number - 1, 26)
    return (letters(number) if number else "") + chr(ord("A") + place)


def letter(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Give the captions of every page letters of its own."""
    numbers: dict[str, Any] = env.toc_fignumbers
    for of_page in numbers.values():
        for kind in {"figure", "table"} & {*of_page}:  # algorithms and equations are the paper's
            named = enumerate(of_page[kind], start=1)
            of_page[kind] = {name: (letters(place),) for place, name in named}
    return sorted(numbers)  # they are written anew


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Load MathJax, a megabyte, only where there is a formula; mend what a screen reader reads."""
    body = context.get("body")
    if body is None:
        return
    if 'class="math' not in body:
        scripts = context["script_files"]
        context["script_files"] = [file for file in scripts if "mathjax" not in str(file)]
    # The entries of a bibliography are not marked as items of a list.
    context["body"] = body.replace('role="list" class="citation-list"', 'class="citation-list"')


def _add_tags(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give a page its description, and what social networks show of it."""
    if doctree is None:
        return
    title = next((node.astext() for node in doctree.findall() if node.tagname == "title"), "")
    tags = {"og:type": "article", "og:site_name": app.config.html_title, "og:title": title}
    if text := first_paragraph(doctree):
        tags |= {"description": text, "og:description": text}
    if base := app.config.html_baseurl:
        tags["og:url"] = urljoin(base, f"{page}{app.builder.link_suffix}")
        images = [node["uri"] for node in doctree.findall() if node.tagname == "image"]
        raster = [uri.rpartition("/")[2] for uri in images if uri.endswith((".png", ".jpg"))]
        raster += filter(None, [app.builder.images.get(_PREVIEW)])
        if raster:
            tags["og:image"] = urljoin(base, f"_images/{raster[0]}")
    context["metatags"] = context.get("metatags", "") + "".join(
        f'<meta {"property" if name.startswith("og:") else "name"}="{name}" '
        f'content="{html.escape(content)}" />\n'
        for name, content in tags.items()
    )


def first_paragraph(doctree: Any) -> str:
    """Return what a page found or else its first paragraph, cut to a description's length."""
    texts = [node for node in doctree.findall() if node.tagname == "paragraph" and node.astext()]
    found = [text for text in texts if "found" in text.parent.get("classes", ())]
    first = [*found, *(text for text in texts if text.parent.tagname == "section")]
    return textwrap.shorten(first[0].astext(), 200, placeholder=" …") if first else ""


def _write_map(app: Any, problem: Exception | None) -> None:
    """Write ``sitemap.xml``, where the site's address is known."""
    base = app.config.html_baseurl
    if problem or not base or app.builder.format != "html":
        return
    pages = [f"{page}{app.builder.link_suffix}" for page in sorted(app.env.found_docs)]
    listed = "".join(f"<url><loc>{escape(urljoin(base, page))}</loc></url>\n" for page in pages)
    Path(app.outdir, "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{listed}</urlset>\n',
        "utf-8",
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Letter after Sphinx has numbered; mend when the other extensions have added theirs."""
    app.connect("env-get-updated", letter, priority=900)
    app.connect("html-page-context", _add_tags)
    app.connect("html-page-context", mend, priority=900)
    app.connect("build-finished", _write_map)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
