"""Configurations of each sampler for the test battery, with the properties that each must have."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tailfit import samplers
from tailfit.samplers import (
    Bootstrap,
    ByLength,
    ClassBalanced,
    PerClass,
    Plan,
    Progressive,
    RepeatFactor,
    Sampler,
    Sequential,
    Shuffle,
    Stratified,
    Weighted,
)
from tailfit.schedules import Deferred, Linear, Piecewise


def discovered() -> list[type[Sampler]]:
    """Return every public sampler class."""
    found = [getattr(samplers, name) for name in samplers.__all__]
    return [
        kind for kind in found if isinstance(kind, type) and issubclass(kind, Sampler) and not inspect.isabstract(kind)
    ]


@dataclass(frozen=True)
class Promise:
    """A configuration of a sampler, and its properties, defined independently of the code under test.

    Attributes:
        sampler: The configuration.
        quota: Function from class counts to the exact draws of each class in an epoch; None means equal draws.
        by_class: Whether the sampler needs a class for each sample.
        shuffled: Whether the order depends on the seed and the epoch.
        level: Whether the class counts within every batch differ by at most one.
        golden: Ten draws of the fourth epoch for the labels and the seed in test_battery.py.
        follows: `quota` as a function of the epoch, too, for samplers that change over the epochs.
        settled: First epoch from which such a sampler has the quota `quota`.
        unit: Class counts are multiples of it, and within one unit of the quota.
        fits: Function from (number of classes, batch size) to the largest valid batch size that is not larger.
        of_labels: Function from labels to the sampler, if its configuration depends on the labels.
        rings: Whether the members of a class are drawn equally often, within one over consecutive epochs.
        tolerance: Relative tolerance of the average draws over many epochs.
        multi_label: Whether the sampler accepts multi-label samples.
    """

    sampler: Sampler
    quota: Callable[[np.ndarray], list[Fraction]] | None
    golden: list[int]
    by_class: bool = True
    shuffled: bool = True
    level: bool = False
    follows: Callable[[np.ndarray, int], list[Fraction]] | None = None
    settled: int = 0
    unit: int = 1
    fits: Callable[[int, int], int] = lambda classes, batch: batch
    of_labels: Callable[[np.ndarray], Sampler] | None = None
    rings: bool = True
    tolerance: float = 1e-12
    multi_label: bool = False

    def plan(self, labels, seed=0, batch_size=None) -> Plan:
        """Return a plan for the labels, with a batch size that the sampler accepts."""
        sampler = self.sampler if self.of_labels is None else self.of_labels(labels)
        if isinstance(batch_size, int | np.integer) and batch_size >= 1:
            batch_size = self.fits(len(np.unique(labels)) if len(labels) else 1, batch_size)
        return sampler.plan(labels, seed, batch_size)

    def exact(self, counts: np.ndarray, epoch: int, size: int) -> list[Fraction]:
        """Return the exact draws of each class in an epoch of `size` draws."""
        if self.quota is None:
            return [Fraction(size, len(counts))] * len(counts)
        return self.quota(counts) if self.follows is None else self.follows(counts, epoch)


def every_sample_once(counts):
    return [Fraction(int(count)) for count in counts]


def share(power):
    def quota(counts):
        weights = [Fraction(float(count) ** power) for count in counts]
        return [int(counts.sum()) * weight / sum(weights) for weight in weights]

    return quota


def power_in(power):
    """Return the quota for a power that depends on the epoch."""
    return lambda counts, epoch: share(power(epoch))(counts)


def progressive(epochs):
    def quota(counts, epoch):
        done, samples = Fraction(min(epoch, epochs), epochs), int(counts.sum())
        return [(1 - done) * int(count) + done * Fraction(samples, len(counts)) for count in counts]

    return quota


def equal(counts):
    return [Fraction(int(counts.sum()), len(counts))] * len(counts)


def as_the_largest(counts):
    return [Fraction(int(counts.max()))] * len(counts)


def repeated(threshold):
    def quota(counts):
        factors = [max(1.0, float(threshold * counts.sum() / count) ** 0.5) for count in counts]
        exact = [int(count) * Fraction(factor) for count, factor in zip(counts, factors, strict=True)]
        # An epoch has an integer number of draws: the fractional draws are rounded in total, and split in proportion.
        parts = [share % count for share, count in zip(exact, counts.tolist(), strict=True)]
        total = int(sum(parts) + Fraction(1, 2))
        scale = Fraction(total) / sum(parts) if sum(parts) else 0
        return [share - part + part * scale for share, part in zip(exact, parts, strict=True)]

    return quota


def pairs(classes, batch):
    """Return the size of the largest batch of pairs."""
    return 2 * min(max(batch // 2, 1), classes)


def by_class_code(labels):
    codes = np.unique(labels, return_inverse=True)[1] if len(labels) else np.zeros(1, dtype=int)
    return Weighted(0.5 + codes.reshape(-1) % 3)


def of_mixed_lengths(labels):
    return ByLength(np.arange(max(len(labels), 1)) * 7 % 11, buckets=3)


PROMISES = [
    Promise(Sequential(), every_sample_once, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19], by_class=False, shuffled=False),
    Promise(Shuffle(), every_sample_once, [29, 2, 51, 65, 67, 49, 15, 4, 31, 66], by_class=False),
    Promise(ClassBalanced(), share(0), [72, 70, 74, 76, 77, 60, 78, 19, 65, 78]),
    Promise(ClassBalanced(power=0.5), share(0.5), [26, 37, 3, 49, 66, 6, 7, 48, 16, 74]),
    Promise(ClassBalanced(power=1), every_sample_once, [53, 63, 51, 35, 18, 56, 59, 60, 69, 44]),
    Promise(ClassBalanced(power=2.0), share(2), [67, 24, 32, 1, 17, 35, 56, 62, 29, 27]),
    Promise(
        ClassBalanced(power=Linear(1.0, 0.0, epochs=4)),
        share(0),
        [75, 74, 56, 73, 70, 47, 77, 21, 66, 77],
        follows=power_in(lambda epoch: 1 - min(epoch, 4) / 4),
        settled=4,
    ),
    Promise(
        ClassBalanced(power=Piecewise([0.0, 2.0, 1.0], boundaries=[1.5, 10**5])),
        every_sample_once,
        [12, 22, 25, 48, 2, 5, 33, 42, 9, 29],
        follows=power_in(lambda epoch: 0 if epoch < 2 else 2 if epoch < 10**5 else 1),
        settled=10**5,
    ),
    Promise(
        ClassBalanced(power=Deferred(1.0, 0.0, at=2)),
        share(0),
        [72, 70, 74, 76, 77, 19, 78, 8, 53, 78],
        follows=power_in(lambda epoch: 1 if epoch < 2 else 0),
        settled=2,
    ),
    Promise(Progressive(epochs=5), equal, [76, 11, 13, 9, 74, 36, 70, 32, 26, 70], follows=progressive(5), settled=5),
    Promise(Bootstrap(), equal, [75, 80, 51, 68, 74, 72, 79, 79, 65, 71], level=True),
    Promise(Bootstrap(cover=True), as_the_largest, [73, 79, 12, 32, 77, 78, 81, 79, 10, 74], level=True),
    Promise(Stratified(), every_sample_once, [45, 30, 3, 32, 70, 49, 72, 58, 24, 13]),
    Promise(RepeatFactor(0.3), repeated(0.3), [53, 63, 51, 35, 81, 56, 79, 60, 81, 44], multi_label=True),
    Promise(RepeatFactor(1.0), repeated(1.0), [52, 31, 29, 54, 76, 72, 70, 78, 81, 80], multi_label=True),
    Promise(PerClass(2), None, [6, 81, 75, 17, 81, 78, 28, 80, 70, 79], unit=2, fits=pairs),
    Promise(
        PerClass(1), None, [78, 79, 69, 71, 80, 10, 73, 80, 70, 27], fits=lambda classes, batch: min(batch, classes)
    ),
    Promise(
        Weighted([1.0, 0.5, 0.0]),
        every_sample_once,
        [39, 2, 69, 76, 77, 66, 20, 5, 42, 76],
        of_labels=by_class_code,
        by_class=False,
        rings=False,
        tolerance=0.02,
    ),
    Promise(
        ByLength([3, 9, 4], buckets=2),
        every_sample_once,
        [49, 22, 16, 41, 32, 76, 59, 43, 78, 18],
        of_labels=of_mixed_lengths,
        by_class=False,
    ),
]
