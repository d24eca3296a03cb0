"""Events and alarms in recordings: runs of windows with one label, and runs of windows with one prediction.

Windows of a recording, in the order of their first steps, are its timeline. One class, the *normal* one, is the absence
of an event.

- *Event*: a longest run of windows of one recording with the same label, which is not normal. Steps that are left out
  (transients, steps without a label) make no windows, so they neither belong to an event nor end one.
- *Alarm*: a longest run of consecutive windows with the same prediction, which is not normal. It is raised at its
  window number `alarm_after` and lasts until the last one; shorter runs raise no alarm. Windows that are left out end
  an alarm.
- An event is *found* if an alarm of its class is on in one of its windows, from onset to end. Its *delay* is the time
  from its first window to the first such window.
- An alarm is *right* if it is on during an event of its class, has the *wrong class* if it is on during other events
  only, and is *false* if it is on during no event.

This is the any-overlap scoring of event detection (Shah et al. 2021, "Objective Evaluation Metrics for Automatic
Classification of EEG Events"; Dan et al. 2024, "SzCORE", arXiv:2402.13005), class by class and without tolerances
before onset and after the end. Delay and the rate of false alarms are the criteria of change detection (Basseville &
Nikiforov 1993, "Detection of Abrupt Changes").
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.evaluation.metrics import Codes

__all__ = ["NORMAL_NAMES", "OUTCOMES", "Timeline", "normal_class", "usual_stride"]

OUTCOMES: Final = ("right", "wrong class", "false")
NORMAL_NAMES: Final = ("normal", "ok", "healthy", "nominal", "no fault", "no event", "none", "background", "0")
"""Names of classes that are taken as the absence of an event, in any case of letters."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """Windows in the order of their recordings and first steps.

    Attributes:
        record: Index of the recording of each window, ascending, `[n]`.
        start: First step of each window, ascending within a recording, `[n]`.
        y_true: Class indices, `[n]`.
        y_pred: Predicted class indices, `[n]`.
        stride: Steps between consecutive windows; a larger difference is a gap.

    >>> timeline = Timeline.of(np.zeros(5, int), np.arange(5), np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 1]))
    >>> timeline.events(normal=0).rows()
    [(0, 1, 2, 4, 3)]
    >>> timeline.alarms(normal=0).rows()
    [(0, 1, 1, 1, 'false'), (0, 1, 3, 4, 'right')]
    """

    record: Codes
    start: Codes
    y_true: Codes
    y_pred: Codes
    stride: int

    @classmethod
    def of(cls, record: Codes, start: Codes, y_true: Codes, y_pred: Codes) -> "Timeline":
        """Sort windows by recording and first step."""
        order = np.lexsort((start, record))
        record, start = record[order], start[order]
        return cls(record, start, y_true[order], y_pred[order], usual_stride(record, start))

    def events(self, normal: int, alarm_after: int = 1) -> pl.DataFrame:
        """Return one row for each event.

        Returns:
            Columns `record`, `class` (indices), `start` and `end` (first step of its first and last window), `found`
            (first step of the first window with an alarm of its class; null if it is missed).
        """
        begins = self._begins(self.y_true, gaps=False)
        ends = np.append(begins[1:], len(self.y_true)) - 1
        hit = self._on(normal, alarm_after) & (self.y_pred == self.y_true)
        first = _first_true(hit, begins)
        kept = np.flatnonzero(self.y_true[begins] != normal)
        begins, ends, first = begins[kept], ends[kept], first[kept]
        return pl.DataFrame(
            {
                "record": self.record[begins],
                "class": self.y_true[begins],
                "start": self.start[begins],
                "end": self.start[ends],
                "found": pl.Series([self.start[i] if i >= 0 else None for i in first.tolist()], dtype=pl.Int64),
            }
        )

    def alarms(self, normal: int, alarm_after: int = 1) -> pl.DataFrame:
        """Return one row for each alarm.

        Returns:
            Columns `record`, `class` (indices), `start` and `end` (first step of the window in which it is raised, and
            of its last one), `outcome`, one of `OUTCOMES`.
        """
        begins = self._begins(self.y_pred, gaps=True)
        ends = np.append(begins[1:], len(self.y_pred)) - 1
        on = self._on(normal, alarm_after)
        right = _any_true(on & (self.y_pred == self.y_true), begins)
        during = _any_true(on & (self.y_true != normal), begins)
        raised = begins + alarm_after - 1
        kept = np.flatnonzero((self.y_pred[begins] != normal) & (raised <= ends))
        outcome = np.where(right, 0, np.where(during, 1, 2))[kept]
        return pl.DataFrame(
            {
                "record": self.record[begins[kept]],
                "class": self.y_pred[begins[kept]],
                "start": self.start[raised[kept]],
                "end": self.start[ends[kept]],
                "outcome": pl.Series([OUTCOMES[code] for code in outcome.tolist()], dtype=pl.String),
            }
        )

    def _on(self, normal: int, alarm_after: int) -> NDArray[np.bool_]:
        """Return in which windows an alarm of the predicted class is on."""
        begins = self._begins(self.y_pred, gaps=True)
        place = np.arange(len(self.y_pred)) - np.repeat(begins, np.diff(np.append(begins, len(self.y_pred))))
        return np.asarray((self.y_pred != normal) & (place >= alarm_after - 1))

    def _begins(self, classes: Codes, *, gaps: bool) -> Codes:
        """Return the first window of each run of equal classes in one recording; gaps may end a run."""
        new = np.ones(len(classes), bool)
        new[1:] = (np.diff(self.record) != 0) | (np.diff(classes) != 0)
        if gaps:
            new[1:] |= np.diff(self.start) > self.stride
        return np.flatnonzero(new)


def normal_class(class_names: tuple[str, ...], normal: str | None) -> int | None:
    """Return the index of the class that is the absence of an event: the given one, or the one with a usual name.

    Returns:
        None if no name is given, and not exactly one class has one of the `NORMAL_NAMES`.

    >>> normal_class(("leak", "Normal"), None), normal_class(("a", "b"), None), normal_class(("a", "b"), "b")
    (1, None, 1)
    """
    if normal is not None:
        return class_names.index(normal)
    found = [k for k, name in enumerate(class_names) if name.strip().lower() in NORMAL_NAMES]
    return found[0] if len(found) == 1 else None


def usual_stride(record: Codes, start: Codes) -> int:
    """Return the most frequent difference between the first steps of consecutive windows of a recording; at least 1."""
    steps = np.diff(start)[np.diff(record) == 0]
    steps = steps[steps > 0]
    if not len(steps):
        return 1
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])


def _any_true(values: NDArray[np.bool_], begins: Codes) -> NDArray[np.bool_]:
    return np.asarray(np.logical_or.reduceat(values, begins))


def _first_true(values: NDArray[np.bool_], begins: Codes) -> Codes:
    """Return the position of the first True of each run; -1 without one."""
    none = len(values)
    places: Any = np.minimum.reduceat(np.where(values, np.arange(none), none), begins)
    return np.asarray(np.where(places < none, places, -1), np.int64)
