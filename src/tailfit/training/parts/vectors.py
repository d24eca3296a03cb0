"""The results of a piece as one vector per dtype, so that they are added and sent at once."""

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

__all__ = ["Layout", "Vectors", "added", "packed"]

Vectors = list[Any]  # one per dtype of a layout


@dataclass(frozen=True)
class Layout:
    """Places of the arrays in the vectors: first those that add up, then those that are averaged.

    Args:
        added, averaged: Shape and dtype of each array; None for a gradient that does not exist.
    """

    added: tuple[tuple[tuple[int, ...], str] | None, ...]
    averaged: tuple[tuple[tuple[int, ...], str] | None, ...]

    @property
    def dtypes(self) -> list[str]:
        """The dtype of each vector."""
        return sorted({entry[1] for entry in (*self.added, *self.averaged) if entry is not None})

    def sizes(self, dtype: str) -> tuple[int, int]:
        """Return the number of values in a vector that add up, and that are averaged."""
        added, averaged = (
            sum(math.prod(entry[0]) for entry in part if entry is not None and entry[1] == dtype)
            for part in (self.added, self.averaged)
        )
        return added, averaged

    def unpacked(self, vectors: Vectors) -> tuple[list[Any], list[Any]]:
        """Return the arrays that were added, and those that were averaged."""
        places = dict.fromkeys(self.dtypes, 0)
        by_dtype = dict(zip(self.dtypes, vectors, strict=True))

        def taken(entry: tuple[tuple[int, ...], str] | None) -> Any:
            if entry is None:
                return None
            shape, dtype = entry
            start = places[dtype]
            places[dtype] += math.prod(shape)
            return ops.reshape(by_dtype[dtype][start : places[dtype]], shape)

        return [taken(entry) for entry in self.added], [taken(entry) for entry in self.averaged]


def packed(added: list[Any], averaged: list[Any]) -> tuple[Vectors, Layout]:
    """Return arrays as vectors, and their layout."""
    layout = Layout(tuple(map(_entry, added)), tuple(map(_entry, averaged)))
    arrays = [array for array in (*added, *averaged) if array is not None]
    vectors = [
        ops.concatenate([ops.reshape(array, (-1,)) for array in arrays if _dtype(array) == dtype])
        for dtype in layout.dtypes
    ]
    return vectors, layout


def added(layout: Layout, left: Vectors, left_pieces: Any, right: Vectors, right_pieces: Any) -> Vectors:
    """Return the vectors of two nodes combined. Averages are weighted by numbers of pieces; equal values are kept."""
    results = []
    for dtype, one, other in zip(layout.dtypes, left, right, strict=True):
        size, averaged = layout.sizes(dtype)
        total = one[:size] + other[:size]
        if averaged:
            first, second = one[size:], other[size:]
            share = ops.cast(left_pieces / (left_pieces + right_pieces), dtype)
            mean = share * first + (1 - share) * second
            total = ops.concatenate([total, ops.where(first == second, first, mean)])
        results.append(total)
    return results


def _entry(array: Any) -> tuple[tuple[int, ...], str] | None:
    return None if array is None else (tuple(int(size) for size in array.shape), _dtype(array))


def _dtype(array: Any) -> str:
    return str(keras.backend.standardize_dtype(array.dtype))
