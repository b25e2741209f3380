"""Score many architectures by the competing metrics: as `scoring` does for epsilon.

These metrics take up to a second for each architecture, so that a whole space takes hours. Hence
architectures come in one random order, and a store grows along it: more architectures are added to
those that are done. Networks that are the same but for the names of their nodes are scored once.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
import psutil
from numpy.typing import NDArray
from tqdm.auto import tqdm

from epsutil import inputs, paths, proxies, scoring, spaces
from epsutil.inputs import Batch

log = logging.getLogger(__name__)


class Group(NamedTuple):
    """Metrics that share passes, and how their authors apply them."""

    names: tuple[str, ...]
    batch_size: int
    network: str = "build"  # the method of the search space that makes the network
    data: str = "real"  # or "shape", "patches"
    one_output: bool = False
    apart: bool = False  # the same metrics as in another group, of other networks
    channels_last: bool = False  # images' layout: a faster forward pass, other rounding
    chunk: int = 8  # networks evaluated between two writes


_DRAWS = tuple(name for name in proxies.names() if name.startswith("epsilon_"))  # Table 9
GROUPS = {
    "synflow": Group(("synflow",), 1, data="shape"),
    "gradients": Group(
        ("grad_norm", "snip", "grasp", "fisher", "fisher_weighted", "jacob_cov"), 64
    ),
    "text_gradients": Group(("grad_norm", "snip", "grasp"), 64),
    "fisher_biased": Group(("fisher", "fisher_weighted"), 64, network="biased", apart=True),
    "naswot": Group(("naswot",), 128, channels_last=True),
    "grad_sign": Group(("grad_sign",), 64),
    "cv": Group(("cv",), 256, channels_last=True, chunk=1),  # minutes for each
    "ntk": Group(("ntk",), 72, network="thin"),
    "linear_regions": Group(("linear_regions",), 3000, network="single_cell", data="patches"),
    "draws": Group(_DRAWS, 256, one_output=True),
    "draws_averaged": Group(
        _DRAWS, 256, network="averaged", one_output=True, apart=True, channels_last=True
    ),
}
SECONDS = "seconds"
GIB = {("nasbench101", "gradients"): 12}  # that one process takes, where that is much


@dataclass(frozen=True)
class Run:
    """Everything that decides a store, but for how many architectures it holds."""

    space: str
    dataset: str
    group: str
    batch_size: int
    seed: int  # of the weights
    input_checksum: str
    label_checksum: str  # empty where no metric of the group reads labels
    classes: int  # outputs of the network
    network: str  # the method of the space that made it
    channels_last: bool
    version: str

    @property
    def filename(self) -> str:
        """File name: readable, and different wherever one of the fields is."""
        identity = json.dumps(asdict(self), sort_keys=True).encode()
        return (
            f"{self.space}-{self.dataset}-{self.group}-{hashlib.sha256(identity).hexdigest()[:8]}-"
            f"b{self.batch_size}-s{self.seed}-v{self.version}.parquet"
        )


def groups(space_name: str) -> tuple[str, ...]:
    """Return the groups of metrics that a search space has."""
    if space_name == "nasbench_nlp":
        return ("synflow", "text_gradients")
    if space_name == "nasbench101":
        return tuple(name for name, group in GROUPS.items() if group.network == "build" and
                     name not in ("text_gradients", "draws"))  # fmt: skip
    return tuple(name for name in GROUPS if name != "text_gradients")


def order(space_name: str) -> NDArray[np.int64]:
    """Return the indices of all architectures in the random order in which they are scored."""
    return np.random.default_rng(proxies.SEED).permutation(len(spaces.get(space_name)))


def score(
    space_name: str,
    dataset: str,
    group_name: str,
    n_archs: int,
    seed: int = proxies.SEED,
    n_jobs: int = -1,
    rebuild: bool = False,
    folder: Path | None = None,
) -> pd.DataFrame | None:
    """Score the first architectures of :func:`order` by a group of metrics.

    What is stored is not computed again; an interrupted call loses at most a chunk of each process.

    Parameters
    ----------
    space_name, dataset : str
        See :func:`epsutil.spaces.get` and :func:`epsutil.inputs.batch`.
    group_name : str
        One of :func:`groups`.
    n_archs : int
        0 takes what is stored.
    seed : int
        Of the inputs and of the weights.
    n_jobs : int, default -1
        Processes, each on one thread; -1 is one per core.
    rebuild : bool, default False
        Compute again, and replace what is stored.
    folder : pathlib.Path, optional
        As for :func:`epsutil.scoring.score`.

    Returns
    -------
    pandas.DataFrame or None
        Index ``index``. A column per metric, NaN where it is undefined, and ``seconds``: the time
        on one core for all metrics of the group. ``attrs["run"]`` holds the file's metadata. None
        where nothing is stored and `n_archs` is 0.

    Raises
    ------
    ValueError
        An argument is out of range.
    epsutil.scoring.StoreError
        A stored file is damaged or belongs to another run.
    """
    space = spaces.get(space_name)
    if group_name not in groups(space_name):
        raise ValueError(
            f"{space_name} has no metrics {group_name!r}; it has {', '.join(groups(space_name))}"
        )
    size = len(space)
    if not 0 <= n_archs <= size:
        raise ValueError(f"n_archs is {n_archs}; {space_name} has {size:,} to choose from")
    batch = _batch(space_name, dataset, group_name, seed)
    run = _run(space_name, dataset, group_name, batch, seed)
    wanted = order(space_name)[:n_archs]
    folder = folder or paths.scores()
    known: pd.DataFrame | None = None
    for place in () if rebuild else (paths.RECORDED_SCORES, folder):
        if (place / run.filename).exists():
            stored = scoring.read(place / run.filename, run)
            if known is None or len(stored) > len(known):
                known = stored
    if not n_archs:
        return known
    if known is not None and len(known) >= n_archs:
        return known.loc[np.sort(wanted)]

    frame = _extend(run, batch, wanted, known, folder, n_jobs)
    frame.attrs["run"] = asdict(run) | {
        "input": batch.source,
        "n_archs": n_archs,
        "networks": len({space.structure(space[int(i)]) for i in wanted}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: scoring.package_version(name) for name in ("torch", "numpy")},
        "machine": f"{joblib.cpu_count()} cores",
    }
    scoring.write(folder / run.filename, frame)
    shutil.rmtree(_partial(folder, run), ignore_errors=True)
    return frame


def version(space: spaces.Space, group_name: str) -> str:
    """Return the version of a group's scores: the space's own, and one for the metrics.

    The latter is 1, and one more for every time that the version of a metric of the group, or of
    what all metrics share, was raised.
    """
    versions = [proxies.VERSION, *(proxies.get(name).version for name in GROUPS[group_name].names)]
    return f"{space.VERSION}.{1 + sum(version - 1 for version in versions)}"


def _run(space_name: str, dataset: str, group_name: str, batch: Batch, seed: int) -> Run:
    group = GROUPS[group_name]
    labels = batch.labels if any(proxies.get(name).labels for name in group.names) else None
    return Run(
        space=space_name,
        dataset=dataset,
        group=group_name,
        batch_size=batch.size,
        seed=seed,
        input_checksum=batch.checksum,
        label_checksum="" if labels is None else hashlib.sha256(labels.tobytes()).hexdigest(),
        classes=1 if group.one_output else inputs.classes(dataset),
        network=_method(space_name, group),
        channels_last=group.channels_last,
        version=version(spaces.get(space_name), group_name),
    )


def _method(space_name: str, group: Group) -> str:
    """Return the method of the search space that makes the network of a group."""
    text = space_name.startswith("nasbench_nlp") and group.network == "build"
    return "language_model" if text else group.network


def _batch(space_name: str, dataset: str, group_name: str, seed: int) -> Batch:
    """Draw the inputs of a group; where only their shape counts, no data are needed."""
    group = GROUPS[group_name]
    if dataset not in inputs.kinds(space_name):
        raise ValueError(
            f"{space_name} does not read {dataset}, but {', '.join(inputs.kinds(space_name))}"
        )
    if group.data == "patches":
        return inputs.patches(dataset, group.batch_size, seed)
    if group.data == "real":
        return inputs.batch(dataset, group.batch_size, seed)
    if dataset in inputs.TOKENS:
        return inputs.batch("random_tokens", group.batch_size, seed)
    return inputs.batch("normal", group.batch_size, seed, inputs.image_size(dataset))


def _extend(
    run: Run,
    batch: Batch,
    wanted: NDArray[np.int64],
    known: pd.DataFrame | None,
    folder: Path,
    n_jobs: int,
) -> pd.DataFrame:
    """Add what is missing to what is known, each network once."""
    space, group = spaces.get(run.space), GROUPS[run.group]
    structures = {int(i): space.structure(space[int(i)]) for i in wanted}
    done: dict[str, tuple[float, ...]] = {}  # by structure: metrics, seconds
    if known is not None:
        for row in known.itertuples():
            done[structures[row.Index]] = tuple(row[1:])
    partial = _partial(folder, run)
    partial.mkdir(parents=True, exist_ok=True)
    for path in partial.glob("*.json"):
        done |= {name: tuple(row) for name, row in json.loads(path.read_text()).items()}
    missing: dict[str, int] = {}  # the first architecture of each structure, in the order
    for index, structure in structures.items():
        if structure not in done:
            missing.setdefault(structure, index)
    todo = list(missing.items())
    chunks = [todo[i : i + group.chunk] for i in range(0, len(todo), group.chunk)]
    n_jobs = _fitting(run, n_jobs)
    results = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        joblib.delayed(_score_chunk)(run, batch.x, batch.labels, chunk) for chunk in chunks
    )
    title = f"{', '.join(group.names)} of {run.space} on {run.dataset}"
    with tqdm(desc=title, total=len(todo), unit="network", leave=False, delay=2) as progress:
        for rows in results:
            _write_chunk(partial, rows)
            done |= rows
            progress.update(len(rows))
    frame = pd.DataFrame(
        [done[structures[index]] for index in structures],
        columns=[*group.names, SECONDS],
        index=pd.Index(structures, name="index"),
    )
    return frame.sort_index()


def _fitting(run: Run, n_jobs: int) -> int:
    """Return how many processes the free memory has room for, at most `n_jobs`."""
    need = GIB.get((run.space, run.group))
    wanted = joblib.effective_n_jobs(n_jobs)
    room = int(psutil.virtual_memory().available / 2**30 // need) if need else wanted
    if room < wanted:
        log.warning("%d processes, not %d: each takes %d GiB", max(1, room), wanted, need)
    return max(1, min(room, wanted))


def _score_chunk(
    run: Run, x: NDArray, labels: NDArray | None, chunk: Sequence[tuple[str, int]]
) -> dict[str, tuple[float, ...]]:
    """Score some networks in a worker process, on one thread."""
    import torch

    torch.set_num_threads(1)
    space, group = spaces.get(run.space), GROUPS[run.group]
    images = torch.tensor(x)
    if run.channels_last:
        images = images.to(memory_format=torch.channels_last)
    batch = (images, None if labels is None else torch.tensor(labels))
    rows = {}
    for structure, index in chunk:
        network = getattr(space, run.network)(space[index], run.classes)
        start = time.perf_counter()
        values = proxies.compute(network, batch, group.names, run.seed)
        rows[structure] = (*values.values(), time.perf_counter() - start)
    return rows


def _partial(folder: Path, run: Run) -> Path:
    """Folder of the chunks that are done."""
    return folder / f"{run.filename}.partial"


def _write_chunk(partial: Path, rows: dict[str, tuple[float, ...]]) -> None:
    name = hashlib.sha256(next(iter(rows)).encode()).hexdigest()[:16]
    temporary = partial / f".{name}.{os.getpid()}"
    temporary.write_text(json.dumps(rows))
    os.replace(temporary, partial / f"{name}.json")
