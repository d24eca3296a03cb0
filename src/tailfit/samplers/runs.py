"""Run-length encoded labels, for data sets whose labels don't fit in memory."""

from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.hashing import hash_array, hash_words
from tailfit.samplers.arithmetic import Line
from tailfit.samplers.index import LabelIndex, checked_counts
from tailfit.samplers.permutation import Permutations, Purpose

__all__ = ["RunIndex", "Runs", "refuse_as_array"]

_MOST = 1 << 62


@final
class Runs:
    """Run-length encoded labels: `lengths[0]` samples of class `codes[0]`, then `lengths[1]` of `codes[1]`, and so on.

    Every sampler accepts them as labels. Data sorted by class needs one run per class. A plan keeps a few numbers per
    run, whatever the number of samples.

    Args:
        codes: Class index of each run, `[runs]`, without gaps.
        lengths: Number of samples of each run, `[runs]`, each >= 1.
    Raises:
        ArgumentError: If the arrays are not integers in range, or differ in length.

    >>> from tailfit.samplers import ClassBalanced
    >>> plan = ClassBalanced().plan(Runs([0, 1], [10**11, 10]))
    >>> plan.size(0), plan.class_sums().tolist()
    (100000000010, [50000000005.0, 50000000005.0])
    """

    def __init__(self, codes: ArrayLike, lengths: ArrayLike) -> None:
        self.codes, self.lengths = _whole("codes", codes, 0), _whole("lengths", lengths, 1)
        if len(self.codes) != len(self.lengths) or not len(self.codes):
            raise ArgumentError(
                f"{len(self.codes)} codes and {len(self.lengths)} lengths",
                expected="one code and one length per run, and at least one run",
                fix="pass two sequences of the same length",
            )
        if sum(self.lengths.tolist()) > _MOST:
            raise ArgumentError(
                f"runs of {sum(self.lengths.tolist())} samples in total",
                expected=f"at most {_MOST} samples",
                fix="correct the lengths",
            )
        self._ends = np.cumsum(self.lengths)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def at(self, positions: ArrayLike) -> NDArray[np.int64]:
        """Return the class indices of the samples at some positions."""
        found: NDArray[np.int64] = self.codes[np.searchsorted(self._ends, positions, side="right")]
        return found


@final
class RunIndex(LabelIndex):
    """The rings of run-length encoded labels; takes a few numbers per run.

    Args:
        runs: The labels.
        seed: Seed of the plan; it determines the order of each ring.
    Raises:
        DataError: If a class has no samples.

    >>> index = RunIndex(Runs([1, 0, 1], [2, 1, 2]), seed=0)
    >>> sorted(index.members(np.array([1, 1, 1, 1]), np.arange(4)).tolist())
    [0, 1, 3, 4]
    """

    def __init__(self, runs: Runs, *, seed: int) -> None:
        checked_counts(runs.codes)
        by_class = np.argsort(runs.codes, kind="stable")
        lengths = runs.lengths[by_class]
        self.counts = np.zeros(int(runs.codes.max()) + 1, dtype=np.int64)
        np.add.at(self.counts, runs.codes, runs.lengths)
        # With the samples sorted by class: the first position of each class, and the end of each run.
        self._first = np.cumsum(self.counts) - self.counts
        self._ends = np.cumsum(lengths)
        self._line = Line(self._ends)
        # Added to a position in that order, it gives the sample.
        self._shift = (np.cumsum(runs.lengths) - runs.lengths)[by_class] - (self._ends - lengths)
        keys = hash_array(hash_words(seed, Purpose.RING), np.arange(len(self.counts)))
        self._rings = Permutations(self.counts, keys)

    def members(self, classes: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sample at a place of a class's ring, for each pair; see `LabelIndex.members`."""
        ordered = self._first[classes] + self._rings(classes, places)
        runs = classes if len(self._ends) == len(self.counts) else self._line.at(ordered)
        found: NDArray[np.int64] = ordered + self._shift[runs]
        return found


def _whole(name: str, values: ArrayLike, least: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    received = f"{name} of shape {array.shape} and type {array.dtype}"
    valid = array.ndim == 1 and array.dtype.kind in "iu"
    if valid and array.size and (array.min() < least or array.max() > _MOST):
        received, valid = f"{name} from {array.min()} to {array.max()}", False
    if not valid:
        raise ArgumentError(
            received,
            expected=f"integers from {least} to {_MOST}, one per run",
            fix=f"pass {name} as a list or a one-dimensional array of integers",
        )
    return array.astype(np.int64)


def refuse_as_array(runs: Runs) -> DataError:
    """Return the error for a request for the labels of all samples as one array."""
    return DataError(
        f"a request for all labels of {len(runs)} samples in {len(runs.codes)} runs",
        expected="a request for the labels of some positions, as all of them may not fit in memory",
        fix="call runs.at(positions)",
    )
