"""Batches that each have the class mix of the whole.

The samples stand in line, class after class, and each batch takes every k-th of them, k the number of batches: from a
class of n samples floor(n / k) or ceil(n / k), which is within one of its share. A last batch that is shorter is set
apart first, its counts rounded so that those of all others stay within one, too (which always is possible: Bacharach
1966, "Matrix rounding problems").
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tailfit.samplers.arithmetic import Line
from tailfit.samplers.base import ClassPlan, Plan, Sampler, class_labels
from tailfit.samplers.index import LabelIndex
from tailfit.samplers.permutation import Permutation, Purpose, hash_words
from tailfit.samplers.runs import Runs

__all__ = ["Stratified"]

Indices = NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True)
class Stratified(Sampler):
    """Every sample once an epoch, in batches that have the class mix of the whole: each count within one of its share.

    Which samples, and which classes' left-over samples, meet in a batch differs from epoch to epoch. For small batches
    of rare classes: a class with fewer samples than there are batches is in a batch once at most.

    Source: systematic sampling of a stratified list, Cochran 1977, "Sampling Techniques", chapter 8.

    >>> plan = Stratified().plan(np.repeat([0, 1], [12, 4]), seed=3, batch_size=4)
    >>> [np.bincount(plan.labels[plan.indices(0, i, i + 4)]).tolist() for i in (0, 4, 8, 12)]
    [[3, 1], [3, 1], [3, 1], [3, 1]]
    """

    by_class: ClassVar[bool] = True

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """As `Sampler.plan`."""
        codes, index = class_labels(labels, seed)
        return _StratifiedPlan(labels=codes, index=index, size=len(codes), seed=seed, batch_size=batch_size)


@final
class _StratifiedPlan(ClassPlan):
    def __init__(
        self, *, labels: Indices | Runs, index: LabelIndex, size: int, seed: int, batch_size: int | None
    ) -> None:
        super().__init__(labels=labels, index=index, size=size, seed=seed, batch_size=batch_size)
        self._batch = min(self.batch_size or size, size)
        self._whole, short = divmod(size, self._batch)  # whole batches, and samples of the last one
        self._apart = _counts_of_the_short(index.counts, size, self._batch, short)
        self._regular = index.counts - self._apart

    def _class_draws(self, epoch: int) -> NDArray[np.float64]:
        return self._index.counts.astype(np.float64)

    def _draw(self, epoch: int, positions: Indices) -> Indices:
        batches, slots = self._shuffled(epoch, positions, self._batch)
        counts = self._index.counts
        # From here on the positions are of the last batch, which is shorter.
        cut = int(np.clip(self._whole * self._batch - positions[0], 0, len(positions)))
        classes, numbers = np.empty_like(slots), np.empty_like(slots)
        # Which of every k-th sample a batch takes is up to chance, and so is who stands beside whom in the line.
        span = np.arange(batches[0], batches[-1] + 1)
        strides = Permutation(self._whole, hash_words(self.seed, Purpose.SEATS, epoch))(
            np.minimum(span, self._whole - 1)
        )
        order = Permutation(len(counts), hash_words(self.seed, Purpose.CIRCLE, epoch))(np.arange(len(counts)))
        places = slots[:cut] * self._whole + strides[batches[:cut] - batches[0]]
        classes[:cut], numbers[:cut] = _in_line(places, order, self._regular)
        if cut < len(slots):
            classes[cut:], numbers[cut:] = _in_line(slots[cut:], order, self._apart)
            numbers[cut:] += self._regular[classes[cut:]]
        return self._index.members(classes, self._reordered(epoch, counts, classes, numbers))


def _in_line(places: Indices, order: Indices, counts: Indices) -> tuple[Indices, Indices]:
    """Class at each place of a line of `counts` of each class, classes in `order`; and its number in the class."""
    ends = np.cumsum(counts[order])
    at = Line(ends).at(places)
    classes = order[at]
    return classes, places - (ends - counts[order])[at]


def _counts_of_the_short(counts: Indices, size: int, batch: int, short: int) -> Indices:
    """Samples of each class in a last batch of `short`: its share, rounded down or up.

    The whole batches take the rest in equal parts, so each of their counts must come to its own share, rounded.
    """
    if not short:
        return np.zeros_like(counts)
    whole = size // batch
    lowest, fractions = [], []
    for count in counts.tolist():
        share, fraction = divmod(count * short, size)  # fraction / size of a sample
        regular, rest = divmod(count * batch, size)
        # Rounded down it leaves the whole batches `fraction` more than theirs, which must not exceed a unit each.
        must_rise = count - share > whole * (regular + (rest > 0))
        may_rise = count - share - 1 >= whole * regular
        lowest.append(share + must_rise)
        fractions.append(fraction if fraction and may_rise and not must_rise else -1)
    missing = short - sum(lowest)
    by_fraction = sorted((c for c, f in enumerate(fractions) if f >= 0), key=lambda c: -fractions[c])
    for chosen in by_fraction[:missing]:
        lowest[chosen] += 1
    return np.array(lowest, dtype=np.int64)
