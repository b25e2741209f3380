"""The command line: fetch data, score architectures, run a notebook, build the book.

Options are checked before any work; a mistake is one line and exit code 2.
"""

import logging
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import yaml

from epsutil import inputs, notebooks, paths, results, scoring, sources, spaces

_WRONG_INPUT = (ValueError, sources.SourceError, FileNotFoundError)
# What a notebook may end with for the same reasons.
_WRONG_INPUT_NAMES = ("ValueError", "SourceError", "StoreError", "FileNotFoundError")


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
    if list_only:
        for source in sources.SOURCES.values():
            where = "here" if sources.available(source.name) else source.url or "to be supplied"
            size = f"{source.size / 1e6:.1f} MB" if source.size else "-"
            click.echo(f"{source.name:48} {size:>11}  {where}")
        return
    wanted = names or tuple(
        name
        for name, source in sources.SOURCES.items()
        if (source.url and not source.optional) or sources.available(name)
    )
    for path in sources.fetch(*wanted):
        click.echo(path)


@cli.command()
@click.argument("space", type=click.Choice(spaces.names()))
@click.option(
    "--dataset",
    type=click.Choice(inputs.KINDS),
    help="Where the images or tokens come from; by default cifar10, for nasbench_nlp ptb. grey, "
    "normal, uniform and random_tokens need no data.",
)
@click.option(
    "--weights",
    type=float,
    nargs=2,
    help="The two constant shared weights; by default the paper's for the space (Table 8).",
)
@click.option("--arch", help="Score only this architecture, given as its string.")
@click.option("--n-archs", type=click.IntRange(1), help="Score a random sample of this size.")
@click.option("--batch-size", type=click.IntRange(2), default=256, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=21, show_default=True)
@click.option("--dtype", type=click.Choice(scoring.DTYPES), default="float32", show_default=True)
@click.option(
    "--jobs", type=int, default=-1, show_default=True, help="Processes; -1 is one per core."
)
@click.option("--rebuild", is_flag=True, help="Compute again what is stored.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the scores to this CSV file.",
)
def score(
    space: str,
    dataset: str | None,
    weights: tuple[float, float] | None,
    arch: str | None,
    n_archs: int | None,
    batch_size: int,
    seed: int,
    dtype: str,
    jobs: int,
    rebuild: bool,
    output: Path | None,
) -> None:
    """Score a search space, a sample of it or one architecture with epsilon.

    \b
    epsutil score nasbench201 --dataset cifar10 --weights 1e-7 1
    epsutil score nasbench201 --dataset grey \\
        --arch "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|"
    epsutil score nasbench_nlp --dataset random_tokens --n-archs 100
    """  # noqa: D301
    space_ = spaces.get(space)
    weights = weights or space_.weights
    archs = None
    if n_archs is not None:
        if arch is not None:
            raise ValueError("give --arch or --n-archs, not both")
        archs = list(scoring.sample(space, n_archs, seed))
    if output is not None and not output.absolute().parent.is_dir():
        raise ValueError(f"--output: there is no folder {output.absolute().parent}")
    batch = inputs.batch(dataset or inputs.kinds(space)[0], batch_size, seed)
    if arch is not None:
        value = space_.score(arch, batch.x, weights, dtype)
        click.echo("undefined (no score)" if math.isnan(value) else f"{value:.6g}")
        if output is None:
            return
        archs = [space_.index(arch)]
    frame = scoring.score(space, batch, weights, archs, dtype, n_jobs=jobs, rebuild=rebuild)
    if output is not None:
        temporary = output.with_name(f".{output.name}.part")
        frame.assign(arch=[space_.text(space_[i]) for i in frame.index]).to_csv(temporary)
        temporary.replace(output)
        click.echo(f"written: {output}")
    if arch is None:
        _summarise(frame, scoring.pair(weights), batch.source, space_)


def _summarise(frame: Any, name: str, source: str, space: spaces.Space) -> None:
    scored = frame[name].notna().sum()
    click.echo(f"inputs: {source}")
    click.echo(f"scored: {scored:,} of {len(frame):,}; the others have no epsilon")
    click.echo("best by epsilon:")
    for index, value in frame[name].nlargest(5).items():
        click.echo(f"  {value:.4f}  {index:>6}  {space.text(space[index])}")


@cli.command()
@click.argument("notebook")
@click.option(
    "-p",
    "--parameter",
    "given",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="A parameter of the notebook; VALUE is YAML, for example 500 or [1e-7, 1]. Repeatable.",
)
@click.option("--scale", type=click.Choice(notebooks.SCALES), default="quick", show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The executed notebook; by default _build/runs/NOTEBOOK.ipynb.",
)
def run(notebook: str, given: tuple[tuple[str, str], ...], scale: str, output: Path | None) -> None:
    """Execute one notebook with other parameters.

    NOTEBOOK is its name without .ipynb; its parameters are in its first code cell.
    """
    defaults = notebooks.parameters(notebook)
    values = {  # a text is taken as it is: YAML would stumble over an architecture's |
        name: value if isinstance(defaults.get(name), str) else _yaml(value)
        for name, value in given
    }
    executed = notebooks.run(notebook, values, output, scale)
    click.echo(f"executed: {executed}")
    click.echo(f"results:  {paths.results() / notebook}")


def _yaml(text: str) -> Any:
    """Read a value as YAML, and as a number where YAML 1.1 sees text (1e-7)."""

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(element) for element in value]
        try:
            return float(value) if isinstance(value, str) else value
        except ValueError:
            return value

    try:
        return number(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"not a value: {text!r} ({' '.join(str(error).split())})") from error


@cli.command()
@click.option("--scale", type=click.Choice(notebooks.SCALES), default="quick", show_default=True)
def book(scale: str) -> None:
    """Execute all notebooks and build the site into _build/html."""
    click.echo(f"built: {notebooks.build(scale)}")


@cli.command()
@click.argument("names", nargs=-1, metavar="[NOTEBOOK]...")
def record(names: tuple[str, ...]) -> None:
    """Recompute at the paper's scale and keep scores and results in data/ (for maintainers).

    Without a NOTEBOOK all of them. Scores that other code wrote are removed first.
    """
    for path in scoring.remove_outdated(paths.RECORDED_SCORES):
        click.echo(f"outdated, computed anew: {path.name}")
    os.environ["EPSUTIL_SCORES"] = str(paths.RECORDED_SCORES)
    executed = notebooks.execute_all("paper", paths.RECORDED_SCORES, names)
    for folder in results.record(tuple(executed)):
        click.echo(f"recorded: {folder}")


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit code 2."""
    _guarded(lambda: cli(standalone_mode=False))


def _guarded(command: Callable[[], Any]) -> None:
    try:
        sys.exit(command() or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit("stopped; what was scored is kept, the same command continues")
    except notebooks.NotebookError as error:
        if error.ename not in _WRONG_INPUT_NAMES:
            sys.exit(f"Error: {error}")
        _fail(error.evalue)
    except notebooks.BuildError as error:
        sys.exit(f"Error: {error}")
    except _WRONG_INPUT as error:
        _fail(str(error))


def _fail(message: str) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
