"""A comparison as a table for terminals: one remedy in each row, readable without colour."""

from rich.table import Table
from rich.text import Text

from tailfit.evaluation.comparison_figures import ComparisonFigures
from tailfit.evaluation.group_notes import group_notes, how_computed
from tailfit.evaluation.tables import percent, signed
from tailfit.text import visible

__all__ = ["comparison_notes", "comparison_table"]


def comparison_table(compared: ComparisonFigures) -> Table:
    """Return balanced accuracy, difference to the baseline and verdict of each remedy.

    >>> from tailfit import evaluate
    >>> from tailfit.evaluation import comparison
    >>> one = [evaluate([0, 1], [0, 1])]
    >>> comparison_table(comparison({"plain": one, "tailored": one})).row_count
    2
    """
    caption = Text(" ".join(comparison_notes(compared)))
    table = Table(caption=caption, caption_justify="left", show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("remedy", overflow="fold")
    # On a narrow terminal figures and headings wrap, so that no column disappears.
    table.add_column("balanced accuracy", justify="right")
    table.add_column("difference", justify="right")
    table.add_column("verdict", no_wrap=True)
    table.add_column("macro-F1", justify="right")
    table.add_column("worst class", justify="right")
    verdicts = compared.verdicts
    for name in compared.evaluations:
        figures, worst = compared.figures[name], compared.ranges[name]["worst_class_recall"]
        gain = compared.differences.get(name)
        verdict = verdicts.get(name, "baseline")
        table.add_row(
            Text(visible(name)),
            str(figures["balanced_accuracy"]),
            "" if gain is None else signed(gain["balanced_accuracy"]),
            Text(verdict, style="bold" if verdict in ("helps", "hurts") else ""),
            f"{figures['macro_f1']:.3f}",
            f"{worst:.3f}",
        )
    return table


def comparison_notes(compared: ComparisonFigures) -> list[str]:
    """Return sentences that explain the numbers."""
    number, others = len(compared.seeds), len(compared.differences)
    level = percent(compared.confidence)
    if number > 1:
        notes = [f"Means of {number} seeds; [{level} intervals: other test samples, other seeds]."]
    else:
        notes = [
            f"One seed; [{level} intervals: other test samples only].",
            "They do not cover other trainings: a difference may be due to the seed.",
        ]
    together = f", and all {others} hold simultaneously" if others > 1 else ""
    notes.append(f"Differences to {visible(compared.baseline)!r} are paired{together}.")
    first = compared.evaluations[compared.baseline][0]
    if first.groups is not None and not first.groups.independent:
        notes.append(f"Other test samples: {how_computed(first)}.")
    return [*notes, *group_notes(first)]
