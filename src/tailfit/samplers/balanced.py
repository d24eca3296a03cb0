"""Samplers that give each class a share of the epoch.

The way of an index: position in the epoch -> slot, by the epoch's keyed permutation -> class, as the slots
are dealt out to the classes in one run each -> number of the draw among all of the class since the run
began -> place in the class's ring -> sample. Every step has a closed form.
"""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError
from tailfit.samplers.base import ClassPlan, Plan, Sampler, class_labels
from tailfit.samplers.index import LabelIndex
from tailfit.samplers.permutation import Permutation, Purpose, hash_words
from tailfit.samplers.quotas import largest_remainder, power_shares

__all__ = ["ClassBalanced"]


@final
@dataclass(frozen=True, kw_only=True)
class ClassBalanced(Sampler):
    """Class shares proportional to `count ** power`: 1 keeps the data's mix, 0.5 its square root, 0 levels it.

    An epoch has as many draws as there are samples. Each class gets its exact share rounded to a neighbouring
    whole number, the same every epoch. Every member of a class is drawn equally often (counts differ by at most
    one over any run of epochs), and at most once an epoch in a class that has no more draws than members.

    Args:
        power: Exponent of the class sizes, finite, >= 0. Beyond 1 a rare class may get no draw at all.
    Raises:
        ArgumentError: for a power out of range.
    Source: Kang et al. 2020, arXiv:1910.09217, eq. 1.

    >>> plan = ClassBalanced(power=0.0).plan(np.array([0, 0, 0, 1]), seed=7)
    >>> np.bincount(plan.labels[plan.indices(epoch=0, start=0, stop=4)]).tolist()
    [2, 2]
    """

    by_class: ClassVar[bool] = True
    power: float = 0.0

    def __post_init__(self) -> None:
        power: Any = self.power
        number = isinstance(power, Real) and not isinstance(power, bool | np.bool_)
        if not number or not math.isfinite(power) or power < 0:
            raise ArgumentError(
                f"power={power!r}",
                allowed="a finite number >= 0",
                mend="0 levels the classes, 0.5 takes their square root, 1 keeps the data's mix",
            )
        object.__setattr__(self, "power", float(power))

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """As `Sampler.plan`; batches are stretches of the epoch, so the batch size changes nothing."""
        codes, index = class_labels(labels, seed)
        quotas = largest_remainder(len(codes), power_shares(index.counts, self.power))
        return _QuotaPlan(quotas, labels=codes, index=index, seed=seed, batch_size=batch_size)


@final
class _QuotaPlan(ClassPlan):
    """The same number of draws of each class in every epoch, in random order."""

    def __init__(
        self,
        quotas: NDArray[np.int64],
        *,
        labels: NDArray[np.int64],
        index: LabelIndex,
        seed: int,
        batch_size: int | None,
    ) -> None:
        size = int(quotas.sum())
        super().__init__(labels=labels, index=index, size=size, seed=seed, batch_size=batch_size)
        self._quotas = quotas
        self._last_slots = np.cumsum(quotas)

    def _class_draws(self, epoch: int) -> NDArray[np.float64]:
        return self._quotas.astype(np.float64)

    def _draw(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        slots = Permutation(self._size, hash_words(self.seed, Purpose.SLOTS, epoch))(positions)
        classes = np.searchsorted(self._last_slots, slots, side="right")
        # Place of the epoch's first draw in each ring, less the class's first slot.
        ahead = places_after(epoch, self._quotas, self._index.counts) - (self._last_slots - self._quotas)
        return self._index.members(classes, (slots + ahead[classes]) % self._index.counts[classes])


def places_after(epochs: int, draws: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place in each ring after `epochs` epochs of `draws` draws: their product modulo `counts`."""
    if epochs * int(draws.max()) <= np.iinfo(np.int64).max:
        return epochs * draws % counts
    # Python's integers don't overflow.
    exact = (epochs * each % count for each, count in zip(draws.tolist(), counts.tolist(), strict=True))
    return np.fromiter(exact, dtype=np.int64, count=len(draws))
