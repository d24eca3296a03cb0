"""Figures of events and alarms: recall, precision, delay and the rate of false alarms, with intervals between groups.

Events of one group (a well, a machine) resemble each other, and so do alarms. Recall and precision therefore have the
intervals of `tailfit.evaluation.group_recalls`, in which an event or an alarm takes the place of a sample. Without
groups, recordings are the groups.

- *Delay*: the median over the events that are found. Its interval is Woodruff's (1952, "Confidence Intervals for
  Medians and Other Position Measures", JASA 47, 635): the quantiles of the delays at the ends of the interval of the
  share of delays below the median.
- *False alarms per day* of normal operation: a gamma interval with Jeffreys' prior, i.e. the quantiles of
  Gamma(n / d + 1/2) for n alarms, over the time divided by d. The design effect d is the variance of the rate between
  groups over that of a Poisson process, times (t / z)² for the uncertainty of that variance with few groups, and at
  least 1. Measured coverage of 95 % intervals with 5 to 50 groups: 93 % to 99 % if the true rates of groups have a
  coefficient of variation up to 0.7; 88 % to 99 % with 1.4 (`tests/plain/evaluation/test_events.py` repeats a part).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from scipy.special import gammaincinv, ndtri, stdtrit

from tailfit.evaluation.events import OUTCOMES
from tailfit.evaluation.group_intervals import FEW_GROUPS
from tailfit.evaluation.group_recalls import GroupedRecalls, cells_of
from tailfit.evaluation.metrics import Codes, Figure, Floats, read_only

__all__ = ["DAY", "EventClass", "EventFigures", "rate_figure"]

DAY: Final = 86_400.0
_PER_STEPS: Final = 1_000.0  # without the length of a step, false alarms are counted per 1,000 steps
_NAN: Final = Figure(math.nan, math.nan, math.nan)
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
        of_events, of_alarms = (_codes(table, names, groups) for table in (events, alarms))
        found = (~events["found"].is_null()).to_numpy().astype(np.float64)
        right = (alarms["outcome"] == OUTCOMES[0]).to_numpy().astype(np.float64)
        recalls = _shares(*of_events, found, len(groups), len(names), confidence)
        precisions = _shares(*of_alarms, right, len(groups), len(names), confidence)
        unit = 1.0 if step_seconds is None else step_seconds
        delays = (events["found"] - events["start"]).cast(pl.Float64).to_numpy() * unit
        counts = {
            outcome: np.bincount(of_alarms[0][(alarms["outcome"] == outcome).to_numpy()], minlength=len(names))
            for outcome in OUTCOMES
        }
        false = (alarms["outcome"] == OUTCOMES[2]).to_numpy()
        time = np.array(list(normal_steps.values()), np.float64) / _steps_of_unit(step_seconds)

        def delay(chosen: Any) -> Figure:
            kept = chosen & (found > 0)
            return _median(delays[kept], of_events[1][kept], len(groups), confidence)

        return cls(
            normal=normal,
            alarm_after=alarm_after,
            step_seconds=step_seconds,
            recordings=recordings,
            events=events,
            alarms=alarms,
            normal_steps=dict(normal_steps),
            confidence=confidence,
            classes=tuple(
                EventClass(
                    name=name,
                    events=int((of_events[0] == k).sum()),
                    groups=len(np.unique(of_events[1][of_events[0] == k])),
                    found=int(found[of_events[0] == k].sum()),
                    recall=recalls[k],
                    delay=delay(of_events[0] == k),
                    alarms=int((of_alarms[0] == k).sum()),
                    **{outcome.replace(" ", "_"): int(counts[outcome][k]) for outcome in OUTCOMES},
                    precision=precisions[k],
                )
                for k, name in enumerate(names)
            ),
            recall=_shares(0 * of_events[0], of_events[1], found, len(groups), 1, confidence)[0],
            precision=_shares(0 * of_alarms[0], of_alarms[1], right, len(groups), 1, confidence)[0],
            delay=delay(np.ones(len(found), bool)),
            false_alarms=rate_figure(
                np.bincount(of_alarms[1][false], minlength=len(groups)).astype(np.float64), time, confidence
            ),
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


def rate_figure(counts: Floats, time: Floats, confidence: float) -> Figure:
    """Return the rate of events per unit of time, with an interval that allows for differences between groups.

    Args:
        counts: Events of each group, `[G]`.
        time: Time of each group, `[G]`.
        confidence: Confidence level.

    >>> print(rate_figure(np.array([2.0, 1, 3, 2]), np.array([1.0, 1, 1, 1]), 0.95))
    2.000 [0.946, 3.774]
    """
    counts, time = counts[time > 0], time[time > 0]
    total, number, groups = float(time.sum()), float(counts.sum()), len(time)
    if total == 0.0:
        return _NAN
    rate, tail = number / total, (1 - confidence) / 2
    design = 1.0
    if groups > 1:
        between = groups / (groups - 1) * float(np.square(counts - rate * time).sum())
        few = float(stdtrit(groups - 1, 1 - tail) / ndtri(1 - tail)) ** 2
        design = max(1.0, few * (between / number if number else 1.0))
    shape = number / design + 0.5
    low = float(gammaincinv(shape, tail)) * design / total if number else 0.0
    return Figure(rate, min(low, rate), max(float(gammaincinv(shape, 1 - tail)) * design / total, rate))


def _steps_of_unit(step_seconds: float | None) -> float:
    return _PER_STEPS if step_seconds is None else DAY / step_seconds


def _codes(table: pl.DataFrame, names: Sequence[str], groups: Mapping[str, int]) -> tuple[Codes, Codes]:
    """Return the index of the class and of the group of each row."""
    index = {name: k for k, name in enumerate(names)}
    pairs = [(index[name], groups[group]) for name, group in table.select("class", "group").iter_rows()]
    codes = np.array(pairs, np.int64).reshape(-1, 2)
    return read_only(codes[:, 0]), read_only(codes[:, 1])


def _shares(
    classes: Codes, groups: Codes, hits: Floats, num_groups: int, num_classes: int, confidence: float
) -> list[Figure]:
    """Return the share of hits in each class with its interval; NaN without trials."""
    if not len(classes):
        return [_NAN] * num_classes
    recalls = GroupedRecalls(cells_of(classes, hits, groups, num_groups, num_classes))
    low, high = recalls.limits(confidence)
    return [Figure(*figures) for figures in zip(recalls.recall, low, high, strict=True)]


def _median(delays: Floats, groups: Codes, num_groups: int, confidence: float) -> Figure:
    """Return the median with Woodruff's interval."""
    if not len(delays):
        return _NAN
    middle = float(np.median(delays))
    # Half of the delays are below the median; ties with it are split so.
    below = np.where(delays < middle, 1.0, np.where(delays > middle, 0.0, 0.5))
    share = _shares(np.zeros(len(delays), np.int64), groups, below, num_groups, 1, confidence)[0]
    low, high = np.quantile(delays, [share.low, share.high], method="inverted_cdf")
    return Figure(middle, min(float(low), middle), max(float(high), middle))


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
