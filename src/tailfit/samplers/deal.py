"""Dealing the slots of batches out to the classes in turns, like cards.

What a batch holds beyond whole turns, its *extras*, goes to the next classes of a *circle*, an order of all classes;
the circle goes on from batch to batch, so extras of one batch fall on different classes and every class gets its turn.
When the circle's seam meets a batch's seam a new circle begins: after C / gcd(C, extras a batch) batches, a *cycle*. As
extras follow a circle, the turns of a class before any batch have a closed form.

The classes that an epoch favours, as its size isn't divisible by C, go round one circle of the whole run; the epoch's
last cycle begins with them, so what the batches deal and what the epochs promise agree.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.samplers.arithmetic import chosen, divided
from tailfit.samplers.balanced import places_after
from tailfit.samplers.base import ClassPlan
from tailfit.samplers.permutation import Permutation, Permutations, Purpose, hash_array, hash_words

__all__ = ["Deal", "DealtPlan"]

Indices = NDArray[np.int64]


class Deal:
    """Which class has each slot, for epochs of `size` slots in batches of `batch`, the last one perhaps shorter.

    Args:
        classes: C, >= 1.
        size, batch: Slots, `1 <= batch <= size`.
        seed: Of the run.

    >>> deal = Deal(3, size=6, batch=3, seed=0)
    >>> classes, before = deal(0, np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2]))
    >>> np.bincount(classes).tolist(), before.tolist()
    ([2, 2, 2], [0, 0, 0, 1, 1, 1])
    """

    def __init__(self, classes: int, *, size: int, batch: int, seed: int) -> None:
        self._classes, self._size, self._batch, self._seed = classes, size, batch, seed
        self._turns, self._extras = divmod(batch, classes)
        shared = math.gcd(self._extras, classes)
        self._cycle = classes // shared  # batches
        self._rounds = self._extras // shared  # times a cycle goes round its circle
        self._last_cycle = (size - 1) // batch // self._cycle
        circle = Permutation(classes, hash_words(seed, Purpose.CIRCLE))(np.arange(classes))
        self._seats = np.argsort(circle)

    def __call__(self, epoch: int, batches: Indices, slots: Indices) -> tuple[Indices, Indices]:
        """Class of each slot, and how often the class had its turn before in the epoch; `batches` are consecutive."""
        cycles, within = divided(batches, self._cycle)
        circles, seats = self._circles(epoch, cycles[0], cycles[-1])
        rows = cycles - cycles[0]
        turns = np.minimum(self._batch, self._size - batches * self._batch) // self._classes
        dealt = within * self._extras  # extras of the cycle before this batch
        turn, place = divided(slots, self._classes)
        # Slots of whole turns go by the class's code, the extras by the circle.
        rows *= self._classes
        extra = circles.ravel().take(rows + (dealt + place) % self._classes)
        classes = chosen(turn < turns, place, extra)
        rounds = self._earlier(dealt, seats.ravel().take(rows + classes))
        return classes, batches * self._turns + cycles * self._rounds + rounds + turn

    def of_epoch(self, epoch: int) -> Indices:
        """Turns of each class in an epoch."""
        turns, left = divmod(self._size, self._classes)
        return np.asarray(turns + self._favoured(epoch, left), dtype=np.int64)

    def places(self, epoch: int, counts: Indices, each: int = 1) -> Indices:
        """Each ring's place before an epoch, if every turn goes `each` places on; rings have `counts` places."""
        turns, left = divmod(self._size, self._classes)
        places = places_after(epoch, np.full(self._classes, turns * each), counts)
        # The run's circle, `left` seats an epoch.
        rounds, seat = divmod(epoch * left, self._classes)
        more = [rounds * each % count for count in counts.tolist()]
        return np.asarray((places + np.array(more) + each * (self._seats < seat)) % counts, dtype=np.int64)

    def _favoured(self, epoch: int, left: int) -> NDArray[np.bool_]:
        favoured: NDArray[np.bool_] = (self._seats - epoch * left % self._classes) % self._classes < left
        return favoured

    def _earlier(self, dealt: Any, seats: Indices) -> Indices:
        """How often a circle came by each seat while `dealt` extras were dealt."""
        earlier: Indices = (dealt - seats + self._classes - 1) // self._classes
        return earlier

    def _circles(self, epoch: int, first: int, last: int) -> tuple[Indices, Indices]:
        """The circles of some cycles, `[cycles, C]`: class at each seat, and seat of each class."""
        span, places = np.arange(first, last + 1), np.arange(self._classes)
        keys = hash_array(hash_words(self._seed, Purpose.SEATS, epoch), span)
        sizes = np.full(len(span), self._classes)
        rows = np.repeat(np.arange(len(span)), self._classes)
        circles = Permutations(sizes, keys)(rows, np.tile(places, len(span))).reshape(len(span), -1)
        if last == self._last_cycle:
            # The classes that the epoch favours come first, the others after them, in random order each.
            favoured = self._favoured(epoch, self._size % self._classes)
            circles[-1] = circles[-1][np.argsort(~favoured[circles[-1]], kind="stable")]
        return circles, circles.argsort(axis=1)


class DealtPlan(ClassPlan):
    """A plan whose classes are dealt: each is drawn equally often."""

    def _class_draws(self, epoch: int) -> NDArray[np.float64]:
        # Expected: which classes an epoch favours by a turn is up to the seed, and goes round.
        classes = len(self._index.counts)
        return np.full(classes, self._size / classes)
