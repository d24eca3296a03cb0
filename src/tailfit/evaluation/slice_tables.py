"""Slices as tables for terminals, and their notes."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.group_intervals import FEW_GROUPS
from tailfit.evaluation.group_notes import MARK
from tailfit.evaluation.metrics import Figure
from tailfit.evaluation.slices import Slice
from tailfit.evaluation.tables import UNDEFINED
from tailfit.names import shown
from tailfit.text import visible

__all__ = ["share_text", "slice_notes", "slice_table", "worst_recall"]


def slice_table(evaluation: EvaluationFigures, column: str) -> Table:
    """Return the slices of a metadata column as a table for `rich.print`."""
    slices = evaluation.slices[column]
    table = Table(
        title=f"By {visible(column)}",
        title_justify="left",
        title_style="bold",
        caption=Text(" ".join(slice_notes(evaluation, column))),
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
        header_style="bold",
    )
    table.add_column(Text(visible(column)), no_wrap=True, overflow="ellipsis", max_width=24)
    trained, grouped = (any(getattr(each, key) is not None for each in slices) for key in ("train", "groups"))
    headings = [*["train"] * trained, "test", *["groups"] * grouped, "classes", "balanced accuracy", "worst class"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=heading != "worst class", overflow="ellipsis")
    names, values = shown(evaluation.class_names), shown([each.value for each in slices])
    for value, each in zip(values, slices, strict=True):
        table.add_row(
            Text(value),
            *[share_text(each.train or 0, [other.train or 0 for other in slices])] * trained,
            share_text(each.test, [other.test for other in slices]),
            *[f"{each.groups or 0:,}"] * grouped,
            f"{each.classes}",
            _figure(each.balanced_accuracy, each.trusted),
            Text(worst_recall(each, names)),
        )
    return table


def slice_notes(evaluation: EvaluationFigures, column: str) -> list[str]:
    """Return the sentences below the table of a column."""
    slices = evaluation.slices[column]
    notes = ["Balanced accuracy of a slice: mean recall of the classes that it has."]
    few = [each.value for each in slices if not each.trusted]
    if few:
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        notes.append(
            f"{MARK} fewer than {FEW_GROUPS} groups: not enough for a trustworthy interval "
            f"({', '.join(shown(few)[:5])}{more})."
        )
    unmeasured = [each.value for each in slices if not each.test]
    if unmeasured:
        notes.append(f"In the training part only: {', '.join(shown(unmeasured)[:5])}.")
    return notes


def share_text(count: int, counts: Sequence[int]) -> str:
    """Format a count and its share.

    >>> share_text(30, [30, 10]), share_text(1, [1, 499]), share_text(0, [0])
    ('30 (75 %)', '1 (0.2 %)', '0')
    """
    percent = 100 * count / max(sum(counts), 1)
    digits = f"{percent:.0f}" if percent >= 1 else f"{percent:.1g}"
    return f"{count:,} ({digits} %)" if count else f"{count:,}"


def worst_recall(of_slice: Slice, names: Sequence[str]) -> str:
    """Return the smallest recall of a slice with the name of its class; empty without test samples."""
    known = [(float(recall), k) for k, recall in enumerate(of_slice.recalls) if recall == recall]
    if not known:
        return ""
    recall, k = min(known)
    return f"{names[k]} {recall:.3f}"


def _figure(figure: Figure, trusted: bool) -> str:
    return UNDEFINED if figure != figure else f"{figure}{'' if trusted else f' {MARK}'}"
