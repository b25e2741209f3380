"""Where everything lives, and what the environment says: one module knows the project's folders.

Every location can be moved by an environment variable, read when it is asked for, so that tests
and CI can point the package elsewhere:

=====================  ==========================================  ============================
variable               what it moves or says                       default
=====================  ==========================================  ============================
``EPSUTIL_DATA``       a folder with the benchmark files           none (then cache, download)
``EPSUTIL_CACHE``      downloads and score stores of this machine  the user's cache folder
``EPSUTIL_SCORES``     where new score stores go                   ``scores`` in the cache
``EPSUTIL_RESULTS``    what notebooks write                        ``_build/results``
=====================  ==========================================  ============================
"""

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # the checkout, with the folders below
NOTEBOOKS = ROOT / "notebooks"
BOOK = ROOT / "book"
BUILD = ROOT / "_build"
PAPER = ROOT / "data" / "paper"  # the reported values, as CSV
RECORDED_SCORES = ROOT / "data" / "scores"  # committed: a score per architecture
RECORDED_RESULTS = ROOT / "data" / "results"  # committed: tables and figures


def data() -> Path | None:
    """Return the folder named by ``EPSUTIL_DATA``, which must exist, or None where unset."""
    value = os.environ.get("EPSUTIL_DATA")
    if not value:
        return None
    folder = Path(value).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"EPSUTIL_DATA={value} is not a folder; unset it or point it at the benchmark data"
        )
    return folder


def cache() -> Path:
    """Return the user's cache folder (``EPSUTIL_CACHE``), which need not exist yet."""
    import pooch

    return Path(os.environ.get("EPSUTIL_CACHE") or pooch.os_cache("epsutil")).expanduser()


def scores() -> Path:
    """Return the folder that new scores are stored in (``EPSUTIL_SCORES``)."""
    return Path(os.environ.get("EPSUTIL_SCORES") or cache() / "scores").expanduser().resolve()


def results() -> Path:
    """Return the folder that notebooks write tables and figures to (``EPSUTIL_RESULTS``)."""
    return Path(os.environ.get("EPSUTIL_RESULTS") or BUILD / "results").expanduser().resolve()


def writable(folder: Path, remedy: str) -> Path:
    """Make a folder where it is missing; ValueError with the remedy where no file can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ValueError(f"cannot write to {folder} ({error.strerror}); {remedy}") from error
