"""`tailfit train`: alone, with worker processes on this machine, or as one of the workers of another launcher."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tailfit.cli.next_steps import after_training, print_next
from tailfit.cli.progress import hint_when_stopped, training_bar
from tailfit.cli.reporting import console_of_any_width
from tailfit.distributed import train
from tailfit.distributed.environment import read_environment
from tailfit.distributed.joining import worker_with
from tailfit.errors import TailfitError
from tailfit.processes.messages import exit_code
from tailfit.recipes import Recipe, Run, load_recipe
from tailfit.recipes.document import Document
from tailfit.recipes.training import train_as_worker

__all__ = ["run_train"]


def run_train(
    document: Document,
    out: Path,
    *,
    modules: Sequence[str],
    fetch: bool,
    verify: bool,
    workers: int | None,
    ray: str | None,
    restarts: int,
    as_json: bool,
) -> None:
    """Train a recipe, and print its evaluation. Of several workers, rank 0 prints."""

    def load() -> Recipe:
        return load_recipe(document, modules=modules)

    if workers is None and ray is None:
        _train_as_worker(load, out, fetch, verify, as_json)
        return
    recipe = load()
    with hint_when_stopped(), training_bar(recipe.epochs) as advance:
        run = train(
            recipe,
            out,
            workers=workers,
            ray=ray,
            restarts=restarts,
            fetch=fetch,
            verify=verify,
            progress=lambda epoch, figures: advance("training", epoch, figures),
        )
    _print_run(run, out, as_json)


def _train_as_worker(load: Callable[[], Recipe], out: Path, fetch: bool, verify: bool, as_json: bool) -> None:
    """Train alone, or as one of the workers of another launcher, of which rank 0 prints."""
    environment = read_environment(os.environ)
    first = environment is None or environment.rank == 0
    try:
        with worker_with(load) as (_, recipe), ExitStack() as shown:
            progress = None
            if first:
                shown.enter_context(hint_when_stopped())
                advance = shown.enter_context(training_bar(recipe.epochs))
                progress = partial(advance, "training")
            run = train_as_worker(
                recipe, out.absolute(), fetch=fetch, verify=verify, progress=progress, everywhere=False
            )
    except TailfitError as error:
        if first or getattr(error, "worker", None) is None:
            raise
        sys.exit(exit_code(error))  # rank 0 prints it
    if run is not None:
        _print_run(run, out, as_json)


def _print_run(run: Run, out: Path, as_json: bool) -> None:
    if as_json:
        print(run.evaluation.to_json())
        return
    console = console_of_any_width()
    console.print(run.evaluation.summary())
    again = shlex.join(["tailfit", "evaluate", *(["--"] if str(out).startswith("-") else []), str(out)])
    console.print(f"Written: {out} (open report.html; {again})", soft_wrap=True)
    if run.restarts:
        count = len(run.restarts)
        console.print(f"{count} restart{'s' * (count > 1)}: lost {'; '.join(run.restarts)}", soft_wrap=True)
    print_next(console, after_training(run.recipe, out))
