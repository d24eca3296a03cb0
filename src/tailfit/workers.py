"""The place of this process among the workers of a training on several processes: its rank and their number.

It is set while the process has joined the others (`tailfit.training.workers.joined`). Data read it to find their shard,
training to find its pieces of a batch. It is global to the process, since reader threads need it, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tailfit.errors import ArgumentError

__all__ = ["Place", "place", "placed"]


@dataclass(frozen=True)
class Place:
    """The place of a worker.

    Args:
        rank: Index of the worker, from 0 on. Rank 0 writes files and shows progress.
        world: Number of workers, >= 1.
    Raises:
        ArgumentError: If rank is not one of 0, ..., world - 1.

    >>> Place(1, 4)
    Place(rank=1, world=4)
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        whole = all(isinstance(part, int) and not isinstance(part, bool) for part in (self.rank, self.world))
        if not whole or not 0 <= self.rank < self.world:
            raise ArgumentError(
                f"rank={self.rank!r} with world={self.world!r}",
                expected="whole numbers with 0 <= rank < world",
                fix="number the workers from 0, and pass their number as world",
            )


_place = Place()


def place() -> Place:
    """Return the place of this process: rank 0 of 1 unless it has joined others.

    >>> place()
    Place(rank=0, world=1)
    """
    return _place


@contextmanager
def placed(rank: int, world: int) -> Iterator[Place]:
    """Set the place of this process within this context.

    >>> with placed(1, 2):
    ...     place().rank
    1
    """
    global _place
    before, _place = _place, Place(rank, world)
    try:
        yield _place
    finally:
        _place = before
