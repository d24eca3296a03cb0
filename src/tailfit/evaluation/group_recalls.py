"""Recall of a class whose samples come in groups: Jeffreys' interval with an effective sample size.

Windows of one recording resemble each other. With intra-group correlation ρ, n windows in groups of n_g are worth

    n*(ρ) = n² / (n + ρ · m / (m - 1) · Σ n_g (n_g - 1))

independent ones (Kish 1965, "Survey Sampling"; m groups; the factor m / (m - 1) is chosen by measured coverage with few
groups). Given ρ, the recall has Jeffreys' posterior Beta(r n* + 1/2, (1 - r) n* + 1/2), as in Korn & Graubard 1998,
"Confidence intervals for proportions with small expected number of positive counts estimated from survey data" (they
use Clopper and Pearson's limits). ρ itself is not known, and with few groups its estimate is poor. So the interval is
that of the mixture over the posterior of ρ: the hits of a group are beta-binomial, and √ρ is uniform a priori.

Why not resample the groups: where 23 of 24 groups are predicted well and one fails, a bootstrap or jackknife finds
hardly any variance in most test sets, and all of it in a few. `benchmarks/coverage` measures these alternatives.

Groups of one sample each have n* = n for every ρ: the interval is Jeffreys'. One group alone gives no information
on ρ, and next to none on the recall of other groups.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.special import betainc, betaincinv, betaln

from tailfit.evaluation.metrics import Codes, Floats

__all__ = ["GroupCells", "GroupedRecalls", "cells_of"]

_PRIOR: Final = 0.5
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_RHO: Final = ((_NODES + 1) / 2) ** 2  # √ρ is uniform on (0, 1)
_LEVELS: Final = (np.arange(5) + 0.5) / 5  # quantiles at which the likelihood of a recall is evaluated
_MOST_CELLS: Final = 20_000  # cells of which the likelihood is evaluated at once


@dataclass(frozen=True)
class GroupCells:
    """Samples and hits of each group in each class, for the pairs that occur, sorted by class and group.

    Attributes:
        bounds: Range of the cells of class k: `bounds[k]` to `bounds[k + 1]`, `[C + 1]`.
        group: Group of each cell.
        samples: Samples of each cell.
        hits: Correct predictions of each cell; means over trainings may be fractions.
    """

    bounds: Codes
    group: Codes
    samples: Floats
    hits: Floats

    def residuals(self) -> Floats:
        """Return what each cell adds to the recall of its class, less its expectation."""
        counts = np.diff(self.bounds)
        starts = self.bounds[:-1][counts > 0]
        total, hits = (
            np.repeat(np.add.reduceat(each, starts), counts[counts > 0]) for each in (self.samples, self.hits)
        )
        return np.asarray((self.hits - hits / total * self.samples) / total, np.float64)


def cells_of(y_true: Codes, correct: Floats, groups: Codes, num_groups: int, num_classes: int) -> GroupCells:
    """Count samples and hits by class and group.

    Args:
        y_true: Class indices, `[n]`.
        correct: 1 where the prediction is correct, or the share of trainings for which it is, `[n]`.
        groups: Group of each sample, `[n]`.
        num_groups: G.
        num_classes: C.

    >>> cells = cells_of(np.array([0, 0, 1]), np.array([1.0, 0, 1]), np.array([0, 0, 1]), 2, 2)
    >>> cells.samples.tolist(), cells.hits.tolist(), cells.bounds.tolist()
    ([2.0, 1.0], [1.0, 1.0], [0, 1, 2])
    """
    keys, cell, samples = np.unique(y_true * num_groups + groups, return_inverse=True, return_counts=True)
    hits: Any = np.bincount(cell.reshape(-1), weights=correct, minlength=len(keys))
    bounds = np.searchsorted(keys, np.arange(num_classes + 1) * num_groups)
    return GroupCells(bounds.astype(np.int64), keys % num_groups, samples.astype(np.float64), hits)


class GroupedRecalls:
    """Posterior of the recall of each class; NaN for classes without samples.

    Attributes:
        recall: Share of correct predictions, `[C]`.
        groups: Number of groups with samples of the class, `[C]`.
        samples: Effective number of samples, the harmonic mean of n* over ρ, `[C]`.
        mean: Mean of the posterior, `[C]`.
        variance: Variance of the posterior, `[C]`.
        between: Variance of `recall` as estimated between the groups, 0 with one group, `[C]`.

    >>> cells = cells_of(np.array([0] * 8 + [1]), np.array([1.0] * 8 + [0]), np.array([0] * 4 + [1] * 4 + [0]), 2, 2)
    >>> low, high = GroupedRecalls(cells).limits(0.95)
    >>> bool(0.1 < low[0] < 0.6), float(high[0])  # 8 of 8, in two groups; Jeffreys: 0.740
    (True, 1.0)
    """

    def __init__(self, cells: GroupCells) -> None:
        counts = np.diff(cells.bounds)
        present = np.flatnonzero(counts)
        starts = cells.bounds[present]
        self._present, self._num_classes = present, len(counts)
        total, hits, squares = (
            np.add.reduceat(values, starts) for values in (cells.samples, cells.hits, np.square(cells.samples))
        )
        number = counts[present].astype(np.float64)
        deff = _RHO * ((squares - total) * number / np.maximum(number - 1, 1))[:, np.newaxis]
        effective = np.square(total)[:, np.newaxis] / (total[:, np.newaxis] + deff)
        share = np.minimum(hits / total, 1.0)
        self._a = share[:, np.newaxis] * effective + _PRIOR
        self._b = (1 - share)[:, np.newaxis] * effective + _PRIOR
        self._weights = _posterior_of_rho(self._a, self._b, *_distinct(cells))
        means = self._a / (self._a + self._b)
        mean = (self._weights * means).sum(axis=1)
        spread = means * (1 - means) / (self._a + self._b + 1) + np.square(means - mean[:, np.newaxis])
        self._certain = np.stack([hits <= 0, hits >= total])
        self._residuals, self._bounds = cells.residuals(), cells.bounds
        squared = np.add.reduceat(np.square(self._residuals), starts)
        self.between = self._by_class(np.where(number > 1, squared * number / np.maximum(number - 1, 1), 0.0))
        self.groups = counts
        self.recall = self._by_class(share)
        self.samples = self._by_class(1 / (self._weights / effective).sum(axis=1))
        self.mean = self._by_class(mean)
        self.variance = self._by_class((self._weights * spread).sum(axis=1))

    def residuals(self, k: int) -> Floats:
        """Return what each group of class k adds to its recall, less its expectation, in the order of the groups."""
        return self._residuals[self._bounds[k] : self._bounds[k + 1]]

    def limits(self, confidence: float) -> tuple[Floats, Floats]:
        """Return the ends of the interval of each class, closed at 0 without hits and at 1 without misses."""
        tail = (1 - confidence) / 2
        low = np.where(self._certain[0], 0.0, self._quantile(tail))
        high = np.where(self._certain[1], 1.0, self._quantile(1 - tail))
        return self._by_class(low), self._by_class(high)

    def _quantile(self, level: float) -> Floats:
        """Return a quantile of each mixture, by Newton's method within a bracket that shrinks."""
        each = betaincinv(self._a, self._b, level)
        low, high = each.min(axis=1), each.max(axis=1)
        at = (self._weights * each).sum(axis=1)
        with np.errstate(all="ignore"):  # a density of 0 or infinity at the ends; then the bracket is halved
            for _ in range(60):
                x = at[:, np.newaxis]
                excess = (self._weights * betainc(self._a, self._b, x)).sum(axis=1) - level
                low, high = np.where(excess < 0, at, low), np.where(excess < 0, high, at)
                log_density = (self._a - 1) * np.log(x) + (self._b - 1) * np.log1p(-x) - betaln(self._a, self._b)
                step = at - excess / (self._weights * np.exp(log_density)).sum(axis=1)
                following = np.where((step >= low) & (step <= high), step, (low + high) / 2)
                done = np.abs(following - at).max(initial=0.0) < 1e-12
                at = following
                if done:
                    break
        return np.asarray(at, np.float64)

    def _by_class(self, values: Floats) -> Floats:
        out = np.full(self._num_classes, np.nan)
        out[self._present] = values
        return out


def _distinct(cells: GroupCells) -> tuple[Codes, Floats, Floats, Codes]:
    """Return the distinct pairs of samples and hits: position of the class, samples, hits, and number of groups."""
    counts = np.diff(cells.bounds)
    position: Any = np.repeat(np.arange(np.count_nonzero(counts)), counts[counts > 0])
    order = np.lexsort((cells.hits, cells.samples, position))
    columns: list[Any] = [position[order], cells.samples[order], cells.hits[order]]
    new = np.ones(len(order), bool)
    new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    first = np.flatnonzero(new)
    position, samples, hits = (column[first] for column in columns)
    return position, samples, hits, np.asarray(np.diff(first, append=len(order)))


def _posterior_of_rho(a: Floats, b: Floats, position: Codes, samples: Floats, hits: Floats, counts: Codes) -> Floats:
    """Return the posterior weights of the nodes of ρ, from the beta-binomial likelihood of the groups' hits, `[C, K]`.

    The recall is integrated out at each node by importance sampling: at quantiles of Beta(a, b), which is near the
    posterior of the recall there.
    """
    a, b = a[..., np.newaxis], b[..., np.newaxis]
    recall = np.clip(betaincinv(a, b, _LEVELS), 1e-9, 1 - 1e-9)
    scale = ((1 - _RHO) / _RHO)[:, np.newaxis]
    alpha, beta = recall * scale, (1 - recall) * scale
    groups = np.bincount(position, weights=counts)
    likelihood = -groups[:, np.newaxis, np.newaxis] * betaln(alpha, beta)
    for start in range(0, len(position), _MOST_CELLS):
        part = slice(start, start + _MOST_CELLS)
        of, n, h, times = (each[part, np.newaxis, np.newaxis] for each in (position, samples, hits, counts))
        terms = times * betaln(alpha[position[part]] + h, beta[position[part]] + (n - h))
        starts = np.flatnonzero(np.diff(of.ravel(), prepend=-1))
        likelihood[of.ravel()[starts]] += np.add.reduceat(terms, starts, axis=0)
    # Jeffreys' prior of the recall over the density that the points were drawn from.
    prior = -_PRIOR * (np.log(recall) + np.log1p(-recall))
    drawn = (a - 1) * np.log(recall) + (b - 1) * np.log1p(-recall) - betaln(a, b)
    log_weights = likelihood + prior - drawn
    weights = np.exp(log_weights - log_weights.max(axis=(1, 2), keepdims=True)).mean(axis=2) * _WEIGHTS
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)
