"""A sampler of batches that each have the class mix of the whole data.

The samples are lined up class by class, and each of the k batches takes every k-th of them: floor(n / k) or
ceil(n / k) of a class with n samples, which is within one of its share. The samples of a shorter last batch are set
aside first. Their class counts are rounded such that the counts of all other batches stay within one of their shares,
too; this is always possible (Bacharach 1966, "Matrix rounding problems").
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tailfit.hashing import hash_words
from tailfit.samplers.arithmetic import Line
from tailfit.samplers.base import ClassPlan, Plan, Sampler, class_labels
from tailfit.samplers.index import LabelIndex
from tailfit.samplers.permutation import Permutation, Purpose
from tailfit.samplers.runs import Runs

__all__ = ["Stratified"]

Indices = NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True)
class Stratified(Sampler):
    """Draw every sample once per epoch, in batches with the class mix of the data.

    In each batch the count of a class is its exact share, rounded up or down: a class with fewer samples than there are
    batches has at most one sample in a batch. Which samples share a batch differs from epoch to epoch.

    Source: systematic sampling of a stratified list, Cochran 1977, "Sampling Techniques", chapter 8.

    >>> plan = Stratified().plan(np.repeat([0, 1], [12, 4]), seed=3, batch_size=4)
    >>> [np.bincount(plan.labels[plan.indices(0, i, i + 4)]).tolist() for i in (0, 4, 8, 12)]
    [[3, 1], [3, 1], [3, 1], [3, 1]]
    """

    by_class: ClassVar[bool] = True

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """Apply the sampler to labels; see `Sampler.plan`."""
        codes, index = class_labels(labels, seed)
        return _StratifiedPlan(labels=codes, index=index, size=len(codes), seed=seed, batch_size=batch_size)


@final
class _StratifiedPlan(ClassPlan):
    def __init__(
        self, *, labels: Indices | Runs, index: LabelIndex, size: int, seed: int, batch_size: int | None
    ) -> None:
        super().__init__(labels=labels, index=index, size=size, seed=seed, batch_size=batch_size)
        self._batch = min(self.batch_size or size, size)
        self._whole, short = divmod(size, self._batch)  # number of whole batches, and samples of a short last one
        self._apart = _counts_of_short_batch(index.counts, size, self._batch, short)
        self._regular = index.counts - self._apart

    def _class_draws(self, epoch: int) -> NDArray[np.float64]:
        return self._index.counts.astype(np.float64)

    def _draw(self, epoch: int, positions: Indices) -> Indices:
        batches, slots = self._shuffled(epoch, positions, self._batch)
        counts = self._index.counts
        # Positions from `cut` on belong to the short last batch.
        cut = int(np.clip(self._whole * self._batch - positions[0], 0, len(positions)))
        classes, numbers = np.empty_like(slots), np.empty_like(slots)
        # Both the offset of a batch's every k-th sample and the order of the classes on the line are random.
        span = np.arange(batches[0], batches[-1] + 1)
        strides = Permutation(self._whole, hash_words(self.seed, Purpose.SEATS, epoch))(
            np.minimum(span, self._whole - 1)
        )
        order = Permutation(len(counts), hash_words(self.seed, Purpose.CIRCLE, epoch))(np.arange(len(counts)))
        places = slots[:cut] * self._whole + strides[batches[:cut] - batches[0]]
        classes[:cut], numbers[:cut] = _on_line(places, order, self._regular)
        if cut < len(slots):
            classes[cut:], numbers[cut:] = _on_line(slots[cut:], order, self._apart)
            numbers[cut:] += self._regular[classes[cut:]]
        return self._index.members(classes, self._reordered(epoch, counts, classes, numbers))


def _on_line(places: Indices, order: Indices, counts: Indices) -> tuple[Indices, Indices]:
    """Return the class at each place of the line, and the index within the class.

    The line has `counts[c]` places of class c, with the classes in the given order.
    """
    ends = np.cumsum(counts[order])
    at = Line(ends).at(places)
    classes = order[at]
    return classes, places - (ends - counts[order])[at]


def _counts_of_short_batch(counts: Indices, size: int, batch: int, short: int) -> Indices:
    """Return the samples of each class in a last batch of `short` samples: its exact share, rounded up or down.

    The whole batches take the remaining samples in equal parts, whose counts must be exact shares, rounded, too.
    """
    if not short:
        return np.zeros_like(counts)
    whole = size // batch
    lowest, fractions = [], []
    for count in counts.tolist():
        share, fraction = divmod(count * short, size)  # fraction / size of a sample
        regular, rest = divmod(count * batch, size)
        # Rounding down leaves the class's fraction to the whole batches; round up if they can't take it, that is, if
        # they would need more than their own shares, each rounded up.
        must_rise = count - share > whole * (regular + (rest > 0))
        may_rise = count - share - 1 >= whole * regular
        lowest.append(share + must_rise)
        fractions.append(fraction if fraction and may_rise and not must_rise else -1)
    missing = short - sum(lowest)
    by_fraction = sorted((c for c, f in enumerate(fractions) if f >= 0), key=lambda c: -fractions[c])
    for chosen in by_fraction[:missing]:
        lowest[chosen] += 1
    return np.array(lowest, dtype=np.int64)
