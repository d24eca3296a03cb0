"""Batches that are level in themselves: their slots are dealt out to the classes in turns (`deal.py`)."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError
from tailfit.samplers.base import Plan, Sampler, class_labels
from tailfit.samplers.deal import Deal, DealtPlan
from tailfit.samplers.index import LabelIndex
from tailfit.samplers.runs import Runs

__all__ = ["Bootstrap"]

Indices = NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True)
class Bootstrap(Sampler):
    """Levels the classes in every batch: their counts in a batch differ by at most one, and in an epoch too.

    Members of the largest class are drawn at most once an epoch; those of small classes repeat. Every member
    of a class is drawn equally often (counts differ by at most one over any run of epochs). A short last
    batch is level too, and with fewer slots than classes every class gets its turn in a later batch.

    Args:
        cover: Whether an epoch lasts until every member of the largest class was seen: C times as many
            draws as that class has members. Otherwise it has as many draws as there are samples.
    Raises:
        ArgumentError: for a `cover` that is neither True nor False.

    >>> plan = Bootstrap().plan(np.array([0, 0, 0, 0, 0, 1]), seed=7, batch_size=2)
    >>> [sorted(plan.labels[plan.indices(0, i, i + 2)].tolist()) for i in (0, 2, 4)]
    [[0, 1], [0, 1], [0, 1]]
    """

    by_class: ClassVar[bool] = True
    cover: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.cover, bool | np.bool_):
            raise ArgumentError(
                f"cover={self.cover!r}", expected="True or False", fix="pass cover=True for the longer epoch"
            )
        object.__setattr__(self, "cover", bool(self.cover))

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """As `Sampler.plan`."""
        codes, index = class_labels(labels, seed)
        # At most once an epoch: a class is drawn at most ceil(size / C) times. With size = N that is at most
        # the largest class's number of members, a whole number no smaller than the mean N / C.
        size = len(index.counts) * int(index.counts.max()) if self.cover else len(codes)
        return _LevelPlan(labels=codes, index=index, size=size, seed=seed, batch_size=batch_size)


@final
class _LevelPlan(DealtPlan):
    def __init__(
        self, *, labels: Indices | Runs, index: LabelIndex, size: int, seed: int, batch_size: int | None
    ) -> None:
        super().__init__(labels=labels, index=index, size=size, seed=seed, batch_size=batch_size)
        self._batch = min(self.batch_size or size, size)
        self._deal = Deal(len(index.counts), size=size, batch=self._batch, seed=self.seed)

    def _draw(self, epoch: int, positions: Indices) -> Indices:
        classes, before = self._deal(epoch, *self._shuffled(epoch, positions, self._batch))
        counts, draws = self._index.counts, self._deal.of_epoch(epoch)
        draw = self._reordered(epoch, draws, classes, before)
        return self._index.members(classes, (self._deal.places(epoch, counts)[classes] + draw) % counts[classes])
