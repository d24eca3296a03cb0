"""Whole-number arithmetic on long arrays, where NumPy's own way to the same numbers is several times slower."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Line", "chosen", "divided"]

Indices = NDArray[np.int64]

_FEW_POINTS = 1 << 10
_LEAST_BITS = 9


def divided(values: Indices, by: int) -> tuple[Indices, Indices]:
    """Quotient and remainder of values >= 0. NumPy divides by one number in vector registers, but not in `divmod`.

    >>> [part.tolist() for part in divided(np.array([0, 7, 9]), 4)]
    [[0, 1, 2], [0, 3, 1]]
    """
    quotients = values // by
    return quotients, values - quotients * by


def chosen(condition: NDArray[np.bool_], yes: Any, no: Any) -> Any:
    """As `numpy.where`, whose branches a processor can't foresee for conditions that are up to chance.

    >>> chosen(np.array([True, False]), np.array([1, 2]), np.array([3, 4])).tolist()
    [1, 4]
    """
    return no + (yes - no) * condition.astype(np.int64)


class Line:
    """Stretches end to end, and which of them a point falls on.

    A *guide* names, for each of many equal parts of the line, the stretch that the part begins on; few points are not
    on that one, and only these are searched for, among the stretches of their part.

    Args:
        ends: Where each stretch ends, `int64[n]`, ascending, the last one > 0. One may be empty.
        kept: Whether the guide is made at once and kept, `2 n` to `4 n` numbers. Otherwise it is small, and made where
            the points are many.
    Source: Chen & Asau 1974, "On generating random variates from an empirical distribution", AIIE Transactions 6(2).

    >>> Line(np.array([2, 2, 5])).at(np.array([0, 1, 2, 4])).tolist()
    [0, 0, 2, 2]
    """

    def __init__(self, ends: Indices, *, kept: bool = False) -> None:
        self._ends = ends
        bits = max(len(ends).bit_length() + 1, 0 if kept else _LEAST_BITS)
        self._shift = max(int(ends[-1]).bit_length() - bits, 0)
        self._guide = self._guided() if kept else None

    def at(self, points: Indices) -> Indices:
        """The stretch of each point, which is >= 0 and before the last end."""
        guide = self._guide
        if guide is None:
            if len(points) < max(_FEW_POINTS, len(self._ends)):
                return np.searchsorted(self._ends, points, side="right")
            guide = self._guided()
        parts = points >> self._shift
        found: Indices = guide.take(parts, mode="clip").astype(np.int64, copy=False)
        missed = np.flatnonzero(self._ends.take(found, mode="clip") <= points)
        if missed.size:
            found[missed] = self._between(points[missed], found[missed] + 1, guide[parts[missed] + 1])
        return found

    def _guided(self) -> NDArray[Any]:
        """How many stretches have ended where each part begins, and at the end of the last part."""
        parts = (int(self._ends[-1]) - 1 >> self._shift) + 2
        first = -(-self._ends >> self._shift)  # the first part that begins at or after each end
        ended = np.cumsum(np.bincount(np.minimum(first, parts), minlength=parts)[:parts])
        return ended.astype(np.int32 if len(self._ends) < 1 << 31 else np.int64)

    def _between(self, points: Indices, low: Indices, high: NDArray[Any]) -> Indices:
        """By bisection, of all points at once."""
        high = high.astype(np.int64)
        low, open_ = low.copy(), np.flatnonzero(low < high)
        while open_.size:
            middle = low[open_] + high[open_] >> 1
            ended = self._ends[middle] <= points[open_]
            low[open_[ended]] = middle[ended] + 1
            high[open_[~ended]] = middle[~ended]
            open_ = open_[low[open_] < high[open_]]
        return low
