"""Searches on a table of the user's own: a row for each architecture that was trained."""

from pathlib import Path

import numpy as np
import pandas as pd

from epsutil import search, spaces
from epsutil.names import METHODS as METHODS


def read(file: Path, accuracy: str, score: str | None, signal: str | None) -> pd.DataFrame:
    """Read a table, and say early what is wrong with it.

    Parameters
    ----------
    file : pathlib.Path
        CSV with a heading.
    accuracy, score, signal : str
        Columns with what a search is judged by, the score, and what a search sees; all numbers.
        Empty cells of `score` are architectures without one.

    Raises
    ------
    ValueError
        The file is no table, a column is missing or not numeric, or an accuracy is.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "mine.csv")
    ...     pd.DataFrame({"acc": [91.2, 93.5], "epsilon": [0.4, None]}).to_csv(file)
    ...     read(file, "acc", "epsilon", None)["epsilon"].tolist()
    [0.4, nan]
    """
    if not file.is_file():
        raise ValueError(f"--table: there is no file {file}")
    try:
        table = pd.read_csv(file)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a CSV table: {error}") from error
    for column in filter(None, dict.fromkeys((accuracy, signal, score))):
        if column not in table:
            raise ValueError(f"{file} has no column {column!r}; it has {', '.join(table)}")
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise ValueError(f"{file}: column {column!r} holds texts, not numbers")
        missing = ~np.isfinite(table[column])
        if column != score and missing.any():
            raise ValueError(
                f"{file}: {column!r} is missing or infinite in {missing.sum():,} of {len(table):,} "
                f"rows, first in row {int(missing.argmax()) + 1}; leave these rows out"
            )
    if not len(table):
        raise ValueError(f"{file} has no rows")
    return table


def run(
    table: pd.DataFrame,
    method: str,
    accuracy: str,
    score: str | None = None,
    signal: str | None = None,
    archs: str = "arch",
    rounds: int = 100,
    steps: int = 300,
    pool: int = 1000,
    population: int = 64,
    tournament: int = 10,
    seed: int = 21,
    unscored: str = "worst",
) -> pd.DataFrame:
    """Search on a table, and return what is found after each training.

    Parameters
    ----------
    table, accuracy, score, signal
        See :func:`read`. Without `signal` a search sees the accuracy itself.
    method : str
        One of `METHODS`; see :mod:`epsutil.search`. ``pick`` trains one network a round.
    archs : str
        The column with all of NAS-Bench-201's strings, by which evolution and REINFORCE move.
    rounds, steps, pool, population, tournament, seed, unscored
        See :mod:`epsutil.search`.

    Returns
    -------
    pandas.DataFrame
        Index ``trained``; the median over rounds and the quartiles of the accuracy that the signal
        chooses (``chosen``, ``chosen_low``, ``chosen_high``), and of the best accuracy of all that
        were trained, which no search knows (``best``, ...).

    Raises
    ------
    ValueError
        The method lacks a score, a neighbourhood, or enough architectures.

    Examples
    --------
    The best by a score of 50 random networks, and the best of five networks trained at random:

    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"acc": rng.normal(92, 1, 200)})
    >>> table["score"] = table["acc"] + rng.normal(0, 1, 200)
    >>> run(table, "pick", "acc", "score", pool=50)["chosen"].round(1).to_dict()
    {1: 93.2}
    >>> run(table, "random", "acc", steps=5)["chosen"].round(1).to_dict()
    {1: 91.9, 2: 92.6, 3: 92.9, 4: 93.0, 5: 93.1}
    """
    result = table[accuracy].to_numpy(float)
    seen = table[signal or accuracy].to_numpy(float)
    takes = METHODS[method].split()
    if "score" in takes and score is None:
        raise ValueError(f"{method} needs a score: name its column with --score")
    if "pool" in takes and len(table) < pool:
        short = f"a pool of {pool:,} from {len(table):,} architectures"
        raise ValueError(f"{short}; make it smaller with --pool")
    known = search.scored(table[score], unscored) if "score" in takes else None
    size = (rounds, steps, seed)
    if known and method == "pick":
        history = search.pick(known, pool, rounds, seed)[:, None]
    elif method.startswith("random"):
        history = search.random(len(table), *size, known, pool)
    elif method == "reinforce":
        history = search.reinforce(seen, _choices(table, archs, method), *size)
    else:
        near = _choices(table, archs, method).neighbourhood()
        warmed = pool if "pool" in takes else 0
        move = "score" if method == "rea-move" else "signal"
        history = search.evolve(
            seen, near, *size, population, tournament, score=known, pool=warmed, move=move
        )
    oracle, honest = search.curves(history, seen, result)
    columns: dict[str, np.ndarray] = {}
    for name, curve in (("chosen", honest), ("best", oracle)):
        low, median, high = np.quantile(curve, (0.25, 0.5, 0.75), axis=0)
        columns |= {name: median, f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame(columns, index=pd.RangeIndex(1, history.shape[1] + 1, name="trained"))


def _choices(table: pd.DataFrame, archs: str, method: str) -> search.Choices:
    """Return how one architecture leads to the next."""
    reason = f"{method} needs a neighbourhood: a column with all of NAS-Bench-201's strings"
    if archs not in table:
        raise ValueError(f"{reason}, but there is no column {archs!r} (--archs names it)")
    found, cells = [str(arch) for arch in table[archs]], spaces.get("nasbench201")
    known = {cells[i] for i in range(len(cells))}
    if set(found) != known or len(found) != len(known):
        n = len(known & {*found})
        raise ValueError(f"{reason}; {archs!r} has {n:,} of the {len(known):,}, in {len(found):,}")
    return search.cell_choices(found)
