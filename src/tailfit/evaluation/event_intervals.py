"""Statistics of events and alarms with intervals that allow for differences between groups.

Events of one group (a well, a machine) resemble each other, and so do alarms. Recall and precision therefore have the
intervals of `tailfit.evaluation.group_recalls`, in which an event or an alarm takes the place of a sample.

- *Median delay*: Woodruff's interval (1952, "Confidence Intervals for Medians and Other Position Measures", JASA 47,
  635), the quantiles of the delays at the ends of the interval of the share of delays below the median.
- *Rate of false alarms*: a gamma interval with Jeffreys' prior, i.e. the quantiles of Gamma(n / d + 1/2) for n alarms,
  over the time divided by d. The design effect d is the variance of the rate between groups over that of a Poisson
  process, times (t / z)² for the uncertainty of that variance with few groups, and at least 1. Measured coverage of
  95 % intervals with 5 to 50 groups: 93 % to 99 % if the true rates of groups have a coefficient of variation up to
  0.7; 88 % to 99 % with 1.4 (`tests/plain/evaluation/test_events.py` repeats a part).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtri, stdtrit

from tailfit.evaluation.group_recalls import GroupedRecalls, cells_of
from tailfit.evaluation.metrics import Codes, Figure, Floats, read_only

__all__ = ["Trials", "rate_figure"]

_NAN: Final = Figure(math.nan, math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class Trials:
    """Events or alarms, each of which succeeds (an event is found, an alarm is right) or fails.

    Attributes:
        classes: Class index of each.
        groups: Group index of each.
        hits: 1 for each that succeeds, else 0.
        num_groups: G.
        confidence: Confidence level of the intervals.

    >>> table = pl.DataFrame({"class": ["leak", "leak"], "group": ["well 1", "well 2"]})
    >>> trials = Trials.of(table, pl.Series([True, False]), ["leak"], {"well 1": 0, "well 2": 1}, 0.95)
    >>> float(trials.share())
    0.5
    """

    classes: Codes
    groups: Codes
    hits: Floats
    num_groups: int
    confidence: float

    @classmethod
    def of(
        cls, table: pl.DataFrame, hits: pl.Series, names: Sequence[str], groups: Mapping[str, int], confidence: float
    ) -> "Trials":
        """Read the columns `class` and `group` of a table, whose values are in `names` and `groups`."""
        index = {name: k for k, name in enumerate(names)}
        pairs = [(index[name], groups[group]) for name, group in table.select("class", "group").iter_rows()]
        codes = np.array(pairs, np.int64).reshape(-1, 2)
        successes = hits.to_numpy().astype(np.float64)
        return cls(read_only(codes[:, 0]), read_only(codes[:, 1]), successes, len(groups), confidence)

    def shares(self, num_classes: int) -> list[Figure]:
        """Return the share of successes of each class with its interval; NaN without trials."""
        return _shares(self.classes, self.groups, self.hits, self.num_groups, num_classes, self.confidence)

    def share(self) -> Figure:
        """Return the share of successes of all classes together with its interval; NaN without trials."""
        return _shares(0 * self.classes, self.groups, self.hits, self.num_groups, 1, self.confidence)[0]

    def median(self, values: Floats, chosen: NDArray[np.bool_]) -> Figure:
        """Return the median of a value of those trials that are chosen and succeed, with Woodruff's interval."""
        kept = chosen & (self.hits > 0)
        return _median(values[kept], self.groups[kept], self.num_groups, self.confidence)


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
    # A delay that equals the median counts as half a delay below it.
    below = np.where(delays < middle, 1.0, np.where(delays > middle, 0.0, 0.5))
    share = _shares(np.zeros(len(delays), np.int64), groups, below, num_groups, 1, confidence)[0]
    low, high = np.quantile(delays, [share.low, share.high], method="inverted_cdf")
    return Figure(middle, min(float(low), middle), max(float(high), middle))
