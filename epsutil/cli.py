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
from types import SimpleNamespace
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
_BATCH = "normal"  # into a --module
_BATCH_SIZE, _SEED = 256, 21  # of epsilon; the other metrics have their own
_FILE = click.Path(dir_okay=False, path_type=Path)
_shown = partial(click.option, show_default=True)
_SPACE = click.argument("space", type=click.Choice(sorted(names_.SPACES)), required=False)
_seed = partial(click.option, "--seed", type=click.IntRange(0, names_.LARGEST_SEED))


class _SeedOrNone(click.IntRange):
    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return value if value == "none" else super().convert(value, param, ctx)


_batch_size = partial(click.option, "--batch-size", type=click.IntRange(2))
_module = partial(click.option, "--module", metavar="PACKAGE.MODULE:NAME")
_KNOWN = f"By default epsilon. Known: {', '.join(names_.PROXIES)}."


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


class _Several(click.Command):
    """A command whose option --metrics takes several values, as argparse's ``nargs="+"``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        several = False  # whether a word is one more metric
        for word in args:
            if word.startswith("-") or word in names_.SPACES:
                if words[-1:] == ["--metrics"]:
                    raise click.BadOptionUsage(word, "Option '--metrics' requires an argument", ctx)
                several = word.partition("=")[0] == "--metrics"
            elif several and words[-1] != "--metrics":
                words.append("--metrics")
            words.append(word)
        return super().parse_args(ctx, words)


@cli.command(cls=_Several)
@_SPACE
@_module(
    help="In place of SPACE, a network of yours: a torch.nn.Module, its class, or a function "
    "without arguments that returns one. The current folder is importable."
)
@click.option("--metrics", multiple=True, metavar="NAME...", help=_KNOWN)
@click.option(
    "--batch",
    "batch_kind",
    metavar="KIND|FILE",
    help="What to put into the --module: a kind as of --dataset, by default "
    f"{_BATCH}, or a .npz file with x and, if there are any, labels.",
)
@click.option("--image-size", type=click.IntRange(1), help="Pixels a side, for synthetic --batch.")
@click.option(
    "--dataset",
    type=click.Choice(names_.INPUTS),
    help="Where the images or tokens come from; by default cifar10, for nasbench_nlp ptb. grey, "
    "normal, uniform and random_tokens need no data, but nasbench_nlp's architectures do.",
)
@click.option(
    "--weights",
    type=(float, float),
    help="The two constant shared weights of epsilon; by default the paper's for the space "
    "(Table 8), for a --module 1e-7 and 1.",
)
@click.option("--arch", help="Score only this architecture, given as its string.")
@click.option("--n-archs", type=click.IntRange(1), help="Score a random sample of this size.")
@_batch_size(
    help=f"By default {_BATCH_SIZE}; for a --module, and for an --arch by --metrics, "
    f"{names_.BATCH_SIZE}. A sample by --metrics takes each metric's own."
)
@_seed(
    type=_SeedOrNone(0, names_.LARGEST_SEED),
    help=f"By default {_SEED}; for a --module and metrics other than epsilon {names_.SEED}; none "
    "scores a --module's weights as they are.",
)
@_shown("--dtype", type=click.Choice(names_.DTYPES), default="float32")
@_JOBS
@click.option(
    "--explain", is_flag=True, help="Show the range of each module's output; of one network."
)
@click.option("--rebuild", is_flag=True, help="Compute again what is stored.")
@_OUTPUT
@click.pass_context
def score(ctx: click.Context, /, **given: Any) -> None:
    """Score a search space, a sample of it, one architecture, or a network of yours.

    \b
    epsutil score nasbench201 --dataset cifar10 --weights 1e-7 1
    epsutil score nasbench201 --dataset grey \\
        --arch "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|"
    epsutil score nasbench_nlp --dataset random_tokens --n-archs 100
    epsutil score nasbench201 --metrics naswot synflow --n-archs 50
    epsutil score --module mypackage:build_model --metrics epsilon synflow --batch normal

    Metrics other than epsilon take one --arch like a --module: at full width, all on one batch.
    They take a sample as the authors of each do, with its batch size and network.
    """  # noqa: D301
    asked = SimpleNamespace(**given)
    _check_source(asked.space, asked.module)
    names = [name for text in asked.metrics for name in text.split(",") if name] or ["epsilon"]
    names = list(dict.fromkeys(proxies.get(name).name for name in names))
    if asked.arch is not None and asked.n_archs is not None:
        raise ValueError("give --arch or --n-archs, not both")
    if asked.explain and ("epsilon" not in names or (asked.arch or asked.module) is None):
        raise ValueError("--explain is of one network's epsilon: give --module or --arch for it")
    if asked.weights is not None:
        scoring.checked_weights(asked.weights)
    if asked.module is not None:
        _refuse_others(ctx, "--module", "metrics batch_kind image_size weights batch_size seed")
        asked.dataset = asked.batch_kind or _BATCH
        _score_network(asked, None, names)
        return

    if asked.seed == "none":
        raise ValueError("--seed none goes with a --module, which has weights of its own")
    space = spaces.get(asked.space)
    asked.dataset, asked.weights = asked.dataset or space.dataset, asked.weights or space.weights
    scoring.check_dataset(space.name, asked.dataset)
    if names == ["epsilon"]:
        taken = "metrics dataset weights arch n_archs batch_size seed dtype jobs rebuild"
        _refuse_others(ctx, "a search space", taken)
        _score_epsilon(asked, space)
    elif asked.arch is not None:
        _refuse_others(ctx, "--arch by --metrics", "metrics dataset weights arch batch_size seed")
        _score_network(asked, space, names)
    else:
        taken = "metrics dataset weights n_archs seed jobs rebuild"
        _refuse_others(ctx, "a sample by --metrics", taken)
        _score_sample(asked, space, names)


def _check_source(space: str | None, module: str | tuple[str, ...] | None) -> None:
    if bool(space) == bool(module):
        raise ValueError("give a search space or --module PACKAGE.MODULE:NAME, one of the two")


def _refuse_others(ctx: click.Context, what: str, taken: str) -> None:
    """Refuse the options that would have no effect."""
    options = {str(option.name): option.opts[0] for option in ctx.command.params}
    for name, option in options.items():
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in ("space", "module", "output", "explain", *taken.split()):
            valid = ", ".join(options[name] for name in taken.split())
            raise ValueError(f"{option} does not go with {what}, which takes {valid}")


def _check_labels(names: list[str], kind: str) -> None:
    """Refuse metrics that need labels on synthetic images."""
    needy = [name for name in names if proxies.get(name).labels]
    if needy and kind in inputs.IMAGES and kind not in image_files.FILES:
        have = ", ".join(image_files.FILES)
        raise ValueError(f"{needy[0]} needs labels, and {kind} images have none; {have} have")


def _score_network(asked: SimpleNamespace, space: spaces.Space | None, names: list[str]) -> None:
    """Score a user's network or that of an architecture, whose epsilon is of one output."""
    _check_labels(names, asked.dataset)
    seed = proxies.SEED if asked.seed is None else asked.seed
    seed, of_batch = (None, proxies.SEED) if seed == "none" else (seed, seed)
    batch = user_modules.load_batch(asked.dataset, asked.batch_size, of_batch, asked.image_size)
    labelled, values = (batch.x, batch.labels), {}
    if space is None:
        network, others = user_modules.load_module(asked.module), names
    else:
        network = space.network(asked.arch, inputs.classes(asked.dataset))
        others = [name for name in names if name != "epsilon"]
        values["epsilon"] = space.score(asked.arch, batch.x, asked.weights)
    values |= proxies.compute(network, labelled, others, seed, weights=asked.weights or (1e-7, 1.0))
    shape = " x ".join(map(str, batch.x.shape))
    note = "" if asked.batch_kind or space is not None else "; --batch names another"
    click.echo(f"inputs: {batch.source}; {shape}, seed {batch.seed}{note}")
    width = max(map(len, names))
    for name in names:
        click.echo(f"{name:{width}}  {_number(values[name])}")
    _write(pd.Series(values, names, name="value").rename_axis("metric"), asked.output)
    if space is None:
        user_modules.tell_kept(network)
    if asked.explain or math.isnan(values.get("epsilon", 0)):
        _explain(asked, network if space is None else space.build(asked.arch), batch.x)


def _explain(asked: SimpleNamespace, network: Any, x: Any) -> None:
    """Print why there is no epsilon, and where it is asked for all that tells."""
    table = metric_.explain(network, x, asked.weights or (1e-7, 1.0))
    if asked.explain:
        click.echo(table.to_string(index=False))
    if reason := table.attrs["reason"]:
        reason = reason.partition("; the coll")[0] if asked.dtype == "extended" else reason
        click.echo(f"No epsilon, as inputs of shape {tuple(x.shape)} show: {reason}", err=True)


def _score_epsilon(asked: SimpleNamespace, space: spaces.Space) -> None:
    seed = _SEED if asked.seed is None else asked.seed
    batch = inputs.batch(asked.dataset, asked.batch_size or _BATCH_SIZE, seed)
    archs = None if asked.n_archs is None else list(space.sample(asked.n_archs, seed))
    if asked.arch is not None:
        value = space.score(asked.arch, batch.x, asked.weights, asked.dtype)
        click.echo(_number(value))
        if math.isnan(value) or asked.explain:
            wide = "float32" if asked.dtype == "float32" else "float64"
            network = space.build(asked.arch).to(getattr(import_module("torch"), wide))
            some = slice(None, None, 1 if asked.explain else max(1, batch.size // 16))  # it is slow
            x = batch.x[some].astype(wide) if space.reads == "images" else batch.x[:, some]
            _explain(asked, network, x)
        if math.isnan(value) and asked.dtype == "float32":
            click.echo("In float32, that is; --dtype float64 has a wider range", err=True)
        if asked.output is None:
            return
        archs = [space.index(asked.arch)]
    frame = scoring.score(
        space.name, batch, asked.weights, archs, asked.dtype, asked.jobs, asked.rebuild
    )
    _write_archs(frame, space, asked.output)
    if asked.arch is None:
        _summarise(frame[scoring.pair(asked.weights)], "epsilon", batch.source, space)


def _score_sample(asked: SimpleNamespace, space: spaces.Space, names: list[str]) -> None:
    group_of = scoring.groups_of(space.name)
    if missing := [name for name in names if name not in (*group_of, "epsilon")]:
        others = f"but epsilon, {', '.join(group_of)}; --arch takes all metrics"
        raise ValueError(f"no {missing[0]} for a sample of {space.name}, {others}")
    if asked.n_archs is None:
        slow = f"{', '.join(names)}: some take seconds for each architecture"
        raise ValueError(f"{slow}; give --n-archs or --arch")
    _check_labels(names, asked.dataset)
    options = {"n_jobs": asked.jobs, "rebuild": asked.rebuild}
    seed, own = (proxies.SEED, _SEED) if asked.seed is None else (asked.seed, asked.seed)
    columns, origins = {}, {}
    for group in dict.fromkeys(group_of[name] for name in names if name != "epsilon"):
        given = (space.name, asked.dataset, group, asked.n_archs, seed)
        frame = cast(pd.DataFrame, scoring.score_group(*given, **options))
        for name in frame.columns.intersection(names):
            columns[name], origins[name] = frame[name], frame.attrs["run"]["input"]
    if "epsilon" in names:  # of the same architectures
        archs = sorted(scoring.order(space.name)[: asked.n_archs])
        batch = inputs.batch(asked.dataset, _BATCH_SIZE, own)
        frame = scoring.score(space.name, batch, asked.weights, archs, **options)
        columns["epsilon"], origins["epsilon"] = frame[scoring.pair(asked.weights)], batch.source
    table = pd.DataFrame(columns)[names]
    _write_archs(table, space, asked.output)
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
@_SPACE
@_module(
    "modules",
    multiple=True,
    help="In place of SPACE, networks of yours: as for `score`, or a list of them, or a function "
    "that returns a list. Repeatable.",
)
@click.option("--batch", "kind", metavar="KIND|FILE", help="As for `score`; for a SPACE, a KIND.")
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
    _check_source(space, modules)
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
    taken = f"file accuracy signal method {names_.METHODS[method]} rounds seed"
    _refuse_others(ctx, f"--method {method}", taken)
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
