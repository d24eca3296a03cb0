"""Views of one evaluation for notebooks: each function returns an object that shows itself, as on the page.

They need nothing but the evaluation; those of scores need `Evaluation.scores`, which `Evaluation.load` restores. A
chart is SVG (`chart.svg`) with the values that it shows (`chart.data`).

>>> from tailfit import evaluate
>>> from tailfit.evaluation import plot
>>> evaluation = evaluate([0, 1, 0], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]], ["ok", "leak"], ids=["a", "b", "c"])
>>> plot.mistakes(evaluation).table.select("id", "label", "predicted").rows()
[('c', 'ok', 'leak')]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tailfit.evaluation.charts import Chart, confusion_chart, recall_chart
from tailfit.evaluation.curves import PER_RECORDING, ScoreView, cheapest_thresholds, threshold_table
from tailfit.evaluation.curves import confused_pairs as pairs_of
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.metrics import OVERALL
from tailfit.evaluation.score_charts import (
    coverage_chart,
    curve_classes,
    precision_recall_chart,
    reliability_chart,
)
from tailfit.notebook import table_html

__all__ = [
    "Plots",
    "TableView",
    "confused_pairs",
    "confusion",
    "costs",
    "coverage",
    "mistakes",
    "overview",
    "precision_recall",
    "recall",
    "reliability",
    "thresholds",
]


@dataclass(frozen=True, eq=False)
class TableView:
    """A table that shows itself in a notebook.

    Attributes:
        table: The rows.

    >>> TableView(pl.DataFrame({"id": ["<b>"]}))._repr_html_()
    '<table><thead><tr><th>id</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """

    table: pl.DataFrame

    def _repr_html_(self) -> str:
        return table_html(self.table)


def recall(evaluations: EvaluationFigures | Mapping[str, EvaluationFigures]) -> Chart:
    """Draw the recall of each class with its interval, next to its number of training samples.

    Args:
        evaluations: An evaluation, or several by heading.
    """
    return recall_chart(evaluations if isinstance(evaluations, Mapping) else {evaluations.name: evaluations})


def confusion(evaluation: EvaluationFigures) -> Chart:
    """Draw the confusion matrix; with more than 60 classes, of those that are confused most often."""
    return confusion_chart(evaluation)


def confused_pairs(evaluation: EvaluationFigures, most: int = 20) -> TableView:
    """List the pairs of classes that are confused most often, for any number of classes."""
    return TableView(pairs_of(evaluation, most))


def precision_recall(evaluation: EvaluationFigures) -> Chart:
    """Draw precision against recall of each class, with its prevalence; with more than 12 classes, of the worst."""
    return precision_recall_chart(evaluation)


def reliability(evaluation: EvaluationFigures) -> Chart:
    """Draw accuracy against confidence, and the calibration error of each class."""
    return reliability_chart(evaluation)


def thresholds(evaluation: EvaluationFigures) -> TableView:
    """List the trade-off of thresholds: precision and alarms per 1,000 samples of each class for recalls of 50 to 95 %.

    With more than 12 classes, of those with the smallest recalls.
    """
    return TableView(threshold_table(ScoreView.of(evaluation), curve_classes(evaluation)))


def costs(evaluation: EvaluationFigures, ratios: Sequence[float] = (1.0, 10.0, 100.0)) -> TableView:
    """List the cheapest threshold of each class, if a missed sample costs as much as some false alarms.

    With more than 12 classes, of those with the smallest recalls.

    Args:
        evaluation: An evaluation with scores.
        ratios: Costs of a missed sample, in false alarms.
    """
    return TableView(cheapest_thresholds(ScoreView.of(evaluation), curve_classes(evaluation), ratios))


def coverage(evaluation: EvaluationFigures) -> Chart:
    """Draw accuracy against the share of samples that is decided, if the least confident are left to a person."""
    return coverage_chart(evaluation)


def mistakes(evaluation: EvaluationFigures, most: int = 50, per_recording: int | None = PER_RECORDING) -> TableView:
    """List the wrong predictions with the largest margin over the true class, the worst first.

    Args:
        evaluation: An evaluation with scores.
        most: Number of rows.
        per_recording: Largest number of windows of one recording; None for all.
    """
    return TableView(ScoreView.of(evaluation).mistakes(most, per_recording))


@dataclass(frozen=True, eq=False)
class Plots:
    """The views of one evaluation, `evaluation.plot.NAME()`; see the functions of `tailfit.evaluation.plot`.

    Args:
        evaluation: The evaluation.

    >>> from tailfit import evaluate
    >>> evaluate([0, 1, 0], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]]).plot.confused_pairs().table.rows()
    [('0', '1', 1, 0.5)]
    """

    evaluation: EvaluationFigures

    def recall(self) -> Chart:
        """See `tailfit.evaluation.plot.recall`."""
        return recall(self.evaluation)

    def confusion(self) -> Chart:
        """See `tailfit.evaluation.plot.confusion`."""
        return confusion(self.evaluation)

    def confused_pairs(self, most: int = 20) -> TableView:
        """See `tailfit.evaluation.plot.confused_pairs`."""
        return confused_pairs(self.evaluation, most)

    def precision_recall(self) -> Chart:
        """See `tailfit.evaluation.plot.precision_recall`."""
        return precision_recall(self.evaluation)

    def reliability(self) -> Chart:
        """See `tailfit.evaluation.plot.reliability`."""
        return reliability(self.evaluation)

    def thresholds(self) -> TableView:
        """See `tailfit.evaluation.plot.thresholds`."""
        return thresholds(self.evaluation)

    def costs(self, ratios: Sequence[float] = (1.0, 10.0, 100.0)) -> TableView:
        """See `tailfit.evaluation.plot.costs`."""
        return costs(self.evaluation, ratios)

    def coverage(self) -> Chart:
        """See `tailfit.evaluation.plot.coverage`."""
        return coverage(self.evaluation)

    def mistakes(self, most: int = 50, per_recording: int | None = PER_RECORDING) -> TableView:
        """See `tailfit.evaluation.plot.mistakes`."""
        return mistakes(self.evaluation, most, per_recording)


def overview(evaluation: EvaluationFigures) -> str:
    """Return what a notebook shows of an evaluation: the figures over all classes, and the recall of each class."""
    rows = [
        (label, float(figure), figure.low, figure.high)
        for key, label in OVERALL.items()
        for figure in [evaluation.overall[key]]
    ]
    table = pl.DataFrame(rows, orient="row", schema=[evaluation.name or "figure", "value", "low", "high"])
    return table_html(table) + recall(evaluation).svg
