"""Batches in pieces: piece `v` of `parts` of a batch is what `shard=(v, parts)` reads."""

from collections.abc import Generator, Sequence
from typing import Any

from tailfit.data.feeding.batches import Batches
from tailfit.data.feeding.read_ahead import read_ahead

__all__ = ["bounds", "iterate_pieces", "rows_of_step", "sample_of_step"]


def bounds(rows: int, piece: int, parts: int) -> tuple[int, int]:
    """Return the first row of a piece of a batch, and the row after its last; an empty piece if rows < parts.

    >>> [bounds(10, piece, 4) for piece in range(4)]
    [(0, 2), (2, 5), (5, 7), (7, 10)]
    """
    return rows * piece // parts, rows * (piece + 1) // parts


def rows_of_step(batches: Batches, step: int) -> int:
    """Return the number of samples of a global batch."""
    start, stop = batches._positions(step, (0, 1))
    return stop - start


def iterate_pieces(
    batches: Batches, epoch: int, start: int, pieces: Sequence[int], parts: int
) -> Generator[tuple[int, list[Any]]]:
    """Yield `(rows of the global batch, its pieces)` of the steps of an epoch, read ahead.

    Pieces without samples are None. Closing the generator stops the reader.

    Args:
        batches: The batches; their own shard is ignored.
        epoch, start: Epoch and step of the first batch.
        pieces: Indices of the pieces to read.
        parts: Number of pieces of a batch.
    """
    positions = (
        (step, piece)
        for step in range(start, len(batches))
        for piece in pieces
        if _has_rows(batches, step, piece, parts)
    )

    def indices(step: int, piece: int) -> Any:
        return batches.plan.indices(epoch, *batches._positions(step, (piece, parts)))

    made: Generator[Any]
    if batches._processes is not None:
        tasks = (batches._task(epoch, step, indices(step, piece), (piece, parts)) for step, piece in positions)
        made = batches._processes.make(tasks, batches.prefetch * len(pieces))
    else:
        made = (batches._read(epoch, step, indices(step, piece), (piece, parts)) for step, piece in positions)
        if not (batches.source.in_memory and batches.transform is None):
            made = read_ahead(made, batches.prefetch * len(pieces))
    try:
        for step in range(start, len(batches)):
            full = [_has_rows(batches, step, piece, parts) for piece in pieces]
            yield rows_of_step(batches, step), [next(made) if has_rows else None for has_rows in full]
    finally:
        made.close()


def sample_of_step(batches: Batches, epoch: int, step: int) -> tuple[Any, ...]:
    """Return the first sample of a batch, as a batch."""
    start, _ = batches._positions(step, (0, 1))
    return batches._read(epoch, step, batches.plan.indices(epoch, start, start + 1), (0, batches.batch_size))


def _has_rows(batches: Batches, step: int, piece: int, parts: int) -> bool:
    low, high = bounds(rows_of_step(batches, step), piece, parts)
    return low < high
