"""Paired differences of finished runs to plain training, with an interval and a verdict."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

SMALL = 1.0  # points; if the whole interval is smaller, there is no difference that matters


@dataclass(frozen=True)
class Difference:
    """A paired difference to plain training, and the ends of its 95 % interval, in points."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        interval = f" [{self.low:+.1f}, {self.high:+.1f}]" if np.isfinite(self.low) else ""
        return f"{self.mean:+.1f}{interval}"

    @property
    def verdict(self) -> str:
        if not np.isfinite(self.low):
            return "one seed"
        if self.low > 0:
            return "helped"
        if self.high < 0:
            return "hurt"
        return "no difference" if max(-self.low, self.high) < SMALL else "undecided"


def difference(values: dict[int, float], plain: dict[int, float]) -> Difference | None:
    """Student's interval of the mean difference, over the seeds that both have."""
    pairs = np.array([values[seed] - plain[seed] for seed in values if seed in plain])
    if not len(pairs):
        return None
    mean, count = float(pairs.mean()), len(pairs)
    if count == 1:
        return Difference(mean, float("nan"), float("nan"))
    half = float(stdtrit(count - 1, 0.975) * pairs.std(ddof=1) / np.sqrt(count))
    return Difference(mean, mean - half, mean + half)


def mean_of(seeds: dict[int, float]) -> float:
    return float(np.mean(list(seeds.values())))
