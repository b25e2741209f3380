"""Score many architectures: in parallel, resumable, stored with all that decides the result.

Architectures that compute the same function (equal ``space.key``) are evaluated once. Work goes
through joblib in chunks: chunks that are done survive an interruption. The result is a Parquet
file whose name tells what decides the scores, and whose metadata hold it in full; a file that does
not match is never used. When a change of the code changes scores, its ``VERSION`` is raised (of the
space or of the metric), and files of the version before are no longer found.
"""

import hashlib
import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm.auto import tqdm

from epsutil import inputs, metric, paths, spaces
from epsutil.inputs import Batch

log = logging.getLogger(__name__)

CHUNK = 64  # distinct functions evaluated between two writes
DTYPES = ("float32", "float64")
ROUNDING = 0.01  # a relative difference between them that counts
_METADATA = b"epsutil"


class StoreError(ValueError):
    """A stored score file cannot be used: it is damaged, or of another run."""


class NotStored(ValueError):
    """There are no stored scores, and to compute them takes longer than the caller wants."""


@dataclass(frozen=True)
class Run:
    """Everything that decides a table of scores, and so the name of its file."""

    space: str
    kind: str
    batch_size: int
    input_checksum: str
    dtype: str
    weights: tuple[float, ...]
    archs: str  # "all", or the number and a checksum of the indices
    version: str  # of the space and of the metric

    @property
    def filename(self) -> str:
        """File name: readable, and different for different parameters and inputs."""
        weights = "_".join(f"{weight:g}" for weight in self.weights)
        return (
            f"{self.space}-{self.kind}-{self.input_checksum[:8]}-b{self.batch_size}"
            f"-{self.dtype}-w{weights}-{self.archs}-v{self.version}.parquet"
        )


def pair(weights: Sequence[float]) -> str:
    """Name the column that holds epsilon for two weights, for example ``"1e-07,1"``."""
    first, second = sorted(weights)
    return f"{first:g},{second:g}"


def sample(space_name: str, n_archs: int, seed: int = 21) -> NDArray[np.int64]:
    """Draw the indices of distinct architectures, in ascending order.

    Parameters
    ----------
    space_name : str
    n_archs : int
        From 1 to the size of the space. The whole space needs no draw.
    seed : int

    Raises
    ------
    ValueError
        There are not so many architectures.
    """
    size = len(spaces.get(space_name))
    if not 1 <= n_archs <= size:
        raise ValueError(f"n_archs is {n_archs}; {space_name} has 1 to {size:,} to choose from")
    return np.sort(np.random.default_rng(seed).choice(size, n_archs, replace=False))


def score(
    space_name: str,
    batch: Batch,
    weights: Sequence[float] = (1e-7, 1.0),
    archs: Sequence[int] | NDArray[np.integer] | None = None,
    dtype: str = "float32",
    n_jobs: int = -1,
    rebuild: bool = False,
    folder: Path | None = None,
    largest: int | None = None,
) -> pd.DataFrame:
    """Score architectures with epsilon for every pair of the weights.

    What is stored for the same run, or for the whole space, is returned at once. Otherwise the work
    is done chunk by chunk and continues where an earlier, interrupted call ended. joblib's backend
    can be switched around the call, for example to a Dask cluster with
    ``joblib.parallel_config("dask")``.

    Parameters
    ----------
    space_name : str
        See :func:`epsutil.spaces.get`.
    batch : Batch
        The images or tokens, see :func:`epsutil.inputs.batch`.
    weights : sequence of float, default (1e-7, 1.0)
        Two or more; all their pairs share one evaluation.
    archs : sequence of int, optional
        Indices in the space, by default all. See :func:`sample`.
    dtype : {"float32", "float64"}
        The precision of the evaluation.
    n_jobs : int, default -1
        Processes, each on one thread; -1 is one per core.
    rebuild : bool, default False
        Compute again, and replace what is stored.
    folder : pathlib.Path, optional
        Where to store the result: by default the user's cache. Results recorded in the project
        are found in any case.
    largest : int, optional
        How many architectures to compute at most.

    Returns
    -------
    pandas.DataFrame
        Index ``index``, the architecture's index in the space. A column per pair of weights, see
        :func:`pair`; NaN where epsilon is undefined. ``attrs["run"]`` holds the file's metadata.

    Raises
    ------
    ValueError
        An argument is out of range, or the batch would leave every score undefined.
    StoreError
        A stored file for these parameters is damaged or belongs to another run.
    NotStored
        Nothing is stored for these parameters, and there are more architectures than `largest`.
    """
    space = spaces.get(space_name)
    weights = _checked_weights(weights)
    _check_batch(space_name, batch)
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; the known ones are {', '.join(DTYPES)}")
    indices = _checked_indices(archs, len(space))
    run = _run(space_name, batch, weights, indices, dtype)
    folder = folder or paths.scores()
    for stored in () if rebuild else (run, replace(run, archs="all")):
        for place in (paths.RECORDED_SCORES, folder):
            if (place / stored.filename).exists():
                return read(place / stored.filename, stored).loc[indices]
    if largest is not None and len(indices) > largest:
        raise NotStored(
            f"no scores of {len(indices):,} architectures of {space_name} are stored for these "
            f"inputs ({batch.source}; SHA-256 {batch.checksum[:12]}…) and weights; take at most "
            f"{largest:,}, or store the scores first: epsutil score {space_name} --dataset "
            f"{batch.kind} --batch-size {batch.size} --seed {batch.seed} --dtype {dtype} "
            f"--weights {' '.join(f'{weight:g}' for weight in weights)}"
        )

    start = time.perf_counter()
    keys = [space.key(space[int(i)]) for i in tqdm(indices, "keys", leave=False, delay=3)]
    functions, first_with, function_of = np.unique(
        np.array(keys), return_index=True, return_inverse=True
    )
    order = np.argsort(first_with)  # functions by their first architecture
    scored = _score_functions(run, batch, indices[first_with[order]], folder, n_jobs, rebuild)
    row_of = np.empty_like(order)
    row_of[order] = np.arange(len(order))
    frame = pd.DataFrame(
        scored[row_of[function_of]].astype(dtype),  # the precision that they were computed in
        columns=[pair(two) for two in combinations(weights, 2)],
        index=pd.Index(indices, name="index"),
    )
    frame.attrs["run"] = asdict(run) | {
        "input": batch.source,
        "seed": batch.seed,
        "distinct_functions": len(functions),
        "seconds": round(time.perf_counter() - start, 2),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: package_version(name) for name in ("torch", "numpy", "numba")},
        "machine": f"{platform.machine()}, {joblib.cpu_count()} cores",
    }
    write(folder / run.filename, frame)
    shutil.rmtree(_partial(folder, run), ignore_errors=True)
    return frame


def rounding(
    space_name: str,
    batch: Batch,
    weights: Sequence[float],
    archs: Sequence[int] | NDArray[np.integer] | None = None,
    n_jobs: int = -1,
    folder: Path | None = None,
) -> pd.DataFrame:
    """Score architectures in both precisions, and mark those whose score rounding decides.

    Parameters as in :func:`score`, for two weights.

    Returns
    -------
    pandas.DataFrame
        Index ``index``. Columns ``float32``, ``float64`` and ``mark``: ``"agree"``; ``"differ"``
        (by more than `ROUNDING`, relative to float64); ``"float32 only"``, ``"float64 only"`` (has
        a score in one precision only); ``"no score"``.
    """
    single, double = (
        score(space_name, batch, weights, archs, dtype, n_jobs, folder=folder) for dtype in DTYPES
    )
    name = pair(weights)
    frame = pd.DataFrame({"float32": single[name], "float64": double[name]})
    has32, has64 = frame["float32"].notna(), frame["float64"].notna()
    off = (frame["float32"] - frame["float64"]).abs() > ROUNDING * frame["float64"]
    frame["mark"] = np.select(
        [has32 & has64 & off, has32 & has64, has32, has64],
        ["differ", "agree", "float32 only", "float64 only"],
        "no score",
    )
    return frame


def read(path: Path, run: Any = None) -> pd.DataFrame:
    """Read a file of scores, and check that it belongs to a run.

    Parameters
    ----------
    path : pathlib.Path
    run : Run or epsutil.proxy_scoring.Run, optional
        What the file must have been made from. Without it nothing is compared.

    Raises
    ------
    StoreError
        The file is damaged, or does not belong to the run.
    """
    try:
        table = pq.read_table(path)
        stored = json.loads(table.schema.metadata[_METADATA])
        frame = table.to_pandas()
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path} is not a readable file of scores ({error}); "
            "delete it or rebuild it (rebuild=True, epsutil score --rebuild)"
        ) from error
    expected = {} if run is None else json.loads(json.dumps(asdict(run)))
    for name, value in expected.items():
        if stored.get(name) != value:
            raise StoreError(
                f"{path} was written with another {name} ({stored.get(name)}, now {value}); "
                "rebuild it (rebuild=True, epsutil score --rebuild)"
            )
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


def remove_outdated(folder: Path) -> list[Path]:
    """Delete the files of epsilon in a folder that have another version; return which they were.

    Stores of the competing metrics, which take hours, are left for their owner to rebuild.
    """
    outdated = []
    for path in sorted(folder.glob("*.parquet")):
        run = read(path).attrs["run"]
        if "group" not in run and run["version"] != version(spaces.get(run["space"])):
            path.unlink()
            outdated.append(path)
    return outdated


def version(space: spaces.Space) -> str:
    """Return the version of a space's scores: the space's own, and that of the metric."""
    return f"{space.VERSION}.{metric.VERSION}"


# Checks before hours of work -----------------------------------------------------------------


def _checked_weights(weights: Sequence[float]) -> tuple[float, ...]:
    values = tuple(sorted(float(weight) for weight in weights))  # epsilon has no order of the two
    if len(values) < 2 or len(set(values)) < len(values) or not np.isfinite(values).all():
        raise ValueError(f"weights are two or more different finite numbers, not {list(weights)}")
    if any(float(f"{value:g}") != value for value in values):  # by which columns are named
        raise ValueError(f"weights have at most six digits, not {list(weights)}")
    return values


def _checked_indices(archs: Any, size: int) -> NDArray[np.int64]:
    if archs is None:
        return np.arange(size)
    indices = np.asarray(archs)
    if indices.ndim != 1 or not len(indices) or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError("archs are the indices of one or more architectures, in one list")
    if indices.min() < 0 or indices.max() >= size or len(np.unique(indices)) < len(indices):
        raise ValueError(f"archs are different indices from 0 to {size - 1:,}")
    return indices.astype(np.int64)


def _check_batch(space_name: str, batch: Batch) -> None:
    if batch.kind not in inputs.kinds(space_name):
        raise ValueError(
            f"{space_name} does not read {batch.kind}, but {', '.join(inputs.kinds(space_name))}"
        )
    x = batch.x.reshape(-1, 1) if batch.kind in inputs.TOKENS else batch.x
    if not np.isfinite(x).all():
        raise ValueError("the batch holds NaN or infinite values: every score would be undefined")
    if len(x) == 1:
        raise ValueError("a batch of one input: its outputs do not vary, every score is undefined")
    if (x == x[:1]).all():
        raise ValueError("all inputs of the batch are equal: every score would be undefined")


# Work in chunks ------------------------------------------------------------------------------


def _score_functions(
    run: Run, batch: Batch, indices: NDArray[np.int64], folder: Path, n_jobs: int, rebuild: bool
) -> NDArray[np.float64]:
    """Score architectures that all differ, chunk by chunk: [n_archs, n_pairs]."""
    partial = _partial(folder, run)
    if rebuild:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    n_pairs = len(run.weights) * (len(run.weights) - 1) // 2
    chunks = [indices[i : i + CHUNK] for i in range(0, len(indices), CHUNK)]
    done = {
        number: rows
        for number, chunk in enumerate(chunks)
        if (rows := _read_chunk(partial, number, (len(chunk), n_pairs))) is not None
    }
    if done:
        log.info("continuing an interrupted run: %d of %d chunks are done", len(done), len(chunks))
    missing = [number for number in range(len(chunks)) if number not in done]
    work = (
        joblib.delayed(_score_chunk)(
            number, run.space, chunks[number], batch.x, run.weights, run.dtype
        )
        for number in missing
    )
    results = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(work)
    title = f"scoring {run.space} on {run.kind}"
    n_done = sum(map(len, done.values()))
    with tqdm(desc=title, total=len(indices), initial=n_done, unit="arch", leave=False) as progress:
        for number, rows in results:
            _write_chunk(partial, number, rows)
            done[number] = rows
            progress.update(len(rows))
    return np.concatenate([done[number] for number in range(len(chunks))])


def _score_chunk(
    number: int,
    space_name: str,
    indices: NDArray[np.int64],
    x: NDArray,
    weights: tuple[float, ...],
    dtype: str,
) -> tuple[int, NDArray[np.float64]]:
    """Score some architectures in a worker process: [n_archs, n_pairs]."""
    _keep_freed_memory()
    space = spaces.get(space_name)
    rows = []
    for index in indices:
        rows_of = space.outputs(space[int(index)], x, weights, dtype)
        outputs = dict(zip(weights, rows_of, strict=True))
        rows.append(
            [metric.from_outputs([outputs[a], outputs[b]]) for a, b in combinations(weights, 2)]
        )
    return number, np.array(rows)


def _keep_freed_memory() -> None:
    """Let the allocator keep freed maps for the next ones, which saves a fifth of the time.

    glibc gives blocks above a threshold back to the system, and raises that threshold to the
    largest block it has seen freed, up to 32 MiB. Elsewhere this has no effect.
    """
    np.empty(31 << 20, np.uint8)


def _partial(folder: Path, run: Run) -> Path:
    """Folder of the chunks that are done."""
    return folder / f"{run.filename}.partial"


def _read_chunk(partial: Path, number: int, shape: tuple[int, int]) -> NDArray[np.float64] | None:
    try:
        rows = np.load(partial / f"{number:05d}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return rows if rows.shape == shape else None


def _write_chunk(partial: Path, number: int, rows: NDArray[np.float64]) -> None:
    temporary = partial / f".{number:05d}.{os.getpid()}.npy"
    np.save(temporary, rows)
    os.replace(temporary, partial / f"{number:05d}.npy")


def _run(
    space_name: str,
    batch: Batch,
    weights: tuple[float, ...],
    indices: NDArray[np.int64],
    dtype: str,
) -> Run:
    whole = len(indices) == len(spaces.get(space_name))
    checksum = hashlib.sha256(indices.tobytes()).hexdigest()[:8]
    return Run(
        space=space_name,
        kind=batch.kind,
        batch_size=batch.size,
        input_checksum=batch.checksum,
        dtype=dtype,
        weights=weights,
        archs="all" if whole else f"n{len(indices)}-{checksum}",
        version=version(spaces.get(space_name)),
    )


def package_version(package: str) -> str:
    """Return the version of an installed package."""
    from importlib.metadata import version

    return version(package)
