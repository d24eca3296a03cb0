"""Batches of a few classes, several samples of each: what metric learning, prototypes and contrastive losses need.

The classes have their turns as in `deal.py`; a turn is a *visit* of `m` samples. A class's draws of an epoch stand in
line, each sample beside its own repeats, and a visit takes every v-th of them, v the number of its visits: so it
repeats no sample that another could stand in for.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError
from tailfit.samplers.arithmetic import divided
from tailfit.samplers.base import Plan, Sampler, class_labels, whole_number
from tailfit.samplers.deal import Deal, DealtPlan
from tailfit.samplers.permutation import Permutations, Purpose, hash_array, hash_words

__all__ = ["PerClass"]

Indices = NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True)
class PerClass(Sampler):
    """`m` samples of each of `batch_size / m` classes in every batch.

    Every class is visited equally often and every member of a class drawn equally often, each within one over any run
    of epochs. No sample is twice in a batch if its class has `m` members. An epoch has as many whole batches as the
    samples fill, at least one; which classes meet differs from batch to batch.

    Args:
        m: Samples of a class in a batch, >= 1; the batch size must be a multiple of it, and `batch_size / m` at most
            the number of classes.
    Raises:
        ArgumentError: for an `m` out of range, or, by `plan`, a batch size that does not fit it.
    Source: Hermans et al. 2017, arXiv:1703.07737, section 2 (P classes, K samples each).

    >>> plan = PerClass(2).plan(np.repeat([0, 1, 2], [9, 4, 2]), seed=1, batch_size=4)
    >>> [np.unique(plan.labels[plan.indices(0, i, i + 4)], return_counts=True)[1].tolist() for i in (0, 4, 8)]
    [[2, 2], [2, 2], [2, 2]]
    """

    by_class: ClassVar[bool] = True
    m: int = field(kw_only=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "m", whole_number("m", self.m, least=1))

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """As `Sampler.plan`; without a batch size a batch holds all classes once."""
        codes, index = class_labels(labels, seed)
        classes = len(index.counts)
        batch = self.m * classes if batch_size is None else whole_number("batch_size", batch_size, least=1)
        if batch % self.m or batch // self.m > classes:
            raise ArgumentError(
                f"batch_size={batch} for PerClass(m={self.m}) and {classes} classes",
                expected=f"a multiple of {self.m}, at most {self.m * classes}",
                fix="choose the batch size as m times the number of classes in a batch",
            )
        size = max(len(codes) // batch, 1) * batch
        return _PerClassPlan(self.m, batch, labels=codes, index=index, size=size, seed=seed, batch_size=batch_size)


@final
class _PerClassPlan(DealtPlan):
    def __init__(self, m: int, batch: int, **given: Any) -> None:
        super().__init__(**given)
        self._m, self._batch = m, batch
        self._deal = Deal(len(self._index.counts), size=self._size // m, batch=batch // m, seed=self.seed)

    def _draw(self, epoch: int, positions: Indices) -> Indices:
        batches, slots = self._shuffled(epoch, positions, self._batch)
        seats, numbers = divided(slots, self._m)
        counts, of_epoch = self._index.counts, self._deal.of_epoch(epoch)
        keys = hash_words(self.seed, Purpose.DRAWS, epoch)
        orders = [hash_array(hash_words(keys, part), np.arange(len(counts))) for part in range(3)]
        # What the m samples of a seat share is worked out once for all seats of these batches.
        each = self._batch // self._m
        seat = np.arange(batches[0] * each, (batches[-1] + 1) * each)
        class_at, visits = self._deal(epoch, *divided(seat, each))
        visit_at = Permutations(np.maximum(of_epoch, 1), orders[0])(class_at, visits)
        at = (batches - batches[0]) * each + seats
        classes = class_at[at]
        line = numbers * of_epoch[classes] + visit_at[at]
        # Members that the epoch draws once more than the others stand first; both groups are shuffled.
        often, more = np.divmod(of_epoch * self._m, counts)
        times, edge = often[classes], (more * (often + 1))[classes]
        later = (line >= edge).astype(np.int64)
        places = (line - edge * later) // (times + 1 - later)
        both = Permutations(np.maximum(np.concatenate([more, counts - more]), 1), np.concatenate(orders[1:]))
        places = more[classes] * later + both(classes + len(counts) * later, places)
        begin = self._deal.places(epoch, counts, self._m)
        return self._index.members(classes, (begin[classes] + places) % counts[classes])
