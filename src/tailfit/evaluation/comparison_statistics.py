"""Intervals of a comparison: several remedies, each trained with the same seeds, measured on the same samples.

A measured figure has two sources of randomness: the choice of the test samples, and the training (Bouthillier et al.
2021, arXiv:2103.03098). For a mean over S seeds their variances add up, by the law of total variance:

- *test part*: how the mean over the seeds would vary with other test samples. Its variance is taken over resamples of
  the test set, the same ones for all remedies and seeds, smoothed as in `tailfit.evaluation.intervals`;
- *seed part*: the variance over the seeds on the given test set, divided by S, estimated with S - 1 degrees of freedom.

Each end of an interval is mean ± √(test² + seed²). Both terms are half widths of intervals of their own: the test part
with the normal quantile, the seed part with Student's t for S - 1 degrees of freedom (Howe 1974, J. Am. Stat. Assoc.
69, 789; Zou & Donner 2008, doi:10.1002/sim.3095). A single t for the sum, with Satterthwaite's degrees of freedom
(1946, doi:10.2307/3002019), would be narrower, and too narrow with few seeds.

The test part of a recall is not symmetric: it uses Jeffreys' limits of both recalls, combined for their difference
using the correlation of their samples (Zou & Donner). Where trainings disagree about samples, the limits are scaled to
the actual variance of the mean over seeds. So 3 of 3 correct next to 0 of 3 is no evidence, for any number of seeds.

Differences to the baseline are paired, by seed and by sample. With K remedies besides the baseline, their intervals
hold simultaneously (Bonferroni: each at 1 - (1 - confidence) / K; for recalls, over the C classes as well).

With one seed there is no seed part: intervals then describe these very models, and no other training. Disagreement
between trainings about samples counts in both parts, so these intervals are wider than needed.

Where the samples come in groups, the test part is that of `tailfit.evaluation.group_intervals`: Student's t times the
root of the variance between groups of the mean influence over the seeds, with the same groups for all remedies and
seeds; and for recalls, the limits of `tailfit.evaluation.group_recalls`, combined using the correlation of the groups.

The smallest recall and the geometric mean are shown with their range over the seeds, and without an interval: the mean
of minima is not an estimate of the minimum of means.

Measured coverage of 95 % intervals of the difference in balanced accuracy (400 trials): 60 samples for each class and
trainings that vary, with 2, 3, 5, 10 seeds: 98, 98, 97, 98 %; 120 down to 4 samples: 99 to 100 %; trainings that hardly
differ: 98 % with 3 seeds and 93 % with 10. With one seed, 85 % of the differences that other trainings would have had.
All differences in recall of 10 classes hold simultaneously in 95 to 99 %, with four classes of 3 to 5 samples and
recalls of 1/2; in 93 % with 10 seeds that hardly differ and recalls of 0.95 down to 0.4.
`tests/plain/evaluation/test_comparison.py` repeats all measurements but the last.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from tailfit.evaluation.costs import CostMatrix, MeanCosts
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.group_intervals import GroupedPredictions
from tailfit.evaluation.group_recalls import GroupedRecalls
from tailfit.evaluation.grouping import Grouping
from tailfit.evaluation.intervals import jeffreys, philox, smoothed_bootstrap
from tailfit.evaluation.metrics import Codes, Figure, Floats

__all__ = ["SeedMeans"]

_UNDEFINED: Final = Figure(math.nan, math.nan, math.nan)  # recall of a class without test samples


class SeedMeans:
    """Means over seeds of all remedies, with their intervals.

    Args:
        evaluations: One evaluation for each seed, by remedy.
        resamples: Number of resamples of the test set.
        costs: Cost matrix, for the figure "cost".

    >>> from tailfit import evaluate
    >>> means = SeedMeans({"plain": [evaluate([0, 0, 1, 1], [0, 1, 1, 1], seed=seed) for seed in (0, 1)]}, 100)
    >>> float(means.mean("plain", "accuracy", confidence=0.95))
    0.75
    """

    def __init__(
        self,
        evaluations: Mapping[str, Sequence[EvaluationFigures]],
        resamples: int,
        costs: CostMatrix | None = None,
    ) -> None:
        self._seeds = len(next(iter(evaluations.values())))
        rows = np.arange(len(evaluations) * self._seeds).reshape(len(evaluations), self._seeds)
        self._rows = {name: list(map(int, of_remedy)) for name, of_remedy in zip(evaluations, rows, strict=True)}
        trainings = [each for of_remedy in evaluations.values() for each in of_remedy]
        self.num_classes = len(trainings[0].class_names)
        groups = next((each.groups for each in trainings if each.groups is not None), None)
        predictions = np.stack([each.y_pred for each in trainings])
        self._test: _OfSamples | _OfGroups
        if groups is None or groups.independent:
            self._test = _OfSamples(
                trainings[0].y_true, predictions, self.num_classes, resamples, list(self._rows.values())
            )
        else:
            self._test = _OfGroups(trainings[0].y_true, predictions, groups, self.num_classes)
        self._values = dict(self._test.values)
        self._costs: MeanCosts | None = None
        if costs is not None:
            self._costs = MeanCosts(trainings[0].y_true, predictions, costs, groups)
            self._values["cost"] = self._costs.values

    def mean(self, remedy: str, key: str, confidence: float) -> Figure:
        """Return the mean of a figure over the seeds."""
        rows = self._rows[remedy]
        if key == "cost" and self._costs is not None:
            below, above = self._costs.distances(rows, confidence)
            return self._with_seed_part(self._values[key][rows], below, above, confidence, 0.0, math.inf)
        below, above = self._test.distances(rows, key, confidence)
        return self._with_seed_part(self._values[key][rows], below, above, confidence, 0.0)

    def value(self, remedy: str, key: str) -> float:
        """Return the mean of a figure over the seeds, without its interval."""
        return float(self._values[key][self._rows[remedy]].mean())

    def range(self, remedy: str, key: str) -> Figure:
        """Return the mean of a figure over the seeds, with the smallest and the largest value."""
        values = self._values[key][self._rows[remedy]]
        return Figure(float(values.mean()), float(values.min()), float(values.max()))

    def difference(self, remedy: str, baseline: str, key: str, confidence: float) -> Figure:
        """Return the mean difference of a figure over the seeds, paired."""
        new, old = self._rows[remedy], self._rows[baseline]
        values = self._values[key][new] - self._values[key][old]
        if key == "cost" and self._costs is not None:
            half = self._costs.half_width(new, old, confidence)
            return self._with_seed_part(values, half, half, confidence, -math.inf, math.inf)
        half = self._test.half_width(new, old, key, confidence)
        return self._with_seed_part(values, half, half, confidence, -1.0)

    def recalls(self, remedy: str, confidence: float) -> tuple[Figure, ...]:
        """Return the mean recall of each class over the seeds; NaN without test samples."""
        figures = []
        for recall in self._test.recalls(self._rows[remedy], confidence):
            if recall is None:
                figures.append(_UNDEFINED)
                continue
            figures.append(self._with_seed_part(recall.values, recall.below, recall.above, confidence, 0.0))
        return tuple(figures)

    def recall_differences(self, remedy: str, baseline: str, confidence: float) -> tuple[Figure, ...]:
        """Return the mean difference in recall of each class over the seeds, paired; NaN without test samples."""
        figures = []
        after, before = (self._test.recalls(self._rows[name], confidence) for name in (remedy, baseline))
        for new, old in zip(after, before, strict=True):
            if new is None or old is None:
                figures.append(_UNDEFINED)
                continue
            correlation = new.correlation(old)  # type: ignore[arg-type]
            below = _zou_donner(new.below, old.above, correlation)
            above = _zou_donner(new.above, old.below, correlation)
            figures.append(self._with_seed_part(new.values - old.values, below, above, confidence, -1.0))
        return tuple(figures)

    def _with_seed_part(
        self, values: NDArray[Any], below: float, above: float, confidence: float, least: float, most: float = 1.0
    ) -> Figure:
        """Return the mean over seeds with its interval.

        Args:
            values: The value of each seed.
            below: Distance of the lower end of the test part.
            above: Distance of the upper end of the test part.
            confidence: Confidence level.
            least: Smallest possible value.
            most: Largest possible value.
        """
        seed_part = 0.0
        if self._seeds > 1:
            quantile = float(stdtrit(self._seeds - 1, (1 + confidence) / 2))
            seed_part = quantile * float(values.std(ddof=1)) / math.sqrt(self._seeds)
        value = float(values.mean())
        low, high = value - math.hypot(below, seed_part), value + math.hypot(above, seed_part)
        return Figure(value, max(least, low), min(most, high))


class _OfSamples:
    """Test part of the intervals where samples are independent: the same resamples for all trainings.

    Args:
        y_true: Class indices, `[n]`.
        predictions: Predicted class indices of each training, `[M, n]`.
        num_classes: C.
        resamples: B.
        remedies: Trainings of each remedy.
    """

    def __init__(
        self, y_true: Codes, predictions: Codes, num_classes: int, resamples: int, remedies: Sequence[Sequence[int]]
    ) -> None:
        self._y_true, self._predictions = y_true, predictions
        self._order = np.argsort(y_true, kind="stable")
        self._ends = np.cumsum(np.bincount(y_true, minlength=num_classes))[:-1]
        # Trainings of one remedy share pseudo-samples, since they tend to make the same errors.
        self.values, self._deviations = smoothed_bootstrap(
            y_true, predictions, num_classes, resamples, philox(0), remedies
        )

    def distances(self, rows: list[int], key: str, confidence: float) -> tuple[float, float]:
        """Return the distances of the ends of the interval of the mean over trainings."""
        half = self._half(self._deviations[key][rows].mean(axis=0), confidence)
        return half, half

    def half_width(self, new: list[int], old: list[int], key: str, confidence: float) -> float:
        """Return half the width of the interval of the mean difference."""
        return self._half((self._deviations[key][new] - self._deviations[key][old]).mean(axis=0), confidence)

    def recalls(self, rows: list[int], confidence: float) -> list["_MeanRecall | None"]:
        """Return the mean recall of each class over trainings; None without test samples."""
        correct = (self._predictions[rows] == self._y_true).astype(np.float64)
        by_class = np.split(correct[:, self._order], self._ends, axis=1)
        return [_MeanRecall(each, confidence) if each.shape[1] else None for each in by_class]

    @staticmethod
    def _half(deviations: Floats, confidence: float) -> float:
        return float(ndtri((1 + confidence) / 2)) * math.sqrt(float(deviations.var()))


class _OfGroups:
    """Test part of the intervals where samples come in groups; see `_OfSamples`.

    Args:
        y_true: Class indices, `[n]`.
        predictions: Predicted class indices of each training, `[M, n]`.
        groups: Groups of the samples.
        num_classes: C.
    """

    def __init__(self, y_true: Codes, predictions: Codes, groups: Grouping, num_classes: int) -> None:
        self._grouped = GroupedPredictions(y_true, predictions, groups.index, len(groups), num_classes)
        self.values = self._grouped.values

    def distances(self, rows: list[int], key: str, confidence: float) -> tuple[float, float]:
        """See `_OfSamples`."""
        figure = self._grouped.interval(rows, key, confidence)
        return float(figure) - figure.low, figure.high - float(figure)

    def half_width(self, new: list[int], old: list[int], key: str, confidence: float) -> float:
        """See `_OfSamples`."""
        return self._grouped.half_width(new, old, key, confidence)

    def recalls(self, rows: list[int], confidence: float) -> list["_GroupedRecall | None"]:
        """See `_OfSamples`."""
        posterior = self._grouped.recalls(rows)
        values = np.stack([self._grouped.recalls([row]).recall for row in rows])
        low, high = posterior.limits(confidence)
        return [
            _GroupedRecall(values[:, k], float(low[k]), float(high[k]), posterior, k) if posterior.groups[k] else None
            for k in range(len(low))
        ]


class _GroupedRecall:
    """Mean recall of one class over the seeds where samples come in groups; see `_MeanRecall`."""

    def __init__(self, values: Floats, low: float, high: float, posterior: GroupedRecalls, k: int) -> None:
        self.values = values
        self.below, self.above = float(values.mean()) - low, high - float(values.mean())
        self._residuals = posterior.residuals(k)
        self._samples = float(posterior.samples[k])

    def correlation(self, other: "_GroupedRecall") -> float:
        """Return the correlation of the groups of both; their pseudo-samples are independent."""
        pseudo = [0.25 / (each._samples * (each._samples + 1)) for each in (self, other)]
        variances = [
            float(np.square(each._residuals).sum()) + added for each, added in zip((self, other), pseudo, strict=True)
        ]
        return float(self._residuals @ other._residuals) / math.sqrt(variances[0] * variances[1])


class _MeanRecall:
    """Mean recall of one class over the seeds, its `values`, and the distances `below` and `above` of its test part.

    Args:
        correct: 1 where a seed (row) predicts a sample (column) correctly.
        confidence: Confidence level.
    """

    def __init__(self, correct: NDArray[np.float64], confidence: float) -> None:
        self.values: Floats = correct.mean(axis=1)
        self._shares, self._samples = correct.mean(axis=0), correct.shape[1]
        hits, support = np.array([self._shares.sum()]), np.array([float(self._samples)])
        low, high = jeffreys(hits, support, confidence)
        # Moments include one pseudo-sample, correct with probability 1/2, as in Jeffreys' prior and in the resamples.
        self._mean = (float(hits[0]) + 0.5) / (self._samples + 1)
        self._variance = (float(np.square(self._shares).sum()) + 0.5) / (self._samples + 1) - self._mean**2
        # Trainings that make the same errors have the variance of a single one; independent errors give a smaller one.
        scale = math.sqrt(self._variance / (self._mean * (1 - self._mean)))
        value = float(hits[0]) / self._samples
        self.below, self.above = scale * (value - float(low[0])), scale * (float(high[0]) - value)

    def correlation(self, other: "_MeanRecall") -> float:
        """Return the correlation of the samples of both; their pseudo-samples are independent."""
        product = (float(self._shares @ other._shares) + 0.25) / (self._samples + 1)
        return float((product - self._mean * other._mean) / math.sqrt(self._variance * other._variance))


def _zou_donner(one: float, other: float, correlation: float) -> float:
    """Return the half width of a difference from those of both sides and their correlation (Zou & Donner 2008)."""
    return math.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0))
