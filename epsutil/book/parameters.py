"""The parameters of the notebooks: what each has, at which scale, and what values it may have.

papermill only warns about a parameter that a notebook does not have. So names and types are checked
against the cell tagged ``parameters``, and values against one rule for each name, the same on every
page: before a kernel starts where `epsutil run` gets them, and where a notebook's first cell runs
by :class:`epsutil.book.results.Page`.
"""

import ast
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nbformat
import yaml

from epsutil import benchmarks, experiments, inputs, paths, scoring, search, spaces, weights

SCALES = ("quick", "paper", "test")
Rule = Callable[[Any], str | None]  # says what a value must be, None where it is so

# How many architectures each has; the length of a space may need its data, a check must not.
SIZES = {
    "nasbench101": 423_624,
    "nasbench201": 15_625,
    "nasbench_macro": 6_561,
    "nasbench_nlp": 14_322,
}
LEAST_ARCHS = 10  # of which a table of rank correlations is made
LARGEST_BATCH = 10_240  # as many images as there are of each dataset
LARGEST_SEED = 2**32 - 1  # that numpy, pandas and torch all take
MOST_JOBS = 1024


class ParameterError(ValueError):
    """A notebook, scale or parameter that does not exist, or a value that it cannot have."""


@dataclass(frozen=True)
class _Parameter:
    name: str
    default: Any
    types: frozenset[str]  # the names in its annotation, if it has one: {"int", "None"}

    def __str__(self) -> str:
        kind = " or ".join(sorted(self.types)) or _kind(self.default)
        return f"{self.name} ({kind}, default {self.default!r})"

    def accepts(self, value: Any) -> bool:
        if value is None:
            return self.default is None or "None" in self.types
        if self.default is None:
            named = self.types - {"None"}
            return not named or _kind(value, inside=False) in named | (
                {"int"} if "float" in named else set()
            )
        return _fits(value, self.default)


def names() -> list[str]:
    """Return the names of the notebooks, which are also those of the pages, in order."""
    return sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))


def defaults(name: str) -> dict[str, Any]:
    """Return a notebook's parameters with their defaults.

    Parameters
    ----------
    name : str
        One of `names`.

    Raises
    ------
    ParameterError
        There is no such notebook, or its cell tagged ``parameters`` is not a list of plain
        assignments.
    """
    return {parameter.name: parameter.default for parameter in _parameters(name)}


def check(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given parameters, or raise where the notebook would not understand them.

    Parameters
    ----------
    name : str
        One of `names`.
    given : mapping of str to object
        Some of the notebook's parameters. An int is accepted, and converted, where the default is a
        float; the elements of a list are held to the types of the default's elements.

    Raises
    ------
    ParameterError
        A name that the notebook does not have, a value of another type than its default, or one
        out of range.
    """
    known = {parameter.name: parameter for parameter in _parameters(name)}
    valid = "; valid: " + (", ".join(map(str, known.values())) or "none")
    for key, value in given.items():
        if key not in known:
            raise ParameterError(f"{name} has no parameter {key!r}{_closest(key, known)}{valid}")
        if not known[key].accepts(value):
            raise ParameterError(
                f"{name}: {key}={value!r} is {_kind(value)}, but must be "
                f"{' or '.join(sorted(known[key].types)) or _kind(known[key].default)}{valid}"
            )
    values = {key: _convert(value, known[key].default) for key, value in given.items()}
    allowed = rules(name)
    for key, value in values.items():
        if key in allowed and (words := allowed[key](value)):
            raise ParameterError(f"{name}: {key}={value!r} must be {words}")
    return values


def value(text: str) -> Any:
    """Read a parameter as papermill's ``-p`` does, and a list of them where text starts with [.

    Parameters
    ----------
    text : str
        ``True``, ``False``, ``None``, what Python reads as an int or a float, or a YAML list of
        these; all else stays text. YAML's own rules for numbers are not used: it takes 010 for 8,
        12:30:45 for 45045, and 1e-7 for text.

    Raises
    ------
    ParameterError
        A list that is not closed, and the like.

    Examples
    --------
    >>> value("010"), value("1e-7"), value("[cifar10, 1e-7, [None]]"), value("12:30:45")
    (10, 1e-07, ['cifar10', 1e-07, [None]], '12:30:45')
    """
    return _yaml(text) if text.lstrip().startswith("[") else _scalar(text)


def injected(cells: Iterable[str]) -> set[str]:
    """Return the names that papermill gave a value, from the sources of the cells that ran."""
    return {
        node.id
        for cell in cells
        if cell.startswith("# Parameters\n")  # as papermill begins the cell that it adds
        for node in ast.walk(ast.parse(cell))
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Store)
        and not node.id.startswith("PAPERMILL_")  # the paths that it adds on request
    }


def scale(name: str, scale: str) -> dict[str, Any]:
    """Return the parameters that a notebook takes at a scale, from ``notebooks/scales.yml``.

    Parameters
    ----------
    name : str
        One of `names`.
    scale : {"quick", "paper", "test"}
        What a laptop recomputes in minutes, the paper's own sizes, or the smallest run that still
        passes through every cell.

    Raises
    ------
    ParameterError
        There is no such scale or notebook, or the file names a parameter that the notebook lacks.
    """
    if scale not in SCALES:
        raise ParameterError(
            f"there is no scale {scale!r}{_closest(scale, SCALES)}; valid: {', '.join(SCALES)}"
        )
    file = paths.NOTEBOOKS / "scales.yml"
    scales = _yaml(file.read_text("utf-8")) if file.exists() else None
    of_notebook = (scales or {}).get(name) or {}
    return check(name, of_notebook.get(scale) or {})


# What a cell says ----------------------------------------------------------------------------


def _yaml(text: str) -> Any:
    """Read YAML, its scalars as papermill reads them."""

    def read(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: read(element) for key, element in found.items()}
        return [read(element) for element in found] if isinstance(found, list) else _scalar(found)

    try:
        return read(yaml.load(text, yaml.BaseLoader))  # which leaves every scalar a text
    except (yaml.YAMLError, RecursionError) as error:  # the latter for a list inside itself
        raise ParameterError(f"not a value: {text!r} ({' '.join(str(error).split())})") from error


def _scalar(text: str) -> Any:
    """Read a scalar as ``papermill.cli`` does."""
    named = {"True": True, "False": False, "None": None}
    if text in named:
        return named[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _parameters(name: str) -> list[_Parameter]:
    cells = [
        cell
        for cell in _read(name).cells
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])
    ]
    if len(cells) != 1:
        raise ParameterError(
            f"notebooks/{name}.ipynb needs exactly one cell tagged 'parameters', has {len(cells)}"
        )
    return list(_assignments(name, cells[0].source))


def _assignments(name: str, source: str) -> Iterator[_Parameter]:
    """Yield the assignments of a parameters cell, which is read but never run."""
    for statement in ast.parse(source).body:
        types: frozenset[str] = frozenset()
        try:
            match statement:
                case ast.Expr(ast.Constant()):
                    continue  # a text that explains
                case ast.Assign([ast.Name(target)], value):
                    default = ast.literal_eval(value)
                case ast.AnnAssign(ast.Name(target), annotation, ast.expr() as value):
                    default, types = ast.literal_eval(value), _annotated(annotation)
                case _:
                    raise ValueError
        except ValueError:
            raise ParameterError(
                f"notebooks/{name}.ipynb: a parameter is a plain `name = value`, not "
                f"`{ast.unparse(statement)}`"
            ) from None
        yield _Parameter(target, default, types)


def _annotated(annotation: ast.expr) -> frozenset[str]:
    """Return the types of ``int | None`` as ``{"int", "None"}``; a list's come from its default."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _annotated(annotation.left) | _annotated(annotation.right)
    return frozenset({ast.unparse(annotation).partition("[")[0]})


def _read(name: str) -> Any:
    file = paths.NOTEBOOKS / f"{name}.ipynb"
    if name not in names():
        raise ParameterError(
            f"there is no notebook {name!r}{_closest(name, names())}; "
            f"valid: {', '.join(names()) or 'none'}"
        )
    return nbformat.read(file, as_version=4)


def _closest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _kind(value: Any, inside: bool = True) -> str:
    """Name a value's type for people: int, list of float, None."""
    if value is None:
        return "None"
    if isinstance(value, list | tuple):
        elements = sorted({_kind(element) for element in value}) if inside else []
        return "list" + (f" of {' or '.join(elements)}" if elements else "")
    return type(value).__name__


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple) and (
            not default or all(any(_fits(v, d) for d in default) for v in value)
        )
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def _convert(value: Any, default: Any) -> Any:
    if isinstance(value, list | tuple):
        element = default[0] if isinstance(default, list | tuple) and default else None
        return [_convert(v, element) for v in value]
    return float(value) if isinstance(default, float) and value is not None else value


# What values may be --------------------------------------------------------------------------


def rules(notebook: str) -> Mapping[str, Rule]:
    """Return the rules by parameter, from what a notebook is about.

    They hold for the search spaces that its code names; there are none where it names none.
    """
    cells = _read(notebook).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    about = [name for name in SIZES if f'"{name}' in code]
    if not about:
        return {}
    of_notebook = defaults(notebook)
    own = {"nasbench101": "n_archs101", "nasbench_nlp": "n_archs_nlp"}  # counts of one space
    shared = [name for name in about if own.get(name) not in of_notebook]
    size = min(SIZES[name] for name in shared or about)
    least = LEAST_ARCHS if "Problem(" in code else 1
    is_ablation = len(of_notebook.get("weights", ())) > 2  # takes any number of weights
    has_data = of_notebook.get("dataset") in benchmarks.DATASETS
    seed = _from_to(0, LARGEST_SEED)
    named = [
        (_from_to(least, size), "n_archs n_batch_archs n_evaluated n_few n_rounding n_speed_archs"),
        (_from_to(least, SIZES["nasbench101"]), "n_archs101"),
        (_from_to(least, SIZES["nasbench_nlp"]), "n_archs_nlp"),
        (_from_to(weights.LEAST_NETWORKS, size), "n_deciding"),
        (_from_to(1, SIZES["nasbench101"]), "n_drawn"),
        (_from_to(1, size), "n_least n_pool n_recheck n_small"),
        (_from_to(0, size), "n_competitors n_draws"),
        (_from_to(1, 1000), "n_neighbours"),
        (_from_to(0, 100_000), "n_resamples"),
        (_from_to(1, 10_000), "n_rounds population tournament"),
        (_from_to(10, 10_000), "n_trained"),
        (_from_to(0, 10_000), "n_bohb"),
        (_list_of(_from_to(1, 10_000)), "budgets"),
        (jobs, "n_jobs"),
        (seed, "seed"),
        (_list_of(seed), "batch_seeds"),
        (_from_to(2, LARGEST_BATCH), "batch_size speed_batch_size"),
        (_list_of(_from_to(2, LARGEST_BATCH), least=2), "batch_sizes"),
        (_pixels, "image_size speed_image_size"),
        (_list_of(_from_to(-30, 30), least=2), "exponents"),
        (_weights(None if is_ablation else 2), "weights"),
        (_above(0, 1), "largest_share"),
        (_above(0, 10), "learning_rate"),
        (_from_to(0, 100), "lowest"),
        (_above(0, 100), "lowest_epsilon"),
        (_above(1, 1e300), "highest_perplexity"),
        (_arch, "arch my_arch"),
        (_file, "runs"),
        (_one_of(benchmarks.DATASETS if has_data else inputs.IMAGES), "dataset"),
        (_some_of(benchmarks.DATASETS), "datasets"),
        (_one_of(tuple(benchmarks.VALIDATION)), "epochs"),
        (_one_of(benchmarks.SIGNALS), "signal"),
        (_one_of(experiments.ARCHITECTURES), "architectures"),
        (_some_of(experiments.shown_groups(about[0])), "groups"),
        (_some_of(experiments.shown_groups(about[0], experiments.LATER)), "later_groups"),
        (_some_of(experiments.order(about[0])), "metrics"),
        (_some_of(scoring.PRECISIONS), "dtypes"),
        (_one_of(search.MUTATIONS), "mutation"),
        (_one_of(search.UNSCORED), "unscored"),
        (_one_of(search.WARM_UP), "warm_up"),
        (_one_of(tuple(weights.RULES)), "rule"),
    ]
    return {name: rule for rule, names in named for name in names.split()}


def _from_to(low: float, high: float) -> Rule:
    return lambda value: None if low <= value <= high else f"from {low:,} to {high:,}"


def _above(low: float, high: float) -> Rule:
    return lambda value: None if low < value <= high else f"above {low:g} and at most {high:g}"


def _one_of(known: Sequence[Any]) -> Rule:
    return lambda value: None if value in known else f"one of {', '.join(map(str, known))}"


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


def _file(value: str) -> str | None:
    """Say what a file must be; its name is absolute, or from the project's folder on."""
    return None if not value or (paths.ROOT / value).is_file() else "a file, or empty"


def _arch(value: str) -> str | None:
    try:
        spaces.get("nasbench201").parse(value)
    except ValueError as error:
        return f"an architecture: {error}"
    return None
