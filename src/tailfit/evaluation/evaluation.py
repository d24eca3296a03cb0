"""`evaluate`: labels and scores in, an `Evaluation` out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from tailfit.arguments import checked_choice, checked_number, whole_number
from tailfit.data.tables.reading import read_table
from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation.evaluation_report import report
from tailfit.evaluation.figures import ClassFigures, EvaluationFigures
from tailfit.evaluation.group_intervals import GroupedPredictions
from tailfit.evaluation.grouping import checked_grouping, checked_ids, checked_metadata, group_counts, ids_digest
from tailfit.evaluation.inputs import check_options, checked_train_counts, class_indices
from tailfit.evaluation.intervals import jeffreys, overall_figures
from tailfit.evaluation.metrics import Figure, class_counts, class_metrics, read_only
from tailfit.evaluation.plot import Plots, overview
from tailfit.evaluation.recordings import joined, measured_events, recordings_of, single_labels
from tailfit.evaluation.samples import Samples, score_matrix
from tailfit.evaluation.slices import TrainMetadata, slicings_of
from tailfit.evaluation.stored import (
    EVALUATION_FILE,
    PREDICTIONS_FILE,
    as_parquet,
    predictions_table,
    with_predictions,
)
from tailfit.evaluation.summaries import summaries
from tailfit.evaluation.tables import as_text, compare_table
from tailfit.storage.json_text import MOST_JSON
from tailfit.storage.reading import read_text
from tailfit.storage.writing import write_parts, write_text

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation(EvaluationFigures):
    """The figures of one classifier, with their table, JSON and page; made by `evaluate`.

    Each figure is a `Figure`: a float with `low` and `high`, the ends of its confidence interval.
    `tailfit.evaluation.intervals` explains how the intervals are computed, and why not by the plain bootstrap;
    `tailfit.evaluation.group_intervals` those of samples in groups.
    Two evaluations are equal if their JSON is equal.

    Attributes:
        name: Heading of the classifier in tables.
        class_names: Names of the C classes, in the order of the class indices.
        train_counts: Training samples of each class; None if not given.
        y_true: Class index of each test sample, `int64[n]`, read-only.
        y_pred: Predicted class index of each test sample, `int64[n]`, read-only.
        confidence: Confidence level of every interval, e.g. 0.95.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.
        classes: `ClassFigures` of each class.
        balanced_accuracy: Mean recall of the classes that have test samples.
        macro_f1: Mean F1 of the classes that have test samples or were predicted.
        geometric_mean: Geometric mean of the recalls.
        worst_class_recall: The smallest recall.
        worst_class: Name of the class with the smallest recall; of several, the first.
        accuracy: Share of the test samples that are predicted correctly.
        groups: `Grouping` of the test samples; None if their groups are unknown.
        ids_digest: SHA-256 of the IDs of the test samples; None if not given.
        recordings: Evaluation of the recordings, with one decision for each; None if the samples are not windows, or
            labels change within recordings.
        events: `EventFigures`: which events in the recordings are found, and false alarms; None if labels don't change.
        scores: Probabilities or logits, `[n, C]`; None if not given, or if read from JSON, which does not contain them.
        slicings: Metadata columns of the test samples by which `slices` are computed.
        ids, metadata: IDs and metadata of the test samples; None as `scores`.

    >>> evaluation = evaluate(["leak", "ok", "ok", "ok"], ["leak", "ok", "ok", "leak"])
    >>> round(evaluation.balanced_accuracy, 3), evaluation.worst_class
    (0.833, 'ok')
    >>> Evaluation.from_json(evaluation.to_json()) == evaluation
    True
    """

    def table(self) -> Table:
        """Return the table of classes for `rich.print`."""
        return compare_table({self.name: self})

    @property
    def plot(self) -> Plots:
        """Charts and tables that show themselves in a notebook, such as `evaluation.plot.recall()`."""
        return Plots(self)

    def _repr_html_(self) -> str:
        return overview(self)

    def summary(self) -> Group:
        """Return all tables for `rich.print`, with those of recordings and events if they were measured.

        `str(evaluation)` is the same as plain text.
        """
        return Group(*summaries(self))

    def __str__(self) -> str:
        return as_text(self.summary())

    def save_json(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_json` to a file, atomically, and return its path."""
        return write_text(path, self.to_json())

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write `evaluation.json` and `predictions.parquet` into a directory, for `load`; return its path."""
        place = Path(directory)
        place.mkdir(parents=True, exist_ok=True)
        write_parts(place / PREDICTIONS_FILE, [as_parquet(predictions_table(self))])
        self.save_json(place / EVALUATION_FILE)
        return place

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Self:
        """Read an evaluation with its scores, IDs and metadata, from the directory of `save` or of a run.

        Without `predictions.parquet` it has the figures only.

        Raises:
            DataError: If a file is damaged, or the two are not of the same evaluation.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = evaluate([0, 1], [[0.9, 0.1], [0.6, 0.4]]).save(folder)
        ...     Evaluation.load(folder).scores.tolist()
        [[0.9, 0.1], [0.6, 0.4]]
        """
        place = Path(directory)
        evaluation = cls.from_json(read_text(place / EVALUATION_FILE, MOST_JSON))
        table = place / PREDICTIONS_FILE
        return with_predictions(evaluation, read_table(table), str(table)) if table.is_file() else evaluation

    def to_html(self, **options: Any) -> str:
        """Return a self-contained page; the options are those of `tailfit.evaluation.report`."""
        return report({self.name: self}, **options)

    def save_html(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write `to_html` to a file, atomically, and return its path."""
        return write_text(path, self.to_html(**options))


def evaluate(
    y_true: Any,
    y_score: Any,
    class_names: Sequence[str] | None = None,
    train_counts: Sequence[float] | NDArray[Any] | None = None,
    groups: Any = None,
    ids: Sequence[str] | NDArray[Any] | None = None,
    metadata: pl.DataFrame | None = None,
    *,
    train_metadata: TrainMetadata | None = None,
    slices: Sequence[str] | None = None,
    by: str | None = None,
    join: Literal["mean", "vote"] = "mean",
    normal: str | None = None,
    alarm_after: int = 1,
    step_seconds: float | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    name: str = "model",
) -> Evaluation:
    """Measure a classifier on test samples: the recall of every class, and figures in which rare classes count.

    Args:
        y_true: Class of each sample: class indices, names or one-hot rows.
        y_score: Scores, one column for each class (probabilities or logits; only the largest matters, the first one
            of ties), or the predicted class indices or names.
        class_names: Names of the C classes in the order of the class indices.
        train_counts: Training samples of each class, shown next to its recall.
        groups: Group of each sample, such as its recording or machine: whole numbers or strings. Samples of one group
            are not independent: intervals then describe other groups, not other samples of the same groups, and
            are wider. Groups that are all of one sample change nothing.
        ids: ID of each sample. Evaluations of the same labels with different IDs are not compared as paired.
        metadata: One row for each sample. With the columns `record` and `start` of `tailfit.data.Windows`, recordings
            are measured, too: `Evaluation.recordings` if each has one label, `Evaluation.events` if labels change.
        train_metadata: One row for each training sample, to show the share of each metadata value next to its recall.
        slices: Columns of the metadata by whose values all figures are repeated, `Evaluation.slices`; by default
            columns of text, categories or booleans with 2 to 30 values.
        by: `"recording"` joins the windows of each recording into one decision, and returns the evaluation of the
            recordings, which must have one label each; or another column of the metadata. `train_counts` are those of
            windows, and are left out.
        join: How windows are joined: by the `"mean"` of their log scores, or by `"vote"`. Scores are probabilities if
            none is negative and each row sums to one, and logits otherwise. Without scores, windows vote.
        normal: Name of the class that is the absence of an event; by default the one with a name such as `normal` or
            `ok`, see `tailfit.evaluation.events.NORMAL_NAMES`.
        alarm_after: Number of consecutive windows with the same prediction that raise an alarm, >= 1.
        step_seconds: Seconds per step of the recordings, such as `source.step_seconds`; without it delays are in steps.
        confidence: Confidence level of the intervals, in (0, 0.99998].
        resamples: Number of bootstrap resamples, from 2 / (1 - confidence) to 100,000.
        seed: Seed of the bootstrap, >= 0.
        name: Heading of this classifier in tables.
    Shapes: `y_true` `[n]` or `[n, C]`; `y_score` `[n, C]` or `[n]`; `train_counts` `[C]`, in samples; `groups`, `ids`
        `[n]`.
    Raises:
        ArgumentError: If an option is out of range or `train_counts` do not fit the classes.
        DataError: If labels and scores do not fit each other or a score is NaN; the message names the row.
    Source: intervals as in `tailfit.evaluation.intervals` and `tailfit.evaluation.group_intervals`, with references.

    >>> evaluation = evaluate([0, 0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])
    >>> float(evaluation.balanced_accuracy)
    0.75
    >>> print(evaluation.classes[0].recall)
    0.500 [0.061, 0.939]
    >>> y, predicted = [0] * 50 + [1] * 50, [0] * 40 + [1] * 60
    >>> print(evaluate(y, predicted).classes[0].recall)
    0.800 [0.674, 0.892]
    >>> print(evaluate(y, predicted, groups=[k // 10 for k in range(100)]).classes[0].recall)  # 10 recordings
    0.800 [0.360, 0.979]
    >>> windows = pl.DataFrame({"record": np.arange(100) // 10, "start": np.arange(100) % 10})
    >>> print(evaluate(y, predicted, metadata=windows, by="recording").classes[0].recall)  # 4 of 5 recordings
    0.800 [0.371, 0.977]
    """
    check_options(name, confidence, resamples, seed)
    true, predicted, names = class_indices(y_true, y_score, class_names)
    num_classes = len(names)
    if num_classes < 2:
        raise DataError(
            f"{num_classes} class", expected="at least two classes", fix="pass class_names with all classes"
        )
    counts = checked_train_counts(train_counts, num_classes)
    samples = Samples(
        y_true=true,
        y_pred=predicted,
        class_names=names,
        scores=score_matrix(y_score, num_classes),
        groups=None if groups is None else checked_grouping(groups, len(true)),
        ids=checked_ids(ids, len(true)),
        metadata=checked_metadata(metadata, len(true)),
    )
    checked_choice(join, "join", ("mean", "vote"))
    options: dict[str, Any] = {"confidence": float(confidence), "resamples": int(resamples), "seed": int(seed)}
    options_of_events = _event_options(names, normal, alarm_after, step_seconds)
    if by is not None:
        samples, counts = joined(samples, by, join), None
        slicing = slicings_of(samples.metadata, None, slices, num_classes)
        return _measured(samples, counts, name, options, slicings=slicing)
    recordings, of_recordings = recordings_of(samples), None
    if recordings is not None and single_labels(samples, recordings):
        of_recordings = _measured(joined(samples, "record", join), None, name, options)
    slicing = slicings_of(samples.metadata, train_metadata, slices, num_classes)
    events = measured_events(samples, confidence=float(confidence), **options_of_events)
    return _measured(samples, counts, name, options, recordings=of_recordings, events=events, slicings=slicing)


def _event_options(class_names: tuple[str, ...], normal: Any, alarm_after: Any, step_seconds: Any) -> dict[str, Any]:
    if normal is not None and normal not in class_names:
        raise ArgumentError(
            f"normal={normal!r:.60}",
            expected=f"one of the classes {', '.join(map(repr, class_names[:10]))}",
            fix="pass the name of the class that is the absence of an event",
        )
    if step_seconds is not None:
        step_seconds = checked_number(step_seconds, "step_seconds", above=0.0, fix="pass step_seconds=1.0, for example")
    return {
        "normal": normal,
        "alarm_after": whole_number("alarm_after", alarm_after, least=1),
        "step_seconds": step_seconds,
    }


def _measured(
    samples: Samples, counts: tuple[float, ...] | None, name: str, options: dict[str, Any], **further: Any
) -> Evaluation:
    """Compute the figures of samples with their intervals."""
    true, predicted_class, names, grouping = samples.y_true, samples.y_pred, samples.class_names, samples.groups
    num_classes, confidence = len(names), options["confidence"]
    hits, predicted, support = class_counts(true, predicted_class, num_classes)
    recall, precision, f1 = class_metrics(hits, predicted, support)
    figures: dict[str, Any]
    if grouping is None or grouping.independent:
        low, high = jeffreys(hits, support, confidence)
        figures = {**overall_figures(true, predicted_class, num_classes, **options)}
    else:
        grouped = GroupedPredictions(true, predicted_class[np.newaxis], grouping.index, len(grouping), num_classes)
        low, high = grouped.recalls([0]).limits(confidence)
        figures = {**grouped.figures(0, confidence, options["seed"])}
    groups_of = group_counts(grouping, true, num_classes)
    return Evaluation(
        name=name,
        class_names=names,
        train_counts=counts,
        y_true=read_only(true),
        y_pred=read_only(predicted_class),
        classes=tuple(
            ClassFigures(
                name=names[k],
                train_count=None if counts is None else counts[k],
                support=int(support[k]),
                recall=Figure(recall[k], low[k], high[k]),
                precision=float(precision[k]),
                f1=float(f1[k]),
                groups=groups_of[k],
            )
            for k in range(num_classes)
        ),
        worst_class=names[int(np.nanargmin(recall))],
        groups=grouping,
        ids_digest=None if samples.ids is None else ids_digest(samples.ids),
        scores=samples.scores,
        ids=samples.ids,
        metadata=samples.metadata,
        **options,
        **figures,
        **further,
    )
