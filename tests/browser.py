"""The built site and headless Chromium, for all tests that read pages; see conftest.py."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from epsutil import paths
from epsutil.book import pdf

SITE = Path(os.environ.get("EPSUTIL_SITE") or paths.BUILD / "html").resolve()
CHROMIUM = next(
    filter(None, map(shutil.which, pdf.CHROMIUM)),
    None,
)
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}


def unavailable(reason):
    if os.environ.get("EPSUTIL_SITE_REQUIRED"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def site():
    if not (SITE / "index.html").exists():
        unavailable(f"no built site in {SITE}; run `make book` first")
    return SITE


@pytest.fixture(scope="session")
def address(site, tmp_path_factory):
    """Serve the site from a sub-folder, as on a project page."""
    root = tmp_path_factory.mktemp("host")
    (root / "a").mkdir()
    (root / "a" / "book").symlink_to(site)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a/book/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        unavailable("no Chromium on the PATH; install it (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Open a page, wait until it has settled, and return it with a list of what went wrong."""
    contexts = []

    def open_page(path, base=address, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page, trouble = context.new_page(), []

        def requested(request):
            url = urlsplit(request.url)
            if url.scheme in ("http", "https") and url.netloc != urlsplit(address).netloc:
                trouble.append(f"asks another host: {request.url}")

        def answered(response):
            if response.status >= 400:
                trouble.append(f"{response.status}: {response.url}")

        def said(message):
            # The page that only redirects names no icon, so the browser asks the host for one.
            if message.type == "error" and not message.location["url"].endswith("/favicon.ico"):
                trouble.append(f"console: {message.text}")

        page.on("request", requested)
        page.on("response", answered)
        page.on("requestfailed", lambda request: trouble.append(f"failed: {request.url}"))
        page.on("pageerror", lambda error: trouble.append(f"script error: {error}"))
        page.on("console", said)
        page.goto(base + path, wait_until="networkidle")
        page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise }")
        return page, trouble

    yield open_page
    for context in contexts:
        context.close()
