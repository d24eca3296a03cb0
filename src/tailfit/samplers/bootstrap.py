"""Batches that are level in themselves.

Each batch deals its slots to the classes in turns, like cards. What a batch holds beyond whole turns, its
*extras*, goes to the next classes of a *circle*, an order of all classes; the circle goes on from batch to
batch, so extras of one batch fall on different classes and every class gets its turn. When the circle's seam
meets a batch's seam a new circle begins: after C / gcd(C, extras a batch) batches, a *cycle*. As extras follow
a circle, the draws of a class before any batch have a closed form.

The classes that an epoch favours, as its size isn't divisible by C, go round one circle of the whole run; the
epoch's last cycle begins with them, so what the batches deal and what the epochs promise agree.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError
from tailfit.samplers.balanced import places_after
from tailfit.samplers.base import ClassPlan, Plan, Sampler, class_labels
from tailfit.samplers.index import LabelIndex
from tailfit.samplers.permutation import Permutation, Permutations, Purpose, hash_array, hash_words

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
                f"cover={self.cover!r}", allowed="True or False", mend="pass cover=True for the longer epoch"
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
class _LevelPlan(ClassPlan):
    def __init__(self, *, labels: Indices, index: LabelIndex, size: int, seed: int, batch_size: int | None) -> None:
        super().__init__(labels=labels, index=index, size=size, seed=seed, batch_size=batch_size)
        self._classes = len(index.counts)
        self._batch = min(self.batch_size or size, size)
        self._turns, self._extras = divmod(self._batch, self._classes)
        shared = math.gcd(self._extras, self._classes)
        self._cycle = self._classes // shared  # batches
        self._rounds = self._extras // shared  # times a cycle goes round its circle
        self._last_cycle = (size - 1) // self._batch // self._cycle
        circle = Permutation(self._classes, hash_words(self.seed, Purpose.CIRCLE))
        self._circle = circle(np.arange(self._classes))
        self._seats = np.argsort(self._circle)

    def _class_draws(self, epoch: int) -> NDArray[np.float64]:
        # Expected: which classes an epoch favours by one draw is up to the seed, and goes round.
        return np.full(self._classes, self._size / self._classes)

    def _draw(self, epoch: int, positions: Indices) -> Indices:
        batches, slots = np.divmod(positions, self._batch)
        classes, before = self._deal(epoch, batches, self._shuffled(epoch, batches, slots))
        draws, favoured, places = self._epoch_draws(epoch)
        # The draws of an epoch come in an order of their own: without it the members of a class would pass
        # by in the same order every time.
        keys = hash_array(hash_words(self.seed, Purpose.DRAWS, epoch), np.arange(self._classes))
        draw = Permutations(draws + favoured, keys)(classes, before)
        return self._index.members(classes, (places[classes] + draw) % self._index.counts[classes])

    def _shuffled(self, epoch: int, batches: Indices, slots: Indices) -> Indices:
        """The slots of each batch in random order."""
        first = batches[0]
        span = np.arange(first, batches[-1] + 1)
        sizes = np.minimum(self._batch, self._size - span * self._batch)
        keys = hash_array(hash_words(self.seed, Purpose.BATCH, epoch), span)
        return Permutations(sizes, keys)(batches - first, slots)

    def _deal(self, epoch: int, batches: Indices, slots: Indices) -> tuple[Indices, Indices]:
        """Class of each slot, and how often the class was drawn before in the epoch."""
        cycles, within = np.divmod(batches, self._cycle)
        circles, seats = self._circles(epoch, cycles[0], cycles[-1])
        rows = cycles - cycles[0]
        turns = np.minimum(self._batch, self._size - batches * self._batch) // self._classes
        dealt = within * self._extras  # extras of the cycle before this batch
        turn, place = np.divmod(slots, self._classes)
        # Slots of whole turns go by the class's code, the extras by the circle.
        classes = np.where(turn < turns, place, circles[rows, (dealt + place) % self._classes])
        rounds = self._earlier(dealt, seats[rows, classes])
        return classes, batches * self._turns + cycles * self._rounds + rounds + turn

    def _earlier(self, dealt: Any, seats: Indices) -> Indices:
        """How often a circle came by each seat while `dealt` extras were dealt."""
        earlier: Indices = (dealt - seats + self._classes - 1) // self._classes
        return earlier

    def _circles(self, epoch: int, first: int, last: int) -> tuple[Indices, Indices]:
        """The circles of some cycles, `[cycles, C]`: class at each seat, and seat of each class."""
        span, places = np.arange(first, last + 1), np.arange(self._classes)
        keys = hash_array(hash_words(self.seed, Purpose.SEATS, epoch), span)
        sizes = np.full(len(span), self._classes)
        rows = np.repeat(np.arange(len(span)), self._classes)
        circles = Permutations(sizes, keys)(rows, np.tile(places, len(span))).reshape(len(span), -1)
        if last == self._last_cycle:
            # The classes that the epoch favours come first, the others after them, in random order each.
            favoured = self._epoch_draws(epoch)[1]
            circles[-1] = circles[-1][np.argsort(~favoured[circles[-1]], kind="stable")]
        return circles, circles.argsort(axis=1)

    def _epoch_draws(self, epoch: int) -> tuple[int, NDArray[np.bool_], Indices]:
        """Whole draws a class in this epoch, which classes get one more, and each ring's place before it."""
        draws, left = divmod(self._size, self._classes)
        places = places_after(epoch, np.full(self._classes, draws), self._index.counts)
        # The run's circle, `left` seats an epoch.
        rounds, seat = divmod(epoch * left, self._classes)
        places = (places + rounds % self._index.counts + (self._seats < seat)) % self._index.counts
        return draws, (self._seats - seat) % self._classes < left, places
