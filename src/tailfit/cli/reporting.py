"""`tailfit report`, which does not need Keras."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailfit.evaluation import Evaluation, compare_table, report
from tailfit.evaluation.of_run import page_of_run
from tailfit.recipes.directory import check_not_of_run
from tailfit.storage.json_text import MOST_JSON
from tailfit.storage.reading import read_text
from tailfit.terminal import PlainConsole

__all__ = ["console_of_any_width", "run_report"]


def console_of_any_width() -> PlainConsole:
    """Return a console as wide as the terminal, or 110 columns wide where the output is a file or a pipe."""
    console = PlainConsole()
    return console if console.is_terminal else PlainConsole(width=110)


def run_report(runs: Sequence[Path], out: Path, title: str | None) -> None:
    """Write a page that compares the evaluations of several runs, and print its table."""
    check_not_of_run(out.absolute())
    found: dict[str, Evaluation] = {}
    for run in runs:
        if run.is_file() or run.suffix == ".json":
            evaluation = Evaluation.from_json(read_text(run, MOST_JSON))
        else:
            evaluation = Evaluation.load(run)
        name = evaluation.name if evaluation.name not in found else f"{evaluation.name} ({run})"
        found[name] = evaluation
    made: dict[str, Any] = {}
    if len(found) == 1 and runs[0].is_dir():
        made = page_of_run(runs[0])
    report(found, out, title=title or ("tailfit: runs compared" if len(found) > 1 else "Evaluation"), **made)
    console = console_of_any_width()
    console.print(compare_table(found) if len(found) > 1 else next(iter(found.values())).summary())
    console.print(f"Written: {out}", soft_wrap=True)
