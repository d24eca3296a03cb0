"""Figures of events and alarms: recall, precision, delay and the rate of false alarms, with intervals between groups.

Without groups, recordings are the groups. `tailfit.evaluation.event_intervals` has the formulas of the intervals.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.evaluation.event_intervals import Trials, rate_figure
from tailfit.evaluation.events import OUTCOMES
from tailfit.evaluation.group_intervals import FEW_GROUPS
from tailfit.evaluation.metrics import Figure, Floats

__all__ = ["DAY", "EventClass", "EventFigures"]

DAY: Final = 86_400.0
_PER_STEPS: Final = 1_000.0  # without the length of a step, false alarms are counted per 1,000 steps
_EVENTS: Final = {"record": str, "group": str, "class": str, "start": int, "end": int, "found": int}
_ALARMS: Final = {"record": str, "group": str, "class": str, "start": int, "end": int, "outcome": str}


@dataclass(frozen=True, kw_only=True)
class EventClass:
    """The figures of the events and alarms of one class.

    Attributes:
        name: Name of the class.
        events: Number of its events.
        groups: Number of groups that have events of the class.
        found: Number of its events that are found.
        recall: Share of its events that are found; NaN without events.
        delay: Median delay of the found events, in the unit of the figures.
        alarms: Number of alarms of the class.
        right, wrong_class, false: Number of them by outcome.
        precision: Share of its alarms that are right; NaN without alarms.

    >>> from tailfit import evaluate
    >>> windows = pl.DataFrame({"record": ["run"] * 4, "start": [0, 10, 20, 30]})
    >>> evaluate([0, 1, 1, 0], [0, 0, 1, 1], ["ok", "leak"], metadata=windows).events.classes[0].found
    1
    """

    name: str
    events: int
    groups: int
    found: int
    recall: Figure
    delay: Figure
    alarms: int
    right: int
    wrong_class: int
    false: int
    precision: Figure

    @property
    def trusted(self) -> bool:
        """Whether enough groups are behind the recall for its interval."""
        return self.events == 0 or self.groups >= FEW_GROUPS


@dataclass(frozen=True, kw_only=True, eq=False)
class EventFigures:
    """Events that a classifier has found in recordings, and its alarms; see `tailfit.evaluation.events`.

    Attributes:
        normal: Name of the class that is the absence of an event.
        alarm_after: Number of consecutive windows that raise an alarm.
        step_seconds: Seconds per step; None if unknown, then times are in steps.
        recordings: Number of recordings.
        events: One row for each event: `record`, `group`, `class`, `start`, `end`, `found` (first steps of windows).
        alarms: One row for each alarm: `record`, `group`, `class`, `start`, `end`, `outcome`.
        normal_steps: Steps of normal operation by group.
        confidence: Confidence level of every interval.
        classes: `EventClass` of each class except the normal one.
        recall: Share of all events that are found.
        precision: Share of all alarms that are right.
        delay: Median delay of the found events, in `unit`.
        false_alarms: False alarms per day of normal operation; per 1,000 steps if the length of a step is unknown.

    >>> from tailfit import evaluate
    >>> windows = pl.DataFrame({"record": ["run"] * 6, "start": [0, 10, 20, 30, 40, 50]})
    >>> y, predicted = [0, 0, 0, 1, 1, 1], [0, 1, 0, 0, 1, 1]
    >>> events = evaluate(y, predicted, ["ok", "leak"], metadata=windows, step_seconds=60).events
    >>> float(events.recall), float(events.delay), events.unit, events.alarms["outcome"].to_list()
    (1.0, 600.0, 's', ['false', 'right'])
    """

    normal: str
    alarm_after: int
    step_seconds: float | None
    recordings: int
    events: pl.DataFrame
    alarms: pl.DataFrame
    normal_steps: Mapping[str, int]
    confidence: float
    classes: tuple[EventClass, ...]
    recall: Figure
    precision: Figure
    delay: Figure
    false_alarms: Figure

    @property
    def unit(self) -> str:
        """Unit of delays: `"s"` or `"steps"`."""
        return "steps" if self.step_seconds is None else "s"

    @property
    def rate_unit(self) -> str:
        """Unit of `false_alarms`."""
        return f"per {_PER_STEPS:,.0f} steps" if self.step_seconds is None else "per day"

    @property
    def normal_time(self) -> float:
        """Time of normal operation in the denominator of `false_alarms`: days, or thousands of steps."""
        return float(sum(self.normal_steps.values())) / _steps_of_unit(self.step_seconds)

    @classmethod
    def of(
        cls,
        events: pl.DataFrame,
        alarms: pl.DataFrame,
        normal_steps: Mapping[str, int],
        class_names: Sequence[str],
        *,
        normal: str,
        alarm_after: int,
        step_seconds: float | None,
        recordings: int,
        confidence: float,
    ) -> "EventFigures":
        """Compute all figures from the events, the alarms, and the steps of normal operation by group."""
        names = [name for name in class_names if name != normal]
        groups = {name: g for g, name in enumerate(normal_steps)}
        found = Trials.of(events, events["found"].is_not_null(), names, groups, confidence)
        right = Trials.of(alarms, alarms["outcome"] == OUTCOMES[0], names, groups, confidence)
        unit = 1.0 if step_seconds is None else step_seconds
        delays = (events["found"] - events["start"]).cast(pl.Float64).to_numpy() * unit
        false = right.groups[(alarms["outcome"] == OUTCOMES[2]).to_numpy()]
        time = np.array(list(normal_steps.values()), np.float64) / _steps_of_unit(step_seconds)
        return cls(
            normal=normal,
            alarm_after=alarm_after,
            step_seconds=step_seconds,
            recordings=recordings,
            events=events,
            alarms=alarms,
            normal_steps=dict(normal_steps),
            confidence=confidence,
            classes=_classes(names, found, right, delays, alarms["outcome"].to_numpy()),
            recall=found.share(),
            precision=right.share(),
            delay=found.median(delays, np.ones(len(delays), bool)),
            false_alarms=rate_figure(np.bincount(false, minlength=len(groups)).astype(np.float64), time, confidence),
        )

    def to_plain(self) -> dict[str, Any]:
        """Return the fields for JSON; `from_plain` needs all but `figures`, which are for other programs."""
        overall = ("recall", "precision", "delay", "false_alarms")
        return {
            "normal": self.normal,
            "alarm_after": self.alarm_after,
            "step_seconds": self.step_seconds,
            "recordings": self.recordings,
            "normal_steps": self.normal_steps,
            "events": self.events.to_dict(as_series=False),
            "alarms": self.alarms.to_dict(as_series=False),
            "figures": {
                "unit": self.unit,
                "rate_unit": self.rate_unit,
                **{key: _plain(getattr(self, key)) for key in overall},
                "classes": [{key: _plain(value) for key, value in vars(of_class).items()} for of_class in self.classes],
            },
        }

    @classmethod
    def from_plain(cls, fields: Any, class_names: Sequence[str], confidence: float) -> "EventFigures":
        """Read what `to_plain` returned; the figures are computed again.

        Raises:
            ValueError: If the fields contradict each other.
        """
        steps, normal, seconds = fields["normal_steps"], fields["normal"], fields["step_seconds"]
        events, alarms = (_table(fields[key], kinds) for key, kinds in (("events", _EVENTS), ("alarms", _ALARMS)))
        whole = all(type(value) is int and value >= 0 for value in [*steps.values(), fields["recordings"]])
        times = seconds is None or (isinstance(seconds, int | float) and 0 < seconds < math.inf)
        after = fields["alarm_after"]
        known = all(set(table["group"]) <= set(steps) for table in (events, alarms))
        named = set(events["class"]) | set(alarms["class"]) <= set(class_names) - {normal}
        if not (whole and times and known and named and type(after) is int and after >= 1 and normal in class_names):
            raise ValueError("events with an invalid field")
        if not set(alarms["outcome"]) <= set(OUTCOMES):
            raise ValueError("an alarm with an unknown outcome")
        return cls.of(
            events,
            alarms,
            steps,
            class_names,
            normal=normal,
            alarm_after=after,
            step_seconds=seconds,
            recordings=fields["recordings"],
            confidence=confidence,
        )


def _classes(
    names: Sequence[str], found: Trials, right: Trials, delays: Floats, outcomes: NDArray[Any]
) -> tuple[EventClass, ...]:
    """Return the figures of each class.

    Args:
        names: Names of the classes.
        found: The events, of which those that are found succeed.
        right: The alarms, of which those that are right succeed.
        delays: Delay of each event.
        outcomes: Outcome of each alarm.
    """
    recalls, precisions = found.shares(len(names)), right.shares(len(names))
    classes = []
    for k, name in enumerate(names):
        events, alarms = found.classes == k, right.classes == k
        counts = {outcome.replace(" ", "_"): int((outcomes[alarms] == outcome).sum()) for outcome in OUTCOMES}
        classes.append(
            EventClass(
                name=name,
                events=int(events.sum()),
                groups=len(np.unique(found.groups[events])),
                found=int(found.hits[events].sum()),
                recall=recalls[k],
                delay=found.median(delays, events),
                alarms=int(alarms.sum()),
                **counts,
                precision=precisions[k],
            )
        )
    return tuple(classes)


def _steps_of_unit(step_seconds: float | None) -> float:
    return _PER_STEPS if step_seconds is None else DAY / step_seconds


def _plain(value: Any) -> Any:
    if isinstance(value, Figure):
        return [None if number != number else number for number in (float(value), value.low, value.high)]
    return value


def _table(columns: Any, kinds: Mapping[str, type]) -> pl.DataFrame:
    """Return a table from its columns in JSON."""
    types = {str: pl.String, int: pl.Int64}
    lists = {key: columns[key] for key in kinds}
    if len({len(values) for values in lists.values()}) > 1:
        raise ValueError("columns of different length")
    for key, kind in kinds.items():
        missing = key == "found"
        if not all(type(value) is kind or (missing and value is None) for value in lists[key]):
            raise ValueError(f"a value of another type in {key}")
    return pl.DataFrame(lists, schema={key: types[kind] for key, kind in kinds.items()}, strict=True)
