"""Samplers that give each class a share of the epoch, the same in all of them or another one in each.

The way of an index: position in the epoch -> slot, by the epoch's keyed permutation -> class, as the slots
are dealt out to the classes in one run each -> number of the draw among all of the class since the run
began -> place in the class's ring -> sample. Every step has a closed form; where shares change, the draws of
all earlier epochs are added up once, stretch by stretch of equal shares.
"""

import bisect
import math
from abc import abstractmethod
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError
from tailfit.samplers.arithmetic import Line
from tailfit.samplers.base import ClassPlan, Plan, Sampler, class_labels, whole_number
from tailfit.samplers.index import LabelIndex
from tailfit.samplers.permutation import Permutation, Purpose, hash_words
from tailfit.samplers.quotas import largest_remainder, power_shares
from tailfit.samplers.runs import Runs
from tailfit.schedules import Schedule

__all__ = ["ByShares", "ClassBalanced", "Progressive"]


@dataclass(frozen=True, kw_only=True)
class ByShares(Sampler):
    """Deals each epoch out to the classes; a subclass says in which shares, and perhaps how long an epoch is."""

    by_class: ClassVar[bool] = True

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """As `Sampler.plan`; batches are stretches of the epoch, so the batch size changes nothing."""
        codes, index = class_labels(labels, seed)
        return _QuotaPlan(self, labels=codes, index=index, seed=seed, batch_size=batch_size)

    def _quotas(self, counts: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Draws of each class in an epoch; their sum is the same in all of them."""
        return largest_remainder(int(counts.sum()), self._shares(counts, epoch))

    @abstractmethod
    def _shares(self, counts: NDArray[np.int64], epoch: int) -> list[int]:
        """Whole numbers in proportion to the share of each class in an epoch."""

    def _until(self, epoch: int) -> float:
        """The first point after an epoch at which the quotas may be others; infinity for never."""
        return math.inf


@final
@dataclass(frozen=True, kw_only=True)
class ClassBalanced(ByShares):
    """Class shares proportional to `count ** power`: 1 keeps the data's mix, 0.5 its square root, 0 levels it.

    An epoch has as many draws as there are samples. Each class gets its exact share rounded to a neighbouring
    whole number, the same every epoch unless the power follows a schedule. Every member of a class is drawn
    equally often (counts differ by at most one over any run of epochs), and at most once an epoch in a class
    that has no more draws than members.

    Args:
        power: Exponent of the class sizes, finite, >= 0; or a schedule of it, as in deferred re-sampling. Beyond 1
            a rare class may get no draw at all.
    Raises:
        ArgumentError: for a power out of range.
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
    """From the data's mix to level classes: in epoch e each share is `(1 - e/E) count/N + (e/E) / C`.

    The classes are level from epoch E on. All else is as in `ClassBalanced`.

    Args:
        epochs: E, in which epoch the classes are level, >= 1.
    Raises:
        ArgumentError: for what is no such number.
    Source: Kang et al. 2020, arXiv:1910.09217, eq. 2.

    >>> plan = Progressive(epochs=2).plan(np.array([0, 0, 0, 0, 0, 0, 0, 1]))
    >>> [plan.class_sums(epoch=epoch).tolist() for epoch in (0, 1, 2, 3)]
    [[7.0, 1.0], [6.0, 2.0], [4.0, 4.0], [4.0, 4.0]]
    """

    epochs: int = field(kw_only=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", whole_number("epochs", self.epochs, least=1))

    def _shares(self, counts: NDArray[np.int64], epoch: int) -> list[int]:
        # Over their common denominator E N C.
        done, samples = min(epoch, self.epochs), int(counts.sum())
        return [(self.epochs - done) * len(counts) * int(count) + done * samples for count in counts]

    def _until(self, epoch: int) -> float:
        return epoch + 1 if epoch < self.epochs else math.inf


class _Stretch(NamedTuple):
    """Epochs of equal quotas, from `first` to before `stop`."""

    first: int
    stop: float
    quotas: NDArray[np.int64]
    slots: NDArray[np.int64]  # the first slot of each class
    places: NDArray[np.int64]  # each ring's place where the stretch begins


@final
class _QuotaPlan(ClassPlan):
    """As many draws of each class in an epoch as its sampler says, in random order."""

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
        # Place of the epoch's first draw in each ring, less the class's first slot.
        ahead = self._places(stretch, epoch) - stretch.slots
        return self._index.members(classes, (slots + ahead[classes]) % self._index.counts[classes])

    def _stretch_of(self, epoch: int) -> _Stretch:
        """Found once and kept; it says nothing that the arguments don't, so the plan stays a pure function."""
        stretches = self._stretches
        if epoch >= stretches[-1].stop:
            # A longer copy replaces the list, so that another thread never sees one that is half done.
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
    """Place in each ring after `epochs` epochs of `draws` draws: their product modulo `counts`."""
    if epochs * int(draws.max()) <= np.iinfo(np.int64).max:
        return epochs * draws % counts
    # Python's integers don't overflow.
    exact = (epochs * each % count for each, count in zip(draws.tolist(), counts.tolist(), strict=True))
    return np.fromiter(exact, dtype=np.int64, count=len(draws))


def _checked_power(power: Any, where: str = "") -> float:
    number = isinstance(power, Real) and not isinstance(power, bool | np.bool_)
    if not number or not math.isfinite(power) or power < 0:
        raise ArgumentError(
            f"power={power!r} {where}".rstrip(),
            expected="a finite number >= 0",
            fix="0 levels the classes, 0.5 takes their square root, 1 keeps the data's mix",
        )
    return float(power)
