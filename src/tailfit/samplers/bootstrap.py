"""A sampler that balances the classes within every batch, by dealing the slots of a batch to them (`deal.py`)."""

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
    """Balance the classes in every batch: class counts differ by at most one in a batch, and in an epoch.

    Members of the largest class are drawn at most once per epoch; members of smaller classes are repeated. The members
    of a class are drawn equally often: over any consecutive epochs their counts differ by at most one. A short last
    batch is balanced too. If a batch has fewer slots than there are classes, the classes take turns over the batches.

    Args:
        cover: If True, an epoch lasts until every member of the largest class was drawn once: C times the size of that
            class. If False, an epoch has as many draws as there are samples.
    Raises:
        ArgumentError: If `cover` is neither True nor False.

    >>> plan = Bootstrap().plan(np.array([0, 0, 0, 0, 0, 1]), seed=7, batch_size=2)
    >>> [sorted(plan.labels[plan.indices(0, i, i + 2)].tolist()) for i in (0, 2, 4)]
    [[0, 1], [0, 1], [0, 1]]
    """

    by_class: ClassVar[bool] = True
    cover: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.cover, bool | np.bool_):
            raise ArgumentError(
                f"cover={self.cover!r}",
                expected="True or False",
                fix="pass cover=True for an epoch that draws every sample of the largest class",
            )
        object.__setattr__(self, "cover", bool(self.cover))

    def plan(self, labels: Any, seed: int = 0, batch_size: int | None = None) -> Plan:
        """Apply the sampler to labels; see `Sampler.plan`."""
        codes, index = class_labels(labels, seed)
        # No member of the largest class repeats: a class is drawn at most ceil(size / C) times. For size = N that is
        # at most the size of the largest class, an integer not smaller than the mean N / C.
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
