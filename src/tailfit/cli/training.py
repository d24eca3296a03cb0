"""`tailfit train`: alone, with worker processes on this machine, or as one of the workers of another launcher."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tailfit.cli.progress import hint_when_stopped, progress_bar
from tailfit.cli.reporting import console_of_any_width
from tailfit.distributed import train
from tailfit.distributed.environment import read_environment
from tailfit.distributed.joining import train_joined
from tailfit.errors import TailfitError
from tailfit.processes.messages import exit_code
from tailfit.recipes import Recipe, Run, load_recipe
from tailfit.recipes.document import Document

__all__ = ["run_train"]


def run_train(
    document: Document,
    out: Path,
    modules: Sequence[str],
    fetch: bool,
    verify: bool,
    workers: int | None,
    restarts: int,
    as_json: bool = False,
) -> None:
    """Train a recipe, and print its evaluation. Of several workers, rank 0 prints."""
    recipe = load_recipe(document, modules=modules)
    environment = read_environment(os.environ)
    if environment is not None and environment.rank > 0 and workers is None:
        _train_silently(recipe, out, fetch, verify)
        return
    with hint_when_stopped(), progress_bar(recipe.epochs) as advance:
        run = train(
            recipe,
            out,
            workers=workers,
            restarts=restarts,
            fetch=fetch,
            verify=verify,
            progress=lambda epoch, figures: advance("training", epoch, figures),
        )
    if as_json:
        print(run.evaluation.to_json())
    else:
        _print_run(run, out)


def _train_silently(recipe: Recipe, out: Path, fetch: bool, verify: bool) -> None:
    """Train as one of the workers that do not print; an error that rank 0 prints is not printed again."""
    try:
        train_joined(recipe, out.absolute(), fetch=fetch, verify=verify, everywhere=False)
    except TailfitError as error:
        if getattr(error, "worker", None) is None:
            raise
        sys.exit(exit_code(error))


def _print_run(run: Run, out: Path) -> None:
    console = console_of_any_width()
    console.print(run.evaluation.table())
    again = shlex.join(["tailfit", "evaluate", *(["--"] if str(out).startswith("-") else []), str(out)])
    console.print(f"Written: {out} (open report.html; {again})", soft_wrap=True)
    if run.restarts:
        count = len(run.restarts)
        console.print(f"{count} restart{'s' * (count > 1)}: lost {'; '.join(run.restarts)}", soft_wrap=True)
