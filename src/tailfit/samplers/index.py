"""The members of each class, in the order in which a plan draws them.

The members of a class form a *ring*: one keyed permutation, the same for the whole training run, read cyclically. The
k-th draw of the class is ring place k modulo the class size. Hence over any consecutive draws the counts of its members
differ by at most one. (A new permutation for each pass could repeat a sample where two passes meet.)
"""

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import DataError
from tailfit.hashing import hash_array, hash_words
from tailfit.samplers.permutation import Permutations, Purpose

__all__ = ["LabelIndex", "ListedLabels"]

_BLOCK = 1 << 15
_STORED = 1 << 21  # samples whose rings are stored; more than that would take seconds at the start


class LabelIndex(ABC):
    """The rings of all classes, independent of how the labels are stored.

    Attributes:
        counts: Number of members of each class, `int64[C]`, each >= 1.
    """

    counts: NDArray[np.int64]

    @abstractmethod
    def members(self, classes: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sample at a place of a class's ring, for each pair; `0 <= place < counts[class]`."""


@final
class ListedLabels(LabelIndex):
    """The rings of labels in memory; takes 8 bytes per sample.

    Args:
        codes: Class index of each sample, `int64[n]`, not empty.
        seed: Seed of the plan; it determines the order of each ring.
    Raises:
        DataError: If a class has no samples.

    >>> index = ListedLabels(np.array([1, 0, 1]), seed=0)
    >>> sorted(index.members(np.array([1, 1]), np.array([0, 1])).tolist())
    [0, 2]
    """

    def __init__(self, codes: NDArray[np.int64], *, seed: int) -> None:
        self.counts = checked_counts(codes)
        classes = len(self.counts)
        self._first = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        # NumPy's stable sort of 16-bit integers is a radix sort, six times faster than its sort of int64.
        by_class = np.argsort(codes.astype(np.uint16) if classes <= 1 << 16 else codes, kind="stable")
        keys = hash_array(hash_words(seed, Purpose.RING), np.arange(classes))
        self._rings: Permutations | None = Permutations(self.counts, keys)
        self._members = by_class
        if len(codes) <= _STORED:
            members = np.empty(len(codes), dtype=np.int64)
            for start in range(0, len(codes), _BLOCK):
                places = np.arange(start, min(start + _BLOCK, len(codes)))
                owner = codes[by_class[places]]
                members[places] = self.members(owner, places - self._first[owner])
            self._members, self._rings = members, None

    def members(self, classes: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `LabelIndex.members`. A look-up if the rings are stored; otherwise their permutations are computed."""
        if self._rings is not None:
            places = self._rings(classes, places)
        found: NDArray[np.int64] = self._members[self._first[classes] + places]
        return found


def checked_counts(codes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number of members of each class.

    Raises:
        DataError: If a class up to the largest class index has no samples.
    """
    counts = np.bincount(codes).astype(np.int64)
    if (counts == 0).any():
        empty = np.flatnonzero(counts == 0)
        shown = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        raise DataError(
            f"labels in which no sample has class {shown}, but some have class {len(counts) - 1}",
            expected="class indices without gaps: at least one sample of every class up to the largest index",
            fix="renumber the classes, e.g. np.unique(labels, return_inverse=True)[1]",
        )
    return counts
