"""Dealing the slots of batches to the classes in turns, like cards to players.

Concepts:
- *turn*: one slot given to a class. A batch of `batch` slots gives each of the C classes `batch // C` turns.
- *extras*: the remaining `batch % C` slots of a batch. They go to the next classes of the *circle*.
- *circle*: a random cyclic order of all classes. The next batch goes on where the last one stopped, so the extras of a
  batch go to different classes, and every class gets the same number of extras in the long run.
- *cycle*: C / gcd(C, extras) consecutive batches. Their extras go round the circle a whole number of times, then a new
  circle begins. Hence the number of turns that a class had before a given batch has a closed form.
- *favoured classes*: where C does not divide the size of an epoch, some classes get one turn more in that epoch. They
  are chosen by one circle for the whole training run. The circle of the epoch's last cycle begins with them, so that
  the turns dealt in batches add up to those of the epoch.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.hashing import hash_array, hash_words
from tailfit.samplers.arithmetic import chosen, divided
from tailfit.samplers.balanced import places_after
from tailfit.samplers.base import ClassPlan
from tailfit.samplers.permutation import Permutation, Permutations, Purpose

__all__ = ["Deal", "DealtPlan"]

Indices = NDArray[np.int64]


class Deal:
    """The class of each slot, for epochs of `size` slots in batches of `batch`; the last batch may be shorter.

    Args:
        classes: Number of classes C, >= 1.
        size: Slots per epoch, >= 1.
        batch: Slots per batch, `1 <= batch <= size`.
        seed: Seed of the plan.

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
        self._rounds = self._extras // shared  # rounds of its circle in a cycle
        self._last_cycle = (size - 1) // batch // self._cycle
        circle = Permutation(classes, hash_words(seed, Purpose.CIRCLE))(np.arange(classes))
        self._seats = np.argsort(circle)

    def __call__(self, epoch: int, batches: Indices, slots: Indices) -> tuple[Indices, Indices]:
        """Return the class of each slot, and the number of earlier turns of that class in the epoch.

        `batches` are consecutive and ascending; they may repeat.
        """
        cycles, within = divided(batches, self._cycle)
        circles, seats = self._circles(epoch, cycles[0], cycles[-1])
        rows = cycles - cycles[0]
        turns = np.minimum(self._batch, self._size - batches * self._batch) // self._classes
        dealt = within * self._extras  # extras dealt in the cycle before this batch
        turn, place = divided(slots, self._classes)
        # Slots of full turns go to the classes in order of their index, extras in order of the circle.
        rows *= self._classes
        extra = circles.ravel().take(rows + (dealt + place) % self._classes)
        classes = chosen(turn < turns, place, extra)
        rounds = self._extras_before(dealt, seats.ravel().take(rows + classes))
        return classes, batches * self._turns + cycles * self._rounds + rounds + turn

    def of_epoch(self, epoch: int) -> Indices:
        """Return the turns of each class in an epoch."""
        turns, left = divmod(self._size, self._classes)
        return np.asarray(turns + self._favoured(epoch, left), dtype=np.int64)

    def places(self, epoch: int, counts: Indices, each: int = 1) -> Indices:
        """Return the place in each class's ring at the start of an epoch.

        A turn advances the ring by `each` places; the ring of class c has `counts[c]` places.
        """
        turns, left = divmod(self._size, self._classes)
        places = places_after(epoch, np.full(self._classes, turns * each), counts)
        # Extra turns: the run's circle advances by `left` seats per epoch.
        rounds, seat = divmod(epoch * left, self._classes)
        more = [rounds * each % count for count in counts.tolist()]
        return np.asarray((places + np.array(more) + each * (self._seats < seat)) % counts, dtype=np.int64)

    def _favoured(self, epoch: int, left: int) -> NDArray[np.bool_]:
        favoured: NDArray[np.bool_] = (self._seats - epoch * left % self._classes) % self._classes < left
        return favoured

    def _extras_before(self, dealt: Any, seats: Indices) -> Indices:
        """Return how many of the first `dealt` extras of a cycle went to each of these seats of the circle."""
        before: Indices = (dealt - seats + self._classes - 1) // self._classes
        return before

    def _circles(self, epoch: int, first: int, last: int) -> tuple[Indices, Indices]:
        """Return the circles of the cycles `first` to `last`, each `[cycles, C]`: class by seat, and seat by class."""
        span, places = np.arange(first, last + 1), np.arange(self._classes)
        keys = hash_array(hash_words(self._seed, Purpose.SEATS, epoch), span)
        sizes = np.full(len(span), self._classes)
        rows = np.repeat(np.arange(len(span)), self._classes)
        circles = Permutations(sizes, keys)(rows, np.tile(places, len(span))).reshape(len(span), -1)
        if last == self._last_cycle:
            # Favoured classes first, the others after them; each group stays in its random order.
            favoured = self._favoured(epoch, self._size % self._classes)
            circles[-1] = circles[-1][np.argsort(~favoured[circles[-1]], kind="stable")]
        return circles, circles.argsort(axis=1)


class DealtPlan(ClassPlan):
    """A plan that deals its draws to the classes, which are drawn equally often."""

    def _class_draws(self, epoch: int) -> NDArray[np.float64]:
        # The expectation: which classes get one turn more depends on the seed and rotates from epoch to epoch.
        classes = len(self._index.counts)
        return np.full(classes, self._size / classes)
