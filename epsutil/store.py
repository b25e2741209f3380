"""Files of scores: named by what decides them, written whole, grown chunk by chunk.

A file is Parquet; its metadata hold what it was made from, in full. Where a change of the code
changes scores, a ``VERSION`` is raised (space, metric or proxy), and older files are not found.
"""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from epsutil import paths

_METADATA = b"epsutil"
_REBUILD = "rebuild it (rebuild=True, epsutil score --rebuild)"

Row = tuple[float, ...]


class StoreError(ValueError):
    """A stored score file cannot be used: it is damaged, or of another run."""


class NotStored(ValueError):
    """There are no stored scores, and to compute them takes longer than the caller wants."""


@dataclass(frozen=True)
class Run:
    """Everything that decides a table of scores, and so the name of its file."""

    space: str
    dataset: str
    group: str  # the metrics that were computed together; "epsilon" is one of its own
    batch_size: int
    input_checksum: str
    version: str  # of the space and of the metrics
    archs: str  # "all", the number and a checksum of the indices, or "order": it grows along one
    # epsilon's
    dtype: str = "float32"
    weights: tuple[float, ...] = ()
    # the other metrics'
    seed: int | None = None  # of the weights
    label_checksum: str = ""  # empty where no metric of the group reads labels
    classes: int = 1  # outputs of the network
    network: str = ""  # one of the space's variants; empty: the width collapse
    channels_last: bool = False

    @property
    def filename(self) -> str:
        """File name: readable, and different wherever one of the fields is."""
        given = [f"{self.space}-{self.dataset}-{self.group}-b{self.batch_size}"]
        if self.weights:
            weights = "_".join(f"{weight:g}" for weight in self.weights)
            given += [f"{self.dtype}-w{weights}-{self.archs}"]
        if self.seed is not None:
            given += [f"s{self.seed}"]
        everything = json.dumps(asdict(self), sort_keys=True).encode()
        digest = hashlib.sha256(everything).hexdigest()[:8]
        return "-".join([*given, digest, f"v{self.version}.parquet"])


def find(runs: Sequence[Run], folder: Path) -> Iterator[pd.DataFrame]:
    """Yield what is stored for each of some runs, see :func:`read`: in the project, in a folder."""
    for run, place in product(runs, (paths.RECORDED_SCORES, folder)):
        if (place / run.filename).exists():
            yield read(place / run.filename, run)


def read(path: Path, run: Run | None = None) -> pd.DataFrame:
    """Read a file of scores, with its metadata as ``attrs["run"]``.

    Raises
    ------
    StoreError
        The file is damaged, or was not made from the run, if one is given.
    """
    try:
        table = pq.read_table(path)
        stored = json.loads(table.schema.metadata[_METADATA])
        frame = table.to_pandas()
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        what = f"{path} is not a readable file of scores ({error})"
        raise StoreError(f"{what}; delete it or {_REBUILD}") from error
    expected = {} if run is None else json.loads(json.dumps(asdict(run)))
    for name, value in expected.items():
        if stored.get(name) != value:
            differs = f"another {name} ({stored.get(name)}, now {value})"
            raise StoreError(f"{path} was written with {differs}; {_REBUILD}")
    frame.attrs["run"] = stored
    return frame


def write(path: Path, frame: pd.DataFrame) -> None:
    """Write a file of scores with its metadata, whole or not at all."""
    table = pa.Table.from_pandas(frame)
    metadata = {**(table.schema.metadata or {}), _METADATA: json.dumps(frame.attrs["run"]).encode()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")
    os.replace(temporary, path)


def keep(run: Run, frame: pd.DataFrame, folder: Path, **provenance: Any) -> pd.DataFrame:
    """Write the scores of a run, and how they came about; its chunks are no longer needed."""
    frame.attrs["run"] = asdict(run) | {
        **provenance,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("torch", "numpy", "numba")},
        "machine": f"{platform.machine()}, {joblib.cpu_count()} cores",
    }
    write(folder / run.filename, frame)
    Chunks(folder, run).remove()
    return frame


class Chunks:
    """What an interrupted run has done: a small file for every chunk of networks."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder = folder / f"{run.filename}.partial"

    def read(self) -> dict[str, Row]:
        """Return the rows of all chunks by the networks' keys; what is damaged is passed over."""
        rows: dict[str, Row] = {}
        for path in self.folder.glob("*.json"):
            with suppress(ValueError, FileNotFoundError):  # or removed meanwhile, see `write`
                rows |= {key: tuple(row) for key, row in json.loads(path.read_text()).items()}
        return rows

    def write(self, rows: Mapping[str, Row]) -> None:
        """Add a chunk, whole or not at all."""
        name = hashlib.sha256("".join(rows).encode()).hexdigest()[:16]
        temporary = self.folder / f".{name}.{os.getpid()}"
        with suppress(FileNotFoundError):  # another process has just stored the run, chunks and all
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(rows))
            os.replace(temporary, self.folder / f"{name}.json")

    def remove(self) -> None:
        """Forget all chunks."""
        shutil.rmtree(self.folder, ignore_errors=True)
