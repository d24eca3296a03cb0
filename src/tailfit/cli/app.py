"""The commands and how their errors reach the user."""

import os
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tailfit
from tailfit.cli.backends import Backend, choose_backend
from tailfit.errors import ArgumentError, DataError, TailfitError
from tailfit.resume.signals import exit_on_sigterm
from tailfit.text import visible

if TYPE_CHECKING:
    from tailfit.recipes.document import Document

__all__ = ["main"]


class Part(StrEnum):
    """Of a run's data."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


app = typer.Typer(
    help="Keras fit() for long-tailed classes, labels of unequal trust, and more samples than memory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tailfit {tailfit.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    # A callback makes typer keep the command's name even while there is one command only.
    del version


@app.command()
def demo(
    backend: Annotated[Backend | None, typer.Option(help="Keras backend; the first installed one if left out.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the records, models and report.")] = Path("tailfit-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Decides all that is random; same seed, same numbers.")] = 0,
) -> None:
    """Train on long-tailed records twice, plainly and tailored, and compare honestly."""
    choose_backend(backend)
    from tailfit.cli.demo import run_demo

    run_demo(out, seed)


_Data = Annotated[str, typer.Argument(help="A folder, file or URL; what tailfit.data.open reads.")]
_Options = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="NAME=VALUE for what reads it, e.g. -o label=cause or -o 'size=[64, 64]'."),
]


@app.command()
def inspect(
    data: _Data,
    partition: Annotated[
        Path | None, typer.Option(help="JSON of part names to IDs: finds records in two parts.")
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(help="Out-of-fold probabilities: .npy [samples, classes], or a table of id and the classes."),
    ] = None,
    option: _Options = None,
) -> None:
    """Sizes, classes, missing readings, unreadable and equal records; ends with 1 if something is wrong."""
    from tailfit.cli.data import run_inspect

    if not run_inspect(data, partition, probabilities, option or []):
        raise typer.Exit(1)


@app.command()
def pack(
    data: _Data,
    out: Annotated[Path, typer.Argument(help="The folder to be made.")],
    option: _Options = None,
) -> None:
    """Write a data set as a few large files that are read at the speed of memory; goes on where it was cut off."""
    from tailfit.cli.data import run_pack

    run_pack(data, out, option or [])


_Recipe = Annotated[Path, typer.Argument(help="A recipe: YAML, see `tailfit recipe schema`.")]
_Backend = Annotated[Backend | None, typer.Option(help="Keras backend; the recipe's, or the first installed one.")]
_Modules = Annotated[
    list[str] | None,
    typer.Option("--module", "-m", help="A module of yours, or a .py file, that the recipe may name functions of."),
]
_Fetch = Annotated[bool, typer.Option("--fetch", help="Fetch the data where the recipe names a URL.")]
_Verify = Annotated[
    bool, typer.Option("--verify", help="Read all of the data to tell whether it is what earlier runs were trained on.")
]
_Set = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="KEY=VALUE in place of the recipe's, e.g. -s loss.tau=0.5.")
]


@app.command()
def train(
    recipe: _Recipe,
    out: Annotated[Path | None, typer.Option(help="The run's directory; runs/NAME of the recipe if left out.")] = None,
    backend: _Backend = None,
    module: _Modules = None,
    fetch: _Fetch = False,
    verify: _Verify = False,
    set: _Set = None,
) -> None:
    """Train a recipe and measure it; the same command again goes on where it was ended."""
    document = _read(recipe, set, backend)
    from tailfit.cli.recipes import run_train

    run_train(document, out or Path("runs") / recipe.stem, module or [], fetch, verify)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The directory of a finished run.")],
    data: Annotated[str | None, typer.Option(help="Other data, of the same classes: a folder, file or URL.")] = None,
    part: Annotated[Part, typer.Option(help="Of the run's own data.")] = Part.TEST,
    out: Annotated[Path | None, typer.Option(help="Write it to a file, .html or .json.")] = None,
    backend: _Backend = None,
    module: _Modules = None,
    fetch: _Fetch = False,
) -> None:
    """Measure a finished run again, on its own data or on others."""
    from tailfit.recipes.directory import claimed

    claim = claimed(run)
    choose_backend(backend or (_named(claim.backend) if claim is not None else None))
    from tailfit.cli.recipes import run_evaluate

    run_evaluate(run, data, part.value, module or [], fetch, out)


@app.command()
def compare(
    recipe: _Recipe,
    out: Annotated[Path | None, typer.Option(help="Of all runs; runs/NAME-compared if left out.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How often each remedy is trained.")] = None,
    backend: _Backend = None,
    module: _Modules = None,
    fetch: _Fetch = False,
    verify: _Verify = False,
    set: _Set = None,
) -> None:
    """Train the remedies of the recipe's `compare` with several seeds, and say which helps, and how surely."""
    document = _read(recipe, set, backend)
    from tailfit.cli.recipes import run_compare

    place = out or Path("runs") / f"{recipe.stem}-compared"
    run_compare(document, place, seeds, module or [], fetch, verify)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Directories of finished runs, measured on the same samples.")],
    out: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Its title.")] = None,
) -> None:
    """One page of several runs side by side, the first as baseline."""
    from tailfit.cli.reporting import run_report

    run_report(runs, out, title)


recipe_app = typer.Typer(help="What a recipe may say.", no_args_is_help=True)
app.add_typer(recipe_app, name="recipe")


@recipe_app.command()
def schema(out: Annotated[Path | None, typer.Option(help="Write it to a file.")] = None) -> None:
    """The JSON schema of a recipe, for editors that complete and check as you type."""
    choose_backend(None)
    from tailfit.cli.recipes import run_schema

    run_schema(out)


@recipe_app.command()
def check(recipe: _Recipe, module: _Modules = None, set: _Set = None, backend: _Backend = None) -> None:
    """Whether a recipe is sound; nothing is opened or trained."""
    document = _read(recipe, set, backend)
    from tailfit.cli.recipes import run_check

    run_check(document, module or [])


def _read(recipe: Path, settings_given: list[str] | None, backend: Backend | None) -> "Document":
    """A recipe's document; the backend that it names is chosen, for Keras is not imported yet."""
    from tailfit.recipes.document import read
    from tailfit.recipes.overriding import changed, settings

    document = changed(read(recipe), settings(settings_given or []))
    named = document.value.get("backend") if isinstance(document.value, dict) else None
    choose_backend(backend or _named(named))
    return document


def _named(backend: object) -> Backend | None:
    return Backend(backend) if isinstance(backend, str) and backend in set(Backend) else None


def _open_standard_files() -> None:
    """Open what a caller has closed of standard input, output and error.

    The next file opened would get such a number: the engine that draws charts fails at one that it takes for its input.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Warnings for users are lines like errors are; those for programmers keep their place."""
    if issubclass(category, UserWarning):
        print(f"tailfit: warning: {visible(str(message))}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno), end="", file=sys.stderr)


def main() -> None:
    """The entry point `tailfit`."""
    _open_standard_files()
    try:
        with warnings.catch_warnings(), exit_on_sigterm():
            warnings.showwarning = _show_warning
            app()
    except (TailfitError, OSError) as error:  # OSError: a full disk, a folder that may not be written
        print(f"tailfit: {visible(str(error))}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentError | DataError) else 1)
