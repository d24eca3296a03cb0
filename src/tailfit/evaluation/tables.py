"""Evaluations side by side as a table for terminals, readable without colour and when piped to a file."""

import io
from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tailfit.errors import ArgumentError
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.group_notes import MARK, group_notes, groups_text, how_computed
from tailfit.evaluation.metrics import OVERALL, Figure
from tailfit.names import shown as shown_names
from tailfit.terminal import PlainConsole
from tailfit.text import visible

__all__ = [
    "UNDEFINED",
    "as_text",
    "best_of",
    "check_comparable",
    "class_order",
    "compare_table",
    "count_text",
    "excludes_zero",
    "paired_differences",
    "percent",
    "shown_classes",
    "signed",
    "support_text",
]

UNDEFINED = "–"  # noqa: RUF001 (an en dash, as in printed tables)
_NAME_WIDTH = 24
_MOST_ROWS = 100  # classes in a terminal


def compare_table(evaluations: Mapping[str, EvaluationFigures]) -> Table:
    """Return evaluations side by side: the recall of each class, most training samples first, then all classes.

    With more than 100 classes, the table shows the 50 with most and the 50 with fewest training samples.

    The best value of a row is bold and starred. For evaluations of the same test samples, the last rows are the
    paired differences to the first evaluation.

    Args:
        evaluations: The evaluations to show, by heading.
    Raises:
        ArgumentError: If there are none, or if their classes or training counts differ.

    >>> from tailfit import evaluate
    >>> y = [0, 0, 0, 1]
    >>> both = {"plain": evaluate(y, [0, 0, 0, 0]), "tailored": evaluate(y, y)}
    >>> compare_table(both).row_count  # 2 classes, 5 figures, 5 differences
    12
    """
    first = check_comparable(evaluations)
    shown = list(evaluations.values())
    counted, grouped = first.train_counts is not None, any(each.groups is not None for each in shown)
    table = _empty_table(list(evaluations), shown, counted, grouped)
    blank = [""] * (1 + counted + grouped)
    names = shown_names(first.class_names)
    order, left_out = shown_classes(first, _MOST_ROWS)
    for place, k in enumerate(order):
        if left_out and place == len(order) // 2:
            table.add_row(Text(f"… {left_out:,} classes …"), *blank, *[""] * len(shown))
        row = _class_row(shown, k, counted, grouped)
        table.add_row(Text(names[k]), *row, end_section=place == len(order) - 1)
    for key, label in OVERALL.items():
        cells = _with_stars([evaluation.overall[key] for evaluation in shown])
        if key == "worst_class_recall":
            worst = [names[first.class_names.index(evaluation.worst_class)] for evaluation in shown]
            lines = [Text(_clipped(name) + "  ") for name in worst]
            cells = [Text.assemble(cell, "\n", line) for cell, line in zip(cells, lines, strict=True)]
        table.add_row(label, *blank, *cells, end_section=key == "accuracy")
    paired = paired_differences(evaluations)
    for key, label in OVERALL.items() if any(paired) else ():
        table.add_row(f"Δ {label}", *blank, *(_difference(gain[key]) if gain else "" for gain in paired))
    return table


def as_text(table: RenderableType, width: int = 100) -> str:
    """Render a table as plain text without colour.

    >>> as_text(Text("one"))
    'one'
    """
    options = {"color_system": None, "force_terminal": False, "legacy_windows": False}
    console = PlainConsole(file=io.StringIO(), width=width, **options)
    console.print(table)
    file = console.file
    text = file.getvalue() if isinstance(file, io.StringIO) else ""
    return "\n".join(line.rstrip() for line in text.splitlines())


def check_comparable(evaluations: Mapping[str, EvaluationFigures]) -> EvaluationFigures:
    """Check that evaluations can be shown side by side, and return the first one.

    Raises:
        ArgumentError: If there are none, or if their classes or training counts differ.
    """
    fix = 'pass a dict such as {"model": evaluation}'
    if not isinstance(evaluations, Mapping) or not all(
        isinstance(each, EvaluationFigures) for each in evaluations.values()
    ):
        raise ArgumentError(f"evaluations={evaluations!r:.200}", expected="a dict of evaluations by heading", fix=fix)
    if not evaluations:
        raise ArgumentError("no evaluations", expected="at least one evaluation", fix=fix)
    (heading, first), *others = evaluations.items()
    for other, evaluation in others:
        for attribute in ("class_names", "train_counts"):
            if getattr(evaluation, attribute) != getattr(first, attribute):
                raise ArgumentError(
                    f"evaluations {heading!r} and {other!r} with different {attribute}",
                    expected="the same classes, in the same order, and the same training counts",
                    fix="evaluate both with the same class_names and train_counts",
                )
    return first


def class_order(evaluation: EvaluationFigures) -> list[int]:
    """Return class indices, most training samples first (most test samples, if training counts are unknown)."""
    counts = evaluation.train_counts or tuple(figures.support for figures in evaluation.classes)
    return sorted(range(len(counts)), key=lambda k: -counts[k])


def shown_classes(evaluation: EvaluationFigures, most: int) -> tuple[list[int], int]:
    """Return the class indices to show, in the order of `class_order`, and how many are left out of the middle.

    >>> from tailfit import evaluate
    >>> shown_classes(evaluate([0, 1, 2, 3, 3], [0, 1, 2, 3, 3]), most=2)
    ([3, 2], 2)
    """
    order = class_order(evaluation)
    if len(order) <= most:
        return order, 0
    half = most // 2
    return [*order[:half], *order[-half:]], len(order) - 2 * half


def paired_differences(evaluations: Mapping[str, EvaluationFigures]) -> list[dict[str, Figure]]:
    """Return each evaluation's differences to the first; empty for the first, and for different test samples."""
    first, *others = evaluations.values()
    same = [other.same_samples(first) for other in others]
    return [{}, *(other.difference_to(first) if ok else {} for other, ok in zip(others, same, strict=True))]


def best_of(values: Sequence[float]) -> list[bool]:
    """Mark the largest values of a row; none if all are equal or undefined.

    >>> best_of([0.5, 0.7, 0.7]), best_of([0.7, 0.7])
    ([False, True, True], [False, False])
    """
    known = [value for value in values if value == value]
    marked = [bool(known) and value == max(known) for value in values]
    return marked if not all(marked) else [False] * len(values)


def excludes_zero(gain: Figure) -> bool:
    """Return whether the interval of a difference excludes 0."""
    return gain.low > 0 or gain.high < 0


def signed(gain: Figure) -> str:
    """Format a difference with its interval.

    >>> signed(Figure(0.1, 0.05, 0.15))
    '+0.100 [+0.050, +0.150]'
    """
    return f"{gain:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def count_text(count: float | None) -> str:
    """Format a number of samples, with one decimal if it is not whole; empty for None."""
    return "" if count is None else f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"


def support_text(evaluations: Sequence[EvaluationFigures], k: int) -> str:
    """Format the number of test samples of class k, for each evaluation if they differ."""
    return " / ".join(dict.fromkeys(count_text(evaluation.classes[k].support) for evaluation in evaluations))


def percent(confidence: float) -> str:
    """Format a confidence level.

    >>> percent(0.95)
    '95 %'
    """
    return f"{round(100 * confidence, 6):g} %"


def _empty_table(headings: Sequence[str], shown: Sequence[EvaluationFigures], counted: bool, grouped: bool) -> Table:
    table = Table(caption=_caption(shown), caption_justify="left", show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("class", no_wrap=True, overflow="ellipsis", max_width=_NAME_WIDTH)
    if counted:
        table.add_column("train", justify="right", no_wrap=True, min_width=5)
    table.add_column("test", justify="right", no_wrap=True, min_width=4)
    if grouped:
        table.add_column("groups", justify="right", no_wrap=True, min_width=6)
    for heading in headings:
        # On a narrow terminal the figures wrap onto two lines; the counts stay visible.
        table.add_column(Text(visible(heading), overflow="ellipsis"), justify="right", min_width=14)
    if len(shown) == 1:
        table.add_column("precision", justify="right")
        table.add_column("F1", justify="right")
    return table


def _caption(shown: Sequence[EvaluationFigures]) -> Text:
    first = shown[0]
    text = f"Rows of classes: recall. [{percent(first.confidence)} interval] {how_computed(first)}."
    if len(shown) > 1:
        text += " * best of the row. Δ: paired difference to the first column."
    return Text(" ".join([text, *group_notes(first)]))


def _class_row(shown: Sequence[EvaluationFigures], k: int, counted: bool, grouped: bool) -> list[str | Text]:
    figures = [evaluation.classes[k] for evaluation in shown]
    counts = [count_text(figures[0].train_count)] if counted else []
    # With one evaluation there is room for precision and F1.
    more = [_number(figures[0].precision), _number(figures[0].f1)] if len(figures) == 1 else []
    groups = [" / ".join(dict.fromkeys(groups_text(each, k) for each in shown))] if grouped else []
    recalls = _with_stars([each.recall for each in figures], [each.trusted for each in figures])
    return [*counts, support_text(shown, k), *groups, *recalls, *more]


def _number(value: float) -> str:
    return UNDEFINED if value != value else f"{value:.3f}"


def _with_stars(figures: Sequence[Figure], trusted: Sequence[bool] = ()) -> list[Text]:
    """Format the figures of a row, with a star at the best; without one its place stays blank, so that digits align.

    Args:
        figures: The figures.
        trusted: Whether the interval of each can be trusted; by default, all can.
    """
    star, doubt = len(figures) > 1, not all(trusted)
    texts = []
    for place, (figure, best) in enumerate(zip(figures, best_of(figures), strict=True)):
        mark = (MARK if figure == figure and not trusted[place] else " ") if doubt else ""
        suffix = mark + (" *" if best else "  " * star)
        texts.append(Text(f"{UNDEFINED if figure != figure else figure}{suffix}", style="bold" if best else ""))
    return texts


def _difference(gain: Figure) -> Text:
    return Text(f"{signed(gain)}  ", style="bold" if excludes_zero(gain) else "")


def _clipped(text: str) -> str:
    return text if len(text) <= _NAME_WIDTH else text[: _NAME_WIDTH - 1] + "…"
