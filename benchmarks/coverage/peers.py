"""Other intervals for grouped samples, for balanced accuracy and for the recall of one class.

Groups are resampled with replacement, stratified by class where each has a single one: their counts times multinomial
weights, as a matrix product. "percentile": quantiles of the resamples (Efron 1979). "BCa": bias-corrected and
accelerated (Efron 1987). "bootstrap-t": quantiles of the studentised deviations (Davison & Hinkley 1997, sec. 5.2).
"jackknife t": delete one group, Student's t with groups - 1 degrees of freedom (Cameron & Miller 2015).
"""

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit


class GroupCounts:
    """Hits and samples by group and class, and multinomial weights of resamples."""

    def __init__(self, y, predicted, groups, classes, resamples, rng):
        number = int(groups.max()) + 1
        cell = groups * classes + y
        self.samples = np.bincount(cell, minlength=number * classes).reshape(number, classes).astype(float)
        self.hits = np.bincount(cell, weights=predicted == y, minlength=number * classes).reshape(number, classes)
        of_one = (self.samples > 0).sum(axis=1) == 1
        self.strata = np.where(of_one, self.samples.argmax(axis=1), classes)
        self.weights = np.zeros((resamples, number))
        for stratum in np.unique(self.strata):
            members = np.flatnonzero(self.strata == stratum)
            shares = np.full(len(members), 1 / len(members))
            self.weights[:, members] = rng.multinomial(len(members), shares, size=resamples)

    def intervals(self, classes, confidence=0.95):
        """Return the ends of each kind of interval of the mean recall of some classes."""
        hits, samples, used = self._of(classes)
        value, influence = self._value(np.ones(len(hits)), hits, samples)
        deviation = self._deviation(np.ones((1, len(hits))), influence[np.newaxis])[0]
        with np.errstate(all="ignore"):  # a resample without samples of a class
            drawn, influences = self._value(self.weights[:, used], hits, samples)
            spread = self._deviation(self.weights[:, used], influences)
        tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
        studentised = (drawn - value) / np.where(spread > 0, spread, np.nan)
        studentised = studentised[np.isfinite(studentised)]
        drawn = drawn[np.isfinite(drawn)]
        t = np.quantile(studentised, tails) if len(studentised) else np.zeros(2)
        half = stdtrit(len(hits) - len(np.unique(self.strata[used])), tails[1]) * deviation
        return {
            "percentile": tuple(np.quantile(drawn, tails)),
            "BCa": self._bca(value, drawn, influence, tails),
            "bootstrap-t": (value - t[1] * deviation, value - t[0] * deviation),
            "jackknife t": (value - half, value + half),
        }

    def _of(self, classes):
        used = self.samples[:, classes].sum(axis=1) > 0
        return self.hits[used][:, classes], self.samples[used][:, classes], used

    @staticmethod
    def _value(weights, hits, samples):
        recalls = (weights @ hits) / (weights @ samples)
        totals = weights @ samples
        influences = ((hits - recalls[..., np.newaxis, :] * samples) / totals[..., np.newaxis, :]).mean(axis=-1)
        return recalls.mean(axis=-1), influences

    def _deviation(self, weights, influences):
        number = influences.shape[1]
        factor = number / max(number - 1, 1)
        return np.sqrt(factor * (weights * np.square(influences)).sum(axis=1))

    @staticmethod
    def _bca(value, drawn, influence, tails):
        below = (np.sum(drawn < value) + 0.5 * np.sum(drawn == value)) / len(drawn)
        bias = ndtri(np.clip(below, 1e-6, 1 - 1e-6))
        cubes, squares = np.sum(influence**3), np.sum(influence**2)
        acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0
        shifted = bias + ndtri(tails)
        levels = ndtr(bias + shifted / (1 - acceleration * shifted))
        return tuple(np.quantile(drawn, np.clip(levels, 0, 1)))
