"""A sampler of batches with few classes and several samples of each, as metric and contrastive losses need them.

Classes take turns as in `deal.py`; a turn is a *visit* of `m` samples. The draws of a class in an epoch are listed with
repeats of a sample next to each other, and visit i takes the draws i, i + v, i + 2v, ..., where v is the number of
visits. So a visit repeats a sample only if the class has fewer than `m` members.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError
from tailfit.hashing import hash_array, hash_words
from tailfit.samplers.arithmetic import divided
from tailfit.samplers.base import Plan, Sampler, class_labels
from tailfit.samplers.deal import Deal, DealtPlan
from tailfit.samplers.permutation import Permutations, Purpose

__all__ = ["PerClass"]

Indices = NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True)
class PerClass(Sampler):
    """Draw `m` samples of each of `batch_size / m` classes in every batch.

    Classes are visited equally often, and the members of a class are drawn equally often: over any consecutive epochs
    their counts differ by at most one. A batch repeats no sample whose class has at least `m` members. An epoch has
    `n // batch_size` whole batches, at least one. Which classes share a batch varies from batch to batch.

    Args:
        m: Samples per class in a batch, >= 1. The batch size must be a multiple of `m`, and at most `m` times the
            number of classes.
    Raises:
        ArgumentError: If `m` is out of range; raised by `plan` if the batch size does not match `m`.
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
        """Apply the sampler to labels; see `Sampler.plan`. Without a batch size, each batch holds all classes."""
        codes, index = class_labels(labels, seed)
        classes = len(index.counts)
        batch = self.m * classes if batch_size is None else whole_number("batch_size", batch_size, least=1)
        if batch % self.m or batch // self.m > classes:
            raise ArgumentError(
                f"batch_size={batch} for PerClass(m={self.m}) and {classes} classes",
                expected=f"a multiple of {self.m}, at most {self.m * classes}",
                fix="choose batch_size = m * the number of classes per batch",
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
        # The m samples of a seat share a class and a visit: compute these once per seat.
        each = self._batch // self._m
        seat = np.arange(batches[0] * each, (batches[-1] + 1) * each)
        class_at, visits = self._deal(epoch, *divided(seat, each))
        visit_at = Permutations(np.maximum(of_epoch, 1), orders[0])(class_at, visits)
        at = (batches - batches[0]) * each + seats
        classes = class_at[at]
        line = numbers * of_epoch[classes] + visit_at[at]
        # Members drawn once more than the others in this epoch come first; each group is shuffled.
        often, more = np.divmod(of_epoch * self._m, counts)
        times, edge = often[classes], (more * (often + 1))[classes]
        later = (line >= edge).astype(np.int64)
        places = (line - edge * later) // (times + 1 - later)
        both = Permutations(np.maximum(np.concatenate([more, counts - more]), 1), np.concatenate(orders[1:]))
        places = more[classes] * later + both(classes + len(counts) * later, places)
        begin = self._deal.places(epoch, counts, self._m)
        return self._index.members(classes, (begin[classes] + places) % counts[classes])
