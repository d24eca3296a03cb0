"""Which samples a class has, in the order in which the run visits them.

Each class is a *ring*: one keyed permutation of its members for the whole run, read round and round. Its
k-th draw is member k modulo its size, so every member is drawn equally often, within one, over any run of
epochs. (A new permutation for each pass would repeat a sample at the seam of two passes.)
"""

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import DataError
from tailfit.samplers.permutation import Permutations, Purpose, hash_array, hash_words

__all__ = ["LabelIndex", "ListedLabels"]

_BLOCK = 1 << 15


class LabelIndex(ABC):
    """The rings of all classes. What a plan needs of its labels, however they are stored.

    Attributes:
        counts: Members of each class, `int64[C]`, each >= 1.
    """

    counts: NDArray[np.int64]

    @abstractmethod
    def members(self, classes: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sample at each place of a class's ring, `0 <= place < counts[class]`."""


@final
class ListedLabels(LabelIndex):
    """The rings of labels held in memory: 8 bytes a sample.

    Args:
        codes: Class of each sample, `int64[n]`, not empty.
        seed: The run's seed, on which the order within the rings depends.
    Raises:
        DataError: for no samples, or a class without one.

    >>> index = ListedLabels(np.array([1, 0, 1]), seed=0)
    >>> sorted(index.members(np.array([1, 1]), np.array([0, 1])).tolist())
    [0, 2]
    """

    def __init__(self, codes: NDArray[np.int64], *, seed: int) -> None:
        self.counts = checked_counts(codes)
        classes = len(self.counts)
        self._first = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        # NumPy's stable sort of 16-bit integers is a radix sort, six times as fast.
        by_class = np.argsort(codes.astype(np.uint16) if classes <= 1 << 16 else codes, kind="stable")
        keys = hash_array(hash_words(seed, Purpose.RING), np.arange(classes))
        rings = Permutations(self.counts, keys)
        self._members = np.empty(len(codes), dtype=np.int64)
        for start in range(0, len(codes), _BLOCK):
            places = np.arange(start, min(start + _BLOCK, len(codes)))
            owner = codes[by_class[places]]
            self._members[places] = by_class[self._first[owner] + rings(owner, places - self._first[owner])]

    def members(self, classes: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._members[self._first[classes] + places]
        return found


def checked_counts(codes: NDArray[Any]) -> NDArray[np.int64]:
    """Members of each class, where every class has one."""
    counts = np.bincount(codes).astype(np.int64)
    if (counts == 0).any():
        empty = np.flatnonzero(counts == 0)
        shown = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        raise DataError(
            f"labels in which no sample has class {shown}, while class {len(counts) - 1} has some",
            expected="at least one sample of every class up to the largest code",
            fix="number the classes without gaps, e.g. np.unique(labels, return_inverse=True)[1]",
        )
    return counts
