"""What the site says about itself: version, address, how to rerun a page."""

import html
import json
import os
import re
import shlex
import subprocess
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import nbformat

import epsutil
from epsutil import image_files, paths, sources
from epsutil.book import parameters


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
        f"`_build/results/{name}`. {{doc}}`/book/howto` has more, on Colab too.\n:::\n"
    )
    return nbformat.v4.new_markdown_cell(text, id="run-this-page")


def _data(name: str) -> tuple[list[str], list[str]]:
    """Return the sources of a page that can be downloaded, and those that cannot."""
    # Those of the build and of the recorded results: a build without data used none.
    pages = [folder / name / "page.json" for folder in (paths.RECORDED_RESULTS, paths.results())]
    read = [json.loads(page.read_text("utf-8")) for page in pages if page.exists()]
    used = dict.fromkeys(source for page in read for source in page.get("sources", {}))
    archive = {file: files[-1] for files in image_files.FILES.values() for file in files}
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
