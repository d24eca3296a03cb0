"""Samplers that give each class a quota of the epoch's draws, either fixed or changing over the epochs.

A position in the epoch is mapped to a sample in five steps:

1. position -> slot, by the epoch's keyed permutation;
2. slot -> class: each class owns one contiguous range of slots, as long as its quota;
3. slot -> index of this draw among all draws of the class since training began;
4. draw index -> place in the class's ring (see `index.py`);
5. place -> sample.

Every step has a closed form. Where quotas change over the epochs, the draws of earlier epochs are summed once for
each *stretch* of epochs with equal quotas.
"""

import bisect
import math
from abc import abstractmethod
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError
from tailfit.hashing import hash_words
from tailfit.samplers.arithmetic import Line
from tailfit.samplers.base import ClassPlan, Plan, Sampler, class_labels
from tailfit.samplers.index import LabelIndex
from tailfit.samplers.permutation import Permutation, Purpose
from tailfit.samplers.quotas import largest_remainder, power_shares
from tailfit.samplers.runs import Runs
from tailfit.schedules import Schedule

__all__ = ["ByShares", "ClassBalanced", "Progressive"]


@dataclass(frozen=True, kw_only=True)
class ByShares(Sampler):
    """Base of samplers that split each epoch between the classes.

    A subclass defines the shares (`_shares`), and may define the length of an epoch (`_quotas`).
    """

    by_class: ClassVar[bool] = True

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """Apply the sampler to labels; see `Sampler.plan`.

        The batch size has no effect: batches are consecutive parts of the epoch.
        """
        codes, index = class_labels(labels, seed)
        return _QuotaPlan(self, labels=codes, index=index, seed=seed, batch_size=batch_size)

    def _quotas(self, counts: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return the draws of each class in an epoch; their sum is the same for every epoch."""
        return largest_remainder(int(counts.sum()), self._shares(counts, epoch))

    @abstractmethod
    def _shares(self, counts: NDArray[np.int64], epoch: int) -> list[int]:
        """Return the share of each class in an epoch, as integers in proportion to the shares."""

    def _until(self, epoch: int) -> float:
        """Return the first point after an epoch at which the quotas may change; infinity if they never do."""
        return math.inf


@final
@dataclass(frozen=True, kw_only=True)
class ClassBalanced(ByShares):
    """Draw classes in proportion to `count ** power`: 1 keeps the class mix of the data, 0 balances the classes.

    An epoch has as many draws as there are samples. Each class gets its exact share, rounded up or down to an integer;
    the rounding is the same in every epoch unless the power follows a schedule. The members of a class are drawn
    equally often: over any consecutive epochs their counts differ by at most one. In a class with no more draws than
    members, no member is drawn twice in an epoch.

    Not to be confused with the loss `tailfit.losses.ClassBalanced`, which weights classes.

    Args:
        power: Exponent of the class sizes, finite, >= 0 (0.5 is square-root sampling); or a schedule of it, as in
            deferred re-sampling. With a power above 1, a rare class may get no draws at all.
    Raises:
        ArgumentError: If a power is out of range.
    Source: Kang et al. 2020, arXiv:1910.09217, eq. 1.

    >>> plan = ClassBalanced(power=0.0).plan(np.array([0, 0, 0, 1]), seed=7)
    >>> np.bincount(plan.labels[plan.indices(epoch=0, start=0, stop=4)]).tolist()
    [2, 2]
    >>> from tailfit.schedules import Deferred
    >>> plan = ClassBalanced(power=Deferred(1.0, 0.0, at=160)).plan(np.array([0, 0, 0, 1]))
    >>> plan.class_sums(epoch=159).tolist(), plan.class_sums(epoch=160).tolist()
    ([3.0, 1.0], [2.0, 2.0])
    """

    power: float | Schedule = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.power, Schedule):
            for knot in self.power.knots:
                _checked_power(self.power(knot), f"at epoch {knot:g} of {self.power!r}")
        else:
            object.__setattr__(self, "power", _checked_power(self.power))

    def _shares(self, counts: NDArray[np.int64], epoch: int) -> list[int]:
        if not isinstance(self.power, Schedule):
            return power_shares(counts, self.power)
        return power_shares(counts, _checked_power(self.power(epoch), f"at epoch {epoch} of {self.power!r}"))

    def _until(self, epoch: int) -> float:
        return self.power.until(epoch) if isinstance(self.power, Schedule) else math.inf


@final
@dataclass(frozen=True, kw_only=True)
class Progressive(ByShares):
    """Move from the class mix of the data to balanced classes, linearly over the first E epochs.

    In epoch e the share of a class is `(1 - e/E) count/N + (e/E) / C`. The classes are balanced from epoch E on.
    Otherwise the draws are those of `ClassBalanced`.

    Args:
        epochs: E, the first epoch in which the classes are balanced, >= 1.
    Raises:
        ArgumentError: If `epochs` is not an integer >= 1.
    Source: Kang et al. 2020, arXiv:1910.09217, eq. 2.

    >>> plan = Progressive(epochs=2).plan(np.array([0, 0, 0, 0, 0, 0, 0, 1]))
    >>> [plan.class_sums(epoch=epoch).tolist() for epoch in (0, 1, 2, 3)]
    [[7.0, 1.0], [6.0, 2.0], [4.0, 4.0], [4.0, 4.0]]
    """

    epochs: int = field(kw_only=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", whole_number("epochs", self.epochs, least=1))

    def _shares(self, counts: NDArray[np.int64], epoch: int) -> list[int]:
        # The shares over their common denominator E N C.
        done, samples = min(epoch, self.epochs), int(counts.sum())
        return [(self.epochs - done) * len(counts) * int(count) + done * samples for count in counts]

    def _until(self, epoch: int) -> float:
        return epoch + 1 if epoch < self.epochs else math.inf


class _Stretch(NamedTuple):
    """Consecutive epochs with equal quotas, `first` to `stop` (exclusive)."""

    first: int
    stop: float
    quotas: NDArray[np.int64]
    slots: NDArray[np.int64]  # the first slot of each class
    places: NDArray[np.int64]  # the place in each class's ring at the start of the first epoch


@final
class _QuotaPlan(ClassPlan):
    """A plan that draws the sampler's quota of each class in every epoch, in random order."""

    def __init__(
        self,
        sampler: ByShares,
        *,
        labels: NDArray[np.int64] | Runs,
        index: LabelIndex,
        seed: int,
        batch_size: int | None,
    ) -> None:
        size = int(sampler._quotas(index.counts, 0).sum())
        super().__init__(labels=labels, index=index, size=size, seed=seed, batch_size=batch_size)
        self._sampler = sampler
        self._stretches = [self._stretch(0, np.zeros_like(index.counts))]

    def _class_draws(self, epoch: int) -> NDArray[np.float64]:
        return self._stretch_of(epoch).quotas.astype(np.float64)

    def _draw(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        slots = Permutation(self._size, hash_words(self.seed, Purpose.SLOTS, epoch))(positions)
        stretch = self._stretch_of(epoch)
        classes = Line(stretch.slots + stretch.quotas).at(slots)
        # slot - first slot of the class = draw index within the epoch; added to the ring's place at the epoch's start.
        ahead = self._places(stretch, epoch) - stretch.slots
        return self._index.members(classes, (slots + ahead[classes]) % self._index.counts[classes])

    def _stretch_of(self, epoch: int) -> _Stretch:
        """Return the stretch that contains an epoch.

        The list of stretches is a cache of a pure function: it affects only the time of a call.
        """
        stretches = self._stretches
        if epoch >= stretches[-1].stop:
            # Replace the list by a longer copy: another thread must never see a list that is being extended.
            longer = list(stretches)
            while epoch >= longer[-1].stop:
                stop = int(longer[-1].stop)
                longer.append(self._stretch(stop, self._places(longer[-1], stop)))
            self._stretches = stretches = longer
        return stretches[bisect.bisect_right(stretches, epoch, key=lambda stretch: stretch.first) - 1]

    def _stretch(self, first: int, places: NDArray[np.int64]) -> _Stretch:
        until = self._sampler._until(first)
        quotas = self._sampler._quotas(self._index.counts, first)
        stop = until if math.isinf(until) else max(math.ceil(until), first + 1)
        return _Stretch(first, stop, quotas, np.cumsum(quotas) - quotas, places)

    def _places(self, stretch: _Stretch, epoch: int) -> NDArray[np.int64]:
        counts = self._index.counts
        return (stretch.places + places_after(epoch - stretch.first, stretch.quotas, counts)) % counts


def places_after(epochs: int, draws: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place in each ring after `epochs` epochs of `draws` draws: the product modulo `counts`."""
    if epochs * int(draws.max()) <= np.iinfo(np.int64).max:
        return epochs * draws % counts
    # The product overflows int64; Python's integers don't.
    exact = (epochs * each % count for each, count in zip(draws.tolist(), counts.tolist(), strict=True))
    return np.fromiter(exact, dtype=np.int64, count=len(draws))


def _checked_power(power: Any, where: str = "") -> float:
    number = isinstance(power, Real) and not isinstance(power, bool | np.bool_)
    if not number or not math.isfinite(power) or power < 0:
        raise ArgumentError(
            f"power={power!r} {where}".rstrip(),
            expected="a finite number >= 0",
            fix="pass 0 to balance the classes, 0.5 for square-root sampling, 1 to keep the class mix of the data",
        )
    return float(power)
