"""Where each data file comes from: address, SHA-256, licence; resolving it to a path.

The project ships no benchmark data, images or corpora. A file is looked for in the folder
``EPSUTIL_DATA``, then in the user's cache, then downloaded into that cache. Whichever it is, its
SHA-256 must be the one in ``sources.toml``, so that a result names exactly the data behind it.
"""

import pickle
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pooch
import requests

from epsutil import paths

ANALOG = "analog-nasbench/data.anb"  # also found in the installed package that ships it
ARRAYS = {  # what a pickle of arrays asks for, see `load_pickle`
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class SourceError(Exception):
    """A data file is missing, altered, or cannot be fetched; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """One data file, as ``sources.toml`` describes it."""

    name: str  # its path below EPSUTIL_DATA and below the cache
    sha256: str  # of the whole file, in hexadecimal
    size: int  # bytes
    licence: str
    origin: str  # also tells how to come by a file without address
    description: str
    url: str = ""  # public address of the identical file; empty where there is none


_REGISTRY = tomllib.loads(Path(__file__).with_name("sources.toml").read_text("utf-8"))
SOURCES = {name: Source(name=name, **entry) for name, entry in _REGISTRY.items()}
opened: set[str] = set()  # by this process: what a page says that it rests on


def path(name: str) -> Path:
    """Return the checked local path of a source, downloading it where needed.

    Raises
    ------
    SourceError
        The name is none of `SOURCES`, the file is altered, or neither at hand nor to be fetched.
    """
    source = _source(name)
    opened.add(name)
    return _local(source) or _download(source)


def available(*names: str) -> bool:
    """Return whether sources are at hand, downloading none; errors are those of :func:`path`."""
    return all([_local(_source(name)) is not None for name in names])


def fetch(*names: str) -> list[Path]:
    """Return the :func:`path` of several sources; all names are checked before any download."""
    return [path(source.name) for source in [_source(name) for name in names]]


def table() -> pd.DataFrame:
    """Return a row per source: File, Content, Origin, Address (or ""), Licence, Bytes, SHA-256."""
    titles = {"name": "File", "description": "Content", "origin": "Origin", "url": "Address"}
    titles |= {"licence": "Licence", "size": "Bytes", "sha256": "SHA-256"}
    return pd.DataFrame([*SOURCES.values()])[[*titles]].rename(columns=titles)


def load_pickle(file: IO[bytes], allowed: Mapping[tuple[str, str], Any]) -> Any:
    """Load a pickle that may name nothing but a few given globals.

    An ordinary unpickler imports and calls whatever the file asks for. This one imports nothing: it
    gives what is `allowed` under a module and a name, such as `ARRAYS`, and raises a SourceError
    where the file asks for more. Python 2's strings are Latin-1, which keeps NumPy's old data.
    """

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in allowed:
                raise SourceError(f"refused a pickle that asks for {module}.{name}; do not use it")
            return allowed[module, name]

    return Unpickler(file, encoding="latin1").load()


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise SourceError(f"unknown source {name!r}; the known ones are {', '.join(SOURCES)}")
    return SOURCES[name]


def _local(source: Source) -> Path | None:
    """Return the first candidate that exists, checked, or None."""
    for file in _candidates(source):
        try:
            stat = file.stat()
            found = _sha256(file, stat.st_size, stat.st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            fix = "make it a readable file, or remove it"
            raise SourceError(f"cannot read {file} ({error.strerror}); {fix}") from error
        if found != source.sha256:
            raise SourceError(
                f"{file} is truncated or altered: expected {source.size:,} bytes with SHA-256 "
                f"{source.sha256[:12]}..., found {stat.st_size:,} bytes with {found[:12]}...; "
                "replace it, or remove it"
            )
        return file
    return None


def _candidates(source: Source) -> Iterator[Path]:
    try:
        folder = paths.data()
    except FileNotFoundError as error:
        raise SourceError(str(error)) from error
    if folder is not None:
        yield folder / source.name
    if source.name == ANALOG:  # located by its metadata: the package itself is never imported
        with suppress(PackageNotFoundError):
            yield Path(str(distribution("analog-nasbench").locate_file("analognasbench/data.anb")))
    yield paths.cache() / "data" / source.name


@cache
def _sha256(file: Path, size: int, mtime_ns: int) -> str:
    """Return the SHA-256; size and time are there to read a file again once it changes."""
    return pooch.file_hash(str(file), alg="sha256")


def _download(source: Source) -> Path:
    """Fetch into the cache; pooch checks the SHA-256 before the file takes its name."""
    if not source.url:
        raise SourceError(
            f"{source.name} is not at hand and has no address to download it from "
            f"({source.origin}); set EPSUTIL_DATA to a folder that holds it"
        )
    file = paths.cache() / "data" / source.name
    try:
        known = f"sha256:{source.sha256}"
        pooch.retrieve(source.url, known, file.name, file.parent, progressbar=True)
    except requests.RequestException as error:
        response = error.response
        reason = type(error).__name__ if response is None else f"HTTP {response.status_code}"
        raise SourceError(
            f"cannot download {source.name} from {source.url} ({reason}); check the network, or "
            f"set EPSUTIL_DATA to a folder that holds it"
        ) from error
    except OSError as error:
        raise SourceError(
            f"cannot write to the cache folder {file.parent} "
            f"({error.strerror or type(error).__name__}); set EPSUTIL_CACHE to a writable folder"
        ) from error
    except ValueError as error:  # pooch: the hash differs
        raise SourceError(
            f"{source.url} is no longer the expected file (its SHA-256 differs from "
            f"{source.sha256[:12]}...); try again, or set EPSUTIL_DATA to a folder that holds "
            f"{source.name}"
        ) from error
    return file
