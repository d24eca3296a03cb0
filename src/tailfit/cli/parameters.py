"""Arguments and options that several commands have, and the values of others."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tailfit.cli.backends import Backend

__all__ = [
    "BackendOption",
    "DataArgument",
    "FetchOption",
    "JsonOption",
    "ModulesOption",
    "Part",
    "ReaderOptions",
    "RecipeArgument",
    "SetOption",
    "Shell",
    "VerifyOption",
]


class Part(StrEnum):
    """A part of the data of a run."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Shell(StrEnum):
    """Shells with completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"
    PWSH = "pwsh"


DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="Data set: a folder, file or URL that tailfit.data.open reads.")
]
ReaderOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="NAME=VALUE",
        help="Argument of the reader, as JSON or text: -o label=cause, -o 'size=[64, 64]'. Can be repeated.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
RecipeArgument = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="Recipe, a YAML file; see `tailfit recipe schema` for its keys.")
]
BackendOption = Annotated[
    Backend | None,
    typer.Option(help="Keras backend.  [default: the recipe's, $KERAS_BACKEND, or the first one installed]"),
]
ModulesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--module",
        "-m",
        metavar="MODULE",
        help="Python module or .py file with functions that the recipe names. Can be repeated.",
    ),
]
FetchOption = Annotated[bool, typer.Option("--fetch", help="Allow downloading data from URLs.")]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Read all data to check that they have not changed since earlier runs.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Replace a value of the recipe, e.g. -s loss.tau=0.5. Can be repeated.",
    ),
]
