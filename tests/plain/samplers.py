"""What the battery needs to know of each sampler: a few configurations and what each of them promises."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tailfit import samplers
from tailfit.samplers import Bootstrap, ClassBalanced, Progressive, Sampler, Sequential, Shuffle
from tailfit.schedules import Deferred, Linear, Step


def discovered() -> list[type[Sampler]]:
    """Every sampler that users can name."""
    found = [getattr(samplers, name) for name in samplers.__all__]
    return [
        kind for kind in found if isinstance(kind, type) and issubclass(kind, Sampler) and not inspect.isabstract(kind)
    ]


@dataclass(frozen=True)
class Promise:
    """A configuration, with its laws written down independently of its code.

    Attributes:
        sampler: The configuration.
        quota: Exact draws of each class in an epoch, from the class counts.
        by_class: Whether it needs a class for each sample.
        shuffled: Whether seeds and epochs differ in order.
        level: Whether the class counts within every batch differ by at most one.
        golden: Draws of the fourth epoch for the labels and seed in test_samplers.py.
        follows: As `quota`, in an epoch, where the epochs differ. Then `quota` is what they come to,
        settled: from this epoch on.
    """

    sampler: Sampler
    quota: Callable[[np.ndarray], list[Fraction]]
    golden: list[int]
    by_class: bool = True
    shuffled: bool = True
    level: bool = False
    follows: Callable[[np.ndarray, int], list[Fraction]] | None = None
    settled: int = 0

    def exact(self, counts: np.ndarray, epoch: int) -> list[Fraction]:
        """Exact draws of each class in an epoch."""
        return self.quota(counts) if self.follows is None else self.follows(counts, epoch)


def every_sample_once(counts):
    return [Fraction(int(count)) for count in counts]


def share(power):
    def quota(counts):
        weights = [Fraction(float(count) ** power) for count in counts]
        return [int(counts.sum()) * weight / sum(weights) for weight in weights]

    return quota


def power_in(power):
    """Shares by a power that an epoch has."""
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
        ClassBalanced(power=Step([0.0, 2.0, 1.0], boundaries=[1.5, 10**5])),
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
]
