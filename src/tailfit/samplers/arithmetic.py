"""Integer arithmetic on long arrays, several times faster than the NumPy functions with the same results."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Line", "chosen", "divided"]

Indices = NDArray[np.int64]

_FEW_POINTS = 1 << 10
_LEAST_BITS = 9


def divided(values: Indices, by: int) -> tuple[Indices, Indices]:
    """Return the quotients and remainders of values >= 0.

    NumPy vectorises division by a scalar, but not `divmod`.

    >>> [part.tolist() for part in divided(np.array([0, 7, 9]), 4)]
    [[0, 1, 2], [0, 3, 1]]
    """
    quotients = values // by
    return quotients, values - quotients * by


def chosen(condition: NDArray[np.bool_], yes: Any, no: Any) -> Any:
    """Return `yes` where the condition holds, else `no`, as `numpy.where` does.

    `numpy.where` branches, which is slow for random conditions: the processor can't predict the branches.

    >>> chosen(np.array([True, False]), np.array([1, 2]), np.array([3, 4])).tolist()
    [1, 4]
    """
    return no + (yes - no) * condition.astype(np.int64)


class Line:
    """A line cut into segments, and a lookup of the segment that contains a point.

    The lookup uses a *guide table*: the line is divided into cells of equal length, and the table stores the segment
    in which each cell begins. Most points are in that segment; the others are searched for among the segments of
    their cell.

    Args:
        ends: End of each segment (exclusive), `int64[n]`, ascending, the last one > 0. A segment may be empty.
        kept: If True, build the guide table now, `2 n` to `4 n` integers, and keep it. If False, build a smaller one
            for each lookup of many points, and use binary search for few points.
    Source: Chen & Asau 1974, "On generating random variates from an empirical distribution", AIIE Transactions 6(2).

    >>> Line(np.array([2, 2, 5])).at(np.array([0, 1, 2, 4])).tolist()
    [0, 0, 2, 2]
    """

    def __init__(self, ends: Indices, *, kept: bool = False) -> None:
        self._ends = ends
        bits = max(len(ends).bit_length() + 1, 0 if kept else _LEAST_BITS)
        self._shift = max(int(ends[-1]).bit_length() - bits, 0)
        self._guide = self._build_guide() if kept else None

    def at(self, points: Indices) -> Indices:
        """Return the segment of each point; points are >= 0 and smaller than the last end."""
        guide = self._guide
        if guide is None:
            if len(points) < max(_FEW_POINTS, len(self._ends)):
                return np.searchsorted(self._ends, points, side="right")
            guide = self._build_guide()
        cells = points >> self._shift
        found: Indices = guide.take(cells, mode="clip").astype(np.int64, copy=False)
        missed = np.flatnonzero(self._ends.take(found, mode="clip") <= points)
        if missed.size:
            found[missed] = self._bisect(points[missed], found[missed] + 1, guide[cells[missed] + 1])
        return found

    def _build_guide(self) -> NDArray[Any]:
        """Return the number of segments that end at or before the start of each cell, and of one cell more."""
        cells = (int(self._ends[-1]) - 1 >> self._shift) + 2
        first = -(-self._ends >> self._shift)  # the first cell that begins at or after each end
        ended = np.cumsum(np.bincount(np.minimum(first, cells), minlength=cells)[:cells])
        return ended.astype(np.int32 if len(self._ends) < 1 << 31 else np.int64)

    def _bisect(self, points: Indices, low: Indices, high: NDArray[Any]) -> Indices:
        """Find the segments of all points at once, between the segments `low` and `high` of each point."""
        high = high.astype(np.int64)
        low, open_ = low.copy(), np.flatnonzero(low < high)
        while open_.size:
            middle = low[open_] + high[open_] >> 1
            ended = self._ends[middle] <= points[open_]
            low[open_[ended]] = middle[ended] + 1
            high[open_[~ended]] = middle[~ended]
            open_ = open_[low[open_] < high[open_]]
        return low
