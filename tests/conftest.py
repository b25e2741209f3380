"""Every session gets its own cache, and the benchmark data where they lie beside the checkout."""

import os
import re
import tempfile
from pathlib import Path

import pytest
from browser import address, browser, site, visit  # noqa: F401  fixtures
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# No deadline: the first call compiles. CI tries the same examples every time, developers new ones.
settings.register_profile("epsutil", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("epsutil")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

if DATA.is_dir():
    os.environ.setdefault("EPSUTIL_DATA", str(DATA))
if "EPSUTIL_CACHE" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="epsutil-cache-")  # removed as the session ends
    os.environ["EPSUTIL_CACHE"] = _cache.name


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "needs(*names): skip where these sources (epsutil.sources) are not at hand"
    )


class ByPage(LoadScopeScheduling):
    """One worker runs all tests of an executed page (loadgroup is lost on pytest 9.2)."""

    def _split_scope(self, nodeid):
        page = re.search(r"test_book\.py::\w+\[(\w+)\]$", nodeid)
        return page[1] if page else nodeid


def pytest_xdist_make_scheduler(config, log):
    return ByPage(config, log)


def pytest_runtest_setup(item):
    from epsutil import sources

    for marker in item.iter_markers("needs"):
        missing = [name for name in marker.args if not sources.available(name)]
        if missing:
            pytest.skip(f"not at hand: {', '.join(missing)} (set EPSUTIL_DATA)")
