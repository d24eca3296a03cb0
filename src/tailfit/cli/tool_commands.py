"""The commands `tailfit doctor` and `tailfit shell-completion`, which concern scripts and shells instead of runs."""

from pathlib import Path
from typing import Annotated

import typer

from tailfit.cli.backends import Backend, choose_backend
from tailfit.cli.importing import imports_uncollected
from tailfit.cli.parameters import JsonOption, Shell

__all__ = ["doctor", "shell_completion"]


def doctor(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="Python script that trains a Keras model.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGUMENTS]", help="Arguments of the script.", show_default=False)
    ] = None,
    backend: Annotated[
        Backend | None, typer.Option(help="Keras backend.  [default: the script's, $KERAS_BACKEND, or keras.json]")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="End the script after this time.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Find the traps of Keras that a plain Keras script steps into.

    The script is run, with all your rights and in the current folder, as by `python SCRIPT`. At each call of fit,
    evaluate or train_on_batch, model, data and arguments are examined. Training is then cut short to a few batches of
    one epoch: numbers that the script prints mean nothing, and are not shown. `History` is filled up to the number of
    epochs. Models and weights that Keras saves go to a temporary folder, so yours are not overwritten; files that the
    script itself writes are written.

    Each finding names the line, what happens silently, numbers from your data, and the fix. Example:

        tailfit doctor train.py -- --epochs 10

    Exits with code 1 for findings, 0 without any, 2 for a script that fails, is not Python, or trains no Keras model.
    """
    if backend is not None:
        choose_backend(backend)
    with imports_uncollected():
        from tailfit.cli.examination import run_doctor

    if not run_doctor(script, arguments or [], timeout, as_json):
        raise typer.Exit(1)


def shell_completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish, powershell or pwsh.")],
) -> None:
    """Print a script with which a shell completes commands and options.

    Example, for bash: tailfit shell-completion bash >> ~/.bashrc
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    typer.echo(get_completion_script(prog_name="tailfit", complete_var="_TAILFIT_COMPLETE", shell=shell.value))
