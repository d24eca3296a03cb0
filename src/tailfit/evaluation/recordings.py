"""One decision for each recording: its windows are joined, by the mean of their log scores or by vote.

A detector decides once for each window; what counts is often one decision for each recording. The mean of
log probabilities is the product rule for combining decisions, the vote the majority rule (Kittler et al. 1998, "On
Combining Classifiers", doi:10.1109/34.667881). Joined decisions exist for recordings with one label. Where labels
change within recordings, events are measured instead; see `tailfit.evaluation.events`.
"""

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation.event_figures import EventFigures
from tailfit.evaluation.events import Timeline, normal_class
from tailfit.evaluation.grouping import Grouping, checked_grouping
from tailfit.evaluation.metrics import Codes, Floats, read_only
from tailfit.evaluation.samples import Samples, are_probabilities, log_probabilities

__all__ = ["joined", "measured_events", "recordings_of", "single_labels"]

_CHUNK: Final = 1 << 16  # rows of scores that are converted at once


def recordings_of(samples: Samples) -> Grouping | None:
    """Return the recording of each window, from the columns `record` and `start` of the metadata of `Windows`.

    Returns:
        None if the samples are not windows, or each recording has one.
    """
    table = samples.metadata
    if table is None or not {"record", "start"} <= set(table.columns) or not table["start"].dtype.is_integer():
        return None
    if table["start"].null_count() or table["record"].null_count():
        return None
    found = checked_grouping(_values(table["record"]), what="records")
    return None if found.independent else found


def single_labels(samples: Samples, recordings: Grouping) -> bool:
    """Return whether all windows of each recording have one label."""
    first = samples.y_true[_first_of(recordings)]
    return bool((samples.y_true == first[recordings.index]).all())


def joined(samples: Samples, by: str, join: str) -> Samples:
    """Join the windows of each recording into one sample.

    Args:
        samples: The windows.
        by: Column of the metadata whose equal values are joined; `"recording"` is the recording of each window.
        join: `"mean"` of the log scores, or `"vote"`: the class that most windows are predicted as, of several the one
            with the largest mean score. Without scores, windows vote.
    Raises:
        ArgumentError: If there is no such column.
        DataError: If a recording has several labels, or samples of several groups.

    >>> windows = pl.DataFrame({"record": ["a", "a", "b"], "start": [0, 5, 0]})
    >>> scores = np.array([[0.4, 0.6], [0.9, 0.1], [0.2, 0.8]])
    >>> y = np.array([0, 0, 1])
    >>> joined(Samples(y, scores.argmax(1), ("ok", "leak"), scores, metadata=windows), "recording", "mean").y_pred
    array([0, 1])
    """
    recordings = _grouping_by(samples, by)
    first = _first_of(recordings)
    _check_constant(samples.y_true, recordings, first, samples)
    if samples.groups is not None:
        _check_one_group(samples.groups, recordings, first)
    scores = None if samples.scores is None else _mean_log_scores(samples.scores, recordings)
    by_mean = scores is not None and join == "mean"
    y_pred = scores.argmax(axis=1) if by_mean and scores is not None else _voted(samples, recordings, scores)
    groups = samples.groups
    if groups is not None:
        groups = checked_grouping([groups.names[g] for g in groups.index[first].tolist()])
    return Samples(
        y_true=samples.y_true[first],
        y_pred=read_only(y_pred.astype(np.int64)),
        class_names=samples.class_names,
        scores=scores if by_mean else None,
        groups=groups,
        ids=recordings.names,
        metadata=None if samples.metadata is None else samples.metadata[first],
    )


def measured_events(
    samples: Samples, *, normal: str | None, alarm_after: int, step_seconds: float | None, confidence: float
) -> EventFigures | None:
    """Measure events and alarms of windows whose labels change within recordings.

    Args:
        samples: The windows.
        normal: Name of the class that is the absence of an event; None chooses by name, see `NORMAL_NAMES`.
        alarm_after: Number of consecutive windows that raise an alarm.
        step_seconds: Seconds per step, or None.
        confidence: Confidence level of the intervals.
    Returns:
        None if the samples are not windows, labels never change, or no class is known to be the normal one.
    """
    recordings, background = recordings_of(samples), normal_class(samples.class_names, normal)
    if recordings is None or background is None or samples.metadata is None or single_labels(samples, recordings):
        return None
    timeline = Timeline.of(
        recordings.index, samples.metadata["start"].to_numpy().astype(np.int64), samples.y_true, samples.y_pred
    )
    group = _group_of_each(samples, recordings)
    names = np.array(samples.class_names, dtype=object)

    def named(table: pl.DataFrame) -> pl.DataFrame:
        record = table["record"].to_numpy()
        of_class = names[table["class"].to_numpy()].tolist()
        return table.with_columns(
            pl.Series("record", [recordings.names[r] for r in record.tolist()], dtype=pl.String),
            pl.Series("class", of_class, dtype=pl.String),
        ).insert_column(1, pl.Series("group", [group[r] for r in record.tolist()], dtype=pl.String))

    steps = dict.fromkeys(group, 0)
    normal_windows = np.bincount(timeline.record[timeline.y_true == background], minlength=len(recordings))
    for name, windows in zip(group, normal_windows.tolist(), strict=True):
        steps[name] += windows * timeline.stride
    return EventFigures.of(
        named(timeline.events(background, alarm_after)),
        named(timeline.alarms(background, alarm_after)),
        steps,
        samples.class_names,
        normal=samples.class_names[background],
        alarm_after=alarm_after,
        step_seconds=step_seconds,
        recordings=len(recordings),
        confidence=confidence,
    )


def _values(column: pl.Series) -> list[Any]:
    return (column if column.dtype.is_integer() else column.cast(pl.String)).to_list()


def _grouping_by(samples: Samples, by: Any) -> Grouping:
    """Return the recording of each window by a column of the metadata."""
    columns = [] if samples.metadata is None else samples.metadata.columns
    names = [by] if by != "recording" else ["recording", "record"]
    found = next((name for name in names if name in columns), None)
    if found is not None and samples.metadata is not None:
        return checked_grouping(_values(samples.metadata[found]), what=f"values of {found!r}")
    if by == "recording" and samples.groups is not None:
        return samples.groups
    raise ArgumentError(
        f"by={by!r} with {f'the metadata columns {columns}' if columns else 'no metadata'}",
        expected="a column of the metadata; by='recording' needs the column record, or groups",
        fix="pass metadata=windows.metadata, or groups=windows.groups",
    )


def _first_of(recordings: Grouping) -> Codes:
    """Return the position of the first window of each recording."""
    return np.unique(recordings.index, return_index=True)[1]


def _check_constant(y_true: Codes, recordings: Grouping, first: Codes, samples: Samples) -> None:
    changed = y_true != y_true[first][recordings.index]
    if changed.any():
        row = int(np.argmax(changed))
        record = recordings.index[row]
        labels = [samples.class_names[y_true[i]] for i in (first[record], row)]
        raise DataError(
            f"the recording {recordings.names[record]!r} with the labels {labels[0]!r} and {labels[1]!r}",
            expected="one label for all windows of a recording",
            fix="leave out by=, and read the figures of events: evaluate(..., metadata=windows.metadata).events",
        )


def _check_one_group(groups: Grouping, recordings: Grouping, first: Codes) -> None:
    other = groups.index != groups.index[first][recordings.index]
    if other.any() and not groups.independent:
        row = int(np.argmax(other))
        raise DataError(
            f"the recording {recordings.names[recordings.index[row]]!r} with samples of several groups",
            expected="all samples of a recording in one group",
            fix="pass groups of recordings, such as the well of each",
        )


def _group_of_each(samples: Samples, recordings: Grouping) -> list[str]:
    """Return the name of the group of each recording: that of its windows, or its own if they have none or several."""
    groups = samples.groups
    if groups is None or groups.independent:
        return list(recordings.names)
    first = groups.index[_first_of(recordings)]
    if (groups.index != first[recordings.index]).any():
        return list(recordings.names)
    return [groups.names[g] for g in first.tolist()]


def _mean_log_scores(scores: NDArray[Any], recordings: Grouping) -> Floats:
    given, order = are_probabilities(scores), np.argsort(recordings.index, kind="stable")
    total = np.zeros((len(recordings), scores.shape[1]))
    for begin in range(0, len(order), _CHUNK):
        rows = order[begin : begin + _CHUNK]
        record = recordings.index[rows]
        starts = np.flatnonzero(np.diff(record, prepend=-1))
        total[record[starts]] += np.add.reduceat(log_probabilities(scores[rows], given=given), starts, axis=0)
    return np.asarray(total / np.bincount(recordings.index)[:, np.newaxis], np.float64)


def _voted(samples: Samples, recordings: Grouping, scores: Floats | None) -> Codes:
    """Return the class with most votes in each recording; ties go to the largest mean score, or to the first class."""
    num_classes = len(samples.class_names)
    cells, votes = np.unique(recordings.index * num_classes + samples.y_pred, return_counts=True)
    record, of_class = cells // num_classes, cells % num_classes
    strength = np.zeros(len(cells)) if scores is None else scores[record, of_class]
    order = np.lexsort((of_class, -strength, -votes, record))
    starts = np.flatnonzero(np.diff(record[order], prepend=-1))
    return np.asarray(of_class[order][starts], np.int64)
