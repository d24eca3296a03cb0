"""`tailfit train`, `evaluate`, `recipe schema` and `recipe check`."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tailfit.cli.reporting import console_of_any_width
from tailfit.recipes import evaluate_run, load_recipe, schema, train
from tailfit.recipes.document import Document
from tailfit.storage.writing import write_text
from tailfit.terminal import PlainConsole
from tailfit.text import visible

__all__ = ["hint_when_stopped", "run_check", "run_evaluate", "run_schema", "run_train"]

_SHOWN = ("val_balanced_accuracy", "val_loss", "loss", "balanced_accuracy")  # the first two available are shown


def run_train(
    document: Document, out: Path, modules: Sequence[str], fetch: bool, verify: bool, as_json: bool = False
) -> None:
    """Train a recipe, and print its evaluation."""
    recipe = load_recipe(document, modules=modules)
    with hint_when_stopped(), _bar(recipe.epochs) as advance:
        run = train(
            recipe,
            out,
            fetch=fetch,
            verify=verify,
            progress=lambda epoch, figures: advance("training", epoch, figures),
        )
    if as_json:
        print(run.evaluation.to_json())
        return
    console = console_of_any_width()
    console.print(run.evaluation.table())
    again = shlex.join(["tailfit", "evaluate", *(["--"] if str(out).startswith("-") else []), str(out)])
    console.print(f"Written: {out} (open report.html; {again})", soft_wrap=True)


def run_evaluate(
    run: Path, data: str | None, part: Any, modules: Sequence[str], fetch: bool, out: Path | None, as_json: bool = False
) -> None:
    """Evaluate a run, and print or write the evaluation."""
    evaluation = evaluate_run(run, data=data, part=part, modules=modules, fetch=fetch)
    if as_json:
        print(evaluation.to_json())
    else:
        console_of_any_width().print(evaluation.table())
    if out is not None:
        (evaluation.save_html if out.suffix == ".html" else evaluation.save_json)(out)


def run_check(document: Document, modules: Sequence[str]) -> None:
    """Load a recipe, which raises an error if it is invalid, and print that it is valid."""
    recipe = load_recipe(document, modules=modules)
    loss = getattr(recipe.loss, "name", "custom loss")
    console_of_any_width().print(f"{document.name}: valid ({loss}, {recipe.epochs} epochs)")


def run_schema(out: Path | None) -> None:
    """Print or write the JSON schema of recipes."""
    text = json.dumps(schema(), indent=1)
    if out is None:
        print(text)
    else:
        write_text(out, text + "\n")


@contextmanager
def hint_when_stopped() -> Iterator[None]:
    """Print, after Ctrl-C or SIGTERM, the command that continues the run; the exception goes on to the caller."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        command = visible(shlex.join(["tailfit", *sys.argv[1:]]))
        print(f"\ntailfit: stopped. To continue the run, use the same command: {command}", file=sys.stderr)
        raise


@contextmanager
def _bar(epochs: int) -> Iterator[Any]:
    """Show a progress bar for one training after another, with two of their metrics."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=PlainConsole(stderr=True)) as shown:
        task = shown.add_task("", total=epochs, visible=False)

        def advance(what: str, epoch: int, figures: Mapping[str, float]) -> None:
            metrics = ", ".join([f"{key} {figures[key]:.3f}" for key in _SHOWN if key in figures][:2])
            shown.update(task, completed=epoch, visible=True, description=visible(f"{what}: {metrics}"))

        yield advance
