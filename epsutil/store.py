"""Stores of scores: a folder for all that decides them, of part files that never change.

A part is Parquet, written once and whole; its metadata hold what it was made from, in full. A store
is read as the union of its parts, and grows by one more, so that nothing is lost to a smaller, a
slower or an interrupted run. Where a change of the code changes scores, a ``VERSION`` is raised
(space, metric or proxy), and older stores are not found.
"""

import hashlib
import json
import os
import platform
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_METADATA = b"epsutil"
_REBUILD = "rebuild it (rebuild=True, epsutil score --rebuild)"
_OF_A_PART = ("created", "seconds", "networks")  # in whatever way it was made

Row = tuple[float, ...]


class StoreError(ValueError):
    """A stored file of scores cannot be used: it is damaged, or of another run."""


class NotStored(ValueError):
    """There are no stored scores, and to compute them takes longer than the caller wants."""


@dataclass(frozen=True)
class Run:
    """Everything that decides scores, whichever architectures they are of: it names their store."""

    space: str
    dataset: str
    group: str  # the metrics that were computed together; "epsilon" is one of its own
    batch_size: int
    input_checksum: str
    version: str  # of the space and of the metrics
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
    def name(self) -> str:
        """Name of the store's folder: readable, and different wherever one of the fields is."""
        given = [f"{self.space}-{self.dataset}-{self.group}-b{self.batch_size}"]
        if self.weights:
            given += [f"{self.dtype}-w{'_'.join(f'{weight:g}' for weight in self.weights)}"]
        if self.seed is not None:
            given += [f"s{self.seed}"]
        everything = json.dumps(asdict(self), sort_keys=True).encode()
        digest = hashlib.sha256(everything).hexdigest()[:8]
        return "-".join([*given, digest, f"v{self.version}"])

    def made(self, **provenance: Any) -> dict[str, Any]:
        """Return the metadata of a part that is made here and now."""
        return asdict(self) | {
            **provenance,
            "created": datetime.now(UTC).isoformat(),
            "versions": {name: version(name) for name in ("torch", "numpy", "numba")},
            "machine": f"{platform.machine()}, {joblib.cpu_count()} cores",
        }


def named(folder: Path, begins: str, version: str) -> list[Path]:
    """Return the stores in a folder by how their names begin and by their version."""
    return sorted({part.parent for part in folder.glob(f"{begins}*-v{version}/part-*.parquet")})


def read(*stores: Path, run: Run | None = None) -> pd.DataFrame:
    """Return all that some stores of a run hold, empty where nothing; see :func:`union`."""
    return union(parts(*stores, run=run).values())


def parts(*stores: Path, run: Run | None = None, repair: bool = False) -> dict[Path, pd.DataFrame]:
    """Read the parts of some stores of a run, those that count before others first.

    These are the last rebuild's, then the first store's, then the oldest. Each has its metadata as
    ``attrs["run"]``. What cannot be used is deleted to `repair` the store.

    Raises
    ------
    StoreError
        A part is damaged, or was not made from the run, if one is given.
    """
    found: dict[Path, pd.DataFrame] = {}
    listed: list[Path] | None = None
    # Until nothing has changed meanwhile: a part that has vanished is in one that `compact` wrote.
    while listed != (listed := sorted(p for s in stores for p in s.glob("part-*.parquet"))):
        for path in listed:
            try:
                found[path] = found[path] if path in found else _read(path, run)
            except FileNotFoundError:
                continue
            except StoreError:
                if not repair:
                    raise
                path.unlink(missing_ok=True)

    def rank(path: Path) -> tuple[int, int, str, str]:
        made = found[path].attrs["run"]
        return -made["rebuilt"], stores.index(path.parent), made["created"], path.name

    return {path: found[path] for path in sorted(found, key=rank)}


def _read(path: Path, run: Run | None) -> pd.DataFrame:
    try:
        table = pq.read_table(path, partitioning=None)
        stored = json.loads(table.schema.metadata[_METADATA])
        frame = table.to_pandas()
    except FileNotFoundError:
        raise
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


def union(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Join parts: of an architecture that is in several, the row of the first counts.

    The metadata are those of the newest part that counts, with the sums of ``seconds`` and
    ``networks`` over all that count, and ``origins``: how these were made, each way once.
    """
    if not (parts := list(parts)):
        return pd.DataFrame()
    frame = pd.concat(parts)
    first = ~frame.index.duplicated()
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    runs = [parts[owner].attrs["run"] for owner in np.unique(owners[first])]
    frame = frame[first].sort_index()
    frame.attrs["run"] = {
        **max(runs, key=lambda run: run["created"]),
        "seconds": round(sum(run["seconds"] for run in runs), 2),
        "networks": sum(run["networks"] for run in runs),
        "origins": [json.loads(origin) for origin in dict.fromkeys(map(_origin, runs))],
    }
    return frame


def _origin(run: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in run.items() if name not in _OF_A_PART})


def write(store: Path, frame: pd.DataFrame) -> Path:
    """Add a part to a store, whole or not at all, with its metadata; its content names it."""
    bare = frame.copy(deep=False)
    made = bare.attrs.pop("run")
    made.pop("origins", None)
    table = pa.Table.from_pandas(bare)
    metadata = {**(table.schema.metadata or {}), _METADATA: json.dumps(made).encode()}
    with pa.BufferOutputStream() as stream:
        pq.write_table(table.replace_schema_metadata(metadata), stream, compression="zstd")
        content = stream.getvalue().to_pybytes()
    path = store / f"part-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    store.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return path


def compact(store: Path) -> None:
    """Merge the parts of a store that were made in one way, without the rows that do not count.

    Others may read and write meanwhile: a part goes only when all its rows that count are in
    another file, and those that are neighbours in order are merged, so that the same rows count.
    """
    found, seen = parts(store), pd.Index([])
    for _, group in groupby(found, lambda path: _origin(found[path].attrs["run"])):
        paths = [*group]
        whole = union(found[path] for path in paths)
        frame = whole[~whole.index.isin(seen)]
        seen = seen.union(frame.index)
        if len(paths) == 1 and len(frame) == len(found[paths[0]]):
            continue
        kept = [write(store, frame)] if len(frame) else []
        for path in [path for path in paths if path not in kept][::-1]:  # what counts goes last
            path.unlink(missing_ok=True)
