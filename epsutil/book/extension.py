"""What this book adds to Sphinx.

The captions of each page are lettered, Table A, Table B and so on. Numbers are the paper's: Sphinx
would count through the whole book, to a Table 116 that no reader can place; and a page's own count
in numbers could be taken for the paper's.
"""

from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


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


def setup(app: Sphinx) -> dict[str, bool]:
    """Letter after Sphinx has numbered; mend when the other extensions have added theirs."""
    app.connect("env-get-updated", letter, priority=900)
    app.connect("html-page-context", mend, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
