"""Figures as a table for terminals: evaluations side by side, still readable when piped or without colour."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tailfit.errors import ArgumentError
from tailfit.evaluation.metrics import OVERALL, Figure
from tailfit.names import shown as shown_names
from tailfit.terminal import PlainConsole
from tailfit.text import visible

if TYPE_CHECKING:
    from tailfit.evaluation.evaluation import Evaluation

__all__ = [
    "as_text",
    "best_of",
    "check_comparable",
    "class_order",
    "compare_table",
    "count_text",
    "differences",
    "percent",
    "shown_classes",
    "support_text",
]

UNDEFINED = "–"  # noqa: RUF001 (a dash, as in printed tables)
_NAME_WIDTH = 24
_MOST_ROWS = 100  # classes in a terminal


def compare_table(evaluations: "Mapping[str, Evaluation]") -> Table:
    """Evaluations side by side: recall by class, the most trained class first, then the figures over all.

    Of more than 100 classes, the 50 with most and the 50 with fewest training samples.

    The best of a row is bold and starred. With several evaluations of the same test samples, the last rows
    are each one's paired difference to the first.

    Args:
        evaluations: What to show, by heading.
    Raises:
        ArgumentError: if there is none, or if their classes or training counts differ.

    >>> from tailfit import evaluate
    >>> y = [0, 0, 0, 1]
    >>> both = {"plain": evaluate(y, [0, 0, 0, 0]), "tailored": evaluate(y, y)}
    >>> compare_table(both).row_count  # 2 classes, 5 figures, 5 differences
    12
    """
    first = check_comparable(evaluations)
    shown = list(evaluations.values())
    counted = first.train_counts is not None
    table = Table(caption=_caption(shown), caption_justify="left", show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("class", no_wrap=True, overflow="ellipsis", max_width=_NAME_WIDTH)
    if counted:
        table.add_column("train", justify="right", no_wrap=True, min_width=5)
    table.add_column("test", justify="right", no_wrap=True, min_width=4)
    for heading in evaluations:
        # On a narrow terminal the figures fold onto two lines; the counts beside them never vanish.
        table.add_column(Text(visible(heading), overflow="ellipsis"), justify="right", min_width=14)
    if len(shown) == 1:
        table.add_column("precision", justify="right")
        table.add_column("F1", justify="right")

    blank = [""] * (2 if counted else 1)

    names = shown_names(first.class_names)
    order, left_out = shown_classes(first, _MOST_ROWS)
    for place, k in enumerate(order):
        if left_out and place == len(order) // 2:
            table.add_row(Text(f"… {left_out:,} classes …"), *blank, *[""] * len(shown))
        rows = [evaluation.classes[k] for evaluation in shown]
        counts = [count_text(rows[0].train_count)] if counted else []
        alone = [_number(rows[0].precision), _number(rows[0].f1)] if len(rows) == 1 else []
        recalls = _figures([row.recall for row in rows])
        name = Text(names[k])
        table.add_row(name, *counts, support_text(shown, k), *recalls, *alone, end_section=place == len(order) - 1)
    for key, label in OVERALL.items():
        cells = _figures([evaluation.overall[key] for evaluation in shown])
        if key == "worst_class_recall":
            worst = [names[first.class_names.index(evaluation.worst_class)] for evaluation in shown]
            named = [Text(_clipped(name) + "  ") for name in worst]
            cells = [Text.assemble(cell, "\n", name) for cell, name in zip(cells, named, strict=True)]
        table.add_row(label, *blank, *cells, end_section=key == "accuracy")
    paired = differences(evaluations)
    for key, label in OVERALL.items() if any(paired) else ():
        table.add_row(f"Δ {label}", *blank, *(_difference(gain[key]) if gain else "" for gain in paired))
    return table


def as_text(table: RenderableType, width: int = 100) -> str:
    """The table as plain text, without colour.

    >>> as_text(Text("one"))
    'one'
    """
    options = {"color_system": None, "force_terminal": False, "legacy_windows": False}
    console = PlainConsole(file=io.StringIO(), width=width, **options)
    console.print(table)
    file = console.file
    text = file.getvalue() if isinstance(file, io.StringIO) else ""
    return "\n".join(line.rstrip() for line in text.splitlines())


def check_comparable(evaluations: "Mapping[str, Evaluation]") -> "Evaluation":
    """The first evaluation, if all can stand side by side."""
    if not isinstance(evaluations, Mapping) or not all(hasattr(each, "classes") for each in evaluations.values()):
        raise ArgumentError(
            f"evaluations {evaluations!r}", expected="a dict of them by heading", fix='pass {"model": evaluation}'
        )
    if not evaluations:
        raise ArgumentError("no evaluation", expected="one or more, by heading", fix='pass {"model": evaluation}')
    (heading, first), *others = evaluations.items()
    for other, evaluation in others:
        for what in ("class_names", "train_counts"):
            if getattr(evaluation, what) != getattr(first, what):
                raise ArgumentError(
                    f"evaluations {heading!r} and {other!r} with different {what}",
                    expected="the same classes, in the same order, and the same training counts",
                    fix="evaluate both with the same class_names and train_counts",
                )
    return first


def class_order(evaluation: "Evaluation") -> list[int]:
    """Codes of the classes, most training samples first; test samples where those are not known."""
    counts = evaluation.train_counts or tuple(figures.support for figures in evaluation.classes)
    return sorted(range(len(counts)), key=lambda k: -counts[k])


def shown_classes(evaluation: "Evaluation", most: int) -> tuple[list[int], int]:
    """Codes of the classes to show, in the order of `class_order`, and how many are left out of their middle.

    >>> from tailfit import evaluate
    >>> shown_classes(evaluate([0, 1, 2, 3, 3], [0, 1, 2, 3, 3]), most=2)
    ([3, 2], 2)
    """
    order = class_order(evaluation)
    if len(order) <= most:
        return order, 0
    half = most // 2
    return [*order[:half], *order[-half:]], len(order) - 2 * half


def differences(evaluations: "Mapping[str, Evaluation]") -> list[dict[str, Figure]]:
    """Each evaluation's paired difference to the first; empty for that one and where test samples differ."""
    first, *others = evaluations.values()
    same = [len(other.y_true) == len(first.y_true) and bool((other.y_true == first.y_true).all()) for other in others]
    return [{}, *(other.difference_to(first) if ok else {} for other, ok in zip(others, same, strict=True))]


def best_of(values: Sequence[float]) -> list[bool]:
    """Which of a row to mark: all that are largest, none if all are equal or undefined.

    >>> best_of([0.5, 0.7, 0.7]), best_of([0.7, 0.7])
    ([False, True, True], [False, False])
    """
    known = [value for value in values if value == value]
    marked = [bool(known) and value == max(known) for value in values]
    return marked if not all(marked) else [False] * len(values)


def count_text(count: float | None) -> str:
    """A number of samples: whole where it is."""
    return "" if count is None else f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"


def support_text(evaluations: "Sequence[Evaluation]", k: int) -> str:
    """Test samples of class k; each evaluation's where they differ."""
    return " / ".join(dict.fromkeys(count_text(evaluation.classes[k].support) for evaluation in evaluations))


def percent(confidence: float) -> str:
    """
    >>> percent(0.95)
    '95 %'
    """
    return f"{round(100 * confidence, 6):g} %"


def _caption(shown: "Sequence[Evaluation]") -> Text:
    first = shown[0]
    text = f"Of a class: recall. [{percent(first.confidence)} interval], {first.resamples} resamples a class."
    if len(shown) > 1:
        text += " * best of the row. Δ: difference to the first, paired."
    return Text(text)


def _number(value: float) -> str:
    return UNDEFINED if value != value else f"{value:.3f}"


def _figures(figures: Sequence[Figure]) -> list[Text]:
    best = best_of(figures)
    room = len(figures) > 1  # the star's place stays free where it is not, so that digits align
    return [
        Text(UNDEFINED + "  " * room)
        if figure != figure
        else Text(f"{figure}{' *' if mark else '  ' * room}", style="bold" if mark else "")
        for figure, mark in zip(figures, best, strict=True)
    ]


def _difference(figure: Figure) -> Text:
    clear = figure.low > 0 or figure.high < 0
    return Text(f"{figure:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]  ", style="bold" if clear else "")


def _clipped(text: str) -> str:
    return text if len(text) <= _NAME_WIDTH else text[: _NAME_WIDTH - 1] + "…"
