"""Confidence intervals of test samples that come in groups, such as windows of recordings.

The model: groups are drawn at random, and with each all of its samples. An interval that resamples single windows
assumes that windows are independent, and is far too narrow: for 24 recordings of 30 windows whose recalls scatter as
Beta(0.84, 0.36), a 95 % interval contains the true recall in 39 % of the cases (`benchmarks/coverage`).

- *Recall of a class*: see `tailfit.evaluation.group_recalls`.
- *Figures over all classes*: the variance between groups of what each group adds to the figure (its influence, the
  infinitesimal jackknife; Davison & Hinkley 1997, "Bootstrap Methods and their Application", sec. 2.7 and 3.8), with
  groups of a single class stratified by that class, and all others in one stratum. If the posterior variance of the
  recall of a class exceeds that estimate, the excess is added: five groups without an error are no proof of a variance
  of 0. The interval uses Student's t, with degrees of freedom by Satterthwaite (1946, doi:10.2307/3002019), on the
  logit scale. As in `tailfit.evaluation.intervals`, only the spread is taken from there, and added to the figure.
- *G-mean where a class has recall 0*, and *worst class*: the rules of `tailfit.evaluation.intervals`, with effective
  numbers of samples.
- *Difference between two classifiers*: the same with the difference of their influences in each group, so groups that
  are hard for both do not widen the interval. For the worst class, and for G-means of 0, the two intervals are combined
  as if independent.

With t quantiles and few groups, intervals of this kind are more exact than those of a bootstrap (Cameron & Miller 2015,
"A Practitioner's Guide to Cluster-Robust Inference", J. Human Resources 50, 317, sec. VI). It was chosen by measured
coverage: see `docs/intervals.md`. Nothing here is random, except the upper end of a G-mean of 0.

Every figure is smooth in three sums over the samples of each class (support, hits, predictions), so the influence of a
sample depends on its class and its prediction only, and a million windows cost one pass for each figure.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy.special import expit, stdtrit

from tailfit.evaluation.group_recalls import GroupedRecalls, cells_of
from tailfit.evaluation.intervals import philox, zero_geometric_mean, zou_donner
from tailfit.evaluation.metrics import Codes, Figure, Floats, class_counts, f1_scores, overall

__all__ = ["FEW_GROUPS", "GroupedPredictions", "group_difference_figures"]

_RESAMPLES: Final = 1000  # for the upper end of a G-mean of 0
FEW_GROUPS: Final = 5
"""Number of groups of a class below which its interval is marked as not to be trusted."""


class GroupedPredictions:
    """Influences of the groups on each figure of M classifiers on the same samples.

    Args:
        y_true: Class indices, `[n]`.
        predictions: Predicted class indices, `[M, n]`.
        groups: Group of each sample, `[n]`.
        num_groups: G.
        num_classes: C.

    Attributes:
        values: Each figure by its key in `metrics.OVERALL`, `[M]`.
        influences: What each group adds to the figure, `[M, G]`; to that of the worst class, as if it
            stayed the worst.

    >>> y, groups = np.repeat([0, 1], 50), np.arange(100) // 10
    >>> grouped = GroupedPredictions(y, np.zeros((1, 100), int), groups, 10, 2)
    >>> float(grouped.figures(0, confidence=0.95, seed=0)["balanced_accuracy"])
    0.5
    """

    def __init__(self, y_true: Codes, predictions: Codes, groups: Codes, num_groups: int, num_classes: int) -> None:
        self.y_true, self.predictions, self.groups = y_true, predictions, groups
        self.num_groups, self.num_classes = num_groups, num_classes
        self._strata = _strata_of(y_true, groups, num_groups, num_classes)
        self.values: dict[str, Floats] = {}
        self.influences: dict[str, Floats] = {}
        self._slopes: dict[str, Floats] = {}
        results = [self._of_classifier(predicted) for predicted in predictions]
        for key in results[0][0]:
            self.values[key] = np.array([values[key] for values, _, _ in results])
        for key in results[0][1]:
            self.influences[key] = np.stack([influences[key] for _, influences, _ in results])
            self._slopes[key] = np.stack([slopes[key] for _, _, slopes in results])
        self._recalls: dict[tuple[int, ...], GroupedRecalls] = {}

    def recalls(self, rows: Sequence[int]) -> GroupedRecalls:
        """Return the posterior of the mean recall of some classifiers, by class."""
        key = tuple(rows)
        if key not in self._recalls:
            correct = (self.predictions[list(key)] == self.y_true).mean(axis=0)
            self._recalls[key] = GroupedRecalls(
                cells_of(self.y_true, correct, self.groups, self.num_groups, self.num_classes)
            )
        return self._recalls[key]

    def interval(self, rows: Sequence[int], key: str, confidence: float) -> Figure:
        """Return the mean of a figure over some classifiers, with its interval."""
        value, recalls = float(self.values[key][list(rows)].mean()), self.recalls(rows)
        slopes = self._slopes[key][list(rows)].mean(axis=0)
        low, high = self._around(value, rows, key, recalls, slopes, confidence)
        return Figure(value, max(0.0, min(low, value)), min(1.0, max(high, value)))

    def figures(self, row: int, confidence: float, seed: int) -> dict[str, Figure]:
        """Return the figures of one classifier over all classes, with their intervals."""
        figures = {key: self.interval([row], key, confidence) for key in self.influences}
        recalls = self.recalls([row])
        low, _ = recalls.limits(confidence)
        _, high = recalls.limits(1 - (1 - confidence) / np.count_nonzero(recalls.groups))
        figures["worst_class_recall"] = Figure(np.nanmin(recalls.recall), np.nanmin(low), np.nanmin(high))
        if float(figures["geometric_mean"]) == 0.0:
            samples = np.nan_to_num(recalls.samples)
            hits = np.nan_to_num(recalls.recall) * samples
            figures["geometric_mean"] = zero_geometric_mean(
                hits, samples, (1 - confidence) / 2, _RESAMPLES, philox(seed)
            )
        return {key: figures[key] for key in self.values}

    def half_width(self, new: Sequence[int], old: Sequence[int], key: str, confidence: float) -> float:
        """Return half the width of the interval of the mean difference between two sets of classifiers."""
        influences = self.influences[key][list(new)].mean(axis=0) - self.influences[key][list(old)].mean(axis=0)
        slopes = (self._slopes[key][list(new)].mean(axis=0) + self._slopes[key][list(old)].mean(axis=0)) / 2
        samples = np.fmin(self.recalls(new).samples, self.recalls(old).samples)
        # One pseudo-sample of each, on which they differ with probability 1/2.
        added = np.square(slopes) * 0.5 / (samples * (samples + 1))
        return _half_width(influences, self._strata, added, samples, confidence)

    def _around(
        self, value: float, rows: Sequence[int], key: str, recalls: GroupedRecalls, slopes: Floats, confidence: float
    ) -> tuple[float, float]:
        influences = self.influences[key][list(rows)].mean(axis=0)
        added = np.square(slopes) * np.maximum(recalls.variance - recalls.between, 0.0)
        half = _half_width(influences, self._strata, added, recalls.samples, confidence)
        # The spread is that of the smoothed figure, which is never 0 or 1.
        centre = value + float(np.nansum(slopes * (recalls.mean - recalls.recall)))
        # It lies towards 1/2, as do the smoothed recalls; the linear term overshoots for a G-mean with a recall near 0.
        centre = min(max(centre, min(value, 0.5), 1e-6), max(value, 0.5), 1 - 1e-6)
        logit = np.log(centre / (1 - centre))
        scaled = half / (centre * (1 - centre))
        low, high = expit(logit - scaled), expit(logit + scaled)
        return value + float(low) - centre, value + float(high) - centre

    def _of_classifier(self, predicted: Codes) -> tuple[dict[str, float], dict[str, Floats], dict[str, Floats]]:
        """Return the figures of one classifier, the influences of the groups, and the slope by each class's recall."""
        hits, columns, support = class_counts(self.y_true, predicted, self.num_classes)
        counted = (support > 0) | (columns > 0)
        values = {key: float(value) for key, value in overall(hits, columns, support, counted).items()}
        influences: dict[str, Floats] = {}
        slopes: dict[str, Floats] = {}
        for key, (of_hit, of_sample, of_prediction) in _gradients(hits, columns, support, values).items():
            of_each = of_sample[self.y_true] + of_prediction[predicted]
            of_each += np.where(predicted == self.y_true, of_hit[self.y_true], 0.0)
            totals: Any = np.bincount(self.groups, weights=of_each, minlength=self.num_groups)
            influences[key] = totals
            slopes[key] = np.where(support > 0, (of_hit + (of_prediction if key == "macro_f1" else 0.0)) * support, 0.0)
        return values, influences, slopes


def group_difference_figures(
    grouped: GroupedPredictions, baseline: dict[str, Figure], candidate: dict[str, Figure], confidence: float
) -> dict[str, Figure]:
    """Return the second classifier minus the first, with intervals; given the figures of both."""
    differences = {}
    for key in grouped.values:
        old, new = baseline[key], candidate[key]
        if key == "worst_class_recall" or (key == "geometric_mean" and 0.0 in (float(old), float(new))):
            differences[key] = zou_donner(old, new)
        else:
            value, half = float(new) - float(old), grouped.half_width([1], [0], key, confidence)
            differences[key] = Figure(value, max(-1.0, value - half), min(1.0, value + half))
    return differences


def _gradients(
    hits: Floats, predicted: Floats, support: Floats, values: dict[str, float]
) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Return the derivatives of each figure by hits, support and predictions of each class, `[C]` each."""
    present, none = support > 0, np.zeros_like(support)
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=present)
    mean = np.divide(1.0, support * present.sum(), out=np.zeros_like(hits), where=present)
    # 0 where a recall is 0: the G-mean then has an interval of its own.
    ratio = np.divide(values["geometric_mean"], recall, out=np.zeros_like(recall), where=recall > 0)
    counted = (support > 0) | (predicted > 0)
    share = np.divide(1.0, (support + predicted) * counted.sum(), out=np.zeros_like(hits), where=counted)
    f1 = f1_scores(hits, predicted, support)
    each = np.full_like(support, 1 / support.sum())
    # For deciding only: intervals of the worst class have rules of their own.
    worst = np.zeros_like(support)
    lowest = np.argmin(np.where(present, recall, np.inf))
    worst[lowest] = 1 / support[lowest]
    return {
        "balanced_accuracy": (mean, -recall * mean, none),
        "macro_f1": (2 * share, -f1 * share, -f1 * share),
        "geometric_mean": (ratio * mean, -ratio * recall * mean, none),
        "worst_class_recall": (worst, -recall * worst, none),
        "accuracy": (each, -values["accuracy"] * each, none),
    }


def _strata_of(y_true: Codes, groups: Codes, num_groups: int, num_classes: int) -> Codes:
    """Return the stratum of each group: its class, if that is its only one and another such group exists."""
    pairs = np.unique(groups * num_classes + y_true)
    group, of_class = pairs // num_classes, pairs % num_classes
    alone = np.bincount(group, minlength=num_groups) == 1
    strata = np.full(num_groups, num_classes)
    strata[group[alone[group]]] = of_class[alone[group]]
    sizes = np.bincount(strata, minlength=num_classes + 1)
    strata[sizes[strata] < 2] = num_classes
    return strata


def _half_width(influences: Floats, strata: Codes, added: Floats, samples: Floats, confidence: float) -> float:
    """Return half the width of an interval: Student's t times the root of the variance between groups, and more.

    Args:
        influences: What each group adds to the figure, `[G]`.
        strata: Stratum of each group, `[G]`.
        added: Further variance from each class, `[C]`.
        samples: Degrees of freedom of `added`, `[C]`.
        confidence: Confidence level.
    """
    sizes = np.bincount(strata)
    used = sizes > 1
    centred = influences - (np.bincount(strata, weights=influences) / np.maximum(sizes, 1))[strata]
    variances = (np.bincount(strata, weights=np.square(centred)) * sizes / np.maximum(sizes - 1, 1))[used]
    present = np.isfinite(added) & (added > 0)
    total = float(variances.sum() + added[present].sum())
    if total == 0.0:
        return 0.0
    squares = (np.square(variances) / (sizes[used] - 1)).sum() + (np.square(added[present]) / samples[present]).sum()
    return float(stdtrit(total**2 / float(squares), (1 + confidence) / 2)) * math.sqrt(total)
