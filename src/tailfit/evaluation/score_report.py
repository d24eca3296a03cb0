"""The views of scores on a page: curves, calibration, abstention and the worst mistakes."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from tailfit.evaluation.curves import PER_RECORDING, RECALLS, ScoreView, cheapest_thresholds, threshold_table
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.pages import as_block, draw
from tailfit.evaluation.pictures import draw_pictures
from tailfit.evaluation.score_charts import (
    MOST_CURVES,
    coverage_chart,
    curve_classes,
    precision_recall_chart,
    reliability_chart,
)

__all__ = ["MOST_MISTAKES", "score_views", "worst_mistakes"]

_MOST_MODELS: Final = 2  # a page of many models would be long; the page of each run has its own views
MOST_MISTAKES: Final = 50
_RATIOS: Final = tuple(float(f"{10 ** (step / 10):.2g}") for step in range(-10, 31))  # 0.1 to 1,000
_SHOWN_RATIOS: Final = (1.0, 10.0, 100.0)  # where no script runs


def score_views(
    evaluations: Mapping[str, EvaluationFigures], pictures: Mapping[int, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Return what the template shows of the scores of each evaluation; nothing for more than two evaluations.

    Args:
        evaluations: The evaluations, by heading.
        pictures: Pictures of samples, by position; see `tailfit.evaluation.pictures`.
    """
    if len(evaluations) > _MOST_MODELS:
        return []
    return [_views(heading, each, pictures or {}) for heading, each in evaluations.items() if each.scores is not None]


def worst_mistakes(evaluation: EvaluationFigures) -> list[int]:
    """Return the positions of the mistakes that the page lists."""
    return [] if evaluation.scores is None else ScoreView.of(evaluation).mistakes(MOST_MISTAKES)["row"].to_list()


def _views(heading: str, evaluation: EvaluationFigures, pictures: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    mistakes = ScoreView.of(evaluation).mistakes(MOST_MISTAKES)
    rows = mistakes["row"].to_list()
    named = [str(each) for each in mistakes["id" if "id" in mistakes.columns else "row"].to_list()]
    drawn = draw_pictures(pictures, rows, named) if any(row in pictures for row in rows) else []
    if "id" in mistakes.columns:
        mistakes = mistakes.drop("row", *({"record", "start"} & set(mistakes.columns)))
    return {
        "heading": heading,
        "precision_recall": draw(
            partial(precision_recall_chart, evaluation), f"Precision against recall of each class, {heading}"
        ),
        "reliability": draw(partial(reliability_chart, evaluation), f"Confidence against accuracy, {heading}"),
        "coverage": draw(partial(coverage_chart, evaluation), f"Accuracy against share of samples decided, {heading}"),
        "thresholds": _threshold_rows(evaluation),
        "costs": _costs(evaluation),
        "recalls": [f"{100 * recall:.0f} %" for recall in RECALLS],
        "curves": MOST_CURVES,
        "curves_left_out": sum(1 for each in evaluation.classes if each.support) > MOST_CURVES,
        "columns": mistakes.columns,
        "pictures": drawn,
        "mistakes": [
            [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in mistakes.iter_rows()
        ],
        "of_windows": evaluation.metadata is not None and {"record", "start"} <= set(evaluation.metadata.columns),
        "per_recording": PER_RECORDING,
        "wrong": int((evaluation.y_true != evaluation.y_pred).sum()),
    }


def _costs(evaluation: EvaluationFigures) -> dict[str, Any]:
    """Return the cheapest thresholds: some for the table, and those of all costs for the slider."""
    table = cheapest_thresholds(ScoreView.of(evaluation), curve_classes(evaluation), _RATIOS)
    number = len(_RATIOS)
    names = table["class"].to_list()[::number]
    cells = [_cost_cells(row) for row in table.iter_rows(named=True)]
    places = [_RATIOS.index(ratio) for ratio in _SHOWN_RATIOS]
    by_ratio = [cells[place::number] for place in range(number)]
    return {
        "ratios": [f"{ratio:,g}" for ratio in _SHOWN_RATIOS],
        "rows": [(name, [cells[number * k + place] for place in places]) for k, name in enumerate(names)],
        "last": number - 1,
        "at": places[1],
        "data": as_block({"ratios": [f"{ratio:,g}" for ratio in _RATIOS], "cells": by_ratio}),
    }


def _cost_cells(row: dict[str, float]) -> list[str]:
    threshold = "no alarm" if row["threshold"] == float("inf") else f"{row['threshold']:.3f}"
    counts = [f"{row[key]:.3g}" for key in ("alarms", "false_alarms", "missed", "cost")]
    return [threshold, f"{100 * row['recall']:.0f} %", *counts]


def _threshold_rows(evaluation: EvaluationFigures) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return class, and threshold, precision and false alarms at each of `RECALLS`."""
    table = threshold_table(ScoreView.of(evaluation), curve_classes(evaluation))
    cells = [
        (f"{row['threshold']:.3f}", f"{row['precision']:.3f}", f"{row['false_alarms']:.3g}")
        for row in table.iter_rows(named=True)
    ]
    names = table["class"].to_list()[:: len(RECALLS)]
    return [(name, cells[len(RECALLS) * k : len(RECALLS) * (k + 1)]) for k, name in enumerate(names)]
