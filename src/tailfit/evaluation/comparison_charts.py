"""Charts of a comparison: what remedies gain and cost, class by class, and the race on the validation part."""

from typing import Any, Final

from tailfit.evaluation.charts import MOST_CLASSES, MOST_MODELS, Chart, draw_legend, legend_rows, look_of
from tailfit.evaluation.comparison_figures import ComparisonFigures
from tailfit.evaluation.metrics import OVERALL
from tailfit.evaluation.naming import short_labels
from tailfit.evaluation.svg import FAINT, GRID, PALETTE, Drawing, nice_ticks, text_width, tick_text
from tailfit.evaluation.tables import shown_classes

__all__ = ["gains_chart", "gains_of_seeds", "race_chart"]

Rows = tuple[dict[str, Any], ...]

_MARGIN: Final = 8.0
_PANEL: Final = 560.0
_SUMS: Final = ("balanced_accuracy", "accuracy")  # rows below those of the classes


def gains_of_seeds(compared: ComparisonFigures) -> dict[str, list[float]]:
    """Return the difference of each remedy to the baseline in balanced accuracy, for each seed.

    >>> from tailfit import evaluate
    >>> from tailfit.evaluation import comparison
    >>> right, half = evaluate([0, 1], [0, 1]), evaluate([0, 1], [0, 0])
    >>> gains_of_seeds(comparison({"plain": [half, half], "tailored": [half, right]}))
    {'tailored': [0.0, 0.5]}
    """
    old = compared.evaluations[compared.baseline]
    return {
        name: [
            float(new.overall["balanced_accuracy"]) - float(before.overall["balanced_accuracy"])
            for new, before in zip(compared.evaluations[name], old, strict=True)
        ]
        for name in compared.differences
    }


def gains_chart(compared: ComparisonFigures, *, label: str = "Gain and loss of each class by remedy") -> Chart:
    """Draw the difference of each remedy to the baseline: in the recall of each class, and over all classes.

    Classes to the right of 0 gain, those to the left lose. With more than `MOST_CLASSES`, it shows the classes
    with most and with fewest training samples; with more than `MOST_MODELS` remedies, the first of them.

    Args:
        compared: A comparison of at least two remedies.
        label: The text alternative.

    >>> from tailfit import evaluate
    >>> from tailfit.evaluation import comparison
    >>> right, half = evaluate([0, 1], [0, 1]), evaluate([0, 1], [0, 0])
    >>> gains_chart(comparison({"plain": [half, half], "tailored": [right, right]})).data[1]["difference"]
    1.0
    """
    headings, rows, data = _gains(compared)
    ends = [row[end] for row in data for end in ("low", "high")]
    ticks = nice_ticks(min(0.0, *ends), max(0.0, *ends))
    left = _MARGIN + max(map(text_width, rows)) + 2 * _MARGIN
    right, step = left + _PANEL, max(22.0, 13.0 * len(headings) + 4)
    legend = legend_rows(headings, right) if len(headings) > 1 else []
    top = _MARGIN + 20.0 * len(legend) + 8
    bottom = top + step * len(rows)

    def place(value: float) -> float:
        return left + _PANEL * (value - ticks[0]) / (ticks[-1] - ticks[0])

    drawing = Drawing(right + 24, bottom + 46, label=label)
    draw_legend(drawing, headings, legend)
    drawing.horizontal_axis(left, right, top, bottom, ticks, tick_text(ticks, signed=True))
    drawing.line([(place(0), top), (place(0), bottom)], stroke=FAINT, dashes="3 3")
    border = bottom - step * len(_SUMS)
    drawing.line([(_MARGIN, border), (right, border)], stroke=GRID)
    drawing.text((left + right) / 2, bottom + 38, "difference to the baseline", fill=FAINT, anchor="middle")
    for number, name in enumerate(rows):
        drawing.text(left - _MARGIN, top + step * (number + 0.5) + 4, name, anchor="end")
    number_of = {name: number for number, name in enumerate(rows)}
    for row in data:
        m = headings.index(row["remedy"])
        y = top + step * (number_of[row["row"]] + 0.1 + 0.8 * (m + 0.5) / len(headings))
        color, shape = look_of(m)
        tooltip = f"{row['remedy']}, {row['row']}: {row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        drawing.line([(place(row["low"]), y), (place(row["high"]), y)], stroke=color, width=1.6, opacity=0.65)
        drawing.marker(shape, place(row["difference"]), y, fill=color, tooltip=tooltip)
    return Chart(drawing.svg(), data)


def _gains(compared: ComparisonFigures) -> tuple[list[str], list[str], Rows]:
    """Return the names of the remedies, those of the rows, and the differences that the chart shows."""
    first = compared.evaluations[compared.baseline][0]
    order, _ = shown_classes(first, MOST_CLASSES)
    keys = list(compared.differences)[:MOST_MODELS]
    headings = short_labels(keys, 28)
    rows = [*short_labels([first.class_names[k] for k in order], 28), *(OVERALL[key] for key in _SUMS)]
    data = []
    for heading, key in zip(headings, keys, strict=True):
        of_classes = [compared.recall_differences[key][k] for k in order]
        gains = [*of_classes, *(compared.differences[key][figure] for figure in _SUMS)]
        data += [
            {"row": name, "remedy": heading, "difference": float(gain), "low": gain.low, "high": gain.high}
            for name, gain in zip(rows, gains, strict=True)
            if gain == gain  # NaN: no test samples
        ]
    return headings, rows, tuple(data)


def race_chart(
    compared: ComparisonFigures, *, label: str = "The race: deciding figure when each remedy was stopped"
) -> Chart:
    """Draw the deciding figure on the validation part of the remedies that a race has stopped, and of the others.

    Args:
        compared: A comparison with a decision.
        label: The text alternative.
    """
    figures = {} if compared.decision is None else compared.decision.figures
    entries = [(name, float(figure), "trained to the end") for name, figure in figures.items()]
    entries += [(each.name, each.figure, str(each)) for each in compared.stopped]
    entries = entries[:MOST_CLASSES]
    names = short_labels([name for name, _, _ in entries], 44)
    data: Rows = tuple(
        {"remedy": name, "figure": figure, "trained": trained}
        for name, (_, figure, trained) in zip(names, entries, strict=True)
    )
    values = [row["figure"] for row in data]
    ticks = nice_ticks(min(values), max(values), 5)
    left = _MARGIN + max(map(text_width, names)) + 2 * _MARGIN
    width, step, top = 330.0, 24.0, _MARGIN
    bottom = top + step * len(names)
    notes = left + width + 14
    longest = 1.15 * max(text_width(row["trained"], 11) for row in data)
    drawing = Drawing(notes + longest + _MARGIN, bottom + 24, label=label)
    drawing.horizontal_axis(left, left + width, top, bottom, ticks, tick_text(ticks))
    for number, row in enumerate(data):
        y, finished = top + step * (number + 0.5), row["remedy"] in names[: len(figures)]
        x = left + width * (row["figure"] - ticks[0]) / (ticks[-1] - ticks[0])
        drawing.text(left - _MARGIN, y + 4, row["remedy"], anchor="end")
        drawing.marker("circle" if finished else "cross", x, y, fill=PALETTE[1] if finished else PALETTE[0])
        drawing.text(notes, y + 4, row["trained"], size=11, fill=FAINT)
    return Chart(drawing.svg(), data)
