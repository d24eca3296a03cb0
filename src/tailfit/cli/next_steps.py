"""Commands to run next, printed at the end of commands that train."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from tailfit.recipes.recipe import Recipe
from tailfit.terminal import PlainConsole

__all__ = ["after_comparison", "after_suspects", "after_training", "print_next"]

Step = tuple[str, str]  # command and what it is for


def print_next(console: PlainConsole, steps: Sequence[Step]) -> None:
    """Print commands that can be copied, each with what it does as a comment of the shell."""
    width = max(len(command) for command, _ in steps)
    lines = [f"  {command.ljust(width)}  # {what}" for command, what in steps]
    if max(map(len, lines)) > console.width:  # a narrow terminal
        lines = [line for command, what in steps for line in (f"  # {what}", f"  {command}")]
    for line in ("Next:", *lines):
        console.print(line, soft_wrap=True)


def after_training(recipe: Recipe, run: Path) -> list[Step]:
    """Return the steps after a training.

    >>> from tailfit.recipes import load_recipe
    >>> after_training(load_recipe({"data": {"path": "faults"}}), Path("runs/faults"))[0][0]
    'tailfit predict runs/faults NEW_DATA --out predictions.parquet'
    """
    steps = [
        (f"{_command('predict', run)} NEW_DATA --out predictions.parquet", "classes of unlabelled samples"),
        (f"{_command('export', run)} --out {shlex.quote(run.name)}.onnx", "for programs without tailfit and Keras"),
    ]
    file = _file(recipe)
    if file is not None:
        first = [(_command("compare", file), "which remedies help")] if recipe.compare is not None else []
        steps = [*first, *steps, (_command("suspects", file), "labels that are probably wrong")]
    return steps


def after_comparison(recipe: Recipe, comparison: Path, seeds: int) -> list[Step]:
    """Return the steps after a comparison in a directory, with a number of seeds."""
    recommended, file = comparison / "recommended.yaml", _file(recipe)
    steps = []
    if recommended.is_file():
        run = comparison.with_name(f"{comparison.name.removesuffix('-compared')}-recommended")
        steps.append((f"{_command('train', recommended)} --out {_path(run)}", "the chosen remedy"))
    elif file is not None:
        steps.append((f"{_command('compare', file)} --seeds {2 * seeds}", "narrower intervals; finished runs are kept"))
    if file is not None:
        steps.append((_command("suspects", file), "labels that are probably wrong"))
    return steps


def after_suspects(recipe: Recipe) -> list[Step]:
    """Return the steps after a search for doubtful labels: to train, with these weighted down."""
    file = _file(recipe)
    return (
        [] if file is None else [(f"{_command('train', file)} -s weights=label_quality", "doubtful labels count less")]
    )


def _file(recipe: Recipe) -> Path | None:
    """Return the path of the recipe's file as it was given."""
    return Path(recipe.document.name) if recipe.document.lines else None


def _command(name: str, path: Path) -> str:
    return f"tailfit {name} {_path(path)}"


def _path(path: Path) -> str:
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
