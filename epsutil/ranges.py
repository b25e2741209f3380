"""What the notebooks' parameters may be: one rule for each name, the same on every page.

:func:`epsutil.notebooks.check` applies the rules to what `epsutil run` is given, before a kernel
starts, and :class:`epsutil.results.Page` to what a notebook holds when its first cell runs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from epsutil import benchmarks, competitors, inputs, scoring, spaces

Rule = Callable[[Any], str | None]  # says what a value must be, None where it is so

# The search spaces that a notebook's parameters are about.
SPACES = {
    "algorithm01_epsilon": ("nasbench201",),
    "figure01_nasbench201_scatter": ("nasbench201",),
    "figure02_scatter": ("nasbench101", "nasbench_nlp"),
    "figure06_other_metrics": ("nasbench201",),
    "metrics_relation": ("nasbench201",),
    "table01_nasbench201": ("nasbench201",),
    "table03_nasbench101": ("nasbench101",),
    "table04_nasbench_nlp": ("nasbench_nlp",),
    "table05_weights_nasbench101": ("nasbench101",),
    "table06_weights_nasbench201": ("nasbench201",),
    "table07_weights_nasbench_nlp": ("nasbench_nlp",),
    "table08_weights": ("nasbench201", "nasbench101", "nasbench_nlp"),
    "table09_initialisations": ("nasbench201",),
    "table10_embeddings": ("nasbench_nlp",),
    "width_collapse": ("nasbench201",),
}
# Those that take any number of weights, not two.
ABLATIONS = (
    "table05_weights_nasbench101",
    "table06_weights_nasbench201",
    "table07_weights_nasbench_nlp",
)
# How many architectures each has; the length of a space may need its data, a check must not.
SIZES = {"nasbench101": 423_624, "nasbench201": 15_625, "nasbench_nlp": 14_322}
LEAST_ARCHS = 10  # of which a table of rank correlations is made
LARGEST_BATCH = 10_240  # as many images as there are of each dataset
LARGEST_SEED = 2**32 - 1  # that numpy, pandas and torch all take
MOST_JOBS = 1024


def rules(notebook: str) -> Mapping[str, Rule]:
    """Return the rules by parameter; none for a notebook that is not the book's."""
    if notebook not in SPACES:
        return {}
    size = min(SIZES[name] for name in SPACES[notebook])
    least = 1 if notebook == "width_collapse" else LEAST_ARCHS
    archs, some, some_or_none = _from_to(least, size), _from_to(1, size), _from_to(0, size)
    batch, seed = _from_to(2, LARGEST_BATCH), _from_to(0, LARGEST_SEED)
    return {
        "arch": _arch,
        "my_arch": _arch,
        "architectures": _one_of(competitors.ARCHITECTURES),
        "batch_seeds": _list_of(seed),
        "batch_size": batch,
        "dataset": _one_of(
            inputs.IMAGES if notebook == "algorithm01_epsilon" else benchmarks.DATASETS
        ),
        "datasets": _some_of(benchmarks.DATASETS),
        "dtypes": _some_of(scoring.DTYPES),
        "exponents": _list_of(_from_to(-30, 30), least=2),
        "groups": _some_of(_groups(SPACES[notebook][0])),
        "highest_perplexity": _above(1, 1e300),
        "image_size": _pixels,
        "largest_share": _above(0, 1),
        "lowest": _from_to(0, 100),
        "lowest_epsilon": _above(0, 100),
        "n_archs": archs,
        "n_archs101": _from_to(least, SIZES["nasbench101"]),
        "n_archs_nlp": _from_to(least, SIZES["nasbench_nlp"]),
        "n_batch_archs": archs,
        "n_competitors": some_or_none,
        "n_draws": some_or_none,
        "n_drawn": _from_to(1, SIZES["nasbench101"]),
        "n_evaluated": archs,
        "n_few": archs,
        "n_jobs": jobs,
        "n_least": some,
        "n_recheck": some,
        "n_resamples": _from_to(0, 100_000),
        "n_rounding": archs,
        "n_speed_archs": archs,
        "seed": seed,
        "speed_batch_size": batch,
        "speed_image_size": _pixels,
        "weights": _weights(None if notebook in ABLATIONS else 2),
    }


def _groups(space_name: str) -> tuple[str, ...]:
    """Return the groups with metrics that the tables of a search space show."""
    shown = set(competitors.order(space_name))
    groups = {name: scoring.GROUPS[name] for name in scoring.groups(space_name)}
    return tuple(n for n, group in groups.items() if not group.apart and shown & {*group.names})


def _from_to(low: float, high: float) -> Rule:
    return lambda value: None if low <= value <= high else f"from {low:,} to {high:,}"


def _above(low: float, high: float) -> Rule:
    return lambda value: None if low < value <= high else f"above {low:g} and at most {high:g}"


def _one_of(known: Sequence[str]) -> Rule:
    return lambda value: None if value in known else f"one of {', '.join(known)}"


def _some_of(known: Sequence[str]) -> Rule:
    def rule(values: Sequence[str]) -> str | None:
        fits = values and set(values) <= set(known) and len(set(values)) == len(values)
        return None if fits else f"one or more different ones of {', '.join(known)}"

    return rule


def _list_of(element: Rule, least: int = 1) -> Rule:
    def rule(values: Sequence[Any]) -> str | None:
        if len(values) < least or len(set(values)) < len(values):
            return f"{('one', 'two')[least - 1]} or more different numbers"
        words = [said for said in map(element, values) if said]
        return f"numbers {words[0]}" if words else None

    return rule


def _weights(count: int | None) -> Rule:
    def rule(values: Sequence[float]) -> str | None:
        words = f"{'two' if count else 'two or more'} different finite numbers above 0"
        if (count and len(values) != count) or not all(value > 0 for value in values):
            return words
        try:
            scoring.checked_weights(values)
        except ValueError:
            return f"{words}, of at most six digits each"
        return None

    return rule


def _pixels(value: int) -> str | None:
    fits = 4 <= value <= 256 and value % 4 == 0  # NAS-Bench-201 halves an image twice
    return None if fits else "a multiple of 4 from 4 to 256"


def jobs(value: int) -> str | None:
    """Say what a number of processes must be, None where it is so."""
    fits = value and abs(value) <= MOST_JOBS
    return None if fits else f"a number of processes up to {MOST_JOBS:,}, or -1 for one per core"


def _arch(value: str) -> str | None:
    try:
        spaces.get("nasbench201").parse(value)
    except ValueError as error:
        return f"an architecture: {error}"
    return None
