"""`tailfit train`, `evaluate`, `compare`, `recipe schema` and `recipe check`."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tailfit.cli.reporting import console_of_any_width
from tailfit.evaluation.files import write_text
from tailfit.recipes import compare, evaluate_run, load_recipe, schema, train
from tailfit.recipes.document import Document
from tailfit.terminal import PlainConsole
from tailfit.text import visible

__all__ = ["goes_on_from_there", "run_check", "run_compare", "run_evaluate", "run_schema", "run_train"]

_SHOWN = ("val_balanced_accuracy", "val_loss", "loss", "balanced_accuracy")  # two of them


def run_train(document: Document, out: Path, modules: Sequence[str], fetch: bool, verify: bool) -> None:
    """Train, and show what came out."""
    recipe = load_recipe(document, modules=modules)
    with goes_on_from_there(), _bar(recipe.epochs) as advance:
        run = train(
            recipe,
            out,
            fetch=fetch,
            verify=verify,
            progress=lambda epoch, figures: advance("training", epoch, figures),
        )
    console = console_of_any_width()
    console.print(run.evaluation.table())
    again = shlex.join(["tailfit", "evaluate", *(["--"] if str(out).startswith("-") else []), str(out)])
    console.print(f"Written: {out} (open report.html; {again})", soft_wrap=True)


def run_evaluate(run: Path, data: str | None, part: Any, modules: Sequence[str], fetch: bool, out: Path | None) -> None:
    """Measure again, and show it."""
    evaluation = evaluate_run(run, data=data, part=part, modules=modules, fetch=fetch)
    console_of_any_width().print(evaluation.table())
    if out is not None:
        (evaluation.save_html if out.suffix == ".html" else evaluation.save_json)(out)


def run_compare(
    document: Document, out: Path, seeds: int | None, modules: Sequence[str], fetch: bool, verify: bool
) -> None:
    """Train all remedies, and show which helps."""
    recipe = load_recipe(document, modules=modules)
    with goes_on_from_there(), _bar(recipe.epochs) as advance:
        result = compare(
            recipe,
            seeds=seeds,
            directory=out,
            fetch=fetch,
            verify=verify,
            progress=lambda name, seed, epoch, figures: advance(f"{name}, seed {seed}", epoch, figures),
        )
    console = console_of_any_width()
    console.print(result.table())
    console.print(f"Written: {out} (open report.html)", soft_wrap=True)


def run_check(document: Document, modules: Sequence[str]) -> None:
    """Say that a recipe is sound; what is not is an error."""
    recipe = load_recipe(document, modules=modules)
    loss = getattr(recipe.loss, "name", "a loss of yours")
    console_of_any_width().print(f"{document.name}: sound ({loss}, {recipe.epochs} epochs)")


def run_schema(out: Path | None) -> None:
    """The JSON schema of a recipe."""
    text = json.dumps(schema(), indent=1)
    if out is None:
        print(text)
    else:
        write_text(out, text + "\n")


@contextmanager
def goes_on_from_there() -> Iterator[None]:
    """Say, where the command is ended by Ctrl-C or SIGTERM, that nothing is lost; the exit status stays theirs."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        command = visible(shlex.join(["tailfit", *sys.argv[1:]]))
        print(f"\ntailfit: stopped. The same command goes on where it stopped: {command}", file=sys.stderr)
        raise


@contextmanager
def _bar(epochs: int) -> Iterator[Any]:
    """How far a training is, and the next one after it, with what matters of its figures."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=PlainConsole(stderr=True)) as shown:
        task = shown.add_task("", total=epochs, visible=False)

        def advance(what: str, epoch: int, figures: Mapping[str, float]) -> None:
            said = [f"{key} {figures[key]:.3f}" for key in _SHOWN if key in figures][:2]
            shown.update(task, completed=epoch, visible=True, description=visible(f"{what}: {', '.join(said)}"))

        yield advance
