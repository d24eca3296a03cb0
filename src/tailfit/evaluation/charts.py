"""The charts of a report, as static SVG together with the data that they show.

A chart shows at most `MOST_CLASSES` classes and `MOST_MODELS` models: more rows can't be read. It has no script, loads
nothing, and uses no identifiers, so that one page can hold any number of charts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.metrics import Codes, Figure, cell_counts
from tailfit.evaluation.naming import short_labels
from tailfit.evaluation.svg import FAINT, GRID, MARKERS, PALETTE, Drawing, nice_ticks, text_width, tick_text
from tailfit.evaluation.tables import class_order, count_text, shown_classes

__all__ = [
    "MOST_CLASSES",
    "MOST_MODELS",
    "Chart",
    "confusion_chart",
    "difference_chart",
    "draw_legend",
    "first_models",
    "legend_rows",
    "look_of",
    "recall_chart",
]

Figures = TypeVar("Figures", bound=EvaluationFigures)
Rows = tuple[dict[str, Any], ...]

MOST_CLASSES = 60
MOST_MODELS = 8

_LABELLED_CELLS = 20  # up to this number of classes, each cell of a confusion matrix has room for its count
_MARGIN = 8.0
_BARS, _PANEL, _GAP = 170.0, 600.0, 14.0  # widths
_BAR_COLOR = "#b9c2ca"
_LIGHT, _DARK = (0xED, 0xF3, 0xF8), (0x08, 0x45, 0x7E)  # shares of 0 and of 1
_CELL_INK = "#14181b"  # differs from INK, which a dark page replaces: cells stay light
_WHITE_TEXT = 0.45  # share from which a cell is dark


@dataclass(frozen=True)
class Chart:
    """A drawn chart; a notebook shows it.

    Attributes:
        svg: One `<svg>` element.
        data: The values that it shows, one dictionary for each mark, ready for JSON.
    """

    svg: str
    data: Rows

    def _repr_html_(self) -> str:
        return self.svg


def recall_chart(
    evaluations: Mapping[str, EvaluationFigures], *, label: str = "Recall of each class with its confidence interval"
) -> Chart:
    """Draw the recall of each class with its interval, next to its number of training samples (test, if unknown).

    With more than `MOST_CLASSES`, the chart shows the classes with most and with fewest training samples; with more
    than `MOST_MODELS`, the first of them.

    Args:
        evaluations: The evaluations to show, by heading.
        label: The text alternative.

    >>> from tailfit import evaluate
    >>> recall_chart({"model": evaluate([0, 1], [0, 1])}).data[0]["recall"]
    1.0
    """
    evaluations = first_models(evaluations)
    first = next(iter(evaluations.values()))
    order, _ = shown_classes(first, MOST_CLASSES)
    names = short_labels([first.class_names[k] for k in order], 28)
    headings = short_labels(list(evaluations), 28)
    counts = [_training_or_test_count(first, k) for k in order]
    data: Rows = tuple(
        {
            "class": name,
            "model": heading,
            "count": count,
            "recall": float(recall),
            "low": recall.low,
            "high": recall.high,
        }
        for heading, evaluation in zip(headings, evaluations.values(), strict=True)
        for name, count, k in zip(names, counts, order, strict=True)
        if (recall := evaluation.classes[k].recall) == recall  # NaN: no test samples
    )

    bars = _MARGIN + max(map(text_width, names)) + _MARGIN
    left = bars + _BARS + _GAP
    right = left + _PANEL
    step = max(22.0, 14.0 * len(headings) + 2)
    legend = legend_rows(headings, right) if len(headings) > 1 else []
    top = _MARGIN + 20.0 * len(legend) + 24
    bottom = top + step * len(names)
    drawing = Drawing(right + 16, bottom + 24, label=label)
    draw_legend(drawing, headings, legend)
    counted = "training samples" if first.train_counts is not None else "test samples"
    drawing.text(bars, top - 8, counted, fill=FAINT)
    drawing.text(left, top - 8, "recall, with interval", fill=FAINT)
    ticks = nice_ticks(0, 1, 5)
    drawing.horizontal_axis(left, right, top, bottom, ticks, [f"{tick:.1f}" for tick in ticks])
    rows = {name: top + step * row for row, name in enumerate(names)}
    _draw_bars(drawing, bars, rows, step, counts)
    for row in data:
        m = headings.index(row["model"])
        y = rows[row["class"]] + step * (0.1 + 0.8 * (m + 0.5) / len(headings))
        at = [left + _PANEL * row[key] for key in ("low", "recall", "high")]
        tooltip = f"{row['class']}: recall {row['recall']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        tooltip = tooltip if len(headings) == 1 else f"{row['model']}, {tooltip}"
        _draw_interval(drawing, at, y, *look_of(m), tooltip)
    return Chart(drawing.svg(), data)


def difference_chart(
    differences: Mapping[str, Figure],
    of_seeds: Mapping[str, Sequence[float]] | None = None,
    *,
    label: str = "Difference of each remedy to the baseline in balanced accuracy, with its interval",
) -> Chart:
    """Draw each remedy's difference to the baseline with its interval, for the first `MOST_CLASSES` remedies.

    Args:
        differences: Remedy minus baseline, by remedy.
        of_seeds: The same for each seed, drawn as dots.
        label: The text alternative.

    >>> difference_chart({"tailored": Figure(0.1, 0.05, 0.15)}).data
    ({'remedy': 'tailored', 'difference': 0.1, 'low': 0.05, 'high': 0.15},)
    """
    shown = dict(list(differences.items())[:MOST_CLASSES])
    names = short_labels(list(shown), 44)
    data: Rows = tuple(
        {"remedy": name, "difference": float(gain), "low": gain.low, "high": gain.high}
        | ({} if of_seeds is None else {"seeds": [float(each) for each in of_seeds[key]]})
        for name, (key, gain) in zip(names, shown.items(), strict=True)
    )
    ends = [end for row in data for end in (row["low"], row["high"], *row.get("seeds", ()))]
    ticks = nice_ticks(min(0.0, *ends), max(0.0, *ends))
    left = _MARGIN + max(map(text_width, names)) + 2 * _MARGIN
    right, top, step = left + 560, _MARGIN, 28.0
    bottom = top + max(60.0, step * len(names))
    step = (bottom - top) / len(names)

    def place(value: float) -> float:
        return left + (right - left) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    drawing = Drawing(right + 24, bottom + 46, label=label)
    drawing.horizontal_axis(left, right, top, bottom, ticks, tick_text(ticks, signed=True))
    drawing.line([(place(0), top), (place(0), bottom)], stroke=FAINT, dashes="3 3")
    drawing.text((left + right) / 2, bottom + 38, "difference in balanced accuracy", fill=FAINT, anchor="middle")
    for i, row in enumerate(data):
        y = top + step * (i + 0.5)
        drawing.text(left - _MARGIN, y + 4, row["remedy"], anchor="end")
        tooltip = f"{row['remedy']}: {row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        at = [place(row[key]) for key in ("low", "difference", "high")]
        for value in row.get("seeds", ()):
            drawing.marker("circle", place(value), y + 8, fill=FAINT, radius=2.0, tooltip=f"one seed: {value:+.3f}")
        _draw_interval(drawing, at, y, PALETTE[1], "circle", tooltip)
    return Chart(drawing.svg(), data)


def confusion_chart(evaluation: EvaluationFigures, *, label: str = "Confusion matrix") -> Chart:
    """Draw the confusion matrix: the shade is the share of the row's class, the number is samples.

    With more than `MOST_CLASSES` classes, the chart shows those that are confused most often.

    Args:
        evaluation: The evaluation to show.
        label: The text alternative.

    >>> from tailfit import evaluate
    >>> confusion_chart(evaluate([0, 0, 1], [0, 1, 1])).data[1]
    {'class': '0', 'predicted': '1', 'samples': 1, 'share': 0.5}
    """
    size = len(evaluation.class_names)
    true, predicted, samples = cell_counts(evaluation.y_true, evaluation.y_pred, size)
    chosen = _most_confused(true, predicted, samples, size)
    order = [k for k in class_order(evaluation) if k in chosen]
    names = short_labels([evaluation.class_names[k] for k in order], 18)
    rank = {k: row for row, k in enumerate(order)}
    cells = sorted(
        (rank[i], rank[j], count)
        for i, j, count in zip(true.tolist(), predicted.tolist(), samples.tolist(), strict=True)
        if i in rank and j in rank
    )
    data: Rows = tuple(
        {
            "class": names[row],
            "predicted": names[column],
            "samples": count,
            "share": round(count / evaluation.classes[order[row]].support, 4),
        }
        for row, column, count in cells
    )

    side = max(8.0, min(40.0, 640 / len(names)))
    font = min(12.0, 0.75 * side)
    longest = max(text_width(name, font) for name in names)
    # Column names are written upwards at 45 degrees, so that they need room above and to the right.
    left, top = _MARGIN + 24 + longest + 6, _MARGIN + 24 + 0.71 * longest + 6
    extent = side * len(names)
    drawing = Drawing(left + extent + 0.71 * longest + _MARGIN, top + extent + _MARGIN, label=label)
    drawing.text(left, _MARGIN + 12, "predicted", fill=FAINT)
    drawing.text(_MARGIN + 12, top + extent / 2, "class", fill=FAINT, anchor="middle", rotate=-90)
    drawing.rectangle(left, top, extent, extent, fill="none", stroke=GRID)
    for row, name in enumerate(names):
        drawing.text(left - 6, top + side * (row + 0.5) + 0.35 * font, name, size=font, anchor="end")
        drawing.text(left + side * (row + 0.5) + 0.25 * font, top - 6, name, size=font, rotate=-45)
    for (row, column, count), values in zip(cells, data, strict=True):
        tooltip = f"{values['class']} predicted as {values['predicted']}: {count_text(count)} ({values['share']:.0%})"
        x, y = left + side * column, top + side * row
        drawing.rectangle(x, y, side, side, fill=_shade(values["share"]), stroke="white", tooltip=tooltip)
    for (row, column, count), values in zip(cells, data, strict=True):
        if len(names) > _LABELLED_CELLS:
            break
        text = count_text(count)
        small = min(11.0, 11.0 * (side - 3) / text_width(text, 11.0))
        x, y = left + side * (column + 0.5), top + side * (row + 0.5) + 0.35 * small
        fill = "white" if values["share"] > _WHITE_TEXT else _CELL_INK
        drawing.text(x, y, text, size=small, fill=fill, anchor="middle")
    return Chart(drawing.svg(), data)


def first_models(evaluations: Mapping[str, Figures]) -> dict[str, Figures]:
    """Return the first `MOST_MODELS` evaluations."""
    return dict(list(evaluations.items())[:MOST_MODELS])


def _training_or_test_count(evaluation: EvaluationFigures, k: int) -> float:
    figures = evaluation.classes[k]
    return float(figures.support if figures.train_count is None else figures.train_count)


def _draw_bars(drawing: Drawing, left: float, rows: Mapping[str, float], step: float, counts: Sequence[float]) -> None:
    """Draw class names and bars of their counts, on a square-root scale."""
    thick = min(0.5 * step, 14.0)
    longest = _BARS - max(text_width(count_text(count), 11) for count in counts) - _MARGIN
    for (name, y), count in zip(rows.items(), counts, strict=True):
        middle = y + step / 2
        drawing.text(left - _MARGIN, middle + 4, name, anchor="end")
        length = longest * float(np.sqrt(count / max(*counts, 1.0)))
        drawing.rectangle(left, middle - thick / 2, length, thick, fill=_BAR_COLOR)
        drawing.text(left + length + 4, middle + 4, count_text(count), size=11, fill=FAINT)


def _draw_interval(drawing: Drawing, at: Sequence[float], y: float, color: str, shape: str, tooltip: str) -> None:
    low, value, high = at
    drawing.line([(low, y), (high, y)], stroke=color, width=1.6, opacity=0.65)
    drawing.marker(shape, value, y, fill=color, tooltip=tooltip)


def legend_rows(headings: Sequence[str], width: float) -> list[list[tuple[int, float]]]:
    """Lay headings out in rows of (index, left edge) that fit a width."""
    rows: list[list[tuple[int, float]]] = [[]]
    x = _MARGIN
    for m, heading in enumerate(headings):
        needed = 16 + text_width(heading) + 18
        if rows[-1] and x + needed > width:
            rows.append([])
            x = _MARGIN
        rows[-1].append((m, x))
        x += needed
    return rows


def draw_legend(drawing: Drawing, headings: Sequence[str], rows: Sequence[Sequence[tuple[int, float]]]) -> None:
    """Draw the marker and the heading of each model, in the rows of `legend_rows`."""
    for i, row in enumerate(rows):
        y = _MARGIN + 20 * i + 8
        for m, x in row:
            color, shape = look_of(m)
            drawing.marker(shape, x + 5, y, fill=color)
            drawing.text(x + 16, y + 4, headings[m])


def look_of(model: int) -> tuple[str, str]:
    """Return the colour and the marker of a model; no two of the first 36 have both in common."""
    shapes = list(MARKERS)
    return PALETTE[model % len(PALETTE)], shapes[(model + model // len(PALETTE)) % len(shapes)]


def _shade(share: float) -> str:
    channels = (round(light + share * (dark - light)) for light, dark in zip(_LIGHT, _DARK, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def _most_confused(true: Codes, predicted: Codes, samples: Codes, size: int) -> set[int]:
    """Return the classes of the largest cells off the diagonal, at most `MOST_CLASSES`."""
    if size <= MOST_CLASSES:
        return set(range(size))
    wrong = true != predicted
    largest = np.argsort(-samples[wrong], kind="stable")
    classes = np.stack([true[wrong][largest], predicted[wrong][largest]], axis=1).reshape(-1).tolist()
    # Where fewer classes are confused, the first ones fill the rest.
    return set(list(dict.fromkeys([*classes, *range(size)]))[:MOST_CLASSES])
