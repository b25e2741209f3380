"""The parameters of the notebooks: what each has, at which scale, and what values it may have.

papermill only warns about a parameter that a notebook does not have. So names and types are checked
against the cell tagged ``parameters``, and values against one rule for each name, the same on every
page: before a kernel starts where `epsutil run` gets them, and where a notebook's first cell runs
by :class:`epsutil.book.page.Page`. What depends on a search space, such as how many architectures
it has, is checked by the functions that the notebook calls first.
"""

import ast
import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import nbformat
import yaml

from epsutil import (
    benchmarks,
    experiments,
    inputs,
    paths,
    proxies,
    scoring,
    search,
    spaces,
    weights,
)
from epsutil.names import LARGEST_SEED, jobs
from epsutil.names import SCALES as SCALES

Rule = Callable[[Any], str | None]  # says what a value must be, None where it is so


class ParameterError(ValueError):
    """A notebook, scale or parameter that does not exist, or a value that it cannot have."""


class _Parameter(NamedTuple):
    name: str
    default: Any
    types: list[str]  # those in its annotation, such as int and None, or else its default's

    def __str__(self) -> str:
        return f"{self.name} ({' or '.join(self.types)}, default {self.default!r})"

    def converted(self, value: Any) -> Any:
        """Return a value that has the parameter's type, or raise TypeError."""
        if value is not None and self.default is not None:
            return _like(self.default, value)
        kind = _kind(value).partition(" ")[0]
        fits = kind in self.types or (kind == "int" and "float" in self.types)
        if fits or self.types == ["None"]:  # the latter tells nothing
            return value
        raise TypeError


def names() -> list[str]:
    """Return the names of the notebooks, which are also those of the pages, in order."""
    return sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))


def defaults(name: str) -> dict[str, Any]:
    """Return the parameters of a notebook, one of `names`, with their defaults.

    Raises
    ------
    ParameterError
        There is no such notebook, or its cell tagged ``parameters`` is not a list of plain
        assignments.
    """
    return {key: parameter.default for key, parameter in _parameters(name).items()}


def check(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given parameters, or raise where the notebook would not understand them.

    Parameters
    ----------
    name : str
        One of `names`.
    given : mapping of str to object
        Some of the notebook's parameters. An int is accepted, and converted, for a float.

    Raises
    ------
    ParameterError
        A name that the notebook does not have, or a value of another type or out of range.
    """
    known = _parameters(name)
    valid = "; valid: " + (", ".join(map(str, known.values())) or "none")
    rules, values = RULES | RULES_OF.get(name, {}), {}
    for key, value in given.items():
        if key not in known:
            raise ParameterError(f"{name} has no parameter {key!r}{_closest(key, known)}{valid}")
        try:
            values[key] = known[key].converted(value)
        except TypeError:
            raise ParameterError(
                f"{name}: {key}={value!r} is {_kind(value)}, but must be "
                f"{' or '.join(known[key].types)}{valid}"
            ) from None
    for key, value in values.items():
        if key in rules and (words := rules[key](value)):
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
    scale : {"paper", "check", "test"}
        The paper's own sizes, which are the notebook's defaults; of a page that takes minutes, what
        is computed again as the site is built; or the smallest run that passes through every cell.

    Raises
    ------
    ParameterError
        There is no such scale or notebook, or the file has what `check` refuses.
    """
    _check_name("scale", scale, SCALES)
    return check(name, scales(name).get(scale) or {})


def scales(name: str) -> dict[str, Any]:
    """Return what ``notebooks/scales.yml`` says of a notebook; "check" is that it takes minutes."""
    file = paths.NOTEBOOKS / "scales.yml"
    everything = _yaml(file.read_text("utf-8")) if file.exists() else None
    return (everything or {}).get(name) or {}


# What a cell says ----------------------------------------------------------------------------


class _Loader(yaml.BaseLoader):
    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        return _scalar(str(super().construct_scalar(node)))


def _yaml(text: str) -> Any:
    """Read YAML, its scalars as papermill reads them."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ParameterError(f"not a value: {text!r} ({' '.join(str(error).split())})") from error


def _scalar(text: str) -> Any:
    """Read a scalar as ``papermill.cli`` does."""
    for read in ({"True": True, "False": False, "None": None}.__getitem__, int, float):
        with suppress(KeyError, ValueError):
            return read(text)
    return text


def _parameters(name: str) -> dict[str, _Parameter]:
    """Read a notebook's parameters from the cell with their tag, which is never run."""
    code = [cell for cell in _read(name).cells if cell.cell_type == "code"]
    cells = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ParameterError(
            f"notebooks/{name}.ipynb needs exactly one cell tagged 'parameters', has {len(cells)}"
        )
    found = {}
    for statement in ast.parse(cells[0].source).body:
        try:
            match statement:
                case ast.Expr(ast.Constant()):
                    continue  # a text that explains
                case ast.Assign([ast.Name(key)], value):
                    default = ast.literal_eval(value)
                    types = [_kind(default)]
                case ast.AnnAssign(ast.Name(key), annotation, ast.expr() as value):
                    default = ast.literal_eval(value)
                    named = ast.unparse(annotation).split(" | ")
                    types = sorted(one.partition("[")[0] for one in named)
                case _:
                    raise ValueError
        except ValueError:
            raise ParameterError(
                f"notebooks/{name}.ipynb: a parameter is a plain `name = value`, not "
                f"`{ast.unparse(statement)}`"
            ) from None
        found[key] = _Parameter(key, default, types)
    return found


def _read(name: str) -> Any:
    _check_name("notebook", name, names())
    return nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", as_version=4)


def _check_name(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        valid = ", ".join(known) or "none"
        raise ParameterError(f"there is no {kind} {name!r}{_closest(name, known)}; valid: {valid}")


def _closest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _kind(value: Any) -> str:
    """Name a value's type for people: int, list of float, None."""
    if not isinstance(value, list | tuple):
        return "None" if value is None else type(value).__name__
    elements = " or ".join(sorted({*map(_kind, value)}))
    return f"list of {elements}" if elements else "list"


def _like(default: Any, value: Any) -> Any:
    """Return a value with the types of a default, or raise TypeError where it has others."""
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return [_like(default[0], v) for v in value] if default else list(value)
    if type(value) is int and isinstance(default, float):
        return float(value)
    if type(value) is not type(default):
        raise TypeError
    return value


# What values may be --------------------------------------------------------------------------


def _rule(fits: Callable[[Any], bool], words: str) -> Rule:
    return lambda value: None if fits(value) else words


def _from_to(low: float, high: float) -> Rule:
    return _rule(lambda value: low <= value <= high, f"from {low:,} to {high:,}")


def _least(low: int) -> Rule:
    return _rule(lambda value: value >= low, f"{low} or more")


def _above(low: float, high: float = math.inf) -> Rule:
    most = "" if high == math.inf else f" and at most {high:g}"
    return _rule(lambda value: low < value <= high, f"above {low:g}{most}")


def _one_of(known: Sequence[Any]) -> Rule:
    return _rule(lambda value: value in known, f"one of {', '.join(map(str, known))}")


def _some_of(known: Sequence[str]) -> Rule:
    def fits(values: Sequence[str]) -> bool:
        return 0 < len(values) == len(set(values)) and set(values) <= set(known)

    return _rule(fits, f"one or more different ones of {', '.join(known)}")


def _list_of(element: Rule, least: int = 1) -> Rule:
    def rule(values: Sequence[Any]) -> str | None:
        if len(values) < least or len(set(values)) < len(values):
            return f"{('one', 'two')[least - 1]} or more different numbers"
        words = [said for said in map(element, values) if said]
        return f"numbers {words[0]}" if words else None

    return rule


def _weights(values: Sequence[float]) -> str | None:
    words = "two or more different finite numbers above 0"
    if not all(value > 0 for value in values):
        return words
    with suppress(ValueError):
        scoring.checked_weights(values)
        return None
    return f"{words}, of at most six digits each"


def _arch(value: str) -> str | None:
    try:
        spaces.get("nasbench201").parse(value)
    except ValueError as error:
        return f"an architecture: {error}"
    return None


_SEED = _from_to(0, LARGEST_SEED)
_two = _rule(lambda values: len(values) == 2, "two numbers")
_RULES: list[tuple[Rule, str]] = [
    (_least(0), "n_competitors n_draws n_resamples n_bohb"),
    (_least(10), "n_archs n_archs101 n_archs_nlp n_batch_archs n_evaluated n_few n_rounding"),
    (_least(10), "n_trained n_deciding"),  # of fewer no table of correlations is made
    (_least(1), "n_speed_archs n_drawn n_least n_pool n_recheck n_small n_neighbours"),
    (_least(1), "n_rounds population tournament"),
    (_list_of(_least(1)), "budgets"),
    (jobs, "n_jobs"),
    (_SEED, "seed"),
    (_list_of(_SEED), "batch_seeds"),
    (_least(2), "batch_size speed_batch_size"),
    (_list_of(_least(2), least=2), "batch_sizes"),
    (_rule(lambda n: n >= 4 and n % 4 == 0, "a multiple of 4"), "image_size speed_image_size"),
    (_list_of(_from_to(-30, 30), least=2), "exponents"),
    (_weights, "weights"),
    (_above(0, 1), "largest_share"),
    (_above(0), "learning_rate lowest_epsilon"),
    (_from_to(0, 100), "lowest"),
    (_above(1), "highest_perplexity"),
    (_arch, "arch my_arch"),
    (_rule(lambda n: not n or (paths.ROOT / n).is_file(), "a file, or empty"), "runs"),
    (_one_of(tuple(inputs.IMAGES)), "dataset"),
    (_some_of(benchmarks.DATASETS), "datasets"),
    (_one_of(tuple(benchmarks.VALIDATION)), "epochs"),
    (_one_of(benchmarks.SIGNALS), "signal"),
    (_one_of(experiments.ARCHITECTURES), "architectures"),
    (_some_of(tuple(scoring.GROUPS)), "groups later_groups"),
    (_some_of(tuple(proxies.names())), "metrics"),
    (_some_of(scoring.PRECISIONS), "dtypes"),
    (_one_of(search.MUTATIONS), "mutation"),
    (_one_of(search.UNSCORED), "unscored"),
    (_one_of(search.WARM_UP), "warm_up"),
    (_one_of(tuple(weights.RULES)), "rule"),
]
RULES = {name: rule for rule, names in _RULES for name in names.split()}
# Full width takes seconds for an architecture, and a few show that the collapse agrees.
RULES_OF = {
    "width_collapse": dict.fromkeys(("n_archs", "n_archs101", "n_archs_nlp"), _least(1)),
    "algorithm01_epsilon": {"weights": lambda w: _weights(w) or _two(w)},
}
