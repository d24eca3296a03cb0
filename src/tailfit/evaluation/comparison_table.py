"""A comparison as a table for terminals: a remedy a row, readable without colour."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tailfit.evaluation.metrics import Figure
from tailfit.evaluation.tables import percent
from tailfit.text import visible

if TYPE_CHECKING:
    from tailfit.evaluation.comparison import Comparison

__all__ = ["comparison_notes", "comparison_table", "signed"]


def comparison_table(found: "Comparison") -> Table:
    """Balanced accuracy of each remedy, its difference to the baseline, and what follows.

    >>> from tailfit import evaluate
    >>> from tailfit.evaluation import comparison
    >>> one = [evaluate([0, 1], [0, 1])]
    >>> comparison_table(comparison({"plain": one, "tailored": one})).row_count
    2
    """
    caption = Text(" ".join(comparison_notes(found)))
    table = Table(caption=caption, caption_justify="left", show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("remedy", overflow="fold")
    # On a narrow terminal figures and headings fold; no column vanishes.
    table.add_column("balanced accuracy", justify="right")
    table.add_column("difference", justify="right")
    table.add_column("verdict", no_wrap=True)
    table.add_column("macro-F1", justify="right")
    table.add_column("worst class", justify="right")
    verdicts = found.verdicts
    for name in found.evaluations:
        figures, worst = found.figures[name], found.ranges[name]["worst_class_recall"]
        gain = found.differences.get(name)
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


def comparison_notes(found: "Comparison") -> list[str]:
    """What the numbers mean."""
    number, others = len(found.seeds), len(found.differences)
    told = f"Means of {number} seeds" if number > 1 else "One seed"
    notes = [f"{told}; [{percent(found.confidence)} intervals: other test samples" + (", other seeds]." * (number > 1))]
    if number == 1:
        notes = [f"One seed; [{percent(found.confidence)} intervals: other test samples only]."]
        notes.append("Nothing is known of other trainings: a difference may be that of two seeds.")
    together = f", all {others} together" if others > 1 else ""
    notes.append(f"Differences to {visible(found.baseline)!r} are paired{together}.")
    return notes


def signed(gain: Figure) -> str:
    """
    >>> signed(Figure(0.1, 0.05, 0.15))
    '+0.100 [+0.050, +0.150]'
    """
    return f"{gain:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
