"""Score many architectures by any metric: in parallel, resumable, stored.

:func:`score` is for epsilon, by the width collapse; :func:`score_group` for the other metrics, at
full width. Both take what is stored and compute the rest: architectures that come out equal once,
in chunks by joblib, so that what is done survives an interruption. A whole space takes the other
metrics hours, so their architectures come in one random :func:`order`, along which a store grows.
"""

import hashlib
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import psutil
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from epsutil import inputs, metric, network_copy, paths, proxies, spaces, store
from epsutil.inputs import Batch
from epsutil.names import DTYPES as DTYPES
from epsutil.spaces import Space
from epsutil.store import Row, Run

log = logging.getLogger(__name__)

PRECISIONS = ("float32", "float64")  # of full-width networks, too
EPSILON = "epsilon"  # the group of this metric alone, for any batch and weights
CHUNK = 64  # distinct functions whose epsilon is evaluated between two writes
SECONDS = "seconds"


class Group(NamedTuple):
    """Metrics that share passes, and how their authors apply them."""

    names: tuple[str, ...]
    batch_size: int
    reads: tuple[str, ...] = ("images",)  # or "tokens"
    network: str = ""  # the variant of the space's network, by default the one that was trained
    data: str = "real"  # or "shape", "patches"
    one_output: bool = False
    apart: bool = False  # the same metrics as in another group, of other networks
    ranked_with: tuple[str, ...] = ()  # sizes: ranks by these and `names` are one more metric
    channels_last: bool = False  # images' layout: a faster forward pass, other rounding
    second_derivatives: bool = False  # which take memory, see `Space.gib`
    chunk: int = 8  # networks evaluated between two writes


_GRADIENTS = ("grad_norm", "snip", "grasp")
_FISHER = ("fisher", "fisher_weighted")
_AZ_NAS = ("expressivity", "progressivity", "trainability")
_DRAWS = tuple(name for name in proxies.names() if name.startswith("epsilon_"))  # Table 9
GROUPS = {
    "synflow": Group(("synflow",), 1, reads=("images", "tokens"), data="shape"),
    "gradients": Group((*_GRADIENTS, *_FISHER, "jacob_cov"), 64, second_derivatives=True),
    "text_gradients": Group(_GRADIENTS, 64, reads=("tokens",), second_derivatives=True),
    "fisher_biased": Group(_FISHER, 64, network="biased", apart=True),
    "naswot": Group(("naswot",), 128, channels_last=True),
    "grad_sign": Group(("grad_sign",), 64),
    "cv": Group(("cv",), 256, channels_last=True, chunk=1),  # minutes for each
    "ntk": Group(("ntk",), 72, network="thin"),
    "linear_regions": Group(("linear_regions",), 3000, network="single_cell", data="patches"),
    "meco": Group(("meco",), 1),
    "az_nas": Group(_AZ_NAS, 64, data="shape", ranked_with=("flops",)),
    "swap": Group(("swap",), 16, channels_last=True),
    "zico": Group(("zico", "zico_released"), 128, channels_last=True),
    "zico_signed": Group(("zico_signed",), 128, channels_last=True),
    "draws": Group(_DRAWS, 256, one_output=True),
    "draws_averaged": Group(
        _DRAWS, 256, network="averaged", one_output=True, apart=True, channels_last=True
    ),
}


def pair(weights: Sequence[float]) -> str:
    """Name the column that holds epsilon for two weights, for example ``"1e-07,1"``.

    Examples
    --------
    >>> pair((1.0, 1e-7))
    '1e-07,1'
    """
    first, second = sorted(weights)
    return f"{first:g},{second:g}"


def score(
    space: Space | str,
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

    What is stored for the same run is not computed again: a sample takes from a larger one what
    they share, and an interrupted call is continued by the next. joblib's backend can be switched
    around the call, for example to a Dask cluster with ``joblib.parallel_config("dask")``.

    Parameters
    ----------
    space : Space or str
        A search space, one of your own too, or a name that :func:`epsutil.spaces.get` knows. By its
        ``name`` and ``VERSION`` its scores are stored.
    batch : epsutil.inputs.Batch
    weights : sequence of float
        Two or more; all their pairs share one evaluation.
    archs : sequence of int, optional
        Indices in the space, by default all. See :meth:`epsutil.spaces.Space.sample`.
    dtype : {"float32", "float64", "extended"}
        What to evaluate in, see :meth:`epsutil.spaces.Space.outputs`.
    n_jobs : int
        Processes, each on one thread; -1 is one per core.
    rebuild : bool
        Compute again. What is then stored is found from now on, also before the project's own.
    folder : pathlib.Path, optional
        Where to store the result, by default the user's cache. The project's own are found, too.
    largest : int, optional
        How many architectures to compute at most.

    Returns
    -------
    pandas.DataFrame
        Index ``index``, the architecture's index in the space. A column per pair of weights, see
        :func:`pair`; NaN where epsilon is undefined. ``attrs["run"]`` holds the metadata of the
        store, joined as `epsutil.store.union` says.

    Raises
    ------
    ValueError
        An argument is out of range, or the batch would leave every score undefined.
    epsutil.store.StoreError
        A stored file for these parameters is damaged or belongs to another run.
    epsutil.store.NotStored
        For these parameters, more architectures than `largest` are not stored.

    Examples
    --------
    Of three architectures the last has no epsilon: its signal vanishes in float32.

    >>> score("nasbench201", inputs.batch("grey", 32), archs=[0, 1, 1462], n_jobs=1).round(3)
           1e-07,1
    index
    0        0.218
    1        0.457
    1462       NaN
    """
    space = spaces.get(space)
    weights = checked_weights(weights)
    _check_batch(space, batch)
    space.check_dtype(dtype)
    indices = _checked_indices(archs, len(space))
    run = Run(space.name, batch.kind, EPSILON, batch.size, batch.checksum, version(space))
    run = replace(run, dtype=dtype, weights=weights)
    return _complete(space, run, batch, indices, folder, n_jobs, rebuild, largest)


def groups(space: Space | str) -> tuple[str, ...]:
    """Return the groups of metrics that a search space has.

    Examples
    --------
    >>> groups("nasbench_nlp")
    ('synflow', 'text_gradients')
    """
    space = spaces.get(space)
    networks = ("", *space.variants)
    return tuple(n for n, g in GROUPS.items() if space.reads in g.reads and g.network in networks)


def groups_of(space: Space | str) -> dict[str, str]:
    """Return the metrics that a search space is scored by, and the group of each."""
    found = {name: GROUPS[name] for name in groups(space)}
    return {metric: name for name, g in found.items() if not g.apart for metric in g.names}


def order(space: Space | str) -> NDArray[np.int64]:
    """Return the indices of all architectures in the random order in which they are scored.

    Examples
    --------
    >>> order("nasbench201")[:3]
    array([9090,  421, 5367])
    """
    return np.random.default_rng(proxies.SEED).permutation(len(spaces.get(space)))


def score_group(
    space: Space | str,
    dataset: str,
    group_name: str,
    n_archs: int,
    seed: int = proxies.SEED,
    n_jobs: int = -1,
    rebuild: bool = False,
    folder: Path | None = None,
) -> pd.DataFrame | None:
    """Score the first architectures of :func:`~epsutil.scoring.order` by a group of metrics.

    What is stored is not computed again; an interrupted call loses at most a chunk of each process.
    Other arguments and errors are those of :func:`score`.

    Parameters
    ----------
    dataset, group_name : str
        See :func:`epsutil.inputs.batch` and :func:`groups`.
    n_archs : int
        0 takes as many as are stored.
    seed : int
        Of the inputs and of the weights.

    Returns
    -------
    pandas.DataFrame or None
        Index ``index``. A column per metric, NaN where it is undefined, and ``seconds``: the
        processor's time on one core for all metrics of the group. ``attrs["run"]`` as of
        :func:`score`. None where nothing is stored and `n_archs` is 0.

    Examples
    --------
    Synflow sees only the shape of the images, so that it needs none. It spans many powers of ten:

    >>> scores = score_group("nasbench201", "normal", "synflow", n_archs=2, n_jobs=1)
    >>> np.log10(scores["synflow"]).round(1).to_dict()
    {421: 21.3, 9090: 15.6}
    """
    space = spaces.get(space)
    if group_name not in (known := groups(space)):
        raise ValueError(f"{space.name} has no metrics {group_name!r}; it has {', '.join(known)}")
    size = len(space)
    if not 0 <= n_archs <= size:
        raise ValueError(f"n_archs is {n_archs}; {space.name} has {size:,} to choose from")
    batch = group_batch(space, dataset, group_name, seed)
    run = group_run(space, dataset, group_name, batch, seed)
    indices = order(space)
    if not n_archs:  # an interrupted run may have left more, but no random sample
        stored = store.read(*_places(run, folder), run=run)
        n_archs = int(np.cumprod(np.isin(indices, stored.index)).sum())
        return stored.loc[indices[:n_archs]].sort_index() if n_archs else None
    chosen = indices[:n_archs]
    return _complete(space, run, batch, chosen, folder, n_jobs, rebuild).sort_index()


def group_run(space: Space | str, dataset: str, group_name: str, batch: Batch, seed: int) -> Run:
    """Return what decides the store of a group of metrics."""
    space, group = spaces.get(space), GROUPS[group_name]
    labels = batch.labels if any(proxies.get(name).labels for name in group.names) else None
    made_by = version(space, group_name)
    return replace(
        Run(space.name, dataset, group_name, batch.size, batch.checksum, made_by),
        seed=seed,
        label_checksum="" if labels is None else hashlib.sha256(labels.tobytes()).hexdigest(),
        classes=1 if group.one_output else inputs.classes(dataset),
        network=group.network or next(iter(space.variants)),
        channels_last=group.channels_last,
    )


def _places(run: Run, folder: Path | None) -> tuple[Path, ...]:
    """Return where scores of a run are stored: by the project, and here, where more can be."""
    folders = (paths.RECORDED_SCORES, folder or paths.scores())
    return tuple(dict.fromkeys(place / run.name for place in folders))


def group_batch(space: Space | str, dataset: str, group_name: str, seed: int) -> Batch:
    """Draw the inputs of a group; where only their shape counts, no data are needed."""
    group = GROUPS[group_name]
    check_dataset(space, dataset)
    if group.data == "patches":
        return inputs.patches(dataset, group.batch_size, seed)
    if group.data == "real":
        return inputs.batch(dataset, group.batch_size, seed)
    if dataset in inputs.TOKENS:
        return inputs.batch("random_tokens", group.batch_size, seed)
    return inputs.batch("normal", group.batch_size, seed, inputs.image_size(dataset))


def remove_outdated(folder: Path) -> list[Path]:
    """Delete the stores of epsilon in a folder that have another version; return them."""
    outdated = []  # those of the other metrics, which take hours, are left for their owner
    for path in store.named(folder, "", "*"):
        run = store.read(path).attrs["run"]
        if run["group"] == EPSILON and run["version"] != version(spaces.get(run["space"])):
            shutil.rmtree(path)
            outdated.append(path)
    return outdated


def version(space: Space, group_name: str = EPSILON) -> str:
    """Return the version of a group's scores: the space's own, and one for the metrics.

    The latter is 1, and one more for each time that a metric's or what they share was raised.
    """
    if group_name == EPSILON:
        return f"{space.VERSION}.{metric.VERSION}"
    versions = [proxies.VERSION, *(proxies.get(name).version for name in GROUPS[group_name].names)]
    return f"{space.VERSION}.{1 + sum(version - 1 for version in versions)}"


# Checks before hours of work -----------------------------------------------------------------


def checked_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """Return two or more constant weights in ascending order, or say what is wrong with them."""
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


def check_dataset(space: Space | str, dataset: str) -> None:
    """Refuse inputs that a search space does not read."""
    space = spaces.get(space)
    if dataset not in (kinds := inputs.kinds(space)):
        raise ValueError(f"{space.name} does not read {dataset}, but {', '.join(kinds)}")


def _check_batch(space: Space, batch: object) -> None:
    if not isinstance(batch, Batch):
        kind = type(batch).__name__
        raise TypeError(f"the batch is what epsutil.inputs.batch returns, not of type {kind}")
    check_dataset(space, batch.kind)
    x = batch.x.reshape(-1, 1) if batch.kind in inputs.TOKENS else batch.x
    if not np.isfinite(x).all():
        raise ValueError("the batch holds NaN or infinite values: every score would be undefined")
    if len(x) == 1:
        raise ValueError("a batch of one input: its outputs do not vary, every score is undefined")
    if (x == x[:1]).all():
        raise ValueError("all inputs of the batch are equal: every score would be undefined")


# The engine ----------------------------------------------------------------------------------


def _complete(
    space: Space,
    run: Run,
    batch: Batch,
    indices: NDArray[np.int64],
    folder: Path | None,
    n_jobs: int,
    rebuild: bool,
    largest: int | None = None,
) -> pd.DataFrame:
    """Take scores of architectures from the stores of a run; what these lack, compute and store.

    More than `largest` are not computed.
    """
    places = _places(run, folder)
    parts = store.parts(*places, run=run, repair=rebuild)
    stored = store.union(parts.values())
    missing = indices if rebuild else indices[~np.isin(indices, stored.index)]
    if not len(missing):
        return stored.loc[indices]
    if largest is not None and len(missing) > largest:
        raise store.NotStored(
            f"no scores of {len(missing):,} architectures of {run.space} are stored for these "
            f"inputs ({batch.source}; SHA-256 {batch.checksum[:12]}…) and weights; take at most "
            f"{largest:,}, or store the scores first: epsutil score {run.space} --dataset "
            f"{batch.kind} --batch-size {batch.size} --seed {batch.seed} --dtype {run.dtype} "
            f"--weights {' '.join(f'{weight:g}' for weight in run.weights)}"
        )
    here = paths.writable(places[-1], "EPSUTIL_SCORES or EPSUTIL_CACHE names another folder")

    start = time.perf_counter()
    if run.group == EPSILON:
        key, columns = space.key, [pair(two) for two in combinations(run.weights, 2)]
    else:
        key, columns = space.structure, [*GROUPS[run.group].names, SECONDS]
    dtype = "float32" if run.group == EPSILON and run.dtype == "float32" else "float64"

    def add(rows: Mapping[int, Row], made: dict[str, Any]) -> None:
        frame = pd.DataFrame([*rows.values()], pd.Index(rows, name="index"), columns, dtype)
        frame.attrs["run"] = made
        store.write(here, frame.sort_index())

    same: dict[str, list[int]] = {}  # architectures by their key: equal keys are equal networks
    for index in tqdm(missing.tolist(), "keys", leave=False, delay=3):
        same.setdefault(key(space[index]), []).append(index)
    if (known := len(indices) - len(missing)) and not rebuild:
        log.info("%d of %d architectures are stored", known, len(indices))
    for part in () if rebuild else parts.values():
        rows = part.itertuples()
        copies = {i: row[1:] for row in rows for i in same.pop(key(space[row.Index]), ())}
        if copies:
            add(copies, part.attrs["run"] | {"networks": 0, "seconds": 0})

    last = max((part.attrs["run"]["rebuilt"] for part in parts.values()), default=0)
    given = {"input": batch.source, "input_seed": batch.seed, "rebuilt": (last + 1) * rebuild}
    size = CHUNK if run.group == EPSILON else GROUPS[run.group].chunk
    todo = [(key, archs[0]) for key, archs in same.items()]
    chunks = [todo[i : i + size] for i in range(0, len(todo), size)]
    results = joblib.Parallel(n_jobs=_fitting(space, run, n_jobs), return_as="generator_unordered")(
        joblib.delayed(_score_chunk)(space, run, batch.x, batch.labels, chunk) for chunk in chunks
    )
    title = f"{run.group} of {run.space} on {run.dataset}"
    with tqdm(desc=title, total=len(todo), unit="network", leave=False, delay=2) as progress:
        for scored in results:
            start, seconds = (now := time.perf_counter()), now - start
            made = run.made(**given, networks=len(scored), seconds=seconds)
            add({i: row for key, row in scored.items() for i in same[key]}, made)
            progress.update(len(scored))
    store.compact(here)
    return store.read(*places, run=run).loc[indices]


def _fitting(space: Space, run: Run, n_jobs: int) -> int:
    """Return how many processes the free memory has room for, at most `n_jobs`."""
    wanted = joblib.effective_n_jobs(n_jobs)
    heavy = run.group != EPSILON and GROUPS[run.group].second_derivatives
    need = space.gib if heavy else 0
    room = int(psutil.virtual_memory().available / 2**30 // need) if need else wanted
    if room < wanted:
        log.warning("%d processes, not %d: each takes %d GiB", max(1, room), wanted, need)
    return max(1, min(room, wanted))


@network_copy.one_thread()
def _score_chunk(
    space: Space, run: Run, x: NDArray, labels: NDArray | None, chunk: Sequence[tuple[str, int]]
) -> dict[str, Row]:
    """Score some networks in a worker process, on one thread; they come with their keys."""
    rows = {}
    if run.group == EPSILON:
        np.empty(31 << 20, np.uint8)  # glibc then keeps freed maps for the next: a fifth less time
        prepared = space.prepare(x, run.dtype)
        for key, index in chunk:
            outputs = space.outputs(space[index], prepared, run.weights, run.dtype)
            rows[key] = tuple(metric.from_outputs(two) for two in combinations(outputs, 2))
        return rows
    layout = torch.channels_last if run.channels_last else torch.contiguous_format
    images = torch.tensor(x).to(memory_format=layout)
    batch = images, None if labels is None else torch.tensor(labels)
    for key, index in chunk:
        network = space.network(space[index], run.classes, run.network)
        start = time.process_time()  # what else the machine does, does not count
        values = proxies.compute(network, batch, GROUPS[run.group].names, run.seed)
        rows[key] = (*values.values(), time.process_time() - start)
    return rows
