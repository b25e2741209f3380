"""What the site says about itself: version, citation, how to rerun a page."""

import html
import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import nbformat
import yaml

import epsutil
from epsutil import paths, pools, sources
from epsutil.book import parameters

COLAB = "colab"  # the identity of a notebook's cell that only Colab needs


def repository() -> tuple[str | None, str]:
    """Return the project's public address and branch, for the pages' buttons.

    The address is ``EPSUTIL_REPOSITORY`` or, where that is unset, Git's ``origin``; None where
    neither is a web address that a reader could open.
    """
    given = os.environ.get("EPSUTIL_REPOSITORY") or _git("remote", "get-url", "origin")
    ssh = re.fullmatch(r"(?:ssh://)?git@([\w.-]+)[:/](.+)", given)
    url = urlsplit(f"https://{ssh[1]}/{ssh[2]}" if ssh else given)
    if url.scheme not in ("http", "https") or not url.hostname or "." not in url.hostname:
        return None, "main"
    path = url.path.rstrip("/").removesuffix(".git")
    branch = _git("rev-parse", "--abbrev-ref", "HEAD")
    # Only host and path: a remote may hold a password.
    return f"https://{url.hostname}{path}", branch if branch not in ("", "HEAD") else "main"


def site_url() -> str:
    """Return the address at which the site will be found (``EPSUTIL_SITE_URL``), "" if unset."""
    given = os.environ.get("EPSUTIL_SITE_URL", "")
    return f"{given.rstrip('/')}/" if urlsplit(given).scheme in ("http", "https") else ""


def _git(*arguments: str) -> str:
    try:
        command = ["git", "-C", str(paths.ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def footer() -> str:
    """Say in HTML which version the site was built from, and when (``SOURCE_DATE_EPOCH``)."""
    said = f"epsutil {epsutil.__version__}"
    if commit := _git("rev-parse", "--short", "HEAD"):
        url, _ = repository()
        linked = f'<a href="{html.escape(url)}/commit/{commit}">{commit}</a>' if url else commit
        said += f", commit {linked}{' + changes' * bool(_git('status', '--porcelain'))}"
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    built = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return f'<p class="built">{said}, built on {built:%Y-%m-%d}.</p>'


# How to cite ---------------------------------------------------------------------------------


def citation() -> str:
    """Return BibTeX for the paper and this companion, from ``CITATION.cff``, in tabs."""
    companion = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text("utf-8"))
    companion.setdefault("repository-code", repository()[0])
    (journal,) = companion["references"]
    works = {
        "The paper": _bibtex("gracheva2024", "misc", companion["preferred-citation"]),
        "Its journal version": _bibtex("gracheva2025", "article", journal),
        "This companion": _bibtex("epsilon_reproduced", "misc", companion),
    }
    tabs = [
        f"::::{{tab-item}} {title}\n```bibtex\n{entry}\n```\n::::\n"
        for title, entry in works.items()
    ]
    return f":::::{{tab-set}}\n{''.join(tabs)}:::::\n"


def _bibtex(key: str, kind: str, work: Mapping[str, Any]) -> str:
    """Write a work of a CFF file as BibTeX."""
    names = [
        f"{{{who['name']}}}" if "name" in who else f"{who['family-names']}, {who['given-names']}"
        for who in work["authors"]
    ]
    arxiv = [i["value"] for i in work.get("identifiers", ()) if i["value"].startswith("arXiv:")]
    fields = {
        "author": " and ".join(names),
        "title": f"{{{work['title']}}}",
        "journal": work.get("journal") if kind == "article" else None,
        "volume": work.get("volume"),
        "number": work.get("issue"),
        "year": work.get("year") or _git("log", "-1", "--format=%ad", "--date=format:%Y"),
        "eprint": arxiv[0].removeprefix("arXiv:") if arxiv else None,
        "archiveprefix": "arXiv" if arxiv else None,
        "note": f"Version {work['version']}" if "version" in work else None,
        "doi": work.get("doi"),
        "url": work.get("url") or work.get("repository-code"),
    }
    lines = [f"  {name:<13} = {{{value}}}" for name, value in fields.items() if value]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"


# How to rerun a page -------------------------------------------------------------------------


def run_box(name: str) -> Any:
    """Return the last cell of the page `name`, which says how to run it, as it is and changed."""
    url, _ = repository()
    public, private = _data(name)
    given = (f"-p {key} {shlex.quote(str(value))}" for key, value in changed(name).items())
    commands = [f"git clone {url}.git", f"cd {url.rpartition('/')[2]}"] if url else []
    commands += ["make install", "source .venv/bin/activate"]
    commands += [f"epsutil fetch {' '.join(public)}"] if public else []
    commands += [f"epsutil run {name}", f"epsutil run {name} {' '.join(given)}"]
    words = "" if url else "In a copy of this book's repository, with Python 3.11 or newer:\n\n"
    if private:
        words += (
            f"{', '.join(f'`{source}`' for source in private)} cannot be downloaded: {{doc}}`the "
            "data page </book/data>` says how to supply it.\n\n"
        )
    listed = "\n".join(f"$ {command}" for command in commands)
    text = (
        f":::{{admonition}} Run this page\n:class: tip\n\n{words}```console\n{listed}\n```\n\n"
        f"The executed notebook goes to `_build/runs/{name}.ipynb`, its tables and figures to "
        f"`_build/results/{name}`. {{doc}}`/book/howto` has more.\n:::\n"
    )
    return nbformat.v4.new_markdown_cell(text, id="run-this-page")


def _data(name: str) -> tuple[list[str], list[str]]:
    """Return the sources of a page that can be downloaded, and those that cannot."""
    # Those of the build and of the recorded results: a build without data used none.
    pages = [folder / name / "page.json" for folder in (paths.RECORDED_RESULTS, paths.results())]
    read = [json.loads(page.read_text("utf-8")) for page in pages if page.exists()]
    used = dict.fromkeys(source for page in read for source in page.get("sources", {}))
    archive = {file: files[-1] for files in pools.FILES.values() for file in files}
    names = [archive.get(file, file) for file in used if file != sources.ANALOG]
    public = [file for file in names if sources.SOURCES[file].url]
    return public, [file for file in names if file not in public]


def changed(name: str) -> dict[str, Any]:
    """Return parameters of a page with other values, by which it computes less."""
    defaults = parameters.defaults(name)
    if "batch_sizes" in defaults:  # each of many batches is scored anew
        return {"n_archs": 100, "batch_sizes": [8, 32]}
    for key, value in defaults.items():
        if key.startswith("n_archs"):
            return {key: 500 if value > 500 else max(20, value // 20)}
    return {"batch_size": 64}


# Colab ---------------------------------------------------------------------------------------


def write_preambles() -> list[Path]:
    """Give each notebook a first cell by which it runs in Colab, in place of an earlier one.

    Raises
    ------
    ValueError
        No public address of the repository is known.
    """
    if not repository()[0]:
        raise ValueError("no public repository: set EPSUTIL_REPOSITORY to its address, or origin")
    for file in (files := _notebooks()):
        notebook = json.loads(file.read_text("utf-8"))
        cell = nbformat.v4.new_code_cell(preamble(file.stem), id=COLAB)
        notebook["cells"] = [cell, *(cell for cell in notebook["cells"] if cell["id"] != COLAB)]
        file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return files


def preamble(name: str) -> str:
    """Return the code that makes a notebook run in Colab: the book, its packages, its data."""
    url, branch = repository()
    public, _ = _data(name)
    code = (paths.BOOK / "_colab.py").read_text("utf-8")
    code = code if public else code.partition("    fetch = ")[0]
    return Template(code).substitute(url=url, branch=branch, files=" ".join(public))


def opens_in_colab() -> bool:
    """Return whether each notebook begins with the :func:`preamble` of this repository."""
    url, _ = repository()
    firsts = [json.loads(file.read_text("utf-8"))["cells"][0] for file in _notebooks()]
    return bool(url) and all(
        first["id"] == COLAB and f' {url}"' in "".join(first["source"]) for first in firsts
    )


def _notebooks() -> list[Path]:
    return [paths.NOTEBOOKS / f"{name}.ipynb" for name in parameters.names()]
