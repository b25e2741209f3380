"""Random examples: a quarter of them in `make test`, all in `make test-slow`."""

import os

import pytest
from hypothesis import settings

THOROUGH = os.environ.get("EPSUTIL_TESTS") == "thorough"


def sweep(n, **more):
    """Set how many random examples a test tries."""
    chosen = settings(max_examples=n if THOROUGH else max(3, n // 4), **more)
    return lambda test: pytest.mark.sweep(chosen(test))
