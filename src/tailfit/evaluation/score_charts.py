"""Charts of an evaluation's scores: precision against recall, calibration, and abstention."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tailfit.evaluation.charts import Chart
from tailfit.evaluation.curves import (
    PrecisionRecall,
    ScoreView,
    coverage_curve,
    precision_recall_curve,
    reliability_curve,
)
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.metrics import Floats
from tailfit.evaluation.naming import short_labels
from tailfit.evaluation.svg import FAINT, GRID, PALETTE, Drawing, nice_ticks, text_width, tick_text

__all__ = ["MOST_CURVES", "coverage_chart", "curve_classes", "precision_recall_chart", "reliability_chart"]

MOST_CURVES = 12
_MOST_BARS = 20
_MOST_PROBABILITIES = 20_000_000  # samples times classes, above which only shown classes are calibrated
_COLUMNS = 4
Panel = tuple[float, float, float, float]  # left, top, width, height
_BLUE, _ORANGE = PALETTE[1], PALETTE[2]
_UNIT_TICKS = [0.0, 0.5, 1.0]


def curve_classes(evaluation: EvaluationFigures) -> list[int]:
    """Return the classes whose curves are shown: those with the smallest recalls, in the order of the class indices.

    >>> from tailfit import evaluate
    >>> curve_classes(evaluate([0, 1, 1], [0, 1, 0], ["a", "b", "c"]))  # no sample of c
    [0, 1]
    """
    present = [k for k, of_class in enumerate(evaluation.classes) if of_class.support]
    return sorted(sorted(present, key=lambda k: float(evaluation.classes[k].recall))[:MOST_CURVES])


def precision_recall_chart(
    evaluation: EvaluationFigures, *, label: str = "Precision against recall of each class"
) -> Chart:
    """Draw the precision-recall curve of each class, with its prevalence and average precision.

    With more than `MOST_CURVES` classes, it shows those with the smallest recalls.

    Args:
        evaluation: An evaluation with scores.
        label: The text alternative, which the average precisions follow.

    >>> from tailfit import evaluate
    >>> chart = precision_recall_chart(evaluate([0, 1, 0], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]]))
    >>> [row["average_precision"] for row in chart.data]
    [1.0, 1.0]
    """
    view, classes = ScoreView.of(evaluation), curve_classes(evaluation)
    names = short_labels([evaluation.class_names[k] for k in classes], 22)
    curves = [precision_recall_curve(view, k) for k in classes]
    data = tuple(_curve_row(name, curve) for name, curve in zip(names, curves, strict=True))
    summary = ", ".join(f"{row['class']} {row['average_precision']:.2f}" for row in data)
    columns = min(_COLUMNS, len(names))
    width, height, left, top = 176.0, 128.0, 44.0, 26.0
    rows = -(-len(names) // columns)
    full = max(left + columns * (width + 34), 470.0)
    drawing = Drawing(full, rows * (height + 62) + 24, label=f"{label}. Average precision: {summary}")
    for place, (row, curve) in enumerate(zip(data, curves, strict=True)):
        x, y = left + (place % columns) * (width + 34), top + (place // columns) * (height + 62)
        _draw_curve(drawing, (x, y, width, height), row["class"], curve)
    drawing.text(
        left,
        rows * (height + 62) + 16,
        "across: recall; up: precision; dashed: prevalence; number: average precision",
        fill=FAINT,
    )
    return Chart(drawing.svg(), data)


def reliability_chart(
    evaluation: EvaluationFigures, *, label: str = "Confidence against accuracy, and calibration error of each class"
) -> Chart:
    """Draw how often predictions of each confidence are correct, and the calibration error of the worst classes.

    Args:
        evaluation: An evaluation with scores.
        label: The text alternative, which the calibration error follows.

    >>> from tailfit import evaluate
    >>> chart = reliability_chart(evaluate([0, 1, 0], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]]))
    >>> chart.data[0]
    {'kind': 'bin', 'confidence': 0.6, 'accuracy': 0.0, 'low': 0.0, 'high': 0.8533, 'samples': 1}
    """
    view, size = ScoreView.of(evaluation), len(evaluation.class_names)
    many = size * len(evaluation.y_true) > _MOST_PROBABILITIES
    curve = reliability_curve(view, curve_classes(evaluation) if many else None)
    used = np.flatnonzero(curve.samples)
    bins: list[dict[str, Any]] = [
        {
            "kind": "bin",
            "confidence": round(float(curve.confidence[b]), 4),
            "accuracy": round(float(curve.accuracy[b]), 4),
            "low": round(float(curve.low[b]), 4),
            "high": round(float(curve.high[b]), 4),
            "samples": int(curve.samples[b]),
        }
        for b in used.tolist()
    ]
    order = np.argsort(-np.nan_to_num(curve.classwise, nan=-1.0), kind="stable")
    worst = [int(k) for k in order[:_MOST_BARS] if not np.isnan(curve.classwise[k])]
    names = short_labels([evaluation.class_names[k] for k in worst], 22)
    errors = [
        {"kind": "class", "class": name, "error": round(float(curve.classwise[k]), 4)}
        for name, k in zip(names, worst, strict=True)
    ]
    mean = float(np.nanmean(curve.classwise))
    drawing = Drawing(720, 390, label=f"{label}. Calibration error {curve.error:.3f}; mean over classes {mean:.3f}")
    left, top, side = 44.0, 26.0, 250.0
    _unit_panel(drawing, (left, top, side, side))
    drawing.text(left, top - 10, f"accuracy by confidence; calibration error {curve.error:.3f}", fill=FAINT)
    drawing.line([(left, top + side), (left + side, top)], stroke=FAINT, dashes="4 3")
    inside = ~np.isnan(curve.isotonic)
    if inside.sum() > 1:
        points = zip(curve.grid[inside], curve.isotonic[inside], strict=True)
        drawing.line([(left + side * x, top + side * (1 - y)) for x, y in points], stroke=_ORANGE, width=1.6)
    for row in bins:
        x, ends = left + side * row["confidence"], [top + side * (1 - row[key]) for key in ("low", "high")]
        tooltip = f"confidence {row['confidence']:.2f}: {row['accuracy']:.2f} of {row['samples']:,} correct"
        drawing.line([(x, ends[0]), (x, ends[1])], stroke=_BLUE, width=1.6, opacity=0.65)
        drawing.marker("circle", x, top + side * (1 - row["accuracy"]), fill=_BLUE, tooltip=tooltip)
    _draw_histogram(drawing, (left, top + side + 26, side, 44.0), curve.samples.tolist())
    drawing.text(left, top + side + 92, "bars: number of predictions; orange: isotonic fit", fill=FAINT)
    _draw_errors(drawing, names, [float(curve.classwise[k]) for k in worst], 390.0, top, 700.0)
    drawing.text(390.0, top - 10, f"calibration error of classes; mean {mean:.3f}", fill=FAINT)
    return Chart(drawing.svg(), (*bins, *errors))


def coverage_chart(
    evaluation: EvaluationFigures, *, label: str = "Accuracy of the most confident samples, against their share"
) -> Chart:
    """Draw what is gained by leaving the least confident samples to a person.

    Args:
        evaluation: An evaluation with scores.
        label: The text alternative, which some points follow.

    >>> from tailfit import evaluate
    >>> coverage_chart(evaluate([0, 1, 0], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])).data[-1]["accuracy"]
    0.6667
    """
    table = coverage_curve(ScoreView.of(evaluation))
    data = tuple({key: round(float(value), 4) for key, value in row.items()} for row in table.iter_rows(named=True))
    at = [min(data, key=lambda row: abs(row["coverage"] - share)) for share in (0.5, 0.8, 0.9, 1.0)]
    values = "; ".join(f"{row['coverage']:.0%} of the samples: {row['accuracy']:.3f}" for row in at)
    lowest = min(min(row["accuracy"], row["balanced_accuracy"]) for row in data)
    ticks = nice_ticks(min(lowest, 0.95), 1.0, 5)
    ticks = [tick for tick in ticks if tick <= 1.0]
    left, top, width, height = 52.0, 34.0, 520.0, 230.0
    drawing = Drawing(left + width + 24, top + height + 46, label=f"{label}. Accuracy at {values}")
    drawing.vertical_axis(left, left + width, top, top + height, ticks, tick_text(ticks))
    shares = nice_ticks(0, 1, 5)
    drawing.horizontal_axis(left, left + width, top, top + height, shares, [f"{share:.0%}" for share in shares])
    drawing.text(left + width / 2, top + height + 38, "share of the samples decided", fill=FAINT, anchor="middle")
    looks = (("accuracy", _BLUE, ""), ("balanced_accuracy", _ORANGE, "6 3"))
    for place, (key, color, dashes) in enumerate(looks):
        points = [
            (left + width * row["coverage"], top + height * (1 - (row[key] - ticks[0]) / (ticks[-1] - ticks[0])))
            for row in data
        ]
        drawing.line(points, stroke=color, width=1.8, dashes=dashes)
        x = left + 160 * place
        drawing.line([(x, 14), (x + 26, 14)], stroke=color, width=1.8, dashes=dashes)
        drawing.text(x + 32, 18, key.replace("_", " "))
    return Chart(drawing.svg(), data)


def _curve_row(name: str, curve: PrecisionRecall) -> dict[str, Any]:
    recall, precision = curve.thinned(41)
    return {
        "class": name,
        "average_precision": round(curve.average_precision, 4),
        "prevalence": round(curve.prevalence, 6),
        "recall": [round(float(value), 4) for value in recall],
        "precision": [round(float(value), 4) for value in precision],
    }


def _draw_curve(drawing: Drawing, panel: Panel, name: str, curve: PrecisionRecall) -> None:
    x, y, width, height = panel
    _unit_panel(drawing, panel)
    drawing.text(x, y - 8, name)
    drawing.text(x + width, y - 8, f"{curve.average_precision:.2f}", fill=FAINT, anchor="end")
    level = y + height * (1 - curve.prevalence)
    drawing.line([(x, level), (x + width, level)], stroke=FAINT, dashes="3 3")
    recall, precision = curve.thinned()
    # A step: between two recalls, precision is at most that of the larger one.
    points = _steps(np.append(0.0, recall), np.append(precision[:1], precision))
    drawing.line([(x + width * a, y + height * (1 - b)) for a, b in points], stroke=_BLUE, width=1.8)


def _steps(x: Floats, y: Floats) -> list[tuple[float, float]]:
    points = [(float(x[0]), float(y[0]))]
    for k in range(1, len(x)):
        points += [(float(x[k - 1]), float(y[k])), (float(x[k]), float(y[k]))]
    return points


def _unit_panel(drawing: Drawing, panel: Panel) -> None:
    x, y, width, height = panel
    labels = ["0", "0.5", "1"]
    drawing.vertical_axis(x, x + width, y, y + height, _UNIT_TICKS, labels)
    drawing.horizontal_axis(x, x + width, y, y + height, _UNIT_TICKS, labels)


def _draw_histogram(drawing: Drawing, panel: Panel, samples: Sequence[int]) -> None:
    x, y, width, height = panel
    most, step = max(*samples, 1), width / len(samples)
    for place, count in enumerate(samples):
        tall = height * count / most
        tooltip = f"{count:,} predictions"
        drawing.rectangle(x + step * place + 1, y + height - tall, step - 2, tall, fill="#b9c2ca", tooltip=tooltip)
    drawing.line([(x, y + height), (x + width, y + height)], stroke=GRID)


def _draw_errors(
    drawing: Drawing, names: Sequence[str], errors: Sequence[float], left: float, top: float, right: float
) -> None:
    bars = left + max(map(text_width, names), default=0.0) + 10
    step = min(22.0, 330.0 / max(len(names), 1))
    longest = right - bars - 44
    for place, (name, error) in enumerate(zip(names, errors, strict=True)):
        middle = top + step * (place + 0.5)
        length = longest * error / max(*errors, 1e-9)
        drawing.text(bars - 6, middle + 4, name, size=min(12.0, step - 3), anchor="end")
        drawing.rectangle(bars, middle - 0.3 * step, length, 0.6 * step, fill="#b9c2ca")
        drawing.text(bars + length + 5, middle + 4, f"{error:.3f}", size=11, fill=FAINT)
