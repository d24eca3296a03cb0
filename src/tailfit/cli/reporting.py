"""`tailfit report`, which needs no Keras."""

from collections.abc import Sequence
from pathlib import Path

from tailfit.errors import DataError
from tailfit.evaluation import Evaluation, compare_table, report
from tailfit.terminal import PlainConsole

__all__ = ["console_of_any_width", "run_report"]


def console_of_any_width() -> PlainConsole:
    """A file or a pipe has no width of its own."""
    console = PlainConsole()
    return console if console.is_terminal else PlainConsole(width=110)


def run_report(runs: Sequence[Path], out: Path, title: str | None) -> None:
    """One page of what several runs have measured."""
    found: dict[str, Evaluation] = {}
    for run in runs:
        path = run / "evaluation.json" if run.is_dir() else run
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path}: {error}",
                expected="the directory of a finished run, or its evaluation.json",
                fix="check the path",
            ) from error
        evaluation = Evaluation.from_json(text)
        name = evaluation.name if evaluation.name not in found else f"{evaluation.name} ({run})"
        found[name] = evaluation
    report(found, out, title=title or "tailfit: runs compared")
    console = console_of_any_width()
    console.print(compare_table(found))
    console.print(f"Written: {out}", soft_wrap=True)
