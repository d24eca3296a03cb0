"""A comparison as a table for terminals: one remedy in each row, readable without colour."""

from rich.table import Table
from rich.text import Text

from tailfit.evaluation.comparison_figures import ComparisonFigures
from tailfit.evaluation.deciding import DECIDE_ON
from tailfit.evaluation.group_notes import group_notes, how_computed
from tailfit.evaluation.tables import percent, signed
from tailfit.text import visible

__all__ = ["comparison_notes", "comparison_table", "validation_text", "verdict_sentences"]


def comparison_table(compared: ComparisonFigures) -> Table:
    """Return balanced accuracy, difference to the baseline and verdict of each remedy.

    >>> from tailfit import evaluate
    >>> from tailfit.evaluation import comparison
    >>> one = [evaluate([0, 1], [0, 1])]
    >>> comparison_table(comparison({"plain": one, "tailored": one})).row_count
    2
    """
    caption = Text(" ".join(comparison_notes(compared)))
    title = None if compared.chosen is None else Text(" ".join(verdict_sentences(compared)), style="default")
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
        header_style="bold",
    )
    table.add_column("remedy", overflow="fold")
    decision = compared.decision
    if decision is not None:
        table.add_column(f"validation: {DECIDE_ON[compared.decide_on]}", justify="right")
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
            Text(visible(name), style="bold" if name == compared.chosen else ""),
            *([] if decision is None else [validation_text(compared, name)]),
            str(figures["balanced_accuracy"]),
            "" if gain is None else signed(gain["balanced_accuracy"]),
            Text(verdict, style="bold" if verdict in ("helps", "hurts") else ""),
            f"{figures['macro_f1']:.3f}",
            f"{worst:.3f}",
        )
    for each in compared.stopped:
        table.add_row(Text(visible(each.name)), f"{each.figure:.3f}", "", "", "stopped", "", "")
    return table


def verdict_sentences(compared: ComparisonFigures) -> list[str]:
    """Return the choice and its reason, as sentences; empty without a choice."""
    return [] if compared.chosen is None else [f"Chosen: {visible(compared.chosen)!r}.", *compared.reasons]


def validation_text(compared: ComparisonFigures, name: str) -> str:
    """Format the deciding figure of a remedy on the validation samples, with a star at the chosen one."""
    if compared.decision is None:
        return ""
    return f"{compared.decision.figures[name]:.3f}{' *' if name == compared.chosen else '  '}"


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
    if compared.decision is not None:
        notes.append("* chosen on the validation samples alone; all other figures are those of the test samples.")
    if compared.stopped:
        stopped = [f"{visible(each.name)!r} ({str(each).removeprefix('stopped ')})" for each in compared.stopped]
        notes.append(f"Stopped by the race, and in no interval: {'; '.join(stopped)}.")
    notes += [f"{visible(name)!r} was left out: {visible(why)}." for name, why in compared.left_out.items()]
    return [*notes, *group_notes(first)]
