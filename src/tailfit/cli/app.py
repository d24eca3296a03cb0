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


def main() -> None:
    """The entry point `tailfit`."""
    try:
        app()
    except (TailfitError, OSError) as error:  # OSError: a full disk, a folder that may not be written
        print(f"tailfit: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentError | DataError) else 1)
