"""The commands and how their errors reach the user."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import tailfit
from tailfit.cli.backends import Backend, choose_backend
from tailfit.errors import ArgumentError, DataError, TailfitError

__all__ = ["main"]

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


@app.command()
def inspect(
    data: Annotated[Path, typer.Argument(help="A packed folder, or one of .npy files.")],
    partition: Annotated[
        Path | None, typer.Option(help="JSON of part names to IDs: finds records in two parts.")
    ] = None,
) -> None:
    """Sizes, classes, missing readings, unreadable and equal records; ends with 1 if something is wrong."""
    from tailfit.cli.data import run_inspect

    if not run_inspect(data, partition):
        raise typer.Exit(1)


@app.command()
def pack(
    data: Annotated[Path, typer.Argument(help="A folder of .npy files.")],
    out: Annotated[Path, typer.Argument(help="The folder to be made.")],
) -> None:
    """Write a data set as a few large files that are read at the speed of memory; goes on where it was cut off."""
    from tailfit.cli.data import run_pack

    run_pack(data, out)


def main() -> None:
    """The entry point `tailfit`."""
    try:
        app()
    except (TailfitError, OSError) as error:  # OSError: a full disk, a folder that may not be written
        print(f"tailfit: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentError | DataError) else 1)
