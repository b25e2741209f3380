"""The command line: fetch data, score architectures, run a notebook, build the book.

Options are checked before any work; a mistake is one line and exit code 2.
"""

from __future__ import annotations  # whose modules are imported later

import logging
import math
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from epsutil import names as names_
from epsutil import paths

if TYPE_CHECKING:
    import pandas as pd

    from epsutil import (
        image_files,
        inputs,
        proxies,
        scoring,
        sources,
        spaces,
        table_search,
        user_modules,
    )
    from epsutil import metric as metric_
    from epsutil import weights as weights_
    from epsutil.book import execution, parameters, site
    from epsutil.book import pdf as pdf_
else:

    class _Later:
        """A module that is imported at its first use: torch, pandas and papermill take seconds."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            return getattr(import_module(self._name, "epsutil"), attribute)

    pd, inputs, metric_ = map(_Later, ("pandas", ".inputs", ".metric"))
    proxies, scoring, sources = map(_Later, (".proxies", ".scoring", ".sources"))
    spaces, user_modules = map(_Later, (".spaces", ".user_modules"))
    image_files, table_search = map(_Later, (".image_files", ".table_search"))
    weights_, execution = map(_Later, (".weights", ".book.execution"))
    parameters, site, pdf_ = map(_Later, (".book.parameters", ".book.site", ".book.pdf"))

# What a notebook may end with for the reasons that end a command: these and what is derived.
_OF_A_NOTEBOOK = {"ParameterError", "StoreError", "NotStored"}
_OF_A_NOTEBOOK |= {"ValueError", "SourceError", "FileNotFoundError", "OSError"}
_BATCH = "normal"  # into a module
_BATCH_SIZE, _SEED = 256, 21  # of epsilon; the other metrics have their own
_FILE = click.Path(dir_okay=False, path_type=Path)
_shown = partial(click.option, show_default=True)
_SPACE = partial(click.argument, "space", type=click.Choice(sorted(names_.SPACES)))
_seed = partial(click.option, "--seed", type=click.IntRange(0, names_.LARGEST_SEED))


class _SeedOrNone(click.IntRange):
    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return value if value == "none" else super().convert(value, param, ctx)


_batch_size = partial(click.option, "--batch-size", type=click.IntRange(2))
_batch = partial(click.option, "--batch", "kind", metavar="KIND|FILE")
_MODULE = "PACKAGE.MODULE:NAME"
_EXPLAIN = click.option("--explain", is_flag=True, help="Show the range of each module's output.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="epsutil")
def cli() -> None:
    """Reproduce the epsilon metric: score untrained networks, rerun any table or figure.

    \b
    First steps:
      epsutil score nasbench201 --dataset grey      needs no data; half a minute
      epsutil fetch                                 download the benchmark data
      epsutil run table06_weights_nasbench201 -p n_archs 500
      epsutil book                                  the whole book, into _build/html
    """  # noqa: D301
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


@cli.command()
@click.argument("names", nargs=-1, metavar="[FILE]...")
@click.option("--list", "list_only", is_flag=True, help="Only list the files.")
def fetch(names: tuple[str, ...], list_only: bool) -> None:
    """Bring benchmark data to this machine and check them.

    FILE is a name from `epsutil fetch --list`; without any, all that the book needs and that can be
    downloaded. A file comes from the folder in EPSUTIL_DATA, else the user's cache, else from its
    public address.
    """
    if list_only and names:
        raise ValueError("--list shows all files; leave out either it or the names")
    if list_only:
        for source in sources.SOURCES.values():
            where = "here" if sources.available(source.name) else source.url or "to be supplied"
            click.echo(f"{source.name:48} {source.size / 1e6:>8.1f} MB  {where}")
        return
    known = sources.SOURCES.items()
    wanted = names or [name for name, s in known if s.url or sources.available(name)]
    for path in sources.fetch(*wanted):
        click.echo(path)


def _checked_jobs(ctx: click.Context, option: click.Parameter, value: int) -> int:
    if words := names_.jobs(value):
        raise click.BadParameter(f"{value} is not {words}")
    return value


def _checked_output(ctx: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
    if value is not None:
        if not (folder := value.absolute().parent).is_dir():
            raise ValueError(f"--output: there is no folder {folder}")
        paths.writable(folder, "--output names another place")
    return value


_JOBS = click.option(
    "--jobs", type=int, default=-1, callback=_checked_jobs, help="Processes; by default, all cores."
)
_OUTPUT = click.option(
    "--output", type=_FILE, callback=_checked_output, help="Also write the table to this CSV file."
)


def _metric_names(ctx: click.Context, option: click.Parameter, value: str) -> list[str]:
    """Read NAME[,NAME...], of which each counts once, by its own name."""
    return list(dict.fromkeys(proxies.get(name).name for name in value.split(",")))


_METRICS = click.option(
    "--metrics",
    metavar="NAME[,NAME...]",
    default="epsilon",
    callback=_metric_names,
    help=f"By default epsilon. Known: {', '.join(names_.PROXIES)}.",
)


def _checked_weights(ctx: click.Context, option: click.Parameter, value: Any) -> Any:
    if value is not None:
        scoring.checked_weights(value)
    return value


_weights = partial(click.option, "--weights", type=(float, float), callback=_checked_weights)


@cli.command()
@_SPACE()
@_METRICS
@click.option(
    "--dataset",
    type=click.Choice(names_.INPUTS),
    help="Where the images or tokens come from; by default cifar10, for nasbench_nlp ptb. grey, "
    "normal, uniform and random_tokens need no data, but nasbench_nlp's architectures do.",
)
@_weights(help="The two constants of epsilon; by default the paper's for the space (Table 8).")
@click.option("--arch", help="Score only this architecture, given as its string.")
@click.option("--n-archs", type=click.IntRange(1), help="Score a random sample of this size.")
@_batch_size(
    help=f"By default {_BATCH_SIZE}; for an --arch by --metrics {names_.BATCH_SIZE}. A sample by "
    "--metrics takes each metric's own."
)
@_seed(help=f"By default {_SEED}; for metrics other than epsilon {names_.SEED}.")
@click.option("--dtype", type=click.Choice(names_.DTYPES), help="By default float32.")
@_JOBS
@_EXPLAIN
@click.option("--rebuild", is_flag=True, help="Compute again what is stored.")
@_OUTPUT
def score(
    space: str, metrics: list[str], dataset: str | None, weights: tuple[float, float] | None,
    arch: str | None, n_archs: int | None, batch_size: int | None, seed: int | None,
    dtype: str | None, jobs: int, explain: bool, rebuild: bool, output: Path | None,
) -> None:  # fmt: skip
    """Score a search space, a sample of it, or one architecture.

    \b
    epsutil score nasbench201 --dataset cifar10 --weights 1e-7 1
    epsutil score nasbench201 --dataset grey \\
        --arch "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|"
    epsutil score nasbench_nlp --dataset random_tokens --n-archs 100
    epsutil score nasbench201 --metrics naswot,synflow --n-archs 50

    Metrics other than epsilon take one --arch as `epsutil module` takes a network: at full width,
    all on one batch. They take a sample as the authors of each do, with its batch size and network.
    """  # noqa: D301
    chosen = spaces.get(space)
    dataset, pair = dataset or chosen.dataset, weights or chosen.weights
    scoring.check_dataset(space, dataset)
    if arch is not None and n_archs is not None:
        raise ValueError("give --arch or --n-archs, not both")
    if explain and ("epsilon" not in metrics or arch is None):
        raise ValueError("--explain is of one network's epsilon: give --arch for it")
    if metrics != ["epsilon"]:
        if dtype is not None or (batch_size is not None and arch is None):
            option = "--dtype" if dtype is not None else "--batch-size"
            raise ValueError(f"{option} goes with epsilon alone; other metrics have their own")
        if arch is not None and (rebuild or jobs != -1):
            raise ValueError("--jobs and --rebuild go with a sample, or with epsilon alone")
        if arch is None:
            _score_sample(chosen, metrics, dataset, pair, n_archs, seed, jobs, rebuild, output)
            return
        batch = _batch_for(metrics, dataset, batch_size, names_.SEED if seed is None else seed)
        values = {"epsilon": chosen.score(arch, batch.x, pair)} if "epsilon" in metrics else {}
        network = chosen.network(arch, inputs.classes(dataset))
        others = [name for name in metrics if name != "epsilon"]
        values |= proxies.compute(network, (batch.x, batch.labels), others, batch.seed)
        _tell_values(values, metrics, batch, output)
        if explain or math.isnan(values.get("epsilon", 0)):
            _explain(chosen.build(arch), batch.x, pair, explain)
        return
    seed, dtype = _SEED if seed is None else seed, dtype or "float32"
    batch = inputs.batch(dataset, batch_size or _BATCH_SIZE, seed)
    archs = None if n_archs is None else list(chosen.sample(n_archs, seed))
    if arch is not None:
        _score_arch(chosen, arch, batch, pair, dtype, explain)
        if output is None:
            return
        archs = [chosen.index(arch)]
    frame = scoring.score(space, batch, pair, archs, dtype, jobs, rebuild)
    _write_archs(frame, chosen, output)
    if arch is None:
        _summarise(frame[scoring.pair(pair)], "epsilon", batch.source, chosen)


@cli.command()
@click.argument("name", metavar=_MODULE)
@_METRICS
@_batch(
    help=f"What to put into the network: a kind as `epsutil score` has for --dataset, by default "
    f"{_BATCH}, or a .npz file with x and, if there are any, labels."
)
@click.option("--image-size", type=click.IntRange(1), help="Pixels a side, for synthetic images.")
@_weights(default=(1e-7, 1.0), show_default=True, help="The two constants of epsilon.")
@_batch_size(help=f"By default {names_.BATCH_SIZE}.")
@_seed(
    type=_SeedOrNone(0, names_.LARGEST_SEED),
    default=names_.SEED,
    show_default=True,
    help="Of inputs and random weights; none scores the network's weights as they are.",
)
@_EXPLAIN
@_OUTPUT
def module(
    name: str, metrics: list[str], kind: str | None, image_size: int | None,
    weights: tuple[float, float], batch_size: int | None, seed: int | str, explain: bool,
    output: Path | None,
) -> None:  # fmt: skip
    """Score a network of yours.

    \b
    epsutil module mypackage:build_model --metrics epsilon,synflow --batch normal

    The name is that of a torch.nn.Module, its class, or a function without arguments that returns
    one. The current folder is importable.
    """  # noqa: D301
    if explain and "epsilon" not in metrics:
        raise ValueError("--explain is of epsilon: leave out either it or --metrics")
    drawn = None if isinstance(seed, str) else seed
    of_batch = names_.SEED if drawn is None else drawn
    batch = _batch_for(metrics, kind or _BATCH, batch_size, of_batch, image_size)
    network = user_modules.load_module(name)
    labelled = (batch.x, batch.labels)
    values = proxies.compute(network, labelled, metrics, drawn, weights=weights)
    _tell_values(values, metrics, batch, output, "" if kind else "; --batch names another")
    user_modules.tell_kept(network)
    if explain or math.isnan(values.get("epsilon", 0)):
        _explain(network, batch.x, weights, explain)


def _batch_for(
    names: list[str], kind: str, size: int | None, seed: int, image_size: int | None = None
) -> inputs.Batch:
    """Return the batch of all metrics, and refuse those that need labels on synthetic images."""
    _check_labels(names, kind)
    return user_modules.load_batch(kind, size, seed, image_size)


def _check_labels(names: list[str], kind: str) -> None:
    """Refuse metrics that need labels on synthetic images."""
    needy = [name for name in names if proxies.get(name).labels]
    if needy and kind in inputs.IMAGES and kind not in image_files.FILES:
        have = ", ".join(image_files.FILES)
        raise ValueError(f"{needy[0]} needs labels, and {kind} images have none; {have} have")


def _tell_values(
    values: dict[str, float], names: list[str], batch: inputs.Batch, output: Path | None,
    note: str = "",
) -> None:  # fmt: skip
    shape = " x ".join(map(str, batch.x.shape))
    click.echo(f"inputs: {batch.source}; {shape}, seed {batch.seed}{note}")
    width = max(map(len, names))
    for name in names:
        click.echo(f"{name:{width}}  {_number(values[name])}")
    _write(pd.Series(values, names, name="value").rename_axis("metric"), output)


def _explain(
    network: Any, x: Any, weights: tuple[float, float], whole: bool, dtype: str = "float32"
) -> None:
    """Print why there is no epsilon, and where it is asked for all that tells."""
    table = metric_.explain(network, x, weights)
    if whole:
        click.echo(table.to_string(index=False))
    if reason := table.attrs["reason"]:
        reason = reason.partition("; the coll")[0] if dtype == "extended" else reason
        click.echo(f"No epsilon, as inputs of shape {tuple(x.shape)} show: {reason}", err=True)


def _score_arch(
    space: spaces.Space, arch: str, batch: inputs.Batch, weights: tuple[float, float], dtype: str,
    explain: bool,
) -> None:  # fmt: skip
    """Print one architecture's epsilon, and why it has none."""
    value = space.score(arch, batch.x, weights, dtype)
    click.echo(_number(value))
    if math.isnan(value) or explain:
        wide = "float32" if dtype == "float32" else "float64"
        network = space.build(arch).to(getattr(import_module("torch"), wide))
        some = slice(None, None, 1 if explain else max(1, batch.size // 16))  # it is slow
        x = batch.x[some].astype(wide) if space.reads == "images" else batch.x[:, some]
        _explain(network, x, weights, explain, dtype)
    if math.isnan(value) and dtype == "float32":
        click.echo("In float32, that is; --dtype float64 has a wider range", err=True)


def _score_sample(
    space: spaces.Space, names: list[str], dataset: str, weights: tuple[float, float],
    n_archs: int | None, seed: int | None, jobs: int, rebuild: bool, output: Path | None,
) -> None:  # fmt: skip
    """Score a sample as the authors of each metric do."""
    group_of = scoring.groups_of(space.name)
    if missing := [name for name in names if name not in (*group_of, "epsilon")]:
        others = f"but epsilon, {', '.join(group_of)}; --arch takes all metrics"
        raise ValueError(f"no {missing[0]} for a sample of {space.name}, {others}")
    if n_archs is None:
        slow = f"{', '.join(names)}: some take seconds for each architecture"
        raise ValueError(f"{slow}; give --n-archs or --arch")
    _check_labels(names, dataset)
    drawn, own = (proxies.SEED, _SEED) if seed is None else (seed, seed)
    columns, origins = {}, {}
    for group in dict.fromkeys(group_of[name] for name in names if name != "epsilon"):
        given = (space.name, dataset, group, n_archs, drawn)
        frame = cast(pd.DataFrame, scoring.score_group(*given, n_jobs=jobs, rebuild=rebuild))
        for name in frame.columns.intersection(names):
            columns[name], origins[name] = frame[name], frame.attrs["run"]["input"]
    if "epsilon" in names:  # of the same architectures
        archs = sorted(scoring.order(space.name)[:n_archs])
        batch = inputs.batch(dataset, _BATCH_SIZE, own)
        frame = scoring.score(space, batch, weights, archs, n_jobs=jobs, rebuild=rebuild)
        columns["epsilon"], origins["epsilon"] = frame[scoring.pair(weights)], batch.source
    table = pd.DataFrame(columns)[names]
    _write_archs(table, space, output)
    for name in names:
        _summarise(table[name], name, origins[name], space)


def _summarise(scores: pd.Series, metric: str, source: str, space: spaces.Space) -> None:
    """Print the best of a sample."""
    click.echo(f"inputs: {source}")
    others = f"; the others have no {metric}" if scores.isna().any() else ""
    click.echo(f"scored: {scores.notna().sum():,} of {len(scores):,}{others}")
    click.echo(f"best by {metric}:")
    best = scores.nsmallest(5) if proxies.get(metric).lower_is_better else scores.nlargest(5)
    for index, value in best.items():
        click.echo(f"  {value:<11.6g}  {index:>6}  {space.text(space[index])}")


def _number(value: float) -> str:
    return "undefined (no score)" if math.isnan(value) else f"{value:.6g}"


def _write_archs(table: pd.DataFrame, space: spaces.Space, output: Path | None) -> None:
    _write(table.assign(arch=[space.text(space[i]) for i in table.index]), output)


def _write(table: pd.DataFrame | pd.Series, output: Path | None) -> None:
    """Write a CSV file, if one was asked for, whole or not at all."""
    if output is not None:
        temporary = output.with_name(f".{output.name}.part")
        table.to_csv(temporary)
        temporary.replace(output)
        click.echo(f"written: {output}")


@cli.command()
@_SPACE(required=False)
@click.option(
    "--module",
    "modules",
    metavar=_MODULE,
    multiple=True,
    help="In place of SPACE, networks of yours: as for `epsutil module`, or a list of them, or a "
    "function that returns a list. Repeatable.",
)
@_batch(help="As for `epsutil module`; for a SPACE, a KIND.")
@_shown("--rule", type=click.Choice(names_.RULES), default=names_.RULES[0])
@click.option("--n-archs", type=int, help="How many architectures of a SPACE decide; 100.")
@_batch_size(help=f"By default {_BATCH_SIZE}.")
@_seed(default=_SEED)
@_JOBS
@_OUTPUT
def weights(
    space: str | None, modules: tuple[str, ...], kind: str | None, rule: str, n_archs: int | None,
    batch_size: int | None, seed: int, jobs: int, output: Path | None,
) -> None:  # fmt: skip
    """Choose the two weights of epsilon for a space or networks of yours, without training.

    \b
    epsutil weights nasbench201 --batch grey
    epsutil weights --module mypackage.models:all_networks --batch normal
    """  # noqa: D301
    if bool(space) == bool(modules):
        raise ValueError(f"give a search space or --module {_MODULE}, one of the two")
    if space is None and (n_archs is not None or jobs != -1):
        raise ValueError("--n-archs and --jobs go with a search space, not with a --module")
    if space is not None:
        kind = kind or spaces.get(space).dataset
        scoring.check_dataset(space, kind)
    kind = kind or _BATCH
    size = batch_size or (_BATCH_SIZE if kind in inputs.KINDS else None)
    batch = user_modules.load_batch(kind, size, seed)
    source = user_modules.load_modules(modules) if space is None else space
    many = 100 if n_archs is None else n_archs
    chosen, table = weights_.select(
        source, batch.x, rule=rule, n_archs=many, seed=seed, n_jobs=jobs
    )
    table = table.set_index(["w1", "w2"])
    row = table.loc[chosen]
    click.echo(f"inputs: {batch.source}")
    click.echo("--weights {:g} {:g}".format(*chosen))
    click.echo(f"scored: {row['n_scored']:.0f} of {row['n']:.0f}, by the rule {rule!r}")
    _write(table, output)


@cli.command()
@click.option("--table", "file", type=_FILE, required=True, help="A CSV file, a row a network.")
@click.option("--accuracy", required=True, metavar="COLUMN", help="What a search is judged by.")
@click.option("--signal", metavar="COLUMN", help="What it sees; by default the accuracy.")
@click.option("--score", metavar="COLUMN", help="What is known before training.")
@click.option("--archs", metavar="COLUMN", default="arch", help="NAS-Bench-201's strings.")
@_shown("--method", type=click.Choice([*names_.METHODS]), default="random-warmup")
@_shown("--unscored", type=click.Choice(names_.UNSCORED), default="worst", help="Where they rank.")
@_shown("--rounds", type=click.IntRange(1), default=100, help="How many searches.")
@_shown("--steps", type=click.IntRange(1), default=300, help="Trainings in each; pick has one.")
@_shown("--pool", type=click.IntRange(1), default=1000, help="Scored first: pick, *-warmup.")
@_shown("--population", type=click.IntRange(1), default=64, help="Of the methods rea*.")
@_shown("--tournament", type=click.IntRange(1), default=10, help="Of the methods rea*.")
@_seed(default=_SEED)
@_OUTPUT
@click.pass_context
def search(ctx: click.Context, /, file: Path, output: Path | None, **given: Any) -> None:
    """Search on a table of yours, with a score and without.

    \b
    epsutil search --table my.csv --accuracy acc --score epsilon --method rea-warmup
    epsutil search --table my.csv --accuracy test --signal validation --method random

    Shown is the accuracy of the network that has the best signal after so many trainings, and the
    best of all that were trained, which no search knows: median and quartiles over the rounds.
    """  # noqa: D301
    method = given["method"]
    taken = f"file accuracy signal method {names_.METHODS[method]} rounds seed output".split()
    for option in ctx.command.params:
        is_given = ctx.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
        if is_given and option.name not in taken:
            raise ValueError(f"{option.opts[0]} does not go with --method {method}")
    table = table_search.read(file, given["accuracy"], given["score"], given["signal"])
    found = table_search.run(table, **given)
    shown = [n for n in (1, 3, 10, 30, 64, 100, 300, 1000, 3000) if n < len(found)]
    click.echo(found.loc[[*shown, len(found)]].to_string(float_format="{:.3f}".format))
    what = f"{given['accuracy']} by {method}"
    click.echo(f"{what}: median and quartiles (low, high) of {given['rounds']:,} searches")
    _write(found, output)


@cli.command()
@click.argument("notebook")
@click.option(
    "-p",
    "--parameter",
    "given",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="A parameter of the notebook, for example 500 or [1e-7, 1]. Repeatable.",
)
@_shown("--scale", type=click.Choice(names_.SCALES), default="paper")
@click.option("-o", "--output", type=_FILE, help="Results go beside it, into OUTPUT.results.")
def run(notebook: str, given: tuple[tuple[str, str], ...], scale: str, output: Path | None) -> None:
    """Execute one notebook with other parameters.

    NOTEBOOK is its name without .ipynb; its parameters are in its first code cell.
    """
    defaults = parameters.defaults(notebook)
    values = {  # what should be text is taken as it is, even a number
        name: value if isinstance(defaults.get(name), str) else parameters.value(value)
        for name, value in given
    }
    executed = execution.run(notebook, values, output, scale)
    click.echo(f"executed: {executed}")
    click.echo(f"results:  {execution.results_of(output) / notebook}")


@cli.command()
def book() -> None:
    """Execute all notebooks and build the site into _build/html."""
    click.echo(f"built: {site.build()}")


@cli.command()
@click.argument("names", nargs=-1, metavar="[NOTEBOOK]...")
def record(names: tuple[str, ...]) -> None:
    """Execute pages and keep them and their scores in data/ (for maintainers).

    Without a NOTEBOOK all of them. Scores that other code wrote are removed first.
    """
    for path in scoring.remove_outdated(paths.RECORDED_SCORES):
        click.echo(f"outdated, computed anew: {path.name}")
    for folder in site.record(execution.execute_all(paths.RECORDED_SCORES, names)):
        click.echo(f"recorded: {folder}")


@cli.command()
@click.option("-o", "--output", type=_FILE, help="By default _build/epsilon-reproduced.pdf.")
def pdf(output: Path | None) -> None:
    """Print the book as it was last built into one PDF; needs Chromium."""
    click.echo(f"printed: {pdf_.write(output)}")


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit code 2."""
    try:
        code = cli(standalone_mode=False) or 0
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption) and error.option_name == "--module":
            error = click.UsageError(f"a network of yours is scored by: epsutil module {_MODULE}")
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit("stopped; what was scored is kept, the same command continues")
    except (ValueError, OSError) as error:
        message = str(error)
    except sources.SourceError as error:
        message = str(error)
    except execution.BuildError as error:
        if not isinstance(error, execution.NotebookError) or error.ename not in _OF_A_NOTEBOOK:
            sys.exit(f"Error: {error}")
        message = error.evalue
    else:
        sys.exit(code)
    click.echo(f"Error: {' '.join(message.split())}", err=True)  # torch's messages have many lines
    sys.exit(2)


if __name__ == "__main__":
    main()
